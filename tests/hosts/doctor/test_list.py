"""Lists of hosts, --watch, terminals and pipes, and what happens when nothing can be written."""
import collections
import os
import pty
import resource
import select
import signal
import subprocess
import threading
import time

import pytest

from tests.hosts.doctor.conftest import (ACCEPT, PROGRAM, REJECT, UNKNOWN, Run, policy_text)
from tests.hosts.doctor.schema import errors
from tests.lab import net
from tests.lab.scenarios import NAME
from tests.lab.tls_server import TlsServer

MANY = int(os.environ.get("STRICT_TLS_HOSTS", "10000"))


def arguments(lab, *args):
    return ["check", *args, "--cafile", lab.scenes["good"].trust, "--policy", policy_text()]


def by_label(done):
    return {diagnosis["target"]["label"]: diagnosis for diagnosis in done.all_json}


def test_list(doctor, lab, tmp_path):
    hosts = tmp_path / "hosts"
    good, bad = lab.scenes["good"].backend.address, lab.scenes["leaf_only"].backend.address
    hosts.write_text(f"# partners\n\n  {good} {NAME}   # fine\r\n{bad}\t{NAME}\n"
                     f"127.0.0.1:{lab.refusing.port}\nnot a host\n{good}\n")
    done = doctor(*arguments(lab, "--hosts", hosts, "--json"))
    assert done.code == REJECT
    reasons = collections.Counter(
        (diagnosis["verdict"], diagnosis["reason"]) for diagnosis in done.all_json)
    assert reasons == {("accept", "none"): 1, ("reject", "chain.incomplete"): 1,
                       ("unknown", "none"): 2, ("reject", "name.mismatch"): 1}
    for diagnosis in done.all_json:
        assert errors(diagnosis) == []
    incomplete = by_label(done)[bad]
    assert f" {bad} --name {NAME} " in incomplete["repair"]["command"]
    assert by_label(done)["not a host"]["problems"][0]["id"] == "target.malformed"

    text = doctor(*arguments(lab, "--hosts", hosts))
    assert len(text.out.splitlines()) == 5 and "\x1b" not in text.out + text.err


@pytest.mark.parametrize("lines, code", [
    (["good"], ACCEPT), (["good", "nobody"], UNKNOWN), (["good", "nobody", "leaf_only"], REJECT),
    (["good", "bad host name"], UNKNOWN)])
def test_exit_code_of_a_list(lines, code, doctor, lab):
    addresses = {"nobody": f"127.0.0.1:{lab.refusing.port}"}
    text = "".join(f"{lab.scenes[line].backend.address} {NAME}\n" if line in lab.scenes
                   else f"{addresses.get(line, line)}\n" for line in lines)
    assert doctor(*arguments(lab, "--hosts", "-", "--quiet"), stdin=text.encode()).code == code


def test_long_list(doctor, lab, tmp_path):
    """Nothing is lost, nothing comes twice, all of it ends, within little memory."""
    # Numbers as names: no resolver is asked, every connection is refused.
    hosts = [f"127.0.{number // 250}.{number % 250 + 1}:{lab.refusing.port}"
             for number in range(MANY)]
    good = lab.scenes["good"].backend.address
    hosts[MANY // 2:MANY // 2] = [f"{good} {NAME}"]
    page = tmp_path / "page.html"
    (tmp_path / "hosts").write_text("\n".join(hosts))
    with (tmp_path / "out").open("w") as out:
        child = subprocess.Popen(
            [PROGRAM, *map(str, arguments(lab, "--hosts", tmp_path / "hosts", "--json",
                                          "--parallel", "64", "--html", page))],
            stdout=out, stderr=subprocess.PIPE, text=True, env=doctor.environment)
        with child.stderr:
            said = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    done = Run(child.returncode, (tmp_path / "out").read_text(), said)
    assert (done.code, done.err) == (UNKNOWN, "")
    labels = [diagnosis["target"]["label"] for diagnosis in done.all_json]
    assert sorted(labels) == sorted(host.split()[0] for host in hosts)
    assert by_label(done)[good]["verdict"] == "accept"
    assert page.read_text().count("<section ") == len(hosts)
    assert usage.ru_maxrss < 300 * 1024  # KiB; with every diagnosis held for the page


def test_list_with_strange_bytes(doctor, lab):
    text = b"\xff\xfe\n\x00\x00\n\x1b[31mred\n" + b"a" * 100000 + b"\n\r\n;\n" + bytes(range(128))
    done = doctor(*arguments(lab, "--hosts", "-", "--json"), stdin=text)
    assert done.code == UNKNOWN
    for diagnosis in done.all_json:
        assert errors(diagnosis) == [] and diagnosis["verdict"] == "unknown"
    plain = doctor(*arguments(lab, "--hosts", "-"), stdin=text)
    assert "\x1b" not in plain.out + plain.err and "\0" not in plain.out


def test_checks_run_side_by_side(doctor, lab):
    scene = lab.scenes["good"]
    with TlsServer(scene.backend.chain, scene.leaf.key_path, "silent") as server:
        started = time.monotonic()
        doctor(*arguments(lab, "--hosts", "-", "--timeout", "2", "--parallel", "8"),
               stdin=f"{server.address}\n".encode() * 8)
        assert time.monotonic() - started < 8


def test_one_answer_serves_the_list(doctor, lab):
    scene = lab.scenes["delegated"]
    before = lab.responder.count(scene.place)
    done = doctor(*arguments(lab, "--hosts", "-", "--quiet", "--parallel", "1"),
                  stdin=f"{scene.backend.address} {NAME}\n".encode() * 20)
    assert done.code == ACCEPT
    assert lab.responder.count(scene.place) == before + 1


# ---- terminals ---------------------------------------------------------------------

def on_a_terminal(doctor, args, env=None):
    """(exit code, what a terminal saw)."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([PROGRAM, *map(str, args)], stdout=theirs, stderr=theirs,
                             stdin=subprocess.DEVNULL,
                             env={**doctor.environment, "TERM": "xterm", **(env or {})})
    os.close(theirs)
    seen = b""
    try:
        while select.select([ours], [], [], 30)[0]:
            try:
                chunk = os.read(ours, 65536)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
        return child.wait(10), seen.decode()
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def test_colours(doctor, lab):
    args = arguments(lab, lab.scenes["leaf_only"].backend.address, "--name", NAME)
    code, seen = on_a_terminal(doctor, args)
    assert code == REJECT and "\x1b[31m" in seen
    assert "\x1b" not in on_a_terminal(doctor, args, {"NO_COLOR": "1"})[1]
    assert "\x1b" not in on_a_terminal(doctor, [*args, "--color", "never"])[1]
    assert "\x1b" not in on_a_terminal(doctor, args, {"TERM": "dumb"})[1]
    assert "\x1b[31m" in doctor(*args, "--color", "always").out


def test_progress(doctor, lab, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1:{lab.refusing.port}\n" * 30)
    code, seen = on_a_terminal(doctor, arguments(lab, "--hosts", hosts))
    assert code == UNKNOWN
    assert "30 of 30 checked" in seen
    done = doctor(*arguments(lab, "--hosts", hosts))
    assert "\r" not in done.out + done.err


# ---- watch ---------------------------------------------------------------------------

def test_watch_tells_of_a_change(doctor, lab):
    good, bad = lab.scenes["good"], lab.scenes["leaf_only"]
    with TlsServer(good.backend.chain, good.leaf.key_path) as server:
        child = subprocess.Popen(
            [PROGRAM, *map(str, arguments(lab, server.address, "--name", NAME, "--watch",
                                          "--interval", "1", "--rounds", "20"))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=doctor.environment)
        timer = threading.Timer(60, child.kill)
        timer.start()
        try:
            assert "accept" in child.stdout.readline()
            server.use(bad.backend.chain, bad.leaf.key_path)
            for line in child.stdout:
                if "reject" in line:
                    break
            for line in child.stdout:
                if "MISSING" in line:
                    break
            else:
                pytest.fail("the change was not shown")
            child.send_signal(signal.SIGINT)
            child.stdout.read()
            assert child.wait(20) == REJECT
        finally:
            timer.cancel()
            child.kill()
            child.wait()
            child.stdout.close()
            child.stderr.close()


def test_watch_is_quiet_while_nothing_changes(doctor, lab):
    for address, code in ((lab.scenes["good"].backend.address, ACCEPT),
                          (f"127.0.0.1:{lab.refusing.port}", UNKNOWN)):
        one = doctor(*arguments(lab, address, "--name", NAME, "--watch", "--rounds", "1"))
        four = doctor(*arguments(lab, address, "--name", NAME, "--watch", "--rounds", "4",
                                 "--interval", "0"))
        assert one.code == four.code == code
        assert len(four.out.splitlines()) == len(one.out.splitlines()) + 3


def test_watch_rounds(doctor, lab, tmp_path):
    done = doctor(*arguments(lab, lab.scenes["good"].backend.address, "--name", NAME, "--watch",
                             "--interval", "0", "--rounds", "3", "--json", "--html",
                             tmp_path / "page.html"))
    assert done.code == ACCEPT and len(done.all_json) == 3
    assert (tmp_path / "page.html").exists()


def test_list_stopped_by_a_signal(doctor, lab, tmp_path):
    """What was checked so far is in the page; the rest makes the exit code 2."""
    scene = lab.scenes["good"]
    hosts, page = tmp_path / "hosts", tmp_path / "page.html"
    with TlsServer(scene.backend.chain, scene.leaf.key_path, "silent") as server:
        hosts.write_text(f"{scene.backend.address} {NAME}\n" + f"{server.address}\n" * 50)
        child = subprocess.Popen(
            [PROGRAM, *map(str, arguments(lab, "--hosts", hosts, "--timeout", "2", "--parallel",
                                          "1", "--html", page))],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=doctor.environment)
        try:
            assert "accept" in child.stdout.readline()
            child.send_signal(signal.SIGINT)
            child.stdout.read()
            assert child.wait(20) == UNKNOWN
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
    assert scene.backend.address in page.read_text()


# ---- nowhere to write -------------------------------------------------------------------

def test_full_disk(doctor, lab):
    scene = lab.scenes["good"]
    for args in (arguments(lab, scene.backend.address, "--name", NAME),
                 ["fix", scene.backend.address, "--cafile", scene.trust],
                 ["help"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, *map(str, args)], stdout=full, timeout=30,
                                  stderr=subprocess.PIPE, env=doctor.environment)
        assert done.returncode == UNKNOWN and done.stderr


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def test_file_size_limit(doctor, lab, tmp_path):
    """No signal ends it, and what was there before is not lost."""
    scene, page = lab.scenes["leaf_only"], tmp_path / "page.html"
    page.write_text("old")
    for args in (arguments(lab, scene.backend.address, "--name", NAME, "--html", page, "--quiet"),
                 ["fix", scene.backend.address, "--cafile", scene.trust, "--policy",
                  policy_text()]):
        with open(tmp_path / "out", "wb") as out:
            done = subprocess.run([PROGRAM, *map(str, args)], stdout=out, stderr=subprocess.PIPE,
                                  text=True, timeout=60, env=doctor.environment,
                                  preexec_fn=limit_files)
        assert done.returncode == UNKNOWN and "File too large" in done.stderr
    assert page.read_text() == "old" and not list(tmp_path.glob("*.new"))


def test_page_cannot_be_written(doctor, lab, tmp_path):
    address = lab.scenes["good"].backend.address
    full, real = tmp_path / "full", tmp_path / "page"
    full.symlink_to("/dev/full")  # a link is never replaced
    for path in (tmp_path / "absent/page.html", tmp_path, full):
        done = doctor(*arguments(lab, address, "--name", NAME, "--html", path))
        assert done.code == UNKNOWN and done.err
    assert full.is_symlink()
    real.write_text("old")
    os.link(real, tmp_path / "reader")
    assert doctor(*arguments(lab, address, "--name", NAME, "--html", real)).code == ACCEPT
    assert (tmp_path / "reader").read_text() == "old" and "html" in real.read_text()
    assert sorted(path.name for path in tmp_path.iterdir() if ".new" in path.name) == []


def test_read_only_home(doctor, lab, tmp_path):
    """No cache, which is said once, and no matter otherwise."""
    (tmp_path / "file").write_text("")
    foreign = tmp_path / "foreign/strict-tls"
    foreign.mkdir(parents=True)
    homes = [tmp_path / "file", "/proc/nowhere"]
    if os.geteuid() == 0:
        os.chown(foreign, 65534, 65534)
        homes.append(foreign.parent)
    for home in homes:
        done = doctor(*arguments(lab, lab.scenes["good"].backend.address, "--name", NAME,
                                 "--json"), env={"XDG_CACHE_HOME": str(home), "HOME": str(home)})
        assert done.code == ACCEPT and done.json["reason"] == "none"
        assert done.err.count("strict-tls: ") == 1 and "are not kept" in done.err
    assert list(foreign.iterdir()) == []
