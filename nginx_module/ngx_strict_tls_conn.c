/*
 * What is known about one strict connection: made before its
 * handshake begins, freed with its SSL object.
 */

#include "ngx_strict_tls.h"


static ngx_int_t ngx_strict_tls_copy(ngx_str_t *dst, ngx_str_t *src,
    ngx_log_t *log);
static void ngx_strict_tls_free_conn(void *parent, void *ptr,
    CRYPTO_EX_DATA *ad, int index, long argl, void *argp);


static int  ngx_strict_tls_ssl_index = -1;


ngx_int_t
ngx_strict_tls_conn_init(ngx_log_t *log)
{
    if (ngx_strict_tls_ssl_index == -1) {
        ngx_strict_tls_ssl_index =
                    SSL_get_ex_new_index(0, NULL, NULL, NULL,
                                         ngx_strict_tls_free_conn);
    }

    if (ngx_strict_tls_ssl_index == -1) {
        ngx_ssl_error(NGX_LOG_ALERT, log, 0, "SSL_get_ex_new_index() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* NULL for connections that are not strict. */

ngx_strict_tls_conn_t *
ngx_strict_tls_ssl_conn(SSL *ssl)
{
    return SSL_get_ex_data(ssl, ngx_strict_tls_ssl_index);
}


ngx_strict_tls_conn_t *
ngx_strict_tls_get_conn(ngx_connection_t *c)
{
    return ngx_strict_tls_ssl_conn(c->ssl->connection);
}


ngx_strict_tls_conn_t *
ngx_strict_tls_create_conn(ngx_connection_t *c,
    const ngx_strict_tls_host_t *host, ngx_strict_tls_scope_t *scope)
{
    ngx_strict_tls_conn_t    *conn;
    ngx_strict_tls_worker_t  *worker;

    conn = ngx_calloc(sizeof(ngx_strict_tls_conn_t), c->log);
    if (conn == NULL) {
        return NULL;
    }

    conn->connection = c;
    conn->host = host;
    conn->scope = scope;
    conn->main_conf = scope->main_conf;
    conn->ssl_ctx = c->ssl->session_ctx;
    conn->save_session = (c->ssl->save_session != NULL);

    worker = ngx_strict_tls_get_worker(conn->main_conf);

    ngx_strict_tls_sync(worker);
    conn->epoch = worker->epoch;
    conn->crl_file_generation = ngx_strict_tls_crl_file_generation(scope);

    if (host->begin(conn) != NGX_OK
        || SSL_set_ex_data(c->ssl->connection, ngx_strict_tls_ssl_index, conn)
           == 0)
    {
        ngx_strict_tls_free_conn(NULL, conn, NULL, 0, 0, NULL);
        return NULL;
    }

    return conn;
}


void
ngx_strict_tls_set_owner(ngx_strict_tls_conn_t *conn,
    ngx_strict_tls_owner_t *owner)
{
    if (owner->conn) {
        ngx_strict_tls_cancel(owner->conn);
    }

    conn->owner = owner;
    owner->conn = conn;
}


/* `client` names the own certificate where that varies, or is empty. */

ngx_int_t
ngx_strict_tls_set_upstream(ngx_strict_tls_conn_t *conn, ngx_str_t *name,
    ngx_str_t *client, ngx_peer_connection_t *pc)
{
    ngx_log_t  *log;

    log = conn->connection->log;

    if (ngx_strict_tls_copy(&conn->name, name, log) != NGX_OK
        || ngx_strict_tls_copy(&conn->client, client, log) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (pc->name && ngx_strict_tls_copy(&conn->addr, pc->name, log) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (conn->save_session && ngx_strict_tls_session_key(conn, pc) != NGX_OK) {
        conn->save_session = 0;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_strict_tls_copy(ngx_str_t *dst, ngx_str_t *src, ngx_log_t *log)
{
    dst->data = ngx_alloc(src->len + 1, log);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    if (src->len) {
        ngx_memcpy(dst->data, src->data, src->len);
    }

    dst->data[src->len] = '\0';
    dst->len = src->len;

    return NGX_OK;
}


/*
 * A client of a server with this scope.  `certs`, leaf first, may be NULL:
 * nobody knows them any more.
 */

ngx_strict_tls_conn_t *
ngx_strict_tls_create_client(ngx_connection_t *c, ngx_strict_tls_scope_t *scope,
    STACK_OF(X509) *certs)
{
    SSL                      *ssl;
    ngx_strict_tls_conn_t    *conn;
    ngx_strict_tls_worker_t  *worker;

    ssl = c->ssl->connection;

    conn = ngx_calloc(sizeof(ngx_strict_tls_conn_t), c->log);
    if (conn == NULL) {
        return NULL;
    }

    conn->connection = c;
    conn->scope = scope;
    conn->main_conf = scope->main_conf;
    conn->ssl_ctx = c->ssl->session_ctx;
    conn->crl_file_generation = ngx_strict_tls_crl_file_generation(scope);

    ngx_queue_init(&conn->waiters);

    worker = ngx_strict_tls_get_worker(conn->main_conf);

    ngx_strict_tls_sync(worker);
    conn->epoch = worker->epoch;

    if (certs) {
        conn->certs = X509_chain_up_ref(certs);
        if (conn->certs == NULL) {
            goto failed;
        }
    }

    if (ngx_strict_tls_copy(&conn->addr, &c->addr_text, c->log) != NGX_OK) {
        goto failed;
    }

    conn->next = ngx_strict_tls_ssl_conn(ssl);

    if (SSL_set_ex_data(ssl, ngx_strict_tls_ssl_index, conn) == 0) {
        conn->next = NULL;
        goto failed;
    }

    return conn;

failed:

    ngx_strict_tls_free_conn(NULL, conn, NULL, 0, 0, NULL);

    return NULL;
}


ngx_int_t
ngx_strict_tls_set_session_key(ngx_strict_tls_conn_t *conn, const u_char *key,
    size_t len)
{
    ngx_str_t  name;

    if (conn->session_key.data) {
        ngx_free(conn->session_key.data);
        ngx_str_null(&conn->session_key);
    }

    name.data = (u_char *) key;
    name.len = len;

    return ngx_strict_tls_copy(&conn->session_key, &name,
                               conn->connection->log);
}


/* Nobody waits for the verdict any more. */

void
ngx_strict_tls_cancel(ngx_strict_tls_conn_t *conn)
{
    if (conn->owner) {
        conn->owner->conn = NULL;
        conn->owner = NULL;
    }

    if (conn->phase < ngx_strict_tls_accepted) {
        conn->phase = ngx_strict_tls_rejected;
    }

    if (conn->job) {
        ngx_strict_tls_job_leave(conn->job);
        conn->job = NULL;
    }
}


/*
 * The owner has ended.  nginx has closed the connection by then; the rest is
 * for the case that it has not.
 */

void
ngx_strict_tls_leave_conn(ngx_strict_tls_owner_t *owner)
{
    if (owner->conn) {
        ngx_strict_tls_cancel(owner->conn);
    }

    stls_result_free(owner->result);
    owner->result = NULL;
}


void
ngx_strict_tls_set_result(ngx_strict_tls_owner_t *owner, stls_result *result)
{
    if (owner->result == result) {
        return;
    }

    if (result) {
        (void) stls_result_up_ref(result);
    }

    stls_result_free(owner->result);
    owner->result = result;
}


/* SSL_free() calls this, with NULL for connections that are not strict. */

static void
ngx_strict_tls_free_conn(void *parent, void *ptr, CRYPTO_EX_DATA *ad,
    int index, long argl, void *argp)
{
    ngx_strict_tls_conn_t  *conn;

    conn = ptr;

    if (conn == NULL) {
        return;
    }

    ngx_strict_tls_free_conn(NULL, conn->next, NULL, 0, 0, NULL);

    ngx_strict_tls_cancel(conn);

    /* in stream they outlive it: their pool goes after the connection */

    while (conn->waiters.next && !ngx_queue_empty(&conn->waiters)) {
        ngx_strict_tls_client_leave(
            ngx_queue_data(ngx_queue_head(&conn->waiters),
                           ngx_strict_tls_waiter_t, queue));
    }

    sk_X509_pop_free(conn->certs, X509_free);

    stls_check_free(conn->check);
    stls_result_free(conn->result);
    stls_result_free(conn->inherited);

    if (conn->name.data) {
        ngx_free(conn->name.data);
    }

    if (conn->client.data) {
        ngx_free(conn->client.data);
    }

    if (conn->addr.data) {
        ngx_free(conn->addr.data);
    }

    if (conn->session_key.data) {
        ngx_free(conn->session_key.data);
    }

    ngx_free(conn);
}
