/*
 * A delegated responder whose certificate lacks id-pkix-ocsp-nocheck may be
 * revoked itself (RFC 6960 section 4.2.2.2.1): its status is asked once, in a
 * slot of its own, before its answer counts.
 */
#include "rung.h"

#include <string.h>

/*
 * A cached answer and the one that the network gives instead may be by two
 * responders; more are not asked about for one certificate.
 */
#define MAX_RESPONDERS 2

/* The slot in which this one's responders are asked about, one after the other. */
static stls_slot *open_slot(stls_ladder *ladder, stls_slot *slot)
{
    stls_slot *asked;

    if (slot->responder_slot < 0) {
        slot->responder_slot = (int)ladder->num_slots++;
        return &ladder->slots[slot->responder_slot];
    }
    asked = &ladder->slots[slot->responder_slot];
    X509_free(asked->cert);
    stls_ocsp_answer_clear(&asked->aside);
    memset(asked, 0, sizeof(*asked));
    return asked;
}

/* The answer waits in `slot` while a slot about its responder is climbed. */
static int ask_about(stls_ladder *ladder, stls_slot *slot, stls_ocsp_answer *answer, int source)
{
    unsigned char question[STLS_ID_LEN];

    if (stls_ocsp_question(answer->responder, slot->issuer, question) != STLS_OK) {
        return 0;
    }
    stls_slot *asked = open_slot(ladder, slot);
    memcpy(asked->question, question, STLS_ID_LEN);
    asked->cert = answer->responder;
    answer->responder = NULL;
    asked->issuer = slot->issuer;
    asked->cert_index = slot->cert_index;
    asked->asked_by = (int)(slot - ladder->slots);
    asked->responder_slot = asked->answer_fetch = -1;
    slot->num_responders++;
    slot->answer = *answer;
    slot->source = source;
    slot->state = STLS_SLOT_ON_RESPONDER;
    return 1;
}

static int is_trusted(const stls_slot *responder)
{
    return responder->state == STLS_SLOT_GOOD || responder->state == STLS_SLOT_NOT_ASKED;
}

/*
 * What its responder's answer is worth, given what is known about that one.  One who is merely not known to be
 * good is believed that a certificate is revoked: soft must not pass over that.
 */
static int take_known(stls_ladder *ladder, stls_slot *slot, const stls_slot *responder,
                      const stls_ladder_input *in, const stls_ocsp_answer *given, int source)
{
    stls_ocsp_answer answer = *given;

    answer.responder = NULL;
    /* How long it may be believed, the responder's slot says itself. */
    answer.is_grace |= responder->state == STLS_SLOT_GOOD && responder->answer.is_grace;
    if (is_trusted(responder)
        || (responder->state != STLS_SLOT_REVOKED && answer.reason == STLS_REASON_OCSP_REVOKED)) {
        return stls_rung_take(ladder, slot, in, &answer, source);
    }
    stls_rung_tell(in, ladder, slot, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, 0,
                   responder->state == STLS_SLOT_REVOKED
                       ? "the responder's own certificate is revoked"
                       : "the responder's certificate lacks id-pkix-ocsp-nocheck, and its own "
                         "revocation is open");
    return 0;
}

/* By a responder whose own revocation is open. */
static int take_open(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                     stls_ocsp_answer *answer, int source)
{
    if (slot->asked_by >= 0) {
        stls_rung_tell(in, ladder, slot, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, 0,
                       "a responder without id-pkix-ocsp-nocheck does not vouch for itself");
        return 0;
    }
    if (slot->responder_slot >= 0) {
        const stls_slot *asked = &ladder->slots[slot->responder_slot];
        if (X509_cmp(asked->cert, answer->responder) == 0) {
            return take_known(ladder, slot, asked, in, answer, source);
        }
        if (slot->num_responders >= MAX_RESPONDERS) {
            stls_rung_tell(in, ladder, slot, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, 0,
                           "the responder's own revocation is open");
            return 0;
        }
    }
    if (!ask_about(ladder, slot, answer, source)) {
        stls_rung_tell(in, ladder, slot, STLS_REASON_INTERNAL_MEMORY, 1,
                       "out of memory while asking about a responder");
        return 0;
    }
    return 1;
}

int stls_rung_take_ocsp(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                        stls_ocsp_answer *answer, int source)
{
    int is_open = answer->responder != NULL
                  && (answer->reason == STLS_REASON_NONE
                      || answer->reason == STLS_REASON_OCSP_REVOKED);

    if (stls_rung_is_graced(answer) && !slot->is_last_resort) {
        stls_rung_set_aside(slot, answer, source);
        return 0;
    }
    int taken = is_open ? take_open(ladder, slot, in, answer, source)
                        : stls_rung_take(ladder, slot, in, answer, source);
    stls_ocsp_answer_clear(answer);
    return taken;
}

void stls_rung_responder_ended(stls_ladder *ladder, const stls_slot *responder,
                               const stls_ladder_input *in)
{
    stls_slot *slot = &ladder->slots[responder->asked_by];

    if (slot->state != STLS_SLOT_ON_RESPONDER) {
        return;
    }
    slot->state = STLS_SLOT_OPEN;
    if (take_known(ladder, slot, responder, in, &slot->answer, slot->source)) {
        return;
    }
    /* Behind a staple comes the next one, or the next rung. */
    if (slot->source != STLS_SOURCE_STAPLE && slot->answer_fetch >= 0) {
        /* While one's own status is merely open the network would say the same. */
        stls_rung_ocsp_refuse(ladder, slot, in, slot->answer_fetch,
                              responder->state == STLS_SLOT_REVOKED);
    }
}
