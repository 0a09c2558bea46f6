"""Frames between the bot and its worker: decoding is the inverse of encoding, however cut."""

import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.engine import wire
from generation.work.checkpoints import ABILITIES, PATTERN, Checkpoint
from generation.work.errors import InvalidRequest
from generation.work.inputs import Input, Role
from generation.work.orders import Order, WorkerReady
from generation.work.remarks import Cut, OtherLanguage, SeveralThings, UnknownWord
from generation.work.requests.imagine import MAX_SEED, Imagine, WeightedPrompt
from generation.work.requests.reading import from_json, to_json
from generation.work.results import (
    DrawnImage,
    EngineFingerprint,
    ImagesDone,
    OrderCancelled,
    OrderFailed,
    OrderLost,
    Remarked,
    StepDone,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(str.strip)
COUNT = st.integers(0, 2**40)
FILE = st.binary(min_size=1, max_size=200)
FINGERPRINT = st.builds(EngineFingerprint, st.dictionaries(TEXT, TEXT, max_size=4))
PROMPTS = st.lists(
    st.builds(WeightedPrompt, WORDS, st.floats(0.01, 100)), min_size=1, max_size=3
).map(tuple)
REQUEST_FIELDS = {
    "prompts": PROMPTS,
    "model": TEXT,
    "seed": st.integers(0, MAX_SEED),
    "width": st.integers(2, 512).map(lambda n: 8 * n),
    "height": st.integers(2, 512).map(lambda n: 8 * n),
    "num_inference_steps": st.integers(1, 150),
    "guidance_scale": st.floats(1, 30),
    "negative_prompt": TEXT,
    "style": st.none() | TEXT,
    "num_images": st.integers(1, 5),
    "num_spare": st.integers(0, 3),
}
DIGEST = st.text("0123456789abcdef", min_size=64, max_size=64)
REQUEST = st.builds(Imagine, **REQUEST_FIELDS) | st.builds(
    Imagine,
    **REQUEST_FIELDS,
    inputs=DIGEST.map(lambda sha: (Input(Role.START, sha),)),
    strength=st.floats(0.01, 1),
)
ONE_WORD = TEXT.filter(lambda text: text.split() == [text])
CHECKPOINT = st.builds(
    Checkpoint,
    name=st.text(string.ascii_letters, min_size=1),
    title=TEXT,
    family=st.sampled_from(["slots", "pipeline", "pattern"]),
    source=TEXT,
    width=st.just(64),
    height=st.just(128),
    num_inference_steps=st.integers(1, 150),
    guidance_scale=st.floats(1, 30),
    revision=st.none() | TEXT,
    styles=st.dictionaries(ONE_WORD, TEXT.map(lambda text: text + "{prompt}"), max_size=3),
    vocabulary=st.lists(TEXT, max_size=3).map(tuple),
    honours=st.frozensets(st.sampled_from(sorted(ABILITIES))),
    sha256=st.dictionaries(TEXT, DIGEST, max_size=3),
    text_encoder=TEXT,
)
IMAGE = st.builds(DrawnImage, COUNT, COUNT, COUNT, COUNT, FILE, DIGEST)
WORDS = st.lists(TEXT, max_size=3).map(tuple)
REMARK = (
    st.builds(UnknownWord, TEXT, WORDS)
    | st.builds(Cut, st.sampled_from(["prompt", "negative_prompt"]), TEXT)
    | st.just(OtherLanguage())
    | st.builds(SeveralThings, WORDS)
)
EVENT = (
    st.builds(StepDone, COUNT, COUNT, COUNT, st.none() | FILE)
    | st.builds(
        ImagesDone,
        COUNT,
        st.lists(IMAGE, max_size=4).map(tuple),
        FINGERPRINT,
        st.floats(0, 1e6),
    )
    | st.builds(Remarked, COUNT, st.lists(REMARK, max_size=3).map(tuple))
    | st.builds(OrderFailed, COUNT, TEXT, TEXT)
    | st.builds(OrderCancelled, COUNT)
    | st.builds(OrderLost, COUNT, TEXT)
)
MESSAGE = (
    st.builds(
        wire.Setup,
        version=COUNT,
        checkpoints=st.lists(CHECKPOINT, max_size=3).map(tuple),
        device=TEXT,
        dtype=TEXT,
        threads=COUNT,
        previews=st.booleans(),
        delay_s=st.floats(0, 30),
    )
    | st.builds(wire.Load, TEXT)
    | st.builds(
        wire.Admit,
        COUNT,
        st.builds(Order, COUNT, REQUEST, st.lists(FILE, max_size=2).map(tuple)),
    )
    | st.builds(wire.Cancel, COUNT)
    | st.builds(WorkerReady, COUNT)
    | st.builds(wire.StartFailed, TEXT, TEXT)
    | st.builds(wire.Loading, TEXT, st.floats(0, 1e6), COUNT, COUNT)
    | st.builds(wire.Resident, st.dictionaries(TEXT, COUNT, max_size=3))
    | st.builds(wire.Loaded, TEXT, FINGERPRINT)
    | st.builds(wire.LoadFailed, TEXT, TEXT, TEXT)
    | st.builds(wire.Happened, COUNT, EVENT)
)


@given(messages=st.lists(MESSAGE, max_size=4), cuts=st.lists(st.integers(1, 500), max_size=20))
def test_decoding_is_the_inverse_of_encoding_however_the_pipe_cuts(messages, cuts):
    rest = b"".join(map(wire.encode, messages))
    decoder, decoded = wire.Decoder(), []
    for cut in cuts:
        decoded += decoder.feed(rest[:cut])
        rest = rest[cut:]
    decoded += decoder.feed(rest)
    assert decoded == messages


@given(noise=st.binary(max_size=300))
def test_noise_is_refused_or_waits_for_more_and_never_anything_else(noise):
    try:
        list(wire.Decoder().feed(noise))
    except wire.WireError:
        return


@pytest.mark.parametrize(
    "frame",
    [
        (wire.MAX_HEADER_BYTES + 1).to_bytes(4),
        b"\0\0\0\0",
        b"\0\0\0\x04abcd",
        b"\0\0\0\x02[]",
        b'\0\0\0\x0f{"blobs": [-1]}',
        b'\0\0\0\x18{"blobs": [999999999999]}'[:28],
        b'\0\0\0\x1a{"type":"Spell","blobs":[]}',
        b'\0\0\0\x1b{"type":"Cancel","blobs":[]}',
    ],
)
def test_a_frame_that_is_not_ours_is_refused(frame):
    with pytest.raises(wire.WireError):
        list(wire.Decoder().feed(frame + b" " * 8))


def framed(header: str) -> bytes:
    return len(header).to_bytes(4) + header.encode()


@pytest.mark.parametrize(
    "header",
    [
        '{"type":"WorkerReady","version":"many","blobs":[]}',
        '{"type":"Cancel","ticket":true,"blobs":[]}',
        '{"type":"Resident","max_images":{"sdxl":"4"},"blobs":[]}',
        '{"type":"Happened","ticket":1,"blobs":[],"event":{"type":"ImagesDone","job_id":1,'
        '"images":[],"fingerprint":{"torch":2},"elapsed_s":0.5}}',
        '{"type":"Happened","ticket":1,"blobs":[],"event":{"type":"ImagesDone","job_id":1,'
        '"images":[],"fingerprint":{},"elapsed_s":"long"}}',
    ],
)
def test_a_field_of_another_type_is_refused(header):
    with pytest.raises(wire.WireError, match="type"):
        list(wire.Decoder().feed(framed(header)))


def test_a_header_nested_too_deeply_is_refused_like_any_other_noise():
    with pytest.raises(wire.WireError):
        list(wire.Decoder().feed(framed('{"blobs":[],"x":' + "[" * 200_000 + "]" * 200_000 + "}")))


def test_no_more_is_ever_buffered_than_the_pictures_of_one_job():
    lengths = [wire.MAX_BLOB_BYTES] * 9
    with pytest.raises(wire.WireError, match="too much"):
        list(wire.Decoder().feed(framed(f'{{"type":"Happened","blobs":{lengths}}}')))


def test_a_record_with_values_out_of_range_crosses_the_pipe_and_fails_on_the_other_side():
    plain = Imagine(
        prompts=(WeightedPrompt("a fox"),),
        model="pattern",
        seed=7,
        width=64,
        height=64,
        num_inference_steps=2,
        guidance_scale=2.0,
    )
    request = from_json({**to_json(plain), "guidance_scale": math.nan})
    (message,) = wire.Decoder().feed(wire.encode(wire.Admit(1, Order(1, request))))
    with pytest.raises(InvalidRequest):
        message.order.request.check()


def test_a_picture_too_large_for_a_frame_is_refused_before_it_is_sent():
    image = DrawnImage(0, 0, 8, 8, bytes(wire.MAX_BLOB_BYTES + 1))
    with pytest.raises(wire.WireError):
        wire.encode(wire.Happened(1, ImagesDone(1, (image,), EngineFingerprint({}), 0.0)))


def test_every_field_of_a_checkpoint_crosses_the_pipe():
    setup = wire.Setup(wire.VERSION, (PATTERN,), "cpu", "auto", 0, previews=True, delay_s=0.0)
    assert list(wire.Decoder().feed(wire.encode(setup))) == [setup]
