"""Runs the integration tests and ends with one line: `N passed, N failed, N skipped`.

run.py [PATTERN]: only tests whose name contains PATTERN, such as `test_first_jobs` or `Slots`.
"""

import pathlib
import sys
import time
import unittest


class Result(unittest.TextTestResult):
    """Prints each test with its time."""

    def startTest(self, test):
        self.started = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        self.stream.writeln(f"    {time.monotonic() - self.started:.1f} s")


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def main():
    folder = pathlib.Path(__file__).resolve().parent
    tests = list(flatten(unittest.defaultTestLoader.discover(str(folder), pattern="test_*.py")))
    if len(sys.argv) > 1 and sys.argv[1]:
        tests = [test for test in tests if sys.argv[1] in test.id()]
    result = unittest.TextTestRunner(verbosity=2, resultclass=Result).run(unittest.TestSuite(tests))
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    skipped = len(result.skipped)
    print(f"{max(result.testsRun - failed - skipped, 0)} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if failed == 0 and result.testsRun > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
