"""A new user repairs the lab's broken endpoint with the doctor's output alone."""
import re
import subprocess

from tests.hosts.doctor.conftest import ACCEPT, PROGRAM, REJECT, policy_text
from tests.lab.repair import MISSING, Story, lines_of
from tests.lab.scenarios import NAME


def test_repair_by_the_output_alone(lab):
    story = Story(lab)
    assert story.tell() == "", story.steps
    assert [step.code for step in story.steps] == [0, 60, 1, 0, 0, 0]
    text = "\n".join(lines_of(story, ""))
    assert text.count(MISSING) >= 3 and "accepts what it refused" in text


def test_the_printed_command_is_one_for_a_shell(lab, doctor, tmp_path):
    """Quotes and blanks in file names, and a policy that was given by an option."""
    roots = tmp_path / "my 'own' $(roots)"
    roots.write_bytes(lab.scenes["leaf_only"].trust.read_bytes())
    done = doctor("check", lab.scenes["leaf_only"].backend.address, "--name", NAME, "--cafile",
                  roots, "--policy", policy_text(), "--tls", "1.2", "--preset", "private")
    assert done.code == REJECT
    printed = re.search(r"^repair +(strict-tls fix .*)$", done.out, re.M)[1]
    run = subprocess.run(["sh", "-c", printed], cwd=tmp_path, capture_output=True, text=True,
                         env={**doctor.environment,
                              "PATH": f"{PROGRAM.parent}:{doctor.environment['PATH']}"})
    assert run.returncode == ACCEPT, (printed, run.stderr)
    assert (tmp_path / "fullchain.pem").read_text().count("BEGIN CERTIFICATE") == 3
