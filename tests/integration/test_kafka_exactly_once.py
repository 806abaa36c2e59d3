"""Kafka to Kafka, exactly once, while workers are killed: the vehicle job on two million vehicles (RELIABILITY 2.3), and its negative control.

The seed is printed; WEIR_SEED=n replays the input and the order of the kills.
"""

import collections
import datetime
import json
import os
import pathlib
import random
import signal
import tempfile
import unittest
import urllib.error

import kafka
from cluster import ROOT, Cluster, wait_for

BUILD = ROOT / "build-fp"
SEED = int(os.environ.get("WEIR_SEED", "20261121"))
TYPES = [f"type{i:02}" for i in range(20)]
BASE_MS = 1795238400000
WINDOW_MS = 20_000
PARTITIONS = 4

JOB = """
job: vehicle-statistics
settings:
  execution.checkpointing.interval: {interval}
  restart-strategy.type: fixed-delay
  restart-strategy.fixed-delay.attempts: 1000
  restart-strategy.fixed-delay.delay: 50 ms
tables:
  vehicles:
    columns: {{vehicleId: STRING, vehicleType: STRING, speed: DOUBLE, ts: "TIMESTAMP_LTZ(3)"}}
    watermark: {{column: ts, delay: 2 s}}
    on-error: skip
    with: {{connector: kafka, topic: {source}, properties.bootstrap.servers: "{servers}",
           properties.group.id: {group}, scan.startup.mode: earliest-offset, format: json}}
  statistics:
    columns: {{window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), vehicleType: STRING, vehicles: BIGINT, avg_speed: DOUBLE}}
    with: {{connector: kafka, topic: {sink}, properties.bootstrap.servers: "{servers}",
           format: json, sink.delivery-guarantee: exactly-once, sink.transactional-id-prefix: vehicle-statistics{more}}}
pipeline:
  - {{id: read,  source: vehicles}}
  - {{id: valid, input: read, filter: "vehicleType IS NOT NULL AND speed >= 0"}}
  - {{id: count, input: valid, key_by: [vehicleType], window: {{tumble: 20 s}},
     aggregate: {{vehicles: "COUNT(*)", avg_speed: "AVG(speed)"}}}}
  - {{id: write, input: count, sink: statistics}}
"""


def make_vehicles(rows, seed):
    """(lines for kafka-tool, what the job must put out: {(window start, type): (count, average)}). Each partition is out of order by less
    than the watermark's delay; speeds are multiples of 1/8, so that sums are exact in any order."""
    rng = random.Random(seed)
    lines = []
    counts, sums = collections.Counter(), collections.defaultdict(float)
    for i in range(rows):
        partition, dice = rng.randrange(PARTITIONS), rng.randrange(1000)
        kind, speed = TYPES[rng.randrange(20)], rng.randrange(1200) / 8
        ts = BASE_MS + i * 2 - rng.randrange(2000)
        if dice < 2:
            lines.append(f'{partition}\t{{"vehicleId":"v{i}","vehicleType":"{kind}","speed":{speed},"ts":')  # cut off
        elif dice < 4:
            lines.append(f'{partition}\t{{"vehicleId":"v{i}","vehicleType":"{kind}","speed":"fast","ts":{ts}}}')
        elif dice < 14:
            lines.append(f'{partition}\t{{"vehicleId":"v{i}","vehicleType":null,"speed":{speed},"ts":{ts}}}')
        elif dice < 24:
            lines.append(f'{partition}\t{{"vehicleId":"v{i}","vehicleType":"{kind}","speed":null,"ts":{ts}}}')
        else:
            speed = speed if dice < 980 else -speed - 1
            lines.append(f'{partition}\t{{"vehicleId":"v{i}","vehicleType":"{kind}","speed":{speed},"ts":{ts}}}')
            if speed >= 0:
                key = (ts // WINDOW_MS * WINDOW_MS, kind)
                counts[key] += 1
                sums[key] += speed
    return lines, {key: (count, sums[key] / count) for key, count in counts.items()}


def sentinels(rows):
    """A row a partition, an hour later: closes every window of the vehicles."""
    return [(partition, f'{{"vehicleId":"end","vehicleType":"end","speed":1,"ts":{BASE_MS + rows * 2 + 3_600_000}}}') for partition in range(PARTITIONS)]


def epoch_ms(text):
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc).timestamp() * 1000)


class VehicleJob:
    """The job on a cluster and what its output must be, for test cases."""

    build = BUILD
    options = ()

    def setUp(self):
        print(f"    seed {SEED}", flush=True)
        self.random = random.Random(f"{SEED} {self.id()}")
        self.broker = kafka.broker()
        self.kills = collections.Counter()
        self.environment = {}  # of every TaskManager

    # --- the cluster and the job ---

    def begin(self, rows, rate, interval, more=""):
        self.rows = rows
        lines, self.expected = make_vehicles(rows, SEED)
        self.source = self.broker.topic("vehicles", PARTITIONS)
        self.sink = self.broker.topic("statistics", 2)
        self.cluster = cluster = Cluster(taskmanagers=0, slots=2, build=self.build, options=self.options)
        self.addCleanup(cluster.close)
        cluster.options += ["-D", f"state.checkpoints.dir={cluster.folder}/checkpoints"]
        cluster.jobmanager.stop()
        cluster.start_jobmanager()
        for _ in range(2):
            self.start_taskmanager()
        cluster.wait_registered(2)
        self.reader = kafka.Reader(self.broker, self.sink, cluster.folder)
        self.addCleanup(self.reader.close)
        self.producer = kafka.Producer(self.broker, self.source, lines, rate)
        text = JOB.format(interval=interval, servers=self.broker.servers, source=self.source, sink=self.sink, group=f"group-{self.source}", more=more)
        result = cluster.weir("run", "-d", "-p", str(PARTITIONS), str(cluster.write("vehicles.yaml", text)))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.job = cluster.get("/jobs/overview")["jobs"][0]["jid"]

    def start_taskmanager(self, failpoint=None):
        return self.cluster.start_taskmanager({**self.environment, **({"WEIR_FAILPOINT": failpoint} if failpoint else {})})

    def completed(self):
        """The newest completed checkpoint; 0 also while the JobManager is away."""
        try:
            latest = self.cluster.get(f"/jobs/{self.job}/checkpoints")["latest"]["completed"]
        except (urllib.error.URLError, ConnectionError):
            return 0
        return latest["id"] if latest else 0

    def new_checkpoint(self):
        before = wait_for(self.completed, "a first checkpoint", 60)
        wait_for(lambda: self.completed() > before, f"a checkpoint after {before}", 60)

    # --- kills: each after a newly completed checkpoint ---

    def live(self):
        return [tm for tm in self.cluster.taskmanagers if tm.process.poll() is None]

    def kill_taskmanager(self, failpoint=None, kind="random"):
        """SIGKILL of one; its replacement is armed with the failpoint."""
        self.new_checkpoint()
        self.random.choice(self.live()).kill()
        self.kills[kind] += 1
        return self.start_taskmanager(failpoint)

    def taskmanager_dies(self, kind, failpoint):
        """One is replaced by one that dies at the failpoint, which then is replaced."""
        armed = self.kill_taskmanager(failpoint)
        self.wait_death(armed, failpoint)
        self.kills[kind] += 1
        self.start_taskmanager()

    def kill_jobmanager(self, failpoint=None):
        self.new_checkpoint()
        self.cluster.jobmanager.kill()
        self.kills["jobmanager"] += 1
        self.cluster.start_jobmanager({"WEIR_FAILPOINT": failpoint} if failpoint else None)
        if failpoint:
            self.wait_death(self.cluster.jobmanager, failpoint)
            self.kills["checkpoint"] += 1
            self.cluster.start_jobmanager()

    def wait_death(self, daemon, failpoint):
        wait_for(lambda: daemon.process.poll() is not None, f"{daemon.name} reaches {failpoint}", 60)
        self.assertEqual(daemon.process.returncode, -signal.SIGKILL)
        daemon.killed = True

    # --- the oracle ---

    def windows(self, records):
        """What the reader has seen: {(window start, type): [(count, average), ...]}, the sentinels' windows left out."""
        seen = collections.defaultdict(list)
        for *_, value in records:
            row = json.loads(value)
            if row["vehicleType"] != "end":
                self.assertEqual(epoch_ms(row["window_end"]) - epoch_ms(row["window_start"]), WINDOW_MS)
                seen[epoch_ms(row["window_start"]), row["vehicleType"]].append((row["vehicles"], row["avg_speed"]))
        return seen

    def differences(self, records):
        seen = self.windows(records)
        missing = [key for key in self.expected if key not in seen]
        doubled = [key for key, values in seen.items() if len(values) > 1]
        wrong = [(key, values, self.expected.get(key)) for key, values in seen.items() if values[0] != self.expected.get(key)]
        return {name: found[:5] + [f"{len(found)} in all"] for name, found in (("missing", missing), ("doubled", doubled), ("wrong", wrong)) if found}

    def finish_input(self):
        self.producer.join(120)
        self.assertFalse(self.producer.is_alive(), "the input is not written")
        self.assertIsNone(self.producer.failure)
        self.broker.produce(self.source, sentinels(self.rows))
        self.reader.wait(lambda records: len(records) >= len(self.expected) and len(self.windows(records)) >= len(self.expected), "every window is there", 120)

    def check_no_transaction_hangs(self):
        for partition, _, stable, high in self.broker.tool("offsets", self.sink):
            self.assertEqual(stable, high, f"partition {partition}: a transaction hangs")


@unittest.skipUnless((BUILD / "weir-taskmanager").exists(), "no daemons with failpoints: run `make failpoints`")
@unittest.skipIf("WEIR_BIN_DIR" in os.environ, "the failpoints are in a build of their own")
class Vehicles(VehicleJob, unittest.TestCase):
    def test_two_million_vehicles_while_workers_are_killed(self):
        self.begin(rows=2_000_000, rate=45_000, interval="400 ms")
        points = [("checkpoint", "ckpt.after_snapshot:9"), ("checkpoint", "ckpt.upload:9"), ("checkpoint", "ckpt.after_ack:9"),
                  ("drain", "sink.after_produce:2"), ("drain", "sink.after_offsets:2"), ("drain", "sink.in_commit:2"),
                  ("recovery", "restore.mid_download:1"), ("recovery", "sink.after_init:1")]
        rounds = [lambda kind=kind, point=point: self.taskmanager_dies(kind, point) for kind, point in points]
        rounds += [lambda: self.kill_jobmanager("jm.all_acks:2"), lambda: self.kill_jobmanager("jm.after_commit:2"), self.kill_jobmanager]
        self.random.shuffle(rounds)
        for play in rounds:
            play()
        print(f"    kills: {dict(self.kills)}", flush=True)
        self.assertGreaterEqual(sum(self.kills.values()), 10)
        self.assertGreaterEqual(self.kills["checkpoint"], 3)
        self.assertGreaterEqual(self.kills["drain"], 2)
        self.assertGreaterEqual(self.kills["recovery"], 2)
        self.finish_input()
        self.new_checkpoint()  # and its drain may not repeat anything
        self.assertEqual(self.differences(self.reader.records()), {})
        self.assertEqual(self.cluster.weir("cancel", self.job, timeout_s=60).returncode, 0)
        self.cluster.wait_state(self.job, "CANCELED", deadline_s=60)
        self.check_no_transaction_hangs()
        self.assertEqual(self.differences(self.reader.records()), {})
        wait_for(lambda: not (self.cluster.folder / "checkpoints" / self.job).exists(), "no file of a checkpoint is left")

    # --- the broker ---

    def test_a_broker_killed_under_transactions_doubles_and_loses_nothing(self):
        self.begin(rows=600_000, rate=30_000, interval="300 ms")
        for _ in range(2):
            self.new_checkpoint()
            wait_for(lambda: self.reader.records(), "transactions are committed", 60)
            self.broker.run("kill")
            self.broker.run("start")
        self.finish_input()
        self.new_checkpoint()
        self.assertEqual(self.differences(self.reader.records()), {})
        self.assertEqual(self.cluster.weir("cancel", self.job, timeout_s=60).returncode, 0)
        self.check_no_transaction_hangs()

    def test_checkpoints_further_apart_than_the_transaction_timeout(self):
        self.begin(rows=400_000, rate=40_000, interval="4 s", more=", properties.transaction.timeout.ms: 2000")
        self.new_checkpoint()
        self.kill_taskmanager()
        self.finish_input()
        self.assertEqual(self.differences(self.reader.records()), {})
        self.assertEqual(self.cluster.weir("cancel", self.job, timeout_s=60).returncode, 0)
        self.check_no_transaction_hangs()

    def test_a_cursor_that_is_gone_stops_the_job_and_says_what_to_do(self):
        """RELIABILITY 2.3, row 26: never from 0 again, which would double everything."""
        self.begin(rows=200_000, rate=40_000, interval="300 ms")
        self.producer.join(60)
        self.reader.wait(lambda records: len(self.windows(records)) > 100, "windows are committed", 60)
        self.new_checkpoint()
        for tm in self.live():
            tm.kill()
        groups = [f"cursor.vehicle-statistics/{self.job}/write/0/{subtask}" for subtask in range(PARTITIONS)]
        command = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
        self.broker.run("tool", command, "--bootstrap-server", self.broker.servers, "--delete", *(word for group in groups for word in ("--group", group)))
        for _ in range(2):
            self.start_taskmanager()
        self.cluster.wait_state(self.job, "FAILED", deadline_s=60)
        text = json.dumps(self.cluster.get(f"/jobs/{self.job}/exceptions"))
        self.assertIn("cursor", text)
        # What the checkpoint still held had been drained before the kill: written again, it would stand there twice.
        doubled = [key for key, values in self.windows(self.reader.records()).items() if len(values) > 1]
        self.assertEqual(doubled, [], "something was written again after the cursor was gone")

    # --- a predecessor that still drains while its successor recovers, and the order of recovery that would double its rows ---

    def overtaken_drain(self, recovers, fence=None):
        """A drain stalls before its transaction begins; meanwhile another TaskManager is killed, and so the job goes on in a new attempt. When
        that has got so far with its recovery (the log event `recovers`), the stalled drain goes on and commits, or tries to. With the wrong
        order of recovery its successors fence it only then (the file `fence`). What differs from the oracle afterwards."""
        # A shorter time-out: with the wrong order, the cursor waits for transactions that nobody has fenced.
        self.begin(rows=300_000, rate=30_000, interval="400 ms", more=", properties.transaction.timeout.ms: 10000")
        go = self.cluster.folder / "go"
        stalled = self.kill_taskmanager(f"sink.before_begin:3:until:{go}")
        wait_for(lambda: "event=failpoint_stalls" in stalled.log_path.read_text(), "a drain stalls", 60)
        if fence:
            fence.unlink()
        seen = lambda: sum(tm.log_path.read_text().count(f"event={recovers} ") for tm in self.cluster.taskmanagers)
        before = seen()
        next(tm for tm in self.live() if tm is not stalled).kill()
        self.start_taskmanager()
        wait_for(lambda: seen() >= before + PARTITIONS, "every sink of the new attempt has read its cursor", 60)
        go.touch()
        if fence:
            wait_for(lambda: "event=failpoint_reached name=sink.after_commit" in stalled.log_path.read_text(), "the stalled drain has committed", 60)
            fence.touch()
        self.finish_input()
        self.new_checkpoint()
        differences = self.differences(self.reader.records())
        self.cluster.weir("cancel", self.job, "--now", timeout_s=60)
        return differences

    def test_a_predecessor_that_still_drains_doubles_nothing(self):
        self.assertEqual(self.overtaken_drain("kafka_txn_recovered"), {})

    def test_the_wrong_order_of_recovery_is_caught(self):
        """Negative control: reading the cursor before init_transactions must double rows, and the oracle must see it."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        fence = pathlib.Path(folder.name) / "fence"
        fence.touch()
        self.environment = {"WEIR_FAILPOINT_SWITCHES": f"sink.cursor_before_init:until:{fence}"}
        self.assertIn("doubled", self.overtaken_drain("kafka_txn_cursor_read_first", fence))


if __name__ == "__main__":
    unittest.main()
