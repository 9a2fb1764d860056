"""Makes chains, OCSP answers and a large CRL, and has core_bench measure the core on them."""
import re
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
    answers = {}
    issuer = pki.issue("root", ca=True, days=3650.0, key=key)
    (folder / "root").write_bytes(issuer.der)
    url = ["http://ocsp.lab.test/"]
    made = []
    other = folder.with_name(f"{folder.name}-other")  # another leaf below the same
    other.mkdir()
    (other / "root").write_bytes(issuer.der)
    for number in range(length - 2):
        issuer = pki.issue(f"ca{number}", issuer, ca=True, days=3650.0, key=key, ocsp=url)
        made.append(issuer)
    for place, label in ((folder, "leaf"), (other, "other leaf")):
        leaf = pki.issue(label, issuer, sans=(NAME,), key=key, ocsp=url)
        for index, entity in enumerate([leaf, *reversed(made)]):
            (place / f"cert{index}").write_bytes(entity.der)
            (place / f"answer{index}").write_bytes(
                answers.setdefault(entity.label, build(
                    Answer(), entity, Question(entity.serial), Signers(), 1)))
    return pki["root"]


def instructions(folder):
    """{chain: {what: instructions}}, counted by callgrind."""
    out = folder / "callgrind"
    subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}",
                    ROOT / "build/bench/core_bench", folder, "instructions"], check=True)
    found = {}
    for path in folder.glob("callgrind.*"):
        text = path.read_text()
        chain_name, what = re.search(r"^desc: Trigger: .*?(\S+) (\S+)$", text, re.M).groups()
        found.setdefault(chain_name, {})[what] = int(re.search(r"^(?:totals|summary): (\d+)", text,
                                                               re.M)[1])
    return found


def print_instructions(found):
    print("\nInstructions (callgrind), of a bare X509_verify_cert(), of a cold check, and of one for "
          "a new leaf\nunder intermediates whose signatures and answers were verified before:\n\n"
          "| chain | bare | cold | ratio | known intermediates | ratio |\n|---|---|---|---|---|---|")
    for name, counts in sorted(found.items()):
        bare = counts["bare"]
        print(f"| {name} | {bare} | {counts['cold']} | {counts['cold'] / bare:.2f} "
              f"| {counts['known']} | {counts['known'] / bare:.2f} |")


def main():
    with tempfile.TemporaryDirectory(prefix="strict-tls-bench-") as name:
        folder = Path(name)
        for kind, key in (("p256", "p256"), ("rsa", "rsa2048")):
            for length in (2, 3, 4):
                own = folder / f"{kind}-{length}"
                own.mkdir()
                root = chain(own, key, length)
        (folder / "big.crl").write_bytes(crl.build(root, entries=crl.many(CRL_ENTRIES)))
        status = subprocess.run([ROOT / "build/bench/core_bench", folder], check=False).returncode
        sys.stdout.flush()
        print_instructions(instructions(folder))
        return status


if __name__ == "__main__":
    sys.exit(main())
