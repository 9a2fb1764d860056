"""curl clients for tests."""
import json
import os
import subprocess
from contextlib import ExitStack

import pytest

from tests.lab import net
from tests.lab.lab import Lab
from tests.lab.nginx import BUILD
from tests.lab.scenarios import NAME

STRICT_CURL = BUILD / "bin/strict-curl"
PRELOAD = BUILD / "lib/libstrict_tls_preload.so"
CLIENT = BUILD / "tests/curl_client"  # with the library
PLAIN_CLIENT = BUILD / "tests/curl_client_plain"  # without, for the shim
EXAMPLE = BUILD / "examples/curl/get"

VERSIONS = {"tls12": ("--tls-max", "1.2"), "tls13": ("--tlsv1.3",)}
# CURLOPT_SSLVERSION: minimum, and maximum in the upper half.
SSLVERSION = {"tls12": 6 | 6 << 16, "tls13": 7 | 7 << 16}

# Responders are on loopback; a loaded machine must not turn a good one into a silent one.
LAB_POLICY = {"fetch_deny": "none", "fetch_timeout_ms": "2000"}


def policy_text(policy=None, responder_url=""):
    """Policy keys as STRICT_TLS_POLICY has them; the preset comes first."""
    words = {**LAB_POLICY, **(policy or {})}
    first = {key: words.pop(key) for key in ("preset",) if key in words}
    return " ".join(f"{key}={value.format(url=responder_url)}"
                    for key, value in {**first, **words}.items())


def environment(folder, **more):
    """A process's environment with a home of its own and no proxies."""
    keep = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    return {**keep, "HOME": str(folder), "LC_ALL": "C.UTF-8", **more}


def url_of(scene, name=NAME, path="/"):
    host = f"[{name}]" if ":" in name else name
    return f"https://{host}:{scene.backend.port}{path}"


def connect_to(scene):
    return f"::{net.HOST}:{scene.backend.port}"


class Curls:
    """Programs in a home folder of their own."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.reports = folder / "reports.jsonl"

    def run(self, argv, env=None, **options):
        return subprocess.run(list(map(str, argv)), env=env or environment(self.folder),
                              capture_output=True, text=True, errors="replace",
                              timeout=options.pop("timeout", 60), **options)

    def library(self, *words, client=CLIENT, env=None, wrap=()):
        """Lines that the client told, one per transfer."""
        done = self.run([*wrap, client, *words], env)
        assert done.returncode in (0, 3), (done.returncode, done.stdout, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def handle(self, scene, name="a", host=NAME, version=None, **options):
        """Words that make a handle for the scene."""
        words = ["new", name, "set", name, "URL", url_of(scene, host),
                 "list", name, "CONNECT_TO", connect_to(scene),
                 "set", name, "CAINFO", scene.trust, "set", name, "CAPATH", "-"]
        if version:
            words += ["set", name, "SSLVERSION", SSLVERSION[version]]
        if scene.client:
            words += ["set", name, "SSLCERT", scene.client, "set", name, "SSLKEY",
                      scene.client_key]
        for option, value in options.items():
            words += ["set", name, option, value]
        return words

    def strict_curl(self, *words, policy=None, env=None, prefix=(), **options):
        """(process, reports): strict-curl with these arguments."""
        self.reports.unlink(missing_ok=True)
        settings = {"STRICT_TLS_POLICY": policy if policy is not None else policy_text(),
                    "STRICT_TLS_REPORT": str(self.reports), **(env or {})}
        done = self.run([*prefix, STRICT_CURL, *words],
                        env=environment(self.folder, **settings), **options)
        return done, self.read_reports()

    def read_reports(self):
        return [json.loads(line) for line in net.whole_lines(self.reports).splitlines()]

    @staticmethod
    def curl_words(scene, host=NAME, *more):
        words = ["-sS", "--cacert", scene.trust, "--connect-to", connect_to(scene),
                 "-o", "/dev/null", "-w", "%{http_code}", *more]
        if scene.client:
            words += ["--cert", scene.client, "--key", scene.client_key]
        return [*words, url_of(scene, host)]


@pytest.fixture(scope="session", autouse=True)
def built():
    for path in (CLIENT, PLAIN_CLIENT, EXAMPLE, STRICT_CURL, PRELOAD):
        if not path.exists():
            pytest.fail(f"{path} is missing: run ./build.sh build", pytrace=False)


@pytest.fixture
def curls(tmp_path):
    return Curls(tmp_path / "home")


@pytest.fixture
def homes(lab):
    """homes("word"): programs that share a home, and so an answer cache, with others of that word."""
    return lambda word: Curls(lab.folder / f"home-{word}")


PEERS = {
    "good": {},
    "bad": {"serve": "leaf"},
    "revoked": {"ocsp": "revoked"},
    "wrong": {"sans": ("other.lab.test",)},
    "silent": {"ocsp": "silent"},
    "late": {"ocsp": "late"},
    "held": {"ocsp": "hold"},
    "busy": {"ocsp": "try_later"},
    "good_ip": {"sans": ("127.0.0.1",)},
    "bad_ip": {"sans": ("127.0.0.1",), "serve": "leaf"},
    "other_ip": {"sans": ("127.0.0.2",)},
    "proxy": {"sans": ("proxy.lab.test",)},
    "bad_proxy": {"sans": ("proxy.lab.test",), "serve": "leaf"},
}


class Peers:
    """Backends for the tests that are not about the table, all in one lab."""

    def __init__(self, stack):
        self.lab = Lab(scenarios=())
        stack.callback(self.lab.close)
        for name, fields in PEERS.items():
            setattr(self, name, self.lab.peer(name, **fields))
        self.redirecting = self.lab.peer("redirecting", options={
            "extra": f"location = /go {{ return 302 {url_of(self.bad_ip, '127.0.0.1')}; }}"})
        stack.enter_context(self.lab)

    @property
    def responder(self):
        return self.lab.responder


@pytest.fixture(scope="session")
def peers():
    with ExitStack() as stack:
        yield Peers(stack)
