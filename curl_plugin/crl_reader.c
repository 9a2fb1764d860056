#include "crl_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin.h"

typedef struct known_file_st {
    char *path;
    struct stat seen; /* when it was last read, with success or without */
    int is_seen;
    stls_crl_file *file;
    stls_error err;
    struct known_file_st *next;
} known_file;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static known_file *all;

void stls_curl_crl_reader_lock(int is_locked)
{
    (void)(is_locked ? pthread_mutex_lock(&lock) : pthread_mutex_unlock(&lock));
}

static int is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size
           && memcmp(&a->st_mtim, &b->st_mtim, sizeof(a->st_mtim)) == 0
           && memcmp(&a->st_ctim, &b->st_ctim, sizeof(a->st_ctim)) == 0;
}

static unsigned char *read_all(int fd, size_t len)
{
    unsigned char *bytes = malloc(len + 1);
    size_t have = 0;

    while (bytes != NULL && have < len) {
        ssize_t got = read(fd, bytes + have, len - have);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            free(bytes);
            errno = got < 0 ? errno : EIO;
            return NULL;
        }
        have += (size_t)got;
    }
    return bytes;
}

/* `will_pass`: it failed for lack of memory, not for what is in the file. */
static stls_crl_file *decode(unsigned char *bytes, size_t len, stls_error *err, int *will_pass)
{
    stls_crl_file *file = stls_crl_file_new(NULL, bytes, len, free);
    stls_crl_state state = STLS_CRL_FAILED;

    if (file == NULL) {
        snprintf(err->text, sizeof(err->text), "out of memory");
        *will_pass = 1;
        return NULL;
    }
    do {
        state = stls_crl_file_step(file, SIZE_MAX / 2, err);
    } while (state == STLS_CRL_MORE);
    if (state != STLS_CRL_DONE) {
        *will_pass = stls_crl_file_lacks_memory(file);
        stls_crl_file_free(file);
        file = NULL;
    }
    return file;
}

static stls_crl_file *read_file(int fd, size_t len, stls_error *err, int *will_pass)
{
    unsigned char *bytes = read_all(fd, len);

    if (bytes == NULL) {
        snprintf(err->text, sizeof(err->text), "%s", strerror(errno));
        *will_pass = 1;
        return NULL;
    }
    return decode(bytes, len, err, will_pass);
}

/* Once per cause, however often it is tried again. */
static void tell(const known_file *known, const stls_error *err)
{
    char text[1024];

    if (known->file != NULL && stls_curl_on_warning != NULL
        && strcmp(known->err.text, err->text) != 0) {
        snprintf(text, sizeof(text), "crl_file '%.400s': %.300s: the CRLs read before stay",
                 known->path, err->text);
        stls_curl_on_warning(text);
    }
}

/* Reads it if it has changed; `err` stays empty where it was read or had not. */
static void refresh(known_file *known, stls_error *err)
{
    struct stat now;
    stls_crl_file *file = NULL;
    int will_pass = 0; /* tried again next time, changed or not */

    /* A FIFO would wait for somebody to write. */
    int fd = open(known->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &now) != 0) {
        snprintf(err->text, sizeof(err->text), "%s", strerror(errno));
        memset(&now, 0, sizeof(now));
    } else if (!S_ISREG(now.st_mode)) {
        snprintf(err->text, sizeof(err->text), "not a regular file");
    }
    if (known->is_seen && is_same(&known->seen, &now)) {
        *err = known->err;
        goto done;
    }
    if (err->text[0] == '\0') {
        file = read_file(fd, (size_t)now.st_size, err, &will_pass);
    }
    known->seen = now;
    known->is_seen = !will_pass;
    if (file != NULL) {
        stls_crl_file_free(known->file);
        known->file = file;
        err->text[0] = '\0';
    } else {
        tell(known, err);
    }
    known->err = *err;
done:
    if (fd >= 0) {
        close(fd);
    }
}

static known_file *find(const char *path)
{
    known_file *known;

    for (known = all; known != NULL && strcmp(known->path, path) != 0; known = known->next) {
    }
    if (known == NULL) {
        known = calloc(1, sizeof(*known));
        if (known != NULL && (known->path = strdup(path)) == NULL) {
            free(known);
            known = NULL;
        }
        if (known != NULL) {
            known->next = all;
            all = known;
        }
    }
    return known;
}

stls_crl_file *stls_curl_crl_file_get1(const stls_policy *policy, stls_error *err)
{
    const char *path = stls_policy_get0_text(policy, STLS_KEY_CRL_FILE);
    stls_crl_file *file = NULL;
    stls_error why = {""};

    err->text[0] = '\0';
    if (path[0] == '\0') {
        return NULL;
    }
    pthread_mutex_lock(&lock);
    known_file *known = find(path);
    if (known != NULL) {
        refresh(known, &why);
        file = stls_crl_file_up_ref(known->file);
    } else {
        snprintf(why.text, sizeof(why.text), "out of memory");
    }
    pthread_mutex_unlock(&lock);
    if (file == NULL) {
        snprintf(err->text, sizeof(err->text), "crl_file '%.200s': %.200s", path, why.text);
    }
    return file;
}

int stls_curl_crl_file_is_current(const stls_policy *policy, const stls_crl_file *file)
{
    stls_error err;
    stls_crl_file *now = stls_curl_crl_file_get1(policy, &err);
    int same = now == file
               || (now != NULL && file != NULL
                   && memcmp(stls_crl_file_get0_id(now), stls_crl_file_get0_id(file), STLS_ID_LEN)
                          == 0);
    stls_crl_file_free(now);
    return same;
}
