/*
 * strict-tls for nginx: judges the TLS upstreams of stream's proxy_pass, and
 * the clients of servers that ask for certificates.  This file: directives,
 * configuration, the module itself.
 */

#include "ngx_stream_strict_tls.h"
#include "ngx_strict_tls_own.h"


static ngx_int_t ngx_stream_strict_tls_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_stream_strict_tls_postconfiguration(ngx_conf_t *cf);
static void *ngx_stream_strict_tls_create_main_conf(ngx_conf_t *cf);
static char *ngx_stream_strict_tls_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_stream_strict_tls_create_srv_conf(ngx_conf_t *cf);
static char *ngx_stream_strict_tls_merge_srv_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_stream_strict_tls_init_process(ngx_cycle_t *cycle);
static void ngx_stream_strict_tls_exit_process(ngx_cycle_t *cycle);


#define NGX_STREAM_STRICT_TLS_LEVELS  NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF

/*
 * One directive per policy key, whatever keys the core knows: "strict_tls_KEY".
 * The key "mode" is the directive "strict_tls" itself.
 */
#define NGX_STREAM_STRICT_TLS_NAME(sym, key)                                  \
    (STLS_KEY_##sym == STLS_KEY_MODE) ? "strict_tls" : "strict_tls_" key

#define NGX_STREAM_STRICT_TLS_NAME_LEN(sym, key)                              \
    (STLS_KEY_##sym == STLS_KEY_MODE) ? sizeof("strict_tls") - 1              \
                                      : sizeof("strict_tls_" key) - 1

#define NGX_STREAM_STRICT_TLS_COMMAND(sym, key, type, def, values, doc)       \
    { { NGX_STREAM_STRICT_TLS_NAME_LEN(sym, key),                             \
        (u_char *) (NGX_STREAM_STRICT_TLS_NAME(sym, key)) },                  \
      NGX_STREAM_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,                            \
      ngx_strict_tls_set_key,                                                 \
      NGX_STREAM_SRV_CONF_OFFSET,                                             \
      STLS_KEY_##sym,                                                         \
      (void *) offsetof(ngx_stream_strict_tls_srv_conf_t, upstream) },


/* The same about clients: "strict_tls_client" and "strict_tls_client_KEY". */
#define NGX_STREAM_STRICT_TLS_CLIENT_COMMAND(sym, key, type, def, values, doc)\
    { { (STLS_KEY_##sym == STLS_KEY_MODE)                                     \
        ? sizeof("strict_tls_client") - 1                                     \
        : sizeof("strict_tls_client_" key) - 1,                               \
        (u_char *) ((STLS_KEY_##sym == STLS_KEY_MODE)                         \
                    ? "strict_tls_client" : "strict_tls_client_" key) },      \
      NGX_STREAM_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,                            \
      ngx_strict_tls_set_key,                                                 \
      NGX_STREAM_SRV_CONF_OFFSET,                                             \
      STLS_KEY_##sym,                                                         \
      (void *) offsetof(ngx_stream_strict_tls_srv_conf_t, client) },


static ngx_command_t  ngx_stream_strict_tls_commands[] = {

    STLS_POLICY_KEYS(NGX_STREAM_STRICT_TLS_COMMAND)

    STLS_POLICY_KEYS(NGX_STREAM_STRICT_TLS_CLIENT_COMMAND)

    { ngx_string("strict_tls_client_trusted_certificate"),
      NGX_STREAM_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_strict_tls_srv_conf_t, client.trusted_certificate),
      &ngx_strict_tls_not_empty },

    { ngx_string("strict_tls_trusted_certificate"),
      NGX_STREAM_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_strict_tls_srv_conf_t, upstream.trusted_certificate),
      &ngx_strict_tls_not_empty },

    { ngx_string("strict_tls_http_proxy"),
      NGX_STREAM_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,
      ngx_strict_tls_set_http_proxy,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_strict_tls_srv_conf_t, upstream.http_proxy),
      NULL },

    { ngx_string("strict_tls_self_check"),
      NGX_STREAM_STRICT_TLS_LEVELS|NGX_CONF_TAKE1,
      ngx_strict_tls_set_self_check,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_strict_tls_srv_conf_t, self_check),
      NULL },

    { ngx_string("strict_tls_crl_path"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_path_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_stream_strict_tls_main_conf_t, main.crl_path),
      NULL },

    { ngx_string("strict_tls_cache_zone"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_strict_tls_set_cache_zone,
      NGX_STREAM_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("strict_tls_max_verdicts"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_stream_strict_tls_main_conf_t, main.max_verdicts),
      &ngx_strict_tls_entries_bounds },

    { ngx_string("strict_tls_max_sessions"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_MAIN_CONF_OFFSET,
      offsetof(ngx_stream_strict_tls_main_conf_t, main.max_sessions),
      &ngx_strict_tls_entries_bounds },

      ngx_null_command
};


static ngx_stream_module_t  ngx_stream_strict_tls_module_ctx = {
    ngx_stream_strict_tls_preconfiguration,  /* preconfiguration */
    ngx_stream_strict_tls_postconfiguration, /* postconfiguration */

    ngx_stream_strict_tls_create_main_conf,  /* create main configuration */
    ngx_stream_strict_tls_init_main_conf,    /* init main configuration */

    ngx_stream_strict_tls_create_srv_conf,   /* create server configuration */
    ngx_stream_strict_tls_merge_srv_conf     /* merge server configuration */
};


ngx_module_t  ngx_stream_strict_tls_module = {
    NGX_MODULE_V1,
    &ngx_stream_strict_tls_module_ctx,     /* module context */
    ngx_stream_strict_tls_commands,        /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_stream_strict_tls_init_process,    /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_stream_strict_tls_exit_process,    /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_stream_strict_tls_preconfiguration(ngx_conf_t *cf)
{
    if (ngx_strict_tls_handshake_init(cf->log) != NGX_OK
        || ngx_strict_tls_client_init(cf->log) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_stream_strict_tls_watch_proxy(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_stream_strict_tls_add_variables(cf);
}


static ngx_int_t
ngx_stream_strict_tls_postconfiguration(ngx_conf_t *cf)
{
    ngx_str_t                           zone;
    ngx_stream_handler_pt              *h;
    ngx_stream_core_main_conf_t        *cmcf;
    ngx_stream_strict_tls_main_conf_t  *mcf;

    ngx_strict_tls_watch_end();

    mcf = ngx_stream_conf_get_module_main_conf(cf,
                                               ngx_stream_strict_tls_module);

    if (ngx_stream_strict_tls_arm_servers(cf, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_stream_strict_tls_own_servers(cf) != NGX_OK
        || ngx_strict_tls_own_judge(cf, &mcf->main) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_strict_tls_warn_idle(cf, &mcf->main, "\"proxy_ssl on\"");

    if (!mcf->main.strict && mcf->main.owns.nelts == 0) {
        return NGX_OK;
    }

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_STREAM_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_stream_strict_tls_access_handler;

    /* a zone of its own: http's belongs to another module */

    ngx_str_set(&zone, "strict_tls_stream");

    return ngx_strict_tls_create_worker(cf, &mcf->main, &zone);
}


static void *
ngx_stream_strict_tls_create_main_conf(ngx_conf_t *cf)
{
    ngx_stream_strict_tls_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_stream_strict_tls_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     mcf->max_cert_list = 0;
     *     mcf->ssl_handler = NULL;
     */

    if (ngx_strict_tls_create_main_conf(cf, &mcf->main,
                                        &ngx_stream_strict_tls_module)
        != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


static char *
ngx_stream_strict_tls_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_stream_strict_tls_main_conf_t *mcf = conf;

    ngx_strict_tls_init_main_conf(&mcf->main);

    return NGX_CONF_OK;
}


static void *
ngx_stream_strict_tls_create_srv_conf(ngx_conf_t *cf)
{
    ngx_stream_strict_tls_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_stream_strict_tls_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->ssl = NULL;
     *     conf->ssl_verify = 0;
     *     conf->ssl_name = NULL;
     *     conf->ssl_certificate = NULL;
     *     conf->ssl_certificate_key = NULL;
     */

    ngx_strict_tls_init_scope(&conf->upstream, STLS_ROLE_SERVER);
    ngx_strict_tls_init_scope(&conf->client, STLS_ROLE_CLIENT);

    conf->self_check = NGX_CONF_UNSET_UINT;
    conf->server_name_seen = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_stream_strict_tls_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    return ngx_stream_strict_tls_merge(cf, parent, child);
}


static ngx_int_t
ngx_stream_strict_tls_init_process(ngx_cycle_t *cycle)
{
    ngx_stream_strict_tls_main_conf_t  *mcf;

    mcf = ngx_stream_cycle_get_module_main_conf(cycle,
                                                ngx_stream_strict_tls_module);

    if (mcf) {
        ngx_strict_tls_own_watch(&mcf->main, cycle);
    }

    return NGX_OK;
}


static void
ngx_stream_strict_tls_exit_process(ngx_cycle_t *cycle)
{
    ngx_stream_strict_tls_main_conf_t  *mcf;

    mcf = ngx_stream_cycle_get_module_main_conf(cycle,
                                                ngx_stream_strict_tls_module);

    if (mcf && mcf->main.worker) {
        ngx_strict_tls_stop(mcf->main.worker);
    }
}
