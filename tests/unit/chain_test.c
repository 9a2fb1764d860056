#include "support.h"

#include <stdio.h>

#include <jansson.h>

/* What is presented, against which anchors. Revocation is not this file's concern. */
typedef struct {
    const char *what;
    const char *policy;
    STACK_OF(X509) *certs;
    stls_anchors *anchors; /* NULL: the usual root */
    stls_reason reason;    /* NONE: accepted */
    stls_reason noted;     /* a finding that does not reject; NONE: no finding at all */
} row;

static void judge_rows(const row *rows, size_t num)
{
    for (size_t i = 0; i < num; i++) {
        char policy[200];
        snprintf(policy, sizeof(policy), "revocation=off %s", rows[i].policy);
        aid_case c = {.policy = policy, .certs = rows[i].certs, .anchors = rows[i].anchors};
        stls_result *result = aid_judge(&c);
        aid_assert_result(result, rows[i].reason ? STLS_REJECT : STLS_ACCEPT, rows[i].reason,
                          rows[i].what, __FILE__, __LINE__);
        if (rows[i].noted != STLS_REASON_NONE && aid_findings(result, rows[i].noted, "note") == 0) {
            fail_msg("%s: no note %s", rows[i].what, stls_reason_id(rows[i].noted));
        }
    }
}

#define JUDGE(rows) judge_rows(rows, sizeof(rows) / sizeof(rows[0]))

/* root -> upper (key 6) -> lower (key 7) -> leaf. */
static void long_chain(X509 **upper, X509 **lower, X509 **leaf)
{
    aid_cert spec = {.subject = "CN=Upper,O=Lab", .key = 6, .is_ca = 1};
    spec.issuer = aid_usual_pki()->root;
    spec.issuer_key = 0;
    *upper = aid_make_cert(&spec);
    spec.subject = "CN=Lower,O=Lab";
    spec.key = 7;
    spec.issuer = *upper;
    spec.issuer_key = 6;
    *lower = aid_make_cert(&spec);
    aid_cert leaf_spec = aid_leaf_spec();
    leaf_spec.issuer = *lower;
    leaf_spec.issuer_key = 7;
    *leaf = aid_make_cert(&leaf_spec);
}

/* The root's name and key, vouched for by the other root. */
static X509 *cross_root(void)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = {.subject = "CN=Root,O=Lab", .key = 0, .is_ca = 1};
    spec.issuer = pki->other_root;
    spec.issuer_key = 4;
    return aid_make_cert(&spec);
}

static X509 *self_signed_leaf(void)
{
    aid_cert spec = aid_leaf_spec();
    spec.issuer = NULL;
    spec.aia = NULL;
    spec.key = 5;
    return aid_make_cert(&spec);
}

static void completeness(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *upper, *lower, *leaf;

    (void)state;
    long_chain(&upper, &lower, &leaf);
    const row rows[] = {
        {"leaf, intermediate", "", aid_stack(pki->leaf, pki->inter, NULL), NULL, 0, 0},
        {"leaf, intermediate, root", "", aid_stack(pki->leaf, pki->inter, pki->root, NULL), NULL, 0,
         0},
        {"leaf, lower, upper", "", aid_stack(leaf, lower, upper, NULL), NULL, 0, 0},
        {"nothing", "", sk_X509_new_null(), NULL, STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"leaf alone", "", aid_stack(pki->leaf, NULL), NULL, STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"leaf, root", "", aid_stack(pki->leaf, pki->root, NULL), NULL,
         STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"leaf, leaf", "", aid_stack(pki->leaf, pki->leaf, NULL), NULL,
         STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"leaf, upper", "", aid_stack(leaf, upper, NULL), NULL, STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"leaf, upper, root", "", aid_stack(leaf, upper, pki->root, NULL), NULL,
         STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"leaf, lower, root", "", aid_stack(leaf, lower, pki->root, NULL), NULL,
         STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"leaf, another's intermediate", "", aid_stack(leaf, pki->inter, NULL), NULL,
         STLS_REASON_CHAIN_INCOMPLETE, 0},
    };
    JUDGE(rows);
    sk_X509_free(rows[3].certs);
}

static void trap_18_intermediates_in_the_trust_bundle(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *upper, *lower, *leaf;

    (void)state;
    long_chain(&upper, &lower, &leaf);
    const row rows[] = {
        {"leaf alone", "", aid_stack(pki->leaf, NULL), aid_anchors(pki->root, pki->inter, NULL),
         STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"no root either", "", aid_stack(pki->leaf, NULL),
         aid_anchors(pki->inter, pki->other_root, NULL), STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"the leaf itself", "", aid_stack(pki->leaf, NULL),
         aid_anchors(pki->leaf, pki->other_root, NULL), STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"upper in the bundle", "", aid_stack(leaf, lower, NULL),
         aid_anchors(pki->root, upper, NULL), STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"lower in the bundle", "", aid_stack(leaf, upper, NULL),
         aid_anchors(pki->root, lower, NULL), STLS_REASON_CHAIN_INCOMPLETE, 0},
        {"presented as well", "", aid_stack(pki->leaf, pki->inter, NULL),
         aid_anchors(pki->root, pki->inter, NULL), 0, 0},
        {"an intermediate as the only trust", "", aid_stack(pki->leaf, pki->inter, NULL),
         aid_anchors(pki->inter, pki->other_root, NULL), STLS_REASON_CHAIN_UNTRUSTED, 0},
    };
    JUDGE(rows);
}

static void order(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *upper, *lower, *leaf;

    (void)state;
    long_chain(&upper, &lower, &leaf);
    const row rows[] = {
        {"root before intermediate", "", aid_stack(pki->leaf, pki->root, pki->inter, NULL), NULL,
         STLS_REASON_CHAIN_MISORDERED, 0},
        {"upper before lower", "", aid_stack(leaf, upper, lower, NULL), NULL,
         STLS_REASON_CHAIN_MISORDERED, 0},
        {"upper before lower, allowed", "chain_order=any", aid_stack(leaf, upper, lower, NULL),
         NULL, 0, STLS_REASON_CHAIN_MISORDERED},
        {"upper, root, lower", "", aid_stack(leaf, upper, pki->root, lower, NULL), NULL,
         STLS_REASON_CHAIN_MISORDERED, 0},
        {"a superfluous one in between", "", aid_stack(leaf, pki->other_root, lower, upper, NULL),
         NULL, 0, STLS_REASON_CHAIN_EXTRA},
    };
    JUDGE(rows);
}

/* The first certificate is the peer's, whatever follows. */
static void first_one_is_the_leaf(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_case c = {.policy = "revocation=off", .certs = aid_stack(pki->inter, pki->leaf, NULL)};
    (void)state;
    stls_result *result = aid_judge(&c);
    assert_int_equal(stls_result_verdict(result), STLS_REJECT);
    c.certs = aid_stack(pki->root, pki->inter, pki->leaf, NULL);
    assert_int_equal(stls_result_verdict(aid_judge(&c)), STLS_REJECT);
}

static void extras(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = aid_leaf_spec();
    X509 *other_leaf = aid_make_cert(&spec);

    (void)state;
    const row rows[] = {
        {"another root", "", aid_stack(pki->leaf, pki->inter, pki->other_root, NULL), NULL, 0,
         STLS_REASON_CHAIN_EXTRA},
        {"another root, denied", "chain_extra=deny",
         aid_stack(pki->leaf, pki->inter, pki->other_root, NULL), NULL, STLS_REASON_CHAIN_EXTRA, 0},
        {"another leaf", "", aid_stack(pki->leaf, other_leaf, pki->inter, NULL), NULL, 0,
         STLS_REASON_CHAIN_EXTRA},
        {"another leaf, denied", "chain_extra=deny",
         aid_stack(pki->leaf, other_leaf, pki->inter, NULL), NULL, STLS_REASON_CHAIN_EXTRA, 0},
        {"intermediate twice", "", aid_stack(pki->leaf, pki->inter, pki->inter, NULL), NULL, 0,
         STLS_REASON_CHAIN_EXTRA},
        {"intermediate twice, denied", "chain_extra=deny",
         aid_stack(pki->leaf, pki->inter, pki->inter, NULL), NULL, STLS_REASON_CHAIN_EXTRA, 0},
        {"leaf twice, denied", "chain_extra=deny",
         aid_stack(pki->leaf, pki->leaf, pki->inter, NULL), NULL, STLS_REASON_CHAIN_EXTRA, 0},
        {"root twice, denied", "chain_extra=deny",
         aid_stack(pki->leaf, pki->inter, pki->root, pki->root, NULL), NULL,
         STLS_REASON_CHAIN_EXTRA, 0},
        {"the root is none", "chain_extra=deny", aid_stack(pki->leaf, pki->inter, pki->root, NULL),
         NULL, 0, 0},
        {"a cross-certificate for the root is none", "chain_extra=deny",
         aid_stack(pki->leaf, pki->inter, cross_root(), NULL), NULL, 0, 0},
        {"on a broken chain the gap counts, not the extra", "chain_extra=deny",
         aid_stack(pki->leaf, pki->other_root, NULL), NULL, STLS_REASON_CHAIN_INCOMPLETE, 0},
    };
    JUDGE(rows);
}

/* What is off the path is neither dated nor asked about. */
static void extra_may_be_expired(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = {.subject = "CN=Old,O=Lab", .key = 5, .is_ca = 1};

    (void)state;
    spec.not_before_s = NOW_S - 900 * DAY_S;
    spec.not_after_s = NOW_S - 800 * DAY_S;
    spec.aia = "OCSP;URI:http://old.example.com/";
    aid_case c = {.certs = aid_stack(pki->leaf, pki->inter, aid_make_cert(&spec), NULL)};
    assert_result(aid_judge(&c), STLS_ACCEPT, STLS_REASON_NONE);
    assert_int_equal(aid_count_fetches(&c), 2);
}

static void the_root_itself(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    STACK_OF(X509) *without = aid_stack(pki->leaf, pki->inter, NULL);
    STACK_OF(X509) *with = aid_stack(pki->leaf, pki->inter, pki->root, NULL);
    STACK_OF(X509) *crossed = aid_stack(pki->leaf, pki->inter, cross_root(), NULL);
    aid_cert renewed_spec = {.subject = "CN=Root,O=Lab", .key = 0, .is_ca = 1};
    STACK_OF(X509) *renewed = aid_stack(pki->leaf, pki->inter, aid_make_cert(&renewed_spec), NULL);

    (void)state;
    const row rows[] = {
        {"missing, allowed", "chain_root=allow", without, NULL, 0, 0},
        {"presented, allowed", "chain_root=allow", with, NULL, 0, 0},
        {"missing, required", "chain_root=require", without, NULL, STLS_REASON_CHAIN_ROOT_MISSING,
         0},
        {"presented, required", "chain_root=require", with, NULL, 0, 0},
        {"missing, forbidden", "chain_root=forbid", without, NULL, 0, 0},
        {"presented, forbidden", "chain_root=forbid", with, NULL, STLS_REASON_CHAIN_ROOT_PRESENTED,
         0},
        {"another self-signed one of the same key, forbidden", "chain_root=forbid", renewed, NULL,
         STLS_REASON_CHAIN_ROOT_PRESENTED, 0},
        {"another self-signed one of the same key, required", "chain_root=require", renewed, NULL,
         0, 0},
        {"a cross-certificate is not the root", "chain_root=require", crossed, NULL,
         STLS_REASON_CHAIN_ROOT_MISSING, 0},
        {"a cross-certificate is not forbidden", "chain_root=forbid", crossed, NULL, 0, 0},
        {"a gap goes first", "chain_root=require", aid_stack(pki->leaf, NULL), NULL,
         STLS_REASON_CHAIN_INCOMPLETE, 0},
    };
    JUDGE(rows);
}

static void trust(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_anchors *others = aid_anchors(pki->other_root, NULL);
    X509 *self_signed = self_signed_leaf();
    aid_cert fake_spec = {.subject = "CN=Root,O=Lab", .key = 5, .is_ca = 1};
    X509 *fake_root = aid_make_cert(&fake_spec); /* the root's name, another key */
    aid_cert fake_leaf_spec = aid_leaf_spec();
    fake_leaf_spec.issuer = fake_root;
    fake_leaf_spec.issuer_key = 5;
    X509 *fake_leaf = aid_make_cert(&fake_leaf_spec);

    (void)state;
    const row rows[] = {
        {"root not trusted", "", aid_stack(pki->leaf, pki->inter, NULL), others,
         STLS_REASON_CHAIN_UNTRUSTED, 0},
        {"root not trusted and presented", "", aid_stack(pki->leaf, pki->inter, pki->root, NULL),
         others, STLS_REASON_CHAIN_UNTRUSTED, 0},
        {"self-signed", "", aid_stack(self_signed, NULL), NULL, STLS_REASON_CHAIN_SELF_SIGNED, 0},
        {"self-signed and a foreign chain", "", aid_stack(self_signed, pki->inter, pki->root, NULL),
         NULL, STLS_REASON_CHAIN_SELF_SIGNED, 0},
        {"root of the same name", "", aid_stack(fake_leaf, fake_root, NULL), NULL,
         STLS_REASON_CHAIN_UNTRUSTED, 0},
        {"cross-certificate leads to the trusted one", "",
         aid_stack(pki->leaf, pki->inter, cross_root(), NULL), others, 0, 0},
    };
    JUDGE(rows);
}

static void pinned_leaf_is_accepted_and_told_apart(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *leaf = self_signed_leaf();
    aid_case c = {.certs = aid_stack(leaf, NULL), .anchors = aid_anchors(leaf, NULL)};

    (void)state;
    stls_result *result = aid_judge(&c); /* revocation hard, and nobody to ask */
    assert_result(result, STLS_ACCEPT, STLS_REASON_NONE);
    assert_true(stls_result_is_pinned(result));
    assert_int_equal(aid_count_fetches(&c), 0);

    aid_case usual = {.certs = aid_stack(pki->leaf, pki->inter, NULL)};
    assert_false(stls_result_is_pinned(aid_judge(&usual)));
    c.name = "other.example.com"; /* a pin is no licence for other names */
    assert_case("pinned", &c, STLS_REJECT, STLS_REASON_NAME_MISMATCH);
}

/* Two paths lead to trust, or one of two does. */
static void trap_20_cross_signed_and_two_paths(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_anchors *both = aid_anchors(pki->root, pki->other_root, NULL);
    stls_anchors *other = aid_anchors(pki->other_root, NULL);
    X509 *cross = cross_root();
    aid_cert spec = {.subject = "CN=Intermediate,O=Lab", .key = 1, .is_ca = 1};
    spec.issuer = pki->other_root;
    spec.issuer_key = 4;
    X509 *cross_inter = aid_make_cert(&spec);

    (void)state;
    const row rows[] = {
        {"cross root, both trusted", "", aid_stack(pki->leaf, pki->inter, cross, NULL), both, 0, 0},
        {"cross root, its issuer trusted", "", aid_stack(pki->leaf, pki->inter, cross, NULL), other,
         0, 0},
        {"cross root and root, its issuer trusted", "",
         aid_stack(pki->leaf, pki->inter, cross, pki->root, NULL), other, 0, 0},
        {"both intermediates, both trusted", "",
         aid_stack(pki->leaf, pki->inter, cross_inter, NULL), both, 0, STLS_REASON_CHAIN_EXTRA},
        {"both intermediates, the first one's root trusted", "",
         aid_stack(pki->leaf, pki->inter, cross_inter, NULL), NULL, 0, STLS_REASON_CHAIN_EXTRA},
    };
    JUDGE(rows);
}

static void bounds(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    STACK_OF(X509) *two = aid_stack(pki->leaf, pki->inter, NULL);
    STACK_OF(X509) *three = aid_stack(pki->leaf, pki->inter, pki->root, NULL);
    STACK_OF(X509) *ten = sk_X509_dup(two), *eleven, *hundred;
    aid_cert spec = aid_leaf_spec();
    static char san[3000];

    (void)state;
    strcpy(san, "DNS:" LEAF_NAME);
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof(name), ",DNS:n%d.example.com", i);
        strcat(san, name);
    }
    spec.san = san;
    while (sk_X509_num(ten) < 10) {
        sk_X509_push(ten, pki->inter);
    }
    eleven = sk_X509_dup(ten);
    sk_X509_push(eleven, pki->inter);
    hundred = sk_X509_dup(ten);
    while (sk_X509_num(hundred) < 100) {
        sk_X509_push(hundred, pki->root);
    }
    const row rows[] = {
        {"ten", "", ten, NULL, 0, STLS_REASON_CHAIN_EXTRA},
        {"eleven", "", eleven, NULL, STLS_REASON_CHAIN_TOO_LONG, 0},
        {"eleven allowed", "max_chain_len=11", eleven, NULL, 0, STLS_REASON_CHAIN_EXTRA},
        {"trap 21: a hundred", "", hundred, NULL, STLS_REASON_CHAIN_TOO_LONG, 0},
        {"trap 21: a hundred allowed", "max_chain_len=100", hundred, NULL, 0,
         STLS_REASON_CHAIN_EXTRA},
        {"two of two", "max_chain_len=2", two, NULL, 0, 0},
        {"three of two", "max_chain_len=2", three, NULL, STLS_REASON_CHAIN_TOO_LONG, 0},
        {"two of one", "max_chain_len=1", two, NULL, STLS_REASON_CHAIN_TOO_LONG, 0},
        {"bytes", "max_chain_bytes=1024", aid_stack(aid_make_cert(&spec), pki->inter, NULL), NULL,
         STLS_REASON_CHAIN_TOO_LONG, 0},
    };
    JUDGE(rows);
    sk_X509_free(ten);
    sk_X509_free(eleven);
    sk_X509_free(hundred);
}

/* OpenSSL then takes the issuer for none of its own; that is not what is wrong. */
static void undecodable_extensions(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert leaf = aid_leaf_spec(), below = aid_leaf_spec();
    aid_cert inter = {.subject = "CN=Odd,O=Lab", .key = 6, .is_ca = 1};
    leaf.san = "DER:0500";
    inter.issuer = pki->root;
    inter.name_constraints = "critical,DER:0500";
    below.issuer = aid_make_cert(&inter);
    below.issuer_key = 6;

    (void)state;
    const row rows[] = {
        {"leaf", "", aid_stack(aid_make_cert(&leaf), pki->inter, NULL), NULL,
         STLS_REASON_CHAIN_MALFORMED, 0},
        {"intermediate", "", aid_stack(aid_make_cert(&below), below.issuer, NULL), NULL,
         STLS_REASON_CHAIN_MALFORMED, 0},
        {"on no path", "", aid_stack(pki->leaf, pki->inter, below.issuer, NULL), NULL, 0,
         STLS_REASON_CHAIN_MALFORMED},
    };
    JUDGE(rows);
}

/* The finding says which certificate, and where what is missing can be had. */
static void finding_names_the_missing_issuer(void **state)
{
    aid_case c = {.certs = aid_stack(aid_usual_pki()->leaf, NULL)};
    size_t len;
    char line[1000];

    (void)state;
    stls_result *result = aid_judge(&c);
    assert_result(result, STLS_REJECT, STLS_REASON_CHAIN_INCOMPLETE);
    assert_non_null(strstr(stls_result_get0_report(result, &len), INTER_ISSUER_URL));
    stls_result_log_line(result, NULL, line, sizeof(line));
    assert_non_null(strstr(line, "cert=0"));
    assert_non_null(strstr(line, "CN=Intermediate"));
    assert_non_null(strstr(line, INTER_ISSUER_URL));
}

/* root -> a (key 5) -> b (key 6) -> c (key 7) -> d (key 8) -> leaf: c[0] is the leaf, c[4] a. */
static void five_certificates(X509 *c[5])
{
    static const char *const names[] = {"CN=D,O=Lab", "CN=C,O=Lab", "CN=B,O=Lab", "CN=A,O=Lab"};
    X509 *issuer = aid_usual_pki()->root;
    size_t issuer_key = 0;

    for (int i = 4; i > 0; i--) {
        char aia[80];
        snprintf(aia, sizeof(aia), "caIssuers;URI:http://ca.example.com/issuer-of-%d.der", i);
        aid_cert spec = {.subject = names[i - 1], .key = 9 - (size_t)i, .is_ca = 1, .aia = aia};
        spec.issuer = issuer;
        spec.issuer_key = issuer_key;
        c[i] = issuer = aid_make_cert(&spec);
        issuer_key = spec.key;
    }
    aid_cert leaf_spec = aid_leaf_spec();
    leaf_spec.issuer = issuer;
    leaf_spec.issuer_key = issuer_key;
    c[0] = aid_make_cert(&leaf_spec);
}

/* "0,-,2" from the report's order; "-" is a missing certificate. */
static void order_text(const json_t *report, char *text)
{
    size_t i;
    json_t *one;
    text[0] = '\0';
    json_array_foreach (json_object_get(report, "order"), i, one) {
        text += sprintf(text, json_is_null(one) ? "%s-" : "%s%d", i ? "," : "",
                        (int)json_integer_value(one));
    }
}

static void every_gap_is_told(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *c[5];
    aid_cert stranger_spec = {.subject = "CN=Stranger,O=Elsewhere", .key = 9, .is_ca = 1};

    (void)state;
    five_certificates(c);
    stranger_spec.issuer = c[2]; /* a sister of what is missing */
    stranger_spec.issuer_key = 7;
    X509 *stranger = aid_make_cert(&stranger_spec);
    const struct {
        const char *what;
        STACK_OF(X509) *certs;
        stls_anchors *anchors;
        const char *order;   /* what the report says */
        const char *missing; /* subjects of the gaps, and which of them are below what */
        size_t num_extra;
        stls_reason noted; /* an error besides */
    } rows[] = {
        {"whole", aid_stack(c[0], c[1], c[2], c[3], c[4], NULL), NULL, "0,1,2,3,4", "", 0, 0},
        {"one", aid_stack(c[0], c[1], c[3], c[4], NULL), NULL, "0,1,-,2,3", "1C", 0, 0},
        {"two", aid_stack(c[0], c[2], c[4], NULL), NULL, "0,-,1,-,2", "0D1B", 0, 0},
        {"two, and the root", aid_stack(c[0], c[2], c[4], pki->root, NULL), NULL, "0,-,1,-,2,3",
         "0D1B", 0, 0},
        {"up to the trust anchor", aid_stack(c[0], c[2], NULL), NULL, "0,-,1,-", "0D1B", 0, 0},
        {"misordered", aid_stack(c[0], c[4], c[2], NULL), NULL, "0,-,2,-,1", "0D2B", 0,
         STLS_REASON_CHAIN_MISORDERED},
        {"misordered behind the gap", aid_stack(c[0], c[4], c[3], c[2], NULL), NULL, "0,-,3,2,1",
         "0D", 0, STLS_REASON_CHAIN_MISORDERED},
        {"superfluous", aid_stack(c[0], pki->other_root, c[2], c[2], stranger, c[4], NULL), NULL,
         "0,-,4,2,-,5", "0D2B", 2, STLS_REASON_CHAIN_MISORDERED},
        {"this host owns what is missing", aid_stack(c[0], NULL),
         aid_anchors(pki->root, c[1], c[2], NULL), "0,-,-,-", "0D0C0B", 0, 0},
        {"and knows that nothing more is", aid_stack(c[0], c[3], c[4], NULL),
         aid_anchors(pki->root, c[1], c[2], NULL), "0,-,-,1,2", "0D0C", 0, 0},
        {"not behind an untrusted root", aid_stack(c[0], c[1], c[2], c[3], c[4], NULL),
         aid_anchors(pki->other_root, NULL), "0,1,2,3,4", "", 0, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case a = {
            .policy = "revocation=off", .certs = rows[i].certs, .anchors = rows[i].anchors};
        stls_result *result = aid_judge(&a);
        char text[100], missing[100] = "";
        size_t len, k;
        json_t *gap, *report = json_loads(stls_result_get0_report(result, &len), 0, NULL);

        assert_non_null(report);
        order_text(report, text);
        json_array_foreach (json_object_get(report, "gaps"), k, gap) {
            const char *subject = json_string_value(json_object_get(gap, "subject"));
            assert_memory_equal(subject, "O=Lab,CN=", 9);
            sprintf(missing + strlen(missing), "%d%s",
                    (int)json_integer_value(json_object_get(gap, "below")), subject + 9);
            assert_non_null(json_string_value(json_object_get(gap, "key_id")));
            assert_non_null(json_string_value(json_object_get(gap, "published_at")));
        }
        if (strcmp(text, rows[i].order) != 0 || strcmp(missing, rows[i].missing) != 0) {
            fail_msg("%s: order %s, missing %s", rows[i].what, text, missing);
        }
        assert_int_equal(aid_findings(result, STLS_REASON_CHAIN_INCOMPLETE, "error"), k);
        assert_int_equal(aid_findings(result, STLS_REASON_CHAIN_EXTRA, NULL), rows[i].num_extra);
        if (k > 0) {
            assert_result(result, STLS_REJECT, STLS_REASON_CHAIN_INCOMPLETE);
        }
        assert_int_equal(aid_findings(result, STLS_REASON_CHAIN_MISORDERED, NULL) > 0,
                         rows[i].noted != 0);
        json_decref(report);
    }
}

/* As many gaps as a peer may send certificates, each told once. */
static void gaps_are_bounded(void **state)
{
    STACK_OF(X509) *certs = sk_X509_new_null();
    aid_cert spec = {.subject = "CN=Island,O=Lab", .key = 6, .is_ca = 1};
    aid_case c = {.policy = "revocation=off max_chain_len=100 max_chain_bytes=1000000",
                  .certs = certs};

    (void)state;
    sk_X509_push(certs, aid_usual_pki()->leaf);
    for (int i = 1; i < 100; i++) {
        char name[40];
        snprintf(name, sizeof(name), "CN=Nobody %d,O=Lab", i);
        spec.issuer = aid_usual_pki()->other_root;
        spec.issuer_key = 4;
        spec.issuer_name = name;
        spec.key_id = "";
        sk_X509_push(certs, aid_make_cert(&spec));
    }
    stls_result *result = aid_judge(&c);
    assert_result(result, STLS_REJECT, STLS_REASON_CHAIN_INCOMPLETE);
    assert_int_equal(aid_findings(result, STLS_REASON_CHAIN_INCOMPLETE, "error"), 100);
    sk_X509_free(certs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(completeness),
        cmocka_unit_test(trap_18_intermediates_in_the_trust_bundle),
        cmocka_unit_test(order),
        cmocka_unit_test(first_one_is_the_leaf),
        cmocka_unit_test(extras),
        cmocka_unit_test(extra_may_be_expired),
        cmocka_unit_test(the_root_itself),
        cmocka_unit_test(trust),
        cmocka_unit_test(pinned_leaf_is_accepted_and_told_apart),
        cmocka_unit_test(trap_20_cross_signed_and_two_paths),
        cmocka_unit_test(bounds),
        cmocka_unit_test(undecodable_extensions),
        cmocka_unit_test(finding_names_the_missing_issuer),
        cmocka_unit_test(every_gap_is_told),
        cmocka_unit_test(gaps_are_bounded),
    };
    return cmocka_run_group_tests_name("chain", tests, NULL, aid_end);
}
