/*
 * One question is asked once: by one job of this worker, and by one worker of
 * all.  Whoever wants the same answer meanwhile waits for it.
 */

#include "ngx_strict_tls.h"


#define NGX_STRICT_TLS_POLL_MIN  10
#define NGX_STRICT_TLS_POLL_MAX  50


static ngx_strict_tls_fetch_t *ngx_strict_tls_fetch_create(
    ngx_strict_tls_job_t *job, stls_fetch *want, u_char *flight);
static ngx_int_t ngx_strict_tls_fetch_known(
    ngx_strict_tls_job_t *job, stls_fetch *want, u_char *flight,
    ngx_strict_tls_found_t *found);
static void ngx_strict_tls_fetch_begin(
    ngx_strict_tls_fetch_t *fetch);
static void ngx_strict_tls_fetch_timer(ngx_event_t *ev);
static ngx_msec_t ngx_strict_tls_fetch_timeout(
    ngx_strict_tls_scope_t *scope, stls_fetch *want);
static void ngx_strict_tls_flight(ngx_strict_tls_scope_t *scope,
    stls_fetch *want, u_char *flight);
static ngx_msec_t ngx_strict_tls_lease_for(ngx_msec_t timeout);


/* Feeds the job at once if the answer is known, otherwise makes it wait. */

void
ngx_strict_tls_fetch(ngx_strict_tls_job_t *job, stls_fetch *want)
{
    u_char                   flight[STLS_ID_LEN];
    uint32_t                 hash;
    ngx_str_t                name;
    stls_reply               reply;
    ngx_strict_tls_wait_t   *wait;
    stls_crl                *crl;
    ngx_uint_t               is_final, is_private;
    ngx_strict_tls_fetch_t  *fetch;
    ngx_strict_tls_found_t   found;

    ngx_memzero(&found, sizeof(ngx_strict_tls_found_t));
    fetch = NULL;

    if (want->is_crl) {
        crl = ngx_strict_tls_crl_get0(job->worker, want, job->refresh,
                                      &is_final);
        if (crl) {
            (void) stls_check_feed_crl(job->check, want->id, crl, !is_final,
                                       ngx_time());
            return;
        }
    }

    ngx_strict_tls_flight(job->scope, want, flight);

    /* an answer to a nonce is of no use to anybody else */

    is_private = job->scope->nonce && !want->is_crl;

    if (!is_private) {

        if (ngx_strict_tls_fetch_known(job, want, flight, &found)
            == NGX_OK)
        {
            return;
        }

        ngx_memcpy(&hash, flight, sizeof(uint32_t));
        name.data = flight;
        name.len = STLS_ID_LEN;

        fetch = (ngx_strict_tls_fetch_t *)
                    ngx_str_rbtree_lookup(&job->worker->shared, &name, hash);
    }

    wait = ngx_calloc(sizeof(ngx_strict_tls_wait_t), ngx_cycle->log);

    if (wait && fetch == NULL) {
        fetch = ngx_strict_tls_fetch_create(job, want, flight);

        if (fetch) {
            fetch->lease = found.lease;
            found.lease = 0;
        }
    }

    if (found.lease) {
        ngx_strict_tls_cache_release(job->worker->conf->zone, flight,
                                     found.lease);
    }

    if (wait == NULL || fetch == NULL) {

        if (wait) {
            ngx_free(wait);
        }

        free(found.bytes);

        ngx_memzero(&reply, sizeof(stls_reply));
        reply.outcome = STLS_FETCH_LOCAL;
        reply.detail = "this process is out of memory";

        (void) stls_check_feed(job->check, want->id, &reply, ngx_time());
        return;
    }

    wait->fetch = fetch;
    wait->job = job;
    wait->id = want->id;
    wait->may_use_cache = want->may_use_cache;

    ngx_queue_insert_tail(&job->waits, &wait->job_queue);
    ngx_queue_insert_tail(&fetch->waits, &wait->queue);

    if (fetch->started) {
        ngx_log_debug2(NGX_LOG_DEBUG_EVENT, ngx_cycle->log, 0,
                       "strict tls job %p joins fetch %p", job, fetch);

        free(found.bytes);
        return;
    }

    fetch->started = ngx_current_msec ? ngx_current_msec : 1;

    if (found.bytes) {
        fetch->from_zone = 1;
        ngx_strict_tls_crl_index(fetch, found.bytes, found.len);
        return;
    }

    if (is_private || fetch->lease || found.alone) {
        ngx_strict_tls_fetch_begin(fetch);
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, ngx_cycle->log, 0,
                   "strict tls fetch %p: another worker asks", fetch);

    ngx_add_timer(&fetch->timer, fetch->poll);
}


/*
 * NGX_OK: the job was fed from the zone.  NGX_DECLINED with found->lease, or
 * found->alone: this worker asks; with found->bytes: it has a CRL to index.
 * NGX_DECLINED without: another one asks, or this one already.
 */

static ngx_int_t
ngx_strict_tls_fetch_known(ngx_strict_tls_job_t *job,
    stls_fetch *want, u_char *flight, ngx_strict_tls_found_t *found)
{
    stls_reply               reply;
    ngx_strict_tls_lookup_t  lookup;

    ngx_memzero(&lookup, sizeof(ngx_strict_tls_lookup_t));

    lookup.question = want->question;
    lookup.flight = flight;
    lookup.lease_for = ngx_strict_tls_lease_for(want->timeout_ms);
    lookup.since = ngx_current_msec;
    lookup.any_age = want->may_use_cache;
    lookup.refresh = job->refresh;
    lookup.is_crl = want->is_crl;

    ngx_memzero(&reply, sizeof(stls_reply));

    switch (ngx_strict_tls_cache_look(job->worker->conf->zone, &lookup,
                                      found))
    {
    case ngx_strict_tls_cache_answer:
        ngx_strict_tls_status_count(job->worker->conf,
                                    STLS_FIGURE_ANSWER_CACHE_HITS);

        if (want->is_crl) {
            return NGX_DECLINED;
        }

        reply.outcome = STLS_FETCH_CACHED;
        reply.bytes = found->bytes;
        reply.bytes_len = found->len;
        break;

    case ngx_strict_tls_cache_failure:
        reply.outcome = found->outcome;

        if (found->outcome == STLS_FETCH_OK) {
            reply.bytes = found->bytes;
            reply.bytes_len = found->len;

        } else {
            reply.detail = (char *) found->bytes;
        }

        break;

    default:
        return NGX_DECLINED;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, ngx_cycle->log, 0,
                   "strict tls job %p: known outcome %d, %uz bytes",
                   job, (int) reply.outcome, found->len);

    (void) stls_check_feed(job->check, want->id, &reply, ngx_time());

    ngx_free(found->bytes);
    found->bytes = NULL;

    return NGX_OK;
}


static ngx_strict_tls_fetch_t *
ngx_strict_tls_fetch_create(ngx_strict_tls_job_t *job,
    stls_fetch *want, u_char *flight)
{
    uint32_t                  hash;
    ngx_strict_tls_fetch_t   *fetch;
    ngx_strict_tls_worker_t  *worker;

    worker = job->worker;

    fetch = ngx_calloc(sizeof(ngx_strict_tls_fetch_t), ngx_cycle->log);
    if (fetch == NULL) {
        return NULL;
    }

    fetch->http = stls_http_new(want, job->scope->http_proxy != NULL);

    if (fetch->http == NULL
        || stls_http_parse_url(want->url, &fetch->target, NULL) != STLS_OK)
    {
        stls_http_free(fetch->http);
        ngx_free(fetch);
        return NULL;
    }

    fetch->worker = worker;
    fetch->policy = stls_policy_up_ref(job->scope->policy);
    fetch->resolver = job->scope->resolver;
    fetch->http_proxy = job->scope->http_proxy;
    fetch->is_crl = want->is_crl;
    fetch->since = ngx_time();

    fetch->timeout = ngx_strict_tls_fetch_timeout(job->scope, want);
    fetch->poll = NGX_STRICT_TLS_POLL_MIN;
    fetch->may_use_cache = want->may_use_cache;
    fetch->refresh = job->refresh;

    ngx_memcpy(fetch->flight, flight, STLS_ID_LEN);
    ngx_memcpy(fetch->question, want->question, STLS_ID_LEN);

    /* a responder that is down is no error of ours: the verdict tells of it */

    fetch->log = *ngx_cycle->log;

    if (fetch->log.log_level >= NGX_LOG_ERR
        && fetch->log.log_level <= NGX_LOG_DEBUG)
    {
        fetch->log.log_level = NGX_LOG_CRIT;
    }

    fetch->timer.handler = ngx_strict_tls_fetch_timer;
    fetch->timer.data = fetch;
    fetch->timer.log = ngx_cycle->log;
    fetch->timer.cancelable = 1;

    fetch->done.handler = ngx_strict_tls_fetch_deliver;
    fetch->done.data = fetch;
    fetch->done.log = ngx_cycle->log;

    ngx_queue_init(&fetch->waits);
    ngx_queue_insert_tail(&worker->fetches, &fetch->queue);

    if (!job->scope->nonce || want->is_crl) {
        fetch->is_shared = 1;

        ngx_memcpy(&hash, flight, sizeof(uint32_t));
        fetch->node.node.key = hash;
        fetch->node.str.data = fetch->flight;
        fetch->node.str.len = STLS_ID_LEN;

        ngx_rbtree_insert(&worker->shared, &fetch->node.node);
        fetch->is_joinable = 1;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, ngx_cycle->log, 0,
                   "strict tls fetch %p: \"%s\"", fetch, want->url);

    return fetch;
}


static void
ngx_strict_tls_fetch_begin(ngx_strict_tls_fetch_t *fetch)
{
    switch (ngx_strict_tls_queue_enter(fetch)) {

    case NGX_OK:
        break;

    case NGX_AGAIN:

        /* another worker may have a place for it before */

        ngx_strict_tls_fetch_release(fetch);
        return;

    default:
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_LOCAL,
                                  "this process is out of memory");
        return;
    }

    fetch->state = ngx_strict_tls_resolving;
    fetch->begun = ngx_current_msec ? ngx_current_msec : 1;
    ngx_add_timer(&fetch->timer, fetch->timeout);

    if (fetch->is_crl && ngx_strict_tls_crl_load(fetch) == NGX_OK) {
        return;
    }

    ngx_strict_tls_exchange(fetch);
}


static void
ngx_strict_tls_fetch_timer(ngx_event_t *ev)
{
    ngx_strict_tls_fetch_t  *fetch;

    fetch = ev->data;

    if (fetch->state == ngx_strict_tls_polling) {
        ngx_strict_tls_fetch_proceed(fetch);
        return;
    }

    ngx_strict_tls_fetch_over(fetch, STLS_FETCH_TIMEOUT,
                              "no answer within %M ms (%s)",
                              fetch->timeout,
                              ngx_strict_tls_exchange_step(fetch));
}


/*
 * Has the worker that asks got its answer, or does it keep us waiting?  While
 * the fetch was queued somebody else may have begun to ask, too.
 */

void
ngx_strict_tls_fetch_proceed(ngx_strict_tls_fetch_t *fetch)
{
    ngx_strict_tls_found_t   found;
    ngx_strict_tls_lookup_t  lookup;

    if (!fetch->is_shared) {
        ngx_strict_tls_fetch_begin(fetch);
        return;
    }

    fetch->state = ngx_strict_tls_polling;

    ngx_memzero(&lookup, sizeof(ngx_strict_tls_lookup_t));

    lookup.question = fetch->question;
    lookup.flight = fetch->flight;
    lookup.lease_for = ngx_strict_tls_lease_for(fetch->timeout);
    lookup.since = fetch->started - 1;
    lookup.any_age = fetch->may_use_cache;
    lookup.refresh = fetch->refresh;
    lookup.is_crl = fetch->is_crl;

    switch (ngx_strict_tls_cache_look(fetch->worker->conf->zone, &lookup,
                                      &found))
    {
    case ngx_strict_tls_cache_answer:
        ngx_strict_tls_status_count(fetch->worker->conf,
                                    STLS_FIGURE_ANSWER_CACHE_HITS);

        if (fetch->is_crl) {
            fetch->from_zone = 1;
            ngx_strict_tls_crl_index(fetch, found.bytes, found.len);
            break;
        }

        fetch->is_second_hand = 1;
        fetch->bytes = found.bytes;
        fetch->len = found.len;
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_CACHED, "");
        break;

    case ngx_strict_tls_cache_failure:
        fetch->is_second_hand = 1;

        if (found.outcome == STLS_FETCH_OK) {
            fetch->bytes = found.bytes;
            fetch->len = found.len;
            ngx_strict_tls_fetch_over(fetch, STLS_FETCH_OK, "");

        } else {
            ngx_strict_tls_fetch_over(fetch, found.outcome, "%s",
                                      found.bytes);
            ngx_free(found.bytes);
        }

        break;

    case ngx_strict_tls_cache_busy:
        fetch->poll = ngx_min(fetch->poll * 2, NGX_STRICT_TLS_POLL_MAX);
        ngx_add_timer(&fetch->timer, fetch->poll);
        break;

    case ngx_strict_tls_cache_yours:
    case ngx_strict_tls_cache_alone:
        fetch->lease = found.lease;
        ngx_strict_tls_fetch_begin(fetch);
        break;
    }
}


/* Ends the exchange; those who wait are told from the event loop, not here. */

void
ngx_strict_tls_fetch_over(ngx_strict_tls_fetch_t *fetch,
    stls_fetch_outcome outcome, const char *fmt, ...)
{
    u_char  *last;
    va_list  args;

    if (fetch->state == ngx_strict_tls_over) {
        return;
    }

    va_start(args, fmt);
    last = ngx_vslprintf(fetch->detail,
                         fetch->detail + NGX_STRICT_TLS_DETAIL_LEN - 1,
                         fmt, args);
    va_end(args);

    *last = '\0';

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, ngx_cycle->log, 0,
                   "strict tls fetch %p: outcome %d %s",
                   fetch, (int) outcome, fetch->detail);

    if (fetch->timer.timer_set) {
        ngx_del_timer(&fetch->timer);
    }

    ngx_strict_tls_exchange_close(fetch);
    ngx_strict_tls_crl_cancel(fetch);

    if (fetch->responder && outcome < 0) {
        ngx_strict_tls_status_count(fetch->worker->conf,
                                    STLS_FIGURE_FETCH_FAILURES);
    }

    ngx_strict_tls_queue_leave(fetch);

    if (outcome == STLS_FETCH_LOCAL) {

        /* the next moment may be better: not to be remembered */
        fetch->is_private_failure = 1;
    }

    fetch->state = ngx_strict_tls_over;
    fetch->outcome = outcome;

    ngx_post_event(&fetch->done, &ngx_posted_events);
}


ngx_uint_t
ngx_strict_tls_wait_is_last(ngx_strict_tls_wait_t *wait)
{
    return wait->fetch
           && wait->fetch->state > ngx_strict_tls_queued
           && ngx_queue_head(&wait->fetch->waits)
              == ngx_queue_last(&wait->fetch->waits);
}


/* Whether it is still on its way, and has not yet had the time that it may take. */

ngx_uint_t
ngx_strict_tls_fetch_is_cut_short(ngx_strict_tls_fetch_t *fetch)
{
    return fetch
           && fetch->state != ngx_strict_tls_over
           && (fetch->begun == 0
               || ngx_current_msec - fetch->begun < fetch->timeout);
}


/* No more time for it: remembered as a timeout, and told to nobody. */

void
ngx_strict_tls_fetch_give_up(ngx_strict_tls_fetch_t *fetch)
{
    int64_t  ttl;
    u_char  *last;

    if (!fetch->is_shared || fetch->is_crl || fetch->is_private_failure
        || fetch->is_second_hand)
    {
        return;
    }

    ttl = stls_policy_get_int(fetch->policy, STLS_KEY_NEGATIVE_TTL_S);

    if (fetch->state == ngx_strict_tls_over) {

        /* its own time was over in the same moment */

        if (fetch->outcome < 0) {
            ngx_strict_tls_cache_put_failure(fetch->worker->conf->zone,
                                             fetch->flight,
                                             fetch->outcome,
                                             ngx_time() + ttl,
                                             fetch->detail,
                                             ngx_strlen(fetch->detail));
        }

        return;
    }

    ngx_strict_tls_status_count(fetch->worker->conf,
                                STLS_FIGURE_FETCH_FAILURES);

    last = ngx_slprintf(fetch->detail,
                        fetch->detail + NGX_STRICT_TLS_DETAIL_LEN - 1,
                        "no answer within %M ms (%s)",
                        ngx_current_msec - fetch->begun,
                        ngx_strict_tls_exchange_step(fetch));

    ngx_strict_tls_cache_put_failure(fetch->worker->conf->zone,
                                     fetch->flight, STLS_FETCH_TIMEOUT,
                                     ngx_time() + ttl, fetch->detail,
                                     last - fetch->detail);
}


/* The last one to stop waiting ends the fetch, but for a CRL's download. */

void
ngx_strict_tls_wait_free(ngx_strict_tls_wait_t *wait)
{
    ngx_strict_tls_fetch_t  *fetch;

    fetch = wait->fetch;

    ngx_queue_remove(&wait->queue);
    ngx_queue_remove(&wait->job_queue);
    ngx_free(wait);

    if (fetch && fetch->is_crl
        && fetch->state > ngx_strict_tls_queued)
    {
        return;
    }

    if (fetch && ngx_queue_empty(&fetch->waits)) {
        ngx_strict_tls_fetch_free(fetch);
    }
}


void
ngx_strict_tls_fetch_free(ngx_strict_tls_fetch_t *fetch)
{
    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, ngx_cycle->log, 0,
                   "strict tls fetch %p ends", fetch);

    ngx_strict_tls_fetch_release(fetch);
    ngx_strict_tls_fetch_unlist(fetch);
    ngx_strict_tls_queue_leave(fetch);

    ngx_queue_remove(&fetch->queue);

    if (fetch->timer.timer_set) {
        ngx_del_timer(&fetch->timer);
    }

    if (fetch->done.posted) {
        ngx_delete_posted_event(&fetch->done);
    }

    ngx_strict_tls_exchange_close(fetch);
    ngx_strict_tls_crl_cancel(fetch);

    stls_crl_free(fetch->crl);
    stls_http_free(fetch->http);
    stls_policy_free(fetch->policy);

    if (fetch->bytes) {
        ngx_free(fetch->bytes);
    }

    ngx_free(fetch);
}


void
ngx_strict_tls_fetch_release(ngx_strict_tls_fetch_t *fetch)
{
    if (fetch->lease) {
        ngx_strict_tls_cache_release(fetch->worker->conf->zone,
                                     fetch->flight, fetch->lease);
        fetch->lease = 0;
    }
}


/* Nobody of this worker joins it any more. */

void
ngx_strict_tls_fetch_unlist(ngx_strict_tls_fetch_t *fetch)
{
    if (fetch->is_joinable) {
        ngx_rbtree_delete(&fetch->worker->shared, &fetch->node.node);
        fetch->is_joinable = 0;
    }
}


/* A CRL goes on in the background when the handshake has given up. */

static ngx_msec_t
ngx_strict_tls_fetch_timeout(ngx_strict_tls_scope_t *scope,
    stls_fetch *want)
{
    return want->is_crl ? want->timeout_ms
                        : ngx_min(want->timeout_ms, scope->fetch_total);
}


/*
 * What went through another resolver or HTTP proxy, or had less time, failed
 * for reasons of its own.
 */

static void
ngx_strict_tls_flight(ngx_strict_tls_scope_t *scope,
    stls_fetch *want, u_char *flight)
{
    u_char      *p;
    u_char       buf[STLS_ID_LEN + sizeof(ngx_resolver_t *)
                     + sizeof(ngx_msec_t) + NGX_SOCKADDR_STRLEN];
    ngx_addr_t  *addr;
    ngx_msec_t   timeout;

    timeout = ngx_strict_tls_fetch_timeout(scope, want);

    p = ngx_cpymem(buf, want->flight, STLS_ID_LEN);
    p = ngx_cpymem(p, &scope->resolver, sizeof(ngx_resolver_t *));
    p = ngx_cpymem(p, &timeout, sizeof(ngx_msec_t));

    if (scope->http_proxy) {
        addr = scope->http_proxy->elts;
        p += ngx_sock_ntop(addr->sockaddr, addr->socklen, p,
                           NGX_SOCKADDR_STRLEN, 1);
    }

    (void) EVP_Digest(buf, p - buf, flight, NULL, EVP_sha256(), NULL);
}


/* Longer than the fetch may take, so that it only ends early with a worker. */

static ngx_msec_t
ngx_strict_tls_lease_for(ngx_msec_t timeout)
{
    return timeout + 500;
}
