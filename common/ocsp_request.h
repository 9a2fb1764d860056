/* The question put to an OCSP responder (RFC 6960 section 4.1, RFC 5019 section 2.1). */
#ifndef STLS_OCSP_REQUEST_H
#define STLS_OCSP_REQUEST_H

#include <openssl/ocsp.h>

#include "mem.h"
#include "x509_text.h"

/* Names the question "is `cert` of `issuer` revoked?", whoever is asked. */
stls_status stls_ocsp_question(const X509 *cert, const X509 *issuer,
                               unsigned char question[STLS_ID_LEN]);

typedef struct {
    unsigned char *der; /* NULL for GET */
    size_t der_len;
    char *url;             /* the responder's; for GET with the encoded request behind it */
    OCSP_REQUEST *request; /* kept to compare the nonce */
} stls_ocsp_request;

/* GET where the encoded request is short enough for caches, POST otherwise or with a nonce. */
stls_status stls_ocsp_request_make(stls_ocsp_request *request, const stls_allocator *a,
                                   const X509 *cert, const X509 *issuer, const char *url,
                                   int with_nonce);
void stls_ocsp_request_clear(stls_ocsp_request *request, const stls_allocator *a);

#endif
