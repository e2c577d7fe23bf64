"""Checkpoints: the folders that notebooks' parameters name."""

from pathlib import Path

import pytest

from mplib.errors import InputError
from mplib.studies.checkpoints import checkpoint_folder


def test_checkpoint_names_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLIB_HOME", str(tmp_path))
    values = {"checkpoint": "checkpoints/{model}-k{k}", "model": "org/name", "k": 3}
    folder = checkpoint_folder("ksmallest", values)
    assert folder == tmp_path / "checkpoints" / "org--name-k3"
    with pytest.raises(InputError, match="'size' is no parameter"):
        checkpoint_folder("ksmallest", values | {"checkpoint": "{size}"})
