#!/usr/bin/env bash
# On a fresh system, as root: installs the packages beside this file, follows the README with one
# good and one bad peer, then upgrades, removes and purges them. ./build.sh test platforms --packages
# calls it. The servers run in a network namespace of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
PASSED=0

fail() {
    echo "FAILED: $*" >&2
    [ ! -e /var/log/nginx/error.log ] || tail -n 5 /var/log/nginx/error.log >&2
    [ ! -e /var/log/apache2/error.log ] || tail -n 5 /var/log/apache2/error.log >&2
    echo "$PASSED passed, 1 failed"
    exit 1
}

ok() { # WHAT COMMAND...
    local what=$1
    shift
    "$@" > /tmp/out 2>&1 || { cat /tmp/out >&2 && fail "$what"; }
    PASSED=$((PASSED + 1))
    echo "ok: $what"
}

status_is() { # STATUS URL
    [ "$(curl -s -o /dev/null -m 60 -w '%{http_code}' "$2")" = "$1" ]
}

exits_with() { # STATUS COMMAND...
    local wanted=$1 status=0
    shift
    "$@" || status=$?
    [ "$status" = "$wanted" ]
}

wait_for() { # COMMAND...
    local tries
    for tries in $(seq 600); do
        ! "$@" > /dev/null 2>&1 || return 0
        sleep 0.1
    done
    fail "waited $tries times for: $*"
}

# ---- peers ------------------------------------------------------------------------

certificate() { # NAME SUBJECT ISSUER DAYS EXTENSIONS
    openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$2" 2> /dev/null
    printf '%b' "$5subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n" > "$1.ext"
    if [ "$3" = self ]; then
        openssl x509 -req -in "$1.csr" -signkey "$1.key" -days "$4" -extfile "$1.ext" -out "$1.pem"
    else
        openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days "$4" \
            -extfile "$1.ext" -out "$1.pem"
    fi 2> /dev/null
}

# Leaf certificates that live for days need no answer about revocation.
make_peers() {
    local ca='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n'
    local leaf='keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:'
    certificate root "Test Root" self 30 "$ca"
    certificate issuing "Test Issuing CA" root 5 "$ca"
    certificate good api.example.com root 3 "${leaf}api.example.com\n"
    certificate internal app.internal.example root 3 "${leaf}app.internal.example\n"
    # Its issuer is not sent.
    certificate bad partner.example.net issuing 3 "${leaf}partner.example.net\n"
    cp root.pem /usr/local/share/ca-certificates/test-root.crt
    update-ca-certificates > /dev/null 2>&1
    printf '127.0.0.1 api.example.com\n127.0.0.2 partner.example.net\n127.0.0.3 app.internal.example\n' \
        >> /etc/hosts
}

start_peers() {
    openssl s_server -accept 127.0.0.1:443 -cert good.pem -key good.key -www -quiet &
    openssl s_server -accept 127.0.0.2:443 -cert bad.pem -key bad.key -www -quiet &
    openssl s_server -accept 127.0.0.3:443 -cert internal.pem -key internal.key -www -quiet &
    wait_for curl -s https://api.example.com/
    wait_for curl -sk https://partner.example.net/
}

# The README's first block of this language.
readme() { # LANGUAGE
    sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" /usr/share/doc/strict-tls/README.md \
        | awk '/^```/ { if (seen++ == 1) exit; next } { print }'
}

# ---- README's configurations ---------------------------------------------------------

try_nginx() {
    # As Debian's own configuration begins.
    { printf 'error_log /var/log/nginx/error.log;\ninclude /etc/nginx/modules-enabled/*.conf;\n' \
        && readme nginx | grep -v '^load_module'; } \
        > /etc/nginx/nginx.conf
    ok "nginx: README's configuration" nginx -t
    nginx
    wait_for status_is 200 http://127.0.0.1:8080/
    ok "nginx: a good peer" status_is 200 http://127.0.0.1:8080/
    ok "nginx: a bad peer is reported" status_is 200 http://127.0.0.1:8080/partner/
    wait_for grep -q 'verdict=would_reject reason=chain.incomplete' /var/log/nginx/upstream.log
    sed -i 's/strict_tls report/strict_tls on/' /etc/nginx/nginx.conf
    nginx -s reload
    wait_for status_is 502 http://127.0.0.1:8080/partner/
    ok "nginx: its reason is in the log" grep -q 'strict-tls: reject.*reason=chain.incomplete' \
        /var/log/nginx/error.log
    nginx -s stop
}

try_httpd() {
    ok "httpd: a2enmod" a2enmod -q ssl proxy_http socache_shmcb
    : > /etc/apache2/ports.conf # the peers have 443
    readme apache | grep -v '^LoadModule' > /etc/apache2/sites-enabled/strict.conf
    ok "httpd: README's configuration" apachectl -t
    apachectl start
    wait_for status_is 200 http://127.0.0.1:8081/
    ok "httpd: a good peer" status_is 200 http://127.0.0.1:8081/
    ok "httpd: a bad peer is reported" status_is 200 http://127.0.0.1:8081/partner/
    sed -i 's/StrictTLS report/StrictTLS on/' /etc/apache2/sites-enabled/strict.conf
    apachectl graceful
    wait_for status_is 502 http://127.0.0.1:8081/partner/
    ok "httpd: its reason is in the log" grep -q 'strict-tls: reject.*reason=chain.incomplete' \
        /var/log/apache2/error.log
    apachectl stop
}

try_commands() {
    export HOME=/root
    ok "strict-curl: a good peer" strict-curl -sS -o /dev/null https://api.example.com/
    ok "strict-curl: a bad peer" exits_with 60 strict-curl -sS -o /dev/null https://partner.example.net/
    ok "strict-tls check: a good peer" strict-tls check api.example.com
    ok "strict-tls check: a bad peer" exits_with 1 strict-tls check partner.example.net
    ok "the preloaded library" env LD_PRELOAD=/usr/lib/libstrict_tls_preload.so \
        curl -sS -o /dev/null https://api.example.com/
    ok "pages of the manual" test -e /usr/share/man/man1/strict-tls.1.gz -a -e /usr/share/man/man1/strict-curl.1.gz
}

# ---- the packages' life -----------------------------------------------------------------

# The same packages with a higher version.
make_newer() {
    local deb
    mkdir -p newer
    for deb in ./*.deb; do
        rm -rf tree
        dpkg-deb -R "$deb" tree
        sed -i -e 's/^Version: .*/&.1/' -e 's/(= \([^)]*\))/(= \1.1)/' tree/DEBIAN/control
        dpkg-deb --root-owner-group -b tree newer > /dev/null
    done
}

# Nothing of ours is there, but for what stands beside this script.
nothing_left() {
    local left
    left=$(find / -xdev \( -path /proc -o -path /sys -o -path "$PWD" -o -path /usr/local/share \
        -o -path /var/log \) -prune -o \( -name '*strict_tls*' -o -name '*strict-tls*' \
        -o -name 'strict-curl*' \) -print | grep -v '^/tmp/\|^/root/\|^/home/' || true)
    echo "$left"
    [ -z "$left" ]
}

servers_work() {
    nginx -t && apachectl -t
}

if [ "${1:-}" = inside ]; then
    ip link set lo up
    make_peers
    start_peers
    try_nginx
    try_httpd
    try_commands
    # shellcheck disable=SC2046 # a list of numbers
    kill $(jobs -p)
    echo "$PASSED" > passed
    exit
fi

rm -f ./*-dbgsym_*.deb
apt-get update -q > /dev/null
apt-get install -q -y --no-install-recommends nginx apache2 curl iproute2 openssl > /tmp/out 2>&1 \
    || { tail -n 20 /tmp/out && fail "the servers"; }
ok "apt install ./*.deb" apt-get install -q -y --no-install-recommends ./*.deb
ok "nginx: enabled" test -e /etc/nginx/modules-enabled/50-mod-http-strict-tls.conf
ok "stream: enabled" test -e /etc/nginx/modules-enabled/70-mod-stream-strict-tls.conf
ok "httpd: enabled" test -e /etc/apache2/mods-enabled/strict_tls.load
unshare --net bash "$PWD/$(basename "$0")" inside
PASSED=$((PASSED + $(cat passed)))

# The servers' own configurations again: README's knows the directives.
cp /etc/nginx/nginx.conf nginx.strict
printf 'include /etc/nginx/modules-enabled/*.conf;\nevents {}\nhttp {}\n' > /etc/nginx/nginx.conf
rm /etc/apache2/sites-enabled/strict.conf
echo '# ours' >> /etc/apache2/mods-available/strict_tls.load
make_newer
ok "upgrade" apt-get install -q -y -o Dpkg::Options::=--force-confold ./newer/*.deb
ok "upgrade: a changed conffile stays" grep -q '# ours' /etc/apache2/mods-available/strict_tls.load
ok "upgrade: servers work" servers_work
packages=$(for deb in ./*.deb; do dpkg-deb -f "$deb" Package; done)
# shellcheck disable=SC2086 # a list of words
ok "remove" apt-get remove -q -y $packages
ok "remove: servers work" servers_work
# shellcheck disable=SC2086
ok "purge" dpkg --purge $packages
ok "purge: servers work" servers_work
ok "purge: nothing is left" nothing_left
echo "$PASSED passed, 0 failed"
