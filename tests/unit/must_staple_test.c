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

/* RFC 7633 section 4.2.2: on a CA certificate the extension is about what it issues. */
static void issuers_constrain_what_they_issue(void **state)
{
    const struct {
        const char *what, *policy, *upper, *lower, *leaf;
        stls_reason reason;
    } rows[] = {
        {"leaf keeps to it, the CA itself needs no staple", "", NULL, "status_request",
         "status_request", 0},
        {"leaf carries more", "", NULL, "status_request", "17,5", 0},
        {"leaf lacks it", "", NULL, "status_request", NULL, STLS_REASON_CHAIN_CONSTRAINT},
        {"leaf lacks one of two", "", NULL, "5,17", "5", STLS_REASON_CHAIN_CONSTRAINT},
        {"leaf has another", "", NULL, "status_request", "17", STLS_REASON_CHAIN_CONSTRAINT},
        {"nothing demanded by an empty one", "", NULL, "DER:3000", NULL, 0},
        {"one that does not decode demands anything", "", NULL, "DER:0500", "status_request",
         STLS_REASON_CHAIN_CONSTRAINT},
        {"two CAs keep to it", "", "status_request", "status_request", "status_request", 0},
        {"the CA below lacks it", "", "status_request", NULL, NULL, STLS_REASON_CHAIN_CONSTRAINT},
        {"the CA below lacks it, the leaf has it", "", "status_request", NULL, "status_request",
         STLS_REASON_CHAIN_CONSTRAINT},
        {"ignored", "must_staple=ignore", "status_request", NULL, NULL, 0},
        {"with revocation off", "revocation=off", "status_request", NULL, NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_cert spec = {
            .subject = "CN=Upper,O=Lab", .key = 6, .is_ca = 1, .aia = "OCSP;URI:" INTER_OCSP_URL};
        spec.issuer = aid_usual_pki()->root;
        spec.tls_feature = rows[i].upper;
        X509 *upper = aid_make_cert(&spec);
        spec.subject = "CN=Lower,O=Lab";
        spec.key = 7;
        spec.issuer = upper;
        spec.issuer_key = 6;
        spec.tls_feature = rows[i].lower;
        X509 *lower = aid_make_cert(&spec);
        aid_cert leaf_spec = aid_leaf_spec();
        leaf_spec.issuer = lower;
        leaf_spec.issuer_key = 7;
        leaf_spec.tls_feature = rows[i].leaf;
        X509 *leaf = aid_make_cert(&leaf_spec);
        aid_case c = {.policy = rows[i].policy,
                      .certs = aid_stack(leaf, lower, upper, NULL),
                      .staple = aid_ocsp_about(leaf, lower, 7, 0)};
        assert_case(rows[i].what, &c, rows[i].reason ? STLS_REJECT : STLS_ACCEPT, rows[i].reason);
    }
}

/* What stls_staples_get1() makes is taken apart again; what nobody made is refused. */
static void runs_of_staples(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_bytes answers[2] = {aid_ocsp_about(pki->leaf, pki->inter, 1, 0),
                            aid_ocsp_about(pki->inter, pki->root, 0, 0)};
    unsigned char run[4096];
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        unsigned char header[6] = {0,
                                   (unsigned char)i,
                                   0,
                                   0,
                                   (unsigned char)(answers[i].len >> 8),
                                   (unsigned char)answers[i].len};
        memcpy(run + len, header, 6);
        memcpy(run + len + 6, answers[i].bytes, answers[i].len);
        len += 6 + answers[i].len;
    }
    for (size_t cut = 0; cut <= len; cut++) {
        aid_case c = {.policy = "revocation_sources=staple"};
        stls_check *check = aid_new_check(&c, NULL);
        stls_status status = stls_check_add_staples(check, run, cut);
        int is_whole = cut == 0 || cut == 6 + answers[0].len || cut == len;
        assert_int_equal(status, is_whole ? STLS_OK : STLS_ERR_ARGUMENT);
        assert_int_equal(stls_check_start(check, NOW_S), cut == len ? STLS_ACCEPT : STLS_REJECT);
        stls_check_free(check);
    }
}

/* Where a certificate has no staple, OpenSSL moves the others up. */
static void staples_find_their_certificates(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_bytes leaf = aid_ocsp_about(pki->leaf, pki->inter, 1, 0);
    aid_bytes inter = aid_ocsp_about(pki->inter, pki->root, 0, 0);
    aid_bytes revoked = aid_ocsp_about(pki->inter, pki->root, 0, V_OCSP_CERTSTATUS_REVOKED);
    const struct {
        const char *what;
        aid_bytes first, second; /* as the ones of index 0 and 1 */
        stls_verdict verdict;
        stls_reason reason;
    } rows[] = {
        {"in order", leaf, inter, STLS_ACCEPT, 0},
        {"the leaf's is missing",
         inter,
         {NULL, 0},
         STLS_REJECT,
         STLS_REASON_REVOCATION_INCONCLUSIVE},
        {"revoked, and moved up", revoked, {NULL, 0}, STLS_REJECT, STLS_REASON_OCSP_REVOKED},
        {"about the leaf, given for the intermediate",
         {NULL, 0},
         leaf,
         STLS_REJECT,
         STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const aid_bytes answers[2] = {rows[i].first, rows[i].second};
        unsigned char run[4096];
        size_t len = 0;
        for (size_t k = 0; k < 2; k++) {
            unsigned char header[6] = {0,
                                       (unsigned char)k,
                                       0,
                                       0,
                                       (unsigned char)(answers[k].len >> 8),
                                       (unsigned char)answers[k].len};
            if (answers[k].len > 0) {
                memcpy(run + len, header, 6);
                memcpy(run + len + 6, answers[k].bytes, answers[k].len);
                len += 6 + answers[k].len;
            }
        }
        aid_case c = {.policy = "revocation_sources=staple"};
        stls_check *check = aid_new_check(&c, NULL);
        assert_int_equal(stls_check_add_staples(check, run, len), STLS_OK);
        stls_check_start(check, NOW_S);
        stls_result *result = stls_check_get1_result(check);
        aid_assert_result(result, rows[i].verdict, rows[i].reason, rows[i].what, __FILE__,
                          __LINE__);
        stls_result_free(result);
        stls_check_free(check);
    }
}

/* A demanded staple is the leaf's own: one that was given for another certificate is none. */
static void the_staple_of_another_certificate(void **state)
{
    aid_cert spec = aid_leaf_spec();
    spec.tls_feature = "status_request";
    X509 *leaf = aid_make_cert(&spec);
    aid_bytes good = aid_ocsp_about(leaf, aid_usual_pki()->inter, 1, V_OCSP_CERTSTATUS_GOOD);
    (void)state;
    for (size_t index = 0; index < 3; index++) {
        aid_case c = {.policy = "revocation_sources=ocsp",
                      .certs = aid_stack(leaf, aid_usual_pki()->inter, NULL)};
        stls_check *check = aid_new_check(&c, NULL);
        size_t num_fetches;
        assert_int_equal(stls_check_add_staple(check, index, good.bytes, good.len), STLS_OK);
        aid_finish(&c, check, &num_fetches);
        assert_int_equal(aid_conclude(check),
                         index == 0 ? STLS_REASON_NONE : STLS_REASON_STAPLE_MISSING);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_certificates_demand_it),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(clients_are_exempt),
        cmocka_unit_test(issuers_constrain_what_they_issue),
        cmocka_unit_test(runs_of_staples),
        cmocka_unit_test(staples_find_their_certificates),
        cmocka_unit_test(the_staple_of_another_certificate),
    };
    return cmocka_run_group_tests_name("must_staple", tests, NULL, aid_end);
}
