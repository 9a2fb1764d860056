/* The CRL rung: what CRLs at hand prove, and which one to fetch next. */
#include "rung.h"

#include <string.h>

#include <openssl/err.h>

#include "error.h"
#include "x509_text.h"

void stls_rung_judge_crls(stls_ladder *ladder, const stls_slot *slot, const stls_ladder_input *in,
                          stls_crl *const *crls, size_t num_crls, stls_ocsp_answer *answer,
                          stls_crl_use *use)
{
    stls_crl_input input = {in->policy, in->work,        crls,      num_crls,
                            in->path,   in->crl_issuers, in->now_s, &ladder->memory};
    stls_crl_judge(answer, &input, slot->cert, slot->issuer, use);
}

static void judge(stls_ladder *ladder, const stls_slot *slot, const stls_ladder_input *in,
                  stls_ocsp_answer *answer, stls_crl_use *use)
{
    stls_rung_judge_crls(ladder, slot, in, ladder->crls, ladder->num_crls, answer, use);
}

static int is_settling(const stls_ocsp_answer *answer)
{
    return (answer->reason == STLS_REASON_NONE && !answer->is_grace)
           || answer->reason == STLS_REASON_CRL_REVOKED;
}

/*
 * The delta that the certificate or a complete CRL of its issuer names (RFC
 * 5280 section 5.2.6).  Only a CRL whose signature is verified has a say in what
 * this host connects to.
 */
static int delta_url(const stls_slot *slot, const stls_ladder_input *in, const stls_crl *base,
                     char url[STLS_URL_LEN])
{
    stls_errors_mark();
    CRL_DIST_POINTS *points = X509_get_ext_d2i(slot->cert, NID_freshest_crl, NULL, NULL);
    in->work->lacks_memory |= stls_errors_pop();
    int found = stls_point_url(points, 0, url);
    CRL_DIST_POINTS_free(points);
    return found || (base != NULL && stls_point_url(base->freshest, 0, url));
}

static int point_url(const stls_slot *slot, const stls_ladder_input *in, char url[STLS_URL_LEN])
{
    return slot->url_index < (size_t)in->policy->num[STLS_KEY_MAX_URLS_PER_CERT]
           && stls_crl_url(slot->cert, slot->url_index, url);
}

void stls_rung_crl_skip(stls_slot *slot)
{
    /* A delta that does not come takes nothing away from a base that is fresh. */
    if (!slot->asks_delta) {
        slot->url_index++;
    }
}

stls_status stls_rung_crl_climb(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in)
{
    char url[STLS_URL_LEN];
    stls_ocsp_answer answer = {.reason = STLS_REASON_REVOCATION_INCONCLUSIVE};
    stls_crl_use use = {.fed = NULL};

    if (ladder->num_crls > 0) {
        judge(ladder, slot, in, &answer, &use);
        if (answer.reason == STLS_REASON_NONE && !answer.is_grace && !slot->asks_delta
            && !ladder->is_expired && delta_url(slot, in, use.base, url)) {
            slot->names_source = slot->asks_delta = 1;
            stls_status status = stls_rung_fetch(ladder, slot, in, url, 1, 1);
            if (status != STLS_OK || slot->state == STLS_SLOT_WAITING) {
                return status;
            }
            /* Beyond max_fetches: the base, which is fresh, is good enough without. */
        }
        if (is_settling(&answer)) {
            slot->names_source = 1;
            stls_rung_take(ladder, slot, in, &answer, STLS_SOURCE_CRL);
            return STLS_OK;
        }
        if (stls_rung_is_graced(&answer)) {
            slot->names_source = 1;
            stls_rung_set_aside(slot, &answer, STLS_SOURCE_CRL);
        }
    }
    if (ladder->is_expired || slot->asks_delta || !point_url(slot, in, url)) {
        if (ladder->num_crls > 0 && slot->url_index == 0 && !slot->has_aside) {
            slot->names_source = 1;
            stls_rung_tell(in, ladder, slot, answer.reason, 0, answer.detail);
        }
        slot->rung++;
        slot->url_index = 0;
        return STLS_OK;
    }
    slot->names_source = 1;
    return stls_rung_fetch(ladder, slot, in, url, 1, 1);
}

stls_status stls_rung_crl_refuse(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                                 const char *url, int is_cached)
{
    if (is_cached) {
        return stls_rung_fetch(ladder, slot, in, url, 1, 0); /* the cache failed, not the CA */
    }
    stls_rung_crl_skip(slot);
    return STLS_OK;
}

/* The same CRL from the same URL, which this check has asked for before and taken for proof. */
static int was_proof_before(const stls_ladder *ladder, const stls_crl *crl, const char *url)
{
    int was_kept = 0, is_at_hand = 0;
    for (size_t i = 0; i < ladder->num_fetches; i++) {
        const stls_open_fetch *one = &ladder->fetches[i];
        was_kept |= one->is_crl && one->answer.conclusive && strcmp(one->request.url, url) == 0;
    }
    for (size_t i = 0; was_kept && i + 1 < ladder->num_crls; i++) { /* the last one is it itself */
        const stls_crl *one = ladder->crls[i];
        is_at_hand |= one->der_len == crl->der_len && memcmp(one->der, crl->der, crl->der_len) == 0;
    }
    return is_at_hand;
}

stls_status stls_rung_crl_take(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                               stls_crl *crl, const char *url, int is_cached, stls_answer *out)
{
    stls_ocsp_answer answer = {0};
    stls_crl_use use = {.fed = crl};
    const stls_allocator *a = &in->policy->allocator;
    int64_t until_s = crl->next_update_s != 0
                          ? crl->next_update_s
                          : crl->this_update_s + in->policy->num[STLS_KEY_CRL_MAX_AGE_S];

    stls_status status = stls_ladder_add_crl(ladder, a, crl);
    if (status != STLS_OK) {
        return status;
    }
    judge(ladder, slot, in, &answer, &use);
    int is_settled = is_settling(&answer), is_graced = stls_rung_is_graced(&answer);
    if (is_graced) {
        stls_rung_set_aside(slot, &answer, STLS_SOURCE_CRL);
    }
    /* Nor is a delta what the URL of a complete CRL is for. */
    int is_wanted = (crl->base_number != NULL) == slot->asks_delta
                    || answer.reason == STLS_REASON_CRL_REVOKED;
    /* What others prove is no merit of this one: it would be kept, and asked for no more. */
    if ((use.is_fed_proof && is_wanted) || was_proof_before(ladder, crl, url)) {
        out->conclusive = 1;
        out->revoked = answer.reason == STLS_REASON_CRL_REVOKED;
        out->produced_s = crl->this_update_s;
        out->use_until_s = until_s + in->policy->num[STLS_KEY_STALE_GRACE_S];
        out->refresh_at_s = stls_half_life_s(crl->this_update_s, until_s);
        out->retry_at_s = 0;
    } else if (is_cached || slot->asks_delta) {
        stls_ladder_drop_crl(ladder);
        return stls_rung_crl_refuse(ladder, slot, in, url, is_cached);
    }
    if (!is_settled && !is_graced) {
        /* It may cover some reasons, with others to come. */
        stls_rung_tell(in, ladder, slot, answer.reason, 0, answer.detail);
    }
    if (!is_settled) {
        stls_rung_crl_skip(slot);
    }
    return STLS_OK; /* the climb takes what is settled */
}
