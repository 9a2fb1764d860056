/*
 * What RFC 5280, RFC 6960 and the policy allow, told from the world's own
 * description.  Nothing of the core is used.  Both answers are bounds: a
 * verdict between them is right by this model.
 */
#include "world.h"

#define SKEW_S 300

typedef struct {
    const world *w;
    int64_t now_s;
    int certs[WORLD_MAX_CERTS], num; /* leaf first, the anchor last */
} path;

static int is_valid_now(const world_cert *c, int64_t now_s)
{
    return c->from_s <= now_s && now_s <= c->to_s;
}

static int issued(const world *w, int issuer, int cert)
{
    const world_cert *i = &w->certs[issuer], *c = &w->certs[cert];
    return i->is_ca && issuer != cert && i->name == w->certs[c->issuer].name
           && i->key == c->issuer_key;
}

static int has(const path *p, int cert)
{
    for (int i = 0; i < p->num; i++) {
        if (p->certs[i] == cert) {
            return 1;
        }
    }
    return 0;
}

static int source_is_asked(const world *w, const char *source)
{
    return strstr(strstr(w->policy, "revocation_sources="), source) != NULL;
}

/* Whether the policy lets this statement be looked at. */
static int is_looked_at(const world *w, const world_statement *s)
{
    switch (s->way) {
    case WORLD_FILE:
        return source_is_asked(w, "file");
    case WORLD_STAPLED:
        return source_is_asked(w, "staple");
    default:
        return source_is_asked(w, s->is_ocsp ? "ocsp" : "crl");
    }
}

static int is_fresh(const world *w, const world_statement *s, int64_t now_s, int64_t slack_s)
{
    return s->this_s <= now_s + slack_s
           && now_s <= s->next_s + slack_s + (slack_s > 0 ? w->grace_s : 0);
}

static int listing(const world_statement *s, int cert)
{
    for (int i = 0; i < s->num_listed; i++) {
        if (s->listed[i] == cert) {
            return s->listed_reason[i];
        }
    }
    return -1;
}

static int scope_fits(const world *w, const world_statement *s, int cert)
{
    return !(s->only_user && w->certs[cert].is_ca) && !(s->only_ca && !w->certs[cert].is_ca);
}

static int same_scope(const world_statement *a, const world_statement *b)
{
    return a->name == b->name && a->key == b->key && a->reasons == b->reasons
           && a->only_user == b->only_user && a->only_ca == b->only_ca
           && a->is_indirect == b->is_indirect;
}

static int delta_fits(const world_statement *delta, const world_statement *base)
{
    return !delta->is_ocsp && delta->base != 0 && same_scope(delta, base)
           && base->number >= delta->base && delta->number >= base->number && !delta->is_weak
           && !delta->is_spoilt;
}

/* ---- certainly revoked ------------------------------------------------------------------ */

static int is_final_reason(int reason)
{
    return reason >= 0 && reason != CRL_REASON_CERTIFICATE_HOLD
           && reason != CRL_REASON_REMOVE_FROM_CRL;
}

static int has_base(const world *w, const world_statement *delta, int64_t now_s)
{
    for (int i = 0; i < w->num_statements; i++) {
        const world_statement *base = &w->statements[i];
        if (!base->is_ocsp && base->base == 0 && base->way == delta->way && delta_fits(delta, base)
            && !base->is_weak && !base->is_spoilt && is_fresh(w, base, now_s, 0)) {
            return 1;
        }
    }
    return 0;
}

/* The key that issued this certificate says so, in a current statement that is at hand. */
static int issuer_says_revoked(const world *w, int cert, int issuer, int64_t now_s)
{
    for (int i = 0; i < w->num_statements; i++) {
        const world_statement *s = &w->statements[i];
        if (s->way == WORLD_SERVED || !is_looked_at(w, s) || s->is_weak || s->is_spoilt
            || !is_fresh(w, s, now_s, 0) || s->key != w->certs[issuer].key
            || s->name != w->certs[issuer].name) {
            continue;
        }
        if (s->is_ocsp) {
            if (s->target == cert && s->is_revoked && s->signer == w->certs[cert].issuer
                && is_final_reason(w->certs[cert].reason)) {
                return 1;
            }
        } else if (!s->is_indirect && w->certs[issuer].may_sign_crls && scope_fits(w, s, cert)
                   && is_final_reason(listing(s, cert))
                   && (s->base == 0 || has_base(w, s, now_s))) {
            return 1;
        }
    }
    return 0;
}

static int num_asked(const path *p)
{
    return p->w->is_leaf_only && p->num > 2 ? 1 : p->num - 1;
}

static int path_is_revoked(const path *p)
{
    for (int i = 0; i < num_asked(p); i++) {
        if (issuer_says_revoked(p->w, p->certs[i], p->certs[i + 1], p->now_s)) {
            return 1;
        }
    }
    return 0;
}

/* ---- possibly good ------------------------------------------------------------------------ */

/* A path of its own for a CRL's signer to the anchor of `p`, on which `cert` does not stand. */
static int reaches_anchor(const path *p, int signer, int cert, int depth)
{
    const world *w = p->w;
    int anchor = p->certs[p->num - 1];
    if (signer == cert || !is_valid_now(&w->certs[signer], p->now_s) || depth > 8) {
        return 0;
    }
    if (w->certs[signer].is_anchor) {
        return signer == anchor;
    }
    for (int i = 0; i < w->num_certs; i++) {
        const world_cert *c = &w->certs[i];
        if ((c->is_presented || c->is_crl_issuer || c->is_anchor) && issued(w, i, signer)
            && !issuer_says_revoked(w, signer, i, p->now_s)
            && reaches_anchor(p, i, cert, depth + 1)) {
            return 1;
        }
    }
    return 0;
}

static int may_have_signed(const path *p, const world_statement *s, int cert, int issuer)
{
    const world *w = p->w;
    const world_cert *i = &w->certs[issuer];
    if (i->name == s->name && i->key == s->key && i->may_sign_crls) {
        return 1;
    }
    for (int k = 0; k < w->num_certs; k++) {
        const world_cert *c = &w->certs[k];
        if (c->name == s->name && c->key == s->key && c->may_sign_crls
            && (c->is_presented || c->is_crl_issuer || has(p, k))
            && reaches_anchor(p, k, cert, 0)) {
            return 1;
        }
        /* A CRL issuer that its CA names for its own certificate may speak for itself. */
        if (k == cert && c->name == s->name && c->key == s->key && c->crl_issuer == c->name) {
            return 1;
        }
    }
    return 0;
}

static int crl_counts(const path *p, const world_statement *s, int cert, int issuer)
{
    const world *w = p->w;
    int name_fits = s->name == w->certs[issuer].name
                    || (s->is_indirect && w->certs[cert].crl_issuer == s->name);
    return !s->is_ocsp && !s->is_weak && !s->is_spoilt && name_fits && is_looked_at(w, s)
           && is_fresh(w, s, p->now_s, SKEW_S) && scope_fits(w, s, cert)
           && may_have_signed(p, s, cert, issuer);
}

static int is_lifted(const path *p, const world_statement *base, int cert)
{
    for (int i = 0; i < p->w->num_statements; i++) {
        const world_statement *s = &p->w->statements[i];
        if (delta_fits(s, base) && is_looked_at(p->w, s) && is_fresh(p->w, s, p->now_s, SKEW_S)
            && listing(s, cert) == CRL_REASON_REMOVE_FROM_CRL) {
            return 1;
        }
    }
    return 0;
}

static int ocsp_says_good(const path *p, const world_statement *s, int cert, int issuer)
{
    const world *w = p->w;
    const world_cert *signer = &w->certs[s->signer];
    if (!s->is_ocsp || s->target != cert || s->is_revoked || s->is_weak || s->key != signer->key
        || !is_looked_at(w, s) || !is_fresh(w, s, p->now_s, SKEW_S)) {
        return 0;
    }
    if (signer->name == w->certs[issuer].name && signer->key == w->certs[issuer].key) {
        return 1;
    }
    return signer->is_responder && is_valid_now(signer, p->now_s) && issued(w, issuer, s->signer)
           && (signer->has_nocheck || !issuer_says_revoked(w, s->signer, issuer, p->now_s));
}

static int has_proof_of_good(const path *p, int cert, int issuer)
{
    unsigned int covered = 0;
    for (int i = 0; i < p->w->num_statements; i++) {
        const world_statement *s = &p->w->statements[i];
        if (ocsp_says_good(p, s, cert, issuer)) {
            return 1;
        }
        if (crl_counts(p, s, cert, issuer) && s->base == 0
            && (listing(s, cert) < 0 || is_lifted(p, s, cert))) {
            covered |= s->reasons;
        }
    }
    return covered == WORLD_ALL_REASONS;
}

/* ---- over all paths -------------------------------------------------------------------------- */

typedef int (*path_property)(const path *p);

static int is_good_path(const path *p)
{
    if (path_is_revoked(p)) {
        return 0;
    }
    for (int i = 0; i < num_asked(p) && !p->w->is_soft; i++) {
        if (!has_proof_of_good(p, p->certs[i], p->certs[i + 1])) {
            return 0;
        }
    }
    return 1;
}

static int is_free_path(const path *p)
{
    return !path_is_revoked(p);
}

static int some_path(path *p, path_property holds)
{
    const world *w = p->w;
    int last = p->certs[p->num - 1];
    if (!is_valid_now(&w->certs[last], p->now_s)) {
        return 0;
    }
    if (w->certs[last].is_anchor) {
        return holds(p);
    }
    for (int i = 0; i < w->num_certs && p->num < WORLD_MAX_CERTS; i++) {
        if ((w->certs[i].is_presented || w->certs[i].is_anchor) && issued(w, i, last)
            && !has(p, i)) {
            p->certs[p->num++] = i;
            if (some_path(p, holds)) {
                return 1;
            }
            p->num--;
        }
    }
    return 0;
}

int world_may_accept(const world *w, int64_t now_s)
{
    path p = {.w = w, .now_s = now_s, .certs = {w->leaf}, .num = 1};
    return some_path(&p, is_good_path);
}

int world_must_reject(const world *w, int64_t now_s)
{
    path p = {.w = w, .now_s = now_s, .certs = {w->leaf}, .num = 1};
    return !some_path(&p, is_free_path);
}
