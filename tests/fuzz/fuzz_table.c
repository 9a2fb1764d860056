/* The table of reports, in memory that another process writes over with the input. */
#include "fuzz.h"

#include <string.h>

#include "strict_tls/report_table.h"
#include "strict_tls/status_page.h"

#define MAX_ENTRIES 4

static stls_result *result_for(stls_policy *policy, int has_intermediate)
{
    stls_check *check = stls_check_new(policy, fuzz_anchors, STLS_ROLE_SERVER);
    stls_check_add_cert(check, fuzz_leaf);
    if (has_intermediate) {
        stls_check_add_cert(check, fuzz_inter);
    }
    stls_check_set_name(check, LEAF_NAME, sizeof(LEAF_NAME) - 1);
    stls_check_start(check, NOW_S);
    stls_result *result = stls_check_get1_result(check);
    MUST(result != NULL);
    stls_check_free(check);
    return result;
}

/* Each piece: where (16 bits), then what; the table's size, which init wrote, stays. */
static void write_over(unsigned char *mem, size_t mem_len, const uint8_t *data, size_t len)
{
    const uint8_t *piece;
    size_t piece_len;
    while (fuzz_next(&data, &len, &piece, &piece_len) && piece_len > 2) {
        size_t at = sizeof(uint64_t) + ((size_t)piece[0] << 8 | piece[1]) * 7 % mem_len;
        for (size_t i = 2; i < piece_len && at < mem_len; i++) {
            mem[at++] = piece[i];
        }
    }
}

static void must_hold(const stls_report_table *table, size_t index)
{
    stls_report_entry entry;
    if (!stls_report_table_get(table, index, &entry)) {
        return;
    }
    MUST(entry.direction < STLS_NUM_DIRECTIONS && entry.verdict != NULL);
    MUST(strlen(entry.name) < 256 && strlen(entry.addr) < 256);
    MUST(entry.report_len <= STLS_TABLE_REPORT_LEN && strlen(entry.report) <= entry.report_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static stls_result *accepted, *rejected;
    if (accepted == NULL) {
        stls_policy *policy = fuzz_policy("revocation=off");
        accepted = result_for(policy, 1);
        rejected = result_for(policy, 0);
        stls_policy_free(policy);
    }
    size_t mem_len = stls_report_table_len(MAX_ENTRIES);
    unsigned char *mem = malloc(mem_len); /* by itself, so that nothing lies behind it */
    stls_report_table *table = stls_report_table_init(mem, mem_len, MAX_ENTRIES);

    MUST(table != NULL);
    stls_report_table_note(table, STLS_OUTBOUND, "a.example", "203.0.113.5:443", accepted, NOW_S);
    stls_report_table_note(table, STLS_INBOUND, NULL, "", rejected, NOW_S);
    stls_report_table_note(table, STLS_OWN, "/etc/ssl/a.pem", "", NULL, NOW_S);
    write_over(mem, mem_len, data, len);
    for (size_t i = 0; i <= stls_report_table_count(table) && i < 100; i++) {
        must_hold(table, i);
    }
    for (int direction = 0; direction < STLS_NUM_DIRECTIONS; direction++) {
        (void)stls_report_table_num_verdicts(table, direction, "accept");
        (void)stls_report_table_num_reasons(table, direction, STLS_REASON_CHAIN_INCOMPLETE);
        stls_report_table_note(table, direction, "b.example", "", accepted, NOW_S);
    }
    for (size_t i = 0; i < MAX_ENTRIES; i++) {
        must_hold(table, i);
    }
    free(mem);
    return 0;
}
