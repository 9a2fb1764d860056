#include "work.h"

#include <openssl/core_names.h>
#include <openssl/err.h>

#define MAX_RSA_BITS 8192
#define MAX_RSA_EXPONENT_BITS 256
#define MAX_DSA_BITS 4096

void stls_work_init(stls_work *work, const stls_policy *policy)
{
    work->left = policy->num[STLS_KEY_MAX_SIGNATURES];
    work->is_exceeded = 0;
    work->lacks_memory = 0;
    work->memo = NULL;
    work->verify = NULL;
}

int stls_work_take(stls_work *work, int num)
{
    if (num > work->left) {
        work->is_exceeded = 1;
        return 0;
    }
    work->left -= num;
    return 1;
}

int stls_key_is_too_costly(const EVP_PKEY *key)
{
    unsigned char exponent[MAX_RSA_EXPONENT_BITS / 8];
    OSSL_PARAM params[] = {OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, exponent, sizeof(exponent)),
                           OSSL_PARAM_END};

    if (key == NULL) {
        return 0; /* verifies nothing anyway */
    }
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_DSA:
        return EVP_PKEY_get_bits(key) > MAX_DSA_BITS;
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        break;
    default:
        return 0;
    }
    if (EVP_PKEY_get_bits(key) > MAX_RSA_BITS) {
        return 1;
    }
    /* What does not fit is too large; reading it as a number would cost ten times as much. */
    ERR_set_mark();
    int fits = EVP_PKEY_get_params(key, params) == 1 && OSSL_PARAM_modified(&params[0]);
    ERR_pop_to_mark();
    return !fits;
}

/* In place of the context's own verification of signatures, which follows. */
static int guarded_verify(X509_STORE_CTX *ctx)
{
    stls_work *work = X509_STORE_CTX_get_app_data(ctx);
    const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    int num = sk_X509_num(chain);

    for (int i = 0; i < num; i++) {
        X509 *cert = sk_X509_value(chain, i);
        if (stls_key_is_too_costly(X509_get0_pubkey(cert))) {
            X509_STORE_CTX_set_error_depth(ctx, i);
            X509_STORE_CTX_set_current_cert(ctx, cert);
            X509_STORE_CTX_set_error(ctx, i > 0 ? X509_V_ERR_CA_KEY_TOO_SMALL
                                                : X509_V_ERR_EE_KEY_TOO_SMALL);
            return 0;
        }
    }
    if (!stls_work_take(work, num - 1)) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_CHAIN_TOO_LONG);
        return 0;
    }
    return work->verify(ctx);
}

int stls_work_guard(stls_work *work, X509_STORE_CTX *ctx)
{
    if (!X509_STORE_CTX_set_app_data(ctx, work)) {
        work->lacks_memory = 1;
        return 0;
    }
    work->verify = X509_STORE_CTX_get_verify(ctx);
    X509_STORE_CTX_set_verify(ctx, guarded_verify);
    return 1;
}
