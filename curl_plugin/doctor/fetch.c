#include "fetch.h"

#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

typedef struct {
    doctor_answer *answer;
    const stls_policy *policy;
    size_t max_len;
    int is_too_large;
    const char *denied; /* class of an address that was not connected to */
} exchange;

static size_t take(char *bytes, size_t size, size_t num, void *arg)
{
    exchange *ex = arg;
    doctor_answer *answer = ex->answer;
    size_t len = size * num;

    if (len > ex->max_len - answer->reply.bytes_len) {
        ex->is_too_large = 1;
        return 0;
    }
    unsigned char *grown = realloc(answer->bytes, answer->reply.bytes_len + len + 1);
    if (grown == NULL) {
        return 0;
    }
    memcpy(grown + answer->reply.bytes_len, bytes, len);
    answer->bytes = grown;
    answer->reply.bytes_len += len;
    return len;
}

/* Judged on the address that is really connected to. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    exchange *ex = arg;
    const char *denied = "unknown";

    if (address->family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&address->addr;
        denied = stls_policy_denies_address(ex->policy, (const unsigned char *)&in->sin_addr, 4);
    } else if (address->family == AF_INET6) {
        const struct sockaddr_in6 *in6 =
            (const struct sockaddr_in6 *)(const void *)&address->addr;
        denied = stls_policy_denies_address(ex->policy, (const unsigned char *)&in6->sin6_addr, 16);
    }
    if (purpose != CURLSOCKTYPE_IPCXN || denied != NULL) {
        ex->denied = denied != NULL ? denied : "unknown";
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Answers are one DER value and nothing else: its header tells its length. */
static int is_one_value(const unsigned char *bytes, size_t len)
{
    size_t total, num;
    if (len < 2 || bytes[0] != 0x30) {
        return 0;
    }
    num = bytes[1] & 0x80 ? bytes[1] & 0x7f : 0;
    total = bytes[1];
    if (num > 4 || len < 2 + num || bytes[1] == 0x80) {
        return 0;
    }
    if (num > 0) {
        total = 0;
        for (size_t i = 0; i < num; i++) {
            total = total << 8 | bytes[2 + i];
        }
    }
    return total == len - 2 - num;
}

static stls_fetch_outcome outcome_of(CURLcode code, const exchange *ex)
{
    if (ex->is_too_large || code == CURLE_FILESIZE_EXCEEDED) {
        return STLS_FETCH_TOO_LARGE;
    }
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return STLS_FETCH_TIMEOUT;
    case CURLE_COULDNT_CONNECT:
        return ex->denied != NULL ? STLS_FETCH_DENIED : STLS_FETCH_NETWORK;
    case CURLE_HTTP_RETURNED_ERROR:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_BAD_CONTENT_ENCODING:
        return STLS_FETCH_HTTP;
    default:
        return STLS_FETCH_NETWORK;
    }
}

static struct curl_slist *headers_of(const stls_fetch *fetch)
{
    char line[200];
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    if (headers != NULL && fetch->is_post) {
        snprintf(line, sizeof(line), "Content-Type: %s", fetch->content_type);
        struct curl_slist *more = curl_slist_append(headers, line);
        if (more == NULL) {
            curl_slist_free_all(headers);
        }
        headers = more;
    }
    return headers;
}

static CURLcode perform(CURL *curl, const stls_fetch *fetch, int64_t timeout_ms, exchange *ex,
                        struct curl_slist *headers, char *error)
{
    CURLcode bad = CURLE_OK;
#define SET(option, value) bad = bad != CURLE_OK ? bad : curl_easy_setopt(curl, option, value)
    SET(CURLOPT_URL, fetch->url);
    SET(CURLOPT_PROTOCOLS_STR, "http");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)fetch->max_reply_bytes);
    SET(CURLOPT_FAILONERROR, 1L);
    SET(CURLOPT_ERRORBUFFER, error);
    SET(CURLOPT_WRITEFUNCTION, take);
    SET(CURLOPT_WRITEDATA, ex);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, ex);
    SET(CURLOPT_HTTPHEADER, headers);
    if (fetch->is_post) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)fetch->body_len);
        SET(CURLOPT_POSTFIELDS, (const char *)fetch->body);
    }
#undef SET
    return bad == CURLE_OK ? curl_easy_perform(curl) : bad;
}

static void fetch_bytes(doctor_answer *answer, const stls_policy *policy, const stls_fetch *fetch,
                        int64_t timeout_ms)
{
    char error[CURL_ERROR_SIZE] = "";
    exchange ex = {answer, policy, fetch->max_reply_bytes, 0, NULL};
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = headers_of(fetch);
    CURLcode code = CURLE_OUT_OF_MEMORY;
    long status = 0;

    memset(answer, 0, sizeof(*answer));
    if (curl != NULL && headers != NULL) {
        code = perform(curl, fetch, timeout_ms > 0 ? timeout_ms : 1, &ex, headers, error);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    answer->reply.detail = answer->detail;
    answer->reply.bytes = answer->bytes;
    if (code != CURLE_OK) {
        answer->reply.outcome = outcome_of(code, &ex);
        if (answer->reply.outcome == STLS_FETCH_DENIED) {
            snprintf(answer->detail, sizeof(answer->detail), "a %s address", ex.denied);
        } else {
            snprintf(answer->detail, sizeof(answer->detail), "%s",
                     error[0] != '\0' ? error : curl_easy_strerror(code));
        }
    } else if (status != 200) {
        answer->reply.outcome = STLS_FETCH_HTTP;
        snprintf(answer->detail, sizeof(answer->detail), "HTTP status %ld%s", status,
                 status / 100 == 3 ? ": a redirect is not followed" : "");
    } else {
        answer->reply.outcome = STLS_FETCH_OK;
        answer->reply.detail = NULL;
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}

void doctor_fetch(doctor_answer *answer, const stls_policy *policy, const stls_fetch *fetch,
                  int64_t timeout_ms)
{
    fetch_bytes(answer, policy, fetch, timeout_ms);
    if (answer->reply.outcome == STLS_FETCH_OK
        && !is_one_value(answer->reply.bytes, answer->reply.bytes_len)) {
        answer->reply.outcome = STLS_FETCH_HTTP;
        answer->reply.detail = answer->detail;
        snprintf(answer->detail, sizeof(answer->detail), "the reply's body is not one DER value");
    }
}

void doctor_fetch_url(doctor_answer *answer, const stls_policy *policy, const char *url)
{
    const stls_fetch fetch = {
        .url = url,
        .content_type = "",
        .max_reply_bytes = (size_t)stls_policy_get_int(policy, STLS_KEY_MAX_REPLY_BYTES),
    };
    fetch_bytes(answer, policy, &fetch, stls_policy_get_int(policy, STLS_KEY_FETCH_TIMEOUT_MS));
}

void doctor_answer_free(doctor_answer *answer)
{
    free(answer->bytes);
    memset(answer, 0, sizeof(*answer));
}
