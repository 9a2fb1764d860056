/*
 * GETs many URLs at once through a multi handle, each strictly.
 *
 *     many CAFILE POLICY URL...
 *
 * Exit status: how many were not fetched.
 */
#include <stdio.h>

#include "strict_tls/curl.h"

static stls_policy *make_policy(const char *text)
{
    stls_error err;
    stls_policy *policy = stls_policy_new(NULL);

    if (policy == NULL || stls_policy_set_text(policy, text, &err) != STLS_OK
        || stls_policy_freeze(policy, &err) != STLS_OK) {
        fprintf(stderr, "policy: %s\n", policy != NULL ? err.text : "out of memory");
        stls_policy_free(policy);
        return NULL;
    }
    return policy;
}

static size_t discard(char *bytes, size_t size, size_t num, void *data)
{
    (void)bytes, (void)data;
    return size * num;
}

/* 1: on its way. */
static int add(CURLM *multi, const char *url, const char *ca_file, stls_policy *policy)
{
    CURL *curl = curl_easy_init();

    if (curl == NULL) {
        return 0;
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, url);
    curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
    curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* that file alone */
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
    if (stls_curl_enable(curl, policy, NULL) != STLS_CURL_OK
        || curl_multi_add_handle(multi, curl) != CURLM_OK) {
        stls_curl_disable(curl);
        curl_easy_cleanup(curl);
        return 0;
    }
    return 1;
}

/* Tells about those that have ended; returns how many were fetched. */
static int collect(CURLM *multi)
{
    int left, num_fetched = 0;

    for (CURLMsg *message; (message = curl_multi_info_read(multi, &left)) != NULL;) {
        CURL *curl = message->easy_handle;
        CURLcode code = message->data.result;
        const stls_result *result = stls_curl_last_report(curl);
        const char *url = "";

        curl_easy_getinfo(curl, CURLINFO_PRIVATE, &url);
        printf("%s %d %s\n", url, (int)code,
               result != NULL ? stls_reason_id(stls_result_reason(result)) : "-");
        num_fetched += code == CURLE_OK;
        curl_multi_remove_handle(multi, curl);
        stls_curl_disable(curl);
        curl_easy_cleanup(curl);
    }
    return num_fetched;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: many CAFILE POLICY URL...\n");
        return 2;
    }
    stls_policy *policy = make_policy(argv[2]);
    CURLM *multi = policy != NULL ? curl_multi_init() : NULL;
    int running = 0, num_fetched = 0;

    if (multi != NULL) {
        for (int i = 3; i < argc; i++) {
            running += add(multi, argv[i], argv[1], policy);
        }
        while (running > 0 && curl_multi_perform(multi, &running) == CURLM_OK) {
            num_fetched += collect(multi);
            if (running > 0) {
                curl_multi_poll(multi, NULL, 0, 1000, NULL);
            }
        }
        curl_multi_cleanup(multi);
    }
    stls_policy_free(policy);
    return argc - 3 - num_fetched;
}
