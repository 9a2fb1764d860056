/* A fork while other threads use the library: the child finds every lock free, and tables whole. */
#include "plugin.h"

#include <pthread.h>

static void (*const locks[])(int is_locked) = {stls_curl_handle_lock, stls_curl_setup_lock,
                                               stls_curl_crl_reader_lock, stls_curl_cache_lock};

#define NUM_LOCKS (sizeof(locks) / sizeof(locks[0]))

static void before(void)
{
    for (size_t i = 0; i < NUM_LOCKS; i++) {
        locks[i](1);
    }
}

static void after(void)
{
    for (size_t i = NUM_LOCKS; i > 0; i--) {
        locks[i - 1](0);
    }
}

static void prepare(void)
{
    (void)pthread_atfork(before, after, after);
}

void stls_curl_survive_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, prepare);
}
