/*
 * Many handshakes with one peer at a time: the check of the first decides for
 * all of them.  They are told in slices, between other events: a verdict that
 * thousands wait for must not hold everybody else up.
 */

#include "ngx_strict_tls.h"


#define NGX_STRICT_TLS_TOLD   8        /* in one turn */
#define NGX_STRICT_TLS_GUARD  10000    /* longer than a turn takes */


static ngx_strict_tls_job_t *ngx_strict_tls_leader(
    ngx_strict_tls_worker_t *worker, const u_char *key);
static void ngx_strict_tls_ready_go_on(ngx_strict_tls_worker_t *worker);
static void ngx_strict_tls_ready_handler(ngx_event_t *ev);


void
ngx_strict_tls_follow_start(ngx_strict_tls_worker_t *worker)
{
    ngx_rbtree_init(&worker->leaders, &worker->leaders_sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&worker->ready);

    worker->ready_event.handler = ngx_strict_tls_ready_handler;
    worker->ready_event.data = worker;
    worker->ready_event.log = ngx_cycle->log;
}


/* Once there are no jobs any more. */

void
ngx_strict_tls_follow_stop(ngx_strict_tls_worker_t *worker)
{
    ngx_strict_tls_ready_go_on(worker);
}


/*
 * NGX_OK: the job waits for the verdict of another about the same presentation
 * under the same policy, its own check not begun.  Both have heard the same
 * news: what the other has read already is not outdated for this one.  The
 * other one ends before this one has to.
 */

ngx_int_t
ngx_strict_tls_follow(ngx_strict_tls_job_t *job)
{
    ngx_strict_tls_job_t  *leader;

    if (!job->has_key || job->refresh) {
        return NGX_DECLINED;
    }

    leader = ngx_strict_tls_leader(job->worker, job->key);

    if (leader == NULL
        || leader->epoch != job->epoch
        || (ngx_msec_int_t) (leader->end - job->end) > 0)
    {
        return NGX_DECLINED;
    }

    ngx_queue_insert_tail(&leader->followers, &job->line);
    job->in_line = 1;

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, ngx_cycle->log, 0,
                   "strict tls job %p follows job %p", job, leader);

    return NGX_OK;
}


/* From here on others may follow this job, which waits for answers. */

void
ngx_strict_tls_lead(ngx_strict_tls_job_t *job)
{
    uint32_t  hash;

    if (!job->has_key || job->refresh
        || ngx_strict_tls_leader(job->worker, job->key))
    {
        return;
    }

    ngx_memcpy(&hash, job->key, sizeof(uint32_t));

    job->node.node.key = hash;
    job->node.str.data = job->key;
    job->node.str.len = STLS_ID_LEN;

    ngx_rbtree_insert(&job->worker->leaders, &job->node.node);
    job->leads = 1;
}


/*
 * The job has come to its end.  Those that follow it are told its verdict if
 * that is good for others, or go on by themselves; all of that in their turn.
 */

void
ngx_strict_tls_let_go(ngx_strict_tls_job_t *job)
{
    ngx_uint_t                good;
    ngx_queue_t              *q;
    ngx_strict_tls_job_t     *follower;
    ngx_strict_tls_worker_t  *worker;

    if (!job->leads) {
        return;
    }

    worker = job->worker;

    ngx_rbtree_delete(&worker->leaders, &job->node.node);
    job->leads = 0;

    good = job->result
           && !job->is_passing
           && !stls_result_is_local(job->result);

    for (q = ngx_queue_head(&job->followers);
         q != ngx_queue_sentinel(&job->followers);
         q = ngx_queue_next(q))
    {
        follower = ngx_queue_data(q, ngx_strict_tls_job_t, line);

        if (good) {
            follower->result = stls_result_up_ref(job->result);
            follower->finished = 1;

            ngx_strict_tls_status_count(worker->conf,
                                        STLS_FIGURE_VERDICTS_SHARED);

            if (follower->timer.timer_set) {
                ngx_del_timer(&follower->timer);
            }
        }
    }

    if (ngx_queue_empty(&job->followers)) {
        return;
    }

    ngx_queue_add(&worker->ready, &job->followers);
    ngx_queue_init(&job->followers);

    ngx_strict_tls_ready_go_on(worker);
}


/* It waits neither for another's verdict nor for its turn any more. */

void
ngx_strict_tls_leave_line(ngx_strict_tls_job_t *job)
{
    if (job->in_line) {
        ngx_queue_remove(&job->line);
        job->in_line = 0;
    }
}


static ngx_strict_tls_job_t *
ngx_strict_tls_leader(ngx_strict_tls_worker_t *worker, const u_char *key)
{
    uint32_t   hash;
    ngx_str_t  name;

    ngx_memcpy(&hash, key, sizeof(uint32_t));
    name.data = (u_char *) key;
    name.len = STLS_ID_LEN;

    return (ngx_strict_tls_job_t *)
               ngx_str_rbtree_lookup(&worker->leaders, &name, hash);
}


/*
 * Told in the next turn, if there is anybody.  A worker that shuts down ends as
 * soon as it has no timers: those who are told of a verdict have none any more.
 */

static void
ngx_strict_tls_ready_go_on(ngx_strict_tls_worker_t *worker)
{
    ngx_event_t  *ev;

    ev = &worker->ready_event;

    if (ngx_queue_empty(&worker->ready)) {

        if (ev->posted) {
            ngx_delete_posted_event(ev);
        }

        if (ev->timer_set) {
            ngx_del_timer(ev);
        }

        return;
    }

    if (!ev->timer_set) {
        ngx_add_timer(ev, NGX_STRICT_TLS_GUARD);
    }

    if (!ev->posted) {
        ngx_post_event(ev, &ngx_posted_next_events);
    }
}


static void
ngx_strict_tls_ready_handler(ngx_event_t *ev)
{
    ngx_uint_t                i;
    ngx_queue_t              *q;
    ngx_strict_tls_job_t     *job;
    ngx_strict_tls_worker_t  *worker;

    worker = ev->data;

    for (i = 0; i < NGX_STRICT_TLS_TOLD && !ngx_queue_empty(&worker->ready);
         i++)
    {
        q = ngx_queue_head(&worker->ready);
        job = ngx_queue_data(q, ngx_strict_tls_job_t, line);

        ngx_strict_tls_leave_line(job);

        if (job->finished) {
            ngx_strict_tls_job_tell(job);

        } else if (ngx_strict_tls_follow(job) != NGX_OK) {
            ngx_strict_tls_job_begin(job);
        }
    }

    ngx_strict_tls_ready_go_on(worker);
}
