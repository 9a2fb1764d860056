/*
 * The gate that a client's requests, or its session, go through before nginx
 * does anything for them.  Each passes it under the policy of its own server,
 * so that it does not matter how the connection came about, or with which
 * server: what counts is whether an accepting verdict about the certificates of
 * this connection is alive.
 */

#include "ngx_strict_tls.h"


static STACK_OF(X509) *ngx_strict_tls_client_certs(SSL *ssl, X509 *leaf);
static ngx_uint_t ngx_strict_tls_client_is_of(ngx_strict_tls_conn_t *conn,
    X509 *leaf);
static ngx_strict_tls_conn_t *ngx_strict_tls_client_find(ngx_connection_t *c,
    ngx_strict_tls_scope_t *scope);
static const char *ngx_strict_tls_client_why(ngx_strict_tls_conn_t *conn,
    ngx_uint_t admitted);
static ngx_uint_t ngx_strict_tls_client_stands(ngx_strict_tls_conn_t *conn);
static void ngx_strict_tls_client_resume(ngx_strict_tls_job_t *job);
static stls_verdict ngx_strict_tls_client_conclude(
    ngx_strict_tls_conn_t *conn);


/*
 * What is known of this connection's client under this scope.  NULL: out of
 * memory, which is logged.  Only for connections that have a certificate of the client.
 */

ngx_strict_tls_conn_t *
ngx_strict_tls_client_conn(ngx_connection_t *c, ngx_strict_tls_scope_t *scope)
{
    SSL                    *ssl;
    X509                   *leaf;
    STACK_OF(X509)         *certs;
    ngx_strict_tls_conn_t  *conn;

    ssl = c->ssl->connection;
    leaf = SSL_get0_peer_certificate(ssl);

    for (conn = ngx_strict_tls_ssl_conn(ssl); conn; conn = conn->next) {

        if (conn->scope->policy == scope->policy
            && conn->scope->anchors == scope->anchors
            && (conn->certs == NULL
                || ngx_strict_tls_client_is_of(conn, leaf)))
        {
            return conn;
        }
    }

    certs = ngx_strict_tls_client_certs(ssl, leaf);

    /* `c` may be a stream of HTTP/2, which ends before its connection does */

    conn = ngx_strict_tls_create_client(ngx_ssl_get_connection(ssl), scope,
                                        certs);

    sk_X509_pop_free(certs, X509_free);

    if (conn == NULL) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "strict-tls: %s peer=- reason=%s",
                      scope->report ? "would_reject" : "reject",
                      stls_reason_id(STLS_REASON_INTERNAL_MEMORY));
    }

    return conn;
}


/* NULL where nobody knows them any more: a resumed session has but the leaf. */

static STACK_OF(X509) *
ngx_strict_tls_client_certs(SSL *ssl, X509 *leaf)
{
    STACK_OF(X509)         *certs, *others;
    ngx_strict_tls_conn_t  *conn;

    for (conn = ngx_strict_tls_ssl_conn(ssl); conn; conn = conn->next) {

        if (ngx_strict_tls_client_is_of(conn, leaf)) {
            return X509_chain_up_ref(conn->certs);
        }
    }

    if (SSL_session_reused(ssl)) {
        return NULL;
    }

    others = SSL_get_peer_cert_chain(ssl);

    certs = others ? X509_chain_up_ref(others) : sk_X509_new_null();
    if (certs == NULL) {
        return NULL;
    }

    if (sk_X509_unshift(certs, leaf) == 0) {
        sk_X509_pop_free(certs, X509_free);
        return NULL;
    }

    X509_up_ref(leaf);

    return certs;
}


static ngx_uint_t
ngx_strict_tls_client_is_of(ngx_strict_tls_conn_t *conn, X509 *leaf)
{
    return conn->certs
           && leaf
           && X509_cmp(sk_X509_value(conn->certs, 0), leaf) == 0;
}


/*
 * Only STLS_ACCEPT lets anything through, and STLS_PENDING is to wait.  While
 * a verdict lives this is an atomic read and two comparisons.  Whoever has
 * waited takes what came of it: a verdict that nobody remembers would else be
 * asked for again and again.  `waiter` may be NULL.
 */

stls_verdict
ngx_strict_tls_client_judge(ngx_strict_tls_conn_t *conn,
    ngx_strict_tls_waiter_t *waiter)
{
    ngx_uint_t  told;

    told = 0;

    if (waiter) {
        told = waiter->told;
        waiter->told = 0;
    }

    if (conn->job) {
        return STLS_PENDING;
    }

    if (conn->phase >= ngx_strict_tls_accepted
        && (told || ngx_strict_tls_client_stands(conn)))
    {
        return ngx_strict_tls_accepts(conn) ? STLS_ACCEPT : STLS_REJECT;
    }

    if (conn->certs == NULL) {
        ngx_strict_tls_fail(conn, STLS_REASON_SESSION_UNVERIFIED,
                            "the session was not made with this server");

        return ngx_strict_tls_client_conclude(conn);
    }

    if (conn->phase != ngx_strict_tls_handshake || !conn->trust_judged) {

        stls_check_free(conn->check);
        conn->check = NULL;

        stls_result_free(conn->result);
        conn->result = NULL;

        conn->rejudged = 0;
        conn->has_key = 0;
        conn->crl_file_generation =
                              ngx_strict_tls_crl_file_generation(conn->scope);

        if (ngx_strict_tls_judge_trust(conn, conn->certs) == STLS_REJECT) {
            return ngx_strict_tls_client_conclude(conn);
        }
    }

    conn->phase = ngx_strict_tls_judging;

    if (ngx_strict_tls_judge(conn) == STLS_PENDING) {
        conn->job->handler = ngx_strict_tls_client_resume;
        conn->job->background = 0;
        conn->job->timer.cancelable = 0;
        return STLS_PENDING;
    }

    return ngx_strict_tls_client_conclude(conn);
}


/* A reject, in report mode as well, stands for its time whatever is learned. */

static ngx_uint_t
ngx_strict_tls_client_stands(ngx_strict_tls_conn_t *conn)
{
    if (conn->result == NULL) {
        return 0;
    }

    if (stls_result_reason(conn->result) != STLS_REASON_NONE) {
        return stls_result_is_live(conn->result, ngx_time());
    }

    return ngx_strict_tls_reusable(conn) == NGX_OK;
}


static void
ngx_strict_tls_client_resume(ngx_strict_tls_job_t *job)
{
    ngx_queue_t              *q;
    ngx_strict_tls_conn_t    *conn;
    ngx_strict_tls_waiter_t  *waiter;

    conn = job->data;

    ngx_strict_tls_take_job_result(conn);
    ERR_clear_error();

    if (ngx_strict_tls_outdated(conn)
        && ngx_strict_tls_judge(conn) == STLS_PENDING)
    {
        conn->job->handler = ngx_strict_tls_client_resume;
        conn->job->background = 0;
        conn->job->timer.cancelable = 0;
        return;
    }

    (void) ngx_strict_tls_client_conclude(conn);

    while (!ngx_queue_empty(&conn->waiters)) {
        q = ngx_queue_head(&conn->waiters);
        waiter = ngx_queue_data(q, ngx_strict_tls_waiter_t, queue);

        ngx_strict_tls_client_leave(waiter);

        waiter->told = 1;
        waiter->handler(waiter);
    }
}


/* The one place where a client is let in. */

static stls_verdict
ngx_strict_tls_client_conclude(ngx_strict_tls_conn_t *conn)
{
    ngx_strict_tls_stock_refuse(conn);
    ngx_strict_tls_record(conn);

    if (!ngx_strict_tls_accepts(conn)) {
        conn->phase = ngx_strict_tls_rejected;

        /* nobody resumes what has just been refused */

        ngx_ssl_remove_cached_session(conn->ssl_ctx,
                       SSL_get0_session(conn->connection->ssl->connection));

        return STLS_REJECT;
    }

    conn->phase = ngx_strict_tls_accepted;

    if (conn->result) {
        ngx_strict_tls_session_keep_client(conn);
    }

    return STLS_ACCEPT;
}


void
ngx_strict_tls_client_wait(ngx_strict_tls_conn_t *conn,
    ngx_strict_tls_waiter_t *waiter)
{
    ngx_strict_tls_client_leave(waiter);

    waiter->waiting = 1;

    ngx_queue_insert_tail(&conn->waiters, &waiter->queue);
}


/* Waits no longer, if it did. */

void
ngx_strict_tls_client_leave(ngx_strict_tls_waiter_t *waiter)
{
    if (waiter->waiting) {
        waiter->waiting = 0;

        ngx_queue_remove(&waiter->queue);
    }
}


/* What was decided last, borrowed; NULL: nothing was. */

stls_result *
ngx_strict_tls_client_result(ngx_connection_t *c,
    ngx_strict_tls_scope_t *scope)
{
    ngx_strict_tls_conn_t  *conn;

    conn = ngx_strict_tls_client_find(c, scope);

    return conn ? conn->result : NULL;
}


static ngx_strict_tls_conn_t *
ngx_strict_tls_client_find(ngx_connection_t *c, ngx_strict_tls_scope_t *scope)
{
    X509                   *leaf;
    ngx_strict_tls_conn_t  *conn;

    if (c->ssl == NULL || scope->policy == NULL) {
        return NULL;
    }

    leaf = SSL_get0_peer_certificate(c->ssl->connection);

    for (conn = ngx_strict_tls_ssl_conn(c->ssl->connection);
         conn;
         conn = conn->next)
    {
        if (conn->scope->policy == scope->policy
            && conn->scope->anchors == scope->anchors
            && ngx_strict_tls_client_is_of(conn, leaf))
        {
            return conn;
        }
    }

    return NULL;
}


/*
 * For nginx's own "$ssl_client_verify", which knows nothing of what comes after
 * the handshake: `value` is what it says.  A client is a success only while an
 * accepting verdict about it stands; one that has been `admitted` is so until a
 * revocation becomes known, for what was let in is not interrupted.
 */

ngx_int_t
ngx_strict_tls_client_verify_value(ngx_connection_t *c,
    ngx_strict_tls_scope_t *scope, ngx_uint_t admitted,
    ngx_variable_value_t *value, ngx_pool_t *pool)
{
    size_t                  len;
    const char             *why;
    ngx_strict_tls_conn_t  *conn;

    value->no_cacheable = 1;

    if (scope->policy == NULL
        || scope->report
        || c->ssl == NULL
        || value->not_found
        || SSL_get0_peer_certificate(c->ssl->connection) == NULL)
    {
        return NGX_OK;
    }

    conn = ngx_strict_tls_client_find(c, scope);
    why = ngx_strict_tls_client_why(conn, admitted);

    /* what nginx has refused by itself it gives the reason for */

    if (why == NULL
        || ((conn == NULL || conn->result == NULL)
            && (value->len != sizeof("SUCCESS") - 1
                || ngx_strncmp(value->data, "SUCCESS", value->len) != 0)))
    {
        return NGX_OK;
    }

    len = ngx_strlen(why);

    value->data = ngx_pnalloc(pool, sizeof("FAILED:") - 1 + len);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = ngx_sprintf(value->data, "FAILED:%*s", len, why)
                 - value->data;

    return NGX_OK;
}


/* NULL: an accepting verdict stands. */

static const char *
ngx_strict_tls_client_why(ngx_strict_tls_conn_t *conn, ngx_uint_t admitted)
{
    const stls_reason_info  *info;

    if (conn == NULL
        || conn->result == NULL
        || conn->phase < ngx_strict_tls_accepted)
    {
        return "not judged yet";
    }

    if (stls_result_reason(conn->result) != STLS_REASON_NONE
        || conn->phase != ngx_strict_tls_accepted)
    {
        info = stls_reason_get0(stls_result_reason(conn->result));

        if (info == NULL
            || info->x509_err == X509_V_OK
            || info->x509_err == X509_V_ERR_UNSPECIFIED
            || info->x509_err == X509_V_ERR_APPLICATION_VERIFICATION)
        {
            return info ? info->text : "refused";
        }

        return X509_verify_cert_error_string(info->x509_err);
    }

    if (admitted) {
        return ngx_strict_tls_cache_revoked_since(conn->main_conf->zone,
                                                  conn->epoch, conn->result)
               ? "certificate revoked" : NULL;
    }

    return ngx_strict_tls_reusable(conn) == NGX_OK ? NULL
                                                   : "the verdict has ended";
}
