/*
 * What the fuzz targets share.  seeds.c writes a PKI and a corpus for each
 * target into a folder; STRICT_TLS_FUZZ_DIR names it.
 */
#ifndef STLS_FUZZ_H
#define STLS_FUZZ_H

#include <stdint.h>
#include <stdlib.h>

#include "check.h"

#define NOW_S INT64_C(1790000000) /* as in tests/unit/support.h, which made the seeds */
#define LEAF_NAME "api.example.com"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Ends the run: the core said something that it must never say. */
#define MUST(what)                                                                                 \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

typedef struct {
    unsigned char *bytes;
    size_t len;
} fuzz_file;

/* A file of the folder; ends the run where there is none. */
fuzz_file fuzz_read(const char *name);
X509 *fuzz_cert(const char *name);

extern X509 *fuzz_leaf, *fuzz_inter, *fuzz_root;
extern stls_anchors *fuzz_anchors;

stls_policy *fuzz_policy(const char *text);

/* The next length-prefixed (16 bits) piece of the input; 0 at its end. */
int fuzz_next(const uint8_t **data, size_t *len, const uint8_t **piece, size_t *piece_len);

/* What must hold whenever a check is final. */
void fuzz_must_hold(stls_check *check);

#endif
