/* How long verdicts serve, and when to ask again. */
#include "support_crl.h"

#include <stdlib.h>

#include <openssl/x509v3.h>

static void how_long_verdicts_live(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_ocsp short_spec = {.singles = {{.cert = pki->leaf,
                                        .issuer = pki->inter,
                                        .this_update_s = NOW_S - 100,
                                        .next_update_s = NOW_S + 500}},
                           .signer_key = 1};
    aid_reply brief = {STLS_FETCH_OK, aid_make_ocsp(&short_spec)};
    aid_reply down = {.outcome = STLS_FETCH_NETWORK};
    aid_reply good = {0};
    const struct {
        const char *what, *policy;
        const char *name;
        aid_reply leaf;
        int64_t life_s;
    } rows[] = {
        {"accepted", "", NULL, good, 3600},
        {"accepted, asked to live longer", "verdict_max_age_s=7200", NULL, good, 7200},
        {"never beyond the answers", "verdict_max_age_s=604800 clock_skew_s=0", NULL, good, 86400},
        {"never beyond the leaf's answer", "clock_skew_s=0", NULL, brief, 500},
        {"rejected", "", "other.example.com", good, 30},
        {"rejected, remembered longer", "negative_ttl_s=100", "other.example.com", good, 100},
        {"inconclusive", "", NULL, down, 30},
        {"soft", "revocation=soft", NULL, down, 30},
        {"would reject", "mode=report", "other.example.com", good, 30},
        {"short maximum", "verdict_max_age_s=10", "other.example.com", good, 10},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = rows[i].policy, .name = rows[i].name, .replies = {rows[i].leaf}};
        stls_result *result = aid_judge(&c);
        int64_t life_s = stls_result_valid_until_s(result) - NOW_S;
        if (life_s != rows[i].life_s) {
            fail_msg("%s: %lld s", rows[i].what, (long long)life_s);
        }
    }
}

/* Half the life of the first fetched answer; nothing to refresh where nothing was fetched. */
static void when_to_refresh(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_case fetched = {.policy = "clock_skew_s=0"};
    aid_case off = {.policy = "revocation=off"};
    aid_case stapled = {.policy = "revocation_scope=leaf",
                        .staple = aid_ocsp_about(pki->leaf, pki->inter, 1, 0)};
    aid_case rejected = {.name = "other.example.com"};

    (void)state;
    assert_int_equal(stls_result_refresh_at_s(aid_judge(&fetched)),
                     NOW_S - HOUR_S + (DAY_S + HOUR_S) / 2);
    const aid_case *const idle[] = {&off, &stapled, &rejected};
    for (size_t i = 0; i < 3; i++) {
        stls_result *result = aid_judge(idle[i]);
        assert_true(stls_result_refresh_at_s(result) > stls_result_valid_until_s(result));
    }
}

/* ---- a verdict ends with the first thing that it rests on --------------------------------- */

static void free_crl(void *thing)
{
    stls_crl_free(thing);
}

static stls_crl *indexed(const aid_crl *spec)
{
    aid_bytes bytes = aid_make_crl(spec);
    unsigned char *copy = malloc(bytes.len);
    memcpy(copy, bytes.bytes, bytes.len);
    stls_crl *crl = stls_crl_new(NULL, copy, bytes.len, free);
    while (stls_crl_step(crl, 4096) == STLS_CRL_MORE) {
    }
    aid_keep(free_crl, crl);
    return crl;
}

static void free_result(void *thing)
{
    stls_result_free(thing);
}

/* How long the verdict lives from these answers: to any OCSP question about the leaf or its
 * responder, and CRLs at hand. */
typedef struct {
    const char *policy;
    X509 *leaf; /* NULL: the usual one */
    X509 *responder;
    int64_t staple_until_s, answer_until_s, about_responder_until_s; /* 0: none */
    X509 *crl_issuer;
    const aid_crl *crls[4];
} life_case;

static aid_bytes about(X509 *cert, X509 *signer, size_t signer_key, int64_t until_s)
{
    aid_ocsp spec = {.singles = {{.cert = cert,
                                  .issuer = aid_usual_pki()->inter,
                                  .this_update_s = NOW_S - 2 * HOUR_S,
                                  .next_update_s = until_s}},
                     .signer = signer,
                     .signer_key = signer_key};
    return aid_make_ocsp(&spec);
}

static stls_result *judge_life(const life_case *c)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *leaf = c->leaf != NULL ? c->leaf : pki->leaf;
    aid_case whole = {.policy = c->policy, .certs = aid_stack(leaf, pki->inter, NULL)};
    X509 *signer = c->responder != NULL ? c->responder : pki->inter;
    size_t signer_key = c->responder != NULL ? 3 : 1;
    stls_fetch fetch;

    if (c->staple_until_s != 0) {
        whole.staple = about(leaf, signer, signer_key, c->staple_until_s);
    }
    stls_check *check = aid_new_check(&whole, NULL);
    for (size_t i = 0; i < 4 && c->crls[i] != NULL; i++) {
        stls_check_add_crl(check, indexed(c->crls[i]));
    }
    if (c->crl_issuer != NULL) {
        stls_check_add_crl_issuer(check, c->crl_issuer);
    }
    stls_check_start(check, NOW_S);
    while (stls_check_next_fetch(check, &fetch)) {
        int is_leaf = strncmp(fetch.url, LEAF_OCSP_URL, strlen(LEAF_OCSP_URL)) == 0;
        int64_t until_s = is_leaf ? c->answer_until_s : c->about_responder_until_s;
        stls_reply reply = {.outcome = STLS_FETCH_NETWORK};
        if (until_s != 0) {
            aid_bytes bytes = is_leaf ? about(leaf, signer, signer_key, until_s)
                                      : about(c->responder, pki->inter, 1, until_s);
            reply = (stls_reply){STLS_FETCH_OK, bytes.bytes, bytes.len, NULL};
        }
        stls_check_feed(check, fetch.id, &reply, NOW_S);
    }
    stls_result *result = stls_check_get1_result(check);
    stls_check_free(check);
    AID_NEED(result);
    aid_keep(free_result, result);
    return result;
}

static X509 *responder_until(int64_t not_after_s, const char *nocheck)
{
    aid_cert spec = {.subject = "CN=Responder 3,O=Lab", .key = 3, .eku = "OCSPSigning"};
    spec.issuer = aid_usual_pki()->inter;
    spec.issuer_key = 1;
    spec.not_after_s = not_after_s;
    spec.nocheck = nocheck;
    spec.aia = "OCSP;URI:http://ocsp.example.com/responder";
    return aid_make_cert(&spec);
}

/* Another certificate of the usual intermediate's name, for CRLs. */
static X509 *crl_issuer_until(int64_t not_after_s)
{
    return aid_make_cert(&(aid_cert){.subject = "CN=Intermediate,O=Lab",
                                     .key = 6,
                                     .key_usage = "critical,cRLSign",
                                     .issuer = aid_usual_pki()->root,
                                     .issuer_key = 0,
                                     .not_after_s = not_after_s});
}

static void number_5(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 5);
}

static void delta_6_on_5(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 6);
    aid_add_crl_number(crl, NID_delta_crl, 5);
}

static X509 *must_staple_leaf(void)
{
    aid_cert spec = aid_leaf_spec();
    spec.tls_feature = "status_request";
    return aid_make_cert(&spec);
}

static void trap_5_verdicts_end_with_what_they_rest_on(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *brief_issuer = crl_issuer_until(NOW_S + 200), *issuer = crl_issuer_until(0);
    const aid_crl by_brief = {.issuer = brief_issuer, .issuer_key = 6};
    const aid_crl by_issuer = {.issuer = issuer, .issuer_key = 6};
    const aid_crl of_root = {.issuer = pki->root, .issuer_key = 0};
    const aid_crl brief_of_root = {
        .issuer = pki->root, .issuer_key = 0, .next_update_s = NOW_S + 250};
    const aid_crl past_of_root = {
        .issuer = pki->root, .issuer_key = 0, .next_update_s = NOW_S - 3300};
    const aid_crl base = {.shape = number_5}, brief = {.next_update_s = NOW_S + 400};
    const aid_crl past = {.next_update_s = NOW_S - 3300};
    const aid_crl brief_delta = {.shape = delta_6_on_5, .next_update_s = NOW_S + 300};
    const aid_crl past_delta = {.shape = delta_6_on_5, .next_update_s = NOW_S - 3300};
    const aid_crl held = {
        .shape = number_5, .revoked = {pki->leaf}, .reason = CRL_REASON_CERTIFICATE_HOLD};
    const aid_crl past_lift = {.shape = delta_6_on_5,
                               .revoked = {pki->leaf},
                               .reason = CRL_REASON_REMOVE_FROM_CRL,
                               .next_update_s = NOW_S - 3300};
    const int64_t day_s = NOW_S + DAY_S;
#define COMMON "revocation_scope=leaf clock_skew_s=0 "
#define CRL COMMON "revocation_sources=crl "
#define GRACE "stale_grace_s=3600 "
    const struct {
        const char *what;
        life_case c;
        int64_t life_s;
    } rows[] = {
        {"a responder's certificate",
         {COMMON, NULL, responder_until(NOW_S + 200, "ignored"), 0, day_s, 0, NULL, {0}},
         200},
        {"a stapled answer's",
         {COMMON, NULL, responder_until(NOW_S + 200, "ignored"), day_s, 0, 0, NULL, {0}},
         200},
        {"what is said of the responder",
         {COMMON, NULL, responder_until(0, NULL), 0, day_s, NOW_S + 150, NULL, {0}},
         150},
        {"and its certificate",
         {COMMON, NULL, responder_until(NOW_S + 100, NULL), 0, day_s, NOW_S + 150, NULL, {0}},
         100},
        {"within the grace, its certificate all the same",
         {COMMON GRACE, NULL, responder_until(NOW_S + 20, "ignored"), 0, NOW_S - 60, 0, NULL, {0}},
         20},
        {"the responder's own status within its grace",
         {COMMON GRACE, NULL, responder_until(0, NULL), 0, day_s, NOW_S - 60, NULL, {0}},
         30},
        {"a CRL", {CRL, NULL, NULL, 0, 0, 0, NULL, {&brief}}, 400},
        {"a CRL issuer's certificate",
         {CRL, NULL, NULL, 0, 0, 0, brief_issuer, {&by_brief, &of_root}},
         200},
        {"what is said of the CRL issuer",
         {CRL, NULL, NULL, 0, 0, 0, issuer, {&by_issuer, &brief_of_root}},
         250},
        {"the same within its grace",
         {CRL GRACE, NULL, NULL, 0, 0, 0, issuer, {&by_issuer, &past_of_root}},
         30},
        {"a CRL within its grace", {CRL GRACE, NULL, NULL, 0, 0, 0, NULL, {&past}}, 30},
        {"a CRL at the end of its grace",
         {CRL "stale_grace_s=3310", NULL, NULL, 0, 0, 0, NULL, {&past}},
         10},
        {"a delta", {CRL, NULL, NULL, 0, 0, 0, NULL, {&base, &brief_delta}}, 300},
        {"a delta past its time",
         {CRL GRACE, NULL, NULL, 0, 0, 0, NULL, {&base, &past_delta}},
         3600},
        {"what such a delta lifts",
         {CRL GRACE, NULL, NULL, 0, 0, 0, NULL, {&held, &past_lift}},
         30},
        {"of two CRLs the newer counts",
         {CRL, NULL, NULL, 0, 0, 0, NULL, {&brief, &(aid_crl){.this_update_s = NOW_S - 60}}},
         3600},
        {"in the other order",
         {CRL, NULL, NULL, 0, 0, 0, NULL, {&(aid_crl){.this_update_s = NOW_S - 60}, &brief}},
         3600},
        {"a demanded staple",
         {COMMON "revocation_sources=ocsp",
          must_staple_leaf(),
          NULL,
          NOW_S + 100,
          day_s,
          0,
          NULL,
          {0}},
         100},
        {"by a responder whose certificate ends",
         {COMMON "revocation_sources=ocsp",
          must_staple_leaf(),
          responder_until(NOW_S + 200, "ignored"),
          day_s,
          day_s,
          0,
          NULL,
          {0}},
         200},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_result *result = judge_life(&rows[i].c);
        int64_t life_s = stls_result_valid_until_s(result) - NOW_S;
        if (stls_result_verdict(result) != STLS_ACCEPT || life_s != rows[i].life_s) {
            fail_msg("%s: %s, %lld s", rows[i].what, stls_reason_id(stls_result_reason(result)),
                     (long long)life_s);
        }
    }
}

/* A later feed judges by its own time. */
static void time_passes_between_calls(void **state)
{
    aid_case c = {.policy = "revocation_scope=leaf clock_skew_s=0"};
    stls_check *check = aid_new_check(&c, NULL);
    stls_fetch fetch;
    (void)state;
    stls_check_start(check, NOW_S);
    stls_check_next_fetch(check, &fetch);
    stls_reply good = aid_reply_to(&c, &fetch);
    assert_int_equal(stls_check_feed(check, fetch.id, &good, NOW_S + 2 * DAY_S), STLS_REJECT);
    assert_int_equal(aid_reason(check), STLS_REASON_OCSP_STALE);
    stls_check_free(check);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(how_long_verdicts_live),
        cmocka_unit_test(when_to_refresh),
        cmocka_unit_test(trap_5_verdicts_end_with_what_they_rest_on),
        cmocka_unit_test(time_passes_between_calls),
    };
    return cmocka_run_group_tests_name("validity", tests, NULL, aid_end);
}
