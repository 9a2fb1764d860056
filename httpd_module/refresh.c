/*
 * A check that waits for answers, in the thread of a request or, ahead of
 * time, in mod_watchdog's.
 */
#include "mod_strict_tls.h"

#include <apr_optional.h>
#include <mod_watchdog.h>

#define MAX_OPEN 64
#define MAX_QUEUED 256

typedef struct {
    mst_flight *flight;
    uint32_t id;
    int is_crl;
    unsigned char flight_id[STLS_ID_LEN];
    unsigned char question[STLS_ID_LEN];
} open_question;

static apr_time_t now(void)
{
    return apr_time_sec(apr_time_now());
}

/* ---- running a check ---------------------------------------------------------------------- */

/* What was known of it is fed at once; 1 when there was something. */
static int feed_known(mst_runtime *rt, stls_check *check, const stls_fetch *want,
                      const unsigned char *flight_id, int is_refresh, apr_pool_t *pool)
{
    stls_reply reply = {0};
    stls_crl *crl = NULL;
    unsigned char *der;
    apr_size_t len;

    if (rt->nonce && !want->is_crl) {
        return 0;
    }
    if (want->may_use_cache && want->is_crl) {
        crl = mst_crl_get1(want->question, now(), is_refresh);
        if (crl != NULL) {
            mst_count(MST_ANSWER_HITS);
            (void) stls_check_feed_crl(check, want->id, crl, 1, now());
            stls_crl_free(crl);
            return 1;
        }
    }
    else if (want->may_use_cache
             && mst_cache_get(want->question, want->max_reply_bytes, is_refresh, pool, &der,
                              &len)) {
        mst_count(MST_ANSWER_HITS);
        reply.outcome = STLS_FETCH_CACHED;
        reply.bytes = der;
        reply.bytes_len = len;
        (void) stls_check_feed(check, want->id, &reply, now());
        return 1;
    }
    if (mst_failure_get(flight_id, now(), pool, &reply, &crl)) {
        if (crl != NULL) {
            (void) stls_check_feed_crl(check, want->id, crl, 0, now());
            stls_crl_free(crl);
        }
        else {
            (void) stls_check_feed(check, want->id, &reply, now());
        }
        return 1;
    }
    return 0;
}

/* What a flight brought is judged by each check for itself, and kept by one of them. */
static void feed_landed(mst_runtime *rt, stls_check *check, open_question *q)
{
    stls_answer answer = {0};
    stls_reply reply;
    stls_crl *crl = mst_flight_get0(q->flight, &reply);

    if (crl != NULL) {
        (void) stls_check_feed_crl(check, q->id, crl, 0, now());
    }
    else {
        (void) stls_check_feed(check, q->id, &reply, now());
    }
    if (stls_check_get_answer(check, q->id, &answer) == STLS_OK
        && mst_flight_claim(q->flight)) {
        if (!answer.conclusive) {
            if (crl != NULL || !rt->nonce) {
                mst_failure_put(q->flight_id, answer.retry_at_s, &reply, crl, rt->crl_memory);
            }
        }
        else if (crl != NULL) {
            mst_crl_put(q->question, crl, answer.use_until_s, answer.refresh_at_s,
                        rt->crl_memory);
        }
        else {
            mst_cache_put(q->question, &answer, reply.bytes, reply.bytes_len);
        }
        if (answer.conclusive && answer.revoked) {
            mst_announce_revocation(q->question);
        }
    }
    mst_flight_leave(q->flight);
}

/* Hands out what the core wants to know; the number of questions open afterwards. */
static int ask(mst_runtime *rt, stls_check *check, open_question *open, int num, int is_refresh,
               apr_pool_t *pool)
{
    stls_fetch want;

    while (stls_check_verdict(check) == STLS_PENDING && num < MAX_OPEN
           && stls_check_next_fetch(check, &want)) {
        open_question *q = &open[num];
        stls_reply reply;

        mst_flight_id(rt, &want, q->flight_id);
        if (feed_known(rt, check, &want, q->flight_id, is_refresh, pool)) {
            continue;
        }
        q->id = want.id;
        q->is_crl = want.is_crl;
        memcpy(q->question, want.question, STLS_ID_LEN);
        q->flight = mst_flight_join(rt, &want, q->flight_id, &reply);
        if (q->flight != NULL) {
            num++;
        }
        else {
            (void) stls_check_feed(check, want.id, &reply, now());
        }
    }
    return num;
}

/*
 * The total time is over.  What kept it waiting is remembered as if its own time were over, or
 * each handshake would wait as long again; a CRL goes on in the background.
 */
static void give_up(mst_runtime *rt, const open_question *open, int num)
{
    stls_reply reply = {0};
    char detail[64];
    int i;

    apr_snprintf(detail, sizeof(detail), "no answer within %d ms",
                 (int) apr_time_as_msec(rt->fetch_total));
    reply.outcome = STLS_FETCH_TIMEOUT;
    reply.detail = detail;
    for (i = 0; i < num && !rt->nonce; i++) {
        if (!open[i].is_crl) {
            mst_failure_put(open[i].flight_id, now() + rt->negative_ttl_s, &reply, NULL, 0);
        }
    }
}

stls_verdict mst_run_check(mst_runtime *rt, stls_check *check, int is_refresh)
{
    apr_time_t deadline = apr_time_now() + rt->fetch_total;
    open_question open[MAX_OPEN];
    mst_flight *flights[MAX_OPEN];
    apr_pool_t *pool = NULL;
    int num = 0, i, which;

    apr_pool_create_unmanaged(&pool);
    (void) stls_check_start(check, now());
    while (stls_check_verdict(check) == STLS_PENDING) {
        num = ask(rt, check, open, num, is_refresh, pool);
        if (stls_check_verdict(check) != STLS_PENDING) {
            break;
        }
        if (num == 0) {
            (void) stls_check_fail(check, STLS_REASON_INTERNAL_ERROR,
                                   "nothing is left to wait for", now());
            break;
        }
        for (i = 0; i < num; i++) {
            flights[i] = open[i].flight;
        }
        which = mst_flight_wait(flights, num, deadline);
        if (which < 0) {
            give_up(rt, open, num);
            (void) stls_check_expire(check, now());
            break;
        }
        feed_landed(rt, check, &open[which]);
        open[which] = open[--num];
    }
    for (i = 0; i < num; i++) {
        mst_flight_leave(open[i].flight);
    }
    ERR_clear_error();
    apr_pool_destroy(pool);
    return stls_check_verdict(check);
}

/* ---- ahead of time ---------------------------------------------------------------------------- */

typedef struct task {
    struct task *next;
    mst_runtime *rt;
    char *name;
    STACK_OF(X509) *certs;
    unsigned char *staples;
    apr_size_t staples_len;
    unsigned char key[STLS_ID_LEN];
} task;

static int has_watchdog;
static apr_thread_mutex_t *mutex;
static task *first, **last = &first;
static int num_queued;

static void free_task(task *t)
{
    sk_X509_pop_free(t->certs, X509_free);
    OPENSSL_free(t->staples);
    free(t->name);
    free(t);
}

/* Past half its life an answer is asked for again while the old one serves. */
void mst_refresh(mst_conn *conn, apr_time_t now_s)
{
    task *t;

    if (!has_watchdog || !conn->has_staple_key || conn->certs == NULL || conn->result == NULL
        || now_s < stls_result_refresh_at_s(conn->result)
        || !mst_verdict_refresh_due(conn->key, now_s, now_s + 1 + conn->rt->negative_ttl_s)) {
        return;
    }
    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return;
    }
    t->rt = conn->rt;
    memcpy(t->key, conn->key, STLS_ID_LEN);
    t->certs = X509_chain_up_ref(conn->certs);
    t->name = conn->name ? strdup(conn->name) : NULL;
    if (conn->staples != NULL) {
        t->staples = OPENSSL_memdup(conn->staples, conn->staples_len);
        t->staples_len = t->staples ? conn->staples_len : 0;
    }
    apr_thread_mutex_lock(mutex);
    if (num_queued < MAX_QUEUED && t->certs != NULL) {
        num_queued++;
        *last = t;
        last = &t->next;
        t = NULL;
    }
    apr_thread_mutex_unlock(mutex);
    if (t != NULL) {
        free_task(t);
    }
}

static void carry_out(task *t)
{
    apr_uint32_t epoch = mst_epoch();
    stls_check *check = mst_new_check(t->rt, t->name, t->certs);
    stls_result *result;
    stls_reason reason;

    if (check == NULL) {
        return;
    }
    (void) stls_check_add_staples(check, t->staples, t->staples_len);
    mst_count(MST_REFRESHES);
    (void) mst_run_check(t->rt, check, 1);
    result = stls_check_get1_result(check);
    stls_check_free(check);
    if (result == NULL) {
        return;
    }
    reason = stls_result_reason(result);
    /* one that learned nothing leaves the old verdict to its end */
    if (reason == STLS_REASON_NONE || reason == STLS_REASON_OCSP_REVOKED
        || reason == STLS_REASON_CRL_REVOKED) {
        mst_verdict_put(t->key, result, epoch, t->rt->negative_ttl_s, now());
    }
    stls_result_free(result);
}

static apr_status_t tick(int state, void *data, apr_pool_t *pool)
{
    task *t;

    (void) data;
    (void) pool;
    while (state == AP_WATCHDOG_STATE_RUNNING) {
        apr_thread_mutex_lock(mutex);
        t = first;
        if (t != NULL) {
            num_queued--;
            first = t->next;
            if (first == NULL) {
                last = &first;
            }
        }
        apr_thread_mutex_unlock(mutex);
        if (t == NULL) {
            break;
        }
        carry_out(t);
        free_task(t);
    }
    if (state == AP_WATCHDOG_STATE_RUNNING) {
        mst_own_tick();
    }
    return APR_SUCCESS;
}

void mst_refresh_post_config(apr_pool_t *pconf, server_rec *s)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get;
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *add;
    ap_watchdog_t *watchdog = NULL;

    get = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    add = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    has_watchdog = get != NULL && add != NULL
        && get(&watchdog, "_strict_tls_", 0, 0, pconf) == APR_SUCCESS
        && add(watchdog, apr_time_from_msec(250), NULL, tick) == APR_SUCCESS;
    if (!has_watchdog) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, s, STLSLOGNO(40)
                     "strict-tls: without mod_watchdog answers are renewed when they are needed, "
                     "not ahead of time");
    }
}

void mst_refresh_child_init(apr_pool_t *p)
{
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, p);
    first = NULL;
    last = &first;
    num_queued = 0;
}
