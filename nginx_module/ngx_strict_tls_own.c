/*
 * Own chains at configuration time: which are there, and which of them can be
 * judged?
 */

#include "ngx_strict_tls_own.h"


static ngx_int_t ngx_strict_tls_own_scope(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_strict_tls_own_use_t *use,
    ngx_strict_tls_scope_t *level_scope, ngx_resolver_t *resolver,
    const char *level, ngx_str_t *name);
static ngx_int_t ngx_strict_tls_own_add_file(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_strict_tls_own_use_t *use,
    ngx_uint_t i);
static X509 *ngx_strict_tls_own_leaf(ngx_conf_t *cf,
    ngx_strict_tls_own_use_t *use, ngx_uint_t i);
static STACK_OF(X509) *ngx_strict_tls_own_certs(SSL_CTX *ssl_ctx, X509 *leaf,
    EVP_PKEY **key);
static STACK_OF(X509) *ngx_strict_tls_own_current(SSL_CTX *ssl_ctx,
    EVP_PKEY **key);
static ngx_strict_tls_own_t *ngx_strict_tls_own_find(
    ngx_strict_tls_main_conf_t *mcf, ngx_strict_tls_own_t *wanted);
static ngx_int_t ngx_strict_tls_own_same_certs(STACK_OF(X509) *one,
    STACK_OF(X509) *two);
static ngx_strict_tls_own_t *ngx_strict_tls_own_push(ngx_conf_t *cf,
    ngx_strict_tls_main_conf_t *mcf, ngx_strict_tls_own_t *wanted);
static ngx_int_t ngx_strict_tls_own_add_names(ngx_strict_tls_own_t *own,
    ngx_array_t *names);
static ngx_int_t ngx_strict_tls_own_file_name(ngx_conf_t *cf, ngx_str_t *file,
    ngx_str_t *name);
static ngx_uint_t ngx_strict_tls_own_is_store(ngx_str_t *file);
static void ngx_strict_tls_own_cleanup(void *data);


static ngx_str_t  ngx_strict_tls_self_checks[] = {
    ngx_string("off"),
    ngx_string("warn"),
    ngx_string("fail"),
    ngx_null_string
};


/* The directive's offset is that of an ngx_uint_t. */

char *
ngx_strict_tls_set_self_check(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t   *value;
    ngx_uint_t   i, *self_check;

    self_check = (ngx_uint_t *) ((u_char *) conf + cmd->offset);

    if (*self_check != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 0; ngx_strict_tls_self_checks[i].len; i++) {
        if (ngx_strcmp(value[1].data, ngx_strict_tls_self_checks[i].data)
            == 0)
        {
            *self_check = i;
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"strict_tls_self_check\" "
                       "directive, it must be \"off\", \"warn\" or \"fail\"",
                       &value[1]);

    return NGX_CONF_ERROR;
}


ngx_int_t
ngx_strict_tls_own_init(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf)
{
    ngx_pool_cleanup_t  *cln;

    if (ngx_array_init(&mcf->owns, cf->pool, 4,
                       sizeof(ngx_strict_tls_own_t *))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_strict_tls_own_cleanup;
    cln->data = mcf;

    return NGX_OK;
}


static void
ngx_strict_tls_own_cleanup(void *data)
{
    ngx_strict_tls_main_conf_t *mcf = data;

    ngx_uint_t             i;
    ngx_strict_tls_own_t  **own;

    if (mcf->own_timer.timer_set) {
        ngx_del_timer(&mcf->own_timer);
    }

    if (mcf->own_job) {
        ngx_strict_tls_job_free(mcf->own_job);
        mcf->own_job = NULL;
    }

    own = mcf->owns.elts;

    for (i = 0; i < mcf->owns.nelts; i++) {
        sk_X509_pop_free(own[i]->certs, X509_free);
        EVP_PKEY_free(own[i]->key);
        stls_result_free(own[i]->result);
    }
}


/*
 * All that is presented in one place: a server may have a chain per key type.
 * The rest is what ngx_strict_tls_build() takes there.
 */

ngx_int_t
ngx_strict_tls_own_add(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_own_use_t *use, ngx_strict_tls_scope_t *level_scope,
    ngx_resolver_t *resolver, const char *level, ngx_str_t *name)
{
    X509        *current;
    ngx_int_t    rc;
    ngx_uint_t   i;

    rc = ngx_strict_tls_own_scope(cf, mcf, use, level_scope, resolver, level,
                                  name);

    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_OK : NGX_ERROR;
    }

    /* looking at them moves OpenSSL's idea of the current one */

    current = SSL_CTX_get0_certificate(use->ssl_ctx);

    for (i = 0; i < use->nfiles && rc == NGX_OK; i++) {
        rc = ngx_strict_tls_own_add_file(cf, mcf, use, i);
    }

    if (current) {
        (void) SSL_CTX_select_current_cert(use->ssl_ctx, current);
    }

    ERR_clear_error();

    return rc;
}


/*
 * What judging and asking need where chains are presented: the policy there,
 * and the anchors that its peers are taken to have.  NGX_DECLINED: there are
 * none, which has been told.
 */

static ngx_int_t
ngx_strict_tls_own_scope(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_own_use_t *use, ngx_strict_tls_scope_t *level_scope,
    ngx_resolver_t *resolver, const char *level, ngx_str_t *name)
{
    ngx_uint_t               log_level, strict;
    ngx_strict_tls_scope_t  *scope;

    log_level = (use->self_check == NGX_STRICT_TLS_SELF_CHECK_FAIL)
                ? NGX_LOG_EMERG : NGX_LOG_WARN;

    if (ngx_strict_tls_anchors(cf, mcf, &level_scope->trusted_certificate,
                               &level_scope->also_trusted, NULL, log_level)
        == NULL)
    {
        ngx_log_error(log_level, cf->log, 0,
                      "strict-tls: self_check has no trusted certificates to "
                      "judge by, %V", &use->where);

        return (log_level == NGX_LOG_EMERG) ? NGX_ERROR : NGX_DECLINED;
    }

    scope = ngx_palloc(cf->pool, sizeof(ngx_strict_tls_scope_t));
    if (scope == NULL) {
        return NGX_ERROR;
    }

    *scope = *level_scope;
    scope->role = use->role;
    scope->mode = NGX_STRICT_TLS_ENFORCE;

    /* it does not make anything strict about its peers */
    strict = mcf->strict;

    if (ngx_strict_tls_build(cf, mcf, scope, &scope->trusted_certificate,
                             resolver, level, name)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    mcf->strict = strict;
    use->scope = scope;

    ngx_strict_tls_counts(level_scope);

    return NGX_OK;
}


static ngx_int_t
ngx_strict_tls_own_add_file(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_own_use_t *use, ngx_uint_t i)
{
    X509                  *leaf;
    ngx_strict_tls_own_t   wanted, *own;

    ngx_memzero(&wanted, sizeof(ngx_strict_tls_own_t));

    wanted.role = use->role;
    wanted.self_check = use->self_check;
    wanted.where = use->where;
    wanted.scope = use->scope;

    if (ngx_strict_tls_own_file_name(cf, &use->files[i], &wanted.file)
        != NGX_OK
        || ngx_strict_tls_own_file_name(cf, &use->key_files[i],
                                        &wanted.key_file)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (use->variables) {
        wanted.why_not = "its name holds variables, which have values only "
                         "when a peer connects";

    } else {
        leaf = ngx_strict_tls_own_leaf(cf, use, i);

        if (leaf) {
            wanted.certs = ngx_strict_tls_own_certs(use->ssl_ctx, leaf,
                                                    &wanted.key);
            X509_free(leaf);
        }

        if (wanted.certs == NULL) {
            wanted.why_not = leaf ? "it is never presented, for another file "
                                    "of the same key type comes after it"
                                  : "it cannot be read";

        } else if (ngx_strict_tls_own_is_store(&use->key_files[i])) {
            EVP_PKEY_free(wanted.key);
            wanted.key = NULL;
            wanted.why_not = "it is in an engine or a store";
        }
    }

    own = ngx_strict_tls_own_find(mcf, &wanted);

    if (own) {
        sk_X509_pop_free(wanted.certs, X509_free);
        EVP_PKEY_free(wanted.key);

    } else {
        own = ngx_strict_tls_own_push(cf, mcf, &wanted);

        if (own == NULL) {
            sk_X509_pop_free(wanted.certs, X509_free);
            EVP_PKEY_free(wanted.key);
            return NGX_ERROR;
        }
    }

    return use->names ? ngx_strict_tls_own_add_names(own, use->names)
                      : NGX_OK;
}


/* The first certificate of a file, as nginx has read it just now. */

static X509 *
ngx_strict_tls_own_leaf(ngx_conf_t *cf, ngx_strict_tls_own_use_t *use,
    ngx_uint_t i)
{
    BIO        *bio;
    X509       *leaf;
    ngx_str_t  *file, name;

    file = &use->files[i];

    if (ngx_strncmp(file->data, "data:", sizeof("data:") - 1) == 0) {
        bio = BIO_new_mem_buf(file->data + sizeof("data:") - 1,
                              file->len - (sizeof("data:") - 1));

    } else {
        name = *file;

        if (ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK) {
            return NULL;
        }

        if (!ngx_strict_tls_is_file(&name)) {

            /* a pipe, which is empty now: there is but one to take it for */

            leaf = (use->nfiles == 1) ? SSL_CTX_get0_certificate(use->ssl_ctx)
                                      : NULL;
            if (leaf) {
                X509_up_ref(leaf);
            }

            return leaf;
        }

        bio = BIO_new_file((char *) name.data, "r");
    }

    if (bio == NULL) {
        return NULL;
    }

    leaf = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);

    BIO_free(bio);

    return leaf;
}


/* Leaf and chain as OpenSSL will send them; NULL: not that leaf. */

static STACK_OF(X509) *
ngx_strict_tls_own_certs(SSL_CTX *ssl_ctx, X509 *leaf, EVP_PKEY **key)
{
    long  rc;

    for (rc = SSL_CTX_set_current_cert(ssl_ctx, SSL_CERT_SET_FIRST);
         rc == 1;
         rc = SSL_CTX_set_current_cert(ssl_ctx, SSL_CERT_SET_NEXT))
    {
        if (X509_cmp(SSL_CTX_get0_certificate(ssl_ctx), leaf) == 0) {
            return ngx_strict_tls_own_current(ssl_ctx, key);
        }
    }

    return NULL;
}


static STACK_OF(X509) *
ngx_strict_tls_own_current(SSL_CTX *ssl_ctx, EVP_PKEY **key)
{
    X509            *cert;
    STACK_OF(X509)  *certs, *chain;

    chain = NULL;
    cert = SSL_CTX_get0_certificate(ssl_ctx);
    (void) SSL_CTX_get0_chain_certs(ssl_ctx, &chain);

    certs = chain ? X509_chain_up_ref(chain) : sk_X509_new_null();
    if (certs == NULL) {
        return NULL;
    }

    if (!sk_X509_unshift(certs, cert)) {
        sk_X509_pop_free(certs, X509_free);
        return NULL;
    }

    X509_up_ref(cert);

    *key = SSL_CTX_get0_privatekey(ssl_ctx);

    if (*key) {
        EVP_PKEY_up_ref(*key);
    }

    return certs;
}


/* Policies and anchors are shared where equal, so pointers will do. */

static ngx_strict_tls_own_t *
ngx_strict_tls_own_find(ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_own_t *wanted)
{
    ngx_uint_t             i;
    ngx_strict_tls_own_t  **owns, *own;

    owns = mcf->owns.elts;

    for (i = 0; i < mcf->owns.nelts; i++) {
        own = owns[i];

        if (own->role == wanted->role
            && own->self_check == wanted->self_check
            && own->scope->policy == wanted->scope->policy
            && own->scope->anchors == wanted->scope->anchors
            && own->why_not == wanted->why_not
            && own->file.len == wanted->file.len
            && ngx_strncmp(own->file.data, wanted->file.data, own->file.len)
               == 0
            && own->key_file.len == wanted->key_file.len
            && ngx_strncmp(own->key_file.data, wanted->key_file.data,
                           own->key_file.len)
               == 0
            && ngx_strict_tls_own_same_certs(own->certs, wanted->certs)
               == NGX_OK)
        {
            return own;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_strict_tls_own_same_certs(STACK_OF(X509) *one, STACK_OF(X509) *two)
{
    int  i;

    /* a missing stack counts as -1 */

    if (sk_X509_num(one) != sk_X509_num(two)) {
        return NGX_DECLINED;
    }

    for (i = 0; i < sk_X509_num(one); i++) {
        if (X509_cmp(sk_X509_value(one, i), sk_X509_value(two, i)) != 0) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_strict_tls_own_t *
ngx_strict_tls_own_push(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_own_t *wanted)
{
    ngx_strict_tls_own_t  *own, **place;

    own = ngx_palloc(cf->pool, sizeof(ngx_strict_tls_own_t));
    if (own == NULL) {
        return NULL;
    }

    *own = *wanted;

    if (ngx_array_init(&own->names, cf->pool, 4, sizeof(char *)) != NGX_OK) {
        return NULL;
    }

    place = ngx_array_push(&mcf->owns);
    if (place == NULL) {
        return NULL;
    }

    *place = own;

    return own;
}


static ngx_int_t
ngx_strict_tls_own_add_names(ngx_strict_tls_own_t *own, ngx_array_t *names)
{
    char        **name, **known, **place;
    ngx_uint_t    i, k;

    name = names->elts;

    for (i = 0; i < names->nelts; i++) {

        known = own->names.elts;

        for (k = 0; k < own->names.nelts; k++) {
            if (ngx_strcmp(known[k], name[i]) == 0) {
                break;
            }
        }

        if (k < own->names.nelts) {
            continue;
        }

        place = ngx_array_push(&own->names);
        if (place == NULL) {
            return NGX_ERROR;
        }

        *place = name[i];
    }

    return NGX_OK;
}


/* For people, and without what is secret: bytes, or the PIN of a token. */

static ngx_int_t
ngx_strict_tls_own_file_name(ngx_conf_t *cf, ngx_str_t *file, ngx_str_t *name)
{
    size_t   len;
    u_char  *p, *last;

    last = file->data + file->len;
    len = file->len;

    if (ngx_strncmp(file->data, "data:", sizeof("data:") - 1) == 0
        && ngx_strlchr(file->data, last, '$') == NULL)
    {
        len = sizeof("data:") - 1;

    } else if (ngx_strncmp(file->data, "engine:", sizeof("engine:") - 1) == 0) {
        p = ngx_strlchr(file->data + sizeof("engine:") - 1, last, ':');
        len = p ? (size_t) (p - file->data) : len;

    } else if (ngx_strncmp(file->data, "store:", sizeof("store:") - 1) == 0) {
        len = sizeof("store:") - 1;

    } else if (file->data[0] != '$'
               && ngx_strncmp(file->data, "data:", sizeof("data:") - 1) != 0)
    {
        *name = *file;
        return ngx_conf_full_name(cf->cycle, name, 1);
    }

    p = ngx_pnalloc(cf->pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(p, file->data, len + 1);

    name->data = p;
    name->len = len;

    return NGX_OK;
}


static ngx_uint_t
ngx_strict_tls_own_is_store(ngx_str_t *file)
{
    return ngx_strncmp(file->data, "engine:", sizeof("engine:") - 1) == 0
           || ngx_strncmp(file->data, "store:", sizeof("store:") - 1) == 0;
}
