"""deploy/local: start, grow, kill and stop a cluster by its scripts."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from cluster import BUILD, ROOT, wait_for


class LocalScripts(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="weir-it-")
        self.run_dir = pathlib.Path(self.folder.name) / "run"
        self.environment = {**os.environ, "WEIR_HOME_DIR": str(self.run_dir), "WEIR_BIN_DIR": str(BUILD),
                            "WEIR_OPTS": "-D rest.port=0 -D jobmanager.rpc.port=0"}
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(self.script, "stop-cluster.sh")

    def script(self, name, *arguments):
        return subprocess.run([ROOT / "deploy/local" / name, *arguments], env=self.environment, capture_output=True, text=True, timeout=120)

    def ok(self, name, *arguments):
        result = self.script(name, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def weir(self, *arguments):
        address = (self.run_dir / "jobmanager.out").read_text().split("rest=")[1].split()[0]
        result = subprocess.run([BUILD / "weir", *arguments, "-m", address], capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def taskmanagers(self):
        return len(json.loads(self.weir("cluster", "--json"))["taskmanagers"])

    def test_life_of_a_cluster(self):
        self.assertIn("cluster of 2 TaskManagers with 3 slots", self.ok("start-cluster.sh", "-t", "2", "-s", "3"))
        self.assertEqual(json.loads(self.weir("cluster", "--json"))["slots-total"], 6)
        self.assertIn("runs already", self.script("start-cluster.sh").stderr)
        self.assertIn("taskmanager-3 started", self.ok("taskmanager.sh", "start"))
        wait_for(lambda: self.taskmanagers() == 3, "the third TaskManager is registered")
        self.assertIn("taskmanager-1 killed", self.ok("taskmanager.sh", "kill", "1"))
        wait_for(lambda: self.taskmanagers() == 2, "the killed TaskManager is gone")
        self.assertIn("taskmanager-3 stopped", self.ok("taskmanager.sh", "stop"))
        pids = [int(path.read_text()) for path in self.run_dir.glob("*.pid")]
        self.assertEqual(len(pids), 2)
        self.assertIn("jobmanager stopped", self.ok("stop-cluster.sh"))
        for pid in pids:
            self.assertFalse(pathlib.Path(f"/proc/{pid}/exe").exists(), pid)
        self.assertEqual(self.ok("stop-cluster.sh"), "")

    def test_pids_of_others_are_left_alone(self):
        other = subprocess.Popen(["tail", "-f", "/dev/null"])
        try:
            self.run_dir.mkdir()
            (self.run_dir / "taskmanager-1.pid").write_text(f"{other.pid}\n")
            self.ok("stop-cluster.sh")
            self.assertIsNone(other.poll())
        finally:
            other.kill()
            other.wait()

    def test_usage(self):
        for arguments in (["start-cluster.sh", "-t", "x"], ["start-cluster.sh", "-s", "0"], ["start-cluster.sh", "y"],
                          ["stop-cluster.sh", "x"], ["taskmanager.sh"], ["taskmanager.sh", "start", "0"], ["taskmanager.sh", "explode"]):
            self.assertEqual(self.script(*arguments).returncode, 2, arguments)
        self.assertIn("no JobManager runs", self.script("taskmanager.sh", "start").stderr)


if __name__ == "__main__":
    unittest.main()
