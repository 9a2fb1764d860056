"""Help, man page, completion and README say what the program does."""
import json
import re
import shlex
import subprocess

import pytest

from tests.hosts.doctor.conftest import ACCEPT, PROGRAM, REJECT, Doctor, policy_text
from tests.hosts.doctor.schema import SCHEMA
from tests.lab.nginx import ROOT
from tests.lab.scenarios import NAME

MAN = ROOT / "curl_plugin/man/strict-tls.1"
COMPLETION = ROOT / "curl_plugin/doctor/strict-tls.bash"
PAGE = ROOT / "docs/doctor.md"


def options(text):
    return set(re.findall(r"^  (--[a-z-]+)", text, re.M))


def test_help(doctor):
    for args in (["--help"], ["help"], ["-h"], ["check", "--help"]):
        done = doctor(*args)
        assert done.code == ACCEPT and len(options(done.out)) > 15
    assert max(map(len, done.out.splitlines())) <= 80
    assert doctor("--version").out.startswith("strict-tls ")


@pytest.mark.parametrize("topic, path", [("man", MAN), ("completion", COMPLETION)])
def test_made_from_the_table(topic, path, doctor):
    assert doctor("help", topic).out == path.read_text(), "run make doctor-docs"


def complete(*words):
    """What bash offers behind these words."""
    script = (f"source {shlex.quote(str(COMPLETION))}; "
              f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); "
              f"COMP_CWORD={len(words) - 1}; _strict_tls; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    return set(done.stdout.split())


def test_completion(doctor, tmp_path):
    assert complete("strict-tls", "") >= {"check", "file", "fix"}
    assert complete("strict-tls", "fi") == {"file", "fix"}
    offered = complete("strict-tls", "check", "--") | complete("strict-tls", "file", "--") \
        | complete("strict-tls", "fix", "--")
    assert offered == options(doctor("--help").out)
    assert "--online" not in complete("strict-tls", "check", "--")
    assert complete("strict-tls", "check", "--starttls", "") == {"smtp", "imap", "pop3", "ldap",
                                                                 "ftp"}
    (tmp_path / "roots.pem").write_text("")
    assert complete("strict-tls", "check", "--cafile", f"{tmp_path}/ro") == {
        f"{tmp_path}/roots.pem"}


def test_the_page_names_every_field_and_problem():
    page = PAGE.read_text()
    for key in SCHEMA["properties"]:
        assert f"`{key}`" in page
    for problem in SCHEMA["properties"]["problems"]["items"]["properties"]["id"]["enum"]:
        assert f"`{problem}`" in page


def readme_commands():
    text = (ROOT / "README.md").read_text()
    section = text.split("## The doctor", 1)[1].split("\n## ", 1)[0]
    return [line.strip() for line in re.findall(r"^    (strict-tls .*)$", section, re.M)]


def test_readme(lab, tmp_path):
    """A new user repairs the broken endpoint with the README's commands."""
    commands = readme_commands()
    assert [command.split()[1] for command in commands] == ["check", "fix", "file"]
    scene = lab.scenes["leaf_only"]
    doctor = Doctor(tmp_path)
    (tmp_path / "server.key").write_bytes(scene.leaf.key_path.read_bytes())
    policy = {"STRICT_TLS_POLICY": policy_text(), "SSL_CERT_FILE": str(scene.trust)}
    codes = []
    for command in commands:
        command = command.replace("api.example.com", NAME)
        if " --name " not in command:
            command += f" --connect-to {scene.backend.address}"
        # A redirection belongs to the shell; options may stand behind it.
        done = subprocess.run(
            ["sh", "-c", command.replace("strict-tls", str(PROGRAM), 1)], cwd=tmp_path,
            env={**doctor.environment, **policy}, capture_output=True, text=True, timeout=60)
        codes.append(done.returncode)
        if len(codes) == 1:
            assert "chain.incomplete" in done.stdout and "MISSING" in done.stdout
    assert codes == [REJECT, ACCEPT, ACCEPT]


def test_the_schema_is_one():
    assert json.loads((ROOT / "docs/doctor.schema.json").read_text())["$schema"]
