"""Theories drawn by chance, in the official release's format: ProofWriter without a download.

The theories are like ProofWriter's (paper, section 4.2): facts and rules about people ("attribute")
or animals ("relation"), a question with a proof of a chosen depth, distractors up to a chosen
number of statements. With ``giveaway=False`` the text does not tell which statements the proof
uses: all rules share the same words with the question, are equally long, and facts and rules are
useful equally often; with ``rival=True`` no part of the proof gives the answer either. See
``_hidden``.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from mplib.errors import InputError, one_of
from mplib.tasks.examples import Example
from mplib.tasks.jsonl import Record
from mplib.tasks.proofwriter import logic
from mplib.tasks.proofwriter.logic import FORMS, SOMETHING, WORLDS, Literal, Rule, Theory, write
from mplib.tasks.proofwriter.release import judge, to_examples

NAMES = ("Anne", "Bob", "Charlie", "Dave", "Erin", "Fiona", "Gary", "Harry")
ANIMALS = (
    "bald eagle",
    "bear",
    "cat",
    "cow",
    "dog",
    "lion",
    "mouse",
    "rabbit",
    "squirrel",
    "tiger",
)


_ADJECTIVES = "big blue cold furry green kind nice quiet red rough round smart white young"


ATTRIBUTES = tuple(_ADJECTIVES.split())


RELATIONS = ("chases", "eats", "likes", "needs", "sees", "visits")


Draft = tuple[list[Literal], list[Rule], Literal]  # facts, rules, what Q1 is about


STYLES = ("attribute", "relation")


_TRIES = 2_000


@dataclass(frozen=True)
class TheorySettings:
    """Which theories to draw.

    Attributes:
        depth: minimal depth of the question's proof, 0 to 5.
        n_statements: facts and rules together, the paper's |S|; at least depth + 1.
        style: ``attribute`` ("Bob is red.") or ``relation`` ("The cat chases the dog." as well).
        negation: whether "not" occurs. In the open world anywhere; in the closed world, as in the
            release, only in conditions, and there only of rules that the proof does not use.
            Elsewhere a question with a proof is false exactly if it says "not", as in the release.
        world: ``closed`` or ``open``.
        giveaway: False for theories whose text does not tell useful statements from others.
        rival: whether a chain of rules for the opposite answer is as long as the proof, one link of
            it missing; else wrong rules need what no other statement speaks of.
    """

    depth: int = 1
    n_statements: int = 8
    style: str = "attribute"
    negation: bool = False
    world: str = "closed"
    giveaway: bool = True
    rival: bool = False

    def __post_init__(self) -> None:
        """Checks that such theories exist."""
        one_of("style", self.style, STYLES)
        one_of("world", self.world, WORLDS)
        if not 0 <= self.depth <= 5:
            raise InputError(f"depth={self.depth}: expected a depth from 0 to 5")
        least, most = self.depth + 1, 40
        if not self.giveaway:
            least, most = 2 * least, 24
            if self.depth == 0:
                raise InputError("giveaway=False needs depth 1: a fact that is asked shows itself")
            if self.negation and self.world == "closed":
                raise InputError("giveaway=False with negation needs world='open'")
        if self.rival and (self.giveaway or not self.negation):
            raise InputError("rival=True needs giveaway=False, negation=True and world='open'")
        if not least <= self.n_statements <= most:
            wanted = f"{least} to {most} at depth {self.depth}, giveaway={self.giveaway}"
            raise InputError(f"n_statements={self.n_statements}: expected {wanted}")


def generate(
    n: int, *, seed: int = 0, answers: Sequence[str] | None = None, **settings: Any
) -> Iterator[Record]:
    """Draws theories, each a record in the format of the official release.

    Args:
        n: how many theories.
        seed: record i depends on the seed, the settings and i alone, not on n.
        answers: answers of the questions, each equally often; by default "True" and "False", in
            the open world "Unknown" too. A question has one proof only, so that cleaning keeps it.
        settings: see ``TheorySettings``.

    Yields:
        A record with ``id``, ``theory``, ``triples``, ``rules`` and ``questions``, and in them what
        ``mplib.tasks.proofwriter.release`` reads; the release's other fields are not written.

    Raises:
        InputError: the settings allow no theory.

    >>> record = next(generate(1, depth=2, n_statements=8))
    >>> len(record["triples"]) + len(record["rules"]), record["questions"]["Q1"]["QDep"]
    (8, 2)
    """
    chosen = TheorySettings(**settings)
    answers = answers or ("True", "False", "Unknown")[: 3 if chosen.world == "open" else 2]
    # Every draw hangs on these words: they are spelt out, so that no renaming draws other theories.
    named = {name: x for name, x in vars(chosen).items() if name != "rival" or x}
    told = ", ".join(f"{name}={value!r}" for name, value in named.items())
    words = f"Settings({told}, unique=True, questions=1, forms={FORMS})"
    kind = chosen.style[:3].capitalize() + ("Neg" if chosen.negation else "Noneg")
    world = "OWA" if chosen.world == "open" else "CWA"
    for i in range(n):
        rng = random.Random(f"{seed} {i} {words}")
        for _ in range(_TRIES):
            draft = (_natural if chosen.giveaway else _hidden)(rng, chosen)
            if draft and (record := _record(rng, chosen, draft, answers[i % len(answers)])):
                size = f"D{chosen.depth}-S{chosen.n_statements}"
                yield {"id": f"{kind}-{world}-{size}-{seed}-{i}", **record}
                break
        else:
            raise InputError(f"no theory found for {chosen}: ask for fewer statements")


def examples(n: int, *, seed: int = 0, order: str = "random", **settings: Any) -> list[Example]:
    """Draws n theories and gives their questions, answered True or False, with their trees."""
    drawn = generate(n, seed=seed, answers=("True", "False"), **settings)
    return [example for record in drawn for example in to_examples(record, order, seed)]


def vocabulary() -> list[str]:
    """Every word and mark that may occur in a drawn theory, its question or the answer to it."""
    verbs = [*RELATIONS, *map(logic.base_form, RELATIONS)]
    words = " ".join([*NAMES, *ANIMALS, *ATTRIBUTES, *verbs, logic.FRAME]).lower().split()
    return sorted({*words, *map(str.capitalize, words), "True", "False", "Unknown", "or", "?"})


def _natural(rng: random.Random, chosen: TheorySettings) -> Draft | None:
    """A theory like ProofWriter's: a chain of rules from a fact to the question, distractors."""
    relations = rng.sample(RELATIONS, 3)
    people = chosen.style == "attribute"
    things = rng.sample(NAMES if people else ANIMALS, 6)
    anywhere = chosen.negation and chosen.world == "open"

    def literal(subject: str, negative: bool = anywhere) -> Literal:
        polarity = "-" if negative and rng.random() < 0.25 else "+"
        if people or rng.random() < 0.4:
            return Literal(subject, "is", rng.choice(ATTRIBUTES), polarity)
        other = rng.choice([thing for thing in things if thing != subject])
        return Literal(subject, rng.choice(relations), other, polarity)

    def rule(body: Sequence[Literal], head: Literal) -> Rule:
        """About whatever the first condition is about, mostly; sometimes about that thing alone."""
        subject, parts = body[0].subject, [*body, head]
        if rng.random() < 0.85:
            parts = [x._replace(subject=SOMETHING) if x.subject == subject else x for x in parts]
        return Rule(tuple(parts[:-1]), parts[-1])

    target = literal(rng.choice(things))
    facts, seen = [target], {target[:3]}
    rules: list[Rule] = []
    for step in range(chosen.depth):
        body = [target]
        left = chosen.n_statements - len(facts) - len(rules) - (chosen.depth - step)
        if left > 0 and rng.random() < 0.35:
            extra = literal(target.subject)
            if extra[:3] not in seen:
                body.append(extra)
                facts.append(extra)
                seen.add(extra[:3])
                rng.shuffle(body)
        moves = not people and rng.random() < 0.25
        target = literal(rng.choice(things) if moves else target.subject)
        if target[:3] in seen:
            return None
        seen.add(target[:3])
        rules.append(rule(body, target))
    wanted = max(len(facts), round(rng.uniform(0.4, 0.6) * chosen.n_statements))
    wanted = min(wanted, chosen.n_statements - len(rules))
    for _ in range(_TRIES):
        if len(facts) + len(rules) == chosen.n_statements:
            return facts, rules, target
        subject = rng.choice(things)
        if len(facts) < wanted:
            fact = literal(subject)
            if fact not in facts and fact.negated() not in facts:
                facts.append(fact)
            continue
        body = [literal(subject) for _ in range(rng.choice((1, 1, 2)))]
        if chosen.negation and rng.random() < 0.3:
            body.append(literal(subject, negative=True))
        moves = not people and rng.random() < 0.25
        new = rule(body, literal(rng.choice(things) if moves else subject))
        parts = [part[:3] for part in (*new.body, new.head)]
        if new not in rules and len({*parts}) == len(parts):
            rules.append(new)
    return None


def _hidden(rng: random.Random, chosen: TheorySettings) -> Draft:
    """A theory in which shared words, length, position and kind say nothing about the proof.

    The question is about a thing ("Bob") and a predicate ("is blue"). Every other statement is
    about the thing with another predicate or about another thing with the predicate, and every
    rule leads from one kind to the other (or to the question): "If Erin is blue then Bob is red."
    So each rule shares the same words with the question, whether it is useful, at which height,
    or not at all. Distractor rules conclude the question, or a step of the proof, from what cannot
    be proven, or something idle from what can. Facts stand to rules as in the proof, so that
    either kind is useful equally often.

    Of the rules about the question, the right one is then the one whose condition another statement
    concludes: the beginning of a long proof need not be read. A rival takes this away: a proof of
    the opposite as long, in which one rule wants something else, at a height drawn by chance.
    """
    people = chosen.style == "attribute"
    things = list(NAMES) if people else [x for x in ANIMALS if " " not in x]
    rng.shuffle(things)
    subject, *others = things
    if people:
        predicates = [("is", x) for x in rng.sample(ATTRIBUTES, len(ATTRIBUTES))]
    else:
        relation, what = rng.choice(RELATIONS), others.pop()
        predicates = [(r, x) for r in RELATIONS for x in others if r != relation]
        rng.shuffle(predicates)
        predicates.insert(0, (relation, what))

    def draw(thing: str, predicate: tuple[str, str]) -> Literal:
        negative = chosen.negation and rng.random() < 0.5
        return Literal(thing, *predicate, "-" if negative else "+")

    question = draw(subject, predicates[0])
    pools = ([draw(x, predicates[0]) for x in others], [draw(subject, x) for x in predicates[1:20]])

    def steps_to(end: Literal) -> list[Literal]:
        side = rng.randrange(2)
        return [end, *(pools[(side + step) % 2].pop() for step in range(chosen.depth))][::-1]

    steps = steps_to(question)
    facts, rules = [steps[0]], [Rule((body,), head) for body, head in pairwise(steps)]
    true, heads = steps[1:-1], steps[1:]
    if chosen.rival:
        rival, broken = steps_to(question.negated()), rng.randrange(chosen.depth)
        facts.append(rival[0])
        other = pools[rival[broken].subject == subject].pop()
        told = [*rival[:broken], other, *rival[broken + 1 :]]
        rules += [Rule((body,), head) for body, head in zip(told, rival[1:], strict=False)]
        true += rival[1 : broken + 1]
        heads += rival[1:]
    share = chosen.n_statements / (chosen.depth + 1)
    n_facts = min(int(share + rng.random()), chosen.n_statements - len(rules))
    while len(facts) < n_facts:
        # two of each pool stay in reserve for what cannot be proven
        facts.append(rng.choice([pool for pool in pools if len(pool) > 2]).pop())
    idle = [pool.pop() for pool in pools for _ in range((len(pool) - 1) // 2)]
    false = [literal for pool in pools for literal in pool]
    true = [*facts, *true, *idle]
    while len(rules) < chosen.n_statements - n_facts:
        if rng.random() < 0.5:
            body, head = rng.choice(false), rng.choice(heads)
            # Or any rule about the question would tell the answer by its own "not".
            head = head.negated() if chosen.negation and rng.random() < 0.5 else head
        else:
            body, head = rng.choice(true), rng.choice([*facts[1:], *idle])
        crosses = head[:3] == question[:3] or (body.subject == subject) != (head.subject == subject)
        if crosses and Rule((body,), head) not in rules:
            rules.append(Rule((body,), head))
    return facts, rules, question


def _record(rng: random.Random, chosen: TheorySettings, draft: Draft, answer: str) -> Record | None:
    """The record of a draft; None where its logic is not what was asked for."""
    facts, rules, target = draft
    rng.shuffle(facts)
    rng.shuffle(rules)
    theory = Theory((*facts, *rules), chosen.world)
    try:
        depths = theory.depths
    except InputError:  # circular negation
        return None
    if depths.get(target) != chosen.depth or theory.contradicts:
        return None
    names = [f"triple{i}" for i, _ in enumerate(facts, 1)]
    names += [f"rule{i}" for i, _ in enumerate(rules, 1)]
    proof, *others = islice(theory.proofs(target, len(names)), 2)
    if others or judge(proof, proof.text(names), chosen.depth, len(names)) != "kept":
        return None  # cleaning would drop it
    rng.shuffle([x for x in depths if depths[x] <= chosen.depth][1:])  # else draws change
    if not (about := _unknown(rng, theory) if answer == "Unknown" else target):
        return None
    question = _question(theory, about.negated() if answer == "False" else about, names)
    people = rng.random() < 0.5
    texts = [write(x, rng.choice(FORMS), people) for x in theory.statements]
    told = [(name, {"text": text}) for name, text in zip(names, texts, strict=True)]
    parts = {"triples": dict(told[: len(facts)]), "rules": dict(told[len(facts) :])}
    return {"theory": " ".join(texts), **parts, "questions": {"Q1": question}}


def _unknown(rng: random.Random, theory: Theory) -> Literal | None:
    """Something about the theory's things that it neither proves nor refutes."""
    told = theory.statements
    parts = [x for s in told for x in ((*s.body, s.head) if isinstance(s, Rule) else (s,))]
    subjects = {x.subject for x in parts} - {SOMETHING}
    said = {x[1:] for x in parts} | {("is", x, "+") for x in rng.sample(ATTRIBUTES, 2)}
    literals = {Literal(thing, *what) for thing in subjects for what in said if thing not in what}
    undecided = sorted(x for x in literals if theory.target(x) is None)
    return rng.choice(undecided) if undecided else None


def _question(theory: Theory, asked: Literal, names: Sequence[str]) -> Record:
    target = theory.target(asked)
    proof = next(theory.proofs(target)) if target else None
    return {
        "question": write(asked),
        "answer": {"True": True, "False": False}.get(theory.truth(asked), "Unknown"),
        "QDep": proof.depth if proof else 0,
        "QLen": proof.size if proof else "",
        "proofs": f"[({proof.text(names)})]" if proof else "",
    }
