"""strict_tls_crl_file: the administrator's own CRLs, read again when they change."""
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import crl, fronts, net
from tests.lab.fronts import ALIVE, keepalive_pool
from tests.lab.verdicts import ACCEPT, verdict

REVOKED = ("reject", "crl.revoked")


@pytest.fixture
def file(stage, tmp_path):
    return crl.CrlFile(stage.lab, tmp_path / "crls.pem")


def becomes(port, expected, path="/"):
    net.wait_until(lambda: verdict(net.get(port, path)) == expected, f"{expected}", step_s=0.1)


def test_rung(stage, file):
    crl.assert_file_rung(stage, file, lambda path, peer, policy: fronts.location(
        path, peer, strict=True, policy=policy))


@pytest.mark.parametrize("what", crl.UNUSABLE)
def test_unusable(what, stage, tmp_path):
    peer = stage.peer("good")
    stage.open()
    path = crl.unusable_file(tmp_path, what)
    front, _ = stage.front([fronts.location("/", peer, strict=True,
                                            policy={"crl_file": str(path)})],
                           start=False)
    status, output = front.test()
    assert status != 0 and f'strict_tls_crl_file "{path}"' in output, output


def test_without_its_rung(stage, file):
    peer = stage.peer("good")
    stage.open()
    front, _ = stage.front([fronts.location("/", peer, strict=True,
                                            policy=file.policy(revocation_sources="ocsp"))],
                           start=False)
    status, output = front.test()
    assert status != 0 and "crl_file needs file in revocation_sources" in output, output


def test_change(stage, file):
    """Verdicts, sessions and kept-alive connections that rest on the old content are not used."""
    peer = stage.peer("good")
    stage.open()
    strict = {"strict": True, "policy": file.policy()}
    front, port = stage.front(
        [fronts.location("/fresh", peer, **strict),
         fronts.location("/kept", peer, target="pool", extra=ALIVE, **strict)],
        http=keepalive_pool(peer), workers=2)
    for _ in range(2):
        for path in ("/fresh", "/kept"):
            for _ in range(4):
                assert verdict(net.get(port, path)) == ACCEPT
        file.write(peer.leaf)
        for path in ("/fresh", "/kept"):
            becomes(port, REVOKED, path)
        # Each worker reads for itself; none goes back.
        net.wait_until(lambda: {verdict(net.get(port, path)) for path in ("/fresh", "/kept")
                                for _ in range(8)} == {REVOKED}, "all workers", step_s=0.2)
        file.write(next_update_s=7200)
        becomes(port, ACCEPT, "/fresh")
        net.wait_until(lambda: {verdict(net.get(port, path)) for path in ("/fresh", "/kept")
                                for _ in range(8)} == {ACCEPT}, "all workers", step_s=0.2)
    assert "CRLs read from" in front.new_errors()


def test_kept_connections_survive_what_is_the_same(stage, file):
    peer = stage.peer("good")
    stage.open()
    front, port = stage.front([fronts.location("/", peer, target="pool", extra=ALIVE, strict=True,
                                               policy=file.policy())], http=keepalive_pool(peer))
    first = net.get(port)
    file.path.with_name("copy").write_bytes(file.path.read_bytes())
    file.path.with_name("copy").replace(file.path)
    for _ in range(15):
        answer = net.get(port)
        assert verdict(answer) == ACCEPT
        assert answer.headers["x-connection"] == first.headers["x-connection"]
        time.sleep(0.1)


def test_becomes_unusable(stage, file):
    """What was read before stays, and the log says so once."""
    peer, other = stage.peer("good"), stage.peer("other")
    stage.open()
    file.write(peer.leaf)
    front, port = stage.front([fronts.location("/", peer, strict=True, policy=file.policy()),
                               fronts.location("/other", other, strict=True,
                                               policy=file.policy())])
    assert verdict(net.get(port)) == REVOKED
    file.path.with_name("spoiled").write_text("-----BEGIN X509 CRL-----\n")
    file.path.with_name("spoiled").replace(file.path)
    net.wait_until(lambda: net.get(port) and "the CRLs read before stay" in front.new_errors(),
                   "the log line", step_s=0.1)
    file.path.unlink()
    net.wait_until(lambda: net.get(port)
                   and front.new_errors().count("the CRLs read before stay") == 2,
                   "the other log line", step_s=0.1)
    for _ in range(5):
        assert verdict(net.get(port)) == REVOKED
        assert verdict(net.get(port, "/other")) == ACCEPT
    assert front.new_errors().count("the CRLs read before stay") == 2
    file.write()
    becomes(port, ACCEPT)


def test_unread_for_want_of_a_descriptor(stage, file):
    """That passes, and nothing about the file changes: it is read all the same."""
    peer = stage.peer("good")
    stage.open()
    front, port = stage.front([fronts.location("/", peer, target="pool", extra=ALIVE, strict=True,
                                               policy=file.policy())], http=keepalive_pool(peer))
    crl.assert_read_after_want_of_descriptors(file, peer.leaf, front, front.worker_pids, port)


def the_buffer(staged):
    return "malloc", staged.stat().st_size + 1


def the_table(staged):
    """Of the first CRL: four bytes for each place, of which there are half as many again."""
    return "malloc", 4 * 2**17


UNREAD = {"read error": lambda staged: ("read", staged.with_name("crls.pem")),
          "no memory to read it": the_buffer, "no memory to index it": the_table}


@pytest.mark.parametrize("kind", ["http", "stream"])
@pytest.mark.parametrize("what", UNREAD)
def test_unread_for_a_fault_of_the_machine(what, kind, stage, file, faults):
    """It is read again until that goes well, though the file itself does not change any more."""
    peer = stage.peer("good")
    stage.open()
    front, ask = stage.either(kind, {"peer": (peer, file.policy())}, wrap=faults.wrap)
    assert ask("peer") == ACCEPT
    staged = file.stage(peer.leaf, entries=crl.many(60000))
    faults.start(*UNREAD[what](staged))
    staged.replace(file.path)
    net.wait_until(lambda: "the CRLs read before stay" in front.new_errors(), "the log line")
    time.sleep(2.5)  # two more attempts
    assert ask("peer") == ACCEPT
    assert front.new_errors().count("the CRLs read before stay") == 1
    faults.stop()
    net.wait_until(lambda: ask("peer") == REVOKED, "the new content", step_s=0.2)


def test_a_large_one_holds_nobody_up(stage, file):
    peer = stage.peer("good")
    stage.open()
    staged = file.stage(peer.leaf, entries=crl.many(200000))
    assert staged.stat().st_size > 12_000_000
    _, port = stage.front([fronts.location("/strict", peer, strict=True, policy=file.policy()),
                           "location /plain { return 200; }\n"])
    assert verdict(net.get(port, "/strict")) == ACCEPT
    staged.replace(file.path)
    slowest, started = 0, time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(becomes, port, REVOKED, "/strict")
        while not changed.done():
            slowest = max(slowest, net.get(port, "/plain").seconds)
        took_s = time.monotonic() - started
        changed.result()
    # Both run on what this machine has to spare.
    assert slowest < max(0.5, took_s / 3)
