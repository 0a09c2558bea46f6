"""One tiny random pipeline of each class that can be drawn with, built in memory.

The real classes throughout, text encoders included; only their sizes are not. Language models keep
the number of layers that a pipeline takes states from, in eight features.
"""

from collections.abc import Callable

import diffusers as d
import transformers as t
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.unit.generation.techniques.diffusion.conftest import (
    LETTERS,
    flux,
    kl_autoencoder,
    sd3,
    sd15,
    sdxl,
    t5_text,
)

FEATURES = 8
SPECIAL = {"pad_token": "<pad>", "unk_token": "<unk>"}
CHAT = (
    "{% for m in messages %}{{ m.content if m.content is string else m.content[0].text }}"
    "{% endfor %}"
)


def letters_tokenizer() -> t.PreTrainedTokenizerFast:
    """Return a tokenizer of a language model, one letter a token."""
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<unk>", "<bos>", *LETTERS, " "])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    begun = processors.TemplateProcessing("<bos> $A", special_tokens=[("<bos>", 2)])
    tokenizer.post_processor = begun  # so that no text is without tokens
    return t.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=4096,
        **SPECIAL,
        chat_template=CHAT,
    )


def language(layers: int = 2) -> dict[str, int]:
    """Return what configurations of language models have in common."""
    return {
        "vocab_size": 64,
        "hidden_size": FEATURES,
        "intermediate_size": FEATURES,
        "num_hidden_layers": layers,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": FEATURES,
        "pad_token_id": 0,
    }


def small_kl(blocks: int = 2, **config) -> d.AutoencoderKL:
    return d.AutoencoderKL(
        block_out_channels=(FEATURES,) * blocks,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        latent_channels=4,
        norm_num_groups=4,
        **{"shift_factor": 0.06, "scaling_factor": 1.3, **config},
    ).eval()


def film_autoencoder() -> d.AutoencoderKLQwenImage:
    return d.AutoencoderKLQwenImage(
        base_dim=FEATURES,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.1, 0.0, -0.2, 0.0],
        latents_std=[1.5, 1.0, 2.0, 1.0],
    ).eval()


def flux_kontext(folder) -> d.FluxKontextPipeline:
    return d.FluxKontextPipeline(**flux(folder).components)


def _flux2(text_encoder) -> dict[str, object]:
    return {
        "scheduler": d.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": d.AutoencoderKLFlux2(
            block_out_channels=(FEATURES, FEATURES),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
        ).eval(),
        "text_encoder": text_encoder.eval(),
        "tokenizer": letters_tokenizer(),
        "transformer": d.Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=1,
            joint_attention_dim=3 * FEATURES,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
        ).eval(),
    }


def flux2(folder) -> d.Flux2Pipeline:
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = t.Mistral3Config(
        text_config=t.MistralConfig(**language(31)).to_dict(),
        vision_config=t.PixtralVisionConfig(**vision, num_attention_heads=1, head_dim=8).to_dict(),
    )
    return d.Flux2Pipeline(**_flux2(t.Mistral3ForConditionalGeneration(config)))


def flux2_klein(folder, **config) -> d.Flux2KleinPipeline:
    text_encoder = t.Qwen3ForCausalLM(t.Qwen3Config(**language(28)))
    return d.Flux2KleinPipeline(**_flux2(text_encoder), **config)


def qwen_image(folder) -> d.QwenImagePipeline:
    text = {**language(), "rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
    vision = {"depth": 1, "hidden_size": 8, "intermediate_size": 8, "num_heads": 1}
    config = t.Qwen2_5_VLConfig(
        text_config=text, vision_config={**vision, "out_hidden_size": FEATURES}
    )
    return d.QwenImagePipeline(
        scheduler=d.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=film_autoencoder(),
        text_encoder=t.Qwen2_5_VLForConditionalGeneration(config).eval(),
        tokenizer=letters_tokenizer(),
        transformer=d.QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=1,
            joint_attention_dim=FEATURES,
            axes_dims_rope=(4, 6, 6),
        ).eval(),
    )


def z_image(folder) -> d.ZImagePipeline:
    transformer = d.ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=FEATURES,
        axes_dims=[4, 6, 6],
        axes_lens=[1024, 64, 64],
    ).eval()
    # Made empty and filled from the checkpoint; here there is none.
    transformer.x_pad_token.data.zero_()
    transformer.cap_pad_token.data.zero_()
    return d.ZImagePipeline(
        scheduler=d.FlowMatchEulerDiscreteScheduler(),
        vae=small_kl(),
        text_encoder=t.Qwen3Model(t.Qwen3Config(**language())).eval(),
        tokenizer=letters_tokenizer(),
        transformer=transformer,
    )


def krea2(folder) -> d.Krea2Pipeline:
    text = {**language(), "rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
    vision = {"depth": 1, "hidden_size": 8, "intermediate_size": 8, "num_heads": 1}
    vision |= {"out_hidden_size": FEATURES, "deepstack_visual_indexes": [0]}
    config = t.Qwen3VLConfig(text_config=text, vision_config=vision)
    return d.Krea2Pipeline(
        scheduler=d.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=film_autoencoder(),
        text_encoder=t.Qwen3VLModel(config).eval(),
        tokenizer=letters_tokenizer(),
        transformer=d.Krea2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=16,
            timestep_embed_dim=16,
            text_hidden_dim=FEATURES,
            num_text_layers=2,
            text_num_attention_heads=1,
            text_num_key_value_heads=1,
            text_intermediate_size=16,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(4, 6, 6),
        ).eval(),
        text_encoder_select_layers=(1, 2),
    )


def _pixart() -> dict[str, object]:
    return {
        "tokenizer": letters_tokenizer(),
        "text_encoder": t5_text(),
        "vae": kl_autoencoder(),
        "scheduler": d.DPMSolverMultistepScheduler(),
        "transformer": d.PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            cross_attention_dim=16,
            caption_channels=32,
            sample_size=8,
            use_additional_conditions=False,
        ).eval(),
    }


def pixart_alpha(folder) -> d.PixArtAlphaPipeline:
    return d.PixArtAlphaPipeline(**_pixart())


def pixart_sigma(folder) -> d.PixArtSigmaPipeline:
    return d.PixArtSigmaPipeline(**_pixart())


def _sana(**transformer) -> dict[str, object]:
    sides = ("encoder", "decoder")
    blocks = {f"{side}_block_types": ("ResBlock", "EfficientViTBlock") for side in sides}
    widths = {f"{side}_block_out_channels": (FEATURES, FEATURES) for side in sides}
    scales = {f"{side}_qkv_multiscales": ((), (5,)) for side in sides}
    layers = {f"{side}_layers_per_block": (1, 1) for side in sides}
    return {
        "tokenizer": letters_tokenizer(),
        "text_encoder": t.Gemma2Model(t.Gemma2Config(**language())).eval(),
        "vae": d.AutoencoderDC(
            latent_channels=4,
            attention_head_dim=2,
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            scaling_factor=0.4,
            **blocks,
            **widths,
            **scales,
            **layers,
        ).eval(),
        "transformer": d.SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=4,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=FEATURES,
            **transformer,
        ).eval(),
    }


def sana(folder) -> d.SanaPipeline:
    return d.SanaPipeline(**_sana(), scheduler=d.FlowMatchEulerDiscreteScheduler(shift=7.0))


def sana_sprint(folder) -> d.SanaSprintPipeline:
    parts = _sana(guidance_embeds=True, qk_norm="rms_norm_across_heads")
    return d.SanaSprintPipeline(**parts, scheduler=d.SCMScheduler())


def lumina(folder) -> d.LuminaPipeline:
    return d.LuminaPipeline(
        transformer=d.LuminaNextDiT2DModel(
            sample_size=4,
            hidden_size=32,
            num_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            cross_attention_dim=FEATURES,
        ).eval(),
        scheduler=d.FlowMatchEulerDiscreteScheduler(),
        vae=small_kl(4, shift_factor=None),
        text_encoder=t.GemmaModel(t.GemmaConfig(**language())).eval(),
        tokenizer=letters_tokenizer(),
    )


def lumina2(folder) -> d.Lumina2Pipeline:
    return d.Lumina2Pipeline(
        transformer=d.Lumina2Transformer2DModel(
            sample_size=4,
            in_channels=4,
            hidden_size=24,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=1,
            num_kv_heads=1,
            multiple_of=8,
            axes_dim_rope=(8, 8, 8),
            axes_lens=(300, 64, 64),
            cap_feat_dim=FEATURES,
        ).eval(),
        scheduler=d.FlowMatchEulerDiscreteScheduler(),
        vae=small_kl(4),
        text_encoder=t.Gemma2Model(t.Gemma2Config(**language())).eval(),
        tokenizer=letters_tokenizer(),
    )


CLASSES: dict[str, Callable] = {
    "StableDiffusionPipeline": sd15,
    "StableDiffusionXLPipeline": sdxl,
    "StableDiffusion3Pipeline": sd3,
    "FluxPipeline": flux,
    "FluxKontextPipeline": flux_kontext,
    "Flux2Pipeline": flux2,
    "Flux2KleinPipeline": flux2_klein,
    "QwenImagePipeline": qwen_image,
    "ZImagePipeline": z_image,
    "Krea2Pipeline": krea2,
    "PixArtAlphaPipeline": pixart_alpha,
    "PixArtSigmaPipeline": pixart_sigma,
    "SanaPipeline": sana,
    "SanaSprintPipeline": sana_sprint,
    "LuminaPipeline": lumina,
    "Lumina2Pipeline": lumina2,
}
