/*
 * From directives to a frozen policy: setting keys, inheriting them, and
 * arming the locations that have a TLS upstream.
 */

#include "ngx_http_strict_tls.h"


static char *ngx_http_strict_tls_set_mode(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *conf);
static ngx_http_strict_tls_setting_t *ngx_http_strict_tls_find_setting(
    ngx_array_t *settings, ngx_uint_t key);
static ngx_int_t ngx_http_strict_tls_inherit(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *prev,
    ngx_http_strict_tls_loc_conf_t *conf);
static ngx_int_t ngx_http_strict_tls_push_own(ngx_array_t *settings,
    ngx_http_strict_tls_loc_conf_t *conf);
static stls_policy *ngx_http_strict_tls_policy(ngx_conf_t *cf,
    ngx_http_strict_tls_main_conf_t *mcf,
    ngx_http_strict_tls_loc_conf_t *conf);
static ngx_int_t ngx_http_strict_tls_arm(ngx_conf_t *cf,
    ngx_uint_t *armed);


static ngx_str_t  ngx_http_strict_tls_modes[] = {
    ngx_string("off"),
    ngx_string("on"),
    ngx_string("report"),
    ngx_null_string
};


char *
ngx_http_strict_tls_set_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_strict_tls_loc_conf_t *slcf = conf;

    ngx_str_t                      *value;
    stls_error                      err;
    stls_policy                    *scratch;
    stls_status                     status;
    const char                     *key;
    ngx_http_strict_tls_setting_t  *setting;

    if (cmd->offset == STLS_KEY_MODE) {
        return ngx_http_strict_tls_set_mode(cf, slcf);
    }

    if (slcf->own == NULL) {
        slcf->own = ngx_array_create(cf->pool, 4,
                                     sizeof(ngx_http_strict_tls_setting_t));
        if (slcf->own == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_strict_tls_find_setting(slcf->own, cmd->offset)) {
        return "is duplicate";
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

    setting = ngx_array_push(slcf->own);
    if (setting == NULL) {
        return NGX_CONF_ERROR;
    }

    setting->key = cmd->offset;
    setting->value = (char *) value[1].data;

    return NGX_CONF_OK;
}


static char *
ngx_http_strict_tls_set_mode(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *conf)
{
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (conf->mode != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 0; ngx_http_strict_tls_modes[i].len; i++) {

        if (value[1].len == ngx_http_strict_tls_modes[i].len
            && ngx_strcmp(value[1].data, ngx_http_strict_tls_modes[i].data)
               == 0)
        {
            conf->mode = i;
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"strict_tls\" directive, "
                       "it must be \"on\", \"off\" or \"report\"", &value[1]);

    return NGX_CONF_ERROR;
}


char *
ngx_http_strict_tls_set_http_proxy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_strict_tls_loc_conf_t *slcf = conf;

    ngx_url_t     u;
    ngx_str_t    *value;
    ngx_uint_t    i;
    ngx_addr_t   *addr;

    if (slcf->http_proxy != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        slcf->http_proxy = NULL;
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

    slcf->http_proxy = ngx_array_create(cf->pool, 1, sizeof(ngx_addr_t));
    if (slcf->http_proxy == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < u.naddrs; i++) {
        addr = ngx_array_push(slcf->http_proxy);
        if (addr == NULL) {
            return NGX_CONF_ERROR;
        }

        *addr = u.addrs[i];
    }

    return NGX_CONF_OK;
}


char *
ngx_http_strict_tls_set_cache_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_strict_tls_main_conf_t *mcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (mcf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone name \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    size = ngx_parse_size(&value[2]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (size < (ssize_t) (32 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small, it must be at least %uz",
                           &value[1], (size_t) (32 * ngx_pagesize));
        return NGX_CONF_ERROR;
    }

    mcf->zone = ngx_shared_memory_add(cf, &value[1], size,
                                      &ngx_http_strict_tls_module);
    if (mcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    mcf->zone->init = ngx_http_strict_tls_cache_init;
    mcf->zone->data = mcf;

    return NGX_CONF_OK;
}


static ngx_http_strict_tls_setting_t *
ngx_http_strict_tls_find_setting(ngx_array_t *settings, ngx_uint_t key)
{
    ngx_uint_t                      i;
    ngx_http_strict_tls_setting_t  *setting;

    setting = settings->elts;

    for (i = 0; i < settings->nelts; i++) {
        if (setting[i].key == key) {
            return &setting[i];
        }
    }

    return NULL;
}


char *
ngx_http_strict_tls_merge(ngx_conf_t *cf, ngx_http_strict_tls_loc_conf_t *prev,
    ngx_http_strict_tls_loc_conf_t *conf)
{
    ngx_uint_t                        armed;
    ngx_http_strict_tls_main_conf_t  *mcf;

    if (ngx_http_strict_tls_inherit(cf, prev, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->mode == NGX_HTTP_STRICT_TLS_OFF) {
        return NGX_CONF_OK;
    }

    if (ngx_http_strict_tls_arm(cf, &armed) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (!armed) {
        return NGX_CONF_OK;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module);

    conf->anchors = ngx_http_strict_tls_anchors(cf, mcf, conf);
    if (conf->anchors == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_strict_tls_find_resolver(cf, mcf, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    conf->policy = ngx_http_strict_tls_policy(cf, mcf, conf);
    if (conf->policy == NULL) {
        return NGX_CONF_ERROR;
    }

    conf->report = (conf->mode == NGX_HTTP_STRICT_TLS_REPORT);
    conf->nonce = (ngx_strcmp(stls_policy_get0_text(conf->policy,
                                                    STLS_KEY_OCSP_NONCE),
                              "on")
                   == 0);
    conf->fetch_total = stls_policy_get_int(conf->policy,
                                            STLS_KEY_FETCH_TOTAL_MS);
    conf->negative_ttl = stls_policy_get_int(conf->policy,
                                             STLS_KEY_NEGATIVE_TTL_S);

    /*
     * The core, not OpenSSL, shall say that a chain is too long: what comes
     * with the certificates in the message (TLS 1.3 staples) needs room too.
     */
    conf->max_cert_list = stls_policy_get_int(conf->policy,
                                              STLS_KEY_MAX_CHAIN_BYTES)
                          + SSL_MAX_CERT_LIST_DEFAULT;

    mcf->strict = 1;

    return NGX_CONF_OK;
}


/* What is in effect above, in its order, then this level's own settings. */

static ngx_int_t
ngx_http_strict_tls_inherit(ngx_conf_t *cf,
    ngx_http_strict_tls_loc_conf_t *prev, ngx_http_strict_tls_loc_conf_t *conf)
{
    /* the http level is nobody's child: it has not been merged itself */

    if (prev->settings == NULL) {
        prev->settings = ngx_array_create(cf->pool, 4,
                                       sizeof(ngx_http_strict_tls_setting_t));
        if (prev->settings == NULL
            || ngx_http_strict_tls_push_own(prev->settings, prev) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (conf->own == NULL) {
        conf->settings = prev->settings;
        return NGX_OK;
    }

    conf->settings = ngx_array_create(cf->pool,
                                    prev->settings->nelts + conf->own->nelts,
                                    sizeof(ngx_http_strict_tls_setting_t));
    if (conf->settings == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_array_push_n(conf->settings, prev->settings->nelts),
               prev->settings->elts,
               prev->settings->nelts * sizeof(ngx_http_strict_tls_setting_t));

    return ngx_http_strict_tls_push_own(conf->settings, conf);
}


/* The preset resets what came before it, so it goes before its own level. */

static ngx_int_t
ngx_http_strict_tls_push_own(ngx_array_t *settings,
    ngx_http_strict_tls_loc_conf_t *conf)
{
    ngx_uint_t                      i, preset;
    ngx_http_strict_tls_setting_t  *own, *setting;

    if (conf->own == NULL) {
        return NGX_OK;
    }

    own = conf->own->elts;

    for (preset = 1; /* void */ ; preset = 0) {

        for (i = 0; i < conf->own->nelts; i++) {

            if ((own[i].key == STLS_KEY_PRESET) != preset) {
                continue;
            }

            setting = ngx_array_push(settings);
            if (setting == NULL) {
                return NGX_ERROR;
            }

            *setting = own[i];
        }

        if (!preset) {
            return NGX_OK;
        }
    }
}


static stls_policy *
ngx_http_strict_tls_policy(ngx_conf_t *cf,
    ngx_http_strict_tls_main_conf_t *mcf, ngx_http_strict_tls_loc_conf_t *conf)
{
    ngx_uint_t                       i;
    stls_error                       err;
    stls_policy                     *policy, **policies;
    stls_status                      status;
    ngx_http_core_loc_conf_t        *clcf;
    ngx_http_strict_tls_setting_t   *setting;

    policy = stls_policy_new(NULL);
    if (policy == NULL) {
        return NULL;
    }

    err.text[0] = '\0';
    status = stls_policy_set(policy, "mode",
                             conf->mode == NGX_HTTP_STRICT_TLS_REPORT
                             ? "report" : "enforce", &err);

    setting = conf->settings ? conf->settings->elts : NULL;

    for (i = 0; setting && i < conf->settings->nelts && status == STLS_OK;
         i++)
    {
        status = stls_policy_set(policy,
                                 stls_policy_keys()[setting[i].key].name,
                                 setting[i].value, &err);
    }

    if (status == STLS_OK) {
        status = stls_policy_freeze(policy, &err);
    }

    if (status != STLS_OK) {
        clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the strict_tls directives in effect in "
                           "location \"%V\" contradict each other: %s",
                           &clcf->name, err.text);
        stls_policy_free(policy);
        return NULL;
    }

    policies = mcf->policies.elts;

    for (i = 0; i < mcf->policies.nelts; i++) {
        if (ngx_memcmp(stls_policy_get0_id(policies[i]),
                       stls_policy_get0_id(policy), STLS_ID_LEN)
            == 0)
        {
            stls_policy_free(policy);
            return policies[i];
        }
    }

    policies = ngx_array_push(&mcf->policies);
    if (policies == NULL) {
        stls_policy_free(policy);
        return NULL;
    }

    *policies = policy;

    return policy;
}


/*
 * All merges of the upstream modules are over by now.  Each one's location
 * configuration begins with ngx_http_upstream_conf_t.
 */

static ngx_int_t
ngx_http_strict_tls_arm(ngx_conf_t *cf, ngx_uint_t *armed)
{
    ngx_uint_t                 i;
    ngx_module_t              *module;
    ngx_http_upstream_conf_t  *ucf;

    *armed = 0;

    for (i = 0; ngx_http_strict_tls_hosts[i]; i++) {

        ucf = ngx_http_strict_tls_module_conf(cf, ngx_http_strict_tls_hosts[i],
                                              &module);

        if (ucf == NULL || ucf->ssl == NULL || ucf->ssl->ctx == NULL) {
            continue;
        }

        if (ngx_http_strict_tls_install(ucf->ssl->ctx, cf->log) != NGX_OK) {
            return NGX_ERROR;
        }

        /* without it servers of many names present the wrong certificate */
        ucf->ssl_server_name = 1;

        *armed = 1;
    }

    return NGX_OK;
}
