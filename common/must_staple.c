#include "must_staple.h"

#include <openssl/err.h>
#include <openssl/tls1.h>
#include <openssl/x509v3.h>

/* RFC 7633 section 4.2.2: the features that an issuer carries are carried by what it issues, too. */
static int has_feature(const X509 *cert, const ASN1_INTEGER *wanted)
{
    int found = 0;
    TLS_FEATURE *features = X509_get_ext_d2i(cert, NID_tlsfeature, NULL, NULL);
    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++) {
        found |= ASN1_INTEGER_cmp(sk_ASN1_INTEGER_value(features, i), wanted) == 0;
    }
    sk_ASN1_INTEGER_pop_free(features, ASN1_INTEGER_free);
    return found;
}

static int keeps_to(const X509 *cert, const X509 *issuer)
{
    int critical = 0, ok = 1;
    ERR_set_mark();
    TLS_FEATURE *features = X509_get_ext_d2i(issuer, NID_tlsfeature, &critical, NULL);
    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++) {
        ok &= has_feature(cert, sk_ASN1_INTEGER_value(features, i));
    }
    /* One that does not decode may demand anything. */
    ok &= features != NULL || critical == -1;
    sk_ASN1_INTEGER_pop_free(features, ASN1_INTEGER_free);
    ERR_pop_to_mark();
    return ok;
}

void stls_must_staple_judge_issuers(const stls_policy *policy, const stls_path *path,
                                    stls_findings *findings)
{
    /* The anchor is an input of the validation, and constrains nothing. */
    for (int i = 0; i + 2 < sk_X509_num(path->certs); i++) {
        X509 *cert = sk_X509_value(path->certs, i), *issuer = sk_X509_value(path->certs, i + 1);
        if (policy->num[STLS_KEY_MUST_STAPLE] == STLS_MUST_STAPLE_ENFORCE
            && !keeps_to(cert, issuer)) {
            stls_findings_add(findings, STLS_REASON_CHAIN_CONSTRAINT, 1, path->presented_index[i],
                              cert, NULL,
                              "its issuer demands TLS features (must-staple) of what it issues, "
                              "and this certificate lacks them");
        }
    }
}

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

void stls_must_staple_judge(const stls_policy *policy, stls_work *work, X509 *leaf, X509 *issuer,
                            const stls_staple *staples, size_t num_staples, int64_t now_s,
                            stls_findings *findings, int64_t *valid_until_s)
{
    stls_ocsp_answer answer = {.reason = STLS_REASON_STAPLE_MISSING,
                               .detail = "the certificate demands a stapled answer"};

    *valid_until_s = INT64_MAX;
    if (policy->num[STLS_KEY_MUST_STAPLE] != STLS_MUST_STAPLE_ENFORCE || !stls_must_staple(leaf)) {
        return;
    }
    for (size_t i = 0; i < num_staples; i++) {
        if (staples[i].cert_index != 0) {
            continue;
        }
        stls_ocsp_judge(&answer, policy, work, leaf, issuer, staples[i].der, staples[i].der_len,
                        NULL, now_s);
        stls_ocsp_answer_clear(&answer); /* the ladder asks about the responder */
        if (answer.reason == STLS_REASON_NONE) {
            *valid_until_s = answer.use_until_s
                             + (answer.is_grace ? policy->num[STLS_KEY_STALE_GRACE_S] : 0);
            if (answer.ends_s < *valid_until_s) {
                *valid_until_s = answer.ends_s;
            }
            return;
        }
    }
    stls_findings_add(findings, answer.reason, 1, 0, leaf, NULL, "%s", answer.detail);
}
