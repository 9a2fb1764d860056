/* Which setups are in use: equal ones are one, none ever ends. */
#include "plugin.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static stls_curl_setup *all;

static int equal(const stls_curl_setup *a, const stls_curl_setup *b)
{
    return memcmp(stls_policy_get0_id(a->policy), stls_policy_get0_id(b->policy), STLS_ID_LEN) == 0
           && a->anchors == b->anchors && a->ssl_ctx_function == b->ssl_ctx_function
           && a->ssl_ctx_data == b->ssl_ctx_data && a->prereq_function == b->prereq_function
           && a->prereq_data == b->prereq_data;
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
            (void)stls_policy_up_ref(found->policy);
            (void)stls_anchors_up_ref(found->anchors);
            found->next = all;
            all = found;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}
