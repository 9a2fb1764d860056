/* A check carried to its end: every question is answered from the cache or over the network. */
#ifndef STLS_CURL_JUDGE_H
#define STLS_CURL_JUDGE_H

#include "strict_tls/strict_tls.h"

/*
 * Runs phase two; blocks. Never STLS_PENDING. Staples and name are added before.
 * `crl_file` is what stls_curl_crl_file_get1() said.
 */
stls_verdict stls_curl_judge(stls_check *check, const stls_policy *policy, stls_crl_file *crl_file);

/* A reject of the host's own making. NULL when out of memory. */
stls_result *stls_curl_failed(const stls_policy *policy, stls_reason reason, const char *detail);

#endif
