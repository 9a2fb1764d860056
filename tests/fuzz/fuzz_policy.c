/* Policy text: whatever is taken freezes to an id, and says the same when said again. */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1);
    stls_error err = {""};
    stls_policy *policy = stls_policy_new(NULL);
    stls_policy *again = stls_policy_new(NULL);

    MUST(text != NULL && policy != NULL && again != NULL);
    memcpy(text, data, len);
    text[len] = '\0';
    if (stls_policy_set_text(policy, text, &err) == STLS_OK) {
        const stls_key_info *keys = stls_policy_keys();
        for (size_t i = 0; i < STLS_NUM_KEYS; i++) {
            if (i != STLS_KEY_PRESET) {
                MUST(stls_policy_set(again, keys[i].name, stls_policy_get0_text(policy, i), NULL)
                     == STLS_OK);
            }
        }
        if (stls_policy_freeze(policy, &err) == STLS_OK) {
            MUST(stls_policy_freeze(again, NULL) == STLS_OK);
            MUST(memcmp(stls_policy_get0_id(policy), stls_policy_get0_id(again), STLS_ID_LEN) == 0);
            MUST(stls_policy_set(policy, "name", "off", NULL) == STLS_ERR_STATE);
        } else {
            MUST(err.text[0] != '\0');
        }
    } else {
        MUST(err.text[0] != '\0');
    }
    stls_policy_free(policy);
    stls_policy_free(again);
    free(text);
    return 0;
}
