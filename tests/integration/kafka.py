"""A real Kafka broker for the tests: one for a whole run, started by the first test that asks for it; topics are of one test each."""

import atexit
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

from cluster import ROOT, free_port_row, lane, wait_for

SCRIPT = ROOT / "deploy" / "kafka" / "kafka.sh"
TOOL = ROOT / "build" / "kafka-tool"


class Broker:
    """kafka.sh with a folder and port of its own."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-kafka-"))
        self.port = free_port_row(2)  # and the controller's
        self.topics = 0
        self.run("install", timeout_s=600)
        try:
            self.run("start")
        except BaseException:
            self.close()
            raise

    @property
    def servers(self):
        return f"127.0.0.1:{self.port}"

    def run(self, *words, timeout_s=120):
        # Not pipes: the broker that `start` leaves behind would hold them open.
        with open(self.folder / "script.out", "w+b") as out:
            code = subprocess.run([SCRIPT, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=timeout_s,
                                  env={**os.environ, "KAFKA_DATA": str(self.folder), "KAFKA_PORT": str(self.port), "KAFKA_HEAP": "400m"}).returncode
            out.seek(0)
            text = out.read().decode(errors="replace")
        if code != 0:
            raise AssertionError(f"kafka.sh {' '.join(words)}: {code}\n{text}")
        return text

    def topic(self, name, partitions=1, **settings):
        """Makes a topic; its full name is new in every call."""
        self.topics += 1
        full = f"{name}-{self.topics}"
        self.run("topic", full, str(partitions), *(f"{key.replace('_', '.')}={value}" for key, value in settings.items()))
        return full

    def tool(self, verb, topic, *words, lines=None, timeout_s=180):
        """Runs kafka-tool to its end; its output's lines, split at tabs."""
        result = subprocess.run([TOOL, verb, self.servers, topic, *map(str, words)], timeout=timeout_s, capture_output=True, text=True,
                                input=None if lines is None else "".join(f"{partition}\t{value}\n" for partition, value in lines))
        if result.returncode != 0:
            raise AssertionError(f"kafka-tool {verb} {topic}: {result.stderr}")
        return [line.split("\t") for line in result.stdout.splitlines()]

    def produce(self, topic, lines):
        self.tool("produce", topic, lines=lines)

    def close(self):
        self.run("kill")
        shutil.rmtree(self.folder, ignore_errors=True)


class Reader:
    """Reads a topic from the beginning, all along, into a file."""

    def __init__(self, broker, topic, folder, isolation="read_committed"):
        self.path = folder / f"{topic}.{isolation}.tsv"
        self.read_bytes = 0
        self.read = []
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen([TOOL, "consume", broker.servers, topic, *(["uncommitted"] if isolation == "read_uncommitted" else [])],
                                            stdin=subprocess.DEVNULL, stdout=out)

    def records(self):
        """(partition, offset, arrival us, key, value) of what has come so far; null is None."""
        with open(self.path, "rb") as file:
            file.seek(self.read_bytes)
            data = file.read()
        whole = data[:data.rfind(b"\n") + 1]
        self.read_bytes += len(whole)
        for line in whole.decode().split("\n")[:-1]:
            partition, offset, at, key, value = line.split("\t", 4)
            self.read.append((int(partition), int(offset), int(at), None if key == "\\N" else key, None if value == "\\N" else value))
        return list(self.read)

    def wait(self, enough, what, deadline_s=30):
        """The records, once enough(records)."""
        return wait_for(lambda: (lambda records: records if enough(records) else None)(self.records()), what, deadline_s)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)


class Producer(threading.Thread):
    """Feeds the lines at a steady rate beside the test."""

    def __init__(self, broker, topic, lines, rate):
        super().__init__(daemon=True)
        self.words = [TOOL, "produce", broker.servers, topic, str(rate)]
        self.text = "\n".join(lines).encode() + b"\n"
        self.failure = None
        self.start()

    def run(self):
        result = subprocess.run(self.words, input=self.text, capture_output=True)
        self.failure = result.stderr.decode() if result.returncode != 0 else None


_broker = []


def broker():
    """The run's broker; skips the test, with the reason, where there can be none."""
    if lane()[0] != 0:
        raise AssertionError("the broker is the first lane's; run.py takes those classes for its users whose methods speak of the module kafka")
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise unittest.SkipTest(f"no Kafka broker: there is no {program}; run deploy/deps.sh")
    if not TOOL.exists():
        raise unittest.SkipTest(f"no {TOOL.relative_to(ROOT)}: run `make integration`")
    if not _broker:
        _broker.append(Broker())
        atexit.register(close_broker)
    return _broker[0]


def close_broker():
    while _broker:
        _broker.pop().close()
