"""Several JobManagers, of which one leads: what becomes of running jobs when it dies, freezes, leaves, or all of them are gone. With real daemons."""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import threading
import time
import unittest

import kafka
import test_checkpoints
from cluster import BUILD, ROOT, Cluster, bytes_in, free_ports, request, wait_for

FAILPOINTS = ROOT / "build-fp"

AT_LEAST_ONCE = """
job: at-least-once
tables:
  numbers:
    columns: {{n: BIGINT, text: STRING}}
    with: {{connector: datagen, rows-per-second: 20000, fields.n.kind: sequence, fields.n.start: 0, fields.n.end: 1000000000, fields.text.length: 60}}
  copies:
    columns: {{n: BIGINT, text: STRING}}
    with: {{connector: filesystem, path: {copies}, format: json}}
pipeline:
  - {{id: read, source: numbers}}
  - {{id: write, input: read, sink: copies}}
"""

UNBOUNDED = """
job: {name}
tables:
  numbers: {{columns: {{n: BIGINT}}, with: {{connector: datagen, rows-per-second: 10}}}}
  nowhere: {{columns: {{n: BIGINT}}, with: {{connector: blackhole}}}}
pipeline:
  - {{id: read, source: numbers}}
  - {{id: write, input: read, sink: nowhere}}
"""


class Ha(test_checkpoints.Exactness):
    """What the tests share: a cluster, and the proof that its tasks have not noticed anything."""

    def start(self, taskmanagers=2, build=BUILD, environment=None, jobmanagers=3):
        cluster = Cluster(jobmanagers=jobmanagers, taskmanagers=taskmanagers, build=build, checkpoints=True, environment=environment)
        self.addCleanup(cluster.close)
        return cluster

    def new_checkpoint(self, cluster, job, deadline_s=30):
        before = self.completed(cluster, job)
        wait_for(lambda: self.completed(cluster, job) > before, f"a checkpoint after {before}", deadline_s)

    def threads(self, cluster):
        """The threads of all TaskManagers: a task that is started anew has another one."""
        def name(path):
            try:
                return (path / "comm").read_text()
            except OSError:  # it has ended since
                return "rdk:"

        return {(tm.name, path.name) for tm in cluster.taskmanagers if tm.alive() for path in pathlib.Path(f"/proc/{tm.process.pid}/task").iterdir()
                if not name(path).startswith(("rocksdb", "rdk:", "weir-io", "nng"))}

    def tasks(self, cluster, job):
        """(vertex, subtask) -> (attempt, TaskManager)."""
        return {(vertex["id"], task["subtask"]): (task["attempt"], task["taskmanager-id"]) for vertex in cluster.get(f"/jobs/{job}")["vertices"]
                for task in cluster.get(f"/jobs/{job}/vertices/{vertex['id']}")["subtasks"]}

    def deployments(self, cluster):
        return sum(tm.log_path.read_text().count("event=attempt_deployed") for tm in cluster.taskmanagers)

    def settled(self, cluster, job, checkpoints=True):
        """What must be the same at the end as it is now, while the job runs."""
        wait_for(lambda: all(vertex["status"] == "RUNNING" for vertex in cluster.get(f"/jobs/{job}")["vertices"]), "every task runs")
        if checkpoints:
            self.new_checkpoint(cluster, job)
        return self.tasks(cluster, job), self.threads(cluster), self.deployments(cluster)

    def check_untouched(self, cluster, job, before):
        """Now, while it still runs: the same attempts on the same TaskManagers, in the same threads; nothing was deployed."""
        tasks, threads, deployments = before
        self.assertEqual(self.tasks(cluster, job), tasks, "a task was restarted")
        self.assertEqual(self.deployments(cluster), deployments, "something was deployed")
        self.assertLessEqual(threads, self.threads(cluster), "a task's thread has ended")

    def finishes(self, cluster, job, **more):
        cluster.wait_state(job, "FINISHED", "FAILED", deadline_s=90)
        self.assertEqual(cluster.get(f"/jobs/{job}/status")["status"], "FINISHED")
        self.check_exact(**more)

    def epochs(self, tm):
        return [int(epoch) for epoch in re.findall(r"event=registered .*?leader_epoch=(\d+)", tm.log_path.read_text())]


class JobManagersDie(Ha, unittest.TestCase):
    def setUp(self):
        self.random = random.Random(self.id())

    def test_the_leader_is_killed_and_the_tasks_never_notice(self):
        cluster = self.start()
        job = self.submit(cluster, rows=800_000)
        before = self.settled(cluster, job)
        for _ in range(3):
            dead = cluster.kill_leader()
            self.new_checkpoint(cluster, job)
            self.check_untouched(cluster, job, before)
            cluster.start_jobmanager(number=dead)
        self.finishes(cluster, job)
        for tm in cluster.taskmanagers:
            self.assertEqual(self.epochs(tm), sorted(self.epochs(tm)), "registered with an older leader")
            self.assertGreaterEqual(len(self.epochs(tm)), 4)

    def test_a_frozen_leader_is_replaced_and_obeyed_no_more(self):
        cluster = self.start()
        job = self.submit(cluster, rows=800_000)
        before = self.settled(cluster, job)
        for _ in range(2):
            zombie = cluster.wait_leader()
            cluster.jobmanagers[zombie].freeze()
            try:
                cluster.wait_registered(2)
                self.assertNotEqual(cluster.leader(), zombie)
                self.new_checkpoint(cluster, job)
            finally:
                cluster.jobmanagers[zombie].thaw()
            wait_for(lambda: request(cluster.rest_addresses[zombie], "GET", "/overview")[0] == 307, "it knows that another one leads")
            self.new_checkpoint(cluster, job)
            self.check_untouched(cluster, job, before)
        self.finishes(cluster, job)
        for tm in cluster.taskmanagers:
            self.assertEqual(self.epochs(tm), sorted(set(self.epochs(tm))), "registered with an older leader")

    def losses(self, jobmanager):
        found = re.findall(r"event=raft_leadership_lost .*?epoch=(\d+) term=(\d+)", jobmanager.log_path.read_text())
        return [(int(epoch), int(term)) for epoch, term in found]

    def ask_on(self, cluster, number, path, method="GET"):
        """Asks one JobManager without pause, four at a time: (answers, stop); answers grows by (status, text) until stop() is called."""
        begun, answers, stopped = [], [], threading.Event()

        def ask():
            while not stopped.is_set():
                begun.append(None)
                try:
                    answers.append(request(cluster.rest_addresses[number], method, path, timeout_s=20)[:2])
                except OSError as error:
                    answers.append((0, str(error)))

        threads = [threading.Thread(target=ask) for _ in range(4)]

        def stop():
            stopped.set()
            for thread in threads:
                thread.join()

        for thread in threads:
            thread.start()
        self.addCleanup(stop)
        wait_for(lambda: len(begun) >= len(threads), f"it is asked for {path}")
        return answers, stop

    def test_a_leader_that_was_frozen_says_nothing_of_the_past(self):
        cluster = self.start(taskmanagers=1)

        def run(name):
            result = cluster.weir("run", "-d", str(cluster.write(f"{name}.yaml", UNBOUNDED.format(name=name))))
            self.assertEqual(result.returncode, 0, result.stderr)
            return result.stdout.strip()

        def cancel(job):
            self.assertEqual(cluster.weir("cancel", job).returncode, 0)
            cluster.wait_state(job, "CANCELED")

        refused = 0
        for number in range(4):
            old = run(f"old-{number}")
            cluster.wait_state(old, "RUNNING")
            zombie = cluster.wait_leader()
            cluster.jobmanagers[zombie].freeze()
            try:
                cluster.wait_registered(1)
                cancel(old)
                new, other = run(f"new-{number}"), run(f"other-{number}")
                term = cluster.get("/cluster")["term"]
                asking = [self.ask_on(cluster, zombie, f"/jobs/{old}/status"), self.ask_on(cluster, zombie, f"/jobs/{new}/status"),
                          self.ask_on(cluster, zombie, f"/jobs/{other}?mode=cancel", "PATCH"), self.ask_on(cluster, zombie, "/jobs"),
                          self.ask_on(cluster, zombie, "/cluster")]
            finally:
                cluster.jobmanagers[zombie].thaw()
            wait_for(lambda: all(len(answers) >= 20 for answers, _ in asking), "it answers")
            for _, stop in asking:
                stop()
            of_old, of_new, patches, lists, clusters = [answers for answers, _ in asking]
            elsewhere = {307, 503}
            for status, text in of_old:
                self.assertTrue(status in elsewhere or (status == 200 and json.loads(text)["status"] == "CANCELED"), f"{old} was cancelled: {status} {text}")
            for status, text in of_new:
                self.assertTrue(status in elsewhere or (status == 200 and json.loads(text)["status"] != "CANCELED"), f"{new} runs: {status} {text}")
            for status, text in patches:
                self.assertIn(status, {*elsewhere, 202, 409}, text)
            for status, text in lists:
                self.assertTrue(status in elsewhere or (status == 200 and new in text), f"{status} {text}")
            for status, text in clusters:
                body = json.loads(text)
                self.assertTrue(status in elsewhere or (status == 200 and (body["leader"] is None or body["term"] >= term)), f"{status} {text}")
            refused += sum(status in elsewhere for status, _ in of_old)
            cancel(new)
            cluster.weir("cancel", other)
            cluster.wait_state(other, "CANCELED")
        self.assertGreater(refused, 0)

    def test_a_leader_that_leaves_hands_over(self):
        cluster = self.start()
        job = self.submit(cluster, rows=800_000)
        before = self.settled(cluster, job)
        handed_over = 0
        for _ in range(4):
            leaving = cluster.wait_leader()
            known = len(self.losses(cluster.jobmanagers[leaving]))
            cluster.jobmanagers[leaving].process.send_signal(signal.SIGTERM)
            wait_for(lambda: any(cluster.leads(number) for number in range(3) if number != leaving), "another one leads")
            self.assertEqual(cluster.jobmanagers[leaving].stop(), 0)
            # To a later term, while it still ran: by themselves the others do not stand against a leader of whom they hear.
            handed_over += any(term > epoch for epoch, term in self.losses(cluster.jobmanagers[leaving])[known:])
            cluster.start_jobmanager(number=leaving)
            self.new_checkpoint(cluster, job)
        self.check_untouched(cluster, job, before)
        self.finishes(cluster, job)
        self.assertGreaterEqual(handed_over, 3, "of four; one whose members lag just then leaves without")

    def test_without_a_majority_the_job_goes_on_and_the_api_says_so(self):
        cluster = self.start()
        job = self.submit(cluster, rows=1_200_000)
        before = self.settled(cluster, job)
        first = cluster.kill_leader()
        second = cluster.kill_leader()
        (last,) = {0, 1, 2} - {first, second}
        wait_for(lambda: request(cluster.rest_addresses[last], "GET", "/jobs")[0] == 503, "the last one knows that it does not lead")
        self.assertIn("majority", request(cluster.rest_addresses[last], "GET", "/jobs")[1])
        body = json.loads(request(cluster.rest_addresses[last], "GET", "/cluster")[1])
        self.assertIsNone(body["leader"])
        written = bytes_in(self.copies)
        wait_for(lambda: bytes_in(self.copies) > written + 1_000_000, "the job goes on")
        newest = max(int(path.name[4:]) for path in (cluster.folder / "checkpoints" / job).glob("chk-*"))
        cluster.start_jobmanager(number=first)
        self.new_checkpoint(cluster, job)
        self.assertGreater(self.completed(cluster, job), newest)
        self.check_untouched(cluster, job, before)
        cluster.start_jobmanager(number=second)
        self.finishes(cluster, job)

    def test_without_any_jobmanager_output_goes_on(self):
        cluster = self.start()
        copies = cluster.folder / "copies"
        result = cluster.weir("run", "-d", str(cluster.write("job.yaml", AT_LEAST_ONCE.format(copies=copies))))
        self.assertEqual(result.returncode, 0, result.stderr)
        job = result.stdout.strip()
        before = self.settled(cluster, job, checkpoints=False)
        for jobmanager in cluster.jobmanagers:
            jobmanager.kill()
        written = bytes_in(copies)
        began = time.monotonic()
        # 20,000 rows a second, 80 bytes and more each: ten seconds of them, and no less than five, should tasks that were behind catch up
        wait_for(lambda: time.monotonic() - began > 5 and bytes_in(copies) > written + 10 * 20_000 * 80, "output goes on", 60)
        for number in range(3):
            cluster.start_jobmanager(number=number)
        cluster.wait_registered(2)
        cluster.wait_state(job, "RUNNING")
        self.check_untouched(cluster, job, before)
        self.assertEqual(cluster.weir("cancel", job, "--now").returncode, 0)

    def test_everything_is_killed_at_once(self):
        cluster = self.start()
        job = self.submit(cluster)
        for _ in range(2):
            self.new_checkpoint(cluster, job)
            for daemon in [*cluster.taskmanagers, *cluster.jobmanagers]:
                if daemon.alive():
                    daemon.kill()
            for number in range(3):
                cluster.start_jobmanager(number=number)
            cluster.start_taskmanager()
            cluster.start_taskmanager()
        self.finishes(cluster, job)

    def test_leader_and_taskmanager_are_killed_together(self):
        cluster = self.start()
        job = self.submit(cluster)
        for _ in range(2):
            self.new_checkpoint(cluster, job)
            victim = self.random.choice([tm for tm in cluster.taskmanagers if tm.alive()])
            dead = cluster.wait_leader()
            victim.kill()
            cluster.jobmanagers[dead].kill()
            cluster.start_taskmanager()
            cluster.wait_leader()
            cluster.start_jobmanager(number=dead)
        self.finishes(cluster, job)

    def test_a_submission_is_repeated_until_it_is_answered_and_starts_one_job(self):
        cluster = self.start()
        environment = {**os.environ, "WEIR_JOBMANAGERS": ",".join(cluster.rest_addresses)}
        for number in range(4):
            path = cluster.write(f"job-{number}.yaml", UNBOUNDED.format(name=f"job-{number}"))
            leader = cluster.wait_leader()
            run = subprocess.Popen([BUILD / "weir", "run", "-d", path], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if number % 2 == 0:  # at some moment of the submission; else before it
                until = time.monotonic() + self.random.random() * 0.03
                while time.monotonic() < until:
                    pass
            cluster.jobmanagers[leader].kill()
            out, errors = run.communicate(timeout=60)
            self.assertEqual(run.returncode, 0, errors)
            jobs = [job["jid"] for job in cluster.get("/jobs/overview")["jobs"] if job["name"] == f"job-{number}"]
            self.assertEqual(jobs, [out.strip()])
            cluster.start_jobmanager(number=leader)
            # the same again, to whoever leads now: the same job
            status, text = cluster.http("POST", f"/jobs?jobid={jobs[0]}&name=again", path.read_bytes(), "application/yaml")
            self.assertLess(status, 300, text)
            self.assertEqual(len(cluster.get("/jobs/overview")["jobs"]), number + 1)
            self.assertEqual(cluster.weir("cancel", jobs[0]).returncode, 0)

    def test_a_lost_jobmanager_is_replaced_by_an_empty_one(self):
        cluster = self.start()
        job = self.submit(cluster, rows=1_600_000)
        before = self.settled(cluster, job)
        leader = cluster.wait_leader()
        lost = (leader + 1) % 3
        cluster.jobmanagers[lost].kill()
        new = cluster.join_jobmanager()
        result = cluster.weir("cluster", "replace-jobmanager", cluster.addresses[lost], cluster.addresses[new], timeout_s=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        again = cluster.weir("cluster", "replace-jobmanager", cluster.addresses[lost], cluster.addresses[new], timeout_s=60)
        self.assertEqual(again.returncode, 0, again.stderr)  # the answer was lost, say
        members = {jm["rpc"].split("//")[-1]: jm["role"] for jm in cluster.get("/cluster")["jobmanagers"]}
        self.assertEqual(members.get(cluster.addresses[new]), "standby", members)
        self.assertNotIn(members.get(cluster.addresses[lost]), ("leader", "standby"), members)
        self.assertIn(cluster.rest_addresses[new], cluster.weir("cluster").stdout)
        # A majority needs it now; and it may lead, though no TaskManager's configuration names it.
        for _ in range(8):
            leader = cluster.wait_leader()
            if leader == new:
                break
            cluster.jobmanagers[leader].kill()
            self.new_checkpoint(cluster, job)
            self.check_untouched(cluster, job, before)
            cluster.start_jobmanager(number=leader)
        self.assertEqual(leader, new, "it never led")
        cluster.wait_registered(2)
        self.new_checkpoint(cluster, job)
        self.check_untouched(cluster, job, before)
        self.finishes(cluster, job)

    def test_founders_are_replaced_one_after_the_other(self):
        """The second while the one that took the first one's place leads; the third's successor knows by its configuration only one that dies."""
        cluster = self.start(taskmanagers=1)
        job = self.submit(cluster, rows=100_000_000)
        before = self.settled(cluster, job)

        def roles():
            return {jm["rpc"].split("//")[-1]: jm["role"] for jm in cluster.get("/cluster")["jobmanagers"]}

        def join():
            new = cluster.join_jobmanager()
            wait_for(lambda: roles().get(cluster.addresses[new]) == "joining", "the leader has heard of the new one")
            return new

        def replace(old, new):
            result = cluster.weir("cluster", "replace-jobmanager", cluster.addresses[old], cluster.addresses[new], timeout_s=60)
            self.assertEqual(result.returncode, 0, result.stderr)

        def kill_until_one_leads(numbers):
            for _ in range(16):
                leader = cluster.wait_leader()
                if leader in numbers:
                    return leader
                cluster.jobmanagers[leader].kill()
                self.new_checkpoint(cluster, job)
                cluster.start_jobmanager(number=leader)
                wait_for(lambda: "unreachable" not in roles().values(), "it is back")
            raise AssertionError(f"none of {numbers} ever led")

        lost = (cluster.wait_leader() + 1) % 3
        cluster.jobmanagers[lost].kill()
        first = join()
        replace(lost, first)
        kill_until_one_leads([first])
        lost, last = (number for number in range(3) if number != lost)
        cluster.jobmanagers[lost].kill()
        second = join()
        replace(lost, second)
        cluster.start_taskmanager()  # one of the three in its configuration lives, which has no say now
        cluster.wait_registered(2)
        kill_until_one_leads([first, second])
        third = join()
        cluster.jobmanagers[last].kill()
        replace(last, third)
        for tm in cluster.taskmanagers:
            for number in (first, second, third):
                wait_for(lambda: re.search(rf"event=jobmanager_learned .*address={cluster.addresses[number]}\n", tm.log_path.read_text()),
                         f"{tm.name} knows {number}")
        cluster.kill_leader()  # nobody whom a configuration names is left
        cluster.wait_registered(2)
        self.new_checkpoint(cluster, job)
        self.check_untouched(cluster, job, before)
        self.assertEqual(cluster.weir("cancel", job).returncode, 0)
        cluster.wait_state(job, "CANCELED")
        self.check_drained({})


class FiveJobManagers(Ha, unittest.TestCase):
    def standbys(self, cluster):
        return sum(jm["role"] == "standby" for jm in cluster.get("/cluster")["jobmanagers"])

    def test_two_may_be_dead_at_a_time(self):
        cluster = self.start(jobmanagers=5, taskmanagers=1)
        job = self.submit(cluster, rows=100_000_000)
        before = self.settled(cluster, job)
        dead = []
        for _ in range(2):
            dead.append(cluster.kill_leader())
            self.new_checkpoint(cluster, job)
            self.check_untouched(cluster, job, before)
        wait_for(lambda: self.standbys(cluster) == 2, "a leader and two standbys are left")
        for number in dead:
            cluster.start_jobmanager(number=number)
        wait_for(lambda: self.standbys(cluster) == 4, "they are back")
        # two others die, so there is no majority without those
        for number in [number for number in range(5) if number not in dead][:2]:
            cluster.jobmanagers[number].kill()
        self.new_checkpoint(cluster, job)
        self.check_untouched(cluster, job, before)
        self.assertEqual(cluster.weir("cancel", job).returncode, 0)
        cluster.wait_state(job, "CANCELED")
        self.check_drained({})
        for tm in cluster.taskmanagers:
            self.assertEqual(self.epochs(tm), sorted(self.epochs(tm)), "registered with an older leader")
            self.assertGreaterEqual(len(set(self.epochs(tm))), 3)


class OneByOne(unittest.TestCase):
    """Where each of them is asked."""

    def test_any_jobmanager_leads_to_the_leader(self):
        with Cluster(jobmanagers=3, taskmanagers=1) as cluster:
            leader = cluster.wait_leader()
            for number in range(3):
                wait_for(lambda: request(cluster.rest_addresses[number], "GET", "/jobs?a=b")[0] in (200, 307), "it knows who leads")
                status, _, location = request(cluster.rest_addresses[number], "GET", "/jobs?a=b")
                if number != leader:
                    self.assertEqual((status, location), (307, f"http://{cluster.rest_addresses[leader]}/jobs?a=b"))
                result = cluster.weir("cluster", "-m", cluster.rest_addresses[number])
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn(f"leader {cluster.rest_addresses[leader]}", result.stdout)
                self.assertIn("3 JobManagers, 2 of them standby", result.stdout)
                body = json.loads(cluster.weir("cluster", "--json", "-m", cluster.rest_addresses[number]).stdout)
                self.assertEqual(sorted(jm["role"] for jm in body["jobmanagers"]), ["leader", "standby", "standby"])
                self.assertEqual([tm["slotsNumber"] for tm in body["taskmanagers"]], [2])

    def test_the_client_says_what_it_tried(self):
        ports = free_ports(2)
        result = subprocess.run([BUILD / "weir", "list", "-m", f"127.0.0.1:{ports[0]}"], capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"127.0.0.1:{ports[0]}", result.stderr)
        self.assertIn("Is the cluster started?", result.stderr)

    def test_addresses_of_jobmanagers_are_checked(self):
        result = subprocess.run([BUILD / "weir-taskmanager", "-D", "cluster.jobmanagers=localhost"], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("expected HOST:PORT", result.stderr)


@unittest.skipUnless((FAILPOINTS / "weir-taskmanager").exists(), "no daemons with failpoints: run `make failpoints`")
@unittest.skipIf("WEIR_BIN_DIR" in os.environ, "the failpoints are in a build of their own")
class LeaderDiesAt(Ha, unittest.TestCase):
    """Rows 7 to 9 of RELIABILITY 2.3 with a successor: every leader that comes to the point for the n-th time dies there."""

    def revive(self, cluster):
        """Starts those anew that are dead, without the failpoint; how many they were."""
        dead = [number for number, jobmanager in enumerate(cluster.jobmanagers) if not jobmanager.alive()]
        for number in dead:
            self.assertEqual(cluster.jobmanagers[number].process.returncode, -signal.SIGKILL)
            cluster.jobmanagers[number].killed = True
            cluster.start_jobmanager(number=number)
        self.harmless |= set(dead)
        return len(dead)

    def next_death(self, cluster):
        """A leader that was revived makes room for one that is not: by a kill that stands for nothing."""
        died = self.revive(cluster)
        leader = cluster.leader()
        if not died and leader in self.harmless:
            cluster.jobmanagers[leader].kill()
            cluster.wait_leader()
            cluster.start_jobmanager(number=leader)
        return died

    def leaders_die(self, point, deaths, deployed=True):
        """deployed: they die when all tasks run, so none of those may be started again."""
        cluster = self.start(build=FAILPOINTS, environment={"WEIR_FAILPOINT": point})
        job = self.submit(cluster, rows=800_000, wait=deployed)
        self.harmless = set()
        died = 0
        while died < deaths:
            died += wait_for(lambda: self.next_death(cluster), f"a leader reaches {point}", 60)
        job = job or cluster.get("/jobs/overview")["jobs"][0]["jid"]

        def over():  # the others may come to the point too
            self.revive(cluster)
            return cluster.get(f"/jobs/{job}/status")["status"] in ("FINISHED", "FAILED")

        wait_for(over, "the job ends", 90)
        if deployed:
            self.assertEqual(self.deployments(cluster), len(cluster.taskmanagers), "a task was restarted")
        self.finishes(cluster, job)
        wait_for(lambda: not (cluster.folder / "checkpoints" / job).exists(), "no file of a checkpoint is left")

    def test_all_acknowledgements(self):
        self.leaders_die("jm.all_acks:2", 2)

    def test_metadata(self):
        self.leaders_die("jm.metadata:2", 2)

    def test_commit(self):
        self.leaders_die("jm.after_commit:3", 2)

    def test_deployment(self):
        self.leaders_die("jm.deploy:2", 1, deployed=False)


PASS = """
job: pass
settings:
  execution.checkpointing.interval: 100 ms
  restart-strategy.type: fixed-delay
  restart-strategy.fixed-delay.attempts: 100
  restart-strategy.fixed-delay.delay: 10 ms
tables:
  stamps:
    columns: {{n: BIGINT, at: BIGINT}}
    with: {{connector: kafka, topic: {source}, properties.bootstrap.servers: "{servers}", scan.startup.mode: earliest-offset, format: json}}
  copies:
    columns: {{n: BIGINT, at: BIGINT}}
    with: {{connector: kafka, topic: {sink}, properties.bootstrap.servers: "{servers}", format: json,
           sink.delivery-guarantee: {guarantee}{prefix}}}
pipeline:
  - {{id: read, source: stamps}}
  - {{id: write, input: read, sink: copies}}
"""

RATE = 5000


class Kafka(Ha, unittest.TestCase):
    """Kafka to Kafka at 5,000 messages a second."""

    def begin(self, guarantee, seconds):
        self.broker = kafka.broker()
        self.cluster = self.start()
        self.source, self.sink = self.broker.topic("stamps", 1), self.broker.topic("copies", 1)
        self.reader = kafka.Reader(self.broker, self.sink, self.cluster.folder)
        self.addCleanup(self.reader.close)
        text = PASS.format(source=self.source, sink=self.sink, servers=self.broker.servers, guarantee=guarantee,
                           prefix=", sink.transactional-id-prefix: ha" if guarantee == "exactly-once" else "")
        result = self.cluster.weir("run", "-d", "-p", "1", str(self.cluster.write("job.yaml", text)))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.job = result.stdout.strip()
        self.before = self.settled(self.cluster, self.job)
        self.count = seconds * RATE
        self.stamps = subprocess.Popen([kafka.TOOL, "stamp", self.broker.servers, self.source, str(RATE), str(self.count)])
        self.addCleanup(self.stamps.wait)
        self.arrived(RATE)

    def numbers(self):
        return [json.loads(value)["n"] for *_, value in self.reader.records()]

    def arrived(self, least):
        wait_for(lambda: len(self.reader.records()) >= least, f"{least} records have come", 60)

    def ends(self):
        self.stamps.wait()
        wait_for(lambda: len(self.reader.records()) >= self.count and len(set(self.numbers())) == self.count, "every record has come", 60)
        self.assertEqual(len(self.numbers()), self.count, "records were doubled")
        self.check_untouched(self.cluster, self.job, self.before)

    def test_exactly_once_while_leaders_are_killed(self):
        self.begin("exactly-once", 12)
        for kill in range(3):
            dead = self.cluster.kill_leader()
            self.new_checkpoint(self.cluster, self.job)
            self.arrived((2 + 2 * kill) * RATE)
            self.cluster.start_jobmanager(number=dead)
        self.ends()
        logs = "".join(taskmanager.log_path.read_text(errors="replace") for taskmanager in self.cluster.taskmanagers)
        self.assertIn("kafka_txn_recovered", logs)
        self.assertNotIn("kafka_txn_no_mark", logs)  # marks lie on __consumer_offsets where a topic has one partition

    def test_at_least_once_while_no_jobmanager_runs(self):
        self.begin("at-least-once", 16)
        for jobmanager in self.cluster.jobmanagers:
            jobmanager.kill()
        killed_us = time.time_ns() // 1000
        self.arrived(len(self.reader.records()) + 10 * RATE)
        back_us = time.time_ns() // 1000
        for number in range(3):
            self.cluster.start_jobmanager(number=number)
        self.cluster.wait_registered(2)
        arrivals = sorted(at for _, _, at, *_ in self.reader.records() if killed_us < at < back_us)
        gap_ms = max(later - earlier for earlier, later in zip(arrivals, arrivals[1:])) / 1000
        print(f"    longest gap in {(back_us - killed_us) / 1e6:.1f} s without a JobManager: {gap_ms:.0f} ms", flush=True)
        self.assertLess(gap_ms, 5000)
        self.new_checkpoint(self.cluster, self.job)
        self.ends()


if __name__ == "__main__":
    unittest.main()
