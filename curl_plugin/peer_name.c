/* Which name must the peer's certificate be for? */
#include "plugin.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_ip(const char *text)
{
    unsigned char address[16];

    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

/* A URL taken apart; NULL if it is none. */
static CURLU *parse(const char *text)
{
    CURLU *url = curl_url();

    if (url != NULL
        && curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME)
               != CURLUE_OK) {
        curl_url_cleanup(url);
        url = NULL;
    }
    return url;
}

/* Brackets and zone removed; "" if there is none. */
static void host_of(CURLU *url, char *host, size_t len)
{
    char *part = NULL;

    host[0] = '\0';
    if (url != NULL && curl_url_get(url, CURLUPART_HOST, &part, 0) == CURLUE_OK) {
        if (part[0] == '[') {
            snprintf(host, len, "%.*s", (int)strcspn(part + 1, "]%"), part + 1);
        } else {
            snprintf(host, len, "%s", part);
        }
    }
    curl_free(part);
}

void stls_curl_proxy_ip_of(const char *proxy, char ip[STLS_CURL_IP_LEN])
{
    CURLU *url = proxy != NULL ? parse(proxy) : NULL;
    char host[1024];

    host_of(url, host, sizeof(host));
    snprintf(ip, STLS_CURL_IP_LEN, "%.*s", STLS_CURL_IP_LEN - 1, is_ip(host) ? host : "");
    curl_url_cleanup(url);
}

/* libcurl's rule: the scheme's own variable, in capitals too but for http, then all_proxy. */
static const char *proxy_of_environment(const char *scheme)
{
    char lower[32], upper[32];
    const char *names[] = {lower, upper, "all_proxy", "ALL_PROXY"};

    snprintf(lower, sizeof(lower), "%.20s_proxy", scheme);
    snprintf(upper, sizeof(upper), "%s", lower);
    for (char *c = upper; strcmp(scheme, "http") != 0 && *c != '\0'; c++) {
        *c = (char)toupper((unsigned char)*c);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0') {
            return value;
        }
    }
    return NULL;
}

/* 1: openssl.cnf sets the mark in every context ("Options = Bugs"), so that it tells nothing. */
static int is_mark_useless(void)
{
    SSL_CTX *any = SSL_CTX_new(TLS_client_method());
    int is_set = any == NULL || (SSL_CTX_get_options(any) & STLS_CURL_PROXY_MARK) != 0;

    SSL_CTX_free(any);
    return is_set;
}

/*
 * Then the tunnel tells: a peer behind an HTTPS proxy is met once the proxy has
 * agreed to CONNECT.  To take one for the other can only refuse it.
 */
static int is_proxy_by_tunnel(CURL *curl)
{
    char proxy[STLS_CURL_IP_LEN];
    long agreed = 0;

    stls_curl_get_proxy_ip(curl, proxy);
    if (proxy[0] == '\0') {
        return 0;
    }
    return curl_easy_getinfo(curl, CURLINFO_HTTP_CONNECTCODE, &agreed) != CURLE_OK || agreed == 0;
}

void stls_curl_wanted_name(CURL *curl, const SSL *ssl, int is_proxy, char *name, size_t len)
{
    const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    char proxy[STLS_CURL_IP_LEN];
    char *text = NULL, *scheme = NULL;
    CURLU *url = NULL;

    /* libcurl sends the name that it wants, to origins and to HTTPS proxies alike. */
    if (sni != NULL) {
        snprintf(name, len, "%s", sni);
        return;
    }
    /* Only addresses go without. */
    if (is_proxy && is_mark_useless()) {
        is_proxy = is_proxy_by_tunnel(curl);
    }
    if (curl_easy_getinfo(curl, CURLINFO_EFFECTIVE_URL, &text) == CURLE_OK && text != NULL) {
        url = parse(text);
    }
    host_of(url, name, len);
    if (is_proxy || !is_ip(name)) {
        stls_curl_get_proxy_ip(curl, proxy);
        if (proxy[0] == '\0' && url != NULL
            && curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK) {
            stls_curl_proxy_ip_of(proxy_of_environment(scheme), proxy);
        }
        snprintf(name, len, "%s", proxy);
    }
    curl_free(scheme);
    curl_url_cleanup(url);
}
