/*
 * What the unit tests share: an allocator that fails on demand, certificates
 * and OCSP responses of every kind, and whole checks in one call.
 *
 * Everything made here is freed by aid_end(), so a test keeps what it is given
 * and frees nothing of it.  What cannot be made is a mistake in the test and
 * aborts it.  No clock is read: NOW_S is now.
 */
#ifndef STLS_UNIT_SUPPORT_H
#define STLS_UNIT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>

#include "strict_tls/strict_tls.h"

#define NOW_S INT64_C(1790000000) /* 2026-09-21T14:13:20Z */
#define HOUR_S INT64_C(3600)
#define DAY_S INT64_C(86400)

/* cmocka group teardown: frees everything made so far. */
int aid_end(void **state);
/* Has `release` called with `thing` then. */
void aid_keep(void (*release)(void *), void *thing);

#define AID_NEED(made)                                                                             \
    do {                                                                                           \
        if (!(made)) {                                                                             \
            ERR_print_errors_fp(stderr);                                                           \
            fail_msg("%s:%d: cannot make: %s", __FILE__, __LINE__, #made);                         \
        }                                                                                          \
    } while (0)

/* ---- memory --------------------------------------------------------------- */

typedef struct {
    size_t num_allocs;  /* asked for so far */
    size_t num_live;    /* handed out and not freed */
    size_t fail_at;     /* the how-manieth allocation fails, 1 is the first; 0: none */
    int fail_after_too; /* and every later one */
} aid_heap;

stls_allocator aid_allocator(aid_heap *heap);

/* ---- certificates --------------------------------------------------------- */

typedef struct {
    unsigned char *bytes;
    size_t len;
} aid_bytes;

#define AID_NUM_KEYS 16 /* EC P-256, made once per process */

EVP_PKEY *aid_key(size_t index);
/* Another key in its place, until aid_end(); owned. Before anything is made with it. */
void aid_set_key(size_t index, EVP_PKEY *key);
/* The digest of this name; NULL for keys that hash by themselves. */
const EVP_MD *aid_digest(const EVP_PKEY *key, const char *name);

/*
 * Extensions are given as in openssl.cnf, "DER:..." included.  NULL is the
 * default, "" leaves the extension out.
 */
typedef struct {
    const char *subject;     /* "CN=a,O=b" or "" */
    const char *issuer_name; /* NULL: the issuer's subject */
    size_t key;
    X509 *issuer; /* NULL: self-signed */
    size_t issuer_key;
    EVP_PKEY *own_key;    /* instead of `key`, e.g. a weak one */
    int64_t not_before_s; /* 0: ten days ago */
    int64_t not_after_s;  /* 0: in ninety days */
    int is_ca;
    int version;                   /* 0: 3 */
    int64_t serial;                /* 0: the next free one */
    const char *digest;            /* NULL: SHA256 */
    const char *basic_constraints; /* NULL: critical,CA:TRUE or CA:FALSE */
    const char *key_usage;         /* NULL: keyCertSign,cRLSign or digitalSignature, critical */
    const char *eku;               /* NULL: none for a CA, serverAuth for a leaf */
    const char *san;               /* NULL: none */
    const char *aia;               /* "OCSP;URI:http://...,caIssuers;URI:..." */
    const char *crl;               /* "URI:..." */
    const char *tls_feature;       /* "status_request" */
    const char *name_constraints;
    const char *policies;
    const char *policy_constraints;
    const char *nocheck;    /* "ignored" */
    const char *key_id;     /* of the issuer; NULL: keyid, or none for a root */
    const char *own_key_id; /* NULL: hash */
    const char *unknown;    /* content of an unknown extension, "critical,DER:..." */
} aid_cert;

X509 *aid_make_cert(const aid_cert *spec);

/* Who issued what was made, so that issuers can answer for it. */
typedef struct {
    X509 *cert, *issuer;
    size_t issuer_key;
    aid_bytes good; /* what the issuer says, made when first asked for */
} aid_issued;

aid_issued *aid_find_issued(const X509 *cert);
/* A copy with the last byte of the signature changed. */
X509 *aid_spoil_signature(X509 *cert);
/* A stack of borrowed certificates; ends with NULL. */
STACK_OF(X509) *aid_stack(X509 *first, ...);
/* DER, kept until aid_end(). */
const unsigned char *aid_der(const X509 *cert, size_t *len);

/*
 * The usual PKI: root (key 0) -> inter (key 1) -> leaf (key 2) for
 * "api.example.com", with OCSP URLs in inter and leaf; a delegated responder
 * (key 3) of inter's; another root (key 4) that nobody trusts.
 */
typedef struct {
    X509 *root, *inter, *leaf, *responder, *other_root;
} aid_pki;

#define LEAF_NAME "api.example.com"
#define LEAF_OCSP_URL "http://ocsp.example.com/leaf"
#define INTER_OCSP_URL "http://ocsp.example.com/inter"
#define INTER_ISSUER_URL "http://ca.example.com/inter.der"

const aid_pki *aid_usual_pki(void);
/* The usual leaf's spec, to be changed. */
aid_cert aid_leaf_spec(void);

/* ---- OCSP responses ------------------------------------------------------- */

typedef struct {
    X509 *cert, *issuer;
    int status;               /* V_OCSP_CERTSTATUS_...; 0 is good */
    int reason;               /* CRLReason of a revoked one; 0 is unspecified */
    int64_t this_update_s;    /* 0: an hour ago */
    int64_t next_update_s;    /* 0: in a day; -1: absent */
    const char *digest;       /* of the CertID; NULL: SHA1 */
    int64_t archive_cutoff_s; /* 0: absent */
} aid_single;

typedef struct {
    int error_status; /* OCSP_RESPONSE_STATUS_...; 0 is successful */
    aid_single singles[4];
    int num_singles; /* 0: one, if singles[0].cert is set; -1: none */
    X509 *signer;    /* NULL: the first single's issuer */
    size_t signer_key;
    X509 *with_cert; /* sent along instead of the signer's certificate */
    int no_certs;
    int by_key;                   /* responderID is the key's hash instead of the name */
    const char *digest;           /* of the signature; NULL: SHA256 */
    const unsigned char *request; /* its nonce is copied */
    size_t request_len;
    const char *nonce; /* another nonce */
    int spoil_signature;
    void (*shape)(OCSP_BASICRESP *basic);   /* adds whatever else, before it is signed */
    void (*reshape)(OCSP_BASICRESP *basic); /* changes what signing fills in; signed again */
} aid_ocsp;

aid_bytes aid_make_ocsp(const aid_ocsp *spec);
/* The plain one: good, from the issuer itself; `status` as in aid_single. */
aid_bytes aid_ocsp_about(X509 *cert, X509 *issuer, size_t issuer_key, int status);

/* ---- policies, anchors ---------------------------------------------------- */

/* Frozen; `text` as for stls_policy_set_text(); `allocator` may be NULL. */
stls_policy *aid_policy(const char *text, const stls_allocator *allocator);
/* Frozen; ends with NULL. */
stls_anchors *aid_anchors(X509 *first, ...);
stls_anchors *aid_usual_anchors(void);

/* ---- whole checks ----------------------------------------------------------- */

#define AID_MAX_CERTS 16

/* How a fetch about one certificate ends. */
typedef struct {
    /* 0: the certificate's issuer says good, as it does where CACHED is not allowed */
    stls_fetch_outcome outcome;
    aid_bytes bytes;
} aid_reply;

/* Zeroed, it is the usual leaf and intermediate in order, which is accepted. */
typedef struct {
    const char *policy;
    stls_anchors *anchors;
    stls_role role;
    STACK_OF(X509) *certs;
    const char *name;                 /* NULL: LEAF_NAME; "" is none */
    aid_bytes staple;                 /* of the leaf */
    aid_reply replies[AID_MAX_CERTS]; /* by presented index */
} aid_case;

/* With everything in it that the case says, ready to start; the caller frees it. */
stls_check *aid_new_check(const aid_case *c, const stls_allocator *allocator);
/* What the case has to say to a fetch. */
stls_reply aid_reply_to(const aid_case *c, const stls_fetch *fetch);
/* Carries out all fetches that are named until the verdict is final. */
stls_verdict aid_finish(const aid_case *c, stls_check *check, size_t *num_fetches);
/* All at once. */
stls_result *aid_judge(const aid_case *c);
size_t aid_count_fetches(const aid_case *c);

/* Primary reason of a check that is final. */
stls_reason aid_reason(stls_check *check);
/* The same of one that only this reason may have refused; frees it. */
stls_reason aid_conclude(stls_check *check);
/* How many findings there are, "error", "note" or NULL for both. */
size_t aid_findings(const stls_result *result, stls_reason reason, const char *severity);

/* The result has this verdict and this primary reason. */
#define assert_result(result, wanted_verdict, wanted_reason)                                       \
    aid_assert_result(result, wanted_verdict, wanted_reason, "", __FILE__, __LINE__)
#define assert_case(what, c, wanted_verdict, wanted_reason)                                        \
    aid_assert_result(aid_judge(c), wanted_verdict, wanted_reason, what, __FILE__, __LINE__)

void aid_assert_result(const stls_result *result, stls_verdict verdict, stls_reason reason,
                       const char *what, const char *file, int line);

#endif
