/*
 * One HTTP exchange over the event loop: look the name up, judge each address
 * before connecting to it, send the core's request, feed it what comes back.
 */

#include "ngx_strict_tls.h"


#define NGX_STRICT_TLS_READ_SIZE  16384
#define NGX_STRICT_TLS_READS      32      /* in one turn */


static void ngx_strict_tls_resolve(ngx_strict_tls_fetch_t *fetch);
static ngx_uint_t ngx_strict_tls_has_descriptor(void);
static void ngx_strict_tls_resolved(ngx_resolver_ctx_t *ctx);
static ngx_int_t ngx_strict_tls_literal(
    ngx_strict_tls_fetch_t *fetch, const char **denied);
static void ngx_strict_tls_add_addr(ngx_strict_tls_fetch_t *fetch,
    struct sockaddr *sockaddr, socklen_t socklen, const char **denied);
static void ngx_strict_tls_connect(ngx_strict_tls_fetch_t *fetch,
    const char *denied);
static ngx_int_t ngx_strict_tls_connect_next(
    ngx_strict_tls_fetch_t *fetch);
static ngx_int_t ngx_strict_tls_test_connect(
    ngx_strict_tls_fetch_t *fetch);
static void ngx_strict_tls_write_handler(ngx_event_t *wev);
static void ngx_strict_tls_read_handler(ngx_event_t *rev);
static void ngx_strict_tls_dummy_handler(ngx_event_t *ev);
static void ngx_strict_tls_close(ngx_strict_tls_fetch_t *fetch);
static void ngx_strict_tls_network_error(
    ngx_strict_tls_fetch_t *fetch, ngx_err_t err);


void
ngx_strict_tls_exchange(ngx_strict_tls_fetch_t *fetch)
{
    ngx_int_t    rc;
    ngx_uint_t   i;
    ngx_addr_t  *addr;
    const char  *denied;

    ngx_strict_tls_status_count(fetch->worker->conf, STLS_FIGURE_FETCHES);

    denied = NULL;
    fetch->naddrs = 0;
    fetch->naddr = 0;

    rc = ngx_strict_tls_literal(fetch, &denied);

    if (fetch->http_proxy == NULL) {

        if (rc == NGX_OK) {
            ngx_strict_tls_connect(fetch, denied);
            return;
        }

        ngx_strict_tls_resolve(fetch);
        return;
    }

    /*
     * Of a name only the proxy knows where it leads; an address is judged all
     * the same.  The proxy itself is the administrator's choice.
     */

    if (denied) {
        ngx_strict_tls_connect(fetch, denied);
        return;
    }

    fetch->naddrs = 0;
    addr = fetch->http_proxy->elts;

    for (i = 0; i < fetch->http_proxy->nelts; i++) {
        ngx_strict_tls_add_addr(fetch, addr[i].sockaddr, addr[i].socklen,
                                NULL);
    }

    ngx_strict_tls_connect(fetch, NULL);
}


/* Adds the address where the URL's host is one. */

static ngx_int_t
ngx_strict_tls_literal(ngx_strict_tls_fetch_t *fetch,
    const char **denied)
{
    u_char             *host;
    size_t              len;
    in_addr_t           addr;
    struct sockaddr_in  sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6   sin6;
#endif

    host = (u_char *) fetch->target.host;
    len = ngx_strlen(host);

    addr = ngx_inet_addr(host, len);

    if (addr != INADDR_NONE) {
        ngx_memzero(&sin, sizeof(struct sockaddr_in));
        sin.sin_family = AF_INET;
        sin.sin_addr.s_addr = addr;

        ngx_strict_tls_add_addr(fetch, (struct sockaddr *) &sin,
                                sizeof(struct sockaddr_in), denied);

        return NGX_OK;
    }

#if (NGX_HAVE_INET6)

    ngx_memzero(&sin6, sizeof(struct sockaddr_in6));

    if (ngx_inet6_addr(host, len, sin6.sin6_addr.s6_addr) == NGX_OK) {
        sin6.sin6_family = AF_INET6;

        ngx_strict_tls_add_addr(fetch, (struct sockaddr *) &sin6,
                                sizeof(struct sockaddr_in6), denied);

        return NGX_OK;
    }

#endif

    return NGX_DECLINED;
}


static void
ngx_strict_tls_resolve(ngx_strict_tls_fetch_t *fetch)
{
    ngx_resolver_ctx_t  *ctx;

    fetch->state = ngx_strict_tls_resolving;

    if (fetch->resolver == NULL) {
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_LOCAL,
                                  "there is no resolver to look up \"%s\"",
                                  fetch->target.host);
        return;
    }

    /* nginx's resolver takes its own lack of them for a silent nameserver */

    if (!ngx_strict_tls_has_descriptor()) {
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_LOCAL,
                                  "this process has no descriptors or "
                                  "connections left");
        return;
    }

    ctx = ngx_resolve_start(fetch->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_LOCAL,
                                  "\"%s\" cannot be looked up",
                                  fetch->target.host);
        return;
    }

    /* no time limit here: the fetch has its own */

    ctx->name.data = (u_char *) fetch->target.host;
    ctx->name.len = ngx_strlen(fetch->target.host);
    ctx->handler = ngx_strict_tls_resolved;
    ctx->data = fetch;
    ctx->cancelable = 1;

    fetch->resolving = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        /* freed by the resolver */
        fetch->resolving = NULL;

        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_LOCAL,
                                  "\"%s\" cannot be looked up",
                                  fetch->target.host);
    }
}


static ngx_uint_t
ngx_strict_tls_has_descriptor(void)
{
    ngx_socket_t  s;

    if (ngx_cycle->free_connection_n == 0
        && ngx_cycle->reusable_connections_n == 0)
    {
        return 0;
    }

    s = ngx_socket(AF_INET, SOCK_DGRAM, 0);

    if (s == (ngx_socket_t) -1) {
        return 0;
    }

    (void) ngx_close_socket(s);

    return 1;
}


static void
ngx_strict_tls_resolved(ngx_resolver_ctx_t *ctx)
{
    ngx_int_t                state;
    ngx_uint_t               i;
    const char              *denied;
    ngx_strict_tls_fetch_t  *fetch;

    fetch = ctx->data;
    state = ctx->state;
    denied = NULL;

    if (state == NGX_OK) {
        for (i = 0; i < ctx->naddrs; i++) {
            ngx_strict_tls_add_addr(fetch, ctx->addrs[i].sockaddr,
                                    ctx->addrs[i].socklen, &denied);
        }
    }

    fetch->resolving = NULL;
    ngx_resolve_name_done(ctx);

    if (state != NGX_OK) {
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_NETWORK,
                                  "\"%s\" could not be resolved (%i: %s)",
                                  fetch->target.host, state,
                                  ngx_resolver_strerror(state));
        return;
    }

    ngx_strict_tls_connect(fetch, denied);
}


/* Keeps an address that may be connected to; `denied` NULL: any may. */

static void
ngx_strict_tls_add_addr(ngx_strict_tls_fetch_t *fetch,
    struct sockaddr *sockaddr, socklen_t socklen, const char **denied)
{
    const char          *why;
    struct sockaddr_in  *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    if (fetch->naddrs == NGX_STRICT_TLS_MAX_ADDRS
        || socklen > sizeof(ngx_sockaddr_t))
    {
        return;
    }

    if (denied) {

        switch (sockaddr->sa_family) {

        case AF_INET:
            sin = (struct sockaddr_in *) sockaddr;
            why = stls_policy_denies_address(fetch->policy,
                                             (u_char *) &sin->sin_addr, 4);
            break;

#if (NGX_HAVE_INET6)
        case AF_INET6:
            sin6 = (struct sockaddr_in6 *) sockaddr;
            why = stls_policy_denies_address(fetch->policy,
                                             sin6->sin6_addr.s6_addr, 16);
            break;
#endif

        default:
            why = "unknown address family";
        }

        if (why) {
            *denied = why;
            return;
        }
    }

    ngx_memcpy(&fetch->addrs[fetch->naddrs], sockaddr, socklen);
    fetch->socklens[fetch->naddrs] = socklen;

    if (denied) {
        ngx_inet_set_port(&fetch->addrs[fetch->naddrs].sockaddr,
                          fetch->target.port_num);
    }

    fetch->naddrs++;
}


static void
ngx_strict_tls_connect(ngx_strict_tls_fetch_t *fetch,
    const char *denied)
{
    if (fetch->naddrs == 0) {

        if (denied) {
            ngx_strict_tls_fetch_over(fetch, STLS_FETCH_DENIED,
                                      "\"%s\" is a %s address "
                                      "(fetch_deny)",
                                      fetch->target.host, denied);

        } else {
            ngx_strict_tls_fetch_over(fetch, STLS_FETCH_NETWORK,
                                      "\"%s\" has no address",
                                      fetch->target.host);
        }

        return;
    }

    ngx_strict_tls_network_error(fetch, 0);
}


/* While nothing was sent the next address gets its chance. */

static void
ngx_strict_tls_network_error(ngx_strict_tls_fetch_t *fetch,
    ngx_err_t err)
{
    u_char  *last, text[NGX_STRICT_TLS_DETAIL_LEN];

    while (fetch->state <= ngx_strict_tls_connecting
           && fetch->naddr < fetch->naddrs)
    {
        ngx_strict_tls_close(fetch);

        if (ngx_strict_tls_connect_next(fetch) == NGX_OK) {
            return;
        }

        err = ngx_socket_errno;
    }

    if (fetch->lacks_descriptor) {
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_LOCAL,
                                  "this process has no descriptors, "
                                  "connections or ports left");
        return;
    }

    last = ngx_strerror(err, text, sizeof(text) - 1);
    *last = '\0';

    ngx_strict_tls_fetch_over(fetch, STLS_FETCH_NETWORK, "%V: %s (%d)",
                              &fetch->addr, text, err);
}


static ngx_int_t
ngx_strict_tls_connect_next(ngx_strict_tls_fetch_t *fetch)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_connection_t       *c;
    ngx_peer_connection_t  *pc;

    fetch->state = ngx_strict_tls_connecting;
    fetch->lacks_descriptor = 0;

    i = fetch->naddr++;
    pc = &fetch->peer;

    fetch->addr.data = fetch->addr_text;
    fetch->addr.len = ngx_sock_ntop(&fetch->addrs[i].sockaddr,
                                    fetch->socklens[i], fetch->addr_text,
                                    NGX_SOCKADDR_STRLEN, 1);

    ngx_memzero(pc, sizeof(ngx_peer_connection_t));

    pc->sockaddr = &fetch->addrs[i].sockaddr;
    pc->socklen = fetch->socklens[i];
    pc->name = &fetch->addr;
    pc->get = ngx_event_get_peer;
    pc->log = &fetch->log;
    pc->log_error = NGX_ERROR_INFO;

    rc = ngx_event_connect_peer(pc);

    if (rc != NGX_OK && rc != NGX_AGAIN) {

        /* NGX_DECLINED: connecting failed; all else is trouble of our own */

        if (rc != NGX_DECLINED || ngx_socket_errno == EADDRNOTAVAIL) {
            fetch->lacks_descriptor = 1;
        }

        return NGX_ERROR;
    }

    c = pc->connection;

    c->data = fetch;
    c->read->handler = ngx_strict_tls_read_handler;
    c->write->handler = ngx_strict_tls_write_handler;

    if (rc == NGX_OK) {
        /* from the event loop, so that nobody is surprised by a quick end */
        ngx_post_event(c->write, &ngx_posted_events);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_strict_tls_test_connect(ngx_strict_tls_fetch_t *fetch)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(fetch->peer.connection->fd, SOL_SOCKET, SO_ERROR,
                   (void *) &err, &len)
        == -1)
    {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_strict_tls_network_error(fetch, err);
        return NGX_ERROR;
    }

    fetch->state = ngx_strict_tls_sending;

    return NGX_OK;
}


static void
ngx_strict_tls_write_handler(ngx_event_t *wev)
{
    size_t                   len;
    ssize_t                  n;
    ngx_connection_t        *c;
    const unsigned char     *request;
    ngx_strict_tls_fetch_t  *fetch;

    c = wev->data;
    fetch = c->data;

    if (fetch->state == ngx_strict_tls_connecting
        && ngx_strict_tls_test_connect(fetch) != NGX_OK)
    {
        return;
    }

    request = stls_http_get0_request(fetch->http, &len);

    while (fetch->sent < len) {

        n = c->send(c, (u_char *) request + fetch->sent, len - fetch->sent);

        if (n == NGX_ERROR) {
            ngx_strict_tls_network_error(fetch, ngx_socket_errno);
            return;
        }

        if (n == NGX_AGAIN) {

            if (ngx_handle_write_event(wev, 0) != NGX_OK) {
                ngx_strict_tls_network_error(fetch, ngx_socket_errno);
            }

            return;
        }

        fetch->sent += n;
    }

    fetch->state = ngx_strict_tls_reading;
    wev->handler = ngx_strict_tls_dummy_handler;

    if (ngx_handle_write_event(wev, 0) != NGX_OK
        || ngx_handle_read_event(c->read, 0) != NGX_OK)
    {
        ngx_strict_tls_network_error(fetch, ngx_socket_errno);
        return;
    }

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


static void
ngx_strict_tls_read_handler(ngx_event_t *rev)
{
    u_char                   buf[NGX_STRICT_TLS_READ_SIZE];
    u_char                  *crl;
    size_t                   len;
    ssize_t                  n;
    ngx_uint_t               i;
    stls_http_state          state;
    ngx_connection_t        *c;
    ngx_strict_tls_fetch_t  *fetch;

    c = rev->data;
    fetch = c->data;

    if (fetch->state == ngx_strict_tls_connecting) {
        /* the write event tells how connecting went and comes back to this */
        return;
    }

    i = 0;

    do {
        /* other events have their turn while tens of megabytes arrive */

        if (++i > NGX_STRICT_TLS_READS) {
            ngx_post_event(rev, &ngx_posted_next_events);
            return;
        }

        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(rev, 0) != NGX_OK) {
                ngx_strict_tls_network_error(fetch, ngx_socket_errno);
            }

            return;
        }

        if (n == NGX_ERROR) {
            ngx_strict_tls_network_error(fetch, ngx_socket_errno);
            return;
        }

        fetch->received += n;

        if (fetch->is_crl && fetch->lease
            && fetch->worker->conf->crl_path == NULL
            && !ngx_strict_tls_cache_takes(fetch->worker->conf->zone,
                                           fetch->received))
        {
            /* others had better download it as well, without waiting */

            ngx_strict_tls_cache_unshared(fetch->worker->conf->zone,
                                          fetch->question);
            ngx_strict_tls_fetch_release(fetch);
        }

        state = n ? stls_http_feed(fetch->http, buf, n)
                  : stls_http_eof(fetch->http);

    } while (state == STLS_HTTP_MORE);

    switch (state) {

    case STLS_HTTP_DONE:

        if (fetch->is_crl) {
            crl = stls_http_take_crl(fetch->http, &len);
            ngx_strict_tls_exchange_close(fetch);
            ngx_strict_tls_crl_index(fetch, crl, len);
            break;
        }

        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_OK, "");
        break;

    case STLS_HTTP_TOO_LARGE:
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_TOO_LARGE, "%s",
                                  stls_http_get0_error(fetch->http));
        break;

    case STLS_HTTP_LOCAL:
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_LOCAL, "%s",
                                  stls_http_get0_error(fetch->http));
        break;

    default:
        ngx_strict_tls_fetch_over(fetch, STLS_FETCH_HTTP, "%s",
                                  stls_http_get0_error(fetch->http));
    }
}


static void
ngx_strict_tls_dummy_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0,
                   "strict tls fetch dummy handler");
}


static void
ngx_strict_tls_close(ngx_strict_tls_fetch_t *fetch)
{
    if (fetch->peer.connection) {
        ngx_close_connection(fetch->peer.connection);
        fetch->peer.connection = NULL;
    }
}


void
ngx_strict_tls_exchange_close(ngx_strict_tls_fetch_t *fetch)
{
    if (fetch->resolving) {
        ngx_resolve_name_done(fetch->resolving);
        fetch->resolving = NULL;
    }

    ngx_strict_tls_close(fetch);
}


const char *
ngx_strict_tls_exchange_step(ngx_strict_tls_fetch_t *fetch)
{
    switch (fetch->state) {

    case ngx_strict_tls_polling:
        return "waiting for another worker";

    case ngx_strict_tls_queued:
        return "waiting for a place";

    case ngx_strict_tls_resolving:
        return "resolving";

    case ngx_strict_tls_connecting:
        return "connecting";

    case ngx_strict_tls_sending:
        return "sending";

    case ngx_strict_tls_indexing:
        return "indexing";

    default:
        return "reading";
    }
}
