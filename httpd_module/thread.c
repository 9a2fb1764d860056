/*
 * Threads of the module's own, which wait for the network so that no request
 * has to.  A process does not end under them: exit() takes OpenSSL away, and
 * nothing of it may be in use then.
 */
#include "mod_strict_tls.h"

#include <openssl/crypto.h>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

/* Between two looks at whether the process ends, threads do less than this. */
#define LAST_WORK apr_time_from_sec(10)

typedef struct {
    void *(*run_it)(void *);
    void *data;
} start;

static apr_thread_mutex_t *mutex;
static apr_thread_cond_t *idle;
static int num_working; /* threads that may touch OpenSSL */
static volatile int is_stopping;

int mst_is_stopping(void)
{
    return is_stopping;
}

/* The process ends.  Threads that are blocked in a call may come back late: they stay there. */
static apr_status_t stop(void *data)
{
    apr_time_t until = apr_time_now() + LAST_WORK, left;

    (void) data;
    apr_thread_mutex_lock(mutex);
    is_stopping = 1;
    while (num_working > 0 && (left = until - apr_time_now()) > 0) {
        apr_thread_cond_timedwait(idle, mutex, left);
    }
    apr_thread_mutex_unlock(mutex);
    return APR_SUCCESS;
}

void mst_thread_child_init(apr_pool_t *p)
{
    apr_pool_t *forever = NULL;

    /* threads may outlive every pool of httpd's */
    apr_pool_create_unmanaged(&forever);
    apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, forever);
    apr_thread_cond_create(&idle, forever);
    num_working = 0;
    is_stopping = 0;
    apr_pool_pre_cleanup_register(p, NULL, stop);
}

void mst_thread_resume(void)
{
    apr_thread_mutex_lock(mutex);
    if (!is_stopping) {
        num_working++;
        apr_thread_mutex_unlock(mutex);
        return;
    }
    apr_thread_mutex_unlock(mutex);
    for (;;) {
        pause(); /* even to end would be to touch what OpenSSL keeps for each thread */
    }
}

void mst_thread_pause(void)
{
    apr_thread_mutex_lock(mutex);
    num_working--;
    apr_thread_cond_broadcast(idle);
    apr_thread_mutex_unlock(mutex);
}

static void *run(void *data)
{
    start s = *(start *) data;

    mst_thread_resume();
    free(data);
    (void) s.run_it(s.data);
    OPENSSL_thread_stop();
    mst_thread_pause(); /* the last act */
    return NULL;
}

/* Signals are for httpd's own threads. */
int mst_start_thread(void *(*run_it)(void *), void *data)
{
    start *s = malloc(sizeof(*s));
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    if (s == NULL || pthread_attr_init(&attr) != 0) {
        free(s);
        return 0;
    }
    s->run_it = run_it;
    s->data = data;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 512 * 1024);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&thread, &attr, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        free(s);
    }
    return rc == 0;
}
