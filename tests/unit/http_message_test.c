#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>

#define MAX_REPLY 600
#define MAX_HEADER 16384

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
    stls_fetch fetch = {.url = "http://a.example/",
                        .content_type = "",
                        .max_reply_bytes = MAX_REPLY,
                        .max_reply_header_bytes = MAX_HEADER};
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

#define CHUNKED OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"
#define WITH_LENGTH OK_HEAD "Content-Length: 5\r\n\r\n"

static const reply_row replies[] = {
    DONE_ROW("content length", WITH_LENGTH SHORT_BODY, SHORT_BODY),
    DONE_ROW("until close", OK_HEAD "\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("no reason phrase", "HTTP/1.1 200 \r\n\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("no reason phrase, nor its space", "HTTP/1.1 200\r\n\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("bare line feeds", "HTTP/1.1 200 OK\nA: b\n\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("labelled as text", OK_HEAD "Content-Type: text/html\r\nX:y\r\n\r\n" SHORT_BODY,
             SHORT_BODY),
    DONE_ROW("labelled as text, with a length",
             OK_HEAD
             "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\n" SHORT_BODY,
             SHORT_BODY),
    DONE_ROW("labelled as text, in chunks",
             OK_HEAD "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
             SHORT_BODY),
    DONE_ROW("header names in any case", OK_HEAD "CONTENT-length: 5\r\n\r\n" SHORT_BODY,
             SHORT_BODY),
    DONE_ROW("no space, and much space, around a value",
             OK_HEAD "A:b\r\nContent-Length:\t 5 \t\r\nC:\r\n\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("bytes above ASCII in a value", OK_HEAD "A: \xe4\xc3\xa4\r\n\r\n" SHORT_BODY,
             SHORT_BODY),
    DONE_ROW("a folded field that says nothing here",
             OK_HEAD "A: b\r\n c\r\n\td\r\nContent-Length: 5\r\n\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("nothing but the value counts", OK_HEAD "\r\n" SHORT_BODY "junk", SHORT_BODY),
    DONE_ROW("a second reply is not looked at", WITH_LENGTH SHORT_BODY "HTTP/1.1 500 x\r\n\r\n",
             SHORT_BODY),
    DONE_ROW("empty sequence", OK_HEAD "\r\n\x30\x00 ", "\x30\x00"),
    DONE_ROW("long form of a short length", OK_HEAD "\r\n\x30\x81\x03\x0a\x01\x03zz",
             "\x30\x81\x03\x0a\x01\x03"),
    DONE_ROW("zeros before the length",
             OK_HEAD "Content-Length: 0000000000000000000000005\r\n\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("the same length twice",
             OK_HEAD "Content-Length: 5\r\nContent-Length: 5\r\n\r\n" SHORT_BODY, SHORT_BODY),
    DONE_ROW("the same length twice in one field",
             OK_HEAD "Content-Length: 5, 05\r\n\r\n" SHORT_BODY, SHORT_BODY),

    DONE_ROW("one chunk", CHUNKED "5\r\n" SHORT_BODY "\r\n0\r\n\r\n", SHORT_BODY),
    DONE_ROW("chunks of one byte",
             CHUNKED "1\r\n\x30\r\n1\r\n\x03\r\n1\r\n\x0a\r\n1\r\n\x01\r\n1\r\n\x03\r\n0\r\n\r\n",
             SHORT_BODY),
    DONE_ROW("chunk in any case",
             OK_HEAD "transfer-encoding: CHUNKED\r\n\r\n5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
             SHORT_BODY),
    DONE_ROW("chunk size in hex, zeros before it",
             CHUNKED "000c\r\n\x30\x0a\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\r\n000\r\n\r\n",
             "\x30\x0a\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a"),
    DONE_ROW("hex in capitals",
             CHUNKED "C\r\n\x30\x0a\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\r\n0\r\n\r\n",
             "\x30\x0a\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a"),
    DONE_ROW("chunk size with spaces behind it", CHUNKED "5  \r\n" SHORT_BODY "\r\n0 \r\n\r\n",
             SHORT_BODY),
    DONE_ROW("chunk extensions", CHUNKED "5;a=b;c=\"d e\"\r\n" SHORT_BODY "\r\n0 ; last\r\n\r\n",
             SHORT_BODY),
    DONE_ROW("trailers", CHUNKED "5\r\n" SHORT_BODY "\r\n0\r\nA: b\r\n c\r\nD: e\r\n\r\n",
             SHORT_BODY),

    DONE_ROW("100 before it", "HTTP/1.1 100 Continue\r\n\r\n" WITH_LENGTH SHORT_BODY, SHORT_BODY),
    DONE_ROW(
        "102 and 103 before it",
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" WITH_LENGTH
            SHORT_BODY,
        SHORT_BODY),
    FAILED_ROW("nothing but 100", "HTTP/1.1 100 Continue\r\n\r\n", "closed"),
    FAILED_ROW("100, then an error", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 x\r\n\r\n",
               "HTTP status 404"),
    FAILED_ROW("100, then no HTTP", "HTTP/1.1 100 Continue\r\n\r\n" SHORT_BODY, "not HTTP"),
    FAILED_ROW("100 with a length",
               "HTTP/1.1 100 x\r\nContent-Length: 0\r\n\r\n" WITH_LENGTH SHORT_BODY, "malformed"),
    FAILED_ROW("100 in chunks",
               "HTTP/1.1 100 x\r\nTransfer-Encoding: chunked\r\n\r\n" WITH_LENGTH SHORT_BODY,
               "malformed"),
    FAILED_ROW("101",
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" WITH_LENGTH SHORT_BODY,
               "HTTP status 101"),

    FAILED_ROW("404", "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc", "HTTP status 404"),
    FAILED_ROW("500", "HTTP/1.0 500 x\r\n\r\n", "HTTP status 500"),
    FAILED_ROW("503 with a good body", "HTTP/1.1 503 x\r\n\r\n" SHORT_BODY, "HTTP status 503"),
    FAILED_ROW("404 with a huge body", "HTTP/1.1 404 x\r\nContent-Length: 99999999\r\n\r\n",
               "HTTP status 404"),
    FAILED_ROW("204", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP status 204"),
    FAILED_ROW("206", "HTTP/1.1 206 Partial\r\n\r\n" SHORT_BODY, "HTTP status 206"),
    FAILED_ROW("304", "HTTP/1.1 304 Not Modified\r\n\r\n" SHORT_BODY, "HTTP status 304"),
    FAILED_ROW("099", "HTTP/1.1 099 x\r\n\r\n" WITH_LENGTH SHORT_BODY, "HTTP status 099"),
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
    FAILED_ROW("no body, says the length", OK_HEAD "Content-Length: 0\r\n\r\n", "ends before"),
    FAILED_ROW("no body, says the length, but sends one",
               OK_HEAD "Content-Length: 0\r\n\r\n" SHORT_BODY, "ends before"),
    FAILED_ROW("one byte of a body", OK_HEAD "\r\n\x30", "closed"),
    FAILED_ROW("truncated body", OK_HEAD "\r\n\x30\x03\x0a\x01", "closed"),
    FAILED_ROW("truncated body with length", WITH_LENGTH "\x30\x03\x0a", "closed"),
    FAILED_ROW("truncated, though the value is there",
               OK_HEAD "Content-Length: 6\r\n\r\n" SHORT_BODY, "closed"),
    FAILED_ROW("no last chunk", CHUNKED "5\r\n" SHORT_BODY "\r\n", "closed"),
    FAILED_ROW("no end of the last chunk", CHUNKED "5\r\n" SHORT_BODY "\r\n0\r\n", "closed"),
    FAILED_ROW("half a chunk", CHUNKED "5\r\n\x30\x03\x0a", "closed"),
    FAILED_ROW("no chunk", CHUNKED "0\r\n\r\n", "ends before"),
    FAILED_ROW("too few chunks", CHUNKED "4\r\n\x30\x03\x0a\x01\r\n0\r\n\r\n", "ends before"),

    FAILED_ROW("not HTTP", "220 mail.example ESMTP\r\n", "not HTTP"),
    FAILED_ROW("not HTTP from the first byte", "\x15\x03\x01\x00\x02\x02\x50zzzzzz", "not HTTP"),
    FAILED_ROW("a body without a header, as in HTTP/0.9", SHORT_BODY, "not HTTP"),
    FAILED_ROW("an empty line before it", "\r\n" WITH_LENGTH SHORT_BODY, "not HTTP"),
    FAILED_ROW("HTTP/2", "HTTP/2.0 200 OK\r\n\r\n" SHORT_BODY, "not HTTP"),
    FAILED_ROW("HTTP/1 without a minor version", "HTTP/1 200 OK\r\n\r\n" SHORT_BODY, "not HTTP"),
    FAILED_ROW("a minor version of two digits", "HTTP/1.10 200 OK\r\n\r\n" SHORT_BODY, "not HTTP"),
    FAILED_ROW("status of four digits", "HTTP/1.1 2000 OK\r\n\r\n" SHORT_BODY, "not HTTP"),
    FAILED_ROW("status of two digits", "HTTP/1.1 20\r\n\r\n" SHORT_BODY, "not HTTP"),
    FAILED_ROW("status with a sign", "HTTP/1.1 +20 OK\r\n\r\n" SHORT_BODY, "not HTTP"),
    FAILED_ROW("status behind two spaces", "HTTP/1.1  200 OK\r\n\r\n" SHORT_BODY, "not HTTP"),
    FAILED_ROW("NUL in the status line", "HTTP/1.1 200 O\0K\r\n\r\n" SHORT_BODY, "control"),
    FAILED_ROW("CR in the status line", "HTTP/1.1 200 O\rK\r\n\r\n" SHORT_BODY, "control"),

    FAILED_ROW("a line without a colon", OK_HEAD "Z\r\n\r\n" SHORT_BODY, "NAME: VALUE"),
    FAILED_ROW("a field without a name", OK_HEAD ": 5\r\n\r\n" SHORT_BODY, "NAME: VALUE"),
    FAILED_ROW("space before the colon", OK_HEAD "Content-Length : 5\r\n\r\n" SHORT_BODY,
               "NAME: VALUE"),
    FAILED_ROW("space in a name", OK_HEAD "A B: 5\r\n\r\n" SHORT_BODY, "NAME: VALUE"),
    FAILED_ROW("bytes above ASCII in a name", OK_HEAD "\xc3\xa4: 5\r\n\r\n" SHORT_BODY,
               "NAME: VALUE"),
    FAILED_ROW("NUL in a value", OK_HEAD "A: b\0c\r\n\r\n" SHORT_BODY, "control"),
    FAILED_ROW("NUL in a name", OK_HEAD "Content-Length\0: 6\r\n\r\n" SHORT_BODY, "control"),
    FAILED_ROW("CR in a value", OK_HEAD "A: b\rContent-Length: 5\r\n\r\n" SHORT_BODY, "control"),
    FAILED_ROW("two CR before LF", OK_HEAD "A: b\r\r\n\r\n" SHORT_BODY, "control"),
    FAILED_ROW("CR alone for an empty line", OK_HEAD "\r" SHORT_BODY "\n", "control"),
    FAILED_ROW("DEL in a value", OK_HEAD "A: \x7f\r\n\r\n" SHORT_BODY, "control"),
    FAILED_ROW("a folded line with nothing before it", OK_HEAD " A: b\r\n\r\n" SHORT_BODY,
               "folded"),
    FAILED_ROW("a folded length", OK_HEAD "Content-Length: 5\r\n 0\r\n\r\n" SHORT_BODY, "folded"),
    FAILED_ROW("a length in a folded line", OK_HEAD "Content-Length:\r\n 5\r\n\r\n" SHORT_BODY,
               "not a number"),
    FAILED_ROW("a folded encoding",
               OK_HEAD "Transfer-Encoding: chunked\r\n , x\r\n\r\n5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "folded"),

    FAILED_ROW("HTML", OK_HEAD "\r\n<html>sign in</html>", "not a DER"),
    FAILED_ROW("another ASN.1 type", OK_HEAD "\r\n\x31\x03\x0a\x01\x03", "not a DER"),
    FAILED_ROW("indefinite length", OK_HEAD "\r\n\x30\x80\x0a\x01\x03\x00\x00zz", "not a DER"),
    FAILED_ROW("length of five bytes", OK_HEAD "\r\n\x30\x85\x00\x00\x00\x00\x03\x0a\x01\x03",
               "not a DER"),
    FAILED_ROW("compressed", OK_HEAD "Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08", "not a DER"),

    FAILED_ROW("content length too short", OK_HEAD "Content-Length: 4\r\n\r\n" SHORT_BODY,
               "ends before"),
    FAILED_ROW("content length too long", OK_HEAD "Content-Length: 7\r\n\r\n" SHORT_BODY "zz",
               "longer than its value"),
    FAILED_ROW("chunks behind the value", CHUNKED "5\r\n" SHORT_BODY "\r\n1\r\nz\r\n0\r\n\r\n",
               "longer than its value"),
    FAILED_ROW("content length is no number", OK_HEAD "Content-Length: x\r\n\r\n" SHORT_BODY,
               "not a number"),
    FAILED_ROW("content length is empty", OK_HEAD "Content-Length:\r\n\r\n" SHORT_BODY,
               "not a number"),
    FAILED_ROW("negative content length", OK_HEAD "Content-Length: -1\r\n\r\n" SHORT_BODY,
               "not a number"),
    FAILED_ROW("content length with a plus", OK_HEAD "Content-Length: +5\r\n\r\n" SHORT_BODY,
               "not a number"),
    FAILED_ROW("content length in hex", OK_HEAD "Content-Length: 0x5\r\n\r\n" SHORT_BODY,
               "not a number"),
    FAILED_ROW("content length of two words", OK_HEAD "Content-Length: 5 5\r\n\r\n" SHORT_BODY,
               "not a number"),
    FAILED_ROW("content length and nothing", OK_HEAD "Content-Length: 5,\r\n\r\n" SHORT_BODY,
               "not a number"),
    FAILED_ROW("two content lengths",
               OK_HEAD "Content-Length: 5\r\nContent-Length: 6\r\n\r\n" SHORT_BODY,
               "two different"),
    FAILED_ROW("two content lengths, the other way",
               OK_HEAD "Content-Length: 6\r\nA: b\r\ncontent-length: 5\r\n\r\n" SHORT_BODY,
               "two different"),
    FAILED_ROW("two content lengths in one field",
               OK_HEAD "Content-Length: 5, 6\r\n\r\n" SHORT_BODY, "two different"),

    FAILED_ROW("a length and chunks",
               OK_HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "both"),
    FAILED_ROW("chunks and a length",
               OK_HEAD "Transfer-Encoding: chunked\r\nContent-Length: 15\r\n\r\n"
                       "5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "both"),
    FAILED_ROW("another encoding", OK_HEAD "Transfer-Encoding: gzip\r\n\r\n" SHORT_BODY,
               "Transfer-Encoding"),
    FAILED_ROW("no encoding", OK_HEAD "Transfer-Encoding: identity\r\n\r\n" SHORT_BODY,
               "Transfer-Encoding"),
    FAILED_ROW("an empty encoding", OK_HEAD "Transfer-Encoding:\r\n\r\n" SHORT_BODY,
               "Transfer-Encoding"),
    FAILED_ROW("two encodings",
               OK_HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "Transfer-Encoding"),
    FAILED_ROW("chunked twice",
               OK_HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "Transfer-Encoding"),
    FAILED_ROW("encoding with a vertical tab",
               OK_HEAD "Transfer-Encoding: \x0b"
                       "chunked\r\n\r\n5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "control"),
    FAILED_ROW("chunks in HTTP/1.0",
               "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
               "5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "HTTP/1.0"),

    FAILED_ROW("a chunk without a size", CHUNKED "\r\n" SHORT_BODY "\r\n0\r\n\r\n", "no size"),
    FAILED_ROW("a negative chunk", CHUNKED "-5\r\n" SHORT_BODY "\r\n0\r\n\r\n", "no size"),
    FAILED_ROW("a chunk with a plus", CHUNKED "+5\r\n" SHORT_BODY "\r\n0\r\n\r\n", "no size"),
    FAILED_ROW("a chunk with 0x", CHUNKED "0x5\r\n" SHORT_BODY "\r\n0\r\n\r\n", "no size"),
    FAILED_ROW("space before a chunk's size", CHUNKED " 5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "no size"),
    FAILED_ROW("a word behind a chunk's size", CHUNKED "5 5\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "no size"),
    FAILED_ROW("a chunk's size of 17 digits",
               CHUNKED "00000000000000005\r\n" SHORT_BODY "\r\n0\r\n\r\n", "no size"),
    FAILED_ROW("NUL in a chunk's size", CHUNKED "5\0\r\n" SHORT_BODY "\r\n0\r\n\r\n", "no size"),
    FAILED_ROW("CR in a chunk's extension", CHUNKED "5;a\rb\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "no size"),
    FAILED_ROW("a chunk's size with LF alone", CHUNKED "5\n" SHORT_BODY "\r\n0\r\n\r\n", "CR LF"),
    FAILED_ROW("a chunk's end with LF alone", CHUNKED "5\r\n" SHORT_BODY "\n0\r\n\r\n", "CR LF"),
    FAILED_ROW("a chunk longer than its size", CHUNKED "4\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "longer than its size"),
    FAILED_ROW("a chunk shorter than its size", CHUNKED "6\r\n" SHORT_BODY "\r\n0\r\n\r\n",
               "longer than its value"),
    FAILED_ROW("a length in a trailer",
               CHUNKED "5\r\n" SHORT_BODY "\r\n0\r\nContent-Length: 5\r\n\r\n", "none may be"),
    FAILED_ROW("an encoding in a trailer",
               CHUNKED "5\r\n" SHORT_BODY "\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
               "none may be"),
    FAILED_ROW("a trailer that is no field", CHUNKED "5\r\n" SHORT_BODY "\r\n0\r\nx\r\n\r\n",
               "NAME: VALUE"),

    LARGE_ROW("content length over the limit", OK_HEAD "Content-Length: 601\r\n\r\n" SHORT_BODY),
    LARGE_ROW("content length of gigabytes", OK_HEAD "Content-Length: 99999999999\r\n\r\n"),
    LARGE_ROW("content length beyond 64 bits",
              OK_HEAD "Content-Length: 18446744073709551621\r\n\r\n" SHORT_BODY),
    LARGE_ROW("ASN.1 length over the limit", OK_HEAD "\r\n\x30\x82\x02\x55zz"),
    LARGE_ROW("ASN.1 length of gigabytes", OK_HEAD "\r\n\x30\x84\xff\xff\xff\xffzz"),
    LARGE_ROW("a chunk over the limit", CHUNKED "259\r\n" SHORT_BODY),
    LARGE_ROW("a chunk of almost 2^64 bytes", CHUNKED "fffffffffffffffb\r\n" SHORT_BODY),
    LARGE_ROW("chunks over the limit together", CHUNKED "5\r\n\x30\x82\x02\x54z\r\n254\r\nz"),
};

static void check_outcome(const reply_row *row, stls_http *http, stls_http_state got)
{
    size_t len;
    const unsigned char *body = stls_http_get0_body(http, &len);
    const char *error = stls_http_get0_error(http);

    if (got != row->state) {
        fail_msg("%s: state %d, error '%s'", row->what, got, error);
    }
    if (got == STLS_HTTP_DONE) {
        assert_int_equal(len, row->body_len);
        assert_memory_equal(body, row->body, len);
        assert_string_equal(error, "");
    } else {
        assert_null(body);
        assert_int_equal(len, 0);
        if (strstr(error, row->error) == NULL) {
            fail_msg("%s: error '%s'", row->what, error);
        }
    }
}

static void reply_outcome(void **state)
{
    static const size_t pieces[] = {100000, 1, 2, 7, 18};
    (void)state;
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
            stls_http *http = new_http();
            check_outcome(&replies[i], http,
                          feed_all(http, replies[i].bytes, replies[i].len, pieces[p]));
            stls_http_free(http);
        }
    }
}

/* Wherever the network cuts it in two or in three. */
static void reply_outcome_at_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        const reply_row *row = &replies[i];
        const unsigned char *bytes = (const unsigned char *)row->bytes;
        for (size_t first = 0; first <= row->len; first++) {
            for (size_t second = first; second <= row->len; second++) {
                stls_http *http = new_http();
                stls_http_feed(http, bytes, first);
                stls_http_feed(http, bytes + first, second - first);
                stls_http_feed(http, bytes + second, row->len - second);
                check_outcome(row, http, stls_http_eof(http));
                stls_http_free(http);
            }
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

/* Feeds `before`, then `line` again and again; returns how much of the latter it took to end it. */
static size_t feed_endlessly(const char *before, const char *line, size_t line_len,
                             stls_http_state wanted, const char *error)
{
    stls_http *http = new_http();
    size_t fed = 0;
    stls_http_state got = stls_http_feed(http, (const unsigned char *)before, strlen(before));

    for (; got == STLS_HTTP_MORE; fed += line_len) {
        assert_true(fed <= 40 * (MAX_REPLY + MAX_HEADER));
        got = stls_http_feed(http, (const unsigned char *)line, line_len);
    }
    if (got != wanted || strstr(stls_http_get0_error(http), error) == NULL) {
        fail_msg("%s...: %d, %s", line, got, stls_http_get0_error(http));
    }
    stls_http_free(http);
    return fed;
}

static void endless_headers_are_cut_off(void **state)
{
    static const struct {
        const char *what, *before, *line;
    } rows[] = {
        {"status line", "HTTP/1.1 200 ", "a"},
        {"line", OK_HEAD, "a"},
        {"value", OK_HEAD "A: ", "a"},
        {"fields", OK_HEAD, "X-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"},
        {"folded field", OK_HEAD "A: b\r\n", " a\r\n"},
        {"1xx", "", "HTTP/1.1 100 Continue\r\n\r\n"},
        {"chunk extension", CHUNKED "1;", "a"},
        {"chunk padding", CHUNKED "1", " "},
        {"trailers", CHUNKED "0\r\n", "A: b\r\n"},
        {"trailer", CHUNKED "0\r\n", "A"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t fed = feed_endlessly(rows[i].before, rows[i].line, strlen(rows[i].line),
                                    STLS_HTTP_TOO_LARGE, "max_reply_header_bytes");
        if (fed > MAX_HEADER + strlen(rows[i].line) || fed + 100 < MAX_HEADER) {
            fail_msg("%s: cut off behind %zu bytes", rows[i].what, fed);
        }
    }
}

/* Extensions are paid from the header's bound, whatever the body's: here 10 bytes per byte of body. */
static void chunk_extensions_are_bounded(void **state)
{
    stls_fetch fetch = {.url = "http://a.example/",
                        .content_type = "",
                        .max_reply_bytes = 65536,
                        .max_reply_header_bytes = 600};
    stls_http *http = stls_http_new(&fetch, 0);
    static const unsigned char head[] = CHUNKED "4\r\n\x30\x82\xff\x00\r\n";
    static const unsigned char chunk[] = "1;aaaaaaaa\r\nz\r\n";
    stls_http_state got = stls_http_feed(http, head, sizeof(head) - 1);
    size_t num = 0;

    (void)state;
    for (; got == STLS_HTTP_MORE; num++) {
        got = stls_http_feed(http, chunk, sizeof(chunk) - 1);
    }
    assert_int_equal(got, STLS_HTTP_TOO_LARGE);
    assert_true(num > 50 && num < 600 / 9);
    stls_http_free(http);
}

/* As small as chunks can be, and without extensions: the header's bound has nothing to do with it. */
static void small_chunks_are_not_the_header(void **state)
{
    stls_http *http = new_http();
    static const unsigned char head[] = CHUNKED "4\r\n\x30\x82\x02\x54\r\n";
    stls_http_state got = stls_http_feed(http, head, sizeof(head) - 1);

    (void)state;
    for (size_t i = 0; i < MAX_REPLY - 4; i++) {
        assert_int_equal(got, STLS_HTTP_MORE);
        got = stls_http_feed(http, (const unsigned char *)"00000000000001\r\nz\r\n", 19);
    }
    got = stls_http_feed(http, (const unsigned char *)"0\r\n\r\n", 5);
    assert_int_equal(got, STLS_HTTP_DONE);
    stls_http_free(http);
}

/* To the byte, wherever in the header it is spent. */
static void header_bound_is_exact(void **state)
{
    static const char *heads[] = {OK_HEAD "A: b\r\n\r\n", "HTTP/1.1 100 x\r\n\r\n" WITH_LENGTH,
                                  "HTTP/1.1 200 OK\n\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        for (int missing = 0; missing < 2; missing++) {
            stls_fetch fetch = {.url = "http://a.example/",
                                .content_type = "",
                                .max_reply_bytes = 5,
                                .max_reply_header_bytes = strlen(heads[i]) - (size_t)missing};
            stls_http *http = stls_http_new(&fetch, 0);
            stls_http_feed(http, (const unsigned char *)heads[i], strlen(heads[i]));
            stls_http_state got = stls_http_feed(http, (const unsigned char *)SHORT_BODY, 5);
            assert_int_equal(got, missing ? STLS_HTTP_TOO_LARGE : STLS_HTTP_DONE);
            stls_http_free(http);
        }
    }
}

static void flood_in_one_piece_is_cut_off(void **state)
{
    size_t len = 64 << 20;
    char *bytes = calloc(1, len);
    stls_http *http = new_http();

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 'a', len);
    memcpy(bytes, OK_HEAD "A: ", strlen(OK_HEAD "A: "));
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
        cmocka_unit_test(reply_outcome_at_every_split),
        cmocka_unit_test(reply_of_the_limit_is_taken_and_one_more_is_not),
        cmocka_unit_test(endless_headers_are_cut_off),
        cmocka_unit_test(chunk_extensions_are_bounded),
        cmocka_unit_test(small_chunks_are_not_the_header),
        cmocka_unit_test(header_bound_is_exact),
        cmocka_unit_test(flood_in_one_piece_is_cut_off),
        cmocka_unit_test(outcome_is_final),
        cmocka_unit_test(no_body_before_the_end),
        cmocka_unit_test(free_is_safe_at_any_point),
        cmocka_unit_test(error_queue_stays_as_it_was),
    };
    return cmocka_run_group_tests_name("http_message", tests, NULL, aid_end);
}
