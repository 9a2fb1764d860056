"""Faults of the machine under a server, switched on and off while it runs: see faults.c."""
import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")


class Faults:
    def __init__(self, folder):
        self._library = folder / "faults.so"
        self._now = folder / "faults.now"
        subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o",
                        self._library, SOURCE], check=True)
        # Words before the server's command.
        self.wrap = ["env", f"LD_PRELOAD={self._library}", f"STRICT_TLS_FAULTS={self._now}"]

    def start(self, fault, argument=0):
        """From now on, whole: a server never reads half of it."""
        fresh = self._now.with_suffix(".new")
        fresh.write_text(f"{fault} {argument}")
        os.replace(fresh, self._now)

    def stop(self):
        self._now.unlink(missing_ok=True)
