#include "support.h"

static void words(void **state)
{
    static const struct {
        const char *policy, *name;
        stls_verdict verdict;
        const char *word;
        stls_reason reason;
    } rows[] = {
        {"", LEAF_NAME, STLS_ACCEPT, "accept", STLS_REASON_NONE},
        {"", "other.example.com", STLS_REJECT, "reject", STLS_REASON_NAME_MISMATCH},
        {"mode=report", LEAF_NAME, STLS_ACCEPT, "accept", STLS_REASON_NONE},
        {"mode=report", "other.example.com", STLS_ACCEPT, "would_reject",
         STLS_REASON_NAME_MISMATCH},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = rows[i].policy, .name = rows[i].name};
        stls_result *result = aid_judge(&c);
        assert_int_equal(stls_result_verdict(result), rows[i].verdict);
        assert_string_equal(stls_result_word(result), rows[i].word);
        assert_int_equal(stls_result_reason(result), rows[i].reason);
    }
}

/* As the log line has them, without its quotes and escapes. */
static void detail_and_remedy(void **state)
{
    char line[4096];
    aid_case wrong = {.name = "other.example.com"}, right = {0};
    stls_result *result = aid_judge(&wrong);

    (void)state;
    (void)stls_result_log_line(result, NULL, line, sizeof(line));
    assert_true(stls_result_get0_detail(result)[0] != '\0');
    assert_non_null(strstr(line, stls_result_get0_remedy(result)));
    assert_true(strlen(stls_result_get0_remedy(result)) > 10);
    assert_int_equal(stls_result_cert_index(result), 0);
    result = aid_judge(&right);
    assert_string_equal(stls_result_get0_detail(result), "");
    assert_string_equal(stls_result_get0_remedy(result), "");
    assert_int_equal(stls_result_cert_index(result), -1);
    assert_string_equal(strict_tls_version(), STLS_VERSION);
}

/* A picture taken after trust does not change with what comes later. */
static void snapshot_is_immutable(void **state)
{
    aid_case c = {0};
    size_t num_fetches, len, num;
    stls_check *check = aid_new_check(&c, NULL);

    (void)state;
    stls_check_trust(check, NOW_S);
    stls_result *trusted = stls_check_get1_result(check);
    assert_int_equal(aid_finish(&c, check, &num_fetches), STLS_ACCEPT);
    stls_result *final = stls_check_get1_result(check);
    stls_check_free(check);

    assert_int_equal(stls_result_verdict(trusted), STLS_PENDING);
    assert_string_equal(stls_result_word(trusted), "pending");
    assert_int_equal(stls_result_reason(trusted), STLS_REASON_NONE);
    assert_non_null(strstr(stls_result_get0_report(trusted, &len), "\"pending\""));
    stls_result_get0_questions(trusted, &num);
    assert_int_equal(num, 0);
    assert_int_equal(stls_result_verdict(final), STLS_ACCEPT);
    stls_result_get0_questions(final, &num);
    assert_int_equal(num, 2);
    stls_result_free(trusted);
    stls_result_free(final);
}

static void no_result_while_answers_are_open(void **state)
{
    aid_case c = {0};
    stls_check *check = aid_new_check(&c, NULL);
    (void)state;
    assert_null(stls_check_get1_result(check));
    stls_check_start(check, NOW_S);
    assert_null(stls_check_get1_result(check));
    stls_check_free(check);
}

static void references_are_counted(void **state)
{
    aid_heap heap = {0};
    stls_allocator allocator = aid_allocator(&heap);
    stls_policy *policy = stls_policy_new(&allocator);
    (void)state;
    assert_int_equal(stls_policy_freeze(policy, NULL), STLS_OK);
    stls_check *check = stls_check_new(policy, aid_usual_anchors(), STLS_ROLE_SERVER);
    stls_policy_free(policy);
    stls_check_start(check, NOW_S);
    stls_result *result = stls_check_get1_result(check);
    stls_check_free(check);
    assert_ptr_equal(stls_result_up_ref(result), result);
    stls_result_free(result);
    assert_int_equal(stls_result_reason(result), STLS_REASON_CHAIN_INCOMPLETE);
    assert_true(heap.num_live > 0);
    stls_result_free(result);
    assert_int_equal(heap.num_live, 0);
    stls_result_free(NULL);
    assert_null(stls_result_up_ref(NULL));
}

/* The reason table and what derives from it. */
static void reasons(void **state)
{
    size_t num;
    const stls_reason_info *rows = stls_reasons(&num);
    (void)state;
    assert_true(num > 30);
    for (size_t i = 0; i < num; i++) {
        assert_ptr_equal(stls_reason_get0(rows[i].reason), &rows[i]);
        assert_string_equal(stls_reason_id(rows[i].reason), rows[i].id);
        assert_true(rows[i].x509_err != X509_V_OK);
        assert_non_null(strchr(rows[i].id, '.'));
        for (size_t j = 0; j < i; j++) {
            assert_true(rows[i].reason > rows[j].reason || strcmp(rows[i].id, rows[j].id) != 0);
            assert_string_not_equal(rows[i].id, rows[j].id);
            assert_true(rows[i].rank != rows[j].rank);
        }
    }
    assert_null(stls_reason_get0(STLS_REASON_NONE));
    assert_null(stls_reason_get0((stls_reason)12345));
    assert_string_equal(stls_reason_id(STLS_REASON_NONE), "none");
    assert_string_equal(stls_reason_id((stls_reason)12345), "internal.error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(detail_and_remedy),
        cmocka_unit_test(snapshot_is_immutable),
        cmocka_unit_test(no_result_while_answers_are_open),
        cmocka_unit_test(references_are_counted),
        cmocka_unit_test(reasons),
    };
    return cmocka_run_group_tests_name("result", tests, NULL, aid_end);
}
