/*
 * strict-tls for nginx: judges the TLS upstreams of proxy_pass, grpc_pass and
 * uwsgi_pass, and the clients of servers that ask for certificates.  This file:
 * directives, configuration, the module itself.
 */

#include "ngx_http_strict_tls.h"
#include "ngx_strict_tls_own.h"


static ngx_int_t ngx_http_strict_tls_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_strict_tls_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_strict_tls_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_strict_tls_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_strict_tls_create_srv_conf(ngx_conf_t *cf);
static char *ngx_http_strict_tls_merge_srv_conf(ngx_conf_t *cf,
    void *parent, void *child);
static void *ngx_http_strict_tls_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_strict_tls_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_strict_tls_init_process(ngx_cycle_t *cycle);
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
      ngx_strict_tls_set_key,                                                 \
      NGX_HTTP_LOC_CONF_OFFSET,                                               \
      STLS_KEY_##sym,                                                         \
      (void *) offsetof(ngx_http_strict_tls_loc_conf_t, upstream) },

/* The same about clients: "strict_tls_client" and "strict_tls_client_KEY". */
#define NGX_HTTP_STRICT_TLS_CLIENT_COMMAND(sym, key, type, def, values, doc)  \
    { { (STLS_KEY_##sym == STLS_KEY_MODE)                                     \
        ? sizeof("strict_tls_client") - 1                                     \
        : sizeof("strict_tls_client_" key) - 1,                               \
        (u_char *) ((STLS_KEY_##sym == STLS_KEY_MODE)                         \
                    ? "strict_tls_client" : "strict_tls_client_" key) },      \
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,                    \
      ngx_strict_tls_set_key,                                                 \
      NGX_HTTP_SRV_CONF_OFFSET,                                               \
      STLS_KEY_##sym,                                                         \
      (void *) offsetof(ngx_http_strict_tls_srv_conf_t, client) },


static ngx_command_t  ngx_http_strict_tls_commands[] = {

    STLS_POLICY_KEYS(NGX_HTTP_STRICT_TLS_COMMAND)

    STLS_POLICY_KEYS(NGX_HTTP_STRICT_TLS_CLIENT_COMMAND)

    { ngx_string("strict_tls_client_trusted_certificate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_strict_tls_srv_conf_t, client.trusted_certificate),
      &ngx_strict_tls_not_empty },

    { ngx_string("strict_tls_trusted_certificate"),
      NGX_HTTP_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_strict_tls_loc_conf_t, upstream.trusted_certificate),
      &ngx_strict_tls_not_empty },

    { ngx_string("strict_tls_http_proxy"),
      NGX_HTTP_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,
      ngx_strict_tls_set_http_proxy,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_strict_tls_loc_conf_t, upstream.http_proxy),
      NULL },

    { ngx_string("strict_tls_self_check"),
      NGX_HTTP_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,
      ngx_strict_tls_set_self_check,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_strict_tls_loc_conf_t, self_check),
      NULL },

    { ngx_string("strict_tls_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_strict_tls_set_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("strict_tls_status_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_strict_tls_set_status_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("strict_tls_crl_path"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_path_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_strict_tls_main_conf_t, main.crl_path),
      NULL },

    { ngx_string("strict_tls_cache_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_strict_tls_set_cache_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("strict_tls_max_verdicts"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_strict_tls_main_conf_t, main.max_verdicts),
      &ngx_strict_tls_entries_bounds },

    { ngx_string("strict_tls_max_sessions"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_strict_tls_main_conf_t, main.max_sessions),
      &ngx_strict_tls_entries_bounds },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_strict_tls_module_ctx = {
    ngx_http_strict_tls_preconfiguration,  /* preconfiguration */
    ngx_http_strict_tls_postconfiguration, /* postconfiguration */

    ngx_http_strict_tls_create_main_conf,  /* create main configuration */
    ngx_http_strict_tls_init_main_conf,    /* init main configuration */

    ngx_http_strict_tls_create_srv_conf,   /* create server configuration */
    ngx_http_strict_tls_merge_srv_conf,    /* merge server configuration */

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
    ngx_http_strict_tls_init_process,      /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_strict_tls_exit_process,      /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_strict_tls_preconfiguration(ngx_conf_t *cf)
{
    if (ngx_strict_tls_handshake_init(cf->log) != NGX_OK
        || ngx_strict_tls_client_init(cf->log) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_strict_tls_watch_passes(cf,
            ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_strict_tls_add_variables(cf);
}


static ngx_int_t
ngx_http_strict_tls_postconfiguration(ngx_conf_t *cf)
{
    ngx_str_t                         zone;
    ngx_http_strict_tls_main_conf_t  *mcf;

    ngx_strict_tls_watch_end();

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_strict_tls_module);

    if (ngx_http_strict_tls_arm_servers(cf, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_strict_tls_own_servers(cf) != NGX_OK
        || ngx_strict_tls_own_judge(cf, &mcf->main) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_strict_tls_warn_idle(cf, &mcf->main,
                             "\"proxy_pass https://\", \"grpc_pass grpcs://\" "
                             "or \"uwsgi_pass suwsgi://\"");

    if (mcf->has_status
        && ngx_strict_tls_status_default_zone(cf, &mcf->main) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (mcf->strict && ngx_http_strict_tls_wrap_upstreams(cf, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!mcf->main.strict && mcf->main.owns.nelts == 0) {
        return NGX_OK;
    }

    ngx_str_set(&zone, "strict_tls");

    return ngx_strict_tls_create_worker(cf, &mcf->main, &zone);
}


static void *
ngx_http_strict_tls_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_strict_tls_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_strict_tls_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     mcf->upstreams = { NULL };
     */

    if (ngx_strict_tls_create_main_conf(cf, &mcf->main,
                                        &ngx_http_strict_tls_module)
        != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


static char *
ngx_http_strict_tls_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_strict_tls_main_conf_t *mcf = conf;

    ngx_strict_tls_init_main_conf(&mcf->main);

    return NGX_CONF_OK;
}


static void *
ngx_http_strict_tls_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_strict_tls_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_strict_tls_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    ngx_strict_tls_init_scope(&conf->client, STLS_ROLE_CLIENT);

    return conf;
}


static char *
ngx_http_strict_tls_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    return ngx_http_strict_tls_merge_client(cf, parent, child);
}


static void *
ngx_http_strict_tls_create_loc_conf(ngx_conf_t *cf)
{
    ngx_uint_t                       i;
    ngx_http_strict_tls_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_strict_tls_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->hosts[i].pass = NGX_HTTP_STRICT_TLS_PASS_NONE;
     *     conf->hosts[i].scope = NULL;
     */

    for (i = 0; i < NGX_HTTP_STRICT_TLS_HOSTS; i++) {
        conf->hosts[i].server_name = NGX_CONF_UNSET;
    }

    ngx_strict_tls_init_scope(&conf->upstream, STLS_ROLE_SERVER);

    conf->self_check = NGX_CONF_UNSET_UINT;

    return conf;
}


static char *
ngx_http_strict_tls_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    return ngx_http_strict_tls_merge(cf, parent, child);
}


static ngx_int_t
ngx_http_strict_tls_init_process(ngx_cycle_t *cycle)
{
    ngx_http_strict_tls_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_strict_tls_module);

    if (mcf) {
        ngx_strict_tls_own_watch(&mcf->main, cycle);
    }

    return NGX_OK;
}


static void
ngx_http_strict_tls_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_strict_tls_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_strict_tls_module);

    if (mcf && mcf->main.worker) {
        ngx_strict_tls_stop(mcf->main.worker);
    }
}
