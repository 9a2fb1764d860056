#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include "name.h"

/* A certificate's names, the wanted one, and what comes of it. */
typedef struct {
    const char *san;
    const char *subject; /* NULL: CN=unrelated */
    const char *wanted;
    stls_reason reason; /* NONE: a match */
} row;

static stls_reason judge(const row *r, const char *policy)
{
    aid_cert spec = aid_leaf_spec();
    spec.subject = r->subject != NULL ? r->subject : "CN=unrelated";
    spec.san = r->san;
    aid_case c = {.policy = policy,
                  .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL),
                  .name = r->wanted};
    stls_result *result = aid_judge(&c);
    assert_true((stls_result_verdict(result) == STLS_ACCEPT)
                == (stls_result_reason(result) == STLS_REASON_NONE));
    return stls_result_reason(result);
}

static void judge_rows(const row *rows, size_t num, const char *policy)
{
    for (size_t i = 0; i < num; i++) {
        stls_reason reason = judge(&rows[i], policy);
        if (reason != rows[i].reason) {
            fail_msg("SAN %s, subject %s, wanted %s: %s", rows[i].san, rows[i].subject,
                     rows[i].wanted, stls_reason_id(reason));
        }
    }
}

#define JUDGE(rows, policy) judge_rows(rows, sizeof(rows) / sizeof(rows[0]), policy)
#define MISMATCH STLS_REASON_NAME_MISMATCH
#define NO_IDENTITY STLS_REASON_NAME_NO_IDENTITY
#define MALFORMED STLS_REASON_NAME_MALFORMED

static void dns_names(void **state)
{
    static const row rows[] = {
        {"DNS:a.example.com", NULL, "a.example.com", 0},
        {"DNS:a.example.com", NULL, "A.Example.COM", 0},
        {"DNS:A.Example.COM", NULL, "a.example.com", 0},
        {"DNS:x.example.com,DNS:a.example.com", NULL, "a.example.com", 0},
        {"DNS:a.example.com", NULL, "b.example.com", MISMATCH},
        {"DNS:a.example.com", NULL, "example.com", MISMATCH},
        {"DNS:a.example.com", NULL, "x.a.example.com", MISMATCH},
        {"DNS:example.com", NULL, "a.example.com", MISMATCH},
        {"DNS:a.example.com", NULL, "a.example.com.evil.com", MISMATCH},
        {"DNS:a.example.com", NULL, "a.example.co", MISMATCH},
        {"DNS:.example.com", NULL, "a.example.com", MISMATCH},
        {"DNS:xn--bcher-kva.example", NULL, "xn--bcher-kva.example", 0},
        {"DNS:XN--BCHER-KVA.example", NULL, "xn--bcher-kva.example", 0},
        {"DNS:localhost", NULL, "localhost", 0},
        {"DNS:a_b.example.com", NULL, "a_b.example.com", 0},
        {"email:a.example.com", NULL, "a.example.com", NO_IDENTITY},
        {"URI:http://a.example.com", NULL, "a.example.com", NO_IDENTITY},
        {NULL, NULL, "a.example.com", NO_IDENTITY},
    };
    (void)state;
    JUDGE(rows, "revocation=off");
}

/* RFC 9525 section 6.3. */
static void trap_17_wildcards(void **state)
{
    static const row rows[] = {
        {"DNS:*.example.com", NULL, "a.example.com", 0},
        {"DNS:*.example.com", NULL, "A.EXAMPLE.com.", 0},
        {"DNS:*.example.com", NULL, "xn--bcher-kva.example.com", 0},
        {"DNS:*.example.com", NULL, "example.com", MISMATCH},
        {"DNS:*.example.com", NULL, "a.b.example.com", MISMATCH},
        {"DNS:*.example.com", NULL, "a.example.org", MISMATCH},
        {"DNS:*.b.example.com", NULL, "a.b.example.com", 0},
        {"DNS:a.*.example.com", NULL, "a.b.example.com", MISMATCH},
        {"DNS:*.*.example.com", NULL, "a.b.example.com", MISMATCH},
        {"DNS:a*.example.com", NULL, "ab.example.com", MISMATCH},
        {"DNS:*a.example.com", NULL, "ba.example.com", MISMATCH},
        {"DNS:a*b.example.com", NULL, "axb.example.com", MISMATCH},
        {"DNS:xn--*.example.com", NULL, "xn--a.example.com", MISMATCH},
        {"DNS:**.example.com", NULL, "a.example.com", MISMATCH},
        {"DNS:*.com", NULL, "example.com", MISMATCH},
        {"DNS:*", NULL, "localhost", MISMATCH},
        {"DNS:*", NULL, "a.example.com", MISMATCH},
        {"DNS:*.", NULL, "a.", MISMATCH},
        {"DNS:*.0.0.1", NULL, "127.0.0.1", MISMATCH},
    };
    (void)state;
    JUDGE(rows, "revocation=off");
}

static void trap_17_trailing_dots(void **state)
{
    static const row rows[] = {
        {"DNS:a.example.com", NULL, "a.example.com.", 0},
        {"DNS:a.example.com", NULL, ".", MALFORMED},
        {"DNS:192.0.2.1,IP:192.0.2.1", NULL, "192.0.2.1.", MALFORMED},
        {"DNS:a.example.com", NULL, "[a.example.com]", MALFORMED},
        {"DNS:a.example.com", NULL, "[a.example.com.]", MALFORMED},
        {"DNS:192.0.2.1,IP:192.0.2.1", NULL, "[192.0.2.1]", MALFORMED},
        {"DNS:192.0.2.1,IP:192.0.2.1", NULL, "[192.0.2.1.]", MALFORMED},
        {"DNS:a.example.com", NULL, ".a.example.com", MALFORMED},
        {"DNS:a.example.com", NULL, "a..example.com", MALFORMED},
        {"DNS:a.example.com.", NULL, "a.example.com", MISMATCH},
    };
    (void)state;
    JUDGE(rows, "revocation=off");
}

/* What the extension says cannot be told, so that the common name is no substitute for it. */
static void cn_beside_an_undecodable_san(void **state)
{
    stls_policy *policy = aid_policy("name_cn_fallback=on", NULL);
    aid_cert spec = aid_leaf_spec();
    (void)state;
    spec.san = "";
    X509 *without = aid_make_cert(&spec);
    assert_int_equal(stls_name_covers(policy, without, STLS_NAME_DNS, LEAF_NAME), 1);
    spec.san = "DER:0500";
    X509 *undecodable = aid_make_cert(&spec);
    assert_int_equal(stls_name_covers(policy, undecodable, STLS_NAME_DNS, LEAF_NAME), 0);
    spec.san = "DER:3000";
    X509 *twice = aid_make_cert(&spec);
    int at = X509_get_ext_by_NID(twice, NID_subject_alt_name, -1);
    AID_NEED(at >= 0 && X509_add_ext(twice, X509_get_ext(twice, at), -1));
    assert_int_equal(stls_name_covers(policy, twice, STLS_NAME_DNS, LEAF_NAME), 0);
}

static void addresses(void **state)
{
    static const row rows[] = {
        {"IP:192.0.2.1", NULL, "192.0.2.1", 0},
        {"IP:192.0.2.1", NULL, "192.0.2.2", MISMATCH},
        {"IP:192.0.2.1,IP:192.0.2.2", NULL, "192.0.2.2", 0},
        {"IP:2001:db8::1", NULL, "2001:db8::1", 0},
        {"IP:2001:db8::1", NULL, "2001:DB8:0:0::1", 0},
        {"IP:2001:db8::1", NULL, "[2001:db8::1]", 0},
        {"IP:2001:db8::1", NULL, "2001:db8::2", MISMATCH},
        {"IP:192.0.2.1", NULL, "::ffff:192.0.2.1", MISMATCH},
        {"DNS:a.example.com", NULL, "192.0.2.1", MISMATCH},
        {"IP:192.0.2.1", NULL, "a.example.com", MISMATCH},
        {"IP:192.0.2.1", NULL, "192.0.2.1.example.com", MISMATCH},
    };
    (void)state;
    JUDGE(rows, "revocation=off");
}

static void trap_17_address_as_dns_name(void **state)
{
    static const row rows[] = {
        {"DNS:192.0.2.1", NULL, "192.0.2.1", MISMATCH},
        {"DNS:2001:db8::1", NULL, "2001:db8::1", MISMATCH},
        {"DNS:192.0.2.1,IP:192.0.2.9", NULL, "192.0.2.1", MISMATCH},
        {NULL, "CN=192.0.2.1", "192.0.2.1", NO_IDENTITY},
    };
    (void)state;
    JUDGE(rows, "revocation=off");
    JUDGE(rows, "revocation=off name_cn_fallback=on");
}

static void trap_17_cn_beside_san(void **state)
{
    static const row strict[] = {
        {NULL, "CN=a.example.com", "a.example.com", NO_IDENTITY},
        {"DNS:b.example.com", "CN=a.example.com", "a.example.com", MISMATCH},
        {"email:x@example.com", "CN=a.example.com", "a.example.com", NO_IDENTITY},
    };
    static const row fallback[] = {
        {NULL, "CN=a.example.com", "a.example.com", 0},
        {NULL, "CN=A.example.com", "a.example.com.", 0},
        {NULL, "CN=*.example.com", "a.example.com", 0},
        {NULL, "CN=b.example.com", "a.example.com", NO_IDENTITY},
        {NULL, "O=a.example.com", "a.example.com", NO_IDENTITY},
        {"email:x@example.com", "CN=a.example.com", "a.example.com", 0},
        {"DNS:b.example.com", "CN=a.example.com", "a.example.com", MISMATCH},
        {"IP:192.0.2.1", "CN=a.example.com", "a.example.com", MISMATCH},
        {"DNS:a.example.com", "CN=b.example.com", "b.example.com", MISMATCH},
        {"DNS:a.example.com", "CN=b.example.com", "a.example.com", 0},
    };
    (void)state;
    JUDGE(strict, "revocation=off");
    JUDGE(fallback, "revocation=off name_cn_fallback=on");
}

/* GeneralNames with one name of this tag, as raw bytes. */
static const char *raw_san(unsigned char tag, const char *bytes, size_t len)
{
    static char text[1200];
    size_t used = (size_t)snprintf(text, sizeof(text), "DER:30%02x%02x%02x", (unsigned)len + 2, tag,
                                   (unsigned)len);
    for (size_t i = 0; i < len; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%02x", (unsigned char)bytes[i]);
    }
    return text;
}

#define RAW(tag, bytes) raw_san(tag, bytes, sizeof(bytes) - 1)
#define DNS_TAG 0x82
#define IP_TAG 0x87

static void trap_17_nul_and_other_malformed_names(void **state)
{
    static const char *const policies[] = {"revocation=off", "revocation=off name_cn_fallback=on"};
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        row r = {.subject = "CN=a.example.com", .wanted = "a.example.com"};
        r.san = RAW(DNS_TAG, "a.example.com\0.evil.com");
        assert_int_equal(judge(&r, policies[p]), MALFORMED);
        r.san = RAW(DNS_TAG, "a.example.com\0");
        assert_int_equal(judge(&r, policies[p]), MALFORMED);
        r.san = RAW(DNS_TAG, "\0a.example.com");
        assert_int_equal(judge(&r, policies[p]), MALFORMED);
        r.san = RAW(DNS_TAG, "a.example.com ");
        assert_int_equal(judge(&r, policies[p]), MALFORMED);
        r.san = RAW(DNS_TAG, "b\xc3\xbc.example.com");
        assert_int_equal(judge(&r, policies[p]), MALFORMED);
        r.san = RAW(DNS_TAG, "");
        assert_int_equal(judge(&r, policies[p]), MALFORMED);
        r.san = "DER:0500"; /* not even a sequence */
        assert_int_not_equal(judge(&r, policies[p]), 0);

        r.wanted = "192.0.2.1";
        r.san = RAW(IP_TAG, "\xc0\x00\x02\x01");
        assert_int_equal(judge(&r, policies[p]), 0);
        r.san = RAW(IP_TAG, "\xc0\x00\x02\x01\x00");
        assert_int_equal(judge(&r, policies[p]), MALFORMED);
        r.san = RAW(IP_TAG, "\xc0\x00\x02\x01\xff\xff\xff\xff"); /* a name constraint's form */
        assert_int_equal(judge(&r, policies[p]), MALFORMED);
        r.san = RAW(IP_TAG, "192.0.2.1");
        assert_int_equal(judge(&r, policies[p]), MALFORMED);
    }
}

/* A malformed name beside the right one does not spoil it. */
static void malformed_name_beside_a_match(void **state)
{
    row r = {.wanted = "b.example.com"};
    (void)state;
    r.san = "DER:3020820f612e6578616d706c652e636f6d0000820d622e6578616d706c652e636f6d";
    assert_int_equal(judge(&r, "revocation=off"), 0);
}

static void wanted_names_that_are_none(void **state)
{
    static const row rows[] = {
        {"DNS:a.example.com", NULL, "", MALFORMED}, /* none given */
        {"DNS:a.example.com", NULL, "a example.com", MALFORMED},
        {"DNS:a.example.com", NULL, "a.example.com\n", MALFORMED},
        {"DNS:a.example.com", NULL,
         "b\xc3\xbc"
         "cher.example",
         MALFORMED},
        {"DNS:a.example.com", NULL, "a/b.example.com", MALFORMED},
        {"DNS:a.example.com", NULL, "*.example.com", MALFORMED},
        {"DNS:*.example.com", NULL, "*.example.com", MALFORMED},
        {"DNS:a.example.com", NULL, "a.example.com:443", MALFORMED},
        {"DNS:a.example.com", NULL, "http://a.example.com", MALFORMED},
        {"DNS:a.example.com", NULL, "[]", MALFORMED},
        {"DNS:a.example.com", NULL, "[", MALFORMED},
    };
    (void)state;
    JUDGE(rows, "revocation=off");
}

static void wanted_name_with_nul_or_too_long(void **state)
{
    static const char with_nul[] = "api.example.com\0.evil.com";
    char long_name[256 + 1];
    const struct {
        const char *name;
        size_t len;
        stls_reason reason;
    } rows[] = {
        {with_nul, 15, 0},
        {with_nul, 16, MALFORMED},
        {with_nul, sizeof(with_nul) - 1, MALFORMED},
        {long_name, 255, MISMATCH},
        {long_name, 256, MALFORMED},
        {"", 0, MALFORMED},
    };
    (void)state;
    memset(long_name, 'a', sizeof(long_name));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = "revocation=off", .name = ""};
        stls_check *check = aid_new_check(&c, NULL);
        assert_int_equal(stls_check_set_name(check, rows[i].name, rows[i].len), STLS_OK);
        stls_check_start(check, NOW_S);
        stls_result *result = stls_check_get1_result(check);
        assert_int_equal(stls_result_reason(result), rows[i].reason);
        stls_result_free(result);
        stls_check_free(check);
    }
}

static void name_off_and_clients(void **state)
{
    aid_cert spec = aid_leaf_spec();
    (void)state;
    spec.eku = "clientAuth";
    spec.san = NULL;
    aid_case off = {.policy = "revocation=off name=off", .name = "other.example.com"};
    aid_case none = {.policy = "revocation=off name=off", .name = ""};
    aid_case client = {.policy = "revocation=off",
                       .role = STLS_ROLE_CLIENT,
                       .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL),
                       .name = ""};
    assert_case("off", &off, STLS_ACCEPT, STLS_REASON_NONE);
    assert_case("off, none given", &none, STLS_ACCEPT, STLS_REASON_NONE);
    assert_case("client", &client, STLS_ACCEPT, STLS_REASON_NONE);
}

static void normal_form(void **state)
{
    static const struct {
        const char *name;
        stls_name_type type;
        const char *normal;
    } rows[] = {
        {NULL, STLS_NAME_NONE, ""},
        {"", STLS_NAME_BAD, ""},
        {"A.B.", STLS_NAME_DNS, "a.b"},
        {"[2001:DB8::1]", STLS_NAME_IP, "2001:db8::1"},
        {"192.0.2.1", STLS_NAME_IP, "192.0.2.1"},
        {"192.0.2", STLS_NAME_DNS, "192.0.2"},
        {"192.0.2.256", STLS_NAME_DNS, "192.0.2.256"},
        {"2001:db8::1::", STLS_NAME_BAD, NULL},
        {"a\tb", STLS_NAME_BAD, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char normal[STLS_MAX_NAME_LEN + 1];
        const char *name = rows[i].name;
        assert_int_equal(stls_name_normalize(name, name != NULL ? strlen(name) : 0, normal),
                         rows[i].type);
        if (rows[i].normal != NULL) {
            assert_string_equal(normal, rows[i].normal);
        }
    }
}

static int equal(const char *a, const char *b)
{
    int same = stls_name_equal(a, strlen(a), b, strlen(b));
    assert_int_equal(stls_name_equal(b, strlen(b), a, strlen(a)), same);
    return same;
}

/* Names are one to a kept connection where they are one to the check, and nowhere else. */
static void equal_names(void **state)
{
    static const struct {
        const char *a, *b;
        int are_equal;
    } rows[] = {
        {"a.test", "a.test", 1},
        {"a.test", "A.Test", 1},
        {"a.test", "a.test.", 1},
        {"2001:db8::1", "[2001:DB8::1]", 1},
        {"192.0.2.1", "192.0.2.1", 1},
        {"bad name", "bad name", 1},
        {"", "", 1},
        {"a.test", "b.test", 0},
        {"a.test", "a.test.b", 0},
        {"a.test", "a.tes", 0},
        {"a.test", "", 0},
        {"192.0.2.1", "192.0.2.1.", 0},
        {"bad name", "Bad name", 0},
        {"a.test", "a.test..", 0},
        {"bad name", "", 0},
        {"a.test", "[a.test]", 0},
    };
    char longer[STLS_MAX_NAME_LEN + 3];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(equal(rows[i].a, rows[i].b), rows[i].are_equal);
    }
    assert_int_equal(stls_name_equal("a\0b", 3, "a\0c", 3), 0);
    assert_int_equal(stls_name_equal(NULL, 0, NULL, 0), 1);
    assert_int_equal(stls_name_equal(NULL, 0, "a", 1), 0);
    memset(longer, 'a', sizeof(longer));
    assert_int_equal(stls_name_equal(longer, sizeof(longer), longer, sizeof(longer) - 1), 0);
}

static void trap_21_ten_thousand_names(void **state)
{
    size_t size = 10000 * 32, used = 0;
    char *san = malloc(size);
    const char *policy = "revocation=off max_chain_bytes=16777216";

    (void)state;
    assert_non_null(san);
    for (int i = 0; i < 10000; i++) {
        used += (size_t)snprintf(san + used, size - used, "%sDNS:n%d.example.com", i ? "," : "", i);
    }
    row r = {.san = san, .wanted = "n9999.example.com"};
    assert_int_equal(judge(&r, policy), STLS_REASON_NONE);
    r.wanted = "n10000.example.com";
    assert_int_equal(judge(&r, policy), MISMATCH);
    assert_int_equal(judge(&r, "revocation=off"), STLS_REASON_CHAIN_TOO_LONG);
    free(san);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dns_names),
        cmocka_unit_test(trap_17_wildcards),
        cmocka_unit_test(trap_17_trailing_dots),
        cmocka_unit_test(cn_beside_an_undecodable_san),
        cmocka_unit_test(addresses),
        cmocka_unit_test(trap_17_address_as_dns_name),
        cmocka_unit_test(trap_17_cn_beside_san),
        cmocka_unit_test(trap_17_nul_and_other_malformed_names),
        cmocka_unit_test(malformed_name_beside_a_match),
        cmocka_unit_test(wanted_names_that_are_none),
        cmocka_unit_test(wanted_name_with_nul_or_too_long),
        cmocka_unit_test(name_off_and_clients),
        cmocka_unit_test(normal_form),
        cmocka_unit_test(equal_names),
        cmocka_unit_test(trap_21_ten_thousand_names),
    };
    return cmocka_run_group_tests_name("name", tests, NULL, aid_end);
}
