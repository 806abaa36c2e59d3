"""The HTTP API of a live cluster against bodies that a real Flink 1.20 answered, and its answers to wrong requests."""

import http.client
import json
import unittest

from cluster import DEADLINE_S, ROOT, Cluster
from test_first_jobs import datagen_job

SAMPLES = ROOT / "tests/data/flink-rest"


def differences(path, sample, ours):
    """Fields of the sample that are missing in ours, or of another type."""
    if sample is None or ours is None or path.endswith("status-duration"):
        return
    number = (int, float)
    same = type(sample) is type(ours) or (isinstance(sample, float) and (isinstance(ours, number) or ours == "NaN"))
    if not same:
        yield f"{path}: {ours!r} where Flink has {sample!r}"
    elif isinstance(sample, dict):
        for key, value in sample.items():
            if key == "inputs" and key not in ours:
                continue  # a source has none, in Flink too
            if key not in ours:
                yield f"{path}.{key} is missing"
            else:
                yield from differences(f"{path}.{key}", value, ours[key])
    elif isinstance(sample, list) and sample and ours:
        yield from differences(f"{path}[0]", sample[0], ours[0])


class HttpApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(taskmanagers=1, slots=2)
        job_file = cls.cluster.write("job.yaml", datagen_job("served", rate=100))
        cls.job = cls.cluster.weir("run", "-d", "-p", "2", str(job_file)).stdout.strip()
        cls.cluster.wait_state(cls.job, "RUNNING")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def test_bodies_have_flinks_fields(self):
        vertex = self.cluster.get(f"/jobs/{self.job}")["vertices"][0]["id"]
        tm = self.cluster.get("/taskmanagers")["taskmanagers"][0]["id"]
        paths = {
            "overview": "/overview", "config": "/config", "jobs": "/jobs", "jobs_overview": "/jobs/overview",
            "jobs_jobid": f"/jobs/{self.job}", "jobs_jobid_status": f"/jobs/{self.job}/status",
            "jobs_jobid_exceptions": f"/jobs/{self.job}/exceptions", "jobs_jobid_checkpoints": f"/jobs/{self.job}/checkpoints",
            "jobs_jobid_vertices_vertexid": f"/jobs/{self.job}/vertices/{vertex}", "taskmanagers": "/taskmanagers",
            "taskmanagers_id": f"/taskmanagers/{tm}", "jobmanager_config": "/jobmanager/config",
        }
        for sample, path in paths.items():
            body = json.loads((SAMPLES / f"{sample}.json").read_text())["body"]
            for prefix in ("", "/v1"):
                with self.subTest(path=prefix + path):
                    self.assertEqual(list(differences("", body, self.cluster.get(prefix + path))), [])

    def test_metrics_count_the_job(self):
        status, text = self.cluster.http("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertIn("flink_jobmanager_taskSlotsTotal 2\n", text)
        self.assertIn(f'flink_taskmanager_job_task_numRecordsOut{{job_id="{self.job}"', text)

    def test_errors(self):
        job = f"/jobs?jobid={'0' * 32}&name=x.yaml"
        cases = [
            ("GET", "/nosuch", None, None, 404, "Unable to load requested file /nosuch."),
            ("GET", "/jobs/" + "0" * 32, None, None, 404, "Job 00000000000000000000000000000000 not found"),
            ("GET", f"/jobs/{self.job}/vertices/none", None, None, 404, "no vertex"),
            ("GET", f"/jobs/{self.job}/exceptions?maxExceptions=x", None, None, 400, "expected a number"),
            ("GET", "/taskmanagers/none", None, None, 404, "no TaskManager"),
            ("GET", "/taskmanagers/none/log", None, None, 404, ""),
            ("DELETE", "/overview", None, None, 405, "DELETE"),
            ("PUT", "/log-level?level=loud", None, None, 400, "debug, info, warn or error"),
            ("PATCH", f"/jobs/{self.job}?mode=stop", None, None, 400, "mode=cancel"),
            ("PATCH", f"/jobs/{self.job}?mode=cancel&now=1", None, None, 400, "now=true"),
            ("POST", "/jobs", b"job: x", "application/yaml", 400, "jobid"),
            ("POST", job, b"job: x", "application/json", 415, "application/yaml"),
            ("POST", job + "&parallelism=-1", b"job: x", "application/yaml", 400, "expected a number"),
            ("POST", job, b"job: [", "application/yaml", 400, "x.yaml:"),
            ("POST", job, b"", "application/yaml", 400, ""),
        ]
        for method, path, body, content_type, status, text in cases:
            with self.subTest(method=method, path=path):
                answer, document = self.cluster.http(method, path, body, content_type)
                self.assertEqual(answer, status, document)
                self.assertIn(text, json.loads(document)["errors"][0])

    def test_a_client_of_another_release_is_refused(self):
        own = self.cluster.weir("--version").stdout.split()[1]
        for version, status in ((own, 200), ("0.0.9", 400), ("", 400)):
            for path in ("/overview", "/v1/jobs", "/metrics"):
                with self.subTest(version=version, path=path):
                    connection = http.client.HTTPConnection(self.cluster.address, timeout=DEADLINE_S)
                    connection.request("GET", path, headers={"Weir-Version": version})
                    answer = connection.getresponse()
                    text = answer.read().decode()
                    connection.close()
                    self.assertEqual(answer.status, status, text)
                    if status == 400:
                        self.assertIn(f"of Weir {version}, but the JobManager is of Weir {own}: run the same release", json.loads(text)["errors"][0])

    def test_submission_is_safe_to_repeat(self):
        text = datagen_job("repeated", rows=10).encode()
        path = f"/jobs?jobid={'a' * 32}&name=repeated.yaml"
        for _ in range(2):
            self.assertEqual(self.cluster.http("POST", path, text, "application/yaml"), (202, json.dumps({"jobid": "a" * 32},
                                                                                                       separators=(",", ":"))))
        self.assertEqual([job["id"] for job in self.cluster.get("/jobs")["jobs"]].count("a" * 32), 1)
        other = datagen_job("other", rows=10).encode()
        self.assertEqual(self.cluster.http("POST", path, other, "application/yaml")[0], 409)

    def test_log_level_is_changed_live(self):
        self.assertEqual(self.cluster.http("PUT", "/log-level?level=debug")[0], 200)
        self.assertEqual(self.cluster.http("PUT", "/log-level?level=info")[0], 200)


if __name__ == "__main__":
    unittest.main()
