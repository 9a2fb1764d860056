/* What a person needs to read about a certificate.  Peers choose these values, so each is bounded
 * and comes out as printable ASCII. */
#ifndef STLS_X509_TEXT_H
#define STLS_X509_TEXT_H

#include <openssl/x509v3.h>

#include "mem.h"

#define STLS_NAME_TEXT_LEN 384
#define STLS_URL_LEN 1024

/* RFC 4514 form, escaped, cut with "..." where longer; "" when there is no name. */
void stls_name_text(const X509_NAME *name, char text[STLS_NAME_TEXT_LEN]);

/* Up to 32 bytes as "AB:CD:..."; "" for NULL. */
void stls_hex_text(const ASN1_OCTET_STRING *bytes, char text[100]);

/* Seconds since the epoch; 0 when there is no time or it is malformed. */
int stls_time_s(const ASN1_TIME *time, int64_t *time_s);

/* "2026-09-21 14:13 UTC" */
#define STLS_DATE_LEN 40
void stls_date_text(int64_t time_s, char text[STLS_DATE_LEN]);

/*
 * The `index`-th http:// URL of this access method (NID_ad_OCSP,
 * NID_ad_ca_issuers) in the certificate's AIA extension (RFC 5280 section
 * 4.2.2.1): printable, no longer than STLS_URL_LEN - 1.  0 when there is none.
 */
int stls_aia_url(const X509 *cert, int method_nid, size_t index, char url[STLS_URL_LEN]);

/* The `index`-th http:// URL among these points' full names (RFC 5280 section 4.2.1.13). */
int stls_point_url(const CRL_DIST_POINTS *points, size_t index, char url[STLS_URL_LEN]);

/* The same of the certificate's CRL distribution points. */
int stls_crl_url(const X509 *cert, size_t index, char url[STLS_URL_LEN]);

/* Whether it names an OCSP responder at all, be its URL usable or not (section 4.2.2.1). */
int stls_names_ocsp(const X509 *cert);

/* Whether the certificate has a CRL distribution point (RFC 5280 section 4.2.1.13). */
int stls_names_crl(const X509 *cert);

#endif
