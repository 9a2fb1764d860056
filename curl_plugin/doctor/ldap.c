/*
 * StartTLS of LDAP (RFC 4511 section 4.14).  libcurl 7.88 asks for it and then
 * goes on in clear, so libcurl only makes the connection here.
 */
#include "probe.h"

#include <string.h>
#include <time.h>

#include <poll.h>

#include <openssl/bio.h>
#include <openssl/err.h>

#define REPLY_LEN 512

static const unsigned char request[] = {
    0x30, 0x1d, 0x02, 0x01, 0x01, 0x77, 0x18, 0x80, 0x16, '1', '.', '3', '.', '6', '.', '1',
    '.',  '4',  '.',  '1',  '.',  '1',  '4',  '6',  '6',  '.', '2', '0', '0', '3', '7'};

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* 1 when the connection is ready, 0 when the time is over. */
static int wait_for(CURL *curl, short events, int64_t until_ms)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    int64_t left_ms = until_ms - clock_ms();

    if (curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD
        || left_ms <= 0) {
        return 0;
    }
    struct pollfd wanted = {.fd = fd, .events = events};
    return poll(&wanted, 1, (int)left_ms) > 0;
}

/* ---- the question in clear ------------------------------------------------------------ */

static int send_request(CURL *curl, int64_t until_ms)
{
    size_t done = 0, sent;

    while (done < sizeof(request)) {
        CURLcode code = curl_easy_send(curl, request + done, sizeof(request) - done, &sent);
        if (code == CURLE_OK) {
            done += sent;
        } else if (code != CURLE_AGAIN || !wait_for(curl, POLLOUT, until_ms)) {
            return 0;
        }
    }
    return 1;
}

/* SEQUENCE { messageID, [APPLICATION 24] { resultCode, ... } }, all lengths in one byte. */
static int is_success(const unsigned char *reply)
{
    static const unsigned char code[] = {0x0a, 0x01, 0x00};
    return memcmp(reply + 2, "\x02\x01\x01\x78", 4) == 0
           && memcmp(reply + 7, code, sizeof(code)) == 0;
}

static int receive_reply(CURL *curl, int64_t until_ms)
{
    unsigned char reply[REPLY_LEN];
    size_t have = 0, got;

    /* Byte by byte: what comes behind the answer belongs to TLS. */
    while (have < 2 || have < 2u + reply[1]) {
        CURLcode code = curl_easy_recv(curl, reply + have, 1, &got);
        if (code == CURLE_OK && got == 1) {
            have++;
            if (have == 2 && (reply[0] != 0x30 || reply[1] < 12 || reply[1] > 127)) {
                return 0;
            }
        } else if (code != CURLE_AGAIN || !wait_for(curl, POLLIN, until_ms)) {
            return 0;
        }
    }
    return is_success(reply);
}

/* ---- TLS over a connection of libcurl's, whatever proxy it leads through ----------------- */

static int bio_write(BIO *bio, const char *bytes, int len)
{
    size_t sent = 0;
    CURLcode code = curl_easy_send(BIO_get_data(bio), bytes, (size_t)len, &sent);
    BIO_clear_retry_flags(bio);
    if (code == CURLE_AGAIN) {
        BIO_set_retry_write(bio);
    }
    return code == CURLE_OK ? (int)sent : -1;
}

static int bio_read(BIO *bio, char *bytes, int len)
{
    size_t got = 0;
    CURLcode code = curl_easy_recv(BIO_get_data(bio), bytes, (size_t)len, &got);
    BIO_clear_retry_flags(bio);
    if (code == CURLE_AGAIN) {
        BIO_set_retry_read(bio);
    }
    return code == CURLE_OK ? (int)got : -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int attach(SSL *ssl, BIO_METHOD *method, CURL *curl)
{
    BIO *bio = BIO_new(method);
    if (bio == NULL) {
        return 0;
    }
    BIO_set_data(bio, curl);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return 1;
}

static int set_up(SSL_CTX *ctx, const doctor_options *options)
{
    int version = options->tls == NULL     ? 0
                  : options->tls[2] == '2' ? TLS1_2_VERSION
                                           : TLS1_3_VERSION;
    const char *key = options->key != NULL ? options->key : options->cert;

    return SSL_CTX_set_min_proto_version(ctx, version)
           && SSL_CTX_set_max_proto_version(ctx, version)
           && (options->cert == NULL
               || (SSL_CTX_use_certificate_chain_file(ctx, options->cert) == 1
                   && SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1));
}

/* Carries an SSL call on until it is done, fails, or the time is over. */
static int drive(CURL *curl, SSL *ssl, int (*step)(SSL *ssl), int64_t until_ms)
{
    for (;;) {
        ERR_clear_error();
        int result = step(ssl);
        int why = SSL_get_error(ssl, result);
        if (result > 0) {
            return 1;
        }
        if ((why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
            || !wait_for(curl, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until_ms)) {
            return 0;
        }
    }
}

static int read_byte(SSL *ssl)
{
    char byte;
    return SSL_read(ssl, &byte, 1);
}

static CURLcode handshake(CURL *curl, SSL_CTX *ctx, BIO_METHOD *method, doctor_capture *capture,
                          const doctor_target *target, const doctor_options *options,
                          int64_t until_ms)
{
    CURLcode code = CURLE_OUT_OF_MEMORY;
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(target->name);
    SSL *ssl = NULL;

    if (set_up(ctx, options) && doctor_probe_prepare(curl, ctx, capture) == CURLE_OK
        && (ssl = SSL_new(ctx)) != NULL && attach(ssl, method, curl)
        && (address != NULL || SSL_set_tlsext_host_name(ssl, target->name))) {
        code = CURLE_OK;
        if (!drive(curl, ssl, SSL_connect, until_ms)) {
            code = clock_ms() >= until_ms ? CURLE_OPERATION_TIMEDOUT : CURLE_SSL_CONNECT_ERROR;
        } else if (doctor_probe_must_wait(capture)) {
            /* Only for its alert, if it has one. */
            int64_t refusal_ms = clock_ms() + DOCTOR_REFUSAL_WAIT_MS;
            (void)drive(curl, ssl, read_byte, refusal_ms < until_ms ? refusal_ms : until_ms);
        }
    }
    ASN1_OCTET_STRING_free(address);
    SSL_free(ssl);
    return code;
}

CURLcode doctor_ldap_starttls(CURL *curl, doctor_capture *capture, const doctor_target *target,
                              const doctor_options *options, long timeout_s)
{
    int64_t until_ms = clock_ms() + (int64_t)timeout_s * 1000;
    CURLcode code = CURLE_OUT_OF_MEMORY;

    if (!send_request(curl, until_ms) || !receive_reply(curl, until_ms)) {
        return CURLE_USE_SSL_FAILED;
    }
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "libcurl");
    if (ctx != NULL && method != NULL && BIO_meth_set_write(method, bio_write)
        && BIO_meth_set_read(method, bio_read) && BIO_meth_set_ctrl(method, bio_ctrl)) {
        code = handshake(curl, ctx, method, capture, target, options, until_ms);
    }
    BIO_meth_free(method);
    SSL_CTX_free(ctx);
    return code;
}
