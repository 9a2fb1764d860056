/* RFC 5280 section 6: the path from the leaf to a trust anchor, built and validated by OpenSSL. */
#ifndef STLS_PATH_H
#define STLS_PATH_H

#include "anchors.h"
#include "finding.h"
#include "name.h"
#include "policy.h"
#include "work.h"

typedef struct {
    STACK_OF(X509) *certs; /* leaf first; ends at the anchor if is_valid, else where it broke off */
    int *presented_index;  /* for each: its index as presented, STLS_NO_CERT if from the store */
    int is_valid;          /* complete and without any error */
    int is_complete;       /* ends at a trust anchor, whatever else is wrong */
    int64_t not_after_s;   /* the earliest on the path */
} stls_path;

/* Borrowed for one call. */
typedef struct {
    const stls_policy *policy;
    const stls_anchors *anchors;
    stls_role role;
    const STACK_OF(X509) *presented; /* leaf first */
    stls_name_type name_type;        /* of a name that the leaf covers; NONE: none is wanted */
    const char *name;
    int64_t now_s;
    stls_work *work; /* what may still be spent */
} stls_path_input;

/*
 * Builds and validates from `presented` and self-signed anchors alone.
 * Everything that is wrong becomes a finding, but for what is missing at the
 * top: the presentation is chain.c's to judge.  Where no anchor is reached no
 * signature is verified: it could prove nothing.  Where the path that comes
 * first to mind is not valid others are tried, whatever is wrong with it; half
 * of the signatures that a check may cost are left to the rest of it.
 */
stls_status stls_path_build(stls_path *path, const stls_path_input *in, stls_findings *findings);

/*
 * Whether every CA on the path may issue for this very name (RFC 5280 section
 * 4.2.1.10), however the leaf spells it: under a wildcard, or in its common
 * name, what is excluded looks permitted.  Otherwise, and where that cannot be
 * told, 0 and in `*at` the place of the CA that may not.
 */
int stls_path_permits_name(const stls_path *path, stls_name_type type, const char *name, int *at);

/* A critical policy extension that cannot be interpreted whole (section 4.2.1.4). */
int stls_has_unknown_qualifier(const X509 *cert);

void stls_path_clear(stls_path *path, const stls_allocator *allocator);

#endif
