/* Signatures of OCSP responses and CRLs. */
#ifndef STLS_SIGNATURE_H
#define STLS_SIGNATURE_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "work.h"

/* The digest that this signature algorithm hashes with; NULL where it hashes by itself (EdDSA). */
const EVP_MD *stls_signature_digest(const X509_ALGOR *algorithm);

/*
 * Whether a signature holds an OpenSSL security level
 * (SSL_CTX_set_security_level(3)): its digest, or where the algorithm hashes by
 * itself (EdDSA, ML-DSA, SLH-DSA) the key that it is verified with.  A key that
 * is too costly (work.h) holds none.
 */
int stls_signature_is_strong(const X509_ALGOR *algorithm, const EVP_PKEY *key, int level);

/*
 * Verifies a signature over data of which only the digest is at hand; where
 * the algorithm hashes by itself, over `data`.  1 only if it is good.  Counts
 * as one operation of `work`; beyond its bound, and with a key that is too
 * costly, nothing is verified.
 */
int stls_signature_verify(stls_work *work, const X509_ALGOR *algorithm, EVP_PKEY *key,
                          const unsigned char *sig, size_t sig_len, const unsigned char *digest,
                          const unsigned char *data, size_t data_len);

#endif
