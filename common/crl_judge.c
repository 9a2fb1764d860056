#include "crl_judge.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "cert_stack.h"
#include "signature.h"
#include "x509_text.h"

/* RFC 5280 section 5.2.5: reasons 1 to 8, as bits. */
#define ALL_REASONS 0x1fe
#define MAX_DEPTH 1 /* a CRL issuer's own certificate is looked up once, not its issuer's in turn */

/* How far a CRL came before it failed: the reason of the farthest one is told. */
typedef enum { AT_SCOPE, AT_TIME, AT_SIGNATURE, AT_ENTRY } stage;

typedef struct {
    const stls_crl_input *in;
    X509 *cert, *issuer;
    int depth;
    int allows_grace;
    unsigned int covered; /* reasons answered so far */
    stage farthest;
    stls_ocsp_answer *answer;
} judgement;

static void judge(judgement *j);

static void fail(judgement *j, stage at, stls_reason reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void fail(judgement *j, stage at, stls_reason reason, const char *format, ...)
{
    if (at < j->farthest) {
        return;
    }
    va_list args;
    j->farthest = at;
    j->answer->reason = reason;
    va_start(args, format);
    vsnprintf(j->answer->detail, sizeof(j->answer->detail), format, args);
    va_end(args);
}

/* ---- scope: is this CRL about such a certificate? --------------------------------- */

static int has_directory_name(const GENERAL_NAMES *names, const X509_NAME *name)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);
        if (one->type == GEN_DIRNAME && X509_NAME_cmp(one->d.directoryName, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static int have_common_name(const GENERAL_NAMES *a, const GENERAL_NAMES *b)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(a); i++) {
        for (int k = 0; k < sk_GENERAL_NAME_num(b); k++) {
            if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(a, i), sk_GENERAL_NAME_value(b, k)) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

/* Names relative to an issuer were completed to whole ones (dpname) beforehand. */
static int same_point(const DIST_POINT_NAME *a, const DIST_POINT_NAME *b)
{
    if (a->type == 1 && b->type == 1) {
        return a->dpname != NULL && b->dpname != NULL && X509_NAME_cmp(a->dpname, b->dpname) == 0;
    }
    if (a->type == 1) {
        return a->dpname != NULL && has_directory_name(b->name.fullname, a->dpname);
    }
    if (b->type == 1) {
        return b->dpname != NULL && has_directory_name(a->name.fullname, b->dpname);
    }
    return have_common_name(a->name.fullname, b->name.fullname);
}

/* RFC 5280 section 6.3.3 (b) (2) (i). */
static int point_fits(const DIST_POINT *point, const X509_NAME *cert_issuer,
                      const ISSUING_DIST_POINT *idp)
{
    if (idp == NULL || idp->distpoint == NULL) {
        return 1;
    }
    if (point != NULL && point->distpoint != NULL) {
        return same_point(point->distpoint, idp->distpoint);
    }
    /* No name in the certificate's point: the CRL issuer's stands for it. */
    if (idp->distpoint->type == 1) {
        return point != NULL && point->CRLissuer != NULL
                   ? has_directory_name(point->CRLissuer, idp->distpoint->dpname)
                   : X509_NAME_cmp(idp->distpoint->dpname, cert_issuer) == 0;
    }
    return point != NULL && point->CRLissuer != NULL
               ? have_common_name(point->CRLissuer, idp->distpoint->name.fullname)
               : has_directory_name(idp->distpoint->name.fullname, cert_issuer);
}

static unsigned int reason_bits(const ASN1_BIT_STRING *reasons)
{
    unsigned int bits = 0;
    if (reasons == NULL) {
        return ALL_REASONS;
    }
    for (int i = 1; i <= 8; i++) {
        if (ASN1_BIT_STRING_get_bit(reasons, i)) {
            bits |= 1u << i;
        }
    }
    return bits;
}

/* The reasons that this CRL answers for through this point (NULL: the issuer's own CRL); 0: none. */
static unsigned int scope(judgement *j, const DIST_POINT *point, const stls_crl *crl)
{
    const X509_NAME *cert_issuer = X509_get_issuer_name(j->cert);
    const ISSUING_DIST_POINT *idp = crl->idp;
    /* By its basic constraints alone: one for CRLs may lack the keyCertSign usage. */
    int is_ca = (X509_get_extension_flags(j->cert) & EXFLAG_CA) != 0;

    if (point != NULL && point->CRLissuer != NULL) {
        /* (b) (1): an indirect CRL, and by the issuer that is named. */
        if (!has_directory_name(point->CRLissuer, crl->issuer) || idp == NULL
            || idp->indirectCRL <= 0) {
            fail(j, AT_SCOPE, STLS_REASON_CRL_WRONG_SCOPE,
                 "the CRL is not by the named CRL issuer");
            return 0;
        }
    } else if (X509_NAME_cmp(crl->issuer, cert_issuer) != 0) {
        fail(j, AT_SCOPE, STLS_REASON_CRL_WRONG_SCOPE, "the CRL is by another issuer");
        return 0;
    }
    if (crl->is_unusable) {
        fail(j, AT_SCOPE, STLS_REASON_CRL_WRONG_SCOPE, "the CRL has an unknown critical extension");
        return 0;
    }
    if (idp != NULL
        && ((idp->onlyuser > 0 && is_ca) || (idp->onlyCA > 0 && !is_ca) || idp->onlyattr > 0)) {
        fail(j, AT_SCOPE, STLS_REASON_CRL_WRONG_SCOPE, "the CRL is about %s certificates only",
             idp->onlyattr > 0 ? "attribute"
             : idp->onlyCA > 0 ? "CA"
                               : "end-entity");
        return 0;
    }
    if (!point_fits(point, cert_issuer, idp)) {
        fail(j, AT_SCOPE, STLS_REASON_CRL_WRONG_SCOPE, "the CRL is for another distribution point");
        return 0;
    }
    return reason_bits(point != NULL ? point->reasons : NULL)
           & reason_bits(idp != NULL ? idp->onlysomereasons : NULL);
}

/* ---- time ---------------------------------------------------------------------------- */

static int is_fresh(judgement *j, const stls_crl *crl, int64_t *use_until_s)
{
    const stls_policy *policy = j->in->policy;
    int64_t now_s = j->in->now_s, skew_s = policy->num[STLS_KEY_CLOCK_SKEW_S];

    if (crl->this_update_s > now_s + skew_s) {
        fail(j, AT_TIME, STLS_REASON_CRL_STALE, "the CRL's thisUpdate lies %lld s ahead",
             (long long)(crl->this_update_s - now_s));
        return 0;
    }
    *use_until_s = crl->next_update_s != 0
                       ? crl->next_update_s + skew_s
                       : crl->this_update_s + policy->num[STLS_KEY_CRL_MAX_AGE_S];
    if (*use_until_s < now_s && j->allows_grace
        && now_s - *use_until_s <= policy->num[STLS_KEY_STALE_GRACE_S]) {
        return 1;
    }
    if (*use_until_s < now_s) {
        fail(j, AT_TIME, STLS_REASON_CRL_STALE, "the CRL should have been renewed %lld s ago",
             (long long)(now_s - *use_until_s));
        return 0;
    }
    return 1;
}

/* ---- signature: whose CRL is it? -------------------------------------------------------- */

static int is_signed_by(const judgement *j, const stls_crl *crl, X509 *signer)
{
    return stls_signature_verify(j->in->work, crl->algorithm, X509_get0_pubkey(signer), crl->sig, crl->sig_len,
                                 crl->digest, crl->der + crl->tbs, crl->tbs_len);
}

/* The signature is as strong as the policy demands, and its key no dearer than it may be. */
static int is_strong(judgement *j, const stls_crl *crl, X509 *signer)
{
    EVP_PKEY *key = X509_get0_pubkey(signer);

    if (stls_key_is_too_costly(key)) {
        fail(j, AT_SIGNATURE, STLS_REASON_CHAIN_WEAK,
             "the CRL issuer's key is larger than any that is in use");
        return 0;
    }
    if (!stls_signature_is_strong(crl->algorithm, key,
                                  (int)j->in->policy->num[STLS_KEY_SECURITY_LEVEL])) {
        fail(j, AT_SIGNATURE, STLS_REASON_CRL_BAD_SIGNATURE,
             "the CRL's signature is below security_level");
        return 0;
    }
    return 1;
}

static int may_sign_crls(X509 *signer)
{
    return (X509_get_key_usage(signer) & KU_CRL_SIGN) != 0; /* all bits where there is no usage */
}

static int is_named_by_its_own_point(X509 *cert)
{
    int found = 0;
    CRL_DIST_POINTS *points = X509_get_ext_d2i(cert, NID_crl_distribution_points, NULL, NULL);
    for (int i = 0; i < sk_DIST_POINT_num(points); i++) {
        found |= has_directory_name(sk_DIST_POINT_value(points, i)->CRLissuer,
                                    X509_get_subject_name(cert));
    }
    CRL_DIST_POINTS_free(points);
    return found;
}

/*
 * A CRL issuer that is not on the certificate's path needs a path of its own to
 * an anchor (section 6.3.3 (f)), with nobody on it revoked.
 */
static int has_own_path(const judgement *j, X509 *signer)
{
    const stls_policy *policy = j->in->policy;
    int ok = 0;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();

    /* One on the certificate's own path is validated, and asked about in its own turn; and where
     * the CA names a CRL issuer for that issuer's own certificate, it may speak for itself. */
    if (stls_cert_index(j->in->path, signer) >= 0
        || (j->depth > 0 && X509_cmp(signer, j->cert) == 0 && is_named_by_its_own_point(signer))) {
        X509_STORE_CTX_free(ctx);
        return 1;
    }
    if (j->depth >= MAX_DEPTH || ctx == NULL
        || !X509_STORE_CTX_init(ctx, j->in->anchors->store, signer,
                                (STACK_OF(X509) *)j->in->others)) {
        goto done;
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)j->in->now_s);
    X509_VERIFY_PARAM_set_depth(param, (int)policy->num[STLS_KEY_MAX_CHAIN_LEN]);
    X509_VERIFY_PARAM_set_auth_level(param, (int)policy->num[STLS_KEY_SECURITY_LEVEL]);
    stls_work_guard(j->in->work, ctx);
    if (X509_verify_cert(ctx) != 1) {
        goto done;
    }
    const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    ok = 1;
    for (int i = 0; ok && i + 1 < sk_X509_num(chain); i++) {
        stls_ocsp_answer answer;
        judgement own = {
            .in = j->in,
            .cert = sk_X509_value(chain, i),
            .issuer = sk_X509_value(chain, i + 1),
            .depth = j->depth + 1,
            .allows_grace = j->allows_grace,
            .answer = &answer};
        judge(&own);
        ok = answer.reason == STLS_REASON_NONE;
    }
done:
    X509_STORE_CTX_free(ctx);
    return ok;
}

static X509 *find_signer(judgement *j, const stls_crl *crl)
{
    const STACK_OF(X509) *others = j->in->others;
    const char *why = "no certificate of the CRL's issuer is at hand";

    if (X509_NAME_cmp(X509_get_subject_name(j->issuer), crl->issuer) == 0) {
        if (!is_strong(j, crl, j->issuer)) {
            return NULL;
        }
        why = "the CRL's signature does not verify";
        if (is_signed_by(j, crl, j->issuer)) {
            if (may_sign_crls(j->issuer)) {
                return j->issuer;
            }
            why = "the CRL's issuer lacks the cRLSign usage";
        }
    }
    for (int i = 0; i < sk_X509_num(others); i++) {
        X509 *signer = sk_X509_value(others, i);
        if (X509_NAME_cmp(X509_get_subject_name(signer), crl->issuer) != 0
            || X509_cmp(signer, j->issuer) == 0) {
            continue;
        }
        if (!is_strong(j, crl, signer)) {
            return NULL;
        }
        if (!is_signed_by(j, crl, signer)) {
            why = "the CRL's signature does not verify";
        } else if (!may_sign_crls(signer)) {
            why = "the CRL's issuer lacks the cRLSign usage";
        } else if (!has_own_path(j, signer)) {
            why = "the CRL's issuer has no valid path of its own";
        } else {
            return signer;
        }
    }
    fail(j, AT_SIGNATURE, STLS_REASON_CRL_BAD_SIGNATURE, "%s", why);
    return NULL;
}

/* ---- deltas ------------------------------------------------------------------------------- */

static int same_idp(ISSUING_DIST_POINT *a, ISSUING_DIST_POINT *b)
{
    unsigned char *a_der = NULL, *b_der = NULL;
    if (a == NULL || b == NULL) {
        return a == b;
    }
    int a_len = i2d_ISSUING_DIST_POINT(a, &a_der), b_len = i2d_ISSUING_DIST_POINT(b, &b_der);
    int same = a_len > 0 && a_len == b_len && memcmp(a_der, b_der, (size_t)a_len) == 0;
    OPENSSL_free(a_der);
    OPENSSL_free(b_der);
    return same;
}

/* RFC 5280 section 6.3.3 (c), (d): a delta that goes with this complete CRL, or NULL. */
static const stls_crl *find_delta(judgement *j, const stls_crl *base, X509 *signer,
                                  int64_t *use_until_s)
{
    const stls_crl *best = NULL;

    for (size_t i = 0; i < j->in->num_crls; i++) {
        const stls_crl *delta = j->in->crls[i];
        int64_t until_s;
        judgement quiet = *j;
        stls_ocsp_answer ignored;
        quiet.answer = &ignored;
        if (delta->base_number == NULL || delta->number == NULL || base->number == NULL
            || delta->is_unusable || X509_NAME_cmp(delta->issuer, base->issuer) != 0
            || !same_idp(delta->idp, base->idp)
            || ASN1_INTEGER_cmp(base->number, delta->base_number) < 0
            || ASN1_INTEGER_cmp(delta->number, base->number) < 0
            || !is_fresh(&quiet, delta, &until_s) || !is_signed_by(j, delta, signer)) {
            continue;
        }
        if (best == NULL || ASN1_INTEGER_cmp(delta->number, best->number) > 0) {
            best = delta;
            *use_until_s = until_s;
        }
    }
    return best;
}

/* ---- look-up -------------------------------------------------------------------------------- */

/* 1 revoked, 0 not, -1 undecodable; a delta overrules its base. */
static int look_up(const stls_crl *base, const stls_crl *delta, X509 *cert, stls_crl_entry *entry)
{
    if (delta != NULL) {
        int listed = stls_crl_find(delta, cert, entry);
        if (listed != 0) {
            return listed > 0 && entry->reason == CRL_REASON_REMOVE_FROM_CRL ? 0 : listed;
        }
    }
    return stls_crl_find(base, cert, entry);
}

static void tell_revoked(judgement *j, const stls_crl_entry *entry)
{
    fail(j, AT_ENTRY, STLS_REASON_CRL_REVOKED, "revoked%s%s", entry->reason >= 0 ? ", reason " : "",
         entry->reason >= 0 ? OCSP_crl_reason_str(entry->reason) : "");
    j->answer->revoked_at_s = entry->revoked_at_s;
    j->answer->revocation_reason = entry->reason;
}

/*
 * Revocation is for good, so that a CRL past its time still proves it, though
 * nothing else; only a hold may have been lifted since (section 5.3.1).
 */
static void examine_stale(judgement *j, const stls_crl *crl)
{
    stls_crl_entry entry = {0, -1};
    judgement quiet = *j;
    stls_ocsp_answer ignored;

    quiet.answer = &ignored;
    if (crl->this_update_s <= j->in->now_s && find_signer(&quiet, crl) != NULL
        && stls_crl_find(crl, j->cert, &entry) > 0 && entry.reason != CRL_REASON_CERTIFICATE_HOLD
        && entry.reason != CRL_REASON_REMOVE_FROM_CRL) {
        tell_revoked(j, &entry);
    }
}

static void examine(judgement *j, const DIST_POINT *point, const stls_crl *crl)
{
    stls_crl_entry entry = {0, -1};
    int64_t use_until_s = 0, delta_until_s = INT64_MAX;
    stls_ocsp_answer *answer = j->answer;

    unsigned int reasons = crl->base_number == NULL ? scope(j, point, crl) : 0;
    if ((reasons & ~j->covered) == 0) {
        return;
    }
    if (!is_fresh(j, crl, &use_until_s)) {
        examine_stale(j, crl);
        return;
    }
    X509 *signer = find_signer(j, crl);
    if (signer == NULL) {
        return;
    }
    const stls_crl *delta = find_delta(j, crl, signer, &delta_until_s);
    int listed = look_up(crl, delta, j->cert, &entry);
    if (listed < 0) {
        fail(j, AT_ENTRY, STLS_REASON_CRL_MALFORMED, "the CRL's entry cannot be decoded");
        return;
    }
    if (delta_until_s < use_until_s) {
        use_until_s = delta_until_s;
    }
    if (j->covered == 0 || use_until_s < answer->use_until_s) {
        answer->use_until_s = use_until_s;
        answer->this_update_s = delta != NULL ? delta->this_update_s : crl->this_update_s;
        answer->next_update_s = delta != NULL ? delta->next_update_s : crl->next_update_s;
    }
    j->covered |= reasons;
    if (listed > 0) {
        tell_revoked(j, &entry);
    }
}

static int is_settled(const judgement *j)
{
    return j->answer->reason == STLS_REASON_CRL_REVOKED || j->covered == ALL_REASONS;
}

static void examine_all(judgement *j, const DIST_POINT *point)
{
    for (size_t i = 0; i < j->in->num_crls && !is_settled(j); i++) {
        examine(j, point, j->in->crls[i]);
    }
}

static void judge(judgement *j)
{
    stls_ocsp_answer *answer = j->answer;

    memset(answer, 0, sizeof(*answer));
    answer->revocation_reason = -1;
    answer->reason = STLS_REASON_REVOCATION_INCONCLUSIVE;
    strcpy(answer->detail, "no CRL is about this certificate");

    CRL_DIST_POINTS *points = X509_get_ext_d2i(j->cert, NID_crl_distribution_points, NULL, NULL);
    for (int i = 0; i < sk_DIST_POINT_num(points) && !is_settled(j); i++) {
        DIST_POINT *point = sk_DIST_POINT_value(points, i);
        const X509_NAME *base = X509_get_issuer_name(j->cert);
        if (point->CRLissuer != NULL && sk_GENERAL_NAME_num(point->CRLissuer) > 0
            && sk_GENERAL_NAME_value(point->CRLissuer, 0)->type == GEN_DIRNAME) {
            base = sk_GENERAL_NAME_value(point->CRLissuer, 0)->d.directoryName;
        }
        if (point->distpoint == NULL || DIST_POINT_set_dpname(point->distpoint, base)) {
            examine_all(j, point);
        }
    }
    CRL_DIST_POINTS_free(points);
    /* Whatever the issuer publishes for all of its certificates counts, too. */
    if (!is_settled(j)) {
        examine_all(j, NULL);
    }
    if (j->covered == ALL_REASONS && answer->reason != STLS_REASON_CRL_REVOKED) {
        answer->reason = STLS_REASON_NONE;
        answer->detail[0] = '\0';
    } else if (j->covered != 0 && answer->reason != STLS_REASON_CRL_REVOKED) {
        answer->reason = STLS_REASON_CRL_WRONG_SCOPE;
        strcpy(answer->detail, "the CRLs at hand do not cover every revocation reason");
    }
}

void stls_crl_judge(stls_ocsp_answer *answer, const stls_crl_input *in, X509 *cert, X509 *issuer)
{
    judgement j = {.in = in, .cert = cert, .issuer = issuer, .answer = answer};
    ERR_set_mark();
    judge(&j);
    if (answer->reason != STLS_REASON_NONE && answer->reason != STLS_REASON_CRL_REVOKED
        && in->policy->num[STLS_KEY_STALE_GRACE_S] > 0) {
        stls_ocsp_answer graced;
        judgement again = {.in = in, .cert = cert, .issuer = issuer, .answer = &graced};
        again.allows_grace = 1;
        judge(&again);
        if (graced.reason == STLS_REASON_NONE) {
            *answer = graced;
            answer->is_grace = 1;
        }
    }
    ERR_pop_to_mark();
}
