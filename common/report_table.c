/* Reports that processes share: who was met, what was said, how often. */
#include "strict_tls/report_table.h"

#include <string.h>

#include "result.h"

#define TEXT_LEN 256

enum {
#define COUNT(sym, num, id, text, x509_err, rank, rfc, who, remedy) COUNT_##sym,
    STLS_REASONS(COUNT)
#undef COUNT
        NUM_REASONS
};

static const char *const words[] = {"accept", "reject", "would_reject", "pending"};
#define NUM_WORDS 4

typedef struct {
    uint64_t hash; /* of direction, name and address */
    uint64_t used; /* the table's clock when it was last noted; 0: empty */
} place;

typedef struct {
    uint32_t direction, word;
    uint32_t reason;
    uint32_t report_len;
    uint64_t count;
    int64_t first_s, last_s;
    char name[TEXT_LEN], addr[TEXT_LEN];
    char report[STLS_TABLE_REPORT_LEN];
} slot;

/* The places lie behind it, then the slots. */
struct stls_report_table_st {
    uint64_t max, clock;
    uint64_t num_words[STLS_NUM_DIRECTIONS][NUM_WORDS];
    uint64_t num_reasons[STLS_NUM_DIRECTIONS][NUM_REASONS];
};

static place *places_of(const stls_report_table *table)
{
    return (place *)(table + 1);
}

static slot *slot_of(const stls_report_table *table, size_t index)
{
    return (slot *)(places_of(table) + table->max) + index;
}

size_t stls_report_table_len(size_t max_entries)
{
    return sizeof(stls_report_table) + max_entries * (sizeof(place) + sizeof(slot));
}

stls_report_table *stls_report_table_init(void *mem, size_t mem_len, size_t max_entries)
{
    stls_report_table *table = mem;

    if (max_entries == 0 || max_entries > SIZE_MAX / 2 / (sizeof(place) + sizeof(slot))
        || mem_len < stls_report_table_len(max_entries)) {
        return NULL;
    }
    /* Slots are written before they are read. */
    memset(table, 0, sizeof(*table) + max_entries * sizeof(place));
    table->max = max_entries;
    return table;
}

/* Words in shared memory must stay within bounds whatever becomes of it. */
static size_t word_index(const char *word)
{
    for (size_t i = 0; i < NUM_WORDS; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    return 1;
}

static int reason_index(stls_reason reason)
{
    size_t num;
    const stls_reason_info *rows = stls_reasons(&num);
    for (size_t i = 0; i < num; i++) {
        if (rows[i].reason == reason) {
            return (int)i;
        }
    }
    return -1;
}

/* FNV-1a: who chooses colliding names finds nothing but his own entries. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    do {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    } while (*text++ != '\0');
    return hash;
}

static void cut(char out[TEXT_LEN], const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;
    len = len < TEXT_LEN ? len : TEXT_LEN - 1;
    memcpy(out, len > 0 ? text : "", len);
    out[len] = '\0';
}

static size_t find_or_make(stls_report_table *table, stls_direction direction, const char *name,
                           const char *addr, int64_t now_s)
{
    uint64_t hash = hash_text(hash_text(UINT64_C(14695981039346656037) + (uint64_t)direction, name),
                              addr);
    place *places = places_of(table);
    size_t oldest = 0;

    for (size_t i = 0; i < table->max; i++) {
        if (places[i].used != 0 && places[i].hash == hash) {
            const slot *found = slot_of(table, i);
            if (found->direction == (uint32_t)direction && strncmp(found->name, name, TEXT_LEN) == 0
                && strncmp(found->addr, addr, TEXT_LEN) == 0) {
                return i;
            }
        }
        if (places[i].used < places[oldest].used) {
            oldest = i;
        }
    }
    slot *made = slot_of(table, oldest);
    made->direction = (uint32_t)direction;
    made->count = 0;
    made->first_s = now_s;
    memcpy(made->name, name, TEXT_LEN);
    memcpy(made->addr, addr, TEXT_LEN);
    places[oldest].hash = hash;
    return oldest;
}

void stls_report_table_note(stls_report_table *table, stls_direction direction, const char *name,
                            const char *addr, const stls_result *result, int64_t now_s)
{
    char name_text[TEXT_LEN] = "", addr_text[TEXT_LEN] = "";
    stls_reason reason = result != NULL ? result->reason : STLS_REASON_INTERNAL_MEMORY;
    size_t word = result != NULL ? word_index(result->word) : 1;
    int row = reason_index(reason);

    if ((unsigned)direction >= STLS_NUM_DIRECTIONS) {
        return;
    }
    table->num_words[direction][word]++;
    if (row >= 0) {
        table->num_reasons[direction][row]++;
    }
    if (name == NULL && result != NULL) {
        name = result->client != NULL && result->client[0] != '\0' ? result->client : result->name;
    }
    cut(name_text, name);
    cut(addr_text, addr);
    size_t index = find_or_make(table, direction, name_text, addr_text, now_s);
    slot *entry = slot_of(table, index);
    places_of(table)[index].used = ++table->clock;
    entry->word = (uint32_t)word;
    entry->reason = (uint32_t)reason;
    entry->count++;
    entry->last_s = now_s;
    entry->report_len = 0;
    if (result != NULL && result->report_len < STLS_TABLE_REPORT_LEN) {
        memcpy(entry->report, result->report, result->report_len);
        entry->report_len = (uint32_t)result->report_len;
    }
    entry->report[entry->report_len] = '\0';
}

size_t stls_report_table_count(const stls_report_table *table)
{
    size_t num = 0;
    while (num < table->max && places_of(table)[num].used != 0) {
        num++; /* places are filled from the first on, and never emptied */
    }
    return num;
}

void stls_report_table_copy(stls_report_table *table, const stls_report_table *from)
{
    const place *places = places_of(from);
    uint64_t dropped = 0; /* what was last used then, or before */
    size_t num = stls_report_table_count(from), next = 0;

    table->clock = from->clock;
    memcpy(table->num_words, from->num_words, sizeof(table->num_words));
    memcpy(table->num_reasons, from->num_reasons, sizeof(table->num_reasons));
    for (size_t left = num; left > table->max; left--) {
        uint64_t oldest = UINT64_MAX;
        for (size_t i = 0; i < num; i++) {
            if (places[i].used > dropped && places[i].used < oldest) {
                oldest = places[i].used;
            }
        }
        dropped = oldest;
    }
    for (size_t i = 0; i < num && next < table->max; i++) {
        if (places[i].used > dropped) {
            places_of(table)[next] = places[i];
            *slot_of(table, next) = *slot_of(from, i);
            next++;
        }
    }
}

/* "" where it has lost its end. */
static const char *text_of(const char text[TEXT_LEN])
{
    return memchr(text, '\0', TEXT_LEN) != NULL ? text : "";
}

int stls_report_table_get(const stls_report_table *table, size_t index, stls_report_entry *entry)
{
    if (index >= table->max || places_of(table)[index].used == 0) {
        return 0;
    }
    const slot *found = slot_of(table, index);
    int has_report = found->report_len < STLS_TABLE_REPORT_LEN
                     && found->report[found->report_len] == '\0';
    *entry = (stls_report_entry){
        .direction = (stls_direction)(found->direction % STLS_NUM_DIRECTIONS),
        .name = text_of(found->name),
        .addr = text_of(found->addr),
        .verdict = words[found->word % NUM_WORDS],
        .reason = (stls_reason)found->reason,
        .report = has_report ? found->report : "",
        .report_len = has_report ? found->report_len : 0,
        .count = found->count,
        .first_s = found->first_s,
        .last_s = found->last_s,
    };
    return 1;
}

uint64_t stls_report_table_num_verdicts(const stls_report_table *table, stls_direction direction,
                                        const char *verdict)
{
    for (size_t i = 0; i < NUM_WORDS; i++) {
        if (strcmp(words[i], verdict) == 0) {
            return table->num_words[direction][i];
        }
    }
    return 0;
}

uint64_t stls_report_table_num_reasons(const stls_report_table *table, stls_direction direction,
                                       stls_reason reason)
{
    int row = reason_index(reason);
    return row >= 0 ? table->num_reasons[direction][row] : 0;
}
