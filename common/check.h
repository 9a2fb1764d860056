/* One peer, one check: the state that check.c sequences and result.c takes a picture of. */
#ifndef STLS_CHECK_H
#define STLS_CHECK_H

#include "anchors.h"
#include "chain.h"
#include "crl_file.h"
#include "finding.h"
#include "ladder.h"
#include "name.h"
#include "path.h"
#include "policy.h"

/* What must all have passed before anything may be accepted. */
enum {
    STLS_PASSED_PRESENTED = 1,
    STLS_PASSED_PATH = 2,
    STLS_PASSED_NAME = 4,
    STLS_PASSED_REVOCATION = 8,
    STLS_PASSED_ALL = 15
};

typedef enum { STLS_PHASE_COLLECT, STLS_PHASE_TRUST, STLS_PHASE_ASK, STLS_PHASE_FINAL } stls_phase;

struct stls_check_st {
    stls_allocator allocator;
    stls_policy *policy;
    stls_anchors *anchors;
    stls_role role;
    stls_phase phase;
    int passed; /* STLS_PASSED_* */
    int trust_failed;
    STACK_OF(X509) *presented;
    size_t num_presented, presented_bytes; /* all that came, also beyond the bounds */
    stls_name_type name_type;
    char name[STLS_MAX_NAME_LEN + 1];
    stls_findings findings;
    stls_work work;
    stls_memo *memo; /* or NULL */
    stls_path path;
    stls_place *places;
    stls_order order;
    stls_staple *staples;
    size_t num_staples, cap_staples;
    stls_ladder ladder;
    stls_crl **crls; /* given by the host before the start */
    size_t num_crls, cap_crls;
    STACK_OF(X509) *crl_issuers; /* presented, then given */
    stls_crl_file *crl_file;
    int64_t now_s; /* of the latest call */
    stls_verdict verdict;
    int would_reject;       /* report mode: the verdict that enforce would have given is REJECT */
    int is_local;           /* the verdict rests on a failure of this process */
    int64_t staple_until_s; /* of the staple that the certificate demands; INT64_MAX: none */
    int64_t valid_until_s, refresh_at_s;
};

/* The report as JSON text from the check's allocator; NULL when out of memory. */
char *stls_report_render(const stls_check *check, const char *word, size_t *len);

#endif
