#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/ec.h>
#include <openssl/rsa.h>

typedef struct {
    const char *what;
    const char *policy;
    STACK_OF(X509) *certs;
    stls_reason reason; /* NONE: accepted; others may be found beside it */
} row;

static void judge_rows(const row *rows, size_t num, stls_role role)
{
    for (size_t i = 0; i < num; i++) {
        char policy[200];
        snprintf(policy, sizeof(policy), "revocation=off %s", rows[i].policy);
        aid_case c = {.policy = policy, .certs = rows[i].certs, .role = role};
        stls_result *result = aid_judge(&c);
        if (rows[i].reason == STLS_REASON_NONE || stls_result_verdict(result) != STLS_REJECT
            || aid_findings(result, rows[i].reason, "error") == 0) {
            aid_assert_result(result, rows[i].reason ? STLS_REJECT : STLS_ACCEPT, rows[i].reason,
                              rows[i].what, __FILE__, __LINE__);
        }
    }
}

#define JUDGE(rows) judge_rows(rows, sizeof(rows) / sizeof(rows[0]), STLS_ROLE_SERVER)

/* A chain from a leaf spec under the usual intermediate. */
static STACK_OF(X509) *with_leaf(const aid_cert *leaf)
{
    return aid_stack(aid_make_cert(leaf), aid_usual_pki()->inter, NULL);
}

static aid_cert inter_spec(void)
{
    aid_cert spec = {.subject = "CN=Another,O=Lab", .key = 6, .is_ca = 1};
    spec.issuer = aid_usual_pki()->root;
    spec.issuer_key = 0;
    return spec;
}

/* The usual leaf under an intermediate of this spec. */
static STACK_OF(X509) *with_inter(const aid_cert *inter)
{
    aid_cert leaf = aid_leaf_spec();
    leaf.issuer = aid_make_cert(inter);
    leaf.issuer_key = inter->key;
    leaf.key_id = inter->version == 1 ? "" : NULL; /* it has none to refer to */
    return aid_stack(aid_make_cert(&leaf), leaf.issuer, NULL);
}

static STACK_OF(X509) *leaf_of_validity(int64_t from_s, int64_t to_s)
{
    aid_cert spec = aid_leaf_spec();
    spec.not_before_s = from_s;
    spec.not_after_s = to_s;
    return with_leaf(&spec);
}

static STACK_OF(X509) *inter_of_validity(int64_t from_s, int64_t to_s)
{
    aid_cert spec = inter_spec();
    spec.not_before_s = from_s;
    spec.not_after_s = to_s;
    return with_inter(&spec);
}

static void validity(void **state)
{
    int64_t past = NOW_S - 100 * DAY_S, future = NOW_S + 100 * DAY_S;
    const row rows[] = {
        {"leaf ends in a second", "", leaf_of_validity(past, NOW_S + 1), 0},
        {"leaf ended a second ago", "", leaf_of_validity(past, NOW_S - 1),
         STLS_REASON_CHAIN_EXPIRED},
        {"leaf ended years ago", "", leaf_of_validity(past - 9000 * DAY_S, past - 8000 * DAY_S),
         STLS_REASON_CHAIN_EXPIRED},
        {"leaf begins this second", "", leaf_of_validity(NOW_S, future), 0},
        {"leaf begins in a second", "", leaf_of_validity(NOW_S + 1, future),
         STLS_REASON_CHAIN_NOT_YET_VALID},
        {"leaf ends before it begins", "", leaf_of_validity(future, past),
         STLS_REASON_CHAIN_EXPIRED},
        {"leaf without end", "", leaf_of_validity(past, INT64_C(253402300799)), 0},
        {"intermediate ended", "", inter_of_validity(past, NOW_S - 1), STLS_REASON_CHAIN_EXPIRED},
        {"intermediate begins later", "", inter_of_validity(NOW_S + 1, future),
         STLS_REASON_CHAIN_NOT_YET_VALID},
    };
    (void)state;
    JUDGE(rows);
}

static void expired_root_is_no_anchor(void **state)
{
    aid_cert spec = {.subject = "CN=Old Root,O=Lab", .key = 5, .is_ca = 1};
    (void)state;
    spec.not_before_s = NOW_S - 900 * DAY_S;
    spec.not_after_s = NOW_S - 1;
    X509 *root = aid_make_cert(&spec);
    aid_cert inter = inter_spec();
    inter.issuer = root;
    inter.issuer_key = 5;
    aid_case c = {.policy = "revocation=off",
                  .certs = with_inter(&inter),
                  .anchors = aid_anchors(root, NULL)};
    assert_case("expired root", &c, STLS_REJECT, STLS_REASON_CHAIN_EXPIRED);
}

static void signatures(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert wrong_key = aid_leaf_spec();
    wrong_key.issuer_key = 5;

    (void)state;
    const row rows[] = {
        {"leaf's altered", "", aid_stack(aid_spoil_signature(pki->leaf), pki->inter, NULL),
         STLS_REASON_CHAIN_BAD_SIGNATURE},
        {"intermediate's altered", "", aid_stack(pki->leaf, aid_spoil_signature(pki->inter), NULL),
         STLS_REASON_CHAIN_BAD_SIGNATURE},
        {"leaf's by another key", "", with_leaf(&wrong_key), STLS_REASON_CHAIN_BAD_SIGNATURE},
    };
    JUDGE(rows);
}

static void strength(void **state)
{
    EVP_PKEY *weak = EVP_RSA_gen(1024);
    aid_cert key = aid_leaf_spec(), digest = aid_leaf_spec(), inter_digest = inter_spec();
    key.own_key = weak;
    digest.digest = "SHA1";
    inter_digest.digest = "SHA1";

    (void)state;
    assert_non_null(weak);
    const row rows[] = {
        {"RSA 1024", "", with_leaf(&key), STLS_REASON_CHAIN_WEAK},
        {"RSA 1024 at level 1", "security_level=1", with_leaf(&key), 0},
        {"SHA-1", "", with_leaf(&digest), STLS_REASON_CHAIN_WEAK},
        {"SHA-1 at level 1", "security_level=1", with_leaf(&digest), STLS_REASON_CHAIN_WEAK},
        {"SHA-1 at level 0", "security_level=0", with_leaf(&digest), 0},
        {"SHA-1 on the intermediate", "", with_inter(&inter_digest), STLS_REASON_CHAIN_WEAK},
        {"P-256 at level 3", "security_level=3",
         aid_stack(aid_usual_pki()->leaf, aid_usual_pki()->inter, NULL), 0},
        {"P-256 at level 4", "security_level=4",
         aid_stack(aid_usual_pki()->leaf, aid_usual_pki()->inter, NULL), STLS_REASON_CHAIN_WEAK},
    };
    JUDGE(rows);
    EVP_PKEY_free(weak);
}

static STACK_OF(X509) *leaf_of_usage(const char *eku, const char *key_usage)
{
    aid_cert spec = aid_leaf_spec();
    spec.eku = eku;
    spec.key_usage = key_usage;
    return with_leaf(&spec);
}

static void purpose(void **state)
{
    aid_cert inter = inter_spec();
    inter.eku = "clientAuth";
    const row server[] = {
        {"serverAuth", "", leaf_of_usage("serverAuth", NULL), 0},
        {"serverAuth and clientAuth", "", leaf_of_usage("serverAuth,clientAuth", NULL), 0},
        {"no extended key usage", "", leaf_of_usage("", NULL), 0},
        {"clientAuth", "", leaf_of_usage("clientAuth", NULL), STLS_REASON_CHAIN_PURPOSE},
        {"codeSigning", "", leaf_of_usage("codeSigning", NULL), STLS_REASON_CHAIN_PURPOSE},
        {"OCSPSigning", "", leaf_of_usage("OCSPSigning", NULL), STLS_REASON_CHAIN_PURPOSE},
        {"any purpose will do", "purpose=any", leaf_of_usage("clientAuth", NULL), 0},
        {"key may sign certificates only", "", leaf_of_usage(NULL, "critical,keyCertSign"),
         STLS_REASON_CHAIN_PURPOSE},
        {"intermediate for clients only", "", with_inter(&inter), STLS_REASON_CHAIN_PURPOSE},
    };
    const row client[] = {
        {"clientAuth", "", leaf_of_usage("clientAuth", NULL), 0},
        {"serverAuth", "", leaf_of_usage("serverAuth", NULL), STLS_REASON_CHAIN_PURPOSE},
        {"serverAuth, any purpose will do", "purpose=any", leaf_of_usage("serverAuth", NULL), 0},
        {"intermediate for clients only", "", leaf_of_usage("", NULL), 0},
    };
    (void)state;
    JUDGE(server);
    judge_rows(client, sizeof(client) / sizeof(client[0]), STLS_ROLE_CLIENT);
}

static STACK_OF(X509) *constrained(const char *names)
{
    aid_cert spec = inter_spec();
    spec.name_constraints = names;
    return with_inter(&spec);
}

static void constraints(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert no_ca = inter_spec(), no_bc = inter_spec(), no_sign = inter_spec();
    aid_cert critical = aid_leaf_spec(), uncritical = aid_leaf_spec(), by_leaf = aid_leaf_spec();
    aid_cert below = inter_spec();
    no_ca.basic_constraints = "critical,CA:FALSE";
    no_bc.basic_constraints = "";
    no_sign.key_usage = "critical,cRLSign";
    critical.unknown = "critical,DER:0500";
    uncritical.unknown = "DER:0500";
    by_leaf.issuer = pki->leaf; /* a leaf plays the CA */
    by_leaf.issuer_key = 2;
    by_leaf.key = 5;
    below.issuer = pki->inter; /* which has pathlen:0 */
    below.issuer_key = 1;
    STACK_OF(X509) *too_deep = with_inter(&below);
    sk_X509_push(too_deep, pki->inter);

    (void)state;
    const row rows[] = {
        {"issuer is no CA", "", with_inter(&no_ca), STLS_REASON_CHAIN_CONSTRAINT},
        {"issuer has no basic constraints", "x509_strict=off", with_inter(&no_bc),
         STLS_REASON_CHAIN_CONSTRAINT},
        {"issuer may not sign certificates", "", with_inter(&no_sign),
         STLS_REASON_CHAIN_CONSTRAINT},
        {"issued by a leaf", "", aid_stack(aid_make_cert(&by_leaf), pki->leaf, pki->inter, NULL),
         STLS_REASON_CHAIN_CONSTRAINT},
        {"path length", "", too_deep, STLS_REASON_CHAIN_CONSTRAINT},
        {"unknown critical extension", "", with_leaf(&critical), STLS_REASON_CHAIN_CONSTRAINT},
        {"unknown extension", "", with_leaf(&uncritical), 0},
        {"permitted name", "", constrained("critical,permitted;DNS:example.com"), 0},
        {"name not permitted", "", constrained("critical,permitted;DNS:example.org"),
         STLS_REASON_CHAIN_CONSTRAINT},
        {"excluded name", "", constrained("critical,excluded;DNS:api.example.com"),
         STLS_REASON_CHAIN_CONSTRAINT},
        {"another name excluded", "", constrained("critical,excluded;DNS:www.example.com"), 0},
    };
    JUDGE(rows);
}

/* The leaf covers the wanted name; whether its CAs may issue for that very name is another thing. */
static void trap_30_wanted_names_under_constraints(void **state)
{
    static const struct {
        const char *constraints, *san, *subject, *wanted, *policy;
        stls_reason reason;
    } rows[] = {
        {"critical,excluded;DNS:foo.example.com", "DNS:*.example.com", NULL, "foo.example.com", "",
         STLS_REASON_CHAIN_CONSTRAINT},
        {"excluded;DNS:foo.example.com", "DNS:*.example.com", NULL, "foo.example.com", "",
         STLS_REASON_CHAIN_CONSTRAINT},
        {"critical,excluded;DNS:.foo.example.com", "DNS:*.foo.example.com,DNS:b.example.com", NULL,
         "b.example.com", "", STLS_REASON_CHAIN_CONSTRAINT}, /* the other one is OpenSSL's */
        {"critical,excluded;DNS:foo.example.com", "DNS:*.example.com", NULL, "xfoo.example.com", "",
         0},
        {"critical,excluded;DNS:foo.example.com", "DNS:*.example.com", NULL, "bar.example.com", "",
         0},
        {"critical,permitted;DNS:example.com", "DNS:*.example.com", NULL, "foo.example.com", "", 0},
        {"critical,permitted;DNS:example.com,excluded;DNS:foo.example.com", "DNS:*.example.com",
         NULL, "foo.example.com", "", STLS_REASON_CHAIN_CONSTRAINT},
        {"critical,permitted;email:example.com", "DNS:*.example.com", NULL, "foo.example.com", "",
         0},
        {"critical,permitted;IP:192.0.2.0/255.255.255.0", "IP:192.0.2.1", NULL, "192.0.2.1", "", 0},
        {"critical,excluded;IP:192.0.2.0/255.255.255.0", "IP:192.0.2.1", NULL, "192.0.2.1", "",
         STLS_REASON_CHAIN_CONSTRAINT},
        {"critical,excluded;IP:0.0.0.0/0.0.0.0", "DNS:*.example.com", NULL, "foo.example.com", "",
         0},
        {"critical,permitted;DNS:example.org", NULL, "CN=*.example.com", "foo.example.com",
         "name_cn_fallback=on", STLS_REASON_CHAIN_CONSTRAINT},
        {"critical,permitted;DNS:example.com", NULL, "CN=*.example.com", "foo.example.com",
         "name_cn_fallback=on", 0},
        {"critical,permitted;DNS:example.org", NULL, "CN=intranet", "intranet",
         "name_cn_fallback=on", STLS_REASON_CHAIN_CONSTRAINT},
        {"critical,excluded;DNS:intranet", NULL, "CN=intranet", "intranet", "name_cn_fallback=on",
         STLS_REASON_CHAIN_CONSTRAINT},
        {"critical,permitted;DNS:example.org", NULL, "CN=a-.example.com", "a-.example.com",
         "name_cn_fallback=on", STLS_REASON_CHAIN_CONSTRAINT},
        {"critical,permitted;DNS:example.org", NULL, "CN=a_b.example.com", "a_b.example.com",
         "name_cn_fallback=on", STLS_REASON_CHAIN_CONSTRAINT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char policy[100];
        aid_cert inter = inter_spec(), leaf = aid_leaf_spec();
        snprintf(policy, sizeof(policy), "revocation=off %s", rows[i].policy);
        inter.name_constraints = rows[i].constraints;
        leaf.issuer = aid_make_cert(&inter);
        leaf.issuer_key = inter.key;
        leaf.san = rows[i].san;
        leaf.subject = rows[i].subject != NULL ? rows[i].subject : "CN=leaf";
        aid_case c = {.policy = policy,
                      .certs = aid_stack(aid_make_cert(&leaf), leaf.issuer, NULL),
                      .name = rows[i].wanted};
        assert_case(rows[i].wanted, &c, rows[i].reason ? STLS_REJECT : STLS_ACCEPT, rows[i].reason);
    }
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

static void certificate_policies(void **state)
{
    const row rows[] = {
        {"none, none wanted", "", with_policies(NULL, NULL, NULL), 0},
        {"some, none wanted", "", with_policies("1.2.3.4", "1.2.3.4", NULL), 0},
        {"none, explicit wanted", "require_explicit_policy=on", with_policies(NULL, NULL, NULL),
         STLS_REASON_CHAIN_CONSTRAINT},
        {"some, explicit wanted", "require_explicit_policy=on",
         with_policies("1.2.3.4", "1.2.3.4", NULL), 0},
        {"any above, explicit wanted", "require_explicit_policy=on",
         with_policies("1.2.3.4", "anyPolicy", NULL), 0},
        {"the chain demands one and has it", "",
         with_policies("1.2.3.4", "1.2.3.4", "critical,requireExplicitPolicy:0"), 0},
        {"any above, inhibited", "require_explicit_policy=on inhibit_any_policy=on",
         with_policies("1.2.3.4", "anyPolicy", NULL), STLS_REASON_CHAIN_CONSTRAINT},
        {"differing", "require_explicit_policy=on", with_policies("1.2.3.4", "1.2.3.5", NULL),
         STLS_REASON_CHAIN_CONSTRAINT},
        {"the wanted one", "require_explicit_policy=on cert_policies=1.2.3.4",
         with_policies("1.2.3.4", "1.2.3.4", NULL), 0},
        {"one of the wanted", "require_explicit_policy=on cert_policies=1.2.3.9,1.2.3.4",
         with_policies("1.2.3.4", "1.2.3.4", NULL), 0},
        {"not the wanted one", "require_explicit_policy=on cert_policies=1.2.3.5",
         with_policies("1.2.3.4", "1.2.3.4", NULL), STLS_REASON_CHAIN_CONSTRAINT},
        /* OpenSSL leaks the constraints of a CA that has no policies of its own. */
        {"the chain demands one", "",
         with_policies(NULL, "1.2.3.4", "critical,requireExplicitPolicy:0"),
         STLS_REASON_CHAIN_CONSTRAINT},
    };
    (void)state;
    JUDGE(rows);
}

/* A policy with a qualifier of this OID: SEQUENCE { 1.2.3.4, { { OID, "x" } } }. */
static const char *policy_of(int is_critical, const char *oid_der)
{
    static char text[8][120];
    static size_t next;
    char *made = text[next++ % 8];
    size_t len = strlen(oid_der) / 2;
    snprintf(made, sizeof(text[0]), "%sDER:30%02zx30%02zx06032a030430%02zx30%02zx%s160178",
             is_critical ? "critical," : "", len + 14, len + 12, len + 5, len + 3, oid_der);
    return made;
}

#define CPS "06082b06010505070201"
#define UNKNOWN "06032a0309"

static void trap_33_unknown_qualifiers(void **state)
{
    const row rows[] = {
        {"critical and known", "", with_policies(policy_of(1, CPS), NULL, NULL), 0},
        {"critical and unknown", "", with_policies(policy_of(1, UNKNOWN), NULL, NULL),
         STLS_REASON_CHAIN_CONSTRAINT},
        {"unknown, no profile", "x509_strict=off", with_policies(policy_of(1, UNKNOWN), NULL, NULL),
         STLS_REASON_CHAIN_CONSTRAINT},
        {"not critical", "", with_policies(policy_of(0, UNKNOWN), NULL, NULL), 0},
        {"of the intermediate", "", with_policies(NULL, policy_of(1, UNKNOWN), NULL),
         STLS_REASON_CHAIN_CONSTRAINT},
        {"of the intermediate, known", "", with_policies(NULL, policy_of(1, CPS), NULL), 0},
    };
    (void)state;
    JUDGE(rows);
}

/* ---- several paths ---------------------------------------------------------------- */

static aid_cert twin_spec(void)
{
    aid_cert spec = inter_spec();
    spec.subject = "CN=Twin,O=Lab";
    return spec;
}

static X509 *leaf_of_twins(void)
{
    aid_cert spec = twin_spec(), leaf = aid_leaf_spec();
    leaf.issuer = aid_make_cert(&spec);
    leaf.issuer_key = spec.key;
    return aid_make_cert(&leaf);
}

static void trap_31_other_paths(void **state)
{
    aid_cert good = twin_spec(), expired = twin_spec(), clients = twin_spec(), names = twin_spec();
    aid_cert weak = twin_spec(), stranger = twin_spec(), wrong_key = twin_spec();
    expired.not_after_s = NOW_S - 1;
    clients.eku = "clientAuth";
    names.name_constraints = "critical,permitted;DNS:example.org";
    weak.digest = "SHA1";
    stranger.issuer = aid_usual_pki()->other_root;
    stranger.issuer_key = 4;
    wrong_key.issuer_key = 5;
    X509 *leaf = leaf_of_twins(), *right = aid_make_cert(&good);
    const aid_cert *twins[] = {&expired, &clients, &names, &weak, &stranger, &wrong_key};

    (void)state;
    for (size_t i = 0; i < sizeof(twins) / sizeof(twins[0]); i++) {
        X509 *wrong = aid_make_cert(twins[i]);
        aid_case c = {.policy = "revocation=off", .certs = aid_stack(leaf, wrong, right, NULL)};
        assert_case("the wrong one first", &c, STLS_ACCEPT, STLS_REASON_NONE);
        c.certs = aid_stack(leaf, right, wrong, NULL);
        assert_case("the right one first", &c, STLS_ACCEPT, STLS_REASON_NONE);
        c.certs = aid_stack(leaf, wrong, NULL);
        assert_int_equal(stls_result_verdict(aid_judge(&c)), STLS_REJECT);
    }
    /* What is found of the first path is no finding of the one that is taken. */
    aid_case c = {.policy = "revocation=off",
                  .certs = aid_stack(leaf, aid_make_cert(&names), right, NULL)};
    assert_int_equal(aid_findings(aid_judge(&c), STLS_REASON_CHAIN_CONSTRAINT, NULL), 0);
    assert_int_equal(aid_findings(aid_judge(&c), STLS_REASON_CHAIN_EXTRA, "note"), 1);
}

/* Rejected, and within the bounds: that this ends at once is what the test is about. */
static void other_paths_are_bounded(void **state)
{
    STACK_OF(X509) *crowd = aid_stack(leaf_of_twins(), NULL), *ring = aid_stack(NULL);
    aid_cert wrong = twin_spec(), good = twin_spec();
    (void)state;
    wrong.issuer_key = 5;
    for (int i = 0; i < 60; i++) {
        sk_X509_push(crowd, aid_make_cert(&wrong));
    }
    sk_X509_push(crowd, aid_make_cert(&good));
    aid_case c = {.policy = "revocation=off max_chain_len=100", .certs = crowd};
    assert_case("a crowd of twins", &c, STLS_REJECT, STLS_REASON_CHAIN_BAD_SIGNATURE);

    /* Two CAs that have issued one another ten times, in every order that can be thought of. */
    aid_cert one = {.subject = "CN=Ring,O=Lab", .key = 6, .is_ca = 1, .key_id = ""};
    aid_cert other = {.subject = "CN=Other Ring,O=Lab", .key = 7, .is_ca = 1, .key_id = ""};
    X509 *first = aid_make_cert(&one), *second = aid_make_cert(&other);
    aid_cert leaf = aid_leaf_spec();
    leaf.issuer = other.issuer = first;
    leaf.issuer_key = 6;
    other.issuer_key = 6;
    one.issuer = second;
    one.issuer_key = 7;
    sk_X509_push(ring, aid_make_cert(&leaf));
    for (int i = 0; i < 10; i++) {
        sk_X509_push(ring, aid_make_cert(&one));
        sk_X509_push(ring, aid_make_cert(&other));
    }
    c.certs = ring;
    assert_int_equal(stls_result_verdict(aid_judge(&c)), STLS_REJECT);
}

/* Trying another path takes back what was found of the first, and nothing else. */
static void what_was_found_before_stays(void **state)
{
    aid_cert good = twin_spec(), stranger = twin_spec();
    stranger.issuer = aid_usual_pki()->other_root;
    stranger.issuer_key = 4;
    aid_case c = {
        .policy = "revocation=off",
        .certs = aid_stack(leaf_of_twins(), aid_make_cert(&stranger), aid_make_cert(&good), NULL)};
    stls_check *check = aid_new_check(&c, NULL);
    (void)state;
    assert_int_equal(stls_check_add_cert_der(check, (const unsigned char *)"x", 1),
                     STLS_ERR_ARGUMENT);
    assert_int_equal(stls_check_start(check, NOW_S), STLS_REJECT);
    assert_int_equal(aid_reason(check), STLS_REASON_CHAIN_MALFORMED);
    stls_check_free(check);
}

static STACK_OF(X509) *leaf_without_key_ids(void)
{
    aid_cert spec = aid_leaf_spec();
    spec.key_id = "";
    return with_leaf(&spec);
}

static STACK_OF(X509) *inter_of_basics(const char *basic_constraints)
{
    aid_cert spec = inter_spec();
    spec.basic_constraints = basic_constraints;
    return with_inter(&spec);
}

static STACK_OF(X509) *inter_without_own_key_id(void)
{
    aid_cert inter = inter_spec();
    inter.own_key_id = "";
    aid_cert leaf = aid_leaf_spec();
    leaf.issuer = aid_make_cert(&inter);
    leaf.issuer_key = inter.key;
    leaf.key_id = "";
    return aid_stack(aid_make_cert(&leaf), leaf.issuer, NULL);
}

static void profile(void **state)
{
    const row rows[] = {
        {"no authority key id", "", leaf_without_key_ids(), STLS_REASON_CHAIN_PROFILE},
        {"no authority key id, allowed", "x509_strict=off", leaf_without_key_ids(), 0},
        {"no authority key id, private", "preset=private revocation=off", leaf_without_key_ids(),
         0},
        {"basic constraints not critical", "", inter_of_basics("CA:TRUE"),
         STLS_REASON_CHAIN_PROFILE},
        {"basic constraints not critical, allowed", "x509_strict=off", inter_of_basics("CA:TRUE"),
         0},
        {"no subject key id in a CA", "", inter_without_own_key_id(), STLS_REASON_CHAIN_PROFILE},
        {"no subject key id in a CA, allowed", "x509_strict=off", inter_without_own_key_id(), 0},
    };
    (void)state;
    JUDGE(rows);
}

/* Trusted roots of the nineties lack what the profile demands. */
static void anchor_is_not_held_to_the_profile(void **state)
{
    static const struct {
        const char *what;
        int version;
        const char *basic_constraints, *key_usage, *own_key_id;
    } roots[] = {
        {"version 1", 1, "", "", ""},
        {"basic constraints not critical", 3, "CA:TRUE", NULL, NULL},
        {"no key usage", 3, NULL, "", NULL},
        {"no key id", 3, NULL, NULL, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        aid_cert spec = {.subject = "CN=Old Root,O=Lab", .key = 5, .is_ca = 1};
        spec.version = roots[i].version;
        spec.basic_constraints = roots[i].basic_constraints;
        spec.key_usage = roots[i].key_usage;
        spec.own_key_id = roots[i].own_key_id;
        X509 *root = aid_make_cert(&spec);
        aid_cert inter = inter_spec();
        inter.issuer = root;
        inter.issuer_key = 5;
        if (spec.own_key_id != NULL) {
            inter.key_id = "DER:3006800401020304"; /* names a key id that the root has not */
        }
        aid_case c = {.policy = "revocation=off",
                      .certs = with_inter(&inter),
                      .anchors = aid_anchors(root, NULL)};
        assert_case(roots[i].what, &c, STLS_ACCEPT, STLS_REASON_NONE);
    }
}

static aid_case under_root(X509 *root)
{
    aid_cert inter = inter_spec();
    inter.issuer = root;
    inter.issuer_key = 5;
    return (aid_case){.policy = "revocation=off",
                      .certs = with_inter(&inter),
                      .anchors = aid_anchors(root, NULL)};
}

/* What an anchor is not excused from: to be no CA, and a curve of its own making. */
static void anchor_that_is_no_ca(void **state)
{
    aid_cert spec = {.subject = "CN=No CA,O=Lab", .key = 5, .is_ca = 1};
    spec.basic_constraints = "critical,CA:FALSE";
    (void)state;
    aid_case c = under_root(aid_make_cert(&spec));
    assert_case("version 3", &c, STLS_REJECT, STLS_REASON_CHAIN_CONSTRAINT);
    c.policy = "revocation=off x509_strict=off";
    assert_case("without the profile", &c, STLS_REJECT, STLS_REASON_CHAIN_CONSTRAINT);
}

/* CVE-2020-0601: whoever names the curve's parameters chooses the private key. */
static void anchor_with_explicit_curve(void **state)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
    aid_cert spec = {.subject = "CN=Explicit,O=Lab", .key = 5, .is_ca = 1};
    (void)state;
    AID_NEED(ctx && EVP_PKEY_keygen_init(ctx) == 1
             && EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, NID_X9_62_prime256v1) == 1
             && EVP_PKEY_CTX_set_ec_param_enc(ctx, OPENSSL_EC_EXPLICIT_CURVE) == 1
             && EVP_PKEY_keygen(ctx, &key) == 1);
    EVP_PKEY_CTX_free(ctx);
    aid_set_key(5, key);
    aid_case c = under_root(aid_make_cert(&spec));
    assert_case("explicit parameters", &c, STLS_REJECT, STLS_REASON_CHAIN_PROFILE);
}

/* "PREFIX0.example.com,PREFIX1.example.com,..." */
static char *many(const char *first, const char *prefix, int num)
{
    char *text = malloc(strlen(first) + (size_t)num * 40);
    if (text == NULL) {
        abort();
    }
    size_t used = (size_t)sprintf(text, "%s", first);
    for (int i = 0; i < num; i++) {
        used += (size_t)sprintf(text + used, ",%sn%d.example.com", prefix, i);
    }
    aid_keep(free, text);
    return text;
}

/* OpenSSL stops where names times constraints exceed its bound: that must not pass for fine. */
static void too_many_names_and_constraints(void **state)
{
    aid_cert inter = inter_spec(), leaf = aid_leaf_spec();
    inter.name_constraints = many("critical,excluded;DNS:other.example.com", "excluded;DNS:x.",
                                  1100);
    leaf.issuer = aid_make_cert(&inter);
    leaf.issuer_key = inter.key;
    leaf.san = many("DNS:" LEAF_NAME, "DNS:", 1000);
    aid_case c = {.policy = "revocation=off max_chain_bytes=1000000",
                  .certs = aid_stack(aid_make_cert(&leaf), leaf.issuer, NULL)};
    (void)state;
    assert_case("a million comparisons", &c, STLS_REJECT, STLS_REASON_CHAIN_CONSTRAINT);
}

/* Only a certificate that is valid is taken for its own sake. */
static void pinned_is_valid(void **state)
{
    aid_cert spec = aid_leaf_spec();
    spec.issuer = NULL;
    X509 *pinned = aid_make_cert(&spec);
    spec.not_after_s = NOW_S - 1;
    X509 *expired = aid_make_cert(&spec);
    aid_case c = {.certs = aid_stack(pinned, NULL), .anchors = aid_anchors(pinned, NULL)};
    (void)state;
    assert_case("pinned", &c, STLS_ACCEPT, STLS_REASON_NONE);
    assert_int_equal(stls_result_is_pinned(aid_judge(&c)), 1);
    c.anchors = aid_usual_anchors();
    assert_int_equal(stls_result_is_pinned(aid_judge(&c)), 0);
    c = (aid_case){.certs = aid_stack(expired, NULL), .anchors = aid_anchors(expired, NULL)};
    assert_case("expired", &c, STLS_REJECT, STLS_REASON_CHAIN_EXPIRED);
    assert_int_equal(stls_result_is_pinned(aid_judge(&c)), 0);
    c.policy = "mode=report";
    assert_int_equal(stls_result_is_pinned(aid_judge(&c)), 0);
}

static void old_versions_below_the_anchor(void **state)
{
    aid_cert inter = inter_spec();
    inter.version = 1;
    aid_cert leaf = aid_leaf_spec();
    leaf.version = 1;
    const row rows[] = {
        {"intermediate of version 1", "x509_strict=off", with_inter(&inter),
         STLS_REASON_CHAIN_CONSTRAINT},
    };
    (void)state;
    JUDGE(rows);
    aid_case c = {.policy = "revocation=off x509_strict=off", .certs = with_leaf(&leaf)};
    assert_case("leaf of version 1", &c, STLS_REJECT, STLS_REASON_NAME_NO_IDENTITY);
}

/* Of several defects all are found, and the one to repair first is told. */
static void all_defects_are_found(void **state)
{
    aid_cert spec = aid_leaf_spec();
    (void)state;
    spec.not_after_s = NOW_S - DAY_S;
    spec.eku = "clientAuth";
    spec.key_id = "";
    spec.san = "DNS:other.example.com";
    aid_case c = {.policy = "revocation=off", .certs = with_leaf(&spec)};
    stls_result *result = aid_judge(&c);
    assert_result(result, STLS_REJECT, STLS_REASON_CHAIN_EXPIRED);
    assert_int_equal(aid_findings(result, STLS_REASON_CHAIN_EXPIRED, "error"), 1);
    assert_int_equal(aid_findings(result, STLS_REASON_CHAIN_PURPOSE, "error"), 1);
    assert_int_equal(aid_findings(result, STLS_REASON_CHAIN_PROFILE, "error"), 1);
    assert_int_equal(aid_findings(result, STLS_REASON_NAME_MISMATCH, "error"), 1);
}

static void verdict_ends_with_the_first_certificate(void **state)
{
    (void)state;
    aid_case c = {.policy = "revocation=off verdict_max_age_s=86400",
                  .certs = leaf_of_validity(NOW_S - DAY_S, NOW_S + 1000)};
    assert_int_equal(stls_result_valid_until_s(aid_judge(&c)), NOW_S + 1000);
    c.certs = inter_of_validity(NOW_S - DAY_S, NOW_S + 900);
    assert_int_equal(stls_result_valid_until_s(aid_judge(&c)), NOW_S + 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(validity),
        cmocka_unit_test(expired_root_is_no_anchor),
        cmocka_unit_test(signatures),
        cmocka_unit_test(strength),
        cmocka_unit_test(purpose),
        cmocka_unit_test(constraints),
        cmocka_unit_test(trap_30_wanted_names_under_constraints),
        cmocka_unit_test(certificate_policies),
        cmocka_unit_test(trap_33_unknown_qualifiers),
        cmocka_unit_test(trap_31_other_paths),
        cmocka_unit_test(other_paths_are_bounded),
        cmocka_unit_test(what_was_found_before_stays),
        cmocka_unit_test(profile),
        cmocka_unit_test(anchor_is_not_held_to_the_profile),
        cmocka_unit_test(anchor_that_is_no_ca),
        cmocka_unit_test(anchor_with_explicit_curve),
        cmocka_unit_test(too_many_names_and_constraints),
        cmocka_unit_test(pinned_is_valid),
        cmocka_unit_test(old_versions_below_the_anchor),
        cmocka_unit_test(all_defects_are_found),
        cmocka_unit_test(verdict_ends_with_the_first_certificate),
    };
    return cmocka_run_group_tests_name("path", tests, NULL, aid_end);
}
