/* One question to a responder, blocking, through libcurl: its rules about HTTP proxies apply. */
#ifndef STLS_CURL_FETCH_H
#define STLS_CURL_FETCH_H

#include "strict_tls/strict_tls.h"

typedef struct {
    stls_fetch_outcome outcome;
    unsigned char *bytes; /* for STLS_FETCH_OK; the caller frees it by stls_curl_fetched_free() */
    size_t bytes_len;
    char detail[256]; /* for failures */
} stls_curl_fetched;

/* What the body must be. Responders and CRLs answer in DER; issuers come as PEM from some CAs. */
typedef enum { STLS_CURL_BODY_DER, STLS_CURL_BODY_ANY } stls_curl_body;

/*
 * GETs or POSTs what `want` says, for at most `limit_ms`; want's own limits
 * apply too.  Only http://, no redirects, addresses as the policy's fetch_deny
 * has it.  STLS_CURL_BODY_DER: one DER object and nothing else.
 */
void stls_curl_fetch(const stls_fetch *want, const stls_policy *policy, stls_curl_body body,
                     long limit_ms, stls_curl_fetched *fetched);

/* The core's flight and the HTTP proxy that is asked through: what failed there may work elsewhere. */
void stls_curl_flight_of(const stls_fetch *want, unsigned char flight[STLS_ID_LEN]);

void stls_curl_fetched_free(stls_curl_fetched *fetched);

#endif
