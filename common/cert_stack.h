/* Where in a stack of certificates one lies. */
#ifndef STLS_CERT_STACK_H
#define STLS_CERT_STACK_H

#include <openssl/x509.h>

/* Index of the first that equals `cert` byte for byte; -1 (STLS_NO_CERT) if there is none. */
int stls_cert_index(const STACK_OF(X509) *stack, const X509 *cert);

#endif
