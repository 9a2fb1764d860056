/*
 * What libcurl does not tell about handles, but has in their memory.  Where it
 * lies is measured on a handle of our own, not assumed.
 */
#include "plugin.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

#define MAX_HANDLE_LEN 65536

static pthread_once_t once = PTHREAD_ONCE_INIT;
static ptrdiff_t ip_at;   /* the address that CURLINFO_PRIMARY_IP finds; 0: not known */
static ptrdiff_t mark_at; /* the value of CURLOPT_SSL_CTX_DATA; 0: not known */

static const void *word_at(CURL *curl, ptrdiff_t at)
{
    const void *word;

    memcpy(&word, (const char *)curl + at, sizeof(word));
    return word;
}

/* A handle begins in front of the address, so all that is looked at lies in it. */
static void measure_mark(CURL *any)
{
    static const char first, second;

    for (ptrdiff_t at = 0; at + (ptrdiff_t)sizeof(void *) <= ip_at && mark_at == 0;
         at += sizeof(void *)) {
        (void)curl_easy_setopt(any, CURLOPT_SSL_CTX_DATA, (void *)&first);
        if (word_at(any, at) == &first) {
            (void)curl_easy_setopt(any, CURLOPT_SSL_CTX_DATA, (void *)&second);
            mark_at = word_at(any, at) == &second ? at : 0;
        }
    }
}

static void measure(void)
{
    char *found = NULL;

    stls_curl_depth++;
    CURL *any = curl_easy_init();
    if (any != NULL && curl_easy_getinfo(any, CURLINFO_PRIMARY_IP, &found) == CURLE_OK) {
        ptrdiff_t distance = found - (char *)any;
        if (distance > 0 && distance < MAX_HANDLE_LEN) {
            ip_at = distance;
            measure_mark(any);
        }
    }
    curl_easy_cleanup(any);
    stls_curl_depth--;
}

const void *stls_curl_mark_of(CURL *curl)
{
    (void)pthread_once(&once, measure);
    return mark_at > 0 && curl != NULL ? word_at(curl, mark_at) : NULL;
}

CURL *stls_curl_handle_around(const char *peer_ip)
{
    char *found = NULL;

    (void)pthread_once(&once, measure);
    if (ip_at == 0) {
        return NULL;
    }
    CURL *curl = (CURL *)(peer_ip - ip_at);
    if (curl_easy_getinfo(curl, CURLINFO_PRIMARY_IP, &found) != CURLE_OK || found != peer_ip) {
        return NULL;
    }
    return curl;
}
