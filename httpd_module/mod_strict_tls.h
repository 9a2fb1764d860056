/*
 * What the files of the module owe each other.  httpd_module/ does all the
 * I/O: it looks at handshakes with backends, asks the core, fetches what the
 * core wants to know and remembers answers.  It decides nothing about
 * certificates.
 */
#ifndef MOD_STRICT_TLS_H
#define MOD_STRICT_TLS_H

#include <apr_atomic.h>
#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_network_io.h>
#include <apr_portable.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <stdatomic.h>

#include <strict_tls/strict_tls.h>

APLOG_USE_MODULE(strict_tls);

/* Tags of this module's log lines, in the manner of httpd's APLOGNO. */
#define STLSLOGNO(n) "STLS" APR_STRINGIFY(n) ": "

#define MST_OFF 0
#define MST_ENFORCE 1
#define MST_REPORT 2
#define MST_UNSET (-1)

#define MST_STATUS_UNSET 0
#define MST_STATUS_LOCAL 1
#define MST_STATUS_PUBLIC 2

#define MST_DETAIL_LEN 256
#define MST_LINE_LEN 1536

extern module AP_MODULE_DECLARE_DATA __attribute__((visibility("default"))) strict_tls_module;

/* Everything below is the module's own: one symbol is exported. */
#pragma GCC visibility push(hidden)

/* ---- config.c: what was configured where ---------------------------------- */

/* Plain data: two equal ones mean the same, so it is its own hash key. */
typedef struct {
    long mode;
    long is_client;         /* it judges clients */
    const char *trusted;    /* StrictTLSTrustedCertificate; NULL: the system's */
    const char *http_proxy; /* StrictTLSHTTPProxy, "off" or HOST:PORT */
    const char *value[STLS_NUM_KEYS];
    long status_access; /* StrictTLSStatus */
} mst_dir_conf;

typedef struct mst_crl_file mst_crl_file;

/* A directory configuration made ready for use; lives as long as the process. */
typedef struct {
    mst_dir_conf conf;
    stls_role role;
    stls_policy *policy; /* NULL: could not be made, which rejects */
    stls_anchors *anchors;
    mst_crl_file *crl_file; /* NULL: none */
    int report;
    int nonce;
    apr_interval_time_t fetch_total;
    apr_time_t negative_ttl_s;
    apr_size_t max_cert_list;
    int max_in_flight;
    apr_size_t crl_memory;
    const char *proxy_host; /* NULL: none */
    apr_port_t proxy_port;
} mst_runtime;

extern command_rec mst_commands[];

int mst_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);
int mst_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s,
                     int has_proxy);
void mst_config_child_init(apr_pool_t *p);
/* The configuration is read, connections are made from now on. */
int mst_is_running(void);
/* Memory that lives as long as the process, locked; NULL, and no lock, before it runs. */
apr_pool_t *mst_lock_runtimes(void);
void mst_unlock_runtimes(void);

/* While the configuration is read. The first is the caller's to free; NULL: not to be had. */
stls_policy *mst_make_policy(const mst_dir_conf *conf, stls_error *err);
stls_anchors *mst_get0_anchors(const mst_dir_conf *conf, apr_pool_t *ptemp);

/* NULL where it is off. */
mst_runtime *mst_get_runtime(const mst_dir_conf *conf);

/*
 * The same for a connection that nobody tells the name of: mod_proxy_hcheck's.
 * It carries no request of a client, and no request may ride it.
 */
mst_runtime *mst_get_nameless(const mst_runtime *rt);

/* What directives for backends and for clients share; sentences are what is wrong, or NULL. */
long mst_parse_mode(const char *arg);
const char *mst_set_value(cmd_parms *cmd, mst_dir_conf *conf, const char *arg);
const char *mst_set_trusted(cmd_parms *cmd, mst_dir_conf *conf, const char *arg);
void mst_add_command(command_rec *cmd, const char *name,
                     const char *(*set)(cmd_parms *, void *, const char *), const void *data,
                     int where, const char *doc);
/* One set of anchors out of these files, found by `key` from now on. */
const char *mst_load_anchors(apr_pool_t *p, const char *key, const apr_array_header_t *files);
const char *mst_try_policy(apr_pool_t *p, const mst_dir_conf *conf);

/* ---- advice.c ------------------------------------------------------------------ */

/* Warns where mod_ssl will refuse what StrictTLS would accept. */
void mst_advise(server_rec *main_s);

/* ---- section.c: which section is a connection to a backend judged by? ------- */

/* In httpd's order of merging. */
typedef enum { MST_IN_SERVER, MST_IN_FILES, MST_IN_PROXY, MST_IN_LOCATION, MST_IN_IF } mst_place;

/* Of the configuration, or merged of two others, or read with a request and passing with it. */
typedef struct mst_section {
    mst_dir_conf conf;
    mst_place place;
    int is_passing;
    struct mst_section *base; /* NULL: not merged */
    struct mst_section *add;
    _Atomic(struct mst_section *) merged; /* what was merged with this as its base */
    struct mst_section *next;             /* of those */
    _Atomic(mst_runtime *) rt;
} mst_section;

void *mst_create_dir_conf(apr_pool_t *p, char *dir);
void *mst_merge_dir_conf(apr_pool_t *p, void *base, void *add);
void mst_merge_values(mst_dir_conf *conf, const mst_dir_conf *base, const mst_dir_conf *add);
/* For every directive of a section: NULL, or why it may not stand there. */
const char *mst_enter_section(cmd_parms *cmd, void *dconf);
mst_section *mst_get_section(const ap_conf_vector_t *dir_conf);
mst_dir_conf *mst_get_dir_conf(const ap_conf_vector_t *dir_conf);
/* NULL where it is off. */
mst_runtime *mst_section_runtime(mst_section *section);

const apr_array_header_t *mst_proxy_sections(const server_rec *s);
/* What <Proxy> sections say about backends, for mst_section_for(). */
apr_array_header_t *mst_find_targets(apr_pool_t *p, server_rec *s);
int mst_has_targets(const server_rec *s);
/*
 * `section` and those <Proxy> sections about the backend at `url` that httpd did not merge with it:
 * they are about a balancer's member, or the request was passed on (`passed_to`, or NULL) after
 * httpd had looked.
 */
mst_section *mst_section_for(server_rec *s, mst_section *section, const char *url,
                             const char *passed_to, apr_pool_t *p);

/* ---- client_config.c: what was configured about clients --------------------- */

/* Of a server or virtual host. */
typedef struct {
    apr_array_header_t *targets; /* section.c's; NULL: none */
    mst_dir_conf own;    /* StrictTLSClient... as it stands there */
    mst_dir_conf effective;
    mst_runtime *rt;     /* of effective, in a child; NULL where it is off */
    int is_set_here;
    int asks;            /* SSLVerifyClient, as far as known */
    int asks_somewhere;  /* in a section or .htaccess of it */
    const char *ca_file; /* SSLCACertificateFile, ...Path */
    const char *ca_path;
} mst_client_conf;

void *mst_create_server_conf(apr_pool_t *p, server_rec *s);
void *mst_merge_server_conf(apr_pool_t *p, void *base, void *add);
#define MST_NUM_CLIENT_COMMANDS (STLS_NUM_KEYS + 4)
command_rec *mst_client_commands(command_rec *cmd);

void mst_client_pre_config(void);
int mst_client_check_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_s);
/* Whether some server is to judge clients. */
int mst_client_is_wanted(void);
mst_client_conf *mst_get_client_conf(const server_rec *s);
int mst_client_is_strict(const mst_client_conf *conf);

/* ---- client.c: when a client is judged --------------------------------------- */

int mst_client_init_server(server_rec *s, apr_pool_t *p, SSL_CTX *ctx);
int mst_client_pre_handshake(conn_rec *c, SSL *ssl);
void mst_client_child_init(server_rec *main_s);
void mst_client_register(apr_pool_t *p);

/* ---- thread.c: threads of the module's own ----------------------------------- */

void mst_thread_child_init(apr_pool_t *p);
/* A detached thread that httpd's signals do not reach; 0: there is none. */
int mst_start_thread(void *(*run_it)(void *), void *data);
/*
 * In such a thread, around whatever may block for long.  In between it touches
 * neither OpenSSL nor anything that is shared; the process may end then, and
 * resume does not return.
 */
void mst_thread_pause(void);
void mst_thread_resume(void);
int mst_is_stopping(void);

/* ---- fetch.c: how an answer gets here -------------------------------------- */

typedef struct mst_flight mst_flight;

void mst_fetch_child_init(apr_pool_t *p);

/* Never held by a thread that does I/O; guards flights, failures and CRLs. */
extern apr_thread_mutex_t *mst_fetch_mutex;

/*
 * What failures of `want` are remembered by: another way out, or less time,
 * fails for reasons of its own.
 */
void mst_flight_id(const mst_runtime *rt, const stls_fetch *want, unsigned char *id);

/*
 * The flight that answers `want`, joined or started as soon as there is a
 * place.  NULL: out of memory; or `*look_again`: one was settled since
 * mst_flights_settled() gave `settled`, and what it brought may be known now.
 */
mst_flight *mst_flight_join(mst_runtime *rt, const stls_fetch *want, const unsigned char *id,
                            apr_uint32_t settled, int *look_again);
apr_uint32_t mst_flights_settled(void);
void mst_flight_leave(mst_flight *flight);
/* Until one of these is over (its index) or `deadline` has come (-1). */
int mst_flight_wait(mst_flight *const *flights, int num, apr_time_t deadline);
/* What it brought: a CRL that was walked through, or else `reply`.  Once it is over. */
stls_crl *mst_flight_get0(mst_flight *flight, stls_reply *reply);
/* The caller's time is over and the flight is not: what is to be said of it. */
typedef enum { MST_GOES_ON, MST_HAD_NO_PLACE, MST_HAD_ITS_TIME } mst_given_up;
mst_given_up mst_flight_give_up(mst_flight *flight);
/* 1: store it; the best that the checks which share it make of an answer is kept. */
typedef enum { MST_KEPT_NOTHING, MST_KEPT_FAILURE, MST_KEPT_ANSWER } mst_kept;
int mst_flight_keep(mst_flight *flight, mst_kept what);
/* That is done: nobody joins it any more. */
void mst_flight_settled(mst_flight *flight);

/* ---- cache.c: which answers are known -------------------------------------- */

const char *mst_set_cache(cmd_parms *cmd, void *dummy, const char *arg);
void mst_cache_pre_config(apr_pool_t *pconf);
int mst_cache_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
void mst_cache_child_init(apr_pool_t *p);

/* DER of an answer, in `pool`; 0 when there is none.  `for_refresh`: none that is due for one. */
int mst_cache_get(const unsigned char *question, apr_size_t max_len, int for_refresh,
                  apr_pool_t *pool, unsigned char **der, apr_size_t *der_len);
/* 0: a newer answer is there, and stays. */
int mst_cache_put(const unsigned char *question, const stls_answer *answer,
                  const unsigned char *der, apr_size_t der_len);
void mst_cache_remove(const unsigned char *question);
/* Unless it says revoked. */
void mst_cache_remove_good(const unsigned char *question);
void mst_cache_status(request_rec *r, int flags);

/* ---- known.c: what this process knows --------------------------------------- */

void mst_known_child_init(void);

/*
 * What failed a moment ago, by flight: 1 and the outcome with, in `pool`, its bytes or detail, or
 * up_ref'd the CRL that settled nothing.
 */
int mst_failure_get(const unsigned char *flight, apr_time_t now_s, apr_pool_t *pool,
                    stls_reply *reply, stls_crl **crl);
void mst_failure_put(const unsigned char *flight, apr_time_t retry_at_s, const stls_reply *reply,
                     stls_crl *crl, apr_size_t max_bytes);

void mst_failure_drop(const unsigned char *flight);

/*
 * Indexed CRLs of this process by question, up_ref'd; all of them within
 * `max_bytes`.  A candidate was fetched and no check has judged it: it takes
 * nobody's place.  `for_refresh`: none that is due for one.
 */
stls_crl *mst_crl_get1(const unsigned char *question, int for_refresh, int *is_candidate);
/* The one in use if it is newer than this one, or NULL. */
stls_crl *mst_crl_newer1(const unsigned char *question, const stls_crl *crl);
/* A check has found it to settle something; the newer one stays. */
void mst_crl_put(const unsigned char *question, stls_crl *crl, const stls_answer *answer,
                 apr_size_t max_bytes);
void mst_crl_put_candidate(const unsigned char *question, stls_crl *crl, apr_time_t until_s,
                           apr_size_t max_bytes);
void mst_crl_drop_candidate(const unsigned char *question);
/* There is another CRL under this question (NULL: maybe under any): older ones go. */
void mst_crl_heard(const unsigned char *question);

/* ---- crl_file.c: the administrator's CRLs ------------------------------------ */

void mst_crl_file_pre_config(apr_pool_t *pconf);
void mst_crl_file_child_init(apr_pool_t *p);
/* While the configuration is read: NULL, or what is wrong with it. */
const char *mst_crl_file_load(apr_pool_t *p, const char *path);
/* The policy's, which was loaded; NULL: it has none. */
mst_crl_file *mst_crl_file_of(const stls_policy *policy);
/* What it holds now, up_ref'd; NULL: the runtime has none. */
stls_crl_file *mst_crl_file_get1(const mst_runtime *rt);
int mst_crl_file_is_current(const mst_runtime *rt, const stls_crl_file *file);

/* ---- verdict.c: what was decided before, what all processes must know ------- */

const char *mst_set_max_verdicts(cmd_parms *cmd, void *dconf, const char *arg);
void mst_verdict_pre_config(void);
int mst_verdict_post_config(apr_pool_t *pconf, server_rec *s);
void mst_verdict_child_init(apr_pool_t *p);

stls_result *mst_verdict_get1(const unsigned char *key, apr_time_t now_s);
void mst_verdict_put(const unsigned char *key, stls_result *result, apr_uint32_t epoch,
                     apr_time_t negative_ttl_s, apr_time_t now_s);
int mst_verdict_refresh_due(const unsigned char *key, apr_time_t now_s, apr_time_t next_s);
apr_uint32_t mst_verdict_count(void);
/* Forgets what there is news about; whoever looks for verdicts here has done so. */
void mst_catch_up(void);

/* ---- news.c: what all processes must know --------------------------------------- */

void mst_news_pre_config(void);
int mst_news_post_config(apr_pool_t *pconf, server_rec *s);

/* The number of the latest news. */
apr_uint32_t mst_epoch(void);
/* 1 and the question of news `number`; 0: it cannot be known any more. */
int mst_news_read(apr_uint32_t number, unsigned char *question);
/* Whether there is some that this result rests on. */
int mst_news_about(apr_uint32_t since, const stls_result *result);
/* What a verdict tells the others, once: whom it found to be revoked. */
void mst_news_of(const stls_result *result);
/* A verified CRL has come into use; once for each content.  The number of news that makes. */
int mst_news_crl(const unsigned char *question, const stls_crl *crl, apr_time_t until_s);
int mst_news_is_crl_of(const unsigned char *question, const stls_crl *crl);

/* Counters over all processes since the start. */
typedef enum {
    MST_ACCEPTED,
    MST_REJECTED,
    MST_WOULD_REJECT,
    MST_VERDICT_HITS,
    MST_ANSWER_HITS,
    MST_FETCHES,
    MST_FETCH_FAILURES,
    MST_REFRESHES,
    MST_POOLED_CLOSED,
    MST_CLIENT_ACCEPTED,
    MST_CLIENT_REJECTED,
    MST_CLIENT_WOULD_REJECT,
    MST_NUM_COUNTERS
} mst_counter;
void mst_count(mst_counter counter);
apr_uint32_t mst_counted(mst_counter counter);

/* ---- judge.c: from a presentation to a verdict ------------------------------ */

typedef enum { MST_NEW = 0, MST_ACCEPTED_PEER = 1, MST_REJECTED_PEER = 2 } mst_state;

/* One request on its way through mod_proxy. */
typedef struct mst_request {
    request_rec *r;
    apr_uint64_t attempt;      /* a number that no other attempt of this process has */
    stls_result *told;         /* its report is in the request's environment */
    struct mst_request *outer; /* of this thread */
    const char *name;          /* the backend's */
    mst_runtime *rt;           /* it is to be judged by this; NULL: by nothing */
    int rejected;              /* in this attempt */
    stls_reason reason;        /* why */
    int running;
    int remote_rejected; /* behind a forward proxy, in this round of mod_proxy's attempts */
    int remote_failed;   /* likewise, or it could not be used */
} mst_request;

/* What a verdict holds for, besides the presentation. */
typedef struct {
    apr_uint32_t epoch;      /* the latest news that it takes into account */
    stls_crl_file *crl_file; /* what the administrator's file held; NULL: there is none */
    int has_key;
    unsigned char key[STLS_ID_LEN]; /* what it is remembered by */
} mst_basis;

/* One connection to a backend, or of a client. */
typedef struct {
    conn_rec *c;
    SSL *ssl;
    const void *member; /* of a balancer, that this is a health check of; NULL: none */
    mst_runtime *rt; /* it was judged by this, or nothing is asked: NULL */
    const char *name;
    mst_state state;
    stls_check *check; /* awaits the staple */
    stls_result *result;
    mst_basis basis; /* of the result */
    int is_prepared; /* mod_ssl's handshake will be ours to judge */
    int trust_judged;
    int wants_stock;         /* SSLProxyVerify demands mod_ssl's verification too */
    STACK_OF(X509) *certs;   /* as presented, for a later refresh */
    unsigned char *staples; /* as stls_staples_get1() gives them */
    apr_size_t staples_len;
    apr_uint64_t user;       /* the attempt that it was found fit for; 0: none */
    struct ap_filter_t *filter; /* in the connection's chain while it is pooled */
    int is_watched;          /* it is there */
} mst_conn;

void mst_judge_child_init(apr_pool_t *p);
int mst_says_revoked(const stls_result *result);

/* In OpenSSL's verify callback: REJECT, or PENDING for "trusted so far". */
stls_verdict mst_judge_trust(mst_conn *conn, STACK_OF(X509) *certs);
/* Behind that, on the same certificates; blocks no longer than fetch_total_ms. */
stls_verdict mst_judge_revocation(mst_conn *conn, STACK_OF(X509) *certs,
                                  const unsigned char *staples, apr_size_t staples_len);
/* The same after a handshake with a backend, by what it sent. */
stls_verdict mst_judge(mst_conn *conn, SSL *ssl);
/* Replaces conn->result by a reject of the host's own making. */
void mst_judge_fail(mst_conn *conn, stls_reason reason, const char *detail);
/* The same as a result of its own. */
stls_result *mst_failed_result(mst_runtime *rt, const char *name, stls_reason reason,
                               const char *detail);
/*
 * The same presentation once more, by what is known now; an accept takes the place of the
 * connection's verdict.  NULL when out of memory.
 */
stls_result *mst_judge_anew(mst_conn *conn);
/* The accepting verdict that stands now, up_ref'd; NULL: it is over. */
stls_result *mst_judge_current(mst_conn *conn);
/* Whether a pooled connection may serve this request. */
int mst_judge_reusable(mst_conn *conn, const mst_runtime *rt, const char *name);
int mst_same_policy(const mst_runtime *one, const mst_runtime *other);
/* As if it had never been judged. */
void mst_conn_clear(mst_conn *conn);
/* Tells the request, if there is one, and the error log unless there is nothing to tell. */
void mst_record(mst_conn *conn, stls_result *result, request_rec *r);
void mst_set_env(request_rec *r, stls_role role, stls_result *result);
/* A backend's rejection that is known by its reason only. */
void mst_set_env_reason(request_rec *r, stls_reason reason);

/* ---- mod_strict_tls.c --------------------------------------------------------- */

/* NULL: mod_proxy has not begun with it. */
mst_request *mst_get_request(request_rec *r);

/* Makes its TLS as its policy and name want it, before the handshake. */
void mst_prepare(mst_conn *conn);

/* ---- member.c: members of balancers --------------------------------------------- */

int mst_member_post_config(apr_pool_t *pconf, server_rec *s);
/* What became of a member (its proxy_worker_shared). */
void mst_member_note(const void *member, stls_reason reason);
/* 1: none of the balancer's members can be used, and the request was told why. */
int mst_member_explain(request_rec *r);
/* Finds out about whom a health check is when it writes its request. */
void mst_member_watch(mst_conn *conn);
void mst_member_register(void);

/* ---- refresh.c: newer answers ahead of time ---------------------------------- */

void mst_refresh_post_config(apr_pool_t *pconf, server_rec *s);
void mst_refresh_child_init(apr_pool_t *p);
void mst_refresh(mst_conn *conn, const stls_result *result, const mst_basis *basis);
/* What came of that besides the verdict. */
typedef struct {
    int is_outdated; /* a newer answer than the one that it was judged by is known */
    apr_uint32_t num_news; /* of its own */
} mst_outcome;
/* Runs a check to its end, at the latest at `deadline`. */
stls_verdict mst_run_check(mst_runtime *rt, stls_check *check, int is_refresh,
                           apr_time_t deadline, mst_outcome *outcome);
stls_check *mst_new_check(mst_runtime *rt, const char *name, const STACK_OF(X509) *certs,
                          stls_crl_file *crl_file);

/* ---- own.c: the chains that this server presents -------------------------------- */

const char *mst_set_self_check(cmd_parms *cmd, void *dconf, const char *arg, const char *within);
void mst_own_pre_config(void);
int mst_own_check_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
int mst_own_post_config(apr_pool_t *pconf, server_rec *s);
/* One of them whose time it is, which no other process is going to look at; -1: there is none. */
int mst_own_take_turn(void);
void mst_own_look(int index);
/* The process ends: others look at what it has not come to. */
void mst_own_leave_turns(void);

/* ---- status_page.c: whom all processes met, and the page that shows it ------------- */

const char *mst_set_status(cmd_parms *cmd, void *dconf, const char *arg);
const char *mst_set_status_peers(cmd_parms *cmd, void *dconf, const char *arg);
void mst_peers_pre_config(apr_pool_t *pconf);
int mst_peers_post_config(apr_pool_t *pconf, server_rec *s);
void mst_peers_child_init(apr_pool_t *p);
void mst_peers_note(stls_role role, conn_rec *c, const stls_result *result);
void mst_peers_note_own(int index, const char *file, const stls_result *result, apr_time_t now_s);
int mst_status_handler(request_rec *r);

/* ---- status.c ----------------------------------------------------------------- */

void mst_status_register(apr_pool_t *p);

#pragma GCC visibility pop

#endif
