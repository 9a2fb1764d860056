"""Mutation testing: every rule that is switched off on purpose must make a test fail.

    python3 -m tests.mutants.mutate [--sample N] [--seed N] [NAME...]

mutants.tsv has one mutant a line: name, file, function, text, replacement.  The text stands exactly
once in that function; a line's end in it is written as \N{SYMBOL FOR NEWLINE}.  A mutant is killed when a unit test, a vector, a PKITS row or a property
fails.  One that cannot be killed since it changes no behaviour stands in equivalents.tsv, with the
reason.  The last line is "N passed, N failed".
"""
import argparse
import concurrent.futures
import os
import random
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path

from tests.vectors.generate import cases, generate

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "mutants"
HERE = Path(__file__).parent
PKITS_DATA = "/usr/lib/python3/dist-packages/cryptography_vectors/x509/PKITS_data"
PROPERTY_WORLDS = "1500"
LINE_END = "\N{SYMBOL FOR NEWLINE}"
TEST_TIMEOUT_S = 300  # a mutant may loop for ever


class Mutant(typing.NamedTuple):
    name: str
    file: str
    function: str
    text: str
    replacement: str


class Failed(Exception):
    """The table or a build is wrong."""


# ---- the table ---------------------------------------------------------------------------

def rows(name, num_columns):
    for number, line in enumerate((HERE / name).read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != num_columns:
            raise Failed(f"{name}:{number}: {len(fields)} columns instead of {num_columns}")
        yield fields


def read_mutants():
    mutants = [Mutant(*(field.replace(LINE_END, "\n") for field in fields))
               for fields in rows("mutants.tsv", 5)]
    names = [mutant.name for mutant in mutants]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise Failed(f"names that stand twice: {sorted(twice)}")
    return mutants


def read_equivalents(mutants):
    reasons = dict(rows("equivalents.tsv", 2))
    unknown = set(reasons) - {mutant.name for mutant in mutants}
    if unknown:
        raise Failed(f"equivalents.tsv names no mutants: {sorted(unknown)}")
    return reasons


def body_of(source, function):
    """Where a function's definition begins and ends in its file."""
    found = re.search(rf"^[a-z][^\n;=]*\b{re.escape(function)}\([^;{{]*\)\n{{\n", source, re.M)
    if found is None:
        raise Failed(f"there is no function {function}")
    return found.start(), source.index("\n}\n", found.end() - 2)


def mutated(mutant):
    """The file's text with the change."""
    source = (ROOT / mutant.file).read_text()
    start, end = (0, len(source)) if mutant.function == "-" else body_of(source, mutant.function)
    body = source[start:end]
    if body.count(mutant.text) != 1:
        raise Failed(f"{mutant.name}: the text stands {body.count(mutant.text)} times in "
                     f"{mutant.function} of {mutant.file}")
    return source[:start] + body.replace(mutant.text, mutant.replacement) + source[end:]


# ---- builds --------------------------------------------------------------------------------

def run(command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          cwd=ROOT, check=False, **options)


def need(command):
    done = run(command)
    if done.returncode != 0:
        raise Failed(" ".join(map(str, command)) + "\n" + done.stderr[-3000:])
    return done.stdout


class Base:
    """The core as a shared library, and the test programs that are linked to it."""

    def __init__(self, jobs, units_and_vectors_only):
        self.units_and_vectors_only = units_and_vectors_only
        self.flags = need(["make", "-s", "print-flags"]).split()
        self.libs = need(["make", "-s", "print-libs"]).split()
        shutil.rmtree(BUILD, ignore_errors=True)
        (BUILD / "obj").mkdir(parents=True)
        sources = sorted((ROOT / "common").rglob("*.c"))
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            self.objects = dict(zip((str(source.relative_to(ROOT)) for source in sources),
                                    pool.map(self.compile, sources)))
        self.link(BUILD, self.objects.values())
        self.folder = generate(BUILD / "vectors")
        self.cases = {case.name: case.expect for case in cases()}
        self.units = self.make_programs(jobs)

    def compile(self, source, out=None):
        out = out or BUILD / "obj" / (str(source.relative_to(ROOT)).replace("/", "_") + ".o")
        need(["cc", *self.flags, "-O1", "-c", source, "-o", out])
        return out

    def link(self, folder, objects):
        need(["cc", "-shared", "-o", folder / "libcore.so", *objects, *self.libs])

    def program(self, name, sources, *flags):
        need(["cc", *self.flags, "-O1", *flags, *sources, "-o", BUILD / name, f"-L{BUILD}",
              "-lcore", *self.libs, "-lcmocka"])
        return name

    def make_programs(self, jobs):
        tests = sorted((ROOT / "tests/unit").glob("*_test.c"))
        aids = [path for path in (ROOT / "tests/unit").glob("*.c") if path not in tests]
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            units = [pool.submit(self.program, path.stem, [path, *aids]) for path in tests]
            others = [
                pool.submit(self.program, "vectors_run", [ROOT / "tests/vectors/vectors_run.c"]),
                pool.submit(self.program, "pkits_test", [ROOT / "tests/pkits/pkits_test.c"],
                            "-D_DEFAULT_SOURCE"),
                pool.submit(self.program, "properties",
                            [*sorted((ROOT / "tests/property").glob("*.c")), *aids],
                            "-Itests/unit"),
            ]
            for other in others:
                other.result()
            return [unit.result() for unit in units]


# ---- tests ------------------------------------------------------------------------------------

def tried(folder, command):
    """Exit status and output with the library of this folder; None where it did not end."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    try:
        done = run([BUILD / command[0], *command[1:]], env=environment, timeout=TEST_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    return done.returncode, done.stdout


def vectors_hold(base, folder):
    got = tried(folder, ["vectors_run", base.folder])
    if got is None or got[0] != 0:
        return False
    return {line.split("\t")[0]: line.split("\t")[1] for line in got[1].splitlines()} == base.cases


def first_failure(base, folder, stem):
    """The name of the first test that fails, or None."""
    units = sorted(base.units, key=lambda unit: (stem not in unit, unit))
    for unit in units:
        got = tried(folder, [unit])
        if got is None or got[0] != 0:
            return unit
    if not vectors_hold(base, folder):
        return "vectors"
    if base.units_and_vectors_only:
        return None
    got = tried(folder, ["pkits_test", "tests/pkits/pkits.tsv", PKITS_DATA])
    if got is None or got[1].splitlines()[-1:] != ["249 passed, 0 failed"]:
        return "pkits"
    got = tried(folder, ["properties", PROPERTY_WORLDS, str(TEST_TIMEOUT_S)])
    return None if got is not None and got[0] == 0 else "properties"


def kill(base, mutant):
    """What killed it, or None."""
    folder = BUILD / "each" / mutant.name
    folder.mkdir(parents=True)
    source = folder / Path(mutant.file).name
    source.write_text(mutated(mutant))
    include = f"-I{(ROOT / mutant.file).parent}"
    need(["cc", *base.flags, include, "-O1", "-c", source, "-o", folder / "mutant.o"])
    base.link(folder, [folder / "mutant.o",
                       *(path for file, path in base.objects.items() if file != mutant.file)])
    killer = first_failure(base, folder, Path(mutant.file).stem)
    shutil.rmtree(folder)
    return killer


def judge(base, mutant, equivalents):
    """1 or 0: as it should be; and a line about it."""
    try:
        killer = kill(base, mutant)
    except Failed as failure:
        return 0, f"{mutant.name}: {failure}"
    if mutant.name in equivalents:
        return (killer is None,
                f"{mutant.name}: " + ("equivalent" if killer is None
                                      else f"called equivalent, but killed by {killer}"))
    return killer is not None, f"{mutant.name}: " + (f"killed by {killer}" if killer else "LIVES")


def main():
    options = argparse.ArgumentParser(description="mutation testing of the core")
    options.add_argument("--sample", type=int, help="only so many of them, by chance")
    options.add_argument("--quick", action="store_true", help="unit tests and vectors only")
    options.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    options.add_argument("--jobs", type=int, default=os.cpu_count())
    options.add_argument("names", nargs="*")
    given = options.parse_args()
    mutants = read_mutants()
    equivalents = read_equivalents(mutants)
    if given.names:
        mutants = [mutant for mutant in mutants if mutant.name in given.names]
    if given.sample is not None:
        print(f"a sample of {given.sample}, --seed {given.seed}")
        mutants = random.Random(given.seed).sample(mutants, min(given.sample, len(mutants)))
    base = Base(given.jobs, given.quick)
    failure = first_failure(base, BUILD, "")
    if failure is not None:
        raise Failed(f"{failure} fails without any mutant")
    passed = 0
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        for is_right, line in pool.map(lambda mutant: judge(base, mutant, equivalents), mutants):
            print(line, flush=True)
            passed += is_right
    print(f"{passed} passed, {len(mutants) - passed} failed")
    return 0 if passed == len(mutants) and mutants else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.exit(f"mutants: {failed}")
