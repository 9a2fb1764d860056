/* The core's own allocations: always through the allocator that the host gave. */
#ifndef STLS_MEM_H
#define STLS_MEM_H

#include "strict_tls/strict_tls.h"

/* The libc allocator, used where a host gives none. */
extern const stls_allocator stls_libc_allocator;

/* Zeroed memory or NULL. */
void *stls_alloc(const stls_allocator *a, size_t len);
/* Copy with a NUL behind it, or NULL. */
void *stls_memdup(const stls_allocator *a, const void *bytes, size_t len);
char *stls_strdup(const stls_allocator *a, const char *text);
/* Room for `num` elements of `size`, the first `used` carried over; *ptr is replaced. */
stls_status stls_grow(const stls_allocator *a, void **ptr, size_t *cap, size_t used, size_t size);
void stls_dealloc(const stls_allocator *a, void *ptr); /* NULL is safe */

#endif
