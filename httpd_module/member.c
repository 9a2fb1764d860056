/*
 * Members of balancers: which one is a health check about, and which were put
 * into error because they were rejected?
 *
 * mod_proxy_hcheck tells neither the name nor the section of the backend it
 * connects to.  The first thing that it writes, before there is TLS, is its
 * request, whose Host header is the member's own host and port.
 */
#include "mod_strict_tls.h"

#include <apr_fnmatch.h>
#include <apr_shm.h>
#include <mod_proxy.h>

#define FILTER "STRICT_TLS_OUT"
#define MAX_MEMBERS 1024
#define MAX_REQUEST 8192

/* Members are known to all processes by where mod_proxy's shared memory has them. */
typedef struct {
    _Atomic(uintptr_t) member;
    _Atomic(apr_uint32_t) reason; /* of its last rejection; 0: it was accepted since */
    _Atomic(apr_int64_t) when;
} slot;

static slot *slots;

static proxy_server_conf *proxy_conf_of(const server_rec *s)
{
    module *proxy = ap_find_linked_module("mod_proxy.c");

    return proxy ? ap_get_module_config(s->module_config, proxy) : NULL;
}

/* ---- what became of members -------------------------------------------------------------- */

int mst_member_post_config(apr_pool_t *pconf, server_rec *s)
{
    apr_shm_t *shm;
    apr_status_t rv = apr_shm_create(&shm, MAX_MEMBERS * sizeof(slot), NULL, pconf);

    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, rv, s, STLSLOGNO(20)
                     "strict-tls: no shared memory");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    slots = apr_shm_baseaddr_get(shm);
    memset(slots, 0, MAX_MEMBERS * sizeof(slot));
    return OK;
}

/* NULL: not known, or no room for more of them. */
static slot *slot_of(const void *member, int is_to_be_made)
{
    apr_size_t first = ((uintptr_t) member >> 6) % MAX_MEMBERS, i;

    for (i = 0; slots && i < MAX_MEMBERS; i++) {
        slot *at = &slots[(first + i) % MAX_MEMBERS];
        uintptr_t found = 0;

        if (is_to_be_made
            && atomic_compare_exchange_strong(&at->member, &found, (uintptr_t) member)) {
            return at;
        }
        found = atomic_load(&at->member);
        if (found == (uintptr_t) member) {
            return at;
        }
        if (found == 0) {
            return NULL;
        }
    }
    return NULL;
}

void mst_member_note(const void *member, stls_reason reason)
{
    slot *at = slot_of(member, reason != STLS_REASON_NONE);

    if (at != NULL) {
        atomic_store(&at->when, apr_time_now());
        atomic_store(&at->reason, (apr_uint32_t) reason);
    }
}

/* It is in error, and was rejected when it was put there or since. */
static stls_reason why_in_error(const proxy_worker *member)
{
    const slot *at = slot_of(member->s, 0);

    if (at == NULL || !(PROXY_WORKER_IS_ERROR(member) || PROXY_WORKER_IS_HCFAILED(member))
        || atomic_load(&at->when) < member->s->error_time - apr_time_from_sec(1)) {
        return STLS_REASON_NONE;
    }
    return (stls_reason) atomic_load(&at->reason);
}

static const proxy_balancer *balancer_of(request_rec *r)
{
    const proxy_server_conf *conf = proxy_conf_of(r->server);
    const char *name = apr_table_get(r->subprocess_env, "BALANCER_NAME");
    int i;

    if (name == NULL && r->filename && !strncmp(r->filename, "proxy:", 6)) {
        name = r->filename + 6;
    }
    for (i = 0; conf && name && i < conf->balancers->nelts; i++) {
        const proxy_balancer *balancer = &APR_ARRAY_IDX(conf->balancers, i, proxy_balancer);
        apr_size_t len = strlen(balancer->s->name);

        if (!ap_cstr_casecmpn(name, balancer->s->name, len) && strchr("/?", name[len])) {
            return balancer;
        }
    }
    return NULL;
}

int mst_member_explain(request_rec *r)
{
    const proxy_balancer *balancer = balancer_of(r);
    int i;

    for (i = 0; balancer && i < balancer->workers->nelts; i++) {
        const proxy_worker *member = APR_ARRAY_IDX(balancer->workers, i, proxy_worker *);
        stls_reason reason = why_in_error(member);

        if (reason != STLS_REASON_NONE) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, STLSLOGNO(8)
                          "strict-tls: %s has no member left: %s was rejected, reason=%s",
                          balancer->s->name, member->s->name_ex, stls_reason_id(reason));
            mst_set_env_reason(r, reason);
            return 1;
        }
    }
    return 0;
}

/* ---- a health check's policy --------------------------------------------------------------- */

/* As httpd compares <Location> with a request's path. */
static int is_about(const core_dir_config *location, const char *path)
{
    apr_size_t len;

    if (location->r != NULL) {
        return ap_regexec(location->r, path, 0, NULL, 0) == 0;
    }
    if (location->d == NULL) {
        return 0;
    }
    if (location->d_is_fnmatch) {
        return apr_fnmatch(location->d, path, APR_FNM_PATHNAME) == APR_SUCCESS;
    }
    len = strlen(location->d);
    return !strncmp(location->d, path, len)
        && (len == 0 || location->d[len - 1] == '/' || strchr("/", path[len]));
}

static int leads_to(const struct proxy_alias *alias, const proxy_balancer *balancer)
{
    apr_size_t len = strlen(balancer->s->name);

    return alias != NULL && alias->real != NULL
        && !ap_cstr_casecmpn(alias->real, balancer->s->name, len)
        && strchr("/?$", alias->real[len]);
}

/* The first path that ProxyPass gives this balancer; NULL: requests come to it another way. */
static const char *path_to(server_rec *s, const proxy_balancer *balancer)
{
    const core_server_config *core = ap_get_core_module_config(s->module_config);
    const proxy_server_conf *conf = proxy_conf_of(s);
    module *proxy = ap_find_linked_module("mod_proxy.c");
    int i;

    for (i = 0; i < conf->aliases->nelts; i++) {
        const struct proxy_alias *alias = &APR_ARRAY_IDX(conf->aliases, i, struct proxy_alias);

        if (leads_to(alias, balancer) && alias->regex == NULL) {
            return alias->fake;
        }
    }
    for (i = 0; i < core->sec_url->nelts; i++) {
        ap_conf_vector_t *location = APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *);
        const proxy_dir_conf *said = ap_get_module_config(location, proxy);

        if (said != NULL && leads_to(said->alias, balancer)) {
            return ((core_dir_config *) ap_get_core_module_config(location))->d;
        }
    }
    return NULL;
}

/* What requests to this member are judged by, as far as the configuration tells. */
static mst_section *section_of(server_rec *s, const proxy_balancer *balancer,
                               const proxy_worker *member, apr_pool_t *p)
{
    const core_server_config *core = ap_get_core_module_config(s->module_config);
    const char *path = path_to(s, balancer);
    mst_section *section = mst_get_section(s->lookup_defaults);
    int i;

    section = mst_section_for(s, section, apr_pstrcat(p, member->s->name_ex, "/", NULL),
                              apr_pstrcat(p, balancer->s->name, "/", NULL), p);
    for (i = 0; path && i < core->sec_url->nelts; i++) {
        ap_conf_vector_t *location = APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *);
        mst_section *said = mst_get_section(location);

        if (said != NULL && is_about(ap_get_core_module_config(location), path)) {
            section = mst_merge_dir_conf(p, section, said);
        }
    }
    return section;
}

static int is_checked_at(const proxy_worker *member, const char *host, int port)
{
    int own = member->s->port ? member->s->port : 443;

    return member->s->method != NONE && own == port
        && !ap_cstr_casecmp(member->s->hostname_ex, host);
}

/* Tells the connection whom it is about; it stays without a name where there is no such member. */
static void identify(mst_conn *conn, char *host)
{
    server_rec *s = conn->c->base_server;
    const proxy_server_conf *conf = proxy_conf_of(s);
    char *port = strrchr(host, ':');
    int i, k;

    if (conf == NULL || port == NULL) {
        return;
    }
    *port++ = '\0';
    for (i = 0; i < conf->balancers->nelts; i++) {
        const proxy_balancer *balancer = &APR_ARRAY_IDX(conf->balancers, i, proxy_balancer);

        for (k = 0; k < balancer->workers->nelts; k++) {
            const proxy_worker *member = APR_ARRAY_IDX(balancer->workers, k, proxy_worker *);

            if (is_checked_at(member, host, atoi(port))) {
                conn->member = member->s;
                conn->name = host;
                conn->rt = mst_section_runtime(section_of(s, balancer, member, conn->c->pool));
                return;
            }
        }
    }
}

/* "GET / HTTP/1.0\r\nHost: member:443\r\n" */
static char *host_in(apr_bucket_brigade *bb, apr_pool_t *p)
{
    apr_off_t len = 0;
    apr_size_t all;
    char *text, *host;

    if (apr_brigade_length(bb, 0, &len) != APR_SUCCESS || len < 1 || len > MAX_REQUEST
        || apr_brigade_pflatten(bb, &text, &all, p) != APR_SUCCESS) {
        return NULL;
    }
    text = apr_pstrmemdup(p, text, all);
    host = strstr(text, "\r\nHost: ");
    if (host == NULL) {
        return NULL;
    }
    host += strlen("\r\nHost: ");
    host[strcspn(host, "\r\n")] = '\0';
    return host;
}

static apr_status_t look(ap_filter_t *f, apr_bucket_brigade *bb)
{
    mst_conn *conn = f->ctx;
    ap_filter_t *next = f->next;
    char *host;

    if (conn->state == MST_NEW && !conn->trust_judged) {
        host = host_in(bb, f->c->pool);
        if (host != NULL) {
            identify(conn, host);
            if (conn->member != NULL) {
                mst_prepare(conn);
            }
        }
    }
    ap_remove_output_filter(f);
    return ap_pass_brigade(next, bb);
}

void mst_member_watch(mst_conn *conn)
{
    (void) ap_add_output_filter(FILTER, conn, NULL, conn->c);
}

void mst_member_register(void)
{
    /* outside mod_ssl's filter */
    ap_register_output_filter(FILTER, look, NULL, AP_FTYPE_CONNECTION + 1);
}
