/*
 * Chains that this server itself presents: own_conf.c finds them, own.c has
 * them judged, status_page.c shows them.
 */
#ifndef MST_OWN_H
#define MST_OWN_H

#include "mod_strict_tls.h"

#include <strict_tls/own_chain.h>

#pragma GCC visibility push(hidden)

typedef enum { MST_SELF_OFF, MST_SELF_WARN, MST_SELF_FAIL } mst_self_check;

/* One chain; lives as long as the configuration. */
typedef struct {
    stls_role role;
    mst_self_check mode;
    apr_int64_t fail_within_s; /* of a certificate's end; 0: once it has come */
    const char *file;
    const char *key_file;   /* NULL: none */
    const char *chain_file; /* NULL: none */
    const char *where;      /* "/etc/apache2/sites-enabled/a.conf:12" */
    const char *why_not;    /* why there are no certs, or no key */
    apr_array_header_t *names;
    STACK_OF(X509) *certs;
    EVP_PKEY *key;          /* its public half: children need no more */
    mst_dir_conf conf;      /* of its server, as if StrictTLS were on */
} mst_own;

/* Every mst_own * of the configuration just read, in `pconf`. */
apr_array_header_t *mst_own_find(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *main_s);

/* own.c: those that are looked at. */
int mst_own_num(void);
const mst_own *mst_own_get(int index);

/* own_files.c: what is in PEM files. All return what could be read; `why_not` says what could not. */
STACK_OF(X509) *mst_own_read_certs(const char *file, apr_pool_t *p, const char **why_not);
EVP_PKEY *mst_own_read_key(const char *file, apr_pool_t *p, const char **why_not);
/* The pairs of a file for SSLProxyMachineCertificateFile. */
STACK_OF(X509_INFO) *mst_own_read_pairs(const char *file, apr_pool_t *p, const char **why_not);
/* The public half, which is all that is ever kept. */
EVP_PKEY *mst_own_public_half(EVP_PKEY *key);
/* Appends issuers out of `from`, as OpenSSL does where no chain is given: without the root. */
void mst_own_complete(STACK_OF(X509) *chain, const STACK_OF(X509) *from);

#pragma GCC visibility pop

#endif
