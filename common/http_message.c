/*
 * HTTP for fetches: the URL, the request as bytes.  http_reply.c reads the reply.
 *
 * The request is of HTTP/1.0, so that a server closes the connection behind its
 * reply and has no reason to send it in chunks.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "error.h"
#include "http_reply.h"
#include "mem.h"

struct stls_http_st {
    char *request;
    size_t request_len;
    stls_http_reply reply;
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

/* A line break in it would begin another field. */
static int is_field_value(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            return 0;
        }
    }
    return 1;
}

static int write_request(stls_http *http, const stls_fetch *fetch, int via_proxy)
{
    stls_http_target target;
    const char *path;
    char authority[sizeof(target.host) + sizeof(target.port) + 3];

    if (parse_url(fetch->url, &target, &path, NULL) != STLS_OK
        || (fetch->is_post && !is_field_value(fetch->content_type))) {
        return 0;
    }
    write_authority(&target, authority, sizeof(authority));
    size_t path_len = strcspn(path, "#"); /* a fragment is never sent */
    size_t room = path_len + 2 * sizeof(authority) + 128
                  + (fetch->is_post ? strlen(fetch->content_type) : 0);
    size_t body_len = fetch->is_post ? fetch->body_len : 0;
    if (path_len > INT_MAX || body_len > SIZE_MAX - room) {
        return 0;
    }
    http->request = stls_alloc(&stls_libc_allocator, room + body_len);
    if (http->request == NULL) {
        return 0;
    }
    int len = snprintf(http->request, room, "%s %s%s%s%.*s HTTP/1.0\r\nHost: %s\r\n",
                       fetch->is_post ? "POST" : "GET", via_proxy ? "http://" : "",
                       via_proxy ? authority : "", *path == '/' ? "" : "/", (int)path_len, path,
                       authority);
    if (fetch->is_post) {
        len += snprintf(http->request + len, room - (size_t)len,
                        "Content-Type: %s\r\nContent-Length: %zu\r\n", fetch->content_type,
                        body_len);
    }
    len += snprintf(http->request + len, room - (size_t)len, "\r\n");
    if (body_len > 0) {
        memcpy(http->request + len, fetch->body, body_len);
    }
    http->request_len = (size_t)len + body_len;
    return 1;
}

stls_http *stls_http_new(const stls_fetch *fetch, int via_proxy)
{
    stls_http *http = stls_alloc(&stls_libc_allocator, sizeof(*http));
    if (http == NULL) {
        return NULL;
    }
    http->reply.header_left = fetch->max_reply_header_bytes;
    http->reply.max_body_len = fetch->max_reply_bytes;
    http->reply.may_have_tail = fetch->is_crl;
    if (!write_request(http, fetch, via_proxy)) {
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
    stls_http_reply_clear(&http->reply);
    stls_dealloc(&stls_libc_allocator, http->request);
    stls_dealloc(&stls_libc_allocator, http);
}

const unsigned char *stls_http_get0_request(const stls_http *http, size_t *len)
{
    *len = http->request_len;
    return (const unsigned char *)http->request;
}

/* ---- reply ---------------------------------------------------------------- */

stls_http_state stls_http_feed(stls_http *http, const unsigned char *bytes, size_t len)
{
    return stls_http_reply_feed(&http->reply, bytes, len);
}

stls_http_state stls_http_eof(stls_http *http)
{
    return stls_http_reply_eof(&http->reply);
}

const unsigned char *stls_http_get0_body(const stls_http *http, size_t *len)
{
    int is_done = http->reply.state == STLS_HTTP_DONE;

    *len = is_done ? http->reply.value_len : 0;
    return is_done ? http->reply.value : NULL;
}

unsigned char *stls_http_take_crl(stls_http *http, size_t *len)
{
    unsigned char *crl = http->reply.state == STLS_HTTP_DONE ? http->reply.value : NULL;

    *len = crl != NULL ? http->reply.value_len : 0;
    if (crl != NULL) {
        http->reply.value = NULL;
        http->reply.value_len = 0;
    }
    return crl;
}

const char *stls_http_get0_error(const stls_http *http)
{
    return http->reply.error;
}
