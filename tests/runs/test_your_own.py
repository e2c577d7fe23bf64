"""The README's section on data of one's own, to the letter: its five lines and its command."""

import re
import shlex
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch
from conftest import mplib
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from mplib.files import ROOT

pytestmark = pytest.mark.slow

SECTION = (ROOT / "README.md").read_text().split("## Your own data\n")[1].split("\n## ")[0]
LINES, COMMAND = re.findall(r"^```\w+\n(.*?)^```$", SECTION, re.S | re.M)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A place with the five lines, and a random model of a family that no preset is of."""
    (tmp_path / "my.jsonl").write_text(LINES)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [SECTION, " yes no" * 9], trainers.BpeTrainer(vocab_size=400, initial_alphabet=letters)
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path / "my_model")
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=48,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=256,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(tmp_path / "my_model")
    return tmp_path


def test_five_lines_and_one_command_give_a_page(home: Path) -> None:
    program, *words = shlex.split(COMMAND)
    assert (program, words[:2]) == (".venv/bin/python", ["-m", "mplib"])
    done = mplib(*words[2:], home=home)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    apart = pd.read_csv(folder / "contrasts.csv").set_index("measure")
    assert {*apart.subject} == {"my_model"}
    assert [*apart.index] == ["accuracy", "S_P1", "S_P2", "gain V", "gain G"]
    assert apart.value[["accuracy", "gain V", "gain G"]].notna().all()
    assert {x.stem for x in folder.glob("figures/*.png")} == {"gains", "scores", "map", "trees"}
    cells = nbformat.read(folder / "executed.ipynb", as_version=4).cells
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]
    said = [data["text/markdown"] for data in outputs if "text/markdown" in data]
    (summary,) = (text for text in said if text.startswith("- "))
    assert summary.startswith("- **my_model** answers ")
    assert " of 5 questions rightly" in summary
    assert "- 5 groups of questions are few" in summary


def test_a_bad_line_is_one_clear_error(home: Path) -> None:
    path = home / "my.jsonl"
    path.write_text(LINES.replace('"edges": [[2, 0]]', '"edges": [[2, 7]]', 1))
    done = mplib(*shlex.split(COMMAND)[3:], home=home)
    assert done.returncode == 2
    (said,) = (x for x in done.stderr.splitlines() if x.startswith("mplib: "))
    assert f"{path}, line 2: fields 'edges'" in said
