"""A job that counts and sums generated numbers by key and window, and what its output has to be."""

import collections

from cluster import read_rows

JOB = """
job: counts
settings:
  parallelism.default: {parallelism}
  execution.checkpointing.interval: {interval}
  restart-strategy.type: fixed-delay
  restart-strategy.fixed-delay.attempts: 1000
  restart-strategy.fixed-delay.delay: 20 ms
tables:
  numbers:
    columns: {{n: BIGINT, ts: "TIMESTAMP(3)"}}
    watermark: {{column: ts, delay: 1 s}}
    with: {{connector: datagen, rows-per-second: {rate}, number-of-rows: {rows}, seed: 3, fields.n.kind: sequence, fields.n.start: 0,
           fields.n.end: {last}, fields.ts.kind: time, fields.ts.step: 1 ms}}
  counts:
    columns: {{window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), k: BIGINT, rows: BIGINT, total: BIGINT}}
    with: {{connector: filesystem, path: {counts}, format: json}}
pipeline:
  - {{id: read, source: numbers}}
  - {{id: keyed, input: read, project: {{k: "n % {keys}", n: n, ts: ts}}}}
  - {{id: count, input: keyed, key_by: [k], window: {{tumble: {window}}}, aggregate: {{rows: "COUNT(*)", total: "SUM(n)"}}}}
  - {{id: write, input: count, sink: counts}}
"""


class KeyCounts:
    settings = {"parallelism": 2, "interval": "300 ms", "window": "10000 s"}  # one window for all rows

    def submit(self, cluster, rows, keys, rate):
        """The job's id."""
        self.counts, self.rows, self.keys = cluster.folder / "counts", rows, keys
        text = JOB.format(rows=rows, last=rows - 1, keys=keys, rate=rate, counts=self.counts, **self.settings)
        result = cluster.weir("run", "-d", str(cluster.write("counts.yaml", text)))
        self.assertEqual(result.returncode, 0, result.stderr)
        return cluster.get("/jobs/overview")["jobs"][0]["jid"]

    def check_exact(self):
        """Each key once in each window, and over all windows the sum of its own arithmetic progression. Returns how many windows there are."""
        rows = read_rows(self.counts)
        self.assertEqual(len({(row["window_start"], row["k"]) for row in rows}), len(rows), "a window is there twice")
        counts, totals = collections.Counter(), collections.Counter()
        for row in rows:
            counts[row["k"]] += row["rows"]
            totals[row["k"]] += row["total"]
        self.assertEqual(len(counts), self.keys)
        for k in range(self.keys):
            count = len(range(k, self.rows, self.keys))
            self.assertEqual(counts[k], count)
            self.assertEqual(totals[k], count * k + self.keys * count * (count - 1) // 2)
        return len({row["window_start"] for row in rows})
