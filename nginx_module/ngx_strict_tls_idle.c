/*
 * What was configured and does nothing, or would not be seen: nginx -t says so,
 * with file and line.
 */

#include "ngx_strict_tls.h"


static void ngx_strict_tls_warn_place(ngx_conf_t *cf,
    ngx_strict_tls_place_t *place, const char *why, const char *what);


/* Of each level, once. */

ngx_int_t
ngx_strict_tls_list(ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *scope)
{
    ngx_strict_tls_scope_t  **place;

    if (scope->listed) {
        return NGX_OK;
    }

    place = ngx_array_push(&mcf->scopes);
    if (place == NULL) {
        return NGX_ERROR;
    }

    *place = scope;
    scope->listed = 1;

    return NGX_OK;
}


/* Peers are judged under it: no level above it is idle. */

void
ngx_strict_tls_judges(ngx_strict_tls_scope_t *scope)
{
    ngx_strict_tls_counts(scope);

    for ( /* void */ ; scope; scope = scope->parent) {
        scope->judges = 1;
    }
}


/* Its settings serve for something, be it our own chains. */

void
ngx_strict_tls_counts(ngx_strict_tls_scope_t *scope)
{
    for ( /* void */ ; scope; scope = scope->parent) {
        scope->counts = 1;
    }
}


/* When everything is built; `tls` is what makes upstreams TLS. */

void
ngx_strict_tls_warn_idle(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    const char *tls)
{
    ngx_uint_t                i;
    ngx_strict_tls_scope_t  **scopes, *scope;

    scopes = mcf->scopes.elts;

    for (i = 0; i < mcf->scopes.nelts; i++) {
        scope = scopes[i];

        if (scope->role == STLS_ROLE_SERVER
            && scope->mode_at.file
            && scope->mode != NGX_STRICT_TLS_OFF
            && !scope->judges)
        {
            ngx_strict_tls_warn_place(cf, &scope->mode_at,
                                      "no upstream is TLS here, by ", tls);
            continue;
        }

        if (scope->key_at.file && !scope->counts) {
            ngx_strict_tls_warn_place(cf, &scope->key_at,
                       "nobody is judged here: set ",
                       scope->role == STLS_ROLE_CLIENT
                       ? "\"strict_tls_client on\"" : "\"strict_tls on\"");
        }
    }
}


static void
ngx_strict_tls_warn_place(ngx_conf_t *cf, ngx_strict_tls_place_t *place,
    const char *why, const char *what)
{
    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "\"%V\" has no effect: %s%s in %s:%ui", &place->directive,
                  why, what, place->file, place->line);
}


/* What report mode finds is told at level "warn": does this log show that? */

void
ngx_strict_tls_warn_log(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *scope, ngx_log_t *log)
{
    if (scope->mode != NGX_STRICT_TLS_REPORT || mcf->log_warned) {
        return;
    }

    for ( /* void */ ; log; log = log->next) {
        if (log->log_level >= NGX_LOG_WARN) {
            return;
        }
    }

    mcf->log_warned = 1;

    while (scope->mode_at.file == NULL && scope->parent) {
        scope = scope->parent;
    }

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "\"%V report\" tells what it would reject at level warn, "
                  "which the error log there does not show: set "
                  "\"error_log FILE warn\" in %s:%ui",
                  &scope->mode_at.directive, scope->mode_at.file,
                  scope->mode_at.line);
}
