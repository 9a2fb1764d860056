#!/usr/bin/env bash
# The door to everything: ./build.sh help.  The rules themselves are in the Makefile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Debian's own, whatever else is called python3 on this machine: it has the packages below.
PYTHON=/usr/bin/python3
export PYTHONDONTWRITEBYTECODE=1
export LC_ALL=C.UTF-8

# What each part needs to be built, and nothing else. nginx's sources come without packages.
BUILD_PACKAGES="build-essential libjansson-dev libssl-dev"
nginx_PACKAGES="libpcre2-dev zlib1g-dev"
httpd_PACKAGES="apache2-dev apache2-ssl-dev"
curl_PACKAGES="libcurl4-openssl-dev"
doctor_PACKAGES="libcurl4-openssl-dev"
PARTS="nginx httpd curl doctor"

# What the demo and most tests need: all parts, the servers and programs that they run.
PACKAGES="$BUILD_PACKAGES $nginx_PACKAGES $httpd_PACKAGES $curl_PACKAGES
          apache2 ca-certificates curl git libcmocka-dev libengine-pkcs11-openssl
          libnginx-mod-stream libnss-wrapper man-db mandoc memcached nginx nginx-dev
          openssl php-cli php-curl python3 python3-cryptography python3-cryptography-vectors
          python3-pycurl python3-pytest redis-server softhsm2 valgrind wget"

# What some tests need beside: a browser that looks at pages, a strict Java peer, fuzzing.
FUZZ_PACKAGES="clang libclang-rt-dev"
TEST_PACKAGES="chromium default-jdk-headless fonts-dejavu-core $FUZZ_PACKAGES"

# What making the packages needs.
PACKAGING_PACKAGES="debhelper dpkg-dev fakeroot nginx-dev"

# The full output of what is told in one line.
LOG=build/build.log

help() {
    cat <<'END'
./build.sh WORD

  demo [--keep]     stock and strict nginx and httpd side by side; --keep leaves them running
  test [SUITE]      every test, or one suite: checks unit asan valgrind pkits vectors oracle properties mutants threads fuzz packaging lab nginx httpd curl agreement doctor soak tables servers-valgrind
  test platforms [--short | --packages] [--as root|user] [bookworm|trixie|sid]...
                    both on fresh systems, made by debootstrap; --short: build, unit tests, vectors
                    and scenario tables; --packages: the packages, installed, tried and removed
  build [PART...]   a part, nginx httpd curl doctor, or all of them, into build/
  deps [PART...]    the Debian packages that these parts need, or with tests all that tests need
                    (a browser, Java, clang); tells what and how much, and asks on a terminal
  install [PART...] [--prefix DIR] [--destdir DIR]
                    parts, by default those whose program is on this machine (default prefix /usr)
  uninstall [--prefix DIR] [--destdir DIR]
                    what install put there
  package           Debian packages, into dist/
  dist              the sources as an archive, into dist/
  bench [--quick]   strict beside stock beside unverified; bench core|curl|crl|instructions: that alone
  lint              clang-format and cppcheck, where installed
  coverage          lines and branches of the core that its tests reach, per file
  fuzz [SECONDS]    each fuzz target for so long (default 60)
  clean             remove build/

NGINX_SRC=DIR builds against other nginx sources than those of Debian's package nginx-dev.
END
}

die() {
    echo "build.sh: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo -- "$@"
    else
        die "need root for: $* (run as root, or install sudo)"
    fi
}

# One line; the output goes to the log. Where it fails, its end is shown.
quietly() { # WHAT COMMAND...
    local what=$1 status=0
    shift
    mkdir -p "${LOG%/*}"
    echo "$what ..." >&2
    { printf '==== %s\n' "$what" && "$@"; } >> "$LOG" 2>&1 || status=$?
    [ "$status" = 0 ] || { tail -n 30 "$LOG" >&2 && die "$what: failed; all of it is in $LOG"; }
}

# ---- packages ---------------------------------------------------------------

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2> /dev/null | grep -qx installed \
            || echo "$package"
    done
}

# The packages that come with these, and how much that is.
tell_packages() {
    apt-get install --assume-no --no-install-recommends -o Debug::NoLocking=1 \
        "$@" 2> /dev/null < /dev/null \
        | sed -n -e '/newly installed/p' -e '/^Need to get/p' -e '/^After this operation/p' || true
}

# Only what is missing; services that come with a package stay down, their ports may be in use.
install_packages() {
    local missing answer
    command -v dpkg-query > /dev/null || return 0 # not Debian: the build will say what it lacks
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    quietly "package lists" as_root apt-get update -q < /dev/null
    echo "to be installed: $missing" >&2
    # shellcheck disable=SC2086 # a list of words
    tell_packages $missing >&2
    if [ -t 0 ] && [ -t 2 ]; then
        read -r -p "Install them? [Y/n] " answer
        case $answer in
        [nN]*) die "nothing was installed" ;;
        esac
    fi
    # shellcheck disable=SC2086 # a list of words
    quietly "packages" as_root bash -s -- $missing <<'END'
set -euo pipefail
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get install -q -y --no-install-recommends "$@" < /dev/null
END
}

# Sets NGINX_SRC where package nginx-dev is not installed: it would bring 300 others, and the
# sources in it need none of them.
find_nginx_sources() {
    local folder=build/nginx-dev version
    if [ -n "${NGINX_SRC:-}" ] || [ -d /usr/share/nginx/src ]; then
        return 0
    fi
    command -v apt-get > /dev/null || die "set NGINX_SRC=DIR to nginx's sources"
    # A module fits the nginx that it was built for.
    version=$(dpkg-query -W -f='${Version}' nginx 2> /dev/null || true)
    apt-cache show "nginx-dev=$version" > /dev/null 2>&1 \
        || quietly "package lists" as_root apt-get update -q < /dev/null
    [ -n "$version" ] || version=$(apt-cache policy nginx-dev | sed -n 's/^  Candidate: //p')
    if [ "$(cat "$folder/version" 2> /dev/null || true)" != "$version" ]; then
        rm -rf "$folder" && mkdir -p "$folder"
        # shellcheck disable=SC2016 # expanded by that bash
        quietly "sources of nginx $version" bash -euc 'cd "$1" && apt-get download -q "nginx-dev=$2" \
            && dpkg-deb -x nginx-dev_*.deb .' sources "$folder" "$version"
        echo "$version" > "$folder/version"
    fi
    export NGINX_SRC=$PWD/$folder/usr/share/nginx/src
}

check_parts() {
    local part
    for part in "$@"; do
        case " $PARTS " in
        *" $part "*) ;;
        *) die "no part '$part'; there are: $PARTS" ;;
        esac
    done
}

deps() { # [tests | PART...]
    local part of packages=$BUILD_PACKAGES
    # shellcheck disable=SC2086
    case ${1:-} in
    "") install_packages $PACKAGES ;;
    tests) install_packages $PACKAGES $TEST_PACKAGES ;;
    *)
        check_parts "$@"
        for part in "$@"; do
            of="${part}_PACKAGES"
            packages="$packages ${!of}"
        done
        install_packages $packages
        ;;
    esac
}

build() { # [PART...]
    check_parts "$@"
    # shellcheck disable=SC2086 # a list of words
    [ $# != 0 ] || set -- $PARTS
    deps "$@"
    case " $* " in
    *" nginx "*) find_nginx_sources ;;
    esac
    quietly "building $*" make -j"$(nproc)" core "$@"
}

# ---- tests ---------------------------------------------------------------------

PASSED=0
FAILED=0

count() { # PASSED FAILED WHAT
    PASSED=$((PASSED + $1))
    FAILED=$((FAILED + $2))
    printf '%-44s %5d passed, %d failed\n' "$3" "$1" "$2"
}

# Runs a command as one test; its output is shown if it fails.
one() { # WHAT COMMAND...
    local what=$1 log=build/test.log
    shift
    if "$@" > "$log" 2>&1; then
        count 1 0 "$what"
    else
        cat "$log"
        count 0 1 "$what"
    fi
}

# Runs a cmocka program and counts the tests in it.
cmocka() { # WHAT PROGRAM
    local log=build/test.log status=0 passed failed skipped
    "$2" > "$log" 2>&1 || status=$?
    passed=$(sed -n 's/^\[  PASSED  \][^0-9]*\([0-9]*\) test(s).*/\1/p' "$log" | tail -n 1)
    failed=$(sed -n 's/^\[  FAILED  \].* \([0-9]*\) test(s), listed below.*/\1/p' "$log" | tail -n 1)
    skipped=$(sed -n 's/^\[  SKIPPED \].* \([0-9]*\) test(s), listed below.*/\1/p' "$log" | tail -n 1)
    passed=${passed:-0} failed=${failed:-0}
    [ "${CI:-}" != true ] || failed=$((failed + ${skipped:-0}))
    # A crash prints no totals.
    if [ "$status" != 0 ] && [ "$failed" = 0 ] || [ "$passed$failed" = 00 ]; then
        failed=$((failed + 1))
    fi
    [ "$failed" = 0 ] || cat "$log"
    count "$passed" "$failed" "$1"
}

python_tests() { # WHAT ARGUMENTS...
    local what=$1 xml=build/test.xml status=0 totals
    shift
    rm -f "$xml"
    "$PYTHON" -m pytest -q -c tests/pytest.ini --junit-xml="$xml" "$@" || status=$?
    totals=$("$PYTHON" - "$xml" "$status" "${CI:-}" <<'END'
import sys
import xml.etree.ElementTree as tree
path, status, ci = sys.argv[1:]
try:
    suites = list(tree.parse(path).getroot().iter("testsuite"))
except (OSError, tree.ParseError):
    suites = []
total, bad, skipped = (sum(int(suite.get(key, 0)) for suite in suites for key in keys)
                       for keys in (["tests"], ["failures", "errors"], ["skipped"]))
passed = total - bad - skipped
if ci == "true":
    bad += skipped
if bad == 0 and status != "0" or passed + bad == 0:
    bad += 1
print(passed, bad)
END
    )
    # shellcheck disable=SC2086 # two numbers
    count $totals "$what"
}

suite_checks() {
    one "public headers compile alone" make headers
    one "the core does no I/O" make symbols
    one "one version everywhere" make version-check
    one "reference pages are up to date" make docs-check
}

suite_unit() {
    local program
    one "unit tests build" make -j"$(nproc)" unit
    for program in build/unit/*_test; do
        [ ! -x "$program" ] || cmocka "$program" "$program"
    done
}

suite_asan() {
    local program
    one "unit tests build with sanitizers" make -j"$(nproc)" unit-asan
    for program in build/unit-asan/*_test; do
        [ ! -x "$program" ] || cmocka "$program" "$program"
    done
}

suite_valgrind() {
    local program logs=build/valgrind
    one "unit tests build" make -j"$(nproc)" unit
    rm -rf "$logs" && mkdir -p "$logs"
    # Each runs on one processor, and slowly.
    for program in build/unit/*_test; do
        (
            valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect,possible \
                --error-exitcode=99 "$program" > "$logs/${program##*/}" 2>&1 \
                && touch "$logs/${program##*/}.good"
        ) &
        while [ "$(jobs -pr | wc -l)" -ge "$(nproc)" ]; do
            wait -n || true
        done
    done
    wait
    for program in build/unit/*_test; do
        one "valgrind $program" eval 'cat "$logs/${program##*/}"; test -e "$logs/${program##*/}.good"'
    done
}

# The totals that it prints.
pkits_says() { # TOTALS [VARIANT]
    build/pkits_test tests/pkits/pkits.tsv \
        /usr/lib/python3/dist-packages/cryptography_vectors/x509/PKITS_data "${@:2}" \
        > build/pkits.log 2>&1 || true
    cat build/pkits.log
    [ "$(tail -n 1 build/pkits.log)" = "$1" ]
}

suite_pkits() {
    local passed failed
    one "PKITS builds" make pkits
    pkits_says "249 passed, 0 failed" > /dev/null || true
    read -r passed failed < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' build/pkits.log) \
        || { passed=0 failed=1; }
    [ "$failed" = 0 ] || cat build/pkits.log
    count "$passed" "$failed" "NIST PKITS"
    # Every row can fail: all that is valid does without its CRLs, 13 rows without their policy inputs.
    one "PKITS, the opposite expected" pkits_says "0 passed, 249 failed" flipped
    one "PKITS without CRLs" pkits_says "136 passed, 113 failed" no-crls
    one "PKITS without policy inputs" pkits_says "236 passed, 13 failed" no-inputs
}

suite_vectors() {
    one "vectors build" make -j"$(nproc)" vectors
    python_tests "vectors" tests/vectors/test_vectors.py tests/vectors/test_traps.py
}

# The vectors' disagreements with openssl verify and, where there is a Java, with its PKIX.
suite_oracle() {
    local which=()
    one "vectors build" make -j"$(nproc)" vectors
    if ! "$PYTHON" -m tests.vectors.oracle java; then
        echo "no OpenJDK 17 (package default-jdk-headless): Java is not asked"
        which=(-k "not java")
    fi
    python_tests "oracle" tests/vectors/test_oracle.py "${which[@]}"
}

# The verdict in small random PKIs against a model: so many worlds, or a minute.
suite_properties() {
    local passed failed log=build/properties.log
    one "properties build" make -j"$(nproc)" properties
    build/properties "${STRICT_TLS_WORLDS:-20000}" "${STRICT_TLS_WORLDS_S:-60}" > "$log" 2>&1 || true
    read -r passed failed < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log") \
        || { passed=0 failed=1; }
    [ "$failed" = 0 ] || cat "$log"
    count "$passed" "$failed" "properties of random PKIs"
}

# Rules switched off on purpose; among all suites a sample of them.
suite_mutants() {
    local passed failed log=build/mutants.log
    "$PYTHON" -m tests.mutants.mutate ${STRICT_TLS_MUTANTS:+--sample "$STRICT_TLS_MUTANTS"} \
        > "$log" 2>&1 || true
    read -r passed failed < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log") \
        || { passed=0 failed=1; }
    [ "$failed" = 0 ] || cat "$log"
    count "$passed" "$failed" "mutants"
}

# What threads share, with ThreadSanitizer.
suite_threads() {
    one "threads build" make -j"$(nproc)" threads
    cmocka "threads with ThreadSanitizer" build/threads_tsan
}

suite_fuzz() {
    local target name
    one "fuzz targets build" make_fuzz
    for target in tests/fuzz/fuzz_*.c; do
        name=$(basename "$target" .c)
        one "$name for a few seconds" fuzz_one "$name" 5
    done
}

# What install puts where, and that uninstall removes it.
suite_packaging() {
    one "all parts build" make -j"$(nproc)" all
    python_tests "packaging" tests/packaging
}

# Every host's scenario table, the short form of all that platforms differ in.
suite_tables() {
    one "libcurl parts build" make -j"$(nproc)" curl curl-clients
    python_tests "nginx's table" tests/hosts/nginx/test_scenarios.py tests/hosts/nginx/test_stream.py
    python_tests "httpd's table" tests/hosts/httpd/test_scenarios.py
    python_tests "libcurl's table" tests/hosts/curl/test_scenarios.py
    python_tests "the doctor's table" tests/hosts/doctor/test_scenarios.py
}

suite_lab() {
    python_tests "lab" tests/lab
}

suite_nginx() {
    one "nginx module builds" make nginx
    one "nginx module builds with sanitizers" make nginx-asan
    python_tests "nginx" tests/hosts/nginx
}

suite_httpd() {
    one "httpd module builds" make httpd
    one "httpd module builds with sanitizers" make httpd-asan
    python_tests "httpd" tests/hosts/httpd tests/hosts/test_agreement.py
}

suite_curl() {
    one "libcurl parts build" make -j"$(nproc)" curl curl-clients
    python_tests "curl" tests/hosts/curl
}

# What to do with a question: the same rules in nginx, stream, httpd and libcurl.
suite_agreement() {
    one "every host builds" make -j"$(nproc)" all httpd curl-clients
    python_tests "agreement of the hosts" tests/hosts/test_agreement_rules.py
}

suite_doctor() {
    one "strict-tls builds" make -j"$(nproc)" doctor
    one "strict-tls builds with sanitizers" make -j"$(nproc)" doctor-asan
    python_tests "doctor" tests/hosts/doctor tests/hosts/test_mutual.py
    STRICT_TLS_DOCTOR=$PWD/build/bin-asan/strict-tls python_tests "doctor with sanitizers" \
        tests/hosts/doctor/test_endpoints.py tests/hosts/doctor/test_page.py \
        tests/hosts/doctor/test_repair.py
}

# Both servers under valgrind, over the scenario tables; among all suites a short form.
suite_servers-valgrind() {
    one "nginx module builds" make nginx
    one "httpd module builds" make httpd
    python_tests "servers under valgrind" tests/hosts/test_valgrind.py
}

suite_soak() {
    one "nginx module builds" make nginx
    one "httpd module builds" make httpd
    one "libcurl parts build" make -j"$(nproc)" curl curl-clients
    STRICT_TLS_SOAK=${STRICT_TLS_SOAK:-100000} python_tests "soak" -s tests/hosts/nginx/test_soak.py \
        tests/hosts/httpd/test_soak.py tests/hosts/curl/test_soak.py
}

tests() {
    if [ "${1:-}" = platforms ]; then
        exec tests/platforms.sh "${@:2}"
    fi
    local suites=${1:-all} suite
    case $suites in
    # Java is optional there: it is said where it is absent.
    "unit vectors tables" | tables | checks | unit | asan | valgrind | pkits | vectors | oracle | properties | mutants | threads | lab | curl) deps ;;
    *) deps tests ;;
    esac
    if [ "$suites" = all ]; then
        suites="checks unit asan valgrind threads pkits vectors oracle properties fuzz packaging lab nginx httpd curl agreement doctor servers-valgrind"
        export STRICT_TLS_VALGRIND=short
    fi
    for suite in $suites; do
        declare -F "suite_$suite" > /dev/null || die "no suite '$suite'; see ./build.sh help"
    done
    export WERROR=1
    mkdir -p build
    one "build" make -j"$(nproc)" all
    for suite in $suites; do
        printf -- '-- %s\n' "$suite"
        "suite_$suite"
    done
    echo "$PASSED passed, $FAILED failed"
    [ "$FAILED" = 0 ]
}

# ---- the other words ---------------------------------------------------------

demo() {
    deps
    quietly "building" make -j"$(nproc)" all
    exec "$PYTHON" -m tests.lab.demo "$@"
}

bench() {
    # shellcheck disable=SC2086 # a list of words
    install_packages $PACKAGES wrk
    quietly "building" make -j"$(nproc)" all
    if [ "${1:-}" = core ]; then
        make -s core-bench >&2
        exec "$PYTHON" -m tests.bench.core_bench
    fi
    if [ "${1:-}" = curl ]; then
        shift
        exec "$PYTHON" -m tests.bench.curl_bench "$@"
    fi
    if [ "${1:-}" = crl ]; then
        exec "$PYTHON" -m tests.bench.crl_bench
    fi
    if [ "${1:-}" = instructions ]; then
        shift
        install_packages valgrind
        exec "$PYTHON" -m tests.bench.instructions "$@"
    fi
    "$PYTHON" -m tests.bench.nginx_bench "$@"
    "$PYTHON" -m tests.bench.crl_bench
    "$PYTHON" -m tests.bench.httpd_bench "$@"
    exec "$PYTHON" -m tests.bench.curl_bench "$@"
}

# Lines and branches per file of the core, as a table.
coverage() {
    local program
    deps
    install_packages gcovr
    make -s -j"$(nproc)" coverage-programs
    find build/coverage -name '*.gcda' -delete
    for program in build/coverage/*_test; do
        case $program in
        */pkits_test) "$program" tests/pkits/pkits.tsv \
            /usr/lib/python3/dist-packages/cryptography_vectors/x509/PKITS_data ;;
        *) "$program" ;;
        esac > build/coverage/test.log 2>&1 || die "$program failed; see build/coverage/test.log"
    done
    "$PYTHON" -c 'from tests.vectors.generate import generate; import pathlib; generate(pathlib.Path("build/vectors"))'
    build/coverage/vectors_run build/vectors > build/coverage/test.log
    build/coverage/properties 3000 60 > build/coverage/test.log || true
    gcovr --root . --filter common/ --object-directory build/coverage build/coverage "$@"
    gcovr --root . --filter common/ --object-directory build/coverage build/coverage --branches "$@"
}

lint() {
    local files
    files=$(git ls-files '*.c' '*.h' ':!nginx_module' ':!httpd_module')
    if command -v clang-format > /dev/null && [ -f .clang-format ]; then
        # shellcheck disable=SC2086
        clang-format --dry-run --Werror $files
    else
        echo "clang-format: not installed, or no .clang-format"
    fi
    if command -v cppcheck > /dev/null; then
        cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,portability \
            --suppress=missingIncludeSystem -Icommon/include -Icommon common
    else
        echo "cppcheck: not installed"
    fi
}

make_fuzz() {
    make -j"$(nproc)" core fuzz && build/fuzz/seeds build/fuzz/corpus
}

# One target on its corpus, which it extends, for so many seconds.
fuzz_one() {
    local name=$1 seconds=$2
    mkdir -p "build/fuzz/corpus/${name#fuzz_}"
    STRICT_TLS_FUZZ_DIR=build/fuzz/corpus "build/fuzz/$name" -max_total_time="$seconds" \
        -verbosity=0 -print_final_stats=1 -artifact_prefix="build/fuzz/$name-" \
        "build/fuzz/corpus/${name#fuzz_}"
}

fuzz() {
    local seconds=${1:-60} target name
    [[ $seconds =~ ^[0-9]+$ ]] || die "fuzz wants a number of seconds, not '$seconds'"
    deps
    # shellcheck disable=SC2086 # a list of words
    install_packages $FUZZ_PACKAGES
    make_fuzz
    for target in tests/fuzz/fuzz_*.c; do
        name=$(basename "$target" .c)
        echo "-- $name, $seconds s"
        fuzz_one "$name" "$seconds"
    done
}

# Where install and uninstall put things: PREFIX, DESTDIR and the parts that are NAMED.
parse_install() {
    PREFIX=/usr DESTDIR="" NAMED=()
    while [ $# -gt 0 ]; do
        case $1 in
        --prefix=*) PREFIX=${1#*=} ;;
        --destdir=*) DESTDIR=${1#*=} ;;
        --prefix) shift && PREFIX=${1:?--prefix wants a folder} ;;
        --destdir) shift && DESTDIR=${1:?--destdir wants a folder} ;;
        -*) die "install and uninstall take --prefix DIR and --destdir DIR, not '$1'" ;;
        *) NAMED+=("$1") ;;
        esac
        shift
    done
    case $PREFIX$DESTDIR in
    /*) ;;
    *) die "--prefix and --destdir want folders from the root on" ;;
    esac
}

install_parts() {
    parse_install "$@"
    if [ ${#NAMED[@]} = 0 ]; then
        [ ! -x /usr/sbin/nginx ] || NAMED+=(nginx)
        [ ! -x /usr/sbin/apache2 ] || NAMED+=(httpd)
        [ ! -x /usr/bin/curl ] || NAMED+=(curl)
        NAMED+=(doctor)
        echo "for what is on this machine: ${NAMED[*]}" >&2
    fi
    build "${NAMED[@]}"
    packaging/install.sh put "$PREFIX" "$DESTDIR" "${NAMED[@]}"
}

package() {
    # shellcheck disable=SC2086 # lists of words
    install_packages $BUILD_PACKAGES $httpd_PACKAGES $curl_PACKAGES $PACKAGING_PACKAGES
    echo "building the packages ..." >&2
    packaging/package.sh package
}

dist() {
    packaging/package.sh dist
}

uninstall() {
    parse_install "$@"
    [ ${#NAMED[@]} = 0 ] || die "uninstall takes no parts: it removes what install put there"
    packaging/install.sh remove "$PREFIX" "$DESTDIR"
}

main() {
    local word=${1:-help}
    [ $# = 0 ] || shift
    case $word in
    deps | build | demo | bench | lint | coverage | fuzz | help | uninstall | package | dist) "$word" "$@" ;;
    test) tests "$@" ;;
    install) install_parts "$@" ;;
    clean) make clean ;;
    -h | --help) help ;;
    *)
        help >&2
        die "no word '$word'"
        ;;
    esac
}

# Read whole before anything runs: the file may be edited meanwhile.
main "$@"
exit
