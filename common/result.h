#ifndef STLS_RESULT_H
#define STLS_RESULT_H

#include <stdatomic.h>

#include "mem.h"

struct stls_result_st {
    stls_allocator allocator;
    atomic_uint refs;
    stls_verdict verdict;
    const char *word;
    stls_reason reason;
    int is_pinned, is_local;
    int64_t judged_at_s, valid_until_s, refresh_at_s;
    unsigned char *questions;
    size_t num_questions, num_revoked; /* the revoked ones come first */
    char *report;
    size_t report_len;
    /* For the log line; NULL for none. */
    int cert_index;
    char *name;   /* of a server, the one that was wanted */
    char *client; /* of a client, its certificate's subject */
    char *subject, *detail, *remedy;
};

#endif
