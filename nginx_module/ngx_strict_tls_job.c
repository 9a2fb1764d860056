/*
 * A check that waits for answers: hands out what the core wants to know,
 * bounds the total time, and keeps the result.  It belongs to a handshake, to
 * whoever has set a handler, or to nobody: a background refresh, or a handshake
 * whose client went away.
 */

#include "ngx_strict_tls.h"


static void ngx_strict_tls_job_finish(ngx_strict_tls_job_t *job);
static void ngx_strict_tls_job_timeout(ngx_event_t *ev);
static void ngx_strict_tls_job_not_asked(ngx_strict_tls_job_t *job,
    uint32_t id, const char *why);
static void ngx_strict_tls_job_done(ngx_event_t *ev);


/* Takes the check over, also when it fails. */

ngx_strict_tls_job_t *
ngx_strict_tls_job_create(ngx_strict_tls_worker_t *worker,
    ngx_strict_tls_scope_t *scope, stls_check *check, const u_char *key)
{
    ngx_strict_tls_job_t  *job;

    job = ngx_calloc(sizeof(ngx_strict_tls_job_t), ngx_cycle->log);
    if (job == NULL) {
        stls_check_free(check);
        return NULL;
    }

    job->worker = worker;
    job->scope = scope;
    job->check = check;
    job->epoch = worker->epoch;
    job->total = scope->fetch_total;

    if (key) {
        job->has_key = 1;
        ngx_memcpy(job->key, key, STLS_ID_LEN);
    }

    ngx_queue_init(&job->waits);
    ngx_queue_init(&job->followers);
    ngx_queue_insert_tail(&worker->jobs, &job->queue);

    job->timer.handler = ngx_strict_tls_job_timeout;
    job->timer.data = job;
    job->timer.log = ngx_cycle->log;

    job->done.handler = ngx_strict_tls_job_done;
    job->done.data = job;
    job->done.log = ngx_cycle->log;

    return job;
}


/*
 * A final verdict: job->result is there and the caller frees the job.
 * STLS_PENDING: the handler will be called, never from within this call.
 */

stls_verdict
ngx_strict_tls_job_start(ngx_strict_tls_job_t *job)
{
    job->end = ngx_current_msec + job->total;

    if (ngx_strict_tls_follow(job) != NGX_OK) {
        ngx_strict_tls_job_begin(job);

        if (job->finished) {
            return stls_check_verdict(job->check);
        }
    }

    job->suspended = 1;

    /* a worker that shuts down waits for requests, not for refreshes */
    job->timer.cancelable = (job->handler == NULL || job->background);

    ngx_add_timer(&job->timer, job->total);

    return STLS_PENDING;
}


/* Its own check, at last or at once. */

void
ngx_strict_tls_job_begin(ngx_strict_tls_job_t *job)
{
    (void) stls_check_start(job->check, ngx_time());
    ERR_clear_error();

    ngx_strict_tls_job_advance(job);

    if (!job->finished) {
        ngx_strict_tls_lead(job);
    }
}


/* Never frees the job: whoever feeds several jobs in a row relies on that. */

void
ngx_strict_tls_job_advance(ngx_strict_tls_job_t *job)
{
    stls_fetch  want;

    if (job->finished) {
        return;
    }

    while (stls_check_verdict(job->check) == STLS_PENDING
           && stls_check_next_fetch(job->check, &want))
    {
        ngx_strict_tls_fetch(job, &want);
    }

    if (stls_check_verdict(job->check) == STLS_PENDING
        && ngx_queue_empty(&job->waits))
    {
        (void) stls_check_fail(job->check, STLS_REASON_INTERNAL_ERROR,
                               "nothing is left to wait for", ngx_time());
    }

    if (stls_check_verdict(job->check) != STLS_PENDING) {
        ngx_strict_tls_job_finish(job);
    }

    ERR_clear_error();
}


static void
ngx_strict_tls_job_finish(ngx_strict_tls_job_t *job)
{
    ngx_queue_t  *q;

    job->finished = 1;

    if (job->timer.timer_set) {
        ngx_del_timer(&job->timer);
    }

    while (!ngx_queue_empty(&job->waits)) {
        q = ngx_queue_head(&job->waits);
        ngx_strict_tls_wait_free(
                  ngx_queue_data(q, ngx_strict_tls_wait_t, job_queue));
    }

    job->result = stls_check_get1_result(job->check);

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, ngx_cycle->log, 0,
                   "strict tls job %p: %s (%s)", job,
                   job->result ? stls_result_word(job->result) : "no result",
                   job->result ? stls_reason_id(stls_result_reason(job->result))
                               : "");

    if (job->result) {
        ngx_strict_tls_announce(job->worker, job->result);
    }

    /* a refresh that learned nothing leaves the old verdict to its end */

    if (job->result && job->has_key
        && (!job->is_passing
            || stls_result_reason(job->result) == STLS_REASON_NONE)
        && (!job->refresh
            || stls_result_reason(job->result) == STLS_REASON_NONE
            || ngx_strict_tls_says_revoked(job->result)))
    {
        ngx_strict_tls_verdict_put(job->worker, job->scope, job->key,
                                   job->result, job->epoch);
    }

    ngx_strict_tls_let_go(job);

    if (job->suspended) {
        ngx_post_event(&job->done, &ngx_posted_events);
    }
}


static void
ngx_strict_tls_job_timeout(ngx_event_t *ev)
{
    stls_fetch              want;
    ngx_queue_t            *q, *next;
    ngx_strict_tls_job_t   *job;
    ngx_strict_tls_wait_t  *wait;

    job = ev->data;

    if (job->in_line) {

        /* its turn to ask has not come */

        ngx_strict_tls_leave_line(job);

        (void) stls_check_start(job->check, ngx_time());

        while (stls_check_next_fetch(job->check, &want)) {
            ngx_strict_tls_job_not_asked(job, want.id,
                                         "its turn to ask has not come");
        }
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, ev->log, 0,
                   "strict tls job %p: total time is over", job);

    /*
     * A fetch that nobody else waits for ends now.  One that had less than its
     * own time, since others came before it, says nothing about who was asked:
     * neither is that remembered, nor the verdict that comes of it.
     */

    for (q = ngx_queue_head(&job->waits);
         q != ngx_queue_sentinel(&job->waits);
         q = next)
    {
        next = ngx_queue_next(q);
        wait = ngx_queue_data(q, ngx_strict_tls_wait_t, job_queue);

        ngx_strict_tls_fetch_feed_now(wait);

        if (wait->fetch && wait->fetch->state == ngx_strict_tls_queued) {
            ngx_strict_tls_job_not_asked(job, wait->id,
                                         "max_fetches_in_flight others were "
                                         "in flight all the time");

        } else if (ngx_strict_tls_fetch_is_cut_short(wait->fetch)) {
            job->is_passing = 1;

        } else if (ngx_strict_tls_wait_is_last(wait)) {
            ngx_strict_tls_fetch_give_up(wait->fetch);
        }
    }

    (void) stls_check_expire(job->check, ngx_time());

    ngx_strict_tls_job_advance(job);
}


/* No policy passes over that. */

static void
ngx_strict_tls_job_not_asked(ngx_strict_tls_job_t *job, uint32_t id,
    const char *why)
{
    stls_reply  reply;

    ngx_memzero(&reply, sizeof(stls_reply));

    reply.outcome = STLS_FETCH_LOCAL;
    reply.detail = why;

    (void) stls_check_feed(job->check, id, &reply, ngx_time());
}


static void
ngx_strict_tls_job_done(ngx_event_t *ev)
{
    ngx_strict_tls_job_t  *job;

    job = ev->data;

    ngx_strict_tls_job_tell(job);
}


void
ngx_strict_tls_job_tell(ngx_strict_tls_job_t *job)
{
    if (job->handler) {
        job->handler(job);
        return;
    }

    ngx_strict_tls_job_free(job);
}


/*
 * Whoever waited has gone.  A fetch that would be lost with it goes on in the
 * background: the next handshake with this peer wants the same answer.
 */

void
ngx_strict_tls_job_leave(ngx_strict_tls_job_t *job)
{
    ngx_queue_t            *q;
    ngx_strict_tls_wait_t  *wait;

    job->handler = NULL;
    job->data = NULL;

    if (!job->finished && !ngx_queue_empty(&job->followers)) {
        job->timer.cancelable = 1;
        return;
    }

    if (!job->finished && !ngx_exiting && !ngx_terminate && !ngx_quit) {

        for (q = ngx_queue_head(&job->waits);
             q != ngx_queue_sentinel(&job->waits);
             q = ngx_queue_next(q))
        {
            wait = ngx_queue_data(q, ngx_strict_tls_wait_t, job_queue);

            if (ngx_strict_tls_wait_is_last(wait)) {
                job->timer.cancelable = 1;
                return;
            }
        }
    }

    ngx_strict_tls_job_free(job);
}


void
ngx_strict_tls_job_free(ngx_strict_tls_job_t *job)
{
    ngx_strict_tls_job_stop(job);

    ngx_free(job);
}


/* The job can do nothing any more; its owner, if any, still frees it. */

void
ngx_strict_tls_job_stop(ngx_strict_tls_job_t *job)
{
    ngx_queue_t  *q;

    ngx_strict_tls_leave_line(job);
    ngx_strict_tls_let_go(job);

    while (!ngx_queue_empty(&job->waits)) {
        q = ngx_queue_head(&job->waits);
        ngx_strict_tls_wait_free(
                  ngx_queue_data(q, ngx_strict_tls_wait_t, job_queue));
    }

    if (job->timer.timer_set) {
        ngx_del_timer(&job->timer);
    }

    if (job->done.posted) {
        ngx_delete_posted_event(&job->done);
    }

    if (job->worker) {
        ngx_queue_remove(&job->queue);
        job->worker = NULL;
    }

    stls_check_free(job->check);
    job->check = NULL;

    stls_result_free(job->result);
    job->result = NULL;

    job->finished = 1;
}
