/*
 * What the peer stapled: one answer in TLS 1.2, one per certificate in TLS 1.3
 * where OpenSSL hands them over (3.6).  As one run of bytes, so that a host
 * keeps it, hashes it and gives it to a check without knowing how many there
 * are: for each, two bytes of certificate index, four of length, the DER.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>

#include "check.h"

#define HEADER_LEN 6
#define MAX_STAPLES 100 /* the upper end of max_chain_len */

static unsigned char *put_header(unsigned char *at, size_t index, size_t len)
{
    *at++ = (unsigned char)(index >> 8);
    *at++ = (unsigned char)index;
    for (int shift = 24; shift >= 0; shift -= 8) {
        *at++ = (unsigned char)(len >> shift);
    }
    return at;
}

/* The one that TLS 1.2 has: about the leaf. */
static stls_status take_one(SSL *ssl, unsigned char **staples, size_t *staples_len)
{
    unsigned char *der = NULL;
    long len = SSL_get_tlsext_status_ocsp_resp(ssl, &der);

    if (len <= 0 || der == NULL) {
        return STLS_OK;
    }
    *staples = OPENSSL_malloc(HEADER_LEN + (size_t)len);
    if (*staples == NULL) {
        return STLS_ERR_MEMORY;
    }
    memcpy(put_header(*staples, 0, (size_t)len), der, (size_t)len);
    *staples_len = HEADER_LEN + (size_t)len;
    return STLS_OK;
}

#ifdef SSL_get0_tlsext_status_ocsp_resp_ex

static size_t measure(STACK_OF(OCSP_RESPONSE) *answers, int num)
{
    size_t total = 0;
    for (int i = 0; i < num; i++) {
        OCSP_RESPONSE *answer = sk_OCSP_RESPONSE_value(answers, i);
        int len = answer != NULL ? i2d_OCSP_RESPONSE(answer, NULL) : 0;
        total += len > 0 ? HEADER_LEN + (size_t)len : 0;
    }
    return total;
}

/* In the order of the certificates; those without one are passed over, so that the rest moves up.
 */
static stls_status take_all(SSL *ssl, unsigned char **staples, size_t *staples_len)
{
    STACK_OF(OCSP_RESPONSE) *answers = NULL;
    long num = SSL_get0_tlsext_status_ocsp_resp_ex(ssl, &answers);

    if (num <= 0 || answers == NULL) {
        return take_one(ssl, staples, staples_len); /* the library at run time may be older */
    }
    int bounded = num < MAX_STAPLES ? (int)num : MAX_STAPLES;
    size_t total = measure(answers, bounded);
    if (total == 0) {
        return STLS_OK;
    }
    unsigned char *at = *staples = OPENSSL_malloc(total);
    if (at == NULL) {
        return STLS_ERR_MEMORY;
    }
    for (int i = 0; i < bounded; i++) {
        OCSP_RESPONSE *answer = sk_OCSP_RESPONSE_value(answers, i);
        int len = answer != NULL ? i2d_OCSP_RESPONSE(answer, NULL) : 0;
        if (len > 0) {
            at = put_header(at, (size_t)i, (size_t)len);
            i2d_OCSP_RESPONSE(answer, &at);
        }
    }
    *staples_len = total;
    return STLS_OK;
}

#else
#define take_all take_one
#endif

stls_status stls_staples_get1(SSL *ssl, unsigned char **staples, size_t *staples_len)
{
    *staples = NULL;
    *staples_len = 0;
    return take_all(ssl, staples, staples_len);
}

/*
 * The presented certificate that an answer is about: the one at `index`, or a
 * later one where OpenSSL has moved answers up.  By serial number; what it is
 * worth is judged in its turn.
 */
static size_t find_subject(const stls_check *check, size_t index, const unsigned char *der,
                           size_t len)
{
    size_t found = index;
    int is_found = 0;

    ERR_set_mark();
    OCSP_RESPONSE *answer = d2i_OCSP_RESPONSE(NULL, &der, (long)len);
    OCSP_BASICRESP *basic = answer != NULL ? OCSP_response_get1_basic(answer) : NULL;
    int num = basic != NULL ? OCSP_resp_count(basic) : 0;
    for (int c = (int)index; !is_found && c < sk_X509_num(check->presented); c++) {
        const ASN1_INTEGER *wanted = X509_get0_serialNumber(sk_X509_value(check->presented, c));
        for (int i = 0; !is_found && i < num; i++) {
            ASN1_INTEGER *serial = NULL;
            const OCSP_CERTID *id = OCSP_SINGLERESP_get0_id(OCSP_resp_get0(basic, i));
            OCSP_id_get0_info(NULL, NULL, NULL, &serial, (OCSP_CERTID *)id);
            is_found = serial != NULL && ASN1_INTEGER_cmp(serial, wanted) == 0;
        }
        if (is_found) {
            found = (size_t)c;
        }
    }
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(answer);
    ERR_pop_to_mark();
    return found;
}

stls_status stls_check_add_staples(stls_check *check, const unsigned char *staples,
                                   size_t staples_len)
{
    size_t at = 0;
    stls_status status = STLS_OK;

    while (status == STLS_OK && at < staples_len) {
        if (staples_len - at < HEADER_LEN) {
            return STLS_ERR_ARGUMENT;
        }
        const unsigned char *header = staples + at;
        size_t index = (size_t)header[0] << 8 | header[1];
        size_t len = (size_t)header[2] << 24 | (size_t)header[3] << 16 | (size_t)header[4] << 8
                     | header[5];
        at += HEADER_LEN;
        if (len > staples_len - at) {
            return STLS_ERR_ARGUMENT;
        }
        status = stls_check_add_staple(check, find_subject(check, index, staples + at, len),
                                       staples + at, len);
        at += len;
    }
    return status;
}
