"""A secret is used and never shown: not by a file, an answer or an output of the whole cluster, whatever goes wrong around it."""

import pathlib
import shutil
import socket
import struct
import tempfile
import threading
import unittest

from cluster import Cluster, wait_for

CANARY = "zq7canary4fx"
BY_ENVIRONMENT = f'env-{CANARY}" ;'  # with what would end a quoted text
BY_FILE = f"file-{CANARY}"

JOB = """\
job: {job}
tables:
  left:
    columns: {{id: BIGINT}}
    with:
      {left}
  right:
    columns: {{id: BIGINT}}
    with:
      {right}
pipeline:
  - {{id: read, source: left}}
  - {{id: write, input: read, sink: right}}
"""

DATAGEN = "{connector: datagen, number-of-rows: 10, rows-per-second: 0}"
BLACKHOLE = "{connector: blackhole}"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


def kafka(servers, *lines, password=None, source=True):
    """The `with` of a Kafka table; a password makes it log in."""
    with_ = ["connector: kafka", "topic: weir-secrets", f"properties.bootstrap.servers: {servers}", "format: json"]
    with_ += ["scan.startup.mode: earliest-offset"] if source else []
    with_ += ["properties.security.protocol: SASL_PLAINTEXT", "properties.sasl.mechanism: PLAIN",
              f"""properties.sasl.jaas.config: '{PLAIN} required username="u" password="{password}";'"""] if password else []
    return "\n      ".join([*with_, *lines])


class Broker:
    """As much of a Kafka broker as it takes to be told a password, and to refuse it."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        self.logins = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.server.close()

    def _accept(self):
        while True:
            try:
                peer = self.server.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with peer, peer.makefile("rb") as stream:
            while len(head := stream.read(4)) == 4:
                body = stream.read(struct.unpack(">i", head)[0])
                key, version, correlation, client = struct.unpack(">hhih", body[:10])
                answer = self._answer(key, version, body[10 + max(client, 0):])
                peer.sendall(struct.pack(">ii", 4 + len(answer), correlation) + answer)

    def _answer(self, key, version, body):
        if key == 18:  # ApiVersions
            apis = [struct.pack(">hhh", *api) for api in ((3, 0, 1), (17, 0, 1), (18, 0, 3), (36, 0, 0))]
            if version < 3:
                return struct.pack(">hi", 0, len(apis)) + b"".join(apis) + (struct.pack(">i", 0) if version > 0 else b"")
            return struct.pack(">hB", 0, len(apis) + 1) + b"".join(api + b"\0" for api in apis) + struct.pack(">iB", 0, 0)
        if key == 17:  # SaslHandshake
            return struct.pack(">hih", 0, 1, 5) + b"PLAIN"
        self.logins.append(body[4:].split(b"\0")[1:])
        text = b"not you"
        return struct.pack(">hh", 58, len(text)) + text + struct.pack(">i", 0)


class Secrets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.outside = pathlib.Path(tempfile.mkdtemp(prefix="weir-it-"))
        cls.file = cls.outside / "password"
        cls.file.write_text(BY_FILE + "\n")
        cls.cluster = Cluster(taskmanagers=0, options=["restart-strategy.type=none"])
        try:
            cls.cluster.start_taskmanager({"WEIR_IT_SECRET": BY_ENVIRONMENT})
            cls.cluster.wait_registered(1)
        except BaseException:
            cls.cluster.close(failed=True)
            raise
        cls.outputs = []

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()
        shutil.rmtree(cls.outside, ignore_errors=True)

    def weir(self, *arguments):
        done = self.cluster.weir(*arguments)
        self.outputs.append((" ".join(map(str, arguments)), done.stdout + done.stderr))
        return done

    def run_job(self, job, left=DATAGEN, right=BLACKHOLE):
        """Submits and waits for the end; the exit code and all that was printed."""
        done = self.weir("run", self.cluster.write(f"{job}.yaml", JOB.format(job=job, left=left, right=right)))
        return done.returncode, done.stdout + done.stderr

    def failed_job(self, job, **tables):
        """A job that is accepted and fails: what it says."""
        path = self.cluster.write(f"{job}.yaml", JOB.format(job=job, **{"left": DATAGEN, "right": BLACKHOLE, **tables}))
        done = self.weir("run", "-d", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.cluster.wait_state(done.stdout.split()[-1], "FAILED")
        return self.weir("status", job).stdout

    def sightings(self, text_sought):
        """Where the text is: files of the daemons (the job files that tests wrote apart), answers to every GET, outputs of `weir`."""
        texts = list(self.outputs)
        for path in self.cluster.folder.rglob("*"):
            if path.is_file() and path.suffix != ".yaml":
                texts.append((path.name, path.read_bytes().decode(errors="replace")))
        paths = ["/overview", "/config", "/jobs", "/jobs/overview", "/taskmanagers", "/jobmanager/config", "/jobmanager/log", "/metrics"]
        for job in self.cluster.get("/jobs")["jobs"]:
            at = f"/jobs/{job['id']}"
            paths += [at, f"{at}/status", f"{at}/plan", f"{at}/exceptions", f"{at}/checkpoints", f"{at}/checkpoints/config"]
            paths += [f"{at}/vertices/{vertex['id']}" for vertex in self.cluster.get(at)["vertices"]]
        for taskmanager in self.cluster.get("/taskmanagers")["taskmanagers"]:
            paths += [f"/taskmanagers/{taskmanager['id']}", f"/taskmanagers/{taskmanager['id']}/log"]
        for path in paths:
            status, text = self.cluster.http("GET", path)
            self.assertIn(status, (200, 404), f"{path}: {text}")  # 404: the job has no checkpoints
            texts.append((path, text))
        self.assertGreater(len(texts), 15)
        return [where for where, text in texts if text_sought in text]

    def tearDown(self):
        for command in (["list"], ["cluster"], ["logs"], ["logs", self.cluster.get("/taskmanagers")["taskmanagers"][0]["id"]]):
            self.assertEqual(self.weir(*command).returncode, 0)
        self.assertEqual(self.sightings(CANARY), [])

    def test_the_search_finds_what_is_shown(self):
        """The control of the others: a name that may be seen is."""
        name = "zq7shown4fx"
        self.assertEqual(self.run_job(name)[0], 0)
        self.weir("list")
        seen = self.sightings(name)
        self.assertTrue({"list", "/jobs/overview"} <= set(seen), seen)

    def test_broker_is_told_the_password_and_refuses_it(self):
        broker = Broker()
        self.addCleanup(broker.close)
        for job, reference, password in (("by-env", "${env:WEIR_IT_SECRET}", BY_ENVIRONMENT), ("by-file", f"${{file:{self.file}}}", BY_FILE)):
            broker.logins.clear()
            source = kafka(broker.address, password=reference)
            done = self.weir("run", "-d", self.cluster.write(f"{job}.yaml", JOB.format(job=job, left=source, right=BLACKHOLE)))
            self.assertEqual(done.returncode, 0, done.stderr)
            at = f"/jobs/{done.stdout.split()[-1]}"
            wait_for(lambda: "not you" in f"{self.cluster.get(at)} {self.cluster.get(at + '/exceptions')}", "the job says why it does not run")
            self.assertEqual(broker.logins[0], [b"u", password.encode()])
            self.weir("cancel", job)

    def test_sink_that_cannot_connect(self):
        sink = kafka("127.0.0.1:1", "properties.delivery.timeout.ms: 1000", password=f"${{file:{self.file}}}", source=False)
        text = self.failed_job("closed-sink", right=sink)
        self.assertIn("Kafka", text)

    def test_secret_that_is_refused_where_it_is_used(self):
        """What comes out of a reference is no number: the property is named, its value is not."""
        for job, reference in (("bad-env", "${env:WEIR_IT_SECRET}"), ("bad-file", f"${{file:{self.file}}}")):
            text = self.failed_job(job, left=kafka("127.0.0.1:1", f'properties.fetch.min.bytes: "{reference}"'))
            self.assertIn('"fetch.min.bytes": what its reference stands for is not a whole number', text)

    def test_secret_in_place_of_the_login_text(self):
        lines = ["properties.security.protocol: SASL_PLAINTEXT", "properties.sasl.mechanism: PLAIN",
                 f'properties.sasl.jaas.config: "${{file:{self.file}}}"']
        text = self.failed_job("bad-jaas", left=kafka("127.0.0.1:1", *lines))
        self.assertIn('"sasl.jaas.config" is not understood', text)

    def test_reference_to_nothing_is_named(self):
        text = self.failed_job("no-variable", left=kafka("127.0.0.1:1", password="${env:WEIR_IT_NOTHING}"))
        self.assertIn("WEIR_IT_NOTHING", text)
        text = self.failed_job("no-file", left=kafka("127.0.0.1:1", password=f"${{file:{self.outside}/nothing}}"))
        self.assertIn(f"{self.outside}/nothing", text)

    def test_secret_in_the_job_file_is_refused(self):
        code, text = self.run_job("literal", left=kafka("127.0.0.1:1", password=CANARY))
        self.assertEqual(code, 1)
        self.assertIn("is a secret, which a job file must not hold (its password): write password=\"${file:/path} or ${env:NAME}", text)
        code, text = self.run_job("literal-key", left=kafka("127.0.0.1:1", "properties.security.protocol: SSL",
                                                            f"properties.ssl.key.password: {CANARY}"))
        self.assertEqual(code, 1)
        self.assertIn("is a secret", text)
        code, text = self.run_job("librdkafkas-name", left=kafka("127.0.0.1:1", f"properties.sasl.password: {CANARY}"))
        self.assertEqual(code, 1)
        self.assertIn('there is no Kafka client property "sasl.password"', text)


if __name__ == "__main__":
    unittest.main()
