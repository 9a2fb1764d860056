"""The OCSP responder that comes with OpenSSL, one process per issuing CA.

`openssl ocsp -port` answers GET only below "/" and ends at any other path, so
its URL has no path.  It listens on every address: it has no option for one.
And it spins for ever once a connection closes before it sent a request, so
readiness is read from its output instead of being probed.
"""
from . import net
from .process import Process


class OpensslResponder:
    def __init__(self, folder, issuer):
        self.issuer = issuer
        self.port = net.free_port()
        self.url = f"http://{net.HOST}:{self.port}"
        self._folder = folder
        self._index = folder / f"{issuer.label}.index"
        self._index.write_text("")
        self._process = None

    def know(self, entity, revoked=False):
        """One line of the CA database (the format that `openssl ca` writes)."""
        expires = entity.expires_at.strftime("%Y%m%d%H%M%SZ")
        when = entity.starts_at.strftime("%y%m%d%H%M%SZ") + ",keyCompromise"
        serial = f"{entity.serial:X}"
        serial = serial.zfill(len(serial) + len(serial) % 2)
        with self._index.open("a") as index:
            index.write("\t".join([
                "R" if revoked else "V", expires, when if revoked else "", serial, "unknown",
                f"/CN={entity.label}"]) + "\n")

    def start(self):
        self._process = Process(
            ["openssl", "ocsp", "-port", self.port, "-ignore_err", "-timeout", "5",
             "-index", self._index, "-CA", self.issuer.cert_path,
             "-rsigner", self.issuer.cert_path, "-rkey", self.issuer.key_path, "-nmin", "60"],
            folder=self._folder, name=f"openssl-ocsp-{self.issuer.label}", ready_text="ACCEPT")
        self._process.wait_ready()
        return self

    def stop(self):
        if self._process:
            self._process.stop()
