"""The oracle's negative control: it is given output with known faults, and has to find these and no others."""

import subprocess

import kafka
from brokers import HostBrokers
from load import Checker
from net import Net
from patience import wait_for

KEYS, GROUPS, WINDOW_MS, EPOCH_MS = 20, 100, 2000, 1600000000000
M64 = (1 << 64) - 1


def check_of(p, n):
    x = ((n + 1) * 0x9E3779B97F4A7C15 & M64) ^ (p << 56)
    x ^= x >> 29
    x = x * 0xBF58476D1CE4E5B9 & M64
    return x >> 33 & 0xFFFFFFFF


def copy(p, n, c=None):
    return p, f'{{"p":{p},"k":"{p}-{n % KEYS}","n":{n},"c":{check_of(p, n) if c is None else c}}}'


def bad_copies():
    """(partition, value) lines: 400 numbers in two partitions, of which one is missing, one doubled, one pair out of order, one altered."""
    numbers = list(range(200))
    first = [n for n in numbers if n != 45]                                  # missing
    first.insert(120, 70)                                                    # doubled: again, far behind
    second = [{101: 121, 121: 101}.get(n, n) for n in numbers]               # two of one key changed places
    lines = [copy(0, n) for n in first] + [copy(1, n) for n in second if n != 199]
    return [*lines, copy(1, 199, c=7)]


def sum_of(window, g, rows_more=0):
    numbers = range(window * WINDOW_MS + g, (window + 1) * WINDOW_MS, GROUPS)
    seconds = 26 * 60 + 40 + window * 2
    return window % 4, (f'{{"window_start":"2020-09-13 12:{seconds // 60:02}:{seconds % 60:02}","g":{g},"rows":{4 * len(numbers) + rows_more},'
                        f'"total":{4 * sum(numbers)}}}')


def bad_sums():
    """Three windows: the first whole, of the second one group is wrong, of the third one is doubled."""
    lines = [sum_of(0, g) for g in range(GROUPS)]
    lines += [sum_of(1, g, rows_more=int(g == 17)) for g in range(GROUPS)]
    return [*lines, *[sum_of(2, g) for g in range(GROUPS)], sum_of(2, 99)]


def produce(broker, topic, lines):
    text = "".join(f"{partition}\t{value}\n" for partition, value in lines)
    subprocess.run([*broker.net.enter("kafka"), kafka.TOOL, "produce", broker.servers, topic], input=text, text=True, check=True, timeout=60)


def check(folder, seed):
    net = Net(["kafka"], seed)
    broker = HostBrokers(net, folder, ["kafka"])
    try:
        judge(broker, net, folder, "copies", bad_copies(), doubled=1, missing=1, disordered=1, bad=1)
        judge(broker, net, folder, "sums", bad_sums(), doubled=1, missing=0, disordered=0, bad=1)
    finally:
        broker.kill()
        net.close()


def judge(broker, net, folder, kind, lines, **expected):
    topic = broker.topic(kind, 4)
    produce(broker, topic, lines)
    checker = Checker(net.enter("kafka"), kind, broker.servers, topic, folder)
    wait_for(lambda: checker.latest.received == len(lines), f"{len(lines)} records are read")
    checker.close()
    found = {name: getattr(checker.latest, name) for name in expected}
    if found != expected or checker.wrong() is None:
        raise AssertionError(f"{kind}: found {found}, expected {expected}: {checker.complaints.read_text()}")
