#include "result.h"

#include <string.h>

#include "check.h"
#include "x509_text.h"

stls_result *stls_result_up_ref(stls_result *result)
{
    if (result != NULL) {
        atomic_fetch_add(&result->refs, 1);
    }
    return result;
}

void stls_result_free(stls_result *result)
{
    if (result == NULL || atomic_fetch_sub(&result->refs, 1) != 1) {
        return;
    }
    stls_allocator allocator = result->allocator;
    stls_dealloc(&allocator, result->questions);
    stls_dealloc(&allocator, result->report);
    stls_dealloc(&allocator, result->name);
    stls_dealloc(&allocator, result->client);
    stls_dealloc(&allocator, result->subject);
    stls_dealloc(&allocator, result->detail);
    stls_dealloc(&allocator, result->remedy);
    stls_dealloc(&allocator, result);
}

static const char *word_of(const stls_check *check)
{
    switch (check->verdict) {
    case STLS_ACCEPT:
        return check->would_reject ? "would_reject" : "accept";
    case STLS_REJECT:
        return "reject";
    default:
        return "pending";
    }
}

/* Whom a log line is about: nobody wanted a name of a client, so it is who it says it is. */
static stls_status copy_peer(stls_result *result, const stls_check *check)
{
    char client[STLS_NAME_TEXT_LEN] = "";

    if (check->role == STLS_ROLE_CLIENT && sk_X509_num(check->presented) > 0) {
        stls_name_text(X509_get_subject_name(sk_X509_value(check->presented, 0)), client);
    }
    result->name = stls_strdup(&result->allocator, check->name);
    result->client = stls_strdup(&result->allocator, client);
    return result->name != NULL && result->client != NULL ? STLS_OK : STLS_ERR_MEMORY;
}

static stls_status copy_primary(stls_result *result, const stls_check *check)
{
    const stls_allocator *a = &result->allocator;
    const stls_finding *primary = stls_findings_primary(&check->findings);
    char remedy[STLS_REMEDY_LEN];

    result->cert_index = STLS_NO_CERT;
    if (primary == NULL) {
        return STLS_OK;
    }
    const stls_reason_info *info = stls_reason_get0(primary->reason);
    result->reason = primary->reason;
    result->cert_index = primary->cert_index;
    result->subject = stls_strdup(a, primary->subject);
    result->detail = stls_strdup(a, primary->detail);
    stls_remedy_text(check->policy->directives, check->role,
                     primary->remedy != NULL ? primary->remedy : info->remedy, remedy,
                     sizeof(remedy));
    result->remedy = stls_strdup(a, remedy);
    return result->subject != NULL && result->detail != NULL && result->remedy != NULL
               ? STLS_OK
               : STLS_ERR_MEMORY;
}

static stls_status copy_questions(stls_result *result, const stls_check *check)
{
    const stls_ladder *ladder = &check->ladder;
    size_t num = 0;

    result->questions = stls_alloc(&result->allocator,
                                   (ladder->num_slots + ladder->num_fetches) * STLS_ID_LEN);
    if (result->questions == NULL) {
        return STLS_ERR_MEMORY;
    }
    for (int revoked = 1; revoked >= 0; revoked--) {
        for (size_t i = 0; i < ladder->num_slots; i++) {
            const stls_slot *slot = &ladder->slots[i];
            if ((slot->state == STLS_SLOT_REVOKED) == revoked) {
                memcpy(result->questions + num++ * STLS_ID_LEN, slot->question, STLS_ID_LEN);
            }
        }
        result->num_revoked = revoked ? num : result->num_revoked;
    }
    for (size_t i = 0; i < ladder->num_fetches; i++) {
        if (ladder->fetches[i].is_crl) {
            memcpy(result->questions + num++ * STLS_ID_LEN, ladder->fetches[i].question,
                   STLS_ID_LEN);
        }
    }
    result->num_questions = num;
    return STLS_OK;
}

stls_result *stls_check_get1_result(stls_check *check)
{
    if (check->phase != STLS_PHASE_TRUST && check->phase != STLS_PHASE_FINAL) {
        return NULL;
    }
    stls_result *result = stls_alloc(&check->allocator, sizeof(*result));
    if (result == NULL) {
        return NULL;
    }
    result->allocator = check->allocator;
    atomic_init(&result->refs, 1);
    result->verdict = check->verdict;
    result->word = word_of(check);
    result->is_pinned = stls_chain_is_pinned(&check->path);
    result->is_local = check->is_local;
    result->judged_at_s = check->now_s;
    result->valid_until_s = check->valid_until_s;
    result->refresh_at_s = check->refresh_at_s;
    result->report = stls_report_render(check, result->word, &result->report_len);
    if (result->report == NULL || copy_peer(result, check) != STLS_OK
        || copy_primary(result, check) != STLS_OK || copy_questions(result, check) != STLS_OK) {
        stls_result_free(result);
        return NULL;
    }
    return result;
}

stls_verdict stls_result_verdict(const stls_result *result)
{
    return result->verdict;
}

const char *stls_result_word(const stls_result *result)
{
    return result->word;
}

stls_reason stls_result_reason(const stls_result *result)
{
    return result->reason;
}

const char *stls_result_get0_detail(const stls_result *result)
{
    return result->detail != NULL ? result->detail : "";
}

const char *stls_result_get0_remedy(const stls_result *result)
{
    return result->remedy != NULL ? result->remedy : "";
}

int stls_result_cert_index(const stls_result *result)
{
    return result->cert_index;
}

int stls_result_is_pinned(const stls_result *result)
{
    return result->is_pinned;
}

int stls_result_is_local(const stls_result *result)
{
    return result->is_local;
}

int stls_result_is_live(const stls_result *result, int64_t now_s)
{
    return result->judged_at_s <= now_s && now_s <= result->valid_until_s;
}

int stls_result_may_resume(const stls_result *result, int64_t now_s)
{
    return stls_result_is_live(result, now_s)
           && stls_result_is_live(result, now_s + STLS_SESSION_MARGIN_S);
}

int64_t stls_result_valid_until_s(const stls_result *result)
{
    return result->valid_until_s;
}

int64_t stls_result_refresh_at_s(const stls_result *result)
{
    return result->refresh_at_s;
}

const unsigned char *stls_result_get0_questions(const stls_result *result, size_t *num)
{
    *num = result->num_questions;
    return result->questions;
}

const unsigned char *stls_result_get0_revoked(const stls_result *result, size_t *num)
{
    *num = result->num_revoked;
    return result->questions;
}

const char *stls_result_get0_report(const stls_result *result, size_t *len)
{
    *len = result->report_len;
    return result->report;
}
