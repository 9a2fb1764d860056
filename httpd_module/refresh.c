/*
 * A check that waits for answers, in the thread of a request or, ahead of
 * time, in one of a few of the module's own.
 */
#include "mod_strict_tls.h"

#include <apr_optional.h>
#include <mod_watchdog.h>

#define MAX_OPEN 64
#define MAX_QUEUED 256
#define MAX_THREADS 16 /* checks ahead of time that are under way at once */

typedef struct {
    mst_flight *flight;
    uint32_t id;
    unsigned char flight_id[STLS_ID_LEN];
    unsigned char question[STLS_ID_LEN];
} open_question;

static apr_time_t now(void)
{
    return apr_time_sec(apr_time_now());
}

/* ---- running a check ---------------------------------------------------------------------- */

/* A check on its way. */
typedef struct {
    mst_runtime *rt;
    stls_check *check;
    int is_refresh;
    mst_outcome *outcome;
    apr_pool_t *pool;
} run;

/*
 * An answer of the network has been judged: what is remembered of it.  What
 * settled nothing is so only once, or nobody would ever ask again.  1: it is
 * stored by this check.
 */
static int keep(run *r, const open_question *q, int is_new, const stls_reply *reply, stls_crl *crl)
{
    stls_answer answer = {0};

    if (stls_check_get_answer(r->check, q->id, &answer) != STLS_OK) {
        return 0;
    }
    if (!answer.conclusive) {
        if (is_new && reply->outcome != STLS_FETCH_LOCAL && (crl != NULL || !r->rt->nonce)
            && (q->flight == NULL || mst_flight_keep(q->flight, MST_KEPT_FAILURE))) {
            mst_failure_put(q->flight_id, answer.retry_at_s, reply, crl, r->rt->crl_memory);
            return 1;
        }
        return 0;
    }
    if (q->flight != NULL && !mst_flight_keep(q->flight, MST_KEPT_ANSWER)) {
        return 0;
    }
    mst_failure_drop(q->flight_id);
    if (crl != NULL) {
        mst_crl_put(q->question, crl, &answer, r->rt->crl_memory);
        r->outcome->num_news += (apr_uint32_t) mst_news_crl(q->question, crl, answer.use_until_s);
    }
    else if (!mst_cache_put(q->question, &answer, reply->bytes, reply->bytes_len)) {
        r->outcome->is_outdated = !answer.revoked;
    }
    return 1;
}

/*
 * What the network has brought, just now (`is_new`) or a moment ago; of two CRLs the newer counts.
 * 1: it is stored by this check.
 */
static int feed_answer(run *r, const open_question *q, int is_new, const stls_reply *reply,
                       stls_crl *crl)
{
    stls_crl *newer = crl ? mst_crl_newer1(q->question, crl) : NULL;

    if (newer != NULL) {
        mst_crl_drop_candidate(q->question);
        (void) stls_check_feed_crl(r->check, q->id, newer, 0, now());
        stls_crl_free(newer);
        return 1;
    }
    if (crl != NULL) {
        (void) stls_check_feed_crl(r->check, q->id, crl, 0, now());
    }
    else {
        (void) stls_check_feed(r->check, q->id, reply, now());
    }
    return keep(r, q, is_new, reply, crl);
}

/* What is not trusted was refused: it does not stay. */
static void feed_cached(run *r, const open_question *q, unsigned char *der, apr_size_t len)
{
    stls_reply reply = {0};
    stls_answer answer = {0};

    mst_count(MST_ANSWER_HITS);
    reply.outcome = STLS_FETCH_CACHED;
    reply.bytes = der;
    reply.bytes_len = len;
    (void) stls_check_feed(r->check, q->id, &reply, now());
    if (stls_check_get_answer(r->check, q->id, &answer) == STLS_OK && !answer.conclusive
        && answer.use_until_s == 0) {
        mst_cache_remove(q->question);
    }
}

/* What was known of it is fed at once; 1 when there was something. */
static int feed_known(run *r, const stls_fetch *want, const open_question *q)
{
    stls_reply reply = {0};
    stls_crl *crl = NULL;
    unsigned char *der;
    apr_size_t len;
    int is_candidate;

    if (r->rt->nonce && !want->is_crl) {
        return 0;
    }
    if (want->may_use_cache && want->is_crl) {
        crl = mst_crl_get1(want->question, r->is_refresh, &is_candidate);
        if (crl != NULL) {
            mst_count(MST_ANSWER_HITS);
            if (is_candidate) {
                reply.outcome = STLS_FETCH_OK;
                (void) feed_answer(r, q, 1, &reply, crl);
                mst_crl_drop_candidate(want->question);
            }
            else {
                (void) stls_check_feed_crl(r->check, want->id, crl, 1, now());
            }
            stls_crl_free(crl);
            return 1;
        }
    }
    else if (want->may_use_cache
             && mst_cache_get(want->question, want->max_reply_bytes, r->is_refresh, r->pool, &der,
                              &len)) {
        feed_cached(r, q, der, len);
        return 1;
    }
    if (mst_failure_get(q->flight_id, now(), r->pool, &reply, &crl)) {
        (void) feed_answer(r, q, 0, &reply, crl);
        stls_crl_free(crl);
        return 1;
    }
    return 0;
}

/* Each check judges for itself what a flight has brought. */
static void feed_landed(run *r, open_question *q)
{
    stls_reply reply;
    stls_crl *crl = mst_flight_get0(q->flight, &reply);

    if (feed_answer(r, q, 1, &reply, crl)) {
        mst_flight_settled(q->flight);
    }
    mst_flight_leave(q->flight);
}

/* This process cannot ask, which says nothing about anybody. */
static void feed_local(run *r, uint32_t id, const char *why)
{
    stls_reply reply = {0};

    reply.outcome = STLS_FETCH_LOCAL;
    reply.detail = why;
    (void) stls_check_feed(r->check, id, &reply, now());
}

/* Hands out what the core wants to know; the number of questions open afterwards. */
static int ask(run *r, open_question *open, int num)
{
    stls_fetch want;

    while (stls_check_verdict(r->check) == STLS_PENDING && num < MAX_OPEN
           && stls_check_next_fetch(r->check, &want)) {
        open_question *q = &open[num];
        int look_again = 1, is_known = 0;

        memset(q, 0, sizeof(*q));
        q->id = want.id;
        memcpy(q->question, want.question, STLS_ID_LEN);
        mst_flight_id(r->rt, &want, q->flight_id);
        while (look_again && !is_known) {
            apr_uint32_t settled = mst_flights_settled();

            is_known = feed_known(r, &want, q);
            if (!is_known) {
                q->flight = mst_flight_join(r->rt, &want, q->flight_id, settled, &look_again);
            }
        }
        if (q->flight != NULL) {
            num++;
        }
        else if (!is_known) {
            feed_local(r, want.id, "out of memory");
        }
    }
    return num;
}

/*
 * The total time is over.  What had all of its own time is remembered as a
 * failure, or each handshake would wait as long again; the rest goes on in the
 * background, and says nothing about a check that has more time.
 */
static void give_up(run *r, const open_question *open, int num)
{
    stls_reply reply = {0};
    char detail[64];
    int i;

    apr_snprintf(detail, sizeof(detail), "no answer within %d ms",
                 (int) apr_time_as_msec(r->rt->fetch_total));
    reply.outcome = STLS_FETCH_TIMEOUT;
    reply.detail = detail;
    for (i = 0; i < num; i++) {
        switch (mst_flight_give_up(open[i].flight)) {
        case MST_HAD_NO_PLACE:
            feed_local(r, open[i].id,
                       "too many fetches are in flight already (max_fetches_in_flight)");
            break;
        case MST_HAD_ITS_TIME:
            if (!r->rt->nonce && mst_flight_keep(open[i].flight, MST_KEPT_FAILURE)) {
                mst_failure_put(open[i].flight_id, now() + r->rt->negative_ttl_s, &reply, NULL, 0);
            }
            break;
        default:
            break;
        }
    }
}

stls_verdict mst_run_check(mst_runtime *rt, stls_check *check, int is_refresh,
                           apr_time_t deadline, mst_outcome *outcome)
{
    run r = {rt, check, is_refresh, outcome, NULL};
    open_question open[MAX_OPEN];
    mst_flight *flights[MAX_OPEN];
    int num = 0, i, which;

    memset(outcome, 0, sizeof(*outcome));
    mst_catch_up();
    apr_pool_create_unmanaged(&r.pool);
    (void) stls_check_start(check, now());
    while (stls_check_verdict(check) == STLS_PENDING) {
        num = ask(&r, open, num);
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
        if (is_refresh) { /* in a thread of the module's own: the process may end meanwhile */
            mst_thread_pause();
        }
        which = mst_flight_wait(flights, num, deadline);
        if (is_refresh) {
            mst_thread_resume();
        }
        if (which < 0) {
            give_up(&r, open, num);
            (void) stls_check_expire(check, now());
            break;
        }
        feed_landed(&r, &open[which]);
        open[which] = open[--num];
    }
    for (i = 0; i < num; i++) {
        mst_flight_leave(open[i].flight);
    }
    ERR_clear_error();
    apr_pool_destroy(r.pool);
    return stls_check_verdict(check);
}

/* ---- ahead of time ---------------------------------------------------------------------------- */

/* A peer's verdict that is renewed or, where `certs` is NULL, a look at a chain of our own. */
typedef struct task {
    struct task *next;
    int own;
    mst_runtime *rt;
    char *name;
    STACK_OF(X509) *certs;
    unsigned char *staples;
    apr_size_t staples_len;
    stls_crl_file *crl_file; /* the administrator's, which is part of the key */
    unsigned char key[STLS_ID_LEN];
} task;

static int has_watchdog;
static apr_thread_mutex_t *mutex;
static task *first, **last = &first;
static int num_queued, num_threads;

static void free_task(task *t)
{
    if (t == NULL) {
        return;
    }
    sk_X509_pop_free(t->certs, X509_free);
    OPENSSL_free(t->staples);
    stls_crl_file_free(t->crl_file);
    free(t->name);
    free(t);
}

/* Under the mutex; there is room. */
static void put_in_queue(task *t)
{
    num_queued++;
    *last = t;
    last = &t->next;
}

/* Past half its life an answer is asked for again while the old one serves. */
void mst_refresh(mst_conn *conn, const stls_result *result, const mst_basis *basis)
{
    apr_time_t now_s = now();
    task *t;

    if (!has_watchdog || !basis->has_key || conn->certs == NULL
        || now_s < stls_result_refresh_at_s(result)
        || !mst_verdict_refresh_due(basis->key, now_s, now_s + 1 + conn->rt->negative_ttl_s)) {
        return;
    }
    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return;
    }
    t->rt = conn->rt;
    memcpy(t->key, basis->key, STLS_ID_LEN);
    t->crl_file = stls_crl_file_up_ref(basis->crl_file);
    t->certs = X509_chain_up_ref(conn->certs);
    t->name = conn->name ? strdup(conn->name) : NULL;
    if (conn->staples != NULL) {
        t->staples = OPENSSL_memdup(conn->staples, conn->staples_len);
        t->staples_len = t->staples ? conn->staples_len : 0;
    }
    apr_thread_mutex_lock(mutex);
    if (num_queued < MAX_QUEUED && t->certs != NULL) {
        put_in_queue(t);
        t = NULL;
    }
    apr_thread_mutex_unlock(mutex);
    free_task(t);
}

/* One chain of our own, if it is its time. */
static void look_at_own(void)
{
    task *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        return;
    }
    apr_thread_mutex_lock(mutex);
    if (num_queued < MAX_QUEUED && (t->own = mst_own_take_turn()) >= 0) {
        put_in_queue(t);
        t = NULL;
    }
    apr_thread_mutex_unlock(mutex);
    free_task(t);
}

static void renew(task *t)
{
    apr_uint32_t epoch = mst_epoch();
    stls_check *check = mst_crl_file_is_current(t->rt, t->crl_file)
        ? mst_new_check(t->rt, t->name, t->certs, t->crl_file) : NULL;
    stls_result *result;
    mst_outcome outcome;

    if (check == NULL) {
        return;
    }
    (void) stls_check_add_staples(check, t->staples, t->staples_len);
    mst_count(MST_REFRESHES);
    (void) mst_run_check(t->rt, check, 1, apr_time_now() + t->rt->fetch_total, &outcome);
    result = stls_check_get1_result(check);
    stls_check_free(check);
    if (result == NULL) {
        return;
    }
    if (mst_epoch() - epoch == outcome.num_news) {
        epoch += outcome.num_news; /* there is none but its own */
    }
    mst_news_of(result);
    /* one that learned nothing leaves the old verdict to its end */
    if (mst_says_revoked(result)
        || (!outcome.is_outdated && stls_result_reason(result) == STLS_REASON_NONE)) {
        mst_verdict_put(t->key, result, epoch, t->rt->negative_ttl_s, now());
    }
    stls_result_free(result);
}

/* The next one, or NULL: the thread that asks is then no longer counted. */
static task *take(void)
{
    task *t;

    apr_thread_mutex_lock(mutex);
    t = mst_is_stopping() ? NULL : first;
    if (t == NULL) {
        num_threads--;
    }
    else {
        num_queued--;
        first = t->next;
        if (first == NULL) {
            last = &first;
        }
    }
    apr_thread_mutex_unlock(mutex);
    return t;
}

static void *work(void *data)
{
    task *t;

    (void) data;
    while ((t = take()) != NULL) {
        if (t->certs != NULL) {
            renew(t);
        }
        else {
            mst_own_look(t->own);
        }
        free_task(t);
    }
    return NULL;
}

/* One for each task that waits; a thread that finds nothing to do ends. */
static void start_threads(void)
{
    int num_wanted;

    apr_thread_mutex_lock(mutex);
    num_wanted = MAX_THREADS - num_threads;
    if (num_wanted > num_queued) {
        num_wanted = num_queued;
    }
    num_threads += num_wanted;
    apr_thread_mutex_unlock(mutex);
    while (num_wanted > 0 && mst_start_thread(work, NULL)) {
        num_wanted--;
    }
    if (num_wanted > 0) {
        apr_thread_mutex_lock(mutex);
        num_threads -= num_wanted; /* the next tick tries again */
        apr_thread_mutex_unlock(mutex);
    }
}

/* Threads are started for what is queued, so that a responder that is silent holds up no other. */
static apr_status_t tick(int state, void *data, apr_pool_t *pool)
{
    (void) data;
    (void) pool;
    if (state != AP_WATCHDOG_STATE_RUNNING || mst_is_stopping()) {
        return APR_SUCCESS;
    }
    look_at_own();
    start_threads();
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

static apr_status_t stop(void *data)
{
    (void) data;
    mst_own_leave_turns();
    return APR_SUCCESS;
}

void mst_refresh_child_init(apr_pool_t *p)
{
    apr_pool_t *forever = NULL;

    /* threads may outlive every pool of httpd's */
    apr_pool_create_unmanaged(&forever);
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, forever);
    first = NULL;
    last = &first;
    num_queued = num_threads = 0;
    apr_pool_pre_cleanup_register(p, NULL, stop);
}
