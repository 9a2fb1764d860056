/*
 * strict-curl: curl with every option it has, and strict.
 *
 * Preloads libstrict_tls_preload.so into the curl command.  A preloaded library
 * cannot announce its own absence, so this program makes sure beforehand: it
 * refuses targets for which the loader would ignore a preload, and lets the
 * loader show once that it works.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "strict_tls/strict_tls.h"

#define SHIM "libstrict_tls_preload.so"
#define EXIT_REFUSED 2 /* what curl calls "failed to initialize" */
#define PROBE_MS 10000
#define PATH_LEN 4096

__attribute__((noreturn, format(printf, 1, 2))) static void refuse(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "strict-curl: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(EXIT_REFUSED);
}

/* ---- where things are ------------------------------------------------------------------ */

static void own_path(char path[PATH_LEN])
{
    ssize_t len = readlink("/proc/self/exe", path, PATH_LEN - 1);

    if (len <= 0) {
        refuse("/proc/self/exe cannot be read: %s", strerror(errno));
    }
    path[len] = '\0';
}

/* Beside this program: ../lib/, as built and as installed. */
static void find_shim(char shim[PATH_LEN])
{
    char self[PATH_LEN], guess[PATH_LEN + sizeof("/../lib/" SHIM)];

    own_path(self);
    *strrchr(self, '/') = '\0';
    snprintf(guess, sizeof(guess), "%s/../lib/" SHIM, self);
    char *path = realpath(guess, NULL);
    if (path == NULL || strlen(path) >= PATH_LEN) {
        refuse("%s cannot be used: %s", guess, strerror(errno));
    }
    snprintf(shim, PATH_LEN, "%s", path);
    free(path);
    if (strpbrk(shim, " :\t") != NULL) {
        refuse("the loader cannot preload '%s', which has a blank or a colon in its name", shim);
    }
}

static int is_this_program(const char *path)
{
    struct stat other, self;

    return stat(path, &other) == 0 && stat("/proc/self/exe", &self) == 0
           && other.st_dev == self.st_dev && other.st_ino == self.st_ino;
}

/* STRICT_TLS_CURL, otherwise the first curl in PATH. */
static void find_target(char target[PATH_LEN])
{
    const char *wanted = getenv("STRICT_TLS_CURL");
    const char *at = getenv("PATH");

    if (wanted == NULL || wanted[0] == '\0') {
        wanted = "curl";
    }
    if (strchr(wanted, '/') != NULL) {
        if (snprintf(target, PATH_LEN, "%s", wanted) >= PATH_LEN) {
            refuse("the name of the program in STRICT_TLS_CURL is longer than a path can be");
        }
        if (access(target, X_OK) != 0) {
            refuse("%s: %s", target, strerror(errno));
        }
        return;
    }
    for (at = at != NULL ? at : "/usr/bin:/bin"; *at != '\0';) {
        size_t len = strcspn(at, ":");
        if (len > 0 && len < PATH_LEN) {
            int target_len = snprintf(target, PATH_LEN, "%.*s/%s", (int)len, at, wanted);
            if (target_len > 0 && target_len < PATH_LEN && access(target, X_OK) == 0
                && !is_this_program(target)) {
                return;
            }
        }
        at += len + (at[len] == ':');
    }
    refuse("no program '%s' in PATH", wanted);
}

/* ---- would the loader ignore a preload? --------------------------------------------------- */

static void check_dynamic(const char *target, int fd)
{
    Elf64_Ehdr header;
    Elf64_Phdr part;

    if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header)
        || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
        refuse("%s is not a program of this machine but a script or something else; name the "
               "program that it runs",
               target);
    }
    if (header.e_ident[EI_CLASS] != ELFCLASS64) {
        refuse("%s is not a 64-bit program", target);
    }
    for (int i = 0; i < header.e_phnum; i++) {
        off_t at = (off_t)(header.e_phoff + (Elf64_Off)i * header.e_phentsize);
        if (pread(fd, &part, sizeof(part), at) == (ssize_t)sizeof(part)
            && part.p_type == PT_INTERP) {
            return;
        }
    }
    refuse("%s is statically linked: nothing can be preloaded into it", target);
}

static void check_target(const char *target)
{
    struct stat info;
    char capability[64];
    int fd = open(target, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &info) != 0) {
        refuse("%s: %s", target, strerror(errno));
    }
    if (getauxval(AT_SECURE)) {
        refuse("this program must not itself be setuid, setgid or privileged");
    }
    if ((info.st_mode & (S_ISUID | S_ISGID)) != 0) {
        refuse("%s is setuid or setgid: the loader ignores preloads then", target);
    }
    if (fgetxattr(fd, "security.capability", capability, sizeof(capability)) > 0) {
        refuse("%s has file capabilities: the loader ignores preloads then", target);
    }
    check_dynamic(target, fd);
    close(fd);
}

/* ---- does it work? --------------------------------------------------------------------------- */

static void run_probe(const char *target, int answer_fd)
{
    char number[16];
    int nowhere = open("/dev/null", O_RDWR);

    snprintf(number, sizeof(number), "%d", answer_fd);
    if (nowhere >= 0 && dup2(nowhere, 0) >= 0 && dup2(nowhere, 1) >= 0 && dup2(nowhere, 2) >= 0
        && setenv("STRICT_TLS_PROBE_FD", number, 1) == 0) {
        /* With the shim in place this ends before the program's own code begins. */
        execl(target, target, "--version", (char *)NULL);
    }
    _exit(127);
}

static void check_active(const char *target)
{
    static const char wanted[] = "strict-tls " STLS_VERSION "\n";
    char answer[sizeof(wanted)] = "";
    int ends[2];

    if (pipe(ends) != 0 || fcntl(ends[0], F_SETFD, FD_CLOEXEC) != 0) {
        refuse("a pipe cannot be made: %s", strerror(errno));
    }
    pid_t child = fork();
    if (child < 0) {
        refuse("a process cannot be started: %s", strerror(errno));
    }
    if (child == 0) {
        run_probe(target, ends[1]);
    }
    close(ends[1]);
    struct pollfd waiting = {.fd = ends[0], .events = POLLIN};
    ssize_t got = poll(&waiting, 1, PROBE_MS) == 1 ? read(ends[0], answer, sizeof(answer) - 1) : 0;
    close(ends[0]);
    if (got <= 0) {
        (void)kill(child, SIGKILL);
    }
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    if (got != (ssize_t)sizeof(wanted) - 1 || memcmp(answer, wanted, (size_t)got) != 0) {
        refuse("%s is not active in %s; nothing was transferred", SHIM, target);
    }
}

/* ---- help -------------------------------------------------------------------------------------- */

static void help(void)
{
    const stls_key_info *keys = stls_policy_keys();

    puts("strict-curl [any option of curl] URL...\n"
         "\n"
         "curl, but every TLS peer must present its complete chain, be for the wanted name\n"
         "and not be revoked; -k changes nothing about that.\n"
         "\n"
         "STRICT_TLS_POLICY=\"KEY=VALUE ...\"  what is demanded, see below\n"
         "STRICT_TLS_REPORT=FILE             append a report per TLS connection, as JSON lines\n"
         "STRICT_TLS_CURL=PROGRAM            run this instead of the first curl in PATH\n"
         "\n"
         "Exit status: curl's own; 60 for rejected peers, 2 if strictness cannot be had.\n"
         "\n"
         "Policy keys (default first):");
    for (int i = 0; i < STLS_NUM_KEYS; i++) {
        printf("  %-24s %s\n  %24s %s\n", keys[i].name,
               keys[i].def[0] != '\0' ? keys[i].def : "(unset)", "", keys[i].doc);
    }
}

int main(int argc, char **argv)
{
    char shim[PATH_LEN], target[PATH_LEN];
    const char *others = getenv("LD_PRELOAD");

    if (argc == 2 && strcmp(argv[1], "--strict-tls-help") == 0) {
        help();
        return 0;
    }
    find_shim(shim);
    find_target(target);
    check_target(target);

    size_t len = strlen(shim) + (others != NULL ? strlen(others) : 0) + 2;
    char *preload = malloc(len);
    if (preload == NULL) {
        refuse("out of memory");
    }
    snprintf(preload, len, "%s%s%s", shim, others != NULL && others[0] != '\0' ? ":" : "",
             others != NULL ? others : "");
    if (setenv("LD_PRELOAD", preload, 1) != 0 || unsetenv("STRICT_TLS_PROBE_FD") != 0) {
        refuse("out of memory");
    }
    free(preload);
    check_active(target);
    argv[0] = target;
    execv(target, argv);
    refuse("%s: %s", target, strerror(errno));
}
