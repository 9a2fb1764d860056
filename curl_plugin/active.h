/* What strict-curl and the preloaded library have agreed on. */
#ifndef STLS_CURL_ACTIVE_H
#define STLS_CURL_ACTIVE_H

/*
 * An argument that no version of curl understands, also not as the beginning of
 * an option, and what it says about it is true: "option
 * --strict-tls-is-not-active: is unknown".
 */
#define STLS_ACTIVE_MARK "--strict-tls-is-not-active"

#endif
