/*
 * Other modules' configuration: where a directive keeps its value, and what
 * was written with it.
 */

#include "ngx_strict_tls.h"


#define NGX_STRICT_TLS_MAX_WATCHES  12


/* A directive of another module while the configuration is read. */

typedef struct {
    ngx_command_t                  *cmd;
    ngx_strict_tls_set_pt           set;       /* that module's handler */
    ngx_strict_tls_seen_pt          seen;
    ngx_uint_t                      data;
} ngx_strict_tls_watch_t;


static char *ngx_strict_tls_watched(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_strict_tls_set_pt ngx_strict_tls_handler_of(ngx_command_t *cmd);
static void ngx_strict_tls_watch_cleanup(void *data);


static ngx_strict_tls_watch_t  ngx_strict_tls_watches[
                                                   NGX_STRICT_TLS_MAX_WATCHES];
static ngx_uint_t              ngx_strict_tls_nwatches;


/* ---- what was written ---- */

/*
 * Some of what a directive says cannot be found in the configuration of its
 * module: a value that was merged with a default, or one that no directive
 * leads to.  So its handler is replaced while the configuration is read, and
 * `seen` is called with `data` after it has succeeded.  Ends with
 * ngx_strict_tls_watch_end(), at the latest with the cycle's pool.
 */

ngx_int_t
ngx_strict_tls_watch(ngx_conf_t *cf, ngx_module_t *module, ngx_str_t *name,
    ngx_strict_tls_seen_pt seen, ngx_uint_t data)
{
    ngx_command_t           *cmd;
    ngx_pool_cleanup_t      *cln;
    ngx_strict_tls_watch_t  *watch;

    if (ngx_strict_tls_nwatches == 0) {

        cln = ngx_pool_cleanup_add(cf->cycle->pool, 0);
        if (cln == NULL) {
            return NGX_ERROR;
        }

        cln->handler = ngx_strict_tls_watch_cleanup;
    }

    for (cmd = module->commands; cmd && cmd->name.len; cmd++) {

        if (cmd->name.len != name->len
            || ngx_strncmp(cmd->name.data, name->data, name->len) != 0
            || cmd->set == ngx_strict_tls_watched)
        {
            continue;
        }

        if (ngx_strict_tls_nwatches == NGX_STRICT_TLS_MAX_WATCHES) {
            return NGX_ERROR;
        }

        watch = &ngx_strict_tls_watches[ngx_strict_tls_nwatches++];

        watch->cmd = cmd;
        watch->set = cmd->set;
        watch->seen = seen;
        watch->data = data;

        cmd->set = ngx_strict_tls_watched;
    }

    return NGX_OK;
}


void
ngx_strict_tls_watch_end(void)
{
    ngx_strict_tls_watch_t  *watch;

    while (ngx_strict_tls_nwatches) {
        watch = &ngx_strict_tls_watches[--ngx_strict_tls_nwatches];

        watch->cmd->set = watch->set;
    }
}


static void
ngx_strict_tls_watch_cleanup(void *data)
{
    ngx_strict_tls_watch_end();
}


static char *
ngx_strict_tls_watched(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                    *rv;
    ngx_str_t                value;
    ngx_uint_t               i;
    ngx_strict_tls_watch_t  *watch;

    for (i = 0; i < ngx_strict_tls_nwatches; i++) {

        watch = &ngx_strict_tls_watches[i];

        if (watch->cmd != cmd) {
            continue;
        }

        value = (cf->args->nelts > 1) ? ((ngx_str_t *) cf->args->elts)[1]
                                      : (ngx_str_t) ngx_null_string;

        rv = watch->set(cf, cmd, conf);

        return (rv == NGX_CONF_OK) ? watch->seen(cf, &value, watch->data) : rv;
    }

    return NGX_CONF_ERROR;
}


/* The module's own, watched or not. */

static ngx_strict_tls_set_pt
ngx_strict_tls_handler_of(ngx_command_t *cmd)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_strict_tls_nwatches; i++) {
        if (ngx_strict_tls_watches[i].cmd == cmd) {
            return ngx_strict_tls_watches[i].set;
        }
    }

    return cmd->set;
}


/* ---- where it is kept ---- */

/* By name, for each of these modules may be missing from the binary. */

ngx_module_t *
ngx_strict_tls_find_module(ngx_cycle_t *cycle, const char *name)
{
    ngx_uint_t  i;

    for (i = 0; cycle->modules[i]; i++) {

        if (ngx_strcmp(cycle->modules[i]->name, name) == 0) {
            return cycle->modules[i];
        }
    }

    return NULL;
}


/*
 * Where the directive `name` of a module keeps its value in that module's
 * `conf`, whose type is the module's secret; NULL if there is no such directive
 * or if it is not set by `set`.
 */

void *
ngx_strict_tls_conf_slot(ngx_module_t *module, void *conf, ngx_str_t *name,
    ngx_strict_tls_set_pt set)
{
    ngx_command_t  *cmd;

    for (cmd = module->commands; cmd && cmd->name.len; cmd++) {

        if (cmd->name.len == name->len
            && ngx_strncmp(cmd->name.data, name->data, name->len) == 0
            && ngx_strict_tls_handler_of(cmd) == set)
        {
            return (u_char *) conf + cmd->offset;
        }
    }

    return NULL;
}


ngx_str_t *
ngx_strict_tls_conf_str(ngx_module_t *module, void *conf, ngx_str_t *name)
{
    return ngx_strict_tls_conf_slot(module, conf, name, ngx_conf_set_str_slot);
}


/* nginx reads its CRLs only for a verification of its own. */

void
ngx_strict_tls_unread_crl(ngx_conf_t *cf, ngx_str_t *directive,
    const char *level, ngx_str_t *where)
{
    ngx_str_t  prefix;

    prefix.data = directive->data;
    prefix.len = directive->len - (sizeof("crl") - 1);

    ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                       "\"%V\" in %s \"%V\" is not looked at without "
                       "\"%Vverify on\": set that, or name the CRLs with "
                       "\"strict_tls_crl_file\"",
                       directive, level, where, &prefix);
}
