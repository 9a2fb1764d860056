/* Which handles are strict, and what was last decided for them. */
#include "plugin.h"

#include "crl_reader.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256
#define OLDEST_LIBCURL 0x075500 /* CURLOPT_PROTOCOLS_STR */

typedef struct record_st {
    CURL *curl;
    stls_curl_setup wanted;
    int is_enabled;
    char *error_buffer;
    char proxy_ip[STLS_CURL_IP_LEN];
    int64_t lifetime_s; /* 0: no limit but the policy's */
    stls_result *result;
    struct record_st *next;
} record;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static record *buckets[BUCKETS];

void (*stls_curl_on_result)(CURL *curl, stls_result *result);
void (*stls_curl_on_warning)(const char *text);
_Thread_local int stls_curl_depth;

/* ---- the table; its callers hold the lock ------------------------------- */

static record **place_of(CURL *curl)
{
    record **place = &buckets[((uintptr_t)curl >> 4) % BUCKETS];

    while (*place != NULL && (*place)->curl != curl) {
        place = &(*place)->next;
    }
    return place;
}

static record *record_get0(CURL *curl)
{
    return *place_of(curl);
}

static record *record_make(CURL *curl)
{
    record **place = place_of(curl);

    if (*place == NULL) {
        *place = calloc(1, sizeof(**place));
        if (*place != NULL) {
            (*place)->curl = curl;
        }
    }
    return *place;
}

/* Everything but the handle and the place in the table. */
static void record_clear(record *of)
{
    record old = *of;

    stls_policy_free(old.wanted.policy);
    stls_anchors_free(old.wanted.anchors);
    stls_result_free(old.result);
    *of = (record){.curl = old.curl, .next = old.next};
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
    if (!of->is_enabled) {
        return STLS_CURL_OK;
    }
    const stls_curl_setup *setup = stls_curl_setup_intern(&of->wanted);
    if (setup == NULL) {
        return STLS_CURL_ERR_MEMORY;
    }
    stls_curl_depth++;
    stls_curl_status status = set_options(of, setup);
    stls_curl_depth--;
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

STLS_CURL_API stls_curl_status stls_curl_enable(CURL *curl, const stls_policy *policy)
{
    if (curl == NULL || (policy != NULL && stls_policy_get0_id(policy) == NULL)) {
        return STLS_CURL_ERR_ARGUMENT;
    }
    stls_curl_depth++;
    stls_curl_status status = check_libcurl(curl);
    stls_curl_depth--;
    if (status != STLS_CURL_OK) {
        return status;
    }
    stls_policy *own = policy != NULL ? stls_policy_up_ref((stls_policy *)policy)
                                      : default_policy();
    if (own == NULL) {
        return STLS_CURL_ERR_MEMORY;
    }
    stls_error err;
    stls_crl_file_free(stls_curl_crl_file_get1(own, &err));
    if (err.text[0] != '\0' && stls_policy_get_int(own, STLS_KEY_MODE) != 2) {
        stls_policy_free(own);
        return STLS_CURL_ERR_CRL_FILE;
    }
    pthread_mutex_lock(&lock);
    record *of = record_make(curl);
    if (of == NULL) {
        stls_policy_free(own);
        status = STLS_CURL_ERR_MEMORY;
    } else {
        /* A handle that was cleaned up without a word may have had this address. */
        int64_t lifetime_s = of->lifetime_s; /* connections stay in the handle */
        record_clear(of);
        of->lifetime_s = lifetime_s;
        of->wanted.policy = own;
        of->is_enabled = stls_policy_get_int(own, STLS_KEY_MODE) != 2; /* off */
        status = apply(of);
        if (!of->is_enabled) {
            stls_curl_depth++;
            clear_options(curl, &of->wanted);
            stls_curl_depth--;
        }
    }
    pthread_mutex_unlock(&lock);
    return status;
}

STLS_CURL_API void stls_curl_disable(CURL *curl)
{
    pthread_mutex_lock(&lock);
    record **place = place_of(curl);
    record *gone = *place;
    if (gone != NULL) {
        *place = gone->next;
        if (gone->is_enabled) {
            stls_curl_depth++;
            clear_options(curl, &gone->wanted);
            stls_curl_depth--;
        }
        record_clear(gone);
        free(gone);
    }
    pthread_mutex_unlock(&lock);
}

STLS_CURL_API const stls_result *stls_curl_last_report(CURL *curl)
{
    pthread_mutex_lock(&lock);
    record *of = record_get0(curl);
    const stls_result *result = of != NULL ? of->result : NULL;
    pthread_mutex_unlock(&lock);
    return result;
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
    stls_curl_status status = of != NULL ? apply(of) : STLS_CURL_ERR_ARGUMENT;
    pthread_mutex_unlock(&lock);
    return status;
}

STLS_CURL_API stls_curl_status stls_curl_set_error_buffer(CURL *curl, char *buffer)
{
    record *of = begin(curl);
    if (of != NULL) {
        of->error_buffer = buffer;
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
    }
    pthread_mutex_unlock(&lock);
}

/* What fits into libcurl's error buffer: the detail is cut before the remedy is. */
static void describe(const stls_result *result, char *text, size_t len)
{
    char line[4096];

    (void)stls_result_log_line(result, NULL, line, sizeof(line));
    const char *reason = stls_reason_id(stls_result_reason(result));
    const char *detail = strstr(line, " detail=\"");
    const char *remedy = strstr(line, " remedy=\"");
    size_t detail_len = 0, remedy_len = remedy != NULL ? strlen(remedy) : 0;
    size_t fixed = strlen("strict-tls: reject reason=") + strlen(reason);

    if (detail != NULL) {
        detail_len = remedy != NULL && remedy > detail ? (size_t)(remedy - detail) : strlen(detail);
    }
    size_t room = len - 1 > fixed + remedy_len ? len - 1 - fixed - remedy_len : 0;
    if (detail_len > room) {
        detail_len = room > 24 ? room : 0;
    }
    int cut = detail != NULL && detail_len > 0 && detail[detail_len - 1] != '"';
    snprintf(text, len, "strict-tls: reject reason=%s%.*s%s%s", reason,
             (int)(cut ? detail_len - 4 : detail_len), detail != NULL ? detail : "",
             cut ? "...\"" : "", remedy != NULL ? remedy : "");
}

/*
 * libcurl keeps the first message of a transfer, and writes its own behind our
 * back otherwise.  Performing a handle that is being performed is a harmless
 * way to make it write one, which is then replaced.
 */
static void write_error(CURL *curl, char *buffer, const stls_result *result)
{
    stls_curl_depth++;
    (void)curl_easy_perform(curl);
    stls_curl_depth--;
    if (buffer[0] != '\0') {
        describe(result, buffer, CURL_ERROR_SIZE);
    }
}

void stls_curl_tell(CURL *curl, stls_result *result)
{
    stls_curl_note_result(curl, result);
    if (result == NULL) {
        return;
    }
    pthread_mutex_lock(&lock);
    record *of = record_get0(curl);
    char *buffer = of != NULL ? of->error_buffer : NULL;
    pthread_mutex_unlock(&lock);
    if (buffer != NULL && stls_result_verdict(result) == STLS_REJECT) {
        write_error(curl, buffer, result);
    }
    if (stls_curl_on_result != NULL) {
        stls_curl_on_result(curl, result);
    }
}
