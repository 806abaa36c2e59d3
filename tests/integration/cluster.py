"""Real daemons for a test: ports from the kernel, one temporary folder, waits for conditions, ends by pid."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WEIR_BIN_DIR", ROOT / "build"))
DEADLINE_S = float(os.environ.get("WEIR_TEST_DEADLINE_S", "30"))


def poll(condition, what, deadline_s, slowness=lambda: 1.0):
    """Waits until condition() is true and returns its value. A second in which the machine is slower than one's own counts as so much less of
    the deadline. Every wait of the integration and chaos tests is this one."""
    left_s, began = deadline_s, time.monotonic()
    at = began
    while True:
        asked = time.monotonic()
        value = condition()
        if value:
            return value
        before, at = at, time.monotonic()
        left_s -= (at - before) / slowness()
        if left_s < 0:
            raise AssertionError(f"not within {deadline_s:g} s (waited {at - began:.0f} s, load {os.getloadavg()[0]:.1f}): {what}")
        time.sleep(min(max(0.02, at - asked), 0.25))  # a look that takes long is not to take the processor from what it looks at


def wait_for(condition, what, deadline_s=DEADLINE_S):
    """A longer WEIR_TEST_DEADLINE_S holds for every wait."""
    return poll(condition, what, max(deadline_s, DEADLINE_S))


class Daemon:
    """One process; `ready` holds the fields of its ready line."""

    def __init__(self, name, binary, options, folder, build=BUILD, environment=None, wait=True):
        self.name = name
        self.killed = False
        self.frozen = False
        self.out_path = folder / f"{name}.out"
        self.log_path = folder / f"{name}.log"
        with open(self.out_path, "wb") as out, open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([build / binary, *options], env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=log)
        self.ready = None
        if wait:
            self.wait_ready()

    def wait_ready(self):
        self.ready = wait_for(self._read_ready, f"{self.name} is ready")

    def _read_ready(self):
        for line in self.out_path.read_text(errors="replace").splitlines(keepends=True):
            words = line.split()
            if line.endswith("\n") and words[1:2] == ["ready"]:
                return {key: value.split("//")[-1] for key, value in (word.split("=", 1) for word in words[2:])}
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
        return None

    def log_tail(self, lines=40):
        text = self.log_path.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"  {self.name}| {line}" for line in text)

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        self.killed = True
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def answers(self):
        return self.alive() and not self.frozen

    def freeze(self):
        self.frozen = True
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.frozen = False
        self.process.send_signal(signal.SIGCONT)

    def complaints(self):
        """What the daemon says of itself that no test may overlook: a bad exit, an assertion, a sanitizer's report."""
        code = self.process.returncode
        if code != 0 and not (self.killed and code == -signal.SIGKILL):
            yield f"{self.name} ended with {code}"
        text = self.log_path.read_text(errors="replace")
        for sign in ("Sanitizer", "runtime error:", "assertion failed"):
            if sign in text:
                at = text.index(sign)
                yield f"{self.name}: {text[max(0, at - 200):at + 3000]}"

    def terminate(self):
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            self.thaw()

    def stop(self, deadline_s=DEADLINE_S):
        """SIGTERM; returns the exit code."""
        if self.alive():
            self.terminate()
            try:
                self.process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} did not leave within {deadline_s:g} s of SIGTERM")
        return self.process.returncode


def lane():
    """(number, of how many): which of the processes that run tests beside each other this is (run.py)."""
    number, lanes = os.environ.get("WEIR_TEST_LANE", "0/1").split("/")
    return int(number), int(lanes)


def free_ports(count):
    """Ports where nobody listens. Not of those that the kernel gives to connections, nor of another lane's: a daemon that is killed comes back to the
    same one."""
    number, lanes = lane()
    width = (32000 - 15000) // lanes
    ports = []
    while len(ports) < count:
        port = 15000 + number * width + random.SystemRandom().randrange(width)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def free_port_row(count):
    """The first of so many free ports in a row."""
    while True:
        (first,) = free_ports(1)
        try:
            for port in range(first + 1, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def request(address, method, path, body=None, content_type=None, timeout_s=DEADLINE_S):
    """(status, text, where a redirect points to) of one request to one JobManager."""
    question = urllib.request.Request(f"http://{address}{path}", method=method, data=body)
    if content_type:
        question.add_header("Content-Type", content_type)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect())
    try:
        with opener.open(question, timeout=timeout_s) as answer:
            return answer.status, answer.read().decode(), None
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers.get("Location")


class Cluster:
    """JobManagers and TaskManagers; use as a context manager, or start() and close().

    One JobManager is `jobmanager`. Several are `jobmanagers`: a list of daemons whose numbers stay, of which one leads."""

    def __init__(self, taskmanagers=1, slots=2, options=(), build=BUILD, jobmanagers=1, checkpoints=False, environment=None):
        self.slots = slots
        self.build = build
        self.options = [word for option in options for word in ("-D", option)]
        self.taskmanagers = []
        self.jobmanagers = []
        self.ports = free_ports(2)  # of the only one: RPC and HTTP API
        self.addresses = []  # of the RPC of each, and below of the HTTP API: only where there are several
        self.founders = jobmanagers
        self.joined = set()  # numbers
        self.rest_addresses = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-it-"))
        if checkpoints:
            self.options += ["-D", f"state.checkpoints.dir={self.folder}/checkpoints"]
        try:
            if jobmanagers > 1:
                self.add_addresses(jobmanagers)
            for _ in range(jobmanagers):  # at once: those of a new cluster ask each other whether it is one
                self.start_jobmanager(environment, wait=False)
            for daemon in self.jobmanagers:
                daemon.wait_ready()
            for _ in range(taskmanagers):
                self.start_taskmanager()
            self.wait_registered(taskmanagers)
        except BaseException:
            self.close(failed=True)
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close(failed=kind is not None)

    # --- JobManagers ---

    @property
    def several(self):
        return bool(self.addresses)

    def add_addresses(self, count):
        ports = free_ports(2 * count)
        self.addresses += [f"127.0.0.1:{port}" for port in ports[:count]]
        self.rest_addresses += [f"127.0.0.1:{port}" for port in ports[count:]]

    def listed(self):
        return f"cluster.jobmanagers={','.join(self.addresses[:self.founders])}"

    @property
    def jobmanager(self):
        """The only one, or the one that leads."""
        if not self.several:
            return self.jobmanagers[0] if self.jobmanagers else None
        return self.jobmanagers[self.wait_leader()]

    def start_jobmanager(self, environment=None, number=0, join=False, wait=True):
        """The only one, again; of several the next, or that number again, an empty one if it is to join."""
        if not self.several:
            rpc, rest = self.ports
            options = ["-D", f"jobmanager.rpc.port={rpc}", "-D", f"rest.port={rest}"]
            name = "jobmanager"
        else:
            new = len(self.jobmanagers) < len(self.addresses)
            number = len(self.jobmanagers) if new else number
            self.joined |= {number} if join else set()
            name = f"jobmanager-{number}"
            options = ["-D", self.listed(), "-D", f"jobmanager.rpc.port={self.addresses[number].split(':')[1]}",
                       "-D", f"rest.port={self.rest_addresses[number].split(':')[1]}", *(["-D", "jobmanager.join=true"] if number in self.joined else [])]
        data = self.folder / f"{name}.data"
        if join:
            shutil.rmtree(data, ignore_errors=True)
        data.mkdir(exist_ok=True)
        if number < len(self.jobmanagers):
            self.forget(self.jobmanagers[number])
        daemon = Daemon(name, "weir-jobmanager", [*options, "-D", f"jobmanager.data.dir={data}", *self.options], self.folder, self.build, environment, wait)
        self.jobmanagers[number:number + 1] = [daemon]
        return daemon

    def join_jobmanager(self):
        """A further one, under an address of its own, that is in no cluster yet; its number."""
        self.add_addresses(1)
        self.start_jobmanager(join=True)
        return len(self.jobmanagers) - 1

    def forget(self, daemon):
        """Its place is taken by another process of the same name: what it had to say is said now."""
        problems = list(daemon.complaints()) if not daemon.alive() else []
        if problems:
            raise AssertionError("; ".join(problems))

    def leads(self, number, timeout_s=1):
        try:
            return self.jobmanagers[number].answers() and request(self.rest_addresses[number], "GET", "/overview", timeout_s=timeout_s)[0] == 200
        except OSError:
            return False

    def leader(self):
        """The number of the one that leads, None: nobody does."""
        return next((number for number in range(len(self.jobmanagers)) if self.leads(number)), None)

    def wait_leader(self):
        found = []
        wait_for(lambda: [found.append(number) for number in [self.leader()] if number is not None], "a JobManager leads")
        return found[-1]

    def kill_leader(self):
        """SIGKILL; its number."""
        number = self.wait_leader()
        self.jobmanagers[number].kill()
        return number

    # --- TaskManagers ---

    def start_taskmanager(self, environment=None, tmp=None):
        """The next one. tmp: the working directory of one that was killed."""
        name = f"taskmanager-{len(self.taskmanagers) + 1}"
        tmp = tmp or self.folder / f"{name}.tmp"
        tmp.mkdir(exist_ok=True)
        jobmanagers = self.listed() if self.several else f"jobmanager.rpc.port={self.jobmanager.ready['rpc'].rsplit(':', 1)[1]}"
        tm = Daemon(name, "weir-taskmanager", [
            "-D", jobmanagers, "-D", f"taskmanager.numberOfTaskSlots={self.slots}",
            "-D", f"taskmanager.tmp.dir={tmp}", *self.options], self.folder, self.build, environment)
        self.taskmanagers.append(tm)
        return tm

    def wait_registered(self, count):
        wait_for(lambda: self.get("/overview")["taskmanagers"] == count, f"{count} TaskManagers are registered")

    # --- questions ---

    @property
    def address(self):
        return self.jobmanager.ready["rest"]

    def http(self, method, path, body=None, content_type=None):
        """(status, text) of a request, to the leader where there are several: asked again until one has answered."""
        if not self.several:
            return request(self.address, method, path, body, content_type)[:2]
        answers = []

        def ask():
            for number, address in enumerate(self.rest_addresses[:len(self.jobmanagers)]):
                try:
                    if self.jobmanagers[number].answers():
                        answer = request(address, method, path, body, content_type, timeout_s=2)
                        if answer[0] not in (307, 503):
                            answers.append(answer[:2])
                            return True
                except OSError:
                    pass
            return False

        wait_for(ask, f"a JobManager answers {method} {path}")
        return answers[0]

    def get(self, path):
        status, text = self.http("GET", path)
        if status != 200:
            raise AssertionError(f"GET {path}: {status} {text}")
        return json.loads(text)

    def weir(self, *arguments, timeout_s=DEADLINE_S):
        """Runs the client; never raises for its exit code. One that hangs fails the test and tells what the cluster was at."""
        environment = {**os.environ, "WEIR_JOBMANAGERS": ",".join(self.rest_addresses) if self.several else self.address}
        command = [BUILD / "weir", *arguments]
        try:
            return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"`weir {' '.join(arguments)}` still runs after {timeout_s:g} s\n{self.unfinished()}") from None

    def unfinished(self):
        """The jobs that have not ended: their tasks, and the newest log lines of all daemons."""
        lines = []
        for job in self.get("/jobs")["jobs"]:
            detail = self.get(f"/jobs/{job['id']}")
            if detail["end-time"] < 0:
                lines.append(f"job {detail['name']}: {detail['state']} {detail['waiting-for'] or ''}")
                for vertex in detail["vertices"]:
                    for task in self.get(f"/jobs/{job['id']}/vertices/{vertex['id']}")["subtasks"]:
                        lines.append(f"  {vertex['name']} {task['subtask']} {task['status']} on {task['taskmanager-id']} {task['metrics']}")
        return "\n".join([*lines, *(daemon.log_tail() for daemon in [*self.jobmanagers, *self.taskmanagers])])

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def wait_state(self, job, *states, deadline_s=DEADLINE_S):
        return wait_for(lambda: (lambda state: state if state in states else None)(self.get(f"/jobs/{job}/status")["status"]),
                        f"job {job} is {' or '.join(states)}", deadline_s)

    def close(self, failed=False):
        daemons = [*self.taskmanagers, *self.jobmanagers]
        problems = []
        for daemon in daemons:
            if daemon is self.jobmanagers[0]:  # together: the last ones could hand over to nobody
                for jobmanager in self.jobmanagers:
                    jobmanager.terminate()
            try:
                daemon.stop()
            except AssertionError as error:
                problems.append(str(error))
            problems += daemon.complaints()
        if failed or problems:
            for daemon in daemons:
                print(daemon.log_tail(), file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)
        if problems and not failed:
            raise AssertionError("; ".join(problems))


def bytes_in(folder):
    """Of all files there. A sink may publish one, which changes its name, at any moment."""
    total = 0
    for path in pathlib.Path(folder).iterdir() if pathlib.Path(folder).exists() else ():
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass
    return total


def read_rows(folder):
    """The rows of all published part files of a filesystem sink."""
    rows = []
    for path in sorted(pathlib.Path(folder).iterdir()):
        if not path.name.startswith((".", "_")):
            rows += [json.loads(line) for line in path.read_text().splitlines()]
    return rows
