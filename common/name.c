#include "name.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "x509_text.h"

static int is_ip(const char *name)
{
    ERR_set_mark();
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(name);
    int found = ip != NULL;
    ASN1_OCTET_STRING_free(ip);
    ERR_pop_to_mark();
    return found;
}

stls_name_type stls_name_normalize(const char *name, size_t name_len,
                                   char out[STLS_MAX_NAME_LEN + 1])
{
    out[0] = '\0';
    if (name == NULL) {
        return STLS_NAME_NONE;
    }
    int has_brackets = name_len >= 2 && name[0] == '[' && name[name_len - 1] == ']';
    if (has_brackets) {
        name++;
        name_len -= 2;
    }
    if (name_len == 0 || name_len > STLS_MAX_NAME_LEN) {
        return STLS_NAME_BAD;
    }
    for (size_t i = 0; i < name_len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= 0x20 || c >= 0x7f) {
            out[0] = '\0';
            return STLS_NAME_BAD;
        }
        out[i] = (char)tolower(c);
    }
    out[name_len] = '\0';
    if (is_ip(out)) {
        return has_brackets && strchr(out, ':') == NULL ? STLS_NAME_BAD : STLS_NAME_IP;
    }
    if (name_len > 1 && out[name_len - 1] == '.' && out[name_len - 2] != '.') {
        out[--name_len] = '\0';
    }
    if (has_brackets || is_ip(out)) {
        return STLS_NAME_BAD; /* an address with a dot behind it is none, and no DNS name either */
    }
    for (size_t i = 0; i < name_len; i++) {
        int is_empty_label = out[i] == '.' && (i == 0 || out[i - 1] == '.');
        if (is_empty_label || (!isalnum((unsigned char)out[i]) && strchr("-._", out[i]) == NULL)) {
            return STLS_NAME_BAD;
        }
    }
    return name_len > 0 ? STLS_NAME_DNS : STLS_NAME_BAD;
}

int stls_name_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
    char one[STLS_MAX_NAME_LEN + 1], other[STLS_MAX_NAME_LEN + 1];

    if (a_len == 0 || b_len == 0) {
        return a_len == b_len;
    }
    if (a_len == b_len && memcmp(a, b, a_len) == 0) {
        return 1; /* nearly always, and then without a copy */
    }
    stls_name_type type = stls_name_normalize(a, a_len, one);
    return type != STLS_NAME_BAD && type == stls_name_normalize(b, b_len, other)
           && strcmp(one, other) == 0;
}

typedef struct {
    int num_identities;              /* DNS names and addresses */
    int has_malformed;               /* the extension or one of its names */
    char listed[STLS_NAME_LIST_LEN]; /* for the detail: what the certificate is for */
} san_facts;

static void list_name(san_facts *facts, const char *text)
{
    size_t used = strlen(facts->listed);
    if (used + strlen(text) + 8 < sizeof(facts->listed)) {
        snprintf(facts->listed + used, sizeof(facts->listed) - used, "%s%s", used ? ", " : "",
                 text);
    } else if (used > 0 && facts->listed[used - 1] != '.') {
        strcat(facts->listed, "...");
    }
}

static void look_at_dns(san_facts *facts, const ASN1_IA5STRING *name)
{
    char text[STLS_MAX_NAME_LEN + 1];
    const unsigned char *data = ASN1_STRING_get0_data(name);
    int len = ASN1_STRING_length(name);

    facts->num_identities++;
    for (int i = 0; i < len; i++) {
        if (data[i] <= 0x20 || data[i] >= 0x7f) {
            facts->has_malformed = 1;
            return;
        }
    }
    if (len <= 0 || len > STLS_MAX_NAME_LEN) {
        facts->has_malformed = 1;
        return;
    }
    memcpy(text, data, (size_t)len);
    text[len] = '\0';
    list_name(facts, text);
}

static void look_at_ip(san_facts *facts, const ASN1_OCTET_STRING *ip)
{
    char text[48] = "";
    const unsigned char *a = ASN1_STRING_get0_data(ip);
    int len = ASN1_STRING_length(ip);

    facts->num_identities++;
    if (len == 4) {
        snprintf(text, sizeof(text), "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
    } else if (len == 16) {
        for (int i = 0, used = 0; i < 16; i += 2) {
            used += snprintf(text + used, sizeof(text) - (size_t)used, "%s%x", i ? ":" : "",
                             a[i] << 8 | a[i + 1]);
        }
    } else {
        facts->has_malformed = 1;
        return;
    }
    list_name(facts, text);
}

static void read_san(const X509 *leaf, san_facts *facts)
{
    int critical = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);

    memset(facts, 0, sizeof(*facts));
    if (names == NULL) {
        facts->has_malformed = critical != -1; /* there is one and it does not decode, or two */
        return;
    }
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS) {
            look_at_dns(facts, name->d.dNSName);
        } else if (name->type == GEN_IPADD) {
            look_at_ip(facts, name->d.iPAddress);
        }
    }
    GENERAL_NAMES_free(names);
}

/* RFC 9525 section 6.3: the wildcard is the whole left-most label and stands for one label. */
static int matches_dns(X509 *leaf, const char *name, int use_cn)
{
    unsigned int flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
                         | (use_cn ? X509_CHECK_FLAG_ALWAYS_CHECK_SUBJECT
                                   : X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (X509_check_host(leaf, name, strlen(name), flags, NULL) == 1) {
        return 1;
    }
    /* OpenSSL lets no wildcard stand for, or before, a label with an underscore; browsers and curl
     * do.  It lets a wildcard match the same wildcard, literally. */
    const char *rest = strchr(name, '.');
    char wildcard[STLS_MAX_NAME_LEN + 2] = "*";
    if (strchr(name, '_') == NULL || rest == NULL || strchr(rest + 1, '.') == NULL
        || strlen(rest) > STLS_MAX_NAME_LEN) {
        return 0;
    }
    strcpy(wildcard + 1, rest);
    return X509_check_host(leaf, wildcard, strlen(wildcard), flags, NULL) == 1;
}

int stls_name_covers(const stls_policy *policy, X509 *leaf, stls_name_type type, const char *name)
{
    san_facts facts;
    int is_match = 0;

    ERR_set_mark();
    if (type == STLS_NAME_IP) {
        is_match = X509_check_ip_asc(leaf, name, 0) == 1;
    } else if (type == STLS_NAME_DNS) {
        /* The match first: for thousands of names it is much cheaper than listing them. */
        is_match = matches_dns(leaf, name, 0);
    }
    /* RFC 9525 section 2: the common name is no identity; RFC 6125 allowed it without a SAN. */
    if (!is_match && policy->num[STLS_KEY_NAME_CN_FALLBACK] == STLS_ON && type == STLS_NAME_DNS) {
        read_san(leaf, &facts);
        is_match = facts.num_identities == 0 && !facts.has_malformed && matches_dns(leaf, name, 1);
    }
    ERR_pop_to_mark();
    return is_match;
}

void stls_name_list(const X509 *leaf, char text[STLS_NAME_LIST_LEN])
{
    san_facts facts;

    ERR_set_mark();
    read_san(leaf, &facts);
    ERR_pop_to_mark();
    memcpy(text, facts.listed, STLS_NAME_LIST_LEN);
}

void stls_name_explain(X509 *leaf, stls_name_type type, const char *name, stls_findings *findings)
{
    san_facts facts;

    if (type != STLS_NAME_DNS && type != STLS_NAME_IP) {
        stls_findings_add(findings, STLS_REASON_NAME_MALFORMED, 1, STLS_NO_CERT, NULL,
                          "give the wanted name as an ASCII host name (A-labels) or an IP address",
                          type == STLS_NAME_NONE
                              ? "no name was given to compare"
                              : "the wanted name is no host name and no address");
        return;
    }
    ERR_set_mark();
    read_san(leaf, &facts);
    ERR_pop_to_mark();
    if (facts.has_malformed) {
        stls_findings_add(findings, STLS_REASON_NAME_MALFORMED, 1, 0, leaf, NULL,
                          "wanted '%s'; a subject alternative name is malformed", name);
    } else if (facts.num_identities == 0) {
        stls_findings_add(findings, STLS_REASON_NAME_NO_IDENTITY, 1, 0, leaf, NULL,
                          "wanted '%s'; the certificate has no DNS or IP subject alternative name",
                          name);
    } else {
        stls_findings_add(findings, STLS_REASON_NAME_MISMATCH, 1, 0, leaf, NULL,
                          "wanted '%s'; the certificate is for %s", name, facts.listed);
    }
}
