/*
 * A client that does as its arguments say, one step after the other, and tells
 * about every transfer in a line of JSON.
 *
 *   new H              make handle H
 *   dup H G            G = duplicate of H
 *   reset H, free H
 *   set H OPTION TEXT  any option of libcurl by name, a number or text as it wants
 *   list H OPTION TEXT the same for options that take a list
 *   blob H OPTION FILE
 *   share H            the process's one share handle: connections and TLS sessions
 *   strict H POLICY    stls_curl_enable(); "-": NULL
 *   anchors H FILE     stls_curl_set_anchors()
 *   proxy H URL        stls_curl_set_proxy()
 *   ctxfn H            a CURLOPT_SSL_CTX_FUNCTION of the program's own
 *   pinfn H            one that sets a verify callback which knows none of the peer's keys
 *   limit H WHAT VALUE one that narrows what OpenSSL accepts; repeated, all of them (see narrow())
 *   prereq H           a CURLOPT_PREREQFUNCTION of the program's own
 *   buffer H           another CURLOPT_ERRORBUFFER
 *   ask H              stls_curl_last_report() and stls_curl_set_error_buffer(), told
 *   disable H
 *   perform H          curl_easy_perform()
 *   together H[,H...]  through the process's one multi handle
 *   add H[,H...], run  the same in two steps, for what comes between them
 *   cache FOLDER       stls_curl_set_cache()
 *   replace FILE OTHER rename(OTHER, FILE)
 *   sleep MS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/ssl.h>

#ifdef PLAIN
#include <curl/curl.h>
#else
#include "strict_tls/curl.h"
#endif

typedef struct {
    char name;
    CURL *curl;
    char error[CURL_ERROR_SIZE], second_error[CURL_ERROR_SIZE];
    struct curl_slist *list;
    int own_ctx_calls, own_prereq_calls;
    char connection[32];
    struct {
        const char *what, *value;
    } limits[8];
} handle;

static handle handles[26];
static CURLSH *share;
static CURLM *multi;

static handle *of(const char *name)
{
    return &handles[(unsigned char)(name[0] - 'a') % 26];
}

static void die(const char *what)
{
    printf("{\"failed\": \"%s\"}\n", what);
    exit(3);
}

static size_t on_header(char *bytes, size_t size, size_t num, void *data)
{
    handle *h = data;

    if (strncasecmp(bytes, "X-Connection: ", 14) == 0) {
        snprintf(h->connection, sizeof(h->connection), "%.*s", (int)strcspn(bytes + 14, "\r\n"),
                 bytes + 14);
    }
    return size * num;
}

static size_t on_body(char *bytes, size_t size, size_t num, void *data)
{
    (void)bytes, (void)data;
    return size * num;
}

static int accept_everybody(X509_STORE_CTX *store_ctx, void *data)
{
    (void)data;
    X509_STORE_CTX_set_error(store_ctx, X509_V_OK);
    return 1;
}

/* It is called first: what it does to verification does not count. */
static CURLcode own_ctx(CURL *curl, void *ssl_ctx, void *data)
{
    (void)curl;
    SSL_CTX_set_cert_verify_callback(ssl_ctx, accept_everybody, NULL);
    ((handle *)data)->own_ctx_calls++;
    return CURLE_OK;
}

static int no_known_key(int ok, X509_STORE_CTX *store_ctx)
{
    (void)ok;
    X509_STORE_CTX_set_error(store_ctx, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

static CURLcode pin_ctx(CURL *curl, void *ssl_ctx, void *data)
{
    (void)curl;
    SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, no_known_key);
    ((handle *)data)->own_ctx_calls++;
    return CURLE_OK;
}

static int accept_nobody(X509_STORE_CTX *store_ctx, void *data)
{
    (void)data;
    X509_STORE_CTX_set_error(store_ctx, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

static int narrow(SSL_CTX *ctx, const char *what, const char *value)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
    long number = strtol(value, NULL, 0);

    if (strcmp(what, "crl") == 0) {
        return X509_STORE_load_locations(store, value, NULL) == 1;
    } else if (strcmp(what, "flags") == 0) {
        return X509_VERIFY_PARAM_set_flags(param, (unsigned long)number);
    } else if (strcmp(what, "store_flags") == 0) {
        return X509_STORE_set_flags(store, (unsigned long)number);
    } else if (strcmp(what, "host") == 0) {
        return X509_VERIFY_PARAM_set1_host(param, value, 0);
    } else if (strcmp(what, "ip") == 0) {
        return X509_VERIFY_PARAM_set1_ip_asc(param, value);
    } else if (strcmp(what, "email") == 0) {
        return X509_VERIFY_PARAM_set1_email(param, value, 0);
    } else if (strcmp(what, "depth") == 0) {
        X509_VERIFY_PARAM_set_depth(param, (int)number);
    } else if (strcmp(what, "ctx_depth") == 0) {
        SSL_CTX_set_verify_depth(ctx, (int)number);
    } else if (strcmp(what, "store_depth") == 0) {
        return X509_STORE_set_depth(store, (int)number);
    } else if (strcmp(what, "auth_level") == 0) {
        X509_VERIFY_PARAM_set_auth_level(param, (int)number);
    } else if (strcmp(what, "time") == 0) {
        X509_VERIFY_PARAM_set_time(param, (time_t)number);
    } else if (strcmp(what, "purpose") == 0) {
        return X509_VERIFY_PARAM_set_purpose(param, (int)number);
    } else if (strcmp(what, "policy") == 0) {
        ASN1_OBJECT *policy = OBJ_txt2obj(value, 1);
        return X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_EXPLICIT_POLICY)
               && X509_VERIFY_PARAM_add0_policy(param, policy);
    } else if (strcmp(what, "callback") == 0) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, no_known_key);
    } else if (strcmp(what, "store_callback") == 0) {
        X509_STORE_set_verify_cb(store, no_known_key);
    } else if (strcmp(what, "instead") == 0) {
        SSL_CTX_set_cert_verify_callback(ctx, accept_nobody, NULL);
    } else if (strcmp(what, "verify_store") == 0) {
        X509_STORE *other = X509_STORE_new();
        return X509_STORE_load_locations(other, value, NULL) == 1
               && SSL_CTX_set0_verify_cert_store(ctx, other) == 1;
    } else {
        return 0;
    }
    return 1;
}

static CURLcode narrow_ctx(CURL *curl, void *ssl_ctx, void *data)
{
    handle *h = data;

    (void)curl;
    h->own_ctx_calls++;
    for (int i = 0; h->limits[i].what != NULL; i++) {
        if (!narrow(ssl_ctx, h->limits[i].what, h->limits[i].value)) {
            printf("{\"failed\": \"%s\"}\n", h->limits[i].what);
            exit(3);
        }
    }
    return CURLE_OK;
}

static int own_prereq(void *data, char *peer, char *local, int peer_port, int local_port)
{
    (void)peer, (void)local, (void)peer_port, (void)local_port;
    ((handle *)data)->own_prereq_calls++;
    return CURL_PREREQFUNC_OK;
}

static void prepare(handle *h)
{
    curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h->curl, CURLOPT_HEADERDATA, h);
    curl_easy_setopt(h->curl, CURLOPT_PRIVATE, h);
    curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, h->error);
    curl_easy_setopt(h->curl, CURLOPT_PROXY, "");
}

static void set(handle *h, const char *option, const char *text, char how)
{
    const struct curl_easyoption *known = curl_easy_option_by_name(option);
    CURLcode code = CURLE_UNKNOWN_OPTION;

    if (known == NULL) {
        die(option);
    }
    if (how == 'l') {
        h->list = curl_slist_append(h->list, text);
        code = curl_easy_setopt(h->curl, known->id, h->list);
    } else if (how == 'b') {
        static char bytes[1 << 20];
        FILE *file = fopen(text, "rb");
        struct curl_blob blob = {bytes, file ? fread(bytes, 1, sizeof(bytes), file) : 0,
                                 CURL_BLOB_COPY};
        if (file != NULL) {
            fclose(file);
        }
        code = curl_easy_setopt(h->curl, known->id, &blob);
    } else if (known->type == CURLOT_STRING) {
        code = curl_easy_setopt(h->curl, known->id, strcmp(text, "-") == 0 ? NULL : text);
    } else {
        code = curl_easy_setopt(h->curl, known->id, strtol(text, NULL, 0));
    }
    if (code != CURLE_OK) {
        die(option);
    }
}

static void tell(const handle *h, CURLcode code)
{
    long status = 0, num_connects = 0, verify = 0;

    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(h->curl, CURLINFO_NUM_CONNECTS, &num_connects);
    curl_easy_getinfo(h->curl, CURLINFO_SSL_VERIFYRESULT, &verify);
    printf("{\"handle\": \"%c\", \"code\": %d, \"status\": %ld, \"new_connections\": %ld, "
           "\"connection\": \"%s\", \"verify_result\": %ld, \"own_ctx\": %d, \"own_prereq\": %d, ",
           h->name, (int)code, status, num_connects, h->connection, verify, h->own_ctx_calls,
           h->own_prereq_calls);
    printf("\"error\": \"");
    for (const char *c = h->second_error[0] != '\0' ? h->second_error : h->error; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') {
            putchar('\\');
        }
        if (*c >= ' ' && *c <= '~') {
            putchar(*c);
        }
    }
    printf("\"");
#ifndef PLAIN
    const stls_result *result = stls_curl_last_report(h->curl);
    size_t len;
    printf(", \"report\": %s", result != NULL ? stls_result_get0_report(result, &len) : "null");
#endif
    printf("}\n");
}

static void add(const char *names)
{
    if (multi == NULL) {
        multi = curl_multi_init();
    }
    for (const char *name = names; *name != '\0'; name += name[1] == ',' ? 2 : 1) {
        handle *h = of(name);
        h->error[0] = h->connection[0] = '\0';
        curl_multi_add_handle(multi, h->curl);
    }
}

static void run(void)
{
    int running = 1, left;
    const CURLMsg *message;

    while (running) {
        curl_multi_perform(multi, &running);
        if (running) {
            curl_multi_poll(multi, NULL, 0, 1000, NULL);
        }
    }
    while ((message = curl_multi_info_read(multi, &left)) != NULL) {
        handle *h = NULL;
        CURL *curl = message->easy_handle;
        CURLcode code = message->data.result;
        curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&h);
        for (int i = 0; i < 26; i++) {
            if (handles[i].curl == curl) {
                h = &handles[i];
            }
        }
        curl_multi_remove_handle(multi, curl);
        tell(h, code);
    }
}

#ifndef PLAIN
static void strict(handle *h, const char *text)
{
    stls_error err = {""};
    stls_policy *policy = NULL;

    if (strcmp(text, "-") != 0) {
        policy = stls_policy_new(NULL);
        if (stls_policy_set_text(policy, text, &err) != STLS_OK
            || stls_policy_freeze(policy, &err) != STLS_OK) {
            die(err.text);
        }
    }
    if (stls_curl_enable(h->curl, policy, &err) != STLS_CURL_OK) {
        die(err.text);
    }
    stls_curl_set_error_buffer(h->curl, h->error, sizeof(h->error));
    stls_policy_free(policy);
}

static void anchors(handle *h, const char *file)
{
    stls_anchors *set = stls_anchors_new(NULL);
    BIO *bio = BIO_new_file(file, "r");

    if (bio == NULL || stls_anchors_load(set, bio, NULL) != STLS_OK
        || stls_anchors_freeze(set, NULL) != STLS_OK
        || stls_curl_set_anchors(h->curl, set) != STLS_CURL_OK) {
        die("anchors");
    }
    BIO_free(bio);
    stls_anchors_free(set);
}
#endif

static void share_all(handle *h)
{
    if (share == NULL) {
        share = curl_share_init();
        curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
        curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_CONNECT);
        curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    }
    curl_easy_setopt(h->curl, CURLOPT_SHARE, share);
}

static char **step(char **word)
{
    const char *verb = word[0];
    handle *h = word[1] != NULL ? of(word[1]) : NULL;

    if (h == NULL && strcmp(verb, "run") != 0) {
        die("a word is missing");
    }
    if (strcmp(verb, "new") == 0) {
        *h = (handle){.name = word[1][0], .curl = curl_easy_init()};
        prepare(h);
    } else if (strcmp(verb, "dup") == 0) {
        handle *g = of(word[2]);
        *g = (handle){.name = word[2][0], .curl = curl_easy_duphandle(h->curl)};
        curl_easy_setopt(g->curl, CURLOPT_HEADERDATA, g);
        curl_easy_setopt(g->curl, CURLOPT_ERRORBUFFER, g->error);
        return word + 3;
    } else if (strcmp(verb, "reset") == 0) {
        curl_easy_reset(h->curl);
        prepare(h);
    } else if (strcmp(verb, "free") == 0) {
        curl_easy_cleanup(h->curl);
        h->curl = NULL;
    } else if (strcmp(verb, "set") == 0 || strcmp(verb, "list") == 0 || strcmp(verb, "blob") == 0) {
        set(h, word[2], word[3], verb[0]);
        return word + 4;
    } else if (strcmp(verb, "share") == 0) {
        share_all(h);
    } else if (strcmp(verb, "limit") == 0) {
        int num = 0;
        while (h->limits[num].what != NULL) {
            num++;
        }
        h->limits[num].what = word[2];
        h->limits[num].value = word[3];
#ifdef PLAIN
        curl_easy_setopt(h->curl, CURLOPT_SSL_CTX_FUNCTION, narrow_ctx);
        curl_easy_setopt(h->curl, CURLOPT_SSL_CTX_DATA, h);
#else
        if (stls_curl_set_ssl_ctx_function(h->curl, narrow_ctx, h) != STLS_CURL_OK) {
            die("limit");
        }
#endif
        return word + 4;
    } else if (strcmp(verb, "ctxfn") == 0 || strcmp(verb, "pinfn") == 0
               || strcmp(verb, "prereq") == 0) {
        curl_ssl_ctx_callback function = verb[1] == 'i' ? pin_ctx : own_ctx;
#ifdef PLAIN
        if (verb[1] != 'r') {
            curl_easy_setopt(h->curl, CURLOPT_SSL_CTX_FUNCTION, function);
            curl_easy_setopt(h->curl, CURLOPT_SSL_CTX_DATA, h);
        } else {
            curl_easy_setopt(h->curl, CURLOPT_PREREQFUNCTION, own_prereq);
            curl_easy_setopt(h->curl, CURLOPT_PREREQDATA, h);
        }
#else
        if ((verb[1] != 'r' ? stls_curl_set_ssl_ctx_function(h->curl, function, h)
                            : stls_curl_set_prereq_function(h->curl, own_prereq, h))
            != STLS_CURL_OK) {
            die(verb);
        }
    } else if (strcmp(verb, "strict") == 0) {
        strict(h, word[2]);
        return word + 3;
    } else if (strcmp(verb, "anchors") == 0) {
        anchors(h, word[2]);
        return word + 3;
    } else if (strcmp(verb, "proxy") == 0) {
        if (stls_curl_set_proxy(h->curl, word[2]) != STLS_CURL_OK) {
            die("proxy");
        }
        return word + 3;
    } else if (strcmp(verb, "ask") == 0) {
        int has_report = stls_curl_last_report(h->curl) != NULL;
        stls_curl_status status = stls_curl_set_error_buffer(h->curl, h->error, sizeof(h->error));
        printf("{\"address\": \"%p\", \"has_report\": %d, \"status\": %d}\n", (void *)h->curl,
               has_report, (int)status);
    } else if (strcmp(verb, "disable") == 0) {
        stls_curl_disable(h->curl);
    } else if (strcmp(verb, "cache") == 0) {
        stls_error err;
        if (stls_curl_set_cache(word[1], &err) != STLS_CURL_OK) {
            die("cache");
        }
#endif
    } else if (strcmp(verb, "buffer") == 0) {
        curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, h->second_error);
    } else if (strcmp(verb, "perform") == 0) {
        h->error[0] = h->connection[0] = '\0';
        tell(h, curl_easy_perform(h->curl));
    } else if (strcmp(verb, "together") == 0 || strcmp(verb, "add") == 0) {
        add(word[1]);
        if (verb[0] == 't') {
            run();
        }
    } else if (strcmp(verb, "run") == 0) {
        run();
        return word + 1;
    } else if (strcmp(verb, "replace") == 0) {
        if (rename(word[2], word[1]) != 0) {
            die("replace");
        }
        return word + 3;
    } else if (strcmp(verb, "sleep") == 0) {
        long ms = atol(word[1]);
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    } else {
        die(verb);
    }
    return word + 2;
}

int main(int argc, char **argv)
{
    (void)argc;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    for (char **word = argv + 1; *word != NULL;) {
        word = step(word);
    }
    return 0;
}
