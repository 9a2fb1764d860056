#include "finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "x509_text.h"

void stls_findings_init(stls_findings *findings, const stls_allocator *allocator)
{
    memset(findings, 0, sizeof(*findings));
    findings->allocator = *allocator;
}

static void clear_item(stls_findings *findings, stls_finding *item)
{
    stls_dealloc(&findings->allocator, item->subject);
    stls_dealloc(&findings->allocator, item->detail);
    stls_dealloc(&findings->allocator, item->remedy);
}

void stls_findings_cut(stls_findings *findings, size_t num)
{
    while (findings->num > num) {
        clear_item(findings, &findings->items[--findings->num]);
    }
}

void stls_findings_clear(stls_findings *findings)
{
    stls_findings_cut(findings, 0);
    stls_dealloc(&findings->allocator, findings->items);
    findings->items = NULL;
    findings->cap = 0;
}

/* Peers choose parts of the details: one line of printable ASCII, nothing else. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e) {
            *text = '?';
        }
    }
}

void stls_findings_add(stls_findings *findings, stls_reason reason, int is_error, int cert_index,
                       const X509 *cert, const char *remedy, const char *detail, ...)
{
    const stls_allocator *a = &findings->allocator;
    stls_finding item = {reason, is_error, 0, cert_index, -1, 0, NULL, NULL, NULL};
    char subject[STLS_NAME_TEXT_LEN] = "";
    char text[1024] = "";

    if (detail != NULL) {
        va_list args;
        va_start(args, detail);
        vsnprintf(text, sizeof(text), detail, args);
        va_end(args);
    }
    make_printable(text);
    if (cert != NULL) {
        stls_name_text(X509_get_subject_name(cert), subject);
    }

    item.subject = stls_strdup(a, subject);
    item.detail = stls_strdup(a, text);
    item.remedy = remedy != NULL ? stls_strdup(a, remedy) : NULL;
    if (item.remedy != NULL) {
        make_printable(item.remedy);
    }
    if (item.subject == NULL || item.detail == NULL || (remedy != NULL && item.remedy == NULL)
        || stls_grow(a, (void **)&findings->items, &findings->cap, findings->num, sizeof(item))
               != STLS_OK) {
        clear_item(findings, &item);
        findings->out_of_memory = 1;
        return;
    }
    findings->items[findings->num++] = item;
}

/* Stands for whatever could not be kept: saying so takes no memory. */
static const stls_finding lost = {.reason = STLS_REASON_INTERNAL_MEMORY,
                                  .is_error = 1,
                                  .cert_index = STLS_NO_CERT,
                                  .slot = -1,
                                  .subject = (char *)"",
                                  .detail = (char *)"out of memory"};

void stls_finding_set_remedy(stls_findings *findings, size_t index, const char *format, ...)
{
    stls_finding *item = &findings->items[index];
    char text[2048];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    make_printable(text);
    char *copy = stls_strdup(&findings->allocator, text);
    if (copy == NULL) {
        findings->out_of_memory = 1;
        return;
    }
    stls_dealloc(&findings->allocator, item->remedy);
    item->remedy = copy;
}

int stls_findings_have_error(const stls_findings *findings)
{
    return findings->out_of_memory || stls_findings_primary(findings) != NULL;
}

int stls_findings_have(const stls_findings *findings, stls_reason reason, int cert_index)
{
    for (size_t i = 0; i < findings->num; i++) {
        if (findings->items[i].reason == reason && findings->items[i].cert_index == cert_index) {
            return 1;
        }
    }
    return 0;
}

static int rank(const stls_finding *finding)
{
    const stls_reason_info *info = stls_reason_get0(finding->reason);
    return info != NULL ? info->rank : 0;
}

const stls_finding *stls_findings_worst(const stls_findings *findings)
{
    const stls_finding *best = NULL;
    for (size_t i = 0; i < findings->num; i++) {
        const stls_finding *item = &findings->items[i];
        if (item->is_error
            && (best == NULL || rank(item) < rank(best)
                || (rank(item) == rank(best) && item->cert_index < best->cert_index))) {
            best = item;
        }
    }
    return best;
}

const stls_finding *stls_findings_primary(const stls_findings *findings)
{
    const stls_finding *worst = stls_findings_worst(findings);
    return worst == NULL && findings->out_of_memory ? &lost : worst;
}
