#include "support.h"

#include <stdio.h>

/* ---- keys ----------------------------------------------------------------- */

typedef struct {
    stls_policy *policy;
    stls_anchors *anchors;
    stls_role role;
    const char *name;
    STACK_OF(X509) *certs;
} key_input;

static void make_key(unsigned char key[STLS_ID_LEN], const key_input *in)
{
    assert_int_equal(stls_verdict_key(key, in->policy, in->anchors, in->role, in->name,
                                      in->name != NULL ? strlen(in->name) : 0, in->certs),
                     STLS_OK);
}

static key_input usual_input(void)
{
    const aid_pki *pki = aid_usual_pki();
    key_input in = {aid_policy("", NULL), aid_usual_anchors(), STLS_ROLE_SERVER, LEAF_NAME,
                    aid_stack(pki->leaf, pki->inter, NULL)};
    return in;
}

static void key_differs_where_any_field_does(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    key_input in[14];
    unsigned char keys[14][STLS_ID_LEN];
    size_t num = 0;

    (void)state;
    for (size_t i = 0; i < 14; i++) {
        in[i] = usual_input();
    }
    num++;
    in[num++].policy = aid_policy("chain_extra=deny", NULL);
    in[num++].policy = aid_policy("mode=report", NULL);
    in[num++].anchors = aid_anchors(pki->other_root, NULL);
    in[num++].anchors = aid_anchors(pki->root, pki->other_root, NULL);
    in[num++].role = STLS_ROLE_CLIENT;
    in[num++].name = NULL;
    in[num++].name = "192.0.2.1";
    in[num++].name = "2001:db8::1";
    in[num++].name = "xapi.example.com";
    in[num++].certs = aid_stack(pki->inter, pki->leaf, NULL);
    in[num++].certs = aid_stack(pki->leaf, NULL);
    in[num++].certs = aid_stack(pki->leaf, pki->inter, pki->root, NULL);
    in[num++].certs = aid_stack(aid_spoil_signature(pki->leaf), pki->inter, NULL);
    assert_int_equal(num, 14);
    for (size_t i = 0; i < num; i++) {
        make_key(keys[i], &in[i]);
        for (size_t j = 0; j < i; j++) {
            if (memcmp(keys[i], keys[j], STLS_ID_LEN) == 0) {
                fail_msg("inputs %zu and %zu share a key", i, j);
            }
        }
    }
}

static void key_is_the_same_where_names_mean_the_same(void **state)
{
    static const char *const rows[][2] = {
        {"api.example.com", "API.Example.COM"},
        {"api.example.com", "api.example.com."},
        {"2001:db8::1", "[2001:db8::1]"},
        {"2001:DB8::1", "2001:db8::1"},
        {NULL, ""},
    };
    unsigned char a[STLS_ID_LEN], b[STLS_ID_LEN];
    key_input in = usual_input();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        in.name = rows[i][0];
        make_key(a, &in);
        in.name = rows[i][1];
        make_key(b, &in);
        assert_memory_equal(a, b, STLS_ID_LEN);
    }
}

static void key_is_the_same_for_equal_contents(void **state)
{
    unsigned char a[STLS_ID_LEN], b[STLS_ID_LEN];
    const aid_pki *pki = aid_usual_pki();
    key_input in = usual_input();
    X509 *copy = X509_dup(pki->leaf);

    (void)state;
    make_key(a, &in);
    in = usual_input();
    in.certs = aid_stack(copy, pki->inter, NULL);
    make_key(b, &in);
    assert_memory_equal(a, b, STLS_ID_LEN);
    X509_free(copy);
}

static void key_is_refused_where_nothing_can_be_reused(void **state)
{
    static const char nul_name[] = "api.example.com\0.evil";
    char long_name[300];
    unsigned char key[STLS_ID_LEN];
    key_input in = usual_input();
    stls_policy *open_policy = stls_policy_new(NULL);
    stls_anchors *open_anchors = stls_anchors_new(NULL);
    STACK_OF(X509) *empty = sk_X509_new_null();

    (void)state;
    memset(long_name, 'a', sizeof(long_name));
    assert_int_equal(stls_verdict_key(key, in.policy, in.anchors, in.role, LEAF_NAME, 15, NULL),
                     STLS_ERR_ARGUMENT);
    assert_int_equal(stls_verdict_key(key, in.policy, in.anchors, in.role, LEAF_NAME, 15, empty),
                     STLS_ERR_ARGUMENT);
    assert_int_equal(
        stls_verdict_key(key, open_policy, in.anchors, in.role, LEAF_NAME, 15, in.certs),
        STLS_ERR_ARGUMENT);
    assert_int_equal(
        stls_verdict_key(key, in.policy, open_anchors, in.role, LEAF_NAME, 15, in.certs),
        STLS_ERR_ARGUMENT);
    assert_int_equal(stls_verdict_key(key, in.policy, in.anchors, in.role, nul_name,
                                      sizeof(nul_name) - 1, in.certs),
                     STLS_ERR_ARGUMENT);
    assert_int_equal(stls_verdict_key(key, in.policy, in.anchors, in.role, long_name,
                                      sizeof(long_name), in.certs),
                     STLS_ERR_ARGUMENT);
    sk_X509_free(empty);
    stls_anchors_free(open_anchors);
    stls_policy_free(open_policy);
}

/* More bytes than the usual certificate has, which take another way. */
static void key_covers_all_of_a_large_certificate(void **state)
{
    static char san[20000];
    unsigned char a[STLS_ID_LEN], b[STLS_ID_LEN];
    key_input in = usual_input();
    size_t used = 0;

    (void)state;
    for (int i = 0; i < 500; i++) {
        used += (size_t)snprintf(san + used, sizeof(san) - used, "DNS:name%03d.example.com,", i);
    }
    san[used - 1] = '\0';
    aid_cert spec = aid_leaf_spec();
    spec.san = san;
    X509 *large = aid_make_cert(&spec);
    assert_true(i2d_X509(large, NULL) > 8192);
    in.certs = aid_stack(large, NULL);
    make_key(a, &in);
    in.certs = aid_stack(aid_spoil_signature(large), NULL);
    make_key(b, &in);
    assert_memory_not_equal(a, b, STLS_ID_LEN);
}

static void staple_key_differs_where_the_staple_does(void **state)
{
    static const unsigned char staples[3][4] = {"abc", "abd", "ab"};
    unsigned char in[STLS_ID_LEN] = {1}, keys[5][STLS_ID_LEN], same[STLS_ID_LEN];

    (void)state;
    memcpy(keys[0], in, STLS_ID_LEN);
    assert_int_equal(stls_verdict_key_staple(keys[1], in, NULL, 0), STLS_OK);
    assert_int_equal(stls_verdict_key_staple(keys[2], in, staples[0], 3), STLS_OK);
    assert_int_equal(stls_verdict_key_staple(keys[3], in, staples[1], 3), STLS_OK);
    assert_int_equal(stls_verdict_key_staple(keys[4], in, staples[2], 2), STLS_OK);
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(keys[i], keys[j], STLS_ID_LEN);
        }
    }
    memcpy(same, in, STLS_ID_LEN);
    assert_int_equal(stls_verdict_key_staple(same, same, staples[0], 3), STLS_OK);
    assert_memory_equal(same, keys[2], STLS_ID_LEN);
    in[0] = 2;
    assert_int_equal(stls_verdict_key_staple(same, in, staples[0], 3), STLS_OK);
    assert_memory_not_equal(same, keys[2], STLS_ID_LEN);
    assert_int_equal(stls_verdict_key_staple(same, in, NULL, 3), STLS_ERR_ARGUMENT);
}

/* ---- cache ---------------------------------------------------------------- */

/* Accepted on fetched answers, valid for an hour, to be refreshed before. */
static stls_result *accepted(void)
{
    aid_case c = {.policy = "verdict_max_age_s=86400"};
    stls_result *result = aid_judge(&c);
    assert_result(result, STLS_ACCEPT, STLS_REASON_NONE);
    return result;
}

static stls_result *rejected(void)
{
    aid_case c = {.name = "other.example.com"};
    stls_result *result = aid_judge(&c);
    assert_result(result, STLS_REJECT, STLS_REASON_NAME_MISMATCH);
    return result;
}

static const unsigned char *key_of(unsigned char n)
{
    static unsigned char key[STLS_ID_LEN];
    memset(key, 0, sizeof(key));
    key[0] = n; /* all others equal: buckets are shared */
    key[STLS_ID_LEN - 1] = n;
    return key;
}

static stls_verdict_cache *new_cache(size_t max_entries)
{
    stls_verdict_cache *cache = stls_verdict_cache_new(max_entries, NULL);
    assert_non_null(cache);
    return cache;
}

static void put(stls_verdict_cache *cache, unsigned char n, stls_result *result)
{
    assert_int_equal(stls_verdict_cache_put(cache, key_of(n), result, NOW_S), STLS_OK);
}

static stls_result *get(stls_verdict_cache *cache, unsigned char n)
{
    return stls_verdict_cache_get0(cache, key_of(n), NOW_S);
}

static void cache_gives_back_what_was_put(void **state)
{
    stls_verdict_cache *cache = new_cache(8);
    stls_result *yes = accepted(), *no = rejected();

    (void)state;
    assert_null(get(cache, 1));
    put(cache, 1, yes);
    put(cache, 2, no);
    assert_ptr_equal(get(cache, 1), yes);
    assert_ptr_equal(get(cache, 2), no);
    assert_null(get(cache, 3));
    assert_int_equal(stls_verdict_cache_count(cache), 2);
    stls_verdict_cache_free(cache);
}

static void cache_replaces(void **state)
{
    stls_verdict_cache *cache = new_cache(1);
    stls_result *yes = accepted(), *no = rejected();

    (void)state;
    put(cache, 1, yes);
    put(cache, 1, no);
    assert_ptr_equal(get(cache, 1), no);
    put(cache, 1, get(cache, 1)); /* what was lent may come back */
    assert_ptr_equal(get(cache, 1), no);
    assert_int_equal(stls_verdict_cache_count(cache), 1);
    stls_verdict_cache_free(cache);
}

static void cache_keeps_results_alive(void **state)
{
    aid_case c = {0};
    size_t num_fetches;
    stls_verdict_cache *cache = new_cache(8);
    stls_check *check = aid_new_check(&c, NULL);

    (void)state;
    aid_finish(&c, check, &num_fetches);
    stls_result *result = stls_check_get1_result(check);
    stls_check_free(check);
    put(cache, 1, result);
    stls_result_free(result);
    stls_result *kept = stls_result_up_ref(get(cache, 1));
    stls_verdict_cache_free(cache);
    assert_int_equal(stls_result_verdict(kept), STLS_ACCEPT);
    stls_result_free(kept);
}

static void cache_drops_the_least_recently_used(void **state)
{
    stls_verdict_cache *cache = new_cache(3);
    stls_result *yes = accepted();

    (void)state;
    put(cache, 1, yes);
    put(cache, 2, yes);
    put(cache, 3, yes);
    assert_non_null(get(cache, 1));
    put(cache, 4, yes); /* 2 goes */
    assert_int_equal(stls_verdict_cache_count(cache), 3);
    assert_null(get(cache, 2));
    assert_non_null(get(cache, 3));
    put(cache, 5, yes); /* 1 goes */
    assert_null(get(cache, 1));
    assert_non_null(get(cache, 3));
    assert_non_null(get(cache, 4));
    assert_non_null(get(cache, 5));
    put(cache, 3, yes); /* putting is using */
    put(cache, 6, yes);
    assert_null(get(cache, 4));
    assert_non_null(get(cache, 3));
    stls_verdict_cache_free(cache);
}

static void cache_stays_within_its_bound(void **state)
{
    static const size_t bounds[] = {1, 2, 3, 7, 64};
    stls_result *yes = accepted();

    (void)state;
    for (size_t b = 0; b < sizeof(bounds) / sizeof(bounds[0]); b++) {
        aid_heap heap = {0};
        stls_allocator allocator = aid_allocator(&heap);
        stls_verdict_cache *cache = stls_verdict_cache_new(bounds[b], &allocator);
        assert_non_null(cache);
        for (int i = 0; i < 256; i++) {
            put(cache, (unsigned char)i, yes);
            assert_true(stls_verdict_cache_count(cache) <= bounds[b]);
            assert_ptr_equal(get(cache, (unsigned char)i), yes);
        }
        assert_int_equal(stls_verdict_cache_count(cache), bounds[b]);
        assert_int_equal(heap.num_live, bounds[b] + 2);
        stls_verdict_cache_free(cache);
        assert_int_equal(heap.num_live, 0);
    }
}

static void cache_of_nothing_stores_nothing(void **state)
{
    stls_verdict_cache *cache = new_cache(0);
    (void)state;
    put(cache, 1, accepted());
    assert_null(get(cache, 1));
    stls_verdict_cache_free(cache);
}

static void cache_forgets_what_has_expired(void **state)
{
    stls_verdict_cache *cache = new_cache(8);
    stls_result *yes = accepted();
    int64_t until_s = stls_result_valid_until_s(yes);

    (void)state;
    put(cache, 1, yes);
    assert_ptr_equal(stls_verdict_cache_get0(cache, key_of(1), until_s), yes);
    assert_null(stls_verdict_cache_get0(cache, key_of(1), until_s + 1));
    assert_int_equal(stls_verdict_cache_count(cache), 0);
    assert_null(get(cache, 1));
    stls_verdict_cache_free(cache);
}

/* A newer verdict that may not be stored still makes the older one outdated. */
static void cache_does_not_store_what_has_expired(void **state)
{
    stls_verdict_cache *cache = new_cache(8);
    stls_result *yes = accepted(), *no = rejected();
    int64_t past_s = stls_result_valid_until_s(no) + 1;

    (void)state;
    put(cache, 1, yes);
    assert_int_equal(stls_verdict_cache_put(cache, key_of(1), no, past_s), STLS_OK);
    assert_null(stls_verdict_cache_get0(cache, key_of(1), past_s));
    assert_int_equal(stls_verdict_cache_count(cache), 0);
    stls_verdict_cache_free(cache);
}

/* For hosts that judge trust in one callback and revocation in another. */
static void cache_keeps_trust_phase_results(void **state)
{
    aid_case c = {0};
    stls_verdict_cache *cache = new_cache(8);
    stls_check *check = aid_new_check(&c, NULL);

    (void)state;
    assert_int_equal(stls_check_trust(check, NOW_S), STLS_PENDING);
    stls_result *trusted = stls_check_get1_result(check);
    assert_non_null(trusted);
    put(cache, 1, trusted);
    assert_ptr_equal(get(cache, 1), trusted);
    assert_int_equal(stls_result_verdict(get(cache, 1)), STLS_PENDING);
    stls_result_free(trusted);
    stls_check_free(check);
    stls_verdict_cache_free(cache);
}

/* A clock that is set back makes no verdict live longer than verdict_max_age_s. */
static void clock_that_is_set_back(void **state)
{
    static const int64_t back_s[] = {1, 3600, 30 * DAY_S};
    stls_verdict_cache *cache = new_cache(4);
    (void)state;
    for (size_t i = 0; i < sizeof(back_s) / sizeof(back_s[0]); i++) {
        put(cache, 1, accepted());
        assert_int_equal(stls_result_is_live(get(cache, 1), NOW_S), 1);
        assert_int_equal(stls_result_is_live(get(cache, 1), NOW_S - back_s[i]), 0);
        assert_null(stls_verdict_cache_get0(cache, key_of(1), NOW_S - back_s[i]));
        assert_null(get(cache, 1)); /* gone for good */
        assert_int_equal(stls_verdict_cache_count(cache), 0);
    }
    stls_verdict_cache_free(cache);
}

/* All that keeps a verdict asks the same two questions: its last second is in, and one margin. */
static void last_second_and_margin(void **state)
{
    static const struct {
        int64_t left_s;
        int is_live;
        int may_resume;
    } rows[] = {{STLS_SESSION_MARGIN_S + 1, 1, 1},
                {STLS_SESSION_MARGIN_S, 1, 1},
                {STLS_SESSION_MARGIN_S - 1, 1, 0},
                {1, 1, 0},
                {0, 1, 0},
                {-1, 0, 0}};
    stls_result *result = accepted();
    int64_t until_s = stls_result_valid_until_s(result);
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(stls_result_is_live(result, until_s - rows[i].left_s), rows[i].is_live);
        assert_int_equal(stls_result_may_resume(result, until_s - rows[i].left_s),
                         rows[i].may_resume);
    }
    assert_int_equal(stls_result_may_resume(result, NOW_S), 1);
    assert_int_equal(stls_result_may_resume(result, NOW_S - 1), 0); /* a clock set back */
}

static void cache_refuses_no_result(void **state)
{
    stls_verdict_cache *cache = new_cache(8);
    (void)state;
    assert_int_equal(stls_verdict_cache_put(cache, key_of(1), NULL, NOW_S), STLS_ERR_ARGUMENT);
    assert_int_equal(stls_verdict_cache_count(cache), 0);
    stls_verdict_cache_free(cache);
}

static void refresh_is_started_by_one_caller(void **state)
{
    stls_verdict_cache *cache = new_cache(8);
    stls_result *yes = accepted();
    int64_t due_s = stls_result_refresh_at_s(yes);

    (void)state;
    assert_true(due_s > NOW_S && due_s < stls_result_valid_until_s(yes));
    put(cache, 1, yes);
    assert_false(stls_verdict_cache_refresh_due(cache, key_of(1), due_s - 1, due_s + 29));
    assert_true(stls_verdict_cache_refresh_due(cache, key_of(1), due_s, due_s + 30));
    assert_false(stls_verdict_cache_refresh_due(cache, key_of(1), due_s, due_s + 30));
    assert_false(stls_verdict_cache_refresh_due(cache, key_of(1), due_s + 29, due_s + 60));
    assert_true(stls_verdict_cache_refresh_due(cache, key_of(1), due_s + 30, due_s + 60));
    assert_false(stls_verdict_cache_refresh_due(cache, key_of(2), due_s, due_s + 30));
    put(cache, 1, yes); /* begins anew */
    assert_true(stls_verdict_cache_refresh_due(cache, key_of(1), due_s, due_s + 30));
    stls_verdict_cache_free(cache);
}

static void refresh_that_failed_is_deferred(void **state)
{
    stls_verdict_cache *cache = new_cache(8);
    stls_result *yes = accepted();
    int64_t due_s = stls_result_refresh_at_s(yes);

    (void)state;
    put(cache, 1, yes);
    stls_verdict_cache_defer_refresh(cache, key_of(1), due_s + 30);
    stls_verdict_cache_defer_refresh(cache, key_of(1), due_s + 10); /* never earlier again */
    stls_verdict_cache_defer_refresh(cache, key_of(2), due_s + 30);
    assert_false(stls_verdict_cache_refresh_due(cache, key_of(1), due_s + 29, due_s + 60));
    assert_true(stls_verdict_cache_refresh_due(cache, key_of(1), due_s + 30, due_s + 60));
    stls_verdict_cache_free(cache);
}

static void refresh_is_not_due_for_the_dead(void **state)
{
    stls_verdict_cache *cache = new_cache(8);
    stls_result *yes = accepted(), *no = rejected();
    int64_t until_s = stls_result_valid_until_s(yes);

    (void)state;
    put(cache, 1, yes);
    put(cache, 2, no);
    assert_false(stls_verdict_cache_refresh_due(cache, key_of(1), until_s + 1, until_s + 31));
    assert_false(
        stls_verdict_cache_refresh_due(cache, key_of(2), stls_result_valid_until_s(no), until_s));
    stls_verdict_cache_free(cache);
}

static void trap_25_newer_answer_drops_what_rests_on_the_older(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert other_spec = aid_leaf_spec();
    stls_verdict_cache *cache = new_cache(8);
    size_t num;

    (void)state;
    aid_case c = {.certs = aid_stack(aid_make_cert(&other_spec), pki->inter, NULL)};
    stls_result *yes = accepted(), *other = aid_judge(&c);
    assert_result(other, STLS_ACCEPT, STLS_REASON_NONE);

    unsigned char leaf_question[STLS_ID_LEN], inter_question[STLS_ID_LEN];
    const unsigned char *questions = stls_result_get0_questions(yes, &num);
    assert_int_equal(num, 2);
    memcpy(leaf_question, questions, STLS_ID_LEN);
    memcpy(inter_question, questions + STLS_ID_LEN, STLS_ID_LEN);

    put(cache, 1, yes);
    put(cache, 2, other);
    put(cache, 3, yes);
    assert_int_equal(stls_verdict_cache_drop_question(cache, key_of(9)), 0);
    assert_int_equal(stls_verdict_cache_drop_question(cache, leaf_question), 2);
    assert_null(get(cache, 1));
    assert_ptr_equal(get(cache, 2), other);
    assert_null(get(cache, 3));
    put(cache, 1, yes);
    put(cache, 4, rejected()); /* rests on no question */
    assert_int_equal(stls_verdict_cache_drop_question(cache, inter_question), 2);
    assert_int_equal(stls_verdict_cache_count(cache), 1);
    stls_verdict_cache_free(cache);
}

static void clear_empties(void **state)
{
    stls_verdict_cache *cache = new_cache(8);
    stls_result *yes = accepted();

    (void)state;
    for (unsigned char i = 0; i < 20; i++) {
        put(cache, i, yes);
    }
    stls_verdict_cache_clear(cache);
    assert_int_equal(stls_verdict_cache_count(cache), 0);
    assert_null(get(cache, 19));
    put(cache, 1, yes);
    assert_non_null(get(cache, 1));
    stls_verdict_cache_free(cache);
    stls_verdict_cache_free(NULL);
}

static void each_allocation_may_fail(void **state)
{
    stls_result *yes = accepted();

    (void)state;
    for (size_t fail_at = 1; fail_at <= 6; fail_at++) {
        aid_heap heap = {.fail_at = fail_at};
        stls_allocator allocator = aid_allocator(&heap);
        stls_verdict_cache *cache = stls_verdict_cache_new(2, &allocator);
        if (fail_at <= 2) {
            assert_null(cache);
            assert_int_equal(heap.num_live, 0);
            continue;
        }
        for (unsigned char i = 0; i < 4; i++) {
            int fails = heap.num_allocs + 1 == fail_at;
            assert_int_equal(stls_verdict_cache_put(cache, key_of(i), yes, NOW_S),
                             fails ? STLS_ERR_MEMORY : STLS_OK);
            assert_ptr_equal(get(cache, i), fails ? NULL : yes);
        }
        stls_verdict_cache_free(cache);
        assert_int_equal(heap.num_live, 0);
    }
    assert_null(stls_verdict_cache_new(SIZE_MAX, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_differs_where_any_field_does),
        cmocka_unit_test(key_is_the_same_where_names_mean_the_same),
        cmocka_unit_test(key_is_the_same_for_equal_contents),
        cmocka_unit_test(key_is_refused_where_nothing_can_be_reused),
        cmocka_unit_test(key_covers_all_of_a_large_certificate),
        cmocka_unit_test(staple_key_differs_where_the_staple_does),
        cmocka_unit_test(cache_gives_back_what_was_put),
        cmocka_unit_test(cache_replaces),
        cmocka_unit_test(cache_keeps_results_alive),
        cmocka_unit_test(cache_drops_the_least_recently_used),
        cmocka_unit_test(cache_stays_within_its_bound),
        cmocka_unit_test(cache_of_nothing_stores_nothing),
        cmocka_unit_test(cache_forgets_what_has_expired),
        cmocka_unit_test(cache_does_not_store_what_has_expired),
        cmocka_unit_test(cache_keeps_trust_phase_results),
        cmocka_unit_test(clock_that_is_set_back),
        cmocka_unit_test(last_second_and_margin),
        cmocka_unit_test(cache_refuses_no_result),
        cmocka_unit_test(refresh_is_started_by_one_caller),
        cmocka_unit_test(refresh_that_failed_is_deferred),
        cmocka_unit_test(refresh_is_not_due_for_the_dead),
        cmocka_unit_test(trap_25_newer_answer_drops_what_rests_on_the_older),
        cmocka_unit_test(clear_empties),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("verdict_cache", tests, NULL, aid_end);
}
