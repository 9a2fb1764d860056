/* Whose key is a CRL signed with? */
#ifndef STLS_CRL_SIGNATURE_H
#define STLS_CRL_SIGNATURE_H

#include "crl_judge.h"

/*
 * What the CRL's authority key identifier says: 0 speaks against this
 * certificate.  A hint (RFC 5280 section 5.2.1), so that no key is tried in vain.
 */
int stls_crl_has_key_id(const stls_crl *crl, const X509 *signer);

/*
 * 1: by this certificate's key, and strongly enough for the policy.  Otherwise
 * `*reason` and `*why` (may be NULL) say what is wrong with it.  What has verified
 * once is remembered by the CRL and costs nothing any more.
 */
int stls_crl_is_signed_by(const stls_crl_input *in, const stls_crl *crl, X509 *signer,
                          stls_reason *reason, const char **why);

#endif
