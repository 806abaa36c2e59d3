"""Real Kafka brokers for the chaos tests: one on each of some hosts, all of one cluster."""

import base64
import contextlib
import os
import pathlib
import signal
import subprocess
import threading
import uuid

import kafka
from load import LOAD
from patience import wait_for

PORT, CONTROLLER_PORT = 9092, 9093
STATE = "__transaction_state"  # who leads its only partition is the coordinator of all transactions
CURSORS = "__consumer_offsets"
STARTS_MAX = 200


class Node:
    """One broker, on a host of its own. The first one is the cluster's controller, too."""

    def __init__(self, net, folder, number, hosts, cluster_id):
        self.net, self.number, self.host = net, number, hosts[number - 1]
        self.address = net.address(self.host)
        self.folder = folder / self.host
        self.folder.mkdir()
        self.process = None  # when it was not kafka.sh that started it
        self.words = None    # the broker's command line
        self.killed = False
        self.starts = 0
        listeners = [f"PLAINTEXT://{self.address}:{PORT}"] + [f"CONTROLLER://{self.address}:{CONTROLLER_PORT}"] * (number == 1)
        self.environment = {
            "KAFKA_DATA": str(self.folder), "KAFKA_HOST": self.address, "KAFKA_PORT": str(PORT), "KAFKA_CLUSTER_ID": cluster_id,
            "KAFKA_HEAP": os.environ.get("KAFKA_HEAP", "400m" if number == 1 else "256m"),
            "KAFKA_SETTINGS": "\n".join([
                f"node.id={number}", f"process.roles={'broker,controller' if number == 1 else 'broker'}", f"listeners={','.join(listeners)}",
                f"controller.quorum.voters=1@{net.address(hosts[0])}:{CONTROLLER_PORT}",
                # Who led and has come back leads again, soon.
                "leader.imbalance.check.interval.seconds=2", "leader.imbalance.per.broker.percentage=0"])}

    def start(self):
        with open(self.folder / "script.out", "w+b") as out:
            code = subprocess.run([*self.net.enter(self.host), kafka.SCRIPT, "start"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=120,
                                  env={**os.environ, **self.environment}).returncode
            out.seek(0)
            text = out.read().decode(errors="replace")
        if code != 0:
            raise AssertionError(f"kafka.sh start on {self.host}: {code}\n{text}")

    def pid(self):
        return self.process.pid if self.process else int((self.folder / "broker.pid").read_text())

    def alive(self):
        with contextlib.suppress(OSError):
            return pathlib.Path(f"/proc/{self.pid()}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
        return False

    def kill(self):
        if not self.alive():
            return
        pid = self.pid()
        self.killed = True
        self.words = self.words or pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait(30)
        wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the broker is gone")

    def start_again(self):
        """Starts the process anew, and waits for nothing: it is ready when it has found the controller, which may be frozen."""
        if self.alive():
            return
        with open(self.folder / "broker.out", "ab") as out:
            self.process = subprocess.Popen([*self.net.enter(self.host), *self.words], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.starts += 1
        self.killed = False

    def tend(self):
        """As an init system would: a broker gives up after a minute without the controller."""
        if self.killed or self.alive():
            return
        if self.process is None or self.starts > STARTS_MAX:
            raise AssertionError(f"the broker on {self.host} ended by itself")
        self.start_again()

    def freeze(self):
        if self.alive():
            os.kill(self.pid(), signal.SIGSTOP)

    def thaw(self):
        if self.alive():
            os.kill(self.pid(), signal.SIGCONT)


class HostBrokers:
    """The data is on the first host's broker only; the coordinators of transactions and groups are on the last one's, and move to the first one's
    when that is gone."""

    def __init__(self, net, folder, hosts):
        identity = next(text for text in iter(lambda: base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="), None) if text[0] != "-")
        self.net, self.hosts = net, hosts
        self.topics = 0
        self.nodes = [Node(net, folder, number + 1, hosts, identity) for number in range(len(hosts))]
        self.servers = ",".join(f"{node.address}:{PORT}" for node in self.nodes)
        try:
            self.start()
        except BaseException:
            self.kill()
            raise

    def start(self):
        failures = []

        def start_one(node):
            try:
                node.start()
            except Exception as failure:
                failures.append(failure)
        threads = [threading.Thread(target=start_one, args=[node]) for node in self.nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        last_first = ",".join(str(node.number) for node in reversed(self.nodes))
        for name, compression in ((STATE, "uncompressed"), (CURSORS, "producer")):
            self.load("topic", name, last_first, 1, "cleanup.policy=compact", f"compression.type={compression}", "segment.bytes=10485760")

    def run(self, program, verb, servers, *words):
        """What it says, run on the first host."""
        result = subprocess.run([*self.net.enter(self.hosts[0]), program, verb, servers, *map(str, words)], timeout=60, capture_output=True, text=True)
        if result.returncode != 0:
            raise AssertionError(f"{program.name} {verb} {' '.join(map(str, words))}: {result.stderr}")
        return result.stdout

    def load(self, verb, *words):
        return self.run(LOAD, verb, f"{self.nodes[0].address}:{PORT}", *words)

    def topic(self, name, partitions):
        """Makes a topic; its full name is new in every call."""
        self.topics += 1
        self.load("topic", f"{name}-{self.topics}", 1, partitions)
        return f"{name}-{self.topics}"

    def tool(self, verb, topic, *words):
        return [line.split("\t") for line in self.run(kafka.TOOL, verb, self.servers, topic, *words).splitlines()]

    def coordinator(self):
        """The number of the node that the controller has made the coordinator, -1: none, or no broker answers in time."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            return int(self.load("leader", STATE, 0))
        return -1

    def state_text(self):
        text = ", ".join(f"{node.host} {'runs' if node.alive() else 'is down'}" for node in self.nodes)
        return f"{text}, coordinator {self.coordinator()}"

    def kill(self):
        for node in self.nodes:
            node.kill()
