/*
 * Arms the locations that have a TLS upstream.
 */

#include "ngx_http_strict_tls.h"
#include "ngx_strict_tls_own.h"


static ngx_int_t ngx_http_strict_tls_arm(ngx_conf_t *cf, ngx_uint_t *armed,
    ngx_str_t *trusted);


/* The modules whose upstreams can be TLS ... */

static const char  *ngx_http_strict_tls_hosts[NGX_HTTP_STRICT_TLS_HOSTS] = {
    "ngx_http_proxy_module",
    "ngx_http_grpc_module",
    "ngx_http_uwsgi_module"
};

/* ... and the directive of each that names the trusted certificates. */

static ngx_str_t  ngx_http_strict_tls_host_directives[] = {
    ngx_string("proxy_ssl_trusted_certificate"),
    ngx_string("grpc_ssl_trusted_certificate"),
    ngx_string("uwsgi_ssl_trusted_certificate")
};


char *
ngx_http_strict_tls_merge(ngx_conf_t *cf, ngx_http_strict_tls_loc_conf_t *prev,
    ngx_http_strict_tls_loc_conf_t *conf)
{
    ngx_str_t                         trusted;
    ngx_uint_t                        armed;
    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_strict_tls_main_conf_t  *mcf;

    if (ngx_strict_tls_inherit(cf, &prev->upstream, &conf->upstream)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_conf_merge_uint_value(conf->self_check, prev->self_check,
                              NGX_STRICT_TLS_SELF_CHECK_WARN);

    if (ngx_http_strict_tls_own_upstreams(cf, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->upstream.mode == NGX_STRICT_TLS_OFF) {
        return NGX_CONF_OK;
    }

    trusted = conf->upstream.trusted_certificate;

    if (ngx_http_strict_tls_arm(cf, &armed, &trusted) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (!armed) {
        return NGX_CONF_OK;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (ngx_strict_tls_build(cf, &mcf->main, &conf->upstream, &trusted,
                             clcf->resolver, "location", &clcf->name)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* All merges of the upstream modules are over by now. */

static ngx_int_t
ngx_http_strict_tls_arm(ngx_conf_t *cf, ngx_uint_t *armed, ngx_str_t *trusted)
{
    ngx_str_t                 *file;
    ngx_uint_t                 i;
    ngx_module_t              *module;
    ngx_http_upstream_conf_t  *ucf;

    *armed = 0;

    for (i = 0; i < NGX_HTTP_STRICT_TLS_HOSTS; i++) {

        ucf = ngx_http_strict_tls_upstream_conf(cf, i, &module);

        if (ucf == NULL || ucf->ssl == NULL || ucf->ssl->ctx == NULL) {
            continue;
        }

        if (ngx_strict_tls_install(ucf->ssl->ctx,
                                   &ngx_http_strict_tls_upstream, cf->log)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        /* without it servers of many names present the wrong certificate */
        ucf->ssl_server_name = 1;

        *armed = 1;

        file = ngx_strict_tls_conf_str(module, ucf,
                                      &ngx_http_strict_tls_host_directives[i]);

        if (trusted->len == 0 && file) {
            *trusted = *file;
        }
    }

    return NGX_OK;
}


/* Each location configuration begins with ngx_http_upstream_conf_t. */

ngx_http_upstream_conf_t *
ngx_http_strict_tls_upstream_conf(ngx_conf_t *cf, ngx_uint_t host,
    ngx_module_t **module)
{
    ngx_http_conf_ctx_t  *ctx;

    *module = ngx_strict_tls_find_module(cf->cycle,
                                         ngx_http_strict_tls_hosts[host]);
    if (*module == NULL) {
        return NULL;
    }

    ctx = cf->ctx;

    return ctx->loc_conf[(*module)->ctx_index];
}
