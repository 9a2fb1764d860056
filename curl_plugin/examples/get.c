/*
 * GETs a URL strictly and says why if it may not.
 *
 *     get URL [POLICY]        POLICY as in "revocation=soft chain_root=require"
 *
 * Exit status: 0 fetched, 1 refused by strict-tls, 2 anything else.
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

static int transfer(CURL *curl, const char *url)
{
    char error[CURL_ERROR_SIZE] = "";
    size_t len;

    stls_curl_set_error_buffer(curl, error, sizeof(error));
    curl_easy_setopt(curl, CURLOPT_URL, url);
    CURLcode code = curl_easy_perform(curl);
    const stls_result *result = stls_curl_last_report(curl);
    if (result != NULL) {
        fprintf(stderr, "%s\n", stls_result_get0_report(result, &len));
    }
    if (code == CURLE_OK) {
        return 0;
    }
    fprintf(stderr, "(%d) %s\n", (int)code, error[0] != '\0' ? error : curl_easy_strerror(code));
    return code == CURLE_PEER_FAILED_VERIFICATION ? 1 : 2;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: get URL [POLICY]\n");
        return 2;
    }
    stls_policy *policy = make_policy(argc == 3 ? argv[2] : "");
    CURL *curl = policy != NULL ? curl_easy_init() : NULL;
    int status = 2;

    if (curl != NULL) {
        stls_curl_status enabled = stls_curl_enable(curl, policy, NULL);
        if (enabled == STLS_CURL_OK) {
            status = transfer(curl, argv[1]);
        } else {
            fprintf(stderr, "%s\n", stls_curl_status_text(enabled));
        }
        stls_curl_disable(curl);
        curl_easy_cleanup(curl);
    }
    stls_policy_free(policy);
    return status;
}
