/*
 * Is the library active in this program?  It is where the program itself needs
 * libcurl.so.4, since the functions of this library are found first then.  If
 * so the argument by which strict-curl asks is taken away; otherwise it stays,
 * and the program ends because of it.
 */
#include "shim.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#include "active.h"

int stls_shim_needs(const struct link_map *map, const char *name)
{
    const char *strings = NULL;

    for (const ElfW(Dyn) *at = map->l_ld; at != NULL && at->d_tag != DT_NULL; at++) {
        if (at->d_tag == DT_STRTAB) {
            /* Not every machine's loader relocates it. */
            ElfW(Addr) address = at->d_un.d_ptr;
            strings = (const char *)(address < map->l_addr ? address + map->l_addr : address);
        }
    }
    for (const ElfW(Dyn) *at = map->l_ld; strings != NULL && at->d_tag != DT_NULL; at++) {
        if (at->d_tag == DT_NEEDED && strcmp(strings + at->d_un.d_val, name) == 0) {
            return 1;
        }
    }
    return 0;
}

typedef int (*main_function)(int argc, char **argv, char **env);
typedef int (*start_function)(main_function, int, char **, void (*)(void), void (*)(void),
                              void (*)(void), void *);

int __libc_start_main(main_function program, int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

/* The first argument moves up: what lies behind the last one, the environment, stays where it is. */
STLS_CURL_API int __libc_start_main(main_function program, int argc, char **argv,
                                    void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
                                    void *stack_end)
{
    start_function real = (start_function)dlsym(RTLD_NEXT, "__libc_start_main");
    const struct link_map *own = _r_debug.r_map;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], STLS_ACTIVE_MARK) == 0 && own != NULL
            && stls_shim_needs(own, "libcurl.so.4")) {
            memmove(argv + 1, argv, (size_t)i * sizeof(*argv));
            argv++;
            argc--;
            break;
        }
    }
    if (real == NULL) {
        _exit(127);
    }
    return real(program, argc, argv, init, fini, rtld_fini, stack_end);
}
