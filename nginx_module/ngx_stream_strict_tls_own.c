/*
 * Where stream presents chains of its own: servers to their clients, and to
 * their upstreams.
 */

#include "ngx_stream_strict_tls.h"
#include "ngx_strict_tls_own.h"


static ngx_int_t ngx_stream_strict_tls_own_server(ngx_conf_t *cf,
    ngx_stream_strict_tls_ssl_conf_t *sslcf);
static ngx_int_t ngx_stream_strict_tls_own_add(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *conf, ngx_strict_tls_own_use_t *use);


/* When everything is merged; cf->ctx is that of stream{}. */

ngx_int_t
ngx_stream_strict_tls_own_servers(ngx_conf_t *cf)
{
    void                               *saved;
    ngx_int_t                           rc;
    ngx_uint_t                          s;
    ngx_module_t                       *module;
    ngx_stream_core_srv_conf_t        **cscfp;
    ngx_stream_core_main_conf_t        *cmcf;
    ngx_stream_strict_tls_ssl_conf_t   *sslcf;

    module = ngx_strict_tls_find_module(cf->cycle, "ngx_stream_ssl_module");

    if (module == NULL) {
        return NGX_OK;
    }

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    cscfp = cmcf->servers.elts;

    rc = NGX_OK;
    saved = cf->ctx;

    for (s = 0; s < cmcf->servers.nelts && rc == NGX_OK; s++) {

        sslcf = cscfp[s]->ctx->srv_conf[module->ctx_index];

        if (sslcf->ssl.ctx == NULL || sslcf->certificates == NULL) {
            continue;
        }

        cf->ctx = cscfp[s]->ctx;

        rc = ngx_stream_strict_tls_own_server(cf, sslcf);
    }

    cf->ctx = saved;

    return rc;
}


/* nginx makes an SSL_CTX only for a server that listens with "ssl". */

static ngx_int_t
ngx_stream_strict_tls_own_server(ngx_conf_t *cf,
    ngx_stream_strict_tls_ssl_conf_t *sslcf)
{
    ngx_strict_tls_own_use_t           use;
    ngx_stream_strict_tls_srv_conf_t  *conf;

    conf = ngx_stream_conf_get_module_srv_conf(cf,
                                               ngx_stream_strict_tls_module);

    ngx_memzero(&use, sizeof(ngx_strict_tls_own_use_t));

    use.role = STLS_ROLE_SERVER;
    use.ssl_ctx = sslcf->ssl.ctx;
    use.files = sslcf->certificates->elts;
    use.key_files = sslcf->certificate_keys->elts;
    use.nfiles = sslcf->certificates->nelts;
    use.variables = (sslcf->certificate_values != NULL);

    return ngx_stream_strict_tls_own_add(cf, conf, &use);
}


/* While a server is merged: what it presents to its upstreams. */

ngx_int_t
ngx_stream_strict_tls_own_upstreams(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *conf)
{
    ngx_str_t                 key;
    ngx_strict_tls_own_use_t  use;

    if (conf->ssl == NULL
        || conf->ssl_certificate == NULL
        || conf->ssl_certificate->value.len == 0)
    {
        return NGX_OK;
    }

    ngx_memzero(&use, sizeof(ngx_strict_tls_own_use_t));

    key = conf->ssl_certificate_key ? conf->ssl_certificate_key->value
                                    : conf->ssl_certificate->value;

    use.role = STLS_ROLE_CLIENT;
    use.ssl_ctx = conf->ssl->ctx;
    use.files = &conf->ssl_certificate->value;
    use.key_files = &key;
    use.nfiles = 1;
    use.variables = (conf->ssl_certificate->lengths != NULL
                     || (conf->ssl_certificate_key
                         && conf->ssl_certificate_key->lengths != NULL));

    return ngx_stream_strict_tls_own_add(cf, conf, &use);
}


static ngx_int_t
ngx_stream_strict_tls_own_add(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *conf, ngx_strict_tls_own_use_t *use)
{
    u_char                             *p;
    ngx_str_t                           where;
    ngx_stream_core_srv_conf_t         *cscf;
    ngx_stream_strict_tls_main_conf_t  *mcf;

    if (conf->self_check == NGX_STRICT_TLS_SELF_CHECK_OFF) {
        return NGX_OK;
    }

    mcf = ngx_stream_conf_get_module_main_conf(cf,
                                               ngx_stream_strict_tls_module);
    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);

    if (ngx_stream_strict_tls_where(cf, &where) != NGX_OK) {
        return NGX_ERROR;
    }

    use->self_check = conf->self_check;

    use->where.len = sizeof("stream server in ") - 1 + where.len;
    use->where.data = ngx_pnalloc(cf->pool, use->where.len + 1);
    if (use->where.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(use->where.data, "stream server in %V", &where);
    *p = '\0';

    return ngx_strict_tls_own_add(cf, &mcf->main, use, &conf->upstream,
                                  cscf->resolver, "server", &where);
}
