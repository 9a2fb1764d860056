/*
 * Which trust anchors count: those of libcurl's own store for the connection.
 *
 * The store may hold hundreds of certificates, or none yet where a CAPATH is
 * looked up name by name.  Only those that can matter for this chain are taken:
 * issuers of what was presented, and their issuers.  The store itself is shared
 * with other handles and never changed.
 */
#include "plugin.h"

#include <pthread.h>

#include <openssl/x509v3.h>

#define MAX_CANDIDATES 64
#define NOBODY_LIFE_S 60

static int knows(const STACK_OF(X509) *found, const X509 *cert)
{
    for (int i = 0; i < sk_X509_num(found); i++) {
        if (X509_cmp(sk_X509_value(found, i), cert) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Adds every certificate of the store with this subject. 0: out of memory. */
static int add_by_name(STACK_OF(X509) *found, X509_STORE_CTX *store_ctx, const X509_NAME *name)
{
    STACK_OF(X509) *certs = X509_STORE_CTX_get1_certs(store_ctx, name);
    int ok = 1;

    for (int i = 0; ok && i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        if (!knows(found, cert) && sk_X509_num(found) < MAX_CANDIDATES) {
            ok = X509_add_cert(found, cert, X509_ADD_FLAG_UP_REF) == 1;
        }
    }
    sk_X509_pop_free(certs, X509_free);
    return ok;
}

static int collect(STACK_OF(X509) *found, X509_STORE_CTX *store_ctx,
                   const STACK_OF(X509) *presented)
{
    for (int i = 0; i < sk_X509_num(presented); i++) {
        const X509 *cert = sk_X509_value(presented, i);
        /* By its subject too: a self-signed leaf, or an anchor under another signature. */
        if (!add_by_name(found, store_ctx, X509_get_issuer_name(cert))
            || !add_by_name(found, store_ctx, X509_get_subject_name(cert))) {
            return 0;
        }
    }
    for (int i = 0; i < sk_X509_num(found); i++) {
        if (!add_by_name(found, store_ctx, X509_get_issuer_name(sk_X509_value(found, i)))) {
            return 0;
        }
    }
    return 1;
}

/*
 * An anchor that nobody has the key of, for chains to which nothing in the
 * store fits: the core wants a set that is not empty, and then tells what is
 * wrong with the chain.
 */
static int add_nobody(STACK_OF(X509) *found)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name = X509_NAME_new();
    X509V3_CTX v3;
    X509_EXTENSION *ca = NULL;
    int ok = 0;

    X509V3_set_ctx(&v3, cert, cert, NULL, NULL, 0);
    if (key != NULL && cert != NULL && name != NULL
        && (ca = X509V3_EXT_conf_nid(NULL, &v3, NID_basic_constraints, "critical,CA:TRUE")) != NULL
        && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                      (const unsigned char *)"no trust anchor", -1, -1, 0)
        && X509_set_version(cert, X509_VERSION_3)
        && ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) && X509_set_subject_name(cert, name)
        && X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key)
        && X509_gmtime_adj(X509_getm_notBefore(cert), 0) != NULL
        && X509_gmtime_adj(X509_getm_notAfter(cert), NOBODY_LIFE_S) != NULL
        && X509_add_ext(cert, ca, -1) && X509_sign(cert, key, EVP_sha256())) {
        ok = X509_add_cert(found, cert, X509_ADD_FLAG_UP_REF);
    }
    X509_EXTENSION_free(ca);
    X509_NAME_free(name);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok;
}

static int has_self_signed(const STACK_OF(X509) *found)
{
    for (int i = 0; i < sk_X509_num(found); i++) {
        if (X509_get_extension_flags(sk_X509_value(found, i)) & EXFLAG_SS) {
            return 1;
        }
    }
    return 0;
}

static stls_anchors *load(const STACK_OF(X509) *found)
{
    stls_anchors *anchors = stls_anchors_new(NULL);
    stls_status status = anchors != NULL ? STLS_OK : STLS_ERR_MEMORY;

    for (int i = 0; status == STLS_OK && i < sk_X509_num(found); i++) {
        status = stls_anchors_add_cert(anchors, sk_X509_value(found, i));
    }
    if (status != STLS_OK || stls_anchors_freeze(anchors, NULL) != STLS_OK) {
        stls_anchors_free(anchors);
        anchors = NULL;
    }
    return anchors;
}

stls_anchors *stls_curl_no_anchors(void)
{
    STACK_OF(X509) *none = sk_X509_new_null();
    stls_anchors *anchors = none != NULL && add_nobody(none) ? load(none) : NULL;

    sk_X509_pop_free(none, X509_free);
    return anchors;
}

stls_anchors *stls_curl_anchors_of(X509_STORE *store, const STACK_OF(X509) *presented)
{
    STACK_OF(X509) *found = sk_X509_new_null();
    X509_STORE_CTX *look_up = X509_STORE_CTX_new();
    stls_anchors *anchors = NULL;

    if (found != NULL && look_up != NULL && X509_STORE_CTX_init(look_up, store, NULL, NULL)
        && collect(found, look_up, presented) && (has_self_signed(found) || add_nobody(found))) {
        anchors = load(found);
    }
    X509_STORE_CTX_free(look_up);
    sk_X509_pop_free(found, X509_free);
    return anchors;
}

/* ---- the program's anchors in the place of libcurl's ---------------------------------- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int old_slot = -1; /* in a store of ours: the one whose place it took */

static void free_old(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    X509_STORE_free(ptr);
}

static void take_slot(void)
{
    old_slot = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_X509_STORE, 0, NULL, NULL, NULL, free_old);
}

static STACK_OF(X509_CRL) *crls_of_old(const X509_STORE_CTX *store_ctx, const X509_NAME *name)
{
    X509_STORE *old = X509_STORE_get_ex_data(X509_STORE_CTX_get0_store(store_ctx), old_slot);
    X509_STORE_CTX *look_up = X509_STORE_CTX_new();
    STACK_OF(X509_CRL) *crls = NULL;

    if (look_up != NULL && X509_STORE_CTX_init(look_up, old, NULL, NULL)) {
        X509_STORE_CTX_lookup_crls_fn by_name = X509_STORE_get_lookup_crls(old);
        crls = by_name != NULL ? by_name(look_up, name) : X509_STORE_CTX_get1_crls(look_up, name);
    }
    X509_STORE_CTX_free(look_up);
    return crls;
}

static X509_STORE *store_with(const stls_anchors *anchors, X509_STORE *old)
{
    const STACK_OF(X509) *certs = stls_anchors_get0_certs(anchors);
    X509_STORE *store = X509_STORE_new();
    int ok = store != NULL && X509_STORE_set1_param(store, X509_STORE_get0_param(old));

    for (int i = 0; ok && i < sk_X509_num(certs); i++) {
        ok = X509_STORE_add_cert(store, sk_X509_value(certs, i));
    }
    if (!ok || !X509_STORE_up_ref(old)) {
        X509_STORE_free(store);
        return NULL;
    }
    if (!X509_STORE_set_ex_data(store, old_slot, old)) {
        X509_STORE_free(old);
        X509_STORE_free(store);
        return NULL;
    }
    X509_STORE_set_lookup_crls(store, crls_of_old);
    X509_STORE_set_verify(store, X509_STORE_get_verify(old));
    X509_STORE_set_verify_cb(store, X509_STORE_get_verify_cb(old));
    X509_STORE_set_check_revocation(store, X509_STORE_get_check_revocation(old));
    X509_STORE_set_get_crl(store, X509_STORE_get_get_crl(old));
    X509_STORE_set_check_crl(store, X509_STORE_get_check_crl(old));
    X509_STORE_set_cert_crl(store, X509_STORE_get_cert_crl(old));
    X509_STORE_set_check_policy(store, X509_STORE_get_check_policy(old));
    return store;
}

int stls_curl_replace_anchors(SSL_CTX *ctx, const stls_anchors *anchors)
{
    X509_STORE *old = NULL;

    (void)pthread_once(&once, take_slot);
    if (old_slot < 0) {
        return 0;
    }
    if (SSL_CTX_get0_verify_cert_store(ctx, &old) != 1 || old == NULL) {
        old = SSL_CTX_get_cert_store(ctx);
    }
    if (old == NULL || X509_STORE_get_ex_data(old, old_slot) != NULL) {
        return old != NULL; /* it came by here before */
    }
    X509_STORE *store = store_with(anchors, old);
    int ok = store != NULL && SSL_CTX_set1_verify_cert_store(ctx, store) == 1;
    X509_STORE_free(store);
    return ok;
}
