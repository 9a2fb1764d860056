/*
 * The drawing: which certificates lead from the leaf to a root, which of them
 * were sent, and where one is missing.  For people; trust is the core's matter.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "doctor.h"

#define MAX_NODES 120

typedef struct {
    const doctor_trust *trust;
    const STACK_OF(X509) *presented;
    const json_t *report;
    json_t *nodes;
    char used[MAX_NODES]; /* by presented index */
} drawing;

/* ---- looking things up ------------------------------------------------------- */

static int index_of(const STACK_OF(X509) *certs, const X509 *cert)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        if (X509_cmp(sk_X509_value(certs, i), cert) == 0) {
            return i;
        }
    }
    return -1;
}

static int is_self_signed(X509 *cert)
{
    return X509_self_signed(cert, 1) == 1;
}

static int issued(X509 *issuer, X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    return X509_check_issued(issuer, cert) == X509_V_OK && key != NULL
           && X509_verify(cert, key) == 1;
}

static X509 *find_root(const drawing *of, X509 *cert)
{
    for (int i = 0; i < sk_X509_num(of->trust->certs); i++) {
        X509 *root = sk_X509_value(of->trust->certs, i);
        if (issued(root, cert) && is_self_signed(root)) {
            return root;
        }
    }
    return NULL;
}

/* ---- nodes ----------------------------------------------------------------------- */

static json_t *text_or_null(const char *text)
{
    return text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *add_node(drawing *of, const char *kind, int index, const char *subject,
                        const char *key_id, const char *published_at)
{
    json_t *node = json_pack("{s:s, s:o, s:s, s:n, s:n, s:o, s:n, s:n, s:o, s:n, s:[]}", "kind",
                             kind, "index", index >= 0 ? json_integer(index) : json_null(),
                             "subject", subject, "issuer", "serial", "key_id", text_or_null(key_id),
                             "not_before_s", "not_after_s", "published_at",
                             text_or_null(published_at), "revocation", "findings");
    json_array_append_new(of->nodes, node);
    return node;
}

static void describe(json_t *node, const X509 *cert)
{
    char text[DOCTOR_TEXT_LEN];

    doctor_name_text(X509_get_issuer_name(cert), text);
    json_object_set_new(node, "issuer", json_string(text));
    doctor_key_id_text(X509_get0_serialNumber((X509 *)cert), text);
    json_object_set_new(node, "serial", text_or_null(text));
    doctor_key_id_text(X509_get0_subject_key_id((X509 *)cert), text);
    json_object_set_new(node, "key_id", text_or_null(text));
    json_object_set_new(node, "not_before_s",
                        json_integer(doctor_time_s(X509_get0_notBefore(cert))));
    json_object_set_new(node, "not_after_s", json_integer(doctor_time_s(X509_get0_notAfter(cert))));
}

static void add_findings(const drawing *of, json_t *node, int index)
{
    size_t i;
    json_t *finding;
    json_t *cert = json_array_get(json_object_get(of->report, "certs"), (size_t)index);
    const char *status = doctor_str(json_object_get(cert, "revocation"), "status");

    json_object_set_new(node, "revocation", text_or_null(status));
    json_array_foreach (json_object_get(of->report, "findings"), i, finding) {
        if (doctor_int(finding, "cert") == index) {
            json_array_append(json_object_get(node, "findings"),
                              json_object_get(finding, "reason"));
        }
    }
}

static void add_cert(drawing *of, const char *kind, X509 *cert, const char *published_at)
{
    char subject[DOCTOR_TEXT_LEN];
    int index = index_of(of->presented, cert);

    doctor_name_text(X509_get_subject_name(cert), subject);
    json_t *node = add_node(of, kind, index, subject, "", published_at);
    describe(node, cert);
    if (index >= 0) {
        if (index < MAX_NODES) {
            of->used[index] = 1;
        }
        add_findings(of, node, index);
    }
}

/* What a certificate says about its issuer, which nobody here has. */
static void add_gap(drawing *of, X509 *cert)
{
    char subject[DOCTOR_TEXT_LEN], key_id[DOCTOR_TEXT_LEN], url[DOCTOR_TEXT_LEN];

    doctor_name_text(X509_get_issuer_name(cert), subject);
    doctor_key_id_text(X509_get0_authority_key_id(cert), key_id);
    doctor_issuer_url(cert, url);
    add_node(of, "missing", -1, subject, key_id, url);
}

/* ---- the walk ------------------------------------------------------------------------ */

static void add_root(drawing *of, X509 *root)
{
    add_cert(of, "root", root, "");
}

static void draw_repaired(drawing *of, const STACK_OF(X509) *repaired)
{
    char url[DOCTOR_TEXT_LEN] = "";
    X509 *cert = NULL;

    for (int i = 0; i < sk_X509_num(repaired); i++) {
        cert = sk_X509_value(repaired, i);
        add_cert(of, index_of(of->presented, cert) >= 0 ? "sent" : "missing", cert, url);
        doctor_issuer_url(cert, url);
    }
    X509 *root = cert != NULL && !is_self_signed(cert) ? find_root(of, cert) : NULL;
    if (root != NULL) {
        add_root(of, root);
    }
}

/* In the right order, with every gap, as the core laid them out. */
static void draw_ordered(drawing *of)
{
    const json_t *order = json_object_get(of->report, "order");
    const json_t *gaps = json_object_get(of->report, "gaps");
    X509 *cert = NULL;
    size_t i, num_gaps = 0;
    json_t *one;

    json_array_foreach (order, i, one) {
        if (json_is_null(one)) {
            const json_t *gap = json_array_get(gaps, num_gaps++);
            add_node(of, "missing", -1, doctor_str(gap, "subject"), doctor_str(gap, "key_id"),
                     doctor_str(gap, "published_at"));
            cert = NULL;
        } else if ((cert = sk_X509_value(of->presented, (int)json_integer_value(one))) != NULL) {
            add_cert(of, "sent", cert, "");
        }
    }
    if (cert == NULL || is_self_signed(cert)) {
        return;
    }
    X509 *root = find_root(of, cert);
    if (root != NULL) {
        add_root(of, root);
    } else {
        add_gap(of, cert);
    }
}

/* What the core did not look at any closer. */
static void draw_presented(drawing *of)
{
    for (int i = 0; i < sk_X509_num(of->presented) && i < MAX_NODES; i++) {
        if (!of->used[i]) {
            add_cert(of, "sent", sk_X509_value(of->presented, i), "");
        }
    }
}

json_t *doctor_chain(const doctor_trust *trust, const STACK_OF(X509) *presented,
                     const STACK_OF(X509) *repaired, const json_t *report)
{
    drawing of = {.trust = trust, .presented = presented, .report = report, .nodes = json_array()};

    if (sk_X509_num(presented) > 0) {
        if (repaired != NULL) {
            draw_repaired(&of, repaired);
        } else if (json_array_size(json_object_get(report, "order")) > 0) {
            draw_ordered(&of);
        } else {
            draw_presented(&of);
        }
    }
    for (int i = 0; i < sk_X509_num(presented) && i < MAX_NODES; i++) {
        if (!of.used[i]) {
            X509 *cert = sk_X509_value(presented, i);
            char subject[DOCTOR_TEXT_LEN];
            doctor_name_text(X509_get_subject_name(cert), subject);
            json_t *node = add_node(&of, "unneeded", i, subject, "", "");
            describe(node, cert);
            add_findings(&of, node, i);
        }
    }
    ERR_clear_error();
    return of.nodes;
}
