"""The published protocol of language: examples asked and read as the paper's source does.

For comparison with the paper's Tables 2 and 8 only. Prompts, pooling and labels are the source's;
so is the baseline, which is asked without demonstrations and pooled in another way than the model.
"""

import random
from collections.abc import Sequence
from typing import Literal, cast

import numpy as np

from mplib.models.fewshot import published_demonstration, published_prompts
from mplib.models.inference import Reading, published_features
from mplib.models.loading import random_twins
from mplib.models.prompts import Prompts
from mplib.studies.language import Procedure, Readings, Subject
from mplib.tasks.examples import ExampleSet
from mplib.tasks.published import Published
from mplib.tasks.task import template_text


def ask(subject: Subject, one: ExampleSet, procedure: Procedure, shots: int) -> Prompts:
    """A set's prompts as the source has them.

    Demonstrations are drawn anew for each example from all training examples, which may repeat and
    hold the example itself. Science questions have no template.

    Args:
        subject: the model.
        one: a set of ``published_sets``.
        procedure: its template and seed.
        shots: demonstrations before each question.
    """
    template = template_text("proofwriter" if procedure.template == "proofwriter" else "plain")
    rng = random.Random(f"{procedure.seed} {one.name}")
    before = []
    for _ in one.examples:
        shown = cast(list[Published], rng.choices(one.train, k=shots) if shots else [])
        texts = [published_demonstration(x, x.context, template) for x in shown]
        before.append("".join(texts))
    loaded = subject.loaded
    return published_prompts(loaded.tokenizer, one.examples, before, template, loaded.positions)


def read_published(
    subjects: Sequence[Subject], sets: Sequence[ExampleSet], procedure: Procedure
) -> list[Readings]:
    """Reads the attention of every model and its twins as the source does.

    The model's is the maximum over the question's rows behind demonstrations, and the mean without
    any. Twins are always asked without, and all their layers are taken.

    Args:
        subjects: the models.
        sets: those of a task's ``published_sets``.
        procedure: template, twins, layers, batch size and seed.
    """
    readings, size = [], procedure.batch_size
    for subject in subjects if sets else ():
        whole, chosen = subject.loaded.model, subject.places(procedure.layers)
        bare = [ask(subject, one, procedure, 0) for one in sets]
        twins: list[list[np.ndarray]] = [
            [published_features(twin, x, question="mean", batch_size=size) for x in bare]
            for twin in random_twins(whole, procedure.twins, procedure.seed)
        ]
        for i, one in enumerate(sets):
            prompts = ask(subject, one, procedure, subject.shots) if subject.shots else bare[i]
            rows: Literal["max", "mean"] = "max" if subject.shots else "mean"
            features = published_features(whole, prompts, question=rows, batch_size=size)
            beside = tuple(values[i] for values in twins)
            readings.append(Readings(subject.name, one, Reading(features[..., chosen]), beside))
    return readings
