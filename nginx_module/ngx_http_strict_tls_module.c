/*
 * strict-tls for nginx: judges the TLS upstreams of proxy_pass, grpc_pass and
 * uwsgi_pass.  This file: directives, configuration, the module itself.
 */

#include "ngx_http_strict_tls.h"


static ngx_int_t ngx_http_strict_tls_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_strict_tls_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_strict_tls_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_strict_tls_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_strict_tls_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_strict_tls_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static void ngx_http_strict_tls_cleanup_conf(void *data);
static void ngx_http_strict_tls_exit_process(ngx_cycle_t *cycle);


#define NGX_HTTP_STRICT_TLS_LEVELS                                            \
    NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF

/*
 * One directive per policy key, whatever keys the core knows: "strict_tls_KEY".
 * The key "mode" is the directive "strict_tls" itself.
 */
#define NGX_HTTP_STRICT_TLS_NAME(sym, key)                                    \
    (STLS_KEY_##sym == STLS_KEY_MODE) ? "strict_tls" : "strict_tls_" key

#define NGX_HTTP_STRICT_TLS_NAME_LEN(sym, key)                                \
    (STLS_KEY_##sym == STLS_KEY_MODE) ? sizeof("strict_tls") - 1              \
                                      : sizeof("strict_tls_" key) - 1

#define NGX_HTTP_STRICT_TLS_COMMAND(sym, key, type, def, values, doc)         \
    { { NGX_HTTP_STRICT_TLS_NAME_LEN(sym, key),                               \
        (u_char *) (NGX_HTTP_STRICT_TLS_NAME(sym, key)) },                    \
      NGX_HTTP_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,                              \
      ngx_http_strict_tls_set_key,                                            \
      NGX_HTTP_LOC_CONF_OFFSET,                                               \
      STLS_KEY_##sym,                                                         \
      NULL },


static ngx_conf_num_bounds_t  ngx_http_strict_tls_entries_bounds = {
    ngx_conf_check_num_bounds, 0, 1000000
};


/* An empty name would quietly mean the system's trust store. */

static char *
ngx_http_strict_tls_not_empty(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t  *value = data;

    return value->len ? NGX_CONF_OK : "must name a file";
}


static ngx_conf_post_t  ngx_http_strict_tls_trusted_post = {
    ngx_http_strict_tls_not_empty
};


static ngx_command_t  ngx_http_strict_tls_commands[] = {

    STLS_POLICY_KEYS(NGX_HTTP_STRICT_TLS_COMMAND)

    { ngx_string("strict_tls_trusted_certificate"),
      NGX_HTTP_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_strict_tls_loc_conf_t, trusted_certificate),
      &ngx_http_strict_tls_trusted_post },

    { ngx_string("strict_tls_http_proxy"),
      NGX_HTTP_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,
      ngx_http_strict_tls_set_http_proxy,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("strict_tls_crl_path"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_path_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_strict_tls_main_conf_t, crl_path),
      NULL },

    { ngx_string("strict_tls_cache_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_strict_tls_set_cache_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("strict_tls_max_verdicts"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_strict_tls_main_conf_t, max_verdicts),
      &ngx_http_strict_tls_entries_bounds },

    { ngx_string("strict_tls_max_sessions"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_strict_tls_main_conf_t, max_sessions),
      &ngx_http_strict_tls_entries_bounds },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_strict_tls_module_ctx = {
    ngx_http_strict_tls_preconfiguration,  /* preconfiguration */
    ngx_http_strict_tls_postconfiguration, /* postconfiguration */

    ngx_http_strict_tls_create_main_conf,  /* create main configuration */
    ngx_http_strict_tls_init_main_conf,    /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_strict_tls_create_loc_conf,   /* create location configuration */
    ngx_http_strict_tls_merge_loc_conf     /* merge location configuration */
};


ngx_module_t  ngx_http_strict_tls_module = {
    NGX_MODULE_V1,
    &ngx_http_strict_tls_module_ctx,       /* module context */
    ngx_http_strict_tls_commands,          /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_strict_tls_exit_process,      /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_strict_tls_preconfiguration(ngx_conf_t *cf)
{
    if (ngx_http_strict_tls_handshake_init(cf->log) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_strict_tls_add_variables(cf);
}


static ngx_int_t
ngx_http_strict_tls_postconfiguration(ngx_conf_t *cf)
{
    ngx_str_t                         name;
    ngx_pool_cleanup_t               *cln;
    ngx_http_strict_tls_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module);

    if (!mcf->strict) {
        return NGX_OK;
    }

    if (mcf->zone == NULL) {
        ngx_str_set(&name, "strict_tls");

        mcf->zone = ngx_shared_memory_add(cf, &name, 4 * 1024 * 1024,
                                          &ngx_http_strict_tls_module);
        if (mcf->zone == NULL) {
            return NGX_ERROR;
        }

        mcf->zone->init = ngx_http_strict_tls_cache_init;
        mcf->zone->data = mcf;
    }

    mcf->worker = ngx_pcalloc(cf->pool, sizeof(ngx_http_strict_tls_worker_t));
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

    cln->handler = ngx_http_strict_tls_stop;
    cln->data = mcf->worker;

    return ngx_http_strict_tls_wrap_upstreams(cf, mcf);
}


static void *
ngx_http_strict_tls_create_main_conf(ngx_conf_t *cf)
{
    ngx_pool_cleanup_t               *cln;
    ngx_http_strict_tls_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_strict_tls_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     mcf->upstreams = { NULL };
     *     mcf->zone = NULL;
     *     mcf->resolver = NULL;
     *     mcf->worker = NULL;
     *     mcf->strict = 0;
     */

    if (ngx_array_init(&mcf->anchors, cf->pool, 4,
                       sizeof(ngx_http_strict_tls_anchors_t))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&mcf->policies, cf->pool, 4, sizeof(stls_policy *))
        != NGX_OK)
    {
        return NULL;
    }

    mcf->max_verdicts = NGX_CONF_UNSET;
    mcf->max_sessions = NGX_CONF_UNSET;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_strict_tls_cleanup_conf;
    cln->data = mcf;

    return mcf;
}


static char *
ngx_http_strict_tls_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_strict_tls_main_conf_t *mcf = conf;

    ngx_conf_init_value(mcf->max_verdicts, 4096);
    ngx_conf_init_value(mcf->max_sessions, 1024);

    return NGX_CONF_OK;
}


static void *
ngx_http_strict_tls_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_strict_tls_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_strict_tls_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->own = NULL;
     *     conf->settings = NULL;
     *     conf->trusted_certificate = { 0, NULL };
     *     conf->policy = NULL;
     *     conf->anchors = NULL;
     *     conf->resolver = NULL;
     */

    conf->mode = NGX_CONF_UNSET_UINT;
    conf->http_proxy = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_http_strict_tls_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_strict_tls_loc_conf_t *prev = parent;
    ngx_http_strict_tls_loc_conf_t *conf = child;

    ngx_conf_merge_uint_value(conf->mode, prev->mode, NGX_HTTP_STRICT_TLS_OFF);
    ngx_conf_merge_str_value(conf->trusted_certificate,
                              prev->trusted_certificate, "");
    ngx_conf_merge_ptr_value(conf->http_proxy, prev->http_proxy, NULL);

    return ngx_http_strict_tls_merge(cf, prev, conf);
}


static void
ngx_http_strict_tls_cleanup_conf(void *data)
{
    ngx_http_strict_tls_main_conf_t *mcf = data;

    ngx_uint_t                       i;
    stls_policy                    **policies;
    ngx_http_strict_tls_anchors_t   *anchors;

    policies = mcf->policies.elts;

    for (i = 0; i < mcf->policies.nelts; i++) {
        stls_policy_free(policies[i]);
    }

    anchors = mcf->anchors.elts;

    for (i = 0; i < mcf->anchors.nelts; i++) {
        stls_anchors_free(anchors[i].anchors);
    }
}


static void
ngx_http_strict_tls_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_strict_tls_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_strict_tls_module);

    if (mcf && mcf->worker) {
        ngx_http_strict_tls_stop(mcf->worker);
    }
}
