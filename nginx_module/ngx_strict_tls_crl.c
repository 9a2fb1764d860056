/*
 * CRLs of this worker: indexed once, in slices between other events, shared by
 * all checks, bounded in memory, and kept on disk as they came.  What lies on
 * disk is trusted no more than what came over the network: checks verify it.
 */

#include "ngx_strict_tls.h"


/* About a millisecond of indexing, reading or writing at a time. */
#define NGX_STRICT_TLS_SLICE     (128 * 1024)

#define NGX_STRICT_TLS_CRL_NAME  (2 * STLS_ID_LEN + sizeof(".crl") - 1)


typedef struct {
    ngx_str_node_t                  node;      /* in worker->crls */
    ngx_queue_t                     queue;     /* most recently used first */
    u_char                          question[STLS_ID_LEN];

    stls_crl                       *crl;
    ngx_atomic_uint_t               epoch;     /* when it was published */
    time_t                          produced;  /* 0: no check took it */
    time_t                          until;
    time_t                          refresh_at;
    time_t                          retry_at;  /* it settles nothing: no
                                                  new one before */
} ngx_strict_tls_crl_t;


struct ngx_strict_tls_crl_work_s {
    ngx_strict_tls_fetch_t    *fetch;     /* NULL: writing */
    stls_crl                       *crl;
    u_char                         *bytes;
    size_t                          len;
    size_t                          done;

    ngx_fd_t                        fd;
    ngx_str_t                       path;
    ngx_str_t                       temp;
    ngx_event_t                     event;
    ngx_queue_t                     queue;     /* in worker->crl_writes */
};


static ngx_strict_tls_crl_t *ngx_strict_tls_crl_find(
    ngx_strict_tls_worker_t *worker, const u_char *question);
static ngx_uint_t ngx_strict_tls_crl_is_good(
    ngx_strict_tls_crl_t *entry);
static void ngx_strict_tls_crl_drop(ngx_strict_tls_worker_t *worker,
    ngx_strict_tls_crl_t *entry);
static ngx_int_t ngx_strict_tls_crl_path(
    ngx_strict_tls_worker_t *worker, const u_char *question,
    ngx_str_t *path);
static ngx_strict_tls_crl_work_t *ngx_strict_tls_crl_work(
    ngx_event_handler_pt handler);
static void ngx_strict_tls_crl_work_free(
    ngx_strict_tls_crl_work_t *work);
static void ngx_strict_tls_crl_read_handler(ngx_event_t *ev);
static void ngx_strict_tls_crl_index_handler(ngx_event_t *ev);
static ngx_uint_t ngx_strict_tls_crl_is_outdated(
    ngx_strict_tls_fetch_t *fetch);
static void ngx_strict_tls_crl_write_handler(ngx_event_t *ev);


/* ---- what is known ---- */

/*
 * The CRL to feed, borrowed, or NULL.  *is_final: no newer one was to be had a
 * moment ago, so that a check need not ask for one.
 */

stls_crl *
ngx_strict_tls_crl_get0(ngx_strict_tls_worker_t *worker,
    stls_fetch *want, ngx_uint_t refresh, ngx_uint_t *is_final)
{
    time_t                 now;
    ngx_strict_tls_crl_t  *entry;

    now = ngx_time();
    entry = ngx_strict_tls_crl_find(worker, want->question);

    if (entry == NULL) {
        return NULL;
    }

    *is_final = entry->retry_at > now;

    if (!*is_final
        && (!want->may_use_cache || (refresh && entry->refresh_at <= now)))
    {
        return NULL;
    }

    ngx_queue_remove(&entry->queue);
    ngx_queue_insert_head(&worker->crls_lru, &entry->queue);

    ngx_strict_tls_status_count(worker->conf, STLS_FIGURE_ANSWER_CACHE_HITS);

    return entry->crl;
}


/* What comes may be older than what is known: then that is what counts. */

void
ngx_strict_tls_crl_keep_newer(ngx_strict_tls_fetch_t *fetch)
{
    ngx_strict_tls_crl_t  *entry;

    entry = ngx_strict_tls_crl_find(fetch->worker, fetch->question);

    if (entry && ngx_strict_tls_crl_is_good(entry)
        && entry->produced > stls_crl_this_update_s(fetch->crl))
    {
        stls_crl_free(fetch->crl);
        fetch->crl = stls_crl_up_ref(entry->crl);
    }
}


static ngx_uint_t
ngx_strict_tls_crl_is_good(ngx_strict_tls_crl_t *entry)
{
    return entry->produced && entry->until >= ngx_time();
}


/*
 * Keeps the CRL that a fetch brought; `answer` is what a check made of it.
 * NGX_DECLINED: the one that is known is better.
 */

ngx_int_t
ngx_strict_tls_crl_put(ngx_strict_tls_fetch_t *fetch,
    stls_answer *answer)
{
    size_t                    len, max, der_len;
    u_char                    id[STLS_ID_LEN];
    stls_answer               shared;
    const u_char             *der;
    time_t                    now;
    uint32_t                  hash;
    ngx_queue_t              *q;
    ngx_atomic_uint_t         epoch;
    ngx_strict_tls_crl_t     *entry, *last;
    ngx_strict_tls_worker_t  *worker;

    now = ngx_time();
    worker = fetch->worker;
    len = stls_crl_memory_len(fetch->crl);
    max = (size_t) stls_policy_get_int(fetch->policy,
                                       STLS_KEY_CRL_MEMORY_BYTES);

    entry = ngx_strict_tls_crl_find(worker, fetch->question);

    if (entry && ngx_strict_tls_crl_is_good(entry)
        && (!answer->conclusive || entry->crl == fetch->crl))
    {
        /* nothing newer was to be had: not to be asked for all the time */

        entry->retry_at = answer->conclusive ? 0 : answer->retry_at_s;
        entry->refresh_at = now + 1 + ngx_max((entry->until - now) / 2, 1);

        return NGX_DECLINED;
    }

    /* what rested on the one before may be revoked in this one */

    epoch = worker->epoch;

    if (answer->conclusive && stls_crl_id(fetch->crl, id) == STLS_OK) {

        /* whoever hears of this one must not find the one before here */

        if (worker->conf->crl_path == NULL && !fetch->from_zone) {
            shared = *answer;
            shared.revoked = 0;
            der = stls_crl_get0_der(fetch->crl, &der_len);

            ngx_strict_tls_cache_put_answer(worker->conf->zone,
                                            fetch->question, &shared, der,
                                            der_len);
        }

        epoch = ngx_strict_tls_cache_crl(worker->conf->zone, fetch->question,
                                         id,
                                         stls_crl_this_update_s(fetch->crl));
    }

    if (entry) {
        ngx_strict_tls_crl_drop(worker, entry);
    }

    if (len > max) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "strict-tls: a CRL of %uz bytes exceeds "
                      "crl_memory_bytes and is not kept", len);
        return NGX_OK;
    }

    while (worker->crls_len + len > max && !ngx_queue_empty(&worker->crls_lru))
    {
        q = ngx_queue_last(&worker->crls_lru);
        last = ngx_queue_data(q, ngx_strict_tls_crl_t, queue);
        ngx_strict_tls_crl_drop(worker, last);
    }

    entry = ngx_calloc(sizeof(ngx_strict_tls_crl_t), ngx_cycle->log);
    if (entry == NULL) {
        return NGX_OK;
    }

    ngx_memcpy(entry->question, fetch->question, STLS_ID_LEN);
    ngx_memcpy(&hash, entry->question, sizeof(uint32_t));

    entry->node.node.key = hash;
    entry->node.str.data = entry->question;
    entry->node.str.len = STLS_ID_LEN;
    entry->crl = stls_crl_up_ref(fetch->crl);
    entry->epoch = epoch;

    if (answer->conclusive) {
        entry->produced = stls_crl_this_update_s(fetch->crl);
        entry->until = answer->use_until_s;
        entry->refresh_at = answer->refresh_at_s;

        if (entry->refresh_at <= now) {
            entry->refresh_at = now + 1 + (entry->until - now) / 2;
        }

    } else {
        entry->retry_at = answer->retry_at_s;
    }

    ngx_rbtree_insert(&worker->crls, &entry->node.node);
    ngx_queue_insert_head(&worker->crls_lru, &entry->queue);
    worker->crls_len += len;

    return NGX_OK;
}


/* Another worker has a newer one: news number `epoch` said so. */

void
ngx_strict_tls_crl_outdate(ngx_strict_tls_worker_t *worker,
    const u_char *question, ngx_atomic_uint_t epoch)
{
    ngx_strict_tls_crl_t  *entry;

    entry = ngx_strict_tls_crl_find(worker, question);

    if (entry && (ngx_atomic_int_t) (epoch - entry->epoch) > 0) {
        ngx_strict_tls_crl_drop(worker, entry);
    }
}


void
ngx_strict_tls_crl_clear(ngx_strict_tls_worker_t *worker)
{
    ngx_queue_t           *q;
    ngx_strict_tls_crl_t  *entry;

    while (!ngx_queue_empty(&worker->crls_lru)) {
        q = ngx_queue_head(&worker->crls_lru);
        entry = ngx_queue_data(q, ngx_strict_tls_crl_t, queue);
        ngx_strict_tls_crl_drop(worker, entry);
    }
}


void
ngx_strict_tls_crl_stop(ngx_strict_tls_worker_t *worker)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&worker->crl_writes)) {
        q = ngx_queue_head(&worker->crl_writes);
        ngx_strict_tls_crl_work_free(
            ngx_queue_data(q, ngx_strict_tls_crl_work_t, queue));
    }

    ngx_strict_tls_crl_clear(worker);
}


static ngx_strict_tls_crl_t *
ngx_strict_tls_crl_find(ngx_strict_tls_worker_t *worker,
    const u_char *question)
{
    uint32_t   hash;
    ngx_str_t  name;

    ngx_memcpy(&hash, question, sizeof(uint32_t));
    name.data = (u_char *) question;
    name.len = STLS_ID_LEN;

    return (ngx_strict_tls_crl_t *)
               ngx_str_rbtree_lookup(&worker->crls, &name, hash);
}


static void
ngx_strict_tls_crl_drop(ngx_strict_tls_worker_t *worker,
    ngx_strict_tls_crl_t *entry)
{
    worker->crls_len -= stls_crl_memory_len(entry->crl);

    ngx_rbtree_delete(&worker->crls, &entry->node.node);
    ngx_queue_remove(&entry->queue);
    stls_crl_free(entry->crl);
    ngx_free(entry);
}


/* ---- indexing ---- */

/* Takes `bytes` over, which free() releases; the fetch ends when it is done. */

void
ngx_strict_tls_crl_index(ngx_strict_tls_fetch_t *fetch,
    u_char *bytes, size_t len)
{
    ngx_strict_tls_crl_work_t  *work;

    work = ngx_strict_tls_crl_work(ngx_strict_tls_crl_index_handler);

    if (work == NULL) {
        free(bytes);
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_LOCAL,
                                  "this process is out of memory");
        return;
    }

    work->crl = stls_crl_new(NULL, bytes, len, free);

    if (work->crl == NULL) {
        ngx_strict_tls_crl_work_free(work);
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_LOCAL,
                                  "this process is out of memory");
        return;
    }

    work->fetch = fetch;
    fetch->crl_work = work;
    fetch->state = ngx_strict_tls_indexing;

    ngx_post_event(&work->event, &ngx_posted_next_events);
}


static void
ngx_strict_tls_crl_index_handler(ngx_event_t *ev)
{
    ngx_uint_t                  lacks_memory;
    ngx_strict_tls_fetch_t     *fetch;
    ngx_strict_tls_crl_work_t  *work;

    work = ev->data;
    fetch = work->fetch;
    lacks_memory = 0;

    switch (stls_crl_step(work->crl, NGX_STRICT_TLS_SLICE)) {

    case STLS_CRL_MORE:
        ngx_post_event(&work->event, &ngx_posted_next_events);
        return;

    case STLS_CRL_DONE:
        fetch->crl = work->crl;
        work->crl = NULL;
        break;

    default: /* the check is told by the lack of a CRL */
        lacks_memory = stls_crl_lacks_memory(work->crl);
        break;
    }

    fetch->crl_work = NULL;
    ngx_strict_tls_crl_work_free(work);

    if (lacks_memory) {
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_LOCAL,
                                  "this process is out of memory");
        return;
    }

    if (fetch->from_disk && ngx_strict_tls_crl_is_outdated(fetch)) {

        /* another worker is about to replace it */

        stls_crl_free(fetch->crl);
        fetch->crl = NULL;
        fetch->from_disk = 0;
        fetch->state = ngx_strict_tls_resolving;
        ngx_strict_tls_exchange(fetch);
        return;
    }

    if (fetch->crl == NULL && fetch->from_disk) {
        ngx_strict_tls_crl_discard(fetch);
        fetch->from_disk = 0;
        fetch->state = ngx_strict_tls_resolving;
        ngx_strict_tls_exchange(fetch);
        return;
    }

    ngx_strict_tls_fetch_over(fetch, STLS_FETCH_OK, "");
}


/* Whether a newer one than this is, or was, in use somewhere. */

static ngx_uint_t
ngx_strict_tls_crl_is_outdated(ngx_strict_tls_fetch_t *fetch)
{
    return fetch->crl
           && stls_crl_this_update_s(fetch->crl)
              < ngx_strict_tls_cache_crl_produced(fetch->worker->conf->zone,
                                                  fetch->question);
}


/* ---- on disk ---- */

/*
 * NGX_OK: the fetch goes on with what lies on disk; no network is needed.  Who
 * wants a new one takes what another worker has fetched meanwhile.
 */

ngx_int_t
ngx_strict_tls_crl_load(ngx_strict_tls_fetch_t *fetch)
{
    size_t                      max;
    ngx_str_t                   path;
    ngx_file_info_t             fi;
    ngx_strict_tls_crl_work_t  *work;

    if (ngx_strict_tls_crl_path(fetch->worker, fetch->question, &path)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    work = ngx_strict_tls_crl_work(ngx_strict_tls_crl_read_handler);

    if (work == NULL) {
        ngx_free(path.data);
        return NGX_DECLINED;
    }

    work->path = path;
    work->fd = ngx_open_file(path.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    max = (size_t) stls_policy_get_int(fetch->policy, STLS_KEY_MAX_CRL_BYTES);

    if (work->fd == NGX_INVALID_FILE
        || ngx_fd_info(work->fd, &fi) == NGX_FILE_ERROR
        || !ngx_is_file(&fi)
        || ngx_file_size(&fi) <= 0
        || (size_t) ngx_file_size(&fi) > max
        || ((!fetch->may_use_cache || fetch->refresh)
            && ngx_file_mtime(&fi) < fetch->since))
    {
        ngx_strict_tls_crl_work_free(work);
        return NGX_DECLINED;
    }

    work->len = ngx_file_size(&fi);
    work->bytes = malloc(work->len);

    if (work->bytes == NULL) {
        ngx_strict_tls_crl_work_free(work);
        return NGX_DECLINED;
    }

    work->fetch = fetch;
    fetch->crl_work = work;
    fetch->from_disk = 1;
    fetch->state = ngx_strict_tls_indexing;

    ngx_post_event(&work->event, &ngx_posted_next_events);

    return NGX_OK;
}


static void
ngx_strict_tls_crl_read_handler(ngx_event_t *ev)
{
    u_char                     *bytes;
    size_t                      len;
    ssize_t                     n;
    ngx_strict_tls_fetch_t     *fetch;
    ngx_strict_tls_crl_work_t  *work;

    work = ev->data;
    fetch = work->fetch;

    len = ngx_min(work->len - work->done, NGX_STRICT_TLS_SLICE);
    n = read(work->fd, work->bytes + work->done, len);

    if (n > 0) {
        work->done += n;
    }

    if (n > 0 && work->done < work->len) {
        ngx_post_event(&work->event, &ngx_posted_next_events);
        return;
    }

    bytes = NULL;
    len = work->len;

    if (n > 0) {
        bytes = work->bytes;
        work->bytes = NULL;
    }

    fetch->crl_work = NULL;
    ngx_strict_tls_crl_work_free(work);

    if (bytes == NULL) {

        /* cut short under our eyes: the network has it, too */

        fetch->from_disk = 0;
        fetch->state = ngx_strict_tls_resolving;
        ngx_strict_tls_exchange(fetch);
        return;
    }

    ngx_strict_tls_crl_index(fetch, bytes, len);
}


/* What lies there proves nothing: out of the way of those who look for a new one. */

void
ngx_strict_tls_crl_discard(ngx_strict_tls_fetch_t *fetch)
{
    ngx_str_t  path;

    if (ngx_strict_tls_crl_path(fetch->worker, fetch->question, &path)
        == NGX_OK)
    {
        (void) ngx_delete_file(path.data);
        ngx_free(path.data);
    }
}


/* Under its final name only when it is whole. */

void
ngx_strict_tls_crl_save(ngx_strict_tls_fetch_t *fetch)
{
    ngx_str_t                   path;
    ngx_strict_tls_worker_t    *worker;
    ngx_strict_tls_crl_work_t  *work;

    worker = fetch->worker;

    if (ngx_strict_tls_crl_path(worker, fetch->question, &path)
        != NGX_OK)
    {
        return;
    }

    work = ngx_strict_tls_crl_work(ngx_strict_tls_crl_write_handler);

    if (work == NULL) {
        ngx_free(path.data);
        return;
    }

    work->path = path;
    work->temp.len = path.len + 3 * NGX_INT64_LEN + 4;
    work->temp.data = ngx_alloc(work->temp.len, ngx_cycle->log);

    if (work->temp.data == NULL) {
        ngx_strict_tls_crl_work_free(work);
        return;
    }

    /* the http and the stream module may be told the same folder */

    (void) ngx_sprintf(work->temp.data, "%s.%P.%ui.%ui%Z", path.data, ngx_pid,
                       worker->conf->module->index, worker->crl_serial++);

    work->fd = ngx_open_file(work->temp.data, NGX_FILE_WRONLY,
                             NGX_FILE_TRUNCATE, NGX_FILE_OWNER_ACCESS);

    if (work->fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                      ngx_open_file_n " \"%s\" failed", work->temp.data);
        ngx_free(work->temp.data);
        work->temp.data = NULL;
        ngx_strict_tls_crl_work_free(work);
        return;
    }

    work->crl = stls_crl_up_ref(fetch->crl);
    work->bytes = NULL;

    (void) stls_crl_get0_der(work->crl, &work->len);

    ngx_queue_insert_tail(&fetch->worker->crl_writes, &work->queue);
    ngx_post_event(&work->event, &ngx_posted_next_events);
}


static void
ngx_strict_tls_crl_write_handler(ngx_event_t *ev)
{
    size_t                      len;
    ssize_t                     n;
    const u_char               *der;
    ngx_strict_tls_crl_work_t  *work;

    work = ev->data;
    der = stls_crl_get0_der(work->crl, &work->len);

    len = ngx_min(work->len - work->done, NGX_STRICT_TLS_SLICE);
    n = ngx_write_fd(work->fd, (u_char *) der + work->done, len);

    if (n <= 0) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                      ngx_write_fd_n " \"%s\" failed", work->temp.data);
        ngx_strict_tls_crl_work_free(work);
        return;
    }

    work->done += n;

    if (work->done < work->len) {
        ngx_post_event(&work->event, &ngx_posted_next_events);
        return;
    }

    if (ngx_rename_file(work->temp.data, work->path.data) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                      ngx_rename_file_n " \"%s\" to \"%s\" failed",
                      work->temp.data, work->path.data);
    } else {
        ngx_free(work->temp.data);
        work->temp.data = NULL;
    }

    ngx_strict_tls_crl_work_free(work);
}


static ngx_int_t
ngx_strict_tls_crl_path(ngx_strict_tls_worker_t *worker,
    const u_char *question, ngx_str_t *path)
{
    u_char      *p;
    ngx_path_t  *dir;

    dir = worker->conf->crl_path;

    if (dir == NULL) {
        return NGX_DECLINED;
    }

    path->len = dir->name.len + 1 + NGX_STRICT_TLS_CRL_NAME;
    path->data = ngx_alloc(path->len + 1, ngx_cycle->log);

    if (path->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(path->data, dir->name.data, dir->name.len);
    *p++ = '/';
    p = ngx_hex_dump(p, (u_char *) question, STLS_ID_LEN);
    ngx_memcpy(p, ".crl", sizeof(".crl"));

    return NGX_OK;
}


static ngx_strict_tls_crl_work_t *
ngx_strict_tls_crl_work(ngx_event_handler_pt handler)
{
    ngx_strict_tls_crl_work_t  *work;

    work = ngx_calloc(sizeof(ngx_strict_tls_crl_work_t), ngx_cycle->log);

    if (work) {
        work->fd = NGX_INVALID_FILE;
        work->event.handler = handler;
        work->event.data = work;
        work->event.log = ngx_cycle->log;
    }

    return work;
}


void
ngx_strict_tls_crl_cancel(ngx_strict_tls_fetch_t *fetch)
{
    if (fetch->crl_work) {
        ngx_strict_tls_crl_work_free(fetch->crl_work);
        fetch->crl_work = NULL;
    }
}


static void
ngx_strict_tls_crl_work_free(ngx_strict_tls_crl_work_t *work)
{
    if (work->event.posted) {
        ngx_delete_posted_event(&work->event);
    }

    if (work->queue.next) {
        ngx_queue_remove(&work->queue);
    }

    if (work->fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(work->fd);
    }

    if (work->temp.data) {
        (void) ngx_delete_file(work->temp.data);
        ngx_free(work->temp.data);
    }

    if (work->path.data) {
        ngx_free(work->path.data);
    }

    free(work->bytes);
    stls_crl_free(work->crl);
    ngx_free(work);
}
