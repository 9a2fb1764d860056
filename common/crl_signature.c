#include "crl_signature.h"

#include <string.h>

#include "signature.h"

/*
 * An algorithm that hashes by itself goes through the whole CRL at each
 * verification, in one go: so many bytes count as one signature more.
 */
#define BYTES_PER_SIGNATURE (64 * 1024)

enum { MEMO_FREE, MEMO_BEING_WRITTEN, MEMO_READY };

int stls_crl_has_key_id(const stls_crl *crl, const X509 *signer)
{
    /* For some of OpenSSL's getters a certificate is not const. */
    const ASN1_OCTET_STRING *its = X509_get0_subject_key_id((X509 *)signer);
    return crl->akid == NULL || crl->akid->keyid == NULL || its == NULL
           || ASN1_OCTET_STRING_cmp(crl->akid->keyid, its) == 0;
}

static int digest_key(const X509 *signer, unsigned char digest[STLS_ID_LEN])
{
    unsigned char *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(signer), &der);
    int ok = len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL);
    OPENSSL_free(der);
    return ok;
}

static int is_remembered(const stls_crl *crl, const unsigned char digest[STLS_ID_LEN])
{
    for (size_t i = 0; i < STLS_CRL_NUM_MEMOS; i++) {
        const stls_crl_memo *memo = &crl->memos[i];
        if (atomic_load_explicit(&memo->state, memory_order_acquire) == MEMO_READY
            && memcmp(memo->key_digest, digest, STLS_ID_LEN) == 0) {
            return 1;
        }
    }
    return 0;
}

/*
 * That a key verifies a signature is true for ever, so a CRL that threads
 * share may learn it: an entry is written by one of them, once.
 */
static void remember(const stls_crl *crl, const unsigned char digest[STLS_ID_LEN])
{
    stls_crl_memo *memos = ((stls_crl *)crl)->memos;
    for (size_t i = 0; i < STLS_CRL_NUM_MEMOS; i++) {
        int expected = MEMO_FREE;
        if (atomic_compare_exchange_strong(&memos[i].state, &expected, MEMO_BEING_WRITTEN)) {
            memcpy(memos[i].key_digest, digest, STLS_ID_LEN);
            atomic_store_explicit(&memos[i].state, MEMO_READY, memory_order_release);
            return;
        }
    }
}

static int verify(const stls_crl_input *in, const stls_crl *crl, X509 *signer)
{
    unsigned char digest[STLS_ID_LEN];
    int is_hashed_whole = stls_signature_digest(crl->algorithm) == NULL;

    int has_digest = digest_key(signer, digest);
    if (has_digest && is_remembered(crl, digest)) {
        return 1;
    }
    if (has_digest && stls_crl_memory_refuses(in->memory, crl, digest)) {
        return 0;
    }
    if (is_hashed_whole && !stls_work_take(in->work, (int)(crl->tbs_len / BYTES_PER_SIGNATURE))) {
        return 0;
    }
    if (!stls_signature_verify(in->work, crl->algorithm, X509_get0_pubkey(signer), crl->sig,
                               crl->sig_len, crl->digest, crl->der + crl->tbs, crl->tbs_len)) {
        if (has_digest) {
            stls_crl_memory_refuse(in->memory, &in->policy->allocator, crl, digest);
        }
        return 0;
    }
    if (has_digest) {
        remember(crl, digest);
    }
    return 1;
}

int stls_crl_is_signed_by(const stls_crl_input *in, const stls_crl *crl, X509 *signer,
                          stls_reason *reason, const char **why)
{
    EVP_PKEY *key = X509_get0_pubkey(signer);
    stls_reason found = STLS_REASON_CRL_BAD_SIGNATURE;
    const char *text = NULL;

    if (stls_key_is_too_costly(key)) {
        found = STLS_REASON_CHAIN_WEAK;
        text = "the CRL issuer's key is larger than any that is in use";
    } else if (!stls_signature_is_strong(crl->algorithm, key,
                                         (int)in->policy->num[STLS_KEY_SECURITY_LEVEL])) {
        text = "the CRL's signature is below security_level";
    } else if (!verify(in, crl, signer)) {
        text = "the CRL's signature does not verify";
    }
    if (text != NULL && why != NULL) {
        *reason = found;
        *why = text;
    }
    return text == NULL;
}
