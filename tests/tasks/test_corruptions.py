"""Corruptions: the statement asked for, nothing else, in the text that the model reads."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mplib.errors import InputError
from mplib.models.fewshot import few_shot, write
from mplib.tasks.corruptions import CORRUPTIONS, corrupt, corrupt_all
from mplib.tasks.examples import Example
from mplib.tasks.proofwriter import generator
from mplib.tasks.proofwriter.logic import Rule, read, read_fact, read_theory
from mplib.tasks.proofwriter.release import to_examples
from mplib.tasks.task import TEMPLATES
from mplib.tasks.trees import ReasoningTree

KINDS = [
    {"depth": 0, "n_statements": 3},
    {"depth": 1, "n_statements": 4},
    {"depth": 2, "n_statements": 8},
    {"depth": 3, "n_statements": 12, "style": "relation"},
    {"depth": 1, "n_statements": 8, "negation": True, "world": "open"},
    {"depth": 2, "n_statements": 9, "giveaway": False},
]
DRAWN = [
    (example, kind.get("world", "closed"))
    for kind in KINDS
    for example in generator.examples(12, **kind)
]
some_theory = st.sampled_from(DRAWN)
REWORDED = sorted({*CORRUPTIONS} - {"shuffled", "useful removed", "useless removed"})


def tiny(useful: int = 1, others: int = 2) -> Example:
    """A chain of useful statements, then useless ones."""
    n = useful + others
    tree = ReasoningTree.from_edges([(i, i + 1) for i in range(useful - 1)], n, root=useful - 1)
    return Example(tuple(f"Word {i}." for i in range(n)), "Word?", "yes", tree, "g", ("no", "yes"))


# Statements in words


@given(some_theory, st.sampled_from(sorted(CORRUPTIONS)), st.integers(0, 5))
def test_only_what_was_asked_for_is_hit(drawn, name, seed):
    example, _ = drawn
    found = corrupt(example, name, seed)
    if found is None:
        return
    other = found.example
    kept = ("question", "answer", "group", "choices")
    assert all(getattr(other, field) == getattr(example, field) for field in kept)
    if name == "shuffled":
        assert found.hit is None
        assert other.statements != example.statements
        assert sorted(other.statements) == sorted(example.statements)
        return
    useful = found.hit in example.tree.useful
    assert useful == ("useless" not in name) or name == "first negated"
    before, now = list(example.statements), list(other.statements)
    hit = before.pop(found.hit)
    if "removed" not in name:
        assert now.pop(found.hit) != hit
        assert (other.tree, other.kinds) == (example.tree, example.kinds)
    assert now == before


@given(some_theory, st.sampled_from(["shuffled", "useful removed", "useless removed"]))
def test_the_tree_moves_with_the_statements(drawn, name):
    example, _ = drawn
    if (found := corrupt(example, name)) is None:
        return
    # Statements of a theory differ, so a text names one.
    assert len({*example.statements}) == len(example.statements)
    height = dict(zip(example.statements, example.tree.labels().tolist(), strict=True))
    other = found.example
    assert other.tree.labels().tolist() == [height[text] for text in other.statements]
    text = dict(enumerate(example.statements))
    edges = {(text[a], text[b]) for a, b in example.tree.edges if found.hit not in (a, b)}
    assert {(other.statements[a], other.statements[b]) for a, b in other.tree.edges} == edges
    assert other.tree.depth == max(other.tree.heights.values())
    if example.tree.root != found.hit:
        assert other.statements[other.tree.root] == text[example.tree.root]
    kind = dict(zip(example.statements, example.kinds, strict=True))
    assert other.kinds == tuple(kind[text] for text in other.statements)


@given(some_theory, st.sampled_from(["useful negated", "useless negated", "first negated"]))
def test_a_negation_has_the_papers_words(drawn, name):
    example, _ = drawn
    if found := corrupt(example, name):
        said = example.statements[found.hit]
        assert found.example.statements[found.hit] == f"That {said[:-1]} is false."
        assert found.hit == example.first or name != "first negated"


def test_the_first_statement_is_the_releases_wherever_it_stands():
    (record,) = generator.generate(1, depth=1, n_statements=8)
    first = record["triples"]["triple1"]["text"]
    for seed in range(5):
        (example,) = to_examples(record, "random", seed)
        found = corrupt(example, "first negated")
        assert example.statements[found.hit] == first and found.hit == example.first
        rest = [i for i in range(8) if i != found.hit]
        assert example.arranged(range(7, -1, -1)).first == 7 - found.hit
        assert example.arranged(rest).first == 0
    assert found.hit, "the last order should have moved it"


@given(some_theory, st.integers(0, 5))
def test_a_paraphrase_keeps_the_meaning(drawn, seed):
    example, world = drawn
    if (found := corrupt(example, "paraphrased", seed)) is None:
        return
    told = [read_theory(" ".join(x.statements), world) for x in (example, found.example)]
    assert told[0] == told[1]
    question = read_fact(example.question)
    assert [theory.truth(question) for theory in told] == [example.answer] * 2


@given(some_theory, st.integers(0, 5))
def test_a_negated_conclusion_changes_the_head_alone(drawn, seed):
    example, _ = drawn
    if (found := corrupt(example, "conclusion negated", seed)) is None:
        assert not any(isinstance(read(example.statements[i]), Rule) for i in example.tree.useful)
        return
    before, now = (read(x.statements[found.hit]) for x in (example, found.example))
    assert now == before._replace(head=before.head.negated())
    # The words of its conditions stay too.
    first, second = (x.statements[found.hit] for x in (example, found.example))
    conditions = re.compile(".+ (?:then|things|people) ")
    assert conditions.match(first)[0] == conditions.match(second)[0]


@given(some_theory, st.sampled_from(sorted(CORRUPTIONS)))
def test_the_same_seed_gives_the_same_corruption_in_any_company(drawn, name):
    example, _ = drawn
    alone = corrupt(example, name, 3)
    assert alone == corrupt(example, name, 3)
    if alone is not None:
        found, possible = corrupt_all([DRAWN[0][0], example, DRAWN[1][0]], name, 3)
        assert found[int(possible[0])] == alone and possible[1]


def test_seeds_hit_different_statements_and_removals_the_negated_ones():
    example = tiny(useful=4, others=4)
    for kind in ("useful", "useless"):
        hits = [corrupt(example, f"{kind} negated", seed).hit for seed in range(200)]
        removed = [corrupt(example, f"{kind} removed", seed).hit for seed in range(200)]
        assert hits == removed
        counts = np.unique(hits, return_counts=True)[1]
        assert len(counts) == 4 and counts.min() > 25, "each equally often"


@given(some_theory, st.sampled_from(REWORDED), st.sampled_from(sorted(TEMPLATES.values())))
def test_the_text_that_the_model_reads_is_changed_there_alone(drawn, name, template):
    example, _ = drawn
    if (found := corrupt(example, name)) is None:
        return
    before, now = (write(x, template) for x in (example, found.example))
    (start, end), (_, new_end) = before.statements[found.hit], now.statements[found.hit]
    assert before.text[:start] == now.text[:start]
    assert before.text[end:] == now.text[new_end:]
    assert now.text[start:new_end] == found.example.statements[found.hit]
    assert before.text[start:end] == example.statements[found.hit]


@pytest.mark.parametrize("template", sorted(TEMPLATES.values()))
@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_prompts_hold_the_corrupted_statement_behind_clean_demonstrations(
    word_tokenizer, template, name
):
    *shown, example = generator.examples(4, depth=2, n_statements=8)
    found = corrupt(example, name)
    other = found.example
    prompts, choices = few_shot(word_tokenizer, [other], [shown], template=template)
    tokens = prompts.whole().input_ids[0]
    words = word_tokenizer.convert_ids_to_tokens(tokens)
    before = "".join(f"{write(x, template).text} {x.answer}\n" for x in shown)
    assert words == (before + write(other, template).text).split()
    spans = prompts.whole().statements[0]
    assert [" ".join(words[a:b]) for a, b in spans] == [*other.statements]
    assert len(choices) == 2


def test_what_cannot_be_corrupted_is_none_or_said():
    assert corrupt(tiny(useful=3, others=0), "useless negated") is None
    assert corrupt(tiny(useful=3, others=0), "useless removed") is None
    assert corrupt(tiny(useful=1), "useful removed") is None, "its tree would be empty"
    assert corrupt(tiny(useful=3), "paraphrased") is None
    assert corrupt(tiny(useful=3), "conclusion negated") is None
    alone = tiny(useful=1, others=0)
    assert corrupt(alone, "shuffled") is None
    assert corrupt(alone, "useful negated").hit == 0
    found, possible = corrupt_all([alone, tiny()], "useless negated")
    assert (len(found), possible.tolist()) == (1, [False, True])
    with pytest.raises(InputError, match="'useless negated' is possible in none of the 1 examples"):
        corrupt_all([alone], "useless negated")
    with pytest.raises(InputError, match=r"'useful negatd': expected .* mean 'useful negated'"):
        corrupt(alone, "useful negatd")


@pytest.fixture(scope="module")
def word_tokenizer():
    """Every word of the theories, template and answers is a token."""
    texts = [write(x, t).text for x, _ in DRAWN for t in TEMPLATES.values()]
    drawn = generator.examples(4, depth=2, n_statements=8)
    for name in CORRUPTIONS:
        texts += [write(found.example, "").text for x in drawn if (found := corrupt(x, name))]
    words = sorted({word for text in texts for word in text.split()} | {"True", "False"})
    words += ["<unk>", "<pad>"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", padding_side="left"
    )
