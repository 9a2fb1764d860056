/*
 * What must all processes know?  Which questions were answered in a way that
 * ends what rests on an older answer: a certificate is revoked, or there is
 * another CRL.
 */
#include "mod_strict_tls.h"

#include <apr_shm.h>

#include <sched.h>

#define NUM_NEWS 128

/* Announced so far, found by question: NUM_SETS * SET_LEN of them. */
#define NUM_SETS 512
#define SET_LEN 8

/* How long a revocation that was announced is not announced again. */
#define REVOKED_FOR_S 3600

/* A process that ended with the lock must not keep it. */
#define MAX_SPINS 2000

typedef struct {
    unsigned char question[STLS_ID_LEN];
    unsigned char content[STLS_ID_LEN]; /* id of the CRL; of a revoked certificate zeros */
    apr_time_t until_s;
} known;

/* Zeroed shared memory. */
typedef struct {
    volatile apr_uint32_t epoch; /* news so far */
    struct {
        volatile apr_uint32_t number; /* of what is written here; 0 while it is being written */
        unsigned char question[STLS_ID_LEN];
    } news[NUM_NEWS];
    volatile apr_uint32_t is_locked; /* about `sets` */
    known sets[NUM_SETS][SET_LEN];
} shared;

static shared nowhere; /* before there is shared memory, and where there is none */
static shared *all = &nowhere;
static const unsigned char nothing[STLS_ID_LEN];

void mst_news_pre_config(void)
{
    all = &nowhere;
}

int mst_news_post_config(apr_pool_t *pconf, server_rec *s)
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

/* ---- what was announced ------------------------------------------------------------------ */

static void lock(void)
{
    int spins;

    for (spins = 0; apr_atomic_cas32(&all->is_locked, 1, 0) != 0 && spins < MAX_SPINS; spins++) {
        sched_yield();
    }
}

static void unlock(void)
{
    apr_atomic_set32(&all->is_locked, 0);
}

static known *find(const unsigned char *question)
{
    known *set = all->sets[(question[0] << 8 | question[1]) % NUM_SETS];
    int i;

    for (i = 0; i < SET_LEN; i++) {
        if (set[i].until_s != 0 && !memcmp(set[i].question, question, STLS_ID_LEN)) {
            return &set[i];
        }
    }
    return NULL;
}

/* Where it is to be written: the place of what ends first, if there is no free one. */
static known *place_of(const unsigned char *question)
{
    known *set = all->sets[(question[0] << 8 | question[1]) % NUM_SETS], *first = set;
    int i;

    for (i = 1; i < SET_LEN; i++) {
        if (set[i].until_s < first->until_s) {
            first = &set[i];
        }
    }
    return first;
}

/* 1: not known until now. */
static int learn(const unsigned char *question, const unsigned char *content, apr_time_t until_s)
{
    apr_time_t now_s = apr_time_sec(apr_time_now());
    known *entry;
    int is_new;

    lock();
    entry = find(question);
    is_new = entry == NULL || entry->until_s < now_s
        || memcmp(entry->content, content, STLS_ID_LEN);
    if (is_new) {
        entry = entry ? entry : place_of(question);
        memcpy(entry->question, question, STLS_ID_LEN);
        memcpy(entry->content, content, STLS_ID_LEN);
        entry->until_s = until_s;
    }
    else if (entry->until_s < until_s) {
        entry->until_s = until_s;
    }
    unlock();
    return is_new;
}

/* ---- news ------------------------------------------------------------------------------------ */

apr_uint32_t mst_epoch(void)
{
    return apr_atomic_read32(&all->epoch);
}

/* Who reads a place that is written to finds another number there and assumes the worst. */
static void announce(const unsigned char *question)
{
    apr_uint32_t number = apr_atomic_inc32(&all->epoch) + 1;
    apr_uint32_t place = number % NUM_NEWS;

    apr_atomic_set32(&all->news[place].number, 0);
    memcpy(all->news[place].question, question, STLS_ID_LEN);
    apr_atomic_set32(&all->news[place].number, number);
}

int mst_news_read(apr_uint32_t number, unsigned char *question)
{
    apr_uint32_t place = number % NUM_NEWS;

    if (apr_atomic_read32(&all->news[place].number) != number) {
        return 0;
    }
    memcpy(question, all->news[place].question, STLS_ID_LEN);
    return apr_atomic_read32(&all->news[place].number) == number;
}

/* Should it be revoked again, that is news. */
static void forget_revoked(const unsigned char *question)
{
    known *entry;

    lock();
    entry = find(question);
    if (entry != NULL && !memcmp(entry->content, nothing, STLS_ID_LEN)) {
        entry->until_s = 0;
    }
    unlock();
}

void mst_news_of(const stls_result *result)
{
    apr_time_t until_s = apr_time_sec(apr_time_now()) + REVOKED_FOR_S;
    size_t num, num_revoked, i;
    const unsigned char *revoked = stls_result_get0_revoked(result, &num_revoked);
    const unsigned char *questions = stls_result_get0_questions(result, &num);

    for (i = 0; i < num_revoked; i++) {
        if (learn(revoked + i * STLS_ID_LEN, nothing, until_s)) {
            /* what its responder said before is no answer any more */
            mst_cache_remove_good(revoked + i * STLS_ID_LEN);
            announce(revoked + i * STLS_ID_LEN);
        }
    }
    for (i = 0; i < num && stls_result_reason(result) == STLS_REASON_NONE; i++) {
        forget_revoked(questions + i * STLS_ID_LEN);
    }
}

int mst_news_crl(const unsigned char *question, const stls_crl *crl, apr_time_t until_s)
{
    unsigned char id[STLS_ID_LEN];

    if (stls_crl_id(crl, id) == STLS_OK && !learn(question, id, until_s)) {
        return 0;
    }
    announce(question);
    return 1;
}

int mst_news_is_crl_of(const unsigned char *question, const stls_crl *crl)
{
    unsigned char id[STLS_ID_LEN];
    known *entry;
    int is_it;

    if (stls_crl_id(crl, id) != STLS_OK) {
        return 0;
    }
    lock();
    entry = find(question);
    is_it = entry != NULL && !memcmp(entry->content, id, STLS_ID_LEN);
    unlock();
    return is_it;
}

static int rests_on(const stls_result *result, const unsigned char *question)
{
    size_t num, i;
    const unsigned char *questions = stls_result_get0_questions(result, &num);

    for (i = 0; i < num; i++) {
        if (!memcmp(questions + i * STLS_ID_LEN, question, STLS_ID_LEN)) {
            return 1;
        }
    }
    return 0;
}

int mst_news_about(apr_uint32_t since, const stls_result *result)
{
    unsigned char question[STLS_ID_LEN];

    while (since != mst_epoch()) {
        if (!mst_news_read(++since, question) || rests_on(result, question)) {
            return 1;
        }
    }
    return 0;
}
