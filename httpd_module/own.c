/*
 * Chains of our own: judged when the configuration is tested, and again and
 * again, revocation included, while the server runs.
 */
#include "own.h"

#include <apr_shm.h>
#include <http_main.h>

#define MAX_WITHIN_S 315360000
#define TURN_S 900    /* who took a turn and was not heard of again is given up */

static apr_array_header_t *chains; /* mst_own *, of the configuration in use */

/* Shared by all processes: whose turn a chain is, and what was last told about it. */
typedef struct {
    volatile apr_uint32_t next_s; /* 0: at once; its taker puts it off */
    int is_told;
    unsigned char news[STLS_ID_LEN];
} turn;

static turn *turns;
static unsigned char *is_mine; /* the turns that this process has taken */

const char *mst_set_self_check(cmd_parms *cmd, void *dconf, const char *arg, const char *within)
{
    char *end;

    (void) dconf;
    if (ap_cstr_casecmp(arg, "off") && ap_cstr_casecmp(arg, "warn")
        && ap_cstr_casecmp(arg, "fail")) {
        return apr_psprintf(cmd->pool, "StrictTLSSelfCheck must be off, warn or fail, not '%s'",
                            arg);
    }
    if (within != NULL
        && (ap_cstr_casecmp(arg, "fail") || !apr_isdigit(*within)
            || apr_strtoi64(within, &end, 10) > MAX_WITHIN_S || *end != '\0')) {
        return apr_psprintf(cmd->pool, "StrictTLSSelfCheck takes SECONDS behind fail only, from 0 "
                            "to %d, not '%s'", MAX_WITHIN_S, within);
    }
    return NULL; /* own_conf.c reads it where it stands */
}

void mst_own_pre_config(void)
{
    chains = NULL;
    turns = NULL;
}

static stls_own_chain describe(const mst_own *own)
{
    stls_own_chain said;

    memset(&said, 0, sizeof(said));
    said.role = own->role;
    said.certs = own->certs;
    said.key = own->key;
    said.why_not = own->why_not;
    said.file = own->file;
    said.chain_file = own->chain_file;
    said.key_file = own->key_file;
    said.trust_directive = "StrictTLSTrustedCertificate";
    said.names = (const char *const *) own->names->elts;
    said.num_names = (size_t) own->names->nelts;
    return said;
}

/* ---- what is told ------------------------------------------------------------------------- */

typedef struct {
    const mst_own *own;
    server_rec *s;
    int is_running; /* else the configuration is only tested */
    int num_errors;
} listener;

static void hear(void *baton, stls_severity severity, const char *line)
{
    listener *l = baton;
    int level = severity == STLS_NOTE ? APLOG_INFO : APLOG_WARNING;

    if (severity == STLS_ERROR) {
        l->num_errors++;
        level = l->is_running || l->own->mode == MST_SELF_FAIL ? APLOG_ERR : APLOG_WARNING;
    }
    ap_log_error(APLOG_MARK, level, 0, l->s, STLSLOGNO(60) "%s in=\"%s\"", line, l->own->where);
}

/* ---- when the configuration is tested --------------------------------------------------------- */

/* Whether one of its certificates ends sooner than the administrator lets it. */
static int ends_too_soon(const mst_own *own, server_rec *s)
{
    time_t limit = (time_t) (apr_time_sec(apr_time_now()) + own->fail_within_s);
    int i;

    for (i = 0; own->fail_within_s > 0 && i < sk_X509_num(own->certs); i++) {
        if (X509_cmp_time(X509_get0_notAfter(sk_X509_value(own->certs, i)), &limit) <= 0) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, STLSLOGNO(64)
                         "strict-tls: self_check file=\"%s\" reason=chain.expiring cert=%d: it "
                         "expires within the %" APR_INT64_T_FMT " s of StrictTLSSelfCheck fail",
                         own->file, i, own->fail_within_s);
            return 1;
        }
    }
    return 0;
}

/* 0: wrong, and that is to stop the server. */
static int judge(const mst_own *own, server_rec *s, apr_pool_t *ptemp)
{
    stls_own_chain said = describe(own);
    stls_error err = {{0}};
    stls_anchors *anchors = mst_get0_anchors(&own->conf, ptemp);
    stls_policy *policy = mst_make_policy(&own->conf, &err);
    listener l = {own, s, 0, 0};
    stls_result *result;

    if (anchors == NULL || policy == NULL) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, STLSLOGNO(61)
                     "strict-tls: %s is not checked: %s", own->file,
                     anchors == NULL ? "there are no trusted certificates, see "
                                       "StrictTLSTrustedCertificate"
                                     : err.text[0] ? err.text : "out of memory");
        stls_policy_free(policy);
        return own->mode != MST_SELF_FAIL;
    }
    result = stls_own_chain_judge(policy, anchors, &said, apr_time_sec(apr_time_now()));
    (void) stls_own_chain_tell(result, own->file, STLS_NOTE, hear, &l);
    stls_result_free(result);
    stls_policy_free(policy);
    ERR_clear_error();
    return own->mode != MST_SELF_FAIL || (l.num_errors == 0 && !ends_too_soon(own, s));
}

int mst_own_check_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    apr_array_header_t *all = mst_own_find(pconf, ptemp, s);
    int i, bad = 0;

    chains = apr_array_make(pconf, 8, sizeof(mst_own *));
    for (i = 0; i < all->nelts; i++) {
        mst_own *own = APR_ARRAY_IDX(all, i, mst_own *);

        if (own->mode == MST_SELF_OFF) {
            continue;
        }
        APR_ARRAY_PUSH(chains, mst_own *) = own;
        bad |= !judge(own, s, ptemp);
    }
    if (bad) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, STLSLOGNO(62)
                     "strict-tls: StrictTLSSelfCheck fail: strict peers would refuse this server");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

/* ---- while the server runs -------------------------------------------------------------------- */

int mst_own_post_config(apr_pool_t *pconf, server_rec *s)
{
    apr_size_t len = chains ? (apr_size_t) chains->nelts * sizeof(turn) : 0;
    apr_shm_t *shm;
    apr_status_t rv;

    if (len == 0) {
        return OK;
    }
    rv = apr_shm_create(&shm, len, NULL, pconf);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, rv, s, STLSLOGNO(20)
                     "strict-tls: no shared memory");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    turns = apr_shm_baseaddr_get(shm);
    memset(turns, 0, len);
    is_mine = apr_pcalloc(pconf, (apr_size_t) chains->nelts);
    return OK;
}

int mst_own_num(void)
{
    return chains ? chains->nelts : 0;
}

const mst_own *mst_own_get(int index)
{
    return APR_ARRAY_IDX(chains, index, mst_own *);
}

/* Told once, until there is something else to tell. */
static void tell_news(const mst_own *own, turn *mine, const stls_result *result)
{
    unsigned char news[STLS_ID_LEN];
    listener l = {own, ap_server_conf, 1, 0};
    int is_first = mine->is_told == 0;

    mine->is_told = 1;
    if (stls_own_chain_news_id(result, news) == STLS_OK) {
        if (!memcmp(news, mine->news, STLS_ID_LEN)) {
            return;
        }
        memcpy(mine->news, news, STLS_ID_LEN);
    }
    if (stls_own_chain_tell(result, own->file, STLS_WARNING, hear, &l) == 0) {
        ap_log_error(APLOG_MARK, is_first ? APLOG_INFO : APLOG_NOTICE, 0, ap_server_conf,
                     STLSLOGNO(63) "strict-tls: self_check file=\"%s\" is good", own->file);
    }
}

void mst_own_look(int index)
{
    const mst_own *own = mst_own_get(index);
    stls_own_chain said = describe(own);
    apr_time_t now_s = apr_time_sec(apr_time_now()), next_s;
    mst_runtime *rt = mst_get_runtime(&own->conf);
    stls_result *result = NULL;
    stls_crl_file *crl_file;
    mst_outcome outcome;
    stls_check *check = rt && rt->policy
        ? stls_own_chain_check(rt->policy, rt->anchors, &said, now_s) : NULL;

    if (check != NULL) {
        crl_file = mst_crl_file_get1(rt);
        (void) stls_check_set_crl_file(check, crl_file);
        stls_crl_file_free(crl_file);
        (void) mst_run_check(rt, check, 1, apr_time_now() + rt->fetch_total, &outcome);
        result = stls_check_get1_result(check);
        stls_check_free(check);
        if (result != NULL) {
            mst_news_of(result);
        }
    }
    now_s = apr_time_sec(apr_time_now());
    tell_news(own, &turns[index], result);
    mst_peers_note_own(index, own->file, result, now_s);
    next_s = rt && rt->policy ? stls_own_chain_next_look_s(rt->policy, &said, result, now_s)
        : now_s + STLS_OWN_CHAIN_LOOK_S;
    is_mine[index] = 0;
    apr_atomic_set32(&turns[index].next_s, (apr_uint32_t) next_s);
    stls_result_free(result);
    ERR_clear_error();
}

int mst_own_take_turn(void)
{
    apr_uint32_t now_s = (apr_uint32_t) apr_time_sec(apr_time_now()), next_s;
    int i;

    for (i = 0; turns != NULL && i < mst_own_num(); i++) {
        next_s = apr_atomic_read32(&turns[i].next_s);
        if (next_s <= now_s
            && apr_atomic_cas32(&turns[i].next_s, now_s + TURN_S, next_s) == next_s) {
            is_mine[i] = 1;
            return i;
        }
    }
    return -1;
}

void mst_own_leave_turns(void)
{
    int i;

    for (i = 0; turns != NULL && i < mst_own_num(); i++) {
        if (is_mine[i]) {
            apr_atomic_set32(&turns[i].next_s, 0);
        }
    }
}
