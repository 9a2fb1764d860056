/* The body of a CRL, which http_message.c takes in by itself. */
#include "support.h"

#include <stdlib.h>

static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/pkix-crl\r\n\r\n";

static stls_http_state run(const unsigned char *body, size_t body_len, size_t max_len, size_t step,
                           unsigned char **crl, size_t *crl_len)
{
    stls_fetch fetch = {.url = "http://crl.example.com/a.crl",
                        .content_type = "",
                        .is_crl = 1,
                        .max_reply_bytes = max_len,
                        .max_reply_header_bytes = 1024};
    size_t len = sizeof(head) - 1 + body_len;
    unsigned char *bytes = malloc(len);
    stls_http *http = stls_http_new(&fetch, 0);
    stls_http_state state = STLS_HTTP_MORE;

    assert_non_null(http);
    memcpy(bytes, head, sizeof(head) - 1);
    memcpy(bytes + sizeof(head) - 1, body, body_len);
    for (size_t at = 0; at < len && state == STLS_HTTP_MORE; at += step) {
        state = stls_http_feed(http, bytes + at, len - at < step ? len - at : step);
    }
    if (state == STLS_HTTP_MORE) {
        state = stls_http_eof(http);
    }
    *crl = stls_http_take_crl(http, crl_len);
    size_t again;
    assert_null(stls_http_take_crl(http, &again));
    stls_http_free(http);
    free(bytes);
    return state;
}

static void whatever_the_pieces(void **state)
{
    unsigned char body[70000] = {0x30, 0x83, 0x01, 0x11, 0x6b}; /* header 5, content 69995 */
    const size_t steps[] = {1, 2, 7, 59, 4096, sizeof(body) + sizeof(head)};
    (void)state;
    for (size_t i = 5; i < sizeof(body); i++) {
        body[i] = (unsigned char)i;
    }
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        unsigned char *crl;
        size_t len;
        assert_int_equal(run(body, sizeof(body), sizeof(body), steps[i], &crl, &len),
                         STLS_HTTP_DONE);
        assert_int_equal(len, sizeof(body));
        assert_memory_equal(crl, body, len);
        free(crl);
    }
}

static void outcomes(void **state)
{
    static const struct {
        const char *what;
        const char *body;
        size_t len, max_len;
        stls_http_state wanted;
    } rows[] = {
        {"short form", "\x30\x02\x05\x00", 4, 100, STLS_HTTP_DONE},
        {"empty sequence", "\x30\x00", 2, 100, STLS_HTTP_DONE},
        {"more behind it", "\x30\x02\x05\x00zzz", 7, 100, STLS_HTTP_DONE},
        {"at the bound", "\x30\x02\x05\x00", 4, 4, STLS_HTTP_DONE},
        {"above the bound", "\x30\x02\x05\x00", 4, 3, STLS_HTTP_TOO_LARGE},
        {"claims four gigabytes", "\x30\x84\xff\xff\xff\xff", 6, 100, STLS_HTTP_TOO_LARGE},
        {"claims more than that", "\x30\x85\x01\x00\x00\x00\x00", 7, 100, STLS_HTTP_FAILED},
        {"ends early", "\x30\x03\x05\x00", 4, 100, STLS_HTTP_FAILED},
        {"ends in its length", "\x30\x84\x00", 3, 100, STLS_HTTP_FAILED},
        {"nothing", "", 0, 100, STLS_HTTP_FAILED},
        {"PEM", "-----BEGIN X509 CRL-----", 24, 100, STLS_HTTP_FAILED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t step = 1; step < 100; step += 98) {
            unsigned char *crl;
            size_t len;
            stls_http_state got = run((const unsigned char *)rows[i].body, rows[i].len,
                                      rows[i].max_len, step, &crl, &len);
            if (got != rows[i].wanted) {
                fail_msg("%s: wanted %d, got %d", rows[i].what, rows[i].wanted, got);
            }
            assert_int_equal(crl != NULL, rows[i].wanted == STLS_HTTP_DONE);
            free(crl);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_the_pieces),
        cmocka_unit_test(outcomes),
    };
    return cmocka_run_group_tests_name("http_crl", tests, NULL, aid_end);
}
