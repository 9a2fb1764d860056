/*
 * What one check has found out about the signers of CRLs, so that it pays for
 * each signature once however often the CRLs are judged: which keys did not
 * sign a CRL (which one did, the CRL itself knows), and which paths signers have.
 */
#ifndef STLS_CRL_MEMORY_H
#define STLS_CRL_MEMORY_H

#include "crl.h"

typedef struct {
    const stls_crl *crl;
    unsigned char key_digest[STLS_ID_LEN];
} stls_crl_refusal;

typedef struct {
    const X509 *signer, *about; /* kept by the check */
    STACK_OF(X509) *chain;      /* NULL: there is none */
} stls_crl_path;

typedef struct {
    stls_crl_refusal *refusals;
    size_t num_refusals, cap_refusals;
    stls_crl_path *paths;
    size_t num_paths, cap_paths;
} stls_crl_memory;

void stls_crl_memory_clear(stls_crl_memory *memory, const stls_allocator *a);

/* All of these take NULL for a memory, and then remember nothing. */

/* 1: that key is known not to have signed the CRL. */
int stls_crl_memory_refuses(const stls_crl_memory *memory, const stls_crl *crl,
                            const unsigned char key_digest[STLS_ID_LEN]);
void stls_crl_memory_refuse(stls_crl_memory *memory, const stls_allocator *a, const stls_crl *crl,
                            const unsigned char key_digest[STLS_ID_LEN]);
/* Before the CRL is freed: another may come to lie at the same place. */
void stls_crl_memory_forget(stls_crl_memory *memory, const stls_crl *crl);

/* The path that was found for `signer` where `about` was in question; NULL: not looked for yet. */
const stls_crl_path *stls_crl_memory_find_path(const stls_crl_memory *memory, const X509 *signer,
                                               const X509 *about);
/* 1: the chain (may be NULL) is the memory's from here on, which keeps it until it is cleared. */
int stls_crl_memory_keep_path(stls_crl_memory *memory, const stls_allocator *a, const X509 *signer,
                              const X509 *about, STACK_OF(X509) *chain);

#endif
