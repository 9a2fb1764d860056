/* What CRLs prove about a certificate (RFC 5280 section 6.3). */
#ifndef STLS_CRL_JUDGE_H
#define STLS_CRL_JUDGE_H

#include "crl.h"
#include "crl_memory.h"
#include "ocsp_response.h"
#include "policy.h"
#include "work.h"

typedef struct {
    const stls_policy *policy;
    stls_work *work;       /* what may still be spent: every signature is counted */
    stls_crl *const *crls; /* indexed; complete ones and deltas, in any order */
    size_t num_crls;
    const STACK_OF(X509) *path; /* the certificate's validated path, its trust anchor last */
    const STACK_OF(X509)
        *others; /* who may have signed a CRL besides the issuer: presented or given */
    int64_t now_s;
    stls_crl_memory *memory; /* of the check; may be NULL */
} stls_crl_input;

/* What the judgement rests on, for whoever fetches and keeps CRLs. */
typedef struct {
    const stls_crl *fed;  /* in: the CRL that was fetched just now; NULL: none */
    int is_fed_proof;     /* out: it is verified and says now what no other CRL at hand says */
    const stls_crl *base; /* out: a verified complete CRL that names its delta; NULL: none */
} stls_crl_use;

/*
 * Judges all CRLs together: each may cover only some reasons, and "revoked" in
 * any current one counts, whatever others say.  `reason` NONE is good,
 * CRL_REVOKED is revoked, everything else proves nothing.  The answer ends
 * with the first thing that it rests on: a CRL, a delta, a CRL issuer's
 * certificate or what says that this one is not revoked.  `use` may be NULL.
 */
void stls_crl_judge(stls_ocsp_answer *answer, const stls_crl_input *in, X509 *cert, X509 *issuer,
                    stls_crl_use *use);

#endif
