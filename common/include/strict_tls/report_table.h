/*
 * report_table.c: the latest report about each of a bounded number of peers or
 * own chains, and counts by verdict and reason, in memory that processes share.
 *
 * The table holds no pointers: every process may map it elsewhere.  It takes
 * no lock: the host holds its own around each call.
 */
#ifndef STRICT_TLS_REPORT_TABLE_H
#define STRICT_TLS_REPORT_TABLE_H

#include "strict_tls/strict_tls.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    STLS_OUTBOUND = 0, /* a server that this host connected to */
    STLS_INBOUND = 1,  /* a client that connected to this host */
    STLS_OWN = 2       /* a chain that this host presents */
} stls_direction;
#define STLS_NUM_DIRECTIONS 3

typedef struct stls_report_table_st stls_report_table;

/* Longer reports are kept as "": verdict and reason stay. */
#define STLS_TABLE_REPORT_LEN 12288

/* Bytes that a table for so many entries needs. */
size_t stls_report_table_len(size_t max_entries);

/*
 * An empty table in `mem`, which must be aligned for uint64_t and live as long
 * as the table; NULL if it is too small.  To be done once, by one process;
 * other processes cast their own address of `mem`.
 */
stls_report_table *stls_report_table_init(void *mem, size_t mem_len, size_t max_entries);

/*
 * Counts a verdict, and keeps its report under direction, name and address; the
 * least recently noted entry makes room.  `name` NULL is the peer's: the wanted
 * name of a server, the subject of a client; for an own chain give its file.
 * `addr` may be "".  Both are cut at 255 bytes.  `result` NULL: out of memory,
 * a reject.
 */
void stls_report_table_note(stls_report_table *table, stls_direction direction, const char *name,
                            const char *addr, const stls_result *result, int64_t now_s);

/* One entry; pointers into the table, so only while the host holds its lock. */
typedef struct {
    stls_direction direction;
    const char *name, *addr;
    const char *verdict; /* "accept", "reject", "would_reject", "pending"; static lifetime */
    stls_reason reason;
    const char *report; /* "" where it was too long */
    size_t report_len;
    uint64_t count; /* how often it was noted */
    int64_t first_s, last_s;
} stls_report_entry;

/*
 * Into a new table, of another size perhaps: the counts, and as many entries as
 * there is room for, the latest ones.
 */
void stls_report_table_copy(stls_report_table *table, const stls_report_table *from);

size_t stls_report_table_count(const stls_report_table *table);

/* The `index`-th entry, in no order; 0 when there is none. */
int stls_report_table_get(const stls_report_table *table, size_t index, stls_report_entry *entry);

/* How many verdicts of this word, or with this primary reason, were noted. */
uint64_t stls_report_table_num_verdicts(const stls_report_table *table, stls_direction direction,
                                        const char *verdict);
uint64_t stls_report_table_num_reasons(const stls_report_table *table, stls_direction direction,
                                       stls_reason reason);

#ifdef __cplusplus
}
#endif

#endif
