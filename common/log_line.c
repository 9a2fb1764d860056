/* The log line: the same in every host, one line, values quoted and escaped. */
#include <stdio.h>
#include <string.h>

#include "result.h"

typedef struct {
    char *buf;
    size_t len, used;
} line;

static void put(line *out, char c)
{
    if (out->used + 1 < out->len) {
        out->buf[out->used++] = c;
    }
}

static void put_text(line *out, const char *text)
{
    for (; *text != '\0'; text++) {
        put(out, *text);
    }
}

/* Whoever chose the value cannot end the quotes, nor the line, nor drive a terminal. */
static void put_escaped(line *out, const char *value)
{
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '"' || c == '\\') {
            put(out, '\\');
            put(out, (char)c);
        } else if (c < 0x20 || c > 0x7e) {
            char hex[5];
            snprintf(hex, sizeof(hex), "\\x%02x", c);
            put_text(out, hex);
        } else {
            put(out, (char)c);
        }
    }
}

static void put_field(line *out, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        put(out, ' ');
        put_text(out, key);
        put_text(out, "=\"");
        put_escaped(out, value);
        put(out, '"');
    }
}

/* Names and addresses hold no blanks once escaped, so they go without quotes. */
static void put_bare(line *out, const char *key, const char *value)
{
    put(out, ' ');
    put_text(out, key);
    put(out, '=');
    put_escaped(out, value != NULL && value[0] != '\0' ? value : "-");
}

size_t stls_result_log_line(const stls_result *result, const char *addr, char *buf,
                            size_t buf_len)
{
    line out = {buf, buf_len, 0};
    char number[16];

    if (buf_len == 0) {
        return 0;
    }
    put_text(&out, "strict-tls: ");
    put_text(&out, result->word);
    if (result->client[0] != '\0') {
        put_field(&out, "peer", result->client);
    } else {
        put_bare(&out, "peer", result->name);
    }
    if (addr != NULL) {
        put_bare(&out, "addr", addr);
    }
    put_bare(&out, "reason", stls_reason_id(result->reason));
    if (result->cert_index >= 0) {
        snprintf(number, sizeof(number), "%d", result->cert_index);
        put_bare(&out, "cert", number);
    }
    put_field(&out, "subject", result->subject);
    put_field(&out, "detail", result->detail);
    put_field(&out, "remedy", result->remedy);
    buf[out.used] = '\0';
    return out.used;
}
