/* Policy and trust store, from the options and the environment. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "crl_reader.h"
#include "doctor.h"

#define DEBIAN_BUNDLE "/etc/ssl/certs/ca-certificates.crt"

static void complain(const char *path, const char *what)
{
    char plain[DOCTOR_TEXT_LEN];
    snprintf(plain, sizeof(plain), "%s", path);
    doctor_plain(plain);
    fprintf(stderr, "strict-tls: %s: %s\n", plain, what);
}

static BIO *open_file(const char *path)
{
    /* BIO_new_file() takes a folder for a file that is empty. */
    FILE *file = fopen(path, "rb");
    int byte = file != NULL ? fgetc(file) : EOF;
    int is_bad = file == NULL || ferror(file);
    if (is_bad) {
        complain(path, strerror(errno));
    } else if (byte == EOF) {
        complain(path, "the file is empty");
        is_bad = 1;
    } else {
        ungetc(byte, file);
    }
    BIO *bio = is_bad ? NULL : BIO_new_fp(file, BIO_CLOSE);
    if (bio == NULL && file != NULL) {
        fclose(file);
    }
    return bio;
}

STACK_OF(X509) *doctor_read_certs(const char *path)
{
    BIO *bio = open_file(path);
    STACK_OF(X509) *certs = bio != NULL ? sk_X509_new_null() : NULL;
    X509 *cert;

    if (certs == NULL) {
        BIO_free(bio);
        return NULL;
    }
    ERR_clear_error();
    while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (!sk_X509_push(certs, cert)) {
            X509_free(cert);
            break;
        }
    }
    unsigned long why = ERR_peek_last_error();
    int at_end = ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    if (!at_end || sk_X509_num(certs) == 0) {
        char what[100];
        snprintf(what, sizeof(what), "certificate %d cannot be decoded", sk_X509_num(certs) + 1);
        complain(path, at_end ? "there is no PEM certificate in it" : what);
        sk_X509_pop_free(certs, X509_free);
        return NULL;
    }
    return certs;
}

EVP_PKEY *doctor_read_key(const char *path)
{
    BIO *bio = open_file(path);
    EVP_PKEY *key = NULL;
    if (bio != NULL) {
        key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        if (key == NULL) {
            complain(path, "there is no usable PEM private key in it");
        }
    }
    ERR_clear_error();
    BIO_free(bio);
    return key;
}

static int bad_policy(const char *where, const stls_error *err)
{
    fprintf(stderr, "strict-tls: %s: %s\n", where, err->text);
    return 0;
}

static stls_policy *make_policy(const doctor_options *options, int ask_revocation, int compare_name)
{
    stls_error err = {""};
    const char *environment = getenv("STRICT_TLS_POLICY");
    stls_policy *policy = stls_policy_new(NULL);
    int ok = policy != NULL;

    if (ok && environment != NULL && stls_policy_set_text(policy, environment, &err) != STLS_OK) {
        ok = bad_policy("STRICT_TLS_POLICY", &err);
    }
    if (ok && options->preset != NULL
        && stls_policy_set(policy, "preset", options->preset, &err) != STLS_OK) {
        ok = bad_policy("--preset", &err);
    }
    if (ok && options->policy != NULL
        && stls_policy_set_text(policy, options->policy, &err) != STLS_OK) {
        ok = bad_policy("--policy", &err);
    }
    /* The doctor always tells what would be rejected. */
    if (ok
        && (stls_policy_set(policy, "mode", "enforce", &err) != STLS_OK
            || (!ask_revocation && stls_policy_set(policy, "revocation", "off", &err) != STLS_OK)
            || (!compare_name && stls_policy_set(policy, "name", "off", &err) != STLS_OK)
            || stls_policy_freeze(policy, &err) != STLS_OK)) {
        ok = bad_policy("policy", &err);
    }
    if (ok) {
        stls_crl_file_free(stls_curl_crl_file_get1(policy, &err));
        ok = err.text[0] == '\0' || bad_policy("policy", &err);
    }
    if (!ok) {
        stls_policy_free(policy);
        return NULL;
    }
    return policy;
}

/* Where libcurl's command looks, too. */
static const char *bundle_path(const char *cafile)
{
    const char *variables[] = {"CURL_CA_BUNDLE", "SSL_CERT_FILE"};
    for (size_t i = 0; cafile == NULL && i < 2; i++) {
        cafile = getenv(variables[i]);
        cafile = cafile != NULL && cafile[0] != '\0' ? cafile : NULL;
    }
    if (cafile == NULL) {
        const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
        cafile = info->age >= CURLVERSION_SEVENTH ? info->cainfo : NULL;
    }
    return cafile != NULL ? cafile : DEBIAN_BUNDLE;
}

static stls_anchors *make_anchors(const char *path)
{
    stls_error err = {""};
    BIO *bio = open_file(path);
    stls_anchors *anchors = bio != NULL ? stls_anchors_new(NULL) : NULL;

    if (anchors != NULL
        && (stls_anchors_load(anchors, bio, &err) != STLS_OK
            || stls_anchors_freeze(anchors, &err) != STLS_OK)) {
        complain(path, err.text);
        stls_anchors_free(anchors);
        anchors = NULL;
    }
    BIO_free(bio);
    return anchors;
}

static X509_STORE *make_store(const STACK_OF(X509) *certs)
{
    X509_STORE *store = X509_STORE_new();
    for (int i = 0; store != NULL && i < sk_X509_num(certs); i++) {
        if (!X509_STORE_add_cert(store, sk_X509_value(certs, i))) {
            X509_STORE_free(store);
            return NULL;
        }
    }
    return store;
}

int doctor_trust_open(doctor_trust *trust, const doctor_options *options, const char *cafile,
                      int ask_revocation, int compare_name)
{
    memset(trust, 0, sizeof(*trust));
    const char *path = bundle_path(cafile);
    if ((trust->policy = make_policy(options, ask_revocation, compare_name)) == NULL
        || (trust->anchors = make_anchors(path)) == NULL
        || (trust->certs = doctor_read_certs(path)) == NULL
        || (trust->store = make_store(trust->certs)) == NULL) {
        doctor_trust_close(trust);
        return DOCTOR_USAGE;
    }
    return 0;
}

void doctor_trust_close(doctor_trust *trust)
{
    stls_policy_free(trust->policy);
    stls_anchors_free(trust->anchors);
    sk_X509_pop_free(trust->certs, X509_free);
    X509_STORE_free(trust->store);
    memset(trust, 0, sizeof(*trust));
}
