/*
 * Reads one HTTP/1 reply (RFC 9112).
 *
 * A reply is for one request on a connection of its own, so nothing that
 * follows it is ever looked at.  What two parties could read differently is
 * refused, not guessed:
 *
 *   both Content-Length and Transfer-Encoding   refused (section 6.3)
 *   Transfer-Encoding other than "chunked", or
 *   twice, or in an HTTP/1.0 reply              refused (sections 6.1, 6.3)
 *   Content-Length more than once               taken if all are equal (section 6.3)
 *   Content-Length that is not a number         refused
 *   a length above the bound, or overflowing    too large, before any of it arrives
 *   a length in a 1xx reply or in a trailer     refused (RFC 9110 sections 8.6, 6.5.1)
 *   a folded field                              skipped; refused where it is about the length
 *   space before a field's colon, no colon      refused (section 5.1)
 *   NUL, CR without LF, other control bytes     refused (section 2.2, RFC 9110 section 5.5)
 *   LF without CR                               ends a line of the header (section 2.2), not of a chunk
 *   a body that ends before its length          refused (section 8)
 *
 * Every body wanted here is one DER value.  Its own length says when a body
 * that ends with the connection is complete: a responder may keep that open.
 * A body with a length, or in chunks, must arrive whole.
 */
#include "http_reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mem.h"

#define TOKEN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
#define MAX_CHUNK_DIGITS 16
#define CRLF_LEN 2

__attribute__((format(printf, 3, 4))) static stls_http_state
end_with(stls_http_reply *reply, stls_http_state state, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reply->error, sizeof(reply->error), format, args);
    va_end(args);
    return reply->state = state;
}

static stls_http_state malformed(stls_http_reply *reply, const char *what)
{
    return end_with(reply, STLS_HTTP_FAILED, "the reply is malformed: %s", what);
}

static stls_http_state body_too_large(stls_http_reply *reply)
{
    return end_with(reply, STLS_HTTP_TOO_LARGE, "the reply's body is larger than %zu bytes",
                    reply->max_body_len);
}

/* ---- the body: one DER value in one buffer of the right size ------------------ */

/* From the first bytes of the DER; 0 as long as they are too few. */
static size_t der_total(const unsigned char *head, size_t len)
{
    if (len < 2) {
        return 0;
    }
    size_t num = head[1] & 0x80 ? head[1] & 0x7f : 0, total = head[1];
    if (len < 2 + num) {
        return 0;
    }
    if (num > 0) {
        total = 0;
        for (size_t i = 0; i < num; i++) {
            total = total << 8 | head[2 + i];
        }
    }
    return 2 + num + total;
}

/* Takes in the head of the value; returns how many bytes of `bytes` that were. */
static size_t begin_value(stls_http_reply *reply, const unsigned char *bytes, size_t len)
{
    size_t taken = 0;

    while (reply->head_len < sizeof(reply->head) && taken < len && reply->value_total == 0) {
        reply->head[reply->head_len++] = bytes[taken++];
        reply->value_total = der_total(reply->head, reply->head_len);
    }
    int is_long = reply->head_len >= 2 && (reply->head[1] & 0x80);
    size_t num_length_bytes = reply->head[1] & 0x7f;
    if (reply->head[0] != 0x30 || (is_long && (num_length_bytes == 0 || num_length_bytes > 4))) {
        end_with(reply, STLS_HTTP_FAILED, "the reply's body is not a DER sequence");
        return taken;
    }
    if (reply->value_total == 0) {
        return taken;
    }
    if (reply->value_total > reply->max_body_len) {
        body_too_large(reply);
        return taken;
    }
    /* Untouched pages of a length that was only claimed cost nothing. */
    reply->value = malloc(reply->value_total > sizeof(reply->head) ? reply->value_total
                                                                   : sizeof(reply->head));
    if (reply->value == NULL) {
        end_with(reply, STLS_HTTP_LOCAL, "out of memory");
        return taken;
    }
    memcpy(reply->value, reply->head, reply->head_len);
    reply->value_len = reply->head_len;
    return taken;
}

static stls_http_state append_value(stls_http_reply *reply, const unsigned char *bytes, size_t len)
{
    if (reply->value == NULL && len > 0) {
        size_t taken = begin_value(reply, bytes, len);
        if (reply->value == NULL) {
            return reply->state;
        }
        bytes += taken;
        len -= taken;
    }
    size_t left = reply->value_total - reply->value_len;
    if (len > left) {
        int is_framed = reply->has_length || reply->is_chunked;
        if (is_framed && !reply->may_have_tail) {
            return end_with(reply, STLS_HTTP_FAILED, "the reply's body is longer than its value");
        }
        len = left;
    }
    if (len > 0) {
        memcpy(reply->value + reply->value_len, bytes, len);
        reply->value_len += len;
    }
    return STLS_HTTP_MORE;
}

/* Behind the last byte of a framed body. */
static stls_http_state end_framed(stls_http_reply *reply)
{
    if (reply->value == NULL || reply->value_len < reply->value_total) {
        return end_with(reply, STLS_HTTP_FAILED, "the reply's body ends before its value does");
    }
    return reply->state = STLS_HTTP_DONE;
}

/* ---- lines --------------------------------------------------------------------- */

/*
 * Takes in bytes of the line that is arriving, up to its LF.  1: the line is
 * complete, without its end and with a NUL behind it; 0: more must come, or
 * the reply is over.
 */
static int take_line(stls_http_reply *reply, const unsigned char **bytes, size_t *len)
{
    while (*len > 0) {
        char c = (char)**bytes;
        if (reply->header_left == 0) {
            end_with(reply, STLS_HTTP_TOO_LARGE,
                     "the reply's header is larger than max_reply_header_bytes");
            return 0;
        }
        if (stls_grow(&stls_libc_allocator, (void **)&reply->line, &reply->line_cap,
                      reply->line_len, 1)
            != STLS_OK) {
            end_with(reply, STLS_HTTP_LOCAL, "out of memory");
            return 0;
        }
        reply->header_left--;
        ++*bytes;
        --*len;
        if (c == '\n') {
            reply->line[reply->line_len] = '\0';
            return 1;
        }
        reply->line[reply->line_len++] = c;
    }
    return 0;
}

/* 1: the line ended in CR LF, whose CR is now off. */
static int strip_cr(stls_http_reply *reply)
{
    if (reply->line_len == 0 || reply->line[reply->line_len - 1] != '\r') {
        return 0;
    }
    reply->line[--reply->line_len] = '\0';
    return 1;
}

/* CR is one of them: the one that belongs to the line's end is off. */
static int has_control_byte(const stls_http_reply *reply)
{
    for (size_t i = 0; i < reply->line_len; i++) {
        unsigned char c = (unsigned char)reply->line[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return 1;
        }
    }
    return 0;
}

/* Optional white space off both ends of it (RFC 9110 section 5.6.3). */
static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t')) {
        text[--len] = '\0';
    }
    return text;
}

/* ---- status line, fields and trailers --------------------------------------------- */

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Wrong bytes are refused as soon as they arrive: what is not HTTP may never send a line feed. */
static stls_http_state check_protocol(stls_http_reply *reply)
{
    static const char wanted[] = "HTTP/1.";
    size_t len = reply->line_len < sizeof(wanted) - 1 ? reply->line_len : sizeof(wanted) - 1;

    if (len > 0 && memcmp(reply->line, wanted, len) != 0) {
        return end_with(reply, STLS_HTTP_FAILED, "the reply is not HTTP/1");
    }
    return STLS_HTTP_MORE;
}

/* HTTP/1.1 200 and a reason that nobody reads (RFC 9112 section 4). */
static stls_http_state read_status(stls_http_reply *reply)
{
    const char *line = reply->line;
    const char *code = line + 9;

    if (check_protocol(reply) != STLS_HTTP_MORE) {
        return reply->state;
    }
    if (reply->line_len < 12 || !is_digit(line[7]) || line[8] != ' ' || !is_digit(code[0])
        || !is_digit(code[1]) || !is_digit(code[2]) || (code[3] != '\0' && code[3] != ' ')) {
        return end_with(reply, STLS_HTTP_FAILED, "the reply is not HTTP/1");
    }
    if (has_control_byte(reply)) {
        return malformed(reply, "a control character in the status line");
    }
    reply->status = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
    reply->is_http_1_0 = line[7] == '0';
    reply->has_field = 0;
    /* Nobody asked for another protocol: 101 is no interim reply here. */
    if (reply->status != 200 && (reply->status / 100 != 1 || reply->status == 101)) {
        return end_with(reply, STLS_HTTP_FAILED, "HTTP status %03d%s", reply->status,
                        reply->status / 100 == 3 ? ": a redirect is not followed" : "");
    }
    reply->part = STLS_REPLY_FIELDS;
    return STLS_HTTP_MORE;
}

/* One number, or several that are equal, with commas between them (RFC 9112 section 6.3). */
static stls_http_state read_length(stls_http_reply *reply, char *value)
{
    char *next;

    for (; value != NULL; value = next) {
        size_t length = 0;
        next = strchr(value, ',');
        if (next != NULL) {
            *next++ = '\0';
        }
        value = trim(value);
        if (*value == '\0' || strspn(value, "0123456789") != strlen(value)) {
            return malformed(reply, "Content-Length is not a number");
        }
        for (const char *c = value; *c != '\0'; c++) {
            size_t digit = (size_t)(*c - '0');
            if (digit > reply->max_body_len || length > (reply->max_body_len - digit) / 10) {
                return body_too_large(reply);
            }
            length = length * 10 + digit;
        }
        if (reply->has_length && length != reply->length) {
            return malformed(reply, "two different Content-Length");
        }
        reply->has_length = 1;
        reply->length = length;
    }
    return STLS_HTTP_MORE;
}

static stls_http_state read_encoding(stls_http_reply *reply, char *value)
{
    if (reply->is_http_1_0) {
        return malformed(reply, "Transfer-Encoding in HTTP/1.0");
    }
    if (reply->is_chunked || strcasecmp(trim(value), "chunked") != 0) {
        return malformed(reply, "Transfer-Encoding is not just \"chunked\"");
    }
    reply->is_chunked = 1;
    return STLS_HTTP_MORE;
}

static stls_http_state read_field(stls_http_reply *reply)
{
    char *colon;

    if (has_control_byte(reply)) {
        return malformed(reply, "a control character in a header field");
    }
    if (reply->line[0] == ' ' || reply->line[0] == '\t') {
        return reply->has_field && !reply->is_framing_field
                   ? STLS_HTTP_MORE
                   : malformed(reply, "a folded line where none may be");
    }
    colon = strchr(reply->line, ':');
    if (colon == NULL || colon == reply->line
        || strspn(reply->line, TOKEN) != (size_t)(colon - reply->line)) {
        return malformed(reply, "a header line is not NAME: VALUE");
    }
    *colon = '\0';
    int is_length = strcasecmp(reply->line, "Content-Length") == 0;
    int is_encoding = strcasecmp(reply->line, "Transfer-Encoding") == 0;
    reply->has_field = 1;
    reply->is_framing_field = is_length || is_encoding;
    if (!reply->is_framing_field) {
        return STLS_HTTP_MORE;
    }
    if (reply->status != 200 || reply->part == STLS_REPLY_TRAILER) {
        return malformed(reply, "the body's length where none may be");
    }
    return is_length ? read_length(reply, colon + 1) : read_encoding(reply, colon + 1);
}

/* The empty line. */
static stls_http_state end_header(stls_http_reply *reply)
{
    if (reply->status != 200) {
        reply->part = STLS_REPLY_STATUS; /* the reply proper is still to come */
        return STLS_HTTP_MORE;
    }
    if (reply->is_chunked && reply->has_length) {
        return malformed(reply, "both Content-Length and Transfer-Encoding");
    }
    reply->part = reply->is_chunked ? STLS_REPLY_CHUNK_SIZE : STLS_REPLY_BODY;
    reply->framed_left = reply->length;
    return reply->has_length && reply->length == 0 ? end_framed(reply) : STLS_HTTP_MORE;
}

/* SIZE in hex, then nothing or extensions, which mean nothing here (RFC 9112 section 7.1). */
static stls_http_state read_chunk_size(stls_http_reply *reply)
{
    static const char digits[] = "0123456789abcdef";
    size_t num_digits = strspn(reply->line, "0123456789abcdefABCDEF");
    const char *after = reply->line + num_digits;
    size_t size = 0;

    after += strspn(after, " \t"); /* some servers pad it */
    if (num_digits == 0 || num_digits > MAX_CHUNK_DIGITS || has_control_byte(reply)
        || (*after != '\0' && *after != ';')) {
        return malformed(reply, "a chunk has no size");
    }
    for (size_t i = 0; i < num_digits; i++) {
        char c = reply->line[i];
        size_t digit = (size_t)(strchr(digits, is_digit(c) ? c : c | 0x20) - digits);
        if (digit > reply->max_body_len || size > (reply->max_body_len - digit) / 16) {
            return body_too_large(reply);
        }
        size = size * 16 + digit;
    }
    if (size > reply->max_body_len - reply->framed_len) {
        return body_too_large(reply);
    }
    if (size == 0) {
        reply->part = STLS_REPLY_TRAILER;
        reply->has_field = 0;
        return STLS_HTTP_MORE;
    }
    /* What no chunk can do without is paid by its data, which is bounded. */
    reply->header_left += num_digits + CRLF_LEN;
    reply->framed_len += size;
    reply->framed_left = size;
    reply->part = STLS_REPLY_CHUNK_DATA;
    return STLS_HTTP_MORE;
}

static stls_http_state read_chunk_end(stls_http_reply *reply)
{
    if (reply->line_len > 0) {
        return malformed(reply, "a chunk is longer than its size");
    }
    reply->header_left += CRLF_LEN;
    reply->part = STLS_REPLY_CHUNK_SIZE;
    return STLS_HTTP_MORE;
}

static stls_http_state read_line(stls_http_reply *reply)
{
    int had_cr = strip_cr(reply);
    int is_chunk = reply->part == STLS_REPLY_CHUNK_SIZE || reply->part == STLS_REPLY_CHUNK_END;

    if (is_chunk && !had_cr) {
        return malformed(reply, "a chunk's line does not end in CR LF");
    }
    switch (reply->part) {
    case STLS_REPLY_STATUS:
        return read_status(reply);
    case STLS_REPLY_FIELDS:
        return reply->line_len > 0 ? read_field(reply) : end_header(reply);
    case STLS_REPLY_CHUNK_SIZE:
        return read_chunk_size(reply);
    case STLS_REPLY_CHUNK_END:
        return read_chunk_end(reply);
    default:
        return reply->line_len > 0 ? read_field(reply) : end_framed(reply);
    }
}

/* ---- all of it ------------------------------------------------------------------------ */

/* Bytes of the body or of a chunk. */
static stls_http_state read_data(stls_http_reply *reply, const unsigned char **bytes, size_t *len)
{
    int is_framed = reply->has_length || reply->is_chunked;
    size_t num = is_framed && *len > reply->framed_left ? reply->framed_left : *len;
    stls_http_state state = append_value(reply, *bytes, num);

    *bytes += num;
    *len -= num;
    if (state != STLS_HTTP_MORE) {
        return state;
    }
    if (!is_framed) {
        int is_complete = reply->value != NULL && reply->value_len == reply->value_total;
        return is_complete ? reply->state = STLS_HTTP_DONE : STLS_HTTP_MORE;
    }
    reply->framed_left -= num;
    if (reply->framed_left > 0) {
        return STLS_HTTP_MORE;
    }
    if (reply->is_chunked) {
        reply->part = STLS_REPLY_CHUNK_END;
        return STLS_HTTP_MORE;
    }
    return end_framed(reply);
}

stls_http_state stls_http_reply_feed(stls_http_reply *reply, const unsigned char *bytes, size_t len)
{
    while (reply->state == STLS_HTTP_MORE && len > 0) {
        if (reply->part == STLS_REPLY_BODY || reply->part == STLS_REPLY_CHUNK_DATA) {
            read_data(reply, &bytes, &len);
        } else if (take_line(reply, &bytes, &len)) {
            read_line(reply);
            reply->line_len = 0;
        } else if (reply->state == STLS_HTTP_MORE && reply->part == STLS_REPLY_STATUS) {
            check_protocol(reply);
        }
    }
    return reply->state;
}

/* Every byte that arrived has been judged, so what is incomplete now stays so. */
stls_http_state stls_http_reply_eof(stls_http_reply *reply)
{
    if (reply->state == STLS_HTTP_MORE) {
        end_with(reply, STLS_HTTP_FAILED, "the connection was closed before the reply's end");
    }
    return reply->state;
}

void stls_http_reply_clear(stls_http_reply *reply)
{
    stls_dealloc(&stls_libc_allocator, reply->line);
    free(reply->value);
    reply->line = NULL;
    reply->value = NULL;
}
