/*
 * Client certificates: arms the servers that ask for them, and lets no session
 * go on before its client was judged.
 */

#include "ngx_stream_strict_tls.h"


static ngx_strict_tls_scope_t *ngx_stream_strict_tls_client_scope(
    ngx_connection_t *c);
static ngx_strict_tls_scope_t *ngx_stream_strict_tls_client_find(
    ngx_connection_t *c, ngx_str_t *server_name);
static ngx_int_t ngx_stream_strict_tls_client_gate(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_strict_tls_client_judge(ngx_stream_session_t *s,
    ngx_strict_tls_scope_t *scope);
static void ngx_stream_strict_tls_client_hold(ngx_event_t *ev);
static void ngx_stream_strict_tls_client_wake(
    ngx_strict_tls_waiter_t *waiter);


static const ngx_strict_tls_server_t  ngx_stream_strict_tls_server = {
    ngx_stream_strict_tls_client_scope,
    ngx_stream_strict_tls_client_find
};


/* ---- configuration ---- */

/* The settings about upstreams are merged by now: `client` begins with them. */

ngx_int_t
ngx_stream_strict_tls_merge_client(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *prev,
    ngx_stream_strict_tls_srv_conf_t *conf)
{
    ngx_str_t                           where;
    ngx_stream_core_srv_conf_t         *cscf;
    ngx_stream_strict_tls_ssl_conf_t   *sslcf;
    ngx_stream_strict_tls_main_conf_t  *mcf;

    sslcf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_ssl_module);

    mcf = ngx_stream_conf_get_module_main_conf(cf,
                                               ngx_stream_strict_tls_module);

    if (ngx_strict_tls_inherit_client(cf, &mcf->main, &prev->client,
                                      &conf->client, sslcf->verify)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (conf->client.mode == NGX_STRICT_TLS_OFF
        || !sslcf->verify
        || sslcf->ssl.ctx == NULL)
    {
        return NGX_OK;
    }

    if (ngx_stream_strict_tls_where(cf, &where) != NGX_OK) {
        return NGX_ERROR;
    }

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);

    conf->client.loaded = sslcf->ssl.ctx;

    ngx_strict_tls_warn_log(cf, &mcf->main, &conf->client, cscf->error_log);

    if (ngx_strict_tls_build_client(cf, &mcf->main, &conf->client,
                                    &conf->upstream,
                                    &sslcf->client_certificate,
                                    &sslcf->trusted_certificate,
                                    cscf->resolver, &where)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    mcf->max_cert_list = ngx_max(mcf->max_cert_list,
                                 conf->client.max_cert_list);

    return NGX_OK;
}


/* When everything is merged. */

ngx_int_t
ngx_stream_strict_tls_arm_servers(ngx_conf_t *cf,
    ngx_stream_strict_tls_main_conf_t *mcf)
{
    ngx_uint_t                          i;
    ngx_stream_handler_pt              *h;
    ngx_stream_core_srv_conf_t        **cscfp;
    ngx_stream_core_main_conf_t        *cmcf;
    ngx_stream_strict_tls_ssl_conf_t   *sslcf;
    ngx_stream_strict_tls_srv_conf_t   *conf;

    if (mcf->max_cert_list == 0) {
        conf = ngx_stream_conf_get_module_srv_conf(cf,
                                                 ngx_stream_strict_tls_module);
        ngx_strict_tls_client_idle(cf, &conf->client);

        return NGX_OK;
    }

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        sslcf = cscfp[i]->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];
        conf = cscfp[i]->ctx->srv_conf[ngx_stream_strict_tls_module.ctx_index];

        if (sslcf->ssl.ctx
            && ngx_strict_tls_client_install(sslcf->ssl.ctx,
                                             &ngx_stream_strict_tls_server,
                                             conf->client.policy != NULL,
                                             mcf->max_cert_list, cf->log)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /*
     * Once nginx's handler is content, what else is in its phase is skipped.
     * So the gate takes its place and calls it.
     */

    if (cmcf->phases[NGX_STREAM_SSL_PHASE].handlers.nelts != 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "strict_tls_client does not go together with "
                           "another module in the phase of TLS handshakes");
        return NGX_ERROR;
    }

    h = cmcf->phases[NGX_STREAM_SSL_PHASE].handlers.elts;

    mcf->ssl_handler = *h;
    *h = ngx_stream_strict_tls_client_gate;

    return NGX_OK;
}


/* ---- what the engine wants to know in a handshake ---- */

static ngx_strict_tls_scope_t *
ngx_stream_strict_tls_client_scope(ngx_connection_t *c)
{
    ngx_stream_session_t              *s;
    ngx_stream_strict_tls_srv_conf_t  *conf;

    s = c->data;

    conf = ngx_stream_get_module_srv_conf(s, ngx_stream_strict_tls_module);

    return conf->client.policy ? &conf->client : NULL;
}


static ngx_strict_tls_scope_t *
ngx_stream_strict_tls_client_find(ngx_connection_t *c, ngx_str_t *server_name)
{
#if (nginx_version >= 1025005)

    u_char                             buf[NGX_STRICT_TLS_SERVER_NAME_LEN];
    ngx_str_t                          name;
    ngx_stream_session_t              *s;
    ngx_stream_core_srv_conf_t        *cscf;
    ngx_stream_strict_tls_srv_conf_t  *conf;

    s = c->data;

    if (ngx_strict_tls_client_server_name(server_name, &name, buf) == NGX_OK
        && ngx_stream_find_virtual_server(s, &name, &cscf) == NGX_OK)
    {
        conf = cscf->ctx->srv_conf[ngx_stream_strict_tls_module.ctx_index];

        return conf->client.policy ? &conf->client : NULL;
    }

#endif

    /* one server per address */

    return ngx_stream_strict_tls_client_scope(c);
}


/* ---- one session ---- */

static ngx_int_t
ngx_stream_strict_tls_client_gate(ngx_stream_session_t *s)
{
    ngx_int_t                           rc;
    ngx_strict_tls_scope_t             *scope;
    ngx_stream_strict_tls_srv_conf_t   *conf;
    ngx_stream_strict_tls_main_conf_t  *mcf;

    mcf = ngx_stream_get_module_main_conf(s, ngx_stream_strict_tls_module);

    rc = mcf->ssl_handler(s);

    if (rc != NGX_OK || s->connection->ssl == NULL) {
        return rc;
    }

    conf = ngx_stream_get_module_srv_conf(s, ngx_stream_strict_tls_module);
    scope = &conf->client;

    if (scope->policy == NULL) {
        return rc;
    }

    /* nginx itself has seen to it that this server asks for none */

    if (SSL_get0_peer_certificate(s->connection->ssl->connection) == NULL) {
        return rc;
    }

    return ngx_stream_strict_tls_client_judge(s, scope);
}


/* A refused client's session ends as where nginx's own verification fails. */

static ngx_int_t
ngx_stream_strict_tls_client_judge(ngx_stream_session_t *s,
    ngx_strict_tls_scope_t *scope)
{
    ngx_connection_t             *c;
    ngx_strict_tls_conn_t        *conn;
    ngx_stream_strict_tls_ctx_t  *ctx;

    c = s->connection;

    ctx = ngx_stream_strict_tls_add_ctx(s);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    conn = ngx_strict_tls_client_conn(c, scope);
    if (conn == NULL) {
        return scope->report ? NGX_OK : NGX_ERROR;
    }

    switch (ngx_strict_tls_client_judge(conn, &ctx->waiter)) {

    case STLS_PENDING:
        ctx->waiter.handler = ngx_stream_strict_tls_client_wake;

        ngx_strict_tls_client_wait(conn, &ctx->waiter);

        c->read->handler = ngx_stream_strict_tls_client_hold;
        c->write->handler = ngx_stream_strict_tls_client_hold;

        ngx_log_debug0(NGX_LOG_DEBUG_STREAM, c->log, 0,
                       "strict tls: session waits for the client's verdict");

        return NGX_AGAIN;

    case STLS_ACCEPT:
        ctx->admitted = 1;
        return NGX_OK;

    default:
        return scope->report ? NGX_OK : NGX_ERROR;
    }
}


/* Takes a level-triggered event off, which else would come at once again. */

static void
ngx_stream_strict_tls_client_hold(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    if (ev->write) {
        (void) ngx_handle_write_event(c->write, 0);

    } else {
        (void) ngx_handle_read_event(c->read, 0);
    }
}


/* The phases go on where they stopped: at the gate. */

static void
ngx_stream_strict_tls_client_wake(ngx_strict_tls_waiter_t *waiter)
{
    ngx_connection_t             *c;
    ngx_stream_strict_tls_ctx_t  *ctx;

    ctx = (ngx_stream_strict_tls_ctx_t *)
            ((u_char *) waiter - offsetof(ngx_stream_strict_tls_ctx_t, waiter));

    c = ctx->session->connection;

    c->read->handler = ngx_stream_session_handler;

    ngx_post_event(c->read, &ngx_posted_events);
}
