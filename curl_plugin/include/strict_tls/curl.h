/*
 * strict-tls for programs with a CURL handle.
 *
 *     stls_curl_enable(curl, NULL);
 *     if (curl_easy_perform(curl) == CURLE_PEER_FAILED_VERIFICATION) {
 *         const stls_result *result = stls_curl_last_report(curl);
 *         fprintf(stderr, "%s\n", stls_result_get0_report(result, &len));
 *     }
 *     stls_curl_disable(curl);
 *     curl_easy_cleanup(curl);
 *
 * From then on every TLS connection that the handle uses is judged before a
 * byte of the transfer is sent: complete presented chain, path to a trust
 * anchor, name, revocation.  That includes HTTPS proxies, DNS over HTTPS and
 * the targets of redirects, with easy and multi, and every protocol of libcurl
 * that runs over TLS.  A rejected peer fails the transfer with
 * CURLE_PEER_FAILED_VERIFICATION.
 *
 * What it does to the handle
 *   - It owns CURLOPT_SSL_CTX_FUNCTION, CURLOPT_PREREQFUNCTION and their data,
 *     and sets SSL_VERIFYPEER, SSL_VERIFYHOST, their PROXY_ and DOH_ siblings,
 *     SSL_OPTIONS, PROXY_SSL_OPTIONS, SSL_SESSIONID_CACHE and
 *     MAXLIFETIME_CONN.  Call it behind your own curl_easy_setopt() calls; hand
 *     your own two callbacks to stls_curl_set_ssl_ctx_function() and
 *     stls_curl_set_prereq_function().
 *   - It takes nothing away that libcurl and OpenSSL would refuse for: a CRL
 *     file, pinned keys, an issuer, and what your context function sets (CRL
 *     flags, depth, host, callbacks).  The peer must pass that and the strict
 *     judgement.
 *   - A connection that was opened without these checks, or judged by other
 *     demands (by another handle of the same multi or share, say), is not
 *     used: a fresh one is opened.  Should libcurl offer one all the same (the
 *     program set SSL_OPTIONS again, or a process has more than seven
 *     policies, or another handle's verdict has ended), the transfer ends with
 *     CURLE_ABORTED_BY_CALLBACK and the reason session.unverified: a
 *     pre-request callback can say no more than that.
 *   - Revocation is asked inside the handshake and blocks meanwhile, a multi
 *     handle too: at most fetch_total_ms, or crl_fetch_total_ms for a CRL.
 *     Answers are kept on disk, see stls_curl_set_cache().
 *   - A crl_file of the policy is read again when it has changed; a kept
 *     connection is judged again then, before it is used.
 *   - curl_easy_duphandle(): the duplicate is strict as well; it needs a
 *     stls_curl_enable() of its own only for an error buffer.
 *   - curl_easy_reset() takes strictness away with every other option: enable
 *     again.
 *
 * Trust anchors are those that libcurl itself would use for this handle
 * (CURLOPT_CAINFO, CAINFO_BLOB, CAPATH), self-signed ones only.  Where libcurl
 * was built with a CAPATH, setting CAINFO alone does not turn that off.
 *
 * A handle belongs to one thread at a time, as with libcurl itself; different
 * handles may be used in different threads at once.
 */
#ifndef STRICT_TLS_CURL_H
#define STRICT_TLS_CURL_H

#include <curl/curl.h>

#include "strict_tls/strict_tls.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Only STLS_CURL_OK means that the handle is strict. */
typedef enum {
    STLS_CURL_OK = 1,
    STLS_CURL_ERR_MEMORY = -1,
    STLS_CURL_ERR_ARGUMENT = -2,   /* no handle, or a policy that is not frozen */
    STLS_CURL_ERR_BACKEND = -3,    /* this libcurl does TLS with another library than OpenSSL 3 */
    STLS_CURL_ERR_VERSION = -4,    /* libcurl is older than 7.85.0 */
    STLS_CURL_ERR_OPTION = -5,     /* libcurl refused an option */
    STLS_CURL_ERR_CRL_FILE = -6,   /* the policy's crl_file cannot be read or decoded */
    STLS_CURL_ERR_NOT_ENABLED = -7 /* stls_curl_enable() comes first */
} stls_curl_status;

/* A sentence about a status. Static lifetime. */
const char *stls_curl_status_text(stls_curl_status status);

/*
 * Makes the handle strict.  `policy` must be frozen; a reference is taken.
 * NULL: strict defaults.  Repeating it begins anew.  A policy with mode off takes
 * strictness away; with mode report nothing is rejected that libcurl itself
 * accepts.  If this fails, do not use the handle; `err` (may be NULL) says why,
 * and which file it was.
 */
STLS_MUST_USE stls_curl_status stls_curl_enable(CURL *curl, stls_policy *policy, stls_error *err);

/*
 * Takes strictness away and forgets the handle and its report: call it before
 * curl_easy_cleanup().  Options that were forced stay forced.
 */
void stls_curl_disable(CURL *curl);

/*
 * What was decided about the peer of the handle's latest connection, also when
 * it was accepted.  NULL if none was judged yet.  Borrowed until the handle's
 * next transfer, or stls_curl_disable().  See stls_result_verdict(),
 * stls_result_reason() and stls_result_get0_report().
 */
const stls_result *stls_curl_last_report(CURL *curl);

/*
 * The rest is optional, and comes between stls_curl_enable() and the transfer;
 * STLS_CURL_ERR_NOT_ENABLED for a handle that is not enabled.
 */

/*
 * CURLOPT_ERRORBUFFER, which then carries reason and remedy after a rejection:
 * as much as fits into `len` bytes, which are CURL_ERROR_SIZE or more; the
 * buffer lives until it is replaced (NULL: none) or the handle cleaned up.
 * With libcurl 8.22 and later the text is there from stls_curl_last_report()
 * on, and before that libcurl's own.
 */
stls_curl_status stls_curl_set_error_buffer(CURL *curl, char *buffer, size_t len);

/*
 * CURLOPT_PROXY.  Only an https:// proxy that is named by an IP address needs
 * it: libcurl does not tell anybody which name it wants of its proxy.  Those in
 * https_proxy and its like are known anyway.
 */
STLS_MUST_USE stls_curl_status stls_curl_set_proxy(CURL *curl, const char *proxy);

/* CURLOPT_SSL_CTX_FUNCTION and _DATA of the program's own: called before ours. */
STLS_MUST_USE stls_curl_status stls_curl_set_ssl_ctx_function(CURL *curl,
                                                              curl_ssl_ctx_callback function,
                                                              void *data);

/* CURLOPT_PREREQFUNCTION and _DATA of the program's own: called after ours. */
STLS_MUST_USE stls_curl_status stls_curl_set_prereq_function(CURL *curl,
                                                             curl_prereq_callback function,
                                                             void *data);

/* These trust anchors (frozen) instead of libcurl's. NULL: libcurl's again. A reference is taken. */
STLS_MUST_USE stls_curl_status stls_curl_set_anchors(CURL *curl, stls_anchors *anchors);

/*
 * The process's answer cache: answers of responders on disk, verified again
 * whenever they are read.  NULL: $XDG_CACHE_HOME/strict-tls or
 * ~/.cache/strict-tls, the default; "": none.  STLS_CURL_ERR_ARGUMENT and `err`
 * (may be NULL) if the folder cannot be used; there is no cache then.  Call it
 * before other threads use the library.
 */
stls_curl_status stls_curl_set_cache(const char *folder, stls_error *err);

#ifdef __cplusplus
}
#endif

#endif
