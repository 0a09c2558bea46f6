"""What concerns a whole prompt is said: another language, more things than a picture holds."""

import dataclasses

import pytest
import torch

from generation.language import meanings, remarking
from generation.language.vocabulary import names_in, vocabulary_of
from generation.work.checkpoints import EMBEDDED, MEANINGS, read_checkpoint, shipped
from generation.work.remarks import OtherLanguage, SeveralThings, UnknownWord
from generation.work.requests.imagine import WeightedPrompt

EMOJI = read_checkpoint(EMBEDDED)
WITH_WORDS = [checkpoint for checkpoint in shipped() if checkpoint.vocabulary]


def remarks_on(*texts, checkpoint=EMOJI):
    return remarking.remarks_on(checkpoint, [WeightedPrompt(text) for text in texts])


@pytest.mark.parametrize(
    "text",
    [
        "ein roter Apfel", "une pomme rouge", "una manzana roja", "uma maçã vermelha",
        "una mela rossa", "een rode appel", "ett rött äpple", "czerwone jabłko", "kırmızı elma",
        "красное яблоко", "κόκκινο μήλο", "תפוח אדום", "تفاحة حمراء", "赤いりんご", "빨간 사과", "红苹果",
    ],
)  # fmt: skip
def test_a_red_apple_in_another_language_is_told_once_and_suggests_no_rooster(text):
    assert remarks_on(text) == (OtherLanguage(),)


@pytest.mark.parametrize(
    "text",
    [
        "a red apple", "a wugglepump", "axolotl capybara", "Darth Vader", "Las Vegas", "el nino",
        "a piñata", "i want a cyborg", "lo-fi cyborg", "strawbery cristmas", "🦊🍎", "a 猫", "das boot",
        "fleur-de-lis on a wugglepump", "crêpe", "masterpiece, ultradetailed, 8k",
    ],
)  # fmt: skip
def test_odd_english_is_not_taken_for_another_language(text):
    assert OtherLanguage() not in remarks_on(text)


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("a dragon with a sword", ("dragon", "sword")),
        ("a dog and two cats", ("dog", "cats")),
        ("an astronaut riding a horse", ("astronaut", "horse")),
        ("a cat, a dog, a bird", ("cat", "dog", "bird")),
        ("a fox in a teacup", ("fox", "teacup")),
    ],
)
def test_things_that_are_put_into_one_picture_are_told_together(text, things):
    assert SeveralThings(things) in remarks_on(text)


@pytest.mark.parametrize(
    "text",
    [
        "a bow and arrow", "a fork and a knife", "a man with a beard", "a cat with tears of joy",
        "a slice of pizza", "a fox on a blue background", "a big and happy cat", "a cowboy hat",
        "a woman with long hair", "a red and green apple",
    ],
)  # fmt: skip
def test_one_thing_is_not_told_as_several(text):
    assert not [said for said in remarks_on(text) if isinstance(said, SeveralThings)]


def test_a_blend_of_parts_is_not_a_composition():
    assert remarks_on("a fox", "a car") == ()


def test_unknown_words_are_told_beside_the_rest():
    said = remarks_on("a dog with a crown and a wugglepump")
    assert [type(each) for each in said] == [UnknownWord, SeveralThings]


@pytest.mark.parametrize("checkpoint", WITH_WORDS, ids=lambda checkpoint: checkpoint.name)
def test_kept_meanings_are_what_the_encoder_says(checkpoint):
    names = names_in(checkpoint.vocabulary)
    kept = meanings.read(EMBEDDED.with_name(checkpoint.name), names)
    some = range(0, len(names), 40)
    cosines = (kept[list(some)] * meanings.of([names[number] for number in some])).sum(1)
    assert kept.shape == (len(names), 384)
    assert cosines.min() > 1 - 1e-3


def test_no_word_waits_for_the_vocabulary_where_its_meanings_are_kept(monkeypatch):
    encoded = []
    encode = meanings.sentences.encode
    monkeypatch.setattr(
        meanings.sentences, "encode", lambda texts: encoded.extend(texts) or encode(texts)
    )
    checkpoint = dataclasses.replace(EMOJI, num_things=747)  # not one that is open already
    remarks_on("a centaur", checkpoint=checkpoint)
    assert encoded == ["centaur"]


def test_meanings_of_other_words_or_without_a_record_are_not_read(tmp_path):
    names = ("fox", "horse")
    meanings.write(tmp_path, names)
    assert meanings.read(tmp_path, names).shape == (2, 384)
    assert meanings.read(tmp_path, ("fox", "cow")) is None
    assert meanings.read(tmp_path / "elsewhere", names) is None
    for recorded, swaps in (({}, False), ({MEANINGS: "0"}, True)):
        # With the rows of another order, what is near tells which ones were used.
        meanings.write(tmp_path, names)
        kept = meanings.read(tmp_path, names)
        meanings.save_file(
            {meanings.KEY: kept.flip(0).half().contiguous()},
            tmp_path / MEANINGS,
            metadata={"texts": meanings._digest(names)},
        )
        checkpoint = dataclasses.replace(
            EMOJI, vocabulary=names, num_things=2, source=str(tmp_path), sha256=recorded
        )
        words = vocabulary_of(checkpoint)._meanings
        assert torch.allclose(words, kept.flip(0) if swaps else kept, atol=1e-2)
