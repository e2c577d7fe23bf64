"""The page of worked examples: real problems, trees and their description in words."""

import re

from mplib.report.worked import worked_page


def test_each_task_is_drawn_and_described() -> None:
    made = worked_page()
    page = made["worked.md"]
    drawn = re.findall(r"```\{image\} (\S+)\n:alt: (.+)\n", page)
    assert len(drawn) == 4 and {file for file, _ in drawn} | {"worked.md"} == made.keys()
    for file, alt in drawn:
        assert re.search(r"Answer: .+ Gold tree, at height 0: .+ at height 1: .+ \d useless\.", alt)
        assert made[file].count("<path") > 8
    # The third smallest of 4 30 1 18 2 36 48 16.
    assert "Answer: 4. Gold tree, at height 0: 1; 2, at height 1: 4; 5 useless." in page
    assert worked_page() == made, "equal trees give equal files"
