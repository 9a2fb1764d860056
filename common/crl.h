/* A CRL that was walked once and is looked up from then on. */
#ifndef STLS_CRL_H
#define STLS_CRL_H

#include <stdatomic.h>

#include <openssl/x509v3.h>

#include "mem.h"

typedef enum {
    STLS_CRL_HEADER,
    STLS_CRL_HASH,   /* the digest that the signature is over */
    STLS_CRL_COUNT,  /* every entry is looked at, and counted */
    STLS_CRL_CLEAR,  /* the table, piece by piece: its pages come into being here */
    STLS_CRL_INSERT, /* every entry gets its place in the table */
    STLS_CRL_READY,
    STLS_CRL_BROKEN
} stls_crl_phase;

/* From this offset on entries belong to the certificateIssuer named there (RFC 5280 section 5.3.3). */
typedef struct {
    uint32_t entry;
    uint32_t names; /* offset of its GeneralNames */
    uint32_t names_len;
} stls_crl_issuer_mark;

/* A key that the signature was verified with, by its SubjectPublicKeyInfo's digest. */
typedef struct {
    atomic_int state;
    unsigned char key_digest[STLS_ID_LEN];
} stls_crl_memo;

#define STLS_CRL_NUM_MEMOS 2 /* one key signs a CRL; two certificates may carry it in two forms */

struct stls_crl_st {
    stls_allocator allocator;
    atomic_uint refs;
    unsigned char *der; /* entries are looked up in place: serials are compared whole */
    size_t der_len;
    void (*free_der)(void *der);
    stls_crl_phase phase;

    size_t tbs, tbs_len;         /* to-be-signed part, header included */
    size_t entries, entries_end; /* content of revokedCertificates */
    size_t at;                   /* how far the current phase has come */
    X509_ALGOR *algorithm;
    const unsigned char *sig;
    size_t sig_len;
    EVP_MD_CTX *md;
    unsigned char digest[EVP_MAX_MD_SIZE];
    stls_crl_memo memos[STLS_CRL_NUM_MEMOS];

    X509_NAME *issuer;
    int64_t this_update_s, next_update_s; /* next 0: absent */
    ISSUING_DIST_POINT *idp;              /* NULL: absent */
    CRL_DIST_POINTS *freshest;            /* where the delta lies */
    AUTHORITY_KEYID *akid;
    ASN1_INTEGER *number, *base_number; /* base: this is a delta (RFC 5280 section 5.2.4) */
    int lacks_memory;                   /* broken for that reason: the bytes may be fine */
    int is_unusable;                    /* an unknown critical extension (RFC 5280 section 5.2) */

    uint32_t num_entries;
    uint32_t *table; /* open addressing: offset of an entry, 0: free */
    uint32_t table_mask;
    stls_crl_issuer_mark *marks;
    size_t num_marks, cap_marks;
};

typedef struct {
    int64_t revoked_at_s;
    int reason; /* CRLReason, -1: not given */
} stls_crl_entry;

/*
 * 1 and `*entry` when the CRL lists this serial for this issuer; 0 when not;
 * -1 when it cannot be looked up: not walked through, or out of memory.
 */
int stls_crl_find(const stls_crl *crl, const X509 *cert, stls_crl_entry *entry);

#endif
