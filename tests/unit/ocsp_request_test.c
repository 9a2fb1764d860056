#include "support.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/ocsp.h>

#include "ocsp_request.h"

static void question_names_certificate_and_issuer(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = aid_leaf_spec();
    spec.serial = 77;
    X509 *a = aid_make_cert(&spec), *again = aid_make_cert(&spec);
    spec.serial = 78;
    X509 *b = aid_make_cert(&spec);
    unsigned char qa[STLS_ID_LEN], qagain[STLS_ID_LEN], qb[STLS_ID_LEN], qother[STLS_ID_LEN];

    (void)state;
    assert_int_equal(stls_ocsp_question(a, pki->inter, qa), STLS_OK);
    assert_int_equal(stls_ocsp_question(again, pki->inter, qagain), STLS_OK);
    assert_int_equal(stls_ocsp_question(b, pki->inter, qb), STLS_OK);
    assert_int_equal(stls_ocsp_question(a, pki->root, qother), STLS_OK);
    assert_memory_equal(qa, qagain, STLS_ID_LEN); /* reissued, still the same question */
    assert_memory_not_equal(qa, qb, STLS_ID_LEN);
    assert_memory_not_equal(qa, qother, STLS_ID_LEN);
}

/* Trap 1: a serial that begins like another one is another one. */
static void trap_1_serial_prefix_is_another_question(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = aid_leaf_spec();
    unsigned char q[3][STLS_ID_LEN];
    static const int64_t serials[] = {0x1234, 0x123456, 0x12};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        spec.serial = serials[i];
        assert_int_equal(stls_ocsp_question(aid_make_cert(&spec), pki->inter, q[i]), STLS_OK);
    }
    assert_memory_not_equal(q[0], q[1], STLS_ID_LEN);
    assert_memory_not_equal(q[0], q[2], STLS_ID_LEN);
}

static stls_ocsp_request make(const char *url, int with_nonce)
{
    const aid_pki *pki = aid_usual_pki();
    stls_allocator allocator = stls_libc_allocator;
    stls_ocsp_request request;
    assert_int_equal(
        stls_ocsp_request_make(&request, &allocator, pki->leaf, pki->inter, url, with_nonce),
        STLS_OK);
    return request;
}

/* The request behind a GET URL, undone as a responder does it. */
static OCSP_REQUEST *decode_get(const char *url, size_t prefix_len)
{
    char base64[400];
    unsigned char der[400];
    size_t used = 0;

    for (const char *p = url + prefix_len; *p != '\0'; p++) {
        unsigned int c = (unsigned char)*p;
        if (*p == '%') {
            assert_int_equal(sscanf(p, "%%%2X", &c), 1);
            p += 2;
        }
        base64[used++] = (char)c;
        assert_true(used < sizeof(base64));
    }
    int len = EVP_DecodeBlock(der, (unsigned char *)base64, (int)used);
    assert_true(len > 0);
    const unsigned char *p = der;
    OCSP_REQUEST *request = d2i_OCSP_REQUEST(NULL, &p, len);
    assert_non_null(request);
    return request;
}

/* RFC 5019 section 5. */
static void get_where_it_fits(void **state)
{
    static const struct {
        const char *url, *prefix;
    } rows[] = {
        {"http://a.example", "http://a.example/"},
        {"http://a.example/", "http://a.example/"},
        {"http://a.example/ocsp", "http://a.example/ocsp/"},
        {"http://a.example/ocsp/", "http://a.example/ocsp/"},
        {"http://a.example:8080/a/b", "http://a.example:8080/a/b/"},
    };
    const aid_pki *pki = aid_usual_pki();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_ocsp_request request = make(rows[i].url, 0);
        size_t prefix_len = strlen(rows[i].prefix);
        assert_null(request.der);
        assert_int_equal(strncmp(request.url, rows[i].prefix, prefix_len), 0);
        for (const char *p = request.url + prefix_len; *p != '\0'; p++) {
            assert_true(isalnum((unsigned char)*p) || *p == '%');
        }
        assert_true(strlen(request.url + prefix_len) <= 255);

        OCSP_REQUEST *decoded = decode_get(request.url, prefix_len);
        OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), pki->leaf, pki->inter);
        assert_int_equal(OCSP_request_onereq_count(decoded), 1);
        OCSP_ONEREQ *one = OCSP_request_onereq_get0(decoded, 0);
        assert_int_equal(OCSP_id_cmp(id, OCSP_onereq_get0_id(one)), 0);
        OCSP_CERTID_free(id);
        OCSP_REQUEST_free(decoded);
        stls_ocsp_request_clear(&request, &stls_libc_allocator);
    }
}

static void post_where_get_will_not_do(void **state)
{
    static const struct {
        const char *what, *url;
        int with_nonce;
    } rows[] = {
        {"nonce", "http://a.example/", 1},
        {"query", "http://a.example/?x=y", 0},
        {"fragment", "http://a.example/#x", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_ocsp_request request = make(rows[i].url, rows[i].with_nonce);
        const unsigned char *p = request.der;
        assert_non_null(request.der);
        assert_string_equal(request.url, rows[i].url);
        OCSP_REQUEST *decoded = d2i_OCSP_REQUEST(NULL, &p, (long)request.der_len);
        assert_non_null(decoded);
        assert_ptr_equal(p, request.der + request.der_len);
        int at = OCSP_REQUEST_get_ext_by_NID(decoded, NID_id_pkix_OCSP_Nonce, -1);
        assert_int_equal(at >= 0, rows[i].with_nonce);
        if (at >= 0) {
            /* An OCTET STRING of 32 octets, which RFC 9654 section 2.1 recommends. */
            const ASN1_OCTET_STRING *nonce = X509_EXTENSION_get_data(
                OCSP_REQUEST_get_ext(decoded, at));
            assert_int_equal(ASN1_STRING_length(nonce), 34);
            assert_memory_equal(ASN1_STRING_get0_data(nonce), "\x04\x20", 2);
        }
        OCSP_REQUEST_free(decoded);
        stls_ocsp_request_clear(&request, &stls_libc_allocator);
    }
}

static void long_request_is_posted(void **state)
{
    static const char url[] = "http://a.example/";
    const aid_pki *pki = aid_usual_pki();
    stls_allocator allocator = stls_libc_allocator;
    aid_cert spec = aid_leaf_spec();
    X509 *cert = X509_dup(aid_make_cert(&spec));
    unsigned char digits[150];
    stls_ocsp_request request;

    (void)state;
    memset(digits, 0x7f, sizeof(digits)); /* no CA may do so, yet one could */
    BIGNUM *serial = BN_bin2bn(digits, sizeof(digits), NULL);
    BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert));
    assert_int_equal(stls_ocsp_request_make(&request, &allocator, cert, pki->inter, url, 0),
                     STLS_OK);
    assert_non_null(request.der);
    assert_string_equal(request.url, url);
    stls_ocsp_request_clear(&request, &allocator);
    BN_free(serial);
    X509_free(cert);
}

static void nonces_differ(void **state)
{
    stls_ocsp_request a = make("http://a.example/", 1), b = make("http://a.example/", 1);
    (void)state;
    assert_int_equal(a.der_len, b.der_len);
    assert_memory_not_equal(a.der, b.der, a.der_len);
    stls_ocsp_request_clear(&a, &stls_libc_allocator);
    stls_ocsp_request_clear(&b, &stls_libc_allocator);
}

static void each_allocation_may_fail(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    (void)state;
    for (int with_nonce = 0; with_nonce < 2; with_nonce++) {
        for (size_t fail_at = 1;; fail_at++) {
            aid_heap heap = {.fail_at = fail_at};
            stls_allocator allocator = aid_allocator(&heap);
            stls_ocsp_request request;
            stls_status status = stls_ocsp_request_make(&request, &allocator, pki->leaf, pki->inter,
                                                        "http://a.example/", with_nonce);
            if (status == STLS_OK) {
                stls_ocsp_request_clear(&request, &allocator);
            }
            assert_int_equal(heap.num_live, 0);
            if (heap.num_allocs < fail_at) {
                assert_int_equal(status, STLS_OK);
                break;
            }
            /* GET that cannot be built may still go as POST. */
            assert_true(status == STLS_ERR_MEMORY || (status == STLS_OK && !with_nonce));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(question_names_certificate_and_issuer),
        cmocka_unit_test(trap_1_serial_prefix_is_another_question),
        cmocka_unit_test(get_where_it_fits),
        cmocka_unit_test(post_where_get_will_not_do),
        cmocka_unit_test(long_request_is_posted),
        cmocka_unit_test(nonces_differ),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("ocsp_request", tests, NULL, aid_end);
}
