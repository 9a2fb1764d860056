/* Text that grows, and the escapes that renderings need. */
#ifndef STLS_TEXT_BUFFER_H
#define STLS_TEXT_BUFFER_H

#include <stddef.h>

typedef struct {
    char *text; /* from malloc, NUL-terminated once something was put */
    size_t len, cap;
    int out_of_memory; /* something was lost: the text must not be shown */
} stls_text;

void stls_text_put(stls_text *out, const char *text);
void stls_text_printf(stls_text *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* For element content and quoted attributes. */
void stls_text_html(stls_text *out, const char *value);
/* For a label's value in Prometheus' text format. */
void stls_text_label(stls_text *out, const char *value);
void stls_text_clear(stls_text *out);

#endif
