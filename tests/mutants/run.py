"""Mutants: every protocol is broken in many mechanical ways, and the simulations must notice.

run.py [--check | --list | --survey] [--seeds A..B] [--workers N] [--units] [NAME ...]

The steps of the protocols and what is done to each are in steps.txt; steps.py makes the mutants. A mutant is compiled alone, linked before the archives
into a weir-sim of its own, and run: a seed that fails, a crash, an assertion or a hang is a catch. --check only sees that every mutant can be made;
NAME restricts to mutants whose name begins so. --survey takes NAMEs like jobmanager/ha/meta.c:apply and tries every mutant of these functions. --units
asks the unit tests of its file about a mutant that survives; they do not count.

Ends with `N mutants, N caught, N survived (names), N equivalent` and fails below 90 % caught. Details go to build/mutants.json.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time

from steps import KINDS, Stale, flat, mutants_of

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUT = ROOT / "build" / "mutants"
SEEDS, GOAL = "1..300", 0.9
SEED_CPU_S = 20           # of one seed: half a second is much
MEMORY_BYTES = 8 << 30    # mapped, not used: most of it is stacks


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
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def execute(command, **environment):
    """(whether something was caught, what it said). What hangs runs out of its time: the simulator's, or that of the processor."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", preexec_fn=limit, env={**os.environ, **environment})
    return done.returncode != 0, done.stdout + done.stderr


def simulations_of(mutant):
    return ["cluster"] + (["raft"] if "/ha/raft_" in mutant.path else []) + (["engine"] if mutant.path.startswith("taskmanager/") else [])


def try_mutant(tools, mutant, seeds, with_units):
    began = time.monotonic()
    result = {"id": mutant.id, "protocol": mutant.protocol, "step": str(mutant), "caught_by": None}
    with tempfile.TemporaryDirectory(prefix=f"{mutant.id}-", dir=OUT) as name:
        folder = pathlib.Path(name)
        tools.build(mutant, folder)
        program = tools.program("sim", folder)
        for simulation in simulations_of(mutant):
            caught, text = execute([program, "--until-failure", "--workers", "1", "--seeds", seeds, simulation])
            if caught:
                found = re.search(r"seed (\d+): (.*)", text)
                result |= {"caught_by": simulation, "seed": int(found.group(1)) if found else None, "why": found.group(2) if found else text[-500:]}
                break
        if result["caught_by"] is None and with_units:
            suite = pathlib.Path(mutant.path).stem
            caught, text = execute([tools.program("unit", folder)], CK_RUN_SUITE=suite, CK_DEFAULT_TIMEOUT="60")
            result["unit"] = f"{suite}: {text[-800:]}" if caught else None
    result["seconds"] = round(time.monotonic() - began, 1)
    return result


def tell(number, total, result):
    if result["caught_by"]:
        print(f"{number}/{total} {result['id']}: caught by {result['caught_by']}, seed {result['seed']}: {result['why'][:150]}", flush=True)
    else:
        unit = "a unit test notices" if result.get("unit") else "survived"
        print(f"{number}/{total} {result['id']}: {unit.upper()}: {result['step']}", flush=True)


def control(seeds):
    """What is whole must pass: a simulator that always fails would catch every mutant."""
    caught, text = execute([ROOT / "build" / "weir-sim", "--seeds", seeds])
    if caught:
        sys.exit(f"mutants: without any mutant a simulation fails already:\n{text}")


def campaign(mutants, options):
    tools, results = Tools(), []
    OUT.mkdir(parents=True, exist_ok=True)
    if not options.names:
        control(options.seeds)
    known = equivalents()
    counted = [m for m in mutants if m.id not in known]
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        jobs = [pool.submit(try_mutant, tools, mutant, options.seeds, options.units) for mutant in counted]
        try:
            for number, job in enumerate(concurrent.futures.as_completed(jobs), 1):
                results.append(job.result())
                tell(number, len(counted), results[-1])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    results.sort(key=lambda r: r["id"])
    survived = [r["id"] for r in results if r["caught_by"] is None]
    (ROOT / "build" / "mutants.json").write_text(json.dumps(
        {"seeds": options.seeds, "mutants": results, "equivalent": {m.id: known[m.id] for m in mutants if m.id in known}}, indent=1))
    caught = len(results) - len(survived)
    print(f"{len(results)} mutants, {caught} caught, {len(survived)} survived ({', '.join(survived)}), {len(mutants) - len(counted)} equivalent")
    return len(results) > 0 and caught >= GOAL * len(results)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--survey", action="store_true")
    parser.add_argument("--seeds", default=SEEDS)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--units", action="store_true")
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
        return 0 if campaign(mutants, options) else 1
    except Stale as stale:
        print(f"mutants: stale: {stale}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
