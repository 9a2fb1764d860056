"""nginx -t tells, with file and line, what does nothing, and what nobody would see."""
import pytest

from tests.lab import net
from tests.lab.nginx import MODULE, STREAM_HOST, STREAM_MODULE, Nginx

LISTEN = f"listen {net.HOST}:1;"
TLS = "proxy_pass https://127.0.0.1:1;"
PLAIN = "proxy_pass http://127.0.0.1:1;"
KEY = "strict_tls_chain_root require;"


def told(tmp_path, http="", stream="", level="info"):
    """(output of nginx -t, the configuration's lines)."""
    nginx = Nginx(tmp_path / "t", module=[MODULE, *STREAM_HOST, STREAM_MODULE], level=level)
    nginx.configure(http, main=f"stream {{\n{stream}\n}}\n" if stream else "")
    status, output = nginx.test()
    assert status == 0, output
    return output, nginx.conf.read_text().splitlines(), nginx.conf


def assert_warned(result, line, *words):
    """Exactly one warning, about that line."""
    output, lines, conf = result
    warnings = [text for text in output.splitlines() if "[warn]" in text]
    if line is None:
        assert not warnings, output
        return
    assert len(warnings) == 1, output
    assert f"{conf}:{lines.index(line) + 1}" in warnings[0], output
    for word in words:
        assert word in warnings[0]


@pytest.mark.parametrize("http, line", [
    # judged somewhere below
    (f"strict_tls on;\nserver {{ {LISTEN} location / {{ {TLS} }} }}", None),
    (f"{KEY}\nserver {{ {LISTEN} location / {{ strict_tls on; {TLS} }} }}", None),
    (f"server {{ {LISTEN} strict_tls report; location /a/ {{ location /a/b {{ {TLS} }} }} }}", None),
    (f"server {{ {LISTEN} location / {{\nstrict_tls on;\nset $x 1; if ($x) {{ {TLS} }} }} }}", None),
    (f"server {{ {LISTEN} location / {{\nstrict_tls on;\n{PLAIN} limit_except GET {{ {TLS} }} }} }}",
     None),
    (f"server {{ {LISTEN} location / {{\nstrict_tls on;\nproxy_pass $scheme://127.0.0.1:1; }} }}", None),
    (f"strict_tls on;\nserver {{ {LISTEN} location / {{ {TLS} }}\n"
     f"location /plain {{ {PLAIN} }} }}", None),
    # said to be off
    (f"server {{ {LISTEN} location / {{ strict_tls off;\n{PLAIN} }} }}", None),
    # nobody below is TLS
    (f"strict_tls on;\nserver {{ {LISTEN} location / {{ {PLAIN} }} }}", "strict_tls on;"),
    (f"server {{ {LISTEN} location / {{\nstrict_tls report;\n{PLAIN} }} }}", "strict_tls report;"),
    (f"server {{ {LISTEN} location / {{\nstrict_tls on;\nfastcgi_pass 127.0.0.1:1; }} }}",
     "strict_tls on;"),
    (f"server {{ {LISTEN} location / {{ {TLS} }}\nlocation /plain {{\nstrict_tls on;\n{PLAIN} }} }}",
     "strict_tls on;"),
    (f"server {{ {LISTEN} location / {{\nstrict_tls on;\n{PLAIN} location /a {{ {PLAIN} }} }} }}",
     "strict_tls on;"),
    # keys without strict_tls
    (f"{KEY}\nserver {{ {LISTEN} location / {{ {TLS} }} }}", KEY),
    (f"server {{ {LISTEN} location / {{\n{KEY}\n{TLS} }} }}", KEY),
    (f"server {{ {LISTEN}\n{KEY}\nlocation / {{ strict_tls off; {TLS} }} }}", KEY),
    (f"strict_tls on;\nserver {{ {LISTEN} location /a {{ {TLS} }} location / {{\n{KEY}\n{PLAIN} }} }}",
     KEY),
    (f"server {{ {LISTEN}\nstrict_tls_client_chain_root require;\n}}",
     "strict_tls_client_chain_root require;"),
])
def test_http(http, line, tmp_path):
    assert_warned(told(tmp_path, http), line, "has no effect")


@pytest.mark.parametrize("stream, line", [
    (f"strict_tls on;\nserver {{ {LISTEN} proxy_pass 127.0.0.1:1; proxy_ssl on; }}", None),
    (f"server {{ {LISTEN}\nstrict_tls on;\nproxy_pass 127.0.0.1:1; }}", "strict_tls on;"),
    (f"strict_tls on;\nserver {{ {LISTEN} proxy_pass 127.0.0.1:1; }}", "strict_tls on;"),
    (f"server {{ {LISTEN}\n{KEY}\nproxy_pass 127.0.0.1:1; proxy_ssl on; }}", KEY),
])
def test_stream(stream, line, tmp_path):
    assert_warned(told(tmp_path, stream=stream), line, "has no effect")


@pytest.mark.parametrize("level", ["", "crit", "error", "warn", "notice", "info", "debug"])
@pytest.mark.parametrize("kind", ["location", "http", "stream"])
def test_report_that_the_log_does_not_show(kind, level, tmp_path):
    """Debian's error_log has no level, which is error."""
    line = "strict_tls report;"
    http = {"location": f"server {{ {LISTEN} location / {{\n{line}\n{TLS} }} }}",
            "http": f"{line}\nserver {{ {LISTEN} location / {{ {TLS} }} location /b {{ {TLS} }} }}"}
    stream = f"server {{ {LISTEN}\n{line}\nproxy_pass 127.0.0.1:1; proxy_ssl on; }}"
    result = told(tmp_path, http.get(kind, ""), stream if kind == "stream" else "", level=level)
    silent = level in ("", "crit", "error")
    assert_warned(result, line if silent else None, "error_log FILE warn")


def test_report_with_a_log_of_its_own(tmp_path):
    """What counts is the log of that place; one of several is enough."""
    own = f"error_log {tmp_path}/own.log warn;"
    result = told(tmp_path, f"server {{ {LISTEN} location / {{ strict_tls report; {own} {TLS} }} }}",
                  level="error")
    assert_warned(result, None)
    result = told(tmp_path, f"server {{ {LISTEN} location / {{ strict_tls report; {own}\n"
                            f"error_log {tmp_path}/other.log error; {TLS} }} }}", level="error")
    assert_warned(result, None)
