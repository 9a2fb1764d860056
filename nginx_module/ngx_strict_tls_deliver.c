/*
 * The end of a fetch: every check that waits is fed, and what came is
 * remembered for what the checks made of it.  Each verifies for itself, which
 * takes its time: some are fed in one turn of the event loop, the others in the
 * next.
 */

#include "ngx_strict_tls.h"


#define NGX_STRICT_TLS_FED  8          /* in one turn */


static void ngx_strict_tls_fetch_feed(ngx_strict_tls_fetch_t *fetch,
    ngx_strict_tls_wait_t *wait);
static void ngx_strict_tls_fetch_judged(ngx_strict_tls_fetch_t *fetch);
static void ngx_strict_tls_fetch_remember(
    ngx_strict_tls_fetch_t *fetch, stls_answer *answer);
static void ngx_strict_tls_fetch_remember_crl(
    ngx_strict_tls_fetch_t *fetch, stls_answer *answer);
static const u_char *ngx_strict_tls_fetch_bytes(
    ngx_strict_tls_fetch_t *fetch, size_t *len);


void
ngx_strict_tls_fetch_deliver(ngx_event_t *ev)
{
    ngx_uint_t                n;
    ngx_queue_t               fed, *q;
    ngx_strict_tls_job_t     *job;
    ngx_strict_tls_wait_t    *wait;
    ngx_strict_tls_fetch_t   *fetch;
    ngx_strict_tls_worker_t  *worker;

    fetch = ev->data;
    worker = fetch->worker;

    ngx_queue_init(&fed);

    if (!fetch->delivering) {
        fetch->delivering = 1;

        if (fetch->crl) {
            ngx_strict_tls_crl_keep_newer(fetch);

        } else {

            /* who comes from here on finds what is remembered, or asks anew */

            ngx_strict_tls_fetch_unlist(fetch);
        }
    }

    for (n = 0;
         n < NGX_STRICT_TLS_FED && !ngx_queue_empty(&fetch->waits);
         n++)
    {
        q = ngx_queue_head(&fetch->waits);
        wait = ngx_queue_data(q, ngx_strict_tls_wait_t, queue);

        ngx_queue_remove(&wait->queue);
        ngx_queue_insert_tail(&fed, &wait->queue);
        wait->fetch = NULL;

        ngx_strict_tls_fetch_feed(fetch, wait);
    }

    ngx_strict_tls_fetch_judged(fetch);

    if (ngx_queue_empty(&fetch->waits)) {
        ngx_strict_tls_fetch_free(fetch);

    } else {
        ngx_post_event(&fetch->done, &ngx_posted_next_events);
    }

    /* what was just learned may end verdicts that follow from it here */
    ngx_strict_tls_sync(worker);

    while (!ngx_queue_empty(&fed)) {
        q = ngx_queue_head(&fed);
        wait = ngx_queue_data(q, ngx_strict_tls_wait_t, queue);
        job = wait->job;

        ngx_strict_tls_wait_free(wait);
        ngx_strict_tls_job_advance(job);
    }

    ERR_clear_error();
}


/* Before its turn, to a check that has no time left: what has come counts. */

void
ngx_strict_tls_fetch_feed_now(ngx_strict_tls_wait_t *wait)
{
    ngx_strict_tls_fetch_t  *fetch;

    fetch = wait->fetch;

    if (fetch == NULL || fetch->state != ngx_strict_tls_over) {
        return;
    }

    if (fetch->crl) {
        ngx_strict_tls_crl_keep_newer(fetch);
    }

    ngx_strict_tls_fetch_feed(fetch, wait);
}


/* Each check judges for itself; what one finds conclusive is kept. */

static void
ngx_strict_tls_fetch_feed(ngx_strict_tls_fetch_t *fetch,
    ngx_strict_tls_wait_t *wait)
{
    stls_reply    reply;
    stls_answer   answer, *best;

    if (fetch->crl) {
        (void) stls_check_feed_crl(wait->job->check, wait->id, fetch->crl,
                                   (fetch->from_disk || fetch->from_zone)
                                   && wait->may_use_cache,
                                   ngx_time());
    } else {
        ngx_memzero(&reply, sizeof(stls_reply));

        reply.bytes = ngx_strict_tls_fetch_bytes(fetch, &reply.bytes_len);
        reply.detail = (char *) fetch->detail;
        reply.outcome = fetch->outcome;

        /* one that wanted no cached answer waited for this one all along */

        if (fetch->outcome == STLS_FETCH_CACHED && !wait->may_use_cache) {
            reply.outcome = STLS_FETCH_OK;
        }

        (void) stls_check_feed(wait->job->check, wait->id, &reply, ngx_time());
    }

    if (stls_check_get_answer(wait->job->check, wait->id, &answer) != STLS_OK)
    {
        return;
    }

    best = &fetch->answer;

    if (answer.conclusive) {
        if (!best->conclusive) {
            *best = answer;
        }

        return;
    }

    fetch->refused = 1;

    if (!best->conclusive && answer.retry_at_s > best->retry_at_s) {
        *best = answer;
    }
}


/*
 * What is conclusive is remembered as soon as a check has found it so.  What
 * came of a CRL is not told from its bytes alone: there all are heard first.
 */

static void
ngx_strict_tls_fetch_judged(ngx_strict_tls_fetch_t *fetch)
{
    if (fetch->remembered) {
        return;
    }

    if (fetch->answer.conclusive || ngx_queue_empty(&fetch->waits)) {
        fetch->remembered = 1;

    } else if (fetch->crl) {
        return;
    }

    ngx_strict_tls_fetch_remember(fetch, &fetch->answer);
}


static void
ngx_strict_tls_fetch_remember(ngx_strict_tls_fetch_t *fetch,
    stls_answer *answer)
{
    size_t           len;
    const u_char    *bytes;
    ngx_shm_zone_t  *zone;

    if (fetch->is_second_hand || fetch->is_private_failure) {
        return;
    }

    if (fetch->crl) {
        ngx_strict_tls_fetch_remember_crl(fetch, answer);
        return;
    }

    zone = fetch->worker->conf->zone;
    bytes = ngx_strict_tls_fetch_bytes(fetch, &len);

    if (fetch->outcome != STLS_FETCH_OK) {
        bytes = fetch->detail;
        len = ngx_strlen(fetch->detail);

    } else if (answer->conclusive) {
        ngx_strict_tls_cache_put_answer(zone, fetch->question, answer,
                                        bytes, len);
        return;
    }

    if (fetch->outcome < 0 && answer->retry_at_s == 0) {

        /* a CRL that nobody has waited for to the end */

        answer->retry_at_s = ngx_time()
                             + stls_policy_get_int(fetch->policy,
                                                   STLS_KEY_NEGATIVE_TTL_S);
    }

    /*
     * An answer that settles nothing (tryLater, a bad signature) is kept as it
     * came: who is fed it again within the time finds the same reason.
     */

    if (fetch->is_shared) {
        ngx_strict_tls_cache_put_failure(zone, fetch->flight,
                                         fetch->outcome,
                                         answer->retry_at_s, bytes, len);
    }
}


/* Its worth is known if a check judged it; nobody may have waited so long. */

static void
ngx_strict_tls_fetch_remember_crl(ngx_strict_tls_fetch_t *fetch,
    stls_answer *answer)
{
    if (!answer->conclusive && fetch->from_zone) {
        return;
    }

    if (!answer->conclusive && fetch->from_disk) {

        if (answer->retry_at_s != 0 || fetch->refused) {
            ngx_strict_tls_crl_discard(fetch);
        }

        return;
    }

    if (ngx_strict_tls_crl_put(fetch, answer) == NGX_DECLINED) {
        return;
    }

    if (!fetch->from_disk && (answer->conclusive || answer->retry_at_s == 0)) {
        ngx_strict_tls_crl_save(fetch);
    }
}


static const u_char *
ngx_strict_tls_fetch_bytes(ngx_strict_tls_fetch_t *fetch,
    size_t *len)
{
    *len = 0;

    if (fetch->bytes) {
        *len = fetch->len;
        return fetch->bytes;
    }

    if (fetch->outcome == STLS_FETCH_OK && !fetch->is_crl) {
        return stls_http_get0_body(fetch->http, len);
    }

    return NULL;
}
