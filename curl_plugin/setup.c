/* Which setups are in use: equal ones are one. */
#include "plugin.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

#define NUM_MARKS 7

/* What setups of equal demand have in common. They are few, and stay. */
typedef struct {
    stls_node node;
    unsigned char id[2 * STLS_ID_LEN]; /* policy, anchors */
    unsigned mark;
} demand;

typedef struct {
    stls_node node;
    stls_curl_setup setup; /* what the others see */
    const demand *demand;
    unsigned refs;
} entry;

int stls_curl_knows_duplicates;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static stls_table demands, setups;

void stls_curl_setup_lock(int is_locked)
{
    (void)(is_locked ? pthread_mutex_lock(&lock) : pthread_mutex_unlock(&lock));
}

static entry *entry_of(const stls_curl_setup *setup)
{
    return (entry *)((char *)setup - offsetof(entry, setup));
}

int stls_curl_setup_equal_demand(const stls_curl_setup *a, const stls_curl_setup *b)
{
    return entry_of(a)->demand == entry_of(b)->demand;
}

static const demand *demand_of(const stls_curl_setup *wanted)
{
    static unsigned num_demands;
    unsigned char id[2 * STLS_ID_LEN] = {0};

    memcpy(id, stls_policy_get0_id(wanted->policy), STLS_ID_LEN);
    if (wanted->anchors != NULL) {
        memcpy(id + STLS_ID_LEN, stls_anchors_get0_id(wanted->anchors), STLS_ID_LEN);
    }
    uint64_t hash = stls_table_hash(id, sizeof(id));
    for (stls_node *node = NULL; (node = stls_table_next(&demands, hash, node)) != NULL;) {
        if (memcmp(((demand *)node)->id, id, sizeof(id)) == 0) {
            return (demand *)node;
        }
    }
    demand *made = calloc(1, sizeof(*made));
    if (made == NULL || !stls_table_add(&demands, &made->node, hash)) {
        free(made);
        return NULL;
    }
    memcpy(made->id, id, sizeof(id));
    made->mark = 1 + num_demands++ % NUM_MARKS;
    return made;
}

static uint64_t hash_of(const stls_curl_setup *wanted, const demand *its)
{
    const void *words[] = {its, (const void *)wanted->ssl_ctx_function, wanted->ssl_ctx_data,
                           (const void *)wanted->prereq_function, wanted->prereq_data};

    return stls_table_hash(words, sizeof(words));
}

static entry *find(const stls_curl_setup *wanted, const demand *its, uint64_t hash)
{
    for (stls_node *node = NULL; (node = stls_table_next(&setups, hash, node)) != NULL;) {
        entry *at = (entry *)node;
        if (at->demand == its && at->setup.ssl_ctx_function == wanted->ssl_ctx_function
            && at->setup.ssl_ctx_data == wanted->ssl_ctx_data
            && at->setup.prereq_function == wanted->prereq_function
            && at->setup.prereq_data == wanted->prereq_data) {
            return at;
        }
    }
    return NULL;
}

static entry *make(const stls_curl_setup *wanted, const demand *its, uint64_t hash)
{
    entry *made = calloc(1, sizeof(*made));

    if (made == NULL || !stls_table_add(&setups, &made->node, hash)) {
        free(made);
        return NULL;
    }
    made->demand = its;
    made->setup = *wanted;
    made->setup.mark = its->mark;
    (void)stls_policy_up_ref(wanted->policy);
    (void)stls_anchors_up_ref(wanted->anchors);
    made->refs = stls_curl_knows_duplicates ? 0 : 1;
    return made;
}

const stls_curl_setup *stls_curl_setup_intern1(const stls_curl_setup *wanted)
{
    entry *found = NULL;

    pthread_mutex_lock(&lock);
    const demand *its = demand_of(wanted);
    if (its != NULL) {
        uint64_t hash = hash_of(wanted, its);
        found = find(wanted, its, hash);
        if (found == NULL) {
            found = make(wanted, its, hash);
        }
        if (found != NULL) {
            found->refs++;
        }
    }
    pthread_mutex_unlock(&lock);
    return found != NULL ? &found->setup : NULL;
}

const stls_curl_setup *stls_curl_setup_up_ref(const stls_curl_setup *setup)
{
    pthread_mutex_lock(&lock);
    entry_of(setup)->refs++;
    pthread_mutex_unlock(&lock);
    return setup;
}

void stls_curl_setup_free(const stls_curl_setup *setup)
{
    if (setup == NULL) {
        return;
    }
    entry *of = entry_of(setup);
    pthread_mutex_lock(&lock);
    int is_last = --of->refs == 0;
    if (is_last) {
        stls_table_remove(&setups, &of->node);
    }
    pthread_mutex_unlock(&lock);
    if (is_last) {
        stls_policy_free(of->setup.policy);
        stls_anchors_free(of->setup.anchors);
        free(of);
    }
}
