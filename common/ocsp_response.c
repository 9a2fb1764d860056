#include "ocsp_response.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "error.h"
#include "memo.h"
#include "path.h"
#include "signature.h"
#include "x509_text.h"

#define MAX_SIGNERS 4

static void set(stls_ocsp_answer *answer, stls_reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void stls_ocsp_answer_clear(stls_ocsp_answer *answer)
{
    X509_free(answer->responder);
    answer->responder = NULL;
}

static void set(stls_ocsp_answer *answer, stls_reason reason, const char *format, ...)
{
    va_list args;
    answer->reason = reason;
    va_start(args, format);
    vsnprintf(answer->detail, sizeof(answer->detail), format, args);
    va_end(args);
}

/* ---- who signed it ------------------------------------------------------- */

/* The response's responderID names this certificate (RFC 6960 section 4.2.2.3). */
static int is_named(const OCSP_BASICRESP *basic, const X509 *cert)
{
    const ASN1_OCTET_STRING *key_hash = NULL;
    const X509_NAME *name = NULL;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int hash_len = 0;

    if (!OCSP_resp_get0_id(basic, &key_hash, &name)) {
        return 0;
    }
    if (name != NULL) {
        return X509_NAME_cmp(name, X509_get_subject_name(cert)) == 0;
    }
    return X509_pubkey_digest(cert, EVP_sha1(), hash, &hash_len)
           && (unsigned int)ASN1_STRING_length(key_hash) == hash_len
           && memcmp(ASN1_STRING_get0_data(key_hash), hash, hash_len) == 0;
}

static int is_signed_by(stls_work *work, const OCSP_BASICRESP *basic, const X509 *cert)
{
    return stls_work_take(work, 1) && stls_memo_verify_answer(work->memo, basic, cert);
}

/*
 * RFC 6960 section 4.2.2.2: issued directly by the certificate's issuer, with
 * OCSPSigning, and valid now.  The issuer is the only trusted certificate and
 * no other is offered, so the path can have no third member.
 */
static int is_authorized(const stls_policy *policy, stls_work *work, X509 *signer, X509 *issuer,
                         int64_t now_s, const char **why)
{
    int ok = 0;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();

    *why = "out of memory";
    if (store == NULL || ctx == NULL || !X509_STORE_add_cert(store, issuer)
        || !X509_STORE_CTX_init(ctx, store, signer, NULL)) {
        work->lacks_memory = 1;
        goto done;
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
    X509_VERIFY_PARAM_set_auth_level(param, (int)policy->num[STLS_KEY_SECURITY_LEVEL]);
    if (!X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN)) {
        goto done;
    }
    if (!stls_work_guard(work, ctx)) {
        goto done;
    }
    if (X509_verify_cert(ctx) != 1) {
        work->lacks_memory |= X509_STORE_CTX_get_error(ctx) == X509_V_ERR_OUT_OF_MEM;
        *why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
        goto done;
    }
    if (stls_has_unknown_qualifier(signer)) {
        *why = "its critical certificate policies have a qualifier that is unknown";
        goto done;
    }
    if (!(X509_get_extension_flags(signer) & EXFLAG_XKUSAGE)
        || !(X509_get_extended_key_usage(signer) & XKU_OCSP_SIGN)) {
        *why = "its certificate lacks the OCSPSigning usage";
        goto done;
    }
    if ((X509_get_extension_flags(signer) & EXFLAG_KUSAGE)
        && !(X509_get_key_usage(signer) & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION))) {
        *why = "its certificate's key may not sign";
        goto done;
    }
    ok = 1;
done:
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return ok;
}

/* The signature is as strong as the policy demands, and its key no dearer than it may be. */
static int is_strong(stls_ocsp_answer *answer, const stls_policy *policy,
                     const OCSP_BASICRESP *basic, const X509 *signer)
{
    EVP_PKEY *key = X509_get0_pubkey(signer);
    int level = (int)policy->num[STLS_KEY_SECURITY_LEVEL];

    if (stls_key_is_too_costly(key)) {
        set(answer, STLS_REASON_CHAIN_WEAK,
            "the responder's key is larger than any that is in use");
        return 0;
    }
    if (!stls_signature_is_strong(OCSP_resp_get0_tbs_sigalg(basic), key, level)) {
        set(answer, STLS_REASON_OCSP_BAD_SIGNATURE,
            "the CA must sign with a stronger digest or key: this one is below security_level %d",
            level);
        return 0;
    }
    return 1;
}

/*
 * Whether this one, whose certificate the answer brings, signed it and may.
 * What keeps it from that is told, unless another one is nearer already.
 */
static int try_responder(stls_ocsp_answer *answer, const stls_policy *policy, stls_work *work,
                         const OCSP_BASICRESP *basic, X509 *signer, X509 *issuer, int64_t now_s)
{
    char subject[STLS_NAME_TEXT_LEN];
    const char *why;
    stls_ocsp_answer told = {.reason = STLS_REASON_NONE};

    if (!is_strong(&told, policy, basic, signer)) {
        if (answer->reason != STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER) {
            set(answer, told.reason, "%s", told.detail);
        }
        return 0;
    }
    if (!is_signed_by(work, basic, signer)) {
        return 0;
    }
    if (!is_authorized(policy, work, signer, issuer, now_s, &why)) {
        stls_name_text(X509_get_subject_name(signer), subject);
        set(answer, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, "responder '%.120s': %s", subject,
            why);
        return 0;
    }
    if (!stls_time_s(X509_get0_notAfter(signer), &answer->ends_s)) {
        return 0; /* not reached: it was compared with now */
    }
    if (X509_get_ext_by_NID(signer, NID_id_pkix_OCSP_noCheck, -1) < 0) {
        X509_up_ref(signer);
        answer->responder = signer;
    }
    return 1;
}

/* Of several certificates for a responder's name any may be the right one: one renewed, or two keys. */
static int judge_signer(stls_ocsp_answer *answer, const stls_policy *policy, stls_work *work,
                        const OCSP_BASICRESP *basic, X509 *issuer, int64_t now_s)
{
    const STACK_OF(X509) *certs = OCSP_resp_get0_certs(basic);
    int num_named = is_named(basic, issuer);

    set(answer, STLS_REASON_OCSP_BAD_SIGNATURE, "the signature does not verify");
    if (num_named > 0 && is_strong(answer, policy, basic, issuer)
        && is_signed_by(work, basic, issuer)) {
        return 1;
    }
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *signer = sk_X509_value(certs, i);
        if (!is_named(basic, signer)) {
            continue;
        }
        /* Each costs a public key operation, and whoever sent this chose how many there are. */
        if (num_named++ >= MAX_SIGNERS) {
            break;
        }
        if (try_responder(answer, policy, work, basic, signer, issuer, now_s)) {
            return 1;
        }
    }
    if (num_named == 0) {
        set(answer, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER,
            "the responder is not the issuer and sent no certificate of its own");
    }
    return 0;
}

/* ---- what it says --------------------------------------------------------- */

/* The whole CertID: both hashes and the serial, under whichever hash the response chose. */
static int is_about(OCSP_SINGLERESP *single, const OCSP_CERTID *sha1, const OCSP_CERTID *sha256)
{
    const OCSP_CERTID *theirs = OCSP_SINGLERESP_get0_id(single);
    return OCSP_id_cmp(sha1, theirs) == 0 || OCSP_id_cmp(sha256, theirs) == 0;
}

/* RFC 6960 section 4.2.2.1, against the host's time. */
static int is_fresh(stls_ocsp_answer *answer, const stls_policy *policy,
                    const ASN1_GENERALIZEDTIME *this_update,
                    const ASN1_GENERALIZEDTIME *next_update, int64_t now_s)
{
    int64_t skew_s = policy->num[STLS_KEY_CLOCK_SKEW_S];

    if (!stls_time_s(this_update, &answer->this_update_s)
        || (next_update != NULL && !stls_time_s(next_update, &answer->next_update_s))) {
        set(answer, STLS_REASON_OCSP_MALFORMED, "thisUpdate or nextUpdate cannot be decoded");
        return 0;
    }
    if (answer->this_update_s > now_s + skew_s) {
        set(answer, STLS_REASON_OCSP_FUTURE, "thisUpdate is %lld s ahead of this machine's clock",
            (long long)(answer->this_update_s - now_s));
        return 0;
    }
    if (next_update == NULL) {
        answer->use_until_s = answer->this_update_s + policy->num[STLS_KEY_OCSP_MAX_AGE_S];
        if (answer->use_until_s < now_s) {
            set(answer, STLS_REASON_OCSP_STALE,
                "no nextUpdate, and thisUpdate is %lld s old (ocsp_max_age_s %lld)",
                (long long)(now_s - answer->this_update_s),
                (long long)policy->num[STLS_KEY_OCSP_MAX_AGE_S]);
            return 0;
        }
        return 1;
    }
    if (answer->next_update_s < answer->this_update_s) {
        set(answer, STLS_REASON_OCSP_MALFORMED, "nextUpdate lies before thisUpdate");
        return 0;
    }
    answer->use_until_s = answer->next_update_s + skew_s;
    if (answer->use_until_s < now_s) {
        set(answer, STLS_REASON_OCSP_STALE, "nextUpdate was %lld s ago",
            (long long)(now_s - answer->next_update_s));
        return 0;
    }
    return 1;
}

static void judge_single(stls_ocsp_answer *answer, const stls_policy *policy,
                         OCSP_SINGLERESP *single, int64_t now_s)
{
    ASN1_GENERALIZEDTIME *revoked_at = NULL, *this_update = NULL, *next_update = NULL;
    int why = -1;
    int status = OCSP_single_get0_status(single, &why, &revoked_at, &this_update, &next_update);

    if (OCSP_SINGLERESP_get_ext_by_critical(single, 1, -1) >= 0) {
        set(answer, STLS_REASON_OCSP_MALFORMED, "unknown critical extension in the answer");
        return;
    }
    int fresh = is_fresh(answer, policy, this_update, next_update, now_s);
    /* Revocation is for good, so that a stale answer still proves it; only a hold may have been
     * lifted since (RFC 5280 section 5.3.1). */
    int stays_revoked = status == V_OCSP_CERTSTATUS_REVOKED
                        && why != OCSP_REVOKED_STATUS_CERTIFICATEHOLD
                        && answer->reason == STLS_REASON_OCSP_STALE;
    answer->is_grace = !fresh && status == V_OCSP_CERTSTATUS_GOOD
                       && answer->reason == STLS_REASON_OCSP_STALE
                       && now_s - answer->use_until_s <= policy->num[STLS_KEY_STALE_GRACE_S];
    if (!fresh && !stays_revoked && !answer->is_grace) {
        return;
    }
    switch (status) {
    case V_OCSP_CERTSTATUS_GOOD:
        answer->reason = STLS_REASON_NONE;
        answer->detail[0] = '\0';
        break;
    case V_OCSP_CERTSTATUS_REVOKED:
        stls_time_s(revoked_at, &answer->revoked_at_s);
        answer->revocation_reason = why;
        set(answer, STLS_REASON_OCSP_REVOKED, "revoked%s%s", why >= 0 ? ", reason " : "",
            why >= 0 ? OCSP_crl_reason_str(why) : "");
        break;
    default:
        set(answer, STLS_REASON_OCSP_UNKNOWN, "the responder answered unknown");
        break;
    }
}

static int worth(const stls_ocsp_answer *answer)
{
    return answer->reason == STLS_REASON_OCSP_REVOKED ? 3
           : answer->reason != STLS_REASON_NONE       ? 0
           : answer->is_grace                         ? 1
                                                      : 2;
}

/*
 * Of several answers about the certificate a revoked one wins, then a good one,
 * and of two that are alike the newer; their order is of no account.
 */
static void judge_singles(stls_ocsp_answer *answer, const stls_policy *policy,
                          OCSP_BASICRESP *basic, X509 *cert, X509 *issuer, int64_t now_s)
{
    int num = OCSP_resp_count(basic), num_about = 0;
    OCSP_CERTID *sha1 = OCSP_cert_to_id(EVP_sha1(), cert, issuer);
    OCSP_CERTID *sha256 = OCSP_cert_to_id(EVP_sha256(), cert, issuer);

    if (sha1 == NULL || sha256 == NULL) {
        set(answer, STLS_REASON_INTERNAL_MEMORY, "out of memory while judging an OCSP answer");
        goto done;
    }
    for (int i = 0; i < num; i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        stls_ocsp_answer one = {.reason = STLS_REASON_INTERNAL_ERROR, .revocation_reason = -1};
        if (!is_about(single, sha1, sha256)) {
            continue;
        }
        judge_single(&one, policy, single, now_s);
        int better = worth(&one) - worth(answer);
        if (num_about++ == 0 || better > 0
            || (better == 0 && one.this_update_s > answer->this_update_s)) {
            one.responder = answer->responder;
            one.ends_s = answer->ends_s;
            *answer = one;
        }
    }
    if (num_about == 0) {
        set(answer, STLS_REASON_OCSP_WRONG_CERTIFICATE,
            num == 0 ? "the response holds no answer at all"
                     : "none of the %d answers is about this certificate",
            num);
    }
done:
    OCSP_CERTID_free(sha1);
    OCSP_CERTID_free(sha256);
}

void stls_ocsp_judge(stls_ocsp_answer *answer, const stls_policy *policy, stls_work *work,
                     X509 *cert, X509 *issuer, const unsigned char *der, size_t der_len,
                     OCSP_REQUEST *request, int64_t now_s)
{
    OCSP_BASICRESP *basic = NULL;
    const unsigned char *p = der;

    memset(answer, 0, sizeof(*answer));
    answer->revocation_reason = -1;
    answer->ends_s = INT64_MAX;
    set(answer, STLS_REASON_OCSP_MALFORMED, "not a DER-encoded OCSP response");

    stls_errors_mark();
    OCSP_RESPONSE *response = der_len <= INT32_MAX ? d2i_OCSP_RESPONSE(NULL, &p, (long)der_len)
                                                   : NULL;
    if (response == NULL || p != der + der_len) {
        goto done;
    }
    int status = OCSP_response_status(response);
    if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        set(answer, STLS_REASON_OCSP_ERROR_STATUS, "the responder answered %s",
            OCSP_response_status_str(status));
        goto done;
    }
    basic = OCSP_response_get1_basic(response);
    if (basic == NULL) {
        set(answer, STLS_REASON_OCSP_MALFORMED, "not a basic OCSP response");
        goto done;
    }
    if (!judge_signer(answer, policy, work, basic, issuer, now_s)) {
        goto done;
    }
    if (OCSP_BASICRESP_get_ext_by_critical(basic, 1, -1) >= 0) {
        set(answer, STLS_REASON_OCSP_MALFORMED, "unknown critical extension in the response");
        goto done;
    }
    judge_singles(answer, policy, basic, cert, issuer, now_s);
    /* A replayed "good" is what the nonce is against; "revoked" stays true without it.
     * 1 equal, 2 none in both, 3 only in the response: fine; 0 differs, -1 missing. */
    if (answer->reason == STLS_REASON_NONE && request != NULL
        && OCSP_check_nonce(request, basic) <= 0) {
        set(answer, STLS_REASON_OCSP_NONCE_MISMATCH, "the nonce did not come back");
    }
done:
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    /* Without memory nothing was judged: that must not pass for an answer that proves nothing. */
    work->lacks_memory |= stls_errors_pop();
    if (work->lacks_memory && answer->reason != STLS_REASON_OCSP_REVOKED) {
        set(answer, STLS_REASON_INTERNAL_MEMORY, "out of memory while judging an OCSP answer");
    }
}
