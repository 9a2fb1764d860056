#include "crl_listing.h"

#include "crl_scope.h"
#include "crl_signature.h"

stls_crl_period stls_crl_period_of(const stls_crl_input *in, const stls_crl *crl,
                                   int64_t *use_until_s)
{
    const stls_policy *policy = in->policy;
    int64_t skew_s = policy->num[STLS_KEY_CLOCK_SKEW_S];

    *use_until_s = crl->next_update_s != 0
                       ? crl->next_update_s + skew_s
                       : crl->this_update_s + policy->num[STLS_KEY_CRL_MAX_AGE_S];
    if (crl->this_update_s > in->now_s + skew_s) {
        return STLS_CRL_AHEAD;
    }
    if (*use_until_s >= in->now_s) {
        return STLS_CRL_CURRENT;
    }
    return in->now_s - *use_until_s <= policy->num[STLS_KEY_STALE_GRACE_S] ? STLS_CRL_GRACE
                                                                           : STLS_CRL_PAST;
}

/* RFC 5280 section 6.3.3 (c), (d): a delta that goes with this complete CRL. */
static int is_delta_of(const stls_crl_input *in, const stls_crl *delta, const stls_crl *base,
                       X509 *signer)
{
    int64_t until_s;
    stls_crl_period when = stls_crl_period_of(in, delta, &until_s);

    return delta->base_number != NULL && delta->number != NULL && base->number != NULL
           && !delta->is_unusable && stls_crl_same_scope(delta, base)
           && ASN1_INTEGER_cmp(base->number, delta->base_number) >= 0
           && ASN1_INTEGER_cmp(delta->number, base->number) >= 0
           && (when == STLS_CRL_CURRENT || when == STLS_CRL_GRACE)
           && stls_crl_is_signed_by(in, delta, signer, NULL, NULL);
}

/* Only a hold ends (RFC 5280 section 5.3.1), and one may be given without a reason. */
static int is_liftable(const stls_crl_entry *entry)
{
    return entry->reason == CRL_REASON_CERTIFICATE_HOLD || entry->reason <= 0;
}

/* Takes one more of the CRLs that go together; "revoked" in any of them counts. */
static void add_entry(stls_crl_listing *out, int found, const stls_crl_entry *entry, int is_lifted)
{
    if (found > 0 && entry->reason == CRL_REASON_REMOVE_FROM_CRL) {
        return;
    }
    if (found > 0 && !(is_lifted && is_liftable(entry))) {
        out->is_listed = 1;
        out->entry = *entry;
    } else if (found < 0 && out->is_listed == 0) {
        out->is_listed = -1;
    }
}

/* By CRL number, then by time: of one number the order must not choose. */
static int is_newer(const stls_crl *a, const stls_crl *b)
{
    int order = ASN1_INTEGER_cmp(a->number, b->number);
    if (order != 0) {
        return order > 0;
    }
    return a->this_update_s != b->this_update_s ? a->this_update_s > b->this_update_s
                                                : a->next_update_s > b->next_update_s;
}

static const stls_crl *find_newest_delta(const stls_crl_input *in, const stls_crl *base,
                                         X509 *signer)
{
    const stls_crl *newest = NULL;
    for (size_t i = 0; i < in->num_crls; i++) {
        const stls_crl *delta = in->crls[i];
        if (is_delta_of(in, delta, base, signer) && (newest == NULL || is_newer(delta, newest))) {
            newest = delta;
        }
    }
    return newest;
}

/* Whether the newest delta takes the certificate off the list, and no other of its number keeps it. */
static int is_taken_off(const stls_crl_input *in, const stls_crl *newest, const stls_crl *base,
                        X509 *signer, const X509 *cert)
{
    for (size_t i = 0; newest != NULL && i < in->num_crls; i++) {
        const stls_crl *delta = in->crls[i];
        stls_crl_entry entry = {0, -1};
        if (is_delta_of(in, delta, base, signer)
            && ASN1_INTEGER_cmp(delta->number, newest->number) == 0
            && !(stls_crl_find(delta, cert, &entry) > 0
                 && entry.reason == CRL_REASON_REMOVE_FROM_CRL)) {
            return 0;
        }
    }
    return newest != NULL;
}

stls_crl_listing stls_crl_look_up(const stls_crl_input *in, stls_crl_use *use, const stls_crl *base,
                                  X509 *signer, const X509 *cert)
{
    stls_crl_listing out = {.use_until_s = INT64_MAX, .entry.reason = -1};
    stls_crl_entry entry = {0, -1};
    const stls_crl *newest = find_newest_delta(in, base, signer);
    int by_newest = newest != NULL ? stls_crl_find(newest, cert, &entry) : 0;
    int is_lifted = is_taken_off(in, newest, base, signer, cert);

    for (size_t i = 0; newest != NULL && i < in->num_crls; i++) {
        const stls_crl *delta = in->crls[i];
        if (!is_delta_of(in, delta, base, signer)) {
            continue;
        }
        int64_t ignored_s;
        if (use != NULL && delta == use->fed
            && stls_crl_period_of(in, delta, &ignored_s) == STLS_CRL_CURRENT) {
            use->is_fed_proof = 1;
        }
        entry = (stls_crl_entry){0, -1};
        int found = stls_crl_find(delta, cert, &entry);
        int is_older = ASN1_INTEGER_cmp(delta->number, newest->number) < 0;
        add_entry(&out, found, &entry, is_lifted && is_older);
    }
    int found = stls_crl_find(base, cert, &entry);
    if (found > 0 && entry.reason == CRL_REASON_REMOVE_FROM_CRL) {
        entry.reason = -1; /* for deltas only: in a complete CRL it is listed all the same */
    }
    add_entry(&out, found, &entry, is_lifted);
    if (newest != NULL) {
        int64_t until_s;
        int is_grace = stls_crl_period_of(in, newest, &until_s) == STLS_CRL_GRACE;
        /* One past its time takes nothing away from its base; only what it lifts rests on it. */
        if (!is_grace || by_newest != 0) {
            out.delta = newest;
            out.use_until_s = until_s;
            out.is_grace = is_grace;
        }
    }
    return out;
}
