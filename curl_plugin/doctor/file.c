/* The same verdict for a file before it is deployed, and whether the key belongs to it. */
#include <string.h>

#include "doctor.h"

static void judge_key(json_t *diagnosis, const STACK_OF(X509) *certs, EVP_PKEY *key, int leaf)
{
    int matches = X509_check_private_key(sk_X509_value(certs, 0), key) == 1;

    json_object_set_new(diagnosis, "key_matches", json_boolean(matches));
    if (!matches && leaf <= 0) {
        doctor_diagnosis_problem(diagnosis, "key.mismatch", DOCTOR_REJECT, "you",
                                 "the key does not belong to the first certificate",
                                 "put the leaf first, and use the key that its request was made "
                                 "with");
    }
}

static json_t *diagnose(const doctor_context *context, const STACK_OF(X509) *certs, EVP_PKEY *key,
                        const char *label, const char *name)
{
    json_t *diagnosis = doctor_diagnosis_new("file");
    int leaf = doctor_find_leaf(certs, key);
    STACK_OF(X509) *sorted = doctor_leaf_first(certs, leaf);
    const doctor_peer peer = {.role = STLS_ROLE_SERVER,
                              .certs = sorted != NULL ? sorted : certs,
                              .name = name[0] != '\0' ? name : NULL};

    json_object_set_new(diagnosis, "key_matches", json_null());
    json_object_set_new(diagnosis, "target",
                        json_pack("{s:s, s:o, s:n, s:n, s:n}", "label", label, "name",
                                  name[0] != '\0' ? json_string(name) : json_null(), "host", "port",
                                  "starttls"));
    doctor_diagnosis_judge(diagnosis, &context->trust, &peer, context->online);
    doctor_leaf_problem(diagnosis, certs, leaf, "you");
    if (key != NULL) {
        judge_key(diagnosis, certs, key, leaf);
    }
    doctor_diagnosis_finish(diagnosis);
    sk_X509_pop_free(sorted, X509_free);
    return diagnosis;
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
    json_t *diagnosis = diagnose(context, certs, key, label, name);
    doctor_show(context, diagnosis, 0);
    json_t *page = json_pack("[O]", diagnosis);
    int exit_code = doctor_page(context, page, doctor_flush(doctor_diagnosis_exit(diagnosis)));
    json_decref(page);
    json_decref(diagnosis);
    EVP_PKEY_free(key);
    sk_X509_pop_free(certs, X509_free);
    return exit_code;
}
