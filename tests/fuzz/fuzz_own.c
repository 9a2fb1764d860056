/*
 * A chain of our own, and its repair: certificates of the input behind the
 * usual leaf or before it, names, and what an AIA URL answered.
 */
#include "fuzz.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "strict_tls/own_chain.h"

static void count_line(void *baton, stls_severity severity, const char *line)
{
    size_t *num = baton;
    MUST(severity >= STLS_NOTE && severity <= STLS_ERROR);
    for (const char *p = line; *p != '\0'; p++) {
        MUST(*p >= 0x20 && *p < 0x7f);
    }
    ++*num;
}

static X509 *cert_of(const uint8_t *piece, size_t len)
{
    const unsigned char *p = piece;
    X509 *cert = d2i_X509(NULL, &p, (long)len);
    if (cert == NULL && len > 0 && piece[0] % 3 == 1) {
        cert = fuzz_inter;
        X509_up_ref(cert);
    } else if (cert == NULL && len > 0 && piece[0] % 3 == 2) {
        cert = fuzz_root;
        X509_up_ref(cert);
    }
    return cert;
}

static void judge_own(stls_policy *policy, const STACK_OF(X509) *certs, const char *name)
{
    const char *const names[] = {name};
    const stls_own_chain own = {.role = STLS_ROLE_SERVER,
                                .certs = certs,
                                .file = name,
                                .why_not = name,
                                .names = names,
                                .num_names = 1,
                                .trust_directive = "strict_tls_trusted_certificate"};
    unsigned char id[STLS_ID_LEN];
    size_t num = 0;
    stls_result *result = stls_own_chain_judge(policy, fuzz_anchors, &own, NOW_S);

    MUST(result != NULL && stls_result_verdict(result) != STLS_ACCEPT);
    MUST(stls_own_chain_tell(result, name, STLS_NOTE, count_line, &num) == num);
    MUST(stls_result_verdict(result) == STLS_PENDING || num > 0);
    MUST(stls_own_chain_news_id(result, id) == STLS_OK);
    stls_result_free(result);
}

/* What is repaired is right: the same judge takes it. */
static void judge_repaired(stls_policy *policy, const char *pem, size_t len)
{
    STACK_OF(X509) *certs = sk_X509_new_null();
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    X509 *cert;

    while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        MUST(sk_X509_push(certs, cert));
    }
    ERR_clear_error();
    stls_check *check = stls_check_new(policy, fuzz_anchors, STLS_ROLE_SERVER);
    MUST(stls_check_add_certs(check, certs) == STLS_OK);
    MUST(stls_check_trust(check, NOW_S) == STLS_PENDING);
    stls_check_free(check);
    sk_X509_pop_free(certs, X509_free);
    BIO_free(bio);
}

static void repair(stls_policy *policy, const STACK_OF(X509) *certs, const uint8_t *answer,
                   size_t answer_len)
{
    stls_error err = {""};
    stls_repair *r = stls_repair_new(policy, fuzz_anchors, STLS_ROLE_SERVER, NOW_S);
    size_t num_urls = 0, len;

    MUST(r != NULL);
    for (int i = 0; i < sk_X509_num(certs); i++) {
        stls_repair_add_cert(r, sk_X509_value(certs, i));
    }
    while (stls_repair_next_url(r) != NULL) {
        MUST(++num_urls < 1000);
        stls_repair_feed(r, answer, answer_len);
    }
    if (stls_repair_finish(r, &err) == STLS_OK) {
        const char *pem = stls_repair_get0_pem(r, &len);
        MUST(pem != NULL && strlen(pem) == len);
        judge_repaired(policy, pem, len);
    } else {
        MUST(err.text[0] != '\0');
    }
    stls_repair_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static stls_policy *policy;
    const uint8_t *piece;
    size_t piece_len;
    char name[300] = LEAF_NAME;
    STACK_OF(X509) *certs = sk_X509_new_null();

    if (policy == NULL) {
        policy = fuzz_policy("name=off");
    }
    MUST(certs != NULL);
    if (len > 0 && data[0] % 2 == 0) {
        X509_up_ref(fuzz_leaf);
        MUST(sk_X509_push(certs, fuzz_leaf));
    }
    if (fuzz_next(&data, &len, &piece, &piece_len) && piece_len > 0 && piece_len < sizeof(name)) {
        memcpy(name, piece, piece_len);
        name[piece_len] = '\0';
    }
    while (fuzz_next(&data, &len, &piece, &piece_len) && sk_X509_num(certs) < 20) {
        X509 *cert = cert_of(piece, piece_len);
        if (cert != NULL) {
            MUST(sk_X509_push(certs, cert));
        }
    }
    judge_own(policy, certs, name);
    repair(policy, certs, data, len);
    sk_X509_pop_free(certs, X509_free);
    return 0;
}
