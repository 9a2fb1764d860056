"""The answer cache on disk: asked once, never trusted, never in the way."""
import os
import resource
import shutil
import signal
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosts.curl.conftest import (EXAMPLE, STRICT_CURL, Curls, environment, policy_text,
                                       url_of)
from tests.lab import net

NOBODY = 65534


def cache_of(curls):
    return curls.folder / ".cache/strict-tls"


def entries(curls):
    return sorted(path for path in cache_of(curls).iterdir()
                  if not path.name.startswith("tmp-") and path.name != "lock")


def ask(curls, peer, *more, **options):
    done, reports = curls.strict_curl(*curls.curl_words(peer), *more, **options)
    return done.returncode, reports[0]["reason"] if reports else None, done.stderr


def test_a_revocation_is_asked_once(peers, curls):
    peers.responder.forget()
    for _ in range(5):
        assert ask(curls, peers.revoked)[:2] == (60, "ocsp.revoked")
    assert peers.responder.count(peers.revoked.place) == 1


def test_many_processes(peers, curls):
    """All at once on an empty cache, each with reports of its own: one of them asks."""
    peers.responder.forget()
    others = [Curls(curls.folder / str(number)) for number in range(20)]
    for other in others:
        other.folder.mkdir(exist_ok=True)

    def one(other):
        return ask(other, peers.late, env={"XDG_CACHE_HOME": str(curls.folder / cache)})[:2]

    # Where there is no cache, everybody asks: the control.
    for cache, asked in (("shared", 1), ("shared/strict-tls/lock", 1 + len(others))):
        with ThreadPoolExecutor(len(others)) as pool:
            assert set(pool.map(one, others)) == {(0, "none")}
        assert peers.responder.count(peers.late.place) == asked
    names = os.listdir(curls.folder / "shared/strict-tls")
    assert len(names) == 4 and not [name for name in names if name.startswith("tmp-")]


def start(curls, peer, **policy):
    return subprocess.Popen(
        list(map(str, [STRICT_CURL, *curls.curl_words(peer)])), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(curls.folder, STRICT_TLS_POLICY=policy_text(policy)))


def test_nobody_waits_for_one_that_is_gone(peers, curls):
    """Neither for one that was killed, nor for ever for one that hangs."""
    peer, responder = peers.held, peers.responder
    responder.forget()
    asking = start(curls, peer, fetch_timeout_ms="60000", fetch_total_ms="60000")
    try:
        net.wait_until(lambda: responder.count(peer.place) == 1, "the first question")
        code, reason, _ = ask(curls, peer, policy=policy_text(
            {"fetch_timeout_ms": "500", "negative_ttl_s": "0"}))
        assert (code, reason) == (60, "fetch.timeout")
        assert responder.count(peer.place) == 2
    finally:
        asking.kill()
        asking.wait()
    responder.release(peer.place)
    assert ask(curls, peer)[:2] == (0, "none")
    assert responder.count(peer.place) == 3


def test_what_failed_in_a_proxy_is_not_remembered_without(peers, curls):
    for _ in range(2):
        code, reason, _ = ask(curls, peers.good, env={"http_proxy": f"http://{net.HOST}:1"})
        assert (code, reason) == (60, "fetch.network")
    assert ask(curls, peers.good)[:2] == (0, "none")


def test_an_answer_that_settles_nothing_is_waited_for(peers, curls):
    """By many at once: one of them asks."""
    peers.responder.forget()
    with ThreadPoolExecutor(10) as pool:
        done = list(pool.map(lambda _: curls.run(
            [STRICT_CURL, *curls.curl_words(peers.busy)],
            environment(curls.folder, STRICT_TLS_POLICY=policy_text())), range(10)))
    assert {one.returncode for one in done} == {60}
    assert all("reason=ocsp.error_status " in one.stderr for one in done)
    assert peers.responder.count(peers.busy.place) == 1


@pytest.mark.parametrize("policy", [{"revocation": "soft"}, {"ocsp_network_error": "tolerate"}])
def test_want_of_descriptors_is_no_network_failure(policy, peers, curls):
    """However few there are, nobody is accepted without having asked, and nothing is remembered."""
    accepted = refused = 0
    policy = {**policy, "revocation_scope": "leaf"}
    for limit in range(4, 24):
        shutil.rmtree(cache_of(curls), ignore_errors=True)
        peers.responder.forget()
        code, _, _ = ask(curls, peers.good, prefix=["prlimit", f"--nofile={limit}"],
                         policy=policy_text(policy))
        asked = peers.responder.count(peers.good.place)
        accepted += code == 0
        refused += code == 60
        assert code != 0 or asked == 1, limit
        if code == 60:
            assert ask(curls, peers.good, policy=policy_text(policy))[:2] == (0, "none")
    assert accepted and refused


@pytest.mark.parametrize("damage", ["empty", "garbage", "short", "swapped", "huge", "folder",
                                    "link", "bit"])
def test_poisoned(damage, peers, curls):
    """Whatever lies in the cache, the verdict is the same."""
    assert ask(curls, peers.good)[:2] == (0, "none")
    assert ask(curls, peers.revoked)[:2] == (60, "ocsp.revoked")
    contents = {path: path.read_bytes() for path in entries(curls)}
    good = list(contents.values())
    for number, (path, content) in enumerate(contents.items()):
        path.unlink()
        if damage == "empty":
            path.write_bytes(b"")
        elif damage == "garbage":
            path.write_bytes(content[:16] + os.urandom(len(content) - 16))
        elif damage == "short":
            path.write_bytes(content[:len(content) // 2])
        elif damage == "swapped":
            path.write_bytes(good[(number + 1) % len(good)])
        elif damage == "huge":
            with path.open("wb") as file:
                file.truncate(1 << 40)
        elif damage == "folder":
            path.mkdir()
        elif damage == "link":
            path.symlink_to("/dev/zero")
        else:
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert ask(curls, peers.good)[:2] == (0, "none")
    assert ask(curls, peers.revoked)[:2] == (60, "ocsp.revoked")


def test_bounded(peers, curls):
    cache_of(curls).mkdir(parents=True, mode=0o700)
    old = time.time() - 86400
    for number in range(4500):
        path = cache_of(curls) / f"{number:064x}"
        path.write_bytes(b"x")
        os.utime(path, (old, old))
    abandoned = cache_of(curls) / "tmp-1-1-0"
    abandoned.write_bytes(b"x")
    os.utime(abandoned, (old, old))
    assert ask(curls, peers.good)[:2] == (0, "none")
    assert len(entries(curls)) <= 4096
    assert not abandoned.exists()
    assert ask(curls, peers.good)[:2] == (0, "none")


def test_open_to_others_is_closed(peers, curls):
    cache_of(curls).mkdir(parents=True)
    cache_of(curls).chmod(0o777)
    assert ask(curls, peers.good)[:2] == (0, "none")
    assert stat.S_IMODE(cache_of(curls).stat().st_mode) == 0o700


def unusable(curls, peer, **options):
    """Says so on one line, and everything else goes as ever."""
    code, reason, said = ask(curls, peer, **options)
    assert (code, reason) == (0, "none"), said
    assert sum("strict-tls: " in line for line in said.splitlines()) == 1, said


def test_foreign_owned(peers, curls):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    cache_of(curls).mkdir(parents=True)
    os.chown(cache_of(curls), NOBODY, NOBODY)
    unusable(curls, peers.good)
    assert entries(curls) == []


def test_a_file_in_its_place(peers, curls):
    cache_of(curls).parent.mkdir(parents=True)
    cache_of(curls).write_text("mine")
    unusable(curls, peers.good)
    assert cache_of(curls).read_text() == "mine"


@pytest.fixture
def nobodys(peers, tmp_path):
    """A home that another user owns, and what that takes to be reached at all."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    home = Curls(tmp_path / "nobody")
    for folder in [*tmp_path.parents][:2] + [tmp_path, peers.lab.folder, peers.lab.pki.folder]:
        if str(folder) != "/tmp":
            folder.chmod(folder.stat().st_mode | 0o055)
    for path in peers.lab.pki.folder.iterdir():
        path.chmod(0o644)
    home.reports = tmp_path / "reports.jsonl"
    tmp_path.chmod(0o777)
    return home


AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")


def test_read_only_home(peers, nobodys):
    nobodys.folder.chmod(0o755)  # root's
    unusable(nobodys, peers.good, prefix=AS_NOBODY)


def test_unreadable(peers, nobodys):
    cache_of(nobodys).mkdir(parents=True)
    cache_of(nobodys).chmod(0o700)  # root's
    unusable(nobodys, peers.good, prefix=AS_NOBODY)


def test_no_home(peers, curls):
    code, reason, said = ask(curls, peers.good, env={"HOME": ""})
    assert (code, reason, said) == (0, "none", "")


def test_full_disk(peers, curls):
    """Neither a signal nor a half-written answer."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    done, _ = curls.strict_curl(*curls.curl_words(peers.good), preexec_fn=limit,
                                env={"STRICT_TLS_REPORT": ""})
    assert (done.returncode, done.stdout) == (0, "200"), done.stderr
    assert "strict-tls: " in done.stderr
    assert os.listdir(cache_of(curls)) == ["lock"]
    assert ask(curls, peers.good)[:2] == (0, "none")


def test_a_report_that_cannot_be_written(peers, curls):
    """Said, and the verdict stands."""
    for peer, code in ((peers.good, 0), (peers.bad, 60)):
        done, _ = curls.strict_curl(*curls.curl_words(peer),
                                    env={"STRICT_TLS_REPORT": "/dev/full"})
        assert done.returncode == code
        assert "strict-tls: the report could not be written" in done.stderr


def test_without_a_cache(peers, curls):
    """The library's own way to say so."""
    peers.responder.forget()
    told = curls.library("cache", "", *curls.handle(peers.revoked),
                         "strict", "a", policy_text(), "perform", "a", "perform", "a")
    assert [line["code"] for line in told] == [60, 60]
    assert peers.responder.count(peers.revoked.place) == 2
    assert not cache_of(curls).exists()


def test_example(peers, curls):
    """The program in curl_plugin/examples/ as the README shows it."""
    env = environment(curls.folder, SSL_CERT_FILE=str(peers.good.trust))
    shutil.rmtree(cache_of(curls), ignore_errors=True)
    done = curls.run([EXAMPLE, url_of(peers.good_ip, "127.0.0.1"), policy_text()], env)
    assert done.returncode == 1 and '"reason":"chain.untrusted"' in done.stderr
    done = curls.run([EXAMPLE, url_of(peers.bad_ip, "127.0.0.1"), policy_text()], env)
    assert done.returncode == 1 and '"reason":"chain.incomplete"' in done.stderr
    done = curls.run([EXAMPLE, url_of(peers.good_ip, "127.0.0.1"), "nonsense=1"], env)
    assert done.returncode == 2
