#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>

static const stls_reply no_network = {.outcome = STLS_FETCH_NETWORK};

static stls_check *new_check(const char *policy)
{
    aid_case c = {.policy = policy};
    return aid_new_check(&c, NULL);
}

/* Feeds what the certificate's issuer says. */
static stls_verdict feed_good(stls_check *check, const stls_fetch *fetch)
{
    aid_case c = {0};
    stls_reply reply = aid_reply_to(&c, fetch);
    return stls_check_feed(check, fetch->id, &reply, NOW_S);
}

static void new_needs_frozen_inputs(void **state)
{
    stls_policy *open_policy = stls_policy_new(NULL);
    stls_anchors *open_anchors = stls_anchors_new(NULL);
    stls_policy *policy = aid_policy("", NULL);
    stls_anchors *anchors = aid_usual_anchors();

    (void)state;
    assert_null(stls_check_new(open_policy, anchors, STLS_ROLE_SERVER));
    assert_null(stls_check_new(policy, open_anchors, STLS_ROLE_SERVER));
    assert_null(stls_check_new(NULL, anchors, STLS_ROLE_SERVER));
    assert_null(stls_check_new(policy, NULL, STLS_ROLE_SERVER));
    assert_null(stls_check_new(policy, anchors, (stls_role)0));
    assert_null(stls_check_new(aid_policy("mode=off", NULL), anchors, STLS_ROLE_SERVER));
    stls_check_free(NULL);
    stls_policy_free(open_policy);
    stls_anchors_free(open_anchors);
}

static void check_outlives_what_it_was_made_of(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_policy *policy = stls_policy_new(NULL);
    stls_anchors *anchors = stls_anchors_up_ref(aid_usual_anchors());
    X509 *leaf = X509_dup(pki->leaf);
    char name[] = LEAF_NAME;

    (void)state;
    assert_int_equal(stls_policy_set_text(policy, "revocation=off", NULL), STLS_OK);
    assert_int_equal(stls_policy_freeze(policy, NULL), STLS_OK);
    stls_check *check = stls_check_new(policy, anchors, STLS_ROLE_SERVER);
    stls_policy_free(policy);
    stls_anchors_free(anchors);
    assert_int_equal(stls_check_add_cert(check, leaf), STLS_OK);
    assert_int_equal(stls_check_add_cert(check, pki->inter), STLS_OK);
    X509_free(leaf);
    stls_check_set_name(check, name, strlen(name));
    memset(name, 'x', strlen(name));
    assert_int_equal(stls_check_start(check, NOW_S), STLS_ACCEPT);
    stls_check_free(check);
}

static void certificates_as_der(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_case c = {.policy = "revocation=off", .certs = sk_X509_new_null()};
    size_t len;

    (void)state;
    stls_check *check = aid_new_check(&c, NULL);
    const unsigned char *der = aid_der(pki->leaf, &len);
    assert_int_equal(stls_check_add_cert_der(check, der, len), STLS_OK);
    der = aid_der(pki->inter, &len);
    assert_int_equal(stls_check_add_cert_der(check, der, len), STLS_OK);
    assert_int_equal(stls_check_start(check, NOW_S), STLS_ACCEPT);
    stls_check_free(check);
    sk_X509_free(c.certs);
}

static void malformed_certificates(void **state)
{
    static const unsigned char junk[] = "junk";
    const aid_pki *pki = aid_usual_pki();
    size_t len;
    unsigned char more[4000];
    const unsigned char *der = aid_der(pki->inter, &len);
    memcpy(more, der, len);
    more[len] = 0;
    const struct {
        const unsigned char *der;
        size_t len;
    } rows[] = {{junk, 4}, {junk, 0}, {NULL, 0}, {der, len - 1}, {der, 1}, {more, len + 1}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ERR_clear_error();
        stls_check *check = new_check("revocation=off");
        assert_int_equal(stls_check_add_cert_der(check, rows[i].der, rows[i].len),
                         STLS_ERR_ARGUMENT);
        assert_int_equal(stls_check_start(check, NOW_S), STLS_REJECT);
        assert_int_equal(aid_reason(check), STLS_REASON_CHAIN_MALFORMED);
        stls_check_free(check);
        assert_true(ERR_peek_error() == 0);
    }
}

/* ---- order of calls --------------------------------------------------------- */

static void nothing_is_added_after_the_beginning(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    size_t len;
    const unsigned char *der = aid_der(pki->root, &len);

    (void)state;
    for (int is_started = 0; is_started < 2; is_started++) {
        stls_check *check = new_check("");
        if (is_started) {
            assert_int_equal(stls_check_start(check, NOW_S), STLS_PENDING);
        } else {
            assert_int_equal(stls_check_trust(check, NOW_S), STLS_PENDING);
        }
        assert_int_equal(stls_check_add_cert(check, pki->root), STLS_ERR_STATE);
        assert_int_equal(stls_check_add_cert_der(check, der, len), STLS_ERR_STATE);
        assert_int_equal(stls_check_set_name(check, "evil.example.com", 16), STLS_ERR_STATE);
        /* A staple arrives after trust was judged (TLS 1.2), but not after the start. */
        assert_int_equal(stls_check_add_staple(check, 0, der, len),
                         is_started ? STLS_ERR_STATE : STLS_OK);
        stls_check_free(check);
    }
}

static void trust_alone_never_accepts(void **state)
{
    static const struct {
        const char *policy, *name;
        stls_verdict verdict;
    } rows[] = {
        {"", LEAF_NAME, STLS_PENDING},
        {"revocation=off", LEAF_NAME, STLS_PENDING},
        {"", "other.example.com", STLS_REJECT},
        {"revocation=off", "other.example.com", STLS_REJECT},
        {"mode=report", "other.example.com", STLS_PENDING},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = rows[i].policy, .name = rows[i].name};
        stls_check *check = aid_new_check(&c, NULL);
        assert_int_equal(stls_check_verdict(check), STLS_PENDING);
        assert_int_equal(stls_check_trust(check, NOW_S), rows[i].verdict);
        assert_int_equal(stls_check_trust(check, NOW_S), rows[i].verdict);
        assert_int_equal(stls_check_verdict(check), rows[i].verdict);
        stls_check_free(check);
    }
}

/* Trust asked for again behind an acceptance does not accept either. */
static void trust_after_the_end(void **state)
{
    stls_check *check = new_check("revocation=off");
    (void)state;
    assert_int_equal(stls_check_start(check, NOW_S), STLS_ACCEPT);
    assert_int_not_equal(stls_check_trust(check, NOW_S), STLS_ACCEPT);
    assert_int_equal(stls_check_verdict(check), STLS_ACCEPT);
    stls_check_free(check);
}

static void start_with_or_without_trust(void **state)
{
    (void)state;
    for (int with_trust = 0; with_trust < 2; with_trust++) {
        stls_check *check = new_check("");
        stls_fetch fetch;
        if (with_trust) {
            stls_check_trust(check, NOW_S);
        }
        assert_int_equal(stls_check_start(check, NOW_S), STLS_PENDING);
        assert_int_equal(stls_check_start(check, NOW_S), STLS_PENDING); /* harmless */
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        assert_int_equal(feed_good(check, &fetch), STLS_PENDING);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        assert_int_equal(feed_good(check, &fetch), STLS_ACCEPT);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 0);
        assert_int_equal(stls_check_start(check, NOW_S), STLS_ACCEPT);
        stls_check_free(check);
    }
}

static void nothing_to_fetch_before_the_start(void **state)
{
    stls_check *check = new_check("");
    stls_fetch fetch;
    stls_answer answer;

    (void)state;
    assert_int_equal(stls_check_next_fetch(check, &fetch), 0);
    assert_int_equal(stls_check_feed(check, 1, &no_network, NOW_S), STLS_PENDING);
    assert_int_not_equal(stls_check_get_answer(check, 1, &answer), STLS_OK);
    assert_null(stls_check_get1_result(check)); /* nothing is known yet */
    stls_check_trust(check, NOW_S);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 0);
    stls_check_free(check);
}

static void fetches_are_answered_in_any_order(void **state)
{
    stls_check *check = new_check("");
    stls_fetch first, second;
    (void)state;
    stls_check_start(check, NOW_S);
    assert_int_equal(stls_check_next_fetch(check, &first), 1);
    assert_int_equal(stls_check_next_fetch(check, &second), 1);
    assert_int_equal(feed_good(check, &second), STLS_PENDING);
    assert_int_equal(feed_good(check, &first), STLS_ACCEPT);
    stls_check_free(check);
}

static void unknown_and_repeated_ids_are_ignored(void **state)
{
    aid_case c = {0};
    stls_check *check = new_check("");
    stls_fetch leaf, inter;

    (void)state;
    stls_check_start(check, NOW_S);
    assert_int_equal(stls_check_next_fetch(check, &leaf), 1);
    stls_reply good = aid_reply_to(&c, &leaf);
    /* Not handed out yet, never to be, not even close. */
    static const uint32_t ids[] = {0, 2, 3, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        assert_true(ids[i] != leaf.id);
        assert_int_equal(stls_check_feed(check, ids[i], &no_network, NOW_S), STLS_PENDING);
    }
    assert_int_equal(stls_check_feed(check, leaf.id, &good, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_feed(check, leaf.id, &no_network, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_feed(check, leaf.id, &good, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_next_fetch(check, &inter), 1);
    assert_int_equal(feed_good(check, &inter), STLS_ACCEPT);
    stls_check_free(check);
}

/* Trap 9: what is final stays so. */
static void trap_9_nothing_changes_a_final_verdict(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_bytes revoked = aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED);
    stls_reply bad = {STLS_FETCH_OK, revoked.bytes, revoked.len, NULL};

    (void)state;
    for (int is_good = 0; is_good < 2; is_good++) {
        stls_verdict final = is_good ? STLS_ACCEPT : STLS_REJECT;
        aid_case c = {.policy = "revocation_scope=leaf"};
        stls_check *check = aid_new_check(&c, NULL);
        stls_fetch fetch, none;
        stls_check_start(check, NOW_S);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        stls_reply good = aid_reply_to(&c, &fetch);
        assert_int_equal(stls_check_feed(check, fetch.id, is_good ? &good : &bad, NOW_S), final);

        assert_int_equal(stls_check_feed(check, fetch.id, &good, NOW_S), final);
        assert_int_equal(stls_check_feed(check, fetch.id, &bad, NOW_S), final);
        assert_int_equal(stls_check_feed(check, 2, &good, NOW_S), final);
        assert_int_equal(stls_check_start(check, NOW_S), final);
        assert_int_equal(stls_check_expire(check, NOW_S), final);
        assert_int_equal(stls_check_fail(check, STLS_REASON_INTERNAL_ERROR, "late", NOW_S), final);
        assert_int_equal(stls_check_next_fetch(check, &none), 0);
        assert_int_equal(stls_check_add_cert(check, pki->root), STLS_ERR_STATE);
        assert_int_equal(stls_check_add_staple(check, 0, good.bytes, good.bytes_len),
                         STLS_ERR_STATE);
        assert_int_equal(stls_check_verdict(check), final);
        assert_int_equal(aid_reason(check), is_good ? STLS_REASON_NONE : STLS_REASON_OCSP_REVOKED);
        stls_check_free(check);
    }
}

/* Revoked needs no other answer. */
static void rejection_does_not_wait(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_bytes revoked = aid_ocsp_about(pki->inter, pki->root, 0, V_OCSP_CERTSTATUS_REVOKED);
    stls_reply reply = {STLS_FETCH_OK, revoked.bytes, revoked.len, NULL};
    stls_check *check = new_check("");
    stls_fetch leaf, inter;

    (void)state;
    stls_check_start(check, NOW_S);
    assert_int_equal(stls_check_next_fetch(check, &leaf), 1);
    assert_int_equal(stls_check_next_fetch(check, &inter), 1);
    assert_int_equal(stls_check_feed(check, inter.id, &reply, NOW_S), STLS_REJECT);
    assert_int_equal(feed_good(check, &leaf), STLS_REJECT);
    stls_check_free(check);
}

/* ---- expire, fail ------------------------------------------------------------ */

static void expire(void **state)
{
    static const struct {
        const char *what, *policy;
        int num_handed_out, num_answered;
        stls_verdict verdict;
        stls_reason reason;
    } rows[] = {
        {"nothing handed out", "", 0, 0, STLS_REJECT, STLS_REASON_FETCH_TIMEOUT},
        {"both open", "", 2, 0, STLS_REJECT, STLS_REASON_FETCH_TIMEOUT},
        {"one answered", "", 2, 1, STLS_REJECT, STLS_REASON_FETCH_TIMEOUT},
        {"both open, soft", "revocation=soft", 2, 0, STLS_ACCEPT, STLS_REASON_NONE},
        {"both open, report", "mode=report", 2, 0, STLS_ACCEPT, STLS_REASON_FETCH_TIMEOUT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_check *check = new_check(rows[i].policy);
        stls_fetch fetch, first;
        stls_check_start(check, NOW_S);
        for (int n = 0; n < rows[i].num_handed_out; n++) {
            assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
            if (n == 0) {
                first = fetch;
            }
        }
        if (rows[i].num_answered > 0) {
            feed_good(check, &first);
        }
        stls_verdict verdict = stls_check_expire(check, NOW_S + 8);
        if (verdict != rows[i].verdict || aid_reason(check) != rows[i].reason) {
            fail_msg("%s: %d %s", rows[i].what, verdict, stls_reason_id(aid_reason(check)));
        }
        if (rows[i].num_handed_out > 0) {
            assert_int_equal(feed_good(check, &fetch), verdict); /* too late */
        }
        stls_check_free(check);
    }
}

static void expire_before_the_start_rejects(void **state)
{
    (void)state;
    for (int with_trust = 0; with_trust < 2; with_trust++) {
        stls_check *check = new_check("revocation=soft");
        if (with_trust) {
            stls_check_trust(check, NOW_S);
        }
        assert_int_equal(stls_check_expire(check, NOW_S), STLS_REJECT);
        assert_int_equal(stls_check_start(check, NOW_S), STLS_REJECT);
        stls_check_free(check);
    }
}

/* At every stage, in every mode. */
static void fail_rejects(void **state)
{
    static const char *const policies[] = {"", "revocation=soft", "revocation=off"};
    (void)state;
    for (size_t p = 0; p < 3; p++) {
        for (int stage = 0; stage < 3; stage++) {
            stls_check *check = new_check(policies[p]);
            stls_fetch fetch;
            if (stage == 1) {
                stls_check_trust(check, NOW_S);
            } else if (stage == 2) {
                stls_check_start(check, NOW_S);
                stls_check_next_fetch(check, &fetch);
            }
            stls_verdict before = stls_check_verdict(check);
            stls_verdict after = stls_check_fail(check, STLS_REASON_SESSION_UNVERIFIED, NULL,
                                                 NOW_S);
            assert_int_equal(after, before == STLS_ACCEPT ? STLS_ACCEPT : STLS_REJECT);
            if (after == STLS_REJECT) {
                assert_int_equal(aid_reason(check), STLS_REASON_SESSION_UNVERIFIED);
            }
            assert_int_equal(stls_check_start(check, NOW_S), after);
            stls_check_free(check);
        }
    }
}

static void report_mode_does_not_reject(void **state)
{
    aid_case c = {.policy = "mode=report"};
    stls_check *check = aid_new_check(&c, NULL);
    (void)state;
    assert_int_equal(stls_check_fail(check, STLS_REASON_SESSION_UNVERIFIED, "x", NOW_S),
                     STLS_ACCEPT);
    stls_result *result = stls_check_get1_result(check);
    assert_string_equal(stls_result_word(result), "would_reject");
    assert_int_equal(stls_result_reason(result), STLS_REASON_SESSION_UNVERIFIED);
    stls_result_free(result);
    stls_check_free(check);
}

/* ---- free --------------------------------------------------------------------- */

/* How far to go before everything is dropped: client abort, reload, shutdown (trap 10). */
static void trap_10_free_at_any_state(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_bytes staple = aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_UNKNOWN);
    (void)state;
    for (int stage = 0; stage <= 9; stage++) {
        aid_heap heap = {0};
        stls_allocator allocator = aid_allocator(&heap);
        stls_policy *policy = stls_policy_new(&allocator);
        assert_int_equal(stls_policy_freeze(policy, NULL), STLS_OK);
        stls_check *check = stls_check_new(policy, aid_usual_anchors(), STLS_ROLE_SERVER);
        stls_fetch fetch;
        stls_result *result = NULL;
        stls_policy_free(policy);
        switch (stage) { /* each stage goes through all before it */
        default:
            stls_check_add_certs(check, aid_stack(pki->leaf, pki->inter, NULL));
            if (stage == 1) {
                break;
            }
            stls_check_set_name(check, LEAF_NAME, strlen(LEAF_NAME));
            stls_check_add_staple(check, 0, staple.bytes, staple.len);
            if (stage == 2) {
                break;
            }
            stls_check_trust(check, NOW_S);
            if (stage == 3) {
                break;
            }
            result = stls_check_get1_result(check);
            stls_check_start(check, NOW_S);
            if (stage == 4) {
                break;
            }
            stls_check_next_fetch(check, &fetch);
            if (stage == 5) {
                break;
            }
            feed_good(check, &fetch);
            if (stage == 6) {
                break;
            }
            stls_check_next_fetch(check, &fetch);
            if (stage == 7) {
                break;
            }
            feed_good(check, &fetch);
            assert_int_equal(stls_check_verdict(check), STLS_ACCEPT);
            if (stage == 8) {
                break;
            }
            stls_result_free(result);
            result = stls_check_get1_result(check);
            break;
        case 0:
            break;
        }
        stls_check_free(check);
        if (result != NULL) { /* it lives on without the check */
            char line[200];
            assert_true(stls_result_log_line(result, NULL, line, sizeof(line)) > 0);
        }
        stls_result_free(result);
        assert_int_equal(heap.num_live, 0);
    }
}

/* ---- bounds --------------------------------------------------------------------- */

static void staples_are_bounded(void **state)
{
    stls_check *check = new_check("max_chain_len=3 max_reply_bytes=1000");
    unsigned char *large = calloc(1, 1001);
    (void)state;
    assert_int_equal(stls_check_add_staple(check, 0, large, 1001), STLS_OK);
    assert_int_equal(stls_check_add_staple(check, 1, large, 10), STLS_OK);
    assert_int_equal(stls_check_add_staple(check, SIZE_MAX, NULL, 0), STLS_OK);
    assert_int_equal(stls_check_add_staple(check, 2, large, 10), STLS_ERR_TOO_LARGE);
    assert_int_equal(stls_check_start(check, NOW_S), STLS_PENDING);
    stls_check_free(check);
    free(large);
}

/* ---- the host's own ------------------------------------------------------------------ */

static void error_queue_stays_as_it_was(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_reply garbage = {STLS_FETCH_OK, {(unsigned char *)"junk", 4}};
    aid_case cases[] = {
        {0},
        {.replies = {garbage}},
        {.staple = {(unsigned char *)"junk", 4}},
        {.certs = aid_stack(pki->leaf, NULL)},
        {.certs = aid_stack(aid_spoil_signature(pki->leaf), pki->inter, NULL)},
        {.name = "other.example.com"},
        {.name = "192.0.2.1"},
        {.policy = "ocsp_nonce=on"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        aid_judge(&cases[i]); /* the factory may leave something of its own */
        stls_check *check = aid_new_check(&cases[i], NULL);
        stls_fetch fetch;
        ERR_clear_error();
        stls_check_start(check, NOW_S);
        while (stls_check_next_fetch(check, &fetch)) {
            stls_reply reply = {STLS_FETCH_OK, (const unsigned char *)"junk", 4, NULL};
            stls_check_feed(check, fetch.id, &reply, NOW_S);
        }
        stls_result_free(stls_check_get1_result(check));
        stls_check_free(check);
        if (ERR_peek_error() != 0) {
            fail_msg("case %zu: %s", i, ERR_reason_error_string(ERR_peek_error()));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_needs_frozen_inputs),
        cmocka_unit_test(check_outlives_what_it_was_made_of),
        cmocka_unit_test(certificates_as_der),
        cmocka_unit_test(malformed_certificates),
        cmocka_unit_test(nothing_is_added_after_the_beginning),
        cmocka_unit_test(trust_alone_never_accepts),
        cmocka_unit_test(trust_after_the_end),
        cmocka_unit_test(start_with_or_without_trust),
        cmocka_unit_test(nothing_to_fetch_before_the_start),
        cmocka_unit_test(fetches_are_answered_in_any_order),
        cmocka_unit_test(unknown_and_repeated_ids_are_ignored),
        cmocka_unit_test(trap_9_nothing_changes_a_final_verdict),
        cmocka_unit_test(rejection_does_not_wait),
        cmocka_unit_test(expire),
        cmocka_unit_test(expire_before_the_start_rejects),
        cmocka_unit_test(fail_rejects),
        cmocka_unit_test(report_mode_does_not_reject),
        cmocka_unit_test(trap_10_free_at_any_state),
        cmocka_unit_test(staples_are_bounded),
        cmocka_unit_test(error_queue_stays_as_it_was),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, aid_end);
}
