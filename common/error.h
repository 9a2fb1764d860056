/* Sentences for stls_error. */
#ifndef STLS_ERROR_H
#define STLS_ERROR_H

#include "strict_tls/strict_tls.h"

/* Fills `err` (may be NULL) and returns `status`, so that a caller can return it at once. */
stls_status stls_error_set(stls_error *err, stls_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Sets a mark in OpenSSL's error queue, which may hold errors of others.  The
 * caller ends with stls_errors_pop().
 */
void stls_errors_mark(void);
/*
 * Takes away what came behind that mark.  1: an allocation failed.  Where the
 * queue held nothing before, every error is looked at; else only the last one
 * can be, and the others are left in peace.
 */
int stls_errors_pop(void);
/* The same, but that an allocation failed is left for the one who has marked before. */
void stls_errors_pass_on(void);

#endif
