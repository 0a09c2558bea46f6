"""Device, number format and threads are chosen by rules that can be read."""

import pytest
import torch

from generation.techniques import device
from generation.techniques.device import DeviceChoice
from generation.work.errors import InvalidRequest


def test_what_is_configured_is_taken_and_said():
    choice = device.choose("cpu", "bfloat16", 3)
    assert (choice.device, choice.dtype, choice.threads) == ("cpu", "bfloat16", 3)
    assert choice.reason.count("as configured") == 3


def test_auto_never_chooses_bfloat16_without_instructions_for_it(monkeypatch):
    monkeypatch.setattr(device, "cpu_flags", lambda: frozenset({"avx2"}))
    assert device.choose("cpu").dtype == "float32"


def test_auto_takes_a_present_device():
    choice = device.choose()
    present = {"cuda": torch.cuda.is_available(), "cpu": True}
    assert present.get(choice.device, True)
    assert choice.threads >= 1
    assert device.name_of(choice.device)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(("tpu",), "device"), (("cpu", "int4"), "dtype"), (("cpu", "auto", -1), "threads")],
)
def test_what_is_unknown_is_refused_by_name(arguments, field):
    with pytest.raises(InvalidRequest) as refused:
        device.choose(*arguments)
    assert refused.value.field == field


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InvalidRequest, match="this machine"):
        device.choose("cuda")


@pytest.mark.parametrize(
    ("threads", "lanes", "threads_per_lane"), [(1, 1, 1), (2, 2, 1), (3, 2, 1), (16, 2, 8)]
)
def test_cpu_cores_are_split_into_two_lanes(threads, lanes, threads_per_lane):
    choice = DeviceChoice("cpu", "float32", threads, "")
    assert (choice.lanes, choice.threads_per_lane) == (lanes, threads_per_lane)


def test_small_checkpoints_share_forward_passes_and_large_ones_do_not():
    cpu, gpu = (DeviceChoice(name, "bfloat16", 2, "") for name in ("cpu", "cuda"))
    assert [cpu.micro_batch(side, side) for side in (128, 256, 512)] == [2, 2, 1]
    assert [gpu.micro_batch(side, side) for side in (128, 512, 1024)] == [4, 4, 1]
