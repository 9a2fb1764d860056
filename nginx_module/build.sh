#!/bin/sh
# Builds the dynamic modules against nginx's own build system: OUTDIR CORE_LIB.
# NGINX_SRC=DIR takes other sources than Debian's package nginx-dev.
set -eu
out=$1 lib=$(realpath "$2")
here=$(cd "$(dirname "$0")" && pwd)
src=${NGINX_SRC:-/usr/share/nginx/src}
[ -x "$src/configure" ] || [ -x "$src/auto/configure" ] || {
    echo "nginx sources not found in $src: run ./build.sh deps, or set NGINX_SRC=DIR" >&2
    exit 1
}
version=$(sed -n 's/^#define NGINX_VERSION *"\(.*\)"/\1/p' "$src/src/core/nginx.h")
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$out/nginx-$version
if [ ! -f "$work/objs/Makefile" ] || [ "$here/config" -nt "$work/objs/Makefile" ] \
    || [ "$here/build.sh" -nt "$work/objs/Makefile" ]; then
    rm -rf "$work"
    mkdir -p "$work"
    cp -rL "$src/." "$work/"
    cd "$work"
    [ -x configure ] || cp auto/configure configure
    export STLS_CORE_LIB="$lib" STLS_SANITIZE="${STLS_SANITIZE:-}"
    cc_opt='-g -O2 -fPIC -fstack-protector-strong -Wformat -Werror=format-security'
    [ "${WERROR:-}" = 1 ] || cc_opt="$cc_opt -Wno-error" # nginx itself asks for it
    [ -n "$STLS_SANITIZE" ] || cc_opt="$cc_opt -D_FORTIFY_SOURCE=2"
    ld_opt='-Wl,-z,relro -Wl,-z,now'
    if [ -f conf_flags ]; then
        # Debian's own flags, so that the module's signature equals the packaged binary's.
        bash -c '. ./conf_flags && ./configure "${NGX_CONF_FLAGS[@]}" --with-cc-opt="$2" \
            --with-ld-opt="$3" --add-dynamic-module="$1"' configure "$here" "$cc_opt" "$ld_opt" \
            > configure.log || { tail -n 20 configure.log >&2; exit 1; }
    else
        v3=
        [ ! -d src/http/v3 ] || v3=--with-http_v3_module
        ./configure --with-compat --with-threads --with-http_ssl_module --with-http_v2_module $v3 \
            --with-stream=dynamic --with-stream_ssl_module --with-cc-opt="$cc_opt" \
            --with-ld-opt="$ld_opt" --add-dynamic-module="$here" > configure.log || { tail -n 20 configure.log >&2; exit 1; }
    fi
fi
make -s -C "$work" -f objs/Makefile modules > "$work/make.log" 2>&1 || { cat "$work/make.log" >&2; exit 1; }
# A running nginx has the old file mapped: it must be replaced, not overwritten.
for module in "$work"/objs/ngx_*strict_tls_module.so; do
    cp "$module" "$out/.new.$$"
    mv "$out/.new.$$" "$out/${module##*/}"
done
