/*
 * What this process remembers: verdicts by what was presented, and the news
 * about revocations that make it forget some of them.
 */

#include "ngx_strict_tls.h"


/* Created by the first handshake: the master process needs none of this. */

ngx_strict_tls_worker_t *
ngx_strict_tls_get_worker(ngx_strict_tls_main_conf_t *mcf)
{
    ngx_strict_tls_worker_t  *worker;

    worker = mcf->worker;

    if (!worker->started) {
        worker->started = 1;

        /* without memory for it every handshake is judged anew */
        worker->verdicts = stls_verdict_cache_new(mcf->max_verdicts, NULL);
        worker->trusts = stls_verdict_cache_new(mcf->max_verdicts, NULL);
        worker->memo = stls_memo_new(NGX_STRICT_TLS_MEMO_ENTRIES, NULL);

        ngx_rbtree_init(&worker->sessions, &worker->sessions_sentinel,
                        ngx_str_rbtree_insert_value);
        ngx_queue_init(&worker->sessions_lru);

        ngx_rbtree_init(&worker->shared, &worker->shared_sentinel,
                        ngx_str_rbtree_insert_value);
        ngx_queue_init(&worker->fetches);
        ngx_queue_init(&worker->jobs);

        ngx_strict_tls_queue_start(worker);
        ngx_strict_tls_follow_start(worker);

        ngx_rbtree_init(&worker->crls, &worker->crls_sentinel,
                        ngx_str_rbtree_insert_value);
        ngx_queue_init(&worker->crls_lru);
        ngx_queue_init(&worker->crl_writes);

        worker->epoch = ngx_strict_tls_cache_epoch(mcf->zone);

        ngx_strict_tls_crl_file_start(worker);
    }

    return worker;
}


/* The process ends, or the configuration goes away. */

void
ngx_strict_tls_stop(void *data)
{
    ngx_strict_tls_worker_t *worker = data;

    ngx_queue_t           *q;
    ngx_strict_tls_job_t  *job;

    if (!worker->started) {
        return;
    }

    worker->started = 0;

    while (!ngx_queue_empty(&worker->jobs)) {
        q = ngx_queue_head(&worker->jobs);
        job = ngx_queue_data(q, ngx_strict_tls_job_t, queue);

        if (job->handler) {
            ngx_strict_tls_job_stop(job);

        } else {
            ngx_strict_tls_job_free(job);
        }
    }

    while (!ngx_queue_empty(&worker->fetches)) {
        q = ngx_queue_head(&worker->fetches);

        ngx_strict_tls_fetch_free(
                     ngx_queue_data(q, ngx_strict_tls_fetch_t, queue));
    }

    ngx_strict_tls_follow_stop(worker);
    ngx_strict_tls_queue_stop(worker);
    ngx_strict_tls_crl_file_stop(worker);
    ngx_strict_tls_crl_stop(worker);
    ngx_strict_tls_session_clear(worker);

    stls_verdict_cache_free(worker->verdicts);
    worker->verdicts = NULL;

    stls_verdict_cache_free(worker->trusts);
    worker->trusts = NULL;

    stls_memo_free(worker->memo);
    worker->memo = NULL;
}


/* One atomic read unless somebody learned of a revocation. */

void
ngx_strict_tls_sync(ngx_strict_tls_worker_t *worker)
{
    u_char           question[STLS_ID_LEN];
    ngx_shm_zone_t  *zone;

    zone = worker->conf->zone;

    for ( ;; ) {

        switch (ngx_strict_tls_cache_news(zone, &worker->epoch,
                                          question))
        {
        case NGX_DONE:
            return;

        case NGX_OK:
            if (worker->verdicts) {
                (void) stls_verdict_cache_drop_question(worker->verdicts,
                                                        question);
            }

            ngx_strict_tls_session_drop_question(worker, question);
            ngx_strict_tls_crl_outdate(worker, question, worker->epoch);
            break;

        default:
            if (worker->verdicts) {
                stls_verdict_cache_clear(worker->verdicts);
            }

            ngx_strict_tls_session_clear(worker);
            ngx_strict_tls_crl_clear(worker);
            break;
        }
    }
}


stls_result *
ngx_strict_tls_verdict_get0(ngx_strict_tls_worker_t *worker,
    const u_char *key)
{
    if (worker->verdicts == NULL) {
        return NULL;
    }

    return stls_verdict_cache_get0(worker->verdicts, key, ngx_time());
}


/* `epoch` is when the check behind this result began to look at answers. */

void
ngx_strict_tls_verdict_put(ngx_strict_tls_worker_t *worker,
    ngx_strict_tls_scope_t *scope, const u_char *key,
    stls_result *result, ngx_atomic_uint_t epoch)
{
    time_t  now, rest;

    if (worker->verdicts == NULL) {
        return;
    }

    if (!ngx_strict_tls_says_revoked(result)
        && ngx_strict_tls_cache_revoked_since(worker->conf->zone, epoch,
                                              result))
    {
        return;
    }

    now = ngx_time();

    (void) stls_verdict_cache_put(worker->verdicts, key, result, now);

    /*
     * A result made of answers past half their life would be refreshed by
     * every handshake.  Nothing newer was to be had: halve what is left.
     */

    if (stls_result_refresh_at_s(result) <= now) {
        rest = (stls_result_valid_until_s(result) - now) / 2;

        stls_verdict_cache_defer_refresh(worker->verdicts, key,
                           now + 1 + ngx_max(rest, scope->negative_ttl));
    }
}


/*
 * Replaces *result, whose time is up or nearly so, by what a refresh has found
 * about the same presentation.  Whether it serves is the caller's to ask.
 */

void
ngx_strict_tls_verdict_renew(ngx_strict_tls_worker_t *worker,
    const u_char *key, stls_result **result)
{
    stls_result  *cached;

    cached = ngx_strict_tls_verdict_get0(worker, key);

    if (cached
        && cached != *result
        && stls_result_verdict(cached) == STLS_ACCEPT
        && (stls_result_valid_until_s(cached)
            >= stls_result_valid_until_s(*result)
            || !stls_result_is_live(*result, ngx_time())))
    {
        (void) stls_result_up_ref(cached);
        stls_result_free(*result);
        *result = cached;
    }
}


ngx_uint_t
ngx_strict_tls_rests_on(stls_result *result, const u_char *question)
{
    size_t                i, n;
    const unsigned char  *questions;

    questions = stls_result_get0_questions(result, &n);

    for (i = 0; i < n; i++) {
        if (ngx_memcmp(questions + i * STLS_ID_LEN, question, STLS_ID_LEN)
            == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* Such a verdict is kept though there is news: it is what the news is about. */

ngx_uint_t
ngx_strict_tls_says_revoked(stls_result *result)
{
    switch (stls_result_reason(result)) {

    case STLS_REASON_OCSP_REVOKED:
    case STLS_REASON_CRL_REVOKED:
        return 1;

    default:
        return 0;
    }
}


/* Tells all workers, this one included, what was found to be revoked. */

void
ngx_strict_tls_announce(ngx_strict_tls_worker_t *worker, stls_result *result)
{
    size_t                i, n;
    const unsigned char  *questions;

    questions = stls_result_get0_revoked(result, &n);

    for (i = 0; i < n; i++) {
        ngx_strict_tls_cache_revoked(worker->conf->zone,
                                     questions + i * STLS_ID_LEN,
                                     stls_result_valid_until_s(result));
    }

    if (n) {
        ngx_strict_tls_sync(worker);
    }
}
