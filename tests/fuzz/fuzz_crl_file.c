/*
 * The administrator's CRL file, read in steps of the input's choosing: all of
 * them come to the same end, and what is accepted holds only whole CRLs.
 */
#include "fuzz.h"

#include "crl_file.h"

static stls_crl_state read_through(stls_crl_file *file, size_t budget)
{
    stls_crl_state state;
    size_t steps = 0;
    do {
        state = stls_crl_file_step(file, budget, NULL);
        MUST(++steps < 1u << 24);
    } while (state == STLS_CRL_MORE);
    return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static stls_policy *policy;

    if (policy == NULL) {
        policy = fuzz_policy("crl_file=x revocation_sources=file revocation_scope=leaf");
    }
    size_t budget = len > 0 ? data[0] + 1u : 1;
    stls_crl_file *one = stls_crl_file_new(NULL, (unsigned char *)data, len, NULL);
    stls_crl_file *two = stls_crl_file_new(NULL, (unsigned char *)data, len, NULL);
    stls_crl_state state = read_through(one, budget);
    MUST(read_through(two, SIZE_MAX / 2) == state);

    stls_check *check = stls_check_new(policy, fuzz_anchors, STLS_ROLE_SERVER);
    stls_check_add_cert(check, fuzz_leaf);
    stls_check_add_cert(check, fuzz_inter);
    stls_check_set_name(check, LEAF_NAME, sizeof(LEAF_NAME) - 1);
    if (state == STLS_CRL_DONE) {
        MUST(stls_crl_file_num_crls(one) > 0);
        MUST(stls_crl_file_num_crls(one) == stls_crl_file_num_crls(two));
        MUST(memcmp(stls_crl_file_get0_id(one), stls_crl_file_get0_id(two), STLS_ID_LEN) == 0);
        for (size_t i = 0; i < one->num_crls; i++) {
            MUST(one->crls[i]->phase == STLS_CRL_READY);
        }
        MUST(stls_check_set_crl_file(check, one) == STLS_OK);
    } else {
        MUST(stls_crl_file_get0_id(one) == NULL);
        MUST(stls_check_set_crl_file(check, one) == STLS_ERR_ARGUMENT);
    }
    stls_check_start(check, NOW_S);
    MUST(state == STLS_CRL_DONE || stls_check_verdict(check) == STLS_REJECT);
    fuzz_must_hold(check);
    stls_check_free(check);
    stls_crl_file_free(one);
    stls_crl_file_free(two);
    return 0;
}
