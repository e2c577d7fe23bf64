"""Theories of facts and rules: ProofWriter's English to logic and back, truth, depth, proofs.

The language is that of ProofWriter (Tafjord et al. 2021; paper, section 4.2 and appendix C.3).
A rule has at most one variable, "something" or "someone". In the closed world what cannot be
proven is false (negation as failure, stratified); in the open world a "not" must itself be proven.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count
from typing import NamedTuple

from mplib.errors import InputError, one_of
from mplib.tasks.trees import ReasoningTree

SOMETHING = "something"
"""The variable of a rule, as subject or object of its literals."""


WORLDS = ("closed", "open")


FORMS = ("if", "all", "plain")
"""How a rule can be worded; see ``write``."""


_PRONOUN = "it"


class Literal(NamedTuple):
    """What is said of a subject: ``("Bob", "is", "red", "+")``, ``("cat", "sees", "Bob", "-")``."""

    subject: str
    relation: str
    object: str
    polarity: str = "+"

    def negated(self) -> "Literal":
        """The same statement with the other polarity."""
        return self._replace(polarity="-" if self.polarity == "+" else "+")

    def about(self, thing: str, variable: str = SOMETHING) -> "Literal":
        """The same statement with ``thing`` in the places of the variable."""
        return Literal(*(thing if word == variable else word for word in self))


class Rule(NamedTuple):
    """If every literal of the body holds, so does the head, whatever the variable stands for."""

    body: tuple[Literal, ...]
    head: Literal


Statement = Literal | Rule


Known = Collection[Literal]


class Proof(NamedTuple):
    """A statement of the theory (by index) applied to the proofs of its premises."""

    statement: int
    premises: tuple["Proof", ...] = ()

    @property
    def depth(self) -> int:
        """How many rules stand above each other; 0 for a fact."""
        return 1 + max(p.depth for p in self.premises) if self.premises else 0

    @property
    def size(self) -> int:
        """How many statements the proof names, repeated ones as often (``QLen``)."""
        return 1 + sum(p.size for p in self.premises)

    def edges(self) -> Iterator[tuple[int, int]]:
        """Pairs (premise, conclusion) of statement indices; every premise of every step."""
        for premise in self.premises:
            yield from premise.edges()
            yield premise.statement, self.statement

    def tree(self, n_statements: int) -> ReasoningTree:
        """The gold tree; an InputError where a rule stands above itself or a premise is NAF."""
        return ReasoningTree.from_edges(self.edges(), n_statements, root=self.statement)

    def text(self, names: Sequence[str]) -> str:
        """The proof as the official release writes it, ``((triple4) -> rule1)``.

        >>> Proof(2, (Proof(1, (Proof(0),)), Proof(0))).text(["triple1", "rule1", "rule2"])
        '((((triple1) -> rule1) triple1) -> rule2)'
        """
        if not self.premises:
            return "NAF" if self == NAF else names[self.statement]
        premises = " ".join(p.text(names) for p in self.premises)
        return f"(({premises}) -> {names[self.statement]})"


NAF = Proof(-1)
"""The premise "nothing proves it": negation as failure, in the closed world."""


@dataclass(frozen=True)
class Theory:
    """Facts and rules with what follows from them.

    Attributes:
        statements: facts (``Literal``) and rules (``Rule``) in the order in which they are told.
        world: ``closed`` or ``open``.
    """

    statements: tuple[Statement, ...]
    world: str = "closed"

    def __post_init__(self) -> None:
        """Checks the world's name."""
        one_of("world", self.world, WORLDS)

    @cached_property
    def facts(self) -> dict[Literal, list[int]]:
        """The told facts with the indices of their statements."""
        told = self.statements
        facts = [statement for statement in told if isinstance(statement, Literal)]
        return {fact: [i for i, other in enumerate(told) if other == fact] for fact in facts}

    @cached_property
    def instances(self) -> list[tuple[int, tuple[Literal, ...], Literal]]:
        """Every rule for everything its variable may be: (statement, body, head)."""
        rules = [(i, s) for i, s in enumerate(self.statements) if isinstance(s, Rule)]
        literals = [*self.facts, *(part for _, rule in rules for part in (*rule.body, rule.head))]
        things = {literal.subject for literal in literals}
        things |= {literal.object for literal in literals if literal.relation != "is"}
        names = sorted(things - {SOMETHING})
        return [
            (index, tuple(literal.about(name) for literal in body), head.about(name))
            for index, (body, head) in rules
            for name in (names if any(SOMETHING in x for x in (*body, head)) else [SOMETHING])
        ]

    @property
    def contradicts(self) -> bool:
        """Whether it proves something and the opposite; see ``depths`` for what is raised."""
        return any(literal.negated() in self.depths for literal in self.depths)

    def _holds(self, literal: Literal, known: Known, assumed: Known) -> bool:
        if self.world == "closed" and literal.polarity == "-":
            return literal.negated() not in assumed
        return literal in known

    def _derive(self, assumed: Known) -> dict[Literal, int]:
        """All that follows, by minimal depth, when failures are judged against ``assumed``."""
        depths = dict.fromkeys(self.facts, 0)
        waiting = self.instances
        for depth in count(1):
            waiting = [instance for instance in waiting if instance[2] not in depths]
            new = [h for _, b, h in waiting if all(self._holds(x, depths, assumed) for x in b)]
            if not new:
                break
            depths |= dict.fromkeys(new, depth)
        return depths

    @cached_property
    def depths(self) -> dict[Literal, int]:
        """Everything that can be proven, with its minimal depth.

        Raises:
            InputError: in the closed world, something is true only if it is false.
        """
        negations = any(x.polarity == "-" for _, body, _ in self.instances for x in body)
        if self.world == "open" or not negations:
            return self._derive(())
        # Alternating fixpoint (van Gelder): what is surely true grows, what is possibly true
        # shrinks. They meet for every stratified theory; where they do not, negation is circular.
        certain: dict[Literal, int] = {}
        while True:
            possible = self._derive(certain)
            grown = self._derive(possible)
            if grown.keys() == certain.keys():
                break
            certain = grown
        if undecided := sorted(possible.keys() - certain.keys()):
            said = f"{write(undecided[0])!r} is true only if it is false"
            raise InputError(f"{said}: use the open world or drop a rule of this circle")
        return certain

    @cached_property
    def _support(self) -> dict[Literal, list[tuple[int, tuple[Literal, ...]]]]:
        """For each conclusion the rules that give it, with their premises."""
        support: dict[Literal, list[tuple[int, tuple[Literal, ...]]]] = {}
        for index, body, head in self.instances:
            if all(self._holds(literal, self.depths, self.depths) for literal in body):
                support.setdefault(head, []).append((index, body))
        return support

    def target(self, question: Literal) -> Literal | None:
        """What a proof of the answer proves: the question, its negation, or nothing."""
        asked = (x for x in (question, question.negated()) if x in self.depths)
        return next((x for x in asked if self.world == "open" or x.polarity == "+"), None)

    def truth(self, question: Literal) -> str:
        """Answers "True", "False" or, in the open world only, "Unknown"."""
        if target := self.target(question):
            return str(target == question)
        return "Unknown" if self.world == "open" else str(question.polarity == "-")

    def proofs(self, literal: Literal, max_depth: int | None = None) -> Iterator[Proof]:
        """The proofs of a literal, none of which proves something by way of itself.

        Args:
            literal: what is to be proven; see ``target`` for a question.
            max_depth: the depth up to which proofs are given; by default the minimal one.
        """
        if literal in self.depths:
            depth = self.depths[literal] if max_depth is None else max_depth
            yield from self._prove(literal, depth, frozenset())

    def _prove(self, literal: Literal, budget: int, above: frozenset[Literal]) -> Iterator[Proof]:
        if self.world == "closed" and literal.polarity == "-" and above:
            yield NAF  # a premise that holds because nothing proves its opposite
        elif literal not in above:
            yield from map(Proof, self.facts.get(literal, ()))
            for index, body in self._support.get(literal, ()) if budget else ():
                for premises in self._prove_all(body, budget - 1, above | {literal}):
                    yield Proof(index, premises)

    def _prove_all(
        self, goals: tuple[Literal, ...], budget: int, above: frozenset[Literal]
    ) -> Iterator[tuple[Proof, ...]]:
        if not goals:
            yield ()
        for first in self._prove(goals[0], budget, above) if goals else ():
            for rest in self._prove_all(goals[1:], budget, above):
                yield (first, *rest)


# English to logic. Names, animals, attributes and verbs are open classes: the frame of a sentence
# tells what each word is. Words that ProofWriter does not use are refused, not taken for names.
_OTHER = (
    r"(?!(?:The|All|If|It|They|A|An|No|Not|Every|Each|Any|Some|Most|Many|Few|Only|Nobody|Nothing|"
    r"Everyone|Everything|Everybody|Anyone|Anything|Somebody|People|Things)\b)"
)


_NAMED = rf"[Tt]he [a-z]+(?: [a-z]+)??|{_OTHER}[A-Z][a-z]+"


_SUBJECT = rf"(?P<subject>{_NAMED}|[Ss]omething|[Ss]omeone|it|they)"


_OBJECT = rf"(?P<object>{_NAMED}|something|someone|it|them)"


_CLAUSES = (
    re.compile(rf"(?:{_SUBJECT} (?:is|are) )?(?P<no>not )?(?P<attribute>(?!not$)[a-z]+)"),
    re.compile(rf"(?:{_SUBJECT} )?(?:does|do) (?P<no>not) (?P<base>[a-z]+) {_OBJECT}"),
    re.compile(rf"(?:{_SUBJECT} )?(?P<verb>(?!(?:does|do|is|are|the)\b)[a-z]+) {_OBJECT}"),
)


_CONDITIONAL = re.compile(r"If (?P<body>.+?),? then (?P<head>.+)")


_GENERAL = re.compile(
    rf"(?:All (?=[a-z])|{_OTHER}(?=[A-Z]))(?P<body>[A-Za-z]+(?:(?:, and|,| and) [a-z]+)*) "
    r"(?:things|people) (?P<head>.+)"
)


FRAME = "all and are do does if is it not people someone something the them then they things , ."
"""The words and marks that ``write`` puts around those of a literal."""


def _third_person(verb: str) -> str:
    verb = re.sub(r"(?<=[^aeiou])y$", "ie", verb)
    return verb + ("es" if re.search(r"(ch|sh|x|o|ss)$", verb) else "s")


def base_form(verb: str) -> str:
    """The verb as it stands after "does not"."""
    if verb.endswith("ies"):
        return verb[:-3] + "y"
    return verb[: -2 if re.search(r"(ch|sh|x|o|ss)es$", verb) else -1]


def _thing(words: str) -> str:
    """The name of a thing in logic: animals lose their article, every variable is one."""
    if words in ("it", "they", "them"):
        return _PRONOUN
    return SOMETHING if words.lower() in (SOMETHING, "someone") else re.sub("^[Tt]he ", "", words)


def _clause(text: str, before: str | None = None) -> Literal | None:
    """Reads a clause; one without subject ("and not red") goes on about ``before``."""
    for pattern in _CLAUSES:
        if not (match := pattern.fullmatch(text)):
            continue
        parts = match.groupdict()
        subject = _thing(parts["subject"]) if parts["subject"] else before
        if subject is None:
            continue
        polarity = "-" if parts.get("no") else "+"
        if "attribute" in parts:
            return Literal(subject, "is", parts["attribute"], polarity)
        verb, plural = parts.get("verb"), parts["subject"] == "they"
        if verb and not plural and not verb.endswith("s"):
            continue  # "the bald eagle ..." is not a thing called "bald" that does "eagle"
        if verb is None or plural:
            verb = _third_person(verb or parts["base"])
        return Literal(subject, verb, _thing(parts["object"]), polarity)
    return None


def _rule(body_text: str, head_text: str) -> Rule | None:
    body: list[Literal] = []
    for text in body_text.split(" and "):
        if not (clause := _clause(text, body[-1].subject if body else None)):
            return None
        body.append(clause)
    if not (head := _clause(head_text)) or (_PRONOUN in body[0] and SOMETHING not in body[0]):
        return None
    meant, parts = body[0].subject, []
    for literal in (*body, head):  # "it": the variable once there is one, before it the first thing
        meant = SOMETHING if SOMETHING in literal else meant
        parts.append(literal.about(meant, _PRONOUN))
    return Rule(tuple(parts[:-1]), parts[-1])


@lru_cache(maxsize=1 << 16)
def read(sentence: str) -> Statement:
    """Reads one sentence of ProofWriter's English.

    Raises:
        InputError: the sentence has none of ProofWriter's forms.

    >>> read("All kind, young people are not red.").head
    Literal(subject='something', relation='is', object='red', polarity='-')
    >>> read("The bald eagle does not chase the dog.")
    Literal(subject='bald eagle', relation='chases', object='dog', polarity='-')
    """
    text = sentence.strip().removesuffix(".")
    statement: Statement | None = None
    if match := _CONDITIONAL.fullmatch(text):
        statement = _rule(match["body"], match["head"])
    elif match := _GENERAL.fullmatch(text):
        words = re.split(r", and |, | and ", match["body"][0].lower() + match["body"][1:])
        statement = _rule("something is " + " and ".join(words), "they " + match["head"])
    else:
        fact = _clause(text)
        statement = fact if fact and not {SOMETHING, _PRONOUN} & {*fact} else None
    if statement is None:
        forms = "'Bob is not red.', 'Kind people are big.' or 'If the cat is red then it is big.'"
        raise InputError(f"cannot read {sentence!r}: expected such as {forms}")
    return statement


def read_fact(sentence: str) -> Literal:
    """Reads a fact or a question; a rule is an InputError here."""
    statement = read(sentence)
    if isinstance(statement, Rule):
        raise InputError(f"{sentence!r} is a rule: expected a fact such as 'Bob is not blue.'")
    return statement


def read_theory(text: str, world: str = "closed") -> Theory:
    """Reads a theory's running text, sentence by sentence."""
    return Theory(tuple(map(read, re.split(r"(?<=\.)\s+", text.strip()))), world)


def write(statement: Statement, form: str = "if", people: bool = False) -> str:
    """Writes a fact or a rule as a sentence.

    Args:
        statement: what to write.
        form: ``if``, ``all`` ("All red things are kind.") or ``plain`` ("Red things are kind.");
            the last two only for rules whose conditions are attributes, ``if`` for all others.
        people: whether the variable is "someone", "they", "people", or "something", "it", "things".

    >>> write(read("All red people are kind."))
    'If something is red then it is kind.'
    """
    text = _write_rule(statement, form, people) if isinstance(statement, Rule) else _say(statement)
    return text[0].upper() + text[1:] + "."


def _write_rule(rule: Rule, form: str, people: bool) -> str:
    group = all(x[:2] == (SOMETHING, "is") and x.polarity == "+" for x in rule.body)
    if form != "if" and group and rule.head.subject == SOMETHING:
        members = ", ".join(x.object for x in rule.body) + (" people" if people else " things")
        return ("all " if form == "all" else "") + _say(rule.head, members, plural=True)
    new, again, them = ("someone", "they", "them") if people else ("something", "it", "it")
    clauses: list[str] = []
    named = False
    for i, literal in enumerate((*rule.body, rule.head)):
        free = literal.subject == SOMETHING
        if 0 < i < len(rule.body) and rule.body[i - 1][:2] == literal[:2] == (SOMETHING, "is"):
            clauses.append(("not " if literal.polarity == "-" else "") + literal.object)
        else:
            who = (again if named else new) if free else None
            what = them if named or free else new
            clauses.append(_say(literal, who, plural=free and named and people, thing=what))
        named |= SOMETHING in literal
    return f"if {' and '.join(clauses[:-1])} then {clauses[-1]}"


def _say(literal: Literal, who: str | None = None, plural: bool = False, thing: str = "it") -> str:
    subject, relation, what, polarity = literal
    who = who or _called(subject)
    no = "not " if polarity == "-" else ""
    if relation == "is":
        return f"{who} {'are' if plural else 'is'} {no}{what}"
    help_verb = ("do not " if plural else "does not ") if no else ""
    verb = base_form(relation) if plural or no else relation
    return f"{who} {help_verb}{verb} {thing if what == SOMETHING else _called(what)}"


def _called(thing: str) -> str:
    return thing if thing[0].isupper() else f"the {thing}"
