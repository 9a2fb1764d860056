/* Signatures of OCSP responses and CRLs. */
#ifndef STLS_SIGNATURE_H
#define STLS_SIGNATURE_H

#include <openssl/evp.h>
#include <openssl/x509.h>

/* The digest that this signature algorithm hashes with; NULL where it hashes by itself (EdDSA). */
const EVP_MD *stls_signature_digest(const X509_ALGOR *algorithm);

/* Whether the digest holds an OpenSSL security level (SSL_CTX_set_security_level(3)). */
int stls_signature_is_strong(const X509_ALGOR *algorithm, int level);

/*
 * Verifies a signature over data of which only the digest is at hand; where
 * the algorithm hashes by itself, over `data`.  1 only if it is good.
 */
int stls_signature_verify(const X509_ALGOR *algorithm, EVP_PKEY *key, const unsigned char *sig,
                          size_t sig_len, const unsigned char *digest, const unsigned char *data,
                          size_t data_len);

#endif
