#!/usr/bin/env bash
# The door to everything: ./build.sh help.  The rules themselves are in the Makefile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Debian's own, whatever else is called python3 on this machine: it has the packages below.
PYTHON=/usr/bin/python3
export PYTHONDONTWRITEBYTECODE=1
export LC_ALL=C.UTF-8

# What building and the demo need.
PACKAGES="apache2 apache2-dev apache2-ssl-dev build-essential ca-certificates curl git
          libcmocka-dev libcurl4-openssl-dev libengine-pkcs11-openssl libjansson-dev
          libnginx-mod-stream libnss-wrapper libssl-dev man-db mandoc memcached nginx nginx-dev
          openssl php-cli php-curl python3 python3-cryptography python3-cryptography-vectors
          python3-pycurl python3-pytest redis-server softhsm2 valgrind"

# What some tests need beside: a browser that looks at pages, a strict Java peer, fuzzing.
FUZZ_PACKAGES="clang libclang-rt-dev"
TEST_PACKAGES="chromium default-jdk-headless fonts-dejavu-core $FUZZ_PACKAGES"

help() {
    cat <<'END'
./build.sh WORD

  demo [--keep]     stock and strict nginx and httpd side by side; --keep leaves them running
  test [SUITE]      every test, or one suite: checks unit asan valgrind pkits vectors oracle properties mutants threads fuzz lab nginx httpd curl doctor soak servers-valgrind
  build             the core and everything that uses it, into build/
  deps [tests]      install the Debian packages that are missing; tests: also those that only
                    tests need (a browser, Java, clang)
  bench [--quick]   strict beside stock beside unverified; bench core|curl|crl: that alone
  lint              clang-format and cppcheck, where installed
  coverage          lines and branches of the core that its tests reach, per file
  fuzz [SECONDS]    each fuzz target for so long (default 60)
  install [--prefix DIR] [--destdir DIR]
                    module, library, headers and docs (default prefix /usr)
  clean             remove build/

NGINX_SRC=DIR builds against other nginx sources than Debian's package nginx-dev.
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

# ---- packages ---------------------------------------------------------------

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2> /dev/null | grep -qx installed \
            || echo "$package"
    done
}

# Only what is missing; services that come with a package stay down, their ports may be in use.
install_packages() {
    local missing
    command -v dpkg-query > /dev/null || return 0 # not Debian: the build will say what it lacks
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    echo "installing: $missing"
    # shellcheck disable=SC2086 # a list of words
    as_root bash -s -- $missing <<'END'
set -euo pipefail
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -q < /dev/null
apt-get install -q -y --no-install-recommends "$@" < /dev/null
END
}

deps() { # [tests]
    # shellcheck disable=SC2086
    case ${1:-} in
    "") install_packages $PACKAGES ;;
    tests) install_packages $PACKAGES $TEST_PACKAGES ;;
    *) die "deps takes the word tests, or nothing" ;;
    esac
}

build() {
    deps
    make -j"$(nproc)" all
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
    local suites=${1:-all} suite
    case $suites in
    # Java is optional there: it is said where it is absent.
    checks | unit | asan | valgrind | pkits | vectors | oracle | properties | mutants | threads | lab | curl) deps ;;
    *) deps tests ;;
    esac
    if [ "$suites" = all ]; then
        suites="checks unit asan valgrind pkits vectors oracle fuzz lab nginx httpd curl doctor servers-valgrind"
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
    build >&2
    exec "$PYTHON" -m tests.lab.demo "$@"
}

bench() {
    install_packages wrk
    build >&2
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

install_all() {
    local prefix=/usr destdir="" root
    while [ $# -gt 0 ]; do
        case $1 in
        --prefix=*) prefix=${1#*=} ;;
        --destdir=*) destdir=${1#*=} ;;
        --prefix) shift && prefix=${1:?--prefix wants a folder} ;;
        --destdir) shift && destdir=${1:?--destdir wants a folder} ;;
        *) die "install takes --prefix DIR and --destdir DIR, not '$1'" ;;
        esac
        shift
    done
    build
    root=$destdir$prefix
    local put=()
    if ! mkdir -p "$root" 2> /dev/null || [ ! -w "$root" ]; then
        put=(as_root)
    fi
    "${put[@]}" install -d "$root/lib/nginx/modules" "$root/lib/apache2/modules" \
        "$root/include/strict_tls" \
        "$root/share/doc/strict-tls/docs"
    "${put[@]}" install -m 644 build/modules/ngx_*.so "$root/lib/nginx/modules/"
    "${put[@]}" install -m 644 build/modules/mod_strict_tls.so "$root/lib/apache2/modules/"
    "${put[@]}" install -m 644 build/lib/libstrict_tls.a "$root/lib/"
    "${put[@]}" install -m 644 common/include/strict_tls/*.h "$root/include/strict_tls/"
    "${put[@]}" make -s curl-install PREFIX="$prefix" DESTDIR="$destdir"
    "${put[@]}" make -s doctor-install PREFIX="$prefix" DESTDIR="$destdir"
    "${put[@]}" install -m 644 ./*.md LICENSE "$root/share/doc/strict-tls/"
    "${put[@]}" install -m 644 docs/*.md "$root/share/doc/strict-tls/docs/"
    echo "installed below $root; load it with: load_module modules/ngx_http_strict_tls_module.so;"
    echo "for stream, behind ngx_stream_module.so: load_module modules/ngx_stream_strict_tls_module.so;"
    echo "and in httpd with: LoadModule strict_tls_module $prefix/lib/apache2/modules/mod_strict_tls.so"
}

main() {
    local word=${1:-help}
    [ $# = 0 ] || shift
    case $word in
    deps | build | demo | bench | lint | coverage | fuzz | help) "$word" "$@" ;;
    test) tests "$@" ;;
    install) install_all "$@" ;;
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
