/* What CRLs prove about a certificate (RFC 5280 section 6.3). */
#ifndef STLS_CRL_JUDGE_H
#define STLS_CRL_JUDGE_H

#include "anchors.h"
#include "crl.h"
#include "ocsp_response.h"
#include "policy.h"

typedef struct {
    const stls_policy *policy;
    stls_work *work; /* what may still be spent: every signature is counted */
    const stls_anchors *anchors;
    stls_crl *const *crls; /* indexed; complete ones and deltas, in any order */
    size_t num_crls;
    const STACK_OF(X509) *path; /* the certificate's validated path */
    const STACK_OF(X509)
        *others; /* who may have signed a CRL besides the issuer: presented or given */
    int64_t now_s;
} stls_crl_input;

/*
 * Judges all CRLs together, since each may cover only some reasons.  `reason`
 * NONE is good, CRL_REVOKED is revoked, everything else proves nothing.
 */
void stls_crl_judge(stls_ocsp_answer *answer, const stls_crl_input *in, X509 *cert, X509 *issuer);

#endif
