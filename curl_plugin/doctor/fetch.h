/* One fetch of the core, carried out and waited for. */
#ifndef STLS_DOCTOR_FETCH_H
#define STLS_DOCTOR_FETCH_H

#include "strict_tls/strict_tls.h"

typedef struct {
    stls_reply reply;
    unsigned char *bytes; /* what reply points to */
    char detail[256];
} doctor_answer;

/* Through libcurl: http only, bounded in size and time, no redirects, the policy's fetch_deny. */
void doctor_fetch(doctor_answer *answer, const stls_policy *policy, const stls_fetch *fetch,
                  int64_t timeout_ms);

/* The issuer's certificate that a certificate points to, by the same rules. */
void doctor_fetch_url(doctor_answer *answer, const stls_policy *policy, const char *url);

void doctor_answer_free(doctor_answer *answer);

#endif
