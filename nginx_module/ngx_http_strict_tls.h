/*
 * What the files of the http module owe each other.
 */

#ifndef _NGX_HTTP_STRICT_TLS_H_INCLUDED_
#define _NGX_HTTP_STRICT_TLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_strict_tls.h"


/* proxy_pass, grpc_pass, uwsgi_pass */
#define NGX_HTTP_STRICT_TLS_HOSTS  3


/* A module that can speak TLS to upstreams, and its directives. */

typedef struct {
    const char                     *name;
    ngx_str_t                       pass;
    ngx_str_t                       plain;     /* what `pass` begins with */
    ngx_str_t                       tls;       /* likewise */
    ngx_str_t                       trusted;
    ngx_str_t                       crl;
    ngx_str_t                       server_name;
} ngx_http_strict_tls_host_t;


typedef struct {
    ngx_http_upstream_srv_conf_t   *upstream;
    ngx_http_upstream_init_peer_pt  original_init_peer;
} ngx_http_strict_tls_upstream_t;


typedef struct {
    ngx_strict_tls_main_conf_t      main;
    ngx_array_t                     upstreams;
                                       /* ngx_http_strict_tls_upstream_t */
    ngx_module_t                   *hosts[NGX_HTTP_STRICT_TLS_HOSTS];

    /* of nginx's own "$ssl_client_verify" */
    ngx_http_get_variable_pt        client_verify;

    unsigned                        has_status:1;  /* some location */
    unsigned                        strict:1;  /* some location wants to be */
} ngx_http_strict_tls_main_conf_t;


typedef struct {
    ngx_strict_tls_scope_t          client;
} ngx_http_strict_tls_srv_conf_t;


/* What `pass` of a module in a location leads to. */

#define NGX_HTTP_STRICT_TLS_PASS_NONE      0
#define NGX_HTTP_STRICT_TLS_PASS_PLAIN     1
#define NGX_HTTP_STRICT_TLS_PASS_TLS       2
#define NGX_HTTP_STRICT_TLS_PASS_VARIABLE  3   /* one or the other */


/* One module's upstreams in a location. */

typedef struct {
    ngx_uint_t                      pass;
    ngx_flag_t                      server_name;  /* directive is there */
    ngx_strict_tls_scope_t         *scope;     /* NULL: not strict, or plain */
} ngx_http_strict_tls_host_conf_t;


typedef struct {
    ngx_strict_tls_scope_t          upstream;  /* for those of all modules */
    ngx_http_strict_tls_host_conf_t hosts[NGX_HTTP_STRICT_TLS_HOSTS];
    ngx_uint_t                      self_check;

    unsigned                        status:1;
    unsigned                        status_public:1;
} ngx_http_strict_tls_loc_conf_t;


/* One request: what was decided for it. */

typedef struct {
    ngx_strict_tls_owner_t          owner;
    ngx_http_request_t             *request;
    ngx_strict_tls_scope_t         *scope;

    void                           *data;
    ngx_event_get_peer_pt           original_get_peer;
    ngx_event_free_peer_pt          original_free_peer;
    ngx_event_notify_peer_pt        original_notify;

    ngx_strict_tls_waiter_t         waiter;    /* for the client's verdict */
    stls_result                    *client;
    unsigned                        admitted:1;  /* through the gate */
} ngx_http_strict_tls_ctx_t;


extern ngx_module_t  ngx_http_strict_tls_module;


/* What the object exports is ngx_modules and the like, nothing of these. */
#pragma GCC visibility push(hidden)

/* ngx_http_strict_tls_conf.c */
char *ngx_http_strict_tls_merge(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *prev,
    ngx_http_strict_tls_loc_conf_t *conf);

/* ngx_http_strict_tls_pass.c */
extern const ngx_http_strict_tls_host_t
    ngx_http_strict_tls_hosts[NGX_HTTP_STRICT_TLS_HOSTS];
ngx_int_t ngx_http_strict_tls_watch_passes(ngx_conf_t *cf,
    ngx_http_strict_tls_main_conf_t *mcf);
void ngx_http_strict_tls_merge_passes(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *prev,
    ngx_http_strict_tls_loc_conf_t *conf);
ngx_http_upstream_conf_t *ngx_http_strict_tls_upstream_conf(ngx_conf_t *cf,
    ngx_uint_t host);
ngx_http_strict_tls_host_conf_t *ngx_http_strict_tls_request_host(
    ngx_http_request_t *r);

/* ngx_http_strict_tls_own.c */
ngx_int_t ngx_http_strict_tls_own_servers(ngx_conf_t *cf);
ngx_int_t ngx_http_strict_tls_own_upstreams(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *slcf);

/* ngx_http_strict_tls_status.c */
char *ngx_http_strict_tls_set_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* ngx_http_strict_tls_client.c */
char *ngx_http_strict_tls_merge_client(ngx_conf_t *cf,
    ngx_http_strict_tls_srv_conf_t *prev,
    ngx_http_strict_tls_srv_conf_t *conf);
ngx_int_t ngx_http_strict_tls_arm_servers(ngx_conf_t *cf,
    ngx_http_strict_tls_main_conf_t *mcf);

/* ngx_http_strict_tls_upstream.c */
extern const ngx_strict_tls_host_t  ngx_http_strict_tls_upstream;
ngx_int_t ngx_http_strict_tls_client_cert(ngx_http_request_t *r,
    ngx_str_t *id);

/* ngx_http_strict_tls_peer.c */
ngx_int_t ngx_http_strict_tls_wrap_upstreams(ngx_conf_t *cf,
    ngx_http_strict_tls_main_conf_t *mcf);

/* ngx_http_strict_tls_variables.c */
ngx_int_t ngx_http_strict_tls_add_variables(ngx_conf_t *cf);
ngx_http_strict_tls_ctx_t *ngx_http_strict_tls_get_ctx(ngx_http_request_t *r);
ngx_http_strict_tls_ctx_t *ngx_http_strict_tls_add_ctx(ngx_http_request_t *r);
void ngx_http_strict_tls_set_client(ngx_http_strict_tls_ctx_t *ctx,
    stls_result *result);

#pragma GCC visibility pop


#endif /* _NGX_HTTP_STRICT_TLS_H_INCLUDED_ */
