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
    stls_crl *at_hand;
    char asked[512]; /* URLs in the order asked, "!" behind those that no cache may answer */
    char kept[512];  /* of those, what the host may keep; "?" is remembered as a failure */
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

    c->kept[0] = '\0';
    if (c->at_hand != NULL) {
        stls_check_add_crl(check, c->at_hand);
    }
    stls_check_start(check, NOW_S);
    while (stls_check_next_fetch(check, &fetch)) {
        stls_reply reply = reply_to(c, &fetch);
        stls_answer answer;
        size_t used = strlen(c->asked);
        const char *name = strrchr(fetch.url, '/') + 1;
        snprintf(c->asked + used, sizeof(c->asked) - used, "%s%s%s", used ? " " : "",
                 fetch.is_crl ? name : "ocsp", fetch.may_use_cache ? "" : "!");
        stls_check_feed(check, fetch.id, &reply, NOW_S);
        assert_int_equal(stls_check_get_answer(check, fetch.id, &answer), STLS_OK);
        used = strlen(c->kept);
        if (answer.conclusive || answer.retry_at_s > NOW_S) {
            snprintf(c->kept + used, sizeof(c->kept) - used, "%s%s%s", used ? " " : "",
                     fetch.is_crl ? name : "ocsp", answer.conclusive ? "" : "?");
        }
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

static void newer_base_shape(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 6);
    add_freshest(crl);
}

static void delta_shape(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 6);
    aid_add_crl_number(crl, NID_delta_crl, 5);
}

static void newer_delta_shape(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 9);
    aid_add_crl_number(crl, NID_delta_crl, 5);
}

static void late_delta_shape(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 9);
    aid_add_crl_number(crl, NID_delta_crl, 7);
}

static void old_delta_shape(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 4);
    aid_add_crl_number(crl, NID_delta_crl, 3);
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

/* What settled nothing is not kept: else the real delta would be asked for no more. */
static void trap_13_only_what_is_proof_is_kept(void **state)
{
    X509 *leaf = leaf_with("URI:" FIRST, ""), *inter = aid_usual_pki()->inter;
    const aid_crl base = {.shape = base_shape}, real = {.shape = delta_shape};
    const aid_crl forged = {.shape = delta_shape, .issuer = inter, .issuer_key = 6};
    const aid_crl forged_newer = {.shape = newer_delta_shape, .issuer = inter, .issuer_key = 6};
    const aid_crl weak = {.shape = delta_shape, .digest = "SHA1"};
    const aid_crl on_a_newer = {.shape = late_delta_shape};
    const aid_crl older = {.shape = old_delta_shape};
    const aid_crl by_root = {.shape = delta_shape, .issuer = aid_usual_pki()->root};
    const aid_crl past = {.shape = delta_shape, .next_update_s = NOW_S - HOUR_S};
    const aid_crl ahead = {.shape = delta_shape, .this_update_s = NOW_S + HOUR_S};
    const aid_crl no_delta = {0}, past_base = {.next_update_s = NOW_S - HOUR_S};
    const aid_crl no_delta_by_root = {.issuer = aid_usual_pki()->root};
    const aid_crl revoking = {.shape = delta_shape, .revoked = {leaf}};
    const aid_crl newer_base = {.shape = newer_base_shape};
    const struct {
        const char *what;
        const aid_crl *delta;
        stls_reason wanted;
        int is_kept;
    } rows[] = {
        {"real", &real, STLS_REASON_NONE, 1},
        {"revoking", &revoking, STLS_REASON_CRL_REVOKED, 1},
        {"forged", &forged, STLS_REASON_NONE, 0},
        {"forged and newer", &forged_newer, STLS_REASON_NONE, 0},
        {"weak", &weak, STLS_REASON_NONE, 0},
        {"on a base to come", &on_a_newer, STLS_REASON_NONE, 0},
        {"older than the base", &older, STLS_REASON_NONE, 0},
        {"another issuer's", &by_root, STLS_REASON_NONE, 0},
        {"past its time", &past, STLS_REASON_NONE, 0},
        {"from the future", &ahead, STLS_REASON_NONE, 0},
        {"the base again", &base, STLS_REASON_NONE, 0},
        {"another complete CRL", &no_delta, STLS_REASON_NONE, 0},
        {"a newer complete CRL", &newer_base, STLS_REASON_NONE, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        web_case c = {.leaf = leaf};
        c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, aid_make_crl(&base)};
        c.pages[1] = (web_page){DELTA, STLS_FETCH_OK, aid_make_crl(rows[i].delta)};
        assert_run(&c, rows[i].wanted, "first delta");
        assert_string_equal(c.kept, rows[i].is_kept ? "first delta" : "first delta?");
        /* Out of a cache it is asked for once more, and nothing is remembered of the cache's. */
        c.pages[1].outcome = STLS_FETCH_CACHED;
        c.pages[2] = (web_page){DELTA, STLS_FETCH_OK, aid_make_crl(&revoking)};
        assert_run(&c, rows[i].is_kept ? rows[i].wanted : STLS_REASON_CRL_REVOKED,
                   rows[i].is_kept ? "first delta" : "first delta delta!");
        assert_string_equal(c.kept, "first delta");
    }
    /* The same of a complete CRL beside one that is at hand. */
    web_case c = {.leaf = leaf, .at_hand = aid_index_crl(aid_make_crl(&no_delta))};
    assert_run(&c, STLS_REASON_NONE, "");
    c.at_hand = aid_index_crl(aid_make_crl(&past_base));
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, aid_make_crl(&no_delta_by_root)};
    assert_run(&c, STLS_REASON_CRL_STALE, "first");
    assert_string_equal(c.kept, "first?");
}

static unsigned int some_reasons;

static void reasons_shape(X509_CRL *crl)
{
    ISSUING_DIST_POINT *idp = ISSUING_DIST_POINT_new();
    AID_NEED(idp && (idp->onlysomereasons = ASN1_BIT_STRING_new()));
    for (int i = 0; i < 9; i++) {
        AID_NEED(ASN1_BIT_STRING_set_bit(idp->onlysomereasons, i, some_reasons >> i & 1));
    }
    AID_NEED(X509_CRL_add1_ext_i2d(crl, NID_issuing_distribution_point, idp, 1, 0));
    ISSUING_DIST_POINT_free(idp);
}

/* One that covers some reasons is proof of those: kept, and no failure. */
static void trap_13_crls_split_by_reason_are_kept(void **state)
{
    web_case c = {.leaf = leaf_with("URI:" FIRST ",URI:" SECOND, "")};
    (void)state;
    some_reasons = 0x1e;
    aid_bytes one = aid_make_crl(&(aid_crl){.shape = reasons_shape});
    some_reasons = 0x1e0;
    aid_bytes other = aid_make_crl(&(aid_crl){.shape = reasons_shape});
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, one};
    c.pages[1] = (web_page){SECOND, STLS_FETCH_OK, other};
    assert_run(&c, STLS_REASON_NONE, "first second");
    assert_string_equal(c.kept, "first second");
    c.pages[0].outcome = c.pages[1].outcome = STLS_FETCH_CACHED;
    assert_run(&c, STLS_REASON_NONE, "first second");
    c.pages[1] = (web_page){SECOND, STLS_FETCH_OK, one};
    assert_run(&c, STLS_REASON_CRL_WRONG_SCOPE, "first second");
    assert_string_equal(c.kept, "first second?"); /* it is not what is missing */
    /* Out of a cache: the CA is asked, and has the other one. */
    c.pages[1].outcome = STLS_FETCH_CACHED;
    c.pages[2] = (web_page){SECOND, STLS_FETCH_OK, other};
    assert_run(&c, STLS_REASON_NONE, "first second second!");
    assert_string_equal(c.kept, "first second");
}

/* The same URL twice: what it gives is the same, and is kept, not asked for again. */
static void one_url_twice(void **state)
{
    web_case c = {.leaf = leaf_with("URI:" FIRST ",URI:" FIRST, "")};
    (void)state;
    some_reasons = 0x1e;
    aid_bytes one = aid_make_crl(&(aid_crl){.shape = reasons_shape});
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, one};
    assert_run(&c, STLS_REASON_CRL_WRONG_SCOPE, "first first");
    assert_string_equal(c.kept, "first first");
    c.pages[0].outcome = STLS_FETCH_CACHED;
    assert_run(&c, STLS_REASON_CRL_WRONG_SCOPE, "first first");
    assert_string_equal(c.kept, "first first");
}

static void reasons_delta_shape(X509_CRL *crl)
{
    delta_shape(crl);
    reasons_shape(crl);
}

static void reasons_base_shape(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 5);
    reasons_shape(crl);
}

/* A delta of the one is not the other complete CRL, either. */
static void trap_13_a_delta_is_no_complete_crl(void **state)
{
    web_case c = {.leaf = leaf_with("URI:" FIRST ",URI:" SECOND, "")};
    (void)state;
    some_reasons = 0x1e;
    aid_bytes one = aid_make_crl(&(aid_crl){.shape = reasons_base_shape});
    aid_bytes delta = aid_make_crl(&(aid_crl){.shape = reasons_delta_shape});
    aid_bytes revoking = aid_make_crl(
        &(aid_crl){.shape = reasons_delta_shape, .revoked = {c.leaf}});
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, one};
    c.pages[1] = (web_page){SECOND, STLS_FETCH_OK, delta};
    assert_run(&c, STLS_REASON_CRL_WRONG_SCOPE, "first second");
    assert_string_equal(c.kept, "first second?");
    c.pages[1].bytes = revoking;
    assert_run(&c, STLS_REASON_CRL_REVOKED, "first second");
    assert_string_equal(c.kept, "first second");
}

/* Only a CRL whose signature is verified chooses what this host connects to. */
static void trap_24_a_delta_is_fetched_for_verified_bases_only(void **state)
{
    X509 *leaf = leaf_with("URI:" FIRST, ""), *inter = aid_usual_pki()->inter;
    const aid_crl forged = {.shape = base_shape, .issuer = inter, .issuer_key = 6};
    const aid_crl weak = {.shape = base_shape, .digest = "SHA1"};
    const aid_crl by_root = {.shape = base_shape, .issuer = aid_usual_pki()->root};
    const aid_crl past = {.shape = base_shape, .next_update_s = NOW_S - HOUR_S};
    const aid_crl real = {.shape = base_shape}, plain = {0};
    const struct {
        const aid_crl *at_hand;
        const char *asked;
    } rows[] = {
        {&forged, "first"}, {&weak, "first"}, {&by_root, "first"},
        {&past, "first"},   {&plain, ""},     {&real, "delta"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        web_case c = {.leaf = leaf, .at_hand = aid_index_crl(aid_make_crl(rows[i].at_hand))};
        c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, aid_make_crl(&plain)};
        assert_run(&c, STLS_REASON_NONE, rows[i].asked);
    }
}

/* A delta that may not be fetched takes nothing away from its base. */
static void trap_13_delta_beyond_max_fetches(void **state)
{
    web_case c = {.policy = "revocation_scope=leaf max_fetches=1",
                  .leaf = leaf_with("URI:" FIRST, "")};
    (void)state;
    c.pages[0] = (web_page){FIRST, STLS_FETCH_OK, aid_make_crl(&(aid_crl){.shape = base_shape})};
    c.pages[1] = (web_page){DELTA, STLS_FETCH_OK,
                            aid_make_crl(&(aid_crl){.shape = delta_shape, .revoked = {c.leaf}})};
    assert_run(&c, STLS_REASON_NONE, "first");
    c.policy = "revocation_scope=leaf max_fetches=2";
    assert_run(&c, STLS_REASON_CRL_REVOKED, "first delta");
}

static void broken_freshest_shape(X509_CRL *crl)
{
    static const unsigned char junk[] = {0x30, 0x03, 0x02, 0x01};
    ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
    AID_NEED(octets && ASN1_OCTET_STRING_set(octets, junk, sizeof(junk)));
    X509_EXTENSION *extension = X509_EXTENSION_create_by_NID(NULL, NID_freshest_crl, 0, octets);
    AID_NEED(extension && X509_CRL_add_ext(crl, extension, -1));
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(octets);
}

/* Where a delta lies is a hint: one that cannot be read makes no CRL useless. */
static void freshest_that_cannot_be_read(void **state)
{
    const char *policies[] = {"revocation_scope=leaf", "revocation_scope=leaf revocation=soft"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        web_case c = {.policy = policies[i], .leaf = leaf_with("URI:" FIRST, "")};
        c.pages[0] = (web_page){FIRST, STLS_FETCH_OK,
                                aid_make_crl(&(aid_crl){.shape = broken_freshest_shape})};
        assert_run(&c, STLS_REASON_NONE, "first");
        c.pages[0].bytes = aid_make_crl(
            &(aid_crl){.shape = broken_freshest_shape, .revoked = {c.leaf}});
        assert_run(&c, STLS_REASON_CRL_REVOKED, "first");
    }
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
        stls_crl *crl = aid_index_crl(aid_make_crl(&rows[i].spec));
        stls_crl *fetched = aid_index_crl(aid_make_crl(&(aid_crl){0}));
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
        stls_crl *crl = aid_index_crl(
            aid_make_crl(&(aid_crl){.revoked = {is_revoked ? leaf : NULL}}));
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
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_url),
        cmocka_unit_test(second_url_after_the_first),
        cmocka_unit_test(cached_crls),
        cmocka_unit_test(trap_13_delta_that_the_base_names),
        cmocka_unit_test(trap_13_only_what_is_proof_is_kept),
        cmocka_unit_test(trap_13_crls_split_by_reason_are_kept),
        cmocka_unit_test(one_url_twice),
        cmocka_unit_test(trap_13_a_delta_is_no_complete_crl),
        cmocka_unit_test(trap_24_a_delta_is_fetched_for_verified_bases_only),
        cmocka_unit_test(trap_13_delta_beyond_max_fetches),
        cmocka_unit_test(freshest_that_cannot_be_read),
        cmocka_unit_test(trap_16_after_ocsp_has_failed),
        cmocka_unit_test(only_http_urls_are_asked),
        cmocka_unit_test(crls_at_hand),
        cmocka_unit_test(answer_says_how_long_it_serves),
    };
    return cmocka_run_group_tests_name("rung_crl", tests, NULL, aid_end);
}
