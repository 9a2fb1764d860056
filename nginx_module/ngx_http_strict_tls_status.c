/*
 * strict_tls_status: the core's page about own chains, peers and figures, for
 * people, programs or Prometheus.  It names peers and paths, so it is not for
 * everybody.
 */

#include "ngx_http_strict_tls.h"
#include "ngx_strict_tls_own.h"


static ngx_int_t ngx_http_strict_tls_status_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_strict_tls_status_is_local(ngx_http_request_t *r);
static ngx_uint_t ngx_http_strict_tls_status_is_own_address(
    ngx_connection_t *c);
static ngx_uint_t ngx_http_strict_tls_status_is_loopback(
    struct sockaddr *sockaddr);
static ngx_uint_t ngx_http_strict_tls_status_is_forwarded(
    ngx_http_request_t *r);
static ngx_table_elt_t *ngx_http_strict_tls_status_find(ngx_http_request_t *r,
    const char *name);
static ngx_int_t ngx_http_strict_tls_status_add(ngx_http_request_t *r,
    const char *name, const char *value);
static ngx_int_t ngx_http_strict_tls_status_send(ngx_http_request_t *r,
    stls_status_page *page);


char *
ngx_http_strict_tls_set_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_strict_tls_loc_conf_t *slcf = conf;

    ngx_str_t                        *value;
    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_strict_tls_main_conf_t  *smcf;

    if (slcf->status) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2) {

        if (ngx_strcmp(value[1].data, "public") != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in "
                               "\"strict_tls_status\" directive, "
                               "it must be \"public\" or none", &value[1]);
            return NGX_CONF_ERROR;
        }

        slcf->status_public = 1;
    }

    slcf->status = 1;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_strict_tls_status_handler;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module);
    smcf->has_status = 1;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_strict_tls_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                         rc;
    stls_status_page                 *page;
    ngx_http_strict_tls_loc_conf_t   *slcf;
    ngx_http_strict_tls_main_conf_t  *smcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_strict_tls_module);

    if (!slcf->status_public && !ngx_http_strict_tls_status_is_local(r)) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "strict_tls_status is for clients on this machine: open "
                      "it by \"strict_tls_status public\" beside \"allow\" and "
                      "\"deny\"");
        return NGX_HTTP_FORBIDDEN;
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    smcf = ngx_http_get_module_main_conf(r, ngx_http_strict_tls_module);

    page = ngx_strict_tls_status_page(&smcf->main);
    if (page == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_strict_tls_status_send(r, page);

    stls_status_page_free(page);

    return rc;
}


static ngx_uint_t
ngx_http_strict_tls_status_is_local(ngx_http_request_t *r)
{
    return r->connection->proxy_protocol == NULL
           && ngx_http_strict_tls_status_is_loopback(r->connection->sockaddr)
           && ngx_http_strict_tls_status_is_own_address(r->connection)
           && !ngx_http_strict_tls_status_is_forwarded(r);
}


/*
 * Where the realip module has had its say, a header chose the address: it may
 * well say "127.0.0.1", and who wrote it is not known.
 */

static ngx_uint_t
ngx_http_strict_tls_status_is_own_address(ngx_connection_t *c)
{
    socklen_t       socklen;
    ngx_sockaddr_t  peer;

    socklen = sizeof(ngx_sockaddr_t);

    if (getpeername(c->fd, &peer.sockaddr, &socklen) == -1
        || peer.sockaddr.sa_family != c->sockaddr->sa_family)
    {
        return 0;
    }

#if (NGX_HAVE_UNIX_DOMAIN)

    /* such clients have no address that could differ, nor does a header */

    if (peer.sockaddr.sa_family == AF_UNIX) {
        return 1;
    }

#endif

    return ngx_cmp_sockaddr(&peer.sockaddr, socklen, c->sockaddr, c->socklen, 1)
           == NGX_OK;
}


static ngx_uint_t
ngx_http_strict_tls_status_is_loopback(struct sockaddr *sockaddr)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    u_char               *addr;
    struct sockaddr_in6  *sin6;
#endif

    switch (sockaddr->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sockaddr;
        addr = sin6->sin6_addr.s6_addr;

        return IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr)
               || (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)
                   && addr[12] == 127);
#endif

#if (NGX_HAVE_UNIX_DOMAIN)
    case AF_UNIX:
        return 1;
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) sockaddr;

        return (ntohl(sin->sin_addr.s_addr) >> 24) == 127;

    default:
        return 0;
    }
}


/*
 * A proxy on this machine makes everybody's requests come from loopback, and
 * usually says so.
 */

static ngx_uint_t
ngx_http_strict_tls_status_is_forwarded(ngx_http_request_t *r)
{
    const char *const  *name;

    for (name = stls_status_page_forwarding_headers(); *name; name++) {
        if (ngx_http_strict_tls_status_find(r, *name)) {
            return 1;
        }
    }

    return 0;
}


static ngx_table_elt_t *
ngx_http_strict_tls_status_find(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    len = ngx_strlen(name);

    part = &r->headers_in.headers.part;
    header = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            header = part->elts;
            i = 0;
        }

        if (header[i].key.len == len
            && ngx_strncasecmp(header[i].key.data, (u_char *) name, len) == 0)
        {
            return &header[i];
        }
    }
}


static ngx_int_t
ngx_http_strict_tls_status_send(ngx_http_request_t *r, stls_status_page *page)
{
    size_t               len;
    ngx_buf_t           *b;
    ngx_int_t            rc;
    ngx_str_t            accept;
    ngx_chain_t          out;
    const char          *text, *type;
    ngx_table_elt_t     *header;
    stls_status_format   format;

    header = ngx_http_strict_tls_status_find(r, "accept");

    if (header) {
        accept = header->value;

    } else {
        ngx_str_null(&accept);
    }

    format = stls_status_page_format((char *) r->uri.data, r->uri.len,
                                     (char *) accept.data, accept.len);

    text = stls_status_page_render(page, format, &len);
    if (text == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    type = stls_status_page_content_type(format);

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = len;
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    if (ngx_http_strict_tls_status_add(r, "Cache-Control", "no-store")
        != NGX_OK
        || ngx_http_strict_tls_status_add(r, "Content-Security-Policy",
                                          STLS_STATUS_PAGE_CSP)
           != NGX_OK
        || ngx_http_strict_tls_status_add(r, "X-Content-Type-Options",
                                          "nosniff")
           != NGX_OK
        || ngx_http_strict_tls_status_add(r, "Vary", "Accept") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_create_temp_buf(r->pool, len);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->last, text, len);
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_strict_tls_status_add(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_table_elt_t  *header;

    header = ngx_list_push(&r->headers_out.headers);
    if (header == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(header, sizeof(ngx_table_elt_t));

    header->hash = 1;
    header->key.data = (u_char *) name;
    header->key.len = ngx_strlen(name);
    header->value.data = (u_char *) value;
    header->value.len = ngx_strlen(value);

    return NGX_OK;
}
