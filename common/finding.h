/* What the rules found: a list that only grows. */
#ifndef STLS_FINDING_H
#define STLS_FINDING_H

#include "mem.h"

#define STLS_NO_CERT (-1)

typedef struct {
    stls_reason reason;
    int is_error;   /* rejects; 0: worth telling, no more */
    int is_warning; /* not an error now, of a chain of our own; its owner should act all the same */
    int cert_index; /* presented index or STLS_NO_CERT */
    int slot;       /* the revocation slot it belongs to, or -1 */
    int is_local; /* a failure of this process: where it leaves a slot open, not even soft passes */
    char *subject; /* of that certificate; "" if none */
    char *detail;
    char *remedy; /* NULL: the reason's own */
} stls_finding;

typedef struct {
    stls_allocator allocator;
    stls_finding *items;
    size_t num, cap;
    int out_of_memory; /* a finding was lost: the check must not accept */
} stls_findings;

void stls_findings_init(stls_findings *findings, const stls_allocator *allocator);
void stls_findings_clear(stls_findings *findings);
/* Takes back what was added since there were `num`. */
void stls_findings_cut(stls_findings *findings, size_t num);

/* `cert`, `detail` and `remedy` may be NULL; texts are copied. */
void stls_findings_add(stls_findings *findings, stls_reason reason, int is_error, int cert_index,
                       const X509 *cert, const char *remedy, const char *detail, ...)
    __attribute__((format(printf, 7, 8)));

/* Replaces a finding's remedy; keeps the old one when out of memory. */
void stls_finding_set_remedy(stls_findings *findings, size_t index, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

int stls_findings_have_error(const stls_findings *findings);
int stls_findings_have(const stls_findings *findings, stls_reason reason, int cert_index);

/* The listed error to repair first, by the reasons' rank and then the lowest certificate; or NULL.
 */
const stls_finding *stls_findings_worst(const stls_findings *findings);

/* The same; internal.memory where none is listed because it was lost. */
const stls_finding *stls_findings_primary(const stls_findings *findings);

#endif
