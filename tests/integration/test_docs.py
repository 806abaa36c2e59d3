"""The user's page on job files names every connector, option, format option and function that there is."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Docs(unittest.TestCase):
    def test_job_file_page_is_complete(self):
        page = (ROOT / "docs/job-file.md").read_text()
        catalog = (ROOT / "common/catalog/connector_desc.def").read_text()
        names = re.findall(r'^(?:CONNECTOR|FORMAT)\(\w+, "([^"]+)"', catalog, re.M)
        names += re.findall(r'^OPTION\(\w+, "([^"]+)"', catalog, re.M) + re.findall(r'^FORMAT_OPTION\(\w+, "([^"]+)"', catalog, re.M)
        self.assertGreater(len(names), 20)
        for name in names:
            self.assertIn(f"`{name}`", page)
        props = (ROOT / "common/catalog/kafka_props.def").read_text()
        names = re.findall(r'^(?!REFUSED)[A-Z_]+\("([^"]+)"', props, re.M)
        self.assertGreater(len(names), 40)
        for name in names:
            self.assertIn(f"`{name}`", page)
        functions = re.findall(r'^X\(\w+, "([A-Z_]+)"', (ROOT / "common/expr/fn.def").read_text(), re.M)
        self.assertGreater(len(functions), 60)
        words = set(re.findall(r"\w+", page))
        inner = {"NEGATE", "FLOOR_TO"}  # how unary minus and FLOOR(x TO unit) are called inside
        self.assertEqual(sorted(set(functions) - words - inner), [])


if __name__ == "__main__":
    unittest.main()
