/* An endpoint's or a file's chain as it should be served: PEM on stdout, what changed on stderr. */
#include <string.h>

#include "doctor.h"

static int print_repaired(const doctor_repaired *repaired, const doctor_options *options,
                          int is_changed)
{
    if (options->quiet == NULL) {
        is_changed |= repaired->changes[0] != '\0';
        fputs(is_changed ? repaired->changes
                         : "nothing to change: the chain is complete and in order\n",
              stderr);
    }
    fputs(repaired->pem, stdout);
    return doctor_flush(DOCTOR_ACCEPT);
}

static int fix(doctor_context *context, const STACK_OF(X509) *certs, EVP_PKEY *key)
{
    doctor_repaired repaired;
    int exit_code, leaf = doctor_find_leaf(certs, key);

    if (leaf < 0) {
        fputs("strict-tls: the first certificate is a CA, and more than one behind it could be the "
              "leaf: name its private key by --key\n",
              stderr);
        return DOCTOR_USAGE;
    }
    STACK_OF(X509) *sorted = doctor_leaf_first(certs, leaf);
    const doctor_peer peer = {.role = STLS_ROLE_SERVER, .certs = sorted != NULL ? sorted : certs};
    doctor_repair(&repaired, &context->trust, &peer, 1);
    if (repaired.chain != NULL) {
        if (leaf > 0 && context->options->quiet == NULL) {
            fprintf(stderr, "moved the leaf, certificate %d, to the front\n", leaf);
        }
        exit_code = print_repaired(&repaired, context->options, leaf > 0);
    } else {
        fprintf(stderr, "strict-tls: no chain that a strict client accepts can be made of it: %s\n",
                repaired.err.text);
        exit_code = DOCTOR_REJECT;
    }
    doctor_repaired_free(&repaired);
    sk_X509_pop_free(sorted, X509_free);
    return exit_code;
}

/* Hosts have no slashes, and URLs have a scheme. */
static int is_file(const char *arg)
{
    return strchr(arg, '/') != NULL && strstr(arg, "://") == NULL;
}

static int fix_file(doctor_context *context, const char *path)
{
    const char *key_path = context->options->key;
    STACK_OF(X509) *certs = doctor_read_certs(path);
    EVP_PKEY *key = certs != NULL && key_path != NULL ? doctor_read_key(key_path) : NULL;
    int exit_code = DOCTOR_USAGE;

    if (certs != NULL && (key != NULL || key_path == NULL)) {
        exit_code = fix(context, certs, key);
    }
    EVP_PKEY_free(key);
    sk_X509_pop_free(certs, X509_free);
    return exit_code;
}

int doctor_run_fix(doctor_context *context)
{
    doctor_target target;
    doctor_capture capture;
    stls_error err = {""};

    if (is_file(context->options->args[0])) {
        return fix_file(context, context->options->args[0]);
    }
    if (!doctor_target_parse(&target, context->options, context->options->args[0], NULL, &err)) {
        fprintf(stderr, "strict-tls: %s\n", err.text);
        return DOCTOR_USAGE;
    }
    doctor_probe(&capture, &target, context->options, context->timeout_s);
    if (sk_X509_num(capture.certs) <= 0) { /* -1: none was captured */
        fprintf(stderr, "strict-tls: %s presented no chain: %s\n", target.label, capture.error);
        doctor_capture_free(&capture);
        return DOCTOR_UNKNOWN;
    }
    int exit_code = fix(context, capture.certs, NULL);
    doctor_capture_free(&capture);
    return exit_code;
}
