"""The seed case, as a new user meets it: lenient clients are served, strict ones are not, and the
doctor's own output leads from one to the other.

The demo tells it, the tests assert it.  Every command is run by a shell as it
stands there.
"""
import os
import re
import subprocess
from dataclasses import dataclass

from . import fronts, net, services
from .nginx import BUILD
from .scenarios import NAME
from .tls_server import TlsServer

SCENARIO = "one_missing_in_bundle"  # a lenient client finds the missing one in its own bundle
MISSING = "CN=Lab Intermediate CA,O=strict-tls lab"


@dataclass(frozen=True)
class Step:
    command: str
    code: int
    out: str
    err: str


class Story:
    def __init__(self, lab):
        self._scene = lab.scenes[SCENARIO]
        self._folder = lab.folder / "repair"
        self._folder.mkdir(exist_ok=True)
        policy = " ".join(f"{key}={value}" for key, value in fronts.LAB_POLICY.items())
        self._env = {"PATH": f"{BUILD / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}",
                     "HOME": str(self._folder), "LC_ALL": "C.UTF-8", "STRICT_TLS_POLICY": policy,
                     "CURL_CA_BUNDLE": str(self._scene.trust)}
        self.steps = []

    def _run(self, command):
        done = subprocess.run(["sh", "-c", command], cwd=self._folder, env=self._env,
                              capture_output=True, text=True, timeout=60)
        self.steps.append(Step(command, done.returncode, done.stdout, done.stderr))
        return self.steps[-1]

    def tell(self):
        """What did not come out as it must; "" if all did."""
        scene = self._scene
        with TlsServer(scene.backend.chain, scene.leaf.key_path,
                       service=services.http) as server:
            there = f"--connect-to ::{net.HOST}:{server.port} https://{NAME}:{server.port}/"
            lenient = self._run(f"curl -sS -o /dev/null -w '%{{http_code}}' {there}")
            strict = self._run(f"strict-curl -sS {there}")
            check = self._run(f"strict-tls check {server.address} --name {NAME}")
            # Nothing but what it printed is needed from here on.
            printed = re.search(r"^repair +(strict-tls fix .*> (\S+))$", check.out, re.M)
            if (lenient.code, lenient.out) != (0, "200"):
                return "the lenient client must get 200"
            if strict.code != 60 or f"issuer '{MISSING}' was not sent" not in strict.err:
                return "the strict client must name what is missing"
            if check.code != 1 or not printed or f"MISSING       {MISSING}" not in check.out:
                return "the doctor must draw the gap and print the repair"
            fix = self._run(printed[1])
            if fix.code != 0 or f"added '{MISSING}'" not in fix.err:
                return "the printed command must repair the chain"
            server.use(self._folder / printed[2], scene.leaf.key_path)
            strict = self._run(f"strict-curl -sS -o /dev/null -w '%{{http_code}}' {there}")
            check = self._run(f"strict-tls check {server.address} --name {NAME} --quiet")
            if (strict.code, strict.out, check.code) != (0, "200", 0):
                return "strict clients must accept the repaired chain"
        return ""


def _excerpt(step):
    """What the reader should see of a command's output."""
    if " check " in step.command and step.out:
        lines = step.out.splitlines()
        return [line for line in lines if re.match(
            r"  (sent|MISSING|root)|[ ]{3}[:|] .*(published)|lenient|strict|repair", line)]
    if step.code == 60:
        return [line for line in step.err.splitlines() if "strict-tls: " in line]
    return (step.out.strip() or step.err.strip()).splitlines()


def lines_of(story, wrong):
    """The story for a terminal."""
    lines = ["One of them, repaired by the doctor's own output:", ""]
    for step in story.steps:
        lines.append(f"  $ {step.command}")
        lines += [f"    {line}" for line in _excerpt(step)]
        if step.command.startswith("strict-tls fix"):
            lines += ["", "  and with fullchain.pem in the server:", ""]
        elif step.code:
            lines.append(f"    (exit status {step.code})")
    lines += ["", f"NOT AS IT MUST BE: {wrong}." if wrong
              else "The strict client accepts what it refused before."]
    return lines
