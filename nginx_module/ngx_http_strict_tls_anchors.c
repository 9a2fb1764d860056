/*
 * Trust anchors: which file a location trusts, each file read once per
 * configuration.
 */

#include "ngx_http_strict_tls.h"


static ngx_str_t *ngx_http_strict_tls_host_certificate(ngx_conf_t *cf,
    ngx_uint_t host);
static ngx_int_t ngx_http_strict_tls_system_store(ngx_str_t *file);
static stls_anchors *ngx_http_strict_tls_load_anchors(ngx_conf_t *cf,
    ngx_str_t *file);


/* The modules whose upstreams can be TLS ... */

const char  *ngx_http_strict_tls_hosts[] = {
    "ngx_http_proxy_module",
    "ngx_http_grpc_module",
    "ngx_http_uwsgi_module",
    NULL
};

/* ... and the directive of each that names the trusted certificates. */

static ngx_str_t  ngx_http_strict_tls_host_directives[] = {
    ngx_string("proxy_ssl_trusted_certificate"),
    ngx_string("grpc_ssl_trusted_certificate"),
    ngx_string("uwsgi_ssl_trusted_certificate")
};


/* By name, for each of these modules may be missing from the binary. */

void *
ngx_http_strict_tls_module_conf(ngx_conf_t *cf, const char *name,
    ngx_module_t **module)
{
    ngx_uint_t            i;
    ngx_http_conf_ctx_t  *ctx;

    ctx = cf->ctx;

    for (i = 0; cf->cycle->modules[i]; i++) {

        if (ngx_strcmp(cf->cycle->modules[i]->name, name) == 0) {
            *module = cf->cycle->modules[i];
            return ctx->loc_conf[(*module)->ctx_index];
        }
    }

    return NULL;
}


stls_anchors *
ngx_http_strict_tls_anchors(ngx_conf_t *cf,
    ngx_http_strict_tls_main_conf_t *mcf, ngx_http_strict_tls_loc_conf_t *conf)
{
    ngx_str_t                       file, *host;
    ngx_uint_t                      i;
    stls_anchors                   *anchors;
    ngx_http_strict_tls_anchors_t  *known;

    file = conf->trusted_certificate;

    for (i = 0; file.len == 0 && ngx_http_strict_tls_hosts[i]; i++) {
        host = ngx_http_strict_tls_host_certificate(cf, i);

        if (host) {
            file = *host;
        }
    }

    if (file.len == 0) {

        if (ngx_http_strict_tls_system_store(&file) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the system has no certificate store where "
                               "OpenSSL expects it: install one, or name a "
                               "file with \"strict_tls_trusted_certificate\"");
            return NULL;
        }

    } else if (ngx_conf_full_name(cf->cycle, &file, 1) != NGX_OK) {
        return NULL;
    }

    known = mcf->anchors.elts;

    for (i = 0; i < mcf->anchors.nelts; i++) {
        if (known[i].file.len == file.len
            && ngx_strncmp(known[i].file.data, file.data, file.len) == 0)
        {
            return known[i].anchors;
        }
    }

    anchors = ngx_http_strict_tls_load_anchors(cf, &file);
    if (anchors == NULL) {
        return NULL;
    }

    known = ngx_array_push(&mcf->anchors);
    if (known == NULL) {
        stls_anchors_free(anchors);
        return NULL;
    }

    known->file = file;
    known->anchors = anchors;

    return anchors;
}


/* proxy_ssl_trusted_certificate and the like, which their modules keep private. */

static ngx_str_t *
ngx_http_strict_tls_host_certificate(ngx_conf_t *cf, ngx_uint_t host)
{
    u_char                    *conf;
    ngx_str_t                 *file, *name;
    ngx_module_t              *module;
    ngx_command_t             *cmd;
    ngx_http_upstream_conf_t  *ucf;

    conf = ngx_http_strict_tls_module_conf(cf, ngx_http_strict_tls_hosts[host],
                                           &module);
    if (conf == NULL) {
        return NULL;
    }

    ucf = (ngx_http_upstream_conf_t *) conf;

    if (ucf->ssl == NULL || ucf->ssl->ctx == NULL) {
        return NULL;
    }

    name = &ngx_http_strict_tls_host_directives[host];

    for (cmd = module->commands; cmd && cmd->name.len; cmd++) {

        if (cmd->name.len == name->len
            && ngx_strncmp(cmd->name.data, name->data, name->len) == 0
            && cmd->set == ngx_conf_set_str_slot)
        {
            file = (ngx_str_t *) (conf + cmd->offset);
            return file->len ? file : NULL;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_strict_tls_system_store(ngx_str_t *file)
{
    ngx_uint_t   i;
    const char  *stores[2];

    stores[0] = X509_get_default_cert_file();
    stores[1] = "/etc/ssl/certs/ca-certificates.crt";

    for (i = 0; i < 2; i++) {
        if (access(stores[i], R_OK) == 0) {
            file->data = (u_char *) stores[i];
            file->len = ngx_strlen(stores[i]);
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static stls_anchors *
ngx_http_strict_tls_load_anchors(ngx_conf_t *cf, ngx_str_t *file)
{
    BIO           *bio;
    stls_error     err;
    stls_status    status;
    stls_anchors  *anchors;

    bio = BIO_new_file((char *) file->data, "r");
    if (bio == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "cannot open trusted certificates \"%V\"", file);
        ERR_clear_error();
        return NULL;
    }

    anchors = stls_anchors_new(NULL);
    if (anchors == NULL) {
        BIO_free(bio);
        return NULL;
    }

    err.text[0] = '\0';
    status = stls_anchors_load(anchors, bio, &err);

    if (status == STLS_OK) {
        status = stls_anchors_freeze(anchors, &err);
    }

    BIO_free(bio);
    ERR_clear_error();

    if (status != STLS_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "trusted certificates \"%V\": %s", file, err.text);
        stls_anchors_free(anchors);
        return NULL;
    }

    return anchors;
}
