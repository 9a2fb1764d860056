#include "support.h"

#include <stdio.h>

#define NETWORK                                                                                    \
    {                                                                                              \
        .outcome = STLS_FETCH_NETWORK                                                              \
    }
#define FAILS(how)                                                                                 \
    {                                                                                              \
        .outcome = STLS_FETCH_##how                                                                \
    }

static aid_bytes about_leaf(int status)
{
    const aid_pki *pki = aid_usual_pki();
    return aid_ocsp_about(pki->leaf, pki->inter, 1, status);
}

static aid_bytes about_inter(int status)
{
    const aid_pki *pki = aid_usual_pki();
    return aid_ocsp_about(pki->inter, pki->root, 0, status);
}

static aid_bytes stale_about_leaf(void)
{
    const aid_pki *pki = aid_usual_pki();
    aid_ocsp spec = {
        .singles = {{.cert = pki->leaf,
                     .issuer = pki->inter,
                     .this_update_s = NOW_S - 9 * DAY_S,
                     .next_update_s = NOW_S - 8 * DAY_S}},
        .signer_key = 1,
    };
    return aid_make_ocsp(&spec);
}

/* ---- what the answers come to ------------------------------------------------ */

static void answers(void **state)
{
    aid_reply good = {0};
    aid_reply leaf_revoked = {STLS_FETCH_OK, about_leaf(V_OCSP_CERTSTATUS_REVOKED)};
    aid_reply inter_revoked = {STLS_FETCH_OK, about_inter(V_OCSP_CERTSTATUS_REVOKED)};
    aid_reply unknown = {STLS_FETCH_OK, about_leaf(V_OCSP_CERTSTATUS_UNKNOWN)};
    aid_reply stale = {STLS_FETCH_OK, stale_about_leaf()};
    aid_reply mixed_up = {STLS_FETCH_OK, about_inter(V_OCSP_CERTSTATUS_GOOD)};
    aid_reply garbage = {STLS_FETCH_OK, {(unsigned char *)"<html>", 6}};
    aid_reply nothing = {STLS_FETCH_OK, {NULL, 0}};
    const struct {
        const char *what, *policy;
        aid_reply leaf, inter;
        stls_verdict verdict;
        stls_reason reason, noted;
    } rows[] = {
        {"both good", "", good, good, STLS_ACCEPT, 0, 0},
        {"leaf revoked", "", leaf_revoked, good, STLS_REJECT, STLS_REASON_OCSP_REVOKED, 0},
        {"leaf revoked, soft", "revocation=soft", leaf_revoked, good, STLS_REJECT,
         STLS_REASON_OCSP_REVOKED, 0},
        {"leaf revoked, off", "revocation=off", leaf_revoked, good, STLS_ACCEPT, 0, 0},
        {"leaf revoked, no source allowed", "preset=private", leaf_revoked, good, STLS_REJECT,
         STLS_REASON_OCSP_REVOKED, 0},
        {"intermediate revoked", "", good, inter_revoked, STLS_REJECT, STLS_REASON_OCSP_REVOKED, 0},
        {"intermediate revoked, soft", "revocation=soft", good, inter_revoked, STLS_REJECT,
         STLS_REASON_OCSP_REVOKED, 0},
        {"intermediate revoked, out of scope", "revocation_scope=leaf", good, inter_revoked,
         STLS_ACCEPT, 0, 0},
        {"revoked beside a failure", "revocation=soft", NETWORK, inter_revoked, STLS_REJECT,
         STLS_REASON_OCSP_REVOKED, STLS_REASON_FETCH_NETWORK},

        {"trap 2: unknown", "", unknown, good, STLS_REJECT, STLS_REASON_OCSP_UNKNOWN, 0},
        {"unknown, soft", "revocation=soft", unknown, good, STLS_ACCEPT, 0,
         STLS_REASON_OCSP_UNKNOWN},
        {"trap 5: stale", "", stale, good, STLS_REJECT, STLS_REASON_OCSP_STALE, 0},
        {"stale, soft", "revocation=soft", stale, good, STLS_ACCEPT, 0, STLS_REASON_OCSP_STALE},
        {"trap 1: the other certificate's answer", "", mixed_up, good, STLS_REJECT,
         STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, 0},
        {"garbage", "", garbage, good, STLS_REJECT, STLS_REASON_OCSP_MALFORMED, 0},
        {"nothing", "", nothing, good, STLS_REJECT, STLS_REASON_OCSP_MALFORMED, 0},
        {"garbage about the intermediate", "", good, garbage, STLS_REJECT,
         STLS_REASON_OCSP_MALFORMED, 0},

        {"timeout", "", FAILS(TIMEOUT), good, STLS_REJECT, STLS_REASON_FETCH_TIMEOUT, 0},
        {"network", "", FAILS(NETWORK), good, STLS_REJECT, STLS_REASON_FETCH_NETWORK, 0},
        {"HTTP", "", FAILS(HTTP), good, STLS_REJECT, STLS_REASON_FETCH_HTTP, 0},
        {"too large", "", FAILS(TOO_LARGE), good, STLS_REJECT, STLS_REASON_FETCH_TOO_LARGE, 0},
        {"denied", "", FAILS(DENIED), good, STLS_REJECT, STLS_REASON_FETCH_DENIED, 0},
        {"timeout, soft", "revocation=soft", FAILS(TIMEOUT), good, STLS_ACCEPT, 0,
         STLS_REASON_FETCH_TIMEOUT},
        {"both time out, soft", "revocation=soft", FAILS(TIMEOUT), FAILS(TIMEOUT), STLS_ACCEPT, 0,
         STLS_REASON_FETCH_TIMEOUT},
        {"timeout about the intermediate", "", good, FAILS(TIMEOUT), STLS_REJECT,
         STLS_REASON_FETCH_TIMEOUT, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = rows[i].policy, .replies = {rows[i].leaf, rows[i].inter}};
        stls_result *result = aid_judge(&c);
        aid_assert_result(result, rows[i].verdict, rows[i].reason, rows[i].what, __FILE__,
                          __LINE__);
        if (rows[i].noted && aid_findings(result, rows[i].noted, "note") == 0) {
            fail_msg("%s: no note %s", rows[i].what, stls_reason_id(rows[i].noted));
        }
    }
}

/* ---- what is asked -------------------------------------------------------------- */

static void every_certificate_below_the_anchor_is_asked_about(void **state)
{
    static const struct {
        const char *policy;
        size_t num_fetches;
    } rows[] = {
        {"", 2},
        {"revocation_scope=leaf", 1},
        {"revocation=off", 0},
        {"revocation_sources=ocsp", 2},
    };
    const aid_pki *pki = aid_usual_pki();
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = rows[i].policy};
        assert_int_equal(aid_count_fetches(&c), rows[i].num_fetches);
        c.certs = aid_stack(pki->leaf, pki->inter, pki->root, NULL);
        assert_int_equal(aid_count_fetches(&c), rows[i].num_fetches);
    }
}

static void fetches_say_what_and_where(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_case c = {.policy = "fetch_timeout_ms=1234 max_reply_bytes=5000"};
    stls_check *check = aid_new_check(&c, NULL);
    stls_fetch leaf, inter, none;

    (void)state;
    assert_int_equal(stls_check_start(check, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_next_fetch(check, &leaf), 1);
    assert_int_equal(stls_check_next_fetch(check, &inter), 1);
    assert_int_equal(stls_check_next_fetch(check, &none), 0);
    assert_int_equal(leaf.cert_index, 0);
    assert_int_equal(inter.cert_index, 1);
    assert_true(leaf.id != inter.id);
    assert_int_equal(strncmp(leaf.url, LEAF_OCSP_URL "/", strlen(LEAF_OCSP_URL) + 1), 0);
    assert_int_equal(strncmp(inter.url, INTER_OCSP_URL "/", strlen(INTER_OCSP_URL) + 1), 0);
    assert_false(leaf.is_post);
    assert_string_equal(leaf.content_type, "");
    assert_int_equal(leaf.body_len, 0);
    assert_true(leaf.may_use_cache);
    assert_int_equal(leaf.max_reply_bytes, 5000);
    assert_int_equal(leaf.timeout_ms, 1234);
    assert_memory_not_equal(leaf.question, inter.question, STLS_ID_LEN);
    assert_memory_not_equal(leaf.flight, inter.flight, STLS_ID_LEN);
    assert_memory_not_equal(leaf.flight, leaf.question, STLS_ID_LEN);
    stls_check_free(check);

    /* Another chain to the same certificates asks the same questions. */
    c.certs = aid_stack(pki->leaf, pki->inter, pki->root, NULL);
    check = aid_new_check(&c, NULL);
    stls_check_start(check, NOW_S);
    stls_fetch again;
    assert_int_equal(stls_check_next_fetch(check, &again), 1);
    assert_memory_equal(again.question, leaf.question, STLS_ID_LEN);
    assert_memory_equal(again.flight, leaf.flight, STLS_ID_LEN);
    stls_check_free(check);

    /* Under other limits the answer could be another one. */
    c.policy = "fetch_timeout_ms=1235 max_reply_bytes=5000";
    check = aid_new_check(&c, NULL);
    stls_check_start(check, NOW_S);
    assert_int_equal(stls_check_next_fetch(check, &again), 1);
    assert_memory_equal(again.question, leaf.question, STLS_ID_LEN);
    assert_memory_not_equal(again.flight, leaf.flight, STLS_ID_LEN);
    stls_check_free(check);
}

static void trap_24_unauthenticated_urls_are_not_fetched(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = aid_leaf_spec();
    X509 *spoilt = aid_spoil_signature(pki->leaf);
    spec.eku = "clientAuth";
    X509 *wrong_purpose = aid_make_cert(&spec);
    spec = aid_leaf_spec();
    spec.issuer = NULL;
    X509 *self_signed = aid_make_cert(&spec);
    const struct {
        const char *what;
        aid_case c;
    } rows[] = {
        {"untrusted", {.anchors = aid_anchors(pki->other_root, NULL)}},
        {"incomplete", {.certs = aid_stack(pki->leaf, NULL)}},
        {"self-signed", {.certs = aid_stack(self_signed, NULL)}},
        {"bad signature", {.certs = aid_stack(spoilt, pki->inter, NULL)}},
        {"wrong purpose", {.certs = aid_stack(wrong_purpose, pki->inter, NULL)}},
        {"wrong name", {.name = "other.example.com"}},
        {"report mode", {.policy = "mode=report", .anchors = aid_anchors(pki->other_root, NULL)}},
        {"report mode, name", {.policy = "mode=report", .name = "other.example.com"}},
        {"soft", {.policy = "revocation=soft", .name = "other.example.com"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t num = aid_count_fetches(&rows[i].c);
        if (num != 0) {
            fail_msg("%s: %zu fetches", rows[i].what, num);
        }
    }
    /* Nor the URLs of what is on no path. */
    aid_case extra = {.certs = aid_stack(pki->leaf, pki->inter, self_signed, NULL)};
    assert_int_equal(aid_count_fetches(&extra), 2);
}

static void trap_12_urls_that_are_not_http_are_not_fetched(void **state)
{
    static const struct {
        const char *aia;
        stls_reason reason;
    } rows[] = {
        {"OCSP;URI:https://ocsp.example.com/", STLS_REASON_REVOCATION_INCONCLUSIVE},
        {"OCSP;URI:file:///etc/passwd", STLS_REASON_REVOCATION_INCONCLUSIVE},
        {"OCSP;URI:ldap://ocsp.example.com/", STLS_REASON_REVOCATION_INCONCLUSIVE},
        {"OCSP;URI:http://", STLS_REASON_REVOCATION_INCONCLUSIVE},
        {"OCSP;URI:ocsp.example.com", STLS_REASON_REVOCATION_INCONCLUSIVE},
        {"OCSP;DNS:ocsp.example.com", STLS_REASON_REVOCATION_INCONCLUSIVE},
        {"caIssuers;URI:http://ca.example.com/", STLS_REASON_REVOCATION_NO_SOURCE},
        {"", STLS_REASON_REVOCATION_NO_SOURCE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_cert spec = aid_leaf_spec();
        spec.aia = rows[i].aia;
        aid_case c = {.policy = "revocation_scope=leaf",
                      .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL)};
        assert_case(rows[i].aia, &c, STLS_REJECT, rows[i].reason);
        assert_int_equal(aid_count_fetches(&c), 0);
    }
}

static void second_url_after_the_first(void **state)
{
    static const struct {
        const char *policy;
        size_t num_fetches;
    } rows[] = {
        {"", 2},
        {"max_urls_per_cert=1", 1},
        {"max_urls_per_cert=3", 3},
        {"max_urls_per_cert=16", 3},
        {"max_urls_per_cert=16 max_fetches=2", 2},
        {"max_urls_per_cert=16 max_fetches=0", 0},
    };
    aid_cert spec = aid_leaf_spec();
    (void)state;
    spec.aia = "OCSP;URI:http://a.example.com/,caIssuers;URI:http://ca.example.com/,"
               "OCSP;URI:http://b.example.com/,OCSP;URI:http://c.example.com/";
    STACK_OF(X509) *certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char policy[100];
        snprintf(policy, sizeof(policy), "revocation_scope=leaf %s", rows[i].policy);
        aid_case c = {.policy = policy, .certs = certs, .replies = {NETWORK}};
        assert_int_equal(aid_count_fetches(&c), rows[i].num_fetches);
        assert_int_equal(stls_result_verdict(aid_judge(&c)), STLS_REJECT);
    }

    aid_case c = {.policy = "revocation_scope=leaf", .certs = certs};
    stls_check *check = aid_new_check(&c, NULL);
    stls_fetch fetch;
    stls_reply failed = {.outcome = STLS_FETCH_HTTP, .detail = "HTTP status 500"};
    assert_int_equal(stls_check_start(check, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_non_null(strstr(fetch.url, "//a.example.com/"));
    assert_int_equal(stls_check_feed(check, fetch.id, &failed, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_non_null(strstr(fetch.url, "//b.example.com/"));
    stls_reply good = aid_reply_to(&c, &fetch);
    assert_int_equal(stls_check_feed(check, fetch.id, &good, NOW_S), STLS_ACCEPT);
    stls_check_free(check);
}

static void responder_of_the_policy_is_asked_instead(void **state)
{
    aid_cert spec = aid_leaf_spec();
    aid_case c = {.policy = "ocsp_responder=http://own.example.com/x"};
    stls_check *check = aid_new_check(&c, NULL);
    stls_fetch fetch;

    (void)state;
    stls_check_start(check, NOW_S);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        assert_int_equal(strncmp(fetch.url, "http://own.example.com/x/", 25), 0);
    }
    stls_check_free(check);

    /* It is asked once, and about certificates that name none. */
    spec.aia = "";
    c.certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL);
    c.replies[0].outcome = STLS_FETCH_NETWORK;
    assert_int_equal(aid_count_fetches(&c), 2); /* once for each certificate */
    assert_case("fails", &c, STLS_REJECT, STLS_REASON_FETCH_NETWORK);
    c.replies[0].outcome = 0;
    assert_case("answers", &c, STLS_ACCEPT, STLS_REASON_NONE);
}

/* ---- nothing to ask: trap 6 -------------------------------------------------------- */

static void trap_6_nothing_to_ask(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert leaf = aid_leaf_spec(), with_crl = leaf, inter = {.subject = "CN=I", .key = 6};
    leaf.aia = "";
    with_crl.aia = "";
    with_crl.crl = "URI:http://crl.example.com/a.crl";
    inter.is_ca = 1;
    inter.issuer = pki->root;
    X509 *silent_inter = aid_make_cert(&inter);
    aid_cert below = aid_leaf_spec();
    below.issuer = silent_inter;
    below.issuer_key = 6;
    STACK_OF(X509) *no_source = aid_stack(aid_make_cert(&leaf), pki->inter, NULL);
    STACK_OF(X509) *crl_only = aid_stack(aid_make_cert(&with_crl), pki->inter, NULL);
    STACK_OF(X509) *inter_silent = aid_stack(aid_make_cert(&below), silent_inter, NULL);
    const struct {
        const char *what, *policy;
        STACK_OF(X509) *certs;
        stls_verdict verdict;
        stls_reason reason;
    } rows[] = {
        {"leaf", "", no_source, STLS_REJECT, STLS_REASON_REVOCATION_NO_SOURCE},
        {"leaf, allowed", "no_revocation_source=allow", no_source, STLS_ACCEPT, 0},
        {"leaf, private", "preset=private", no_source, STLS_ACCEPT, 0},
        {"leaf, soft", "revocation=soft", no_source, STLS_ACCEPT, 0},
        {"intermediate", "", inter_silent, STLS_REJECT, STLS_REASON_REVOCATION_NO_SOURCE},
        {"intermediate, out of scope", "revocation_scope=leaf", inter_silent, STLS_ACCEPT, 0},
        {"CRL only", "revocation_sources=staple,ocsp", crl_only, STLS_REJECT,
         STLS_REASON_REVOCATION_INCONCLUSIVE},
        {"CRL only, no source allowed", "no_revocation_source=allow revocation_sources=staple,ocsp",
         crl_only, STLS_REJECT, STLS_REASON_REVOCATION_INCONCLUSIVE},
        {"CRL only, soft", "revocation=soft revocation_sources=staple,ocsp", crl_only, STLS_ACCEPT,
         0},
        {"OCSP named and not asked", "revocation_sources=staple", NULL, STLS_REJECT,
         STLS_REASON_REVOCATION_INCONCLUSIVE},
        {"OCSP named and not asked, no source allowed",
         "revocation_sources=staple no_revocation_source=allow", NULL, STLS_REJECT,
         STLS_REASON_REVOCATION_INCONCLUSIVE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = rows[i].policy, .certs = rows[i].certs};
        assert_case(rows[i].what, &c, rows[i].verdict, rows[i].reason);
    }
}

static void short_lived_leaves(void **state)
{
    static const struct {
        const char *what, *policy;
        int64_t life_s; /* notAfter inclusive */
        const char *aia;
        stls_fetch_outcome outcome;
        stls_verdict verdict;
        stls_reason reason;
    } rows[] = {
        {"seven days", "", 7 * 86400, "", 0, STLS_ACCEPT, 0},
        {"a second more", "", 7 * 86400 + 1, "", 0, STLS_REJECT, STLS_REASON_REVOCATION_NO_SOURCE},
        {"none are", "short_lived_s=0", 3600, "", 0, STLS_REJECT, STLS_REASON_REVOCATION_NO_SOURCE},
        {"two days allowed", "short_lived_s=172800", 3 * 86400, "", 0, STLS_REJECT,
         STLS_REASON_REVOCATION_NO_SOURCE},
        {"with a silent responder", "", 86400, "OCSP;URI:http://a.example/", STLS_FETCH_TIMEOUT,
         STLS_ACCEPT, 0},
        {"longer-lived with a silent responder", "", 8 * 86400, "OCSP;URI:http://a.example/",
         STLS_FETCH_TIMEOUT, STLS_REJECT, STLS_REASON_FETCH_TIMEOUT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_cert spec = aid_leaf_spec();
        spec.not_before_s = NOW_S - 1800;
        spec.not_after_s = spec.not_before_s + rows[i].life_s - 1;
        spec.aia = rows[i].aia;
        aid_case c = {.policy = rows[i].policy,
                      .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL),
                      .replies = {{.outcome = rows[i].outcome}}};
        assert_case(rows[i].what, &c, rows[i].verdict, rows[i].reason);
    }
}

/* Short life exempts from answers that are missing, not from one that says revoked. */
static void short_lived_and_revoked(void **state)
{
    aid_cert spec = aid_leaf_spec();
    const aid_pki *pki = aid_usual_pki();
    (void)state;
    spec.not_before_s = NOW_S - HOUR_S;
    spec.not_after_s = NOW_S + HOUR_S;
    X509 *leaf = aid_make_cert(&spec);
    aid_case c = {.certs = aid_stack(leaf, pki->inter, NULL),
                  .replies = {{STLS_FETCH_OK,
                               aid_ocsp_about(leaf, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED)}}};
    assert_case("revoked", &c, STLS_REJECT, STLS_REASON_OCSP_REVOKED);
}

static void intermediates_are_never_short_lived(void **state)
{
    aid_cert inter = {.subject = "CN=Brief,O=Lab", .key = 6, .is_ca = 1};
    (void)state;
    inter.issuer = aid_usual_pki()->root;
    inter.not_before_s = NOW_S - HOUR_S;
    inter.not_after_s = NOW_S + HOUR_S;
    aid_cert leaf = aid_leaf_spec();
    leaf.issuer = aid_make_cert(&inter);
    leaf.issuer_key = 6;
    aid_case c = {.certs = aid_stack(aid_make_cert(&leaf), leaf.issuer, NULL)};
    assert_case("intermediate", &c, STLS_REJECT, STLS_REASON_REVOCATION_NO_SOURCE);
}

/* ---- from rung to rung ------------------------------------------------------------------ */

static void trap_16_failed_ocsp_reaches_the_crl_rung(void **state)
{
    static const stls_fetch_outcome outcomes[] = {STLS_FETCH_TIMEOUT, STLS_FETCH_NETWORK,
                                                  STLS_FETCH_HTTP,    STLS_FETCH_TOO_LARGE,
                                                  STLS_FETCH_DENIED,  STLS_FETCH_OK};
    aid_cert spec = aid_leaf_spec();
    (void)state;
    spec.crl = "URI:http://crl.example.com/a.crl";
    STACK_OF(X509) *certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL);
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
        aid_case c = {.policy = "revocation_scope=leaf", .certs = certs};
        stls_check *check = aid_new_check(&c, NULL);
        stls_fetch fetch;
        stls_reply reply = {outcomes[i], (const unsigned char *)"junk", 4, NULL};

        stls_check_start(check, NOW_S);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        assert_false(fetch.is_crl);
        assert_int_equal(stls_check_feed(check, fetch.id, &reply, NOW_S), STLS_PENDING);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        assert_true(fetch.is_crl);
        assert_false(fetch.is_post);
        assert_string_equal(fetch.url, "http://crl.example.com/a.crl");
        stls_check_free(check);
    }
}

/* Good from the first rung asks no further. */
static void conclusive_answer_ends_the_ladder(void **state)
{
    aid_cert spec = aid_leaf_spec();
    (void)state;
    spec.crl = "URI:http://crl.example.com/a.crl";
    aid_case c = {.policy = "revocation_scope=leaf",
                  .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL)};
    assert_case("good", &c, STLS_ACCEPT, STLS_REASON_NONE);
    assert_int_equal(aid_count_fetches(&c), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(every_certificate_below_the_anchor_is_asked_about),
        cmocka_unit_test(fetches_say_what_and_where),
        cmocka_unit_test(trap_24_unauthenticated_urls_are_not_fetched),
        cmocka_unit_test(trap_12_urls_that_are_not_http_are_not_fetched),
        cmocka_unit_test(second_url_after_the_first),
        cmocka_unit_test(responder_of_the_policy_is_asked_instead),
        cmocka_unit_test(trap_6_nothing_to_ask),
        cmocka_unit_test(short_lived_leaves),
        cmocka_unit_test(short_lived_and_revoked),
        cmocka_unit_test(intermediates_are_never_short_lived),
        cmocka_unit_test(trap_16_failed_ocsp_reaches_the_crl_rung),
        cmocka_unit_test(conclusive_answer_ends_the_ladder),
    };
    return cmocka_run_group_tests_name("ladder", tests, NULL, aid_end);
}
