/* Sentences for stls_error. */
#ifndef STLS_ERROR_H
#define STLS_ERROR_H

#include "strict_tls/strict_tls.h"

/* Fills `err` (may be NULL) and returns `status`, so that a caller can return it at once. */
stls_status stls_error_set(stls_error *err, stls_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Sets a mark in OpenSSL's error queue, which may hold errors of others.  The
 * caller ends with ERR_pop_to_mark().
 */
void stls_errors_mark(void);
/* The last error behind that mark is a failed allocation. */
int stls_errors_are_memory(void);

#endif
