/*
 * What was decided before: a verdict cache per process.  The counters are of
 * all processes.
 */
#include "mod_strict_tls.h"

#include <apr_shm.h>

#define DEFAULT_VERDICTS 4096
#define MAX_VERDICTS 10000000
/* Zeroed shared memory; every member is written atomically. */
typedef struct {
    volatile apr_uint32_t counters[MST_NUM_COUNTERS];
} shared;

static shared nowhere; /* before there is shared memory, and where there is none */
static shared *all = &nowhere;

static apr_thread_mutex_t *mutex;
static stls_verdict_cache *verdicts;
static size_t max_verdicts = DEFAULT_VERDICTS; /* StrictTLSMaxVerdicts */
static apr_uint32_t seen; /* news that the cache knows of */

const char *mst_set_max_verdicts(cmd_parms *cmd, void *dconf, const char *arg)
{
    const char *said = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    apr_int64_t num;
    char *end;

    (void) dconf;
    if (said != NULL) {
        return said;
    }
    num = apr_strtoi64(arg, &end, 10);
    if (*arg == '\0' || *end != '\0' || num < 1 || num > MAX_VERDICTS) {
        return apr_psprintf(cmd->pool, "StrictTLSMaxVerdicts must be a number from 1 to %d, not "
                            "'%s'", MAX_VERDICTS, arg);
    }
    max_verdicts = (size_t) num;
    return NULL;
}

void mst_verdict_pre_config(void)
{
    max_verdicts = DEFAULT_VERDICTS;
    all = &nowhere;
}

int mst_verdict_post_config(apr_pool_t *pconf, server_rec *s)
{
    apr_shm_t *shm;
    apr_status_t rv = apr_shm_create(&shm, sizeof(shared), NULL, pconf);

    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, rv, s, STLSLOGNO(20)
                     "strict-tls: no shared memory");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    all = apr_shm_baseaddr_get(shm);
    memset(all, 0, sizeof(*all));
    return OK;
}

void mst_verdict_child_init(apr_pool_t *p)
{
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, p);
    /* without memory for it every handshake is judged anew */
    verdicts = stls_verdict_cache_new(max_verdicts, NULL);
    seen = mst_epoch();
}

void mst_count(mst_counter counter)
{
    apr_atomic_inc32(&all->counters[counter]);
}

apr_uint32_t mst_counted(mst_counter counter)
{
    return apr_atomic_read32(&all->counters[counter]);
}

/* ---- the cache ------------------------------------------------------------------------------ */

/*
 * Under the mutex: forgets what rests on something that there is news about,
 * verdicts and CRLs: an older CRL would find the certificate good again.
 */
static void catch_up(void)
{
    unsigned char question[STLS_ID_LEN];

    while (seen != mst_epoch()) {
        if (mst_news_read(++seen, question)) {
            mst_crl_heard(question);
            if (verdicts != NULL) {
                (void) stls_verdict_cache_drop_question(verdicts, question);
            }
        }
        else {
            seen = mst_epoch();
            mst_crl_heard(NULL);
            if (verdicts != NULL) {
                stls_verdict_cache_clear(verdicts);
            }
        }
    }
}

void mst_catch_up(void)
{
    apr_thread_mutex_lock(mutex);
    catch_up();
    apr_thread_mutex_unlock(mutex);
}

stls_result *mst_verdict_get1(const unsigned char *key, apr_time_t now_s)
{
    stls_result *result = NULL;

    apr_thread_mutex_lock(mutex);
    catch_up();
    if (verdicts != NULL) {
        result = stls_verdict_cache_get0(verdicts, key, now_s);
        if (result != NULL) {
            result = stls_result_up_ref(result);
        }
    }
    apr_thread_mutex_unlock(mutex);
    return result;
}

/* `epoch` is when the check behind this result began to look at answers. */
void mst_verdict_put(const unsigned char *key, stls_result *result, apr_uint32_t epoch,
                     apr_time_t negative_ttl_s, apr_time_t now_s)
{
    stls_reason reason = stls_result_reason(result);
    apr_time_t rest;

    if (reason != STLS_REASON_OCSP_REVOKED && reason != STLS_REASON_CRL_REVOKED
        && mst_news_about(epoch, result)) {
        return;
    }
    apr_thread_mutex_lock(mutex);
    catch_up();
    if (verdicts != NULL) {
        (void) stls_verdict_cache_put(verdicts, key, result, now_s);
        /* Made of answers past half their life: nothing newer was to be had, halve the rest. */
        if (stls_result_refresh_at_s(result) <= now_s) {
            rest = (stls_result_valid_until_s(result) - now_s) / 2;
            stls_verdict_cache_defer_refresh(verdicts, key,
                now_s + 1 + (rest > negative_ttl_s ? rest : negative_ttl_s));
        }
    }
    apr_thread_mutex_unlock(mutex);
}

int mst_verdict_refresh_due(const unsigned char *key, apr_time_t now_s, apr_time_t next_s)
{
    int due;

    apr_thread_mutex_lock(mutex);
    due = verdicts && stls_verdict_cache_refresh_due(verdicts, key, now_s, next_s);
    apr_thread_mutex_unlock(mutex);
    return due;
}

apr_uint32_t mst_verdict_count(void)
{
    apr_uint32_t count = 0;

    apr_thread_mutex_lock(mutex);
    if (verdicts != NULL) {
        count = (apr_uint32_t) stls_verdict_cache_count(verdicts);
    }
    apr_thread_mutex_unlock(mutex);
    return count;
}
