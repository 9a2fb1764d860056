/* Which certificates a CRL is about (RFC 5280 section 6.3.3 (b)). */
#ifndef STLS_CRL_SCOPE_H
#define STLS_CRL_SCOPE_H

#include "crl.h"

/* RFC 5280 section 5.2.5: reasons 1 to 8, as bits. */
#define STLS_ALL_REASONS 0x1feu

/*
 * The reasons that this CRL answers for through this distribution point (NULL:
 * what the issuer publishes for all of its certificates), as bits; 0 and `*why`: none.
 * A point's name relative to its issuer was completed beforehand.
 */
unsigned int stls_crl_scope(const X509 *cert, const DIST_POINT *point, const stls_crl *crl,
                            const char **why);

/* The same issuer's name and the same issuing distribution point, as of a CRL and its delta. */
int stls_crl_same_scope(const stls_crl *a, const stls_crl *b);

int stls_has_directory_name(const GENERAL_NAMES *names, const X509_NAME *name);

#endif
