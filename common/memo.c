/*
 * A set of digests, each of a key, a signed text, an algorithm and a signature
 * that verified.  Whether a signature verifies follows from these alone, so
 * that what is remembered stays right for ever and needs neither time nor
 * policy.  What did not verify is not remembered.
 */
#include "memo.h"

#include <stdatomic.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#define WAYS 4 /* places for one digest */

struct stls_memo_st {
    stls_allocator allocator;
    atomic_uint refs;
    size_t num_sets;
    unsigned int next; /* the place to be given up next */
    unsigned char (*digests)[STLS_ID_LEN];
};

stls_memo *stls_memo_new(size_t max_entries, const stls_allocator *allocator)
{
    if (allocator == NULL) {
        allocator = &stls_libc_allocator;
    }
    size_t num_sets = max_entries / WAYS;
    if (num_sets == 0 || num_sets > SIZE_MAX / WAYS / STLS_ID_LEN) {
        return NULL;
    }
    stls_memo *memo = stls_alloc(allocator, sizeof(*memo));
    if (memo == NULL) {
        return NULL;
    }
    memo->allocator = *allocator;
    memo->num_sets = num_sets;
    atomic_init(&memo->refs, 1);
    memo->digests = stls_alloc(allocator, num_sets * WAYS * STLS_ID_LEN);
    if (memo->digests == NULL) {
        stls_dealloc(allocator, memo);
        return NULL;
    }
    return memo;
}

stls_memo *stls_memo_up_ref(stls_memo *memo)
{
    if (memo != NULL) {
        atomic_fetch_add(&memo->refs, 1);
    }
    return memo;
}

void stls_memo_free(stls_memo *memo)
{
    if (memo == NULL || atomic_fetch_sub(&memo->refs, 1) != 1) {
        return;
    }
    stls_allocator allocator = memo->allocator;
    stls_dealloc(&allocator, memo->digests);
    stls_dealloc(&allocator, memo);
}

/* ---- the set ---------------------------------------------------------------- */

static unsigned char (*set_of(const stls_memo *memo,
                              const unsigned char digest[STLS_ID_LEN]))[STLS_ID_LEN]
{
    size_t hash;
    memcpy(&hash, digest, sizeof(hash)); /* a SHA-256: any part of it is evenly spread */
    return memo->digests + hash % memo->num_sets * WAYS;
}

static int has(const stls_memo *memo, const unsigned char digest[STLS_ID_LEN])
{
    unsigned char(*set)[STLS_ID_LEN] = set_of(memo, digest);
    for (int i = 0; i < WAYS; i++) {
        if (memcmp(set[i], digest, STLS_ID_LEN) == 0) {
            return 1;
        }
    }
    return 0;
}

static void add(stls_memo *memo, const unsigned char digest[STLS_ID_LEN])
{
    memcpy(set_of(memo, digest)[memo->next++ % WAYS], digest, STLS_ID_LEN);
}

/* ---- what is digested: every field behind its length --------------------------- */

static int hash_field(EVP_MD_CTX *hash, const void *bytes, size_t len)
{
    unsigned char text[8];
    for (int i = 0; i < 8; i++) {
        text[i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
    }
    return EVP_DigestUpdate(hash, text, sizeof(text)) && EVP_DigestUpdate(hash, bytes, len);
}

/* Takes the DER that an i2d function made; 0 where it made none. */
static int hash_der(EVP_MD_CTX *hash, unsigned char *der, int len)
{
    int ok = len > 0 && hash_field(hash, der, (size_t)len);
    OPENSSL_free(der);
    return ok;
}

/* Begins with the label and the signer's key, its parameters included. */
static EVP_MD_CTX *hash_begin(const char *label, const X509 *signer)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned char *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(signer), &der);

    if (hash == NULL || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL)
        || !hash_field(hash, label, strlen(label))) {
        OPENSSL_free(der);
        len = 0;
        der = NULL;
    }
    if (!hash_der(hash, der, len)) {
        EVP_MD_CTX_free(hash);
        return NULL;
    }
    return hash;
}

static int digest_cert(unsigned char digest[STLS_ID_LEN], X509 *cert, const X509 *issuer)
{
    unsigned char *der = NULL;
    EVP_MD_CTX *hash = hash_begin("certificate", issuer);
    int len = hash != NULL ? i2d_X509(cert, &der) : 0;
    int ok = hash_der(hash, der, len) && EVP_DigestFinal_ex(hash, digest, NULL);
    EVP_MD_CTX_free(hash);
    return ok;
}

static int digest_answer(unsigned char digest[STLS_ID_LEN], const OCSP_BASICRESP *basic,
                         const X509 *signer)
{
    unsigned char *data = NULL, *algorithm = NULL, *sig = NULL;
    EVP_MD_CTX *hash = hash_begin("answer", signer);
    int data_len = hash != NULL ? i2d_OCSP_RESPDATA(OCSP_resp_get0_respdata(basic), &data) : 0;
    int algorithm_len = hash != NULL ? i2d_X509_ALGOR(OCSP_resp_get0_tbs_sigalg(basic), &algorithm)
                                     : 0;
    /* As a bit string: one with unused bits is refused, though its bytes are the same. */
    int sig_len = hash != NULL ? i2d_ASN1_BIT_STRING(
                      (ASN1_BIT_STRING *)OCSP_resp_get0_signature(basic), &sig)
                               : 0;
    int ok = hash_der(hash, data, data_len);
    ok &= hash_der(hash, algorithm, algorithm_len);
    ok &= hash_der(hash, sig, sig_len);
    ok = ok && EVP_DigestFinal_ex(hash, digest, NULL);
    EVP_MD_CTX_free(hash);
    return ok;
}

/* ---- verification ------------------------------------------------------------------- */

int stls_memo_verify_cert(stls_memo *memo, X509 *cert, X509 *issuer)
{
    unsigned char digest[STLS_ID_LEN];
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    int is_digested = memo != NULL && digest_cert(digest, cert, issuer);

    if (is_digested && has(memo, digest)) {
        return 1;
    }
    int ok = key != NULL && X509_verify(cert, key) == 1;
    if (ok && is_digested) {
        add(memo, digest);
    }
    return ok;
}

int stls_memo_verify_answer(stls_memo *memo, const OCSP_BASICRESP *basic, const X509 *signer)
{
    unsigned char digest[STLS_ID_LEN];
    EVP_PKEY *key = X509_get0_pubkey(signer);
    int is_digested = memo != NULL && digest_answer(digest, basic, signer);

    if (is_digested && has(memo, digest)) {
        return 1;
    }
    int ok = key != NULL
             && ASN1_item_verify(ASN1_ITEM_rptr(OCSP_RESPDATA), OCSP_resp_get0_tbs_sigalg(basic),
                                 OCSP_resp_get0_signature(basic),
                                 (void *)OCSP_resp_get0_respdata(basic), key)
                    == 1;
    if (ok && is_digested) {
        add(memo, digest);
    }
    return ok;
}
