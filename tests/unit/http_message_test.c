#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>

#define MAX_REPLY 600
#define HEADER_ALLOWANCE 16384

/* ---- URLs ----------------------------------------------------------------- */

static void url_is_taken_apart(void **state)
{
    static const struct {
        const char *url, *host;
        uint16_t port;
    } rows[] = {
        {"http://a.example", "a.example", 80},
        {"http://a.example/", "a.example", 80},
        {"http://a.example:8080/x", "a.example", 8080},
        {"http://a.example:65535", "a.example", 65535},
        {"http://a.example:080/", "a.example", 80},
        {"http://a.example?q=1", "a.example", 80},
        {"http://a.example#f", "a.example", 80},
        {"http://a.example/x:y", "a.example", 80},
        {"http://a.example/x:99999/@b?c=http://d:1/", "a.example", 80},
        {"HTTP://a_b.Example./", "a_b.Example.", 80},
        {"http://192.0.2.1:81/", "192.0.2.1", 81},
        {"http://[2001:db8::1]/x", "2001:db8::1", 80},
        {"http://[2001:db8::1]:81", "2001:db8::1", 81},
        {"http://[::ffff:192.0.2.1]:81/", "::ffff:192.0.2.1", 81},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_http_target target;
        stls_error err = {""};
        char port[6];
        snprintf(port, sizeof(port), "%u", rows[i].port);
        if (stls_http_parse_url(rows[i].url, &target, &err) != STLS_OK) {
            fail_msg("%s: %s", rows[i].url, err.text);
        }
        assert_string_equal(target.host, rows[i].host);
        assert_string_equal(target.port, port);
        assert_int_equal(target.port_num, rows[i].port);
    }
}

static void url_is_refused(void **state)
{
    static const char *urls[] = {
        "",
        "a.example/",
        "//a.example/",
        "http:/a.example/",
        "http//a.example/",
        "https://a.example/",
        "ftp://a.example/",
        "file:///etc/passwd",
        "ldap://a.example/cn=x",
        " http://a.example/",
        "http://",
        "http:///x",
        "http://:80/",
        "http://?x",
        "http://user@a.example/",
        "http://user:secret@a.example/",
        "http://a.example:80@b.example/",
        "http://a.example:/",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a.example:4294967376/",
        "http://a.example:+80/",
        "http://a.example:-1/",
        "http://a.example:80x/",
        "http://a.example:8 0/",
        "http://a.example:80:80/",
        "http://a b.example/",
        "http://a%2eexample/",
        "http://a\\b.example/",
        "http://a.example,b.example/",
        "http://a.example/x y",
        "http://a.example/\r\nX: y",
        "http://a.example/\n",
        "http://a.example/\t",
        "http://a.example/\x7f",
        "http://b\xc3\xbc.example/",
        "http://a.example/\xc3\xbc",
        "http://[2001:db8::1/",
        "http://[2001:db8::1]x/",
        "http://[2001:db8::1]:/",
        "http://[fe80::1%25eth0]/",
        "http://[a.example]/",
        "http://[192.0.2.1]/",
        "http://[]/",
        "http://2001:db8::1/",
    };
    stls_fetch fetch = {.max_reply_bytes = MAX_REPLY, .content_type = ""};
    stls_http_target target;

    (void)state;
    assert_int_equal(stls_http_parse_url(NULL, &target, NULL), STLS_ERR_ARGUMENT);
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        stls_error err = {""};
        if (stls_http_parse_url(urls[i], &target, &err) != STLS_ERR_ARGUMENT) {
            fail_msg("taken: %s", urls[i]);
        }
        assert_string_not_equal(err.text, "");
        fetch.url = urls[i];
        assert_null(stls_http_new(&fetch, 0));
        assert_null(stls_http_new(&fetch, 1));
    }
}

static void url_host_length_is_bounded(void **state)
{
    stls_http_target target;
    char url[300] = "http://";

    (void)state;
    memset(url + 7, 'a', 255);
    strcpy(url + 7 + 255, "/");
    assert_int_equal(stls_http_parse_url(url, &target, NULL), STLS_OK);
    assert_int_equal(strlen(target.host), 255);
    strcpy(url + 7 + 255, "a/");
    assert_int_equal(stls_http_parse_url(url, &target, NULL), STLS_ERR_ARGUMENT);
}

/* ---- requests ------------------------------------------------------------- */

static void request_is_written(void **state)
{
    static const struct {
        const char *url;
        int is_post, via_proxy;
        const char *request;
    } rows[] = {
        {"http://a.example", 0, 0, "GET / HTTP/1.0\r\nHost: a.example\r\n\r\n"},
        {"http://a.example:80/x", 0, 0, "GET /x HTTP/1.0\r\nHost: a.example\r\n\r\n"},
        {"http://a.example:81/x:9?y=/#z", 0, 0,
         "GET /x:9?y=/ HTTP/1.0\r\nHost: a.example:81\r\n\r\n"},
        {"http://a.example?y", 0, 0, "GET /?y HTTP/1.0\r\nHost: a.example\r\n\r\n"},
        {"http://a.example/MFE%2B%2F%3D", 0, 0,
         "GET /MFE%2B%2F%3D HTTP/1.0\r\nHost: a.example\r\n\r\n"},
        {"http://[2001:db8::1]:81/x", 0, 0, "GET /x HTTP/1.0\r\nHost: [2001:db8::1]:81\r\n\r\n"},
        {"http://a.example:81/x", 0, 1,
         "GET http://a.example:81/x HTTP/1.0\r\nHost: a.example:81\r\n\r\n"},
        {"http://[2001:db8::1]", 0, 1,
         "GET http://[2001:db8::1]/ HTTP/1.0\r\nHost: [2001:db8::1]\r\n\r\n"},
        {"http://a.example/x", 1, 0,
         "POST /x HTTP/1.0\r\nHost: a.example\r\nContent-Type: text/x\r\n"
         "Content-Length: 5\r\n\r\nab\r\nc"},
        {"http://a.example/x", 1, 1,
         "POST http://a.example/x HTTP/1.0\r\nHost: a.example\r\nContent-Type: text/x\r\n"
         "Content-Length: 5\r\n\r\nab\r\nc"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_fetch fetch = {.url = rows[i].url,
                            .is_post = rows[i].is_post,
                            .content_type = rows[i].is_post ? "text/x" : "",
                            .max_reply_bytes = MAX_REPLY};
        if (rows[i].is_post) {
            fetch.body = (const unsigned char *)"ab\r\nc";
            fetch.body_len = 5;
        }
        size_t len;
        stls_http *http = stls_http_new(&fetch, rows[i].via_proxy);
        assert_non_null(http);
        const unsigned char *request = stls_http_get0_request(http, &len);
        assert_int_equal(len, strlen(rows[i].request));
        assert_memory_equal(request, rows[i].request, len);
        stls_http_free(http);
    }
}

static void request_keeps_every_byte_of_a_body(void **state)
{
    unsigned char body[70000];
    stls_fetch fetch = {.url = "http://a.example/",
                        .is_post = 1,
                        .content_type = "application/ocsp-request",
                        .body = body,
                        .body_len = sizeof(body),
                        .max_reply_bytes = MAX_REPLY};
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof(body); i++) {
        body[i] = (unsigned char)(i * 7);
    }
    stls_http *http = stls_http_new(&fetch, 0);
    assert_non_null(http);
    const unsigned char *request = stls_http_get0_request(http, &len);
    assert_true(len > sizeof(body));
    assert_memory_equal(request + len - sizeof(body), body, sizeof(body));
    stls_http_free(http);
}

static void request_with_a_broken_content_type_is_refused(void **state)
{
    stls_fetch fetch = {.url = "http://a.example/",
                        .is_post = 1,
                        .content_type = "a/b\r\nX: y",
                        .max_reply_bytes = MAX_REPLY};
    (void)state;
    assert_null(stls_http_new(&fetch, 0));
}

/* ---- replies -------------------------------------------------------------- */

/* SEQUENCE { ENUMERATED 3 }: tryLater. */
#define SHORT_BODY "\x30\x03\x0a\x01\x03"
#define OK_HEAD "HTTP/1.1 200 OK\r\n"

static stls_http *new_http(void)
{
    stls_fetch fetch = {
        .url = "http://a.example/", .content_type = "", .max_reply_bytes = MAX_REPLY};
    stls_http *http = stls_http_new(&fetch, 0);
    assert_non_null(http);
    return http;
}

/* Feeds `piece` bytes at a time, as a network would, then closes. */
static stls_http_state feed_all(stls_http *http, const void *bytes, size_t len, size_t piece)
{
    stls_http_state state = STLS_HTTP_MORE;
    const unsigned char *at = bytes;
    for (size_t done = 0; done < len && state == STLS_HTTP_MORE; done += piece) {
        size_t n = len - done < piece ? len - done : piece;
        state = stls_http_feed(http, at + done, n);
    }
    stls_http_state last = stls_http_eof(http);
    assert_true(last != STLS_HTTP_MORE);
    assert_true(state == STLS_HTTP_MORE || state == last);
    return last;
}

typedef struct {
    const char *what;
    const char *bytes;
    size_t len;
    stls_http_state state;
    const char *body; /* of a DONE one */
    size_t body_len;
    const char *error; /* part of the error of a FAILED one */
} reply_row;

#define LITERAL(text) text, sizeof(text) - 1
#define DONE_ROW(what, bytes, body)                                                                \
    {                                                                                              \
        what, LITERAL(bytes), STLS_HTTP_DONE, LITERAL(body), NULL                                  \
    }
#define FAILED_ROW(what, bytes, error)                                                             \
    {                                                                                              \
        what, LITERAL(bytes), STLS_HTTP_FAILED, NULL, 0, error                                     \
    }
#define LARGE_ROW(what, bytes)                                                                     \
    {                                                                                              \
        what, LITERAL(bytes), STLS_HTTP_TOO_LARGE, NULL, 0, "larger"                               \
    }

static const reply_row replies[] = {
    DONE_ROW("content length", OK_HEAD "Content-Length: 5\r\n\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("until close", OK_HEAD "\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("no reason phrase", "HTTP/1.1 200 \r\n\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("bare line feeds", "HTTP/1.1 200 OK\nA: b\n\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("other headers", OK_HEAD "Content-Type: text/html\r\nX:y\r\nZ\r\n\r\n" SHORT_BODY,
             SHORT_BODY),
    DONE_ROW("header names in any case", OK_HEAD "CONTENT-length: 5\r\n\r\n" SHORT_BODY,
             SHORT_BODY),
    DONE_ROW("nothing but the value counts", OK_HEAD "\r\n" SHORT_BODY "junk", SHORT_BODY),
    DONE_ROW("empty sequence", OK_HEAD "\r\n\x30\x00 ", "\x30\x00"),
    DONE_ROW("long form of a short length", OK_HEAD "\r\n\x30\x81\x03\x0a\x01\x03zz",
             "\x30\x81\x03\x0a\x01\x03"),

    FAILED_ROW("404", "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc", "HTTP status 404"),
    FAILED_ROW("500", "HTTP/1.0 500 x\r\n\r\n", "HTTP status 500"),
    FAILED_ROW("503 with a good body", "HTTP/1.1 503 x\r\n\r\n" SHORT_BODY, "HTTP status 503"),
    FAILED_ROW("404 with a huge body", "HTTP/1.1 404 x\r\nContent-Length: 99999999\r\n\r\n",
               "HTTP status 404"),
    FAILED_ROW("204", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP status 204"),
    FAILED_ROW("206", "HTTP/1.1 206 Partial\r\n\r\n" SHORT_BODY, "HTTP status 206"),
    FAILED_ROW("100", "HTTP/1.1 100 Continue\r\n\r\n" OK_HEAD "\r\n" SHORT_BODY, "HTTP status 100"),
    FAILED_ROW("301", "HTTP/1.1 301 x\r\nLocation: http://127.0.0.1/\r\n\r\n", "redirect"),
    FAILED_ROW("302", "HTTP/1.1 302 x\r\nLocation: file:///etc/passwd\r\n\r\n", "redirect"),
    FAILED_ROW("302 with a good body",
               "HTTP/1.1 302 x\r\nLocation: http://b.example/\r\n\r\n" SHORT_BODY,
               "HTTP status 302"),
    FAILED_ROW("307", "HTTP/1.1 307 x\r\n\r\n", "redirect"),
    FAILED_ROW("308", "HTTP/1.1 308 x\r\n\r\n", "redirect"),

    FAILED_ROW("nothing", "", "closed"),
    FAILED_ROW("part of the status line", "HTTP/1.", "closed"),
    FAILED_ROW("no end of the status line", "HTTP/1.1 200 OK", "closed"),
    FAILED_ROW("no end of the header", OK_HEAD "A: b\r\n", "closed"),
    FAILED_ROW("no body", OK_HEAD "\r\n", "closed"),
    FAILED_ROW("no body, says the length", OK_HEAD "Content-Length: 0\r\n\r\n", "closed"),
    FAILED_ROW("one byte of a body", OK_HEAD "\r\n\x30", "closed"),
    FAILED_ROW("truncated body", OK_HEAD "\r\n\x30\x03\x0a\x01", "closed"),
    FAILED_ROW("truncated body with length", OK_HEAD "Content-Length: 5\r\n\r\n\x30\x03\x0a",
               "closed"),

    FAILED_ROW("not HTTP", "220 mail.example ESMTP\r\n", "not HTTP"),
    FAILED_ROW("not HTTP from the first byte", "\x15\x03\x01\x00\x02\x02\x50zzzzzz", "not HTTP"),
    FAILED_ROW("HTTP/2", "HTTP/2.0 200 OK\r\n\r\n" SHORT_BODY, "not HTTP"),
    FAILED_ROW("status of four digits", "HTTP/1.1 2000 OK\r\n\r\n" SHORT_BODY, "HTTP reply"),
    FAILED_ROW("status with a sign", "HTTP/1.1 +20 OK\r\n\r\n" SHORT_BODY, "not HTTP"),
    FAILED_ROW("HTML", OK_HEAD "\r\n<html>sign in</html>", "HTTP reply"),
    FAILED_ROW("another ASN.1 type", OK_HEAD "\r\n\x31\x03\x0a\x01\x03", "HTTP reply"),
    FAILED_ROW("indefinite length", OK_HEAD "\r\n\x30\x80\x0a\x01\x03\x00\x00zz", "HTTP reply"),
    FAILED_ROW("length of five bytes", OK_HEAD "\r\n\x30\x85\x00\x00\x00\x00\x03\x0a\x01\x03",
               "HTTP reply"),
    FAILED_ROW("chunked",
               OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "HTTP reply"),
    FAILED_ROW("content length too short", OK_HEAD "Content-Length: 4\r\n\r\n" SHORT_BODY,
               "HTTP reply"),
    FAILED_ROW("content length too long", OK_HEAD "Content-Length: 6\r\n\r\n" SHORT_BODY,
               "HTTP reply"),
    FAILED_ROW("content length is no number", OK_HEAD "Content-Length: x\r\n\r\n" SHORT_BODY,
               "HTTP reply"),
    FAILED_ROW("two content lengths",
               OK_HEAD "Content-Length: 5\r\nContent-Length: 6\r\n\r\n" SHORT_BODY, "HTTP reply"),

    LARGE_ROW("content length over the limit", OK_HEAD "Content-Length: 601\r\n\r\n" SHORT_BODY),
    LARGE_ROW("content length of gigabytes", OK_HEAD "Content-Length: 99999999999\r\n\r\n"),
    LARGE_ROW("negative content length", OK_HEAD "Content-Length: -1\r\n\r\n" SHORT_BODY),
    LARGE_ROW("ASN.1 length over the limit", OK_HEAD "\r\n\x30\x82\x02\x55zz"),
    LARGE_ROW("ASN.1 length of gigabytes", OK_HEAD "\r\n\x30\x84\xff\xff\xff\xffzz"),
};

static void reply_outcome(void **state)
{
    static const size_t pieces[] = {100000, 1, 2, 7, 18};
    (void)state;
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
            const reply_row *row = &replies[i];
            stls_http *http = new_http();
            size_t len;
            stls_http_state got = feed_all(http, row->bytes, row->len, pieces[p]);
            const unsigned char *body = stls_http_get0_body(http, &len);
            const char *error = stls_http_get0_error(http);
            if (got != row->state) {
                fail_msg("%s, pieces of %zu: state %d, error '%s'", row->what, pieces[p], got,
                         error);
            }
            if (got == STLS_HTTP_DONE) {
                assert_int_equal(len, row->body_len);
                assert_memory_equal(body, row->body, len);
                assert_string_equal(error, "");
            } else {
                assert_null(body);
                assert_int_equal(len, 0);
                if (strstr(error, row->error) == NULL) {
                    fail_msg("%s, pieces of %zu: error '%s'", row->what, pieces[p], error);
                }
            }
            stls_http_free(http);
        }
    }
}

/* 30 82 LL LL and zeros: `len` bytes altogether. */
static size_t long_reply(unsigned char *out, size_t len)
{
    size_t head = strlen(OK_HEAD "\r\n");
    memcpy(out, OK_HEAD "\r\n", head);
    memset(out + head, 0, len);
    out[head] = 0x30;
    out[head + 1] = 0x82;
    out[head + 2] = (unsigned char)((len - 4) >> 8);
    out[head + 3] = (unsigned char)(len - 4);
    return head + len;
}

static void reply_of_the_limit_is_taken_and_one_more_is_not(void **state)
{
    unsigned char bytes[MAX_REPLY + 200];
    (void)state;
    for (size_t piece = 1; piece < 1000; piece *= 3) {
        size_t body_len;
        stls_http *http = new_http();
        size_t len = long_reply(bytes, MAX_REPLY);
        assert_int_equal(feed_all(http, bytes, len, piece), STLS_HTTP_DONE);
        assert_non_null(stls_http_get0_body(http, &body_len));
        assert_int_equal(body_len, MAX_REPLY);
        stls_http_free(http);

        http = new_http();
        len = long_reply(bytes, MAX_REPLY + 1);
        assert_int_equal(feed_all(http, bytes, len, piece), STLS_HTTP_TOO_LARGE);
        stls_http_free(http);
    }
}

static void endless_header_is_cut_off(void **state)
{
    static const char line[] = "X-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";
    stls_http *http = new_http();
    size_t fed = strlen(OK_HEAD);
    stls_http_state got = stls_http_feed(http, (const unsigned char *)OK_HEAD, fed);

    (void)state;
    while (got == STLS_HTTP_MORE) {
        got = stls_http_feed(http, (const unsigned char *)line, sizeof(line) - 1);
        fed += sizeof(line) - 1;
        assert_true(fed <= MAX_REPLY + HEADER_ALLOWANCE + sizeof(line));
    }
    assert_int_equal(got, STLS_HTTP_TOO_LARGE);
    assert_true(fed > HEADER_ALLOWANCE);
    stls_http_free(http);
}

static void endless_line_is_cut_off(void **state)
{
    stls_http *http = new_http();
    size_t fed = 0;
    stls_http_state got = stls_http_feed(http, (const unsigned char *)OK_HEAD, strlen(OK_HEAD));

    (void)state;
    for (; got == STLS_HTTP_MORE; fed++) {
        assert_true(fed <= HEADER_ALLOWANCE);
        got = stls_http_feed(http, (const unsigned char *)"a", 1);
    }
    assert_int_equal(got, STLS_HTTP_FAILED);
    stls_http_free(http);
}

static void flood_in_one_piece_is_cut_off(void **state)
{
    size_t len = 64 << 20;
    char *bytes = calloc(1, len);
    stls_http *http = new_http();

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 'a', len);
    memcpy(bytes, OK_HEAD, strlen(OK_HEAD));
    for (size_t i = 100; i + 100 < len; i += 100) {
        memcpy(bytes + i, "\r\nA: ", 5);
    }
    assert_int_equal(stls_http_feed(http, (unsigned char *)bytes, len), STLS_HTTP_TOO_LARGE);
    free(bytes);
    stls_http_free(http);
}

static void outcome_is_final(void **state)
{
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        stls_http *http = new_http();
        stls_http_state got = feed_all(http, replies[i].bytes, replies[i].len, 100000);
        assert_int_equal(stls_http_feed(http, (const unsigned char *)OK_HEAD, 5), got);
        assert_int_equal(stls_http_feed(http, NULL, 0), got);
        assert_int_equal(stls_http_eof(http), got);
        assert_true((stls_http_get0_body(http, &len) != NULL) == (got == STLS_HTTP_DONE));
        stls_http_free(http);
    }
}

static void no_body_before_the_end(void **state)
{
    stls_http *http = new_http();
    size_t len = 7;
    (void)state;
    assert_int_equal(stls_http_feed(http, (const unsigned char *)OK_HEAD "\r\n\x30\x03\x0a", 22),
                     STLS_HTTP_MORE);
    assert_null(stls_http_get0_body(http, &len));
    assert_int_equal(len, 0);
    assert_string_equal(stls_http_get0_error(http), "");
    stls_http_free(http);
}

static void free_is_safe_at_any_point(void **state)
{
    (void)state;
    stls_http_free(NULL);
    stls_http_free(new_http());
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        for (size_t len = 0; len <= replies[i].len; len++) {
            stls_http *http = new_http();
            stls_http_feed(http, (const unsigned char *)replies[i].bytes, len);
            stls_http_free(http);
        }
    }
}

/* The host's error queue is not ours to fill or to drain. */
static void error_queue_stays_as_it_was(void **state)
{
    stls_fetch bad = {.url = "http://a.example/",
                      .is_post = 1,
                      .content_type = "a\r\nb",
                      .max_reply_bytes = MAX_REPLY};
    (void)state;
    for (int has_error = 0; has_error < 2; has_error++) {
        ERR_clear_error();
        if (has_error) {
            ERR_raise(ERR_LIB_SSL, ERR_R_MALLOC_FAILURE);
        }
        unsigned long before = ERR_peek_last_error();
        for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
            stls_http *http = new_http();
            feed_all(http, replies[i].bytes, replies[i].len, 5);
            stls_http_free(http);
        }
        assert_null(stls_http_new(&bad, 0));
        assert_true(ERR_peek_last_error() == before);
        if (has_error) {
            assert_true(ERR_get_error() == before);
        }
        assert_true(ERR_get_error() == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(url_is_taken_apart),
        cmocka_unit_test(url_is_refused),
        cmocka_unit_test(url_host_length_is_bounded),
        cmocka_unit_test(request_is_written),
        cmocka_unit_test(request_keeps_every_byte_of_a_body),
        cmocka_unit_test(request_with_a_broken_content_type_is_refused),
        cmocka_unit_test(reply_outcome),
        cmocka_unit_test(reply_of_the_limit_is_taken_and_one_more_is_not),
        cmocka_unit_test(endless_header_is_cut_off),
        cmocka_unit_test(endless_line_is_cut_off),
        cmocka_unit_test(flood_in_one_piece_is_cut_off),
        cmocka_unit_test(outcome_is_final),
        cmocka_unit_test(no_body_before_the_end),
        cmocka_unit_test(free_is_safe_at_any_point),
        cmocka_unit_test(error_queue_stays_as_it_was),
    };
    return cmocka_run_group_tests_name("http_message", tests, NULL, aid_end);
}
