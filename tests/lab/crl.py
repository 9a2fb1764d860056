"""CRLs, written in DER by hand so that bad and huge ones can be made, and a server for them."""
import base64
import contextlib
import http.client
import http.server
import os
import tempfile
import threading
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from . import der, net
from .pki import now
from .process import limit_files
from .verdicts import ACCEPT, verdict

OID_ECDSA_SHA256 = "1.2.840.10045.4.3.2"
OID_RSA_SHA256 = "1.2.840.113549.1.1.11"


@contextlib.contextmanager
def readable_folder():
    """For CRL files that a server's children, who have dropped root, read again."""
    with tempfile.TemporaryDirectory(prefix="strict-tls-crls-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def entry(serial, *, reason=1, issuer=None, moment=None):
    """One revoked certificate; `issuer` is an indirect CRL's certificate issuer entry extension."""
    extensions = [_extension("2.5.29.21", der.enumerated(reason))]
    if issuer is not None:
        extensions.append(_extension("2.5.29.29", der.sequence(_directory(issuer)), True))
    return der.sequence(der.integer(serial), _time((moment or now()) - timedelta(days=1)),
                        der.sequence(*extensions))


def build(issuer, serials=(), *, entries=b"", this_update_s=-3600, next_update_s=86400,
          only_ca=False, damage="", extensions=(), signer=None, moment=None):
    """A CRL by this CA.

    `entries` is more of them, encoded already; `extensions` likewise;
    next_update_s None leaves it out; `signer` is another entity whose key signs.
    """
    moment = moment or now()
    signer = signer or issuer
    is_ec = isinstance(signer.key, ec.EllipticCurvePrivateKey)
    algorithm = (der.sequence(der.oid(OID_ECDSA_SHA256)) if is_ec
                 else der.sequence(der.oid(OID_RSA_SHA256), der.null()))
    extensions = list(extensions)
    if only_ca:
        extensions.append(issuing_point(only_ca=True))
    revoked = b"".join(entry(serial, moment=moment) for serial in serials) + entries
    tbs = der.sequence(
        der.integer(1), algorithm,
        issuer.cert.subject.public_bytes(serialization.Encoding.DER),
        _time(moment + timedelta(seconds=this_update_s)),
        b"" if next_update_s is None else _time(moment + timedelta(seconds=next_update_s)),
        der.sequence(revoked) if revoked else b"",
        der.explicit(0, der.sequence(*extensions)) if extensions else b"")
    if is_ec:
        signature = signer.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    else:
        signature = signer.key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    if damage == "signature":
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    crl = der.sequence(tbs, algorithm, der.bits(signature))
    return crl[:-10] if damage == "truncate" else crl


def issuing_point(url=None, *, only_user=False, only_ca=False, only_attribute=False, reasons=None,
                  indirect=False):
    """The issuing distribution point extension (RFC 5280 section 5.2.5); reasons are bit numbers."""
    fields = []
    if url:
        fields.append(der.explicit(0, der.explicit(0, der.tlv(0x86, url.encode()))))
    flags = [(1, only_user), (2, only_ca), (4, indirect), (5, only_attribute)]
    fields += [der.tlv(0x80 | tag, b"\xff") for tag, is_set in flags[:2] if is_set]
    if reasons is not None:
        bits = sum(0x8000 >> bit for bit in reasons)
        fields.append(der.tlv(0x83, b"\x07", bits.to_bytes(2, "big")))
    fields += [der.tlv(0x80 | tag, b"\xff") for tag, is_set in flags[2:] if is_set]
    return _extension("2.5.29.28", der.sequence(*fields), True)


def number(value):
    return _extension("2.5.29.20", der.integer(value))


def delta_of(base):
    """Makes it a delta to the complete CRL with this number."""
    return _extension("2.5.29.27", der.integer(base), True)


def freshest(url):
    """Where the delta to this CRL is."""
    return _extension("2.5.29.46", der.sequence(der.sequence(
        der.explicit(0, der.explicit(0, der.tlv(0x86, url.encode()))))))


def unknown(critical=True):
    return _extension("1.2.3.4", der.null(), critical)


def _extension(oid, value, critical=False):
    return der.sequence(der.oid(oid), bytes.fromhex("0101ff") if critical else b"",
                        der.octets(value))


def _directory(entity):
    return der.explicit(4, entity.cert.subject.public_bytes(serialization.Encoding.DER))


def many(number):
    """That many entries with serials that no certificate of the lab has."""
    one = entry(1 << 126)
    at = one.index(bytes([0x02, 0x10])) + 2
    return b"".join(one[:at] + b"\x40" + number.to_bytes(15, "big") + one[at + 16:]
                    for number in range(number))


def pem(crl):
    text = base64.encodebytes(crl).decode().replace("\n", "")
    lines = "\n".join(text[at:at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN X509 CRL-----\n{lines}\n-----END X509 CRL-----\n"


class CrlFile:
    """An administrator's file: current CRLs of every CA of a lab's usual chain."""

    def __init__(self, lab, path):
        self._pki = lab.pki
        self.path = path
        self.write()

    def stage(self, *revoked, **fields):
        """Another content for it, with these leaves revoked, in a file of its own."""
        path = self.path.with_suffix(f".{len(list(self.path.parent.iterdir()))}")
        path.write_text("".join(
            [pem(build(self._pki["issuing"], [leaf.serial for leaf in revoked], **fields))]
            + [pem(build(self._pki[label])) for label in ("intermediate", "root")]))
        return path

    def write(self, *revoked, **fields):
        os.replace(self.stage(*revoked, **fields), self.path)

    def policy(self, **more):
        return {"short_lived_s": "0", "crl_file": str(self.path), **more}


def assert_file_rung(stage, file, location):
    """The file is asked first, or alone; about what it does not cover the responder is asked.

    `location` makes one of (path, peer, policy) for the stage's kind of front end.
    """
    revoked = ("reject", "crl.revoked")
    good, bad = stage.peer("good"), stage.peer("revoked")
    silent = stage.peer("silent", ocsp="none")
    stage.open()
    file.write(bad.leaf)
    only_leaf = file.path.with_name("leaf.pem")
    only_leaf.write_text(pem(build(stage.lab.pki["issuing"])))
    alone = file.policy(revocation_sources="file")
    quiet = [
        ("/good", good, file.policy(), ACCEPT),
        ("/silent", silent, file.policy(), ACCEPT),
        ("/revoked", bad, file.policy(), revoked),
        ("/alone", bad, alone, revoked),
        ("/soft", bad, {**alone, "revocation": "soft"}, revoked),
    ]
    asking = [
        ("/part", good, file.policy(crl_file=str(only_leaf)), ACCEPT),
        ("/part_alone", good, {**alone, "crl_file": str(only_leaf)},
         ("reject", "revocation.inconclusive")),
    ]
    _, port = stage.front([location(*row[:3]) for row in quiet + asking])
    before = len(stage.responder.hits)
    for path, _, _, wanted in 2 * quiet:
        assert verdict(net.get(port, path)) == wanted, path
    assert len(stage.responder.hits) == before
    for path, _, _, wanted in asking:
        assert verdict(net.get(port, path)) == wanted, path


UNUSABLE = ("absent", "text", "folder")


def unusable_file(folder, what):
    """A path that no CRL can be read from."""
    (folder / "text").write_text("no CRL\n")
    (folder / "folder").mkdir()
    return folder / what


def point(url):
    """The (extension, critical) pair that names this CRL."""
    return x509.CRLDistributionPoints([x509.DistributionPoint(
        [x509.UniformResourceIdentifier(url)], None, None, None)]), False


def _time(when):
    return der.tlv(0x17, when.strftime("%y%m%d%H%M%SZ").encode())


class CrlServer:
    """Serves bytes by name and counts who asks for them."""

    def __init__(self):
        self.files = {}
        self.counts = {}
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/")
                server.counts[name] = server.counts.get(name, 0) + 1
                body = server.files.get(name)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Type", "application/pkix-crl")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer((net.HOST, net.free_port()), Handler)
        self._server.daemon_threads = True

    def url(self, name):
        return f"http://{net.HOST}:{self._server.server_port}/{name}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()


def assert_read_after_want_of_descriptors(file, leaf, front, pids, port, name=net.HOST):
    """That passes, and nothing about the file changes: it is read all the same.

    All on one connection, of which and of its backend's there is a descriptor; pids: whose
    they are, asked each time.
    """
    with contextlib.closing(http.client.HTTPConnection(net.HOST, port, timeout=30)) as client:

        def ask():
            client.request("GET", "/", headers={"Host": name})
            answer = client.getresponse()
            answer.read()
            return answer.getheader("X-Strict-TLS-Reason")

        assert ask() == "none"
        limit_files(pids(), 3)
        file.write(leaf)
        net.wait_until(lambda: ask() and "the CRLs read before stay" in front.new_errors(),
                       "the log line", step_s=0.1)
        limit_files(pids(), 1000)
        # Fewer than the requests that one connection of httpd's is good for.
        net.wait_until(lambda: ask() == "crl.revoked", "the new content", step_s=0.5)
