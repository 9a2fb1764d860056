#!/bin/sh
# Builds mod_strict_tls.so with apxs's flags: OUTDIR CORE_LIB.
set -eu
out=$1 lib=$2
here=$(cd "$(dirname "$0")" && pwd)
apxs=${APXS:-apxs2}
command -v "$apxs" > /dev/null || apxs=apxs
command -v "$apxs" > /dev/null || {
    echo "apxs not found: run ./build.sh deps, or set APXS=FILE" >&2
    exit 1
}
include=$("$apxs" -q INCLUDEDIR)
[ -f "$include/mod_ssl_openssl.h" ] || {
    echo "$include/mod_ssl_openssl.h not found: run ./build.sh deps" >&2
    exit 1
}
mkdir -p "$out"
werror=
[ "${WERROR:-}" != 1 ] || werror=-Werror
opt=${STLS_SANITIZE:--O2 -g -D_FORTIFY_SOURCE=2}
# httpd's headers define what it was built with; their warnings are not ours.
# libcrypto keeps pointers into the module: it stays mapped when httpd reloads it.
# shellcheck disable=SC2046,SC2086 # lists of words
${CC:-cc} -std=gnu11 -shared -fPIC -fvisibility=hidden -fstack-protector-strong -Wall -Wextra $werror \
    $opt $("$apxs" -q EXTRA_CPPFLAGS) -pthread -isystem "$include" \
    $($("$apxs" -q APR_CONFIG) --includes | sed 's/-I/-isystem /g') \
    $($("$apxs" -q APU_CONFIG) --includes | sed 's/-I/-isystem /g') \
    -I"$here/../common/include" "$here"/*.c "$lib" -ljansson -lssl -lcrypto \
    -Wl,-z,relro -Wl,-z,now -Wl,-z,nodelete -Wl,--exclude-libs,ALL -o "$out/.new.$$"
# A running httpd has the old file mapped: it must be replaced, not overwritten.
mv "$out/.new.$$" "$out/mod_strict_tls.so"
