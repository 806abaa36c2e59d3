"""cluster.fencing.timeout: tasks that no leading JobManager answers for go on, then pause, then go on where they were; one that was replaced never does."""

import unittest

import test_ha
from cluster import Cluster, bytes_in, wait_for

TIMES = ("heartbeat.timeout=1 s", "cluster.fencing.timeout=2 s")

ZOMBIE = """
job: zombie
settings:
  restart-strategy.type: fixed-delay
  restart-strategy.fixed-delay.attempts: 10
  restart-strategy.fixed-delay.delay: 10 ms
tables:
  numbers:
    columns: {n: BIGINT}
    with: {connector: datagen, rows-per-second: 1000, fields.n.kind: sequence, fields.n.start: 0, fields.n.end: 1000000000}
  lines:
    columns: {n: BIGINT}
    with: {connector: print}
pipeline:
  - {id: read, source: numbers}
  - {id: write, input: read, sink: lines}
"""


class Fencing(test_ha.Ha):
    def start(self, jobmanagers=1, options=TIMES, **more):
        cluster = Cluster(jobmanagers=jobmanagers, taskmanagers=2, checkpoints=True, options=options, **more)
        self.addCleanup(cluster.close)
        return cluster

    def logged(self, tm, event):
        return tm.log_path.read_text().count(f"event={event} ")

    def stands_still(self, measure, what):
        """Until it has been the same at 40 looks in a row: 0.8 s, in which tasks that are not paused write many times."""
        seen = [measure()]

        def same():
            seen.append(measure())
            return len(seen) > 40 and len(set(seen[-40:])) == 1

        wait_for(same, what)
        return seen[-1]


class WithoutJobManagers(Fencing, unittest.TestCase):
    def all_are_gone(self, jobmanagers):
        cluster = self.start(jobmanagers)
        job = self.submit(cluster, rows=600_000)
        before = self.settled(cluster, job)
        for jobmanager in cluster.jobmanagers:
            jobmanager.kill()
        written = bytes_in(self.copies)
        for tm in cluster.taskmanagers:
            wait_for(lambda: self.logged(tm, "tasks_paused"), f"{tm.name} pauses")
        still = self.stands_still(lambda: bytes_in(self.copies), "nothing is written any more")
        self.assertGreater(still, written + 500_000, "output did not go on for cluster.fencing.timeout")
        for number in range(jobmanagers):
            cluster.start_jobmanager(number=number)
        for tm in cluster.taskmanagers:
            wait_for(lambda: self.logged(tm, "tasks_resumed"), f"the tasks of {tm.name} go on")
        self.new_checkpoint(cluster, job)
        self.check_untouched(cluster, job, before)
        self.finishes(cluster, job)

    def test_the_only_one(self):
        self.all_are_gone(1)

    def test_all_three(self):
        self.all_are_gone(3)


class Zombies(Fencing, unittest.TestCase):
    def lines(self, tm):
        return tm.out_path.read_text().count("+I[")

    def a_zombie_wakes(self, options):
        """A TaskManager stands still until its successor has written for longer than cluster.fencing.timeout, and wakes when nobody can tell it. Gives
        the cluster, the zombie, the job, and how many lines it had written."""
        cluster = self.start(options=options, slots=1)
        result = cluster.weir("run", "-d", "-p", "1", str(cluster.write("zombie.yaml", ZOMBIE)))
        self.assertEqual(result.returncode, 0, result.stderr)
        job = result.stdout.strip()
        zombie = wait_for(lambda: next((tm for tm in cluster.taskmanagers if self.lines(tm) > 100), None), "the job runs")
        (successor,) = [tm for tm in cluster.taskmanagers if tm is not zombie]
        zombie.freeze()
        wait_for(lambda: self.lines(successor) > 3000, "its successor has written for three seconds", 60)
        cluster.jobmanager.freeze()
        written = self.lines(zombie)
        zombie.thaw()
        return cluster, zombie, job, written

    def test_one_that_wakes_up_writes_nothing_more(self):
        cluster, zombie, job, written = self.a_zombie_wakes(TIMES)
        wait_for(lambda: self.logged(zombie, "tasks_paused"), "it notices")
        more = self.stands_still(lambda: self.lines(zombie), "it writes nothing") - written
        self.assertLess(more, 100, "more than what the sink had in its hands when it was frozen")
        cluster.jobmanager.thaw()
        wait_for(lambda: self.logged(zombie, "task_canceled"), "it hears that it was replaced")
        self.assertEqual(self.lines(zombie), written + more)
        self.assertEqual(self.logged(zombie, "tasks_resumed"), 0)
        wait_for(lambda: cluster.get(f"/jobs/{job}/status")["status"] == "RUNNING", "the job runs")

    def test_without_the_timeout_it_does(self):
        cluster, zombie, _, written = self.a_zombie_wakes(("heartbeat.timeout=1 s", "cluster.fencing.timeout=0"))
        wait_for(lambda: self.lines(zombie) > written + 1000, "it goes on beside its successor")
        self.assertEqual(self.logged(zombie, "tasks_paused"), 0)
        cluster.jobmanager.thaw()


if __name__ == "__main__":
    unittest.main()
