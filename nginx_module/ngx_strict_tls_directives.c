/*
 * Setting keys: the directives that the http and the stream module share.
 */

#include "ngx_strict_tls.h"


static char *ngx_strict_tls_check_not_empty(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_strict_tls_set_mode(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_strict_tls_scope_t *scope);
static void ngx_strict_tls_set_place(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_strict_tls_place_t *place);
static ngx_strict_tls_setting_t *ngx_strict_tls_find_setting(
    ngx_array_t *settings, ngx_uint_t key);


static ngx_str_t  ngx_strict_tls_modes[] = {
    ngx_string("off"),
    ngx_string("on"),
    ngx_string("report"),
    ngx_null_string
};


/* For strict_tls_max_verdicts and strict_tls_max_sessions. */

ngx_conf_num_bounds_t  ngx_strict_tls_entries_bounds = {
    ngx_conf_check_num_bounds, 0, 1000000
};


/* An empty file name would quietly mean the system's trust store. */

ngx_conf_post_t  ngx_strict_tls_not_empty = {
    ngx_strict_tls_check_not_empty
};


static char *
ngx_strict_tls_check_not_empty(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t  *value = data;

    return value->len ? NGX_CONF_OK : "must name a file";
}


/* cmd->offset is the key, cmd->post the offset of the scope in `conf`. */

char *
ngx_strict_tls_set_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                 *value;
    stls_error                 err;
    stls_policy               *scratch;
    stls_status                status;
    const char                *key;
    ngx_strict_tls_scope_t    *scope;
    ngx_strict_tls_setting_t  *setting;

    scope = (ngx_strict_tls_scope_t *)
                ((u_char *) conf + (uintptr_t) cmd->post);

    if (cmd->offset == STLS_KEY_MODE) {
        return ngx_strict_tls_set_mode(cf, cmd, scope);
    }

    if (scope->own == NULL) {
        scope->own = ngx_array_create(cf->pool, 4,
                                      sizeof(ngx_strict_tls_setting_t));
        if (scope->own == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_strict_tls_find_setting(scope->own, cmd->offset)) {
        return "is duplicate";
    }

    if (scope->key_at.file == NULL) {
        ngx_strict_tls_set_place(cf, cmd, &scope->key_at);
    }

    value = cf->args->elts;
    key = stls_policy_keys()[cmd->offset].name;

    /* a value is judged where it was written: the error names file and line */

    scratch = stls_policy_new(NULL);
    if (scratch == NULL) {
        return NGX_CONF_ERROR;
    }

    err.text[0] = '\0';
    status = stls_policy_set(scratch, key, (char *) value[1].data, &err);

    stls_policy_free(scratch);

    if (status != STLS_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" directive: %s", &cmd->name, err.text);
        return NGX_CONF_ERROR;
    }

    setting = ngx_array_push(scope->own);
    if (setting == NULL) {
        return NGX_CONF_ERROR;
    }

    setting->key = cmd->offset;
    setting->value = (char *) value[1].data;

    return NGX_CONF_OK;
}


static char *
ngx_strict_tls_set_mode(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_strict_tls_scope_t *scope)
{
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (scope->mode != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 0; ngx_strict_tls_modes[i].len; i++) {

        if (value[1].len == ngx_strict_tls_modes[i].len
            && ngx_strcmp(value[1].data, ngx_strict_tls_modes[i].data)
               == 0)
        {
            scope->mode = i;
            ngx_strict_tls_set_place(cf, cmd, &scope->mode_at);
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\" directive, "
                       "it must be \"on\", \"off\" or \"report\"",
                       &value[1], &cmd->name);

    return NGX_CONF_ERROR;
}


static void
ngx_strict_tls_set_place(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_strict_tls_place_t *place)
{
    place->file = cf->conf_file->file.name.data;
    place->line = cf->conf_file->line;
    place->directive = cmd->name;
}


char *
ngx_strict_tls_set_http_proxy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_url_t      u;
    ngx_str_t     *value;
    ngx_uint_t     i;
    ngx_addr_t    *addr;
    ngx_array_t  **http_proxy;

    http_proxy = (ngx_array_t **) ((u_char *) conf + cmd->offset);

    if (*http_proxy != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        *http_proxy = NULL;
        return NGX_CONF_OK;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = value[1];
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK
        || u.uri.len
        || (u.family != AF_UNIX && u.no_port))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\" directive, "
                           "it must be \"HOST:PORT\" or \"off\"",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    if (u.naddrs == 0 && ngx_inet_resolve_host(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in \"%V\" directive \"%V\"",
                           u.err ? u.err : "no address", &cmd->name,
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    *http_proxy = ngx_array_create(cf->pool, 1, sizeof(ngx_addr_t));
    if (*http_proxy == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < u.naddrs; i++) {
        addr = ngx_array_push(*http_proxy);
        if (addr == NULL) {
            return NGX_CONF_ERROR;
        }

        *addr = u.addrs[i];
    }

    return NGX_CONF_OK;
}


char *
ngx_strict_tls_set_cache_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_strict_tls_main_conf_t *mcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (mcf->zone) {
        return "is duplicate";
    }

    size = ngx_strict_tls_zone_size(cf, 32 * ngx_pagesize);

    if (size == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    mcf->zone = ngx_strict_tls_add_zone(cf, mcf, &value[1], size,
                                        ngx_strict_tls_cache_init);

    return mcf->zone ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* Of a directive "name size"; NGX_ERROR: said what is wrong with one of them. */

ssize_t
ngx_strict_tls_zone_size(ngx_conf_t *cf, size_t min)
{
    ssize_t     size;
    ngx_str_t  *value;

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone name \"%V\"", &value[1]);
        return NGX_ERROR;
    }

    size = ngx_parse_size(&value[2]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", &value[2]);
        return NGX_ERROR;
    }

    if (size < (ssize_t) min) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small, it must be at least %uz",
                           &value[1], min);
        return NGX_ERROR;
    }

    return size;
}


static ngx_strict_tls_setting_t *
ngx_strict_tls_find_setting(ngx_array_t *settings, ngx_uint_t key)
{
    ngx_uint_t                 i;
    ngx_strict_tls_setting_t  *setting;

    setting = settings->elts;

    for (i = 0; i < settings->nelts; i++) {
        if (setting[i].key == key) {
            return &setting[i];
        }
    }

    return NULL;
}
