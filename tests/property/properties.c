/* Properties that hold in every world. */
#include "world.h"

static int is_revoked(stls_reason reason)
{
    return reason == STLS_REASON_CRL_REVOKED || reason == STLS_REASON_OCSP_REVOKED;
}

/* ---- the model ---------------------------------------------------------------------------- */

static int accepts_only_what_is_proved(world *w, const world_view *view, const world_outcome *out)
{
    (void)view;
    return out->verdict != STLS_ACCEPT || world_may_accept(w, w->now_s);
}

static int rejects_what_is_revoked(world *w, const world_view *view, const world_outcome *out)
{
    (void)view;
    return out->verdict != STLS_ACCEPT || !world_must_reject(w, w->now_s);
}

/* ---- order ---------------------------------------------------------------------------------- */

static void shuffle(world *w, int *items, int num)
{
    for (int i = num - 1; i > 0; i--) {
        int k = (int)world_random(w, (unsigned int)i + 1), kept = items[i];
        items[i] = items[k];
        items[k] = kept;
    }
}

static int order_is_of_no_account(world *w, const world_view *view, const world_outcome *out)
{
    for (int i = 0; i < 4; i++) {
        world_view other = *view;
        world_outcome again = {.num_stored = 0};
        shuffle(w, other.certs + 1, other.num_certs - 1);
        shuffle(w, other.statements, other.num_statements);
        world_check(w, &other, &again);
        if (again.verdict != out->verdict) {
            return 0;
        }
    }
    return 1;
}

/* ---- more does not make it better ------------------------------------------------------------ */

static void drop(int *items, int *num, int at)
{
    memmove(items + at, items + at + 1, (size_t)(*num - at - 1) * sizeof(*items));
    --*num;
}

/* Then a newer statement may clear it. */
static int knows_a_hold(const world *w)
{
    for (int i = 0; i < w->num_certs; i++) {
        if (w->certs[i].is_revoked && w->certs[i].reason == CRL_REASON_CERTIFICATE_HOLD) {
            return 1;
        }
    }
    return 0;
}

/* Without asking anybody: a statement at hand may end the search for others. */
static int is_revoked_at_hand(const world *w, const world_view *view)
{
    world_view at_hand = *view;
    world_outcome out = {.num_stored = 0};
    for (int i = at_hand.num_statements - 1; i >= 0; i--) {
        if (w->statements[at_hand.statements[i]].way == WORLD_SERVED) {
            drop(at_hand.statements, &at_hand.num_statements, i);
        }
    }
    world_check(w, &at_hand, &out);
    return out.verdict == STLS_REJECT && is_revoked(out.reason);
}

/* What was refused as revoked without a statement is refused with it. */
static int a_statement_more_clears_nobody(world *w, const world_view *view,
                                          const world_outcome *out)
{
    if (out->verdict != STLS_ACCEPT || view->num_statements == 0 || knows_a_hold(w)) {
        return 1;
    }
    for (int i = 0; i < 3; i++) {
        world_view less = *view;
        world_outcome before = {.num_stored = 0};
        drop(less.statements, &less.num_statements,
             (int)world_random(w, (unsigned int)less.num_statements));
        world_check(w, &less, &before);
        if (before.verdict == STLS_REJECT && is_revoked(before.reason)
            && is_revoked_at_hand(w, &less)) {
            return 0;
        }
    }
    return 1;
}

/*
 * A certificate besides: a CRL issuer, a stranger, another one for a key of the
 * path.  What opens a path by other keys is judged for itself.
 */
static int a_certificate_more_clears_nobody(world *w, const world_view *view,
                                            const world_outcome *out)
{
    for (int i = 1; i < view->num_certs && out->verdict == STLS_ACCEPT; i++) {
        world_view less = *view;
        world_outcome before = {.num_stored = 0};
        drop(less.certs, &less.num_certs, i);
        world_check(w, &less, &before);
        if (before.verdict == STLS_REJECT && is_revoked(before.reason)
            && is_revoked_at_hand(w, &less)) {
            return 0;
        }
    }
    return 1;
}

/* ---- caches and time ---------------------------------------------------------------------------- */

static int what_is_stored_serves(world *w, const world_view *view, const world_outcome *out)
{
    world_outcome again = *out;
    if (out->num_stored == 0) {
        return 1;
    }
    world_check(w, view, &again);
    return again.verdict == out->verdict && again.num_refetched == 0;
}

/* Then a statement may come into force meanwhile. */
static int knows_the_future(const world *w)
{
    for (int i = 0; i < w->num_statements; i++) {
        if (w->statements[i].this_s > w->now_s) {
            return 1;
        }
    }
    return 0;
}

static int a_verdict_stands_to_its_end(world *w, const world_view *view, const world_outcome *out)
{
    world_view later = *view;
    world_outcome then = {.num_stored = 0};
    if (out->verdict != STLS_ACCEPT || knows_the_future(w)) {
        return 1;
    }
    later.now_s = out->valid_until_s;
    if (later.now_s < view->now_s) {
        return 0;
    }
    world_check(w, &later, &then);
    return then.verdict == STLS_ACCEPT;
}

/* ---- OpenSSL ---------------------------------------------------------------------------------------- */

/* Its signature's strength counts for nothing to OpenSSL, and a delta's time neither. */
static int is_seen_alike(const world *w, const world_statement *s)
{
    return !s->is_weak && (s->base == 0 || (s->this_s <= w->now_s && w->now_s <= s->next_s));
}

static int all_at_hand(const world *w)
{
    for (int i = 0; i < w->num_statements; i++) {
        const world_statement *s = &w->statements[i];
        if (s->is_ocsp || s->way != WORLD_FILE || !is_seen_alike(w, s)) {
            return 0;
        }
    }
    return w->num_statements > 0 && !w->is_soft && w->grace_s == 0;
}

static int openssl_does_not_say_revoked(world *w, const world_view *view, const world_outcome *out)
{
    return out->verdict != STLS_ACCEPT || !all_at_hand(w)
           || world_openssl(w, view) != X509_V_ERR_CERT_REVOKED;
}

/* ---- all ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int (*holds)(world *w, const world_view *view, const world_outcome *out);
} properties[WORLD_NUM_PROPERTIES] = {
    {"accepts only what is proved", accepts_only_what_is_proved},
    {"rejects what is revoked", rejects_what_is_revoked},
    {"order is of no account", order_is_of_no_account},
    {"a statement more clears nobody", a_statement_more_clears_nobody},
    {"a certificate more clears nobody", a_certificate_more_clears_nobody},
    {"what is stored serves", what_is_stored_serves},
    {"a verdict stands to its end", a_verdict_stands_to_its_end},
    {"openssl does not say revoked", openssl_does_not_say_revoked},
};

const char *world_property(world *w, const world_view *view, const world_outcome *out, size_t index,
                           int *holds)
{
    *holds = properties[index].holds(w, view, out);
    return properties[index].name;
}
