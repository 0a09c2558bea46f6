"""How much each text encoder reads is known of every class by its own arguments."""

import types

import diffusers
import pytest

from generation.techniques.diffusion.readers import RESERVED_TOKENS, readers_of


class Tokenizer:
    model_max_length = 77

    def __call__(self, text):
        return types.SimpleNamespace(input_ids=text.split())


def of(name, **components):
    """Return a pipeline of a real class, but for its weights."""
    kind = getattr(diffusers, name)
    hollow = object.__new__(kind)
    vars(hollow).update({"_internal_dict": {}, **components})
    return hollow


@pytest.mark.parametrize(
    ("name", "max_tokens"),
    [
        ("StableDiffusionPipeline", 77),
        ("PixArtAlphaPipeline", 120),
        ("PixArtSigmaPipeline", 300),
        ("ChromaPipeline", 512),
        ("SanaPipeline", 300 - RESERVED_TOKENS["Sana"]),
        ("Lumina2Pipeline", 256 - RESERVED_TOKENS["Lumina"]),
        ("ZImagePipeline", 512 - RESERVED_TOKENS["ZImage"]),
        ("QwenImagePipeline", 512 - RESERVED_TOKENS["QwenImage"]),
        ("Flux2KleinPipeline", 512 - RESERVED_TOKENS["Flux2"]),
        ("Krea2Pipeline", 512 - RESERVED_TOKENS["Krea"]),
    ],
)
def test_a_class_reads_what_its_own_argument_says(name, max_tokens):
    (reader,) = readers_of(of(name, tokenizer=Tokenizer(), text_encoder=object()))["prompt"]
    assert reader.max_tokens == max_tokens
    assert reader.count("a red fox") == 3


def test_a_tokenizer_without_its_encoder_reads_nothing():
    whole = {f"tokenizer{n}": Tokenizer() for n in ("", "_2", "_3")}
    encoders = {f"text_encoder{n}": object() for n in ("", "_2")}
    readers = readers_of(of("StableDiffusion3Pipeline", **whole, **encoders, text_encoder_3=None))
    assert list(readers) == ["prompt", "prompt_2"]


def test_encoders_that_share_an_argument_must_all_read_it():
    components = {f"{part}{n}": Tokenizer() for part in PARTS for n in ("", "_2")}
    assert len(readers_of(of("HunyuanDiTPipeline", **components))["prompt"]) == 2


def test_a_processor_counts_with_the_tokenizer_inside():
    processor = types.SimpleNamespace(tokenizer=Tokenizer())
    readers = readers_of(of("Flux2Pipeline", tokenizer=processor, text_encoder=object()))
    assert readers["prompt"][0].count("a red fox") == 3


PARTS = ("tokenizer", "text_encoder")
