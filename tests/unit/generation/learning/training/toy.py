"""Eight small drawings in two looks, and an autoencoder: enough to train every generator on."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image, ImageDraw

from generation.learning.dataset import stored
from generation.learning.dataset.stored import Dataset, Row, Split
from generation.learning.recipes.work import Work
from generation.learning.training.conditions import Wording
from generation.learning.training.denoiser import Network
from generation.learning.training.diffusion import DiffusionRecipe
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Run
from generation.work import manifest

SIDE_PX = 32
COLOURS = ("red", "green", "blue", "orange")
SHAPES = ("circle", "square")
LOOKS = ("solid", "outlined")


RUN = Run(steps=20, batch_size=8, threads=1, log_every=4, ema_decay=0.9)
DIFFUSION = DiffusionRecipe(
    name="toy",
    title="Toy",
    side_px=SIDE_PX,
    num_inference_steps=4,
    guidance_scale=2.0,
    network=Network(
        block_out_channels=(16, 32), attention=(False, True), norm_num_groups=8, heads=4
    ),
    wording=Wording(phrasings=1),
    optimizer=Optimizer(learning_rate=4e-3),
    schedule=Schedule(warmup=5),
    run=RUN,
)


def draw(colour: str, shape: str, look: str) -> Image.Image:
    picture = Image.new("RGBA", (SIDE_PX, SIDE_PX), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    paint = pen.ellipse if shape == "circle" else pen.rectangle
    how = {"fill": colour} if look == "solid" else {"outline": colour, "width": 3}
    paint((4, 4, 27, 27), **how)
    return picture


def write_dataset(work: Work, unseen: frozenset[tuple[str, str]] = frozenset()) -> Dataset:
    """Write all things in all looks; those in `unseen`, (concept, look), are unseen pairs."""
    wanted = [(c, s, look) for look in LOOKS for c in COLOURS for s in SHAPES]
    rows = tuple(
        Row(
            key=f"{look}/{colour}-{shape}",
            concept=f"{colour} {shape}",
            look=look,
            group="shapes",
            phrasings=(f"{colour} {shape}", f"a {colour} {shape}", f"{shape} in {colour}"),
            split=Split.UNSEEN_PAIR if (f"{colour} {shape}", look) in unseen else Split.TRAIN,
            is_unseen_by_scorer=False,
            may_mirror=True,
            licence="CC0-1.0",
        )
        for colour, shape, look in wanted
    )
    dataset = Dataset(work.data, "{prompt}, {look} style", LOOKS, (SIDE_PX,), rows, "toy")
    work.data.mkdir(parents=True, exist_ok=True)
    pictures = np.stack([np.asarray(draw(*each)) for each in wanted])
    np.save(stored.pictures_file(work.data, SIDE_PX), pictures)
    stored.save(dataset)
    return dataset


def write_vae(work: Work) -> AutoencoderTiny:
    """Write an untrained autoencoder whose latents have about unit variance."""
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        vae = AutoencoderTiny(
            encoder_block_out_channels=(16,) * 3,
            decoder_block_out_channels=(16,) * 3,
            num_encoder_blocks=(1, 1, 1),
            num_decoder_blocks=(1, 1, 1),
            latent_channels=4,
        )
    with torch.no_grad():
        pixels = torch.rand((8, 3, SIDE_PX, SIDE_PX), generator=torch.Generator().manual_seed(0))
        std = vae.encode(pixels * 2 - 1).latents.std()
        vae.encoder.layers[-1].weight.div_(std)
        vae.encoder.layers[-1].bias.div_(std)
    folder = work.checkpoint("vae")
    vae.save_pretrained(folder)
    manifest.write(folder, "vae", {})
    return vae


def toy_work(root: Path) -> Work:
    """Return a work folder with dataset and autoencoder."""
    work = Work(root, "tiny")
    write_dataset(work)
    write_vae(work)
    return work
