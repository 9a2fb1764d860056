#include "support.h"

#include "strict_tls/own_chain.h"

#include <stdio.h>

#include <jansson.h>

/* A chain of our own as a test says it, and what the words must tell. */
typedef struct {
    const char *what;
    stls_role role;
    STACK_OF(X509) *certs;
    EVP_PKEY *key;
    const char *why_not;
    const char *names[12];
    const char *policy;
    stls_anchors *anchors;
} own_case;

static stls_own_chain own_of(const own_case *c)
{
    size_t num = 0;
    while (num < 12 && c->names[num] != NULL) {
        num++;
    }
    return (stls_own_chain){
        .role = c->role != 0 ? c->role : STLS_ROLE_SERVER,
        .certs = c->certs,
        .key = c->key,
        .why_not = c->why_not,
        .file = "/etc/ssl/own.pem",
        .key_file = "/etc/ssl/own.key",
        .trust_directive = "strict_tls_trusted_certificate",
        .names = c->names,
        .num_names = num,
    };
}

static stls_result *judge(const own_case *c)
{
    const stls_own_chain own = own_of(c);
    stls_result *result = stls_own_chain_judge(
        aid_policy(c->policy != NULL ? c->policy : "", NULL),
        c->anchors != NULL ? c->anchors : aid_usual_anchors(), &own, NOW_S);
    assert_non_null(result);
    aid_keep((void (*)(void *))stls_result_free, result);
    return result;
}

static void assert_own(const own_case *c, stls_verdict verdict, stls_reason reason)
{
    stls_result *result = judge(c);
    if (stls_result_verdict(result) != verdict || stls_result_reason(result) != reason) {
        size_t len;
        fail_msg("%s: %s %s, wanted %s: %s", c->what, stls_result_word(result),
                 stls_reason_id(stls_result_reason(result)), stls_reason_id(reason),
                 stls_result_get0_report(result, &len));
    }
}

/* "remedy" or another field of the first finding with this reason; "" where there is none. */
static const char *field(const own_case *c, stls_reason reason, const char *key)
{
    size_t len, i;
    json_t *report = json_loads(stls_result_get0_report(judge(c), &len), 0, NULL), *finding;
    aid_keep((void (*)(void *))json_delete, report);
    json_array_foreach (json_object_get(report, "findings"), i, finding) {
        if (strcmp(json_string_value(json_object_get(finding, "reason")), stls_reason_id(reason))
            == 0) {
            return json_string_value(json_object_get(finding, key));
        }
    }
    return "";
}

static STACK_OF(X509) *whole(void)
{
    return aid_stack(aid_usual_pki()->leaf, aid_usual_pki()->inter, NULL);
}

static void whole_chain_is_silent(void **state)
{
    own_case c = {"whole", .certs = whole(), .key = aid_key(2), .names = {LEAF_NAME}};
    (void)state;
    assert_own(&c, STLS_PENDING, STLS_REASON_NONE);
    assert_int_equal(stls_own_chain_tell(judge(&c), c.what, STLS_NOTE, NULL, NULL), 0);
}

static void presentation(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert by_root = aid_leaf_spec(), self = aid_leaf_spec();
    by_root.issuer = pki->other_root;
    by_root.issuer_key = 4;
    self.issuer = NULL;
    X509 *stranger = aid_make_cert(&by_root);
    const struct {
        own_case c;
        stls_verdict verdict;
        stls_reason reason;
    } rows[] = {
        {{"leaf alone", .certs = aid_stack(pki->leaf, NULL)},
         STLS_REJECT,
         STLS_REASON_CHAIN_INCOMPLETE},
        {{"misordered", .certs = aid_stack(pki->leaf, pki->root, pki->inter, NULL)},
         STLS_REJECT,
         STLS_REASON_CHAIN_MISORDERED},
        {{"root too", .certs = aid_stack(pki->leaf, pki->inter, pki->root, NULL)},
         STLS_PENDING,
         STLS_REASON_NONE},
        {{"extra", .certs = aid_stack(pki->leaf, pki->inter, pki->other_root, NULL)},
         STLS_PENDING,
         STLS_REASON_NONE},
        {{"untrusted root presented", .certs = aid_stack(stranger, pki->other_root, NULL)},
         STLS_REJECT,
         STLS_REASON_CHAIN_UNTRUSTED},
        {{"unknown intermediate's issuer", .certs = whole(),
          .anchors = aid_anchors(pki->other_root, NULL)},
         STLS_REJECT,
         STLS_REASON_CHAIN_UNTRUSTED},
        {{"self-signed", .certs = aid_stack(aid_make_cert(&self), NULL)},
         STLS_REJECT,
         STLS_REASON_CHAIN_SELF_SIGNED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        own_case c = rows[i].c;
        c.key = aid_key(2);
        assert_own(&c, rows[i].verdict, rows[i].reason);
    }
    /* What costs nothing but bytes is no error, whatever is demanded of peers. */
    own_case extra = {"extra", .certs = aid_stack(pki->leaf, pki->inter, pki->other_root, NULL),
                      .key = aid_key(2), .policy = "chain_extra=deny chain_root=forbid"};
    assert_int_equal(aid_findings(judge(&extra), STLS_REASON_CHAIN_EXTRA, "warning"), 1);
    own_case root = {"root", .certs = aid_stack(pki->leaf, pki->inter, pki->root, NULL),
                     .key = aid_key(2), .policy = "chain_root=forbid"};
    assert_int_equal(aid_findings(judge(&root), STLS_REASON_CHAIN_ROOT_PRESENTED, "note"), 1);
}

/* What the owner must do is told with his own file names and directives. */
static void remedies(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = aid_leaf_spec();
    spec.aia = "";
    own_case published = {"published", .certs = aid_stack(pki->leaf, NULL), .key = aid_key(2)};
    own_case private = {"private root", .certs = aid_stack(aid_make_cert(&spec), NULL),
                        .key = aid_key(2)};
    own_case untrusted = {"untrusted", .certs = whole(), .key = aid_key(2),
                          .anchors = aid_anchors(pki->other_root, NULL)};
    const char *remedy;
    (void)state;

    remedy = field(&published, STLS_REASON_CHAIN_INCOMPLETE, "remedy");
    assert_non_null(strstr(remedy, "/etc/ssl/own.pem"));
    assert_non_null(strstr(remedy, INTER_ISSUER_URL));
    assert_null(strstr(remedy, "the served chain"));
    remedy = field(&private, STLS_REASON_CHAIN_INCOMPLETE, "remedy");
    assert_non_null(strstr(remedy, "/etc/ssl/own.pem"));
    assert_non_null(strstr(remedy, "strict_tls_trusted_certificate"));
    remedy = field(&untrusted, STLS_REASON_CHAIN_UNTRUSTED, "remedy");
    assert_non_null(strstr(remedy, "/etc/ssl/own.pem"));
    assert_non_null(strstr(remedy, "strict_tls_trusted_certificate"));
}

static void key(void **state)
{
    own_case right = {"right", .certs = whole(), .key = aid_key(2)};
    own_case other = {"other", .certs = whole(), .key = aid_key(5)};
    own_case of_inter = {"intermediate's", .certs = whole(), .key = aid_key(1)};
    own_case none = {"none", .certs = whole(), .why_not = "engine:pkcs11"};
    own_case nothing = {"nothing", .why_not = "its name holds variables"};
    (void)state;
    assert_own(&right, STLS_PENDING, STLS_REASON_NONE);
    assert_own(&other, STLS_REJECT, STLS_REASON_CHAIN_KEY_MISMATCH);
    assert_own(&of_inter, STLS_REJECT, STLS_REASON_CHAIN_KEY_MISMATCH);
    assert_non_null(
        strstr(field(&of_inter, STLS_REASON_CHAIN_KEY_MISMATCH, "detail"), "certificate 1"));
    assert_own(&none, STLS_REJECT, STLS_REASON_CHAIN_NOT_CHECKABLE);
    assert_non_null(strstr(field(&none, STLS_REASON_CHAIN_NOT_CHECKABLE, "detail"), "engine"));
    assert_own(&nothing, STLS_REJECT, STLS_REASON_CHAIN_NOT_CHECKABLE);
    assert_string_equal(field(&nothing, STLS_REASON_CHAIN_NOT_CHECKABLE, "detail"),
                        "its name holds variables");
}

static void purpose(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert client = aid_leaf_spec(), both = aid_leaf_spec();
    client.eku = "clientAuth";
    both.eku = "serverAuth,clientAuth";
    STACK_OF(X509) *of_client = aid_stack(aid_make_cert(&client), pki->inter, NULL);
    STACK_OF(X509) *of_both = aid_stack(aid_make_cert(&both), pki->inter, NULL);
    const struct {
        own_case c;
        stls_reason reason;
    } rows[] = {
        {{"serverAuth as server", .certs = whole()}, STLS_REASON_NONE},
        {{"serverAuth as client", STLS_ROLE_CLIENT, .certs = whole()}, STLS_REASON_CHAIN_PURPOSE},
        {{"clientAuth as client", STLS_ROLE_CLIENT, .certs = of_client}, STLS_REASON_NONE},
        {{"clientAuth as server", .certs = of_client}, STLS_REASON_CHAIN_PURPOSE},
        {{"both as server", .certs = of_both}, STLS_REASON_NONE},
        {{"both as client", STLS_ROLE_CLIENT, .certs = of_both}, STLS_REASON_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        own_case c = rows[i].c;
        c.key = aid_key(2);
        assert_own(&c, rows[i].reason == STLS_REASON_NONE ? STLS_PENDING : STLS_REJECT,
                   rows[i].reason);
    }
    own_case c = rows[1].c;
    c.key = aid_key(2);
    assert_non_null(strstr(field(&c, STLS_REASON_CHAIN_PURPOSE, "remedy"), "clientAuth"));
}

static void names(void **state)
{
    aid_cert spec = aid_leaf_spec(), cn = aid_leaf_spec();
    spec.san = "DNS:example.com,DNS:*.example.com,DNS:a.example.net,IP:192.0.2.1";
    cn.san = "";
    STACK_OF(X509) *many = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL);
    aid_cert ca = {.subject = "CN=Constrained,O=Lab", .key = 6, .is_ca = 1};
    ca.issuer = aid_usual_pki()->root;
    ca.name_constraints = "critical,excluded;DNS:foo.example.com";
    aid_cert wild = aid_leaf_spec();
    wild.san = "DNS:*.example.com";
    wild.issuer = aid_make_cert(&ca);
    wild.issuer_key = 6;
    STACK_OF(X509) *under = aid_stack(aid_make_cert(&wild), wild.issuer, NULL);
    STACK_OF(X509) *no_san = aid_stack(aid_make_cert(&cn), aid_usual_pki()->inter, NULL);
    const struct {
        own_case c;
        stls_reason reason;
    } rows[] = {
        {{"exact", .names = {"example.com"}}, STLS_REASON_NONE},
        {{"any case", .names = {"EXAMPLE.com."}}, STLS_REASON_NONE},
        {{"covered by wildcard", .names = {"www.example.com"}}, STLS_REASON_NONE},
        {{"two labels", .names = {"a.b.example.com"}}, STLS_REASON_NAME_MISMATCH},
        {{"the same wildcard", .names = {"*.example.com"}}, STLS_REASON_NONE},
        {{"name and wildcard", .names = {".example.com"}}, STLS_REASON_NONE},
        {{"wildcard over a name", .names = {"*.example.net"}}, STLS_REASON_NAME_MISMATCH},
        {{"wildcard below", .names = {"*.www.example.com"}}, STLS_REASON_NAME_MISMATCH},
        {{"half covered", .names = {".a.example.net"}}, STLS_REASON_NAME_MISMATCH},
        {{"address", .names = {"192.0.2.1"}}, STLS_REASON_NONE},
        {{"other address", .names = {"192.0.2.2"}}, STLS_REASON_NAME_MISMATCH},
        {{"one of many", .names = {"example.com", "a.example.net", "b.example.net"}},
         STLS_REASON_NAME_MISMATCH},
        {{"left out", .names = {"", "_", "~^www\\d+", "www.*", "a?.example.net", "*"}},
         STLS_REASON_NONE},
        {{"none", .names = {NULL}}, STLS_REASON_NONE},
        {{"client", STLS_ROLE_CLIENT, .names = {NULL}, .policy = "purpose=any"}, STLS_REASON_NONE},
        {{"excluded under a wildcard", .certs = under,
          .names = {"bar.example.com", "FOO.example.com."}},
         STLS_REASON_CHAIN_CONSTRAINT},
        {{"not excluded", .certs = under, .names = {"bar.example.com", "*.example.com"}},
         STLS_REASON_NONE},
        {{"no san", .certs = no_san, .names = {LEAF_NAME}}, STLS_REASON_NAME_NO_IDENTITY},
        {{"no san, fallback", .certs = no_san, .names = {LEAF_NAME},
          .policy = "name_cn_fallback=on"},
         STLS_REASON_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        own_case c = rows[i].c;
        c.key = aid_key(2);
        c.certs = c.certs != NULL ? c.certs : many;
        assert_own(&c, rows[i].reason == STLS_REASON_NONE ? STLS_PENDING : STLS_REJECT,
                   rows[i].reason);
    }
    own_case c = {"told", .certs = many, .key = aid_key(2),
                  .names = {"a.b", "c.b", "example.com", "d.b", "e.b", "f.b", "g.b", "h.b", "i.b",
                            "j.b", "k.b"}};
    const char *detail = field(&c, STLS_REASON_NAME_MISMATCH, "detail");
    assert_non_null(strstr(detail, "'a.b'"));
    assert_null(strstr(detail, "'example.com'"));
    assert_non_null(strstr(detail, "and 2 more"));
}

static const char *expiry(int64_t life_s, int64_t left_s, const char *policy)
{
    aid_cert spec = aid_leaf_spec();
    spec.not_after_s = NOW_S + left_s;
    spec.not_before_s = spec.not_after_s - life_s;
    own_case c = {"expiry", .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL),
                  .key = aid_key(2), .policy = policy};
    assert_own(&c, STLS_PENDING, STLS_REASON_NONE);
    assert_int_equal(aid_findings(judge(&c), STLS_REASON_CHAIN_EXPIRING, "warning"),
                     aid_findings(judge(&c), STLS_REASON_CHAIN_EXPIRING, NULL));
    return field(&c, STLS_REASON_CHAIN_EXPIRING, "detail");
}

static void dates(void **state)
{
    const struct {
        int64_t life_s, left_s;
        const char *policy;
        const char *span; /* NULL: no warning */
    } rows[] = {
        {90 * DAY_S, 15 * DAY_S, "", NULL},
        {90 * DAY_S, 14 * DAY_S, "", "within 14 days,"},
        {90 * DAY_S, 8 * DAY_S, "", "within 14 days,"},
        {90 * DAY_S, 7 * DAY_S, "", "within 7 days,"},
        {90 * DAY_S, HOUR_S, "", "within 1 day,"},
        {6 * DAY_S, 5 * DAY_S, "", NULL}, /* renewed every few days: only the last day is late */
        {6 * DAY_S, HOUR_S, "", "within 1 day,"},
        {2 * DAY_S, HOUR_S, "", NULL},
        {90 * DAY_S, 20 * DAY_S, "expiry_warn_s=2592000", "within 30 days,"},
        {90 * DAY_S, HOUR_S, "expiry_warn_s=7200,90", "within 2 hours,"},
        {90 * DAY_S, 60, "expiry_warn_s=7200,90", "within 90 seconds,"},
        {90 * DAY_S, HOUR_S, "expiry_warn_s=", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *detail = expiry(rows[i].life_s, rows[i].left_s, rows[i].policy);
        if (rows[i].span == NULL ? detail[0] != '\0' : strstr(detail, rows[i].span) == NULL) {
            fail_msg("row %zu: '%s'", i, detail);
        }
    }
    assert_non_null(strstr(expiry(90 * DAY_S, DAY_S, ""), "2026-09-22 14:13 UTC"));

    aid_cert spec = aid_leaf_spec();
    spec.not_after_s = NOW_S - 1;
    own_case expired = {"expired",
                        .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL),
                        .key = aid_key(2)};
    assert_own(&expired, STLS_REJECT, STLS_REASON_CHAIN_EXPIRED);
    assert_string_equal(field(&expired, STLS_REASON_CHAIN_EXPIRING, "detail"), "");
}

/* No verdict lives so long that a threshold, or what is new about the chain, is told much later. */
static void next_look(void **state)
{
    static const struct {
        const char *policy;
        int64_t left_s; /* of the certificate's life */
        int is_lost;    /* there is no result */
        int64_t in_s;
    } rows[] = {
        {"verdict_max_age_s=86400", 80 * DAY_S, 0, STLS_OWN_CHAIN_LOOK_S},
        {"verdict_max_age_s=7200", 80 * DAY_S, 0, STLS_OWN_CHAIN_LOOK_S},
        {"verdict_max_age_s=1800", 80 * DAY_S, 0, 1800},
        {"verdict_max_age_s=1", 80 * DAY_S, 0, 31},
        {"verdict_max_age_s=1 negative_ttl_s=0", 80 * DAY_S, 0, 1},
        {"verdict_max_age_s=86400 expiry_warn_s=1209600", 14 * DAY_S + 600, 0, 600},
        {"verdict_max_age_s=86400 expiry_warn_s=1209600", 14 * DAY_S + 5, 0, 31},
        {"verdict_max_age_s=86400 expiry_warn_s=1209600", 14 * DAY_S + 7200, 0,
         STLS_OWN_CHAIN_LOOK_S},
        {"verdict_max_age_s=86400 expiry_warn_s=1209600", 14 * DAY_S - 5, 0, STLS_OWN_CHAIN_LOOK_S},
        {"verdict_max_age_s=86400", -1, 0, 31}, /* rejected */
        {"verdict_max_age_s=86400", 80 * DAY_S, 1, 31},
        {"verdict_max_age_s=86400 negative_ttl_s=3600", 80 * DAY_S, 0, 3601},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_cert spec = aid_leaf_spec();
        spec.not_after_s = NOW_S + rows[i].left_s;
        spec.not_before_s = spec.not_after_s - 90 * DAY_S;
        own_case c = {"look",
                      .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL),
                      .key = aid_key(2), .policy = rows[i].policy};
        const stls_own_chain own = own_of(&c);
        int64_t next_s = stls_own_chain_next_look_s(aid_policy(rows[i].policy, NULL), &own,
                                                    rows[i].is_lost ? NULL : judge(&c), NOW_S);
        if (next_s - NOW_S != rows[i].in_s) {
            fail_msg("row %zu: in %lld s, wanted %lld", i, (long long)(next_s - NOW_S),
                     (long long)rows[i].in_s);
        }
    }
}

/* ---- lines ----------------------------------------------------------------------------- */

typedef struct {
    char lines[8][4096];
    stls_severity severities[8];
    size_t num;
} told;

static void hear(void *baton, stls_severity severity, const char *line)
{
    told *t = baton;
    t->severities[t->num] = severity;
    snprintf(t->lines[t->num++], sizeof(t->lines[0]), "%s", line);
}

static void every_finding_is_a_line(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    static told t;
    own_case c = {"all",
                  .certs = aid_stack(pki->leaf, pki->inter, pki->root, pki->other_root, NULL),
                  .key = aid_key(5), .names = {"other.example.com"}};
    (void)state;
    memset(&t, 0, sizeof(t));
    assert_int_equal(stls_own_chain_tell(judge(&c), "/etc/ssl/own.pem", STLS_NOTE, hear, &t), 4);
    assert_int_equal(t.num, 4);
    assert_int_equal(t.severities[0], STLS_ERROR);
    assert_int_equal(t.severities[1], STLS_ERROR);
    assert_int_equal(t.severities[2], STLS_WARNING);
    assert_int_equal(t.severities[3], STLS_NOTE);
    static const char begin[] = "strict-tls: self_check severity=error role=server "
                                "file=\"/etc/ssl/own.pem\" reason=chain.key_mismatch cert=0 "
                                "subject=\"CN=api.example.com\" detail=\"";
    assert_memory_equal(t.lines[0], begin, strlen(begin));
    assert_non_null(strstr(t.lines[0], "\" remedy=\""));
    assert_int_equal(stls_own_chain_tell(judge(&c), "f", STLS_WARNING, NULL, NULL), 3);
    assert_int_equal(stls_own_chain_tell(judge(&c), "f", STLS_ERROR, NULL, NULL), 2);

    memset(&t, 0, sizeof(t));
    assert_int_equal(stls_own_chain_tell(NULL, "f", STLS_ERROR, hear, &t), 1);
    assert_non_null(strstr(t.lines[0], "internal.memory"));
}

static void hostile_subject_stays_in_its_quotes(void **state)
{
    static told t;
    aid_cert spec = aid_leaf_spec();
    spec.subject = "CN=a\" reason=none\nstrict-tls: \x1b[2J";
    own_case c = {"hostile", .certs = aid_stack(aid_make_cert(&spec), NULL), .key = aid_key(2)};
    (void)state;
    memset(&t, 0, sizeof(t));
    assert_int_equal(stls_own_chain_tell(judge(&c), "a\"b\n", STLS_NOTE, hear, &t), 1);
    size_t num_quotes = 0;
    for (const char *p = t.lines[0]; *p != '\0'; p++) {
        assert_true(*p >= 0x20 && *p < 0x7f);
        if (*p == '\\') {
            p++;
        } else {
            num_quotes += *p == '"';
        }
    }
    assert_int_equal(num_quotes, 8); /* file, subject, detail, remedy */
}

/* ---- revocation, and what is news ---------------------------------------------------------- */

static stls_result *with_revocation(const own_case *c, aid_reply leaf_reply, size_t *num_fetches)
{
    const stls_own_chain own = own_of(c);
    aid_case replies = {.certs = c->certs};
    replies.replies[0] = leaf_reply;
    stls_check *check = stls_own_chain_check(aid_policy("", NULL), aid_usual_anchors(), &own,
                                             NOW_S);
    assert_non_null(check);
    stls_check_start(check, NOW_S);
    aid_finish(&replies, check, num_fetches);
    stls_result *result = stls_check_get1_result(check);
    stls_check_free(check);
    aid_keep((void (*)(void *))stls_result_free, result);
    return result;
}

static void revocation_goes_the_usual_way(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    own_case c = {"revoked", .certs = whole(), .key = aid_key(2), .names = {LEAF_NAME}};
    own_case misnamed = {"misnamed", .certs = whole(), .key = aid_key(2),
                         .names = {"b.example.com"}};
    own_case broken = {"broken", .certs = aid_stack(pki->leaf, NULL), .key = aid_key(2)};
    aid_reply good = {0}, revoked = {STLS_FETCH_OK, aid_ocsp_about(pki->leaf, pki->inter, 1,
                                                                   V_OCSP_CERTSTATUS_REVOKED)};
    aid_reply silent = {STLS_FETCH_TIMEOUT, {NULL, 0}};
    size_t num_fetches = 0;
    (void)state;

    assert_result(with_revocation(&c, good, &num_fetches), STLS_ACCEPT, STLS_REASON_NONE);
    assert_int_equal(num_fetches, 2);
    assert_result(with_revocation(&c, revoked, &num_fetches), STLS_REJECT,
                  STLS_REASON_OCSP_REVOKED);
    stls_result *unreachable = with_revocation(&c, silent, &num_fetches);
    assert_int_equal(stls_result_verdict(unreachable), STLS_REJECT);
    assert_true(aid_findings(unreachable, STLS_REASON_FETCH_TIMEOUT, NULL) >= 1);
    /* A wrong name keeps nobody from looking; a broken chain leads nowhere. */
    assert_result(with_revocation(&misnamed, good, &num_fetches), STLS_REJECT,
                  STLS_REASON_NAME_MISMATCH);
    assert_int_equal(num_fetches, 2);
    assert_result(with_revocation(&broken, good, &num_fetches), STLS_REJECT,
                  STLS_REASON_CHAIN_INCOMPLETE);
    assert_int_equal(num_fetches, 0);

    unsigned char a[STLS_ID_LEN], b[STLS_ID_LEN];
    assert_int_equal(stls_own_chain_news_id(with_revocation(&c, good, &num_fetches), a), STLS_OK);
    assert_int_equal(stls_own_chain_news_id(judge(&c), b), STLS_OK);
    assert_memory_equal(a, b, STLS_ID_LEN);
    assert_int_equal(stls_own_chain_news_id(with_revocation(&c, revoked, &num_fetches), b),
                     STLS_OK);
    assert_memory_not_equal(a, b, STLS_ID_LEN);
    assert_int_equal(stls_own_chain_news_id(NULL, b), STLS_ERR_MEMORY);
}

/* Another threshold is news, another hour within it is not. */
static void thresholds_are_news(void **state)
{
    aid_cert spec = aid_leaf_spec();
    unsigned char ids[3][STLS_ID_LEN];
    static const int64_t left_s[] = {6 * DAY_S, 5 * DAY_S, 12 * HOUR_S};
    (void)state;
    spec.not_after_s = NOW_S + 6 * DAY_S;
    own_case c = {"news", .certs = aid_stack(aid_make_cert(&spec), aid_usual_pki()->inter, NULL),
                  .key = aid_key(2)};
    const stls_own_chain own = own_of(&c);
    for (size_t i = 0; i < 3; i++) {
        stls_result *result = stls_own_chain_judge(aid_policy("", NULL), aid_usual_anchors(), &own,
                                                   spec.not_after_s - left_s[i]);
        assert_int_equal(stls_own_chain_news_id(result, ids[i]), STLS_OK);
        stls_result_free(result);
    }
    assert_memory_equal(ids[0], ids[1], STLS_ID_LEN);
    assert_memory_not_equal(ids[1], ids[2], STLS_ID_LEN);
}

static void out_of_memory_is_never_silent(void **state)
{
    aid_heap heap = {0};
    stls_allocator allocator = aid_allocator(&heap);
    own_case c = {"memory", .certs = aid_stack(aid_usual_pki()->leaf, NULL), .key = aid_key(5),
                  .names = {"b.example.com"}};
    const stls_own_chain own = own_of(&c);
    stls_policy *policy = stls_policy_new(&allocator);
    stls_anchors *anchors = aid_usual_anchors();
    (void)state;

    assert_int_equal(stls_policy_freeze(policy, NULL), STLS_OK);
    heap.num_allocs = 0;
    stls_result_free(stls_own_chain_judge(policy, anchors, &own, NOW_S));
    size_t num_allocs = heap.num_allocs;
    assert_true(num_allocs > 10);
    for (size_t i = 1; i <= num_allocs; i++) {
        heap.num_allocs = 0;
        heap.fail_at = i;
        stls_result *result = stls_own_chain_judge(policy, anchors, &own, NOW_S);
        assert_true(result == NULL || stls_result_verdict(result) == STLS_REJECT);
        stls_result_free(result);
        ERR_clear_error();
    }
    heap.fail_at = 0;
    stls_policy_free(policy);
    assert_int_equal(heap.num_live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_chain_is_silent),
        cmocka_unit_test(presentation),
        cmocka_unit_test(remedies),
        cmocka_unit_test(key),
        cmocka_unit_test(purpose),
        cmocka_unit_test(names),
        cmocka_unit_test(dates),
        cmocka_unit_test(every_finding_is_a_line),
        cmocka_unit_test(hostile_subject_stays_in_its_quotes),
        cmocka_unit_test(revocation_goes_the_usual_way),
        cmocka_unit_test(thresholds_are_news),
        cmocka_unit_test(next_look),
        cmocka_unit_test(out_of_memory_is_never_silent),
    };
    return cmocka_run_group_tests_name("own_chain", tests, NULL, aid_end);
}
