#define _GNU_SOURCE /* F_OFD_SETLK, secure_getenv */
#include "cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "plugin.h"

#define MAGIC "stls-der"
#define HEADER_LEN 16 /* MAGIC, then the last second of use, big-endian */
#define NAME_LEN (2 * STLS_ID_LEN)
#define LOCK_NAME "lock"
#define MAX_ENTRY_BYTES (64u << 20) /* as much as max_crl_bytes allows by default */
#define MAX_TOTAL_BYTES ((off_t)256 << 20)
#define MAX_ENTRIES 4096
#define ABANDONED_S 3600 /* a temporary file this old belongs to nobody */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int is_decided; /* opened, or known to be of no use */
static int folder_fd = -1;
static struct stat folder_info; /* of folder_fd, to know it again */
static char folder_name[4096];
static atomic_int has_warned;

void stls_curl_cache_lock(int is_locked)
{
    (void)(is_locked ? pthread_mutex_lock(&lock) : pthread_mutex_unlock(&lock));
}

/* Once per process is enough: the transfer works without. */
static void warn(const char *format, ...)
{
    char text[4600];
    va_list args;

    if (stls_curl_on_warning == NULL || atomic_exchange(&has_warned, 1)) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    stls_curl_on_warning(text);
}

/* ---- the folder ---------------------------------------------------------------------- */

static stls_status refuse(stls_error *err, const char *what, const char *why)
{
    if (err != NULL) {
        snprintf(err->text, sizeof(err->text), "cache folder '%.300s' %s: %s", folder_name, what,
                 why);
    }
    return STLS_ERR_ARGUMENT;
}

/* "" if there is no home to put it into; a setuid program is told of none by its caller. */
static void default_name(void)
{
    const char *base = secure_getenv("XDG_CACHE_HOME");
    const char *home = secure_getenv("HOME");

    folder_name[0] = '\0';
    if (base != NULL && base[0] == '/') {
        snprintf(folder_name, sizeof(folder_name), "%s/strict-tls", base);
    } else if (home != NULL && home[0] == '/') {
        snprintf(folder_name, sizeof(folder_name), "%s/.cache/strict-tls", home);
    }
}

/* Makes it and what lies above it; whether that worked is seen when it is opened. */
static int make_folder(void)
{
    for (char *slash = folder_name + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(folder_name, 0700);
        *slash = '/';
    }
    return mkdir(folder_name, 0700) == 0 || errno == EEXIST ? 0 : errno;
}

int stls_curl_above_stderr(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO) {
        return fd;
    }
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
    return higher;
}

static stls_status open_folder(stls_error *err)
{
    struct stat info;
    int made = make_folder();
    int fd = stls_curl_above_stderr(
        open(folder_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));

    if (fd < 0) {
        return refuse(err, "cannot be opened", strerror(made != 0 ? made : errno));
    }
    if (fstat(fd, &info) != 0 || info.st_uid != geteuid()) {
        close(fd);
        return refuse(err, "is not used", "it belongs to another user");
    }
    if ((info.st_mode & 0777) != 0700 && fchmod(fd, 0700) != 0) {
        int why = errno;
        close(fd);
        return refuse(err, "cannot be closed to other users", strerror(why));
    }
    folder_fd = fd;
    folder_info = info;
    return STLS_OK;
}

/* A program may have closed all descriptors, and opened files of its own under their numbers. */
static int is_ours(void)
{
    struct stat now;

    return folder_fd >= 0 && fstat(folder_fd, &now) == 0 && now.st_dev == folder_info.st_dev
           && now.st_ino == folder_info.st_ino;
}

static stls_status decide(const char *folder, stls_error *err)
{
    if (is_ours()) {
        close(folder_fd);
    }
    folder_fd = -1;
    is_decided = 1;
    if (folder == NULL) {
        default_name();
    } else if (strlen(folder) >= sizeof(folder_name)) {
        folder_name[0] = '\0';
        return refuse(err, "cannot be used", "the name is too long");
    } else {
        snprintf(folder_name, sizeof(folder_name), "%s", folder);
    }
    return folder_name[0] == '\0' ? STLS_OK : open_folder(err);
}

stls_status stls_curl_cache_open(const char *folder, stls_error *err)
{
    pthread_mutex_lock(&lock);
    stls_status status = decide(folder, err);
    pthread_mutex_unlock(&lock);
    return status;
}

STLS_CURL_API stls_curl_status stls_curl_set_cache(const char *folder, stls_error *err)
{
    return stls_curl_cache_open(folder, err) == STLS_OK ? STLS_CURL_OK : STLS_CURL_ERR_ARGUMENT;
}

/* -1: there is none. */
static int get_folder(void)
{
    stls_error err;

    pthread_mutex_lock(&lock);
    if (!is_decided && decide(NULL, &err) != STLS_OK) {
        warn("%s; answers of responders are not kept", err.text);
    } else if (folder_fd >= 0 && !is_ours()) {
        folder_fd = -1;
        if (open_folder(&err) != STLS_OK) {
            warn("%s; answers of responders are not kept", err.text);
        }
    }
    int fd = folder_fd;
    pthread_mutex_unlock(&lock);
    return fd;
}

/* ---- entries ------------------------------------------------------------------------------ */

static void entry_name(const unsigned char question[STLS_ID_LEN], char name[NAME_LEN + 1])
{
    for (int i = 0; i < STLS_ID_LEN; i++) {
        snprintf(name + 2 * i, 3, "%02x", question[i]);
    }
}

static int read_all(int fd, unsigned char *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t got = read(fd, bytes + done, len - done);
        if (got > 0) {
            done += (size_t)got;
        } else if (got == 0 || errno != EINTR) {
            return 0;
        }
    }
    return 1;
}

/* 0, or errno. */
static int write_all(int fd, const unsigned char *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t put = stls_curl_write(fd, bytes + done, len - done);
        if (put > 0) {
            done += (size_t)put;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

ssize_t stls_curl_write(int fd, const void *bytes, size_t len)
{
    sigset_t too_large, old;
    const struct timespec at_once = {0, 0};

    sigemptyset(&too_large);
    sigaddset(&too_large, SIGXFSZ);
    int is_blocked = pthread_sigmask(SIG_BLOCK, &too_large, &old) == 0;
    ssize_t put = write(fd, bytes, len);
    int why = errno;
    if (put < 0 && why == EFBIG && is_blocked && !sigismember(&old, SIGXFSZ)) {
        while (sigtimedwait(&too_large, NULL, &at_once) < 0 && errno == EINTR) {
        }
    }
    if (is_blocked) {
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    errno = why;
    return put;
}

static int64_t use_until_of(const unsigned char header[HEADER_LEN])
{
    uint64_t value = 0;

    for (int i = 8; i < HEADER_LEN; i++) {
        value = value << 8 | header[i];
    }
    return (int64_t)value;
}

int stls_curl_cache_get(const unsigned char question[STLS_ID_LEN], unsigned char **bytes,
                        size_t *len)
{
    char name[NAME_LEN + 1];
    unsigned char header[HEADER_LEN];
    struct stat info;
    int folder = get_folder();
    int found = 0;

    if (folder < 0) {
        return 0;
    }
    entry_name(question, name);
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT) {
            warn("cached answer '%s/%s' cannot be read: %s", folder_name, name, strerror(errno));
        }
        return 0;
    }
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid()
        && info.st_size > HEADER_LEN && info.st_size <= (off_t)MAX_ENTRY_BYTES + HEADER_LEN
        && read_all(fd, header, HEADER_LEN) && memcmp(header, MAGIC, 8) == 0
        && use_until_of(header) >= (int64_t)time(NULL)) {
        *len = (size_t)info.st_size - HEADER_LEN;
        *bytes = malloc(*len);
        found = *bytes != NULL && read_all(fd, *bytes, *len);
        if (!found) {
            free(*bytes);
        }
    }
    close(fd);
    return found;
}

void stls_curl_cache_release(unsigned char *bytes)
{
    free(bytes);
}

/* ---- who asks ----------------------------------------------------------------------------- */

/* One file, one byte of it per flight: nothing is ever written to it, or left behind. */
int stls_curl_flight_begin(const unsigned char flight[STLS_ID_LEN])
{
    struct flock byte = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    int folder = get_folder();
    int fd = folder < 0 ? -1
                        : openat(folder, LOCK_NAME,
                                 O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

    if (fd < 0) {
        return STLS_CURL_FLIGHT_NONE;
    }
    for (int i = 0; i < 7; i++) {
        byte.l_start = byte.l_start << 8 | flight[i];
    }
    /* Of the open file, not of the process: threads keep each other out, too. */
    if (fcntl(fd, F_OFD_SETLK, &byte) == 0) {
        return fd;
    }
    int is_taken = errno == EAGAIN || errno == EACCES;
    close(fd);
    return is_taken ? STLS_CURL_FLIGHT_TAKEN : STLS_CURL_FLIGHT_NONE;
}

void stls_curl_flight_end(int fd)
{
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

    if (fd >= 0) {
        /* A child that was forked meanwhile has the file open as well. */
        (void)fcntl(fd, F_OFD_SETLK, &all);
        close(fd);
    }
}

/* ---- writing, and keeping it bounded --------------------------------------------------------- */

typedef struct {
    char name[NAME_LEN + 1];
    time_t used_s;
    off_t len;
} entry;

static int older_first(const void *a, const void *b)
{
    time_t x = ((const entry *)a)->used_s, y = ((const entry *)b)->used_s;

    return (x > y) - (x < y);
}

/* Removes the oldest entries until there is room, and files that were left behind. */
static void make_room(int folder, size_t len)
{
    entry *entries = malloc(sizeof(*entries) * 2 * MAX_ENTRIES);
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    size_t num = 0;
    off_t total = (off_t)len;
    struct stat info;

    if (list == NULL && fd >= 0) {
        close(fd);
    }
    for (struct dirent *at; entries != NULL && list != NULL && (at = readdir(list)) != NULL;) {
        if (fstatat(folder, at->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0
            || !S_ISREG(info.st_mode)) {
            continue;
        }
        if (strlen(at->d_name) != NAME_LEN) {
            if (strncmp(at->d_name, "tmp-", 4) == 0 && info.st_mtime < time(NULL) - ABANDONED_S) {
                (void)unlinkat(folder, at->d_name, 0);
            }
            continue;
        }
        if (num == 2 * MAX_ENTRIES) {
            (void)unlinkat(folder, at->d_name, 0);
            continue;
        }
        memcpy(entries[num].name, at->d_name, NAME_LEN + 1);
        entries[num].used_s = info.st_mtime;
        entries[num].len = info.st_size;
        total += info.st_size;
        num++;
    }
    if (num >= MAX_ENTRIES || total > MAX_TOTAL_BYTES) {
        qsort(entries, num, sizeof(*entries), older_first);
        /* A little more than needed, so that not every call has to. */
        for (size_t i = 0;
             i < num && (num - i > MAX_ENTRIES * 9 / 10 || total > MAX_TOTAL_BYTES / 10 * 9); i++) {
            (void)unlinkat(folder, entries[i].name, 0);
            total -= entries[i].len;
        }
    }
    if (list != NULL) {
        closedir(list);
    }
    free(entries);
}

void stls_curl_cache_put(const unsigned char question[STLS_ID_LEN], const unsigned char *bytes,
                         size_t len, int64_t use_until_s)
{
    static atomic_uint counter;
    char name[NAME_LEN + 1], temporary[64];
    unsigned char header[HEADER_LEN] = MAGIC;
    int folder = get_folder();

    if (folder < 0 || len > MAX_ENTRY_BYTES || use_until_s < (int64_t)time(NULL)) {
        return;
    }
    for (int i = 0; i < 8; i++) {
        header[8 + i] = (unsigned char)((uint64_t)use_until_s >> (56 - 8 * i));
    }
    make_room(folder, len);
    entry_name(question, name);
    snprintf(temporary, sizeof(temporary), "tmp-%ld-%u-%.16s", (long)getpid(),
             atomic_fetch_add(&counter, 1), name);
    int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int failed = fd < 0 ? errno : 0;
    if (fd >= 0) {
        failed = write_all(fd, header, HEADER_LEN);
        if (failed == 0) {
            failed = write_all(fd, bytes, len);
        }
        if (close(fd) != 0 && failed == 0) {
            failed = errno;
        }
        if (failed == 0 && renameat(folder, temporary, folder, name) != 0) {
            failed = errno;
        }
        if (failed != 0) {
            (void)unlinkat(folder, temporary, 0);
        }
    }
    if (failed != 0) {
        warn("an answer cannot be kept in '%s': %s", folder_name, strerror(failed));
    }
}
