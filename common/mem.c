#include "mem.h"

#include <stdlib.h>
#include <string.h>

static void *libc_alloc(void *baton, size_t len)
{
    (void)baton;
    return malloc(len);
}

static void libc_free(void *baton, void *ptr)
{
    (void)baton;
    free(ptr);
}

const stls_allocator stls_libc_allocator = {libc_alloc, libc_free, NULL};

void *stls_alloc(const stls_allocator *a, size_t len)
{
    void *ptr = a->alloc(a->baton, len ? len : 1);
    if (ptr != NULL) {
        memset(ptr, 0, len);
    }
    return ptr;
}

void *stls_memdup(const stls_allocator *a, const void *bytes, size_t len)
{
    char *copy = stls_alloc(a, len + 1);
    if (copy != NULL && len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

char *stls_strdup(const stls_allocator *a, const char *text)
{
    return stls_memdup(a, text, strlen(text));
}

stls_status stls_grow(const stls_allocator *a, void **ptr, size_t *cap, size_t used, size_t size)
{
    if (used < *cap) {
        return STLS_OK;
    }
    size_t wanted = *cap ? *cap * 2 : 8;
    void *bigger = stls_alloc(a, wanted * size);
    if (bigger == NULL) {
        return STLS_ERR_MEMORY;
    }
    if (used > 0) {
        memcpy(bigger, *ptr, used * size);
    }
    stls_dealloc(a, *ptr);
    *ptr = bigger;
    *cap = wanted;
    return STLS_OK;
}

void stls_dealloc(const stls_allocator *a, void *ptr)
{
    if (ptr != NULL) {
        a->free(a->baton, ptr);
    }
}
