"""An Apache httpd of our own: ServerRoot, pid and logs in its folder, ended by its own id."""
import os
import re
import signal
import subprocess
from pathlib import Path

from . import net
from .nginx import BUILD, Verdict, parse_verdict
from .process import Process

APACHE = "/usr/sbin/apache2"
MODULES = Path("/usr/lib/apache2/modules")
MODULE = BUILD / "modules/mod_strict_tls.so"
MODULE_ASAN = BUILD / "modules-asan/mod_strict_tls.so"
# Backends are reached by name; no name of the lab resolves anywhere else.
WRAPPER = Path("/usr/lib/x86_64-linux-gnu/libnss_wrapper.so")

BASE_MODULES = ("authz_core", "socache_shmcb", "ssl", "proxy", "proxy_http", "headers", "env",
                "slotmem_shm", "status")
MPMS = ("event", "worker", "prefork")

_LEVEL = re.compile(r" \[strict_tls:(\w+)\] ")


def asan_runtime():
    """libasan.so, to be preloaded into a stock httpd."""
    return subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True,
                          check=True).stdout.strip()


def asan_options(folder):
    """Environment for complaints to go into files there."""
    reports = folder / "asan"
    # handle_...=2: over httpd's own handlers, which would hide the report.
    return {"ASAN_OPTIONS": f"detect_leaks=0:log_path={reports}:abort_on_error=0:"
                            "handle_segv=2:handle_abort=2:handle_sigbus=2",
            "UBSAN_OPTIONS": f"log_path={reports}:print_stacktrace=1"}


def httpd_verdict(line):
    """The Verdict in a line of httpd's error log, or None."""
    if not _LEVEL.search(line):
        return None
    found = parse_verdict(line)
    return found and Verdict(found.word, found.fields, _LEVEL.search(line)[1], line)


class Httpd:
    def __init__(self, folder, name="httpd", *, module=None, mpm="event", modules=(), hosts=(),
                 level="info", preload=(), env=None, processes=1, threads=16, ready_s=net.PATIENCE_S,
                 wrap=()):
        """module: load this .so; hosts: names that resolve to loopback; wrap: command words
        before httpd, such as valgrind's."""
        self.folder = Path(folder)
        self.name = name
        self.module = module
        self.mpm = mpm
        self.modules = (*BASE_MODULES, *modules)
        self.level = level
        self.processes = processes
        self.threads = threads
        self.error_log = self.folder / "error.log"
        self.conf = self.folder / "httpd.conf"
        self._preload = list(preload)
        self._wrap = list(wrap)
        self._env = dict(env or {})
        self._ready_s = ready_s
        self._process = None
        self._mark = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        # One line: httpd would listen once for each.
        (self.folder / "hosts").write_text(f"{net.HOST} {' '.join(sorted(hosts))}\n")

    # ---- configuration ------------------------------------------------------

    def configure(self, text, main=""):
        """Writes the configuration; takes effect on start() or graceful()."""
        load = "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n"
                       for name in (f"mpm_{self.mpm}", *self.modules))
        if self.module:
            load += f"LoadModule strict_tls_module {self.module}\n"
        if self.mpm == "prefork":
            sizes = (f"StartServers {self.processes}\nMinSpareServers 1\n"
                     f"MaxSpareServers {self.threads}\nMaxRequestWorkers {self.threads}\n")
        else:
            sizes = (f"StartServers {self.processes}\nServerLimit {max(self.processes, 4)}\n"
                     f"ThreadsPerChild {self.threads}\nMinSpareThreads 1\n"
                     f"MaxSpareThreads {self.threads * self.processes}\n"
                     f"MaxRequestWorkers {self.threads * self.processes}\n")
        self.conf.write_text(
            f"ServerRoot {self.folder}\nDefaultRuntimeDir {self.folder}\nPidFile httpd.pid\n"
            f"ServerName lab.test\nUser www-data\nGroup www-data\n{load}{sizes}"
            f"ErrorLog {self.error_log}\nLogLevel {self.level}\n"
            "ErrorLogFormat \"[%{u}t] [%-m:%l] [pid %P:tid %T] %M\"\n"
            "Timeout 60\nProxyTimeout 60\nGracefulShutdownTimeout 5\n"
            f"{main}\n{text}\n")

    def _environment(self):
        preload = [*self._preload, WRAPPER]
        return {**os.environ, "LD_PRELOAD": " ".join(map(str, preload)),
                "NSS_WRAPPER_HOSTS": str(self.folder / "hosts"), **self._env}

    def _command(self, *words):
        return [APACHE, "-d", self.folder, "-f", self.conf, *words]

    def test(self):
        """(exit status, output) of apachectl -t."""
        done = subprocess.run(list(map(str, self._command("-t"))), capture_output=True, text=True,
                              timeout=60, env=self._environment())
        return done.returncode, done.stdout + done.stderr

    # ---- life -----------------------------------------------------------------

    def start(self, ports=()):
        try:
            self._process = Process([*self._wrap, *self._command("-DFOREGROUND")],
                                    folder=self.folder, name=self.name, ports=ports,
                                    ready_s=self._ready_s, env=self._environment())
            self._process.wait_ready()
        except RuntimeError as failure:
            raise RuntimeError(f"{failure}\n{self.errors()[-4000:]}") from None
        return self

    def stop(self, sig=signal.SIGTERM, grace_s=30.0):
        """Exit status; None if it had to be killed or did not run."""
        if self._process:
            process, self._process = self._process, None
            return process.stop(sig, grace_s)
        return None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def graceful(self):
        """New configuration, new children; returns when the old ones take no connections."""
        before = self.errors().count("resuming normal operations")
        os.kill(self.pid, signal.SIGUSR1)
        net.wait_until(
            lambda: self.errors().count("resuming normal operations") > before,
            f"{self.name} to restart")

    def alive(self):
        return bool(self._process) and self._process.alive()

    @property
    def pid(self):
        return int((self.folder / "httpd.pid").read_text())

    def child_pids(self):
        return [int(child) for child in
                Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def rss_kib(self):
        """Resident memory of all children."""
        total = 0
        for pid in self.child_pids():
            status = Path(f"/proc/{pid}/status").read_text()
            total += int(re.search(r"VmRSS:\s+(\d+)", status)[1])
        return total

    # ---- what it said -----------------------------------------------------------

    def errors(self):
        return net.whole_lines(self.error_log)

    def mark(self):
        """verdicts() and new_errors() tell about what comes after."""
        self._mark = self.error_log.stat().st_size if self.error_log.exists() else 0

    def new_errors(self):
        return net.whole_lines(self.error_log, self._mark)

    def verdicts(self):
        """The strict-tls lines since mark()."""
        found = map(httpd_verdict, self.new_errors().splitlines())
        return [verdict for verdict in found if verdict]
