"""How each class of diffusers pipelines is asked, as a table: guidance, what to avoid, a start.

The same word means four things in them. In most, guidance is `neg + s * (pos - neg)`, off at 1 and
at twice the price above. Z-Image and Krea 2 write `pos + s * (pos - neg)`, which is off at 0. In
Qwen-Image it is called `true_cfg_scale` and runs only with a negative prompt. In Flux it is a
number that the network reads, so there is nothing to avoid, and it costs nothing. Here 1 is always
off and a number always means as much. A class that is not in the table is refused, not guessed at.

Standard library only: what a checkpoint can follow is told without loading it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

Configured = Callable[[str, str], Any]
"""A part's name ("" for the pipeline itself) and a key to the value there, or None."""

STEP_END = "callback_on_step_end"
OLD_CALLBACK = "callback"  # called with step, timestep and latents


@dataclasses.dataclass(frozen=True, slots=True)
class Switch:
    """A configuration that makes a class mean something else.

    Args:
        part: Whose configuration; "" for the pipeline's own.
        key: Which value of it.
        is_set: Whether the switch is on where that value is true, or where it is not.
        changes: The fields of the family that are then others.
    """

    part: str
    key: str
    is_set: bool
    changes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What one class of pipelines is asked with.

    Args:
        guidance: The argument that guidance is; empty where it is built in.
        off: The value of that argument that means no guidance; None where the network reads the
            number, as it is.
        takes_negative: Whether a negative prompt has an effect.
        empty_negative: What stands for no negative prompt where none would switch guidance off.
        from_image: The class that starts from a picture with a `strength`; empty for none.
        callback: The argument that takes what is called after each step.
        given: Arguments that are always the same.
        given_at: More of them, by the number of steps.
        is_ours: Whether our own loop draws what its pipeline would, and can weigh parts of a prompt.
        size_multiple: Sides must be multiples of this many pixels; some classes round them silently.
        area: The argument that keeps its size from being scaled to the trained area.
        switches: Configurations that change any of these.
    """

    guidance: str = "guidance_scale"
    off: float | None = 1.0
    takes_negative: bool = True
    empty_negative: str | None = None
    from_image: str = ""
    callback: str = STEP_END
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    given_at: Mapping[int, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    is_ours: bool = False
    size_multiple: int = 16
    area: str = ""
    switches: tuple[Switch, ...] = ()

    def guided(self, guidance_scale: float) -> dict[str, float]:
        """Return the argument that guides as `guidance_scale` says, where 1 is off."""
        if not self.guidance:
            return {}
        return {self.guidance: guidance_scale + (0.0 if self.off is None else self.off - 1.0)}

    def negative_for(self, guidance_scale: float) -> str | None:
        """Return what is given as negative prompt where none was asked for; None for nothing."""
        return self.empty_negative if guidance_scale > 1 else None

    @property
    def abilities(self) -> frozenset[str]:
        """What it can follow, of `generation.work.checkpoints.ABILITIES`."""
        can = {
            "negative": self.takes_negative,
            "image": self.from_image,
            "stylize": self.guidance,
            "weights": self.is_ours,
        }
        return frozenset({"ar", "quality", *(name for name, does in can.items() if does)})


def _read_by(network: str, key: str) -> Switch:
    """Return the switch of networks that were taught to read the number."""
    changes = {"off": None, "takes_negative": False, "is_ours": False}
    return Switch(network, key, True, changes)


_NOTHING_TO_GUIDE: dict[str, Any] = {"guidance": "", "takes_negative": False}
_FLUX: dict[str, Any] = {
    "off": None,
    "takes_negative": False,
    "switches": (Switch("transformer", "guidance_embeds", False, _NOTHING_TO_GUIDE),),
}
_QWEN_READS = {"guidance": "guidance_scale", "off": None, "takes_negative": False}
# Both would draw another size and scale it, and clean the words if certain packages are there.
_AS_ASKED = {"use_resolution_binning": False, "clean_caption": False}
_PIXART = Family(callback=OLD_CALLBACK, given=_AS_ASKED)
FAMILIES: Mapping[str, Family] = {
    "StableDiffusionPipeline": Family(  # 1 and 2
        from_image="StableDiffusionImg2ImgPipeline",
        is_ours=True,
        size_multiple=8,
        switches=(_read_by("unet", "time_cond_proj_dim"),),
    ),
    "StableDiffusionXLPipeline": Family(
        from_image="StableDiffusionXLImg2ImgPipeline",
        size_multiple=8,
        switches=(_read_by("unet", "time_cond_proj_dim"),),
    ),
    "StableDiffusion3Pipeline": Family(from_image="StableDiffusion3Img2ImgPipeline"),
    "FluxPipeline": Family(from_image="FluxImg2ImgPipeline", **_FLUX),
    # A picture given to these is looked at, not drawn on from.
    "FluxKontextPipeline": Family(area="max_area", **_FLUX),
    "Flux2Pipeline": Family(off=None, takes_negative=False),
    "Flux2KleinPipeline": Family(
        takes_negative=False, switches=(Switch("", "is_distilled", True, {"guidance": ""}),)
    ),
    "QwenImagePipeline": Family(
        guidance="true_cfg_scale",
        empty_negative=" ",
        from_image="QwenImageImg2ImgPipeline",
        switches=(Switch("transformer", "guidance_embeds", True, _QWEN_READS),),
    ),
    "ZImagePipeline": Family(off=0.0, from_image="ZImageImg2ImgPipeline"),
    "Krea2Pipeline": Family(off=0.0),
    "PixArtAlphaPipeline": _PIXART,
    "PixArtSigmaPipeline": _PIXART,
    "SanaPipeline": Family(given=_AS_ASKED, size_multiple=32),
    "SanaSprintPipeline": Family(
        size_multiple=32,
        off=None,
        takes_negative=False,
        given={**_AS_ASKED, "intermediate_timesteps": None},
        given_at={2: {"intermediate_timesteps": 1.3}},
    ),
    "LuminaPipeline": Family(given={"clean_caption": False}),
    "Lumina2Pipeline": Family(),
}


def family_of(class_name: str, configured: Configured) -> Family | None:
    """Return how a pipeline is asked; None for a class that the table does not know.

    Args:
        class_name: Of the pipeline.
        configured: Looks into its configuration.
    """
    family = FAMILIES.get(class_name)
    if family is None:
        return None
    for switch in family.switches:
        if bool(configured(switch.part, switch.key)) is switch.is_set:
            family = dataclasses.replace(family, **switch.changes)
    return family
