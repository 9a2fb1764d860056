"""nginx's own verification and CRLs beside ours: what nginx refuses was never accepted."""
import os
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.lab import crl, fronts, inbound_fronts, net, stream_fronts
from tests.lab.tls_client import VERSIONS, Client
from tests.lab.verdicts import verdict

NAMES = {"proxy": "proxy", "grpc": "grpc", "stream": "proxy"}
REVOKED = ("reject", "crl.revoked")


def stock(kind, peer, crl_file, *, verify="on", depth=9):
    name = NAMES[kind]
    return (f"{name}_ssl_verify {verify};\n{name}_ssl_verify_depth {depth};\n"
            f"{name}_ssl_trusted_certificate {peer.trust};\n"
            + (f"{name}_ssl_crl {crl_file};\n" if crl_file else ""))


def ask(stage, kind, peer, extra, **options):
    """(verdict and reason, whether it was answered, the front), of two requests."""
    if kind == "stream":
        front = stage.stream({"s": stream_fronts.server(peer, extra=extra, **options)})
        answers = [front.get("s") for _ in range(2)]
        return [((a.verdict, a.reason), a.status == 200) for a in answers], front
    front, port = stage.front([fronts.location("/", peer, kind=kind, extra=extra, **options)])
    answers = [net.get(port) for _ in range(2)]
    return [(verdict(a), a.status == 200) for a in answers], front


def crl_file(stage, serials, name):
    file = stage.lab.folder / name
    file.write_bytes(b"".join(
        x509.load_der_x509_crl(crl.build(stage.lab.pki[issuer], serials)).public_bytes(Encoding.PEM)
        for issuer in ("root", "intermediate", "issuing")))
    return file


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("strict", [True, "report"])
@pytest.mark.parametrize("kind", ["proxy", "stream"])
def test_a_crl_of_nginx(kind, strict, version, stage):
    """proxy_ssl_crl lists a certificate whose responder knows nothing of it."""
    peer = stage.peer("listed")
    stage.open()
    options = {"strict": strict, "protocols": {"tls12": "TLSv1.2", "tls13": "TLSv1.3"}[version]}
    empty = crl_file(stage, [], "empty.pem")
    told, _ = ask(stage, kind, peer, stock(kind, peer, empty), **options)
    assert told == [(("accept", "none"), True)] * 2
    full = crl_file(stage, [peer.leaf.serial], "full.pem")
    told, front = ask(stage, kind, peer, stock(kind, peer, full), **options)
    word = "reject" if strict is True else "would_reject"
    assert told == [((word, "crl.revoked"), False)] * 2
    assert [(line.word, line.reason) for line in front.verdicts()] == [(word, "crl.revoked")] * 2


@pytest.mark.parametrize("kind", ["proxy", "stream"])
def test_what_nginx_refuses_in_report_mode(kind, stage):
    """Its depth is one that the core does not know: nothing is said to be accepted."""
    peer = stage.peer("deep")
    stage.open()
    told, _ = ask(stage, kind, peer, stock(kind, peer, None, depth=0), strict="report")
    assert [(word, answered) for (word, _), answered in told] == [("would_reject", False)] * 2


@pytest.mark.parametrize("strict", [True, "report"])
def test_a_crl_about_clients(strict, stage):
    scene = stage.lab.visitor("listed", "root", "leaf")
    stage.open()
    full = crl_file(stage, [scene.leaf.serial], "full.pem")
    front, port = stage.inbound(lambda port: [inbound_fronts.server(
        stage.lab, port, "a.inbound.lab.test", stage.lab.pki["root"].cert_path, strict=strict,
        extra=f"ssl_crl {full};")])
    for _ in range(2):
        answer = Client(scene.chain, scene.key).get(port, "a.inbound.lab.test")
        assert answer.status == 400
        if strict is True:
            assert answer.headers["x-strict-tls-verdict"] == "reject"
            assert answer.headers["x-strict-tls-reason"] == "crl.revoked"
        assert answer.headers["x-verify"] == "FAILED:certificate revoked"
    # In report mode nginx does not wait for the verdict, and its 400 ends the connection.
    def verdicts():
        Client(scene.chain, scene.key).get(port, "a.inbound.lab.test")
        return front.verdicts()

    net.wait_until(verdicts, "the log line", step_s=0.2)
    assert {(line.word, line.reason) for line in front.verdicts()} == {
        ("reject" if strict is True else "would_reject", "crl.revoked")}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("verify", ["on", "off"])
def test_a_crl_that_nginx_does_not_look_at(verify, kind, stage):
    """Without verification of its own nginx does not even read it: nginx -t says so."""
    peer = stage.peer("good")
    stage.open()
    empty = crl_file(stage, [], "empty.pem")
    extra = stock(kind, peer, empty, verify=verify)
    if kind == "stream":
        front = stage.stream({"s": stream_fronts.server(peer, strict=True, extra=extra)})
    else:
        front, _ = stage.front([fronts.location("/", peer, strict=True, kind=kind, extra=extra)],
                               start=False)
    status, output = front.test()
    assert status == 0, output
    warned = f'"{NAMES[kind]}_ssl_crl" in ' in output and "[warn]" in output
    assert warned == (verify == "off"), output


@pytest.mark.parametrize("file, words", [("/dev/null", "is not a regular file"),
                                         ("/tmp", "Is a directory")])
def test_a_crl_file_that_is_none(file, words, stage):
    peer = stage.peer("good")
    stage.open()
    front, _ = stage.front([fronts.location("/", peer, strict=True, policy={"crl_file": file})],
                           start=False)
    status, output = front.test()
    assert status != 0 and f'strict_tls_crl_file "{file}"' in output and words in output
    assert ("directory" in output) == (file == "/tmp")


# ---- pipes, which can be read only once ---------------------------------------------


class Pipe:
    """A FIFO out of which a file can be read once."""

    def __init__(self, path, content):
        os.mkfifo(path)
        self.path = path
        self._process = subprocess.Popen(["sh", "-c", f'cat "{content}" > "{path}"'])

    def close(self):
        self._process.kill()
        self._process.wait()


@pytest.mark.parametrize("kind", ["proxy", "strict", "client", "own"])
def test_certificates_from_a_pipe(kind, stage, tmp_path):
    """Whoever has read it, nginx or we, the other one takes its word for it."""
    peer = stage.peer("good")
    scene = stage.lab.visitor("good", "root", "leaf")
    stage.open()
    content = stage.lab.front_chain if kind == "own" else peer.trust
    pipe = Pipe(tmp_path / "pipe", content)
    try:
        location = fronts.location("/", peer, strict=True)
        line = f"strict_tls_trusted_certificate {peer.trust};"
        servers = None
        if kind == "proxy":
            location = location.replace(line, "") .replace(
                "strict_tls on;", f"strict_tls on; proxy_ssl_verify on; proxy_ssl_verify_depth 9;"
                                  f" proxy_ssl_trusted_certificate {pipe.path};")
        elif kind == "strict":
            location = location.replace(line, f"strict_tls_trusted_certificate {pipe.path};")
        elif kind == "client":
            servers = lambda port: [inbound_fronts.server(
                stage.lab, port, "a.inbound.lab.test", stage.lab.pki["stranger"].cert_path,
                strict=True, extra=f"ssl_trusted_certificate {pipe.path};")]
        else:
            servers = lambda port: [inbound_fronts.server(
                stage.lab, port, "a.inbound.lab.test", peer.trust, strict=True).replace(
                    f"ssl_certificate {stage.lab.front_chain};", f"ssl_certificate {pipe.path};")]
        if servers:
            _, port = stage.inbound(servers)
            answer = Client(scene.chain, scene.key).get(port, "a.inbound.lab.test")
            assert (answer.status, answer.headers["x-strict-tls-verdict"]) == (200, "accept")
        else:
            _, port = stage.front([location])
            answer = net.get(port)
            assert (answer.status, *verdict(answer)) == (200, "accept", "none")
    finally:
        pipe.close()
