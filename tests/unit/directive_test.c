/* Names of directives, and remedies in the host's words. */
#include "support.h"

#include "directive.h"

static const char *name(stls_directives directives, stls_role role, const char *key)
{
    static char buf[STLS_DIRECTIVE_LEN];
    stls_directive_name(directives, role, key, buf, sizeof(buf));
    return buf;
}

static void names(void **state)
{
    static const struct {
        const char *key, *nginx, *httpd, *httpd_client;
    } rows[] = {
        {"mode", "strict_tls", "StrictTLS", "StrictTLSClient"},
        {"chain_root", "strict_tls_chain_root", "StrictTLSChainRoot", "StrictTLSClientChainRoot"},
        {"x509_strict", "strict_tls_x509_strict", "StrictTLSX509Strict",
         "StrictTLSClientX509Strict"},
        {"max_urls_per_cert", "strict_tls_max_urls_per_cert", "StrictTLSMaxURLsPerCert",
         "StrictTLSClientMaxURLsPerCert"},
        {"name_cn_fallback", "strict_tls_name_cn_fallback", "StrictTLSNameCNFallback",
         "StrictTLSClientNameCNFallback"},
        {"crl_file", "strict_tls_crl_file", "StrictTLSCRLFile", "StrictTLSClientCRLFile"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(name(STLS_DIRECTIVES_NGINX, STLS_ROLE_SERVER, rows[i].key),
                            rows[i].nginx);
        assert_string_equal(name(STLS_DIRECTIVES_HTTPD, STLS_ROLE_SERVER, rows[i].key),
                            rows[i].httpd);
        assert_string_equal(name(STLS_DIRECTIVES_HTTPD, STLS_ROLE_CLIENT, rows[i].key),
                            rows[i].httpd_client);
        assert_string_equal(name(STLS_DIRECTIVES_KEYS, STLS_ROLE_CLIENT, rows[i].key), rows[i].key);
    }
}

/* STLS_DIRECTIVE_LEN holds for every key. */
static void names_fit(void **state)
{
    char buf[STLS_DIRECTIVE_LEN];
    (void)state;
    for (int style = STLS_DIRECTIVES_KEYS; style <= STLS_DIRECTIVES_HTTPD; style++) {
        for (size_t i = 0; i < STLS_NUM_KEYS; i++) {
            size_t len = stls_directive_name((stls_directives)style, STLS_ROLE_CLIENT,
                                             stls_policy_keys()[i].name, buf, sizeof(buf));
            assert_true(len > 0 && len < sizeof(buf));
            assert_int_equal(len, strlen(buf));
        }
    }
    assert_int_equal(
        stls_directive_name(STLS_DIRECTIVES_HTTPD, STLS_ROLE_SERVER, "chain_root", buf, 6), 18);
    assert_string_equal(buf, "Stric");
    assert_int_equal(stls_directive_name(STLS_DIRECTIVES_NGINX, STLS_ROLE_SERVER, "mode", NULL, 0),
                     10);
}

static void remedies(void **state)
{
    static const struct {
        stls_role role;
        const char *remedy, *nginx, *httpd;
    } rows[] = {
        {STLS_ROLE_SERVER, "raise max_chain_len or max_chain_bytes",
         "raise strict_tls_max_chain_len or strict_tls_max_chain_bytes",
         "raise StrictTLSMaxChainLen or StrictTLSMaxChainBytes"},
        {STLS_ROLE_SERVER, "give its CRL in crl_file, or set revocation soft (preset private)",
         "give its CRL in strict_tls_crl_file, or set strict_tls_revocation soft "
         "(strict_tls_preset private)",
         "give its CRL in StrictTLSCRLFile, or set StrictTLSRevocation soft (StrictTLSPreset "
         "private)"},
        {STLS_ROLE_CLIENT, "set x509_strict off.", "set strict_tls_client_x509_strict off.",
         "set StrictTLSClientX509Strict off."},
        /* words of the language */
        {STLS_ROLE_SERVER, "connect by a name, make its revocation source answer, for this purpose",
         "connect by a name, make its revocation source answer, for this purpose",
         "connect by a name, make its revocation source answer, for this purpose"},
        /* what others chose */
        {STLS_ROLE_SERVER, "published at http://crl_file/fetch_deny?crl_file=max_fetches",
         "published at http://crl_file/fetch_deny?crl_file=max_fetches",
         "published at http://crl_file/fetch_deny?crl_file=max_fetches"},
        {STLS_ROLE_SERVER, "append it to /etc/crl_file/my_crl_file and my-crl_file",
         "append it to /etc/crl_file/my_crl_file and my-crl_file",
         "append it to /etc/crl_file/my_crl_file and my-crl_file"},
        {STLS_ROLE_SERVER, "", "", ""},
    };
    char buf[STLS_REMEDY_LEN];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_remedy_text(STLS_DIRECTIVES_NGINX, rows[i].role, rows[i].remedy, buf, sizeof(buf));
        assert_string_equal(buf, rows[i].nginx);
        stls_remedy_text(STLS_DIRECTIVES_HTTPD, rows[i].role, rows[i].remedy, buf, sizeof(buf));
        assert_string_equal(buf, rows[i].httpd);
        stls_remedy_text(STLS_DIRECTIVES_KEYS, rows[i].role, rows[i].remedy, buf, sizeof(buf));
        assert_string_equal(buf, rows[i].remedy);
    }
    stls_remedy_text(STLS_DIRECTIVES_HTTPD, STLS_ROLE_SERVER, "raise max_chain_len", buf, 10);
    assert_string_equal(buf, "raise Str");
}

/* No key is left in a remedy of the catalogue. */
static void catalogue(void **state)
{
    size_t num, found = 0;
    const stls_reason_info *reasons = stls_reasons(&num);
    char buf[STLS_REMEDY_LEN];
    (void)state;
    for (size_t i = 0; i < num; i++) {
        stls_remedy_text(STLS_DIRECTIVES_HTTPD, STLS_ROLE_SERVER, reasons[i].remedy, buf,
                         sizeof(buf));
        assert_null(strchr(buf, '_'));
        assert_null(strstr(buf, "set revocation"));
        assert_null(strstr(buf, "(preset"));
        found += strstr(buf, "StrictTLS") != NULL;
    }
    assert_true(found > 5);
}

/* Two policies that differ in how keys are written demand the same. */
static void id_stays(void **state)
{
    stls_policy *keys = stls_policy_new(NULL), *httpd = stls_policy_new(NULL);
    (void)state;
    assert_int_equal(stls_policy_set_directives(httpd, STLS_DIRECTIVES_HTTPD), STLS_OK);
    assert_int_equal(stls_policy_freeze(keys, NULL), STLS_OK);
    assert_int_equal(stls_policy_freeze(httpd, NULL), STLS_OK);
    assert_memory_equal(stls_policy_get0_id(keys), stls_policy_get0_id(httpd), STLS_ID_LEN);
    assert_int_equal(stls_policy_set_directives(httpd, STLS_DIRECTIVES_NGINX), STLS_ERR_STATE);
    stls_policy_free(keys);
    stls_policy_free(httpd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),     cmocka_unit_test(names_fit), cmocka_unit_test(remedies),
        cmocka_unit_test(catalogue), cmocka_unit_test(id_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
