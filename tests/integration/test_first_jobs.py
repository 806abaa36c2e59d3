"""Source -> filter -> sink through the real daemons and the client; every result is recomputed here."""

import json
import random
import unittest

from cluster import Cluster, read_rows, wait_for

FILTER = """\
job: {job}
tables:
  input:
    columns: {{id: BIGINT, name: STRING, speed: DOUBLE}}
    with: {{connector: filesystem, path: "{input}", format: json}}
  output:
    columns: {{id: BIGINT, name: STRING, speed: DOUBLE}}
    with: {{connector: filesystem, path: "{output}", format: json}}
pipeline:
  - {{id: read, source: input}}
  - {{id: valid, input: read, filter: "name IS NOT NULL AND speed >= 10"}}
  - {{id: write, input: valid, sink: output}}
"""

DATAGEN = """\
job: {job}
tables:
  input:
    columns: {{id: BIGINT}}
    with: {{connector: datagen, rows-per-second: {rate}, {field}}}
  output:
    columns: {{id: BIGINT}}
    with: {sink}
pipeline:
  - {{id: read, source: input}}
  - {{id: third, input: read, filter: "MOD(id, 3) = 0"}}
  - {{id: write, input: third, sink: output}}
"""


def datagen_job(job, rows=None, rate=0, output=None):
    sink = f'{{connector: filesystem, path: "{output}", format: json}}' if output else "{connector: blackhole}"
    field = f"fields.id.kind: sequence, fields.id.start: 1, fields.id.end: {rows}" if rows else "fields.id.min: 1, fields.id.max: 999"
    return DATAGEN.format(job=job, rate=rate, sink=sink, field=field)


def make_rows(count, seed):
    rng = random.Random(seed)
    names = ["car", "truck", "größe \"quoted\" \\ back", "新幹線", "", "line\nbreak\ttab", None]
    return [{"id": i, "name": rng.choice(names), "speed": rng.choice([None, rng.randrange(0, 400) / 8])} for i in range(count)]


class FirstJobs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(taskmanagers=1, slots=2)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def job_file(self, name, text):
        return str(self.cluster.write(f"{name}.yaml", text))

    def run_ok(self, *arguments, **options):
        result = self.cluster.weir(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr + self.cluster.jobmanager.log_tail())
        return result

    def filter_once(self, job, parallelism, rows):
        source = self.cluster.write(f"{job}.in/rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        output = self.cluster.folder / f"{job}.out"
        text = FILTER.format(job=job, input=source.parent, output=output)
        result = self.run_ok("run", "-p", str(parallelism), self.job_file(job, text))
        self.assertIn("FINISHED", result.stdout)
        expected = [row for row in rows if row["name"] is not None and row["speed"] is not None and row["speed"] >= 10]
        self.assertGreater(len(expected), 0)
        by_id = sorted(read_rows(output), key=lambda row: row["id"])
        self.assertEqual(by_id, expected)

    def test_file_filter_file(self):
        self.filter_once("filter-1", 1, make_rows(20000, seed=1))

    def test_file_filter_file_in_parallel(self):
        self.filter_once("filter-2", 2, make_rows(20000, seed=2))

    def test_two_sinks_write_to_one_directory(self):
        for checkpoints in ("", "settings: {execution.checkpointing.interval: 50 ms}\n"):
            output = self.cluster.folder / f"shared-{len(checkpoints)}.out"
            text = datagen_job("shared", rows=20000, rate=40000, output=output) + \
                '  - {id: others, input: read, filter: "MOD(id, 3) <> 0"}\n  - {id: add, input: others, sink: output}\n'
            self.run_ok("run", "-p", "2", self.job_file("shared", checkpoints + text))
            self.assertEqual(sorted(row["id"] for row in read_rows(output)), list(range(1, 20001)))
            self.assertEqual(len({path.name.split("-")[2] for path in output.iterdir()}), 2)

    def test_datagen_filter_file(self):
        output = self.cluster.folder / "datagen.out"
        self.run_ok("run", self.job_file("datagen", datagen_job("datagen", rows=100000, output=output)))
        self.assertEqual(sorted(row["id"] for row in read_rows(output)), list(range(3, 100001, 3)))

    def test_wrong_job_file_names_its_problems(self):
        text = datagen_job("wrong", rows=10).replace("source: input", "source: inputt").replace("MOD(id, 3) = 0", "idd = 0")
        result = self.cluster.weir("run", self.job_file("wrong", text))
        self.assertEqual(result.returncode, 1)
        self.assertIn("wrong.yaml:", result.stderr)
        self.assertIn("inputt", result.stderr)
        missing = self.cluster.weir("run", "/nonexistent.yaml")
        self.assertEqual(missing.returncode, 1)
        self.assertIn("/nonexistent.yaml", missing.stderr)

    def test_wrong_usage(self):
        for arguments in ([], ["runn"], ["run"], ["status"], ["list", "-p", "1"], ["run", "x", "-p", "0"], ["status", "x", "-m", "no-port"]):
            result = self.cluster.weir(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""), arguments)

    def test_cancel_list_and_status(self):
        job = self.run_ok("run", "-d", self.job_file("endless", datagen_job("endless", rate=1000))).stdout.strip()
        self.assertRegex(job, "^[0-9a-f]{32}$")
        self.cluster.wait_state(job, "RUNNING")
        wait_for(lambda: self.records_out(job) > 0, "records flow")
        listed = {entry["jid"]: entry for entry in json.loads(self.run_ok("list", "--json").stdout)["jobs"]}
        self.assertEqual((listed[job]["name"], listed[job]["state"]), ("endless", "RUNNING"))
        self.assertIn(job, self.run_ok("list").stdout)
        self.assertEqual(json.loads(self.run_ok("status", "endless", "--json").stdout)["jid"], job)
        self.assertIn("RUNNING", self.run_ok("status", job).stdout)
        canceled = json.loads(self.run_ok("cancel", "endless", "--json").stdout)  # it waits for the end
        self.assertEqual(canceled, {"jobid": job, "state": "CANCELED", "undrained": None})
        self.assertEqual(self.cluster.get(f"/jobs/{job}/status")["status"], "CANCELED")
        again = self.cluster.weir("cancel", job)
        self.assertEqual(again.returncode, 1, again.stdout)
        wait_for(lambda: self.cluster.get("/overview")["slots-available"] == 2, "the slots are free again")

    def records_out(self, job):
        return sum(vertex["metrics"]["write-records"] + vertex["metrics"]["read-records"]
                   for vertex in self.cluster.get(f"/jobs/{job}")["vertices"])

    def test_unknown_job(self):
        for command in ("status", "cancel", "logs"):
            result = self.cluster.weir(command, "no-such-job")
            self.assertEqual(result.returncode, 1)
            self.assertIn("no-such-job", result.stderr)

    def test_unbounded_job_is_left_running(self):
        result = self.run_ok("run", self.job_file("unbounded", datagen_job("unbounded", rate=10)))
        self.assertIn("goes on running", result.stdout)
        self.assertEqual(self.run_ok("cancel", "unbounded").stdout.splitlines()[-1], "cancelled")
        wait_for(lambda: self.cluster.get("/overview")["slots-available"] == 2, "the slots are free again")

    def test_logs_name_the_job(self):
        self.run_ok("run", self.job_file("logged", datagen_job("logged", rows=10)))
        job = json.loads(self.run_ok("status", "logged", "--json").stdout)["jid"]
        self.assertIn(job, self.run_ok("logs", "logged").stdout)
        self.assertIn(job, self.run_ok("logs").stdout)
        tm = self.cluster.get("/taskmanagers")["taskmanagers"][0]["id"]
        self.assertGreater(len(json.loads(self.run_ok("logs", tm, "--json").stdout)["lines"]), 0)

    def test_cluster(self):
        document = json.loads(self.run_ok("cluster", "--json").stdout)
        self.assertEqual((len(document["taskmanagers"]), document["slots-total"]), (1, 2))
        self.assertIn("1 TaskManagers", self.run_ok("cluster").stdout)


class Slots(unittest.TestCase):
    def test_job_waits_for_slots(self):
        with Cluster(taskmanagers=1, slots=1) as cluster:
            output = cluster.folder / "out"
            job_file = cluster.write("job.yaml", datagen_job("waits", rows=1000, output=output))
            submitted = cluster.weir("run", "-d", "-p", "2", str(job_file))
            self.assertEqual(submitted.returncode, 0, submitted.stderr)
            job = submitted.stdout.strip()
            reason = "2 slots needed, 1 free of 1 on 1 TaskManager"
            wait_for(lambda: cluster.get(f"/jobs/{job}")["waiting-for"] == reason, "the job says what it waits for")
            self.assertEqual(cluster.get("/overview")["jobs-running"], 1)
            cluster.start_taskmanager()
            cluster.wait_state(job, "FINISHED")
            self.assertEqual(sorted(row["id"] for row in read_rows(output)), list(range(3, 1001, 3)))

    def test_taskmanager_leaves_as_soon_as_its_tasks_are_gone(self):
        with Cluster(taskmanagers=1, options=["shutdown.timeout=5 min"]) as cluster:
            job_file = cluster.write("job.yaml", datagen_job("left", rate=10))
            job = cluster.weir("run", "-d", str(job_file)).stdout.strip()
            cluster.wait_state(job, "RUNNING")
            self.assertEqual(cluster.taskmanagers[0].stop(), 0)

    def test_no_jobmanager(self):
        with Cluster(taskmanagers=0) as cluster:
            cluster.jobmanager.stop()
            result = cluster.weir("list")
            self.assertEqual(result.returncode, 1)
            self.assertIn("no JobManager answers", result.stderr)


if __name__ == "__main__":
    unittest.main()
