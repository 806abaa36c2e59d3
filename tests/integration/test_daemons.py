"""The daemons' command lines and start-up checks."""

import pathlib
import subprocess
import tempfile
import unittest

from cluster import BUILD

DAEMONS = ("weir-jobmanager", "weir-taskmanager")


class Daemons(unittest.TestCase):
    def run_daemon(self, name, *arguments):
        return subprocess.run([BUILD / name, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)

    def test_version_and_help(self):
        for name in DAEMONS:
            self.assertRegex(self.run_daemon(name, "--version").stdout, rf"^{name} \d+\.\d+\.\d+\n$")
            result = self.run_daemon(name, "--help")
            self.assertEqual(result.returncode, 0)
            self.assertIn("-D KEY=VALUE", result.stdout)

    def test_wrong_usage_ends_with_2_and_says_what_is_right(self):
        with tempfile.TemporaryDirectory() as folder:
            bad = pathlib.Path(folder) / "weir.yaml"
            bad.write_text("rest:\n  port: many\n")
            for name in DAEMONS:
                for arguments, text in (
                    (["-D", "rest.prot=1"], 'rest.port'),
                    (["-D", "log.level=loud"], "debug, info, warn or error"),
                    (["--config", str(bad)], f"{bad}:2:3: rest.port"),
                    (["--config", str(bad) + ".no"], "No such file"),
                    (["extra"], 'unexpected argument "extra"'),
                    (["--nosuch"], "usage:"),
                ):
                    with self.subTest(name=name, arguments=arguments):
                        result = self.run_daemon(name, *arguments)
                        self.assertEqual(result.returncode, 2, result.stderr)
                        self.assertIn(text, result.stderr)

    def test_d_beats_the_file_whatever_the_order(self):
        with tempfile.TemporaryDirectory() as folder:
            settings = pathlib.Path(folder) / "weir.yaml"
            settings.write_text("log.level: loud\n")
            result = self.run_daemon("weir-taskmanager", "-D", "log.level=quiet", "--config", str(settings))
            self.assertIn('"quiet"', result.stderr)

    def test_beyond_loopback_is_refused_without_insecure(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, option in (("weir-taskmanager", "taskmanager.host=192.0.2.1"), ("weir-jobmanager", "jobmanager.rpc.address=192.0.2.1")):
                result = self.run_daemon(name, "-D", option, "-D", f"jobmanager.data.dir={folder}")
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn("--insecure", result.stderr)

    def test_settings_that_contradict_each_other_are_refused_by_all(self):
        with tempfile.TemporaryDirectory() as folder:
            settings = pathlib.Path(folder) / "weir.yaml"
            settings.write_text(f"rest.port: 0\njobmanager:\n  rpc.port: 0\n  data.dir: {folder}/data\n")
            for pair, text in (
                ("jobmanager.raft.heartbeat-interval=400 ms",
                 r"jobmanager\.raft\.heartbeat-interval is 400 ms \(-D\) and jobmanager\.raft\.election-timeout 400 ms \(default\).* a fifth of"),
                ("heartbeat.interval=2 s", r"heartbeat\.interval is 2000 ms \(-D\) and heartbeat\.timeout 2000 ms \(default\).* a third of"),
                ("cluster.fencing.timeout=2 s",
                 r"cluster\.fencing\.timeout is 2000 ms \(-D\) and heartbeat\.timeout 2000 ms \(default\).* more than heartbeat\.timeout, or to 0"),
            ):
                for command in (["weir", "config", "check"], *([name] for name in DAEMONS)):
                    with self.subTest(command=command, pair=pair):
                        result = self.run_daemon(*command, "--config", str(settings), "-D", pair)
                        self.assertEqual(result.returncode, 1, result.stderr)
                        self.assertRegex(result.stderr, text)
            result = self.run_daemon("weir", "config", "check", "--config", str(settings))
            self.assertEqual((result.returncode, result.stdout), (0, "the configuration is valid\n"))


if __name__ == "__main__":
    unittest.main()
