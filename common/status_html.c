/* The status page for people: self-contained, no script, every value escaped. */
#include <stdio.h>
#include <string.h>

#include "status_page.h"
#include "x509_text.h"

static const char style[] =
    ":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#1b2430;--dim:#5a6675;"
    "--line:#c9d1db;--good:#17703a;--bad:#b3261e;--warn:#8a5a00;--goodbg:#e3f4e8;"
    "--badbg:#fbe7e5;--warnbg:#fdf1d8}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1c222b;--text:#e6eaf0;"
    "--dim:#9aa7b6;--line:#3a4450;--good:#6fd394;--bad:#ff8f86;--warn:#f0c063;--goodbg:#173524;"
    "--badbg:#42201e;--warnbg:#3b2f13}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:64rem;padding:1rem;background:var(--bg);color:var(--text);"
    "font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}\n"
    "h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .6rem}"
    "h3{font-size:1rem;margin:0}p{margin:.3rem 0}\n"
    ".badge{display:inline-block;padding:.05rem .6rem;border-radius:1rem;font-weight:600;"
    "font-size:.9rem;white-space:nowrap}\n"
    ".good{color:var(--good);background:var(--goodbg)}.bad{color:var(--bad);"
    "background:var(--badbg)}.warn{color:var(--warn);background:var(--warnbg)}\n"
    ".dim{color:var(--dim);font-size:.92rem}\n"
    "details,.box{background:var(--card);border:1px solid var(--line);border-radius:.5rem;"
    "padding:.6rem .9rem;margin:0 0 .6rem}\n"
    "summary{cursor:pointer;font-weight:600}summary .dim{font-weight:400}"
    "details[open]>summary{margin-bottom:.6rem}\n"
    "ol{list-style:none;margin:.6rem 0 0;padding:0}ol>li{position:relative;padding-bottom:1.5rem}"
    "ol>li:not(.last)::after{content:\"\";position:absolute;left:1.5rem;bottom:0;height:1.5rem;"
    "border-left:3px solid var(--line)}ol>li.last{padding-bottom:0}\n"
    "ol>li.missing::after,ol>li.above-gap::after{border-left-style:dashed!important;"
    "border-color:var(--bad)!important}\n"
    "ol .box{margin:0}.missing>.box{border:2px dashed var(--bad);background:var(--badbg)}"
    ".unneeded>.box{border-style:dotted;opacity:.85}.root>.box{border-width:2px}"
    "ol>li.unneeded{padding:.6rem 0 0}\n"
    ".kind{font-weight:600;font-size:.82rem;text-transform:uppercase;letter-spacing:.03em}"
    ".sent .kind,.root .kind{color:var(--good)}.missing .kind{color:var(--bad)}"
    ".unneeded .kind{color:var(--warn)}.bad-text{color:var(--bad)}.subject{font-weight:600}\n"
    "ul{list-style:none;margin:.6rem 0 0;padding:0}ul>li{padding:.4rem 0;"
    "border-top:1px solid var(--line)}\n"
    ".whole{white-space:nowrap}.reason{font-family:ui-monospace,monospace;font-size:.9em;font-"
    "weight:600}\n"
    "dl{display:grid;grid-template-columns:1fr max-content;gap:.2rem 1rem;margin:0}"
    "dt{color:var(--dim)}dd{margin:0;text-align:right;font-variant-numeric:tabular-nums}\n"
    ".columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:.6rem}\n"
    "@media(max-width:34rem){body{padding:.6rem}}\n";

void stls_html_line(stls_text *out, const char *class, const char *label, const char *value)
{
    if (value[0] != '\0') {
        stls_text_printf(out, "<div class=\"%s\">%s", class, label);
        stls_text_html(out, value);
        stls_text_put(out, "</div>\n");
    }
}

static void badge(stls_text *out, const char *class, const char *word)
{
    stls_text_printf(out, "<span class=\"badge %s\">", class);
    stls_text_html(out, word);
    stls_text_put(out, "</span> ");
}

/* "3 minutes", for how long ago something was. */
static void span_text(int64_t now_s, int64_t then_s, char text[40])
{
    int64_t span_s = then_s > 0 && then_s < now_s ? now_s - then_s : 0;
    static const struct {
        int64_t unit_s;
        const char *name;
    } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (span_s >= units[i].unit_s) {
            long long num = span_s / units[i].unit_s;
            snprintf(text, 40, "%lld %s%s", num, units[i].name, num == 1 ? "" : "s");
            return;
        }
    }
    snprintf(text, 40, "a moment");
}

/* ---- findings --------------------------------------------------------------------------- */

static void findings(stls_text *out, const json_t *report)
{
    static const char *const severities[] = {"error", "warning", "note"};
    static const char *const classes[] = {"bad", "warn", "dim"};
    const json_t *all = json_object_get(report, "findings");
    size_t i;
    json_t *finding;

    if (json_array_size(all) == 0) {
        return;
    }
    stls_text_put(out, "<ul>\n");
    for (size_t s = 0; s < 3; s++) {
        json_array_foreach (all, i, finding) {
            const char *detail = stls_json_text(finding, "detail");
            if (!stls_json_is(finding, "severity", severities[s])) {
                continue;
            }
            stls_text_put(out, "<li>");
            badge(out, classes[s], severities[s]);
            stls_text_put(out, "<span class=\"reason\">");
            stls_text_html(out, stls_json_text(finding, "reason"));
            stls_text_put(out, "</span>\n");
            stls_html_line(out, "detail", "",
                           detail[0] != '\0' ? detail : stls_json_text(finding, "text"));
            stls_html_line(out, "dim", "remedy: ", s < 2 ? stls_json_text(finding, "remedy") : "");
            stls_text_put(out, "</li>\n");
        }
    }
    stls_text_put(out, "</ul>\n");
}

/* Report or none, drawn and explained. */
static void report_of(stls_text *out, const json_t *item)
{
    const json_t *report = json_object_get(item, "report");
    if (!json_is_object(report)) {
        stls_text_put(out, "<p class=\"dim\">There is no readable report.</p>\n");
        return;
    }
    stls_chain_html(report, out);
    findings(out, report);
}

/* ---- chains of our own --------------------------------------------------------------------- */

static void own_one(stls_text *out, const json_t *own, int64_t now_s)
{
    const char *state = stls_json_text(own, "state");
    int is_bad = strcmp(state, "bad") == 0, is_good = strcmp(state, "good") == 0;
    int is_pending = stls_json_is(json_object_get(own, "report"), "verdict", "pending");
    const json_t *days = json_object_get(own, "days_left");
    char span[40], date[STLS_DATE_LEN];
    size_t i;
    json_t *name;

    stls_text_put(out, is_good ? "<details>" : "<details open>");
    stls_text_put(out, "<summary>");
    badge(out,
          is_bad    ? "bad"
          : is_good ? "good"
                    : "warn",
          is_bad                          ? "refused by strict peers"
          : is_good                       ? "good"
          : strcmp(state, "warning") == 0 ? "good, but"
          : is_pending                    ? "revocation not asked yet"
                                          : "not checked");
    stls_text_html(out, stls_json_text(own, "file"));
    stls_text_put(out, " <span class=\"dim\">");
    if (!stls_json_is(own, "reason", "none")) {
        stls_text_html(out, stls_json_text(own, "reason"));
        stls_text_put(out, " &middot; ");
    }
    stls_text_put(out, stls_json_is(own, "role", "client") ? "as client" : "as server");
    if (json_is_integer(days)) {
        stls_text_printf(out, " &middot; <span class=\"whole\">%lld days left</span>",
                         (long long)json_integer_value(days));
    }
    stls_text_put(out, "</span></summary>\n");
    stls_html_line(out, "dim", "", stls_json_text(own, "where"));
    if (json_array_size(json_object_get(own, "names")) > 0) {
        stls_text_put(out, "<div class=\"dim\">for");
        json_array_foreach (json_object_get(own, "names"), i, name) {
            stls_text_put(out, i > 0 ? ", " : " ");
            stls_text_html(out, json_string_value(name));
        }
        stls_text_put(out, "</div>\n");
    }
    if (stls_json_int(own, "not_after_s") > 0) {
        stls_date_text(stls_json_int(own, "not_after_s"), date);
        stls_html_line(out, "dim", "expires ", date);
    }
    if (stls_json_int(own, "checked_at_s") > 0) {
        span_text(now_s, stls_json_int(own, "checked_at_s"), span);
        stls_text_printf(out, "<div class=\"dim\">checked %s ago</div>\n", span);
    }
    report_of(out, own);
    stls_text_put(out, "</details>\n");
}

/* ---- peers ------------------------------------------------------------------------------------
 */

static void peer_one(stls_text *out, const json_t *peer, int64_t now_s)
{
    const char *verdict = stls_json_text(peer, "verdict");
    const char *name = stls_json_text(peer, "name");
    int is_good = strcmp(verdict, "accept") == 0;
    char span[40];

    stls_text_put(out, "<details><summary>");
    badge(out, is_good ? "good" : strcmp(verdict, "reject") == 0 ? "bad" : "warn", verdict);
    stls_text_html(out, name[0] != '\0' ? name : "(no name)");
    stls_text_put(out, " <span class=\"dim\">");
    if (!stls_json_is(peer, "reason", "none")) {
        stls_text_html(out, stls_json_text(peer, "reason"));
        stls_text_put(out, " &middot; ");
    }
    stls_text_html(out, stls_json_text(peer, "direction"));
    if (stls_json_text(peer, "address")[0] != '\0') {
        stls_text_put(out, " &middot; ");
        stls_text_html(out, stls_json_text(peer, "address"));
    }
    span_text(now_s, stls_json_int(peer, "last_s"), span);
    stls_text_printf(out, " &middot; %s ago</span></summary>\n", span);
    long long count = stls_json_int(peer, "count");
    if (count == 1) {
        stls_text_put(out, "<div class=\"dim\">seen once</div>\n");
    } else {
        stls_text_printf(out, "<div class=\"dim\">seen %lld times</div>\n", count);
    }
    report_of(out, peer);
    stls_text_put(out, "</details>\n");
}

/* `one` renders an item; `none` is said where there is no item. */
static void section(stls_text *out, const char *title, const char *none, const json_t *list,
                    void (*one)(stls_text *, const json_t *, int64_t), int64_t now_s)
{
    size_t i;
    json_t *item;

    stls_text_printf(out, "<h2>%s</h2>\n", title);
    if (json_array_size(list) == 0) {
        stls_text_printf(out, "<p class=\"box dim\">%s</p>\n", none);
    }
    json_array_foreach (list, i, item) {
        one(out, item, now_s);
    }
}

/* ---- counts and figures
 * --------------------------------------------------------------------------- */

static void counts(stls_text *out, const json_t *list, const char *title, const char *key)
{
    size_t i;
    json_t *item;

    stls_text_printf(out, "<div class=\"box\"><h3>%s</h3>\n<dl>\n", title);
    json_array_foreach (list, i, item) {
        stls_text_put(out, "<dt>");
        stls_text_html(out, stls_json_text(item, "direction"));
        stls_text_put(out, " ");
        stls_text_html(out, stls_json_text(item, key));
        stls_text_printf(out, "</dt><dd>%lld</dd>\n", (long long)stls_json_int(item, "count"));
    }
    stls_text_put(out, "</dl></div>\n");
}

static void figures(stls_text *out, const json_t *values)
{
    stls_text_put(out, "<div class=\"box\"><h3>Caches and fetches</h3>\n<dl>\n");
    for (size_t i = 0; i < STLS_NUM_FIGURES; i++) {
        const json_t *value = json_object_get(values, stls_figure_infos[i].metric);
        if (value != NULL) {
            stls_text_printf(out, "<dt>%s</dt><dd>%lld</dd>\n", stls_figure_infos[i].help,
                             (long long)json_integer_value(value));
        }
    }
    stls_text_put(out, "</dl></div>\n");
}

void stls_status_html(const json_t *document, stls_text *out)
{
    int64_t now_s = stls_json_int(document, "now_s");
    char date[STLS_DATE_LEN];

    stls_text_put(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                       "<title>strict-tls status</title>\n<style>\n");
    stls_text_put(out, style);
    stls_text_put(out, "</style>\n</head>\n<body>\n<h1>strict-tls</h1>\n<p class=\"dim\">");
    stls_text_html(out, stls_json_text(document, "host"));
    stls_date_text(now_s, date);
    stls_text_printf(out, " &middot; strict-tls %s &middot; %s</p>\n", STLS_VERSION, date);
    section(out, "Our own certificates", "None is configured.", json_object_get(document, "own"),
            own_one, now_s);
    section(out, "Peers", "None was met since the start.", json_object_get(document, "peers"),
            peer_one, now_s);
    stls_text_put(out, "<h2>Figures</h2>\n<div class=\"columns\">\n");
    counts(out, json_object_get(document, "verdicts"), "Verdicts", "verdict");
    counts(out, json_object_get(document, "reasons"), "Reasons", "reason");
    figures(out, json_object_get(document, "figures"));
    stls_text_put(out, "</div>\n</body>\n</html>\n");
}
