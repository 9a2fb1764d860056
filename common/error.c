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

void stls_errors_mark(void)
{
    ERR_set_mark();
    ERR_raise(ERR_LIB_USER, 1); /* so that the last error is never one from before */
}

int stls_errors_are_memory(void)
{
    return ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
}
