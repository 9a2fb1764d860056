#include "judge.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache.h"
#include "fetch.h"
#include "plugin.h"

#define FLIGHT_PAUSE_MS 10
#define FLIGHT_GRACE_MS 200 /* to write down that it failed */

static int64_t now_s(void)
{
    return (int64_t)time(NULL);
}

static int64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * What settles nothing is remembered for a while in the same cache, under the
 * key of the flight: a byte for the outcome, then the failure's detail, or the
 * answer.  That can only reject, or be verified like any other answer.
 */
#define NOTE_ANSWER 0

static void remember(const unsigned char flight[STLS_ID_LEN], const stls_curl_fetched *fetched,
                     int64_t until_s)
{
    int is_answer = fetched->outcome == STLS_FETCH_OK;
    const void *bytes = is_answer ? (const void *)fetched->bytes : fetched->detail;
    size_t len = is_answer ? fetched->bytes_len : strlen(fetched->detail);
    unsigned char *note = malloc(1 + len);

    if (note != NULL) {
        note[0] = is_answer ? NOTE_ANSWER : (unsigned char)-fetched->outcome;
        memcpy(note + 1, bytes, len);
        stls_curl_cache_put(flight, note, 1 + len, until_s);
        free(note);
    }
}

static int note_from_cache(stls_check *check, const stls_fetch *want,
                           const unsigned char flight[STLS_ID_LEN])
{
    unsigned char *note = NULL;
    size_t len = 0;
    char detail[sizeof(((stls_curl_fetched *)NULL)->detail)] = "";
    stls_reply reply = {.detail = detail};
    int known = 0;

    if (!stls_curl_cache_get(flight, &note, &len)) {
        return 0;
    }
    int outcome = len > 0 ? -(int)note[0] : 0;
    if (len > 1 && note[0] == NOTE_ANSWER) {
        reply.outcome = STLS_FETCH_OK;
        reply.bytes = note + 1;
        reply.bytes_len = len - 1;
        known = len - 1 <= want->max_reply_bytes;
    } else if (outcome <= STLS_FETCH_TIMEOUT && outcome >= STLS_FETCH_DENIED
               && len <= sizeof(detail)) {
        memcpy(detail, note + 1, len - 1);
        reply.outcome = (stls_fetch_outcome)outcome;
        known = 1;
    }
    if (known) {
        (void)stls_check_feed(check, want->id, &reply, now_s());
    }
    stls_curl_cache_release(note);
    return known;
}

static int answer_from_cache(stls_check *check, const stls_fetch *want)
{
    unsigned char *bytes = NULL;
    size_t len = 0;

    if (!want->may_use_cache || !stls_curl_cache_get(want->question, &bytes, &len)) {
        return 0;
    }
    stls_reply reply = {.outcome = STLS_FETCH_CACHED, .bytes = bytes, .bytes_len = len};
    (void)stls_check_feed(check, want->id, &reply, now_s());
    stls_curl_cache_release(bytes);
    return 1;
}

/* What was cut short by the time that this very check had left says nothing to others. */
static int is_cut_short(const stls_curl_fetched *fetched, const stls_fetch *want, long limit_ms)
{
    return fetched->outcome == STLS_FETCH_TIMEOUT && limit_ms < (long)want->timeout_ms;
}

static void answer_from_network(stls_check *check, const stls_policy *policy,
                                const stls_fetch *want, const unsigned char flight[STLS_ID_LEN],
                                long limit_ms)
{
    stls_curl_fetched fetched;
    stls_answer answer;

    stls_curl_fetch(want, policy, STLS_CURL_BODY_DER, limit_ms, &fetched);
    stls_reply reply = {.outcome = fetched.outcome,
                        .bytes = fetched.bytes,
                        .bytes_len = fetched.bytes_len,
                        .detail = fetched.detail};
    (void)stls_check_feed(check, want->id, &reply, now_s());
    if (stls_check_get_answer(check, want->id, &answer) == STLS_OK) {
        if (fetched.outcome == STLS_FETCH_OK && answer.conclusive) {
            stls_curl_cache_put(want->question, fetched.bytes, fetched.bytes_len,
                                answer.use_until_s);
        } else if (answer.retry_at_s > now_s() && !is_cut_short(&fetched, want, limit_ms)) {
            remember(flight, &fetched, answer.retry_at_s);
        }
    }
    stls_curl_fetched_free(&fetched);
}

/*
 * Somebody else may be asking this very question: its answer is waited for, and
 * for little longer than asking oneself would take. 1: answered; 0: ask, and
 * end `*lock` afterwards.
 */
static int answer_from_others(stls_check *check, const stls_fetch *want,
                              const unsigned char flight[STLS_ID_LEN], int64_t limit_ms, int *lock)
{
    const struct timespec pause = {0, FLIGHT_PAUSE_MS * 1000000L};
    int64_t until_ms = clock_ms()
                       + (limit_ms < (int64_t)want->timeout_ms ? limit_ms
                                                               : (int64_t)want->timeout_ms)
                       + FLIGHT_GRACE_MS;

    *lock = STLS_CURL_FLIGHT_NONE;
    if (!want->may_use_cache) {
        return 0; /* only an answer of one's own will do */
    }
    while ((*lock = stls_curl_flight_begin(flight)) == STLS_CURL_FLIGHT_TAKEN
           && clock_ms() < until_ms) {
        nanosleep(&pause, NULL);
        if (answer_from_cache(check, want) || note_from_cache(check, want, flight)) {
            return 1;
        }
    }
    /* It may have come between the first look and the lock. */
    if (*lock >= 0 && (answer_from_cache(check, want) || note_from_cache(check, want, flight))) {
        stls_curl_flight_end(*lock);
        return 1;
    }
    return 0;
}

stls_verdict stls_curl_judge(stls_check *check, const stls_policy *policy, stls_crl_file *crl_file)
{
    int64_t total_ms = stls_policy_get_int(policy, STLS_KEY_FETCH_TOTAL_MS);
    int64_t crl_ms = stls_policy_get_int(policy, STLS_KEY_CRL_FETCH_TOTAL_MS);
    int64_t began_ms = clock_ms();
    stls_fetch want;
    unsigned char flight[STLS_ID_LEN];
    int lock;

    (void)stls_check_set_crl_file(check, crl_file);
    (void)stls_check_start(check, now_s());
    while (stls_check_verdict(check) == STLS_PENDING) {
        if (!stls_check_next_fetch(check, &want)) {
            if (stls_check_verdict(check) == STLS_PENDING) {
                (void)stls_check_fail(check, STLS_REASON_INTERNAL_ERROR,
                                      "nothing is left to wait for", now_s());
            }
            break;
        }
        stls_curl_flight_of(&want, flight);
        if (answer_from_cache(check, &want) || note_from_cache(check, &want, flight)) {
            continue;
        }
        /* Nothing goes on in the background here, so a CRL has its own time. */
        int64_t left_ms = (want.is_crl ? crl_ms : total_ms) - (clock_ms() - began_ms);
        if (left_ms <= 0) {
            (void)stls_check_expire(check, now_s());
            break;
        }
        if (answer_from_others(check, &want, flight, left_ms, &lock)) {
            continue;
        }
        left_ms = (want.is_crl ? crl_ms : total_ms) - (clock_ms() - began_ms);
        answer_from_network(check, policy, &want, flight, (long)(left_ms > 1 ? left_ms : 1));
        stls_curl_flight_end(lock);
    }
    return stls_check_verdict(check);
}

stls_result *stls_curl_failed(const stls_policy *policy, stls_reason reason, const char *detail)
{
    stls_result *result = NULL;
    stls_anchors *anchors = stls_curl_no_anchors();
    stls_check *check = stls_check_new((stls_policy *)policy, anchors, STLS_ROLE_SERVER);

    stls_anchors_free(anchors);
    if (check != NULL) {
        (void)stls_check_fail(check, reason, detail, now_s());
        result = stls_check_get1_result(check);
        stls_check_free(check);
    }
    return result;
}
