/* Corners that were gone round wrongly once. */
#include "support.h"

static stls_result *judged(const char *policy, STACK_OF(X509) *certs, stls_anchors *anchors)
{
    aid_case c = {.policy = policy, .certs = certs, .anchors = anchors};
    return aid_judge(&c);
}

static aid_cert inter_spec(void)
{
    aid_cert spec = {.subject = "CN=Another,O=Lab", .key = 6, .is_ca = 1};
    spec.issuer = aid_usual_pki()->root;
    return spec;
}

static STACK_OF(X509) *with_policies(const char *leaf_policies, const char *inter_policies,
                                     const char *inter_constraints)
{
    aid_cert inter = inter_spec(), leaf = aid_leaf_spec();
    inter.policies = inter_policies;
    inter.policy_constraints = inter_constraints;
    leaf.issuer = aid_make_cert(&inter);
    leaf.issuer_key = inter.key;
    leaf.policies = leaf_policies;
    return aid_stack(aid_make_cert(&leaf), leaf.issuer, NULL);
}

/* [leaf, inter from an untrusted root, inter from the trusted root] */
static void two_paths_second_trusted(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = {.subject = "CN=Intermediate,O=Lab", .key = 1, .is_ca = 1};
    spec.issuer = pki->other_root;
    spec.issuer_key = 4;
    (void)state;
    assert_result(judged("revocation=off",
                         aid_stack(pki->leaf, aid_make_cert(&spec), pki->inter, NULL), NULL),
                  STLS_ACCEPT, STLS_REASON_NONE);
}

static void explicit_policy_with_any_accepted(void **state)
{
    (void)state;
    assert_result(judged("revocation=off require_explicit_policy=on",
                         with_policies("1.2.3.4", "1.2.3.4", NULL), NULL),
                  STLS_ACCEPT, STLS_REASON_NONE);
}

static void chain_demands_explicit_policy_and_has_one(void **state)
{
    (void)state;
    assert_result(judged("revocation=off",
                         with_policies("1.2.3.4", "1.2.3.4", "critical,requireExplicitPolicy:0"),
                         NULL),
                  STLS_ACCEPT, STLS_REASON_NONE);
}

static void version_1_root_is_an_anchor(void **state)
{
    aid_cert spec = {.subject = "CN=Old Root,O=Lab", .key = 5, .is_ca = 1, .version = 1};
    (void)state;
    X509 *root = aid_make_cert(&spec);
    aid_cert inter = inter_spec();
    inter.issuer = root;
    inter.issuer_key = 5;
    inter.key_id = "DER:3006800401020304";
    aid_cert leaf = aid_leaf_spec();
    leaf.issuer = aid_make_cert(&inter);
    leaf.issuer_key = 6;
    assert_result(judged("revocation=off", aid_stack(aid_make_cert(&leaf), leaf.issuer, NULL),
                         aid_anchors(root, NULL)),
                  STLS_ACCEPT, STLS_REASON_NONE);
}

static void no_ca_is_told_as_constraint(void **state)
{
    (void)state;
    aid_cert inter = inter_spec(), leaf = aid_leaf_spec();
    inter.basic_constraints = "critical,CA:FALSE";
    leaf.issuer = aid_make_cert(&inter);
    leaf.issuer_key = 6;
    assert_result(
        judged("revocation=off", aid_stack(aid_make_cert(&leaf), leaf.issuer, NULL), NULL),
        STLS_REJECT, STLS_REASON_CHAIN_CONSTRAINT);
}

static void cert_policies_blank_is_no_dot(void **state)
{
    stls_policy *policy = stls_policy_new(NULL);
    (void)state;
    stls_status got = stls_policy_set(policy, "cert_policies", "1.2.3 1.2.4", NULL);
    stls_policy_free(policy);
    assert_int_equal(got, STLS_ERR_ARGUMENT);
}

static void undecodable_extension_is_told_as_malformed(void **state)
{
    aid_cert leaf = aid_leaf_spec(), inter = inter_spec();
    (void)state;
    leaf.san = "DER:0500";
    assert_result(judged("revocation=off",
                         aid_stack(aid_make_cert(&leaf), aid_usual_pki()->inter, NULL), NULL),
                  STLS_REJECT, STLS_REASON_CHAIN_MALFORMED);
    leaf = aid_leaf_spec();
    inter.name_constraints = "critical,DER:0500";
    leaf.issuer = aid_make_cert(&inter);
    leaf.issuer_key = 6;
    assert_result(
        judged("revocation=off", aid_stack(aid_make_cert(&leaf), leaf.issuer, NULL), NULL),
        STLS_REJECT, STLS_REASON_CHAIN_MALFORMED);
}

static void two_trailing_dots_are_no_name(void **state)
{
    aid_case c = {.policy = "revocation=off", .name = "api.example.com.."};
    (void)state;
    assert_result(aid_judge(&c), STLS_REJECT, STLS_REASON_NAME_MALFORMED);
}

/* A host that hands out CACHED where only a fresh answer will do must not loop for ever. */
static void refused_cache_is_bounded(void **state)
{
    aid_case c = {.policy = "revocation_scope=leaf"};
    stls_check *check = aid_new_check(&c, NULL);
    stls_fetch fetch;
    stls_reply cached = {STLS_FETCH_CACHED, (const unsigned char *)"junk", 4, NULL};
    int num = 0;
    (void)state;
    stls_check_start(check, NOW_S);
    while (num < 1000 && stls_check_next_fetch(check, &fetch)) {
        stls_check_feed(check, fetch.id, &cached, NOW_S);
        num++;
    }
    stls_check_free(check);
    assert_true(num <= 16 + 1); /* max_fetches, and the first refusal */
}

/* A CRL fetch answered with no bytes at all: malformed, not out of memory, nothing read. */
static void empty_crl_reply(void **state)
{
    aid_cert spec = aid_leaf_spec();
    (void)state;
    spec.aia = "";
    spec.crl = "URI:http://crl.example.com/a.crl";
    static const unsigned char none[1];
    const unsigned char *bytes[] = {NULL, none + 1};
    for (size_t i = 0; i < 2; i++) {
        aid_case c = {.policy = "revocation_scope=leaf",
                      .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL)};
        stls_check *check = aid_new_check(&c, NULL);
        stls_fetch fetch;
        stls_reply reply = {STLS_FETCH_OK, bytes[i], 0, NULL};
        stls_check_start(check, NOW_S);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        assert_true(fetch.is_crl);
        assert_int_equal(stls_check_feed(check, fetch.id, &reply, NOW_S), STLS_REJECT);
        stls_result *result = stls_check_get1_result(check);
        assert_int_equal(stls_result_reason(result), STLS_REASON_CRL_MALFORMED);
        stls_result_free(result);
        stls_check_free(check);
    }
}

/* A reason that is not in the table must not crash. */
static void fail_with_unknown_reason(void **state)
{
    static const int reasons[] = {0, 12345};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        aid_case c = {0};
        stls_check *check = aid_new_check(&c, NULL);
        assert_int_equal(stls_check_fail(check, (stls_reason)reasons[i], "x", NOW_S), STLS_REJECT);
        stls_result *result = stls_check_get1_result(check);
        assert_non_null(result);
        assert_int_equal(stls_result_reason(result), STLS_REASON_INTERNAL_ERROR);
        stls_result_free(result);
        stls_check_free(check);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_paths_second_trusted),
        cmocka_unit_test(explicit_policy_with_any_accepted),
        cmocka_unit_test(chain_demands_explicit_policy_and_has_one),
        cmocka_unit_test(version_1_root_is_an_anchor),
        cmocka_unit_test(no_ca_is_told_as_constraint),
        cmocka_unit_test(cert_policies_blank_is_no_dot),
        cmocka_unit_test(undecodable_extension_is_told_as_malformed),
        cmocka_unit_test(two_trailing_dots_are_no_name),
        cmocka_unit_test(refused_cache_is_bounded),
        cmocka_unit_test(empty_crl_reply),
        cmocka_unit_test(fail_with_unknown_reason),
    };
    return cmocka_run_group_tests_name("corners", tests, NULL, aid_end);
}
