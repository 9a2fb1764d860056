/* Whole checks where everything is signed by one algorithm: certificates, OCSP answers and CRLs. */
#include "support_crl.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/rsa.h>

typedef struct {
    const char *type;
    int highest; /* security level at which it will do */
} algorithm;

/* SLH-DSA signatures have up to 50,000 bytes. */
#define BOUNDS "max_chain_bytes=1000000 max_reply_bytes=1000000"

static EVP_PKEY *new_key(const char *type)
{
    EVP_PKEY *key = NULL;
    if (strcmp(type, "RSA-PSS") != 0) {
        return EVP_PKEY_Q_keygen(NULL, NULL, type);
    }
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    AID_NEED(ctx && EVP_PKEY_keygen_init(ctx) == 1
             && EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 3072) == 1
             && EVP_PKEY_keygen(ctx, &key) == 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* Everything that the usual PKI signs is signed by keys of this type from here on. */
static void use(const char *type)
{
    aid_end(NULL);
    for (size_t i = 0; i < 5; i++) {
        EVP_PKEY *key = new_key(type);
        AID_NEED(key);
        aid_set_key(i, key);
    }
}

static void judge_certificates_and_answers(const algorithm *a)
{
    const aid_pki *pki = aid_usual_pki();
    aid_case c = {.policy = BOUNDS};
    assert_case(a->type, &c, STLS_ACCEPT, STLS_REASON_NONE);

    c.staple = aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED);
    assert_case(a->type, &c, STLS_REJECT, STLS_REASON_OCSP_REVOKED);

    aid_ocsp delegated = {.singles = {{.cert = pki->leaf, .issuer = pki->inter}},
                          .signer = pki->responder,
                          .signer_key = 3};
    c.staple = aid_make_ocsp(&delegated);
    assert_case(a->type, &c, STLS_ACCEPT, STLS_REASON_NONE);

    aid_ocsp altered = {.singles = {{.cert = pki->leaf, .issuer = pki->inter}},
                        .signer_key = 1,
                        .spoil_signature = 1};
    c.staple = (aid_bytes){NULL, 0};
    c.replies[0] = (aid_reply){STLS_FETCH_OK, aid_make_ocsp(&altered)};
    assert_case(a->type, &c, STLS_REJECT, STLS_REASON_OCSP_BAD_SIGNATURE);

    aid_case spoilt = {.policy = BOUNDS,
                       .certs = aid_stack(aid_spoil_signature(pki->leaf), pki->inter, NULL)};
    assert_case(a->type, &spoilt, STLS_REJECT, STLS_REASON_CHAIN_BAD_SIGNATURE);
}

static void judge_levels(const algorithm *a)
{
    for (int level = 0; level <= 5; level++) {
        char policy[120];
        snprintf(policy, sizeof(policy), BOUNDS " security_level=%d", level);
        aid_case c = {.policy = policy};
        int is_strong = level <= a->highest;
        assert_case(a->type, &c, is_strong ? STLS_ACCEPT : STLS_REJECT,
                    is_strong ? STLS_REASON_NONE : STLS_REASON_CHAIN_WEAK);
    }
}

static stls_crl *read_crl(aid_bytes bytes)
{
    unsigned char *copy = malloc(bytes.len);
    AID_NEED(copy);
    memcpy(copy, bytes.bytes, bytes.len);
    stls_crl *crl = stls_crl_new(NULL, copy, bytes.len, free);
    AID_NEED(crl);
    while (stls_crl_step(crl, 4096) == STLS_CRL_MORE) {
    }
    return crl;
}

static void judge_crl(const algorithm *a, X509 *revoked, int is_altered, stls_reason reason)
{
    aid_case c = {.policy = BOUNDS " revocation_scope=leaf revocation_sources=crl"};
    aid_crl spec = {.revoked = {revoked}};
    aid_bytes bytes = aid_make_crl(&spec);
    bytes.bytes[bytes.len - 1] ^= (unsigned char)is_altered;
    stls_crl *crl = read_crl(bytes);
    stls_check *check = aid_new_check(&c, NULL);

    assert_int_equal(stls_check_add_crl(check, crl), STLS_OK);
    stls_verdict verdict = stls_check_start(check, NOW_S);
    if (verdict != (reason ? STLS_REJECT : STLS_ACCEPT) || aid_reason(check) != reason) {
        fail_msg("%s: a CRL: %s", a->type, stls_reason_id(aid_reason(check)));
    }
    stls_check_free(check);
    stls_crl_free(crl);
}

/* The CRL's signature costs so many, besides the chain's two. */
static void assert_crl_costs(const char *type, size_t num_entries, size_t num_signatures)
{
    for (size_t less = 0; less < 2; less++) {
        char policy[200];
        aid_case c = {.policy = policy};
        snprintf(policy, sizeof(policy),
                 "revocation_scope=leaf revocation_sources=crl max_signatures=%zu",
                 2 + num_signatures - less);
        stls_crl *crl = read_crl(aid_make_crl(&(aid_crl){.num_others = num_entries}));
        stls_check *check = aid_new_check(&c, NULL);
        assert_int_equal(stls_check_add_crl(check, crl), STLS_OK);
        stls_check_start(check, NOW_S);
        if (aid_reason(check) != (less ? STLS_REASON_CHAIN_TOO_COSTLY : STLS_REASON_NONE)) {
            fail_msg("%s, %zu less: %s", type, less, stls_reason_id(aid_reason(check)));
        }
        stls_check_free(check);
        stls_crl_free(crl);
    }
}

/* What is hashed in one go at each verification counts by its length. */
static void large_crls_of_algorithms_that_hash_by_themselves(void **state)
{
    const size_t num_entries = 6000;
    (void)state;
    use("ED25519");
    aid_bytes bytes = aid_make_crl(&(aid_crl){.num_others = num_entries});
    assert_crl_costs("ED25519", 10, 1);
    assert_crl_costs("ED25519", num_entries, 1 + bytes.len / 65536);
    aid_end(NULL);
    assert_crl_costs("ECDSA", num_entries, 1);
}

static void judge_all(const algorithm *rows, size_t num)
{
    for (size_t i = 0; i < num; i++) {
        use(rows[i].type);
        judge_certificates_and_answers(&rows[i]);
        judge_levels(&rows[i]);
        judge_crl(&rows[i], NULL, 0, STLS_REASON_NONE);
        judge_crl(&rows[i], aid_usual_pki()->leaf, 0, STLS_REASON_CRL_REVOKED);
        judge_crl(&rows[i], NULL, 1, STLS_REASON_CRL_BAD_SIGNATURE);
    }
    aid_end(NULL);
}

static void that_every_openssl_knows(void **state)
{
    static const algorithm rows[] = {{"ED25519", 3}, {"ED448", 4}, {"RSA-PSS", 3}};
    (void)state;
    judge_all(rows, sizeof(rows) / sizeof(rows[0]));
}

#if OPENSSL_VERSION_NUMBER >= 0x30500000L
/* As strong as OpenSSL says; ML-DSA's and SLH-DSA's categories 1, 3 and 5 (FIPS 204, FIPS 205). */
static void post_quantum(void **state)
{
    static const algorithm rows[] = {
        {"ML-DSA-44", 3},         {"ML-DSA-65", 4},          {"ML-DSA-87", 5},
        {"SLH-DSA-SHA2-128f", 3}, {"SLH-DSA-SHAKE-192f", 4}, {"SLH-DSA-SHA2-256f", 5},
    };
    (void)state;
    judge_all(rows, sizeof(rows) / sizeof(rows[0]));
}
#else
/* Before OpenSSL 3.5 there is nothing to judge: with it post_quantum() takes this one's place. */
static void post_quantum_is_unknown_before_openssl_3_5(void **state)
{
    (void)state;
    assert_null(new_key("ML-DSA-65"));
    assert_null(new_key("SLH-DSA-SHA2-128f"));
    ERR_clear_error();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(that_every_openssl_knows),
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
        cmocka_unit_test(post_quantum),
#else
        cmocka_unit_test(post_quantum_is_unknown_before_openssl_3_5),
#endif
        cmocka_unit_test(large_crls_of_algorithms_that_hash_by_themselves),
    };
    return cmocka_run_group_tests_name("algorithms", tests, NULL, aid_end);
}
