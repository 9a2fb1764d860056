/*
 * Which of mod_ssl's settings will refuse what StrictTLS would accept?  Told
 * when the configuration is tested, from the tree of directives.
 */
#include "mod_strict_tls.h"

#define UNSET (-1)

/* What is said in one server, sections included. */
typedef struct {
    int proxy_engine; /* SSLProxyEngine on, somewhere */
    int has_target;   /* requests are passed on over TLS */
    int is_strict;    /* StrictTLS on or report, somewhere */
    int depth;        /* SSLVerifyDepth */
} scope;

static int is(const ap_directive_t *dir, const char *name)
{
    return !ap_cstr_casecmp(dir->directive, name);
}

static int is_on(const ap_directive_t *dir)
{
    return ap_cstr_casecmp(dir->args, "off") != 0;
}

/* mod_proxy's directives that may name a backend. */
static int names_target(const ap_directive_t *dir)
{
    static const char *const names[] = {"ProxyPass", "ProxyPassMatch", "BalancerMember",
                                        "RewriteRule", "SetHandler"};
    apr_size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (is(dir, names[i])) {
            return strstr(dir->args, "https://") || strstr(dir->args, "wss://")
                || strstr(dir->args, "h2://");
        }
    }
    return 0;
}

static void read_tree(scope *sc, const ap_directive_t *dir)
{
    for (; dir; dir = dir->next) {
        if (is(dir, "<VirtualHost")) {
            continue;
        }
        sc->has_target |= names_target(dir);
        if (is(dir, "SSLProxyEngine")) {
            sc->proxy_engine |= is_on(dir);
        }
        else if (is(dir, "StrictTLS")) {
            sc->is_strict |= is_on(dir);
        }
        else if (is(dir, "SSLVerifyDepth")) {
            sc->depth = atoi(dir->args) > sc->depth ? atoi(dir->args) : sc->depth;
        }
        read_tree(sc, dir->first_child);
    }
}

static const ap_directive_t *tree_of(const server_rec *s, const server_rec *main_s)
{
    const ap_directive_t *dir;

    if (s == main_s) {
        return ap_conftree;
    }
    for (dir = ap_conftree; dir; dir = dir->next) {
        if (is(dir, "<VirtualHost") && s->defn_name && !strcmp(s->defn_name, dir->filename)
            && s->defn_line_number == (unsigned) dir->line_num) {
            return dir->first_child;
        }
    }
    return NULL;
}

static void warn(server_rec *s, const char *what)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, STLSLOGNO(15)
                 "strict-tls: %s:%u, server %s: %s", s->defn_name ? s->defn_name : "main",
                 s->defn_line_number, s->server_hostname ? s->server_hostname : "(main)", what);
}

void mst_advise(server_rec *main_s)
{
    scope all = {0, 0, 0, UNSET}, sc;
    server_rec *s;

    read_tree(&all, ap_conftree);
    for (s = main_s; s; s = s->next) {
        const mst_dir_conf *base = mst_get_dir_conf(s->lookup_defaults);
        const mst_client_conf *client = mst_get_client_conf(s);

        sc = all;
        if (s != main_s) {
            sc.has_target = sc.is_strict = 0;
            read_tree(&sc, tree_of(s, main_s));
        }
        sc.is_strict |= base->mode == MST_ENFORCE || base->mode == MST_REPORT;
        if (sc.is_strict && sc.has_target && !sc.proxy_engine) {
            warn(s, "StrictTLS judges backends, but without SSLProxyEngine on mod_ssl makes no "
                 "connection to them");
        }
        if (mst_client_is_strict(client) && (client->asks == 1 || client->asks_somewhere)
            && sc.depth < 2) {
            warn(s, sc.depth == UNSET
                 ? "StrictTLSClient: SSLVerifyDepth is 1 unless set, so that mod_ssl refuses "
                   "clients whose chain has an intermediate: set SSLVerifyDepth 5"
                 : "StrictTLSClient: SSLVerifyDepth below 2 makes mod_ssl refuse clients whose "
                   "chain has an intermediate: set SSLVerifyDepth 5");
        }
    }
}
