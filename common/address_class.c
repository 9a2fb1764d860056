/* Which addresses a certificate may make this host connect to. */
#include <string.h>

#include "policy.h"

static const char *ipv4_class(const unsigned char *a)
{
    if (a[0] == 0) {
        return "unspecified";
    }
    if (a[0] == 127) {
        return "loopback";
    }
    if (a[0] == 169 && a[1] == 254) {
        return "link-local";
    }
    if (a[0] >= 224) {
        return "multicast"; /* 224/4, reserved 240/4 and the broadcast address */
    }
    if (a[0] == 10 || (a[0] == 172 && (a[1] & 0xf0) == 16) || (a[0] == 192 && a[1] == 168)
        || (a[0] == 100 && (a[1] & 0xc0) == 64)) {
        return "private"; /* RFC 1918, RFC 6598 */
    }
    return NULL;
}

/* An IPv4 address inside an IPv6 one is what gets connected to in the end. */
static const unsigned char *embedded_ipv4(const unsigned char *a)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0};
    static const unsigned char nat64_local[6] = {0, 0x64, 0xff, 0x9b, 0, 1};
    static const unsigned char compatible[12] = {0};

    if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0 || memcmp(a, nat64_local, 6) == 0) {
        return a + 12;
    }
    if (a[0] == 0x20 && a[1] == 0x02) {
        return a + 2; /* 6to4, RFC 3056 */
    }
    if (memcmp(a, compatible, 12) == 0 && (a[12] | a[13]) != 0) {
        return a + 12;
    }
    return NULL;
}

static const char *ipv6_class(const unsigned char *a)
{
    static const unsigned char zero[15] = {0};

    if (memcmp(a, zero, 15) == 0 && a[15] <= 1) {
        return a[15] == 1 ? "loopback" : "unspecified";
    }
    const unsigned char *ipv4 = embedded_ipv4(a);
    if (ipv4 != NULL) {
        return ipv4_class(ipv4);
    }
    if (a[0] == 0xff) {
        return "multicast";
    }
    if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80) {
        return "link-local";
    }
    if ((a[0] & 0xfe) == 0xfc || (a[0] == 0xfe && (a[1] & 0xc0) == 0xc0)) {
        return "private"; /* RFC 4193 and the deprecated site-local */
    }
    return NULL;
}

const char *stls_policy_denies_address(const stls_policy *policy, const unsigned char *addr,
                                       size_t addr_len)
{
    const uint8_t *words = policy->list[STLS_KEY_FETCH_DENY];
    size_t num_words = policy->list_len[STLS_KEY_FETCH_DENY];
    const char *class;

    if (addr_len == 4) {
        class = ipv4_class(addr);
    } else if (addr_len == 16) {
        class = ipv6_class(addr);
    } else {
        return "unknown address family";
    }
    if (class == NULL || (num_words == 1 && words[0] == STLS_DENY_NONE)) {
        return NULL;
    }
    if (strcmp(class, "unspecified") == 0 || strcmp(class, "multicast") == 0) {
        return class;
    }
    static const char *const names[] = {"loopback", "link-local", "private"};
    for (size_t i = 0; i < num_words; i++) {
        if (strcmp(names[words[i]], class) == 0) {
            return class;
        }
    }
    return NULL;
}
