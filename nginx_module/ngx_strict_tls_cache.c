/*
 * What all workers share: OCSP answers by question, failures and leases by
 * flight, and the list of revocations learned.  Nothing here is trusted: the
 * core verifies every answer again.
 */

#include "ngx_strict_tls.h"


#define NGX_STRICT_TLS_MAGIC     0x53544c53       /* and layout version */
#define NGX_STRICT_TLS_LAYOUT    3

#define NGX_STRICT_TLS_NEWS      128

/* A CRL that has grown too large for the zone may shrink again. */
#define NGX_STRICT_TLS_UNSHARED  3600


typedef enum {
    ngx_strict_tls_entry_answer = 1,
    ngx_strict_tls_entry_failure,
    ngx_strict_tls_entry_lease,
    ngx_strict_tls_entry_crl,     /* the id of the one in use */
    ngx_strict_tls_entry_revoked, /* announced: not again before `until` */
    ngx_strict_tls_entry_unshared /* a CRL too large for here */
} ngx_strict_tls_entry_e;


typedef struct {
    ngx_rbtree_t                    rbtree;
    ngx_rbtree_node_t               sentinel;
    ngx_queue_t                     lru;

    uint32_t                        magic;
    uint32_t                        layout;
    uint32_t                        lease;     /* last one given */
    uint64_t                        evicted;   /* before their time */

    /* counts revocations learned; news[n % NEWS] is the n-th's question */
    ngx_atomic_t                    epoch;
    u_char                          news[NGX_STRICT_TLS_NEWS]
                                        [STLS_ID_LEN];
} ngx_strict_tls_shctx_t;


typedef struct {
    ngx_str_node_t                  node;
    ngx_queue_t                     queue;
    u_char                          key[1 + STLS_ID_LEN];

    int64_t                         until;     /* seconds, inclusive */
    int64_t                         refresh_at;
    int64_t                         produced;
    ngx_msec_t                      stored;    /* monotonic milliseconds */
    ngx_msec_t                      lease_until;
    uint32_t                        lease;
    ngx_pid_t                       holder;    /* of the lease */
    stls_fetch_outcome              outcome;
    ngx_uint_t                      revoked;

    size_t                          len;
    u_char                          bytes[1];
} ngx_strict_tls_entry_t;


static ngx_strict_tls_entry_t *ngx_strict_tls_cache_find(
    ngx_strict_tls_shctx_t *sh, ngx_uint_t kind, const u_char *id);
static ngx_strict_tls_entry_t *ngx_strict_tls_cache_add(
    ngx_slab_pool_t *shpool, ngx_uint_t kind, const u_char *id,
    const u_char *bytes, size_t len);
static void ngx_strict_tls_cache_drop(ngx_slab_pool_t *shpool,
    ngx_strict_tls_entry_t *entry);
static ngx_int_t ngx_strict_tls_cache_copy(
    ngx_strict_tls_entry_t *entry, ngx_strict_tls_found_t *found);
static void ngx_strict_tls_cache_publish_locked(
    ngx_strict_tls_shctx_t *sh, const u_char *question);
static void ngx_strict_tls_cache_announce_locked(ngx_slab_pool_t *shpool,
    const u_char *question, time_t until);
static void ngx_strict_tls_cache_forget_locked(ngx_slab_pool_t *shpool,
    ngx_uint_t kind, const u_char *id);
static ngx_uint_t ngx_strict_tls_cache_is_alive(ngx_pid_t pid);
static void ngx_strict_tls_cache_evict(ngx_slab_pool_t *shpool,
    ngx_strict_tls_entry_t *entry);
static ngx_strict_tls_cache_e ngx_strict_tls_cache_look_locked(
    ngx_slab_pool_t *shpool, ngx_strict_tls_lookup_t *lookup,
    ngx_strict_tls_found_t *found);


ngx_int_t
ngx_strict_tls_cache_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t         *shpool;
    ngx_strict_tls_shctx_t  *sh;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data || zone->shm.exists) {
        sh = shpool->data;

        if (sh->magic != NGX_STRICT_TLS_MAGIC
            || sh->layout != NGX_STRICT_TLS_LAYOUT)
        {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "zone \"%V\" holds data of another version of "
                          "strict-tls: restart instead of reloading",
                          &zone->shm.name);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    sh = ngx_slab_calloc(shpool, sizeof(ngx_strict_tls_shctx_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    ngx_rbtree_init(&sh->rbtree, &sh->sentinel, ngx_str_rbtree_insert_value);
    ngx_queue_init(&sh->lru);

    sh->magic = NGX_STRICT_TLS_MAGIC;
    sh->layout = NGX_STRICT_TLS_LAYOUT;

    shpool->data = sh;

    /* a full zone is business as usual: the least recently used goes */
    shpool->log_nomem = 0;

    return NGX_OK;
}


/* One look under one lock, so that of all workers exactly one goes to ask. */

ngx_strict_tls_cache_e
ngx_strict_tls_cache_look(ngx_shm_zone_t *zone,
    ngx_strict_tls_lookup_t *lookup, ngx_strict_tls_found_t *found)
{
    ngx_slab_pool_t        *shpool;
    ngx_strict_tls_cache_e  rc;

    ngx_memzero(found, sizeof(ngx_strict_tls_found_t));

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    rc = ngx_strict_tls_cache_look_locked(shpool, lookup, found);

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


static ngx_strict_tls_cache_e
ngx_strict_tls_cache_look_locked(ngx_slab_pool_t *shpool,
    ngx_strict_tls_lookup_t *lookup, ngx_strict_tls_found_t *found)
{
    time_t                   now;
    ngx_strict_tls_shctx_t  *sh;
    ngx_strict_tls_entry_t  *entry;

    sh = shpool->data;
    now = ngx_time();

    entry = ngx_strict_tls_cache_find(sh,
                                      ngx_strict_tls_entry_answer,
                                      lookup->question);

    if (entry
        && entry->until >= now
        && (lookup->any_age
            || (ngx_msec_int_t) (entry->stored - lookup->since) > 0)
        && !(lookup->refresh && entry->refresh_at <= now)
        && ngx_strict_tls_cache_copy(entry, found) == NGX_OK)
    {
        return ngx_strict_tls_cache_answer;
    }

    entry = ngx_strict_tls_cache_find(sh,
                                      ngx_strict_tls_entry_failure,
                                      lookup->flight);

    if (entry
        && entry->until > now
        && ngx_strict_tls_cache_copy(entry, found) == NGX_OK)
    {
        return ngx_strict_tls_cache_failure;
    }

    if (lookup->is_crl) {
        entry = ngx_strict_tls_cache_find(sh, ngx_strict_tls_entry_unshared,
                                          lookup->question);

        if (entry && entry->until > now) {
            found->alone = 1;
            return ngx_strict_tls_cache_alone;
        }
    }

    entry = ngx_strict_tls_cache_find(sh,
                                      ngx_strict_tls_entry_lease,
                                      lookup->flight);

    if (entry
        && (ngx_msec_int_t) (entry->lease_until - ngx_current_msec) > 0
        && ngx_strict_tls_cache_is_alive(entry->holder))
    {
        return ngx_strict_tls_cache_busy;
    }

    if (entry == NULL) {
        entry = ngx_strict_tls_cache_add(shpool,
                                         ngx_strict_tls_entry_lease,
                                         lookup->flight, NULL, 0);
    }

    /* without room for a lease two workers may ask, which does no harm */

    if (entry) {
        if (++sh->lease == 0) {
            sh->lease = 1;
        }

        entry->lease = sh->lease;
        entry->holder = ngx_pid;
        entry->lease_until = ngx_current_msec + lookup->lease_for;
        entry->until = ngx_time() + 1 + (int64_t) (lookup->lease_for / 1000);

        found->lease = entry->lease;
    }

    return ngx_strict_tls_cache_yours;
}


void
ngx_strict_tls_cache_put_answer(ngx_shm_zone_t *zone,
    const u_char *question, const stls_answer *answer, const u_char *bytes,
    size_t len)
{
    time_t                   now;
    ngx_slab_pool_t         *shpool;
    ngx_strict_tls_shctx_t  *sh;
    ngx_strict_tls_entry_t  *entry;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    sh = shpool->data;
    now = ngx_time();

    ngx_shmtx_lock(&shpool->mutex);

    entry = ngx_strict_tls_cache_find(sh,
                                      ngx_strict_tls_entry_answer,
                                      question);

    if (entry && entry->until >= now && entry->produced > answer->produced_s) {
        /* what is newer stays, whoever brings what is older */
        ngx_shmtx_unlock(&shpool->mutex);
        return;
    }

    if (entry) {
        ngx_strict_tls_cache_drop(shpool, entry);
    }

    if (answer->revoked) {
        ngx_strict_tls_cache_announce_locked(shpool, question,
                                             answer->use_until_s);

    } else {
        /* should it be revoked again, that is news */
        ngx_strict_tls_cache_forget_locked(shpool,
                                           ngx_strict_tls_entry_revoked,
                                           question);
    }

    entry = ngx_strict_tls_cache_add(shpool,
                                     ngx_strict_tls_entry_answer,
                                     question, bytes, len);
    if (entry) {
        entry->outcome = STLS_FETCH_CACHED;
        entry->revoked = answer->revoked;
        entry->produced = answer->produced_s;
        entry->until = answer->use_until_s;
        entry->stored = ngx_current_msec;
        entry->refresh_at = answer->refresh_at_s;

        /*
         * Some responders hand out answers past half their life.  There is
         * none newer to be had, so the rest of their life is halved.
         */

        if (entry->refresh_at <= now) {
            entry->refresh_at = now + 1 + (entry->until - now) / 2;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_strict_tls_cache_put_failure(ngx_shm_zone_t *zone,
    const u_char *flight, stls_fetch_outcome outcome, int64_t retry_at,
    const u_char *bytes, size_t len)
{
    ngx_slab_pool_t         *shpool;
    ngx_strict_tls_shctx_t  *sh;
    ngx_strict_tls_entry_t  *entry;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    sh = shpool->data;

    ngx_shmtx_lock(&shpool->mutex);

    entry = ngx_strict_tls_cache_find(sh,
                                      ngx_strict_tls_entry_failure,
                                      flight);
    if (entry) {
        ngx_strict_tls_cache_drop(shpool, entry);
    }

    if (retry_at > ngx_time()) {
        entry = ngx_strict_tls_cache_add(shpool,
                                             ngx_strict_tls_entry_failure,
                                             flight, bytes, len);
        if (entry) {
            entry->outcome = outcome;
            entry->until = retry_at;
            entry->stored = ngx_current_msec;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_strict_tls_cache_release(ngx_shm_zone_t *zone, const u_char *flight,
    uint32_t lease)
{
    ngx_slab_pool_t         *shpool;
    ngx_strict_tls_entry_t  *entry;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    entry = ngx_strict_tls_cache_find(shpool->data,
                                      ngx_strict_tls_entry_lease,
                                      flight);

    /* an expired lease may be someone else's by now */

    if (entry && entry->lease == lease) {
        ngx_strict_tls_cache_drop(shpool, entry);
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


/* A lease ends with its holder: a worker that was killed releases nothing. */

static ngx_uint_t
ngx_strict_tls_cache_is_alive(ngx_pid_t pid)
{
    return pid == ngx_pid || kill(pid, 0) == 0 || ngx_errno != NGX_ESRCH;
}


static void
ngx_strict_tls_cache_publish_locked(ngx_strict_tls_shctx_t *sh,
    const u_char *question)
{
    ngx_memcpy(sh->news[(sh->epoch + 1) % NGX_STRICT_TLS_NEWS],
               question, STLS_ID_LEN);
    ngx_memory_barrier();
    sh->epoch++;
}


/*
 * A certificate was found to be revoked, by whatever proof: verdicts about it
 * are judged anew.  What a responder said before does not answer for it either,
 * or the next check would find it good again without asking.
 */

void
ngx_strict_tls_cache_revoked(ngx_shm_zone_t *zone, const u_char *question,
    time_t until)
{
    ngx_slab_pool_t         *shpool;
    ngx_strict_tls_entry_t  *entry;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    entry = ngx_strict_tls_cache_find(shpool->data,
                                      ngx_strict_tls_entry_revoked,
                                      question);

    if (entry == NULL || entry->until < ngx_time()) {

        entry = ngx_strict_tls_cache_find(shpool->data,
                                          ngx_strict_tls_entry_answer,
                                          question);

        if (entry && !entry->revoked) {
            ngx_strict_tls_cache_drop(shpool, entry);
        }
    }

    ngx_strict_tls_cache_announce_locked(shpool, question, until);

    ngx_shmtx_unlock(&shpool->mutex);
}


/* Once, however many checks and workers find the same. */

static void
ngx_strict_tls_cache_announce_locked(ngx_slab_pool_t *shpool,
    const u_char *question, time_t until)
{
    ngx_strict_tls_entry_t  *entry;

    entry = ngx_strict_tls_cache_find(shpool->data,
                                      ngx_strict_tls_entry_revoked,
                                      question);

    if (entry && entry->until >= ngx_time()) {
        entry->until = ngx_max(entry->until, until);
        return;
    }

    if (entry == NULL) {
        entry = ngx_strict_tls_cache_add(shpool,
                                         ngx_strict_tls_entry_revoked,
                                         question, NULL, 0);
    }

    if (entry) {
        entry->until = until;
    }

    ngx_strict_tls_cache_publish_locked(shpool->data, question);
}


static void
ngx_strict_tls_cache_forget_locked(ngx_slab_pool_t *shpool, ngx_uint_t kind,
    const u_char *id)
{
    ngx_strict_tls_entry_t  *entry;

    entry = ngx_strict_tls_cache_find(shpool->data, kind, id);

    if (entry) {
        ngx_strict_tls_cache_drop(shpool, entry);
    }
}


/*
 * A verified CRL is in use.  Unless it is the one that was in use before, in
 * whichever worker, what rested on that one must be judged anew.
 */

ngx_atomic_uint_t
ngx_strict_tls_cache_crl(ngx_shm_zone_t *zone, const u_char *question,
    const u_char *id, time_t produced)
{
    ngx_slab_pool_t         *shpool;
    ngx_atomic_uint_t        epoch;
    ngx_strict_tls_shctx_t  *sh;
    ngx_strict_tls_entry_t  *entry;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    sh = shpool->data;

    ngx_shmtx_lock(&shpool->mutex);

    entry = ngx_strict_tls_cache_find(sh, ngx_strict_tls_entry_crl,
                                      question);

    if (entry == NULL || ngx_memcmp(entry->bytes, id, STLS_ID_LEN) != 0) {

        if (entry) {
            ngx_strict_tls_cache_drop(shpool, entry);
        }

        entry = ngx_strict_tls_cache_add(shpool,
                                         ngx_strict_tls_entry_crl,
                                         question, id, STLS_ID_LEN);
        if (entry) {
            entry->until = NGX_MAX_TIME_T_VALUE;
            entry->produced = produced;
        }

        ngx_strict_tls_cache_publish_locked(sh, question);
    }

    epoch = sh->epoch;

    ngx_shmtx_unlock(&shpool->mutex);

    return epoch;
}


/* When the CRL was made that is in use, in whichever worker; 0: none is. */

time_t
ngx_strict_tls_cache_crl_produced(ngx_shm_zone_t *zone,
    const u_char *question)
{
    time_t                   produced;
    ngx_slab_pool_t         *shpool;
    ngx_strict_tls_entry_t  *entry;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    entry = ngx_strict_tls_cache_find(shpool->data, ngx_strict_tls_entry_crl,
                                      question);
    produced = entry ? entry->produced : 0;

    ngx_shmtx_unlock(&shpool->mutex);

    return produced;
}


/* One answer must not drive out all others. */

ngx_uint_t
ngx_strict_tls_cache_takes(ngx_shm_zone_t *zone, size_t len)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    return len <= (size_t) (shpool->end - shpool->start) / 4;
}


/* No worker waits for another one's download of this CRL. */

void
ngx_strict_tls_cache_unshared(ngx_shm_zone_t *zone, const u_char *question)
{
    ngx_slab_pool_t         *shpool;
    ngx_strict_tls_entry_t  *entry;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    ngx_strict_tls_cache_forget_locked(shpool, ngx_strict_tls_entry_unshared,
                                       question);

    entry = ngx_strict_tls_cache_add(shpool, ngx_strict_tls_entry_unshared,
                                     question, NULL, 0);
    if (entry) {
        entry->until = ngx_time() + NGX_STRICT_TLS_UNSHARED;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


/* How many answers there are, and how many had to go before their time. */

ngx_uint_t
ngx_strict_tls_cache_count(ngx_shm_zone_t *zone, uint64_t *evicted)
{
    ngx_uint_t                    n;
    ngx_queue_t                  *q;
    ngx_slab_pool_t              *shpool;
    ngx_strict_tls_shctx_t       *sh;
    ngx_strict_tls_entry_t       *entry;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    sh = shpool->data;
    n = 0;

    ngx_shmtx_lock(&shpool->mutex);

    *evicted = sh->evicted;

    for (q = ngx_queue_head(&sh->lru);
         q != ngx_queue_sentinel(&sh->lru);
         q = ngx_queue_next(q))
    {
        entry = ngx_queue_data(q, ngx_strict_tls_entry_t, queue);

        if (entry->key[0] == ngx_strict_tls_entry_answer) {
            n++;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return n;
}


ngx_atomic_uint_t
ngx_strict_tls_cache_epoch(ngx_shm_zone_t *zone)
{
    ngx_slab_pool_t         *shpool;
    ngx_strict_tls_shctx_t  *sh;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    sh = shpool->data;

    return sh->epoch;
}


/*
 * The next revocation after *epoch: NGX_OK and its question, NGX_DONE when
 * there is none, NGX_DECLINED when too many were missed; *epoch is advanced.
 */

ngx_int_t
ngx_strict_tls_cache_news(ngx_shm_zone_t *zone, ngx_atomic_uint_t *epoch,
    u_char *question)
{
    ngx_int_t                rc;
    ngx_slab_pool_t         *shpool;
    ngx_strict_tls_shctx_t  *sh;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    sh = shpool->data;

    if (sh->epoch == *epoch) {
        return NGX_DONE;
    }

    ngx_shmtx_lock(&shpool->mutex);

    if (sh->epoch - *epoch > NGX_STRICT_TLS_NEWS) {
        *epoch = sh->epoch;
        rc = NGX_DECLINED;

    } else {
        (*epoch)++;
        ngx_memcpy(question, sh->news[*epoch % NGX_STRICT_TLS_NEWS],
                   STLS_ID_LEN);
        rc = NGX_OK;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


/* Whether something that this result rests on was revoked after that epoch. */

ngx_uint_t
ngx_strict_tls_cache_revoked_since(ngx_shm_zone_t *zone,
    ngx_atomic_uint_t epoch, stls_result *result)
{
    u_char  question[STLS_ID_LEN];

    for ( ;; ) {

        switch (ngx_strict_tls_cache_news(zone, &epoch, question)) {

        case NGX_DONE:
            return 0;

        case NGX_OK:
            if (ngx_strict_tls_rests_on(result, question)) {
                return 1;
            }

            break;

        default: /* nobody knows */
            return 1;
        }
    }
}


static ngx_strict_tls_entry_t *
ngx_strict_tls_cache_find(ngx_strict_tls_shctx_t *sh,
    ngx_uint_t kind, const u_char *id)
{
    u_char                   key[1 + STLS_ID_LEN];
    uint32_t                 hash;
    ngx_str_t                name;
    ngx_strict_tls_entry_t  *entry;

    key[0] = (u_char) kind;
    ngx_memcpy(key + 1, id, STLS_ID_LEN);
    ngx_memcpy(&hash, id, sizeof(uint32_t));

    name.data = key;
    name.len = sizeof(key);

    entry = (ngx_strict_tls_entry_t *)
                ngx_str_rbtree_lookup(&sh->rbtree, &name, hash);

    if (entry) {
        ngx_queue_remove(&entry->queue);
        ngx_queue_insert_head(&sh->lru, &entry->queue);
    }

    return entry;
}


static ngx_strict_tls_entry_t *
ngx_strict_tls_cache_add(ngx_slab_pool_t *shpool, ngx_uint_t kind,
    const u_char *id, const u_char *bytes, size_t len)
{
    size_t                   size;
    uint32_t                 hash;
    ngx_uint_t               i;
    ngx_queue_t             *q;
    ngx_strict_tls_shctx_t  *sh;
    ngx_strict_tls_entry_t  *entry, *last;

    sh = shpool->data;

    if (len > (size_t) (shpool->end - shpool->start) / 4) {
        return NULL;
    }

    size = offsetof(ngx_strict_tls_entry_t, bytes) + len;

    for (i = 0; /* void */ ; i++) {

        entry = (i < 2) ? NULL : ngx_slab_alloc_locked(shpool, size);

        if (entry) {
            break;
        }

        if (ngx_queue_empty(&sh->lru)) {
            if (i < 2) {
                continue;
            }

            return NULL;
        }

        /* first two that may have expired, then whatever it takes */

        q = ngx_queue_last(&sh->lru);
        last = ngx_queue_data(q, ngx_strict_tls_entry_t, queue);

        if (i < 2 && last->until >= ngx_time()) {
            continue;
        }

        ngx_strict_tls_cache_evict(shpool, last);
    }

    ngx_memzero(entry, offsetof(ngx_strict_tls_entry_t, bytes));

    entry->key[0] = (u_char) kind;
    ngx_memcpy(entry->key + 1, id, STLS_ID_LEN);
    ngx_memcpy(&hash, id, sizeof(uint32_t));

    entry->node.node.key = hash;
    entry->node.str.data = entry->key;
    entry->node.str.len = sizeof(entry->key);

    entry->len = len;

    if (len) {
        ngx_memcpy(entry->bytes, bytes, len);
    }

    ngx_rbtree_insert(&sh->rbtree, &entry->node.node);
    ngx_queue_insert_head(&sh->lru, &entry->queue);

    return entry;
}


/* Each that still served is asked for again: told once, and counted. */

static void
ngx_strict_tls_cache_evict(ngx_slab_pool_t *shpool,
    ngx_strict_tls_entry_t *entry)
{
    ngx_strict_tls_shctx_t  *sh;

    sh = shpool->data;

    if (entry->until >= ngx_time()
        && (entry->key[0] == ngx_strict_tls_entry_answer
            || entry->key[0] == ngx_strict_tls_entry_failure)
        && sh->evicted++ == 0)
    {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "strict-tls: the zone of strict_tls_cache_zone is full: "
                      "answers about revocation are dropped before their "
                      "time and asked for again, a larger one keeps them");
    }

    ngx_strict_tls_cache_drop(shpool, entry);
}


static void
ngx_strict_tls_cache_drop(ngx_slab_pool_t *shpool,
    ngx_strict_tls_entry_t *entry)
{
    ngx_strict_tls_shctx_t  *sh;

    sh = shpool->data;

    ngx_queue_remove(&entry->queue);
    ngx_rbtree_delete(&sh->rbtree, &entry->node.node);
    ngx_slab_free_locked(shpool, entry);
}


static ngx_int_t
ngx_strict_tls_cache_copy(ngx_strict_tls_entry_t *entry,
    ngx_strict_tls_found_t *found)
{
    /* always terminated, so that a failure's detail can be read as text */

    found->bytes = ngx_alloc(entry->len + 1, ngx_cycle->log);
    if (found->bytes == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(found->bytes, entry->bytes, entry->len);
    found->bytes[entry->len] = '\0';

    found->len = entry->len;
    found->outcome = entry->outcome;

    return NGX_OK;
}
