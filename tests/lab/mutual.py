"""Mutual TLS with the fault on our own side: an nginx that serves its leaf alone.

What lenient and strict peers see, what nginx -t says of it, the repair, and what they see then.
"""
import os
import re
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
    """How a connection looked from both ends."""

    peer: str
    status: int  # HTTP status; the client's exit status where there was none
    text: str  # what the client said
    server: str  # what nginx logged of its end

    @property
    def accepts(self):
        return self.status == 200


def has_java():
    return shutil.which("java") is not None


class Mutual:
    """Made before the lab starts; start() and stop() while it runs."""

    def __init__(self, lab):
        self._lab = lab
        self._leaf = lab.issue("mutual_server", ocsp="good", sans=(NAME,))
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

    def ask(self):
        """Every peer asks once."""
        asks = {"curl -k": self._curl, "strict-curl": self._strict_curl}
        if has_java():
            asks["strict Java"] = self._java
        seen = []
        for peer, ask in asks.items():
            self.nginx.mark()
            status, text = ask()
            # A peer may be gone before nginx has read why.
            alert = "" if status == 200 else net.wait_until(self._alert, "the alert in the log")
            seen.append(Seen(peer, status, text, alert))
        return seen

    def _alert(self):
        found = re.search(r"SSL_do_handshake\(\) failed[^,]*alert[^,:)]*", self.nginx.new_errors())
        return found and found[0]

    def _curl(self, program="curl", words=("-k",), **settings):
        done = self._run(
            program, "-sS", "-o", "/dev/null", "-w", "%{http_code}", *words,
            "--cacert", self._root, "--cert", self._client,
            "--key", self._lab.client.key_path, "--resolve", f"{NAME}:{self.port}:{net.HOST}",
            f"https://{NAME}:{self.port}/", **settings)
        return int(done.stdout) if done.returncode == 0 else done.returncode, done.stderr.strip()

    def _strict_curl(self):
        return self._curl(curls.STRICT_CURL, (), STRICT_TLS_POLICY=POLICY)

    def _java(self):
        store = self.folder / "client.p12"
        self._run("openssl", "pkcs12", "-export", "-in", self._client,
                  "-inkey", self._lab.client.key_path, "-out", store,
                  "-passout", f"pass:{PASSWORD}").check_returncode()
        done = self._run("java", JAVA_CLIENT, net.HOST, self.port, NAME, self._root, store,
                         PASSWORD)
        said = (done.stdout or done.stderr).strip()
        return int(said) if done.returncode == 0 else done.returncode, said

    def _run(self, *words, **settings):
        return subprocess.run(
            list(map(str, words)), capture_output=True, text=True, timeout=120, cwd=self.folder,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.folder),
                 "LC_ALL": "C.UTF-8", **settings})

    # ---- the owner ---------------------------------------------------------------------

    def self_check(self):
        """The self-check's lines of nginx -t."""
        status, output = self.nginx.test()
        if status:
            raise RuntimeError(output)
        return [line for line in output.splitlines() if "strict-tls: self_check" in line]

    def repair(self):
        """strict-tls fix, and a reload; what it said."""
        done = self._run(DOCTOR, "fix", f"./{self.chain.name}", "--cafile", self._root,
                         STRICT_TLS_POLICY=POLICY)
        done.check_returncode()
        self.chain.write_text(done.stdout)
        self.nginx.reload()
        return done.stderr.strip()


class Story:
    """Fault, diagnosis, repair: the demo tells it, a test asserts it."""

    def __init__(self, lab):
        """Before the lab starts."""
        self.mutual = Mutual(lab)
        self.before = self.after = self.told = self.silent = ()
        self.changes = ""

    def tell(self):
        """What did not come out as it must; "" if all did."""
        mutual = self.mutual
        try:
            mutual.start()
            self.before = mutual.ask()
            self.told = mutual.self_check()
            self.changes = mutual.repair()
            self.silent = mutual.self_check()
            self.after = mutual.ask()
        finally:
            mutual.stop()
        if [seen.accepts for seen in self.before] != [seen.peer == "curl -k"
                                                      for seen in self.before]:
            return "strict peers must refuse the leaf alone, a lenient one must not"
        if (len(self.told) != 1 or "reason=chain.incomplete" not in self.told[0]
                or str(mutual.chain) not in self.told[0]):
            return "nginx -t must name the file and what it lacks"
        if self.silent or not all(seen.accepts for seen in self.after):
            return "every peer must be served by the repaired chain, and nginx -t be silent"
        return ""

    def lines(self, wrong):
        """The story for a terminal."""
        name = self.mutual.chain.name
        lines = ["Mutual TLS, with the fault on our own side: nginx serves its leaf alone.", "",
                 *self._peers(self.before)]
        if not has_java():
            lines.append("  strict Java       skipped: no java here (Debian: default-jdk-headless)")
        lines += ["", "  $ nginx -t", *(f"    {line}" for line in self.told),
                  f"  $ strict-tls fix ./{name} > fixed.pem && mv fixed.pem {name}",
                  *(f"    {line}" for line in self.changes.splitlines()),
                  "  $ nginx -t && nginx -s reload", *(f"    {line}" for line in self.silent), "",
                  *self._peers(self.after)]
        return [*lines, "", f"NOT AS IT MUST BE: {wrong}." if wrong
                else "The strict peers are served, and present their certificates to a server "
                     "that they trust."]

    @staticmethod
    def _peers(seen):
        lines = []
        for one in seen:
            said = "" if one.accepts else one.text.partition("\n")[0]
            lines.append(f"  {one.peer:12}{one.status:>4}  {said}".rstrip())
            if one.server:
                lines.append(f"  {'':16}  and nginx logs: {one.server}")
        return lines
