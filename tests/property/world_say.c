/* What is said in a world about revocation: CRLs, deltas and OCSP answers, honest ones and others. */
#include "world_parts.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/x509v3.h>

#include "support_crl.h"

/* For aid_crl's shape, which takes no argument. */
static struct {
    const world *w;
    const world_statement *s;
} shaping;

static void add_listed(X509_CRL *crl, const world_cert *issuer_of_entry, const world_cert *cert,
                       int reason, int64_t at_s, int names_issuer)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *date = ASN1_TIME_set(NULL, (time_t)at_s);
    AID_NEED(entry != NULL && date != NULL
             && X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert->x509))
             && X509_REVOKED_set_revocationDate(entry, date));
    if (reason > 0) {
        ASN1_ENUMERATED *value = ASN1_ENUMERATED_new();
        AID_NEED(ASN1_ENUMERATED_set(value, reason)
                 && X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, value, 0, 0) == 1);
        ASN1_ENUMERATED_free(value);
    }
    if (names_issuer) {
        char name[16];
        snprintf(name, sizeof(name), "N%d", issuer_of_entry->name);
        GENERAL_NAMES *names = world_names_of(GEN_DIRNAME, name);
        AID_NEED(X509_REVOKED_add1_ext_i2d(entry, NID_certificate_issuer, names, 1, 0) == 1);
        GENERAL_NAMES_free(names);
    }
    AID_NEED(X509_CRL_add0_revoked(crl, entry));
    ASN1_TIME_free(date);
}

static void add_idp(X509_CRL *crl, const world_statement *s)
{
    ISSUING_DIST_POINT *idp = ISSUING_DIST_POINT_new();
    AID_NEED(idp != NULL);
    idp->indirectCRL = s->is_indirect ? 0xff : 0;
    idp->onlyuser = s->only_user ? 0xff : 0;
    idp->onlyCA = s->only_ca ? 0xff : 0;
    if (s->reasons != WORLD_ALL_REASONS) {
        AID_NEED(idp->onlysomereasons = ASN1_BIT_STRING_new());
        for (int i = 1; i <= 8; i++) {
            AID_NEED(ASN1_BIT_STRING_set_bit(idp->onlysomereasons, i, s->reasons >> i & 1));
        }
    }
    AID_NEED(X509_CRL_add1_ext_i2d(crl, NID_issuing_distribution_point, idp, 1, 0) == 1);
    ISSUING_DIST_POINT_free(idp);
}

static void shape_crl(X509_CRL *crl)
{
    const world_statement *s = shaping.s;
    char name[16];

    snprintf(name, sizeof(name), "N%d", s->name);
    X509_NAME *issuer = X509_NAME_new();
    AID_NEED(issuer != NULL
             && X509_NAME_add_entry_by_txt(issuer, "CN", MBSTRING_UTF8, (const unsigned char *)name,
                                           -1, -1, 0)
             && X509_CRL_set_issuer_name(crl, issuer));
    X509_NAME_free(issuer);
    for (int i = 0; i < s->num_listed; i++) {
        const world_cert *cert = &shaping.w->certs[s->listed[i]];
        add_listed(crl, &shaping.w->certs[cert->issuer], cert, s->listed_reason[i], cert->revoked_s,
                   s->is_indirect);
    }
    aid_add_crl_number(crl, NID_crl_number, s->number);
    if (s->base != 0) {
        aid_add_crl_number(crl, NID_delta_crl, s->base);
    }
    if (s->is_indirect || s->only_user || s->only_ca || s->reasons != WORLD_ALL_REASONS) {
        add_idp(crl, s);
    }
    if (s->names_delta) {
        char url[64];
        snprintf(url, sizeof(url), DELTA_URL, s->name);
        CRL_DIST_POINTS *points = world_points_of(url, -1);
        AID_NEED(X509_CRL_add1_ext_i2d(crl, NID_freshest_crl, points, 0, 0) == 1);
        CRL_DIST_POINTS_free(points);
    }
}

static void times(world *w, world_statement *s)
{
    static const int ages_h[] = {1, 20, 40, 60};
    int age_h = ages_h[world_random(w, 4)];
    s->this_s = w->now_s - age_h * HOUR_S;
    s->number = 100 - age_h;
    s->next_s = w->now_s + (world_chance(w, 50) ? 12 : 72) * HOUR_S;
    if (world_chance(w, 15)) {
        s->next_s = w->now_s - HOUR_S / 2;
        s->this_s -= HOUR_S;
    } else if (world_chance(w, 5)) {
        s->this_s = w->now_s + HOUR_S;
    }
}

static int is_about(const world *w, const world_statement *s, int cert)
{
    const world_cert *c = &w->certs[cert];
    if (c->issuer == cert) {
        return 0;
    }
    return s->is_indirect ? c->crl_issuer == s->name : w->certs[c->issuer].name == s->name;
}

static void list_revoked(world *w, world_statement *s, int is_liar)
{
    for (int i = 0; i < w->num_certs && s->num_listed < WORLD_MAX_LISTED; i++) {
        const world_cert *c = &w->certs[i];
        int listed = c->is_revoked && c->revoked_s <= s->this_s;
        if (!is_about(w, s, i)) {
            continue;
        }
        listed = is_liar ? !listed && world_chance(w, 30) : listed;
        if (listed) {
            s->listed[s->num_listed] = i;
            s->listed_reason[s->num_listed++] = c->is_revoked ? c->reason : 0;
        }
    }
}

static void free_crl(void *crl)
{
    stls_crl_free(crl);
}

static void sign_crl(world *w, world_statement *s, const world_cert *signer)
{
    aid_crl spec = {.issuer = signer->x509,
                    .issuer_key = (size_t)s->key,
                    .this_update_s = s->this_s,
                    .next_update_s = s->next_s,
                    .digest = s->is_weak ? "SHA1" : NULL,
                    .shape = shape_crl};
    shaping.w = w;
    shaping.s = s;
    s->der = aid_make_crl(&spec);
    if (s->is_spoilt) {
        s->der.bytes[s->der.len - 1] ^= 1;
    }
    s->crl = stls_crl_new(NULL, s->der.bytes, s->der.len, NULL);
    AID_NEED(s->crl != NULL);
    aid_keep(free_crl, s->crl);
    while (stls_crl_step(s->crl, 1 << 20) == STLS_CRL_MORE) {
    }
}

static world_way crl_way(world *w)
{
    return world_chance(w, 60) ? WORLD_FILE : world_chance(w, 30) ? WORLD_GIVEN : WORLD_SERVED;
}

/* A CRL in the name of a random certificate that could sign one, or could not. */
void world_say_by_crl(world *w)
{
    world_statement *s = &w->statements[w->num_statements];
    int signer = (int)world_random(w, (unsigned int)w->num_certs);
    const world_cert *c = &w->certs[signer];
    if (!c->is_ca && !c->may_sign_crls) {
        return;
    }
    memset(s, 0, sizeof(*s));
    s->name = c->name;
    s->key = world_chance(w, 5) ? FORGER_KEY : c->key;
    s->signer = signer;
    s->way = crl_way(w);
    s->reasons = WORLD_ALL_REASONS;
    times(w, s);
    s->is_indirect = c->name == CRL_ISSUER_NAME;
    if (world_chance(w, 10)) {
        s->only_user = world_chance(w, 50);
        s->only_ca = !s->only_user;
    }
    if (world_chance(w, 15)) {
        s->reasons = world_chance(w, 50) ? 0x0eu : WORLD_ALL_REASONS & ~0x0eu;
    }
    s->names_delta = world_chance(w, 25);
    s->is_weak = world_chance(w, 5);
    s->is_spoilt = world_chance(w, 3);
    list_revoked(w, s, s->key == EVIL_KEY || s->key == FORGER_KEY || world_chance(w, 3));
    sign_crl(w, s, c);
    snprintf(s->url, sizeof(s->url), CRL_URL, s->name);
    w->num_statements++;
}

/* A delta to a complete CRL: by its key or by another, about the time since or about too much. */
void world_say_by_delta(world *w)
{
    int of = (int)world_random(w, (unsigned int)w->num_statements);
    const world_statement *base = &w->statements[of];
    world_statement *s = &w->statements[w->num_statements];
    if (base->is_ocsp || base->base != 0) {
        return;
    }
    *s = *base;
    times(w, s);
    s->base = world_chance(w, 80) ? base->number : base->number + 5;
    s->number = base->number + 1 + (int)world_random(w, 9);
    s->way = crl_way(w);
    s->is_weak = world_chance(w, 15);
    s->is_spoilt = world_chance(w, 5);
    s->key = world_chance(w, 15) ? FORGER_KEY : base->key;
    s->num_listed = 0;
    list_revoked(w, s, s->key == FORGER_KEY);
    /* Some lift what the base says; only of a hold that is a CA's to say. */
    for (int i = 0; i < base->num_listed && s->num_listed < WORLD_MAX_LISTED; i++) {
        if (base->listed_reason[i] == CRL_REASON_CERTIFICATE_HOLD || s->is_weak || s->is_spoilt
            || s->key == FORGER_KEY) {
            s->num_listed = 0;
            s->listed[s->num_listed] = base->listed[i];
            s->listed_reason[s->num_listed++] = CRL_REASON_REMOVE_FROM_CRL;
        }
    }
    sign_crl(w, s, &w->certs[base->signer]);
    snprintf(s->url, sizeof(s->url), DELTA_URL, s->name);
    w->num_statements++;
}

void world_say_by_ocsp(world *w)
{
    world_statement *s = &w->statements[w->num_statements];
    int target = (int)world_random(w, (unsigned int)w->num_certs);
    const world_cert *c = &w->certs[target];
    if (c->issuer == target) {
        return;
    }
    memset(s, 0, sizeof(*s));
    s->is_ocsp = 1;
    s->target = target;
    s->signer = c->issuer;
    for (int i = 0; i < w->num_certs; i++) {
        if (w->certs[i].is_responder && world_chance(w, 60)) {
            s->signer = i;
        }
    }
    s->name = w->certs[s->signer].name;
    s->key = world_chance(w, 5) ? FORGER_KEY : w->certs[s->signer].key;
    times(w, s);
    s->is_revoked = c->is_revoked && c->revoked_s <= s->this_s;
    if (s->key == FORGER_KEY) {
        s->is_revoked = !s->is_revoked;
    }
    s->way = c->is_presented && world_chance(w, 40) ? WORLD_STAPLED : WORLD_SERVED;
    s->is_weak = world_chance(w, 5);
    aid_ocsp spec = {
        .singles = {{.cert = c->x509,
                     .issuer = w->certs[c->issuer].x509,
                     .status = s->is_revoked ? V_OCSP_CERTSTATUS_REVOKED : V_OCSP_CERTSTATUS_GOOD,
                     .reason = c->reason,
                     .this_update_s = s->this_s,
                     .next_update_s = s->next_s}},
        .signer = w->certs[s->signer].x509,
        .signer_key = (size_t)s->key,
        .digest = s->is_weak ? "SHA1" : NULL,
    };
    s->der = aid_make_ocsp(&spec);
    snprintf(s->url, sizeof(s->url), "http://o.test/%d/", target);
    w->num_statements++;
}
