/* Delegated responders: whether one is revoked itself is asked once (RFC 6960 section 4.2.2.2.1).
 */
#include "support_crl.h"

#include <stdio.h>

#define RESPONDER_OCSP "http://ocsp.example.com/responder"
#define RESPONDER_CRL "http://crl.example.com/responder"

/* What is asked about whom, and what is answered. */
typedef struct {
    const char *policy;
    X509 *responder;
    size_t responder_key;
    int leaf_status;        /* what the responder says of the leaf */
    aid_bytes about_itself; /* the OCSP answer about the responder; none: unreachable */
    aid_bytes crl;          /* at RESPONDER_CRL; none: unreachable */
    int is_stapled;
    char asked[256];
} responder_case;

static X509 *responder_with(const char *aia, const char *crl, const char *nocheck)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = {.subject = "CN=Responder 2,O=Lab", .key = 3, .eku = "OCSPSigning"};
    spec.issuer = pki->inter;
    spec.issuer_key = 1;
    spec.aia = aia;
    spec.crl = crl;
    spec.nocheck = nocheck;
    return aid_make_cert(&spec);
}

static aid_bytes by_responder(const responder_case *c)
{
    const aid_pki *pki = aid_usual_pki();
    aid_ocsp spec = {
        .singles = {{.cert = pki->leaf, .issuer = pki->inter, .status = c->leaf_status}},
        .signer = c->responder,
        .signer_key = c->responder_key};
    return aid_make_ocsp(&spec);
}

static stls_reply reply_to(responder_case *c, const stls_fetch *fetch, aid_bytes leaf_answer)
{
    size_t used = strlen(c->asked);
    aid_bytes bytes = fetch->is_crl ? c->crl
                      : strncmp(fetch->url, LEAF_OCSP_URL, strlen(LEAF_OCSP_URL)) == 0
                          ? leaf_answer
                          : c->about_itself;
    snprintf(c->asked + used, sizeof(c->asked) - used, "%s%s", used ? " " : "",
             fetch->is_crl                      ? "crl"
             : bytes.bytes == leaf_answer.bytes ? "leaf"
                                                : "responder");
    return (stls_reply){bytes.bytes != NULL ? STLS_FETCH_OK : STLS_FETCH_NETWORK, bytes.bytes,
                        bytes.len, NULL};
}

static stls_reason run(responder_case *c)
{
    aid_case whole = {.policy = c->policy != NULL ? c->policy : "revocation_scope=leaf"};
    aid_bytes leaf_answer = by_responder(c);
    stls_fetch fetch;

    if (c->is_stapled) {
        whole.staple = leaf_answer;
    }
    c->asked[0] = '\0';
    stls_check *check = aid_new_check(&whole, NULL);
    stls_check_start(check, NOW_S);
    while (stls_check_next_fetch(check, &fetch)) {
        stls_reply reply = reply_to(c, &fetch, leaf_answer);
        stls_check_feed(check, fetch.id, &reply, NOW_S);
    }
    return aid_conclude(check);
}

#define assert_run(c, wanted, wanted_asked)                                                        \
    do {                                                                                           \
        assert_string_equal(stls_reason_id(run(c)), stls_reason_id(wanted));                       \
        assert_string_equal((c)->asked, wanted_asked);                                             \
    } while (0)

static void with_nocheck_nothing_is_asked_about_it(void **state)
{
    responder_case c = {.responder = responder_with("OCSP;URI:" RESPONDER_OCSP, NULL, "ignored"),
                        .responder_key = 3};
    (void)state;
    assert_run(&c, STLS_REASON_NONE, "leaf");
    c.leaf_status = V_OCSP_CERTSTATUS_REVOKED;
    assert_run(&c, STLS_REASON_OCSP_REVOKED, "leaf");
}

static void without_it_is_asked_about(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    responder_case c = {.responder = responder_with("OCSP;URI:" RESPONDER_OCSP, NULL, NULL),
                        .responder_key = 3};
    (void)state;
    c.about_itself = aid_ocsp_about(c.responder, pki->inter, 1, V_OCSP_CERTSTATUS_GOOD);
    assert_run(&c, STLS_REASON_NONE, "leaf responder");
    c.leaf_status = V_OCSP_CERTSTATUS_REVOKED;
    assert_run(&c, STLS_REASON_OCSP_REVOKED, "leaf responder");
    c.leaf_status = V_OCSP_CERTSTATUS_GOOD;
    c.about_itself = aid_ocsp_about(c.responder, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED);
    assert_run(&c, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, "leaf responder");
    c.about_itself = aid_ocsp_about(c.responder, pki->inter, 1, V_OCSP_CERTSTATUS_UNKNOWN);
    assert_run(&c, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, "leaf responder");
    c.about_itself = (aid_bytes){NULL, 0};
    assert_run(&c, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, "leaf responder");
}

/* A revoked responder's "revoked" is no proof either: whoever has its key may say anything. */
static void revoked_responder_proves_no_revocation(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    responder_case c = {.responder = responder_with("OCSP;URI:" RESPONDER_OCSP, NULL, NULL),
                        .responder_key = 3,
                        .leaf_status = V_OCSP_CERTSTATUS_REVOKED};
    (void)state;
    c.about_itself = aid_ocsp_about(c.responder, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED);
    assert_run(&c, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, "leaf responder");
}

/* Its CRL comes first: OCSP about an OCSP responder easily leads back to itself. */
static void its_crl_comes_first(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    responder_case c = {
        .responder = responder_with("OCSP;URI:" RESPONDER_OCSP, "URI:" RESPONDER_CRL, NULL),
        .responder_key = 3};
    (void)state;
    c.about_itself = aid_ocsp_about(c.responder, pki->inter, 1, V_OCSP_CERTSTATUS_GOOD);
    c.crl = aid_make_crl(&(aid_crl){0});
    assert_run(&c, STLS_REASON_NONE, "leaf crl");
    /* Of one revoked there nothing counts, but the issuer's CRL speaks for the leaf as well. */
    c.crl = aid_make_crl(&(aid_crl){.revoked = {c.responder}});
    c.leaf_status = V_OCSP_CERTSTATUS_REVOKED;
    assert_run(&c, STLS_REASON_NONE, "leaf crl");
    c.leaf_status = V_OCSP_CERTSTATUS_GOOD;
    c.crl = aid_make_crl(&(aid_crl){.revoked = {c.responder, pki->leaf}});
    assert_run(&c, STLS_REASON_CRL_REVOKED, "leaf crl");
    c.crl = (aid_bytes){NULL, 0};
    assert_run(&c, STLS_REASON_NONE, "leaf crl responder");
    c.policy = "revocation_scope=leaf revocation_sources=ocsp";
    assert_run(&c, STLS_REASON_NONE, "leaf responder");
}

static void it_does_not_vouch_for_itself(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    responder_case c = {.responder = responder_with("OCSP;URI:" RESPONDER_OCSP, NULL, NULL),
                        .responder_key = 3};
    (void)state;
    aid_ocsp spec = {.singles = {{.cert = c.responder, .issuer = pki->inter}},
                     .signer = c.responder,
                     .signer_key = 3};
    c.about_itself = aid_make_ocsp(&spec);
    assert_run(&c, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, "leaf responder");
    /* Nor does another one whose own revocation is open. */
    spec.signer = responder_with(NULL, NULL, NULL);
    c.about_itself = aid_make_ocsp(&spec);
    assert_run(&c, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, "leaf responder");
    /* One with nocheck may. */
    spec.signer = pki->responder;
    c.about_itself = aid_make_ocsp(&spec);
    assert_run(&c, STLS_REASON_NONE, "leaf responder");
}

static void trap_6_responder_without_a_source(void **state)
{
    responder_case c = {.responder = responder_with(NULL, NULL, NULL), .responder_key = 3};
    (void)state;
    assert_run(&c, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, "leaf");
    c.policy = "revocation_scope=leaf no_revocation_source=allow";
    assert_run(&c, STLS_REASON_NONE, "leaf");
}

static void staple_by_one(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    responder_case c = {.responder = responder_with("OCSP;URI:" RESPONDER_OCSP, NULL, NULL),
                        .responder_key = 3,
                        .is_stapled = 1};
    (void)state;
    c.about_itself = aid_ocsp_about(c.responder, pki->inter, 1, V_OCSP_CERTSTATUS_GOOD);
    assert_run(&c, STLS_REASON_NONE, "responder");
    /* Its staple proves nothing then, and neither does its answer; it is asked about once. */
    c.about_itself = aid_ocsp_about(c.responder, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED);
    assert_run(&c, STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, "responder leaf");
}

/* Several staples: the one by a responder whose status stays open keeps no other from counting. */
static void several_staples_in_any_order(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    responder_case c = {.responder = responder_with("OCSP;URI:" RESPONDER_OCSP, NULL, NULL),
                        .responder_key = 3};
    aid_bytes open = by_responder(&c);
    aid_bytes good = aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_GOOD);
    aid_bytes revoked = aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED);
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        aid_case whole = {.policy = "revocation_scope=leaf revocation_sources=staple,ocsp"};
        aid_bytes staples[] = {i % 2   ? open
                               : i < 2 ? good
                                       : revoked,
                               i % 2 ? i < 2 ? good : revoked : open};
        stls_check *check = aid_new_check(&whole, NULL);
        stls_fetch fetch;
        for (size_t k = 0; k < 2; k++) {
            stls_check_add_staple(check, 0, staples[k].bytes, staples[k].len);
        }
        stls_check_start(check, NOW_S);
        while (stls_check_next_fetch(check, &fetch)) {
            stls_reply reply = {.outcome = STLS_FETCH_NETWORK};
            stls_check_feed(check, fetch.id, &reply, NOW_S);
        }
        assert_string_equal(stls_reason_id(aid_conclude(check)),
                            stls_reason_id(i < 2 ? STLS_REASON_NONE : STLS_REASON_OCSP_REVOKED));
    }
}

/* Known to be revoked only after its answer was taken: the host must not keep that one. */
static void revoked_by_a_crl_that_comes_later(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    responder_case c = {.responder = responder_with(NULL, NULL, NULL), .responder_key = 3};
    aid_cert spec = {.subject = "CN=Intermediate,O=Lab", .key = 1, .is_ca = 1, .issuer = pki->root};
    spec.crl = "URI:http://crl.example.com/inter";
    aid_case whole = {.policy = "no_revocation_source=allow revocation=soft",
                      .certs = aid_stack(pki->leaf, aid_make_cert(&spec), NULL)};
    stls_check *check = aid_new_check(&whole, NULL);
    aid_bytes answer = by_responder(&c), crl = aid_make_crl(&(aid_crl){.revoked = {c.responder}});
    stls_fetch leaf, inter;
    stls_answer told;
    (void)state;

    stls_check_start(check, NOW_S);
    assert_int_equal(stls_check_next_fetch(check, &leaf), 1);
    assert_int_equal(stls_check_next_fetch(check, &inter), 1);
    assert_true(!leaf.is_crl && inter.is_crl);
    stls_reply reply = {STLS_FETCH_OK, answer.bytes, answer.len, NULL};
    stls_check_feed(check, leaf.id, &reply, NOW_S);
    stls_check_get_answer(check, leaf.id, &told);
    assert_int_equal(told.conclusive, 1);
    reply = (stls_reply){STLS_FETCH_OK, crl.bytes, crl.len, NULL};
    stls_check_feed(check, inter.id, &reply, NOW_S);
    assert_true(stls_check_verdict(check) != STLS_PENDING);
    stls_check_get_answer(check, leaf.id, &told);
    assert_int_equal(told.conclusive, 0);
    assert_int_equal(told.retry_at_s, NOW_S + 30);
    stls_check_free(check);
}

/*
 * What a cache holds was believed once; now that its responder is revoked, the
 * network is asked, and neither answer by it is kept.
 */
static void trap_4_a_cached_answer_of_a_revoked_responder(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *old = responder_with("OCSP;URI:" RESPONDER_OCSP, NULL, NULL);
    X509 *next = responder_with("OCSP;URI:" RESPONDER_OCSP "2", NULL, NULL);
    X509 *third = responder_with("OCSP;URI:" RESPONDER_OCSP "3", NULL, NULL);
    aid_single single = {.cert = pki->leaf, .issuer = pki->inter};
    aid_ocsp by_old = {.singles = {single}, .signer = old, .signer_key = 3};
    aid_ocsp by_next = {.singles = {single}, .signer = next, .signer_key = 3};
    aid_ocsp by_third = {.singles = {single}, .signer = third, .signer_key = 3};
    aid_bytes by_issuer = aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_GOOD);
    aid_bytes says_revoked = aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED);
    const struct {
        const char *what;
        aid_bytes cached, fresh;
        stls_reason wanted;
        int cached_is_kept, fresh_is_kept;
    } rows[] = {
        {"the issuer itself", aid_make_ocsp(&by_old), by_issuer, STLS_REASON_NONE, 0, 1},
        {"revoked by the issuer", aid_make_ocsp(&by_old), says_revoked, STLS_REASON_OCSP_REVOKED, 0,
         1},
        {"the same responder", aid_make_ocsp(&by_old), aid_make_ocsp(&by_old),
         STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, 0, 0},
        {"a new responder", aid_make_ocsp(&by_old), aid_make_ocsp(&by_next), STLS_REASON_NONE, 0,
         1},
        {"a new one that is revoked", aid_make_ocsp(&by_old), aid_make_ocsp(&by_third),
         STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER, 0, 0},
        {"no answer",
         aid_make_ocsp(&by_old),
         {NULL, 0},
         STLS_REASON_OCSP_UNAUTHORIZED_RESPONDER,
         0,
         0},
        {"a cached one that is good", aid_make_ocsp(&by_next), says_revoked, STLS_REASON_NONE, 1,
         0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        aid_case whole = {.policy = "revocation_scope=leaf"};
        stls_check *check = aid_new_check(&whole, NULL);
        uint32_t cached_id = 0, fresh_id = 0;
        stls_fetch fetch;
        stls_check_start(check, NOW_S);
        while (stls_check_next_fetch(check, &fetch)) {
            aid_bytes bytes;
            stls_fetch_outcome outcome = STLS_FETCH_OK;
            if (strncmp(fetch.url, LEAF_OCSP_URL, strlen(LEAF_OCSP_URL)) != 0) {
                int is_next = strncmp(fetch.url, RESPONDER_OCSP "2", strlen(RESPONDER_OCSP "2"))
                              == 0;
                int is_third = strncmp(fetch.url, RESPONDER_OCSP "3", strlen(RESPONDER_OCSP "3"))
                               == 0;
                bytes = aid_ocsp_about(
                    is_next    ? next
                    : is_third ? third
                               : old,
                    pki->inter, 1, is_next ? V_OCSP_CERTSTATUS_GOOD : V_OCSP_CERTSTATUS_REVOKED);
            } else if (fetch.may_use_cache) {
                cached_id = fetch.id;
                bytes = rows[i].cached;
                outcome = STLS_FETCH_CACHED;
            } else {
                fresh_id = fetch.id;
                bytes = rows[i].fresh;
                outcome = bytes.bytes != NULL ? STLS_FETCH_OK : STLS_FETCH_NETWORK;
            }
            stls_reply reply = {outcome, bytes.bytes, bytes.len, NULL};
            stls_check_feed(check, fetch.id, &reply, NOW_S);
        }
        stls_answer answer;
        assert_int_equal(stls_check_get_answer(check, cached_id, &answer), STLS_OK);
        assert_int_equal(answer.conclusive, rows[i].cached_is_kept);
        assert_int_equal(answer.retry_at_s, 0);
        if (rows[i].cached_is_kept) {
            assert_int_equal(fresh_id, 0);
        } else {
            assert_int_equal(stls_check_get_answer(check, fresh_id, &answer), STLS_OK);
            assert_int_equal(answer.conclusive, rows[i].fresh_is_kept);
            assert_int_equal(answer.retry_at_s > NOW_S, !rows[i].fresh_is_kept);
        }
        stls_reason got = aid_conclude(check);
        if (got != rows[i].wanted) {
            fail_msg("%s: %s", rows[i].what, stls_reason_id(got));
        }
    }
}

/* It is not known to be good itself: that does not make "revoked" harmless, not even under soft. */
static void trap_4_revoked_by_an_open_responder_counts(void **state)
{
    responder_case c = {.responder = responder_with("OCSP;URI:" RESPONDER_OCSP, NULL, NULL),
                        .responder_key = 3,
                        .leaf_status = V_OCSP_CERTSTATUS_REVOKED};
    (void)state;
    assert_run(&c, STLS_REASON_OCSP_REVOKED, "leaf responder");
    c.policy = "revocation_scope=leaf revocation=soft";
    assert_run(&c, STLS_REASON_OCSP_REVOKED, "leaf responder");
    c.is_stapled = 1;
    assert_run(&c, STLS_REASON_OCSP_REVOKED, "responder");
}

static void soft_lets_an_open_one_pass(void **state)
{
    responder_case c = {.policy = "revocation_scope=leaf revocation=soft",
                        .responder = responder_with("OCSP;URI:" RESPONDER_OCSP, NULL, NULL),
                        .responder_key = 3};
    (void)state;
    assert_run(&c, STLS_REASON_NONE, "leaf responder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_nocheck_nothing_is_asked_about_it),
        cmocka_unit_test(without_it_is_asked_about),
        cmocka_unit_test(revoked_responder_proves_no_revocation),
        cmocka_unit_test(its_crl_comes_first),
        cmocka_unit_test(it_does_not_vouch_for_itself),
        cmocka_unit_test(trap_6_responder_without_a_source),
        cmocka_unit_test(staple_by_one),
        cmocka_unit_test(several_staples_in_any_order),
        cmocka_unit_test(revoked_by_a_crl_that_comes_later),
        cmocka_unit_test(trap_4_a_cached_answer_of_a_revoked_responder),
        cmocka_unit_test(trap_4_revoked_by_an_open_responder_counts),
        cmocka_unit_test(soft_lets_an_open_one_pass),
    };
    return cmocka_run_group_tests_name("rung_responder", tests, NULL, aid_end);
}
