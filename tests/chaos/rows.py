"""The scenarios of RELIABILITY 2.3 that need a whole cluster, by their numbers. All of them play on one cluster with one job at full rate; output is
judged record by record as it comes, after each scenario the job must run again with new checkpoints, and at the end the whole oracle is asked."""

import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import traceback

import faults
import rig
from faults import others
from patience import DEADLINE_S, wait_for
from storm import SMALL

ROWS = {}
STORM_S = float(os.environ.get("CHAOS_STORM_S", "60"))


class Skip(Exception):
    """Why a scenario cannot be played here."""


def row(number, title, jobmanagers=1):
    def enter(function):
        function.title, function.jobmanagers = title, jobmanagers
        ROWS[number] = function
        return function
    return enter


class Stage:
    """What the scenarios share: the cluster in peace, and what may not have changed since."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.mark()

    def mark(self):
        self.restarts = self.cluster.watch.restarts
        self.checkpoint = self.cluster.watch.checkpoint
        self.leader = self.cluster.leader()

    def peace(self, what, deadline_s=rig.GRACE_S):
        return self.cluster.wait_stable(what, deadline_s)

    def nothing_restarted(self):
        if self.cluster.watch.restarts != self.restarts:
            raise AssertionError(f"{self.cluster.watch.restarts - self.restarts} restarts of tasks")

    def restarted(self, at_most):
        restarts = self.cluster.watch.restarts - self.restarts
        if not 1 <= restarts <= at_most:
            raise AssertionError(f"{restarts} restarts, expected 1 to {at_most}")

    def arm_leader(self, failpoint):
        """A JobManager that will die at the failpoint is, or becomes, the leader. Returns who is armed."""
        cluster, environment = self.cluster, {"WEIR_FAILPOINT": failpoint}
        old = cluster.leader()
        if len(cluster.jm_hosts) == 1:
            cluster.kill(old)
            cluster.restart(old, environment=environment)
            return [old]
        armed = others(cluster.jm_hosts, old)
        for host in armed:  # one at a time: a majority stays
            cluster.kill(host)
            cluster.restart(host, environment=environment)
            self.peace(f"{host} is armed")
        cluster.daemon(old).stop()
        cluster.restart(old)
        return armed

    def wait_death(self, armed, failpoint):
        """One of them dies there, and everybody is unarmed again."""
        cluster = self.cluster
        wait_for(lambda: any(not cluster.alive(host) for host in armed), f"a leader reaches {failpoint}")
        for host in armed:
            daemon = cluster.daemon(host)
            if daemon.process.poll() is None:
                daemon.kill()
            if daemon.process.returncode != -signal.SIGKILL:
                raise AssertionError(f"{host} ended with {daemon.process.returncode}\n{daemon.log_tail()}")
            daemon.killed = True
            cluster.restart(host)

    def leader_dies_at(self, failpoint):
        armed = self.arm_leader(failpoint)
        self.wait_death(armed, failpoint)
        self.peace(f"a leader died at {failpoint}")
        self.nothing_restarted()

    def new_checkpoints(self, count, what, deadline_s=30):
        begin = self.cluster.watch.checkpoint
        wait_for(lambda: self.cluster.watch.checkpoint >= begin + count, f"{count} new checkpoints: {what}", deadline_s)

    def new_copies(self, count, what, deadline_s=rig.GRACE_S):
        """Waits until so many further records of every partition have come out."""
        begin = self.cluster.copies.latest.lowest
        wait_for(lambda: self.cluster.copies.latest.lowest >= begin + count, f"{count} new copies in each partition: {what}", deadline_s)

    def wait_new_leader(self):
        """Another than before, when there can be another."""
        return self.cluster.wait_leader(besides=[self.leader] if len(self.cluster.jm_hosts) > 1 else [])


@row(7, "the leader dies after the last acknowledgement, before COMPLETE is proposed")
def leader_dies_before_complete(stage):
    stage.leader_dies_at("jm.all_acks:1")


@row(8, "the leader dies after COMPLETE is committed, before anyone is notified")
def leader_dies_after_complete(stage):
    stage.leader_dies_at("jm.after_commit:1")


@row(9, "the leader dies while it deploys")
def leader_dies_in_deploy(stage):
    armed = stage.arm_leader("jm.deploy:2")
    stage.peace("the leader is armed")
    stage.nothing_restarted()
    stage.cluster.kill("tm1")
    stage.wait_death(armed, "jm.deploy:2")
    stage.peace("deployed by the successor")
    stage.restarted(3)


@row(10, "the leader is cut off from the other JobManagers, not from TaskManagers", jobmanagers=3)
def leader_cut_from_jobmanagers(stage):
    cluster = stage.cluster
    cluster.net.cut([stage.leader], others(cluster.jm_hosts, stage.leader))
    stage.wait_new_leader()
    stage.new_checkpoints(5, "under the new leader, the old one still cut off")
    status, text = cluster.http(stage.leader, "GET", "/overview")
    if status == 200:
        raise AssertionError(f"{stage.leader} still answers for the cluster: {text}")
    cluster.net.heal([stage.leader])
    stage.peace("the old leader is back")
    stage.nothing_restarted()


@row(11, "the leader is cut off from the TaskManagers, not from JobManagers")
def leader_cut_from_taskmanagers(stage):
    cluster = stage.cluster
    cluster.net.cut([stage.leader], cluster.tm_hosts)
    reason = f"{rig.PARALLELISM} slots needed, 0 free of 0 on 0 TaskManagers"

    def noticed():
        host, detail = cluster.ask(f"/jobs/{cluster.job}")
        return host and (host if host != stage.leader else detail["state"] == "RESTARTING" and detail["waiting-for"] == reason)
    if wait_for(noticed, f"the job says that it waits: {reason}; or another one leads") is True:
        status = cluster.weir("status", cluster.job)
        if f"waiting   {reason}\n" not in status.stdout and cluster.leader() == stage.leader:
            raise AssertionError(f"`weir status` does not say that it waits for slots: {status.stdout}{status.stderr}")
    else:
        stage.peace("the job goes on under another leader, the old one still cut off")
    cluster.net.heal([stage.leader])
    stage.peace("the TaskManagers are back")


@row(12, "a TaskManager hears and cannot speak")
def taskmanager_mute(stage):
    cluster = stage.cluster
    cluster.net.cut(["tm1"], cluster.jm_hosts, both=False)
    wait_for(lambda: cluster.watch.restarts > stage.restarts or not uses(cluster, "tm1"), "the job goes on without tm1")
    stage.new_checkpoints(3, "tm1 is still mute")
    cluster.net.heal(["tm1"])
    stage.peace("tm1 speaks again")


def uses(cluster, host):
    """Whether a task of the job is on the host."""
    _, detail = cluster.ask(f"/jobs/{cluster.job}")
    for vertex in detail["vertices"] if detail else ():
        _, one = cluster.ask(f"/jobs/{cluster.job}/vertices/{vertex['id']}")
        if one and any(task["taskmanager-id"].startswith(f"{cluster.net.address(host)}:") for task in one["subtasks"]):
            return True
    return False


def used_taskmanager(cluster):
    return wait_for(lambda: next((host for host in cluster.tm_hosts if uses(cluster, host)), None), "tasks are somewhere")


@row(13, "a zombie TaskManager: frozen until the next attempt runs, then woken")
def zombie_taskmanager(stage):
    cluster = stage.cluster
    host = used_taskmanager(cluster)
    cluster.freeze(host)
    wait_for(lambda: cluster.watch.restarts > stage.restarts, "the job restarts")
    stage.new_checkpoints(3, "the zombie sleeps")
    restarts = cluster.watch.restarts
    cluster.thaw(host)
    stage.peace("the zombie is awake")
    if cluster.watch.restarts != restarts:
        raise AssertionError("the zombie made the job restart once more")


@row(14, "a zombie JobManager: the leader is frozen until there is another, then woken")
def zombie_jobmanager(stage):
    cluster = stage.cluster
    cluster.freeze(stage.leader)
    if len(cluster.jm_hosts) > 1:
        stage.wait_new_leader()
        stage.new_checkpoints(3, "the zombie sleeps")
    else:
        time.sleep(1)
    cluster.thaw(stage.leader)
    stage.peace("the zombie is awake")
    stage.nothing_restarted()


def wait_cpu(cluster, seconds, what):
    """Waits until the TaskManagers have used so much CPU."""
    def used():
        return sum(cluster.daemon(host).cpu_s() for host in cluster.tm_hosts)
    begin = used()
    wait_for(lambda: used() >= begin + seconds, what)


@row(15, "two of three JobManagers are down: jobs run on, no checkpoint completes, the API says 503", jobmanagers=3)
def majority_down(stage):
    cluster = stage.cluster
    rest = next(host for host in cluster.jm_hosts if host != stage.leader)
    down = others(cluster.jm_hosts, rest)
    for host in down:
        cluster.kill(host)
    wait_for(lambda: cluster.http(rest, "GET", "/overview")[0] == 503, "without a majority the API says so")
    wait_cpu(cluster, 0.5, "tasks run on, and end the transactions of the last checkpoint")
    copies = cluster.copies.latest.received
    wait_cpu(cluster, 0.5, "tasks run on without a majority")
    if cluster.copies.latest.received != copies:
        raise AssertionError(f"a checkpoint completed without a majority: {cluster.copies.latest.received - copies} copies")
    status, text = cluster.http(rest, "GET", "/overview")
    if status != 503:
        raise AssertionError(f"without a majority the API answers {status}: {text}")
    cluster.restart(down[0])
    stage.peace("one is back")  # it starts the other one as well
    stage.nothing_restarted()


def log_lengths(cluster):
    return {host: cluster.daemon(host).log_path.stat().st_size for host in cluster.hosts}


def logged(cluster, event, field, job, begin=None, end=None):
    """Numbers that all daemons' logs tell of the job, those of a daemon in order; between two lengths."""
    words = re.compile(rf"event={event} .*\bjob={job} .*\b{field}=(\d+)".encode())
    texts = {host: cluster.daemon(host).log_path.read_bytes()[begin[host] if begin else 0:end[host] if end else None] for host in cluster.hosts}
    return [int(number) for text in texts.values() for number in words.findall(text)]


def submitted(cluster, job, text):
    """The answer to a submission under that id."""
    path = f"/jobs?jobid={job}&name=again.yaml&parallelism=1"
    return cluster.http(cluster.wait_leader(), "POST", path, text.encode(), timeout_s=30, Content_Type="application/yaml")


@row(16, "a power cut: every daemon killed at once; no id of a job, attempt or checkpoint comes twice")
def power_cut(stage):
    cluster, job = stage.cluster, stage.cluster.job
    path = cluster.folder / "before-the-cut.yaml"
    path.write_text(SMALL.format(name="before-the-cut"))
    ran = cluster.weir("run", "-d", "-p", "1", str(path))
    over = ran.stdout.strip()
    wait_for(lambda: (cluster.ask(f"/jobs/{over}")[1] or {}).get("state") == "FINISHED", f"a small job has finished: {ran.stdout}{ran.stderr}")
    stage.mark()
    for host in cluster.hosts:
        cluster.kill(host)
    cut = log_lengths(cluster)
    made = [int(directory.name[len("chk-"):]) for directory in (cluster.checkpoints / job).glob("chk-*")]
    stage.peace("power is back")
    stage.restarted(3)
    ended = "checkpoint_(?:completed|aborted)"
    check_new("checkpoints", max([*made, *logged(cluster, ended, "checkpoint", job, end=cut)]),
              logged(cluster, "checkpoint_completed", "checkpoint", job, begin=cut))
    check_new("attempts", max(logged(cluster, "attempt_deployed", "attempt", job, end=cut)),
              logged(cluster, "attempt_deployed", "attempt", job, begin=cut))
    ids = logged(cluster, ended, "checkpoint", job)
    if len(ids) != len(set(ids)):
        raise AssertionError(f"checkpoints that ended twice: {sorted(id for id in set(ids) if ids.count(id) > 1)}")
    for id in (over, job):  # whether it has ended or runs: an id is its job's for ever
        status, text = submitted(cluster, id, SMALL.format(name="after-the-cut"))
        if status != 409:
            raise AssertionError(f"job {id} is accepted with other contents: {status} {text}")
    status, text = submitted(cluster, over, path.read_text())
    _, detail = cluster.ask(f"/jobs/{over}")
    if status != 202 or detail is None or detail["state"] != "FINISHED" or logged(cluster, "attempt_deployed", "attempt", over, begin=cut):
        raise AssertionError(f"a job that had finished began anew: {detail}; {status} {text}")


def check_new(what, newest, after):
    """Those that came after the cut are all greater than the newest before."""
    if not after or min(after) <= newest:
        raise AssertionError(f"{what} after the power cut: {after[:5]}..., the newest before was {newest}")


def wait_declined(cluster, count, after, what):
    """Waits until the leader has seen so many checkpoints behind that one fail for want of room (it tells of its last ten); the newest of them."""
    def newest():
        _, checkpoints = cluster.ask(f"/jobs/{cluster.job}/checkpoints")
        ids = [entry["id"] for entry in checkpoints["history"] if entry["status"] == "FAILED" and entry["id"] > after
               and "No space left on device" in entry["failure_message"]] if checkpoints else []
        return max(ids) if len(ids) >= count else None
    return wait_for(newest, what)


@row(17, "the checkpoint directory is full: checkpoints are declined, no task restarts, and all goes on when there is room")
def checkpoint_disk_full(stage):
    cluster = stage.cluster
    faults.fill(cluster.checkpoints)
    try:
        first = wait_declined(cluster, 2, 0, "checkpoints are declined, and why")
        newest = wait_declined(cluster, 8, first, "further checkpoints are declined")
        if len(cluster.jm_hosts) > 1:  # nor does another leader take it for a failure
            cluster.kill(cluster.leader() or stage.leader)
            cluster.tend()
            wait_declined(cluster, 4, newest, "checkpoints of the next leader are declined")
        if cluster.watch.checkpoint > first:
            raise AssertionError(f"checkpoint {cluster.watch.checkpoint} completed on a full disk, on which {first} did not")
    finally:
        faults.empty(cluster.checkpoints)
    stage.peace("there is room again")
    stage.nothing_restarted()


@row(18, "the disk of the leader's log is full")
def log_disk_full(stage):
    cluster, host = stage.cluster, stage.leader
    cluster.may_leave.add(host)
    faults.fill(cluster.folder / f"{host}.data")
    try:
        if len(cluster.jm_hosts) > 1:
            stage.wait_new_leader()
            stage.new_checkpoints(3, "the disk is still full")
        else:
            wait_for(lambda: not cluster.alive(host), "the only JobManager cannot write its log, and leaves")
    finally:
        faults.empty(cluster.folder / f"{host}.data")
    stage.peace("there is room again")
    cluster.may_leave.discard(host)
    stage.nothing_restarted()


@contextlib.contextmanager
def failing_syncs(daemon):
    """Every fsync and fdatasync of the daemon fails with EIO. How many have, says the function that it gives."""
    path = pathlib.Path(f"{daemon.log_path}.strace")
    with open(path, "wb") as out:
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-p", str(daemon.process.pid), "-e", "trace=fsync,fdatasync",
                                   "-e", "inject=fsync,fdatasync:error=EIO"], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield lambda: path.read_text(errors="replace").count("(INJECTED)")
    finally:
        tracer.terminate()
        tracer.wait(10)


@row(19, "fsync fails with EIO: of the leader's log, and of a TaskManager's checkpoints")
def failing_disk(stage):
    cluster, host = stage.cluster, stage.leader
    cluster.may_leave.add(host)
    with failing_syncs(cluster.daemon(host)):
        wait_for(lambda: not cluster.alive(host) or cluster.leader() not in (host, None), "the leader leaves, or leads no more")
    stage.peace("the leader's disk is well again")
    cluster.may_leave.discard(host)
    stage.nothing_restarted()
    worker = used_taskmanager(cluster)
    cluster.may_leave.add(worker)
    with failing_syncs(cluster.daemon(worker)) as failed:
        wait_for(lambda: failed() >= 3 or (failed() > 0 and not cluster.alive(worker)), "the TaskManager has met bad syncs")
    stage.peace("the TaskManager's disk is well again")
    cluster.may_leave.discard(worker)


@row(22, "wall clocks jump by an hour, forward and backward")
def clocks_jump(stage):
    cluster = stage.cluster
    if "san" in cluster.build.name:
        raise Skip("a sanitizer's build cannot be given another clock")
    hosts = [stage.leader, *cluster.tm_hosts, *others(cluster.jm_hosts, stage.leader)]
    for jump_s in (3600, -3600, 0):
        for i, host in enumerate(hosts):
            cluster.set_clock(host, jump_s if i % 2 == 0 else -jump_s)
        stage.new_checkpoints(4, f"clocks are off by {jump_s} s", 10)
    if cluster.leader() != stage.leader:
        raise AssertionError("another JobManager leads")
    stage.peace("clocks were set back and forth")
    # Nor may a wait that was going on when the clock was set back last longer: connections are made again at once.
    for host in hosts:
        cluster.set_clock(host, -7200)
    stage.peace("clocks were set back by two hours")
    for host in cluster.jm_hosts:
        cluster.kill(host)
    stage.peace("everybody is connected again")
    stage.nothing_restarted()


@row(25, "the coordinator of transactions moves (killed, frozen, cut off from the other broker only) and back; answers to commits are lost or late")
def coordinator_moves(stage):
    cluster, brokers = stage.cluster, stage.cluster.broker
    stays, moves = brokers.nodes[0], brokers.nodes[-1]
    worker = used_taskmanager(cluster)
    for lost_s in (0.3, 1, 2.5):
        cluster.net.cut(brokers.hosts, [worker], both=False)
        time.sleep(lost_s)
        cluster.net.heal([worker], brokers.hosts)
        stage.peace(f"answers were lost for {lost_s} s")
    for way in (faults.coordinator_killed, faults.coordinator_frozen, faults.coordinator_cut_from_brokers):
        wait_for(lambda: brokers.coordinator() == moves.number, f"{moves.host} is the coordinator")
        with contextlib.contextmanager(way)(cluster, random.Random()):  # how long it would last as a random fault is nothing here
            wait_for(lambda: brokers.coordinator() == stays.number, f"the coordinator moves: {way.kind}")
            stage.new_copies(1, f"transactions are committed by the other coordinator: {way.kind}")
        stage.peace(way.kind)
    cluster.net.slow(cluster.tm_hosts, brokers.hosts, delay_ms=300, jitter_ms=300, loss=0.03)
    for node in (moves, stays):
        stage.new_copies(1000, f"links are slow, {node.host} will die", 180) # fencing, marking and reading the cursor take some 15 s there, each time
        node.kill()
        node.start_again()
    cluster.net.heal(cluster.tm_hosts, brokers.hosts)
    stage.peace("links are quick again")


@contextlib.contextmanager
def cgroup(controller, **limits):
    path = pathlib.Path(f"/sys/fs/cgroup/{controller}/weir-chaos-{os.getpid()}-{time.time_ns()}")
    try:
        path.mkdir()
    except OSError as error:
        raise Skip(f"no control group of {controller}: {error}") from None
    try:
        for name, value in limits.items():
            (path / name.replace("__", ".")).write_text(str(value))
        yield path
    finally:
        def gone():
            for pid in (path / "tasks").read_text().split():
                with contextlib.suppress(OSError):  # it may have ended
                    (path.parent / "tasks").write_text(pid)
            with contextlib.suppress(OSError):
                path.rmdir()
            return not path.exists()
        wait_for(gone, f"{path} can be removed")


def task_threads(daemon, name):
    """Thread ids by the beginning of the thread's name."""
    for task in pathlib.Path(f"/proc/{daemon.process.pid}/task").iterdir():
        with contextlib.suppress(OSError):
            if (task / "comm").read_text().startswith(name):
                yield task.name


@row(27, "one task is hundreds of times slower than the others")
def slow_task(stage):
    cluster = stage.cluster
    worker = used_taskmanager(cluster)
    # A thread may be stopped while it holds a lock that others need (malloc's): for less than a period, which must be short beside heartbeat.timeout.
    with cgroup("cpu", cpu__cfs_period_us=500000, cpu__cfs_quota_us=1000) as group:
        threads = list(task_threads(cluster.daemon(worker), "read -> valid"))
        if not threads:
            raise AssertionError(f"no thread of the source on {worker}")
        (group / "tasks").write_text(threads[0])

        def throttled():
            return int((group / "cpu.stat").read_text().split("nr_throttled ", 1)[1].split()[0])
        wait_for(lambda: throttled() >= 20, "it is slowed down for longer than a checkpoint may take")  # twice a second
        _, checkpoints = cluster.ask(f"/jobs/{cluster.job}/checkpoints")
        print(f"    slowed down {throttled()} times; checkpoints {stage.checkpoint} to {cluster.watch.checkpoint}, {checkpoints['counts']}", flush=True)
        stage.nothing_restarted()
        for host in cluster.tm_hosts:
            if not cluster.alive(host):
                raise AssertionError(f"{host} is gone")
    stage.peace("the task is quick again")
    stage.nothing_restarted()


def squeeze(group):
    """The least limit that the memory in use allows."""
    limit = int((group / "memory.usage_in_bytes").read_text()) + (1 << 20)
    with contextlib.suppress(OSError):  # EBUSY: it cannot be less
        while limit > 0:
            (group / "memory.limit_in_bytes").write_text(str(limit))
            limit -= 1 << 20


@row(28, "the kernel kills a TaskManager for its memory")
def out_of_memory(stage):
    cluster = stage.cluster
    with cgroup("memory") as group:
        first, second = cluster.tm_hosts[:2]
        cluster.kill(first)
        cluster.restart(first, prefix=["sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"])
        stage.peace("one has a limit")
        squeeze(group)
        cluster.kill(second)  # now tasks have to go there
        wait_for(lambda: not cluster.alive(first), "the kernel kills it", 60)
        if cluster.daemon(first).process.returncode != -signal.SIGKILL or "oom_kill 0" in (group / "memory.oom_control").read_text():
            raise AssertionError(f"{first} ended with {cluster.daemon(first).process.returncode}, not by the kernel")
        cluster.daemon(first).killed = True
        cluster.restart(first)
    stage.peace("memory enough")


@row(37, "lost JobManagers are replaced by empty ones, at another address and at the same one, and the leader dies meanwhile", jobmanagers=3)
def replacement(stage):
    cluster = stage.cluster
    lost = next(host for host in cluster.jm_hosts if host != stage.leader)
    cluster.kill(lost)
    cluster.jm_hosts[cluster.jm_hosts.index(lost)] = cluster.spare
    replace(stage, lost, cluster.spare)
    cluster.jobmanagers.pop(lost)
    cluster.spare = lost
    again = next(host for host in cluster.jm_hosts if host != cluster.leader())
    cluster.kill(again)
    replace(stage, again, again)
    stage.nothing_restarted()


def replace(stage, old, new):
    cluster = stage.cluster
    data = cluster.folder / f"{new}.data"
    for path in data.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    cluster.joins.add(new)
    cluster.start_jobmanager(new)
    words = ["cluster", "replace-jobmanager", cluster.rpc_address(old), cluster.rpc_address(new)]
    first = cluster.begin_weir(*words)
    time.sleep(0.1)
    leader = cluster.wait_leader()
    if leader != new:
        cluster.kill(leader)
        cluster.restart(leader)
    print(f"    {old} by {new}, {leader} killed: {first.wait(150)} {first.communicate()[1].strip()}", flush=True)
    wait_for(lambda: cluster.weir(*words).returncode == 0, "the command is done, after the leader's death as well", 60)
    _, document = cluster.ask("/cluster")
    voters = sorted(jm["rpc"].split("//")[-1] for jm in document["jobmanagers"] if jm["role"] in ("leader", "standby"))
    if voters != sorted(map(cluster.rpc_address, cluster.jm_hosts)):
        raise AssertionError(f"members: {document['jobmanagers']}")
    stage.peace(f"{new} is a member")
    # From now on a majority needs it.
    other = next(host for host in cluster.jm_hosts if host not in (new, cluster.leader()))
    cluster.kill(other)
    stage.new_checkpoints(3, f"{other} is down, {new} has a vote")
    stage.peace(f"{other} is back")


@row(38, f"a storm: a TaskManager dies every 3 s and a JobManager every 10 s, for {STORM_S:g} s, ten quiet seconds in each minute")
def storm(stage):
    cluster = stage.cluster
    end, kills = time.monotonic() + STORM_S, 0
    next_jm = time.monotonic() + 10
    while time.monotonic() < end:
        cluster.kill(cluster.tm_hosts[kills % 3])
        kills += 1
        if time.monotonic() >= next_jm:
            cluster.kill(cluster.leader() or cluster.jm_hosts[0])
            next_jm += 10
        time.sleep(0.3)
        cluster.tend()
        time.sleep(2.7)
        cluster.check_output()
        if kills % 17 == 0:
            stage.peace("ten quiet seconds", 10)
    print(f"    {kills} TaskManagers killed", flush=True)
    stage.peace("after the storm")


def answer_to(address, data, words, certificate):
    """What comes back for the data until it has the words, or the other side closes; certificate: of a node of the cluster, None: no TLS."""
    host, port = address.rsplit(":", 1)
    answer = b""
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(socket.create_connection((host, int(port)), DEADLINE_S))
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # who dials does not ask here
            context.load_cert_chain(certificate)
            stream = stack.enter_context(context.wrap_socket(stream, suppress_ragged_eofs=True))
        stream.sendall(data)
        with contextlib.suppress(ConnectionError):
            while not all(word in answer for word in words) and (more := stream.recv(1 << 16)):
                answer += more
    return answer


def refuse_other_clients(cluster):
    """Every JobManager does, whether it leads or not, and serves its own release and who tells none."""
    own = cluster.weir("--version").stdout.split()[1]
    for host in cluster.jm_hosts:
        status, text = cluster.http(host, "GET", "/jobmanager/config", Weir_Version="0.0.9")
        if status != 400 or "of Weir 0.0.9," not in text or f"of Weir {own}:" not in text:
            raise AssertionError(f"{host} answers a client of version 0.0.9: {status} {text}")
        for headers in ({"Weir_Version": own}, {}):
            status, text = cluster.http(host, "GET", "/jobmanager/config", **headers)
            if status != 200:
                raise AssertionError(f"{host} answers {headers}: {status} {text}")


def refuse_other_data_planes(cluster):
    """Every TaskManager closes the connection, and tells why in its log: the data plane has no word for it."""
    import test_bad_input
    hello = test_bad_input.data_frame(1, test_bad_input.counted(b"weir") + test_bad_input.counted(b"old-1"), channel=0, version=99)
    for host in cluster.tm_hosts:
        daemon = cluster.daemon(host)
        certificate = cluster.folder / "certs" / others(cluster.tm_hosts, host)[0] / "node.pem" if cluster.tls else None
        words = "data plane version 99, this side speaks 1"
        before = daemon.log_path.read_text(errors="replace").count(words)
        answer = answer_to(daemon.ready["data"], hello, (b"WEIR",), certificate)
        if answer != b"":
            raise AssertionError(f"the data plane of {host} answers {answer!r}")
        wait_for(lambda: daemon.log_path.read_text(errors="replace").count(words) == before + 1, f"{host} says: {words}")


@row(40, "version skew: a daemon or a client of another release is refused, and both versions are named")
def version_skew(stage):
    import test_bad_input
    cluster = stage.cluster
    refuse_other_clients(cluster)
    refuse_other_data_planes(cluster)
    certificate = cluster.folder / "certs" / cluster.spare / "node.pem" if cluster.tls else None
    for host, address in [(host, cluster.net.address(host) + ":6123") for host in cluster.jm_hosts] + \
            [(host, cluster.taskmanagers[host].ready["rpc"]) for host in cluster.tm_hosts]:
        words = (b"speaks protocol version 99", b"speaks 1")
        answer = answer_to(address, test_bad_input.rpc_hello(version=99, role=b"jobmanager"), words, certificate)
        if not all(word in answer for word in words):
            raise AssertionError(f"{host} answers {answer!r}")
    stage.peace("they are refused")
    stage.nothing_restarted()


# --- playing them ---

def numbers_of(words):
    if words == "all":
        return sorted(ROWS)
    numbers = [int(word) for word in words.replace(",", " ").split()]
    unknown = [number for number in numbers if number not in ROWS]
    if unknown:
        raise SystemExit(f"no such rows: {unknown}; there are {sorted(ROWS)}")
    return numbers


def play(run, words):
    """Plays the scenarios; after one that failed the next begins on a new cluster."""
    numbers = numbers_of(words)
    while numbers:
        began, error, folder = time.monotonic(), None, run.folder("rows")
        try:
            with rig.Rig(folder, run.options.seed, run.options.jobmanagers, rate=run.options.rate, build=rig.BUILD_FP, tls=run.options.tls) as cluster:
                cluster.begin_job()
                while numbers and error is None:
                    error = play_one(run, cluster, numbers.pop(0))
                if error is None:
                    began = time.monotonic()
                    cluster.finish_job()
                else:
                    raise AssertionError("left after a failure")
            run.result("rows: the whole oracle", None, began)
        except Exception:
            if error is None:
                run.result("rows: the whole oracle", traceback.format_exc(), began)
            run.keep(folder, "rows")
        shutil.rmtree(folder, ignore_errors=True)


def play_one(run, cluster, number):
    scenario = ROWS[number]
    name = f"row {number}: {scenario.title}"
    if scenario.jobmanagers > len(cluster.jm_hosts):
        run.skip(name, f"it needs {scenario.jobmanagers} JobManagers")
        return None
    began = time.monotonic()
    try:
        scenario(Stage(cluster))
    except Skip as reason:
        run.skip(name, str(reason))
        return None
    except Exception as caught:
        error = str(caught) if isinstance(caught, AssertionError) else traceback.format_exc()
        run.result(name, error, began)
        return error
    run.result(name, None, began)
    return None
