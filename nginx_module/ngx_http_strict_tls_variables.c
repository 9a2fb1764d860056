/*
 * What a request knows about its last upstream peer and about its client: the
 * results kept with the request, and the variables that show them.
 */

#include "ngx_http_strict_tls.h"


static void ngx_http_strict_tls_cleanup_ctx(void *data);
static ngx_int_t ngx_http_strict_tls_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_strict_tls_client_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_strict_tls_client_verify(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


ngx_int_t
ngx_http_strict_tls_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t              *var;
    ngx_strict_tls_variable_t        *v;
    ngx_http_strict_tls_main_conf_t  *mcf;

    for (v = ngx_strict_tls_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, NGX_HTTP_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->client ? ngx_http_strict_tls_client_variable
                                     : ngx_http_strict_tls_variable;
        var->data = v->data;
    }

    /* nginx's own, which is there already: its modules come before this one */

    if (ngx_strict_tls_find_module(cf->cycle, "ngx_http_ssl_module") == NULL) {
        return NGX_OK;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module);

    var = ngx_http_add_variable(cf, &ngx_strict_tls_client_verify_name,
                                NGX_HTTP_VAR_CHANGEABLE);
    if (var == NULL || var->get_handler == NULL) {
        return NGX_ERROR;
    }

    mcf->client_verify = var->get_handler;

    var->get_handler = ngx_http_strict_tls_client_verify;
    var->flags |= NGX_HTTP_VAR_NOCACHEABLE;

    return NGX_OK;
}


ngx_http_strict_tls_ctx_t *
ngx_http_strict_tls_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_strict_tls_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_strict_tls_module);

    if (ctx || !(r->internal || r->filter_finalize)) {
        return ctx;
    }

    /*
     * An internal redirect (error_page after a rejection) clears the module
     * contexts, so the context is found again among the pool's cleanups.
     * Subrequests share the pool: each context names its request.
     */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_http_strict_tls_cleanup_ctx) {
            ctx = cln->data;

            if (ctx->request == r) {
                return ctx;
            }
        }
    }

    return NULL;
}


ngx_http_strict_tls_ctx_t *
ngx_http_strict_tls_add_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_strict_tls_ctx_t  *ctx;

    ctx = ngx_http_strict_tls_get_ctx(r);

    if (ctx == NULL) {
        cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_strict_tls_ctx_t));
        if (cln == NULL) {
            return NULL;
        }

        ctx = cln->data;
        ngx_memzero(ctx, sizeof(ngx_http_strict_tls_ctx_t));

        ctx->request = r;
        cln->handler = ngx_http_strict_tls_cleanup_ctx;
    }

    ngx_http_set_ctx(r, ctx, ngx_http_strict_tls_module);

    return ctx;
}


static void
ngx_http_strict_tls_cleanup_ctx(void *data)
{
    ngx_http_strict_tls_ctx_t *ctx = data;

    ngx_strict_tls_leave_conn(&ctx->owner);

    ngx_strict_tls_client_leave(&ctx->waiter);

    stls_result_free(ctx->client);
    ctx->client = NULL;
}


void
ngx_http_strict_tls_set_client(ngx_http_strict_tls_ctx_t *ctx,
    stls_result *result)
{
    if (result) {
        (void) stls_result_up_ref(result);
    }

    stls_result_free(ctx->client);
    ctx->client = result;
}


static ngx_int_t
ngx_http_strict_tls_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_strict_tls_ctx_t  *ctx;

    ctx = ngx_http_strict_tls_get_ctx(r);

    return ngx_strict_tls_show(r->pool, v, ctx ? ctx->owner.result : NULL,
                               data);
}


/* The verdict that let this request in, or that nginx has refused it for. */

static ngx_int_t
ngx_http_strict_tls_client_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    stls_result                     *result;
    ngx_http_strict_tls_ctx_t       *ctx;
    ngx_http_strict_tls_srv_conf_t  *scf;

    ctx = ngx_http_strict_tls_get_ctx(r->main);

    result = ctx ? ctx->client : NULL;

    if (result == NULL) {
        scf = ngx_http_get_module_srv_conf(r->main,
                                           ngx_http_strict_tls_module);

        result = ngx_strict_tls_client_result(r->connection, &scf->client);
    }

    return ngx_strict_tls_show(r->pool, v, result, data);
}


/* "$ssl_client_verify", whose `data` is nginx's. */

static ngx_int_t
ngx_http_strict_tls_client_verify(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_int_t                         rc;
    ngx_http_strict_tls_ctx_t        *ctx;
    ngx_http_strict_tls_srv_conf_t   *scf;
    ngx_http_strict_tls_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_strict_tls_module);

    rc = mcf->client_verify(r, v, data);

    if (rc != NGX_OK) {
        return rc;
    }

    scf = ngx_http_get_module_srv_conf(r->main, ngx_http_strict_tls_module);
    ctx = ngx_http_strict_tls_get_ctx(r->main);

    return ngx_strict_tls_client_verify_value(r->connection, &scf->client,
                                              ctx && ctx->admitted, v,
                                              r->pool);
}
