/*
 * Hooks: when a connection to a backend is judged, let go on, rejected or
 * closed.
 *
 * mod_proxy makes a connection, mod_ssl its TLS.  The policy arrives with
 * bind_outgoing; trust is judged in OpenSSL's verify callback, so that a peer
 * is refused with the right alert; revocation when the handshake is over and
 * nothing has been sent.  Around mod_proxy's scheme handlers the request is
 * known to this thread: its name is judged, and it is told the verdict.
 */
#include "mod_strict_tls.h"

#include <apr_optional_hooks.h>
#include <http_ssl.h>
#include <mod_proxy.h>
#include <mod_ssl_openssl.h>

#define FILTER "STRICT_TLS_IN"

/* Resolved where mod_proxy was loaded before; where not, that is told with its name. */
#pragma weak proxy_hook_scheme_handler
#pragma weak proxy_run_scheme_handler

static _Thread_local mst_request *current;
static _Atomic(apr_uint64_t) attempts;

static mst_request *request_of(request_rec *r)
{
    return ap_get_module_config(r->request_config, &strict_tls_module);
}

static mst_conn *conn_of(const conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &strict_tls_module);
}

/* ---- requests --------------------------------------------------------------------------- */

static apr_status_t forget_request(void *data)
{
    mst_request *rq = data;

    if (current == rq) {
        current = NULL;
    }
    stls_result_free(rq->told);
    return APR_SUCCESS;
}

mst_request *mst_get_request(request_rec *r)
{
    return request_of(r);
}

static mst_request *make_request(request_rec *r)
{
    mst_request *rq = request_of(r);

    if (rq == NULL) {
        rq = apr_pcalloc(r->pool, sizeof(*rq));
        rq->r = r;
        ap_set_module_config(r->request_config, &strict_tls_module, rq);
        apr_pool_cleanup_register(r->pool, rq, forget_request, apr_pool_cleanup_null);
    }
    return rq;
}

/* Lets the other handlers have the request, and the rest of the module know of it. */
static int run_handlers(mst_request *rq, proxy_worker *worker, proxy_server_conf *conf, char *url,
                        const char *proxyhost, apr_port_t proxyport)
{
    int rc;

    rq->attempt = atomic_fetch_add_explicit(&attempts, 1, memory_order_relaxed) + 1;
    rq->rejected = 0;
    rq->running = 1;
    rq->outer = current;
    current = rq;
    rc = proxy_run_scheme_handler(rq->r, worker, conf, url, proxyhost, proxyport);
    current = rq->outer;
    rq->running = 0;
    return rc;
}

/*
 * A rejected member of a balancer is reported like one that could not be connected to, so that
 * another one is tried.
 */
static int rejection(request_rec *r, int is_remote)
{
    apr_table_setn(r->notes, "error-notes", "The backend's certificate was rejected");
    return !is_remote && apr_table_get(r->subprocess_env, "BALANCER_NAME")
        ? HTTP_SERVICE_UNAVAILABLE : HTTP_BAD_GATEWAY;
}

/* The backend's name, whatever Host the client sent (ProxyPreserveHost); NULL: none. */
static const char *name_of(apr_pool_t *p, const char *url)
{
    const char *host = strstr(url, "://"), *end, *port;
    apr_uri_t uri;

    if (host != NULL) {
        host += 3;
        for (end = host; apr_isalnum(*end) || *end == '.' || *end == '-'; end++) {
        }
        for (port = end + (*end == ':'); apr_isdigit(*port); port++) {
        }
        if (end > host && (*port == '/' || *port == '\0')) {
            return apr_pstrmemdup(p, host, (apr_size_t) (end - host));
        }
    }
    return apr_uri_parse(p, url, &uri) == APR_SUCCESS && uri.hostname && *uri.hostname
        ? uri.hostname : NULL;
}

/* Its balancer, or what httpd took the request for: the socket of a backend stands there. */
static const char *passed_to(request_rec *r, const proxy_worker *worker)
{
    if (worker->balancer != NULL) {
        return apr_pstrcat(r->pool, worker->balancer->s->name, "/", NULL);
    }
    return r->filename && !strncmp(r->filename, "proxy:", 6) ? r->filename + 6 : NULL;
}

static mst_runtime *runtime_of(request_rec *r, const proxy_worker *worker, const char *url)
{
    mst_section *section = mst_get_section(r->per_dir_config);

    if (mst_has_targets(r->server)) {
        section = mst_section_for(r->server, section, url, passed_to(r, worker), r->pool);
    }
    return mst_section_runtime(section);
}

/*
 * Wraps every other handler.  mod_proxy calls once for each ProxyRemote that fits, and takes 502
 * as "go on with the next one, then without": what comes behind a rejection, and the direct way
 * behind a forward proxy that failed, are answered here without connecting anywhere.
 */
static int scheme_handler(request_rec *r, proxy_worker *worker, proxy_server_conf *conf,
                          char *url, const char *proxyhost, apr_port_t proxyport)
{
    mst_request *rq = make_request(r);
    int is_remote = proxyhost != NULL, rc;

    if (rq->running) {
        return DECLINED; /* called from below */
    }
    if (rq->remote_rejected || (rq->remote_failed && !is_remote)) {
        rc = rq->remote_rejected ? rejection(r, is_remote) : HTTP_BAD_GATEWAY;
        if (!is_remote) { /* the last call of this round */
            rq->remote_rejected = rq->remote_failed = 0;
        }
        return rc;
    }
    rq->name = name_of(r->pool, url);
    rq->rt = runtime_of(r, worker, url);
    rc = run_handlers(rq, worker, conf, url, proxyhost, proxyport);
    if (rq->rejected && rc != OK && rc != DONE && rc != SUSPENDED) {
        if (worker->balancer != NULL) {
            mst_member_note(worker->s, rq->reason);
        }
        rq->remote_rejected = is_remote;
        return rejection(r, is_remote);
    }
    rq->remote_failed = is_remote && rc == HTTP_BAD_GATEWAY && rq->rt != NULL
        && !rq->rt->report;
    return rc;
}

/*
 * mod_proxy's own failure codes are made 502 when the last thing was a rejection, or no member of a
 * balancer is left because of rejections before.
 */
static int request_status(int *status, request_rec *r)
{
    mst_request *rq = request_of(r);

    if (*status < HTTP_INTERNAL_SERVER_ERROR) {
        return OK;
    }
    if (rq != NULL ? rq->rejected : *status == HTTP_SERVICE_UNAVAILABLE && mst_member_explain(r)) {
        *status = HTTP_BAD_GATEWAY;
    }
    return OK;
}

/* The thread's request was refused its connection. */
static void reject_request(const stls_result *result)
{
    if (current != NULL) {
        current->rejected = 1;
        current->reason = result ? stls_result_reason(result) : STLS_REASON_INTERNAL_MEMORY;
    }
}

/* ---- pooled connections -------------------------------------------------------------------- */

/* Whether this request, or what calls without one, may ride this connection. */
static int may_ride(mst_conn *conn, mst_runtime *rt, const char *name)
{
    return rt == NULL || mst_judge_reusable(conn, rt, name);
}

/* Nothing looks at what a request and its answer are made of. */
static void unwatch(mst_conn *conn)
{
    if (conn->is_watched) {
        conn->is_watched = 0;
        ap_remove_input_filter(conn->filter);
    }
}

/* The filter stays the same one: with a new one the connection would grow with each request. */
static void watch(mst_conn *conn)
{
    if (conn->filter != NULL && !conn->is_watched) {
        conn->is_watched = 1;
        conn->filter->next = conn->c->input_filters;
        conn->c->input_filters = conn->filter;
    }
}

/*
 * mod_proxy looks into a pooled connection before it uses it: one whose verdict
 * does not fit the request that looks is found dead, and a fresh one is made.
 */
static apr_status_t look(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode,
                         apr_read_type_e block, apr_off_t len)
{
    mst_conn *conn = f->ctx;
    ap_filter_t *next = f->next;

    if (mode == AP_MODE_SPECULATIVE && block == APR_NONBLOCK_READ && current != NULL
        && conn->user != current->attempt) {
        if (!may_ride(conn, current->rt, current->name)) {
            mst_count(MST_POOLED_CLOSED);
            ap_log_cerror(APLOG_MARK, APLOG_DEBUG, 0, f->c, STLSLOGNO(4)
                          "strict-tls: pooled connection closed: its verdict does not fit");
            f->c->aborted = 1;
            return APR_ECONNABORTED;
        }
        conn->user = current->attempt;
        unwatch(conn);
    }
    return ap_get_brigade(next, bb, mode, block, len);
}

static apr_status_t forget_conn(void *data)
{
    mst_conn_clear(data);
    return APR_SUCCESS;
}

/* The sections' merged configuration must not be kept: what it says is. */
static int bind_outgoing(conn_rec *c, ap_conf_vector_t *dir_conf, int enable_ssl)
{
    mst_conn *conn = conn_of(c);
    mst_runtime *rt;

    if (!enable_ssl) {
        return DECLINED;
    }
    /* a request's sections count, whatever is called with */
    rt = current ? current->rt
        : mst_section_runtime(mst_get_section(dir_conf ? dir_conf
                                                       : c->base_server->lookup_defaults));
    if (conn == NULL) {
        conn = apr_pcalloc(c->pool, sizeof(*conn));
        conn->c = c;
        conn->rt = rt;
        ap_set_module_config(c->conn_config, &strict_tls_module, conn);
        apr_pool_cleanup_register(c->pool, conn, forget_conn, apr_pool_cleanup_null);
        conn->user = current ? current->attempt : 0;
        return DECLINED;
    }
    if (conn->state == MST_NEW) { /* handshake to come */
        if (conn->rt == NULL || rt != NULL) {
            conn->rt = rt;
        }
        conn->user = current ? current->attempt : 0;
        return DECLINED;
    }
    if (current == NULL || dir_conf != current->r->per_dir_config) { /* back into the pool */
        conn->user = 0;
        watch(conn);
        return DECLINED;
    }
    if (conn->user != current->attempt && !may_ride(conn, rt, current->name)) {
        /* nobody looked before: this request fails, the next one gets a fresh connection */
        ap_log_cerror(APLOG_MARK, APLOG_ERR, 0, c, STLSLOGNO(5)
                      "strict-tls: pooled connection refused: its verdict does not fit");
        mst_count(MST_POOLED_CLOSED);
        c->aborted = 1;
        c->keepalive = AP_CONN_CLOSE;
        current->rejected = 1;
        current->reason = STLS_REASON_SESSION_UNVERIFIED;
        return DECLINED;
    }
    conn->user = current->attempt;
    unwatch(conn);
    if (rt != NULL) {
        mst_set_env(current->r, STLS_ROLE_SERVER, conn->result);
    }
    return DECLINED;
}

/* ---- handshakes -------------------------------------------------------------------------------- */

static void record(mst_conn *conn)
{
    mst_record(conn, conn->result, current ? current->r : NULL);
    if (conn->member != NULL) {
        mst_member_note(conn->member, conn->state == MST_ACCEPTED_PEER ? STLS_REASON_NONE
                        : conn->result ? stls_result_reason(conn->result)
                                       : STLS_REASON_INTERNAL_MEMORY);
    }
}

/* As OpenSSL does it without a callback. */
static int stock_verify(X509_STORE_CTX *store)
{
    return X509_verify_cert(store) > 0;
}

static int verify(X509_STORE_CTX *store, void *data)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    conn_rec *c = ssl ? SSL_get_app_data(ssl) : NULL;
    mst_conn *conn = c && c->outgoing ? conn_of(c) : NULL;
    int err = X509_V_ERR_APPLICATION_VERIFICATION;
    const stls_reason_info *info;
    stls_verdict verdict;

    (void) data;
    if (conn == NULL || conn->rt == NULL) {
        return stock_verify(store);
    }
    if (conn->state != MST_NEW || conn->trust_judged) { /* no second handshake */
        X509_STORE_CTX_set_error(store, err);
        return 0;
    }
    ERR_set_mark();
    verdict = mst_judge_trust(conn, X509_STORE_CTX_get0_untrusted(store));
    ERR_pop_to_mark();

    if (conn->rt->report) {
        if (verdict != STLS_PENDING) {
            /* told when the handshake is over */
            stls_result_free(conn->result);
            conn->result = NULL;
            conn->basis.has_key = 0;
        }
        return conn->wants_stock ? stock_verify(store) : 1;
    }
    if (verdict != STLS_PENDING) {
        if (conn->result != NULL) {
            info = stls_reason_get0(stls_result_reason(conn->result));
            if (info != NULL && info->x509_err != X509_V_OK) {
                err = info->x509_err;
            }
        }
        conn->state = MST_REJECTED_PEER;
        record(conn);
        reject_request(conn->result);
        X509_STORE_CTX_set_error(store, err);
        return 0;
    }
    if (conn->wants_stock) {
        return stock_verify(store);
    }
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

static int init_server(server_rec *s, apr_pool_t *p, int is_proxy, SSL_CTX *ctx)
{
    if (!is_proxy && ctx != NULL) {
        return mst_client_init_server(s, p, ctx);
    }
    if (ctx != NULL) {
        SSL_CTX_set_cert_verify_callback(ctx, verify, NULL);
    }
    return OK;
}

/* SNI and the name judged are the same one, without the trailing dot that SNI has no room for. */
static void set_sni(conn_rec *c, SSL *ssl, const char *name)
{
    apr_size_t len = strlen(name);
    apr_ipsubnet_t *ip;

    if (apr_ipsubnet_create(&ip, name, NULL, c->pool) == APR_SUCCESS || strchr(name, ':')) {
        return;
    }
    if (len > 1 && name[len - 1] == '.') {
        name = apr_pstrmemdup(c->pool, name, len - 1);
    }
    (void) SSL_set_tlsext_host_name(ssl, (char *) name);
}

void mst_prepare(mst_conn *conn)
{
    const mst_runtime *rt = conn->rt;
    SSL *ssl = conn->ssl;

    if (!conn->wants_stock) {
        SSL_set_verify(ssl, rt && !rt->report ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    }
    if (rt == NULL) {
        return;
    }
    if (conn->name != NULL && !rt->report) {
        /* the core judges the name; mod_ssl's own comparison knows no reason */
        set_sni(conn->c, ssl, conn->name);
        apr_table_unset(conn->c->notes, "proxy-request-hostname");
    }
    (void) SSL_set_session(ssl, NULL);
    SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    SSL_set_max_cert_list(ssl, (long) rt->max_cert_list);
    SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
}

static int pre_handshake(conn_rec *c, SSL *ssl, int is_proxy)
{
    mst_conn *conn;

    if (!is_proxy) {
        return mst_client_pre_handshake(c, ssl);
    }
    conn = conn_of(c);
    if (conn == NULL) {
        /* nobody bound it: it is judged as its request says */
        (void) bind_outgoing(c, current ? current->r->per_dir_config : NULL, 1);
        conn = conn_of(c);
    }
    conn->is_prepared = 1;
    conn->ssl = ssl;
    conn->wants_stock = SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE;
    conn->filter = ap_add_input_filter(FILTER, conn, NULL, c);
    conn->is_watched = conn->filter != NULL;
    unwatch(conn); /* until it is pooled */
    conn->name = current ? current->name : apr_table_get(c->notes, "proxy-request-hostname");
    if (conn->name != NULL) {
        conn->name = apr_pstrdup(c->pool, conn->name);
    }
    else if (current == NULL) {
        mst_member_watch(conn);
        conn->rt = conn->rt ? mst_get_nameless(conn->rt) : NULL;
    }
    mst_prepare(conn);
    return OK;
}

static int post_handshake(conn_rec *c, SSL *ssl)
{
    mst_conn *conn = conn_of(c);
    stls_verdict verdict;

    if (conn == NULL) {
        return HTTP_BAD_GATEWAY;
    }
    if (conn->rt == NULL) {
        conn->state = MST_ACCEPTED_PEER; /* by nobody: strict requests find no result */
        return OK;
    }
    verdict = conn->state == MST_NEW ? mst_judge(conn, ssl) : STLS_REJECT;
    ERR_clear_error();
    if (conn->state == MST_NEW) {
        conn->state = verdict == STLS_ACCEPT || conn->rt->report ? MST_ACCEPTED_PEER
                                                                 : MST_REJECTED_PEER;
        record(conn);
    }
    if (conn->state == MST_ACCEPTED_PEER) {
        return OK;
    }
    reject_request(conn->result);
    return HTTP_BAD_GATEWAY;
}

/* Behind mod_ssl's: TLS of somebody else's making could not be judged, so it is not used. */
static int pre_connection(conn_rec *c, void *csd)
{
    mst_conn *conn = c->outgoing ? conn_of(c) : NULL;

    (void) csd;
    if (conn == NULL || conn->rt == NULL || conn->is_prepared || conn->rt->report) {
        return DECLINED;
    }
    ap_log_cerror(APLOG_MARK, APLOG_ERR, 0, c, STLSLOGNO(6)
                  "strict-tls: the backend's TLS is not mod_ssl's and cannot be judged");
    reject_request(NULL);
    return HTTP_BAD_GATEWAY;
}

/* ---- life ---------------------------------------------------------------------------------------- */

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void) plog;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    mst_refresh_post_config(pconf, s);
    if (mst_news_post_config(pconf, s) != OK || mst_verdict_post_config(pconf, s) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (mst_member_post_config(pconf, s) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (mst_own_post_config(pconf, s) != OK || mst_peers_post_config(pconf, s) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return mst_cache_post_config(pconf, ptemp, s);
}

static void child_init(apr_pool_t *p, server_rec *s)
{
    mst_thread_child_init(p);
    mst_fetch_child_init(p);
    mst_known_child_init();
    mst_judge_child_init(p);
    mst_config_child_init(p);
    mst_crl_file_child_init(p);
    mst_verdict_child_init(p);
    mst_cache_child_init(p);
    mst_peers_child_init(p);
    mst_refresh_child_init(p);
    mst_client_child_init(s);
}

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    /* which wants mod_proxy for backends only */
    if (mst_check_config(pconf, plog, ptemp, s, proxy_hook_scheme_handler != NULL) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    mst_advise(s);
    return mst_own_check_config(pconf, ptemp, s);
}

static void register_hooks(apr_pool_t *p)
{
    ap_hook_pre_config(mst_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(mst_status_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_ssl_bind_outgoing(bind_outgoing, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_pre_connection(pre_connection, NULL, NULL, APR_HOOK_REALLY_LAST);
    APR_OPTIONAL_HOOK(ssl, init_server, init_server, NULL, NULL, APR_HOOK_REALLY_LAST);
    APR_OPTIONAL_HOOK(ssl, pre_handshake, pre_handshake, NULL, NULL, APR_HOOK_REALLY_LAST);
    APR_OPTIONAL_HOOK(ssl, proxy_post_handshake, post_handshake, NULL, NULL,
                      APR_HOOK_REALLY_FIRST);
    APR_OPTIONAL_HOOK(proxy, request_status, request_status, NULL, NULL, APR_HOOK_REALLY_LAST);
    if (proxy_hook_scheme_handler != NULL) {
        proxy_hook_scheme_handler(scheme_handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
    }
    /* outside mod_ssl's filter */
    ap_register_input_filter(FILTER, look, NULL, AP_FTYPE_CONNECTION + 1);
    mst_member_register();
    mst_client_register(p);
    mst_status_register(p);
}

module AP_MODULE_DECLARE_DATA strict_tls_module = {
    STANDARD20_MODULE_STUFF,
    mst_create_dir_conf,
    mst_merge_dir_conf,
    mst_create_server_conf,
    mst_merge_server_conf,
    mst_commands,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
