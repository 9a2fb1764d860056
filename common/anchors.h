#ifndef STLS_ANCHORS_H
#define STLS_ANCHORS_H

#include <stdatomic.h>

#include "mem.h"

struct stls_anchors_st {
    stls_allocator allocator;
    atomic_uint refs;
    int frozen;
    X509_STORE *store;           /* self-signed certificates only */
    STACK_OF(X509) *anchors;     /* the same, in order of loading */
    STACK_OF(X509) *not_anchors; /* what else lay in the bundle: for diagnosis, never for paths */
    unsigned char id[STLS_ID_LEN];
};

/* Whether `cert` is, byte for byte, one of the anchors. */
int stls_anchors_contain(const stls_anchors *anchors, const X509 *cert);

#endif
