"""Bad input (RELIABILITY 2.3, rows 30 to 33): wrong job files, bad records, and strangers' bytes on every port while a job runs that must not
notice. Each is refused with a reason, nothing dies, and nothing good is lost."""

import json
import pathlib
import random
import socket
import struct
import time
import unittest

import test_checkpoints
from cluster import BUILD, ROOT, Cluster, read_rows, wait_for

SANITIZED = "asan" in str(BUILD) or "tsan" in str(BUILD)
GROWTH_BYTES_MAX = (400 if SANITIZED else 64) << 20
PATIENCE_S = 45  # beyond the 30 s that a request without the rest of its body has: MHD does not see every half-closed connection

BASE = """\
job: base
settings: {parallelism.default: 2}
tables:
  in:
    columns: {id: BIGINT, name: STRING, v: DOUBLE, at: TIMESTAMP(3)}
    watermark: {column: at, delay: 2 s}
    with: {connector: datagen, number-of-rows: 10}
  out:
    columns: {id: BIGINT, name: STRING, v: DOUBLE, at: TIMESTAMP(3)}
    with: {connector: filesystem, path: /tmp/x, format: json}
pipeline:
  - {id: read, source: in}
  - {id: keep, input: read, filter: "v > 1"}
  - {id: write, input: keep, sink: out}
"""

NO_YAML = [  # whole texts, and what is said about them
    ("", "1:1: the job file is empty"),
    ("- a list\n", "1:1"),
    ("just a text\n", "1:1"),
    ("job: a\n\tsettings: {}\n", "2:1"),
    ("job: [a\n", "2:1"),
    ('job: "a\n', "2:1: found unexpected end of stream"),
    ("job: a\nb\n", "3:1"),
    ("job: *a\n", "1:6: aliases"),
    ("job: &a b\n", "1:6: anchors"),
    ("job: !!str b\n", "1:6: tags"),
    ("job: a\n---\njob: b\n", "2:1"),
    ("job: " + "[" * 5000, "1:"),
    ("{" * 200_000, "1:"),
    ("job: \x00\n", "job.yaml"),
    ("job: a: b\n", "1:7"),
]


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def counted(data):
    return struct.pack("<I", len(data)) + data


def rpc_frame(method, body, length=None, version=1):
    head = struct.pack("<IBBHHHII", 0x43505257, version, 0, method, 0, 0, 7, len(body) if length is None else length)
    return head + struct.pack("<I", crc32c(body, crc32c(head))) + body


def rpc_hello(version=1, cluster=b"weir", role=b"stranger"):
    return rpc_frame(0, struct.pack("<H", version) + counted(cluster) + counted(role) + counted(b"stranger-1"))


def data_frame(kind, body, channel=1, length=None, version=1):
    head = struct.pack("<IBBHII", 0x52494557, version, kind, 0, channel, len(body) if length is None else length)
    return head + struct.pack("<I", crc32c(head)) + body


def data_hello(cluster=b"weir"):
    return data_frame(1, counted(cluster) + counted(b"stranger-1"), channel=0)


class Port:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.address = host, int(port)

    def connect(self):
        stream = socket.create_connection(self.address, PATIENCE_S)
        stream.settimeout(PATIENCE_S)
        return stream

    def leave(self, data):
        """Sends half of something and goes."""
        with self.connect() as stream:
            stream.sendall(data)

    def exchange(self, data):
        """What comes back until the other side closes. It has to: nothing follows what is sent."""
        with self.connect() as stream:
            try:
                stream.sendall(data)
                stream.shutdown(socket.SHUT_WR)
                answer = b""
                while True:
                    more = stream.recv(1 << 16)
                    if not more:
                        return answer
                    answer += more
            except (ConnectionResetError, BrokenPipeError, OSError) as error:
                if isinstance(error, TimeoutError):
                    raise AssertionError(f"the connection stays open after {data[:40]!r}") from None
                return b""


def rss_bytes(daemon):
    with open(f"/proc/{daemon.process.pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))


class WrongJobFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(taskmanagers=1, slots=2)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def refused(self, text, *phrases):
        path = self.cluster.folder / "job.yaml"
        path.write_bytes(text.encode())
        result = self.cluster.weir("run", str(path))
        self.assertIn(result.returncode, (1, 2), result.stdout + result.stderr)
        self.assertEqual(result.stdout, "")
        for phrase in phrases:
            self.assertIn(phrase, result.stderr)

    def test_each_is_refused_with_its_place_and_nothing_is_started(self):
        table = json.loads((ROOT / "tests/data/wrong-job-files.json").read_text())
        self.assertGreaterEqual(len(table) + len(NO_YAML), 50)
        for find, replace, place, phrase in table:
            with self.subTest(replace=replace):
                self.assertIn(find, BASE)
                self.refused(BASE.replace(find, replace, 1), f"job.yaml:{place}: {phrase}")
        for text, phrase in NO_YAML:
            with self.subTest(text=text[:40]):
                self.refused(text, phrase)
        with self.subTest("too large"):
            self.refused("# " + "x" * (5 << 20), "4194304")
        self.assertEqual(self.cluster.get("/jobs")["jobs"], [])


FILES = """\
job: {job}
tables:
  input:
    columns: {{id: BIGINT NOT NULL, v: DOUBLE, s: STRING}}
    with: {{connector: filesystem, path: "{input}", format: json}}
    on-error: {on_error}
  output:
    columns: {{id: BIGINT, v: DOUBLE, s: STRING}}
    with: {{connector: filesystem, path: "{output}", format: json}}
pipeline:
  - {{id: read, source: input}}
  - {{id: write, input: read, sink: output}}
"""

BAD_RECORDS = [
    b"", b"not json", b"{", b'{"id":', b'{"id":1', b'{"id":1}}', b'{"id":1}{"id":2}', b'{"id":1,}', b"[1]", b"null", b"1", b'"text"',
    b'{"id":"one"}', b'{"id":1.5}', b'{"id":true}', b'{"id":[1]}', b'{"id":null}', b"{}", b'{"id":9223372036854775808}', b'{"id":1e99}',
    b'{"id":1,"v":"fast"}', b'{"id":1,"v":1e999}', b'{"id":1,"v":' + b"9" * 5000 + b"}", b'{"id":1,"v":0x10}', b'{"id":1,"v":NaN}', b'{"id":01}',
    b'{"id":1,"s":"\xff"}', b'{"id":1,"s":"\xed\xa0\x80"}', b'{"id":1,"s":"\\ud800"}', b'{"id":1,"s":"\\x"}', b'{"id":1,"s":"a\tb"}', b'{"id":1,"s":"a\x00b"}',
    b"\x00", b"\x00" * 1000, b"\xef\xbb\xbf{", b'{"id":1,"x":' + b"[" * 100_000, b'{"id":1,"x":' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}",
    b'{"id":1,"s":"' + b"x" * (10 << 20) + b'"}', b"x" * (10 << 20),
]


class BadRecords(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(taskmanagers=1, slots=2)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def run_job(self, name, records, on_error):
        folder = self.cluster.folder / f"{name}.in"
        folder.mkdir()
        (folder / "rows.jsonl").write_bytes(b"\n".join(records) + b"\n")
        output = self.cluster.folder / f"{name}.out"
        path = self.cluster.write(f"{name}.yaml", FILES.format(job=name, input=folder, output=output, on_error=on_error))
        return self.cluster.weir("run", str(path), timeout_s=120), output

    def test_skip_counts_them_and_keeps_every_good_row(self):
        records, good = [], []
        for i, bad in enumerate([*BAD_RECORDS[1:], *BAD_RECORDS[1:]]):
            good.append({"id": i, "v": i / 8, "s": "größe" if i % 3 else None})
            records += [json.dumps(good[-1], ensure_ascii=False).encode(), bad]
        before = rss_bytes(self.cluster.taskmanagers[0])
        result, output = self.run_job("skipped", records, "skip")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sorted(read_rows(output), key=lambda row: row["id"]), good)
        job = next(job["jid"] for job in self.cluster.get("/jobs/overview")["jobs"] if job["name"] == "skipped")
        _, metrics = self.cluster.http("GET", "/metrics")
        counts = [int(line.rsplit(" ", 1)[1]) for line in metrics.splitlines()
                  if line.startswith("weir_taskmanager_job_task_numErrorsSkipped{") and job in line]
        self.assertEqual(sum(counts), 2 * len(BAD_RECORDS[1:]))
        self.assertLess(rss_bytes(self.cluster.taskmanagers[0]) - before, GROWTH_BYTES_MAX + (64 << 20))

    def test_fail_names_the_place_and_the_first_bytes(self):
        for i, bad in enumerate(BAD_RECORDS[1:]):
            with self.subTest(bad=bad[:40]):
                result, _ = self.run_job(f"failed-{i}", [b'{"id":1}', b'{"id":2}', bad, b'{"id":3}'], "fail")
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertIn("rows.jsonl: line 3: bad record: ", result.stderr + result.stdout)
                head = "".join(chr(c) if 0x20 <= c < 0x7F and c != 0x5C else f"\\x{c:02X}" for c in bad[:16])
                self.assertIn(head, result.stderr + result.stdout)


LONG = """\
job: long
tables:
  in: {{columns: {{n: BIGINT}}, with: {{connector: datagen, number-of-rows: 6000, fields.n.kind: sequence, fields.n.start: 0, fields.n.end: 5999}}}}
  out: {{columns: {{n: BIGINT, bytes: BIGINT}}, with: {{connector: filesystem, path: {out}, format: json}}}}
pipeline:
  - {{id: read, source: in}}
  - {{id: repeat, input: read, project: {{n: n, bytes: "CHAR_LENGTH(REPEAT('0123456789', 100000 + CAST(n AS INT)))"}}}}
  - {{id: write, input: repeat, sink: out}}
"""


class LongStrings(unittest.TestCase):
    def test_a_batch_of_them_is_done_in_parts(self):
        """6,000 strings of a megabyte, of which a batch would make 4 GB at once."""
        with Cluster(taskmanagers=1, options=["taskmanager.memory.size=64 mb"]) as cluster:
            out = cluster.folder / "out"
            done = cluster.weir("run", str(cluster.write("long.yaml", LONG.format(out=out))), timeout_s=900 if SANITIZED else 300)
            self.assertEqual(done.returncode, 0, done.stderr)
            status = pathlib.Path(f"/proc/{cluster.taskmanagers[0].process.pid}/status").read_text()
            peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) << 10
            self.assertLess(peak, (2000 if SANITIZED else 500) << 20)
            rows = sorted((row["n"], row["bytes"]) for row in read_rows(out))
            self.assertEqual(rows, [(n, 10 * (100_000 + n)) for n in range(6000)])


class Ports(test_checkpoints.Exactness, unittest.TestCase):
    """Everything at once would hide what did it: each test runs the job anew and attacks one port."""

    def setUp(self):
        self.random = random.Random(self.id())
        self.cluster = Cluster(taskmanagers=0, slots=1)
        self.addCleanup(self.cluster.close)
        self.cluster.options += ["-D", f"state.checkpoints.dir={self.cluster.folder}/checkpoints"]
        self.cluster.jobmanager.stop()
        self.cluster.start_jobmanager()
        for _ in range(2):  # of one slot each, so that rows cross the network
            self.cluster.start_taskmanager()
        self.cluster.wait_registered(2)
        self.job = self.submit(self.cluster, rows=240_000, rate=10_000 if SANITIZED else 20_000)
        self.cluster.wait_state(self.job, "RUNNING")
        self.daemons = [self.cluster.jobmanager, *self.cluster.taskmanagers]
        self.rss_before = [rss_bytes(daemon) for daemon in self.daemons]

    def check_unharmed(self):
        for daemon, before in zip(self.daemons, self.rss_before):
            self.assertIsNone(daemon.process.poll(), f"{daemon.name} died:\n{daemon.log_tail()}")
            self.assertLess(rss_bytes(daemon) - before, GROWTH_BYTES_MAX, daemon.name)
        self.assertEqual(len(self.cluster.get("/taskmanagers")["taskmanagers"]), 2)
        self.cluster.wait_state(self.job, "FINISHED", "FAILED", deadline_s=120)
        self.assertEqual(self.cluster.get(f"/jobs/{self.job}/status")["status"], "FINISHED")
        _, metrics = self.cluster.http("GET", "/metrics")
        restarts = [line for line in metrics.splitlines() if line.startswith("flink_jobmanager_job_numRestarts{") and self.job in line]
        self.assertEqual([line.rsplit(" ", 1)[1] for line in restarts], ["0"])
        self.check_exact()

    def logged(self, daemon, event):
        wait_for(lambda: event in daemon.log_path.read_text(errors="replace"), f"{daemon.name} logs {event}")

    def silent(self, port):
        return [port.connect() for _ in range(200)]

    def noise(self, port, hello):
        """Random bytes, before and after a hello, and a hello with each bit flipped, and cut at each byte."""
        for _ in range(60):
            port.exchange(self.random.randbytes(self.random.choice([1, 19, 23, 24, 100, 5000])))
            port.exchange(hello + self.random.randbytes(self.random.choice([1, 24, 3000])))
        for bit in range(0, 8 * len(hello)):
            flipped = bytearray(hello)
            flipped[bit // 8] ^= 1 << bit % 8
            port.exchange(bytes(flipped))
        for length in range(len(hello)):
            port.exchange(hello[:length])

    def attack_rpc(self, daemon, methods, role=b"stranger"):
        hello = rpc_hello(role=role)
        port = Port(daemon.ready["rpc"])
        idle = self.silent(port)
        self.noise(port, hello)
        self.assertIn(b"protocol version 99", port.exchange(rpc_hello(version=99, role=role)))
        self.assertIn(b"cluster", port.exchange(rpc_hello(cluster=b"other", role=role)))
        self.assertIn(b"hello", port.exchange(rpc_frame(1, b"")))
        self.assertEqual(port.exchange(rpc_frame(0, b"", version=9)), b"")
        for length in (5000, 1 << 31, (1 << 32) - 1):
            self.assertEqual(port.exchange(rpc_frame(0, b"x", length=length)), b"")
            port.exchange(hello + rpc_frame(2, b"x", length=length))
        for method in methods:
            for body in (b"", b"\xff" * 40, struct.pack("<Q", 1 << 62), b"\x0a\x00" * 100_000, *(self.random.randbytes(n) for n in (1, 10, 200))):
                port.exchange(hello + rpc_frame(method, body))
        self.logged(daemon, "rpc_frame_malformed")
        for stream in idle:
            stream.close()

    def test_jobmanager_rpc(self):
        self.attack_rpc(self.cluster.jobmanager, range(1, 30))
        self.check_unharmed()

    def test_taskmanager_rpc(self):
        self.assertIn(b"serves only a \"jobmanager\"", Port(self.cluster.taskmanagers[0].ready["rpc"]).exchange(rpc_hello()))
        self.attack_rpc(self.cluster.taskmanagers[0], range(1, 30), role=b"jobmanager")
        self.check_unharmed()

    def test_data_plane(self):
        daemon = self.cluster.taskmanagers[1]
        port = Port(daemon.ready["data"])
        idle = self.silent(port)
        self.noise(port, data_hello())
        for body_length in (1 << 20, 1 << 31, (1 << 32) - 1):
            self.assertEqual(port.exchange(data_frame(1, b"x", length=body_length)), b"")
            self.assertEqual(port.exchange(data_hello() + data_frame(3, b"x", length=body_length)), b"")
        self.assertEqual(port.exchange(data_hello(cluster=b"other")), b"")
        self.assertEqual(port.exchange(data_frame(1, b"", version=9)), b"")
        name = f"{self.job}/1/0/0/0".encode()
        for kind in range(0, 9):
            for body in (b"", b"\xff" * 30, struct.pack("<Q", 1 << 62), counted(b"x" * 95), counted(name[:20]), self.random.randbytes(500)):
                port.exchange(data_hello() + data_frame(kind, body) + data_frame(kind, body, channel=2))
        self.logged(daemon, "data_link_lost")
        for stream in idle:
            stream.close()
        self.check_unharmed()

    def test_rest(self):
        port = Port(self.cluster.jobmanager.ready["rest"])
        slow = [port.connect() for _ in range(10)]
        began = time.monotonic()
        for stream in slow:
            stream.settimeout(0.02)
            stream.sendall(b"GET /overview HTTP/1.1\r\nX: ")
        self.check_http(port)
        idle = self.silent(port)
        self.assertEqual(self.cluster.get("/overview")["taskmanagers"], 2)
        while slow:
            self.assertLess(time.monotonic() - began, 5 + PATIENCE_S, "a header a byte at a time is never cut off")
            slow = [stream for stream in slow if self.trickle(stream)]
        for stream in idle:
            stream.close()
        self.check_unharmed()

    def trickle(self, stream):
        """Sends one byte; whether the connection is still open."""
        try:
            stream.sendall(b"a")
            return stream.recv(100) != b""
        except TimeoutError:
            return True
        except OSError:
            return False

    def check_http(self, port):
        for path in ("/logs/..%252f..%252fetc/passwd", "/logs/../../etc/passwd", "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
                     "/etc/passwd", "/jobmanager/log/../../../etc/passwd", "/taskmanagers/..%2f..%2fetc%2fpasswd/log", "/jobs/%00", "/jobs/\x00",
                     "/taskmanagers/%00/log", "/jobmanager/log%00.txt", "/jobs/" + "a" * 6000, "/jobs/%ff%fe", "/%", "/jobs/%zz", "file:///etc/passwd"):
            with self.subTest(path=path[:60]):
                answer = port.exchange(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode("latin-1"))
                self.assertNotIn(b"root:", answer)
                self.assertRegex(answer[:12], rb"^(HTTP/1.1 4\d\d)?$")
        for request in (b"\x16\x03\x01" + self.random.randbytes(200), b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 100, b"\x00" * 5000,
                        b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
                        b"GET /overview HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n", *(self.random.randbytes(n) for n in (1, 50, 4000, 100_000))):
            port.exchange(request)
        for part in (b"Content-Length: 5\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"):
            port.leave(b"POST /jobs HTTP/1.1\r\nHost: a\r\n" + part)
        post = b"POST /jobs?jobid=%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/yaml\r\nContent-Length: %d\r\n\r\n"
        for length in (5 << 20, 1 << 31, 1 << 62):
            answer = port.exchange(post % (b"a" * 32, length))
            self.assertTrue(answer.startswith(b"HTTP/1.1 413"), answer[:100])
            self.assertIn(b"4194304", answer)
        answer = port.exchange(post % (b"a" * 32, 6) + b"\xff\x00\x01job")
        self.assertTrue(answer.startswith(b"HTTP/1.1 4"), answer[:100])


if __name__ == "__main__":
    unittest.main()
