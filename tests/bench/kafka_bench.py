"""Kafka figures: cost and rate of Kafka -> window -> Kafka beside the raw cost of consuming, latency of Kafka -> filter -> Kafka beside a bare
relay, and the gap in the output when a TaskManager is killed."""

import json
import random
import signal
import statistics
import subprocess
import sys
import time

import kafka
from cluster import Cluster, wait_for

RATE = 5000
LATENCY_S = 20
WARM_UP_S = 20
START_MS = 1700000000000
TYPES = ["CAR", "TRUCK", "BUS", "MOTORCYCLE", "VAN"]
PARTITIONS = 4

WINDOW = """\
job: {job}
settings:
  execution.checkpointing.interval: 1 s
tables:
  vehicles:
    columns: {{vehicleId: STRING, vehicleType: STRING, speed: DOUBLE, ts: "TIMESTAMP_LTZ(3)", roadId: STRING, lane: INT}}
    watermark: {{column: ts, delay: 2 s}}
    with: {{connector: kafka, topic: {source}, properties.bootstrap.servers: "{servers}", scan.startup.mode: earliest-offset,
           scan.bounded.mode: latest-offset, format: json}}
  statistics:
    columns: {{window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), vehicleType: STRING, vehicles: BIGINT, avg_speed: DOUBLE}}
    with: {{connector: kafka, topic: {sink}, properties.bootstrap.servers: "{servers}", format: json,
           sink.delivery-guarantee: exactly-once, sink.transactional-id-prefix: bench}}
pipeline:
  - {{id: read, source: vehicles}}
  - {{id: valid, input: read, filter: "vehicleType IS NOT NULL AND speed >= 0"}}
  - {{id: count, input: valid, key_by: [vehicleType], window: {{tumble: 20 s}},
     aggregate: {{vehicles: "COUNT(*)", avg_speed: "AVG(speed)"}}}}
  - {{id: write, input: count, sink: statistics}}
"""

PASS = """\
job: {job}
settings:
  execution.checkpointing.interval: {interval}
  restart-strategy.type: fixed-delay
  restart-strategy.fixed-delay.attempts: 100
  restart-strategy.fixed-delay.delay: 10 ms
tables:
  stamps:
    columns: {{n: BIGINT, at: BIGINT}}
    with: {{connector: kafka, topic: {source}, properties.bootstrap.servers: "{servers}", scan.startup.mode: earliest-offset, format: json}}
  copies:
    columns: {{n: BIGINT, at: BIGINT}}
    with: {{connector: kafka, topic: {sink}, properties.bootstrap.servers: "{servers}", format: json,
           sink.delivery-guarantee: {guarantee}{prefix}}}
pipeline:
  - {{id: read, source: stamps}}
  - {{id: valid, input: read, filter: "n >= 0"}}
  - {{id: write, input: valid, sink: copies}}
"""


def write_vehicles(broker, topic, count):
    rng = random.Random(1)
    feed = subprocess.Popen([kafka.TOOL, "produce", broker.servers, topic], stdin=subprocess.PIPE, text=True)
    line = '%d\t{"vehicleId":"VH-%07d","vehicleType":"%s","speed":%d.%02d,"ts":%d,"roadId":"A%d-N","lane":%d}\n'
    for start in range(0, count, 100000):
        rows = []
        for i in range(start, min(start + 100000, count)):
            r = rng.getrandbits(63)
            rows.append(line % (i % PARTITIONS, r % 1000000, TYPES[(r >> 20) % 5], 20 + (r >> 30) % 120, (r >> 40) % 100, START_MS + i,
                                (r >> 48) % 99, (r >> 60) % 4))
        feed.stdin.write("".join(rows))
    feed.stdin.close()
    if feed.wait() != 0:
        raise AssertionError("the vehicles could not be written")


def measure_window(report, cpu_s, count, runs):
    names = [f"kafka-window-p{parallelism}" for parallelism in (1, 2)]
    if not any(report.wants(name) for name in [*names, "kafka-raw-consume"]):
        return
    broker = kafka.broker()
    source = broker.topic("vehicles", PARTITIONS)
    print(f"  writing {count:,} messages to Kafka", file=sys.stderr, flush=True)
    write_vehicles(broker, source, count)
    raw = []
    for _ in range(runs):
        records, cpu, _ = broker.tool("count", source)[0]
        assert int(records) == count
        raw.append(float(cpu) / count * 1e6)
    report.add("kafka-raw-consume.cpu", raw, "CPU-s/M messages")
    with Cluster(taskmanagers=0, slots=2) as cluster:
        cluster.options += ["-D", f"state.checkpoints.dir={cluster.folder}/checkpoints"]
        cluster.jobmanager.stop()
        cluster.start_jobmanager()
        cluster.start_taskmanager()
        cluster.wait_registered(1)
        pids = [cluster.jobmanager.process.pid, cluster.taskmanagers[0].process.pid]
        for parallelism, name in zip((1, 2), names):
            if not report.wants(name):
                continue
            cpu, rate = [], []
            for run in range(runs):
                sink = broker.topic("statistics", 1)
                text = WINDOW.format(job=f"{name}-{run}", source=source, sink=sink, servers=broker.servers)
                before = sum(cpu_s(pid) for pid in pids)
                submitted = cluster.weir("run", "-p", str(parallelism), str(cluster.write("job.yaml", text)), timeout_s=600)
                spent = sum(cpu_s(pid) for pid in pids) - before
                if submitted.returncode != 0:
                    raise AssertionError(submitted.stderr)
                job = max(cluster.get("/jobs/overview")["jobs"], key=lambda job: job["start-time"])
                job = cluster.get(f"/jobs/{job['jid']}")
                reader = kafka.Reader(broker, sink, cluster.folder)
                reader.wait(lambda records: sum(json.loads(record[4])["vehicles"] for record in records) == count, "the windows count every message")
                reader.close()
                cpu.append(spent / count * 1e6)
                rate.append(count / (job["timestamps"]["FINISHED"] - job["timestamps"]["RUNNING"]) * 1000)
            report.add(f"{name}.rate", rate, "messages/s")
            report.add(f"{name}.cpu", cpu, "CPU-s/M messages")
            report.add(f"{name}.cpu-over-raw", [value / statistics.median(raw) for value in cpu], "times raw")


def start_stamps(broker, topic, seconds):
    return subprocess.Popen([kafka.TOOL, "stamp", broker.servers, topic, str(RATE), str(int(RATE * seconds))])


def latencies_ms(records):
    """Of all but the first two seconds, sorted."""
    numbers = sorted((arrival - json.loads(value)["at"]) / 1000 for _, _, arrival, _, value in records if json.loads(value)["n"] > 2 * RATE)
    if not numbers:
        raise AssertionError("no record came out")
    return numbers


def add_latency(report, name, records):
    numbers = latencies_ms(records)
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        report.add(f"{name}.{label}", [numbers[int(len(numbers) * share)]], "ms")


class PassThrough:
    """A cluster of two TaskManagers with one slot each: one runs the job, the other one waits."""

    def __init__(self, broker, guarantee, interval):
        self.broker = broker
        self.cluster = cluster = Cluster(taskmanagers=0, slots=1)
        cluster.options += ["-D", f"state.checkpoints.dir={cluster.folder}/checkpoints"]
        cluster.jobmanager.stop()
        cluster.start_jobmanager()
        for _ in range(2):
            cluster.start_taskmanager()
        cluster.wait_registered(2)
        self.source, self.sink = broker.topic("stamps", 1), broker.topic("copies", 1)
        self.reader = kafka.Reader(broker, self.sink, cluster.folder)
        text = PASS.format(job="pass", interval=interval, source=self.source, sink=self.sink, servers=broker.servers, guarantee=guarantee,
                           prefix=", sink.transactional-id-prefix: bench" if guarantee == "exactly-once" else "")
        result = cluster.weir("run", "-d", "-p", "1", str(cluster.write("job.yaml", text)))
        if result.returncode != 0:
            self.__exit__(AssertionError, None, None)
            raise AssertionError(result.stderr)
        self.job = cluster.get("/jobs/overview")["jobs"][0]["jid"]
        cluster.wait_state(self.job, "RUNNING")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.reader.close()
        self.cluster.close(failed=kind is not None)

    def busy_taskmanager(self):
        vertex = self.cluster.get(f"/jobs/{self.job}")["vertices"][0]
        task = self.cluster.get(f"/jobs/{self.job}/vertices/{vertex['id']}")["subtasks"][0]
        return next(tm for tm in self.cluster.taskmanagers if task["taskmanager-id"].startswith(tm.ready["rpc"] + "-"))


def wait_all(reader, count):
    reader.wait(lambda records: len({json.loads(record[4])["n"] for record in records}) >= count, "every record is there", 60)
    return reader.records()


def warm_up(broker):
    """A broker that has just been started compiles itself for half a minute, and stalls over it."""
    topic = broker.topic("warm", 1)
    start_stamps(broker, topic, WARM_UP_S).wait()


def measure_latency(report):
    if report.wants("kafka-latency"):
        warm_up(kafka.broker())
    if report.wants("kafka-latency-relay"):
        broker = kafka.broker()
        source, sink = broker.topic("stamps", 1), broker.topic("copies", 1)
        with Cluster(taskmanagers=0) as cluster:
            reader = kafka.Reader(broker, sink, cluster.folder)
            relay = subprocess.Popen([kafka.TOOL, "relay", broker.servers, source, sink])
            start_stamps(broker, source, LATENCY_S).wait()
            add_latency(report, "kafka-latency-relay", wait_all(reader, RATE * LATENCY_S))
            relay.send_signal(signal.SIGTERM)
            relay.wait()
            reader.close()
    for name, guarantee, interval in (("kafka-latency-at-least-once", "at-least-once", "1 s"), ("kafka-latency-exactly-once", "exactly-once", "1 s")):
        if not report.wants(name):
            continue
        with PassThrough(kafka.broker(), guarantee, interval) as job:
            start_stamps(job.broker, job.source, LATENCY_S).wait()
            add_latency(report, name, wait_all(job.reader, RATE * LATENCY_S))


def gap_ms(records, killed_us):
    """The longest silence between two arrivals around the kill."""
    arrivals = sorted(record[2] for record in records)
    near = [at for at in arrivals if killed_us - 2_000_000 < at < killed_us + 20_000_000]
    return max(later - earlier for earlier, later in zip(near, near[1:])) / 1000


def measure_gap(report, runs):
    for name, guarantee, interval in (("kafka-kill-gap-at-least-once", "at-least-once", "1 s"), ("kafka-kill-gap-exactly-once", "exactly-once", "100 ms")):
        if not report.wants(name):
            continue
        gaps = []
        for _ in range(runs):
            with PassThrough(kafka.broker(), guarantee, interval) as job:
                stamps = start_stamps(job.broker, job.source, 12)
                wait_for(lambda: len(job.reader.records()) > 4 * RATE, "records come")
                victim = job.busy_taskmanager()
                killed_us = time.time_ns() // 1000
                victim.kill()
                stamps.wait()
                records = wait_all(job.reader, RATE * 12)
                numbers = [json.loads(record[4])["n"] for record in records]
                if guarantee == "exactly-once" and len(numbers) != len(set(numbers)):
                    raise AssertionError("doubled records")
                gaps.append(gap_ms(records, killed_us))
        report.add(name, gaps, "ms")


def measure(report, cpu_s, count, runs):
    measure_window(report, cpu_s, count, runs)
    measure_latency(report)
    measure_gap(report, runs)
