/* What judging one peer may cost: signatures are counted, and keys that are too large not used. */
#include "support.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include "work.h"

static void free_key(void *thing)
{
    EVP_PKEY_free(thing);
}

static BIGNUM *number_of(int bits)
{
    BIGNUM *number = BN_new();
    AID_NEED(number && BN_set_bit(number, bits - 1) && BN_set_bit(number, 0));
    return number;
}

/* A public RSA key of these lengths; nobody has the private one. */
static EVP_PKEY *rsa_key(int modulus_bits, int exponent_bits)
{
    EVP_PKEY *key = NULL;
    BIGNUM *n = number_of(modulus_bits), *e = number_of(exponent_bits);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);

    AID_NEED(builder && ctx && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n)
             && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e));
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    AID_NEED(params && EVP_PKEY_fromdata_init(ctx) == 1
             && EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(ctx);
    BN_free(n);
    BN_free(e);
    aid_keep(free_key, key);
    return key;
}

static void costly_keys(void **state)
{
    static const struct {
        int modulus_bits, exponent_bits, is_too_costly;
    } rows[] = {
        {2048, 2, 0},    {2048, 17, 0}, {3072, 256, 0}, {3072, 257, 1}, {3072, 3000, 1},
        {2048, 2047, 1}, {8192, 17, 0}, {8193, 17, 1},  {16384, 2, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        EVP_PKEY *key = rsa_key(rows[i].modulus_bits, rows[i].exponent_bits);
        if (stls_key_is_too_costly(key) != rows[i].is_too_costly) {
            fail_msg("RSA %d with an exponent of %d bits", rows[i].modulus_bits,
                     rows[i].exponent_bits);
        }
    }
    assert_int_equal(stls_key_is_too_costly(aid_key(0)), 0);
    assert_int_equal(stls_key_is_too_costly(NULL), 0);
}

static void operations_are_counted(void **state)
{
    stls_work work;
    (void)state;
    stls_work_init(&work, aid_policy("max_signatures=5", NULL));
    assert_int_equal(stls_work_take(&work, 3), 1);
    assert_int_equal(stls_work_take(&work, 2), 1);
    assert_int_equal(work.is_exceeded, 0);
    assert_int_equal(stls_work_take(&work, 0), 1);
    assert_int_equal(stls_work_take(&work, 1), 0);
    assert_int_equal(work.is_exceeded, 1);
    stls_work_init(&work, aid_policy("", NULL));
    assert_int_equal(stls_work_take(&work, 64), 1);
    assert_int_equal(stls_work_take(&work, 1), 0);
}

/* Two certificates below the root and an answer about each: four signatures, and not one less. */
static void trap_32_whole_checks_are_bounded(void **state)
{
    static const struct {
        const char *policy;
        stls_reason reason;
    } rows[] = {
        {"max_signatures=4", STLS_REASON_NONE},
        {"max_signatures=3", STLS_REASON_CHAIN_TOO_COSTLY},
        {"max_signatures=3 revocation=soft", STLS_REASON_CHAIN_TOO_COSTLY},
        {"max_signatures=3 revocation_scope=leaf", STLS_REASON_NONE},
        {"max_signatures=2 revocation=soft", STLS_REASON_CHAIN_TOO_COSTLY},
        {"max_signatures=2 revocation=off", STLS_REASON_NONE},
        {"max_signatures=1 revocation=off", STLS_REASON_CHAIN_TOO_COSTLY},
        {"max_signatures=1 revocation=soft no_revocation_source=allow ocsp_network_error=tolerate",
         STLS_REASON_CHAIN_TOO_COSTLY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = rows[i].policy};
        assert_case(rows[i].policy, &c, rows[i].reason ? STLS_REJECT : STLS_ACCEPT, rows[i].reason);
    }
    aid_case report = {.policy = "max_signatures=1 mode=report"};
    stls_result *result = aid_judge(&report);
    assert_string_equal(stls_result_word(result), "would_reject");
    assert_int_equal(stls_result_reason(result), STLS_REASON_CHAIN_TOO_COSTLY);
}

/* Many certificates of one name and key, of which an answer says that one signed it. */
static void signers_of_an_answer_are_bounded(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_ocsp spec = {.singles = {{.cert = pki->leaf, .issuer = pki->inter}},
                     .signer = pki->responder,
                     .signer_key = 4, /* not the responder's own */
                     .with_cert = pki->responder};
    aid_case c = {.policy = "max_signatures=3 revocation_scope=leaf revocation=soft",
                  .staple = aid_make_ocsp(&spec)};
    (void)state;
    /* Path, staple, and the good answer that is fetched then: one too many. */
    assert_case("a staple costs, too", &c, STLS_REJECT, STLS_REASON_CHAIN_TOO_COSTLY);
    c.policy = "max_signatures=4 revocation_scope=leaf revocation=soft";
    assert_case("enough for all", &c, STLS_ACCEPT, STLS_REASON_NONE);
}

/* A key that is too large is weak before it is used: its signatures are not even looked at. */
static void costly_keys_on_the_path(void **state)
{
    EVP_PKEY *keys[] = {rsa_key(3072, 3000), rsa_key(2048, 257), rsa_key(8193, 17)};
    EVP_PKEY *usual = EVP_RSA_gen(2048);
    (void)state;
    AID_NEED(usual);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        aid_cert leaf = aid_leaf_spec();
        leaf.own_key = keys[i];
        aid_case c = {.policy = "revocation=off",
                      .certs = aid_stack(aid_make_cert(&leaf), aid_usual_pki()->inter, NULL)};
        assert_case("of the leaf", &c, STLS_REJECT, STLS_REASON_CHAIN_WEAK);

        aid_cert inter = {.subject = "CN=Costly,O=Lab", .own_key = keys[i], .is_ca = 1};
        inter.issuer = aid_usual_pki()->root;
        aid_cert below = aid_leaf_spec();
        below.issuer = aid_make_cert(&inter);
        X509 *signed_by_rsa = aid_make_cert(&below);
        AID_NEED(X509_sign(signed_by_rsa, usual, EVP_sha256()) > 0);
        c.certs = aid_stack(signed_by_rsa, below.issuer, NULL);
        stls_result *result = aid_judge(&c);
        assert_result(result, STLS_REJECT, STLS_REASON_CHAIN_WEAK);
        assert_int_equal(aid_findings(result, STLS_REASON_CHAIN_BAD_SIGNATURE, NULL), 0);
        c.policy = "revocation=off security_level=0";
        assert_case("at no level", &c, STLS_REJECT, STLS_REASON_CHAIN_WEAK);

        /* Superfluous, it is not used and nothing is wrong. */
        c.policy = "revocation=off max_signatures=2";
        c.certs = aid_stack(aid_usual_pki()->leaf, aid_usual_pki()->inter, below.issuer, NULL);
        assert_case("superfluous", &c, STLS_ACCEPT, STLS_REASON_NONE);
    }
    EVP_PKEY_free(usual);
}

static void costly_key_of_a_responder(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert responder = {.subject = "CN=Costly responder,O=Lab",
                          .own_key = rsa_key(3072, 3000),
                          .issuer = pki->inter,
                          .issuer_key = 1,
                          .eku = "OCSPSigning",
                          .nocheck = "ignored"};
    aid_ocsp spec = {.singles = {{.cert = pki->leaf, .issuer = pki->inter}},
                     .signer = aid_make_cert(&responder),
                     .signer_key = 4};
    spec.with_cert = spec.signer;
    (void)state;
    aid_case c = {.policy = "revocation_scope=leaf"};
    c.replies[0] = (aid_reply){STLS_FETCH_OK, aid_make_ocsp(&spec)};
    assert_case("a responder's key", &c, STLS_REJECT, STLS_REASON_CHAIN_WEAK);
}

/* Nobody trusted vouches for these: their signatures prove nothing and are not verified. */
static void untrusted_chains_cost_no_signature(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_case c = {.policy = "revocation=off max_signatures=1",
                  .anchors = aid_anchors(pki->other_root, NULL),
                  .certs = aid_stack(pki->leaf, pki->inter, pki->root, NULL)};
    (void)state;
    assert_case("untrusted", &c, STLS_REJECT, STLS_REASON_CHAIN_UNTRUSTED);
    c.certs = aid_stack(pki->leaf, pki->inter, NULL);
    assert_case("untrusted, without its root", &c, STLS_REJECT, STLS_REASON_CHAIN_UNTRUSTED);
    c.certs = aid_stack(pki->leaf, NULL);
    assert_case("alone", &c, STLS_REJECT, STLS_REASON_CHAIN_INCOMPLETE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costly_keys),
        cmocka_unit_test(operations_are_counted),
        cmocka_unit_test(trap_32_whole_checks_are_bounded),
        cmocka_unit_test(signers_of_an_answer_are_bounded),
        cmocka_unit_test(costly_keys_on_the_path),
        cmocka_unit_test(costly_key_of_a_responder),
        cmocka_unit_test(untrusted_chains_cost_no_signature),
    };
    return cmocka_run_group_tests_name("work", tests, NULL, aid_end);
}
