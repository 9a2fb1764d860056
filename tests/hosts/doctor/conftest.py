"""Runs strict-tls as a person would, with the lab's policy and a cache of the test's own."""
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.nginx import ROOT

# Another build, with sanitizers for instance.
PROGRAM = Path(os.environ.get("STRICT_TLS_DOCTOR", ROOT / "build/bin/strict-tls"))

# Responders are on loopback; a loaded machine must not turn a good one into a silent one.
LAB_POLICY = {"fetch_deny": "none", "fetch_timeout_ms": "2000"}

ACCEPT, REJECT, UNKNOWN, USAGE = range(4)


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str

    @property
    def json(self):
        """The only diagnosis."""
        one, = self.all_json
        return one

    @property
    def all_json(self):
        return [json.loads(line) for line in self.out.splitlines()]


def policy_text(**keys):
    return " ".join(f"{key}={value}" for key, value in {**LAB_POLICY, **keys}.items())


class Doctor:
    def __init__(self, folder):
        self.folder = folder
        # Nothing of the machine's own configuration may come in.
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder),
                            "XDG_CACHE_HOME": str(folder / "cache"), "LC_ALL": "C.UTF-8"}

    def __call__(self, *args, env=None, stdin=None, timeout_s=60, text=True):
        done = subprocess.run(
            [PROGRAM, *map(str, args)], env={**self.environment, **(env or {})},
            input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True, timeout=timeout_s)
        assert done.returncode >= 0, f"ended by signal {-done.returncode}: {done.stderr!r}"
        return Run(done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace"))

    def check(self, scene, *args, name="backend.lab.test", policy=None, **options):
        """`strict-tls check --json` of a lab's backend."""
        return self("check", scene.backend.address, "--name", name, "--cafile", scene.trust,
                    "--policy", policy_text(**(policy or {})), "--json", *args, **options)


@pytest.fixture(scope="session", autouse=True)
def program():
    if not PROGRAM.exists():
        pytest.fail(f"{PROGRAM} is missing: run make doctor", pytrace=False)
    return PROGRAM


@pytest.fixture
def doctor(tmp_path):
    return Doctor(tmp_path)
