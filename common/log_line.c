/* The log line: the same in every host, one line, values quoted and escaped. */
#include <stdio.h>
#include <string.h>

#include "log_line.h"
#include "result.h"

static void put(stls_line *out, char c)
{
    if (out->used + 1 < out->len) {
        out->buf[out->used++] = c;
    }
}

void stls_line_text(stls_line *out, const char *text)
{
    for (; *text != '\0'; text++) {
        put(out, *text);
    }
}

/* Whoever chose the value cannot end the quotes, nor the line, nor drive a terminal. */
static void put_escaped(stls_line *out, const char *value)
{
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '"' || c == '\\') {
            put(out, '\\');
            put(out, (char)c);
        } else if (c < 0x20 || c > 0x7e) {
            char hex[5];
            snprintf(hex, sizeof(hex), "\\x%02x", c);
            stls_line_text(out, hex);
        } else {
            put(out, (char)c);
        }
    }
}

void stls_line_field(stls_line *out, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        put(out, ' ');
        stls_line_text(out, key);
        stls_line_text(out, "=\"");
        put_escaped(out, value);
        put(out, '"');
    }
}

/* Names and addresses hold no blanks once escaped, so they go without quotes. */
void stls_line_bare(stls_line *out, const char *key, const char *value)
{
    put(out, ' ');
    stls_line_text(out, key);
    put(out, '=');
    put_escaped(out, value != NULL && value[0] != '\0' ? value : "-");
}

size_t stls_line_end(stls_line *out)
{
    if (out->len > 0) {
        out->buf[out->used] = '\0';
    }
    return out->used;
}

size_t stls_result_log_line(const stls_result *result, const char *addr, char *buf, size_t buf_len)
{
    stls_line out = {buf, buf_len, 0};
    char number[16];

    if (buf_len == 0) {
        return 0;
    }
    stls_line_text(&out, "strict-tls: ");
    stls_line_text(&out, result->word);
    if (result->client[0] != '\0') {
        stls_line_field(&out, "peer", result->client);
    } else {
        stls_line_bare(&out, "peer", result->name);
    }
    if (addr != NULL) {
        stls_line_bare(&out, "addr", addr);
    }
    stls_line_bare(&out, "reason", stls_reason_id(result->reason));
    if (result->cert_index >= 0) {
        snprintf(number, sizeof(number), "%d", result->cert_index);
        stls_line_bare(&out, "cert", number);
    }
    stls_line_field(&out, "subject", result->subject);
    stls_line_field(&out, "detail", result->detail);
    stls_line_field(&out, "remedy", result->remedy);
    return stls_line_end(&out);
}
