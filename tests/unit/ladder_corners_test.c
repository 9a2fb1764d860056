/* Corners of the ladder: its bounds, its end, and what comes when it is over. */
#include "support_crl.h"

#include <stdio.h>
#include <stdlib.h>

#define CRL_URL "http://crl.example.com/a"

static X509 *leaf_with(const char *aia, const char *crl)
{
    aid_cert spec = aid_leaf_spec();
    spec.aia = aia;
    spec.crl = crl;
    return aid_make_cert(&spec);
}

static stls_check *started(const char *policy, X509 *leaf, aid_bytes staple)
{
    aid_case c = {
        .policy = policy, .staple = staple, .certs = aid_stack(leaf, aid_usual_pki()->inter, NULL)};
    stls_check *check = aid_new_check(&c, NULL);
    stls_check_start(check, NOW_S);
    return check;
}

static stls_reply ok(aid_bytes bytes)
{
    return (stls_reply){STLS_FETCH_OK, bytes.bytes, bytes.len, NULL};
}

/* The bound is on what one check asks for, whichever rung asks. */
static void max_fetches_counts_all_rungs(void **state)
{
    static const struct {
        const char *policy;
        int num_fetches;
        stls_reason reason;
    } rows[] = {
        {"revocation_scope=leaf max_fetches=0", 0, STLS_REASON_FETCH_DENIED},
        {"revocation_scope=leaf max_fetches=1", 1, STLS_REASON_FETCH_DENIED},
        {"revocation_scope=leaf max_fetches=2", 2, STLS_REASON_NONE},
    };
    aid_bytes crl = aid_make_crl(&(aid_crl){0});
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_check *check = started(rows[i].policy,
                                    leaf_with("OCSP;URI:" LEAF_OCSP_URL, "URI:" CRL_URL),
                                    (aid_bytes){NULL, 0});
        stls_fetch fetch;
        int num = 0;
        while (stls_check_next_fetch(check, &fetch)) {
            stls_reply reply = {.outcome = STLS_FETCH_HTTP};
            if (fetch.is_crl) {
                reply = ok(crl);
            }
            stls_check_feed(check, fetch.id, &reply, NOW_S);
            num++;
        }
        assert_int_equal(num, rows[i].num_fetches);
        assert_int_equal(aid_reason(check), rows[i].reason);
        stls_check_free(check);
    }
}

/* Asking again because a cache's answer was refused is the same question. */
static void refused_cache_costs_no_fetch(void **state)
{
    stls_check *check = started("revocation_scope=leaf max_fetches=1", aid_usual_pki()->leaf,
                                (aid_bytes){NULL, 0});
    aid_bytes good = aid_ocsp_about(aid_usual_pki()->leaf, aid_usual_pki()->inter, 1, 0);
    stls_reply junk = {STLS_FETCH_CACHED, (const unsigned char *)"junk", 4, NULL};
    stls_reply fresh = ok(good);
    stls_fetch fetch;
    (void)state;
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_true(fetch.may_use_cache);
    assert_int_equal(stls_check_feed(check, fetch.id, &junk, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_false(fetch.may_use_cache);
    assert_int_equal(stls_check_feed(check, fetch.id, &fresh, NOW_S), STLS_ACCEPT);
    stls_check_free(check);
}

/* Answers of the wrong kind prove nothing: a CRL where OCSP was asked, and the other way round. */
static void answers_of_the_wrong_kind(void **state)
{
    X509 *leaf = leaf_with("OCSP;URI:" LEAF_OCSP_URL, "URI:" CRL_URL);
    aid_bytes crl = aid_make_crl(&(aid_crl){0});
    aid_bytes ocsp = aid_ocsp_about(leaf, aid_usual_pki()->inter, 1, 0);
    stls_check *check = started("revocation_scope=leaf", leaf, (aid_bytes){NULL, 0});
    stls_fetch fetch;
    (void)state;
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_false(fetch.is_crl);
    stls_reply reply = ok(crl);
    assert_int_equal(stls_check_feed(check, fetch.id, &reply, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_true(fetch.is_crl);
    reply = ok(ocsp);
    assert_int_equal(stls_check_feed(check, fetch.id, &reply, NOW_S), STLS_REJECT);
    assert_int_equal(aid_reason(check), STLS_REASON_OCSP_MALFORMED);
    stls_check_free(check);
}

/* A CRL may be fed to a fetch that asks for one, and to no other. */
static void crl_is_fed_to_crl_fetches_only(void **state)
{
    stls_check *check = started("revocation_scope=leaf", aid_usual_pki()->leaf,
                                (aid_bytes){NULL, 0});
    aid_bytes bytes = aid_make_crl(&(aid_crl){0});
    unsigned char *copy = malloc(bytes.len);
    stls_fetch fetch;
    (void)state;
    memcpy(copy, bytes.bytes, bytes.len);
    stls_crl *crl = stls_crl_new(NULL, copy, bytes.len, free);
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    /* Not walked through, for the wrong fetch, for none, and none at all. */
    assert_int_equal(stls_check_feed_crl(check, fetch.id, crl, 0, NOW_S), STLS_PENDING);
    while (stls_crl_step(crl, 100) == STLS_CRL_MORE) {
    }
    assert_int_equal(stls_check_feed_crl(check, fetch.id, crl, 0, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_feed_crl(check, 99, crl, 0, NOW_S), STLS_PENDING);
    assert_int_equal(stls_check_feed_crl(check, fetch.id, NULL, 0, NOW_S), STLS_PENDING);
    stls_reply good = ok(aid_ocsp_about(aid_usual_pki()->leaf, aid_usual_pki()->inter, 1, 0));
    assert_int_equal(stls_check_feed(check, fetch.id, &good, NOW_S), STLS_ACCEPT);
    stls_crl_free(crl);
    stls_check_free(check);
}

/* When the time is over nothing more is asked, but what is at hand still counts. */
static void expiry(void **state)
{
    X509 *leaf = leaf_with("OCSP;URI:" LEAF_OCSP_URL, "URI:" CRL_URL);
    const struct {
        const char *policy;
        aid_bytes crl; /* at hand */
        stls_reason wanted;
    } rows[] = {
        {"revocation_scope=leaf", {NULL, 0}, STLS_REASON_FETCH_TIMEOUT},
        {"revocation_scope=leaf revocation=soft", {NULL, 0}, STLS_REASON_NONE},
        {"revocation_scope=leaf", aid_make_crl(&(aid_crl){0}), STLS_REASON_NONE},
        {"revocation_scope=leaf revocation=soft", aid_make_crl(&(aid_crl){.revoked = {leaf}}),
         STLS_REASON_CRL_REVOKED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case c = {.policy = rows[i].policy,
                      .certs = aid_stack(leaf, aid_usual_pki()->inter, NULL)};
        stls_check *check = aid_new_check(&c, NULL);
        stls_fetch fetch;
        if (rows[i].crl.bytes != NULL) {
            unsigned char *copy = malloc(rows[i].crl.len);
            memcpy(copy, rows[i].crl.bytes, rows[i].crl.len);
            stls_crl *crl = stls_crl_new(NULL, copy, rows[i].crl.len, free);
            while (stls_crl_step(crl, 100) == STLS_CRL_MORE) {
            }
            assert_int_equal(stls_check_add_crl(check, crl), STLS_OK);
            stls_crl_free(crl);
        }
        assert_int_equal(stls_check_start(check, NOW_S), STLS_PENDING);
        stls_check_expire(check, NOW_S + 8);
        assert_int_equal(stls_check_next_fetch(check, &fetch), 0);
        assert_int_equal(aid_reason(check), rows[i].wanted);
        stls_check_free(check);
    }
}

/* An answer beyond the bound, from a host that did not keep it, is none. */
static void replies_beyond_the_bound(void **state)
{
    aid_bytes good = aid_ocsp_about(aid_usual_pki()->leaf, aid_usual_pki()->inter, 1, 0);
    aid_bytes crl = aid_make_crl(&(aid_crl){.num_others = 100});
    stls_fetch fetch;
    (void)state;
    assert_true(good.len > 512 && crl.len > 1024);
    stls_check *check = started("revocation_scope=leaf max_reply_bytes=512", aid_usual_pki()->leaf,
                                (aid_bytes){NULL, 0});
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_int_equal(fetch.max_reply_bytes, 512);
    stls_reply reply = ok(good);
    assert_int_equal(stls_check_feed(check, fetch.id, &reply, NOW_S), STLS_REJECT);
    assert_int_equal(aid_reason(check), STLS_REASON_OCSP_MALFORMED);
    stls_check_free(check);

    check = started("revocation_scope=leaf max_crl_bytes=1024", leaf_with("", "URI:" CRL_URL),
                    (aid_bytes){NULL, 0});
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_int_equal(fetch.max_reply_bytes, 1024);
    reply = ok(crl);
    assert_int_equal(stls_check_feed(check, fetch.id, &reply, NOW_S), STLS_REJECT);
    assert_int_equal(aid_reason(check), STLS_REASON_CRL_MALFORMED);
    stls_check_free(check);

    check = started("revocation_scope=leaf", leaf_with("", "URI:" CRL_URL), (aid_bytes){NULL, 0});
    assert_int_equal(stls_check_next_fetch(check, &fetch), 1);
    assert_int_equal(stls_check_feed(check, fetch.id, &reply, NOW_S), STLS_ACCEPT);
    stls_check_free(check);
}

/* The order of revocation_sources is the order of asking. */
static void sources_are_asked_in_their_order(void **state)
{
    static const struct {
        const char *policy, *asked;
    } rows[] = {
        {"revocation_scope=leaf", "ocsp crl"},
        {"revocation_scope=leaf revocation_sources=crl,ocsp", "crl ocsp"},
        {"revocation_scope=leaf revocation_sources=crl", "crl"},
        {"revocation_scope=leaf revocation_sources=ocsp,staple", "ocsp"},
        {"revocation_scope=leaf revocation_sources=staple", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stls_check *check = started(rows[i].policy,
                                    leaf_with("OCSP;URI:" LEAF_OCSP_URL, "URI:" CRL_URL),
                                    (aid_bytes){NULL, 0});
        char asked[64] = "";
        stls_fetch fetch;
        stls_reply reply = {.outcome = STLS_FETCH_NETWORK};
        while (stls_check_next_fetch(check, &fetch)) {
            size_t used = strlen(asked);
            snprintf(asked + used, sizeof(asked) - used, "%s%s", used ? " " : "",
                     fetch.is_crl ? "crl" : "ocsp");
            stls_check_feed(check, fetch.id, &reply, NOW_S);
        }
        assert_string_equal(asked, rows[i].asked);
        assert_int_equal(stls_check_verdict(check), STLS_REJECT);
        stls_check_free(check);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(max_fetches_counts_all_rungs),
        cmocka_unit_test(refused_cache_costs_no_fetch),
        cmocka_unit_test(answers_of_the_wrong_kind),
        cmocka_unit_test(crl_is_fed_to_crl_fetches_only),
        cmocka_unit_test(expiry),
        cmocka_unit_test(replies_beyond_the_bound),
        cmocka_unit_test(sources_are_asked_in_their_order),
    };
    return cmocka_run_group_tests_name("ladder_corners", tests, NULL, aid_end);
}
