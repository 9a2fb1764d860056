/*
 * status_page.c: what this host presents, whom it met and what it remembers,
 * as one page for people, for programs or for Prometheus.
 *
 * The host fills it, renders it once and frees it.  Everything is copied, so a
 * lock need not be held longer than the adding takes.  Values may come from
 * peers: each rendering escapes them.
 */
#ifndef STRICT_TLS_STATUS_PAGE_H
#define STRICT_TLS_STATUS_PAGE_H

#include "strict_tls/report_table.h"
#include "strict_tls/strict_tls.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct stls_status_page_st stls_status_page;

typedef enum {
    STLS_STATUS_HTML = 0,
    STLS_STATUS_JSON = 1,
    STLS_STATUS_PROMETHEUS = 2
} stls_status_format;

/*
 * Figures that a host may have.  Columns: symbol, metric (strict_tls_METRIC),
 * Prometheus type, what it says.  Append-only: metrics are alerted on.
 */
/* clang-format off */
#define STLS_FIGURES(X)                                                                            \
    X(VERDICT_CACHE_HITS, "verdict_cache_hits_total", "counter", "Verdicts found in the verdict cache") \
    X(VERDICT_CACHE_ENTRIES, "verdict_cache_entries", "gauge", "Verdicts remembered by the process that answered") \
    X(ANSWER_CACHE_HITS, "answer_cache_hits_total", "counter", "Answers about revocation found in the answer cache") \
    X(ANSWER_CACHE_ENTRIES, "answer_cache_entries", "gauge", "Answers in the answer cache") \
    X(FETCHES, "fetches_total", "counter", "Fetches from responders and CRL distribution points") \
    X(FETCH_FAILURES, "fetch_failures_total", "counter", "Fetches that failed") \
    X(FETCHES_IN_FLIGHT, "fetches_in_flight", "gauge", "Fetches in flight in the process that answered") \
    X(REFRESHES, "refreshes_total", "counter", "Answers asked for ahead of time") \
    X(CRLS, "crl_entries", "gauge", "CRLs indexed by the process that answered") \
    X(CRL_BYTES, "crl_bytes", "gauge", "Bytes that these CRLs hold") \
    X(REUSE_REFUSED, "reuse_refused_total", "counter", "Kept connections and sessions not used again: another policy, or verdict over") \
    X(SESSIONS_KEPT, "sessions_kept", "gauge", "TLS sessions kept for resumption by the process that answered") \
    X(FETCHES_WAITING, "fetches_waiting", "gauge", "Fetches that wait for a place among max_fetches_in_flight in the process that answered") \
    X(VERDICTS_SHARED, "verdicts_shared_total", "counter", "Handshakes that took the verdict of a check under way about the same peer") \
    X(ANSWERS_EVICTED, "answers_evicted_total", "counter", "Answers and failures dropped before their time, for want of room in the answer cache")
/* clang-format on */

typedef enum {
#define STLS_FIGURE_ENUM(sym, metric, type, help) STLS_FIGURE_##sym,
    STLS_FIGURES(STLS_FIGURE_ENUM)
#undef STLS_FIGURE_ENUM
        STLS_NUM_FIGURES
} stls_figure;

/* `host` as in "nginx/1.22.1"; copied. NULL when out of memory. */
stls_status_page *stls_status_page_new(const char *host, int64_t now_s);
void stls_status_page_free(stls_status_page *page);

/*
 * A chain of our own.  `report` is its report's JSON, not NUL-terminated; one
 * that does not parse is shown as such.  All but file may be NULL.
 */
typedef struct {
    stls_role role;
    const char *file;
    const char *where;        /* "server api.example.com:443", "/etc/nginx/nginx.conf:12" */
    const char *const *names; /* as in stls_own_chain */
    size_t num_names;
    const char *report;
    size_t report_len;
    int64_t checked_at_s; /* 0: not yet */
} stls_status_own;
stls_status stls_status_page_add_own(stls_status_page *page, const stls_status_own *own);

/*
 * Peers, and counts by verdict and reason.  STLS_OWN entries are not peers and
 * are left out: give those as stls_status_page_add_own().
 */
stls_status stls_status_page_add_table(stls_status_page *page, const stls_report_table *table);

/* At most once for each figure. */
stls_status stls_status_page_add_figure(stls_status_page *page, stls_figure figure, uint64_t value);

/* The page in this format, NUL-terminated; lives as long as `page`. NULL when out of memory. */
const char *stls_status_page_render(stls_status_page *page, stls_status_format format, size_t *len);

/*
 * By the path's suffix (.html, .json, .prom, /metrics), else by the Accept
 * header (RFC 9110 section 12.5.1), else HTML.  Neither needs a NUL; both may be NULL.
 */
stls_status_format stls_status_page_format(const char *path, size_t path_len, const char *accept,
                                           size_t accept_len);

/*
 * Header fields that say that somebody else is behind the connection: a proxy
 * on this machine makes everybody's requests come from here.  Compared without
 * case (RFC 9110 section 5.1); ends with NULL; static lifetime.
 */
const char *const *stls_status_page_forwarding_headers(void);

/* For Content-Type. Static lifetime. */
const char *stls_status_page_content_type(stls_status_format format);

/* For Content-Security-Policy: the page needs its own style and nothing else. */
#define STLS_STATUS_PAGE_CSP                                                                       \
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "         \
    "frame-ancestors 'none'"

#ifdef __cplusplus
}
#endif

#endif
