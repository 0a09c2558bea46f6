"""Meanings are asked for by several threads at once: of pictures to judge, of words to tell."""

from concurrent.futures import ThreadPoolExecutor

import torch

from generation.language import sentences


def test_threads_that_ask_at_once_share_one_encoder_and_get_what_one_alone_gets(monkeypatch):
    loads = []
    load = sentences.load_text_encoder
    monkeypatch.setattr(sentences, "load_text_encoder", lambda: loads.append(1) or load())
    sentences._encoder.cache_clear()
    texts = [["a fox"], ["an owl in a tree"], ["a fox", "a very long " + "red " * 40 + "car"]] * 2
    with ThreadPoolExecutor(len(texts)) as pool:
        found = list(pool.map(sentences.encode, texts))
    assert len(loads) == 1
    for some, states in zip(texts, found, strict=True):
        assert torch.allclose(sentences.encode(some), states, atol=1e-5)
