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
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define GNUTLS_E_INTERNAL_ERROR (-59)

/* What strict-curl waits for. */
static const char alive[] = "strict-tls " STLS_VERSION "\n";

/* strict-curl asks before it starts the program in earnest: nothing else is to happen then. */
__attribute__((constructor)) static void answer_probe(void)
{
    const char *fd = getenv("STRICT_TLS_PROBE_FD");

    if (fd != NULL) {
        ssize_t put = write(atoi(fd), alive, sizeof(alive) - 1);
        _exit(put == (ssize_t)sizeof(alive) - 1 ? 0 : 1);
    }
}

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

static int is_libcurl(const void *caller)
{
    Dl_info info;

    if (dladdr(caller, &info) == 0 || info.dli_fname == NULL) {
        return 0;
    }
    const char *slash = strrchr(info.dli_fname, '/');
    const char *name = slash != NULL ? slash + 1 : info.dli_fname;
    return strncmp(name, "libcurl", 7) == 0 || strncmp(name, "librtmp", 7) == 0;
}

/* Whichever object its code lies in, a program that it is linked into statically, say. */
static int is_of_libcurl(const SSL *ssl)
{
    const BIO *bio = SSL_get_rbio(ssl);
    const char *name = bio != NULL ? BIO_method_name(bio) : NULL;

    return name != NULL && strcmp(name, "OpenSSL CF BIO") == 0;
}

STLS_CURL_API int SSL_connect(SSL *ssl)
{
    int (*real)(SSL *) = (int (*)(SSL *))dlsym(RTLD_NEXT, "SSL_connect");
    const stls_shim_config *config = stls_shim_config_get0();

    if (real == NULL
        || ((is_libcurl(__builtin_return_address(0)) || is_of_libcurl(ssl)) && !config->is_off
            && !stls_curl_is_judged(ssl))) {
        stls_shim_say("this program reaches libcurl past libstrict_tls_preload.so: its TLS "
                      "connection is refused");
        ERR_raise(ERR_LIB_SSL, SSL_R_CERTIFICATE_VERIFY_FAILED);
        return -1;
    }
    return real(ssl);
}

/* The same for a libcurl that does TLS with GnuTLS, or librtmp below it. */
int gnutls_handshake(void *session);

STLS_CURL_API int gnutls_handshake(void *session)
{
    int (*real)(void *) = (int (*)(void *))dlsym(RTLD_NEXT, "gnutls_handshake");

    if (real == NULL || is_libcurl(__builtin_return_address(0))) {
        stls_shim_say("this program's libcurl does TLS with GnuTLS, which strict-tls cannot "
                      "judge: its TLS connection is refused");
        return GNUTLS_E_INTERNAL_ERROR;
    }
    return real(session);
}

/*
 * RTLD_DEEPBIND (php loads its extensions so) would lead a plugin past us to
 * libcurl: without it the plugin finds these functions first, as everybody.
 */
STLS_CURL_API void *dlopen(const char *file, int flags)
{
    static void *(*_Atomic found)(const char *, int);
    void *(*real)(const char *, int) = found;

    if (real == NULL) {
        found = real = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    }
    return real(file, flags & ~RTLD_DEEPBIND);
}
