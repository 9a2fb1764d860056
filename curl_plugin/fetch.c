#include "fetch.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "plugin.h"

typedef struct {
    const stls_policy *policy;
    stls_curl_body body;
    size_t max_len;
    size_t header_left;
    size_t cap;
    int is_too_large;
    const char *denied; /* class of the address */
    int has_proxy;
    int proxy_port;
    int is_local; /* this process itself has not enough of something */
    stls_curl_fetched *fetched;
} transfer;

/* ---- where to ---------------------------------------------------------------------- */

/* The administrator's HTTP proxy may be anywhere; behind it nobody sees the address. */
static void find_proxy(transfer *of)
{
    static const char *const names[] = {"http_proxy", "all_proxy", "ALL_PROXY"};
    const char *proxy = NULL;
    char *port = NULL;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && proxy == NULL; i++) {
        proxy = getenv(names[i]);
        if (proxy != NULL && proxy[0] == '\0') {
            proxy = NULL;
        }
    }
    CURLU *url = proxy != NULL ? curl_url() : NULL;
    if (url != NULL
        && curl_url_set(url, CURLUPART_URL, proxy, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME)
               == CURLUE_OK) {
        of->has_proxy = 1;
        of->proxy_port = 1080; /* libcurl's default for proxies */
        if (curl_url_get(url, CURLUPART_PORT, &port, 0) == CURLUE_OK) {
            of->proxy_port = atoi(port);
            curl_free(port);
        }
    }
    curl_url_cleanup(url);
}

static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *to)
{
    transfer *of = data;
    const unsigned char *bytes = NULL;
    size_t len = 0;
    int port = 0;

    (void)purpose;
    if (to->family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&to->addr;
        bytes = (const unsigned char *)&in->sin_addr;
        len = 4;
        port = ntohs(in->sin_port);
    } else if (to->family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&to->addr;
        bytes = in6->sin6_addr.s6_addr;
        len = 16;
        port = ntohs(in6->sin6_port);
    }
    if (!of->has_proxy || port != of->proxy_port) {
        const char *denied = stls_policy_denies_address(of->policy, bytes, len);
        if (denied != NULL) {
            of->denied = denied;
            return CURL_SOCKET_BAD;
        }
    }
    int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    /* A family that this machine does not have is no lack: there is another address. */
    of->is_local |= fd < 0 && errno != EAFNOSUPPORT && errno != EPROTONOSUPPORT;
    return fd;
}

void stls_curl_flight_of(const stls_fetch *want, unsigned char flight[STLS_ID_LEN])
{
    static const char *const names[] = {"http_proxy", "all_proxy", "ALL_PROXY", "no_proxy",
                                        "NO_PROXY"};
    EVP_MD_CTX *md = NULL;
    int ok = 1;

    memcpy(flight, want->flight, STLS_ID_LEN);
    for (unsigned char i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        if (value == NULL || value[0] == '\0') {
            continue;
        }
        if (md == NULL) {
            md = EVP_MD_CTX_new();
            ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL)
                 && EVP_DigestUpdate(md, want->flight, STLS_ID_LEN);
        }
        ok = ok && EVP_DigestUpdate(md, &i, 1) && EVP_DigestUpdate(md, value, strlen(value) + 1);
    }
    if (md != NULL && !(ok && EVP_DigestFinal_ex(md, flight, NULL))) {
        memset(flight, 0, STLS_ID_LEN);
        (void)RAND_bytes(flight, STLS_ID_LEN); /* nobody else's */
    }
    EVP_MD_CTX_free(md);
}

/* ---- what comes back ------------------------------------------------------------------ */

static size_t receive(char *bytes, size_t size, size_t num, void *data)
{
    transfer *of = data;
    stls_curl_fetched *fetched = of->fetched;
    size_t len = size * num;

    if (len > of->max_len - fetched->bytes_len) {
        of->is_too_large = 1;
        return 0;
    }
    if (fetched->bytes_len + len > of->cap) {
        size_t cap = of->cap * 2 > fetched->bytes_len + len ? of->cap * 2
                                                            : fetched->bytes_len + len;
        unsigned char *grown = realloc(fetched->bytes, cap);
        if (grown == NULL) {
            of->is_local = 1;
            return 0;
        }
        fetched->bytes = grown;
        of->cap = cap;
    }
    memcpy(fetched->bytes + fetched->bytes_len, bytes, len);
    fetched->bytes_len += len;
    return len;
}

/* A line of the header or of the trailers. */
static size_t receive_header(char *bytes, size_t size, size_t num, void *data)
{
    transfer *of = data;
    size_t len = size * num;

    (void)bytes;
    if (len > of->header_left) {
        of->is_too_large = 1;
        return 0;
    }
    of->header_left -= len;
    return len;
}

/* DER tells its own length: less or more than that is no answer. */
static int is_one_der(const unsigned char *der, size_t len)
{
    size_t num, content = 0;

    if (len < 2 || der[0] != 0x30) {
        return 0;
    }
    if (der[1] < 0x80) {
        return len == 2u + der[1];
    }
    num = der[1] & 0x7f;
    if (num == 0 || num > 4 || len < 2 + num) {
        return 0;
    }
    for (size_t i = 0; i < num; i++) {
        content = content << 8 | der[2 + i];
    }
    return len == 2 + num + content;
}

static void fail(stls_curl_fetched *fetched, stls_fetch_outcome outcome, const char *detail)
{
    fetched->outcome = outcome;
    if (detail != NULL) {
        snprintf(fetched->detail, sizeof(fetched->detail), "%s", detail);
    }
}

/*
 * What libcurl tells as a name that is not found, or a host that is not there,
 * may be a lack of descriptors or threads here: it does not tell those apart.
 */
static int is_lack(CURLcode code, const transfer *of)
{
    if (of->is_local || code == CURLE_OUT_OF_MEMORY || code == CURLE_FAILED_INIT
        || code == CURLE_URL_MALFORMAT
        || strstr(of->fetched->detail, "thread failed to start") != NULL) {
        return 1;
    }
    if (code != CURLE_COULDNT_RESOLVE_HOST && code != CURLE_COULDNT_RESOLVE_PROXY
        && code != CURLE_COULDNT_CONNECT) {
        return 0;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int is_lacking = fd < 0 && errno != EAFNOSUPPORT;
    if (fd >= 0) {
        close(fd);
    }
    return is_lacking;
}

static void conclude(CURL *curl, CURLcode code, const transfer *of)
{
    stls_curl_fetched *fetched = of->fetched;
    long http_status = 0;
    char text[64];

    if (fetched->detail[0] == '\0' && code != CURLE_OK) {
        snprintf(fetched->detail, sizeof(fetched->detail), "%s", curl_easy_strerror(code));
    }
    if (of->denied != NULL) {
        snprintf(text, sizeof(text), "the address is %s", of->denied);
        fail(fetched, STLS_FETCH_DENIED, text);
    } else if (of->is_too_large || code == CURLE_FILESIZE_EXCEEDED) {
        fail(fetched, STLS_FETCH_TOO_LARGE, "more bytes than the policy allows");
    } else if (code != CURLE_OK && is_lack(code, of)) {
        fail(fetched, STLS_FETCH_LOCAL, NULL);
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        fail(fetched, STLS_FETCH_TIMEOUT, NULL);
    } else if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY
               || code == CURLE_COULDNT_CONNECT) {
        fail(fetched, STLS_FETCH_NETWORK, NULL);
    } else if (code != CURLE_OK) {
        fail(fetched, STLS_FETCH_HTTP, NULL);
    } else if (curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http_status) != CURLE_OK
               || http_status != 200) {
        snprintf(text, sizeof(text), "HTTP status %ld", http_status);
        fail(fetched, STLS_FETCH_HTTP, text);
    } else if (of->body == STLS_CURL_BODY_DER && !is_one_der(fetched->bytes, fetched->bytes_len)) {
        fail(fetched, STLS_FETCH_HTTP, "the body is not one DER object");
    } else {
        fetched->outcome = STLS_FETCH_OK;
    }
}

/* ---- the exchange ------------------------------------------------------------------------ */

static struct curl_slist *header_list(const stls_fetch *want)
{
    char line[160];

    if (!want->is_post) {
        return NULL;
    }
    snprintf(line, sizeof(line), "Content-Type: %s", want->content_type);
    struct curl_slist *list = curl_slist_append(NULL, line);
    struct curl_slist *longer = list != NULL ? curl_slist_append(list, "Expect:") : NULL;
    if (longer == NULL) {
        curl_slist_free_all(list);
    }
    return longer;
}

static int set_up(CURL *curl, const stls_fetch *want, long limit_ms, struct curl_slist *headers,
                  transfer *of)
{
    long time_ms = limit_ms < (long)want->timeout_ms ? limit_ms : (long)want->timeout_ms;
    int failed = 0;

    failed |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, of->fetched->detail) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_URL, want->url) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http") != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, time_ms > 0 ? time_ms : 1L) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)of->max_len)
              != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_USERAGENT, "strict-tls/" STLS_VERSION) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, of) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, receive_header) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_HEADERDATA, of) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket) != CURLE_OK;
    failed |= curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, of) != CURLE_OK;
    if (want->is_post) {
        failed |= curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)want->body_len)
                  != CURLE_OK;
        failed |= curl_easy_setopt(curl, CURLOPT_POSTFIELDS, want->body) != CURLE_OK;
        failed |= headers == NULL
                  || curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) != CURLE_OK;
    }
    return !failed;
}

void stls_curl_fetch(const stls_fetch *want, const stls_policy *policy, stls_curl_body body,
                     long limit_ms, stls_curl_fetched *fetched)
{
    transfer of = {.policy = policy,
                   .body = body,
                   .max_len = want->max_reply_bytes,
                   .header_left = want->max_reply_header_bytes,
                   .fetched = fetched};
    struct curl_slist *headers = NULL;

    memset(fetched, 0, sizeof(*fetched));
    stls_curl_depth++;
    CURL *curl = curl_easy_init();
    headers = header_list(want);
    find_proxy(&of);
    if (curl == NULL || !set_up(curl, want, limit_ms, headers, &of)) {
        fail(fetched, STLS_FETCH_LOCAL, "the request could not be made: out of memory");
    } else {
        conclude(curl, curl_easy_perform(curl), &of);
    }
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    stls_curl_depth--;
    if (fetched->outcome != STLS_FETCH_OK) {
        free(fetched->bytes);
        fetched->bytes = NULL;
        fetched->bytes_len = 0;
    }
}

void stls_curl_fetched_free(stls_curl_fetched *fetched)
{
    free(fetched->bytes);
    fetched->bytes = NULL;
    fetched->bytes_len = 0;
}
