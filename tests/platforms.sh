#!/usr/bin/env bash
# ./build.sh test platforms [--short | --packages] [--as root|user] [bookworm|trixie|sid]...
# Makes each of these systems by debootstrap in a temporary folder, from the mirror that apt is
# configured with, copies a clean checkout in, and runs there:
#
#   nothing      the README's two commands: demo and test
#   --short      without warnings: build, unit tests, vectors, each host's scenario table
#   --packages   makes the packages, installs them on another fresh system, tries and removes them
#
# As root, or as an unprivileged user with sudo whose home only he may enter. All mounts are in a
# namespace of their own, which ends with this process; a guard removes the folder, even if this
# process is killed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
    echo "platforms: $*" >&2
    exit 1
}

mirror() {
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-sid}")
    # shellcheck disable=SC2016 # apt expands it
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' \
        | awk -v wanted="$codename" '$1 == wanted { print $2; exit }'
}

# ---- one system --------------------------------------------------------------------

make_system() { # SUITE FOLDER
    local suite=$1 root=$2
    debootstrap --variant=minbase --include=ca-certificates,git,sudo "$suite" "$root" "$MIRROR" \
        > "$root.log" 2>&1 || { tail -n 20 "$root.log" >&2 && die "debootstrap of $suite failed"; }
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    printf 'Acquire::Languages "none";\nDPkg::Options {"--force-unsafe-io";};\n' \
        > "$root/etc/apt/apt.conf.d/90tests"
    # Services stay down: their ports are in use outside.
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    chroot "$root" useradd -m -s /bin/bash user
    chmod 700 "$root/home/user"
    echo 'user ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/user"
}

# A clean checkout in the home of who runs it.
copy_checkout() { # ROOT
    local home=/root
    [ "$WHO" = root ] || home=/home/user
    git clone -q --no-hardlinks . "$1$home/strict-tls"
    [ "$WHO" = root ] || chroot "$1" chown -R user:user "$home/strict-tls"
}

run_there() { # ROOT COMMAND
    local home=/root
    [ "$WHO" = root ] || home=/home/user
    chroot "$1" env -i HOME="$home" USER="$WHO" TERM=dumb LC_ALL=C.UTF-8 CI="${CI:-}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        setpriv --reuid="$WHO" --regid="$WHO" --init-groups \
        bash -c "cd ~/strict-tls && $2" < /dev/null
}

try_suite() { # SUITE
    local root=$FOLDER/$1
    printf -- '---- %s, as %s\n' "$1" "$WHO"
    mkdir "$root"
    make_system "$1" "$root"
    copy_checkout "$root"
    case $WHAT in
    whole) run_there "$root" './build.sh demo && ./build.sh test' ;;
    # The suites' build has WERROR=1.
    short) run_there "$root" './build.sh test "unit vectors tables"' ;;
    packages)
        run_there "$root" './build.sh package'
        mkdir "$root-fresh"
        make_system "$1" "$root-fresh"
        mkdir "$root-fresh/packages"
        cp "$root$( [ "$WHO" = root ] && echo /root || echo /home/user)"/strict-tls/dist/*.deb \
            tests/packaging/try_packages.sh "$root-fresh/packages/"
        chroot "$root-fresh" bash /packages/try_packages.sh
        ;;
    esac
}

# ---- all of them ---------------------------------------------------------------------

WHAT=whole WHO=root SUITES=()
while [ $# -gt 0 ]; do
    case $1 in
    --short) WHAT=short ;;
    --packages) WHAT=packages ;;
    --as)
        shift
        WHO=${1:?--as wants root or user}
        ;;
    --inside) # the same process again, in its namespaces
        FOLDER=$2 MIRROR=$3
        shift 2
        ;;
    bookworm | trixie | sid) SUITES+=("$1") ;;
    *) die "no platform '$1'; there are bookworm, trixie and sid" ;;
    esac
    shift
done
case $WHO in
root | user) ;;
*) die "--as wants root or user, not '$WHO'" ;;
esac
[ ${#SUITES[@]} != 0 ] || SUITES=(bookworm trixie sid)

if [ -n "${FOLDER:-}" ]; then
    for suite in "${SUITES[@]}"; do
        try_suite "$suite"
    done
    exit
fi

if [ "$(id -u)" != 0 ]; then
    exec sudo -- env CI="${CI:-}" "$0" "--as" "$WHO" "${SUITES[@]}" \
        $([ "$WHAT" = whole ] || echo "--$WHAT")
fi
command -v debootstrap > /dev/null || apt-get install -q -y --no-install-recommends debootstrap > /dev/null
MIRROR=$(mirror)
[ -n "$MIRROR" ] || die "apt knows no mirror of Debian"
FOLDER=$(mktemp -d /tmp/strict-tls-platforms.XXXXXX)
setsid bash -c 'tail --pid="$1" -f /dev/null; rm -rf --one-file-system "$2"' guard $$ "$FOLDER" \
    > /dev/null 2>&1 < /dev/null &
# No exec: the guard waits for this process, and what runs in the namespace ends with it.
unshare --mount --propagation private --pid --fork --kill-child=KILL \
    bash "$0" --as "$WHO" $([ "$WHAT" = whole ] || echo "--$WHAT") --inside "$FOLDER" "$MIRROR" \
    "${SUITES[@]}"
