"""CRLs, written in DER by hand so that bad and huge ones can be made, and a server for them."""
import http.server
import threading
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from . import der, net
from .pki import now

OID_ECDSA_SHA256 = "1.2.840.10045.4.3.2"
OID_RSA_SHA256 = "1.2.840.113549.1.1.11"
REASON = bytes.fromhex("300c300a0603551d1504030a0101")  # keyCompromise


def entry(serial):
    return der.sequence(der.integer(serial), _time(now() - timedelta(days=1)), REASON)


def build(issuer, serials=(), *, entries=b"", this_update_s=-3600, next_update_s=86400,
          only_ca=False, damage=""):
    """A CRL by this CA; `entries` is more of them, encoded already."""
    is_ec = isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    algorithm = (der.sequence(der.oid(OID_ECDSA_SHA256)) if is_ec
                 else der.sequence(der.oid(OID_RSA_SHA256), der.null()))
    extensions = b""
    if only_ca:  # issuing distribution point, critical
        extensions = der.explicit(0, der.sequence(der.sequence(
            der.oid("2.5.29.28"), bytes.fromhex("0101ff"),
            der.octets(der.sequence(bytes.fromhex("8201ff"))))))
    revoked = b"".join(map(entry, serials)) + entries
    tbs = der.sequence(
        der.integer(1), algorithm,
        issuer.cert.subject.public_bytes(serialization.Encoding.DER),
        _time(now() + timedelta(seconds=this_update_s)),
        _time(now() + timedelta(seconds=next_update_s)),
        der.sequence(revoked) if revoked else b"", extensions)
    if is_ec:
        signature = issuer.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    else:
        signature = issuer.key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    if damage == "signature":
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    crl = der.sequence(tbs, algorithm, der.bits(signature))
    return crl[:-10] if damage == "truncate" else crl


def many(number):
    """That many entries with serials that no certificate of the lab has."""
    one = entry(1 << 126)
    at = one.index(bytes([0x02, 0x10])) + 2
    return b"".join(one[:at] + b"\x40" + number.to_bytes(15, "big") + one[at + 16:]
                    for number in range(number))


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
