/*
 * The policy key table: the one place that knows which keys exist.
 *
 * nginx directives (strict_tls_KEY), httpd directives, the environment,
 * --help and docs/directives.md all derive from it.
 *
 * Columns: symbol, key, type, default, values, documentation.
 *
 *   type    ENUM  one of the words in `values`
 *           INT   a decimal number within the range in `values`
 *           LIST  comma-separated words out of `values`, order kept, none twice
 *           STR   free text, checked by the key's own rule
 *   default as the text a person would write; "" means unset
 */
#ifndef STRICT_TLS_POLICY_KEYS_H
#define STRICT_TLS_POLICY_KEYS_H

#ifdef __cplusplus
extern "C" {
#endif

/* clang-format off */
#define STLS_POLICY_KEYS(X)                                                                        \
    X(MODE, "mode", ENUM, "enforce", "enforce,report,off", "enforce rejects; report does the same work and keeps the same record but never rejects; off does nothing") \
    X(PRESET, "preset", ENUM, "strict", "strict,private,servicenow", "a named set of the keys below, applied before the explicit keys of the same level") \
    X(CHAIN_ROOT, "chain_root", ENUM, "allow", "allow,require,forbid", "whether the root itself may, must or must not be presented") \
    X(CHAIN_ORDER, "chain_order", ENUM, "strict", "strict,any", "strict rejects a misordered chain, any only reports it") \
    X(CHAIN_EXTRA, "chain_extra", ENUM, "allow", "allow,deny", "whether certificates that are on no path are only reported or rejected") \
    X(MAX_CHAIN_LEN, "max_chain_len", INT, "10", "1..100", "how many certificates a peer may present") \
    X(MAX_CHAIN_BYTES, "max_chain_bytes", INT, "65536", "1024..16777216", "how many bytes of certificates a peer may present") \
    X(MAX_SIGNATURES, "max_signatures", INT, "64", "1..10000", "how many signatures (of certificates, CRLs and OCSP answers) may be verified for one peer, whoever causes them; a CRL by an algorithm that hashes by itself, like Ed25519, counts once more for every 64 KiB") \
    X(SECURITY_LEVEL, "security_level", INT, "2", "0..5", "OpenSSL security level for keys and signatures on the path") \
    X(X509_STRICT, "x509_strict", ENUM, "on", "on,off", "whether RFC 5280 profile defects are rejected; many private CAs fail the profile") \
    X(PURPOSE, "purpose", ENUM, "role", "role,any", "role demands serverAuth of servers and clientAuth of clients") \
    X(CERT_POLICIES, "cert_policies", STR, "", "OID,...", "acceptable certificate policies (RFC 5280 user-initial-policy-set), demanded where require_explicit_policy or the chain itself says so; unset: any") \
    X(REQUIRE_EXPLICIT_POLICY, "require_explicit_policy", ENUM, "off", "off,on", "RFC 5280 initial-explicit-policy") \
    X(INHIBIT_POLICY_MAPPING, "inhibit_policy_mapping", ENUM, "off", "off,on", "RFC 5280 initial-policy-mapping-inhibit") \
    X(INHIBIT_ANY_POLICY, "inhibit_any_policy", ENUM, "off", "off,on", "RFC 5280 initial-any-policy-inhibit") \
    X(NAME, "name", ENUM, "require", "require,off", "whether the certificate must be for the name that was wanted") \
    X(NAME_CN_FALLBACK, "name_cn_fallback", ENUM, "off", "off,on", "compare the subject's CN where the certificate has no DNS or IP subject alternative name") \
    X(REVOCATION, "revocation", ENUM, "hard", "hard,soft,off", "what an inconclusive answer means: hard rejects, soft accepts and reports, off asks nothing") \
    X(REVOCATION_SCOPE, "revocation_scope", ENUM, "chain", "chain,leaf", "ask about every certificate below the trust anchor, or about the leaf only") \
    X(REVOCATION_SOURCES, "revocation_sources", LIST, "file,staple,ocsp,crl", "staple,ocsp,crl,file", "which sources are asked, in this order; file is crl_file, passed over where none is given") \
    X(CRL_FILE, "crl_file", STR, "", "FILE", "CRLs given by the administrator: PEM, one behind the other, or one in DER; read again when it changes") \
    X(NO_REVOCATION_SOURCE, "no_revocation_source", ENUM, "fail", "fail,allow", "what to do with a certificate that names no responder and no CRL") \
    X(SHORT_LIVED_S, "short_lived_s", INT, "604800", "0..31536000", "leaf certificates living no longer than this need no revocation answer; 0 exempts none") \
    X(MUST_STAPLE, "must_staple", ENUM, "enforce", "enforce,ignore", "RFC 7633: a leaf that demands a stapled answer must come with one that proves something, and what an issuer demands of its certificates they must demand; not asked with revocation off") \
    X(OCSP_NONCE, "ocsp_nonce", ENUM, "off", "off,on", "send a nonce and demand it back; cached and stapled answers are then refused") \
    X(OCSP_NETWORK_ERROR, "ocsp_network_error", ENUM, "fail", "fail,tolerate", "tolerate accepts, and reports, a certificate whose responder could not be reached, unless a CRL was to be had and failed, too") \
    X(OCSP_MAX_AGE_S, "ocsp_max_age_s", INT, "604800", "60..31536000", "how long an OCSP answer without nextUpdate is good, from thisUpdate") \
    X(CRL_MAX_AGE_S, "crl_max_age_s", INT, "604800", "60..31536000", "how long a CRL without nextUpdate is good, from thisUpdate") \
    X(CLOCK_SKEW_S, "clock_skew_s", INT, "300", "0..86400", "tolerated clock difference to responders") \
    X(VERDICT_MAX_AGE_S, "verdict_max_age_s", INT, "3600", "1..604800", "how long an accepting verdict may be reused") \
    X(NEGATIVE_TTL_S, "negative_ttl_s", INT, "30", "0..3600", "how long a rejecting, inconclusive or soft verdict and a failed fetch are remembered") \
    X(STALE_GRACE_S, "stale_grace_s", INT, "0", "0..604800", "how long past nextUpdate a good answer still serves while a newer one is fetched") \
    X(OCSP_RESPONDER, "ocsp_responder", STR, "", "http://HOST[:PORT][/PATH]", "ask this responder instead of the one that the certificate names") \
    X(FETCH_TIMEOUT_MS, "fetch_timeout_ms", INT, "3000", "1..600000", "time limit of one fetch") \
    X(FETCH_TOTAL_MS, "fetch_total_ms", INT, "8000", "1..600000", "time limit of all fetches of one check together") \
    X(MAX_REPLY_BYTES, "max_reply_bytes", INT, "65536", "512..16777216", "largest OCSP answer accepted") \
    X(MAX_REPLY_HEADER_BYTES, "max_reply_header_bytes", INT, "16384", "512..1048576", "largest header of an HTTP answer accepted, trailers and chunk extensions included") \
    X(CRL_FETCH_TOTAL_MS, "crl_fetch_total_ms", INT, "30000", "1..3600000", "time limit of one CRL download; it goes on in the background after a handshake has given up") \
    X(MAX_CRL_BYTES, "max_crl_bytes", INT, "67108864", "1024..1073741824", "largest CRL accepted") \
    X(CRL_MEMORY_BYTES, "crl_memory_bytes", INT, "268435456", "1024..17179869184", "how much indexed CRLs may hold in one process; the least recently used go first") \
    X(MAX_FETCHES, "max_fetches", INT, "16", "0..1000", "how many fetches one check may ask for") \
    X(MAX_URLS_PER_CERT, "max_urls_per_cert", INT, "2", "1..16", "how many URLs of one certificate are tried") \
    X(MAX_FETCHES_IN_FLIGHT, "max_fetches_in_flight", INT, "64", "1..10000", "how many fetches one process has in flight at once") \
    X(FETCH_DENY, "fetch_deny", LIST, "loopback,link-local", "loopback,link-local,private,none", "address classes never fetched from, judged on the address connected to; unspecified and multicast always are, unless none") \
    X(EXPIRY_WARN_S, "expiry_warn_s", STR, "1209600,604800,86400", "SECONDS,...", "how long before they expire to warn of certificates of our own, once for each of these thresholds; those longer than a third of a certificate's life do not apply to it")
/* clang-format on */

typedef enum {
#define STLS_KEY_ENUM(sym, key, type, def, values, doc) STLS_KEY_##sym,
    STLS_POLICY_KEYS(STLS_KEY_ENUM)
#undef STLS_KEY_ENUM
        STLS_NUM_KEYS
} stls_key;

typedef enum { STLS_TYPE_ENUM, STLS_TYPE_INT, STLS_TYPE_LIST, STLS_TYPE_STR } stls_key_type;

typedef struct {
    stls_key key;
    const char *name;
    stls_key_type type;
    const char *def;
    const char *values;
    const char *doc;
} stls_key_info;

#ifdef __cplusplus
}
#endif

#endif
