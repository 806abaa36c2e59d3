"""High availability: three JobManagers, a job from Kafka to Kafka at 5,000 messages a second, and kills. How long until another JobManager leads and
the TaskManagers are with it, what the kill does to the output, and whether a task was restarted."""

import json
import random
import re
import time
from datetime import datetime

import kafka
import kafka_bench
from cluster import Cluster, wait_for

RATE = kafka_bench.RATE
LEADER_KILLS = 30
TASKMANAGER_KILLS = 10
USUAL_S = 5
WINDOW_US = 8_000_000


def events_us(daemon, event, after_us):
    """When a daemon logged the event, later than that: wall clock, to the millisecond."""
    found = []
    for line in daemon.log_path.read_text(errors="replace").splitlines():
        if f"event={event}" in line:
            at = re.match(r"ts=(\S+)Z ", line)
            at_us = int(datetime.fromisoformat(at.group(1) + "+00:00").timestamp() * 1_000_000)
            if at_us >= after_us // 1000 * 1000:
                found.append(at_us)
    return found


class Job:
    """The cluster, and the job that runs for as long as the measurement takes."""

    def __init__(self, broker, guarantee, interval):
        self.broker = broker
        self.random = random.Random(7)
        self.cluster = cluster = Cluster(jobmanagers=3, taskmanagers=2, slots=1, checkpoints=True)
        self.source, self.sink = broker.topic("stamps", 1), broker.topic("copies", 1)
        self.reader = kafka.Reader(broker, self.sink, cluster.folder)
        self.stamps = None
        text = kafka_bench.PASS.format(job="ha", interval=interval, source=self.source, sink=self.sink, servers=broker.servers, guarantee=guarantee,
                                       prefix=", sink.transactional-id-prefix: bench" if guarantee == "exactly-once" else "")
        result = cluster.weir("run", "-d", "-p", "1", str(cluster.write("job.yaml", text)))
        if result.returncode != 0:
            self.__exit__(AssertionError, None, None)
            raise AssertionError(result.stderr)
        self.job = result.stdout.strip()
        cluster.wait_state(self.job, "RUNNING")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.stamps is not None:
            self.stamps.terminate()
            self.stamps.wait()
        self.reader.close()
        self.cluster.close(failed=kind is not None)

    def feed(self, seconds):
        self.stamps = kafka_bench.start_stamps(self.broker, self.source, seconds)
        wait_for(lambda: self.reader.path.stat().st_size > 2 * RATE * 40, "records come", 60)
        began_us = time.time_ns() // 1000
        wait_for(lambda: time.time_ns() // 1000 - began_us > USUAL_S * 1_000_000, "some quiet seconds", 60)
        return began_us

    def checkpoint(self):
        latest = self.cluster.get(f"/jobs/{self.job}/checkpoints")["latest"]["completed"]
        return latest["id"] if latest else 0

    def quiet(self):
        """All JobManagers are there, and a checkpoint has been completed."""
        wait_for(lambda: sorted(jm["role"] for jm in self.cluster.get("/cluster")["jobmanagers"]) == ["leader", "standby", "standby"], "everyone is there")
        before = self.checkpoint()
        wait_for(lambda: self.checkpoint() > before, "a checkpoint")
        end = time.monotonic() + 0.2 + self.random.random() * 0.3
        while time.monotonic() < end:
            time.sleep(0.01)

    def deployments(self):
        return sum(tm.log_path.read_text().count("event=attempt_deployed") for tm in self.cluster.taskmanagers)

    def live(self):
        return [tm for tm in self.cluster.taskmanagers if tm.alive()]

    def busy_taskmanager(self):
        vertex = self.cluster.get(f"/jobs/{self.job}")["vertices"][0]
        task = self.cluster.get(f"/jobs/{self.job}/vertices/{vertex['id']}")["subtasks"][0]
        return next(tm for tm in self.cluster.taskmanagers if task["taskmanager-id"].startswith(tm.ready["rpc"] + "-"))

    def records(self):
        """After the end of the input: (n, arrival), all of them; none is missing."""
        self.stamps.terminate()
        self.stamps.wait()
        seen = [-1, time.monotonic()]

        def settled():
            size = self.reader.path.stat().st_size
            if size != seen[0]:
                seen[:] = [size, time.monotonic()]
            return time.monotonic() - seen[1] > 3

        wait_for(settled, "the last record has come", 60)
        records = [(json.loads(value)["n"], at) for _, _, at, _, value in self.reader.records()]
        numbers = {n for n, _ in records}
        if len(numbers) != max(numbers) + 1:
            raise AssertionError(f"{max(numbers) + 1 - len(numbers)} records were lost")
        return records


def gaps_ms(records, kills_us):
    """For each kill the longest silence between two arrivals of which some part lies behind it, and before the next kill."""
    arrivals = sorted(at for _, at in records)
    gaps = []
    for kill, following in zip(kills_us, [*kills_us[1:], kills_us[-1] + WINDOW_US]):
        end = min(following, kill + WINDOW_US)
        gaps.append(max(later - earlier for earlier, later in zip(arrivals, arrivals[1:]) if later > kill and earlier < end) / 1000)
    return gaps


def longest_ms(arrivals):
    return max(later - earlier for earlier, later in zip(arrivals, arrivals[1:])) / 1000


def kill_leaders(report, name, guarantee, interval):
    leading, registered, kills_us = [], [], []
    with Job(kafka.broker(), guarantee, interval) as job:
        quiet_us = job.feed(LEADER_KILLS * 8)
        deployments = job.deployments()
        for _ in range(LEADER_KILLS):
            job.quiet()
            number = job.cluster.wait_leader()
            killed_us = time.time_ns() // 1000
            job.cluster.jobmanagers[number].kill()
            others = [daemon for i, daemon in enumerate(job.cluster.jobmanagers) if i != number]
            wait_for(lambda: any(events_us(daemon, "leading", killed_us) for daemon in others), "another one leads")
            wait_for(lambda: all(events_us(tm, "registered", killed_us) for tm in job.live()), "the TaskManagers are with it")
            leading.append((min(at for daemon in others for at in events_us(daemon, "leading", killed_us)) - killed_us) / 1000)
            registered.append((max(min(events_us(tm, "registered", killed_us)) for tm in job.live()) - killed_us) / 1000)
            kills_us.append(killed_us)
            job.cluster.start_jobmanager(number=number)
        job.quiet()
        restarted = job.deployments() - deployments
        records = job.records()
        if len(records) != len({n for n, _ in records}):
            raise AssertionError("doubled records, though no task was restarted")
    report.add(f"{name}.new-leader", leading, "ms")
    report.add(f"{name}.taskmanagers-back", registered, "ms")
    report.add(f"{name}.tasks-restarted", [restarted], "tasks")
    report.add(f"{name}.gap", gaps_ms(records, kills_us), "ms")
    report.add(f"{name}.gap-without-kill", [longest_ms(sorted(at for _, at in records if quiet_us < at < quiet_us + USUAL_S * 1_000_000))], "ms")


def kill_taskmanagers(report, name, guarantee, interval):
    kills_us = []
    with Job(kafka.broker(), guarantee, interval) as job:
        job.feed(TASKMANAGER_KILLS * 12)
        for _ in range(TASKMANAGER_KILLS):
            job.quiet()
            victim = job.busy_taskmanager()
            kills_us.append(time.time_ns() // 1000)
            victim.kill()
            job.cluster.start_taskmanager()
            job.cluster.wait_state(job.job, "RUNNING")
        job.quiet()
        records = job.records()
        if guarantee == "exactly-once" and len(records) != len({n for n, _ in records}):
            raise AssertionError("doubled records")
    report.add(f"{name}.gap", gaps_ms(records, kills_us), "ms")


def measure(report):
    warm = False
    for guarantee, interval in (("at-least-once", "1 s"), ("exactly-once", "100 ms")):
        for what, kill in (("leader-kill", kill_leaders), ("taskmanager-kill", kill_taskmanagers)):
            name = f"ha-{what}-{guarantee}"
            if report.wants(name):
                if not warm:
                    kafka_bench.warm_up(kafka.broker())
                warm = True
                kill(report, name, guarantee, interval)
