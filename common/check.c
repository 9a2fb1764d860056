/* Sequences a check; knows no rule. */
#include "check.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "error.h"
#include "must_staple.h"

stls_check *stls_check_new(stls_policy *policy, stls_anchors *anchors, stls_role role)
{
    if (policy == NULL || anchors == NULL || !policy->frozen || !anchors->frozen
        || policy->num[STLS_KEY_MODE] == STLS_MODE_OFF
        || (role != STLS_ROLE_SERVER && role != STLS_ROLE_CLIENT)) {
        return NULL;
    }
    stls_check *check = stls_alloc(&policy->allocator, sizeof(*check));
    if (check == NULL) {
        return NULL;
    }
    check->allocator = policy->allocator;
    check->policy = stls_policy_up_ref(policy);
    check->anchors = stls_anchors_up_ref(anchors);
    check->role = role;
    check->verdict = STLS_PENDING;
    check->staple_until_s = INT64_MAX;
    stls_work_init(&check->work, policy);
    stls_findings_init(&check->findings, &check->allocator);
    check->presented = sk_X509_new_null();
    check->crl_issuers = sk_X509_new_null();
    if (check->presented == NULL || check->crl_issuers == NULL) {
        stls_check_free(check);
        return NULL;
    }
    return check;
}

void stls_check_free(stls_check *check)
{
    if (check == NULL) {
        return;
    }
    stls_allocator allocator = check->allocator;
    stls_ladder_clear(&check->ladder, &allocator);
    stls_path_clear(&check->path, &allocator);
    for (size_t i = 0; i < check->num_staples; i++) {
        stls_dealloc(&allocator, check->staples[i].der);
    }
    stls_dealloc(&allocator, check->staples);
    for (size_t i = 0; i < check->num_crls; i++) {
        stls_crl_free(check->crls[i]);
    }
    stls_dealloc(&allocator, check->crls);
    sk_X509_pop_free(check->crl_issuers, X509_free);
    stls_crl_file_free(check->crl_file);
    stls_memo_free(check->memo);
    stls_dealloc(&allocator, check->places);
    stls_dealloc(&allocator, check->order.links);
    stls_findings_clear(&check->findings);
    sk_X509_pop_free(check->presented, X509_free);
    stls_anchors_free(check->anchors);
    stls_policy_free(check->policy);
    stls_dealloc(&allocator, check);
}

/* ---- what the peer presented ----------------------------------------------- */

static stls_status lose(stls_check *check, stls_status status)
{
    check->findings.out_of_memory = 1;
    return status;
}

stls_status stls_check_add_cert(stls_check *check, X509 *cert)
{
    if (check->phase != STLS_PHASE_COLLECT || cert == NULL) {
        return STLS_ERR_STATE;
    }
    int len = i2d_X509(cert, NULL);
    if (len < 0) {
        return lose(check, STLS_ERR_ARGUMENT);
    }
    check->num_presented++;
    check->presented_bytes += (size_t)len;
    if ((int64_t)check->num_presented > check->policy->num[STLS_KEY_MAX_CHAIN_LEN]
        || (int64_t)check->presented_bytes > check->policy->num[STLS_KEY_MAX_CHAIN_BYTES]) {
        return STLS_OK; /* counted, not kept: the trust phase says chain.too_long */
    }
    if (!sk_X509_push(check->presented, cert)) {
        return lose(check, STLS_ERR_MEMORY);
    }
    X509_up_ref(cert);
    return STLS_OK;
}

stls_status stls_check_add_cert_der(stls_check *check, const unsigned char *der, size_t der_len)
{
    const unsigned char *p = der;

    if (check->phase != STLS_PHASE_COLLECT) {
        return STLS_ERR_STATE;
    }
    ERR_set_mark();
    X509 *cert = der_len <= INT32_MAX ? d2i_X509(NULL, &p, (long)der_len) : NULL;
    ERR_pop_to_mark();
    if (cert == NULL || p != der + der_len) {
        X509_free(cert);
        stls_findings_add(&check->findings, STLS_REASON_CHAIN_MALFORMED, 1,
                          (int)check->num_presented, NULL, NULL,
                          "presented certificate %zu cannot be decoded", check->num_presented);
        check->num_presented++;
        return STLS_ERR_ARGUMENT;
    }
    stls_status status = stls_check_add_cert(check, cert);
    X509_free(cert);
    return status;
}

stls_status stls_check_add_certs(stls_check *check, const STACK_OF(X509) *certs)
{
    stls_status status = STLS_OK;
    for (int i = 0; i < sk_X509_num(certs) && status == STLS_OK; i++) {
        status = stls_check_add_cert(check, sk_X509_value(certs, i));
    }
    return status;
}

stls_status stls_check_set_name(stls_check *check, const char *name, size_t name_len)
{
    if (check->phase != STLS_PHASE_COLLECT) {
        return STLS_ERR_STATE;
    }
    check->name_type = stls_name_normalize(name, name_len, check->name);
    return STLS_OK;
}

stls_status stls_check_add_staple(stls_check *check, size_t cert_index, const unsigned char *der,
                                  size_t der_len)
{
    if (check->phase != STLS_PHASE_COLLECT && check->phase != STLS_PHASE_TRUST) {
        return STLS_ERR_STATE;
    }
    if (check->num_staples >= (size_t)check->policy->num[STLS_KEY_MAX_CHAIN_LEN]) {
        return STLS_ERR_TOO_LARGE;
    }
    stls_staple staple = {cert_index, NULL, der_len};
    /* One beyond the bound is kept as nothing, so that it counts as sent and fails to decode. */
    if ((int64_t)der_len > check->policy->num[STLS_KEY_MAX_REPLY_BYTES]) {
        staple.der_len = 0;
    }
    staple.der = stls_memdup(&check->allocator, der, staple.der_len);
    if (staple.der == NULL
        || stls_grow(&check->allocator, (void **)&check->staples, &check->cap_staples,
                     check->num_staples, sizeof(staple))
               != STLS_OK) {
        stls_dealloc(&check->allocator, staple.der);
        return lose(check, STLS_ERR_MEMORY);
    }
    check->staples[check->num_staples++] = staple;
    return STLS_OK;
}

stls_status stls_check_add_crl(stls_check *check, stls_crl *crl)
{
    if (check->phase != STLS_PHASE_COLLECT && check->phase != STLS_PHASE_TRUST) {
        return STLS_ERR_STATE;
    }
    if (crl == NULL || crl->phase != STLS_CRL_READY) {
        return STLS_ERR_ARGUMENT;
    }
    if (stls_grow(&check->allocator, (void **)&check->crls, &check->cap_crls, check->num_crls,
                  sizeof(crl))
        != STLS_OK) {
        return lose(check, STLS_ERR_MEMORY);
    }
    check->crls[check->num_crls++] = stls_crl_up_ref(crl);
    return STLS_OK;
}

stls_status stls_check_set_memo(stls_check *check, stls_memo *memo)
{
    if (check->phase != STLS_PHASE_COLLECT) {
        return STLS_ERR_STATE;
    }
    stls_memo *old = check->memo;
    check->memo = stls_memo_up_ref(memo);
    check->work.memo = check->memo;
    stls_memo_free(old);
    return STLS_OK;
}

static stls_status push_crl_issuer(stls_check *check, X509 *cert)
{
    if (!X509_up_ref(cert)) {
        return lose(check, STLS_ERR_MEMORY);
    }
    if (!sk_X509_push(check->crl_issuers, cert)) {
        X509_free(cert);
        return lose(check, STLS_ERR_MEMORY);
    }
    return STLS_OK;
}

stls_status stls_check_add_crl_issuer(stls_check *check, X509 *cert)
{
    if (check->phase != STLS_PHASE_COLLECT && check->phase != STLS_PHASE_TRUST) {
        return STLS_ERR_STATE;
    }
    return push_crl_issuer(check, cert);
}

stls_status stls_check_set_crl_file(stls_check *check, stls_crl_file *file)
{
    if (check->phase != STLS_PHASE_COLLECT && check->phase != STLS_PHASE_TRUST) {
        return STLS_ERR_STATE;
    }
    if (file != NULL && file->phase != STLS_FILE_READY) {
        return STLS_ERR_ARGUMENT;
    }
    stls_crl_file *old = check->crl_file;
    check->crl_file = stls_crl_file_up_ref(file);
    stls_crl_file_free(old);
    return STLS_OK;
}

/* ---- the verdict --------------------------------------------------------------- */

static int64_t min_s(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void compute_validity(stls_check *check)
{
    const stls_policy *policy = check->policy;
    int is_firm = check->verdict == STLS_ACCEPT && !check->would_reject;
    int is_graced = 0;

    check->valid_until_s = check->now_s + policy->num[STLS_KEY_VERDICT_MAX_AGE_S];
    check->refresh_at_s = INT64_MAX;
    /* What is past its date is rejected for that; the rejection has a life of its own. */
    if (check->path.certs != NULL && check->verdict != STLS_REJECT && !check->would_reject) {
        check->valid_until_s = min_s(check->valid_until_s, check->path.not_after_s);
        check->valid_until_s = min_s(check->valid_until_s, check->staple_until_s);
    }
    for (size_t i = 0; i < check->ladder.num_slots; i++) {
        const stls_slot *slot = &check->ladder.slots[i];
        if (slot->state == STLS_SLOT_GOOD) {
            const stls_ocsp_answer *answer = &slot->answer;
            check->valid_until_s = min_s(check->valid_until_s, answer->ends_s);
            if (answer->is_grace) {
                /* Every source was asked just now, and is again when this verdict ends. */
                is_graced = 1;
                check->valid_until_s = min_s(check->valid_until_s,
                                             answer->use_until_s
                                                 + policy->num[STLS_KEY_STALE_GRACE_S]);
                continue;
            }
            check->valid_until_s = min_s(check->valid_until_s, answer->use_until_s);
            if (slot->source != STLS_SOURCE_STAPLE && slot->source != STLS_SOURCE_FILE) {
                check->refresh_at_s = min_s(
                    check->refresh_at_s,
                    stls_half_life_s(answer->this_update_s, answer->use_until_s));
            }
        } else if (slot->state == STLS_SLOT_INCONCLUSIVE && slot->asked_by < 0) {
            is_firm = 0;
        }
    }
    if ((!is_firm || is_graced) && check->phase == STLS_PHASE_FINAL) {
        check->valid_until_s = min_s(check->valid_until_s,
                                     check->now_s + policy->num[STLS_KEY_NEGATIVE_TTL_S]);
        check->refresh_at_s = INT64_MAX;
    }
}

/*
 * Whether another attempt of this process might have come to another verdict:
 * it lacked memory, or could not ask and has nothing conclusive instead.
 */
static int rests_on_local_failure(const stls_check *check)
{
    const stls_finding *primary = stls_findings_primary(&check->findings);
    stls_reason reason = primary != NULL ? primary->reason : STLS_REASON_NONE;

    if (reason == STLS_REASON_INTERNAL_MEMORY || reason == STLS_REASON_INTERNAL_ERROR) {
        return 1;
    }
    if (reason == STLS_REASON_OCSP_REVOKED || reason == STLS_REASON_CRL_REVOKED) {
        return 0;
    }
    for (size_t i = 0; i < check->ladder.num_slots; i++) {
        const stls_slot *slot = &check->ladder.slots[i];
        int is_weak = slot->state == STLS_SLOT_INCONCLUSIVE
                      || (slot->state == STLS_SLOT_GOOD && slot->answer.is_grace);
        if (slot->is_local && is_weak) {
            return 1;
        }
    }
    return 0;
}

/* What was not verified for its cost proves nothing, under no policy (RFC 5280 section 8). */
static void judge_work(stls_check *check)
{
    check->findings.out_of_memory |= check->work.lacks_memory;
    if (check->work.is_exceeded
        && !stls_findings_have(&check->findings, STLS_REASON_CHAIN_TOO_COSTLY, STLS_NO_CERT)) {
        stls_findings_add(&check->findings, STLS_REASON_CHAIN_TOO_COSTLY, 1, STLS_NO_CERT, NULL,
                          NULL, "more than %lld signatures would have to be verified",
                          (long long)check->policy->num[STLS_KEY_MAX_SIGNATURES]);
    }
}

/* The only place that accepts: nothing found, nothing left out. */
static stls_verdict finish(stls_check *check)
{
    judge_work(check);
    int accepts = !stls_findings_have_error(&check->findings) && check->passed == STLS_PASSED_ALL;

    if (!accepts && stls_findings_worst(&check->findings) == NULL) {
        stls_findings_add(&check->findings,
                          check->findings.out_of_memory ? STLS_REASON_INTERNAL_MEMORY
                                                        : STLS_REASON_INTERNAL_ERROR,
                          1, STLS_NO_CERT, NULL, NULL, "the check ended early");
    }
    check->phase = STLS_PHASE_FINAL;
    check->would_reject = !accepts && check->policy->num[STLS_KEY_MODE] == STLS_MODE_REPORT;
    check->verdict = accepts || check->would_reject ? STLS_ACCEPT : STLS_REJECT;
    check->is_local = rests_on_local_failure(check);
    compute_validity(check);
    return check->verdict;
}

/* ---- phase one: trust ------------------------------------------------------------ */

static int judge_presented(stls_check *check)
{
    const stls_policy *policy = check->policy;

    if ((int64_t)check->num_presented > policy->num[STLS_KEY_MAX_CHAIN_LEN]
        || (int64_t)check->presented_bytes > policy->num[STLS_KEY_MAX_CHAIN_BYTES]) {
        stls_findings_add(&check->findings, STLS_REASON_CHAIN_TOO_LONG, 1, STLS_NO_CERT, NULL, NULL,
                          "%zu certificates with %zu bytes (max_chain_len %lld, max_chain_bytes "
                          "%lld)",
                          check->num_presented, check->presented_bytes,
                          (long long)policy->num[STLS_KEY_MAX_CHAIN_LEN],
                          (long long)policy->num[STLS_KEY_MAX_CHAIN_BYTES]);
    } else if (check->num_presented == 0) {
        stls_findings_add(&check->findings, STLS_REASON_CHAIN_INCOMPLETE, 1, STLS_NO_CERT, NULL,
                          "make the peer present its certificate and every intermediate",
                          "no certificate was presented");
    }
    return !stls_findings_have_error(&check->findings);
}

static stls_status judge_trust(stls_check *check)
{
    const stls_policy *policy = check->policy;
    X509 *leaf;

    if (!judge_presented(check)) {
        return STLS_OK;
    }
    check->passed |= STLS_PASSED_PRESENTED;

    check->places = stls_alloc(&check->allocator, check->num_presented * sizeof(stls_place));
    /* Gaps lie between presented certificates, and a few more may be known of one gap. */
    check->order.cap = check->num_presented + (size_t)policy->num[STLS_KEY_MAX_CHAIN_LEN];
    check->order.links = stls_alloc(&check->allocator,
                                    check->order.cap * sizeof(*check->order.links));
    if (check->places == NULL || check->order.links == NULL) {
        return STLS_ERR_MEMORY;
    }
    leaf = sk_X509_value(check->presented, 0);
    int wants_name = policy->num[STLS_KEY_NAME] != STLS_NAME_OFF && check->role != STLS_ROLE_CLIENT;
    int covers_name = wants_name && stls_name_covers(policy, leaf, check->name_type, check->name);
    const stls_path_input in = {.policy = policy,
                                .anchors = check->anchors,
                                .role = check->role,
                                .presented = check->presented,
                                .name_type = covers_name ? check->name_type : STLS_NAME_NONE,
                                .name = check->name,
                                .now_s = check->now_s,
                                .work = &check->work};
    stls_status status = stls_path_build(&check->path, &in, &check->findings);
    if (status != STLS_OK) {
        return status;
    }
    stls_chain_judge(policy, check->anchors, check->presented, &check->path, &check->order,
                     check->places, &check->findings);
    if (check->path.is_valid) {
        check->passed |= STLS_PASSED_PATH;
    }
    if (!wants_name || covers_name) {
        check->passed |= STLS_PASSED_NAME;
    } else {
        stls_name_explain(leaf, check->name_type, check->name, &check->findings);
    }
    return STLS_OK;
}

stls_verdict stls_check_trust(stls_check *check, int64_t now_s)
{
    if (check->phase != STLS_PHASE_COLLECT) {
        return check->verdict == STLS_ACCEPT ? STLS_PENDING : check->verdict;
    }
    check->now_s = now_s;
    if (judge_trust(check) != STLS_OK) {
        check->findings.out_of_memory = 1;
    }
    judge_work(check);
    int needed = STLS_PASSED_PRESENTED | STLS_PASSED_PATH | STLS_PASSED_NAME;
    check->trust_failed = stls_findings_have_error(&check->findings)
                          || (check->passed & needed) != needed;
    check->phase = STLS_PHASE_TRUST;
    compute_validity(check);
    if (check->trust_failed && check->policy->num[STLS_KEY_MODE] != STLS_MODE_REPORT) {
        return finish(check);
    }
    return STLS_PENDING;
}

/* ---- phase two: revocation --------------------------------------------------------- */

static stls_ladder_input ladder_input(stls_check *check)
{
    return (stls_ladder_input){check->policy,      &check->work,      check->staples,
                               check->num_staples, check->path.certs, check->crl_issuers,
                               check->crl_file,    &check->findings,  check->now_s};
}

static int is_final(const stls_findings *findings)
{
    const stls_finding *primary = stls_findings_primary(findings);
    if (findings->out_of_memory) {
        return 1;
    }
    return primary != NULL
           && (primary->reason == STLS_REASON_OCSP_REVOKED
               || primary->reason == STLS_REASON_CRL_REVOKED
               || primary->reason == STLS_REASON_CHAIN_TOO_COSTLY
               || primary->reason == STLS_REASON_INTERNAL_MEMORY
               || primary->reason == STLS_REASON_INTERNAL_ERROR);
}

/* Ends what stls_errors_mark() began. */
static stls_verdict settle(stls_check *check, stls_status status)
{
    int is_done = status == STLS_OK && stls_ladder_is_done(&check->ladder);

    if (is_done) {
        stls_ladder_input in = ladder_input(check);
        stls_ladder_look_back(&check->ladder, &in);
        stls_ladder_judge_twins(&check->ladder, &in, check->presented, check->anchors->anchors);
        check->passed |= STLS_PASSED_REVOCATION;
    }
    check->work.lacks_memory |= stls_errors_pop();
    if (status != STLS_OK) {
        check->findings.out_of_memory = 1;
        return finish(check);
    }
    judge_work(check);
    /* Revoked is final.  Anything less may still be outdone by a clearer reason to come. */
    return is_done || is_final(&check->findings) ? finish(check) : STLS_PENDING;
}

static stls_status begin_ladder(stls_check *check)
{
    stls_status status = stls_ladder_init(&check->ladder, check->policy, &check->path);
    for (size_t i = 0; i < check->num_crls && status == STLS_OK; i++) {
        status = stls_ladder_add_crl(&check->ladder, &check->allocator, check->crls[i]);
    }
    for (int i = 0; i < sk_X509_num(check->presented) && status == STLS_OK; i++) {
        status = push_crl_issuer(check, sk_X509_value(check->presented, i));
    }
    return status;
}

stls_verdict stls_check_start(stls_check *check, int64_t now_s)
{
    if (check->phase == STLS_PHASE_COLLECT) {
        stls_check_trust(check, now_s);
    }
    if (check->phase != STLS_PHASE_TRUST) {
        return check->verdict;
    }
    check->now_s = now_s;
    check->phase = STLS_PHASE_ASK;
    if (check->trust_failed) {
        return finish(check);
    }
    if (check->policy->num[STLS_KEY_REVOCATION] == STLS_REVOCATION_OFF
        || stls_chain_is_pinned(&check->path)) {
        check->passed |= STLS_PASSED_REVOCATION;
        return finish(check);
    }
    if (check->role == STLS_ROLE_SERVER) {
        /* Of a chain of our own, a wrong name or key keeps nobody from asking. */
        int had_error = stls_findings_have_error(&check->findings);
        stls_must_staple_judge(check->policy, &check->work, sk_X509_value(check->path.certs, 0),
                               sk_X509_value(check->path.certs, 1), check->staples,
                               check->num_staples, now_s, &check->findings, &check->staple_until_s);
        stls_must_staple_judge_issuers(check->policy, &check->path, &check->findings);
        if (!had_error && stls_findings_have_error(&check->findings)) {
            return finish(check);
        }
    }
    stls_errors_mark();
    stls_status status = begin_ladder(check);
    if (status == STLS_OK) {
        stls_ladder_input in = ladder_input(check);
        status = stls_ladder_advance(&check->ladder, &in);
    }
    return settle(check, status);
}

int stls_check_next_fetch(stls_check *check, stls_fetch *fetch)
{
    if (check->phase != STLS_PHASE_ASK) {
        return 0;
    }
    int got = stls_ladder_next_fetch(&check->ladder, check->policy, fetch);
    if (got < 0) {
        check->findings.out_of_memory = 1;
        finish(check);
        return 0;
    }
    return got;
}

stls_verdict stls_check_feed(stls_check *check, uint32_t id, const stls_reply *reply, int64_t now_s)
{
    if (check->phase != STLS_PHASE_ASK) {
        return check->verdict;
    }
    check->now_s = now_s;
    stls_ladder_input in = ladder_input(check);
    stls_errors_mark();
    return settle(check, stls_ladder_feed(&check->ladder, &in, id, reply));
}

stls_verdict stls_check_feed_crl(stls_check *check, uint32_t id, stls_crl *crl, int is_cached,
                                 int64_t now_s)
{
    if (check->phase != STLS_PHASE_ASK) {
        return check->verdict;
    }
    check->now_s = now_s;
    stls_ladder_input in = ladder_input(check);
    stls_errors_mark();
    return settle(check, stls_ladder_feed_crl(&check->ladder, &in, id, crl, is_cached));
}

stls_status stls_check_get_answer(const stls_check *check, uint32_t id, stls_answer *answer)
{
    const stls_open_fetch *fetch = stls_ladder_find_fetch(&check->ladder, id);
    if (fetch == NULL || !fetch->is_answered) {
        return STLS_ERR_STATE;
    }
    *answer = fetch->answer;
    return STLS_OK;
}

stls_verdict stls_check_expire(stls_check *check, int64_t now_s)
{
    if (check->phase != STLS_PHASE_ASK) {
        return check->verdict == STLS_PENDING ? stls_check_fail(check, STLS_REASON_INTERNAL_ERROR,
                                                                "expired before it began", now_s)
                                              : check->verdict;
    }
    check->now_s = now_s;
    stls_ladder_input in = ladder_input(check);
    stls_errors_mark();
    return settle(check, stls_ladder_expire(&check->ladder, &in));
}

stls_verdict stls_check_fail(stls_check *check, stls_reason reason, const char *detail,
                             int64_t now_s)
{
    if (check->phase != STLS_PHASE_FINAL) {
        check->now_s = now_s;
        if (stls_reason_get0(reason) == NULL) {
            reason = STLS_REASON_INTERNAL_ERROR;
        }
        stls_findings_add(&check->findings, reason, 1, STLS_NO_CERT, NULL, NULL, "%s",
                          detail != NULL ? detail : "");
        finish(check);
    }
    return check->verdict;
}

stls_verdict stls_check_verdict(const stls_check *check)
{
    return check->verdict;
}
