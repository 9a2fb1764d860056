/* Rules about OCSP responses that every correctly made response keeps. */
#include "support.h"

#include <openssl/x509v3.h>

static aid_ocsp usual(int status)
{
    const aid_pki *pki = aid_usual_pki();
    return (aid_ocsp){.singles = {{.cert = pki->leaf, .issuer = pki->inter, .status = status}},
                      .signer_key = 1};
}

/* As a staple, under both policies. */
static void assert_staple(const char *what, const aid_ocsp *spec, stls_reason hard)
{
    aid_case c = {.policy = "revocation_scope=leaf revocation_sources=staple",
                  .staple = aid_make_ocsp(spec)};
    assert_case(what, &c, hard == STLS_REASON_NONE ? STLS_ACCEPT : STLS_REJECT, hard);
}

/* ---- extensions (RFC 6960 section 4.4) ---------------------------------------------------- */

static int is_critical;

static X509_EXTENSION *unknown_extension(void)
{
    X509_EXTENSION *made = X509V3_EXT_nconf(NULL, NULL, "1.2.3.4.5",
                                            is_critical ? "critical,DER:0500" : "DER:0500");
    AID_NEED(made);
    return made;
}

static void in_the_response(OCSP_BASICRESP *basic)
{
    X509_EXTENSION *extension = unknown_extension();
    AID_NEED(OCSP_BASICRESP_add_ext(basic, extension, -1));
    X509_EXTENSION_free(extension);
}

static void in_the_answer(OCSP_BASICRESP *basic)
{
    X509_EXTENSION *extension = unknown_extension();
    AID_NEED(OCSP_SINGLERESP_add_ext(OCSP_resp_get0(basic, 0), extension, -1));
    X509_EXTENSION_free(extension);
}

static void critical_extensions(void **state)
{
    void (*const places[])(OCSP_BASICRESP *) = {in_the_response, in_the_answer};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
        spec.shape = places[i];
        is_critical = 0;
        assert_staple("not critical", &spec, STLS_REASON_NONE);
        is_critical = 1;
        assert_staple("critical", &spec, STLS_REASON_OCSP_MALFORMED);
    }
}

/* One beside it that is in order counts all the same. */
static void a_critical_extension_of_another_answer(void **state)
{
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
    (void)state;
    spec.num_singles = 2;
    spec.singles[1] = spec.singles[0];
    spec.shape = in_the_answer;
    is_critical = 1;
    assert_staple("one of two", &spec, STLS_REASON_NONE);
}

/* ---- responder IDs (RFC 6960 section 4.2.2.3) ------------------------------------------------ */

static void other_key_hash(OCSP_BASICRESP *basic)
{
    const ASN1_OCTET_STRING *hash = NULL;
    const X509_NAME *name = NULL;
    AID_NEED(OCSP_resp_get0_id(basic, &hash, &name) && hash != NULL);
    ((ASN1_OCTET_STRING *)hash)->data[0] ^= 1;
}

static void cut_key_hash(OCSP_BASICRESP *basic)
{
    const ASN1_OCTET_STRING *hash = NULL;
    const X509_NAME *name = NULL;
    AID_NEED(OCSP_resp_get0_id(basic, &hash, &name) && hash != NULL);
    ((ASN1_OCTET_STRING *)hash)->length = 4;
}

static void longer_key_hash(OCSP_BASICRESP *basic)
{
    unsigned char longer[21] = {0};
    const ASN1_OCTET_STRING *hash = NULL;
    const X509_NAME *name = NULL;
    AID_NEED(OCSP_resp_get0_id(basic, &hash, &name) && hash != NULL
             && ASN1_STRING_length(hash) == 20);
    memcpy(longer, ASN1_STRING_get0_data(hash), 20);
    AID_NEED(ASN1_OCTET_STRING_set((ASN1_OCTET_STRING *)hash, longer, sizeof(longer)));
}

static void responder_ids(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    const struct {
        const char *what;
        int is_delegated, by_key;
        void (*reshape)(OCSP_BASICRESP *basic);
        stls_reason wanted;
    } rows[] = {
        {"the issuer's name", 0, 0, NULL, STLS_REASON_NONE},
        {"the issuer's key", 0, 1, NULL, STLS_REASON_NONE},
        {"another key", 0, 1, other_key_hash, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER},
        {"a part of the key's hash", 0, 1, cut_key_hash, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER},
        {"the key's hash and more", 0, 1, longer_key_hash, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER},
        {"a responder's name", 1, 0, NULL, STLS_REASON_NONE},
        {"a responder's key", 1, 1, NULL, STLS_REASON_NONE},
        {"not the responder's key", 1, 1, other_key_hash, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER},
        {"a part of its hash", 1, 1, cut_key_hash, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
        if (rows[i].is_delegated) {
            spec.signer = pki->responder;
            spec.signer_key = 3;
        }
        spec.by_key = rows[i].by_key;
        spec.reshape = rows[i].reshape;
        assert_staple(rows[i].what, &spec, rows[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(critical_extensions),
        cmocka_unit_test(a_critical_extension_of_another_answer),
        cmocka_unit_test(responder_ids),
    };
    return cmocka_run_group_tests_name("ocsp_rules", tests, NULL, aid_end);
}
