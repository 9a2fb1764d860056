/* The status page in Prometheus' text format, version 0.0.4. */
#include <string.h>

#include "status_page.h"

static void head(stls_text *out, const char *metric, const char *type, const char *help)
{
    stls_text_printf(out, "# HELP strict_tls_%s %s\n# TYPE strict_tls_%s %s\n", metric, help,
                     metric, type);
}

/* Braces and labels, out of keys of `item`, and of `more` where that is given. */
static void labels(stls_text *out, const json_t *item, const char *const *keys)
{
    stls_text_put(out, "{");
    for (size_t i = 0; keys[i] != NULL; i++) {
        stls_text_printf(out, "%s%s=\"", i > 0 ? "," : "", keys[i]);
        stls_text_label(out, stls_json_text(item, keys[i]));
        stls_text_put(out, "\"");
    }
    stls_text_put(out, "} ");
}

static void sample(stls_text *out, const char *metric, const json_t *item, const char *const *keys,
                   int64_t value)
{
    stls_text_printf(out, "strict_tls_%s", metric);
    labels(out, item, keys);
    stls_text_printf(out, "%lld\n", (long long)value);
}

static int equals(const json_t *item, const char *key, const char *word)
{
    return strcmp(stls_json_text(item, key), word) == 0;
}

static void series(stls_text *out, const json_t *list, const char *metric, const char *help,
                   const char *type, const char *const *keys, const char *value_key)
{
    size_t i;
    json_t *item;

    head(out, metric, type, help);
    json_array_foreach (list, i, item) {
        if (json_is_integer(json_object_get(item, value_key))) {
            sample(out, metric, item, keys, stls_json_int(item, value_key));
        }
    }
}

static void own(stls_text *out, const json_t *list)
{
    static const char *const keys[] = {"role", "file", "where", NULL};
    static const char *const with_reason[] = {"role", "file", "where", "state", "reason", NULL};
    size_t i;
    json_t *item;

    head(out, "own_good", "gauge",
         "1 where a strict peer would find nothing wrong with a chain of our own");
    json_array_foreach (list, i, item) {
        sample(out, "own_good", item, with_reason,
               equals(item, "state", "good") || equals(item, "state", "warning"));
    }
    head(out, "own_revoked", "gauge", "1 where a certificate of our own is known to be revoked");
    json_array_foreach (list, i, item) {
        sample(out, "own_revoked", item, keys,
               equals(item, "reason", "ocsp.revoked") || equals(item, "reason", "crl.revoked"));
    }
    series(out, list, "own_days_left",
           "Whole days until the first certificate of the chain expires", "gauge", keys,
           "days_left");
    series(out, list, "own_not_after_seconds", "When that is, seconds since the epoch", "gauge",
           keys, "not_after_s");
    series(out, list, "own_checked_at_seconds", "When it was last checked, seconds since the epoch",
           "gauge", keys, "checked_at_s");
}

static void peers(stls_text *out, const json_t *list)
{
    static const char *const keys[] = {"direction", "name", "address", NULL};
    static const char *const with_reason[] = {"direction", "name",   "address",
                                              "verdict",   "reason", NULL};
    size_t i;
    json_t *item;

    head(out, "peer_accepted", "gauge", "1 where the latest verdict about this peer was to accept");
    json_array_foreach (list, i, item) {
        sample(out, "peer_accepted", item, with_reason, equals(item, "verdict", "accept"));
    }
    series(out, list, "peer_verdicts_total", "Verdicts about this peer while it is remembered",
           "counter", keys, "count");
    series(out, list, "peer_last_seen_seconds", "The latest of them, seconds since the epoch",
           "gauge", keys, "last_s");
}

static void figures(stls_text *out, const json_t *values)
{
    for (size_t i = 0; i < STLS_NUM_FIGURES; i++) {
        const stls_figure_info *info = &stls_figure_infos[i];
        const json_t *value = json_object_get(values, info->metric);
        if (value != NULL) {
            head(out, info->metric, info->type, info->help);
            stls_text_printf(out, "strict_tls_%s %lld\n", info->metric,
                             (long long)json_integer_value(value));
        }
    }
}

void stls_status_prometheus(const json_t *document, stls_text *out)
{
    static const char *const verdict[] = {"direction", "verdict", NULL};
    static const char *const reason[] = {"direction", "reason", NULL};
    static const char *const info[] = {"strict_tls_version", "host", NULL};

    head(out, "info", "gauge", "What answers");
    sample(out, "info", document, info, 1);
    series(out, json_object_get(document, "verdicts"), "verdicts_total", "Verdicts about peers",
           "counter", verdict, "count");
    series(out, json_object_get(document, "reasons"), "reasons_total",
           "Verdicts with this primary reason", "counter", reason, "count");
    own(out, json_object_get(document, "own"));
    peers(out, json_object_get(document, "peers"));
    figures(out, json_object_get(document, "figures"));
}
