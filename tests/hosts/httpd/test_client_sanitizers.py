"""The inbound table once more, through a module built with AddressSanitizer and UBSan."""
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosts.httpd.conftest import Door
from tests.hosts.httpd.test_client import MOD_SSL_REFUSES, NO_TICKET
from tests.hosts.httpd.test_client_bypass import NAME, vhosts, visitor
from tests.lab import crl, httpd_inbound, net
from tests.lab.httpd import MODULE_ASAN, asan_options, asan_runtime
from tests.lab.inbound import server_name
from tests.lab.tls_client import VERSIONS, Client, get_http2


@pytest.fixture
def reports(tmp_path):
    """Where the sanitizers complain; children that have dropped root write there."""
    if not MODULE_ASAN.exists():
        pytest.fail(f"{MODULE_ASAN} is missing: make httpd-asan", pytrace=False)
    tmp_path.chmod(0o755)
    folder = tmp_path / "reports"
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    found = [path.read_text() for path in folder.iterdir()]
    assert not found, found[0][:4000]


def test_table(reports, inbound_lab):
    """Every row in both versions, several at a time; a graceful restart in the middle."""
    front, port = httpd_inbound.inbound_front(
        inbound_lab, inbound_lab.folder / "httpd-asan", module=MODULE_ASAN,
        policy={"fetch_timeout_ms": "3000"}, ready_s=90, preload=[asan_runtime()],
        env=asan_options(reports))

    def try_row(row, version):
        scene = inbound_lab.client_scenes[row.id]
        answer = Client(scene.chain, scene.key, version=version,
                        tickets=row.id not in NO_TICKET).get(port, server_name(row.id))
        return answer.status, row.reason is None and row.id not in MOD_SSL_REFUSES

    try:
        for version in VERSIONS:
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(lambda row: try_row(row, version), inbound_lab.inbound))
            assert [status == 200 for status, _ in found] == [good for _, good in found]
            front.graceful()
    finally:
        assert front.stop() == 0
    assert "exit signal" not in front.errors()


def test_everything_else(reports, stage, tmp_path):
    """Resumption, other virtual hosts, HTTP/2, late certificates, a revocation meanwhile."""
    door = Door(stage.lab)
    folder = stage.stack.enter_context(crl.readable_folder())
    door.crl_file = crl.CrlFile(stage.lab, folder / "crls.pem")
    stage.open()
    front = door.start(stage.stack, tmp_path / "door", *vhosts(door), module=MODULE_ASAN,
                       main="SSLVHostSNIPolicy insecure\n", ready_s=90, preload=[asan_runtime()],
                       env=asan_options(reports), processes=1)
    good, gap = visitor(door), visitor(door, "leaf")
    for version in VERSIONS:
        for tickets in (True, False):
            client = door.client(good, version=version, tickets=tickets)
            with client.connect(door.port, NAME("plain")) as connection:
                assert connection.get().status == 200
                session = connection.session
            for name in ("plain", "hard", "plain-cached"):
                with client.connect(door.port, NAME(name), session) as connection:
                    assert connection.get().status == 200
                    assert connection.get(host=NAME("other_ca")).status == 421
        for one, status in ((good, 200), (gap, None)):
            client = door.client(one, version=version, post_handshake=True)
            with client.connect(door.port, NAME("late_require")) as connection:
                assert connection.get().status == 200
                assert connection.get("/private").status in (status, 403 if status is None else 0)
        answers = get_http2(door.port, NAME("soft"), good.chain, good.key, version=version,
                            hosts=(None, NAME("hard"), NAME("soft_too")))
        assert [answer.status for answer in answers] == [200, 421, 200]
        assert net.get(door.port, headers={"Host": NAME("plain")}).status == 400
    with door.client(good).connect(door.port, NAME("plain")) as connection:
        assert connection.get().status == 200
        stage.responder.place(good.place, "revoked")
        assert door.get(good, "fresh").status is None
        assert connection.get().status == 403
    assert front.stop() == 0
    assert "exit signal" not in front.errors()
