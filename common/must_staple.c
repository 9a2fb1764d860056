#include "must_staple.h"

#include <openssl/err.h>
#include <openssl/tls1.h>
#include <openssl/x509v3.h>

int stls_must_staple(const X509 *cert)
{
    int must = 0, critical = 0;
    ERR_set_mark();
    TLS_FEATURE *features = X509_get_ext_d2i(cert, NID_tlsfeature, &critical, NULL);
    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++) {
        must |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == TLSEXT_TYPE_status_request;
    }
    /* There is one and it does not decode: take the demand as made. */
    must |= features == NULL && critical != -1;
    sk_ASN1_INTEGER_pop_free(features, ASN1_INTEGER_free);
    ERR_pop_to_mark();
    return must;
}

void stls_must_staple_judge(const stls_policy *policy, X509 *leaf, X509 *issuer,
                            const stls_staple *staples, size_t num_staples, int64_t now_s,
                            stls_findings *findings)
{
    stls_ocsp_answer answer = {.reason = STLS_REASON_STAPLE_MISSING,
                               .detail = "the certificate demands a stapled answer"};

    if (policy->num[STLS_KEY_MUST_STAPLE] != STLS_MUST_STAPLE_ENFORCE || !stls_must_staple(leaf)) {
        return;
    }
    for (size_t i = 0; i < num_staples; i++) {
        if (staples[i].cert_index != 0) {
            continue;
        }
        stls_ocsp_judge(&answer, policy, leaf, issuer, staples[i].der, staples[i].der_len, NULL,
                        now_s);
        stls_ocsp_answer_clear(&answer); /* the ladder asks about the responder */
        if (answer.reason == STLS_REASON_NONE) {
            return;
        }
    }
    stls_findings_add(findings, answer.reason, 1, 0, leaf, NULL, "%s", answer.detail);
}
