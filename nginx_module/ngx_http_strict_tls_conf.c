/*
 * Arms the locations that have a TLS upstream.
 */

#include "ngx_http_strict_tls.h"
#include "ngx_strict_tls_own.h"


static ngx_int_t ngx_http_strict_tls_arm(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *conf, ngx_uint_t i);


char *
ngx_http_strict_tls_merge(ngx_conf_t *cf, ngx_http_strict_tls_loc_conf_t *prev,
    ngx_http_strict_tls_loc_conf_t *conf)
{
    ngx_uint_t                        i;
    ngx_http_strict_tls_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module);

    if (ngx_strict_tls_inherit(cf, &mcf->main, &prev->upstream,
                               &conf->upstream)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_conf_merge_uint_value(conf->self_check, prev->self_check,
                              NGX_STRICT_TLS_SELF_CHECK_WARN);

    ngx_http_strict_tls_merge_passes(cf, prev, conf);

    if (ngx_http_strict_tls_own_upstreams(cf, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->upstream.mode == NGX_STRICT_TLS_OFF) {
        return NGX_CONF_OK;
    }

    mcf->strict = 1;

    for (i = 0; i < NGX_HTTP_STRICT_TLS_HOSTS; i++) {

        if (conf->hosts[i].pass >= NGX_HTTP_STRICT_TLS_PASS_TLS
            && ngx_http_strict_tls_arm(cf, conf, i) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* All merges of the upstream modules are over by now. */

static ngx_int_t
ngx_http_strict_tls_arm(ngx_conf_t *cf, ngx_http_strict_tls_loc_conf_t *conf,
    ngx_uint_t i)
{
    ngx_str_t                         name, trusted, *file;
    ngx_strict_tls_scope_t           *scope;
    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_upstream_conf_t         *ucf;
    ngx_http_strict_tls_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    ucf = ngx_http_strict_tls_upstream_conf(cf, i);

    if (ucf == NULL || ucf->ssl == NULL || ucf->ssl->ctx == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "strict_tls does not know how this nginx keeps "
                           "\"%V\" of location \"%V\"",
                           &ngx_http_strict_tls_hosts[i].pass, &clcf->name);
        return NGX_ERROR;
    }

    scope = ngx_palloc(cf->pool, sizeof(ngx_strict_tls_scope_t));
    if (scope == NULL) {
        return NGX_ERROR;
    }

    *scope = conf->upstream;

    if (ngx_strict_tls_install(ucf->ssl->ctx, &ngx_http_strict_tls_upstream,
                               cf->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* without it servers of many names present the wrong certificate */

    if (scope->mode == NGX_STRICT_TLS_ENFORCE || !conf->hosts[i].server_name) {
        ucf->ssl_server_name = 1;
    }

    trusted = scope->trusted_certificate;

    if (trusted.len == 0) {
        name = ngx_http_strict_tls_hosts[i].trusted;
        file = ngx_strict_tls_conf_str(mcf->hosts[i], ucf, &name);

        if (file) {
            trusted = *file;
        }

        if (ucf->ssl_verify) {
            scope->loaded = ucf->ssl->ctx;
        }
    }

    name = ngx_http_strict_tls_hosts[i].crl;
    file = ngx_strict_tls_conf_str(mcf->hosts[i], ucf, &name);

    if (file && file->len && !ucf->ssl_verify) {
        ngx_strict_tls_unread_crl(cf, &name, "location", &clcf->name);
    }

    conf->hosts[i].scope = scope;

    ngx_strict_tls_judges(&conf->upstream);
    ngx_strict_tls_warn_log(cf, &mcf->main, &conf->upstream, clcf->error_log);

    return ngx_strict_tls_build(cf, &mcf->main, scope, &trusted,
                                clcf->resolver, "location", &clcf->name);
}
