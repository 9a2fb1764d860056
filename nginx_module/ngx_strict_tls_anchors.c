/*
 * Trust anchors: which file a scope trusts, each file read once per
 * configuration.
 */

#include "ngx_strict_tls.h"


static ngx_int_t ngx_strict_tls_system_store(ngx_str_t *file);
static ngx_uint_t ngx_strict_tls_same_file(ngx_str_t *one, ngx_str_t *two);
static stls_anchors *ngx_strict_tls_load_anchors(ngx_conf_t *cf,
    ngx_str_t *file, ngx_str_t *more, SSL_CTX *loaded, ngx_uint_t level);
static stls_status ngx_strict_tls_load_file(ngx_conf_t *cf,
    stls_anchors *anchors, ngx_str_t *file, SSL_CTX *loaded, ngx_uint_t level,
    stls_error *err);
static BIO *ngx_strict_tls_loaded(SSL_CTX *loaded);


/*
 * `trusted` is empty: the system's.  `more` is another file, or empty.  `loaded`
 * is nginx's SSL_CTX that holds what is in both files already, or NULL: a pipe
 * can be read only once.  What is wrong is told at `level`.
 */

stls_anchors *
ngx_strict_tls_anchors(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_str_t *trusted, ngx_str_t *more, SSL_CTX *loaded, ngx_uint_t level)
{
    ngx_str_t                  file, second;
    ngx_uint_t                 i;
    stls_anchors              *anchors;
    ngx_strict_tls_anchors_t  *known;

    file = *trusted;
    second = *more;

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

    if (second.len && ngx_conf_full_name(cf->cycle, &second, 1) != NGX_OK) {
        return NULL;
    }

    known = mcf->anchors.elts;

    for (i = 0; i < mcf->anchors.nelts; i++) {
        if (ngx_strict_tls_same_file(&known[i].file, &file)
            && ngx_strict_tls_same_file(&known[i].more, &second))
        {
            return known[i].anchors;
        }
    }

    anchors = ngx_strict_tls_load_anchors(cf, &file, &second, loaded, level);
    if (anchors == NULL) {
        return NULL;
    }

    known = ngx_array_push(&mcf->anchors);
    if (known == NULL) {
        stls_anchors_free(anchors);
        return NULL;
    }

    known->file = file;
    known->more = second;
    known->anchors = anchors;

    return anchors;
}


static ngx_uint_t
ngx_strict_tls_same_file(ngx_str_t *one, ngx_str_t *two)
{
    return one->len == two->len
           && (one->len == 0
               || ngx_strncmp(one->data, two->data, one->len) == 0);
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
ngx_strict_tls_load_anchors(ngx_conf_t *cf, ngx_str_t *file, ngx_str_t *more,
    SSL_CTX *loaded, ngx_uint_t level)
{
    ngx_str_t     *blamed;
    stls_error     err;
    stls_status    status;
    stls_anchors  *anchors;

    anchors = stls_anchors_new(NULL);
    if (anchors == NULL) {
        return NULL;
    }

    err.text[0] = '\0';
    blamed = file;
    status = ngx_strict_tls_load_file(cf, anchors, file, loaded, level,
                                      &err);

    if (status == STLS_OK && more->len) {
        blamed = more;
        status = ngx_strict_tls_load_file(cf, anchors, more, loaded, level,
                                          &err);
    }

    if (status == STLS_OK) {
        status = stls_anchors_freeze(anchors, &err);
    }

    ERR_clear_error();

    if (status != STLS_OK) {

        if (err.text[0] != '\0') {
            ngx_conf_log_error(level, cf, 0,
                               "trusted certificates \"%V\": %s", blamed,
                               err.text);
        }

        stls_anchors_free(anchors);
        return NULL;
    }

    return anchors;
}


static stls_status
ngx_strict_tls_load_file(ngx_conf_t *cf, stls_anchors *anchors,
    ngx_str_t *file, SSL_CTX *loaded, ngx_uint_t level, stls_error *err)
{
    BIO          *bio;
    stls_status   status;

    bio = (loaded && !ngx_strict_tls_is_file(file))
          ? ngx_strict_tls_loaded(loaded)
          : BIO_new_file((char *) file->data, "r");

    if (bio == NULL) {
        ngx_conf_log_error(level, cf, ngx_errno,
                           "cannot open trusted certificates \"%V\"", file);
        return STLS_ERR_ARGUMENT;
    }

    status = stls_anchors_load(anchors, bio, err);

    BIO_free(bio);

    return status;
}


/* What is not there is one, too: opening it tells why it cannot be read. */

ngx_uint_t
ngx_strict_tls_is_file(ngx_str_t *file)
{
    ngx_file_info_t  fi;

    return ngx_file_info(file->data, &fi) == NGX_FILE_ERROR
           || ngx_is_file(&fi) || ngx_is_dir(&fi);
}


/* The certificates that nginx has read, in PEM. */

static BIO *
ngx_strict_tls_loaded(SSL_CTX *loaded)
{
    int                     i;
    BIO                    *bio;
    X509                   *cert;
    STACK_OF(X509_OBJECT)  *objects;

    bio = BIO_new(BIO_s_mem());
    if (bio == NULL) {
        return NULL;
    }

    objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(loaded));

    for (i = 0; i < sk_X509_OBJECT_num(objects); i++) {

        cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

        if (cert && PEM_write_bio_X509(bio, cert) == 0) {
            BIO_free(bio);
            return NULL;
        }
    }

    return bio;
}
