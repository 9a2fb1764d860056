#include "support.h"

#include <stdlib.h>

#include <openssl/err.h>

#include "ocsp_request.h"
#include "ocsp_response.h"

#define GOOD STLS_REASON_NONE
#define REVOKED STLS_REASON_OCSP_REVOKED
#define STALE STLS_REASON_OCSP_STALE
#define UNAUTHORIZED STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER
#define BAD_SIGNATURE STLS_REASON_OCSP_BAD_SIGNATURE
#define WRONG_CERT STLS_REASON_OCSP_WRONG_CERTIFICATE
#define MALFORMED STLS_REASON_OCSP_MALFORMED

static stls_ocsp_answer judge_der(const char *policy, const unsigned char *der, size_t len,
                                  OCSP_REQUEST *request)
{
    const aid_pki *pki = aid_usual_pki();
    stls_ocsp_answer answer;
    stls_policy *frozen = aid_policy(policy, NULL);
    stls_work work;
    stls_work_init(&work, frozen);
    stls_ocsp_judge(&answer, frozen, &work, pki->leaf, pki->inter, der, len, request, NOW_S);
    return answer;
}

static stls_ocsp_answer judge(const char *policy, const aid_ocsp *spec)
{
    aid_bytes der = aid_make_ocsp(spec);
    return judge_der(policy, der.bytes, der.len, NULL);
}

/* About the usual leaf, signed by its issuer. */
static aid_ocsp usual(int status)
{
    const aid_pki *pki = aid_usual_pki();
    aid_ocsp spec = {
        .singles = {{.cert = pki->leaf, .issuer = pki->inter, .status = status}},
        .signer_key = 1,
    };
    return spec;
}

#define assert_judged(what, policy, spec, reason)                                                  \
    assert_answer(what, judge(policy, spec), reason, __LINE__)

static void assert_answer(const char *what, stls_ocsp_answer answer, stls_reason reason, int line)
{
    if (answer.reason != reason) {
        fail_msg("line %d: %s: wanted %s, got %s: %s", line, what, stls_reason_id(reason),
                 stls_reason_id(answer.reason), answer.detail);
    }
    stls_ocsp_answer_clear(&answer);
}

/* ---- status ----------------------------------------------------------------- */

static void trap_2_statuses(void **state)
{
    aid_ocsp good = usual(V_OCSP_CERTSTATUS_GOOD), revoked = usual(V_OCSP_CERTSTATUS_REVOKED),
             unknown = usual(V_OCSP_CERTSTATUS_UNKNOWN);
    (void)state;
    assert_judged("good", "", &good, GOOD);
    assert_judged("revoked", "", &revoked, REVOKED);
    assert_judged("unknown", "", &unknown, STLS_REASON_OCSP_UNKNOWN);
}

static void trap_2_error_statuses(void **state)
{
    static const int statuses[] = {
        OCSP_RESPONSE_STATUS_MALFORMEDREQUEST,
        OCSP_RESPONSE_STATUS_INTERNALERROR,
        OCSP_RESPONSE_STATUS_TRYLATER,
        OCSP_RESPONSE_STATUS_SIGREQUIRED,
        OCSP_RESPONSE_STATUS_UNAUTHORIZED,
        4 /* not used */,
        99 /* unheard of */,
    };
    (void)state;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        aid_ocsp spec = {.error_status = statuses[i]};
        assert_judged("error status", "", &spec, STLS_REASON_OCSP_ERROR_STATUS);
    }
}

static void revocation_carries_time_and_reason(void **state)
{
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_REVOKED);
    (void)state;
    spec.singles[0].reason = OCSP_REVOKED_STATUS_KEYCOMPROMISE;
    stls_ocsp_answer answer = judge("", &spec);
    assert_int_equal(answer.reason, REVOKED);
    assert_int_equal(answer.revoked_at_s, NOW_S - 2 * DAY_S);
    assert_int_equal(answer.revocation_reason, OCSP_REVOKED_STATUS_KEYCOMPROMISE);
}

/* ---- time: trap 5 ------------------------------------------------------------ */

static void trap_5_times(void **state)
{
    static const struct {
        const char *what, *policy;
        int64_t this_update_s, next_update_s; /* from now; next 0: absent */
        stls_reason reason;
    } rows[] = {
        {"current", "", -HOUR_S, HOUR_S, GOOD},
        {"a year long", "", -300 * DAY_S, 60 * DAY_S, GOOD},
        {"ended", "", -2 * DAY_S, -DAY_S, STALE},
        {"ended within the skew", "", -DAY_S, -300, GOOD},
        {"ended just beyond the skew", "", -DAY_S, -301, STALE},
        {"ended, no skew", "clock_skew_s=0", -DAY_S, -1, STALE},
        {"ends now, no skew", "clock_skew_s=0", -DAY_S, 0x7fffffff, GOOD},
        {"begins later", "", HOUR_S, DAY_S, STLS_REASON_OCSP_FUTURE},
        {"begins within the skew", "", 300, DAY_S, GOOD},
        {"begins just beyond the skew", "", 301, DAY_S, STLS_REASON_OCSP_FUTURE},
        {"begins later, no skew", "clock_skew_s=0", 1, DAY_S, STLS_REASON_OCSP_FUTURE},
        {"no end, young", "", -DAY_S, 0, GOOD},
        {"no end, of the maximum age", "", -7 * DAY_S, 0, GOOD},
        {"no end, older", "", -7 * DAY_S - 1, 0, STALE},
        {"no end, younger limit", "ocsp_max_age_s=3600", -HOUR_S - 1, 0, STALE},
        {"no end, from the future", "", HOUR_S, 0, STLS_REASON_OCSP_FUTURE},
        {"the maximum age binds only without an end", "ocsp_max_age_s=60", -DAY_S, DAY_S, GOOD},
        {"ends before it begins", "", 100, -100, MALFORMED},
        {"replayed from long ago", "", -900 * DAY_S, -890 * DAY_S, STALE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
        spec.singles[0].this_update_s = NOW_S + rows[i].this_update_s;
        spec.singles[0].next_update_s = rows[i].next_update_s != 0 ? NOW_S + rows[i].next_update_s
                                                                   : -1;
        if (rows[i].next_update_s == 0x7fffffff) {
            spec.singles[0].next_update_s = NOW_S;
        }
        assert_judged(rows[i].what, rows[i].policy, &spec, rows[i].reason);
    }
}

static void answer_tells_how_long_it_serves(void **state)
{
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
    (void)state;
    stls_ocsp_answer answer = judge("clock_skew_s=0", &spec);
    assert_int_equal(answer.this_update_s, NOW_S - HOUR_S);
    assert_int_equal(answer.next_update_s, NOW_S + DAY_S);
    assert_int_equal(answer.use_until_s, NOW_S + DAY_S);
    spec.singles[0].next_update_s = -1;
    answer = judge("ocsp_max_age_s=7200", &spec);
    assert_int_equal(answer.next_update_s, 0);
    assert_int_equal(answer.use_until_s, NOW_S + HOUR_S);
}

/* ---- about which certificate: trap 1 ------------------------------------------- */

static void trap_1_another_certificates_answer(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert leaf = aid_leaf_spec();
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
    int64_t serial;

    (void)state;
    spec.singles[0].cert = aid_make_cert(&leaf);
    assert_judged("another leaf", "", &spec, WRONG_CERT);

    /* The same serial under another issuer, signed by this one. */
    assert_true(ASN1_INTEGER_get_int64(&serial, X509_get0_serialNumber(pki->leaf)));
    leaf.serial = serial;
    leaf.issuer = pki->root;
    leaf.issuer_key = 0;
    spec.singles[0].cert = aid_make_cert(&leaf);
    spec.singles[0].issuer = pki->root;
    spec.signer = pki->inter;
    assert_judged("another issuer", "", &spec, WRONG_CERT);

    /* A serial that begins with this one's bytes. */
    leaf = aid_leaf_spec();
    leaf.serial = serial << 8;
    spec = usual(V_OCSP_CERTSTATUS_GOOD);
    spec.singles[0].cert = aid_make_cert(&leaf);
    assert_judged("serial prefix", "", &spec, WRONG_CERT);
}

static void trap_1_other_single_responses_first(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert leaf = aid_leaf_spec();
    X509 *other = aid_make_cert(&leaf);
    aid_single ours = {.cert = pki->leaf, .issuer = pki->inter};
    aid_single theirs = {.cert = other, .issuer = pki->inter};
    aid_ocsp spec = {.num_singles = 3, .signer = pki->inter, .signer_key = 1};

    (void)state;
    spec.singles[0] = spec.singles[1] = theirs;
    spec.singles[2] = ours;
    assert_judged("ours is last, good", "", &spec, GOOD);
    spec.singles[2].status = V_OCSP_CERTSTATUS_REVOKED;
    assert_judged("ours is last, revoked", "", &spec, REVOKED);
    spec.singles[2] = ours;
    spec.singles[0].status = V_OCSP_CERTSTATUS_REVOKED;
    assert_judged("another is revoked", "", &spec, GOOD);
}

/* RFC 6960 section 4.4.4: how far back a responder keeps answers makes none of them any better. */
static void archive_cutoff_changes_nothing(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    const int64_t cutoffs_s[] = {NOW_S - 1000 * DAY_S, NOW_S, NOW_S + 1000 * DAY_S};

    (void)state;
    for (size_t i = 0; i < sizeof(cutoffs_s) / sizeof(cutoffs_s[0]); i++) {
        aid_single single = {
            .cert = pki->leaf, .issuer = pki->inter, .archive_cutoff_s = cutoffs_s[i]};
        aid_ocsp spec = {.num_singles = 1, .signer = pki->inter, .signer_key = 1};
        spec.singles[0] = single;
        assert_judged("good", "", &spec, GOOD);
        spec.singles[0].status = V_OCSP_CERTSTATUS_REVOKED;
        assert_judged("revoked", "", &spec, REVOKED);
        spec.singles[0] = single;
        spec.singles[0].this_update_s = NOW_S - 9 * DAY_S;
        spec.singles[0].next_update_s = NOW_S - 8 * DAY_S;
        assert_judged("stale", "", &spec, STLS_REASON_OCSP_STALE);
    }
    /* Nor does it make an expired certificate any better. */
    aid_cert old = aid_leaf_spec();
    old.not_after_s = NOW_S - DAY_S;
    X509 *expired = aid_make_cert(&old);
    aid_ocsp spec = {.num_singles = 1, .signer = pki->inter, .signer_key = 1};
    spec.singles[0] = (aid_single){
        .cert = expired, .issuer = pki->inter, .archive_cutoff_s = NOW_S - 1000 * DAY_S};
    aid_case c = {.certs = aid_stack(expired, pki->inter, NULL), .staple = aid_make_ocsp(&spec)};
    assert_case("expired", &c, STLS_REJECT, STLS_REASON_CHAIN_EXPIRED);
}

static void of_several_answers_revoked_wins(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_single good = {.cert = pki->leaf, .issuer = pki->inter};
    aid_single revoked = good, unknown = good, stale = good;
    revoked.status = V_OCSP_CERTSTATUS_REVOKED;
    unknown.status = V_OCSP_CERTSTATUS_UNKNOWN;
    stale.this_update_s = NOW_S - 9 * DAY_S;
    stale.next_update_s = NOW_S - 8 * DAY_S;
    const struct {
        const char *what;
        aid_single a, b;
        stls_reason reason;
    } rows[] = {
        {"good, revoked", good, revoked, REVOKED},
        {"revoked, good", revoked, good, REVOKED},
        {"unknown, good", unknown, good, GOOD},
        {"good, unknown", good, unknown, GOOD},
        {"stale, good", stale, good, GOOD},
        {"good, stale", good, stale, GOOD},
        {"revoked, unknown", revoked, unknown, REVOKED},
        {"stale, revoked", stale, revoked, REVOKED},
        {"stale, stale", stale, stale, STALE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_ocsp spec = {.num_singles = 2, .signer = pki->inter, .signer_key = 1};
        spec.singles[0] = rows[i].a;
        spec.singles[1] = rows[i].b;
        assert_judged(rows[i].what, "", &spec, rows[i].reason);
    }
}

/* Two that are alike, or one of them in its grace: the newer counts, wherever it stands. */
static void the_order_of_answers_is_of_no_account(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    const aid_single fresh = {.cert = pki->leaf, .issuer = pki->inter};
    aid_single older = fresh, graced = fresh;
    older.this_update_s = NOW_S - 2 * HOUR_S;
    older.next_update_s = NOW_S + 2 * DAY_S;
    graced.this_update_s = NOW_S - HOUR_S / 2;
    graced.next_update_s = NOW_S - HOUR_S / 4;
    const aid_single *const others[] = {&older, &graced};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        aid_ocsp spec = {.num_singles = 2, .signer = pki->inter, .signer_key = 1};
        spec.singles[i % 2] = fresh;
        spec.singles[1 - i % 2] = *others[i / 2];
        stls_ocsp_answer answer = judge("clock_skew_s=0 stale_grace_s=7200", &spec);
        assert_int_equal(answer.reason, GOOD);
        assert_int_equal(answer.is_grace, 0);
        assert_int_equal(answer.next_update_s, NOW_S + DAY_S);
        stls_ocsp_answer_clear(&answer);
    }
}

static void trap_15_empty_list(void **state)
{
    aid_ocsp spec = {.num_singles = -1, .signer = aid_usual_pki()->inter, .signer_key = 1};
    (void)state;
    assert_judged("no single response", "", &spec, WRONG_CERT);
}

static void certid_digests(void **state)
{
    static const struct {
        const char *digest;
        stls_reason reason;
    } rows[] = {{"SHA1", GOOD}, {"SHA256", GOOD}, {"SHA384", WRONG_CERT}, {"MD5", WRONG_CERT}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
        spec.singles[0].digest = rows[i].digest;
        assert_judged(rows[i].digest, "", &spec, rows[i].reason);
    }
}

/* ---- who signed: trap 4 --------------------------------------------------------- */

/* A responder's certificate (key 3), and what its answer is worth. */
static stls_ocsp_answer by_responder(const aid_cert *responder)
{
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
    spec.signer = aid_make_cert(responder);
    spec.signer_key = 3;
    return judge("", &spec);
}

static aid_cert responder_spec(void)
{
    aid_cert spec = {.subject = "CN=Responder,O=Lab", .key = 3, .eku = "OCSPSigning"};
    spec.issuer = aid_usual_pki()->inter;
    spec.issuer_key = 1;
    spec.nocheck = "ignored";
    return spec;
}

static void trap_4_delegated_responders(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert r = responder_spec();

    (void)state;
    assert_answer("as it should be", by_responder(&r), GOOD, __LINE__);

    r.eku = "";
    assert_answer("no usage", by_responder(&r), UNAUTHORIZED, __LINE__);
    r.eku = "serverAuth,clientAuth";
    assert_answer("other usages", by_responder(&r), UNAUTHORIZED, __LINE__);
    r.eku = "anyExtendedKeyUsage";
    assert_answer("any usage", by_responder(&r), UNAUTHORIZED, __LINE__);

    r = responder_spec();
    r.nocheck = NULL;
    stls_ocsp_answer open = by_responder(&r);
    assert_non_null(open.responder); /* good only if the responder turns out good itself */
    assert_answer("its own revocation is open", open, GOOD, __LINE__);

    r = responder_spec();
    r.issuer = pki->root; /* a CA above, but not the issuer */
    r.issuer_key = 0;
    assert_answer("issued by the root", by_responder(&r), UNAUTHORIZED, __LINE__);

    r = responder_spec();
    r.issuer = pki->other_root;
    r.issuer_key = 4;
    assert_answer("issued by another CA", by_responder(&r), UNAUTHORIZED, __LINE__);

    r = responder_spec();
    r.issuer = NULL;
    assert_answer("self-signed", by_responder(&r), UNAUTHORIZED, __LINE__);

    r = responder_spec();
    r.issuer_key = 5; /* claims the issuer, signed by another key */
    assert_answer("forged certificate", by_responder(&r), UNAUTHORIZED, __LINE__);

    r = responder_spec();
    r.not_after_s = NOW_S - 1;
    assert_answer("expired", by_responder(&r), UNAUTHORIZED, __LINE__);

    r = responder_spec();
    r.not_before_s = NOW_S + 1000;
    assert_answer("not yet valid", by_responder(&r), UNAUTHORIZED, __LINE__);

    r = responder_spec();
    r.key_usage = "critical,keyEncipherment";
    assert_answer("key may not sign", by_responder(&r), UNAUTHORIZED, __LINE__);

    r = responder_spec();
    r.key_usage = "";
    assert_answer("no key usage at all", by_responder(&r), GOOD, __LINE__);

    r = responder_spec();
    r.unknown = "critical,DER:0500";
    assert_answer("unknown critical extension", by_responder(&r), UNAUTHORIZED, __LINE__);
}

/* The answer with this certificate before, or behind, those that it brings. */
static stls_ocsp_answer with_another(aid_bytes answer, X509 *other, int is_first)
{
    const unsigned char *p = answer.bytes;
    unsigned char *der = NULL;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)answer.len);
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    STACK_OF(X509) *certs = (STACK_OF(X509) *)OCSP_resp_get0_certs(basic);
    AID_NEED(basic && X509_up_ref(other) && sk_X509_insert(certs, other, is_first ? 0 : -1) > 0);
    OCSP_RESPONSE *whole = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    int len = i2d_OCSP_RESPONSE(whole, &der);
    AID_NEED(len > 0);
    stls_ocsp_answer judged = judge_der("", der, (size_t)len, NULL);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(whole);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return judged;
}

/* Several certificates for the responder's name: whichever is the right one, in either order. */
static void several_certificates_of_the_responder(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert expired = responder_spec(), another_key = responder_spec(),
             stranger = responder_spec();
    aid_cert no_usage = responder_spec(), right = responder_spec();
    expired.not_after_s = NOW_S - 1;
    another_key.key = 5;
    no_usage.eku = "serverAuth";
    stranger.issuer = pki->other_root;
    stranger.issuer_key = 4;
    const aid_cert *const others[] = {&expired, &another_key, &no_usage, &stranger};
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
    (void)state;
    spec.signer = aid_make_cert(&right);
    spec.signer_key = 3;
    aid_bytes answer = aid_make_ocsp(&spec);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        X509 *other = aid_make_cert(others[i]);
        assert_answer("before", with_another(answer, other, 1), GOOD, __LINE__);
        assert_answer("behind", with_another(answer, other, 0), GOOD, __LINE__);
    }
    /* Without the right one, what is wrong with the nearest is told. */
    spec.with_cert = aid_make_cert(&expired);
    answer = aid_make_ocsp(&spec);
    X509 *other = aid_make_cert(&another_key);
    assert_answer("before", with_another(answer, other, 1), UNAUTHORIZED, __LINE__);
    assert_answer("behind", with_another(answer, other, 0), UNAUTHORIZED, __LINE__);
}

/* A responder that bears its issuer's name, and signs with another kind of key. */
static void responder_of_the_issuers_name(void **state)
{
    aid_cert named = responder_spec();
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
    (void)state;
    aid_set_key(9, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    named.subject = "CN=Intermediate,O=Lab";
    named.key = 9;
    spec.signer = aid_make_cert(&named);
    spec.signer_key = 9;
    assert_judged("Ed25519 below a P-256 CA", "", &spec, GOOD);
}

/* A responder issued by an intermediate of the issuer's is not issued directly. */
static void trap_4_responder_below_a_sub_ca(void **state)
{
    aid_cert sub = {.subject = "CN=Sub,O=Lab", .key = 6, .is_ca = 1};
    aid_cert r = responder_spec();
    (void)state;
    sub.issuer = aid_usual_pki()->inter;
    sub.issuer_key = 1;
    r.issuer = aid_make_cert(&sub);
    r.issuer_key = 6;
    assert_answer("sub CA", by_responder(&r), UNAUTHORIZED, __LINE__);
}

static void signatures(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);

    (void)state;
    spec.by_key = 1;
    assert_judged("responder named by key", "", &spec, GOOD);
    spec.no_certs = 1;
    assert_judged("issuer sends no certificate", "", &spec, GOOD);

    spec = usual(V_OCSP_CERTSTATUS_GOOD);
    spec.spoil_signature = 1;
    assert_judged("altered", "", &spec, BAD_SIGNATURE);

    spec = usual(V_OCSP_CERTSTATUS_GOOD);
    spec.signer_key = 5;
    assert_judged("in the issuer's name by another key", "", &spec, BAD_SIGNATURE);

    spec = usual(V_OCSP_CERTSTATUS_GOOD);
    spec.signer = pki->responder;
    spec.signer_key = 3;
    spec.spoil_signature = 1;
    assert_judged("delegated, altered", "", &spec, BAD_SIGNATURE);
    spec.spoil_signature = 0;
    spec.no_certs = 1;
    assert_judged("delegated, certificate not sent", "", &spec, UNAUTHORIZED);
    spec.no_certs = 0;
    spec.with_cert = pki->leaf;
    assert_judged("delegated, another certificate sent", "", &spec, UNAUTHORIZED);

    spec = usual(V_OCSP_CERTSTATUS_GOOD);
    spec.signer = pki->root;
    spec.signer_key = 0;
    assert_judged("signed by the root", "", &spec, UNAUTHORIZED);

    spec = usual(V_OCSP_CERTSTATUS_GOOD);
    spec.signer = pki->leaf;
    spec.signer_key = 2;
    assert_judged("signed by the certificate itself", "", &spec, UNAUTHORIZED);

    spec = usual(V_OCSP_CERTSTATUS_REVOKED);
    spec.signer_key = 5;
    assert_judged("a forged revocation is none", "", &spec, BAD_SIGNATURE);
}

static void weak_digests(void **state)
{
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
    (void)state;
    spec.digest = "SHA1";
    assert_judged("SHA-1", "", &spec, BAD_SIGNATURE);
    assert_judged("SHA-1 at level 0", "security_level=0", &spec, GOOD);
    spec.digest = "SHA384";
    assert_judged("SHA-384", "", &spec, GOOD);
}

/* ---- nonce ------------------------------------------------------------------------ */

static void nonces(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_ocsp_request with, without;
    stls_allocator a = stls_libc_allocator;

    (void)state;
    assert_int_equal(stls_ocsp_request_make(&with, &a, pki->leaf, pki->inter, "http://a/", 1),
                     STLS_OK);
    assert_int_equal(stls_ocsp_request_make(&without, &a, pki->leaf, pki->inter, "http://a/", 0),
                     STLS_OK);
    aid_ocsp same = usual(V_OCSP_CERTSTATUS_GOOD), none = same, other = same;
    same.request = with.der;
    same.request_len = with.der_len;
    other.nonce = "another nonce of some length";
    const struct {
        const char *what;
        const aid_ocsp *response;
        OCSP_REQUEST *request;
        stls_reason reason;
    } rows[] = {
        {"sent and came back", &same, with.request, GOOD},
        {"sent and did not come back", &none, with.request, STLS_REASON_OCSP_NONCE_MISMATCH},
        {"sent and another came back", &other, with.request, STLS_REASON_OCSP_NONCE_MISMATCH},
        {"not sent and none came", &none, without.request, GOOD},
        {"not sent and one came", &other, without.request, GOOD},
        {"nobody asked", &other, NULL, GOOD},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_bytes der = aid_make_ocsp(rows[i].response);
        assert_answer(rows[i].what, judge_der("", der.bytes, der.len, rows[i].request),
                      rows[i].reason, __LINE__);
    }
    stls_ocsp_request_clear(&with, &a);
    stls_ocsp_request_clear(&without, &a);
}

/* ---- bytes ------------------------------------------------------------------------- */

static void what_is_no_response(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"", 0},
        {"\x30", 1},
        {"\x30\x00", 2},
        {"<html>", 6},
        {"\x30\x80\x0a\x01\x00\x00\x00", 7},
        {"\x30\x84\xff\xff\xff\xff\x0a\x01\x00", 9},
        {"\x30\x03\x0a\x01\x00", 5},   /* successful, and nothing in it */
        {"\x30\x03\x0a\x01\x03zz", 7}, /* something behind it */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_answer("bytes",
                      judge_der("", (const unsigned char *)rows[i].bytes, rows[i].len, NULL),
                      MALFORMED, __LINE__);
    }
    assert_answer("NULL", judge_der("", NULL, 0, NULL), MALFORMED, __LINE__);
}

static void truncated_and_extended(void **state)
{
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
    aid_bytes der = aid_make_ocsp(&spec);
    (void)state;
    for (size_t len = 0; len < der.len; len++) {
        unsigned char *exact = malloc(len + 1); /* so that reading beyond is noticed */
        memcpy(exact, der.bytes, len);
        assert_answer("truncated", judge_der("", exact, len, NULL), MALFORMED, __LINE__);
        free(exact);
    }
    unsigned char *more = malloc(der.len + 1);
    memcpy(more, der.bytes, der.len);
    more[der.len] = 0;
    assert_answer("extended", judge_der("", more, der.len + 1, NULL), MALFORMED, __LINE__);
    free(more);
}

/* No flipped byte turns revoked into good: the signature covers what counts. */
static void trap_3_no_flipped_byte_is_good(void **state)
{
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_REVOKED);
    aid_bytes der = aid_make_ocsp(&spec);
    (void)state;
    for (size_t i = 0; i < der.len; i++) {
        static const unsigned char flips[] = {0x01, 0x80, 0x20, 0xff};
        for (size_t f = 0; f < sizeof(flips); f++) {
            der.bytes[i] ^= flips[f];
            stls_ocsp_answer answer = judge_der("", der.bytes, der.len, NULL);
            der.bytes[i] ^= flips[f];
            if (answer.reason == GOOD) {
                fail_msg("byte %zu flipped by %02x is good", i, flips[f]);
            }
        }
    }
}

static void error_queue_stays_as_it_was(void **state)
{
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
    (void)state;
    spec.spoil_signature = 1;
    aid_bytes der = aid_make_ocsp(&spec);
    ERR_clear_error();
    judge_der("", der.bytes, der.len, NULL);
    judge_der("", der.bytes, der.len / 2, NULL);
    spec.spoil_signature = 0;
    spec.signer = aid_usual_pki()->responder;
    spec.signer_key = 3;
    der = aid_make_ocsp(&spec);
    judge_der("", der.bytes, der.len, NULL);
    assert_true(ERR_peek_error() == 0);
}

/* What others left in OpenSSL's error queue is neither ours nor lost. */
static void errors_of_others(void **state)
{
    static const unsigned char junk[] = {0x30, 0x03, 0x0a, 0x01};
    aid_ocsp spec = usual(V_OCSP_CERTSTATUS_GOOD);
    (void)state;
    spec.spoil_signature = 1;
    aid_bytes spoilt = aid_make_ocsp(&spec);
    spec = usual(V_OCSP_CERTSTATUS_UNKNOWN);
    aid_bytes unknown = aid_make_ocsp(&spec);
    spec.singles[0].next_update_s = NOW_S - HOUR_S / 2;
    spec.singles[0].status = V_OCSP_CERTSTATUS_GOOD;
    aid_bytes stale = aid_make_ocsp(&spec);
    aid_bytes later = aid_make_ocsp(&(aid_ocsp){.error_status = OCSP_RESPONSE_STATUS_TRYLATER});
    ERR_clear_error();
    ERR_raise(ERR_LIB_X509, ERR_R_MALLOC_FAILURE);
    unsigned long before = ERR_peek_last_error();
    assert_answer("junk", judge_der("", junk, sizeof(junk), NULL), MALFORMED, __LINE__);
    assert_answer("nothing", judge_der("", junk, 0, NULL), MALFORMED, __LINE__);
    assert_answer("bad signature", judge_der("", spoilt.bytes, spoilt.len, NULL), BAD_SIGNATURE,
                  __LINE__);
    assert_answer("unknown", judge_der("", unknown.bytes, unknown.len, NULL),
                  STLS_REASON_OCSP_UNKNOWN, __LINE__);
    assert_answer("stale", judge_der("", stale.bytes, stale.len, NULL), STALE, __LINE__);
    assert_answer("try later", judge_der("", later.bytes, later.len, NULL),
                  STLS_REASON_OCSP_ERROR_STATUS, __LINE__);
    assert_int_equal(ERR_peek_last_error(), before);
    assert_int_equal(ERR_get_error(), before);
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_2_statuses),
        cmocka_unit_test(trap_2_error_statuses),
        cmocka_unit_test(revocation_carries_time_and_reason),
        cmocka_unit_test(trap_5_times),
        cmocka_unit_test(answer_tells_how_long_it_serves),
        cmocka_unit_test(trap_1_another_certificates_answer),
        cmocka_unit_test(trap_1_other_single_responses_first),
        cmocka_unit_test(archive_cutoff_changes_nothing),
        cmocka_unit_test(of_several_answers_revoked_wins),
        cmocka_unit_test(the_order_of_answers_is_of_no_account),
        cmocka_unit_test(trap_15_empty_list),
        cmocka_unit_test(certid_digests),
        cmocka_unit_test(trap_4_delegated_responders),
        cmocka_unit_test(several_certificates_of_the_responder),
        cmocka_unit_test(responder_of_the_issuers_name),
        cmocka_unit_test(trap_4_responder_below_a_sub_ca),
        cmocka_unit_test(signatures),
        cmocka_unit_test(weak_digests),
        cmocka_unit_test(nonces),
        cmocka_unit_test(what_is_no_response),
        cmocka_unit_test(truncated_and_extended),
        cmocka_unit_test(trap_3_no_flipped_byte_is_good),
        cmocka_unit_test(error_queue_stays_as_it_was),
        cmocka_unit_test(errors_of_others),
    };
    return cmocka_run_group_tests_name("ocsp_response", tests, NULL, aid_end);
}
