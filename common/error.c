#include "error.h"

#include <stdarg.h>
#include <stdio.h>

#include <openssl/err.h>

stls_status stls_error_set(stls_error *err, stls_status status, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
    }
    return status;
}

#define MARK_REASON 1 /* of ERR_LIB_USER */

static int is_mark(unsigned long error)
{
    return ERR_GET_LIB(error) == ERR_LIB_USER && ERR_GET_REASON(error) == MARK_REASON;
}

/* OpenSSL does not always say that it was memory that an operation could not begin for. */
static int is_memory(unsigned long error)
{
    return ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE
           || (ERR_GET_LIB(error) == ERR_LIB_EVP
               && ERR_GET_REASON(error) == EVP_R_INITIALIZATION_ERROR);
}

static void raise_mark(void)
{
    ERR_raise(ERR_LIB_USER, MARK_REASON);
}

void stls_errors_mark(void)
{
    ERR_set_mark();
    raise_mark(); /* so that the last error is never one from before */
}

int stls_errors_pop(void)
{
    unsigned long error;
    int has_memory = is_memory(ERR_peek_last_error()), num_marks = 0;

    if (!is_mark(ERR_peek_error())) {
        ERR_pop_to_mark();
        return has_memory;
    }
    while ((error = ERR_get_error()) != 0) {
        has_memory |= is_memory(error);
        num_marks += is_mark(error);
    }
    for (int i = 1; i < num_marks; i++) {
        raise_mark(); /* of the callers that have marked before */
    }
    return has_memory;
}

void stls_errors_pass_on(void)
{
    if (stls_errors_pop()) {
        ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
    }
}
