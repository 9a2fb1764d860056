/*
 * A delegated responder whose certificate lacks id-pkix-ocsp-nocheck may be
 * revoked itself (RFC 6960 section 4.2.2.2.1): its status is asked once, in a
 * slot of its own, before its answer counts.
 */
#include "rung.h"

#include <stdio.h>

/* The answer waits in `slot` while a slot about its responder is climbed. */
static int ask_about(stls_ladder *ladder, stls_slot *slot, stls_ocsp_answer *answer, int source)
{
    stls_slot *asked = &ladder->slots[ladder->num_slots];

    if (stls_ocsp_question(answer->responder, slot->issuer, asked->question) != STLS_OK) {
        return 0;
    }
    asked->cert = answer->responder;
    answer->responder = NULL;
    asked->issuer = slot->issuer;
    asked->cert_index = slot->cert_index;
    asked->asked_by = (int)(slot - ladder->slots);
    asked->responder_slot = -1;
    slot->responder_slot = (int)ladder->num_slots++;
    slot->answer = *answer;
    slot->source = source;
    slot->state = STLS_SLOT_ON_RESPONDER;
    return 1;
}

int stls_rung_take_ocsp(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                        stls_ocsp_answer *answer, int source)
{
    int is_open = answer->responder != NULL
                  && (answer->reason == STLS_REASON_NONE
                      || answer->reason == STLS_REASON_OCSP_REVOKED);
    int taken;

    if (stls_rung_is_graced(answer) && !slot->is_last_resort) {
        stls_rung_set_aside(slot, answer, source);
        return 0;
    }
    if (!is_open) {
        taken = stls_rung_take(ladder, slot, in, answer, source);
    } else if (slot->asked_by >= 0) {
        stls_rung_tell(in, ladder, slot, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, 0,
                       "a responder without id-pkix-ocsp-nocheck does not vouch for itself");
        taken = 0;
    } else if (slot->responder_slot >= 0) {
        const stls_slot *asked = &ladder->slots[slot->responder_slot];
        int is_known_good = X509_cmp(asked->cert, answer->responder) == 0
                            && asked->state == STLS_SLOT_GOOD;
        if (is_known_good) {
            taken = stls_rung_take(ladder, slot, in, answer, source);
        } else {
            stls_rung_tell(in, ladder, slot, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, 0,
                           "the responder's own revocation is open");
            taken = 0;
        }
    } else {
        taken = ask_about(ladder, slot, answer, source);
        if (!taken) {
            stls_rung_tell(in, ladder, slot, STLS_REASON_INTERNAL_MEMORY, 1,
                           "out of memory while asking about a responder");
        }
    }
    stls_ocsp_answer_clear(answer);
    return taken;
}

void stls_rung_responder_ended(stls_ladder *ladder, const stls_slot *responder,
                               const stls_ladder_input *in)
{
    stls_slot *slot = &ladder->slots[responder->asked_by];
    int is_trusted = responder->state == STLS_SLOT_GOOD || responder->state == STLS_SLOT_NOT_ASKED;

    if (slot->state != STLS_SLOT_ON_RESPONDER) {
        return;
    }
    slot->state = STLS_SLOT_OPEN;
    if (is_trusted) {
        stls_ocsp_answer answer = slot->answer;
        if (responder->state == STLS_SLOT_GOOD
            && responder->answer.use_until_s < answer.use_until_s) {
            answer.use_until_s = responder->answer.use_until_s;
        }
        stls_rung_take(ladder, slot, in, &answer, slot->source);
        return;
    }
    stls_rung_tell(in, ladder, slot, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, 0,
                   responder->state == STLS_SLOT_REVOKED
                       ? "the responder's own certificate is revoked"
                       : "the responder's certificate lacks id-pkix-ocsp-nocheck, and its own "
                         "revocation is open");
    if (slot->source == STLS_SOURCE_STAPLE) {
        slot->rung++;
    } else {
        slot->url_index++;
    }
}
