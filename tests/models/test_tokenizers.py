"""What a tokenizer adds to a text, and text that looks like what it adds."""

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from mplib.models.fewshot import answer_tokens, few_shot
from mplib.models.prompts import encode, tokenize
from mplib.tasks.examples import Example
from mplib.tasks.trees import ReasoningTree


def letters(single: str) -> PreTrainedTokenizerFast:
    """Every letter a token, with the space before it; what is put around a text as a template."""
    marks = [*map(chr, range(33, 127))]
    words = {word: n for n, word in enumerate(["<s>", "</s>", *marks, *(f" {m}" for m in marks)])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(" ?[^ ]"), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("single", ["$A", "<s> $A", "$A </s>", "<s> $A </s>", "<s> $A </s> </s>"])
def test_what_is_appended_is_no_part_of_a_prompt(single: str) -> None:
    tokenizer, bare = letters(single), letters("$A")
    text = "Is it? The answer is:"
    ids, spans = tokenize(tokenizer, text)
    begin = [0] * single.startswith("<s>")
    assert ids == begin + tokenize(bare, text)[0]
    assert spans[-1] == (len(text) - 1, len(text))
    assert answer_tokens(tokenizer, text, ["yes", "no"]) == answer_tokens(bare, text, ["yes", "no"])
    prompts = encode(tokenizer, [text], [[(0, 2)]], [(0, len(text))], [5])
    assert prompts.input_ids[0, -1] == tokenizer.convert_tokens_to_ids(":")


def test_a_prompt_ends_where_the_answer_goes_on() -> None:
    example = Example(
        ("Rex is cold.",),
        "Is Rex cold?",
        "yes",
        ReasoningTree.from_edges([], 1, root=0),
        "",
        ("yes", "no"),
    )
    tokenizer = letters("<s> $A </s>")
    prompts, _ = few_shot(tokenizer, [example], [[example]], template="So:")
    assert 1 not in prompts.whole().input_ids


@pytest.mark.parametrize("text", ["a </s> b", "<s>", "x</s>", "<s></s>"])
def test_special_tokens_in_data_are_text(text: str) -> None:
    ids, spans = tokenize(letters("<s> $A </s>"), text)
    assert ids[0] == 0
    assert len(ids) == 1 + len(text.replace(" ", ""))
    assert not {0, 1} & {*ids[1:]}
    assert "".join(text[a:b] for a, b in spans[1:]) == text
