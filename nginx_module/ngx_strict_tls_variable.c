/*
 * The variables, and what they show of a verdict.
 */

#include "ngx_strict_tls.h"


ngx_strict_tls_variable_t  ngx_strict_tls_variables[] = {

    { ngx_string("strict_tls_verdict"), NGX_STRICT_TLS_VERDICT, 0 },
    { ngx_string("strict_tls_reason"), NGX_STRICT_TLS_REASON, 0 },
    { ngx_string("strict_tls_report"), NGX_STRICT_TLS_REPORT_JSON, 0 },

    { ngx_string("strict_tls_client_verdict"), NGX_STRICT_TLS_VERDICT, 1 },
    { ngx_string("strict_tls_client_reason"), NGX_STRICT_TLS_REASON, 1 },
    { ngx_string("strict_tls_client_report"), NGX_STRICT_TLS_REPORT_JSON, 1 },

    { ngx_null_string, 0, 0 }
};


/* nginx's: see ngx_strict_tls_client_verify_value(). */

ngx_str_t  ngx_strict_tls_client_verify_name = ngx_string("ssl_client_verify");


ngx_int_t
ngx_strict_tls_show(ngx_pool_t *pool, ngx_variable_value_t *v,
    stls_result *result, uintptr_t data)
{
    size_t       len;
    const char  *text;

    if (result == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    switch (data) {

    case NGX_STRICT_TLS_VERDICT:
        text = stls_result_word(result);
        len = ngx_strlen(text);
        break;

    case NGX_STRICT_TLS_REASON:
        text = stls_reason_id(stls_result_reason(result));
        len = ngx_strlen(text);
        break;

    default: /* NGX_STRICT_TLS_REPORT_JSON */
        text = stls_result_get0_report(result, &len);
        break;
    }

    /* copied: the next peer's result may replace this one while it is in use */

    v->data = ngx_pnalloc(pool, len);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(v->data, text, len);

    v->len = len;
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;

    return NGX_OK;
}
