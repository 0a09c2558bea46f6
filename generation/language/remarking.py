"""What is to be said of a prompt to a checkpoint that knows a limited vocabulary."""

from collections.abc import Sequence

from generation.language.english import is_other_language
from generation.language.prompt_words import fold, words_of
from generation.language.text_encoder import tokenizer
from generation.language.vocabulary import vocabulary_of
from generation.work.checkpoints import Checkpoint
from generation.work.remarks import OtherLanguage, Remark, SeveralThings
from generation.work.requests.imagine import WeightedPrompt

MAX_WORDS = 32
"""Words looked up for one prompt; the text encoder reads no more."""


def remarks_on(checkpoint: Checkpoint, prompts: Sequence[WeightedPrompt]) -> tuple[Remark, ...]:
    """Return what the checkpoint cannot know or hold of a prompt.

    Words it does not know are told in their order; articles, numbers, colours, sizes and its own
    looks are passed over. Of a prompt in another language that alone is told, since what comes
    near its words is chance.
    """
    looks = {fold(word) for pair in checkpoint.styles.items() for word in words_of(" ".join(pair))}
    texts = [part.text for part in prompts if part.weight > 0]
    text = " ".join(texts)
    asked = {fold(word): word for word in words_of(text) if fold(word) not in looks}
    known = vocabulary_of(checkpoint)
    strange = [word for word in asked.values() if not known.holds(word)][:MAX_WORDS]
    if is_other_language(text, strange, lambda word: len(tokenizer().tokenize(word))):
        return (OtherLanguage(),)
    said: list[Remark] = [*known.unlike(strange)] if strange else []
    for each in texts:
        things = tuple(dict.fromkeys(known.things_in(each)))
        if len(things) > 1:
            said.append(SeveralThings(things))
    return tuple(said)
