#include "world_parts.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/x509v3.h>

#include "support_crl.h"

/* ---- chance ------------------------------------------------------------------------ */

/* splitmix64 */
unsigned int world_random(world *w, unsigned int below)
{
    if (w->num_chances > 0) { /* given from outside, by a fuzzer */
        w->num_chances--;
        return *w->chances++ % below;
    }
    uint64_t z = (w->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (unsigned int)((z ^ (z >> 31)) % below);
}

int world_chance(world *w, unsigned int percent)
{
    return world_random(w, 100) < percent;
}

/* ---- certificates --------------------------------------------------------------------- */

GENERAL_NAMES *world_names_of(int type, const char *text)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    AID_NEED(names != NULL && name != NULL);
    if (type == GEN_URI) {
        ASN1_IA5STRING *uri = ASN1_IA5STRING_new();
        AID_NEED(uri != NULL && ASN1_STRING_set(uri, text, -1));
        GENERAL_NAME_set0_value(name, GEN_URI, uri);
    } else {
        X509_NAME *dn = X509_NAME_new();
        AID_NEED(dn != NULL
                 && X509_NAME_add_entry_by_txt(dn, "CN", MBSTRING_UTF8, (const unsigned char *)text,
                                               -1, -1, 0));
        GENERAL_NAME_set0_value(name, GEN_DIRNAME, dn);
    }
    AID_NEED(sk_GENERAL_NAME_push(names, name));
    return names;
}

/* A distribution point with this URL, and this CRL issuer if there is one. */
CRL_DIST_POINTS *world_points_of(const char *url, int crl_issuer)
{
    CRL_DIST_POINTS *points = CRL_DIST_POINTS_new();
    DIST_POINT *point = DIST_POINT_new();

    AID_NEED(points != NULL && point != NULL && (point->distpoint = DIST_POINT_NAME_new()));
    point->distpoint->type = 0;
    point->distpoint->name.fullname = world_names_of(GEN_URI, url);
    if (crl_issuer >= 0) {
        char name[16];
        snprintf(name, sizeof(name), "N%d", crl_issuer);
        point->CRLissuer = world_names_of(GEN_DIRNAME, name);
    }
    AID_NEED(sk_DIST_POINT_push(points, point));
    return points;
}

/* The same as "DER:...". */
static void point_text(char *out, size_t out_len, const char *url, int crl_issuer)
{
    CRL_DIST_POINTS *points = world_points_of(url, crl_issuer);
    unsigned char *der = NULL;
    size_t at = (size_t)snprintf(out, out_len, "DER:");

    int len = i2d_CRL_DIST_POINTS(points, &der);
    AID_NEED(len > 0 && (size_t)len * 3 + 8 < out_len);
    for (int i = 0; i < len; i++) {
        at += (size_t)snprintf(out + at, out_len - at, "%s%02X", i > 0 ? ":" : "", der[i]);
    }
    OPENSSL_free(der);
    CRL_DIST_POINTS_free(points);
}

static void maybe_revoke(world *w, world_cert *c, int percent)
{
    if (!c->is_anchor && world_chance(w, (unsigned int)percent)) {
        c->is_revoked = 1;
        c->revoked_s = w->now_s - 36 * HOUR_S;
        c->reason = world_chance(w, 20)   ? CRL_REASON_CERTIFICATE_HOLD
                    : world_chance(w, 50) ? CRL_REASON_KEY_COMPROMISE
                                          : 0;
    }
}

/* Makes the certificate that `c` describes; its index. */
static int add_cert(world *w, world_cert c)
{
    char subject[16], point[1024], ocsp[64], issuer_name[16];
    int index = w->num_certs;

    AID_NEED(index < WORLD_MAX_CERTS);
    snprintf(subject, sizeof(subject), "CN=N%d", c.name);
    int is_self = c.issuer < 0;
    c.issuer = is_self ? index : c.issuer;
    snprintf(issuer_name, sizeof(issuer_name), "CN=N%d",
             is_self ? c.name : w->certs[c.issuer].name);
    snprintf(ocsp, sizeof(ocsp), "OCSP;URI:http://o.test/%d", index);
    snprintf(c.url, sizeof(c.url), CRL_URL, is_self ? c.name : w->certs[c.issuer].name);
    c.from_s = c.from_s != 0 ? c.from_s : w->now_s - 30 * DAY_S;
    c.to_s = c.to_s != 0 ? c.to_s : w->now_s + 30 * DAY_S;
    aid_cert spec = {.subject = subject,
                     .issuer_name = issuer_name,
                     .key = (size_t)c.key,
                     .issuer = is_self ? NULL : w->certs[c.issuer].x509,
                     .issuer_key = (size_t)c.issuer_key,
                     .is_ca = c.is_ca,
                     .serial = 100 + index,
                     .not_before_s = c.from_s,
                     .not_after_s = c.to_s,
                     .key_usage = c.is_ca ? c.may_sign_crls ? "critical,keyCertSign,cRLSign"
                                                            : "critical,keyCertSign"
                                  : c.may_sign_crls ? "critical,digitalSignature,cRLSign"
                                                    : "critical,digitalSignature",
                     .eku = c.is_responder ? "OCSPSigning"
                            : c.is_ca      ? ""
                                           : "serverAuth",
                     .nocheck = c.has_nocheck ? "ignored" : NULL,
                     .san = c.name == LEAF_NAME_ID ? "DNS:" LEAF_NAME : NULL};
    if (!is_self) {
        point_text(point, sizeof(point), c.url, c.crl_issuer);
        spec.crl = point;
        spec.aia = ocsp;
    }
    c.x509 = aid_make_cert(&spec);
    w->certs[index] = c;
    maybe_revoke(w, &w->certs[index], c.name == LEAF_NAME_ID ? 45 : 20);
    return w->num_certs++;
}

static world_cert ca(int name, int key, int issuer, int issuer_key)
{
    return (world_cert){.name = name,
                        .key = key,
                        .issuer = issuer,
                        .issuer_key = issuer_key,
                        .is_ca = 1,
                        .may_sign_crls = 1,
                        .crl_issuer = -1};
}

static world_cert end_entity(int name, int key, int issuer, int issuer_key)
{
    return (world_cert){
        .name = name, .key = key, .issuer = issuer, .issuer_key = issuer_key, .crl_issuer = -1};
}

/* Which name a certificate's distribution point gives for the CRL's issuer. */
static int maybe_indirect(world *w)
{
    return world_chance(w, 15) ? CRL_ISSUER_NAME : -1;
}

typedef struct {
    int cert;       /* whose name and key the next certificate is issued under */
    int other_root; /* or -1 */
    int root;
} place;

static place make_roots(world *w)
{
    place p = {.other_root = -1};
    world_cert c = ca(ROOT_NAME, ROOT_KEY, -1, ROOT_KEY);
    c.is_anchor = 1;
    p.root = p.cert = add_cert(w, c);
    if (world_chance(w, 40)) { /* the root's key is rolled over */
        c = ca(ROOT_NAME, ROOT_NEW_KEY, -1, ROOT_NEW_KEY);
        c.is_anchor = world_chance(w, 30);
        int new_root = add_cert(w, c);
        w->certs[new_root].is_presented = !c.is_anchor && world_chance(w, 50);
        c = ca(ROOT_NAME, ROOT_NEW_KEY, p.root, ROOT_KEY);
        int cross = add_cert(w, c);
        w->certs[cross].is_presented = 1;
        if (world_chance(w, 30)) {
            int back = add_cert(w, ca(ROOT_NAME, ROOT_KEY, new_root, ROOT_NEW_KEY));
            w->certs[back].is_presented = world_chance(w, 50);
        }
        if (world_chance(w, 70)) {
            p.cert = cross;
        }
    }
    if (world_chance(w, 50)) {
        c = ca(OTHER_ROOT_NAME, OTHER_ROOT_KEY, -1, OTHER_ROOT_KEY);
        c.is_anchor = world_chance(w, 80);
        p.other_root = add_cert(w, c);
    }
    return p;
}

/* Another certificate for the CA of `of`: expired or not, from its issuer or from the other root. */
static void make_twin(world *w, const place *p, int of)
{
    world_cert twin = ca(w->certs[of].name, w->certs[of].key, w->certs[of].issuer,
                         w->certs[of].issuer_key);
    if (p->other_root >= 0 && world_chance(w, 40)) {
        twin.issuer = p->other_root;
        twin.issuer_key = OTHER_ROOT_KEY;
    }
    if (world_chance(w, 50)) {
        twin.from_s = w->now_s - 60 * DAY_S;
        twin.to_s = w->now_s - DAY_S;
    }
    w->certs[add_cert(w, twin)].is_presented = world_chance(w, 70);
}

/* A new key of the CA of `of`; the index of its certificate. */
static int roll_over(world *w, const place *p, int of, int key)
{
    world_cert c = ca(w->certs[of].name, key, w->certs[of].issuer, w->certs[of].issuer_key);
    if (world_chance(w, 40)) { /* self-issued: by its old key */
        c.issuer = of;
        c.issuer_key = w->certs[of].key;
    } else if (p->other_root >= 0 && world_chance(w, 30)) {
        c.issuer = p->other_root;
        c.issuer_key = OTHER_ROOT_KEY;
    }
    int index = add_cert(w, c);
    w->certs[index].is_presented = world_chance(w, 70);
    return index;
}

static void make_intermediates(world *w, place *p)
{
    unsigned int depth = world_random(w, 3);
    for (unsigned int i = 0; i < depth; i++) {
        world_cert c = ca(CA_NAME + (int)i, CA_KEY + (int)i, p->cert, w->certs[p->cert].key);
        c.crl_issuer = maybe_indirect(w);
        c.may_sign_crls = world_chance(w, 90);
        int made = add_cert(w, c);
        w->certs[made].is_presented = 1;
        if (world_chance(w, 25)) {
            make_twin(w, p, made);
        }
        if (world_chance(w, 30)) {
            int rolled = roll_over(w, p, made, CA_NEW_KEY + (int)i);
            if (world_chance(w, 40)) {
                w->certs[rolled].is_presented = 1;
                made = rolled;
            }
        }
        p->cert = made;
    }
}

/* Who signs on behalf of CAs, and who only pretends to. */
static void make_delegates(world *w, const place *p)
{
    const world_cert *issuer = &w->certs[p->cert];
    world_cert c;
    int by = p->other_root >= 0 && world_chance(w, 40) ? p->other_root
             : world_chance(w, 50)                     ? p->cert
                                                       : p->root;
    if (world_chance(w, 30)) { /* a key of its own for the CRLs of the leaf's issuer */
        c = end_entity(issuer->name, CRL_KEY, by, w->certs[by].key);
        c.may_sign_crls = world_chance(w, 80);
        w->certs[add_cert(w, c)].is_crl_issuer = 1;
    }
    if (world_chance(w, 40)) { /* for indirect CRLs */
        by = world_chance(w, 60) || p->other_root < 0 ? p->root : p->other_root;
        c = end_entity(CRL_ISSUER_NAME, CRL_ISSUER_KEY, by, w->certs[by].key);
        c.may_sign_crls = 1;
        c.crl_issuer = world_chance(w, 40) ? CRL_ISSUER_NAME : -1;
        w->certs[add_cert(w, c)].is_crl_issuer = 1;
    }
    if (p->other_root >= 0 && world_chance(w, 40)) { /* a stranger with the issuer's name */
        c = end_entity(issuer->name, EVIL_KEY, p->other_root, OTHER_ROOT_KEY);
        c.may_sign_crls = world_chance(w, 70);
        int evil = add_cert(w, c);
        w->certs[evil].is_presented = world_chance(w, 60);
        w->certs[evil].is_crl_issuer = 1;
    }
    if (world_chance(w, 50)) {
        by = p->other_root >= 0 && world_chance(w, 25) ? p->other_root : p->cert;
        c = end_entity(RESPONDER_NAME, RESPONDER_KEY, by, w->certs[by].key);
        c.is_responder = 1;
        c.has_nocheck = world_chance(w, 50);
        add_cert(w, c);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void choose_policy(world *w)
{
    static const char *const sources[] = {"file,staple,ocsp,crl",
                                          "file,crl",
                                          "staple,ocsp,crl,file",
                                          "ocsp,file",
                                          "crl,ocsp",
                                          "file"};
    w->is_soft = world_chance(w, 25);
    w->is_leaf_only = world_chance(w, 15);
    w->grace_s = world_chance(w, 25) ? 2 * HOUR_S : 0;
    const char *asked = sources[world_random(w, sizeof(sources) / sizeof(sources[0]))];
    snprintf(w->policy, sizeof(w->policy),
             "chain_order=any chain_extra=allow max_chain_len=30 x509_strict=off short_lived_s=0 "
             "%srevocation=%s revocation_scope=%s stale_grace_s=%d revocation_sources=%s",
             strstr(asked, "file") != NULL ? "crl_file=given " : "", w->is_soft ? "soft" : "hard",
             w->is_leaf_only ? "leaf" : "chain", (int)w->grace_s, asked);
}

static stls_anchors *make_anchors(const world *w)
{
    X509 *anchors[4] = {NULL};
    int num = 0;
    for (int i = 0; i < w->num_certs && num < 4; i++) {
        if (w->certs[i].is_anchor) {
            anchors[num++] = w->certs[i].x509;
        }
    }
    return aid_anchors(anchors[0], anchors[1], anchors[2], anchors[3], NULL);
}

void world_make(world *w, uint64_t seed, const unsigned char *chances, size_t num_chances)
{
    memset(w, 0, sizeof(*w));
    w->seed = w->random = seed;
    w->chances = chances;
    w->num_chances = num_chances;
    w->now_s = NOW_S;
    choose_policy(w);
    place p = make_roots(w);
    make_intermediates(w, &p);
    world_cert leaf = end_entity(LEAF_NAME_ID, LEAF_KEY, p.cert, w->certs[p.cert].key);
    leaf.crl_issuer = maybe_indirect(w);
    leaf.is_presented = 1;
    w->leaf = add_cert(w, leaf);
    make_delegates(w, &p);
    w->anchors = make_anchors(w);
    unsigned int num = 2 + world_random(w, 12);
    for (unsigned int i = 0; i < num; i++) {
        if (world_chance(w, 60)) {
            world_say_by_crl(w);
        } else if (w->num_statements > 0 && world_chance(w, 40)) {
            world_say_by_delta(w);
        } else {
            world_say_by_ocsp(w);
        }
    }
}

void world_print(const world *w)
{
    static const char *const ways[] = {"file", "given", "stapled", "served"};
    printf("world %llu: %s\n", (unsigned long long)w->seed, w->policy);
    for (int i = 0; i < w->num_certs; i++) {
        const world_cert *c = &w->certs[i];
        printf("  cert %d: name N%d key %d by cert %d (N%d key %d)%s%s%s%s%s%s%s", i, c->name,
               c->key, c->issuer, w->certs[c->issuer].name, c->issuer_key,
               i == w->leaf ? " LEAF" : "", c->is_anchor ? " anchor" : "",
               c->is_presented ? " presented" : "", c->is_ca ? " ca" : "",
               c->may_sign_crls ? " crlsign" : "",
               c->is_responder ? c->has_nocheck ? " responder-nocheck" : " responder" : "",
               c->is_crl_issuer ? " crl-issuer" : "");
        if (c->crl_issuer >= 0) {
            printf(" point-names N%d", c->crl_issuer);
        }
        if (c->to_s < w->now_s) {
            printf(" expired");
        }
        if (c->is_revoked) {
            printf(" revoked reason %d", c->reason);
        }
        printf("\n");
    }
    for (int i = 0; i < w->num_statements; i++) {
        const world_statement *s = &w->statements[i];
        printf("  %s %d (%s): by N%d key %d, this %+lld h next %+lld h%s%s",
               s->is_ocsp ? "ocsp" : "crl", i, ways[s->way], s->name, s->key,
               (long long)(s->this_s - w->now_s) / HOUR_S,
               (long long)(s->next_s - w->now_s) / HOUR_S, s->is_weak ? " weak" : "",
               s->is_spoilt ? " spoilt" : "");
        if (s->is_ocsp) {
            printf(", cert %d is %s, signed as cert %d\n", s->target,
                   s->is_revoked ? "revoked" : "good", s->signer);
            continue;
        }
        printf(", number %d base %d reasons %x%s%s%s lists", s->number, s->base, s->reasons,
               s->is_indirect ? " indirect" : "", s->only_user ? " only-user" : "",
               s->only_ca ? " only-ca" : "");
        for (int k = 0; k < s->num_listed; k++) {
            printf(" %d(%d)", s->listed[k], s->listed_reason[k]);
        }
        printf("\n");
    }
}
