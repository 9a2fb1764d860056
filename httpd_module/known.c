/*
 * What does this process know?  Which fetches failed a moment ago, or brought
 * what settled nothing, and which CRLs are indexed.  Nothing here is trusted:
 * the core verifies every answer again.
 */
#include "mod_strict_tls.h"

#define MAX_FAILURES 4096

typedef struct store_entry {
    unsigned char key[STLS_ID_LEN];
    apr_time_t until_s;
    apr_time_t refresh_at_s;
    apr_time_t used_at;
    stls_fetch_outcome outcome; /* of a failure */
    char *bytes;
    apr_size_t len;
    stls_crl *crl;
} store_entry;

/* Candidates were fetched, and no check has judged them yet. */
static apr_hash_t *failures, *crls, *candidates;
static apr_size_t crl_bytes; /* of all of them */

void mst_known_child_init(void)
{
    apr_pool_t *forever = NULL;

    apr_pool_create_unmanaged(&forever); /* as long as fetches may be under way */
    failures = apr_hash_make(forever);
    crls = apr_hash_make(forever);
    candidates = apr_hash_make(forever);
    crl_bytes = 0;
}

/* ---- failures -------------------------------------------------------------------------------- */

static void drop(apr_hash_t *store, store_entry *entry)
{
    apr_hash_set(store, entry->key, STLS_ID_LEN, NULL);
    if (entry->crl != NULL) {
        crl_bytes -= stls_crl_memory_len(entry->crl);
        stls_crl_free(entry->crl);
    }
    free(entry->bytes);
    free(entry);
}

/* Those that are over, and if that is not enough the one that was not used for longest. */
static void make_room(apr_hash_t *store, apr_time_t now_s, unsigned int max, apr_size_t max_bytes)
{
    store_entry *oldest = NULL, *entry;
    apr_hash_index_t *i;

    for (i = apr_hash_first(NULL, store); i; i = apr_hash_next(i)) {
        entry = apr_hash_this_val(i);
        if (entry->until_s <= now_s) {
            drop(store, entry); /* APR's hashes allow it for the current one */
        }
        else if (oldest == NULL || entry->used_at < oldest->used_at) {
            oldest = entry;
        }
    }
    if (oldest != NULL && (apr_hash_count(store) >= max || crl_bytes > max_bytes)) {
        drop(store, oldest);
    }
}

/* Under the mutex; 1 when there is room for so much now. */
static int make_crl_room(apr_time_t now_s, apr_size_t len, apr_size_t max_bytes)
{
    if (len > max_bytes) {
        return 0;
    }
    while (crl_bytes > max_bytes - len && apr_hash_count(candidates) > 0) {
        make_room(candidates, now_s, ~0U, max_bytes - len);
    }
    while (crl_bytes > max_bytes - len && apr_hash_count(crls) > 0) {
        make_room(crls, now_s, ~0U, max_bytes - len);
    }
    if (crl_bytes > max_bytes - len) {
        make_room(failures, now_s, ~0U, max_bytes - len);
    }
    return crl_bytes <= max_bytes - len;
}

static store_entry *add(apr_hash_t *store, const unsigned char *key, apr_time_t until_s)
{
    store_entry *entry = apr_hash_get(store, key, STLS_ID_LEN);

    if (entry != NULL) {
        drop(store, entry);
    }
    entry = calloc(1, sizeof(*entry));
    if (entry != NULL) {
        memcpy(entry->key, key, STLS_ID_LEN);
        entry->until_s = until_s;
        entry->used_at = apr_time_now();
        apr_hash_set(store, entry->key, STLS_ID_LEN, entry);
    }
    return entry;
}

int mst_failure_get(const unsigned char *flight, apr_time_t now_s, apr_pool_t *pool,
                    stls_reply *reply, stls_crl **crl)
{
    store_entry *entry;
    int found;

    *crl = NULL;
    apr_thread_mutex_lock(mst_fetch_mutex);
    entry = apr_hash_get(failures, flight, STLS_ID_LEN);
    found = entry != NULL && entry->until_s > now_s;
    if (found) {
        memset(reply, 0, sizeof(*reply));
        reply->outcome = entry->outcome;
        if (entry->crl != NULL) {
            *crl = stls_crl_up_ref(entry->crl);
        }
        else if (entry->outcome == STLS_FETCH_OK) {
            reply->bytes = apr_pmemdup(pool, entry->bytes, entry->len);
            reply->bytes_len = entry->len;
        }
        else {
            reply->detail = apr_pstrmemdup(pool, entry->bytes, entry->len);
        }
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
    return found;
}

void mst_failure_put(const unsigned char *flight, apr_time_t retry_at_s, const stls_reply *reply,
                     stls_crl *crl, apr_size_t max_bytes)
{
    apr_time_t now_s = apr_time_sec(apr_time_now());
    const void *bytes = reply->outcome == STLS_FETCH_OK ? (const void *) reply->bytes
                                                        : (const void *) reply->detail;
    apr_size_t len = reply->outcome == STLS_FETCH_OK ? reply->bytes_len
                     : reply->detail ? strlen(reply->detail) : 0;
    store_entry *entry;

    if (retry_at_s <= now_s) {
        return;
    }
    apr_thread_mutex_lock(mst_fetch_mutex);
    if (apr_hash_count(failures) >= MAX_FAILURES) {
        make_room(failures, now_s, MAX_FAILURES, max_bytes);
    }
    if (crl == NULL || make_crl_room(now_s, stls_crl_memory_len(crl), max_bytes)) {
        entry = add(failures, flight, retry_at_s);
        if (entry != NULL) {
            entry->outcome = reply->outcome;
            entry->len = crl ? 0 : len;
            entry->bytes = malloc(entry->len + 1);
            if (entry->bytes == NULL) {
                drop(failures, entry);
            }
            else if (crl != NULL) {
                entry->crl = stls_crl_up_ref(crl);
                crl_bytes += stls_crl_memory_len(crl);
            }
            else if (len > 0) {
                memcpy(entry->bytes, bytes, len);
            }
        }
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
}

void mst_failure_drop(const unsigned char *flight)
{
    store_entry *entry;

    apr_thread_mutex_lock(mst_fetch_mutex);
    entry = apr_hash_get(failures, flight, STLS_ID_LEN);
    if (entry != NULL) {
        drop(failures, entry);
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
}

/* ---- CRLs ----------------------------------------------------------------------------------- */

stls_crl *mst_crl_get1(const unsigned char *question, int for_refresh, int *is_candidate)
{
    apr_time_t now_s = apr_time_sec(apr_time_now());
    stls_crl *crl = NULL;
    store_entry *entry;

    apr_thread_mutex_lock(mst_fetch_mutex);
    *is_candidate = 0;
    entry = apr_hash_get(crls, question, STLS_ID_LEN);
    if (entry == NULL || entry->until_s <= now_s || (for_refresh && entry->refresh_at_s <= now_s)) {
        *is_candidate = 1;
        entry = apr_hash_get(candidates, question, STLS_ID_LEN);
    }
    if (entry != NULL && entry->until_s > now_s) {
        crl = stls_crl_up_ref(entry->crl);
        entry->used_at = apr_time_now();
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
    return crl;
}

/* Under the mutex: the one in use, if it is newer and does not claim to come from the future. */
static store_entry *find_newer(const unsigned char *question, const stls_crl *crl)
{
    apr_time_t now_s = apr_time_sec(apr_time_now());
    store_entry *entry = apr_hash_get(crls, question, STLS_ID_LEN);

    if (entry == NULL || entry->until_s <= now_s
        || stls_crl_this_update_s(entry->crl) <= stls_crl_this_update_s(crl)
        || stls_crl_this_update_s(entry->crl) > now_s) {
        return NULL;
    }
    return entry;
}

/* None newer is to be had: half the rest of its life passes before the next attempt. */
static apr_time_t next_refresh_s(apr_time_t until_s)
{
    apr_time_t now_s = apr_time_sec(apr_time_now());

    return now_s + 1 + (until_s - now_s) / 2;
}

stls_crl *mst_crl_newer1(const unsigned char *question, const stls_crl *crl)
{
    stls_crl *newer = NULL;
    store_entry *entry;

    apr_thread_mutex_lock(mst_fetch_mutex);
    entry = find_newer(question, crl);
    if (entry != NULL) {
        newer = stls_crl_up_ref(entry->crl);
        if (entry->refresh_at_s <= apr_time_sec(apr_time_now())) {
            entry->refresh_at_s = next_refresh_s(entry->until_s);
        }
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
    return newer;
}

/* Under the mutex. */
static store_entry *add_crl(apr_hash_t *store, const unsigned char *question, stls_crl *crl,
                            apr_time_t until_s, apr_size_t max_bytes)
{
    apr_time_t now_s = apr_time_sec(apr_time_now());
    store_entry *entry = apr_hash_get(store, question, STLS_ID_LEN);

    if (entry != NULL) { /* the caller's reference keeps it, if it is the same one */
        drop(store, entry);
    }
    if (until_s <= now_s || !make_crl_room(now_s, stls_crl_memory_len(crl), max_bytes)) {
        return NULL;
    }
    entry = add(store, question, until_s);
    if (entry != NULL) {
        entry->crl = stls_crl_up_ref(crl);
        crl_bytes += stls_crl_memory_len(crl);
    }
    return entry;
}

/* Under the mutex. */
static void drop_question(apr_hash_t *store, const unsigned char *question)
{
    store_entry *entry = apr_hash_get(store, question, STLS_ID_LEN);

    if (entry != NULL) {
        drop(store, entry);
    }
}

void mst_crl_put_candidate(const unsigned char *question, stls_crl *crl, apr_time_t until_s,
                           apr_size_t max_bytes)
{
    apr_thread_mutex_lock(mst_fetch_mutex);
    if (find_newer(question, crl) == NULL) {
        (void) add_crl(candidates, question, crl, until_s, max_bytes);
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
}

void mst_crl_drop_candidate(const unsigned char *question)
{
    apr_thread_mutex_lock(mst_fetch_mutex);
    drop_question(candidates, question);
    apr_thread_mutex_unlock(mst_fetch_mutex);
}

void mst_crl_put(const unsigned char *question, stls_crl *crl, const stls_answer *answer,
                 apr_size_t max_bytes)
{
    store_entry *entry;

    apr_thread_mutex_lock(mst_fetch_mutex);
    drop_question(candidates, question);
    if (find_newer(question, crl) == NULL) {
        entry = add_crl(crls, question, crl, answer->use_until_s, max_bytes);
        if (entry != NULL) {
            entry->refresh_at_s = answer->refresh_at_s > apr_time_sec(apr_time_now())
                ? answer->refresh_at_s : next_refresh_s(answer->use_until_s);
        }
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
}

/* Under the mutex. */
static void drop_old(apr_hash_t *store, const unsigned char *question)
{
    store_entry *entry = apr_hash_get(store, question, STLS_ID_LEN);

    if (entry != NULL && !mst_news_is_crl_of(question, entry->crl)) {
        drop(store, entry);
    }
}

void mst_crl_heard(const unsigned char *question)
{
    apr_hash_index_t *i;

    apr_thread_mutex_lock(mst_fetch_mutex);
    if (question != NULL) {
        drop_old(crls, question);
        drop_old(candidates, question);
    }
    for (i = question ? NULL : apr_hash_first(NULL, crls); i; i = apr_hash_next(i)) {
        drop_old(crls, apr_hash_this_key(i));
    }
    for (i = question ? NULL : apr_hash_first(NULL, candidates); i; i = apr_hash_next(i)) {
        drop_old(candidates, apr_hash_this_key(i));
    }
    apr_thread_mutex_unlock(mst_fetch_mutex);
}
