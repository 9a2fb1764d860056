/*
 * What the files of the stream module owe each other.
 */

#ifndef _NGX_STREAM_STRICT_TLS_H_INCLUDED_
#define _NGX_STREAM_STRICT_TLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>

#include <ngx_stream_ssl_module.h>

#include "ngx_strict_tls.h"


#if (nginx_version >= 1025005)
typedef ngx_stream_ssl_srv_conf_t  ngx_stream_strict_tls_ssl_conf_t;
#else
typedef ngx_stream_ssl_conf_t      ngx_stream_strict_tls_ssl_conf_t;
#endif


typedef struct {
    ngx_strict_tls_main_conf_t      main;

    size_t                          max_cert_list;  /* 0: no strict clients */
    ngx_stream_handler_pt           ssl_handler;    /* nginx's */
    ngx_stream_get_variable_pt      client_verify;  /* likewise */
} ngx_stream_strict_tls_main_conf_t;


typedef struct {
    ngx_strict_tls_scope_t          upstream;
    ngx_strict_tls_scope_t          client;
    ngx_uint_t                      self_check;
    ngx_flag_t                      server_name_seen;
                                       /* "proxy_ssl_server_name" is there */

    /* what "proxy_ssl_..." directives have led to */
    ngx_ssl_t                      *ssl;       /* NULL: "proxy_ssl off" */
    ngx_flag_t                      ssl_verify;
    ngx_flag_t                     *ssl_server_name;
    ngx_str_t                      *ssl_trusted;
    ngx_str_t                      *ssl_crl;
    ngx_stream_complex_value_t     *ssl_name;
    ngx_stream_complex_value_t     *ssl_certificate;
    ngx_stream_complex_value_t     *ssl_certificate_key;
} ngx_stream_strict_tls_srv_conf_t;


/* One session: what was decided for it. */

typedef struct {
    ngx_strict_tls_owner_t          owner;
    ngx_strict_tls_waiter_t         waiter;    /* for the client's verdict */
    ngx_stream_session_t           *session;
    unsigned                        admitted:1;  /* through the gate */
} ngx_stream_strict_tls_ctx_t;


extern ngx_module_t  ngx_stream_strict_tls_module;


/* What the object exports is ngx_modules and the like, nothing of these. */
#pragma GCC visibility push(hidden)

/* ngx_stream_strict_tls_conf.c */
ngx_int_t ngx_stream_strict_tls_watch_proxy(ngx_conf_t *cf);
char *ngx_stream_strict_tls_merge(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *prev,
    ngx_stream_strict_tls_srv_conf_t *conf);

ngx_int_t ngx_stream_strict_tls_where(ngx_conf_t *cf, ngx_str_t *where);

/* ngx_stream_strict_tls_client.c */
ngx_int_t ngx_stream_strict_tls_merge_client(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *prev,
    ngx_stream_strict_tls_srv_conf_t *conf);
ngx_int_t ngx_stream_strict_tls_arm_servers(ngx_conf_t *cf,
    ngx_stream_strict_tls_main_conf_t *mcf);

/* ngx_stream_strict_tls_own.c */
ngx_int_t ngx_stream_strict_tls_own_servers(ngx_conf_t *cf);
ngx_int_t ngx_stream_strict_tls_own_upstreams(ngx_conf_t *cf,
    ngx_stream_strict_tls_srv_conf_t *conf);

/* ngx_stream_strict_tls_upstream.c */
extern const ngx_strict_tls_host_t  ngx_stream_strict_tls_upstream;
ngx_int_t ngx_stream_strict_tls_access_handler(ngx_stream_session_t *s);

/* ngx_stream_strict_tls_variables.c */
ngx_int_t ngx_stream_strict_tls_add_variables(ngx_conf_t *cf);
ngx_stream_strict_tls_ctx_t *ngx_stream_strict_tls_add_ctx(
    ngx_stream_session_t *s);

#pragma GCC visibility pop


#endif /* _NGX_STREAM_STRICT_TLS_H_INCLUDED_ */
