"""Every examples/*.yaml runs: its paths below /tmp are moved into the test's folder, its input is written where it reads."""

import json
import random
import re
import unittest

import kafka
from cluster import ROOT, Cluster, read_rows, wait_for

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.yaml"))


def vehicles(folder):
    rng = random.Random(3)
    rows = [{"vehicleId": f"v{i}", "vehicleType": rng.choice(["car", "bus", None]), "speed": rng.uniform(-5, 130),
             "ts": 1767225600000 + 10 * i - rng.randrange(2000)} for i in range(20000)]
    write(folder / "weir-demo/vehicles", [json.dumps(row) for row in rows])


def orders_with_bad_lines(folder):
    write(folder / "weir/on-error/in", ['{"id": 1, "amount": 2.5}', "no json", '{"amount": 1}', '{"id": 2, "amount": null}', '{"id": "x"'])


def kafka_topics(*topics):
    """Topics of the names that the example has, at the broker of this run."""
    def make(folder):
        for name, partitions in topics:
            kafka.broker().run("topic", name, str(partitions))
    return make


def write(folder, lines):
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text("".join(line + "\n" for line in lines))


INPUTS = {"vehicles": kafka_topics(("vehicle-topic", 4), ("vehicle-statistics-topic", 1)), "upsert-kafka": kafka_topics(("counts", 2)),
          "on-error": orders_with_bad_lines, "on-error-table": orders_with_bad_lines, "vehicles-local": vehicles}


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(taskmanagers=2, slots=2)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def run_example(self, name, until=None):
        """Runs it to its end, or when it has none until its sinks got rows, or until(job) is back; returns the folder that stands for /tmp."""
        folder = self.cluster.folder / name
        folder.mkdir()
        INPUTS.get(name, lambda folder: None)(folder)
        text = (ROOT / "examples" / f"{name}.yaml").read_text()
        if "127.0.0.1:9092" in text:
            text = text.replace("127.0.0.1:9092", kafka.broker().servers)
        result = self.cluster.weir("run", str(self.cluster.write(f"{name}.yaml", text.replace("/tmp/", f"{folder}/"))), timeout_s=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        job = max(self.cluster.get("/jobs/overview")["jobs"], key=lambda entry: entry["start-time"])["jid"]
        if "goes on running" in result.stdout:
            until(job) if until else wait_for(lambda: self.sink_records(job) > 0, f"{name} writes rows")
            self.assertEqual(self.cluster.weir("cancel", job).returncode, 0)
            self.cluster.wait_state(job, "CANCELED")
        else:
            self.assertEqual(self.cluster.wait_state(job, "FINISHED", "FAILED"), "FINISHED")
            self.assertGreater(self.sink_records(job), 0)
        return folder

    def sink_records(self, job):
        return sum(vertex["metrics"]["read-records"] for vertex in self.cluster.get(f"/jobs/{job}")["vertices"])

    def printed(self, word):
        lines = [line for tm in self.cluster.taskmanagers for line in tm.out_path.read_text().splitlines()]
        return [line for line in lines if word in line]

    def test_on_error(self):
        folder = self.run_example("on-error")
        rows = sorted(read_rows(folder / "weir/on-error/good"), key=lambda row: row["id"])
        self.assertEqual(rows, [{"id": 1, "amount": 2.5}, {"id": 2, "amount": None}])

    def test_on_error_table(self):
        folder = self.run_example("on-error-table")
        rows = sorted(read_rows(folder / "weir/on-error/good"), key=lambda row: row["id"])
        self.assertEqual(rows, [{"id": 1, "amount": 2.5}, {"id": 2, "amount": None}])
        rejected = sorted(read_rows(folder / "weir/on-error/rejected"), key=lambda row: row["position"])
        self.assertEqual([row["record"] for row in rejected], ["no json", '{"amount": 1}', '{"id": "x"'])
        self.assertEqual([row["position"].rpartition(": ")[2] for row in rejected], ["line 2", "line 3", "line 5"])
        for row, reason in zip(rejected, ["expected", "id", "expected"]):
            self.assertEqual(row["source"], "orders")
            self.assertIn(reason, row["reason"])

    def test_vehicles(self):
        rng = random.Random(5)
        rows = [{"vehicleId": f"v{i}", "vehicleType": rng.choice(["car", "bus", None]), "speed": rng.uniform(-5, 130), "ts": 1767225600000 + 10 * i}
                for i in range(10000)]
        end = [(partition, json.dumps({"vehicleId": "", "vehicleType": "end", "speed": 1, "ts": 1767225600000 + 3600_000})) for partition in range(4)]
        kafka_topics(("vehicle-topic", 4))(None)
        kafka.broker().produce("vehicle-topic", [(i % 4, json.dumps(row)) for i, row in enumerate(rows)] + end)
        valid = sum(row["vehicleType"] is not None and row["speed"] >= 0 for row in rows)
        count = lambda records: sum(json.loads(record[4])["vehicles"] for record in records)

        def until_counted(job):
            reader = kafka.Reader(kafka.broker(), "vehicle-statistics-topic", self.cluster.folder)
            self.addCleanup(reader.close)
            self.assertEqual(count(reader.wait(lambda records: count(records) >= valid, "every vehicle is counted")), valid)

        self.run_example("vehicles", until_counted)

    def test_upsert_kafka(self):
        self.run_example("upsert-kafka")
        reader = kafka.Reader(kafka.broker(), "counts", self.cluster.folder)
        self.addCleanup(reader.close)
        newest = lambda records: sum({record[3]: json.loads(record[4])["vehicles"] for record in records}.values())
        reader.wait(lambda records: newest(records) == 100000, "the newest counts of all types")

    def test_vehicles_local(self):
        folder = self.run_example("vehicles-local")
        given = [json.loads(line) for line in (folder / "weir-demo/vehicles/rows.jsonl").read_text().splitlines()]
        valid = [row for row in given if row["vehicleType"] is not None and row["speed"] >= 0]
        counted = read_rows(folder / "weir-demo/statistics")
        self.assertEqual({row["vehicleType"] for row in counted}, {"car", "bus"})
        self.assertEqual(sum(row["vehicles"] for row in counted), len(valid))

    def test_filter_files(self):
        rows = read_rows(self.run_example("filter-files") / "weir/filter-files")
        self.assertTrue(rows)
        for row in rows:
            self.assertGreaterEqual(float(row["amount"]), 400)
            self.assertIn(row["who"], ["ADA", "GRACE", "EDSGER", "BARBARA"])

    def test_union(self):
        folder = self.run_example("union")
        ledger = read_rows(folder / "weir/union/ledger")
        self.assertEqual(len(ledger), 10500)
        self.assertEqual(sum(row["amount"] < 0 for row in ledger), 500)
        large = read_rows(folder / "weir/union/large")
        key = lambda row: (row["id"], row["amount"])
        self.assertEqual(sorted(map(key, large)), sorted(key(row) for row in ledger if abs(row["amount"]) > 90))

    def test_hop(self):
        rows = read_rows(self.run_example("hop") / "weir/hop/by-page")
        self.assertEqual(sum(row["clicks"] for row in rows), 4 * 100000)  # each click is in 20 s / 5 s windows

    def test_project(self):
        self.run_example("project")
        printed = self.printed("reading>")
        self.assertEqual(len(printed), 1000)
        self.assertTrue(all(any(word in line for word in ("frost", "heat", "fine")) for line in printed))

    def test_group_aggregate(self):
        self.run_example("group-aggregate")
        changes = [re.search(r"\+[IU]\[(north|south|east|west), (\d+), ", line) for line in self.printed("")]
        newest = {change[1]: int(change[2]) for change in changes if change}
        self.assertEqual((len(newest), sum(newest.values())), (4, 1000))

    def test_vehicles_datagen(self):
        rows = read_rows(self.run_example("vehicles-datagen") / "weir/vehicles-datagen")
        self.assertEqual({row["vehicleType"] for row in rows}, {"car", "truck", "bus", "bicycle"})


def run_only(name):
    return lambda self: self.run_example(name)


for example in EXAMPLES:
    method = "test_" + example.replace("-", "_")
    if not hasattr(Examples, method):
        setattr(Examples, method, run_only(example))


if __name__ == "__main__":
    unittest.main()
