#include "error.h"

#include <stdarg.h>
#include <stdio.h>

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
