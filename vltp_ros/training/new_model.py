"""The tabletop model: small sizes of the same classes, random weights, its own tokenizer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import torch
from segment_anything.modeling.image_encoder import Block
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from vltp_ros.network.config import LLAVA_SIZES, LlavaSizes, model_config
from vltp_ros.network.prompts import SEG_TOKEN
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.network.vision_tower import ConvStemConfig
from vltp_ros.network.vltp import Vltp
from vltp_ros.network.words import vocabulary_of

VOCABULARY = LLAVA_SIZES["tabletop"].vocabulary


def new_model(sentences: Iterable[str], seed: int, llava: str = "tabletop") -> Vltp:
    """Build an untrained tabletop model.

    Args:
        sentences: whose words the tokenizer learns.
        seed: of the weights.
        llava: name of LLaVA's sizes in LLAVA_SIZES.
    """
    torch.manual_seed(seed)
    config = dataclasses.replace(model_config("tabletop"), name=llava)
    sentences = list(sentences)
    config = dataclasses.replace(config, words=vocabulary_of(sentences))
    tokenizer = train_tokenizer([*sentences, config.prompt])
    reasoner = Reasoner(build_llava(tokenizer, llava), tokenizer, config.prompt, config.framing)
    model = Vltp(config, reasoner)
    torch.nn.init.trunc_normal_(model.image_encoder.pos_embed, std=0.02)
    blocks = model.image_encoder.blocks
    for number, block in enumerate(b for b in blocks if b.window_size):
        look_around(block, axis=number % 2, reach=1.0)
    for number, block in enumerate(b for b in blocks if not b.window_size):
        look_around(block, axis=number % 2, reach=4.0)
    if LLAVA_SIZES[llava].stem:
        tell_places(model.reasoner.llava.model.vision_tower)
    return model


@torch.no_grad()
def tell_places(tower: CLIPVisionModel) -> None:
    """Let a vision tower's position embedding start as sines and cosines of row and column.

    Naming what a token shows needs no positions: from small random ones the tokens would come to
    say next to nothing of where they are, and <SEG> could not either.

    Args:
        tower: whose width is a multiple of four.
    """
    positions = tower.get_parameter("embeddings.position_embedding.weight")[1:]
    grid, count = math.isqrt(len(positions)), positions.shape[1] // 4
    phases = math.pi / grid * grid ** torch.linspace(0, 1, count)  # half a turn over the grid, to 1
    rows = torch.arange(grid).repeat_interleave(grid).unsqueeze(1) * phases
    columns = torch.arange(grid).repeat(grid).unsqueeze(1) * phases
    positions.copy_(torch.cat([rows.sin(), rows.cos(), columns.sin(), columns.cos()], 1))


@torch.no_grad()
def look_around(block: Block, axis: int, reach: float) -> None:
    """Let the first three heads start by looking at one neighbour each, as a convolution does.

    Attention that starts blind to positions learns slowly to look at neighbours. This start is
    ConViT's (d'Ascoli et al., 2021) put into SAM's relative positions: a head's constant query
    picks, of the Gaussians in the tables, the ones around its centre. All of it stays trainable.

    Args:
        block: of SAM's image encoder, with three heads or more.
        axis: where the neighbours lie: 0 above and below, 1 left and right.
        reach: distance of the neighbours and width of the Gaussians, patches.
    """
    attn = block.attn
    attn.qkv.bias.zero_()
    query = attn.qkv.bias[: attn.proj.in_features].view(attn.num_heads, -1)
    for table, along in ((attn.rel_pos_h, axis == 0), (attn.rel_pos_w, axis == 1)):
        offset = torch.arange(len(table)) - len(table) // 2  # the query's position minus the key's
        table.zero_()
        for head, centre in enumerate((-1, 0, 1)):
            channel = 2 * head + along
            distance = (-offset - (centre if along else 0) * reach) / reach
            # The floor keeps far tokens in play; 2 * 0.5 leaves room beside the content's query.
            table[:, channel] = 0.5 * (-distance.square() / 2).clamp(min=-6)
            query[head, channel] = 2.0


def train_tokenizer(sentences: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train lower-case byte-level BPE, to which no word is unknown, whatever a user types."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<unk>", "<image>", SEG_TOKEN]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>", SEG_TOKEN],
    )


def build_llava(
    tokenizer: PreTrainedTokenizerFast, size: str = "tabletop"
) -> LlavaForConditionalGeneration:
    """Build LLaVA in one of LLAVA_SIZES, with random weights."""
    return LlavaForConditionalGeneration(llava_config(LLAVA_SIZES[size], tokenizer))


def llava_config(sizes: LlavaSizes, tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    """Return transformers' configuration of LLaVA in some sizes."""
    vision_sizes: dict[str, Any] = {
        "hidden_size": sizes.vision_width,
        "intermediate_size": sizes.vision_mlp,
        "num_hidden_layers": sizes.vision_layers,
        "num_attention_heads": sizes.vision_heads,
        "image_size": sizes.image_size,
        "patch_size": sizes.patch_size,
    }
    vision = (
        ConvStemConfig(stem=sizes.stem, **vision_sizes)
        if sizes.stem
        else CLIPVisionConfig(**vision_sizes)
    )
    text = LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.width,
        intermediate_size=sizes.mlp,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.heads,
        max_position_embeddings=sizes.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.get_vocab()["<image>"],
        vision_feature_layer=sizes.feature_layer,
        vision_feature_select_strategy="default",
        image_seq_length=sizes.image_tokens,
        tie_word_embeddings=True,
    )
