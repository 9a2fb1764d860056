/* The status page as a document, and which rendering of it is wanted. */
#include "status_page.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mem.h"

const stls_figure_info stls_figure_infos[STLS_NUM_FIGURES] = {
#define ROW(sym, metric, type, help) {metric, type, help},
    STLS_FIGURES(ROW)
#undef ROW
};

struct stls_status_page_st {
    json_t *document;
    int64_t now_s;
    int out_of_memory; /* a part is missing: half a page is none */
    stls_text text;
};

const char *stls_json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

int64_t stls_json_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

int stls_json_is(const json_t *object, const char *key, const char *text)
{
    return strcmp(stls_json_text(object, key), text) == 0;
}

/* File names need not be UTF-8, JSON's strings must be. */
static json_t *plain(const char *text)
{
    if (text == NULL) {
        return json_null();
    }
    json_t *out = json_string(text);
    char *copy = out == NULL ? stls_strdup(&stls_libc_allocator, text) : NULL;
    if (copy != NULL) {
        for (char *p = copy; *p != '\0'; p++) {
            if (*p < 0x20 || *p > 0x7e) {
                *p = '?';
            }
        }
        out = json_string(copy);
    }
    free(copy);
    return out;
}

stls_status_page *stls_status_page_new(const char *host, int64_t now_s)
{
    stls_status_page *page = calloc(1, sizeof(*page));
    if (page == NULL) {
        return NULL;
    }
    page->now_s = now_s;
    page->document = json_pack("{s:i, s:s, s:o, s:I, s:[], s:[], s:[], s:[], s:{}}", "version", 1,
                               "strict_tls_version", STLS_VERSION, "host", plain(host), "now_s",
                               (json_int_t)now_s, "own", "peers", "verdicts", "reasons", "figures");
    if (page->document == NULL) {
        free(page);
        return NULL;
    }
    return page;
}

void stls_status_page_free(stls_status_page *page)
{
    if (page != NULL) {
        json_decref(page->document);
        stls_text_clear(&page->text);
        free(page);
    }
}

static stls_status append(stls_status_page *page, const char *list, json_t *item)
{
    if (item == NULL || json_array_append_new(json_object_get(page->document, list), item) != 0) {
        page->out_of_memory = 1;
        return STLS_ERR_MEMORY;
    }
    return STLS_OK;
}

/* Reports are the core's own, but come through memory that others write to. */
static json_t *parse_report(const char *text, size_t len)
{
    json_t *report = text != NULL && len > 0 ? json_loadb(text, len, 0, NULL) : NULL;
    if (!json_is_object(report)) {
        json_decref(report);
        return json_null();
    }
    return report;
}

/* ---- chains of our own ------------------------------------------------------------- */

static int has_severity(const json_t *report, const char *severity)
{
    size_t i;
    json_t *finding;
    json_array_foreach (json_object_get(report, "findings"), i, finding) {
        if (strcmp(stls_json_text(finding, "severity"), severity) == 0) {
            return 1;
        }
    }
    return 0;
}

static const char *state_of(const json_t *report)
{
    if (!json_is_object(report)
        || strcmp(stls_json_text(report, "reason"), stls_reason_id(STLS_REASON_CHAIN_NOT_CHECKABLE))
               == 0) {
        return "unknown";
    }
    if (has_severity(report, "error") || strcmp(stls_json_text(report, "reason"), "none") != 0) {
        return "bad";
    }
    if (strcmp(stls_json_text(report, "verdict"), "pending") == 0) {
        return "unknown"; /* nobody has asked about revocation */
    }
    return has_severity(report, "warning") ? "warning" : "good";
}

/* The earliest of what is presented and needed; 0: none. */
static int64_t not_after_of(const json_t *report)
{
    int64_t earliest_s = 0;
    size_t i;
    json_t *cert;

    json_array_foreach (json_object_get(report, "certs"), i, cert) {
        int64_t not_after_s = stls_json_int(cert, "not_after_s");
        if ((i == 0 || strcmp(stls_json_text(cert, "place"), "path") == 0)
            && (earliest_s == 0 || not_after_s < earliest_s)) {
            earliest_s = not_after_s;
        }
    }
    return earliest_s;
}

stls_status stls_status_page_add_own(stls_status_page *page, const stls_status_own *own)
{
    json_t *names = json_array();
    json_t *report = parse_report(own->report, own->report_len);
    int64_t not_after_s = not_after_of(report);
    int64_t left_s = not_after_s > 0 ? not_after_s - page->now_s : 0;
    json_t *leaf = json_object_get(json_array_get(json_object_get(report, "certs"), 0),
                                   "revocation");
    const char *revocation = stls_json_text(leaf, "status");

    for (size_t i = 0; i < own->num_names; i++) {
        if (json_array_append_new(names, plain(own->names[i])) != 0) {
            page->out_of_memory = 1;
        }
    }
    return append(
        page, "own",
        json_pack(
            "{s:s, s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "role",
            own->role == STLS_ROLE_CLIENT ? "client" : "server", "file", plain(own->file), "where",
            plain(own->where), "names", names, "state", state_of(report), "reason",
            json_is_object(report) ? stls_json_text(report, "reason") : "none", "not_after_s",
            not_after_s > 0 ? json_integer(not_after_s) : json_null(), "days_left",
            not_after_s > 0 ? json_integer(left_s < 0 ? (left_s - 86399) / 86400 : left_s / 86400)
                            : json_null(),
            "revocation", revocation[0] != '\0' ? json_string(revocation) : json_null(),
            "checked_at_s", own->checked_at_s > 0 ? json_integer(own->checked_at_s) : json_null(),
            "report", report));
}

/* ---- peers -------------------------------------------------------------------------- */

static const char *direction_word(stls_direction direction)
{
    static const char *const words[] = {"outbound", "inbound", "own"};
    return words[direction];
}

static stls_status add_peer(stls_status_page *page, const stls_report_entry *entry)
{
    return append(page, "peers",
                  json_pack("{s:s, s:o, s:o, s:s, s:s, s:I, s:I, s:I, s:o}", "direction",
                            direction_word(entry->direction), "name", plain(entry->name), "address",
                            plain(entry->addr), "verdict", entry->verdict, "reason",
                            stls_reason_id(entry->reason), "count", (json_int_t)entry->count,
                            "first_s", (json_int_t)entry->first_s, "last_s",
                            (json_int_t)entry->last_s, "report",
                            parse_report(entry->report, entry->report_len)));
}

static stls_status add_counts(stls_status_page *page, const stls_report_table *table,
                              stls_direction direction)
{
    static const char *const words[] = {"accept", "reject", "would_reject"};
    stls_status status = STLS_OK;
    size_t num;
    const stls_reason_info *reasons = stls_reasons(&num);

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && status == STLS_OK; i++) {
        uint64_t count = stls_report_table_num_verdicts(table, direction, words[i]);
        status = append(page, "verdicts",
                        json_pack("{s:s, s:s, s:I}", "direction", direction_word(direction),
                                  "verdict", words[i], "count", (json_int_t)count));
    }
    for (size_t i = 0; i < num && status == STLS_OK; i++) {
        uint64_t count = stls_report_table_num_reasons(table, direction, reasons[i].reason);
        if (count > 0) {
            status = append(page, "reasons",
                            json_pack("{s:s, s:s, s:I}", "direction", direction_word(direction),
                                      "reason", reasons[i].id, "count", (json_int_t)count));
        }
    }
    return status;
}

stls_status stls_status_page_add_table(stls_status_page *page, const stls_report_table *table)
{
    stls_report_entry entry;
    stls_status status = STLS_OK;

    for (size_t i = 0; status == STLS_OK && stls_report_table_get(table, i, &entry); i++) {
        if (entry.direction != STLS_OWN) {
            status = add_peer(page, &entry);
        }
    }
    for (int direction = STLS_OUTBOUND; direction <= STLS_INBOUND && status == STLS_OK;
         direction++) {
        status = add_counts(page, table, (stls_direction)direction);
    }
    return status;
}

stls_status stls_status_page_add_figure(stls_status_page *page, stls_figure figure, uint64_t value)
{
    if ((unsigned)figure >= STLS_NUM_FIGURES) {
        return STLS_ERR_ARGUMENT;
    }
    if (json_object_set_new(json_object_get(page->document, "figures"),
                            stls_figure_infos[figure].metric, json_integer((json_int_t)value))
        != 0) {
        page->out_of_memory = 1;
        return STLS_ERR_MEMORY;
    }
    return STLS_OK;
}

/* ---- renderings ------------------------------------------------------------------------ */

/* Trouble first, then the latest. */
static int by_urgency(const void *a, const void *b)
{
    const json_t *left = *(json_t *const *)a, *right = *(json_t *const *)b;
    int left_ok = strcmp(stls_json_text(left, "verdict"), "accept") == 0;
    int right_ok = strcmp(stls_json_text(right, "verdict"), "accept") == 0;
    int64_t left_s = stls_json_int(left, "last_s"), right_s = stls_json_int(right, "last_s");

    if (left_ok != right_ok) {
        return left_ok - right_ok;
    }
    return (left_s < right_s) - (left_s > right_s);
}

static int sort_peers(stls_status_page *page)
{
    json_t *peers = json_object_get(page->document, "peers"), *sorted = json_array();
    size_t num = json_array_size(peers);
    json_t **items = calloc(num + 1, sizeof(*items));
    int ok = items != NULL && sorted != NULL;

    for (size_t i = 0; ok && i < num; i++) {
        items[i] = json_array_get(peers, i);
    }
    if (ok) {
        qsort(items, num, sizeof(*items), by_urgency);
    }
    for (size_t i = 0; ok && i < num; i++) {
        ok = json_array_append(sorted, items[i]) == 0;
    }
    free(items);
    ok = ok && json_object_set(page->document, "peers", sorted) == 0;
    json_decref(sorted);
    return ok;
}

static void render_json(const json_t *document, stls_text *out)
{
    char *dump = json_dumps(document, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    if (dump == NULL) {
        out->out_of_memory = 1;
        return;
    }
    stls_text_put(out, dump);
    stls_text_put(out, "\n");
    free(dump);
}

const char *stls_status_page_render(stls_status_page *page, stls_status_format format, size_t *len)
{
    *len = 0;
    stls_text_clear(&page->text);
    if (page->out_of_memory || !sort_peers(page)) {
        return NULL;
    }
    switch (format) {
    case STLS_STATUS_JSON:
        render_json(page->document, &page->text);
        break;
    case STLS_STATUS_PROMETHEUS:
        stls_status_prometheus(page->document, &page->text);
        break;
    default:
        stls_status_html(page->document, &page->text);
    }
    if (page->text.out_of_memory) {
        return NULL;
    }
    *len = page->text.len;
    return page->text.text;
}

/* ---- who wants it -------------------------------------------------------------------------- */

const char *const *stls_status_page_forwarding_headers(void)
{
    static const char *const names[] = {
        "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via",
        NULL,
    };

    return names;
}

/* ---- which one is wanted ------------------------------------------------------------------ */

const char *stls_status_page_content_type(stls_status_format format)
{
    switch (format) {
    case STLS_STATUS_JSON:
        return "application/json";
    case STLS_STATUS_PROMETHEUS:
        return "text/plain; version=0.0.4; charset=utf-8";
    default:
        return "text/html; charset=utf-8";
    }
}

static int ends_with(const char *path, size_t path_len, const char *suffix)
{
    size_t len = strlen(suffix);
    return path_len >= len && strncasecmp(path + path_len - len, suffix, len) == 0;
}

static size_t trim(const char **text, size_t len)
{
    while (len > 0 && ((*text)[0] == ' ' || (*text)[0] == '\t')) {
        (*text)++;
        len--;
    }
    while (len > 0 && ((*text)[len - 1] == ' ' || (*text)[len - 1] == '\t')) {
        len--;
    }
    return len;
}

/* Thousandths; RFC 9110 section 12.4.2. */
static int weight_of(const char *item, size_t len)
{
    for (size_t i = 0; i + 3 < len + 1; i++) {
        if (item[i] != ';') {
            continue;
        }
        const char *p = item + i + 1;
        size_t rest = trim(&p, len - i - 1);
        if (rest >= 3 && (p[0] == 'q' || p[0] == 'Q') && p[1] == '=') {
            int weight = 0, unit = 1000;
            for (size_t k = 2; k < rest && k < 7; k++) {
                if (isdigit((unsigned char)p[k])) {
                    weight += (p[k] - '0') * unit;
                    unit /= 10;
                } else if (p[k] != '.' || k != 3) {
                    break;
                }
            }
            return weight > 1000 ? 1000 : weight;
        }
    }
    return 1000;
}

static int format_of_type(const char *item, size_t len)
{
    static const struct {
        const char *type;
        stls_status_format format;
    } types[] = {{"text/html", STLS_STATUS_HTML},
                 {"application/xhtml+xml", STLS_STATUS_HTML},
                 {"application/json", STLS_STATUS_JSON},
                 {"text/plain", STLS_STATUS_PROMETHEUS},
                 {"application/openmetrics-text", STLS_STATUS_PROMETHEUS}};
    size_t type_len = 0;

    while (type_len < len && item[type_len] != ';') {
        type_len++;
    }
    type_len = trim(&item, type_len);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strlen(types[i].type) == type_len && strncasecmp(types[i].type, item, type_len) == 0) {
            return (int)types[i].format;
        }
    }
    return -1;
}

stls_status_format stls_status_page_format(const char *path, size_t path_len, const char *accept,
                                           size_t accept_len)
{
    stls_status_format best = STLS_STATUS_HTML;
    int best_weight = 0;

    path_len = path != NULL ? path_len : 0;
    if (ends_with(path, path_len, ".json")) {
        return STLS_STATUS_JSON;
    }
    if (ends_with(path, path_len, ".prom") || ends_with(path, path_len, "/metrics")) {
        return STLS_STATUS_PROMETHEUS;
    }
    if (ends_with(path, path_len, ".html")) {
        return STLS_STATUS_HTML;
    }
    for (size_t begin = 0; accept != NULL && begin < accept_len;) {
        size_t end = begin;
        while (end < accept_len && accept[end] != ',') {
            end++;
        }
        int format = format_of_type(accept + begin, end - begin);
        int weight = weight_of(accept + begin, end - begin);
        if (format >= 0 && weight > best_weight) {
            best = (stls_status_format)format;
            best_weight = weight;
        }
        begin = end + 1;
    }
    return best;
}
