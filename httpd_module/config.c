/*
 * Directives: what was configured where.  They derive from the core's table:
 * key chain_root is StrictTLSChainRoot.
 */
#include "mod_strict_tls.h"

#include <apr_file_info.h>
#include <http_main.h>

#define NUM_OWN 8

/* Filled before httpd looks at it: names cannot be made by the preprocessor. */
command_rec mst_commands[STLS_NUM_KEYS + NUM_OWN + MST_NUM_CLIENT_COMMANDS + 1];
static char names[STLS_NUM_KEYS][STLS_DIRECTIVE_LEN];

/* Of the configuration being read; nothing writes to them afterwards. */
static apr_pool_t *conf_pool;
static apr_hash_t *anchors_by_file; /* path, "" for the system's -> stls_anchors */
static int is_wanted;               /* some StrictTLS on or report */

static const char name_off[] = "off"; /* its address is part of a hash key */

/* Of this process. */
static apr_pool_t *runtime_pool;
static apr_thread_mutex_t *runtime_mutex;
static apr_hash_t *runtimes;

/* ---- directives ---------------------------------------------------------------- */

static const char *check_value(apr_pool_t *p, const char *key, const char *value)
{
    stls_error err = {{0}};
    stls_policy *policy = stls_policy_new(NULL);
    const char *said = NULL;

    if (policy == NULL) {
        return "out of memory";
    }
    if (stls_policy_set(policy, key, value, &err) != STLS_OK) {
        said = apr_pstrdup(p, err.text);
    }
    stls_policy_free(policy);
    ERR_clear_error();
    return said;
}

long mst_parse_mode(const char *arg)
{
    return !ap_cstr_casecmp(arg, "on") ? MST_ENFORCE
        : !ap_cstr_casecmp(arg, "report") ? MST_REPORT
        : !ap_cstr_casecmp(arg, "off") ? MST_OFF : MST_UNSET;
}

static const char *set_mode(cmd_parms *cmd, void *dconf, const char *arg)
{
    mst_dir_conf *conf = &((mst_section *) dconf)->conf;
    const char *said = mst_enter_section(cmd, dconf);

    if (said != NULL) {
        return said;
    }
    if (conf->mode != MST_UNSET) {
        return "StrictTLS is given twice in this section";
    }
    conf->mode = mst_parse_mode(arg);
    if (conf->mode == MST_UNSET) {
        return apr_psprintf(cmd->pool, "StrictTLS must be on, off or report, not '%s'", arg);
    }
    if (conf->mode != MST_OFF) {
        is_wanted = 1;
    }
    return NULL;
}

const char *mst_set_value(cmd_parms *cmd, mst_dir_conf *conf, const char *arg)
{
    const stls_key_info *info = cmd->info;
    const char *said;

    if (conf->value[info->key] != NULL) {
        return apr_psprintf(cmd->pool, "%s is given twice in this section", cmd->cmd->name);
    }
    said = check_value(cmd->temp_pool, info->name, arg);
    if (said != NULL) {
        return apr_psprintf(cmd->pool, "%s: %s", cmd->cmd->name, said);
    }
    conf->value[info->key] = apr_pstrdup(cmd->pool, arg);
    if (info->key == STLS_KEY_CRL_FILE && arg[0]) {
        conf->value[info->key] = ap_server_root_relative(cmd->pool, arg);
        said = conf->value[info->key]
            ? mst_crl_file_load(cmd->temp_pool, conf->value[info->key]) : "invalid path";
        return said ? apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", said, NULL) : NULL;
    }
    return NULL;
}

static const char *set_key(cmd_parms *cmd, void *dconf, const char *arg)
{
    const char *said = mst_enter_section(cmd, dconf);

    return said ? said : mst_set_value(cmd, &((mst_section *) dconf)->conf, arg);
}

static const char *add_file(apr_pool_t *p, stls_anchors *anchors, const char *file)
{
    stls_error err = {{0}};
    BIO *bio = BIO_new_file(file, "r");
    stls_status status;

    if (bio == NULL) {
        return apr_psprintf(p, "cannot open trusted certificates '%s'", file);
    }
    status = stls_anchors_load(anchors, bio, &err);
    BIO_free(bio);
    return status == STLS_OK ? NULL
        : apr_psprintf(p, "trusted certificates '%s': %s", file,
                       err.text[0] ? err.text : "out of memory");
}

const char *mst_load_anchors(apr_pool_t *p, const char *key, const apr_array_header_t *files)
{
    const char *said = NULL, *all = apr_array_pstrcat(p, files, ' ');
    stls_error err = {{0}};
    stls_anchors *anchors;
    int i;

    if (apr_hash_get(anchors_by_file, key, APR_HASH_KEY_STRING)) {
        return NULL;
    }
    anchors = stls_anchors_new(NULL);
    if (anchors == NULL) {
        return "out of memory";
    }
    for (i = 0; said == NULL && i < files->nelts; i++) {
        said = add_file(p, anchors, APR_ARRAY_IDX(files, i, const char *));
    }
    if (said == NULL && stls_anchors_freeze(anchors, &err) != STLS_OK) {
        said = apr_psprintf(p, "trusted certificates '%s': %s", all,
                            err.text[0] ? err.text : "out of memory");
    }
    ERR_clear_error();
    if (said != NULL) {
        stls_anchors_free(anchors);
        return said;
    }
    apr_hash_set(anchors_by_file, apr_pstrdup(conf_pool, key), APR_HASH_KEY_STRING, anchors);
    return NULL;
}

static const char *load_file(apr_pool_t *p, const char *key, const char *file)
{
    apr_array_header_t *files = apr_array_make(p, 1, sizeof(char *));

    APR_ARRAY_PUSH(files, const char *) = file;
    return mst_load_anchors(p, key, files);
}

const char *mst_set_trusted(cmd_parms *cmd, mst_dir_conf *conf, const char *arg)
{
    const char *said;

    if (conf->trusted != NULL) {
        return apr_psprintf(cmd->pool, "%s is given twice in this section", cmd->cmd->name);
    }
    conf->trusted = ap_server_root_relative(cmd->pool, arg);
    if (conf->trusted == NULL) {
        return apr_psprintf(cmd->pool, "%s: invalid path '%s'", cmd->cmd->name, arg);
    }
    said = load_file(cmd->temp_pool, conf->trusted, conf->trusted);
    return said ? apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", said, NULL) : NULL;
}

static const char *set_trusted(cmd_parms *cmd, void *dconf, const char *arg)
{
    const char *said = mst_enter_section(cmd, dconf);

    return said ? said : mst_set_trusted(cmd, &((mst_section *) dconf)->conf, arg);
}

static const char *split_proxy(apr_pool_t *p, const char *arg, const char **host,
                               apr_port_t *port)
{
    char *name, *scope;

    if (apr_parse_addr_port(&name, &scope, port, arg, p) != APR_SUCCESS || name == NULL
        || *port == 0 || scope != NULL) {
        return apr_psprintf(p, "StrictTLSHTTPProxy must be HOST:PORT or off, not '%s'", arg);
    }
    *host = name;
    return NULL;
}

static const char *set_http_proxy(cmd_parms *cmd, void *dconf, const char *arg)
{
    mst_dir_conf *conf = &((mst_section *) dconf)->conf;
    const char *host, *said = mst_enter_section(cmd, dconf);
    apr_port_t port;

    if (said != NULL) {
        return said;
    }
    if (conf->http_proxy != NULL) {
        return "StrictTLSHTTPProxy is given twice in this section";
    }
    conf->http_proxy = apr_pstrdup(cmd->pool, arg);
    return ap_cstr_casecmp(arg, "off") ? split_proxy(cmd->pool, arg, &host, &port) : NULL;
}

void mst_add_command(command_rec *cmd, const char *name,
                     const char *(*set)(cmd_parms *, void *, const char *), const void *data,
                     int where, const char *doc)
{
    cmd->name = name;
    cmd->AP_TAKE1 = set;
    cmd->cmd_data = (void *) data;
    cmd->req_override = where;
    cmd->args_how = TAKE1;
    cmd->errmsg = doc;
}

__attribute__((constructor)) static void make_commands(void)
{
    const int anywhere = RSRC_CONF | ACCESS_CONF | PROXY_CONF;
    const stls_key_info *info = stls_policy_keys();
    command_rec *cmd = mst_commands;
    int i;

    mst_add_command(cmd++, "StrictTLS", set_mode, NULL, anywhere,
                "on, off or report: whether backends are judged");
    mst_add_command(cmd++, "StrictTLSTrustedCertificate", set_trusted, NULL, anywhere,
                "PEM file of the trust anchors; the system's unless given");
    mst_add_command(cmd++, "StrictTLSHTTPProxy", set_http_proxy, NULL, anywhere,
                "HOST:PORT of an HTTP proxy for fetches, or off");
    mst_add_command(cmd++, "StrictTLSCache", mst_set_cache, NULL, RSRC_CONF,
                "where OCSP answers are shared: a socache provider, as in shmcb:FILE(SIZE), "
                "redis:HOST:PORT or memcache:HOST:PORT, or none");
    cmd->name = "StrictTLSSelfCheck";
    cmd->AP_TAKE2 = mst_set_self_check;
    cmd->req_override = RSRC_CONF;
    cmd->args_how = TAKE12;
    cmd->errmsg = "off, warn or fail [SECONDS]: what becomes of chains of our own that strict peers "
                  "refuse, or that expire within so many seconds";
    cmd++;
    mst_add_command(cmd++, "StrictTLSStatus", mst_set_status, NULL, RSRC_CONF | ACCESS_CONF,
                "local or public: whom handler strict-tls-status answers");
    mst_add_command(cmd++, "StrictTLSMaxVerdicts", mst_set_max_verdicts, NULL, RSRC_CONF,
                    "how many verdicts each process remembers");
    mst_add_command(cmd++, "StrictTLSStatusPeers", mst_set_status_peers, NULL, RSRC_CONF,
                "how many peers the status page remembers");
    for (i = 0; i < STLS_NUM_KEYS; i++) {
        if (info[i].key == STLS_KEY_MODE) {
            continue; /* StrictTLS itself */
        }
        (void) stls_directive_name(STLS_DIRECTIVES_HTTPD, STLS_ROLE_SERVER, info[i].name,
                                   names[i], sizeof(names[i]));
        mst_add_command(cmd++, names[i], set_key, &info[i], anywhere, info[i].doc);
    }
    (void) mst_client_commands(cmd);
}

/* ---- the whole configuration -------------------------------------------------------- */

static apr_status_t drop_anchors(void *data)
{
    apr_hash_index_t *i;

    (void) data;
    for (i = apr_hash_first(NULL, anchors_by_file); i; i = apr_hash_next(i)) {
        stls_anchors_free(apr_hash_this_val(i));
    }
    anchors_by_file = NULL;
    return APR_SUCCESS;
}

int mst_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void) plog;
    (void) ptemp;
    conf_pool = pconf;
    anchors_by_file = apr_hash_make(pconf);
    is_wanted = 0;
    apr_pool_cleanup_register(pconf, NULL, drop_anchors, apr_pool_cleanup_null);
    mst_client_pre_config();
    mst_crl_file_pre_config(pconf);
    mst_cache_pre_config(pconf);
    mst_news_pre_config();
    mst_verdict_pre_config();
    mst_own_pre_config();
    mst_peers_pre_config(pconf);
    return OK;
}

stls_policy *mst_make_policy(const mst_dir_conf *conf, stls_error *err)
{
    const stls_key_info *info = stls_policy_keys();
    stls_policy *policy = stls_policy_new(NULL);
    stls_status status = policy ? STLS_OK : STLS_ERR_MEMORY;
    int i;

    if (status == STLS_OK && conf->value[STLS_KEY_PRESET]) {
        status = stls_policy_set(policy, "preset", conf->value[STLS_KEY_PRESET], err);
    }
    if (status == STLS_OK && conf->mode == MST_REPORT) {
        status = stls_policy_set(policy, "mode", "report", err);
    }
    if (status == STLS_OK) {
        status = stls_policy_set_directives(policy, STLS_DIRECTIVES_HTTPD);
    }
    for (i = 0; i < STLS_NUM_KEYS && status == STLS_OK; i++) {
        if (conf->value[i] && i != STLS_KEY_PRESET && i != STLS_KEY_MODE) {
            status = stls_policy_set(policy, info[i].name, conf->value[i], err);
        }
    }
    if (status == STLS_OK) {
        status = stls_policy_freeze(policy, err);
    }
    ERR_clear_error();
    if (status != STLS_OK) {
        stls_policy_free(policy);
        return NULL;
    }
    return policy;
}

const char *mst_try_policy(apr_pool_t *p, const mst_dir_conf *conf)
{
    stls_error err = {{0}};
    stls_policy *policy = mst_make_policy(conf, &err);
    const char *said = policy ? NULL
        : err.text[0] ? apr_pstrdup(p, err.text) : "out of memory";

    stls_policy_free(policy);
    return said;
}

/* Keys that contradict each other are told before the server starts. */
static int check_section(server_rec *s, const mst_dir_conf *base, ap_conf_vector_t *section,
                         apr_pool_t *ptemp)
{
    const mst_dir_conf *own = section ? mst_get_dir_conf(section) : base;
    mst_dir_conf merged;
    const mst_dir_conf *conf = base;
    const char *said;

    if (own == NULL) {
        return 1;
    }
    if (section) {
        mst_merge_values(&merged, base, own);
        conf = &merged;
    }
    if (conf->mode != MST_ENFORCE && conf->mode != MST_REPORT) {
        return 1;
    }
    said = mst_try_policy(ptemp, conf);
    if (said != NULL) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, STLSLOGNO(10)
                     "strict-tls: %s:%u, server %s: %s", s->defn_name ? s->defn_name : "main",
                     s->defn_line_number, s->server_hostname ? s->server_hostname : "(main)",
                     said);
        return 0;
    }
    return 1;
}

static int check_sections(server_rec *s, const mst_dir_conf *base,
                          const apr_array_header_t *sections, apr_pool_t *ptemp)
{
    int i;

    for (i = 0; sections && i < sections->nelts; i++) {
        if (!check_section(s, base, APR_ARRAY_IDX(sections, i, ap_conf_vector_t *), ptemp)) {
            return 0;
        }
    }
    return 1;
}

static const char *load_system(apr_pool_t *ptemp)
{
    const char *stores[] = {X509_get_default_cert_file(), "/etc/ssl/certs/ca-certificates.crt"};
    const char *said = load_file(ptemp, "", stores[0]);

    return said ? load_file(ptemp, "", stores[1]) : NULL;
}

stls_anchors *mst_get0_anchors(const mst_dir_conf *conf, apr_pool_t *ptemp)
{
    if (conf->trusted == NULL && load_system(ptemp) != NULL) {
        return NULL;
    }
    return apr_hash_get(anchors_by_file, conf->trusted ? conf->trusted : "", APR_HASH_KEY_STRING);
}

int mst_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *main_s,
                     int has_proxy)
{
    const char *said;
    server_rec *s;

    (void) plog;
    if (mst_client_check_config(pconf, ptemp, main_s) != OK) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!is_wanted) {
        return OK;
    }
    if (!has_proxy) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, main_s, STLSLOGNO(13)
                     "strict-tls: load mod_proxy before mod_strict_tls");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    said = load_system(ptemp);
    if (said != NULL) {
        if (apr_hash_count(anchors_by_file) == 0) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, main_s, STLSLOGNO(11)
                         "strict-tls: %s: install the system's certificates, or name a file "
                         "with StrictTLSTrustedCertificate", said);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, main_s, STLSLOGNO(12)
                     "strict-tls: %s: sections without StrictTLSTrustedCertificate will reject "
                     "every backend", said);
    }
    if (ap_find_linked_module("mod_ssl.c") == NULL || ap_find_linked_module("mod_proxy.c") == NULL) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, main_s, STLSLOGNO(13)
                     "strict-tls: StrictTLS needs mod_ssl and mod_proxy: load both before "
                     "mod_strict_tls");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    for (s = main_s; s; s = s->next) {
        core_server_config *core = ap_get_core_module_config(s->module_config);
        const mst_dir_conf *base = mst_get_dir_conf(s->lookup_defaults);

        if (!check_section(s, base, NULL, ptemp) || !check_sections(s, base, core->sec_url, ptemp)
            || !check_sections(s, base, core->sec_dir, ptemp)
            || !check_sections(s, base, mst_proxy_sections(s), ptemp)) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        mst_get_client_conf(s)->targets = mst_find_targets(pconf, s);
    }
    return OK;
}

/* ---- one process ----------------------------------------------------------------------- */

static apr_status_t forget_runtimes(void *data)
{
    (void) data;
    runtime_mutex = NULL;
    return APR_SUCCESS;
}

void mst_config_child_init(apr_pool_t *p)
{
    runtime_pool = p;
    apr_thread_mutex_create(&runtime_mutex, APR_THREAD_MUTEX_DEFAULT, p);
    runtimes = apr_hash_make(p);
    /* a process that serves by itself (httpd -X) reads the configuration again */
    apr_pool_cleanup_register(p, NULL, forget_runtimes, apr_pool_cleanup_null);
}

int mst_is_running(void)
{
    return runtime_mutex != NULL;
}

apr_pool_t *mst_lock_runtimes(void)
{
    if (runtime_mutex == NULL) {
        return NULL;
    }
    apr_thread_mutex_lock(runtime_mutex);
    return runtime_pool;
}

void mst_unlock_runtimes(void)
{
    apr_thread_mutex_unlock(runtime_mutex);
}

static mst_runtime *make_runtime(const mst_dir_conf *conf)
{
    mst_runtime *rt = apr_pcalloc(runtime_pool, sizeof(*rt));
    stls_error err = {{0}};

    memcpy(&rt->conf, conf, sizeof(rt->conf));
    rt->report = conf->mode == MST_REPORT;
    rt->role = conf->is_client ? STLS_ROLE_CLIENT : STLS_ROLE_SERVER;
    rt->anchors = apr_hash_get(anchors_by_file, conf->trusted ? conf->trusted : "",
                               APR_HASH_KEY_STRING);
    rt->policy = rt->anchors ? mst_make_policy(conf, &err) : NULL;
    if (rt->policy == NULL) {
        if (rt->anchors || !conf->is_client) { /* servers without TLS inherit StrictTLSClient */
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf, STLSLOGNO(14)
                         "strict-tls: %s", rt->anchors ? err.text : "no trusted certificates");
        }
        return rt;
    }
    rt->crl_file = mst_crl_file_of(rt->policy);
    rt->nonce = !strcmp(stls_policy_get0_text(rt->policy, STLS_KEY_OCSP_NONCE), "on");
    rt->fetch_total = apr_time_from_msec(stls_policy_get_int(rt->policy, STLS_KEY_FETCH_TOTAL_MS));
    rt->negative_ttl_s = stls_policy_get_int(rt->policy, STLS_KEY_NEGATIVE_TTL_S);
    rt->max_in_flight = (int) stls_policy_get_int(rt->policy, STLS_KEY_MAX_FETCHES_IN_FLIGHT);
    rt->crl_memory = (apr_size_t) stls_policy_get_int(rt->policy, STLS_KEY_CRL_MEMORY_BYTES);
    /* OpenSSL's own bound must not be met before the core's, which names the reason */
    rt->max_cert_list = (apr_size_t) stls_policy_get_int(rt->policy, STLS_KEY_MAX_CHAIN_BYTES) * 2
                        + 65536;
    if (conf->http_proxy && ap_cstr_casecmp(conf->http_proxy, "off")) {
        (void) split_proxy(runtime_pool, conf->http_proxy, &rt->proxy_host, &rt->proxy_port);
    }
    return rt;
}

mst_runtime *mst_get_runtime(const mst_dir_conf *conf)
{
    static mst_runtime nobody; /* it has no policy, which rejects */
    mst_runtime *rt;

    if (conf == NULL || (conf->mode != MST_ENFORCE && conf->mode != MST_REPORT)) {
        return NULL;
    }
    if (runtime_mutex == NULL) { /* not in a child: no connection is made there */
        return &nobody;
    }
    apr_thread_mutex_lock(runtime_mutex);
    rt = apr_hash_get(runtimes, conf, sizeof(*conf));
    if (rt == NULL) {
        rt = make_runtime(conf);
        apr_hash_set(runtimes, &rt->conf, sizeof(rt->conf), rt);
    }
    apr_thread_mutex_unlock(runtime_mutex);
    return rt;
}

mst_runtime *mst_get_nameless(const mst_runtime *rt)
{
    mst_dir_conf conf;

    memcpy(&conf, &rt->conf, sizeof(conf));
    conf.value[STLS_KEY_NAME] = name_off;
    return mst_get_runtime(&conf);
}
