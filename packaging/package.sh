#!/usr/bin/env bash
# ./build.sh package and dist: Debian packages, or the sources as an archive, into dist/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(cat VERSION)
name=strict-tls-$version
work=build/package

# The tracked files, or all but what is made where this is no checkout.
copy_sources() { # FOLDER
    mkdir -p "$1"
    if git rev-parse --is-inside-work-tree > /dev/null 2>&1; then
        git ls-files -z | tar --null -T - -c | tar -x -C "$1"
    else
        tar -c --exclude=./build --exclude=./dist . | tar -x -C "$1"
    fi
}

dist() {
    rm -rf "$work/dist" && copy_sources "$work/dist/$name"
    mkdir -p dist
    tar -c -z --owner=0 --group=0 --sort=name -C "$work/dist" -f "dist/$name.tar.gz" "$name"
    rm -rf "$work/dist"
    echo "dist/$name.tar.gz"
}

# Packages fit the release that they were made on: one's are older than those of the next.
changelog() {
    local release
    release=$(. /etc/os-release && echo "${VERSION_ID:+deb$VERSION_ID}")
    cat <<END
strict-tls ($version+${release:-sid}) unstable; urgency=medium

  * See CHANGELOG.md for what changed.

 -- $(sed -n 's/^Maintainer: //p' packaging/debian/control)  $(date -R -r VERSION)
END
}

package() {
    local missing
    rm -rf "$work" && copy_sources "$work/$name"
    cp -r packaging/debian "$work/$name/debian"
    changelog > "$work/$name/debian/changelog"
    (cd "$work/$name" && dpkg-buildpackage -us -uc -b) > "$work/build.log" 2>&1 || {
        tail -n 30 "$work/build.log" >&2
        echo "package: failed; all of it is in $work/build.log" >&2
        exit 1
    }
    mkdir -p dist
    rm -f dist/*.deb
    mv "$work"/*.deb dist/
    ls dist/*.deb
}

"$@"
