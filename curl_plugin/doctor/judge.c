/* The strict verdict: the core decides, its questions are asked here, one after another. */
#include <string.h>
#include <time.h>

#include "doctor.h"
#include "fetch.h"

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t total_ms(const stls_policy *policy, const stls_fetch *fetch)
{
    return stls_policy_get_int(policy, fetch->is_crl ? STLS_KEY_CRL_FETCH_TOTAL_MS
                                                     : STLS_KEY_FETCH_TOTAL_MS);
}

static void ask(stls_check *check, const stls_policy *policy, int online)
{
    int64_t begun_ms = clock_ms();
    stls_fetch fetch;

    while (stls_check_verdict(check) == STLS_PENDING && stls_check_next_fetch(check, &fetch)) {
        doctor_answer answer;
        int64_t left_ms = total_ms(policy, &fetch) - (clock_ms() - begun_ms);
        if (!online) {
            const stls_reply refused = {STLS_FETCH_DENIED, NULL, 0, "offline"};
            stls_check_feed(check, fetch.id, &refused, time(NULL));
            continue;
        }
        if (left_ms <= 0) {
            break;
        }
        doctor_fetch(&answer, policy, &fetch,
                     left_ms < fetch.timeout_ms ? left_ms : fetch.timeout_ms);
        stls_check_feed(check, fetch.id, &answer.reply, time(NULL));
        doctor_answer_free(&answer);
    }
    if (stls_check_verdict(check) == STLS_PENDING) {
        stls_check_expire(check, time(NULL));
    }
}

stls_result *doctor_judge(const doctor_trust *trust, stls_role role,
                          const STACK_OF(X509) *certs, const char *name,
                          const unsigned char *staple, size_t staple_len, int online)
{
    stls_result *result = NULL;
    stls_check *check = stls_check_new(trust->policy, trust->anchors, role);

    if (check == NULL) {
        return NULL;
    }
    /* A failure inside a check makes its verdict a reject. */
    (void)stls_check_add_certs(check, certs);
    if (name != NULL) {
        (void)stls_check_set_name(check, name, strlen(name));
    }
    if (staple != NULL) {
        (void)stls_check_add_staple(check, 0, staple, staple_len);
    }
    if (stls_check_start(check, time(NULL)) == STLS_PENDING) {
        ask(check, trust->policy, online);
    }
    result = stls_check_get1_result(check);
    stls_check_free(check);
    return result;
}
