/* The strict verdict: the core decides, the plugin's judge answers its questions. */
#include "judge.h"

#include <string.h>

#include "doctor.h"

stls_result *doctor_judge(const doctor_trust *trust, const doctor_peer *peer)
{
    stls_result *result = NULL;
    stls_check *check = stls_check_new(trust->policy, trust->anchors, peer->role);

    if (check == NULL) {
        return NULL;
    }
    /* What fails inside a check makes its verdict a reject. */
    (void)stls_check_add_certs(check, peer->certs);
    if (peer->name != NULL) {
        (void)stls_check_set_name(check, peer->name, strlen(peer->name));
    }
    if (peer->staple != NULL) {
        (void)stls_check_add_staple(check, 0, peer->staple, peer->staple_len);
    }
    (void)stls_curl_judge(check, trust->policy);
    result = stls_check_get1_result(check);
    stls_check_free(check);
    return result;
}
