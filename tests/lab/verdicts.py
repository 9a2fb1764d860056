"""What a server's answers tell of its peers, in headers that the lab's front ends add."""
import time

ACCEPT = ("accept", "none")


def verdict(answer):
    return answer.headers.get("x-strict-tls-verdict"), answer.headers.get("x-strict-tls-reason")


def resumed(answer):
    return answer.headers["x-session-reused"] == "r"


# The margin of sessions, STLS_SESSION_MARGIN_S.
MARGIN_S = 5
# A verdict that ends soon and is neither kept beside its connection nor renewed.
BRIEF = {"verdict_max_age_s": "1", "ocsp_nonce": "on", "revocation_scope": "leaf"}


def assert_last_second_is_in(get):
    """A connection judged under BRIEF serves through the second after that of its verdict.

    Both requests must be within their seconds, which a busy machine may need some rounds for."""
    for _ in range(30):
        time.sleep(3.02 - time.time() % 1)  # by then the last round's connection is over
        started_s = int(time.time())
        first = get()
        if int(time.time()) != started_s:
            continue
        time.sleep(max(0, started_s + 1.05 - time.time()))
        again = get()
        if int(time.time()) == started_s + 1:
            assert verdict(first) == verdict(again) == ACCEPT
            assert first.headers["x-connection"] == again.headers["x-connection"]
            return
    raise AssertionError("the machine is too busy for two requests in two seconds")
