/* The core's repair, with the issuers that it asks for fetched. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "doctor.h"
#include "fetch.h"

static void fetch_issuer(stls_repair *repair, const stls_policy *policy, const char *url)
{
    stls_curl_fetched fetched;
    int64_t timeout_ms = stls_policy_get_int(policy, STLS_KEY_FETCH_TIMEOUT_MS);
    const stls_fetch want = {
        .url = url,
        .content_type = "",
        .max_reply_bytes = (size_t)stls_policy_get_int(policy, STLS_KEY_MAX_REPLY_BYTES),
        .max_reply_header_bytes = (size_t)stls_policy_get_int(policy,
                                                              STLS_KEY_MAX_REPLY_HEADER_BYTES),
        .timeout_ms = (uint32_t)timeout_ms,
    };

    stls_curl_fetch(&want, policy, STLS_CURL_BODY_ANY, (long)timeout_ms, &fetched);
    if (fetched.outcome == STLS_FETCH_OK) {
        (void)stls_repair_feed(repair, fetched.bytes, fetched.bytes_len);
    }
    stls_curl_fetched_free(&fetched);
}

static STACK_OF(X509) *parse(const char *pem, size_t len)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    X509 *cert;

    while (chain != NULL && bio != NULL
           && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (!sk_X509_push(chain, cert)) {
            X509_free(cert);
            break;
        }
    }
    BIO_free(bio);
    ERR_clear_error();
    return chain;
}

void doctor_repair(doctor_repaired *repaired, const doctor_trust *trust, const doctor_peer *peer,
                   int online)
{
    const char *url;
    size_t len = 0;

    memset(repaired, 0, sizeof(*repaired));
    snprintf(repaired->err.text, sizeof(repaired->err.text), "out of memory");
    stls_repair *repair = stls_repair_new(trust->policy, trust->anchors, peer->role, time(NULL));
    if (repair == NULL) {
        return;
    }
    for (int i = 0; i < sk_X509_num(peer->certs); i++) {
        if (stls_repair_add_cert(repair, sk_X509_value(peer->certs, i)) != STLS_OK) {
            stls_repair_free(repair);
            return;
        }
    }
    while (online && (url = stls_repair_next_url(repair)) != NULL) {
        fetch_issuer(repair, trust->policy, url);
    }
    if (stls_repair_finish(repair, &repaired->err) == STLS_OK) {
        const char *pem = stls_repair_get0_pem(repair, &len);
        repaired->pem = strdup(pem);
        repaired->changes = strdup(stls_repair_get0_changes(repair));
        repaired->chain = parse(pem, len);
        if (repaired->pem == NULL || repaired->changes == NULL || repaired->chain == NULL) {
            doctor_repaired_free(repaired);
            snprintf(repaired->err.text, sizeof(repaired->err.text), "out of memory");
        }
    }
    stls_repair_free(repair);
}

void doctor_repaired_free(doctor_repaired *repaired)
{
    sk_X509_pop_free(repaired->chain, X509_free);
    free(repaired->pem);
    free(repaired->changes);
    memset(repaired, 0, sizeof(*repaired));
}
