/* The CRL rung: what CRLs at hand prove, and which one to fetch next. */
#include "rung.h"

#include <string.h>

#include "x509_text.h"

static void judge(const stls_ladder *ladder, const stls_slot *slot, const stls_ladder_input *in,
                  stls_ocsp_answer *answer)
{
    stls_crl_input input = {in->policy,        in->work, in->anchors,     ladder->crls,
                            ladder->num_crls, in->path, in->crl_issuers, in->now_s};
    stls_crl_judge(answer, &input, slot->cert, slot->issuer);
}

static int is_settling(const stls_ocsp_answer *answer)
{
    return (answer->reason == STLS_REASON_NONE && !answer->is_grace)
           || answer->reason == STLS_REASON_CRL_REVOKED;
}

/* The delta that the certificate or a complete CRL of its issuer names (RFC 5280 section 5.2.6). */
static int delta_url(const stls_ladder *ladder, const stls_slot *slot, char url[STLS_URL_LEN])
{
    CRL_DIST_POINTS *points = X509_get_ext_d2i(slot->cert, NID_freshest_crl, NULL, NULL);
    int found = stls_point_url(points, 0, url);
    CRL_DIST_POINTS_free(points);
    for (size_t i = 0; !found && i < ladder->num_crls; i++) {
        const stls_crl *crl = ladder->crls[i];
        found = X509_NAME_cmp(crl->issuer, X509_get_issuer_name(slot->cert)) == 0
                && stls_point_url(crl->freshest, 0, url);
    }
    return found;
}

int stls_rung_crl_url(const stls_ladder *ladder, const stls_slot *slot, const stls_ladder_input *in,
                      char url[STLS_URL_LEN])
{
    if (slot->asks_delta) {
        return delta_url(ladder, slot, url);
    }
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

stls_status stls_rung_crl_climb(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                                int may_use_cache)
{
    char url[STLS_URL_LEN];
    stls_ocsp_answer answer = {.reason = STLS_REASON_REVOCATION_INCONCLUSIVE};

    if (ladder->num_crls > 0 && may_use_cache) {
        judge(ladder, slot, in, &answer);
        if (answer.reason == STLS_REASON_NONE && !answer.is_grace && !slot->asks_delta
            && !ladder->is_expired && delta_url(ladder, slot, url)) {
            slot->names_source = slot->asks_delta = 1;
            return stls_rung_fetch(ladder, slot, in, url, 1, 1);
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
    if (ladder->is_expired || slot->asks_delta || !stls_rung_crl_url(ladder, slot, in, url)) {
        if (ladder->num_crls > 0 && slot->url_index == 0 && !slot->has_aside) {
            slot->names_source = 1;
            stls_rung_tell(in, ladder, slot, answer.reason, 0, answer.detail);
        }
        slot->rung++;
        slot->url_index = 0;
        return STLS_OK;
    }
    slot->names_source = 1;
    return stls_rung_fetch(ladder, slot, in, url, 1, may_use_cache);
}

stls_status stls_rung_crl_take(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                               stls_crl *crl, int is_cached, stls_answer *out)
{
    stls_ocsp_answer answer = {0};
    const stls_allocator *a = &in->policy->allocator;
    int64_t until_s = crl->next_update_s != 0
                          ? crl->next_update_s
                          : crl->this_update_s + in->policy->num[STLS_KEY_CRL_MAX_AGE_S];
    int is_graced;

    stls_status status = stls_ladder_add_crl(ladder, a, crl);
    if (status != STLS_OK) {
        return status;
    }
    judge(ladder, slot, in, &answer);
    if (is_settling(&answer)) {
        out->conclusive = 1;
        out->revoked = answer.reason == STLS_REASON_CRL_REVOKED;
        out->produced_s = crl->this_update_s;
        out->use_until_s = until_s + in->policy->num[STLS_KEY_STALE_GRACE_S];
        out->refresh_at_s = stls_half_life_s(crl->this_update_s, until_s);
        return STLS_OK; /* the climb takes it */
    }
    is_graced = stls_rung_is_graced(&answer);
    if (is_graced) {
        stls_rung_set_aside(slot, &answer, STLS_SOURCE_CRL);
    }
    stls_crl_free(ladder->crls[--ladder->num_crls]);
    if (slot->asks_delta) {
        return STLS_OK;
    }
    if (is_cached) {
        return stls_rung_crl_climb(ladder, slot, in, 0);
    }
    /* It may still cover some reasons, with others to come. */
    if (!is_graced) {
        stls_rung_tell(in, ladder, slot, answer.reason, 0, answer.detail);
    }
    slot->url_index++;
    return stls_ladder_add_crl(ladder, a, crl);
}
