/* The strict verdict: the core decides, the plugin's judge answers its questions. */
#include "judge.h"

#include <string.h>

#include "crl_reader.h"
#include "doctor.h"

static size_t number(const unsigned char *bytes, size_t width)
{
    size_t value = 0;
    while (width-- > 0) {
        value = value << 8 | *bytes++;
    }
    return value;
}

/*
 * The certificates of a Certificate message (RFC 5246 section 7.4.2, RFC 8446
 * section 4.4.2), as far as it can be read. The core says what is wrong with them.
 */
static void add_message(stls_check *check, const doctor_peer *peer)
{
    const unsigned char *bytes = peer->message;
    size_t len = peer->message_len, at = 4;

    if (peer->is_tls13 && at < len) {
        at += 1 + bytes[at]; /* certificate_request_context */
    }
    at += 3; /* length of the list */
    while (at < len && len - at >= 3) {
        size_t cert_len = number(bytes + at, 3);
        at += 3;
        if (cert_len > len - at) {
            cert_len = len - at;
        }
        (void)stls_check_add_cert_der(check, bytes + at, cert_len);
        at += cert_len;
        if (peer->is_tls13 && len - at >= 2) {
            at += 2 + number(bytes + at, 2); /* extensions */
        }
    }
}

stls_result *doctor_judge(const doctor_trust *trust, const doctor_peer *peer)
{
    stls_result *result = NULL;
    stls_check *check = stls_check_new(trust->policy, trust->anchors, peer->role);

    if (check == NULL) {
        return NULL;
    }
    /* What fails inside a check makes its verdict a reject. */
    if (peer->message != NULL) {
        add_message(check, peer);
    } else {
        (void)stls_check_add_certs(check, peer->certs);
    }
    if (peer->name != NULL) {
        (void)stls_check_set_name(check, peer->name, strlen(peer->name));
    }
    (void)stls_check_add_staples(check, peer->staples, peer->staples_len);
    stls_error err;
    stls_crl_file *crl_file = stls_curl_crl_file_get1(trust->policy, &err);
    (void)stls_curl_judge(check, trust->policy, crl_file);
    stls_crl_file_free(crl_file);
    result = stls_check_get1_result(check);
    stls_check_free(check);
    return result;
}
