/*
 * Certificates and keys out of the files that mod_ssl reads.
 */
#include "own.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

static BIO *open_file(const char *file, apr_pool_t *p, const char **why_not)
{
    BIO *bio = BIO_new_file(file, "r");

    if (bio == NULL) {
        *why_not = apr_psprintf(p, "%s cannot be opened", file);
        ERR_clear_error();
    }
    return bio;
}

STACK_OF(X509) *mst_own_read_certs(const char *file, apr_pool_t *p, const char **why_not)
{
    STACK_OF(X509) *certs;
    BIO *bio = open_file(file, p, why_not);
    X509 *cert;

    if (bio == NULL) {
        return NULL;
    }
    certs = sk_X509_new_null();
    while (certs && (cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL) {
        if (!sk_X509_push(certs, cert)) {
            X509_free(cert);
            break;
        }
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE
        || sk_X509_num(certs) <= 0) {
        *why_not = apr_psprintf(p, "%s is not all certificates in PEM", file);
        sk_X509_pop_free(certs, X509_free);
        certs = NULL;
    }
    ERR_clear_error();
    BIO_free(bio);
    return certs;
}

/* Nobody is asked here, nor told the passphrase. */
static int no_passphrase(char *buf, int size, int rwflag, void *data)
{
    (void) buf;
    (void) size;
    (void) rwflag;
    *(int *) data = 1;
    return -1;
}

EVP_PKEY *mst_own_public_half(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    const unsigned char *pos;
    EVP_PKEY *half = NULL;
    int len = key ? i2d_PUBKEY(key, &der) : -1;

    if (len > 0) {
        pos = der;
        half = d2i_PUBKEY(NULL, &pos, len);
    }
    OPENSSL_free(der);
    ERR_clear_error();
    return half;
}

EVP_PKEY *mst_own_read_key(const char *file, apr_pool_t *p, const char **why_not)
{
    int is_encrypted = 0;
    EVP_PKEY *key, *half;
    BIO *bio = open_file(file, p, why_not);

    if (bio == NULL) {
        return NULL;
    }
    key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &is_encrypted);
    BIO_free(bio);
    ERR_clear_error();
    half = mst_own_public_half(key);
    EVP_PKEY_free(key);
    if (half == NULL) {
        *why_not = apr_psprintf(p, is_encrypted ? "the key in %s is encrypted"
                                                : "there is no key in %s", file);
    }
    return half;
}

STACK_OF(X509_INFO) *mst_own_read_pairs(const char *file, apr_pool_t *p, const char **why_not)
{
    int is_encrypted = 0;
    STACK_OF(X509_INFO) *pairs;
    BIO *bio = open_file(file, p, why_not);

    if (bio == NULL) {
        return NULL;
    }
    pairs = PEM_X509_INFO_read_bio(bio, NULL, no_passphrase, &is_encrypted);
    BIO_free(bio);
    ERR_clear_error();
    if (sk_X509_INFO_num(pairs) <= 0) {
        *why_not = apr_psprintf(p, is_encrypted ? "a key in %s is encrypted"
                                                : "there is no certificate in %s", file);
        sk_X509_INFO_pop_free(pairs, X509_INFO_free);
        pairs = NULL;
    }
    return pairs;
}

void mst_own_complete(STACK_OF(X509) *chain, const STACK_OF(X509) *from)
{
    X509 *top, *issuer;
    int i;

    for (;;) {
        top = sk_X509_value(chain, sk_X509_num(chain) - 1);
        issuer = NULL;
        for (i = 0; i < sk_X509_num(from) && issuer == NULL; i++) {
            if (X509_check_issued(sk_X509_value(from, i), top) == X509_V_OK) {
                issuer = sk_X509_value(from, i);
            }
        }
        if (issuer == NULL || X509_self_signed(issuer, 0) == 1
            || sk_X509_num(chain) > sk_X509_num(from) || !X509_up_ref(issuer)) {
            break;
        }
        if (!sk_X509_push(chain, issuer)) {
            X509_free(issuer);
            break;
        }
    }
    ERR_clear_error();
}
