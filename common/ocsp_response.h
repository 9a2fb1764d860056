/* What an OCSP responder's answer proves (RFC 6960 sections 3.2 and 4.2). */
#ifndef STLS_OCSP_RESPONSE_H
#define STLS_OCSP_RESPONSE_H

#include <openssl/ocsp.h>

#include "policy.h"
#include "work.h"

typedef struct {
    stls_reason
        reason;       /* NONE: conclusive, see is_revoked; OCSP_REVOKED: conclusive; else why not */
    char detail[300]; /* for findings */
    int64_t this_update_s; /* of the SingleResponse, where one was found */
    int64_t next_update_s; /* 0: absent */
    int64_t use_until_s;   /* nextUpdate, or thisUpdate + ocsp_max_age_s where it is absent */
    int64_t ends_s;        /* notAfter of whoever signed it, off the path; INT64_MAX: nobody */
    int is_grace;          /* good, but past its time by no more than stale_grace_s */
    int64_t revoked_at_s;
    int revocation_reason; /* CRLReason, -1: not given */
    X509 *responder; /* a signer without id-pkix-ocsp-nocheck, whose own status is open; owned */
} stls_ocsp_answer;

void stls_ocsp_answer_clear(stls_ocsp_answer *answer);

/*
 * Judges `der` as an answer about `cert`, issued by `issuer`.  `request` is
 * NULL for staples and cached answers, otherwise its nonce, if any, must come
 * back.  Only `reason` NONE is good, only OCSP_REVOKED is revoked; everything
 * else proves nothing.  Where `responder` is set, even those prove nothing
 * until its own status is known (RFC 6960 section 4.2.2.2.1).  Clear it.
 * Signatures are counted in `work`.
 */
void stls_ocsp_judge(stls_ocsp_answer *answer, const stls_policy *policy, stls_work *work,
                     X509 *cert, X509 *issuer, const unsigned char *der, size_t der_len,
                     OCSP_REQUEST *request, int64_t now_s);

#endif
