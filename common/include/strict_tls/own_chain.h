/*
 * own_chain.c: the chains that this host itself presents, judged before a
 * peer does it.
 *
 * The same check as for a peer, with the same reasons, report and revocation
 * ladder; what differs is who reads the remedies: the owner of the files.
 * Findings have three severities: an error is what a strict peer refuses for,
 * a warning will be one or costs something (chain.expiring, chain.extra), a
 * note is worth knowing (the root presented).
 */
#ifndef STRICT_TLS_OWN_CHAIN_H
#define STRICT_TLS_OWN_CHAIN_H

#include <openssl/evp.h>

#include "strict_tls/strict_tls.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { STLS_NOTE = 0, STLS_WARNING = 1, STLS_ERROR = 2 } stls_severity;

/* One chain of our own. Everything is borrowed for the call only. */
typedef struct {
    stls_role role;              /* as which it is presented */
    const STACK_OF(X509) *certs; /* leaf first; NULL: the host could not get them */
    EVP_PKEY *key;               /* NULL: the host could not get it */
    const char *why_not;         /* why certs or key could not be had: "its name holds variables" */
    const char *file;            /* where the certificates come from, for the remedies */
    const char *chain_file;      /* where intermediates belong; NULL: into `file` too */
    const char *key_file;        /* may be NULL */
    const char *trust_directive; /* "strict_tls_trusted_certificate", for the remedies */
    /*
     * The names under which it is presented (STLS_ROLE_SERVER): DNS names, IP
     * addresses, wildcards "*.example.com" and ".example.com".  Regular
     * expressions ("~..."), catch-alls ("", "_", "*") and patterns that no
     * certificate can cover ("www.*", "a?.example.com") are left out here.
     */
    const char *const *names;
    size_t num_names;
} stls_own_chain;

/*
 * A check of `own` that has been through the trust phase, under `policy` with
 * what concerns only peers set aside (mode, name, chain_root, must_staple).
 * Go on with stls_check_start() for its revocation, as with any other check.
 * `policy` and `anchors` must be frozen.  NULL when out of memory.
 */
stls_check *stls_own_chain_check(stls_policy *policy, stls_anchors *anchors,
                                 const stls_own_chain *own, int64_t now_s);

/*
 * The same without revocation, for a configuration test.  Its verdict is
 * STLS_REJECT, or STLS_PENDING where a strict peer would find nothing wrong
 * before it asks about revocation.  The caller owns it.  NULL when out of
 * memory: treat it as wrong.
 */
stls_result *stls_own_chain_judge(stls_policy *policy, stls_anchors *anchors,
                                  const stls_own_chain *own, int64_t now_s);

typedef void stls_line_fn(void *baton, stls_severity severity, const char *line);

/*
 * Tells every finding of at least this severity as a line of its own, worst
 * first; the host adds where it was configured.  Returns how many there were.
 *
 *   strict-tls: self_check severity=error role=server file="/etc/ssl/a.pem"
 *   reason=chain.incomplete cert=0 subject="..." detail="..." remedy="..."
 *
 * `result` NULL is told as internal.memory, an error.  `tell` may be NULL.
 */
size_t stls_own_chain_tell(const stls_result *result, const char *file, stls_severity least,
                           stls_line_fn *tell, void *baton);

/*
 * When a background check that ended now with this result (NULL: out of
 * memory) looks at the chain again: as often as a peer with this chain would
 * be judged anew, when the next threshold of expiry_warn_s is reached by one
 * of its certificates, and at least once an hour; but negative_ttl_s and a
 * second are left in between.  Unix seconds.
 */
#define STLS_OWN_CHAIN_LOOK_S 3600
int64_t stls_own_chain_next_look_s(const stls_policy *policy, const stls_own_chain *own,
                                   const stls_result *result, int64_t now_s);

/*
 * SHA-256 over what there is to tell, times and counts apart: while it stays
 * the same, a background check has no news.  STLS_ERR_MEMORY: assume news.
 */
stls_status stls_own_chain_news_id(const stls_result *result, unsigned char id[STLS_ID_LEN]);

/* Whether a name can be compared with a certificate at all; see `names` above. */
int stls_own_chain_takes_name(const char *name);

#ifdef __cplusplus
}
#endif

#endif
