/*
 * What the files of the engine owe each other and its two users, the http and
 * the stream module, which are built from it apart.  It does all the I/O: it
 * looks at handshakes, asks the core, fetches what the core wants to know and
 * remembers answers.  It decides nothing about certificates, and knows neither
 * requests nor sessions.
 */

#ifndef _NGX_STRICT_TLS_H_INCLUDED_
#define _NGX_STRICT_TLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>

#include <strict_tls/strict_tls.h>
#include <strict_tls/status_page.h>


#define NGX_STRICT_TLS_OFF      0
#define NGX_STRICT_TLS_ENFORCE  1
#define NGX_STRICT_TLS_REPORT   2

/* Signatures that a worker remembers to have verified, 32 bytes each. */
#define NGX_STRICT_TLS_MEMO_ENTRIES  4096

#define NGX_STRICT_TLS_MAX_ADDRS       8
#define NGX_STRICT_TLS_DETAIL_LEN      256


typedef struct ngx_strict_tls_worker_s  ngx_strict_tls_worker_t;
typedef struct ngx_strict_tls_conn_s    ngx_strict_tls_conn_t;
typedef struct ngx_strict_tls_job_s     ngx_strict_tls_job_t;
typedef struct ngx_strict_tls_fetch_s   ngx_strict_tls_fetch_t;
typedef struct ngx_strict_tls_responder_s  ngx_strict_tls_responder_t;
typedef struct ngx_strict_tls_crl_work_s  ngx_strict_tls_crl_work_t;
typedef struct ngx_strict_tls_crl_file_s  ngx_strict_tls_crl_file_t;


/* ---- configuration ---- */

typedef struct {
    ngx_str_t                       file;
    ngx_str_t                       more;      /* another one, or empty */
    stls_anchors                   *anchors;
} ngx_strict_tls_anchors_t;


/*
 * What is demanded, and who is asked about it: what failed on one way to the
 * responders may succeed on another.
 */

typedef struct {
    stls_policy                    *policy;
    ngx_resolver_t                 *resolver;
    ngx_array_t                    *http_proxy;
    ngx_uint_t                      way;       /* number of these two */
} ngx_strict_tls_policy_t;


typedef struct {
    ngx_uint_t                      key;       /* stls_key */
    char                           *value;
} ngx_strict_tls_setting_t;


/* A directive's handler, see ngx_command_t. */
typedef char *(*ngx_strict_tls_set_pt)(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Another module's directive has been read: see ngx_strict_tls_watch(). */
typedef char *(*ngx_strict_tls_seen_pt)(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uint_t data);


/*
 * What is there once per module: the first member of its main configuration.
 * The http and the stream module have one each, and a worker and a zone.
 */

typedef struct ngx_strict_tls_main_conf_s  ngx_strict_tls_main_conf_t;

struct ngx_strict_tls_main_conf_s {
    size_t                          size;      /* of this: is it the same? */
    ngx_module_t                   *module;
    ngx_strict_tls_main_conf_t     *sibling;   /* the other module's, or NULL */

    ngx_array_t                     anchors;   /* ngx_strict_tls_anchors_t */
    ngx_array_t                     policies;  /* ngx_strict_tls_policy_t */
    ngx_uint_t                      nways;
    ngx_array_t                     crl_files; /* ngx_strict_tls_crl_file_t * */
    ngx_array_t                     scopes;    /* ngx_strict_tls_scope_t *, of
                                                  all levels */

    ngx_shm_zone_t                 *zone;
    ngx_path_t                     *crl_path;  /* NULL: none are kept on disk */
    ngx_int_t                       max_verdicts;
    ngx_int_t                       max_sessions;

    ngx_resolver_t                 *resolver;  /* of /etc/resolv.conf */
    ngx_strict_tls_worker_t        *worker;

    ngx_array_t                     owns;      /* ngx_strict_tls_own_t * */
    ngx_event_t                     own_timer;
    ngx_strict_tls_job_t           *own_job;   /* asks about one of them */

    ngx_shm_zone_t                 *status_zone;  /* NULL: nobody wants it */

    unsigned                        resolver_sought:1;
    unsigned                        resolver_warned:1;
    unsigned                        strict:1;  /* some scope is */
    unsigned                        log_warned:1;
};


/*
 * Where one policy applies: a location's upstreams, a server's clients.  All
 * that a check, a fetch or a handshake needs of the configuration.
 */

typedef struct {
    u_char                         *file;      /* NULL: nowhere */
    ngx_uint_t                      line;
    ngx_str_t                       directive;
} ngx_strict_tls_place_t;


typedef struct ngx_strict_tls_scope_s  ngx_strict_tls_scope_t;

struct ngx_strict_tls_scope_s {
    stls_role                       role;      /* of the peers judged here */
    ngx_strict_tls_scope_t         *parent;    /* of the level above */
    ngx_strict_tls_place_t          mode_at;   /* set on this level */
    ngx_strict_tls_place_t          key_at;    /* the first one */
    ngx_strict_tls_main_conf_t     *main_conf;
    ngx_uint_t                      mode;
    ngx_array_t                    *own;       /* settings of this level */
    ngx_array_t                    *settings;  /* with those of all above */
    ngx_str_t                       trusted_certificate;
    ngx_str_t                       also_trusted;  /* another file */
    SSL_CTX                        *loaded;    /* by nginx from these files */
    ngx_array_t                    *http_proxy;  /* ngx_addr_t; NULL: off */

    /* only where there are TLS peers to be strict about, else NULL */
    stls_policy                    *policy;    /* one for each way, too */
    stls_anchors                   *anchors;
    ngx_strict_tls_crl_file_t      *crl_file;  /* NULL: none */

    ngx_resolver_t                 *resolver;
    ngx_uint_t                      way;       /* to the responders */
    ngx_msec_t                      fetch_total;
    time_t                          negative_ttl;
    size_t                          max_cert_list;

    unsigned                        report:1;
    unsigned                        nonce:1;
    unsigned                        listed:1;  /* in main_conf->scopes */
    unsigned                        judges:1;  /* or one below does */
    unsigned                        counts:1;  /* its settings do, somewhere */
};


/* ---- one process ---- */

struct ngx_strict_tls_worker_s {
    ngx_strict_tls_main_conf_t     *conf;

    stls_verdict_cache             *verdicts;
    stls_verdict_cache             *trusts;    /* "trusted so far" */
    stls_memo                      *memo;      /* signatures that verified */

    ngx_rbtree_t                    sessions;
    ngx_rbtree_node_t               sessions_sentinel;
    ngx_queue_t                     sessions_lru;
    ngx_int_t                       nsessions;

    ngx_rbtree_t                    shared;    /* fetches that can be joined */
    ngx_rbtree_node_t               shared_sentinel;
    ngx_queue_t                     fetches;
    ngx_int_t                       nfetches;  /* on the network */

    ngx_rbtree_t                    responders;  /* asked, or to be asked */
    ngx_rbtree_node_t               responders_sentinel;
    ngx_queue_t                     crowded;   /* those with fetches waiting */
    ngx_int_t                       nwaiting;
    ngx_event_t                     place_event;

    ngx_queue_t                     jobs;
    ngx_rbtree_t                    leaders;   /* jobs others may follow */
    ngx_rbtree_node_t               leaders_sentinel;
    ngx_queue_t                     ready;     /* jobs to be told, in turn */
    ngx_event_t                     ready_event;

    ngx_rbtree_t                    crls;      /* indexed, by question */
    ngx_rbtree_node_t               crls_sentinel;
    ngx_queue_t                     crls_lru;
    size_t                          crls_len;
    ngx_queue_t                     crl_writes;
    ngx_uint_t                      crl_serial;  /* of files being written */
    ngx_event_t                     crl_file_timer;

    ngx_atomic_uint_t               epoch;     /* revocations seen so far */
    unsigned                        started:1;
};


/* ---- one connection to judge ---- */

/*
 * Who waits for a verdict and is told of it: a request or a session.  It may
 * end before the connection does: ngx_strict_tls_leave_conn().
 */

typedef struct {
    stls_result                    *result;
    ngx_strict_tls_conn_t          *conn;      /* handshake under way */
    unsigned                        retried:1;
} ngx_strict_tls_owner_t;


/* What differs between those whose handshakes are judged. */

typedef struct {
    /*
     * The scope of a connection that is making its first handshake, or NULL
     * where nobody is strict; c->data is what nginx has put there for it.
     */
    ngx_strict_tls_scope_t       *(*scope)(ngx_connection_t *c);

    /* sets conn->stock_verify, the owner, and who the peer is */
    ngx_int_t                     (*begin)(ngx_strict_tls_conn_t *conn);

    /*
     * Writes what is added to the log line of a reject from `p` on, returns
     * the end of it; NULL: nothing to add.
     */
    u_char                       *(*hint)(ngx_strict_tls_conn_t *conn,
                                          u_char *p, u_char *last);

    /*
     * No fault of the peer: when nginx is told of the failure it may try again
     * at once.  NULL: it has no way to.
     */
    void                          (*retry)(ngx_strict_tls_conn_t *conn);
} ngx_strict_tls_host_t;


typedef enum {
    ngx_strict_tls_handshake = 0,
    ngx_strict_tls_judging,            /* handshake done, verdict to come */
    ngx_strict_tls_accepted,
    ngx_strict_tls_rejected
} ngx_strict_tls_phase_e;


struct ngx_strict_tls_conn_s {
    ngx_connection_t               *connection;
    const ngx_strict_tls_host_t    *host;
    ngx_strict_tls_owner_t         *owner;     /* until the verdict is out */
    ngx_strict_tls_main_conf_t     *main_conf;
    ngx_strict_tls_scope_t         *scope;

    SSL_CTX                        *ssl_ctx;
    ngx_str_t                       name;      /* judged against, or empty */
    ngx_str_t                       client;    /* own certificate, if varying */
    ngx_str_t                       addr;      /* of the peer, for the log */

    ngx_strict_tls_phase_e          phase;
    stls_check                     *check;     /* awaits the staple */
    ngx_strict_tls_job_t           *job;
    stls_result                    *result;
    stls_result                    *inherited; /* with the offered session */
    ngx_atomic_uint_t               epoch;     /* when result was true */
    ngx_uint_t                      crl_file_generation;  /* likewise */

    u_char                          key[STLS_ID_LEN];      /* of verdicts */
    ngx_str_t                       session_key;
    SSL_SESSION                    *offered;   /* only to be compared with */

    ngx_connection_handler_pt       handler;   /* nginx's */
    int                             stock_err; /* why nginx will refuse it */
    ngx_uint_t                      rejudged;
    ngx_msec_t                      deadline;  /* of all that is asked */

    /* of a client's: the certificates that came, leaf first */
    STACK_OF(X509)                 *certs;
    ngx_queue_t                     waiters;   /* ngx_strict_tls_waiter_t */
    ngx_strict_tls_conn_t          *next;      /* under another scope */

    unsigned                        stock_verify:1;  /* nginx's is on, too */
    unsigned                        trust_judged:1;
    unsigned                        has_key:1;
    unsigned                        has_staple_key:1;
    unsigned                        save_session:1;
    unsigned                        closed:1;  /* by the peer, meanwhile */
};


/* ---- one client's connection ---- */

/* What a client's verdict must know about the servers of its address. */

typedef struct {
    /* of the server that nginx has chosen; NULL where nobody is strict */
    ngx_strict_tls_scope_t       *(*scope)(ngx_connection_t *c);

    /* of the server that it will choose for this name, which may be empty */
    ngx_strict_tls_scope_t       *(*find)(ngx_connection_t *c,
                                          ngx_str_t *server_name);
} ngx_strict_tls_server_t;


/* Who waits for a client's verdict; called once, and must not free anything. */

typedef struct ngx_strict_tls_waiter_s  ngx_strict_tls_waiter_t;

struct ngx_strict_tls_waiter_s {
    ngx_queue_t                     queue;     /* in conn->waiters */
    void                          (*handler)(ngx_strict_tls_waiter_t *waiter);
    unsigned                        waiting:1;
    unsigned                        told:1;    /* takes the verdict as it is */
};


/* ---- one check that waits for answers ---- */

/* Called with job->result, or NULL for lack of memory; frees the job. */
typedef void (*ngx_strict_tls_job_handler_pt)(ngx_strict_tls_job_t *job);


struct ngx_strict_tls_job_s {
    ngx_str_node_t                  node;      /* in worker->leaders */
    ngx_queue_t                     queue;     /* in worker->jobs */
    ngx_queue_t                     followers;
    ngx_queue_t                     line;      /* in leader->followers, or in
                                                  worker->ready */
    ngx_strict_tls_worker_t        *worker;
    ngx_strict_tls_scope_t         *scope;

    stls_check                     *check;
    stls_result                    *result;    /* when finished */
    ngx_queue_t                     waits;

    u_char                          key[STLS_ID_LEN];
    ngx_atomic_uint_t               epoch;

    ngx_msec_t                      total;     /* how long it may take */
    ngx_msec_t                      end;       /* when that is over */
    ngx_event_t                     timer;
    ngx_event_t                     done;
    ngx_strict_tls_job_handler_pt   handler;   /* NULL: nobody to be told */
    void                           *data;

    unsigned                        has_key:1;
    unsigned                        background:1;  /* no worker waits for it
                                                      before it ends */
    unsigned                        refresh:1;
    unsigned                        suspended:1;
    unsigned                        finished:1;
    unsigned                        is_passing:1;  /* not to be remembered */
    unsigned                        leads:1;   /* is in worker->leaders */
    unsigned                        in_line:1;
};


typedef struct {
    ngx_queue_t                     queue;     /* in fetch->waits */
    ngx_queue_t                     job_queue; /* in job->waits */
    ngx_strict_tls_fetch_t         *fetch;
    ngx_strict_tls_job_t           *job;
    uint32_t                        id;
    unsigned                        may_use_cache:1;
} ngx_strict_tls_wait_t;


/* ---- one question on its way ---- */

typedef enum {
    ngx_strict_tls_polling = 0,   /* another worker asks */
    ngx_strict_tls_queued,        /* for a place among those in flight */
    ngx_strict_tls_resolving,
    ngx_strict_tls_connecting,
    ngx_strict_tls_sending,
    ngx_strict_tls_reading,
    ngx_strict_tls_indexing,      /* a CRL, from the network or disk */
    ngx_strict_tls_over
} ngx_strict_tls_fetch_state_e;


struct ngx_strict_tls_fetch_s {
    ngx_str_node_t                  node;      /* in worker->shared */
    ngx_queue_t                     queue;     /* in worker->fetches */
    ngx_queue_t                     line;      /* in responder->waiting */
    ngx_queue_t                     waits;
    ngx_strict_tls_responder_t     *responder; /* it is in flight, or queued */
    ngx_strict_tls_worker_t        *worker;

    u_char                          flight[STLS_ID_LEN];
    u_char                          question[STLS_ID_LEN];
    uint32_t                        lease;     /* 0: none held */

    stls_policy                    *policy;
    ngx_resolver_t                 *resolver;
    ngx_array_t                    *http_proxy;

    ngx_strict_tls_fetch_state_e    state;
    ngx_event_t                     timer;
    ngx_event_t                     done;
    ngx_msec_t                      timeout;
    ngx_msec_t                      started;   /* somebody waits since */
    ngx_msec_t                      begun;     /* this worker asks since */
    ngx_msec_t                      poll;

    stls_http                      *http;
    stls_http_target                target;
    ngx_resolver_ctx_t             *resolving;
    ngx_peer_connection_t           peer;
    ngx_log_t                       log;
    size_t                          sent;
    size_t                          received;

    ngx_sockaddr_t                  addrs[NGX_STRICT_TLS_MAX_ADDRS];
    socklen_t                       socklens[NGX_STRICT_TLS_MAX_ADDRS];
    ngx_uint_t                      naddrs;
    ngx_uint_t                      naddr;     /* the next to try */
    ngx_str_t                       addr;
    u_char                          addr_text[NGX_SOCKADDR_STRLEN];

    stls_crl                       *crl;       /* what came, indexed */
    ngx_strict_tls_crl_work_t      *crl_work;
    time_t                          since;

    stls_fetch_outcome              outcome;
    u_char                         *bytes;     /* what another worker got */
    size_t                          len;
    u_char                          detail[NGX_STRICT_TLS_DETAIL_LEN];
    stls_answer                     answer;    /* the best that a check made of
                                                  it so far */

    unsigned                        is_shared:1;
    unsigned                        is_joinable:1;  /* is in worker->shared */
    unsigned                        delivering:1;
    unsigned                        remembered:1;
    unsigned                        is_second_hand:1;
    unsigned                        is_private_failure:1;
    unsigned                        may_use_cache:1;
    unsigned                        refresh:1;
    unsigned                        is_crl:1;
    unsigned                        from_disk:1;
    unsigned                        from_zone:1;
    unsigned                        refused:1; /* by a check */
    unsigned                        lacks_descriptor:1;
    unsigned                        has_turn:1;  /* was queued long enough */
};


/* ---- the answers that all workers share ---- */

typedef enum {
    ngx_strict_tls_cache_answer = 1,  /* outcome, bytes: conclusive */
    ngx_strict_tls_cache_failure,     /* outcome, bytes or detail */
    ngx_strict_tls_cache_busy,        /* another worker asks */
    ngx_strict_tls_cache_yours,       /* nothing known: go and ask */
    ngx_strict_tls_cache_alone        /* likewise, without a lease: what comes
                                         cannot be shared */
} ngx_strict_tls_cache_e;


typedef struct {
    u_char                         *question;
    u_char                         *flight;
    ngx_msec_t                      lease_for;
    ngx_msec_t                      since;     /* answers stored after that */
    unsigned                        any_age:1; /* ... or whenever */
    unsigned                        refresh:1; /* none that is due for one */
    unsigned                        is_crl:1;
} ngx_strict_tls_lookup_t;


typedef struct {
    stls_fetch_outcome              outcome;
    u_char                         *bytes;     /* a copy: ngx_free() it */
    size_t                          len;
    uint32_t                        lease;
    unsigned                        alone:1;
} ngx_strict_tls_found_t;


/* What the object exports is ngx_modules and the like, nothing of these. */
#pragma GCC visibility push(hidden)

/* ngx_strict_tls_directives.c */
extern ngx_conf_num_bounds_t  ngx_strict_tls_entries_bounds;
extern ngx_conf_post_t  ngx_strict_tls_not_empty;
char *ngx_strict_tls_set_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_strict_tls_set_http_proxy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_strict_tls_set_cache_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ssize_t ngx_strict_tls_zone_size(ngx_conf_t *cf, size_t min);

/* ngx_strict_tls_conf.c */
ngx_int_t ngx_strict_tls_create_main_conf(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_module_t *module);
void ngx_strict_tls_init_main_conf(ngx_strict_tls_main_conf_t *mcf);
ngx_int_t ngx_strict_tls_create_worker(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_str_t *zone);
ngx_shm_zone_t *ngx_strict_tls_add_zone(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_str_t *name, size_t size,
    ngx_shm_zone_init_pt init);
void ngx_strict_tls_init_scope(ngx_strict_tls_scope_t *scope, stls_role role);
ngx_int_t ngx_strict_tls_inherit(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_strict_tls_scope_t *prev,
    ngx_strict_tls_scope_t *scope);
ngx_int_t ngx_strict_tls_begin_with(ngx_conf_t *cf,
    ngx_strict_tls_scope_t *scope, ngx_strict_tls_scope_t *base);
ngx_int_t ngx_strict_tls_inherit_client(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_strict_tls_scope_t *prev, ngx_strict_tls_scope_t *client,
    ngx_uint_t verify);
ngx_int_t ngx_strict_tls_build_client(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_strict_tls_scope_t *client,
    ngx_strict_tls_scope_t *upstream, ngx_str_t *certificate, ngx_str_t *more,
    ngx_resolver_t *resolver, ngx_str_t *where);
ngx_int_t ngx_strict_tls_build(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *scope, ngx_str_t *trusted,
    ngx_resolver_t *resolver, const char *level, ngx_str_t *name);

/* ngx_strict_tls_idle.c */
ngx_int_t ngx_strict_tls_list(ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *scope);
void ngx_strict_tls_judges(ngx_strict_tls_scope_t *scope);
void ngx_strict_tls_counts(ngx_strict_tls_scope_t *scope);
void ngx_strict_tls_warn_idle(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    const char *tls);
void ngx_strict_tls_warn_log(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *scope, ngx_log_t *log);

/* ngx_strict_tls_foreign.c */
ngx_int_t ngx_strict_tls_watch(ngx_conf_t *cf, ngx_module_t *module,
    ngx_str_t *name, ngx_strict_tls_seen_pt seen, ngx_uint_t data);
void ngx_strict_tls_watch_end(void);
void ngx_strict_tls_unread_crl(ngx_conf_t *cf, ngx_str_t *directive,
    const char *level, ngx_str_t *where);
ngx_module_t *ngx_strict_tls_find_module(ngx_cycle_t *cycle,
    const char *name);
void *ngx_strict_tls_conf_slot(ngx_module_t *module, void *conf,
    ngx_str_t *name, ngx_strict_tls_set_pt set);
ngx_str_t *ngx_strict_tls_conf_str(ngx_module_t *module, void *conf,
    ngx_str_t *name);

/* ngx_strict_tls_anchors.c */
stls_anchors *ngx_strict_tls_anchors(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_str_t *trusted, ngx_str_t *more,
    SSL_CTX *loaded, ngx_uint_t level);
ngx_uint_t ngx_strict_tls_is_file(ngx_str_t *file);

/* ngx_strict_tls_resolver.c */
ngx_int_t ngx_strict_tls_find_resolver(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_strict_tls_scope_t *scope,
    ngx_resolver_t *resolver);

/* ngx_strict_tls_handshake.c */
ngx_int_t ngx_strict_tls_handshake_init(ngx_log_t *log);
ngx_int_t ngx_strict_tls_install(SSL_CTX *ssl_ctx,
    const ngx_strict_tls_host_t *host, ngx_log_t *log);
stls_reason ngx_strict_tls_alert_reason(const char **detail);
int ngx_strict_tls_stock_verify(X509_STORE_CTX *store);
void ngx_strict_tls_stock_refuse(ngx_strict_tls_conn_t *conn);
ngx_uint_t ngx_strict_tls_has_crls(SSL_CTX *ssl_ctx);

/* ngx_strict_tls_conn.c */
ngx_int_t ngx_strict_tls_conn_init(ngx_log_t *log);
ngx_strict_tls_conn_t *ngx_strict_tls_create_conn(ngx_connection_t *c,
    const ngx_strict_tls_host_t *host, ngx_strict_tls_scope_t *scope);
void ngx_strict_tls_set_owner(ngx_strict_tls_conn_t *conn,
    ngx_strict_tls_owner_t *owner);
ngx_int_t ngx_strict_tls_set_upstream(ngx_strict_tls_conn_t *conn,
    ngx_str_t *name, ngx_str_t *client, ngx_peer_connection_t *pc);
ngx_strict_tls_conn_t *ngx_strict_tls_ssl_conn(SSL *ssl);
ngx_strict_tls_conn_t *ngx_strict_tls_get_conn(ngx_connection_t *c);
ngx_strict_tls_conn_t *ngx_strict_tls_create_client(ngx_connection_t *c,
    ngx_strict_tls_scope_t *scope, STACK_OF(X509) *certs);
ngx_int_t ngx_strict_tls_set_session_key(ngx_strict_tls_conn_t *conn,
    const u_char *key, size_t len);
void ngx_strict_tls_cancel(ngx_strict_tls_conn_t *conn);
void ngx_strict_tls_leave_conn(ngx_strict_tls_owner_t *owner);
void ngx_strict_tls_set_result(ngx_strict_tls_owner_t *owner,
    stls_result *result);

/* ngx_strict_tls_client.c */
ngx_int_t ngx_strict_tls_client_init(ngx_log_t *log);
void ngx_strict_tls_client_idle(ngx_conf_t *cf, ngx_strict_tls_scope_t *top);
ngx_int_t ngx_strict_tls_client_install(SSL_CTX *ssl_ctx,
    const ngx_strict_tls_server_t *server, ngx_uint_t strict,
    size_t max_cert_list, ngx_log_t *log);
#define NGX_STRICT_TLS_SERVER_NAME_LEN  256
ngx_int_t ngx_strict_tls_client_server_name(ngx_str_t *sni, ngx_str_t *name,
    u_char *buf);

/* ngx_strict_tls_gate.c */
ngx_strict_tls_conn_t *ngx_strict_tls_client_conn(ngx_connection_t *c,
    ngx_strict_tls_scope_t *scope);
stls_verdict ngx_strict_tls_client_judge(ngx_strict_tls_conn_t *conn,
    ngx_strict_tls_waiter_t *waiter);
void ngx_strict_tls_client_wait(ngx_strict_tls_conn_t *conn,
    ngx_strict_tls_waiter_t *waiter);
void ngx_strict_tls_client_leave(ngx_strict_tls_waiter_t *waiter);
stls_result *ngx_strict_tls_client_result(ngx_connection_t *c,
    ngx_strict_tls_scope_t *scope);
ngx_int_t ngx_strict_tls_client_verify_value(ngx_connection_t *c,
    ngx_strict_tls_scope_t *scope, ngx_uint_t admitted,
    ngx_variable_value_t *value, ngx_pool_t *pool);

/* ngx_strict_tls_suspend.c */
void ngx_strict_tls_handler(ngx_connection_t *c);

/* ngx_strict_tls_judge.c */
stls_verdict ngx_strict_tls_judge_trust(ngx_strict_tls_conn_t *conn,
    STACK_OF(X509) *certs);
ngx_int_t ngx_strict_tls_key(ngx_strict_tls_scope_t *scope, ngx_str_t *name,
    STACK_OF(X509) *certs, u_char *key);
stls_verdict ngx_strict_tls_judge(ngx_strict_tls_conn_t *conn);
ngx_uint_t ngx_strict_tls_accepts(ngx_strict_tls_conn_t *conn);
stls_check *ngx_strict_tls_check(ngx_strict_tls_scope_t *scope,
    ngx_str_t *name, STACK_OF(X509) *certs);
void ngx_strict_tls_fail(ngx_strict_tls_conn_t *conn,
    stls_reason reason, const char *detail);
void ngx_strict_tls_take_job_result(ngx_strict_tls_conn_t *conn);
ngx_uint_t ngx_strict_tls_outdated(ngx_strict_tls_conn_t *conn);
void ngx_strict_tls_record(ngx_strict_tls_conn_t *conn);
ngx_uint_t ngx_strict_tls_is_about_name(stls_result *result);
ngx_int_t ngx_strict_tls_reusable(ngx_strict_tls_conn_t *conn);

/* ngx_strict_tls_verdict.c */
ngx_strict_tls_worker_t *ngx_strict_tls_get_worker(
    ngx_strict_tls_main_conf_t *mcf);
void ngx_strict_tls_stop(void *data);
void ngx_strict_tls_sync(ngx_strict_tls_worker_t *worker);
stls_result *ngx_strict_tls_verdict_get0(
    ngx_strict_tls_worker_t *worker, const u_char *key);
void ngx_strict_tls_verdict_put(ngx_strict_tls_worker_t *worker,
    ngx_strict_tls_scope_t *scope, const u_char *key, stls_result *result,
    ngx_atomic_uint_t epoch);
void ngx_strict_tls_verdict_renew(ngx_strict_tls_worker_t *worker,
    const u_char *key, stls_result **result);
ngx_uint_t ngx_strict_tls_rests_on(stls_result *result,
    const u_char *question);
ngx_uint_t ngx_strict_tls_says_revoked(stls_result *result);
void ngx_strict_tls_announce(ngx_strict_tls_worker_t *worker,
    stls_result *result);

/* ngx_strict_tls_session.c */
ngx_int_t ngx_strict_tls_session_key(ngx_strict_tls_conn_t *conn,
    ngx_peer_connection_t *pc);
void ngx_strict_tls_session_offer(ngx_strict_tls_conn_t *conn,
    ngx_ssl_conn_t *ssl_conn);
void ngx_strict_tls_session_save(ngx_connection_t *c);
void ngx_strict_tls_session_drop(ngx_strict_tls_conn_t *conn);
void ngx_strict_tls_session_keep_client(ngx_strict_tls_conn_t *conn);
ngx_strict_tls_conn_t *ngx_strict_tls_session_find_client(ngx_connection_t *c,
    ngx_strict_tls_scope_t *scope, const u_char *key, size_t len);
void ngx_strict_tls_session_drop_question(
    ngx_strict_tls_worker_t *worker, const u_char *question);
void ngx_strict_tls_session_clear(ngx_strict_tls_worker_t *worker);

/* ngx_strict_tls_job.c */
ngx_strict_tls_job_t *ngx_strict_tls_job_create(
    ngx_strict_tls_worker_t *worker,
    ngx_strict_tls_scope_t *scope, stls_check *check, const u_char *key);
stls_verdict ngx_strict_tls_job_start(ngx_strict_tls_job_t *job);
void ngx_strict_tls_job_begin(ngx_strict_tls_job_t *job);
void ngx_strict_tls_job_advance(ngx_strict_tls_job_t *job);
void ngx_strict_tls_job_tell(ngx_strict_tls_job_t *job);
void ngx_strict_tls_job_free(ngx_strict_tls_job_t *job);
void ngx_strict_tls_job_leave(ngx_strict_tls_job_t *job);
void ngx_strict_tls_job_stop(ngx_strict_tls_job_t *job);

/* ngx_strict_tls_follow.c */
void ngx_strict_tls_follow_start(ngx_strict_tls_worker_t *worker);
void ngx_strict_tls_follow_stop(ngx_strict_tls_worker_t *worker);
ngx_int_t ngx_strict_tls_follow(ngx_strict_tls_job_t *job);
void ngx_strict_tls_lead(ngx_strict_tls_job_t *job);
void ngx_strict_tls_let_go(ngx_strict_tls_job_t *job);
void ngx_strict_tls_leave_line(ngx_strict_tls_job_t *job);

/* ngx_strict_tls_fetch.c */
void ngx_strict_tls_fetch(ngx_strict_tls_job_t *job, stls_fetch *want);
void ngx_strict_tls_fetch_proceed(ngx_strict_tls_fetch_t *fetch);
void ngx_strict_tls_fetch_unlist(ngx_strict_tls_fetch_t *fetch);
void ngx_strict_tls_fetch_release(ngx_strict_tls_fetch_t *fetch);
void ngx_strict_tls_wait_free(ngx_strict_tls_wait_t *wait);
ngx_uint_t ngx_strict_tls_wait_is_last(ngx_strict_tls_wait_t *wait);
ngx_uint_t ngx_strict_tls_fetch_is_cut_short(ngx_strict_tls_fetch_t *fetch);
void ngx_strict_tls_fetch_give_up(ngx_strict_tls_fetch_t *fetch);
void ngx_strict_tls_fetch_over(ngx_strict_tls_fetch_t *fetch,
    stls_fetch_outcome outcome, const char *fmt, ...);
void ngx_strict_tls_fetch_free(ngx_strict_tls_fetch_t *fetch);

/* ngx_strict_tls_queue.c */
ngx_int_t ngx_strict_tls_queue_enter(ngx_strict_tls_fetch_t *fetch);
void ngx_strict_tls_queue_leave(ngx_strict_tls_fetch_t *fetch);
void ngx_strict_tls_queue_start(ngx_strict_tls_worker_t *worker);
void ngx_strict_tls_queue_stop(ngx_strict_tls_worker_t *worker);

/* ngx_strict_tls_deliver.c */
void ngx_strict_tls_fetch_deliver(ngx_event_t *ev);
void ngx_strict_tls_fetch_feed_now(ngx_strict_tls_wait_t *wait);

/* ngx_strict_tls_crl.c */
stls_crl *ngx_strict_tls_crl_get0(ngx_strict_tls_worker_t *worker,
    stls_fetch *want, ngx_uint_t refresh, ngx_uint_t *is_final);
void ngx_strict_tls_crl_keep_newer(ngx_strict_tls_fetch_t *fetch);
ngx_int_t ngx_strict_tls_crl_put(ngx_strict_tls_fetch_t *fetch,
    stls_answer *answer);
void ngx_strict_tls_crl_outdate(ngx_strict_tls_worker_t *worker,
    const u_char *question, ngx_atomic_uint_t epoch);
void ngx_strict_tls_crl_clear(ngx_strict_tls_worker_t *worker);
void ngx_strict_tls_crl_stop(ngx_strict_tls_worker_t *worker);
void ngx_strict_tls_crl_index(ngx_strict_tls_fetch_t *fetch,
    u_char *bytes, size_t len);
ngx_int_t ngx_strict_tls_crl_load(ngx_strict_tls_fetch_t *fetch);
void ngx_strict_tls_crl_save(ngx_strict_tls_fetch_t *fetch);
void ngx_strict_tls_crl_discard(ngx_strict_tls_fetch_t *fetch);
void ngx_strict_tls_crl_cancel(ngx_strict_tls_fetch_t *fetch);

/* ngx_strict_tls_crl_file.c */
ngx_strict_tls_crl_file_t *ngx_strict_tls_crl_file(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, stls_policy *policy);
stls_crl_file *ngx_strict_tls_crl_file_get0(ngx_strict_tls_scope_t *scope);
ngx_uint_t ngx_strict_tls_crl_file_generation(ngx_strict_tls_scope_t *scope);
void ngx_strict_tls_crl_file_start(ngx_strict_tls_worker_t *worker);
void ngx_strict_tls_crl_file_stop(ngx_strict_tls_worker_t *worker);
void ngx_strict_tls_crl_file_cleanup(ngx_strict_tls_main_conf_t *mcf);

/* ngx_strict_tls_exchange.c */
void ngx_strict_tls_exchange(ngx_strict_tls_fetch_t *fetch);
void ngx_strict_tls_exchange_close(ngx_strict_tls_fetch_t *fetch);
const char *ngx_strict_tls_exchange_step(ngx_strict_tls_fetch_t *fetch);

/* ngx_strict_tls_cache.c */
ngx_int_t ngx_strict_tls_cache_init(ngx_shm_zone_t *zone, void *data);
ngx_strict_tls_cache_e ngx_strict_tls_cache_look(
    ngx_shm_zone_t *zone, ngx_strict_tls_lookup_t *lookup,
    ngx_strict_tls_found_t *found);
void ngx_strict_tls_cache_put_answer(ngx_shm_zone_t *zone,
    const u_char *question, const stls_answer *answer, const u_char *bytes,
    size_t len);
void ngx_strict_tls_cache_put_failure(ngx_shm_zone_t *zone,
    const u_char *flight, stls_fetch_outcome outcome, int64_t retry_at,
    const u_char *bytes, size_t len);
void ngx_strict_tls_cache_release(ngx_shm_zone_t *zone,
    const u_char *flight, uint32_t lease);
void ngx_strict_tls_cache_revoked(ngx_shm_zone_t *zone,
    const u_char *question, time_t until);
ngx_atomic_uint_t ngx_strict_tls_cache_epoch(ngx_shm_zone_t *zone);
ngx_atomic_uint_t ngx_strict_tls_cache_crl(ngx_shm_zone_t *zone,
    const u_char *question, const u_char *id, time_t produced);
time_t ngx_strict_tls_cache_crl_produced(ngx_shm_zone_t *zone,
    const u_char *question);
ngx_uint_t ngx_strict_tls_cache_takes(ngx_shm_zone_t *zone, size_t len);
void ngx_strict_tls_cache_unshared(ngx_shm_zone_t *zone,
    const u_char *question);
ngx_uint_t ngx_strict_tls_cache_revoked_since(ngx_shm_zone_t *zone,
    ngx_atomic_uint_t epoch, stls_result *result);
ngx_uint_t ngx_strict_tls_cache_count(ngx_shm_zone_t *zone,
    uint64_t *evicted);
ngx_int_t ngx_strict_tls_cache_news(ngx_shm_zone_t *zone,
    ngx_atomic_uint_t *epoch, u_char *question);

/* ngx_strict_tls_variable.c: `data` is what to show */
#define NGX_STRICT_TLS_VERDICT      0
#define NGX_STRICT_TLS_REASON       1
#define NGX_STRICT_TLS_REPORT_JSON  2

typedef struct {
    ngx_str_t                       name;
    uintptr_t                       data;
    unsigned                        client:1;  /* about the client */
} ngx_strict_tls_variable_t;

extern ngx_strict_tls_variable_t  ngx_strict_tls_variables[];
extern ngx_str_t  ngx_strict_tls_client_verify_name;
ngx_int_t ngx_strict_tls_show(ngx_pool_t *pool, ngx_variable_value_t *v,
    stls_result *result, uintptr_t data);

/* ngx_strict_tls_status.c */
void ngx_strict_tls_status_note(ngx_strict_tls_main_conf_t *mcf,
    stls_direction direction, ngx_str_t *name, ngx_str_t *addr,
    stls_result *result);
void ngx_strict_tls_status_count(ngx_strict_tls_main_conf_t *mcf,
    stls_figure figure);

#pragma GCC visibility pop


#endif /* _NGX_STRICT_TLS_H_INCLUDED_ */
