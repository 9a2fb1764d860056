/*
 * TLS sessions of strict connections.  nginx keeps one per peer, whoever made
 * it; here each belongs to the policy, name and identity under which its peer
 * was accepted, and lives no longer than that verdict.
 */

#include "ngx_http_strict_tls.h"


typedef struct {
    ngx_str_node_t                  node;
    ngx_queue_t                     queue;
    u_char                          id[STLS_ID_LEN];

    SSL_SESSION                    *session;
    stls_result                    *result;
    u_char                          key[STLS_ID_LEN];      /* of verdicts */
    unsigned                        has_key:1;
} ngx_http_strict_tls_session_t;


static ngx_http_strict_tls_session_t *ngx_http_strict_tls_session_find(
    ngx_http_strict_tls_worker_t *worker, u_char *id);
static void ngx_http_strict_tls_session_free(
    ngx_http_strict_tls_worker_t *worker, ngx_http_strict_tls_session_t *s);


/* Everything that must be equal for a verdict to be inherited. */

void
ngx_http_strict_tls_session_key(ngx_http_strict_tls_conn_t *conn,
    ngx_peer_connection_t *pc)
{
    u_char      *p, *buf, stack[512];
    size_t       len, lens[3];
    ngx_str_t   *name, *client;

    name = &conn->name;
    client = &conn->client;

    lens[0] = pc->socklen;
    lens[1] = name->len;
    lens[2] = client->len;

    len = 2 * STLS_ID_LEN + sizeof(SSL_CTX *) + sizeof(lens)
          + lens[0] + lens[1] + lens[2];

    buf = stack;

    if (len > sizeof(stack)) {
        buf = ngx_alloc(len, conn->connection->log);
        if (buf == NULL) {
            conn->save_session = 0;
            return;
        }
    }

    p = ngx_cpymem(buf, stls_policy_get0_id(conn->conf->policy), STLS_ID_LEN);
    p = ngx_cpymem(p, stls_anchors_get0_id(conn->conf->anchors), STLS_ID_LEN);
    p = ngx_cpymem(p, &conn->ssl_ctx, sizeof(SSL_CTX *));
    p = ngx_cpymem(p, lens, sizeof(lens));
    p = ngx_cpymem(p, pc->sockaddr, lens[0]);
    p = ngx_cpymem(p, name->data, lens[1]);
    p = ngx_cpymem(p, client->data, lens[2]);

    if (EVP_Digest(buf, p - buf, conn->session_key, NULL, EVP_sha256(), NULL)
        != 1)
    {
        conn->save_session = 0;
    }

    if (buf != stack) {
        ngx_free(buf);
    }
}


/*
 * Called before the ClientHello is made.  A duplicate is offered: OpenSSL
 * marks the session of a connection as not resumable in many ways, and the
 * stored one shall serve the next connection too.
 */

void
ngx_http_strict_tls_session_offer(ngx_http_strict_tls_conn_t *conn,
    ngx_ssl_conn_t *ssl_conn)
{
    time_t                          until;
    SSL_SESSION                    *dup;
    ngx_http_strict_tls_worker_t   *worker;
    ngx_http_strict_tls_session_t  *s;

    worker = ngx_http_strict_tls_get_worker(conn->main_conf);

    s = ngx_http_strict_tls_session_find(worker, conn->session_key);
    if (s == NULL) {
        return;
    }

    until = ngx_time() + NGX_HTTP_STRICT_TLS_SESSION_MARGIN;

    if (stls_result_valid_until_s(s->result) <= until
        && (!s->has_key
            || ngx_http_strict_tls_verdict_renew(worker, s->key, &s->result,
                                                 until)
               != NGX_OK))
    {
        ngx_http_strict_tls_session_free(worker, s);
        return;
    }

    if (!SSL_SESSION_is_resumable(s->session)) {
        ngx_http_strict_tls_session_free(worker, s);
        return;
    }

    dup = SSL_SESSION_dup(s->session);
    if (dup == NULL) {
        return;
    }

    if (SSL_set_session(ssl_conn, dup) == 1) {
        conn->inherited = stls_result_up_ref(s->result);
        conn->has_staple_key = s->has_key;
        ngx_memcpy(conn->key, s->key, STLS_ID_LEN);

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, conn->connection->log, 0,
                       "strict tls offers session %p", s->session);
    }

    SSL_SESSION_free(dup);
}


/*
 * nginx's own hook type: called for each TLS 1.3 ticket, whichever request the
 * connection serves by then or none at all, hence nothing here looks at c->data.
 */

void
ngx_http_strict_tls_session_save(ngx_connection_t *c)
{
    uint32_t                        hash;
    SSL_SESSION                    *session;
    ngx_http_strict_tls_conn_t     *conn;
    ngx_http_strict_tls_worker_t   *worker;
    ngx_http_strict_tls_session_t  *s;

    conn = ngx_http_strict_tls_get_conn(c);

    if (conn == NULL
        || conn->phase != ngx_http_strict_tls_accepted
        || !conn->save_session
        || conn->result == NULL
        || conn->main_conf->max_sessions == 0)
    {
        return;
    }

    worker = ngx_http_strict_tls_get_worker(conn->main_conf);

    ngx_http_strict_tls_sync(worker);

    if (ngx_http_strict_tls_cache_revoked_since(conn->main_conf->zone,
                                                conn->epoch, conn->result))
    {
        return;
    }

    session = ngx_ssl_get_session(c);
    if (session == NULL) {
        return;
    }

    s = ngx_http_strict_tls_session_find(worker, conn->session_key);

    if (s) {
        ngx_http_strict_tls_session_free(worker, s);

    } else if (worker->nsessions >= conn->main_conf->max_sessions) {
        s = ngx_queue_data(ngx_queue_last(&worker->sessions_lru),
                           ngx_http_strict_tls_session_t, queue);
        ngx_http_strict_tls_session_free(worker, s);
    }

    s = ngx_calloc(sizeof(ngx_http_strict_tls_session_t), c->log);
    if (s == NULL) {
        ngx_ssl_free_session(session);
        return;
    }

    s->session = session;
    s->result = stls_result_up_ref(conn->result);
    s->has_key = conn->has_staple_key;
    ngx_memcpy(s->key, conn->key, STLS_ID_LEN);
    ngx_memcpy(s->id, conn->session_key, STLS_ID_LEN);

    ngx_memcpy(&hash, s->id, sizeof(uint32_t));
    s->node.node.key = hash;
    s->node.str.data = s->id;
    s->node.str.len = STLS_ID_LEN;

    ngx_rbtree_insert(&worker->sessions, &s->node.node);
    ngx_queue_insert_head(&worker->sessions_lru, &s->queue);
    worker->nsessions++;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "strict tls keeps session %p", session);
}


void
ngx_http_strict_tls_session_drop(ngx_http_strict_tls_conn_t *conn)
{
    ngx_http_strict_tls_worker_t   *worker;
    ngx_http_strict_tls_session_t  *s;

    if (!conn->save_session) {
        return;
    }

    worker = ngx_http_strict_tls_get_worker(conn->main_conf);

    s = ngx_http_strict_tls_session_find(worker, conn->session_key);

    if (s) {
        ngx_http_strict_tls_session_free(worker, s);
    }
}


void
ngx_http_strict_tls_session_drop_question(ngx_http_strict_tls_worker_t *worker,
    const u_char *question)
{
    ngx_queue_t                    *q, *next;
    ngx_http_strict_tls_session_t  *s;

    for (q = ngx_queue_head(&worker->sessions_lru);
         q != ngx_queue_sentinel(&worker->sessions_lru);
         q = next)
    {
        next = ngx_queue_next(q);
        s = ngx_queue_data(q, ngx_http_strict_tls_session_t, queue);

        if (ngx_http_strict_tls_rests_on(s->result, question)) {
            ngx_http_strict_tls_session_free(worker, s);
        }
    }
}


void
ngx_http_strict_tls_session_clear(ngx_http_strict_tls_worker_t *worker)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&worker->sessions_lru)) {
        q = ngx_queue_head(&worker->sessions_lru);

        ngx_http_strict_tls_session_free(worker,
                     ngx_queue_data(q, ngx_http_strict_tls_session_t, queue));
    }
}


static ngx_http_strict_tls_session_t *
ngx_http_strict_tls_session_find(ngx_http_strict_tls_worker_t *worker,
    u_char *id)
{
    uint32_t                        hash;
    ngx_str_t                       name;
    ngx_http_strict_tls_session_t  *s;

    ngx_memcpy(&hash, id, sizeof(uint32_t));

    name.data = id;
    name.len = STLS_ID_LEN;

    s = (ngx_http_strict_tls_session_t *)
            ngx_str_rbtree_lookup(&worker->sessions, &name, hash);

    if (s) {
        ngx_queue_remove(&s->queue);
        ngx_queue_insert_head(&worker->sessions_lru, &s->queue);
    }

    return s;
}


static void
ngx_http_strict_tls_session_free(ngx_http_strict_tls_worker_t *worker,
    ngx_http_strict_tls_session_t *s)
{
    ngx_queue_remove(&s->queue);
    ngx_rbtree_delete(&worker->sessions, &s->node.node);
    worker->nsessions--;

    ngx_ssl_free_session(s->session);
    stls_result_free(s->result);

    ngx_free(s);
}
