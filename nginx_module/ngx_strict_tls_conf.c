/*
 * From settings to a frozen policy: inheriting them, building what a scope
 * needs; and what there is once per module.
 */

#include "ngx_strict_tls_own.h"


static ngx_int_t ngx_strict_tls_push_own(ngx_array_t *settings,
    ngx_strict_tls_scope_t *scope);
static stls_policy *ngx_strict_tls_share_policy(
    ngx_strict_tls_main_conf_t *mcf, ngx_strict_tls_scope_t *scope,
    stls_policy *policy);
static stls_policy *ngx_strict_tls_policy(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_strict_tls_scope_t *scope,
    const char *level, ngx_str_t *name);
static void ngx_strict_tls_find_sibling(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, const char *core, const char *name);
static void ngx_strict_tls_cleanup_conf(void *data);


/* ---- what there is once per module ---- */

/* `mcf` is zeroed: the first member of the module's main configuration. */

ngx_int_t
ngx_strict_tls_create_main_conf(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_module_t *module)
{
    ngx_pool_cleanup_t  *cln;

    if (ngx_array_init(&mcf->anchors, cf->pool, 4,
                       sizeof(ngx_strict_tls_anchors_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_array_init(&mcf->policies, cf->pool, 4,
                       sizeof(ngx_strict_tls_policy_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_strict_tls_own_init(cf, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_array_init(&mcf->crl_files, cf->pool, 1,
                       sizeof(ngx_strict_tls_crl_file_t *))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_array_init(&mcf->scopes, cf->pool, 16,
                       sizeof(ngx_strict_tls_scope_t *))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    mcf->size = sizeof(ngx_strict_tls_main_conf_t);
    mcf->module = module;

    ngx_strict_tls_find_sibling(cf, mcf, "ngx_http_module",
                                "ngx_http_strict_tls_module");
    ngx_strict_tls_find_sibling(cf, mcf, "ngx_stream_module",
                                "ngx_stream_strict_tls_module");

    mcf->max_verdicts = NGX_CONF_UNSET;
    mcf->max_sessions = NGX_CONF_UNSET;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_strict_tls_cleanup_conf;
    cln->data = mcf;

    return NGX_OK;
}


/*
 * One status page tells about http and stream: the one that is read second
 * finds the other.  Both module contexts begin with their main_conf.
 */

static void
ngx_strict_tls_find_sibling(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    const char *core, const char *name)
{
    void                       ***ctx;
    ngx_module_t                 *core_module, *module;
    ngx_strict_tls_main_conf_t   *sibling;

    core_module = ngx_strict_tls_find_module(cf->cycle, core);
    module = ngx_strict_tls_find_module(cf->cycle, name);

    if (core_module == NULL || module == NULL || module == mcf->module) {
        return;
    }

    ctx = (void ***) cf->cycle->conf_ctx[core_module->index];

    if (ctx == NULL || ctx[0] == NULL) {
        return;
    }

    sibling = ctx[0][module->ctx_index];

    if (sibling && sibling->size == mcf->size) {
        mcf->sibling = sibling;
        sibling->sibling = mcf;
    }
}


void
ngx_strict_tls_init_main_conf(ngx_strict_tls_main_conf_t *mcf)
{
    ngx_conf_init_value(mcf->max_verdicts, 4096);
    ngx_conf_init_value(mcf->max_sessions, 1024);
}


/* Once all scopes are built: makes the zone, unless it was named, and worker. */

ngx_int_t
ngx_strict_tls_create_worker(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_str_t *zone)
{
    ngx_pool_cleanup_t  *cln;

    if (mcf->zone == NULL) {
        mcf->zone = ngx_strict_tls_add_zone(cf, mcf, zone, 4 * 1024 * 1024,
                                            ngx_strict_tls_cache_init);
        if (mcf->zone == NULL) {
            return NGX_ERROR;
        }
    }

    mcf->worker = ngx_pcalloc(cf->pool, sizeof(ngx_strict_tls_worker_t));
    if (mcf->worker == NULL) {
        return NGX_ERROR;
    }

    mcf->worker->conf = mcf;

    /*
     * Cleanups run last in, first out: this one stops fetches before the
     * resolvers that they use, created while merging, are gone.
     */

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_strict_tls_stop;
    cln->data = mcf->worker;

    return NGX_OK;
}


/* nginx would let a module use one zone for two things: NULL then. */

ngx_shm_zone_t *
ngx_strict_tls_add_zone(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_str_t *name, size_t size, ngx_shm_zone_init_pt init)
{
    ngx_shm_zone_t  *zone;

    zone = ngx_shared_memory_add(cf, name, size, mcf->module);

    if (zone == NULL) {
        return NULL;
    }

    if (zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the strict_tls zone \"%V\" is already in use for "
                           "something else", name);
        return NULL;
    }

    zone->init = init;
    zone->data = mcf;

    return zone;
}


static void
ngx_strict_tls_cleanup_conf(void *data)
{
    ngx_strict_tls_main_conf_t *mcf = data;

    ngx_uint_t                  i;
    ngx_strict_tls_policy_t    *policies;
    ngx_strict_tls_anchors_t   *anchors;

    ngx_strict_tls_crl_file_cleanup(mcf);

    policies = mcf->policies.elts;

    for (i = 0; i < mcf->policies.nelts; i++) {
        stls_policy_free(policies[i].policy);
    }

    anchors = mcf->anchors.elts;

    for (i = 0; i < mcf->anchors.nelts; i++) {
        stls_anchors_free(anchors[i].anchors);
    }
}


/* ---- scopes ---- */

/* `scope` is zeroed. */

void
ngx_strict_tls_init_scope(ngx_strict_tls_scope_t *scope, stls_role role)
{
    scope->role = role;
    scope->mode = NGX_CONF_UNSET_UINT;
    scope->http_proxy = NGX_CONF_UNSET_PTR;
}


/* What is in effect above, in its order, then this level's own settings. */

ngx_int_t
ngx_strict_tls_inherit(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *prev, ngx_strict_tls_scope_t *scope)
{
    scope->parent = prev;

    if (ngx_strict_tls_list(mcf, prev) != NGX_OK
        || ngx_strict_tls_list(mcf, scope) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_conf_merge_uint_value(scope->mode, prev->mode, NGX_STRICT_TLS_OFF);
    ngx_conf_merge_str_value(scope->trusted_certificate,
                             prev->trusted_certificate, "");
    ngx_conf_merge_ptr_value(scope->http_proxy, prev->http_proxy, NULL);

    /* the topmost level is nobody's child: it has not been merged itself */

    if (prev->settings == NULL) {
        prev->settings = ngx_array_create(cf->pool, 4,
                                          sizeof(ngx_strict_tls_setting_t));
        if (prev->settings == NULL
            || ngx_strict_tls_push_own(prev->settings, prev) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (scope->own == NULL) {
        scope->settings = prev->settings;
        return NGX_OK;
    }

    scope->settings = ngx_array_create(cf->pool,
                                   prev->settings->nelts + scope->own->nelts,
                                   sizeof(ngx_strict_tls_setting_t));
    if (scope->settings == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_array_push_n(scope->settings, prev->settings->nelts),
               prev->settings->elts,
               prev->settings->nelts * sizeof(ngx_strict_tls_setting_t));

    return ngx_strict_tls_push_own(scope->settings, scope);
}


/*
 * A scope that has been merged begins with what is in effect in another one;
 * its own settings, of all levels, come after that.
 */

ngx_int_t
ngx_strict_tls_begin_with(ngx_conf_t *cf, ngx_strict_tls_scope_t *scope,
    ngx_strict_tls_scope_t *base)
{
    ngx_array_t  *settings;

    settings = ngx_array_create(cf->pool,
                                base->settings->nelts + scope->settings->nelts
                                + 1,
                                sizeof(ngx_strict_tls_setting_t));
    if (settings == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_array_push_n(settings, base->settings->nelts),
               base->settings->elts,
               base->settings->nelts * sizeof(ngx_strict_tls_setting_t));
    ngx_memcpy(ngx_array_push_n(settings, scope->settings->nelts),
               scope->settings->elts,
               scope->settings->nelts * sizeof(ngx_strict_tls_setting_t));

    scope->settings = settings;
    scope->http_proxy = base->http_proxy;

    return NGX_OK;
}


/* The preset resets what came before it, so it goes before its own level. */

static ngx_int_t
ngx_strict_tls_push_own(ngx_array_t *settings,
    ngx_strict_tls_scope_t *scope)
{
    ngx_uint_t                 i, preset;
    ngx_strict_tls_setting_t  *own, *setting;

    if (scope->own == NULL) {
        return NGX_OK;
    }

    own = scope->own->elts;

    for (preset = 1; /* void */ ; preset = 0) {

        for (i = 0; i < scope->own->nelts; i++) {

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


/* Of a server about its clients, whom it asks for certificates if `verify`. */

ngx_int_t
ngx_strict_tls_inherit_client(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *prev, ngx_strict_tls_scope_t *client,
    ngx_uint_t verify)
{
    if (client->mode != NGX_CONF_UNSET_UINT
        && client->mode != NGX_STRICT_TLS_OFF
        && !verify)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"strict_tls_client\" has nobody to judge: "
                           "no certificate is asked for without "
                           "\"ssl_verify_client\"");
        return NGX_ERROR;
    }

    return ngx_strict_tls_inherit(cf, mcf, prev, client);
}


/*
 * The scope of the server `where` about its clients, which begins with that
 * about its upstreams.  `certificate` and `more` are what nginx itself trusts:
 * both files, which it has loaded into client->loaded, and no client because of
 * the system's store.
 */

ngx_int_t
ngx_strict_tls_build_client(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *client, ngx_strict_tls_scope_t *upstream,
    ngx_str_t *certificate, ngx_str_t *more, ngx_resolver_t *resolver,
    ngx_str_t *where)
{
    ngx_str_t  trusted;

    if (ngx_strict_tls_begin_with(cf, client, upstream) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_strict_tls_counts(upstream);
    ngx_strict_tls_judges(client);

    trusted = client->trusted_certificate;

    if (trusted.len) {
        client->loaded = NULL;
    }

    if (trusted.len == 0) {
        trusted = *certificate;
        client->also_trusted = *more;
    }

    if (trusted.len == 0) {
        trusted = client->also_trusted;
        ngx_str_null(&client->also_trusted);
    }

    if (trusted.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"strict_tls_client\" in server \"%V\" needs to "
                           "know whom to trust: set "
                           "\"ssl_client_certificate\" or "
                           "\"strict_tls_client_trusted_certificate\"",
                           where);
        return NGX_ERROR;
    }

    return ngx_strict_tls_build(cf, mcf, client, &trusted, resolver, "server",
                                where);
}


/*
 * Everything that a strict scope needs, `trusted` naming its anchors, the
 * system's if empty.  `level` and `name` say where, "location" and "/": the
 * settings there may contradict each other.
 */

ngx_int_t
ngx_strict_tls_build(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *scope, ngx_str_t *trusted,
    ngx_resolver_t *resolver, const char *level, ngx_str_t *name)
{
    scope->main_conf = mcf;

    scope->anchors = ngx_strict_tls_anchors(cf, mcf, trusted,
                                            &scope->also_trusted,
                                            scope->loaded, NGX_LOG_EMERG);
    if (scope->anchors == NULL) {
        return NGX_ERROR;
    }

    if (ngx_strict_tls_find_resolver(cf, mcf, scope, resolver) != NGX_OK) {
        return NGX_ERROR;
    }

    scope->policy = ngx_strict_tls_policy(cf, mcf, scope, level, name);
    if (scope->policy == NULL) {
        return NGX_ERROR;
    }

    if (*stls_policy_get0_text(scope->policy, STLS_KEY_CRL_FILE) != '\0') {
        scope->crl_file = ngx_strict_tls_crl_file(cf, mcf, scope->policy);
        if (scope->crl_file == NULL) {
            return NGX_ERROR;
        }
    }

    scope->report = (scope->mode == NGX_STRICT_TLS_REPORT);
    scope->nonce = (ngx_strcmp(stls_policy_get0_text(scope->policy,
                                                    STLS_KEY_OCSP_NONCE),
                              "on")
                   == 0);
    scope->fetch_total = stls_policy_get_int(scope->policy,
                                            STLS_KEY_FETCH_TOTAL_MS);
    scope->negative_ttl = stls_policy_get_int(scope->policy,
                                             STLS_KEY_NEGATIVE_TTL_S);

    /*
     * The core, not OpenSSL, shall say that a chain is too long: what comes
     * with the certificates in the message (TLS 1.3 staples) needs room too.
     */
    scope->max_cert_list = stls_policy_get_int(scope->policy,
                                               STLS_KEY_MAX_CHAIN_BYTES)
                          + SSL_MAX_CERT_LIST_DEFAULT;

    mcf->strict = 1;

    return NGX_OK;
}


static stls_policy *
ngx_strict_tls_policy(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *scope, const char *level, ngx_str_t *name)
{
    ngx_uint_t                 i;
    stls_error                 err;
    stls_policy               *policy;
    stls_status                status;
    ngx_strict_tls_setting_t  *setting;

    policy = stls_policy_new(NULL);
    if (policy == NULL) {
        return NULL;
    }

    err.text[0] = '\0';
    status = stls_policy_set(policy, "mode",
                             scope->mode == NGX_STRICT_TLS_REPORT
                             ? "report" : "enforce", &err);

    /* remedies name directives of nginx */

    if (status == STLS_OK) {
        status = stls_policy_set_directives(policy, STLS_DIRECTIVES_NGINX);
    }

    setting = scope->settings ? scope->settings->elts : NULL;

    for (i = 0; setting && i < scope->settings->nelts && status == STLS_OK;
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
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the strict_tls directives in effect in "
                           "%s \"%V\" contradict each other: %s",
                           level, name, err.text);
        stls_policy_free(policy);
        return NULL;
    }

    return ngx_strict_tls_share_policy(mcf, scope, policy);
}


/* Takes the policy over: equal ones, on the same way, are one object. */

static stls_policy *
ngx_strict_tls_share_policy(ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_scope_t *scope, stls_policy *policy)
{
    ngx_uint_t                i;
    ngx_strict_tls_policy_t  *shared;

    scope->way = mcf->nways;
    shared = mcf->policies.elts;

    for (i = 0; i < mcf->policies.nelts; i++) {

        if (shared[i].resolver != scope->resolver
            || shared[i].http_proxy != scope->http_proxy)
        {
            continue;
        }

        scope->way = shared[i].way;

        if (ngx_memcmp(stls_policy_get0_id(shared[i].policy),
                       stls_policy_get0_id(policy), STLS_ID_LEN)
            == 0)
        {
            stls_policy_free(policy);
            return shared[i].policy;
        }
    }

    shared = ngx_array_push(&mcf->policies);
    if (shared == NULL) {
        stls_policy_free(policy);
        return NULL;
    }

    shared->policy = policy;
    shared->resolver = scope->resolver;
    shared->http_proxy = scope->http_proxy;
    shared->way = scope->way;

    if (scope->way == mcf->nways) {
        mcf->nways++;
    }

    return policy;
}
