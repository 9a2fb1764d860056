/*
 * A report's chain, drawn: which certificates lead from the leaf to a root,
 * which of them were sent, and where one is missing.  For people; trust was
 * judged before.
 */
#include <stdio.h>
#include <string.h>

#include "status_page.h"
#include "x509_text.h"

#define MAX_NODES 100

typedef struct {
    const json_t *report;
    stls_text *out;
    char used[MAX_NODES]; /* by presented index */
} drawing;

static const json_t *cert_at(const drawing *of, size_t index)
{
    return json_array_get(json_object_get(of->report, "certs"), index);
}

static size_t num_certs(const drawing *of)
{
    size_t num = json_array_size(json_object_get(of->report, "certs"));
    return num < MAX_NODES ? num : MAX_NODES;
}

/* ---- one box ------------------------------------------------------------------------ */

static void revocation(stls_text *out, const json_t *cert)
{
    const json_t *answer = json_object_get(cert, "revocation");
    const char *source = stls_json_text(answer, "source");
    char text[120];

    if (json_is_object(answer)) {
        snprintf(text, sizeof(text), "%.40s%s%.20s", stls_json_text(answer, "status"),
                 source[0] != '\0' ? ", by " : "", source);
        stls_html_line(out, "dim", "revocation: ", text);
    }
}

static void sent(drawing *of, size_t index, const char *kind, int is_last, int is_above_gap)
{
    const json_t *cert = cert_at(of, index);
    char from[STLS_DATE_LEN], to[STLS_DATE_LEN], dates[2 * STLS_DATE_LEN + 8];
    size_t i;
    json_t *finding;

    of->used[index] = 1;
    stls_text_printf(
        of->out, "<li class=\"%s%s%s\"><div class=\"box\"><span class=\"kind\">%s #%zu</span>\n",
        kind, is_last ? " last" : "", is_above_gap ? " above-gap" : "",
        strcmp(kind, "unneeded") == 0 ? "sent, not needed" : "sent", index);
    stls_html_line(of->out, "subject", "", stls_json_text(cert, "subject"));
    stls_date_text(stls_json_int(cert, "not_before_s"), from);
    stls_date_text(stls_json_int(cert, "not_after_s"), to);
    snprintf(dates, sizeof(dates), "%s to %s", from, to);
    stls_html_line(of->out, "dim", "", dates);
    revocation(of->out, cert);
    json_array_foreach (json_object_get(of->report, "findings"), i, finding) {
        if (json_is_integer(json_object_get(finding, "cert"))
            && stls_json_int(finding, "cert") == (int64_t)index
            && !stls_json_is(finding, "severity", "note")) {
            stls_html_line(
                of->out, stls_json_is(finding, "severity", "error") ? "reason bad-text" : "reason",
                "", stls_json_text(finding, "reason"));
        }
    }
    stls_text_put(of->out, "</div></li>\n");
}

static void missing(drawing *of, const json_t *gap, int is_last)
{
    stls_text_printf(of->out,
                     "<li class=\"missing%s\"><div class=\"box\"><span class=\"kind\">missing"
                     "</span>\n",
                     is_last ? " last" : "");
    stls_html_line(of->out, "subject", "", stls_json_text(gap, "subject"));
    stls_html_line(of->out, "dim", "key id ", stls_json_text(gap, "key_id"));
    stls_html_line(of->out, "dim", "published at ", stls_json_text(gap, "published_at"));
    stls_text_put(of->out, "</div></li>\n");
}

static void root(drawing *of, const char *subject)
{
    stls_text_put(of->out, "<li class=\"root last\"><div class=\"box\"><span class=\"kind\">root "
                           "in the trust store</span>\n");
    stls_html_line(of->out, "subject", "", subject);
    stls_text_put(of->out, "</div></li>\n");
}

/* A root that was sent stands for itself. */
static int ends_at(const drawing *of, const json_t *order, const char *anchor)
{
    const json_t *last = json_array_get(order, json_array_size(order) - 1);
    const json_t *cert = cert_at(of, (size_t)json_integer_value(last));
    return strcmp(stls_json_text(cert, "subject"), anchor) == 0
           && strcmp(stls_json_text(cert, "issuer"), anchor) == 0;
}

void stls_chain_html(const json_t *report, stls_text *out)
{
    drawing of = {.report = report, .out = out};
    const json_t *order = json_object_get(report, "order");
    const json_t *gaps = json_object_get(report, "gaps");
    const char *anchor = stls_json_text(report, "anchor");
    size_t num = json_array_size(order), num_gaps = 0, i;
    int has_root = anchor[0] != '\0' && num > 0 && !ends_at(&of, order, anchor);
    json_t *link;

    if (num_certs(&of) == 0) {
        return;
    }
    stls_text_put(out, "<ol>\n");
    json_array_foreach (order, i, link) {
        int is_last = i + 1 == num && !has_root;
        if (json_is_null(link)) {
            missing(&of, json_array_get(gaps, num_gaps++), is_last);
            continue;
        }
        json_int_t index = json_integer_value(link);
        if (index >= 0 && (size_t)index < num_certs(&of)) {
            sent(&of, (size_t)index, "sent", is_last,
                 i + 1 < num && json_is_null(json_array_get(order, i + 1)));
        }
    }
    if (has_root) {
        root(&of, anchor);
    }
    for (i = 0; i < num_certs(&of); i++) {
        if (!of.used[i]) {
            sent(&of, i, "unneeded", 1, 0);
        }
    }
    stls_text_put(out, "</ol>\n");
}
