/*
 * Where http presents chains of its own: servers to their clients, and
 * locations to their upstreams.
 */

#include "ngx_http_strict_tls.h"
#include "ngx_strict_tls_own.h"

#include <ngx_http_ssl_module.h>


static ngx_uint_t ngx_http_strict_tls_own_is_presented(
    ngx_http_core_main_conf_t *cmcf, ngx_http_core_srv_conf_t *cscf,
    ngx_http_ssl_srv_conf_t *sscf);
static ngx_int_t ngx_http_strict_tls_own_server(ngx_conf_t *cf,
    ngx_http_core_srv_conf_t *cscf, ngx_http_ssl_srv_conf_t *sscf);
static ngx_int_t ngx_http_strict_tls_own_add(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *slcf, ngx_strict_tls_own_use_t *use);
static ngx_array_t *ngx_http_strict_tls_own_names(ngx_conf_t *cf,
    ngx_http_core_srv_conf_t *cscf);
static ngx_int_t ngx_http_strict_tls_own_where(ngx_conf_t *cf,
    ngx_str_t *where);


/* When everything is merged; cf->ctx is that of http{}. */

ngx_int_t
ngx_http_strict_tls_own_servers(ngx_conf_t *cf)
{
    void                       *saved;
    ngx_int_t                   rc;
    ngx_uint_t                  s;
    ngx_module_t               *module;
    ngx_http_ssl_srv_conf_t    *sscf;
    ngx_http_core_srv_conf_t  **cscfp;
    ngx_http_core_main_conf_t  *cmcf;

    module = ngx_strict_tls_find_module(cf->cycle, "ngx_http_ssl_module");

    if (module == NULL) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    rc = NGX_OK;
    saved = cf->ctx;

    for (s = 0; s < cmcf->servers.nelts && rc == NGX_OK; s++) {

        sscf = cscfp[s]->ctx->srv_conf[module->ctx_index];

        if (sscf->ssl.ctx == NULL
            || sscf->certificates == NULL
            || !ngx_http_strict_tls_own_is_presented(cmcf, cscfp[s], sscf))
        {
            continue;
        }

        cf->ctx = cscfp[s]->ctx;

        rc = ngx_http_strict_tls_own_server(cf, cscfp[s], sscf);
    }

    cf->ctx = saved;

    return rc;
}


/* Some servers inherit a certificate and are never reached by TLS. */

static ngx_uint_t
ngx_http_strict_tls_own_is_presented(ngx_http_core_main_conf_t *cmcf,
    ngx_http_core_srv_conf_t *cscf, ngx_http_ssl_srv_conf_t *sscf)
{
    ngx_uint_t                  p, a, s;
    ngx_http_conf_port_t       *port;
    ngx_http_conf_addr_t       *addr;
    ngx_http_core_srv_conf_t  **cscfp;

#if (nginx_version < 1025001)

    /* "ssl on" */

    if (sscf->enable) {
        return 1;
    }

#endif

    if (cmcf->ports == NULL) {
        return 0;
    }

    port = cmcf->ports->elts;

    for (p = 0; p < cmcf->ports->nelts; p++) {

        addr = port[p].addrs.elts;

        for (a = 0; a < port[p].addrs.nelts; a++) {

#if (NGX_HTTP_V3)
            if (!addr[a].opt.ssl && !addr[a].opt.quic) {
                continue;
            }
#else
            if (!addr[a].opt.ssl) {
                continue;
            }
#endif

            cscfp = addr[a].servers.elts;

            for (s = 0; s < addr[a].servers.nelts; s++) {
                if (cscfp[s] == cscf) {
                    return 1;
                }
            }
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_strict_tls_own_server(ngx_conf_t *cf, ngx_http_core_srv_conf_t *cscf,
    ngx_http_ssl_srv_conf_t *sscf)
{
    ngx_strict_tls_own_use_t         use;
    ngx_http_strict_tls_loc_conf_t  *slcf;

    slcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_strict_tls_module);

    if (slcf->self_check == NGX_STRICT_TLS_SELF_CHECK_OFF) {
        return NGX_OK;
    }

    ngx_memzero(&use, sizeof(ngx_strict_tls_own_use_t));

    use.role = STLS_ROLE_SERVER;
    use.self_check = slcf->self_check;
    use.ssl_ctx = sscf->ssl.ctx;
    use.files = sscf->certificates->elts;
    use.key_files = sscf->certificate_keys->elts;
    use.nfiles = sscf->certificates->nelts;
    use.variables = (sscf->certificate_values != NULL);

    use.names = ngx_http_strict_tls_own_names(cf, cscf);
    if (use.names == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_strict_tls_own_add(cf, slcf, &use);
}


static ngx_int_t
ngx_http_strict_tls_own_add(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *slcf, ngx_strict_tls_own_use_t *use)
{
    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_strict_tls_main_conf_t  *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (ngx_http_strict_tls_own_where(cf, &use->where) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_strict_tls_own_add(cf, &smcf->main, use, &slcf->upstream,
                                  clcf->resolver, "location", &clcf->name);
}


/* Those that can be compared with a certificate. */

static ngx_array_t *
ngx_http_strict_tls_own_names(ngx_conf_t *cf, ngx_http_core_srv_conf_t *cscf)
{
    char                    **place;
    u_char                   *name;
    ngx_uint_t                i;
    ngx_array_t              *names;
    ngx_http_server_name_t   *sn;

    names = ngx_array_create(cf->pool, cscf->server_names.nelts + 1,
                             sizeof(char *));
    if (names == NULL) {
        return NULL;
    }

    sn = cscf->server_names.elts;

    for (i = 0; i < cscf->server_names.nelts; i++) {

#if (NGX_PCRE)
        if (sn[i].regex) {
            continue;
        }
#endif

        name = ngx_pnalloc(cf->pool, sn[i].name.len + 1);
        if (name == NULL) {
            return NULL;
        }

        (void) ngx_cpystrn(name, sn[i].name.data, sn[i].name.len + 1);

        if (!stls_own_chain_takes_name((char *) name)) {
            continue;
        }

        place = ngx_array_push(names);
        if (place == NULL) {
            return NULL;
        }

        *place = (char *) name;
    }

    return names;
}


/* While a location is merged: what it presents to its upstreams. */

ngx_int_t
ngx_http_strict_tls_own_upstreams(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *slcf)
{
    ngx_str_t                    key;
    ngx_uint_t                   i;
    ngx_strict_tls_own_use_t     use;
    ngx_http_upstream_conf_t    *ucf;

    if (slcf->self_check == NGX_STRICT_TLS_SELF_CHECK_OFF) {
        return NGX_OK;
    }

    for (i = 0; i < NGX_HTTP_STRICT_TLS_HOSTS; i++) {

        ucf = ngx_http_strict_tls_upstream_conf(cf, i);

        if (ucf == NULL
            || slcf->hosts[i].pass < NGX_HTTP_STRICT_TLS_PASS_TLS
            || ucf->ssl == NULL
            || ucf->ssl->ctx == NULL
            || ucf->ssl_certificate == NULL
            || ucf->ssl_certificate->value.len == 0)
        {
            continue;
        }

        ngx_memzero(&use, sizeof(ngx_strict_tls_own_use_t));

        key = ucf->ssl_certificate_key ? ucf->ssl_certificate_key->value
                                       : ucf->ssl_certificate->value;

        use.role = STLS_ROLE_CLIENT;
        use.self_check = slcf->self_check;
        use.ssl_ctx = ucf->ssl->ctx;
        use.files = &ucf->ssl_certificate->value;
        use.key_files = &key;
        use.nfiles = 1;
        use.variables = (ucf->ssl_certificate->lengths != NULL
                         || (ucf->ssl_certificate_key
                             && ucf->ssl_certificate_key->lengths != NULL));

        if (ngx_http_strict_tls_own_add(cf, slcf, &use) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* The directives' own lines are not known any more, the server's is. */

static ngx_int_t
ngx_http_strict_tls_own_where(ngx_conf_t *cf, ngx_str_t *where)
{
    u_char                    *p;
    size_t                     len;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_core_srv_conf_t  *cscf;

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    len = sizeof("location \"\" of server \"\" in :") - 1 + clcf->name.len
          + cscf->server_name.len + ngx_strlen(cscf->file_name)
          + NGX_INT_T_LEN;

    p = ngx_pnalloc(cf->pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    where->data = p;

    if (clcf->name.len) {
        p = ngx_sprintf(p, "location \"%V\" of ", &clcf->name);
    }

    p = ngx_sprintf(p, "server \"%V\" in %s:%ui", &cscf->server_name,
                    cscf->file_name, cscf->line);
    *p = '\0';

    where->len = p - where->data;

    return NGX_OK;
}
