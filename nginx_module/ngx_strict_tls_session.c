/*
 * TLS sessions of strict connections.  nginx keeps one per peer, whoever made
 * it; here each belongs to the policy, name and identity under which its peer
 * was accepted, and lives no longer than that verdict.
 */

#include "ngx_strict_tls.h"


typedef struct {
    ngx_str_node_t                  node;
    ngx_queue_t                     queue;

    SSL_SESSION                    *session;   /* NULL: a client's ... */
    STACK_OF(X509)                 *certs;     /* ... whose chain this is */
    stls_result                    *result;
    u_char                          key[STLS_ID_LEN];      /* of verdicts */
    unsigned                        has_key:1;
} ngx_strict_tls_session_t;


static ngx_strict_tls_session_t *ngx_strict_tls_session_add(
    ngx_strict_tls_conn_t *conn);
static ngx_strict_tls_session_t *ngx_strict_tls_session_find(
    ngx_strict_tls_worker_t *worker, ngx_str_t *key);
static void ngx_strict_tls_session_free(
    ngx_strict_tls_worker_t *worker, ngx_strict_tls_session_t *s);


/*
 * Everything that must be equal for a verdict to be inherited.  Equal policies
 * and anchors are one object each, see ngx_strict_tls_build().
 */

ngx_int_t
ngx_strict_tls_session_key(ngx_strict_tls_conn_t *conn,
    ngx_peer_connection_t *pc)
{
    u_char  *p;
    size_t   lens[3];
    void    *objects[4];

    objects[0] = conn->scope->policy;
    objects[1] = conn->scope->anchors;
    objects[2] = conn->ssl_ctx;
    objects[3] = (void *) (uintptr_t) conn->crl_file_generation;

    lens[0] = pc->socklen;
    lens[1] = conn->name.len;
    lens[2] = conn->client.len;

    p = ngx_alloc(sizeof(objects) + sizeof(lens) + lens[0] + lens[1] + lens[2],
                  conn->connection->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    conn->session_key.data = p;

    p = ngx_cpymem(p, objects, sizeof(objects));
    p = ngx_cpymem(p, lens, sizeof(lens));
    p = ngx_cpymem(p, pc->sockaddr, lens[0]);
    p = ngx_cpymem(p, conn->name.data, lens[1]);
    p = ngx_cpymem(p, conn->client.data, lens[2]);

    conn->session_key.len = p - conn->session_key.data;

    return NGX_OK;
}


/*
 * Called before the ClientHello is made.  A duplicate is offered: OpenSSL
 * marks the session of a connection as not resumable in many ways, and the
 * stored one shall serve the next connection too.
 */

void
ngx_strict_tls_session_offer(ngx_strict_tls_conn_t *conn,
    ngx_ssl_conn_t *ssl_conn)
{
    SSL_SESSION               *dup;
    ngx_strict_tls_worker_t   *worker;
    ngx_strict_tls_session_t  *s;

    worker = ngx_strict_tls_get_worker(conn->main_conf);

    s = ngx_strict_tls_session_find(worker, &conn->session_key);
    if (s == NULL) {
        return;
    }

    if (!stls_result_may_resume(s->result, ngx_time()) && s->has_key) {
        ngx_strict_tls_verdict_renew(worker, s->key, &s->result);
    }

    if (!stls_result_may_resume(s->result, ngx_time())
        || !SSL_SESSION_is_resumable(s->session))
    {
        ngx_strict_tls_session_free(worker, s);
        return;
    }

    dup = SSL_SESSION_dup(s->session);
    if (dup == NULL) {
        return;
    }

    if (SSL_set_session(ssl_conn, dup) == 1) {
        conn->offered = dup;
        conn->inherited = stls_result_up_ref(s->result);
        conn->has_staple_key = s->has_key;
        ngx_memcpy(conn->key, s->key, STLS_ID_LEN);

        ngx_log_debug1(NGX_LOG_DEBUG_EVENT, conn->connection->log, 0,
                       "strict tls offers session %p", s->session);
    }

    SSL_SESSION_free(dup);
}


/*
 * nginx's own hook type: called for each TLS 1.3 ticket, whichever request the
 * connection serves by then or none at all, hence nothing here looks at c->data.
 */

void
ngx_strict_tls_session_save(ngx_connection_t *c)
{
    SSL_SESSION               *session;
    ngx_strict_tls_conn_t     *conn;
    ngx_strict_tls_worker_t   *worker;
    ngx_strict_tls_session_t  *s;

    conn = ngx_strict_tls_get_conn(c);

    if (conn == NULL
        || conn->phase != ngx_strict_tls_accepted
        || !conn->save_session
        || conn->result == NULL
        || stls_result_is_local(conn->result)
        || conn->main_conf->max_sessions == 0)
    {
        return;
    }

    worker = ngx_strict_tls_get_worker(conn->main_conf);

    ngx_strict_tls_sync(worker);

    /* a reject is one of report mode, which keeps sessions as nginx does */

    if (stls_result_reason(conn->result) == STLS_REASON_NONE
        && ngx_strict_tls_cache_revoked_since(conn->main_conf->zone,
                                              conn->epoch, conn->result))
    {
        return;
    }

    session = ngx_ssl_get_session(c);
    if (session == NULL) {
        return;
    }

    if (session == conn->offered) {
        /* resumed below TLS 1.3 without a new ticket: stored already */
        ngx_ssl_free_session(session);
        return;
    }

    s = ngx_strict_tls_session_add(conn);

    if (s == NULL) {
        ngx_ssl_free_session(session);
        return;
    }

    s->session = session;

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "strict tls keeps session %p", session);
}


/* In place of what there was under conn->session_key. */

static ngx_strict_tls_session_t *
ngx_strict_tls_session_add(ngx_strict_tls_conn_t *conn)
{
    ngx_str_t                 *key;
    ngx_strict_tls_worker_t   *worker;
    ngx_strict_tls_session_t  *s;

    key = &conn->session_key;
    worker = ngx_strict_tls_get_worker(conn->main_conf);

    s = ngx_strict_tls_session_find(worker, key);

    if (s) {
        ngx_strict_tls_session_free(worker, s);

    } else if (worker->nsessions >= conn->main_conf->max_sessions) {
        s = ngx_queue_data(ngx_queue_last(&worker->sessions_lru),
                           ngx_strict_tls_session_t, queue);
        ngx_strict_tls_session_free(worker, s);
    }

    s = ngx_calloc(sizeof(ngx_strict_tls_session_t) + key->len,
                   conn->connection->log);
    if (s == NULL) {
        return NULL;
    }

    s->result = stls_result_up_ref(conn->result);
    s->has_key = conn->has_staple_key;
    ngx_memcpy(s->key, conn->key, STLS_ID_LEN);

    s->node.node.key = ngx_murmur_hash2(key->data, key->len);
    s->node.str.data = (u_char *) (s + 1);
    s->node.str.len = key->len;
    ngx_memcpy(s->node.str.data, key->data, key->len);

    ngx_rbtree_insert(&worker->sessions, &s->node.node);
    ngx_queue_insert_head(&worker->sessions_lru, &s->queue);
    worker->nsessions++;

    return s;
}


/*
 * A client's session is kept by nginx, or by the client in a ticket, and names
 * the verdict's key.  What it lacks is the chain: that is kept here.
 */

void
ngx_strict_tls_session_keep_client(ngx_strict_tls_conn_t *conn)
{
    ngx_strict_tls_session_t  *s;

    if (conn->certs == NULL
        || conn->session_key.len == 0
        || stls_result_is_local(conn->result)
        || conn->main_conf->max_sessions == 0
        || ngx_strict_tls_cache_revoked_since(conn->main_conf->zone,
                                              conn->epoch, conn->result))
    {
        return;
    }

    s = ngx_strict_tls_session_add(conn);

    if (s == NULL) {
        return;
    }

    s->certs = X509_chain_up_ref(conn->certs);

    if (s->certs == NULL) {
        ngx_strict_tls_session_free(
                            ngx_strict_tls_get_worker(conn->main_conf), s);
    }
}


/*
 * The client that has got a session with this key, as accepted under `scope`:
 * NULL unless that verdict is alive.
 */

ngx_strict_tls_conn_t *
ngx_strict_tls_session_find_client(ngx_connection_t *c,
    ngx_strict_tls_scope_t *scope, const u_char *key, size_t len)
{
    u_char                     own[STLS_ID_LEN];
    ngx_str_t                  name;
    STACK_OF(X509)            *certs;
    ngx_strict_tls_conn_t     *conn;
    ngx_strict_tls_worker_t   *worker;
    ngx_strict_tls_session_t  *s;

    worker = ngx_strict_tls_get_worker(scope->main_conf);

    ngx_strict_tls_sync(worker);

    name.data = (u_char *) key;
    name.len = len;

    s = ngx_strict_tls_session_find(worker, &name);

    if (s == NULL || s->certs == NULL) {
        return NULL;
    }

    /* the same policy, anchors, role and CRL file as well */

    ngx_str_null(&name);

    if (len != STLS_ID_LEN
        || ngx_strict_tls_key(scope, &name, s->certs, own) != NGX_OK
        || ngx_memcmp(own, key, STLS_ID_LEN) != 0)
    {
        return NULL;
    }

    /* the chain is at hand, so it needs no margin: it may be judged anew */

    if (!stls_result_is_live(s->result, ngx_time()) && s->has_key) {
        ngx_strict_tls_verdict_renew(worker, s->key, &s->result);
    }

    if (!stls_result_is_live(s->result, ngx_time())) {
        ngx_strict_tls_session_free(worker, s);
        return NULL;
    }

    certs = X509_chain_up_ref(s->certs);
    if (certs == NULL) {
        return NULL;
    }

    conn = ngx_strict_tls_create_client(c, scope, certs);

    sk_X509_pop_free(certs, X509_free);

    if (conn == NULL
        || ngx_strict_tls_set_session_key(conn, key, len) != NGX_OK)
    {
        return NULL;
    }

    /* it may just have been learned of a revocation that ends the session */

    name.data = (u_char *) key;
    name.len = len;

    s = ngx_strict_tls_session_find(worker, &name);

    if (s == NULL || stls_result_verdict(s->result) != STLS_ACCEPT) {
        return NULL;
    }

    conn->result = stls_result_up_ref(s->result);
    conn->phase = ngx_strict_tls_accepted;
    conn->has_staple_key = s->has_key;
    ngx_memcpy(conn->key, s->key, STLS_ID_LEN);

    return conn;
}


void
ngx_strict_tls_session_drop(ngx_strict_tls_conn_t *conn)
{
    ngx_strict_tls_worker_t   *worker;
    ngx_strict_tls_session_t  *s;

    if (!conn->save_session) {
        return;
    }

    worker = ngx_strict_tls_get_worker(conn->main_conf);

    s = ngx_strict_tls_session_find(worker, &conn->session_key);

    if (s) {
        ngx_strict_tls_session_free(worker, s);
    }
}


void
ngx_strict_tls_session_drop_question(ngx_strict_tls_worker_t *worker,
    const u_char *question)
{
    ngx_queue_t               *q, *next;
    ngx_strict_tls_session_t  *s;

    for (q = ngx_queue_head(&worker->sessions_lru);
         q != ngx_queue_sentinel(&worker->sessions_lru);
         q = next)
    {
        next = ngx_queue_next(q);
        s = ngx_queue_data(q, ngx_strict_tls_session_t, queue);

        if (stls_result_reason(s->result) == STLS_REASON_NONE
            && ngx_strict_tls_rests_on(s->result, question))
        {
            ngx_strict_tls_session_free(worker, s);
        }
    }
}


void
ngx_strict_tls_session_clear(ngx_strict_tls_worker_t *worker)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&worker->sessions_lru)) {
        q = ngx_queue_head(&worker->sessions_lru);

        ngx_strict_tls_session_free(worker,
                     ngx_queue_data(q, ngx_strict_tls_session_t, queue));
    }
}


static ngx_strict_tls_session_t *
ngx_strict_tls_session_find(ngx_strict_tls_worker_t *worker,
    ngx_str_t *key)
{
    ngx_strict_tls_session_t  *s;

    s = (ngx_strict_tls_session_t *)
            ngx_str_rbtree_lookup(&worker->sessions, key,
                                  ngx_murmur_hash2(key->data, key->len));

    if (s) {
        ngx_queue_remove(&s->queue);
        ngx_queue_insert_head(&worker->sessions_lru, &s->queue);
    }

    return s;
}


static void
ngx_strict_tls_session_free(ngx_strict_tls_worker_t *worker,
    ngx_strict_tls_session_t *s)
{
    ngx_queue_remove(&s->queue);
    ngx_rbtree_delete(&worker->sessions, &s->node.node);
    worker->nsessions--;

    ngx_ssl_free_session(s->session);
    sk_X509_pop_free(s->certs, X509_free);
    stls_result_free(s->result);

    ngx_free(s);
}
