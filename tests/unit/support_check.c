/* OCSP responses and whole checks; certificates and the rest are in support.c. */
#include "support.h"

#include <stdlib.h>

#include <jansson.h>
#include <openssl/err.h>

static const char *or_else(const char *value, const char *fallback)
{
    return value != NULL ? value : fallback;
}

static void free_der(void *thing)
{
    OPENSSL_free(thing);
}

static void free_result(void *thing)
{
    stls_result_free(thing);
}

/* ---- OCSP responses ------------------------------------------------------- */

static ASN1_GENERALIZEDTIME *make_time(int64_t time_s)
{
    ASN1_GENERALIZEDTIME *time = ASN1_GENERALIZEDTIME_set(NULL, (time_t)time_s);
    AID_NEED(time);
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

    AID_NEED(id);
    OCSP_SINGLERESP *made = OCSP_basic_add1_status(basic, id, single->status, single->reason,
                                                   revoked_at, this_update, next_update);
    AID_NEED(made);
    if (single->archive_cutoff_s != 0) {
        ASN1_GENERALIZEDTIME *cutoff = make_time(single->archive_cutoff_s);
        AID_NEED(OCSP_SINGLERESP_add1_ext_i2d(made, NID_id_pkix_OCSP_archiveCutoff, cutoff, 0, 0));
        ASN1_GENERALIZEDTIME_free(cutoff);
    }
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
        AID_NEED(request);
        AID_NEED(OCSP_copy_nonce(basic, request) > 0);
        OCSP_REQUEST_free(request);
    }
    if (spec->nonce != NULL) {
        AID_NEED(
            OCSP_basic_add1_nonce(basic, (unsigned char *)spec->nonce, (int)strlen(spec->nonce)));
    }
}

static OCSP_BASICRESP *make_basic(const aid_ocsp *spec)
{
    int num = spec->num_singles == 0  ? spec->singles[0].cert != NULL
              : spec->num_singles > 0 ? spec->num_singles
                                      : 0;
    X509 *signer = spec->signer != NULL ? spec->signer : spec->singles[0].issuer;
    unsigned long flags = OCSP_NOTIME | (spec->by_key ? OCSP_RESPID_KEY : 0)
                          | (spec->no_certs || spec->with_cert ? OCSP_NOCERTS : 0);
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();

    AID_NEED(basic);
    for (int i = 0; i < num; i++) {
        add_single(basic, &spec->singles[i]);
    }
    add_nonce(basic, spec);
    /* OpenSSL would take producedAt from the clock. */
    AID_NEED(ASN1_GENERALIZEDTIME_set((ASN1_GENERALIZEDTIME *)OCSP_resp_get0_produced_at(basic),
                                      (time_t)(NOW_S - HOUR_S)));
    if (spec->shape != NULL) {
        spec->shape(basic);
    }
    /* The signature does not cover the certificates sent along. */
    if (spec->with_cert != NULL) {
        AID_NEED(OCSP_basic_add1_cert(basic, spec->with_cert));
    }
    EVP_PKEY *key = aid_key(spec->signer_key);
    int is_own_key = X509_check_private_key(signer, key);
    if (is_own_key) {
        AID_NEED(OCSP_basic_sign(basic, signer, key,
                                 aid_digest(key, or_else(spec->digest, "SHA256")), NULL, flags));
    } else {
        /* A forger signs in another's name, which OCSP_basic_sign() refuses. */
        X509 *forged = X509_dup(signer);
        AID_NEED(forged && X509_set_pubkey(forged, key));
        AID_NEED(OCSP_basic_sign(basic, forged, key, EVP_sha256(), NULL, flags | OCSP_NOCERTS));
        X509_free(forged);
    }
    if (spec->reshape != NULL) {
        spec->reshape(basic);
        AID_NEED(ASN1_item_sign(ASN1_ITEM_rptr(OCSP_RESPDATA),
                                (X509_ALGOR *)OCSP_resp_get0_tbs_sigalg(basic), NULL,
                                (ASN1_BIT_STRING *)OCSP_resp_get0_signature(basic),
                                (void *)OCSP_resp_get0_respdata(basic), key, EVP_sha256()));
    }
    return basic;
}

aid_bytes aid_make_ocsp(const aid_ocsp *spec)
{
    aid_bytes der = {NULL, 0};
    OCSP_BASICRESP *basic = spec->error_status == 0 ? make_basic(spec) : NULL;
    OCSP_RESPONSE *response = OCSP_response_create(spec->error_status, basic);

    ERR_clear_error(); /* a key compared with another leaves its mark */
    AID_NEED(response);
    if (spec->spoil_signature) {
        const ASN1_OCTET_STRING *signature = OCSP_resp_get0_signature(basic);
        ((ASN1_OCTET_STRING *)signature)->data[signature->length - 1] ^= 1;
        OCSP_RESPONSE_free(response);
        AID_NEED(response = OCSP_response_create(spec->error_status, basic));
    }
    int len = i2d_OCSP_RESPONSE(response, &der.bytes);
    AID_NEED(len > 0);
    der.len = (size_t)len;
    aid_keep(free_der, der.bytes);
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

/* ---- whole checks ----------------------------------------------------------- */

stls_check *aid_new_check(const aid_case *c, const stls_allocator *allocator)
{
    const aid_pki *usual = aid_usual_pki();
    const char *name = or_else(c->name, LEAF_NAME);
    stls_policy *policy = aid_policy(or_else(c->policy, ""), allocator);
    stls_anchors *anchors = c->anchors != NULL ? c->anchors : aid_usual_anchors();
    stls_check *check = stls_check_new(policy, anchors, c->role ? c->role : STLS_ROLE_SERVER);

    AID_NEED(check);
    stls_check_add_certs(check,
                         c->certs != NULL ? c->certs : aid_stack(usual->leaf, usual->inter, NULL));
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
    X509 *cert = c->certs != NULL  ? sk_X509_value(c->certs, (int)cert_index)
                 : cert_index == 0 ? usual->leaf
                                   : usual->inter;
    aid_issued *issued = aid_find_issued(cert);
    if (issued == NULL) {
        return (stls_reply){.outcome = STLS_FETCH_NETWORK, .detail = "no issuer known"};
    }
    if (issued->good.bytes == NULL) {
        issued->good = aid_ocsp_about(cert, issued->issuer, issued->issuer_key,
                                      V_OCSP_CERTSTATUS_GOOD);
    }
    return (stls_reply){STLS_FETCH_OK, issued->good.bytes, issued->good.len, NULL};
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
    AID_NEED(result);
    aid_keep(free_result, result);
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

stls_reason aid_reason(stls_check *check)
{
    stls_result *result = stls_check_get1_result(check);
    AID_NEED(result);
    stls_reason reason = stls_result_reason(result);
    stls_result_free(result);
    return reason;
}

stls_reason aid_conclude(stls_check *check)
{
    stls_reason reason = aid_reason(check);
    assert_int_equal(stls_check_verdict(check) == STLS_ACCEPT, reason == STLS_REASON_NONE);
    stls_check_free(check);
    return reason;
}

size_t aid_findings(const stls_result *result, stls_reason reason, const char *severity)
{
    size_t len, num = 0, i;
    json_t *report, *finding;

    const char *text = stls_result_get0_report(result, &len);
    AID_NEED(report = json_loadb(text, len, 0, NULL));
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
