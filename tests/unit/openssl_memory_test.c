/*
 * Out of memory inside OpenSSL: checks that reject, repeated with each of its
 * allocations failing in turn, once alone and once with all that follow.  What
 * could not be verified, decoded or asked for lack of memory must not pass for
 * what proves nothing, beside something else that says "good" or under soft.
 */
#include "support_crl.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/x509v3.h>

#include "error.h"

/*
 * OpenSSL passes over some failures without an error (a name that it could not
 * copy, a time that it could not compare): one allocation in so many.
 */
#define ONE_SILENT_IN 20

static int is_armed, fails_on;
static size_t num_allocs, fail_at;

static int fails(void)
{
    if (!is_armed) {
        return 0;
    }
    num_allocs++;
    return num_allocs == fail_at || (fails_on && fail_at > 0 && num_allocs > fail_at);
}

static void *failing_malloc(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : malloc(len);
}

static void *failing_realloc(void *old, size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : realloc(old, len);
}

static void plain_free(void *at, const char *file, int line)
{
    (void)file;
    (void)line;
    free(at);
}

typedef struct {
    const char *what, *policy;
    const aid_crl *crls[3];
    X509 *given;
    aid_bytes answer; /* what the leaf's responder says; none: it is not reached */
    size_t most;      /* of the allocations so many fail in turn; 0: all */
} memory_case;

static stls_check *new_check(const memory_case *c)
{
    const aid_pki *pki = aid_usual_pki();
    aid_case whole = {.policy = c->policy, .certs = aid_stack(pki->leaf, pki->inter, NULL)};
    stls_check *check = aid_new_check(&whole, NULL);
    for (size_t i = 0; i < 3 && c->crls[i] != NULL; i++) {
        aid_bytes bytes = aid_make_crl(c->crls[i]);
        unsigned char *copy = malloc(bytes.len);
        memcpy(copy, bytes.bytes, bytes.len);
        stls_crl *crl = stls_crl_new(NULL, copy, bytes.len, free);
        while (stls_crl_step(crl, 1 << 20) == STLS_CRL_MORE) {
        }
        stls_check_add_crl(check, crl);
        stls_crl_free(crl);
    }
    if (c->given != NULL) {
        stls_check_add_crl_issuer(check, c->given);
    }
    stls_check_trust(check, NOW_S);
    return check;
}

static stls_verdict run(const memory_case *c)
{
    stls_fetch fetch;
    stls_check *check = new_check(c);
    stls_reply reply = {c->answer.bytes != NULL ? STLS_FETCH_OK : STLS_FETCH_NETWORK,
                        c->answer.bytes, c->answer.len, NULL};

    num_allocs = 0;
    is_armed = 1;
    stls_check_start(check, NOW_S);
    while (stls_check_next_fetch(check, &fetch)) {
        stls_check_feed(check, fetch.id, &reply, NOW_S);
    }
    stls_verdict verdict = stls_check_verdict(check);
    is_armed = 0;
    stls_check_free(check);
    ERR_clear_error();
    return verdict;
}

static void each_allocation_fails(const memory_case *c)
{
    size_t num_accepted = 0;

    fail_at = 0;
    assert_int_equal(run(c), STLS_REJECT); /* some things are made at the first time only */
    assert_int_equal(run(c), STLS_REJECT);
    size_t num = c->most > 0 && c->most < num_allocs ? c->most : num_allocs;
    assert_true(num > ONE_SILENT_IN);
    for (fails_on = 0; fails_on < 2; fails_on++) {
        for (fail_at = 1; fail_at <= num; fail_at++) {
            num_accepted += run(c) == STLS_ACCEPT;
        }
    }
    if (num_accepted * ONE_SILENT_IN > 2 * num) {
        fail_msg("%s: accepted %zu times of %zu", c->what, num_accepted, 2 * num);
    }
}

static void number_5(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 5);
}

static void delta_6(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 6);
    aid_add_crl_number(crl, NID_delta_crl, 5);
}

static void runs_that_reject(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *twin = aid_make_cert(&(aid_cert){.subject = "CN=Intermediate,O=Lab",
                                           .key = 6,
                                           .key_usage = "critical,cRLSign",
                                           .issuer = pki->root,
                                           .issuer_key = 0});
    const aid_crl good = {.shape = number_5}, revoked = {.revoked = {pki->leaf}};
    const aid_crl delta = {.shape = delta_6, .revoked = {pki->leaf}};
    const aid_crl past = {.revoked = {pki->leaf}, .next_update_s = NOW_S - HOUR_S};
    const aid_crl by_twin = {.issuer = twin, .issuer_key = 6, .revoked = {pki->leaf}};
    const aid_crl of_root = {.issuer = pki->root, .issuer_key = 0};
    const aid_bytes says_revoked = aid_ocsp_about(pki->leaf, pki->inter, 1,
                                                  V_OCSP_CERTSTATUS_REVOKED);
#define CRLS "revocation_scope=leaf revocation_sources=crl "
    const memory_case rows[] = {
        {"two CRLs", CRLS, {&good, &revoked}, NULL, {NULL, 0}, 0},
        {"two CRLs, soft", CRLS "revocation=soft", {&good, &revoked}, NULL, {NULL, 0}, 0},
        {"one CRL, soft", CRLS "revocation=soft", {&revoked}, NULL, {NULL, 0}, 0},
        {"one past its time", CRLS, {&good, &past}, NULL, {NULL, 0}, 0},
        {"a delta", CRLS, {&good, &delta}, NULL, {NULL, 0}, 0},
        {"a signer with a path of its own", CRLS, {&good, &by_twin, &of_root}, twin, {NULL, 0}, 0},
        {"the same, soft", CRLS "revocation=soft", {&good, &by_twin, &of_root}, twin, {NULL, 0}, 0},
        {"OCSP, soft",
         "revocation_scope=leaf revocation_sources=ocsp revocation=soft",
         {NULL},
         NULL,
         says_revoked,
         150},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        each_allocation_fails(&rows[i]);
    }
}

/* Marks nest, and what others left in the queue stays there and says nothing about us. */
static void marks_in_the_error_queue(void **state)
{
    (void)state;
    for (int has_others = 0; has_others < 2; has_others++) {
        ERR_clear_error();
        if (has_others) {
            ERR_raise(ERR_LIB_X509, ERR_R_MALLOC_FAILURE);
        }
        unsigned long before = ERR_peek_error();
        stls_errors_mark();
        assert_int_equal(stls_errors_pop(), 0);
        stls_errors_mark();
        stls_errors_mark();
        ERR_raise(ERR_LIB_EVP, ERR_R_MALLOC_FAILURE);
        ERR_raise(ERR_LIB_EVP, ERR_R_EVP_LIB); /* the last one alone says nothing of memory */
        assert_int_equal(stls_errors_pop(), !has_others);
        assert_int_equal(stls_errors_pop(), 0);
        stls_errors_mark();
        stls_errors_mark();
        ERR_raise(ERR_LIB_EVP, ERR_R_MALLOC_FAILURE);
        stls_errors_pass_on();
        assert_int_equal(stls_errors_pop(), 1);
        stls_errors_mark();
        stls_errors_mark();
        ERR_raise(ERR_LIB_EVP, ERR_R_EVP_LIB);
        stls_errors_pass_on();
        assert_int_equal(stls_errors_pop(), 0);
        assert_int_equal(ERR_peek_error(), before);
        assert_int_equal(ERR_peek_last_error(), before);
    }
    ERR_clear_error();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_in_the_error_queue),
        cmocka_unit_test(runs_that_reject),
    };
    /* Before OpenSSL allocates anything. */
    if (!CRYPTO_set_mem_functions(failing_malloc, failing_realloc, plain_free)) {
        return 1;
    }
    return cmocka_run_group_tests_name("openssl_memory", tests, NULL, aid_end);
}
