/* The administrator's own CRLs: the rung that needs nobody's answer. */
#include "rung.h"

#include "crl_file.h"
#include "x509_text.h"

/* Whether one of them is by this certificate's issuer, so that it is a pity if
 * it proves nothing. */
static int has_issuer(const stls_crl_file *file, const X509 *cert)
{
    for (size_t i = 0; i < file->num_crls; i++) {
        if (X509_NAME_cmp(file->crls[i]->issuer, X509_get_issuer_name(cert)) == 0) {
            return 1;
        }
    }
    return 0;
}

void stls_rung_file_climb(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in)
{
    stls_ocsp_answer answer;

    slot->rung++;
    if (in->policy->text[STLS_KEY_CRL_FILE][0] == '\0' || in->crl_file == NULL) {
        return; /* none is demanded, or stls_ladder_advance() has said that it is missing */
    }
    stls_rung_judge_crls(ladder, slot, in, in->crl_file->crls, in->crl_file->num_crls, &answer,
                         NULL);
    if (answer.reason == STLS_REASON_NONE || answer.reason == STLS_REASON_CRL_REVOKED) {
        slot->names_source = 1;
        stls_rung_take(ladder, slot, in, &answer, STLS_SOURCE_FILE);
    } else if (answer.reason != STLS_REASON_REVOCATION_INCONCLUSIVE
               && has_issuer(in->crl_file, slot->cert)) {
        slot->names_source = 1;
        stls_rung_tell(in, ladder, slot, answer.reason, 0, answer.detail);
    }
}
