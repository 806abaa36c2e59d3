"""Benchmarks with the real daemons. Each figure goes to build/bench/NAME.json as {name, value (the median), unit, runs, min, max}; a table
with Flink's figures, where there are some (flink.json), goes to standard output.

    run.py [-n MESSAGES] [-r RUNS] [NAME...]      NAME: first letters of figures, such as `file-window-p1` or `start`
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

import ha_bench  # noqa: E402
import kafka_bench  # noqa: E402
from cluster import BUILD, Cluster, read_rows  # noqa: E402

FLINK = json.loads((HERE / "flink.json").read_text())["figures"]
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
JOB_DEADLINE_S = 600
START_MS = 1700000000000
TYPES = ["CAR", "TRUCK", "BUS", "MOTORCYCLE", "VAN"]
COLUMNS = '{vehicleId: STRING, vehicleType: STRING, speed: DOUBLE, ts: "TIMESTAMP_LTZ(3)", roadId: STRING, lane: INT}'

FILES = 'with: {{connector: filesystem, path: "{path}", format: json}}'
DATAGEN = """\
with: {{connector: datagen, rows-per-second: {rate}, number-of-rows: {count}, seed: 7, start-time: "2026-01-01 00:00:00",
           fields.vehicleId.length: 10, fields.vehicleType.values: [CAR, TRUCK, BUS, MOTORCYCLE, VAN], fields.speed.min: 20,
           fields.speed.max: 140, fields.ts.kind: time, fields.ts.step: 1 ms, fields.roadId.length: 5, fields.lane.min: 0, fields.lane.max: 3}}"""
DATAGEN_WITHOUT_END = DATAGEN.replace("number-of-rows: {count}, ", "")
BLACKHOLE = "with: {{connector: blackhole}}"

HEAD = """\
job: {job}
tables:
  vehicles:
    columns: {columns}
    watermark: {{column: ts, delay: 2 s}}
    {source}
"""
# Every message passes the filter: the whole load reaches what follows.
WINDOW = HEAD + """\
  statistics:
    columns: {{window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), vehicleType: STRING, vehicles: BIGINT, avg_speed: DOUBLE}}
    {sink}
pipeline:
  - {{id: read, source: vehicles}}
  - {{id: valid, input: read, filter: "vehicleType IS NOT NULL AND speed >= 0"}}
  - {{id: count, input: valid, key_by: [vehicleType], window: {{tumble: 20 s}},
     aggregate: {{vehicles: "COUNT(*)", avg_speed: "AVG(speed)"}}}}
  - {{id: write, input: count, sink: statistics}}
"""
COPY = HEAD + """\
  copies:
    columns: {columns}
    {sink}
pipeline:
  - {{id: read, source: vehicles}}
  - {{id: valid, input: read, filter: "vehicleType IS NOT NULL AND speed >= 0"}}
  - {{id: write, input: valid, sink: copies}}
"""


class Report:
    def __init__(self, folder, prefixes):
        self.folder = folder
        self.prefixes = prefixes
        self.figures = []
        folder.mkdir(parents=True, exist_ok=True)

    def wants(self, name):
        """Whether a figure of that name, or one below it, was asked for."""
        return not self.prefixes or any(name.startswith(prefix) or prefix.startswith(name) for prefix in self.prefixes)

    def add(self, name, values, unit):
        figure = {"name": name, "value": statistics.median(values), "unit": unit, "runs": len(values), "min": min(values), "max": max(values)}
        (self.folder / f"{name}.json").write_text(json.dumps(figure) + "\n")
        self.figures.append(figure)
        print(f"  {name}: {shown(figure['value'])} {unit}", file=sys.stderr, flush=True)

    def print(self):
        print(f"\n{'figure':48} {'median':>10} {'min':>10} {'max':>10} {'unit':17} {'Flink':>9} {'ratio':>6}  note")
        for figure in self.figures:
            line = f"{figure['name']:48} {shown(figure['value']):>10} {shown(figure['min']):>10} {shown(figure['max']):>10} {figure['unit']:17}"
            peer = FLINK.get(figure["name"])
            if peer is not None:
                better = (figure["value"] / peer["value"] if figure["unit"].endswith("/s") else peer["value"] / max(figure["value"], 1e-9))
                line += f" {shown(peer['value']):>9} {better:>5.1f}x  {peer['note']}"
            print(line.rstrip())
        print("\nFlink: 1.20.3 on this machine, from earlier runs (flink.json), not run beside ours."
              "\nratio: how much better Weir is. CPU: user + system of all our daemons, library threads included; of Flink's TaskManager alone."
              "\nNoise: below 2x means nothing.")


def shown(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def cpu_s(pid):
    """User and system time of all threads of a process, ended ones too."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def rss_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no VmRSS")


def write_messages(folder, count):
    """Vehicles 1 ms of event time apart, which the source cuts into splits; returns the mean of their bytes, line end included."""
    rng = random.Random(1)
    folder.mkdir()
    size = 0
    line = '{"vehicleId":"VH-%07d","vehicleType":"%s","speed":%d.%02d,"ts":%d,"roadId":"A%d-N","lane":%d}\n'
    with open(folder / "vehicles.jsonl", "w") as file:
        for start in range(0, count, 100000):
            rows = []
            for i in range(start, min(start + 100000, count)):
                r = rng.getrandbits(63)
                rows.append(line % (r % 1000000, TYPES[(r >> 20) % 5], 20 + (r >> 30) % 120, (r >> 40) % 100, START_MS + i, (r >> 48) % 99,
                                    (r >> 60) % 4))
            size += file.write("".join(rows))
    return size / count


def job_of(cluster, submitted):
    if submitted.returncode != 0:
        raise AssertionError(submitted.stderr)
    jobs = cluster.get("/jobs/overview")["jobs"]
    return max(jobs, key=lambda job: job["start-time"])["jid"]


class Pipelines:
    """CPU seconds and rate of jobs over `count` messages."""

    def __init__(self, report, cluster, count, runs):
        self.report = report
        self.cluster = cluster
        self.count = count
        self.runs = runs
        self.messages = None

    def input(self):
        if self.messages is None:
            self.messages = self.cluster.folder / "vehicles"
            print(f"  writing {self.count:,} messages", file=sys.stderr, flush=True)
            mean = write_messages(self.messages, self.count)
            print(f"  {mean:.1f} bytes each, line end included", file=sys.stderr, flush=True)
        return self.messages

    def run(self, name, template, source, sink, parallelism):
        """source, sink: a table's `with` line. A filesystem sink's rows must account for every message."""
        name = f"{name}-p{parallelism}"
        if not self.report.wants(name):
            return
        pids = [daemon.process.pid for daemon in [self.cluster.jobmanager, *self.cluster.taskmanagers]]
        cpu, rate = [], []
        for run in range(self.runs):
            output = self.cluster.folder / f"{name}-{run}"
            path = self.input() if source is FILES else None
            text = template.format(job=f"{name}-{run}", columns=COLUMNS, source=source.format(path=path, count=self.count, rate=0),
                                   sink=sink.format(path=output))
            file = self.cluster.write("job.yaml", text)
            before = sum(cpu_s(pid) for pid in pids)
            submitted = self.cluster.weir("run", "-p", str(parallelism), str(file), timeout_s=JOB_DEADLINE_S)
            spent = sum(cpu_s(pid) for pid in pids) - before
            job = self.cluster.get(f"/jobs/{job_of(self.cluster, submitted)}")
            if job["state"] != "FINISHED":
                raise AssertionError(f"{name}: the job is {job['state']}")
            if sink is FILES:
                counted = sum(row["vehicles"] for row in read_rows(output))
                if counted != self.count:
                    raise AssertionError(f"{name}: the windows count {counted} of {self.count} messages")
                shutil.rmtree(output)
            cpu.append(spent / self.count * 1e6)
            rate.append(self.count / (job["timestamps"]["FINISHED"] - job["timestamps"]["RUNNING"]) * 1000)
        self.report.add(f"{name}.rate", rate, "messages/s")
        self.report.add(f"{name}.cpu", cpu, "CPU-s/M messages")


def start_ms(binary, options):
    """From exec to the ready line."""
    began = time.monotonic()
    with subprocess.Popen([BUILD / binary, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        line = process.stdout.readline().decode()
        took = (time.monotonic() - began) * 1000
        process.terminate()
        if line.split()[1:2] != ["ready"]:
            raise AssertionError(f"{binary} said {line!r}")
    return took


def measure_starts(report, runs):
    for name in ["jobmanager", "taskmanager"]:
        if not report.wants(f"start.{name}"):
            continue
        values = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
                options = (["-D", "jobmanager.rpc.port=0", "-D", "rest.port=0", "-D", f"jobmanager.data.dir={folder}"] if name == "jobmanager"
                           else ["-D", "jobmanager.rpc.port=1", "-D", f"taskmanager.tmp.dir={folder}"])
                values.append(start_ms(f"weir-{name}", options))
        report.add(f"start.{name}", values, "ms")


def measure_sizes(report):
    for name in ["weir", "weir-jobmanager", "weir-taskmanager"]:
        if not report.wants(f"size.{name}"):
            continue
        with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
            stripped = pathlib.Path(folder) / name
            subprocess.run(["strip", "-o", stripped, BUILD / name], check=True)
            report.add(f"size.{name}", [stripped.stat().st_size / 1e6], "MB")


def measure_idle(report, cluster):
    for name, daemon in [("jobmanager", cluster.jobmanager), ("taskmanager", cluster.taskmanagers[0])]:
        if report.wants(f"idle-rss.{name}"):
            report.add(f"idle-rss.{name}", [rss_mb(daemon.process.pid)], "MB")


def measure_submit(report, cluster, runs):
    """From starting the client to every task running, as the REST API tells it."""
    if not report.wants("submit-to-running"):
        return
    values = []
    for run in range(runs):
        source = DATAGEN_WITHOUT_END.format(rate=10)
        file = cluster.write("job.yaml", WINDOW.format(job=f"submit-{run}", columns=COLUMNS, source=source, sink=BLACKHOLE.format()))
        began = time.monotonic()
        job = job_of(cluster, cluster.weir("run", "-d", "-p", "2", str(file)))
        while not all(vertex["status"] == "RUNNING" for vertex in cluster.get(f"/jobs/{job}")["vertices"]):
            if time.monotonic() - began > JOB_DEADLINE_S:
                raise AssertionError(f"job {job} does not run")
        values.append((time.monotonic() - began) * 1000)
        cancelled = cluster.weir("cancel", job)
        if cancelled.returncode != 0:
            raise AssertionError(cancelled.stderr)
        cluster.wait_state(job, "CANCELED")
    report.add("submit-to-running", values, "ms")


STATE = """\
job: state
settings: {{execution.checkpointing.interval: 1 s}}
tables:
  numbers:
    columns: {{n: BIGINT, ts: "TIMESTAMP(3)"}}
    watermark: {{column: ts, delay: 1 s}}
    with: {{connector: datagen, rows-per-second: 200000, fields.n.kind: sequence, fields.n.start: 0, fields.n.end: 1000000000000,
           fields.ts.kind: time, fields.ts.step: 1 ms}}
  counts:
    columns: {{window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), k: BIGINT, rows: BIGINT, total: BIGINT}}
    with: {{connector: blackhole}}
pipeline:
  - {{id: read, source: numbers}}
  - {{id: keyed, input: read, project: {{k: "n % {keys}", n: n, ts: ts}}}}
  - {{id: count, input: keyed, key_by: [k], window: {{tumble: 100000 s}}, aggregate: {{rows: "COUNT(*)", total: "SUM(n)"}}}}
  - {{id: write, input: count, sink: counts}}
"""


def measure_checkpoints(report, runs):
    """Checkpoints of at least 100 MB, of which 200,000 of 3.2 million keys have changed."""
    if not report.wants("checkpoint-100mb"):
        return
    keys = 3_200_000
    with Cluster(taskmanagers=1, slots=2, options=["taskmanager.memory.size=4g"]) as cluster:
        job = job_of(cluster, cluster.weir("run", "-d", "-p", "1", str(cluster.write("job.yaml", STATE.format(keys=keys)))))
        seen = {}
        began = time.monotonic()
        while len(seen) < 3 * runs:
            if time.monotonic() - began > JOB_DEADLINE_S:
                raise AssertionError("no checkpoints of the whole state")
            full = time.monotonic() - began > keys / 200_000 + 4  # every key has been seen
            newest = cluster.get(f"/jobs/{job}/checkpoints")["latest"]["completed"]
            if full and newest and newest["state_size"] >= 100e6:
                seen[newest["id"]] = newest
            time.sleep(0.1)
        cluster.weir("cancel", job, "--now")
    report.add("checkpoint-100mb.duration", [ckpt["end_to_end_duration"] for ckpt in seen.values()], "ms")
    report.add("checkpoint-100mb.state", [ckpt["state_size"] / 1e6 for ckpt in seen.values()], "MB")
    report.add("checkpoint-100mb.new", [ckpt["checkpointed_size"] / 1e6 for ckpt in seen.values()], "MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("-n", "--messages", type=int, default=5000000)
    parser.add_argument("-r", "--runs", type=int, default=3)
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    report = Report(BUILD / "bench", arguments.names)
    measure_sizes(report)
    measure_starts(report, max(arguments.runs, 5))
    with Cluster(taskmanagers=1, slots=2) as cluster:
        measure_idle(report, cluster)
        measure_submit(report, cluster, arguments.runs)
        pipelines = Pipelines(report, cluster, arguments.messages, arguments.runs)
        for parallelism in [1, 2]:
            pipelines.run("file-window", WINDOW, FILES, FILES, parallelism)
            pipelines.run("datagen-blackhole", COPY, DATAGEN, BLACKHOLE, parallelism)
            pipelines.run("datagen-window", WINDOW, DATAGEN, BLACKHOLE, parallelism)
    measure_checkpoints(report, arguments.runs)
    kafka_bench.measure(report, cpu_s, arguments.messages, arguments.runs)
    ha_bench.measure(report)
    if not report.figures:
        parser.error("no figure has such a name")
    report.print()


if __name__ == "__main__":
    main()
