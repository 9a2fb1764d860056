/* An HTTP response, in one piece and byte by byte: the same end both ways. */
#include "fuzz.h"

static stls_http_state run(const uint8_t *data, size_t len, size_t step, int is_crl,
                           size_t *body_len)
{
    stls_fetch fetch = {.url = "http://ocsp.example.com/a",
                        .content_type = "",
                        .is_crl = is_crl,
                        .max_reply_bytes = 4096,
                        .max_reply_header_bytes = 1024};
    stls_http *http = stls_http_new(&fetch, 0);
    stls_http_state state = STLS_HTTP_MORE;

    MUST(http != NULL);
    for (size_t at = 0; at < len && state == STLS_HTTP_MORE; at += step) {
        state = stls_http_feed(http, data + at, len - at < step ? len - at : step);
    }
    if (state == STLS_HTTP_MORE) {
        state = stls_http_eof(http);
    }
    MUST(state != STLS_HTTP_MORE);
    *body_len = 0;
    if (state == STLS_HTTP_DONE) {
        MUST(stls_http_get0_body(http, body_len) != NULL || *body_len == 0);
        MUST(*body_len <= fetch.max_reply_bytes);
    } else {
        MUST(stls_http_get0_error(http) != NULL);
    }
    stls_http_free(http);
    return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    for (int is_crl = 0; is_crl < 2; is_crl++) {
        size_t whole_len, split_len;
        stls_http_state whole = run(data, len, len ? len : 1, is_crl, &whole_len);
        stls_http_state split = run(data, len, 1, is_crl, &split_len);
        MUST((whole == STLS_HTTP_DONE) == (split == STLS_HTTP_DONE));
        MUST(whole_len == split_len);
    }
    return 0;
}
