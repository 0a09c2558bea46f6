"""Eighteen coloured shapes in three looks, a scorer that knows them, and an untaught checkpoint."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from PIL import Image, ImageDraw

from generation.learning.dataset import stored
from generation.learning.dataset.stored import Dataset, Row, Split
from generation.learning.recipes.work import Work
from generation.learning.training import checkpoint, scorer
from generation.learning.training.noising import scheduler
from generation.learning.training.run import Run
from generation.learning.training.scorer import ScorerRecipe
from generation.work.progress import silent

SIDE_PX = 32
COLOURS = ("red", "green", "blue", "orange", "purple", "black")
SHAPES = ("circle", "square", "bar")
LOOKS = ("solid", "outlined", "small")
MARGINS = {"solid": 3, "outlined": 4, "small": 9}
UNSEEN_CONCEPTS = ("black circle", "blue square")
EVERYDAY = {
    "a crimson disc": "red circle",
    "an emerald box": "green square",
    "a plank the colour of the sky": "blue bar",
    "a violet disc": "purple circle",
    "a tangerine": "orange circle",
    "a brick": "red square",
}


def draw(colour: str, shape: str, look: str) -> Image.Image:
    picture = Image.new("RGBA", (SIDE_PX, SIDE_PX), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    low = MARGINS[look]
    high = SIDE_PX - 1 - low
    box = (low, 12, high, 19) if shape == "bar" else (low, low, high, high)
    how = {"outline": colour, "width": 3} if look == "outlined" else {"fill": colour}
    (pen.ellipse if shape == "circle" else pen.rectangle)(box, **how)
    return picture


def write_dataset(work: Work) -> Dataset:
    wanted = [(c, s, look) for c in COLOURS for s in SHAPES for look in LOOKS]
    rows = tuple(_row(number, *each) for number, each in enumerate(wanted))
    dataset = Dataset(work.data, "{prompt}, {look} style", LOOKS, (SIDE_PX,), rows, "f" * 64)
    work.data.mkdir(parents=True)
    pictures = np.stack([np.asarray(draw(*each)) for each in wanted])
    np.save(stored.pictures_file(work.data, SIDE_PX), pictures)
    stored.save(dataset)
    return dataset


def _row(number: int, colour: str, shape: str, look: str) -> Row:
    concept = f"{colour} {shape}"
    is_unseen_pair = number % 5 == 4
    split = Split.UNSEEN_PAIR if is_unseen_pair else Split.TRAIN
    return Row(
        key=f"{look}/{colour}-{shape}",
        concept=concept,
        look=look,
        group=f"{shape}s",
        phrasings=(concept, f"a {concept}", f"{shape} in {colour}"),
        split=Split.UNSEEN_CONCEPT if concept in UNSEEN_CONCEPTS else split,
        is_unseen_by_scorer=number % 6 == 3,
        may_mirror=True,
        licence="CC0-1.0",
    )


def train_scorer(work: Work) -> None:
    run = Run(steps=150, batch_size=16, threads=1)
    recipe = ScorerRecipe(side_px=SIDE_PX, widths=(16, 32), embedding_size=32, run=run)
    scorer.train(work, recipe, silent)


def networks() -> tuple[UNet2DConditionModel, AutoencoderTiny]:
    """Return fresh networks of a checkpoint that draws at 32 px."""
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(16, 32),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=8,
            cross_attention_dim=384,
        )
        vae = AutoencoderTiny(
            encoder_block_out_channels=(16,) * 3,
            decoder_block_out_channels=(16,) * 3,
            num_encoder_blocks=(1, 1, 1),
            num_decoder_blocks=(1, 1, 1),
            latent_channels=4,
        )
    return unet, vae


def write_checkpoint(folder: Path, dataset: Dataset) -> Path:
    """Write a checkpoint that has learned nothing."""
    unet, vae = networks()
    about = checkpoint.About(
        name="toy",
        title="Toy <b>",
        side_px=SIDE_PX,
        num_inference_steps=2,
        guidance_scale=2.0,
        styles=checkpoint.styles(dataset),
        default_style=LOOKS[0],
        vocabulary=checkpoint.vocabulary(dataset),
        num_things=len(checkpoint.concepts(dataset)),
    )
    checkpoint.export(folder, "diffusion", about, unet, vae, scheduler("flow"))
    return folder
