/*
 * The revocation ladder: for every certificate below the anchor one source
 * after the other is asked until one gives a conclusive answer.  Revoked is
 * final; an inconclusive rung moves on to the next.
 */
#ifndef STLS_LADDER_H
#define STLS_LADDER_H

#include "crl_judge.h"
#include "finding.h"
#include "ocsp_request.h"
#include "ocsp_response.h"
#include "path.h"
#include "policy.h"

typedef enum {
    STLS_SLOT_OPEN = 0,
    STLS_SLOT_WAITING,      /* for a fetch */
    STLS_SLOT_ON_RESPONDER, /* for another slot: is the responder itself revoked? */
    STLS_SLOT_GOOD,         /* a verified answer says so */
    STLS_SLOT_REVOKED,      /* a verified answer says so */
    STLS_SLOT_EXEMPT,       /* short-lived (CA/Browser Forum baseline requirements 4.9.7 ff.) */
    STLS_SLOT_NOT_ASKED,    /* names no source, and the policy allows that */
    STLS_SLOT_INCONCLUSIVE  /* the ladder's end */
} stls_slot_state;

typedef struct {
    X509 *cert, *issuer; /* the path's; of a responder's slot the certificate is owned */
    int asked_by;        /* the slot that this one, about a responder, is for; or -1 */
    int cert_index;
    int is_leaf;
    stls_slot_state state;
    size_t rung;             /* index into revocation_sources */
    size_t url_index;        /* of the rung's URLs */
    int names_source;        /* the certificate, a staple or the policy gave something to ask */
    int source;              /* STLS_SOURCE_* of the conclusive answer */
    int asks_delta;          /* the CRL rung waits for, or has had, the delta that its base names */
    stls_ocsp_answer answer; /* conclusive; while ON_RESPONDER it may become so */
    int answer_fetch;        /* index of the fetch that gave it; or -1 */
    size_t next_staple;      /* the first that was not looked at */
    int has_seen_staples;    /* all that are about it, and none settled it */
    int skips_cache;         /* what a cache held was worthless: the network is asked instead */
    stls_ocsp_answer aside;  /* good, but within its grace: what counts if no source has more */
    int has_aside, aside_source;
    int is_last_resort; /* every source was asked: what is within its grace counts */
    int is_local;       /* this process could not ask one of the sources */
    int responder_slot; /* the slot that was opened for this one's responder; or -1 */
    int num_responders; /* how many were asked about in it, one after the other */
    unsigned char question[STLS_ID_LEN];
} stls_slot;

typedef struct {
    uint32_t id;
    size_t slot;
    int is_handed_out, is_answered, may_use_cache;
    int is_from_cache;         /* its answer */
    stls_ocsp_request request; /* of a CRL only the URL */
    unsigned char question[STLS_ID_LEN];
    int is_crl;
    stls_answer answer;
} stls_open_fetch;

typedef struct {
    size_t cert_index;
    unsigned char *der;
    size_t der_len;
} stls_staple;

typedef struct {
    stls_slot *slots; /* one per certificate, and behind them those about responders */
    size_t num_slots;
    stls_open_fetch *fetches;
    size_t num_fetches, cap_fetches;
    size_t num_asked; /* of max_fetches */
    int is_expired;   /* nothing more is fetched */
    stls_crl **crls;  /* given and fetched */
    size_t num_crls, cap_crls;
    stls_crl_memory memory;
} stls_ladder;

/* What the ladder works with; borrowed for each call. */
typedef struct {
    const stls_policy *policy;
    stls_work *work; /* what may still be spent */
    const stls_staple *staples;
    size_t num_staples;
    const STACK_OF(X509) *path;
    const STACK_OF(X509) *crl_issuers; /* presented and given: who may have signed a CRL */
    const stls_crl_file *crl_file;     /* or NULL */
    stls_findings *findings;
    int64_t now_s;
} stls_ladder_input;

stls_status stls_ladder_init(stls_ladder *ladder, const stls_policy *policy, const stls_path *path);
void stls_ladder_clear(stls_ladder *ladder, const stls_allocator *a);

/* Climbs every open slot until it waits or has ended. */
stls_status stls_ladder_advance(stls_ladder *ladder, const stls_ladder_input *in);
int stls_ladder_is_done(const stls_ladder *ladder);

int stls_ladder_next_fetch(stls_ladder *ladder, const stls_policy *policy, stls_fetch *fetch);
stls_status stls_ladder_feed(stls_ladder *ladder, const stls_ladder_input *in, uint32_t id,
                             const stls_reply *reply);
/* The same for a CRL that the host has indexed. */
stls_status stls_ladder_feed_crl(stls_ladder *ladder, const stls_ladder_input *in, uint32_t id,
                                 stls_crl *crl, int is_cached);
/* Makes a CRL known to every slot; takes a reference. */
stls_status stls_ladder_add_crl(stls_ladder *ladder, const stls_allocator *a, stls_crl *crl);
/* The one that was added last is of no use. */
void stls_ladder_drop_crl(stls_ladder *ladder);
/*
 * All slots have ended.  "revoked" at hand refuses, whichever source settled a
 * certificate before it was looked at, or came only afterwards.
 */
void stls_ladder_look_back(stls_ladder *ladder, const stls_ladder_input *in);
/* The same about certificates that were presented besides, for keys of the path. */
void stls_ladder_judge_twins(stls_ladder *ladder, const stls_ladder_input *in,
                             const STACK_OF(X509) *presented, const STACK_OF(X509) *anchors);
/* Every open fetch has timed out and nothing more is asked. */
stls_status stls_ladder_expire(stls_ladder *ladder, const stls_ladder_input *in);

const stls_open_fetch *stls_ladder_find_fetch(const stls_ladder *ladder, uint32_t id);

/* When an answer has lived half its life: from then on a newer one is fetched. */
int64_t stls_half_life_s(int64_t this_update_s, int64_t use_until_s);

/* "staple", "ocsp", "crl", "file" */
const char *stls_source_name(int source);

#endif
