/* Presented chains: length-prefixed certificates, the first byte chooses a policy. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static stls_policy *policies[4];
    const uint8_t *piece;
    size_t piece_len;

    if (policies[0] == NULL) {
        policies[0] = fuzz_policy("revocation=off");
        policies[1] = fuzz_policy("revocation=off chain_order=any chain_extra=deny name=off");
        policies[2] = fuzz_policy("revocation=off x509_strict=off name_cn_fallback=on "
                                  "chain_root=require");
        policies[3] = fuzz_policy("revocation=off require_explicit_policy=on purpose=any "
                                  "chain_root=forbid");
    }
    if (len == 0) {
        return 0;
    }
    stls_check *check = stls_check_new(policies[data[0] & 3], fuzz_anchors,
                                       data[0] & 4 ? STLS_ROLE_CLIENT : STLS_ROLE_SERVER);
    data++;
    len--;
    while (fuzz_next(&data, &len, &piece, &piece_len)) {
        stls_check_add_cert_der(check, piece, piece_len);
    }
    stls_check_set_name(check, LEAF_NAME, sizeof(LEAF_NAME) - 1);
    stls_verdict verdict = stls_check_trust(check, NOW_S);
    MUST(verdict == STLS_PENDING || verdict == STLS_REJECT);
    verdict = stls_check_start(check, NOW_S);
    MUST(verdict == STLS_ACCEPT || verdict == STLS_REJECT);
    fuzz_must_hold(check);
    stls_check_free(check);
    return 0;
}
