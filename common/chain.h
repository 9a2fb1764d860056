/* Is the complete chain presented, in order, and nothing else? */
#ifndef STLS_CHAIN_H
#define STLS_CHAIN_H

#include "order.h"

/* What a presented certificate is to the path; for the report. */
typedef enum {
    STLS_ON_PATH = 1,
    STLS_REDUNDANT, /* the root, or a certificate for the anchor's name and key */
    STLS_EXTRA,     /* a duplicate, or on no path */
    STLS_BEHIND_GAP /* of an incomplete chain: what lies behind the first gap */
} stls_place;

/*
 * Judges the presentation against the path that was found.  `places` has room
 * for one entry per presented certificate; `order` is empty, and filled.
 */
void stls_chain_judge(const stls_policy *policy, const stls_anchors *anchors,
                      const STACK_OF(X509) *presented, const stls_path *path, stls_order *order,
                      stls_place *places, stls_findings *findings);

/* The leaf is itself, byte for byte, a trust anchor. */
int stls_chain_is_pinned(const stls_path *path);

#endif
