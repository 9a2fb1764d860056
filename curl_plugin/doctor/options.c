/* The options table turned into parsing, help, man page and completion. */
#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "options_table.h"

typedef struct {
    size_t offset; /* of the field in doctor_options */
    const char *name, *value, *commands, *words, *doc;
} option_row;

typedef struct {
    const char *name, *value, *doc;
} command_row;

typedef struct {
    const char *name, *doc;
} text_row;

#define OPTION(field, name, value, commands, words, doc)                                           \
    {offsetof(doctor_options, field), name, value, commands, words, doc},
#define COMMAND(name, value, doc) {name, value, doc},
#define TEXT(name, doc) {name, doc},
static const option_row options_table[] = {DOCTOR_OPTIONS(OPTION)};
static const command_row commands_table[] = {DOCTOR_COMMANDS(COMMAND)};
static const text_row exits_table[] = {DOCTOR_EXITS(TEXT)};
static const text_row environment_table[] = {DOCTOR_ENVIRONMENT(TEXT)};

#define NUM(table) (sizeof(table) / sizeof((table)[0]))

/* ---- parsing ------------------------------------------------------------------ */

static const option_row *find_option(const char *arg, size_t len)
{
    for (size_t i = 0; i < NUM(options_table); i++) {
        if (strlen(options_table[i].name) == len && memcmp(options_table[i].name, arg, len) == 0) {
            return &options_table[i];
        }
    }
    return NULL;
}

static char command_letter(const char *command)
{
    return strcmp(command, "file") == 0 ? 'i' : command[0];
}

static int is_command(const char *word)
{
    for (size_t i = 0; i < NUM(commands_table); i++) {
        if (strcmp(commands_table[i].name, word) == 0) {
            return 1;
        }
    }
    return 0;
}

static int usage(const char *what, const char *arg)
{
    char plain[200];
    snprintf(plain, sizeof(plain), "%s", arg);
    doctor_plain(plain);
    fprintf(stderr, "strict-tls: %s '%s'; see strict-tls --help\n", what, plain);
    return DOCTOR_USAGE;
}

static const char **field(doctor_options *options, const option_row *row)
{
    return (const char **)((char *)options + row->offset);
}

/* Takes argv[*at], and argv[*at + 1] as its value where it needs one. */
static int take_option(doctor_options *options, int argc, char **argv, int *at)
{
    const char *arg = strcmp(argv[*at], "-h") == 0 ? "--help" : argv[*at];
    size_t len = strcspn(arg, "=");
    const option_row *row = find_option(arg, len);

    if (row == NULL) {
        return usage("unknown option", arg);
    }
    if (row->value[0] == '\0') {
        if (arg[len] == '=') {
            return usage("this option takes no value:", arg);
        }
        *field(options, row) = "";
        return 0;
    }
    if (arg[len] == '=') {
        *field(options, row) = arg + len + 1;
    } else if (*at + 1 < argc) {
        *field(options, row) = argv[++*at];
    } else {
        return usage("a value is missing behind", arg);
    }
    return 0;
}

static int check_applicability(doctor_options *options)
{
    for (size_t i = 0; i < NUM(options_table); i++) {
        const option_row *row = &options_table[i];
        if (*field(options, row) != NULL
            && strchr(row->commands, command_letter(options->command)) == NULL) {
            char what[100];
            snprintf(what, sizeof(what), "the command '%s' does not take", options->command);
            return usage(what, row->name);
        }
    }
    return 0;
}

static int check_words(const doctor_options *options)
{
    if (options->color != NULL && strcmp(options->color, "auto") != 0
        && strcmp(options->color, "always") != 0 && strcmp(options->color, "never") != 0) {
        return usage("--color takes auto, always or never, not", options->color);
    }
    if (options->tls != NULL && strcmp(options->tls, "1.2") != 0
        && strcmp(options->tls, "1.3") != 0) {
        return usage("--tls takes 1.2 or 1.3, not", options->tls);
    }
    int is_check = strcmp(options->command, "check") == 0;
    int wanted = options->hosts != NULL ? 0 : 1;
    if (options->num_args != wanted) {
        return options->num_args < wanted
                   ? usage(is_check ? "a HOST (or --hosts FILE) is missing behind"
                                    : "an operand is missing behind",
                           options->command)
                   : usage("one operand too many:", options->args[wanted]);
    }
    if (options->hosts != NULL
        && (options->watch != NULL || options->name != NULL || options->connect_to != NULL)) {
        return usage("a list of hosts goes without --watch, --name and --connect-to:",
                     options->hosts);
    }
    if (options->watch == NULL && (options->interval != NULL || options->rounds != NULL)) {
        return usage("this option needs --watch:", options->interval ? "--interval" : "--rounds");
    }
    if (is_check && options->cert == NULL
        && (options->key != NULL || options->client_cafile != NULL)) {
        return usage("this option needs --cert:", options->key ? "--key" : "--client-cafile");
    }
    return 0;
}

int doctor_options_parse(doctor_options *options, int argc, char **argv)
{
    int is_over = 0;

    memset(options, 0, sizeof(*options));
    options->args = calloc((size_t)argc + 1, sizeof(*options->args));
    if (options->args == NULL) {
        fputs("strict-tls: out of memory\n", stderr);
        return DOCTOR_USAGE;
    }
    for (int at = 1; at < argc; at++) {
        if (!is_over && strcmp(argv[at], "--") == 0) {
            is_over = 1;
        } else if (!is_over && argv[at][0] == '-' && argv[at][1] != '\0') {
            int failed = take_option(options, argc, argv, &at);
            if (failed) {
                return failed;
            }
        } else if (options->command == NULL) {
            options->command = argv[at];
        } else {
            options->args[options->num_args++] = argv[at];
        }
    }
    if (options->help != NULL || options->version != NULL) {
        return 0;
    }
    if (options->command == NULL) {
        fputs("strict-tls: a command is missing: check, file or fix; see strict-tls --help\n",
              stderr);
        return DOCTOR_USAGE;
    }
    if (!is_command(options->command)) {
        return usage("unknown command", options->command);
    }
    if (strcmp(options->command, "help") == 0) {
        return 0;
    }
    int failed = check_applicability(options);
    return failed ? failed : check_words(options);
}

long doctor_number(const char *option, const char *text, long min, long max, long def)
{
    char *end;
    if (text == NULL) {
        return def;
    }
    long number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || number < min || number > max) {
        char plain[100];
        snprintf(plain, sizeof(plain), "%s", text);
        doctor_plain(plain);
        fprintf(stderr, "strict-tls: %s takes a number from %ld to %ld, not '%s'\n", option, min,
                max, plain);
        return -1;
    }
    return number;
}

/* ---- help ------------------------------------------------------------------------ */

/* Text wrapped at 80 columns behind `indent` blanks; the first line is already indented. */
static void wrap(FILE *out, const char *text, int indent)
{
    int column = indent;
    while (*text != '\0') {
        int len = (int)strcspn(text, " ");
        if (column > indent && column + 1 + len > 80) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", len, text);
        column += len;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void entry(FILE *out, const char *head, const char *doc)
{
    if (strlen(head) > 24) {
        fprintf(out, "  %s\n%28s", head, "");
    } else {
        fprintf(out, "  %-26s", head);
    }
    wrap(out, doc, 28);
}

void doctor_options_help(FILE *out)
{
    char head[100];

    fputs("strict-tls COMMAND [OPTION...] OPERAND\n\n"
          "What does a TLS endpoint present, what do lenient and strict clients make of\n"
          "it, and who must fix what.\n\n",
          out);
    for (size_t i = 0; i < NUM(commands_table); i++) {
        snprintf(head, sizeof(head), "%s %s", commands_table[i].name, commands_table[i].value);
        entry(out, head, commands_table[i].doc);
    }
    fputs("\nOptions:\n", out);
    for (size_t i = 0; i < NUM(options_table); i++) {
        const option_row *row = &options_table[i];
        snprintf(head, sizeof(head), "%s%s%s", row->name, row->value[0] ? " " : "", row->value);
        entry(out, head, row->doc);
    }
    fputs("\nExit codes:\n", out);
    for (size_t i = 0; i < NUM(exits_table); i++) {
        entry(out, exits_table[i].name, exits_table[i].doc);
    }
    fputs("\nEnvironment:\n", out);
    for (size_t i = 0; i < NUM(environment_table); i++) {
        entry(out, environment_table[i].name, environment_table[i].doc);
    }
}

/* ---- man page ------------------------------------------------------------------------ */

static void roff(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '-' || *text == '\\') {
            fputs(*text == '-' ? "\\-" : "\\e", out);
        } else {
            fputc(*text, out);
        }
    }
}

static void roff_entry(FILE *out, const char *name, const char *value, const char *doc)
{
    fputs(".TP\n.B ", out);
    roff(out, name);
    if (value[0] != '\0') {
        fputs(" \\fI", out);
        roff(out, value);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    roff(out, doc);
    fputs(".\n", out);
}

void doctor_options_man(FILE *out)
{
    fputs(".\\\" Made from options_table.h by make doctor-docs; do not edit.\n"
          ".TH STRICT\\-TLS 1 2026-11-27 \"strict\\-tls " STLS_VERSION "\" \"User Commands\"\n"
          ".SH NAME\nstrict\\-tls \\- what is wrong with a TLS endpoint, and who must fix it\n"
          ".SH SYNOPSIS\n",
          out);
    for (size_t i = 0; i + 1 < NUM(commands_table); i++) {
        fprintf(out, "%s.B strict\\-tls %s\n[\\fIOPTION\\fR...] \\fI", i ? ".br\n" : "",
                commands_table[i].name);
        roff(out, commands_table[i].value);
        fputs("\\fR\n", out);
    }
    fputs(".SH DESCRIPTION\n"
          "Connects to a TLS endpoint, or reads a certificate file, and shows the chain from\n"
          "leaf to root with the gap drawn where a certificate is missing; what a lenient\n"
          "client makes of it; what a strict one does, why, and who must fix what.\n"
          "Colours appear on a terminal only.\n"
          ".SH COMMANDS\n",
          out);
    for (size_t i = 0; i < NUM(commands_table); i++) {
        roff_entry(out, commands_table[i].name, commands_table[i].value, commands_table[i].doc);
    }
    fputs(".SH OPTIONS\n", out);
    for (size_t i = 0; i < NUM(options_table); i++) {
        roff_entry(out, options_table[i].name, options_table[i].value, options_table[i].doc);
    }
    fputs(".SH EXIT STATUS\nOf several hosts: 1 if any is rejected, else 2 if any could not be "
          "judged, else 0.\n",
          out);
    for (size_t i = 0; i < NUM(exits_table); i++) {
        roff_entry(out, exits_table[i].name, "", exits_table[i].doc);
    }
    fputs(".SH ENVIRONMENT\n", out);
    for (size_t i = 0; i < NUM(environment_table); i++) {
        roff_entry(out, environment_table[i].name, "", environment_table[i].doc);
    }
    fputs(".SH EXAMPLES\n.nf\n"
          "strict\\-tls check api.example.com\n"
          "strict\\-tls check mail.example.com:587 \\-\\-starttls smtp\n"
          "strict\\-tls check api.example.com \\-\\-connect\\-to 192.0.2.7 \\-\\-cert client.pem\n"
          "strict\\-tls fix api.example.com > fullchain.pem\n"
          "strict\\-tls file fullchain.pem \\-\\-key server.key \\-\\-name api.example.com\n"
          "strict\\-tls check \\-\\-hosts partners.txt \\-\\-html report.html\n"
          ".fi\n.SH SEE ALSO\n.BR strict\\-curl (1),\n.BR curl (1),\n.BR openssl\\-verify (1)\n",
          out);
}

/* ---- completion ------------------------------------------------------------------------ */

void doctor_options_completion(FILE *out)
{
    fputs("# bash completion for strict-tls; made from options_table.h by make doctor-docs\n"
          "_strict_tls() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    COMPREPLY=()\n"
          "    case $prev in\n",
          out);
    for (size_t i = 0; i < NUM(options_table); i++) {
        const option_row *row = &options_table[i];
        if (row->value[0] == '\0') {
            continue;
        }
        if (strcmp(row->words, "FILE") == 0) {
            fprintf(out, "    %s) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n",
                    row->name);
        } else {
            fprintf(out, "    %s) mapfile -t COMPREPLY < <(compgen -W \"%s\" -- \"$cur\") ;;\n",
                    row->name, row->words);
        }
    }
    fputs("    *)\n"
          "        local words\n"
          "        case ${COMP_WORDS[1]:-} in\n",
          out);
    for (size_t i = 0; i + 1 < NUM(commands_table); i++) {
        fprintf(out, "        %s) words=\"", commands_table[i].name);
        for (size_t k = 0, num = 0; k < NUM(options_table); k++) {
            if (strchr(options_table[k].commands, command_letter(commands_table[i].name))) {
                fprintf(out, "%s%s", num++ ? " " : "", options_table[k].name);
            }
        }
        fputs("\" ;;\n", out);
    }
    fputs("        *) words=\"", out);
    for (size_t i = 0; i < NUM(commands_table); i++) {
        fprintf(out, "%s ", commands_table[i].name);
    }
    fputs("--help --version\" ;;\n"
          "        esac\n"
          "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
          "        if [[ ${COMP_WORDS[1]:-} == file && $cur != -* ]]; then\n"
          "            mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
          "        fi\n"
          "        ;;\n"
          "    esac\n"
          "}\n"
          "complete -o filenames -F _strict_tls strict-tls\n",
          out);
}
