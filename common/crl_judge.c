#include "crl_judge.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "cert_stack.h"
#include "crl_listing.h"
#include "crl_scope.h"
#include "crl_signature.h"
#include "error.h"
#include "path.h"
#include "x509_text.h"

#define MAX_DEPTH 1 /* a CRL issuer's own certificate is looked up once, not its issuer's in turn */

/* How far a CRL came before it failed: the reason of the farthest one is told. */
typedef enum { AT_SCOPE, AT_TIME, AT_SIGNATURE, AT_ENTRY } stage;

/* A current, verified CRL that does not list the certificate. */
typedef struct {
    const stls_crl *crl, *delta; /* delta NULL: none */
    unsigned int reasons;
    int64_t use_until_s, ends_s;
    int is_grace;
} statement;

typedef struct {
    const stls_crl_input *in;
    X509 *cert, *issuer;
    const STACK_OF(X509) *path; /* the certificate's own */
    int depth;
    stage farthest;
    int is_open; /* a CRL that counts cannot be read: nothing else may be good instead */
    statement *statements;
    size_t num_statements, cap_statements;
    stls_crl_use *use;
    stls_ocsp_answer *answer;
} judgement;

/* Who signed a CRL, and how long that may be believed. */
typedef struct {
    X509 *cert;
    int64_t use_until_s; /* of what says that nobody on its own path is revoked */
    int64_t ends_s;      /* the first notAfter there */
    int is_grace;
} crl_signer;

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

/* Without memory nothing was judged, and "revoked" may have been missed. */
static void fail_memory(judgement *j)
{
    j->is_open = 1;
    fail(j, AT_ENTRY, STLS_REASON_INTERNAL_MEMORY, "out of memory while judging CRLs");
}

static int64_t min_s(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- whose CRL is it? -------------------------------------------------------- */

static int has_same_key(const X509 *a, const X509 *b)
{
    return X509_PUBKEY_eq(X509_get_X509_PUBKEY(a), X509_get_X509_PUBKEY(b)) == 1;
}

static int is_named_by_its_own_point(X509 *cert)
{
    int found = 0;
    CRL_DIST_POINTS *points = X509_get_ext_d2i(cert, NID_crl_distribution_points, NULL, NULL);
    for (int i = 0; i < sk_DIST_POINT_num(points); i++) {
        found |= stls_has_directory_name(sk_DIST_POINT_value(points, i)->CRLissuer,
                                         X509_get_subject_name(cert));
    }
    CRL_DIST_POINTS_free(points);
    return found;
}

/* OpenSSL does not turn back from a root that nobody trusts, nor from what is past its date. */
static int is_dead_end(X509 *cert, int64_t now_s)
{
    int64_t from_s, to_s;
    return X509_self_signed(cert, 0) == 1 || !stls_time_s(X509_get0_notBefore(cert), &from_s)
           || !stls_time_s(X509_get0_notAfter(cert), &to_s) || from_s > now_s || to_s <= now_s;
}

/*
 * A path of a CRL issuer's own to the trust anchor of the certificate in
 * question (RFC 5280 section 6.3.3 (f)), or NULL.  It goes round the key of the
 * certificate in question, under whatever certificate: what that key has issued
 * does not speak for it.
 */
static STACK_OF(X509) *build_own_path(const judgement *j, X509 *signer, int *has_run)
{
    const stls_policy *policy = j->in->policy;
    X509 *anchor = sk_X509_value(j->in->path, sk_X509_num(j->in->path) - 1);
    STACK_OF(X509) *chain = NULL;
    STACK_OF(X509) *untrusted = sk_X509_new_null();
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();

    if (untrusted == NULL || store == NULL || ctx == NULL || !X509_STORE_add_cert(store, anchor)) {
        goto done;
    }
    for (int i = 0; i < sk_X509_num(j->in->others); i++) {
        X509 *other = sk_X509_value(j->in->others, i);
        if (!has_same_key(other, j->cert) && !is_dead_end(other, j->in->now_s)
            && !sk_X509_push(untrusted, other)) {
            goto done;
        }
    }
    if (!X509_STORE_CTX_init(ctx, store, signer, untrusted)) {
        goto done;
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)j->in->now_s);
    X509_VERIFY_PARAM_set_depth(param, (int)policy->num[STLS_KEY_MAX_CHAIN_LEN]);
    X509_VERIFY_PARAM_set_auth_level(param, (int)policy->num[STLS_KEY_SECURITY_LEVEL]);
    int verified = stls_work_guard(j->in->work, ctx) ? X509_verify_cert(ctx) : -1;
    if (verified == 1) {
        chain = X509_STORE_CTX_get1_chain(ctx);
    }
    *has_run = chain != NULL
               || (verified == 0 && X509_STORE_CTX_get_error(ctx) != X509_V_ERR_OUT_OF_MEM);
done:
    j->in->work->lacks_memory |= !*has_run;
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    sk_X509_free(untrusted);
    return chain;
}

/* A member of a CRL issuer's own path: valid until when, and not revoked? */
static int judge_member(const judgement *j, const STACK_OF(X509) *chain, int at, crl_signer *signer)
{
    X509 *member = sk_X509_value(chain, at);
    int issuer_at = stls_cert_index(j->path, j->issuer), shared = stls_cert_index(j->path, member);
    stls_ocsp_answer answer;
    int64_t not_after_s;

    if (shared >= issuer_at && issuer_at >= 0
        && j->in->policy->num[STLS_KEY_REVOCATION_SCOPE] == STLS_SCOPE_CHAIN) {
        return 1; /* one of the certificate's own path, asked about in its own turn */
    }
    if (!stls_time_s(X509_get0_notAfter(member), &not_after_s)) {
        return 0;
    }
    judgement own = {.in = j->in,
                     .cert = member,
                     .issuer = sk_X509_value(chain, at + 1),
                     .path = chain,
                     .depth = j->depth + 1,
                     .answer = &answer};
    judge(&own);
    signer->use_until_s = min_s(signer->use_until_s, answer.use_until_s);
    signer->ends_s = min_s(signer->ends_s, min_s(not_after_s, answer.ends_s));
    signer->is_grace |= answer.is_grace;
    return answer.reason == STLS_REASON_NONE && !stls_has_unknown_qualifier(member);
}

/* One that is not on the certificate's path, with nobody on its own path revoked. */
static int has_own_path(judgement *j, crl_signer *signer)
{
    if (j->depth >= MAX_DEPTH || has_same_key(signer->cert, j->cert)) {
        return 0;
    }
    const stls_crl_path *known = stls_crl_memory_find_path(j->in->memory, signer->cert, j->cert);
    STACK_OF(X509) *mine = NULL;
    if (known == NULL) {
        int has_run = 0;
        mine = build_own_path(j, signer->cert, &has_run);
        if (has_run
            && stls_crl_memory_keep_path(j->in->memory, &j->in->policy->allocator, signer->cert,
                                         j->cert, mine)) {
            mine = NULL;
            known = stls_crl_memory_find_path(j->in->memory, signer->cert, j->cert);
        }
    }
    const STACK_OF(X509) *chain = known != NULL ? known->chain : mine;
    int ok = chain != NULL;
    for (int i = 0; ok && i + 1 < sk_X509_num(chain); i++) {
        ok = judge_member(j, chain, i, signer);
    }
    sk_X509_pop_free(mine, X509_free);
    return ok;
}

/*
 * May this certificate, whose key the CRL is signed with, speak for the one in
 * question?  Those above it on its path may: they are validated, and asked
 * about in their own turn.  It may not itself, nor may what it issued; but where
 * a CA names a CRL issuer for that issuer's own certificate, it does.
 */
static int may_speak(judgement *j, crl_signer *signer, const char **why)
{
    uint32_t usage = X509_get_key_usage(signer->cert); /* all bits where there is none */
    int issuer_at = stls_cert_index(j->path, j->issuer);
    int at = stls_cert_index(j->path, signer->cert);
    int is_above = X509_cmp(signer->cert, j->issuer) == 0 || (issuer_at >= 0 && at > issuer_at);

    if ((usage & KU_CRL_SIGN) == 0
        /* A CA's certificate of old may lack usages; one that is there for CRLs says so. */
        || (!is_above && (X509_get_extension_flags(signer->cert) & EXFLAG_KUSAGE) == 0)) {
        *why = "the CRL's issuer lacks the cRLSign usage";
        return 0;
    }
    if (is_above) {
        return 1;
    }
    if (j->depth > 0 && X509_cmp(signer->cert, j->cert) == 0
        && is_named_by_its_own_point(signer->cert)) {
        return 1;
    }
    if (at >= 0 || !has_own_path(j, signer)) {
        *why = "the CRL's issuer has no valid path of its own to the same trust anchor";
        return 0;
    }
    return 1;
}

/* Whether the CRL may be believed because of this certificate. */
static int try_signer(judgement *j, const stls_crl *crl, X509 *cert, crl_signer *signer)
{
    const char *why = NULL;
    stls_reason reason = STLS_REASON_CRL_BAD_SIGNATURE;

    *signer = (crl_signer){cert, INT64_MAX, INT64_MAX, 0};
    if (X509_NAME_cmp(X509_get_subject_name(cert), crl->issuer) != 0) {
        return 0;
    }
    if (stls_crl_is_signed_by(j->in, crl, cert, &reason, &why) && may_speak(j, signer, &why)) {
        return 1;
    }
    fail(j, AT_SIGNATURE, reason, "%s", why);
    return 0;
}

static int find_signer(judgement *j, const stls_crl *crl, crl_signer *signer)
{
    if (j->farthest < AT_SIGNATURE) {
        fail(j, AT_SIGNATURE, STLS_REASON_CRL_BAD_SIGNATURE,
             "no certificate of the CRL's issuer is at hand");
    }
    if (stls_crl_has_key_id(crl, j->issuer) && try_signer(j, crl, j->issuer, signer)) {
        return 1;
    }
    for (int i = stls_cert_index(j->path, j->issuer) + 1; i > 0 && i < sk_X509_num(j->path); i++) {
        X509 *above = sk_X509_value(j->path, i);
        if (stls_crl_has_key_id(crl, above) && try_signer(j, crl, above, signer)) {
            return 1;
        }
    }
    for (int i = 0; i < sk_X509_num(j->in->others); i++) {
        X509 *other = sk_X509_value(j->in->others, i);
        if (stls_crl_has_key_id(crl, other) && try_signer(j, crl, other, signer)) {
            return 1;
        }
    }
    /* A key identifier is a hint: the issuer itself is tried whatever it says. */
    if (!stls_crl_has_key_id(crl, j->issuer) && try_signer(j, crl, j->issuer, signer)) {
        return 1;
    }
    return 0;
}

/* ---- one CRL ------------------------------------------------------------------------------- */

static void tell_revoked(judgement *j, const stls_crl *crl, const stls_crl_entry *entry)
{
    fail(j, AT_ENTRY, STLS_REASON_CRL_REVOKED, "revoked%s%s", entry->reason >= 0 ? ", reason " : "",
         entry->reason >= 0 ? OCSP_crl_reason_str(entry->reason) : "");
    j->answer->revoked_at_s = entry->revoked_at_s;
    j->answer->revocation_reason = entry->reason;
    if (j->use != NULL && crl == j->use->fed) {
        j->use->is_fed_proof = 1;
    }
}

static int is_held(const stls_crl_entry *entry)
{
    return entry->reason == CRL_REASON_CERTIFICATE_HOLD
           || entry->reason == CRL_REASON_REMOVE_FROM_CRL;
}

static void tell_past(judgement *j, int64_t use_until_s)
{
    fail(j, AT_TIME, STLS_REASON_CRL_STALE, "the CRL should have been renewed %lld s ago",
         (long long)(j->in->now_s - use_until_s));
}

/*
 * Revocation is for good, so that a CRL past its time still proves it, though
 * nothing else; only a hold may have been lifted since (section 5.3.1).
 */
static void examine_past(judgement *j, const stls_crl *crl, int64_t use_until_s)
{
    stls_crl_entry entry = {0, -1};
    crl_signer signer;
    judgement quiet = *j;
    stls_ocsp_answer ignored = {0};

    quiet.answer = &ignored;
    if (find_signer(&quiet, crl, &signer) && stls_crl_find(crl, j->cert, &entry) > 0
        && !is_held(&entry)) {
        tell_revoked(j, crl, &entry);
    } else {
        tell_past(j, use_until_s);
    }
}

static void examine_current(judgement *j, const stls_crl *crl, unsigned int reasons,
                            int64_t use_until_s, int is_grace)
{
    crl_signer signer;

    if (!find_signer(j, crl, &signer)) {
        return;
    }
    stls_crl_listing found = stls_crl_look_up(j->in, j->use, crl, signer.cert, j->cert);
    if (found.is_listed > 0) {
        if (is_grace && is_held(&found.entry)) {
            tell_past(j, use_until_s);
        } else {
            tell_revoked(j, crl, &found.entry);
        }
        return;
    }
    if (found.is_listed < 0) {
        j->is_open = 1;
        fail(j, AT_ENTRY, STLS_REASON_CRL_MALFORMED, "the CRL's entry cannot be decoded");
        return;
    }
    if (stls_grow(&j->in->policy->allocator, (void **)&j->statements, &j->cap_statements,
                  j->num_statements, sizeof(*j->statements))
        != STLS_OK) {
        fail_memory(j);
        return;
    }
    j->statements[j->num_statements++] = (statement){
        .crl = crl,
        .delta = found.delta,
        .reasons = reasons,
        .use_until_s = min_s(use_until_s, min_s(found.use_until_s, signer.use_until_s)),
        .ends_s = signer.ends_s,
        .is_grace = is_grace || found.is_grace || signer.is_grace};
    if (j->use != NULL && !is_grace && crl->freshest != NULL && crl->number != NULL) {
        j->use->base = crl;
    }
}

static void examine(judgement *j, const DIST_POINT *point, const stls_crl *crl)
{
    const char *why = "";
    int64_t use_until_s;
    unsigned int reasons = crl->base_number == NULL ? stls_crl_scope(j->cert, point, crl, &why) : 0;

    if (reasons == 0) {
        if (why[0] != '\0') {
            fail(j, AT_SCOPE, STLS_REASON_CRL_WRONG_SCOPE, "%s", why);
        }
        return;
    }
    switch (stls_crl_period_of(j->in, crl, &use_until_s)) {
    case STLS_CRL_AHEAD:
        fail(j, AT_TIME, STLS_REASON_CRL_STALE, "the CRL's thisUpdate lies %lld s ahead",
             (long long)(crl->this_update_s - j->in->now_s));
        break;
    case STLS_CRL_PAST:
        examine_past(j, crl, use_until_s);
        break;
    case STLS_CRL_CURRENT:
        examine_current(j, crl, reasons, use_until_s, 0);
        break;
    case STLS_CRL_GRACE:
        examine_current(j, crl, reasons, use_until_s, 1);
        break;
    }
}

/* ---- all CRLs ------------------------------------------------------------------------------ */

/* All are looked at: "revoked" in one is not outvoted by another that came before it. */
static void examine_all(judgement *j, const DIST_POINT *point)
{
    for (size_t i = 0; i < j->in->num_crls && j->answer->reason != STLS_REASON_CRL_REVOKED; i++) {
        examine(j, point, j->in->crls[i]);
    }
}

/* Completes a name that is relative to its issuer's. */
static int complete_point(DIST_POINT *point, const X509 *cert)
{
    const X509_NAME *base = X509_get_issuer_name(cert);
    if (point->CRLissuer != NULL && sk_GENERAL_NAME_num(point->CRLissuer) > 0
        && sk_GENERAL_NAME_value(point->CRLissuer, 0)->type == GEN_DIRNAME) {
        base = sk_GENERAL_NAME_value(point->CRLissuer, 0)->d.directoryName;
    }
    return point->distpoint == NULL || DIST_POINT_set_dpname(point->distpoint, base);
}

/* Of two that say the same, the newer counts: by CRL number, else by thisUpdate. */
static int is_preferred(const statement *a, const statement *b)
{
    if (a->is_grace != b->is_grace) {
        return b->is_grace;
    }
    if (a->crl->number != NULL && b->crl->number != NULL && stls_crl_same_scope(a->crl, b->crl)) {
        int order = ASN1_INTEGER_cmp(a->crl->number, b->crl->number);
        if (order != 0) {
            return order > 0;
        }
    }
    return a->crl->this_update_s > b->crl->this_update_s;
}

/*
 * Whether the CRL that was fetched just now answers for a reason that no other
 * one does.  What others prove without it is no merit of it: a copy of the base
 * is no delta, and one part of several is not the other.
 */
static int adds_reasons(const judgement *j, const stls_crl *fed)
{
    unsigned int mine = 0, others = 0;
    int64_t ignored_s;

    for (size_t i = 0; i < j->num_statements; i++) {
        const statement *one = &j->statements[i];
        if (one->crl == fed) {
            mine |= stls_crl_period_of(j->in, fed, &ignored_s) == STLS_CRL_CURRENT ? one->reasons
                                                                                   : 0;
        } else if (!one->is_grace) {
            others |= one->reasons;
        }
    }
    return (mine & ~others) != 0;
}

/* Takes the statements, the preferred ones first, until every reason is answered for. */
static unsigned int cover(judgement *j)
{
    stls_ocsp_answer *answer = j->answer;
    unsigned int covered = 0;

    answer->use_until_s = answer->ends_s = INT64_MAX;
    while (covered != STLS_ALL_REASONS) {
        const statement *best = NULL;
        for (size_t i = 0; i < j->num_statements; i++) {
            const statement *one = &j->statements[i];
            if ((one->reasons & ~covered) != 0 && (best == NULL || is_preferred(one, best))) {
                best = one;
            }
        }
        if (best == NULL) {
            break;
        }
        covered |= best->reasons;
        answer->is_grace |= best->is_grace;
        answer->ends_s = min_s(answer->ends_s, best->ends_s);
        if (best->use_until_s < answer->use_until_s) {
            const stls_crl *newest = best->delta != NULL ? best->delta : best->crl;
            answer->use_until_s = best->use_until_s;
            answer->this_update_s = newest->this_update_s;
            answer->next_update_s = newest->next_update_s;
        }
    }
    return covered;
}

static void judge(judgement *j)
{
    stls_ocsp_answer *answer = j->answer;
    int critical = -1;

    memset(answer, 0, sizeof(*answer));
    answer->revocation_reason = -1;
    answer->reason = STLS_REASON_REVOCATION_INCONCLUSIVE;
    strcpy(answer->detail, "no CRL is about this certificate");

    CRL_DIST_POINTS *points = X509_get_ext_d2i(j->cert, NID_crl_distribution_points, &critical,
                                               NULL);
    if (points == NULL && critical != -1) {
        fail_memory(j); /* the path's validation has decoded them */
    }
    for (int i = 0; i < sk_DIST_POINT_num(points); i++) {
        DIST_POINT *point = sk_DIST_POINT_value(points, i);
        if (complete_point(point, j->cert)) {
            examine_all(j, point);
        } else {
            fail_memory(j);
        }
    }
    CRL_DIST_POINTS_free(points);
    /* Whatever the issuer publishes for all of its certificates counts, too. */
    examine_all(j, NULL);

    if (j->use != NULL) {
        j->use->is_fed_proof |= adds_reasons(j, j->use->fed);
    }
    if (answer->reason != STLS_REASON_CRL_REVOKED && !j->is_open) {
        unsigned int covered = cover(j);
        if (covered == STLS_ALL_REASONS) {
            answer->reason = STLS_REASON_NONE;
            answer->detail[0] = '\0';
        } else if (covered != 0) {
            answer->reason = STLS_REASON_CRL_WRONG_SCOPE;
            strcpy(answer->detail, "the CRLs at hand do not cover every revocation reason");
        }
    }
    stls_dealloc(&j->in->policy->allocator, j->statements);
}

void stls_crl_judge(stls_ocsp_answer *answer, const stls_crl_input *in, X509 *cert, X509 *issuer,
                    stls_crl_use *use)
{
    judgement j = {
        .in = in, .cert = cert, .issuer = issuer, .path = in->path, .use = use, .answer = answer};
    if (use != NULL) {
        use->is_fed_proof = 0;
        use->base = NULL;
    }
    stls_errors_mark();
    judge(&j);
    /* One that says "good" as well: another one that says "revoked" may not have been looked at. */
    in->work->lacks_memory |= stls_errors_pop();
    if (in->work->lacks_memory && answer->reason != STLS_REASON_CRL_REVOKED) {
        fail_memory(&j);
    }
}
