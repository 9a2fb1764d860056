/*
 * Preloaded into a server: while the file STRICT_TLS_FAULTS names a fault, calls
 * fail as they do on a machine in trouble.  One word and one argument:
 *   read PATH    reading this file: EIO
 *   malloc SIZE  an allocation of just so many bytes, 4096 at least
 *   socket NUM   new sockets but for the first NUM of a process: EMFILE
 *   late MS      events are looked at so much later
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t num, size_t size);

static char faults_path[PATH_MAX];

/* nginx clears its environment. */
__attribute__((constructor)) static void remember(void)
{
    const char *path = getenv("STRICT_TLS_FAULTS");
    snprintf(faults_path, sizeof(faults_path), "%s", path != NULL ? path : "");
}

/* No call in here may allocate. */
static int is_on(const char *fault, char argument[PATH_MAX])
{
    char text[PATH_MAX + 16];
    size_t word_len = strlen(fault);
    int saved = errno;
    long fd = syscall(SYS_openat, AT_FDCWD, faults_path, O_RDONLY);
    long len = 0;

    if (fd >= 0) {
        len = syscall(SYS_read, fd, text, sizeof(text) - 1);
        syscall(SYS_close, fd);
    }
    errno = saved;
    if (len <= (long)word_len || strncmp(text, fault, word_len) != 0 || text[word_len] != ' ') {
        return 0;
    }
    text[len] = '\0';
    strcpy(argument, text + word_len + 1);
    return 1;
}

ssize_t read(int fd, void *bytes, size_t len)
{
    char wanted[PATH_MAX], link[64], path[PATH_MAX];

    if (is_on("read", wanted)) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t path_len = readlink(link, path, sizeof(path) - 1);
        if (path_len > 0) {
            path[path_len] = '\0';
            if (strcmp(path, wanted) == 0) {
                errno = EIO;
                return -1;
            }
        }
    }
    return syscall(SYS_read, fd, bytes, len);
}

static int is_refused(size_t size)
{
    char limit[PATH_MAX];
    if (size >= 4096 && is_on("malloc", limit) && size == strtoul(limit, NULL, 10)) {
        errno = ENOMEM;
        return 1;
    }
    return 0;
}

void *malloc(size_t size)
{
    return is_refused(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t num, size_t size)
{
    return is_refused(num * size) ? NULL : __libc_calloc(num, size);
}

int socket(int domain, int type, int protocol)
{
    static long num_made;
    char limit[PATH_MAX];
    if (is_on("socket", limit) && ++num_made > strtol(limit, NULL, 10)) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_socket, domain, type, protocol);
}

int epoll_wait(int fd, struct epoll_event *events, int max_events, int timeout_ms)
{
    char late_ms[PATH_MAX];

    if (is_on("late", late_ms)) {
        long ms = strtol(late_ms, NULL, 10);
        struct timespec left = {ms / 1000, ms % 1000 * 1000000};
        nanosleep(&left, NULL);
    }
    return (int)syscall(SYS_epoll_pwait, fd, events, max_events, timeout_ms, NULL, 0);
}
