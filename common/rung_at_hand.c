/*
 * What is at hand anyway: no source that says "good" outvotes a "revoked" that
 * another one, among the policy's, has said already.
 */
#include "cert_stack.h"
#include "crl_file.h"
#include "rung.h"

static int has_source(const stls_policy *policy, int source)
{
    for (size_t i = 0; i < policy->list_len[STLS_KEY_REVOCATION_SOURCES]; i++) {
        if (policy->list[STLS_KEY_REVOCATION_SOURCES][i] == source) {
            return 1;
        }
    }
    return 0;
}

static int is_revoked_by_crl(stls_ladder *ladder, const stls_slot *slot,
                             const stls_ladder_input *in, stls_ocsp_answer *answer, int *source)
{
    const stls_crl_file *file = in->policy->text[STLS_KEY_CRL_FILE][0] != '\0' ? in->crl_file
                                                                               : NULL;
    if (file != NULL && has_source(in->policy, STLS_SOURCE_FILE)) {
        *source = STLS_SOURCE_FILE;
        stls_rung_judge_crls(ladder, slot, in, file->crls, file->num_crls, answer, NULL);
        if (answer->reason == STLS_REASON_CRL_REVOKED) {
            return 1;
        }
    }
    if (ladder->num_crls > 0 && has_source(in->policy, STLS_SOURCE_CRL)) {
        *source = STLS_SOURCE_CRL;
        stls_rung_judge_crls(ladder, slot, in, ladder->crls, ladder->num_crls, answer, NULL);
        if (answer->reason == STLS_REASON_CRL_REVOKED) {
            return 1;
        }
    }
    return 0;
}

/* Whoever holds a revoked responder's key may say anything. */
static int is_known_revoked(const stls_ladder *ladder, const stls_slot *slot, const X509 *responder)
{
    const stls_slot *asked = slot->responder_slot >= 0 ? &ladder->slots[slot->responder_slot]
                                                       : NULL;
    return responder != NULL && asked != NULL && asked->state == STLS_SLOT_REVOKED
           && X509_cmp(asked->cert, responder) == 0;
}

static int is_revoked_by_staple(const stls_ladder *ladder, const stls_slot *slot,
                                const stls_ladder_input *in, stls_ocsp_answer *answer)
{
    size_t num_about = 0;

    for (size_t i = 0; i < in->num_staples; i++) {
        num_about += (int)in->staples[i].cert_index == slot->cert_index;
    }
    if (num_about == 0 || slot->has_seen_staples || !has_source(in->policy, STLS_SOURCE_STAPLE)
        || (num_about == 1 && slot->state == STLS_SLOT_GOOD
            && slot->source == STLS_SOURCE_STAPLE)) {
        return 0;
    }
    for (size_t i = 0; i < in->num_staples; i++) {
        const stls_staple *staple = &in->staples[i];
        if ((int)staple->cert_index != slot->cert_index) {
            continue;
        }
        stls_ocsp_judge(answer, in->policy, in->work, slot->cert, slot->issuer, staple->der,
                        staple->der_len, NULL, in->now_s);
        int counts = answer->reason == STLS_REASON_OCSP_REVOKED
                     && !is_known_revoked(ladder, slot, answer->responder);
        stls_ocsp_answer_clear(answer);
        if (counts) {
            return 1;
        }
    }
    return 0;
}

/* An answer that rests on a responder who is revoked proves nothing, and nothing more is asked. */
static void disown(stls_ladder *ladder, stls_slot *responder, const stls_ladder_input *in)
{
    stls_slot *slot = &ladder->slots[responder->asked_by];

    responder->state = STLS_SLOT_REVOKED;
    if (slot->state == STLS_SLOT_GOOD) {
        if (slot->answer_fetch >= 0) {
            stls_rung_ocsp_refuse(ladder, slot, in, slot->answer_fetch, 0);
        }
        slot->state = STLS_SLOT_INCONCLUSIVE;
        stls_rung_tell(in, ladder, slot, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER,
                       in->policy->num[STLS_KEY_REVOCATION] == STLS_REVOCATION_HARD,
                       "the responder's own certificate is revoked");
    }
}

void stls_ladder_look_back(stls_ladder *ladder, const stls_ladder_input *in)
{
    for (size_t i = 0; i < ladder->num_slots; i++) {
        stls_slot *slot = &ladder->slots[i];
        stls_ocsp_answer answer;
        int source = STLS_SOURCE_STAPLE;
        if (slot->state == STLS_SLOT_REVOKED) {
            continue;
        }
        if (slot->asked_by >= 0) {
            if (is_revoked_by_crl(ladder, slot, in, &answer, &source)) {
                disown(ladder, slot, in);
            }
        } else if (is_revoked_by_staple(ladder, slot, in, &answer)
                   || is_revoked_by_crl(ladder, slot, in, &answer, &source)) {
            stls_rung_take(ladder, slot, in, &answer, source);
        }
    }
}

/* ---- twins ----------------------------------------------------------------------------- */

static int is_twin(const X509 *cert, const STACK_OF(X509) *path)
{
    /* Neither the leaf, nor the anchor, which needs nobody's word. */
    for (int i = 1; i + 1 < sk_X509_num(path); i++) {
        const X509 *member = sk_X509_value(path, i);
        if (X509_NAME_cmp(X509_get_subject_name(cert), X509_get_subject_name(member)) == 0
            && EVP_PKEY_eq(X509_get0_pubkey(cert), X509_get0_pubkey(member)) == 1) {
            return stls_cert_index(path, cert) < 0;
        }
    }
    return 0;
}

static int is_revoked_by(stls_ladder *ladder, const stls_ladder_input *in, X509 *cert, int index,
                         X509 *issuer, stls_ocsp_answer *answer)
{
    stls_slot slot = {
        .cert = cert, .issuer = issuer, .cert_index = index, .asked_by = -1, .responder_slot = -1};
    int source;
    return X509_check_issued(issuer, cert) == X509_V_OK
           && (is_revoked_by_staple(ladder, &slot, in, answer)
               || is_revoked_by_crl(ladder, &slot, in, answer, &source));
}

/*
 * A certificate that was presented besides, for a key of the path: where that
 * one is revoked, another certificate for the same key clears it of nothing.
 */
void stls_ladder_judge_twins(stls_ladder *ladder, const stls_ladder_input *in,
                             const STACK_OF(X509) *presented, const STACK_OF(X509) *anchors)
{
    for (int i = 1; i < sk_X509_num(presented); i++) {
        X509 *cert = sk_X509_value(presented, i);
        stls_ocsp_answer answer;
        int is_revoked = 0;
        if (in->policy->num[STLS_KEY_REVOCATION_SCOPE] == STLS_SCOPE_LEAF
            || !is_twin(cert, in->path)) {
            continue;
        }
        for (int k = 1; !is_revoked && k < sk_X509_num(in->path); k++) {
            is_revoked = is_revoked_by(ladder, in, cert, i, sk_X509_value(in->path, k), &answer);
        }
        for (int k = 0; !is_revoked && k < sk_X509_num(anchors); k++) {
            is_revoked = is_revoked_by(ladder, in, cert, i, sk_X509_value(anchors, k), &answer);
        }
        if (is_revoked) {
            stls_findings_add(in->findings, answer.reason, 1, i, cert,
                              "present the certificate that its CA issued for a new key, and not "
                              "this one",
                              "%s; another certificate for the same key is on the path",
                              answer.detail);
        }
    }
}
