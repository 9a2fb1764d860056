"""StrictTLSCRLFile: the administrator's own CRLs, read again when they change."""

import pytest

from tests.hosts.httpd.conftest import where
from tests.lab import crl, net
from tests.lab.scenarios import NAME
from tests.lab.verdicts import ACCEPT, verdict

REVOKED = ("reject", "crl.revoked")


@pytest.fixture
def file(stage):
    with crl.readable_folder() as folder:
        yield crl.CrlFile(stage.lab, folder / "crls.pem")


def becomes(port, expected, path="/"):
    """All children, and for good."""
    net.wait_until(lambda: {verdict(net.get(port, path)) for _ in range(8)} == {expected},
                   f"{expected}", step_s=0.1)


def test_rung(stage, file):
    crl.assert_file_rung(stage, file, lambda path, peer, policy: where(peer, path, policy=policy))


@pytest.mark.parametrize("what", crl.UNUSABLE)
def test_unusable(what, stage, tmp_path):
    peer = stage.peer("good")
    stage.open()
    path = crl.unusable_file(tmp_path, what)
    front, _ = stage.front([where(peer, policy={"crl_file": str(path)})], start=False)
    status, output = front.test()
    assert status != 0 and "StrictTLSCRLFile" in output and str(path) in output, output


def test_change(stage, file):
    """Verdicts and pooled connections that rest on the old content are not used."""
    peer = stage.peer("good")
    stage.open()
    front, port = stage.front([where(peer, policy=file.policy())])
    for _ in range(2):
        for _ in range(8):
            assert verdict(net.get(port)) == ACCEPT
        file.write(peer.leaf)
        becomes(port, REVOKED)
        file.write(next_update_s=7200)
        becomes(port, ACCEPT)
    assert "CRLs read from" in front.new_errors()


def test_becomes_unusable(stage, file):
    """What was read before stays."""
    peer, other = stage.peer("good"), stage.peer("other")
    stage.open()
    file.write(peer.leaf)
    front, port = stage.front([where(peer, policy=file.policy()),
                               where(other, "/other", policy=file.policy())])
    assert verdict(net.get(port)) == REVOKED
    file.path.with_name("spoiled").write_text("-----BEGIN X509 CRL-----\n")
    file.path.with_name("spoiled").replace(file.path)
    net.wait_until(lambda: net.get(port) and "the CRLs read before stay" in front.new_errors(),
                   "the log line", step_s=0.1)
    for _ in range(5):
        assert verdict(net.get(port)) == REVOKED
        assert verdict(net.get(port, "/other")) == ACCEPT
    file.write()
    becomes(port, ACCEPT)


def test_unread_for_want_of_a_descriptor(stage, file):
    """That passes, and nothing about the file changes: it is read all the same."""
    peer = stage.peer("good")
    stage.open()
    front, port = stage.front([where(peer, policy=file.policy())], mpm="prefork")
    crl.assert_read_after_want_of_descriptors(file, peer.leaf, front, front.child_pids, port,
                                              NAME)
