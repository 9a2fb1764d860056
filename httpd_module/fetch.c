/*
 * Fetches: a bounded number of threads resolve, connect and read, so that a
 * request thread waits on a condition with a deadline and on nothing else.
 * All who want the same answer at the same time share one flight.
 */
#include "mod_strict_tls.h"

#include <openssl/evp.h>

/* How often a thread that reads looks whether the process wants to end. */
#define SLICE apr_time_from_msec(200)

struct mst_flight {
    mst_flight *next; /* in `queue` or `flying` */
    unsigned char id[STLS_ID_LEN];
    unsigned char question[STLS_ID_LEN];
    int refs; /* who waits, and the thread */
    enum { QUEUED, FLYING, OVER } state;
    mst_kept kept;
    int is_shared;
    int is_listed; /* in `flights` */
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
    const char *responder; /* the same, whatever proxy leads there */
    int via_proxy;
    apr_interval_time_t timeout;
    apr_time_t deadline; /* of the exchange; once it is flying */
    apr_time_t negative_ttl_s;
    int max_in_flight;
    apr_pool_t *pool;
};

apr_thread_mutex_t *mst_fetch_mutex;
static apr_thread_cond_t *landed;
static apr_hash_t *flights; /* to be joined: until what they brought is stored */
static mst_flight *flying;
static mst_flight *queue, **queue_end = &queue;
static int num_flying;
static apr_uint32_t num_settled;

void mst_fetch_child_init(apr_pool_t *p)
{
    apr_pool_t *forever = NULL;

    (void) p;
    /* flights may outlive every pool of httpd's */
    apr_pool_create_unmanaged(&forever);
    apr_thread_mutex_create(&mst_fetch_mutex, APR_THREAD_MUTEX_DEFAULT, forever);
    apr_thread_cond_create(&landed, forever);
    flights = apr_hash_make(forever);
    flying = queue = NULL;
    queue_end = &queue;
    num_flying = 0;
    num_settled = 0;
}

/* A CRL goes on in the background when a handshake has given up on it. */
static apr_interval_time_t timeout_of(const mst_runtime *rt, const stls_fetch *want)
{
    apr_interval_time_t timeout = apr_time_from_msec(want->timeout_ms);

    return want->is_crl || timeout < rt->fetch_total ? timeout : rt->fetch_total;
}

void mst_flight_id(const mst_runtime *rt, const stls_fetch *want, unsigned char *id)
{
    apr_interval_time_t timeout = timeout_of(rt, want);
    unsigned char text[STLS_ID_LEN + sizeof(timeout) + 512];
    int len;

    memcpy(text, want->flight, STLS_ID_LEN);
    memcpy(text + STLS_ID_LEN, &timeout, sizeof(timeout));
    len = apr_snprintf((char *) text + STLS_ID_LEN + sizeof(timeout), 512, "%s:%u",
                       rt->proxy_host ? rt->proxy_host : "", rt->proxy_port);
    (void) EVP_Digest(text, STLS_ID_LEN + sizeof(timeout) + (apr_size_t) len, id, NULL,
                      EVP_sha256(), NULL);
}

/* ---- one exchange, in a thread of its own ------------------------------------------- */

static void fail(mst_flight *f, stls_fetch_outcome outcome, const char *detail)
{
    f->outcome = outcome;
    apr_cpystrn(f->detail, detail, sizeof(f->detail));
}

/* It is this process that lacks something, and not the network that fails. */
static int is_local(apr_status_t rv)
{
    return APR_STATUS_IS_ENOMEM(rv) || APR_STATUS_IS_EMFILE(rv) || APR_STATUS_IS_ENFILE(rv)
        || rv == ENOBUFS || rv == EADDRNOTAVAIL;
}

static void fail_status(mst_flight *f, apr_status_t rv, const char *step)
{
    char why[120];

    if (is_local(rv)) {
        f->outcome = STLS_FETCH_LOCAL;
        apr_snprintf(f->detail, sizeof(f->detail), "%s %s:%d: %s", step, f->host, f->port,
                     apr_strerror(rv, why, sizeof(why)));
        return;
    }
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

    if (left <= 0 || mst_is_stopping()) {
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
            if (f->outcome == 0) {
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
            mst_thread_pause();
            rv = apr_socket_connect(sock, addr);
            mst_thread_resume();
            if (rv == APR_SUCCESS) {
                return sock;
            }
            apr_socket_close(sock);
        }
        fail_status(f, rv, "connecting to");
        if (f->outcome == STLS_FETCH_TIMEOUT || f->outcome == STLS_FETCH_LOCAL) {
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
        mst_thread_pause();
        rv = apr_socket_send(sock, (const char *) bytes, &sent);
        mst_thread_resume();
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
        mst_thread_pause();
        rv = apr_socket_recv(sock, buf, &len);
        mst_thread_resume();
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
        fail(f, STLS_FETCH_LOCAL, "out of memory");
        return;
    }
    if (f->body_len > 0) {
        memcpy(der, f->body, f->body_len);
    }
    crl = stls_crl_new(NULL, der, f->body_len, free);
    if (crl != NULL) {
        do {
            state = stls_crl_step(crl, 1024 * 1024);
        } while (state == STLS_CRL_MORE && !mst_is_stopping());
    }
    if (state == STLS_CRL_DONE) {
        f->crl = crl;
        stls_http_free(f->http);
        f->http = NULL;
        f->body = NULL;
        f->body_len = 0;
    }
    else {
        if (crl == NULL || stls_crl_lacks_memory(crl) || state == STLS_CRL_MORE) {
            fail(f, STLS_FETCH_LOCAL, "this process has no memory for it, or ends");
        }
        stls_crl_free(crl);
    }
}

/* Without a descriptor no name is resolved either, and the resolver tells it as a network error. */
static apr_status_t lack_of_descriptors(apr_pool_t *pool)
{
    apr_socket_t *sock;
    apr_status_t rv = apr_socket_create(&sock, APR_INET, SOCK_DGRAM, 0, pool);

    if (rv == APR_SUCCESS) {
        apr_socket_close(sock);
    }
    return is_local(rv) ? rv : APR_SUCCESS;
}

static void fly(mst_flight *f)
{
    apr_sockaddr_t *addr = NULL;
    apr_socket_t *sock;
    apr_status_t rv;

    mst_thread_pause();
    rv = apr_sockaddr_info_get(&addr, f->host, APR_UNSPEC, f->port, 0, f->pool);
    mst_thread_resume();
    if (rv != APR_SUCCESS || addr == NULL) {
        rv = is_local(rv) ? rv : lack_of_descriptors(f->pool);
        if (rv != APR_SUCCESS) {
            fail_status(f, rv, "resolving");
            return;
        }
        f->outcome = STLS_FETCH_NETWORK;
        apr_snprintf(f->detail, sizeof(f->detail), "%s could not be resolved", f->host);
        return;
    }
    sock = connect_to(f, addr, f->deadline);
    if (sock == NULL) {
        return;
    }
    if (send_request(f, sock, f->deadline)) {
        read_answer(f, sock, f->deadline);
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

/* Under the mutex: nobody joins it from here on. */
static void unlist(mst_flight *f)
{
    if (f->is_listed) {
        apr_hash_set(flights, f->id, STLS_ID_LEN, NULL);
        f->is_listed = 0;
        num_settled++;
    }
}

/* Under the mutex. */
static void take_off(mst_flight **list, mst_flight *f)
{
    while (*list != f) {
        list = &(*list)->next;
    }
    *list = f->next;
    f->next = NULL;
    for (queue_end = &queue; *queue_end; queue_end = &(*queue_end)->next) {
    }
}

/* Under the mutex; 1 when the caller must destroy it, outside. */
static int unref(mst_flight *f)
{
    if (--f->refs > 0) {
        return 0;
    }
    if (f->state == QUEUED) { /* whoever wanted it has gone */
        take_off(&queue, f);
    }
    unlist(f);
    return 1;
}

/* What nobody waits for any more serves the next one who asks. */
static void keep_late(mst_flight *f)
{
    apr_time_t now_s = apr_time_sec(apr_time_now());
    stls_reply reply = {0};

    reply.outcome = f->outcome;
    reply.detail = f->detail;
    reply.bytes = f->body;
    reply.bytes_len = f->body_len;
    if (f->crl != NULL) {
        mst_crl_put_candidate(f->question, f->crl, now_s + 60,
                              (apr_size_t) stls_policy_get_int(f->policy,
                                                               STLS_KEY_CRL_MEMORY_BYTES));
    }
    else {
        mst_failure_put(f->id, now_s + f->negative_ttl_s, &reply, NULL, 0);
    }
}

static void start_more(void);

static void *run(void *data)
{
    mst_flight *f = data;
    int is_awaited, last;

    fly(f);
    mst_count(MST_FETCHES);
    if (f->outcome != STLS_FETCH_OK) {
        mst_count(MST_FETCH_FAILURES);
    }
    apr_thread_mutex_lock(mst_fetch_mutex);
    is_awaited = f->refs > 1;
    apr_thread_mutex_unlock(mst_fetch_mutex);
    /* before anybody is told, so that nobody asks in between */
    if (f->is_shared && f->outcome != STLS_FETCH_LOCAL
        && (f->outcome != STLS_FETCH_OK || f->crl != NULL || !is_awaited)) {
        keep_late(f);
    }
    apr_thread_mutex_lock(mst_fetch_mutex);
    take_off(&flying, f);
    num_flying--;
    f->state = OVER;
    if (f->outcome != STLS_FETCH_OK) {
        unlist(f);
    }
    last = unref(f);
    start_more();
    apr_thread_cond_broadcast(landed);
    apr_thread_mutex_unlock(mst_fetch_mutex);
    if (last) {
        destroy(f);
    }
    return NULL;
}

/*
 * Under the mutex: may it start now?  One responder does not get every place,
 * or those of others would wait for a silent one until their time is over: it
 * gets another while half as many as it has are free.
 */
static int may_start(const mst_flight *f)
{
    int num_free = f->max_in_flight - num_flying, num = 0;
    const mst_flight *other;

    if (num_free <= 0) {
        return 0;
    }
    for (other = flying; other; other = other->next) {
        num += !strcmp(other->responder, f->responder);
    }
    return 2 * num_free >= num;
}

/* Under the mutex: who has waited longest comes first. */
static void start_more(void)
{
    mst_flight *f, *next;

    for (f = queue; f != NULL; f = next) {
        next = f->next;
        if (mst_is_stopping() || !may_start(f)) {
            continue;
        }
        take_off(&queue, f);
        f->next = flying;
        flying = f;
        num_flying++;
        f->refs++;
        f->state = FLYING;
        f->deadline = apr_time_now() + f->timeout;
        if (!mst_start_thread(run, f)) {
            take_off(&flying, f);
            num_flying--;
            f->refs--; /* whoever has queued it is still there */
            f->state = OVER;
            fail(f, STLS_FETCH_LOCAL, "there is no thread for it");
            unlist(f);
        }
    }
}

static mst_flight *create(mst_runtime *rt, const stls_fetch *want, const unsigned char *id)
{
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
    f->responder = apr_psprintf(pool, "%s:%u", target.host, target.port_num);
    f->timeout = timeout_of(rt, want);
    f->negative_ttl_s = rt->negative_ttl_s;
    f->max_in_flight = rt->max_in_flight;
    f->refs = 1;
    return f;
}

apr_uint32_t mst_flights_settled(void)
{
    apr_uint32_t num;

    apr_thread_mutex_lock(mst_fetch_mutex);
    num = num_settled;
    apr_thread_mutex_unlock(mst_fetch_mutex);
    return num;
}

mst_flight *mst_flight_join(mst_runtime *rt, const stls_fetch *want, const unsigned char *id,
                            apr_uint32_t settled, int *look_again)
{
    mst_flight *f = NULL;

    apr_thread_mutex_lock(mst_fetch_mutex);
    if (!rt->nonce || want->is_crl) {
        f = apr_hash_get(flights, id, STLS_ID_LEN);
        *look_again = f == NULL && settled != num_settled;
    }
    else {
        *look_again = 0;
    }
    if (f != NULL) {
        f->refs++;
    }
    else if (!*look_again && (f = create(rt, want, id)) != NULL) {
        if (f->is_shared) {
            apr_hash_set(flights, f->id, STLS_ID_LEN, f);
            f->is_listed = 1;
        }
        *queue_end = f;
        queue_end = &f->next;
        start_more();
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
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
            if (waiting[i]->state == OVER) {
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

mst_given_up mst_flight_give_up(mst_flight *f)
{
    mst_given_up how;

    apr_thread_mutex_lock(mst_fetch_mutex);
    how = f->state == QUEUED ? MST_HAD_NO_PLACE
        : f->deadline <= apr_time_now() ? MST_HAD_ITS_TIME : MST_GOES_ON;
    apr_thread_mutex_unlock(mst_fetch_mutex);
    return how;
}

int mst_flight_keep(mst_flight *f, mst_kept what)
{
    int is_better;

    apr_thread_mutex_lock(mst_fetch_mutex);
    is_better = what > f->kept;
    if (is_better) {
        f->kept = what;
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
    return is_better;
}

void mst_flight_settled(mst_flight *f)
{
    apr_thread_mutex_lock(mst_fetch_mutex);
    unlist(f);
    apr_thread_mutex_unlock(mst_fetch_mutex);
}
