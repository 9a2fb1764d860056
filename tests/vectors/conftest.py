"""The vectors, made once per run."""
import subprocess
from pathlib import Path

import pytest

from tests.vectors.generate import generate

BUILD = Path(__file__).parents[2] / "build"


@pytest.fixture(scope="session")
def folder():
    """Certificates, CRLs, answers and cases.txt."""
    return generate(BUILD / "vectors")


@pytest.fixture(scope="session")
def run():
    """Runs a program of build/ and gives its output; anything but exit status 0 is a failure."""
    def run_it(*command, **options):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                              timeout=600, check=False, **options)
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-4000:])
        return done.stdout
    return run_it
