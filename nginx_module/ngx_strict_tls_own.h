/*
 * The chains that this server itself presents: collected while the
 * configuration is read, judged as a strict peer would, and looked after by
 * one worker.  Neither http nor stream: each collects its own.
 */

#ifndef _NGX_STRICT_TLS_OWN_H_INCLUDED_
#define _NGX_STRICT_TLS_OWN_H_INCLUDED_


#include "ngx_strict_tls.h"

#include <strict_tls/own_chain.h>


#define NGX_STRICT_TLS_SELF_CHECK_OFF   0
#define NGX_STRICT_TLS_SELF_CHECK_WARN  1
#define NGX_STRICT_TLS_SELF_CHECK_FAIL  2


/* One file, as presented under one policy: judged once, whoever uses it. */

typedef struct {
    stls_role                       role;      /* as which it is presented */
    ngx_uint_t                      self_check;
    ngx_str_t                       file;      /* NUL-terminated */
    ngx_str_t                       key_file;
    ngx_str_t                       where;     /* the first use of it */
    ngx_array_t                     names;     /* char *, of all uses */

    const char                     *why_not;   /* it cannot be judged */
    STACK_OF(X509)                 *certs;     /* leaf first; NULL: why_not */
    EVP_PKEY                       *key;
    ngx_strict_tls_scope_t         *scope;

    char                            id[2 * STLS_ID_LEN + 1];
    stls_result                    *result;    /* the latest in this process */
    time_t                          judged;    /* ... and when that was */
    u_char                          news[STLS_ID_LEN];
    time_t                          next;      /* to be looked at again */
} ngx_strict_tls_own_t;


/* Where a chain is presented: a server, or a location with a TLS upstream. */

typedef struct {
    stls_role                       role;
    ngx_uint_t                      self_check;
    SSL_CTX                        *ssl_ctx;
    ngx_str_t                      *files;
    ngx_str_t                      *key_files; /* as many */
    ngx_uint_t                      nfiles;
    ngx_array_t                    *names;     /* char *; NULL: none */
    ngx_strict_tls_scope_t         *scope;     /* ngx_strict_tls_own_add() */
    ngx_str_t                       where;
    unsigned                        variables:1;
} ngx_strict_tls_own_use_t;


#pragma GCC visibility push(hidden)

/* ngx_strict_tls_own.c */
char *ngx_strict_tls_set_self_check(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_strict_tls_own_init(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf);
ngx_int_t ngx_strict_tls_own_add(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_strict_tls_own_use_t *use,
    ngx_strict_tls_scope_t *level_scope, ngx_resolver_t *resolver,
    const char *level, ngx_str_t *name);

/* ngx_strict_tls_own_judge.c */
ngx_int_t ngx_strict_tls_own_judge(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf);
ngx_uint_t ngx_strict_tls_own_tell(ngx_strict_tls_own_t *own,
    stls_result *result, ngx_log_t *log, ngx_uint_t error_level);
void ngx_strict_tls_own_chain(ngx_strict_tls_own_t *own,
    stls_own_chain *chain);

/* ngx_strict_tls_own_watch.c */
ngx_int_t ngx_strict_tls_own_watch(ngx_strict_tls_main_conf_t *mcf,
    ngx_cycle_t *cycle);

/* ngx_strict_tls_status.c */
char *ngx_strict_tls_set_status_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_strict_tls_status_add_zone(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_str_t *name, size_t size);
ngx_int_t ngx_strict_tls_status_default_zone(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf);
stls_status_page *ngx_strict_tls_status_page(ngx_strict_tls_main_conf_t *mcf);

#pragma GCC visibility pop


#endif /* _NGX_STRICT_TLS_OWN_H_INCLUDED_ */
