/*
 * Hooks in the handshake with a client, on nginx's own SSL_CTX of a server.
 *
 * The verify callback judges the chain; where that is refused, nginx refuses
 * the client as it does where its own verification fails.  An OpenSSL server
 * cannot wait within a handshake, so revocation is left to the gate that every
 * request or session goes through: see ngx_strict_tls_gate.c.
 *
 * OpenSSL decides about resumption before nginx has chosen a server by SNI, and
 * a session tells nothing of the chain that was presented.  So a session names
 * the verdict's key, and is resumed only by who asks for the same server while
 * an accepting verdict under that key, and the chain with it, are at hand in
 * this process.  All others make a full handshake.
 */

#include "ngx_strict_tls.h"


typedef void (*ngx_strict_tls_client_info_pt)(const SSL *ssl, int where,
    int ret);
typedef SSL_SESSION *(*ngx_strict_tls_client_get_pt)(SSL *ssl,
    const unsigned char *id, int len, int *copy);


static void ngx_strict_tls_client_info(const SSL *ssl, int where, int ret);
static void ngx_strict_tls_client_alert(SSL *ssl);
static int ngx_strict_tls_client_verify(X509_STORE_CTX *store, void *data);
static void ngx_strict_tls_client_bind(ngx_strict_tls_conn_t *conn, SSL *ssl);
static int ngx_strict_tls_client_error(ngx_strict_tls_conn_t *conn);
static SSL_TICKET_RETURN ngx_strict_tls_client_ticket(SSL *ssl,
    SSL_SESSION *session, const unsigned char *name, size_t len,
    SSL_TICKET_STATUS status, void *data);
static SSL_SESSION *ngx_strict_tls_client_session(SSL *ssl,
    const unsigned char *id, int len, int *copy);
static ngx_uint_t ngx_strict_tls_client_resumes(SSL *ssl,
    SSL_SESSION *session);
static void ngx_strict_tls_client_sni(SSL *ssl, ngx_str_t *name);
static const ngx_strict_tls_server_t *ngx_strict_tls_client_server(SSL *ssl);


static int  ngx_strict_tls_client_server_index = -1;
static int  ngx_strict_tls_client_info_index = -1;   /* nginx's callbacks */
static int  ngx_strict_tls_client_get_index = -1;


ngx_int_t
ngx_strict_tls_client_init(ngx_log_t *log)
{
    ngx_uint_t   i;
    int         *index[3];

    index[0] = &ngx_strict_tls_client_server_index;
    index[1] = &ngx_strict_tls_client_info_index;
    index[2] = &ngx_strict_tls_client_get_index;

    for (i = 0; i < 3; i++) {

        if (*index[i] == -1) {
            *index[i] = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
        }

        if (*index[i] == -1) {
            ngx_ssl_error(NGX_LOG_ALERT, log, 0,
                          "SSL_CTX_get_ex_new_index() failed");
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* No server is strict: did the topmost level want its servers to be? */

void
ngx_strict_tls_client_idle(ngx_conf_t *cf, ngx_strict_tls_scope_t *top)
{
    if (top->mode == NGX_CONF_UNSET_UINT || top->mode == NGX_STRICT_TLS_OFF) {
        return;
    }

    ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                       "\"strict_tls_client\" has nobody to judge: no server "
                       "asks for certificates by \"ssl_verify_client\"");
}


/*
 * On the SSL_CTX of every server of a configuration in which one is strict:
 * a connection begins with that of its address's default server.  Only a
 * `strict` one verifies.
 */

ngx_int_t
ngx_strict_tls_client_install(SSL_CTX *ssl_ctx,
    const ngx_strict_tls_server_t *server, ngx_uint_t strict,
    size_t max_cert_list, ngx_log_t *log)
{
    ngx_strict_tls_client_get_pt  get;

    if (SSL_CTX_get_info_callback(ssl_ctx) != ngx_strict_tls_client_info) {

        get = SSL_CTX_sess_get_get_cb(ssl_ctx);

        if (SSL_CTX_set_ex_data(ssl_ctx, ngx_strict_tls_client_server_index,
                                (void *) server)
            == 0
            || SSL_CTX_set_ex_data(ssl_ctx, ngx_strict_tls_client_info_index,
                     (void *) (uintptr_t) SSL_CTX_get_info_callback(ssl_ctx))
               == 0
            || SSL_CTX_set_ex_data(ssl_ctx, ngx_strict_tls_client_get_index,
                                   (void *) (uintptr_t) get)
               == 0
            || SSL_CTX_set_session_ticket_cb(ssl_ctx, NULL,
                                             ngx_strict_tls_client_ticket,
                                             NULL)
               == 0)
        {
            ngx_ssl_error(NGX_LOG_EMERG, log, 0,
                          "SSL_CTX_set_ex_data() failed");
            return NGX_ERROR;
        }

        SSL_CTX_set_info_callback(ssl_ctx, ngx_strict_tls_client_info);

        /* what OpenSSL keeps by itself it resumes without asking anybody */

        SSL_CTX_set_session_cache_mode(ssl_ctx,
                                       SSL_CTX_get_session_cache_mode(ssl_ctx)
                                       | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);

        if (get) {
            SSL_CTX_sess_set_get_cb(ssl_ctx, ngx_strict_tls_client_session);
        }
    }

    if (SSL_CTX_get_max_cert_list(ssl_ctx) < (long) max_cert_list) {
        SSL_CTX_set_max_cert_list(ssl_ctx, max_cert_list);
    }

    if (strict) {
        SSL_CTX_set_cert_verify_callback(ssl_ctx, ngx_strict_tls_client_verify,
                                         NULL);
    }

    return NGX_OK;
}


static void
ngx_strict_tls_client_info(const SSL *ssl_conn, int where, int ret)
{
    SSL                            *ssl;
    ngx_strict_tls_client_info_pt   previous;

    ssl = (SSL *) ssl_conn;

    previous = (ngx_strict_tls_client_info_pt) (uintptr_t)
                   SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl),
                                       ngx_strict_tls_client_info_index);

    if (previous) {
        previous(ssl, where, ret);
    }

    if (where == SSL_CB_WRITE_ALERT
        && SSL_get_state(ssl) == TLS_ST_SR_CERT)
    {
        ngx_strict_tls_client_alert(ssl);
    }
}


/* What OpenSSL refuses in a client's Certificate before the core sees it. */

static void
ngx_strict_tls_client_alert(SSL *ssl)
{
    stls_reason              reason;
    const char              *detail;
    ngx_connection_t        *c;
    ngx_strict_tls_conn_t   *conn;
    ngx_strict_tls_scope_t  *scope;

    c = ngx_ssl_get_connection(ssl);
    scope = ngx_strict_tls_client_server(ssl)->scope(c);

    if (scope == NULL) {
        return;
    }

    reason = ngx_strict_tls_alert_reason(&detail);

    if (reason == STLS_REASON_NONE) {
        return;
    }

    conn = ngx_strict_tls_create_client(c, scope, NULL);
    if (conn == NULL) {
        return;
    }

    conn->phase = ngx_strict_tls_rejected;

    ERR_set_mark();
    ngx_strict_tls_fail(conn, reason, detail);
    ERR_pop_to_mark();

    ngx_strict_tls_record(conn);
}


/*
 * As nginx does it, the handshake goes on whatever is found: who was refused
 * is told so in HTTP.
 */

static int
ngx_strict_tls_client_verify(X509_STORE_CTX *store, void *data)
{
    int                      rc;
    SSL                     *ssl;
    stls_verdict             verdict;
    ngx_connection_t        *c;
    ngx_strict_tls_conn_t   *conn;
    ngx_strict_tls_scope_t  *scope;

    ssl = X509_STORE_CTX_get_ex_data(store,
                                     SSL_get_ex_data_X509_STORE_CTX_idx());

    c = ngx_ssl_get_connection(ssl);
    scope = ngx_strict_tls_client_server(ssl)->scope(c);

    if (scope == NULL) {
        return ngx_strict_tls_stock_verify(store);
    }

    /* in front of what a session that came to nothing has left */

    conn = ngx_strict_tls_create_client(c, scope,
                                        X509_STORE_CTX_get0_untrusted(store));

    if (conn == NULL) {

        if (scope->report) {
            return ngx_strict_tls_stock_verify(store);
        }

        X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
        return 1;
    }

    ERR_set_mark();

    verdict = ngx_strict_tls_judge_trust(conn, conn->certs);

    ngx_strict_tls_client_bind(conn, ssl);

    ERR_pop_to_mark();

    if (verdict == STLS_REJECT) {
        conn->phase = ngx_strict_tls_rejected;
        ngx_strict_tls_record(conn);
    }

    /* nginx's own verification and its CRLs stay in force where asked for */

    if (scope->report) {
        rc = ngx_strict_tls_stock_verify(store);
        conn->stock_err = X509_STORE_CTX_get_error(store);

        if (conn->stock_err) {
            /* no request of this client will get as far as the gate */
            (void) ngx_strict_tls_client_judge(conn, NULL);
        }

        return rc;
    }

    if (verdict == STLS_REJECT) {
        X509_STORE_CTX_set_error(store, ngx_strict_tls_client_error(conn));
        return 1;
    }

    if (ngx_strict_tls_has_crls(SSL_get_SSL_CTX(ssl))) {
        rc = ngx_strict_tls_stock_verify(store);
        conn->stock_err = X509_STORE_CTX_get_error(store);

        if (conn->stock_err) {
            ngx_strict_tls_stock_refuse(conn);

            conn->phase = ngx_strict_tls_rejected;
            ngx_strict_tls_record(conn);
        }

        return rc;
    }

    X509_STORE_CTX_set_error(store, X509_V_OK);

    return 1;
}


/* Without the key in it a session is never resumed. */

static void
ngx_strict_tls_client_bind(ngx_strict_tls_conn_t *conn, SSL *ssl)
{
    /* no request before the handshake is over, neither now nor next time */
    (void) SSL_set_max_early_data(ssl, 0);

    if (!conn->has_key
        || ngx_strict_tls_set_session_key(conn, conn->key, STLS_ID_LEN)
           != NGX_OK)
    {
        return;
    }

    (void) SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), conn->key,
                                           STLS_ID_LEN);
}


/* Of these, "ssl_verify_client optional_no_ca" forgives some. */

static int
ngx_strict_tls_client_error(ngx_strict_tls_conn_t *conn)
{
    const stls_reason_info  *info;

    info = conn->result ? stls_reason_get0(stls_result_reason(conn->result))
                        : NULL;

    if (info == NULL
        || info->x509_err == X509_V_OK
        || ngx_ssl_verify_error_optional(info->x509_err))
    {
        return X509_V_ERR_APPLICATION_VERIFICATION;
    }

    return info->x509_err;
}


static SSL_TICKET_RETURN
ngx_strict_tls_client_ticket(SSL *ssl, SSL_SESSION *session,
    const unsigned char *name, size_t len, SSL_TICKET_STATUS status,
    void *data)
{
    switch (status) {

    case SSL_TICKET_SUCCESS:
    case SSL_TICKET_SUCCESS_RENEW:

        if (!ngx_strict_tls_client_resumes(ssl, session)) {
            return SSL_TICKET_RETURN_IGNORE_RENEW;
        }

        return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE
                                            : SSL_TICKET_RETURN_USE_RENEW;

    default:
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
}


static SSL_SESSION *
ngx_strict_tls_client_session(SSL *ssl, const unsigned char *id, int len,
    int *copy)
{
    SSL_SESSION                   *session;
    ngx_connection_t              *c;
    ngx_strict_tls_client_get_pt   get;

    c = ngx_ssl_get_connection(ssl);

    get = (ngx_strict_tls_client_get_pt) (uintptr_t)
              SSL_CTX_get_ex_data(c->ssl->session_ctx,
                                  ngx_strict_tls_client_get_index);

    session = get(ssl, id, len, copy);

    if (session == NULL || ngx_strict_tls_client_resumes(ssl, session)) {
        return session;
    }

    if (!*copy) {
        SSL_SESSION_free(session);
    }

    return NULL;
}


static ngx_uint_t
ngx_strict_tls_client_resumes(SSL *ssl, SSL_SESSION *session)
{
    void                    *key;
    size_t                   len;
    ngx_str_t                name;
    const char              *made_for;
    ngx_connection_t        *c;
    ngx_strict_tls_scope_t  *scope;

    c = ngx_ssl_get_connection(ssl);

    ngx_strict_tls_client_sni(ssl, &name);

    scope = ngx_strict_tls_client_server(ssl)->find(c, &name);

    if (scope == NULL) {
        return 1;
    }

    made_for = SSL_SESSION_get0_hostname(session);

    if (made_for == NULL) {
        made_for = "";
    }

    if (ngx_strlen(made_for) != name.len
        || ngx_strncmp(made_for, name.data, name.len) != 0)
    {
        return 0;
    }

    /* no certificate, no verdict: nginx looks for itself whether it wants one */

    if (SSL_SESSION_get0_peer(session) == NULL) {
        return 1;
    }

    if (SSL_SESSION_get0_ticket_appdata(session, &key, &len) != 1
        || key == NULL
        || ngx_strict_tls_session_find_client(c, scope, key, len) == NULL)
    {
        ngx_log_debug0(NGX_LOG_DEBUG_EVENT, c->log, 0,
                       "strict tls: no live verdict, session is not resumed");
        return 0;
    }

    (void) SSL_set_max_early_data(ssl, 0);

    return 1;
}


/*
 * The name in the ClientHello that is being processed, or an empty one.
 * SSL_get_servername() does not know it as early as this.  Should OpenSSL not
 * tell, then no session that was made for a name is resumed.
 */

static void
ngx_strict_tls_client_sni(SSL *ssl, ngx_str_t *name)
{
    size_t                len, n;
    const unsigned char  *p;

    ngx_str_set(name, "");

    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &len)
        == 0)
    {
        return;
    }

    /* ServerNameList of one HostName: RFC 6066, section 3 */

    if (len < 5 || p[2] != TLSEXT_NAMETYPE_host_name) {
        return;
    }

    n = (size_t) p[3] << 8 | p[4];

    if (n != len - 5) {
        return;
    }

    name->data = (u_char *) p + 5;
    name->len = n;
}


/*
 * The name that nginx looks a server up by, in `buf`.  NGX_DECLINED: by none,
 * the default server it is.
 */

ngx_int_t
ngx_strict_tls_client_server_name(ngx_str_t *sni, ngx_str_t *name,
    u_char *buf)
{
    if (sni->len == 0 || sni->len > NGX_STRICT_TLS_SERVER_NAME_LEN) {
        return NGX_DECLINED;
    }

    ngx_strlow(buf, sni->data, sni->len);

    name->data = buf;
    name->len = sni->len;

    if (name->data[name->len - 1] == '.') {
        name->len--;
    }

    return NGX_OK;
}


static const ngx_strict_tls_server_t *
ngx_strict_tls_client_server(SSL *ssl)
{
    return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl),
                               ngx_strict_tls_client_server_index);
}
