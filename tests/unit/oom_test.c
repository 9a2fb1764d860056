/*
 * Out of memory: whole runs, repeated with each allocation of the core's own
 * allocator failing in turn, once alone and once with all that follow.  No
 * run may crash or leak, and none may accept what the same run without a
 * failure would not have accepted.
 */
#include "support.h"

#include <openssl/pem.h>

/* Everything that a host does for one peer, from the policy on. */
typedef struct {
    stls_verdict verdict; /* REJECT where something could not even be made */
    stls_reason reason;
    int has_result;
    int lost_input;   /* a certificate, name or staple was refused, and the host was told */
    size_t num_setup; /* allocations before the check */
} outcome;

static stls_policy *make_policy(const char *text, const stls_allocator *allocator)
{
    stls_policy *policy = stls_policy_new(allocator);
    if (policy != NULL
        && (stls_policy_set_text(policy, text, NULL) != STLS_OK
            || stls_policy_freeze(policy, NULL) != STLS_OK)) {
        stls_policy_free(policy);
        return NULL;
    }
    return policy;
}

static stls_anchors *make_anchors(const stls_allocator *allocator)
{
    stls_anchors *anchors = stls_anchors_new(allocator);
    BIO *bio = BIO_new(BIO_s_mem());
    assert_true(PEM_write_bio_X509(bio, aid_usual_pki()->root));
    if (anchors != NULL
        && (stls_anchors_load(anchors, bio, NULL) != STLS_OK
            || stls_anchors_freeze(anchors, NULL) != STLS_OK)) {
        stls_anchors_free(anchors);
        anchors = NULL;
    }
    BIO_free(bio);
    return anchors;
}

/* The inputs, ignoring what the calls return, as a careless host would. */
static void fill(stls_check *check, const aid_case *c, outcome *out)
{
    const aid_pki *pki = aid_usual_pki();
    STACK_OF(X509) *usual = c->certs != NULL ? c->certs : aid_stack(pki->leaf, pki->inter, NULL);
    const char *name = c->name != NULL ? c->name : LEAF_NAME;

    out->lost_input |= stls_check_add_certs(check, usual) != STLS_OK;
    out->lost_input |= stls_check_set_name(check, name, strlen(name)) != STLS_OK;
    if (c->staple.bytes != NULL) {
        out->lost_input |= stls_check_add_staple(check, 0, c->staple.bytes, c->staple.len)
                           != STLS_OK;
    }
}

static void run_check(stls_check *check, const aid_case *c, outcome *out)
{
    stls_fetch fetch;
    stls_answer answer;

    fill(check, c, out);
    stls_check_trust(check, NOW_S);
    stls_result_free(stls_check_get1_result(check));
    out->verdict = stls_check_start(check, NOW_S);
    while (stls_check_next_fetch(check, &fetch)) {
        stls_reply reply = aid_reply_to(c, &fetch);
        out->verdict = stls_check_feed(check, fetch.id, &reply, NOW_S);
        stls_check_get_answer(check, fetch.id, &answer);
    }
    out->verdict = stls_check_verdict(check);
    if (out->verdict == STLS_PENDING) {
        out->verdict = stls_check_expire(check, NOW_S);
    }
    assert_true(out->verdict != STLS_PENDING);
}

static outcome run(const aid_case *c, aid_heap *heap)
{
    stls_allocator allocator = aid_allocator(heap);
    outcome out = {.verdict = STLS_REJECT};
    stls_policy *policy = make_policy(c->policy != NULL ? c->policy : "", &allocator);
    stls_anchors *anchors = make_anchors(&allocator);
    out.num_setup = heap->num_allocs;
    stls_check *check = policy != NULL && anchors != NULL
                            ? stls_check_new(policy, anchors, STLS_ROLE_SERVER)
                            : NULL;
    stls_verdict_cache *cache = stls_verdict_cache_new(4, &allocator);

    if (check != NULL) {
        run_check(check, c, &out);
        stls_result *result = stls_check_get1_result(check);
        if (result != NULL) {
            char line[300];
            unsigned char key[STLS_ID_LEN] = {1};
            assert_int_equal(stls_result_verdict(result), out.verdict);
            out.has_result = 1;
            out.reason = stls_result_reason(result);
            assert_true(stls_result_log_line(result, NULL, line, sizeof(line)) > 0);
            if (cache != NULL && stls_verdict_cache_put(cache, key, result, NOW_S) == STLS_OK) {
                assert_ptr_equal(stls_verdict_cache_get0(cache, key, NOW_S), result);
            }
        }
        stls_result_free(result);
    }
    stls_verdict_cache_free(cache);
    stls_check_free(check);
    stls_anchors_free(anchors);
    stls_policy_free(policy);
    assert_int_equal(heap->num_live, 0);
    return out;
}

/* From the `from`-th allocation on. */
static void allocations_fail(const char *what, const aid_case *c, size_t from)
{
    aid_heap healthy = {0};
    outcome wanted = run(c, &healthy);

    assert_true(wanted.has_result);
    for (int and_all_after = 0; and_all_after < 2; and_all_after++) {
        for (size_t n = from; n <= healthy.num_allocs; n++) {
            aid_heap heap = {.fail_at = n, .fail_after_too = and_all_after};
            outcome got = run(c, &heap);
            if (got.verdict == STLS_ACCEPT && (wanted.verdict != STLS_ACCEPT || got.lost_input)) {
                fail_msg("%s: accepted though allocation %zu failed", what, n);
            }
            /* Rejected for lack of memory, and told so. */
            if (wanted.verdict == STLS_ACCEPT && got.verdict == STLS_REJECT && got.has_result
                && got.reason != STLS_REASON_INTERNAL_MEMORY) {
                fail_msg("%s: allocation %zu: %s", what, n, stls_reason_id(got.reason));
            }
        }
    }
}

static void each_allocation_fails(const char *what, const aid_case *c)
{
    aid_heap healthy = {0};
    allocations_fail(what, c, run(c, &healthy).num_setup + 1);
}

static void policy_and_anchors(void **state)
{
    aid_case c = {.policy = "preset=private cert_policies=1.2.3,1.2.4 mode=report"};
    (void)state;
    allocations_fail("from the policy on", &c, 1);
}

static void runs_that_accept(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_cert spec = aid_leaf_spec();
    aid_case fetched = {0};
    aid_case stapled = {.staple = aid_ocsp_about(pki->leaf, pki->inter, 1, 0)};
    aid_case bad_staple = {.staple = aid_ocsp_about(pki->leaf, pki->inter, 1, 2)};
    aid_case nonce = {.policy = "ocsp_nonce=on revocation=soft"};
    aid_case soft = {.policy = "revocation=soft", .replies = {{.outcome = STLS_FETCH_NETWORK}}};
    aid_case extra = {.certs = aid_stack(pki->leaf, pki->inter, pki->other_root, pki->root, NULL)};

    (void)state;
    spec.aia = "OCSP;URI:http://a.example.com/,OCSP;URI:http://b.example.com/";
    aid_case two_urls = {.certs = aid_stack(aid_make_cert(&spec), pki->inter, NULL)};
    each_allocation_fails("fetched", &fetched);
    each_allocation_fails("stapled", &stapled);
    each_allocation_fails("bad staple, then fetched", &bad_staple);
    each_allocation_fails("nonce", &nonce);
    each_allocation_fails("soft", &soft);
    each_allocation_fails("extra certificates", &extra);
    each_allocation_fails("two URLs", &two_urls);
}

static void runs_that_reject(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    aid_reply leaf_revoked = {STLS_FETCH_OK,
                              aid_ocsp_about(pki->leaf, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED)};
    aid_reply inter_revoked = {STLS_FETCH_OK,
                               aid_ocsp_about(pki->inter, pki->root, 0, V_OCSP_CERTSTATUS_REVOKED)};
    aid_reply down = {.outcome = STLS_FETCH_NETWORK};
    aid_reply poisoned = {STLS_FETCH_CACHED, {(unsigned char *)"junk", 4}};
    aid_cert expired = aid_leaf_spec(), must_staple = aid_leaf_spec();
    expired.not_after_s = NOW_S - 1;
    must_staple.tls_feature = "status_request";
    const struct {
        const char *what;
        aid_case c;
    } rows[] = {
        {"leaf revoked", {.replies = {leaf_revoked}}},
        {"leaf revoked, soft", {.policy = "revocation=soft", .replies = {leaf_revoked}}},
        {"intermediate revoked, soft",
         {.policy = "revocation=soft", .replies = {{0}, inter_revoked}}},
        {"staple revoked, soft", {.policy = "revocation=soft", .staple = leaf_revoked.bytes}},
        {"no answer", {.replies = {down}}},
        {"poisoned cache", {.replies = {poisoned}}},
        {"incomplete", {.certs = aid_stack(pki->leaf, NULL)}},
        {"misordered", {.certs = aid_stack(pki->leaf, pki->root, pki->inter, NULL)}},
        {"bad signature", {.certs = aid_stack(aid_spoil_signature(pki->leaf), pki->inter, NULL)}},
        {"expired", {.certs = aid_stack(aid_make_cert(&expired), pki->inter, NULL)}},
        {"wrong name", {.name = "other.example.com"}},
        {"no name", {.name = ""}},
        {"too long", {.policy = "max_chain_len=1"}},
        {"must staple",
         {.policy = "revocation=soft",
          .certs = aid_stack(aid_make_cert(&must_staple), pki->inter, NULL)}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        each_allocation_fails(rows[i].what, &rows[i].c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policy_and_anchors),
        cmocka_unit_test(runs_that_accept),
        cmocka_unit_test(runs_that_reject),
    };
    return cmocka_run_group_tests_name("oom", tests, NULL, aid_end);
}
