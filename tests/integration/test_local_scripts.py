"""deploy/local: start, grow, kill and stop a cluster by its scripts."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from cluster import BUILD, ROOT, free_port_row, wait_for


class LocalScripts(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="weir-it-")
        self.run_dir = pathlib.Path(self.folder.name) / "run"
        self.environment = {**os.environ, "WEIR_HOME_DIR": str(self.run_dir), "WEIR_BIN_DIR": str(BUILD)}
        self.set_rest_port(free_port_row(8))  # not the kernel's, which could give it away while a cluster is stopped
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(self.script, "stop-cluster.sh")

    def set_rest_port(self, port):
        self.environment["WEIR_OPTS"] = f"-D rest.port={port} -D jobmanager.rpc.port=0"

    def script(self, name, *arguments):
        return subprocess.run([ROOT / "deploy/local" / name, *arguments], env=self.environment, capture_output=True, text=True, timeout=120)

    def ok(self, name, *arguments):
        result = self.script(name, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def endpoint(self, name, key="rest"):
        return (self.run_dir / f"{name}.out").read_text().split(f"{key}=")[1].split()[0].split("//")[-1]

    def weir(self, *arguments):
        address = ",".join(self.endpoint(path.stem) for path in self.run_dir.glob("jobmanager*.out"))
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

    def test_the_single_jobmanager_comes_back_where_it_was(self):
        self.set_rest_port(0)
        self.ok("start-cluster.sh")
        endpoints = self.endpoint("jobmanager"), self.endpoint("jobmanager", "rpc")
        self.assertIn("jobmanager killed", self.ok("jobmanager.sh", "kill"))
        self.assertIn("no JobManager runs", self.script("taskmanager.sh", "start").stderr)
        self.assertIn("jobmanager started", self.ok("jobmanager.sh", "start"))
        self.assertEqual((self.endpoint("jobmanager"), self.endpoint("jobmanager", "rpc")), endpoints)
        wait_for(lambda: self.taskmanagers() == 1, "the TaskManager is registered again")
        self.assertIn("cluster of several", self.script("jobmanager.sh", "start", "--join").stderr)
        self.assertIn("belongs to a cluster of one JobManager", self.script("start-cluster.sh", "-j", "3").stderr)

    def test_several_jobmanagers(self):
        out = self.ok("start-cluster.sh", "-j", "3", "-t", "3", "-s", "1")
        self.assertIn("cluster of 3 JobManagers and 3 TaskManagers with 1 slots", out)
        addresses = out.split("export WEIR_JOBMANAGERS=")[1].split()[0].split(",")
        self.assertEqual(addresses, [self.endpoint(f"jobmanager-{n}") for n in (1, 2, 3)])
        self.assertTrue(all((self.run_dir / f"jobmanager-{n}.data").is_dir() for n in (1, 2, 3)))
        self.assertIn("3 JobManagers, 2 of them standby", self.weir("cluster"))

        self.assertIn("jobmanager-1 killed", self.ok("jobmanager.sh", "kill", "1"))
        self.assertIn("taskmanager-4 started", self.ok("taskmanager.sh", "start"))
        wait_for(lambda: self.taskmanagers() == 4, "all TaskManagers are registered with whoever leads")
        self.assertIn("jobmanager-1 started", self.ok("jobmanager.sh", "start"))
        wait_for(lambda: "3 JobManagers, 2 of them standby" in self.weir("cluster"), "it is back")
        self.assertIn("jobmanager-3 stopped", self.ok("jobmanager.sh", "stop"))

        # the lost one's place is taken by a further one, and that one's by an empty one at the same address
        self.assertIn("jobmanager-4 started", self.ok("jobmanager.sh", "start", "--join"))
        self.weir("cluster", "replace-jobmanager", self.endpoint("jobmanager-3", "rpc"), self.endpoint("jobmanager-4", "rpc"))
        wait_for(lambda: "3 JobManagers, 2 of them standby" in self.weir("cluster"), "it stands by")
        self.assertIn("taskmanager-5 started", self.ok("taskmanager.sh", "start"))
        options = pathlib.Path(f"/proc/{int((self.run_dir / 'taskmanager-5.pid').read_text())}/cmdline").read_text()
        self.assertIn("cluster.jobmanagers=" + ",".join(self.endpoint(f"jobmanager-{n}", "rpc") for n in (1, 2, 4)), options)
        self.ok("jobmanager.sh", "kill", "4")
        self.assertIn("jobmanager-4 started", self.ok("jobmanager.sh", "start", "4", "--join"))
        self.weir("cluster", "replace-jobmanager", self.endpoint("jobmanager-4", "rpc"), self.endpoint("jobmanager-4", "rpc"))
        wait_for(lambda: "3 JobManagers, 2 of them standby" in self.weir("cluster"), "it stands by again")
        self.ok("jobmanager.sh", "stop", "4")
        self.assertIn("jobmanager-4 started", self.ok("jobmanager.sh", "start", "4"))
        wait_for(lambda: "3 JobManagers, 2 of them standby" in self.weir("cluster"), "it is a member")

        pids = [int(path.read_text()) for path in self.run_dir.glob("*.pid")]
        self.assertEqual(len(pids), 8)
        self.ok("stop-cluster.sh")
        for pid in pids:
            self.assertFalse(pathlib.Path(f"/proc/{pid}/exe").exists(), pid)
        self.assertIn("cluster of 3 JobManagers", self.script("start-cluster.sh").stderr)

    def test_logs_are_rotated(self):
        log = self.run_dir / "jobmanager.log"
        self.run_dir.mkdir()
        self.environment["WEIR_LOG_FILES"] = "2"

        def kept():
            return {path.name.removeprefix("jobmanager.log"): path.read_text().splitlines()[0] for path in self.run_dir.glob("jobmanager.log*")}

        def mark(text):
            log.write_text(f"{text}\n")

        for name in ("1", "2", "3", "gz"):
            (self.run_dir / f"jobmanager.log.{name}").write_text(f"old {name}\n")
        mark("small")
        self.ok("start-cluster.sh", "-t", "0")
        self.assertEqual(kept(), {"": "small", ".1": "old 1", ".2": "old 2", ".3": "old 3", ".gz": "old gz"})
        self.assertGreater(len(log.read_text().splitlines()), 1, "appended")

        # logrotate's copytruncate: the daemon goes on at the beginning of the file
        os.truncate(log, 0)
        self.ok("jobmanager.sh", "stop")
        text = log.read_bytes()
        self.assertTrue(text.startswith(b"ts=") and b"\0" not in text, text[:100])

        self.environment["WEIR_LOG_MB"] = "0"
        mark("first")
        self.ok("jobmanager.sh", "start")
        self.assertEqual({**kept(), "": None}, {"": None, ".1": "first", ".2": "old 1", ".gz": "old gz"})
        self.ok("jobmanager.sh", "kill")
        mark("second")
        self.environment["WEIR_LOG_FILES"] = "0"
        self.ok("jobmanager.sh", "start")
        self.assertEqual(set(kept()), {"", ".gz"})
        self.assertNotIn("second", log.read_text())

    def test_five_jobmanagers(self):
        self.set_rest_port(0)
        out = self.ok("start-cluster.sh", "-j", "5", "-s", "1")
        self.assertIn("cluster of 5 JobManagers and 1 TaskManagers", out)
        self.assertEqual(len(out.split("export WEIR_JOBMANAGERS=")[1].split()[0].split(",")), 5)
        wait_for(lambda: "5 JobManagers, 4 of them standby" in self.weir("cluster"), "a leader and four others")
        for number in ("5", "4"):
            self.assertIn(f"jobmanager-{number} killed", self.ok("jobmanager.sh", "kill"))
        wait_for(lambda: "5 JobManagers, 2 of them standby" in self.weir("cluster"), "a majority is left")
        for number in ("4", "5"):
            self.assertIn(f"jobmanager-{number} started", self.ok("jobmanager.sh", "start"))
        wait_for(lambda: "5 JobManagers, 4 of them standby" in self.weir("cluster"), "they are back")
        self.ok("stop-cluster.sh")

    def alive(self):
        return {name for name in (f"jobmanager-{number}" for number in range(1, 6))
                if (self.run_dir / f"{name}.pid").exists()
                and pathlib.Path(f"/proc/{(self.run_dir / f'{name}.pid').read_text().strip()}/exe").exists()}

    def check_three_of_four(self, out):
        self.assertIn("cluster of 3 JobManagers and 1 TaskManagers", out)
        addresses = out.split("export WEIR_JOBMANAGERS=")[1].split()[0].split(",")
        self.assertEqual(addresses, [self.endpoint(f"jobmanager-{n}") for n in (1, 2, 4)])
        self.assertEqual(self.alive(), {"jobmanager-1", "jobmanager-2", "jobmanager-4"})

    def test_a_jobmanager_that_was_replaced_is_started_no_more(self):
        again = "start-cluster.sh", "-j", "3", "-s", "1"
        self.ok(*again)
        self.ok("jobmanager.sh", "kill", "3")
        self.ok("jobmanager.sh", "start", "--join")
        wait_for(lambda: "joining" in self.weir("cluster"), "whoever leads has heard of it")
        self.weir("cluster", "replace-jobmanager", self.endpoint("jobmanager-3", "rpc"), self.endpoint("jobmanager-4", "rpc"))
        wait_for(lambda: "3 JobManagers, 2 of them standby" in self.weir("cluster"), "it stands by")

        # no script has seen it: the removed one is started, and told by the others
        for number in ("4", "2", "1"):
            self.ok("jobmanager.sh", "kill", number)
        self.ok("stop-cluster.sh")
        out = self.ok(*again)
        self.assertIn("jobmanager-3 was removed from the cluster", out)
        self.check_three_of_four(out)

        # from then on it is known
        log = self.run_dir / "jobmanager-3.log"
        before = log.read_text()
        self.assertIn("every JobManager", self.script("jobmanager.sh", "start").stderr)
        self.assertIn("jobmanager-3 was removed", self.script("jobmanager.sh", "start", "3").stderr)
        self.ok("jobmanager.sh", "kill", "4")
        self.assertIn("jobmanager-4 started", self.ok("jobmanager.sh", "start"))
        self.ok("stop-cluster.sh")
        self.check_three_of_four(self.ok(*again))
        self.assertEqual(log.read_text(), before, "it was started")

        # its place may be taken by an empty one, which is a member like any other then; its predecessor, removed by the way, is learned at the stop
        self.ok("jobmanager.sh", "kill", "4")  # that one may have led, and jobmanager-3 says hello to those of its configuration
        self.assertIn("jobmanager-3 started", self.ok("jobmanager.sh", "start", "3", "--join"))
        wait_for(lambda: "joining" in self.weir("cluster"), "whoever leads has heard of it")
        self.weir("cluster", "replace-jobmanager", self.endpoint("jobmanager-4", "rpc"), self.endpoint("jobmanager-3", "rpc"))
        wait_for(lambda: "3 JobManagers, 2 of them standby" in self.weir("cluster"), "it stands by")
        self.ok("stop-cluster.sh")
        out = self.ok(*again)
        self.assertIn("cluster of 3 JobManagers and 1 TaskManagers", out)
        self.assertNotIn("was removed", out)
        self.assertEqual(self.alive(), {"jobmanager-1", "jobmanager-2", "jobmanager-3"})
        self.ok("stop-cluster.sh")

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
                          ["stop-cluster.sh", "x"], ["taskmanager.sh"], ["taskmanager.sh", "start", "0"], ["taskmanager.sh", "explode"],
                          ["start-cluster.sh", "-j", "2"], ["jobmanager.sh"], ["jobmanager.sh", "start", "x"], ["jobmanager.sh", "kill", "--join"],
                          ["jobmanager.sh", "start", "1", "2"]):
            self.assertEqual(self.script(*arguments).returncode, 2, arguments)
        self.assertIn("no JobManager runs", self.script("taskmanager.sh", "start").stderr)
        for setting in ("WEIR_LOG_MB", "WEIR_LOG_FILES"):
            self.environment[setting] = "many"
            self.assertIn(f"{setting}=many", self.script("start-cluster.sh").stderr)
            del self.environment[setting]


if __name__ == "__main__":
    unittest.main()
