/* The endpoint's chain as it should be served: PEM on stdout, what changed on stderr. */
#include "doctor.h"

static int print_repaired(const doctor_repaired *repaired, const doctor_options *options)
{
    if (options->quiet == NULL) {
        fputs(repaired->changes[0] != '\0' ? repaired->changes
                                           : "nothing to change: the chain is complete and in "
                                             "order\n",
              stderr);
    }
    fputs(repaired->pem, stdout);
    return doctor_flush(DOCTOR_ACCEPT);
}

int doctor_run_fix(doctor_context *context)
{
    doctor_target target;
    doctor_capture capture;
    doctor_repaired repaired;
    stls_error err = {""};
    int exit_code;

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
    const doctor_peer peer = {.role = STLS_ROLE_SERVER, .certs = capture.certs};
    doctor_repair(&repaired, &context->trust, &peer, 1);
    if (repaired.chain != NULL) {
        exit_code = print_repaired(&repaired, context->options);
    } else {
        fprintf(stderr, "strict-tls: no chain that a strict client accepts can be made of it: %s\n",
                repaired.err.text);
        exit_code = DOCTOR_REJECT;
    }
    doctor_repaired_free(&repaired);
    doctor_capture_free(&capture);
    return exit_code;
}
