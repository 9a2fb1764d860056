/*
 * Who of those that want to ask goes on the network now?  At most
 * max_fetches_in_flight at a time; the others wait, as long as their checks do.
 * A responder that does not answer must not take all places: one that has
 * places already gets another only while half as many are still free.
 */

#include "ngx_strict_tls.h"


#define NGX_STRICT_TLS_PLACES  16      /* given away in one turn */


struct ngx_strict_tls_responder_s {
    ngx_str_node_t                  node;      /* in worker->responders */
    ngx_queue_t                     queue;     /* in worker->crowded */
    ngx_queue_t                     waiting;   /* ngx_strict_tls_fetch_t */
    ngx_int_t                       nfetches;  /* of its own in flight */
};


static ngx_strict_tls_responder_t *ngx_strict_tls_responder(
    ngx_strict_tls_fetch_t *fetch);
static void ngx_strict_tls_responder_done(ngx_strict_tls_worker_t *worker,
    ngx_strict_tls_responder_t *responder);
static ngx_uint_t ngx_strict_tls_has_place(ngx_strict_tls_fetch_t *fetch);
static void ngx_strict_tls_place_handler(ngx_event_t *ev);
static ngx_strict_tls_fetch_t *ngx_strict_tls_next_in_line(
    ngx_strict_tls_worker_t *worker);


void
ngx_strict_tls_queue_start(ngx_strict_tls_worker_t *worker)
{
    ngx_rbtree_init(&worker->responders, &worker->responders_sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&worker->crowded);

    worker->nwaiting = 0;

    worker->place_event.handler = ngx_strict_tls_place_handler;
    worker->place_event.data = worker;
    worker->place_event.log = ngx_cycle->log;
}


/* Once there are no fetches any more. */

void
ngx_strict_tls_queue_stop(ngx_strict_tls_worker_t *worker)
{
    if (worker->place_event.posted) {
        ngx_delete_posted_event(&worker->place_event);
    }
}


/*
 * NGX_OK: the fetch is in flight from here on.  NGX_AGAIN: it is queued, and
 * ngx_strict_tls_fetch_proceed() is called when its turn comes.  NGX_ERROR: no
 * memory.
 */

ngx_int_t
ngx_strict_tls_queue_enter(ngx_strict_tls_fetch_t *fetch)
{
    ngx_strict_tls_worker_t     *worker;
    ngx_strict_tls_responder_t  *responder;

    worker = fetch->worker;

    responder = ngx_strict_tls_responder(fetch);
    if (responder == NULL) {
        return NGX_ERROR;
    }

    fetch->responder = responder;

    if ((fetch->has_turn || ngx_queue_empty(&responder->waiting))
        && ngx_strict_tls_has_place(fetch))
    {
        responder->nfetches++;
        worker->nfetches++;
        return NGX_OK;
    }

    if (ngx_queue_empty(&responder->waiting)) {
        ngx_queue_insert_tail(&worker->crowded, &responder->queue);
    }

    ngx_queue_insert_tail(&responder->waiting, &fetch->line);
    fetch->state = ngx_strict_tls_queued;
    worker->nwaiting++;

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, ngx_cycle->log, 0,
                   "strict tls fetch %p: queued, %i in flight", fetch,
                   worker->nfetches);

    return NGX_AGAIN;
}


/* Gives its place back, in flight or in the queue, if it has one. */

void
ngx_strict_tls_queue_leave(ngx_strict_tls_fetch_t *fetch)
{
    ngx_strict_tls_worker_t     *worker;
    ngx_strict_tls_responder_t  *responder;

    responder = fetch->responder;

    if (responder == NULL) {
        return;
    }

    worker = fetch->worker;
    fetch->responder = NULL;

    if (fetch->state == ngx_strict_tls_queued) {
        ngx_queue_remove(&fetch->line);
        worker->nwaiting--;

        if (ngx_queue_empty(&responder->waiting)) {
            ngx_queue_remove(&responder->queue);
        }

    } else {
        responder->nfetches--;
        worker->nfetches--;

        if (!ngx_queue_empty(&worker->crowded)) {
            ngx_post_event(&worker->place_event, &ngx_posted_events);
        }
    }

    ngx_strict_tls_responder_done(worker, responder);
}


static ngx_strict_tls_responder_t *
ngx_strict_tls_responder(ngx_strict_tls_fetch_t *fetch)
{
    uint32_t                     hash;
    ngx_str_t                    name;
    ngx_strict_tls_worker_t     *worker;
    ngx_strict_tls_responder_t  *responder;

    worker = fetch->worker;

    name.data = (u_char *) fetch->target.host;
    name.len = ngx_strlen(fetch->target.host);
    hash = ngx_murmur_hash2(name.data, name.len);

    responder = (ngx_strict_tls_responder_t *)
                    ngx_str_rbtree_lookup(&worker->responders, &name, hash);
    if (responder) {
        return responder;
    }

    responder = ngx_calloc(sizeof(ngx_strict_tls_responder_t) + name.len,
                           ngx_cycle->log);
    if (responder == NULL) {
        return NULL;
    }

    ngx_queue_init(&responder->waiting);

    responder->node.node.key = hash;
    responder->node.str.len = name.len;
    responder->node.str.data = (u_char *) (responder + 1);
    ngx_memcpy(responder->node.str.data, name.data, name.len);

    ngx_rbtree_insert(&worker->responders, &responder->node.node);

    return responder;
}


static void
ngx_strict_tls_responder_done(ngx_strict_tls_worker_t *worker,
    ngx_strict_tls_responder_t *responder)
{
    if (responder->nfetches == 0 && ngx_queue_empty(&responder->waiting)) {
        ngx_rbtree_delete(&worker->responders, &responder->node.node);
        ngx_free(responder);
    }
}


static ngx_uint_t
ngx_strict_tls_has_place(ngx_strict_tls_fetch_t *fetch)
{
    ngx_int_t  left;

    left = stls_policy_get_int(fetch->policy, STLS_KEY_MAX_FETCHES_IN_FLIGHT)
           - fetch->worker->nfetches;

    return left > 0 && fetch->responder->nfetches < 2 * left;
}


static void
ngx_strict_tls_place_handler(ngx_event_t *ev)
{
    ngx_uint_t                i;
    ngx_strict_tls_fetch_t   *fetch;
    ngx_strict_tls_worker_t  *worker;

    worker = ev->data;

    for (i = 0; /* void */ ; i++) {

        fetch = ngx_strict_tls_next_in_line(worker);

        if (fetch == NULL) {
            return;
        }

        if (i == NGX_STRICT_TLS_PLACES) {
            ngx_post_event(ev, &ngx_posted_next_events);
            return;
        }

        ngx_strict_tls_queue_leave(fetch);

        fetch->has_turn = 1;

        ngx_strict_tls_fetch_proceed(fetch);
    }
}


/* The first of the responder that has the fewest in flight, if it may go. */

static ngx_strict_tls_fetch_t *
ngx_strict_tls_next_in_line(ngx_strict_tls_worker_t *worker)
{
    ngx_queue_t                 *q, *head;
    ngx_strict_tls_fetch_t      *fetch, *best;
    ngx_strict_tls_responder_t  *responder;

    best = NULL;

    for (q = ngx_queue_head(&worker->crowded);
         q != ngx_queue_sentinel(&worker->crowded);
         q = ngx_queue_next(q))
    {
        responder = ngx_queue_data(q, ngx_strict_tls_responder_t, queue);

        head = ngx_queue_head(&responder->waiting);
        fetch = ngx_queue_data(head, ngx_strict_tls_fetch_t, line);

        if (ngx_strict_tls_has_place(fetch)
            && (best == NULL
                || responder->nfetches < best->responder->nfetches))
        {
            best = fetch;
        }
    }

    return best;
}
