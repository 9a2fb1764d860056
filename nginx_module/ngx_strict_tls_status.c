/*
 * What all workers tell the status page, in shared memory: the latest report
 * about each of a bounded number of peers and about each own chain, counts by
 * reason, and figures.
 */

#include "ngx_strict_tls_own.h"


#define NGX_STRICT_TLS_STATUS_MAGIC   0x53545354

/* Room for a few peers at least. */
#define NGX_STRICT_TLS_STATUS_MIN     ((size_t) 256 * 1024)
#define NGX_STRICT_TLS_STATUS_SIZE    ((size_t) 4 * 1024 * 1024)
#define NGX_STRICT_TLS_STATUS_OWNS    128     /* for each such size */


typedef struct {
    uint32_t                        magic;
    uint32_t                        layout;

    stls_report_table              *peers;
    ngx_uint_t                      npeers;    /* that there is room for */
    stls_report_table              *owns;
    ngx_uint_t                      nowns;

    ngx_atomic_t                    figures[STLS_NUM_FIGURES];
} ngx_strict_tls_status_t;


/* A moment of it, so that handshakes need not wait for a page. */

typedef struct {
    stls_report_table              *peers;
    stls_report_table              *owns;
    uint64_t                        figures[STLS_NUM_FIGURES];
} ngx_strict_tls_status_copy_t;


static ngx_uint_t ngx_strict_tls_status_num_owns(
    ngx_strict_tls_main_conf_t *mcf);
static ngx_int_t ngx_strict_tls_status_init(ngx_shm_zone_t *zone, void *data);
static uint32_t ngx_strict_tls_status_layout(void);
static ngx_int_t ngx_strict_tls_status_init_owns(ngx_shm_zone_t *zone,
    ngx_strict_tls_main_conf_t *mcf);
static ngx_int_t ngx_strict_tls_status_rearrange(ngx_shm_zone_t *zone,
    ngx_strict_tls_status_t *sh, ngx_uint_t n,
    ngx_strict_tls_status_copy_t *old);
static void ngx_strict_tls_status_drop(ngx_slab_pool_t *shpool,
    ngx_strict_tls_status_t *sh);
static void ngx_strict_tls_status_init_peers(ngx_shm_zone_t *zone,
    ngx_strict_tls_status_t *sh);
static ngx_int_t ngx_strict_tls_status_copy_tables(ngx_strict_tls_status_t *sh,
    ngx_strict_tls_status_copy_t *copy);
static void ngx_strict_tls_status_free_copy(
    ngx_strict_tls_status_copy_t *copy);
static stls_report_table *ngx_strict_tls_status_table(ngx_slab_pool_t *shpool,
    ngx_uint_t n);
static ngx_int_t ngx_strict_tls_status_copy(ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_status_copy_t *copy);
static stls_report_table *ngx_strict_tls_status_copy_table(
    stls_report_table *table, size_t len);
static ngx_int_t ngx_strict_tls_status_fill(ngx_strict_tls_main_conf_t *mcf,
    stls_status_page *page, ngx_strict_tls_status_copy_t *copy);
static ngx_int_t ngx_strict_tls_status_fill_own(stls_status_page *page,
    stls_report_table *table, ngx_strict_tls_own_t *own);
static void ngx_strict_tls_status_gauges(ngx_strict_tls_main_conf_t *mcf,
    uint64_t *figures);
static ngx_shm_zone_t *ngx_strict_tls_status_zone(
    ngx_strict_tls_main_conf_t *mcf);


char *
ngx_strict_tls_set_status_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_strict_tls_main_conf_t *mcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (mcf->status_zone) {
        return "is duplicate";
    }

    size = ngx_strict_tls_zone_size(cf, NGX_STRICT_TLS_STATUS_MIN);

    if (size == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    return ngx_strict_tls_status_add_zone(cf, mcf, &value[1], size) == NGX_OK
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}


ngx_int_t
ngx_strict_tls_status_add_zone(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_str_t *name, size_t size)
{
    mcf->status_zone = ngx_strict_tls_add_zone(cf, mcf, name, size,
                                               ngx_strict_tls_status_init);

    return mcf->status_zone ? NGX_OK : NGX_ERROR;
}


/*
 * Where there is a page and nobody has said how much it may hold.  With each so
 * many own chains it grows: nginx makes a new zone where the size is another.
 */

ngx_int_t
ngx_strict_tls_status_default_zone(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf)
{
    ngx_str_t   name;
    ngx_uint_t  n;

    if (mcf->status_zone) {
        return NGX_OK;
    }

    ngx_str_set(&name, "strict_tls_status");

    n = ngx_strict_tls_status_num_owns(mcf) / NGX_STRICT_TLS_STATUS_OWNS;

    return ngx_strict_tls_status_add_zone(cf, mcf, &name,
                                          (1 + n) * NGX_STRICT_TLS_STATUS_SIZE);
}


/* Those of http and of stream. */

static ngx_uint_t
ngx_strict_tls_status_num_owns(ngx_strict_tls_main_conf_t *mcf)
{
    return mcf->owns.nelts + (mcf->sibling ? mcf->sibling->owns.nelts : 0);
}


static ngx_int_t
ngx_strict_tls_status_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t             *shpool;
    ngx_strict_tls_status_t     *sh;
    ngx_strict_tls_main_conf_t  *mcf;

    mcf = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data || zone->shm.exists) {
        sh = shpool->data;

        if (sh->magic != NGX_STRICT_TLS_STATUS_MAGIC
            || sh->layout != ngx_strict_tls_status_layout())
        {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "zone \"%V\" holds data of another version of "
                          "strict-tls: restart instead of reloading",
                          &zone->shm.name);
            return NGX_ERROR;
        }

        return ngx_strict_tls_status_init_owns(zone, mcf);
    }

    /* the attempts below are meant to fail until one fits */
    shpool->log_nomem = 0;

    sh = ngx_slab_calloc(shpool, sizeof(ngx_strict_tls_status_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    sh->magic = NGX_STRICT_TLS_STATUS_MAGIC;
    sh->layout = ngx_strict_tls_status_layout();

    shpool->data = sh;

    if (ngx_strict_tls_status_init_owns(zone, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_strict_tls_status_init_peers(zone, sh);

    if (sh->peers == NULL) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "zone \"%V\" has no room for peers beside %ui chains of "
                      "our own", &zone->shm.name, sh->nowns);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* All the room that is left. */

static void
ngx_strict_tls_status_init_peers(ngx_shm_zone_t *zone,
    ngx_strict_tls_status_t *sh)
{
    ngx_uint_t  n;

    n = zone->shm.size / (stls_report_table_len(2) - stls_report_table_len(1));

    while (n && sh->peers == NULL) {
        sh->npeers = n--;
        sh->peers = ngx_strict_tls_status_table(
                         (ngx_slab_pool_t *) zone->shm.addr, sh->npeers);
    }
}


/* Another version may count more reasons and figures: the sizes tell. */

static uint32_t
ngx_strict_tls_status_layout(void)
{
    return sizeof(ngx_strict_tls_status_t) << 20 | stls_report_table_len(1);
}


/*
 * A reload may bring more of them than there is room for: the least recently
 * seen peers make room then.
 */

static ngx_int_t
ngx_strict_tls_status_init_owns(ngx_shm_zone_t *zone,
    ngx_strict_tls_main_conf_t *mcf)
{
    ngx_int_t                     rc;
    ngx_uint_t                    n;
    ngx_slab_pool_t              *shpool;
    ngx_strict_tls_status_t      *sh;
    ngx_strict_tls_status_copy_t  old;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    sh = shpool->data;

    n = ngx_strict_tls_status_num_owns(mcf);

    if (n <= sh->nowns) {
        return NGX_OK;
    }

    ngx_memzero(&old, sizeof(ngx_strict_tls_status_copy_t));

    ngx_shmtx_lock(&shpool->mutex);

    rc = ngx_strict_tls_status_copy_tables(sh, &old);

    if (rc == NGX_OK) {
        rc = ngx_strict_tls_status_rearrange(zone, sh, n, &old);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    ngx_strict_tls_status_free_copy(&old);

    if (rc == NGX_DECLINED) {

        /* own chains that nobody can tell about are shown as not asked about */

        ngx_log_error(NGX_LOG_WARN, zone->shm.log, 0,
                      "zone \"%V\" has no room for %ui chains of our own: "
                      "the status page does not know about their revocation; "
                      "make \"strict_tls_status_zone\" larger and restart",
                      &zone->shm.name, n);
        return NGX_OK;
    }

    return rc;
}


/*
 * Under the lock: new tables in place of the `old` ones, which are copies.
 * NGX_DECLINED: no room for so many chains beside at least one peer.
 */

static ngx_int_t
ngx_strict_tls_status_rearrange(ngx_shm_zone_t *zone,
    ngx_strict_tls_status_t *sh, ngx_uint_t n,
    ngx_strict_tls_status_copy_t *old)
{
    ngx_uint_t        had_peers, nowns;
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    had_peers = (sh->peers != NULL);
    nowns = sh->nowns;

    ngx_strict_tls_status_drop(shpool, sh);

    sh->owns = ngx_strict_tls_status_table(shpool, n);
    sh->nowns = sh->owns ? n : 0;

    if (had_peers && sh->owns) {
        ngx_strict_tls_status_init_peers(zone, sh);
    }

    if (sh->owns == NULL || (had_peers && sh->peers == NULL)) {

        /* as it was, for which there was room */

        ngx_strict_tls_status_drop(shpool, sh);

        if (nowns) {
            sh->owns = ngx_strict_tls_status_table(shpool, nowns);
            sh->nowns = sh->owns ? nowns : 0;
        }

        if (had_peers) {
            ngx_strict_tls_status_init_peers(zone, sh);
        }

        n = 0;
    }

    if (sh->owns && old->owns) {
        stls_report_table_copy(sh->owns, old->owns);
    }

    if (sh->peers && old->peers) {
        stls_report_table_copy(sh->peers, old->peers);
    }

    if (had_peers && sh->peers == NULL) {
        return NGX_ERROR;
    }

    return n ? NGX_OK : NGX_DECLINED;
}


static void
ngx_strict_tls_status_drop(ngx_slab_pool_t *shpool,
    ngx_strict_tls_status_t *sh)
{
    if (sh->owns) {
        ngx_slab_free_locked(shpool, sh->owns);
        sh->owns = NULL;
        sh->nowns = 0;
    }

    if (sh->peers) {
        ngx_slab_free_locked(shpool, sh->peers);
        sh->peers = NULL;
        sh->npeers = 0;
    }
}


/* Under the lock, or before there is anybody else. */

static stls_report_table *
ngx_strict_tls_status_table(ngx_slab_pool_t *shpool, ngx_uint_t n)
{
    void    *mem;
    size_t   len;

    len = stls_report_table_len(n);

    mem = ngx_slab_alloc_locked(shpool, len);

    return mem ? stls_report_table_init(mem, len, n) : NULL;
}


/* `name` may be NULL: the peer's own. */

void
ngx_strict_tls_status_note(ngx_strict_tls_main_conf_t *mcf,
    stls_direction direction, ngx_str_t *name, ngx_str_t *addr,
    stls_result *result)
{
    u_char                    text[2][256];
    ngx_shm_zone_t           *zone;
    ngx_slab_pool_t          *shpool;
    stls_report_table        *table;
    ngx_strict_tls_status_t  *sh;

    zone = ngx_strict_tls_status_zone(mcf);

    if (zone == NULL) {
        return;
    }

    if (name) {
        (void) ngx_cpystrn(text[0], name->data, ngx_min(name->len, 255) + 1);
    }

    (void) ngx_cpystrn(text[1], addr->data, ngx_min(addr->len, 255) + 1);

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    sh = shpool->data;

    ngx_shmtx_lock(&shpool->mutex);

    table = (direction == STLS_OWN) ? sh->owns : sh->peers;

    if (table) {
        stls_report_table_note(table, direction,
                               name ? (char *) text[0] : NULL,
                               (char *) text[1], result, ngx_time());
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_strict_tls_status_count(ngx_strict_tls_main_conf_t *mcf,
    stls_figure figure)
{
    ngx_shm_zone_t           *zone;
    ngx_slab_pool_t          *shpool;
    ngx_strict_tls_status_t  *sh;

    zone = ngx_strict_tls_status_zone(mcf);

    if (zone == NULL) {
        return;
    }

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    sh = shpool->data;

    (void) ngx_atomic_fetch_add(&sh->figures[figure], 1);
}


/* http's, which has the page. */

static ngx_shm_zone_t *
ngx_strict_tls_status_zone(ngx_strict_tls_main_conf_t *mcf)
{
    if (mcf->status_zone || mcf->sibling == NULL) {
        return mcf->status_zone;
    }

    return mcf->sibling->status_zone;
}


/* To be rendered and freed by the caller. */

stls_status_page *
ngx_strict_tls_status_page(ngx_strict_tls_main_conf_t *mcf)
{
    ngx_int_t                     rc;
    stls_status_page             *page;
    ngx_strict_tls_status_copy_t  copy;

    page = stls_status_page_new(NGINX_VER, ngx_time());
    if (page == NULL) {
        return NULL;
    }

    ngx_memzero(&copy, sizeof(ngx_strict_tls_status_copy_t));

    rc = ngx_strict_tls_status_copy(mcf, &copy);

    if (rc == NGX_OK) {
        rc = ngx_strict_tls_status_fill(mcf, page, &copy);
    }

    ngx_strict_tls_status_free_copy(&copy);

    if (rc != NGX_OK) {
        stls_status_page_free(page);
        return NULL;
    }

    return page;
}


static ngx_int_t
ngx_strict_tls_status_copy(ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_status_copy_t *copy)
{
    ngx_int_t                 rc;
    ngx_uint_t                i;
    ngx_slab_pool_t          *shpool;
    ngx_strict_tls_status_t  *sh;

    shpool = (ngx_slab_pool_t *) mcf->status_zone->shm.addr;
    sh = shpool->data;

    ngx_shmtx_lock(&shpool->mutex);

    rc = ngx_strict_tls_status_copy_tables(sh, copy);

    ngx_shmtx_unlock(&shpool->mutex);

    for (i = 0; i < STLS_NUM_FIGURES; i++) {
        copy->figures[i] = sh->figures[i];
    }

    return rc;
}


static ngx_int_t
ngx_strict_tls_status_copy_tables(ngx_strict_tls_status_t *sh,
    ngx_strict_tls_status_copy_t *copy)
{
    if (sh->peers) {
        copy->peers = ngx_strict_tls_status_copy_table(sh->peers,
                                         stls_report_table_len(sh->npeers));
        if (copy->peers == NULL) {
            return NGX_ERROR;
        }
    }

    if (sh->owns) {
        copy->owns = ngx_strict_tls_status_copy_table(sh->owns,
                                          stls_report_table_len(sh->nowns));
        if (copy->owns == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_strict_tls_status_free_copy(ngx_strict_tls_status_copy_t *copy)
{
    if (copy->peers) {
        ngx_free(copy->peers);
    }

    if (copy->owns) {
        ngx_free(copy->owns);
    }
}


/* The table holds no pointers. */

static stls_report_table *
ngx_strict_tls_status_copy_table(stls_report_table *table, size_t len)
{
    void  *mem;

    mem = ngx_alloc(len, ngx_cycle->log);

    if (mem) {
        ngx_memcpy(mem, table, len);
    }

    return mem;
}


static ngx_int_t
ngx_strict_tls_status_fill(ngx_strict_tls_main_conf_t *mcf,
    stls_status_page *page, ngx_strict_tls_status_copy_t *copy)
{
    ngx_uint_t                   i;
    ngx_strict_tls_own_t       **owns;
    ngx_strict_tls_main_conf_t  *one;

    for (one = mcf; one; one = (one == mcf) ? mcf->sibling : NULL) {

        owns = one->owns.elts;

        for (i = 0; i < one->owns.nelts; i++) {
            if (ngx_strict_tls_status_fill_own(page, copy->owns, owns[i])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        ngx_strict_tls_status_gauges(one, copy->figures);
    }

    if (stls_status_page_add_table(page, copy->peers) != STLS_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < STLS_NUM_FIGURES; i++) {
        if (stls_status_page_add_figure(page, i, copy->figures[i]) != STLS_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* What one worker has found; until it has, what the configuration's check did. */

static ngx_int_t
ngx_strict_tls_status_fill_own(stls_status_page *page,
    stls_report_table *table, ngx_strict_tls_own_t *own)
{
    size_t             i;
    stls_status_own    row;
    stls_report_entry  entry;

    ngx_memzero(&row, sizeof(stls_status_own));

    row.role = own->role;
    row.file = (char *) own->file.data;
    row.where = (char *) own->where.data;
    row.names = own->names.elts;
    row.num_names = own->names.nelts;

    if (own->result) {
        row.report = stls_result_get0_report(own->result, &row.report_len);
        row.checked_at_s = own->judged;
    }

    for (i = 0; table && stls_report_table_get(table, i, &entry); i++) {

        if (ngx_strcmp(entry.addr, own->id) == 0 && entry.report_len) {
            row.report = entry.report;
            row.report_len = entry.report_len;
            row.checked_at_s = entry.last_s;
            break;
        }
    }

    return stls_status_page_add_own(page, &row) == STLS_OK ? NGX_OK
                                                           : NGX_ERROR;
}


/* What only this process knows. */

static void
ngx_strict_tls_status_gauges(ngx_strict_tls_main_conf_t *mcf,
    uint64_t *figures)
{
    uint64_t                  evicted;
    ngx_queue_t              *q;
    ngx_strict_tls_worker_t  *worker;

    if (mcf->worker == NULL) {
        return;
    }

    worker = ngx_strict_tls_get_worker(mcf);

    figures[STLS_FIGURE_ANSWER_CACHE_ENTRIES] +=
                             ngx_strict_tls_cache_count(mcf->zone, &evicted);
    figures[STLS_FIGURE_ANSWERS_EVICTED] += evicted;
    figures[STLS_FIGURE_VERDICT_CACHE_ENTRIES] += worker->verdicts
                               ? stls_verdict_cache_count(worker->verdicts) : 0;
    figures[STLS_FIGURE_FETCHES_IN_FLIGHT] += worker->nfetches;
    figures[STLS_FIGURE_FETCHES_WAITING] += worker->nwaiting;
    figures[STLS_FIGURE_SESSIONS_KEPT] += worker->nsessions;
    figures[STLS_FIGURE_CRL_BYTES] += worker->crls_len;

    for (q = ngx_queue_head(&worker->crls_lru);
         q != ngx_queue_sentinel(&worker->crls_lru);
         q = ngx_queue_next(q))
    {
        figures[STLS_FIGURE_CRLS]++;
    }
}
