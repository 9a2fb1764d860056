/*
 * Client certificates: arms the servers that ask for them, and judges each
 * request under the policy of its own server before anything else is done.
 */

#include "ngx_http_strict_tls.h"


static ngx_strict_tls_scope_t *ngx_http_strict_tls_client_scope(
    ngx_connection_t *c);
static ngx_strict_tls_scope_t *ngx_http_strict_tls_client_find(
    ngx_connection_t *c, ngx_str_t *server_name);
static ngx_http_core_srv_conf_t *ngx_http_strict_tls_find_server(
    ngx_http_virtual_names_t *names, ngx_str_t *name);
static ngx_int_t ngx_http_strict_tls_client_build(ngx_conf_t *cf,
    ngx_http_strict_tls_main_conf_t *mcf, ngx_http_core_srv_conf_t *cscf);
static ngx_int_t ngx_http_strict_tls_client_gate(ngx_http_request_t *r);
static void ngx_http_strict_tls_client_wake(ngx_strict_tls_waiter_t *waiter);
static ngx_int_t ngx_http_strict_tls_client_deny(ngx_http_request_t *r,
    ngx_strict_tls_scope_t *scope);


static const ngx_strict_tls_server_t  ngx_http_strict_tls_server = {
    ngx_http_strict_tls_client_scope,
    ngx_http_strict_tls_client_find
};


/* ---- configuration ---- */

char *
ngx_http_strict_tls_merge_client(ngx_conf_t *cf,
    ngx_http_strict_tls_srv_conf_t *prev, ngx_http_strict_tls_srv_conf_t *conf)
{
    ngx_http_ssl_srv_conf_t          *sscf;
    ngx_http_strict_tls_main_conf_t  *mcf;

    sscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_ssl_module);
    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module);

    return ngx_strict_tls_inherit_client(cf, &mcf->main, &prev->client,
                                         &conf->client, sscf->verify)
           == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/*
 * When everything is merged, for the settings about upstreams at the server's
 * level are what those about its clients begin with.
 */

ngx_int_t
ngx_http_strict_tls_arm_servers(ngx_conf_t *cf,
    ngx_http_strict_tls_main_conf_t *mcf)
{
    size_t                           max_cert_list;
    ngx_uint_t                       i;
    ngx_http_handler_pt             *h;
    ngx_http_ssl_srv_conf_t         *sscf;
    ngx_http_core_srv_conf_t       **cscfp;
    ngx_http_core_main_conf_t       *cmcf;
    ngx_http_strict_tls_srv_conf_t  *scf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    max_cert_list = 0;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        if (ngx_http_strict_tls_client_build(cf, mcf, cscfp[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        scf = cscfp[i]->ctx->srv_conf[ngx_http_strict_tls_module.ctx_index];

        max_cert_list = ngx_max(max_cert_list, scf->client.max_cert_list);
    }

    if (max_cert_list == 0) {
        scf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_strict_tls_module);
        ngx_strict_tls_client_idle(cf, &scf->client);

        return NGX_OK;
    }

    for (i = 0; i < cmcf->servers.nelts; i++) {

        sscf = cscfp[i]->ctx->srv_conf[ngx_http_ssl_module.ctx_index];
        scf = cscfp[i]->ctx->srv_conf[ngx_http_strict_tls_module.ctx_index];

        if (sscf->ssl.ctx
            && ngx_strict_tls_client_install(sscf->ssl.ctx,
                                             &ngx_http_strict_tls_server,
                                             scf->client.policy != NULL,
                                             max_cert_list, cf->log)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_strict_tls_client_gate;

    return NGX_OK;
}


static ngx_int_t
ngx_http_strict_tls_client_build(ngx_conf_t *cf,
    ngx_http_strict_tls_main_conf_t *mcf, ngx_http_core_srv_conf_t *cscf)
{
    ngx_http_ssl_srv_conf_t         *sscf;
    ngx_http_core_loc_conf_t        *clcf;
    ngx_http_strict_tls_loc_conf_t  *lcf;
    ngx_http_strict_tls_srv_conf_t  *scf;

    sscf = cscf->ctx->srv_conf[ngx_http_ssl_module.ctx_index];
    scf = cscf->ctx->srv_conf[ngx_http_strict_tls_module.ctx_index];
    lcf = cscf->ctx->loc_conf[ngx_http_strict_tls_module.ctx_index];
    clcf = cscf->ctx->loc_conf[ngx_http_core_module.ctx_index];

    if (scf->client.mode == NGX_STRICT_TLS_OFF || !sscf->verify) {
        return NGX_OK;
    }

    scf->client.loaded = sscf->ssl.ctx;

    ngx_strict_tls_warn_log(cf, &mcf->main, &scf->client, clcf->error_log);

    return ngx_strict_tls_build_client(cf, &mcf->main, &scf->client,
                                       &lcf->upstream,
                                       &sscf->client_certificate,
                                       &sscf->trusted_certificate,
                                       clcf->resolver, &cscf->server_name);
}


/* ---- what the engine wants to know in a handshake ---- */

static ngx_strict_tls_scope_t *
ngx_http_strict_tls_client_scope(ngx_connection_t *c)
{
    ngx_http_connection_t           *hc;
    ngx_http_strict_tls_srv_conf_t  *scf;

    hc = c->data;

    scf = ngx_http_get_module_srv_conf(hc->conf_ctx,
                                       ngx_http_strict_tls_module);

    return scf->client.policy ? &scf->client : NULL;
}


static ngx_strict_tls_scope_t *
ngx_http_strict_tls_client_find(ngx_connection_t *c, ngx_str_t *server_name)
{
    u_char                           buf[NGX_STRICT_TLS_SERVER_NAME_LEN];
    ngx_str_t                        name;
    ngx_http_connection_t           *hc;
    ngx_http_core_srv_conf_t        *cscf;
    ngx_http_strict_tls_srv_conf_t  *scf;

    hc = c->data;
    cscf = NULL;

    if (ngx_strict_tls_client_server_name(server_name, &name, buf) == NGX_OK) {
        cscf = ngx_http_strict_tls_find_server(hc->addr_conf->virtual_names,
                                               &name);
    }

    if (cscf == NULL) {
        return ngx_http_strict_tls_client_scope(c);
    }

    scf = cscf->ctx->srv_conf[ngx_http_strict_tls_module.ctx_index];

    return scf->client.policy ? &scf->client : NULL;
}


/* What nginx's own function, which is static, will find. */

static ngx_http_core_srv_conf_t *
ngx_http_strict_tls_find_server(ngx_http_virtual_names_t *names,
    ngx_str_t *name)
{
    ngx_http_core_srv_conf_t  *cscf;

    if (names == NULL) {
        return NULL;
    }

    cscf = ngx_hash_find_combined(&names->names,
                                  ngx_hash_key(name->data, name->len),
                                  name->data, name->len);

    if (cscf) {
        return cscf;
    }

#if (NGX_PCRE)
    {
    ngx_uint_t  i;

    for (i = 0; i < names->nregex; i++) {

        if (ngx_regex_exec(names->regex[i].regex->regex, name, NULL, 0) >= 0)
        {
            return names->regex[i].server;
        }
    }
    }
#endif

    return NULL;
}


/* ---- one request ---- */

static ngx_int_t
ngx_http_strict_tls_client_gate(ngx_http_request_t *r)
{
    ngx_connection_t                *c;
    ngx_strict_tls_conn_t           *conn;
    ngx_strict_tls_scope_t          *scope;
    ngx_http_strict_tls_ctx_t       *ctx;
    ngx_http_strict_tls_srv_conf_t  *scf;

    scf = ngx_http_get_module_srv_conf(r, ngx_http_strict_tls_module);
    scope = &scf->client;

    c = r->connection;

    if (scope->policy == NULL || c->ssl == NULL) {
        return NGX_DECLINED;
    }

    /* nginx itself has seen to it that this server asks for none */

    if (SSL_get0_peer_certificate(c->ssl->connection) == NULL) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_strict_tls_add_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    conn = ngx_strict_tls_client_conn(c, scope);
    if (conn == NULL) {
        return ngx_http_strict_tls_client_deny(r, scope);
    }

    switch (ngx_strict_tls_client_judge(conn, &ctx->waiter)) {

    case STLS_PENDING:
        ctx->waiter.handler = ngx_http_strict_tls_client_wake;

        ngx_strict_tls_client_wait(conn, &ctx->waiter);

        r->read_event_handler = ngx_http_test_reading;
        r->write_event_handler = ngx_http_request_empty_handler;

        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, c->log, 0,
                       "strict tls: request waits for the client's verdict");

        return NGX_AGAIN;

    case STLS_ACCEPT:
        ngx_http_strict_tls_set_client(ctx, conn->result);
        ctx->admitted = 1;
        return NGX_DECLINED;

    default:
        ngx_http_strict_tls_set_client(ctx, conn->result);
        return ngx_http_strict_tls_client_deny(r, scope);
    }
}


/* As nginx answers where its own verification fails: 400. */

static ngx_int_t
ngx_http_strict_tls_client_deny(ngx_http_request_t *r,
    ngx_strict_tls_scope_t *scope)
{
    return scope->report ? NGX_DECLINED : NGX_HTTPS_CERT_ERROR;
}


/* The phases go on where they stopped: at the gate. */

static void
ngx_http_strict_tls_client_wake(ngx_strict_tls_waiter_t *waiter)
{
    ngx_http_request_t         *r;
    ngx_http_strict_tls_ctx_t  *ctx;

    ctx = (ngx_http_strict_tls_ctx_t *)
              ((u_char *) waiter - offsetof(ngx_http_strict_tls_ctx_t, waiter));
    r = ctx->request;

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_post_event(r->connection->write, &ngx_posted_events);
}
