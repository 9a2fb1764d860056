/* Chains of our own: the peer's rules, what only their owner can know, and words for the owner. */
#include "strict_tls/own_chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "check.h"
#include "log_line.h"
#include "result.h"
#include "x509_text.h"

#define LINE_LEN 4096
#define MAX_LISTED 8 /* names in one finding */

/* ---- names ------------------------------------------------------------------------ */

/* What is left to compare once the wildcard is off. */
static const char *base_of(const char *name)
{
    return name[0] == '*' && name[1] == '.' ? name + 2 : name[0] == '.' ? name + 1 : name;
}

int stls_own_chain_takes_name(const char *name)
{
    char normal[STLS_MAX_NAME_LEN + 1];
    const char *base = base_of(name);

    if (name[0] == '~' || base[0] == '\0' || strcmp(name, "_") == 0) {
        return 0;
    }
    stls_name_type type = stls_name_normalize(base, strlen(base), normal);
    return type == STLS_NAME_DNS || (type == STLS_NAME_IP && base == name);
}

static int covers(const stls_policy *policy, X509 *leaf, const char *name)
{
    char normal[STLS_MAX_NAME_LEN + 1], wildcard[STLS_MAX_NAME_LEN + 3];
    const char *base = base_of(name);
    stls_name_type type = stls_name_normalize(base, strlen(base), normal);

    /* OpenSSL lets a presented wildcard match the same wildcard: no other covers all of it. */
    snprintf(wildcard, sizeof(wildcard), "*.%s", normal);
    if (name[0] == '*') {
        return stls_name_covers(policy, leaf, STLS_NAME_DNS, wildcard);
    }
    return stls_name_covers(policy, leaf, type, normal)
           && (base == name || stls_name_covers(policy, leaf, STLS_NAME_DNS, wildcard));
}

static void judge_names(stls_check *check, const stls_own_chain *own)
{
    X509 *leaf = sk_X509_value(check->presented, 0);
    char missing[600] = "", listed[STLS_NAME_LIST_LEN];
    size_t num_missing = 0, used = 0;

    for (size_t i = 0; i < own->num_names; i++) {
        const char *name = own->names[i];
        if (!stls_own_chain_takes_name(name) || covers(check->policy, leaf, name)) {
            continue;
        }
        if (num_missing++ < MAX_LISTED && used + strlen(name) + 8 < sizeof(missing)) {
            used += (size_t)snprintf(missing + used, sizeof(missing) - used, "%s'%s'",
                                     used ? ", " : "", name);
        }
    }
    if (num_missing == 0) {
        return;
    }
    stls_name_list(leaf, listed);
    char more[40] = "";
    if (num_missing > MAX_LISTED) {
        snprintf(more, sizeof(more), " and %zu more", num_missing - MAX_LISTED);
    }
    stls_findings_add(&check->findings,
                      listed[0] != '\0' ? STLS_REASON_NAME_MISMATCH : STLS_REASON_NAME_NO_IDENTITY,
                      1, 0, leaf,
                      "have the certificate reissued with these names, or take them out of this "
                      "server",
                      "served as %s%s; the certificate is for %s", missing, more,
                      listed[0] != '\0' ? listed : "no name");
}

/* A name that the certificate covers and that a CA above it may not issue for. */
static void judge_permitted(stls_check *check, const stls_own_chain *own)
{
    X509 *leaf = sk_X509_value(check->presented, 0);
    char normal[STLS_MAX_NAME_LEN + 1], ca[STLS_NAME_TEXT_LEN];
    int at = 0;

    for (size_t i = 0; check->path.is_complete && i < own->num_names; i++) {
        const char *name = own->names[i], *base = base_of(name);
        if (base != name || !stls_own_chain_takes_name(name)
            || !covers(check->policy, leaf, name)) {
            continue;
        }
        stls_name_type type = stls_name_normalize(name, strlen(name), normal);
        if (!stls_path_permits_name(&check->path, type, normal, &at)) {
            stls_name_text(X509_get_subject_name(sk_X509_value(check->path.certs, at)), ca);
            stls_findings_add(&check->findings, STLS_REASON_CHAIN_CONSTRAINT, 1, 0, leaf, NULL,
                              "served as '%.255s'; the name constraints of '%s' do not allow it",
                              name, ca);
            return;
        }
    }
}

/* ---- the key ------------------------------------------------------------------------ */

static void judge_key(stls_check *check, const stls_own_chain *own)
{
    X509 *leaf = sk_X509_value(check->presented, 0);
    int owner = -1;

    if (own->key == NULL) {
        stls_findings_add(&check->findings, STLS_REASON_CHAIN_NOT_CHECKABLE, 1, 0, leaf, NULL,
                          "whether the key belongs to it cannot be told: %s",
                          own->why_not != NULL ? own->why_not : "the key is not at hand");
        return;
    }
    ERR_set_mark();
    int belongs = EVP_PKEY_eq(X509_get0_pubkey(leaf), own->key) == 1;
    for (int i = 1; !belongs && i < sk_X509_num(check->presented); i++) {
        X509 *cert = sk_X509_value(check->presented, i);
        owner = EVP_PKEY_eq(X509_get0_pubkey(cert), own->key) == 1 ? i : owner;
    }
    ERR_pop_to_mark();
    if (belongs) {
        return;
    }
    if (owner > 0) {
        stls_findings_add(&check->findings, STLS_REASON_CHAIN_KEY_MISMATCH, 1, 0, leaf, NULL,
                          "the key%s%.300s belongs to certificate %d, not to the first one",
                          own->key_file != NULL ? " in " : "",
                          own->key_file != NULL ? own->key_file : "", owner);
    } else {
        stls_findings_add(&check->findings, STLS_REASON_CHAIN_KEY_MISMATCH, 1, 0, leaf, NULL,
                          "the key%s%.300s belongs to another certificate",
                          own->key_file != NULL ? " in " : "",
                          own->key_file != NULL ? own->key_file : "");
    }
}

/* ---- dates ---------------------------------------------------------------------------- */

/* "14 days", "36 hours": without a remainder, or in seconds. */
static void duration_text(int64_t span_s, char text[40])
{
    if (span_s % 86400 == 0) {
        snprintf(text, 40, "%lld day%s", (long long)span_s / 86400, span_s == 86400 ? "" : "s");
    } else if (span_s % 3600 == 0) {
        snprintf(text, 40, "%lld hour%s", (long long)span_s / 3600, span_s == 3600 ? "" : "s");
    } else {
        snprintf(text, 40, "%lld seconds", (long long)span_s);
    }
}

/* The shortest threshold that is reached and that fits the certificate's life; 0: none. */
static int64_t threshold_reached(const stls_policy *policy, int64_t life_s, int64_t left_s)
{
    int64_t thresholds_s[STLS_MAX_THRESHOLDS], reached_s = 0;
    size_t num = stls_policy_thresholds(policy->text[STLS_KEY_EXPIRY_WARN_S], thresholds_s);

    for (size_t i = 0; i < num; i++) {
        if (left_s <= thresholds_s[i] && thresholds_s[i] <= life_s / 3
            && (reached_s == 0 || thresholds_s[i] < reached_s)) {
            reached_s = thresholds_s[i];
        }
    }
    return reached_s;
}

static void judge_dates(stls_check *check)
{
    for (int i = 0; i < sk_X509_num(check->presented); i++) {
        X509 *cert = sk_X509_value(check->presented, i);
        char span[40], date[STLS_DATE_LEN];
        int64_t from_s, to_s;

        /* Off the path nothing is dated: whoever presents it is told to remove it. */
        if ((check->places != NULL && check->places[i] == STLS_EXTRA && i > 0)
            || !stls_time_s(X509_get0_notBefore(cert), &from_s)
            || !stls_time_s(X509_get0_notAfter(cert), &to_s) || to_s <= check->now_s) {
            continue;
        }
        int64_t reached_s = threshold_reached(check->policy, to_s - from_s, to_s - check->now_s);
        if (reached_s > 0) {
            duration_text(reached_s, span);
            stls_date_text(to_s, date);
            stls_findings_add(&check->findings, STLS_REASON_CHAIN_EXPIRING, 0, i, cert, NULL,
                              "expires within %s, on %s", span, date);
            if (!check->findings.out_of_memory) {
                check->findings.items[check->findings.num - 1].is_warning = 1;
            }
        }
    }
}

/* When the next threshold is reached; 0: none is ahead. */
static int64_t next_warning_s(const stls_policy *policy, const stls_own_chain *own, int64_t now_s)
{
    int64_t thresholds_s[STLS_MAX_THRESHOLDS], next_s = 0;
    size_t num = stls_policy_thresholds(policy->text[STLS_KEY_EXPIRY_WARN_S], thresholds_s);

    for (int i = 0; i < sk_X509_num(own->certs); i++) {
        X509 *cert = sk_X509_value(own->certs, i);
        int64_t from_s, to_s;
        if (!stls_time_s(X509_get0_notBefore(cert), &from_s)
            || !stls_time_s(X509_get0_notAfter(cert), &to_s)) {
            continue;
        }
        for (size_t t = 0; t < num; t++) {
            int64_t at_s = to_s - thresholds_s[t];
            int is_ahead = thresholds_s[t] <= (to_s - from_s) / 3 && at_s > now_s;
            next_s = is_ahead && (next_s == 0 || at_s < next_s) ? at_s : next_s;
        }
    }
    return next_s;
}

int64_t stls_own_chain_next_look_s(const stls_policy *policy, const stls_own_chain *own,
                                   const stls_result *result, int64_t now_s)
{
    int64_t earliest_s = now_s + 1 + policy->num[STLS_KEY_NEGATIVE_TTL_S];
    const int64_t times_s[] = {
        result != NULL ? stls_result_refresh_at_s(result) : 0,
        result != NULL ? stls_result_valid_until_s(result) : 0,
        next_warning_s(policy, own, now_s),
    };
    int64_t next_s = result != NULL ? now_s + STLS_OWN_CHAIN_LOOK_S : earliest_s;

    for (size_t i = 0; i < sizeof(times_s) / sizeof(times_s[0]); i++) {
        next_s = times_s[i] != 0 && times_s[i] < next_s ? times_s[i] : next_s;
    }
    return next_s > earliest_s ? next_s : earliest_s;
}

/* Clients have the root, or do not trust it for being sent. */
static void judge_root(stls_check *check)
{
    for (int i = 1; check->places != NULL && i < sk_X509_num(check->presented); i++) {
        X509 *cert = sk_X509_value(check->presented, i);
        ERR_set_mark();
        int is_root = check->places[i] != STLS_EXTRA && X509_self_signed(cert, 0) == 1;
        ERR_pop_to_mark();
        if (is_root) {
            stls_findings_add(&check->findings, STLS_REASON_CHAIN_ROOT_PRESENTED, 0, i, cert, NULL,
                              "presented certificate %d is a root: peers that trust it have it", i);
        }
    }
}

/* ---- words for the owner ------------------------------------------------------------------ */

/* The rule's own words, where they name what only the owner can name better. */
static void substitute(stls_findings *findings, size_t index, const char *phrase, const char *words)
{
    const char *remedy = findings->items[index].remedy;
    const char *found = remedy != NULL ? strstr(remedy, phrase) : NULL;
    if (found != NULL) {
        stls_finding_set_remedy(findings, index, "%.*s%.300s%s", (int)(found - remedy), remedy,
                                words, found + strlen(phrase));
    }
}

static void reword_gap(stls_check *check, size_t index, const char *target, const char *trust)
{
    stls_findings *findings = &check->findings;
    if (findings->items[index].remedy == NULL) { /* a root that was presented */
        stls_finding_set_remedy(findings, index,
                                "if it is your own CA's root, add it to %s; the peers must have "
                                "it, too",
                                trust);
        return;
    }
    substitute(findings, index, "the served chain", target);
    substitute(findings, index, "the trusted certificates", trust);
}

static void reword(stls_check *check, const stls_own_chain *own)
{
    stls_findings *findings = &check->findings;
    const char *file = own->file != NULL ? own->file : "the certificate file";
    const char *target = own->chain_file != NULL ? own->chain_file : file;
    const char *trust = own->trust_directive != NULL ? own->trust_directive
                                                     : "the trusted certificates";

    for (size_t i = 0; i < findings->num; i++) {
        switch (findings->items[i].reason) {
        case STLS_REASON_CHAIN_INCOMPLETE:
        case STLS_REASON_CHAIN_UNTRUSTED:
            reword_gap(check, i, target, trust);
            break;
        case STLS_REASON_CHAIN_SELF_SIGNED:
            stls_finding_set_remedy(findings, i,
                                    "use a certificate issued by a CA; if the peers are given this "
                                    "very certificate, name its file in %s",
                                    trust);
            break;
        case STLS_REASON_CHAIN_MISORDERED:
            stls_finding_set_remedy(findings, i,
                                    "put the certificates of %.300s into issuing order, leaf first",
                                    target);
            break;
        case STLS_REASON_CHAIN_EXTRA:
            findings->items[i].is_warning = !findings->items[i].is_error;
            stls_finding_set_remedy(findings, i, "remove it from %.300s", target);
            break;
        case STLS_REASON_CHAIN_ROOT_PRESENTED:
            stls_finding_set_remedy(
                findings, i, "it may be removed from %.300s: it costs bytes in each handshake",
                target);
            break;
        case STLS_REASON_CHAIN_EXPIRED:
        case STLS_REASON_CHAIN_EXPIRING:
            stls_finding_set_remedy(findings, i, "renew the certificate in %.300s",
                                    findings->items[i].cert_index > 0 ? target : file);
            break;
        case STLS_REASON_CHAIN_PURPOSE:
            stls_finding_set_remedy(findings, i,
                                    own->role == STLS_ROLE_CLIENT
                                        ? "use one with extended key usage clientAuth: public CAs "
                                          "no longer issue it, a private CA that the server "
                                          "trusts does"
                                        : "use one with extended key usage serverAuth");
            break;
        default:
            break;
        }
    }
}

/* ---- the check ------------------------------------------------------------------------------- */

static stls_policy *own_policy(const stls_policy *policy)
{
    static const stls_policy_change changes[] = {
        {STLS_KEY_MODE, "enforce"},      {STLS_KEY_NAME, "off"},
        {STLS_KEY_CHAIN_ROOT, "allow"},  {STLS_KEY_CHAIN_ORDER, "strict"},
        {STLS_KEY_CHAIN_EXTRA, "allow"}, {STLS_KEY_MUST_STAPLE, "ignore"}};
    return stls_policy_derive(policy, changes, sizeof(changes) / sizeof(changes[0]));
}

stls_check *stls_own_chain_check(stls_policy *policy, stls_anchors *anchors,
                                 const stls_own_chain *own, int64_t now_s)
{
    stls_policy *strict = policy != NULL && policy->frozen ? own_policy(policy) : NULL;
    stls_check *check = strict != NULL ? stls_check_new(strict, anchors, own->role) : NULL;

    stls_policy_free(strict);
    if (check == NULL) {
        return NULL;
    }
    if (sk_X509_num(own->certs) <= 0) {
        check->now_s = now_s;
        stls_check_fail(check, STLS_REASON_CHAIN_NOT_CHECKABLE,
                        own->why_not != NULL ? own->why_not : "there is no certificate", now_s);
        return check;
    }
    /* Whatever fails here drives the verdict to a reject. */
    (void)stls_check_add_certs(check, own->certs);
    (void)stls_check_trust(check, now_s);
    if (sk_X509_num(check->presented) > 0) {
        judge_key(check, own);
        judge_names(check, own);
        judge_permitted(check, own);
        judge_dates(check);
        judge_root(check);
    }
    reword(check, own);
    return check;
}

stls_result *stls_own_chain_judge(stls_policy *policy, stls_anchors *anchors,
                                  const stls_own_chain *own, int64_t now_s)
{
    stls_check *check = stls_own_chain_check(policy, anchors, own, now_s);
    if (check == NULL) {
        return NULL;
    }
    if (stls_findings_have_error(&check->findings)) {
        check->trust_failed = 1; /* nothing is fetched for it */
        (void)stls_check_start(check, now_s);
    }
    stls_result *result = stls_check_get1_result(check);
    stls_check_free(check);
    return result;
}

/* ---- what there is to tell --------------------------------------------------------------------
 */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static stls_severity severity_of(const json_t *finding)
{
    const char *word = text_of(finding, "severity");
    return strcmp(word, "error") == 0     ? STLS_ERROR
           : strcmp(word, "warning") == 0 ? STLS_WARNING
                                          : STLS_NOTE;
}

static const char *severity_word(stls_severity severity)
{
    static const char *const words[] = {"note", "warning", "error"};
    return words[severity];
}

static void tell_one(const json_t *report, const json_t *finding, const char *file,
                     stls_line_fn *tell, void *baton)
{
    char buf[LINE_LEN], number[16];
    stls_line out = {buf, sizeof(buf), 0};
    const json_t *cert = json_object_get(finding, "cert");

    stls_line_text(&out, "strict-tls: self_check");
    stls_line_bare(&out, "severity", severity_word(severity_of(finding)));
    stls_line_bare(&out, "role", text_of(report, "role"));
    stls_line_field(&out, "file", file);
    stls_line_bare(&out, "reason", text_of(finding, "reason"));
    if (json_is_integer(cert)) {
        snprintf(number, sizeof(number), "%d", (int)json_integer_value(cert));
        stls_line_bare(&out, "cert", number);
    }
    stls_line_field(&out, "subject", text_of(finding, "subject"));
    stls_line_field(&out, "detail", text_of(finding, "detail"));
    stls_line_field(&out, "remedy", text_of(finding, "remedy"));
    stls_line_end(&out);
    tell(baton, severity_of(finding), buf);
}

static json_t *parse(const stls_result *result)
{
    return result != NULL ? json_loadb(result->report, result->report_len, 0, NULL) : NULL;
}

size_t stls_own_chain_tell(const stls_result *result, const char *file, stls_severity least,
                           stls_line_fn *tell, void *baton)
{
    json_t *report = parse(result);
    size_t num = 0, i;
    json_t *finding;

    if (report == NULL) {
        if (tell != NULL) {
            tell(baton, STLS_ERROR, "strict-tls: self_check severity=error reason=internal.memory");
        }
        return 1;
    }
    for (int severity = STLS_ERROR; severity >= (int)least; severity--) {
        json_array_foreach (json_object_get(report, "findings"), i, finding) {
            if ((int)severity_of(finding) == severity) {
                num++;
                if (tell != NULL) {
                    tell_one(report, finding, file, tell, baton);
                }
            }
        }
    }
    json_decref(report);
    return num;
}

stls_status stls_own_chain_news_id(const stls_result *result, unsigned char id[STLS_ID_LEN])
{
    stls_status status = STLS_ERR_MEMORY;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    json_t *report = parse(result), *finding;
    char row[1200];
    size_t i;

    if (report == NULL || md == NULL || !EVP_DigestInit_ex(md, EVP_sha256(), NULL)) {
        goto done;
    }
    json_array_foreach (json_object_get(report, "findings"), i, finding) {
        const char *reason = text_of(finding, "reason");
        /* Details of failed fetches differ from time to time; a threshold is told by its detail. */
        int is_threshold = strcmp(reason, stls_reason_id(STLS_REASON_CHAIN_EXPIRING)) == 0;
        snprintf(row, sizeof(row), "%s %s %d %s\n", reason, text_of(finding, "severity"),
                 (int)json_integer_value(json_object_get(finding, "cert")),
                 is_threshold ? text_of(finding, "detail") : "");
        if (!EVP_DigestUpdate(md, row, strlen(row))) {
            goto done;
        }
    }
    status = EVP_DigestFinal_ex(md, id, NULL) ? STLS_OK : STLS_ERR_MEMORY;
done:
    json_decref(report);
    EVP_MD_CTX_free(md);
    return status;
}
