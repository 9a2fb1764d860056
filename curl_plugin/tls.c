/*
 * The handshake.  OpenSSL verifies the peer as the program and libcurl have set
 * it up: CRLs, depth, host, callbacks.  What that refuses stays refused.  The
 * strict judgement comes on top: chain and name where that verification ends,
 * revocation in the status callback, which comes in TLS 1.2 and 1.3 alike, with
 * a staple or without, before anything of the transfer is sent.  A program that
 * verifies by a function of its own may never get to the first; all is judged
 * in the status callback then.
 *
 * Each connection of libcurl has an SSL_CTX of its own; what is known about it
 * hangs there.
 */
#include "plugin.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "crl_reader.h"
#include "judge.h"

typedef struct {
    const stls_curl_setup *setup;
    CURL *curl;   /* NULL once the handshake is over: another handle may use the connection then */
    int rejects;  /* 0: mode report */
    int is_proxy; /* the peer is an HTTPS proxy */
    int (*own_verify)(int ok, X509_STORE_CTX *store_ctx); /* the program's own verify callback */
    stls_check *check;
    stls_result *result;
    stls_verdict verdict;
    /* What the verdict rests on, so that it can be given again. */
    char name[1024];
    stls_anchors *anchors;
    stls_crl_file *crl_file;
    void (*info_callback)(const SSL *ssl, int where, int value); /* the program's own */
    int (*status_callback)(SSL *ssl, void *arg);
    void *status_arg;
} connection;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int slot = -1;

static void connection_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl,
                            void *argp)
{
    connection *conn = ptr;

    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    if (conn != NULL) {
        stls_check_free(conn->check);
        stls_result_free(conn->result);
        stls_anchors_free(conn->anchors);
        stls_crl_file_free(conn->crl_file);
        stls_curl_setup_free(conn->setup);
        free(conn);
    }
}

static void take_slot(void)
{
    slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, connection_free);
}

static connection *connection_of(const SSL *ssl)
{
    return slot >= 0 ? SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), slot) : NULL;
}

int stls_curl_is_judged(const SSL *ssl)
{
    return connection_of(ssl) != NULL;
}

/* ---- verdicts ------------------------------------------------------------------------ */

static void finish(connection *conn, stls_verdict verdict)
{
    if (conn->result == NULL) {
        conn->result = stls_check_get1_result(conn->check);
    }
    stls_check_free(conn->check);
    conn->check = NULL;
    conn->verdict = conn->result != NULL ? verdict : STLS_REJECT;
    if (conn->verdict == STLS_ACCEPT) {
        stls_curl_limit_lifetime(conn->curl,
                                 stls_result_valid_until_s(conn->result) - (int64_t)time(NULL));
    }
    stls_curl_tell(conn->curl, conn->result);
}

static void begin_anew(connection *conn)
{
    stls_check_free(conn->check);
    stls_result_free(conn->result);
    conn->check = NULL;
    conn->result = NULL;
    conn->verdict = STLS_PENDING;
}

/* What the alert and CURLINFO_SSL_VERIFYRESULT shall say. */
static int x509_error(const connection *conn)
{
    const stls_reason_info *info = conn->result != NULL
                                       ? stls_reason_get0(stls_result_reason(conn->result))
                                       : NULL;

    return info != NULL ? info->x509_err : X509_V_ERR_UNSPECIFIED;
}

static stls_check *new_check(const connection *conn, const STACK_OF(X509) *presented)
{
    stls_check *check = stls_check_new(conn->setup->policy, conn->anchors, STLS_ROLE_SERVER);

    if (check != NULL) {
        /* Whatever fails here drives the verdict to a reject. */
        if (conn->name[0] != '\0') {
            (void)stls_check_set_name(check, conn->name, strlen(conn->name));
        }
        if (presented != NULL) {
            (void)stls_check_add_certs(check, presented);
        }
    }
    return check;
}

/* Phase two, by the CRLs of the administrator's as they are now. */
static stls_verdict judge(connection *conn)
{
    stls_error err;

    stls_crl_file_free(conn->crl_file);
    conn->crl_file = stls_curl_crl_file_get1(conn->setup->policy, &err);
    return stls_curl_judge(conn->check, conn->setup->policy, conn->crl_file);
}

static X509_STORE *store_of(const SSL *ssl)
{
    X509_STORE *store = NULL;

    if (SSL_get0_verify_cert_store((SSL *)ssl, &store) != 1 || store == NULL) {
        store = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
    }
    return store;
}

/* Phase one, once per handshake. A chain or name that is wrong is told at once. */
static void judge_trust(connection *conn, const SSL *ssl, const STACK_OF(X509) *presented)
{
    stls_verdict verdict = STLS_REJECT;

    if (conn->check != NULL || conn->result != NULL) {
        return;
    }
    stls_curl_depth++;
    stls_curl_wanted_name(conn->curl, ssl, conn->is_proxy, conn->name, sizeof(conn->name));
    stls_anchors_free(conn->anchors);
    conn->anchors = conn->setup->anchors != NULL ? stls_anchors_up_ref(conn->setup->anchors)
                                                 : stls_curl_anchors_of(store_of(ssl), presented);
    conn->check = new_check(conn, presented);
    if (conn->check != NULL) {
        verdict = stls_check_trust(conn->check, (int64_t)time(NULL));
    }
    if (verdict != STLS_PENDING) {
        finish(conn, STLS_REJECT);
    }
    stls_curl_depth--;
    ERR_clear_error();
}

/* What the program makes of this step of the verification: its callback's answer, OpenSSL's else. */
static int ask_program(const connection *conn, int ok, X509_STORE_CTX *store_ctx)
{
    int (*own)(int, X509_STORE_CTX *) = conn->own_verify;

    if (own == NULL) {
        own = X509_STORE_get_verify_cb(X509_STORE_CTX_get0_store(store_ctx));
    }
    return own != NULL ? own(ok, store_ctx) : ok;
}

/*
 * OpenSSL's verification at a step: an error, or a certificate that is right;
 * the leaf is the last of them.
 */
static int verify_step(int ok, X509_STORE_CTX *store_ctx)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store_ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    connection *conn = ssl != NULL ? connection_of(ssl) : NULL;

    if (conn == NULL) {
        return 0;
    }
    int goes_on = ask_program(conn, ok, store_ctx);
    if (goes_on && !(ok && X509_STORE_CTX_get_error_depth(store_ctx) == 0)) {
        return goes_on;
    }
    judge_trust(conn, ssl, X509_STORE_CTX_get0_untrusted(store_ctx));
    if (!conn->rejects) {
        /* Report mode: what libcurl rejects stays rejected, and is told at once. */
        if (!goes_on && conn->check != NULL && (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) != 0) {
            stls_curl_depth++;
            finish(conn, judge(conn));
            stls_curl_depth--;
        }
        return goes_on;
    }
    if (conn->verdict == STLS_REJECT) {
        X509_STORE_CTX_set_error(store_ctx, x509_error(conn));
        return 0;
    }
    return goes_on;
}

static void judge_revocation(connection *conn, SSL *ssl)
{
    unsigned char *staples;
    size_t len;

    if (stls_staples_get1(ssl, &staples, &len) != STLS_OK
        || (len > 0 && stls_check_add_staples(conn->check, staples, len) == STLS_ERR_MEMORY)) {
        (void)stls_check_fail(conn->check, STLS_REASON_INTERNAL_MEMORY, NULL, (int64_t)time(NULL));
    }
    OPENSSL_free(staples);
    stls_curl_depth++;
    finish(conn, judge(conn));
    stls_curl_depth--;
}

/* libcurl makes its code of the first error in the queue. */
static void raise_rejection(void)
{
    ERR_raise(ERR_LIB_SSL, SSL_R_CERTIFICATE_VERIFY_FAILED);
}

static int status(SSL *ssl, void *arg)
{
    connection *conn = arg;

    if (conn->status_callback != NULL) {
        int own = conn->status_callback(ssl, conn->status_arg);
        if (own <= 0) {
            return own;
        }
    }
    if (sk_X509_num(SSL_get_peer_cert_chain(ssl)) > 0) {
        judge_trust(conn, ssl, SSL_get_peer_cert_chain(ssl));
    }
    if (conn->check != NULL) {
        judge_revocation(conn, ssl);
    } else if (conn->result == NULL) {
        /* An anonymous or pre-shared key cipher. */
        stls_curl_depth++;
        conn->result = stls_curl_failed(conn->setup->policy, STLS_REASON_CHAIN_INCOMPLETE,
                                        "no certificate was presented");
        stls_curl_tell(conn->curl, conn->result);
        stls_curl_depth--;
    }
    ERR_clear_error();
    if (conn->verdict == STLS_ACCEPT || !conn->rejects) {
        return 1;
    }
    SSL_set_verify_result(ssl, x509_error(conn));
    raise_rejection();
    return 0;
}

/*
 * No session is ever offered, whoever put one into the connection: on a resumed
 * one nothing of the above would be called.
 */
static void info(const SSL *ssl, int where, int value)
{
    connection *conn = connection_of(ssl);

    if (conn == NULL) {
        return;
    }
    if ((where & SSL_CB_HANDSHAKE_START) != 0 && conn->curl != NULL) {
        (void)SSL_set_session((SSL *)ssl, NULL);
        begin_anew(conn);
    }
    if ((where & SSL_CB_HANDSHAKE_DONE) != 0) {
        conn->curl = NULL;
    }
    /* Sending the alert through an HTTPS proxy has libcurl clear the queue. */
    if (where == SSL_CB_WRITE_ALERT && conn->rejects && conn->verdict == STLS_REJECT
        && ERR_peek_error() == 0) {
        raise_rejection();
    }
    if (conn->info_callback != NULL) {
        conn->info_callback(ssl, where, value);
    }
}

/* The program may have set any of these; ours come in front, and call what was there. */
static int hook(SSL_CTX *ctx, connection *conn)
{
    int (*own_verify)(int, X509_STORE_CTX *) = SSL_CTX_get_verify_callback(ctx);
    void (*own_info)(const SSL *, int, int) = SSL_CTX_get_info_callback(ctx);
    int (*own_status)(SSL *, void *) = NULL;

    (void)SSL_CTX_get_tlsext_status_cb(ctx, &own_status);
    if (own_verify != verify_step) {
        conn->own_verify = own_verify;
    }
    if (own_info != info) {
        conn->info_callback = own_info;
    }
    if (own_status != status) {
        conn->status_callback = own_status;
        (void)SSL_CTX_get_tlsext_status_arg(ctx, &conn->status_arg);
    }
    SSL_CTX_set_verify(ctx, conn->rejects ? SSL_VERIFY_PEER : SSL_CTX_get_verify_mode(ctx),
                       verify_step);
    SSL_CTX_set_tlsext_status_cb(ctx, status);
    SSL_CTX_set_tlsext_status_arg(ctx, conn);
    SSL_CTX_set_tlsext_status_type(ctx, TLSEXT_STATUSTYPE_ocsp);
    SSL_CTX_set_info_callback(ctx, info);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_new_cb(ctx, NULL);
    SSL_CTX_set_max_cert_list(ctx,
                              stls_policy_get_int(conn->setup->policy, STLS_KEY_MAX_CHAIN_BYTES)
                                  + SSL_MAX_CERT_LIST_DEFAULT);
    return conn->setup->anchors == NULL || stls_curl_replace_anchors(ctx, conn->setup->anchors);
}

CURLcode stls_curl_ssl_ctx(CURL *curl, void *ssl_ctx, void *data)
{
    const stls_curl_setup *setup = data;
    SSL_CTX *ctx = ssl_ctx;
    int is_proxy = (SSL_CTX_get_options(ctx) & STLS_CURL_PROXY_MARK) != 0;

    SSL_CTX_clear_options(ctx, STLS_CURL_PROXY_MARK);
    stls_curl_note_result(curl, NULL);
    if (setup->ssl_ctx_function != NULL) {
        CURLcode code = setup->ssl_ctx_function(curl, ssl_ctx, setup->ssl_ctx_data);
        if (code != CURLE_OK) {
            return code;
        }
    }
    (void)pthread_once(&once, take_slot);
    connection *conn = slot >= 0 ? SSL_CTX_get_ex_data(ctx, slot) : NULL;
    if (conn == NULL) {
        conn = calloc(1, sizeof(*conn));
        if (conn == NULL || slot < 0 || !SSL_CTX_set_ex_data(ctx, slot, conn)) {
            free(conn);
            return CURLE_OUT_OF_MEMORY;
        }
        conn->setup = stls_curl_setup_up_ref(setup);
        conn->curl = curl;
        conn->rejects = stls_policy_get_int(setup->policy, STLS_KEY_MODE) == 0;
        conn->is_proxy = is_proxy;
    }
    return hook(ctx, conn) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

/* ---- before the request ------------------------------------------------------------------ */

static void refuse(CURL *curl, const stls_curl_setup *setup, const char *detail)
{
    stls_result *result = stls_curl_failed(setup->policy, STLS_REASON_SESSION_UNVERIFIED, detail);

    stls_curl_tell(curl, result);
    stls_result_free(result);
}

/* A protocol over TLS: its name ends with S, but for plain WebSocket's. */
static int is_over_tls(CURL *curl)
{
    const char *scheme = NULL;

    if (curl_easy_getinfo(curl, CURLINFO_SCHEME, &scheme) != CURLE_OK || scheme == NULL) {
        return 1;
    }
    size_t len = strlen(scheme);
    return len > 2 && (scheme[len - 1] == 'S' || scheme[len - 1] == 's');
}

/* The crl_file has changed: the same peer is judged once more, before the connection is used. */
static void judge_again(CURL *curl, connection *conn, SSL *ssl)
{
    stls_result_free(conn->result);
    conn->result = NULL;
    conn->verdict = STLS_REJECT;
    conn->curl = curl;
    conn->check = new_check(conn, SSL_get_peer_cert_chain(ssl));
    if (conn->check != NULL) {
        judge_revocation(conn, ssl);
    }
    conn->curl = NULL;
    ERR_clear_error();
}

/* 1: this connection was judged as this handle demands, and the verdict stands. */
static int may_use(CURL *curl, const stls_curl_setup *setup)
{
    const struct curl_tlssessioninfo *tls = NULL;

    if (curl_easy_getinfo(curl, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || tls == NULL) {
        return 0;
    }
    if (tls->internals == NULL) {
        if (is_over_tls(curl)) {
            /* librtmp, for one, brings a TLS of its own. */
            refuse(curl, setup, "another library than libcurl did this connection's TLS");
            return 0;
        }
        return 1;
    }
    connection *conn = connection_of(tls->internals);
    if (conn == NULL) {
        refuse(curl, setup, "the connection was opened without these checks");
        return 0;
    }
    if (!stls_curl_setup_equal_demand(conn->setup, setup)) {
        refuse(curl, setup, "the connection was judged by another policy");
        return 0;
    }
    if (!stls_curl_crl_file_is_current(setup->policy, conn->crl_file)) {
        judge_again(curl, conn, tls->internals);
    }
    stls_curl_note_result(curl, conn->result);
    if (conn->verdict != STLS_ACCEPT) {
        return 0;
    }
    if (!stls_result_is_live(conn->result, (int64_t)time(NULL))) {
        refuse(curl, setup, "the connection's verdict has ended");
        return 0;
    }
    return 1;
}

int stls_curl_prereq(void *data, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
    const stls_curl_setup *setup = data;

    stls_curl_depth++;
    CURL *curl = stls_curl_handle_around(peer_ip);
    int ok = curl != NULL && may_use(curl, setup);
    stls_curl_depth--;
    if (!ok && stls_policy_get_int(setup->policy, STLS_KEY_MODE) == 0) {
        return CURL_PREREQFUNC_ABORT;
    }
    return setup->prereq_function != NULL ? setup->prereq_function(setup->prereq_data, peer_ip,
                                                                   local_ip, peer_port, local_port)
                                          : CURL_PREREQFUNC_OK;
}
