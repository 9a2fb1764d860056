/* Which certificate of a file or an endpoint is the leaf? */
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "doctor.h"

static int issued(X509 *issuer, X509 *cert)
{
    int is_issuer = issuer != cert && X509_cmp(issuer, cert) != 0
                    && X509_check_issued(issuer, cert) == X509_V_OK
                    && X509_verify(cert, X509_get0_pubkey(issuer)) == 1;
    ERR_clear_error();
    return is_issuer;
}

static int issued_any(const STACK_OF(X509) *certs, int index)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        if (issued(sk_X509_value(certs, index), sk_X509_value(certs, i))) {
            return 1;
        }
    }
    return 0;
}

static int owner_of(const STACK_OF(X509) *certs, EVP_PKEY *key)
{
    int owner = -1;
    for (int i = sk_X509_num(certs) - 1; i >= 0; i--) {
        if (X509_check_private_key(sk_X509_value(certs, i), key) == 1) {
            owner = i;
        }
    }
    ERR_clear_error();
    return owner;
}

int doctor_find_leaf(const STACK_OF(X509) *certs, EVP_PKEY *key)
{
    int found = -1, owner = key != NULL ? owner_of(certs, key) : -1;

    if (owner >= 0) {
        return owner;
    }
    if (sk_X509_num(certs) <= 1
        || (X509_check_ca(sk_X509_value(certs, 0)) == 0 && !issued_any(certs, 0))) {
        return 0;
    }
    for (int i = 1; i < sk_X509_num(certs); i++) {
        if (X509_check_ca(sk_X509_value(certs, i)) == 0 && !issued_any(certs, i)) {
            if (found >= 0 && X509_cmp(sk_X509_value(certs, i), sk_X509_value(certs, found)) != 0) {
                return -1;
            }
            found = found >= 0 ? found : i;
        }
    }
    return found >= 0 ? found : 0; /* only CAs: as they stand */
}

STACK_OF(X509) *doctor_leaf_first(const STACK_OF(X509) *certs, int leaf)
{
    STACK_OF(X509) *sorted = X509_chain_up_ref((STACK_OF(X509) *)certs);
    if (sorted != NULL && leaf > 0) {
        X509 *cert = sk_X509_delete(sorted, leaf);
        if (!sk_X509_unshift(sorted, cert)) {
            X509_free(cert);
            sk_X509_pop_free(sorted, X509_free);
            return NULL;
        }
    }
    return sorted;
}

void doctor_leaf_problem(json_t *diagnosis, const STACK_OF(X509) *certs, int leaf, const char *who)
{
    char subject[DOCTOR_TEXT_LEN], detail[DOCTOR_TEXT_LEN + 100];

    if (leaf > 0) {
        doctor_name_text(X509_get_subject_name(sk_X509_value(certs, leaf)), subject);
        snprintf(detail, sizeof(detail),
                 "certificate %d, %s, is the leaf, but the first one is a CA's", leaf, subject);
        doctor_diagnosis_problem(diagnosis, "leaf.not_first", DOCTOR_REJECT, who, detail,
                                 "put the leaf first, then its issuer, and so on");
    } else if (leaf < 0) {
        doctor_diagnosis_problem(diagnosis, "leaf.unclear", DOCTOR_UNKNOWN, "you",
                                 "the first certificate is a CA, and more than one certificate "
                                 "behind it could be the leaf",
                                 "name the leaf's private key by --key, or remove the others");
    }
}
