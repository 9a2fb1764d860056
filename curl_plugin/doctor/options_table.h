/*
 * Every option of strict-tls: --help, the man page and the completion derive
 * from this table.
 *
 * Columns: field of doctor_options, option, value ("" for a flag), commands
 * that take it (c check, i file, f fix), words for completion ("" for none,
 * "FILE" for a path), documentation.
 */
#ifndef STLS_DOCTOR_OPTIONS_TABLE_H
#define STLS_DOCTOR_OPTIONS_TABLE_H

/* clang-format off */
#define DOCTOR_COMMANDS(X)                                                                         \
    X("check", "HOST[:PORT]", "connect, show what the endpoint presents, and judge it") \
    X("file", "FULLCHAIN.PEM", "judge a certificate file before it is deployed; offline unless --online") \
    X("fix", "HOST[:PORT]|PATH/FULLCHAIN.PEM", "print the endpoint's or the file's chain as it should be served, as PEM") \
    X("help", "", "show this text")

#define DOCTOR_OPTIONS(X)                                                                          \
    X(name, "--name", "NAME", "cif", "", "the name that the certificate must be for, also sent as SNI; default HOST") \
    X(connect_to, "--connect-to", "ADDR[:PORT]", "cf", "", "connect there instead of to HOST") \
    X(starttls, "--starttls", "PROTOCOL", "cf", "smtp imap pop3 ldap ftp", "begin in clear and switch to TLS: smtp, imap, pop3, ldap or ftp") \
    X(cert, "--cert", "FILE", "c", "FILE", "client certificate with its chain, PEM: do a mutual handshake and judge this chain, too") \
    X(key, "--key", "FILE", "cif", "FILE", "private key, PEM, of --cert (default: in the same file), or of the file that is judged or repaired") \
    X(tls, "--tls", "VERSION", "cf", "1.2 1.3", "only this TLS version, 1.2 or 1.3; some servers present different chains") \
    X(cafile, "--cafile", "FILE", "cif", "FILE", "trusted roots, PEM; default: the system's") \
    X(client_cafile, "--client-cafile", "FILE", "c", "FILE", "trusted roots for the chain in --cert; default: --cafile") \
    X(preset, "--preset", "NAME", "cif", "strict private servicenow", "a named set of policy keys: strict, private or servicenow") \
    X(policy, "--policy", "TEXT", "cif", "", "policy keys, \"revocation=soft chain_root=require\"; on top of STRICT_TLS_POLICY and --preset") \
    X(offline, "--offline", "", "c", "", "fetch nothing: no revocation, no missing issuers") \
    X(online, "--online", "", "i", "", "ask about revocation and fetch missing issuers") \
    X(timeout, "--timeout", "SECONDS", "cf", "", "bound of connecting and handshaking; default 10") \
    X(hosts, "--hosts", "FILE", "c", "FILE", "check every host in this file, HOST[:PORT] [NAME] per line, # comments; - for standard input") \
    X(parallel, "--parallel", "N", "c", "", "how many hosts of a list are checked at once; default 16, at most 256 and max_fetches_in_flight") \
    X(watch, "--watch", "", "c", "", "check again and again, tell of changes; Ctrl-C ends it") \
    X(interval, "--interval", "SECONDS", "c", "", "pause between two rounds of --watch; default 60") \
    X(rounds, "--rounds", "N", "c", "", "end --watch after so many rounds") \
    X(json, "--json", "", "ci", "", "one JSON object per diagnosis and line") \
    X(html, "--html", "FILE", "ci", "FILE", "also write a self-contained page, good to attach to a ticket") \
    X(quiet, "--quiet", "", "cif", "", "print nothing but errors; the exit code tells") \
    X(color, "--color", "WHEN", "cif", "auto always never", "auto (default: on a terminal without NO_COLOR), always or never") \
    X(help, "--help", "", "cif", "", "show this text") \
    X(version, "--version", "", "cif", "", "show the version")

#define DOCTOR_EXITS(X)                                                                            \
    X("0", "accept: a strict client takes this endpoint, file or client certificate") \
    X("1", "reject: it does not; the reason and the remedy are printed") \
    X("2", "could not be judged: network, name resolution, or the handshake failed") \
    X("3", "usage: unknown option, unreadable file, wrong policy")

#define DOCTOR_ENVIRONMENT(X)                                                                      \
    X("STRICT_TLS_POLICY", "policy keys, as --policy") \
    X("CURL_CA_BUNDLE, SSL_CERT_FILE", "trusted roots where --cafile is not given") \
    X("https_proxy, http_proxy, all_proxy, no_proxy", "HTTP proxies, by libcurl's rules") \
    X("NO_COLOR", "no colours, if set")
/* clang-format on */

#endif
