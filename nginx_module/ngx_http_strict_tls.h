/*
 * What the files of the http module owe each other.
 */

#ifndef _NGX_HTTP_STRICT_TLS_H_INCLUDED_
#define _NGX_HTTP_STRICT_TLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_strict_tls.h"


typedef struct {
    ngx_http_upstream_srv_conf_t   *upstream;
    ngx_http_upstream_init_peer_pt  original_init_peer;
} ngx_http_strict_tls_upstream_t;


typedef struct {
    ngx_strict_tls_main_conf_t      main;
    ngx_array_t                     upstreams;
                                       /* ngx_http_strict_tls_upstream_t */

    unsigned                        has_status:1;  /* some location */
} ngx_http_strict_tls_main_conf_t;


typedef struct {
    ngx_strict_tls_scope_t          client;
} ngx_http_strict_tls_srv_conf_t;


typedef struct {
    ngx_strict_tls_scope_t          upstream;
    ngx_uint_t                      self_check;

    unsigned                        status:1;
    unsigned                        status_public:1;
} ngx_http_strict_tls_loc_conf_t;


/* proxy_pass, grpc_pass, uwsgi_pass */
#define NGX_HTTP_STRICT_TLS_HOSTS  3


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
} ngx_http_strict_tls_ctx_t;


extern ngx_module_t  ngx_http_strict_tls_module;


/* What the object exports is ngx_modules and the like, nothing of these. */
#pragma GCC visibility push(hidden)

/* ngx_http_strict_tls_conf.c */
char *ngx_http_strict_tls_merge(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *prev,
    ngx_http_strict_tls_loc_conf_t *conf);

ngx_http_upstream_conf_t *ngx_http_strict_tls_upstream_conf(ngx_conf_t *cf,
    ngx_uint_t host, ngx_module_t **module);

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
