#include "support.h"

#include <openssl/pem.h>
#include <openssl/pkcs7.h>

static stls_repair *new_repair(STACK_OF(X509) *presented)
{
    stls_repair *repair = stls_repair_new(aid_policy("", NULL), aid_usual_anchors(),
                                          STLS_ROLE_SERVER, NOW_S);
    assert_non_null(repair);
    for (int i = 0; i < sk_X509_num(presented); i++) {
        assert_int_equal(stls_repair_add_cert(repair, sk_X509_value(presented, i)), STLS_OK);
    }
    return repair;
}

/* The repaired chain is exactly leaf and intermediate, in this order. */
static void assert_repaired(stls_repair *repair)
{
    const aid_pki *pki = aid_usual_pki();
    size_t len;
    const char *pem = stls_repair_get0_pem(repair, &len);
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    X509 *wanted[] = {pki->leaf, pki->inter};

    for (size_t i = 0; i < 2; i++) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        assert_non_null(cert);
        assert_int_equal(X509_cmp(cert, wanted[i]), 0);
        X509_free(cert);
    }
    assert_null(PEM_read_bio_X509(bio, NULL, NULL, NULL));
    BIO_free(bio);
}

static void missing_intermediate_is_fetched(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_repair *repair = new_repair(aid_stack(pki->leaf, NULL));
    size_t len;
    const unsigned char *der = aid_der(pki->inter, &len);

    (void)state;
    assert_string_equal(stls_repair_next_url(repair), INTER_ISSUER_URL);
    assert_int_equal(stls_repair_feed(repair, der, len), STLS_OK);
    assert_null(stls_repair_next_url(repair));
    assert_int_equal(stls_repair_finish(repair, NULL), STLS_OK);
    assert_repaired(repair);
    assert_non_null(strstr(stls_repair_get0_changes(repair), "added"));
    stls_repair_free(repair);
}

static void other_encodings(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    (void)state;
    for (int as_pem = 0; as_pem < 2; as_pem++) {
        stls_repair *repair = new_repair(aid_stack(pki->leaf, NULL));
        BIO *bio = BIO_new(BIO_s_mem());
        char *bytes;
        if (as_pem) {
            PEM_write_bio_X509(bio, pki->inter);
        } else {
            PKCS7 *bag = PKCS7_new();
            PKCS7_set_type(bag, NID_pkcs7_signed);
            PKCS7_content_new(bag, NID_pkcs7_data);
            PKCS7_add_certificate(bag, pki->inter);
            i2d_PKCS7_bio(bio, bag);
            PKCS7_free(bag);
        }
        long len = BIO_get_mem_data(bio, &bytes);
        assert_non_null(stls_repair_next_url(repair));
        assert_int_equal(stls_repair_feed(repair, (unsigned char *)bytes, (size_t)len), STLS_OK);
        assert_int_equal(stls_repair_finish(repair, NULL), STLS_OK);
        assert_repaired(repair);
        BIO_free(bio);
        stls_repair_free(repair);
    }
}

static void what_is_there_is_put_in_order(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_repair *repair = new_repair(
        aid_stack(pki->leaf, pki->root, pki->other_root, pki->inter, pki->inter, NULL));

    (void)state;
    assert_null(stls_repair_next_url(repair));
    assert_int_equal(stls_repair_finish(repair, NULL), STLS_OK);
    assert_repaired(repair);
    assert_non_null(strstr(stls_repair_get0_changes(repair), "removed"));
    stls_repair_free(repair);

    repair = new_repair(aid_stack(pki->leaf, pki->inter, NULL));
    assert_int_equal(stls_repair_finish(repair, NULL), STLS_OK);
    assert_string_equal(stls_repair_get0_changes(repair), "");
    stls_repair_free(repair);
}

static void nothing_untrusted_is_repaired(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_error err = {""};
    size_t len;
    (void)state;

    stls_repair *repair = new_repair(aid_stack(pki->leaf, NULL));
    assert_non_null(stls_repair_next_url(repair));
    assert_int_equal(stls_repair_feed(repair, (const unsigned char *)"garbage", 7),
                     STLS_ERR_ARGUMENT);
    assert_null(stls_repair_next_url(repair));
    assert_int_equal(stls_repair_finish(repair, &err), STLS_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "issuer"));
    assert_null(stls_repair_get0_pem(repair, &len));
    stls_repair_free(repair);

    /* Someone else's certificate of the same name is no issuer. */
    aid_cert spec = {.subject = "CN=Intermediate,O=Lab",
                     .key = 6,
                     .issuer = pki->other_root,
                     .issuer_key = 4,
                     .is_ca = 1};
    const unsigned char *der = aid_der(aid_make_cert(&spec), &len);
    repair = new_repair(aid_stack(pki->leaf, NULL));
    assert_non_null(stls_repair_next_url(repair));
    assert_int_equal(stls_repair_feed(repair, der, len), STLS_OK);
    assert_int_equal(stls_repair_finish(repair, &err), STLS_ERR_ARGUMENT);
    stls_repair_free(repair);

    /* An expired leaf stays expired, however whole its chain is. */
    aid_cert expired = aid_leaf_spec();
    expired.not_after_s = NOW_S - DAY_S;
    repair = new_repair(aid_stack(aid_make_cert(&expired), pki->inter, NULL));
    assert_int_equal(stls_repair_finish(repair, &err), STLS_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "chain.expired"));
    stls_repair_free(repair);

    repair = new_repair(aid_stack(NULL));
    assert_int_equal(stls_repair_finish(repair, &err), STLS_ERR_STATE);
    stls_repair_free(repair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_intermediate_is_fetched),
        cmocka_unit_test(other_encodings),
        cmocka_unit_test(what_is_there_is_put_in_order),
        cmocka_unit_test(nothing_untrusted_is_repaired),
    };
    return cmocka_run_group_tests_name("repair", tests, NULL, aid_end);
}
