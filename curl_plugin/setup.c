/* Which setups are in use: equal ones are one, none ever ends. */
#include "plugin.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static stls_curl_setup *all;

#define NUM_MARKS 7

int stls_curl_setup_equal_demand(const stls_curl_setup *a, const stls_curl_setup *b)
{
    return a->anchors == b->anchors
           && memcmp(stls_policy_get0_id(a->policy), stls_policy_get0_id(b->policy), STLS_ID_LEN)
                  == 0;
}

static int equal(const stls_curl_setup *a, const stls_curl_setup *b)
{
    return stls_curl_setup_equal_demand(a, b) && a->ssl_ctx_function == b->ssl_ctx_function
           && a->ssl_ctx_data == b->ssl_ctx_data && a->prereq_function == b->prereq_function
           && a->prereq_data == b->prereq_data;
}

static unsigned mark_of(const stls_curl_setup *wanted)
{
    static unsigned num_demands;

    for (const stls_curl_setup *known = all; known != NULL; known = known->next) {
        if (stls_curl_setup_equal_demand(known, wanted)) {
            return known->mark;
        }
    }
    return 1 + num_demands++ % NUM_MARKS;
}

const stls_curl_setup *stls_curl_setup_intern(const stls_curl_setup *wanted)
{
    stls_curl_setup *found;

    pthread_mutex_lock(&lock);
    for (found = all; found != NULL && !equal(found, wanted); found = found->next) {
    }
    if (found == NULL) {
        found = malloc(sizeof(*found));
        if (found != NULL) {
            *found = *wanted;
            found->mark = mark_of(wanted);
            (void)stls_policy_up_ref(found->policy);
            (void)stls_anchors_up_ref(found->anchors);
            found->next = all;
            all = found;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}
