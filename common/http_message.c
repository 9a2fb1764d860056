/*
 * HTTP for fetches: the request as bytes, the reply from bytes.
 *
 * OpenSSL's HTTP client does the work over two memory BIOs.  It speaks
 * HTTP/1.0, so that no reply is chunked, and reads the body's length off its
 * DER, so that a reply is complete without waiting for the connection to
 * close.  The URL and the status line are parsed here: OSSL_HTTP_parse_url()
 * takes a colon in the path for a port, and the client follows some redirects
 * and reports other statuses only through the error queue.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
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
};

/* ---- URL ------------------------------------------------------------------ */

static int is_host_name(const char *host)
{
    return *host != '\0' && strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789-._") == strlen(host);
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
    if (in_brackets ? inet_pton(AF_INET6, target->host, &ipv6) != 1
                    : !is_host_name(target->host)) {
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
    return OSSL_HTTP_REQ_CTX_add1_header(exchange, "Content-Type", fetch->content_type)
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
    stls_dealloc(&stls_libc_allocator, http);
}

const unsigned char *stls_http_get0_request(const stls_http *http, size_t *len)
{
    char *bytes;
    *len = (size_t)BIO_get_mem_data(http->request, &bytes);
    return (const unsigned char *)bytes;
}

/* ---- reply ---------------------------------------------------------------- */

__attribute__((format(printf, 3, 4)))
static stls_http_state end_with(stls_http *http, stls_http_state state, const char *format, ...)
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
    if (ERR_GET_LIB(code) == ERR_LIB_HTTP
        && ERR_GET_REASON(code) == HTTP_R_MAX_RESP_LEN_EXCEEDED) {
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
    BIO_get_mem_data(OSSL_HTTP_REQ_CTX_get0_mem_bio(http->exchange), &bytes);
    *len = OSSL_HTTP_REQ_CTX_get_resp_len(http->exchange);
    return (const unsigned char *)bytes;
}

const char *stls_http_get0_error(const stls_http *http)
{
    return http->error;
}
