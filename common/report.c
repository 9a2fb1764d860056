/* The report: what was presented, what was found, as one JSON object (docs/report.md). */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/x509v3.h>

#include "check.h"

static const char *place_name(stls_place place)
{
    switch (place) {
    case STLS_ON_PATH:
        return "path";
    case STLS_REDUNDANT:
        return "redundant";
    case STLS_EXTRA:
        return "extra";
    case STLS_BEHIND_GAP:
        return "behind_gap";
    default:
        return "unknown";
    }
}

static const char *state_name(stls_slot_state state)
{
    static const char *const names[] = {"open",    "open",   "open",      "good",
                                        "revoked", "exempt", "not_asked", "inconclusive"};
    return names[state];
}

static json_t *optional_text(const char *text)
{
    return text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *index_or_null(int index)
{
    return index == STLS_NO_CERT ? json_null() : json_integer(index);
}

static json_t *render_serial(const X509 *cert)
{
    json_t *out = NULL;
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    /* RFC 5280 section 4.1.2.2 allows 20 octets; a peer may send thousands. */
    char *hex = number != NULL && BN_num_bytes(number) <= 40 ? BN_bn2hex(number) : NULL;
    out = hex != NULL ? json_string(hex) : json_null();
    OPENSSL_free(hex);
    BN_free(number);
    return out;
}

static json_t *render_revocation(const stls_check *check, int cert_index)
{
    for (size_t i = 0; i < check->ladder.num_slots; i++) {
        const stls_slot *slot = &check->ladder.slots[i];
        if (slot->cert_index != cert_index || slot->asked_by >= 0) {
            continue;
        }
        int settled = slot->state == STLS_SLOT_GOOD || slot->state == STLS_SLOT_REVOKED;
        json_t *out = json_pack("{s:s}", "status", state_name(slot->state));
        if (settled) {
            json_object_set_new(out, "source", json_string(stls_source_name(slot->source)));
            json_object_set_new(out, "this_update_s", json_integer(slot->answer.this_update_s));
            json_object_set_new(out, "next_update_s",
                                slot->answer.next_update_s
                                    ? json_integer(slot->answer.next_update_s)
                                    : json_null());
        }
        if (slot->state == STLS_SLOT_REVOKED) {
            json_object_set_new(out, "revoked_at_s", json_integer(slot->answer.revoked_at_s));
            json_object_set_new(out, "revocation_reason",
                                slot->answer.revocation_reason >= 0 ? json_string(
                                    OCSP_crl_reason_str(slot->answer.revocation_reason))
                                                                    : json_null());
        }
        return out;
    }
    return json_null();
}

static json_t *render_cert(const stls_check *check, int index)
{
    const X509 *cert = sk_X509_value(check->presented, index);
    char subject[STLS_NAME_TEXT_LEN], issuer[STLS_NAME_TEXT_LEN], key_id[100], issuer_key_id[100];
    int64_t from_s, to_s;

    stls_name_text(X509_get_subject_name(cert), subject);
    stls_name_text(X509_get_issuer_name(cert), issuer);
    stls_hex_text(X509_get0_subject_key_id((X509 *)cert), key_id);
    stls_hex_text(X509_get0_authority_key_id((X509 *)cert), issuer_key_id);
    stls_time_s(X509_get0_notBefore(cert), &from_s);
    stls_time_s(X509_get0_notAfter(cert), &to_s);
    return json_pack("{s:i, s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:s, s:o}", "index", index,
                     "subject", subject, "issuer", issuer, "serial", render_serial(cert), "key_id",
                     optional_text(key_id), "issuer_key_id", optional_text(issuer_key_id),
                     "not_before_s", (json_int_t)from_s, "not_after_s", (json_int_t)to_s, "place",
                     place_name(check->places != NULL ? check->places[index] : 0), "revocation",
                     render_revocation(check, index));
}

static json_t *render_certs(const stls_check *check)
{
    json_t *out = json_array();
    for (int i = 0; i < sk_X509_num(check->presented); i++) {
        json_array_append_new(out, render_cert(check, i));
    }
    return out;
}

static json_t *render_anchor(const stls_check *check)
{
    char subject[STLS_NAME_TEXT_LEN];
    if (!check->path.is_complete) {
        return json_null();
    }
    const X509 *top = sk_X509_value(check->path.certs, sk_X509_num(check->path.certs) - 1);
    stls_name_text(X509_get_subject_name(top), subject);
    return json_string(subject);
}

static json_t *render_order(const stls_check *check)
{
    json_t *out = json_array();
    for (size_t i = 0; i < check->order.num; i++) {
        json_array_append_new(out, index_or_null(check->order.links[i].index));
    }
    return out;
}

static json_t *render_gaps(const stls_check *check)
{
    json_t *out = json_array();
    int below = STLS_NO_CERT;

    for (size_t i = 0; i < check->order.num; i++) {
        X509 *cert = check->order.links[i].below;
        char issuer[STLS_NAME_TEXT_LEN], key_id[100], url[STLS_URL_LEN];
        if (check->order.links[i].index != STLS_NO_CERT) {
            below = check->order.links[i].index;
            continue;
        }
        stls_name_text(X509_get_issuer_name(cert), issuer);
        stls_hex_text(X509_get0_authority_key_id(cert), key_id);
        stls_aia_url(cert, NID_ad_ca_issuers, 0, url);
        json_array_append_new(out, json_pack("{s:o, s:s, s:o, s:o}", "below", index_or_null(below),
                                             "subject", issuer, "key_id", optional_text(key_id),
                                             "published_at", optional_text(url)));
    }
    return out;
}

static json_t *render_findings(const stls_check *check)
{
    json_t *out = json_array();
    for (size_t i = 0; i < check->findings.num; i++) {
        const stls_finding *finding = &check->findings.items[i];
        const stls_reason_info *info = stls_reason_get0(finding->reason);
        char remedy[STLS_REMEDY_LEN];

        stls_remedy_text(check->policy->directives, check->role,
                         finding->remedy != NULL ? finding->remedy : info->remedy, remedy,
                         sizeof(remedy));
        json_array_append_new(
            out, json_pack("{s:s, s:s, s:o, s:o, s:s, s:o, s:s}", "reason", info->id, "severity",
                           finding->is_error     ? "error"
                           : finding->is_warning ? "warning"
                                                 : "note",
                           "cert", index_or_null(finding->cert_index), "subject",
                           optional_text(finding->subject), "text", info->text, "detail",
                           optional_text(finding->detail), "remedy", remedy));
    }
    return out;
}

char *stls_report_render(const stls_check *check, const char *word, size_t *len)
{
    const stls_finding *primary = stls_findings_primary(&check->findings);
    char *text = NULL;

    *len = 0;
    json_t *report = json_pack(
        "{s:i, s:s, s:s, s:s, s:o, s:I, s:I, s:b, s:i, s:o, s:o, s:o, s:o, s:o}", "version", 1,
        "verdict", word, "reason",
        stls_reason_id(primary != NULL ? primary->reason : STLS_REASON_NONE), "role",
        check->role == STLS_ROLE_SERVER ? "server" : "client", "name", optional_text(check->name),
        "checked_at_s", (json_int_t)check->now_s, "valid_until_s", (json_int_t)check->valid_until_s,
        "pinned", stls_chain_is_pinned(&check->path), "num_presented", (int)check->num_presented,
        "certs", render_certs(check), "order", render_order(check), "gaps", render_gaps(check),
        "anchor", render_anchor(check), "findings", render_findings(check));
    char *dump = report != NULL ? json_dumps(report, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    if (dump != NULL) {
        text = stls_strdup(&check->allocator, dump);
        *len = text != NULL ? strlen(text) : 0;
    }
    free(dump);
    json_decref(report);
    return text;
}
