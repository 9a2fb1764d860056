/*
 * Who resolves the responders' names: the "resolver" in effect, otherwise
 * the name servers of /etc/resolv.conf.
 */

#include "ngx_strict_tls.h"


#define NGX_STRICT_TLS_RESOLV_CONF  "/etc/resolv.conf"
#define NGX_STRICT_TLS_NAMESERVERS  3         /* as many as libc asks */


static ngx_int_t ngx_strict_tls_system_resolver(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf);
static ngx_uint_t ngx_strict_tls_nameservers(ngx_conf_t *cf,
    ngx_str_t *names);
static ngx_int_t ngx_strict_tls_nameserver(ngx_conf_t *cf, u_char *line,
    ngx_str_t *name);


ngx_int_t
ngx_strict_tls_find_resolver(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *scope, ngx_resolver_t *resolver)
{
    /* where none is configured, nginx makes one without servers */

    if (resolver && resolver->connections.nelts) {
        scope->resolver = resolver;
        return NGX_OK;
    }

    if (ngx_strict_tls_system_resolver(cf, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    scope->resolver = mcf->resolver;

    if (scope->resolver == NULL && scope->http_proxy == NULL
        && !mcf->resolver_warned)
    {
        mcf->resolver_warned = 1;

        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "strict_tls cannot look up OCSP responders: there "
                           "is neither a \"resolver\" nor a name server in "
                           NGX_STRICT_TLS_RESOLV_CONF);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_strict_tls_system_resolver(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf)
{
    ngx_str_t   names[NGX_STRICT_TLS_NAMESERVERS];
    ngx_uint_t  n;

    if (mcf->resolver_sought) {
        return NGX_OK;
    }

    mcf->resolver_sought = 1;

    n = ngx_strict_tls_nameservers(cf, names);

    if (n == 0) {
        return NGX_OK;
    }

    mcf->resolver = ngx_resolver_create(cf, names, n);

    return mcf->resolver ? NGX_OK : NGX_ERROR;
}


static ngx_uint_t
ngx_strict_tls_nameservers(ngx_conf_t *cf, ngx_str_t *names)
{
    FILE       *file;
    char        line[512];
    ngx_uint_t  n;

    file = fopen(NGX_STRICT_TLS_RESOLV_CONF, "r");
    if (file == NULL) {
        return 0;
    }

    n = 0;

    while (n < NGX_STRICT_TLS_NAMESERVERS
           && fgets(line, sizeof(line), file) != NULL)
    {
        if (ngx_strict_tls_nameserver(cf, (u_char *) line, &names[n])
            == NGX_OK)
        {
            n++;
        }
    }

    fclose(file);

    return n;
}


/* A name server that nginx would refuse must not refuse the configuration. */

static ngx_int_t
ngx_strict_tls_nameserver(ngx_conf_t *cf, u_char *line, ngx_str_t *name)
{
    u_char    *p;
    ngx_str_t  addr;
#if (NGX_HAVE_INET6)
    u_char      addr6[16];
#endif

    if (ngx_strncmp(line, "nameserver", sizeof("nameserver") - 1) != 0) {
        return NGX_DECLINED;
    }

    p = line + sizeof("nameserver") - 1;

    if (*p != ' ' && *p != '\t') {
        return NGX_DECLINED;
    }

    while (*p == ' ' || *p == '\t') { p++; }

    addr.data = p;

    while (*p > ' ') { p++; }

    addr.len = p - addr.data;

    if (ngx_inet_addr(addr.data, addr.len) != INADDR_NONE) {
        name->data = ngx_pstrdup(cf->pool, &addr);
        name->len = addr.len;

        return name->data ? NGX_OK : NGX_ERROR;
    }

#if (NGX_HAVE_INET6)

    if (ngx_inet6_addr(addr.data, addr.len, addr6) == NGX_OK) {
        name->data = ngx_pnalloc(cf->pool, addr.len + 2);
        if (name->data == NULL) {
            return NGX_ERROR;
        }

        name->len = ngx_sprintf(name->data, "[%V]", &addr) - name->data;

        return NGX_OK;
    }

#endif

    return NGX_DECLINED;
}
