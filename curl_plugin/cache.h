/*
 * Answers of responders on disk, shared by all processes of a user.
 *
 * A file per question, named by it, holding the raw answer.  The core verifies
 * it again whenever it is read, so whatever lies there can at worst be useless.
 * The functions are safe in many threads and processes at once.
 */
#ifndef STLS_CURL_CACHE_H
#define STLS_CURL_CACHE_H

#include <sys/types.h>

#include "strict_tls/strict_tls.h"

/* See stls_curl_set_cache(). */
stls_status stls_curl_cache_open(const char *folder, stls_error *err);

/* 1 and a copy of the answer, to be given back to stls_curl_cache_release(); 0 if there is none. */
int stls_curl_cache_get(const unsigned char question[STLS_ID_LEN], unsigned char **bytes,
                        size_t *len);
void stls_curl_cache_release(unsigned char *bytes);

void stls_curl_cache_put(const unsigned char question[STLS_ID_LEN], const unsigned char *bytes,
                         size_t len, int64_t use_until_s);

/*
 * One question, one asker: of all threads and processes that use this cache
 * one at a time has the flight.  Its fd, to be given to
 * stls_curl_flight_end(); STLS_CURL_FLIGHT_TAKEN while somebody else has it,
 * STLS_CURL_FLIGHT_NONE where there is no such lock, so that everybody asks.
 * It ends with the process, whatever becomes of that.
 */
#define STLS_CURL_FLIGHT_NONE (-1)
#define STLS_CURL_FLIGHT_TAKEN (-2)
int stls_curl_flight_begin(const unsigned char flight[STLS_ID_LEN]);
void stls_curl_flight_end(int fd);

/* The same file under a number that is not one of the standard streams', which may be closed. */
int stls_curl_above_stderr(int fd);

/* write(2), but a file size limit is an error and no signal that ends the program. */
ssize_t stls_curl_write(int fd, const void *bytes, size_t len);

#endif
