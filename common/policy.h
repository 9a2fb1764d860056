/* What the rule files see of a policy: words as enums, lists as arrays. */
#ifndef STLS_POLICY_H
#define STLS_POLICY_H

#include <stdatomic.h>

#include <openssl/objects.h>

#include "directive.h"
#include "mem.h"

/* Index of the word in the key table's `values`. */
enum { STLS_MODE_ENFORCE, STLS_MODE_REPORT, STLS_MODE_OFF };
enum { STLS_ROOT_ALLOW, STLS_ROOT_REQUIRE, STLS_ROOT_FORBID };
enum { STLS_ORDER_STRICT, STLS_ORDER_ANY };
enum { STLS_EXTRA_ALLOW, STLS_EXTRA_DENY };
enum { STLS_X509_STRICT_ON, STLS_X509_STRICT_OFF };
enum { STLS_PURPOSE_ROLE, STLS_PURPOSE_ANY };
enum { STLS_NAME_REQUIRE, STLS_NAME_OFF };
enum { STLS_REVOCATION_HARD, STLS_REVOCATION_SOFT, STLS_REVOCATION_OFF };
enum { STLS_SCOPE_CHAIN, STLS_SCOPE_LEAF };
enum { STLS_SOURCE_STAPLE, STLS_SOURCE_OCSP, STLS_SOURCE_CRL, STLS_SOURCE_FILE, STLS_NUM_SOURCES };
enum { STLS_NO_SOURCE_FAIL, STLS_NO_SOURCE_ALLOW };
enum { STLS_NETWORK_ERROR_FAIL, STLS_NETWORK_ERROR_TOLERATE };
enum { STLS_MUST_STAPLE_ENFORCE, STLS_MUST_STAPLE_IGNORE };
enum { STLS_OFF, STLS_ON }; /* keys whose default is off */
enum { STLS_DENY_LOOPBACK, STLS_DENY_LINK_LOCAL, STLS_DENY_PRIVATE, STLS_DENY_NONE };

#define STLS_MAX_LIST 8

struct stls_policy_st {
    stls_allocator allocator;
    atomic_uint refs;
    int frozen;
    stls_directives directives;
    char *text[STLS_NUM_KEYS]; /* normalized */
    int64_t num[STLS_NUM_KEYS];
    uint8_t list[STLS_NUM_KEYS][STLS_MAX_LIST]; /* word indices in the order given */
    uint8_t list_len[STLS_NUM_KEYS];
    STACK_OF(ASN1_OBJECT) *cert_policies; /* made by freeze; NULL: any */
    unsigned char id[STLS_ID_LEN];
};

typedef struct {
    stls_key key;
    const char *value;
} stls_policy_change;

/* A frozen copy with these keys changed; NULL when out of memory. */
stls_policy *stls_policy_derive(const stls_policy *policy, const stls_policy_change *changes,
                                size_t num);

/* Thresholds of expiry_warn_s; returns how many. */
#define STLS_MAX_THRESHOLDS 8
size_t stls_policy_thresholds(const char *value, int64_t thresholds_s[STLS_MAX_THRESHOLDS]);

#endif
