/*
 * StrictTLSClient and its keys: what is demanded of clients, per virtual host.
 * mod_ssl's own directives about client certificates are looked at as well: they
 * say whom a client's chain must lead to, and whether one is asked for at all.
 */
#include "mod_strict_tls.h"

#include <apr_file_info.h>
#include <apr_fnmatch.h>

#define PREFIX "StrictTLSClient"

static int is_wanted; /* some StrictTLSClient on or report */

/* ---- directives --------------------------------------------------------------------- */

static mst_client_conf *conf_of(const server_rec *s)
{
    return ap_get_module_config(s->module_config, &strict_tls_module);
}

static const char *set_mode(cmd_parms *cmd, void *dummy, const char *arg)
{
    mst_client_conf *conf = conf_of(cmd->server);

    (void) dummy;
    if (conf->own.mode != MST_UNSET) {
        return PREFIX " is given twice in this section";
    }
    conf->own.mode = mst_parse_mode(arg);
    if (conf->own.mode == MST_UNSET) {
        return apr_psprintf(cmd->pool, PREFIX " must be on, off or report, not '%s'", arg);
    }
    conf->is_set_here = conf->own.mode != MST_OFF;
    is_wanted |= conf->is_set_here;
    return NULL;
}

static const char *set_key(cmd_parms *cmd, void *dummy, const char *arg)
{
    (void) dummy;
    return mst_set_value(cmd, &conf_of(cmd->server)->own, arg);
}

static const char *set_trusted(cmd_parms *cmd, void *dummy, const char *arg)
{
    (void) dummy;
    return mst_set_trusted(cmd, &conf_of(cmd->server)->own, arg);
}

/* ---- mod_ssl's: it says whether they are well-formed -------------------------------- */

static const char *look_at(cmd_parms *cmd, void *dummy, const char *arg)
{
    mst_client_conf *conf = conf_of(cmd->server);

    (void) dummy;
    if (ap_find_linked_module("mod_ssl.c") == NULL) {
        return apr_psprintf(cmd->pool, "Invalid command '%s', perhaps misspelled or defined by a "
                            "module not included in the server configuration", cmd->cmd->name);
    }
    if (cmd->path != NULL) {
        if (!ap_cstr_casecmp(cmd->cmd->name, "SSLVerifyClient")) {
            conf->asks_somewhere |= ap_cstr_casecmp(arg, "none") != 0;
        }
        return NULL;
    }
    if (!ap_cstr_casecmp(cmd->cmd->name, "SSLVerifyClient")) {
        conf->asks = ap_cstr_casecmp(arg, "none") != 0;
    }
    else if (!ap_cstr_casecmp(cmd->cmd->name, "SSLCACertificateFile")) {
        conf->ca_file = ap_server_root_relative(cmd->pool, arg);
    }
    else {
        conf->ca_path = ap_server_root_relative(cmd->pool, arg);
    }
    return NULL;
}

command_rec *mst_client_commands(command_rec *cmd)
{
    static char names[STLS_NUM_KEYS][STLS_DIRECTIVE_LEN];
    static const char *const looked_at[] = {"SSLVerifyClient", "SSLCACertificateFile",
                                            "SSLCACertificatePath"};
    const stls_key_info *info = stls_policy_keys();
    int i;

    mst_add_command(cmd++, PREFIX, set_mode, NULL, RSRC_CONF,
                    "on, off or report: whether clients' certificates are judged");
    mst_add_command(cmd++, PREFIX "TrustedCertificate", set_trusted, NULL, RSRC_CONF,
                    "PEM file of the trust anchors for clients; mod_ssl's CA certificates unless "
                    "given");
    for (i = 0; i < STLS_NUM_KEYS; i++) {
        if (info[i].key != STLS_KEY_MODE) {
            (void) stls_directive_name(STLS_DIRECTIVES_HTTPD, STLS_ROLE_CLIENT, info[i].name,
                                       names[i], sizeof(names[i]));
            mst_add_command(cmd++, names[i], set_key, &info[i], RSRC_CONF, info[i].doc);
        }
    }
    for (i = 0; i < 3; i++) {
        mst_add_command(cmd++, looked_at[i], look_at, NULL, RSRC_CONF | OR_AUTHCFG,
                        "mod_ssl's; looked at for StrictTLSClient");
    }
    return cmd;
}

/* ---- servers ------------------------------------------------------------------------- */

void *mst_create_server_conf(apr_pool_t *p, server_rec *s)
{
    mst_client_conf *conf = apr_pcalloc(p, sizeof(*conf));

    (void) s;
    conf->own.mode = MST_UNSET;
    conf->own.is_client = 1;
    conf->asks = MST_UNSET;
    return conf;
}

void *mst_merge_server_conf(apr_pool_t *p, void *basev, void *addv)
{
    const mst_client_conf *base = basev, *add = addv;
    mst_client_conf *conf = apr_pmemdup(p, add, sizeof(*conf));

    mst_merge_values(&conf->own, &base->own, &add->own);
    if (conf->asks == MST_UNSET) {
        conf->asks = base->asks;
    }
    if (conf->ca_file == NULL) {
        conf->ca_file = base->ca_file;
    }
    if (conf->ca_path == NULL) {
        conf->ca_path = base->ca_path;
    }
    return conf;
}

/* Hashed names, the only ones that OpenSSL looks for in such a folder. */
static const char *list_folder(apr_pool_t *p, const char *path, apr_array_header_t *files)
{
    static const char hex[] = "[0-9a-f]";
    const char *name = apr_pstrcat(p, hex, hex, hex, hex, hex, hex, hex, hex, ".[0-9]*", NULL);
    apr_finfo_t info;
    apr_dir_t *dir;

    if (apr_dir_open(&dir, path, p) != APR_SUCCESS) {
        return apr_psprintf(p, "cannot read folder '%s'", path);
    }
    while (apr_dir_read(&info, APR_FINFO_NAME, dir) == APR_SUCCESS) {
        if (apr_fnmatch(name, info.name, 0) == APR_SUCCESS) {
            APR_ARRAY_PUSH(files, const char *) = apr_pstrcat(p, path, "/", info.name, NULL);
        }
    }
    apr_dir_close(dir);
    return NULL;
}

/* Where no anchors are named for clients: mod_ssl's CA certificates, never the system's. */
static const char *load_ca(apr_pool_t *p, mst_client_conf *conf, apr_pool_t *pconf)
{
    apr_array_header_t *files = apr_array_make(p, 4, sizeof(char *));
    const char *said;

    conf->effective.trusted = apr_pstrcat(pconf, "clients of ", conf->ca_file ? conf->ca_file : "",
                                          " ", conf->ca_path ? conf->ca_path : "", NULL);
    if (conf->ca_file != NULL) {
        APR_ARRAY_PUSH(files, const char *) = conf->ca_file;
    }
    if (conf->ca_path != NULL) {
        said = list_folder(p, conf->ca_path, files);
        if (said != NULL) {
            return said;
        }
    }
    return files->nelts > 0 ? mst_load_anchors(p, conf->effective.trusted, files) : NULL;
}

/* Keys that are not given for clients count as given for backends at the same level. */
static void combine(mst_client_conf *conf, const mst_dir_conf *backends)
{
    int i;

    memcpy(&conf->effective, &conf->own, sizeof(conf->effective));
    if (conf->own.value[STLS_KEY_PRESET] == NULL) { /* a preset begins anew */
        for (i = 0; i < STLS_NUM_KEYS; i++) {
            if (conf->effective.value[i] == NULL) {
                conf->effective.value[i] = backends->value[i];
            }
        }
    }
    conf->effective.http_proxy = backends->http_proxy;
}

static int say(server_rec *s, const char *what)
{
    ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, STLSLOGNO(50)
                 "strict-tls: " PREFIX ": %s:%u, server %s: %s",
                 s->defn_name ? s->defn_name : "main", s->defn_line_number,
                 s->server_hostname ? s->server_hostname : "(main)", what);
    return HTTP_INTERNAL_SERVER_ERROR;
}

static int check_server(server_rec *s, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    mst_client_conf *conf = conf_of(s);
    const char *said;

    combine(conf, mst_get_dir_conf(s->lookup_defaults));
    if (!mst_client_is_strict(conf)) {
        return OK;
    }
    said = mst_try_policy(ptemp, &conf->effective);
    if (said == NULL && conf->own.trusted == NULL) {
        if (conf->ca_file == NULL && conf->ca_path == NULL && conf->asks == 1) {
            said = "there is nobody to trust: SSLCACertificateFile, or " PREFIX
                   "TrustedCertificate";
        }
        else {
            said = load_ca(ptemp, conf, pconf);
        }
    }
    return said ? say(s, said) : OK;
}

int mst_client_check_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_s)
{
    int is_asked_below = 0;
    server_rec *s;

    if (!is_wanted) {
        return OK;
    }
    if (ap_find_linked_module("mod_ssl.c") == NULL) {
        return say(main_s, "it needs mod_ssl: load it before mod_strict_tls");
    }
    for (s = main_s; s; s = s->next) {
        if (check_server(s, pconf, ptemp) != OK) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        is_asked_below |= conf_of(s)->asks == 1 || conf_of(s)->asks_somewhere;
    }
    for (s = main_s; s; s = s->next) {
        mst_client_conf *conf = conf_of(s);

        if (conf->is_set_here && conf->asks != 1 && !conf->asks_somewhere
            && !(s == main_s && is_asked_below)) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, STLSLOGNO(51)
                         "strict-tls: " PREFIX ": %s:%u, server %s: without SSLVerifyClient no "
                         "client is asked for a certificate, so none is judged",
                         s->defn_name ? s->defn_name : "main", s->defn_line_number,
                         s->server_hostname ? s->server_hostname : "(main)");
        }
    }
    return OK;
}

void mst_client_pre_config(void)
{
    is_wanted = 0;
}

int mst_client_is_wanted(void)
{
    return is_wanted;
}

int mst_client_is_strict(const mst_client_conf *conf)
{
    return conf->own.mode == MST_ENFORCE || conf->own.mode == MST_REPORT;
}

mst_client_conf *mst_get_client_conf(const server_rec *s)
{
    return conf_of(s);
}
