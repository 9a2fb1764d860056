/* From what a peer presented to what it should present. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>

#include "anchors.h"
#include "cert_stack.h"
#include "error.h"
#include "policy.h"
#include "x509_text.h"

#define CHANGES_LEN 4096

struct stls_repair_st {
    stls_allocator allocator;
    stls_policy *policy;
    stls_anchors *anchors;
    stls_role role;
    int64_t now_s;
    STACK_OF(X509) *presented;
    STACK_OF(X509) *fetched;
    STACK_OF(X509) *chain; /* leaf first, as far as it is known; borrowed */
    int is_whole;          /* the chain's last certificate was issued by an anchor */
    size_t url_index;      /* of the chain's last certificate */
    int num_fetches;
    char url[STLS_URL_LEN];
    char *pem;
    size_t pem_len;
    char changes[CHANGES_LEN];
};

stls_repair *stls_repair_new(stls_policy *policy, stls_anchors *anchors, stls_role role,
                             int64_t now_s)
{
    if (!policy->frozen || !anchors->frozen) {
        return NULL;
    }
    stls_repair *repair = stls_alloc(&policy->allocator, sizeof(*repair));
    if (repair == NULL) {
        return NULL;
    }
    repair->allocator = policy->allocator;
    repair->policy = stls_policy_up_ref(policy);
    repair->anchors = stls_anchors_up_ref(anchors);
    repair->role = role;
    repair->now_s = now_s;
    repair->presented = sk_X509_new_null();
    repair->fetched = sk_X509_new_null();
    repair->chain = sk_X509_new_null();
    if (repair->presented == NULL || repair->fetched == NULL || repair->chain == NULL) {
        stls_repair_free(repair);
        return NULL;
    }
    return repair;
}

void stls_repair_free(stls_repair *repair)
{
    if (repair == NULL) {
        return;
    }
    stls_allocator allocator = repair->allocator;
    sk_X509_pop_free(repair->presented, X509_free);
    sk_X509_pop_free(repair->fetched, X509_free);
    sk_X509_free(repair->chain);
    stls_dealloc(&allocator, repair->pem);
    stls_anchors_free(repair->anchors);
    stls_policy_free(repair->policy);
    stls_dealloc(&allocator, repair);
}

static stls_status push(STACK_OF(X509) *stack, X509 *cert)
{
    if (!X509_up_ref(cert)) {
        return STLS_ERR_MEMORY;
    }
    if (!sk_X509_push(stack, cert)) {
        X509_free(cert);
        return STLS_ERR_MEMORY;
    }
    return STLS_OK;
}

stls_status stls_repair_add_cert(stls_repair *repair, X509 *cert)
{
    if (sk_X509_num(repair->chain) > 0) {
        return STLS_ERR_STATE;
    }
    return push(repair->presented, cert);
}

/* ---- finding issuers ----------------------------------------------------------- */

static int is_current(const X509 *cert, int64_t now_s)
{
    int64_t from_s, to_s;
    return stls_time_s(X509_get0_notBefore(cert), &from_s)
           && stls_time_s(X509_get0_notAfter(cert), &to_s) && from_s <= now_s && now_s <= to_s;
}

static int is_issuer(X509 *issuer, X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    return X509_check_issued(issuer, cert) == X509_V_OK && key != NULL
           && X509_verify(cert, key) == 1;
}

/* One that is valid now, if there is a choice. */
static X509 *find_issuer(const stls_repair *repair, const STACK_OF(X509) *stack, X509 *cert)
{
    X509 *found = NULL;
    for (int i = 0; i < sk_X509_num(stack); i++) {
        X509 *issuer = sk_X509_value(stack, i);
        if (is_issuer(issuer, cert) && stls_cert_index(repair->chain, issuer) < 0
            && (found == NULL || is_current(issuer, repair->now_s))) {
            found = issuer;
        }
    }
    return found;
}

/* As far as the certificates at hand go. */
static stls_status extend(stls_repair *repair)
{
    if (sk_X509_num(repair->chain) == 0) {
        if (sk_X509_num(repair->presented) == 0) {
            return STLS_ERR_STATE;
        }
        if (!sk_X509_push(repair->chain, sk_X509_value(repair->presented, 0))) {
            return STLS_ERR_MEMORY;
        }
    }
    while (!repair->is_whole
           && sk_X509_num(repair->chain) <= repair->policy->num[STLS_KEY_MAX_CHAIN_LEN]) {
        X509 *last = sk_X509_value(repair->chain, sk_X509_num(repair->chain) - 1);
        if (find_issuer(repair, repair->anchors->anchors, last) != NULL
            || stls_anchors_contain(repair->anchors, last)) {
            repair->is_whole = 1;
            break;
        }
        const STACK_OF(X509) *sources[] = {repair->presented, repair->fetched,
                                           repair->anchors->not_anchors};
        X509 *issuer = NULL;
        for (size_t i = 0; i < 3 && issuer == NULL; i++) {
            issuer = find_issuer(repair, sources[i], last);
        }
        if (issuer == NULL) {
            break;
        }
        if (!sk_X509_push(repair->chain, issuer)) {
            return STLS_ERR_MEMORY;
        }
        repair->url_index = 0;
    }
    return STLS_OK;
}

const char *stls_repair_next_url(stls_repair *repair)
{
    const char *url = NULL;

    ERR_set_mark();
    if (extend(repair) == STLS_OK && !repair->is_whole
        && repair->num_fetches < repair->policy->num[STLS_KEY_MAX_FETCHES]
        && (int64_t)repair->url_index < repair->policy->num[STLS_KEY_MAX_URLS_PER_CERT]
        && sk_X509_num(repair->chain) <= repair->policy->num[STLS_KEY_MAX_CHAIN_LEN]) {
        const X509 *last = sk_X509_value(repair->chain, sk_X509_num(repair->chain) - 1);
        if (stls_aia_url(last, NID_ad_ca_issuers, repair->url_index, repair->url)) {
            repair->url_index++;
            repair->num_fetches++;
            url = repair->url;
        }
    }
    ERR_pop_to_mark();
    return url;
}

/* ---- what was fetched -------------------------------------------------------------- */

static stls_status take_der(stls_repair *repair, const unsigned char *bytes, size_t len)
{
    const unsigned char *p = bytes;
    X509 *cert = d2i_X509(NULL, &p, (long)len);
    stls_status status = cert != NULL ? push(repair->fetched, cert) : STLS_ERR_ARGUMENT;
    X509_free(cert);
    return status;
}

/* RFC 5280 section 4.2.2.1: application/pkcs7-mime, certs-only. */
static stls_status take_pkcs7(stls_repair *repair, const unsigned char *bytes, size_t len)
{
    const unsigned char *p = bytes;
    stls_status status = STLS_ERR_ARGUMENT;
    PKCS7 *bag = d2i_PKCS7(NULL, &p, (long)len);

    if (bag != NULL && PKCS7_type_is_signed(bag) && bag->d.sign != NULL) {
        const STACK_OF(X509) *certs = bag->d.sign->cert;
        int num = sk_X509_num(certs);
        if (num > repair->policy->num[STLS_KEY_MAX_CHAIN_LEN]) {
            num = (int)repair->policy->num[STLS_KEY_MAX_CHAIN_LEN];
        }
        for (int i = 0; i < num; i++) {
            status = push(repair->fetched, sk_X509_value(certs, i));
            if (status != STLS_OK) {
                break;
            }
        }
    }
    PKCS7_free(bag);
    return status;
}

static stls_status take_pem(stls_repair *repair, const unsigned char *bytes, size_t len)
{
    stls_status status = STLS_ERR_ARGUMENT;
    BIO *bio = BIO_new_mem_buf(bytes, (int)len);
    X509 *cert = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (cert != NULL) {
        status = push(repair->fetched, cert);
    }
    X509_free(cert);
    BIO_free(bio);
    return status;
}

stls_status stls_repair_feed(stls_repair *repair, const unsigned char *bytes, size_t len)
{
    stls_status status = STLS_ERR_TOO_LARGE;

    if ((int64_t)len <= repair->policy->num[STLS_KEY_MAX_REPLY_BYTES]) {
        ERR_set_mark();
        status = take_der(repair, bytes, len);
        if (status == STLS_ERR_ARGUMENT) {
            status = take_pkcs7(repair, bytes, len);
        }
        if (status == STLS_ERR_ARGUMENT) {
            status = take_pem(repair, bytes, len);
        }
        ERR_pop_to_mark();
    }
    return status;
}

/* ---- the end ------------------------------------------------------------------------- */

static void note(stls_repair *repair, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void note(stls_repair *repair, const char *format, ...)
{
    size_t used = strlen(repair->changes);
    va_list args;
    va_start(args, format);
    vsnprintf(repair->changes + used, CHANGES_LEN - used, format, args);
    va_end(args);
}

static void note_changes(stls_repair *repair)
{
    char subject[STLS_NAME_TEXT_LEN];
    int last = -1, is_misordered = 0;

    repair->changes[0] = '\0';
    for (int i = 0; i < sk_X509_num(repair->chain); i++) {
        const X509 *cert = sk_X509_value(repair->chain, i);
        int index = stls_cert_index(repair->presented, cert);
        if (index < 0) {
            stls_name_text(X509_get_subject_name(cert), subject);
            note(repair, "added '%s'\n", subject);
        } else {
            is_misordered |= index < last;
            last = index;
        }
    }
    for (int p = 0; p < sk_X509_num(repair->presented); p++) {
        const X509 *cert = sk_X509_value(repair->presented, p);
        int is_copy = stls_cert_index(repair->presented, cert) < p;
        if (is_copy || stls_cert_index(repair->chain, cert) < 0) {
            stls_name_text(X509_get_subject_name(cert), subject);
            note(repair, "removed %s'%s'\n", is_copy ? "a copy of " : "", subject);
        }
    }
    if (is_misordered) {
        note(repair, "put the certificates into issuing order, leaf first\n");
    }
}

/* What the policy demands of the chain, and nothing about names and revocation. */
static stls_policy *chain_policy(const stls_policy *policy)
{
    static const stls_policy_change changes[] = {
        {STLS_KEY_MODE, "enforce"},       {STLS_KEY_NAME, "off"},
        {STLS_KEY_REVOCATION, "off"},     {STLS_KEY_CHAIN_ROOT, "allow"},
        {STLS_KEY_CHAIN_ORDER, "strict"}, {STLS_KEY_CHAIN_EXTRA, "deny"}};
    return stls_policy_derive(policy, changes, sizeof(changes) / sizeof(changes[0]));
}

static stls_status verify(stls_repair *repair, stls_error *err)
{
    stls_status status = STLS_ERR_MEMORY;
    char line[400];
    stls_policy *policy = chain_policy(repair->policy);
    stls_check *check = policy != NULL ? stls_check_new(policy, repair->anchors, repair->role)
                                       : NULL;
    if (check != NULL && stls_check_add_certs(check, repair->chain) == STLS_OK) {
        stls_verdict verdict = stls_check_start(check, repair->now_s);
        stls_result *result = stls_check_get1_result(check);
        if (result != NULL) {
            stls_result_log_line(result, NULL, line, sizeof(line));
            status = verdict == STLS_ACCEPT
                         ? STLS_OK
                         : stls_error_set(err, STLS_ERR_ARGUMENT,
                                          "the completed chain would be rejected: %s", line);
        }
        stls_result_free(result);
    }
    stls_check_free(check);
    stls_policy_free(policy);
    return status == STLS_ERR_MEMORY ? stls_error_set(err, status, "out of memory") : status;
}

static stls_status write_pem(stls_repair *repair)
{
    char *data = NULL;
    stls_status status = STLS_ERR_MEMORY;
    BIO *bio = BIO_new(BIO_s_mem());
    int ok = bio != NULL;

    for (int i = 0; ok && i < sk_X509_num(repair->chain); i++) {
        ok = PEM_write_bio_X509(bio, sk_X509_value(repair->chain, i));
    }
    long len = ok ? BIO_get_mem_data(bio, &data) : 0;
    if (len > 0) {
        stls_dealloc(&repair->allocator, repair->pem);
        repair->pem = stls_memdup(&repair->allocator, data, (size_t)len);
        repair->pem_len = (size_t)len;
        status = repair->pem != NULL ? STLS_OK : STLS_ERR_MEMORY;
    }
    BIO_free(bio);
    return status;
}

stls_status stls_repair_finish(stls_repair *repair, stls_error *err)
{
    char issuer[STLS_NAME_TEXT_LEN];

    ERR_set_mark();
    stls_status status = extend(repair);
    ERR_pop_to_mark();
    if (status != STLS_OK) {
        return stls_error_set(err, status, "no certificate was presented");
    }
    X509 *last = sk_X509_value(repair->chain, sk_X509_num(repair->chain) - 1);
    if (!repair->is_whole) {
        stls_name_text(X509_get_issuer_name(last), issuer);
        return stls_error_set(err, STLS_ERR_ARGUMENT,
                              "the issuer '%.300s' is not a trust anchor and could not be had",
                              issuer);
    }
    /* The root goes without saying, unless it is all there is. */
    while (sk_X509_num(repair->chain) > 1 && X509_self_signed(last, 0) == 1) {
        sk_X509_pop(repair->chain);
        last = sk_X509_value(repair->chain, sk_X509_num(repair->chain) - 1);
    }
    status = verify(repair, err);
    if (status == STLS_OK) {
        note_changes(repair);
        status = write_pem(repair);
    }
    return status;
}

const char *stls_repair_get0_pem(const stls_repair *repair, size_t *len)
{
    *len = repair->pem_len;
    return repair->pem;
}

const char *stls_repair_get0_changes(const stls_repair *repair)
{
    return repair->changes;
}
