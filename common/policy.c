#include "policy.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "error.h"

static const stls_key_info keys[] = {
#define ROW(sym, key, type, def, values, doc)                                                      \
    {STLS_KEY_##sym, key, STLS_TYPE_##type, def, values, doc},
    STLS_POLICY_KEYS(ROW)
#undef ROW
};

/* Presets are differences from the defaults; docs/presets/ has a page for each. */
static const struct {
    const char *preset;
    stls_key key;
    const char *value;
} presets[] = {
    {"private", STLS_KEY_X509_STRICT, "off"},
    {"private", STLS_KEY_NO_REVOCATION_SOURCE, "allow"},
    {"servicenow", STLS_KEY_X509_STRICT, "off"},
    {"servicenow", STLS_KEY_CHAIN_ORDER, "any"},
    {"servicenow", STLS_KEY_NAME_CN_FALLBACK, "on"},
    {"servicenow", STLS_KEY_OCSP_NETWORK_ERROR, "tolerate"},
    {"servicenow", STLS_KEY_SHORT_LIVED_S, "0"},
};

const stls_key_info *stls_policy_keys(void)
{
    return keys;
}

static const stls_key_info *find_key(const char *name)
{
    for (size_t i = 0; i < STLS_NUM_KEYS; i++) {
        if (strcmp(keys[i].name, name) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

/* Index of `word` in the comma-separated `words`, -1 if it is none of them. */
static int word_index(const char *words, const char *word, size_t word_len)
{
    int index = 0;
    for (const char *p = words;; index++) {
        size_t len = strcspn(p, ",");
        if (len == word_len && memcmp(p, word, len) == 0) {
            return index;
        }
        if (p[len] == '\0') {
            return -1;
        }
        p += len + 1;
    }
}

static stls_status store_text(stls_policy *policy, stls_key key, const char *text)
{
    char *copy = stls_strdup(&policy->allocator, text);
    if (copy == NULL) {
        return STLS_ERR_MEMORY;
    }
    stls_dealloc(&policy->allocator, policy->text[key]);
    policy->text[key] = copy;
    return STLS_OK;
}

static stls_status set_enum(stls_policy *policy, const stls_key_info *info, const char *value,
                            stls_error *err)
{
    int index = word_index(info->values, value, strlen(value));
    if (index < 0) {
        return stls_error_set(err, STLS_ERR_ARGUMENT,
                              "invalid value \"%.64s\" for %s, use one of: %s", value, info->name,
                              info->values);
    }
    policy->num[info->key] = index;
    return store_text(policy, info->key, value);
}

static stls_status set_int(stls_policy *policy, const stls_key_info *info, const char *value,
                           stls_error *err)
{
    long long min = 0, max = 0;
    char *end = NULL;
    int is_number = isdigit((unsigned char)value[0]) && strlen(value) <= 18;
    long long number = is_number ? strtoll(value, &end, 10) : 0;

    sscanf(info->values, "%lld..%lld", &min, &max);
    if (!is_number || *end != '\0' || number < min || number > max) {
        return stls_error_set(err, STLS_ERR_ARGUMENT,
                              "invalid value \"%.64s\" for %s, use a number from %lld to %lld",
                              value, info->name, min, max);
    }
    policy->num[info->key] = number;

    char text[24];
    snprintf(text, sizeof(text), "%lld", number);
    return store_text(policy, info->key, text);
}

static stls_status set_list(stls_policy *policy, const stls_key_info *info, const char *value,
                            stls_error *err)
{
    uint8_t list[STLS_MAX_LIST];
    uint8_t len = 0;
    uint32_t seen = 0;

    for (const char *p = value;;) {
        size_t word_len = strcspn(p, ",");
        int index = word_index(info->values, p, word_len);
        if (index < 0 || (seen & (1u << index)) || len == STLS_MAX_LIST) {
            return stls_error_set(err, STLS_ERR_ARGUMENT,
                                  "invalid value \"%.64s\" for %s, use a comma-separated list of "
                                  "different words out of: %s",
                                  value, info->name, info->values);
        }
        seen |= 1u << index;
        list[len++] = (uint8_t)index;
        if (p[word_len] == '\0') {
            break;
        }
        p += word_len + 1;
    }
    memcpy(policy->list[info->key], list, len);
    policy->list_len[info->key] = len;
    return store_text(policy, info->key, value);
}

/* Parsed OIDs of a comma-separated list; NULL when one is none. */
static STACK_OF(ASN1_OBJECT) *parse_oids(const char *value)
{
    STACK_OF(ASN1_OBJECT) *oids = sk_ASN1_OBJECT_new_null();
    for (const char *p = value; oids != NULL;) {
        char oid[128];
        size_t len = strcspn(p, ",");
        ASN1_OBJECT *object = NULL;
        if (len > 0 && len < sizeof(oid) && strspn(p, "0123456789.") >= len) {
            memcpy(oid, p, len);
            oid[len] = '\0';
            object = OBJ_txt2obj(oid, 1);
        }
        if (object == NULL || !sk_ASN1_OBJECT_push(oids, object)) {
            ASN1_OBJECT_free(object);
            break;
        }
        if (p[len] == '\0') {
            return oids;
        }
        p += len + 1;
    }
    sk_ASN1_OBJECT_pop_free(oids, ASN1_OBJECT_free);
    return NULL;
}

size_t stls_policy_thresholds(const char *value, int64_t thresholds_s[STLS_MAX_THRESHOLDS])
{
    size_t num = 0;
    for (const char *p = value;; p++) {
        size_t len = strspn(p, "0123456789");
        if (len == 0 || len > 9 || num == STLS_MAX_THRESHOLDS
            || (p[len] != ',' && p[len] != '\0')) {
            return 0;
        }
        thresholds_s[num++] = strtoll(p, NULL, 10);
        p += len;
        if (*p == '\0') {
            return num;
        }
    }
}

static stls_status set_str(stls_policy *policy, const stls_key_info *info, const char *value,
                           stls_error *err)
{
    if (value[0] != '\0' && info->key == STLS_KEY_OCSP_RESPONDER) {
        stls_http_target target;
        stls_error why;
        if (stls_http_parse_url(value, &target, &why) != STLS_OK) {
            return stls_error_set(err, STLS_ERR_ARGUMENT, "invalid value \"%.64s\" for %s: %.200s",
                                  value, info->name, why.text);
        }
    }
    if (value[0] != '\0' && info->key == STLS_KEY_CERT_POLICIES) {
        STACK_OF(ASN1_OBJECT) *oids = parse_oids(value);
        if (oids == NULL) {
            return stls_error_set(
                err, STLS_ERR_ARGUMENT,
                "invalid value \"%.64s\" for %s, use dotted OIDs separated by commas", value,
                info->name);
        }
        sk_ASN1_OBJECT_pop_free(oids, ASN1_OBJECT_free);
    }
    int64_t thresholds_s[STLS_MAX_THRESHOLDS];
    if (value[0] != '\0' && info->key == STLS_KEY_EXPIRY_WARN_S
        && stls_policy_thresholds(value, thresholds_s) == 0) {
        return stls_error_set(err, STLS_ERR_ARGUMENT,
                              "invalid value \"%.64s\" for %s, use up to %d numbers of seconds "
                              "separated by commas",
                              value, info->name, STLS_MAX_THRESHOLDS);
    }
    return store_text(policy, info->key, value);
}

static stls_status set_value(stls_policy *policy, const stls_key_info *info, const char *value,
                             stls_error *err)
{
    switch (info->type) {
    case STLS_TYPE_ENUM:
        return set_enum(policy, info, value, err);
    case STLS_TYPE_INT:
        return set_int(policy, info, value, err);
    case STLS_TYPE_LIST:
        return set_list(policy, info, value, err);
    case STLS_TYPE_STR:
        break;
    }
    return set_str(policy, info, value, err);
}

/* Every key but mode and preset itself: a preset does not turn enforcing into reporting. */
static stls_status apply_preset(stls_policy *policy, const char *preset, stls_error *err)
{
    stls_status status = STLS_OK;
    for (size_t i = 0; i < STLS_NUM_KEYS && status == STLS_OK; i++) {
        if (keys[i].key != STLS_KEY_PRESET && keys[i].key != STLS_KEY_MODE) {
            status = set_value(policy, &keys[i], keys[i].def, err);
        }
    }
    for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]) && status == STLS_OK; i++) {
        if (strcmp(presets[i].preset, preset) == 0) {
            status = set_value(policy, &keys[presets[i].key], presets[i].value, err);
        }
    }
    return status;
}

stls_policy *stls_policy_new(const stls_allocator *allocator)
{
    if (allocator == NULL) {
        allocator = &stls_libc_allocator;
    }
    stls_policy *policy = stls_alloc(allocator, sizeof(*policy));
    if (policy == NULL) {
        return NULL;
    }
    policy->allocator = *allocator;
    atomic_init(&policy->refs, 1);
    if (set_value(policy, &keys[STLS_KEY_MODE], keys[STLS_KEY_MODE].def, NULL) != STLS_OK
        || set_value(policy, &keys[STLS_KEY_PRESET], keys[STLS_KEY_PRESET].def, NULL) != STLS_OK
        || apply_preset(policy, keys[STLS_KEY_PRESET].def, NULL) != STLS_OK) {
        stls_policy_free(policy);
        return NULL;
    }
    return policy;
}

stls_policy *stls_policy_up_ref(stls_policy *policy)
{
    if (policy != NULL) {
        atomic_fetch_add(&policy->refs, 1);
    }
    return policy;
}

void stls_policy_free(stls_policy *policy)
{
    if (policy == NULL || atomic_fetch_sub(&policy->refs, 1) != 1) {
        return;
    }
    stls_allocator allocator = policy->allocator;
    for (size_t i = 0; i < STLS_NUM_KEYS; i++) {
        stls_dealloc(&allocator, policy->text[i]);
    }
    sk_ASN1_OBJECT_pop_free(policy->cert_policies, ASN1_OBJECT_free);
    stls_dealloc(&allocator, policy);
}

stls_status stls_policy_set(stls_policy *policy, const char *key, const char *value,
                            stls_error *err)
{
    if (policy->frozen) {
        return stls_error_set(err, STLS_ERR_STATE, "the policy is frozen");
    }
    const stls_key_info *info = find_key(key);
    if (info == NULL) {
        char names[400];
        size_t used = 0;
        for (size_t i = 0; i < STLS_NUM_KEYS && used + 1 < sizeof(names); i++) {
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", i ? ", " : "",
                                     keys[i].name);
        }
        return stls_error_set(err, STLS_ERR_ARGUMENT,
                              "unknown policy key \"%.64s\", use one of: %s", key, names);
    }
    stls_status status = set_value(policy, info, value, err);
    if (status == STLS_OK && info->key == STLS_KEY_PRESET) {
        status = apply_preset(policy, value, err);
    }
    if (status == STLS_ERR_MEMORY) {
        stls_error_set(err, status, "out of memory");
    }
    return status;
}

stls_status stls_policy_set_text(stls_policy *policy, const char *text, stls_error *err)
{
    static const char separators[] = " \t\r\n;";

    for (const char *p = text + strspn(text, separators); *p != '\0'; p += strspn(p, separators)) {
        char word[1024];
        size_t len = strcspn(p, separators);
        if (len >= sizeof(word)) {
            return stls_error_set(err, STLS_ERR_ARGUMENT, "policy word longer than %zu bytes",
                                  sizeof(word) - 1);
        }
        memcpy(word, p, len);
        word[len] = '\0';
        p += len;

        char *value = strchr(word, '=');
        if (value == NULL) {
            return stls_error_set(err, STLS_ERR_ARGUMENT, "\"%.64s\" is not of the form key=value",
                                  word);
        }
        *value++ = '\0';
        stls_status status = stls_policy_set(policy, word, value, err);
        if (status != STLS_OK) {
            return status;
        }
    }
    return STLS_OK;
}

static int list_has(const stls_policy *policy, stls_key key, int word)
{
    for (size_t i = 0; i < policy->list_len[key]; i++) {
        if (policy->list[key][i] == word) {
            return 1;
        }
    }
    return 0;
}

static stls_status check_fields(const stls_policy *policy, stls_error *err)
{
    if (policy->num[STLS_KEY_OCSP_NONCE] == STLS_ON
        && !list_has(policy, STLS_KEY_REVOCATION_SOURCES, STLS_SOURCE_OCSP)) {
        return stls_error_set(err, STLS_ERR_ARGUMENT,
                              "ocsp_nonce on needs ocsp in revocation_sources");
    }
    if (policy->text[STLS_KEY_CRL_FILE][0] != '\0'
        && !list_has(policy, STLS_KEY_REVOCATION_SOURCES, STLS_SOURCE_FILE)) {
        return stls_error_set(err, STLS_ERR_ARGUMENT, "crl_file needs file in revocation_sources");
    }
    if (list_has(policy, STLS_KEY_FETCH_DENY, STLS_DENY_NONE)
        && policy->list_len[STLS_KEY_FETCH_DENY] > 1) {
        return stls_error_set(err, STLS_ERR_ARGUMENT, "fetch_deny none excludes every other word");
    }
    return STLS_OK;
}

/* What a peer is judged by; the preset's name says nothing that the other keys do not. */
static stls_status compute_id(stls_policy *policy)
{
    stls_status status = STLS_ERR_MEMORY;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (md == NULL || !EVP_DigestInit_ex(md, EVP_sha256(), NULL)) {
        goto done;
    }
    for (size_t i = 0; i < STLS_NUM_KEYS; i++) {
        if (i != STLS_KEY_PRESET
            && (!EVP_DigestUpdate(md, keys[i].name, strlen(keys[i].name) + 1)
                || !EVP_DigestUpdate(md, policy->text[i], strlen(policy->text[i]) + 1))) {
            goto done;
        }
    }
    if (EVP_DigestFinal_ex(md, policy->id, NULL)) {
        status = STLS_OK;
    }
done:
    EVP_MD_CTX_free(md);
    return status;
}

stls_status stls_policy_set_directives(stls_policy *policy, stls_directives directives)
{
    if (policy->frozen) {
        return STLS_ERR_STATE;
    }
    policy->directives = directives;
    return STLS_OK;
}

stls_status stls_policy_freeze(stls_policy *policy, stls_error *err)
{
    if (policy->frozen) {
        return STLS_OK;
    }
    stls_status status = check_fields(policy, err);
    if (status != STLS_OK) {
        return status;
    }
    if (policy->text[STLS_KEY_CERT_POLICIES][0] != '\0') {
        policy->cert_policies = parse_oids(policy->text[STLS_KEY_CERT_POLICIES]);
        if (policy->cert_policies == NULL) {
            return stls_error_set(err, STLS_ERR_MEMORY, "out of memory");
        }
    }
    if (compute_id(policy) != STLS_OK) {
        sk_ASN1_OBJECT_pop_free(policy->cert_policies, ASN1_OBJECT_free);
        policy->cert_policies = NULL;
        return stls_error_set(err, STLS_ERR_MEMORY, "out of memory");
    }
    policy->frozen = 1;
    return STLS_OK;
}

const unsigned char *stls_policy_get0_id(const stls_policy *policy)
{
    return policy->frozen ? policy->id : NULL;
}

int64_t stls_policy_get_int(const stls_policy *policy, stls_key key)
{
    return policy->num[key];
}

const char *stls_policy_get0_text(const stls_policy *policy, stls_key key)
{
    return policy->text[key];
}

stls_policy *stls_policy_derive(const stls_policy *policy, const stls_policy_change *changes,
                                size_t num)
{
    stls_policy *copy = stls_policy_new(&policy->allocator);
    stls_status status = copy != NULL ? STLS_OK : STLS_ERR_MEMORY;

    for (size_t i = 0; i < STLS_NUM_KEYS && status == STLS_OK; i++) {
        if (i != STLS_KEY_PRESET) {
            status = stls_policy_set(copy, keys[i].name, policy->text[i], NULL);
        }
    }
    for (size_t i = 0; i < num && status == STLS_OK; i++) {
        status = stls_policy_set(copy, keys[changes[i].key].name, changes[i].value, NULL);
    }
    if (status == STLS_OK) {
        status = stls_policy_set_directives(copy, policy->directives);
    }
    if (status != STLS_OK || stls_policy_freeze(copy, NULL) != STLS_OK) {
        stls_policy_free(copy);
        return NULL;
    }
    return copy;
}
