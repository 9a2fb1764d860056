/*
 * From a handshake to a verdict: remembered, inherited with a session, or the
 * core's, and what is told about it.
 */

#include "ngx_strict_tls.h"


#define NGX_STRICT_TLS_LINE_LEN  1536
#define NGX_STRICT_TLS_REJUDGE   3


static stls_verdict ngx_strict_tls_judge_resumed(
    ngx_strict_tls_conn_t *conn);
static stls_verdict ngx_strict_tls_judge_full(
    ngx_strict_tls_conn_t *conn);
static STACK_OF(X509) *ngx_strict_tls_certs(ngx_strict_tls_conn_t *conn);
static stls_status ngx_strict_tls_staples(ngx_strict_tls_conn_t *conn,
    u_char **staples, size_t *len);
static void ngx_strict_tls_refresh(ngx_strict_tls_conn_t *conn);


/*
 * In OpenSSL's verify callback: REJECT, or PENDING for "trusted so far".  A
 * presentation seen before costs one hash and one look-up.
 */

stls_verdict
ngx_strict_tls_judge_trust(ngx_strict_tls_conn_t *conn,
    STACK_OF(X509) *certs)
{
    stls_check               *check;
    stls_result              *result;
    stls_verdict              verdict;
    ngx_strict_tls_worker_t  *worker;
    ngx_strict_tls_scope_t   *scope;

    scope = conn->scope;
    worker = ngx_strict_tls_get_worker(conn->main_conf);

    ngx_strict_tls_sync(worker);

    conn->trust_judged = 1;
    conn->epoch = worker->epoch;

    /* the key of an offered session's verdict, if any, is of no use now */
    conn->has_staple_key = 0;

    if (ngx_strict_tls_key(scope, &conn->name, certs, conn->key) == NGX_OK) {
        conn->has_key = 1;

        result = worker->trusts
                 ? stls_verdict_cache_get0(worker->trusts, conn->key,
                                           ngx_time())
                 : NULL;

        if (result) {

            if (stls_result_verdict(result) != STLS_REJECT) {
                return STLS_PENDING;
            }

            ngx_strict_tls_status_count(conn->main_conf,
                                        STLS_FIGURE_VERDICT_CACHE_HITS);

            conn->result = stls_result_up_ref(result);
            return STLS_REJECT;
        }
    }

    check = ngx_strict_tls_check(scope, &conn->name, certs);
    if (check == NULL) {
        return STLS_REJECT;
    }

    (void) stls_check_set_memo(check, worker->memo);

    verdict = stls_check_trust(check, ngx_time());
    result = stls_check_get1_result(check);

    /* no news touches it: it rests on no answer */

    if (result && conn->has_key && worker->trusts) {
        (void) stls_verdict_cache_put(worker->trusts, conn->key, result,
                                      ngx_time());
    }

    if (verdict == STLS_PENDING) {
        stls_result_free(result);
        conn->check = check;
        return STLS_PENDING;
    }

    stls_check_free(check);
    conn->result = result;

    return STLS_REJECT;
}


/* What a verdict without staples is remembered by; NGX_DECLINED: it is not. */

ngx_int_t
ngx_strict_tls_key(ngx_strict_tls_scope_t *scope, ngx_str_t *name,
    STACK_OF(X509) *certs, u_char *key)
{
    u_char  *p;
    u_char   buf[STLS_ID_LEN + sizeof(ngx_uint_t)];

    if (scope->nonce
        || stls_verdict_key(key, scope->policy, scope->anchors, scope->role,
                            (char *) name->data, name->len, certs)
           != STLS_OK
        || stls_verdict_key_crl_file(key, key,
                                     ngx_strict_tls_crl_file_get0(scope))
           != STLS_OK)
    {
        return NGX_DECLINED;
    }

    if (scope->way == 0) {
        return NGX_OK;
    }

    p = ngx_cpymem(buf, key, STLS_ID_LEN);
    p = ngx_cpymem(p, &scope->way, sizeof(ngx_uint_t));

    return EVP_Digest(buf, p - buf, key, NULL, EVP_sha256(), NULL)
           ? NGX_OK : NGX_DECLINED;
}


/*
 * After the handshake.  PENDING: conn->job goes on; otherwise conn->result
 * says why, unless there was no memory for it.
 */

stls_verdict
ngx_strict_tls_judge(ngx_strict_tls_conn_t *conn)
{
    stls_verdict  verdict;

    /* a client's certificates are at hand however the connection was made */

    if (conn->certs == NULL
        && SSL_session_reused(conn->connection->ssl->connection))
    {
        verdict = ngx_strict_tls_judge_resumed(conn);

    } else {
        verdict = ngx_strict_tls_judge_full(conn);
    }

    ERR_clear_error();

    return verdict;
}


static stls_verdict
ngx_strict_tls_judge_resumed(ngx_strict_tls_conn_t *conn)
{
    stls_result              *result;
    ngx_strict_tls_worker_t  *worker;

    worker = ngx_strict_tls_get_worker(conn->main_conf);
    result = conn->inherited;

    if (result
        && stls_result_reason(result) == STLS_REASON_NONE
        && ngx_strict_tls_cache_revoked_since(conn->main_conf->zone,
                                              conn->epoch, result))
    {
        ngx_strict_tls_sync(worker);
        result = NULL;
    }

    if (result
        && (stls_result_verdict(result) != STLS_ACCEPT
            || !stls_result_is_live(result, ngx_time())
            || conn->crl_file_generation
               != ngx_strict_tls_crl_file_generation(conn->scope)))
    {
        result = NULL;
    }

    if (result == NULL) {
        ngx_strict_tls_session_drop(conn);
        ngx_strict_tls_status_count(conn->main_conf,
                                    STLS_FIGURE_REUSE_REFUSED);
        ngx_strict_tls_fail(conn, STLS_REASON_SESSION_UNVERIFIED,
                            conn->inherited
                            ? "its verdict ended during the handshake"
                            : "it was not offered by a strict "
                              "connection");

        if (conn->result && stls_result_verdict(conn->result) == STLS_ACCEPT) {
            /* report mode */
            return STLS_ACCEPT;
        }

        /* lets nginx try again as if a kept-alive connection had failed */

        if (conn->owner && conn->host->retry) {
            conn->host->retry(conn);
        }

        return STLS_REJECT;
    }

    conn->result = stls_result_up_ref(result);

    ngx_strict_tls_refresh(conn);

    return STLS_ACCEPT;
}


static stls_verdict
ngx_strict_tls_judge_full(ngx_strict_tls_conn_t *conn)
{
    size_t                    len;
    u_char                   *staples;
    stls_check               *check;
    stls_result              *result;
    stls_verdict              verdict;
    ngx_msec_int_t            left;
    ngx_strict_tls_worker_t  *worker;
    ngx_strict_tls_scope_t   *scope;

    scope = conn->scope;
    worker = ngx_strict_tls_get_worker(conn->main_conf);

    if (conn->rejudged == 0) {
        conn->deadline = ngx_current_msec + scope->fetch_total;
    }

    stls_result_free(conn->inherited);
    conn->inherited = NULL;

    ngx_strict_tls_sync(worker);
    conn->epoch = worker->epoch;

    if (ngx_strict_tls_staples(conn, &staples, &len) != STLS_OK) {
        return STLS_REJECT;
    }

    if (conn->crl_file_generation
        != ngx_strict_tls_crl_file_generation(scope))
    {
        /* not what the key and the check of the trust phase speak of */

        conn->crl_file_generation = ngx_strict_tls_crl_file_generation(scope);
        conn->has_key = 0;
        conn->has_staple_key = 0;

        stls_check_free(conn->check);
        conn->check = NULL;
    }

    if (conn->has_key
        && stls_verdict_key_staple(conn->key, conn->key, staples, len)
           == STLS_OK)
    {
        conn->has_staple_key = 1;

        result = ngx_strict_tls_verdict_get0(worker, conn->key);

        if (result && stls_result_verdict(result) != STLS_PENDING) {
            ngx_strict_tls_status_count(conn->main_conf,
                                        STLS_FIGURE_VERDICT_CACHE_HITS);

            conn->result = stls_result_up_ref(result);
            OPENSSL_free(staples);

            ngx_strict_tls_refresh(conn);

            return stls_result_verdict(conn->result);
        }
    }

    conn->has_key = 0;

    check = conn->check;
    conn->check = NULL;

    if (check == NULL) {
        check = ngx_strict_tls_check(scope, &conn->name,
                                     ngx_strict_tls_certs(conn));
        if (check == NULL) {
            OPENSSL_free(staples);
            return STLS_REJECT;
        }

        (void) stls_check_set_memo(check, worker->memo);
    }

    /* a staple that could not be added has driven the check to its end */

    (void) stls_check_add_staples(check, staples, len);
    OPENSSL_free(staples);

    conn->job = ngx_strict_tls_job_create(worker, scope, check,
                                      conn->has_staple_key ? conn->key : NULL);
    if (conn->job == NULL) {
        return STLS_REJECT;
    }

    conn->job->data = conn;

    /* judging again takes no more time than there was: known answers will do */

    left = (ngx_msec_int_t) (conn->deadline - ngx_current_msec);
    conn->job->total = ngx_max(left, 1);

    verdict = ngx_strict_tls_job_start(conn->job);

    if (verdict == STLS_PENDING) {
        return STLS_PENDING;
    }

    ngx_strict_tls_take_job_result(conn);

    if (ngx_strict_tls_outdated(conn)) {
        return ngx_strict_tls_judge_full(conn);
    }

    return conn->result ? stls_result_verdict(conn->result) : STLS_REJECT;
}


/* Whether what was decided lets the peer in; without memory for it, nobody. */

ngx_uint_t
ngx_strict_tls_accepts(ngx_strict_tls_conn_t *conn)
{
    if (conn->result == NULL) {
        return conn->scope->report;
    }

    return stls_result_verdict(conn->result) == STLS_ACCEPT;
}


/* A server's chain begins with its leaf, a client's is kept apart. */

static STACK_OF(X509) *
ngx_strict_tls_certs(ngx_strict_tls_conn_t *conn)
{
    if (conn->scope->role == STLS_ROLE_CLIENT) {
        return conn->certs;
    }

    return SSL_get_peer_cert_chain(conn->connection->ssl->connection);
}


/* Clients staple nothing: on a server's SSL this would be its own answer. */

static stls_status
ngx_strict_tls_staples(ngx_strict_tls_conn_t *conn, u_char **staples,
    size_t *len)
{
    if (conn->scope->role == STLS_ROLE_CLIENT) {
        *staples = NULL;
        *len = 0;

        return STLS_OK;
    }

    return stls_staples_get1(conn->connection->ssl->connection, staples, len);
}


void
ngx_strict_tls_take_job_result(ngx_strict_tls_conn_t *conn)
{
    ngx_strict_tls_job_t  *job;

    job = conn->job;
    conn->job = NULL;

    conn->result = job->result;
    job->result = NULL;

    ngx_strict_tls_job_free(job);
}


/*
 * Whether an answer that the result rests on was replaced after the check had
 * begun: by another check, or by a newer CRL that this one has fetched itself.
 * The result is gone then, and the peer must be judged again.
 */

ngx_uint_t
ngx_strict_tls_outdated(ngx_strict_tls_conn_t *conn)
{
    if (conn->result == NULL
        || stls_result_reason(conn->result) != STLS_REASON_NONE
        || (conn->crl_file_generation
            == ngx_strict_tls_crl_file_generation(conn->scope)
            && !ngx_strict_tls_cache_revoked_since(conn->main_conf->zone,
                                                   conn->epoch,
                                                   conn->result)))
    {
        return 0;
    }

    if (conn->rejudged++ == NGX_STRICT_TLS_REJUDGE) {
        ngx_strict_tls_fail(conn, STLS_REASON_REVOCATION_INCONCLUSIVE,
                            "answers keep changing while they are "
                            "being judged");
        return 0;
    }

    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, conn->connection->log, 0,
                   "strict tls: answers have changed, judging again");

    stls_result_free(conn->result);
    conn->result = NULL;

    return 1;
}


/*
 * A check with everything but the staple; NULL: fail closed.  `name` is empty
 * where none is wanted: clients have none.
 */

stls_check *
ngx_strict_tls_check(ngx_strict_tls_scope_t *scope, ngx_str_t *name,
    STACK_OF(X509) *certs)
{
    stls_check  *check;

    check = stls_check_new(scope->policy, scope->anchors, scope->role);
    if (check == NULL) {
        return NULL;
    }

    /* whatever fails here drives the verdict to a reject */

    if (name->len) {
        (void) stls_check_set_name(check, (char *) name->data, name->len);
    }

    if (certs) {
        (void) stls_check_add_certs(check, certs);
    }

    (void) stls_check_set_crl_file(check, ngx_strict_tls_crl_file_get0(scope));

    return check;
}


/* Replaces conn->result by a reject of the host's own making. */

void
ngx_strict_tls_fail(ngx_strict_tls_conn_t *conn, stls_reason reason,
    const char *detail)
{
    stls_check  *check;

    stls_result_free(conn->result);
    conn->result = NULL;

    check = ngx_strict_tls_check(conn->scope, &conn->name, NULL);
    if (check == NULL) {
        return;
    }

    (void) stls_check_fail(check, reason, detail, ngx_time());
    conn->result = stls_check_get1_result(check);

    stls_check_free(check);
}


/* Tells the owner, and the error log unless there is nothing to tell. */

void
ngx_strict_tls_record(ngx_strict_tls_conn_t *conn)
{
    char         line[NGX_STRICT_TLS_LINE_LEN];
    size_t       len;
    u_char      *end;
    ngx_log_t   *log;
    ngx_uint_t   level;

    if (conn->owner) {
        ngx_strict_tls_set_result(conn->owner, conn->result);

    } else if (conn->scope->role == STLS_ROLE_SERVER) {
        return;
    }

    log = conn->connection->log;
    level = conn->scope->report ? NGX_LOG_WARN : NGX_LOG_ERR;

    ngx_strict_tls_status_note(conn->main_conf,
                               conn->scope->role == STLS_ROLE_CLIENT
                               ? STLS_INBOUND : STLS_OUTBOUND,
                               conn->result ? NULL : &conn->name, &conn->addr,
                               conn->result);

    if (conn->result == NULL) {
        ngx_log_error(level, log, 0, "strict-tls: %s peer=%s reason=%s",
                      conn->scope->report ? "would_reject" : "reject",
                      conn->name.len ? (char *) conn->name.data : "-",
                      stls_reason_id(STLS_REASON_INTERNAL_MEMORY));
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, log, 0, "strict tls verdict: %s (%s)",
                   stls_result_word(conn->result),
                   stls_reason_id(stls_result_reason(conn->result)));

    if (stls_result_reason(conn->result) == STLS_REASON_NONE) {
        return;
    }

    len = stls_result_log_line(conn->result, (char *) conn->addr.data, line,
                               sizeof(line));

    end = (u_char *) line + len;

    if (conn->host && conn->host->hint) {
        end = conn->host->hint(conn, end, (u_char *) line + sizeof(line));
    }

    ngx_log_error(level, log, 0, "%*s", end - (u_char *) line, line);
}


ngx_uint_t
ngx_strict_tls_is_about_name(stls_result *result)
{
    switch (stls_result_reason(result)) {

    case STLS_REASON_NAME_MISMATCH:
    case STLS_REASON_NAME_NO_IDENTITY:
    case STLS_REASON_NAME_MALFORMED:
        return 1;

    default:
        return 0;
    }
}


/*
 * For a kept-alive connection: whether its verdict still stands.  In the usual
 * case this is an atomic read and two comparisons.
 */

ngx_int_t
ngx_strict_tls_reusable(ngx_strict_tls_conn_t *conn)
{
    time_t                    now;
    ngx_atomic_uint_t         epoch;
    ngx_strict_tls_worker_t  *worker;

    if (conn->phase != ngx_strict_tls_accepted || conn->result == NULL) {
        return NGX_DECLINED;
    }

    if (conn->crl_file_generation
        != ngx_strict_tls_crl_file_generation(conn->scope))
    {
        return NGX_DECLINED;
    }

    worker = ngx_strict_tls_get_worker(conn->main_conf);
    epoch = ngx_strict_tls_cache_epoch(conn->main_conf->zone);
    now = ngx_time();

    if (conn->epoch != epoch) {

        if (ngx_strict_tls_cache_revoked_since(conn->main_conf->zone,
                                               conn->epoch,
                                               conn->result))
        {
            return NGX_DECLINED;
        }

        conn->epoch = epoch;
    }

    if (stls_result_is_live(conn->result, now)
        && now < stls_result_refresh_at_s(conn->result))
    {
        return NGX_OK;
    }

    /* a refresh may have found the same presentation to be good for longer */

    if (conn->has_staple_key) {
        ngx_strict_tls_sync(worker);

        ngx_strict_tls_verdict_renew(worker, conn->key, &conn->result);
    }

    if (!stls_result_is_live(conn->result, now)) {
        return NGX_DECLINED;
    }

    ngx_strict_tls_refresh(conn);

    return NGX_OK;
}


/* Past half its life an answer is asked for again while the old one serves. */

static void
ngx_strict_tls_refresh(ngx_strict_tls_conn_t *conn)
{
    size_t                    len;
    time_t                    now;
    u_char                   *staples;
    stls_check               *check;
    STACK_OF(X509)           *certs;
    ngx_strict_tls_job_t     *job;
    ngx_strict_tls_worker_t  *worker;

    now = ngx_time();

    if (!conn->has_staple_key
        || now < stls_result_refresh_at_s(conn->result))
    {
        return;
    }

    worker = ngx_strict_tls_get_worker(conn->main_conf);

    if (worker->verdicts == NULL
        || !stls_verdict_cache_refresh_due(worker->verdicts, conn->key, now,
                          now + 1 + conn->scope->negative_ttl))
    {
        return;
    }

    certs = ngx_strict_tls_certs(conn);

    if (certs == NULL) {
        return;
    }

    check = ngx_strict_tls_check(conn->scope, &conn->name, certs);
    if (check == NULL) {
        return;
    }

    (void) stls_check_set_memo(check, worker->memo);

    /*
     * The verdict's key holds the staple.  A resumed connection has none at
     * hand: its certificates are then judged by what a responder says.
     */

    if (ngx_strict_tls_staples(conn, &staples, &len) == STLS_OK) {
        (void) stls_check_add_staples(check, staples, len);
        OPENSSL_free(staples);
    }

    job = ngx_strict_tls_job_create(worker, conn->scope, check, conn->key);
    if (job == NULL) {
        return;
    }

    job->refresh = 1;

    ngx_strict_tls_status_count(conn->main_conf, STLS_FIGURE_REFRESHES);

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, conn->connection->log, 0,
                   "strict tls job %p: background refresh", job);

    if (ngx_strict_tls_job_start(job) != STLS_PENDING) {
        ngx_strict_tls_job_free(job);
    }
}
