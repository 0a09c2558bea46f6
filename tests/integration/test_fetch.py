"""Downloads from a hub: what diffusers loads and no more, resumed, told byte by byte."""

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import textwrap

import pytest
from aiohttp import web

from generation.engine.supervisor import Supervisor
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone, Remarked
from tests.unit.generation.techniques.diffusion.conftest import DESCRIPTION, sd15

REPOSITORY = "artist/tiny"
REVISION = "a" * 40
BIG = b"w" * 24_000_000  # the client keeps what it has in pieces of 10 MiB
FILES = {
    "model_index.json": json.dumps(
        {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    ).encode(),
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.fp16.safetensors": (2).to_bytes(8, "little") + b"{}" + BIG,
    "unet/diffusion_pytorch_model.safetensors": BIG * 2,
    "unet/diffusion_pytorch_model.bin": BIG,
    "tiny.ckpt": BIG,
    "picture.png": BIG,
}


@dataclasses.dataclass
class Hub:
    """As much of a hub as a client needs to list and fetch one repository."""

    files: dict[str, bytes] = dataclasses.field(default_factory=lambda: dict(FILES))
    slow: str = ""  # the end of a file's name
    sent: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    cut_after: int | None = None
    tokens: set[str | None] = dataclasses.field(default_factory=set)
    url: str = ""

    async def info(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers.get("Authorization"))
        if request.match_info["revision"] != REVISION:
            raise web.HTTPNotFound
        listed = [
            {"type": "file", "path": name, "size": len(body), "oid": "0" * 40}
            for name, body in self.files.items()
        ]
        return web.json_response(listed)

    async def about(self, request: web.Request) -> web.Response:
        siblings = [{"rfilename": name, "size": len(body)} for name, body in FILES.items()]
        return web.json_response({"id": REPOSITORY, "sha": REVISION, "siblings": siblings})

    async def file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["path"]
        body = self.files[name]
        start = int(request.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        response = web.StreamResponse(
            status=206 if start else 200,
            headers={
                "ETag": f'"{hashlib.sha256(body).hexdigest()}"',
                "X-Repo-Commit": REVISION,
                "Accept-Ranges": "bytes",
                "Content-Length": str(len(body) - start),
                "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}",
            },
        )
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        self.sent.append((name, start))
        end = len(body)
        if self.cut_after is not None and len(body) > self.cut_after:
            end, self.cut_after = self.cut_after, None
        for position in range(start, end, 4_000_000):
            await response.write(body[position : min(end, position + 4_000_000)])
            await asyncio.sleep(5.5 if self.slow and name.endswith(self.slow) else 0.1)
        if end < len(body):
            request.transport.abort()
        return response


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """Forget what an engine in this very process did to its environment; a worker has its own."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@contextlib.asynccontextmanager
async def hub():
    found = Hub()
    app = web.Application()
    app.router.add_get(f"/api/models/{REPOSITORY}/tree/{{revision}}", found.info)
    app.router.add_get(f"/api/models/{REPOSITORY}/revision/{{revision}}", found.about)
    app.router.add_route("*", f"/{REPOSITORY}/resolve/{REVISION}/{{path:.*}}", found.file)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


FETCH = textwrap.dedent(f"""
    import dataclasses, json
    from generation.engine import fetch
    from generation.work.checkpoints import PATTERN

    fetch.POLL_S = 0.05
    tiny = dataclasses.replace(
        PATTERN, name="tiny", family="pipeline", source="{REPOSITORY}", revision="{REVISION}"
    )
    told = []
    folder = fetch.fetch(tiny, lambda *come: told.append(come))
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    print(json.dumps([files, told]))
""")


SIZE = FETCH.partition("told = []")[0] + "print(fetch.download_bytes(tiny))"
NO_WAITING = "import time; time.sleep = lambda seconds: None\n"  # between the client's tries


async def run(found, tmp_path, *command, **environment):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "HF_ENDPOINT": found.url,
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            "ATELIER_DATA_DIR": str(tmp_path / "data"),
            **environment,
        },
    )
    out, problems = await process.communicate()
    return process.returncode, out.decode(), problems.decode()


async def test_a_download_takes_what_will_be_loaded_and_tells_its_bytes(tmp_path):
    async with hub() as found:
        token = {"HF_TOKEN": "hf_mine"}
        status, out, problems = await run(found, tmp_path, "-c", FETCH, **token)
        assert status == 0, problems
        files, told = json.loads(out)
        assert files == [
            "model_index.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.fp16.safetensors",
        ]
        total = sum(len(FILES[name]) for name in files)
        assert {each for _, each in told} == {total}
        come = [done for done, _ in told]
        assert come == sorted(come)
        assert any(0 < done < total for done in come)
        assert found.tokens == {"Bearer hf_mine"}
        found.sent.clear()
        assert (await run(found, tmp_path, "-c", FETCH))[0] == 0
        assert found.sent == []  # what is here is not fetched again, nor asked for


async def test_a_size_is_told_before_anything_is_downloaded_or_not_at_all(tmp_path):
    async with hub() as found:
        status, out, problems = await run(found, tmp_path, "-c", SIZE)
        assert status == 0, problems
        kept = ("model_index.json", "unet/config.json")
        weights = "unet/diffusion_pytorch_model.fp16.safetensors"
        assert int(out) == sum(len(FILES[name]) for name in (*kept, weights))
        assert found.sent == []
    status, out, problems = await run(found, tmp_path, "-c", SIZE)
    assert (status, out) == (0, "None\n"), problems


async def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path):
    nowhere = Hub(url="http://127.0.0.1:9")
    status, _, problems = await run(nowhere, tmp_path, "-c", NO_WAITING + FETCH)
    assert status == 1
    assert f"FetchFailed: {REPOSITORY} cannot be downloaded: " in problems.splitlines()[-1]


async def test_an_interrupted_download_goes_on_where_it_was(tmp_path):
    config = tmp_path / "atelier.toml"
    config.write_text(
        f'[[models]]\nname = "tiny"\nhub_id = "{REPOSITORY}"\nrevision = "{REVISION}"\n'
        "width = 64\nheight = 64\nnum_inference_steps = 2\nguidance_scale = 2.0\n"
    )
    command = ("-m", "bot", "--config", str(config), "models")
    async with hub() as found:
        _, out, _ = await run(found, tmp_path, *command, "list", COLUMNS="200")
        found.cut_after = 22_000_000
        status, out, problems = await run(found, tmp_path, *command, "fetch", "tiny")
        assert status == 0, problems
        assert out.startswith("tiny: ")
        starts = [start for name, start in found.sent if name.endswith("fp16.safetensors")]
        assert starts[0] == 0
        assert starts[1] > 0  # not from its beginning
        weights = next((tmp_path / "hub").rglob("*.fp16.safetensors"))
        assert weights.read_bytes() == FILES["unet/diffusion_pytorch_model.fp16.safetensors"]


async def test_a_class_that_nothing_draws_with_is_refused_before_its_weights_are_fetched(tmp_path):
    async with hub() as found:
        found.files["model_index.json"] = b'{"_class_name": "AuraFlowPipeline"}'
        status, _, problems = await run(found, tmp_path, "-c", FETCH)
        assert status == 1
        assert "AuraFlowPipeline; what can be drawn with is" in problems
        assert {name for name, _ in found.sent} == {"model_index.json"}


async def test_a_model_that_the_hub_does_not_have_is_one_sentence(tmp_path):
    async with hub() as found:
        broken = FETCH.replace(REVISION, "b" * 40)
        status, _, problems = await run(found, tmp_path, "-c", broken)
        assert status == 1
        assert "FetchFailed" in problems.splitlines()[-1]


@pytest.mark.slow
async def test_a_first_download_longer_than_any_silence_is_no_hang_and_is_drawn_with(
    tmp_path, monkeypatch
):
    sd15(tmp_path / "parts").save_pretrained(tmp_path / "tiny", variant="fp16")
    tiny = dataclasses.replace(
        DESCRIPTION, name="hub", family="pipeline", source=REPOSITORY, revision=REVISION
    )
    request = Imagine(
        prompts=(WeightedPrompt("a fox"),),
        model="hub",
        seed=7,
        width=32,
        height=32,
        num_inference_steps=2,
        guidance_scale=3.0,
        num_images=1,
    )
    async with hub() as found:
        found.files = {
            path.relative_to(tmp_path / "tiny").as_posix(): path.read_bytes()
            for path in (tmp_path / "tiny").rglob("*")
            if path.is_file()
        }
        found.slow = "unet/diffusion_pytorch_model.fp16.safetensors"
        for name, value in {
            "HF_ENDPOINT": found.url,
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_XET": "1",
        }.items():
            monkeypatch.setenv(name, value)
        supervisor = Supervisor(checkpoints={"hub": tiny}, device="cpu", step_timeout_s=5)
        try:
            ends = [e async for e in supervisor.render([Order(1, request)])]
        finally:
            await supervisor.stop()
    assert [type(end) for end in ends[-2:]] == [ImagesDone, Remarked], ends


@pytest.mark.parametrize("is_half", [True, False])
def test_of_each_part_one_kind_of_weights_is_chosen(is_half):
    from generation.engine.fetch import wanted

    half = "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors"
    whole = ["vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"]
    sizes = dict.fromkeys(
        [
            *whole,
            *([half] if is_half else []),
            "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
            "unet/diffusion_pytorch_model.non_ema.safetensors",
            "unet/deep/model.safetensors",
            "text_encoder/flax_model.msgpack",
            "text_encoder/model.fp32.safetensors",
            "model_index.json",
            "README.md",
        ],
        1,
    )
    unet = half if is_half else "unet/diffusion_pytorch_model-00001-of-00002.safetensors"
    assert set(wanted(sizes)) == {*whole, unet, "model_index.json"}
