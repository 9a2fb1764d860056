"""What a server's answers tell of its peers, in headers that the lab's front ends add."""

ACCEPT = ("accept", "none")


def verdict(answer):
    return answer.headers.get("x-strict-tls-verdict"), answer.headers.get("x-strict-tls-reason")


def resumed(answer):
    return answer.headers["x-session-reused"] == "r"
