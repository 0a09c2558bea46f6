"""The UNet that finds the picture in the noise, as diffusers builds it."""

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel

from generation.learning.training import conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Size of the UNet.

    Attributes:
        block_out_channels: Channels at latent size, half, quarter and so on.
        attention: Which of those levels look at the caption's words.
        norm_num_groups: Must divide every number of channels.
        heads: Of every attention.
    """

    block_out_channels: tuple[int, ...] = (64, 128, 224)
    attention: tuple[bool, ...] = (False, False, True)
    layers_per_block: int = 1
    norm_num_groups: int = 16
    heads: int = 8

    def __post_init__(self) -> None:
        if len(self.attention) != len(self.block_out_channels):
            raise ValueError("attention needs one entry for each of block_out_channels")


def create(shape: Network, channels: int, side: int, seed: int) -> UNet2DConditionModel:
    """Return an untrained UNet.

    A caption enters twice: word by word through cross-attention at the coarse levels, and pooled
    into the time embedding (`addition_embed_type="text"`), which modulates every block. Without
    the second path the fine levels, which have no attention, would not know what they draw.

    Args:
        channels: Of the latents.
        side: Of the latents.
    """
    down = ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in shape.attention]
    up = ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(shape.attention)]
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)  # initial weights only, forked
        return UNet2DConditionModel(
            sample_size=side,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=shape.block_out_channels,
            layers_per_block=shape.layers_per_block,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            norm_num_groups=shape.norm_num_groups,
            cross_attention_dim=conditions.FEATURES,
            # The argument is misnamed in diffusers: for this class it counts the heads.
            attention_head_dim=shape.heads,
            addition_embed_type="text",
            addition_embed_type_num_heads=shape.heads,
            resnet_time_scale_shift="scale_shift",
        )
