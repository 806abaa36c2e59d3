"""A whole cluster for faults: JobManagers, TaskManagers and a Kafka broker, each on a host of its own, with a job at full rate through them."""

import http.client
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import threading
import time

from brokers import HostBrokers
from cluster import BUILD, ROOT, Daemon
from load import PARTITIONS, Checker, Feed, check_complete
from net import Net
from patience import wait_for

BUILD_FP = BUILD if "WEIR_BIN_DIR" in os.environ else ROOT / "build-fp"
CLOCK = ROOT / "build" / "chaos-clock.so"
SLOTS = 3
PARALLELISM = 6  # runs on two of three TaskManagers
GRACE_S = float(os.environ.get("CHAOS_GRACE_S", "60"))  # from the end of a fault to a running job with a new checkpoint
RPC_PORT, REST_PORT = 6123, 8081
BROKERS = ["kafka", "kafka2"]
ENDED = ("FAILED", "CANCELED", "FINISHED")

JOB = """\
job: chaos-{number}
settings:
  execution.checkpointing.interval: 300 ms
  execution.checkpointing.timeout: 10 s
  restart-strategy.type: fixed-delay
  restart-strategy.fixed-delay.attempts: 1000000
  restart-strategy.fixed-delay.delay: 50 ms
tables:
  events:
    columns: {{p: INT, k: STRING, g: INT, n: BIGINT, c: BIGINT, ts: "TIMESTAMP_LTZ(3)"}}
    watermark: {{column: ts, delay: 100 ms}}
    with: {{connector: kafka, topic: {source}, properties.bootstrap.servers: "{servers}", scan.startup.mode: earliest-offset, format: json}}
  copies:
    columns: {{p: INT, k: STRING, n: BIGINT, c: BIGINT}}
    with: {{connector: kafka, topic: {copies}, properties.bootstrap.servers: "{servers}", format: json, key.fields: k, key.format: json,
           properties.request.timeout.ms: 4000, properties.transaction.timeout.ms: 20000, sink.delivery-guarantee: exactly-once,
           sink.transactional-id-prefix: copies-{number}}}
  sums:
    columns: {{window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), g: INT, rows: BIGINT, total: BIGINT}}
    with: {{connector: kafka, topic: {sums}, properties.bootstrap.servers: "{servers}", format: json,
           properties.transaction.timeout.ms: 20000, sink.delivery-guarantee: exactly-once, sink.transactional-id-prefix: sums-{number}}}
pipeline:
  - {{id: read, source: events}}
  - {{id: valid, input: read, filter: "n >= 0"}}
  - {{id: plain, input: valid, project: {{p: p, k: k, n: n, c: c}}}}
  - {{id: copy, input: plain, sink: copies}}
  - {{id: sum, input: valid, key_by: [g], window: {{tumble: 2 s}}, aggregate: {{rows: "COUNT(*)", total: "SUM(n)"}}}}
  - {{id: write, input: sum, sink: sums}}
"""


class Watch(threading.Thread):
    """Asks for the job's state four times a second. `restarts` and `checkpoint` never go back."""

    def __init__(self, rig):
        super().__init__(daemon=True)
        self.rig = rig
        self.state, self.running, self.restarts, self.checkpoint, self.counts = None, False, 0, 0, {}
        self.stopped = threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(0.25):
            self.look()

    def look(self):
        _, detail = self.rig.ask(f"/jobs/{self.rig.job}")
        _, checkpoints = self.rig.ask(f"/jobs/{self.rig.job}/checkpoints")
        if detail is None or checkpoints is None:
            self.state, self.running = None, False
            return
        counts = detail["status-counts"]
        completed = checkpoints["latest"]["completed"]
        self.state, self.counts = detail["state"], counts
        self.running = detail["state"] == "RUNNING" and counts["RUNNING"] == sum(counts.values())
        self.restarts = max(self.restarts, detail["restarts"])
        self.checkpoint = max(self.checkpoint, completed["id"] if completed else 0)


class Rig:
    """Use as a context manager. `jobmanagers` and `taskmanagers` are dictionaries: host name to Daemon."""

    def __init__(self, folder, seed, jobmanagers=3, taskmanagers=3, rate=20000, build=BUILD, tls=False, brokers=2):
        self.folder, self.build, self.rate, self.tls = folder, build, rate, tls
        self.jm_hosts = [f"jm{i}" for i in range(1, jobmanagers + 1)]
        self.founders = list(self.jm_hosts)
        self.spare = f"jm{jobmanagers + 1}"  # a host without a daemon, for one that joins
        self.joins = set()                   # hosts whose JobManager does not found the cluster
        self.tm_hosts = [f"tm{i}" for i in range(1, taskmanagers + 1)]
        self.jobmanagers, self.taskmanagers = {}, {}
        self.exits = []       # daemons that left by themselves: (name, code, last lines)
        self.may_leave = set()  # hosts whose daemon may end with an error: a fault asks it to
        self.clocks = {}      # host: seconds that its wall clock is ahead
        self.feed = self.watch = self.copies = self.sums = self.broker = None
        self.job = None
        self.jobs = 0
        self.mounts = []
        self.net = Net([*BROKERS[:brokers], *self.jm_hosts, self.spare, *self.tm_hosts], seed)
        try:
            self.checkpoints = self.tmpfs("checkpoints", "768m")
            for host in (*self.jm_hosts, self.spare):
                self.tmpfs(f"{host}.data", "160m")
            for host in (*self.jm_hosts, self.spare, *self.tm_hosts):
                (self.folder / f"{host}.clock").write_bytes(struct.pack("=q", 0))
            if tls:
                self.make_certificates()
            self.broker = HostBrokers(self.net, folder, BROKERS[:brokers])
            for host in self.jm_hosts:
                self.start_jobmanager(host)
            for host in self.tm_hosts:
                self.start_taskmanager(host)
            self.wait_registered()
        except BaseException:
            self.close(failed=True)
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close(failed=kind is not None)

    def tmpfs(self, name, size):
        path = self.folder / name
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)
        self.mounts.append(path)
        return path

    # --- certificates ---

    def certs(self, verb, *words):
        """As if run yesterday: clocks will be set back, and a certificate holds from the moment that it was made."""
        clock = self.folder / "certs.clock"
        clock.write_bytes(struct.pack("=q", -86400))
        result = subprocess.run([self.build / "weir", "certs", verb, self.folder / "certs", *words], capture_output=True, text=True, timeout=180,
                                env={**os.environ, "CHAOS_CLOCK": str(clock), "LD_PRELOAD": "" if "san" in self.build.name else str(CLOCK)})
        if result.returncode != 0:
            raise AssertionError(f"weir certs {verb}: {result.stderr}")

    def make_certificates(self):
        """One for each host, good for its own address only."""
        for host in (*self.jm_hosts, self.spare, *self.tm_hosts):
            role = "taskmanager" if host in self.tm_hosts else "jobmanager"
            self.certs("add" if (self.folder / "certs").exists() else "init", "--node", f"{role}:{host}", "--hosts", self.net.address(host))

    def renew_certificate(self, host):
        self.certs("renew", "--node", host, "--days", "30")

    def renewals(self, host):
        return self.daemon(host).log_path.read_text(errors="replace").count("event=tls_certificate_renewed ")

    # --- daemons ---

    @property
    def hosts(self):
        return [*self.jm_hosts, *self.tm_hosts]

    def daemon(self, host):
        return self.jobmanagers.get(host) or self.taskmanagers.get(host)

    def start(self, host, binary, options, environment, prefix):
        own = {"CHAOS_CLOCK": str(self.folder / f"{host}.clock"), **(environment or {})}
        if "san" not in self.build.name:
            own["LD_PRELOAD"] = str(CLOCK)
        security = ["--insecure"]  # the HTTP API has no TLS
        if self.tls:
            security += ["-D", "security.ssl.internal.enabled=true", "-D", f"security.ssl.internal.dir={self.folder / 'certs' / host}"]
        command = [*self.net.enter(host), *prefix, str(self.build / binary), *security, "-D", f"state.checkpoints.dir={self.checkpoints}",
                   "-D", "log.level=info", *options]
        return Daemon(host, pathlib.Path(shutil.which(command[0])).name, command[1:], self.folder, pathlib.Path(shutil.which(command[0])).parent, own)

    def members(self):
        if len(self.founders) == 1:
            return []
        return ["-D", "cluster.jobmanagers=" + ",".join(map(self.rpc_address, self.founders))]

    def rpc_address(self, host):
        return f"{self.net.address(host)}:{RPC_PORT}"

    def start_jobmanager(self, host, environment=None, prefix=()):
        address = self.net.address(host)
        self.jobmanagers[host] = self.start(host, "weir-jobmanager", [
            "-D", f"jobmanager.rpc.address={address}", "-D", f"jobmanager.rpc.port={RPC_PORT}", "-D", f"rest.bind-address={address}",
            "-D", f"rest.port={REST_PORT}", "-D", f"jobmanager.data.dir={self.folder / f'{host}.data'}", *self.members(),
            "-D", "jobstore.expiration-time=30 d",  # clocks jump by hours, and the storm counts what has finished
            *(["-D", "jobmanager.join=true"] if host in self.joins else [])], environment, prefix)
        return self.jobmanagers[host]

    def start_taskmanager(self, host, environment=None, prefix=()):
        tmp = self.folder / f"{host}.tmp"
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir()
        single = ["-D", f"jobmanager.rpc.address={self.net.address('jm1')}", "-D", f"jobmanager.rpc.port={RPC_PORT}"]
        self.taskmanagers[host] = self.start(host, "weir-taskmanager", [
            "-D", f"taskmanager.host={self.net.address(host)}", "-D", f"taskmanager.numberOfTaskSlots={SLOTS}", "-D", "taskmanager.memory.size=256 mb",
            "-D", f"taskmanager.tmp.dir={tmp}", *(self.members() or single)], environment, prefix)
        return self.taskmanagers[host]

    def restart(self, host, **more):
        return self.start_jobmanager(host, **more) if host in self.jm_hosts else self.start_taskmanager(host, **more)

    def alive(self, host):
        return self.daemon(host).alive()

    def kill(self, host):
        self.daemon(host).kill()

    def freeze(self, host):
        self.daemon(host).freeze()

    def thaw(self, host):
        self.daemon(host).thaw()

    def set_clock(self, host, seconds):
        self.clocks[host] = seconds
        with open(self.folder / f"{host}.clock", "r+b") as clock:  # in place: it is mapped
            clock.write(struct.pack("=q", seconds))

    def tend(self):
        """Starts again what has ended, as an init system would; tells what ended by itself."""
        for node in self.broker.nodes:
            node.tend()
        for host in self.hosts:
            daemon = self.daemon(host)
            code = daemon.process.poll()
            if code is None:
                continue
            if not daemon.killed and code != 0:
                self.exits.append((host, code, daemon.log_tail(4)))
                if code < 0 or host not in self.may_leave:
                    raise AssertionError(f"{host} ended by itself with {code}:\n{daemon.log_tail()}")
            self.restart(host)

    # --- asking the cluster ---

    def http(self, host, method, path, body=None, timeout_s=2.0, **headers):
        """(status, text), (None, reason) when there is no answer."""
        connection = http.client.HTTPConnection(self.net.address(host), REST_PORT, timeout=timeout_s)
        try:
            connection.request(method, path, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return None, str(error)
        finally:
            connection.close()

    def ask(self, path):
        """(host, document) of the JobManager that answers for the cluster; (None, None) when none does."""
        for host in self.jm_hosts:
            if host not in self.jobmanagers or not self.daemon(host).answers():
                continue
            status, text = self.http(host, "GET", path)
            if status == 200:
                return host, json.loads(text)
        return None, None

    def leader(self):
        return self.ask("/overview")[0]

    def wait_leader(self, besides=()):
        return wait_for(lambda: (lambda host: host if host not in besides else None)(self.leader()), "a JobManager leads")

    def wait_registered(self):
        def all_there():
            _, overview = self.ask("/overview")
            return overview and overview["taskmanagers"] == len(self.tm_hosts)
        wait_for(all_there, f"{len(self.tm_hosts)} TaskManagers are registered")

    def begin_weir(self, *arguments):
        servers = ",".join(f"{self.net.address(host)}:{REST_PORT}" for host in self.jm_hosts)
        return subprocess.Popen([self.build / "weir", *arguments], env={**os.environ, "WEIR_JOBMANAGERS": servers}, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def weir(self, *arguments, timeout_s=180):
        process = self.begin_weir(*arguments)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"`weir {' '.join(arguments)}` still runs after {timeout_s:g} s") from None
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    # --- the job ---

    def begin_job(self):
        """Load, job and oracle; returns when it runs and has a checkpoint."""
        self.jobs += 1
        self.source = self.broker.topic("events", PARTITIONS)
        self.sinks = [self.broker.topic("copies", PARTITIONS), self.broker.topic("sums", PARTITIONS)]
        here = self.net.enter(BROKERS[0])
        path = self.folder / f"job-{self.jobs}.yaml"
        path.write_text(JOB.format(number=self.jobs, servers=self.broker.servers, source=self.source, copies=self.sinks[0], sums=self.sinks[1]))
        result = self.weir("run", "-d", "-p", str(PARALLELISM), str(path))
        if result.returncode != 0:
            raise AssertionError(f"weir run: {result.stderr}")
        self.job = re.search(r"[0-9a-f]{32}", result.stdout).group()
        self.feed = Feed(here, self.broker.servers, self.source, self.rate, self.folder)
        self.copies = Checker(here, "copies", self.broker.servers, self.sinks[0], self.folder)
        self.sums = Checker(here, "sums", self.broker.servers, self.sinks[1], self.folder)
        self.watch = Watch(self)
        self.wait_stable("the job has begun")

    def check_output(self):
        """What is wrong already now."""
        for checker in (self.copies, self.sums):
            checker.check()
        if self.feed.process.poll() is not None and self.feed.counts is None:
            raise AssertionError(f"the feed ended: {self.feed.errors.read_text()}")

    def wait_stable(self, what, deadline_s=GRACE_S, checkpoints=1):
        """Every daemon is there, every task runs, so many checkpoints have begun and completed since, output of every partition comes. Returns seconds."""
        began = time.monotonic()
        mark = self.watch.checkpoint
        lowest = self.copies.latest.lowest  # of the hindmost key of the hindmost partition

        def stable():
            self.tend()
            self.check_output()
            if self.watch.state in ENDED:
                raise AssertionError(f"the job is {self.watch.state}")
            return self.watch.running and self.watch.checkpoint > mark + checkpoints and self.copies.latest.lowest > lowest

        try:
            wait_for(stable, f"the job runs and takes checkpoints ({what})", deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.state_text(mark)}") from None
        return time.monotonic() - began

    def state_text(self, mark):
        lines = [f"state {self.watch.state}, tasks {self.watch.counts}, checkpoint {self.watch.checkpoint} (was {mark}), copies {self.copies.latest}",
                 f"brokers: {self.broker.state_text()}"]
        _, detail = self.ask(f"/jobs/{self.job}")
        if detail:
            lines.append(f"waiting for: {detail['waiting-for']}")
            for vertex in detail["vertices"]:
                _, one = self.ask(f"/jobs/{self.job}/vertices/{vertex['id']}")
                for task in (one or {"subtasks": []})["subtasks"]:
                    lines.append(f"  {vertex['name']} {task['subtask']} {task['status']} attempt {task['attempt']} on {task['taskmanager-id']}")
        return "\n".join(lines)

    def finish_job(self):
        """The whole oracle. Returns records fed."""
        self.wait_stable("before the end")
        counts = self.feed.stop()
        check_complete(counts, self.copies, self.sums, GRACE_S)
        given = Checker(self.net.enter(BROKERS[0]), "copies", self.broker.servers, self.source, self.folder)  # the oracle's own ground
        wait_for(lambda: given.wrong() or given.latest.received >= sum(counts), "the input is read", 60 + sum(counts) / 100000)
        given.close()
        if given.wrong() or given.latest.received != sum(counts):
            raise AssertionError(f"the input itself is not dense: {given.wrong()}")
        self.check_no_transaction_hangs()
        result = self.weir("cancel", self.job)
        if result.returncode != 0:
            raise AssertionError(f"weir cancel: {result.returncode} {result.stderr}")
        if self.copies.latest.received != sum(counts):
            raise AssertionError(f"{self.copies.latest.received - sum(counts)} copies more after the end")
        self.check_output()
        wait_for(lambda: not (self.checkpoints / self.job).exists(), "no file of a checkpoint is left")
        self.end_job()
        return counts

    def check_no_transaction_hangs(self):
        def settled():
            return all(stable == high for topic in self.sinks for _, _, stable, high in self.broker.tool("offsets", topic))
        wait_for(settled, "no transaction hangs", 15)

    def end_job(self):
        for end in ([self.watch.stopped.set] if self.watch else []) + [part.close for part in (self.feed, self.copies, self.sums) if part]:
            end()
        self.feed = self.copies = self.sums = None

    def failures(self):
        """Why tasks of the job have failed, by all JobManagers' logs: [(host, text)], each host's in order."""
        found = []
        for host in (*self.jm_hosts, self.spare):
            path = self.folder / f"{host}.log"
            for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
                if "event=job_failure " in line and self.job in line:
                    found.append((host, line[line.index("task="):] if "task=" in line else line))
        return found

    # --- the end ---

    def close(self, failed=False):
        problems, daemons = [], [*self.taskmanagers.values(), *self.jobmanagers.values()]
        self.net.heal()
        for daemon in daemons:
            daemon.thaw()
        self.end_job()
        for daemon in daemons:
            try:
                daemon.stop()
            except AssertionError as error:
                problems.append(str(error))
        for daemon in daemons:
            problems += daemon.complaints()
        if self.broker is not None:
            self.broker.kill()
        if failed or problems:
            for daemon in daemons:
                print(daemon.log_tail(15), file=sys.stderr)
        for path in self.mounts:
            subprocess.run(["umount", "-l", path], check=False)
        self.net.close()
        if problems and not failed:
            raise AssertionError("; ".join(problems))
