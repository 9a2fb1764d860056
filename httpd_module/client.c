/*
 * Clients' certificates: when they are judged, which sessions may be resumed,
 * which requests are served.
 *
 * OpenSSL's verify callback judges the presented chain, revocation included
 * (httpd's threads may block), then mod_ssl's verification has its say; so a
 * client is refused with an alert, be it in its handshake, in a renegotiation
 * or in TLS 1.3's post-handshake authentication.  The callback is not called
 * when a session is resumed: a session names the verdict that it was made
 * under, and serves only in its virtual host and while that verdict stands.
 * Requests look whether the connection's verdict is one for them.
 */
#include "mod_strict_tls.h"

#include <openssl/sha.h>

#define BOUND_VERSION 2
#define BOUND_LEN (1 + 3 * STLS_ID_LEN)
#define MAX_TICKET_CERT_LEN 32768 /* OpenSSL fails where a ticket would exceed 64 KiB */
#define REFUSED "strict-tls-client-refused"

/* A virtual host's SSL_CTX. */
typedef struct {
    server_rec *s;
    SSL_SESSION *(*get_session)(SSL *, const unsigned char *, int, int *); /* mod_ssl's */
    unsigned char id[STLS_ID_LEN];
} context;

/* One connection of a client. */
typedef struct {
    mst_conn peer;          /* first: the module finds it by its connection */
    SSL *ssl;               /* NULL once it is gone */
    X509 *leaf;             /* whom peer.result is about */
    volatile void *refused; /* stls_result: why nothing more is served */
} client_conn;

static int ssl_index = -1, ctx_index = -1;
static long max_cert_list;

static apr_time_t now(void)
{
    return apr_time_sec(apr_time_now());
}

static context *context_of(SSL *ssl)
{
    SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);

    return ctx ? SSL_CTX_get_ex_data(ctx, ctx_index) : NULL;
}

/* ---- connections ------------------------------------------------------------------------ */

static void forget_verdict(client_conn *client)
{
    mst_conn_clear(&client->peer);
    X509_free(client->leaf);
    client->leaf = NULL;
}

static apr_status_t forget_client(void *data)
{
    client_conn *client = data;

    forget_verdict(client);
    stls_result_free((stls_result *) client->refused);
    client->refused = NULL;
    if (client->ssl != NULL) {
        SSL_set_ex_data(client->ssl, ssl_index, NULL);
    }
    return APR_SUCCESS;
}

/* mod_ssl may end TLS and keep the connection: plain HTTP on a TLS port. */
static void on_ssl_free(void *ssl, void *data, CRYPTO_EX_DATA *ad, int index, long argl,
                        void *argp)
{
    client_conn *client = data;

    (void) ssl;
    (void) ad;
    (void) index;
    (void) argl;
    (void) argp;
    if (client != NULL) {
        client->ssl = NULL;
    }
}

int mst_client_pre_handshake(conn_rec *c, SSL *ssl)
{
    client_conn *client;

    if (ssl_index < 0 || !mst_client_is_wanted()) {
        return DECLINED;
    }
    client = apr_pcalloc(c->pool, sizeof(*client));
    client->peer.c = c;
    client->ssl = ssl;
    if (!SSL_set_ex_data(ssl, ssl_index, client)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    ap_set_module_config(c->conn_config, &strict_tls_module, client);
    apr_pool_cleanup_register(c->pool, client, forget_client, apr_pool_cleanup_null);
    if (SSL_get_max_cert_list(ssl) < max_cert_list) {
        SSL_set_max_cert_list(ssl, max_cert_list); /* its virtual host is not known yet */
    }
    return OK;
}

/* ---- handshakes --------------------------------------------------------------------------- */

static stls_verdict judge(client_conn *client, mst_runtime *rt, STACK_OF(X509) *certs)
{
    mst_conn *peer = &client->peer;
    stls_verdict verdict;

    forget_verdict(client);
    peer->rt = rt;
    client->leaf = sk_X509_value(certs, 0);
    if (client->leaf != NULL) {
        X509_up_ref(client->leaf);
    }
    ERR_set_mark();
    verdict = mst_judge_trust(peer, certs);
    if (verdict != STLS_PENDING && rt->report) {
        /* a report tells about revocation, too */
        stls_result_free(peer->result);
        peer->result = NULL;
        peer->basis.has_key = 0;
        verdict = STLS_PENDING;
    }
    if (verdict == STLS_PENDING) {
        verdict = mst_judge_revocation(peer, certs, NULL, 0);
    }
    ERR_pop_to_mark();
    mst_record(peer, peer->result, NULL);
    return rt->report ? STLS_ACCEPT : verdict;
}

/* What names the content of a crl_file in a session; zeros where there is none. */
static void name_crl_file(const stls_crl_file *file, unsigned char *id)
{
    memset(id, 0, STLS_ID_LEN);
    if (file != NULL) {
        memcpy(id, stls_crl_file_get0_id(file), STLS_ID_LEN);
    }
}

/*
 * The session names its verdict, its virtual host and the CRLs of the
 * administrator's that the verdict rests on; NULL: it names none.
 */
static void bind_session(SSL *ssl, const context *at, const mst_conn *peer)
{
    SSL_SESSION *session = SSL_get_session(ssl);
    unsigned char bound[BOUND_LEN];

    if (session == NULL) {
        return;
    }
    SSL_SESSION_set1_ticket_appdata(session, NULL, 0);
    if (peer != NULL && peer->basis.has_key) {
        bound[0] = BOUND_VERSION;
        memcpy(bound + 1, at->id, STLS_ID_LEN);
        memcpy(bound + 1 + STLS_ID_LEN, peer->basis.key, STLS_ID_LEN);
        name_crl_file(peer->basis.crl_file, bound + 1 + 2 * STLS_ID_LEN);
        SSL_SESSION_set1_ticket_appdata(session, bound, sizeof(bound));
    }
}

static int verify(X509_STORE_CTX *store, void *data)
{
    const context *at = data;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    client_conn *client = ssl ? SSL_get_ex_data(ssl, ssl_index) : NULL;
    mst_runtime *rt = mst_get_client_conf(at->s)->rt;
    int err = X509_V_ERR_APPLICATION_VERIFICATION;
    const stls_reason_info *info;

    if (client == NULL || rt == NULL) {
        X509_STORE_CTX_set_error(store, err);
        return 0;
    }
    bind_session(ssl, at, NULL);
    if (judge(client, rt, X509_STORE_CTX_get0_untrusted(store)) != STLS_ACCEPT) {
        client->peer.state = MST_REJECTED_PEER;
        if (client->peer.result != NULL) {
            info = stls_reason_get0(stls_result_reason(client->peer.result));
            if (info != NULL && info->x509_err != X509_V_OK) {
                err = info->x509_err;
            }
        }
        X509_STORE_CTX_set_error(store, err);
        return 0;
    }
    if (X509_verify_cert(store) <= 0) { /* mod_ssl's: SSLCACertificate..., SSLVerifyDepth, ... */
        client->peer.state = MST_REJECTED_PEER;
        return 0;
    }
    client->peer.state = MST_ACCEPTED_PEER;
    bind_session(ssl, at, &client->peer);
    if (i2d_X509(client->leaf, NULL) > MAX_TICKET_CERT_LEN) {
        SSL_set_num_tickets(ssl, 0);
    }
    return 1;
}

/* ---- sessions --------------------------------------------------------------------------------- */

/* The verdict that this session was made under, if it may serve here. */
static stls_result *verdict_of(SSL_SESSION *session, const context *at,
                               const stls_crl_file *crl_file, unsigned char **key)
{
    unsigned char *bound = NULL, crls[STLS_ID_LEN];
    stls_result *result;
    size_t len = 0;

    if (!SSL_SESSION_get0_ticket_appdata(session, (void **) &bound, &len) || len != BOUND_LEN
        || bound[0] != BOUND_VERSION || memcmp(bound + 1, at->id, STLS_ID_LEN)) {
        return NULL;
    }
    name_crl_file(crl_file, crls);
    if (memcmp(bound + 1 + 2 * STLS_ID_LEN, crls, STLS_ID_LEN)) {
        return NULL;
    }
    *key = bound + 1 + STLS_ID_LEN;
    result = mst_verdict_get1(*key, now());
    if (result != NULL
        && (stls_result_verdict(result) != STLS_ACCEPT
            || !stls_result_may_resume(result, now()))) {
        stls_result_free(result);
        result = NULL;
    }
    return result;
}

/* If not, there will be a full handshake. */
static int may_resume(SSL *ssl, SSL_SESSION *session)
{
    const context *at = context_of(ssl);
    client_conn *client = SSL_get_ex_data(ssl, ssl_index);
    mst_runtime *rt = at ? mst_get_client_conf(at->s)->rt : NULL;
    apr_uint32_t epoch = mst_epoch();
    unsigned char *key = NULL;
    stls_crl_file *crl_file;
    stls_result *result;
    X509 *leaf;

    if (at == NULL || client == NULL) {
        return 0;
    }
    if (rt == NULL) {
        return 1; /* nothing is demanded of clients here */
    }
    leaf = SSL_SESSION_get0_peer(session);
    if (leaf == NULL) {
        return !(SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    }
    crl_file = mst_crl_file_get1(rt);
    result = verdict_of(session, at, crl_file, &key);
    if (result == NULL) {
        stls_crl_file_free(crl_file);
        return 0;
    }
    forget_verdict(client);
    client->peer.basis.crl_file = crl_file;
    X509_up_ref(leaf);
    client->leaf = leaf;
    client->peer.rt = rt;
    client->peer.result = result;
    client->peer.basis.epoch = epoch;
    memcpy(client->peer.basis.key, key, STLS_ID_LEN);
    client->peer.basis.has_key = 1;
    client->peer.state = MST_ACCEPTED_PEER;
    return 1;
}

static SSL_TICKET_RETURN on_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *keyname,
                                   size_t keyname_len, SSL_TICKET_STATUS status, void *data)
{
    (void) keyname;
    (void) keyname_len;
    (void) data;
    if ((status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        || !may_resume(ssl, session)) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

static SSL_SESSION *on_session_id(SSL *ssl, const unsigned char *id, int id_len, int *copy)
{
    const context *at = context_of(ssl);
    SSL_SESSION *session = at && at->get_session ? at->get_session(ssl, id, id_len, copy) : NULL;

    if (session != NULL && !may_resume(ssl, session)) {
        if (!*copy) {
            SSL_SESSION_free(session);
        }
        session = NULL;
    }
    return session;
}

/* ---- requests ------------------------------------------------------------------------------------ */

/* On another connection the same may well be served if this one's verdict could not be renewed. */
static int refuse(request_rec *r, stls_result *result)
{
    mst_set_env(r, STLS_ROLE_CLIENT, result);
    apr_table_setn(r->notes, REFUSED, "1");
    r->connection->keepalive = AP_CONN_CLOSE;
    return result && stls_result_reason(result) == STLS_REASON_SESSION_UNVERIFIED
        ? HTTP_MISDIRECTED_REQUEST : HTTP_FORBIDDEN;
}

/*
 * The verdict is over, was never made, or is not about this certificate.  A
 * chain that was presented is judged again; several requests may wait for that
 * at once.
 */
static stls_result *renew(client_conn *client, int is_judged)
{
    mst_conn *peer = &client->peer;
    stls_result *result = (stls_result *) apr_atomic_casptr(&client->refused, NULL, NULL);

    if (result != NULL) {
        return stls_result_up_ref(result);
    }
    if (is_judged && peer->certs != NULL) {
        result = mst_judge_anew(peer);
    }
    else {
        result = mst_failed_result(peer->rt, NULL, STLS_REASON_SESSION_UNVERIFIED,
                                   is_judged ? "the verdict of the resumed session is over"
                                             : "its certificate was not judged");
    }
    if (result == NULL || stls_result_verdict(result) == STLS_ACCEPT) {
        return result;
    }
    mst_record(peer, result, NULL);
    if (apr_atomic_casptr(&client->refused, stls_result_up_ref(result), NULL) != NULL) {
        stls_result_free(result); /* another request was faster */
    }
    return result;
}

/* In a virtual host that judges clients by `rt`, on a connection that was made under the same. */
static int check_peer(request_rec *r, client_conn *client, mst_runtime *rt)
{
    X509 *leaf = SSL_get0_peer_certificate(client->ssl);
    stls_result *result = NULL;
    int is_judged, rc = DECLINED;

    if (leaf == NULL) {
        return DECLINED; /* mod_ssl has seen to it that there had to be none */
    }
    is_judged = client->peer.state == MST_ACCEPTED_PEER && client->leaf != NULL
        && X509_cmp(client->leaf, leaf) == 0;
    if (is_judged) {
        result = mst_judge_current(&client->peer);
    }
    else if (client->peer.rt == NULL) {
        client->peer.rt = rt;
    }
    if (result == NULL) {
        result = renew(client, is_judged);
    }
    if ((result != NULL && stls_result_verdict(result) == STLS_ACCEPT) || rt->report) {
        mst_set_env(r, STLS_ROLE_CLIENT, result);
    }
    else {
        rc = refuse(r, result);
    }
    stls_result_free(result);
    return rc;
}

static int check_request(request_rec *r)
{
    conn_rec *c = r->connection->master ? r->connection->master : r->connection;
    mst_runtime *rt = mst_get_client_conf(r->server)->rt;
    client_conn *client;
    context *at;

    if (rt == NULL || c->outgoing || (r->prev && apr_table_get(r->prev->notes, REFUSED))) {
        return DECLINED; /* the last: the page that tells about a refusal */
    }
    client = ap_get_module_config(c->conn_config, &strict_tls_module);
    if (client == NULL || client->ssl == NULL) {
        return DECLINED; /* no TLS */
    }
    if (rt->policy == NULL && SSL_get0_peer_certificate(client->ssl) == NULL) {
        return DECLINED; /* there is nobody to trust, and nobody is asked */
    }
    at = context_of(client->ssl);
    if (at != NULL && mst_same_policy(mst_get_client_conf(at->s)->rt, rt)) {
        return check_peer(r, client, rt);
    }
    /* by its Host: whoever made this connection was not judged as this virtual host demands */
    ap_log_rerror(APLOG_MARK, rt->report ? APLOG_WARNING : APLOG_ERR, 0, r, STLSLOGNO(52)
                  "strict-tls: %s: connection made for a virtual host that demands something else "
                  "of clients than this one", rt->report ? "would refuse" : "refused");
    if (rt->report) {
        return DECLINED;
    }
    apr_table_setn(r->notes, REFUSED, "1");
    return HTTP_MISDIRECTED_REQUEST;
}

/* ---- life ------------------------------------------------------------------------------------------- */

int mst_client_init_server(server_rec *s, apr_pool_t *p, SSL_CTX *ctx)
{
    context *at;
    char *name;

    if (!mst_client_is_wanted()) {
        return OK;
    }
    if (ssl_index < 0) {
        ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
        ssl_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_free);
    }
    at = apr_pcalloc(p, sizeof(*at));
    at->s = s;
    at->get_session = SSL_CTX_sess_get_get_cb(ctx);
    name = apr_psprintf(p, "%s:%u:%s:%u", s->defn_name ? s->defn_name : "", s->defn_line_number,
                        s->server_hostname ? s->server_hostname : "", s->port);
    SHA256((const unsigned char *) name, strlen(name), at->id);
    if (ssl_index < 0 || ctx_index < 0 || !SSL_CTX_set_ex_data(ctx, ctx_index, at)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (mst_client_is_strict(mst_get_client_conf(s))) {
        SSL_CTX_set_cert_verify_callback(ctx, verify, at);
    }
    /* OpenSSL calls those of the address's first virtual host, whichever a session is for */
    SSL_CTX_set_session_ticket_cb(ctx, NULL, on_ticket, NULL);
    if (at->get_session != NULL) {
        SSL_CTX_sess_set_get_cb(ctx, on_session_id);
    }
    return OK;
}

void mst_client_child_init(server_rec *main_s)
{
    server_rec *s;

    max_cert_list = 0;
    for (s = main_s; s && mst_client_is_wanted(); s = s->next) {
        mst_client_conf *conf = mst_get_client_conf(s);

        conf->rt = mst_get_runtime(&conf->effective);
        if (conf->rt != NULL && (long) conf->rt->max_cert_list > max_cert_list) {
            max_cert_list = (long) conf->rt->max_cert_list;
        }
    }
}

void mst_client_register(apr_pool_t *p)
{
    /* mod_ssl's own checks of the virtual host come first */
    static const char *const before[] = {"mod_ssl.c", "mod_setenvif.c", NULL};

    (void) p;
    ap_hook_post_read_request(check_request, before, NULL, APR_HOOK_MIDDLE);
    /* again, since access control may have asked for a certificate */
    ap_hook_fixups(check_request, NULL, NULL, APR_HOOK_REALLY_FIRST);
}
