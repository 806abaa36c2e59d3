"""Jobs on a real Kafka broker: sources, sinks at least once, upserts, and what goes wrong."""

import collections
import json
import random
import unittest
import urllib.error

import kafka
from cluster import Cluster, read_rows, wait_for

COPY = """
job: copy
settings:
  parallelism.default: 2
  execution.checkpointing.interval: 100 ms
  restart-strategy.type: fixed-delay
  restart-strategy.fixed-delay.attempts: {restarts}
  restart-strategy.fixed-delay.delay: 20 ms
tables:
  numbers:
    columns: {{n: BIGINT, kind: STRING}}
    with: {{connector: kafka, topic: {source}, properties.bootstrap.servers: "{servers}", properties.group.id: {group},
           scan.startup.mode: {startup}, {bounded} format: json}}
    on-error: {on_error}
  copies:
    columns: {{n: BIGINT, kind: STRING}}
    with: {sink}
  rejected:
    columns: {{position: STRING, record: STRING}}
    with: {{connector: filesystem, path: {rejected}, format: json}}
pipeline:
  - {{id: read, source: numbers}}
  - {{id: keep, input: read, filter: "n >= 0"}}
  - {{id: write, input: keep, sink: copies}}
"""

TOTALS = """
job: totals
settings: {{parallelism.default: 2, execution.checkpointing.interval: 100 ms}}
tables:
  numbers:
    columns: {{n: BIGINT, kind: STRING}}
    with: {{connector: kafka, topic: {source}, properties.bootstrap.servers: "{servers}", scan.startup.mode: earliest-offset,
           scan.bounded.mode: latest-offset, format: json}}
  totals:
    columns: {{kind: STRING, rows: BIGINT, total: BIGINT}}
    primary_key: [kind]
    with: {{connector: upsert-kafka, topic: {sink}, properties.bootstrap.servers: "{servers}", key.format: json, value.format: json}}
pipeline:
  - {{id: read, source: numbers}}
  - {{id: sum, input: read, key_by: [kind], aggregate: {{rows: "COUNT(*)", total: "SUM(n)"}}}}
  - {{id: write, input: sum, sink: totals}}
"""

KINDS = "abcdefgh"


def numbers(count, partitions=4):
    return [(i % partitions, json.dumps({"n": i, "kind": KINDS[i * 7 % 8]})) for i in range(count)]


class KafkaJobs(unittest.TestCase):
    def setUp(self):
        self.broker = kafka.broker()
        self.random = random.Random(self.id())

    def start(self, taskmanagers=2, slots=1):
        cluster = Cluster(taskmanagers=0, slots=slots)
        self.addCleanup(cluster.close)
        cluster.options += ["-D", f"state.checkpoints.dir={cluster.folder}/checkpoints"]
        cluster.jobmanager.stop()
        cluster.start_jobmanager()
        for _ in range(taskmanagers):
            cluster.start_taskmanager()
        cluster.wait_registered(taskmanagers)
        self.cluster = cluster
        return cluster

    def files(self, name="copies"):
        return f"{{connector: filesystem, path: {self.cluster.folder}/{name}, format: json}}"

    def kafka_sink(self, topic, **options):
        more = "".join(f', {key.replace("_", ".")}: {value}' for key, value in options.items())
        return f'{{connector: kafka, topic: {topic}, properties.bootstrap.servers: "{self.broker.servers}", format: json{more}}}'

    def submit(self, source, sink, bounded=True, startup="earliest-offset", on_error="fail", group="copies", servers=None, wait=True, restarts=1000):
        text = COPY.format(source=source, servers=servers or self.broker.servers, group=group, startup=startup, sink=sink, on_error=on_error, restarts=restarts,
                           bounded="scan.bounded.mode: latest-offset," if bounded else "", rejected=self.cluster.folder / "rejected")
        arguments = [] if bounded and wait else ["-d"]
        result = self.cluster.weir("run", *arguments, str(self.cluster.write("copy.yaml", text)), timeout_s=60)
        return result, max(self.cluster.get("/jobs/overview")["jobs"], key=lambda job: job["start-time"])["jid"]

    def completed(self, job):
        try:
            latest = self.cluster.get(f"/jobs/{job}/checkpoints")["latest"]["completed"]
        except (urllib.error.URLError, ConnectionError):
            return 0
        return latest["id"] if latest else 0

    # --- reading ---

    def test_bounded_reading_is_exact_and_commits_its_offsets(self):
        topic = self.broker.topic("numbers", 5)  # one partition stays empty
        self.broker.produce(topic, numbers(20_000))
        self.start()
        result, _ = self.submit(topic, self.files(), group=f"group-{topic}")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sorted(row["n"] for row in read_rows(self.cluster.folder / "copies")), list(range(20_000)))
        ends = {int(partition): int(high) for partition, _, _, high in self.broker.tool("offsets", topic)}
        committed = lambda: {int(row[0]): int(row[1]) for row in self.broker.tool("committed", topic, f"group-{topic}")}
        wait_for(lambda: all(committed()[partition] == high for partition, high in ends.items() if high), "the group's offsets are committed")

    def test_group_offsets_go_on_where_the_group_stood(self):
        topic = self.broker.topic("numbers", 4)
        self.start()
        self.broker.produce(topic, numbers(1000))
        result, _ = self.submit(topic, self.files("first"), group=f"group-{topic}")
        self.assertEqual(result.returncode, 0, result.stderr)
        wait_for(lambda: sum(int(row[1]) for row in self.broker.tool("committed", topic, f"group-{topic}")) == 1000, "offsets are committed")
        self.broker.produce(topic, numbers(100))
        result, _ = self.submit(topic, self.files("second"), startup="group-offsets", group=f"group-{topic}")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sorted(row["n"] for row in read_rows(self.cluster.folder / "second")), list(range(100)))
        result, _ = self.submit(topic, self.files("third"), startup="group-offsets", group="nobody")
        self.assertEqual(result.returncode, 1, "no offsets and no auto.offset.reset: nobody knows where to begin")
        self.assertIn("auto.offset.reset", result.stderr)

    def test_latest_offset_reads_only_what_comes_later(self):
        topic = self.broker.topic("numbers", 4)
        self.broker.produce(topic, numbers(1000))
        self.start()
        _, job = self.submit(topic, self.files(), bounded=False, startup="latest-offset")
        self.cluster.wait_state(job, "RUNNING")
        wait_for(lambda: self.completed(job) >= 2, "it runs")
        self.broker.produce(topic, [(0, '{"n": 5000, "kind": "late"}')])
        wait_for(lambda: read_rows(self.cluster.folder / "copies") if (self.cluster.folder / "copies").exists() else None, "the row is copied")
        self.assertEqual(read_rows(self.cluster.folder / "copies"), [{"n": 5000, "kind": "late"}])
        self.cluster.weir("cancel", job)

    # --- writing ---

    def test_nothing_is_lost_at_least_once_while_taskmanagers_are_killed(self):
        source, sink = self.broker.topic("numbers", 4), self.broker.topic("copies", 3)
        self.start()
        reader = kafka.Reader(self.broker, sink, self.cluster.folder)
        self.addCleanup(reader.close)
        _, job = self.submit(source, self.kafka_sink(sink), bounded=False)
        for kill in range(4):
            self.broker.produce(source, [(partition, text) for partition, text in numbers(40_000) if json.loads(text)["n"] % 4 == kill])
            before = self.completed(job)
            wait_for(lambda: self.completed(job) > before, f"a checkpoint after kill {kill}")
            self.random.choice([tm for tm in self.cluster.taskmanagers if tm.process.poll() is None]).kill()
            self.cluster.start_taskmanager()
        distinct = lambda records: len({json.loads(record[4])["n"] for record in records})
        records = reader.wait(lambda records: len(records) >= 40_000 and distinct(records) == 40_000, "every number arrives", 60)
        self.assertEqual({json.loads(record[4])["n"] for record in records}, set(range(40_000)))
        self.cluster.weir("cancel", job)

    def test_upserts_and_their_last_values(self):
        source, sink = self.broker.topic("numbers", 4), self.broker.topic("totals", 3, cleanup_policy="compact")
        rows = numbers(5000)
        self.broker.produce(source, rows)
        self.start()
        text = TOTALS.format(source=source, sink=sink, servers=self.broker.servers)
        result = self.cluster.weir("run", str(self.cluster.write("totals.yaml", text)), timeout_s=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        expected = collections.defaultdict(lambda: [0, 0])
        for _, value in rows:
            row = json.loads(value)
            expected[row["kind"]][0] += 1
            expected[row["kind"]][1] += row["n"]
        reader = kafka.Reader(self.broker, sink, self.cluster.folder)
        self.addCleanup(reader.close)

        def last(records):
            values, homes = {}, collections.defaultdict(set)
            for partition, _, _, key, value in records:  # of one partition in order; a key stays in one partition
                kind = json.loads(key)["kind"]
                homes[kind].add(partition)
                values[kind] = None if value is None else json.loads(value)
            self.assertTrue(all(len(partitions) == 1 for partitions in homes.values()), homes)
            return values

        wanted = {kind: {"kind": kind, "rows": count, "total": total} for kind, (count, total) in expected.items()}
        reader.wait(lambda records: last(records) == wanted, "the last values are right")

    # --- what goes wrong ---

    def test_a_bad_record_is_named_by_topic_partition_and_offset(self):
        topic = self.broker.topic("numbers", 2)
        self.broker.produce(topic, [(0, '{"n": 1}'), (1, '{"n": 2}'), (1, '{"n": "two'), (1, '{"n": 3}')])
        self.start()
        result, _ = self.submit(topic, self.files("failed"), restarts=2)
        self.assertEqual(result.returncode, 1)
        for part in (topic, "partition 1", "offset 1", '{"n": "two'):
            self.assertIn(part, result.stderr.replace('\\"', '"'))
        result, _ = self.submit(topic, self.files("skipped"), on_error="skip")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sorted(row["n"] for row in read_rows(self.cluster.folder / "skipped")), [1, 2, 3])
        result, _ = self.submit(topic, self.files("good"), on_error="{table: rejected}")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sorted(row["n"] for row in read_rows(self.cluster.folder / "good")), [1, 2, 3])
        rejected = read_rows(self.cluster.folder / "rejected")
        self.assertEqual([row["record"] for row in rejected], ['{"n": "two'])
        self.assertIn("offset 1", rejected[0]["position"])

    def test_an_unknown_topic_is_an_error_that_names_it(self):
        self.start()
        result, _ = self.submit("no-such-topic", self.files())
        self.assertEqual(result.returncode, 1)
        self.assertIn("no-such-topic", result.stderr)
        topic = self.broker.topic("numbers")
        self.broker.produce(topic, numbers(10, 1))
        result, job = self.submit(topic, self.kafka_sink("no-such-sink"), wait=False)
        wait_for(lambda: "no-such-sink" in json.dumps(self.cluster.get(f"/jobs/{job}/exceptions")), "the sink's topic is named")
        self.cluster.weir("cancel", job, "--now")

    def test_brokers_that_are_not_there_are_named(self):
        self.start()
        _, job = self.submit("numbers", self.files(), servers="127.0.0.1:1", wait=False)
        wait_for(lambda: "127.0.0.1:1" in (self.cluster.get(f"/jobs/{job}")["waiting-for"] or ""), "the job says whom it waits for")
        self.assertEqual(self.cluster.weir("cancel", job).returncode, 0)
        self.cluster.wait_state(job, "CANCELED")

    def test_a_broker_that_is_killed_and_comes_back_costs_nothing(self):
        source, sink = self.broker.topic("numbers", 4), self.broker.topic("copies", 1)
        self.start()
        reader = kafka.Reader(self.broker, sink, self.cluster.folder)
        self.addCleanup(reader.close)
        count = 200_000
        producer = kafka.Producer(self.broker, source, [f"{partition}\t{text}" for partition, text in numbers(count)], 20_000)
        _, job = self.submit(source, self.kafka_sink(sink), bounded=False)
        for kill in range(2):
            seen = len(reader.records())
            reader.wait(lambda records: len(records) > seen, "records are being copied")
            self.broker.run("kill")
            self.broker.run("start")
        producer.join(120)
        self.assertIsNone(producer.failure)
        reader.wait(lambda records: len(records) >= count and len({json.loads(record[4])["n"] for record in records}) == count, "every record is copied", 60)
        before = self.completed(job)
        wait_for(lambda: self.completed(job) > before, "checkpoints complete")
        self.cluster.weir("cancel", job)


if __name__ == "__main__":
    unittest.main()
