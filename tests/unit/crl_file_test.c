#include "support_crl.h"

#include <stdio.h>
#include <stdlib.h>

#define PATH "crl_file=/etc/crls.pem "

static aid_bytes text(const char *text)
{
    return (aid_bytes){(unsigned char *)text, strlen(text)};
}

/* ---- what is read
 * ---------------------------------------------------------------- */

static void forms(void **state)
{
    aid_crl of_inter = {0}, of_root = {.issuer = aid_usual_pki()->root}, big = {.num_others = 3000};
    aid_bytes one = aid_make_crl(&of_inter), two = aid_make_crl(&of_root);
    aid_bytes pem = aid_crl_pem(one), other = aid_crl_pem(two),
              large = aid_crl_pem(aid_make_crl(&big));
    aid_bytes cut = {pem.bytes, pem.len - 30}, headless = {pem.bytes + 5, pem.len - 5};
    aid_bytes half_der = {one.bytes, one.len - 1};
    aid_bytes both[] = {pem, other}, amid[] = {text("# ours\n-----\n"), pem,
                                               text("\n\n# theirs\r\n"), other, text("# end")};
    aid_bytes spoiled[] = {pem, text("-----BEGIN X509 CRL-----\nMII!\n-----END X509 CRL-----\n")};
    aid_bytes not_a_crl[] = {pem, text("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n")};
    aid_bytes foreign[] = {text("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
                           pem};
    const struct {
        const char *what;
        aid_bytes bytes;
        size_t num; /* 0: refused */
    } rows[] = {
        {"DER", one, 1},
        {"PEM", pem, 1},
        {"PEM, one behind the other", aid_join(both, 2), 2},
        {"PEM with other lines", aid_join(amid, 5), 2},
        {"PEM with a certificate", aid_join(foreign, 2), 1},
        {"a large one", large, 1},
        {"nothing", text(""), 0},
        {"text", text("no CRL\n"), 0},
        {"only a certificate", foreign[0], 0},
        {"PEM without an end", cut, 0},
        {"PEM without a beginning", headless, 0},
        {"base64 spoiled in the second", aid_join(spoiled, 2), 0},
        {"the second is no CRL", aid_join(not_a_crl, 2), 0},
        {"DER cut", half_der, 0},
        {"base64 behind its padding",
         text("-----BEGIN X509 CRL-----\nMAA=MAA=\n-----END X509 CRL-----\n"), 0},
        {"base64 of a length that is none",
         text("-----BEGIN X509 CRL-----\nMAA\n-----END X509 CRL-----\n"), 0},
        {"nothing but padding", text("-----BEGIN X509 CRL-----\n====\n-----END X509 CRL-----\n"),
         0},
    };
    const size_t budgets[] = {1, 7, 4096, SIZE_MAX / 2};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t b = rows[i].bytes.len > 100000; b < 4; b++) {
            stls_error err = {""};
            stls_crl_file *file = aid_crl_file(rows[i].bytes, budgets[b], &err);
            size_t num = file != NULL ? stls_crl_file_num_crls(file) : 0;
            if (num != rows[i].num || (num == 0) != (err.text[0] != '\0')) {
                fail_msg("%s, %zu at a time: %zu CRLs %s", rows[i].what, budgets[b], num, err.text);
            }
        }
    }
}

static void id_is_the_content(void **state)
{
    aid_crl spec = {0}, later = {.this_update_s = NOW_S - 60};
    stls_crl_file *a = aid_crl_file(aid_crl_pem(aid_make_crl(&spec)), 4096, NULL);
    stls_crl_file *b = aid_crl_file(aid_crl_pem(aid_make_crl(&later)), 4096, NULL);
    unsigned char in[STLS_ID_LEN] = {1}, key_a[STLS_ID_LEN], key_b[STLS_ID_LEN], none[STLS_ID_LEN];

    (void)state;
    assert_memory_not_equal(stls_crl_file_get0_id(a), stls_crl_file_get0_id(b), STLS_ID_LEN);
    assert_int_equal(stls_verdict_key_crl_file(key_a, in, a), STLS_OK);
    assert_int_equal(stls_verdict_key_crl_file(key_b, in, b), STLS_OK);
    assert_int_equal(stls_verdict_key_crl_file(none, in, NULL), STLS_OK);
    assert_memory_not_equal(key_a, key_b, STLS_ID_LEN);
    assert_memory_not_equal(key_a, none, STLS_ID_LEN);
    assert_memory_not_equal(in, none, STLS_ID_LEN);
    assert_true(stls_crl_file_memory_len(a) > 300);
}

/* The first, the second, ... allocation fails: nothing leaks, and it says so.
 */
static void out_of_memory(void **state)
{
    aid_crl spec = {.num_others = 20};
    aid_bytes pem = aid_crl_pem(aid_make_crl(&spec));
    stls_crl_state result = STLS_CRL_FAILED;

    (void)state;
    for (size_t fail_at = 1; result != STLS_CRL_DONE && fail_at < 50; fail_at++) {
        aid_heap heap = {.fail_at = fail_at};
        stls_allocator allocator = aid_allocator(&heap);
        stls_crl_file *file = stls_crl_file_new(&allocator, pem.bytes, pem.len, NULL);
        stls_error err = {""};
        if (file == NULL) {
            assert_int_equal(fail_at, 1);
            continue;
        }
        do {
            result = stls_crl_file_step(file, 1000, &err);
        } while (result == STLS_CRL_MORE);
        assert_int_equal(result == STLS_CRL_DONE, heap.num_allocs < fail_at);
        assert_int_equal(result == STLS_CRL_FAILED, err.text[0] != '\0');
        assert_int_equal(result == STLS_CRL_FAILED, stls_crl_file_lacks_memory(file));
        stls_crl_file_free(file);
        assert_int_equal(heap.num_live, 0);
    }
    assert_int_equal(result, STLS_CRL_DONE);
}

/* ---- the rung
 * ------------------------------------------------------------------------ */

static stls_result *judge(const aid_case *c, stls_crl_file *file, size_t *num_fetches)
{
    stls_check *check = aid_new_check(c, NULL);
    assert_int_equal(stls_check_set_crl_file(check, file), STLS_OK);
    aid_finish(c, check, num_fetches);
    stls_result *result = stls_check_get1_result(check);
    assert_non_null(result);
    aid_keep((void (*)(void *))stls_result_free, result);
    assert_int_equal(stls_check_set_crl_file(check, file), STLS_ERR_STATE);
    stls_check_free(check);
    return result;
}

static stls_crl_file *file_of(const aid_crl *first, const aid_crl *second)
{
    aid_bytes parts[2] = {aid_crl_pem(aid_make_crl(first))};
    if (second != NULL) {
        parts[1] = aid_crl_pem(aid_make_crl(second));
    }
    return aid_crl_file(aid_join(parts, second != NULL ? 2 : 1), 4096, NULL);
}

static void rung(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert silent_spec = aid_leaf_spec();
    silent_spec.aia = "";
    X509 *silent = aid_make_cert(&silent_spec);
    STACK_OF(X509) *no_source = aid_stack(silent, pki->inter, NULL);
    aid_crl inter = {0}, root = {.issuer = pki->root};
    aid_crl leaf_revoked = {.revoked = {pki->leaf, silent}, .reason = 1};
    aid_crl inter_revoked = {.issuer = pki->root, .revoked = {pki->inter}};
    aid_crl stale = {.this_update_s = NOW_S - 9 * DAY_S, .next_update_s = NOW_S - DAY_S};
    aid_crl endless = {.next_update_s = -1},
            ancient = {.this_update_s = NOW_S - 9 * DAY_S, .next_update_s = -1};
    aid_crl odd = {.extension = "critical,DER:0500"};
    aid_crl forged = {.issuer = pki->inter, .issuer_key = 4};
    aid_crl other = {.issuer = pki->other_root, .issuer_key = 4};
    aid_reply down = {.outcome = STLS_FETCH_NETWORK};
    aid_reply says_revoked = {STLS_FETCH_OK,
                              aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED)};
    aid_bytes good_staple = aid_ocsp_about(pki->leaf, pki->inter, 1, 0);
    const struct {
        const char *what, *policy;
        stls_crl_file *file;
        aid_case c;
        stls_verdict verdict;
        stls_reason reason;
        size_t num_fetches;
    } rows[] = {
        {"both listed in nothing", PATH, file_of(&inter, &root), {0}, STLS_ACCEPT, 0, 0},
        {"without nextUpdate", PATH, file_of(&endless, &root), {0}, STLS_ACCEPT, 0, 0},
        {"leaf revoked",
         PATH,
         file_of(&leaf_revoked, &root),
         {0},
         STLS_REJECT,
         STLS_REASON_CRL_REVOKED,
         0},
        {"intermediate revoked",
         PATH,
         file_of(&inter, &inter_revoked),
         {0},
         STLS_REJECT,
         STLS_REASON_CRL_REVOKED,
         0},
        {"revoked, soft",
         PATH "revocation=soft",
         file_of(&leaf_revoked, &root),
         {0},
         STLS_REJECT,
         STLS_REASON_CRL_REVOKED,
         0},
        {"revoked, though a staple says good",
         PATH,
         file_of(&leaf_revoked, &root),
         {.staple = good_staple},
         STLS_REJECT,
         STLS_REASON_CRL_REVOKED,
         0},
        {"revoked, behind the staple",
         PATH "revocation_sources=staple,file",
         file_of(&leaf_revoked, &root),
         {.staple = good_staple},
         STLS_REJECT,
         STLS_REASON_CRL_REVOKED,
         0},
        {"revoked, with revocation off",
         PATH "revocation=off",
         file_of(&leaf_revoked, &root),
         {0},
         STLS_ACCEPT,
         0,
         0},
        {"only about the leaf: the rest is asked",
         PATH,
         file_of(&inter, NULL),
         {0},
         STLS_ACCEPT,
         0,
         1},
        {"about others: all is asked", PATH, file_of(&other, NULL), {0}, STLS_ACCEPT, 0, 2},
        {"about others, and responders are down",
         PATH,
         file_of(&other, NULL),
         {.replies = {down}},
         STLS_REJECT,
         STLS_REASON_FETCH_NETWORK,
         2},
        {"the file alone, about the leaf only",
         PATH "revocation_sources=file",
         file_of(&inter, NULL),
         {0},
         STLS_REJECT,
         STLS_REASON_REVOCATION_INCONCLUSIVE,
         0},
        {"nothing named, and not in the file",
         PATH,
         file_of(&other, &root),
         {.certs = no_source},
         STLS_REJECT,
         STLS_REASON_REVOCATION_NO_SOURCE,
         0},
        {"nothing named, and in the file",
         PATH,
         file_of(&inter, &root),
         {.certs = no_source},
         STLS_ACCEPT,
         0,
         0},
        {"nothing named, and revoked in the file",
         PATH "no_revocation_source=allow",
         file_of(&leaf_revoked, &root),
         {.certs = no_source},
         STLS_REJECT,
         STLS_REASON_CRL_REVOKED,
         0},
        {"stale: responders are asked", PATH, file_of(&stale, &root), {0}, STLS_ACCEPT, 0, 1},
        {"too old without nextUpdate",
         PATH "revocation_sources=file",
         file_of(&ancient, &root),
         {0},
         STLS_REJECT,
         STLS_REASON_CRL_STALE,
         0},
        {"stale, within the grace",
         PATH "stale_grace_s=604800",
         file_of(&stale, &root),
         {0},
         STLS_ACCEPT,
         0,
         0},
        {"stale and nothing else",
         PATH "revocation_sources=file",
         file_of(&stale, &root),
         {0},
         STLS_REJECT,
         STLS_REASON_CRL_STALE,
         0},
        {"stale, nothing named, allowed",
         PATH "no_revocation_source=allow",
         file_of(&stale, &root),
         {.certs = no_source},
         STLS_REJECT,
         STLS_REASON_CRL_STALE,
         0},
        {"by another key",
         PATH "revocation_sources=file",
         file_of(&forged, &root),
         {0},
         STLS_REJECT,
         STLS_REASON_CRL_BAD_SIGNATURE,
         0},
        {"with an unknown critical extension",
         PATH "revocation_sources=file",
         file_of(&odd, &root),
         {0},
         STLS_REJECT,
         STLS_REASON_CRL_WRONG_SCOPE,
         0},
        {"not revoked there, revoked by the responder that is asked first",
         PATH "revocation_sources=ocsp,file",
         file_of(&inter, &root),
         {.replies = {says_revoked}},
         STLS_REJECT,
         STLS_REASON_OCSP_REVOKED,
         2},
        {"the responder fails, the file is next",
         PATH "revocation_sources=ocsp,file",
         file_of(&inter, &root),
         {.replies = {down}},
         STLS_ACCEPT,
         0,
         2},
        {"demanded and not loaded", PATH, NULL, {0}, STLS_REJECT, STLS_REASON_INTERNAL_ERROR, 0},
        {"demanded and not loaded, soft",
         PATH "revocation=soft",
         NULL,
         {0},
         STLS_REJECT,
         STLS_REASON_INTERNAL_ERROR,
         0},
        {"demanded and not loaded, other sources first",
         PATH "revocation_sources=ocsp,file",
         NULL,
         {0},
         STLS_REJECT,
         STLS_REASON_INTERNAL_ERROR,
         0},
        {"demanded and not loaded, last of all, soft",
         PATH "revocation=soft revocation_sources=staple,ocsp,crl,file",
         NULL,
         {0},
         STLS_REJECT,
         STLS_REASON_INTERNAL_ERROR,
         0},
        {"not demanded", "", file_of(&leaf_revoked, &root), {0}, STLS_ACCEPT, 0, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = rows[i].c;
        size_t num_fetches = 0;
        c.policy = rows[i].policy;
        stls_result *result = judge(&c, rows[i].file, &num_fetches);
        aid_assert_result(result, rows[i].verdict, rows[i].reason, rows[i].what, __FILE__,
                          __LINE__);
        if (num_fetches != rows[i].num_fetches && rows[i].verdict == STLS_ACCEPT) {
            fail_msg("%s: %zu fetches", rows[i].what, num_fetches);
        }
    }
}

/* The verdict ends with the CRL, and there is nothing to refresh in the
 * background. */
static void validity(void **state)
{
    aid_crl brief = {.next_update_s = NOW_S + 600}, root = {.issuer = aid_usual_pki()->root};
    aid_case c = {.policy = PATH};
    size_t num_fetches = 0, len;

    (void)state;
    stls_result *result = judge(&c, file_of(&brief, &root), &num_fetches);
    assert_result(result, STLS_ACCEPT, STLS_REASON_NONE);
    assert_int_equal(stls_result_valid_until_s(result), NOW_S + 600 + 300);
    assert_true(stls_result_refresh_at_s(result) > stls_result_valid_until_s(result));
    assert_non_null(strstr(stls_result_get0_report(result, &len), "\"source\":\"file\""));
}

static void not_ready_is_refused(void **state)
{
    aid_crl spec = {0};
    aid_bytes pem = aid_crl_pem(aid_make_crl(&spec));
    stls_crl_file *file = stls_crl_file_new(NULL, pem.bytes, pem.len, NULL);
    aid_case c = {.policy = PATH};
    stls_check *check = aid_new_check(&c, NULL);
    unsigned char key[STLS_ID_LEN] = {0};

    (void)state;
    assert_int_equal(stls_check_set_crl_file(check, file), STLS_ERR_ARGUMENT);
    assert_int_equal(stls_verdict_key_crl_file(key, key, file), STLS_ERR_ARGUMENT);
    assert_int_equal(stls_check_start(check, NOW_S), STLS_REJECT);
    stls_check_free(check);
    stls_crl_file_free(file);
}

/* Large parts of an unverified CRL are not decoded in one go, whatever the
 * budget. */
static void one_step_is_bounded(void **state)
{
    char *der = malloc(2 * 200000 + 20);
    aid_crl fits = {.extension = "DER:0500"}, spec = {0};

    (void)state;
    AID_NEED(der != NULL);
    strcpy(der, "DER:0483030d40");
    for (size_t i = 0; i < 200000; i++) {
        strcat(der + 14 + 2 * i, "00");
    }
    spec.extension = der;
    assert_non_null(aid_crl_file(aid_make_crl(&fits), 4096, NULL));
    assert_null(aid_crl_file(aid_make_crl(&spec), 4096, NULL));
    free(der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(id_is_the_content),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(rung),
        cmocka_unit_test(validity),
        cmocka_unit_test(not_ready_is_refused),
        cmocka_unit_test(one_step_is_bounded),
    };
    return cmocka_run_group_tests_name("crl_file", tests, NULL, aid_end);
}
