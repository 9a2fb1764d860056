"""The scenario table once more, through modules built with AddressSanitizer and UBSan."""
import signal
import subprocess

import pytest

from tests.lab import fronts, inbound_fronts, net, stream_fronts
from tests.lab.inbound import INBOUND_BY_ID, server_name
from tests.lab.nginx import MODULE_ASAN, STREAM_MODULE_ASAN, Nginx
from tests.lab.scenarios import BY_ID, NAME
from tests.lab.tls_client import VERSIONS, Client

COMPLAINTS = ("AddressSanitizer", "runtime error:", "exited on signal", "LeakSanitizer")


@pytest.fixture(scope="module")
def options():
    """The runtime has to be there before the module is: nginx itself is not instrumented."""
    for module in (MODULE_ASAN, STREAM_MODULE_ASAN):
        if not module.exists():
            pytest.fail(f"{module} is missing: run make nginx-asan", pytrace=False)
    runtime = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True,
                             text=True, check=True).stdout.strip()
    return {"ready_s": 60, "wrap": [
        "env", f"LD_PRELOAD={runtime}", "ASAN_OPTIONS=detect_leaks=1:abort_on_error=1",
        "UBSAN_OPTIONS=print_stacktrace=1"]}


@pytest.fixture(scope="module")
def sanitized(lab, options):
    front, port = fronts.scenario_front(lab, lab.folder / "asan", strict=True, module=MODULE_ASAN,
                                        policy={"fetch_timeout_ms": "3000"}, **options)
    yield front, port
    front.stop()


@pytest.fixture(scope="module")
def sanitized_stream(lab, options):
    front = stream_fronts.scenario_front(lab, lab.folder / "asan-stream",
                                         module=STREAM_MODULE_ASAN,
                                         policy={"fetch_timeout_ms": "3000"}, **options)
    yield front
    front.stop()


def complaints(front):
    said = front.errors() + (front.folder / f"{front.name}.out").read_text(errors="replace")
    return [line for line in said.splitlines() if any(word in line for word in COMPLAINTS)]


@pytest.mark.parametrize("id", BY_ID)
def test_scenario(id, sanitized):
    front, port = sanitized
    answer = net.get(port, f"/{id}", timeout_s=60)
    assert answer.status == BY_ID[id].strict
    assert answer.headers["x-strict-tls-reason"] == (BY_ID[id].reason or "none")


def test_nothing_was_found(sanitized):
    """After all of the above, a reload, and an orderly end, which is where leaks are told."""
    front, port = sanitized
    front.reload()
    assert net.get(port, "/good", timeout_s=60).status == 200
    assert front.stop(signal.SIGQUIT, 30) == 0
    assert complaints(front) == []


def test_own_chains_and_status(lab, options):
    """Every chain of the table as a chain of our own, the pages about them, and an end in between."""
    servers, ports = [], []
    for scene in {scene.backend.chain: scene for scene in lab.scenes.values()}.values():
        ports.append(net.free_port())
        servers.append(f"server {{\nlisten {net.HOST}:{ports[-1]} ssl;\nserver_name {NAME};\n"
                       f"ssl_certificate {scene.backend.chain};\n"
                       f"ssl_certificate_key {scene.backend.key};\n}}\n")
    port = net.free_port()
    front = Nginx(lab.folder / "asan-own", "own", module=MODULE_ASAN, **options)
    front.configure(fronts.http(
        fronts.server(port, [fronts.location("= /good", lab.scenes["good"], strict=True),
                             "location /status { strict_tls_status; }\n"]), *servers,
        extra="ssl_ciphers DEFAULT:@SECLEVEL=0;\nstrict_tls_fetch_deny none;\n"
              "strict_tls_fetch_timeout_ms 300;\n"
              f"strict_tls_trusted_certificate {lab.pki['root'].cert_path};\n"))
    try:
        front.start([port, *ports])
        assert net.get(port, "/good", timeout_s=60).status == 200

        def pages():
            return [net.get(port, f"/status{suffix}", timeout_s=60).text
                    for suffix in (".json", ".html", ".prom")]

        # The worker has asked about some, at least.
        net.wait_until(lambda: '"status": "good"' in pages()[0], "a good answer")
        front.reload()
        assert all(len(page) > 10000 for page in pages())
        assert front.stop(signal.SIGQUIT, 30) == 0
    finally:
        front.stop()
    assert complaints(front) == []


@pytest.mark.parametrize("id", BY_ID)
def test_stream_scenario(id, sanitized_stream):
    assert sanitized_stream.get(id, timeout_s=60).reason == (BY_ID[id].reason or "none")


def test_nothing_was_found_in_stream(sanitized_stream):
    front = sanitized_stream
    with front.connect("silent"):  # somebody who leaves while a fetch is under way
        pass
    front.reload()
    assert front.get("good", timeout_s=60).status == 200
    assert front.stop(signal.SIGQUIT, 30) == 0
    assert complaints(front) == []


def test_clients_of_stream(inbound_lab, options):
    """The inbound table, twice: the second time with what the first has left behind."""
    front = stream_fronts.inbound_front(inbound_lab, inbound_lab.folder / "asan-stream",
                                        module=STREAM_MODULE_ASAN,
                                        policy={"fetch_timeout_ms": "3000"}, **options)
    try:
        for id, scenario in INBOUND_BY_ID.items():
            scene = inbound_lab.client_scenes[id]
            client = Client(scene.chain, scene.key)
            first = front.visit(id, client, timeout_s=60)
            again = front.visit(id, client, first.session, timeout_s=60)
            assert {first.reason, again.reason} == {scenario.reason or "none"}, id
        scene = inbound_lab.client_scenes["silent"]
        with Client(scene.chain, scene.key).wrap(front.connect("silent"), None):
            pass  # it leaves while a fetch is under way
        # No reload: with nothing else in a new worker, nginx's own tables would count as lost.
        assert front.stop(signal.SIGQUIT, 30) == 0
    finally:
        front.stop()
    assert complaints(front) == []


@pytest.fixture(scope="module")
def sanitized_inbound(inbound_lab, options):
    front = inbound_fronts.inbound_front(inbound_lab, inbound_lab.folder / "asan-inbound",
                                         module=MODULE_ASAN,
                                         policy={"fetch_timeout_ms": "3000"}, **options)
    yield front
    front[0].stop()


@pytest.mark.parametrize("id", INBOUND_BY_ID)
def test_inbound(id, inbound_lab, sanitized_inbound):
    """Each client comes twice, with the session of its first visit, and again without a name."""
    _, port = sanitized_inbound
    scene = inbound_lab.client_scenes[id]
    version = list(VERSIONS)[len(id) % 2]
    client = Client(scene.chain, scene.key, version=version, timeout_s=60)
    session = None
    for _ in range(2):
        with client.connect(port, server_name(id), session) as connection:
            answer = connection.get()
            session = connection.session
        assert answer.headers["x-strict-tls-reason"] == (INBOUND_BY_ID[id].reason or "none")
    client.get(port, None, host=server_name(id))


def test_nothing_was_found_inbound(inbound_lab, sanitized_inbound):
    """A client that leaves while it is judged, a reload, and an orderly end."""
    front, port = sanitized_inbound
    scene = inbound_lab.client_scenes["silent"]
    front.reload()
    with Client(scene.chain, scene.key).connect(port, server_name("silent")) as connection:
        connection.tls.sendall(f"GET / HTTP/1.1\r\nHost: {server_name('silent')}\r\n\r\n".encode())
    assert front.stop(signal.SIGQUIT, 30) == 0
    assert complaints(front) == []
