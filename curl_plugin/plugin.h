/* What the parts of the curl plugin owe each other. */
#ifndef STLS_CURL_PLUGIN_H
#define STLS_CURL_PLUGIN_H

#include <openssl/ssl.h>

#include "strict_tls/curl.h"

#define STLS_CURL_API __attribute__((visibility("default")))

/* What a handle demands. Equal ones are one. */
typedef struct {
    stls_policy *policy;
    stls_anchors *anchors; /* NULL: libcurl's */
    curl_ssl_ctx_callback ssl_ctx_function;
    void *ssl_ctx_data;
    curl_prereq_callback prereq_function;
    void *prereq_data;
    unsigned mark; /* setups that demand different things differ in it, the first few of them */
} stls_curl_setup;

/* ---- setup.c ---- */

/* The one setup equal to `wanted`, a reference on it. NULL when out of memory. */
const stls_curl_setup *stls_curl_setup_intern1(const stls_curl_setup *wanted);
const stls_curl_setup *stls_curl_setup_up_ref(const stls_curl_setup *setup);
void stls_curl_setup_free(const stls_curl_setup *setup);

/*
 * 1: nobody duplicates a handle without our knowledge, so that setups end with
 * the last reference.  Otherwise they stay: duplicates carry the pointer.
 */
extern int stls_curl_knows_duplicates;

/* 1: connections that were judged by one may be used by the other. */
int stls_curl_setup_equal_demand(const stls_curl_setup *a, const stls_curl_setup *b);

/* ---- handle.c: what is remembered about handles ---- */

/* Puts `result` (may be NULL) in the place of the handle's last one; takes a reference. */
void stls_curl_note_result(CURL *curl, stls_result *result);

/* The handle's rejecting result if its error buffer does not tell it yet, which is then
 * taken for done; NULL otherwise. The caller frees it. */
stls_result *stls_curl_get1_untold(CURL *curl, char **buffer, size_t *len);

/* The program's own CURLOPT_MAXLIFETIME_CONN. */
stls_curl_status stls_curl_set_lifetime(CURL *curl, int64_t lifetime_s);

/* ---- tell.c ---- */

/* Tells about a verdict: last report, error buffer, the host program's hook. */
void stls_curl_tell(CURL *curl, stls_result *result);

/* After the transfer: the error buffer, where libcurl's own message took the place. */
void stls_curl_tell_late(CURL *curl);

/* ---- inside.c ---- */

/* Changes when another handle takes the place of one that is enabled, or it is reset. */
const void *stls_curl_mark_of(CURL *curl);

/*
 * Which handle calls its pre-request callback?  libcurl does not say, and the
 * callback's data is shared by duplicates.  But the address that it passes lies
 * inside the handle.  NULL: not known.
 */
CURL *stls_curl_handle_around(const char *peer_ip);

/* ---- fork.c ---- */

/* Once is enough. */
void stls_curl_survive_forks(void);

/* Each of these files' lock, taken (1) or given back (0), in this order. */
void stls_curl_handle_lock(int is_locked);
void stls_curl_setup_lock(int is_locked);
void stls_curl_crl_reader_lock(int is_locked);
void stls_curl_cache_lock(int is_locked);

/* ---- more of handle.c ---- */

#define STLS_CURL_IP_LEN 46

/* The IP address of the handle's HTTPS proxy if it is named by one and that is known; "" if not. */
void stls_curl_get_proxy_ip(CURL *curl, char ip[STLS_CURL_IP_LEN]);
stls_curl_status stls_curl_set_proxy_ip(CURL *curl, const char *ip);

/* The handle reuses no connection that is older than this, nor than any earlier limit. */
void stls_curl_limit_lifetime(CURL *curl, int64_t lifetime_s);

/* Called for every verdict, if set. */
extern void (*stls_curl_on_result)(CURL *curl, stls_result *result);

/* Called with a sentence for the person at the terminal, if set. */
extern void (*stls_curl_on_warning)(const char *text);

/*
 * More than 0 while this thread is inside the plugin: what it then calls in
 * libcurl is meant for libcurl itself.
 */
extern _Thread_local int stls_curl_depth;

/* ---- peer_name.c ---- */

/* The name or address that the peer of this handshake must be; "" if that is not known. */
void stls_curl_wanted_name(CURL *curl, const SSL *ssl, int is_proxy, char *name, size_t len);

/* The address that a proxy is named by, as CURLOPT_PROXY has it; "" if it is a name. */
void stls_curl_proxy_ip_of(const char *proxy, char ip[STLS_CURL_IP_LEN]);

/* ---- tls.c: the handshake ---- */

/*
 * libcurl does not tell whether it talks to an HTTPS proxy.  But this option
 * is set in a proxy's context alone, by CURLOPT_PROXY_SSL_OPTIONS, and taken
 * away again before the handshake.
 */
#define STLS_CURL_PROXY_MARK SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS

/* CURLOPT_SSL_CTX_FUNCTION and CURLOPT_PREREQFUNCTION; the data is the setup. */
CURLcode stls_curl_ssl_ctx(CURL *curl, void *ssl_ctx, void *setup);
int stls_curl_prereq(void *setup, char *peer_ip, char *local_ip, int peer_port, int local_port);

/* 1 when this connection went through stls_curl_ssl_ctx(). */
int stls_curl_is_judged(const SSL *ssl);

/* ---- trust.c: which anchors ---- */

/* Frozen anchors out of the store that libcurl made for this connection. NULL: no memory. */
stls_anchors *stls_curl_anchors_of(X509_STORE *store, const STACK_OF(X509) *presented);

/*
 * OpenSSL's verification trusts these from now on, and nothing else is changed
 * about it: CRLs, parameters and callbacks are those of the store in use.  0:
 * no memory.
 */
int stls_curl_replace_anchors(SSL_CTX *ctx, const stls_anchors *anchors);

/* A set without any anchor that somebody has the key of. NULL: no memory. */
stls_anchors *stls_curl_no_anchors(void);

#endif
