"""Protocols other than HTTP, at once over TLS and behind STARTTLS, each with a whole transfer."""
import ssl

import pytest

from tests.hosts.curl.conftest import VERSIONS, policy_text
from tests.lab import net, services, tls_server
from tests.lab.scenarios import NAME
from tests.lab.tls_server import TlsServer

REJECTED = 60
PINS = {"tls12": ssl.TLSVersion.TLSv1_2, "tls13": ssl.TLSVersion.TLSv1_3}

# scheme: dialogue in clear, service behind TLS, path, options, TLS connections of a transfer
ROWS = {
    "imaps": (None, services.imaps, "INBOX;UID=1", [], 1),
    "pop3s": (None, services.pop3s, "1", [], 1),
    "smtps": (None, services.smtps, "", ["--mail-from", "a@lab.test", "--mail-rcpt", "b@lab.test",
                                         "-T", "-"], 1),
    "ftps": (None, services.ftps, "file", [], 2),
    "ldaps": (None, services.ldaps, "cn=lab", [], 1),
    "imap": (tls_server.imap, services.imap, "INBOX;UID=1", ["--ssl-reqd"], 1),
    "pop3": (tls_server.pop3, services.pop3, "1", ["--ssl-reqd"], 1),
    "smtp": (tls_server.smtp, services.smtp, "", ["--mail-from", "a@lab.test", "--mail-rcpt",
                                                  "b@lab.test", "-T", "-", "--ssl-reqd"], 1),
    "ftp": (tls_server.ftp, services.ftp, "file", ["--ssl-reqd"], 2),
}


@pytest.mark.parametrize("name, reason", [("good", "none"), ("bad", "chain.incomplete"),
                                          ("revoked", "ocsp.revoked")])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scheme", ROWS)
def test_transfer(scheme, version, name, reason, peers, curls):
    dialogue, service, path, options, connections = ROWS[scheme]
    peer = getattr(peers, name)
    user = [] if scheme in ("smtp", "smtps", "ldaps") else ["-u", "user:secret"]
    with TlsServer(peer.backend.chain, peer.backend.key, dialogue, service=service,
                   version=PINS[version]) as server:
        done, reports = curls.strict_curl(
            "-sS", "-k", "-m", "20", "--cacert", peer.trust, *user, *options, "--connect-to",
            f"::{net.HOST}:{server.port}", f"{scheme}://{NAME}:{server.port}/{path}",
            input="Subject: hello\r\n\r\n")
        if reason == "none":
            net.wait_until(lambda: server.finished, "the server's end")
    assert {report["reason"] for report in reports} == {reason}, done.stderr
    if reason == "none":
        assert done.returncode == 0, done.stderr
        assert len(reports) == connections
        if not scheme.startswith("smtp"):
            assert ("cn=lab" if scheme == "ldaps" else "hello") in done.stdout
    else:
        assert done.returncode == REJECTED, done.stderr
        assert f"reason={reason} " in done.stderr
        assert server.finished == 0 and len(reports) == 1


@pytest.mark.parametrize("dialogue, served", [(tls_server.smtp, 1), (tls_server.refusing_smtp, 0)])
def test_no_tls_where_it_is_required(dialogue, served, peers, curls):
    """A server that offers no STARTTLS gets nothing."""
    good = peers.good
    with TlsServer(good.backend.chain, good.backend.key, dialogue,
                   service=services.smtp) as server:
        done, reports = curls.strict_curl(
            "-sS", "-m", "20", "--cacert", good.trust, "--ssl-reqd", "--mail-from", "a@lab.test",
            "--mail-rcpt", "b@lab.test", "-T", "-", "--connect-to",
            f"::{net.HOST}:{server.port}", f"smtp://{NAME}:{server.port}/", input="hello\r\n")
    assert (done.returncode == 0, server.served, len(reports)) == (bool(served), served, served)


@pytest.mark.parametrize("how", ["perform", "together"])
@pytest.mark.parametrize("name, code, reason", [("good", 0, "none"),
                                                ("bad", REJECTED, "chain.incomplete")])
def test_library(name, code, reason, how, peers, curls):
    peer = getattr(peers, name)
    with TlsServer(peer.backend.chain, peer.backend.key, service=services.imaps) as server:
        words = curls.handle(peer, USERPWD="user:secret")
        words[words.index("URL") + 1] = f"imaps://{NAME}:{server.port}/INBOX;UID=1"
        words[words.index("CONNECT_TO") + 1] = f"::{net.HOST}:{server.port}"
        (told,) = curls.library(*words, "strict", "a", policy_text(), how, "a")
    assert (told["code"], told["report"]["reason"]) == (code, reason)
