/*
 * What the engine wants to know about a session's upstream connection while it
 * makes its handshake: c->data is the session then.
 */

#include "ngx_stream_strict_tls.h"


static ngx_strict_tls_scope_t *ngx_stream_strict_tls_scope(
    ngx_connection_t *c);
static ngx_int_t ngx_stream_strict_tls_begin(ngx_strict_tls_conn_t *conn);
static ngx_int_t ngx_stream_strict_tls_client_cert(ngx_stream_session_t *s,
    ngx_stream_strict_tls_srv_conf_t *conf, ngx_str_t *id);
static u_char *ngx_stream_strict_tls_hint(ngx_strict_tls_conn_t *conn,
    u_char *p, u_char *last);
static void ngx_stream_strict_tls_retry(ngx_strict_tls_conn_t *conn);
static ngx_stream_session_t *ngx_stream_strict_tls_session(
    ngx_strict_tls_conn_t *conn);


const ngx_strict_tls_host_t  ngx_stream_strict_tls_upstream = {
    ngx_stream_strict_tls_scope,
    ngx_stream_strict_tls_begin,
    ngx_stream_strict_tls_hint,
    ngx_stream_strict_tls_retry
};


static ngx_strict_tls_scope_t *
ngx_stream_strict_tls_scope(ngx_connection_t *c)
{
    ngx_stream_session_t              *s;
    ngx_stream_strict_tls_srv_conf_t  *conf;

    s = c->data;

    conf = ngx_stream_get_module_srv_conf(s, ngx_stream_strict_tls_module);

    return &conf->upstream;
}


static ngx_int_t
ngx_stream_strict_tls_begin(ngx_strict_tls_conn_t *conn)
{
    ngx_str_t                          client;
    ngx_stream_session_t              *s;
    ngx_stream_upstream_t             *u;
    ngx_stream_strict_tls_ctx_t       *ctx;
    ngx_stream_strict_tls_srv_conf_t  *conf;

    s = conn->connection->data;
    u = s->upstream;

    conf = ngx_stream_get_module_srv_conf(s, ngx_stream_strict_tls_module);

    ctx = ngx_stream_strict_tls_add_ctx(s);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ngx_stream_strict_tls_client_cert(s, conf, &client) != NGX_OK
        || ngx_strict_tls_set_upstream(conn, &u->ssl_name, &client, &u->peer)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    conn->stock_verify = conf->ssl_verify;

    ngx_strict_tls_set_owner(conn, &ctx->owner);

    return NGX_OK;
}


/* Chosen per session; a fixed one belongs to the SSL_CTX. */

static ngx_int_t
ngx_stream_strict_tls_client_cert(ngx_stream_session_t *s,
    ngx_stream_strict_tls_srv_conf_t *conf, ngx_str_t *id)
{
    ngx_str_t  cert, key;

    ngx_str_set(id, "");

    if (conf->ssl_certificate == NULL
        || conf->ssl_certificate_key == NULL
        || (conf->ssl_certificate->lengths == NULL
            && conf->ssl_certificate_key->lengths == NULL))
    {
        return NGX_OK;
    }

    if (ngx_stream_complex_value(s, conf->ssl_certificate, &cert) != NGX_OK
        || ngx_stream_complex_value(s, conf->ssl_certificate_key, &key)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    id->len = cert.len + 1 + key.len;
    id->data = ngx_pnalloc(s->connection->pool, id->len);
    if (id->data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(id->data, "%V%Z%V", &cert, &key);

    return NGX_OK;
}


/*
 * By default nginx asks for the name of the upstream group, which is seldom
 * the name of a host.
 */

static u_char *
ngx_stream_strict_tls_hint(ngx_strict_tls_conn_t *conn, u_char *p, u_char *last)
{
    ngx_stream_session_t              *s;
    ngx_stream_upstream_t             *u;
    ngx_stream_strict_tls_srv_conf_t  *conf;

    if (!ngx_strict_tls_is_about_name(conn->result)) {
        return p;
    }

    s = ngx_stream_strict_tls_session(conn);
    u = s->upstream;

    conf = ngx_stream_get_module_srv_conf(s, ngx_stream_strict_tls_module);

    if (conf->ssl_name
        || u->upstream == NULL
        || !(u->upstream->flags & NGX_STREAM_UPSTREAM_CREATE))
    {
        return p;
    }

    return ngx_slprintf(p, last,
                        " hint=\"'%V' is the name of the upstream{} group: "
                        "set proxy_ssl_name to the name of the host\"",
                        &conn->name);
}


/*
 * As if this peer had not been tried: it is given back as good, and "tries" is
 * left as it was.  Unlike http, stream has no other way to say so.
 */

static void
ngx_stream_strict_tls_retry(ngx_strict_tls_conn_t *conn)
{
    ngx_uint_t              tries;
    ngx_peer_connection_t  *pc;

    pc = &ngx_stream_strict_tls_session(conn)->upstream->peer;

    if (pc->sockaddr == NULL) {
        return;
    }

    tries = pc->tries;

    pc->free(pc, pc->data, 0);

    pc->sockaddr = NULL;
    pc->tries = tries;
}


/* Of a connection that has its owner. */

static ngx_stream_session_t *
ngx_stream_strict_tls_session(ngx_strict_tls_conn_t *conn)
{
    ngx_stream_strict_tls_ctx_t  *ctx;

    ctx = (ngx_stream_strict_tls_ctx_t *)
              ((u_char *) conn->owner
               - offsetof(ngx_stream_strict_tls_ctx_t, owner));

    return ctx->session;
}


/* UDP goes in the clear, "proxy_ssl" or not: there is nothing to judge. */

ngx_int_t
ngx_stream_strict_tls_access_handler(ngx_stream_session_t *s)
{
    ngx_uint_t                         level;
    ngx_strict_tls_scope_t            *scope;
    ngx_stream_strict_tls_srv_conf_t  *conf;

    conf = ngx_stream_get_module_srv_conf(s, ngx_stream_strict_tls_module);
    scope = &conf->upstream;

    if (scope->policy == NULL || s->connection->type != SOCK_DGRAM) {
        return NGX_DECLINED;
    }

    level = scope->report ? NGX_LOG_WARN : NGX_LOG_ERR;

    ngx_log_error(level, s->connection->log, 0,
                  "strict-tls: the upstream of a UDP session is not TLS");

    return scope->report ? NGX_DECLINED : NGX_STREAM_FORBIDDEN;
}
