/*
 * From a presentation to a verdict: remembered or the core's, and what is told
 * about it.
 */
#include "mod_strict_tls.h"

/* How often what is being judged may be overtaken by news. */
#define MAX_TRIES 4

static apr_time_t now(void)
{
    return apr_time_sec(apr_time_now());
}

static apr_thread_mutex_t *mutex; /* about the bases of connections that several requests share */

void mst_judge_child_init(apr_pool_t *p)
{
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, p);
}

int mst_says_revoked(const stls_result *result)
{
    size_t num;

    (void) stls_result_get0_revoked(result, &num);
    return num > 0;
}

/* A check with everything but the staple; NULL: fail closed. */
stls_check *mst_new_check(mst_runtime *rt, const char *name, const STACK_OF(X509) *certs,
                          stls_crl_file *crl_file)
{
    stls_check *check = rt->policy
        ? stls_check_new(rt->policy, rt->anchors, rt->role) : NULL;

    if (check == NULL) {
        return NULL;
    }
    /* whatever fails here drives the verdict to a reject */
    if (name != NULL) {
        (void) stls_check_set_name(check, name, strlen(name));
    }
    if (certs != NULL) {
        (void) stls_check_add_certs(check, certs);
    }
    (void) stls_check_set_crl_file(check, crl_file);
    return check;
}

/* What failed on one way to the responders may succeed on another. */
static int add_way(unsigned char key[STLS_ID_LEN], const mst_runtime *rt)
{
    char text[STLS_ID_LEN + 512];
    int len;

    if (rt->proxy_host == NULL) {
        return 1;
    }
    memcpy(text, key, STLS_ID_LEN);
    len = apr_snprintf(text + STLS_ID_LEN, 512, "%s:%u", rt->proxy_host, rt->proxy_port);
    return EVP_Digest(text, STLS_ID_LEN + (apr_size_t) len, key, NULL, EVP_sha256(), NULL);
}

/* What is known now, and the key of this presentation without its staple. */
static void lay_basis(mst_basis *basis, const mst_runtime *rt, const char *name,
                      const STACK_OF(X509) *certs)
{
    basis->epoch = mst_epoch();
    stls_crl_file_free(basis->crl_file);
    basis->crl_file = mst_crl_file_get1(rt);
    basis->has_key = rt->policy && !rt->nonce
        && stls_verdict_key(basis->key, rt->policy, rt->anchors, rt->role, name ? name : "",
                            name ? strlen(name) : 0, certs) == STLS_OK
        && stls_verdict_key_crl_file(basis->key, basis->key, basis->crl_file) == STLS_OK
        && add_way(basis->key, rt);
}

/* A presentation seen before costs one hash and one look-up. */
stls_verdict mst_judge_trust(mst_conn *conn, STACK_OF(X509) *certs)
{
    mst_basis *basis = &conn->basis;
    mst_runtime *rt = conn->rt;
    stls_verdict verdict;
    stls_result *result;
    stls_check *check;

    conn->trust_judged = 1;
    lay_basis(basis, rt, conn->name, certs);
    if (basis->has_key) {
        result = mst_verdict_get1(basis->key, now());
        if (result != NULL) {
            if (stls_result_verdict(result) != STLS_REJECT) {
                stls_result_free(result);
                return STLS_PENDING;
            }
            mst_count(MST_VERDICT_HITS);
            conn->result = result;
            return STLS_REJECT;
        }
    }
    check = mst_new_check(rt, conn->name, certs, basis->crl_file);
    if (check == NULL) {
        return STLS_REJECT;
    }
    verdict = stls_check_trust(check, now());
    result = stls_check_get1_result(check);
    if (result != NULL && basis->has_key) {
        mst_verdict_put(basis->key, result, basis->epoch, rt->negative_ttl_s, now());
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

/* One run of a check, which it takes over: its result, or NULL when out of memory. */
static stls_result *run_once(mst_conn *conn, stls_check *check, mst_basis *basis,
                             apr_time_t deadline, int *is_outdated)
{
    apr_uint32_t epoch;
    mst_outcome outcome;
    stls_result *result;

    /* a staple that could not be added has driven the check to its end */
    (void) stls_check_add_staples(check, conn->staples, conn->staples_len);
    (void) mst_run_check(conn->rt, check, 0, deadline, &outcome);
    epoch = mst_epoch();
    result = stls_check_get1_result(check);
    stls_check_free(check);
    if (result == NULL) {
        return NULL;
    }
    *is_outdated = outcome.is_outdated || !mst_crl_file_is_current(conn->rt, basis->crl_file);
    if (epoch - basis->epoch == outcome.num_news) {
        basis->epoch = epoch; /* there is none but its own */
    }
    else if (!mst_says_revoked(result) && mst_news_about(basis->epoch, result)) {
        *is_outdated = 1;
    }
    mst_news_of(result);
    return result;
}

/*
 * The verdict about what the peer has presented, remembered or the core's, and
 * its basis; NULL when out of memory.  What was learned of meanwhile, by others
 * or from another content of the administrator's file, is judged again within
 * the same time.  `check` is taken over if it is about this basis, else NULL.
 */
static stls_result *judge(mst_conn *conn, stls_check *check, mst_basis *basis)
{
    static const char unsettled[] = "news about revocation came in as fast as it was looked at";
    mst_runtime *rt = conn->rt;
    apr_time_t deadline = apr_time_now() + rt->fetch_total;
    stls_result *result;
    int tries, is_outdated;

    for (tries = 0; tries < MAX_TRIES; tries++) {
        if (tries > 0 || !mst_crl_file_is_current(rt, basis->crl_file)) {
            lay_basis(basis, rt, conn->name, conn->certs);
            stls_check_free(check);
            check = NULL;
        }
        basis->epoch = mst_epoch();
        basis->has_key = basis->has_key
            && stls_verdict_key_staple(basis->key, basis->key, conn->staples, conn->staples_len)
               == STLS_OK;
        result = basis->has_key ? mst_verdict_get1(basis->key, now()) : NULL;
        if (result != NULL && stls_result_verdict(result) != STLS_PENDING) {
            mst_count(MST_VERDICT_HITS);
            stls_check_free(check);
            mst_refresh(conn, result, basis);
            return result;
        }
        stls_result_free(result);
        if (check == NULL) {
            check = mst_new_check(rt, conn->name, conn->certs, basis->crl_file);
            if (check == NULL) {
                return NULL;
            }
        }
        result = run_once(conn, check, basis, deadline, &is_outdated);
        check = NULL;
        if (result == NULL || !is_outdated) {
            if (result != NULL && basis->has_key) {
                mst_verdict_put(basis->key, result, basis->epoch, rt->negative_ttl_s, now());
            }
            return result;
        }
        if (apr_time_now() >= deadline) {
            if (stls_result_verdict(result) == STLS_REJECT) {
                return result;
            }
            stls_result_free(result);
            break;
        }
        stls_result_free(result);
    }
    return mst_failed_result(rt, conn->name, STLS_REASON_REVOCATION_INCONCLUSIVE, unsettled);
}

stls_verdict mst_judge_revocation(mst_conn *conn, STACK_OF(X509) *certs,
                                  const unsigned char *staples, apr_size_t staples_len)
{
    stls_check *check = conn->check;

    conn->certs = X509_chain_up_ref(certs);
    if (staples != NULL) {
        conn->staples = OPENSSL_memdup(staples, staples_len);
        conn->staples_len = conn->staples ? staples_len : 0;
    }
    conn->check = NULL;
    conn->result = judge(conn, check, &conn->basis);
    return conn->result ? stls_result_verdict(conn->result) : STLS_REJECT;
}

stls_verdict mst_judge(mst_conn *conn, SSL *ssl)
{
    unsigned char *staples;
    stls_verdict verdict;
    size_t len;

    if (SSL_session_reused(ssl)) { /* mod_ssl offers no session */
        mst_judge_fail(conn, STLS_REASON_SESSION_UNVERIFIED,
                       "it was not offered by a strict connection");
        return conn->result ? stls_result_verdict(conn->result) : STLS_REJECT;
    }
    if (stls_staples_get1(ssl, &staples, &len) != STLS_OK) {
        return STLS_REJECT;
    }
    verdict = mst_judge_revocation(conn, SSL_get_peer_cert_chain(ssl), staples, len);
    OPENSSL_free(staples);
    return verdict;
}

stls_result *mst_failed_result(mst_runtime *rt, const char *name, stls_reason reason,
                               const char *detail)
{
    stls_check *check = mst_new_check(rt, name, NULL, NULL);
    stls_result *result = NULL;

    if (check != NULL) {
        (void) stls_check_fail(check, reason, detail, now());
        result = stls_check_get1_result(check);
        stls_check_free(check);
    }
    return result;
}

void mst_judge_fail(mst_conn *conn, stls_reason reason, const char *detail)
{
    stls_result_free(conn->result);
    conn->result = mst_failed_result(conn->rt, conn->name, reason, detail);
}

/* Several threads may ask at once about a connection that several requests share (HTTP/2). */
static void get1_basis(mst_conn *conn, stls_result **result, mst_basis *basis)
{
    apr_thread_mutex_lock(mutex);
    *result = conn->result ? stls_result_up_ref(conn->result) : NULL;
    *basis = conn->basis;
    basis->crl_file = stls_crl_file_up_ref(conn->basis.crl_file);
    apr_thread_mutex_unlock(mutex);
}

/* Of the result a reference is taken; the basis is taken over. */
static void set_basis(mst_conn *conn, stls_result *result, mst_basis *basis)
{
    stls_result *old_result;
    stls_crl_file *old_file;

    apr_thread_mutex_lock(mutex);
    old_result = conn->result;
    old_file = conn->basis.crl_file;
    conn->result = stls_result_up_ref(result);
    conn->basis = *basis;
    apr_thread_mutex_unlock(mutex);
    stls_result_free(old_result);
    stls_crl_file_free(old_file);
}

stls_result *mst_judge_anew(mst_conn *conn)
{
    mst_basis basis = {0};
    stls_result *result;

    lay_basis(&basis, conn->rt, conn->name, conn->certs);
    result = judge(conn, NULL, &basis);
    if (result != NULL && stls_result_verdict(result) == STLS_ACCEPT) {
        set_basis(conn, result, &basis);
    }
    else {
        stls_crl_file_free(basis.crl_file);
    }
    return result;
}

int mst_same_policy(const mst_runtime *one, const mst_runtime *other)
{
    if (one == NULL || other == NULL || one->policy == NULL || other->policy == NULL) {
        return 0;
    }
    return one == other
        || (one->role == other->role
            && one->proxy_port == other->proxy_port
            && !strcmp(one->proxy_host ? one->proxy_host : "",
                       other->proxy_host ? other->proxy_host : "")
            && !memcmp(stls_policy_get0_id(one->policy), stls_policy_get0_id(other->policy),
                       STLS_ID_LEN)
            && !memcmp(stls_anchors_get0_id(one->anchors), stls_anchors_get0_id(other->anchors),
                       STLS_ID_LEN));
}


stls_result *mst_judge_current(mst_conn *conn)
{
    apr_uint32_t epoch = mst_epoch();
    stls_result *result, *newer;
    mst_basis basis;

    if (conn->state != MST_ACCEPTED_PEER || conn->rt == NULL) {
        return NULL;
    }
    get1_basis(conn, &result, &basis);
    if (result == NULL || !mst_crl_file_is_current(conn->rt, basis.crl_file)
        || mst_news_about(basis.epoch, result)) {
        goto over;
    }
    mst_refresh(conn, result, &basis);
    if (!stls_result_is_live(result, now())) {
        /* a refresh may have found the same presentation to be good for longer */
        newer = basis.has_key ? mst_verdict_get1(basis.key, now()) : NULL;
        stls_result_free(result);
        result = newer;
        if (result == NULL || stls_result_verdict(result) != STLS_ACCEPT
            || !stls_result_is_live(result, now())) {
            goto over;
        }
    }
    else if (basis.epoch == epoch) {
        stls_crl_file_free(basis.crl_file);
        return result;
    }
    basis.epoch = epoch;
    set_basis(conn, result, &basis);
    return result;
over:
    stls_result_free(result);
    stls_crl_file_free(basis.crl_file);
    return NULL;
}

/* Same policy, trust and name, and the verdict's time is not over. */
int mst_judge_reusable(mst_conn *conn, const mst_runtime *rt, const char *name)
{
    stls_result *current;

    if (!mst_same_policy(conn->rt, rt)) {
        return 0;
    }
    if (conn->name == NULL || name == NULL
        || !stls_name_equal(conn->name, strlen(conn->name), name, strlen(name))) {
        return 0;
    }
    current = mst_judge_current(conn);
    if (current == NULL) {
        return 0;
    }
    stls_result_free(current);
    return 1;
}

void mst_conn_clear(mst_conn *conn)
{
    stls_check_free(conn->check);
    stls_result_free(conn->result);
    stls_crl_file_free(conn->basis.crl_file);
    sk_X509_pop_free(conn->certs, X509_free);
    OPENSSL_free(conn->staples);
    conn->check = NULL;
    conn->result = NULL;
    memset(&conn->basis, 0, sizeof(conn->basis));
    conn->certs = NULL;
    conn->staples = NULL;
    conn->staples_len = 0;
    conn->trust_judged = 0;
    conn->state = MST_NEW;
}

/* For expressions, LogFormat and ErrorDocument. */
void mst_set_env(request_rec *r, stls_role role, stls_result *result)
{
    static const char *const names[2][3] = {
        {"STRICT_TLS_VERDICT", "STRICT_TLS_REASON", "STRICT_TLS_REPORT"},
        {"STRICT_TLS_CLIENT_VERDICT", "STRICT_TLS_CLIENT_REASON", "STRICT_TLS_CLIENT_REPORT"},
    };
    const char *const *name = names[role == STLS_ROLE_CLIENT];
    apr_table_t *env = r->subprocess_env;
    mst_request *rq;
    const char *report;
    size_t len;

    if (result == NULL) {
        apr_table_setn(env, name[0], "reject");
        apr_table_setn(env, name[1], stls_reason_id(STLS_REASON_INTERNAL_MEMORY));
        apr_table_unset(env, name[2]);
        return;
    }
    rq = role == STLS_ROLE_SERVER ? mst_get_request(r) : NULL;
    report = stls_result_get0_report(result, &len);
    if (rq != NULL) { /* which keeps it, longer than the connection may */
        stls_result_free(rq->told);
        rq->told = stls_result_up_ref(result);
    }
    else {
        report = apr_pstrmemdup(r->pool, report, len);
    }
    apr_table_setn(env, name[0], stls_result_word(result));
    apr_table_setn(env, name[1], stls_reason_id(stls_result_reason(result)));
    apr_table_setn(env, name[2], report);
}

void mst_set_env_reason(request_rec *r, stls_reason reason)
{
    apr_table_setn(r->subprocess_env, "STRICT_TLS_VERDICT", "reject");
    apr_table_setn(r->subprocess_env, "STRICT_TLS_REASON", stls_reason_id(reason));
    apr_table_unset(r->subprocess_env, "STRICT_TLS_REPORT");
}

static void count(const mst_runtime *rt, mst_counter backend, mst_counter client)
{
    mst_count(rt->role == STLS_ROLE_CLIENT ? client : backend);
}

void mst_record(mst_conn *conn, stls_result *result, request_rec *r)
{
    const mst_runtime *rt = conn->rt;
    const char *who = rt->role == STLS_ROLE_CLIENT ? "client" : conn->name ? conn->name : "-";
    int level = rt->report ? APLOG_WARNING : APLOG_ERR;
    char line[MST_LINE_LEN], addr[128];

    if (r != NULL) {
        mst_set_env(r, rt->role, result);
    }
    mst_peers_note(rt->role, conn->c, result);
    apr_snprintf(addr, sizeof(addr), "%pI", conn->c->client_addr);
    if (result == NULL) {
        if (rt->report) {
            count(rt, MST_WOULD_REJECT, MST_CLIENT_WOULD_REJECT);
        }
        else {
            count(rt, MST_REJECTED, MST_CLIENT_REJECTED);
        }
        ap_log_cerror(APLOG_MARK, level, 0, conn->c, STLSLOGNO(2)
                      "strict-tls: %s peer=%s addr=%s reason=%s",
                      rt->report ? "would_reject" : "reject", who, addr,
                      stls_reason_id(STLS_REASON_INTERNAL_MEMORY));
        return;
    }
    if (stls_result_verdict(result) != STLS_ACCEPT) {
        count(rt, MST_REJECTED, MST_CLIENT_REJECTED);
    }
    else if (stls_result_reason(result) == STLS_REASON_NONE) {
        count(rt, MST_ACCEPTED, MST_CLIENT_ACCEPTED);
        ap_log_cerror(APLOG_MARK, APLOG_DEBUG, 0, conn->c, STLSLOGNO(3)
                      "strict-tls: accept peer=%s addr=%s", who, addr);
        return;
    }
    else {
        count(rt, MST_WOULD_REJECT, MST_CLIENT_WOULD_REJECT);
    }
    (void) stls_result_log_line(result, addr, line, sizeof(line));
    if (r != NULL) {
        ap_log_rerror(APLOG_MARK, level, 0, r, STLSLOGNO(1) "%s", line);
    }
    else {
        ap_log_cerror(APLOG_MARK, level, 0, conn->c, STLSLOGNO(1) "%s", line);
    }
}
