/*
 * The policy's crl_file: read once per process, and again when it has changed.
 * Safe in many threads at once.
 */
#ifndef STLS_CURL_CRL_READER_H
#define STLS_CURL_CRL_READER_H

#include "strict_tls/strict_tls.h"

/*
 * What the file holds now; the caller owns it.  One that has become unreadable,
 * or cannot be decoded any more, leaves what it held before.  NULL with an
 * empty `err`: the policy has no crl_file; NULL with a sentence: it could never
 * be read.
 */
stls_crl_file *stls_curl_crl_file_get1(const stls_policy *policy, stls_error *err);

/* Whether this is what the policy's crl_file holds now; NULL for none. */
int stls_curl_crl_file_is_current(const stls_policy *policy, const stls_crl_file *file);

#endif
