#include "support.h"

#include <openssl/err.h>
#include <openssl/pem.h>

static BIO *pem_of(X509 *first, ...)
{
    BIO *bio = BIO_new(BIO_s_mem());
    va_list certs;
    va_start(certs, first);
    for (X509 *cert = first; cert != NULL; cert = va_arg(certs, X509 *)) {
        assert_true(PEM_write_bio_X509(bio, cert));
    }
    va_end(certs);
    return bio;
}

/* Takes the BIO. */
static stls_status load(stls_anchors *anchors, BIO *bio)
{
    stls_error err = {""};
    stls_status status = stls_anchors_load(anchors, bio, &err);
    assert_true((err.text[0] != '\0') == (status != STLS_OK));
    BIO_free(bio);
    return status;
}

static void only_self_signed_become_anchors(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_anchors *anchors = stls_anchors_new(NULL);

    (void)state;
    assert_int_equal(load(anchors, pem_of(pki->leaf, pki->root, pki->inter, NULL)), STLS_OK);
    assert_int_equal(stls_anchors_count(anchors), 1);
    assert_int_equal(load(anchors, pem_of(pki->root, pki->other_root, NULL)), STLS_OK);
    assert_int_equal(stls_anchors_count(anchors), 2);
    assert_int_equal(stls_anchors_freeze(anchors, NULL), STLS_OK);
    stls_anchors_free(anchors);
}

static void decoded_certificates_are_added_alike(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *certs[] = {pki->leaf, pki->root, pki->inter, pki->root, pki->other_root};
    stls_anchors *one = stls_anchors_new(NULL), *other = stls_anchors_new(NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(certs) / sizeof(certs[0]); i++) {
        assert_int_equal(stls_anchors_add_cert(one, certs[i]), STLS_OK);
    }
    assert_int_equal(
        load(other, pem_of(pki->leaf, pki->root, pki->inter, pki->root, pki->other_root, NULL)),
        STLS_OK);
    assert_int_equal(stls_anchors_freeze(one, NULL), STLS_OK);
    assert_int_equal(stls_anchors_freeze(other, NULL), STLS_OK);
    assert_int_equal(stls_anchors_count(one), 2);
    assert_int_equal(sk_X509_num(stls_anchors_get0_certs(one)), 2);
    assert_memory_equal(stls_anchors_get0_id(one), stls_anchors_get0_id(other), STLS_ID_LEN);
    assert_int_equal(stls_anchors_add_cert(one, pki->root), STLS_ERR_STATE);
    stls_anchors_free(one);
    stls_anchors_free(other);
}

static void trap_19_self_issued_is_no_anchor(void **state)
{
    aid_cert spec = {.subject = "CN=Root,O=Lab", .key = 5, .is_ca = 1};
    stls_anchors *anchors = stls_anchors_new(NULL);

    (void)state;
    spec.issuer = aid_usual_pki()->root; /* the same name, another key */
    X509 *self_issued = aid_make_cert(&spec);
    X509 *spoilt = aid_spoil_signature(aid_usual_pki()->root);
    assert_int_equal(load(anchors, pem_of(self_issued, spoilt, NULL)), STLS_OK);
    assert_int_equal(stls_anchors_count(anchors), 0);
    assert_int_equal(stls_anchors_freeze(anchors, NULL), STLS_ERR_ARGUMENT);
    assert_null(stls_anchors_get0_id(anchors));
    stls_anchors_free(anchors);
}

static void what_is_no_bundle_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "nothing of the kind\n",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIBAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIBAAAA\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        stls_anchors *anchors = stls_anchors_new(NULL);
        assert_int_equal(load(anchors, BIO_new_mem_buf(texts[i], -1)), STLS_ERR_ARGUMENT);
        stls_anchors_free(anchors);

        /* Neither behind a good certificate, but for text that is no PEM at all. */
        anchors = stls_anchors_new(NULL);
        BIO *bio = pem_of(aid_usual_pki()->root, NULL);
        BIO_puts(bio, texts[i]);
        assert_int_equal(load(anchors, bio), i < 2 ? STLS_OK : STLS_ERR_ARGUMENT);
        stls_anchors_free(anchors);
    }
}

static void private_keys_in_the_bundle_are_passed_over(void **state)
{
    stls_anchors *anchors = stls_anchors_new(NULL);
    BIO *bio = BIO_new(BIO_s_mem());
    (void)state;
    assert_true(PEM_write_bio_PrivateKey(bio, aid_key(0), NULL, NULL, 0, NULL, NULL));
    assert_true(PEM_write_bio_X509(bio, aid_usual_pki()->root));
    assert_int_equal(load(anchors, bio), STLS_OK);
    assert_int_equal(stls_anchors_count(anchors), 1);
    stls_anchors_free(anchors);
}

static void id_changes_with_the_content(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_anchors *sets[] = {
        aid_anchors(pki->root, NULL),
        aid_anchors(pki->root, pki->root, NULL), /* the same set */
        aid_anchors(pki->other_root, NULL),
        aid_anchors(pki->root, pki->other_root, NULL),
        aid_anchors(pki->root, pki->inter, NULL),
    };
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < i; j++) {
            int is_equal = i == 1 && j == 0;
            assert_int_equal(
                memcmp(stls_anchors_get0_id(sets[i]), stls_anchors_get0_id(sets[j]), STLS_ID_LEN)
                    == 0,
                is_equal);
        }
    }
}

static void frozen_is_immutable(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_anchors *anchors = stls_anchors_new(NULL);

    (void)state;
    assert_int_equal(stls_anchors_freeze(anchors, NULL), STLS_ERR_ARGUMENT);
    assert_int_equal(load(anchors, pem_of(pki->root, NULL)), STLS_OK);
    assert_null(stls_anchors_get0_id(anchors));
    assert_int_equal(stls_anchors_freeze(anchors, NULL), STLS_OK);
    assert_int_equal(stls_anchors_freeze(anchors, NULL), STLS_OK);
    assert_int_equal(load(anchors, pem_of(pki->other_root, NULL)), STLS_ERR_STATE);
    assert_int_equal(stls_anchors_count(anchors), 1);
    stls_anchors_free(anchors);
}

static void memory_comes_and_goes(void **state)
{
    aid_heap heap = {0};
    stls_allocator allocator = aid_allocator(&heap);
    (void)state;
    stls_anchors *anchors = stls_anchors_new(&allocator);
    assert_int_equal(load(anchors, pem_of(aid_usual_pki()->root, NULL)), STLS_OK);
    stls_anchors_up_ref(anchors);
    stls_anchors_free(anchors);
    assert_int_equal(stls_anchors_freeze(anchors, NULL), STLS_OK);
    stls_anchors_free(anchors);
    assert_int_equal(heap.num_live, 0);
    stls_anchors_free(NULL);
    assert_null(stls_anchors_up_ref(NULL));

    aid_heap empty = {.fail_at = 1};
    allocator = aid_allocator(&empty);
    assert_null(stls_anchors_new(&allocator));
}

static void error_queue_stays_as_it_was(void **state)
{
    stls_anchors *anchors = stls_anchors_new(NULL);
    (void)state;
    ERR_clear_error();
    load(anchors, pem_of(aid_usual_pki()->root, NULL));
    load(anchors, BIO_new_mem_buf("-----BEGIN CERTIFICATE-----\nMIIBAAAA\n", -1));
    assert_int_not_equal(stls_anchors_freeze(anchors, NULL), 0);
    assert_true(ERR_peek_error() == 0);
    stls_anchors_free(anchors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_self_signed_become_anchors),
        cmocka_unit_test(decoded_certificates_are_added_alike),
        cmocka_unit_test(trap_19_self_issued_is_no_anchor),
        cmocka_unit_test(what_is_no_bundle_is_refused),
        cmocka_unit_test(private_keys_in_the_bundle_are_passed_over),
        cmocka_unit_test(id_changes_with_the_content),
        cmocka_unit_test(frozen_is_immutable),
        cmocka_unit_test(memory_comes_and_goes),
        cmocka_unit_test(error_queue_stays_as_it_was),
    };
    return cmocka_run_group_tests_name("anchors", tests, NULL, aid_end);
}
