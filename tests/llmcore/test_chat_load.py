"""Which model, vocabulary and chat format `python -m llmcore.chat --model` finds, and what it says when it finds none."""

import pytest
import torch
import transformers
from tokenizers import Tokenizer

from llmcore import chat
from llmcore.model import pretrained
from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT
from llmcore.tokenizers import BPE
from llmcore.tokenizers.chat import CHATML, LLAMA3

MERGES = [(b"u", b"s"), (b"e", b"r"), (b"us", b"er")]
MARKS = {
    CHATML: ["<|im_start|>", "<|im_end|>"],
    LLAMA3: ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
}


def vocabulary(template, first=259):
    vocab = {i: bytes([i]) for i in range(256)} | {256: b"us", 257: b"er", 258: b"user"}
    return BPE(
        vocab, MERGES, "gpt2", {mark: first + i for i, mark in enumerate(MARKS.get(template, ["<|endoftext|>"]))}
    )


def folder_of(path, template=CHATML, size=270):
    torch.manual_seed(7)
    config = Config(
        size, 99, 32, 2, 4, position="rope", norm="rmsnorm", mlp="swiglu", d_ff=48, tie_embeddings=False
    )  # fmt: skip
    model = MiniGPT(config)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    pretrained.save(model, path)
    vocabulary(template).save(path / "tokenizer.json")
    return path


@pytest.mark.parametrize("template", MARKS, ids=["chatml", "llama3"])
def test_a_folder_answers_as_transformers_does(tmp_path, capsys, template):
    folder = folder_of(tmp_path / "model", template)
    assert chat.load(str(folder))[2] is template
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who, user?"}]
    assert chat.main(["Who, user?", "--model", str(folder), "--system", "Be brief.", "--max-tokens", "12"]) == 0
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    asked = tokenizer.encode(template.text(talk)).ids
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    end = tokenizer.token_to_id(template.close)
    said = theirs.generate(
        torch.tensor([asked]), max_new_tokens=12, do_sample=False, eos_token_id=end, pad_token_id=end
    )
    want = tokenizer.decode(said[0, len(asked) :].tolist(), skip_special_tokens=True)
    assert capsys.readouterr().out == want + "\n"


def test_without_system_only_smollm2_is_told_something(tmp_path, monkeypatch):
    found, heard = chat.load(str(folder_of(tmp_path))), []
    monkeypatch.setattr(
        chat, "answer", lambda model, bpe, template, messages, *rest: heard.append(list(messages)) or ""
    )
    monkeypatch.setattr(chat, "load", lambda name: found)
    chat.main(["hi", "--model", str(tmp_path)])
    chat.main(["hi"])
    chat.main(["hi", "--system", ""])
    hi = {"role": "user", "content": "hi"}
    assert heard == [[hi], [{"role": "system", "content": chat.SYSTEM}, hi], [hi]]


def test_what_is_missing_is_one_line(tmp_path, capsys):
    whole = folder_of(tmp_path / "whole")
    (tmp_path / "empty").mkdir()
    no_words, no_chat, narrow = (tmp_path / name for name in ("no words", "no chat", "narrow"))
    for folder in (no_words, no_chat):
        folder_of(folder, template=None)
    (no_words / "tokenizer.json").unlink()
    folder_of(narrow, size=260)
    (tmp_path / "x.gguf").write_bytes((whole / "tokenizer.json").read_bytes())
    for model, message in [
        (tmp_path / "nowhere", "is no asset, no folder and no GGUF file"),
        (tmp_path / "empty", "empty has no config.json"),
        (no_words, "no words has no tokenizer.json, so there is nothing to read and write text with"),
        (no_chat, "has neither <|im_start|> nor <|start_header_id|> among its special tokens"),
        (narrow, "has ids up to 260, and the model 260 of them"),
        (tmp_path / "x.gguf", "is not a GGUF file"),
    ]:
        assert chat.main(["hi", "--model", str(model)]) == 1
        out = capsys.readouterr()
        assert not out.out
        assert message in out.err
        assert out.err.startswith("error: ")
        assert out.err.count("\n") == 1
