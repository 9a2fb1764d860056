/*
 * Handler strict-tls-status, and the table of peers that all processes share.
 */
#include "own.h"

#include <apr_shm.h>
#include <apr_global_mutex.h>
#include <util_mutex.h>

#include <strict_tls/report_table.h>
#include <strict_tls/status_page.h>

#define HANDLER "strict-tls-status"
#define DEFAULT_PEERS 256
#define MAX_PEERS 65536

static const char mutex_type[] = "strict-tls-status";

static int max_peers;
static apr_global_mutex_t *mutex;
static stls_report_table *peers; /* NULL: there is no memory for it */
static stls_report_table *own;   /* by "file" and index */

/* ---- directives ------------------------------------------------------------------------- */

const char *mst_set_status(cmd_parms *cmd, void *dconf, const char *arg)
{
    mst_dir_conf *conf = &((mst_section *) dconf)->conf;
    const char *said = mst_enter_section(cmd, dconf);

    if (said != NULL) {
        return said;
    }
    if (!ap_cstr_casecmp(arg, "public")) {
        conf->status_access = MST_STATUS_PUBLIC;
    }
    else if (!ap_cstr_casecmp(arg, "local")) {
        conf->status_access = MST_STATUS_LOCAL;
    }
    else {
        return apr_psprintf(cmd->pool, "StrictTLSStatus must be local or public, not '%s'", arg);
    }
    return NULL;
}

const char *mst_set_status_peers(cmd_parms *cmd, void *dconf, const char *arg)
{
    const char *said = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    apr_int64_t num;
    char *end;

    (void) dconf;
    if (said != NULL) {
        return said;
    }
    num = apr_strtoi64(arg, &end, 10);
    if (*arg == '\0' || *end != '\0' || num < 1 || num > MAX_PEERS) {
        return apr_psprintf(cmd->pool, "StrictTLSStatusPeers must be a number from 1 to %d, not "
                            "'%s'", MAX_PEERS, arg);
    }
    max_peers = (int) num;
    return NULL;
}

/* ---- what processes share -------------------------------------------------------------------- */

void mst_peers_pre_config(apr_pool_t *pconf)
{
    max_peers = DEFAULT_PEERS;
    mutex = NULL;
    peers = own = NULL;
    ap_mutex_register(pconf, mutex_type, NULL, APR_LOCK_DEFAULT, 0);
}

static stls_report_table *make_table(apr_pool_t *pconf, int max_entries)
{
    apr_size_t len = stls_report_table_len((size_t) max_entries);
    apr_shm_t *shm;

    if (max_entries == 0 || apr_shm_create(&shm, len, NULL, pconf) != APR_SUCCESS) {
        return NULL;
    }
    return stls_report_table_init(apr_shm_baseaddr_get(shm), len, (size_t) max_entries);
}

int mst_peers_post_config(apr_pool_t *pconf, server_rec *s)
{
    peers = make_table(pconf, max_peers);
    own = make_table(pconf, mst_own_num());
    if (peers == NULL || (own == NULL && mst_own_num() > 0)
        || ap_global_mutex_create(&mutex, NULL, mutex_type, NULL, s, pconf, 0) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, STLSLOGNO(70)
                     "strict-tls: no shared memory or no lock for the status page");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

void mst_peers_child_init(apr_pool_t *p)
{
    if (mutex != NULL
        && apr_global_mutex_child_init(&mutex, apr_global_mutex_lockfile(mutex), p)
           != APR_SUCCESS) {
        mutex = NULL;
        peers = own = NULL; /* without its lock it is of no use */
    }
}

static void note(stls_report_table *table, stls_direction direction, const char *name,
                 const char *addr, const stls_result *result, apr_time_t now_s)
{
    if (table != NULL && apr_global_mutex_lock(mutex) == APR_SUCCESS) {
        stls_report_table_note(table, direction, name, addr, result, now_s);
        apr_global_mutex_unlock(mutex);
    }
}

/* Clients come from any port. */
void mst_peers_note(stls_role role, conn_rec *c, const stls_result *result)
{
    char addr[128];

    if (role == STLS_ROLE_CLIENT) {
        note(peers, STLS_INBOUND, NULL, c->client_ip ? c->client_ip : "", result,
             apr_time_sec(apr_time_now()));
    }
    else {
        apr_snprintf(addr, sizeof(addr), "%pI", c->client_addr);
        note(peers, STLS_OUTBOUND, NULL, addr, result, apr_time_sec(apr_time_now()));
    }
}

void mst_peers_note_own(int index, const char *file, const stls_result *result, apr_time_t now_s)
{
    char number[16];

    apr_snprintf(number, sizeof(number), "%d", index);
    note(own, STLS_OWN, file, number, result, now_s);
}

/* ---- the page ------------------------------------------------------------------------------------ */

/* Under the lock. */
static void add_own(stls_status_page *page, int index)
{
    const mst_own *chain = mst_own_get(index);
    stls_report_entry entry;
    stls_status_own said;
    size_t i;

    memset(&said, 0, sizeof(said));
    said.role = chain->role;
    said.file = chain->file;
    said.where = chain->where;
    said.names = (const char *const *) chain->names->elts;
    said.num_names = (size_t) chain->names->nelts;
    for (i = 0; own != NULL && stls_report_table_get(own, i, &entry); i++) {
        if (atoi(entry.addr) == index) {
            said.report = entry.report;
            said.report_len = entry.report_len;
            said.checked_at_s = entry.last_s;
        }
    }
    (void) stls_status_page_add_own(page, &said);
}

static void add_figures(stls_status_page *page)
{
    static const struct {
        stls_figure figure;
        mst_counter counter;
    } rows[] = {
        {STLS_FIGURE_VERDICT_CACHE_HITS, MST_VERDICT_HITS},
        {STLS_FIGURE_ANSWER_CACHE_HITS, MST_ANSWER_HITS},
        {STLS_FIGURE_FETCHES, MST_FETCHES},
        {STLS_FIGURE_FETCH_FAILURES, MST_FETCH_FAILURES},
        {STLS_FIGURE_REFRESHES, MST_REFRESHES},
        {STLS_FIGURE_REUSE_REFUSED, MST_POOLED_CLOSED},
    };
    apr_size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void) stls_status_page_add_figure(page, rows[i].figure, mst_counted(rows[i].counter));
    }
    (void) stls_status_page_add_figure(page, STLS_FIGURE_VERDICT_CACHE_ENTRIES,
                                       mst_verdict_count());
}

/* Whatever fails in here makes the page NULL when it is rendered. */
static stls_status_page *make_page(void)
{
    stls_status_page *page = stls_status_page_new(ap_get_server_description(),
                                                  apr_time_sec(apr_time_now()));
    int i;

    if (page == NULL || mutex == NULL || apr_global_mutex_lock(mutex) != APR_SUCCESS) {
        stls_status_page_free(page);
        return NULL;
    }
    for (i = 0; i < mst_own_num(); i++) {
        add_own(page, i);
    }
    if (peers != NULL) {
        (void) stls_status_page_add_table(page, peers);
    }
    apr_global_mutex_unlock(mutex);
    add_figures(page);
    return page;
}

static int is_loopback(const apr_sockaddr_t *addr, apr_pool_t *p)
{
    static const char *const nets[] = {"127.0.0.0/8", "::1/128", "::ffff:127.0.0.0/104"};
    apr_ipsubnet_t *net;
    apr_size_t i;

    for (i = 0; i < sizeof(nets) / sizeof(nets[0]); i++) {
        char *text = apr_pstrdup(p, nets[i]), *bits = strchr(text, '/');

        *bits++ = '\0';
        if (apr_ipsubnet_create(&net, text, bits, p) == APR_SUCCESS
            && apr_ipsubnet_test(net, (apr_sockaddr_t *) addr)) {
            return 1;
        }
    }
    return 0;
}

/* A proxy on this machine brings requests from anywhere. */
static int is_local(request_rec *r)
{
    const char *const *name;

    for (name = stls_status_page_forwarding_headers(); *name; name++) {
        if (apr_table_get(r->headers_in, *name)) {
            return 0;
        }
    }
    return is_loopback(r->connection->client_addr, r->pool)
        && is_loopback(r->useragent_addr, r->pool);
}

int mst_status_handler(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");
    stls_status_format format;
    stls_status_page *page;
    const char *text;
    size_t len;

    if (r->handler == NULL || strcmp(r->handler, HANDLER)) {
        return DECLINED;
    }
    if (mst_get_dir_conf(r->per_dir_config)->status_access != MST_STATUS_PUBLIC && !is_local(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, STLSLOGNO(71)
                      "strict-tls: the status page is for clients on this machine: open it with "
                      "StrictTLSStatus public beside Require");
        return HTTP_FORBIDDEN;
    }
    r->allowed |= (AP_METHOD_BIT << M_GET);
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    format = stls_status_page_format(r->uri, strlen(r->uri), accept, accept ? strlen(accept) : 0);
    page = make_page();
    text = page ? stls_status_page_render(page, format, &len) : NULL;
    if (text == NULL) {
        stls_status_page_free(page);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    ap_set_content_type(r, stls_status_page_content_type(format));
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    apr_table_setn(r->headers_out, "Content-Security-Policy", STLS_STATUS_PAGE_CSP);
    apr_table_mergen(r->headers_out, "Vary", "Accept");
    ap_set_content_length(r, (apr_off_t) len);
    if (!r->header_only) {
        (void) ap_rwrite(text, (int) len, r);
    }
    stls_status_page_free(page);
    return OK;
}
