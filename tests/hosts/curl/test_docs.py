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


def test_programming_page(peers, curls):
    """Each program on it is compiled as it stands, and run."""
    text = (ROOT / "docs/programming.md").read_text()
    transfer, offline = re.findall(r"^```c\n(.*?)^```$", text, re.M | re.S)
    flags = [f"-I{ROOT}/common/include", f"-I{ROOT}/curl_plugin/include", f"-L{BUILD}/lib"]
    program = compile(curls.folder, transfer, [*flags, "-lstrict_tls_curl", "-lcurl",
                                               f"-Wl,-rpath,{BUILD}/lib"])
    done = curls.run([program, url_of(peers.bad_ip, "127.0.0.1"), peers.bad_ip.trust])
    assert done.returncode == 1 and done.stderr.startswith("chain.incomplete: ")
    program = compile(curls.folder, offline, [*flags, "-l:libstrict_tls.a", "-ljansson", "-lssl",
                                              "-lcrypto"])
    for peer, code in ((peers.good_ip, 0), (peers.bad_ip, 1)):
        done = curls.run([program, peer.trust, peer.backend.chain, "127.0.0.1"])
        assert done.returncode == code, done
        assert (code == 0) == ("chain.incomplete" not in done.stdout)


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


def exported():
    listed = subprocess.run(["nm", "-D", "--defined-only", BUILD / "lib/libstrict_tls_curl.so"],
                            capture_output=True, text=True, check=True).stdout
    return {line.split()[2].split("@")[0] for line in listed.splitlines()}


def test_what_is_exported_is_documented(installed):
    """In a header, and by man."""
    headers = "".join(path.read_text() for folder in ("common", "curl_plugin")
                      for path in (ROOT / folder / "include/strict_tls").iterdir())
    declared = set(re.findall(r"\b(st(?:ls|rict_tls)_\w+)\(", headers))
    pages = {path.stem for path in (installed / "opt/strict/share/man/man3").iterdir()}
    assert len(exported()) > 40
    assert exported() - declared == set()
    assert exported() - pages == set()
    assert set(re.findall(r"\b(stls_curl_\w+)\(", headers)) <= exported()


CPLUSPLUS = """
#include <cstdio>
#include <strict_tls/own_chain.h>
#include <strict_tls/report_table.h>
#include <strict_tls/status_page.h>
#include <strict_tls/curl.h>
int main(int argc, char **argv)
{
    stls_error err;
    char error[1000] = "";
    stls_policy *policy = stls_policy_new(nullptr);
    if (argc != 3 || stls_policy_set_text(policy, "fetch_deny=none", &err) != STLS_OK
        || stls_policy_freeze(policy, &err) != STLS_OK) {
        return 2;
    }
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, argv[1]);
    curl_easy_setopt(curl, CURLOPT_CAINFO, argv[2]);
    if (stls_curl_set_error_buffer(curl, error, sizeof(error)) != STLS_CURL_ERR_NOT_ENABLED
        || stls_curl_enable(curl, policy, &err) != STLS_CURL_OK
        || stls_curl_set_error_buffer(curl, error, 100) != STLS_CURL_ERR_ARGUMENT
        || stls_curl_set_error_buffer(curl, error, sizeof(error)) != STLS_CURL_OK) {
        return 2;
    }
    int code = curl_easy_perform(curl);
    const stls_result *result = stls_curl_last_report(curl);
    std::printf("%d|%s|%s|%s|%s", code, stls_reason_id(stls_result_reason(result)),
                stls_result_get0_detail(result), stls_result_get0_remedy(result), error);
    stls_curl_disable(curl);
    curl_easy_cleanup(curl);
    stls_policy_free(policy);
    return 0;
}
"""


def test_cplusplus(peers, curls):
    source, program = curls.folder / "a.cc", curls.folder / "a"
    source.write_text(CPLUSPLUS)
    subprocess.run(["c++", "-Wall", "-Wextra", "-Werror", "-o", program, source,
                    f"-I{ROOT}/common/include", f"-I{ROOT}/curl_plugin/include", f"-L{BUILD}/lib",
                    "-lstrict_tls_curl", "-lcurl", f"-Wl,-rpath,{BUILD}/lib"], check=True)
    done = curls.run([program, url_of(peers.bad_ip, "127.0.0.1"), peers.bad_ip.trust])
    code, reason, detail, remedy, error = done.stdout.split("|")
    assert (code, reason) == ("60", "chain.incomplete")
    assert detail and remedy and f'remedy="{remedy}"' in error  # whole: the buffer is large


def test_results_that_must_be_looked_at(curls):
    source = curls.folder / "a.c"
    for call in ("stls_curl_enable(0, 0, 0)", "stls_curl_set_anchors(0, 0)",
                 "stls_policy_freeze(0, 0)", 'stls_policy_set_text(0, "", 0)'):
        source.write_text(f"#include <strict_tls/curl.h>\nvoid f(void);\nvoid f(void) {{ {call}; }}")
        done = subprocess.run(["cc", "-c", "-Wall", "-Werror", "-o", "/dev/null", source,
                               f"-I{ROOT}/common/include", f"-I{ROOT}/curl_plugin/include"],
                              capture_output=True, text=True)
        assert "unused-result" in done.stderr


def test_the_core_by_pkg_config(installed, curls):
    """A program that judges with the static core, from the installed place."""
    root = f"{installed}/opt/strict"
    subprocess.run(["install", "-D", "-m", "644", "-t", f"{root}/lib", BUILD / "lib/libstrict_tls.a"],
                   check=True)
    subprocess.run(["install", "-D", "-m", "644", "-t", f"{root}/include/strict_tls",
                    *(ROOT / "common/include/strict_tls").iterdir()], check=True)
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "strict_tls", f"--define-variable=prefix={root}"],
        env={**environment(curls.folder), "PKG_CONFIG_PATH": f"{root}/lib/pkgconfig",
             "PKG_CONFIG_SYSROOT_DIR": ""}, capture_output=True, text=True, check=True).stdout.split()
    program = compile(curls.folder, """
        #include <stdio.h>
        #include <strict_tls/strict_tls.h>
        int main(void) {
            stls_check *check = stls_check_new(NULL, NULL, STLS_ROLE_SERVER);
            stls_check_free(check);
            puts(strict_tls_version());
            return 0;
        }""", flags)
    assert curls.run([program]).stdout.strip() == (ROOT / "VERSION").read_text().strip()


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
