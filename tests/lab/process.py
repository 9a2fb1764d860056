"""A child process that is started, waited for, and ended by its own id."""
import signal
import subprocess
from pathlib import Path

from . import net


class Process:
    """Output goes to a file in `folder`; the child ends with us even if we are killed.

    It is ready when every port of `ports` listens and `ready_text` was printed.
    """

    def __init__(self, argv, *, folder, name, ports=(), ready_text="", env=None, stdin=None,
                 cwd=None, ready_s=net.PATIENCE_S):
        self.name = name
        self.output = Path(folder) / f"{name}.out"
        self._ports = ports
        self._ready_text = ready_text
        self._ready_s = ready_s
        with open(self.output, "ab") as sink:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", *map(str, argv)],
                stdout=sink, stderr=subprocess.STDOUT, env=env, cwd=cwd,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                # A terminal's Ctrl-C is for us: we end our children in order.
                start_new_session=True,
            )

    @property
    def pid(self):
        return self.popen.pid

    def wait_ready(self):
        def ready():
            if self.popen.poll() is not None:
                raise RuntimeError(f"{self.name} ended at once: {self.text()[-2000:]}")
            return self._ready_text in self.text() and all(map(net.listens, self._ports))

        try:
            net.wait_until(ready, f"{self.name} to be ready", self._ready_s)
        except BaseException:
            self.stop()
            raise
        return self

    def alive(self):
        return self.popen.poll() is None

    def text(self):
        return self.output.read_text(errors="replace")

    def stop(self, sig=signal.SIGTERM, grace_s=30.0):
        """Exit status, or None if it had to be killed."""
        status = None
        if self.popen.poll() is None:
            self.popen.send_signal(sig)
        try:
            status = self.popen.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        if self.popen.stdin:
            self.popen.stdin.close()
        return status


def limit_files(pids, number):
    """How many may be open; as the process's own user, since root needs a capability to do so."""
    for pid in pids:
        owner = dict(line.split(":", 1) for line in
                     Path(f"/proc/{pid}/status").read_text().splitlines())
        uid, gid = (owner[key].split()[0] for key in ("Uid", "Gid"))
        subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
                        "prlimit", f"--pid={pid}", f"--nofile={number}:"], check=True)
