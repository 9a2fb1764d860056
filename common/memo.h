/* Signatures that verified before, by what they are over, what they are, and whose they are. */
#ifndef STLS_MEMO_H
#define STLS_MEMO_H

#include <openssl/ocsp.h>

#include "mem.h"

/* 1 if this certificate's signature verifies with the issuer's key; `memo` may be NULL. */
int stls_memo_verify_cert(stls_memo *memo, X509 *cert, X509 *issuer);

/* The same of an OCSP answer and its signer. */
int stls_memo_verify_answer(stls_memo *memo, const OCSP_BASICRESP *basic, const X509 *signer);

#endif
