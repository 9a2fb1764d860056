/* A diagnosis for a terminal or a pipe: the chain drawn leaf to root, then who must do what. */
#include <string.h>

#include "doctor.h"

typedef struct {
    FILE *out;
    int colour;
} pen;

#define RED "31"
#define GREEN "32"
#define YELLOW "33"
#define BOLD "1"
#define DIM "2"

#define MAX_CAS_SHOWN 20 /* all of them are in the JSON */

static void paint(const pen *with, const char *colour, const char *text)
{
    if (with->colour && text[0] != '\0') {
        fprintf(with->out, "\x1b[%sm%s\x1b[0m", colour, text);
    } else {
        fputs(text, with->out);
    }
}

static const char *verdict_colour(const char *verdict)
{
    return strcmp(verdict, "accept") == 0 ? GREEN : strcmp(verdict, "reject") == 0 ? RED : YELLOW;
}

/* ---- the chain ------------------------------------------------------------------- */

static void detail_line(const pen *with, int is_gap, const char *label, const char *text)
{
    if (text[0] != '\0') {
        fprintf(with->out, "   %c            %s%s\n", is_gap ? ':' : '|', label, text);
    }
}

static void node_details(const pen *with, const json_t *node, int is_last)
{
    const char *kind = doctor_str(node, "kind");
    int is_gap = strcmp(kind, "missing") == 0;
    char dates[100], from[32], to[32];
    size_t i;
    json_t *finding;

    if (is_gap) {
        detail_line(with, 1, "key id ", doctor_str(node, "key_id"));
        detail_line(with, 1, "published at ", doctor_str(node, "published_at"));
    } else if (strcmp(kind, "root") != 0) {
        doctor_date(doctor_int(node, "not_before_s"), from);
        doctor_date(doctor_int(node, "not_after_s"), to);
        snprintf(dates, sizeof(dates), "%s to %s UTC", from, to);
        detail_line(with, 0, "", dates);
        detail_line(with, 0, "revocation ", doctor_str(node, "revocation"));
    }
    json_array_foreach (json_object_get(node, "findings"), i, finding) {
        fprintf(with->out, "   %c            ", is_gap ? ':' : '|');
        paint(with, YELLOW, json_string_value(finding));
        fputc('\n', with->out);
    }
    if (!is_last) {
        fprintf(with->out, "   %c\n", is_gap ? ':' : '|');
    }
}

static void draw_node(const pen *with, const json_t *node, int is_last)
{
    const char *kind = doctor_str(node, "kind");
    int64_t index = doctor_int(node, "index");
    char label[40], number[24] = "";

    if (index >= 0) {
        snprintf(number, sizeof(number), "#%d", (int)index);
    }
    if (strcmp(kind, "missing") == 0) {
        fputs("  ", with->out);
        paint(with, RED, "MISSING");
        fputs("       ", with->out);
    } else {
        snprintf(label, sizeof(label), "  %-9s%-5s", kind, number);
        paint(with, strcmp(kind, "unneeded") == 0 ? YELLOW : GREEN, label);
    }
    paint(with, BOLD, doctor_str(node, "subject"));
    fputs(strcmp(kind, "root") == 0 ? "  (in the trust store)\n" : "\n", with->out);
    node_details(with, node, is_last);
}

static void draw_chain(const pen *with, const json_t *diagnosis)
{
    const json_t *chain = json_object_get(diagnosis, "chain");
    size_t i, num = json_array_size(chain);

    for (i = 0; i < num; i++) {
        const json_t *node = json_array_get(chain, i);
        const char *next = doctor_str(json_array_get(chain, i + 1), "kind");
        int is_last = i + 1 == num || strcmp(next, "unneeded") == 0;
        if (strcmp(doctor_str(node, "kind"), "unneeded") == 0
            && (i == 0
                || strcmp(doctor_str(json_array_get(chain, i - 1), "kind"), "unneeded") != 0)) {
            fputs("\n  sent besides:\n", with->out);
        }
        draw_node(with, node, is_last);
    }
    if (num > 0) {
        fputc('\n', with->out);
    }
}

/* ---- words -------------------------------------------------------------------------- */

static void row(const pen *with, const char *label, const char *colour, const char *text)
{
    if (text[0] != '\0') {
        fprintf(with->out, "%-16s", label);
        paint(with, colour, text);
        fputc('\n', with->out);
    }
}

static void lenient_says(const pen *with, const json_t *diagnosis)
{
    const json_t *lenient = json_object_get(diagnosis, "lenient");
    if (!json_is_object(lenient)) {
        return;
    }
    int accepts = strcmp(doctor_str(lenient, "verdict"), "accept") == 0;
    char text[DOCTOR_TEXT_LEN + 20];
    snprintf(text, sizeof(text), "%s%s%s", accepts ? "accepts" : "refuses", accepts ? "" : ": ",
             doctor_str(lenient, "detail"));
    row(with, "lenient client", accepts ? GREEN : RED, text);
}

static void strict_says(const pen *with, const json_t *diagnosis)
{
    const json_t *strict = json_object_get(diagnosis, "strict");
    const char *reason = doctor_str(diagnosis, "reason");
    char text[DOCTOR_TEXT_LEN];

    if (!json_is_object(strict)) {
        return;
    }
    int accepts = strcmp(doctor_str(strict, "verdict"), "accept") == 0;
    if (accepts) {
        row(with, "strict client", GREEN, "accepts");
        return;
    }
    snprintf(text, sizeof(text), "refuses: %s: %s", reason, doctor_str(diagnosis, "text"));
    row(with, "strict client", RED, text);
    row(with, "  why", "", doctor_str(diagnosis, "detail"));
    row(with, "  who must act", "", doctor_str(diagnosis, "who"));
    row(with, "  remedy", BOLD, doctor_str(diagnosis, "remedy"));
}

static void other_findings(const pen *with, const json_t *diagnosis)
{
    size_t i;
    json_t *finding;
    const char *reason = doctor_str(diagnosis, "reason");

    json_array_foreach (json_object_get(json_object_get(diagnosis, "strict"), "findings"), i,
                        finding) {
        if (strcmp(doctor_str(finding, "reason"), reason) == 0
            && strcmp(doctor_str(finding, "detail"), doctor_str(diagnosis, "detail")) == 0) {
            continue;
        }
        const char *detail = doctor_str(finding, "detail");
        fprintf(with->out, "%-16s", "also");
        paint(with, YELLOW, doctor_str(finding, "reason"));
        fprintf(with->out, ": %s\n", detail[0] != '\0' ? detail : doctor_str(finding, "text"));
    }
}

static void repair_says(const pen *with, const json_t *diagnosis)
{
    const json_t *repair = json_object_get(diagnosis, "repair");
    char text[DOCTOR_TEXT_LEN + 40];
    size_t i;
    json_t *change;

    if (!json_is_object(repair)) {
        return;
    }
    if (!json_is_true(json_object_get(repair, "possible"))) {
        snprintf(text, sizeof(text), "not by the chain alone%s%s",
                 doctor_str(repair, "detail")[0] ? ": " : "", doctor_str(repair, "detail"));
        row(with, "repair", YELLOW, text);
        return;
    }
    row(with, "repair", GREEN, doctor_str(repair, "command"));
    json_array_foreach (json_object_get(repair, "changes"), i, change) {
        row(with, "  change", "", json_string_value(change));
    }
}

static void problems(const pen *with, const json_t *diagnosis)
{
    size_t i;
    json_t *problem;

    json_array_foreach (json_object_get(diagnosis, "problems"), i, problem) {
        int is_error = strcmp(doctor_str(problem, "severity"), "error") == 0;
        fprintf(with->out, "%-16s", is_error ? "problem" : "note");
        paint(with, is_error ? RED : DIM, doctor_str(problem, "id"));
        fprintf(with->out, ": %s\n", doctor_str(problem, "detail"));
        row(with, "  who must act", "", doctor_str(problem, "who"));
        row(with, "  remedy", "", doctor_str(problem, "remedy"));
    }
}

/* ---- the parts ------------------------------------------------------------------------- */

static void heading(const pen *with, const json_t *diagnosis)
{
    const json_t *target = json_object_get(diagnosis, "target");
    const json_t *connection = json_object_get(diagnosis, "connection");
    const char *verdict = doctor_str(diagnosis, "verdict");

    const char *name = doctor_str(target, "name");
    paint(with, BOLD, doctor_str(target, "label"));
    if (name[0] != '\0' && strncmp(name, doctor_str(target, "label"), strlen(name)) != 0) {
        fprintf(with->out, " as %s", name);
    }
    fputs("  ", with->out);
    paint(with, verdict_colour(verdict), verdict);
    if (json_is_object(connection)) {
        const char *parts[] = {doctor_str(connection, "address"),
                               doctor_str(connection, "tls_version"),
                               doctor_str(connection, "cipher")};
        for (size_t i = 0; i < 3; i++) {
            if (parts[i][0] != '\0') {
                fprintf(with->out, "  %s", parts[i]);
            }
        }
        if (json_is_true(json_object_get(connection, "stapled"))) {
            fputs("  stapled", with->out);
        }
    }
    if (json_is_boolean(json_object_get(diagnosis, "key_matches"))) {
        fputs(json_is_true(json_object_get(diagnosis, "key_matches")) ? "  key matches"
                                                                      : "  key does NOT match",
              with->out);
    }
    fputs("\n\n", with->out);
}

static void draw_client(const pen *with, const json_t *client)
{
    const json_t *names = json_object_get(client, "acceptable_cas");
    const json_t *own = json_object_get(client, "diagnosis");
    size_t i;
    json_t *name;

    fputc('\n', with->out);
    paint(with, BOLD, "client certificate");
    fputs(json_is_true(json_object_get(client, "requested")) ? "  the server asks for one\n"
                                                             : "  the server does not ask\n",
          with->out);
    json_array_foreach (names, i, name) {
        if (i == MAX_CAS_SHOWN) {
            fprintf(with->out, "%-16sand %zu more\n", "", json_array_size(names) - i);
            break;
        }
        row(with, i == 0 ? "accepted CAs" : "", "", json_string_value(name));
    }
    if (json_is_boolean(json_object_get(client, "issuer_listed"))) {
        int is_listed = json_is_true(json_object_get(client, "issuer_listed"));
        row(with, "  ours listed", is_listed ? GREEN : RED, is_listed ? "yes" : "no");
    }
    fputc('\n', with->out);
    if (json_is_object(own)) {
        draw_chain(with, own);
        strict_says(with, own);
        other_findings(with, own);
        repair_says(with, own);
    }
}

void doctor_tree(FILE *out, const json_t *diagnosis, int colour)
{
    const pen with = {out, colour};
    const json_t *client = json_object_get(diagnosis, "client");

    heading(&with, diagnosis);
    draw_chain(&with, diagnosis);
    lenient_says(&with, diagnosis);
    strict_says(&with, diagnosis);
    other_findings(&with, diagnosis);
    repair_says(&with, diagnosis);
    if (json_is_object(client)) {
        draw_client(&with, client);
    }
    problems(&with, diagnosis);
}

void doctor_line(FILE *out, const json_t *diagnosis, int colour)
{
    const pen with = {out, colour};
    const char *verdict = doctor_str(diagnosis, "verdict");
    const char *reason = doctor_str(diagnosis, "reason");
    const char *why = doctor_str(diagnosis, "detail");
    char word[16];

    if (strcmp(reason, "none") == 0 && doctor_first_problem(diagnosis, "id")[0] != '\0') {
        reason = doctor_first_problem(diagnosis, "id");
        why = doctor_first_problem(diagnosis, "detail");
    }
    snprintf(word, sizeof(word), "%-7s", verdict);
    paint(&with, verdict_colour(verdict), word);
    fprintf(out, "  %-40s  %s", doctor_str(json_object_get(diagnosis, "target"), "label"), reason);
    if (why[0] != '\0') {
        fprintf(out, ": %s", why);
    }
    fputc('\n', out);
}
