/*
 * Trust anchors: which file a scope trusts, each file read once per
 * configuration.
 */

#include "ngx_strict_tls.h"


static ngx_int_t ngx_strict_tls_system_store(ngx_str_t *file);
static stls_anchors *ngx_strict_tls_load_anchors(ngx_conf_t *cf,
    ngx_str_t *file, ngx_uint_t level);


/* `trusted` is empty: the system's.  What is wrong is told at `level`. */

stls_anchors *
ngx_strict_tls_anchors(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_str_t *trusted, ngx_uint_t level)
{
    ngx_str_t                  file;
    ngx_uint_t                 i;
    stls_anchors              *anchors;
    ngx_strict_tls_anchors_t  *known;

    file = *trusted;

    if (file.len == 0) {

        if (ngx_strict_tls_system_store(&file) != NGX_OK) {
            ngx_conf_log_error(level, cf, 0,
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

    anchors = ngx_strict_tls_load_anchors(cf, &file, level);
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


static ngx_int_t
ngx_strict_tls_system_store(ngx_str_t *file)
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
ngx_strict_tls_load_anchors(ngx_conf_t *cf, ngx_str_t *file,
    ngx_uint_t level)
{
    BIO           *bio;
    stls_error     err;
    stls_status    status;
    stls_anchors  *anchors;

    bio = BIO_new_file((char *) file->data, "r");
    if (bio == NULL) {
        ngx_conf_log_error(level, cf, ngx_errno,
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
        ngx_conf_log_error(level, cf, 0,
                           "trusted certificates \"%V\": %s", file, err.text);
        stls_anchors_free(anchors);
        return NULL;
    }

    return anchors;
}
