#include "ladder.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "rung.h"

const char *stls_source_name(int source)
{
    static const char *const names[STLS_NUM_SOURCES] = {"staple", "ocsp", "crl", "file"};
    return names[source];
}

int64_t stls_half_life_s(int64_t this_update_s, int64_t use_until_s)
{
    return this_update_s + (use_until_s - this_update_s) / 2;
}

stls_status stls_ladder_init(stls_ladder *ladder, const stls_policy *policy, const stls_path *path)
{
    size_t num = (size_t)sk_X509_num(path->certs) - 1; /* all but the anchor */

    memset(ladder, 0, sizeof(*ladder));
    if (policy->num[STLS_KEY_REVOCATION_SCOPE] == STLS_SCOPE_LEAF && num > 1) {
        num = 1;
    }
    /* Twice as many: each may ask about one responder, and slots must not move. */
    ladder->slots = stls_alloc(&policy->allocator, 2 * num * sizeof(*ladder->slots));
    if (ladder->slots == NULL) {
        return STLS_ERR_MEMORY;
    }
    ladder->num_slots = num;
    for (size_t i = 0; i < num; i++) {
        stls_slot *slot = &ladder->slots[i];
        slot->cert = sk_X509_value(path->certs, (int)i);
        slot->issuer = sk_X509_value(path->certs, (int)i + 1);
        slot->cert_index = path->presented_index[i];
        slot->is_leaf = i == 0;
        slot->asked_by = slot->responder_slot = slot->answer_fetch = -1;
        if (stls_ocsp_question(slot->cert, slot->issuer, slot->question) != STLS_OK) {
            return STLS_ERR_MEMORY;
        }
    }
    return STLS_OK;
}

void stls_ladder_clear(stls_ladder *ladder, const stls_allocator *a)
{
    for (size_t i = 0; i < ladder->num_fetches; i++) {
        stls_ocsp_request_clear(&ladder->fetches[i].request, a);
    }
    for (size_t i = 0; i < ladder->num_crls; i++) {
        stls_crl_free(ladder->crls[i]);
    }
    stls_dealloc(a, ladder->crls);
    stls_crl_memory_clear(&ladder->memory, a);
    for (size_t i = 0; i < ladder->num_slots; i++) {
        stls_ocsp_answer_clear(&ladder->slots[i].aside);
        if (ladder->slots[i].asked_by >= 0) {
            X509_free(ladder->slots[i].cert);
        }
    }
    stls_dealloc(a, ladder->fetches);
    stls_dealloc(a, ladder->slots);
    memset(ladder, 0, sizeof(*ladder));
}

void stls_rung_tell(const stls_ladder_input *in, const stls_ladder *ladder, const stls_slot *slot,
                    stls_reason reason, int is_error, const char *detail)
{
    size_t before = in->findings->num;
    stls_findings_add(in->findings, reason, is_error, slot->cert_index, slot->cert, NULL, "%s",
                      detail != NULL ? detail : "");
    if (in->findings->num > before) {
        in->findings->items[before].slot = (int)(slot - ladder->slots);
    }
}

int stls_rung_is_graced(const stls_ocsp_answer *answer)
{
    return answer->is_grace && answer->reason == STLS_REASON_NONE;
}

void stls_rung_set_aside(stls_slot *slot, stls_ocsp_answer *answer, int source)
{
    if (!slot->has_aside || answer->this_update_s > slot->aside.this_update_s) {
        stls_ocsp_answer_clear(&slot->aside);
        slot->aside = *answer;
        slot->aside_source = source;
        slot->has_aside = 1;
        answer->responder = NULL;
    }
    stls_ocsp_answer_clear(answer);
}

int stls_rung_take(const stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                   const stls_ocsp_answer *answer, int source)
{
    /* The administrator's file is renewed by hand: the network has no newer one. */
    if (stls_rung_is_graced(answer) && source != STLS_SOURCE_FILE && !slot->is_last_resort) {
        stls_ocsp_answer copy = *answer;
        stls_rung_set_aside(slot, &copy, source);
        return 0;
    }
    if (answer->reason == STLS_REASON_OCSP_REVOKED || answer->reason == STLS_REASON_CRL_REVOKED) {
        slot->state = STLS_SLOT_REVOKED;
        stls_rung_tell(in, ladder, slot, answer->reason, slot->asked_by < 0, answer->detail);
    } else if (answer->reason == STLS_REASON_NONE) {
        slot->state = STLS_SLOT_GOOD;
    } else {
        /* A failure of our own proves nothing either, and soft must not turn it into a pass. */
        stls_rung_tell(in, ladder, slot, answer->reason,
                       answer->reason == STLS_REASON_INTERNAL_MEMORY, answer->detail);
        return 0;
    }
    slot->answer = *answer;
    slot->source = source;
    return 1;
}

/* ---- rung: staple ---------------------------------------------------------- */

static void climb_staple(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in)
{
    /* A staple cannot carry this host's nonce; one that says revoked counts all the same. */
    int good_is_enough = in->policy->num[STLS_KEY_OCSP_NONCE] == STLS_OFF;

    while (slot->next_staple < in->num_staples) {
        const stls_staple *staple = &in->staples[slot->next_staple++];
        stls_ocsp_answer answer;
        if ((int)staple->cert_index != slot->cert_index) {
            continue;
        }
        slot->names_source = 1;
        stls_ocsp_judge(&answer, in->policy, in->work, slot->cert, slot->issuer, staple->der,
                        staple->der_len, NULL, in->now_s);
        if (answer.reason == STLS_REASON_NONE && !good_is_enough) {
            stls_ocsp_answer_clear(&answer);
            continue;
        }
        if (stls_rung_take_ocsp(ladder, slot, in, &answer, STLS_SOURCE_STAPLE)) {
            return;
        }
    }
    slot->has_seen_staples = 1;
    slot->rung++;
}

/* ---- rung: OCSP ------------------------------------------------------------- */

static int ocsp_url(const stls_slot *slot, const stls_policy *policy, char url[STLS_URL_LEN])
{
    const char *override = policy->text[STLS_KEY_OCSP_RESPONDER];

    if (override[0] != '\0') {
        if (slot->url_index > 0 || strlen(override) >= STLS_URL_LEN) {
            return 0;
        }
        strcpy(url, override);
        return 1;
    }
    return slot->url_index < (size_t)policy->num[STLS_KEY_MAX_URLS_PER_CERT]
           && stls_aia_url(slot->cert, NID_ad_OCSP, slot->url_index, url);
}

/* A CRL is the same whoever asks for it. */
static stls_status hash_crl_question(const char *url, unsigned char question[STLS_ID_LEN])
{
    char text[STLS_URL_LEN + 32];
    int len = snprintf(text, sizeof(text), "strict-tls crl question %s", url);
    return EVP_Digest(text, (size_t)len, question, NULL, EVP_sha256(), NULL) ? STLS_OK
                                                                             : STLS_ERR_MEMORY;
}

stls_status stls_rung_fetch(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                            const char *url, int is_crl, int may_use_cache)
{
    const stls_allocator *a = &in->policy->allocator;
    int with_nonce = !is_crl && in->policy->num[STLS_KEY_OCSP_NONCE] == STLS_ON;
    stls_open_fetch fetch = {.id = (uint32_t)ladder->num_fetches + 1,
                             .slot = (size_t)(slot - ladder->slots),
                             .is_crl = is_crl,
                             .may_use_cache = may_use_cache && !with_nonce};

    /* Asking again because a cache's answer was refused is the same question. */
    ladder->num_asked += may_use_cache || with_nonce;
    if ((int64_t)ladder->num_asked > in->policy->num[STLS_KEY_MAX_FETCHES]) {
        stls_rung_tell(in, ladder, slot, STLS_REASON_FETCH_DENIED, 0, "max_fetches is used up");
        slot->rung++;
        slot->url_index = 0;
        return STLS_OK;
    }
    stls_status status = STLS_OK;
    if (is_crl) {
        fetch.request.url = stls_strdup(a, url);
        status = fetch.request.url != NULL ? hash_crl_question(url, fetch.question)
                                           : STLS_ERR_MEMORY;
    } else {
        memcpy(fetch.question, slot->question, STLS_ID_LEN);
        status = stls_ocsp_request_make(&fetch.request, a, slot->cert, slot->issuer, url,
                                        with_nonce);
    }
    if (status != STLS_OK
        || stls_grow(a, (void **)&ladder->fetches, &ladder->cap_fetches, ladder->num_fetches,
                     sizeof(fetch))
               != STLS_OK) {
        stls_ocsp_request_clear(&fetch.request, a);
        return STLS_ERR_MEMORY;
    }
    ladder->fetches[ladder->num_fetches++] = fetch;
    slot->state = STLS_SLOT_WAITING;
    return STLS_OK;
}

static stls_status climb_ocsp(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in)
{
    char url[STLS_URL_LEN];
    int may_use_cache = !slot->skips_cache;

    slot->skips_cache = 0;
    if (ladder->is_expired || !ocsp_url(slot, in->policy, url)) {
        slot->rung++;
        slot->url_index = 0;
        return STLS_OK;
    }
    slot->names_source = 1;
    return stls_rung_fetch(ladder, slot, in, url, 0, may_use_cache);
}

void stls_rung_ocsp_refuse(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                           int fetch_index, int may_be_outdone)
{
    stls_answer *answer = &ladder->fetches[fetch_index].answer;
    int is_from_cache = ladder->fetches[fetch_index].is_from_cache;
    int64_t graced_until_s = answer->conclusive ? 0 : answer->use_until_s; /* it may serve yet */

    memset(answer, 0, sizeof(*answer));
    answer->use_until_s = graced_until_s;
    if (!is_from_cache) {
        answer->retry_at_s = in->now_s + in->policy->num[STLS_KEY_NEGATIVE_TTL_S];
    }
    if (is_from_cache && may_be_outdone) {
        slot->skips_cache = 1;
    } else {
        slot->url_index++;
    }
}

/* ---- the ladder's end -------------------------------------------------------- */

static int is_short_lived(const stls_slot *slot, const stls_policy *policy)
{
    int64_t from_s, to_s;
    return slot->is_leaf && stls_time_s(X509_get0_notBefore(slot->cert), &from_s)
           && stls_time_s(X509_get0_notAfter(slot->cert), &to_s)
           && to_s - from_s + 1 <= policy->num[STLS_KEY_SHORT_LIVED_S];
}

/* Everything told about this slot is that nobody could be reached, and something was told. */
static int only_unreached(const stls_findings *findings, int slot)
{
    int num_told = 0;
    for (size_t i = 0; i < findings->num; i++) {
        stls_reason reason = findings->items[i].reason;
        if (findings->items[i].slot != slot) {
            continue;
        }
        if (reason != STLS_REASON_FETCH_TIMEOUT && reason != STLS_REASON_FETCH_NETWORK) {
            return 0;
        }
        num_told++;
    }
    return num_told > 0;
}

/*
 * Every source was asked, or nothing more can be: what is within stale_grace_s
 * of its nextUpdate serves on.
 */
static void take_aside(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in)
{
    stls_ocsp_answer answer = slot->aside;

    slot->has_aside = 0;
    slot->aside.responder = NULL;
    slot->is_last_resort = 1;
    stls_rung_take_ocsp(ladder, slot, in, &answer, slot->aside_source);
}

static void end_slot(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in)
{
    /* What a responder's slot finds becomes an error only through the slot that asked. */
    int is_hard = in->policy->num[STLS_KEY_REVOCATION] == STLS_REVOCATION_HARD
                  && slot->asked_by < 0;
    int index = (int)(slot - ladder->slots);
    int num_told = 0;

    if (is_short_lived(slot, in->policy)) {
        slot->state = STLS_SLOT_EXEMPT;
        return;
    }
    slot->state = STLS_SLOT_INCONCLUSIVE;
    if (!slot->names_source && !stls_names_crl(slot->cert) && !stls_names_ocsp(slot->cert)) {
        if (in->policy->num[STLS_KEY_NO_REVOCATION_SOURCE] == STLS_NO_SOURCE_ALLOW) {
            slot->state = STLS_SLOT_NOT_ASKED;
        } else {
            stls_rung_tell(in, ladder, slot, STLS_REASON_REVOCATION_NO_SOURCE, is_hard,
                           "neither an OCSP responder nor a CRL is named");
        }
        return;
    }
    if (in->policy->num[STLS_KEY_OCSP_NETWORK_ERROR] == STLS_NETWORK_ERROR_TOLERATE
        && !stls_names_crl(slot->cert) && only_unreached(in->findings, index)) {
        is_hard = 0;
    }
    for (size_t i = 0; i < in->findings->num; i++) {
        stls_finding *finding = &in->findings->items[i];
        if (finding->slot == index) {
            finding->is_error |= is_hard || finding->is_local;
            num_told++;
        }
    }
    if (num_told == 0) {
        stls_rung_tell(in, ladder, slot, STLS_REASON_REVOCATION_INCONCLUSIVE, is_hard,
                       "the sources that this certificate names are not in revocation_sources, or "
                       "not usable: only http:// URLs are");
    }
}

#define NO_SOURCE (-1)

/*
 * The rung that this slot stands on.  About a responder CRLs are asked first:
 * OCSP about an OCSP responder easily leads back to itself.
 */
static int source_of(const stls_slot *slot, const stls_policy *policy)
{
    size_t num = policy->list_len[STLS_KEY_REVOCATION_SOURCES];
    const uint8_t *sources = policy->list[STLS_KEY_REVOCATION_SOURCES];

    if (slot->asked_by < 0) {
        return slot->rung < num ? sources[slot->rung] : NO_SOURCE;
    }
    static const uint8_t order[] = {STLS_SOURCE_FILE, STLS_SOURCE_CRL, STLS_SOURCE_OCSP};
    if (slot->rung >= sizeof(order)) {
        return NO_SOURCE;
    }
    for (size_t i = 0; i < num; i++) {
        if (sources[i] == order[slot->rung]) {
            return order[slot->rung];
        }
    }
    return STLS_NUM_SOURCES; /* not among the policy's: the rung is passed over */
}

static stls_status climb(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in)
{
    stls_status status = STLS_OK;

    while (slot->state == STLS_SLOT_OPEN && status == STLS_OK) {
        switch (source_of(slot, in->policy)) {
        case NO_SOURCE:
            if (slot->has_aside) {
                take_aside(ladder, slot, in);
            } else {
                end_slot(ladder, slot, in);
            }
            break;
        case STLS_SOURCE_FILE:
            stls_rung_file_climb(ladder, slot, in);
            break;
        case STLS_SOURCE_STAPLE:
            climb_staple(ladder, slot, in);
            break;
        case STLS_SOURCE_OCSP:
            status = climb_ocsp(ladder, slot, in);
            break;
        case STLS_SOURCE_CRL:
            status = stls_rung_crl_climb(ladder, slot, in);
            break;
        default:
            slot->rung++;
            break;
        }
    }
    if (status == STLS_OK && slot->state == STLS_SLOT_ON_RESPONDER) {
        status = climb(ladder, &ladder->slots[slot->responder_slot], in);
    } else if (status == STLS_OK && slot->asked_by >= 0 && slot->state != STLS_SLOT_WAITING) {
        stls_rung_responder_ended(ladder, slot, in);
        status = climb(ladder, &ladder->slots[slot->asked_by], in);
    }
    return status;
}

stls_status stls_ladder_advance(stls_ladder *ladder, const stls_ladder_input *in)
{
    stls_status status = STLS_OK;
    if (in->policy->text[STLS_KEY_CRL_FILE][0] != '\0' && in->crl_file == NULL) {
        /* What it would have said is unknown, whichever sources come before it; not even soft
         * passes over this host's own failure. */
        stls_rung_tell(in, ladder, &ladder->slots[0], STLS_REASON_INTERNAL_ERROR, 1,
                       "the policy's crl_file was not loaded");
        return STLS_OK;
    }
    size_t num = ladder->num_slots; /* those about responders are climbed by the ones that ask */
    for (size_t i = 0; i < num && status == STLS_OK; i++) {
        status = climb(ladder, &ladder->slots[i], in);
    }
    return status;
}

int stls_ladder_is_done(const stls_ladder *ladder)
{
    for (size_t i = 0; i < ladder->num_slots; i++) {
        if (ladder->slots[i].state == STLS_SLOT_OPEN || ladder->slots[i].state == STLS_SLOT_WAITING
            || ladder->slots[i].state == STLS_SLOT_ON_RESPONDER) {
            return 0;
        }
    }
    return 1;
}

/* ---- fetches ------------------------------------------------------------------- */

static int hash_flight(stls_fetch *fetch, const stls_policy *policy)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    const char *deny = policy->text[STLS_KEY_FETCH_DENY];
    uint64_t limits[4] = {fetch->max_reply_bytes, fetch->max_reply_header_bytes, fetch->timeout_ms,
                          fetch->body_len};

    int ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL)
             && EVP_DigestUpdate(md, fetch->question, STLS_ID_LEN)
             && EVP_DigestUpdate(md, limits, sizeof(limits))
             && EVP_DigestUpdate(md, deny, strlen(deny) + 1)
             && EVP_DigestUpdate(md, fetch->url, strlen(fetch->url) + 1)
             && EVP_DigestUpdate(md, fetch->body, fetch->body_len)
             && EVP_DigestFinal_ex(md, fetch->flight, NULL);
    EVP_MD_CTX_free(md);
    return ok;
}

int stls_ladder_next_fetch(stls_ladder *ladder, const stls_policy *policy, stls_fetch *fetch)
{
    for (size_t i = 0; i < ladder->num_fetches; i++) {
        stls_open_fetch *open = &ladder->fetches[i];
        if (open->is_handed_out || open->is_answered) {
            continue;
        }
        const stls_slot *slot = &ladder->slots[open->slot];
        memset(fetch, 0, sizeof(*fetch));
        fetch->id = open->id;
        fetch->cert_index = (size_t)slot->cert_index;
        fetch->is_post = open->request.der != NULL;
        fetch->url = open->request.url;
        fetch->body = open->request.der;
        fetch->body_len = open->request.der_len;
        fetch->content_type = fetch->is_post ? "application/ocsp-request" : "";
        fetch->is_crl = open->is_crl;
        fetch->may_use_cache = open->may_use_cache;
        fetch->max_reply_bytes =
            (size_t)policy->num[open->is_crl ? STLS_KEY_MAX_CRL_BYTES : STLS_KEY_MAX_REPLY_BYTES];
        fetch->max_reply_header_bytes = (size_t)policy->num[STLS_KEY_MAX_REPLY_HEADER_BYTES];
        fetch->timeout_ms = (uint32_t)policy->num[open->is_crl ? STLS_KEY_CRL_FETCH_TOTAL_MS
                                                               : STLS_KEY_FETCH_TIMEOUT_MS];
        memcpy(fetch->question, open->question, STLS_ID_LEN);
        open->is_handed_out = 1;
        /* A zeroed flight id would share one answer among all questions. */
        return hash_flight(fetch, policy) ? 1 : -1;
    }
    return 0;
}

static stls_open_fetch *find_fetch(const stls_ladder *ladder, uint32_t id)
{
    return id >= 1 && id <= ladder->num_fetches ? &ladder->fetches[id - 1] : NULL;
}

const stls_open_fetch *stls_ladder_find_fetch(const stls_ladder *ladder, uint32_t id)
{
    return find_fetch(ladder, id);
}

static void note_answer(stls_answer *out, const stls_ocsp_answer *answer,
                        const stls_ladder_input *in)
{
    memset(out, 0, sizeof(*out));
    out->conclusive = answer != NULL && !stls_rung_is_graced(answer)
                      && (answer->reason == STLS_REASON_NONE
                          || answer->reason == STLS_REASON_OCSP_REVOKED);
    if (out->conclusive) {
        out->revoked = answer->reason == STLS_REASON_OCSP_REVOKED;
        out->produced_s = answer->this_update_s;
        out->use_until_s = answer->use_until_s
                           + (out->revoked ? 0 : in->policy->num[STLS_KEY_STALE_GRACE_S]);
        out->refresh_at_s = stls_half_life_s(answer->this_update_s, answer->use_until_s);
    } else {
        out->retry_at_s = in->now_s + in->policy->num[STLS_KEY_NEGATIVE_TTL_S];
    }
    if (answer != NULL && stls_rung_is_graced(answer)) {
        out->use_until_s = answer->use_until_s + in->policy->num[STLS_KEY_STALE_GRACE_S];
    }
}

static stls_reason failure_reason(stls_fetch_outcome outcome)
{
    switch (outcome) {
    case STLS_FETCH_TIMEOUT:
        return STLS_REASON_FETCH_TIMEOUT;
    case STLS_FETCH_HTTP:
        return STLS_REASON_FETCH_HTTP;
    case STLS_FETCH_TOO_LARGE:
        return STLS_REASON_FETCH_TOO_LARGE;
    case STLS_FETCH_DENIED:
    case STLS_FETCH_LOCAL:
        return STLS_REASON_FETCH_DENIED;
    default:
        return STLS_REASON_FETCH_NETWORK;
    }
}

static void add_fetch_failure(const stls_ladder *ladder, const stls_slot *slot,
                              const stls_ladder_input *in, const char *url, stls_reason reason,
                              const char *why)
{
    size_t before = in->findings->num;
    stls_findings_add(in->findings, reason, 0, slot->cert_index, slot->cert, NULL, "%.400s: %.200s",
                      url, why != NULL ? why : stls_reason_get0(reason)->text);
    if (in->findings->num > before) {
        in->findings->items[before].slot = (int)(slot - ladder->slots);
    }
}

/*
 * This process could not ask.  About a responder's certificate, the slot that
 * asked is told: a soft policy must not take that for an open question.
 */
static void add_local_failure(stls_ladder *ladder, stls_slot *slot, const stls_ladder_input *in,
                              const char *url, const char *why)
{
    size_t before = in->findings->num;
    stls_slot *asking = slot->asked_by >= 0 ? &ladder->slots[slot->asked_by] : slot;

    slot->is_local = asking->is_local = 1;
    stls_findings_add(in->findings, STLS_REASON_FETCH_DENIED, 0, slot->cert_index, slot->cert,
                      "raise max_fetches_in_flight, or give this process more memory, threads or "
                      "open files",
                      "%.400s: not asked, since %.200s", url,
                      why != NULL ? why : "this process could not");
    if (in->findings->num > before) {
        in->findings->items[before].slot = (int)(asking - ladder->slots);
        in->findings->items[before].is_local = 1;
    }
}

static void fetch_url(const stls_ladder *ladder, const stls_open_fetch *fetch,
                      const stls_ladder_input *in, char url[STLS_URL_LEN])
{
    const stls_slot *slot = &ladder->slots[fetch->slot];
    url[0] = '\0';
    if (fetch->is_crl) {
        snprintf(url, STLS_URL_LEN, "%s", fetch->request.url);
    } else {
        ocsp_url(slot, in->policy, url);
    }
}

/* The open fetch that this id names, or NULL; from here on it is answered. */
static stls_open_fetch *begin_answer(stls_ladder *ladder, const stls_ladder_input *in, uint32_t id)
{
    stls_open_fetch *fetch = find_fetch(ladder, id);
    if (fetch == NULL || !fetch->is_handed_out || fetch->is_answered) {
        return NULL;
    }
    fetch->is_answered = 1;
    note_answer(&fetch->answer, NULL, in);
    ladder->slots[fetch->slot].state = STLS_SLOT_OPEN;
    return fetch;
}

static void free_openssl(void *bytes)
{
    OPENSSL_free(bytes);
}

static stls_status feed_ocsp(stls_ladder *ladder, stls_open_fetch *fetch,
                             const stls_ladder_input *in, const stls_reply *reply)
{
    stls_slot *slot = &ladder->slots[fetch->slot];
    int index = (int)(fetch - ladder->fetches);
    stls_ocsp_answer answer;
    size_t len = reply->bytes_len;

    fetch->is_from_cache = reply->outcome == STLS_FETCH_CACHED;
    if ((int64_t)len > in->policy->num[STLS_KEY_MAX_REPLY_BYTES]) {
        len = 0; /* a host that did not keep the bound: undecodable */
    }
    stls_ocsp_judge(&answer, in->policy, in->work, slot->cert, slot->issuer, reply->bytes, len,
                    reply->outcome == STLS_FETCH_OK ? fetch->request.request : NULL, in->now_s);
    note_answer(&fetch->answer, &answer, in);
    if (reply->outcome == STLS_FETCH_CACHED) {
        /* A cache may hold anything: what it gave is either proof or never was. */
        int is_proof = fetch->may_use_cache && fetch->answer.conclusive;
        if (!is_proof) {
            if (fetch->may_use_cache && stls_rung_is_graced(&answer)) {
                stls_rung_set_aside(slot, &answer, STLS_SOURCE_OCSP);
            }
            stls_ocsp_answer_clear(&answer);
            ladder->num_asked += !fetch->may_use_cache;        /* a host that will not learn */
            stls_rung_ocsp_refuse(ladder, slot, in, index, 1); /* the cache failed */
            return climb(ladder, slot, in);
        }
    }
    if (answer.reason == STLS_REASON_OCSP_UNKNOWN) {
        /* Newer than what is past its time, and no longer good. */
        stls_ocsp_answer_clear(&slot->aside);
        slot->has_aside = 0;
    }
    slot->answer_fetch = index;
    if (!stls_rung_take_ocsp(ladder, slot, in, &answer, STLS_SOURCE_OCSP)) {
        stls_rung_ocsp_refuse(ladder, slot, in, index, 1);
    }
    return climb(ladder, slot, in);
}

static stls_status feed_crl(stls_ladder *ladder, stls_open_fetch *fetch,
                            const stls_ladder_input *in, stls_crl *crl, int is_cached)
{
    stls_slot *slot = &ladder->slots[fetch->slot];
    stls_answer answer = fetch->answer;
    size_t index = (size_t)(fetch - ladder->fetches);

    is_cached = is_cached && fetch->may_use_cache;
    if (is_cached) {
        answer.retry_at_s = 0; /* if it is refused, the cache failed and not the CA */
    }
    stls_status status = stls_rung_crl_take(ladder, slot, in, crl, fetch->request.url, is_cached,
                                            &answer);
    ladder->fetches[index].answer = answer; /* a new fetch may have moved the array */
    return status == STLS_OK ? climb(ladder, slot, in) : status;
}

/* Bytes of a CRL, indexed in one go: for hosts that may take their time. */
static stls_status feed_crl_bytes(stls_ladder *ladder, stls_open_fetch *fetch,
                                  const stls_ladder_input *in, const stls_reply *reply)
{
    stls_slot *slot = &ladder->slots[fetch->slot];
    stls_status status = STLS_OK;
    size_t len = reply->bytes_len;
    if ((int64_t)len > in->policy->num[STLS_KEY_MAX_CRL_BYTES]) {
        len = 0; /* a host that did not keep the bound: undecodable */
    }
    unsigned char *copy = OPENSSL_malloc(len + 1);
    if (copy != NULL && len > 0) {
        memcpy(copy, reply->bytes, len);
    }
    stls_crl *crl = copy != NULL ? stls_crl_new(&in->policy->allocator, copy, len, free_openssl)
                                 : NULL;
    if (crl == NULL) {
        return STLS_ERR_MEMORY;
    }
    stls_crl_state state;
    do {
        state = stls_crl_step(crl, SIZE_MAX / 2);
    } while (state == STLS_CRL_MORE);
    if (state == STLS_CRL_DONE) {
        status = feed_crl(ladder, fetch, in, crl, reply->outcome == STLS_FETCH_CACHED);
    } else if (stls_crl_lacks_memory(crl)) {
        status = STLS_ERR_MEMORY;
    } else {
        int is_cached = reply->outcome == STLS_FETCH_CACHED && fetch->may_use_cache;
        if (is_cached) {
            fetch->answer.retry_at_s = 0;
        } else {
            stls_rung_tell(in, ladder, slot, STLS_REASON_CRL_MALFORMED, 0, "not a DER-encoded CRL");
        }
        status = stls_rung_crl_refuse(ladder, slot, in, fetch->request.url, is_cached);
        status = status == STLS_OK ? climb(ladder, slot, in) : status;
    }
    stls_crl_free(crl);
    return status;
}

stls_status stls_ladder_feed(stls_ladder *ladder, const stls_ladder_input *in, uint32_t id,
                             const stls_reply *reply)
{
    char url[STLS_URL_LEN];
    stls_open_fetch *fetch = begin_answer(ladder, in, id);

    if (fetch == NULL) {
        return STLS_OK;
    }
    if (reply->outcome == STLS_FETCH_OK || reply->outcome == STLS_FETCH_CACHED) {
        return fetch->is_crl ? feed_crl_bytes(ladder, fetch, in, reply)
                             : feed_ocsp(ladder, fetch, in, reply);
    }
    stls_slot *slot = &ladder->slots[fetch->slot];
    fetch_url(ladder, fetch, in, url);
    if (reply->outcome == STLS_FETCH_LOCAL) {
        fetch->answer.retry_at_s = 0;
        add_local_failure(ladder, slot, in, url, reply->detail);
    } else {
        add_fetch_failure(ladder, slot, in, url, failure_reason(reply->outcome), reply->detail);
    }
    if (fetch->is_crl) {
        stls_rung_crl_skip(slot);
    } else {
        slot->url_index++;
    }
    return climb(ladder, slot, in);
}

stls_status stls_ladder_feed_crl(stls_ladder *ladder, const stls_ladder_input *in, uint32_t id,
                                 stls_crl *crl, int is_cached)
{
    const stls_open_fetch *open = find_fetch(ladder, id);
    if (open == NULL || !open->is_crl || crl == NULL || crl->phase != STLS_CRL_READY) {
        return STLS_OK;
    }
    stls_open_fetch *fetch = begin_answer(ladder, in, id);
    return fetch != NULL ? feed_crl(ladder, fetch, in, crl, is_cached) : STLS_OK;
}

stls_status stls_ladder_add_crl(stls_ladder *ladder, const stls_allocator *a, stls_crl *crl)
{
    if (stls_grow(a, (void **)&ladder->crls, &ladder->cap_crls, ladder->num_crls, sizeof(crl))
        != STLS_OK) {
        return STLS_ERR_MEMORY;
    }
    ladder->crls[ladder->num_crls++] = stls_crl_up_ref(crl);
    return STLS_OK;
}

void stls_ladder_drop_crl(stls_ladder *ladder)
{
    stls_crl *crl = ladder->crls[--ladder->num_crls];
    stls_crl_memory_forget(&ladder->memory, crl);
    stls_crl_free(crl);
}

stls_status stls_ladder_expire(stls_ladder *ladder, const stls_ladder_input *in)
{
    stls_status status = STLS_OK;

    ladder->is_expired = 1;
    for (size_t i = 0; i < ladder->num_fetches && status == STLS_OK; i++) {
        stls_open_fetch *fetch = &ladder->fetches[i];
        stls_slot *slot = &ladder->slots[fetch->slot];
        char url[STLS_URL_LEN] = "";
        if (fetch->is_answered) {
            continue;
        }
        fetch->is_answered = fetch->is_handed_out = 1;
        note_answer(&fetch->answer, NULL, in);
        fetch_url(ladder, fetch, in, url);
        add_fetch_failure(ladder, slot, in, url, STLS_REASON_FETCH_TIMEOUT,
                          "fetch_total_ms is used up");
        /* Rungs that need no fetch may still prove something: a staple that says revoked. */
        slot->state = STLS_SLOT_OPEN;
        status = climb(ladder, slot, in);
    }
    return status;
}
