/* Which handles are strict, and what was last decided for them. */
#include "plugin.h"

#include "crl_reader.h"
#include "table.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OLDEST_LIBCURL 0x075500 /* CURLOPT_PROTOCOLS_STR */

typedef struct {
    stls_node node;
    CURL *curl;
    const void *mark; /* what the handle's memory says while it is this one */
    stls_curl_setup wanted;
    const stls_curl_setup *setup; /* in the handle; NULL: not enabled */
    char *error_buffer;
    size_t error_len;
    int is_text_due; /* the error buffer lacks the reason */
    char proxy_ip[STLS_CURL_IP_LEN];
    int64_t own_lifetime_s; /* CURLOPT_MAXLIFETIME_CONN of the program's own; 0: no limit */
    int64_t lifetime_s;     /* of the verdicts so far; 0: no limit but the policy's */
    stls_result *result;
} record;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static stls_table records;

void (*stls_curl_on_warning)(const char *text);
_Thread_local int stls_curl_depth;

void stls_curl_handle_lock(int is_locked)
{
    (void)(is_locked ? pthread_mutex_lock(&lock) : pthread_mutex_unlock(&lock));
}

/* ---- the table; its callers hold the lock ------------------------------- */

/* Everything but the handle and the place in the table. */
static void record_clear(record *of)
{
    record old = *of;

    *of = (record){.node = old.node, .curl = old.curl, .mark = old.mark};
    stls_curl_setup_free(old.setup);
    stls_policy_free(old.wanted.policy);
    stls_anchors_free(old.wanted.anchors);
    stls_result_free(old.result);
}

static void record_drop(record *of)
{
    stls_table_remove(&records, &of->node);
    record_clear(of);
    free(of);
}

/* A handle that was cleaned up without a word, or reset, leaves nothing to the next at its place. */
static record *record_get0(CURL *curl)
{
    for (stls_node *node = NULL;
         (node = stls_table_next(&records, stls_table_hash(&curl, sizeof(curl)), node)) != NULL;) {
        record *of = (record *)node;
        if (of->curl == curl) {
            if (of->mark == stls_curl_mark_of(curl)) {
                return of;
            }
            record_drop(of);
            return NULL;
        }
    }
    return NULL;
}

static record *record_make(CURL *curl)
{
    record *of = record_get0(curl);

    if (of == NULL) {
        of = calloc(1, sizeof(*of));
        if (of == NULL
            || !stls_table_add(&records, &of->node, stls_table_hash(&curl, sizeof(curl)))) {
            free(of);
            return NULL;
        }
        of->curl = curl;
        of->mark = stls_curl_mark_of(curl);
    }
    return of;
}

/* ---- options ---------------------------------------------------------------- */

/*
 * libcurl hands a connection on only where these bits agree, and with OpenSSL
 * it does nothing else with them: so a connection that was opened without
 * these checks, or with other demands, is not offered to the handle.
 */
static long option_bits(const stls_curl_setup *setup)
{
    return (setup->mark & 1 ? CURLSSLOPT_NO_REVOKE : 0)
           | (setup->mark & 2 ? CURLSSLOPT_REVOKE_BEST_EFFORT : 0)
           | (setup->mark & 4 ? CURLSSLOPT_AUTO_CLIENT_CERT : 0);
}

static stls_curl_status set_options(const record *of, const stls_curl_setup *setup)
{
    CURL *curl = of->curl;
    int rejects = stls_policy_get_int(setup->policy, STLS_KEY_MODE) == 0;
    int64_t max_age_s = stls_policy_get_int(setup->policy, STLS_KEY_VERDICT_MAX_AGE_S);
    int failed = 0;

    if (of->lifetime_s > 0 && of->lifetime_s < max_age_s) {
        max_age_s = of->lifetime_s;
    }
    if (of->own_lifetime_s > 0 && of->own_lifetime_s < max_age_s) {
        max_age_s = of->own_lifetime_s;
    }

    failed |= curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, stls_curl_ssl_ctx) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, (void *)setup) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, stls_curl_prereq) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_PREREQDATA, (void *)setup) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_MAXLIFETIME_CONN, (long)max_age_s) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_SSL_OPTIONS, option_bits(setup)) != CURLE_OK;
    /* Absent where libcurl was built without proxies. See STLS_CURL_PROXY_MARK. */
    (void)curl_easy_setopt(curl, CURLOPT_PROXY_SSL_OPTIONS,
                           option_bits(setup) | CURLSSLOPT_ALLOW_BEAST);
    if (rejects) {
        failed |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) != CURLE_OK;
        failed |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) != CURLE_OK;
        failed |= curl_easy_setopt(curl, CURLOPT_DOH_SSL_VERIFYPEER, 1L) != CURLE_OK;
        failed |= curl_easy_setopt(curl, CURLOPT_DOH_SSL_VERIFYHOST, 2L) != CURLE_OK;
        (void)curl_easy_setopt(curl, CURLOPT_PROXY_SSL_VERIFYPEER, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_PROXY_SSL_VERIFYHOST, 2L);
    }
    /* The core's rules about names are the ones that count; libcurl's are not always as wide. */
    if (rejects && stls_policy_get_int(setup->policy, STLS_KEY_NAME) != 0) {
        failed |= curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L) != CURLE_OK;
        failed |= curl_easy_setopt(curl, CURLOPT_DOH_SSL_VERIFYHOST, 0L) != CURLE_OK;
        (void)curl_easy_setopt(curl, CURLOPT_PROXY_SSL_VERIFYHOST, 0L);
    }
    return failed ? STLS_CURL_ERR_OPTION : STLS_CURL_OK;
}

static void clear_options(CURL *curl, const stls_curl_setup *wanted)
{
    (void)curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, wanted->ssl_ctx_function);
    (void)curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, wanted->ssl_ctx_data);
    (void)curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, wanted->prereq_function);
    (void)curl_easy_setopt(curl, CURLOPT_PREREQDATA, wanted->prereq_data);
}

/* Puts into the handle what the record says. */
static stls_curl_status apply(record *of)
{
    const stls_curl_setup *old = of->setup;

    if (stls_policy_get_int(of->wanted.policy, STLS_KEY_MODE) == 2) { /* off */
        return STLS_CURL_OK;
    }
    of->setup = stls_curl_setup_intern1(&of->wanted);
    if (of->setup == NULL) {
        of->setup = old;
        return STLS_CURL_ERR_MEMORY;
    }
    stls_curl_depth++;
    stls_curl_status status = set_options(of, of->setup);
    stls_curl_depth--;
    of->mark = stls_curl_mark_of(of->curl);
    stls_curl_setup_free(old);
    return status;
}

/* ---- which libcurl ----------------------------------------------------------- */

static stls_curl_status check_libcurl(CURL *curl)
{
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    const struct curl_tlssessioninfo *tls = NULL;

    if (info->version_num < OLDEST_LIBCURL) {
        return STLS_CURL_ERR_VERSION;
    }
    /* "OpenSSL/3.0.17"; in libcurls with several backends the others stand in parentheses. */
    if (info->ssl_version == NULL || strstr(info->ssl_version, "OpenSSL/3.") == NULL
        || strstr(info->ssl_version, "(OpenSSL/") != NULL) {
        return STLS_CURL_ERR_BACKEND;
    }
    if (curl_easy_getinfo(curl, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || tls == NULL
        || tls->backend != CURLSSLBACKEND_OPENSSL) {
        return STLS_CURL_ERR_BACKEND;
    }
    return STLS_CURL_OK;
}

STLS_CURL_API const char *stls_curl_status_text(stls_curl_status status)
{
    switch (status) {
    case STLS_CURL_OK:
        return "the handle is strict";
    case STLS_CURL_ERR_MEMORY:
        return "out of memory";
    case STLS_CURL_ERR_ARGUMENT:
        return "an argument is missing, or the policy is not frozen";
    case STLS_CURL_ERR_BACKEND:
        return "this libcurl does TLS with another library than OpenSSL 3, which strict-tls cannot "
               "judge";
    case STLS_CURL_ERR_VERSION:
        return "this libcurl is older than 7.85.0";
    case STLS_CURL_ERR_OPTION:
        return "libcurl refused an option";
    case STLS_CURL_ERR_CRL_FILE:
        return "the policy's crl_file cannot be read or decoded";
    case STLS_CURL_ERR_NOT_ENABLED:
        return "the handle is not enabled: call stls_curl_enable() first, and again after "
               "curl_easy_reset()";
    }
    return "unknown status";
}

/* ---- the API ------------------------------------------------------------------- */

static stls_policy *default_policy(void)
{
    stls_policy *policy = stls_policy_new(NULL);

    if (policy != NULL && stls_policy_freeze(policy, NULL) != STLS_OK) {
        stls_policy_free(policy);
        policy = NULL;
    }
    return policy;
}

/* STLS_CURL_OK, and a reference on the policy to be used. */
static stls_curl_status choose_policy(stls_policy *given, stls_policy **own, stls_error *err)
{
    *own = given != NULL ? stls_policy_up_ref(given) : default_policy();
    if (*own == NULL) {
        return STLS_CURL_ERR_MEMORY;
    }
    stls_crl_file_free(stls_curl_crl_file_get1(*own, err));
    if (err->text[0] != '\0' && stls_policy_get_int(*own, STLS_KEY_MODE) != 2) {
        stls_policy_free(*own);
        return STLS_CURL_ERR_CRL_FILE;
    }
    return STLS_CURL_OK;
}

static stls_curl_status enable(CURL *curl, stls_policy *policy, stls_error *err)
{
    stls_policy *own = NULL;

    if (curl == NULL || (policy != NULL && stls_policy_get0_id(policy) == NULL)) {
        return STLS_CURL_ERR_ARGUMENT;
    }
    stls_curl_survive_forks();
    stls_curl_depth++;
    stls_curl_status status = check_libcurl(curl);
    stls_curl_depth--;
    if (status == STLS_CURL_OK) {
        status = choose_policy(policy, &own, err);
    }
    if (status != STLS_CURL_OK) {
        return status;
    }
    pthread_mutex_lock(&lock);
    record *of = record_make(curl);
    if (of == NULL) {
        stls_policy_free(own);
        status = STLS_CURL_ERR_MEMORY;
    } else {
        const stls_curl_setup *old = of->setup;
        int64_t lifetime_s = of->lifetime_s; /* connections stay in the handle */
        of->setup = NULL;
        record_clear(of);
        of->lifetime_s = lifetime_s;
        of->wanted.policy = own;
        status = apply(of);
        if (of->setup == NULL && old != NULL) {
            stls_curl_depth++;
            clear_options(curl, &of->wanted);
            stls_curl_depth--;
            of->mark = stls_curl_mark_of(curl);
        }
        stls_curl_setup_free(old);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

STLS_CURL_API stls_curl_status stls_curl_enable(CURL *curl, stls_policy *policy, stls_error *err)
{
    stls_error why = {""};
    stls_curl_status status = enable(curl, policy, &why);

    if (status != STLS_CURL_OK && why.text[0] == '\0') {
        snprintf(why.text, sizeof(why.text), "%s", stls_curl_status_text(status));
    }
    if (err != NULL) {
        *err = why;
    }
    return status;
}

STLS_CURL_API void stls_curl_disable(CURL *curl)
{
    pthread_mutex_lock(&lock);
    record *gone = record_get0(curl);
    if (gone != NULL) {
        if (gone->setup != NULL) {
            stls_curl_depth++;
            clear_options(curl, &gone->wanted);
            stls_curl_depth--;
        }
        record_drop(gone);
    }
    pthread_mutex_unlock(&lock);
}

/* The record of an enabled handle, with the lock held until finish(); NULL: not enabled. */
static record *begin(CURL *curl)
{
    pthread_mutex_lock(&lock);
    record *of = record_get0(curl);
    return of != NULL && of->wanted.policy != NULL ? of : NULL;
}

static stls_curl_status finish(record *of)
{
    stls_curl_status status = of != NULL ? apply(of) : STLS_CURL_ERR_NOT_ENABLED;
    pthread_mutex_unlock(&lock);
    return status;
}

STLS_CURL_API stls_curl_status stls_curl_set_error_buffer(CURL *curl, char *buffer, size_t len)
{
    if (buffer != NULL && len < CURL_ERROR_SIZE) {
        return STLS_CURL_ERR_ARGUMENT;
    }
    record *of = begin(curl);
    if (of != NULL) {
        of->error_buffer = buffer;
        of->error_len = len;
        of->is_text_due = 0;
        stls_curl_depth++;
        (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, buffer);
        stls_curl_depth--;
    }
    return finish(of);
}

STLS_CURL_API stls_curl_status stls_curl_set_ssl_ctx_function(CURL *curl,
                                                              curl_ssl_ctx_callback function,
                                                              void *data)
{
    record *of = begin(curl);
    if (of != NULL) {
        of->wanted.ssl_ctx_function = function;
        of->wanted.ssl_ctx_data = data;
    }
    return finish(of);
}

STLS_CURL_API stls_curl_status stls_curl_set_prereq_function(CURL *curl,
                                                             curl_prereq_callback function,
                                                             void *data)
{
    record *of = begin(curl);
    if (of != NULL) {
        of->wanted.prereq_function = function;
        of->wanted.prereq_data = data;
    }
    return finish(of);
}

STLS_CURL_API stls_curl_status stls_curl_set_anchors(CURL *curl, stls_anchors *anchors)
{
    if (anchors != NULL && stls_anchors_get0_id(anchors) == NULL) {
        return STLS_CURL_ERR_ARGUMENT;
    }
    record *of = begin(curl);
    if (of != NULL) {
        stls_anchors_free(of->wanted.anchors);
        of->wanted.anchors = stls_anchors_up_ref(anchors);
    }
    return finish(of);
}

stls_curl_status stls_curl_set_lifetime(CURL *curl, int64_t lifetime_s)
{
    record *of = begin(curl);
    if (of != NULL) {
        of->own_lifetime_s = lifetime_s;
    }
    return finish(of);
}

stls_curl_status stls_curl_set_proxy_ip(CURL *curl, const char *ip)
{
    record *of = begin(curl);
    if (of != NULL) {
        snprintf(of->proxy_ip, sizeof(of->proxy_ip), "%s", ip);
    }
    return finish(of);
}

STLS_CURL_API stls_curl_status stls_curl_set_proxy(CURL *curl, const char *proxy)
{
    char ip[STLS_CURL_IP_LEN];

    if (curl == NULL) {
        return STLS_CURL_ERR_ARGUMENT;
    }
    stls_curl_depth++;
    CURLcode code = curl_easy_setopt(curl, CURLOPT_PROXY, proxy);
    stls_curl_depth--;
    if (code != CURLE_OK) {
        return STLS_CURL_ERR_OPTION;
    }
    stls_curl_proxy_ip_of(proxy, ip);
    return stls_curl_set_proxy_ip(curl, ip);
}

/* ---- for the handshake ------------------------------------------------------------ */

void stls_curl_get_proxy_ip(CURL *curl, char ip[STLS_CURL_IP_LEN])
{
    pthread_mutex_lock(&lock);
    record *of = record_get0(curl);
    snprintf(ip, STLS_CURL_IP_LEN, "%s", of != NULL ? of->proxy_ip : "");
    pthread_mutex_unlock(&lock);
}

void stls_curl_limit_lifetime(CURL *curl, int64_t lifetime_s)
{
    int is_shorter = 0;

    lifetime_s = lifetime_s > 1 ? lifetime_s - 1 : 1; /* 0 would mean: for ever */
    pthread_mutex_lock(&lock);
    record *of = record_make(curl);
    if (of != NULL && (of->lifetime_s == 0 || lifetime_s < of->lifetime_s)) {
        of->lifetime_s = lifetime_s;
        is_shorter = 1;
    }
    pthread_mutex_unlock(&lock);
    if (is_shorter) {
        stls_curl_depth++;
        (void)curl_easy_setopt(curl, CURLOPT_MAXLIFETIME_CONN, (long)lifetime_s);
        stls_curl_depth--;
    }
}

void stls_curl_note_result(CURL *curl, stls_result *result)
{
    pthread_mutex_lock(&lock);
    record *of = record_make(curl);
    if (of != NULL) {
        stls_result_free(of->result);
        of->result = stls_result_up_ref(result);
        of->is_text_due = result != NULL && stls_result_verdict(result) == STLS_REJECT;
    }
    pthread_mutex_unlock(&lock);
}

stls_result *stls_curl_get1_untold(CURL *curl, char **buffer, size_t *len)
{
    stls_result *result = NULL;

    pthread_mutex_lock(&lock);
    record *of = record_get0(curl);
    if (of != NULL && of->is_text_due && of->error_buffer != NULL) {
        result = stls_result_up_ref(of->result);
        *buffer = of->error_buffer;
        *len = of->error_len;
        of->is_text_due = 0;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

STLS_CURL_API const stls_result *stls_curl_last_report(CURL *curl)
{
    stls_curl_tell_late(curl);
    pthread_mutex_lock(&lock);
    record *of = record_get0(curl);
    const stls_result *result = of != NULL ? of->result : NULL;
    pthread_mutex_unlock(&lock);
    return result;
}
