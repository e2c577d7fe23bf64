"""What a task is: the one language in which studies speak with all of them, and their registry.

A task's *problems* are whatever it likes best: an array of lists of numbers, or a list of examples.
Studies hand them back to the task and never look inside.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pkgutil import resolve_name
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from mplib.errors import one_of
from mplib.tasks.corruptions import CORRUPTIONS, corrupt_all
from mplib.tasks.examples import Example, ExampleSet, group_names
from mplib.tasks.textbaseline import text_features
from mplib.tasks.trees import stack_labels
from mplib.tasks.words import tokens

Problems = Any
"""Problems of one task: an array of shape (n, ...), or a list of examples."""

Shown = Sequence[Sequence[Example]]
"""Demonstrations of each problem."""

Prompts = Any
"""Prompts as the model's side makes them, with the token ids of the possible answers, or None."""

Changed = tuple[Problems, np.ndarray]
"""Corrupted problems, and True for each that could be corrupted, shape (n,)."""

Corruption = Callable[[Problems, int], Changed]
"""What corrupts problems, by a seed."""

TASKS = {
    "ksmallest": "mplib.tasks.ksmallest:KSmallest",
    "proofwriter": "mplib.tasks.proofwriter:ProofWriter",
    "science": "mplib.tasks.science:Science",
    "own": "mplib.tasks.science:Own",
    "ontology": "mplib.tasks.ontology:Ontology",
}
"""Every task: its name in parameters, and where its class is found."""


DEMONSTRATIONS = 256
"""Training examples from which demonstrations are drawn."""

TEMPLATES = {"proofwriter": "True or False?", "arc": "The answer is:", "plain": ""}
"""What stands between question and answer (paper, section 4.2 and appendix C)."""


class Typical(NamedTuple):
    """What a notebook's parameters come to, roughly, for the estimate of its cost.

    Attributes:
        label: what pages call the task.
        lengths: tokens of a problem of each set, without demonstrations.
        problems: how many there are in all sets.
        statements: of a problem, on average, as often as it is probed.
        vocabulary: tokens of a model from random weights.
        heights: how many a regression tells apart, which takes time with their square.
    """

    label: str
    lengths: Sequence[float]
    problems: float
    statements: float = 10
    vocabulary: int = 600
    heights: float = 2


def mean_length(examples: Sequence[Example]) -> float:
    """Words and marks of an example's statements and question, on average."""
    texts = (" ".join((*x.statements, x.question)) for x in examples)
    return float(np.mean([len(tokens(text)) for text in texts]))


class Writer(Protocol):
    """What a task needs of a model: its tokenizer's way of writing problems down."""

    def write_numbers(self, lists: np.ndarray, answers: np.ndarray, pool: int) -> Prompts:
        """Lists of numbers as prompts."""

    def write_words(self, examples: Sequence[Example], shown: Shown, template: str) -> Prompts:
        """Examples behind demonstrations as prompts."""


class Task(Protocol):
    """A reasoning task with gold trees: what studies ask of every one, and what most have alike.

    A task is a frozen dataclass of its settings that is derived from this class, or from
    ``WordTask``. Its problems in words (``as_examples``) tell all that it does not tell quicker.

    Attributes:
        name: its name in the registry.
        template: what asks for the answer, a key of ``TEMPLATES``.
        checkpoint: where its finetuned models go: a pattern of parameters' names.
        checkpoint_hash: parameters that ``{hash}`` in the pattern stands for.
        metric_power: of the distance that the paper's probe takes for it.
        scales: whether an example's features are divided by their maximum, as the paper's source
            does for numbers.
        renamed: whether a corrupted problem has an answer of its own, by which it is judged too.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: ClassVar[str] = "custom"
    template: ClassVar[str] = "plain"
    checkpoint: ClassVar[str] = "checkpoints/{task}/{model}_{hash}_{trainable}_seed{seed}"
    checkpoint_hash: ClassVar[tuple[str, ...]] = ()
    metric_power: ClassVar[int] = 1
    scales: ClassVar[bool] = False
    renamed: ClassVar[bool] = False

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies the task in manifests and checkpoints."""
        return {"name": type(self).__name__, **asdict(self)}

    @property
    def trained_for(self) -> dict[str, Any]:
        """The part of it that a checkpoint must share: any settings of the same task will do."""
        return {"name": type(self).__name__}

    @property
    def vocabulary(self) -> int | list[str]:
        """Of a model from random weights: how many numbers, or which words."""

    @property
    def corruptions(self) -> Mapping[str, Corruption]:
        """What can be done to its problems, by name."""

    @classmethod
    def typical(cls, parameters: Mapping[str, Any]) -> Typical:
        """What a notebook's parameters come to, roughly: here one set, a hundred tokens each."""
        return Typical(cls.name, [100], parameters.get("examples", 0))

    @abstractmethod
    def splits(self, n: int, seed: int) -> tuple[Problems, Problems, Problems]:
        """N problems to finetune on: training, development and test ones, which share nothing."""

    def prompts(self, problems: Problems, writer: Writer, shown: Shown | None = None) -> Prompts:
        """The problems as a model reads them, each behind its demonstrations if there are any."""

    def as_examples(self, problems: Problems) -> list[Example]:
        """The problems in words, with their trees."""

    def heights(self, problems: Problems) -> np.ndarray:
        """Gold heights, shape (n, statements)."""
        return stack_labels([example.tree for example in self.as_examples(problems)])

    def groups(self, problems: Problems) -> np.ndarray:
        """Group of each problem, which no two folds share; shape (n,)."""
        return group_names(self.as_examples(problems))

    def text_baseline(self, problems: Problems) -> dict[str, np.ndarray]:
        """What the text alone shows of each statement, by name; shape (n, statements, features)."""
        return {"text": text_features(self.as_examples(problems))}


@dataclass(frozen=True)
class WordTask(Task):
    """A task whose problems are examples; one of these says its ``sets`` and ``splits``."""

    @property
    def vocabulary(self) -> list[str]:
        """Every word and mark of its problems."""
        texts = [*TEMPLATES.values()]
        for one in self.sets("test", DEMONSTRATIONS):
            for x in (*one.examples, *one.train):
                texts += [*x.statements, x.question, x.answer, *x.choices]
        return sorted({*tokens(" ".join(texts))})

    @property
    def corruptions(self) -> Mapping[str, Corruption]:
        """All corruptions of statements in words."""
        return {name: partial(self._corrupted, name) for name in CORRUPTIONS}

    def _corrupted(self, name: str, problems: Problems, seed: int) -> Changed:
        done, possible = corrupt_all(problems, name, seed)
        return [one.example for one in done], possible

    @abstractmethod
    def sets(self, split: str, n: int) -> list[ExampleSet]:
        """At most n examples of each kind that is probed together, with those to demonstrate."""

    def prompts(self, problems: Problems, writer: Writer, shown: Shown | None = None) -> Prompts:
        """The examples as a model reads them, each behind its demonstrations if there are any."""
        shown = shown or [[]] * len(problems)
        return writer.write_words(problems, shown, template_text(self.template))

    def as_examples(self, problems: Problems) -> list[Example]:
        """The examples themselves."""
        return problems


def template_text(name: str) -> str:
    """What a template puts between question and answer.

    Raises:
        InputError: no such template.
    """
    one_of("template", name, TEMPLATES)
    return TEMPLATES[name]


def task_class(name: str) -> Any:
    """The class of a task.

    Raises:
        InputError: there is no such task.
    """
    one_of("task", name, TASKS)
    return resolve_name(TASKS[name])


def task_of(parameters: Mapping[str, Any]) -> Task:
    """The task that a notebook's parameters name, made from those of them that are its own.

    Raises:
        InputError: no such task, or parameters it refuses.
    """
    kind = task_class(parameters["task"])
    own = {f.name: parameters[f.name] for f in fields(kind) if f.name in parameters}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in own.items()})
