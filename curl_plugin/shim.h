/* What the parts of libstrict_tls_preload.so owe each other. */
#ifndef STLS_CURL_SHIM_H
#define STLS_CURL_SHIM_H

#define CURL_DISABLE_TYPECHECK
#include "plugin.h"

/* The program's libcurl, behind our names. */
typedef struct {
    CURLcode (*easy_setopt)(CURL *curl, CURLoption option, ...);
    CURLcode (*easy_perform)(CURL *curl);
    void (*easy_cleanup)(CURL *curl);
    void (*easy_reset)(CURL *curl);
    CURL *(*easy_duphandle)(CURL *curl);
    CURLMcode (*multi_add_handle)(CURLM *multi, CURL *curl);
    CURLMsg *(*multi_info_read)(CURLM *multi, int *num_left);
} stls_shim_real;

/* ---- shim_config.c: what the environment asks for ---- */

/*
 * Everything that is settled once per process.  If `refusal` is not empty no
 * transfer may start, and `real` must not be used.
 */
typedef struct {
    stls_shim_real real;
    stls_policy *policy;
    int is_off;  /* mode off: nothing is done */
    int rejects; /* mode enforce */
    char refusal[1024];
} stls_shim_config;

const stls_shim_config *stls_shim_config_get0(void);

/* ---- shim_active.c ---- */

struct link_map;

/* 1: this object needs the library of that name itself. */
int stls_shim_needs(const struct link_map *map, const char *name);

/* A sentence on standard error, once per process for refusals. */
void stls_shim_say(const char *text);

/* ---- shim_handle.c: what the program wants of its handles ---- */

/*
 * Takes note of an option.  1: libcurl is to hear of it too; 0: it is ours to
 * set, or not to be undone.
 */
int stls_shim_note_option(CURL *curl, CURLoption option, void *value, int rejects);
/* Its lock, for forks; taken before those of the others. */
void stls_shim_handle_lock(int is_locked);

/* After libcurl has heard of it: it counts at once on a handle that is strict already. */
stls_curl_status stls_shim_option_was_set(CURL *curl, CURLoption option,
                                          const stls_shim_config *config);

/* 1: the handle was strict. */
int stls_shim_forget(CURL *curl);
void stls_shim_copy(CURL *from, CURL *to);

/* Makes the handle strict, with the program's own callbacks behind ours. */
stls_curl_status stls_shim_enable(CURL *curl, const stls_shim_config *config);

#endif
