"""deploy/deps.sh where everything is installed: it installs nothing, and holds libraft at the one version."""

import os
import pathlib
import subprocess
import tempfile
import unittest

from cluster import ROOT

DEPS = ROOT / "deploy/deps.sh"
PIN = "/etc/apt/preferences.d/weir-libraft"
# apt's own folders stay as they are: these lie over them, for this process and its children
ALONE = 'mount -t tmpfs none /etc/apt/preferences.d && mount -t tmpfs none /etc/apt/sources.list.d\n'


@unittest.skipUnless(os.geteuid() == 0, "packages are pinned by root")
class Deps(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="weir-it-")
        self.addCleanup(folder.cleanup)
        self.programs = pathlib.Path(folder.name)

    def fake(self, name, script):
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def alone(self, script):
        environment = {**os.environ, "LC_ALL": "C", "PATH": f"{self.programs}:{os.environ['PATH']}"}
        result = subprocess.run(["unshare", "-m", "bash", "-c", ALONE + script], env=environment, capture_output=True, text=True, timeout=60)
        if "unshare failed" in result.stderr or "mount: " in result.stderr:
            self.skipTest("no mounts here: " + result.stderr)
        return result

    def without_root(self):
        self.fake("id", "echo 1000")
        result = self.alone(f"{DEPS}; status=$?; ls {PIN} 2>&1; exit $status")
        (self.programs / "id").unlink()
        return result

    def test_the_version_is_pinned_once_it_is_there(self):
        result = self.without_root()
        if result.returncode == 3:
            self.skipTest(result.stderr)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("No such file", result.stdout)
        self.fake("apt-get", "echo apt-get is called >&2; exit 1")
        result = self.alone(f"set -e; {DEPS}; cp {PIN} /etc/apt/sources.list.d/first; stat -c %y {PIN}; {DEPS}; stat -c %y {PIN}; "
                            f"cmp {PIN} /etc/apt/sources.list.d/first; apt-cache policy libraft-dev libraft0")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        first, second, policy = result.stdout.split("\n", 2)
        self.assertEqual(first, second)
        self.assertEqual(policy.count("*** 0.22.1-"), 2, policy)
        for line in policy.splitlines():
            if line.startswith(" *** "):
                self.assertTrue(line.endswith(" 1001"), policy)

    def test_where_the_version_cannot_be_had_it_says_so_and_pins_nothing(self):
        self.fake("dpkg-query", "exit 1")
        self.fake("apt-get", "exit 0")
        self.fake("apt-cache", "echo 'libraft-dev | 0.15.0-1 | http://mirror.example/debian bookworm/main amd64 Packages'")
        result = self.alone(f"{DEPS}; status=$?; ls {PIN} /etc/apt/sources.list.d; exit $status")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no libraft-dev 0.22.1 in the machine's package sources nor in its backports", result.stderr)
        self.assertIn(f"cannot access '{PIN}'", result.stderr)


if __name__ == "__main__":
    unittest.main()
