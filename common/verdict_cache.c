/*
 * Verdicts remembered: the key of what was judged, and a bounded table of
 * results under such keys, least recently used out first.
 */
#include <string.h>

#include <openssl/evp.h>

#include "mem.h"
#include "name.h"

/* ---- keys ----------------------------------------------------------------- */

/* Raise the number when a field is added: keys of old and new must differ. */
static const char key_label[] = "strict-tls verdict 1";
static const char crl_file_label[] = "strict-tls verdict with crl_file 1";
static const char staple_label[] = "strict-tls verdict with staple 1";

#define USUAL_DER_LEN 4096

static int hash_number(EVP_MD_CTX *hash, uint64_t number)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(number >> (56 - 8 * i));
    }
    return EVP_DigestUpdate(hash, bytes, sizeof(bytes));
}

static int hash_field(EVP_MD_CTX *hash, const void *bytes, size_t len)
{
    return hash_number(hash, len) && EVP_DigestUpdate(hash, bytes, len);
}

static EVP_MD_CTX *hash_begin(const char *label, size_t label_len)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    /* Fetching SHA-256 anew costs 0.3 us; keeping it would need a global. */
    if (hash == NULL || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL)
        || !hash_field(hash, label, label_len)) {
        EVP_MD_CTX_free(hash);
        return NULL;
    }
    return hash;
}

static stls_status hash_cert(EVP_MD_CTX *hash, const X509 *cert)
{
    unsigned char usual[USUAL_DER_LEN];
    unsigned char *der = usual;
    unsigned char *end = usual;

    int len = i2d_X509(cert, NULL);
    if (len <= 0) {
        return STLS_ERR_ARGUMENT;
    }
    if ((size_t)len > sizeof(usual)) {
        der = end = OPENSSL_malloc((size_t)len);
        if (der == NULL) {
            return STLS_ERR_MEMORY;
        }
    }
    int ok = i2d_X509(cert, &end) == len && hash_field(hash, der, (size_t)len);
    if (der != usual) {
        OPENSSL_free(der);
    }
    return ok ? STLS_OK : STLS_ERR_MEMORY;
}

stls_status stls_verdict_key(unsigned char key[STLS_ID_LEN], const stls_policy *policy,
                             const stls_anchors *anchors, stls_role role, const char *name,
                             size_t name_len, const STACK_OF(X509) *certs)
{
    const unsigned char *policy_id = stls_policy_get0_id(policy);
    const unsigned char *anchors_id = stls_anchors_get0_id(anchors);
    int num_certs = sk_X509_num(certs); /* -1 for NULL */
    char normal[STLS_MAX_NAME_LEN + 1];
    stls_name_type type = stls_name_normalize(name_len > 0 ? name : NULL, name_len, normal);

    if (policy_id == NULL || anchors_id == NULL || num_certs <= 0 || type == STLS_NAME_BAD) {
        return STLS_ERR_ARGUMENT;
    }
    EVP_MD_CTX *hash = hash_begin(key_label, sizeof(key_label));
    if (hash == NULL) {
        return STLS_ERR_MEMORY;
    }
    int ok = hash_number(hash, (uint64_t)role) && hash_field(hash, policy_id, STLS_ID_LEN)
             && hash_field(hash, anchors_id, STLS_ID_LEN) && hash_number(hash, (uint64_t)type)
             && hash_field(hash, normal, strlen(normal)) && hash_number(hash, (uint64_t)num_certs);
    stls_status status = ok ? STLS_OK : STLS_ERR_MEMORY;
    for (int i = 0; status == STLS_OK && i < num_certs; i++) {
        status = hash_cert(hash, sk_X509_value(certs, i));
    }
    if (status == STLS_OK && !EVP_DigestFinal_ex(hash, key, NULL)) {
        status = STLS_ERR_MEMORY;
    }
    EVP_MD_CTX_free(hash);
    return status;
}

stls_status stls_verdict_key_staple(unsigned char out[STLS_ID_LEN],
                                    const unsigned char in[STLS_ID_LEN],
                                    const unsigned char *staple, size_t staple_len)
{
    if (staple == NULL && staple_len > 0) {
        return STLS_ERR_ARGUMENT;
    }
    EVP_MD_CTX *hash = hash_begin(staple_label, sizeof(staple_label));
    int ok = hash != NULL && hash_field(hash, in, STLS_ID_LEN)
             && hash_field(hash, staple, staple_len) && EVP_DigestFinal_ex(hash, out, NULL);
    EVP_MD_CTX_free(hash);
    return ok ? STLS_OK : STLS_ERR_MEMORY;
}

stls_status stls_verdict_key_crl_file(unsigned char out[STLS_ID_LEN],
                                      const unsigned char in[STLS_ID_LEN],
                                      const stls_crl_file *file)
{
    const unsigned char *id = file != NULL ? stls_crl_file_get0_id(file) : NULL;
    if (file != NULL && id == NULL) {
        return STLS_ERR_ARGUMENT;
    }
    EVP_MD_CTX *hash = hash_begin(crl_file_label, sizeof(crl_file_label));
    int ok = hash != NULL && hash_field(hash, in, STLS_ID_LEN)
             && hash_field(hash, id, id != NULL ? STLS_ID_LEN : 0)
             && EVP_DigestFinal_ex(hash, out, NULL);
    EVP_MD_CTX_free(hash);
    return ok ? STLS_OK : STLS_ERR_MEMORY;
}

/* ---- cache ---------------------------------------------------------------- */

typedef struct entry {
    unsigned char key[STLS_ID_LEN];
    stls_result *result;
    int64_t refresh_at_s;
    struct entry *next_in_bucket;
    struct entry *newer; /* by use */
    struct entry *older;
} entry;

struct stls_verdict_cache_st {
    stls_allocator allocator;
    size_t max_entries;
    size_t num_entries;
    size_t num_buckets; /* a power of two */
    entry **buckets;
    entry *newest;
    entry *oldest;
};

stls_verdict_cache *stls_verdict_cache_new(size_t max_entries, const stls_allocator *allocator)
{
    if (allocator == NULL) {
        allocator = &stls_libc_allocator;
    }
    if (max_entries > SIZE_MAX / 4 / sizeof(entry *)) {
        return NULL;
    }
    stls_verdict_cache *cache = stls_alloc(allocator, sizeof(*cache));
    if (cache == NULL) {
        return NULL;
    }
    cache->allocator = *allocator;
    cache->max_entries = max_entries;
    cache->num_buckets = 1;
    while (cache->num_buckets < max_entries) {
        cache->num_buckets *= 2;
    }
    cache->buckets = stls_alloc(allocator, cache->num_buckets * sizeof(entry *));
    if (cache->buckets == NULL) {
        stls_dealloc(allocator, cache);
        return NULL;
    }
    return cache;
}

/* Where the pointer to this key's entry is, or would be. */
static entry **find(const stls_verdict_cache *cache, const unsigned char key[STLS_ID_LEN])
{
    size_t hash;
    memcpy(&hash, key, sizeof(hash)); /* a SHA-256: any part of it is evenly spread */
    entry **at = &cache->buckets[hash & (cache->num_buckets - 1)];
    while (*at != NULL && memcmp((*at)->key, key, STLS_ID_LEN) != 0) {
        at = &(*at)->next_in_bucket;
    }
    return at;
}

static void unlink_use(stls_verdict_cache *cache, entry *e)
{
    *(e->newer != NULL ? &e->newer->older : &cache->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &cache->oldest) = e->newer;
}

static void link_newest(stls_verdict_cache *cache, entry *e)
{
    e->newer = NULL;
    e->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = e;
    cache->newest = e;
}

static void drop(stls_verdict_cache *cache, entry *e)
{
    *find(cache, e->key) = e->next_in_bucket;
    unlink_use(cache, e);
    cache->num_entries--;
    stls_result_free(e->result);
    stls_dealloc(&cache->allocator, e);
}

/* What has expired goes as soon as it is seen. */
static entry *find_live(stls_verdict_cache *cache, const unsigned char key[STLS_ID_LEN],
                        int64_t now_s)
{
    entry *e = *find(cache, key);
    if (e != NULL && !stls_result_is_live(e->result, now_s)) {
        drop(cache, e);
        return NULL;
    }
    return e;
}

stls_result *stls_verdict_cache_get0(stls_verdict_cache *cache,
                                     const unsigned char key[STLS_ID_LEN], int64_t now_s)
{
    entry *e = find_live(cache, key, now_s);
    if (e == NULL) {
        return NULL;
    }
    unlink_use(cache, e);
    link_newest(cache, e);
    return e->result;
}

stls_status stls_verdict_cache_put(stls_verdict_cache *cache, const unsigned char key[STLS_ID_LEN],
                                   stls_result *result, int64_t now_s)
{
    if (result == NULL) {
        return STLS_ERR_ARGUMENT;
    }
    /* The caller may be handing back what get0 lent it. */
    stls_result_up_ref(result);
    entry *e = *find(cache, key);
    if (e != NULL) {
        drop(cache, e); /* outdated by this result, even if that cannot be stored */
    }
    if (cache->max_entries == 0 || !stls_result_is_live(result, now_s)
        || stls_result_is_local(result)) {
        stls_status status = stls_result_is_local(result) ? STLS_ERR_STATE : STLS_OK;
        stls_result_free(result);
        return status;
    }
    if (cache->num_entries == cache->max_entries) {
        drop(cache, cache->oldest);
    }
    e = stls_alloc(&cache->allocator, sizeof(*e));
    if (e == NULL) {
        stls_result_free(result);
        return STLS_ERR_MEMORY;
    }
    memcpy(e->key, key, STLS_ID_LEN);
    e->result = result;
    e->refresh_at_s = stls_result_refresh_at_s(result);
    *find(cache, key) = e;
    link_newest(cache, e);
    cache->num_entries++;
    return STLS_OK;
}

void stls_verdict_cache_defer_refresh(stls_verdict_cache *cache,
                                      const unsigned char key[STLS_ID_LEN], int64_t at_s)
{
    entry *e = *find(cache, key);
    if (e != NULL && at_s > e->refresh_at_s) {
        e->refresh_at_s = at_s;
    }
}

int stls_verdict_cache_refresh_due(stls_verdict_cache *cache, const unsigned char key[STLS_ID_LEN],
                                   int64_t now_s, int64_t next_s)
{
    entry *e = find_live(cache, key, now_s);
    if (e == NULL || now_s < e->refresh_at_s) {
        return 0;
    }
    e->refresh_at_s = next_s;
    return 1;
}

static int rests_on(const stls_result *result, const unsigned char question[STLS_ID_LEN])
{
    size_t num;
    const unsigned char *questions = stls_result_get0_questions(result, &num);
    for (size_t i = 0; i < num; i++) {
        if (memcmp(questions + i * STLS_ID_LEN, question, STLS_ID_LEN) == 0) {
            return 1;
        }
    }
    return 0;
}

size_t stls_verdict_cache_drop_question(stls_verdict_cache *cache,
                                        const unsigned char question[STLS_ID_LEN])
{
    size_t num_dropped = 0;
    entry *older;
    for (entry *e = cache->newest; e != NULL; e = older) {
        older = e->older;
        if (rests_on(e->result, question)) {
            drop(cache, e);
            num_dropped++;
        }
    }
    return num_dropped;
}

void stls_verdict_cache_clear(stls_verdict_cache *cache)
{
    while (cache->oldest != NULL) {
        drop(cache, cache->oldest);
    }
}

size_t stls_verdict_cache_count(const stls_verdict_cache *cache)
{
    return cache->num_entries;
}

void stls_verdict_cache_free(stls_verdict_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    stls_verdict_cache_clear(cache);
    stls_allocator allocator = cache->allocator;
    stls_dealloc(&allocator, cache->buckets);
    stls_dealloc(&allocator, cache);
}
