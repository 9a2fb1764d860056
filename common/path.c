#include "path.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "cert_stack.h"
#include "memo.h"
#include "path_search.h"
#include "x509_text.h"

typedef struct {
    const stls_path_input *in;
    stls_findings *findings;
    X509_STORE_CTX_verify_fn verify; /* OpenSSL's own: signatures and dates */
    int is_probe;                    /* one error is enough */
    int num_errors;
    int is_broken_off; /* no issuer, or one that is no anchor: told by chain.c */
    int is_unproven;   /* nobody trusted vouches for these certificates */
} collector;

static stls_reason reason_of(int error)
{
    switch (error) {
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return STLS_REASON_CHAIN_NOT_YET_VALID;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return STLS_REASON_CHAIN_EXPIRED;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE:
    case X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY:
        return STLS_REASON_CHAIN_BAD_SIGNATURE;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return STLS_REASON_CHAIN_WEAK;
    case X509_V_ERR_INVALID_PURPOSE:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_CERT_REJECTED:
        return STLS_REASON_CHAIN_PURPOSE;
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_INVALID_NON_CA:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_PATH_LOOP:
    case X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_PROXY_CERTIFICATES_NOT_ALLOWED:
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
    case X509_V_ERR_SUBTREE_MINMAX:
    case X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE:
    case X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX:
    case X509_V_ERR_UNSUPPORTED_NAME_SYNTAX:
    case X509_V_ERR_UNNESTED_RESOURCE:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
    case X509_V_ERR_KEYUSAGE_NO_DIGITAL_SIGNATURE:
    case X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION:
    case X509_V_ERR_INVALID_POLICY_EXTENSION:
    case X509_V_ERR_NO_EXPLICIT_POLICY:
        return STLS_REASON_CHAIN_CONSTRAINT;
    case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD:
    case X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD:
        return STLS_REASON_CHAIN_MALFORMED;
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
        return STLS_REASON_CHAIN_TOO_LONG;
    case X509_V_ERR_OUT_OF_MEM:
        return STLS_REASON_INTERNAL_MEMORY;
    case X509_V_ERR_INVALID_EXTENSION:
    case X509_V_ERR_UNSUPPORTED_EXTENSION_FEATURE:
        return STLS_REASON_CHAIN_PROFILE;
    default:
        /* What X509_V_FLAG_X509_STRICT adds, and whatever later OpenSSLs add to it. */
        return error >= X509_V_ERR_UNSUPPORTED_SIGNATURE_ALGORITHM ? STLS_REASON_CHAIN_PROFILE
                                                                   : STLS_REASON_INTERNAL_ERROR;
    }
}

/* Goes on after an error to find the others as well; collector.num_errors decides in the end. */
static int collect(int ok, X509_STORE_CTX *ctx)
{
    collector *c = X509_STORE_CTX_get_app_data(ctx);
    if (ok) {
        /* Dates are all looked at when the leaf's turn ends; what comes then (name constraints over
         * thousands of names) is work that nobody untrusted may cause. */
        return !c->is_unproven || X509_STORE_CTX_get_error_depth(ctx) > 0;
    }
    int error = X509_STORE_CTX_get_error(ctx);
    X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
    int index = cert != NULL ? stls_cert_index(c->in->presented, cert) : STLS_NO_CERT;

    switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        c->is_broken_off = c->is_unproven = 1;
        c->num_errors++;
        return !c->is_probe;
    case X509_V_ERR_OUT_OF_MEM:
        c->num_errors++;
        stls_findings_add(c->findings, STLS_REASON_INTERNAL_MEMORY, 1, index, cert, NULL, "%s",
                          X509_verify_cert_error_string(error));
        return 0;
    case X509_V_ERR_UNSPECIFIED:
        /* What OpenSSL says where names times constraints exceed its bound. */
        c->num_errors++;
        stls_findings_add(c->findings, STLS_REASON_CHAIN_CONSTRAINT, 1, index, cert, NULL,
                          "the certificate's names or constraints are too many to compare");
        return 0;
    default:
        break;
    }

    stls_reason reason = reason_of(error);
    /* The anchor is an input of the validation (RFC 5280 section 6.1.1 (d)), not held to the
     * profile: old roots, trusted all the same, lack extensions. */
    int is_anchor = cert != NULL && stls_anchors_contain(c->in->anchors, cert);
    if (is_anchor && error != X509_V_ERR_EC_KEY_EXPLICIT_PARAMS
        && (reason == STLS_REASON_CHAIN_PROFILE
            || (error == X509_V_ERR_INVALID_CA && X509_get_version(cert) == X509_VERSION_1))) {
        return 1;
    }
    c->num_errors++;
    c->is_unproven |= reason == STLS_REASON_CHAIN_BAD_SIGNATURE;
    if (!stls_findings_have(c->findings, reason, index)) {
        stls_findings_add(c->findings, reason, 1, index, cert,
                          is_anchor && index == STLS_NO_CERT
                              ? "replace this root in the trusted certificates"
                              : NULL,
                          "%s", X509_verify_cert_error_string(error));
    }
    return !c->is_probe;
}

/* ---- signatures and dates ------------------------------------------------------------ */

static int report_error(X509_STORE_CTX *ctx, int error, int depth)
{
    X509_STORE_CTX_set_error(ctx, error);
    X509_STORE_CTX_set_error_depth(ctx, depth);
    X509_STORE_CTX_set_current_cert(ctx, sk_X509_value(X509_STORE_CTX_get0_chain(ctx), depth));
    return collect(0, ctx);
}

/* A certificate's time in the one form that RFC 5280 section 4.1.2.5 allows: to the second, in Z. */
static int read_time(const ASN1_TIME *time, int64_t *time_s)
{
    size_t len = (size_t)ASN1_STRING_length(time);
    size_t wanted = ASN1_STRING_type(time) == V_ASN1_UTCTIME ? sizeof("YYMMDDHHMMSSZ") - 1
                                                             : sizeof("YYYYMMDDHHMMSSZ") - 1;
    return len == wanted && ASN1_STRING_get0_data(time)[len - 1] == 'Z'
           && stls_time_s(time, time_s);
}

static int judge_date(X509_STORE_CTX *ctx, int at, int64_t now_s)
{
    const X509 *cert = sk_X509_value(X509_STORE_CTX_get0_chain(ctx), at);
    int64_t from_s, to_s;
    int ok = 1;

    if (!read_time(X509_get0_notBefore(cert), &from_s)) {
        ok = report_error(ctx, X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD, at);
    } else if (from_s > now_s) {
        ok = report_error(ctx, X509_V_ERR_CERT_NOT_YET_VALID, at);
    }
    if (ok && !read_time(X509_get0_notAfter(cert), &to_s)) {
        ok = report_error(ctx, X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD, at);
    } else if (ok && to_s <= now_s) {
        ok = report_error(ctx, X509_V_ERR_CERT_HAS_EXPIRED, at);
    }
    return ok;
}

/* The dates alone, of a chain that no anchor vouches for. */
static int judge_dates(X509_STORE_CTX *ctx, int64_t now_s)
{
    int ok = 1;
    for (int i = sk_X509_num(X509_STORE_CTX_get0_chain(ctx)) - 1; ok && i >= 0; i--) {
        ok = judge_date(ctx, i, now_s);
    }
    return ok;
}

/* What OpenSSL's own verification does, but for signatures that verified before. */
static int verify_with_memo(X509_STORE_CTX *ctx, const collector *c)
{
    const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    int top = sk_X509_num(chain) - 1;
    int ok = judge_date(ctx, top, c->in->now_s);

    for (int i = top - 1; ok && i >= 0; i--) {
        X509 *cert = sk_X509_value(chain, i), *issuer = sk_X509_value(chain, i + 1);
        if ((X509_get_key_usage(issuer) & KU_KEY_CERT_SIGN) == 0) {
            ok = report_error(ctx, X509_V_ERR_KEYUSAGE_NO_CERTSIGN, i + 1);
        }
        if (ok && X509_get0_pubkey(issuer) == NULL) {
            ok = report_error(ctx, X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY, i + 1);
        } else if (ok && !stls_memo_verify_cert(c->in->work->memo, cert, issuer)) {
            ok = report_error(ctx, X509_V_ERR_CERT_SIGNATURE_FAILURE, i);
        }
        ok = ok && judge_date(ctx, i, c->in->now_s);
    }
    return ok && !c->is_unproven;
}

/* Called by OpenSSL where it would verify the chain's signatures; 0 ends the validation. */
static int verify(X509_STORE_CTX *ctx)
{
    collector *c = X509_STORE_CTX_get_app_data(ctx);
    const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    int num_too_costly = 0;

    /* What comes behind (name constraints over thousands of names) is work that nobody untrusted
     * may cause, either. */
    if (c->is_unproven) {
        judge_dates(ctx, c->in->now_s);
        return 0;
    }
    if (c->is_probe && !judge_dates(ctx, c->in->now_s)) {
        return 0; /* dates cost nothing */
    }
    for (int i = 0; i < sk_X509_num(chain); i++) {
        if (stls_key_is_too_costly(X509_get0_pubkey(sk_X509_value(chain, i)))) {
            num_too_costly++;
            report_error(ctx, i > 0 ? X509_V_ERR_CA_KEY_TOO_SMALL : X509_V_ERR_EE_KEY_TOO_SMALL, i);
        }
    }
    if (num_too_costly > 0 || !stls_work_take(c->in->work, sk_X509_num(chain) - 1)) {
        c->num_errors++;
        return 0;
    }
    return c->in->work->memo != NULL ? verify_with_memo(ctx, c) : c->verify(ctx);
}

/* ---- one attempt ------------------------------------------------------------------------ */

static int set_up(X509_STORE_CTX *ctx, const stls_policy *policy, stls_role role, int64_t now_s)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    unsigned long flags = X509_V_FLAG_TRUSTED_FIRST;

    if (policy->num[STLS_KEY_X509_STRICT] == STLS_X509_STRICT_ON) {
        flags |= X509_V_FLAG_X509_STRICT;
    }
    if (policy->num[STLS_KEY_REQUIRE_EXPLICIT_POLICY] == STLS_ON) {
        flags |= X509_V_FLAG_EXPLICIT_POLICY;
    }
    if (policy->num[STLS_KEY_INHIBIT_POLICY_MAPPING] == STLS_ON) {
        flags |= X509_V_FLAG_INHIBIT_MAP;
    }
    if (policy->num[STLS_KEY_INHIBIT_ANY_POLICY] == STLS_ON) {
        flags |= X509_V_FLAG_INHIBIT_ANY;
    }
    flags |= X509_V_FLAG_POLICY_CHECK;

    X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
    X509_VERIFY_PARAM_set_depth(param, (int)policy->num[STLS_KEY_MAX_CHAIN_LEN]);
    X509_VERIFY_PARAM_set_auth_level(param, (int)policy->num[STLS_KEY_SECURITY_LEVEL]);
    if (!X509_VERIFY_PARAM_set_flags(param, flags)) {
        return 0;
    }
    /* Where the common name is no identity, and of clients it never is, constraints on DNS names
     * are not about it (RFC 5280 section 4.2.1.10). */
    if (policy->num[STLS_KEY_NAME_CN_FALLBACK] == STLS_OFF || role == STLS_ROLE_CLIENT) {
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    }
    if (policy->num[STLS_KEY_PURPOSE] == STLS_PURPOSE_ROLE) {
        int is_server = role == STLS_ROLE_SERVER;
        if (!X509_STORE_CTX_set_purpose(ctx, is_server ? X509_PURPOSE_SSL_SERVER
                                                       : X509_PURPOSE_SSL_CLIENT)) {
            return 0;
        }
    }
    /* An empty set means no policy at all to OpenSSL; unset means any to us (RFC 5280 6.1.1 (c)). */
    if (policy->cert_policies == NULL
        && !X509_VERIFY_PARAM_add0_policy(param, OBJ_nid2obj(NID_any_policy))) {
        return 0;
    }
    for (int i = 0; i < sk_ASN1_OBJECT_num(policy->cert_policies); i++) {
        ASN1_OBJECT *oid = OBJ_dup(sk_ASN1_OBJECT_value(policy->cert_policies, i));
        if (oid == NULL || !X509_VERIFY_PARAM_add0_policy(param, oid)) {
            ASN1_OBJECT_free(oid);
            return 0;
        }
    }
    return 1;
}

static stls_status record(stls_path *path, const stls_allocator *a, const STACK_OF(X509) *presented)
{
    int num = sk_X509_num(path->certs);

    path->not_after_s = INT64_MAX;
    path->presented_index = stls_alloc(a, (size_t)num * sizeof(int));
    if (path->presented_index == NULL) {
        return STLS_ERR_MEMORY;
    }
    for (int i = 0; i < num; i++) {
        const X509 *cert = sk_X509_value(path->certs, i);
        int64_t not_after_s;
        path->presented_index[i] = stls_cert_index(presented, cert);
        if (stls_time_s(X509_get0_notAfter(cert), &not_after_s)
            && not_after_s < path->not_after_s) {
            path->not_after_s = not_after_s;
        }
    }
    return STLS_OK;
}

/* Which certificates a path may be made of, besides the leaf. */
typedef struct {
    STACK_OF(X509) *intermediates;
    STACK_OF(X509) *anchors; /* NULL: any */
} material;

static void judge_rest(stls_path *path, const stls_path_input *in, stls_findings *findings);

static stls_status attempt(stls_path *path, const stls_path_input *in, const material *from,
                           int is_probe, stls_findings *findings)
{
    stls_status status = STLS_ERR_MEMORY;
    X509 *leaf = sk_X509_value(in->presented, 0);
    collector c = {.in = in, .findings = findings, .is_probe = is_probe};

    memset(path, 0, sizeof(*path));
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (ctx == NULL || !X509_STORE_CTX_init(ctx, in->anchors->store, leaf, from->intermediates)
        || !set_up(ctx, in->policy, in->role, in->now_s) || !X509_STORE_CTX_set_app_data(ctx, &c)) {
        goto done;
    }
    if (from->anchors != NULL) {
        /* These certificates as they are, and no shorter way between them. */
        X509_STORE_CTX_set0_trusted_stack(ctx, from->anchors);
        X509_VERIFY_PARAM_clear_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_TRUSTED_FIRST);
    }
    X509_STORE_CTX_set_verify_cb(ctx, collect);
    c.verify = X509_STORE_CTX_get_verify(ctx);
    X509_STORE_CTX_set_verify(ctx, verify);

    int verified = X509_verify_cert(ctx);
    if (verified < 0 && c.num_errors == 0) {
        goto done; /* could not run: out of memory for all we know */
    }
    path->certs = X509_STORE_CTX_get1_chain(ctx);
    if (path->certs == NULL) {
        goto done;
    }
    status = record(path, &in->policy->allocator, in->presented);
    X509 *top = sk_X509_value(path->certs, sk_X509_num(path->certs) - 1);
    path->is_complete = !c.is_broken_off && stls_anchors_contain(in->anchors, top);
    path->is_valid = verified == 1 && c.num_errors == 0 && path->is_complete;
    if (status == STLS_OK && path->is_valid) {
        judge_rest(path, in, findings);
    } else if (status == STLS_OK && c.num_errors == 0) {
        stls_findings_add(findings, STLS_REASON_INTERNAL_ERROR, 1, 0, leaf, NULL,
                          "path validation failed: %s",
                          X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    }
done:
    X509_STORE_CTX_free(ctx);
    return status;
}

/* ---- what OpenSSL leaves out -------------------------------------------------------------- */

/* The leaf as it would be if it were for this name alone; NULL when out of memory. */
static X509 *for_name_alone(X509 *leaf, stls_name_type type, const char *name)
{
    X509 *cert = X509_dup(leaf);
    X509_NAME *nobody = X509_NAME_new();
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *one = a2i_GENERAL_NAME(NULL, NULL, NULL,
                                         type == STLS_NAME_IP ? GEN_IPADD : GEN_DNS, name, 0);
    int at, ok = cert != NULL && nobody != NULL && names != NULL && one != NULL;

    if (ok && sk_GENERAL_NAME_push(names, one) > 0) {
        one = NULL;
        while ((at = X509_get_ext_by_NID(cert, NID_subject_alt_name, -1)) >= 0) {
            X509_EXTENSION_free(X509_delete_ext(cert, at));
        }
        ok = X509_set_subject_name(cert, nobody) == 1
             && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1
             && X509_check_purpose(cert, -1, -1) == 1; /* takes note of its names */
    } else {
        ok = 0;
    }
    GENERAL_NAME_free(one);
    GENERAL_NAMES_free(names);
    X509_NAME_free(nobody);
    if (!ok) {
        X509_free(cert);
        cert = NULL;
    }
    return cert;
}

int stls_path_permits_name(const stls_path *path, stls_name_type type, const char *name, int *at)
{
    X509 *alone = NULL;
    int is_permitted = 1;

    ERR_set_mark();
    for (int i = 1; is_permitted && i < sk_X509_num(path->certs); i++) {
        X509 *ca = sk_X509_value(path->certs, i);
        if (X509_get_ext_by_NID(ca, NID_name_constraints, -1) < 0) {
            continue;
        }
        if (alone == NULL) {
            alone = for_name_alone(sk_X509_value(path->certs, 0), type, name);
        }
        NAME_CONSTRAINTS *constraints = X509_get_ext_d2i(ca, NID_name_constraints, NULL, NULL);
        is_permitted = alone != NULL && constraints != NULL
                       && NAME_CONSTRAINTS_check(alone, constraints) == X509_V_OK;
        NAME_CONSTRAINTS_free(constraints);
        *at = i;
    }
    X509_free(alone);
    ERR_pop_to_mark();
    return is_permitted;
}

int stls_has_unknown_qualifier(const X509 *cert)
{
    int critical = 0, has_unknown = 0;

    if (X509_get_ext_by_NID(cert, NID_certificate_policies, -1) < 0) {
        return 0;
    }
    ERR_set_mark();
    CERTIFICATEPOLICIES *policies = X509_get_ext_d2i(cert, NID_certificate_policies, &critical,
                                                     NULL);
    for (int i = 0; i < sk_POLICYINFO_num(policies); i++) {
        const POLICYINFO *policy = sk_POLICYINFO_value(policies, i);
        for (int k = 0; k < sk_POLICYQUALINFO_num(policy->qualifiers); k++) {
            int nid = OBJ_obj2nid(sk_POLICYQUALINFO_value(policy->qualifiers, k)->pqualid);
            has_unknown |= nid != NID_id_qt_cps && nid != NID_id_qt_unotice;
        }
    }
    CERTIFICATEPOLICIES_free(policies);
    ERR_pop_to_mark();
    return critical != 0 && (has_unknown || policies == NULL);
}

/* Of a path that OpenSSL takes. */
static void judge_rest(stls_path *path, const stls_path_input *in, stls_findings *findings)
{
    int at = 0;

    for (int i = 0; i + 1 < sk_X509_num(path->certs); i++) {
        X509 *cert = sk_X509_value(path->certs, i);
        if (stls_has_unknown_qualifier(cert)) {
            path->is_valid = 0;
            stls_findings_add(findings, STLS_REASON_CHAIN_CONSTRAINT, 1, path->presented_index[i],
                              cert, NULL,
                              "its critical certificate policies have a qualifier that is unknown");
        }
    }
    if (in->name_type != STLS_NAME_NONE
        && !stls_path_permits_name(path, in->name_type, in->name, &at)) {
        char ca[STLS_NAME_TEXT_LEN];
        stls_name_text(X509_get_subject_name(sk_X509_value(path->certs, at)), ca);
        path->is_valid = 0;
        stls_findings_add(
            findings, STLS_REASON_CHAIN_CONSTRAINT, 1, 0, sk_X509_value(path->certs, 0), NULL,
            "wanted '%s'; the name constraints of '%s' do not allow it", in->name, ca);
    }
}

/* ---- other paths --------------------------------------------------------------------------- */

#define MAX_PROBES 32 /* other paths: a peer can make any number of them */

typedef struct {
    const stls_path_input *in;
    stls_path *path; /* the first one, or what replaces it */
    int64_t reserve; /* signatures that are left to the rest of the check */
    int num_probes;
    STACK_OF(X509) *instead; /* the first other one that reaches an anchor */
    stls_status status;
} alternatives;

static int is_same_path(const STACK_OF(X509) *a, const STACK_OF(X509) *b)
{
    int same = sk_X509_num(a) == sk_X509_num(b);
    for (int i = 0; same && i < sk_X509_num(a); i++) {
        same = X509_cmp(sk_X509_value(a, i), sk_X509_value(b, i)) == 0;
    }
    return same;
}

/* The path as it is given, and no other certificate. */
static stls_status attempt_exactly(stls_path *path, const stls_path_input *in,
                                   const STACK_OF(X509) *certs, int is_probe,
                                   stls_findings *findings)
{
    stls_status status = STLS_ERR_MEMORY;
    material from = {sk_X509_dup(certs), sk_X509_new_null()};

    if (from.intermediates != NULL && from.anchors != NULL) {
        (void)sk_X509_shift(from.intermediates);
        if (sk_X509_push(from.anchors, sk_X509_pop(from.intermediates)) > 0) {
            status = attempt(path, in, &from, is_probe, findings);
        }
    }
    sk_X509_free(from.intermediates);
    sk_X509_free(from.anchors);
    return status;
}

/* 1 ends the search. */
static int probe(void *baton, const STACK_OF(X509) *certs)
{
    alternatives *a = baton;
    const stls_allocator *allocator = &a->in->policy->allocator;
    stls_findings found;
    stls_path other;

    if (is_same_path(certs, a->path->certs)) {
        return 0;
    }
    if (a->num_probes++ >= MAX_PROBES
        || a->in->work->left - (sk_X509_num(certs) - 1) < a->reserve) {
        return 1;
    }
    stls_findings_init(&found, allocator);
    a->status = attempt_exactly(&other, a->in, certs, 1, &found);
    stls_findings_clear(&found);
    if (a->status == STLS_OK && other.is_valid) {
        stls_path_clear(a->path, allocator);
        *a->path = other;
        return 1;
    }
    stls_path_clear(&other, allocator);
    if (a->status == STLS_OK && a->instead == NULL) {
        a->instead = sk_X509_dup(certs);
        a->status = a->instead != NULL ? STLS_OK : STLS_ERR_MEMORY;
    }
    return a->status != STLS_OK;
}

/*
 * OpenSSL follows the first issuer that fits and never turns back: of two
 * intermediates, or anchors, with one name the other may be the right one.
 * Where none of the other paths is valid, one that reaches an anchor says more
 * of what is wrong than one that does not.
 */
static stls_status try_others(stls_path *path, const stls_path_input *in,
                              const STACK_OF(X509) *sorted, stls_findings *findings,
                              size_t num_before)
{
    stls_path_input search = *in;
    const stls_allocator *allocator = &in->policy->allocator;
    alternatives a = {.in = in,
                      .path = path,
                      .reserve = in->policy->num[STLS_KEY_MAX_SIGNATURES] / 2,
                      .status = STLS_OK};

    search.presented = sorted;
    if (!stls_path_search(&search, probe, &a)) {
        a.status = STLS_ERR_MEMORY;
    }
    if (a.status == STLS_OK && path->is_valid) {
        stls_findings_cut(findings, num_before);
    } else if (a.status == STLS_OK && !path->is_complete && a.instead != NULL) {
        stls_path_clear(path, allocator);
        stls_findings_cut(findings, num_before);
        a.status = attempt_exactly(path, in, a.instead, 0, findings);
    }
    sk_X509_free(a.instead);
    return a.status;
}

static int compare_certs(const X509 *const *a, const X509 *const *b)
{
    int order = ASN1_TIME_compare(X509_get0_notAfter(*b), X509_get0_notAfter(*a));
    return order != 0 ? order : X509_cmp(*a, *b);
}

/*
 * Where the order of presentation is of no account (chain_order any), it does
 * not choose between two paths, either: those with the longest lives come first.
 */
static STACK_OF(X509) *sorted_for(const stls_path_input *in)
{
    STACK_OF(X509) *sorted = sk_X509_dup(in->presented);
    if (sorted == NULL || in->policy->num[STLS_KEY_CHAIN_ORDER] == STLS_ORDER_STRICT) {
        return sorted;
    }
    X509 *leaf = sk_X509_shift(sorted);
    (void)sk_X509_set_cmp_func(sorted, compare_certs);
    sk_X509_sort(sorted);
    if (sk_X509_unshift(sorted, leaf) <= 0) {
        sk_X509_free(sorted);
        return NULL;
    }
    return sorted;
}

stls_status stls_path_build(stls_path *path, const stls_path_input *in, stls_findings *findings)
{
    const material all = {sorted_for(in), NULL};
    size_t num_before = findings->num;

    memset(path, 0, sizeof(*path));
    if (all.intermediates == NULL) {
        return STLS_ERR_MEMORY;
    }
    ERR_set_mark();
    stls_status status = attempt(path, in, &all, 0, findings);
    if (status == STLS_OK && !path->is_valid) {
        status = try_others(path, in, all.intermediates, findings, num_before);
    }
    ERR_pop_to_mark();
    sk_X509_free(all.intermediates);
    return status;
}

void stls_path_clear(stls_path *path, const stls_allocator *allocator)
{
    sk_X509_pop_free(path->certs, X509_free);
    stls_dealloc(allocator, path->presented_index);
    memset(path, 0, sizeof(*path));
}
