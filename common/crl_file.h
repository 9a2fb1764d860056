/* The CRLs of the administrator's file, indexed. */
#ifndef STLS_CRL_FILE_H
#define STLS_CRL_FILE_H

#include <stdatomic.h>

#include "crl.h"

typedef enum {
    STLS_FILE_HASH,     /* its id */
    STLS_FILE_SCAN,     /* where does the next CRL begin? */
    STLS_FILE_FIND_END, /* and where does it end? */
    STLS_FILE_DECODE,   /* base64 */
    STLS_FILE_WALK,     /* what is in it */
    STLS_FILE_READY,
    STLS_FILE_BROKEN
} stls_file_phase;

struct stls_crl_file_st {
    stls_allocator allocator;
    atomic_uint refs;
    unsigned char *bytes; /* until it is read through */
    size_t len;
    void (*free_bytes)(void *bytes);
    stls_file_phase phase;
    int lacks_memory; /* broken for that reason: the bytes may be fine */
    size_t at;
    size_t end; /* of the block being decoded */
    EVP_MD_CTX *md;
    uint32_t quantum;   /* of base64: up to four characters, six bits each */
    int num_chars;      /* in it */
    unsigned char *der; /* being decoded */
    size_t der_len;
    int num_padding; /* how many '=' have come: nothing but those may follow */
    stls_crl *open;  /* being walked through */
    unsigned char id[STLS_ID_LEN];
    stls_crl **crls;
    size_t num_crls, cap_crls;
};

#endif
