/*
 * Fetches: a bounded number of threads resolve, connect and read, so that a
 * request thread waits on a condition with a deadline and on nothing else.
 * All who want the same answer at the same time share one flight.
 */
#include "mod_strict_tls.h"

#include <openssl/evp.h>

#include <pthread.h>
#include <signal.h>

/* How often a thread that reads looks whether the process wants to end. */
#define SLICE apr_time_from_msec(200)

struct mst_flight {
    unsigned char id[STLS_ID_LEN];
    unsigned char question[STLS_ID_LEN];
    int refs; /* who waits, and the thread */
    int over;
    int claimed;
    int is_shared;
    int is_crl;

    stls_fetch_outcome outcome;
    char detail[MST_DETAIL_LEN];
    stls_http *http;
    const unsigned char *body; /* in http */
    size_t body_len;
    stls_crl *crl;

    stls_policy *policy;
    const char *host;
    apr_port_t port;
    int via_proxy;
    apr_interval_time_t timeout;
    apr_time_t negative_ttl_s;
    apr_pool_t *pool;
};

apr_thread_mutex_t *mst_fetch_mutex;
static apr_thread_cond_t *landed;
static apr_hash_t *flights;
static int num_flying;
static volatile int is_stopping;

/* The process ends: what flies cannot be told to stop, only be given a moment. */
static apr_status_t stop(void *data)
{
    apr_time_t until = apr_time_now() + apr_time_from_msec(500);

    (void) data;
    apr_thread_mutex_lock(mst_fetch_mutex);
    is_stopping = 1;
    while (num_flying > 0 && apr_time_now() < until) {
        apr_thread_cond_timedwait(landed, mst_fetch_mutex, apr_time_from_msec(50));
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
    return APR_SUCCESS;
}

void mst_fetch_child_init(apr_pool_t *p)
{
    apr_pool_t *forever = NULL;

    /* flights may outlive every pool of httpd's */
    apr_pool_create_unmanaged(&forever);
    apr_thread_mutex_create(&mst_fetch_mutex, APR_THREAD_MUTEX_DEFAULT, forever);
    apr_thread_cond_create(&landed, forever);
    flights = apr_hash_make(forever);
    num_flying = 0;
    is_stopping = 0;
    apr_pool_pre_cleanup_register(p, NULL, stop);
}

void mst_flight_id(const mst_runtime *rt, const stls_fetch *want, unsigned char *id)
{
    unsigned char text[STLS_ID_LEN + 512];
    int len;

    memcpy(id, want->flight, STLS_ID_LEN);
    if (rt->proxy_host != NULL) {
        memcpy(text, id, STLS_ID_LEN);
        len = apr_snprintf((char *) text + STLS_ID_LEN, sizeof(text) - STLS_ID_LEN, "%s:%u",
                           rt->proxy_host, rt->proxy_port);
        (void) EVP_Digest(text, STLS_ID_LEN + (apr_size_t) len, id, NULL, EVP_sha256(), NULL);
    }
}

/* ---- one exchange, in a thread of its own ------------------------------------------- */

static void fail(mst_flight *f, stls_fetch_outcome outcome, const char *detail)
{
    f->outcome = outcome;
    apr_cpystrn(f->detail, detail, sizeof(f->detail));
}

static void fail_status(mst_flight *f, apr_status_t rv, const char *step)
{
    char why[120];

    if (APR_STATUS_IS_TIMEUP(rv)) {
        f->outcome = STLS_FETCH_TIMEOUT;
        apr_snprintf(f->detail, sizeof(f->detail), "no answer within %d ms (%s %s:%d)",
                     (int) apr_time_as_msec(f->timeout), step, f->host, f->port);
        return;
    }
    f->outcome = STLS_FETCH_NETWORK;
    apr_snprintf(f->detail, sizeof(f->detail), "%s %s:%d: %s", step, f->host, f->port,
                 apr_strerror(rv, why, sizeof(why)));
}

/* What is left of the time, set on the socket; 0 when it is over. */
static int bound(mst_flight *f, apr_socket_t *sock, apr_time_t deadline,
                 apr_interval_time_t slice, const char *step)
{
    apr_interval_time_t left = deadline - apr_time_now();

    if (left <= 0 || is_stopping) {
        fail_status(f, APR_TIMEUP, step);
        return 0;
    }
    apr_socket_timeout_set(sock, left < slice ? left : slice);
    return 1;
}

/* Denied addresses are never connected to, whatever name led to them. */
static apr_socket_t *connect_to(mst_flight *f, apr_sockaddr_t *addr, apr_time_t deadline)
{
    apr_socket_t *sock;
    apr_status_t rv;

    for (; addr; addr = addr->next) {
        const char *denied = f->via_proxy ? NULL
            : stls_policy_denies_address(f->policy, addr->ipaddr_ptr, (size_t) addr->ipaddr_len);

        if (denied != NULL) {
            if (f->outcome != STLS_FETCH_NETWORK) {
                f->outcome = STLS_FETCH_DENIED;
                apr_snprintf(f->detail, sizeof(f->detail), "%pI is %s (fetch_deny)", addr, denied);
            }
            continue;
        }
        rv = apr_socket_create(&sock, addr->family, SOCK_STREAM, APR_PROTO_TCP, f->pool);
        if (rv == APR_SUCCESS) {
            if (!bound(f, sock, deadline, f->timeout, "connecting to")) {
                apr_socket_close(sock);
                return NULL;
            }
            rv = apr_socket_connect(sock, addr);
            if (rv == APR_SUCCESS) {
                return sock;
            }
            apr_socket_close(sock);
        }
        fail_status(f, rv, "connecting to");
        if (f->outcome == STLS_FETCH_TIMEOUT) {
            break;
        }
    }
    return NULL;
}

static int send_request(mst_flight *f, apr_socket_t *sock, apr_time_t deadline)
{
    size_t len;
    const unsigned char *bytes = stls_http_get0_request(f->http, &len);
    apr_status_t rv;

    while (len > 0) {
        apr_size_t sent = len;

        if (!bound(f, sock, deadline, f->timeout, "sending to")) {
            return 0;
        }
        rv = apr_socket_send(sock, (const char *) bytes, &sent);
        if (rv != APR_SUCCESS && sent == 0) {
            fail_status(f, rv, "sending to");
            return 0;
        }
        bytes += sent;
        len -= sent;
    }
    return 1;
}

static void read_answer(mst_flight *f, apr_socket_t *sock, apr_time_t deadline)
{
    stls_http_state state = STLS_HTTP_MORE;
    char buf[16384];

    while (state == STLS_HTTP_MORE) {
        apr_size_t len = sizeof(buf);
        apr_status_t rv;

        if (!bound(f, sock, deadline, SLICE, "reading from")) {
            return;
        }
        rv = apr_socket_recv(sock, buf, &len);
        if (len > 0) {
            state = stls_http_feed(f->http, (unsigned char *) buf, len);
        }
        else if (APR_STATUS_IS_EOF(rv)) {
            state = stls_http_eof(f->http);
        }
        else if (rv != APR_SUCCESS && !APR_STATUS_IS_TIMEUP(rv)) {
            fail_status(f, rv, "reading from");
            return;
        }
    }
    switch (state) {
    case STLS_HTTP_DONE:
        f->outcome = STLS_FETCH_OK;
        f->body = stls_http_get0_body(f->http, &f->body_len);
        break;
    case STLS_HTTP_TOO_LARGE:
        fail(f, STLS_FETCH_TOO_LARGE, stls_http_get0_error(f->http));
        break;
    case STLS_HTTP_LOCAL:
        fail(f, STLS_FETCH_LOCAL, stls_http_get0_error(f->http));
        break;
    default:
        fail(f, STLS_FETCH_HTTP, stls_http_get0_error(f->http));
        break;
    }
}

/* Walks a CRL here, where nobody waits for this thread.  One that cannot be walked stays bytes. */
static void walk_crl(mst_flight *f)
{
    stls_crl_state state = STLS_CRL_FAILED;
    unsigned char *der = malloc(f->body_len ? f->body_len : 1);
    stls_crl *crl;

    if (der == NULL) {
        fail(f, STLS_FETCH_TOO_LARGE, "out of memory");
        return;
    }
    if (f->body_len > 0) {
        memcpy(der, f->body, f->body_len);
    }
    crl = stls_crl_new(NULL, der, f->body_len, free);
    if (crl != NULL) {
        do {
            state = stls_crl_step(crl, 1024 * 1024);
        } while (state == STLS_CRL_MORE && !is_stopping);
    }
    if (state == STLS_CRL_DONE) {
        f->crl = crl;
        stls_http_free(f->http);
        f->http = NULL;
        f->body = NULL;
        f->body_len = 0;
    }
    else {
        stls_crl_free(crl);
    }
}

static void fly(mst_flight *f)
{
    apr_time_t deadline = apr_time_now() + f->timeout;
    apr_sockaddr_t *addr = NULL;
    apr_socket_t *sock;
    apr_status_t rv;

    f->outcome = STLS_FETCH_DENIED;
    rv = apr_sockaddr_info_get(&addr, f->host, APR_UNSPEC, f->port, 0, f->pool);
    if (rv != APR_SUCCESS || addr == NULL) {
        f->outcome = STLS_FETCH_NETWORK;
        apr_snprintf(f->detail, sizeof(f->detail), "%s could not be resolved", f->host);
        return;
    }
    sock = connect_to(f, addr, deadline);
    if (sock == NULL) {
        return;
    }
    if (send_request(f, sock, deadline)) {
        read_answer(f, sock, deadline);
    }
    apr_socket_close(sock);
    if (f->outcome == STLS_FETCH_OK && f->is_crl) {
        walk_crl(f);
    }
}

/* ---- flights -------------------------------------------------------------------------- */

static void destroy(mst_flight *f)
{
    stls_http_free(f->http);
    stls_crl_free(f->crl);
    stls_policy_free(f->policy);
    apr_pool_destroy(f->pool);
}

/* Under the mutex; 1 when the caller must destroy it, outside. */
static int unref(mst_flight *f)
{
    return --f->refs == 0;
}

static void *run(void *data)
{
    mst_flight *f = data;
    stls_reply reply = {0};
    int last;

    fly(f);
    mst_count(MST_FETCHES);
    if (f->outcome != STLS_FETCH_OK) {
        mst_count(MST_FETCH_FAILURES);
        if (f->is_shared) {
            reply.outcome = f->outcome;
            reply.detail = f->detail;
            mst_failure_put(f->id, apr_time_sec(apr_time_now()) + f->negative_ttl_s, &reply, NULL,
                            0);
        }
    }
    else if (f->crl != NULL && f->is_shared) {
        /* until somebody has judged it: a handshake may have given up on it */
        apr_time_t now_s = apr_time_sec(apr_time_now());

        mst_crl_put(f->question, f->crl, now_s + 60, now_s + 60,
                    (apr_size_t) stls_policy_get_int(f->policy, STLS_KEY_CRL_MEMORY_BYTES));
    }
    apr_thread_mutex_lock(mst_fetch_mutex);
    f->over = 1;
    num_flying--;
    if (f->is_shared) {
        apr_hash_set(flights, f->id, STLS_ID_LEN, NULL);
    }
    last = unref(f);
    apr_thread_cond_broadcast(landed);
    apr_thread_mutex_unlock(mst_fetch_mutex);
    if (last) {
        destroy(f);
    }
    return NULL;
}

/* Signals are for httpd's own threads. */
int mst_start_thread(void *(*run_it)(void *), void *data)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    if (pthread_attr_init(&attr) != 0) {
        return 0;
    }
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 512 * 1024);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&thread, &attr, run_it, data);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0;
}

static mst_flight *create(mst_runtime *rt, const stls_fetch *want, const unsigned char *id)
{
    apr_interval_time_t timeout = apr_time_from_msec(want->timeout_ms);
    apr_pool_t *pool = NULL;
    stls_http_target target;
    mst_flight *f;

    if (stls_http_parse_url(want->url, &target, NULL) != STLS_OK
        || apr_pool_create_unmanaged(&pool) != APR_SUCCESS) {
        return NULL;
    }
    f = apr_pcalloc(pool, sizeof(*f));
    f->pool = pool;
    f->http = stls_http_new(want, rt->proxy_host != NULL);
    if (f->http == NULL) {
        apr_pool_destroy(pool);
        return NULL;
    }
    memcpy(f->id, id, STLS_ID_LEN);
    memcpy(f->question, want->question, STLS_ID_LEN);
    f->is_crl = want->is_crl;
    f->is_shared = !rt->nonce || want->is_crl;
    f->policy = stls_policy_up_ref(rt->policy);
    f->via_proxy = rt->proxy_host != NULL;
    f->host = apr_pstrdup(pool, f->via_proxy ? rt->proxy_host : target.host);
    f->port = f->via_proxy ? rt->proxy_port : target.port_num;
    /* a CRL goes on in the background when a handshake has given up on it */
    f->timeout = want->is_crl || timeout < rt->fetch_total ? timeout : rt->fetch_total;
    f->negative_ttl_s = rt->negative_ttl_s;
    f->refs = 2;
    return f;
}

mst_flight *mst_flight_join(mst_runtime *rt, const stls_fetch *want, const unsigned char *id,
                            stls_reply *reply)
{
    mst_flight *f = NULL, *other;
    const char *said = "out of memory";

    memset(reply, 0, sizeof(*reply));
    reply->outcome = STLS_FETCH_NETWORK;
    apr_thread_mutex_lock(mst_fetch_mutex);
    if (!rt->nonce || want->is_crl) {
        f = apr_hash_get(flights, id, STLS_ID_LEN);
    }
    if (f != NULL) {
        f->refs++;
        apr_thread_mutex_unlock(mst_fetch_mutex);
        return f;
    }
    if (is_stopping || num_flying >= rt->max_in_flight) {
        reply->outcome = STLS_FETCH_DENIED;
        said = "too many fetches are in flight already (max_fetches_in_flight)";
    }
    else if ((f = create(rt, want, id)) != NULL) {
        num_flying++;
        if (f->is_shared) {
            apr_hash_set(flights, f->id, STLS_ID_LEN, f);
        }
        if (!mst_start_thread(run, f)) {
            num_flying--;
            if (f->is_shared) {
                apr_hash_set(flights, f->id, STLS_ID_LEN, NULL);
            }
            said = "no thread for the fetch";
            other = f;
            f = NULL;
            destroy(other);
        }
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
    reply->detail = said;
    return f;
}

void mst_flight_leave(mst_flight *f)
{
    int last;

    apr_thread_mutex_lock(mst_fetch_mutex);
    last = unref(f);
    apr_thread_mutex_unlock(mst_fetch_mutex);
    if (last) {
        destroy(f);
    }
}

int mst_flight_wait(mst_flight *const *waiting, int num, apr_time_t deadline)
{
    apr_interval_time_t left;
    int i, found = -1;

    apr_thread_mutex_lock(mst_fetch_mutex);
    for (;;) {
        for (i = 0; i < num && found < 0; i++) {
            if (waiting[i]->over) {
                found = i;
            }
        }
        left = deadline - apr_time_now();
        if (found >= 0 || left <= 0) {
            break;
        }
        apr_thread_cond_timedwait(landed, mst_fetch_mutex, left);
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
    return found;
}

stls_crl *mst_flight_get0(mst_flight *f, stls_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    reply->outcome = f->outcome;
    reply->detail = f->detail;
    if (f->outcome == STLS_FETCH_OK) {
        reply->bytes = f->body;
        reply->bytes_len = f->body_len;
    }
    return f->crl;
}

int mst_flight_claim(mst_flight *f)
{
    int first;

    apr_thread_mutex_lock(mst_fetch_mutex);
    first = !f->claimed;
    f->claimed = 1;
    apr_thread_mutex_unlock(mst_fetch_mutex);
    return first;
}
