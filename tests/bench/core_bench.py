"""Makes chains, OCSP answers and a large CRL, and has core_bench measure the core on them."""
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab import crl
from tests.lab.ocsp_answer import Answer, Question, Signers, build
from tests.lab.pki import Pki
from tests.lab.scenarios import NAME

ROOT = Path(__file__).resolve().parents[2]
CRL_ENTRIES = 750_000


def chain(folder, key, length):
    """length certificates, the root among them."""
    pki = Pki(folder / "pki")
    issuer = pki.issue("root", ca=True, days=3650.0, key=key)
    (folder / "root").write_bytes(issuer.der)
    url = ["http://ocsp.lab.test/"]
    made = []
    for number in range(length - 2):
        issuer = pki.issue(f"ca{number}", issuer, ca=True, days=3650.0, key=key, ocsp=url)
        made.append(issuer)
    made.append(pki.issue("leaf", issuer, sans=(NAME,), key=key, ocsp=url))
    for index, entity in enumerate(reversed(made)):
        (folder / f"cert{index}").write_bytes(entity.der)
        (folder / f"answer{index}").write_bytes(
            build(Answer(), entity, Question(entity.serial), Signers(), 1))
    return pki["root"]


def main():
    with tempfile.TemporaryDirectory(prefix="strict-tls-bench-") as name:
        folder = Path(name)
        for kind, key in (("p256", "p256"), ("rsa", "rsa2048")):
            for length in (2, 3, 4):
                own = folder / f"{kind}-{length}"
                own.mkdir()
                root = chain(own, key, length)
        (folder / "big.crl").write_bytes(crl.build(root, entries=crl.many(CRL_ENTRIES)))
        return subprocess.run([ROOT / "build/bench/core_bench", folder], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
