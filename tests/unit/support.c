#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define NEED(made)                                                                                 \
    do {                                                                                           \
        if (!(made)) {                                                                             \
            ERR_print_errors_fp(stderr);                                                           \
            fail_msg("%s:%d: cannot make: %s", __FILE__, __LINE__, #made);                         \
        }                                                                                          \
    } while (0)

/* ---- what aid_end() frees --------------------------------------------------- */

typedef void free_fn(void *);

typedef struct {
    free_fn *free;
    void *thing;
} kept_thing;

static kept_thing *kept;
static size_t num_kept, cap_kept;
static EVP_PKEY *keys[AID_NUM_KEYS];
static aid_pki pki;

/* Who issued what, so that issuers can answer for it. */
static struct {
    X509 *cert, *issuer;
    size_t issuer_key;
    aid_bytes good; /* what the issuer says, made when first asked for */
} issued[1024];
static size_t num_issued;

static void keep(free_fn *release, void *thing)
{
    if (num_kept == cap_kept) {
        cap_kept = cap_kept ? 2 * cap_kept : 256;
        NEED(kept = realloc(kept, cap_kept * sizeof(*kept)));
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

static void free_result(void *thing)
{
    stls_result_free(thing);
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
        NEED(keys[index] = EVP_EC_gen("P-256"));
    }
    return keys[index];
}

/* "CN=a,O=b"; values hold no comma. */
static void fill_name(X509_NAME *name, const char *text)
{
    while (text != NULL && *text != '\0') {
        char field[16], value[256];
        int used = 0;
        NEED(sscanf(text, "%15[^=]=%255[^,]%n", field, value, &used) == 2);
        NEED(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (unsigned char *)value, -1, -1,
                                        0));
        text += used;
        text += *text == ',';
    }
}

static void set_name(X509 *cert, const char *text, int (*set)(X509 *, const X509_NAME *))
{
    X509_NAME *name = X509_NAME_new();
    NEED(name);
    fill_name(name, text);
    NEED(set(cert, name));
    X509_NAME_free(name);
}

static void set_time(ASN1_TIME *field, int64_t time_s)
{
    NEED(ASN1_TIME_set(field, (time_t)time_s));
}

static void add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;

    if (value == NULL || *value == '\0') {
        return;
    }
    CONF *conf = NCONF_new(NULL); /* empty, yet some extensions insist on one */
    NEED(conf);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509V3_set_nconf(&ctx, conf);
    X509_EXTENSION *ext = X509V3_EXT_nconf_nid(conf, &ctx, nid, value);
    NEED(ext);
    NEED(X509_add_ext(cert, ext, -1));
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

    NEED(cert);
    NEED(X509_set_version(cert, (spec->version != 0 ? spec->version : 3) - 1));
    NEED(ASN1_INTEGER_set_int64(X509_get_serialNumber(cert),
                                spec->serial != 0 ? spec->serial : next_serial++));
    set_time(X509_getm_notBefore(cert),
             spec->not_before_s != 0 ? spec->not_before_s : NOW_S - 10 * DAY_S);
    set_time(X509_getm_notAfter(cert),
             spec->not_after_s != 0 ? spec->not_after_s : NOW_S + 90 * DAY_S);
    set_name(cert, spec->subject, X509_set_subject_name);
    if (spec->issuer_name != NULL) {
        set_name(cert, spec->issuer_name, X509_set_issuer_name);
    } else {
        NEED(X509_set_issuer_name(cert,
                                  X509_get_subject_name(spec->issuer ? spec->issuer : cert)));
    }
    NEED(X509_set_pubkey(cert, key));
    if (spec->version == 0 || spec->version == 3) {
        add_exts(cert, spec);
    }
    const EVP_MD *digest = EVP_get_digestbyname(or_else(spec->digest, "SHA256"));
    NEED(digest);
    NEED(X509_sign(cert, spec->issuer != NULL ? aid_key(spec->issuer_key) : key, digest));
    keep(free_cert, cert);
    NEED(num_issued < sizeof(issued) / sizeof(issued[0]));
    issued[num_issued].cert = cert;
    issued[num_issued].good = (aid_bytes){NULL, 0};
    issued[num_issued].issuer = spec->issuer;
    issued[num_issued++].issuer_key = spec->issuer_key;
    return cert;
}

const unsigned char *aid_der(const X509 *cert, size_t *len)
{
    unsigned char *der = NULL;
    int der_len = i2d_X509(cert, &der);
    NEED(der_len > 0);
    keep(free_der, der);
    *len = (size_t)der_len;
    return der;
}

X509 *aid_spoil_signature(X509 *cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);
    const unsigned char *p = der;
    NEED(len > 0);
    der[len - 1] ^= 1;
    X509 *spoilt = d2i_X509(NULL, &p, len);
    NEED(spoilt);
    OPENSSL_free(der);
    keep(free_cert, spoilt);
    return spoilt;
}

STACK_OF(X509) *aid_stack(X509 *first, ...)
{
    STACK_OF(X509) *stack = sk_X509_new_null();
    va_list certs;

    NEED(stack);
    va_start(certs, first);
    for (X509 *cert = first; cert != NULL; cert = va_arg(certs, X509 *)) {
        NEED(sk_X509_push(stack, cert));
    }
    va_end(certs);
    keep(free_stack, stack);
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

/* ---- OCSP responses ------------------------------------------------------- */

static ASN1_GENERALIZEDTIME *make_time(int64_t time_s)
{
    ASN1_GENERALIZEDTIME *time = ASN1_GENERALIZEDTIME_set(NULL, (time_t)time_s);
    NEED(time);
    return time;
}

static void add_single(OCSP_BASICRESP *basic, const aid_single *single)
{
    const EVP_MD *digest = EVP_get_digestbyname(or_else(single->digest, "SHA1"));
    OCSP_CERTID *id = OCSP_cert_to_id(digest, single->cert, single->issuer);
    int is_revoked = single->status == V_OCSP_CERTSTATUS_REVOKED;
    int64_t this_s = single->this_update_s != 0 ? single->this_update_s : NOW_S - HOUR_S;
    int64_t next_s = single->next_update_s != 0 ? single->next_update_s : NOW_S + DAY_S;
    ASN1_GENERALIZEDTIME *this_update = make_time(this_s);
    ASN1_GENERALIZEDTIME *next_update = single->next_update_s != -1 ? make_time(next_s) : NULL;
    ASN1_GENERALIZEDTIME *revoked_at = is_revoked ? make_time(NOW_S - 2 * DAY_S) : NULL;

    NEED(id);
    NEED(OCSP_basic_add1_status(basic, id, single->status, single->reason, revoked_at, this_update,
                                next_update));
    ASN1_GENERALIZEDTIME_free(revoked_at);
    ASN1_GENERALIZEDTIME_free(next_update);
    ASN1_GENERALIZEDTIME_free(this_update);
    OCSP_CERTID_free(id);
}

static void add_nonce(OCSP_BASICRESP *basic, const aid_ocsp *spec)
{
    if (spec->request != NULL) {
        const unsigned char *p = spec->request;
        OCSP_REQUEST *request = d2i_OCSP_REQUEST(NULL, &p, (long)spec->request_len);
        NEED(request);
        NEED(OCSP_copy_nonce(basic, request) > 0);
        OCSP_REQUEST_free(request);
    }
    if (spec->nonce != NULL) {
        NEED(OCSP_basic_add1_nonce(basic, (unsigned char *)spec->nonce,
                                   (int)strlen(spec->nonce)));
    }
}

static OCSP_BASICRESP *make_basic(const aid_ocsp *spec)
{
    int num = spec->num_singles == 0 ? spec->singles[0].cert != NULL
                                     : spec->num_singles > 0 ? spec->num_singles : 0;
    X509 *signer = spec->signer != NULL ? spec->signer : spec->singles[0].issuer;
    unsigned long flags = OCSP_NOTIME | (spec->by_key ? OCSP_RESPID_KEY : 0)
                          | (spec->no_certs || spec->with_cert ? OCSP_NOCERTS : 0);
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();

    NEED(basic);
    for (int i = 0; i < num; i++) {
        add_single(basic, &spec->singles[i]);
    }
    add_nonce(basic, spec);
    /* OpenSSL would take producedAt from the clock. */
    NEED(ASN1_GENERALIZEDTIME_set((ASN1_GENERALIZEDTIME *)OCSP_resp_get0_produced_at(basic),
                                  (time_t)(NOW_S - HOUR_S)));
    /* The signature does not cover the certificates sent along. */
    if (spec->with_cert != NULL) {
        NEED(OCSP_basic_add1_cert(basic, spec->with_cert));
    }
    EVP_PKEY *key = aid_key(spec->signer_key);
    int is_own_key = X509_check_private_key(signer, key);
    if (is_own_key) {
        NEED(OCSP_basic_sign(basic, signer, key,
                             EVP_get_digestbyname(or_else(spec->digest, "SHA256")), NULL, flags));
    } else {
        /* A forger signs in another's name, which OCSP_basic_sign() refuses. */
        X509 *forged = X509_dup(signer);
        NEED(forged && X509_set_pubkey(forged, key));
        NEED(OCSP_basic_sign(basic, forged, key, EVP_sha256(), NULL, flags | OCSP_NOCERTS));
        X509_free(forged);
    }
    return basic;
}

aid_bytes aid_make_ocsp(const aid_ocsp *spec)
{
    aid_bytes der = {NULL, 0};
    OCSP_BASICRESP *basic = spec->error_status == 0 ? make_basic(spec) : NULL;
    OCSP_RESPONSE *response = OCSP_response_create(spec->error_status, basic);

    ERR_clear_error(); /* a key compared with another leaves its mark */
    NEED(response);
    if (spec->spoil_signature) {
        const ASN1_OCTET_STRING *signature = OCSP_resp_get0_signature(basic);
        ((ASN1_OCTET_STRING *)signature)->data[signature->length - 1] ^= 1;
        OCSP_RESPONSE_free(response);
        NEED(response = OCSP_response_create(spec->error_status, basic));
    }
    int len = i2d_OCSP_RESPONSE(response, &der.bytes);
    NEED(len > 0);
    der.len = (size_t)len;
    keep(free_der, der.bytes);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    return der;
}

aid_bytes aid_ocsp_about(X509 *cert, X509 *issuer, size_t issuer_key, int status)
{
    aid_ocsp spec = {
        .singles = {{.cert = cert, .issuer = issuer, .status = status}},
        .signer_key = issuer_key,
    };
    return aid_make_ocsp(&spec);
}

/* ---- policies, anchors ---------------------------------------------------- */

stls_policy *aid_policy(const char *text, const stls_allocator *allocator)
{
    stls_error err = {""};
    stls_policy *policy = stls_policy_new(allocator);
    NEED(policy);
    if (stls_policy_set_text(policy, text, &err) != STLS_OK
        || stls_policy_freeze(policy, &err) != STLS_OK) {
        fail_msg("policy \"%s\": %s", text, err.text);
    }
    keep(free_policy, policy);
    return policy;
}

stls_anchors *aid_anchors(X509 *first, ...)
{
    stls_error err = {""};
    stls_anchors *anchors = stls_anchors_new(NULL);
    BIO *bio = BIO_new(BIO_s_mem());
    va_list certs;

    NEED(anchors && bio);
    va_start(certs, first);
    for (X509 *cert = first; cert != NULL; cert = va_arg(certs, X509 *)) {
        NEED(PEM_write_bio_X509(bio, cert));
    }
    va_end(certs);
    if (stls_anchors_load(anchors, bio, &err) != STLS_OK
        || stls_anchors_freeze(anchors, &err) != STLS_OK) {
        fail_msg("anchors: %s", err.text);
    }
    BIO_free(bio);
    keep(free_anchors, anchors);
    return anchors;
}

stls_anchors *aid_usual_anchors(void)
{
    return aid_anchors(aid_usual_pki()->root, NULL);
}

/* ---- whole checks ----------------------------------------------------------- */

stls_check *aid_new_check(const aid_case *c, const stls_allocator *allocator)
{
    const aid_pki *usual = aid_usual_pki();
    const char *name = or_else(c->name, LEAF_NAME);
    stls_policy *policy = aid_policy(or_else(c->policy, ""), allocator);
    stls_anchors *anchors = c->anchors != NULL ? c->anchors : aid_usual_anchors();
    stls_check *check = stls_check_new(policy, anchors, c->role ? c->role : STLS_ROLE_SERVER);

    NEED(check);
    stls_check_add_certs(check, c->certs != NULL ? c->certs
                                                 : aid_stack(usual->leaf, usual->inter, NULL));
    if (*name != '\0') {
        stls_check_set_name(check, name, strlen(name));
    }
    if (c->staple.bytes != NULL) {
        stls_check_add_staple(check, 0, c->staple.bytes, c->staple.len);
    }
    return check;
}

static stls_reply issuer_says_good(const aid_case *c, size_t cert_index)
{
    const aid_pki *usual = aid_usual_pki();
    X509 *cert = c->certs != NULL ? sk_X509_value(c->certs, (int)cert_index)
                                  : cert_index == 0 ? usual->leaf : usual->inter;
    for (size_t i = 0; i < num_issued; i++) {
        if (issued[i].cert == cert) {
            if (issued[i].good.bytes == NULL) {
                issued[i].good = aid_ocsp_about(cert, issued[i].issuer, issued[i].issuer_key,
                                                V_OCSP_CERTSTATUS_GOOD);
            }
            return (stls_reply){STLS_FETCH_OK, issued[i].good.bytes, issued[i].good.len, NULL};
        }
    }
    return (stls_reply){.outcome = STLS_FETCH_NETWORK, .detail = "no issuer known"};
}

stls_reply aid_reply_to(const aid_case *c, const stls_fetch *fetch)
{
    assert_true(fetch->cert_index < AID_MAX_CERTS);
    const aid_reply *reply = &c->replies[fetch->cert_index];
    if (reply->outcome == 0 && fetch->is_crl) {
        return (stls_reply){.outcome = STLS_FETCH_NETWORK, .detail = "nobody publishes CRLs"};
    }
    if (reply->outcome == 0 || (reply->outcome == STLS_FETCH_CACHED && !fetch->may_use_cache)) {
        return issuer_says_good(c, fetch->cert_index);
    }
    return (stls_reply){reply->outcome, reply->bytes.bytes, reply->bytes.len, NULL};
}

stls_verdict aid_finish(const aid_case *c, stls_check *check, size_t *num_fetches)
{
    stls_verdict verdict = stls_check_start(check, NOW_S);
    stls_fetch fetch;

    *num_fetches = 0;
    while (stls_check_next_fetch(check, &fetch)) {
        stls_reply reply = aid_reply_to(c, &fetch);
        verdict = stls_check_feed(check, fetch.id, &reply, NOW_S);
        ++*num_fetches;
    }
    return verdict;
}

static stls_result *judge(const aid_case *c, size_t *num_fetches)
{
    stls_check *check = aid_new_check(c, NULL);
    stls_verdict verdict = aid_finish(c, check, num_fetches);
    stls_result *result = stls_check_get1_result(check);

    stls_check_free(check); /* the result outlives it */
    NEED(result);
    keep(free_result, result);
    assert_int_equal(stls_result_verdict(result), verdict);
    assert_true(verdict != STLS_PENDING);
    return result;
}

stls_result *aid_judge(const aid_case *c)
{
    size_t num_fetches;
    return judge(c, &num_fetches);
}

size_t aid_count_fetches(const aid_case *c)
{
    size_t num_fetches;
    judge(c, &num_fetches);
    return num_fetches;
}

size_t aid_findings(const stls_result *result, stls_reason reason, const char *severity)
{
    size_t len, num = 0, i;
    json_t *report, *finding;

    const char *text = stls_result_get0_report(result, &len);
    NEED(report = json_loadb(text, len, 0, NULL));
    json_array_foreach (json_object_get(report, "findings"), i, finding) {
        const char *id = json_string_value(json_object_get(finding, "reason"));
        const char *how = json_string_value(json_object_get(finding, "severity"));
        num += strcmp(id, stls_reason_id(reason)) == 0
               && (severity == NULL || strcmp(how, severity) == 0);
    }
    json_decref(report);
    return num;
}

void aid_assert_result(const stls_result *result, stls_verdict verdict, stls_reason reason,
                       const char *what, const char *file, int line)
{
    if (stls_result_verdict(result) != verdict || stls_result_reason(result) != reason) {
        char log[600];
        stls_result_log_line(result, NULL, log, sizeof(log));
        fail_msg("%s:%d: %s: wanted verdict %d and %s, got: %s", file, line, what, verdict,
                 stls_reason_id(reason), log);
    }
}
