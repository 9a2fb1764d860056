/* The CRL rung: what is fetched, in which order, and what each answer leads to. */
#include "support_crl.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/x509v3.h>

#define FIRST "http://crl.example.com/first"
#define SECOND "http://crl.example.com/second"
#define DELTA "http://crl.example.com/delta"

/* What a URL gives: bytes, or a failure. */
typedef struct {
    const char *url;
    stls_fetch_outcome outcome;
    aid_bytes bytes;
} web_page;

typedef struct {
    const char *policy;
    X509 *leaf;
    web_page pages[4];
    char asked[512]; /* URLs in the order asked, "!" behind those that no cache may answer */
} web_case;

static X509 *leaf_with(const char *crl, const char *aia)
{
    aid_cert spec = aid_leaf_spec();
    spec.crl = crl;
    spec.aia = aia;
    return aid_make_cert(&spec);
}

static stls_reply reply_to(const web_case *c, const stls_fetch *fetch)
{
    for (size_t i = 0; i < 4 && c->pages[i].url != NULL; i++) {
        const web_page *page = &c->pages[i];
        int is_cached = page->outcome == STLS_FETCH_CACHED;
        if (strncmp(page->url, fetch->url, strlen(page->url)) == 0
            && (!is_cached || fetch->may_use_cache)) {
            return (stls_reply){page->outcome, page->bytes.bytes, page->bytes.len, NULL};
        }
    }
    return (stls_reply){STLS_FETCH_NETWORK, NULL, 0, NULL};
}

static stls_reason run(web_case *c)
{
    aid_case whole = {.policy = c->policy != NULL ? c->policy : "revocation_scope=leaf",
                      .certs = aid_stack(c->leaf, aid_usual_pki()->inter, NULL)};
    stls_check *check = aid_new_check(&whole, NULL);
    stls_fetch fetch;

    stls_check_start(check, NOW_S);
    while (stls_check_next_fetch(check, &fetch)) {
        stls_reply reply = reply_to(c, &fetch);
        size_t used = strlen(c->asked);
        const char *name = strrchr(fetch.url, '/') + 1;
        snprintf(c->asked + used, sizeof(c->asked) - used, "%s%s%s", used ? " " : "",
                 fetch.is_crl ? name : "ocsp", fetch.may_use_cache ? "" : "!");
        stls_check_feed(check, fetch.id, &reply, NOW_S);
    }
    return aid_conclude(check);
}

#define assert_run(c, wanted, wanted_asked)                                                        \
    do {                                                                                           \
        (c)->asked[0] = '\0';                                                                      \
        assert_string_equal(stls_reason_id(run(c)), stls_reason_id(wanted));                       \
        assert_string_equal((c)->asked, wanted_asked);                                             \
    } while (0)

static void one_url(void **state)
{
    web_case c = {.leaf = leaf_with("URI:" FIRST, "")};
    (void)state;
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, aid_make_crl(&(aid_crl){0})};
    assert_run(&c, STLS_REASON_NONE, "first");
    c.pages[0].bytes = aid_make_crl(&(aid_crl){.revoked = {c.leaf}});
    assert_run(&c, STLS_REASON_CRL_REVOKED, "first");
    c.pages[0].bytes = (aid_bytes){(unsigned char *)"junk", 4};
    assert_run(&c, STLS_REASON_CRL_MALFORMED, "first");
    c.pages[0].outcome = STLS_FETCH_TIMEOUT;
    assert_run(&c, STLS_REASON_FETCH_TIMEOUT, "first");
}

static void second_url_after_the_first(void **state)
{
    aid_bytes good = aid_make_crl(&(aid_crl){0});
    aid_bytes stale = aid_make_crl(&(aid_crl){.next_update_s = NOW_S - HOUR_S});
    web_case c = {.leaf = leaf_with("URI:" FIRST ",URI:" SECOND, "")};
    (void)state;
    c.pages[0] = (web_page){FIRST, STLS_FETCH_NETWORK, {NULL, 0}};
    c.pages[1] = (web_page){SECOND, STLS_FETCH_OK, good};
    assert_run(&c, STLS_REASON_NONE, "first second");
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, stale};
    assert_run(&c, STLS_REASON_NONE, "first second");
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, good};
    assert_run(&c, STLS_REASON_NONE, "first");
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, stale};
    c.policy = "revocation_scope=leaf max_urls_per_cert=1";
    assert_run(&c, STLS_REASON_CRL_STALE, "first");
}

/* What a cache gave and is refused is asked for again, of the CA; a good one ends the matter. */
static void cached_crls(void **state)
{
    aid_bytes good = aid_make_crl(&(aid_crl){0}), junk = {(unsigned char *)"junk", 4};
    aid_bytes stale = aid_make_crl(&(aid_crl){.next_update_s = NOW_S - HOUR_S});
    web_case c = {.leaf = leaf_with("URI:" FIRST, "")};
    (void)state;
    c.pages[1] = (web_page){FIRST, STLS_FETCH_OK, aid_make_crl(&(aid_crl){.revoked = {c.leaf}})};
    c.pages[0] = (web_page){FIRST, STLS_FETCH_CACHED, good};
    assert_run(&c, STLS_REASON_NONE, "first");
    c.pages[0].bytes = junk;
    assert_run(&c, STLS_REASON_CRL_REVOKED, "first first!");
    c.pages[0].bytes = stale;
    assert_run(&c, STLS_REASON_CRL_REVOKED, "first first!");
    c.pages[1].outcome = STLS_FETCH_NETWORK;
    assert_run(&c, STLS_REASON_FETCH_NETWORK, "first first!");
}

static void add_freshest(X509_CRL *crl)
{
    CRL_DIST_POINTS *points = sk_DIST_POINT_new_null();
    DIST_POINT *point = DIST_POINT_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *url = ASN1_IA5STRING_new();
    AID_NEED(points && point && name && url && ASN1_STRING_set(url, DELTA, -1));
    GENERAL_NAME_set0_value(name, GEN_URI, url);
    AID_NEED(point->distpoint = DIST_POINT_NAME_new());
    point->distpoint->type = 0;
    AID_NEED(point->distpoint->name.fullname = GENERAL_NAMES_new());
    AID_NEED(sk_GENERAL_NAME_push(point->distpoint->name.fullname, name));
    AID_NEED(sk_DIST_POINT_push(points, point));
    AID_NEED(X509_CRL_add1_ext_i2d(crl, NID_freshest_crl, points, 0, 0));
    CRL_DIST_POINTS_free(points);
}

static void base_shape(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 5);
    add_freshest(crl);
}

static void delta_shape(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 6);
    aid_add_crl_number(crl, NID_delta_crl, 5);
}

/* RFC 5280 section 5.2.6: the base names its delta, which is asked for once. */
static void trap_13_delta_that_the_base_names(void **state)
{
    web_case c = {.leaf = leaf_with("URI:" FIRST, "")};
    (void)state;
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, aid_make_crl(&(aid_crl){.shape = base_shape})};
    c.pages[1] = (web_page){DELTA, STLS_FETCH_OK, aid_make_crl(&(aid_crl){.shape = delta_shape})};
    assert_run(&c, STLS_REASON_NONE, "first delta");
    c.pages[1].bytes = aid_make_crl(&(aid_crl){.shape = delta_shape, .revoked = {c.leaf}});
    assert_run(&c, STLS_REASON_CRL_REVOKED, "first delta");
    c.pages[1].outcome = STLS_FETCH_NETWORK; /* takes nothing away from a base that is fresh */
    assert_run(&c, STLS_REASON_NONE, "first delta");
    c.pages[1] = (web_page){DELTA, STLS_FETCH_OK, {(unsigned char *)"junk", 4}};
    assert_run(&c, STLS_REASON_NONE, "first delta");
    /* A base that says revoked needs no delta. */
    c.pages[0].bytes = aid_make_crl(&(aid_crl){.shape = base_shape, .revoked = {c.leaf}});
    assert_run(&c, STLS_REASON_CRL_REVOKED, "first");
}

static void trap_16_after_ocsp_has_failed(void **state)
{
    aid_bytes good = aid_make_crl(&(aid_crl){0});
    web_case c = {.leaf = leaf_with("URI:" FIRST, "OCSP;URI:" LEAF_OCSP_URL)};
    (void)state;
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, good};
    assert_run(&c, STLS_REASON_NONE, "ocsp first");
    c.pages[0].bytes = aid_make_crl(&(aid_crl){.revoked = {c.leaf}});
    assert_run(&c, STLS_REASON_CRL_REVOKED, "ocsp first");
    c.pages[0].outcome = STLS_FETCH_HTTP;
    assert_run(&c, STLS_REASON_FETCH_HTTP, "ocsp first");
    c.policy = "revocation_scope=leaf revocation_sources=crl,ocsp";
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, good};
    assert_run(&c, STLS_REASON_NONE, "first");
    c.policy = "revocation_scope=leaf revocation_sources=ocsp";
    assert_run(&c, STLS_REASON_FETCH_NETWORK, "ocsp");
}

static void only_http_urls_are_asked(void **state)
{
    web_case c = {.leaf = leaf_with("URI:https://crl.example.com/a,URI:ldap://x/y", "")};
    (void)state;
    assert_run(&c, STLS_REASON_REVOCATION_INCONCLUSIVE, "");
    c.leaf = leaf_with("URI:ldap://x/y,URI:" FIRST, "");
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, aid_make_crl(&(aid_crl){0})};
    assert_run(&c, STLS_REASON_NONE, "first");
}

static stls_crl *indexed(aid_bytes bytes)
{
    unsigned char *copy = malloc(bytes.len);
    memcpy(copy, bytes.bytes, bytes.len);
    stls_crl *crl = stls_crl_new(NULL, copy, bytes.len, free);
    while (stls_crl_step(crl, 4096) == STLS_CRL_MORE) {
    }
    return crl;
}

/* One that is at hand is not fetched; one that proves nothing is no hindrance. */
static void crls_at_hand(void **state)
{
    X509 *leaf = leaf_with("URI:" FIRST, "");
    const struct {
        aid_crl spec;
        stls_reason wanted;
        int is_fetched;
    } rows[] = {
        {{0}, STLS_REASON_NONE, 0},
        {{.revoked = {leaf}}, STLS_REASON_CRL_REVOKED, 0},
        {{.next_update_s = NOW_S - HOUR_S}, STLS_REASON_NONE, 1},
        {{.issuer = aid_usual_pki()->root}, STLS_REASON_NONE, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case whole = {.policy = "revocation_scope=leaf",
                          .certs = aid_stack(leaf, aid_usual_pki()->inter, NULL)};
        stls_check *check = aid_new_check(&whole, NULL);
        stls_crl *crl = indexed(aid_make_crl(&rows[i].spec));
        stls_crl *fetched = indexed(aid_make_crl(&(aid_crl){0}));
        stls_fetch fetch;
        assert_int_equal(stls_check_add_crl(check, crl), STLS_OK);
        stls_check_start(check, NOW_S);
        int is_fetched = stls_check_next_fetch(check, &fetch);
        if (is_fetched) {
            stls_check_feed_crl(check, fetch.id, fetched, 0, NOW_S);
        }
        assert_int_equal(is_fetched, rows[i].is_fetched);
        assert_int_equal(aid_reason(check), rows[i].wanted);
        stls_check_free(check);
        stls_crl_free(crl);
        stls_crl_free(fetched);
    }
}

/* What the host may do with the answer it has fed. */
static void answer_says_how_long_it_serves(void **state)
{
    X509 *leaf = leaf_with("URI:" FIRST, "");
    (void)state;
    for (int is_revoked = 0; is_revoked < 2; is_revoked++) {
        aid_case whole = {.policy = "revocation_scope=leaf",
                          .certs = aid_stack(leaf, aid_usual_pki()->inter, NULL)};
        stls_check *check = aid_new_check(&whole, NULL);
        stls_crl *crl = indexed(aid_make_crl(&(aid_crl){.revoked = {is_revoked ? leaf : NULL}}));
        stls_fetch fetch;
        stls_answer answer;
        stls_check_start(check, NOW_S);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
        assert_true(fetch.is_crl);
        stls_check_feed_crl(check, fetch.id, crl, 0, NOW_S);
        assert_int_equal(stls_check_get_answer(check, fetch.id, &answer), STLS_OK);
        assert_int_equal(answer.conclusive, 1);
        assert_int_equal(answer.revoked, is_revoked);
        assert_int_equal(answer.produced_s, NOW_S - HOUR_S);
        assert_int_equal(answer.use_until_s, NOW_S + DAY_S);
        assert_int_equal(answer.refresh_at_s, NOW_S - HOUR_S + (DAY_S + HOUR_S) / 2);
        stls_check_free(check);
        stls_crl_free(crl);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_url),
        cmocka_unit_test(second_url_after_the_first),
        cmocka_unit_test(cached_crls),
        cmocka_unit_test(trap_13_delta_that_the_base_names),
        cmocka_unit_test(trap_16_after_ocsp_has_failed),
        cmocka_unit_test(only_http_urls_are_asked),
        cmocka_unit_test(crls_at_hand),
        cmocka_unit_test(answer_says_how_long_it_serves),
    };
    return cmocka_run_group_tests_name("rung_crl", tests, NULL, aid_end);
}
