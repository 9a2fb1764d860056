/* strict-tls: what is wrong with a TLS endpoint, and who must fix it. */
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "doctor.h"
#include "plugin.h"

static int open_context(doctor_context *context, const doctor_options *options)
{
    int is_file = strcmp(options->command, "file") == 0;
    int compare_name = !is_file || options->name != NULL;

    memset(context, 0, sizeof(*context));
    context->options = options;
    context->online = is_file ? options->online != NULL : options->offline == NULL;
    context->timeout_s = doctor_number("--timeout", options->timeout, 1, 600, 10);
    if (context->timeout_s < 0) {
        return DOCTOR_USAGE;
    }
    int failed = doctor_trust_open(&context->trust, options, options->cafile, context->online,
                                   compare_name);
    if (failed || options->cert == NULL) {
        return failed;
    }
    EVP_PKEY *key = doctor_read_key(options->key != NULL ? options->key : options->cert);
    context->client_certs = key != NULL ? doctor_read_certs(options->cert) : NULL;
    if (context->client_certs == NULL) {
        failed = DOCTOR_USAGE;
    } else if (X509_check_private_key(sk_X509_value(context->client_certs, 0), key) != 1) {
        fputs("strict-tls: --key does not belong to the first certificate of --cert\n", stderr);
        failed = DOCTOR_USAGE;
    } else {
        failed = doctor_trust_open(&context->client_trust, options,
                                   options->client_cafile != NULL ? options->client_cafile
                                                                  : options->cafile,
                                   context->online, 0);
    }
    EVP_PKEY_free(key);
    return failed;
}

static void close_context(doctor_context *context)
{
    sk_X509_pop_free(context->client_certs, X509_free);
    doctor_trust_close(&context->client_trust);
    doctor_trust_close(&context->trust);
}

static int run(doctor_context *context)
{
    const doctor_options *options = context->options;
    if (strcmp(options->command, "file") == 0) {
        return doctor_run_file(context);
    }
    if (strcmp(options->command, "fix") == 0) {
        return doctor_run_fix(context);
    }
    if (options->hosts != NULL) {
        return doctor_run_list(context);
    }
    return options->watch != NULL ? doctor_run_watch(context) : doctor_run_check(context);
}

/* `help`, --help and --version; `help man` and `help completion` make the files of that kind. */
static int is_help(const doctor_options *options)
{
    const char *topic = options->num_args > 0 ? options->args[0] : "";

    if (options->version != NULL) {
        puts("strict-tls " STLS_VERSION);
    } else if (options->help == NULL && strcmp(options->command, "help") != 0) {
        return 0;
    } else if (strcmp(topic, "man") == 0) {
        doctor_options_man(stdout);
    } else if (strcmp(topic, "completion") == 0) {
        doctor_options_completion(stdout);
    } else {
        doctor_options_help(stdout);
    }
    return 1;
}

/* The answer cache is of no use; everything else goes on. */
static void warn(const char *text)
{
    char plain[DOCTOR_TEXT_LEN];

    snprintf(plain, sizeof(plain), "%s", text);
    doctor_plain(plain);
    fprintf(stderr, "strict-tls: %s\n", plain);
}

int main(int argc, char **argv)
{
    doctor_options options;
    doctor_context context;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error like a full disk */
    stls_curl_on_warning = warn;
    setlocale(LC_CTYPE, ""); /* host names are typed in the terminal's encoding */
    int exit_code = doctor_options_parse(&options, argc, argv);
    if (exit_code == 0 && is_help(&options)) {
        exit_code = doctor_flush(0);
    } else if (exit_code == 0) {
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
            fputs("strict-tls: libcurl cannot be used\n", stderr);
            return DOCTOR_UNKNOWN;
        }
        exit_code = open_context(&context, &options);
        if (exit_code == 0) {
            exit_code = run(&context);
        }
        close_context(&context);
        curl_global_cleanup();
    }
    free(options.args);
    return exit_code;
}
