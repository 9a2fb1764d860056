/* One self-contained page: the chain drawn, readable anywhere, no script, nothing loaded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>
#include <unistd.h>

#include "doctor.h"

static const char style[] =
    ":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#1b2430;--dim:#5a6675;"
    "--line:#c9d1db;--good:#17703a;--bad:#b3261e;--warn:#8a5a00;--goodbg:#e3f4e8;"
    "--badbg:#fbe7e5;--warnbg:#fdf1d8}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1c222b;--text:#e6eaf0;"
    "--dim:#9aa7b6;--line:#3a4450;--good:#6fd394;--bad:#ff8f86;--warn:#f0c063;--goodbg:#173524;"
    "--badbg:#42201e;--warnbg:#3b2f13}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:60rem;padding:1rem;background:var(--bg);color:var(--text);"
    "font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}\n"
    "h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:1.5rem 0 .5rem}"
    "p{margin:.3rem 0}code,.mono{font-family:ui-monospace,monospace;font-size:.9em}\n"
    ".badge{display:inline-block;padding:.05rem .6rem;border-radius:1rem;font-weight:600;"
    "font-size:.95rem;white-space:nowrap}\n"
    ".accept{color:var(--good);background:var(--goodbg)}.reject{color:var(--bad);"
    "background:var(--badbg)}.unknown{color:var(--warn);background:var(--warnbg)}\n"
    ".dim{color:var(--dim)}section{margin:0 0 2.5rem}*+section{margin-top:2rem}"
    "h1+p{margin:.3rem 0 .7rem}\n"
    ".box{background:var(--card);border:1px solid var(--line);border-radius:.5rem;"
    "padding:.6rem .9rem}\n"
    "ol.chain{list-style:none;margin:0;padding:0}ol.chain>li{position:relative;margin:0;"
    "padding-bottom:1.6rem}ol.chain>li:not(.last)::after{content:\"\";position:absolute;"
    "left:1.5rem;bottom:0;height:1.6rem;border-left:3px solid var(--line)}\n"
    "ol.chain>li.missing::after,ol.chain>li.above-gap::after{border-left-style:dashed!important;"
    "border-color:var(--bad)!important}ol.chain>li.last{padding-bottom:0}"
    "ol.chain+.box{margin-top:1rem}\n"
    ".missing>.box{border:2px dashed var(--bad);background:var(--badbg)}"
    ".unneeded>.box{border-style:dotted;opacity:.85}.root>.box{border-width:2px}\n"
    ".kind{font-weight:600;font-size:.85rem;text-transform:uppercase;letter-spacing:.03em}"
    ".sent .kind,.root .kind{color:var(--good)}.missing .kind{color:var(--bad)}"
    ".unneeded .kind{color:var(--warn)}.subject{font-weight:600}\n"
    "dl{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.35rem 1rem;margin:0}"
    "dt{color:var(--dim)}dd{margin:0}.finding{color:var(--warn)}\n"
    "ul.all{list-style:none;margin:0;padding:.2rem .9rem}ul.all li{padding:.4rem 0}"
    "ul.all li+li{border-top:1px solid var(--line)}a{color:inherit}\n"
    "@media(max-width:34rem){body{padding:.6rem}dl{grid-template-columns:1fr;gap:0 0}"
    "dd{margin:0 0 .5rem}}\n"
    "@media print{body{background:#fff}}\n";

/* Every value goes through here: a peer chooses its names. */
static void text(FILE *out, const char *value)
{
    for (; *value != '\0'; value++) {
        switch (*value) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            fputc(*value >= 0x20 && *value < 0x7f ? *value : '?', out);
        }
    }
}

static void line(FILE *out, const char *tag, const char *class, const char *label,
                 const char *value)
{
    if (value[0] != '\0') {
        fprintf(out, "<%s class=\"%s\">%s", tag, class, label);
        text(out, value);
        fprintf(out, "</%s>\n", tag);
    }
}

static void term(FILE *out, const char *label, const char *class, const char *value)
{
    if (value[0] != '\0') {
        fprintf(out, "<dt>%s</dt><dd class=\"%s\">", label, class);
        text(out, value);
        fputs("</dd>\n", out);
    }
}

/* Class and word of a verdict, out of our own words only. */
static const char *verdict_word(const char *verdict)
{
    return strcmp(verdict, "accept") == 0   ? "accept"
           : strcmp(verdict, "reject") == 0 ? "reject"
                                            : "unknown";
}

static void badge(FILE *out, const char *verdict)
{
    const char *word = verdict_word(verdict);
    fprintf(out, "<span class=\"badge %s\">%s</span>", word, word);
}

/* ---- the chain ------------------------------------------------------------------------ */

static const char *kind_words(const char *kind)
{
    return strcmp(kind, "missing") == 0    ? "missing"
           : strcmp(kind, "root") == 0     ? "root in the trust store"
           : strcmp(kind, "unneeded") == 0 ? "sent, not needed"
                                           : "sent";
}

static const char *kind_class(const char *kind)
{
    return strcmp(kind, "missing") == 0    ? "missing"
           : strcmp(kind, "root") == 0     ? "root"
           : strcmp(kind, "unneeded") == 0 ? "unneeded"
                                           : "sent";
}

static void node(FILE *out, const json_t *chain, size_t i)
{
    const json_t *cert = json_array_get(chain, i);
    const char *kind = doctor_str(cert, "kind");
    const char *next = doctor_str(json_array_get(chain, i + 1), "kind");
    int is_last = i + 1 == json_array_size(chain) || strcmp(next, "unneeded") == 0;
    int64_t index = doctor_int(cert, "index");
    char from[32], to[32], dates[80];
    size_t k;
    json_t *finding;

    fprintf(out, "<li class=\"%s%s%s\"><div class=\"box\"><span class=\"kind\">%s",
            kind_class(kind), is_last ? " last" : "",
            strcmp(next, "missing") == 0 ? " above-gap" : "", kind_words(kind));
    if (index >= 0) {
        fprintf(out, " #%d", (int)index);
    }
    fputs("</span>\n", out);
    line(out, "div", "subject", "", doctor_str(cert, "subject"));
    if (strcmp(kind, "missing") == 0) {
        line(out, "div", "dim", "key id ", doctor_str(cert, "key_id"));
        line(out, "div", "", "published at ", doctor_str(cert, "published_at"));
    } else if (doctor_int(cert, "not_after_s") > 0) {
        doctor_date(doctor_int(cert, "not_before_s"), from);
        doctor_date(doctor_int(cert, "not_after_s"), to);
        snprintf(dates, sizeof(dates), "%s to %s UTC", from, to);
        line(out, "div", "dim", "", dates);
        line(out, "div", "dim", "revocation: ", doctor_str(cert, "revocation"));
    }
    json_array_foreach (json_object_get(cert, "findings"), k, finding) {
        line(out, "div", "finding", "", json_string_value(finding));
    }
    fputs("</div></li>\n", out);
}

static void chain_of(FILE *out, const json_t *diagnosis)
{
    const json_t *chain = json_object_get(diagnosis, "chain");
    if (json_array_size(chain) == 0) {
        return;
    }
    fputs(strcmp(doctor_str(diagnosis, "kind"), "client") == 0 ? "<h2>Our chain, leaf first</h2>\n"
                                                               : "<h2>Chain, leaf first</h2>\n",
          out);
    fputs("<ol class=\"chain\">\n", out);
    for (size_t i = 0; i < json_array_size(chain); i++) {
        node(out, chain, i);
    }
    fputs("</ol>\n", out);
}

/* ---- who says what --------------------------------------------------------------------- */

static void says(FILE *out, const char *who, const char *verdict, const char *reason,
                 const char *detail)
{
    fprintf(out, "<dt>%s</dt><dd>", who);
    badge(out, verdict);
    fputc(' ', out);
    text(out, reason);
    fputs(reason[0] != '\0' && detail[0] != '\0' ? ": " : " ", out);
    text(out, detail);
    fputs("</dd>\n", out);
}

static void verdicts(FILE *out, const json_t *diagnosis)
{
    const json_t *lenient = json_object_get(diagnosis, "lenient");
    const json_t *strict = json_object_get(diagnosis, "strict");
    const json_t *repair = json_object_get(diagnosis, "repair");
    const char *reason = doctor_str(diagnosis, "reason");
    size_t i;
    json_t *change;

    if (!json_is_object(strict)) {
        return;
    }
    fputs("<dl class=\"box\">\n", out);
    if (json_is_object(lenient)) {
        says(out, "lenient client", doctor_str(lenient, "verdict"), "",
             doctor_str(lenient, "detail"));
    }
    if (json_is_object(strict)) {
        says(out, "strict client", doctor_str(strict, "verdict"),
             strcmp(reason, "none") == 0 ? "" : reason, doctor_str(diagnosis, "text"));
    }
    term(out, "why", "", doctor_str(diagnosis, "detail"));
    term(out, "who must act", "", doctor_str(diagnosis, "who"));
    term(out, "remedy", "subject", doctor_str(diagnosis, "remedy"));
    if (json_is_true(json_object_get(repair, "possible"))) {
        term(out, "repair", "mono", doctor_str(repair, "command"));
        json_array_foreach (json_object_get(repair, "changes"), i, change) {
            term(out, "change", "", json_string_value(change));
        }
    } else if (json_is_object(repair)) {
        term(out, "repair", "", "not by the chain alone");
        term(out, "", "dim", doctor_str(repair, "detail"));
    }
    fputs("</dl>\n", out);
}

static void findings(FILE *out, const json_t *diagnosis)
{
    const json_t *all = json_object_get(json_object_get(diagnosis, "strict"), "findings");
    size_t i;
    json_t *finding;

    if (json_array_size(all) < 2) {
        return;
    }
    fputs("<h2>All findings</h2>\n<ul class=\"all box\">\n", out);
    json_array_foreach (all, i, finding) {
        const char *detail = doctor_str(finding, "detail");
        fputs("<li><span class=\"finding\">", out);
        text(out, doctor_str(finding, "reason"));
        fputs("</span> <span class=\"dim\">", out);
        text(out, doctor_str(finding, "severity"));
        fputs("</span> ", out);
        text(out, detail[0] != '\0' ? detail : doctor_str(finding, "text"));
        line(out, "div", "dim", "", doctor_str(finding, "subject"));
        fputs("</li>\n", out);
    }
    fputs("</ul>\n", out);
}

static void problems(FILE *out, const json_t *diagnosis)
{
    const json_t *all = json_object_get(diagnosis, "problems");
    size_t i;
    json_t *problem;

    if (json_array_size(all) == 0) {
        return;
    }
    fputs(json_is_object(json_object_get(diagnosis, "strict")) ? "<h2>Besides</h2>\n"
                                                               : "<h2>What went wrong</h2>\n",
          out);
    fputs("<ul class=\"all box\">\n", out);
    json_array_foreach (all, i, problem) {
        fputs("<li><span class=\"finding\">", out);
        text(out, doctor_str(problem, "id"));
        fputs("</span> ", out);
        text(out, doctor_str(problem, "detail"));
        line(out, "div", "dim", "who must act: ", doctor_str(problem, "who"));
        line(out, "div", "dim", "remedy: ", doctor_str(problem, "remedy"));
        fputs("</li>\n", out);
    }
    fputs("</ul>\n", out);
}

static void client(FILE *out, const json_t *diagnosis)
{
    const json_t *of = json_object_get(diagnosis, "client");
    const json_t *own = json_object_get(of, "diagnosis");
    size_t i;
    json_t *name;

    if (!json_is_object(of)) {
        return;
    }
    fputs("<h2>Client certificate</h2>\n<dl class=\"box\">\n", out);
    term(out, "the server asks", "", json_is_true(json_object_get(of, "requested")) ? "yes" : "no");
    json_array_foreach (json_object_get(of, "acceptable_cas"), i, name) {
        term(out, "accepted CA", "", json_string_value(name));
    }
    if (json_is_boolean(json_object_get(of, "issuer_listed"))) {
        term(out, "ours is listed", "",
             json_is_true(json_object_get(of, "issuer_listed")) ? "yes" : "no");
    }
    fputs("</dl>\n", out);
    if (json_is_object(own)) {
        chain_of(out, own);
        verdicts(out, own);
        findings(out, own);
    }
}

/* ---- the page ---------------------------------------------------------------------------- */

static void section(FILE *out, const json_t *diagnosis, size_t number)
{
    const json_t *target = json_object_get(diagnosis, "target");
    const json_t *connection = json_object_get(diagnosis, "connection");
    char date[32];

    doctor_date(doctor_int(diagnosis, "checked_at_s"), date);
    fprintf(out, "<section id=\"h%zu\">\n<h1>", number);
    text(out, doctor_str(target, "label"));
    fputc(' ', out);
    badge(out, doctor_str(diagnosis, "verdict"));
    fputs("</h1>\n<p class=\"dim\">", out);
    line(out, "span", "", "as ", doctor_str(target, "name"));
    fputs(doctor_str(target, "name")[0] != '\0' ? " &middot; " : "", out);
    fprintf(out, "%s UTC", date);
    if (json_is_object(connection)) {
        const char *keys[] = {"address", "tls_version", "cipher"};
        for (size_t i = 0; i < 3; i++) {
            const char *value = doctor_str(connection, keys[i]);
            fputs(value[0] != '\0' ? " &middot; " : "", out);
            text(out, value);
        }
        if (json_is_true(json_object_get(connection, "stapled"))) {
            fputs(" &middot; stapled", out);
        }
    }
    if (json_is_boolean(json_object_get(diagnosis, "key_matches"))) {
        fputs(json_is_true(json_object_get(diagnosis, "key_matches"))
                  ? " &middot; key matches"
                  : " &middot; key does not match",
              out);
    }
    fputs("</p>\n", out);
    verdicts(out, diagnosis);
    problems(out, diagnosis);
    chain_of(out, diagnosis);
    findings(out, diagnosis);
    client(out, diagnosis);
    fputs("</section>\n", out);
}

static void index_of(FILE *out, const json_t *diagnoses)
{
    size_t i;
    json_t *diagnosis;

    fprintf(out, "<h1>%zu endpoints</h1>\n<ul class=\"all box\">\n", json_array_size(diagnoses));
    json_array_foreach (diagnoses, i, diagnosis) {
        if (!json_is_object(diagnosis)) {
            continue; /* stopped before its turn */
        }
        const char *reason = doctor_str(diagnosis, "reason");
        fputs("<li>", out);
        badge(out, doctor_str(diagnosis, "verdict"));
        fprintf(out, " <a href=\"#h%zu\">", i);
        text(out, doctor_str(json_object_get(diagnosis, "target"), "label"));
        fputs("</a> ", out);
        text(out, strcmp(reason, "none") == 0 ? doctor_first_problem(diagnosis, "id") : reason);
        fputs("</li>\n", out);
    }
    fputs("</ul>\n", out);
}

static void page(FILE *out, const json_t *diagnoses)
{
    size_t i;
    json_t *diagnosis;

    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "style-src 'unsafe-inline'\">\n<title>strict-tls",
          out);
    if (json_array_size(diagnoses) == 1) {
        fputs(": ", out);
        text(out, doctor_str(json_object_get(json_array_get(diagnoses, 0), "target"), "label"));
    }
    fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", style);
    if (json_array_size(diagnoses) != 1) {
        index_of(out, diagnoses);
    }
    json_array_foreach (diagnoses, i, diagnosis) {
        if (json_is_object(diagnosis)) {
            section(out, diagnosis, i);
        }
    }
    fputs("</body>\n</html>\n", out);
}

static int write_page(const char *path, const json_t *diagnoses)
{
    FILE *out = fopen(path, "w");
    if (out == NULL) {
        return 0;
    }
    page(out, diagnoses);
    int ok = !ferror(out);
    return fclose(out) == 0 && ok;
}

/* Whole or not at all: a reader of a file never sees half a page. */
static int replace_page(const char *path, const json_t *diagnoses)
{
    size_t len = strlen(path);
    char *temporary = malloc(len + 5);
    if (temporary == NULL) {
        return 0;
    }
    memcpy(temporary, path, len);
    memcpy(temporary + len, ".new", 5);
    int ok = write_page(temporary, diagnoses) && rename(temporary, path) == 0;
    if (!ok) {
        int why = errno;
        unlink(temporary);
        errno = why;
    }
    free(temporary);
    return ok;
}

int doctor_html(const char *path, const json_t *diagnoses)
{
    struct stat status;
    char plain[DOCTOR_TEXT_LEN];
    /* A device, a pipe or a link is written to, never replaced. */
    int is_special = lstat(path, &status) == 0 && !S_ISREG(status.st_mode);

    if (is_special ? write_page(path, diagnoses) : replace_page(path, diagnoses)) {
        return 1;
    }
    int why = errno;
    snprintf(plain, sizeof(plain), "%s", path);
    doctor_plain(plain);
    fprintf(stderr, "strict-tls: %s: %s\n", plain, strerror(why));
    return 0;
}
