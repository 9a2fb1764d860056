/*
 * strict-tls: the validation core.
 *
 * It decides three things about a TLS peer: is the complete certificate chain
 * presented, is no certificate in it revoked, does the host name match.  It
 * does no I/O: the host feeds it bytes and the time, and it answers with a
 * verdict or with a list of things to fetch.
 *
 * Conventions
 *   - All memory comes from the allocator given to stls_policy_new() or
 *     stls_anchors_new(); libcrypto's and libjansson's own objects come from
 *     theirs.
 *   - get0: borrowed, lives as long as its owner.  get1: the caller owns it.
 *     Every *_free(NULL) is safe.
 *   - _s seconds, _ms milliseconds, _len bytes.  Times are seconds since the
 *     epoch, UTC.
 *   - Frozen policies, frozen anchors and results are immutable and reference
 *     counted; several threads may share them.  A check and a verdict cache
 *     belong to one thread at a time.
 *   - A verdict says whether the peer may be trusted; a status says whether a
 *     function worked.  They are different types.  A function that fails
 *     inside a check drives that check's verdict to STLS_REJECT.
 */
#ifndef STRICT_TLS_STRICT_TLS_H
#define STRICT_TLS_STRICT_TLS_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/bio.h>
#include <openssl/x509.h>

#include "strict_tls/policy_keys.h"
#include "strict_tls/reasons.h"

#ifdef __cplusplus
extern "C" {
#endif

#define STLS_VERSION "0.2.0" /* as in the file VERSION */

/* STLS_VERSION of the library that is in use. Static lifetime. */
const char *strict_tls_version(void);

/* What such a function returns must be looked at. */
#if defined(__GNUC__)
#define STLS_MUST_USE __attribute__((warn_unused_result))
#else
#define STLS_MUST_USE
#endif

/* Go on only on == STLS_ACCEPT. */
typedef enum { STLS_PENDING = 0, STLS_REJECT = 1, STLS_ACCEPT = 2 } stls_verdict;

/* Only STLS_OK means that the call worked. */
typedef enum {
    STLS_OK = 1,
    STLS_ERR_MEMORY = -1,   /* an allocation failed */
    STLS_ERR_ARGUMENT = -2, /* unknown key, value out of range, undecodable input */
    STLS_ERR_STATE = -3,    /* called in the wrong order */
    STLS_ERR_TOO_LARGE = -4,
    STLS_ERR_NETWORK = -5
} stls_status;

/* A sentence for the person who wrote the wrong value. */
typedef struct {
    char text[512];
} stls_error;

typedef struct {
    void *(*alloc)(void *baton, size_t len);
    void (*free)(void *baton, void *ptr); /* never called with NULL */
    void *baton;
} stls_allocator;

typedef struct stls_policy_st stls_policy;
typedef struct stls_anchors_st stls_anchors;
typedef struct stls_check_st stls_check;
typedef struct stls_result_st stls_result;
typedef struct stls_verdict_cache_st stls_verdict_cache;
typedef struct stls_memo_st stls_memo;
typedef struct stls_http_st stls_http;
typedef struct stls_crl_st stls_crl;
typedef struct stls_crl_file_st stls_crl_file;
typedef struct stls_repair_st stls_repair;

#define STLS_ID_LEN 32 /* every id and cache key is a SHA-256 */

/* What the peer is. */
typedef enum { STLS_ROLE_SERVER = 1, STLS_ROLE_CLIENT = 2 } stls_role;

/* ---- policy.c: what is demanded ---------------------------------------- */

/*
 * A policy with every key at its default.  `allocator` may be NULL (libc) and
 * is copied; its baton must outlive every object made with this policy.
 * NULL when out of memory.  Free with stls_policy_free().
 */
stls_policy *stls_policy_new(const stls_allocator *allocator);

/*
 * Sets one key from text.  The preset key resets every other key to the named
 * set, so set it first.  On STLS_ERR_ARGUMENT `err` (may be NULL) names the
 * alternatives.  STLS_ERR_STATE once frozen.
 */
STLS_MUST_USE stls_status stls_policy_set(stls_policy *policy, const char *key, const char *value,
                                          stls_error *err);

/* "revocation=soft chain_root=require": key=value words separated by white space or ';'. */
STLS_MUST_USE stls_status stls_policy_set_text(stls_policy *policy, const char *text,
                                               stls_error *err);

/* Checks keys against each other and makes the policy immutable. Repeating it is harmless. */
STLS_MUST_USE stls_status stls_policy_freeze(stls_policy *policy, stls_error *err);

/*
 * How the configuration writes the keys: remedies in log lines and reports name them that way.  It
 * demands nothing, so that the id does not depend on it.  STLS_ERR_STATE once frozen.
 */
typedef enum {
    STLS_DIRECTIVES_KEYS = 0,  /* as they stand in policy_keys.h, the default */
    STLS_DIRECTIVES_NGINX = 1, /* strict_tls_chain_root, strict_tls_client_chain_root */
    STLS_DIRECTIVES_HTTPD = 2  /* StrictTLSChainRoot, StrictTLSClientChainRoot */
} stls_directives;
stls_status stls_policy_set_directives(stls_policy *policy, stls_directives directives);

/*
 * Name of the directive for `key` about peers in `role`; "mode" is the directive that turns all of
 * it on.  Its length; cut off where `buf` ends.  STLS_DIRECTIVE_LEN bytes are enough for any.
 */
#define STLS_DIRECTIVE_LEN 64
size_t stls_directive_name(stls_directives directives, stls_role role, const char *key, char *buf,
                           size_t len);

stls_policy *stls_policy_up_ref(stls_policy *policy);
void stls_policy_free(stls_policy *policy);

/* SHA-256 over every key's value: equal ids mean equal policies. Only when frozen, else NULL. */
const unsigned char *stls_policy_get0_id(const stls_policy *policy);

/* Value of an INT key; index of the chosen word of an ENUM key (0 is the first in `values`). */
int64_t stls_policy_get_int(const stls_policy *policy, stls_key key);

/* Value as text. Lives until the key is set again or the policy freed. */
const char *stls_policy_get0_text(const stls_policy *policy, stls_key key);

/* The key table, STLS_NUM_KEYS rows indexed by stls_key. Static lifetime. */
const stls_key_info *stls_policy_keys(void);

/*
 * Whether this address may be fetched from under `fetch_deny`; `addr` is 4 or
 * 16 bytes in network order.  IPv4-mapped, NAT64 (RFC 6052) and 6to4 forms are
 * judged by the IPv4 address inside.  NULL: allowed; otherwise the class's
 * name.  Other lengths are denied.
 */
const char *stls_policy_denies_address(const stls_policy *policy, const unsigned char *addr,
                                       size_t addr_len);

/* ---- anchors.c: who is trusted ------------------------------------------ */

stls_anchors *stls_anchors_new(const stls_allocator *allocator);

/*
 * Adds every certificate of a PEM bundle from a BIO that the host opened.
 * Only self-signed certificates become anchors; others are kept for diagnosis
 * and never for paths, so that an intermediate in the bundle cannot hide an
 * incomplete chain.  An undecodable PEM block, or none at all, is
 * STLS_ERR_ARGUMENT.
 */
STLS_MUST_USE stls_status stls_anchors_load(stls_anchors *anchors, BIO *bio, stls_error *err);

/* The same for a certificate that is decoded already. Takes a reference. */
stls_status stls_anchors_add_cert(stls_anchors *anchors, X509 *cert);

/* Makes the set immutable. STLS_ERR_ARGUMENT if it holds no anchor. */
STLS_MUST_USE stls_status stls_anchors_freeze(stls_anchors *anchors, stls_error *err);

stls_anchors *stls_anchors_up_ref(stls_anchors *anchors);
void stls_anchors_free(stls_anchors *anchors);

size_t stls_anchors_count(const stls_anchors *anchors);

/* The anchors, in order of loading. Lives as long as `anchors`. */
const STACK_OF(X509) *stls_anchors_get0_certs(const stls_anchors *anchors);

/* SHA-256 over the set; changes when the content does. Only when frozen, else NULL. */
const unsigned char *stls_anchors_get0_id(const stls_anchors *anchors);

/* ---- crl.c: a CRL, walked once, answered from afterwards ------------------- */

/*
 * A CRL out of `der`, which it owns from here on (also when this fails) and
 * gives to `free_der` (NULL: leave it alone) in the end.  Nothing is decoded
 * yet.  NULL when out of memory.
 */
stls_crl *stls_crl_new(const stls_allocator *allocator, unsigned char *der, size_t der_len,
                       void (*free_der)(void *der));

typedef enum { STLS_CRL_MORE = 0, STLS_CRL_DONE = 1, STLS_CRL_FAILED = -1 } stls_crl_state;

/*
 * Walks on through about `budget_bytes` of it: a megabyte takes a few
 * milliseconds.  STLS_CRL_DONE: indexed, and immutable from here on.  Nothing
 * is verified: that happens where it is fed to a check.
 */
stls_crl_state stls_crl_step(stls_crl *crl, size_t budget_bytes);

/* After STLS_CRL_FAILED: 1 when that was for want of memory, so that another try may go better. */
int stls_crl_lacks_memory(const stls_crl *crl);

stls_crl *stls_crl_up_ref(stls_crl *crl);
void stls_crl_free(stls_crl *crl);

/* When it was made; 0 before it is walked through. */
int64_t stls_crl_this_update_s(const stls_crl *crl);

/* SHA-256 of its signature, once walked through: verified CRLs differ if their ids do. */
stls_status stls_crl_id(const stls_crl *crl, unsigned char id[STLS_ID_LEN]);

/* Its DER as it came. Lives as long as `crl`. */
const unsigned char *stls_crl_get0_der(const stls_crl *crl, size_t *len);

/* Bytes held, index included. */
size_t stls_crl_memory_len(const stls_crl *crl);
uint32_t stls_crl_num_entries(const stls_crl *crl);

/* ---- crl_file.c: the CRLs of the policy's crl_file -------------------------------- */

/*
 * The file's bytes, owned from here on (also when this fails) and given to
 * `free_bytes` (NULL: left alone) once they are read through.  PEM, any number
 * of "X509 CRL" blocks, whatever lies between them; or a single CRL in DER.
 * NULL when out of memory.
 */
stls_crl_file *stls_crl_file_new(const stls_allocator *allocator, unsigned char *bytes, size_t len,
                                 void (*free_bytes)(void *bytes));

/*
 * Reads on through about `budget_bytes` of it, as stls_crl_step() does.
 * STLS_CRL_DONE: immutable from here on, threads may share it.
 * STLS_CRL_FAILED: one of them cannot be decoded, or there is none; `err` (may
 * be NULL) says so.
 */
stls_crl_state stls_crl_file_step(stls_crl_file *file, size_t budget_bytes, stls_error *err);

/* After STLS_CRL_FAILED: 1 when that was for want of memory, so that another try may go better. */
int stls_crl_file_lacks_memory(const stls_crl_file *file);

stls_crl_file *stls_crl_file_up_ref(stls_crl_file *file);
void stls_crl_file_free(stls_crl_file *file);

/* SHA-256 of the content, STLS_ID_LEN bytes: what rests on another content is to be dropped.
 * NULL until it is read through. */
const unsigned char *stls_crl_file_get0_id(const stls_crl_file *file);
size_t stls_crl_file_num_crls(const stls_crl_file *file);
/* Bytes held, indexes included; crl_memory_bytes does not bound them. */
size_t stls_crl_file_memory_len(const stls_crl_file *file);

/* ---- check.c: one peer, one check ---------------------------------------- */

/*
 * A check of one peer.  Takes references on `policy` and `anchors`, which must
 * be frozen.  NULL when out of memory or not frozen: treat it as a reject.
 * Free at any state.
 */
stls_check *stls_check_new(stls_policy *policy, stls_anchors *anchors, stls_role role);
void stls_check_free(stls_check *check);

/* Next presented certificate, leaf first, as the peer sent it. Takes a reference. */
stls_status stls_check_add_cert(stls_check *check, X509 *cert);

/* The same from DER; undecodable bytes become the finding chain.malformed. */
stls_status stls_check_add_cert_der(stls_check *check, const unsigned char *der, size_t der_len);

/* All of a stack, in order. */
stls_status stls_check_add_certs(stls_check *check, const STACK_OF(X509) *certs);

/*
 * The name that was wanted: a DNS name, or an IPv4 or IPv6 address, the latter
 * with or without brackets.  Copied.  Needed for STLS_ROLE_SERVER unless the
 * policy has name off; without it the verdict is name.malformed.
 */
stls_status stls_check_set_name(stls_check *check, const char *name, size_t name_len);

/*
 * 1: these two names are one to stls_check_set_name(), so that a connection
 * judged for the one serves the other: case, a trailing dot and brackets do
 * not count, addresses compare as text.  Length 0 is no name, which equals
 * no name only.  What is neither a DNS name nor an address equals only itself.
 */
int stls_name_equal(const char *a, size_t a_len, const char *b, size_t b_len);

/*
 * Phase one: presented chain, RFC 5280 path validation, name.  STLS_PENDING:
 * nothing wrong so far (or report mode); STLS_REJECT: final.  Never
 * STLS_ACCEPT.  For hosts that must answer in OpenSSL's verify callback.
 */
stls_verdict stls_check_trust(stls_check *check, int64_t now_s);

/* A stapled OCSP response for presented certificate `cert_index`. Copied. Before start. */
stls_status stls_check_add_staple(stls_check *check, size_t cert_index, const unsigned char *der,
                                  size_t der_len);

/*
 * Everything that the peer has stapled on this connection, as a run of bytes
 * that stls_check_add_staples() and stls_verdict_key_staple() take: with
 * OpenSSL 3.6 and TLS 1.3 an answer for each certificate, otherwise the leaf's.
 * The caller frees it by OPENSSL_free(); NULL and 0 where there is none.  On a
 * client's side of the connection, once the certificates are there.
 */
stls_status stls_staples_get1(SSL *ssl, unsigned char **staples, size_t *staples_len);

/* All of these (NULL, 0: none), each for the certificate that it is about. After the certificates. */
stls_status stls_check_add_staples(stls_check *check, const unsigned char *staples,
                                   size_t staples_len);

/* A CRL that is at hand anyway, walked through. Takes a reference. Before start. */
stls_status stls_check_add_crl(stls_check *check, stls_crl *crl);

/*
 * What the policy's crl_file holds.  Takes a reference.  Before start.  A
 * policy with a crl_file and a check without one is a reject (internal.error).
 */
stls_status stls_check_set_crl_file(stls_check *check, stls_crl_file *file);

/* A certificate that may have signed a CRL, for indirect CRLs. Takes a reference. Before start. */
stls_status stls_check_add_crl_issuer(stls_check *check, X509 *cert);

/*
 * Signatures that other checks have verified (stls_memo_new()), which this one
 * need not verify again.  Takes a reference.  Before stls_check_trust().
 */
stls_status stls_check_set_memo(stls_check *check, stls_memo *memo);

/*
 * Phase two: revocation.  Runs phase one first if that was not done.
 * STLS_PENDING: carry out the fetches that stls_check_next_fetch() names.
 */
stls_verdict stls_check_start(stls_check *check, int64_t now_s);

/* One thing to ask. All pointers live until it is fed, or the check is freed. */
typedef struct {
    uint32_t id;
    size_t cert_index; /* the presented certificate that it is about */
    int is_post;       /* 0: GET (RFC 5019) */
    const char *url;   /* complete, for GET with the request encoded in it */
    const unsigned char *body;
    size_t body_len;
    const char *content_type; /* of the body; "" for GET */
    int is_crl;               /* the answer is a CRL: see stls_check_feed_crl() */
    int may_use_cache;        /* 0: only a fresh answer will do */
    size_t max_reply_bytes;
    size_t max_reply_header_bytes; /* header, trailers and chunk extensions of an HTTP reply */
    uint32_t timeout_ms;
    unsigned char question[STLS_ID_LEN]; /* names the question: key of an answer cache */
    unsigned char flight[STLS_ID_LEN];   /* names question, URL and limits: key of single flight
                                            and of a cache of failures */
} stls_fetch;

/*
 * 1 and `*fetch` filled, each fetch once; 0 when there is none right now.  Look
 * at stls_check_verdict() behind the last one: running out of memory here ends
 * the check.
 */
int stls_check_next_fetch(stls_check *check, stls_fetch *fetch);

typedef enum {
    STLS_FETCH_OK = 1,     /* `bytes` came over the network just now */
    STLS_FETCH_CACHED = 2, /* `bytes` came from a cache; verified just the same */
    STLS_FETCH_TIMEOUT = -1,
    STLS_FETCH_NETWORK = -2,
    STLS_FETCH_HTTP = -3,
    STLS_FETCH_TOO_LARGE = -4,
    STLS_FETCH_DENIED = -5,
    /*
     * This process could not ask: no memory, thread or descriptor, too many
     * fetches in flight.  It says nothing about the responder, so the host does
     * not remember it for others; revocation soft and ocsp_network_error
     * tolerate do not pass it over (fetch.denied).
     */
    STLS_FETCH_LOCAL = -6
} stls_fetch_outcome;

typedef struct {
    stls_fetch_outcome outcome;
    const unsigned char *bytes; /* for OK and CACHED; only read during the call */
    size_t bytes_len;
    const char *detail; /* for failures, e.g. "connection refused"; may be NULL */
} stls_reply;

/*
 * Answers fetch `id`.  A refused CACHED answer makes the same question come
 * again with may_use_cache 0.  Unknown or repeated ids are ignored.
 */
stls_verdict stls_check_feed(stls_check *check, uint32_t id, const stls_reply *reply,
                             int64_t now_s);

/*
 * Answers fetch `id`, one with is_crl set, by a CRL that the host has walked
 * through (stls_crl_step() said DONE).  Takes a reference.  Its signature is
 * verified here: cheap, since its digest is known.  Without this, feed the
 * bytes and wait for the walk.
 */
stls_verdict stls_check_feed_crl(stls_check *check, uint32_t id, stls_crl *crl, int is_cached,
                                 int64_t now_s);

/*
 * Whether and how long the answer just fed for `id` may be cached.  A good
 * answer past its nextUpdate, within stale_grace_s, is not conclusive: it
 * serves this check only where no source gives a newer one, and the question
 * is not asked again before retry_at_s.
 */
typedef struct {
    int conclusive;       /* 1: verified, good or revoked; 0: remember it as a failure only */
    int revoked;          /* 1: drop what rested on an earlier good answer to this question */
    int64_t produced_s;   /* thisUpdate: of two conclusive answers the later is the newer */
    int64_t use_until_s;  /* the last moment this answer serves, stale_grace_s included; 0: it
                             is of no use at all */
    int64_t refresh_at_s; /* half its life: fetch a newer one in the background from here on */
    int64_t retry_at_s;   /* if not conclusive: do not ask again before; 0: it was CACHED, or the
                           failure is this process's own: ask now */
} stls_answer;
stls_status stls_check_get_answer(const stls_check *check, uint32_t id, stls_answer *answer);

/* The host's total time is over: every open fetch counts as fetch.timeout. Final verdict. */
stls_verdict stls_check_expire(stls_check *check, int64_t now_s);

/* The host cannot go on (no memory, no session, ...): final reject with this reason. */
stls_verdict stls_check_fail(stls_check *check, stls_reason reason, const char *detail,
                             int64_t now_s);

stls_verdict stls_check_verdict(const stls_check *check);

/*
 * Immutable snapshot: after stls_check_trust() (its verdict may then be
 * STLS_PENDING, meaning "trusted so far") or when the verdict is final.  The
 * caller owns it.  NULL when out of memory.
 */
stls_result *stls_check_get1_result(stls_check *check);

/* ---- result.c: what was decided ------------------------------------------ */

stls_result *stls_result_up_ref(stls_result *result);
void stls_result_free(stls_result *result);

/* In report mode this is STLS_ACCEPT for what would have been rejected. */
stls_verdict stls_result_verdict(const stls_result *result);

/* "accept", "reject", "would_reject" (report mode) or "pending". Static lifetime. */
const char *stls_result_word(const stls_result *result);

/* Primary reason; STLS_REASON_NONE when there is nothing to reject for. */
stls_reason stls_result_reason(const stls_result *result);

/*
 * What is wrong in this very case, and how this very case is put right: the
 * detail and the remedy of the primary reason, as the log line has them.  "" if
 * there is nothing to reject for.  Peers have a say in the detail: escape it as
 * the place where it is shown demands.  They live as long as `result`.
 */
const char *stls_result_get0_detail(const stls_result *result);
const char *stls_result_get0_remedy(const stls_result *result);

/* Its index among those presented; -1 if the reason is about none of them. */
int stls_result_cert_index(const stls_result *result);

/* 1 when the leaf is itself a self-signed trust anchor: no revocation was asked. */
int stls_result_is_pinned(const stls_result *result);

/*
 * 1 when it rests on a failure of this process (no memory, STLS_FETCH_LOCAL):
 * it holds for the connection that it was made for, and is neither stored nor
 * shared.  A verdict cache refuses it.
 */
int stls_result_is_local(const stls_result *result);

/*
 * Whether it still serves: not past its end, and not before it was made.  A
 * clock that is set back would else make it live longer than verdict_max_age_s.
 */
int stls_result_is_live(const stls_result *result, int64_t now_s);

/*
 * Whether a session may be offered or resumed under it: it serves now and
 * STLS_SESSION_MARGIN_S later, so that it does not end during the handshake or
 * just behind it.  Both sides of TLS and all hosts have this one margin.
 */
#define STLS_SESSION_MARGIN_S 5
int stls_result_may_resume(const stls_result *result, int64_t now_s);

int64_t stls_result_valid_until_s(const stls_result *result);
/* When to check again in the background; past valid_until_s when there is nothing to refresh. */
int64_t stls_result_refresh_at_s(const stls_result *result);

/* The questions this result rests on, num * STLS_ID_LEN bytes. */
const unsigned char *stls_result_get0_questions(const stls_result *result, size_t *num);

/*
 * Of these the questions about certificates that were found to be revoked,
 * whatever proved it: a host announces them, so that no other verdict about
 * such a certificate stands.
 */
const unsigned char *stls_result_get0_revoked(const stls_result *result, size_t *num);

/* The report, a JSON object on one line, printable ASCII, NUL-terminated (docs/report.md). */
const char *stls_result_get0_report(const stls_result *result, size_t *len);

/*
 * The log line that every host writes, greppable and the same everywhere, into
 * `buf` (NUL-terminated, cut if need be).  Values from the peer are escaped.
 * Its peer is the wanted name of a server, the subject of a client.
 * Returns its length.  `addr` ("203.0.113.5:443") may be NULL.
 */
size_t stls_result_log_line(const stls_result *result, const char *addr, char *buf, size_t buf_len);

/* ---- repair.c: the chain as it should have been presented ------------------- */

/*
 * Completes and orders a presented chain, with issuers that the host fetches
 * from AIA.  For people to install, never for trust: nothing here changes a
 * verdict.  Takes references; policy and anchors must be frozen.  NULL when
 * out of memory.
 */
stls_repair *stls_repair_new(stls_policy *policy, stls_anchors *anchors, stls_role role,
                             int64_t now_s);
void stls_repair_free(stls_repair *repair);

/* The presented certificates, leaf first, then as they came. Takes a reference. */
stls_status stls_repair_add_cert(stls_repair *repair, X509 *cert);

/*
 * The caIssuers URL to fetch next (RFC 5280 section 4.2.2.1), or NULL: then
 * finish.  Each URL comes once; not to feed it is to say that it failed.
 * Lives until the next call.
 */
const char *stls_repair_next_url(stls_repair *repair);

/* What was fetched: a certificate in DER or PEM, or a certs-only PKCS#7. */
stls_status stls_repair_feed(stls_repair *repair, const unsigned char *bytes, size_t len);

/*
 * STLS_OK: the chain is whole and a strict peer would take it (its revocation
 * and name apart).  Otherwise `err` says what is missing.
 */
stls_status stls_repair_finish(stls_repair *repair, stls_error *err);

/* After STLS_OK: leaf first, without the root, NUL-terminated. Lives as long as `repair`. */
const char *stls_repair_get0_pem(const stls_repair *repair, size_t *len);

/* After STLS_OK: what differs from what was presented, a sentence per line; "" if nothing does. */
const char *stls_repair_get0_changes(const stls_repair *repair);

/* ---- verdict_cache.c: what was decided before ----------------------------- */

/*
 * A key over role, policy, anchors, name and the presented DER, every field
 * length-prefixed.  STLS_ERR_MEMORY or STLS_ERR_ARGUMENT: do without the cache.
 */
stls_status stls_verdict_key(unsigned char key[STLS_ID_LEN], const stls_policy *policy,
                             const stls_anchors *anchors, stls_role role, const char *name,
                             size_t name_len, const STACK_OF(X509) *certs);

/* The key of the same presentation with these staples (NULL, 0: none); in and out may be the same. */
stls_status stls_verdict_key_staple(unsigned char out[STLS_ID_LEN],
                                    const unsigned char in[STLS_ID_LEN],
                                    const unsigned char *staple, size_t staple_len);

/* The key of the same with these CRLs of the administrator's (NULL: none); likewise. */
stls_status stls_verdict_key_crl_file(unsigned char out[STLS_ID_LEN],
                                      const unsigned char in[STLS_ID_LEN],
                                      const stls_crl_file *file);

/* Bounded, least recently used goes first. Owned by one process, one thread at a time. */
stls_verdict_cache *stls_verdict_cache_new(size_t max_entries, const stls_allocator *allocator);
void stls_verdict_cache_free(stls_verdict_cache *cache);

/* Live result (stls_result_is_live()) or NULL. Borrowed until the next call on this cache: up_ref to keep it. */
stls_result *stls_verdict_cache_get0(stls_verdict_cache *cache,
                                     const unsigned char key[STLS_ID_LEN], int64_t now_s);

/*
 * Replaces what was there.  Results that are already past valid_until_s are
 * not stored, nor are local ones (STLS_ERR_STATE).  A trust-phase result (STLS_PENDING) may be stored under a key
 * of its own: a hit then says "trusted so far" without validating again.
 */
stls_status stls_verdict_cache_put(stls_verdict_cache *cache, const unsigned char key[STLS_ID_LEN],
                                   stls_result *result, int64_t now_s);

/* Not before `at_s` shall this entry be refreshed again (a refresh just failed). */
void stls_verdict_cache_defer_refresh(stls_verdict_cache *cache,
                                      const unsigned char key[STLS_ID_LEN], int64_t at_s);

/* 1 when a live entry has reached its refresh time; the next refresh is then deferred to `next_s`,
 * so that one caller starts it. */
int stls_verdict_cache_refresh_due(stls_verdict_cache *cache, const unsigned char key[STLS_ID_LEN],
                                   int64_t now_s, int64_t next_s);

/* Drops every entry that rests on this question; returns how many. */
size_t stls_verdict_cache_drop_question(stls_verdict_cache *cache,
                                        const unsigned char question[STLS_ID_LEN]);
void stls_verdict_cache_clear(stls_verdict_cache *cache);
size_t stls_verdict_cache_count(const stls_verdict_cache *cache);

/* ---- memo.c: signatures that verified before ------------------------------ */

/*
 * Remembers that signatures of certificates and OCSP answers verified: an
 * intermediate and its answer are then verified once, not for each leaf under
 * it.  What follows from key, text, algorithm and signature alone stays right
 * for ever, so that no verdict changes by it; max_signatures counts what it
 * saves, too.  CRLs remember for themselves.  Takes 32 bytes an entry, in all
 * `max_entries` (4 at least), the first to come the first to go.
 *
 * It and every check that uses it belong to one thread at a time.  NULL when
 * out of memory: checks do without.
 */
stls_memo *stls_memo_new(size_t max_entries, const stls_allocator *allocator);
stls_memo *stls_memo_up_ref(stls_memo *memo);
void stls_memo_free(stls_memo *memo);

/* ---- http_message.c: HTTP for fetches, without a socket ------------------- */

/*
 * Where to connect for a URL. Only http:// is accepted, no user information:
 * the core takes that off URLs in certificates, and names no other URL in a
 * fetch than this accepts.
 */
typedef struct {
    char host[256]; /* without brackets */
    char port[6];
    uint16_t port_num;
} stls_http_target;
stls_status stls_http_parse_url(const char *url, stls_http_target *target, stls_error *err);

/*
 * One exchange.  `via_proxy` 1 puts the whole URL into the request line (RFC
 * 9112 section 3.2.2).  NULL: out of memory or a URL that
 * stls_http_parse_url() refuses.
 */
stls_http *stls_http_new(const stls_fetch *fetch, int via_proxy);
void stls_http_free(stls_http *http);

/* The request to send. Lives as long as `http`. */
const unsigned char *stls_http_get0_request(const stls_http *http, size_t *len);

typedef enum {
    STLS_HTTP_MORE = 0,       /* feed more bytes */
    STLS_HTTP_DONE = 1,       /* the body is complete */
    STLS_HTTP_TOO_LARGE = -1, /* see stls_http_get0_error() */
    STLS_HTTP_FAILED = -2,    /* not 200, malformed, or ended early; likewise */
    STLS_HTTP_LOCAL = -3      /* out of memory: STLS_FETCH_LOCAL */
} stls_http_state;

/* Bytes that arrived. Holds at most max_reply_bytes of a body and a line of max_reply_header_bytes. */
stls_http_state stls_http_feed(stls_http *http, const unsigned char *bytes, size_t len);
/* The peer closed the connection. Never STLS_HTTP_MORE. */
stls_http_state stls_http_eof(stls_http *http);

const unsigned char *stls_http_get0_body(const stls_http *http, size_t *len);
const char *stls_http_get0_error(const stls_http *http);

/* The body of a complete reply to a fetch with is_crl, once: the caller owns it, free() it. */
unsigned char *stls_http_take_crl(stls_http *http, size_t *len);

/*
 * Headers of their own: own_chain.h (the chains that this host presents),
 * report_table.h (reports that processes share), status_page.h (the page).
 */

#ifdef __cplusplus
}
#endif

#endif
