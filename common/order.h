/* In which order should the presented certificates be sent, and where is one missing? */
#ifndef STLS_ORDER_H
#define STLS_ORDER_H

#include "path.h"

/* One certificate of the chain as it should be presented. */
typedef struct {
    int index;   /* as presented; STLS_NO_CERT: it was not */
    X509 *below; /* of a missing one: whose issuer it is. Borrowed from peer or
                    anchors. */
} stls_link;

typedef struct {
    stls_link *links; /* leaf first */
    size_t num, cap;  /* what does not fit is left out */
} stls_order;

/* The path, as far as it leads. */
void stls_order_add_path(stls_order *order, const stls_path *path);

/*
 * Behind the gap at the path's end: what lies in the bundle of anchors tells
 * more of what is missing, and the rest of the presented CA certificates is
 * laid end to end, those that lead to a root last.  Names and key ids are
 * compared, signatures are not: this is for people, never for trust.
 */
void stls_order_bridge_gaps(stls_order *order, const stls_anchors *anchors,
                            const STACK_OF(X509) *presented, const stls_path *path);

/* Whether a CA certificate was presented that does not belong to the path. */
int stls_order_goes_on(const STACK_OF(X509) *presented, const stls_path *path);

/* Whether the presented certificate of this index has a place. */
int stls_order_has(const stls_order *order, int index);

/* A certificate of the stack that issued this one, going by name and key id; or NULL. */
X509 *stls_issuer_in(const STACK_OF(X509) *certs, X509 *cert);

#endif
