#include "crl_memory.h"

#include <string.h>

void stls_crl_memory_clear(stls_crl_memory *memory, const stls_allocator *a)
{
    for (size_t i = 0; i < memory->num_paths; i++) {
        sk_X509_pop_free(memory->paths[i].chain, X509_free);
    }
    stls_dealloc(a, memory->paths);
    stls_dealloc(a, memory->refusals);
    memset(memory, 0, sizeof(*memory));
}

int stls_crl_memory_refuses(const stls_crl_memory *memory, const stls_crl *crl,
                            const unsigned char key_digest[STLS_ID_LEN])
{
    for (size_t i = 0; memory != NULL && i < memory->num_refusals; i++) {
        const stls_crl_refusal *one = &memory->refusals[i];
        if (one->crl == crl && memcmp(one->key_digest, key_digest, STLS_ID_LEN) == 0) {
            return 1;
        }
    }
    return 0;
}

void stls_crl_memory_refuse(stls_crl_memory *memory, const stls_allocator *a, const stls_crl *crl,
                            const unsigned char key_digest[STLS_ID_LEN])
{
    if (memory == NULL
        || stls_grow(a, (void **)&memory->refusals, &memory->cap_refusals, memory->num_refusals,
                     sizeof(*memory->refusals))
               != STLS_OK) {
        return; /* it is found out again */
    }
    stls_crl_refusal *one = &memory->refusals[memory->num_refusals++];
    one->crl = crl;
    memcpy(one->key_digest, key_digest, STLS_ID_LEN);
}

void stls_crl_memory_forget(stls_crl_memory *memory, const stls_crl *crl)
{
    size_t num = 0;
    for (size_t i = 0; i < memory->num_refusals; i++) {
        if (memory->refusals[i].crl != crl) {
            memory->refusals[num++] = memory->refusals[i];
        }
    }
    memory->num_refusals = num;
}

const stls_crl_path *stls_crl_memory_find_path(const stls_crl_memory *memory, const X509 *signer,
                                               const X509 *about)
{
    for (size_t i = 0; memory != NULL && i < memory->num_paths; i++) {
        if (memory->paths[i].signer == signer && memory->paths[i].about == about) {
            return &memory->paths[i];
        }
    }
    return NULL;
}

int stls_crl_memory_keep_path(stls_crl_memory *memory, const stls_allocator *a, const X509 *signer,
                              const X509 *about, STACK_OF(X509) *chain)
{
    if (memory == NULL
        || stls_grow(a, (void **)&memory->paths, &memory->cap_paths, memory->num_paths,
                     sizeof(*memory->paths))
               != STLS_OK) {
        return 0;
    }
    memory->paths[memory->num_paths++] = (stls_crl_path){signer, about, chain};
    return 1;
}
