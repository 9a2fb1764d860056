/*
 * Own chains while the server runs: one worker asks about their revocation and
 * watches their dates, and tells the error log when there is news.
 */

#include "ngx_strict_tls_own.h"


static void ngx_strict_tls_own_timer(ngx_event_t *ev);
static ngx_strict_tls_own_t *ngx_strict_tls_own_next(
    ngx_strict_tls_main_conf_t *mcf);
static ngx_int_t ngx_strict_tls_own_ask(ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_own_t *own);
static void ngx_strict_tls_own_answered(ngx_strict_tls_job_t *job);
static void ngx_strict_tls_own_take(ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_own_t *own, ngx_strict_tls_job_t *job);
static void ngx_strict_tls_own_schedule(ngx_strict_tls_main_conf_t *mcf);


/* To be called as each process begins. */

ngx_int_t
ngx_strict_tls_own_watch(ngx_strict_tls_main_conf_t *mcf, ngx_cycle_t *cycle)
{
    ngx_uint_t             i;
    ngx_strict_tls_own_t  **owns;

    if (mcf->owns.nelts == 0
        || (ngx_process != NGX_PROCESS_SINGLE
            && (ngx_process != NGX_PROCESS_WORKER || ngx_worker != 0)))
    {
        return NGX_OK;
    }

    owns = mcf->owns.elts;

    for (i = 0; i < mcf->owns.nelts; i++) {
        owns[i]->next = 0;
    }

    mcf->own_timer.handler = ngx_strict_tls_own_timer;
    mcf->own_timer.data = mcf;
    mcf->own_timer.log = cycle->log;
    mcf->own_timer.cancelable = 1;

    ngx_strict_tls_own_schedule(mcf);

    return NGX_OK;
}


/* One after another: nobody waits for it, and responders are not flooded. */

static void
ngx_strict_tls_own_timer(ngx_event_t *ev)
{
    ngx_strict_tls_own_t        *own;
    ngx_strict_tls_main_conf_t  *mcf;

    mcf = ev->data;

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        return;
    }

    own = ngx_strict_tls_own_next(mcf);

    if (own && own->next <= ngx_time()) {

        if (ngx_strict_tls_own_ask(mcf, own) == NGX_AGAIN) {
            return;
        }
    }

    ngx_strict_tls_own_schedule(mcf);
}


/* The one whose turn comes first. */

static ngx_strict_tls_own_t *
ngx_strict_tls_own_next(ngx_strict_tls_main_conf_t *mcf)
{
    ngx_uint_t             i;
    ngx_strict_tls_own_t  **owns, *first;

    first = NULL;
    owns = mcf->owns.elts;

    for (i = 0; i < mcf->owns.nelts; i++) {
        if (owns[i]->certs && (first == NULL || owns[i]->next < first->next)) {
            first = owns[i];
        }
    }

    return first;
}


static void
ngx_strict_tls_own_schedule(ngx_strict_tls_main_conf_t *mcf)
{
    time_t                 wait;
    ngx_strict_tls_own_t  *own;

    own = ngx_strict_tls_own_next(mcf);

    if (own == NULL) {
        return;
    }

    wait = own->next - ngx_time();

    /* the clock may be set back */
    wait = ngx_min(wait, STLS_OWN_CHAIN_LOOK_S);

    ngx_add_timer(&mcf->own_timer, (wait > 0) ? (ngx_msec_t) wait * 1000 : 1);
}


/* NGX_AGAIN: the answer comes later. */

static ngx_int_t
ngx_strict_tls_own_ask(ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_own_t *own)
{
    stls_check            *check;
    stls_own_chain         chain;
    ngx_strict_tls_job_t  *job;

    own->next = ngx_time() + 1 + own->scope->negative_ttl;

    ngx_strict_tls_own_chain(own, &chain);

    check = stls_own_chain_check(own->scope->policy, own->scope->anchors,
                                 &chain, ngx_time());
    ERR_clear_error();

    if (check == NULL) {
        return NGX_ERROR;
    }

    /* whatever fails here drives the verdict to a reject */
    (void) stls_check_set_crl_file(check,
                                   ngx_strict_tls_crl_file_get0(own->scope));

    job = ngx_strict_tls_job_create(ngx_strict_tls_get_worker(mcf), own->scope,
                                    check, NULL);
    if (job == NULL) {
        return NGX_ERROR;
    }

    /* answers past half their life are asked for again */
    job->refresh = 1;

    job->handler = ngx_strict_tls_own_answered;
    job->data = own;

    /* whoever stops the worker leaves it to its owner */
    mcf->own_job = job;

    if (ngx_strict_tls_job_start(job) == STLS_PENDING) {

        /* a worker that shuts down does not wait for it */
        job->timer.cancelable = 1;

        return NGX_AGAIN;
    }

    ngx_strict_tls_own_take(mcf, own, job);

    return NGX_OK;
}


static void
ngx_strict_tls_own_answered(ngx_strict_tls_job_t *job)
{
    ngx_strict_tls_own_t        *own;
    ngx_strict_tls_main_conf_t  *mcf;

    own = job->data;
    mcf = job->worker->conf;

    ngx_strict_tls_own_take(mcf, own, job);

    ngx_strict_tls_own_schedule(mcf);
}


/* The end of a job. */

static void
ngx_strict_tls_own_take(ngx_strict_tls_main_conf_t *mcf,
    ngx_strict_tls_own_t *own, ngx_strict_tls_job_t *job)
{
    time_t           now;
    ngx_str_t        id;
    u_char           news[STLS_ID_LEN];
    stls_result     *result;
    stls_own_chain   chain;

    result = job->result;
    job->result = NULL;

    mcf->own_job = NULL;
    ngx_strict_tls_job_free(job);

    if (result == NULL) {
        return;
    }

    now = ngx_time();

    ngx_strict_tls_own_chain(own, &chain);

    own->next = stls_own_chain_next_look_s(own->scope->policy, &chain, result,
                                           now);

    id.data = (u_char *) own->id;
    id.len = 2 * STLS_ID_LEN;

    ngx_strict_tls_status_note(mcf, STLS_OWN, &own->file, &id, result);

    if (stls_own_chain_news_id(result, news) != STLS_OK) {
        ngx_memzero(news, STLS_ID_LEN);
    }

    if (ngx_memcmp(news, own->news, STLS_ID_LEN) != 0) {
        ngx_memcpy(own->news, news, STLS_ID_LEN);

        if (stls_own_chain_tell(result, NULL, STLS_NOTE, NULL, NULL)) {
            (void) ngx_strict_tls_own_tell(own, result, mcf->own_timer.log,
                                           NGX_LOG_ERR);

        } else {
            ngx_log_error(NGX_LOG_NOTICE, mcf->own_timer.log, 0,
                          "strict-tls: self_check file=\"%V\": nothing is "
                          "wrong any more, %V", &own->file, &own->where);
        }
    }

    stls_result_free(own->result);
    own->result = result;
    own->judged = now;
}
