"""The curl command, plain and strict, against a scenario's backend."""
import json
import os
import subprocess

from . import fronts, net
from .nginx import BUILD

STRICT_CURL = BUILD / "bin/strict-curl"
REFUSED = 60  # curl's exit status for peers that it does not trust


class Curls:
    def __init__(self, lab):
        self._lab = lab
        self._home = lab.folder / "curl-home"
        self._home.mkdir(exist_ok=True)

    def _run(self, program, scenario, **settings):
        scene = self._lab.scenes[scenario.id]
        words = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", scene.trust,
                 "--connect-to", f"::{net.HOST}:{scene.backend.port}"]
        if scene.client:
            words += ["--cert", scene.client, "--key", scene.client_key]
        done = subprocess.run(
            [*map(str, [program, *words]), f"https://{scenario.name}:{scene.backend.port}/"],
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self._home),
                 **settings},
            capture_output=True, text=True, timeout=60)
        return int(done.stdout or 0) if done.returncode == 0 else done.returncode

    def plain(self, scenario):
        """HTTP status, or curl's exit status where there is none."""
        return self._run("curl", scenario)

    def strict(self, scenario):
        """The same, and the reason."""
        url = f"http://{net.HOST}:{self._lab.responder.port}"
        policy = {**fronts.LAB_POLICY, **scenario.policy}
        words = sorted(policy.items(), key=lambda word: word[0] != "preset")
        report = self._home / "report.jsonl"
        report.unlink(missing_ok=True)
        status = self._run(
            STRICT_CURL, scenario, STRICT_TLS_REPORT=str(report),
            STRICT_TLS_POLICY=" ".join(f"{key}={value.format(url=url)}" for key, value in words))
        reports = net.whole_lines(report).splitlines()
        reason = json.loads(reports[-1])["reason"] if reports else "no report"
        return status, "" if reason == "none" else reason


def wanted(scenario):
    """Status from strict-curl."""
    return REFUSED if scenario.reason else scenario.backend_status
