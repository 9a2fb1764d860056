#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* ---- what aid_end() frees --------------------------------------------------- */

typedef struct {
    void (*free)(void *);
    void *thing;
} kept_thing;

static kept_thing *kept;
static size_t num_kept, cap_kept;
static EVP_PKEY *keys[AID_NUM_KEYS];
static aid_pki pki;

static aid_issued issued[1024];
static size_t num_issued;

void aid_keep(void (*release)(void *), void *thing)
{
    if (num_kept == cap_kept) {
        cap_kept = cap_kept ? 2 * cap_kept : 256;
        AID_NEED(kept = realloc(kept, cap_kept * sizeof(*kept)));
    }
    kept[num_kept].free = release;
    kept[num_kept++].thing = thing;
}

static void free_cert(void *thing)
{
    X509_free(thing);
}

static void free_stack(void *thing)
{
    sk_X509_free(thing);
}

static void free_policy(void *thing)
{
    stls_policy_free(thing);
}

static void free_anchors(void *thing)
{
    stls_anchors_free(thing);
}

static void free_der(void *thing)
{
    OPENSSL_free(thing);
}

int aid_end(void **state)
{
    (void)state;
    while (num_kept > 0) {
        num_kept--;
        kept[num_kept].free(kept[num_kept].thing);
    }
    free(kept);
    kept = NULL;
    cap_kept = 0;
    for (size_t i = 0; i < AID_NUM_KEYS; i++) {
        EVP_PKEY_free(keys[i]);
        keys[i] = NULL;
    }
    memset(&pki, 0, sizeof(pki));
    num_issued = 0;
    return 0;
}

/* ---- memory --------------------------------------------------------------- */

static void *heap_alloc(void *baton, size_t len)
{
    aid_heap *heap = baton;
    heap->num_allocs++;
    int fails = heap->fail_at != 0
                && (heap->fail_after_too ? heap->num_allocs >= heap->fail_at
                                         : heap->num_allocs == heap->fail_at);
    void *ptr = fails ? NULL : malloc(len);
    heap->num_live += ptr != NULL;
    return ptr;
}

static void heap_free(void *baton, void *ptr)
{
    aid_heap *heap = baton;
    assert_non_null(ptr);
    assert_true(heap->num_live > 0);
    heap->num_live--;
    free(ptr);
}

stls_allocator aid_allocator(aid_heap *heap)
{
    stls_allocator allocator = {heap_alloc, heap_free, heap};
    return allocator;
}

/* ---- certificates --------------------------------------------------------- */

EVP_PKEY *aid_key(size_t index)
{
    assert_true(index < AID_NUM_KEYS);
    if (keys[index] == NULL) {
        AID_NEED(keys[index] = EVP_EC_gen("P-256"));
    }
    return keys[index];
}

void aid_set_key(size_t index, EVP_PKEY *key)
{
    assert_true(index < AID_NUM_KEYS);
    EVP_PKEY_free(keys[index]);
    keys[index] = key;
}

const EVP_MD *aid_digest(const EVP_PKEY *key, const char *name)
{
    char only[80];
    if (EVP_PKEY_get_default_digest_name((EVP_PKEY *)key, only, sizeof(only)) == 2
        && (only[0] == '\0' || strcmp(only, "UNDEF") == 0)) {
        return NULL;
    }
    const EVP_MD *digest = EVP_get_digestbyname(name);
    AID_NEED(digest);
    return digest;
}

/* "CN=a,O=b"; values hold no comma. */
static void fill_name(X509_NAME *name, const char *text)
{
    while (text != NULL && *text != '\0') {
        char field[16], value[256];
        int used = 0;
        AID_NEED(sscanf(text, "%15[^=]=%255[^,]%n", field, value, &used) == 2);
        AID_NEED(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (unsigned char *)value, -1,
                                            -1, 0));
        text += used;
        text += *text == ',';
    }
}

static void set_name(X509 *cert, const char *text, int (*set)(X509 *, const X509_NAME *))
{
    X509_NAME *name = X509_NAME_new();
    AID_NEED(name);
    fill_name(name, text);
    AID_NEED(set(cert, name));
    X509_NAME_free(name);
}

static void set_time(ASN1_TIME *field, int64_t time_s)
{
    AID_NEED(ASN1_TIME_set(field, (time_t)time_s));
}

static void add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;

    if (value == NULL || *value == '\0') {
        return;
    }
    CONF *conf = NCONF_new(NULL); /* empty, yet some extensions insist on one */
    AID_NEED(conf);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509V3_set_nconf(&ctx, conf);
    X509_EXTENSION *ext = X509V3_EXT_nconf_nid(conf, &ctx, nid, value);
    AID_NEED(ext);
    AID_NEED(X509_add_ext(cert, ext, -1));
    X509_EXTENSION_free(ext);
    NCONF_free(conf);
}

static const char *or_else(const char *value, const char *fallback)
{
    return value != NULL ? value : fallback;
}

static void add_exts(X509 *cert, const aid_cert *spec)
{
    X509 *issuer = spec->issuer != NULL ? spec->issuer : cert;
    int is_ca = spec->is_ca;
    const char *bc = is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE";
    const char *ku = is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature";

    add_ext(cert, issuer, NID_basic_constraints, or_else(spec->basic_constraints, bc));
    add_ext(cert, issuer, NID_key_usage, or_else(spec->key_usage, ku));
    add_ext(cert, issuer, NID_ext_key_usage, or_else(spec->eku, is_ca ? "" : "serverAuth"));
    add_ext(cert, issuer, NID_subject_key_identifier, or_else(spec->own_key_id, "hash"));
    add_ext(cert, issuer, NID_authority_key_identifier,
            or_else(spec->key_id, spec->issuer != NULL ? "keyid" : ""));
    add_ext(cert, issuer, NID_subject_alt_name, spec->san);
    add_ext(cert, issuer, NID_info_access, spec->aia);
    add_ext(cert, issuer, NID_crl_distribution_points, spec->crl);
    add_ext(cert, issuer, NID_tlsfeature, spec->tls_feature);
    add_ext(cert, issuer, NID_name_constraints, spec->name_constraints);
    add_ext(cert, issuer, NID_certificate_policies, spec->policies);
    add_ext(cert, issuer, NID_policy_constraints, spec->policy_constraints);
    add_ext(cert, issuer, NID_id_pkix_OCSP_noCheck, spec->nocheck);
    /* Any number that no rule knows. */
    add_ext(cert, issuer, NID_netscape_comment, spec->unknown);
}

X509 *aid_make_cert(const aid_cert *spec)
{
    static int64_t next_serial = 1000;
    EVP_PKEY *key = spec->own_key != NULL ? spec->own_key : aid_key(spec->key);
    X509 *cert = X509_new();

    AID_NEED(cert);
    AID_NEED(X509_set_version(cert, (spec->version != 0 ? spec->version : 3) - 1));
    AID_NEED(ASN1_INTEGER_set_int64(X509_get_serialNumber(cert),
                                    spec->serial != 0 ? spec->serial : next_serial++));
    set_time(X509_getm_notBefore(cert),
             spec->not_before_s != 0 ? spec->not_before_s : NOW_S - 10 * DAY_S);
    set_time(X509_getm_notAfter(cert),
             spec->not_after_s != 0 ? spec->not_after_s : NOW_S + 90 * DAY_S);
    set_name(cert, spec->subject, X509_set_subject_name);
    if (spec->issuer_name != NULL) {
        set_name(cert, spec->issuer_name, X509_set_issuer_name);
    } else {
        AID_NEED(X509_set_issuer_name(
            cert, X509_get_subject_name(spec->issuer != NULL ? spec->issuer : cert)));
    }
    AID_NEED(X509_set_pubkey(cert, key));
    if (spec->version == 0 || spec->version == 3) {
        add_exts(cert, spec);
    }
    EVP_PKEY *signer = spec->issuer != NULL ? aid_key(spec->issuer_key) : key;
    AID_NEED(X509_sign(cert, signer, aid_digest(signer, or_else(spec->digest, "SHA256"))));
    aid_keep(free_cert, cert);
    AID_NEED(num_issued < sizeof(issued) / sizeof(issued[0]));
    issued[num_issued].cert = cert;
    issued[num_issued].good = (aid_bytes){NULL, 0};
    issued[num_issued].issuer = spec->issuer;
    issued[num_issued++].issuer_key = spec->issuer_key;
    return cert;
}

aid_issued *aid_find_issued(const X509 *cert)
{
    for (size_t i = 0; i < num_issued; i++) {
        if (issued[i].cert == cert) {
            return &issued[i];
        }
    }
    return NULL;
}

const unsigned char *aid_der(const X509 *cert, size_t *len)
{
    unsigned char *der = NULL;
    int der_len = i2d_X509(cert, &der);
    AID_NEED(der_len > 0);
    aid_keep(free_der, der);
    *len = (size_t)der_len;
    return der;
}

X509 *aid_spoil_signature(X509 *cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);
    const unsigned char *p = der;
    AID_NEED(len > 0);
    der[len - 1] ^= 1;
    X509 *spoilt = d2i_X509(NULL, &p, len);
    AID_NEED(spoilt);
    OPENSSL_free(der);
    aid_keep(free_cert, spoilt);
    return spoilt;
}

STACK_OF(X509) *aid_stack(X509 *first, ...)
{
    STACK_OF(X509) *stack = sk_X509_new_null();
    va_list certs;

    AID_NEED(stack);
    va_start(certs, first);
    for (X509 *cert = first; cert != NULL; cert = va_arg(certs, X509 *)) {
        AID_NEED(sk_X509_push(stack, cert));
    }
    va_end(certs);
    aid_keep(free_stack, stack);
    return stack;
}

aid_cert aid_leaf_spec(void)
{
    aid_cert spec = {
        .subject = "CN=" LEAF_NAME,
        .key = 2,
        .issuer = aid_usual_pki()->inter,
        .issuer_key = 1,
        .san = "DNS:" LEAF_NAME,
        .aia = "OCSP;URI:" LEAF_OCSP_URL ",caIssuers;URI:" INTER_ISSUER_URL,
    };
    return spec;
}

const aid_pki *aid_usual_pki(void)
{
    if (pki.root != NULL) {
        return &pki;
    }
    aid_cert root = {.subject = "CN=Root,O=Lab", .key = 0, .is_ca = 1};
    root.not_before_s = NOW_S - 3650 * DAY_S;
    root.not_after_s = NOW_S + 3650 * DAY_S;
    pki.root = aid_make_cert(&root);

    root.subject = "CN=Other Root,O=Lab";
    root.key = 4;
    pki.other_root = aid_make_cert(&root);

    aid_cert inter = {.subject = "CN=Intermediate,O=Lab", .key = 1, .is_ca = 1};
    inter.issuer = pki.root;
    inter.issuer_key = 0;
    inter.not_before_s = NOW_S - 365 * DAY_S;
    inter.not_after_s = NOW_S + 365 * DAY_S;
    inter.basic_constraints = "critical,CA:TRUE,pathlen:0";
    inter.aia = "OCSP;URI:" INTER_OCSP_URL;
    pki.inter = aid_make_cert(&inter);

    aid_cert responder = {.subject = "CN=Responder,O=Lab", .key = 3, .eku = "OCSPSigning"};
    responder.issuer = pki.inter;
    responder.issuer_key = 1;
    responder.nocheck = "ignored";
    pki.responder = aid_make_cert(&responder);

    aid_cert leaf = aid_leaf_spec();
    pki.leaf = aid_make_cert(&leaf);
    return &pki;
}

/* ---- policies, anchors ---------------------------------------------------- */

stls_policy *aid_policy(const char *text, const stls_allocator *allocator)
{
    stls_error err = {""};
    stls_policy *policy = stls_policy_new(allocator);
    AID_NEED(policy);
    if (stls_policy_set_text(policy, text, &err) != STLS_OK
        || stls_policy_freeze(policy, &err) != STLS_OK) {
        fail_msg("policy \"%s\": %s", text, err.text);
    }
    aid_keep(free_policy, policy);
    return policy;
}

stls_anchors *aid_anchors(X509 *first, ...)
{
    stls_error err = {""};
    stls_anchors *anchors = stls_anchors_new(NULL);
    BIO *bio = BIO_new(BIO_s_mem());
    va_list certs;

    AID_NEED(anchors && bio);
    va_start(certs, first);
    for (X509 *cert = first; cert != NULL; cert = va_arg(certs, X509 *)) {
        AID_NEED(PEM_write_bio_X509(bio, cert));
    }
    va_end(certs);
    if (stls_anchors_load(anchors, bio, &err) != STLS_OK
        || stls_anchors_freeze(anchors, &err) != STLS_OK) {
        fail_msg("anchors: %s", err.text);
    }
    BIO_free(bio);
    aid_keep(free_anchors, anchors);
    return anchors;
}

stls_anchors *aid_usual_anchors(void)
{
    return aid_anchors(aid_usual_pki()->root, NULL);
}
