#include "support.h"

#include <jansson.h>

/* The report, decoded; the caller drops it. */
static json_t *report_of(const aid_case *c)
{
    size_t len;
    json_error_t error;
    const char *text = stls_result_get0_report(aid_judge(c), &len);

    assert_int_equal(strlen(text), len);
    for (size_t i = 0; i < len; i++) {
        assert_true(text[i] >= 0x20 && text[i] < 0x7f); /* one line of printable ASCII */
    }
    json_t *report = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (report == NULL) {
        fail_msg("%s: %s", error.text, text);
    }
    return report;
}

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static const json_t *cert_at(const json_t *report, size_t index)
{
    return json_array_get(json_object_get(report, "certs"), index);
}

static const char *status_at(const json_t *report, size_t index)
{
    return text_at(json_object_get(cert_at(report, index), "revocation"), "status");
}

static void accepted(void **state)
{
    aid_case c = {.name = "API.example.com."};
    json_t *report = report_of(&c);

    (void)state;
    assert_int_equal(json_integer_value(json_object_get(report, "version")), 1);
    assert_string_equal(text_at(report, "verdict"), "accept");
    assert_string_equal(text_at(report, "reason"), "none");
    assert_string_equal(text_at(report, "role"), "server");
    assert_string_equal(text_at(report, "name"), LEAF_NAME);
    assert_true(json_integer_value(json_object_get(report, "checked_at_s")) == NOW_S);
    assert_true(json_integer_value(json_object_get(report, "valid_until_s")) == NOW_S + HOUR_S);
    assert_true(json_is_false(json_object_get(report, "pinned")));
    assert_int_equal(json_integer_value(json_object_get(report, "num_presented")), 2);
    assert_int_equal(json_array_size(json_object_get(report, "certs")), 2);
    assert_int_equal(json_array_size(json_object_get(report, "findings")), 0);
    assert_non_null(strstr(text_at(report, "anchor"), "CN=Root"));

    const json_t *leaf = cert_at(report, 0);
    assert_string_equal(text_at(leaf, "subject"), "CN=" LEAF_NAME);
    assert_non_null(strstr(text_at(leaf, "issuer"), "CN=Intermediate"));
    assert_string_equal(text_at(leaf, "place"), "path");
    assert_string_equal(text_at(leaf, "issuer_key_id"), text_at(cert_at(report, 1), "key_id"));
    const json_t *revocation = json_object_get(leaf, "revocation");
    assert_string_equal(text_at(revocation, "status"), "good");
    assert_string_equal(text_at(revocation, "source"), "ocsp");
    assert_true(json_integer_value(json_object_get(revocation, "next_update_s")) == NOW_S + DAY_S);
    json_decref(report);
}

static void places(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_case c = {.policy = "revocation=off",
                  .certs = aid_stack(pki->leaf, pki->inter, pki->other_root, pki->root, NULL)};
    json_t *report = report_of(&c);
    (void)state;
    assert_string_equal(text_at(cert_at(report, 0), "place"), "path");
    assert_string_equal(text_at(cert_at(report, 1), "place"), "path");
    assert_string_equal(text_at(cert_at(report, 2), "place"), "extra");
    assert_string_equal(text_at(cert_at(report, 3), "place"), "path");
    assert_true(json_is_null(json_object_get(cert_at(report, 0), "revocation")));
    json_decref(report);
}

static void statuses(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert brief = aid_leaf_spec(), silent = aid_leaf_spec();
    brief.not_before_s = NOW_S - HOUR_S;
    brief.not_after_s = NOW_S + HOUR_S;
    brief.aia = silent.aia = "";
    aid_reply revoked = {STLS_FETCH_OK,
                         aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED)};
    aid_reply down = {.outcome = STLS_FETCH_NETWORK};
    const struct {
        const char *status;
        aid_case c;
    } rows[] = {
        {"good", {0}},
        {"good", {.staple = aid_ocsp_about(pki->leaf, pki->inter, 1, 0)}},
        {"revoked", {.replies = {revoked}}},
        {"inconclusive", {.replies = {down}}},
        {"exempt", {.certs = aid_stack(aid_make_cert(&brief), pki->inter, NULL)}},
        {"not_asked",
         {.policy = "no_revocation_source=allow",
          .certs = aid_stack(aid_make_cert(&silent), pki->inter, NULL)}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *report = report_of(&rows[i].c);
        assert_string_equal(status_at(report, 0), rows[i].status);
        json_decref(report);
    }
}

static void revocation_is_dated(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_ocsp spec = {.singles = {{.cert = pki->leaf,
                                  .issuer = pki->inter,
                                  .status = V_OCSP_CERTSTATUS_REVOKED,
                                  .reason = OCSP_REVOKED_STATUS_KEYCOMPROMISE}},
                     .signer_key = 1};
    aid_case c = {.replies = {{STLS_FETCH_OK, aid_make_ocsp(&spec)}}};
    json_t *report = report_of(&c);
    const json_t *revocation = json_object_get(cert_at(report, 0), "revocation");
    (void)state;
    assert_true(json_integer_value(json_object_get(revocation, "revoked_at_s"))
                == NOW_S - 2 * DAY_S);
    assert_string_equal(text_at(revocation, "revocation_reason"), "keyCompromise");
    json_decref(report);
}

static void findings_are_complete(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_case c = {.certs = aid_stack(pki->leaf, NULL), .name = "other.example.com"};
    json_t *report = report_of(&c), *finding;
    size_t i;
    (void)state;
    assert_string_equal(text_at(report, "verdict"), "reject");
    assert_string_equal(text_at(report, "reason"), "chain.incomplete");
    assert_true(json_is_null(json_object_get(report, "anchor")));
    assert_int_equal(json_array_size(json_object_get(report, "findings")), 2);
    json_array_foreach (json_object_get(report, "findings"), i, finding) {
        assert_string_equal(text_at(finding, "severity"), "error");
        assert_int_equal(json_integer_value(json_object_get(finding, "cert")), 0);
        assert_string_equal(text_at(finding, "subject"), "CN=" LEAF_NAME);
        assert_non_null(text_at(finding, "text"));
        assert_non_null(text_at(finding, "detail"));
        assert_non_null(text_at(finding, "remedy"));
    }
    json_decref(report);
}

static void nothing_presented(void **state)
{
    STACK_OF(X509) *empty = sk_X509_new_null();
    aid_case c = {.certs = empty, .name = ""};
    json_t *report = report_of(&c);
    (void)state;
    assert_string_equal(text_at(report, "reason"), "chain.incomplete");
    assert_true(json_is_null(json_object_get(report, "name")));
    assert_int_equal(json_array_size(json_object_get(report, "certs")), 0);
    json_decref(report);
    sk_X509_free(empty);
}

/* Peers choose names: whatever they choose, the report stays what it is. */
static void hostile_names(void **state)
{
    static const char *const subjects[] = {
        "CN=\"}{\"verdict\":\"accept\"",
        "CN=line\nfeed\rreturn\ttab",
        "CN=\x1b[31mred\x1b[0m",
        "CN=<script>alert(1)</script>",
        "CN=\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80",
        "CN=\\u0000%s%n",
        "O=no common name",
        "",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        aid_cert spec = aid_leaf_spec();
        spec.subject = subjects[i];
        spec.san = "DNS:x.example.com";
        aid_case c = {.policy = "revocation=off x509_strict=off",
                      .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL)};
        json_t *report = report_of(&c);
        assert_string_equal(text_at(report, "verdict"), "reject");
        assert_string_equal(text_at(report, "reason"), "name.mismatch");
        json_decref(report);
    }
}

/* Names, serials and key ids of any size; a report of bounded size. */
static void huge_fields(void **state)
{
    aid_cert spec = aid_leaf_spec();
    size_t len;
    char serial_digits[4000];

    (void)state;
    X509 *cert = X509_dup(aid_make_cert(&spec));
    X509_NAME *name = X509_NAME_new();
    for (int i = 0; i < 200; i++) {
        X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_ASC,
                                   (const unsigned char *)"aaaaaaaaaabbbbbbbbbbcccccccccc", -1, -1,
                                   0);
    }
    X509_set_subject_name(cert, name);
    X509_NAME_free(name);
    memset(serial_digits, 0x7f, sizeof(serial_digits));
    BIGNUM *serial = BN_bin2bn((unsigned char *)serial_digits, sizeof(serial_digits), NULL);
    BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert));
    BN_free(serial);
    X509_sign(cert, aid_key(1), EVP_sha256());
    aid_case c = {.policy = "revocation=off",
                  .certs = aid_stack(cert, aid_usual_pki()->inter, NULL)};
    stls_result *result = aid_judge(&c);
    assert_int_equal(stls_result_verdict(result), STLS_ACCEPT);
    stls_result_get0_report(result, &len);
    assert_true(len < 4000);
    X509_free(cert);
}

static void hundred_certificates(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    STACK_OF(X509) *hundred = sk_X509_dup(aid_stack(pki->leaf, pki->inter, NULL));
    (void)state;
    while (sk_X509_num(hundred) < 100) {
        sk_X509_push(hundred, pki->other_root);
    }
    aid_case c = {.certs = hundred};
    json_t *report = report_of(&c);
    assert_string_equal(text_at(report, "reason"), "chain.too_long");
    assert_int_equal(json_integer_value(json_object_get(report, "num_presented")), 100);
    assert_true(json_array_size(json_object_get(report, "certs")) <= 10);
    json_decref(report);
    sk_X509_free(hundred);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),
        cmocka_unit_test(places),
        cmocka_unit_test(statuses),
        cmocka_unit_test(revocation_is_dated),
        cmocka_unit_test(findings_are_complete),
        cmocka_unit_test(nothing_presented),
        cmocka_unit_test(hostile_names),
        cmocka_unit_test(huge_fields),
        cmocka_unit_test(hundred_certificates),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, aid_end);
}
