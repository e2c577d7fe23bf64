"""A memory that is too small for a batch, as a GPU's can be: batches are halved, results stay."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import looked_at, numbers
from transformers import PreTrainedModel

from mplib.errors import InputError
from mplib.models.inference import answers, attention_features
from mplib.models.loading import load_model
from mplib.models.prompts import Prompts
from mplib.studies.finetune import Training, finetune
from mplib.studies.heads import mean_outputs
from mplib.tasks.ksmallest import KSmallest


@contextmanager
def room_for(model: PreTrainedModel, examples: int) -> Iterator[list[int]]:
    """Larger batches end as they do on a full GPU; yields the sizes of all batches tried."""
    tried: list[int] = []

    def check(_module: torch.nn.Module, _args: object, kwargs: dict[str, torch.Tensor]) -> None:
        tried.append(len(kwargs["input_ids"]))
        if tried[-1] > examples:
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = model.register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield tried
    finally:
        hook.remove()


@pytest.fixture
def model(gpt2: PreTrainedModel) -> PreTrainedModel:
    # A copy: what fits is remembered by model.
    return looked_at(copy.deepcopy(gpt2))


@pytest.mark.parametrize(
    "work",
    [
        lambda model, prompts: attention_features(model, prompts, batch_size=4),
        lambda model, prompts: answers(model, prompts, batch_size=4).log_probability,
        lambda model, prompts: mean_outputs(model, prompts, 4).numpy(),
    ],
)
def test_batches_are_halved_and_the_numbers_stay(
    work: object, model: PreTrainedModel, batch: Prompts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(work)
    expected = work(model, batch)
    with room_for(model, 1) as tried:
        np.testing.assert_allclose(work(model, batch), expected, atol=1e-6)
        assert tried == [4, 2, 1, 1, 1, 1]
        # Said once: later calls begin with what fits.
        tried.clear()
        work(model, batch)
        assert tried == [1, 1, 1, 1]
    assert capsys.readouterr().out.splitlines() == [
        "passes: batches of 4 do not fit the GPU's memory; on with 2",
        "passes: batches of 2 do not fit the GPU's memory; on with 1",
    ]


def test_no_room_for_one(model: PreTrainedModel, batch: Prompts) -> None:
    with room_for(model, 0), pytest.raises(InputError, match="for one example at a time"):
        answers(model, batch, batch_size=2)


def test_training_goes_on_with_smaller_passes(tmp_path: Path) -> None:
    task = KSmallest(k=2, m=4, pool=8)
    lists = task.draw(48, seed=0)
    training = Training(steps=4, batch_size=16, warmup_steps=1, learning_rate=1e-3, evaluations=2)
    histories = []
    for room in (16, 4):
        start = load_model("nano", vocabulary=8, seed=0)
        looked_at(start.model)
        prompts = numbers(task, lists)
        # The development set goes through in one pass, which must find room too.
        with room_for(start.model, room) as tried:
            found = finetune(start, prompts, prompts[:4], training, tmp_path / str(room), {})
        histories.append(found)
        assert tried[:3] == ([16, 16, 4] if room == 16 else [16, 8, 4])
    np.testing.assert_allclose(histories[0].loss, histories[1].loss, rtol=1e-5)
