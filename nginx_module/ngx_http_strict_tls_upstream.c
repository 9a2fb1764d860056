/*
 * What the engine wants to know about a request's upstream connection while it
 * makes its handshake: c->data is the request then.
 */

#include "ngx_http_strict_tls.h"


static ngx_strict_tls_scope_t *ngx_http_strict_tls_scope(ngx_connection_t *c);
static ngx_int_t ngx_http_strict_tls_begin(ngx_strict_tls_conn_t *conn);
static u_char *ngx_http_strict_tls_hint(ngx_strict_tls_conn_t *conn,
    u_char *p, u_char *last);
static void ngx_http_strict_tls_retry(ngx_strict_tls_conn_t *conn);
static ngx_http_request_t *ngx_http_strict_tls_request(
    ngx_strict_tls_conn_t *conn);


const ngx_strict_tls_host_t  ngx_http_strict_tls_upstream = {
    ngx_http_strict_tls_scope,
    ngx_http_strict_tls_begin,
    ngx_http_strict_tls_hint,
    ngx_http_strict_tls_retry
};


static ngx_strict_tls_scope_t *
ngx_http_strict_tls_scope(ngx_connection_t *c)
{
    ngx_http_strict_tls_host_conf_t  *host;

    host = ngx_http_strict_tls_request_host(c->data);

    return host ? host->scope : NULL;
}


static ngx_int_t
ngx_http_strict_tls_begin(ngx_strict_tls_conn_t *conn)
{
    ngx_str_t                   client;
    ngx_http_request_t         *r;
    ngx_http_upstream_t        *u;
    ngx_http_strict_tls_ctx_t  *ctx;

    r = conn->connection->data;
    u = r->upstream;

    ctx = ngx_http_strict_tls_add_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_strict_tls_client_cert(r, &client) != NGX_OK
        || ngx_strict_tls_set_upstream(conn, &u->ssl_name, &client, &u->peer)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    conn->stock_verify = u->conf->ssl_verify;

    ngx_strict_tls_set_owner(conn, &ctx->owner);

    return NGX_OK;
}


/*
 * By default nginx asks for the name of the upstream group, which is seldom
 * the name of a host.
 */

static u_char *
ngx_http_strict_tls_hint(ngx_strict_tls_conn_t *conn, u_char *p, u_char *last)
{
    ngx_http_upstream_t  *u;

    if (!ngx_strict_tls_is_about_name(conn->result)) {
        return p;
    }

    u = ngx_http_strict_tls_request(conn)->upstream;

    if (u->conf->ssl_name
        || u->upstream == NULL
        || !(u->upstream->flags & NGX_HTTP_UPSTREAM_CREATE))
    {
        return p;
    }

    return ngx_slprintf(p, last,
                        " hint=\"'%V' is the name of the upstream{} group: "
                        "set %V_ssl_name to the name of the host\"",
                        &conn->name, &u->conf->module);
}


/* As if a kept-alive connection had failed. */

static void
ngx_http_strict_tls_retry(ngx_strict_tls_conn_t *conn)
{
    ngx_http_strict_tls_request(conn)->upstream->peer.cached = 1;
}


/* Of a connection that has its owner. */

static ngx_http_request_t *
ngx_http_strict_tls_request(ngx_strict_tls_conn_t *conn)
{
    ngx_http_strict_tls_ctx_t  *ctx;

    ctx = (ngx_http_strict_tls_ctx_t *)
              ((u_char *) conn->owner
               - offsetof(ngx_http_strict_tls_ctx_t, owner));

    return ctx->request;
}


/* A client certificate chosen per request; a fixed one belongs to the SSL_CTX. */

ngx_int_t
ngx_http_strict_tls_client_cert(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_str_t                  cert, key;
    ngx_http_upstream_conf_t  *ucf;

    ngx_str_set(id, "");

    ucf = r->upstream->conf;

    if (ucf->ssl_certificate == NULL
        || ucf->ssl_certificate_key == NULL
        || (ucf->ssl_certificate->lengths == NULL
            && ucf->ssl_certificate_key->lengths == NULL))
    {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, ucf->ssl_certificate, &cert) != NGX_OK
        || ngx_http_complex_value(r, ucf->ssl_certificate_key, &key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    id->len = cert.len + 1 + key.len;
    id->data = ngx_pnalloc(r->pool, id->len);
    if (id->data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(id->data, "%V%Z%V", &cert, &key);

    return NGX_OK;
}
