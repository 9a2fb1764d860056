/*
 * mod_status: counts over all processes, and the cache's own figures.
 */
#include "mod_strict_tls.h"

#include <apr_optional_hooks.h>
#include <mod_status.h>

static const struct {
    mst_counter counter;
    const char *key;
    const char *text;
} rows[] = {
    {MST_ACCEPTED, "Accepted", "backend connections accepted"},
    {MST_REJECTED, "Rejected", "backend connections rejected"},
    {MST_WOULD_REJECT, "WouldReject", "of those only reported"},
    {MST_VERDICT_HITS, "VerdictHits", "verdicts found in the verdict cache"},
    {MST_ANSWER_HITS, "AnswerHits", "answers found in the answer cache"},
    {MST_FETCHES, "Fetches", "fetches"},
    {MST_FETCH_FAILURES, "FetchFailures", "fetches that failed"},
    {MST_REFRESHES, "Refreshes", "refreshes ahead of time"},
    {MST_POOLED_CLOSED, "PooledClosed", "pooled connections closed: another policy, or verdict over"},
    {MST_CLIENT_ACCEPTED, "ClientAccepted", "client certificates accepted"},
    {MST_CLIENT_REJECTED, "ClientRejected", "client certificates rejected"},
    {MST_CLIENT_WOULD_REJECT, "ClientWouldReject", "client certificates that only a report rejected"},
};

static int show(request_rec *r, int flags)
{
    apr_size_t i;

    if (flags & AP_STATUS_SHORT) {
        for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            ap_rprintf(r, "StrictTLS%s: %u\n", rows[i].key, mst_counted(rows[i].counter));
        }
        ap_rprintf(r, "StrictTLSVerdicts: %u\n", mst_verdict_count());
    }
    else {
        ap_rputs("<hr />\n<h2>strict-tls</h2>\n<dl>\n", r);
        for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            ap_rprintf(r, "<dt>%s: %u</dt>\n", rows[i].text, mst_counted(rows[i].counter));
        }
        ap_rprintf(r, "<dt>verdicts remembered by this process: %u</dt>\n</dl>\n",
                   mst_verdict_count());
    }
    mst_cache_status(r, flags);
    return OK;
}

void mst_status_register(apr_pool_t *p)
{
    APR_OPTIONAL_HOOK(ap, status_hook, show, NULL, NULL, APR_HOOK_MIDDLE);
    (void) p;
}
