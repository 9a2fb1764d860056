/* One line of key=value fields into a buffer, cut if need be; values are escaped. */
#ifndef STLS_LOG_LINE_H
#define STLS_LOG_LINE_H

#include <stddef.h>

typedef struct {
    char *buf; /* NUL-terminated by stls_line_end() */
    size_t len, used;
} stls_line;

void stls_line_text(stls_line *out, const char *text);
/* key="value", nothing where there is no value. */
void stls_line_field(stls_line *out, const char *key, const char *value);
/* key=value: names and addresses hold no blanks once escaped. */
void stls_line_bare(stls_line *out, const char *key, const char *value);
size_t stls_line_end(stls_line *out);

#endif
