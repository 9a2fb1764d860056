/* Signatures of CRLs and OCSP answers: which digest, strong enough, and good. */
#include "support.h"

#include <openssl/rsa.h>

#include "signature.h"

/* What a signer made: the algorithm, the signature and the data's digest. */
typedef struct {
    X509_ALGOR *algorithm;
    unsigned char sig[1024], digest[EVP_MAX_MD_SIZE];
    size_t sig_len;
} signed_data;

static const unsigned char data[] = "to be signed";

static void free_key(void *thing)
{
    EVP_PKEY_free(thing);
}

static void free_algorithm(void *thing)
{
    X509_ALGOR_free(thing);
}

/* Two of each type; made once, since RSA keys take their time. */
static EVP_PKEY *key_of(const char *type, int which)
{
    static struct {
        const char *type;
        EVP_PKEY *keys[2];
    } made[] = {{"RSA", {NULL}}, {"ED25519", {NULL}}, {"ED448", {NULL}}};

    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
        if (strcmp(made[i].type, type) != 0) {
            continue;
        }
        EVP_PKEY **key = &made[i].keys[which];
        if (*key == NULL) {
            AID_NEED(*key = i == 0 ? EVP_RSA_gen(1536) : EVP_PKEY_Q_keygen(NULL, NULL, type));
            aid_keep(free_key, *key);
        }
        return *key;
    }
    return aid_key((size_t)which);
}

#define WITH_OTHER_MGF1 2 /* instead of the digest's own mask function */

/* By a certificate's way of signing, so that the algorithm is written as CAs write it. */
static signed_data sign(EVP_PKEY *key, const EVP_MD *md, int is_pss)
{
    signed_data out = {.sig_len = sizeof(out.sig)};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey = NULL;
    X509 *cert = X509_new();
    const X509_ALGOR *algorithm;

    AID_NEED(ctx && cert && X509_set_pubkey(cert, key));
    AID_NEED(EVP_DigestSignInit(ctx, &pkey, md, NULL, key) == 1);
    if (is_pss) {
        AID_NEED(EVP_PKEY_CTX_set_rsa_padding(pkey, RSA_PKCS1_PSS_PADDING) == 1
                 && EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey, RSA_PSS_SALTLEN_DIGEST) == 1
                 && (is_pss == WITH_OTHER_MGF1
                         ? EVP_PKEY_CTX_set_rsa_mgf1_md(pkey, EVP_sha512()) == 1
                         : 1));
    }
    AID_NEED(X509_sign_ctx(cert, ctx) > 0);
    X509_get0_signature(NULL, &algorithm, cert);
    AID_NEED(out.algorithm = X509_ALGOR_dup(algorithm));
    aid_keep(free_algorithm, out.algorithm);
    EVP_MD_CTX_free(ctx);

    ctx = EVP_MD_CTX_new();
    AID_NEED(ctx && EVP_DigestSignInit(ctx, &pkey, md, NULL, key) == 1);
    if (is_pss) {
        AID_NEED(EVP_PKEY_CTX_set_rsa_padding(pkey, RSA_PKCS1_PSS_PADDING) == 1
                 && EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey, RSA_PSS_SALTLEN_DIGEST) == 1
                 && (is_pss == WITH_OTHER_MGF1
                         ? EVP_PKEY_CTX_set_rsa_mgf1_md(pkey, EVP_sha512()) == 1
                         : 1));
    }
    AID_NEED(EVP_DigestSign(ctx, out.sig, &out.sig_len, data, sizeof(data)) == 1);
    if (md != NULL) {
        AID_NEED(EVP_Digest(data, sizeof(data), out.digest, NULL, md, NULL));
    }
    EVP_MD_CTX_free(ctx);
    X509_free(cert);
    return out;
}

static int verify(const signed_data *s, EVP_PKEY *key)
{
    stls_work work = {.left = 1};
    return stls_signature_verify(&work, s->algorithm, key, s->sig, s->sig_len, s->digest, data,
                                 sizeof(data));
}

static void good_ones_verify_and_altered_ones_do_not(void **state)
{
    const struct {
        const char *what, *type;
        const EVP_MD *md;
        int is_pss;
    } rows[] = {
        {"ECDSA and SHA-256", "EC", EVP_sha256(), 0},
        {"ECDSA and SHA-384", "EC", EVP_sha384(), 0},
        {"RSA and SHA-256", "RSA", EVP_sha256(), 0},
        {"RSA-PSS and SHA-256", "RSA", EVP_sha256(), 1},
        {"RSA-PSS and SHA-512", "RSA", EVP_sha512(), 1},
        {"RSA-PSS with SHA-256 and MGF1 with SHA-512", "RSA", EVP_sha256(), WITH_OTHER_MGF1},
        {"Ed25519", "ED25519", NULL, 0},
        {"Ed448", "ED448", NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        EVP_PKEY *key = key_of(rows[i].type, 0), *other = key_of(rows[i].type, 1);
        signed_data s = sign(key, rows[i].md, rows[i].is_pss);
        if (verify(&s, key) != 1) {
            fail_msg("%s: a good signature is refused", rows[i].what);
        }
        if (verify(&s, other) != 0 || verify(&s, NULL) != 0) {
            fail_msg("%s: taken by another key", rows[i].what);
        }
        s.sig[s.sig_len / 2] ^= 1;
        if (verify(&s, key) != 0) {
            fail_msg("%s: an altered signature is taken", rows[i].what);
        }
        s.sig[s.sig_len / 2] ^= 1;
        s.digest[0] ^= 1;
        if (rows[i].md != NULL && verify(&s, key) != 0) {
            fail_msg("%s: a signature of other data is taken", rows[i].what);
        }
        s.digest[0] ^= 1;
        s.sig_len--;
        if (verify(&s, key) != 0) {
            fail_msg("%s: a signature cut short is taken", rows[i].what);
        }
    }
}

/* Beyond the bound not even a good signature verifies. */
static void operations_are_counted(void **state)
{
    signed_data s = sign(aid_key(0), EVP_sha256(), 0);
    stls_work work = {.left = 1};
    (void)state;
    for (int is_exceeded = 0; is_exceeded <= 1; is_exceeded++) {
        assert_int_equal(stls_signature_verify(&work, s.algorithm, aid_key(0), s.sig, s.sig_len,
                                               s.digest, data, sizeof(data)),
                         !is_exceeded);
        assert_int_equal(work.is_exceeded, is_exceeded);
    }
}

/* The algorithm says ECDSA, the key is RSA: whatever the signature, that is none. */
static void key_of_another_type_is_refused(void **state)
{
    signed_data ec = sign(aid_key(0), EVP_sha256(), 0);
    EVP_PKEY *rsa = key_of("RSA", 0), *ed = key_of("ED25519", 0);
    signed_data by_rsa = sign(rsa, EVP_sha256(), 0), by_ed = sign(ed, NULL, 0);
    (void)state;
    assert_int_equal(verify(&ec, rsa), 0);
    assert_int_equal(verify(&by_rsa, aid_key(0)), 0);
    assert_int_equal(verify(&by_ed, aid_key(0)), 0);
    by_rsa.algorithm = ec.algorithm;
    assert_int_equal(verify(&by_rsa, rsa), 0);
}

static X509_ALGOR *algorithm(int nid)
{
    X509_ALGOR *made = X509_ALGOR_new();
    AID_NEED(made && X509_ALGOR_set0(made, OBJ_nid2obj(nid), V_ASN1_UNDEF, NULL));
    aid_keep(free_algorithm, made);
    return made;
}

static void digests(void **state)
{
    static const struct {
        int algorithm, digest;
    } rows[] = {
        {NID_sha256WithRSAEncryption, NID_sha256},
        {NID_ecdsa_with_SHA384, NID_sha384},
        {NID_ecdsa_with_SHA256, NID_sha256},
        {NID_sha1WithRSAEncryption, NID_sha1},
        {NID_ED25519, NID_undef},
        {NID_ED448, NID_undef},
        {NID_rsaEncryption, NID_undef},
        {NID_commonName, NID_undef},
        {NID_rsassaPss, NID_sha1}, /* no parameters: RFC 4055 section 3.1 */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const EVP_MD *md = stls_signature_digest(algorithm(rows[i].algorithm));
        assert_int_equal(md != NULL ? EVP_MD_get_type(md) : NID_undef, rows[i].digest);
    }
    signed_data pss = sign(key_of("RSA", 0), EVP_sha512(), 1);
    assert_int_equal(EVP_MD_get_type(stls_signature_digest(pss.algorithm)), NID_sha512);
}

static void strength(void **state)
{
    static const struct {
        int algorithm, highest; /* the highest level at which it will do */
        const char *key;
    } rows[] = {
        {NID_md5WithRSAEncryption, 0, "RSA"},
        {NID_sha1WithRSAEncryption, 0, "RSA"},
        {NID_sha224WithRSAEncryption, 2, "RSA"},
        {NID_sha256WithRSAEncryption, 3, "RSA"},
        {NID_ecdsa_with_SHA384, 4, "EC"},
        {NID_ecdsa_with_SHA512, 5, "EC"},
        /* What hashes by itself is as strong as its key. */
        {NID_ED25519, 3, "ED25519"},
        {NID_ED448, 4, "ED448"},
        {NID_ED448, 0, "ED25519"},
        {NID_ED25519, 0, "RSA"},
        {NID_rsaEncryption, 0, "RSA"}, /* signs nothing */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int level = 0; level <= 5; level++) {
            EVP_PKEY *key = key_of(rows[i].key, 0);
            if (stls_signature_is_strong(algorithm(rows[i].algorithm), key, level)
                != (level <= rows[i].highest)) {
                fail_msg("%s at level %d", OBJ_nid2sn(rows[i].algorithm), level);
            }
        }
    }
}

/* The mask function's digest is the one that the parameters name, be the signature's what it may. */
static void pss_mask_function(void **state)
{
    EVP_PKEY *key = key_of("RSA", 0);
    signed_data usual = sign(key, EVP_sha256(), 1),
                other = sign(key, EVP_sha256(), WITH_OTHER_MGF1);
    X509_ALGOR *usual_algorithm = usual.algorithm;
    (void)state;
    usual.algorithm = other.algorithm;
    assert_int_equal(verify(&usual, key), 0);
    other.algorithm = usual_algorithm;
    assert_int_equal(verify(&other, key), 0);
}

/* Parameters that do not decode, or name another mask function, verify nothing. */
static void pss_parameters(void **state)
{
    EVP_PKEY *key = key_of("RSA", 0);
    signed_data s = sign(key, EVP_sha256(), 1);
    ASN1_STRING *text = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
    (void)state;
    AID_NEED(text && ASN1_STRING_set(text, "\x30\x03\x01\x02\x03", 5));
    AID_NEED(X509_ALGOR_set0(s.algorithm, OBJ_nid2obj(NID_rsassaPss), V_ASN1_SEQUENCE, text));
    assert_int_equal(verify(&s, key), 0);
    AID_NEED(X509_ALGOR_set0(s.algorithm, OBJ_nid2obj(NID_rsassaPss), V_ASN1_UNDEF, NULL));
    assert_int_equal(verify(&s, key), 0); /* the defaults are SHA-1's */
    AID_NEED(X509_ALGOR_set0(s.algorithm, OBJ_nid2obj(NID_rsassaPss), V_ASN1_NULL, NULL));
    assert_int_equal(verify(&s, key), 0);
}

static void error_queue_stays_as_it_was(void **state)
{
    signed_data s = sign(aid_key(0), EVP_sha256(), 0);
    (void)state;
    ERR_clear_error();
    s.sig[0] ^= 1;
    assert_int_equal(verify(&s, aid_key(0)), 0);
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones_verify_and_altered_ones_do_not),
        cmocka_unit_test(operations_are_counted),
        cmocka_unit_test(key_of_another_type_is_refused),
        cmocka_unit_test(digests),
        cmocka_unit_test(strength),
        cmocka_unit_test(pss_mask_function),
        cmocka_unit_test(pss_parameters),
        cmocka_unit_test(error_queue_stays_as_it_was),
    };
    return cmocka_run_group_tests_name("signature", tests, NULL, aid_end);
}
