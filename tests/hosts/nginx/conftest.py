"""nginx front ends for tests."""
import itertools
from contextlib import ExitStack

import pytest

from tests.lab import fronts, inbound_fronts, net, stream_fronts
from tests.lab.faults import Faults
from tests.lab.lab import Lab
from tests.lab.nginx import CONFIGURED_WITH, MODULE, Nginx
from tests.lab.verdicts import verdict

collect_ignore = [] if "--with-http_v3_module" in CONFIGURED_WITH else ["test_http3.py"]


@pytest.fixture(scope="session", autouse=True)
def module():
    if not MODULE.exists():
        pytest.fail(f"{MODULE} is missing: run ./build.sh build", pytrace=False)
    return MODULE


@pytest.fixture
def faults(tmp_path):
    return Faults(tmp_path)


@pytest.fixture
def stage(tmp_path):
    """Makes labs and nginxes of a test's own; all of them end with the test.

    Use: stage.lab() for an empty lab; add peers and stage.open() it; then
    stage.front(locations...) for an nginx in front of it.
    """
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


class Stage:
    def __init__(self, folder, stack):
        self._folder = folder
        self._stack = stack
        self._numbers = itertools.count()
        self._lab = Lab(scenarios=())
        stack.callback(self._lab.close)

    @property
    def responder(self):
        return self._lab.responder

    def peer(self, name, *args, **fields):
        """A backend with a fresh leaf; its place at the responder is peer.place."""
        return self._lab.peer(name, *args, **fields)

    @property
    def lab(self):
        return self._lab

    def open(self):
        self._stack.enter_context(self._lab)

    def front(self, locations, *, http="", workers=1, server="", listen="", start=True, main="",
              **options):
        """(nginx, port) with these locations; front.rewrite(locations) before a reload."""
        front = Nginx(self._folder / f"front{next(self._numbers)}", "front", module=MODULE,
                      workers=workers, **options)
        port = net.free_port()
        self._stack.callback(front.stop)

        def rewrite(locations):
            front.configure(fronts.http(fronts.server(port, locations, extra=server, listen=listen),
                                        extra=http),
                            main=main)

        rewrite(locations)
        front.rewrite = rewrite
        if start:
            front.start([port])
            front.mark()
        return front, port

    def stream(self, servers, **options):
        """A StreamFront with these servers, started."""
        front = stream_fronts.StreamFront(self._folder / f"front{next(self._numbers)}", servers,
                                          **options)
        self._stack.callback(front.stop)
        front.start()
        front.mark()
        return front

    def either(self, kind, peers, **options):
        """(front, ask): ask(id) tells (verdict, reason) of the peer with this id.

        kind: "http" or "stream"; peers: {id: (peer, policy)}; options: Nginx's.
        """
        if kind == "stream":
            front = self.stream({id: stream_fronts.server(peer, strict=True, policy=policy)
                                 for id, (peer, policy) in peers.items()}, **options)

            def ask(id):
                answer = front.get(id)
                return answer.verdict, answer.reason
        else:
            front, port = self.front(
                [fronts.location(f"/{id}", peer, strict=True, policy=policy)
                 for id, (peer, policy) in peers.items()], **options)

            def ask(id):
                return verdict(net.get(port, f"/{id}"))
        return front, ask

    def inbound(self, servers, *, http="", workers=1, start=True, **options):
        """(nginx, port) that demands client certificates.

        servers(port) are its virtual hosts, see inbound_fronts.server();
        front.rewrite(servers, http) before a reload.
        """
        front = Nginx(self._folder / f"front{next(self._numbers)}", "front", module=MODULE,
                      workers=workers, **options)
        port = net.free_port()
        self._stack.callback(front.stop)

        def rewrite(servers, http=http):
            front.configure(inbound_fronts.http(*servers(port), extra=http))

        rewrite(servers)
        front.rewrite = rewrite
        if start:
            front.start([port])
            front.mark()
        return front, port
