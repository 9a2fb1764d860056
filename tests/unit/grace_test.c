/*
 * What serves only until something newer is known (stale_grace_s), and what
 * this process could not find out at all (STLS_FETCH_LOCAL).
 */
#include "support_crl.h"

#include <stdio.h>
#include <stdlib.h>

#define CRL_URL "http://crl.example.com/first"
#define GRACE "revocation_scope=leaf clock_skew_s=0 stale_grace_s=7200 "

/* An answer an hour past its time, within the grace. */
static aid_bytes ocsp(int status, int64_t next_update_s)
{
    const aid_pki *pki = aid_usual_pki();
    aid_ocsp spec = {.singles = {{.cert = pki->leaf,
                                  .issuer = pki->inter,
                                  .status = status,
                                  .this_update_s = NOW_S - DAY_S,
                                  .next_update_s = next_update_s}},
                     .signer_key = 1};
    return aid_make_ocsp(&spec);
}

static aid_bytes graced(void)
{
    return ocsp(V_OCSP_CERTSTATUS_GOOD, NOW_S - HOUR_S);
}

/* ---- what is past its time is the last resort ------------------------------------------------ */

typedef struct {
    const char *what;
    const char *policy;
    aid_bytes cached;
    aid_reply network;
    stls_reason reason;
    size_t num_fetches;
    int64_t life_s; /* of the verdict */
} grace_row;

/* A cached answer past its time settles nothing: the network is asked, and only then it serves. */
static void trap_35_the_network_is_asked_first(void **state)
{
    const aid_bytes good = ocsp(V_OCSP_CERTSTATUS_GOOD, NOW_S + DAY_S);
    const aid_bytes revoked = ocsp(V_OCSP_CERTSTATUS_REVOKED, NOW_S + DAY_S);
    const aid_bytes unknown = ocsp(V_OCSP_CERTSTATUS_UNKNOWN, NOW_S + DAY_S);
    const aid_bytes past_grace = ocsp(V_OCSP_CERTSTATUS_GOOD, NOW_S - 7201);
    const aid_ocsp try_later = {.error_status = OCSP_RESPONSE_STATUS_TRYLATER};
    const aid_bytes junk = {(unsigned char *)"junk", 4};
    const grace_row rows[] = {
        {"not over", GRACE, good, {0}, 0, 1, 3600},
        {"a newer one", GRACE, graced(), {STLS_FETCH_OK, good}, 0, 2, 3600},
        {"revoked since",
         GRACE,
         graced(),
         {STLS_FETCH_OK, revoked},
         STLS_REASON_OCSP_REVOKED,
         2,
         30},
        {"unknown since",
         GRACE,
         graced(),
         {STLS_FETCH_OK, unknown},
         STLS_REASON_OCSP_UNKNOWN,
         2,
         30},
        {"no network", GRACE, graced(), {.outcome = STLS_FETCH_NETWORK}, 0, 2, 30},
        {"no answer in time", GRACE, graced(), {.outcome = STLS_FETCH_TIMEOUT}, 0, 2, 30},
        {"an HTTP error", GRACE, graced(), {.outcome = STLS_FETCH_HTTP}, 0, 2, 30},
        {"not allowed", GRACE, graced(), {.outcome = STLS_FETCH_DENIED}, 0, 2, 30},
        {"could not ask", GRACE, graced(), {.outcome = STLS_FETCH_LOCAL}, 0, 2, 30},
        {"try later", GRACE, graced(), {STLS_FETCH_OK, aid_make_ocsp(&try_later)}, 0, 2, 30},
        {"junk", GRACE, graced(), {STLS_FETCH_OK, junk}, 0, 2, 30},
        {"the same once more", GRACE, graced(), {STLS_FETCH_OK, graced()}, 0, 2, 30},
        {"one past its grace", GRACE, graced(), {STLS_FETCH_OK, past_grace}, 0, 2, 30},
        {"asked as often as configured",
         GRACE "negative_ttl_s=5",
         graced(),
         {.outcome = STLS_FETCH_NETWORK},
         0,
         2,
         5},
        {"the grace ends",
         GRACE "stale_grace_s=3610",
         graced(),
         {.outcome = STLS_FETCH_NETWORK},
         0,
         2,
         10},
        {"the grace is over",
         GRACE "stale_grace_s=3599",
         graced(),
         {.outcome = STLS_FETCH_NETWORK},
         STLS_REASON_FETCH_NETWORK,
         2,
         30},
        {"soft knows it too",
         GRACE "revocation=soft",
         graced(),
         {STLS_FETCH_OK, revoked},
         STLS_REASON_OCSP_REVOKED,
         2,
         30},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const grace_row *row = &rows[i];
        aid_case c = {.policy = row->policy, .replies = {row->network}};
        stls_check *check = aid_new_check(&c, NULL);
        stls_fetch fetch;
        stls_answer answer;
        size_t num_fetches = 0;

        stls_check_start(check, NOW_S);
        while (stls_check_next_fetch(check, &fetch)) {
            int is_cached = num_fetches++ == 0;
            stls_reply reply = {STLS_FETCH_CACHED, row->cached.bytes, row->cached.len, NULL};
            if (!is_cached) {
                assert_false(fetch.may_use_cache);
                reply = aid_reply_to(&c, &fetch);
            }
            uint32_t id = fetch.id;
            stls_check_feed(check, id, &reply, NOW_S);
            assert_int_equal(stls_check_get_answer(check, id, &answer), STLS_OK);
            if (is_cached && row->num_fetches > 1) {
                assert_false(answer.conclusive);
                assert_int_equal(answer.retry_at_s, 0);
                /* a host keeps it, as it may be the last resort of the next check, too */
                assert_int_equal(answer.use_until_s > NOW_S,
                                 row->reason != STLS_REASON_FETCH_NETWORK);
            }
        }
        stls_result *result = stls_check_get1_result(check);
        aid_assert_result(result, row->reason ? STLS_REJECT : STLS_ACCEPT, row->reason, row->what,
                          __FILE__, __LINE__);
        if (num_fetches != row->num_fetches
            || stls_result_valid_until_s(result) - NOW_S != row->life_s) {
            fail_msg("%s: %zu fetches, %lld s", row->what, num_fetches,
                     (long long)(stls_result_valid_until_s(result) - NOW_S));
        }
        assert_int_equal(stls_result_is_local(result), row->network.outcome == STLS_FETCH_LOCAL);
        stls_result_free(result);
        stls_check_free(check);
    }
}

/* An answer past its time is remembered as one that settled nothing, wherever it came from. */
static void a_graced_answer_is_not_conclusive(void **state)
{
    aid_case c = {.policy = GRACE "negative_ttl_s=17", .replies = {{STLS_FETCH_OK, graced()}}};
    stls_check *check = aid_new_check(&c, NULL);
    stls_fetch fetch;
    stls_answer answer;

    (void)state;
    stls_check_start(check, NOW_S);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    stls_reply reply = aid_reply_to(&c, &fetch);
    assert_int_equal(stls_check_feed(check, fetch.id, &reply, NOW_S), STLS_ACCEPT);
    assert_int_equal(stls_check_get_answer(check, fetch.id, &answer), STLS_OK);
    assert_false(answer.conclusive);
    assert_int_equal(answer.retry_at_s, NOW_S + 17);
    stls_check_free(check);
}

/* The peer chooses what it staples: past its time that keeps nobody from asking either. */
static void a_graced_staple_is_the_last_resort(void **state)
{
    const struct {
        const char *policy;
        aid_reply network;
        stls_reason reason;
    } rows[] = {
        {GRACE,
         {STLS_FETCH_OK, ocsp(V_OCSP_CERTSTATUS_REVOKED, NOW_S + DAY_S)},
         STLS_REASON_OCSP_REVOKED},
        {GRACE, {.outcome = STLS_FETCH_NETWORK}, 0},
        {GRACE "max_fetches=0", {.outcome = STLS_FETCH_NETWORK}, 0},
        {GRACE "revocation_sources=staple", {.outcome = STLS_FETCH_NETWORK}, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = rows[i].policy, .staple = graced(), .replies = {rows[i].network}};
        assert_case(rows[i].policy, &c, rows[i].reason ? STLS_REJECT : STLS_ACCEPT, rows[i].reason);
    }
    aid_case c = {.policy = GRACE, .staple = graced()};
    stls_check *check = aid_new_check(&c, NULL);
    stls_check_start(check, NOW_S);
    assert_int_equal(stls_check_expire(check, NOW_S), STLS_ACCEPT);
    stls_check_free(check);
}

/* Whose own status is open, even of an answer that is the last resort. */
static void a_graced_answer_of_a_delegated_responder(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = {.subject = "CN=Responder,O=Lab",
                     .issuer = pki->inter,
                     .issuer_key = 1,
                     .key = 7,
                     .eku = "OCSPSigning",
                     .aia = "OCSP;URI:http://a.example/"};
    X509 *responder = aid_make_cert(&spec);
    aid_ocsp about_leaf = {.singles = {{.cert = pki->leaf,
                                        .issuer = pki->inter,
                                        .this_update_s = NOW_S - DAY_S,
                                        .next_update_s = NOW_S - HOUR_S}},
                           .signer = responder,
                           .signer_key = 7};
    aid_bytes cached = aid_make_ocsp(&about_leaf);
    const struct {
        aid_bytes about_responder;
        stls_fetch_outcome outcome;
        stls_reason reason;
    } rows[] = {
        {aid_ocsp_about(responder, pki->inter, 1, V_OCSP_CERTSTATUS_GOOD), STLS_FETCH_OK, 0},
        {aid_ocsp_about(responder, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED), STLS_FETCH_OK,
         STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER},
        {{NULL, 0}, STLS_FETCH_NETWORK, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = GRACE};
        stls_check *check = aid_new_check(&c, NULL);
        stls_fetch fetch;
        stls_check_start(check, NOW_S);
        for (int n = 0; stls_check_next_fetch(check, &fetch); n++) {
            stls_reply about_responder = {rows[i].outcome, rows[i].about_responder.bytes,
                                          rows[i].about_responder.len, NULL};
            stls_reply old = {STLS_FETCH_CACHED, cached.bytes, cached.len, NULL};
            stls_reply down = {.outcome = STLS_FETCH_NETWORK};
            stls_check_feed(check, fetch.id,
                            n == 0   ? &old
                            : n == 1 ? &down
                                     : &about_responder,
                            NOW_S);
        }
        assert_int_equal(aid_reason(check), rows[i].reason);
        assert_int_equal(stls_check_verdict(check), rows[i].reason ? STLS_REJECT : STLS_ACCEPT);
        stls_check_free(check);
    }
}

static stls_crl *indexed(aid_bytes bytes)
{
    unsigned char *copy = malloc(bytes.len);
    AID_NEED(copy);
    memcpy(copy, bytes.bytes, bytes.len);
    stls_crl *crl = stls_crl_new(NULL, copy, bytes.len, free);
    while (stls_crl_step(crl, 4096) == STLS_CRL_MORE) {
    }
    return crl;
}

/* CRLs have no other rule than answers. */
static void a_graced_crl_is_the_last_resort(void **state)
{
    aid_cert spec = aid_leaf_spec();
    spec.aia = "";
    spec.crl = "URI:" CRL_URL;
    X509 *leaf = aid_make_cert(&spec);
    STACK_OF(X509) *certs = aid_stack(leaf, aid_usual_pki()->inter, NULL);
    aid_bytes old = aid_make_crl(
        &(aid_crl){.this_update_s = NOW_S - DAY_S, .next_update_s = NOW_S - HOUR_S});
    aid_bytes held = aid_make_crl(&(aid_crl){.this_update_s = NOW_S - DAY_S,
                                             .next_update_s = NOW_S - HOUR_S,
                                             .revoked = {leaf},
                                             .reason = CRL_REASON_CERTIFICATE_HOLD});
    aid_bytes good = aid_make_crl(&(aid_crl){0});
    aid_bytes revoked = aid_make_crl(&(aid_crl){.revoked = {leaf}});
    const struct {
        const char *what;
        aid_bytes cached, network; /* without bytes: it fails */
        int is_given;              /* at hand from the start instead of cached */
        stls_reason reason;
        int64_t life_s;
    } rows[] = {
        {"a newer one", old, good, 0, 0, 3600},
        {"revoked since", old, revoked, 0, STLS_REASON_CRL_REVOKED, 30},
        {"no network", old, {NULL, 0}, 0, 0, 30},
        {"the same once more", old, old, 0, 0, 30},
        {"given, and a newer one", old, good, 1, 0, 3600},
        {"given, and revoked since", old, revoked, 1, STLS_REASON_CRL_REVOKED, 30},
        {"given, and no network", old, {NULL, 0}, 1, 0, 30},
        {"on hold then", held, good, 0, 0, 3600},
        {"on hold then, and no network", held, {NULL, 0}, 0, STLS_REASON_FETCH_NETWORK, 30},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = GRACE, .certs = certs};
        stls_check *check = aid_new_check(&c, NULL);
        stls_crl *cached = indexed(rows[i].cached);
        stls_fetch fetch;
        stls_answer answer;

        if (rows[i].is_given) {
            assert_int_equal(stls_check_add_crl(check, cached), STLS_OK);
        }
        stls_check_start(check, NOW_S);
        for (int n = rows[i].is_given; stls_check_next_fetch(check, &fetch); n++) {
            stls_reply reply = {rows[i].network.bytes != NULL ? STLS_FETCH_OK : STLS_FETCH_NETWORK,
                                rows[i].network.bytes, rows[i].network.len, NULL};
            assert_true(n < 2);
            if (n == 0) {
                stls_check_feed_crl(check, fetch.id, cached, 1, NOW_S);
                assert_int_equal(stls_check_get_answer(check, fetch.id, &answer), STLS_OK);
                assert_false(answer.conclusive);
            } else {
                stls_check_feed(check, fetch.id, &reply, NOW_S);
            }
        }
        stls_result *result = stls_check_get1_result(check);
        aid_assert_result(result, rows[i].reason ? STLS_REJECT : STLS_ACCEPT, rows[i].reason,
                          rows[i].what, __FILE__, __LINE__);
        if (stls_result_valid_until_s(result) - NOW_S != rows[i].life_s) {
            fail_msg("%s: %lld s", rows[i].what,
                     (long long)(stls_result_valid_until_s(result) - NOW_S));
        }
        stls_result_free(result);
        stls_check_free(check);
        stls_crl_free(cached);
    }
}

/* A host keeps a CRL as long as it may be of use. */
static void a_crl_serves_to_the_end_of_its_grace(void **state)
{
    aid_cert spec = aid_leaf_spec();
    spec.aia = "";
    spec.crl = "URI:" CRL_URL;
    aid_case c = {.policy = GRACE,
                  .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL)};
    stls_check *check = aid_new_check(&c, NULL);
    stls_crl *crl = indexed(aid_make_crl(&(aid_crl){0}));
    stls_fetch fetch;
    stls_answer answer;
    (void)state;
    stls_check_start(check, NOW_S);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_int_equal(stls_check_feed_crl(check, fetch.id, crl, 0, NOW_S), STLS_ACCEPT);
    assert_int_equal(stls_check_get_answer(check, fetch.id, &answer), STLS_OK);
    assert_int_equal(answer.use_until_s, NOW_S + DAY_S + 7200);
    stls_check_free(check);
    stls_crl_free(crl);
}

/* ---- what this process could not ask --------------------------------------------------------- */

static void trap_34_a_local_failure_is_never_passed_over(void **state)
{
    static const char *const policies[] = {"", "revocation=soft", "ocsp_network_error=tolerate",
                                           "revocation=soft ocsp_network_error=tolerate"};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (size_t cert = 0; cert < 2; cert++) {
            aid_case c = {.policy = policies[i]};
            c.replies[cert].outcome = STLS_FETCH_LOCAL;
            stls_result *result = aid_judge(&c);
            stls_verdict_cache *cache = stls_verdict_cache_new(4, NULL);
            unsigned char key[STLS_ID_LEN] = {1};

            assert_result(result, STLS_REJECT, STLS_REASON_FETCH_DENIED);
            assert_true(stls_result_is_local(result));
            /* the next one asks for itself */
            assert_int_equal(stls_verdict_cache_put(cache, key, result, NOW_S), STLS_ERR_STATE);
            assert_null(stls_verdict_cache_get0(cache, key, NOW_S));
            stls_verdict_cache_free(cache);
        }
    }
}

static void a_local_failure_is_not_remembered(void **state)
{
    aid_case c = {.policy = "revocation_scope=leaf", .replies = {{.outcome = STLS_FETCH_LOCAL}}};
    stls_check *check = aid_new_check(&c, NULL);
    stls_fetch fetch;
    stls_answer answer;
    (void)state;
    stls_check_start(check, NOW_S);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    stls_reply reply = aid_reply_to(&c, &fetch);
    assert_int_equal(stls_check_feed(check, fetch.id, &reply, NOW_S), STLS_REJECT);
    assert_int_equal(stls_check_get_answer(check, fetch.id, &answer), STLS_OK);
    assert_false(answer.conclusive);
    assert_int_equal(answer.retry_at_s, 0);
    stls_check_free(check);
}

/* What another source proves counts, and is remembered. */
static void a_local_failure_and_another_source(void **state)
{
    aid_cert spec = aid_leaf_spec();
    spec.crl = "URI:" CRL_URL;
    X509 *leaf = aid_make_cert(&spec);
    STACK_OF(X509) *certs = aid_stack(leaf, aid_usual_pki()->inter, NULL);
    const struct {
        X509 *revoked;
        stls_reason reason;
    } rows[] = {{NULL, 0}, {leaf, STLS_REASON_CRL_REVOKED}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        aid_case c = {.policy = "revocation_scope=leaf", .certs = certs};
        stls_check *check = aid_new_check(&c, NULL);
        stls_crl *crl = indexed(aid_make_crl(&(aid_crl){.revoked = {rows[i].revoked}}));
        stls_reply local = {.outcome = STLS_FETCH_LOCAL};
        stls_fetch fetch;
        stls_check_start(check, NOW_S);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        stls_check_feed(check, fetch.id, &local, NOW_S);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        assert_true(fetch.is_crl);
        stls_check_feed_crl(check, fetch.id, crl, 0, NOW_S);
        stls_result *result = stls_check_get1_result(check);
        assert_result(result, rows[i].reason ? STLS_REJECT : STLS_ACCEPT, rows[i].reason);
        assert_false(stls_result_is_local(result));
        stls_result_free(result);
        stls_check_free(check);
        stls_crl_free(crl);
    }
}

/* Where a soft policy would take a responder in doubt for an open question. */
static void a_local_failure_about_a_responder(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = {.subject = "CN=Responder,O=Lab",
                     .issuer = pki->inter,
                     .issuer_key = 1,
                     .key = 7,
                     .eku = "OCSPSigning",
                     .aia = "OCSP;URI:http://a.example/"};
    X509 *responder = aid_make_cert(&spec);
    aid_ocsp about_leaf = {.singles = {{.cert = pki->leaf, .issuer = pki->inter}},
                           .signer = responder,
                           .signer_key = 7};
    aid_bytes good = aid_make_ocsp(&about_leaf);
    aid_case c = {.policy = "revocation_scope=leaf revocation=soft"};
    stls_check *check = aid_new_check(&c, NULL);
    stls_reply answer = {STLS_FETCH_OK, good.bytes, good.len, NULL};
    stls_reply local = {.outcome = STLS_FETCH_LOCAL};
    stls_fetch fetch;
    (void)state;
    stls_check_start(check, NOW_S);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_int_equal(stls_check_feed(check, fetch.id, &answer, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_int_equal(stls_check_feed(check, fetch.id, &local, NOW_S), STLS_REJECT);
    assert_int_equal(aid_reason(check), STLS_REASON_FETCH_DENIED);
    stls_result *result = stls_check_get1_result(check);
    assert_true(stls_result_is_local(result));
    stls_result_free(result);
    stls_check_free(check);
}

/* ---- URLs that a host could not ask ---------------------------------------------------------- */

/* What is handed out can be asked by every host; user information is taken off. */
static void trap_37_only_urls_that_can_be_asked_are_handed_out(void **state)
{
    static const struct {
        const char *url;
        const char *asked; /* NULL: it is not */
    } rows[] = {
        {"http://a.example/x", "http://a.example/x"},
        {"HTTP://a.example/x", "HTTP://a.example/x"},
        {"http://user@a.example/x", "http://a.example/x"},
        {"http://user:secret@a.example:8080/x", "http://a.example:8080/x"},
        {"http://a@b@c.example/x", "http://c.example/x"},
        {"http://@a.example/x", "http://a.example/x"},
        {"http://a.example/x@y", "http://a.example/x@y"},
        {"http://a.example?x@y", "http://a.example?x@y"},
        {"http://user@[2001:db8::1]:80/x", "http://[2001:db8::1]:80/x"},
        {"http://user@/x", NULL},
        {"http:///x", NULL},
        {"http://", NULL},
        {"http://a.example:0/x", NULL},
        {"http://a.example:65536/x", NULL},
        {"http://a.example:8o/x", NULL},
        {"http://a.example:/x", NULL},
        {"http://[2001:db8::1/x", NULL},
        {"http://[a.example]/x", NULL},
        {"http://a%2eexample/x", NULL},
        {"http://a!b/x", NULL},
        {"https://a.example/x", NULL},
        {"ldap://a.example/x", NULL},
    };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        const char *url = rows[i / 2].url, *asked = rows[i / 2].asked;
        int is_crl = i % 2 == 1;
        char text[200];
        aid_cert spec = aid_leaf_spec();
        snprintf(text, sizeof(text), "%sURI:%s", is_crl ? "" : "OCSP;", url);
        *(is_crl ? &spec.crl : &spec.aia) = text;
        *(is_crl ? &spec.aia : &spec.crl) = "";
        aid_case c = {.policy = "revocation_scope=leaf ocsp_network_error=tolerate",
                      .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL)};
        stls_check *check = aid_new_check(&c, NULL);
        stls_fetch fetch;
        stls_http_target target;
        stls_check_start(check, NOW_S);
        int is_asked = stls_check_next_fetch(check, &fetch);
        if (is_asked != (asked != NULL)
            || (asked != NULL && strncmp(fetch.url, asked, strlen(asked)) != 0)) {
            fail_msg("%s: %s", text, is_asked ? fetch.url : "not asked");
        }
        if (is_asked) {
            assert_int_equal(stls_http_parse_url(fetch.url, &target, NULL), STLS_OK);
        } else {
            /* Nobody was asked, which is no failure of the network. */
            assert_int_equal(stls_check_verdict(check), STLS_REJECT);
            assert_int_equal(aid_reason(check), STLS_REASON_REVOCATION_INCONCLUSIVE);
        }
        stls_check_free(check);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_35_the_network_is_asked_first),
        cmocka_unit_test(a_graced_answer_is_not_conclusive),
        cmocka_unit_test(a_graced_staple_is_the_last_resort),
        cmocka_unit_test(a_graced_answer_of_a_delegated_responder),
        cmocka_unit_test(a_graced_crl_is_the_last_resort),
        cmocka_unit_test(a_crl_serves_to_the_end_of_its_grace),
        cmocka_unit_test(trap_34_a_local_failure_is_never_passed_over),
        cmocka_unit_test(a_local_failure_is_not_remembered),
        cmocka_unit_test(a_local_failure_and_another_source),
        cmocka_unit_test(a_local_failure_about_a_responder),
        cmocka_unit_test(trap_37_only_urls_that_can_be_asked_are_handed_out),
    };
    return cmocka_run_group_tests_name("grace", tests, NULL, aid_end);
}
