#include "text_buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_bytes(stls_text *out, const char *bytes, size_t len)
{
    if (out->out_of_memory) {
        return;
    }
    if (out->len + len + 1 > out->cap) {
        size_t cap = (out->len + len + 1) * 2;
        char *bigger = realloc(out->text, cap < 4096 ? 4096 : cap);
        if (bigger == NULL) {
            out->out_of_memory = 1;
            return;
        }
        out->text = bigger;
        out->cap = cap < 4096 ? 4096 : cap;
    }
    memcpy(out->text + out->len, bytes, len);
    out->len += len;
    out->text[out->len] = '\0';
}

void stls_text_put(stls_text *out, const char *text)
{
    put_bytes(out, text, strlen(text));
}

void stls_text_printf(stls_text *out, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    put_bytes(out, text, len < 0 ? 0 : len < (int)sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

void stls_text_html(stls_text *out, const char *value)
{
    for (; *value != '\0'; value++) {
        switch (*value) {
        case '&':
            stls_text_put(out, "&amp;");
            break;
        case '<':
            stls_text_put(out, "&lt;");
            break;
        case '>':
            stls_text_put(out, "&gt;");
            break;
        case '"':
            stls_text_put(out, "&quot;");
            break;
        case '\'':
            stls_text_put(out, "&#39;");
            break;
        default:
            put_bytes(out, *value >= 0x20 && *value < 0x7f ? value : "?", 1);
        }
    }
}

void stls_text_label(stls_text *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\') {
            put_bytes(out, "\\", 1);
            put_bytes(out, value, 1);
        } else if (*value == '\n') {
            stls_text_put(out, "\\n");
        } else {
            put_bytes(out, *value >= 0x20 && *value < 0x7f ? value : "?", 1);
        }
    }
}

void stls_text_clear(stls_text *out)
{
    free(out->text);
    memset(out, 0, sizeof(*out));
}
