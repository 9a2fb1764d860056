/* What CRLs prove about a certificate (RFC 5280 section 6.3). */
#include "support_crl.h"

#include <stdlib.h>

#include <openssl/x509v3.h>

#include "crl_judge.h"

#define POINT "http://crl.example.com/7"

static void free_crl(void *thing)
{
    stls_crl_free(thing);
}

static stls_crl *crl_of(const aid_crl *spec)
{
    aid_bytes bytes = aid_make_crl(spec);
    unsigned char *copy = malloc(bytes.len);
    memcpy(copy, bytes.bytes, bytes.len);
    stls_crl *crl = stls_crl_new(NULL, copy, bytes.len, free);
    while (stls_crl_step(crl, 4096) == STLS_CRL_MORE) {
    }
    aid_keep(free_crl, crl);
    return crl;
}

static X509 *leaf_with_points(const char *points)
{
    aid_cert spec = aid_leaf_spec();
    spec.crl = points;
    return aid_make_cert(&spec);
}

typedef struct {
    X509 *cert, *issuer; /* NULL: the usual leaf, the usual intermediate */
    stls_crl *crls[4];
    X509 *other, *another; /* who may have signed, besides the issuer */
    const char *policy;
} judge_case;

static stls_ocsp_answer judge(const judge_case *c)
{
    const aid_pki *pki = aid_usual_pki();
    stls_ocsp_answer answer;
    X509 *cert = c->cert != NULL ? c->cert : pki->leaf;
    X509 *issuer = c->issuer != NULL ? c->issuer : pki->inter;
    size_t num = 0;
    while (num < 4 && c->crls[num] != NULL) {
        num++;
    }
    stls_policy *policy = aid_policy(c->policy != NULL ? c->policy : "", NULL);
    stls_work work;
    stls_work_init(&work, policy);
    const stls_crl_input input = {
        .policy = policy,
        .work = &work,
        .crls = (stls_crl *const *)c->crls,
        .num_crls = num,
        .path = aid_stack(cert, issuer, pki->root, NULL),
        .others = c->other != NULL ? aid_stack(c->other, c->another, NULL) : aid_stack(NULL),
        .now_s = NOW_S,
    };
    stls_crl_judge(&answer, &input, cert, issuer, NULL);
    return answer;
}

#define assert_judged(c, wanted)                                                                   \
    assert_string_equal(stls_reason_id(judge(c).reason), stls_reason_id(wanted))

static stls_reason judge_one(const aid_crl *spec, const char *policy)
{
    judge_case c = {.crls = {crl_of(spec)}, .policy = policy};
    return judge(&c).reason;
}

static void listed_or_not(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    (void)state;
    assert_int_equal(judge_one(&(aid_crl){0}, NULL), STLS_REASON_NONE);
    assert_int_equal(judge_one(&(aid_crl){.revoked = {pki->leaf}}, NULL), STLS_REASON_CRL_REVOKED);
    assert_int_equal(judge_one(&(aid_crl){.revoked = {pki->responder}}, NULL), STLS_REASON_NONE);
    judge_case none = {0};
    assert_judged(&none, STLS_REASON_REVOCATION_INCONCLUSIVE);
}

static void revocation_is_dated(void **state)
{
    judge_case c = {.crls = {crl_of(&(aid_crl){.revoked = {aid_usual_pki()->leaf}, .reason = 1})}};
    (void)state;
    stls_ocsp_answer answer = judge(&c);
    assert_int_equal(answer.reason, STLS_REASON_CRL_REVOKED);
    assert_int_equal(answer.revocation_reason, 1);
    assert_int_equal(answer.revoked_at_s, NOW_S - HOUR_S);
}

static void freshness(void **state)
{
    static const struct {
        int64_t this_s, next_s; /* relative to now; next 0: absent */
        const char *policy;
        stls_reason wanted;
    } rows[] = {
        {-HOUR_S, HOUR_S, NULL, STLS_REASON_NONE},
        {-HOUR_S, -300, NULL, STLS_REASON_NONE}, /* the usual skew */
        {-HOUR_S, -301, NULL, STLS_REASON_CRL_STALE},
        {-HOUR_S, -1, "clock_skew_s=0", STLS_REASON_CRL_STALE},
        {300, HOUR_S, NULL, STLS_REASON_NONE},
        {301, HOUR_S, NULL, STLS_REASON_CRL_STALE},
        {-7 * DAY_S, 0, NULL, STLS_REASON_NONE}, /* crl_max_age_s */
        {-7 * DAY_S - 1, 0, NULL, STLS_REASON_CRL_STALE},
        {-100 * DAY_S, HOUR_S, NULL, STLS_REASON_NONE}, /* it has a nextUpdate */
        {-HOUR_S, -900, "stale_grace_s=600", STLS_REASON_NONE},
        {-HOUR_S, -901, "stale_grace_s=600", STLS_REASON_CRL_STALE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_crl spec = {.this_update_s = NOW_S + rows[i].this_s,
                        .next_update_s = rows[i].next_s != 0 ? NOW_S + rows[i].next_s : -1};
        stls_reason got = judge_one(&spec, rows[i].policy);
        if (got != rows[i].wanted) {
            fail_msg("row %zu: %s", i, stls_reason_id(got));
        }
    }
}

/* Revoked for good: an old CRL still proves that, and only that; a hold may be over. */
static void stale_and_listed(void **state)
{
    X509 *leaf = aid_usual_pki()->leaf, *other = aid_usual_pki()->responder;
    static const struct {
        int reason;
        stls_reason wanted;
    } rows[] = {
        {0, STLS_REASON_CRL_REVOKED},
        {CRL_REASON_KEY_COMPROMISE, STLS_REASON_CRL_REVOKED},
        {CRL_REASON_CERTIFICATE_HOLD, STLS_REASON_CRL_STALE},
        {CRL_REASON_REMOVE_FROM_CRL, STLS_REASON_CRL_STALE},
    };
    aid_crl spec = {.this_update_s = NOW_S - 9 * DAY_S, .next_update_s = NOW_S - DAY_S};
    (void)state;
    spec.revoked[0] = leaf;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        spec.reason = rows[i].reason;
        assert_int_equal(judge_one(&spec, NULL), rows[i].wanted);
    }
    spec.reason = 0;
    spec.revoked[0] = other;
    assert_int_equal(judge_one(&spec, NULL), STLS_REASON_CRL_STALE);
    spec.revoked[0] = leaf; /* by another key it proves nothing, and it is old all the same */
    spec.issuer = aid_usual_pki()->inter;
    spec.issuer_key = 6;
    assert_int_equal(judge_one(&spec, NULL), STLS_REASON_CRL_STALE);
    spec.issuer_key = 1; /* nor does one that is not valid yet */
    spec.this_update_s = NOW_S + DAY_S;
    spec.next_update_s = NOW_S + 2 * DAY_S;
    assert_int_equal(judge_one(&spec, NULL), STLS_REASON_CRL_STALE);
}

static void whose_signature(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    stls_crl *good = crl_of(&(aid_crl){0});
    (void)state;
    assert_int_equal(judge_one(&(aid_crl){.issuer = pki->inter, .issuer_key = 6}, NULL),
                     STLS_REASON_CRL_BAD_SIGNATURE);
    assert_int_equal(judge_one(&(aid_crl){.issuer = pki->root, .issuer_key = 0}, NULL),
                     STLS_REASON_CRL_WRONG_SCOPE);
    /* An issuer whose key may not sign CRLs. */
    aid_cert spec = {.subject = "CN=Intermediate,O=Lab", .key = 1, .is_ca = 1, .issuer = pki->root};
    spec.key_usage = "critical,keyCertSign";
    judge_case c = {.issuer = aid_make_cert(&spec), .crls = {good}};
    assert_judged(&c, STLS_REASON_CRL_BAD_SIGNATURE);
    spec.key_usage = "critical,keyCertSign,cRLSign";
    c.issuer = aid_make_cert(&spec);
    assert_judged(&c, STLS_REASON_NONE);
    spec.key_usage = ""; /* no usage at all: any */
    c.issuer = aid_make_cert(&spec);
    assert_judged(&c, STLS_REASON_NONE);
}

static void too_weak_a_digest(void **state)
{
    (void)state;
    assert_int_equal(judge_one(&(aid_crl){.digest = "SHA1"}, NULL), STLS_REASON_CRL_BAD_SIGNATURE);
    assert_int_equal(judge_one(&(aid_crl){.digest = "SHA1"}, "security_level=0"), STLS_REASON_NONE);
    assert_int_equal(judge_one(&(aid_crl){.digest = "SHA256"}, "security_level=4"),
                     STLS_REASON_CRL_BAD_SIGNATURE);
    assert_int_equal(judge_one(&(aid_crl){.digest = "SHA384"}, "security_level=4"),
                     STLS_REASON_NONE);
}

/* ---- trap 13: what a CRL is about ------------------------------------------------------ */

/* An issuing distribution point; reasons are bits as in RFC 5280 section 4.2.1.13. */
typedef struct {
    const char *url;
    int only_user, only_ca, only_attribute, indirect;
    unsigned int reasons;
} point_spec;

static point_spec shape_of_point;

static GENERAL_NAMES *names_with(const char *url)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    AID_NEED(names && name && text && ASN1_STRING_set(text, url, -1));
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    AID_NEED(sk_GENERAL_NAME_push(names, name));
    return names;
}

static void shape_point(X509_CRL *crl)
{
    const point_spec *spec = &shape_of_point;
    ISSUING_DIST_POINT *idp = ISSUING_DIST_POINT_new();
    AID_NEED(idp);
    if (spec->url != NULL) {
        AID_NEED(idp->distpoint = DIST_POINT_NAME_new());
        idp->distpoint->type = 0;
        idp->distpoint->name.fullname = names_with(spec->url);
    }
    idp->onlyuser = spec->only_user ? 0xff : 0;
    idp->onlyCA = spec->only_ca ? 0xff : 0;
    idp->onlyattr = spec->only_attribute ? 0xff : 0;
    idp->indirectCRL = spec->indirect ? 0xff : 0;
    if (spec->reasons != 0) {
        AID_NEED(idp->onlysomereasons = ASN1_BIT_STRING_new());
        for (int i = 0; i < 9; i++) {
            AID_NEED(ASN1_BIT_STRING_set_bit(idp->onlysomereasons, i, spec->reasons >> i & 1));
        }
    }
    AID_NEED(X509_CRL_add1_ext_i2d(crl, NID_issuing_distribution_point, idp, 1, 0));
    ISSUING_DIST_POINT_free(idp);
}

static stls_crl *crl_with_point(point_spec point, aid_crl spec)
{
    shape_of_point = point;
    spec.shape = shape_point;
    return crl_of(&spec);
}

static void trap_13_kinds_of_certificates(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    const aid_crl of_root = {.issuer = pki->root, .issuer_key = 0};
    static const struct {
        point_spec point;
        stls_reason leaf, ca;
    } rows[] = {
        {{.only_user = 1}, STLS_REASON_NONE, STLS_REASON_CRL_WRONG_SCOPE},
        {{.only_ca = 1}, STLS_REASON_CRL_WRONG_SCOPE, STLS_REASON_NONE},
        {{.only_attribute = 1}, STLS_REASON_CRL_WRONG_SCOPE, STLS_REASON_CRL_WRONG_SCOPE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        judge_case leaf = {.crls = {crl_with_point(rows[i].point, (aid_crl){0})}};
        judge_case ca = {.cert = pki->inter,
                         .issuer = pki->root,
                         .crls = {crl_with_point(rows[i].point, of_root)}};
        assert_judged(&leaf, rows[i].leaf);
        assert_judged(&ca, rows[i].ca);
    }
}

static void trap_13_points(void **state)
{
    stls_crl *here = crl_with_point((point_spec){.url = POINT}, (aid_crl){0});
    stls_crl *elsewhere = crl_with_point((point_spec){.url = POINT "7"}, (aid_crl){0});
    X509 *leaf = leaf_with_points("URI:" POINT);
    (void)state;
    judge_case c = {.cert = leaf, .crls = {here}};
    assert_judged(&c, STLS_REASON_NONE);
    c.crls[0] = elsewhere;
    assert_judged(&c, STLS_REASON_CRL_WRONG_SCOPE);
    c.crls[1] = here; /* one of them is enough */
    assert_judged(&c, STLS_REASON_NONE);
    /* A certificate without a point is not covered by a shard. */
    judge_case none = {.crls = {here}};
    assert_judged(&none, STLS_REASON_CRL_WRONG_SCOPE);
    /* And a listed one is found in the shard that fits. */
    c.crls[1] = crl_with_point((point_spec){.url = POINT}, (aid_crl){.revoked = {leaf}});
    assert_judged(&c, STLS_REASON_CRL_REVOKED);
}

static void trap_13_reasons(void **state)
{
    const unsigned int some = 0x1e, others = 0x1e0;
    stls_crl *first = crl_with_point((point_spec){.reasons = some}, (aid_crl){0});
    stls_crl *second = crl_with_point((point_spec){.reasons = others}, (aid_crl){0});
    (void)state;
    judge_case c = {.crls = {first}};
    assert_judged(&c, STLS_REASON_CRL_WRONG_SCOPE);
    c.crls[1] = first;
    assert_judged(&c, STLS_REASON_CRL_WRONG_SCOPE);
    c.crls[1] = second;
    assert_judged(&c, STLS_REASON_NONE);
    c.crls[1] = crl_with_point((point_spec){.reasons = others},
                               (aid_crl){.revoked = {aid_usual_pki()->leaf}});
    assert_judged(&c, STLS_REASON_CRL_REVOKED);
}

static void trap_13_another_key_of_the_issuer(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = {.subject = "CN=Intermediate,O=Lab", .key = 6, .is_ca = 1, .issuer = pki->root};
    X509 *twin = aid_make_cert(&spec); /* the same name, another key, by the same CA */
    stls_crl *by_twin = crl_of(&(aid_crl){.issuer = twin, .issuer_key = 6});
    stls_crl *of_root = crl_of(&(aid_crl){.issuer = pki->root, .issuer_key = 0});
    (void)state;
    judge_case c = {.crls = {by_twin}};
    assert_judged(&c, STLS_REASON_CRL_BAD_SIGNATURE); /* who signed it is not at hand */
    c.other = twin;
    assert_judged(&c, STLS_REASON_CRL_BAD_SIGNATURE); /* nor whether that one is revoked */
    c.crls[1] = of_root;
    assert_judged(&c, STLS_REASON_NONE);
    c.crls[1] = crl_of(&(aid_crl){.issuer = pki->root, .issuer_key = 0, .revoked = {twin}});
    assert_judged(&c, STLS_REASON_CRL_BAD_SIGNATURE);
    /* One of that name that nobody trusts. */
    spec.issuer = pki->other_root;
    spec.issuer_key = 4;
    c.other = aid_make_cert(&spec);
    c.crls[1] = of_root;
    assert_judged(&c, STLS_REASON_CRL_BAD_SIGNATURE);
}

/* Another key of the CA's: the CA says whether that one is revoked, it does not itself. */
static void trap_13_another_key_does_not_vouch_for_itself(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *signer = aid_make_cert(&(aid_cert){.subject = "CN=Intermediate,O=Lab",
                                             .key = 6,
                                             .is_ca = 1,
                                             .key_usage = "critical,cRLSign",
                                             .issuer = pki->inter,
                                             .issuer_key = 1});
    stls_crl *own = crl_of(&(aid_crl){.issuer = signer, .issuer_key = 6});
    stls_crl *of_root = crl_of(&(aid_crl){.issuer = pki->root, .issuer_key = 0});
    (void)state;
    judge_case c = {.crls = {own, of_root}, .other = signer, .another = pki->inter};
    assert_judged(&c, STLS_REASON_CRL_BAD_SIGNATURE);
    c.crls[2] = crl_with_point((point_spec){.only_ca = 1}, (aid_crl){0});
    assert_judged(&c, STLS_REASON_NONE);
    c.crls[2] = crl_with_point((point_spec){.only_ca = 1}, (aid_crl){.revoked = {signer}});
    assert_judged(&c, STLS_REASON_CRL_BAD_SIGNATURE);
}

/* ---- deltas -------------------------------------------------------------------------------- */

static int64_t number, base_number;

static void shape_numbers(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, number);
    if (base_number != 0) {
        aid_add_crl_number(crl, NID_delta_crl, base_number);
    }
}

static stls_crl *numbered(int64_t its_number, int64_t its_base, aid_crl spec)
{
    number = its_number;
    base_number = its_base;
    spec.shape = shape_numbers;
    return crl_of(&spec);
}

static void trap_13_deltas(void **state)
{
    X509 *leaf = aid_usual_pki()->leaf;
    const aid_crl empty = {0}, listing = {.revoked = {leaf}};
    const aid_crl lifting = {.revoked = {leaf}, .reason = CRL_REASON_REMOVE_FROM_CRL};
    const aid_crl old = {.revoked = {leaf}, .next_update_s = NOW_S - HOUR_S};
    const aid_crl forged = {.issuer = aid_usual_pki()->inter, .issuer_key = 6, .revoked = {leaf}};
    stls_crl *base = numbered(5, 0, empty);
    (void)state;
    const struct {
        const char *what;
        stls_crl *base, *delta;
        stls_reason wanted;
    } rows[] = {
        {"lists it", base, numbered(6, 5, listing), STLS_REASON_CRL_REVOKED},
        {"lists nothing", base, numbered(6, 5, empty), STLS_REASON_NONE},
        {"on an older base", base, numbered(6, 3, listing), STLS_REASON_CRL_REVOKED},
        {"on a newer base", base, numbered(9, 7, listing), STLS_REASON_NONE},
        {"older than the base", base, numbered(4, 3, listing), STLS_REASON_NONE},
        {"past its nextUpdate", base, numbered(6, 5, old), STLS_REASON_NONE},
        {"by another key", base, numbered(6, 5, forged), STLS_REASON_NONE},
        {"lifts a hold", numbered(5, 0, listing), numbered(6, 5, lifting), STLS_REASON_NONE},
        {"base without a number", crl_of(&empty), numbered(6, 5, listing), STLS_REASON_NONE},
        {"alone", NULL, numbered(6, 5, empty), STLS_REASON_REVOCATION_INCONCLUSIVE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        judge_case c = {.crls = {rows[i].delta, rows[i].base}};
        stls_reason got = judge(&c).reason;
        if (got != rows[i].wanted) {
            fail_msg("%s: %s", rows[i].what, stls_reason_id(got));
        }
    }
}

/* ---- indirect CRLs ----------------------------------------------------------------------------
 */

static void trap_13_indirect(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = {.subject = "CN=CRL Issuer,O=Lab", .key = 6, .issuer = pki->root};
    X509 *leaf = leaf_with_points("URI:" POINT);
    (void)state;
    spec.key_usage = "critical,cRLSign";
    X509 *issuer = aid_make_cert(&spec);
    aid_crl by_it = {.issuer = issuer, .issuer_key = 6};
    /* The certificate does not name that issuer for its CRLs: it says nothing about it. */
    judge_case c = {.cert = leaf,
                    .other = issuer,
                    .crls = {crl_with_point((point_spec){.url = POINT, .indirect = 1}, by_it),
                             crl_of(&(aid_crl){.issuer = pki->root, .issuer_key = 0})}};
    assert_judged(&c, STLS_REASON_CRL_WRONG_SCOPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listed_or_not),
        cmocka_unit_test(revocation_is_dated),
        cmocka_unit_test(freshness),
        cmocka_unit_test(stale_and_listed),
        cmocka_unit_test(whose_signature),
        cmocka_unit_test(too_weak_a_digest),
        cmocka_unit_test(trap_13_kinds_of_certificates),
        cmocka_unit_test(trap_13_points),
        cmocka_unit_test(trap_13_reasons),
        cmocka_unit_test(trap_13_another_key_of_the_issuer),
        cmocka_unit_test(trap_13_another_key_does_not_vouch_for_itself),
        cmocka_unit_test(trap_13_deltas),
        cmocka_unit_test(trap_13_indirect),
    };
    return cmocka_run_group_tests_name("crl_judge", tests, NULL, aid_end);
}
