"""A training on disk: its state while it runs, and the checkpoint that it leaves, whole or not."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mplib.errors import InputError
from mplib.files import STATE, discard, listing, put_in_place, unwritable, whole, write_atomically
from mplib.studies.checkpoints import SEAL, unfinished


@dataclass
class TrainingState:
    """The state of a running training on disk: one file each, replaced in one step."""

    folder: Path
    identity: dict[str, Any]
    weights: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    step: int = 0

    def save(self, step: int, history: list[dict[str, float]]) -> None:
        """Saves the newest state and, where it is the best so far, the weights."""
        weights = {f"model.{name}": value.detach() for name, value in self.weights.items()}
        # At step 0 nothing is measured but what is watched.
        before = [row["dev_accuracy"] for row in history[:-1] if row["step"]]
        # Without a development accuracy (NaN) the last state is kept.
        is_best = not history[-1]["dev_accuracy"] <= max(before, default=-1.0)
        if is_best:
            about = {"best_step": step, "dev_accuracy": history[-1]["dev_accuracy"]}
            self._write("best", weights, about)
        moments = {
            f"optimizer.{i}.{name}": value
            for i, entry in self.optimizer.state_dict()["state"].items()
            for name, value in entry.items()
        }
        random = {"random.cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["random.cuda"] = torch.cuda.get_rng_state()
        self._write("last", weights | moments | random, {"step": step, "history": history})
        write_atomically(self.folder / "history.csv", pd.DataFrame(history).to_csv(index=False))

    def _write(self, name: str, tensors: dict[str, torch.Tensor], about: dict[str, Any]) -> None:
        metadata = {"json": json.dumps({"identity": self.identity, **about})}
        try:
            with whole(self.folder / f"{name}.safetensors") as temporary:
                save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata)
        except Exception as error:
            # safetensors reports a full disk with an error class of its own.
            raise InputError(
                f"cannot save the training state in {self.folder} ({error}): make room or set "
                "MPLIB_HOME to another disk; the last saved state is kept"
            ) from error

    def resume(self) -> list[dict[str, float]]:
        """Takes up the last saved state of the same training; returns its history."""
        saved = read_state(self.folder, "last", self.identity)
        if not (saved and read_state(self.folder, "best", self.identity)):
            return []
        tensors, about = saved
        self._set_weights(tensors)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                state.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        self.step = about["step"]
        return about["history"]

    def load_best(self) -> dict[str, Any]:
        """Puts the best weights back into the model; returns their step and accuracy."""
        saved = read_state(self.folder, "best", self.identity)
        assert saved is not None
        self._set_weights(saved[0])
        return saved[1]

    def _set_weights(self, tensors: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, value in self.weights.items():
                value.copy_(tensors[f"model.{name}"])


def read_state(
    folder: Path, name: str, identity: dict[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """A saved state of this very training, or None where there is none or it was cut short."""
    try:
        with safe_open(folder / f"{name}.safetensors", framework="pt") as file:
            about = json.loads(file.metadata()["json"])
            if about.pop("identity") != identity:
                return None
            return {key: file.get_tensor(key) for key in file.keys()}, about  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, LookupError, TypeError):
        return None


def publish(
    save: Callable[[Path], None], history: pd.DataFrame, about: dict[str, Any], folder: Path
) -> None:
    """Writes the finished checkpoint beside the old one, then puts it in its place.

    Args:
        save: writes the model into a folder.
        history: of the training.
        about: what the seal says beside it.
        folder: the checkpoint's place.

    Raises:
        InputError: there is no room for it.
    """
    partial = unfinished(folder)
    fresh = partial / "checkpoint"
    try:
        discard(fresh, ["**/*"])
        save(fresh)
        history.to_csv(fresh / "history.csv", index=False)
        about = {**about, "history": history.to_dict("records"), "files": listing(fresh)}
        (fresh / SEAL).write_text(json.dumps(about, indent=1))
    except Exception as error:
        # safetensors and tokenizers report a full disk with error classes of their own.
        with suppress(OSError):
            discard(fresh, ["**/*"])
        raise InputError(
            f"cannot save the checkpoint in {partial} ({error}): make room or set MPLIB_HOME to "
            "another disk; the training itself is kept and need not be done again"
        ) from error
    try:
        put_in_place(fresh, folder, SEAL)
        discard(partial, STATE)
    except OSError as error:
        raise unwritable(folder, error) from error
