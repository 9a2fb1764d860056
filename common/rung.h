/* What the rungs of the ladder share. */
#ifndef STLS_RUNG_H
#define STLS_RUNG_H

#include "ladder.h"

/* Tells something about a slot; it becomes an error only if the slot ends inconclusive. */
void stls_rung_tell(const stls_ladder_input *in, const stls_ladder *ladder, const stls_slot *slot,
                    stls_reason reason, int is_error, const char *detail);

/* A good answer past its time, within stale_grace_s. */
int stls_rung_is_graced(const stls_ocsp_answer *answer);
/* Keeps it, the newest of a slot, for the case that no source gives a newer one. Clears it. */
void stls_rung_set_aside(stls_slot *slot, stls_ocsp_answer *answer, int source);

/*
 * 1 when the answer settles the slot; otherwise it is set aside, or its reason
 * is told.
 */
int stls_rung_take(const stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                   const stls_ocsp_answer *answer, int source);

/* The same for an OCSP answer, whose responder may have to be asked about first. Clears it. */
int stls_rung_take_ocsp(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                        stls_ocsp_answer *answer, int source);

/*
 * The OCSP answer to this fetch is of no use, which may turn out later: it is
 * not conclusive.  The next to be asked is the next URL, or, where it came from
 * a cache that the network may outdo, the same.
 */
void stls_rung_ocsp_refuse(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                           int fetch_index, int may_be_outdone);

/* The slot about the responder has ended: what that means for the one that asked. */
void stls_rung_responder_ended(stls_ladder *ladder, const stls_slot *responder,
                               const stls_ladder_input *in);

/* One more fetch for this slot, which waits from here on; with max_fetches used up it climbs on. */
stls_status stls_rung_fetch(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                            const char *url, int is_crl, int may_use_cache);

/* ---- rung_file.c ---- */

void stls_rung_file_climb(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in);

/* ---- rung_crl.c ---- */

/* What these CRLs prove about a slot's certificate. */
void stls_rung_judge_crls(stls_ladder *ladder, const stls_slot *slot, const stls_ladder_input *in,
                          stls_crl *const *crls, size_t num_crls, stls_ocsp_answer *answer,
                          stls_crl_use *use);

stls_status stls_rung_crl_climb(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in);
/* The fetch failed: on to the next URL. */
void stls_rung_crl_skip(stls_slot *slot);
/* What came from this URL is of no use. Asks again where it came from a cache. */
stls_status stls_rung_crl_refuse(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                                 const char *url, int is_cached);
/* A CRL arrived for this slot. Takes a reference where the CRL may be of use. */
stls_status stls_rung_crl_take(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                               stls_crl *crl, const char *url, int is_cached, stls_answer *answer);

#endif
