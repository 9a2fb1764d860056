/* An OCSP answer for the leaf: stapled and fetched; everything else about the peer is right. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static stls_policy *policy;
    stls_fetch fetch;

    if (policy == NULL) {
        policy = fuzz_policy("revocation_scope=leaf revocation_sources=staple,ocsp");
    }
    stls_check *check = stls_check_new(policy, fuzz_anchors, STLS_ROLE_SERVER);
    stls_check_add_cert(check, fuzz_leaf);
    stls_check_add_cert(check, fuzz_inter);
    stls_check_set_name(check, LEAF_NAME, sizeof(LEAF_NAME) - 1);
    stls_check_add_staple(check, 0, data, len);
    stls_verdict verdict = stls_check_start(check, NOW_S);
    while (verdict == STLS_PENDING && stls_check_next_fetch(check, &fetch) == 1) {
        stls_reply reply = {fetch.may_use_cache ? STLS_FETCH_CACHED : STLS_FETCH_OK, data, len,
                            NULL};
        verdict = stls_check_feed(check, fetch.id, &reply, NOW_S);
    }
    MUST(verdict != STLS_PENDING);
    /* The seeds' keys sign what is good; a mutation that is accepted is byte for byte one of them
     * but for what no signature covers, so the judge itself must have said good. */
    if (verdict == STLS_ACCEPT) {
        stls_ocsp_answer answer;
        stls_work work;
        stls_work_init(&work, policy);
        stls_ocsp_judge(&answer, policy, &work, fuzz_leaf, fuzz_inter, data, len, NULL, NOW_S);
        MUST(answer.reason == STLS_REASON_NONE);
        MUST(answer.use_until_s >= NOW_S && answer.this_update_s <= NOW_S + 300);
    }
    fuzz_must_hold(check);
    stls_check_free(check);
    return 0;
}
