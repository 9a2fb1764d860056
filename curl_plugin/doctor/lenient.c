/* What a stock client makes of it: OpenSSL's verification as libcurl sets it up, no revocation. */
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "doctor.h"

#define STOCK_SECURITY_LEVEL 2 /* Debian's */

static int has_identity(const X509 *leaf)
{
    int found = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type = sk_GENERAL_NAME_value(names, i)->type;
        found |= type == GEN_DNS || type == GEN_IPADD;
    }
    GENERAL_NAMES_free(names);
    return found;
}

/* libcurl's rule: names and addresses first, the common name where there are none at all. */
static int is_for(X509 *leaf, const char *name)
{
    char host[256];
    unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;

    snprintf(host, sizeof(host), "%s", name);
    size_t len = strlen(host);
    if (len > 1 && host[len - 1] == '.') {
        host[len - 1] = '\0';
    }
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
    int is_address = address != NULL;
    ASN1_OCTET_STRING_free(address);
    if (is_address && X509_check_ip_asc(leaf, host, 0) == 1) {
        return 1;
    }
    if (has_identity(leaf)) {
        flags |= X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
        if (is_address) {
            return 0;
        }
    }
    return X509_check_host(leaf, host, strlen(host), flags, NULL) == 1;
}

static void verify(const doctor_trust *trust, const STACK_OF(X509) *certs, const char *name,
                   int *accepts, char detail[DOCTOR_TEXT_LEN])
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509 *leaf = sk_X509_value(certs, 0);

    *accepts = 0;
    strcpy(detail, "out of memory");
    if (ctx != NULL && X509_STORE_CTX_init(ctx, trust->store, leaf, (STACK_OF(X509) *)certs)) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
        X509_STORE_CTX_set_default(ctx, "ssl_server");
        X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
        X509_VERIFY_PARAM_set_auth_level(param, STOCK_SECURITY_LEVEL);
        int verified = X509_verify_cert(ctx) == 1;
        if (!verified) {
            snprintf(detail, DOCTOR_TEXT_LEN, "%s",
                     X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
        } else if (name != NULL && !is_for(leaf, name)) {
            snprintf(detail, DOCTOR_TEXT_LEN, "the certificate is not for this name");
        } else {
            *accepts = 1;
            detail[0] = '\0';
        }
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
}

json_t *doctor_lenient(const doctor_trust *trust, const STACK_OF(X509) *certs, const char *name)
{
    char detail[DOCTOR_TEXT_LEN];
    int accepts;

    verify(trust, certs, name, &accepts, detail);
    return json_pack("{s:s, s:o}", "verdict", accepts ? "accept" : "reject", "detail",
                     detail[0] != '\0' ? json_string(detail) : json_null());
}
