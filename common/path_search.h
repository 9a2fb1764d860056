/* Which paths may lead from the leaf to an anchor, going by names and key ids alone? */
#ifndef STLS_PATH_SEARCH_H
#define STLS_PATH_SEARCH_H

#include "path.h"

/*
 * Calls `try` with each of them, leaf first and its anchor last, until one
 * call returns nonzero.  Each presented certificate is on a path once at most.
 * How long is looked is bounded, since a peer can present certificates that
 * issue one another.  0 when out of memory.
 */
int stls_path_search(const stls_path_input *in,
                     int (*try)(void *baton, const STACK_OF(X509) *certs), void *baton);

#endif
