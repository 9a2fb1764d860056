#include "signature.h"

#include <openssl/err.h>
#include <openssl/rsa.h>

#include "error.h"

/* RFC 4055: the parameters of RSASSA-PSS; NULL for other algorithms. */
static RSA_PSS_PARAMS *pss_params(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *object = NULL;
    const void *value = NULL;
    int type = V_ASN1_UNDEF;

    X509_ALGOR_get0(&object, &type, &value, algorithm);
    if (OBJ_obj2nid(object) != NID_rsassaPss) {
        return NULL;
    }
    if (type == V_ASN1_UNDEF) {
        return RSA_PSS_PARAMS_new();
    }
    return type == V_ASN1_SEQUENCE
               ? ASN1_item_unpack((const ASN1_STRING *)value, ASN1_ITEM_rptr(RSA_PSS_PARAMS))
               : NULL;
}

static const EVP_MD *pss_digest(const X509_ALGOR *hash)
{
    const ASN1_OBJECT *object = NULL;
    if (hash == NULL) {
        return EVP_sha1(); /* RFC 4055 section 3.1: the default */
    }
    X509_ALGOR_get0(&object, NULL, NULL, hash);
    return EVP_get_digestbyobj(object);
}

const EVP_MD *stls_signature_digest(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *object = NULL;
    int digest_nid = NID_undef;

    RSA_PSS_PARAMS *pss = pss_params(algorithm);
    if (pss != NULL) {
        const EVP_MD *md = pss_digest(pss->hashAlgorithm);
        RSA_PSS_PARAMS_free(pss);
        return md;
    }
    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    if (!OBJ_find_sigid_algs(OBJ_obj2nid(object), &digest_nid, NULL) || digest_nid == NID_undef) {
        return NULL;
    }
    return EVP_get_digestbynid(digest_nid);
}

/* The key's type is the one that the algorithm signs with. */
static int key_fits(const X509_ALGOR *algorithm, const EVP_PKEY *key)
{
    const ASN1_OBJECT *object = NULL;
    int key_nid = NID_undef, digest_nid;
    char oid[64];

    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    if (OBJ_find_sigid_algs(OBJ_obj2nid(object), &digest_nid, &key_nid)
        && EVP_PKEY_type(key_nid) != NID_undef) {
        int base = EVP_PKEY_get_base_id(key);
        return base == EVP_PKEY_type(key_nid) || (key_nid == NID_rsassaPss && base == EVP_PKEY_RSA);
    }
    /* Those that only providers know have one OID for signature and key (RFC 9881, RFC 9909). */
    int len = OBJ_obj2txt(oid, sizeof(oid), object, 1);
    return EVP_PKEY_get_base_id(key) == NID_undef && len > 0 && (size_t)len < sizeof(oid)
           && EVP_PKEY_is_a(key, oid);
}

int stls_signature_is_strong(const X509_ALGOR *algorithm, const EVP_PKEY *key, int level)
{
    static const int min_bits[] = {0, 80, 112, 128, 192, 256};
    int bits;

    if (stls_key_is_too_costly(key)) {
        return 0;
    }
    if (level <= 0) {
        return 1;
    }
    const EVP_MD *md = stls_signature_digest(algorithm);
    if (md == NULL) {
        bits = key != NULL && key_fits(algorithm, key) ? EVP_PKEY_get_security_bits(key) : 0;
    } else {
        int nid = EVP_MD_get_type(md);
        /* Collisions of SHA-1 cost less than its size says, those of MD5 nothing. */
        bits = nid == NID_md5 ? 0 : nid == NID_sha1 ? 63 : EVP_MD_get_size(md) * 4;
    }
    return bits >= min_bits[level > 5 ? 5 : level];
}

static int set_pss(EVP_PKEY_CTX *ctx, const RSA_PSS_PARAMS *pss)
{
    const EVP_MD *mgf1_md = EVP_sha1();
    int64_t salt_len = 20;

    if (pss->maskGenAlgorithm != NULL) {
        const ASN1_OBJECT *object = NULL;
        const void *value = NULL;
        int type = V_ASN1_UNDEF;
        X509_ALGOR_get0(&object, &type, &value, pss->maskGenAlgorithm);
        if (OBJ_obj2nid(object) != NID_mgf1 || type != V_ASN1_SEQUENCE) {
            return 0;
        }
        X509_ALGOR *hash = ASN1_item_unpack((const ASN1_STRING *)value, ASN1_ITEM_rptr(X509_ALGOR));
        mgf1_md = hash != NULL ? pss_digest(hash) : NULL;
        X509_ALGOR_free(hash);
    }
    if (pss->saltLength != NULL && !ASN1_INTEGER_get_int64(&salt_len, pss->saltLength)) {
        return 0;
    }
    return mgf1_md != NULL && salt_len >= 0 && salt_len <= 512
           && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1
           && EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, (int)salt_len) == 1
           && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, mgf1_md) == 1;
}

static int verify_whole(stls_work *work, EVP_PKEY *key, const unsigned char *sig, size_t sig_len,
                        const unsigned char *data, size_t data_len)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    work->lacks_memory |= md == NULL;
    int ok = md != NULL && EVP_DigestVerifyInit(md, NULL, NULL, NULL, key) == 1
             && EVP_DigestVerify(md, sig, sig_len, data, data_len) == 1;
    EVP_MD_CTX_free(md);
    return ok;
}

int stls_signature_verify(stls_work *work, const X509_ALGOR *algorithm, EVP_PKEY *key,
                          const unsigned char *sig, size_t sig_len, const unsigned char *digest,
                          const unsigned char *data, size_t data_len)
{
    int ok = 0;
    EVP_PKEY_CTX *ctx = NULL;
    RSA_PSS_PARAMS *pss = NULL;

    if (key == NULL || !key_fits(algorithm, key) || stls_key_is_too_costly(key)
        || !stls_work_take(work, 1)) {
        return 0;
    }
    stls_errors_mark();
    const EVP_MD *md = stls_signature_digest(algorithm);
    if (md == NULL) {
        ok = verify_whole(work, key, sig, sig_len, data, data_len);
        goto done;
    }
    pss = pss_params(algorithm);
    ctx = EVP_PKEY_CTX_new(key, NULL);
    work->lacks_memory |= ctx == NULL;
    if (ctx == NULL || EVP_PKEY_verify_init(ctx) != 1 || (pss != NULL && !set_pss(ctx, pss))
        || EVP_PKEY_CTX_set_signature_md(ctx, md) != 1) {
        goto done;
    }
    ok = EVP_PKEY_verify(ctx, sig, sig_len, digest, (size_t)EVP_MD_get_size(md)) == 1;
done:
    RSA_PSS_PARAMS_free(pss);
    EVP_PKEY_CTX_free(ctx);
    /* One that could not be verified must not pass for one that is wrong. */
    work->lacks_memory |= stls_errors_pop();
    return ok;
}
