"""One network for the daemons of a test: a namespace a host, joined by chaos-wire, where each way of each pair can be cut, slowed or made lossy."""

import os
import subprocess

from cluster import ROOT

WIRE = ROOT / "build" / "chaos-wire"


class Net:
    """Hosts by name; "driver" is the caller's own namespace. Ends with the process, and leaves nothing behind."""

    def __init__(self, hosts, seed):
        self.hosts = ["driver", *hosts]
        self.process = subprocess.Popen([WIRE, str(len(self.hosts)), str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        words = self.process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise AssertionError("chaos-wire did not start")
        self.namespaces = {host: f"/proc/{self.process.pid}/fd/{fd}" for host, fd in zip(self.hosts, words[1:])}
        for host in self.hosts:
            self._configure(host)

    def _mac(self, host):
        return f"02:00:00:00:00:{self.hosts.index(host):02x}"

    def address(self, host):
        return f"10.99.0.{self.hosts.index(host) + 1}"

    def _configure(self, host):
        lines = ["link set lo up", f"link set net0 address {self._mac(host)} mtu 9000 up", f"addr add {self.address(host)}/24 dev net0"]
        lines += [f"neigh replace {self.address(peer)} lladdr {self._mac(peer)} dev net0 nud permanent" for peer in self.hosts if peer != host]
        subprocess.run([*self.enter(host), "ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)

    def enter(self, host):
        """What a command line begins with to run on the host."""
        return [] if host == "driver" else ["nsenter", f"--net={self.namespaces[host]}"]

    def _set(self, source, target, cut=0, delay_ms=0, jitter_ms=0, loss=0.0):
        a, b = self.hosts.index(source), self.hosts.index(target)
        self.process.stdin.write(f"set {a} {b} {cut} {int(delay_ms * 1000)} {int(jitter_ms * 1000)} {int(loss * 1e6)}\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "ok\n":
            raise AssertionError("chaos-wire is gone")

    def cut(self, sources, targets, both=True):
        """Nothing goes from the sources to the targets any more, nor, with both, back."""
        for source in sources:
            for target in targets:
                if source != target:
                    self._set(source, target, cut=1)
                    if both:
                        self._set(target, source, cut=1)

    def slow(self, sources, targets, delay_ms, jitter_ms=0, loss=0.0):
        for source in sources:
            for target in targets:
                if source != target:
                    self._set(source, target, delay_ms=delay_ms, jitter_ms=jitter_ms, loss=loss)
                    self._set(target, source, delay_ms=delay_ms, jitter_ms=jitter_ms, loss=loss)

    def heal(self, some=None, others=None):
        """All paths between some hosts and others are as new; without arguments, all."""
        for source in some or self.hosts:
            for target in others or self.hosts:
                if source != target:
                    self._set(source, target)
                    self._set(target, source)

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def unavailable():
    """Why there can be no such network here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun"
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", "mount -t tmpfs none /mnt"]
    result = subprocess.run(command, capture_output=True, text=True)
    return None if result.returncode == 0 else f"no namespaces: {result.stderr.strip()}"
