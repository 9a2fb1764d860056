/* Is the certificate for the name that was wanted? (RFC 9525) */
#ifndef STLS_NAME_H
#define STLS_NAME_H

#include "finding.h"
#include "policy.h"

typedef enum { STLS_NAME_NONE, STLS_NAME_DNS, STLS_NAME_IP, STLS_NAME_BAD } stls_name_type;

#define STLS_MAX_NAME_LEN 255

/*
 * The reference name in the form in which it is compared: lower case, no
 * trailing dot, no brackets around an IPv6 address.  `out` is NUL-terminated.
 * STLS_NAME_BAD: no DNS name and no address (empty, too long, NUL, non-ASCII).
 */
stls_name_type stls_name_normalize(const char *name, size_t name_len,
                                   char out[STLS_MAX_NAME_LEN + 1]);

/*
 * Whether it is: no more than that.  What the path's CAs may issue for is
 * asked of the path: stls_path_permits_name().
 */
int stls_name_covers(const stls_policy *policy, X509 *leaf, stls_name_type type, const char *name);

/* What the certificate is for, cut with "..." where it is for many; "" for none. */
#define STLS_NAME_LIST_LEN 400
void stls_name_list(const X509 *leaf, char text[STLS_NAME_LIST_LEN]);

/* Tells why the certificate does not cover this name. */
void stls_name_explain(X509 *leaf, stls_name_type type, const char *name, stls_findings *findings);

#endif
