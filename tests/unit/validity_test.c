/* How long verdicts serve, and when to ask again. */
#include "support.h"

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
        cmocka_unit_test(time_passes_between_calls),
    };
    return cmocka_run_group_tests_name("validity", tests, NULL, aid_end);
}
