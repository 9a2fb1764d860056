#!/usr/bin/env bash
# Puts built parts below DESTDIR and PREFIX, and removes them: put|remove PREFIX DESTDIR [PART...]
# ./build.sh install and uninstall call this. A file lists what was put there; remove reads it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
word=$1 prefix=$2 destdir=$3
shift 3
root=$destdir$prefix
list=$prefix/share/strict-tls/installed
stage=build/stage

as_root=()
if [ "$(id -u)" != 0 ]; then
    folder=$root
    while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
    [ -w "$folder" ] || as_root=(sudo --)
fi

# ---- what belongs where, below $stage ------------------------------------------

file() { # MODE FILE FOLDER
    install -D -m "$1" "$2" "$stage$3/$(basename "$2")"
}

text() { # FILE, from standard input
    mkdir -p "$stage$(dirname "$1")"
    cat > "$stage$1"
    chmod 644 "$stage$1"
}

stage_nginx() {
    local modules=$prefix/lib/nginx/modules available=$prefix/share/nginx/modules-available
    local enabled=/etc/nginx/modules-enabled name
    for name in http stream; do
        file 644 "build/modules/ngx_${name}_strict_tls_module.so" "$modules"
        text "$available/mod-$name-strict-tls.conf" \
            <<< "load_module $modules/ngx_${name}_strict_tls_module.so;"
    done
    [ -d "$destdir$enabled" ] || return 0
    mkdir -p "$stage$enabled"
    ln -sf "$available/mod-http-strict-tls.conf" "$stage$enabled/50-mod-http-strict-tls.conf"
    # nginx's own stream module is a package of its own; ours must come behind it.
    [ ! -e "$destdir$enabled/50-mod-stream.conf" ] \
        || ln -sf "$available/mod-stream-strict-tls.conf" "$stage$enabled/70-mod-stream-strict-tls.conf"
}

stage_httpd() {
    file 644 build/modules/mod_strict_tls.so "$prefix/lib/apache2/modules"
    [ -d "$destdir/etc/apache2/mods-available" ] || return 0
    text /etc/apache2/mods-available/strict_tls.load <<END
# Depends: ssl
LoadModule strict_tls_module $prefix/lib/apache2/modules/mod_strict_tls.so
END
}

stage_curl() {
    make -s curl-install PREFIX="$prefix" DESTDIR="$PWD/$stage"
    file 644 build/lib/libstrict_tls.a "$prefix/lib"
    local header
    for header in common/include/strict_tls/*.h; do
        file 644 "$header" "$prefix/include/strict_tls"
    done
}

stage_doctor() {
    make -s doctor-install PREFIX="$prefix" DESTDIR="$PWD/$stage"
}

# All of it: the pages link to each other, and to files of the sources.
stage_docs() {
    local doc=$prefix/share/doc/strict-tls path
    while read -r path; do
        file 644 "$path" "$doc/$(dirname "$path")"
    done < <(ls ./*.md LICENSE docs/*.md docs/*.json docs/presets/* curl_plugin/examples/* \
        curl_plugin/include/strict_tls/curl.h)
}

# ---- words ---------------------------------------------------------------------------

put() { # PART...
    local part
    rm -rf "$stage" && mkdir -p "$stage"
    for part in "$@"; do
        "stage_$part"
    done
    stage_docs
    # What an earlier install put there, of other parts, is in the list already.
    {
        [ ! -e "$destdir$list" ] || cat "$destdir$list"
        (cd "$stage" && find . ! -type d | sed 's/^\.//')
        echo "$list"
    } | sort -u > build/installed
    install -D -m 644 build/installed "$stage$list"
    # A program that runs has the old file mapped: each file is replaced, none overwritten.
    "${as_root[@]}" mkdir -p "$destdir/"
    "${as_root[@]}" cp -dR --remove-destination "$stage/." "$destdir/"
    refresh_libraries
    echo "installed below $root; $destdir$list lists all of it"
    for part in "$@"; do
        "tell_$part"
    done
}

# Where the loader looks for libraries by itself.
refresh_libraries() {
    [ -n "$destdir" ] || "${as_root[@]}" ldconfig 2> /dev/null || true
}

tell_nginx() {
    if [ -L "$destdir/etc/nginx/modules-enabled/50-mod-http-strict-tls.conf" ]; then
        echo "nginx: enabled in /etc/nginx/modules-enabled; nginx -t, and restart it"
    else
        echo "nginx: load_module $prefix/lib/nginx/modules/ngx_http_strict_tls_module.so;"
    fi
}

tell_httpd() {
    if [ -e "$destdir/etc/apache2/mods-available/strict_tls.load" ]; then
        echo "httpd: a2enmod ssl socache_shmcb strict_tls, and restart it"
    else
        echo "httpd: LoadModule strict_tls_module $prefix/lib/apache2/modules/mod_strict_tls.so"
    fi
}

tell_curl() {
    echo "curl: strict-curl URL; man strict-curl"
}

tell_doctor() {
    echo "doctor: strict-tls check HOST; man strict-tls"
}

remove() {
    local path folder
    [ -e "$destdir$list" ] || {
        echo "nothing was installed below $root: there is no $destdir$list" >&2
        exit 1
    }
    cp "$destdir$list" build/installed
    while read -r path; do
        "${as_root[@]}" rm -f "$destdir$path"
        case $path in
        # a2enmod's link to it would keep httpd from starting.
        /etc/apache2/mods-available/*) "${as_root[@]}" rm -f "$destdir/etc/apache2/mods-enabled/${path##*/}" ;;
        /etc/*) ;;
        *)
            # Folders that are empty now, but for those that every system has.
            folder=$(dirname "$path")
            while [ "$(dirname "$folder")" != "$prefix" ] && [ "$folder" != "$prefix" ]; do
                "${as_root[@]}" rmdir "$destdir$folder" 2> /dev/null || break
                folder=$(dirname "$folder")
            done
            ;;
        esac
    done < build/installed
    refresh_libraries
    echo "removed what was installed below $root; restart nginx and httpd where they had it loaded"
}

"$word" "$@"
