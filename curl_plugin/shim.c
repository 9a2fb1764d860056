/*
 * libstrict_tls_preload.so: makes unchanged programs strict that are linked
 * with libcurl.so.4.
 *
 * It stands in for the functions of libcurl through which a transfer begins,
 * and makes each handle strict there.  Two more stand-ins see to it that it is
 * never silently inactive: a handshake that libcurl begins without having come
 * by here is refused.
 */
#include "shim.h"

#include <dlfcn.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define GNUTLS_E_INTERNAL_ERROR (-59)

/* The settled configuration; NULL, and said why, if no transfer may start. */
static const stls_shim_config *usable(void)
{
    static atomic_int has_said;
    const stls_shim_config *config = stls_shim_config_get0();

    if (config->refusal[0] == '\0') {
        return config;
    }
    if (!atomic_exchange(&has_said, 1)) {
        stls_shim_say(config->refusal);
    }
    return NULL;
}

/* 1: the transfer may start. */
static int make_strict(CURL *curl, const stls_shim_config *config)
{
    if (config->is_off) {
        return 1;
    }
    stls_curl_depth++;
    stls_curl_status status = stls_shim_enable(curl, config);
    stls_curl_depth--;
    if (status != STLS_CURL_OK) {
        stls_shim_say(stls_curl_status_text(status));
    }
    return status == STLS_CURL_OK;
}

/* ---- libcurl's names --------------------------------------------------------------------- */

STLS_CURL_API CURLcode curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
    const stls_shim_config *config = usable();
    va_list args;

    /* long, pointer and curl_off_t travel alike where all of them have 64 bits. */
    _Static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *),
                   "an option's value is as wide as a pointer");
    va_start(args, option);
    void *value = va_arg(args, void *);
    va_end(args);
    if (config == NULL) {
        return CURLE_FAILED_INIT;
    }
    if (curl == NULL || stls_curl_depth > 0 || config->is_off) {
        return config->real.easy_setopt(curl, option, value);
    }
    CURLcode code = CURLE_OK;
    if (stls_shim_note_option(curl, option, value, config->rejects)) {
        code = config->real.easy_setopt(curl, option, value);
    }
    stls_curl_depth++;
    stls_curl_status status = stls_shim_option_was_set(curl, option, config);
    stls_curl_depth--;
    return status == STLS_CURL_OK ? code : CURLE_OUT_OF_MEMORY;
}

STLS_CURL_API CURLcode curl_easy_perform(CURL *curl)
{
    const stls_shim_config *config = usable();

    if (config == NULL) {
        return CURLE_FAILED_INIT;
    }
    if (curl != NULL && stls_curl_depth == 0 && !make_strict(curl, config)) {
        return CURLE_FAILED_INIT;
    }
    CURLcode code = config->real.easy_perform(curl);
    if (curl != NULL && stls_curl_depth == 0 && code != CURLE_OK) {
        stls_curl_tell_late(curl);
    }
    return code;
}

/* Where a transfer of a multi handle ends for the program. */
STLS_CURL_API CURLMsg *curl_multi_info_read(CURLM *multi, int *num_left)
{
    const stls_shim_config *config = usable();
    CURLMsg *message = config != NULL ? config->real.multi_info_read(multi, num_left) : NULL;

    if (config == NULL && num_left != NULL) {
        *num_left = 0;
    }
    if (message != NULL && message->msg == CURLMSG_DONE && message->data.result != CURLE_OK) {
        stls_curl_tell_late(message->easy_handle);
    }
    return message;
}

STLS_CURL_API CURLMcode curl_multi_add_handle(CURLM *multi, CURL *curl)
{
    const stls_shim_config *config = usable();

    if (config == NULL) {
        return CURLM_INTERNAL_ERROR;
    }
    if (curl != NULL && stls_curl_depth == 0 && !make_strict(curl, config)) {
        return CURLM_INTERNAL_ERROR;
    }
    return config->real.multi_add_handle(multi, curl);
}

STLS_CURL_API CURL *curl_easy_duphandle(CURL *curl)
{
    const stls_shim_config *config = usable();
    CURL *copy = config != NULL ? config->real.easy_duphandle(curl) : NULL;

    if (copy != NULL && !config->is_off) {
        stls_shim_copy(curl, copy);
    }
    return copy;
}

STLS_CURL_API void curl_easy_reset(CURL *curl)
{
    const stls_shim_config *config = usable();

    if (config != NULL) {
        int was_strict = curl != NULL && stls_shim_forget(curl);
        config->real.easy_reset(curl);
        /* It may be in a multi handle, and its transfer still to come. */
        if (was_strict) {
            (void)make_strict(curl, config);
        }
    }
}

STLS_CURL_API void curl_easy_cleanup(CURL *curl)
{
    const stls_shim_config *config = usable();

    if (config == NULL) {
        return;
    }
    if (curl != NULL && stls_curl_depth == 0) {
        stls_curl_disable(curl);
        (void)stls_shim_forget(curl);
    }
    config->real.easy_cleanup(curl);
}

/* ---- never silently inactive ---------------------------------------------------------------- */

/* The object that this code lies in. */
static const char *name_of(const void *code, struct link_map **map)
{
    Dl_info info;

    *map = NULL;
    if (dladdr1(code, &info, (void **)map, RTLD_DL_LINKMAP) == 0 || info.dli_fname == NULL) {
        return "";
    }
    const char *slash = strrchr(info.dli_fname, '/');
    return slash != NULL ? slash + 1 : info.dli_fname;
}

static int is_libcurl(const char *name)
{
    return strncmp(name, "libcurl", 7) == 0 || strncmp(name, "librtmp", 7) == 0;
}

/*
 * The function that a caller would have reached without us.  A plugin may have
 * brought a TLS library of its own, which the loader looks at after those of
 * the program: what the plugin itself needs comes first then.
 */
static void *find_for(const struct link_map *caller, const char *name)
{
    void *found = NULL;

    if (caller != NULL && caller->l_name[0] != '\0') {
        void *object = dlopen(caller->l_name, RTLD_LAZY | RTLD_NOLOAD);
        if (object != NULL) {
            found = dlsym(object, name);
            (void)dlclose(object); /* the caller keeps it */
        }
    }
    return found != NULL ? found : dlsym(RTLD_NEXT, name);
}

/* Whichever object its code lies in, a program that it is linked into statically, say. */
static int is_of_libcurl(const struct link_map *caller, const SSL *ssl)
{
    BIO *(*get_rbio)(const SSL *) = (BIO * (*)(const SSL *)) find_for(caller, "SSL_get_rbio");
    const char *(*method_name)(const BIO *) = (const char *(*)(const BIO *))find_for(
        caller, "BIO_method_name");
    BIO *bio = get_rbio != NULL ? get_rbio(ssl) : NULL;
    const char *name = bio != NULL && method_name != NULL ? method_name(bio) : NULL;

    return name != NULL && strcmp(name, "OpenSSL CF BIO") == 0;
}

/* One of the libssl that we use ourselves, so that its connections can be looked into. */
static int is_judged(int (*real)(SSL *), const SSL *ssl)
{
    return real == (int (*)(SSL *))dlsym(RTLD_NEXT, "SSL_connect") && stls_curl_is_judged(ssl);
}

STLS_CURL_API int SSL_connect(SSL *ssl)
{
    struct link_map *caller = NULL;
    const char *name = name_of(__builtin_return_address(0), &caller);
    int (*real)(SSL *) = (int (*)(SSL *))find_for(caller, "SSL_connect");
    const stls_shim_config *config = stls_shim_config_get0();

    if (real == NULL) {
        return -1;
    }
    if (!config->is_off && !is_judged(real, ssl)
        && (is_libcurl(name) || is_of_libcurl(caller, ssl))) {
        stls_shim_say("this program reaches libcurl past libstrict_tls_preload.so: its TLS "
                      "connection is refused");
        ERR_raise(ERR_LIB_SSL, SSL_R_CERTIFICATE_VERIFY_FAILED);
        return -1;
    }
    return real(ssl);
}

/*
 * The same for a libcurl that does TLS with another library.  It is told once:
 * with some of them a program tries again.
 */
static int is_refused(const void *caller, const char *library)
{
    static atomic_int has_said;
    struct link_map *map = NULL;
    const char *name = name_of(caller, &map);
    char text[512];

    if (!is_libcurl(name) || stls_shim_config_get0()->is_off) {
        return 0;
    }
    if (!atomic_exchange(&has_said, 1)) {
        snprintf(text, sizeof(text),
                 "this program uses %.200s, which does TLS with %s: strict-tls "
                 "cannot judge that, its TLS connections are refused",
                 name, library);
        stls_shim_say(text);
    }
    return 1;
}

int gnutls_handshake(void *session);
int SSL_ForceHandshake(void *socket);
int SSL_ForceHandshakeWithTimeout(void *socket, uint32_t timeout);

STLS_CURL_API int gnutls_handshake(void *session)
{
    struct link_map *caller = NULL;
    (void)name_of(__builtin_return_address(0), &caller);
    int (*real)(void *) = (int (*)(void *))find_for(caller, "gnutls_handshake");

    if (real == NULL || is_refused(__builtin_return_address(0), "GnuTLS")) {
        return GNUTLS_E_INTERNAL_ERROR;
    }
    return real(session);
}

/* NSS. */
STLS_CURL_API int SSL_ForceHandshake(void *socket)
{
    struct link_map *caller = NULL;
    (void)name_of(__builtin_return_address(0), &caller);
    int (*real)(void *) = (int (*)(void *))find_for(caller, "SSL_ForceHandshake");

    if (real == NULL || is_refused(__builtin_return_address(0), "NSS")) {
        return -1;
    }
    return real(socket);
}

STLS_CURL_API int SSL_ForceHandshakeWithTimeout(void *socket, uint32_t timeout)
{
    struct link_map *caller = NULL;
    (void)name_of(__builtin_return_address(0), &caller);
    int (*real)(void *, uint32_t) = (int (*)(void *, uint32_t))find_for(
        caller, "SSL_ForceHandshakeWithTimeout");

    if (real == NULL || is_refused(__builtin_return_address(0), "NSS")) {
        return -1;
    }
    return real(socket, timeout);
}

/*
 * RTLD_DEEPBIND (php loads its extensions so) would lead a plugin past us to
 * libcurl: without it the plugin finds these functions first, as everybody.
 */
__attribute__((optimize("O2"))) /* a jump at the end: the loader looks at who has called it */
STLS_CURL_API void *
dlopen(const char *file, int flags)
{
    static void *(*_Atomic found)(const char *, int);
    void *(*real)(const char *, int) = found;

    if (real == NULL) {
        found = real = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    }
    return real(file, flags & ~RTLD_DEEPBIND);
}
