/* A CRL: walked in small and in one big step, looked up, and judged for the leaf. */
#include "fuzz.h"

static stls_crl *walk(const uint8_t *data, size_t len, size_t budget, stls_crl_state *state)
{
    unsigned char *copy = malloc(len ? len : 1);
    MUST(copy != NULL);
    if (len > 0) {
        memcpy(copy, data, len);
    }
    stls_crl *crl = stls_crl_new(NULL, copy, len, free);
    MUST(crl != NULL);
    while ((*state = stls_crl_step(crl, budget)) == STLS_CRL_MORE) {
    }
    return crl;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static stls_policy *policy;
    stls_crl_state whole_state, sliced_state;
    stls_crl_entry entry;

    if (policy == NULL) {
        policy = fuzz_policy("revocation_scope=leaf revocation_sources=crl");
    }
    stls_crl *whole = walk(data, len, SIZE_MAX / 2, &whole_state);
    stls_crl *sliced = walk(data, len, 7, &sliced_state);
    MUST(whole_state == sliced_state);
    MUST(stls_crl_find(whole, fuzz_leaf, &entry) == stls_crl_find(sliced, fuzz_leaf, &entry));

    /* What OpenSSL finds revoked, the walk finds, too. */
    const unsigned char *p = data;
    X509_CRL *reference = len <= 65536 ? d2i_X509_CRL(NULL, &p, (long)len) : NULL;
    if (reference != NULL && whole_state == STLS_CRL_DONE && whole->num_marks == 0) {
        X509_REVOKED *revoked = NULL;
        int listed = X509_CRL_get0_by_cert(reference, &revoked, fuzz_leaf);
        if (listed == 1 && X509_NAME_cmp(whole->issuer, X509_get_issuer_name(fuzz_leaf)) == 0) {
            MUST(stls_crl_find(whole, fuzz_leaf, &entry) != 0);
        }
    }
    X509_CRL_free(reference);

    stls_check *check = stls_check_new(policy, fuzz_anchors, STLS_ROLE_SERVER);
    stls_check_add_cert(check, fuzz_leaf);
    stls_check_add_cert(check, fuzz_inter);
    stls_check_set_name(check, LEAF_NAME, sizeof(LEAF_NAME) - 1);
    stls_check_add_crl(check, whole);
    stls_fetch fetch;
    stls_verdict verdict = stls_check_start(check, NOW_S);
    while (verdict == STLS_PENDING && stls_check_next_fetch(check, &fetch) == 1) {
        stls_reply reply = {STLS_FETCH_OK, data, len, NULL};
        verdict = stls_check_feed(check, fetch.id, &reply, NOW_S);
    }
    MUST(verdict != STLS_PENDING);
    fuzz_must_hold(check);
    stls_check_free(check);
    stls_crl_free(whole);
    stls_crl_free(sliced);
    return 0;
}
