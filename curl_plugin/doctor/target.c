/* What to connect to: HOST[:PORT] and the options about it, as libcurl wants them. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <curl/curl.h>

#include "doctor.h"

static const struct {
    const char *word;
    unsigned port;
} protocols[] = {{"smtp", 25}, {"imap", 143}, {"pop3", 110}, {"ldap", 389}, {"ftp", 21}};

static __attribute__((format(printf, 2, 3))) int refuse(stls_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    doctor_plain(err->text);
    return 0;
}

/* One part of a URL into `out`; 0 where it is missing or too long. */
static int get_part(CURLU *url, CURLUPart part, char *out, size_t out_len, unsigned flags)
{
    char *text = NULL;
    int ok = curl_url_get(url, part, &text, flags) == CURLUE_OK && strlen(text) < out_len;
    if (ok) {
        strcpy(out, text);
    }
    curl_free(text);
    return ok;
}

/* 1 where the name can be looked up and compared: labels of bytes that DNS names have, or an
 * address. Empty labels and labels of 64 bytes and more never resolve. */
static int is_name(const char *host)
{
    unsigned char address[16];
    size_t len = strlen(host);

    if (host[0] == '[') {
        char inside[64];
        snprintf(inside, sizeof(inside), "%.*s", (int)(len - 2), host + 1);
        inside[strcspn(inside, "%")] = '\0'; /* a zone */
        return host[len - 1] == ']' && inet_pton(AF_INET6, inside, address) == 1;
    }
    if (len == 0 || len > 254) {
        return 0;
    }
    while (*host != '\0') {
        size_t label = strcspn(host, ".");
        if (label == 0 || label > 63
            || strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
                   < label) {
            return 0;
        }
        host += label;
        host += *host == '.';
    }
    return 1;
}

/* "HOST[:PORT]", or an https URL, whose path is ignored. */
static int split(const char *text, char host[256], unsigned *port, stls_error *err)
{
    char written[800], digits[8] = "";
    int is_url = strncmp(text, "https://", 8) == 0;
    size_t len = strlen(text);
    CURLU *url = curl_url();
    CURLUcode why = CURLUE_OUT_OF_MEMORY;
    int ok = 0;

    if (url == NULL) {
        return refuse(err, "out of memory");
    }
    if (len == 0 || len > 600 || (!is_url && strpbrk(text, "/?#@\\") != NULL)) {
        why = CURLUE_MALFORMED_INPUT;
    } else {
        snprintf(written, sizeof(written), "%s%s", is_url ? "" : "https://", text);
        why = curl_url_set(url, CURLUPART_URL, written, CURLU_DISALLOW_USER);
    }
    if (why == CURLUE_OK && !get_part(url, CURLUPART_HOST, host, 256, CURLU_PUNYCODE)) {
        why = CURLUE_BAD_HOSTNAME;
    }
    if (why != CURLUE_OK || !is_name(host)) {
        refuse(err, "'%.200s' is not HOST or HOST:PORT", text);
    } else {
        ok = 1;
        if (get_part(url, CURLUPART_PORT, digits, sizeof(digits), 0)) {
            *port = (unsigned)strtoul(digits, NULL, 10);
            ok = *port > 0 && *port <= 65535;
            if (!ok) {
                refuse(err, "'%.200s' has no port from 1 to 65535", text);
            }
        }
    }
    curl_url_cleanup(url);
    return ok;
}

static int set_starttls(doctor_target *target, const doctor_options *options, stls_error *err)
{
    target->port = 443;
    if (options->starttls == NULL) {
        return 1;
    }
    for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
        if (strcmp(protocols[i].word, options->starttls) == 0) {
            target->starttls = protocols[i].word;
            target->port = protocols[i].port;
            return 1;
        }
    }
    return refuse(err, "--starttls takes smtp, imap, pop3, ldap or ftp, not '%.100s'",
                  options->starttls);
}

/* Without the brackets of an IPv6 address. */
static void bare(char *out, size_t out_len, const char *host)
{
    size_t len = strlen(host);
    if (host[0] == '[') {
        snprintf(out, out_len, "%.*s", (int)(len - 2), host + 1);
    } else {
        snprintf(out, out_len, "%s", host);
    }
}

/* A name without a port; an IPv6 address may come without its brackets. */
static int split_name(char name[256], const char *text, stls_error *err)
{
    char written[700];
    unsigned port = 0;
    int is_bare = strchr(text, ':') != NULL && text[0] != '[';

    snprintf(written, sizeof(written), is_bare ? "[%.600s]" : "%.600s", text);
    if (strlen(text) > 600 || !split(written, name, &port, err) || port != 0) {
        return refuse(err, "'%.200s' is not a host name", text);
    }
    return 1;
}

int doctor_target_name(char name[256], const char *text, stls_error *err)
{
    char bracketed[256];
    if (!split_name(bracketed, text, err)) {
        return 0;
    }
    bare(name, 256, bracketed);
    return 1;
}

int doctor_target_parse(doctor_target *target, const doctor_options *options, const char *text,
                        const char *wanted_name, stls_error *err)
{
    char host[256], name[256], dial[256];

    memset(target, 0, sizeof(*target));
    snprintf(target->label, sizeof(target->label), "%.250s", text);
    doctor_plain(target->label);
    if (!set_starttls(target, options, err) || !split(text, host, &target->port, err)) {
        return 0;
    }
    strcpy(name, host);
    strcpy(dial, host);
    unsigned dial_port = target->port;
    if (wanted_name == NULL) {
        wanted_name = options->name;
    }
    if (wanted_name != NULL && !split_name(name, wanted_name, err)) {
        return 0;
    }
    if (options->connect_to != NULL) {
        if (!split(options->connect_to, dial, &dial_port, err)) {
            return refuse(err, "--connect-to '%.200s' is not ADDR or ADDR:PORT",
                          options->connect_to);
        }
    }
    bare(target->name, sizeof(target->name), name);
    bare(target->host, sizeof(target->host), dial);
    snprintf(target->url, sizeof(target->url), "%s://%s:%u/",
             target->starttls == NULL                ? "https"
             : strcmp(target->starttls, "ldap") == 0 ? "http" /* see ldap.c */
                                                     : target->starttls,
             name, target->port);
    if (strcmp(name, dial) != 0 || dial_port != target->port) {
        snprintf(target->connect, sizeof(target->connect), "::%s:%u", dial, dial_port);
    }
    target->port = dial_port;
    return 1;
}

/* ' OPTION 'VALUE'', quoted where a shell might take it for more than a word. */
static void add_word(char *words, size_t len, const char *option, const char *value)
{
    size_t used = strlen(words);
    int is_plain = value[0] != '\0'
                   && value[strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789-_.,:/+=")]
                          == '\0';
    used += (size_t)snprintf(words + used, len - used, "%s%s%s", used > 0 ? " " : "", option,
                             is_plain ? value : "'");
    for (; !is_plain && *value != '\0' && used < len; value++) {
        used += (size_t)snprintf(words + used, len - used, *value == '\'' ? "'\\''" : "%c", *value);
    }
    if (!is_plain && used < len) {
        snprintf(words + used, len - used, "'");
    }
}

void doctor_target_words(char *words, size_t len, const doctor_options *options, const char *label,
                         const char *wanted_name)
{
    const struct {
        const char *option, *value;
    } all[] = {{"--name ", wanted_name != NULL ? wanted_name : options->name},
               {"--connect-to ", options->connect_to},
               {"--starttls ", options->starttls},
               {"--cafile ", options->cafile},
               {"--tls ", options->tls},
               {"--preset ", options->preset},
               {"--policy ", options->policy}};

    words[0] = '\0';
    add_word(words, len, "", label);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].value != NULL) {
            add_word(words, len, all[i].option, all[i].value);
        }
    }
    doctor_plain(words);
}
