#include "anchors.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "cert_stack.h"
#include "error.h"

stls_anchors *stls_anchors_new(const stls_allocator *allocator)
{
    if (allocator == NULL) {
        allocator = &stls_libc_allocator;
    }
    stls_anchors *anchors = stls_alloc(allocator, sizeof(*anchors));
    if (anchors == NULL) {
        return NULL;
    }
    anchors->allocator = *allocator;
    atomic_init(&anchors->refs, 1);
    anchors->store = X509_STORE_new();
    anchors->anchors = sk_X509_new_null();
    anchors->not_anchors = sk_X509_new_null();
    if (anchors->store == NULL || anchors->anchors == NULL || anchors->not_anchors == NULL) {
        stls_anchors_free(anchors);
        return NULL;
    }
    return anchors;
}

stls_anchors *stls_anchors_up_ref(stls_anchors *anchors)
{
    if (anchors != NULL) {
        atomic_fetch_add(&anchors->refs, 1);
    }
    return anchors;
}

void stls_anchors_free(stls_anchors *anchors)
{
    if (anchors == NULL || atomic_fetch_sub(&anchors->refs, 1) != 1) {
        return;
    }
    stls_allocator allocator = anchors->allocator;
    X509_STORE_free(anchors->store);
    sk_X509_pop_free(anchors->anchors, X509_free);
    sk_X509_pop_free(anchors->not_anchors, X509_free);
    stls_dealloc(&allocator, anchors);
}

/* Takes ownership of `cert`. */
static stls_status add(stls_anchors *anchors, X509 *cert)
{
    /* Self-issued is not enough: the signature must be by its own key. */
    int is_anchor = X509_self_signed(cert, 1) == 1;
    STACK_OF(X509) *stack = is_anchor ? anchors->anchors : anchors->not_anchors;

    if (stls_cert_index(stack, cert) >= 0) {
        X509_free(cert);
        return STLS_OK;
    }
    if (is_anchor && !X509_STORE_add_cert(anchors->store, cert)) {
        X509_free(cert);
        return STLS_ERR_MEMORY;
    }
    if (!sk_X509_push(stack, cert)) {
        X509_free(cert);
        return STLS_ERR_MEMORY;
    }
    return STLS_OK;
}

stls_status stls_anchors_add_cert(stls_anchors *anchors, X509 *cert)
{
    if (anchors->frozen) {
        return STLS_ERR_STATE;
    }
    return X509_up_ref(cert) ? add(anchors, cert) : STLS_ERR_MEMORY;
}

stls_status stls_anchors_load(stls_anchors *anchors, BIO *bio, stls_error *err)
{
    stls_status status = STLS_OK;
    size_t num = 0;

    if (anchors->frozen) {
        return stls_error_set(err, STLS_ERR_STATE, "the trust anchors are frozen");
    }
    ERR_set_mark();
    while (status == STLS_OK) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (cert == NULL) {
            break;
        }
        num++;
        status = add(anchors, cert);
    }
    unsigned long why = ERR_peek_last_error();
    int at_end = ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
    ERR_pop_to_mark();

    if (status != STLS_OK) {
        return stls_error_set(err, status, "out of memory");
    }
    if (!at_end) {
        return stls_error_set(err, STLS_ERR_ARGUMENT, "certificate %zu cannot be decoded", num + 1);
    }
    if (num == 0) {
        return stls_error_set(err, STLS_ERR_ARGUMENT, "no certificate found");
    }
    return STLS_OK;
}

stls_status stls_anchors_freeze(stls_anchors *anchors, stls_error *err)
{
    if (anchors->frozen) {
        return STLS_OK;
    }
    if (sk_X509_num(anchors->anchors) == 0) {
        return stls_error_set(
            err, STLS_ERR_ARGUMENT,
            "no self-signed certificate found: intermediates are not trust anchors");
    }
    /* Also what is not an anchor: it shapes findings, and results are cached under this id. */
    stls_status status = STLS_ERR_MEMORY;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (md == NULL || !EVP_DigestInit_ex(md, EVP_sha256(), NULL)) {
        goto done;
    }
    const STACK_OF(X509) *stacks[] = {anchors->anchors, anchors->not_anchors};
    for (size_t s = 0; s < 2; s++) {
        for (int i = 0; i < sk_X509_num(stacks[s]); i++) {
            unsigned char digest[EVP_MAX_MD_SIZE];
            unsigned int digest_len = 0;
            if (!X509_digest(sk_X509_value(stacks[s], i), EVP_sha256(), digest, &digest_len)
                || !EVP_DigestUpdate(md, digest, digest_len)) {
                goto done;
            }
        }
        if (!EVP_DigestUpdate(md, "|", 1)) {
            goto done;
        }
    }
    if (EVP_DigestFinal_ex(md, anchors->id, NULL)) {
        anchors->frozen = 1;
        status = STLS_OK;
    }
done:
    EVP_MD_CTX_free(md);
    return status == STLS_OK ? status : stls_error_set(err, status, "out of memory");
}

size_t stls_anchors_count(const stls_anchors *anchors)
{
    return (size_t)sk_X509_num(anchors->anchors);
}

const unsigned char *stls_anchors_get0_id(const stls_anchors *anchors)
{
    return anchors->frozen ? anchors->id : NULL;
}

int stls_anchors_contain(const stls_anchors *anchors, const X509 *cert)
{
    return stls_cert_index(anchors->anchors, cert) >= 0;
}

const STACK_OF(X509) *stls_anchors_get0_certs(const stls_anchors *anchors)
{
    return anchors->anchors;
}
