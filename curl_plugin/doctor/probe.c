/* Connects by libcurl, by its proxy rules and protocols, and captures what the peer presents. */
#include "probe.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>

#define MAX_CERT_LIST (16L * 1024 * 1024) /* what the policy allows at most */
#define MAX_CAS 500                       /* names of acceptable CAs that are reported */

/* ---- what OpenSSL calls ---------------------------------------------------------- */

/* Everybody passes: verdicts are made afterwards, on what was captured. */
static int keep_chain(X509_STORE_CTX *store_ctx, void *arg)
{
    doctor_capture *capture = arg;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store_ctx, SSL_get_ex_data_X509_STORE_CTX_idx());

    sk_X509_pop_free(capture->certs, X509_free);
    capture->certs = X509_chain_up_ref(X509_STORE_CTX_get0_untrusted(store_ctx));
    if (ssl != NULL) {
        snprintf(capture->tls_version, sizeof(capture->tls_version), "%s", SSL_get_version(ssl));
    }
    X509_STORE_CTX_set_error(store_ctx, X509_V_OK);
    return 1;
}

static int keep_staples(SSL *ssl, void *arg)
{
    doctor_capture *capture = arg;

    OPENSSL_free(capture->staples);
    (void)stls_staples_get1(ssl, &capture->staples, &capture->staples_len);
    return 1;
}

/* The server asks for a certificate: which CAs does it name? */
static int keep_acceptable_cas(SSL *ssl, void *arg)
{
    doctor_capture *capture = arg;
    const STACK_OF(X509_NAME) *names = SSL_get0_peer_CA_list(ssl);
    char text[DOCTOR_TEXT_LEN];

    capture->asked_client = 1;
    capture->sent_client = SSL_get_certificate(ssl) != NULL;
    json_decref(capture->acceptable_cas);
    capture->acceptable_cas = json_array();
    for (int i = 0; i < sk_X509_NAME_num(names) && i < MAX_CAS; i++) {
        doctor_name_text(sk_X509_NAME_value(names, i), text);
        json_array_append_new(capture->acceptable_cas, json_string(text));
    }
    return 1;
}

/* Needed where OpenSSL gives up on a certificate that cannot be decoded. */
static void keep_certificate_message(doctor_capture *capture, const unsigned char *message,
                                     size_t len)
{
    free(capture->message);
    capture->message_len = 0;
    capture->message = malloc(len);
    if (capture->message != NULL) {
        memcpy(capture->message, message, len);
        capture->message_len = len;
    }
}

static void keep_messages(int is_ours, int version, int content_type, const void *bytes, size_t len,
                          SSL *ssl, void *arg)
{
    doctor_capture *capture = arg;
    const unsigned char *message = bytes;
    (void)version;

    if (content_type == SSL3_RT_HANDSHAKE) {
        capture->is_connected = 1;
    }
    if (is_ours || len < 1) {
        return;
    }
    if (content_type == SSL3_RT_ALERT && len == 2 && message[1] != SSL_AD_CLOSE_NOTIFY) {
        capture->peer_alert = message[1];
    }
    if (content_type == SSL3_RT_HANDSHAKE) {
        if (message[0] == SSL3_MT_FINISHED) {
            capture->is_complete = 1;
            snprintf(capture->cipher, sizeof(capture->cipher), "%s", SSL_get_cipher_name(ssl));
        }
        if (message[0] == SSL3_MT_CERTIFICATE) {
            keep_certificate_message(capture, message, len);
            snprintf(capture->tls_version, sizeof(capture->tls_version), "%s",
                     SSL_get_version(ssl));
        }
        capture->new_session |= message[0] == SSL3_MT_NEWSESSION_TICKET;
    }
}

CURLcode doctor_probe_prepare(CURL *curl, void *ssl_ctx, void *arg)
{
    SSL_CTX *ctx = ssl_ctx;
    (void)curl;

    /* An HTTPS proxy is verified by libcurl as usual; only the endpoint's context is lax. */
    if (SSL_CTX_get_verify_mode(ctx) != SSL_VERIFY_NONE) {
        return CURLE_OK;
    }
    SSL_CTX_set_cert_verify_callback(ctx, keep_chain, arg);
    SSL_CTX_set_tlsext_status_type(ctx, TLSEXT_STATUSTYPE_ocsp);
    SSL_CTX_set_tlsext_status_cb(ctx, keep_staples);
    SSL_CTX_set_tlsext_status_arg(ctx, arg);
    SSL_CTX_set_cert_cb(ctx, keep_acceptable_cas, arg);
    SSL_CTX_set_msg_callback(ctx, keep_messages);
    SSL_CTX_set_msg_callback_arg(ctx, arg);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_max_cert_list(ctx, MAX_CERT_LIST);
    /* Weak certificates must be seen to be reported. Nothing is ever sent over this connection. */
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_cipher_list(ctx, "DEFAULT:@SECLEVEL=0");
    return CURLE_OK;
}

/* ---- the connection -------------------------------------------------------------------- */

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What a protocol says behind its STARTTLS is not waited for. */
static int is_enough(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                     curl_off_t up)
{
    doctor_capture *capture = arg;
    (void)down_total, (void)down, (void)up_total, (void)up;

    if (!capture->is_complete) {
        return 0;
    }
    if (capture->complete_ms == 0) {
        capture->complete_ms = clock_ms();
    }
    return !doctor_probe_must_wait(capture) || capture->new_session || capture->peer_alert >= 0
           || clock_ms() - capture->complete_ms >= DOCTOR_REFUSAL_WAIT_MS;
}

/* libcurl makes that connection as if for HTTP, and no more. */
static int is_ldap(const doctor_target *target)
{
    return target->starttls != NULL && strcmp(target->starttls, "ldap") == 0;
}

static int set_options(CURL *curl, struct curl_slist *connect_to, const doctor_target *target,
                       const doctor_options *options, long timeout_s, char *error,
                       doctor_capture *capture)
{
    CURLcode bad = CURLE_OK;
#define SET(option, value) bad = bad != CURLE_OK ? bad : curl_easy_setopt(curl, option, value)
    SET(CURLOPT_URL, target->url);
    SET(CURLOPT_PROTOCOLS_STR, is_ldap(target)            ? "http"
                               : target->starttls != NULL ? target->starttls
                                                          : "https");
    SET(CURLOPT_ERRORBUFFER, error);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECT_ONLY, 1L);
    SET(CURLOPT_CONNECTTIMEOUT, timeout_s);
    SET(CURLOPT_TIMEOUT, timeout_s);
    SET(CURLOPT_SERVER_RESPONSE_TIMEOUT, timeout_s);
    SET(CURLOPT_SSL_VERIFYPEER, 0L);
    SET(CURLOPT_SSL_VERIFYHOST, 0L);
    SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    SET(CURLOPT_SSL_ENABLE_ALPN, 0L); /* mail and directory servers have no h2 to offer */
    SET(CURLOPT_SSL_CTX_FUNCTION, doctor_probe_prepare);
    SET(CURLOPT_SSL_CTX_DATA, capture);
    SET(CURLOPT_FRESH_CONNECT, 1L);
    SET(CURLOPT_HTTPPROXYTUNNEL, 1L);
    if (options->tls != NULL) {
        SET(CURLOPT_SSLVERSION, options->tls[2] == '2'
                                    ? (long)CURL_SSLVERSION_TLSv1_2 | CURL_SSLVERSION_MAX_TLSv1_2
                                    : (long)CURL_SSLVERSION_TLSv1_3 | CURL_SSLVERSION_MAX_TLSv1_3);
    }
    if (target->starttls != NULL && !is_ldap(target)) {
        SET(CURLOPT_USE_SSL, (long)CURLUSESSL_ALL);
        SET(CURLOPT_NOPROGRESS, 0L);
        SET(CURLOPT_XFERINFOFUNCTION, is_enough);
        SET(CURLOPT_XFERINFODATA, capture);
    }
    if (connect_to != NULL) {
        SET(CURLOPT_CONNECT_TO, connect_to);
    }
    if (options->cert != NULL) {
        SET(CURLOPT_SSLCERT, options->cert);
        SET(CURLOPT_SSLKEY, options->key != NULL ? options->key : options->cert);
    }
#undef SET
    return bad == CURLE_OK;
}

static void describe_connection(CURL *curl, doctor_capture *capture)
{
    char *address = NULL;
    long port = 0;

    if (curl_easy_getinfo(curl, CURLINFO_PRIMARY_IP, &address) == CURLE_OK && address != NULL
        && address[0] != '\0'
        && curl_easy_getinfo(curl, CURLINFO_PRIMARY_PORT, &port) == CURLE_OK) {
        snprintf(capture->address, sizeof(capture->address),
                 strchr(address, ':') != NULL ? "[%s]:%ld" : "%s:%ld", address, port);
    }
}

int doctor_probe_must_wait(const doctor_capture *capture)
{
    return capture->asked_client && strcmp(capture->tls_version, "TLSv1.3") == 0;
}

/*
 * A TLS 1.3 server judges the client's certificate after the client's handshake
 * is over: its alert, or its session ticket, tells what it made of it.
 */
static void await_judgement(CURL *curl, doctor_capture *capture)
{
    char byte;
    size_t got;

    for (int waited_ms = 0; waited_ms < DOCTOR_REFUSAL_WAIT_MS; waited_ms += 20) {
        CURLcode code = curl_easy_recv(curl, &byte, 1, &got);
        if (code != CURLE_AGAIN || capture->peer_alert >= 0 || capture->new_session) {
            break;
        }
        const struct timespec pause = {0, 20 * 1000 * 1000};
        nanosleep(&pause, NULL);
    }
}

void doctor_probe(doctor_capture *capture, const doctor_target *target,
                  const doctor_options *options, long timeout_s)
{
    char error[CURL_ERROR_SIZE] = "";
    struct curl_slist *connect_to = NULL;
    CURL *curl = curl_easy_init();
    CURLcode code = CURLE_OUT_OF_MEMORY;

    memset(capture, 0, sizeof(*capture));
    capture->peer_alert = -1;
    if (target->connect[0] != '\0') {
        connect_to = curl_slist_append(NULL, target->connect);
    }
    if (curl != NULL && (target->connect[0] == '\0' || connect_to != NULL)
        && set_options(curl, connect_to, target, options, timeout_s, error, capture)) {
        code = curl_easy_perform(curl);
        if (code == CURLE_OK && is_ldap(target)) {
            code = doctor_ldap_starttls(curl, capture, target, options, timeout_s);
        }
    }
    if (curl != NULL) {
        describe_connection(curl, capture);
    }
    if (code == CURLE_ABORTED_BY_CALLBACK && capture->is_complete) {
        code = CURLE_OK;
    }
    capture->is_over = code == CURLE_OK;
    if (code != CURLE_OK) {
        snprintf(capture->error, sizeof(capture->error), "%s",
                 error[0] != '\0' ? error : curl_easy_strerror(code));
        doctor_plain(capture->error);
    } else if (doctor_probe_must_wait(capture) && target->starttls == NULL) {
        await_judgement(curl, capture);
    }
    if (code == CURLE_OK && capture->peer_alert >= 0) {
        snprintf(capture->error, sizeof(capture->error),
                 "the server refused after the handshake: TLS alert %s",
                 SSL_alert_desc_string_long(capture->peer_alert));
    }
    /* Reset before it judged us: the reset overtook its alert, or it sent none. */
    int is_cut_off = doctor_probe_must_wait(capture) && !capture->new_session
                     && (code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR
                         || code == CURLE_GOT_NOTHING);
    capture->is_complete = capture->is_complete && capture->peer_alert < 0 && !is_cut_off;
    curl_easy_cleanup(curl);
    curl_slist_free_all(connect_to);
    ERR_clear_error();
}

void doctor_capture_free(doctor_capture *capture)
{
    sk_X509_pop_free(capture->certs, X509_free);
    OPENSSL_free(capture->staples);
    free(capture->message);
    json_decref(capture->acceptable_cas);
    memset(capture, 0, sizeof(*capture));
}
