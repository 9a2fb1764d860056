"""Unchanged programs under libstrict_tls_preload.so, and strict-curl's refusals."""
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.hosts.curl.conftest import (CLIENT, PLAIN_CLIENT, PRELOAD, STRICT_CURL, connect_to,
                                       environment, policy_text, url_of)

REJECTED, FAILED_INIT, COULD_NOT_CONNECT = 60, 2, 7

PHP = r"""<?php
$c = curl_init($argv[1]);
curl_setopt($c, CURLOPT_CAINFO, $argv[2]);
curl_setopt($c, CURLOPT_CONNECT_TO, [$argv[3]]);
curl_setopt($c, CURLOPT_SSL_VERIFYPEER, false);
curl_setopt($c, CURLOPT_SSL_VERIFYHOST, 0);
curl_setopt($c, CURLOPT_RETURNTRANSFER, true);
if ($argv[4] == "multi") {
    $m = curl_multi_init();
    curl_multi_add_handle($m, $c);
    do { curl_multi_exec($m, $running); curl_multi_select($m); } while ($running);
    $code = curl_multi_info_read($m)["result"];
} else {
    if ($argv[4] == "copy") { $c = curl_copy_handle($c); }
    curl_exec($c);
    $code = curl_errno($c);
}
echo json_encode([$code, curl_getinfo($c, CURLINFO_RESPONSE_CODE), curl_error($c)]);
"""

PYCURL = """
import sys, pycurl
c = pycurl.Curl()
c.setopt(c.URL, sys.argv[1])
c.perform()
"""

# Past the shim: functions looked up in libcurl itself.
PAST = """
import ctypes, sys
lib = ctypes.CDLL("libcurl.so.4")
for name in ("curl_easy_init", "curl_multi_init"):
    getattr(lib, name).restype = ctypes.c_void_p
easy, multi = ctypes.c_void_p(lib.curl_easy_init()), ctypes.c_void_p(lib.curl_multi_init())
lib.curl_easy_setopt(easy, 10002, sys.argv[1].encode())
lib.curl_easy_setopt(easy, 64, ctypes.c_long(0))
lib.curl_easy_setopt(easy, 81, ctypes.c_long(0))
lib.curl_multi_add_handle(multi, easy)
running = ctypes.c_int(1)
while running.value:
    lib.curl_multi_perform(multi, ctypes.byref(running))
status = ctypes.c_long()
lib.curl_easy_getinfo(easy, 0x200002, ctypes.byref(status))
print(status.value)
"""


def preloaded(curls, **more):
    return environment(curls.folder, LD_PRELOAD=str(PRELOAD), STRICT_TLS_POLICY=policy_text(),
                       STRICT_TLS_REPORT=str(curls.reports), **more)


@pytest.mark.parametrize("how", ["easy", "multi", "copy"])
@pytest.mark.parametrize("name, code, status, reason", [
    ("good", 0, 200, "none"), ("bad", REJECTED, 0, "chain.incomplete"),
    ("revoked", REJECTED, 0, "ocsp.revoked")])
def test_php(name, code, status, reason, how, peers, curls):
    peer = getattr(peers, name)
    script = curls.folder / "ask.php"
    script.write_text(PHP)
    argv = ["php", script, url_of(peer), peer.trust, connect_to(peer), how]
    if name == "bad":  # the control
        done = curls.run(argv)
        assert json.loads(done.stdout)[:2] == [0, 200]
    done = curls.run(argv, preloaded(curls))
    got = json.loads(done.stdout)
    assert got[:2] == [code, status], done.stderr
    assert [report["reason"] for report in curls.read_reports()] == [reason]
    if code and how != "multi":
        assert f"reason={reason} " in got[2]


@pytest.mark.parametrize("how", ["perform", "together"])
@pytest.mark.parametrize("name, code, reason", [("good", 0, "none"),
                                                ("bad", REJECTED, "chain.incomplete")])
def test_a_program_in_c(name, code, reason, how, peers, curls):
    """With its own callbacks, duplicates and resets."""
    peer = getattr(peers, name)
    lax = {"SSL_VERIFYPEER": 0, "SSL_VERIFYHOST": 0}
    again = curls.handle(peer, **lax)[2:]
    told = curls.library(
        *curls.handle(peer, **lax), "ctxfn", "a", "prereq", "a", how, "a", "dup", "a", "b",
        how, "b", "free", "b", "reset", "a", *again, how, "a", client=PLAIN_CLIENT,
        env=preloaded(curls))
    assert [line["code"] for line in told] == [code] * 3
    assert told[0]["own_ctx"] == 1
    assert {report["reason"] for report in curls.read_reports()} == {reason}


def test_gnutls_is_refused(peers, curls):
    script = curls.folder / "ask.py"
    script.write_text(PYCURL)
    for argv in ([sys.executable, script, url_of(peers.good_ip, "127.0.0.1")],
                 ["git", "ls-remote", url_of(peers.good_ip, "127.0.0.1")]):
        done = curls.run(argv, preloaded(curls))
        assert done.returncode != 0
        assert done.stderr.count("strict-tls: ") == 1 and "libcurl-gnutls" in done.stderr
    assert curls.read_reports() == []


def test_past_the_shim_is_refused(peers, curls):
    script = curls.folder / "past.py"
    script.write_text(PAST)
    argv = [sys.executable, script, url_of(peers.good_ip, "127.0.0.1")]
    assert curls.run(argv).stdout.startswith("200\n")  # the control
    done = curls.run(argv, preloaded(curls))
    assert done.stdout == "0\n" and done.stderr.count("strict-tls: ") == 1


def test_other_backends_are_refused_by_the_library(peers, curls):
    """At enable time, with a code of its own."""
    other = curls.folder / "other.so"
    source = curls.folder / "other.c"
    source.write_text("""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <curl/curl.h>
        curl_version_info_data *curl_version_info(CURLversion age) {
            static curl_version_info_data info;
            info = *((curl_version_info_data *(*)(CURLversion))dlsym(
                RTLD_NEXT, "curl_version_info"))(age);
            info.ssl_version = "GnuTLS/3.7.9";
            return &info;
        }""")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", other, source], check=True)
    (told,) = curls.library(*curls.handle(peers.good), "strict", "a", "-", "perform", "a",
                            client=CLIENT, env=environment(curls.folder, LD_PRELOAD=str(other)))
    assert "OpenSSL" in told["failed"]


def test_cacert_means_that_file_alone(peers, curls, tmp_path):
    """Not the folder too that libcurl was built with: it takes what --capath names instead."""
    folder = tmp_path / "anchors"
    folder.mkdir()
    shutil.copy(peers.good.trust, folder / "root.pem")
    curls.run(["openssl", "rehash", folder])
    stranger = peers.lab.pki["stranger"].cert_path
    words = ["-sS", "-o", "/dev/null", "--connect-to", connect_to(peers.good), url_of(peers.good)]
    for trust, code in ((["--cacert", stranger], REJECTED), (["--capath", folder], 0),
                        (["--capath", folder, "--cacert", stranger], 0), ([], REJECTED)):
        assert curls.strict_curl(*trust, *words)[0].returncode == code


@pytest.mark.parametrize("insecure", [[], ["-k"]])
def test_trust_from_the_environment(insecure, peers, curls):
    words = ["-sS", "-o", "/dev/null", "--connect-to", connect_to(peers.good), url_of(peers.good)]
    for variable in ("CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        done, _ = curls.strict_curl(*insecure, *words, env={variable: str(peers.good.trust)})
        assert done.returncode == 0, done.stderr


def test_it_is_curl(peers, curls):
    """Options, output and exit codes."""
    done, reports = curls.strict_curl("--version")
    assert done.stdout.startswith("curl ") and reports == []
    done, reports = curls.strict_curl("-sS", "http://127.0.0.1:1/")
    assert done.returncode == COULD_NOT_CONNECT and reports == []
    words = ["--cacert", peers.good.trust, "--connect-to", connect_to(peers.good)]
    done, reports = curls.strict_curl("-sS", *words, url_of(peers.good), url_of(peers.good))
    assert done.stdout == "backend good\n" * 2 and len(reports) == 1  # one connection
    done, reports = curls.strict_curl(
        "-sS", "--parallel", "--parallel-immediate", "--cacert", peers.good.trust,
        "--connect-to", f"{url_of(peers.good)[8:-1]}:{connect_to(peers.good)[2:]}",
        "--connect-to", f"{url_of(peers.bad)[8:-1]}:{connect_to(peers.bad)[2:]}",
        url_of(peers.good), url_of(peers.bad))
    assert {report["reason"] for report in reports} == {"none", "chain.incomplete"}
    version = curls.run(["curl", "--version"]).stdout.split()[1]
    # curl 8.14's own --parallel may lose an error behind a transfer that went well.
    assert done.returncode == REJECTED or version.startswith("8.14.")
    assert "reason=chain.incomplete " in done.stderr


def test_modes(peers, curls):
    words = curls.curl_words(peers.bad, "backend.lab.test", "-k")
    for mode, code, verdicts in (("enforce", REJECTED, ["reject"]), ("report", 0, ["would_reject"]),
                                 ("off", 0, [])):
        done, reports = curls.strict_curl(*words, policy=policy_text({"mode": mode}))
        assert done.returncode == code
        assert [report["verdict"] for report in reports] == verdicts


@pytest.mark.parametrize("env", [
    {"STRICT_TLS_POLICY": "nonsense=1"}, {"STRICT_TLS_POLICY": "revocation=maybe"},
    {"STRICT_TLS_REPORT": "/nowhere/at/all"},
], ids=["key", "value", "report"])
def test_wrong_settings_start_nothing(env, peers, curls):
    done, _ = curls.strict_curl(*curls.curl_words(peers.good), env=env)
    assert done.returncode == FAILED_INIT
    assert done.stderr.count("strict-tls: ") == 1
    assert done.stdout in ("", "000")


def refused(curls, *words, program=STRICT_CURL, **env):
    done = curls.run([program, *words], environment(curls.folder, **env))
    assert done.returncode == FAILED_INIT, (done.stdout, done.stderr)
    assert done.stdout == "" and done.stderr.startswith("strict-curl: ")


def ends_itself(curls, *words, program=STRICT_CURL, **env):
    """The program is started, and does not understand what it is given."""
    done = curls.run([program, *words], environment(curls.folder, **env))
    assert done.returncode == FAILED_INIT and done.stdout == "", (done.stdout, done.stderr)
    assert "--strict-tls-is-not-active" in done.stderr
    return done


def test_targets_that_ignore_a_preload(curls):
    for mode in (0o4755, 0o2755):
        target = curls.folder / f"curl{mode:o}"
        shutil.copy("/usr/bin/curl", target)
        target.chmod(mode)
        refused(curls, "--version", STRICT_TLS_CURL=str(target))
    source, static = curls.folder / "main.c", curls.folder / "static"
    source.write_text("int main(void) { return 0; }")
    subprocess.run(["cc", "-static", "-o", static, source], check=True)
    refused(curls, STRICT_TLS_CURL=str(static))
    refused(curls, STRICT_TLS_CURL="no-such-program")


LONGEST_PATH = "/" + "./" * 2041 + "usr/bin/curl"


@pytest.mark.parametrize("wanted", ["a" * 5000, LONGEST_PATH + "b"], ids=["name", "path"])
def test_targets_longer_than_a_path(wanted, curls):
    """Cut off, either would be a program that exists."""
    assert len(LONGEST_PATH) == 4095 and os.access(LONGEST_PATH, os.X_OK)
    refused(curls, "--version", STRICT_TLS_CURL=wanted, PATH=LONGEST_PATH)


def test_a_libcurl_inside_the_program(peers, curls):
    """Linked statically, while the rest is not: nothing can stand in for its functions."""
    source, program = curls.folder / "inside.c", curls.folder / "inside"
    source.write_text("""
        #include <curl/curl.h>
        int main(int argc, char **argv) {
            CURL *curl = argc == 2 ? curl_easy_init() : NULL;
            curl_easy_setopt(curl, CURLOPT_URL, argv[1]);
            curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
            curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
            return curl_easy_perform(curl);
        }""")
    listed = subprocess.run(["ldd", "/lib/x86_64-linux-gnu/libcurl.so.4"], capture_output=True,
                            text=True, check=True).stdout
    libraries = [line.split()[2] for line in listed.splitlines() if "=> /" in line]
    subprocess.run(["cc", "-o", program, source, "-l:libcurl.a", *libraries], check=True)
    url = f"https://127.0.0.1:{peers.bad.backend.port}/"
    assert curls.run([program, url], environment(curls.folder)).returncode == 0
    refused(curls, url, STRICT_TLS_CURL=str(program))
    # Preloaded by hand: refused at its first TLS connection.
    done = curls.run([program, url], preloaded(curls))
    assert done.returncode not in (0, FAILED_INIT), (done.stdout, done.stderr)
    assert done.stdout == "" and done.stderr.count("strict-tls: ") == 1


def program_of(folder, name, text, *flags):
    (folder / f"{name}.c").write_text(text)
    subprocess.run(["cc", "-o", folder / name, folder / f"{name}.c", *flags], check=True)
    return folder / name


# Starts curl anew, as a snap does: without the environment.
LAUNCHER = r"""
#include <unistd.h>
int main(int argc, char **argv) {
    char *env[] = {"PATH=/usr/bin:/bin", NULL};
    argv[0] = "curl";
    return argc > 0 ? execve("/usr/bin/curl", argv, env) : 1;
}"""


def script_of(folder, name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("words", [[], ["-k"], ["-sS", "-k"]])
def test_a_launcher_that_drops_the_environment(words, peers, curls):
    """What is started in the end is another program than the one that was looked at."""
    for target in (
            script_of(curls.folder, "one", '#!/bin/sh\nexec env -i /usr/bin/curl "$@"\n'),
            script_of(curls.folder, "two", '#!/bin/sh\nunset LD_PRELOAD\ncurl -sS "$@"\n'),
            script_of(curls.folder, "three",
                      '#!/bin/sh\nexec setpriv --clear-groups env -u LD_PRELOAD curl "$@"\n')):
        argv = [target, *words, "--cacert", peers.bad.trust, "--connect-to", connect_to(peers.bad),
                "-o", "/dev/null", "-w", "%{http_code}", url_of(peers.bad)]
        if "-k" in words:
            assert curls.run(argv).stdout == "200"  # the control
        ends_itself(curls, *argv[1:], STRICT_TLS_CURL=str(target))
    target = program_of(curls.folder, "launcher", LAUNCHER)
    refused(curls, *argv[1:], STRICT_TLS_CURL=str(target))


@pytest.mark.parametrize("text", [
    '#!/bin/sh\nexec curl "$@"\n', '#!/bin/sh\ncurl -sS --http1.1 "$@"\n',
    '#!/bin/bash\nfor i in 1; do curl "$@" || exit; done\n'])
def test_scripts_that_call_curl(text, peers, curls):
    target = script_of(curls.folder, "script", text)
    for peer, code in ((peers.good, 0), (peers.bad, REJECTED)):
        done, reports = curls.strict_curl(*curls.curl_words(peer, "backend.lab.test", "-k"),
                                          env={"STRICT_TLS_CURL": str(target)})
        assert done.returncode == code, done.stderr
        assert len(reports) == 1


def test_a_target_without_libcurl(peers, curls):
    url = url_of(peers.bad_ip, "127.0.0.1")
    assert curls.run(["wget", "-qO-", "--no-check-certificate", url]).returncode == 0
    refused(curls, "-qO-", "--no-check-certificate", url, STRICT_TLS_CURL="/usr/bin/wget")
    script = script_of(curls.folder, "script", '#!/bin/sh\nexec wget "$@"\n')
    done = ends_itself(curls, "-qO-", "--no-check-certificate", url, STRICT_TLS_CURL=str(script))
    assert "backend" not in done.stdout


def test_the_first_curl_in_path(peers, curls):
    """Folders of that name, this program under it, and a script that starts it are passed over."""
    (curls.folder / "a/curl").mkdir(parents=True)
    (curls.folder / "b").mkdir()
    (curls.folder / "b/curl").symlink_to(STRICT_CURL)
    (curls.folder / "c").mkdir()
    script_of(curls.folder / "c", "curl", f'#!/bin/sh\nexec {STRICT_CURL} "$@"\n')
    path = ":".join(str(curls.folder / part) for part in "abc") + ":/usr/bin:/bin"
    for more in ({}, {"STRICT_TLS_CURL": "strict-curl"}, {"STRICT_TLS_CURL": str(STRICT_CURL)},
                 {"STRICT_TLS_CURL": str(curls.folder / "b/curl")}):
        done, reports = curls.strict_curl(*curls.curl_words(peers.good),
                                          env={"PATH": path, **more})
        assert (done.returncode, done.stdout, len(reports)) == (0, "200", 1), done.stderr


@pytest.mark.parametrize("closed", ["0<&-", "0<&- 1>&-", "0<&- 1>&- 2>&-", "2>&-"])
def test_closed_descriptors(closed, peers, curls):
    out = curls.folder / "out"
    done, reports = curls.strict_curl(
        "-sS", "--cacert", peers.good.trust, "--connect-to", connect_to(peers.good), "-o", out,
        url_of(peers.good), prefix=["sh", "-c", f'"$0" "$@" {closed}'])
    assert done.returncode == 0, done.stderr
    assert out.read_text() == "backend good\n"
    assert [report["reason"] for report in reports] == ["none"]


def test_arguments_and_environment_arrive(curls):
    """As they would without us; the program that shows them is linked with libcurl.so.4."""
    shown = program_of(curls.folder, "shown", r"""
        #include <stdio.h>
        extern char **environ;
        int main(int argc, char **argv, char **env) {
            for (int i = 1; i <= argc; i++) puts(argv[i] != NULL ? argv[i] : "(null)");
            for (int i = 0; env[i] != NULL; i++) puts(env[i]);
            return env != environ;
        }""", "-Wl,--no-as-needed", "-lcurl")
    for words in ([], [""], ["a", "", "b c", "--"], [str(number) for number in range(100)]):
        env = environment(curls.folder, STRICT_TLS_CURL=str(shown), LAST="1")
        got = curls.run([STRICT_CURL, *words], env)
        control = curls.run([shown, *words], env)
        assert got.returncode == control.returncode == 0
        lines = [line for line in got.stdout.splitlines() if not line.startswith("LD_PRELOAD=")]
        assert lines == control.stdout.splitlines()


def test_file_capabilities(curls):
    target = curls.folder / "curl"
    shutil.copy("/usr/bin/curl", target)
    value = bytes([1, 0, 0, 2]) + (1 << 10).to_bytes(4, "little") + bytes(12)
    try:
        os.setxattr(target, "security.capability", value)
    except OSError:
        pytest.skip("needs root and a file system with capabilities")
    refused(curls, "--version", STRICT_TLS_CURL=str(target))


def test_a_shim_that_does_not_load(curls, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    alone = tmp_path / "bin/strict-curl"
    shutil.copy(STRICT_CURL, alone)
    refused(curls, "--version", program=alone)  # there is none
    (tmp_path / "lib/libstrict_tls_preload.so").write_text("not a library")
    ends_itself(curls, "--version", program=alone)
    shutil.copy("/lib/x86_64-linux-gnu/libdl.so.2", tmp_path / "lib/libstrict_tls_preload.so")
    ends_itself(curls, "--version", program=alone)  # it loads, and is another one


def test_other_preloads_stay(peers, curls):
    done, _ = curls.strict_curl(*curls.curl_words(peers.bad), env={"LD_PRELOAD": "libdl.so.2"})
    assert done.returncode == REJECTED


def test_rtmps_is_refused(peers, curls):
    """librtmp does its TLS itself, past everything; the peer's chain is the bad one."""
    done, _ = curls.strict_curl(
        "-sS", "-m", "10", "--connect-to", connect_to(peers.bad),
        url_of(peers.bad).replace("https", "rtmps") + "app/stream")
    assert done.returncode != 0 and done.stderr.count("strict-tls: ") == 1, done.stderr
