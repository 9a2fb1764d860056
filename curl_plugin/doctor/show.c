/* How a diagnosis is shown: which of the forms, in colour or not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include "doctor.h"

int doctor_colour(const doctor_options *options, FILE *out)
{
    const char *word = options->color != NULL ? options->color : "auto";
    if (strcmp(word, "auto") != 0) {
        return strcmp(word, "always") == 0;
    }
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return isatty(fileno(out)) && (no_color == NULL || no_color[0] == '\0')
           && (term == NULL || strcmp(term, "dumb") != 0);
}

void doctor_show(const doctor_context *context, const json_t *diagnosis, int is_line)
{
    const doctor_options *options = context->options;

    if (options->quiet != NULL) {
        return;
    }
    if (options->json != NULL) {
        json_dumpf(diagnosis, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', stdout);
    } else if (is_line) {
        doctor_line(stdout, diagnosis, doctor_colour(options, stdout));
    } else {
        doctor_tree(stdout, diagnosis, doctor_colour(options, stdout));
    }
}

int doctor_flush(int exit_code)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "strict-tls: cannot write: %s\n", strerror(errno));
        return DOCTOR_UNKNOWN;
    }
    return exit_code;
}

int doctor_page(const doctor_context *context, json_t *diagnoses, int exit_code)
{
    if (context->options->html == NULL) {
        return exit_code;
    }
    return doctor_html(context->options->html, diagnoses) ? exit_code : DOCTOR_UNKNOWN;
}
