/*
 * What judging one peer may cost.  Public-key operations are by far the
 * dearest part, and a peer, a responder or a CRL chooses how many there are:
 * each is counted here before it is carried out, whoever caused it, and
 * max_signatures bounds them.  Beyond the bound nothing is verified any more,
 * and the check rejects (chain.too_costly), under `revocation soft` as well.
 */
#ifndef STLS_WORK_H
#define STLS_WORK_H

#include <openssl/x509_vfy.h>

#include "policy.h"

typedef struct {
    int64_t left;                    /* public-key operations */
    int is_exceeded;                 /* one was refused: the check must not accept */
    int lacks_memory;                /* something was not looked at: likewise */
    stls_memo *memo;                 /* borrowed; or NULL. What it saves is counted all the same */
    X509_STORE_CTX_verify_fn verify; /* OpenSSL's own, behind stls_work_guard() */
} stls_work;

void stls_work_init(stls_work *work, const stls_policy *policy);

/* 1: so many operations are counted and may be carried out; 0: they may not. */
int stls_work_take(stls_work *work, int num);

/*
 * Whether a key is so large that using it costs more than keys of the WebPKI
 * do: an RSA modulus beyond 8192 bits or an exponent beyond 256 (CA/Browser
 * Forum baseline requirements 6.1.6), a DSA modulus beyond 4096.  Such a key is
 * treated as weak, and verifies nothing.
 */
int stls_key_is_too_costly(const EVP_PKEY *key);

/*
 * Puts the same bounds on X509_verify_cert(): its signatures are counted, and
 * a chain with a key that is too costly ends in X509_V_ERR_CA_KEY_TOO_SMALL
 * (or EE_) before any is verified.  Uses the context's app data; 0 when out of
 * memory: do not verify then.
 */
int stls_work_guard(stls_work *work, X509_STORE_CTX *ctx);

#endif
