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
def test_a_gpu_that_is_listed_and_does_not_compute_is_not_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.choose().device != "cuda"
    with pytest.raises(InvalidRequest):
        device.choose("cuda")


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


def groups(root, lines, limits):
    """Lay out what Linux tells of control groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")
    for path, value in limits.items():
        file = root / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")


V1 = {"cpu/docker/x/cpu.cfs_quota_us": "150000", "cpu/docker/x/cpu.cfs_period_us": "100000"}
FREE_V1 = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("lines", "limits", "cores"),
    [
        (["0::/"], {"cpu.max": "200000 100000"}, 2.0),  # inside `docker run --cpus=2`
        (["0::/"], {"cpu.max": "max 100000"}, None),
        (["0::/pods/a/b"], {"pods/a/b/cpu.max": "max 100000", "pods/cpu.max": "50000 100000"}, 0.5),
        (["4:cpu,cpuacct:/docker/x", "1:name=systemd:/x"], V1, 1.5),
        (["4:cpuset,cpu:/docker/x"], FREE_V1, None),
        (["0::/"], {}, None),
    ],
)
def test_a_containers_share_of_the_processor_is_seen(tmp_path, lines, limits, cores):
    groups(tmp_path, lines, limits)
    assert device.cpu_quota(tmp_path) == cores


def test_no_more_cores_are_used_than_the_container_may(monkeypatch):
    monkeypatch.setattr(device, "_siblings", str)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(32)), raising=False)
    for quota, cores in ((None, 32), (2.5, 2), (0.5, 1), (64.0, 32)):
        monkeypatch.setattr(device, "cpu_quota", lambda quota=quota: quota)
        assert device.physical_cores() == cores


@pytest.mark.parametrize(
    ("lines", "limits", "limit_bytes"),
    [
        (["0::/"], {"memory.max": "4294967296"}, 2**32),
        (["0::/a/b"], {"a/b/memory.max": "max", "a/memory.max": "1024"}, 1024),
        (["9:memory:/docker/x"], {"memory/docker/x/memory.limit_in_bytes": "2048"}, 2048),
        (["0::/"], {"memory.max": "max"}, None),
    ],
)
def test_a_containers_share_of_the_memory_is_seen(tmp_path, lines, limits, limit_bytes):
    groups(tmp_path, lines, limits)
    assert device.memory_limit(tmp_path) == limit_bytes
