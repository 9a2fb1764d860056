/*
 * Which certificates will mod_ssl present, and where were they configured?
 * Read from the tree of directives: it is there under apachectl -t, when
 * mod_ssl has not read any file yet.
 */
#include "own.h"

#include <apr_file_info.h>

#define UNSET (-1)

/* What mod_ssl's directives say in one server, or in one <Proxy> of it. */
typedef struct {
    int engine; /* SSLEngine */
    int self_check;
    apr_int64_t fail_within_s;
    apr_array_header_t *cert_files; /* const char *, as written */
    apr_array_header_t *key_files;
    const char *chain_file;
    const char *ca_file;
    const char *machine_file;
    const char *machine_path;
    const char *machine_chain;
    const char *machine_ca;
    const char *server_name;
    apr_array_header_t *names;
} scope;

typedef struct {
    const char *name;
    apr_array_header_t *names;
} managed; /* by mod_md */

typedef struct {
    apr_pool_t *pool; /* pconf */
    apr_pool_t *ptemp;
    apr_array_header_t *chains;
    apr_array_header_t *managed;
    const char *md_store;
} finder;

/* ---- the tree ----------------------------------------------------------------------- */

static int is(const ap_directive_t *dir, const char *name)
{
    return !ap_cstr_casecmp(dir->directive, name);
}

static const char *word(finder *f, const ap_directive_t *dir)
{
    const char *args = dir->args;
    return ap_getword_conf(f->pool, &args);
}

static void add_words(finder *f, apr_array_header_t *list, const char *args)
{
    const char *one;

    while (*args && *(one = ap_getword_conf(f->pool, &args))) {
        apr_size_t len = strlen(one);

        if (len > 1 && one[len - 1] == '>') {
            one = apr_pstrmemdup(f->pool, one, len - 1); /* of a section's own line */
        }
        APR_ARRAY_PUSH(list, const char *) = one;
    }
}

static void make_scope(finder *f, scope *sc)
{
    memset(sc, 0, sizeof(*sc));
    sc->engine = sc->self_check = UNSET;
    sc->cert_files = apr_array_make(f->pool, 2, sizeof(const char *));
    sc->key_files = apr_array_make(f->pool, 2, sizeof(const char *));
    sc->names = apr_array_make(f->pool, 4, sizeof(const char *));
}

/* "https://www.example.com:443" -> "www.example.com" */
static const char *host_of(apr_pool_t *p, const char *name)
{
    const char *begin = strstr(name, "://"), *end;

    begin = begin ? begin + 3 : name;
    end = *begin == '[' ? strchr(begin, ']') : strchr(begin, ':');
    if (end == NULL) {
        return begin;
    }
    return *begin == '[' ? apr_pstrmemdup(p, begin + 1, end - begin - 1)
                         : apr_pstrmemdup(p, begin, end - begin);
}

static void read_directive(finder *f, scope *sc, const ap_directive_t *dir)
{
    if (is(dir, "SSLEngine")) {
        sc->engine = ap_cstr_casecmp(word(f, dir), "off") != 0;
    }
    else if (is(dir, "StrictTLSSelfCheck")) {
        const char *args = dir->args, *mode = ap_getword_conf(f->pool, &args);
        const char *within = ap_getword_conf(f->pool, &args);
        sc->fail_within_s = apr_atoi64(within);
        sc->self_check = !ap_cstr_casecmp(mode, "off") ? MST_SELF_OFF
                       : !ap_cstr_casecmp(mode, "fail") ? MST_SELF_FAIL : MST_SELF_WARN;
    }
    else if (is(dir, "SSLCertificateFile")) {
        APR_ARRAY_PUSH(sc->cert_files, const char *) = word(f, dir);
    }
    else if (is(dir, "SSLCertificateKeyFile")) {
        APR_ARRAY_PUSH(sc->key_files, const char *) = word(f, dir);
    }
    else if (is(dir, "SSLCertificateChainFile")) {
        sc->chain_file = ap_server_root_relative(f->pool, word(f, dir));
    }
    else if (is(dir, "SSLCACertificateFile")) {
        sc->ca_file = ap_server_root_relative(f->pool, word(f, dir));
    }
    else if (is(dir, "SSLProxyMachineCertificateFile")) {
        sc->machine_file = ap_server_root_relative(f->pool, word(f, dir));
    }
    else if (is(dir, "SSLProxyMachineCertificatePath")) {
        sc->machine_path = ap_server_root_relative(f->pool, word(f, dir));
    }
    else if (is(dir, "SSLProxyMachineCertificateChainFile")) {
        sc->machine_chain = ap_server_root_relative(f->pool, word(f, dir));
    }
    else if (is(dir, "SSLProxyCACertificateFile")) {
        sc->machine_ca = ap_server_root_relative(f->pool, word(f, dir));
    }
    else if (is(dir, "ServerName")) {
        sc->server_name = host_of(f->pool, word(f, dir));
        APR_ARRAY_PUSH(sc->names, const char *) = sc->server_name;
    }
    else if (is(dir, "ServerAlias")) {
        add_words(f, sc->names, dir->args);
    }
}

/* mod_ssl's merging: a server's first files knock out the main server's first, and so on. */
static apr_array_header_t *merge_files(finder *f, const apr_array_header_t *base,
                                       const apr_array_header_t *add)
{
    apr_array_header_t *all = apr_array_copy(f->pool, add);
    int i;

    for (i = add->nelts; i < base->nelts; i++) {
        APR_ARRAY_PUSH(all, const char *) = APR_ARRAY_IDX(base, i, const char *);
    }
    return all;
}

static void inherit(finder *f, scope *sc, const scope *base)
{
    sc->engine = sc->engine == UNSET ? base->engine : sc->engine;
    if (sc->self_check == UNSET) {
        sc->self_check = base->self_check;
        sc->fail_within_s = base->fail_within_s;
    }
    sc->cert_files = merge_files(f, base->cert_files, sc->cert_files);
    sc->key_files = merge_files(f, base->key_files, sc->key_files);
    sc->chain_file = sc->chain_file ? sc->chain_file : base->chain_file;
    sc->ca_file = sc->ca_file ? sc->ca_file : base->ca_file;
    sc->machine_chain = sc->machine_chain ? sc->machine_chain : base->machine_chain;
    sc->machine_ca = sc->machine_ca ? sc->machine_ca : base->machine_ca;
}

/* ---- chains ---------------------------------------------------------------------------- */

static apr_status_t free_own(void *data)
{
    mst_own *own = data;

    sk_X509_pop_free(own->certs, X509_free);
    EVP_PKEY_free(own->key);
    own->certs = NULL;
    own->key = NULL;
    return APR_SUCCESS;
}

static mst_own *add_own(finder *f, const scope *sc, server_rec *s, stls_role role,
                        const char *file, const char *where)
{
    mst_own *own = apr_pcalloc(f->pool, sizeof(*own));

    own->role = role;
    own->mode = sc->self_check == UNSET ? MST_SELF_WARN : (mst_self_check) sc->self_check;
    own->fail_within_s = sc->fail_within_s;
    own->file = file;
    own->where = where;
    own->names = role == STLS_ROLE_SERVER ? sc->names
                                          : apr_array_make(f->pool, 1, sizeof(const char *));
    memcpy(&own->conf, mst_get_dir_conf(s->lookup_defaults), sizeof(own->conf));
    own->conf.mode = MST_ENFORCE;
    APR_ARRAY_PUSH(f->chains, mst_own *) = own;
    apr_pool_cleanup_register(f->pool, own, free_own, apr_pool_cleanup_null);
    return own;
}

/* "pkcs11:...", "store:...": nothing to read here. */
static int is_uri(const char *file)
{
    return !strncasecmp(file, "pkcs11:", 7) || !strncasecmp(file, "store:", 6)
        || !strncasecmp(file, "engine:", 7);
}

static STACK_OF(X509) *read_some(finder *f, const char *file)
{
    const char *why_not;
    return file ? mst_own_read_certs(file, f->ptemp, &why_not) : NULL;
}

static void read_server_chain(finder *f, mst_own *own, const scope *sc)
{
    STACK_OF(X509) *more;
    X509 *cert;

    if (is_uri(own->file)) {
        own->why_not = "the certificate is not in a file";
        return;
    }
    own->certs = mst_own_read_certs(own->file, f->pool, &own->why_not);
    if (own->certs == NULL) {
        return;
    }
    if (own->key_file != NULL && is_uri(own->key_file)) {
        own->why_not = apr_psprintf(f->pool, "the key is %s", own->key_file);
    }
    else {
        own->key = mst_own_read_key(own->key_file ? own->key_file : own->file, f->pool,
                                    &own->why_not);
    }
    if (sk_X509_num(own->certs) > 1) {
        own->chain_file = NULL; /* a chain beside the leaf is all that is sent */
        return;
    }
    if (sc->chain_file != NULL && strcmp(sc->chain_file, own->file)) {
        own->chain_file = sc->chain_file;
        more = read_some(f, sc->chain_file);
        while ((cert = sk_X509_shift(more)) != NULL) {
            if (!sk_X509_push(own->certs, cert)) {
                X509_free(cert);
            }
        }
    }
    else {
        more = read_some(f, sc->ca_file);
        mst_own_complete(own->certs, more);
    }
    sk_X509_pop_free(more, X509_free);
}

static const managed *managed_by_md(finder *f, const scope *sc)
{
    int i, k;

    for (i = 0; i < f->managed->nelts; i++) {
        const managed *md = &APR_ARRAY_IDX(f->managed, i, managed);
        for (k = 0; k < md->names->nelts; k++) {
            if (sc->server_name != NULL
                && !ap_cstr_casecmp(APR_ARRAY_IDX(md->names, k, const char *), sc->server_name)) {
                return md;
            }
        }
    }
    return NULL;
}

static void add_managed(finder *f, const scope *sc, server_rec *s, const char *where)
{
    const managed *md = managed_by_md(f, sc);
    const char *folder;
    mst_own *own;

    if (md == NULL) {
        return; /* mod_ssl says so itself where there is no certificate at all */
    }
    folder = apr_pstrcat(f->pool, ap_server_root_relative(f->pool, f->md_store), "/domains/",
                         md->name, NULL);
    own = add_own(f, sc, s, STLS_ROLE_SERVER, apr_pstrcat(f->pool, folder, "/pubcert.pem", NULL),
                  where);
    own->key_file = apr_pstrcat(f->pool, folder, "/privkey.pem", NULL);
    read_server_chain(f, own, sc);
    if (own->certs == NULL) {
        own->why_not = apr_psprintf(f->pool, "mod_md has no certificate for %s there", md->name);
    }
}

static void add_server(finder *f, const scope *sc, server_rec *s, const char *where)
{
    int i;

    if (sc->engine != 1) {
        return;
    }
    for (i = 0; i < sc->cert_files->nelts; i++) {
        const char *file = APR_ARRAY_IDX(sc->cert_files, i, const char *);
        mst_own *own = add_own(f, sc, s, STLS_ROLE_SERVER,
                               is_uri(file) ? file : ap_server_root_relative(f->pool, file),
                               where);

        if (i < sc->key_files->nelts) {
            const char *key = APR_ARRAY_IDX(sc->key_files, i, const char *);
            own->key_file = is_uri(key) ? key : ap_server_root_relative(f->pool, key);
        }
        read_server_chain(f, own, sc);
    }
    if (sc->cert_files->nelts == 0) {
        add_managed(f, sc, s, where);
    }
}

static void add_machine_file(finder *f, const scope *sc, server_rec *s, const char *file,
                             const char *where)
{
    const char *why_not = NULL;
    STACK_OF(X509_INFO) *pairs = mst_own_read_pairs(file, f->pool, &why_not);
    STACK_OF(X509) *chain = read_some(f, sc->machine_chain), *ca = read_some(f, sc->machine_ca);
    mst_own *own;
    int i;

    for (i = 0; i < sk_X509_INFO_num(pairs); i++) {
        X509_INFO *pair = sk_X509_INFO_value(pairs, i);

        if (pair->x509 == NULL) {
            continue;
        }
        own = add_own(f, sc, s, STLS_ROLE_CLIENT, file, where);
        own->chain_file = sc->machine_chain;
        own->certs = sk_X509_new_null();
        if (own->certs && X509_up_ref(pair->x509) && sk_X509_push(own->certs, pair->x509)) {
            mst_own_complete(own->certs, chain);
            mst_own_complete(own->certs, ca);
        }
        own->key = mst_own_public_half(pair->x_pkey ? pair->x_pkey->dec_pkey : NULL);
        if (own->key == NULL) {
            own->why_not = "its key is not beside it, or encrypted";
        }
    }
    if (sk_X509_INFO_num(pairs) <= 0) {
        own = add_own(f, sc, s, STLS_ROLE_CLIENT, file, where);
        own->why_not = why_not;
    }
    sk_X509_INFO_pop_free(pairs, X509_INFO_free);
    sk_X509_pop_free(chain, X509_free);
    sk_X509_pop_free(ca, X509_free);
}

static void add_machine(finder *f, const scope *sc, server_rec *s, const char *where)
{
    apr_dir_t *dir;
    apr_finfo_t info;

    if (sc->machine_file != NULL) {
        add_machine_file(f, sc, s, sc->machine_file, where);
    }
    if (sc->machine_path == NULL || apr_dir_open(&dir, sc->machine_path, f->ptemp) != APR_SUCCESS) {
        return;
    }
    while (apr_dir_read(&info, APR_FINFO_NAME | APR_FINFO_TYPE, dir) == APR_SUCCESS) {
        if (info.filetype != APR_DIR) {
            add_machine_file(f, sc, s,
                             apr_pstrcat(f->pool, sc->machine_path, "/", info.name, NULL), where);
        }
    }
    apr_dir_close(dir);
}

/* ---- servers --------------------------------------------------------------------------------- */

/* mod_macro puts quotes into its file names. */
static const char *where_of(finder *f, const ap_directive_t *dir)
{
    char *where = apr_psprintf(f->pool, "%s:%d", dir->filename, dir->line_num), *p;

    for (p = where; *p; p++) {
        if (*p == '"') {
            *p = '\'';
        }
    }
    return where;
}

static void read_managed(finder *f, const ap_directive_t *dir)
{
    managed *md;

    if (is(dir, "MDStoreDir")) {
        f->md_store = word(f, dir);
    }
    else if (is(dir, "MDomain") || is(dir, "<MDomainSet") || is(dir, "<MDomain")) {
        md = apr_array_push(f->managed);
        md->names = apr_array_make(f->pool, 4, sizeof(const char *));
        add_words(f, md->names, dir->args);
        md->name = md->names->nelts > 0 ? APR_ARRAY_IDX(md->names, 0, const char *) : "";
    }
}

/* Sections for backends have certificates of their own. */
static void read_proxies(finder *f, const scope *server, server_rec *s,
                         const ap_directive_t *first)
{
    const ap_directive_t *dir, *line;

    for (dir = first; dir; dir = dir->next) {
        if (is(dir, "<Proxy") || is(dir, "<ProxyMatch")) {
            scope sc;

            make_scope(f, &sc);
            for (line = dir->first_child; line; line = line->next) {
                read_directive(f, &sc, line);
            }
            inherit(f, &sc, server);
            add_machine(f, &sc, s, where_of(f, dir));
        }
    }
}

static server_rec *server_of(server_rec *main_s, const ap_directive_t *dir)
{
    server_rec *s;

    for (s = main_s->next; s; s = s->next) {
        if (s->defn_name && !strcmp(s->defn_name, dir->filename)
            && s->defn_line_number == (unsigned) dir->line_num) {
            return s;
        }
    }
    return main_s;
}

static void read_servers(finder *f, server_rec *main_s)
{
    const ap_directive_t *dir, *line;
    scope main_scope, sc;

    make_scope(f, &main_scope);
    for (dir = ap_conftree; dir; dir = dir->next) {
        read_directive(f, &main_scope, dir);
        read_managed(f, dir);
    }
    add_server(f, &main_scope, main_s, "the main server");
    add_machine(f, &main_scope, main_s, "the main server");
    read_proxies(f, &main_scope, main_s, ap_conftree);
    for (dir = ap_conftree; dir; dir = dir->next) {
        if (!is(dir, "<VirtualHost")) {
            continue;
        }
        make_scope(f, &sc);
        for (line = dir->first_child; line; line = line->next) {
            read_directive(f, &sc, line);
        }
        inherit(f, &sc, &main_scope);
        add_server(f, &sc, server_of(main_s, dir), where_of(f, dir));
        add_machine(f, &sc, server_of(main_s, dir), where_of(f, dir));
        read_proxies(f, &sc, server_of(main_s, dir), dir->first_child);
    }
}

/* ---- all of them ------------------------------------------------------------------------------ */

static int same_text(const char *one, const char *other)
{
    return one == other || (one && other && !strcmp(one, other));
}

static int same_chain(const mst_own *one, const mst_own *other)
{
    return one->role == other->role && one->mode == other->mode
        && one->fail_within_s == other->fail_within_s
        && same_text(one->file, other->file) && same_text(one->key_file, other->key_file)
        && same_text(one->chain_file, other->chain_file)
        && !memcmp(&one->conf, &other->conf, sizeof(one->conf))
        && (one->certs == NULL) == (other->certs == NULL)
        && (one->certs == NULL || !X509_cmp(sk_X509_value(one->certs, 0),
                                            sk_X509_value(other->certs, 0)));
}

/* What several servers present is judged once, under all of their names. */
static apr_array_header_t *merge(finder *f)
{
    apr_array_header_t *merged = apr_array_make(f->pool, f->chains->nelts + 1, sizeof(mst_own *));
    int i, k;

    for (i = 0; i < f->chains->nelts; i++) {
        mst_own *own = APR_ARRAY_IDX(f->chains, i, mst_own *), *first = NULL;

        for (k = 0; k < merged->nelts && first == NULL; k++) {
            first = APR_ARRAY_IDX(merged, k, mst_own *);
            first = same_chain(first, own) ? first : NULL;
        }
        if (first != NULL) {
            first->names = apr_array_append(f->pool, first->names, own->names);
        }
        else {
            APR_ARRAY_PUSH(merged, mst_own *) = own;
        }
    }
    return merged;
}

apr_array_header_t *mst_own_find(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_s)
{
    finder f = {pconf, ptemp, NULL, NULL, "md"};

    f.chains = apr_array_make(pconf, 8, sizeof(mst_own *));
    f.managed = apr_array_make(ptemp, 4, sizeof(managed));
    read_servers(&f, main_s);
    return merge(&f);
}
