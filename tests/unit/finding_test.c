/* The list of what was found, and the small helpers below it: stacks, memory. */
#include "support.h"

#include "cert_stack.h"
#include "finding.h"

static stls_findings begin(aid_heap *heap)
{
    stls_findings findings;
    stls_allocator allocator = aid_allocator(heap);
    stls_findings_init(&findings, &allocator);
    return findings;
}

static void add(stls_findings *findings, stls_reason reason, int is_error, int index)
{
    stls_findings_add(findings, reason, is_error, index, NULL, NULL, "x");
}

static void nothing_found(void **state)
{
    aid_heap heap = {0};
    stls_findings findings = begin(&heap);
    (void)state;
    assert_null(stls_findings_primary(&findings));
    assert_false(stls_findings_have_error(&findings));
    stls_findings_clear(&findings);
}

static void notes_do_not_reject(void **state)
{
    aid_heap heap = {0};
    stls_findings findings = begin(&heap);
    (void)state;
    add(&findings, STLS_REASON_CHAIN_EXTRA, 0, 2);
    assert_null(stls_findings_primary(&findings));
    assert_false(stls_findings_have_error(&findings));
    assert_true(stls_findings_have(&findings, STLS_REASON_CHAIN_EXTRA, 2));
    assert_false(stls_findings_have(&findings, STLS_REASON_CHAIN_EXTRA, 1));
    assert_false(stls_findings_have(&findings, STLS_REASON_CHAIN_MISORDERED, 2));
    stls_findings_clear(&findings);
    assert_int_equal(heap.num_live, 0);
}

static void primary_is_the_one_to_repair_first(void **state)
{
    aid_heap heap = {0};
    stls_findings findings = begin(&heap);
    (void)state;
    add(&findings, STLS_REASON_FETCH_NETWORK, 1, 0);
    assert_int_equal(stls_findings_primary(&findings)->reason, STLS_REASON_FETCH_NETWORK);
    add(&findings, STLS_REASON_OCSP_REVOKED, 1, 1);
    assert_int_equal(stls_findings_primary(&findings)->reason, STLS_REASON_OCSP_REVOKED);
    add(&findings, STLS_REASON_INTERNAL_MEMORY, 0, 0); /* a note, however grave it sounds */
    assert_int_equal(stls_findings_primary(&findings)->reason, STLS_REASON_OCSP_REVOKED);
    add(&findings, STLS_REASON_OCSP_REVOKED, 1, 0); /* of equals that of the lowest certificate */
    assert_int_equal(stls_findings_primary(&findings)->cert_index, 0);
    stls_findings_clear(&findings);
}

/* What could not be kept must neither be forgotten nor leave a rejection without its reason. */
static void lost_findings_are_told(void **state)
{
    (void)state;
    for (size_t fail_at = 1; fail_at <= 3; fail_at++) {
        aid_heap heap = {.fail_at = fail_at, .fail_after_too = 1};
        stls_findings findings = begin(&heap);
        add(&findings, STLS_REASON_CHAIN_EXTRA, 0, 2); /* even a note */
        assert_true(stls_findings_have_error(&findings));
        assert_int_equal(stls_findings_primary(&findings)->reason, STLS_REASON_INTERNAL_MEMORY);
        assert_null(stls_findings_worst(&findings));
        heap.fail_at = 0;
        add(&findings, STLS_REASON_OCSP_REVOKED, 1, 0);
        assert_int_equal(stls_findings_primary(&findings)->reason, STLS_REASON_OCSP_REVOKED);
        stls_findings_clear(&findings);
        assert_int_equal(heap.num_live, 0);
    }
}

static void details_are_printable_and_bounded(void **state)
{
    aid_heap heap = {0};
    stls_findings findings = begin(&heap);
    char huge[5000];
    (void)state;
    memset(huge, 'x', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    stls_findings_add(&findings, STLS_REASON_NAME_MISMATCH, 1, 0, aid_usual_pki()->leaf, "do\nthis",
                      "a\tb\x1b[31m\xff");
    stls_findings_add(&findings, STLS_REASON_NAME_MISMATCH, 1, 0, NULL, NULL, "%s", huge);
    assert_string_equal(findings.items[0].detail, "a?b?[31m?");
    assert_string_equal(findings.items[0].remedy, "do?this");
    assert_string_equal(findings.items[0].subject, "CN=" LEAF_NAME);
    assert_true(strlen(findings.items[1].detail) < 1100);
    assert_string_equal(findings.items[1].subject, "");
    assert_null(findings.items[1].remedy);
    stls_findings_clear(&findings);
}

static void place_in_a_stack(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    STACK_OF(X509) *certs = aid_stack(pki->leaf, pki->inter, pki->leaf, NULL);
    (void)state;
    assert_int_equal(stls_cert_index(certs, pki->leaf), 0);
    assert_int_equal(stls_cert_index(certs, pki->inter), 1);
    assert_int_equal(stls_cert_index(certs, pki->root), STLS_NO_CERT);
    assert_int_equal(stls_cert_index(certs, aid_spoil_signature(pki->leaf)), STLS_NO_CERT);
    assert_int_equal(stls_cert_index(NULL, pki->leaf), STLS_NO_CERT);
}

static void memory(void **state)
{
    aid_heap heap = {0};
    stls_allocator allocator = aid_allocator(&heap);
    (void)state;
    unsigned char *bytes = stls_alloc(&allocator, 100);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(bytes[i], 0);
    }
    char *copy = stls_memdup(&allocator, "abc", 2);
    assert_string_equal(copy, "ab");
    stls_dealloc(&allocator, copy);
    stls_dealloc(&allocator, bytes);
    stls_dealloc(&allocator, NULL);
    assert_int_equal(heap.num_live, 0);
}

static void growing_carries_over(void **state)
{
    aid_heap heap = {0};
    stls_allocator allocator = aid_allocator(&heap);
    uint32_t *numbers = NULL;
    size_t cap = 0;
    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(stls_grow(&allocator, (void **)&numbers, &cap, i, sizeof(*numbers)),
                         STLS_OK);
        assert_true(cap > i);
        numbers[i] = i;
    }
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(numbers[i], i);
    }
    heap.fail_at = heap.num_allocs + 1;
    uint32_t *before = numbers;
    assert_int_equal(stls_grow(&allocator, (void **)&numbers, &cap, cap, sizeof(*numbers)),
                     STLS_ERR_MEMORY);
    assert_ptr_equal(numbers, before); /* and still there */
    stls_dealloc(&allocator, numbers);
    assert_int_equal(heap.num_live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_found),
        cmocka_unit_test(notes_do_not_reject),
        cmocka_unit_test(primary_is_the_one_to_repair_first),
        cmocka_unit_test(lost_findings_are_told),
        cmocka_unit_test(details_are_printable_and_bounded),
        cmocka_unit_test(place_in_a_stack),
        cmocka_unit_test(memory),
        cmocka_unit_test(growing_carries_over),
    };
    return cmocka_run_group_tests_name("finding", tests, NULL, aid_end);
}
