#include "support.h"

#include "must_staple.h"

static X509 *leaf_with(const char *tls_feature)
{
    aid_cert spec = aid_leaf_spec();
    spec.tls_feature = tls_feature;
    return aid_make_cert(&spec);
}

/* RFC 7633 section 4. */
static void which_certificates_demand_it(void **state)
{
    static const struct {
        const char *tls_feature;
        int demands;
    } rows[] = {
        {NULL, 0},
        {"status_request", 1},
        {"5", 1},
        {"status_request,status_request_v2", 1},
        {"17,5", 1},
        {"status_request_v2", 0}, /* another feature, which this host does not offer */
        {"10", 0},
        {"DER:3000", 0},
        {"DER:0500", 1}, /* undecodable: taken as a demand */
        {"DER:30030101FF", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (stls_must_staple(leaf_with(rows[i].tls_feature)) != rows[i].demands) {
            fail_msg("%s", rows[i].tls_feature);
        }
    }
}

static void verdicts(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *leaf = leaf_with("status_request");
    aid_ocsp spec = {.singles = {{.cert = leaf, .issuer = pki->inter}}, .signer_key = 1};
    aid_bytes none = {NULL, 0};
    aid_bytes good = aid_make_ocsp(&spec);
    aid_bytes revoked = aid_ocsp_about(leaf, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED);
    aid_bytes unknown = aid_ocsp_about(leaf, pki->inter, 1, V_OCSP_CERTSTATUS_UNKNOWN);
    aid_bytes about_another = aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_GOOD);
    aid_bytes garbage = {(unsigned char *)"junk", 4};
    spec.singles[0].this_update_s = NOW_S - 9 * DAY_S;
    spec.singles[0].next_update_s = NOW_S - 8 * DAY_S;
    aid_bytes stale = aid_make_ocsp(&spec);
    const struct {
        const char *what, *policy;
        aid_bytes staple;
        stls_reason reason; /* NONE: accepted */
    } rows[] = {
        {"good", "", good, 0},
        {"none", "", none, STLS_REASON_STAPLE_MISSING},
        {"none, though a responder would answer", "revocation_sources=ocsp,staple", none,
         STLS_REASON_STAPLE_MISSING},
        {"none, soft", "revocation=soft", none, STLS_REASON_STAPLE_MISSING},
        {"none, private", "preset=private", none, STLS_REASON_STAPLE_MISSING},
        {"none, ignored", "must_staple=ignore", none, 0},
        {"none, revocation off", "revocation=off", none, 0},
        {"revoked", "", revoked, STLS_REASON_OCSP_REVOKED},
        {"unknown", "", unknown, STLS_REASON_OCSP_UNKNOWN},
        {"stale", "", stale, STLS_REASON_OCSP_STALE},
        {"stale, soft", "revocation=soft", stale, STLS_REASON_OCSP_STALE},
        {"stale, ignored", "must_staple=ignore", stale, 0},
        {"garbage", "", garbage, STLS_REASON_OCSP_MALFORMED},
        {"garbage, staples not looked at otherwise", "revocation_sources=ocsp", garbage,
         STLS_REASON_OCSP_MALFORMED},
        {"another's", "", about_another, STLS_REASON_OCSP_WRONG_CERTIFICATE},
        {"good, but a nonce is wanted", "ocsp_nonce=on must_staple=ignore", good,
         STLS_REASON_OCSP_NONCE_MISMATCH},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = rows[i].policy,
                      .certs = aid_stack(leaf, pki->inter, NULL),
                      .staple = rows[i].staple};
        assert_case(rows[i].what, &c, rows[i].reason ? STLS_REJECT : STLS_ACCEPT, rows[i].reason);
    }
}

/* Clients have no way to staple. */
static void clients_are_exempt(void **state)
{
    aid_cert spec = aid_leaf_spec();
    (void)state;
    spec.tls_feature = "status_request";
    spec.eku = "clientAuth";
    aid_case c = {.role = STLS_ROLE_CLIENT,
                  .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL)};
    assert_case("client", &c, STLS_ACCEPT, STLS_REASON_NONE);
}

/* On a CA certificate the extension is about what it issues. */
static void ca_certificates_demand_no_staple_for_themselves(void **state)
{
    aid_cert inter = {.subject = "CN=Stapling,O=Lab", .key = 6, .is_ca = 1};
    (void)state;
    inter.issuer = aid_usual_pki()->root;
    inter.tls_feature = "status_request";
    inter.aia = "OCSP;URI:" INTER_OCSP_URL;
    aid_cert leaf = aid_leaf_spec();
    leaf.issuer = aid_make_cert(&inter);
    leaf.issuer_key = 6;
    aid_case c = {.certs = aid_stack(aid_make_cert(&leaf), leaf.issuer, NULL)};
    assert_case("intermediate", &c, STLS_ACCEPT, STLS_REASON_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_certificates_demand_it),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(clients_are_exempt),
        cmocka_unit_test(ca_certificates_demand_no_staple_for_themselves),
    };
    return cmocka_run_group_tests_name("must_staple", tests, NULL, aid_end);
}
