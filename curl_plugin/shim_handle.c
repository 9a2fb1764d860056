/* What the program wants of its handles, as far as strict-tls has a say in it. */
#include "shim.h"
#include "table.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where trusted certificates come from, once for origins and once for HTTPS proxies. */
typedef struct {
    int has_file, has_folder;
} trust;

typedef struct {
    stls_node node;
    CURL *curl;
    int is_strict;    /* what is set from now on counts at once */
    int is_handed_on; /* made by libcurl for DNS over HTTPS: it gave it our context function */
    curl_ssl_ctx_callback ssl_ctx_function;
    void *ssl_ctx_data;
    curl_prereq_callback prereq_function;
    void *prereq_data;
    char *error_buffer;
    trust origin, proxy;
    char proxy_ip[STLS_CURL_IP_LEN];
    int64_t lifetime_s;
} wishes;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static stls_table all;

void stls_shim_handle_lock(int is_locked)
{
    (void)(is_locked ? pthread_mutex_lock(&lock) : pthread_mutex_unlock(&lock));
}

/* The rest is for callers that hold the lock. */
static wishes *find(CURL *curl)
{
    for (stls_node *node = NULL;
         (node = stls_table_next(&all, stls_table_hash(&curl, sizeof(curl)), node)) != NULL;) {
        if (((wishes *)node)->curl == curl) {
            return (wishes *)node;
        }
    }
    return NULL;
}

static wishes *make(CURL *curl)
{
    wishes *of = find(curl);

    if (of == NULL) {
        of = calloc(1, sizeof(*of));
        if (of == NULL || !stls_table_add(&all, &of->node, stls_table_hash(&curl, sizeof(curl)))) {
            abort(); /* an option that is forgotten might have made the transfer stricter */
        }
        of->curl = curl;
    }
    return of;
}

static void take_note(wishes *of, CURLoption option, void *value)
{
    switch (option) {
    case CURLOPT_SSL_CTX_FUNCTION:
        of->is_handed_on = (curl_ssl_ctx_callback)value == stls_curl_ssl_ctx;
        of->ssl_ctx_function = of->is_handed_on ? NULL : (curl_ssl_ctx_callback)value;
        break;
    case CURLOPT_SSL_CTX_DATA:
        of->ssl_ctx_data = of->is_handed_on ? NULL : value;
        break;
    case CURLOPT_PREREQFUNCTION:
        of->prereq_function = (curl_prereq_callback)value;
        break;
    case CURLOPT_PREREQDATA:
        of->prereq_data = value;
        break;
    case CURLOPT_ERRORBUFFER:
        of->error_buffer = value;
        break;
    case CURLOPT_CAINFO:
    case CURLOPT_CAINFO_BLOB:
        of->origin.has_file = value != NULL;
        break;
    case CURLOPT_CAPATH:
        of->origin.has_folder = value != NULL;
        break;
    case CURLOPT_PROXY_CAINFO:
    case CURLOPT_PROXY_CAINFO_BLOB:
        of->proxy.has_file = value != NULL;
        break;
    case CURLOPT_PROXY_CAPATH:
        of->proxy.has_folder = value != NULL;
        break;
    case CURLOPT_PROXY:
        stls_curl_proxy_ip_of(value, of->proxy_ip);
        break;
    case CURLOPT_MAXLIFETIME_CONN:
        of->lifetime_s = (long)(intptr_t)value;
        break;
    default:
        break;
    }
}

int stls_shim_note_option(CURL *curl, CURLoption option, void *value, int rejects)
{
    pthread_mutex_lock(&lock);
    wishes *of = make(curl);
    take_note(of, option, value);
    int is_handed_on = of->is_handed_on;
    pthread_mutex_unlock(&lock);

    switch (option) {
    case CURLOPT_SSL_CTX_FUNCTION:
    case CURLOPT_SSL_CTX_DATA:
        return is_handed_on;
    case CURLOPT_PREREQFUNCTION:
    case CURLOPT_PREREQDATA:
    case CURLOPT_SSL_SESSIONID_CACHE:
    case CURLOPT_MAXLIFETIME_CONN:
    case CURLOPT_SSL_OPTIONS:
    case CURLOPT_PROXY_SSL_OPTIONS:
        return 0;
    case CURLOPT_SSL_VERIFYPEER:
    case CURLOPT_SSL_VERIFYHOST:
    case CURLOPT_PROXY_SSL_VERIFYPEER:
    case CURLOPT_PROXY_SSL_VERIFYHOST:
    case CURLOPT_DOH_SSL_VERIFYPEER:
    case CURLOPT_DOH_SSL_VERIFYHOST:
        return !rejects;
    default:
        return 1;
    }
}

int stls_shim_forget(CURL *curl)
{
    pthread_mutex_lock(&lock);
    wishes *gone = find(curl);
    int was_strict = gone != NULL && gone->is_strict;
    if (gone != NULL) {
        stls_table_remove(&all, &gone->node);
        free(gone);
    }
    pthread_mutex_unlock(&lock);
    return was_strict;
}

void stls_shim_copy(CURL *from, CURL *to)
{
    pthread_mutex_lock(&lock);
    wishes old = *make(from);
    wishes *copy = make(to);
    old.node = copy->node;
    old.curl = to;
    old.is_strict = 0;
    *copy = old;
    pthread_mutex_unlock(&lock);
}

/*
 * --cacert FILE means that file and nothing else: libcurl would go on to trust
 * the folder that it was built with.  The same the other way round.
 */
static void narrow_trust(CURL *curl, const stls_shim_real *real, trust given, CURLoption file,
                         CURLoption folder)
{
    if (given.has_file && !given.has_folder) {
        (void)real->easy_setopt(curl, folder, NULL);
    } else if (given.has_folder && !given.has_file) {
        (void)real->easy_setopt(curl, file, NULL);
    }
}

/*
 * The curl command looks at these variables only without -k, which strict-tls
 * overrides.
 */
static void trust_of_environment(CURL *curl, const stls_shim_real *real, trust *given)
{
    static const struct {
        const char *name;
        CURLoption option;
    } variables[] = {{"CURL_CA_BUNDLE", CURLOPT_CAINFO},
                     {"SSL_CERT_DIR", CURLOPT_CAPATH},
                     {"SSL_CERT_FILE", CURLOPT_CAINFO}};

    if (given->has_file || given->has_folder
        || strcmp(program_invocation_short_name, "curl") != 0) {
        return;
    }
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        const char *value = getenv(variables[i].name);
        if (value != NULL && value[0] != '\0') {
            (void)real->easy_setopt(curl, variables[i].option, value);
            given->has_file |= variables[i].option == CURLOPT_CAINFO;
            given->has_folder |= variables[i].option == CURLOPT_CAPATH;
            return;
        }
    }
}

static wishes wishes_of(CURL *curl)
{
    pthread_mutex_lock(&lock);
    wishes of = *make(curl);
    pthread_mutex_unlock(&lock);
    return of;
}

static void narrow(CURL *curl, const stls_shim_config *config, wishes *of)
{
    trust_of_environment(curl, &config->real, &of->origin);
    narrow_trust(curl, &config->real, of->origin, CURLOPT_CAINFO, CURLOPT_CAPATH);
    narrow_trust(curl, &config->real, of->proxy, CURLOPT_PROXY_CAINFO, CURLOPT_PROXY_CAPATH);
}

stls_curl_status stls_shim_enable(CURL *curl, const stls_shim_config *config)
{
    wishes of = wishes_of(curl);

    narrow(curl, config, &of);
    stls_curl_status status = stls_curl_enable(curl, config->policy, NULL);
    if (status == STLS_CURL_OK) {
        status = stls_curl_set_ssl_ctx_function(curl, of.ssl_ctx_function, of.ssl_ctx_data);
    }
    if (status == STLS_CURL_OK) {
        status = stls_curl_set_prereq_function(curl, of.prereq_function, of.prereq_data);
    }
    if (status == STLS_CURL_OK) {
        status = stls_curl_set_error_buffer(curl, of.error_buffer, CURL_ERROR_SIZE);
    }
    if (status == STLS_CURL_OK) {
        status = stls_curl_set_proxy_ip(curl, of.proxy_ip);
    }
    if (status == STLS_CURL_OK) {
        status = stls_curl_set_lifetime(curl, of.lifetime_s);
    }
    if (status == STLS_CURL_OK) {
        pthread_mutex_lock(&lock);
        make(curl)->is_strict = 1;
        pthread_mutex_unlock(&lock);
    }
    return status;
}

stls_curl_status stls_shim_option_was_set(CURL *curl, CURLoption option,
                                          const stls_shim_config *config)
{
    wishes of = wishes_of(curl);

    if (!of.is_strict) {
        return STLS_CURL_OK; /* what it wants is looked at when the transfer begins */
    }
    switch (option) {
    case CURLOPT_SSL_CTX_FUNCTION:
    case CURLOPT_SSL_CTX_DATA:
        return stls_curl_set_ssl_ctx_function(curl, of.ssl_ctx_function, of.ssl_ctx_data);
    case CURLOPT_PREREQFUNCTION:
    case CURLOPT_PREREQDATA:
        return stls_curl_set_prereq_function(curl, of.prereq_function, of.prereq_data);
    case CURLOPT_ERRORBUFFER:
        return stls_curl_set_error_buffer(curl, of.error_buffer, CURL_ERROR_SIZE);
    case CURLOPT_PROXY:
        return stls_curl_set_proxy_ip(curl, of.proxy_ip);
    case CURLOPT_MAXLIFETIME_CONN:
        return stls_curl_set_lifetime(curl, of.lifetime_s);
    case CURLOPT_CAINFO:
    case CURLOPT_CAINFO_BLOB:
    case CURLOPT_CAPATH:
    case CURLOPT_PROXY_CAINFO:
    case CURLOPT_PROXY_CAINFO_BLOB:
    case CURLOPT_PROXY_CAPATH:
        narrow(curl, config, &of);
        return STLS_CURL_OK;
    default:
        return STLS_CURL_OK;
    }
}
