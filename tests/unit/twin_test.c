/* Several certificates for one CA's name and key: which path is taken, and what clears whom. */
#include "support_crl.h"

#include <jansson.h>

typedef struct {
    X509 *first, *second; /* for the usual intermediate's name and key */
    X509 *leaf;
} twins;

static twins make_twins(X509 *second_issuer, size_t second_issuer_key)
{
    aid_cert spec = {.subject = "CN=Intermediate,O=Lab", .key = 1, .is_ca = 1};
    twins t;

    spec.issuer = aid_usual_pki()->root;
    spec.aia = "OCSP;URI:" INTER_OCSP_URL;
    t.first = aid_make_cert(&spec);
    spec.issuer = second_issuer;
    spec.issuer_key = second_issuer_key;
    t.second = aid_make_cert(&spec);
    aid_cert leaf = aid_leaf_spec();
    leaf.issuer = t.first;
    t.leaf = aid_make_cert(&leaf);
    return t;
}

static stls_crl_file *file_of(X509 *revoked_by_root, X509 *revoked_by_other)
{
    const aid_pki *pki = aid_usual_pki();
    const aid_crl root = {.issuer = pki->root, .issuer_key = 0, .revoked = {revoked_by_root}};
    const aid_crl other = {
        .issuer = pki->other_root, .issuer_key = 4, .revoked = {revoked_by_other}};
    const aid_crl inter = {.issuer = NULL};
    const aid_bytes parts[] = {aid_crl_pem(aid_make_crl(&root)), aid_crl_pem(aid_make_crl(&other)),
                               aid_crl_pem(aid_make_crl(&inter))};
    return aid_crl_file(aid_join(parts, 3), 1 << 20, NULL);
}

static stls_reason judge(const char *policy, STACK_OF(X509) *certs, stls_crl_file *file)
{
    const aid_case c = {
        .policy = policy,
        .certs = certs,
        .anchors = aid_anchors(aid_usual_pki()->root, aid_usual_pki()->other_root, NULL)};
    stls_check *check = aid_new_check(&c, NULL);
    stls_check_set_crl_file(check, file);
    stls_check_start(check, NOW_S);
    assert_int_not_equal(stls_check_verdict(check), STLS_PENDING);
    return aid_conclude(check);
}

#define ANY "crl_file=given revocation_sources=file chain_order=any"
#define STRICT "crl_file=given revocation_sources=file"
#define LEAF_ONLY STRICT " revocation_scope=leaf"

/* The other certificate clears the revoked one of nothing, in whatever order they come. */
static void trap_46_a_revoked_twin(void **state)
{
    static const char *const policies[] = {ANY, STRICT};
    const aid_pki *pki = aid_usual_pki();
    (void)state;
    for (int cross = 0; cross < 2; cross++) {
        twins t = make_twins(cross ? pki->other_root : pki->root, cross ? 4 : 0);
        for (size_t i = 0; i < 2; i++) {
            STACK_OF(X509) *orders[] = {aid_stack(t.leaf, t.first, t.second, NULL),
                                        aid_stack(t.leaf, t.second, t.first, NULL)};
            for (size_t k = 0; k < 2; k++) {
                assert_int_equal(judge(policies[i], orders[k], file_of(NULL, NULL)),
                                 STLS_REASON_NONE);
                assert_int_equal(judge(policies[i], orders[k], file_of(t.first, NULL)),
                                 STLS_REASON_CRL_REVOKED);
                assert_int_equal(judge(policies[i], orders[k],
                                       cross ? file_of(NULL, t.second) : file_of(t.second, NULL)),
                                 STLS_REASON_CRL_REVOKED);
            }
        }
        /* Without the revoked one there is nothing to clear. */
        assert_int_equal(judge(STRICT, aid_stack(t.leaf, t.second, NULL), file_of(t.first, NULL)),
                         STLS_REASON_NONE);
        assert_int_equal(
            judge(LEAF_ONLY, aid_stack(t.leaf, t.second, t.first, NULL), file_of(t.first, NULL)),
            STLS_REASON_NONE);
    }
}

/* Another CA's certificate that is revoked, and one by another key, are nobody's twins. */
static void a_revoked_stranger(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    twins t = make_twins(pki->root, 0);
    aid_cert spec = {.subject = "CN=Stranger,O=Lab", .key = 6, .is_ca = 1, .issuer = pki->root};
    X509 *stranger = aid_make_cert(&spec);
    spec.subject = "CN=Intermediate,O=Lab";
    X509 *other_key = aid_make_cert(&spec);
    (void)state;
    assert_int_equal(
        judge(STRICT, aid_stack(t.leaf, t.first, stranger, NULL), file_of(stranger, NULL)),
        STLS_REASON_NONE);
    assert_int_equal(
        judge(STRICT, aid_stack(t.leaf, t.first, other_key, NULL), file_of(other_key, NULL)),
        STLS_REASON_NONE);
}

/* The presented index of the only superfluous certificate. */
static int extra_of(const stls_result *result)
{
    size_t len, i;
    int index = -1;
    json_t *finding, *report;
    const char *text = stls_result_get0_report(result, &len);
    AID_NEED(report = json_loadb(text, len, 0, NULL));
    json_array_foreach (json_object_get(report, "findings"), i, finding) {
        if (strcmp(json_string_value(json_object_get(finding, "reason")), "chain.extra") == 0) {
            assert_int_equal(index, -1);
            index = (int)json_integer_value(json_object_get(finding, "cert"));
        }
    }
    json_decref(report);
    return index;
}

/* Under chain_order any the order does not choose the path: the longer life does. */
static void trap_46_the_order_chooses_no_path(void **state)
{
    aid_cert spec = {.subject = "CN=Intermediate,O=Lab", .key = 1, .is_ca = 1};
    (void)state;
    spec.issuer = aid_usual_pki()->root;
    spec.not_after_s = NOW_S + 100 * DAY_S;
    X509 *longer = aid_make_cert(&spec);
    spec.not_after_s = NOW_S + 50 * DAY_S;
    X509 *shorter = aid_make_cert(&spec);
    aid_cert leaf = aid_leaf_spec();
    leaf.issuer = longer;
    X509 *made = aid_make_cert(&leaf);
    STACK_OF(X509) *orders[] = {aid_stack(made, shorter, longer, NULL),
                                aid_stack(made, longer, shorter, NULL)};
    for (int i = 0; i < 2; i++) {
        aid_case c = {.policy = "revocation=off chain_order=any", .certs = orders[i]};
        assert_int_equal(extra_of(aid_judge(&c)), 1 + i);
        c.policy = "revocation=off"; /* there the order of presentation chooses */
        assert_int_equal(extra_of(aid_judge(&c)), 2);
    }
}

/* A CRL issuer's own path goes round a root that nobody trusts and what is past its date. */
static void trap_46_a_crl_issuer_behind_dead_ends(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert ca = {.subject = "CN=CA of a CRL issuer,O=Lab", .key = 8, .is_ca = 1};
    (void)state;
    X509 *untrusted = aid_make_cert(&ca); /* self-signed, by the same key */
    ca.issuer = pki->root;
    X509 *good = aid_make_cert(&ca);
    ca.not_before_s = NOW_S - 20 * DAY_S;
    ca.not_after_s = NOW_S - DAY_S;
    X509 *expired = aid_make_cert(&ca);
    aid_cert own = {.subject = "CN=Intermediate,O=Lab",
                    .key = 7,
                    .issuer = good,
                    .issuer_key = 8,
                    .key_usage = "critical,cRLSign",
                    .eku = ""};
    X509 *signer = aid_make_cert(&own);
    const aid_crl about_leaf = {.issuer = signer, .issuer_key = 7};
    const aid_crl about_signer = {.issuer = good, .issuer_key = 8};
    const aid_crl about_cas = {.issuer = pki->root, .issuer_key = 0};
    const aid_bytes parts[] = {aid_crl_pem(aid_make_crl(&about_leaf)),
                               aid_crl_pem(aid_make_crl(&about_signer)),
                               aid_crl_pem(aid_make_crl(&about_cas))};
    stls_crl_file *file = aid_crl_file(aid_join(parts, 3), 1 << 20, NULL);
    X509 *aside[] = {untrusted, expired};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(
            judge(ANY, aid_stack(pki->leaf, pki->inter, signer, aside[i], good, NULL), file),
            STLS_REASON_NONE);
        assert_int_equal(
            judge(ANY, aid_stack(pki->leaf, pki->inter, signer, good, aside[i], NULL), file),
            STLS_REASON_NONE);
        assert_int_equal(judge(ANY, aid_stack(pki->leaf, pki->inter, signer, aside[i], NULL), file),
                         STLS_REASON_CRL_BAD_SIGNATURE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_46_a_revoked_twin),
        cmocka_unit_test(a_revoked_stranger),
        cmocka_unit_test(trap_46_the_order_chooses_no_path),
        cmocka_unit_test(trap_46_a_crl_issuer_behind_dead_ends),
    };
    return cmocka_run_group_tests(tests, NULL, aid_end);
}
