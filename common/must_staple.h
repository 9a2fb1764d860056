/* RFC 7633: a certificate can demand that its server staples. */
#ifndef STLS_MUST_STAPLE_H
#define STLS_MUST_STAPLE_H

#include "finding.h"
#include "ladder.h"
#include "policy.h"

/* Whether the certificate lists status_request among its TLS features (RFC 7633 section 6). */
int stls_must_staple(const X509 *cert);

/*
 * One is needed, and one that proves something: a bad staple is none (section
 * 4.3.3).  `*valid_until_s`: until when it does; INT64_MAX where none is needed.
 */
void stls_must_staple_judge(const stls_policy *policy, stls_work *work, X509 *leaf, X509 *issuer,
                            const stls_staple *staples, size_t num_staples, int64_t now_s,
                            stls_findings *findings, int64_t *valid_until_s);

/* Whether each certificate carries the TLS features that its issuer carries (section 4.2.2). */
void stls_must_staple_judge_issuers(const stls_policy *policy, const stls_path *path,
                                    stls_findings *findings);

#endif
