"""What each text encoder of a diffusers pipeline is given to read."""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from transformers import CLIPTokenizer

from generation.language.reading import Reader, beginning, cut
from generation.work.checkpoints import Checkpoint
from generation.work.remarks import Cut, Field
from generation.work.requests.imagine import Imagine

# Of classes that put a prompt into words of their own before they count: room for those.
RESERVED_TOKENS = {"Flux2": 96, "QwenImage": 16, "ZImage": 32, "Krea": 32, "Sana": 8, "Lumina": 64}


def readers_of(pipeline: Any) -> Mapping[str, list[Reader]]:
    """Return, for each argument that takes a prompt, those who must read it.

    Several encoders may read different texts (`prompt`, `prompt_2`, `prompt_3`). CLIP and what
    stands in its place in Stable Diffusion read what their tokenizer says; T5 and language models
    read `max_sequence_length`. A tokenizer without its encoder reads nothing.
    """
    arguments = inspect.signature(type(pipeline).__call__).parameters
    sequence = arguments.get("max_sequence_length")
    name = type(pipeline).__name__
    reserved = next((n for start, n in RESERVED_TOKENS.items() if name.startswith(start)), 0)
    readers: dict[str, list[Reader]] = {"prompt": []}
    for ending in ("", "_2", "_3", "_4"):
        tokenizer = getattr(pipeline, f"tokenizer{ending}", None)
        if tokenizer is None or getattr(pipeline, f"text_encoder{ending}", None) is None:
            continue
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # of a processor for pictures too
        most = tokenizer.model_max_length
        if sequence is not None and not isinstance(tokenizer, CLIPTokenizer):
            most = sequence.default - reserved
        argument = f"prompt{ending}" if f"prompt{ending}" in arguments else "prompt"
        readers.setdefault(argument, []).append(_reader(tokenizer, most))
    return readers


def _reader(tokenizer: Any, max_tokens: int) -> Reader:
    return Reader(lambda text: len(tokenizer(text).input_ids), max_tokens)


class TextArguments:
    """The texts of a request as arguments of a pipeline, each cut to what its encoders read.

    Args:
        checkpoint: Whose looks the words go into.
        pipeline: Of any class.
    """

    def __init__(self, checkpoint: Checkpoint, pipeline: Any) -> None:
        self._checkpoint = checkpoint
        self._readers = readers_of(pipeline)

    def of(self, request: Imagine) -> dict[str, list[str]]:
        """Return argument names to texts.

        A text that all encoders read to the same place is given once, as `prompt`: pipelines then
        take it for all of them.
        """
        arguments: dict[str, list[str]] = {}
        for field, text, caption in self._texts(request):
            kept = self._kept(text, caption)
            if len(set(kept.values())) == 1:
                kept = {"prompt": kept["prompt"]}
            for argument, part in kept.items():
                arguments[argument.replace("prompt", field, 1)] = [caption(part)]
        return arguments

    def cuts(self, request: Imagine) -> tuple[Cut, ...]:
        """Return where the texts end for the encoder that reads furthest."""
        found = (
            cut(field, text, max(self._kept(text, caption).values(), key=len))
            for field, text, caption in self._texts(request)
        )
        return tuple(itertools.chain(*found))

    def _texts(self, request: Imagine) -> Iterator[tuple[Field, str, Callable[[str], str]]]:
        for part in request.prompts:
            yield "prompt", part.text, functools.partial(self._checkpoint.caption, request)
        if request.negative_prompt:
            yield "negative_prompt", request.negative_prompt, str

    def _kept(self, text: str, caption: Callable[[str], str]) -> dict[str, str]:
        return {
            argument: beginning(text, caption, readers)
            for argument, readers in self._readers.items()
        }
