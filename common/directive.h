#ifndef STLS_DIRECTIVE_H
#define STLS_DIRECTIVE_H

#include <stddef.h>

#include <strict_tls/strict_tls.h>

#define STLS_REMEDY_LEN 2560

/* `remedy` with the keys that it names written as `directives` says; cut off where buf ends. */
void stls_remedy_text(stls_directives directives, stls_role role, const char *remedy, char *buf,
                      size_t len);

#endif
