/*
 * Kept-alive connections.  A pool belongs to the upstream, not to the location
 * that opened a connection: what a strict request takes out of it must have
 * been accepted under the very policy, name and identity of that request.
 */

#include "ngx_http_strict_tls.h"


static int ngx_libc_cdecl ngx_http_strict_tls_cmp_upstreams(const void *one,
    const void *two);
static ngx_http_upstream_init_peer_pt ngx_http_strict_tls_original_init(
    ngx_http_strict_tls_main_conf_t *mcf, ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_strict_tls_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_strict_tls_unjudged(ngx_http_request_t *r,
    ngx_http_strict_tls_loc_conf_t *conf, const char *why);
static ngx_int_t ngx_http_strict_tls_get_peer(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_strict_tls_free_peer(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);
static void ngx_http_strict_tls_notify_peer(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t type);
static ngx_int_t ngx_http_strict_tls_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_strict_tls_save_session(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_http_strict_tls_fits(ngx_http_strict_tls_ctx_t *ctx,
    ngx_connection_t *c);
static ngx_int_t ngx_http_strict_tls_name(ngx_http_request_t *r,
    ngx_str_t *name);


/*
 * Implicit upstreams have no configuration of their own to keep the original
 * in, hence the sorted array.
 */

ngx_int_t
ngx_http_strict_tls_wrap_upstreams(ngx_conf_t *cf,
    ngx_http_strict_tls_main_conf_t *mcf)
{
    ngx_uint_t                        i;
    ngx_http_upstream_srv_conf_t    **uscfp;
    ngx_http_upstream_main_conf_t    *umcf;
    ngx_http_strict_tls_upstream_t   *upstream;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);

    uscfp = umcf->upstreams.elts;

    if (ngx_array_init(&mcf->upstreams, cf->pool, umcf->upstreams.nelts + 1,
                       sizeof(ngx_http_strict_tls_upstream_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        upstream = ngx_array_push(&mcf->upstreams);
        if (upstream == NULL) {
            return NGX_ERROR;
        }

        upstream->upstream = uscfp[i];
        upstream->original_init_peer = uscfp[i]->peer.init;

        uscfp[i]->peer.init = ngx_http_strict_tls_init_peer;
    }

    ngx_qsort(mcf->upstreams.elts, mcf->upstreams.nelts,
              sizeof(ngx_http_strict_tls_upstream_t),
              ngx_http_strict_tls_cmp_upstreams);

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_strict_tls_cmp_upstreams(const void *one, const void *two)
{
    uintptr_t                              a, b;
    const ngx_http_strict_tls_upstream_t  *first, *second;

    first = one;
    second = two;

    a = (uintptr_t) first->upstream;
    b = (uintptr_t) second->upstream;

    return (a > b) - (a < b);
}


static ngx_http_upstream_init_peer_pt
ngx_http_strict_tls_original_init(ngx_http_strict_tls_main_conf_t *mcf,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_uint_t                       low, high, i;
    ngx_http_strict_tls_upstream_t  *upstream;

    upstream = mcf->upstreams.elts;
    low = 0;
    high = mcf->upstreams.nelts;

    while (low < high) {
        i = (low + high) / 2;

        if (upstream[i].upstream == us) {
            return upstream[i].original_init_peer;
        }

        if ((uintptr_t) upstream[i].upstream < (uintptr_t) us) {
            low = i + 1;

        } else {
            high = i;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_strict_tls_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_t              *u;
    ngx_http_strict_tls_ctx_t        *ctx;
    ngx_http_upstream_init_peer_pt    original;
    ngx_http_strict_tls_loc_conf_t   *conf;
    ngx_http_strict_tls_host_conf_t  *host;
    ngx_http_strict_tls_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_strict_tls_module);

    original = ngx_http_strict_tls_original_init(mcf, us);

    if (original == NULL) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "strict-tls: unknown upstream \"%V\"", &us->host);
        return NGX_ERROR;
    }

    if (original(r, us) != NGX_OK) {
        return NGX_ERROR;
    }

    conf = ngx_http_get_module_loc_conf(r, ngx_http_strict_tls_module);

    if (conf->upstream.mode == NGX_STRICT_TLS_OFF) {
        return NGX_OK;
    }

    u = r->upstream;
    host = ngx_http_strict_tls_request_host(r);

    if (!u->ssl) {

        /* only what was configured as TLS is held to it */

        if (host == NULL || host->pass != NGX_HTTP_STRICT_TLS_PASS_VARIABLE) {
            return NGX_OK;
        }

        return ngx_http_strict_tls_unjudged(r, conf, "a variable has made it "
                                            "other than TLS");
    }

    if (host == NULL || host->scope == NULL) {
        return ngx_http_strict_tls_unjudged(r, conf, "strict_tls does not know "
                                            "the module that connects to it");
    }

    ctx = ngx_http_strict_tls_add_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->scope = host->scope;

    ctx->data = u->peer.data;
    ctx->original_get_peer = u->peer.get;
    ctx->original_free_peer = u->peer.free;
    ctx->original_notify = u->peer.notify;

    u->peer.data = ctx;
    u->peer.get = ngx_http_strict_tls_get_peer;
    u->peer.free = ngx_http_strict_tls_free_peer;

    if (u->peer.notify) {
        u->peer.notify = ngx_http_strict_tls_notify_peer;
    }

    u->peer.set_session = ngx_http_strict_tls_set_session;
    u->peer.save_session = ngx_http_strict_tls_save_session;

    return NGX_OK;
}


/* Nothing is sent to an upstream that cannot be judged. */

static ngx_int_t
ngx_http_strict_tls_unjudged(ngx_http_request_t *r,
    ngx_http_strict_tls_loc_conf_t *conf, const char *why)
{
    ngx_uint_t  report, level;

    report = (conf->upstream.mode == NGX_STRICT_TLS_REPORT);
    level = report ? NGX_LOG_WARN : NGX_LOG_ERR;

    ngx_log_error(level, r->connection->log, 0,
                  "strict-tls: upstream \"%V\" cannot be judged: %s",
                  &r->upstream->upstream->host, why);

    return report ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_strict_tls_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_strict_tls_ctx_t *ctx = data;

    ngx_int_t          rc;
    ngx_connection_t  *c;

    rc = ctx->original_get_peer(pc, ctx->data);

    if (rc != NGX_DONE) {
        return rc;
    }

    c = pc->connection;

    if (c == NULL
        || ngx_http_strict_tls_fits(ctx, c) == NGX_OK
        || ctx->scope->report)
    {
        return NGX_DONE;
    }

    /*
     * Another policy's connection.  The balancer has chosen this peer, so a
     * new connection is made to it; asking the balancer again would count
     * twice.
     */

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "strict tls: kept-alive connection %p does not fit", c);

    ngx_strict_tls_status_count(ctx->scope->main_conf,
                                STLS_FIGURE_REUSE_REFUSED);

    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;

        (void) ngx_ssl_shutdown(c);
    }

    if (c->pool) {
        ngx_destroy_pool(c->pool);
    }

    ngx_close_connection(c);

    pc->connection = NULL;
    pc->cached = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_strict_tls_fits(ngx_http_strict_tls_ctx_t *ctx, ngx_connection_t *c)
{
    ngx_str_t                name, client;
    ngx_http_request_t      *r;
    ngx_strict_tls_conn_t   *conn;
    ngx_strict_tls_scope_t  *scope;

    if (c->ssl == NULL) {
        return NGX_DECLINED;
    }

    conn = ngx_strict_tls_get_conn(c);

    if (conn == NULL) {
        return NGX_DECLINED;
    }

    r = ctx->request;
    scope = ctx->scope;

    /* policies and anchors are shared where equal, so pointers will do */

    if (conn->scope->policy != scope->policy
        || conn->scope->anchors != scope->anchors
        || conn->ssl_ctx != r->upstream->conf->ssl->ctx)
    {
        return NGX_DECLINED;
    }

    if (ngx_http_strict_tls_name(r, &name) != NGX_OK
        || !stls_name_equal((char *) conn->name.data, conn->name.len,
                            (char *) name.data, name.len))
    {
        return NGX_DECLINED;
    }

    if (ngx_http_strict_tls_client_cert(r, &client) != NGX_OK
        || conn->client.len != client.len
        || ngx_memcmp(conn->client.data, client.data, client.len) != 0)
    {
        return NGX_DECLINED;
    }

    if (ngx_strict_tls_reusable(conn) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_strict_tls_set_result(&ctx->owner, conn->result);

    return NGX_OK;
}


/* The name as nginx will evaluate it when it makes a new connection. */

static ngx_int_t
ngx_http_strict_tls_name(ngx_http_request_t *r, ngx_str_t *name)
{
    u_char               *p, *last;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (u->conf->ssl_name) {
        if (ngx_http_complex_value(r, u->conf->ssl_name, name) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {
        *name = u->ssl_name;
    }

    if (name->len == 0) {
        return NGX_OK;
    }

    p = name->data;
    last = name->data + name->len;

    if (*p == '[') {
        p = ngx_strlchr(p, last, ']');

        if (p == NULL) {
            p = name->data;
        }
    }

    p = ngx_strlchr(p, last, ':');

    if (p) {
        name->len = p - name->data;
    }

    return NGX_OK;
}


static void
ngx_http_strict_tls_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_strict_tls_ctx_t *ctx = data;

    ctx->original_free_peer(pc, ctx->data, state);
}


static void
ngx_http_strict_tls_notify_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_http_strict_tls_ctx_t *ctx = data;

    ctx->original_notify(pc, ctx->data, type);
}


/* Sessions of strict connections are offered and kept in the handshake. */

static ngx_int_t
ngx_http_strict_tls_set_session(ngx_peer_connection_t *pc, void *data)
{
    return NGX_OK;
}


static void
ngx_http_strict_tls_save_session(ngx_peer_connection_t *pc, void *data)
{
    return;
}
