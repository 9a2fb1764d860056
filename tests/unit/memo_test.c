/* What is remembered of signatures is true, and of no other signature. */
#include "support.h"

#include "memo.h"

static stls_memo *new_memo(size_t max_entries)
{
    stls_memo *memo = stls_memo_new(max_entries, NULL);
    assert_non_null(memo);
    return memo;
}

/* Whatever byte differs: the memo says what OpenSSL says. */
static void no_flipped_byte_of_a_certificate_is_taken(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_memo *memo = new_memo(1024);
    size_t len, num_tried = 0;
    const unsigned char *der = aid_der(pki->leaf, &len);
    unsigned char *copy = OPENSSL_memdup(der, len);

    (void)state;
    AID_NEED(copy);
    assert_int_equal(stls_memo_verify_cert(memo, pki->leaf, pki->inter), 1);
    for (size_t i = 0; i < len; i++) {
        const unsigned char *p = copy;
        copy[i] ^= 1;
        X509 *other = d2i_X509(NULL, &p, (long)len);
        if (other != NULL) {
            num_tried++;
            assert_int_equal(stls_memo_verify_cert(memo, other, pki->inter),
                             X509_verify(other, X509_get0_pubkey(pki->inter)) == 1);
        }
        X509_free(other);
        copy[i] ^= 1;
    }
    assert_true(num_tried > len / 2);
    assert_int_equal(stls_memo_verify_cert(memo, pki->leaf, pki->inter), 1);
    OPENSSL_free(copy);
    ERR_clear_error();
    stls_memo_free(memo);
}

static void another_key_is_another_signature(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_memo *memo = new_memo(64);
    aid_cert twin = {.subject = "CN=Intermediate,O=Lab", .key = 5, .is_ca = 1};
    twin.issuer = pki->root;
    (void)state;
    assert_int_equal(stls_memo_verify_cert(memo, pki->leaf, pki->inter), 1);
    assert_int_equal(stls_memo_verify_cert(memo, pki->leaf, aid_make_cert(&twin)), 0);
    assert_int_equal(stls_memo_verify_cert(memo, pki->leaf, pki->root), 0);
    assert_int_equal(stls_memo_verify_cert(memo, pki->inter, pki->root), 1);
    assert_int_equal(stls_memo_verify_cert(memo, pki->inter, pki->inter), 0);
    stls_memo_free(memo);
}

static OCSP_BASICRESP *basic_of(aid_bytes der)
{
    const unsigned char *p = der.bytes;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)der.len);
    OCSP_BASICRESP *basic = response != NULL ? OCSP_response_get1_basic(response) : NULL;
    OCSP_RESPONSE_free(response);
    return basic;
}

static void no_flipped_byte_of_an_answer_is_taken(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_memo *memo = new_memo(1024);
    aid_bytes der = aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_GOOD);
    OCSP_BASICRESP *good = basic_of(der);
    size_t num_tried = 0;

    (void)state;
    AID_NEED(good);
    assert_int_equal(stls_memo_verify_answer(memo, good, pki->inter), 1);
    assert_int_equal(stls_memo_verify_answer(memo, good, pki->root), 0);
    for (size_t i = 0; i < der.len; i++) {
        der.bytes[i] ^= 1;
        OCSP_BASICRESP *other = basic_of(der);
        if (other != NULL) {
            int fresh = stls_memo_verify_answer(NULL, other, pki->inter);
            num_tried++;
            assert_int_equal(stls_memo_verify_answer(memo, other, pki->inter), fresh);
        }
        OCSP_BASICRESP_free(other);
        der.bytes[i] ^= 1;
    }
    assert_true(num_tried > 100);
    assert_int_equal(stls_memo_verify_answer(memo, good, pki->inter), 1);
    OCSP_BASICRESP_free(good);
    ERR_clear_error();
    stls_memo_free(memo);
}

/* However little there is room for, and whatever was given up. */
static void a_small_memo_says_the_same(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_memo *memo = new_memo(4);
    (void)state;
    for (int i = 0; i < 40; i++) {
        aid_cert spec = aid_leaf_spec();
        X509 *leaf = aid_make_cert(&spec), *spoilt = aid_spoil_signature(leaf);
        assert_int_equal(stls_memo_verify_cert(memo, leaf, pki->inter), 1);
        assert_int_equal(stls_memo_verify_cert(memo, leaf, pki->inter), 1);
        assert_int_equal(stls_memo_verify_cert(memo, spoilt, pki->inter), 0);
        assert_int_equal(stls_memo_verify_cert(memo, pki->leaf, pki->inter), 1);
    }
    ERR_clear_error();
    stls_memo_free(memo);
}

static void checks_share_one(void **state)
{
    aid_case c = {.policy = "max_signatures=4"};
    stls_memo *memo = new_memo(64);
    size_t num_fetches;
    (void)state;
    for (int i = 0; i < 3; i++) {
        stls_check *check = aid_new_check(&c, NULL);
        assert_int_equal(stls_check_set_memo(check, memo), STLS_OK);
        assert_int_equal(aid_finish(&c, check, &num_fetches), STLS_ACCEPT);
        assert_int_equal(stls_check_set_memo(check, NULL), STLS_ERR_STATE);
        stls_check_free(check);
    }
    /* What is saved counts: a verdict does not depend on who was there before. */
    c.policy = "max_signatures=3";
    stls_check *check = aid_new_check(&c, NULL);
    assert_int_equal(stls_check_set_memo(check, memo), STLS_OK);
    stls_memo_free(memo); /* the check has a reference of its own */
    assert_int_equal(aid_finish(&c, check, &num_fetches), STLS_REJECT);
    assert_int_equal(aid_reason(check), STLS_REASON_CHAIN_TOO_COSTLY);
    stls_check_free(check);
}

static void memory(void **state)
{
    aid_heap heap = {0};
    stls_allocator allocator = aid_allocator(&heap);
    (void)state;
    for (heap.fail_at = 1; heap.fail_at <= 2; heap.fail_at++) {
        heap.num_allocs = 0;
        assert_null(stls_memo_new(64, &allocator));
        assert_int_equal(heap.num_live, 0);
    }
    heap.fail_at = 0;
    assert_null(stls_memo_new(0, NULL));
    assert_null(stls_memo_new(3, NULL));
    assert_null(stls_memo_new(SIZE_MAX, NULL));
    stls_memo_free(stls_memo_up_ref(NULL));
    stls_memo *memo = stls_memo_new(64, &allocator);
    stls_memo_free(memo);
    assert_int_equal(heap.num_live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_flipped_byte_of_a_certificate_is_taken),
        cmocka_unit_test(another_key_is_another_signature),
        cmocka_unit_test(no_flipped_byte_of_an_answer_is_taken),
        cmocka_unit_test(a_small_memo_says_the_same),
        cmocka_unit_test(checks_share_one),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests_name("memo", tests, NULL, aid_end);
}
