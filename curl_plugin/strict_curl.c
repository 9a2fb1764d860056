/*
 * strict-curl: curl with every option it has, and strict.
 *
 * Preloads libstrict_tls_preload.so into the curl command.  A preloaded library
 * cannot announce its own absence, so the command gets an argument in front
 * that it does not understand (see active.h).  The library takes it away from a
 * program that it is active in; any other ends there, before a transfer.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "active.h"
#include "strict_tls/policy_keys.h"

#define SELF "strict-curl"
#define SHIM "libstrict_tls_preload.so"
#define LIBCURL "libcurl.so.4"
#define EXIT_REFUSED 2 /* what curl calls "failed to initialize" */
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

static int is_program(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

static int is_script(const char *path)
{
    char first[2] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int found = fd >= 0 && read(fd, first, 2) == 2 && first[0] == '#' && first[1] == '!';

    if (fd >= 0) {
        close(fd);
    }
    return found;
}

/*
 * The first such program in PATH that is not this one.  `is_again`: a script in
 * its place has started this program, so that it is not the one that is meant.
 */
static int find_in_path(const char *name, int is_again, char target[PATH_LEN])
{
    const char *at = getenv("PATH");

    for (at = at != NULL ? at : "/usr/bin:/bin"; *at != '\0';) {
        size_t len = strcspn(at, ":");
        int need = snprintf(target, PATH_LEN, "%.*s/%s", (int)len, at, name);
        if (len > 0 && need < PATH_LEN && is_program(target) && !is_this_program(target)
            && !(is_again && is_script(target))) {
            return 1;
        }
        at += len + (at[len] == ':');
    }
    return 0;
}

/* STRICT_TLS_CURL unless that is this program, otherwise the first curl in PATH. */
static void find_target(int is_again, char target[PATH_LEN])
{
    const char *wanted = getenv("STRICT_TLS_CURL");

    if (wanted != NULL && strchr(wanted, '/') != NULL && !is_this_program(wanted)
        && !(is_again && is_script(wanted))) {
        if (strlen(wanted) >= PATH_LEN) {
            refuse("the name in STRICT_TLS_CURL is too long");
        }
        strcpy(target, wanted);
        if (!is_program(target)) {
            refuse("%s: %s", target, access(target, X_OK) == 0 ? "not a file" : strerror(errno));
        }
        return;
    }
    if (wanted != NULL && wanted[0] != '\0' && strchr(wanted, '/') == NULL
        && find_in_path(wanted, is_again, target)) {
        return;
    }
    if (wanted != NULL && wanted[0] != '\0' && strcmp(wanted, "curl") != 0
        && strchr(wanted, '/') == NULL && strcmp(wanted, SELF) != 0) {
        refuse("no program '%s' in PATH", wanted);
    }
    if (!find_in_path("curl", is_again, target)) {
        refuse("no program 'curl' in PATH");
    }
}

/* ---- would the loader ignore a preload? --------------------------------------------------- */

#define MAX_PARTS 64

typedef struct {
    const char *path;
    int fd;
    int num_parts;
    Elf64_Phdr parts[MAX_PARTS];
} elf;

/* Where in the file an address lies; -1: nowhere. */
static off_t offset_of(const elf *of, Elf64_Addr address)
{
    for (int i = 0; i < of->num_parts; i++) {
        const Elf64_Phdr *part = &of->parts[i];
        if (part->p_type == PT_LOAD && address >= part->p_vaddr
            && address - part->p_vaddr < part->p_filesz) {
            return (off_t)(part->p_offset + (address - part->p_vaddr));
        }
    }
    return -1;
}

/* The n-th entry of the dynamic section; 0 at its end. */
static int entry_of(const elf *of, const Elf64_Phdr *dynamic, size_t n, Elf64_Dyn *entry)
{
    return n < dynamic->p_filesz / sizeof(*entry)
           && pread(of->fd, entry, sizeof(*entry), (off_t)(dynamic->p_offset + n * sizeof(*entry)))
                  == (ssize_t)sizeof(*entry)
           && entry->d_tag != DT_NULL;
}

static int needs(const elf *of, const Elf64_Phdr *dynamic, const char *name)
{
    char found[64];
    off_t strings = -1;
    Elf64_Dyn entry;
    size_t len = strlen(name) + 1;

    for (size_t n = 0; entry_of(of, dynamic, n, &entry); n++) {
        if (entry.d_tag == DT_STRTAB) {
            strings = offset_of(of, entry.d_un.d_ptr);
        }
    }
    for (size_t n = 0; strings >= 0 && entry_of(of, dynamic, n, &entry); n++) {
        if (entry.d_tag == DT_NEEDED
            && pread(of->fd, found, len, strings + (off_t)entry.d_un.d_val) == (ssize_t)len
            && memcmp(found, name, len) == 0) {
            return 1;
        }
    }
    return 0;
}

static void read_parts(elf *of)
{
    Elf64_Ehdr header;

    if (pread(of->fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header)
        || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
        refuse("%s is neither a program of this machine nor a script", of->path);
    }
    if (header.e_ident[EI_CLASS] != ELFCLASS64) {
        refuse("%s is not a 64-bit program", of->path);
    }
    for (int i = 0; i < header.e_phnum && of->num_parts < MAX_PARTS; i++) {
        off_t at = (off_t)(header.e_phoff + (Elf64_Off)i * header.e_phentsize);
        if (pread(of->fd, &of->parts[of->num_parts], sizeof(of->parts[0]), at)
            == (ssize_t)sizeof(of->parts[0])) {
            of->num_parts++;
        }
    }
}

/* Some programs pass over arguments that they do not understand: those are not even started. */
static void check_program(const char *target, int fd)
{
    elf of = {.path = target, .fd = fd};
    int is_dynamic = 0, is_linked = 0;

    read_parts(&of);
    for (int i = 0; i < of.num_parts; i++) {
        is_dynamic |= of.parts[i].p_type == PT_INTERP;
        is_linked |= of.parts[i].p_type == PT_DYNAMIC && needs(&of, &of.parts[i], LIBCURL);
    }
    if (!is_dynamic) {
        refuse("%s is statically linked: nothing can be preloaded into it", target);
    }
    if (!is_linked) {
        refuse("%s is not linked with " LIBCURL ": its connections cannot be judged; if it starts "
               "curl, name that program",
               target);
    }
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
    if (!is_script(target)) {
        check_program(target, fd);
    }
    close(fd);
}

/* ---- help -------------------------------------------------------------------------------------- */

#define KEY_ROW(symbol, name, type, def, values, doc) {name, def, doc},
static const struct {
    const char *name, *def, *doc;
} keys[] = {STLS_POLICY_KEYS(KEY_ROW)};

static void help(void)
{
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
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        printf("  %-24s %s\n  %24s %s\n", keys[i].name,
               keys[i].def[0] != '\0' ? keys[i].def : "(unset)", "", keys[i].doc);
    }
}

/* The arguments behind the mark, without one that a target of an earlier start was given. */
static char **arguments(int argc, char **argv, char *target, int *is_again)
{
    char **all = calloc((size_t)argc + 2, sizeof(*all));
    int num = 0;

    if (all == NULL) {
        refuse("out of memory");
    }
    all[num++] = target;
    all[num++] = (char *)STLS_ACTIVE_MARK;
    *is_again = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], STLS_ACTIVE_MARK) == 0) {
            *is_again = 1;
        } else {
            all[num++] = argv[i];
        }
    }
    return all;
}

static void preload(const char *shim)
{
    const char *others = getenv("LD_PRELOAD");
    size_t len = strlen(shim) + (others != NULL ? strlen(others) : 0) + 2;
    char *value = malloc(len);

    if (value == NULL) {
        refuse("out of memory");
    }
    snprintf(value, len, "%s%s%s", shim, others != NULL && others[0] != '\0' ? ":" : "",
             others != NULL ? others : "");
    if (setenv("LD_PRELOAD", value, 1) != 0) {
        refuse("out of memory");
    }
    free(value);
}

int main(int argc, char **argv)
{
    char shim[PATH_LEN], target[PATH_LEN];
    int is_again = 0;

    if (argc == 2 && strcmp(argv[1], "--strict-tls-help") == 0) {
        help();
        return 0;
    }
    char **all = arguments(argc, argv, target, &is_again);
    find_shim(shim);
    find_target(is_again, target);
    check_target(target);
    preload(shim);
    execv(target, all);
    refuse("%s: %s", target, strerror(errno));
}
