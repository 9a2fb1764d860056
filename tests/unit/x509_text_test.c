#include "support.h"

#include <openssl/x509v3.h>

#include "x509_text.h"

static X509_NAME *name_of(const char *field, const char *value, int times)
{
    X509_NAME *name = X509_NAME_new();
    assert_non_null(name);
    for (int i = 0; i < times; i++) {
        assert_true(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                               (const unsigned char *)value, -1, -1, 0));
    }
    return name;
}

static void names(void **state)
{
    static const struct {
        const char *value, *text;
    } rows[] = {
        {"plain", "CN=plain"},     {"a,b", "CN=a\\,b"},
        {"a=b+c", "CN=a=b\\+c"},   {"\"quoted\"", "CN=\\\"quoted\\\""},
        {"#x", "CN=\\#x"},         {"line\nfeed", "CN=line\\0Afeed"},
        {"\x1b[0m", "CN=\\1B[0m"}, {"\xc3\xbc", "CN=\\C3\\BC"},
    };
    char text[STLS_NAME_TEXT_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        X509_NAME *name = name_of("CN", rows[i].value, 1);
        stls_name_text(name, text);
        assert_string_equal(text, rows[i].text);
        X509_NAME_free(name);
    }
    stls_name_text(NULL, text);
    assert_string_equal(text, "");
    X509_NAME *empty = X509_NAME_new();
    stls_name_text(empty, text);
    assert_string_equal(text, "");
    X509_NAME_free(empty);
}

static void long_names_are_cut(void **state)
{
    char text[STLS_NAME_TEXT_LEN + 8];
    (void)state;
    for (int times = 1; times < 60; times++) {
        X509_NAME *name = name_of("OU", "0123456789", times);
        memset(text, 'x', sizeof(text));
        stls_name_text(name, text);
        size_t whole = (size_t)times * 14 - 1; /* "OU=0123456789" and commas */
        assert_int_equal(strlen(text), whole < STLS_NAME_TEXT_LEN ? whole : STLS_NAME_TEXT_LEN - 1);
        assert_true((strcmp(text + strlen(text) - 3, "...") == 0) == (whole >= STLS_NAME_TEXT_LEN));
        assert_int_equal(text[STLS_NAME_TEXT_LEN], 'x');
        X509_NAME_free(name);
    }
}

static void hex(void **state)
{
    unsigned char bytes[200] = {0x00, 0x7f, 0xff};
    static const struct {
        int len;
        size_t text_len;
    } rows[] = {{0, 0}, {1, 2}, {3, 8}, {32, 95}, {33, 95}, {200, 95}};
    char text[100];

    (void)state;
    stls_hex_text(NULL, text);
    assert_string_equal(text, "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ASN1_OCTET_STRING *string = ASN1_OCTET_STRING_new();
        assert_true(ASN1_OCTET_STRING_set(string, bytes, rows[i].len));
        stls_hex_text(string, text);
        assert_int_equal(strlen(text), rows[i].text_len);
        if (rows[i].len == 3) {
            assert_string_equal(text, "00:7F:FF");
        }
        ASN1_OCTET_STRING_free(string);
    }
}

static void times(void **state)
{
    static const struct {
        int type;
        const char *text;
        int is_time;
        int64_t time_s;
    } rows[] = {
        {V_ASN1_UTCTIME, "700101000000Z", 1, 0},
        {V_ASN1_UTCTIME, "700101000001Z", 1, 1},
        {V_ASN1_UTCTIME, "491231235959Z", 1, INT64_C(2524607999)},
        {V_ASN1_UTCTIME, "500101000000Z", 1, INT64_C(-631152000)},
        {V_ASN1_UTCTIME, "000229000000Z", 1, INT64_C(951782400)},
        {V_ASN1_GENERALIZEDTIME, "20260921141320Z", 1, NOW_S},
        {V_ASN1_GENERALIZEDTIME, "20500101000000Z", 1, INT64_C(2524608000)},
        {V_ASN1_GENERALIZEDTIME, "21000228235959Z", 1, INT64_C(4107542399)},
        {V_ASN1_GENERALIZEDTIME, "99991231235959Z", 1, INT64_C(253402300799)},
        {V_ASN1_GENERALIZEDTIME, "19000101000000Z", 1, INT64_C(-2208988800)},
        {V_ASN1_GENERALIZEDTIME, "21000229000000Z", 0, 0}, /* no leap year */
        {V_ASN1_GENERALIZEDTIME, "20261301000000Z", 0, 0},
        {V_ASN1_GENERALIZEDTIME, "2026", 0, 0},
        {V_ASN1_GENERALIZEDTIME, "", 0, 0},
        {V_ASN1_UTCTIME, "junk", 0, 0},
    };
    int64_t time_s = 7;

    (void)state;
    assert_false(stls_time_s(NULL, &time_s)); /* and not now, as OpenSSL takes it */
    assert_true(time_s == 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ASN1_TIME *time = ASN1_STRING_type_new(rows[i].type);
        assert_true(ASN1_STRING_set(time, rows[i].text, -1));
        if (stls_time_s(time, &time_s) != rows[i].is_time || time_s != rows[i].time_s) {
            fail_msg("%s: %lld", rows[i].text, (long long)time_s);
        }
        ASN1_STRING_free(time);
    }
}

static void urls(void **state)
{
    static const struct {
        const char *aia;
        int num;
        const char *first;
    } rows[] = {
        {"", 0, ""},
        {"OCSP;URI:http://a.example/x", 1, "http://a.example/x"},
        {"OCSP;URI:HTTP://a.example/x", 1, "HTTP://a.example/x"},
        {"caIssuers;URI:http://a.example/", 0, ""},
        {"OCSP;URI:https://a.example/,OCSP;URI:http://b.example/", 1, "http://b.example/"},
        {"OCSP;URI:http://a.example/,OCSP;URI:http://b.example/", 2, "http://a.example/"},
        {"OCSP;DNS:a.example", 0, ""},
        {"OCSP;URI:http://a example/", 0, ""},
        {"DER:0500", 0, ""},
    };
    char url[STLS_URL_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_cert spec = aid_leaf_spec();
        spec.aia = rows[i].aia;
        X509 *cert = aid_make_cert(&spec);
        int num = 0;
        while (stls_aia_url(cert, NID_ad_OCSP, (size_t)num, url)) {
            num++;
        }
        assert_string_equal(url, "");
        assert_int_equal(num, rows[i].num);
        stls_aia_url(cert, NID_ad_OCSP, 0, url);
        assert_string_equal(url, rows[i].first);
    }
}

static void long_urls_are_none(void **state)
{
    (void)state;
    for (size_t len = STLS_URL_LEN - 2; len <= STLS_URL_LEN + 1; len++) {
        char aia[STLS_URL_LEN + 32] = "OCSP;URI:http://a.example/", url[STLS_URL_LEN];
        size_t used = strlen(aia);
        memset(aia + used, 'a', len - (used - strlen("OCSP;URI:")));
        aia[len + strlen("OCSP;URI:")] = '\0';
        aid_cert spec = aid_leaf_spec();
        spec.aia = aia;
        assert_int_equal(stls_aia_url(aid_make_cert(&spec), NID_ad_OCSP, 0, url),
                         len < STLS_URL_LEN);
        assert_int_equal(strlen(url), len < STLS_URL_LEN ? len : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names), cmocka_unit_test(long_names_are_cut),
        cmocka_unit_test(hex),   cmocka_unit_test(times),
        cmocka_unit_test(urls),  cmocka_unit_test(long_urls_are_none),
    };
    return cmocka_run_group_tests_name("x509_text", tests, NULL, aid_end);
}
