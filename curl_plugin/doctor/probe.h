/* What probe.c shares with ldap.c. */
#ifndef STLS_DOCTOR_PROBE_H
#define STLS_DOCTOR_PROBE_H

#include <curl/curl.h>
#include <openssl/x509v3.h>

#include "doctor.h"

#define DOCTOR_REFUSAL_WAIT_MS 1000 /* for a TLS 1.3 server to refuse a client certificate */

/* CURLOPT_SSL_CTX_FUNCTION: captures into a doctor_capture. */
CURLcode doctor_probe_prepare(CURL *curl, void *ssl_ctx, void *capture);

/* Whether the server will tell only after the handshake what it makes of our certificate. */
int doctor_probe_must_wait(const doctor_capture *capture);

/* Asks for TLS on a connection of libcurl's and makes the handshake. */
CURLcode doctor_ldap_starttls(CURL *curl, doctor_capture *capture, const doctor_target *target,
                              const doctor_options *options, long timeout_s);

#endif
