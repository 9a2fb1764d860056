/* The same verdict for a file before it is deployed, and whether the key belongs to it. */
#include <string.h>

#include "doctor.h"

static void judge_key(json_t *diagnosis, const STACK_OF(X509) *certs, EVP_PKEY *key)
{
    if (X509_check_private_key(sk_X509_value(certs, 0), key) == 1) {
        json_object_set_new(diagnosis, "key_matches", json_true());
        return;
    }
    json_object_set_new(diagnosis, "key_matches", json_false());
    int owner = -1;
    for (int i = 1; i < sk_X509_num(certs); i++) {
        if (X509_check_private_key(sk_X509_value(certs, i), key) == 1) {
            owner = i;
        }
    }
    char detail[200];
    snprintf(detail, sizeof(detail),
             owner > 0 ? "the key belongs to certificate %d of the file, not to the first one"
                       : "the key does not belong to the first certificate",
             owner);
    doctor_diagnosis_problem(diagnosis, "key.mismatch", DOCTOR_REJECT, "you", detail,
                             "put the leaf first, and use the key that its request was made with");
}

int doctor_run_file(doctor_context *context)
{
    const doctor_options *options = context->options;
    const char *path = options->args[0];
    char label[300], name[256] = "";
    stls_error err = {""};

    if (options->name != NULL && !doctor_target_name(name, options->name, &err)) {
        fprintf(stderr, "strict-tls: --name: %s\n", err.text);
        return DOCTOR_USAGE;
    }
    STACK_OF(X509) *certs = doctor_read_certs(path);
    EVP_PKEY *key = options->key != NULL && certs != NULL ? doctor_read_key(options->key) : NULL;

    if (certs == NULL || (options->key != NULL && key == NULL)) {
        sk_X509_pop_free(certs, X509_free);
        return DOCTOR_USAGE;
    }
    snprintf(label, sizeof(label), "%s", path);
    doctor_plain(label);
    json_t *diagnosis = doctor_diagnosis_new("file");
    json_object_set_new(diagnosis, "key_matches", json_null());
    json_object_set_new(diagnosis, "target",
                        json_pack("{s:s, s:o, s:n, s:n, s:n}", "label", label, "name",
                                  name[0] != '\0' ? json_string(name) : json_null(), "host", "port",
                                  "starttls"));
    const doctor_peer peer = {
        .role = STLS_ROLE_SERVER, .certs = certs, .name = name[0] != '\0' ? name : NULL};
    doctor_diagnosis_judge(diagnosis, &context->trust, &peer, context->online);
    if (key != NULL) {
        judge_key(diagnosis, certs, key);
    }
    doctor_diagnosis_finish(diagnosis);
    doctor_show(context, diagnosis, 0);
    json_t *page = json_pack("[O]", diagnosis);
    int exit_code = doctor_page(context, page, doctor_flush(doctor_diagnosis_exit(diagnosis)));
    json_decref(page);
    json_decref(diagnosis);
    EVP_PKEY_free(key);
    sk_X509_pop_free(certs, X509_free);
    return exit_code;
}
