/*
 * Hooks in the handshake of a connection to judge, on nginx's own SSL_CTX.
 *
 * The verify callback judges what can still be answered with a TLS alert.  It
 * is not enough: resumed sessions pass it by, and staples come after it.  So
 * the info callback puts a handler of ours where nginx waits for the end of
 * the handshake; that one judges the rest, if need be later, and only an
 * accepted peer ever gets back to nginx as handshaked.
 */

#include "ngx_strict_tls.h"


typedef void (*ngx_strict_tls_info_pt)(const SSL *ssl, int where,
    int ret);


static void ngx_strict_tls_info(const SSL *ssl, int where, int ret);
static void ngx_strict_tls_start(SSL *ssl);
static long ngx_strict_tls_read_once(BIO *bio, int oper,
    const char *argp, size_t len, int argi, long argl, int ret,
    size_t *processed);
static void ngx_strict_tls_done(SSL *ssl);
static void ngx_strict_tls_alert(SSL *ssl);
static int ngx_strict_tls_verify(X509_STORE_CTX *store, void *data);
static int ngx_strict_tls_stock(ngx_strict_tls_conn_t *conn,
    X509_STORE_CTX *store);
static ngx_uint_t ngx_strict_tls_wants_stock(
    ngx_strict_tls_conn_t *conn);
static ngx_strict_tls_scope_t *ngx_strict_tls_handshake_scope(SSL *ssl);


static int  ngx_strict_tls_info_index = -1;   /* nginx's info callback */
static int  ngx_strict_tls_host_index = -1;


ngx_int_t
ngx_strict_tls_handshake_init(ngx_log_t *log)
{
    if (ngx_strict_tls_info_index == -1) {
        ngx_strict_tls_info_index = SSL_CTX_get_ex_new_index(0, NULL, NULL,
                                                             NULL, NULL);
    }

    if (ngx_strict_tls_host_index == -1) {
        ngx_strict_tls_host_index = SSL_CTX_get_ex_new_index(0, NULL, NULL,
                                                             NULL, NULL);
    }

    if (ngx_strict_tls_info_index == -1 || ngx_strict_tls_host_index == -1) {
        ngx_ssl_error(NGX_LOG_ALERT, log, 0,
                      "SSL_CTX_get_ex_new_index() failed");
        return NGX_ERROR;
    }

    return ngx_strict_tls_conn_init(log);
}


/*
 * Several locations may share an SSL_CTX, strict ones and others: which policy
 * applies is looked up per connection, never kept here.
 */

ngx_int_t
ngx_strict_tls_install(SSL_CTX *ssl_ctx, const ngx_strict_tls_host_t *host,
    ngx_log_t *log)
{
    ngx_strict_tls_info_pt  previous;

    previous = SSL_CTX_get_info_callback(ssl_ctx);

    if (previous == ngx_strict_tls_info) {
        return NGX_OK;
    }

    if (SSL_CTX_set_ex_data(ssl_ctx, ngx_strict_tls_info_index,
                            (void *) (uintptr_t) previous)
        == 0
        || SSL_CTX_set_ex_data(ssl_ctx, ngx_strict_tls_host_index,
                               (void *) host)
           == 0)
    {
        ngx_ssl_error(NGX_LOG_EMERG, log, 0, "SSL_CTX_set_ex_data() failed");
        return NGX_ERROR;
    }

    SSL_CTX_set_info_callback(ssl_ctx, ngx_strict_tls_info);
    SSL_CTX_set_cert_verify_callback(ssl_ctx, ngx_strict_tls_verify,
                                     NULL);

    return NGX_OK;
}


static void
ngx_strict_tls_info(const SSL *ssl_conn, int where, int ret)
{
    SSL                    *ssl;
    ngx_strict_tls_info_pt  previous;

    ssl = (SSL *) ssl_conn;

    previous = (ngx_strict_tls_info_pt) (uintptr_t)
                   SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl),
                                       ngx_strict_tls_info_index);

    if (previous) {
        previous(ssl, where, ret);
    }

    if (where & SSL_CB_HANDSHAKE_START) {
        ngx_strict_tls_start(ssl);

    } else if (where & SSL_CB_HANDSHAKE_DONE) {
        ngx_strict_tls_done(ssl);

    } else if (where == SSL_CB_WRITE_ALERT) {
        ngx_strict_tls_alert(ssl);
    }
}


/*
 * The strict scope under which this SSL is making its first handshake, or NULL.
 * Later c->data may be anything: the item of a keepalive pool, or another
 * request.
 */

static ngx_strict_tls_scope_t *
ngx_strict_tls_handshake_scope(SSL *ssl)
{
    ngx_connection_t             *c;
    ngx_strict_tls_scope_t       *scope;
    const ngx_strict_tls_host_t  *host;

    c = ngx_ssl_get_connection(ssl);

    if (c == NULL || c->ssl == NULL || c->ssl->handshaked || c->idle) {
        return NULL;
    }

    host = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl),
                               ngx_strict_tls_host_index);
    if (host == NULL) {
        return NULL;
    }

    scope = host->scope(c);

    return (scope && scope->policy) ? scope : NULL;
}


/* What fails in here must leave a handshake that the verify callback ends. */

static void
ngx_strict_tls_start(SSL *ssl)
{
    BIO                     *bio;
    ngx_connection_t        *c;
    ngx_strict_tls_conn_t   *conn;
    ngx_strict_tls_scope_t  *scope;

    if (ngx_strict_tls_ssl_conn(ssl)) {
        return;
    }

    scope = ngx_strict_tls_handshake_scope(ssl);
    if (scope == NULL) {
        return;
    }

    c = ngx_ssl_get_connection(ssl);

    /* nginx may have offered what a lax location has left */
    (void) SSL_set_session(ssl, NULL);

    SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);

    /* report mode lets the connection be as it is without us */

    if (!scope->report) {
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
        SSL_set_max_cert_list(ssl, scope->max_cert_list);

        /* after the verdict nobody comes with other certificates */
        SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    }

    conn = ngx_strict_tls_create_conn(c,
                                  SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl),
                                                  ngx_strict_tls_host_index),
                                  scope);

    /* no session is kept before the verdict, and by nginx not at all */
    c->ssl->save_session = NULL;

    if (conn == NULL) {
        return;
    }

    if (conn->save_session) {
        ngx_strict_tls_session_offer(conn, ssl);
    }

    /*
     * nginx sets c->ssl->handler when the first step of the handshake asks to
     * wait.  A first read that finds nothing makes sure that it does, and
     * spares the system call that would find nothing.
     */

    bio = SSL_get_rbio(ssl);

    if (bio) {
        BIO_set_callback_ex(bio, ngx_strict_tls_read_once);
        BIO_set_callback_arg(bio, (char *) c);
    }
}


static long
ngx_strict_tls_read_once(BIO *bio, int oper, const char *argp,
    size_t len, int argi, long argl, int ret, size_t *processed)
{
    ngx_connection_t  *c;

    if (oper != BIO_CB_READ) {
        return ret;
    }

    c = (ngx_connection_t *) BIO_get_callback_arg(bio);

    BIO_set_callback_ex(bio, NULL);
    BIO_set_callback_arg(bio, NULL);

    /* nobody would tell again of bytes that came before the ClientHello */

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    BIO_set_retry_read(bio);

    return -1;
}


static int
ngx_strict_tls_verify(X509_STORE_CTX *store, void *data)
{
    int                      err;
    SSL                     *ssl;
    stls_verdict             verdict;
    const stls_reason_info  *info;
    ngx_strict_tls_conn_t   *conn;
    ngx_strict_tls_scope_t  *scope;

    ssl = X509_STORE_CTX_get_ex_data(store,
                                     SSL_get_ex_data_X509_STORE_CTX_idx());

    conn = ssl ? ngx_strict_tls_ssl_conn(ssl) : NULL;

    if (conn == NULL) {
        scope = ssl ? ngx_strict_tls_handshake_scope(ssl) : NULL;

        if (scope == NULL || scope->report) {
            return ngx_strict_tls_stock_verify(store);
        }

        /* strict, and there was no memory to begin with */
        X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
        return 0;
    }

    if (conn->phase != ngx_strict_tls_handshake || conn->owner == NULL) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }

    /* stray errors in the queue would be taken for the handshake's */

    ERR_set_mark();
    verdict = ngx_strict_tls_judge_trust(conn,
                                      X509_STORE_CTX_get0_untrusted(store));
    ERR_pop_to_mark();

    if (conn->scope->report) {
        return ngx_strict_tls_wants_stock(conn)
               ? ngx_strict_tls_stock(conn, store) : 1;
    }

    if (verdict != STLS_REJECT && ngx_strict_tls_wants_stock(conn)) {
        (void) ngx_strict_tls_stock(conn, store);

        if (conn->stock_err) {
            ngx_strict_tls_stock_refuse(conn);
            verdict = STLS_REJECT;
        }
    }

    if (verdict == STLS_REJECT) {
        err = X509_V_ERR_APPLICATION_VERIFICATION;

        if (conn->result) {
            info = stls_reason_get0(stls_result_reason(conn->result));

            if (info && info->x509_err != X509_V_OK) {
                err = info->x509_err;
            }
        }

        conn->phase = ngx_strict_tls_rejected;

        ngx_strict_tls_session_drop(conn);
        ngx_strict_tls_record(conn);

        /*
         * "handshake rejected" instead of OpenSSL's words, at level info: why
         * it was has just been told
         */
        conn->connection->ssl->handshake_rejected = 1;
        conn->connection->log_error = NGX_ERROR_INFO;

        X509_STORE_CTX_set_error(store, err);
        return 0;
    }

    X509_STORE_CTX_set_error(store, X509_V_OK);

    return 1;
}


/* nginx's own verification, beside ours: it can only refuse. */

static int
ngx_strict_tls_stock(ngx_strict_tls_conn_t *conn, X509_STORE_CTX *store)
{
    int  rc;

    ERR_set_mark();

    rc = ngx_strict_tls_stock_verify(store);

    ERR_pop_to_mark();

    /* nginx's callback lets everything pass, and it looks at this later */
    conn->stock_err = X509_STORE_CTX_get_error(store);

    return rc;
}


/*
 * What nginx is going to refuse was not accepted, whatever the core says.  What
 * is wrong by our own rules is told first.
 */

void
ngx_strict_tls_stock_refuse(ngx_strict_tls_conn_t *conn)
{
    int                      err;
    char                     detail[NGX_STRICT_TLS_DETAIL_LEN];
    size_t                   i, n;
    stls_reason              reason;
    const stls_reason_info  *info;

    err = conn->stock_err;

    if (err == X509_V_OK) {
        return;
    }

    if (conn->result
        && stls_result_reason(conn->result) != STLS_REASON_NONE)
    {
        return;
    }

    reason = STLS_REASON_REVOCATION_INCONCLUSIVE;

    info = stls_reasons(&n);

    for (i = 0; i < n; i++) {
        if (info[i].x509_err == err && err != X509_V_ERR_CERT_REVOKED) {
            reason = info[i].reason;
            break;
        }
    }

    /* it knows of revocation by its CRLs alone */

    if (err == X509_V_ERR_CERT_REVOKED) {
        reason = STLS_REASON_CRL_REVOKED;
    }

    (void) ngx_snprintf((u_char *) detail, sizeof(detail),
                        "nginx's own verification: %s%Z",
                        X509_verify_cert_error_string(err));

    ngx_strict_tls_fail(conn, reason, detail);
}


int
ngx_strict_tls_stock_verify(X509_STORE_CTX *store)
{
    return X509_verify_cert(store) > 0;
}


/*
 * What the administrator has asked of nginx stays in force: "ssl_verify" in
 * report mode, and its CRLs always.  Beyond that the core's verdict is all
 * that nginx would find out, and more.
 */

static ngx_uint_t
ngx_strict_tls_wants_stock(ngx_strict_tls_conn_t *conn)
{
    if (!conn->stock_verify) {
        return 0;
    }

    return conn->scope->report || ngx_strict_tls_has_crls(conn->ssl_ctx);
}


ngx_uint_t
ngx_strict_tls_has_crls(SSL_CTX *ssl_ctx)
{
    X509_STORE  *store;

    store = SSL_CTX_get_cert_store(ssl_ctx);

    return (X509_VERIFY_PARAM_get_flags(X509_STORE_get0_param(store))
            & X509_V_FLAG_CRL_CHECK)
           != 0;
}


static void
ngx_strict_tls_done(SSL *ssl)
{
    ngx_connection_t        *c;
    ngx_strict_tls_conn_t   *conn;
    ngx_strict_tls_scope_t  *scope;

    c = ngx_ssl_get_connection(ssl);
    conn = ngx_strict_tls_ssl_conn(ssl);

    if (conn == NULL) {
        scope = ngx_strict_tls_handshake_scope(ssl);

        if (scope && !scope->report) {
            goto failed;
        }

        return;
    }

    if (conn->phase != ngx_strict_tls_handshake) {
        return;
    }

    if (conn->owner && c->ssl->handler) {
        conn->handler = c->ssl->handler;
        c->ssl->handler = ngx_strict_tls_handler;
        conn->phase = ngx_strict_tls_judging;
        return;
    }

    if (conn->scope->report) {
        return;
    }

    conn->phase = ngx_strict_tls_rejected;

failed:

    /*
     * Nobody waits for this handshake in a way that we can take part in, so
     * that it cannot be undone: but nothing will ever be written to this peer.
     */

    ngx_log_error(NGX_LOG_ALERT, c->log, 0,
                  "strict-tls: no handler to judge the peer, closed");

    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN|SSL_RECEIVED_SHUTDOWN);
    c->ssl->no_wait_shutdown = 1;
    c->ssl->no_send_shutdown = 1;
}


/* What OpenSSL refuses in the peer's Certificate before the core sees it. */

static void
ngx_strict_tls_alert(SSL *ssl)
{
    stls_reason             reason;
    const char             *detail;
    ngx_strict_tls_conn_t  *conn;

    conn = ngx_strict_tls_ssl_conn(ssl);

    if (conn == NULL
        || conn->owner == NULL
        || conn->phase != ngx_strict_tls_handshake
        || conn->trust_judged
        || SSL_get_state(ssl) != TLS_ST_CR_CERT)
    {
        return;
    }

    reason = ngx_strict_tls_alert_reason(&detail);

    if (reason == STLS_REASON_NONE) {
        return;
    }

    ERR_set_mark();
    ngx_strict_tls_fail(conn, reason, detail);
    ERR_pop_to_mark();

    conn->phase = ngx_strict_tls_rejected;

    ngx_strict_tls_record(conn);
}


/* In a state in which a Certificate is read: what is wrong with the message. */

stls_reason
ngx_strict_tls_alert_reason(const char **detail)
{
    unsigned long  err;

    err = ERR_peek_last_error();

    if (ERR_GET_LIB(err) != ERR_LIB_SSL) {
        return STLS_REASON_NONE;
    }

    switch (ERR_GET_REASON(err)) {

    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
        *detail = "the certificates exceed max_chain_bytes by far and were "
                  "not read";
        return STLS_REASON_CHAIN_TOO_LONG;

    case ERR_R_ASN1_LIB:
    case SSL_R_LENGTH_MISMATCH:
    case SSL_R_CERT_LENGTH_MISMATCH:
        *detail = "the Certificate message cannot be decoded";
        return STLS_REASON_CHAIN_MALFORMED;

    default:
        return STLS_REASON_NONE;
    }
}
