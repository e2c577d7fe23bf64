"""Trees drawn by chance and put into words three times: true, invented and false.

A tree is a chain: a thing is of a kind, which is a kind of another, and so on; the last kind has a
property, or lacks it. Beside it stand as many chains of the same form about other things, every
other one ending in the opposite, so that neither words nor numbers tell the answer.

The *true* wording says what is so, and knowledge of the thing's kind gives the answer. The
*invented* one has nouns that nobody knows. The *false* one has the nouns of the true one in a wrong
order: no rule is true, and what is known of the thing's kind gives the opposite answer. All else is
the same to the word: frames, names, property, question, answer, order; so what the text shows
(``mplib.tasks.textbaseline``) is equal in number.

**What the text still tells.** A fact is useful if its name is the question's. A rule about the
property is as high as the tree, so heights are told by the words up to depth 2; from depth 3 on the
order of the rules between is not. That a rule is useful is not told: each has its like in another
chain, equally long, with as many words of the question and of other statements, and only who
follows the chain from the name, or from the property, knows which one is which.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mplib.errors import InputError
from mplib.tasks.examples import Example, ordered
from mplib.tasks.ontology.lexicon import Lexicon
from mplib.tasks.trees import ReasoningTree

WORLDS = ("true", "invented", "false")
"""The wordings of a tree."""


Chain = tuple[str, ...]
"""Nouns from the thing's kind upwards."""


@dataclass(frozen=True)
class Drawn:
    """A tree with its distractors before it is worded; the first chain is the useful one.

    Attributes:
        chains: nouns of each chain in each world.
        names: what each chain is about.
        about: the property.
        has: whether the kinds of each chain are said to have it.
        negated: whether the question says "not".
    """

    chains: dict[str, list[Chain]]
    names: tuple[str, ...]
    about: str
    has: tuple[bool, ...]
    negated: bool

    def example(self, world: str, order: str, group: str) -> Example:
        """The tree as it is worded in a world.

        Args:
            world: one of ``WORLDS``.
            order: of the statements: ``random``, or ``given`` (chain by chain).
            group: name of the tree, the same in every world; the order depends on it alone.
        """
        told: list[str] = []
        for chain, name, has in zip(self.chains[world], self.names, self.has, strict=True):
            told.append(f"{name} is a {chain[0]}.")
            told += [f"Every {low} is a {high}." for low, high in pairwise(chain)]
            told.append(f"{'Every' if has else 'No'} {chain[-1]} is {self.about}.")
        length = len(told) // len(self.names)
        tree = ReasoningTree.from_edges(pairwise(range(length)), len(told))
        question = f"{self.names[0]} is {'not ' if self.negated else ''}{self.about}."
        kinds = ("fact", *["rule"] * (length - 1)) * len(self.names)
        answer = str(self.has[0] != self.negated)
        whole = Example(tuple(told), question, answer, tree, group, ("True", "False"), kinds)
        return whole.arranged(ordered(len(told), order, group))


def draw(
    lexicon: Lexicon, n: int, depth: int, chains: int, seed: int, invented: Sequence[str]
) -> Iterator[Drawn]:
    """Draws trees; of every four, each answer comes once with either polarity of the question.

    Args:
        lexicon: the words.
        n: how many trees.
        depth: height of the tree, 1 or more: a fact and as many rules.
        chains: the useful one and its distractors.
        seed: tree i depends on the seed, the lexicon, depth, chains and i alone, not on n.
        invented: nouns of the invented world.

    Raises:
        InputError: the lexicon has too few words for such trees.
    """
    share, names = chains // 2, lexicon.names
    sides = {
        name: {has: lexicon.chains(name, has, depth) for has in (True, False)}
        for name in lexicon.properties
    }
    able = {name: of for name, of in sides.items() if min(map(len, of.values())) >= share}
    if not able or min(len(invented) // depth, len(names)) < chains:
        raise _poor(depth, chains)
    for i in range(n):
        rng, negated = random.Random(f"{seed} {i} {depth} {chains}"), bool(i // 2 % 2)
        first = bool(i % 2) == negated  # so that every second answer is True
        has = (first, not first) * share
        about, true = _true(able, has, rng)
        nouns = rng.sample(invented, chains * depth)
        unknown = [tuple(nouns[at : at + depth]) for at in range(0, len(nouns), depth)]
        worded = {"true": true, "invented": unknown, "false": _false(lexicon, true, has, rng)}
        yield Drawn(worded, tuple(rng.sample(names, chains)), about, has, negated)


def _poor(depth: int, chains: int) -> InputError:
    needs = "a property that such chains of nouns have and others lack, invented nouns, names"
    few = f"the lexicon has too few words for depth {depth} with {chains} chains"
    return InputError(f"{few}: it needs {needs}; add some, or ask for less")


def _true(
    able: Mapping[str, Mapping[bool, Sequence[Chain]]], has: Sequence[bool], rng: random.Random
) -> tuple[str, list[Chain]]:
    """A property, and chains of which every other one has it, without a noun in common."""
    for _ in range(1_000):
        about = rng.choice([*able])
        share = len(has) // 2
        pools = {side: rng.sample(chains, share) for side, chains in able[about].items()}
        found = [pools[side].pop() for side in has]
        if len({noun for chain in found for noun in chain}) == len(found) * len(found[0]):
            return about, found
    raise _poor(len(found[0]), len(found))


def _false(
    lexicon: Lexicon, true: Sequence[Chain], has: Sequence[bool], rng: random.Random
) -> list[Chain]:
    """The nouns in another order: both ends of a chain are the opposite kind, no rule is true."""
    while True:
        pools: dict[bool, list[str]] = {True: [], False: []}
        for chain, own in zip(true, has, strict=True):
            pools[own] += chain
        for pool in pools.values():
            rng.shuffle(pool)
        ends = [[pools[not own].pop() for _ in true[0][:2]] for own in has]
        rest = pools[True] + pools[False]
        rng.shuffle(rest)
        found = [(low, *(rest.pop() for _ in true[0][2:]), *top) for low, *top in ends]
        if not any(b in lexicon.line(a) for chain in found for a, b in pairwise(chain)):
            return found
