/*
 * Arms the servers that have a TLS upstream.  The configuration of nginx's
 * proxy module is private to it: what is needed of it is found by the module's
 * own directives.
 */

#include "ngx_stream_strict_tls.h"
#include "ngx_strict_tls_own.h"


static char *ngx_stream_strict_tls_see_server_name(ngx_conf_t *cf,
    ngx_str_t *value, ngx_uint_t data);
static ngx_int_t ngx_stream_strict_tls_find_proxy(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *conf);
static ngx_int_t ngx_stream_strict_tls_arm(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *conf);
static ngx_ssl_t *ngx_stream_strict_tls_proxy_ssl(ngx_conf_t *cf,
    ngx_module_t *module, void *pscf);


static ngx_str_t  ngx_stream_strict_tls_proxy_ssl_on =
    ngx_string("proxy_ssl");
static ngx_str_t  ngx_stream_strict_tls_proxy_server_name =
    ngx_string("proxy_ssl_server_name");
static ngx_str_t  ngx_stream_strict_tls_proxy_verify =
    ngx_string("proxy_ssl_verify");
static ngx_str_t  ngx_stream_strict_tls_proxy_name =
    ngx_string("proxy_ssl_name");
static ngx_str_t  ngx_stream_strict_tls_proxy_trusted =
    ngx_string("proxy_ssl_trusted_certificate");
static ngx_str_t  ngx_stream_strict_tls_proxy_crl =
    ngx_string("proxy_ssl_crl");
static ngx_str_t  ngx_stream_strict_tls_proxy_certificate =
    ngx_string("proxy_ssl_certificate");
static ngx_str_t  ngx_stream_strict_tls_proxy_certificate_key =
    ngx_string("proxy_ssl_certificate_key");


/* Before stream{} is read. */

ngx_int_t
ngx_stream_strict_tls_watch_proxy(ngx_conf_t *cf)
{
    ngx_module_t  *module;

    module = ngx_strict_tls_find_module(cf->cycle, "ngx_stream_proxy_module");

    return module ? ngx_strict_tls_watch(cf, module,
                                      &ngx_stream_strict_tls_proxy_server_name,
                                      ngx_stream_strict_tls_see_server_name, 0)
                  : NGX_OK;
}


/* "off" and no directive at all are the same in the module's configuration. */

static char *
ngx_stream_strict_tls_see_server_name(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uint_t data)
{
    ngx_stream_strict_tls_srv_conf_t  *conf;

    conf = ngx_stream_conf_get_module_srv_conf(cf,
                                               ngx_stream_strict_tls_module);
    conf->server_name_seen = 1;

    return NGX_CONF_OK;
}


char *
ngx_stream_strict_tls_merge(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *prev,
    ngx_stream_strict_tls_srv_conf_t *conf)
{
    ngx_stream_strict_tls_main_conf_t  *mcf;

    ngx_conf_merge_uint_value(conf->self_check, prev->self_check,
                              NGX_STRICT_TLS_SELF_CHECK_WARN);
    ngx_conf_merge_value(conf->server_name_seen, prev->server_name_seen, 0);

    mcf = ngx_stream_conf_get_module_main_conf(cf,
                                               ngx_stream_strict_tls_module);

    if (ngx_strict_tls_inherit(cf, &mcf->main, &prev->upstream,
                               &conf->upstream)
        != NGX_OK
        || ngx_stream_strict_tls_find_proxy(cf, conf) != NGX_OK
        || ngx_stream_strict_tls_own_upstreams(cf, conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->upstream.mode != NGX_STRICT_TLS_OFF
        && conf->ssl
        && ngx_stream_strict_tls_arm(cf, conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_stream_strict_tls_merge_client(cf, prev, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_stream_strict_tls_arm(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *conf)
{
    ngx_str_t                           trusted, where;
    ngx_stream_core_srv_conf_t         *cscf;
    ngx_stream_strict_tls_main_conf_t  *mcf;

    if (ngx_strict_tls_install(conf->ssl->ctx, &ngx_stream_strict_tls_upstream,
                               cf->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* without it servers of many names present the wrong certificate */

    if (conf->upstream.mode == NGX_STRICT_TLS_ENFORCE
        || !conf->server_name_seen)
    {
        *conf->ssl_server_name = 1;
    }

    trusted = conf->upstream.trusted_certificate;

    if (trusted.len == 0 && conf->ssl_trusted) {
        trusted = *conf->ssl_trusted;

        if (conf->ssl_verify) {
            conf->upstream.loaded = conf->ssl->ctx;
        }
    }

    if (ngx_stream_strict_tls_where(cf, &where) != NGX_OK) {
        return NGX_ERROR;
    }

    if (conf->ssl_crl && conf->ssl_crl->len && !conf->ssl_verify) {
        ngx_strict_tls_unread_crl(cf, &ngx_stream_strict_tls_proxy_crl,
                                  "server", &where);
    }

    mcf = ngx_stream_conf_get_module_main_conf(cf,
                                               ngx_stream_strict_tls_module);
    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);

    ngx_strict_tls_judges(&conf->upstream);
    ngx_strict_tls_warn_log(cf, &mcf->main, &conf->upstream, cscf->error_log);

    return ngx_strict_tls_build(cf, &mcf->main, &conf->upstream, &trusted,
                                cscf->resolver, "server", &where);
}


/* Servers have no names here. */

ngx_int_t
ngx_stream_strict_tls_where(ngx_conf_t *cf, ngx_str_t *where)
{
    ngx_stream_core_srv_conf_t  *cscf;

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);

    where->len = ngx_strlen(cscf->file_name) + 1 + NGX_INT_T_LEN;
    where->data = ngx_pnalloc(cf->pool, where->len);
    if (where->data == NULL) {
        return NGX_ERROR;
    }

    where->len = ngx_sprintf(where->data, "%s:%ui", cscf->file_name,
                             cscf->line)
                 - where->data;

    return NGX_OK;
}


/* The merge of the proxy module is over by now. */

static ngx_int_t
ngx_stream_strict_tls_find_proxy(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *conf)
{
    void                         *pscf;
    ngx_uint_t                    needed;
    ngx_flag_t                   *on, *verify;
    ngx_module_t                 *module;
    ngx_stream_conf_ctx_t        *ctx;
    ngx_stream_complex_value_t  **name, **certificate, **key;

    module = ngx_strict_tls_find_module(cf->cycle, "ngx_stream_proxy_module");
    if (module == NULL) {
        return NGX_OK;
    }

    ctx = cf->ctx;
    pscf = ctx->srv_conf[module->ctx_index];

    on = ngx_strict_tls_conf_slot(module, pscf,
                                  &ngx_stream_strict_tls_proxy_ssl_on,
                                  ngx_conf_set_flag_slot);
    if (on == NULL || *on != 1) {
        return NGX_OK;
    }

    conf->ssl_server_name = ngx_strict_tls_conf_slot(module, pscf,
                                      &ngx_stream_strict_tls_proxy_server_name,
                                      ngx_conf_set_flag_slot);
    verify = ngx_strict_tls_conf_slot(module, pscf,
                                      &ngx_stream_strict_tls_proxy_verify,
                                      ngx_conf_set_flag_slot);
    name = ngx_strict_tls_conf_slot(module, pscf,
                                    &ngx_stream_strict_tls_proxy_name,
                                    ngx_stream_set_complex_value_slot);

    conf->ssl = ngx_stream_strict_tls_proxy_ssl(cf, module, pscf);

    if (conf->ssl_server_name == NULL
        || verify == NULL
        || name == NULL
        || conf->ssl == NULL)
    {
        conf->ssl = NULL;

        needed = (conf->upstream.mode != NGX_STRICT_TLS_OFF
                  || conf->self_check == NGX_STRICT_TLS_SELF_CHECK_FAIL);

        ngx_conf_log_error(needed ? NGX_LOG_EMERG : NGX_LOG_WARN, cf, 0,
                           "strict_tls does not know how this nginx keeps "
                           "\"proxy_ssl\" in stream servers");

        return needed ? NGX_ERROR : NGX_OK;
    }

    conf->ssl_verify = *verify;
    conf->ssl_name = *name;

    /* with variables only from nginx 1.21.4, as plain strings before */

    certificate = ngx_strict_tls_conf_slot(module, pscf,
                                      &ngx_stream_strict_tls_proxy_certificate,
                                      ngx_stream_set_complex_value_zero_slot);
    key = ngx_strict_tls_conf_slot(module, pscf,
                                  &ngx_stream_strict_tls_proxy_certificate_key,
                                  ngx_stream_set_complex_value_zero_slot);

    conf->ssl_certificate = certificate ? *certificate : NULL;
    conf->ssl_certificate_key = key ? *key : NULL;

    conf->ssl_trusted = ngx_strict_tls_conf_str(module, pscf,
                                         &ngx_stream_strict_tls_proxy_trusted);

    conf->ssl_crl = ngx_strict_tls_conf_str(module, pscf,
                                            &ngx_stream_strict_tls_proxy_crl);

    return NGX_OK;
}


/*
 * No directive leads to it, but it lies behind the last of those that are set
 * by "proxy_ssl_..." directives, and it is one that the pool will clean up:
 * nothing else can be mistaken for it.
 */

static ngx_ssl_t *
ngx_stream_strict_tls_proxy_ssl(ngx_conf_t *cf, ngx_module_t *module,
    void *pscf)
{
    void                **p;
    size_t                last;
    ngx_uint_t            i;
    ngx_command_t        *cmd;
    ngx_pool_cleanup_t   *cln;

    last = 0;

    for (cmd = module->commands; cmd->name.len; cmd++) {

        if (ngx_strncmp(cmd->name.data, "proxy_ssl_", sizeof("proxy_ssl_") - 1)
            == 0)
        {
            last = ngx_max(last, cmd->offset);
        }
    }

    p = (void **) ((u_char *) pscf + last);

    /* its own value, the ngx_ssl_t, and two members more */

    for (i = 1; i <= 3; i++) {

        for (cln = cf->pool->cleanup; cln; cln = cln->next) {

            if (cln->handler == ngx_ssl_cleanup_ctx && cln->data == p[i]) {
                return p[i];
            }
        }
    }

    return NULL;
}
