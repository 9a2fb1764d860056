/*
 * Properties that hold in every world: properties [WORLDS [SECONDS]], or
 * properties --seed N, which tells all about one.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct {
    const char *name;
    int (*holds)(world *w, const world_view *view, const world_outcome *out);
    long num_asked, num_broken;
    uint64_t first_seed;
} property;

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
        if (before.verdict == STLS_REJECT && is_revoked(before.reason)) {
            return 0;
        }
    }
    return 1;
}

/* Only certificates that open no other path: a second path is judged for itself. */
static int a_certificate_more_clears_nobody(world *w, const world_view *view,
                                            const world_outcome *out)
{
    for (int i = 1; i < view->num_certs && out->verdict == STLS_ACCEPT; i++) {
        world_view less = *view;
        world_outcome before = {.num_stored = 0};
        if (w->certs[view->certs[i]].is_ca) {
            continue;
        }
        drop(less.certs, &less.num_certs, i);
        world_check(w, &less, &before);
        if (before.verdict == STLS_REJECT && is_revoked(before.reason)) {
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

static int all_at_hand(const world *w)
{
    for (int i = 0; i < w->num_statements; i++) {
        if (w->statements[i].is_ocsp || w->statements[i].way != WORLD_FILE) {
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

/* ---- all ----------------------------------------------------------------------------------------------- */

static property properties[] = {
    {"accepts only what is proved", accepts_only_what_is_proved, 0, 0, 0},
    {"rejects what is revoked", rejects_what_is_revoked, 0, 0, 0},
    {"order is of no account", order_is_of_no_account, 0, 0, 0},
    {"a statement more clears nobody", a_statement_more_clears_nobody, 0, 0, 0},
    {"a certificate more clears nobody", a_certificate_more_clears_nobody, 0, 0, 0},
    {"what is stored serves", what_is_stored_serves, 0, 0, 0},
    {"a verdict stands to its end", a_verdict_stands_to_its_end, 0, 0, 0},
    {"openssl does not say revoked", openssl_does_not_say_revoked, 0, 0, 0},
};
#define NUM_PROPERTIES (sizeof(properties) / sizeof(properties[0]))

static int try_world(uint64_t seed, int is_told)
{
    static world w;
    world_view view;
    world_outcome out = {.num_stored = 0};

    world_make(&w, seed);
    world_view_all(&w, &view);
    world_check(&w, &view, &out);
    if (is_told) {
        world_print(&w);
        printf("verdict %d, %s, valid for %lld s; may accept %d, must reject %d; openssl %d\n",
               out.verdict, stls_reason_id(out.reason), (long long)(out.valid_until_s - w.now_s),
               world_may_accept(&w, w.now_s), world_must_reject(&w, w.now_s),
               all_at_hand(&w) ? world_openssl(&w, &view) : -1);
    }
    for (size_t i = 0; i < NUM_PROPERTIES; i++) {
        property *p = &properties[i];
        p->num_asked++;
        if (!p->holds(&w, &view, &out)) {
            p->first_seed = p->num_broken++ == 0 ? seed : p->first_seed;
            if (is_told || p->num_broken <= 3) {
                printf("seed %llu breaks: %s\n", (unsigned long long)seed, p->name);
            }
        }
    }
    aid_end(NULL);
    return out.verdict == STLS_ACCEPT;
}

int main(int argc, char **argv)
{
    long num_accepted = 0, num_worlds = 0, most = argc > 1 ? atol(argv[1]) : 20000;
    long failed = 0;
    time_t end = time(NULL) + (argc > 2 ? atol(argv[2]) : 60);

    if (argc == 3 && strcmp(argv[1], "--seed") == 0) {
        try_world(strtoull(argv[2], NULL, 10), 1);
    } else {
        for (; num_worlds < most && time(NULL) < end; num_worlds++) {
            num_accepted += try_world((uint64_t)num_worlds + 1, 0);
        }
        printf("%ld worlds, %ld accepted\n", num_worlds, num_accepted);
    }
    for (size_t i = 0; i < NUM_PROPERTIES; i++) {
        printf("%-36s %ld broken, first by seed %llu\n", properties[i].name,
               properties[i].num_broken, (unsigned long long)properties[i].first_seed);
        failed += properties[i].num_broken != 0;
    }
    printf("%ld passed, %ld failed\n", (long)NUM_PROPERTIES - failed, failed);
    return failed != 0;
}
