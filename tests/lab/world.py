"""One small world for every host: the same peers and policies behind nginx, stream, httpd or curl.

    world.peer("good"); world.open()
    world.start({"good": (peer, policy), ...}); world.ask("good") -> ("accept", "none")
"""
import json
import os
import subprocess

from . import fronts, httpd_fronts, net, stream_fronts
from .curls import STRICT_CURL
from .httpd import MODULE as HTTPD_MODULE
from .httpd import Httpd
from .lab import Lab
from .nginx import MODULE as NGINX_MODULE
from .nginx import Nginx
from .scenarios import NAME
from .verdicts import verdict

HOSTS = ("nginx", "stream", "httpd", "curl")
# Those with processes that share what one of them has learned, and that refresh ahead of time.
SERVERS = HOSTS[:3]


class World:
    """folder: its own; stack: ends what was started."""

    def __init__(self, host, folder, stack):
        self.host = host
        self.front = None
        self._folder = folder
        self._stack = stack
        self._peers = {}
        self.lab = Lab(scenarios=())
        stack.callback(self.lab.close)
        # httpd's children drop root: what they reach must be open to them.
        folder.chmod(0o755)

    @property
    def responder(self):
        return self.lab.responder

    def peer(self, name, *args, **fields):
        """A backend with a fresh leaf, before open(); its place at the responder is peer.place."""
        return self.lab.peer(name, *args, **fields)

    def open(self):
        self._stack.enter_context(self.lab)

    def start(self, peers, *, workers=1):
        """peers: {id: (peer, policy)}; ids begin with no other id."""
        self._peers = peers
        getattr(self, f"_start_{self.host}")(workers)
        if self.front:
            self._stack.callback(self.front.stop)

    def ask(self, id):
        """(verdict, reason) of the peer, over a new connection to host and peer."""
        return self._ask(id)

    # ---- the hosts --------------------------------------------------------------------

    def _start_nginx(self, workers):
        port = net.free_port()
        self.front = Nginx(self._folder / "nginx", module=NGINX_MODULE, workers=workers)
        self.front.configure(fronts.http(fronts.server(port, [
            fronts.location(f"/{id}", peer, strict=True, policy=policy)
            for id, (peer, policy) in self._peers.items()])))
        self.front.start([port])
        self._ask = lambda id: verdict(net.get(port, f"/{id}"))

    def _start_stream(self, workers):
        self.front = stream_fronts.StreamFront(self._folder / "stream", {
            id: stream_fronts.server(peer, strict=True, policy=policy)
            for id, (peer, policy) in self._peers.items()}, workers=workers)
        self.front.start()

        def ask(id):
            answer = self.front.get(id)
            return answer.verdict, answer.reason

        self._ask = ask

    def _start_httpd(self, workers):
        port = net.free_port()
        self.front = Httpd(self._folder / "httpd", module=HTTPD_MODULE, hosts=(NAME,),
                           processes=workers)
        self.front.configure(httpd_fronts.STRICT_HEADERS + httpd_fronts.vhost(port, [
            httpd_fronts.location(f"/{id}", peer, strict=True, policy=policy, name=NAME,
                                  parameters="disablereuse=on")
            for id, (peer, policy) in self._peers.items()]))
        self.front.start([port])
        self._ask = lambda id: verdict(net.get(port, f"/{id}"))

    def _start_curl(self, workers):
        """Each question is a process of its own; they share a home, and so its cache."""
        home = self._folder / "curl"
        home.mkdir()
        self._ask = lambda id: self._ask_curl(home, id)

    def _ask_curl(self, home, id):
        peer, policy = self._peers[id]
        report = home / f"{id}.{net.free_port()}.jsonl"
        words = {**fronts.LAB_POLICY, **policy}
        done = subprocess.run(
            [STRICT_CURL, "-sS", "-o", "/dev/null", "--cacert", peer.trust, "--connect-to",
             f"::{net.HOST}:{peer.backend.port}", f"https://{NAME}:{peer.backend.port}/"],
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(home),
                 "STRICT_TLS_REPORT": str(report),
                 "STRICT_TLS_POLICY": " ".join(f"{key}={value}" for key, value in words.items())},
            capture_output=True, text=True, timeout=60)
        told = [json.loads(line) for line in net.whole_lines(report).splitlines()]
        if not told:
            return None, done.stderr
        assert (done.returncode == 0) == (told[-1]["verdict"] == "accept"), done.stderr
        return told[-1]["verdict"], told[-1]["reason"]
