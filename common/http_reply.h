/* Reads one HTTP/1 reply, bytes in, body out.  Only http_message.c uses it. */
#ifndef STLS_HTTP_REPLY_H
#define STLS_HTTP_REPLY_H

#include "strict_tls/strict_tls.h"

typedef enum {
    STLS_REPLY_STATUS, /* the parts of a reply in the order they arrive */
    STLS_REPLY_FIELDS,
    STLS_REPLY_BODY,
    STLS_REPLY_CHUNK_SIZE,
    STLS_REPLY_CHUNK_DATA,
    STLS_REPLY_CHUNK_END,
    STLS_REPLY_TRAILER
} stls_reply_part;

/* Zeroed, then the three inputs set. */
typedef struct {
    size_t
        header_left; /* in: bytes that status lines, fields, trailers and chunk extensions may take */
    size_t max_body_len; /* in */
    int may_have_tail;   /* in: 1 takes a framed body that has more bytes behind its DER value */

    stls_http_state state;
    char error[160];

    stls_reply_part part;
    char *line; /* the line that is arriving; owned */
    size_t line_len, line_cap;

    int status; /* 1xx: of the interim reply whose fields are arriving */
    int is_http_1_0;
    int has_field;        /* a field came before this line, which the line may continue */
    int is_framing_field; /* that field says how long the body is */
    int has_length, is_chunked;
    size_t length; /* Content-Length */

    size_t framed_left;    /* bytes left of the body or of the chunk */
    size_t framed_len;     /* bytes of the body that arrived, or were announced by chunks */
    unsigned char head[6]; /* of the body's DER: says how long the value is */
    size_t head_len;
    unsigned char *value; /* from malloc(); owned */
    size_t value_len, value_total;
} stls_http_reply;

stls_http_state stls_http_reply_feed(stls_http_reply *reply, const unsigned char *bytes,
                                     size_t len);
stls_http_state stls_http_reply_eof(stls_http_reply *reply);
void stls_http_reply_clear(stls_http_reply *reply); /* frees what it owns */

#endif
