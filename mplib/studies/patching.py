"""Patching: the last token's attention output taken from a run on another prompt.

A cut shows that the model needs some edges; a patch shows what comes through them. What the last
token's heads give in some layers, before the output projection, is taken from a donor: a prompt of
as many tokens with another answer. Where the model puts its answer together it then gives the
donor's. A donor that differs in a useless statement alone is the control. See Heimersheim and Nanda
2024, "How to use and interpret activation patching".
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel

from mplib import stats
from mplib.errors import InputError
from mplib.models.attention import Intervention, layer_count
from mplib.models.facts import backend
from mplib.models.memory import fits_memory
from mplib.models.passes import begin, forward
from mplib.models.prompts import Prompts
from mplib.studies.knockout import Layers, blocks, windows
from mplib.studies.language import Procedure, Subject
from mplib.tasks.corruptions import Impossible
from mplib.tasks.examples import Example, ExampleSet
from mplib.tasks.ksmallest import KSmallest
from mplib.tasks.proofwriter.counterfactuals import replacements
from mplib.tasks.task import Shown, Writer, template_text

DIRECTIONS = ("noising", "denoising")
"""The donor's outputs put into the clean run; the clean ones put into the donor's run."""


def layers_alone_and_up(layers: int) -> list[Layers]:
    """Windows to patch: each layer alone, then all from the first up to each.

    >>> layers_alone_and_up(3)
    [(1, 1), (2, 2), (3, 3), (1, 2), (1, 3)]
    """
    return windows(layers, [1]) + [(1, last) for last in range(2, layers + 1)]


def blocks_alone_and_up(layers: int, count: int) -> list[Layers]:
    """Windows to patch: blocks of layers alone, then all from the first up to each block's end.

    >>> blocks_alone_and_up(6, 3)
    [(1, 2), (3, 4), (5, 6), (1, 4), (1, 6)]
    """
    alone = blocks(layers, count)
    return alone + [(1, last) for _, last in alone[1:]]


@dataclass(frozen=True)
class Patched:
    """What pairs of prompts gave; both arrays begin with the untouched runs.

    Attributes:
        clean: token that answers each clean prompt, shape (pairs,).
        donor: token that answers its donor, shape (pairs,).
        said: the most likely token, shape (1 + windows, directions, pairs).
        difference: logit of the clean answer minus that of the donor's, of the same shape.
        spans: the windows.
    """

    clean: np.ndarray
    donor: np.ndarray
    said: np.ndarray
    difference: np.ndarray
    spans: tuple[Layers, ...]

    def table(
        self, groups: np.ndarray | None = None, resamples: int = 1000, seed: int = 0
    ) -> pd.DataFrame:
        """A row for each window (0 to 0: untouched), direction and measure.

        Rates have Wilson intervals, logit differences those of a bootstrap. Where clean prompt and
        donor share their answers, only ``clean answer`` and ``answers changed`` are told.

        Args:
            groups: group of each pair, drawn together by the bootstrap; each its own if None.
            resamples: bootstrap resamples.
            seed: of the resamples.
        """
        weights = stats.example_weights(len(self.clean), groups, resamples, seed)
        rows = []
        for case, span in enumerate(((0, 0), *self.spans)):
            for way, direction in enumerate(DIRECTIONS):
                said = self.said[case, way]
                found = {
                    "clean answer": stats.accuracy(said == self.clean),
                    "answers changed": stats.accuracy(said != self.said[0, way]),
                }
                if (self.clean != self.donor).any():
                    found["donor's answer"] = stats.accuracy(said == self.donor)
                    difference = self.difference[case, way].astype(float)
                    found["logit difference"] = stats.weighted_mean(difference, weights)
                rows += [
                    {
                        "direction": direction, "first_layer": span[0], "last_layer": span[1],
                        "measure": measure, **estimate.columns(), "pairs": len(self.clean),
                    }
                    for measure, estimate in found.items()
                ]  # fmt: skip
        return pd.DataFrame(rows)


@fits_memory
def patch(
    model: PreTrainedModel, clean: Prompts, donors: Prompts, spans: Sequence[Layers], *,
    choices: np.ndarray | None = None, batch_size: int = 256,
) -> Patched:  # fmt: skip
    """Patches both prompts of each pair with the other's last-token head outputs.

    A pair and all its patched copies share one pass: in the layers of its window, a copy takes what
    the other's untouched run gives in that very layer. Copies differ in their last token alone, so
    what comes before it is computed once for each pair.

    Args:
        model: any decoder that uses transformers' attention interface.
        clean: the examples.
        donors: one for each example, of as many tokens.
        spans: windows of layers, first and last, counted from 1.
        choices: token ids among which the answer is looked for; the whole vocabulary if None.
        batch_size: prompts a forward pass; copies are counted where they must be run whole.

    Raises:
        InputError: the prompts do not stand in pairs of equal length.
    """
    clean, donors = clean.whole(), donors.whole()
    if not np.array_equal(clean.lengths, donors.lengths):
        raise InputError(
            f"{len(clean)} prompts and {len(donors)} donors that are not pairs of equally many "
            "tokens: give each prompt a donor in which single tokens are replaced"
        )
    cases = 1 + len(spans)
    said = np.empty((cases, len(DIRECTIONS), len(clean)), dtype=np.int64)
    difference = np.empty(said.shape, dtype=np.float32)
    with backend(model) as known:
        whole = 2 if known.prefix else 2 * cases  # prompts of a pair that are run from the start
        size = max(1, batch_size // whole) if known.pads else 1
        for chosen, batch in clean.batches(size):
            other, n = donors[chosen], len(chosen)
            copies = batch[np.tile(np.arange(n), 2 * cases)]
            ids = np.concatenate([batch.input_ids, other.input_ids] * cases)
            # The first copies are the pair itself, untouched.
            both = replace(copies, input_ids=ids)
            cache, done = begin(model, both[: 2 * n], ids.shape[1] - 1)
            change = Intervention(sources=_sources(layer_count(model), spans, n))
            logits = forward(model, both, intervention=change, cache=cache, done=done).logits
            assert logits is not None
            scores = logits.float().cpu().numpy().reshape(cases, 2, n, -1)
            pairs, right, wrong = np.arange(n), batch.answers, other.answers
            difference[..., chosen] = scores[..., pairs, right] - scores[..., pairs, wrong]
            among = np.arange(scores.shape[-1]) if choices is None else np.asarray(choices)
            said[..., chosen] = among[scores[..., among].argmax(axis=-1)]
    return Patched(clean.answers, donors.answers, said, difference, tuple(spans))


def _sources(layers: int, spans: Sequence[Layers], pairs: int) -> Tensor:
    """From which prompt of the batch each takes its outputs, shape (layers, prompts).

    The batch holds the clean prompts and the donors, then their copies for each window.
    """
    own = torch.arange(2 * pairs * (1 + len(spans))).view(-1, 2, pairs)
    found = own.repeat(layers, 1, 1, 1)
    for case, (first, last) in enumerate(spans, start=1):
        found[first - 1 : last, case] = own[0].flip(0)
    return found.flatten(start_dim=1)


def number_pairs(
    task: KSmallest, lists: np.ndarray, writer: Writer, seed: int = 0
) -> dict[str, tuple[Prompts, Prompts]]:
    """Lists and their donors, in which one number is replaced that keeps its rank.

    Args:
        task: which number is asked for.
        lists: shape (n, m).
        writer: writes them as the model reads them.
        seed: of the replacements.

    Returns:
        By what is replaced, the root, so that the answer is another, or a useless number, so that
        it is the same: the lists in which that is possible and their donors. Kinds that are
        possible nowhere are left out.
    """
    found = {}
    for name, replaced in task.replacements(keep_order=True).items():
        if name == "leaf replaced":
            continue
        try:
            changed, possible = replaced(lists, seed)
        except Impossible:
            continue
        # Where another copy of the root is left, the answer may stay.
        lists_of = lists[possible]
        differs = task.answers(lists_of) != task.answers(changed)
        fit = differs == (name == "root replaced")
        if fit.any():
            found[name] = tuple(task.prompts(one[fit], writer)[0] for one in (lists_of, changed))
    return found


def patch_numbers(
    model: PreTrainedModel, task: KSmallest, lists: np.ndarray, writer: Writer,
    spans: Sequence[Layers] | None = None, *, resamples: int = 1000, seed: int = 0,
    batch_size: int = 256,
) -> pd.DataFrame:  # fmt: skip
    """Patches lists of numbers with donors of another root and of another useless number.

    Args:
        model: any decoder that uses transformers' attention interface.
        task: which number is asked for.
        lists: shape (n, m).
        writer: writes them as the model reads them, for instance a ``LoadedModel``.
        spans: windows of layers; those of ``layers_alone_and_up`` if None.
        resamples: bootstrap resamples behind the intervals of logit differences.
        seed: of replacements and resamples.
        batch_size: lists a forward pass; see ``patch``.

    Returns:
        The rows of ``Patched.table``, with a column ``donor`` in front.

    Raises:
        InputError: no number of any list can be replaced.
    """
    spans = layers_alone_and_up(layer_count(model)) if spans is None else spans
    parts = []
    for name, (clean, donors) in number_pairs(task, lists, writer, seed).items():
        found = patch(model, clean, donors, spans, batch_size=batch_size)
        table = found.table(resamples=resamples, seed=seed)
        table.insert(0, "donor", name)
        parts.append(table)
    if not parts:
        raise InputError(f"no list of {task} can have a number replaced in its rank: raise pool")
    return pd.concat(parts, ignore_index=True)


DONORS = 32
"""Candidates for a theory's donor, at most, among which one of as many tokens is looked for."""


def theory_pairs(
    examples: Sequence[Example], writer: Writer, shown: Shown, template: str,
    world: str = "closed", seed: int = 0,
) -> dict[str, tuple[np.ndarray, Prompts, Prompts, np.ndarray | None]]:  # fmt: skip
    """Theories and their donors of as many tokens, in which one fact is replaced.

    Args:
        examples: questions about theories in ProofWriter's English.
        writer: writes them as the model reads them.
        shown: demonstrations of each.
        template: what asks for the answer.
        world: ``closed`` or ``open``.
        seed: of the replacements.

    Returns:
        By what is replaced, a useful fact, so that the answer is the opposite one, or a useless
        one, so that it is the same (see ``replacements``): the examples in which that is possible,
        by their index, their prompts, those of their donors, and the tokens of the answers. Kinds
        that are possible nowhere are left out.
    """
    found = {}
    for name, useful in (("useful fact replaced", True), ("useless fact replaced", False)):
        drawn = [
            (i, other)
            for i, example in enumerate(examples)
            for other in islice(replacements(example, useful, world, seed), DONORS)
        ]
        if not drawn:
            continue
        index = np.array([i for i, _ in drawn])
        before = [shown[i] for i in index]
        clean, choices = writer.write_words([examples[i] for i in index], before, template)
        donors, _ = writer.write_words([other for _, other in drawn], before, template)
        equal = np.flatnonzero(clean.lengths == donors.lengths)
        kept = equal[np.unique(index[equal], return_index=True)[1]]
        if len(kept):
            found[name] = index[kept], clean[kept], donors[kept], choices
    return found


def patch_theories(
    subjects: Sequence[Subject], questions: ExampleSet, procedure: Procedure, world: str,
    count: int, *, resamples: int = 1000,
) -> pd.DataFrame:  # fmt: skip
    """Patches theories with donors in which a useful or a useless fact is another.

    Args:
        subjects: the models, as they are asked.
        questions: about theories in ProofWriter's English.
        procedure: how they are asked; its seed is that of replacements and resamples.
        world: ``closed`` or ``open``.
        count: into how many blocks the layers are divided; see ``blocks_alone_and_up``.
        resamples: bootstrap resamples behind the intervals of logit differences.

    Returns:
        The rows of ``Patched.table``, with the columns ``subject`` and ``donor`` in front and
        ``examples`` behind ``pairs``; no row where no theory has a donor of as many tokens.

    Raises:
        InputError: a model has fewer layers than blocks.
    """
    parts = [pd.DataFrame(columns=["subject", "donor", "measure", "pairs", "examples"])]
    template = template_text(procedure.template)
    for subject in subjects:
        model, shown = subject.loaded.model, procedure.demonstrate(subject, questions)
        spans = blocks_alone_and_up(layer_count(model), count)
        asked = questions.examples, subject.loaded, shown, template, world, procedure.seed
        for name, (kept, clean, donors, choices) in theory_pairs(*asked).items():
            size = procedure.batch_size
            found = patch(model, clean, donors, spans, choices=choices, batch_size=size)
            table = found.table(questions.groups[kept], resamples, procedure.seed)
            about = {"subject": subject.name, "donor": name}
            table = table.assign(**about, examples=len(questions.examples))
            parts.append(table[[*about, *table.columns.difference(about, sort=False)]])
    return pd.concat(parts[1:] or parts, ignore_index=True)
