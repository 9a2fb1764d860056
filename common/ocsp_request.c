#include "ocsp_request.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

/* RFC 5019 section 5: GET when the encoded request, base64 and URL-encoded, fits in 255 bytes. */
#define MAX_GET_LEN 255
#define NONCE_LEN 32 /* RFC 9654 section 2.1 */

stls_status stls_ocsp_question(const X509 *cert, const X509 *issuer,
                               unsigned char question[STLS_ID_LEN])
{
    static const char label[] = "strict-tls ocsp question";
    stls_status status = STLS_ERR_MEMORY;
    unsigned char *der = NULL;
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, issuer);
    int len = id != NULL ? i2d_OCSP_CERTID(id, &der) : -1;
    EVP_MD_CTX *md = EVP_MD_CTX_new();

    if (len > 0 && md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL)
        && EVP_DigestUpdate(md, label, sizeof(label)) && EVP_DigestUpdate(md, der, (size_t)len)
        && EVP_DigestFinal_ex(md, question, NULL)) {
        status = STLS_OK;
    }
    EVP_MD_CTX_free(md);
    OPENSSL_free(der);
    OCSP_CERTID_free(id);
    return status;
}

/* URL, a slash if it has none at its end, base64 with its three special characters escaped. */
static char *get_url(const stls_allocator *a, const char *url, const unsigned char *der,
                     size_t der_len)
{
    char base64[MAX_GET_LEN + 8];
    size_t url_len = strlen(url);

    if ((der_len + 2) / 3 * 4 > MAX_GET_LEN) {
        return NULL;
    }
    EVP_EncodeBlock((unsigned char *)base64, der, (int)der_len);

    char *out = stls_alloc(a, url_len + 2 + 3 * strlen(base64));
    if (out == NULL) {
        return NULL;
    }
    memcpy(out, url, url_len);
    size_t used = url_len;
    if (url[url_len - 1] != '/') {
        out[used++] = '/';
    }
    size_t path = used;
    for (const char *p = base64; *p != '\0'; p++) {
        if (*p == '+' || *p == '/' || *p == '=') {
            used += (size_t)sprintf(out + used, "%%%02X", *p);
        } else {
            out[used++] = *p;
        }
    }
    out[used] = '\0';
    if (used - path > MAX_GET_LEN) {
        stls_dealloc(a, out);
        return NULL;
    }
    return out;
}

stls_status stls_ocsp_request_make(stls_ocsp_request *request, const stls_allocator *a,
                                   const X509 *cert, const X509 *issuer, const char *url,
                                   int with_nonce)
{
    stls_status status = STLS_ERR_MEMORY;
    unsigned char *der = NULL;
    int der_len = 0;

    memset(request, 0, sizeof(*request));
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, issuer);
    request->request = OCSP_REQUEST_new();
    if (id == NULL || request->request == NULL
        || OCSP_request_add0_id(request->request, id) == NULL) {
        OCSP_CERTID_free(id);
        goto done;
    }
    if (with_nonce && OCSP_request_add1_nonce(request->request, NULL, NONCE_LEN) != 1) {
        goto done;
    }
    der_len = i2d_OCSP_REQUEST(request->request, &der);
    if (der_len <= 0) {
        goto done;
    }
    /* A query string of the responder's own would swallow what is appended. */
    if (!with_nonce && strpbrk(url, "?#") == NULL) {
        request->url = get_url(a, url, der, (size_t)der_len);
    }
    if (request->url == NULL) {
        request->url = stls_strdup(a, url);
        request->der = stls_memdup(a, der, (size_t)der_len);
        request->der_len = (size_t)der_len;
        if (request->url == NULL || request->der == NULL) {
            goto done;
        }
    }
    status = STLS_OK;
done:
    OPENSSL_free(der);
    if (status != STLS_OK) {
        stls_ocsp_request_clear(request, a);
    }
    return status;
}

void stls_ocsp_request_clear(stls_ocsp_request *request, const stls_allocator *a)
{
    stls_dealloc(a, request->der);
    stls_dealloc(a, request->url);
    OCSP_REQUEST_free(request->request);
    memset(request, 0, sizeof(*request));
}
