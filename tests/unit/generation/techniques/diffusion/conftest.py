"""Tiny random checkpoints of real classes, built once a test run: no download, a second each."""

import dataclasses
import json
from pathlib import Path

import diffusers
import pytest
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from generation.work.checkpoints import ABILITIES, Checkpoint

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.'"


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    tokens = [
        *LETTERS,
        *(letter + "</w>" for letter in LETTERS),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def t5_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {token: i for i, token in enumerate(["<pad>", "</s>", "<unk>", *LETTERS, " "])}
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, special["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=16,
        **special,
    )


def clip_text(tokenizer: CLIPTokenizer, cls=CLIPTextModel, hidden_size: int = 32):
    return cls(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden_size,
            intermediate_size=37,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=16,
            projection_dim=32,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()


def t5_text(hidden_size: int = 32) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=64, d_model=hidden_size, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    ).eval()


def kl_autoencoder(latent_channels: int = 4, **config) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=latent_channels,
        norm_num_groups=8,
        **config,
    ).eval()


def unet(**config) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        **{
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "sample_size": 16,
            "in_channels": 4,
            "out_channels": 4,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 32,
            "attention_head_dim": 8,
            "norm_num_groups": 8,
            **config,
        }
    ).eval()


def sd15(folder: Path, scheduler=None, vae=None) -> StableDiffusionPipeline:
    torch.manual_seed(0)
    tokenizer = clip_tokenizer(folder / "clip")
    return StableDiffusionPipeline(
        vae=vae or kl_autoencoder(),
        text_encoder=clip_text(tokenizer),
        tokenizer=tokenizer,
        unet=unet(),
        scheduler=scheduler or DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def flow_solver() -> DPMSolverMultistepScheduler:
    return DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0, steps_offset=1
    )


def tiny_autoencoder() -> AutoencoderTiny:
    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ).eval()


def sdxl(folder: Path) -> StableDiffusionXLPipeline:
    torch.manual_seed(0)
    tokenizer = clip_tokenizer(folder / "clip")
    return StableDiffusionXLPipeline(
        vae=kl_autoencoder(),
        text_encoder=clip_text(tokenizer),
        text_encoder_2=clip_text(tokenizer, CLIPTextModelWithProjection),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet(
            cross_attention_dim=64,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=80,
        ),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def sd3(folder: Path) -> StableDiffusion3Pipeline:
    torch.manual_seed(0)
    tokenizer = clip_tokenizer(folder / "clip")
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=16,
            patch_size=1,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=64,
            pooled_projection_dim=64,
            out_channels=4,
        ).eval(),
        vae=kl_autoencoder(shift_factor=0.06, scaling_factor=1.3),
        text_encoder=clip_text(tokenizer, CLIPTextModelWithProjection),
        text_encoder_2=clip_text(tokenizer, CLIPTextModelWithProjection),
        text_encoder_3=t5_text(64),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def flux(folder: Path) -> FluxPipeline:
    torch.manual_seed(0)
    tokenizer = clip_tokenizer(folder / "clip")
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ).eval(),
        vae=kl_autoencoder(
            shift_factor=0.06,
            scaling_factor=1.3,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        text_encoder=clip_text(tokenizer),
        text_encoder_2=t5_text(32),
        tokenizer=tokenizer,
        tokenizer_2=t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

DESCRIPTION = Checkpoint(
    name="tiny",
    title="Tiny",
    family="slots",
    source="",
    width=32,
    height=32,
    num_inference_steps=3,
    guidance_scale=3.0,
    styles={"plain": "{prompt}", "bold": "{prompt}, bold"},
    default_style="plain",
    honours=ABILITIES,
)


BUILDERS = {
    "sd15": sd15,
    "flow": lambda folder: sd15(folder, flow_solver(), tiny_autoencoder()),
    "sdxl": sdxl,
    "sd3": sd3,
    "flux": flux,
}


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Builds a tiny checkpoint once and describes it."""
    made: dict[str, Checkpoint] = {}

    def make(kind: str) -> Checkpoint:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            BUILDERS[kind](folder).save_pretrained(folder / "model")
            family = "slots" if kind in {"sd15", "flow"} else "pipeline"
            made[kind] = dataclasses.replace(
                DESCRIPTION, name=kind, family=family, source=str(folder / "model")
            )
        return made[kind]

    return make
