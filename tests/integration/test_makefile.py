"""What the long runs of the Makefile come to, without running them."""

import os
import re
import subprocess
import unittest

from cluster import ROOT


class Makefile(unittest.TestCase):
    def test_a_fault_that_never_met_a_phase_fails_the_soak(self):
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
        result = subprocess.run(["make", "-n", "soak", "ROUNDS=1"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        runs = re.findall(r"^build/weir-sim --seeds (\d+)\.\.(\d+)(.*)$", result.stdout, re.M)
        self.assertEqual(len(runs), 1, runs)
        first, last, flags = runs[0]
        self.assertGreaterEqual(int(last) - int(first) + 1, 10_000)
        self.assertIn("--ledger", flags)


if __name__ == "__main__":
    unittest.main()
