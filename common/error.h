/* Sentences for stls_error. */
#ifndef STLS_ERROR_H
#define STLS_ERROR_H

#include "strict_tls/strict_tls.h"

/* Fills `err` (may be NULL) and returns `status`, so that a caller can return it at once. */
stls_status stls_error_set(stls_error *err, stls_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
