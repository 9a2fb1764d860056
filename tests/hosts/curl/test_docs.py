"""What the documents say is what happens: the README's example, man pages, installed files."""
import re
import subprocess

import pytest

from tests.hosts.curl.conftest import environment, url_of
from tests.lab.nginx import BUILD, ROOT

PROGRAM = """
#include <stdio.h>
#include <strict_tls/curl.h>
int main(void)
{
    char error[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_CAINFO, "%s");
%s
    printf("%%d %%s\\n", (int)code, error);
    return report != NULL ? 0 : 3;
}
"""


def compile(folder, text, flags):
    source = folder / "example.c"
    source.write_text(text)
    done = subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-o", folder / "example", source,
                           *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "example"


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """As packagers install it."""
    root = tmp_path_factory.mktemp("root")
    subprocess.run(["make", "-s", "curl-install", "PREFIX=/opt/strict", f"DESTDIR={root}"],
                   cwd=ROOT, check=True, timeout=300)
    return root


def test_readme(peers, curls):
    """Compiled as it stands; only the address is this lab's."""
    text = re.search(r"^```c\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)[1]
    text = text.replace("https://api.example.com/", url_of(peers.bad_ip, "127.0.0.1"))
    # Behind the report: it lives until the handle is disabled.
    program = compile(curls.folder, PROGRAM % (peers.bad_ip.trust, text),
                      [f"-I{ROOT}/common/include", f"-I{ROOT}/curl_plugin/include",
                       f"-L{BUILD}/lib", "-lstrict_tls_curl", "-lcurl",
                       f"-Wl,-rpath,{BUILD}/lib"])
    done = curls.run([program])
    assert done.stdout.startswith("60 strict-tls: reject reason=chain.incomplete ")


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_installed(static, installed, peers, curls):
    """Through pkg-config, shared and static, and strict-curl from its new place."""
    env = {**environment(curls.folder), "PKG_CONFIG_PATH": f"{installed}/opt/strict/lib/pkgconfig",
           "PKG_CONFIG_SYSROOT_DIR": ""}
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "strict_tls_curl",
                            f"--define-variable=prefix={installed}/opt/strict"],
                           env=env, capture_output=True, text=True, check=True).stdout.split()
    if static:
        flags = [flag for flag in flags if flag != "-lstrict_tls_curl"]
        flags = [f"{installed}/opt/strict/lib/libstrict_tls_curl.a", *flags, "-lssl", "-lcrypto",
                 "-ljansson", "-pthread"]
    program = compile(curls.folder, (ROOT / "curl_plugin/examples/get.c").read_text(),
                      [*flags, "-lcrypto", f"-I{ROOT}/common/include"])
    done = curls.run([program, url_of(peers.bad_ip, "127.0.0.1")], environment(
        curls.folder, LD_LIBRARY_PATH=f"{installed}/opt/strict/lib"))
    assert done.returncode == 1 and '"reason":"chain.incomplete"' in done.stderr
    done = curls.run([installed / "opt/strict/bin/strict-curl", "-sS",
                      url_of(peers.bad_ip, "127.0.0.1")])
    assert done.returncode == 60


def test_help_names_every_key():
    done = subprocess.run([BUILD / "bin/strict-curl", "--strict-tls-help"], capture_output=True,
                          text=True, check=True)
    header = (ROOT / "common/include/strict_tls/policy_keys.h").read_text()
    keys = re.findall(r'^    X\(\w+, "(\w+)"', header, re.M)
    assert keys and [key for key in keys if f"\n  {key} " not in done.stdout] == []


@pytest.mark.parametrize("page", sorted(
    path.name for path in (ROOT / "curl_plugin/man").iterdir()))
def test_man_page_is_clean(page):
    """Two formatters have nothing to complain of, the doctor's page included."""
    path = ROOT / "curl_plugin/man" / page
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True,
                          text=True)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
    shown = subprocess.run(["man", "-l", "--warnings", path], capture_output=True, text=True,
                           env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
    assert (shown.returncode, shown.stderr) == (0, "")
    assert max(map(len, shown.stdout.splitlines())) <= 80 and "NAME" in shown.stdout


def test_man_page_names_every_function():
    header = (ROOT / "curl_plugin/include/strict_tls/curl.h").read_text()
    page = (ROOT / "curl_plugin/man/stls_curl_enable.3").read_text()
    functions = set(re.findall(r"\b(stls_curl_\w+)\(", header))
    assert functions and [name for name in functions if name not in page] == []
    exported = subprocess.run(["nm", "-D", "--defined-only", BUILD / "lib/libstrict_tls_curl.so"],
                              capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r" T (stls_curl_\w+)", exported)) == functions


def test_completion():
    script = ROOT / "curl_plugin/completion/strict-curl"
    done = subprocess.run(
        ["bash", "-c", f"source {script}; COMP_WORDS=(strict-curl --cacer); COMP_CWORD=1; "
         "_strict_curl strict-curl --cacer strict-curl; echo ${COMPREPLY[@]}"],
        capture_output=True, text=True, check=True)
    assert "--cacert" in done.stdout.split()


def test_example_many(peers, curls):
    """Several at once, each with a verdict of its own."""
    urls = {url_of(peers.good_ip, "127.0.0.1"): "0 none",
            url_of(peers.bad_ip, "127.0.0.1"): "60 chain.incomplete",
            url_of(peers.good, "127.0.0.1"): "60 name.mismatch"}
    done = curls.run([BUILD / "examples/curl/many", peers.good.trust, "fetch_deny=none", *urls])
    assert set(done.stdout.splitlines()) == {f"{url} {end}" for url, end in urls.items()}
    assert done.returncode == 2
