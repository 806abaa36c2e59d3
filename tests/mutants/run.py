"""Mutants: every protocol is broken in many mechanical ways, and the simulations must notice, or the unit tests of what was broken.

run.py [--check | --list | --survey] [--seeds A..B] [--workers N] [--sample N] [--again] [NAME ...]

The steps of the protocols and what is done to each are in steps.txt; steps.py makes the mutants. A mutant is compiled alone, linked before the archives
into a weir-sim of its own, and run: a seed that fails, a crash, an assertion or a hang is a catch. What the simulators do not notice is linked into a
weir-unit and the suites of suites.txt are asked: a test that fails twice, and passes without any mutant, is a catch too, counted apart.

--check only sees that every mutant can be made; NAME restricts to mutants whose name begins so, --sample N to N of them that the seeds choose. --survey
takes NAMEs like jobmanager/ha/meta.c:apply and tries every mutant of these functions. --again tries what the simulators missed in the last run, with
other seeds say, and takes over the rest of its results.

Ends with `N mutants, N caught (N by the simulators, N by the unit suites), N survived (names), N equivalent` and fails below 90 % caught. Details go to
build/mutants.json.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import re
import resource
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

from steps import KINDS, Stale, flat, mutants_of

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUT = ROOT / "build" / "mutants"
RESULTS = ROOT / "build" / "mutants.json"
SEEDS, GOAL = "1..60", 0.9
SEED_CPU_S = 20           # of one seed: half a second is much
SUITE_S = 600             # of a suite without any mutant
MEMORY_BYTES = 8 << 30    # mapped, not used: most of it is stacks
OUTPUT_BYTES = 1 << 20    # the last ones of a program are read
FILE_BYTES = 4 << 30      # may be written to one file
NOT_ASKED = 2             # weir-sim's answer to arguments that it does not know


def rows():
    """(line, protocol, file, function, kind, text) of each step of the table."""
    protocol = path = function = None
    for number, line in enumerate((HERE / "steps.txt").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("["):
            protocol = line.strip("[]")
        elif line.startswith(" "):
            kind, _, text = line.strip().partition(" ")
            if kind not in KINDS or function is None:
                raise Stale(f"steps.txt:{number}: there is no such kind of mutant, or no function")
            yield number, protocol, path, function, kind, text.strip()
        else:
            path, function = (part.strip() for part in line.split(":"))


def equivalents():
    known = {}
    for line in (HERE / "equivalent.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, reason = line.split(": ", 1)
            known[name] = reason
    return known


def suites_of():
    """The unit suites that are asked about the mutants of a file, by its path."""
    suites = {}
    for number, line in enumerate((HERE / "suites.txt").read_text().splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            paths, names = line.split(": ", 1)
            for path in paths.split():
                if path in suites:
                    raise Stale(f"suites.txt:{number}: {path} is there twice")
                suites[path] = names.split()
    known = {path.name.removesuffix("_test.c") for path in ROOT.glob("*/**/*_test.c")}
    for path, names in suites.items():
        for name in names:
            if name not in known:
                raise Stale(f"suites.txt: there is no suite {name}, which is asked about {path}")
    return suites


def make_mutants(names):
    """Of each step of the table. Fails when the table does not fit the sources: then a mutant would not be what its name says."""
    texts, every, chosen = {}, {}, []
    for number, protocol, path, function, kind, text in rows():
        source = texts.setdefault(path, (ROOT / path).read_text())
        if (path, function) not in every:
            every[path, function] = mutants_of(path, source, function)
        fits = [m for m in every[path, function] if m.kind == kind and (flat(m.old).startswith(text) if text else kind == "leave")]
        if len(fits) != 1:
            raise Stale(f"steps.txt:{number}: {len(fits)} places of {function} in {path} fit `{kind} {text}`")
        mutant = fits[0]
        mutant.protocol = protocol
        mutant.source = f'#line 1 "{path}"\n' + mutant.apply(source)
        chosen.append(mutant)
    if len({m.id for m in chosen}) != len(chosen):
        raise Stale("steps.txt has a step twice")
    for path in {m.path for m in chosen} - set(suites_of()):
        raise Stale(f"suites.txt does not say which unit suites are asked about {path}")
    gone = set(equivalents()) - {m.id for m in chosen}
    if gone:
        raise Stale(f"equivalent.txt: no such mutants: {', '.join(sorted(gone))}")
    return [m for m in chosen if not names or m.id.startswith(tuple(names))]


def survey(wanted):
    """Every mutant of functions, given as file:function, whether or not the table has it."""
    found = []
    for path, function in (name.split(":") for name in wanted):
        text = (ROOT / path).read_text()
        for mutant in mutants_of(path, text, function):
            mutant.protocol = "survey"
            mutant.source = f'#line 1 "{path}"\n' + mutant.apply(text)
            found.append(mutant)
    return found


# --- building ----------------------------------------------------------------------------------------------------------------

class Tools:
    """How the Makefile builds weir-sim (and weir-unit), told in the environment."""

    def __init__(self):
        try:
            self.compile = shlex.split(os.environ["MUTANT_COMPILE"])
            self.link = {"sim": shlex.split(os.environ["MUTANT_LINK_SIM"]), "unit": shlex.split(os.environ["MUTANT_LINK_UNIT"])}
        except KeyError as missing:
            sys.exit(f"{missing} is not set: use `make mutants`")

    def build(self, mutant, folder):
        source, obj = folder / "mutant.c", folder / "mutant.o"
        source.write_text(mutant.source)
        done = subprocess.run([*self.compile, "-w", "-O0", "-g0", "-c", "-o", obj, source], cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            raise Stale(f"{mutant.id} does not compile: {done.stderr}")

    def program(self, kind, folder):
        """@ in the link command: where the mutant's object goes, % what comes out."""
        out = folder / f"weir-{kind}"
        command = [str(folder / "mutant.o") if word == "@" else str(out) if word == "%" else word for word in self.link[kind]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            raise Stale(f"weir-{kind} cannot be linked with a mutant: {done.stderr}")
        return out


# --- running -----------------------------------------------------------------------------------------------------------------

def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (SEED_CPU_S, SEED_CPU_S + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def living(sid):
    """The processes of a session."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                state, _, _, session = pathlib.Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(session) == sid and state not in "ZX":
                yield int(entry.name)


def end_session(sid):
    """Everything that the command started, its process groups too: Check's tests have each one of their own."""
    while members := list(living(sid)): # one that forked meanwhile was not seen
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


def execute(command, wall_s, **environment):
    """(how it ended: 0 when nothing was caught, what it said). What hangs runs out of its time: the simulator's, that of the processor, or wall_s.
    Its output goes to a file: a process that outlives it could hold the end of a pipe open."""
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, preexec_fn=limit,
                                 start_new_session=True, env={**os.environ, **environment})
        try:
            handle = os.pidfd_open(child.pid)
            try:
                in_time = select.select([handle], [], [], wall_s)[0] != []
            finally:
                os.close(handle)
        finally:
            end_session(child.pid) # before anyone waits for it: until then no other process can have its number
            child.wait()
        output.seek(max(0, output.seek(0, os.SEEK_END) - OUTPUT_BYTES))
        text = output.read().decode(errors="replace")
    return (child.returncode, text) if in_time else (1, f"it did not end within {wall_s:.0f} s")


def simulations_of(mutant):
    return ["cluster"] + (["raft"] if "/ha/raft_" in mutant.path else []) + (["engine"] if mutant.path.startswith("taskmanager/") else [])


def patience_s(seeds):
    """For all of them; one that only waits uses none of its processor's time."""
    first, _, last = seeds.partition("..")
    return SEED_CPU_S * (int(last or first) - int(first) + 1)


def simulate(program, mutant, seeds):
    """Who caught it, as part of a result; empty when nobody did."""
    for simulation in simulations_of(mutant):
        caught, text = execute([program, "--until-failure", "--workers", "1", "--seeds", seeds, simulation], patience_s(seeds))
        if caught == NOT_ASKED:
            raise Stale(f"weir-sim does not know what it is asked: {text}")
        if caught:
            found = re.search(r"seed (\d+): (.*)", text)
            return {"caught_by": simulation, "seed": int(found.group(1)) if found else None, "why": found.group(2) if found else text[-500:]}
    return {}


class Suites:
    """The unit tests, and what of them fails without any mutant."""

    def __init__(self):
        self.of, self.patience_s, self.lock = suites_of(), {}, threading.Lock()

    def failures(self, program, suite, wall_s):
        """Test by test what is wrong; the suite's own name when its whole process ended."""
        caught, text = execute([program], wall_s, CK_RUN_SUITE=suite, CK_DEFAULT_TIMEOUT="20")
        found = dict(re.findall(r":[FE]:([^:]+:\w+:\d+): (.*)", text))
        return found or ({suite: text[-500:]} if caught else {})

    def time_of(self, suite):
        """What it may take with a mutant; None: it fails without any."""
        with self.lock:
            if suite not in self.patience_s:
                began = time.monotonic()
                failed = self.failures(ROOT / "build" / "weir-unit", suite, SUITE_S)
                self.patience_s[suite] = None if failed else 30 + 5 * (time.monotonic() - began)
                if failed:
                    print(f"suite {suite} fails without any mutant, and is not asked: {failed}", flush=True)
            return self.patience_s[suite]

    def ask(self, program, mutant):
        for suite in self.of.get(mutant.path, []):
            wall_s = self.time_of(suite)
            if wall_s is None:
                continue
            first = self.failures(program, suite, wall_s)
            again = self.failures(program, suite, wall_s) if first else {}
            for test in first:
                if test in again: # what fails now and then does not count
                    return {"caught_by": f"unit suite {suite}", "test": test, "why": first[test]}
        return {}


def try_mutant(tools, mutant, seeds, suites, before):
    """before: its result of the last run, when it has one already."""
    began = time.monotonic()
    result = {"id": mutant.id, "protocol": mutant.protocol, "step": str(mutant), "caught_by": None}
    with tempfile.TemporaryDirectory(prefix=f"{mutant.id}-", dir=OUT) as name:
        folder = pathlib.Path(name)
        tools.build(mutant, folder)
        result |= simulate(tools.program("sim", folder), mutant, seeds)
        if result["caught_by"] is None and before is not None and before["caught_by"] is not None:
            result = before
        elif result["caught_by"] is None:
            result |= suites.ask(tools.program("unit", folder), mutant)
    result["seconds"] = round(time.monotonic() - began, 1)
    return result


def by_simulator(result):
    return result["caught_by"] is not None and "seed" in result


def tell(number, total, result):
    if result["caught_by"]:
        where = f"seed {result['seed']}" if by_simulator(result) else result["test"]
        print(f"{number}/{total} {result['id']}: caught by {result['caught_by']}, {where}: {result['why'][:150]}", flush=True)
    else:
        print(f"{number}/{total} {result['id']}: SURVIVED: {result['step']}", flush=True)


def control(seeds):
    """What is whole must pass: a simulator that always fails would catch every mutant."""
    caught, text = execute([ROOT / "build" / "weir-sim", "--seeds", seeds], patience_s(seeds))
    if caught:
        sys.exit(f"mutants: without any mutant a simulation fails already:\n{text}")


def write_results(options, results, equivalent):
    RESULTS.write_text(json.dumps({"seeds": options.seeds, "mutants": sorted(results, key=lambda r: r["id"]), "equivalent": equivalent}, indent=1))


def last_results(mutants, options):
    """By name, what --again goes on with."""
    if not options.again:
        return {}
    names = {m.id for m in mutants}
    return {r["id"]: r for r in json.loads(RESULTS.read_text())["mutants"] if r["id"] in names}


def campaign(mutants, options):
    tools, suites, known = Tools(), Suites(), equivalents()
    OUT.mkdir(parents=True, exist_ok=True)
    if not options.names and not options.again:
        control(options.seeds)
    counted = [m for m in mutants if m.id not in known]
    before = last_results(counted, options)
    results = {name: result for name, result in before.items() if by_simulator(result)}
    missed = [m for m in counted if m.id not in results]
    equivalent = {m.id: known[m.id] for m in mutants if m.id in known}
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        jobs = [pool.submit(try_mutant, tools, mutant, options.seeds, suites, before.get(mutant.id)) for mutant in missed]
        try:
            for number, job in enumerate(concurrent.futures.as_completed(jobs), 1):
                result = job.result()
                results[result["id"]] = result
                tell(number, len(missed), result)
                write_results(options, results.values(), equivalent)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    first = int(options.seeds.split("..")[0])
    at_once = sum(result.get("seed") == first for result in results.values())
    print(f"{at_once} are caught by the first seed already: they break what every run needs")
    survived = sorted(name for name, result in results.items() if result["caught_by"] is None)
    caught, simulated = len(results) - len(survived), sum(map(by_simulator, results.values()))
    print(f"{len(results)} mutants, {caught} caught ({simulated} by the simulators, {caught - simulated} by the unit suites), "
          f"{len(survived)} survived ({', '.join(survived)}), {len(equivalent)} equivalent")
    return len(results) > 0 and caught >= GOAL * len(results)


def sample_of(mutants, options):
    """Which they are follows from the seeds: every range has its own, and can be had again."""
    if options.sample is None or options.sample >= len(mutants):
        return mutants
    chosen = set(random.Random(options.seeds).sample([m.id for m in mutants], options.sample))
    return [m for m in mutants if m.id in chosen]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--survey", action="store_true")
    parser.add_argument("--seeds", default=SEEDS)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--sample", type=int)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    try:
        mutants = survey(options.names) if options.survey else make_mutants(options.names)
        if options.list:
            for mutant in mutants:
                print(f"{mutant.id}  {mutant}")
        if options.check or options.list:
            print(f"{len(mutants)} mutants can be made")
            return 0
        return 0 if campaign(sample_of(mutants, options), options) else 1
    except Stale as stale:
        print(f"mutants: stale: {stale}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
