/*
 * What a session knows about its last upstream peer and about its client, and
 * the variables that show it.
 */

#include "ngx_stream_strict_tls.h"


static void ngx_stream_strict_tls_cleanup_ctx(void *data);
static ngx_int_t ngx_stream_strict_tls_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_strict_tls_client_variable(
    ngx_stream_session_t *s, ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_strict_tls_client_verify(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);


ngx_int_t
ngx_stream_strict_tls_add_variables(ngx_conf_t *cf)
{
    ngx_stream_variable_t              *var;
    ngx_strict_tls_variable_t          *v;
    ngx_stream_strict_tls_main_conf_t  *mcf;

    for (v = ngx_strict_tls_variables; v->name.len; v++) {

        var = ngx_stream_add_variable(cf, &v->name, NGX_STREAM_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->client ? ngx_stream_strict_tls_client_variable
                                     : ngx_stream_strict_tls_variable;
        var->data = v->data;
    }

    /* nginx's own, which is there already: its modules come before this one */

    if (ngx_strict_tls_find_module(cf->cycle, "ngx_stream_ssl_module")
        == NULL)
    {
        return NGX_OK;
    }

    mcf = ngx_stream_conf_get_module_main_conf(cf,
                                               ngx_stream_strict_tls_module);

    var = ngx_stream_add_variable(cf, &ngx_strict_tls_client_verify_name,
                                  NGX_STREAM_VAR_CHANGEABLE);
    if (var == NULL || var->get_handler == NULL) {
        return NGX_ERROR;
    }

    mcf->client_verify = var->get_handler;

    var->get_handler = ngx_stream_strict_tls_client_verify;
    var->flags |= NGX_STREAM_VAR_NOCACHEABLE;

    return NGX_OK;
}


ngx_stream_strict_tls_ctx_t *
ngx_stream_strict_tls_add_ctx(ngx_stream_session_t *s)
{
    ngx_pool_cleanup_t           *cln;
    ngx_stream_strict_tls_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_strict_tls_module);

    if (ctx) {
        return ctx;
    }

    cln = ngx_pool_cleanup_add(s->connection->pool,
                               sizeof(ngx_stream_strict_tls_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_stream_strict_tls_ctx_t));

    ctx->session = s;
    cln->handler = ngx_stream_strict_tls_cleanup_ctx;

    ngx_stream_set_ctx(s, ctx, ngx_stream_strict_tls_module);

    return ctx;
}


static void
ngx_stream_strict_tls_cleanup_ctx(void *data)
{
    ngx_stream_strict_tls_ctx_t *ctx = data;

    ngx_strict_tls_leave_conn(&ctx->owner);
    ngx_strict_tls_client_leave(&ctx->waiter);
}


static ngx_int_t
ngx_stream_strict_tls_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_stream_strict_tls_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_strict_tls_module);

    return ngx_strict_tls_show(s->connection->pool, v,
                               ctx ? ctx->owner.result : NULL, data);
}


/* Its connection has its TLS until the log is written. */

static ngx_int_t
ngx_stream_strict_tls_client_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_stream_strict_tls_srv_conf_t  *conf;

    conf = ngx_stream_get_module_srv_conf(s, ngx_stream_strict_tls_module);

    return ngx_strict_tls_show(s->connection->pool, v,
                               ngx_strict_tls_client_result(s->connection,
                                                            &conf->client),
                               data);
}


/* "$ssl_client_verify", whose `data` is nginx's. */

static ngx_int_t
ngx_stream_strict_tls_client_verify(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_int_t                           rc;
    ngx_stream_strict_tls_ctx_t        *ctx;
    ngx_stream_strict_tls_srv_conf_t   *conf;
    ngx_stream_strict_tls_main_conf_t  *mcf;

    mcf = ngx_stream_get_module_main_conf(s, ngx_stream_strict_tls_module);

    rc = mcf->client_verify(s, v, data);

    if (rc != NGX_OK) {
        return rc;
    }

    conf = ngx_stream_get_module_srv_conf(s, ngx_stream_strict_tls_module);
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_strict_tls_module);

    return ngx_strict_tls_client_verify_value(s->connection, &conf->client,
                                              ctx && ctx->admitted, v,
                                              s->connection->pool);
}
