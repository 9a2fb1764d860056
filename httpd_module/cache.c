/*
 * Which OCSP answers are known: in any socache provider, shared by processes or
 * by a fleet.  Nothing here is trusted: the core verifies every answer again.
 */
#include "mod_strict_tls.h"

#include <ap_provider.h>
#include <ap_socache.h>
#include <util_mutex.h>

#include <openssl/ocsp.h>

/* In front of the DER: magic and version, then two times in network order. */
#define MAGIC "STLS-OCSP-1"
#define HEADER_LEN (sizeof(MAGIC) + 16)

/* More than what is written now may stand there. */
#define MAX_LOOK 65536

/* How many threads may be with a provider on the network, most of them for nothing. */
#define MAX_ERRANDS 32

/* A provider that takes so long is not asked again for a while. */
#define SLOW apr_time_from_msec(500)
#define PAUSE apr_time_from_sec(15)

static const char mutex_type[] = "strict-tls-cache";

static const ap_socache_provider_t *provider;
static ap_socache_instance_t *instance;
static apr_global_mutex_t *mutex; /* for providers that are not safe by themselves */
static int is_none;               /* StrictTLSCache none */
static server_rec *main_server;
static volatile apr_time_t paused_until;

/*
 * One call of a provider that reaches over the network, in a thread of its own:
 * some of them know no time limit.
 */
typedef struct {
    int refs;
    int over;
    enum { RETRIEVE, STORE, REMOVE } what;
    unsigned char question[STLS_ID_LEN];
    unsigned char *buf;
    unsigned int len;
    apr_time_t expiry;
    apr_status_t rv;
    apr_pool_t *pool;
} errand;

static apr_thread_mutex_t *errand_mutex;
static apr_thread_cond_t *errand_over;
static int num_errands;

/* ---- StrictTLSCache ------------------------------------------------------------------- */

void mst_cache_pre_config(apr_pool_t *pconf)
{
    provider = NULL;
    instance = NULL;
    mutex = NULL;
    is_none = 0;
    ap_mutex_register(pconf, mutex_type, NULL, APR_LOCK_DEFAULT, 0);
}

static const char *create(cmd_parms *cmd, const char *name, const char *arg)
{
    const char *err;

    provider = ap_lookup_provider(AP_SOCACHE_PROVIDER_GROUP, name, AP_SOCACHE_PROVIDER_VERSION);
    if (provider == NULL) {
        apr_array_header_t *known = ap_list_provider_names(cmd->temp_pool, AP_SOCACHE_PROVIDER_GROUP,
                                                           AP_SOCACHE_PROVIDER_VERSION);
        const char *list = "none";
        int i;

        for (i = 0; i < known->nelts; i++) {
            list = apr_pstrcat(cmd->temp_pool, list, ", ",
                               APR_ARRAY_IDX(known, i, ap_list_provider_names_t).provider_name,
                               NULL);
        }
        return apr_psprintf(cmd->pool, "StrictTLSCache: no provider '%s'; loaded are %s (maybe "
                            "mod_socache_%s must be loaded first)", name, list, name);
    }
    err = provider->create(&instance, arg, cmd->temp_pool, cmd->pool);
    return err ? apr_psprintf(cmd->pool, "StrictTLSCache: %s", err) : NULL;
}

const char *mst_set_cache(cmd_parms *cmd, void *dummy, const char *arg)
{
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    const char *colon = ap_strchr_c(arg, ':');

    (void) dummy;
    if (err != NULL) {
        return err;
    }
    if (provider != NULL || is_none) {
        return "StrictTLSCache is given twice";
    }
    if (!ap_cstr_casecmp(arg, "none")) {
        is_none = 1;
        return NULL;
    }
    return colon ? create(cmd, apr_pstrmemdup(cmd->temp_pool, arg, (apr_size_t) (colon - arg)),
                          apr_pstrdup(cmd->pool, colon + 1))
                 : create(cmd, arg, NULL);
}

int mst_cache_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    static const struct ap_socache_hints hints = {STLS_ID_LEN, 2048, 60 * APR_USEC_PER_SEC};
    apr_status_t rv;

    main_server = s;
    if (provider == NULL && !is_none) {
        provider = ap_lookup_provider(AP_SOCACHE_PROVIDER_GROUP, "shmcb",
                                      AP_SOCACHE_PROVIDER_VERSION);
        if (provider != NULL
            && provider->create(&instance, NULL, ptemp, pconf) != NULL) {
            provider = NULL;
        }
    }
    if (provider == NULL) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, s, STLSLOGNO(30)
                     "strict-tls: no cache of OCSP answers: load mod_socache_shmcb, or see "
                     "StrictTLSCache");
        return OK;
    }
    if (provider->flags & AP_SOCACHE_FLAG_NOTMPSAFE) {
        rv = ap_global_mutex_create(&mutex, NULL, mutex_type, NULL, s, pconf, 0);
        if (rv != APR_SUCCESS) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    rv = provider->init(instance, "strict-tls", &hints, s, pconf);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, rv, s, STLSLOGNO(31)
                     "strict-tls: cache %s cannot be used", provider->name);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

void mst_cache_child_init(apr_pool_t *p)
{
    apr_pool_t *forever = NULL;

    if (mutex != NULL
        && apr_global_mutex_child_init(&mutex, apr_global_mutex_lockfile(mutex), p)
           != APR_SUCCESS) {
        provider = NULL; /* without its lock it is of no use */
    }
    /* as long as fetches may be under way */
    apr_pool_create_unmanaged(&forever);
    apr_thread_mutex_create(&errand_mutex, APR_THREAD_MUTEX_DEFAULT, forever);
    apr_thread_cond_create(&errand_over, forever);
    num_errands = 0;
}

static void lock(void)
{
    if (mutex != NULL) {
        apr_global_mutex_lock(mutex);
    }
}

static void unlock(void)
{
    if (mutex != NULL) {
        apr_global_mutex_unlock(mutex);
    }
}

static int is_paused(void)
{
    return provider == NULL || apr_time_now() < paused_until;
}

static void pause_provider(void)
{
    paused_until = apr_time_now() + PAUSE;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, main_server, STLSLOGNO(32)
                 "strict-tls: cache %s does not answer and is not asked for %d s", provider->name,
                 (int) apr_time_sec(PAUSE));
}

static apr_status_t call_provider(errand *e)
{
    apr_status_t rv;

    lock();
    switch (e->what) {
    case STORE:
        rv = provider->store(instance, main_server, e->question, STLS_ID_LEN, e->expiry, e->buf,
                             e->len, e->pool);
        break;
    case REMOVE:
        rv = provider->remove(instance, main_server, e->question, STLS_ID_LEN, e->pool);
        break;
    default:
        rv = provider->retrieve(instance, main_server, e->question, STLS_ID_LEN, e->buf, &e->len,
                                e->pool);
        break;
    }
    unlock();
    return rv;
}

static void *run_errand(void *data)
{
    errand *e = data;
    int last;

    mst_thread_pause();
    e->rv = call_provider(e);
    mst_thread_resume();
    apr_thread_mutex_lock(errand_mutex);
    e->over = 1;
    num_errands--;
    last = --e->refs == 0;
    apr_thread_cond_broadcast(errand_over);
    apr_thread_mutex_unlock(errand_mutex);
    if (last) {
        apr_pool_destroy(e->pool);
    }
    return NULL;
}

static errand *make_errand(int what, const unsigned char *question, unsigned int size)
{
    apr_pool_t *pool = NULL;
    errand *e;

    if (apr_pool_create_unmanaged(&pool) != APR_SUCCESS) {
        return NULL;
    }
    e = apr_pcalloc(pool, sizeof(*e));
    e->pool = pool;
    e->refs = 1;
    e->what = what;
    memcpy(e->question, question, STLS_ID_LEN);
    e->buf = apr_palloc(pool, size + 1);
    e->len = size;
    return e;
}

static void drop_errand(errand *e)
{
    int last;

    apr_thread_mutex_lock(errand_mutex);
    last = --e->refs == 0;
    apr_thread_mutex_unlock(errand_mutex);
    if (last) {
        apr_pool_destroy(e->pool);
    }
}

/* A local provider is called at once; one on the network is waited for only so long. */
static apr_status_t carry_out(errand *e)
{
    apr_time_t until = apr_time_now() + SLOW;
    apr_status_t rv = APR_TIMEUP;

    if (provider->flags & AP_SOCACHE_FLAG_NOTMPSAFE) {
        return call_provider(e);
    }
    apr_thread_mutex_lock(errand_mutex);
    if (num_errands < MAX_ERRANDS) {
        num_errands++;
        e->refs++;
        if (!mst_start_thread(run_errand, e)) {
            num_errands--;
            e->refs--;
            until = 0;
        }
        while (!e->over && apr_time_now() < until) {
            apr_thread_cond_timedwait(errand_over, errand_mutex, until - apr_time_now());
        }
        if (e->over) {
            rv = e->rv;
        }
        else if (until != 0) {
            pause_provider();
        }
    }
    apr_thread_mutex_unlock(errand_mutex);
    return rv;
}

/* ---- OCSP answers ----------------------------------------------------------------------- */

static void put_time(unsigned char *at, apr_time_t time_s)
{
    int i;

    for (i = 7; i >= 0; i--, time_s >>= 8) {
        at[i] = (unsigned char) (time_s & 0xff);
    }
}

static apr_time_t get_time(const unsigned char *at)
{
    apr_uint64_t time_s = 0;
    int i;

    for (i = 0; i < 8; i++) {
        time_s = time_s << 8 | at[i];
    }
    return (apr_time_t) time_s;
}

/* The whole entry, of at most `max_len` bytes of DER; NULL: there is none. */
static errand *retrieve(const unsigned char *question, apr_size_t max_len,
                        apr_time_t *refresh_at_s, apr_time_t *produced_s)
{
    errand *e = make_errand(RETRIEVE, question, (unsigned int) (max_len + HEADER_LEN));

    if (e == NULL) {
        return NULL;
    }
    if (carry_out(e) != APR_SUCCESS || e->len <= HEADER_LEN
        || memcmp(e->buf, MAGIC, sizeof(MAGIC))) {
        drop_errand(e);
        return NULL;
    }
    *refresh_at_s = get_time(e->buf + sizeof(MAGIC));
    *produced_s = get_time(e->buf + sizeof(MAGIC) + 8);
    return e;
}

int mst_cache_get(const unsigned char *question, apr_size_t max_len, int for_refresh,
                  apr_pool_t *pool, unsigned char **der, apr_size_t *der_len)
{
    apr_time_t refresh_at_s, produced_s;
    errand *e = is_paused() ? NULL : retrieve(question, max_len, &refresh_at_s, &produced_s);

    if (e == NULL) {
        return 0;
    }
    *der_len = e->len - HEADER_LEN;
    *der = apr_pmemdup(pool, e->buf + HEADER_LEN, *der_len);
    drop_errand(e);
    return !for_refresh || refresh_at_s > apr_time_sec(apr_time_now());
}

void mst_cache_remove(const unsigned char *question)
{
    errand *e = is_paused() ? NULL : make_errand(REMOVE, question, 0);

    if (e != NULL) {
        (void) carry_out(e);
        drop_errand(e);
    }
}

/* Whether it claims that somebody is revoked: for keeping it, never for trust. */
static int claims_revoked(const unsigned char *der, apr_size_t len)
{
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &der, (long) len);
    OCSP_BASICRESP *basic = response ? OCSP_response_get1_basic(response) : NULL;
    int found = 0, i;

    for (i = 0; basic != NULL && i < OCSP_resp_count(basic); i++) {
        found |= OCSP_single_get0_status(OCSP_resp_get0(basic, i), NULL, NULL, NULL, NULL)
            == V_OCSP_CERTSTATUS_REVOKED;
    }
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return found;
}

void mst_cache_remove_good(const unsigned char *question)
{
    apr_time_t refresh_at_s, produced_s;
    errand *e = is_paused() ? NULL : retrieve(question, MAX_LOOK, &refresh_at_s, &produced_s);
    int is_good = e != NULL && !claims_revoked(e->buf + HEADER_LEN, e->len - HEADER_LEN);

    if (e != NULL) {
        drop_errand(e);
    }
    if (is_good) {
        mst_cache_remove(question);
    }
}

int mst_cache_put(const unsigned char *question, const stls_answer *answer,
                  const unsigned char *der, apr_size_t der_len)
{
    apr_time_t now_s = apr_time_sec(apr_time_now()), refresh_at_s = answer->refresh_at_s;
    apr_time_t old_refresh_s, old_produced_s;
    errand *e;

    if (is_paused() || answer->use_until_s <= now_s) {
        return 1;
    }
    /* what is newer stays, unless it claims to come from the future */
    e = retrieve(question, der_len + MAX_LOOK, &old_refresh_s, &old_produced_s);
    if (e != NULL) {
        drop_errand(e);
        if (old_produced_s > answer->produced_s && old_produced_s <= now_s) {
            return 0;
        }
    }
    /* handed out past half its life: none newer is to be had, halve the rest */
    if (refresh_at_s <= now_s) {
        refresh_at_s = now_s + 1 + (answer->use_until_s - now_s) / 2;
    }
    e = is_paused() ? NULL : make_errand(STORE, question, (unsigned int) (HEADER_LEN + der_len));
    if (e == NULL) {
        return 1;
    }
    memcpy(e->buf, MAGIC, sizeof(MAGIC));
    put_time(e->buf + sizeof(MAGIC), refresh_at_s);
    put_time(e->buf + sizeof(MAGIC) + 8, answer->produced_s);
    memcpy(e->buf + HEADER_LEN, der, der_len);
    e->expiry = apr_time_from_sec(answer->use_until_s);
    (void) carry_out(e); /* until it is there: who looks for it next must find it */
    drop_errand(e);
    return 1;
}

void mst_cache_status(request_rec *r, int flags)
{
    if (provider != NULL && provider->status != NULL) {
        lock();
        provider->status(instance, r, flags);
        unlock();
    }
}
