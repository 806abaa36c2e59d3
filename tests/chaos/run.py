"""Chaos: real daemons, each in a network namespace of its own, a real broker, faults, and output that must be exact.

run.py [--minutes M] [--rows "7 8 13" | all] [--seed N] [--jobmanagers N] [--rate N] [--tls 0|1] [--brokers 1|2] [--without KINDS]

Ends with `N passed, N failed, N skipped`. Figures go to build/chaos/*.json; logs of what failed stay in build/chaos/failed-*. Everything runs in
namespaces of its own (network, mounts, processes), which end with this program however it ends.
"""

import argparse
import fcntl
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from cluster import ROOT  # noqa: E402

OUT = ROOT / "build" / "chaos"
INSIDE = "CHAOS_INSIDE"


def enter_namespaces():
    """Starts this program again, alone in the world. sh is there to bury what others leave behind."""
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh",
                          sys.executable, *sys.argv])


def unavailable():
    import net
    for program in ("unshare", "nsenter", "ip", "strace", "java"):
        if shutil.which(program) is None:
            return f"there is no {program}; run deploy/deps.sh"
    return net.unavailable()


def install_broker():
    subprocess.run([ROOT / "deploy" / "kafka" / "kafka.sh", "install"], check=True, stdout=subprocess.DEVNULL, timeout=600)


def sweep():
    """Folders of runs that ended without a word: nobody holds their lock."""
    for folder in OUT.glob("run-*"):
        with open(folder / "lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
        shutil.rmtree(folder, ignore_errors=True)
    for group in pathlib.Path("/sys/fs/cgroup").glob("*/weir-chaos-*"):
        try:
            group.rmdir()
        except OSError:
            pass  # another run's, and in use


class Run:
    """One folder, results as they come."""

    def __init__(self, options):
        self.options = options
        self.passed = self.failed = self.skipped = 0
        self.locks = []
        self.results = []

    def folder(self, name):
        path = OUT / f"run-{name}-{os.getpid()}-{time.time_ns()}"
        path.mkdir(parents=True)
        lock = open(path / "lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.locks.append(lock)
        return path

    def keep(self, folder, name):
        """Logs only: data is large."""
        kept = OUT / f"failed-{name}-{self.options.seed}-{int(time.time())}"
        kept.mkdir()
        for path in folder.iterdir():
            if path.suffix in (".log", ".err", ".out", ".yaml"):
                shutil.move(path, kept)
        for path in folder.glob("kafka*/broker.out"):
            shutil.move(path, kept / f"{path.parent.name}.out")
        print(f"    logs: {kept}", flush=True)
        return kept

    def result(self, name, error, began):
        seconds = time.monotonic() - began
        self.results.append({"name": name, "seconds": round(seconds, 1), "error": error})
        if error is None:
            self.passed += 1
            print(f"{name} ... ok {seconds:.1f} s", flush=True)
        else:
            self.failed += 1
            print(f"{name} ... FAILED {seconds:.1f} s, seed {self.options.seed}\n{error}", flush=True)

    def skip(self, name, reason):
        self.skipped += 1
        print(f"{name} ... skipped: {reason}", flush=True)

    def oracle(self):
        """An oracle that cannot see is worse than none."""
        import oracle
        began, error, folder = time.monotonic(), None, self.folder("oracle")
        try:
            oracle.check(folder, self.options.seed)
        except Exception:
            error = traceback.format_exc()
        if error:
            self.keep(folder, "oracle")
        shutil.rmtree(folder, ignore_errors=True)
        self.result("the oracle sees what is missing, doubled, out of order and bad", error, began)

    def storm(self):
        import rig
        import storm
        options, began, error, play = self.options, time.monotonic(), None, None
        folder = self.folder("random")
        try:
            with rig.Rig(folder, options.seed, options.jobmanagers, rate=options.rate, tls=options.tls, brokers=options.brokers) as cluster:
                cluster.begin_job()
                play = storm.Storm(cluster, options.seed, options.minutes * 60, options.without.split(), OUT / f"random-{options.seed}.json")
                try:
                    play.run()
                except BaseException:
                    print("    the last events:\n" + "\n".join(f"    {at:8.2f} {text}" for at, text in play.timeline[-12:]), flush=True)
                    play.write("failed")
                    raise
        except Exception as caught:
            error = "".join(traceback.format_exception_only(caught)) if isinstance(caught, AssertionError) else traceback.format_exc()
        if play is not None:
            summary = play.summary("failed" if error else "exact")
            summary["error"] = error
            storm.write(play.path, summary)
            del summary["timeline"]
            print("\n".join(f"    {name}: {value}" for name, value in summary.items()), flush=True)
        if error:
            self.keep(folder, "random")
        shutil.rmtree(folder, ignore_errors=True)
        self.result(f"random faults for {options.minutes:g} minutes", error, began)

    def rows(self, numbers):
        import rows
        rows.play(self, numbers)
        (OUT / f"rows-{self.options.seed}.json").write_text(json.dumps(self.results, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--rows", default="")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--jobmanagers", type=int, default=3)
    parser.add_argument("--rate", type=int, default=20000)
    parser.add_argument("--tls", type=int, choices=(0, 1), help="mutual TLS inside the cluster; default: where the seed is odd")
    parser.add_argument("--brokers", type=int, choices=(1, 2), default=1, help="of the random mode; 2: the coordinator of transactions moves, too")
    parser.add_argument("--without", default="", help="kinds of faults (faults.py) that are left out, to search for other troubles")
    options = parser.parse_args()
    if not options.minutes and not options.rows:
        options.minutes = 2
    if INSIDE not in os.environ:
        reason = unavailable()
        if reason is not None:
            print(f"chaos ... skipped: {reason}\n0 passed, 0 failed, 1 skipped")
            return 0
        install_broker()
        if options.seed is None:  # the program is started again, with the same words
            sys.argv += ["--seed", str(random.SystemRandom().randrange(1 << 32))]
        enter_namespaces()
    options.tls = bool(options.seed % 2 if options.tls is None else options.tls)
    os.environ.setdefault("WEIR_TEST_DEADLINE_S", "120")  # to begin and to end a daemon: the machine may be loaded
    OUT.mkdir(parents=True, exist_ok=True)
    sweep()
    print(f"seed {options.seed}, {'TLS' if options.tls else 'no TLS'}", flush=True)
    run = Run(options)
    run.oracle()
    if options.rows:
        run.rows(options.rows)
    if options.minutes:
        run.storm()
    print(f"{run.passed} passed, {run.failed} failed, {run.skipped} skipped", flush=True)
    return 0 if run.failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
