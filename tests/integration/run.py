"""Runs the integration tests, in lanes beside each other, and ends with one line: `N passed, N failed, N skipped`.

run.py [--lanes N] [PATTERN]: only tests whose name contains PATTERN, such as `test_first_jobs` or `Slots`. Ctrl-C or SIGTERM ends all that it started.

Most tests wait most of the time. A lane is a process of its own with temporary files and a range of ports of its own, which takes the next test, or the
next class whose tests share a fixture, whenever it is through with one. The first lane has the Kafka broker: it takes what needs that, then helps with
the rest. A test's output is printed as one block when the test has ended.
"""

import argparse
import collections
import contextlib
import faulthandler
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
import types
import unittest
import uuid

import kafka
from cluster import DEADLINE_S, poll

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Result(unittest.TextTestResult):
    """Prints each test with its time and what went wrong in it, then tells run.py how far the lane is."""

    def __init__(self, stream, tell):
        super().__init__(stream, descriptions=True, verbosity=2)
        self.tell = tell
        self.passed = 0
        self.printed = {"ERROR": 0, "FAIL": 0}

    def startTest(self, test):
        self.tell_all(running=test.id())
        self.started = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.passed += 1

    def stopTest(self, test):
        super().stopTest(test)
        self.stream.writeln(f"    {time.monotonic() - self.started:.1f} s")
        self.print_new()
        self.tell_all(running=None, block=True)

    def print_new(self):
        for flavour, found in (("ERROR", self.errors), ("FAIL", self.failures)):
            if len(found) > self.printed[flavour]:
                self.printErrorList(flavour, found[self.printed[flavour]:])
                self.stream.writeln(self.separator2)
                self.printed[flavour] = len(found)

    def tell_all(self, **more):
        sys.stdout.flush()
        sys.stderr.flush()
        failed = len(self.failures) + len(self.errors) + len(self.unexpectedSuccesses)
        self.tell(counts=[self.passed, failed, len(self.skipped)], size=os.fstat(2).st_size, **more)


def serve(control, units):
    """A lane: runs the units whose numbers it is given."""
    stream = unittest.runner._WritelnDecorator(sys.stderr)
    lines = control.makefile("r")
    result = Result(stream, lambda **fields: control.sendall(json.dumps(fields).encode() + b"\n"))
    while True:
        result.tell_all(wants=True, block=True)
        line = lines.readline()
        if not line or json.loads(line) is None:
            return
        unittest.TestSuite(units[json.loads(line)]).run(result)
        result._previousTestClass = None  # the suite has called its tearDownClass, and the next one would again
        result.print_new()  # of setUpClass and tearDownClass


class Lane:
    """run.py's side of one."""

    def __init__(self, number, lanes, units, folder):
        self.number = number
        self.tag = uuid.uuid4().hex
        self.folder = folder / self.tag[:8]
        self.folder.mkdir()
        self.output = self.folder / "output"
        self.shown = 0  # bytes of the output
        self.counts = [0, 0, 0]
        self.unit, self.left = [], 0  # what it was given, and how many tests of it have not ended
        self.running = None
        self.ending = False  # it was told that there is nothing more
        self.text = b""
        self.control, theirs = socket.socketpair()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self.control.close()
            self.become(theirs, lanes, units)
        theirs.close()
        self.touch()

    def become(self, control, lanes, units):
        """The new process: not of the terminal's group, so that Ctrl-C is run.py's affair."""
        code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in ENDING:
                signal.signal(number, signal.SIG_DFL)
            output = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for descriptor in (1, 2):
                os.dup2(output, descriptor)
            os.close(output)
            faulthandler.register(signal.SIGUSR1)
            faulthandler.enable()
            os.environ.update({"WEIR_TEST_LANE": f"{self.number}/{lanes}", "TMPDIR": str(self.folder),
                               "WEIR_TEST_TAGS": f"{os.environ.get('WEIR_TEST_TAGS', '')} {self.tag}"})
            tempfile.tempdir = None
            try:
                serve(control, units)
            finally:
                kafka.close_broker()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:  # it is a copy of run.py, on whose stack it must not go back
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
            os._exit(code)

    def touch(self):
        self.heard = time.monotonic()

    def show(self, size=None):
        """Prints what it has put out since, as one block."""
        with open(self.output, "rb") as output:
            output.seek(self.shown)
            block = output.read(size - self.shown if size is not None else -1)
        self.shown += len(block)
        sys.stdout.buffer.write(block)
        sys.stdout.flush()

    def give(self, number, unit):
        self.unit, self.left = unit, len(unit)
        self.ending = number is None
        with contextlib.suppress(OSError):  # it has just died, and its end will be seen
            self.control.sendall(json.dumps(number).encode() + b"\n")

    def dump(self):
        """Has it print where it hangs."""
        size = self.output.stat().st_size
        os.kill(self.pid, signal.SIGUSR1)
        with contextlib.suppress(AssertionError):
            poll(lambda: b"File " in self.output.read_bytes()[size:], "its threads' stacks", 5)

    def nothing_lives(self):
        """Whether there was no process with its tag in the environment, whatever session it is in; those that there are get a SIGKILL."""
        found = 0
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.tag.encode() in (path / "environ").read_bytes():
                    found += 1
                    os.kill(int(path.name), signal.SIGKILL)
        return found == 0

    def close(self, kill):
        """Its exit code, once nothing of it is left."""
        if kill:
            os.kill(self.pid, signal.SIGKILL)  # not waited for yet, so its pid is nobody else's
        status = os.waitpid(self.pid, 0)[1]
        poll(self.nothing_lives, f"lane {self.number + 1}'s processes are gone", 60)
        self.control.close()
        with contextlib.suppress(OSError):  # Ctrl-C may have ended the reader of a pipe before
            self.show()
        shutil.rmtree(self.folder, ignore_errors=True)
        return os.waitstatus_to_exitcode(status)


class Run:
    def __init__(self, tests, lanes, patience_s, folder):
        self.patience_s = patience_s
        self.units = split(tests)
        needing = [number for number, unit in enumerate(self.units) if uses_broker(type(unit[0]))]
        self.brokers = collections.deque(needing)
        self.others = collections.deque(number for number in range(len(self.units)) if number not in set(needing))
        self.lanes = lanes
        self.folder = folder
        self.counts = [0, 0, 0]
        self.running = []
        # A signal is looked for where the lanes are: it must not come between a lane's start and its place in the list, say.
        self.signals, wakes = socket.socketpair()
        wakes.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno())
        for number in ENDING:
            signal.signal(number, lambda *_: None)
        self.wakes = wakes

    def take(self, lane):
        for queue in [self.brokers, self.others] if lane == 0 else [self.others]:
            if queue:
                return queue.popleft()
        return None

    def start(self, number):
        self.running.append(Lane(number, self.lanes, self.units, self.folder))

    def play(self):
        for number in range(self.lanes):
            self.start(number)
        while self.running:
            timeout_s = max(0, min(lane.heard for lane in self.running) + self.patience_s - time.monotonic())
            ready, _, _ = select.select([self.signals, *(lane.control for lane in self.running)], [], [], timeout_s)
            if self.signals in ready:
                raise KeyboardInterrupt
            for lane in [lane for lane in self.running if lane.control in ready]:
                self.hear(lane)
            for lane in [lane for lane in self.running if time.monotonic() > lane.heard + self.patience_s]:
                lane.dump()
                self.lost(lane, f"hangs: nothing has ended there for {self.patience_s:g} s")

    def hear(self, lane):
        data = b""
        with contextlib.suppress(ConnectionResetError):
            data = lane.control.recv(1 << 16)
        if not data:
            self.lost(lane, None)
            return
        lane.touch()
        *lines, lane.text = (lane.text + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            lane.counts = said["counts"]
            if "running" in said:
                lane.running = said["running"]
                lane.left -= lane.running is None
            if "block" in said:
                lane.show(said["size"])
            if "wants" in said:
                number = self.take(lane.number)
                lane.give(number, self.units[number] if number is not None else [])

    def lost(self, lane, why):
        """It is at its end, or brought there. Early: it takes with it the test that ran, and those of its unit that did not; the rest is another's."""
        code = lane.close(kill=why is not None)
        self.running.remove(lane)
        for i, count in enumerate(lane.counts):
            self.counts[i] += count
        if lane.ending and code == 0:
            return
        where = lane.running or (lane.unit[0].id() if lane.unit else "no test")
        why = why or (f"was killed by signal {-code}" if code < 0 else f"ended with {code}")
        print(f"\nERROR: {where}\nlane {lane.number + 1} {why}; tests of it that did not end: {lane.left}", flush=True)
        self.counts[1] += max(lane.left, 1)
        if self.others or (self.brokers and lane.number == 0):
            self.start(lane.number)

    def kill(self):
        for lane in self.running:
            lane.close(kill=True)


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def split(tests):
    """What a lane takes at a time: a test, or all of a class where they share what the class has set up."""
    units, classes = [], {}
    for test in tests:
        kind = type(test)
        if kind.setUpClass.__func__ is unittest.TestCase.setUpClass.__func__:
            units.append([test])
        elif kind in classes:
            classes[kind].append(test)
        else:
            units.append(classes.setdefault(kind, [test]))
    return units


def uses_broker(kind):
    """Whether a method of the class, or of one that it is derived from, speaks of the module kafka. What this overlooks, kafka.broker() refuses."""
    def names(code):
        yield from code.co_names
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                yield from names(constant)

    methods = [getattr(value, "__func__", value) for base in kind.__mro__ for value in vars(base).values()]
    return any(method.__globals__.get(name) is kafka for method in methods if isinstance(method, types.FunctionType) for name in names(method.__code__))


def main():
    parser = argparse.ArgumentParser(description="The integration tests.")
    parser.add_argument("--lanes", type=int, default=2, choices=range(1, 9), metavar="N")
    parser.add_argument("--folder", default=str(pathlib.Path(__file__).resolve().parent), help="where the test_*.py are")
    parser.add_argument("--patience", type=float, default=20 * DEADLINE_S, metavar="S", help="a test that takes longer is taken to hang")
    parser.add_argument("pattern", nargs="?", default="")
    arguments = parser.parse_args()
    tests = [test for test in flatten(unittest.defaultTestLoader.discover(arguments.folder, pattern="test_*.py")) if arguments.pattern in test.id()]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-lanes-"))
    run = Run(tests, arguments.lanes, arguments.patience, folder)
    began = time.monotonic()
    try:
        run.play()
    except KeyboardInterrupt:
        run.kill()
        print("\ninterrupted", flush=True)
        return 130
    except BaseException:
        run.kill()
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    passed, failed, skipped = run.counts
    print(f"    {time.monotonic() - began:.0f} s in all\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if failed == 0 and passed + skipped > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
