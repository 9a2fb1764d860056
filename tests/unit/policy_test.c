#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/x509v3.h>

static void defaults_are_those_of_the_table(void **state)
{
    const stls_key_info *keys = stls_policy_keys();
    stls_policy *policy = aid_policy("", NULL);

    (void)state;
    for (size_t i = 0; i < STLS_NUM_KEYS; i++) {
        assert_int_equal(keys[i].key, i);
        assert_string_equal(stls_policy_get0_text(policy, (stls_key)i), keys[i].def);
        if (keys[i].type == STLS_TYPE_ENUM) {
            assert_int_equal(stls_policy_get_int(policy, (stls_key)i), 0);
        }
        if (keys[i].type == STLS_TYPE_INT) {
            assert_int_equal(stls_policy_get_int(policy, (stls_key)i), atoll(keys[i].def));
        }
    }
}

/* Every default and every word of the table can be set. */
static void every_documented_value_is_taken(void **state)
{
    const stls_key_info *keys = stls_policy_keys();

    (void)state;
    for (size_t i = 0; i < STLS_NUM_KEYS; i++) {
        stls_policy *policy = stls_policy_new(NULL);
        char values[256], *rest = values, *word;
        assert_int_equal(stls_policy_set(policy, keys[i].name, keys[i].def, NULL), STLS_OK);
        snprintf(values, sizeof(values), "%s", keys[i].values);
        int64_t index = 0;
        while (keys[i].type != STLS_TYPE_INT && keys[i].type != STLS_TYPE_STR
               && (word = strtok_r(rest, ",", &rest)) != NULL) {
            assert_int_equal(stls_policy_set(policy, keys[i].name, word, NULL), STLS_OK);
            assert_string_equal(stls_policy_get0_text(policy, (stls_key)i), word);
            if (keys[i].type == STLS_TYPE_ENUM) {
                assert_int_equal(stls_policy_get_int(policy, (stls_key)i), index++);
            }
        }
        stls_policy_free(policy);
    }
}

static void values(void **state)
{
    static const struct {
        const char *key, *value;
        int is_taken;
    } rows[] = {
        {"mode", "enforce", 1},
        {"mode", "Enforce", 0},
        {"mode", "enforce ", 0},
        {"mode", "", 0},
        {"mode", "enforce,report", 0},
        {"mode", "enf", 0},
        {"max_chain_len", "1", 1},
        {"max_chain_len", "100", 1},
        {"max_chain_len", "0", 0},
        {"max_chain_len", "101", 0},
        {"max_chain_len", "-1", 0},
        {"max_chain_len", "+5", 0},
        {"max_chain_len", " 5", 0},
        {"max_chain_len", "5 ", 0},
        {"max_chain_len", "5x", 0},
        {"max_chain_len", "0x5", 0},
        {"max_chain_len", "5.0", 0},
        {"max_chain_len", "", 0},
        {"max_chain_len", "99999999999999999999999999", 0},
        {"max_chain_len", "18446744073709551617", 0},
        {"max_chain_len", "010", 1},
        {"security_level", "0", 1},
        {"security_level", "5", 1},
        {"security_level", "6", 0},
        {"revocation_sources", "ocsp", 1},
        {"revocation_sources", "ocsp,staple", 1},
        {"revocation_sources", "", 0},
        {"revocation_sources", "ocsp,", 0},
        {"revocation_sources", ",ocsp", 0},
        {"revocation_sources", "ocsp,,staple", 0},
        {"revocation_sources", "ocsp,ocsp", 0},
        {"revocation_sources", "ocsp, staple", 0},
        {"revocation_sources", "ldap", 0},
        {"fetch_deny", "none", 1},
        {"fetch_deny", "loopback,link-local,private", 1},
        {"ocsp_responder", "", 1},
        {"ocsp_responder", "http://a.example/x", 1},
        {"ocsp_responder", "https://a.example/x", 0},
        {"ocsp_responder", "file:///etc/passwd", 0},
        {"ocsp_responder", "a.example", 0},
        {"ocsp_responder", "http://u:p@a.example/", 0},
        {"cert_policies", "", 1},
        {"cert_policies", "2.23.140.1.2.1", 1},
        {"cert_policies", "2.23.140.1.2.1,1.2.3", 1},
        {"cert_policies", "serverAuth", 0},
        {"cert_policies", "1.2.3,", 0},
        {"cert_policies", "9.9.9", 0},
        {"expiry_warn_s", "", 1},
        {"expiry_warn_s", "86400", 1},
        {"expiry_warn_s", "8,7,6,5,4,3,2,1", 1},
        {"expiry_warn_s", "9,8,7,6,5,4,3,2,1", 0},
        {"expiry_warn_s", "86400,", 0},
        {"expiry_warn_s", "1d", 0},
        {"expiry_warn_s", "-1", 0},
        {"expiry_warn_s", "1234567890", 0},
        {"preset", "private", 1},
        {"preset", "lax", 0},
        {"no_such_key", "on", 0},
        {"", "on", 0},
        {"MODE", "off", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_policy *policy = stls_policy_new(NULL);
        stls_error err = {""};
        stls_status got = stls_policy_set(policy, rows[i].key, rows[i].value, &err);
        if (got != (rows[i].is_taken ? STLS_OK : STLS_ERR_ARGUMENT)) {
            fail_msg("%s=%s: %d %s", rows[i].key, rows[i].value, got, err.text);
        }
        assert_true((err.text[0] == '\0') == rows[i].is_taken);
        stls_policy_free(policy);
    }
}

static void refused_value_leaves_the_old_one(void **state)
{
    stls_policy *policy = stls_policy_new(NULL);
    (void)state;
    assert_int_equal(stls_policy_set(policy, "max_chain_len", "7", NULL), STLS_OK);
    assert_int_equal(stls_policy_set(policy, "max_chain_len", "700", NULL), STLS_ERR_ARGUMENT);
    assert_int_equal(stls_policy_get_int(policy, STLS_KEY_MAX_CHAIN_LEN), 7);
    assert_string_equal(stls_policy_get0_text(policy, STLS_KEY_MAX_CHAIN_LEN), "7");
    stls_policy_free(policy);
}

static void errors_name_the_alternatives(void **state)
{
    stls_policy *policy = stls_policy_new(NULL);
    stls_error err;

    (void)state;
    assert_int_equal(stls_policy_set(policy, "revocation", "firm", &err), STLS_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "firm"));
    assert_non_null(strstr(err.text, "hard"));
    assert_non_null(strstr(err.text, "soft"));
    assert_int_equal(stls_policy_set(policy, "max_chain_len", "0", &err), STLS_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "100"));
    assert_int_equal(stls_policy_set(policy, "revokation", "hard", &err), STLS_ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "revocation"));
    stls_policy_free(policy);
}

static void text_of_many_words(void **state)
{
    static const struct {
        const char *text;
        stls_status status;
    } rows[] = {
        {"", STLS_OK},
        {"  \t\n;; ", STLS_OK},
        {"mode=report", STLS_OK},
        {" mode=report;chain_root=require\tmax_chain_len=4\n", STLS_OK},
        {"ocsp_responder=", STLS_OK},
        {"ocsp_responder=http://a.example/?x=y", STLS_OK},
        {"mode", STLS_ERR_ARGUMENT},
        {"mode report", STLS_ERR_ARGUMENT},
        {"mode = report", STLS_ERR_ARGUMENT},
        {"=report", STLS_ERR_ARGUMENT},
        {"chain_root=require,mode=report", STLS_ERR_ARGUMENT},
    };
    char long_word[2000];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_policy *policy = stls_policy_new(NULL);
        stls_error err = {""};
        if (stls_policy_set_text(policy, rows[i].text, &err) != rows[i].status) {
            fail_msg("%s: %s", rows[i].text, err.text);
        }
        stls_policy_free(policy);
    }
    memset(long_word, 'a', sizeof(long_word) - 1);
    long_word[sizeof(long_word) - 1] = '\0';
    long_word[4] = '=';
    stls_policy *policy = stls_policy_new(NULL);
    assert_int_equal(stls_policy_set_text(policy, long_word, NULL), STLS_ERR_ARGUMENT);
    stls_policy_free(policy);
}

static void preset_resets_and_is_overridden(void **state)
{
    stls_policy *policy = aid_policy("mode=report max_chain_len=3 preset=private", NULL);

    (void)state;
    assert_string_equal(stls_policy_get0_text(policy, STLS_KEY_X509_STRICT), "off");
    assert_string_equal(stls_policy_get0_text(policy, STLS_KEY_NO_REVOCATION_SOURCE), "allow");
    assert_string_equal(stls_policy_get0_text(policy, STLS_KEY_REVOCATION), "hard");
    assert_string_equal(stls_policy_get0_text(policy, STLS_KEY_MAX_CHAIN_LEN), "10");
    /* A preset says what is demanded, not whether demands are enforced. */
    assert_string_equal(stls_policy_get0_text(policy, STLS_KEY_MODE), "report");

    policy = aid_policy("preset=private x509_strict=on", NULL);
    assert_string_equal(stls_policy_get0_text(policy, STLS_KEY_X509_STRICT), "on");
    policy = aid_policy("preset=private preset=strict", NULL);
    assert_string_equal(stls_policy_get0_text(policy, STLS_KEY_X509_STRICT), "on");
}

static void freeze_checks_keys_against_each_other(void **state)
{
    static const struct {
        const char *text;
        stls_status status;
    } rows[] = {
        {"ocsp_nonce=on", STLS_OK},
        {"ocsp_nonce=on revocation_sources=staple", STLS_ERR_ARGUMENT},
        {"crl_file=/etc/crls.pem", STLS_OK},
        {"crl_file=/etc/crls.pem revocation_sources=ocsp,file", STLS_OK},
        {"crl_file=/etc/crls.pem revocation_sources=ocsp", STLS_ERR_ARGUMENT},
        {"fetch_deny=none", STLS_OK},
        {"fetch_deny=none,loopback", STLS_ERR_ARGUMENT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_policy *policy = stls_policy_new(NULL);
        stls_error err = {""};
        assert_int_equal(stls_policy_set_text(policy, rows[i].text, &err), STLS_OK);
        assert_int_equal(stls_policy_freeze(policy, &err), rows[i].status);
        assert_true((stls_policy_get0_id(policy) != NULL) == (rows[i].status == STLS_OK));
        stls_policy_free(policy);
    }
}

static void frozen_is_immutable(void **state)
{
    stls_policy *policy = stls_policy_new(NULL);
    stls_error err = {""};

    (void)state;
    assert_null(stls_policy_get0_id(policy));
    assert_int_equal(stls_policy_freeze(policy, NULL), STLS_OK);
    assert_int_equal(stls_policy_freeze(policy, NULL), STLS_OK);
    assert_int_equal(stls_policy_set(policy, "mode", "off", &err), STLS_ERR_STATE);
    assert_int_equal(stls_policy_set_text(policy, "mode=off", &err), STLS_ERR_STATE);
    assert_string_equal(stls_policy_get0_text(policy, STLS_KEY_MODE), "enforce");
    stls_policy_free(policy);
    stls_policy_free(NULL);
}

static void equal_values_mean_equal_ids(void **state)
{
    static const struct {
        const char *a, *b;
        int is_equal;
    } rows[] = {
        {"", "", 1},
        {"", "mode=enforce max_chain_len=10", 1},
        {"", "max_chain_len=010", 1},
        {"preset=private", "x509_strict=off no_revocation_source=allow", 1},
        {"chain_root=require mode=report", "mode=report chain_root=require", 1},
        {"", "mode=report", 0},
        {"", "max_chain_len=11", 0},
        {"", "cert_policies=1.2.3", 0},
        {"revocation_sources=ocsp,staple", "revocation_sources=staple,ocsp", 0},
    };
    const stls_key_info *keys = stls_policy_keys();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const unsigned char *a = stls_policy_get0_id(aid_policy(rows[i].a, NULL));
        const unsigned char *b = stls_policy_get0_id(aid_policy(rows[i].b, NULL));
        if ((memcmp(a, b, STLS_ID_LEN) == 0) != rows[i].is_equal) {
            fail_msg("'%s' and '%s'", rows[i].a, rows[i].b);
        }
    }
    /* No key is left out of the id. */
    for (size_t i = 0; i < STLS_NUM_KEYS; i++) {
        char text[200];
        const char *last = strrchr(keys[i].values, ',');
        const char *other = last != NULL ? last + 1 : "";
        if (keys[i].type == STLS_TYPE_INT) {
            other = strstr(keys[i].values, "..") + 2;
        } else if (i == STLS_KEY_CERT_POLICIES) {
            other = "1.2.3";
        } else if (i == STLS_KEY_OCSP_RESPONDER) {
            other = "http://a.example/";
        } else if (i == STLS_KEY_EXPIRY_WARN_S) {
            other = "60";
        } else if (i == STLS_KEY_CRL_FILE) {
            other = "/etc/crls.pem";
        }
        snprintf(text, sizeof(text), "%s=%s", keys[i].name, other);
        if (i != STLS_KEY_PRESET
            && memcmp(stls_policy_get0_id(aid_policy("", NULL)),
                      stls_policy_get0_id(aid_policy(text, NULL)), STLS_ID_LEN)
                   == 0) {
            fail_msg("%s does not change the id", text);
        }
    }
}

static void lives_as_long_as_somebody_holds_it(void **state)
{
    aid_heap heap = {0};
    stls_allocator allocator = aid_allocator(&heap);
    stls_policy *policy = stls_policy_new(&allocator);

    (void)state;
    stls_policy_up_ref(policy);
    stls_policy_free(policy);
    assert_int_equal(stls_policy_set(policy, "mode", "report", NULL), STLS_OK);
    stls_policy_free(policy);
    assert_int_equal(heap.num_live, 0);
    assert_null(stls_policy_up_ref(NULL));
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t fail_at = 1, done = 0; !done; fail_at++) {
        aid_heap heap = {.fail_at = fail_at};
        stls_allocator allocator = aid_allocator(&heap);
        stls_policy *policy = stls_policy_new(&allocator);
        if (policy != NULL) {
            stls_error err;
            stls_status set = stls_policy_set_text(
                policy, "preset=private cert_policies=1.2.3 max_chain_len=4", &err);
            assert_true(set == STLS_OK || set == STLS_ERR_MEMORY);
            assert_int_not_equal(stls_policy_freeze(policy, &err), 0);
            done = heap.num_allocs < fail_at;
            assert_true(!done || set == STLS_OK);
        }
        stls_policy_free(policy);
        assert_int_equal(heap.num_live, 0);
    }
}

/* ---- fetch_deny: trap 12 ----------------------------------------------------- */

static void trap_12_responder_addresses(void **state)
{
    static const struct {
        const char *addr;
        const char *class; /* NULL: always allowed */
    } rows[] = {
        {"127.0.0.1", "loopback"},
        {"127.255.255.254", "loopback"},
        {"126.255.255.255", NULL},
        {"128.0.0.0", NULL},
        {"169.254.169.254", "link-local"},
        {"169.253.255.255", NULL},
        {"0.0.0.0", "unspecified"},
        {"0.1.2.3", "unspecified"},
        {"224.0.0.1", "multicast"},
        {"239.255.255.255", "multicast"},
        {"255.255.255.255", "multicast"},
        {"223.255.255.255", NULL},
        {"10.0.0.1", "private"},
        {"172.16.0.1", "private"},
        {"172.31.255.255", "private"},
        {"172.32.0.1", NULL},
        {"172.15.255.255", NULL},
        {"192.168.0.1", "private"},
        {"100.64.0.1", "private"},
        {"100.128.0.1", NULL},
        {"203.0.113.5", NULL},
        {"::1", "loopback"},
        {"::", "unspecified"},
        {"fe80::1", "link-local"},
        {"febf::1", "link-local"},
        {"fec0::1", "private"},
        {"fc00::1", "private"},
        {"fdff::1", "private"},
        {"ff02::1", "multicast"},
        {"2001:db8::1", NULL},
        {"::ffff:127.0.0.1", "loopback"},
        {"::ffff:169.254.169.254", "link-local"},
        {"::ffff:203.0.113.5", NULL},
        {"::ffff:0.0.0.0", "unspecified"},
        {"::127.0.0.1", "loopback"},
        {"64:ff9b::127.0.0.1", "loopback"},
        {"64:ff9b::169.254.169.254", "link-local"},
        {"64:ff9b::10.0.0.1", "private"},
        {"64:ff9b::203.0.113.5", NULL},
        {"64:ff9b:1::127.0.0.1", "loopback"},
        {"2002:7f00:1::", "loopback"},
        {"2002:a9fe:a9fe::1", "link-local"},
        {"2002:cb00:7105::1", NULL},
    };
    static const char *const words[] = {"loopback", "link-local", "private"};
    stls_policy *none = aid_policy("fetch_deny=none", NULL);
    stls_policy *all = aid_policy("fetch_deny=loopback,link-local,private", NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ASN1_OCTET_STRING *addr = a2i_IPADDRESS(rows[i].addr);
        const unsigned char *bytes = ASN1_STRING_get0_data(addr);
        size_t len = (size_t)ASN1_STRING_length(addr);
        const char *class = rows[i].class;
        const char *got = stls_policy_denies_address(all, bytes, len);
        if (class == NULL ? got != NULL : got == NULL || strcmp(got, class) != 0) {
            fail_msg("%s: %s", rows[i].addr, got != NULL ? got : "allowed");
        }
        assert_null(stls_policy_denies_address(none, bytes, len));
        for (size_t w = 0; w < 3; w++) {
            char text[64];
            snprintf(text, sizeof(text), "fetch_deny=%s", words[w]);
            int is_always = class != NULL
                            && (strcmp(class, "unspecified") == 0
                                || strcmp(class, "multicast") == 0);
            int is_denied = class != NULL && (is_always || strcmp(class, words[w]) == 0);
            got = stls_policy_denies_address(aid_policy(text, NULL), bytes, len);
            assert_true((got != NULL) == is_denied);
        }
        ASN1_OCTET_STRING_free(addr);
    }
}

static void address_of_another_family_is_denied(void **state)
{
    unsigned char addr[32] = {203, 0, 113, 5};
    static const size_t lens[] = {0, 3, 5, 15, 17, 32};
    (void)state;
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        assert_non_null(stls_policy_denies_address(aid_policy("", NULL), addr, lens[i]));
        assert_non_null(
            stls_policy_denies_address(aid_policy("fetch_deny=none", NULL), addr, lens[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(every_documented_value_is_taken),
        cmocka_unit_test(values),
        cmocka_unit_test(refused_value_leaves_the_old_one),
        cmocka_unit_test(errors_name_the_alternatives),
        cmocka_unit_test(text_of_many_words),
        cmocka_unit_test(preset_resets_and_is_overridden),
        cmocka_unit_test(freeze_checks_keys_against_each_other),
        cmocka_unit_test(frozen_is_immutable),
        cmocka_unit_test(equal_values_mean_equal_ids),
        cmocka_unit_test(lives_as_long_as_somebody_holds_it),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(trap_12_responder_addresses),
        cmocka_unit_test(address_of_another_family_is_denied),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, aid_end);
}
