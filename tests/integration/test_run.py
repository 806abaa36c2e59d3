"""run.py itself, on small tests of its own: whatever becomes of a lane, its tests count, and nothing that it started stays."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

from cluster import ROOT, wait_for

TESTS = '''
import os, pathlib, signal, subprocess, sys, threading, unittest

HERE = pathlib.Path(__file__).parent

class Leaves(unittest.TestCase):
    def leave(self, name):
        """A process in a session of its own."""
        (HERE / name).write_text(str(subprocess.Popen(["tail", "-f", "/dev/null"], start_new_session=True).pid))

class Crashes(Leaves):
    def test_crash(self):
        self.leave("crash.pid")
        os.kill(os.getpid(), signal.SIGKILL)

class Hangs(Leaves):
    def test_hang(self):
        self.leave("hang.pid")
        threading.Event().wait()

class Fails(unittest.TestCase):
    def test_fail(self):
        self.assertEqual(1, 2)

    def test_with_parts(self):
        with self.subTest(part="left"):
            raise ValueError("no part")

    @unittest.skip("not today")
    def test_skipped(self):
        pass

class Shares(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pid = os.getpid()

    @classmethod
    def tearDownClass(cls):
        del cls.pid  # not twice

    def same(self):
        self.assertEqual(self.pid, os.getpid())

    test_a = test_b = test_c = same

class SharesNothing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise OSError("nothing to share")

    def test_never(self):
        pass

def talks(number):
    def test(self):
        print(f"{number} begins", flush=True)
        subprocess.run(["sh", "-c", f"echo {number} goes on; echo {number} goes on >&2"])
        print(f"{number} ends", file=sys.stderr)
    return test

class Talks(unittest.TestCase):
    pass

for number in range(40):
    setattr(Talks, f"test_{number}", talks(number))
'''


class Lanes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="weir-it-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "tmp").mkdir()
        (self.folder / "test_small.py").write_text(TESTS)

    def start(self, *arguments):
        return subprocess.Popen([sys.executable, ROOT / "tests/integration/run.py", "--folder", self.folder, *arguments], text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(self.folder / "tmp")})

    def run_tests(self, *arguments):
        process = self.start(*arguments)
        out, _ = process.communicate(timeout=120)
        self.assertEqual(list((self.folder / "tmp").iterdir()), [])
        return process.returncode, out

    def assert_gone(self, name):
        pid = int((self.folder / name).read_text())
        wait_for(lambda: not pathlib.Path(f"/proc/{pid}/exe").exists(), f"what {name} names is gone")

    def test_everything_counts_and_is_told_in_whole_blocks(self):
        for lanes in ("1", "3"):
            with self.subTest(lanes=lanes):
                code, out = self.run_tests("--lanes", lanes, "--patience", "5")
                self.assertEqual((code, out.splitlines()[-1]), (1, "43 passed, 5 failed, 1 skipped"), out)
                for number in range(40):
                    self.assertRegex(out, rf"test_{number} .* \.\.\. {number} begins\n({number} goes on\n){{2}}{number} ends\nok\n    \d+\.\d s\n")
                for words in ("FAIL: test_fail .*\n-+\nTraceback .*\n(.*\n)*AssertionError: 1 != 2\n", "ERROR: test_with_parts .*part='left'",
                              "ERROR: setUpClass .*SharesNothing", "ERROR: test_small.Crashes.test_crash\nlane . was killed by signal 9",
                              "ERROR: test_small.Hangs.test_hang\nlane . hangs", r"in test_hang\n", "skipped 'not today'"):
                    self.assertRegex(out, re.compile(f"(?<!.){words}" if words[0] in "FE" else words))
                self.assert_gone("crash.pid")
                self.assert_gone("hang.pid")

    def test_a_pattern_chooses(self):
        code, out = self.run_tests("test_small.Talks.test_1")
        self.assertEqual((code, out.splitlines()[-1]), (0, "11 passed, 0 failed, 0 skipped"), out)
        self.assertEqual(self.run_tests("nothing")[0], 1)

    def test_a_reader_that_goes_away_ends_all(self):
        process = self.start("--lanes", "1", "Hangs")
        wait_for(lambda: (self.folder / "hang.pid").exists() and (self.folder / "hang.pid").read_text(), "it hangs")
        process.stdout.close()
        process.send_signal(signal.SIGINT)
        self.assertNotEqual(process.wait(60), 0)
        self.assert_gone("hang.pid")

    def test_an_interrupt_ends_all(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            (self.folder / "hang.pid").unlink(missing_ok=True)
            process = self.start("Hangs")
            wait_for(lambda: (self.folder / "hang.pid").exists() and (self.folder / "hang.pid").read_text(), "it hangs")
            process.send_signal(number)
            out, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, out)
            self.assert_gone("hang.pid")
            self.assertEqual(list((self.folder / "tmp").iterdir()), [])


if __name__ == "__main__":
    unittest.main()
