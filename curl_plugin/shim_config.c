/* Settled once per process: the real libcurl, the policy, where reports go. */
#include "shim.h"
#include "cache.h"
#include "crl_reader.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static stls_shim_config config;

void stls_shim_say(const char *text)
{
    char line[5000];
    int len = snprintf(line, sizeof(line), "strict-tls: %s\n", text);

    if (len > 0) {
        size_t left = (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1;
        (void)!write(STDERR_FILENO, line, left);
    }
}

__attribute__((format(printf, 1, 2))) static void refuse(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(config.refusal, sizeof(config.refusal), format, args);
    va_end(args);
}

/* The report's file, wherever the program has got to since, and whatever it has closed. */
static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;
static char *report_path;
static struct stat report_info;
static int report_fd = -1;

static int open_report(void)
{
    report_fd = stls_curl_above_stderr(
        open(report_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600));
    return report_fd >= 0 && fstat(report_fd, &report_info) == 0;
}

static int is_report(int fd)
{
    struct stat now;

    return fd >= 0 && fstat(fd, &now) == 0 && now.st_dev == report_info.st_dev
           && now.st_ino == report_info.st_ino;
}

static ssize_t write_report(const char *line, size_t len)
{
    ssize_t put = -1;

    pthread_mutex_lock(&report_lock);
    if (is_report(report_fd) || open_report()) {
        /* One write: the lines of many processes do not mix. */
        put = stls_curl_write(report_fd, line, len);
    }
    int why = errno;
    pthread_mutex_unlock(&report_lock);
    errno = why;
    return put;
}

static void on_result(CURL *curl, stls_result *result)
{
    size_t len;
    const char *report = stls_result_get0_report(result, &len);
    char *line = report_path != NULL ? malloc(len + 1) : NULL;

    (void)curl;
    if (line == NULL) {
        return;
    }
    memcpy(line, report, len);
    line[len] = '\n';
    ssize_t put = write_report(line, len + 1);
    if (put != (ssize_t)len + 1) {
        char text[256];
        snprintf(text, sizeof(text), "the report could not be written: %s",
                 put < 0 ? strerror(errno) : "no space left");
        stls_shim_say(text);
    }
    free(line);
}

/* ---- settling ------------------------------------------------------------------------ */

static int find(void **function, const char *name)
{
    *function = dlvsym(RTLD_NEXT, name, "CURL_OPENSSL_4");
    if (*function == NULL) {
        *function = dlsym(RTLD_NEXT, name); /* a libcurl whose names have no versions */
    }
    return *function != NULL;
}

static int find_libcurl(void)
{
    const curl_version_info_data *(*version_info)(CURLversion) = NULL;
    stls_shim_real *real = &config.real;

    if (!find((void **)&real->easy_setopt, "curl_easy_setopt")
        || !find((void **)&real->easy_perform, "curl_easy_perform")
        || !find((void **)&real->easy_cleanup, "curl_easy_cleanup")
        || !find((void **)&real->easy_reset, "curl_easy_reset")
        || !find((void **)&real->easy_duphandle, "curl_easy_duphandle")
        || !find((void **)&real->multi_add_handle, "curl_multi_add_handle")
        || !find((void **)&real->multi_info_read, "curl_multi_info_read")
        || !find((void **)&version_info, "curl_version_info")) {
        refuse("this program's libcurl cannot be found: no transfer is started");
        return 0;
    }
    const curl_version_info_data *info = version_info(CURLVERSION_NOW);
    if (info->ssl_version == NULL || strstr(info->ssl_version, "OpenSSL/3.") == NULL) {
        refuse("this libcurl does TLS with %s, which strict-tls cannot judge: no transfer is "
               "started",
               info->ssl_version != NULL ? info->ssl_version : "nothing");
        return 0;
    }
    Dl_info where;
    struct link_map *libcurl = NULL;
    if (dladdr1((void *)real->easy_perform, &where, (void **)&libcurl, RTLD_DL_LINKMAP) == 0
        || libcurl == NULL || !stls_shim_needs(libcurl, "libssl.so.3")) {
        refuse("this program's libcurl has an OpenSSL of its own inside, which strict-tls cannot "
               "judge: no transfer is started");
        return 0;
    }
    return 1;
}

static int read_policy(void)
{
    const char *text = getenv("STRICT_TLS_POLICY");
    stls_error err = {"out of memory"};

    config.policy = stls_policy_new(NULL);
    if (config.policy == NULL
        || stls_policy_set_text(config.policy, text != NULL ? text : "", &err) != STLS_OK
        || stls_policy_freeze(config.policy, &err) != STLS_OK) {
        refuse("STRICT_TLS_POLICY: %s: no transfer is started", err.text);
        return 0;
    }
    stls_crl_file_free(stls_curl_crl_file_get1(config.policy, &err));
    if (err.text[0] != '\0') {
        refuse("STRICT_TLS_POLICY: %s: no transfer is started", err.text);
        return 0;
    }
    config.rejects = stls_policy_get_int(config.policy, STLS_KEY_MODE) == 0;
    config.is_off = stls_policy_get_int(config.policy, STLS_KEY_MODE) == 2;
    return 1;
}

/* Absolute: the program may change its folder. */
static char *absolute(const char *path)
{
    char folder[4096], *whole = NULL;

    if (path[0] == '/' || getcwd(folder, sizeof(folder)) == NULL) {
        return strdup(path);
    }
    size_t len = strlen(folder) + strlen(path) + 2;
    whole = malloc(len);
    if (whole != NULL) {
        snprintf(whole, len, "%s/%s", folder, path);
    }
    return whole;
}

static void find_report(void)
{
    const char *path = getenv("STRICT_TLS_REPORT");

    if (path == NULL || path[0] == '\0') {
        return;
    }
    report_path = absolute(path);
    if (report_path == NULL || !open_report()) {
        refuse("STRICT_TLS_REPORT: '%.600s' cannot be written: %s: no transfer is started", path,
               strerror(errno));
    }
}

static void before_fork(void)
{
    stls_shim_handle_lock(1);
    pthread_mutex_lock(&report_lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&report_lock);
    stls_shim_handle_lock(0);
}

static void settle(void)
{
    stls_curl_survive_forks();
    (void)pthread_atfork(before_fork, after_fork, after_fork);
    stls_curl_knows_duplicates = 1;
    stls_curl_on_result = on_result;
    stls_curl_on_warning = stls_shim_say;
    if (find_libcurl() && read_policy()) {
        find_report();
    }
}

const stls_shim_config *stls_shim_config_get0(void)
{
    (void)pthread_once(&once, settle);
    return &config;
}
