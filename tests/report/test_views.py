"""The flow of attention as a page to play with: whole, offline, escaped."""

import base64
import json
import re
from html import unescape

import numpy as np
import pandas as pd

from mplib.report import figures
from mplib.report.figures import Flow
from mplib.tasks.examples import Example
from mplib.tasks.steps import Trace
from mplib.tasks.trees import PADDING, USELESS, ReasoningTree

GIVEN = r"const given = (\[.*?\]), \$ ="


def drawn(found) -> list[dict]:
    """What an interactive flow was given, read out of its page."""
    page = unescape(re.search(r'srcdoc="([^"]*)"', found.data)[1])
    return json.loads(re.search(GIVEN, page)[1])


def test_the_interactive_flow_is_whole_offline_and_escaped():
    weights = np.tril(np.random.default_rng(0).random((2, 5, 5))) / 3
    evil = '</script><script>alert("x")</script>'
    html = figures.attention_flow_page([Flow(evil, weights, {2: evil}), Flow("b", weights[:1])])
    page = unescape(re.search(r'srcdoc="([^"]*)"', html.data)[1])
    assert page.count("</script>") == 2 and evil not in page
    links = re.sub(r"http://www\.w3\.org/2000/svg", "", page)
    assert "http" not in links and "src=" not in links and "fetch(" not in links
    assert 'sandbox="allow-scripts"' in html.data
    first, second = drawn(html)
    assert first["name"] == evil and first["marks"] == {"2": evil}
    assert (first["layers"], first["tokens"], second["layers"]) == (2, 5, 1)
    steps = np.frombuffer(base64.b64decode(first["weights"]), np.uint8).reshape(2, 5, 5)
    np.testing.assert_allclose(steps / 255 * first["top"], weights, atol=first["top"] / 500)


def test_a_flow_of_zeros_can_be_drawn():
    nothing = Flow("nothing", np.zeros((2, 4, 4)))
    assert drawn(figures.attention_flow_page([nothing]))[0]["least"] == 1
    assert figures.attention_flow([nothing, nothing]).axes


def test_written_reasoning_is_whole_offline_and_escaped():
    evil = '</script><script>alert("x")</script>'
    edges = {"gold": np.array([[True, False, False]]), "needed": np.zeros((1, 3), bool)}
    trace = Trace("name", (evil, "b", "c"), 2, edges)
    html = figures.written_page([trace])
    page = unescape(re.search(r'srcdoc="([^"]*)"', html.data)[1])
    assert page.count("</script>") == 2 and evil not in page
    given = json.loads(re.search(GIVEN, page)[1])
    assert given[0]["units"][0] == evil and given[0]["edges"] == {"gold": [[0]], "needed": [[]]}


def test_trees_are_whole_offline_and_escaped():
    evil = '</script><script>alert("x")</script>'
    tree = ReasoningTree.from_edges([(0, 1)], 3)
    example = Example((evil, "b", "c"), "Is it?", "True", tree)
    read = np.array([[0, 1, USELESS, PADDING], [0, USELESS, 0, PADDING]] * 2)
    html = figures.trees_page([example] * 4, read, most=4)
    page = unescape(re.search(r'srcdoc="([^"]*)"', html.data)[1])
    assert page.count("</script>") == 2 and evil not in page
    given = json.loads(re.search(GIVEN, page)[1])
    assert len(given) == 4 and given[0]["name"].startswith("best")
    assert given[0]["units"] == [evil, "b", "c"] and given[0]["goldEdges"] == [[0, 1]]
    assert given[0]["gold"] == given[0]["read"] == [0, 1, -1]
    worst = next(one for one in given if one["name"].startswith("worst"))
    assert worst["marks"] == ["right", "missed", "extra"] and worst["readEdges"] == []


def test_heads_of_examples_of_any_length_are_shown():
    tree = ReasoningTree.from_edges([(0, 1)], 3)
    examples = [Example((text, "b", "c"), "Is it?", "True", tree) for text in ("</script>", "a")]
    attention = np.random.default_rng(0).random((2, 4, 2, 3))
    attention[:, 3] = np.nan  # of padding
    page = figures.heads_page(examples, attention).page
    given = json.loads(re.search(GIVEN, page)[1])
    assert page.count("</script>") == 2 and given[0]["gold"] == [0, 1, -1]
    found = np.array([one["weights"] for one in given])
    np.testing.assert_allclose(found, np.moveaxis(attention[:, :3], 1, -1), atol=6e-4)


def test_curves_are_whole_whatever_is_not_defined():
    rows = [
        {"score": "S_P1", "set": name, "layers": layer, "subject": who, "value": value,
         "low": value - 0.1, "high": value + 0.1}
        for name in ("</script>", "b") for who in ("m", "twin")
        for layer, value in ((2, 0.5), (1, 0.2))
    ]  # fmt: skip
    table = pd.DataFrame(rows).drop(index=0)
    page = figures.curves_page(table, "subject", ["score", "set"], "Up to layer").page
    first, second = json.loads(re.search(GIVEN, page)[1])
    assert page.count("</script>") == 2 and first["name"].endswith("</script>")
    assert first["layers"] == second["layers"] == [1, 2]
    assert first["lines"][0] == {"name": "m", "values": [[0.2, 0.1, 0.3], [None, None, None]]}
    assert [line["name"] for line in second["lines"]] == ["m", "twin"]


def test_arcs_tell_right_from_extra_and_missed():
    gold = np.array([[True, True, False]])
    read = np.array([[True, False, False]])
    trace = Trace("name", ("a", "b", "c"), 2, {"gold": gold, "read": read})
    first, second = figures.arcs(trace).axes
    assert [arc.get_linestyle() for arc in first.patches] == ["-", "-"]
    assert sorted(arc.get_linestyle() for arc in second.patches) == ["-", ":"]
    extra = Trace("name", ("a", "b", "c"), 2, {"gold": ~gold & False, "read": gold})
    assert {arc.get_linestyle() for arc in figures.arcs(extra).axes[1].patches} == {"--"}
