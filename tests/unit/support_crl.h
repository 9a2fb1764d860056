/* CRLs of every kind, made by the usual PKI's keys. */
#ifndef STLS_UNIT_SUPPORT_CRL_H
#define STLS_UNIT_SUPPORT_CRL_H

#include "support.h"

typedef struct {
    X509 *issuer; /* NULL: the usual intermediate, with its key */
    size_t issuer_key;
    int64_t this_update_s; /* 0: an hour ago */
    int64_t next_update_s; /* 0: in a day; -1: absent */
    X509 *revoked[4];
    int reason;                   /* CRLReason of all of them; 0: none is given */
    size_t num_others;            /* entries about nobody, before them */
    const char *extension;        /* "critical,DER:..." of an unknown one */
    const char *digest;           /* NULL: SHA256 */
    void (*shape)(X509_CRL *crl); /* adds whatever else, before it is signed */
} aid_crl;

/* For `shape`: NID_crl_number, or NID_delta_crl of the base, which is critical. */
void aid_add_crl_number(X509_CRL *crl, int nid, int64_t value);

/* DER, kept until aid_end(). */
aid_bytes aid_make_crl(const aid_crl *spec);
/* Walked through. Kept until aid_end(). */
stls_crl *aid_index_crl(aid_bytes der);
/* The same as a PEM block. */
aid_bytes aid_crl_pem(aid_bytes der);
aid_bytes aid_join(const aid_bytes *parts, size_t num);

/* Read through and ready, in steps of `budget`; NULL and why if it cannot be. Kept. */
stls_crl_file *aid_crl_file(aid_bytes bytes, size_t budget, stls_error *err);

#endif
