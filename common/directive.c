/* How a host's configuration writes the policy's keys, and a remedy in its words. */
#include "directive.h"

#include <ctype.h>
#include <string.h>

#include "policy.h"

static void put(char *buf, size_t len, size_t *used, char c)
{
    if (*used + 1 < len) {
        buf[*used] = c;
        buf[*used + 1] = '\0';
    }
    *used += 1;
}

static void put_text(char *buf, size_t len, size_t *used, const char *text)
{
    while (*text != '\0') {
        put(buf, len, used, *text++);
    }
}

/* "urls" of max_urls_per_cert -> "URLs" */
static void put_httpd_word(char *buf, size_t len, size_t *used, const char *word, size_t word_len)
{
    static const char *const special[] = {"OCSP", "CRL", "CN", "URL", "URLs", "X509"};

    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        size_t n = 0;
        while (n < word_len && tolower((unsigned char)special[i][n]) == word[n]) {
            n++;
        }
        if (n == word_len && special[i][n] == '\0') {
            put_text(buf, len, used, special[i]);
            return;
        }
    }
    for (size_t i = 0; i < word_len; i++) {
        put(buf, len, used, (char)(i == 0 ? toupper((unsigned char)word[0]) : word[i]));
    }
}

size_t stls_directive_name(stls_directives directives, stls_role role, const char *key, char *buf,
                           size_t len)
{
    int is_mode = strcmp(key, "mode") == 0;
    size_t used = 0;

    if (len > 0) {
        buf[0] = '\0';
    }
    switch (directives) {
    case STLS_DIRECTIVES_NGINX:
        put_text(buf, len, &used, role == STLS_ROLE_CLIENT ? "strict_tls_client" : "strict_tls");
        if (!is_mode) {
            put(buf, len, &used, '_');
            put_text(buf, len, &used, key);
        }
        break;
    case STLS_DIRECTIVES_HTTPD:
        put_text(buf, len, &used, role == STLS_ROLE_CLIENT ? "StrictTLSClient" : "StrictTLS");
        for (const char *word = key; !is_mode && *word != '\0';) {
            size_t word_len = strcspn(word, "_");
            put_httpd_word(buf, len, &used, word, word_len);
            word += word_len + (word[word_len] == '_');
        }
        break;
    default:
        put_text(buf, len, &used, key);
    }
    return used;
}

static const char *key_at(const char *word, size_t word_len)
{
    const stls_key_info *keys = stls_policy_keys();

    for (size_t i = 0; i < STLS_NUM_KEYS; i++) {
        if (strlen(keys[i].name) == word_len && memcmp(keys[i].name, word, word_len) == 0) {
            return keys[i].name;
        }
    }
    return NULL;
}

/*
 * Keys of one word are words of the language, too: they are meant where something is to be set.  What
 * stands within a URL or a path is no word.
 */
static int is_meant(const char *remedy, const char *word, size_t word_len)
{
    size_t before = (size_t)(word - remedy);

    if ((before > 0 && strchr(" (", word[-1]) == NULL)
        || strchr(" ,.;:)", word[word_len]) == NULL) {
        return 0;
    }
    return memchr(word, '_', word_len) != NULL || (before >= 4 && memcmp(word - 4, "set ", 4) == 0)
           || (before >= 1 && word[-1] == '(');
}

void stls_remedy_text(stls_directives directives, stls_role role, const char *remedy, char *buf,
                      size_t len)
{
    size_t used = 0;

    if (len > 0) {
        buf[0] = '\0';
    }
    for (const char *p = remedy; *p != '\0';) {
        size_t word_len = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_");
        const char *key = word_len > 0 && is_meant(remedy, p, word_len) ? key_at(p, word_len)
                                                                        : NULL;

        if (key != NULL && directives != STLS_DIRECTIVES_KEYS) {
            char name[STLS_DIRECTIVE_LEN];
            stls_directive_name(directives, role, key, name, sizeof(name));
            put_text(buf, len, &used, name);
            p += word_len;
            continue;
        }
        for (size_t n = word_len > 0 ? word_len : 1; n > 0; n--) {
            put(buf, len, &used, *p++);
        }
    }
}
