"""./build.sh install and uninstall: what goes where, that it works there, that nothing stays."""
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.lab import net
from tests.lab.nginx import ROOT

PARTS = ("nginx", "httpd", "curl", "doctor")
# What each part is recognized by, below the prefix.
MARKS = {
    "nginx": "lib/nginx/modules/ngx_http_strict_tls_module.so",
    "httpd": "lib/apache2/modules/mod_strict_tls.so",
    "curl": "bin/strict-curl",
    "doctor": "bin/strict-tls",
}
# Programs that listen, of packages that no part may need.
SERVERS = {"apache2", "nginx", "redis-server", "memcached", "libnginx-mod-stream"}


def run(*words, **options):
    return subprocess.run([ROOT / words[0], *map(str, words[1:])], cwd=ROOT, check=True, text=True,
                          capture_output=True, timeout=net.PATIENCE_S * 5, **options)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")
            if not path.is_dir() or path.is_symlink()}


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    """A root with everything installed, laid out as Debian's."""
    root = tmp_path_factory.mktemp("debian")
    (root / "etc/nginx/modules-enabled").mkdir(parents=True)
    (root / "etc/nginx/modules-enabled/50-mod-stream.conf").write_text("")
    (root / "etc/apache2/mods-available").mkdir(parents=True)
    said = run("build.sh", "install", *PARTS, "--destdir", root)
    return root, said


@pytest.mark.parametrize("part", PARTS)
def test_a_part_alone(part, tmp_path):
    run("build.sh", "install", part, f"--destdir={tmp_path}")
    there = files(tmp_path)
    assert [name for name in PARTS if f"usr/{MARKS[name]}" in there] == [part]
    assert not any(path.startswith("etc/") for path in there)


def test_distribution_layout(debian):
    root, said = debian
    for kind, number in ("http", 50), ("stream", 70):
        link = root / f"etc/nginx/modules-enabled/{number}-mod-{kind}-strict-tls.conf"
        available = f"/usr/share/nginx/modules-available/mod-{kind}-strict-tls.conf"
        assert os.readlink(link) == available
        assert (root / available[1:]).read_text() == \
            f"load_module /usr/lib/nginx/modules/ngx_{kind}_strict_tls_module.so;\n"
    assert "/usr/lib/apache2/modules/mod_strict_tls.so" in \
        (root / "etc/apache2/mods-available/strict_tls.load").read_text()
    assert "a2enmod" in said.stdout
    assert len((said.stdout + said.stderr).splitlines()) < 15  # progress, not a compiler's output


def test_links_of_installed_pages(debian):
    """Every link that names no other site leads to a file that is installed."""
    doc = debian[0] / "usr/share/doc/strict-tls"
    links = 0
    for page in doc.rglob("*.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if re.match(r"[a-z]+:|#", target):
                continue
            links += 1
            assert (page.parent / target.partition("#")[0]).exists(), (page, target)
    assert links > 20


def test_uninstall_leaves_nothing(tmp_path):
    kept = {"etc/nginx/modules-enabled/50-mod-stream.conf", "usr/lib/other", "usr/bin/other"}
    for path in kept:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("other")
    (tmp_path / "etc/apache2/mods-available").mkdir(parents=True)
    enabled = tmp_path / "etc/apache2/mods-enabled/strict_tls.load"
    for part in PARTS:  # one after the other: each knows of those before
        run("build.sh", "install", part, "--destdir", tmp_path)
    assert all((tmp_path / "usr" / mark).exists() for mark in MARKS.values())
    enabled.parent.mkdir()
    enabled.symlink_to("../mods-available/strict_tls.load")
    run("build.sh", "uninstall", "--destdir", tmp_path)
    assert files(tmp_path) == kept
    assert sorted(path.name for path in (tmp_path / "usr").rglob("*") if path.is_dir()) == \
        sorted({"bin", "lib", "share", "include"})
    with pytest.raises(subprocess.CalledProcessError):
        run("build.sh", "uninstall", "--destdir", tmp_path)


def test_programs_find_their_library(tmp_path):
    """Below a prefix of one's own, with nothing in the environment."""
    prefix = tmp_path / "opt"
    run("build.sh", "install", "curl", "doctor", "--prefix", prefix)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "strict_tls_curl"], check=True,
                           capture_output=True, text=True,
                           env={**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")})
    program = tmp_path / "get"
    subprocess.run(["cc", "-o", program, ROOT / "curl_plugin/examples/get.c",
                    *flags.stdout.split(), "-lcrypto"], check=True)
    loaded = subprocess.run(["ldd", program], check=True, capture_output=True, text=True,
                            env={"PATH": os.environ["PATH"]}).stdout
    assert str(prefix / "lib/libstrict_tls_curl.so.1") in loaded and "not found" not in loaded
    for words in (["bin/strict-curl", "--version"], ["bin/strict-tls", "--version"]):
        done = subprocess.run([prefix / words[0], *words[1:]], capture_output=True, text=True,
                              env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
        assert done.returncode == 0, done.stderr
    assert not (prefix / "lib/nginx").exists()


def test_symbols_file():
    """What the package promises of its library is what the library has."""
    said = (ROOT / "packaging/debian/libstrict-tls-curl1.symbols").read_text()
    listed = subprocess.run(["nm", "-D", "--defined-only", ROOT / "build/lib/libstrict_tls_curl.so"],
                            capture_output=True, text=True, check=True).stdout
    assert sorted(re.findall(r"^ (\w+)@", said, re.M)) == \
        sorted(line.split()[2] for line in listed.splitlines())


def test_parts_need_nothing_that_listens():
    text = (ROOT / "build.sh").read_text()
    for part in (*PARTS, "BUILD"):
        name = "BUILD_PACKAGES" if part == "BUILD" else f"{part}_PACKAGES"
        packages = set(re.search(rf'^{name}="([^"]*)"', text, re.M)[1].split())
        assert packages and not packages & SERVERS


@pytest.mark.parametrize("words", [
    ["install", "ngnix"], ["build", "all"], ["install", "--prefix", "relative"],
    ["install", "--destination=/x"], ["uninstall", "nginx"], ["deps", "nothing"]])
def test_wrong_words(words):
    done = subprocess.run([ROOT / "build.sh", *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0 and done.stderr.startswith("build.sh: ")


def test_version_is_told(debian):
    version = (ROOT / "VERSION").read_text().strip()
    done = subprocess.run([debian[0] / "usr/bin/strict-tls", "--version"], capture_output=True,
                          text=True, check=True)
    assert done.stdout == f"strict-tls {version}\n"
