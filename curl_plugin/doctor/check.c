/* An endpoint's diagnosis: probe it, judge what it presented, and what it makes of us. */
#include <stdlib.h>
#include <string.h>

#include "doctor.h"

static json_t *optional(const char *text)
{
    return text != NULL && text[0] != '\0' ? json_string(text) : json_null();
}

static void describe_target(json_t *diagnosis, const doctor_target *target)
{
    json_object_set_new(diagnosis, "target",
                        json_pack("{s:s, s:o, s:o, s:i, s:o}", "label", target->label, "name",
                                  optional(target->name), "host", optional(target->host), "port",
                                  (int)target->port, "starttls", optional(target->starttls)));
}

static void describe_connection(json_t *diagnosis, const doctor_capture *capture)
{
    json_object_set_new(
        diagnosis, "connection",
        json_pack("{s:o, s:o, s:o, s:b, s:b, s:o}", "address", optional(capture->address),
                  "tls_version", optional(capture->tls_version), "cipher",
                  optional(capture->cipher), "stapled", capture->staples != NULL,
                  "handshake_completed", capture->is_complete, "error", optional(capture->error)));
}

/* ---- the client's side ---------------------------------------------------------- */

/* 1 if any certificate of ours was issued by a CA that the server names. */
static int issuer_is_listed(const STACK_OF(X509) *certs, const json_t *names)
{
    char text[DOCTOR_TEXT_LEN];
    size_t k;
    json_t *name;

    for (int i = 0; i < sk_X509_num(certs); i++) {
        doctor_name_text(X509_get_issuer_name(sk_X509_value(certs, i)), text);
        json_array_foreach (names, k, name) {
            if (strcmp(json_string_value(name), text) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

static void judge_client(json_t *diagnosis, const doctor_context *context,
                         const doctor_capture *capture, const json_t *client)
{
    json_t *own = doctor_diagnosis_new("client");
    const doctor_peer peer = {.role = STLS_ROLE_CLIENT, .certs = context->client_certs};
    const json_t *names = json_object_get(client, "acceptable_cas");

    doctor_diagnosis_judge(own, &context->client_trust, &peer, context->online);
    doctor_diagnosis_finish(own);
    if (strcmp(doctor_str(own, "who"), "peer") == 0) {
        json_object_set_new(own, "who", json_string("you"));
    }
    if (doctor_diagnosis_exit(own) != DOCTOR_ACCEPT) {
        doctor_diagnosis_problem(diagnosis, "client.rejected", doctor_diagnosis_exit(own), "you",
                                 doctor_str(own, "text"), doctor_str(own, "remedy"));
    }
    json_object_set_new((json_t *)client, "diagnosis", own);
    if (!capture->asked_client) {
        doctor_diagnosis_problem(diagnosis, "client.not_asked", DOCTOR_ACCEPT, "peer",
                                 "the server did not ask for a client certificate",
                                 "nothing, unless mutual TLS was agreed on: then the server must "
                                 "ask for it");
    } else if (json_array_size(names) > 0) {
        int is_listed = issuer_is_listed(context->client_certs, names);
        json_object_set_new((json_t *)client, "issuer_listed", json_boolean(is_listed));
        if (!is_listed) {
            doctor_diagnosis_problem(
                diagnosis, "client.issuer_not_listed", DOCTOR_REJECT, "you or peer",
                "none of the CAs that the server accepts issued this client certificate; many "
                "clients then send none",
                "use a certificate of one of the listed CAs, send its whole chain, or have the "
                "server add its CA");
        }
    }
}

static void describe_client(json_t *diagnosis, const doctor_context *context,
                            const doctor_capture *capture)
{
    if (!capture->asked_client && context->client_certs == NULL) {
        return;
    }
    json_t *client = json_pack(
        "{s:b, s:b, s:o, s:n, s:n}", "requested", capture->asked_client, "sent",
        capture->sent_client, "acceptable_cas",
        capture->acceptable_cas != NULL ? json_incref(capture->acceptable_cas) : json_array(),
        "issuer_listed", "diagnosis");
    json_object_set_new(diagnosis, "client", client);
    if (context->client_certs != NULL) {
        judge_client(diagnosis, context, capture, client);
    } else {
        doctor_diagnosis_problem(diagnosis, "client.requested", DOCTOR_ACCEPT, "you",
                                 "the server asks for a client certificate",
                                 "give yours by --cert and --key");
    }
}

/* ---- what went wrong besides ------------------------------------------------------- */

static void note_failure(json_t *diagnosis, const doctor_context *context,
                         const doctor_capture *capture)
{
    if (capture->is_complete && !capture->is_over) {
        doctor_diagnosis_problem(diagnosis, "protocol.failed", DOCTOR_ACCEPT, "peer",
                                 capture->error, "look into the server's log");
    } else if (capture->is_complete) {
        return;
    } else if (!capture->is_connected) {
        doctor_diagnosis_problem(diagnosis, "connect.failed", DOCTOR_UNKNOWN, "network",
                                 capture->error,
                                 "check host name, port, firewall and proxy from this machine");
    } else if (capture->asked_client && context->client_certs != NULL) {
        doctor_diagnosis_problem(diagnosis, "client.refused", DOCTOR_REJECT, "you or peer",
                                 capture->error,
                                 "ask the server's operator whether this certificate and its "
                                 "whole chain are accepted there");
    } else if (capture->asked_client) {
        doctor_diagnosis_problem(diagnosis, "client.none_sent", DOCTOR_UNKNOWN, "you",
                                 capture->error,
                                 "the server demands a client certificate: give yours by --cert "
                                 "and --key");
    } else {
        doctor_diagnosis_problem(diagnosis, "handshake.failed", DOCTOR_UNKNOWN, "peer",
                                 capture->error,
                                 "check that this port speaks TLS at once (otherwise --starttls) "
                                 "and which TLS versions it offers");
    }
}

/* The command that prints the repaired chain. */
static void name_repair(json_t *diagnosis, const doctor_options *options,
                        const doctor_target *target, const char *wanted_name)
{
    json_t *repair = json_object_get(diagnosis, "repair");
    char words[8000], command[8100];

    if (json_is_true(json_object_get(repair, "possible"))) {
        doctor_target_words(words, sizeof(words), options, target->label, wanted_name);
        snprintf(command, sizeof(command), "strict-tls fix %s > fullchain.pem", words);
        json_object_set_new(repair, "command", json_string(command));
    }
}

json_t *doctor_check(const doctor_context *context, const char *host, const char *name)
{
    doctor_target target;
    doctor_capture capture;
    stls_error err = {""};
    json_t *diagnosis = doctor_diagnosis_new("check");

    int is_good = doctor_target_parse(&target, context->options, host, name, &err);
    describe_target(diagnosis, &target);
    if (!is_good) {
        doctor_diagnosis_problem(diagnosis, "target.malformed", DOCTOR_UNKNOWN, "you", err.text,
                                 "write HOST or HOST:PORT, IPv6 addresses in brackets");
        doctor_diagnosis_finish(diagnosis);
        return diagnosis;
    }
    doctor_probe(&capture, &target, context->options, context->timeout_s);
    describe_connection(diagnosis, &capture);
    if (sk_X509_num(capture.certs) > 0) {
        const doctor_peer peer = {.role = STLS_ROLE_SERVER,
                                  .certs = capture.certs,
                                  .name = target.name,
                                  .staples = capture.staples,
                                  .staples_len = capture.staples_len};
        doctor_diagnosis_judge(diagnosis, &context->trust, &peer, context->online);
        doctor_leaf_problem(diagnosis, capture.certs, doctor_find_leaf(capture.certs, NULL),
                            "peer");
        name_repair(diagnosis, context->options, &target, name);
        describe_client(diagnosis, context, &capture);
    }
    if (sk_X509_num(capture.certs) <= 0 && capture.message != NULL) {
        const doctor_peer peer = {.role = STLS_ROLE_SERVER,
                                  .name = target.name,
                                  .message = capture.message,
                                  .message_len = capture.message_len,
                                  .is_tls13 = strcmp(capture.tls_version, "TLSv1.3") == 0};
        doctor_diagnosis_judge(diagnosis, &context->trust, &peer, context->online);
    }
    note_failure(diagnosis, context, &capture);
    doctor_diagnosis_finish(diagnosis);
    doctor_capture_free(&capture);
    return diagnosis;
}

int doctor_run_check(doctor_context *context)
{
    doctor_target target;
    stls_error err = {""};

    /* One host on the command line that is none is a slip of the fingers. */
    if (!doctor_target_parse(&target, context->options, context->options->args[0], NULL, &err)) {
        fprintf(stderr, "strict-tls: %s\n", err.text);
        return DOCTOR_USAGE;
    }
    json_t *diagnosis = doctor_check(context, context->options->args[0], NULL);
    doctor_show(context, diagnosis, 0);
    json_t *page = json_pack("[O]", diagnosis);
    int exit_code = doctor_page(context, page, doctor_flush(doctor_diagnosis_exit(diagnosis)));
    json_decref(page);
    json_decref(diagnosis);
    return exit_code;
}
