"""An nginx of our own: prefix, pid and logs in its folder, ended by its own id."""
import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from . import net
from .process import Process

# STRICT_TLS_NGINX=FILE tests another nginx than Debian's, with the modules that were built for it
# in the folder STRICT_TLS_NGINX_MODULES.
NGINX = os.environ.get("STRICT_TLS_NGINX", "/usr/sbin/nginx")
ROOT = Path(__file__).resolve().parents[2]
# STRICT_TLS_BUILD=DIR tests what was built elsewhere.
BUILD = Path(os.environ.get("STRICT_TLS_BUILD", ROOT / "build"))
MODULES = Path(os.environ.get("STRICT_TLS_NGINX_MODULES", BUILD / "modules"))
MODULE = MODULES / "ngx_http_strict_tls_module.so"
MODULE_ASAN = BUILD / "modules-asan/ngx_http_strict_tls_module.so"
STREAM_MODULE = MODULE.with_name("ngx_stream_strict_tls_module.so")
STREAM_MODULE_ASAN = MODULE_ASAN.with_name("ngx_stream_strict_tls_module.so")


def _about():
    """(version as a tuple of numbers, configure arguments) of the nginx that is tested."""
    text = subprocess.run([NGINX, "-V"], capture_output=True, text=True, timeout=60).stderr
    version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, version.groups())), text.partition("configure arguments:")[2].split()


VERSION, CONFIGURED_WITH = _about()


def _stream_host():
    """The modules to load before our stream module: none where nginx has stream built in."""
    if "--with-stream" in CONFIGURED_WITH:
        return []
    beside = MODULES / "ngx_stream_module.so"
    # Debian's is in package libnginx-mod-stream
    return [beside if beside.exists() else Path("/usr/lib/nginx/modules/ngx_stream_module.so")]


STREAM_HOST = _stream_host()

TEMP_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

_VERDICT = re.compile(r"strict-tls: (accept|reject|would_reject) ")
_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^ ,]+)')


@dataclass(frozen=True)
class Verdict:
    """One line of the error log, taken apart."""

    word: str
    fields: dict
    level: str
    line: str = field(repr=False, default="")

    @property
    def reason(self):
        return self.fields.get("reason")


def parse_fields(text):
    """The key=value words of one of our lines."""
    # nginx appends its own ", client: ..." to the message.
    fields = {}
    for key, value in _FIELD.findall(text):
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        fields.setdefault(key, value)
    return fields


def parse_verdict(line):
    """The Verdict in a log line, or None."""
    found = _VERDICT.search(line)
    if not found:
        return None
    fields = parse_fields(line[found.end():])
    level = re.search(r" \[(\w+)\] ", line)
    return Verdict(found[1], fields, level[1] if level else "", line)


def _is_working(pid):
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False  # it ended just now
    if b"valgrind" in title.split(b"\0")[0]:
        return True  # nginx cannot change that
    return b"worker process" in title and b"shutting down" not in title


class Nginx:
    def __init__(self, folder, name="nginx", *, module=None, workers=1, wrap=(), level="info",
                 ready_s=net.PATIENCE_S):
        """module: load this .so, or these in that order; wrap: command words before nginx, such as valgrind's."""
        self.folder = Path(folder)
        self.name = name
        self.modules = [module] if isinstance(module, (str, Path)) else list(module or ())
        self.workers = workers
        self.level = level
        self.error_log = self.folder / "error.log"
        self.conf = self.folder / "nginx.conf"
        self._wrap = list(wrap)
        self._ready_s = ready_s
        self._process = None
        self._mark = 0
        self.folder.mkdir(parents=True, exist_ok=True)

    # ---- configuration ------------------------------------------------------

    def configure(self, http, main=""):
        """Writes the configuration; takes effect on start() or reload()."""
        temp = "\n".join(f"    {kind}_temp_path {self.folder}/{kind};" for kind in TEMP_FOLDERS)
        load = "".join(f"load_module {module};\n" for module in self.modules)
        # Workers keep root, where we are root: the lab's keys and folders are ours alone.
        self.conf.write_text(
            f"{load}daemon off;\nuser root;\nworker_processes {self.workers};\n"
            f"pid {self.folder}/nginx.pid;\nerror_log {self.error_log} {self.level};\n"
            f"worker_shutdown_timeout 5s;\n{main}\n"
            "events { worker_connections 2048; }\n"
            f"http {{\n{temp}\n    access_log off;\n{http}\n}}\n")

    def _command(self, *words):
        return [*self._wrap, NGINX, "-p", self.folder, "-c", self.conf, "-e", self.error_log,
                *words]

    def test(self):
        """(exit status, output) of nginx -t."""
        done = subprocess.run(list(map(str, self._command("-t"))), capture_output=True, text=True,
                              timeout=60)
        return done.returncode, done.stdout + done.stderr

    # ---- life -----------------------------------------------------------------

    def start(self, ports=()):
        try:
            self._process = Process(self._command(), folder=self.folder, name=self.name,
                                    ports=ports, ready_s=self._ready_s)
            self._process.wait_ready()
            # The master listens before its workers are there.
            net.wait_until(lambda: len(self.worker_pids()) == self.workers,
                           f"the workers of {self.name}", self._ready_s)
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

    def reload(self):
        """New configuration, new workers; returns when only the new ones take connections."""
        before = set(self.worker_pids())
        os.kill(self.pid, signal.SIGHUP)

        def reloaded():
            now = set(self.worker_pids())
            return len(now) == self.workers and not now & before

        net.wait_until(reloaded, f"{self.name} to reload")

    def alive(self):
        return bool(self._process) and self._process.alive()

    @property
    def pid(self):
        """Of the master: it does not daemonize, and its wrappers become it."""
        return self._process.pid

    def worker_pids(self):
        """Those that take connections: not the ones that are shutting down."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children if _is_working(child)]

    def rss_kib(self):
        """Resident memory of all workers."""
        total = 0
        for pid in self.worker_pids():
            status = Path(f"/proc/{pid}/status").read_text()
            total += int(re.search(r"VmRSS:\s+(\d+)", status)[1])
        return total

    # ---- what it said -----------------------------------------------------------

    def errors(self):
        return net.whole_lines(self.error_log)

    def mark(self):
        """verdicts() and new_errors() tell about what comes after."""
        self._mark = self.error_log.stat().st_size

    def new_errors(self):
        return net.whole_lines(self.error_log, self._mark)

    def verdicts(self):
        """The strict-tls lines since mark()."""
        found = map(parse_verdict, self.new_errors().splitlines())
        return [verdict for verdict in found if verdict]
