/*
 * Own chains at configuration time: what would a strict peer say of them, and
 * how is that told?
 */

#include "ngx_strict_tls_own.h"


typedef struct {
    ngx_strict_tls_own_t           *own;
    ngx_log_t                      *log;
    ngx_uint_t                      error_level;
    ngx_uint_t                      nerrors;
} ngx_strict_tls_own_tell_t;


static ngx_int_t ngx_strict_tls_own_set_id(ngx_strict_tls_own_t *own);
static void ngx_strict_tls_own_tell_line(void *baton, stls_severity severity,
    const char *line);


/* Judges all that was collected; NGX_ERROR where one of them has to be right. */

ngx_int_t
ngx_strict_tls_own_judge(ngx_conf_t *cf, ngx_strict_tls_main_conf_t *mcf)
{
    ngx_int_t              rc;
    ngx_uint_t             i, level;
    stls_own_chain         chain;
    ngx_strict_tls_own_t  **owns, *own;

    rc = NGX_OK;
    owns = mcf->owns.elts;

    for (i = 0; i < mcf->owns.nelts; i++) {
        own = owns[i];

        if (ngx_strict_tls_own_set_id(own) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_strict_tls_own_chain(own, &chain);

        own->judged = ngx_time();
        own->result = stls_own_chain_judge(own->scope->policy,
                                           own->scope->anchors, &chain,
                                           own->judged);
        ERR_clear_error();

        if (stls_own_chain_news_id(own->result, own->news) != STLS_OK) {
            ngx_memzero(own->news, STLS_ID_LEN);
        }

        level = (own->self_check == NGX_STRICT_TLS_SELF_CHECK_FAIL)
                ? NGX_LOG_EMERG : NGX_LOG_WARN;

        if (ngx_strict_tls_own_tell(own, own->result, cf->log, level)
            && own->self_check == NGX_STRICT_TLS_SELF_CHECK_FAIL)
        {
            rc = NGX_ERROR;
        }
    }

    return rc;
}


void
ngx_strict_tls_own_chain(ngx_strict_tls_own_t *own, stls_own_chain *chain)
{
    ngx_memzero(chain, sizeof(stls_own_chain));

    chain->role = own->role;
    chain->certs = own->certs;
    chain->key = own->key;
    chain->why_not = own->why_not;
    chain->file = (char *) own->file.data;
    chain->key_file = own->key_file.len ? (char *) own->key_file.data : NULL;
    chain->trust_directive = "strict_tls_trusted_certificate";
    chain->names = own->names.elts;
    chain->num_names = own->names.nelts;
}


/* Returns how many errors there were. */

ngx_uint_t
ngx_strict_tls_own_tell(ngx_strict_tls_own_t *own, stls_result *result,
    ngx_log_t *log, ngx_uint_t error_level)
{
    ngx_strict_tls_own_tell_t  tell;

    tell.own = own;
    tell.log = log;
    tell.error_level = error_level;
    tell.nerrors = 0;

    (void) stls_own_chain_tell(result, (char *) own->file.data, STLS_NOTE,
                               ngx_strict_tls_own_tell_line, &tell);

    return tell.nerrors;
}


static void
ngx_strict_tls_own_tell_line(void *baton, stls_severity severity,
    const char *line)
{
    ngx_strict_tls_own_tell_t *tell = baton;

    ngx_uint_t  level;

    switch (severity) {

    case STLS_NOTE:
        level = NGX_LOG_INFO;
        break;

    case STLS_WARNING:
        level = NGX_LOG_WARN;
        break;

    default: /* STLS_ERROR */
        tell->nerrors++;
        level = tell->error_level;
        break;
    }

    ngx_log_error(level, tell->log, 0, "%s, %V", line, &tell->own->where);
}


/* Names this very presentation, for what is remembered beyond a reload. */

static ngx_int_t
ngx_strict_tls_own_set_id(ngx_strict_tls_own_t *own)
{
    int            i;
    char         **name;
    u_char         digest[EVP_MAX_MD_SIZE], cert[EVP_MAX_MD_SIZE];
    ngx_int_t      rc;
    EVP_MD_CTX    *md;
    ngx_uint_t     n;
    unsigned int   len;

    rc = NGX_ERROR;

    md = EVP_MD_CTX_new();

    if (md == NULL
        || !EVP_DigestInit_ex(md, EVP_sha256(), NULL)
        || !EVP_DigestUpdate(md, &own->role, sizeof(own->role))
        || !EVP_DigestUpdate(md, stls_policy_get0_id(own->scope->policy),
                             STLS_ID_LEN)
        || !EVP_DigestUpdate(md, stls_anchors_get0_id(own->scope->anchors),
                             STLS_ID_LEN))
    {
        goto done;
    }

    for (i = 0; i < sk_X509_num(own->certs); i++) {
        if (!X509_digest(sk_X509_value(own->certs, i), EVP_sha256(), cert,
                         &len)
            || !EVP_DigestUpdate(md, cert, len))
        {
            goto done;
        }
    }

    name = own->names.elts;

    for (n = 0; n < own->names.nelts; n++) {
        if (!EVP_DigestUpdate(md, name[n], ngx_strlen(name[n]) + 1)) {
            goto done;
        }
    }

    if (!EVP_DigestFinal_ex(md, digest, &len)) {
        goto done;
    }

    *ngx_hex_dump((u_char *) own->id, digest, STLS_ID_LEN) = '\0';

    rc = NGX_OK;

done:

    EVP_MD_CTX_free(md);

    return rc;
}
