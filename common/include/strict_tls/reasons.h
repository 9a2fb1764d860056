/*
 * The reason catalogue: one row per thing that can be wrong with a peer, or
 * with a chain of our own.
 *
 * Numbers and ids are stable and append-only: operators grep for the ids and
 * alert on them, so a row is never renumbered, renamed or reused.  Everything
 * else that speaks about a reason (log line, JSON, docs, TLS alert) derives
 * from this table.
 *
 * Columns: symbol, number, id, text, X509_V_ERR_*, rank, rfc, who, remedy.
 *
 *   X509_V_ERR_*  what a host hands to OpenSSL so that the right TLS alert
 *                 goes out (RFC 8446 section 6.2).
 *   rank          which reason becomes the primary one when several apply:
 *                 the lowest wins, because it is the one to repair first.
 *   rfc           where the rule comes from.
 *   who           who must act: the peer's operator, the CA, the network in
 *                 between, or you who run this host.
 *   remedy        one sentence for the person who must fix it; the finding's
 *                 own remedy, where it knows more, replaces it.
 */
#ifndef STRICT_TLS_REASONS_H
#define STRICT_TLS_REASONS_H

#include <stddef.h>

#include <openssl/x509_vfy.h>

#ifdef __cplusplus
extern "C" {
#endif

/* clang-format off */
#define STLS_REASONS(X)                                                                            \
    X(CHAIN_INCOMPLETE, 100, "chain.incomplete", "an intermediate certificate is missing from the presented chain", X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, 30, "RFC 8446 4.4.2, RFC 5280 6.1", "peer", "append the missing issuer to the served chain") \
    X(CHAIN_MISORDERED, 101, "chain.misordered", "the presented certificates are not in issuing order", X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, 50, "RFC 5246 7.4.2", "peer", "serve the leaf first, then each certificate's issuer") \
    X(CHAIN_EXTRA, 102, "chain.extra", "a certificate was presented that is on no path", X509_V_ERR_CERT_REJECTED, 52, "RFC 8446 4.4.2", "peer", "remove the superfluous certificate from the served chain") \
    X(CHAIN_PROFILE, 103, "chain.profile", "a certificate violates the RFC 5280 profile", X509_V_ERR_INVALID_EXTENSION, 36, "RFC 5280 4", "CA", "have the certificate reissued according to RFC 5280, or set x509_strict off (preset private)") \
    X(CHAIN_ROOT_MISSING, 104, "chain.root_missing", "the policy wants the root presented and it was not", X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, 54, "RFC 8446 4.4.2", "peer", "append the root to the served chain, or set chain_root allow") \
    X(CHAIN_ROOT_PRESENTED, 105, "chain.root_presented", "the policy forbids presenting the root", X509_V_ERR_CERT_REJECTED, 55, "RFC 8446 4.4.2", "peer", "remove the root from the served chain, or set chain_root allow") \
    X(CHAIN_UNTRUSTED, 106, "chain.untrusted", "the chain does not end at a trust anchor", X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, 31, "RFC 5280 6.1.1", "you or peer", "add the root to the trusted certificates if you trust it, otherwise use a certificate of a trusted CA") \
    X(CHAIN_SELF_SIGNED, 107, "chain.self_signed", "the leaf is self-signed and not a trust anchor", X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, 29, "RFC 5280 6.1.1", "peer", "use a certificate issued by a trusted CA, or add this one to the trusted certificates") \
    X(CHAIN_EXPIRED, 108, "chain.expired", "a certificate has expired", X509_V_ERR_CERT_HAS_EXPIRED, 24, "RFC 5280 6.1.3", "peer", "renew the certificate") \
    X(CHAIN_NOT_YET_VALID, 109, "chain.not_yet_valid", "a certificate is not valid yet", X509_V_ERR_CERT_NOT_YET_VALID, 25, "RFC 5280 6.1.3", "peer", "check this machine's clock, or wait until notBefore") \
    X(CHAIN_BAD_SIGNATURE, 110, "chain.bad_signature", "a certificate's signature does not verify", X509_V_ERR_CERT_SIGNATURE_FAILURE, 22, "RFC 5280 6.1.3", "peer", "the certificate was altered or its issuer was replaced: have it reissued") \
    X(CHAIN_WEAK, 111, "chain.weak", "a key or a signature algorithm is too weak", X509_V_ERR_EE_KEY_TOO_SMALL, 34, "RFC 8446 4.4.2.4", "peer", "have the certificate reissued with a stronger key or digest") \
    X(CHAIN_PURPOSE, 112, "chain.purpose", "a certificate may not be used for this purpose", X509_V_ERR_INVALID_PURPOSE, 33, "RFC 5280 4.2.1.12", "peer", "use a certificate whose key usage allows this role") \
    X(CHAIN_CONSTRAINT, 113, "chain.constraint", "a CA constraint (basic, path length, name or policy) is violated", X509_V_ERR_PERMITTED_VIOLATION, 32, "RFC 5280 6.1.4", "CA", "use a chain whose CA certificates permit this certificate") \
    X(CHAIN_TOO_LONG, 114, "chain.too_long", "more certificates or bytes were presented than the policy allows", X509_V_ERR_CERT_CHAIN_TOO_LONG, 11, "RFC 8446 4.4.2", "peer", "serve only the leaf and its intermediates, or raise max_chain_len or max_chain_bytes") \
    X(CHAIN_MALFORMED, 115, "chain.malformed", "a presented certificate cannot be decoded", X509_V_ERR_UNSPECIFIED, 10, "RFC 5280 4.1", "peer", "serve valid X.509 certificates") \
    X(CHAIN_KEY_MISMATCH, 116, "chain.key_mismatch", "the private key does not belong to the certificate", X509_V_ERR_APPLICATION_VERIFICATION, 15, "RFC 8446 4.4.3", "you", "put the leaf first, and use the key that its request was made with") \
    X(CHAIN_EXPIRING, 117, "chain.expiring", "a certificate expires soon", X509_V_ERR_CERT_HAS_EXPIRED, 95, "RFC 5280 4.1.2.5", "you", "renew the certificate") \
    X(CHAIN_NOT_CHECKABLE, 118, "chain.not_checkable", "a chain of our own could not be checked", X509_V_ERR_APPLICATION_VERIFICATION, 16, "", "you", "check it with strict-tls file, or give certificate and key as files") \
    X(CHAIN_TOO_COSTLY, 119, "chain.too_costly", "judging this peer would take more signature checks than the policy allows", X509_V_ERR_CERT_CHAIN_TOO_LONG, 12, "RFC 5280 8", "peer, CA or you", "present only what is needed, ask the CA about its CRLs and OCSP answers, or raise max_signatures") \
    X(NAME_MISMATCH, 200, "name.mismatch", "the certificate is for another name", X509_V_ERR_HOSTNAME_MISMATCH, 40, "RFC 9525 6", "peer or you", "connect by a name that the certificate covers, or have it reissued for this name") \
    X(NAME_NO_IDENTITY, 201, "name.no_identity", "the certificate carries no subject alternative name to compare", X509_V_ERR_HOSTNAME_MISMATCH, 41, "RFC 9525 2", "peer", "have the certificate reissued with a subject alternative name, or set name_cn_fallback on") \
    X(NAME_MALFORMED, 202, "name.malformed", "a name cannot be compared because it is malformed", X509_V_ERR_HOSTNAME_MISMATCH, 39, "RFC 9525 6.3", "peer or you", "correct the malformed name") \
    X(OCSP_REVOKED, 300, "ocsp.revoked", "the responder says that the certificate is revoked", X509_V_ERR_CERT_REVOKED, 20, "RFC 6960 2.2", "peer", "replace the revoked certificate") \
    X(OCSP_UNKNOWN, 301, "ocsp.unknown", "the responder does not know the certificate", X509_V_ERR_OCSP_CERT_UNKNOWN, 60, "RFC 6960 2.2", "CA", "ask the CA why its responder does not know this certificate") \
    X(OCSP_STALE, 302, "ocsp.stale", "the OCSP answer is past its nextUpdate or maximum age", X509_V_ERR_OCSP_VERIFY_FAILED, 62, "RFC 6960 4.2.2.1", "CA", "the responder or the stapling server must renew its answer") \
    X(OCSP_FUTURE, 303, "ocsp.future", "the OCSP answer's thisUpdate lies in the future", X509_V_ERR_OCSP_VERIFY_FAILED, 63, "RFC 6960 4.2.2.1", "you or CA", "compare this machine's clock with the responder's") \
    X(OCSP_BAD_SIGNATURE, 304, "ocsp.bad_signature", "the OCSP answer's signature does not verify", X509_V_ERR_OCSP_VERIFY_FAILED, 64, "RFC 6960 3.2", "CA", "the answer was altered or signed with another key: ask the CA") \
    X(OCSP_UNAUTHORIZED_RESPONDER, 305, "ocsp.unauthorized_responder", "the OCSP answer was signed by someone the issuer did not authorize", X509_V_ERR_OCSP_VERIFY_FAILED, 65, "RFC 6960 4.2.2.2", "CA", "the responder needs a certificate with OCSPSigning, issued directly by the certificate's issuer") \
    X(OCSP_WRONG_CERTIFICATE, 306, "ocsp.wrong_certificate", "the OCSP answer is about another certificate", X509_V_ERR_OCSP_VERIFY_FAILED, 66, "RFC 6960 3.2", "CA", "the responder must answer for the certificate that was asked about") \
    X(OCSP_ERROR_STATUS, 307, "ocsp.error_status", "the responder answered with an error status", X509_V_ERR_OCSP_VERIFY_FAILED, 67, "RFC 6960 2.3", "CA", "the responder refused or could not answer: ask the CA") \
    X(OCSP_MALFORMED, 308, "ocsp.malformed", "the OCSP answer cannot be decoded", X509_V_ERR_OCSP_VERIFY_FAILED, 68, "RFC 6960 4.2.1", "CA", "the responder must send a DER-encoded basic OCSP response") \
    X(OCSP_NONCE_MISMATCH, 309, "ocsp.nonce_mismatch", "the OCSP answer does not carry the nonce that was sent", X509_V_ERR_OCSP_VERIFY_FAILED, 69, "RFC 9654 2.1", "CA or you", "use a responder that supports nonces, or set ocsp_nonce off") \
    X(CRL_REVOKED, 400, "crl.revoked", "the CRL lists the certificate as revoked", X509_V_ERR_CERT_REVOKED, 21, "RFC 5280 6.3", "peer", "replace the revoked certificate") \
    X(CRL_STALE, 401, "crl.stale", "the CRL is past its nextUpdate or maximum age", X509_V_ERR_CRL_HAS_EXPIRED, 75, "RFC 5280 5.1.2.5", "CA", "the CA must publish a current CRL") \
    X(CRL_BAD_SIGNATURE, 402, "crl.bad_signature", "the CRL's signature does not verify or its signer is not authorized", X509_V_ERR_CRL_SIGNATURE_FAILURE, 76, "RFC 5280 6.3.3", "CA", "the CRL was altered or signed with another key: ask the CA") \
    X(CRL_WRONG_SCOPE, 403, "crl.wrong_scope", "the CRL is not about this kind of certificate", X509_V_ERR_DIFFERENT_CRL_SCOPE, 77, "RFC 5280 5.2.5", "CA", "the CA must publish a CRL that covers this certificate at its distribution point") \
    X(CRL_MALFORMED, 404, "crl.malformed", "the CRL cannot be decoded", X509_V_ERR_CRL_PATH_VALIDATION_ERROR, 78, "RFC 5280 5.1", "CA", "the CA must publish a DER-encoded CRL") \
    X(STAPLE_MISSING, 500, "staple.missing", "the certificate demands a stapled OCSP answer and none was sent", X509_V_ERR_OCSP_VERIFY_NEEDED, 26, "RFC 7633 4", "peer", "turn OCSP stapling on at the peer (RFC 7633 must-staple)") \
    X(FETCH_TIMEOUT, 600, "fetch.timeout", "the responder did not answer in time", X509_V_ERR_OCSP_VERIFY_NEEDED, 74, "RFC 6960 2.4", "network", "make the responder reachable from this machine, or raise fetch_timeout_ms") \
    X(FETCH_NETWORK, 601, "fetch.network", "the responder could not be reached", X509_V_ERR_OCSP_VERIFY_NEEDED, 73, "RFC 6960 2.4", "network", "make the responder reachable from this machine (resolver, firewall, HTTP proxy)") \
    X(FETCH_HTTP, 602, "fetch.http", "the responder's HTTP answer was not usable", X509_V_ERR_OCSP_VERIFY_NEEDED, 72, "RFC 6960 A.2", "CA or network", "the responder's HTTP service is failing: ask the CA, or check the HTTP proxy") \
    X(FETCH_TOO_LARGE, 603, "fetch.too_large", "the responder sent more bytes than the policy allows", X509_V_ERR_OCSP_VERIFY_NEEDED, 71, "RFC 6960 5", "CA or you", "raise the bound that the detail names, max_reply_bytes, max_crl_bytes or max_reply_header_bytes, if the answer is legitimately that large") \
    X(FETCH_DENIED, 604, "fetch.denied", "the policy forbids fetching from that address", X509_V_ERR_OCSP_VERIFY_NEEDED, 70, "RFC 6960 5", "you", "the URL leads to an address class in fetch_deny, or too many fetches were asked for") \
    X(REVOCATION_NO_SOURCE, 700, "revocation.no_source", "the certificate names no source to ask about its revocation", X509_V_ERR_OCSP_VERIFY_NEEDED, 80, "RFC 5280 4.2.2.1", "CA or you", "have the certificate reissued with an OCSP or CRL URL, give its CA's CRL in crl_file, or set no_revocation_source allow (preset private)") \
    X(REVOCATION_INCONCLUSIVE, 701, "revocation.inconclusive", "no source gave a conclusive answer about revocation", X509_V_ERR_OCSP_VERIFY_NEEDED, 81, "RFC 5280 6.3", "CA or network", "make a revocation source of this certificate answer, or set revocation soft") \
    X(SESSION_UNVERIFIED, 800, "session.unverified", "a resumed session carries no live verdict", X509_V_ERR_APPLICATION_VERIFICATION, 90, "RFC 8446 2.2", "nobody", "retry: the next connection makes a full handshake") \
    X(INTERNAL_MEMORY, 900, "internal.memory", "out of memory while judging", X509_V_ERR_OUT_OF_MEM, 1, "", "you", "give the process more memory") \
    X(INTERNAL_ERROR, 901, "internal.error", "the check could not be carried out", X509_V_ERR_UNSPECIFIED, 2, "", "you", "please report this with the log line")
/* clang-format on */

typedef enum {
    STLS_REASON_NONE = 0,
#define STLS_REASON_ENUM(sym, num, id, text, x509_err, rank, rfc, who, remedy)                     \
    STLS_REASON_##sym = num,
    STLS_REASONS(STLS_REASON_ENUM)
#undef STLS_REASON_ENUM
} stls_reason;

typedef struct {
    stls_reason reason;
    const char *id;
    const char *text;
    int x509_err;
    int rank;
    const char *rfc; /* "" where there is none */
    const char *who;
    const char *remedy;
} stls_reason_info;

/* Row of a reason; NULL for STLS_REASON_NONE and numbers not in the table. Static lifetime. */
const stls_reason_info *stls_reason_get0(stls_reason reason);

/* The whole table, in catalogue order; `*num` rows. Static lifetime. */
const stls_reason_info *stls_reasons(size_t *num);

/* "chain.incomplete" and so on; "none" for STLS_REASON_NONE, "internal.error" for unknown numbers. */
const char *stls_reason_id(stls_reason reason);

#ifdef __cplusplus
}
#endif

#endif
