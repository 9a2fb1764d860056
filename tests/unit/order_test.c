/* In which order the presented certificates belong, and where one is missing. */
#include "support.h"

#include <stdio.h>

#include "order.h"

/* root -> a (5) -> b (6) -> c (7) -> leaf (2), and another branch: root -> x (8) */
typedef struct {
    X509 *a, *b, *c, *leaf, *x;
} branch;

static X509 *ca(const char *subject, size_t key, X509 *issuer, size_t issuer_key)
{
    aid_cert spec = {.subject = subject, .key = key, .is_ca = 1, .issuer = issuer};
    spec.issuer_key = issuer_key;
    return aid_make_cert(&spec);
}

static const branch *make_branch(void)
{
    static branch made;
    if (made.a == NULL) {
        X509 *root = aid_usual_pki()->root;
        aid_cert leaf = aid_leaf_spec();
        made.a = ca("CN=A", 5, root, 0);
        made.b = ca("CN=B", 6, made.a, 5);
        made.c = ca("CN=C", 7, made.b, 6);
        made.x = ca("CN=X", 8, root, 0);
        leaf.issuer = made.c;
        leaf.issuer_key = 7;
        made.leaf = aid_make_cert(&leaf);
    }
    return &made;
}

/* The order as text: "0 2 ? 1"; "?" is one that is missing. */
static const char *order_of(STACK_OF(X509) *presented, stls_anchors *anchors, size_t cap)
{
    static char text[200];
    stls_link links[32];
    stls_order order = {links, 0, cap};
    stls_path path;
    aid_heap heap = {0};
    stls_allocator allocator = aid_allocator(&heap);
    stls_findings findings;
    stls_policy *policy = aid_policy("", NULL);
    size_t used = 0;
    stls_work work;
    const stls_path_input in = {.policy = policy,
                                .anchors = anchors,
                                .role = STLS_ROLE_SERVER,
                                .presented = presented,
                                .now_s = NOW_S,
                                .work = &work};

    stls_findings_init(&findings, &allocator);
    stls_work_init(&work, policy);
    assert_int_equal(stls_path_build(&path, &in, &findings), STLS_OK);
    stls_order_add_path(&order, &path);
    if (!path.is_complete) {
        stls_order_bridge_gaps(&order, anchors, presented, &path);
    }
    assert_true(order.num <= cap);
    text[0] = '\0';
    for (size_t i = 0; i < order.num; i++) {
        const char *blank = used > 0 ? " " : "";
        if (links[i].index == STLS_NO_CERT) {
            assert_non_null(links[i].below);
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s?", blank);
        } else {
            assert_true(stls_order_has(&order, links[i].index));
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%d", blank,
                                     links[i].index);
        }
    }
    assert_false(stls_order_has(&order, 77));
    stls_path_clear(&path, &policy->allocator);
    stls_findings_clear(&findings);
    return text;
}

static void orders(void **state)
{
    const branch *m = make_branch();
    X509 *root = aid_usual_pki()->root;
    const struct {
        STACK_OF(X509) *presented;
        const char *wanted;
    } rows[] = {
        {aid_stack(m->leaf, m->c, m->b, m->a, NULL), "0 1 2 3"},
        {aid_stack(m->leaf, m->c, m->b, m->a, root, NULL), "0 1 2 3 4"},
        {aid_stack(m->leaf, m->a, m->c, m->b, NULL), "0 2 3 1"},
        {aid_stack(m->leaf, NULL), "0 ?"},
        {aid_stack(m->leaf, m->b, m->a, NULL), "0 ? 1 2"},
        {aid_stack(m->leaf, m->a, m->b, NULL), "0 ? 2 1"},
        {aid_stack(m->leaf, m->c, m->a, NULL), "0 1 ? 2"},
        {aid_stack(m->leaf, m->a, NULL), "0 ? 1"},
        {aid_stack(m->leaf, m->b, NULL), "0 ? 1 ?"},
        {aid_stack(m->leaf, m->c, m->c, m->b, m->a, NULL), "0 1 3 4"}, /* a copy has no place */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *got = order_of(rows[i].presented, aid_usual_anchors(), 32);
        if (strcmp(got, rows[i].wanted) != 0) {
            fail_msg("row %zu: %s, wanted %s", i, got, rows[i].wanted);
        }
    }
}

/* What lies in the bundle, though no anchor, tells how many are missing. */
static void bundle_tells_more(void **state)
{
    const branch *m = make_branch();
    X509 *root = aid_usual_pki()->root;
    (void)state;
    assert_string_equal(
        order_of(aid_stack(m->leaf, m->a, NULL), aid_anchors(root, m->c, m->b, NULL), 32),
        "0 ? ? 1");
}

static void bounded(void **state)
{
    const branch *m = make_branch();
    (void)state;
    assert_string_equal(
        order_of(aid_stack(m->leaf, m->c, m->b, m->a, NULL), aid_usual_anchors(), 2), "0 1");
    assert_string_equal(order_of(aid_stack(m->leaf, m->b, m->a, NULL), aid_usual_anchors(), 2),
                        "0 ?");
    assert_string_equal(order_of(aid_stack(m->leaf, NULL), aid_usual_anchors(), 0), "");
}

static void issuer_in_a_stack(void **state)
{
    const branch *m = make_branch();
    STACK_OF(X509) *certs = aid_stack(m->x, m->b, m->c, NULL);
    (void)state;
    assert_ptr_equal(stls_issuer_in(certs, m->leaf), m->c);
    assert_ptr_equal(stls_issuer_in(certs, m->c), m->b);
    assert_null(stls_issuer_in(certs, m->b));
    assert_null(stls_issuer_in(NULL, m->leaf));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders),
        cmocka_unit_test(bundle_tells_more),
        cmocka_unit_test(bounded),
        cmocka_unit_test(issuer_in_a_stack),
    };
    return cmocka_run_group_tests_name("order", tests, NULL, aid_end);
}
