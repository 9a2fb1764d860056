/*
 * Between the end of the handshake and the verdict: the connection waits, and
 * then goes back to nginx, as handshaked if and only if it was accepted.
 */

#include "ngx_strict_tls.h"


static void ngx_strict_tls_wait(ngx_strict_tls_conn_t *conn);
static void ngx_strict_tls_wait_handler(ngx_event_t *ev);
static void ngx_strict_tls_resume(ngx_strict_tls_job_t *job);
static ngx_uint_t ngx_strict_tls_has_closed(ngx_connection_t *c);
static void ngx_strict_tls_conclude(ngx_strict_tls_conn_t *conn);


/* Called in place of nginx's handler, once, when the handshake is over. */

void
ngx_strict_tls_handler(ngx_connection_t *c)
{
    ngx_strict_tls_conn_t  *conn;

    conn = ngx_strict_tls_get_conn(c);

    c->ssl->handler = conn->handler;

    if (!c->ssl->handshaked) {
        /* something failed after the handshake */
        conn->phase = ngx_strict_tls_rejected;
        conn->handler(c);
        return;
    }

    /* until the verdict is out this is no connection to send anything on */
    c->ssl->handshaked = 0;

    if (ngx_strict_tls_judge(conn) == STLS_PENDING) {
        ngx_strict_tls_wait(conn);
        return;
    }

    ngx_strict_tls_conclude(conn);
}


/* From here on the time is the job's: it always ends within fetch_total_ms. */

static void
ngx_strict_tls_wait(ngx_strict_tls_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->connection;

    conn->job->handler = ngx_strict_tls_resume;
    conn->job->timer.cancelable = 0;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    c->read->handler = ngx_strict_tls_wait_handler;
    c->write->handler = ngx_strict_tls_wait_handler;

    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, c->log, 0, "strict tls suspended");
}


static void
ngx_strict_tls_wait_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "strict tls wait handler: write:%d", ev->write);

    /* takes a level-triggered event off, which else would come at once again */

    if (ev->write) {
        (void) ngx_handle_write_event(c->write, 0);

    } else {
        (void) ngx_handle_read_event(c->read, 0);
    }
}


static void
ngx_strict_tls_resume(ngx_strict_tls_job_t *job)
{
    ngx_strict_tls_conn_t  *conn;

    conn = job->data;

    ngx_strict_tls_take_job_result(conn);
    ERR_clear_error();

    if (ngx_strict_tls_outdated(conn)
        && ngx_strict_tls_judge(conn) == STLS_PENDING)
    {
        ngx_strict_tls_wait(conn);
        return;
    }

    /*
     * The connection has been idle: the peer may have closed it.  nginx tries
     * again then, as it does where a kept-alive connection fails; once, since
     * this peer may do so each time.
     */

    if (conn->owner
        && conn->host->retry
        && !conn->owner->retried
        && conn->result
        && stls_result_verdict(conn->result) == STLS_ACCEPT
        && ngx_strict_tls_has_closed(conn->connection))
    {
        conn->closed = 1;
        conn->owner->retried = 1;
        conn->host->retry(conn);

        ngx_log_error(NGX_LOG_INFO, conn->connection->log, 0,
                      "strict-tls: the peer closed the connection while its "
                      "certificates were judged, trying again");
    }

    ngx_strict_tls_conclude(conn);
}


static ngx_uint_t
ngx_strict_tls_has_closed(ngx_connection_t *c)
{
    char  byte;

    return c->read->pending_eof
           || recv(c->fd, &byte, 1, MSG_PEEK) == 0;
}


/* The one place from which a strict peer gets back to nginx. */

static void
ngx_strict_tls_conclude(ngx_strict_tls_conn_t *conn)
{
    ngx_uint_t                 accept;
    ngx_connection_t          *c;
    ngx_connection_handler_pt  handler;

    c = conn->connection;
    handler = conn->handler;

    if (conn->owner == NULL) {
        /* the owner is gone, and with it whoever could be told */
        conn->phase = ngx_strict_tls_rejected;
        return;
    }

    ngx_strict_tls_stock_refuse(conn);
    ngx_strict_tls_record(conn);

    accept = !conn->closed && ngx_strict_tls_accepts(conn);

    conn->owner->conn = NULL;
    conn->owner = NULL;

    if (accept) {
        conn->phase = ngx_strict_tls_accepted;
        c->ssl->handshaked = 1;

        if (conn->save_session) {
            c->ssl->save_session = ngx_strict_tls_session_save;

            /* TLS 1.3 tickets come later, each by that hook */

            if (SSL_version(c->ssl->connection) < TLS1_3_VERSION) {
                ngx_strict_tls_session_save(c);
            }
        }

    } else {
        conn->phase = ngx_strict_tls_rejected;
        c->ssl->handshaked = 0;

        ngx_strict_tls_session_drop(conn);
    }

    /* may free the connection and everything with it */

    handler(c);
}
