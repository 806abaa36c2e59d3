"""Keyed event-time windows over two TaskManagers, so that rows cross the network; the oracle is this file."""

import collections
import datetime
import json
import random
import unittest

from cluster import Cluster, read_rows

START_MS = 1795238400000

JOB = """\
job: {job}
tables:
{inputs}
  output:
    columns: {{window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), kind: STRING, n: BIGINT, speed: DOUBLE}}
    with: {{connector: filesystem, path: "{output}", format: json}}
pipeline:
{reads}
  - {{id: valid, input: {read}, filter: "kind IS NOT NULL"}}
  - {{id: count, input: valid, key_by: [kind], window: {window}, aggregate: {{n: "COUNT(*)", speed: "AVG(speed)"}}}}
  - {{id: write, input: count, sink: output}}
"""

INPUT = """\
  {name}:
    columns: {{kind: STRING, speed: DOUBLE, ts: "TIMESTAMP_LTZ(3)"}}
    watermark: {{column: ts, delay: 2 s}}
    with: {{connector: filesystem, path: "{path}", format: json}}
"""


def make_rows(count, seed):
    """Out of order by less than 2 s; speeds are multiples of 1/8, so that sums are exact in any order."""
    rng = random.Random(seed)
    return [{"kind": rng.choice(["car", "truck", "bus", None]), "speed": rng.choice([None, rng.randrange(800) / 8]),
             "ts": START_MS + i * 10 - rng.randrange(2000)} for i in range(count)]


def text_of(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).replace(tzinfo=None)


def expected(rows, size_ms, slide_ms):
    groups = collections.defaultdict(list)
    for row in rows:
        if row["kind"] is not None:
            start = row["ts"] // slide_ms * slide_ms
            while start > row["ts"] - size_ms:
                groups[start, row["kind"]].append(row["speed"])
                start -= slide_ms
    result = {}
    for (start, kind), speeds in groups.items():
        known = [speed for speed in speeds if speed is not None]
        result[text_of(start), text_of(start + size_ms), kind] = (len(speeds), sum(known) / len(known) if known else None)
    return result


class Windows(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(taskmanagers=2, slots=2)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def check(self, job, window, size_ms, slide_ms, parallelism, inputs=1):
        all_rows = []
        tables = ""
        for i in range(inputs):
            rows = make_rows(30000, seed=i)
            folder = self.cluster.folder / f"{job}.in{i}"
            for half in range(2):
                self.cluster.write(f"{folder.name}/{half}.jsonl", "".join(json.dumps(row) + "\n" for row in rows[half::2]))
            tables += INPUT.format(name=f"input{i}", path=folder)
            all_rows += rows
        output = self.cluster.folder / f"{job}.out"
        reads = "\n".join(f"  - {{id: read{i}, source: input{i}}}" for i in range(inputs))
        read = "read0" if inputs == 1 else "[" + ", ".join(f"read{i}" for i in range(inputs)) + "]"
        text = JOB.format(job=job, inputs=tables.rstrip(), output=output, reads=reads, read=read, window=window)
        result = self.cluster.weir("run", "-p", str(parallelism), str(self.cluster.write(f"{job}.yaml", text)))
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = read_rows(output)
        actual = {(datetime.datetime.fromisoformat(row["window_start"]), datetime.datetime.fromisoformat(row["window_end"]), row["kind"]):
                  (row["n"], row["speed"]) for row in rows}
        self.assertEqual(len(actual), len(rows), "a window was emitted twice")
        self.assertEqual(actual, expected(all_rows, size_ms, slide_ms))

    def test_tumble(self):
        self.check("tumble", "{tumble: 20 s}", 20000, 20000, 4)

    def test_tumble_in_one_task(self):
        self.check("tumble-1", "{tumble: 7 s}", 7000, 7000, 1)

    def test_hop(self):
        self.check("hop", "{hop: {size: 20 s, slide: 5 s}}", 20000, 5000, 3)

    def test_union(self):
        self.check("union", "{tumble: 10 s}", 10000, 10000, 2, inputs=2)


if __name__ == "__main__":
    unittest.main()
