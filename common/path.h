/* RFC 5280 section 6: the path from the leaf to a trust anchor, built and validated by OpenSSL. */
#ifndef STLS_PATH_H
#define STLS_PATH_H

#include "anchors.h"
#include "finding.h"
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
    int64_t now_s;
    stls_work *work; /* what may still be spent */
} stls_path_input;

/*
 * Builds and validates from `presented` and self-signed anchors alone.
 * Everything that is wrong becomes a finding, but for what is missing at the
 * top: the presentation is chain.c's to judge.  Where no anchor is reached no
 * signature is verified: it could prove nothing.
 */
stls_status stls_path_build(stls_path *path, const stls_path_input *in, stls_findings *findings);

void stls_path_clear(stls_path *path, const stls_allocator *allocator);

#endif
