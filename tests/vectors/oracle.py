"""What others say about the vectors: `openssl verify`, and Java's PKIX (PkixOracle.java).

Only accept or reject is comparable.  Where one differs from the core, oracle.tsv says why;
docs/conformance.md shows that table:

    python3 -m tests.vectors.oracle         # puts it there anew
    python3 -m tests.vectors.oracle java    # fails where there is no Java 17 to ask
"""
import base64
import collections
import ipaddress
import shutil
import subprocess
import sys
from pathlib import Path

from tests.vectors.generate import HERE, cases, read_table, words

PAGE = HERE.parents[1] / "docs" / "conformance.md"
BEGIN, END = "<!-- begin disagreements -->", "<!-- end disagreements -->"
TITLES = {"openssl": "`openssl verify`", "java": "Java's PKIX validator and revocation checker"}

# Inputs that neither can be given: memory that runs out, a host's own decisions, chains of our own,
# fetches (answers are handed over, and one per question).
NOT_ASKED = {"fetch.expiry", "fetch.number", "ocsp.cache", "crl.cache"}


class Block:
    """One case as cases.txt has it."""

    def __init__(self):
        self.lines = collections.defaultdict(list)

    def one(self, key):
        return self.lines[key][0] if self.lines[key] else ""

    @property
    def policy(self):
        return dict(words(self.one("policy")))


def blocks(folder):
    found, block = {}, Block()
    for line in (folder / "cases.txt").read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == "end":
            found[block.one("case")] = block
            block = Block()
        block.lines[key].append(value)
    return found


# ---- openssl verify ------------------------------------------------------------------

def openssl_is_asked(case):
    """It knows no OCSP: chains, names and certificate policies, and CRLs where nothing else is named."""
    if case.rule in NOT_ASKED or case.family not in ("chain", "name", "policy", "crl"):
        return False
    if case.family == "crl":
        return case.rule not in ("crl.ladder", "crl.file")  # OCSP is in play
    return not case.answers and bool(case.peer)


def _pem(kind, der):
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {kind}-----\n{text}-----END {kind}-----\n"


def _bundle(folder, name, kind, files):
    path = folder / "openssl" / name
    path.write_text("".join(_pem(kind, (folder / file).read_bytes()) for file in files))
    return path


def _is_address(name):
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _crls(folder, block):
    """Those at hand and those at the URLs; undecodable ones are as if they could not be had."""
    files = block.lines["given_crl"] + block.lines["crl_file"]
    for line in block.lines["reply"]:
        _, outcome, file = line.split(" ")
        if outcome == "ok" and file.endswith(".crl"):
            files.append(file)
    return [file for file in dict.fromkeys(files) if _decodes(folder / file)]


def _decodes(path):
    return subprocess.run(["openssl", "crl", "-inform", "DER", "-in", path, "-noout"],
                          capture_output=True, check=False).returncode == 0


def openssl_command(folder, case, block):
    policy = block.policy
    certs = block.lines["cert"]
    preset = policy.get("preset", "strict")
    command = ["openssl", "verify", "-no-CAfile", "-no-CApath", "-no-CAstore", "-attime",
               block.one("now"),
               "-CAfile", _bundle(folder, f"{case.name}.ca", "CERTIFICATE", block.lines["anchor"]),
               "-auth_level", policy.get("security_level", "2"), "-policy_check"]
    if certs[1:] + block.lines["crl_issuer"]:
        command += ["-untrusted", _bundle(folder, f"{case.name}.others", "CERTIFICATE",
                                          certs[1:] + block.lines["crl_issuer"])]
    if policy.get("x509_strict", "on" if preset == "strict" else "off") == "on":
        command.append("-x509_strict")
    is_client = "client" in block.lines
    if policy.get("purpose") != "any":
        command += ["-purpose", "sslclient" if is_client else "sslserver"]
    wanted = block.one("name")
    if wanted and not is_client and policy.get("name") != "off":
        command += ["-verify_ip" if _is_address(wanted) else "-verify_hostname", wanted]
    for key, flag in (("require_explicit_policy", "-explicit_policy"),
                      ("inhibit_policy_mapping", "-inhibit_map"),
                      ("inhibit_any_policy", "-inhibit_any")):
        if policy.get(key) == "on":
            command.append(flag)
    for oid in policy.get("cert_policies", "2.5.29.32.0").split(","):
        command += ["-policy", oid]
    if case.family == "crl":
        leaf_only = policy.get("revocation_scope") == "leaf"
        command += ["-crl_check" if leaf_only else "-crl_check_all", "-extended_crl", "-use_deltas"]
        crls = _crls(folder, block)
        if crls:
            command += ["-CRLfile", _bundle(folder, f"{case.name}.crls", "X509 CRL", crls)]
    return [*command, _bundle(folder, f"{case.name}.leaf", "CERTIFICATE", certs[:1])]


def openssl_says(folder):
    (folder / "openssl").mkdir(exist_ok=True)
    found = blocks(folder)
    said = {}
    for case in cases():
        if openssl_is_asked(case):
            done = subprocess.run(openssl_command(folder, case, found[case.name]),
                                  capture_output=True, text=True, check=False, timeout=60)
            said[case.name] = ("accept" if done.returncode == 0 else "reject",
                               done.stdout + done.stderr)
    return said


# ---- Java ------------------------------------------------------------------------------

EXPORTS = ["--add-exports", "java.base/sun.security.util=ALL-UNNAMED"]


def java_is_asked(case):
    return case.family not in ("host", "own") and case.rule not in NOT_ASKED


def java_17():
    """The folder of its programs, or None: oracle.tsv knows what that version says, and others differ."""
    found = sorted(Path("/usr/lib/jvm").glob("java-17-openjdk-*/bin/javac"))
    found += [Path(name) for name in [shutil.which("javac")] if name]
    for javac in found:
        done = subprocess.run([javac, "-version"], capture_output=True, text=True, check=False)
        if (done.stdout + done.stderr).startswith("javac 17."):
            return javac.parent
    return None


def java_says(folder, classes):
    programs = java_17()
    classes.mkdir(parents=True, exist_ok=True)
    subprocess.run([programs / "javac", *EXPORTS, "-d", classes, HERE / "PkixOracle.java"], check=True,
                   capture_output=True, text=True, timeout=300)
    out = subprocess.run([programs / "java", *EXPORTS, "-cp", classes, "PkixOracle", folder], check=True,
                         capture_output=True, text=True, timeout=600).stdout
    rows = [line.split("\t", 2) for line in out.splitlines()]
    asked = {case.name for case in cases() if java_is_asked(case)}
    return {name: (says, why) for name, says, why in rows if name in asked}


# ---- comparing ---------------------------------------------------------------------------

def disagreements(table, said):
    """What it says by case, where that is not what the core is to say."""
    return {case.name: said[case.name][0] for case in table
            if case.name in said and (said[case.name][0] == "accept") != case.accepts}


def explained(path=HERE / "oracle.tsv"):
    """{oracle: {case: (what it says, why)}}"""
    rows = {"openssl": {}, "java": {}}
    for name, oracle, says, why in read_table(path, 4):
        if name in rows[oracle] or says not in ("accept", "reject", "either") or len(why) < 10:
            raise ValueError(f"{path.name}: {name}: twice, or without a verdict or a reason")
        rows[oracle][name] = (says, why)
    return rows


def compare(found, rows):
    """Sentences about what oracle.tsv does not explain, and about what it explains in vain.

    "either" stands for an oracle that says now this, now that."""
    problems = [f"{name}: it says {says}, and nothing explains that"
                for name, says in found.items() if name not in rows]
    problems += [f"{name}: explained as {says}, but that is not what it says"
                 for name, (says, _) in rows.items()
                 if says != "either" and found.get(name) != says]
    return sorted(problems)


# ---- the page ----------------------------------------------------------------------------

def render():
    lines = []
    for oracle, rows in explained().items():
        by_reason = collections.defaultdict(list)
        for name, (says, why) in rows.items():
            by_reason[(says, why)].append(name)
        lines += ["", f"{TITLES[oracle]}, {len(rows)} cases:", "", "| it says | why | cases |",
                  "|---|---|---|"]
        lines += [f"| {says} | {why} | {', '.join(f'`{name}`' for name in names)} |"
                  for (says, why), names in by_reason.items()]
    return "\n".join(lines + [""])


def page_with(table):
    text = PAGE.read_text()
    before, rest = text.split(BEGIN + "\n")
    _, after = rest.split(END)
    return before + BEGIN + "\n" + table + "\n" + END + after


if __name__ == "__main__":
    if sys.argv[1:] == ["java"]:
        sys.exit(java_17() is None)
    PAGE.write_text(page_with(render()))
