"""A text that is too long is cut at the end of a word, as late as can be read."""

from hypothesis import given
from hypothesis import strategies as st

from generation.language import text_encoder
from generation.language.reading import Reader, beginning, cut
from generation.work.remarks import Cut

LETTERS = Reader(len, 30)


def framed(text):
    return f"photo of {text}, flat"


TEXT = st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=20).map(" ".join)


@given(TEXT)
def test_what_is_kept_is_read_and_one_word_more_is_not(text):
    words = text.split()
    whole = [n for n in range(len(words) + 1) if LETTERS.reads(framed(" ".join(words[:n])))]
    assert beginning(text, framed, [LETTERS]) == " ".join(words[: max(whole)])


@given(TEXT)
def test_what_is_read_whole_comes_back_to_the_letter(text):
    assert beginning(text, framed, [Reader(len, 1_000)]) == text
    assert list(cut("prompt", text, text)) == []


def test_everyone_who_must_read_it_does():
    kept = beginning("a fox in a red hat on a hill", str, [LETTERS, Reader(len, 9)])
    assert kept == "a fox in"


def test_no_comma_is_left_hanging_before_the_look():
    assert beginning("a fox , a bear in the wood", framed, [LETTERS]) == "a fox , a bear"
    assert beginning("a brown bear, in a wide wood", framed, [LETTERS]) == "a brown bear"


def test_text_without_spaces_is_cut_between_characters():
    kept = beginning("白い猫が窓辺で眠る" * 5, framed, [LETTERS])
    assert len(framed(kept)) == LETTERS.max_tokens


def test_a_look_that_is_too_long_by_itself_leaves_one_word():
    assert beginning("a fox", lambda text: text + "!" * 99, [LETTERS]) == "a"


def test_the_shipped_encoder_counts_what_it_reads():
    reader = text_encoder.reader()
    encoder, tokenizer = text_encoder.load_text_encoder()
    text = " ".join(["fox"] * 60)
    kept = beginning(text, str, [reader])
    read = tokenizer(text, truncation=True, padding="max_length", return_tensors="pt").input_ids
    assert read.tolist() == [tokenizer(kept).input_ids]
    assert encoder.config.hidden_size == 384
    assert list(cut("prompt", text, kept)) == [Cut("prompt", "fox fox fox")]
