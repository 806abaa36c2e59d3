"""Mutual TLS inside a cluster: a job over it, certificates renewed under it, and everybody who must not come in."""

import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from cluster import BUILD, DEADLINE_S, Cluster, Daemon, read_rows, wait_for

ROWS = 40000
WINDOW_ROWS = 1000

JOB = """\
job: {job}
settings: {{parallelism.default: 4}}
tables:
  input:
    columns: {{id: BIGINT, kind: STRING, ts: "TIMESTAMP(3)"}}
    watermark: {{column: ts, delay: 0 ms}}
    with: {{connector: datagen, rows-per-second: {rate}, fields.id.kind: sequence, fields.id.start: 0, fields.id.end: {last},
           fields.kind.values: "a, b, c, d, e, f, g, h", fields.ts.kind: time, fields.ts.step: 1 ms}}
  output:
    columns: {{window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), kind: STRING, n: BIGINT, ids: BIGINT}}
    with: {{connector: filesystem, path: "{output}", format: json}}
pipeline:
  - {{id: read, source: input}}
  - {{id: count, input: read, key_by: [kind], window: {{tumble: 1 s}}, aggregate: {{n: "COUNT(*)", ids: "SUM(id)"}}}}
  - {{id: write, input: count, sink: output}}
"""


def certs(*arguments):
    result = subprocess.run([BUILD / "weir", "certs", *map(str, arguments)], capture_output=True, text=True, timeout=DEADLINE_S)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return result.stdout


class TlsCluster(Cluster):
    """Each daemon with a certificate of its own."""

    def __init__(self, directory, **arguments):
        self.directory = directory
        super().__init__(options=["security.ssl.internal.enabled=true"], **arguments)

    def _with(self, name, start, *arguments, **named):
        options = self.options
        self.options = [*options, "-D", f"security.ssl.internal.dir={self.directory / name}"]
        try:
            return start(*arguments, **named)
        finally:
            self.options = options

    def start_jobmanager(self, *arguments, **named):
        return self._with("jobmanager-1", super().start_jobmanager, *arguments, **named)

    def start_taskmanager(self, *arguments, **named):
        return self._with(f"taskmanager-{len(self.taskmanagers) + 1}", super().start_taskmanager, *arguments, **named)


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-tls-"))
        cls.certs = cls.folder / "certs"
        certs("init", cls.certs, "--nodes", "jobmanager:1,taskmanager:2", "--hosts", "127.0.0.1,localhost")
        certs("init", cls.folder / "strangers", "--nodes", "jobmanager:1,taskmanager:1")
        cls.cluster = TlsCluster(cls.certs, taskmanagers=2, slots=2)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()
        shutil.rmtree(cls.folder)

    def submit(self, job, rate):
        text = JOB.format(job=job, rate=rate, last=ROWS - 1, output=self.cluster.folder / f"{job}.out")
        result = self.cluster.weir("run", "-d", str(self.cluster.write(f"{job}.yaml", text)))
        self.assertEqual(result.returncode, 0, result.stderr)
        return self.cluster.get("/jobs")["jobs"][-1]["id"] if not result.stdout.strip() else result.stdout.split()[-1]

    def check_exact(self, job, job_id):
        self.assertEqual(self.cluster.wait_state(job_id, "FINISHED", "FAILED", deadline_s=3 * DEADLINE_S), "FINISHED")
        rows = read_rows(self.cluster.folder / f"{job}.out")
        windows = {}
        for row in rows:
            n, ids = windows.get(row["window_start"], (0, 0))
            windows[row["window_start"]] = (n + row["n"], ids + row["ids"])
        self.assertEqual(len(rows), len({(row["window_start"], row["kind"]) for row in rows}))
        expected = [(WINDOW_ROWS, sum(range(first, first + WINDOW_ROWS))) for first in range(0, ROWS, WINDOW_ROWS)]
        self.assertEqual([windows[start] for start in sorted(windows)], expected)
        self.assertEqual({task["status"] for vertex in self.cluster.get(f"/jobs/{job_id}")["vertices"]
                          for task in self.cluster.get(f"/jobs/{job_id}/vertices/{vertex['id']}")["subtasks"]}, {"FINISHED"})

    def logs(self):
        return [daemon.log_path.read_text() for daemon in [self.cluster.jobmanager, *self.cluster.taskmanagers]]

    def count(self, event):
        return [text.count(f"event={event}") for text in self.logs()]

    def assert_nobody_died(self):
        for daemon in [self.cluster.jobmanager, *self.cluster.taskmanagers]:
            self.assertIsNone(daemon.process.poll(), daemon.name)

    def port(self, daemon, key):
        return int(daemon.ready[key].rsplit(":", 1)[1])

    # --- what must work ---

    def test_a_job_over_two_taskmanagers_is_exact(self):
        job_id = self.submit("exact", 0)
        self.check_exact("exact", job_id)
        hosts = {task["taskmanager-id"] for vertex in self.cluster.get(f"/jobs/{job_id}")["vertices"]
                 for task in self.cluster.get(f"/jobs/{job_id}/vertices/{vertex['id']}")["subtasks"]}
        self.assertEqual(len(hosts), 2)

    def test_certificates_are_renewed_under_a_running_job(self):
        job_id = self.submit("renewed", ROWS // 8)
        self.cluster.wait_state(job_id, "RUNNING")
        before = self.count("tls_certificate_renewed")
        certs("renew", self.certs, "--days", 30)
        wait_for(lambda: all(now > then for now, then in zip(self.count("tls_certificate_renewed"), before)), "every daemon has the new certificates")
        good = (self.certs / "taskmanager-1" / "node.pem").read_bytes()
        (self.certs / "taskmanager-1" / "node.pem").write_bytes(good[:200])
        wait_for(lambda: self.count("tls_certificate_not_renewed")[1] > 0, "a wrong certificate is left alone, and said so")
        (self.certs / "taskmanager-1" / "node.pem").write_bytes(good)
        certs("add", self.certs, "--node", "taskmanager")
        third = self.cluster.start_taskmanager()
        self.cluster.wait_registered(3)
        self.check_exact("renewed", job_id)
        self.assertEqual(third.stop(), 0)
        self.cluster.taskmanagers.remove(third)
        self.cluster.wait_registered(2)
        again = self.submit("afterwards", 0) # over connections with the new certificates
        self.check_exact("afterwards", again)

    # --- who must not come in ---

    def start_stranger(self, name, *options):
        """A TaskManager that wants to join; it runs, and nobody talks to it."""
        tmp = self.folder / f"{name}.tmp"
        tmp.mkdir()
        rpc = self.port(self.cluster.jobmanager, "rpc")
        return Daemon(name, "weir-taskmanager", ["-D", f"jobmanager.rpc.port={rpc}", "-D", f"taskmanager.tmp.dir={tmp}",
                                                 *(word for option in options for word in ("-D", option))], self.folder)

    def connect(self, port, directory=None, patience_s=DEADLINE_S):
        """A TLS client with a certificate of the directory; returns the exception that ended its handshake or the first read, or None when nothing
        has ended it for so long."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if directory:
            context.load_cert_chain(directory / "node.pem")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as plain, context.wrap_socket(plain) as connection:
                connection.settimeout(patience_s)
                connection.recv(1)
        except (ssl.SSLError, ConnectionError) as error:
            return error
        except TimeoutError:
            return None
        return None

    def test_strangers_are_refused_and_the_job_does_not_notice(self):
        job_id = self.submit("besieged", ROWS // 6)
        self.cluster.wait_state(job_id, "RUNNING")
        jm, tm = self.cluster.jobmanager, self.cluster.taskmanagers[0]
        ports = [self.port(jm, "rpc"), self.port(tm, "rpc"), self.port(tm, "data")]
        strangers = [self.start_stranger("plaintext"),
                     self.start_stranger("other-authority", "security.ssl.internal.enabled=true",
                                         f"security.ssl.internal.dir={self.folder / 'strangers' / 'taskmanager-1'}")]
        before = self.count("tls_handshake_failed")
        for port in ports:
            for noise in (b"", b"WRPC" + bytes(60), os.urandom(300), b"\x16\x03\x03\x01\x00" + os.urandom(256)):
                with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as stranger:
                    stranger.sendall(noise)
            self.assertIsNotNone(self.connect(port), "without a certificate")
            self.assertIsNotNone(self.connect(port, self.folder / "strangers" / "taskmanager-1"), "of another authority")
        self.assertIsNone(self.connect(ports[0], self.certs / "taskmanager-1", 0.3))
        self.assertIsNone(self.connect(ports[1], self.certs / "jobmanager-1", 0.3))
        self.assertIsNone(self.connect(ports[2], self.certs / "taskmanager-2", 0.3))
        self.assertIsNotNone(self.connect(ports[1], self.certs / "taskmanager-2"), "a TaskManager gives no orders to another")
        self.assertIsNotNone(self.connect(ports[2], self.certs / "jobmanager-1"), "a JobManager sends no rows")
        self.check_exact("besieged", job_id)
        for number, (now, then) in enumerate(zip(self.count("tls_handshake_failed"), before)):
            self.assertTrue(now > then or number > 1)
        self.assertEqual(self.cluster.get("/overview")["taskmanagers"], 2)
        self.assertIn("not correctly signed", strangers[1].log_path.read_text())
        self.assert_nobody_died()
        for stranger in strangers:
            self.assertEqual(stranger.stop(), 0)
            self.assertEqual(list(stranger.complaints()), [])

    def test_refusals_are_logged_once_a_second(self):
        port = self.port(self.cluster.jobmanager, "rpc")
        before = self.count("tls_handshake_failed")[0]
        start = time.monotonic()
        threads = [threading.Thread(target=lambda: [self.connect(port) for _ in range(25)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = self.count("tls_handshake_failed")[0] - before
        self.assertLessEqual(lines, time.monotonic() - start + 2)
        self.assertGreaterEqual(lines, 1)
        self.cluster.get("/overview")

    # --- starting ---

    def run_daemon(self, name, *options):
        return subprocess.run([BUILD / name, *(word for option in options for word in ("-D", option))], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=DEADLINE_S)

    def test_a_daemon_without_its_own_certificate_does_not_start(self):
        tls = "security.ssl.internal.enabled=true"
        for directory, text in ((self.folder / "nowhere", "weir certs init"), (self.certs / "jobmanager-1", "role")):
            result = self.run_daemon("weir-taskmanager", tls, f"security.ssl.internal.dir={directory}", f"taskmanager.tmp.dir={self.folder}")
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertIn(text, result.stderr)

    def test_beyond_loopback_with_tls(self):
        data = self.folder / "beyond"
        data.mkdir()
        options = ["-D", "security.ssl.internal.enabled=true", "-D", f"security.ssl.internal.dir={self.certs / 'jobmanager-1'}", "-D", "rest.port=0",
                   "-D", "jobmanager.rpc.port=0", "-D", "jobmanager.rpc.address=0.0.0.0", "-D", f"jobmanager.data.dir={data}"]
        daemon = Daemon("beyond", "weir-jobmanager", options, self.folder)
        self.assertEqual(daemon.stop(), 0)
        result = subprocess.run([BUILD / "weir-jobmanager", *options, "-D", "rest.bind-address=192.0.2.1"], capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, timeout=DEADLINE_S)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("HTTP API has no TLS", result.stderr)

    def test_weir_certs_refuses_to_overwrite_and_explains_itself(self):
        def run(*arguments):
            return subprocess.run([BUILD / "weir", "certs", *map(str, arguments)], capture_output=True, text=True, timeout=DEADLINE_S)
        keys = {path: path.read_bytes() for path in self.certs.rglob("*.pem")}
        again = run("init", self.certs, "--nodes", "jobmanager:1")
        self.assertEqual(again.returncode, 1)
        self.assertIn("already", again.stderr)
        self.assertEqual(run("add", self.certs, "--node", "taskmanager:taskmanager-1").returncode, 1)
        for wrong in (("init", self.folder / "x"), ("init", self.folder / "x", "--nodes", "boss:1"), ("init", self.folder / "x", "--nodes", "jobmanager:0"),
                      ("add", self.certs, "--node", "taskmanager:../../x"), ("add", self.certs, "--node", "taskmanager:.x"), ("frobnicate", self.certs)):
            result = run(*wrong)
            self.assertEqual(result.returncode, 2, wrong)
        self.assertFalse((self.folder / "x").exists())
        self.assertEqual({path: path.read_bytes() for path in self.certs.rglob("*.pem")}, keys)
        shown = run("show", self.certs)
        self.assertIn("taskmanager-1", shown.stdout)
        self.assertIn("127.0.0.1,localhost", shown.stdout)
        for path in [self.certs, *self.certs.rglob("*")]:
            self.assertEqual(path.stat().st_mode & 0o777, 0o700 if path.is_dir() else 0o600, path)


if __name__ == "__main__":
    unittest.main()
