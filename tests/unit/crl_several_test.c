/*
 * Several CRLs at once: who may speak for whom, which one counts, and that
 * neither the order nor one more CRL or certificate makes anything good.
 * Every world runs in every order, as CRLs at hand and as a crl_file.
 */
#include "support_crl.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/x509v3.h>

#define MAX_CRLS 4
#define MAX_GIVEN 4
#define POINT "http://crl.example.com/7"

typedef struct {
    const char *what;
    const char *policy;     /* besides the sources */
    X509 *certs[4];         /* presented; none: the usual leaf and intermediate */
    X509 *given[MAX_GIVEN]; /* who may have signed a CRL */
    stls_anchors *anchors;  /* NULL: the usual root and the other one */
    const aid_crl *crls[MAX_CRLS];
    stls_reason wanted;
} world;

static stls_anchors *both_roots(void)
{
    const aid_pki *pki = aid_usual_pki();
    return aid_anchors(pki->root, pki->other_root, NULL);
}

static stls_check *check_of(const world *w, const char *sources)
{
    char policy[256];
    const aid_pki *pki = aid_usual_pki();
    aid_case whole = {.policy = policy,
                      .anchors = w->anchors != NULL ? w->anchors : both_roots(),
                      .certs = w->certs[0] != NULL ? aid_stack(w->certs[0], w->certs[1],
                                                               w->certs[2], w->certs[3], NULL)
                                                   : aid_stack(pki->leaf, pki->inter, NULL)};
    snprintf(policy, sizeof(policy), "no_revocation_source=fail short_lived_s=0 %s %s", sources,
             w->policy != NULL ? w->policy : "");
    stls_check *check = aid_new_check(&whole, NULL);
    for (size_t i = 0; i < MAX_GIVEN && w->given[i] != NULL; i++) {
        stls_check_add_crl_issuer(check, w->given[i]);
    }
    return check;
}

/* Nobody answers: what is at hand decides. */
static stls_reason decide(stls_check *check)
{
    stls_fetch fetch;
    stls_check_start(check, NOW_S);
    while (stls_check_next_fetch(check, &fetch)) {
        stls_reply reply = {.outcome = STLS_FETCH_NETWORK};
        stls_check_feed(check, fetch.id, &reply, NOW_S);
    }
    return aid_conclude(check);
}

static stls_reason run_at_hand(const world *w, const aid_bytes *crls, size_t num)
{
    stls_check *check = check_of(w, "revocation_sources=crl");
    for (size_t i = 0; i < num; i++) {
        assert_int_equal(stls_check_add_crl(check, aid_index_crl(crls[i])), STLS_OK);
    }
    return decide(check);
}

static stls_reason run_file(const world *w, const aid_bytes *crls, size_t num)
{
    aid_bytes pem[MAX_CRLS];
    for (size_t i = 0; i < num; i++) {
        pem[i] = aid_crl_pem(crls[i]);
    }
    stls_check *check = check_of(w, "crl_file=/crls revocation_sources=file");
    stls_crl_file *file = aid_crl_file(aid_join(pem, num), 65536, NULL);
    assert_int_equal(stls_check_set_crl_file(check, file), STLS_OK);
    return decide(check);
}

static void assert_same(const world *w, stls_reason got, const char *how)
{
    if (got != w->wanted) {
        fail_msg("%s, %s: wanted %s, got %s", w->what, how, stls_reason_id(w->wanted),
                 stls_reason_id(got));
    }
}

static void run_orders(const world *w, aid_bytes *crls, size_t num, size_t at)
{
    if (at == num) {
        assert_same(w, run_at_hand(w, crls, num), "at hand");
        if (num > 0) {
            assert_same(w, run_file(w, crls, num), "in the file");
        }
        return;
    }
    for (size_t i = at; i < num; i++) {
        aid_bytes first = crls[i];
        crls[i] = crls[at];
        crls[at] = first;
        run_orders(w, crls, num, at + 1);
        crls[at] = crls[i];
        crls[i] = first;
    }
}

static void assert_world(const world *w)
{
    aid_bytes crls[MAX_CRLS];
    size_t num = 0;
    while (num < MAX_CRLS && w->crls[num] != NULL) {
        crls[num] = aid_make_crl(w->crls[num]);
        num++;
    }
    run_orders(w, crls, num, 0);
}

#define assert_worlds(rows)                                                                        \
    do {                                                                                           \
        for (size_t row = 0; row < sizeof(rows) / sizeof((rows)[0]); row++) {                      \
            assert_world(&(rows)[row]);                                                            \
        }                                                                                          \
    } while (0)

/* ---- whose CRL counts ------------------------------------------------------------------- */

/* A root with a new key: the cross certificate carries it, and the leaf is below. */
static void trap_13_key_rollover(void **state)
{
    X509 *root = aid_make_cert(&(aid_cert){.subject = "CN=X", .key = 0, .is_ca = 1});
    X509 *new_root = aid_make_cert(&(aid_cert){.subject = "CN=X", .key = 5, .is_ca = 1});
    aid_cert cross_spec = {
        .subject = "CN=X", .key = 5, .is_ca = 1, .issuer = root, .issuer_key = 0};
    X509 *cross = aid_make_cert(&cross_spec);
    aid_cert spec = aid_leaf_spec();
    spec.issuer = cross;
    spec.issuer_key = 5;
    X509 *leaf = aid_make_cert(&spec);
    const aid_crl old_empty = {.issuer = root, .issuer_key = 0};
    const aid_crl old_listing = {.issuer = root, .issuer_key = 0, .revoked = {cross}};
    const aid_crl old_listing_leaf = {.issuer = root, .issuer_key = 0, .revoked = {leaf}};
    const aid_crl new_empty = {.issuer = cross, .issuer_key = 5};
    const aid_crl new_listing = {.issuer = cross, .issuer_key = 5, .revoked = {leaf}};
    stls_anchors *old = aid_anchors(root, NULL), *both = aid_anchors(root, new_root, NULL);
    (void)state;
    const world rows[] = {
        {"the old key speaks for both", NULL, {leaf, cross}, {0}, old, {&old_empty}, 0},
        {"each speaks for what it issued",
         NULL,
         {leaf, cross},
         {0},
         old,
         {&old_empty, &new_empty},
         0},
        {"the new key does not speak for itself",
         NULL,
         {leaf, cross},
         {0},
         old,
         {&new_empty},
         STLS_REASON_CRL_BAD_SIGNATURE},
        {"nor outvotes the old one",
         NULL,
         {leaf, cross},
         {0},
         old,
         {&old_listing, &new_empty},
         STLS_REASON_CRL_REVOKED},
        {"a root of its own right", NULL, {leaf, cross}, {0}, both, {&new_empty}, 0},
        {"nor as a root",
         NULL,
         {leaf, cross},
         {new_root},
         old,
         {&new_empty},
         STLS_REASON_CRL_BAD_SIGNATURE},
        {"nor as a root against the old one",
         NULL,
         {leaf, cross},
         {new_root},
         old,
         {&old_listing, &new_empty},
         STLS_REASON_CRL_REVOKED},
        {"each may revoke the leaf: the new",
         NULL,
         {leaf, cross},
         {0},
         old,
         {&old_empty, &new_listing},
         STLS_REASON_CRL_REVOKED},
        {"each may revoke the leaf: the old",
         NULL,
         {leaf, cross},
         {0},
         old,
         {&old_listing_leaf, &new_empty},
         STLS_REASON_CRL_REVOKED},
        {"soft passes no revoked one",
         "revocation=soft",
         {leaf, cross},
         {0},
         old,
         {&old_listing, &new_empty},
         STLS_REASON_CRL_REVOKED},
    };
    assert_worlds(rows);
}

/* One of the issuer's name, by every CA that can be had; only some may sign its CRLs. */
static void trap_13_namesakes_of_the_issuer(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    const struct {
        const char *what;
        X509 *by;
        size_t by_key;
        int is_ca;
        const char *usage;
        stls_reason wanted;
        const char *digest;
    } rows[] = {
        {"of the same root, weakly signed", pki->root, 0, 0, "critical,cRLSign",
         STLS_REASON_CRL_BAD_SIGNATURE, "SHA1"},
        {"of another trusted CA", pki->other_root, 4, 0, "critical,digitalSignature,cRLSign",
         STLS_REASON_CRL_BAD_SIGNATURE, NULL},
        {"a CA of another trusted CA", pki->other_root, 4, 1, NULL, STLS_REASON_CRL_BAD_SIGNATURE,
         NULL},
        {"of the same root, for CRLs", pki->root, 0, 0, "critical,cRLSign", STLS_REASON_NONE, NULL},
        {"of the same root, for CAs", pki->root, 0, 1, NULL, STLS_REASON_NONE, NULL},
        {"of the same root, for TLS", pki->root, 0, 0, NULL, STLS_REASON_CRL_BAD_SIGNATURE, NULL},
        {"of the same root, for nothing", pki->root, 0, 0, "", STLS_REASON_CRL_BAD_SIGNATURE, NULL},
        {"signed by itself", NULL, 0, 1, NULL, STLS_REASON_CRL_BAD_SIGNATURE, NULL},
        {"below the leaf", pki->leaf, 2, 0, "critical,cRLSign", STLS_REASON_CRL_BAD_SIGNATURE,
         NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        X509 *twin = aid_make_cert(&(aid_cert){.subject = "CN=Intermediate,O=Lab",
                                               .key = 6,
                                               .issuer = rows[i].by,
                                               .issuer_key = rows[i].by_key,
                                               .is_ca = rows[i].is_ca,
                                               .key_usage = rows[i].usage,
                                               .digest = rows[i].digest});
        const aid_crl by_twin = {.issuer = twin, .issuer_key = 6};
        const aid_crl by_root = {.issuer = pki->root, .issuer_key = 0};
        const aid_crl by_other = {.issuer = pki->other_root, .issuer_key = 4};
        const aid_crl real = {.revoked = {pki->leaf}};
        const aid_crl twin_revoked = {.issuer = pki->root, .issuer_key = 0, .revoked = {twin}};
        const char *scope = "revocation_scope=leaf chain_extra=allow";
        const world worlds[] = {
            {rows[i].what,
             scope,
             {pki->leaf, pki->inter, twin},
             {0},
             NULL,
             {&by_twin, &by_root, &by_other},
             rows[i].wanted},
            {rows[i].what,
             scope,
             {pki->leaf, pki->inter},
             {twin},
             NULL,
             {&by_twin, &by_root, &by_other},
             rows[i].wanted},
            /* Whatever it says, the issuer's own word stays. */
            {rows[i].what,
             scope,
             {pki->leaf, pki->inter, twin},
             {0},
             NULL,
             {&by_twin, &by_root, &by_other, &real},
             STLS_REASON_CRL_REVOKED},
            {rows[i].what,
             scope,
             {pki->leaf, pki->inter, twin},
             {0},
             NULL,
             {&by_twin, &twin_revoked, &by_other},
             STLS_REASON_CRL_BAD_SIGNATURE},
        };
        assert_worlds(worlds);
    }
}

static const char *point_of_shape;

static void shape_point(X509_CRL *crl)
{
    ISSUING_DIST_POINT *idp = ISSUING_DIST_POINT_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    AID_NEED(idp && name && text && ASN1_STRING_set(text, point_of_shape, -1));
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    AID_NEED(idp->distpoint = DIST_POINT_NAME_new());
    idp->distpoint->type = 0;
    AID_NEED(idp->distpoint->name.fullname = GENERAL_NAMES_new());
    AID_NEED(sk_GENERAL_NAME_push(idp->distpoint->name.fullname, name));
    AID_NEED(X509_CRL_add1_ext_i2d(crl, NID_issuing_distribution_point, idp, 1, 0));
    ISSUING_DIST_POINT_free(idp);
}

/*
 * The key in question goes by another certificate, too, and has issued one that
 * bears the name of its own issuer: that one does not speak for the key.
 */
static void trap_13_what_the_key_issued_does_not_speak_for_it(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *twin = aid_make_cert(&(aid_cert){.subject = "CN=Intermediate,O=Lab",
                                           .key = 1,
                                           .is_ca = 1,
                                           .issuer = pki->root,
                                           .issuer_key = 0,
                                           .crl = "URI:" POINT});
    X509 *signer = aid_make_cert(&(aid_cert){.subject = "CN=Root,O=Lab",
                                             .key = 6,
                                             .is_ca = 1,
                                             .key_usage = "critical,cRLSign",
                                             .issuer = pki->inter,
                                             .issuer_key = 1});
    /* The root's new key, certified twice by its old one. */
    aid_cert cross_spec = {
        .subject = "CN=Root,O=Lab", .key = 7, .is_ca = 1, .issuer = pki->root, .issuer_key = 0};
    X509 *cross = aid_make_cert(&cross_spec);
    cross_spec.crl = "URI:" POINT;
    cross_spec.key_usage = "critical,cRLSign";
    X509 *cross_twin = aid_make_cert(&cross_spec);
    aid_cert low_spec = aid_leaf_spec();
    low_spec.issuer = cross;
    low_spec.issuer_key = 7;
    X509 *low_leaf = aid_make_cert(&low_spec);
    const aid_crl by_cross = {.issuer = cross, .issuer_key = 7};
    const aid_crl about_cross_twin = {.issuer = pki->root, .issuer_key = 0, .shape = shape_point};
    const aid_crl by_signer = {.issuer = signer, .issuer_key = 6};
    const aid_crl by_key = {0};
    const aid_crl about_twin = {.issuer = pki->root, .issuer_key = 0, .shape = shape_point};
    (void)state;
    assert_int_equal(X509_NAME_cmp(X509_get_subject_name(signer), X509_get_subject_name(pki->root)),
                     0);
    point_of_shape = POINT;
    const world rows[] = {
        {"by the key",
         "chain_extra=allow",
         {pki->leaf, pki->inter, signer},
         {0},
         NULL,
         {&by_signer, &by_key},
         STLS_REASON_CRL_BAD_SIGNATURE},
        {"by the key's other certificate",
         NULL,
         {pki->leaf, pki->inter},
         {twin, signer},
         NULL,
         {&by_signer, &by_key, &about_twin},
         STLS_REASON_CRL_BAD_SIGNATURE},
        {"the key under its other certificate",
         NULL,
         {low_leaf, cross},
         {cross_twin},
         NULL,
         {&by_cross, &about_cross_twin},
         STLS_REASON_CRL_BAD_SIGNATURE},
    };
    assert_worlds(rows);
}

static void add_key_id(X509_CRL *crl, const ASN1_OCTET_STRING *id)
{
    AUTHORITY_KEYID *akid = AUTHORITY_KEYID_new();
    AID_NEED(akid && (akid->keyid = ASN1_OCTET_STRING_dup(id)));
    AID_NEED(X509_CRL_add1_ext_i2d(crl, NID_authority_key_identifier, akid, 0, 0));
    AUTHORITY_KEYID_free(akid);
}

static void shape_key_id_of_inter(X509_CRL *crl)
{
    add_key_id(crl, X509_get0_subject_key_id(aid_usual_pki()->inter));
}

static void shape_key_id_of_root(X509_CRL *crl)
{
    add_key_id(crl, X509_get0_subject_key_id(aid_usual_pki()->root));
}

/* A key identifier picks a signer; a wrong one does not make the issuer's CRL useless. */
static void key_identifiers(void **state)
{
    const aid_crl right = {.shape = shape_key_id_of_inter};
    const aid_crl wrong = {.shape = shape_key_id_of_root};
    const world rows[] = {
        {"the issuer's", "revocation_scope=leaf", {0}, {0}, NULL, {&right}, 0},
        {"another's", "revocation_scope=leaf", {0}, {0}, NULL, {&wrong}, 0},
    };
    (void)state;
    assert_worlds(rows);
}

/* ---- which of several counts -------------------------------------------------------------- */

static void number_5(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 5);
}

static void number_6(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 6);
}

/* A reason of two bytes, which no CRLReason has. */
static void unreadable_entry(X509_CRL *crl)
{
    static const unsigned char value[] = {0x0a, 0x02, 0x01, 0x01};
    ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *date = ASN1_TIME_set(NULL, (time_t)(NOW_S - HOUR_S));
    AID_NEED(octets && entry && date && ASN1_OCTET_STRING_set(octets, value, sizeof(value)));
    X509_EXTENSION *reason = X509_EXTENSION_create_by_NID(NULL, NID_crl_reason, 0, octets);
    AID_NEED(reason && X509_REVOKED_add_ext(entry, reason, -1));
    AID_NEED(X509_REVOKED_set_serialNumber(
                 entry, (ASN1_INTEGER *)X509_get0_serialNumber(aid_usual_pki()->leaf))
             && X509_REVOKED_set_revocationDate(entry, date) && X509_CRL_add0_revoked(crl, entry));
    X509_EXTENSION_free(reason);
    ASN1_OCTET_STRING_free(octets);
    ASN1_TIME_free(date);
    number_6(crl);
}

static void trap_13_revoked_is_never_outvoted(void **state)
{
    X509 *leaf = aid_usual_pki()->leaf;
    const int64_t older_s = NOW_S - DAY_S;
    const aid_crl good_5 = {.shape = number_5, .this_update_s = older_s};
    const aid_crl good_6 = {.shape = number_6};
    const aid_crl revoked_5 = {.shape = number_5, .revoked = {leaf}, .this_update_s = older_s};
    const aid_crl revoked_6 = {.shape = number_6, .revoked = {leaf}};
    const aid_crl held_5 = {.shape = number_5,
                            .revoked = {leaf},
                            .reason = CRL_REASON_CERTIFICATE_HOLD,
                            .this_update_s = older_s};
    const aid_crl old_good = {.this_update_s = older_s},
                  old_revoked = {.this_update_s = older_s, .revoked = {leaf}};
    const aid_crl good = {0}, revoked = {.revoked = {leaf}};
    const aid_crl past_revoked = {.revoked = {leaf}, .next_update_s = NOW_S - HOUR_S};
    const aid_crl past_held = {
        .revoked = {leaf}, .reason = CRL_REASON_CERTIFICATE_HOLD, .next_update_s = NOW_S - HOUR_S};
    const aid_crl unreadable = {.shape = unreadable_entry};
    const aid_crl forged = {
        .issuer = aid_usual_pki()->inter, .issuer_key = 6, .revoked = {leaf}, .shape = number_6};
    const char *const policies[] = {"revocation_scope=leaf",
                                    "revocation_scope=leaf revocation=soft"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const char *p = policies[i];
        const world rows[] = {
            {"the newer revokes",
             p,
             {0},
             {0},
             NULL,
             {&good_5, &revoked_6},
             STLS_REASON_CRL_REVOKED},
            {"the older revokes",
             p,
             {0},
             {0},
             NULL,
             {&revoked_5, &good_6},
             STLS_REASON_CRL_REVOKED},
            {"the older holds", p, {0}, {0}, NULL, {&held_5, &good_6}, STLS_REASON_CRL_REVOKED},
            {"no numbers, the newer",
             p,
             {0},
             {0},
             NULL,
             {&old_good, &revoked},
             STLS_REASON_CRL_REVOKED},
            {"no numbers, the older",
             p,
             {0},
             {0},
             NULL,
             {&old_revoked, &good},
             STLS_REASON_CRL_REVOKED},
            {"one past its time, for good",
             p,
             {0},
             {0},
             NULL,
             {&good_6, &past_revoked},
             STLS_REASON_CRL_REVOKED},
            {"one past its time, held", p, {0}, {0}, NULL, {&good_6, &past_held}, 0},
            {"among three",
             p,
             {0},
             {0},
             NULL,
             {&good_5, &revoked_6, &good},
             STLS_REASON_CRL_REVOKED},
            {"one whose reason cannot be read",
             p,
             {0},
             {0},
             NULL,
             {&good_5, &unreadable},
             STLS_REASON_CRL_REVOKED},
            {"one that nobody signed", p, {0}, {0}, NULL, {&good_5, &forged}, 0},
        };
        assert_worlds(rows);
    }
}

/* What has been said already counts, whichever source is asked first and says "good". */
static void trap_13_no_source_outvotes_what_is_at_hand(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *leaf = pki->leaf;
    aid_bytes good = aid_ocsp_about(leaf, pki->inter, 1, V_OCSP_CERTSTATUS_GOOD);
    aid_bytes revoked = aid_ocsp_about(leaf, pki->inter, 1, V_OCSP_CERTSTATUS_REVOKED);
    const aid_crl listing = {.revoked = {leaf}}, empty = {0};
    const aid_crl forged = {.issuer = pki->inter, .issuer_key = 6, .revoked = {leaf}};
    const struct {
        const char *what, *policy;
        aid_bytes staple;
        const aid_crl *given, *file;
        stls_reason wanted;
    } rows[] = {
        {"a CRL",
         "revocation_sources=ocsp,crl",
         {NULL, 0},
         &listing,
         NULL,
         STLS_REASON_CRL_REVOKED},
        {"a CRL, soft",
         "revocation_sources=ocsp,crl revocation=soft",
         {NULL, 0},
         &listing,
         NULL,
         STLS_REASON_CRL_REVOKED},
        {"a CRL that says good", "revocation_sources=ocsp,crl", {NULL, 0}, &empty, NULL, 0},
        {"one that nobody signed", "revocation_sources=ocsp,crl", {NULL, 0}, &forged, NULL, 0},
        {"not among the sources", "revocation_sources=ocsp", {NULL, 0}, &listing, NULL, 0},
        {"the file",
         "revocation_sources=ocsp,file crl_file=/crls",
         {NULL, 0},
         NULL,
         &listing,
         STLS_REASON_CRL_REVOKED},
        {"behind a staple", "revocation_sources=staple,file crl_file=/crls", good, NULL, &listing,
         STLS_REASON_CRL_REVOKED},
        {"the file behind a CRL",
         "revocation_sources=crl,file crl_file=/crls",
         {NULL, 0},
         &empty,
         &listing,
         STLS_REASON_CRL_REVOKED},
        {"a staple", "revocation_sources=ocsp,staple", revoked, NULL, NULL,
         STLS_REASON_OCSP_REVOKED},
        {"a staple behind a CRL", "revocation_sources=crl,staple", revoked, &empty, NULL,
         STLS_REASON_OCSP_REVOKED},
        {"a staple that says good", "revocation_sources=ocsp,staple", good, NULL, NULL, 0},
        {"a staple, not among the sources", "revocation_sources=ocsp", revoked, NULL, NULL, 0},
        {"a short-lived one",
         "revocation_sources=ocsp,crl short_lived_s=31536000 clock_skew_s=1",
         {NULL, 0},
         &listing,
         NULL,
         STLS_REASON_CRL_REVOKED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char policy[256];
        snprintf(policy, sizeof(policy), "revocation_scope=leaf %s", rows[i].policy);
        aid_case whole = {.policy = policy, .staple = rows[i].staple};
        stls_check *check = aid_new_check(&whole, NULL);
        size_t num_fetches;
        if (rows[i].given != NULL) {
            stls_check_add_crl(check, aid_index_crl(aid_make_crl(rows[i].given)));
        }
        if (rows[i].file != NULL) {
            stls_check_set_crl_file(check, aid_crl_file(aid_make_crl(rows[i].file), 65536, NULL));
        }
        aid_finish(&whole, check, &num_fetches);
        stls_reason got = aid_conclude(check);
        if (got != rows[i].wanted) {
            fail_msg("%s: wanted %s, got %s", rows[i].what, stls_reason_id(rows[i].wanted),
                     stls_reason_id(got));
        }
    }
}

/* However often CRLs are judged, each signature, and each path of a signer, is paid for once. */
static void each_signature_is_verified_once(void **state)
{
    const aid_pki *pki = aid_usual_pki();
    X509 *twin = aid_make_cert(&(aid_cert){.subject = "CN=Intermediate,O=Lab",
                                           .key = 6,
                                           .key_usage = "critical,cRLSign",
                                           .issuer = pki->root,
                                           .issuer_key = 0});
    const aid_crl good = {0}, of_root = {.issuer = pki->root, .issuer_key = 0};
    const aid_crl by_twin = {.issuer = twin, .issuer_key = 6};
    const aid_crl forged = {.issuer = pki->inter, .issuer_key = 7};
    const struct {
        const aid_crl *crls[MAX_CRLS];
        int num_signatures;
    } rows[] = {
        {{&good, &of_root}, 2 + 1 + 1},
        {{&forged, &good, &of_root}, 2 + 2 + 1 + 1},
        /* One by the twin is tried with the issuer's key first; the twin's own path is one more. */
        {{&by_twin, &of_root}, 2 + 2 + 1 + 1},
        {{&forged, &by_twin, &of_root}, 2 + 2 + 2 + 1 + 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int less = 0; less < 2; less++) {
            char policy[64];
            snprintf(policy, sizeof(policy), "max_signatures=%d", rows[i].num_signatures - less);
            world w = {"signatures",
                       policy,
                       {pki->leaf, pki->inter},
                       {twin},
                       NULL,
                       {0},
                       less ? STLS_REASON_CHAIN_TOO_COSTLY : STLS_REASON_NONE};
            memcpy(w.crls, rows[i].crls, sizeof(w.crls));
            assert_world(&w);
        }
    }
}

/* ---- deltas -------------------------------------------------------------------------------- */

static void delta_6_on_5(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 6);
    aid_add_crl_number(crl, NID_delta_crl, 5);
}

static void delta_7_on_5(X509_CRL *crl)
{
    aid_add_crl_number(crl, NID_crl_number, 7);
    aid_add_crl_number(crl, NID_delta_crl, 5);
}

static void delta_of_a_point(X509_CRL *crl)
{
    delta_7_on_5(crl);
    point_of_shape = POINT;
    shape_point(crl);
}

static void trap_13_what_a_delta_lifts(void **state)
{
    X509 *leaf = aid_usual_pki()->leaf;
    const int hold = CRL_REASON_CERTIFICATE_HOLD, lift = CRL_REASON_REMOVE_FROM_CRL;
    const int for_good = CRL_REASON_KEY_COMPROMISE;
    const aid_crl good = {.shape = number_5}, open = {.shape = number_5, .revoked = {leaf}};
    const aid_crl held = {.shape = number_5, .revoked = {leaf}, .reason = hold};
    const aid_crl revoked = {.shape = number_5, .revoked = {leaf}, .reason = for_good};
    const aid_crl lift_6 = {.shape = delta_6_on_5, .revoked = {leaf}, .reason = lift};
    const aid_crl lift_7 = {.shape = delta_7_on_5, .revoked = {leaf}, .reason = lift};
    const aid_crl hold_6 = {.shape = delta_6_on_5, .revoked = {leaf}, .reason = hold};
    const aid_crl hold_7 = {.shape = delta_7_on_5, .revoked = {leaf}, .reason = hold};
    const aid_crl revoke_6 = {.shape = delta_6_on_5, .revoked = {leaf}, .reason = for_good};
    const aid_crl empty_6 = {.shape = delta_6_on_5}, empty_7 = {.shape = delta_7_on_5};
    const aid_crl weak = {
        .shape = delta_6_on_5, .revoked = {leaf}, .reason = lift, .digest = "SHA1"};
    const aid_crl forged = {.issuer = aid_usual_pki()->inter,
                            .issuer_key = 6,
                            .shape = delta_7_on_5,
                            .revoked = {leaf},
                            .reason = lift};
    const aid_crl by_root = {.issuer = aid_usual_pki()->root,
                             .issuer_key = 0,
                             .shape = delta_7_on_5,
                             .revoked = {leaf},
                             .reason = lift};
    const aid_crl ahead = {
        .shape = delta_7_on_5, .revoked = {leaf}, .reason = lift, .this_update_s = NOW_S + HOUR_S};
    const aid_crl odd = {
        .shape = delta_7_on_5, .revoked = {leaf}, .reason = lift, .extension = "critical,DER:0500"};
    const aid_crl of_a_point = {.shape = delta_of_a_point, .revoked = {leaf}, .reason = lift};
    const aid_crl past = {
        .shape = delta_7_on_5, .revoked = {leaf}, .reason = lift, .next_update_s = NOW_S - HOUR_S};
    const char *p = "revocation_scope=leaf", *soft = "revocation_scope=leaf revocation=soft";
    const stls_reason no = STLS_REASON_CRL_REVOKED;
    (void)state;
    const world rows[] = {
        {"a hold is lifted", p, {0}, {0}, NULL, {&held, &lift_6}, 0},
        {"so is one without a reason", p, {0}, {0}, NULL, {&open, &lift_6}, 0},
        {"what is for good is not", p, {0}, {0}, NULL, {&revoked, &lift_6}, no},
        {"a delta's hold, by a newer one", p, {0}, {0}, NULL, {&good, &hold_6, &lift_7}, 0},
        {"and the other way round", p, {0}, {0}, NULL, {&good, &lift_6, &hold_7}, no},
        {"of the same number", p, {0}, {0}, NULL, {&good, &lift_6, &hold_6}, no},
        {"two of one number, one says nothing", p, {0}, {0}, NULL, {&held, &lift_6, &empty_6}, no},
        {"two of one number, both lift", p, {0}, {0}, NULL, {&held, &lift_6, &lift_6}, 0},
        {"a delta's for good", p, {0}, {0}, NULL, {&good, &revoke_6, &lift_7}, no},
        {"a newer delta that says nothing", p, {0}, {0}, NULL, {&good, &revoke_6, &empty_7}, no},
        {"nor does it lift", p, {0}, {0}, NULL, {&held, &lift_6, &empty_7}, no},
        {"a weak signature lifts nothing", p, {0}, {0}, NULL, {&held, &weak}, no},
        {"nor under soft", soft, {0}, {0}, NULL, {&held, &weak}, no},
        {"it does where it is strong enough",
         "revocation_scope=leaf security_level=0",
         {0},
         {0},
         NULL,
         {&held, &weak},
         0},
        {"one that nobody signed", soft, {0}, {0}, NULL, {&held, &forged}, no},
        {"it displaces no real one", p, {0}, {0}, NULL, {&held, &lift_6, &forged}, 0},
        {"nor a real revocation", soft, {0}, {0}, NULL, {&good, &hold_6, &forged}, no},
        {"another issuer's", p, {0}, {0}, NULL, {&held, &by_root}, no},
        {"with an unknown critical extension", soft, {0}, {0}, NULL, {&held, &odd}, no},
        {"of another distribution point", soft, {0}, {0}, NULL, {&held, &of_a_point}, no},
        {"past its time", soft, {0}, {0}, NULL, {&held, &past}, no},
        {"one from the future", p, {0}, {0}, NULL, {&held, &ahead}, no},
    };
    assert_worlds(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_13_key_rollover),
        cmocka_unit_test(trap_13_namesakes_of_the_issuer),
        cmocka_unit_test(trap_13_what_the_key_issued_does_not_speak_for_it),
        cmocka_unit_test(key_identifiers),
        cmocka_unit_test(trap_13_revoked_is_never_outvoted),
        cmocka_unit_test(trap_13_no_source_outvotes_what_is_at_hand),
        cmocka_unit_test(each_signature_is_verified_once),
        cmocka_unit_test(trap_13_what_a_delta_lifts),
    };
    return cmocka_run_group_tests_name("crl_several", tests, NULL, aid_end);
}
