/* How a complete CRL, together with its deltas, lists a certificate (RFC 5280 section 5.2.4). */
#ifndef STLS_CRL_LISTING_H
#define STLS_CRL_LISTING_H

#include "crl_judge.h"

/* Where a CRL's time stands; grace: past it by no more than stale_grace_s. */
typedef enum { STLS_CRL_AHEAD, STLS_CRL_CURRENT, STLS_CRL_GRACE, STLS_CRL_PAST } stls_crl_period;

stls_crl_period stls_crl_period_of(const stls_crl_input *in, const stls_crl *crl,
                                   int64_t *use_until_s);

typedef struct {
    int is_listed;         /* 1 revoked, 0 not, -1 undecodable */
    stls_crl_entry entry;  /* of a revoked one */
    const stls_crl *delta; /* the newest, where it bounds the listing; or NULL */
    int64_t use_until_s;   /* of that one; INT64_MAX: it bounds nothing */
    int is_grace;
} stls_crl_listing;

/*
 * "revoked" in the base or any of its deltas counts; only the newest delta may
 * lift a hold.  The deltas are those of `in` that `signer`, who signed the
 * base, signed as well.  `use` (may be NULL) learns whether a delta that was
 * fetched just now is one of them.
 */
stls_crl_listing stls_crl_look_up(const stls_crl_input *in, stls_crl_use *use, const stls_crl *base,
                                  X509 *signer, const X509 *cert);

#endif
