/*
 * Small random PKIs and what is said in them about revocation, for properties
 * that must hold in every one of them.  A seed makes the same world again, but
 * for its keys.
 */
#ifndef STLS_PROPERTY_WORLD_H
#define STLS_PROPERTY_WORLD_H

#include "support.h"

#define WORLD_MAX_CERTS 20
#define WORLD_MAX_STATEMENTS 24
#define WORLD_MAX_LISTED 8
#define WORLD_ALL_REASONS 0x1feu /* reasons 1 to 8 as bits, RFC 5280 section 5.2.5 */

/* Certificates with the same name and key are the same CA. */
typedef struct {
    X509 *x509;
    int name, key;
    int issuer;     /* index of the issuing certificate; its own for self-signed ones */
    int issuer_key; /* that signed it */
    int is_ca, may_sign_crls, is_responder, has_nocheck, is_anchor, is_presented;
    int is_crl_issuer; /* given as one that may have signed a CRL */
    int crl_issuer;    /* name of the CRL issuer in its distribution point; -1: none is named */
    int64_t from_s, to_s;
    int is_revoked; /* what its issuer says since revoked_s */
    int reason;     /* of the revocation; 0: none is given */
    int64_t revoked_s;
    char url[64]; /* of its distribution point */
} world_cert;

typedef enum { WORLD_FILE, WORLD_GIVEN, WORLD_STAPLED, WORLD_SERVED } world_way;

typedef struct {
    int is_ocsp;
    world_way way;
    aid_bytes der;
    stls_crl *crl; /* walked through; CRLs only */
    int name;      /* of the CRL's issuer; of an OCSP answer the signer's */
    int key;       /* that signed it */
    int signer;    /* index of the certificate that the OCSP answer is signed under */
    int64_t this_s, next_s;
    int is_weak, is_spoilt; /* signed with SHA-1; a signature that does not verify */
    /* CRLs */
    int number, base; /* CRL numbers; base 0: complete */
    int is_indirect, only_user, only_ca;
    int names_delta;      /* has a freshestCRL */
    unsigned int reasons; /* that it answers for */
    int listed[WORLD_MAX_LISTED], listed_reason[WORLD_MAX_LISTED], num_listed;
    char url[64]; /* where it is served */
    /* OCSP */
    int target, is_revoked;
} world_statement;

typedef struct {
    uint64_t seed, random;
    const unsigned char *chances;
    size_t num_chances;
    int64_t now_s;
    world_cert certs[WORLD_MAX_CERTS];
    int num_certs;
    world_statement statements[WORLD_MAX_STATEMENTS];
    int num_statements;
    int leaf;
    char policy[512];
    int is_soft, is_leaf_only;
    int64_t grace_s;
    stls_anchors *anchors;
} world;

/* world_make.c */
/* By these chances first, then by the seed. All that it makes is freed by aid_end(). */
void world_make(world *w, uint64_t seed, const unsigned char *chances, size_t num_chances);
void world_print(const world *w);
unsigned int world_random(world *w, unsigned int below);
int world_chance(world *w, unsigned int percent);

/* world_model.c: what the rules allow, told from the specification alone */
/* 1: some path of the presented certificates has a current proof "good" for all of it. */
int world_may_accept(const world *w, int64_t now_s);
/* 1: the only issuer of a certificate that must be on the path has said "revoked", and it counts. */
int world_must_reject(const world *w, int64_t now_s);

/* world_check.c */
typedef struct {
    int certs[WORLD_MAX_CERTS], num_certs;                /* presented, in this order */
    int statements[WORLD_MAX_STATEMENTS], num_statements; /* at hand, in this order */
    int64_t now_s;
} world_view;

typedef struct {
    unsigned char question[STLS_ID_LEN];
    size_t cert_index; /* about which it was conclusive */
    stls_answer answer;
    aid_bytes bytes;
    uint32_t id; /* of the fetch, while its check goes on */
} world_stored;

typedef struct {
    stls_verdict verdict;
    stls_reason reason;
    int64_t valid_until_s;
    world_stored stored[64]; /* in: what a cache has; out: conclusive answers are added */
    int num_stored;
    int num_fetched;   /* over the network */
    int num_refetched; /* because the cache's answer was refused where it had been conclusive */
} world_outcome;

void world_view_all(const world *w, world_view *view);
void world_check(const world *w, const world_view *view, world_outcome *out);
/* properties.c */
#define WORLD_NUM_PROPERTIES 8
/* The name of a property, and whether it holds. */
const char *world_property(world *w, const world_view *view, const world_outcome *out, size_t index,
                           int *holds);

/* What OpenSSL's own CRL checking says of CRLs that are all at hand: an X509_V_ERR_ code. */
int world_openssl(const world *w, const world_view *view);

#endif
