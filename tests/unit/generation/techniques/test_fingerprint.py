"""Equal fingerprints, equal bits: what kernels are chosen by is in them."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from generation.techniques.device import DeviceChoice
from generation.techniques.fingerprint import VARIABLES, Undetermined, engine_fields, variables
from generation.work.results import EngineFingerprint

CHOICE = DeviceChoice("cpu", "float32", 1, "test")
DRAWN = """
import hashlib, math, numpy, torch
from generation.techniques.device import DeviceChoice
from generation.techniques.fingerprint import engine_fields
from generation.work.results import EngineFingerprint
torch.manual_seed(0)
torch.set_num_threads(1)
work = torch.nn.Sequential(torch.nn.Conv2d(64, 64, 3), torch.nn.Flatten(), torch.nn.Linear(12544, 99))
levels = numpy.linspace(0.01, 9, 999)
bits = numpy.exp(levels).tobytes() + (levels**0.123).tobytes()
bits += repr([math.exp(level) for level in levels.tolist()]).encode()
for dtype in (torch.float32, torch.bfloat16):
    with torch.inference_mode():
        bits += work.to(dtype)(torch.randn(2, 64, 16, 16).to(dtype)).float().numpy().tobytes()
fields = engine_fields(DeviceChoice("cpu", "float32", 1, ""))
print(EngineFingerprint(fields).digest, hashlib.sha256(bits).hexdigest())
"""


def drawn(**environment):
    """Return the fingerprint and the bits of a process of its own."""
    command = [sys.executable, "-c", DRAWN]
    own = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
    whole = {**own, **environment, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=whole, capture_output=True, text=True, check=True)
    return done.stdout.split()


def numpy_features():
    """Return what this numpy can be told to do without on this processor."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return sorted(name for name in __cpu_dispatch__ if __cpu_features__.get(name))


def test_equal_fingerprints_are_equal_bits_at_every_level_of_instructions():
    usual = drawn()
    for environment in (
        {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        {"ATEN_CPU_CAPABILITY": "default"},
        {"MKL_CBWR": "COMPATIBLE"},
        {
            "NPY_DISABLE_CPU_FEATURES": " ".join(numpy_features()),
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",
        },
    ):
        digest, bits = drawn(**environment)
        assert digest != usual[0] or bits == usual[1]
        assert digest != usual[0]


@pytest.mark.parametrize(
    "name",
    [
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "MKL_CBWR",
        "NPY_DISABLE_CPU_FEATURES",
        "GLIBC_TUNABLES",
        "DIFFUSERS_ATTN_BACKEND",
        "NVIDIA_TF32_OVERRIDE",
    ],
)
def test_variables_that_choose_kernels_are_named(monkeypatch, name):
    before = EngineFingerprint(engine_fields(CHOICE))
    monkeypatch.setenv(name, "X")
    after = EngineFingerprint(engine_fields(CHOICE))
    assert set(before.differences(after)) == {"variables"}
    assert f"{name}=X" in after.fields["variables"]


def test_no_secret_and_nothing_that_is_only_said_gets_into_a_fingerprint():
    environ = {"HF_TOKEN": "x", "DISCORD_TOKEN": "x", "ONEDNN_VERBOSE": "1", "HOME": "/root"}
    assert variables(environ) == ""


def test_the_precision_of_matrix_products_is_named():
    before = EngineFingerprint(engine_fields(CHOICE))
    torch.set_float32_matmul_precision("high")
    try:
        after = EngineFingerprint(engine_fields(CHOICE))
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(before.differences(after)) == {"matmul"}


def test_what_an_older_record_does_not_say_is_no_difference():
    old = EngineFingerprint({"torch": "2.12", "sha256:unet": "1"})
    new = EngineFingerprint({"torch": "2.13", "sha256:unet": "1", "variables": "MKL_CBWR=AVX2"})
    assert set(old.differences(new)) == {"torch"}
    assert old.unknown(new) == {"variables"}


def test_a_file_that_only_one_engine_loaded_is_a_difference():
    with_scorer = EngineFingerprint({"sha256:scorer": "1"})
    assert set(EngineFingerprint({}).differences(with_scorer)) == {"sha256:scorer"}


@pytest.fixture
def determined():
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(mode=False)


@pytest.mark.usefixtures("determined")
def test_an_operation_whose_bits_nobody_promises_is_named():
    pooled, indices = torch.nn.functional.max_pool2d(torch.ones(1, 1, 4, 4), 2, return_indices=True)
    undetermined = Undetermined()
    with warnings.catch_warnings():
        undetermined.listen()
        torch.nn.functional.max_unpool2d(pooled, indices, 2)
    assert undetermined.operations == "max_unpooling2d_forward_out"
