/*
 * Sections: by which policy is a connection to this backend judged?
 *
 * httpd merges a request's sections anew each time.  What two of them make
 * together is remembered here with all that follows from it, so that a request
 * finds its policy ready.
 */
#include "mod_strict_tls.h"

#include <apr_fnmatch.h>
#include <mod_proxy.h>

static const mst_runtime none; /* a section's, where backends are not judged */

/* A <Proxy> or <ProxyMatch> that says something about backends. */
typedef struct {
    mst_section *section;
    const char *path;
    apr_size_t path_len;
    ap_regex_t *regex;     /* NULL: none */
    int is_fnmatch;
    const char *canonical; /* as mod_proxy writes the same URL */
    apr_size_t canonical_len;
    int ends_host;         /* the host ends where it ends */
} target;

/* ---- what stands in the configuration --------------------------------------------- */

void *mst_create_dir_conf(apr_pool_t *p, char *dir)
{
    mst_section *section = apr_pcalloc(p, sizeof(*section));

    (void) dir;
    section->conf.mode = MST_UNSET;
    section->is_passing = mst_is_running();
    return section;
}

static mst_place place_of(const ap_directive_t *parent)
{
    static const struct {
        const char *begin;
        mst_place place;
    } rows[] = {
        {"<Location", MST_IN_LOCATION}, {"<Proxy", MST_IN_PROXY}, {"<If", MST_IN_IF},
        {"<Else", MST_IN_IF}, {"<Directory", MST_IN_FILES}, {"<Files", MST_IN_FILES},
    };
    apr_size_t i;

    for (i = 0; parent && i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!ap_cstr_casecmpn(parent->directive, rows[i].begin, strlen(rows[i].begin))) {
            return rows[i].place;
        }
    }
    return MST_IN_SERVER;
}

/* What is read with each request could not be made ready, and <Limit> would not limit it. */
const char *mst_enter_section(cmd_parms *cmd, void *dconf)
{
    mst_section *section = dconf;

    section->place = place_of(cmd->directive->parent);
    return ap_check_cmd_context(cmd, NOT_IN_LIMIT | NOT_IN_HTACCESS);
}

mst_section *mst_get_section(const ap_conf_vector_t *dir_conf)
{
    return ap_get_module_config(dir_conf, &strict_tls_module);
}

mst_dir_conf *mst_get_dir_conf(const ap_conf_vector_t *dir_conf)
{
    mst_section *section = mst_get_section(dir_conf);

    return section ? &section->conf : NULL;
}

/* ---- merging ----------------------------------------------------------------------- */

void mst_merge_values(mst_dir_conf *conf, const mst_dir_conf *base, const mst_dir_conf *add)
{
    int i;

    memcpy(conf, add, sizeof(*conf));
    if (conf->mode == MST_UNSET) {
        conf->mode = base->mode;
    }
    if (conf->trusted == NULL) {
        conf->trusted = base->trusted;
    }
    if (conf->http_proxy == NULL) {
        conf->http_proxy = base->http_proxy;
    }
    if (conf->status_access == MST_STATUS_UNSET) {
        conf->status_access = base->status_access;
    }
    if (add->value[STLS_KEY_PRESET] == NULL) { /* a preset begins anew */
        for (i = 0; i < STLS_NUM_KEYS; i++) {
            if (conf->value[i] == NULL) {
                conf->value[i] = base->value[i];
            }
        }
    }
}

static mst_section *merged_with(const mst_section *base, const mst_section *add)
{
    mst_section *merged = atomic_load_explicit(&base->merged, memory_order_acquire);

    while (merged != NULL && merged->add != add) {
        merged = merged->next;
    }
    return merged;
}

static mst_section *merge(apr_pool_t *p, mst_section *base, mst_section *add)
{
    mst_section *merged = apr_pcalloc(p, sizeof(*merged));

    mst_merge_values(&merged->conf, &base->conf, &add->conf);
    merged->place = base->place;
    merged->base = base;
    merged->add = add;
    return merged;
}

/*
 * For each request.  As many are remembered as the configuration has ways to combine sections;
 * one that was read with a request (mod_ssl's directives in .htaccess) says nothing here.
 */
void *mst_merge_dir_conf(apr_pool_t *p, void *basev, void *addv)
{
    mst_section *base = basev, *add = addv, *merged;
    apr_pool_t *kept;

    if (add->is_passing) {
        return base;
    }
    merged = merged_with(base, add);
    if (merged != NULL) {
        return merged;
    }
    kept = mst_lock_runtimes();
    if (kept == NULL) { /* the configuration is being read */
        return merge(p, base, add);
    }
    merged = merged_with(base, add);
    if (merged == NULL) {
        merged = merge(kept, base, add);
        merged->next = atomic_load_explicit(&base->merged, memory_order_relaxed);
        atomic_store_explicit(&base->merged, merged, memory_order_release);
    }
    mst_unlock_runtimes();
    return merged;
}

mst_runtime *mst_section_runtime(mst_section *section)
{
    mst_runtime *rt = atomic_load_explicit(&section->rt, memory_order_acquire);

    if (rt == NULL) {
        rt = mst_get_runtime(&section->conf);
        if (mst_is_running()) {
            atomic_store_explicit(&section->rt, rt ? rt : (mst_runtime *) &none,
                                  memory_order_release);
        }
    }
    return rt == &none ? NULL : rt;
}

/* ---- sections about targets ------------------------------------------------------------ */

static int is_part_of(const mst_section *whole, const mst_section *section)
{
    return whole == section
        || (whole->base != NULL
            && (is_part_of(whole->base, section) || is_part_of(whole->add, section)));
}

/* Where httpd merges <Proxy>: behind the server's and the files' sections, before locations. */
static mst_section *insert(apr_pool_t *p, mst_section *whole, mst_section *section)
{
    if (whole->add != NULL && whole->add->place >= MST_IN_LOCATION) {
        return mst_merge_dir_conf(p, insert(p, whole->base, section), whole->add);
    }
    return mst_merge_dir_conf(p, whole, section);
}

static int is_tls(const char *url)
{
    return !strncmp(url, "https:", 6) || !strncmp(url, "wss:", 4) || !strncmp(url, "h2:", 3);
}

/* mod_proxy writes scheme and host in lower case, and leaves the scheme's own port away. */
static char *canonical_url(apr_pool_t *p, const char *url, int *ends_host)
{
    char *text = apr_pstrdup(p, url), *host = strstr(text, "://"), *end, *port;

    *ends_host = 0;
    if (host == NULL) {
        return text;
    }
    host += 3;
    end = host + strcspn(host, "/?#");
    for (port = text; port < end; port++) {
        *port = (char) apr_tolower(*port);
    }
    port = end;
    while (port > host && apr_isdigit(port[-1])) {
        port--;
    }
    if (port > host && port < end && port[-1] == ':' && is_tls(text)
        && strtol(port, NULL, 10) == 443) {
        *ends_host = *end == '\0';
        memmove(port - 1, end, strlen(end) + 1);
    }
    return text;
}

static int matches(const target *t, const char *url, apr_pool_t *p)
{
    const char *canonical;
    int ignored;

    if (t->regex != NULL) {
        return ap_regexec(t->regex, url, 0, NULL, 0) == 0;
    }
    if (t->is_fnmatch) {
        return apr_fnmatch(t->path, url, 0) == APR_SUCCESS;
    }
    if (!strncmp(url, t->path, t->path_len)) {
        return 1;
    }
    canonical = canonical_url(p, url, &ignored);
    return !strncmp(canonical, t->canonical, t->canonical_len)
        && (!t->ends_host || strchr("/?#", canonical[t->canonical_len]));
}

int mst_has_targets(const server_rec *s)
{
    const apr_array_header_t *targets = mst_get_client_conf(s)->targets;

    return targets != NULL && targets->nelts > 0;
}

mst_section *mst_section_for(server_rec *s, mst_section *section, const char *url,
                             const char *passed_to, apr_pool_t *p)
{
    const apr_array_header_t *targets = mst_get_client_conf(s)->targets;
    int i;

    for (i = 0; targets && i < targets->nelts; i++) {
        const target *t = &APR_ARRAY_IDX(targets, i, target);

        if (!is_part_of(section, t->section)
            && (matches(t, url, p) || (passed_to && matches(t, passed_to, p)))) {
            section = insert(p, section, t->section);
        }
    }
    return section;
}

const apr_array_header_t *mst_proxy_sections(const server_rec *s)
{
    module *proxy = ap_find_linked_module("mod_proxy.c");
    const proxy_server_conf *conf = proxy ? ap_get_module_config(s->module_config, proxy) : NULL;

    return conf ? conf->sec_proxy : NULL;
}

apr_array_header_t *mst_find_targets(apr_pool_t *p, server_rec *s)
{
    module *proxy = ap_find_linked_module("mod_proxy.c");
    const apr_array_header_t *sections = mst_proxy_sections(s);
    apr_array_header_t *targets = apr_array_make(p, 4, sizeof(target));
    int i;

    for (i = 0; sections && i < sections->nelts; i++) {
        ap_conf_vector_t *dir_conf = APR_ARRAY_IDX(sections, i, ap_conf_vector_t *);
        const proxy_dir_conf *said = ap_get_module_config(dir_conf, proxy);
        mst_section *section = mst_get_section(dir_conf);
        target *t;

        if (section == NULL || said == NULL || said->p == NULL) {
            continue;
        }
        t = apr_array_push(targets);
        t->section = section;
        t->path = said->p;
        t->path_len = strlen(said->p);
        t->regex = said->r;
        t->is_fnmatch = said->p_is_fnmatch;
        t->canonical = canonical_url(p, said->p, &t->ends_host);
        t->canonical_len = strlen(t->canonical);
    }
    return targets;
}
