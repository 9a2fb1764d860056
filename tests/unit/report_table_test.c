#include "support.h"

#include "strict_tls/report_table.h"
#include "strict_tls/status_page.h"

#include <stdio.h>
#include <stdlib.h>

static stls_report_table *new_table(size_t max_entries)
{
    size_t len = stls_report_table_len(max_entries);
    void *mem = malloc(len);
    memset(mem, 0xa5, len); /* shared memory need not be empty */
    stls_report_table *table = stls_report_table_init(mem, len, max_entries);
    assert_non_null(table);
    aid_keep(free, mem);
    return table;
}

static stls_result *accepted(void)
{
    aid_case c = {0};
    return aid_judge(&c);
}

static stls_result *rejected(void)
{
    aid_case c = {.name = "other.example.com"};
    return aid_judge(&c);
}

static int find(const stls_report_table *table, const char *name, stls_report_entry *entry)
{
    for (size_t i = 0; stls_report_table_get(table, i, entry); i++) {
        if (strcmp(entry->name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static void latest_report_is_kept(void **state)
{
    stls_report_table *table = new_table(4);
    stls_result *bad = rejected();
    stls_report_entry entry;
    size_t len;
    (void)state;

    assert_int_equal(stls_report_table_count(table), 0);
    assert_false(stls_report_table_get(table, 0, &entry));
    stls_report_table_note(table, STLS_OUTBOUND, "a", "192.0.2.1:443", accepted(), NOW_S);
    stls_report_table_note(table, STLS_OUTBOUND, "a", "192.0.2.1:443", bad, NOW_S + 5);
    stls_report_table_note(table, STLS_OUTBOUND, "a", "192.0.2.2:443", accepted(), NOW_S);
    stls_report_table_note(table, STLS_INBOUND, "a", "192.0.2.1:443", accepted(), NOW_S);
    assert_int_equal(stls_report_table_count(table), 3);
    assert_true(stls_report_table_get(table, 0, &entry));
    assert_string_equal(entry.name, "a");
    assert_string_equal(entry.addr, "192.0.2.1:443");
    assert_string_equal(entry.verdict, "reject");
    assert_int_equal(entry.reason, STLS_REASON_NAME_MISMATCH);
    assert_int_equal(entry.count, 2);
    assert_true(entry.first_s == NOW_S && entry.last_s == NOW_S + 5);
    assert_string_equal(entry.report, stls_result_get0_report(bad, &len));
    assert_int_equal(entry.report_len, len);
    assert_false(stls_report_table_get(table, 3, &entry));
    assert_false(stls_report_table_get(table, 4, &entry));
}

static void least_recently_noted_makes_room(void **state)
{
    stls_report_table *table = new_table(3);
    stls_report_entry entry;
    char name[16];
    (void)state;
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "peer%d", i);
        stls_report_table_note(table, STLS_INBOUND, name, "", accepted(), NOW_S);
    }
    stls_report_table_note(table, STLS_INBOUND, "peer0", "", accepted(), NOW_S);
    stls_report_table_note(table, STLS_INBOUND, "peer3", "", accepted(), NOW_S);
    assert_int_equal(stls_report_table_count(table), 3);
    assert_true(find(table, "peer0", &entry));
    assert_int_equal(entry.count, 2);
    assert_false(find(table, "peer1", &entry));
    assert_true(find(table, "peer3", &entry));
    assert_int_equal(entry.count, 1);
    /* What was pushed out was counted all the same. */
    assert_int_equal(stls_report_table_num_verdicts(table, STLS_INBOUND, "accept"), 5);
}

static void a_copy_keeps_the_latest(void **state)
{
    stls_report_table *from = new_table(5), *same = new_table(8), *small = new_table(2);
    stls_report_entry entry;
    (void)state;

    stls_report_table_copy(small, from);
    assert_int_equal(stls_report_table_count(small), 0);
    for (int i = 0; i < 4; i++) {
        const char name[] = {(char)('a' + i), '\0'};
        stls_report_table_note(from, STLS_OUTBOUND, name, "192.0.2.1:443", rejected(), NOW_S + i);
    }
    stls_report_table_note(from, STLS_OUTBOUND, "a", "192.0.2.1:443", accepted(), NOW_S + 9);
    stls_report_table_copy(same, from);
    stls_report_table_copy(small, from);
    assert_int_equal(stls_report_table_count(same), 4);
    assert_int_equal(stls_report_table_count(small), 2);
    assert_true(find(small, "a", &entry));
    assert_int_equal(entry.count, 2);
    assert_string_equal(entry.verdict, "accept");
    assert_int_equal(entry.last_s, NOW_S + 9);
    assert_true(find(small, "d", &entry));
    assert_false(find(small, "b", &entry));
    assert_int_equal(stls_report_table_num_verdicts(small, STLS_OUTBOUND, "reject"), 4);
    assert_int_equal(stls_report_table_num_reasons(small, STLS_OUTBOUND, STLS_REASON_NAME_MISMATCH),
                     4);
    /* its clock goes on: the oldest of the copied makes room */
    stls_report_table_note(small, STLS_OUTBOUND, "e", "192.0.2.1:443", accepted(), NOW_S + 10);
    assert_true(find(small, "a", &entry));
    assert_false(find(small, "d", &entry));
}

static void counts(void **state)
{
    stls_report_table *table = new_table(1);
    (void)state;
    stls_report_table_note(table, STLS_OUTBOUND, "a", "", rejected(), NOW_S);
    stls_report_table_note(table, STLS_OUTBOUND, "b", "", rejected(), NOW_S);
    stls_report_table_note(table, STLS_OUTBOUND, "b", "", accepted(), NOW_S);
    stls_report_table_note(table, STLS_OUTBOUND, "b", "", NULL, NOW_S);
    assert_int_equal(stls_report_table_num_reasons(table, STLS_OUTBOUND, STLS_REASON_NAME_MISMATCH),
                     2);
    assert_int_equal(
        stls_report_table_num_reasons(table, STLS_OUTBOUND, STLS_REASON_INTERNAL_MEMORY), 1);
    assert_int_equal(stls_report_table_num_reasons(table, STLS_INBOUND, STLS_REASON_NAME_MISMATCH),
                     0);
    assert_int_equal(stls_report_table_num_reasons(table, STLS_OUTBOUND, STLS_REASON_NONE), 0);
    assert_int_equal(stls_report_table_num_verdicts(table, STLS_OUTBOUND, "reject"), 3);
    assert_int_equal(stls_report_table_num_verdicts(table, STLS_OUTBOUND, "accept"), 1);
    assert_int_equal(stls_report_table_num_verdicts(table, STLS_OUTBOUND, "nonsense"), 0);
}

/* Names and reports are as long as a peer makes them. */
static void bounded(void **state)
{
    stls_report_table *table = new_table(2);
    stls_report_entry entry;
    char name[1000];
    aid_case many = {.policy = "max_chain_len=100", .certs = aid_stack(NULL)};
    const aid_pki *pki = aid_usual_pki();
    (void)state;

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    stls_report_table_note(table, STLS_INBOUND, name, name, accepted(), NOW_S);
    stls_report_table_note(table, STLS_INBOUND, name, name, accepted(), NOW_S);
    assert_int_equal(stls_report_table_count(table), 1);
    assert_true(stls_report_table_get(table, 0, &entry));
    assert_int_equal(strlen(entry.name), 255);
    assert_int_equal(strlen(entry.addr), 255);

    sk_X509_push(many.certs, pki->leaf);
    for (int i = 0; i < 90; i++) {
        sk_X509_push(many.certs, pki->inter);
    }
    stls_report_table_note(table, STLS_INBOUND, NULL, NULL, aid_judge(&many), NOW_S);
    assert_true(find(table, LEAF_NAME, &entry));
    assert_string_equal(entry.report, "");
    assert_int_equal(entry.report_len, 0);
    assert_string_equal(entry.verdict, "accept");
}

static void names_come_from_the_peer(void **state)
{
    stls_report_table *table = new_table(4);
    stls_report_entry entry;
    aid_cert spec = aid_leaf_spec();
    spec.subject = "CN=someone";
    spec.eku = "clientAuth";
    aid_case client = {.role = STLS_ROLE_CLIENT,
                       .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL)};
    (void)state;
    stls_report_table_note(table, STLS_INBOUND, NULL, "", aid_judge(&client), NOW_S);
    stls_report_table_note(table, STLS_OUTBOUND, NULL, "", accepted(), NOW_S);
    stls_report_table_note(table, STLS_OUTBOUND, NULL, "", NULL, NOW_S);
    assert_true(find(table, "CN=someone", &entry));
    assert_true(find(table, LEAF_NAME, &entry));
    assert_true(find(table, "", &entry));
}

static void memory_that_is_too_small_is_refused(void **state)
{
    size_t len = stls_report_table_len(2);
    void *mem = malloc(len);
    (void)state;
    assert_null(stls_report_table_init(mem, len - 1, 2));
    assert_null(stls_report_table_init(mem, len, 0));
    assert_null(stls_report_table_init(mem, len, SIZE_MAX / 8));
    assert_non_null(stls_report_table_init(mem, len, 2));
    free(mem);
}

/* Whatever another process makes of the memory: nobody reads past it. */
static void ruined_entries_stay_within_bounds(void **state)
{
    size_t len = stls_report_table_len(2), from = len - stls_report_table_len(0);
    unsigned char *mem = malloc(len);
    stls_report_table *table = stls_report_table_init(mem, len, 2);
    stls_report_entry entry;
    (void)state;

    stls_report_table_note(table, STLS_INBOUND, "a", "b", accepted(), NOW_S);
    stls_report_table_note(table, STLS_INBOUND, "c", "d", accepted(), NOW_S);
    for (int byte = 0x7f; byte <= 0xff; byte += 0x80) {
        memset(mem + len - from, byte, from);
        for (size_t i = 0; i < 2; i++) {
            assert_true(stls_report_table_get(table, i, &entry));
            assert_true(entry.direction >= STLS_OUTBOUND && entry.direction <= STLS_OWN);
            assert_true(strlen(entry.name) < 256);
            assert_true(strlen(entry.addr) < 256);
            assert_int_equal(entry.report_len, 0);
            assert_non_null(entry.verdict);
        }
        stls_status_page *page = stls_status_page_new("host", NOW_S);
        assert_int_equal(stls_status_page_add_table(page, table), STLS_OK);
        for (int format = STLS_STATUS_HTML; format <= STLS_STATUS_PROMETHEUS; format++) {
            assert_non_null(stls_status_page_render(page, (stls_status_format)format, &len));
        }
        stls_status_page_free(page);
        len = stls_report_table_len(2);
    }
    stls_report_table_note(table, STLS_INBOUND, "a", "b", accepted(), NOW_S);
    free(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(latest_report_is_kept),
        cmocka_unit_test(least_recently_noted_makes_room),
        cmocka_unit_test(a_copy_keeps_the_latest),
        cmocka_unit_test(counts),
        cmocka_unit_test(bounded),
        cmocka_unit_test(names_come_from_the_peer),
        cmocka_unit_test(memory_that_is_too_small_is_refused),
        cmocka_unit_test(ruined_entries_stay_within_bounds),
    };
    return cmocka_run_group_tests_name("report_table", tests, NULL, aid_end);
}
