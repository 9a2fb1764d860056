/* Names: the wanted one and a certificate's are the input's; what matches must look like it. */
#include "fuzz.h"

#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "name.h"

static X509 *cert_for(const uint8_t *san, size_t san_len, const uint8_t *cn, size_t cn_len)
{
    X509 *cert = X509_dup(fuzz_leaf);
    int at = X509_get_ext_by_NID(cert, NID_subject_alt_name, -1);
    X509_EXTENSION_free(X509_delete_ext(cert, at));
    if (san_len > 0) {
        GENERAL_NAMES *names = GENERAL_NAMES_new();
        GENERAL_NAME *name = GENERAL_NAME_new();
        int type = san[0] % 4 == 0 ? GEN_IPADD : san[0] % 4 == 1 ? GEN_URI : GEN_DNS;
        ASN1_STRING *text = ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING
                                                                   : V_ASN1_IA5STRING);
        MUST(ASN1_STRING_set(text, san + 1, (int)san_len - 1));
        GENERAL_NAME_set0_value(name, type, text);
        MUST(sk_GENERAL_NAME_push(names, name));
        X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT);
        GENERAL_NAMES_free(names);
    }
    X509_NAME *subject = X509_NAME_new();
    if (cn_len > 0) {
        X509_NAME_add_entry_by_NID(subject, NID_commonName, V_ASN1_UTF8STRING, cn, (int)cn_len, -1,
                                   0);
    }
    (void)X509_set_subject_name(cert, subject); /* not what is no UTF-8 */
    X509_NAME_free(subject);
    ERR_clear_error();
    /* Through DER, so that it is decoded as a peer's would be. */
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);
    const unsigned char *p = der;
    X509 *decoded = d2i_X509(NULL, &p, len);
    OPENSSL_free(der);
    X509_free(cert);
    return decoded;
}

/* Whether this text, a wildcard or not, may stand for the wanted one. */
static int may_match(const char *wanted, size_t wanted_len, const uint8_t *text, size_t len)
{
    if (wanted_len > 0 && wanted[wanted_len - 1] == '.') {
        wanted_len--;
    }
    if (len > 0 && text[0] == '*') {
        const char *dot = memchr(wanted, '.', wanted_len);
        if (dot == NULL) {
            return 0;
        }
        wanted_len -= (size_t)(dot - wanted);
        wanted = dot;
        text++;
        len--;
    }
    return len == wanted_len && strncasecmp(wanted, (const char *)text, len) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static stls_policy *policies[2];
    const uint8_t *wanted, *san, *cn;
    size_t wanted_len, san_len, cn_len;

    if (policies[0] == NULL) {
        policies[0] = fuzz_policy("revocation=off x509_strict=off");
        policies[1] = fuzz_policy("revocation=off x509_strict=off name_cn_fallback=on");
    }
    if (!fuzz_next(&data, &len, &wanted, &wanted_len) || !fuzz_next(&data, &len, &san, &san_len)
        || !fuzz_next(&data, &len, &cn, &cn_len)) {
        return 0;
    }
    X509 *cert = cert_for(san, san_len, cn, cn_len);
    for (size_t i = 0; cert != NULL && i < 2; i++) {
        char name[STLS_MAX_NAME_LEN + 1] = "";
        stls_findings findings = {.items = NULL};
        stls_findings_init(&findings, &policies[i]->allocator);
        stls_name_type type = stls_name_normalize((const char *)wanted, wanted_len, name);
        int ok = stls_name_covers(policies[i], cert, type, name);
        if (!ok) {
            stls_name_explain(cert, type, name, &findings);
            MUST(stls_findings_have_error(&findings));
        }
        if (ok && type == STLS_NAME_DNS) {
            MUST((san_len > 0 && may_match((const char *)wanted, wanted_len, san + 1, san_len - 1))
                 || (i == 1 && may_match((const char *)wanted, wanted_len, cn, cn_len)));
        }
        stls_findings_clear(&findings);
    }
    X509_free(cert);
    return 0;
}
