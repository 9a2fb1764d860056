/*
 * What is known about one strict upstream connection: made before its
 * handshake begins, freed with its SSL object.
 */

#include "ngx_http_strict_tls.h"


static ngx_int_t ngx_http_strict_tls_copy(ngx_str_t *dst, ngx_str_t *src,
    ngx_log_t *log);
static void ngx_http_strict_tls_free_conn(void *parent, void *ptr,
    CRYPTO_EX_DATA *ad, int index, long argl, void *argp);


static int  ngx_http_strict_tls_ssl_index = -1;


ngx_int_t
ngx_http_strict_tls_conn_init(ngx_log_t *log)
{
    if (ngx_http_strict_tls_ssl_index == -1) {
        ngx_http_strict_tls_ssl_index =
                    SSL_get_ex_new_index(0, NULL, NULL, NULL,
                                         ngx_http_strict_tls_free_conn);
    }

    if (ngx_http_strict_tls_ssl_index == -1) {
        ngx_ssl_error(NGX_LOG_ALERT, log, 0, "SSL_get_ex_new_index() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* NULL for connections that are not strict. */

ngx_http_strict_tls_conn_t *
ngx_http_strict_tls_ssl_conn(SSL *ssl)
{
    return SSL_get_ex_data(ssl, ngx_http_strict_tls_ssl_index);
}


ngx_http_strict_tls_conn_t *
ngx_http_strict_tls_get_conn(ngx_connection_t *c)
{
    return ngx_http_strict_tls_ssl_conn(c->ssl->connection);
}


ngx_http_strict_tls_conn_t *
ngx_http_strict_tls_create_conn(ngx_connection_t *c, ngx_http_request_t *r,
    ngx_http_strict_tls_loc_conf_t *conf)
{
    ngx_str_t                      client;
    ngx_http_strict_tls_ctx_t     *ctx;
    ngx_http_strict_tls_conn_t    *conn;
    ngx_http_strict_tls_worker_t  *worker;

    ctx = ngx_http_strict_tls_add_ctx(r);
    if (ctx == NULL) {
        return NULL;
    }

    conn = ngx_calloc(sizeof(ngx_http_strict_tls_conn_t), c->log);
    if (conn == NULL) {
        return NULL;
    }

    conn->connection = c;
    conn->conf = conf;
    conn->main_conf = ngx_http_get_module_main_conf(r,
                                                  ngx_http_strict_tls_module);
    conn->ssl_ctx = c->ssl->session_ctx;

    worker = ngx_http_strict_tls_get_worker(conn->main_conf);

    ngx_http_strict_tls_sync(worker);
    conn->epoch = worker->epoch;

    if (ngx_http_strict_tls_client_cert(r, &client) != NGX_OK
        || ngx_http_strict_tls_copy(&conn->name, &r->upstream->ssl_name,
                                    c->log)
           != NGX_OK
        || ngx_http_strict_tls_copy(&conn->client, &client, c->log) != NGX_OK
        || SSL_set_ex_data(c->ssl->connection, ngx_http_strict_tls_ssl_index,
                           conn)
           == 0)
    {
        ngx_http_strict_tls_free_conn(NULL, conn, NULL, 0, 0, NULL);
        return NULL;
    }

    if (ctx->conn) {
        ngx_http_strict_tls_cancel(ctx->conn);
    }

    conn->ctx = ctx;
    ctx->conn = conn;

    return conn;
}


static ngx_int_t
ngx_http_strict_tls_copy(ngx_str_t *dst, ngx_str_t *src, ngx_log_t *log)
{
    dst->data = ngx_alloc(src->len + 1, log);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    if (src->len) {
        ngx_memcpy(dst->data, src->data, src->len);
    }

    dst->len = src->len;

    return NGX_OK;
}


/*
 * The request has ended.  nginx has closed the connection by then; this is for
 * the case that it has not.
 */

void
ngx_http_strict_tls_cancel(ngx_http_strict_tls_conn_t *conn)
{
    if (conn->ctx) {
        conn->ctx->conn = NULL;
        conn->ctx = NULL;
    }

    if (conn->phase < ngx_http_strict_tls_accepted) {
        conn->phase = ngx_http_strict_tls_rejected;
    }

    if (conn->job) {
        ngx_http_strict_tls_job_leave(conn->job);
        conn->job = NULL;
    }
}


/* SSL_free() calls this, with NULL for connections that are not strict. */

static void
ngx_http_strict_tls_free_conn(void *parent, void *ptr, CRYPTO_EX_DATA *ad,
    int index, long argl, void *argp)
{
    ngx_http_strict_tls_conn_t  *conn;

    conn = ptr;

    if (conn == NULL) {
        return;
    }

    ngx_http_strict_tls_cancel(conn);

    stls_check_free(conn->check);
    stls_result_free(conn->result);
    stls_result_free(conn->inherited);

    if (conn->name.data) {
        ngx_free(conn->name.data);
    }

    if (conn->client.data) {
        ngx_free(conn->client.data);
    }

    if (conn->session_key.data) {
        ngx_free(conn->session_key.data);
    }

    ngx_free(conn);
}
