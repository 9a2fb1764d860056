/*
 * NIST PKITS 1.0.1 through the core's own CRL rung: pkits_test TABLE DATA_DIR [VARIANT].
 * A variant shows that the tests can fail: "flipped" expects the opposite of
 * every row, "no-inputs" leaves the rows' policy inputs out, "no-crls" the CRLs.
 * The table says what each test must give; the certificates and CRLs come with
 * Debian's package python3-cryptography-vectors.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/pem.h>

#include "strict_tls/strict_tls.h"

#define NOW_S 1302825600 /* the table's verification time */

/* PKITS is of 2011: SHA-1, DSA, no names to compare, and roots among the presented. */
static const char profile[] =
    "security_level=0 purpose=any name=off chain_order=any x509_strict=off "
    "revocation_sources=crl short_lived_s=0 max_chain_len=20";

typedef struct {
    char *id, *expected, *policies, *explicit, *no_mapping, *no_any, *certs, *crls;
} row;

/*
 * What OpenSSL itself cannot do: `openssl verify` fails it, too.  A row here
 * must keep failing, or leave this list.
 */
static const struct {
    const char *id, *why;
} exceptions[] = {
    {"4.1.5", "OpenSSL takes no issuer whose DSA key inherits its parameters (RFC 3279 2.3.2)"},
};

static const char *dir, *variant = "";

static const char *exception(const char *id)
{
    for (size_t i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++) {
        if (strcmp(exceptions[i].id, id) == 0) {
            return exceptions[i].why;
        }
    }
    return NULL;
}

static unsigned char *read_file(const char *folder, const char *name, const char *suffix,
                                size_t *len)
{
    char path[1024];
    unsigned char *bytes = malloc(65536);
    snprintf(path, sizeof(path), "%s/%s/%s.%s", dir, folder, name, suffix);
    FILE *file = fopen(path, "rb");
    if (file == NULL || bytes == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    *len = fread(bytes, 1, 65536, file);
    fclose(file);
    return bytes;
}

static X509 *read_cert(const char *name)
{
    size_t len;
    unsigned char *bytes = read_file("certs", name, "crt", &len);
    const unsigned char *p = bytes;
    X509 *cert = d2i_X509(NULL, &p, (long)len);
    if (cert == NULL) {
        fprintf(stderr, "cannot decode %s\n", name);
        exit(2);
    }
    free(bytes);
    return cert;
}

static void must(stls_status status, const stls_error *err)
{
    if (status != STLS_OK) {
        fprintf(stderr, "%s\n", err->text);
        exit(2);
    }
}

static stls_policy *make_policy(const row *r)
{
    stls_error err = {""};
    stls_policy *policy = stls_policy_new(NULL);
    must(stls_policy_set_text(policy, profile, &err), &err);
    if (strcmp(variant, "no-inputs") == 0) {
        must(stls_policy_freeze(policy, &err), &err);
        return policy;
    }
    if (strcmp(r->policies, "-") != 0) {
        char oids[512] = "";
        for (char *name = strtok(r->policies, ","); name != NULL; name = strtok(NULL, ",")) {
            int number = 0;
            size_t used = strlen(oids);
            int is_any = sscanf(name, "NIST-test-policy-%d", &number) != 1;
            snprintf(oids + used, sizeof(oids) - used, "%s%s", used ? "," : "",
                     is_any ? "2.5.29.32.0" : "2.16.840.1.101.3.2.1.48.");
            if (!is_any) {
                used = strlen(oids);
                snprintf(oids + used, sizeof(oids) - used, "%d", number);
            }
        }
        must(stls_policy_set(policy, "cert_policies", oids, &err), &err);
    }
    const char *keys[] = {"require_explicit_policy", "inhibit_policy_mapping",
                          "inhibit_any_policy"};
    const char *values[] = {r->explicit, r->no_mapping, r->no_any};
    for (int i = 0; i < 3; i++) {
        must(stls_policy_set(policy, keys[i], strcmp(values[i], "true") == 0 ? "on" : "off", &err),
             &err);
    }
    must(stls_policy_freeze(policy, &err), &err);
    return policy;
}

static stls_anchors *make_anchors(X509 *root)
{
    stls_error err = {""};
    stls_anchors *anchors = stls_anchors_new(NULL);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, root);
    must(stls_anchors_load(anchors, bio, &err), &err);
    must(stls_anchors_freeze(anchors, &err), &err);
    BIO_free(bio);
    return anchors;
}

static int run(row *r)
{
    X509 *certs[20];
    int num = 0, accepted;
    for (char *name = strtok(r->certs, ","); name != NULL; name = strtok(NULL, ",")) {
        certs[num++] = read_cert(name);
    }
    stls_policy *policy = make_policy(r);
    stls_anchors *anchors = make_anchors(certs[0]);
    stls_check *check = stls_check_new(policy, anchors, STLS_ROLE_SERVER);
    /* The table's way is anchor first; a peer presents the leaf first and no anchor. */
    for (int i = num - 1; i > 0; i--) {
        stls_check_add_cert(check, certs[i]);
    }
    char *no_crls = strcmp(variant, "no-crls") == 0 ? r->crls + strlen(r->crls) : r->crls;
    for (char *name = strtok(no_crls, ","); name != NULL; name = strtok(NULL, ",")) {
        size_t len;
        unsigned char *bytes = read_file("crls", name, "crl", &len);
        stls_crl *crl = stls_crl_new(NULL, bytes, len, free);
        while (stls_crl_step(crl, 64) == STLS_CRL_MORE) {
        }
        stls_check_add_crl(check, crl); /* one that is broken is no help, and that is the test */
        stls_crl_free(crl);
    }
    stls_verdict verdict = stls_check_start(check, NOW_S);
    stls_fetch fetch;
    while (verdict == STLS_PENDING && stls_check_next_fetch(check, &fetch) == 1) {
        stls_reply reply = {STLS_FETCH_NETWORK, NULL, 0, "nothing is fetched"};
        verdict = stls_check_feed(check, fetch.id, &reply, NOW_S);
    }
    accepted = verdict == STLS_ACCEPT;
    int is_flipped = strcmp(variant, "flipped") == 0;
    int as_told = accepted == ((strcmp(r->expected, "valid") == 0) != is_flipped);
    const char *why = exception(r->id);
    int ok = as_told == (why == NULL);
    if (why != NULL) {
        printf("exception %s: %s\n", r->id, why);
    }
    stls_result *result = stls_check_get1_result(check);
    if (!ok || getenv("PKITS_VERBOSE") != NULL) {
        char line[2000];
        stls_result_log_line(result, NULL, line, sizeof(line));
        printf("%s %s: expected %s: %s\n", ok ? "ok" : "FAILED", r->id, r->expected, line);
    }
    stls_result_free(result);
    stls_check_free(check);
    stls_anchors_free(anchors);
    stls_policy_free(policy);
    for (int i = 0; i < num; i++) {
        X509_free(certs[i]);
    }
    return ok;
}

int main(int argc, char **argv)
{
    char line[4096];
    int num_passed = 0, num_failed = 0;

    FILE *table = argc == 3 || argc == 4 ? fopen(argv[1], "r") : NULL;
    if (table == NULL) {
        fprintf(stderr, "usage: pkits_test TABLE DATA_DIR [flipped|no-inputs|no-crls]\n");
        return 3;
    }
    dir = argv[2];
    variant = argc == 4 ? argv[3] : "";
    while (fgets(line, sizeof(line), table) != NULL) {
        char *fields[8], *p = line;
        int num = 0;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0') {
            continue;
        }
        while (num < 8 && p != NULL) {
            fields[num++] = strsep(&p, "\t");
        }
        if (num != 8) {
            fprintf(stderr, "row with %d fields: %s\n", num, line);
            return 2;
        }
        row r = {fields[0], fields[1], fields[2], fields[3],
                 fields[4], fields[5], fields[6], fields[7]};
        *(run(&r) ? &num_passed : &num_failed) += 1;
    }
    fclose(table);
    printf("%d passed, %d failed\n", num_passed, num_failed);
    return num_failed == 0 ? 0 : 1;
}
