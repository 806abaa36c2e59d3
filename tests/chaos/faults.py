"""The faults of the random mode. Each is a generator: it does its harm, yields how long it lasts (seconds), and heals what does not heal by itself.

Daemons that died are started again by Rig.tend. `touches` says what a fault may do: "tasks" may be restarted by it, or not ("nothing").
"""

import os

from patience import wait_for

KINDS = {}


def fault(weight, touches, alone=None, jobmanagers=1, tls=False, brokers=1):
    """alone: what it touches when there is one JobManager only, where that differs; jobmanagers, brokers: it needs so many; tls: it needs that."""
    def enter(function):
        function.kind = function.__name__
        function.weight, function.touches, function.alone, function.jobmanagers = weight, touches, alone or touches, jobmanagers
        function.tls, function.brokers = tls, brokers
        KINDS[function.kind] = function
        return function
    return enter


def some_jobmanager(rig, rng):
    return rig.leader() or rng.choice(rig.jm_hosts)


def standby(rig, rng):
    leader = rig.leader()
    return rng.choice([host for host in rig.jm_hosts if host != leader])


def others(hosts, host):
    return [other for other in hosts if other != host]


def killed(rig, host):
    if rig.alive(host):
        rig.kill(host)


def started(rig, host):
    """Unless its disk is full: then it is started when there is room."""
    if not rig.alive(host) and host not in rig.may_leave:
        rig.restart(host)


# --- JobManagers: nothing of this may restart a task ---

@fault(4, "nothing")
def leader_killed(rig, rng):
    host = some_jobmanager(rig, rng)
    killed(rig, host)
    yield rng.uniform(0.1, 3)
    started(rig, host)


@fault(1, "nothing", jobmanagers=3)
def standby_killed(rig, rng):
    host = standby(rig, rng)
    killed(rig, host)
    yield rng.uniform(0.1, 3)
    started(rig, host)


@fault(2, "nothing")
def all_jobmanagers_killed(rig, rng):
    for host in rig.jm_hosts:
        killed(rig, host)
    yield rng.uniform(0.1, 4)
    for host in rng.sample(rig.jm_hosts, len(rig.jm_hosts)):
        started(rig, host)


@fault(2, "nothing")
def leader_told_to_leave(rig, rng):
    host = some_jobmanager(rig, rng)
    if rig.alive(host):
        rig.daemon(host).stop()
    yield rng.uniform(0.1, 2)
    started(rig, host)


@fault(3, "nothing", alone="tasks")
def leader_frozen(rig, rng):
    host = some_jobmanager(rig, rng)
    rig.freeze(host)
    yield rng.uniform(0.3, 5)
    rig.thaw(host)


@fault(1, "nothing", jobmanagers=3)
def standby_frozen(rig, rng):
    host = standby(rig, rng)
    rig.freeze(host)
    yield rng.uniform(0.3, 5)
    rig.thaw(host)


@fault(2, "nothing", jobmanagers=3)
def leader_cut_from_jobmanagers(rig, rng):
    host = some_jobmanager(rig, rng)
    rig.net.cut([host], others(rig.jm_hosts, host))
    yield rng.uniform(0.5, 5)
    rig.net.heal([host])


@fault(2, "nothing", alone="tasks")
def leader_cut_from_all(rig, rng):
    host = some_jobmanager(rig, rng)
    rig.net.cut([host], others(rig.hosts, host))
    yield rng.uniform(0.5, 5)
    rig.net.heal([host])


@fault(1, "nothing", jobmanagers=3)
def leader_mute_among_jobmanagers(rig, rng):
    host = some_jobmanager(rig, rng)
    rig.net.cut([host], others(rig.jm_hosts, host), both=False)
    yield rng.uniform(0.5, 4)
    rig.net.heal([host])


@fault(1, "nothing", jobmanagers=3)
def leader_deaf_among_jobmanagers(rig, rng):
    host = some_jobmanager(rig, rng)
    rig.net.cut(others(rig.jm_hosts, host), [host], both=False)
    yield rng.uniform(0.5, 4)
    rig.net.heal([host])


@fault(1, "nothing", jobmanagers=3)
def slow_links_among_jobmanagers(rig, rng):
    rig.net.slow(rig.jm_hosts, rig.jm_hosts, delay_ms=rng.uniform(5, 150), jitter_ms=rng.uniform(0, 50), loss=rng.choice([0, 0.02, 0.1]))
    yield rng.uniform(1, 4)
    rig.net.heal(rig.jm_hosts, rig.jm_hosts)


@fault(1, "nothing", jobmanagers=3)
def leader_log_disk_full(rig, rng):
    host = some_jobmanager(rig, rng)
    rig.may_leave.add(host)
    fill(rig.folder / f"{host}.data")
    yield rng.uniform(0.5, 3)
    empty(rig.folder / f"{host}.data")


# --- the wall clock: nobody may look at it. Never backwards here (that is row 22) ---

@fault(1, "nothing")
def clock_jumps(rig, rng):
    host = rng.choice(rig.hosts)
    rig.set_clock(host, rig.clocks.get(host, 0) + rng.choice([7, 3600]))
    yield rng.uniform(0.5, 2)


# --- certificates ---

@fault(2, "nothing", tls=True)
def certificate_renewed(rig, rng):
    host = rng.choice(rig.hosts)
    daemon, before = rig.daemon(host), rig.renewals(host)
    rig.renew_certificate(host)
    yield rng.uniform(0.1, 3)
    # A daemon looks every 2 s. One that has died or is frozen meanwhile, by another fault, need not.
    wait_for(lambda: rig.renewals(host) > before or rig.daemon(host) is not daemon or not daemon.answers(),
             f"{host} takes its new certificate into use")


# --- TaskManagers ---

@fault(4, "tasks")
def taskmanager_killed(rig, rng):
    host = rng.choice(rig.tm_hosts)
    killed(rig, host)
    yield rng.uniform(0.1, 3)
    started(rig, host)


@fault(1, "tasks")
def two_taskmanagers_killed(rig, rng):
    hosts = rng.sample(rig.tm_hosts, 2)
    for host in hosts:
        killed(rig, host)
    yield rng.uniform(0.1, 2)
    for host in hosts:
        started(rig, host)


@fault(2, "tasks")
def taskmanager_frozen_long(rig, rng):
    host = rng.choice(rig.tm_hosts)
    rig.freeze(host)
    yield rng.uniform(2.5, 6)
    rig.thaw(host)


@fault(1, "tasks")
def taskmanager_frozen_shortly(rig, rng):
    host = rng.choice(rig.tm_hosts)
    rig.freeze(host)
    yield rng.uniform(0.1, 1)
    rig.thaw(host)


@fault(2, "tasks")
def taskmanager_cut_but_with_kafka(rig, rng):
    host = rng.choice(rig.tm_hosts)
    rig.net.cut([host], others(rig.hosts, host))
    yield rng.uniform(1, 5)
    rig.net.heal([host])


@fault(1, "tasks")
def taskmanager_cut_from_jobmanagers(rig, rng):
    host = rng.choice(rig.tm_hosts)
    rig.net.cut([host], rig.jm_hosts)
    yield rng.uniform(1, 5)
    rig.net.heal([host])


@fault(1, "tasks")
def taskmanager_mute(rig, rng):
    host = rng.choice(rig.tm_hosts)
    rig.net.cut([host], rig.jm_hosts, both=False)
    yield rng.uniform(1, 5)
    rig.net.heal([host])


@fault(1, "tasks")
def taskmanager_deaf(rig, rng):
    host = rng.choice(rig.tm_hosts)
    rig.net.cut(rig.jm_hosts, [host], both=False)
    yield rng.uniform(1, 5)
    rig.net.heal([host])


@fault(1, "tasks")
def taskmanagers_cut_from_each_other(rig, rng):
    one, two = rng.sample(rig.tm_hosts, 2)
    rig.net.cut([one], [two], both=rng.random() < 0.5)
    yield rng.uniform(0.5, 4)
    rig.net.heal([one], [two])


@fault(1, "tasks")
def slow_links_of_taskmanager(rig, rng):
    host = rng.choice(rig.tm_hosts)
    rig.net.slow([host], others([*rig.hosts, *rig.broker.hosts], host), delay_ms=rng.uniform(1, 100), jitter_ms=rng.uniform(0, 30), loss=rng.choice([0, 0.01, 0.05]))
    yield rng.uniform(1, 4)
    rig.net.heal([host])


@fault(1, "tasks")
def taskmanager_cut_from_kafka(rig, rng):
    host = rng.choice(rig.tm_hosts)
    rig.net.cut([host], rig.broker.hosts, both=rng.random() < 0.5)
    yield rng.uniform(0.5, 6)
    rig.net.heal([host], rig.broker.hosts)


# --- what they stand on ---

@fault(1, "tasks")
def broker_killed(rig, rng):
    rig.broker.nodes[0].kill()
    yield rng.uniform(0.1, 5)
    rig.broker.nodes[0].start_again()


@fault(1, "tasks")
def broker_frozen(rig, rng):
    rig.broker.nodes[0].freeze()
    yield rng.uniform(0.5, 5)
    rig.broker.nodes[0].thaw()


# The transactions' coordinator moves to the other broker when the controller has not heard of its own for 2 s, and back some seconds after the end.

@fault(1, "tasks", brokers=2)
def coordinator_killed(rig, rng):
    rig.broker.nodes[-1].kill()
    yield rng.uniform(0.1, 5)
    rig.broker.nodes[-1].start_again()


@fault(1, "tasks", brokers=2)
def coordinator_frozen(rig, rng):
    """What was on its way to the old one, it sees when there is a new one."""
    rig.broker.nodes[-1].freeze()
    yield rng.uniform(2, 8)
    rig.broker.nodes[-1].thaw()


@fault(1, "tasks", brokers=2)
def coordinator_cut_from_brokers(rig, rng):
    """Clients still reach the old one."""
    rig.net.cut(rig.broker.hosts, rig.broker.hosts)
    yield rng.uniform(2, 8)
    rig.net.heal(rig.broker.hosts, rig.broker.hosts)


@fault(2, "nothing")
def checkpoint_disk_full(rig, rng):
    fill(rig.checkpoints)
    yield rng.uniform(0.5, 4)
    empty(rig.checkpoints)


@fault(1, "tasks")
def power_cut(rig, rng):
    for host in rig.hosts:
        killed(rig, host)
    yield rng.uniform(0, 1)
    for host in rng.sample(rig.hosts, len(rig.hosts)):
        started(rig, host)


def fill(folder):
    """Not a byte is left."""
    with open(folder / "ballast", "wb") as ballast:
        while True:
            free = os.statvfs(folder)
            if free.f_bavail == 0:
                return
            try:
                os.posix_fallocate(ballast.fileno(), os.fstat(ballast.fileno()).st_size, max(free.f_bavail // 2, 1) * free.f_frsize)
            except OSError:
                pass  # others write there as well


def empty(folder):
    (folder / "ballast").unlink(missing_ok=True)  # another fault of this kind may have been here


def touches(kind, jobmanagers):
    return kind.alone if jobmanagers == 1 else kind.touches


def deck(rig, rng, touched, without=()):
    """Kinds that touch such without end: each as often as its weight says before any comes again."""
    jobmanagers = len(rig.jm_hosts)
    cards = [kind for kind in KINDS.values() for _ in range(kind.weight) if kind.jobmanagers <= jobmanagers and (rig.tls or not kind.tls)
             and kind.brokers <= len(rig.broker.nodes)
             and touches(kind, jobmanagers) == touched and kind.kind not in without]
    while cards:
        yield from rng.sample(cards, len(cards))
