/*
 * Whose upstreams are TLS?  Each module that can speak TLS to upstreams has a
 * configuration, and here a scope, of its own in every location: which one
 * counts is decided by the module that a request really goes through.
 */

#include "ngx_http_strict_tls.h"


static char *ngx_http_strict_tls_see_pass(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uint_t host);
static char *ngx_http_strict_tls_see_server_name(ngx_conf_t *cf,
    ngx_str_t *value, ngx_uint_t host);
static ngx_uint_t ngx_http_strict_tls_begins(ngx_str_t *value,
    ngx_str_t *prefix);


const ngx_http_strict_tls_host_t
    ngx_http_strict_tls_hosts[NGX_HTTP_STRICT_TLS_HOSTS] =
{
    { "ngx_http_proxy_module",
      ngx_string("proxy_pass"), ngx_string("http://"), ngx_string("https://"),
      ngx_string("proxy_ssl_trusted_certificate"),
      ngx_string("proxy_ssl_crl"), ngx_string("proxy_ssl_server_name") },

    { "ngx_http_grpc_module",
      ngx_string("grpc_pass"), ngx_string("grpc://"), ngx_string("grpcs://"),
      ngx_string("grpc_ssl_trusted_certificate"),
      ngx_string("grpc_ssl_crl"), ngx_string("grpc_ssl_server_name") },

    { "ngx_http_uwsgi_module",
      ngx_string("uwsgi_pass"), ngx_string("uwsgi://"),
      ngx_string("suwsgi://"),
      ngx_string("uwsgi_ssl_trusted_certificate"),
      ngx_string("uwsgi_ssl_crl"), ngx_string("uwsgi_ssl_server_name") }
};


/* Before http{} is read. */

ngx_int_t
ngx_http_strict_tls_watch_passes(ngx_conf_t *cf,
    ngx_http_strict_tls_main_conf_t *mcf)
{
    ngx_str_t      name;
    ngx_uint_t     i;
    ngx_module_t  *module;

    for (i = 0; i < NGX_HTTP_STRICT_TLS_HOSTS; i++) {

        module = ngx_strict_tls_find_module(cf->cycle,
                                            ngx_http_strict_tls_hosts[i].name);
        mcf->hosts[i] = module;

        if (module == NULL) {
            continue;
        }

        name = ngx_http_strict_tls_hosts[i].pass;

        if (ngx_strict_tls_watch(cf, module, &name,
                                 ngx_http_strict_tls_see_pass, i)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        name = ngx_http_strict_tls_hosts[i].server_name;

        if (ngx_strict_tls_watch(cf, module, &name,
                                 ngx_http_strict_tls_see_server_name, i)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * From nginx 1.23.1 on a location has an SSL context because another one has:
 * only what was written says which of them speak TLS.
 */

static char *
ngx_http_strict_tls_see_pass(ngx_conf_t *cf, ngx_str_t *value, ngx_uint_t host)
{
    ngx_str_t                        plain, tls;
    ngx_uint_t                      *pass;
    ngx_http_strict_tls_loc_conf_t  *slcf;

    slcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_strict_tls_module);
    pass = &slcf->hosts[host].pass;

    plain = ngx_http_strict_tls_hosts[host].plain;
    tls = ngx_http_strict_tls_hosts[host].tls;

    if (ngx_http_strict_tls_begins(value, &tls)) {
        *pass = NGX_HTTP_STRICT_TLS_PASS_TLS;

    } else if (ngx_http_strict_tls_begins(value, &plain)
               || ngx_http_script_variables_count(value) == 0)
    {
        *pass = NGX_HTTP_STRICT_TLS_PASS_PLAIN;

    } else {
        *pass = NGX_HTTP_STRICT_TLS_PASS_VARIABLE;
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_strict_tls_begins(ngx_str_t *value, ngx_str_t *prefix)
{
    return value->len >= prefix->len
           && ngx_strncasecmp(value->data, prefix->data, prefix->len) == 0;
}


/* "off" and no directive at all are the same in the module's configuration. */

static char *
ngx_http_strict_tls_see_server_name(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uint_t host)
{
    ngx_http_strict_tls_loc_conf_t  *slcf;

    slcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_strict_tls_module);

    slcf->hosts[host].server_name = 1;

    return NGX_CONF_OK;
}


/*
 * As nginx's modules do it: a location has its own "..._pass", but "if" and
 * "limit_except" are within their location.
 */

void
ngx_http_strict_tls_merge_passes(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *prev, ngx_http_strict_tls_loc_conf_t *conf)
{
    ngx_uint_t                         i;
    ngx_http_core_loc_conf_t          *clcf;
    ngx_http_strict_tls_host_conf_t   *host, *outer;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    for (i = 0; i < NGX_HTTP_STRICT_TLS_HOSTS; i++) {
        host = &conf->hosts[i];
        outer = &prev->hosts[i];

        if (host->pass == NGX_HTTP_STRICT_TLS_PASS_NONE && clcf->noname) {
            host->pass = outer->pass;
        }

        ngx_conf_merge_value(host->server_name, outer->server_name, 0);
    }
}


/* Each location configuration begins with ngx_http_upstream_conf_t. */

ngx_http_upstream_conf_t *
ngx_http_strict_tls_upstream_conf(ngx_conf_t *cf, ngx_uint_t host)
{
    ngx_module_t                     *module;
    ngx_http_conf_ctx_t              *ctx;
    ngx_http_strict_tls_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module);
    module = mcf->hosts[host];

    if (module == NULL) {
        return NULL;
    }

    ctx = cf->ctx;

    return ctx->loc_conf[module->ctx_index];
}


/*
 * What applies to a request that has an upstream, by the module that has made
 * it.  NULL: none of those that are known here.
 */

ngx_http_strict_tls_host_conf_t *
ngx_http_strict_tls_request_host(ngx_http_request_t *r)
{
    ngx_uint_t                         i;
    ngx_module_t                      *module;
    ngx_http_strict_tls_loc_conf_t    *slcf;
    ngx_http_strict_tls_main_conf_t   *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_strict_tls_module);
    slcf = ngx_http_get_module_loc_conf(r, ngx_http_strict_tls_module);

    for (i = 0; i < NGX_HTTP_STRICT_TLS_HOSTS; i++) {
        module = mcf->hosts[i];

        if (module && r->loc_conf[module->ctx_index] == r->upstream->conf) {
            return &slcf->hosts[i];
        }
    }

    return NULL;
}
