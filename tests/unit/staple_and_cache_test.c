/* The rungs that need no network: staples, cached answers, and nonces, which forbid both. */
#include "support.h"

#define NETWORK                                                                                    \
    {                                                                                              \
        .outcome = STLS_FETCH_NETWORK                                                              \
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

/* ---- staples ------------------------------------------------------------------- */

static void staples(void **state)
{
    aid_bytes good = about_leaf(V_OCSP_CERTSTATUS_GOOD);
    aid_bytes revoked = about_leaf(V_OCSP_CERTSTATUS_REVOKED);
    aid_bytes unknown = about_leaf(V_OCSP_CERTSTATUS_UNKNOWN);
    aid_bytes garbage = {(unsigned char *)"junk", 4};
    aid_bytes about_another = about_inter(V_OCSP_CERTSTATUS_GOOD);
    aid_reply fine = {0}, down = NETWORK;
    const struct {
        const char *what, *policy;
        aid_bytes staple;
        aid_reply leaf;
        size_t num_fetches;
        stls_verdict verdict;
        stls_reason reason;
    } rows[] = {
        {"good saves a fetch", "", good, down, 1, STLS_ACCEPT, 0},
        {"revoked is final", "", revoked, fine, 0, STLS_REJECT, STLS_REASON_OCSP_REVOKED},
        {"revoked is final, soft", "revocation=soft", revoked, fine, 0, STLS_REJECT,
         STLS_REASON_OCSP_REVOKED},
        {"unknown asks on", "", unknown, fine, 2, STLS_ACCEPT, 0},
        {"stale asks on", "", stale_about_leaf(), fine, 2, STLS_ACCEPT, 0},
        {"garbage asks on", "", garbage, fine, 2, STLS_ACCEPT, 0},
        {"another's asks on", "", about_another, fine, 2, STLS_ACCEPT, 0},
        {"garbage and no responder", "", garbage, down, 2, STLS_REJECT, STLS_REASON_OCSP_MALFORMED},
        {"staples only, good leaf", "revocation_sources=staple revocation_scope=leaf", good, fine,
         0, STLS_ACCEPT, 0},
        {"staples only, stale", "revocation_sources=staple revocation_scope=leaf",
         stale_about_leaf(), fine, 0, STLS_REJECT, STLS_REASON_OCSP_STALE},
        {"fetch first", "revocation_sources=ocsp,staple", good, fine, 2, STLS_ACCEPT, 0},
        {"fetch first, staple second", "revocation_sources=ocsp,staple revocation_scope=leaf", good,
         down, 1, STLS_ACCEPT, 0},
        {"staples not looked at", "revocation_sources=ocsp", revoked, fine, 2, STLS_ACCEPT, 0},
        {"trap 22: a nonce is wanted", "ocsp_nonce=on revocation_scope=leaf", good, down, 1,
         STLS_REJECT, STLS_REASON_FETCH_NETWORK},
        {"a nonce is wanted, revoked all the same", "ocsp_nonce=on", revoked, fine, 0, STLS_REJECT,
         STLS_REASON_OCSP_REVOKED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {
            .policy = rows[i].policy, .staple = rows[i].staple, .replies = {rows[i].leaf}};
        stls_result *result = aid_judge(&c);
        aid_assert_result(result, rows[i].verdict, rows[i].reason, rows[i].what, __FILE__,
                          __LINE__);
        if (aid_count_fetches(&c) != rows[i].num_fetches) {
            fail_msg("%s: %zu fetches", rows[i].what, aid_count_fetches(&c));
        }
    }
}

static void staple_of_an_intermediate(void **state)
{
    aid_case c = {0};
    aid_bytes good = about_inter(V_OCSP_CERTSTATUS_GOOD);
    aid_bytes revoked = about_inter(V_OCSP_CERTSTATUS_REVOKED);
    stls_fetch fetch;

    (void)state;
    stls_check *check = aid_new_check(&c, NULL);
    assert_int_equal(stls_check_add_staple(check, 1, good.bytes, good.len), STLS_OK);
    assert_int_equal(stls_check_start(check, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_int_equal(fetch.cert_index, 0);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 0);
    stls_check_free(check);

    check = aid_new_check(&c, NULL);
    assert_int_equal(stls_check_add_staple(check, 1, revoked.bytes, revoked.len), STLS_OK);
    assert_int_equal(stls_check_start(check, NOW_S), STLS_REJECT);
    stls_check_free(check);

    /* For a certificate that is not there it changes nothing. */
    check = aid_new_check(&c, NULL);
    stls_check_add_staple(check, 7, revoked.bytes, revoked.len);
    assert_int_equal(stls_check_start(check, NOW_S), STLS_PENDING);
    stls_check_free(check);
}

/* ---- caches -------------------------------------------------------------------------------- */

static void trap_12_poisoned_cache_grants_nothing(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_ocsp forged = {
        .singles = {{.cert = pki->leaf, .issuer = pki->inter}},
        .signer_key = 5,
    };
    aid_bytes poisons[] = {
        {NULL, 0},
        {(unsigned char *)"junk", 4},
        aid_make_ocsp(&forged),
        stale_about_leaf(),
        about_leaf(V_OCSP_CERTSTATUS_UNKNOWN),
        about_inter(V_OCSP_CERTSTATUS_GOOD),
    };
    (void)state;
    for (size_t i = 0; i < sizeof(poisons) / sizeof(poisons[0]); i++) {
        aid_case c = {.policy = "revocation_scope=leaf"};
        stls_check *check = aid_new_check(&c, NULL);
        stls_fetch first, second;
        stls_answer answer;
        stls_reply cached = {STLS_FETCH_CACHED, poisons[i].bytes, poisons[i].len, NULL};

        assert_int_equal(stls_check_start(check, NOW_S), STLS_PENDING);
        assert_int_equal(stls_check_next_fetch(check, &first), 1);
        assert_true(first.may_use_cache);
        uint32_t first_id = first.id;
        unsigned char question[STLS_ID_LEN];
        memcpy(question, first.question, STLS_ID_LEN);
        assert_int_equal(stls_check_feed(check, first.id, &cached, NOW_S), STLS_PENDING);
        assert_int_equal(stls_check_get_answer(check, first_id, &answer), STLS_OK);
        assert_false(answer.conclusive);

        /* The same question again, and nothing but a fresh answer will do. */
        assert_int_equal(stls_check_next_fetch(check, &second), 1);
        assert_true(second.id != first_id);
        assert_false(second.may_use_cache);
        assert_memory_equal(second.question, question, STLS_ID_LEN);
        stls_reply good = aid_reply_to(&c, &second);
        assert_int_equal(stls_check_feed(check, second.id, &good, NOW_S), STLS_ACCEPT);
        assert_int_equal(stls_check_get_answer(check, second.id, &answer), STLS_OK);
        assert_true(answer.conclusive);
        stls_check_free(check);
    }
}

static void cached_answers(void **state)
{
    static const struct {
        int status;
        stls_verdict verdict;
    } rows[] = {
        {V_OCSP_CERTSTATUS_GOOD, STLS_ACCEPT},
        {V_OCSP_CERTSTATUS_REVOKED, STLS_REJECT},
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        aid_case c = {.policy = "revocation_scope=leaf",
                      .replies = {{STLS_FETCH_CACHED, about_leaf(rows[i].status)}}};
        assert_int_equal(stls_result_verdict(aid_judge(&c)), rows[i].verdict);
        assert_int_equal(aid_count_fetches(&c), 1);
    }
}

static void trap_22_nonce_and_a_cached_answer(void **state)
{
    aid_bytes good = about_leaf(V_OCSP_CERTSTATUS_GOOD);
    stls_reply cached = {STLS_FETCH_CACHED, good.bytes, good.len, NULL};
    aid_case c = {.policy = "ocsp_nonce=on revocation_scope=leaf"};
    stls_check *check = aid_new_check(&c, NULL);
    stls_fetch fetch;

    (void)state;
    stls_check_start(check, NOW_S);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_false(fetch.may_use_cache);
    assert_true(fetch.is_post);
    assert_string_equal(fetch.content_type, "application/ocsp-request");
    assert_int_not_equal(stls_check_feed(check, fetch.id, &cached, NOW_S), STLS_ACCEPT);
    assert_int_equal(stls_check_expire(check, NOW_S), STLS_REJECT);
    stls_check_free(check);
}

static void nonce_must_come_back(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    (void)state;
    for (int comes_back = 0; comes_back < 2; comes_back++) {
        aid_case c = {.policy = "ocsp_nonce=on revocation_scope=leaf"};
        stls_check *check = aid_new_check(&c, NULL);
        stls_fetch fetch;
        stls_check_start(check, NOW_S);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        aid_ocsp spec = {
            .singles = {{.cert = pki->leaf, .issuer = pki->inter}},
            .signer_key = 1,
            .request = comes_back ? fetch.body : NULL,
            .request_len = fetch.body_len,
        };
        aid_bytes der = aid_make_ocsp(&spec);
        stls_reply reply = {STLS_FETCH_OK, der.bytes, der.len, NULL};
        assert_int_equal(stls_check_feed(check, fetch.id, &reply, NOW_S),
                         comes_back ? STLS_ACCEPT : STLS_REJECT);
        stls_result *result = stls_check_get1_result(check);
        assert_int_equal(stls_result_reason(result),
                         comes_back ? STLS_REASON_NONE : STLS_REASON_OCSP_NONCE_MISMATCH);
        stls_result_free(result);
        stls_check_free(check);
    }
}

/* ---- what may be cached ------------------------------------------------------------------- */

static void answer_says_what_may_be_cached(void **state)
{
    const struct {
        const char *what;
        aid_reply reply;
        int conclusive, revoked;
    } rows[] = {
        {"good", {STLS_FETCH_OK, about_leaf(V_OCSP_CERTSTATUS_GOOD)}, 1, 0},
        {"revoked", {STLS_FETCH_OK, about_leaf(V_OCSP_CERTSTATUS_REVOKED)}, 1, 1},
        {"unknown", {STLS_FETCH_OK, about_leaf(V_OCSP_CERTSTATUS_UNKNOWN)}, 0, 0},
        {"stale", {STLS_FETCH_OK, stale_about_leaf()}, 0, 0},
        {"failure", NETWORK, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = "revocation_scope=leaf clock_skew_s=0 negative_ttl_s=17",
                      .replies = {rows[i].reply}};
        stls_check *check = aid_new_check(&c, NULL);
        stls_fetch fetch;
        stls_answer answer;
        stls_check_start(check, NOW_S);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        assert_int_not_equal(stls_check_get_answer(check, fetch.id, &answer), STLS_OK);
        stls_reply reply = aid_reply_to(&c, &fetch);
        stls_check_feed(check, fetch.id, &reply, NOW_S);
        assert_int_equal(stls_check_get_answer(check, fetch.id, &answer), STLS_OK);
        assert_int_equal(answer.conclusive, rows[i].conclusive);
        assert_int_equal(answer.revoked, rows[i].revoked);
        if (answer.conclusive) {
            assert_int_equal(answer.produced_s, NOW_S - HOUR_S);
            assert_int_equal(answer.use_until_s, NOW_S + DAY_S);
            assert_int_equal(answer.refresh_at_s, NOW_S - HOUR_S + (DAY_S + HOUR_S) / 2);
        } else {
            assert_int_equal(answer.retry_at_s, NOW_S + 17);
        }
        stls_check_free(check);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(staples),
        cmocka_unit_test(staple_of_an_intermediate),
        cmocka_unit_test(trap_12_poisoned_cache_grants_nothing),
        cmocka_unit_test(cached_answers),
        cmocka_unit_test(trap_22_nonce_and_a_cached_answer),
        cmocka_unit_test(nonce_must_come_back),
        cmocka_unit_test(answer_says_what_may_be_cached),
    };
    return cmocka_run_group_tests_name("staple_and_cache", tests, NULL, aid_end);
}
