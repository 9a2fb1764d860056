"""Mutual TLS with the fault on our own side: an nginx that serves its leaf alone.

What lenient and strict peers see, what nginx -t says of it, the repair, and what they see then.
"""
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import curls, fronts, net
from .nginx import BUILD, MODULE, Nginx

NAME = "mutual.lab.test"
DOCTOR = BUILD / "bin/strict-tls"
JAVA_CLIENT = Path(__file__).with_name("StrictClient.java")
PASSWORD = "lab"
POLICY = " ".join(f"{key}={value}" for key, value in
                  {**fronts.LAB_POLICY, "fetch_timeout_ms": "3000"}.items())


@dataclass(frozen=True)
class Seen:
    """How a peer fared."""

    status: int  # HTTP status; the client's exit status where there was none
    text: str  # what the client said

    @property
    def accepts(self):
        return self.status == 200


def has_java():
    return shutil.which("java") is not None


class Mutual:
    """Made before the lab starts; start() and stop() while it runs."""

    def __init__(self, lab):
        self._lab = lab
        self._leaf = lab.issue("leaf_mutual", ocsp="good", sans=(NAME,))
        self.folder = lab.folder / "mutual"
        self.folder.mkdir()
        self.chain = self.folder / "server.pem"
        self.chain.write_bytes(self._leaf.pem)
        self._root = lab.pki["root"].cert_path
        self._client = lab.bundle("client", ["client", "issuing", "intermediate"])
        self.port = net.free_port()
        self.nginx = Nginx(self.folder, "mutual", module=MODULE)
        self.nginx.configure(
            "strict_tls_fetch_deny none;\n"
            f"strict_tls_trusted_certificate {self._root};\n"
            f"server {{\nlisten {net.HOST}:{self.port} ssl;\nserver_name {NAME};\n"
            f"ssl_certificate {self.chain};\nssl_certificate_key {self._leaf.key_path};\n"
            f"ssl_client_certificate {self._root};\nssl_verify_client on;\n"
            "ssl_verify_depth 3;\nlocation / { return 200 welcome; }\n}\n")

    def start(self):
        self.nginx.start([self.port])

    def stop(self):
        self.nginx.stop()

    # ---- the peers ------------------------------------------------------------------

    def peers(self):
        """Name and function of each."""
        peers = [("curl -k", lambda: self._curl("curl", "-k")),
                 ("strict-curl", lambda: self._curl(curls.STRICT_CURL,
                                                    STRICT_TLS_POLICY=POLICY))]
        return peers + ([("Java, strict", self._java)] if has_java() else [])

    def _curl(self, program, *words, **settings):
        done = self._run(
            program, "-sS", "-o", "/dev/null", "-w", "%{http_code}", *words,
            "--cacert", self._root, "--cert", self._client,
            "--key", self._lab.client.key_path, "--resolve", f"{NAME}:{self.port}:{net.HOST}",
            f"https://{NAME}:{self.port}/", **settings)
        return Seen(int(done.stdout) if done.returncode == 0 else done.returncode,
                    done.stderr.strip())

    def _java(self):
        store = self.folder / "client.p12"
        self._run("openssl", "pkcs12", "-export", "-in", self._client,
                  "-inkey", self._lab.client.key_path, "-out", store,
                  "-passout", f"pass:{PASSWORD}").check_returncode()
        done = self._run("java", JAVA_CLIENT, net.HOST, self.port, NAME, self._root, store,
                         PASSWORD)
        said = (done.stdout or done.stderr).strip()
        return Seen(int(said) if done.returncode == 0 else done.returncode, said)

    def _run(self, *words, **settings):
        return subprocess.run(
            list(map(str, words)), capture_output=True, text=True, timeout=120,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.folder),
                 "LC_ALL": "C.UTF-8", **settings})

    # ---- the owner ---------------------------------------------------------------------

    def self_check(self):
        """The lines of nginx -t that begin with its level."""
        status, output = self.nginx.test()
        if status:
            raise RuntimeError(output)
        return [line.removeprefix("nginx: ") for line in output.splitlines()
                if "self_check" in line and line.startswith("nginx: ")]

    def repair(self):
        """strict-tls fix, and a reload; the command and what it said."""
        words = ["fix", f"{net.HOST}:{self.port}", "--name", NAME]
        done = self._run(DOCTOR, *words, "--cafile", self._root, "--policy", POLICY)
        done.check_returncode()
        self.chain.write_text(done.stdout)
        self.nginx.reload()
        return f"strict-tls {' '.join(words)} > {self.chain.name}", done.stderr.strip()
