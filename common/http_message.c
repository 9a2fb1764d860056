/*
 * HTTP for fetches: the request as bytes, the reply from bytes.
 *
 * OpenSSL's HTTP client does the work over two memory BIOs.  It speaks
 * HTTP/1.0, so that no reply is chunked, and reads the body's length off its
 * DER, so that a reply is complete without waiting for the connection to
 * close.  The URL and the status line are parsed here: OSSL_HTTP_parse_url()
 * takes a colon in the path for a port, and the client follows some redirects
 * and reports other statuses only through the error queue.  The reply with a
 * CRL is read here: OpenSSL would copy tens of megabytes again and again.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/http.h>
#include <openssl/httperr.h>

#include "error.h"
#include "mem.h"

#define HEADER_ALLOWANCE 16384 /* bytes of status line and header fields */
#define MAX_LINE 8192
#define STATUS_LEN 12 /* "HTTP/1.1 200" */

struct stls_http_st {
    OSSL_HTTP_REQ_CTX *exchange;
    BIO *request;
    BIO *reply;
    size_t budget; /* bytes that may still arrive */
    stls_http_state state;
    char status[STATUS_LEN + 1];
    size_t status_len;
    char error[160];
    int is_crl;
    int num_newlines; /* in a row; two end the header, and bytes belong to `crl` from then on */
    size_t header_left;
    size_t max_len;
    unsigned char crl_head[6]; /* of its DER: says how long it is */
    unsigned char *crl;
    size_t crl_len, crl_total;
};

/* ---- URL ------------------------------------------------------------------ */

static int is_host_name(const char *host)
{
    return *host != '\0'
           && strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                           "0123456789-._")
                  == strlen(host);
}

/* 0 if it is no port number. */
static uint16_t parse_port(const char *digits, size_t len)
{
    uint32_t port = 0;
    if (len > 5) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9') {
            return 0;
        }
        port = port * 10 + (uint32_t)(digits[i] - '0');
    }
    return port <= 65535 ? (uint16_t)port : 0;
}

/* `*path` is what follows the authority: empty, or from '/', '?' or '#' on. */
static stls_status parse_url(const char *url, stls_http_target *target, const char **path,
                             stls_error *err)
{
    struct in6_addr ipv6;

    if (url == NULL || strncasecmp(url, "http://", 7) != 0) {
        return stls_error_set(err, STLS_ERR_ARGUMENT, "not an http:// URL");
    }
    for (const char *c = url; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~') {
            return stls_error_set(err, STLS_ERR_ARGUMENT,
                                  "the URL contains a space, control or non-ASCII character");
        }
    }

    const char *host = url + 7;
    const char *end = host + strcspn(host, "/?#");
    if (memchr(host, '@', (size_t)(end - host)) != NULL) {
        return stls_error_set(err, STLS_ERR_ARGUMENT, "the URL contains user information");
    }
    int in_brackets = *host == '[';
    if (in_brackets) {
        host++;
    }
    const char *host_end = memchr(host, in_brackets ? ']' : ':', (size_t)(end - host));
    if (host_end == NULL) {
        if (in_brackets) {
            return stls_error_set(err, STLS_ERR_ARGUMENT,
                                  "the URL's IPv6 address lacks its closing bracket");
        }
        host_end = end;
    }
    size_t host_len = (size_t)(host_end - host);
    if (host_len >= sizeof(target->host)) {
        return stls_error_set(err, STLS_ERR_ARGUMENT,
                              "the URL's host is longer than 255 characters");
    }
    memset(target, 0, sizeof(*target));
    memcpy(target->host, host, host_len);
    if (in_brackets ? inet_pton(AF_INET6, target->host, &ipv6) != 1 : !is_host_name(target->host)) {
        return stls_error_set(err, STLS_ERR_ARGUMENT,
                              "the URL's host is neither a host name nor an address");
    }

    const char *port = host_end + in_brackets;
    target->port_num = 80;
    if (port != end) {
        target->port_num = *port == ':' ? parse_port(port + 1, (size_t)(end - port - 1)) : 0;
        if (target->port_num == 0) {
            return stls_error_set(err, STLS_ERR_ARGUMENT,
                                  "the URL's port is not a number between 1 and 65535");
        }
    }
    snprintf(target->port, sizeof(target->port), "%u", target->port_num);
    *path = end;
    return STLS_OK;
}

stls_status stls_http_parse_url(const char *url, stls_http_target *target, stls_error *err)
{
    const char *path;
    return parse_url(url, target, &path, err);
}

/* Host field and authority of the request line (RFC 9110 section 7.2). */
static void write_authority(const stls_http_target *target, char *buf, size_t buf_len)
{
    int is_ipv6 = strchr(target->host, ':') != NULL;
    int has_port = target->port_num != 80;
    snprintf(buf, buf_len, "%s%s%s%s%s", is_ipv6 ? "[" : "", target->host, is_ipv6 ? "]" : "",
             has_port ? ":" : "", has_port ? target->port : "");
}

/* ---- request -------------------------------------------------------------- */

static int add_body_headers(OSSL_HTTP_REQ_CTX *exchange, const stls_fetch *fetch)
{
    char len[24];
    snprintf(len, sizeof(len), "%zu", fetch->body_len);
    /* Not every OpenSSL 3.0 minds a line break, which would begin another field. */
    return strpbrk(fetch->content_type, "\r\n") == NULL
           && OSSL_HTTP_REQ_CTX_add1_header(exchange, "Content-Type", fetch->content_type)
           && OSSL_HTTP_REQ_CTX_add1_header(exchange, "Content-Length", len);
}

static int write_request(stls_http *http, const stls_fetch *fetch, int via_proxy)
{
    stls_http_target target;
    const char *after_host;
    char authority[sizeof(target.host) + sizeof(target.port) + 3];

    if (parse_url(fetch->url, &target, &after_host, NULL) != STLS_OK) {
        return 0;
    }
    write_authority(&target, authority, sizeof(authority));
    /* A fragment is never sent. */
    char *path = OPENSSL_strndup(after_host, strcspn(after_host, "#"));
    int ok = path != NULL
             && OSSL_HTTP_REQ_CTX_set_request_line(http->exchange, fetch->is_post,
                                                   via_proxy ? authority : NULL, NULL, path)
             && OSSL_HTTP_REQ_CTX_add1_header(http->exchange, "Host", authority)
             && (!fetch->is_post || add_body_headers(http->exchange, fetch))
             && OSSL_HTTP_REQ_CTX_set_expected(http->exchange, NULL, 1, 0, 0)
             /* Writes the header, then finds that no reply is there yet. */
             && OSSL_HTTP_REQ_CTX_nbio(http->exchange) == -1;
    if (ok && fetch->is_post && fetch->body_len > 0) {
        ok = BIO_write(http->request, fetch->body, (int)fetch->body_len) == (int)fetch->body_len;
    }
    OPENSSL_free(path);
    return ok;
}

stls_http *stls_http_new(const stls_fetch *fetch, int via_proxy)
{
    if (fetch->body_len > INT_MAX || fetch->max_reply_bytes > INT_MAX - HEADER_ALLOWANCE) {
        return NULL;
    }
    stls_http *http = stls_alloc(&stls_libc_allocator, sizeof(*http));
    if (http == NULL) {
        return NULL;
    }
    http->budget = fetch->max_reply_bytes + HEADER_ALLOWANCE;
    http->max_len = fetch->max_reply_bytes;
    http->is_crl = fetch->is_crl;
    http->header_left = HEADER_ALLOWANCE;

    ERR_set_mark();
    int ok = (http->request = BIO_new(BIO_s_mem())) != NULL
             && (http->reply = BIO_new(BIO_s_mem())) != NULL
             && (http->exchange = OSSL_HTTP_REQ_CTX_new(http->request, http->reply, MAX_LINE))
                    != NULL;
    if (ok) {
        BIO_set_mem_eof_return(http->reply, -1); /* empty means: more may come */
        /* OpenSSL takes 0 for its own default. */
        OSSL_HTTP_REQ_CTX_set_max_response_length(
            http->exchange, fetch->max_reply_bytes > 0 ? fetch->max_reply_bytes : 1);
        ok = write_request(http, fetch, via_proxy);
    }
    ERR_pop_to_mark();
    if (!ok) {
        stls_http_free(http);
        return NULL;
    }
    return http;
}

void stls_http_free(stls_http *http)
{
    if (http == NULL) {
        return;
    }
    OSSL_HTTP_REQ_CTX_free(http->exchange);
    BIO_free(http->reply);
    BIO_free(http->request);
    free(http->crl);
    stls_dealloc(&stls_libc_allocator, http);
}

const unsigned char *stls_http_get0_request(const stls_http *http, size_t *len)
{
    char *bytes;
    *len = (size_t)BIO_get_mem_data(http->request, &bytes);
    return (const unsigned char *)bytes;
}

/* ---- reply ---------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static stls_http_state
end_with(stls_http *http, stls_http_state state, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(http->error, sizeof(http->error), format, args);
    va_end(args);
    return http->state = state;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Judges the status as soon as it has arrived; anything but 200 ends the exchange. */
static stls_http_state check_status(stls_http *http, const unsigned char *bytes, size_t len)
{
    while (len > 0 && http->status_len < STATUS_LEN) {
        http->status[http->status_len++] = (char)*bytes++;
        len--;
    }
    if (http->status_len < STATUS_LEN) {
        return STLS_HTTP_MORE;
    }
    const char *code = http->status + 9;
    if (strncmp(http->status, "HTTP/1.", 7) != 0 || !is_digit(http->status[7])
        || http->status[8] != ' ' || !is_digit(code[0]) || !is_digit(code[1])
        || !is_digit(code[2])) {
        return end_with(http, STLS_HTTP_FAILED, "the reply is not HTTP/1");
    }
    if (strcmp(code, "200") != 0) {
        return end_with(http, STLS_HTTP_FAILED, "HTTP status %s%s", code,
                        code[0] == '3' ? ": a redirect is not followed" : "");
    }
    return STLS_HTTP_MORE;
}

/* ---- a CRL's body: one buffer of the right size, filled once ------------------ */

/* From the first bytes of its DER; 0 as long as they are too few. */
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

static stls_http_state begin_crl(stls_http *http, size_t *taken, const unsigned char *bytes,
                                 size_t len)
{
    *taken = 0;
    while (http->crl_len < sizeof(http->crl_head) && *taken < len && http->crl_total == 0) {
        http->crl_head[http->crl_len++] = bytes[(*taken)++];
        http->crl_total = der_total(http->crl_head, http->crl_len);
    }
    if (http->crl_head[0] != 0x30
        || (http->crl_len >= 2 && (http->crl_head[1] & 0x7f) > 4 && (http->crl_head[1] & 0x80))) {
        return end_with(http, STLS_HTTP_FAILED, "the reply's body is no DER-encoded CRL");
    }
    if (http->crl_total == 0) {
        return STLS_HTTP_MORE;
    }
    if (http->crl_total > http->max_len) {
        return end_with(http, STLS_HTTP_TOO_LARGE, "the CRL is larger than allowed");
    }
    /* Untouched pages of a length that was only claimed cost nothing. */
    http->crl = malloc(http->crl_total > sizeof(http->crl_head) ? http->crl_total
                                                                : sizeof(http->crl_head));
    if (http->crl == NULL) {
        return end_with(http, STLS_HTTP_FAILED, "out of memory");
    }
    memcpy(http->crl, http->crl_head, http->crl_len);
    return STLS_HTTP_MORE;
}

static stls_http_state append_crl(stls_http *http, const unsigned char *bytes, size_t len)
{
    if (http->crl == NULL) {
        size_t taken;
        if (len == 0 || begin_crl(http, &taken, bytes, len) != STLS_HTTP_MORE
            || http->crl == NULL) {
            return http->state;
        }
        bytes += taken;
        len -= taken;
    }
    size_t left = http->crl_total - http->crl_len;
    if (len > left) {
        len = left; /* what follows the CRL is not looked at */
    }
    memcpy(http->crl + http->crl_len, bytes, len);
    http->crl_len += len;
    return http->crl_len == http->crl_total ? http->state = STLS_HTTP_DONE : STLS_HTTP_MORE;
}

/* How many of these bytes still belong to the header; its fields say nothing that matters here. */
static size_t skip_header(stls_http *http, const unsigned char *bytes, size_t len)
{
    size_t i = 0;
    for (; i < len && http->num_newlines < 2; i++) {
        if (http->header_left-- == 0) {
            end_with(http, STLS_HTTP_TOO_LARGE, "the reply's header is larger than allowed");
            return len;
        }
        if (bytes[i] == '\n') {
            http->num_newlines++;
        } else if (bytes[i] != '\r') {
            http->num_newlines = 0;
        }
    }
    if (http->num_newlines == 2 && http->status_len < STATUS_LEN) {
        end_with(http, STLS_HTTP_FAILED, "the reply is not HTTP/1"); /* too short for a status */
    }
    return http->state == STLS_HTTP_MORE ? i : len;
}

static stls_http_state advance(stls_http *http)
{
    ERR_set_mark();
    /* What it means when OpenSSL gives up without raising an error. */
    ERR_raise(ERR_LIB_HTTP, HTTP_R_RESPONSE_LINE_TOO_LONG);
    int ret = OSSL_HTTP_REQ_CTX_nbio(http->exchange);
    unsigned long code = ERR_peek_last_error();
    ERR_pop_to_mark();

    if (ret == 1) {
        return http->state = STLS_HTTP_DONE;
    }
    if (ret == -1) {
        return STLS_HTTP_MORE;
    }
    if (ERR_GET_LIB(code) == ERR_LIB_HTTP && ERR_GET_REASON(code) == HTTP_R_MAX_RESP_LEN_EXCEEDED) {
        return end_with(http, STLS_HTTP_TOO_LARGE, "the reply's body is larger than allowed");
    }
    const char *text = ERR_reason_error_string(code);
    return end_with(http, STLS_HTTP_FAILED, "HTTP reply: %s",
                    text != NULL ? text : "unknown error");
}

stls_http_state stls_http_feed(stls_http *http, const unsigned char *bytes, size_t len)
{
    if (http->state != STLS_HTTP_MORE || len == 0) {
        return http->state;
    }
    if (check_status(http, bytes, len) != STLS_HTTP_MORE) {
        return http->state;
    }
    size_t taken = len < http->budget ? len : http->budget;
    if (http->is_crl) {
        size_t skipped = skip_header(http, bytes, len);
        return append_crl(http, bytes + skipped, len - skipped);
    }
    if (taken > 0 && BIO_write(http->reply, bytes, (int)taken) != (int)taken) {
        return end_with(http, STLS_HTTP_FAILED, "out of memory");
    }
    http->budget -= taken;
    if (advance(http) == STLS_HTTP_MORE && taken < len) {
        return end_with(http, STLS_HTTP_TOO_LARGE, "the reply is larger than allowed");
    }
    return http->state;
}

/* Every byte that arrived has been judged, so what is incomplete now stays so. */
stls_http_state stls_http_eof(stls_http *http)
{
    if (http->state == STLS_HTTP_MORE) {
        end_with(http, STLS_HTTP_FAILED, "the connection was closed before the reply's end");
    }
    return http->state;
}

const unsigned char *stls_http_get0_body(const stls_http *http, size_t *len)
{
    char *bytes;

    *len = 0;
    if (http->state != STLS_HTTP_DONE) {
        return NULL;
    }
    if (http->is_crl) {
        *len = http->crl_len;
        return http->crl;
    }
    BIO_get_mem_data(OSSL_HTTP_REQ_CTX_get0_mem_bio(http->exchange), &bytes);
    *len = OSSL_HTTP_REQ_CTX_get_resp_len(http->exchange);
    return (const unsigned char *)bytes;
}

unsigned char *stls_http_take_crl(stls_http *http, size_t *len)
{
    unsigned char *crl = http->state == STLS_HTTP_DONE ? http->crl : NULL;

    *len = crl != NULL ? http->crl_len : 0;
    if (crl != NULL) {
        http->crl = NULL;
        http->crl_len = 0;
    }
    return crl;
}

const char *stls_http_get0_error(const stls_http *http)
{
    return http->error;
}
