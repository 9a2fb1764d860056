/*
 * The fetch-feed state machine: each input byte is one move.  A model keeps
 * what was really proved; an ACCEPT without it ends the run.
 */
#include "fuzz.h"

enum { LEAF_GOOD, INTER_GOOD, LEAF_REVOKED, GARBAGE, NUM_ANSWERS };

static fuzz_file answers[NUM_ANSWERS];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static stls_policy *policy;
    size_t cert_of[256] = {0};
    uint32_t highest = 0;
    int proved[2] = {0, 0}, revoked = 0;
    stls_fetch fetch;

    if (policy == NULL) {
        policy = fuzz_policy("revocation_sources=staple,ocsp");
        answers[LEAF_GOOD] = fuzz_read("leaf_good.ocsp");
        answers[INTER_GOOD] = fuzz_read("inter_good.ocsp");
        answers[LEAF_REVOKED] = fuzz_read("leaf_revoked.ocsp");
        answers[GARBAGE] = (fuzz_file){(unsigned char *)"garbage", 7};
    }
    stls_check *check = stls_check_new(policy, fuzz_anchors, STLS_ROLE_SERVER);
    stls_check_add_cert(check, fuzz_leaf);
    stls_check_add_cert(check, fuzz_inter);
    stls_check_set_name(check, LEAF_NAME, sizeof(LEAF_NAME) - 1);

    for (size_t i = 0; i < len; i++) {
        uint8_t move = data[i];
        switch (move & 7) {
        case 0:
            stls_check_start(check, NOW_S);
            break;
        case 1:
            if (stls_check_next_fetch(check, &fetch) == 1 && fetch.id < 256) {
                cert_of[fetch.id] = fetch.cert_index;
                highest = fetch.id;
            }
            break;
        case 2:
            if ((move >> 3) == 31) {
                stls_check_expire(check, NOW_S);
            }
            break;
        case 3:
            if ((move >> 3) == 31) {
                stls_check_fail(check, STLS_REASON_SESSION_UNVERIFIED, "fuzz", NOW_S);
            }
            break;
        case 4:
            if ((move >> 3) < NUM_ANSWERS && i + 1 < len) {
                fuzz_file *staple = &answers[move >> 3];
                if (stls_check_add_staple(check, data[++i] & 1, staple->bytes, staple->len)
                    == STLS_OK) {
                    proved[0] |= (data[i] & 1) == 0 && (move >> 3) == LEAF_GOOD;
                    proved[1] |= (data[i] & 1) == 1 && (move >> 3) == INTER_GOOD;
                }
            }
            break;
        default: { /* feed: any id, any outcome, any answer */
            static const stls_fetch_outcome outcomes[] = {
                STLS_FETCH_OK,   STLS_FETCH_CACHED,    STLS_FETCH_TIMEOUT, STLS_FETCH_NETWORK,
                STLS_FETCH_HTTP, STLS_FETCH_TOO_LARGE, STLS_FETCH_DENIED,  STLS_FETCH_LOCAL};
            if (i + 1 >= len) {
                break;
            }
            uint32_t id = highest > 0 ? data[++i] % (highest + 2) : data[++i];
            unsigned int answer = (move >> 3) & 3;
            stls_reply reply = {outcomes[(move >> 5) & 7], answers[answer].bytes,
                                answers[answer].len, NULL};
            stls_check_feed(check, id, &reply, NOW_S);
            if (reply.outcome > 0 && id >= 1 && id <= highest) {
                proved[0] |= cert_of[id] == 0 && answer == LEAF_GOOD;
                proved[1] |= cert_of[id] == 1 && answer == INTER_GOOD;
            }
            break;
        }
        }
        if (stls_check_verdict(check) != STLS_PENDING) {
            stls_verdict verdict = stls_check_verdict(check);
            MUST(verdict != STLS_ACCEPT || (proved[0] && proved[1] && !revoked));
            fuzz_must_hold(check);
            /* Final is final. */
            stls_reply reply = {STLS_FETCH_OK, answers[LEAF_GOOD].bytes, answers[LEAF_GOOD].len,
                                NULL};
            MUST(stls_check_feed(check, 1, &reply, NOW_S) == verdict);
            MUST(stls_check_expire(check, NOW_S) == verdict);
            MUST(stls_check_next_fetch(check, &fetch) == 0);
            break;
        }
    }
    stls_check_free(check);
    return 0;
}
