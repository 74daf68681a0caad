"""The modules around the encoder: prune decoder, mask decoder, reasoner, frames."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from builders import tiny_model
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from vltp_ros.network.config import PruneDecoderConfig
from vltp_ros.network.preprocessing import (
    fitted_size,
    from_llava_frame,
    llava_input,
    sam_input,
    to_image_frame,
    to_llava_frame,
    to_square_frame,
    valid_grid,
)
from vltp_ros.network.prune_decoder import PruneDecoder, dense_positions
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.network.token_selection import fixed_budget, oracle_scores


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.mark.parametrize("width", [256, 32])
def test_prune_decoder_scores_follow_the_task_and_each_row_alone(width):
    torch.manual_seed(0)
    decoder = PruneDecoder(24, PruneDecoderConfig(width=width, num_heads=4, mlp_dim=64)).eval()
    tokens, seg = torch.randn(3, 30, 24), torch.randn(3, 1, 256)
    scores = decoder(tokens, seg, (5, 6))
    assert scores.shape == (3, 30)
    assert torch.allclose(scores[1:2], decoder(tokens[1:2], seg[1:2], (5, 6)), atol=1e-4)
    assert not torch.allclose(scores, decoder(tokens, seg.flip(0), (5, 6)), atol=1e-3)


def test_prune_decoder_refuses_shapes_that_do_not_fit():
    decoder = PruneDecoder(24, PruneDecoderConfig(width=32, num_heads=4, mlp_dim=64))
    with pytest.raises(ValueError, match="do not fit"):
        decoder(torch.zeros(2, 30, 24), torch.zeros(1, 1, 256), (5, 6))
    with pytest.raises(ValueError, match="do not fit"):
        decoder(torch.zeros(2, 30, 24), torch.zeros(2, 1, 256), (5, 5))


def test_positions_are_exact_under_autocast():
    embedding = PositionEmbeddingRandom(16)
    with torch.autocast("cpu", torch.bfloat16):
        positions = dense_positions(embedding, torch.zeros(1, 32, 5, 6))[0]
    torch.testing.assert_close(positions, embedding((5, 6)))


@torch.inference_mode()
def test_decode_equals_sams_own_mask_decoder(model):
    grid = model.config.encoder.grid
    features, seg = torch.randn(3, 256, grid, grid), torch.randn(3, 1, 256)
    drawn = model.decode(model.mask_decoder, features, seg)
    no_mask = model.prompt_encoder.no_mask_embed.weight.view(1, 256, 1, 1)
    for i in range(3):
        expected, _ = model.mask_decoder(
            features[i : i + 1],
            model.prompt_encoder.get_dense_pe(),
            seg[i : i + 1],
            no_mask.expand(1, 256, grid, grid),
            multimask_output=False,
        )
        assert torch.allclose(drawn[i], expected[0, 0], atol=1e-4)


@torch.inference_mode()
def test_without_merging_zeros_are_in_place_of_what_the_last_stage_left_out(model):
    tokens, budget = torch.randn(2, 100, 32), fixed_budget((0.5, 0.8))

    def score(stage, tokens):
        return torch.arange(100.0).expand(2, 100) * (-1) ** stage

    merged = model.encode(tokens, (2, 3), budget, score)
    alone = model.encode(tokens, (2, 3), budget, score, merges=False)
    assert alone.kept[1].tolist() == [[*range(20)]] * 2
    assert torch.allclose(alone.tokens[:, :20], merged.tokens[:, :20], atol=1e-6)
    assert not alone.tokens[:, 20:].any() and merged.tokens[:, 20:].any(2).all()


def test_embedding_is_the_state_that_predicts_seg(model):
    """Against transformers' own forward over the whole sentence, [SEG] included."""
    reasoner = model.reasoner
    image = torch.randint(0, 255, (1, 3, 48, 64), dtype=torch.uint8)
    task = "something to drive a nail"
    llava = reasoner.llava
    count = llava.config.image_seq_length
    prompt = model.config.prompt.replace("{image}", "<image>" * count).replace("{task}", task)
    ids = reasoner.tokenizer(prompt, return_tensors="pt").input_ids
    pixels = llava_input(image, llava.config.vision_config.image_size, "pad")
    out = llava(input_ids=ids, pixel_values=pixels, output_hidden_states=True)
    seg = (ids[0] == reasoner.tokenizer.convert_tokens_to_ids("[SEG]")).nonzero().item()
    expected = reasoner.projection(out.hidden_states[-1][:, seg - 1])
    assert torch.allclose(reasoner(image, [[task]])[:, 0], expected, atol=1e-5)


@torch.inference_mode()
def test_tasks_in_one_batch_equal_one_at_a_time(model):
    images = torch.randint(0, 255, (2, 3, 48, 64), dtype=torch.uint8)
    tasks = [["cut", "something to drive a nail into wood"], ["what could I drink from?", "a"]]
    together = model.reasoner(images, tasks)
    assert together.shape == (4, 1, 256)
    for i in range(2):
        for j in range(2):
            alone = model.reasoner(images[i : i + 1], [[tasks[i][j]]])
            assert torch.allclose(together[2 * i + j], alone[0], atol=1e-5)


@torch.inference_mode()
def test_attention_is_that_of_the_position_that_predicts_seg(model):
    """Against transformers' own forward over the whole sentence."""
    reasoner, task = model.reasoner, "something to drive a nail"
    image = torch.randint(0, 255, (1, 3, 48, 64), dtype=torch.uint8)
    features = reasoner.encode_image(image)
    count = features.tokens.shape[1]
    prompt = model.config.prompt.replace("{image}", "<image>" * count).replace("{task}", task)
    ids = reasoner.tokenizer(prompt, return_tensors="pt").input_ids
    pixels = llava_input(image, reasoner.llava.config.vision_config.image_size, "pad")
    reasoner.llava.set_attn_implementation("eager")
    out = reasoner.llava(input_ids=ids, pixel_values=pixels, output_attentions=True)
    reasoner.llava.set_attn_implementation("sdpa")
    read_out = (ids[0] == reasoner.tokenizer.convert_tokens_to_ids("[SEG]")).nonzero().item() - 1
    positions = (ids[0] == reasoner.tokenizer.convert_tokens_to_ids("<image>")).nonzero().flatten()
    late = torch.stack([layer[0, :, read_out, positions] for layer in out.attentions[4:]])
    tasks = [[task, "a longer task than the other one is"]]
    output = reasoner.reason(features, tasks, output_attentions=True)
    assert output.attention.shape == (2, 8, 8)
    assert torch.allclose(output.attention[0].flatten(), late.mean((0, 1)), atol=1e-6)
    assert torch.allclose(output.seg, reasoner.reason(features, tasks).seg)


@pytest.mark.parametrize("framing", ["pad", "crop"])
@pytest.mark.parametrize("size", [(480, 640), (640, 480)])
def test_maps_over_llavas_square_find_their_place_in_the_image(size, framing):
    image = torch.zeros(1, 3, *size, dtype=torch.uint8)
    image[..., 200:280, 300:380] = 255
    square = llava_input(image, 192, framing).mean(1)
    patches = torch.nn.functional.avg_pool2d(square.unsqueeze(1), 24).squeeze(1)
    values = from_llava_frame(patches, size, framing)
    assert values.shape[1] / values.shape[2] == pytest.approx(size[0] / size[1], rel=0.02)
    brightest = np.unravel_index(values[0].argmax(), values[0].shape)
    position = np.array(brightest) / values.shape[1:] * size
    assert np.abs(position - (240, 340)).max() < 640 / 8  # one of LLaVA's patches


@pytest.mark.parametrize("framing", ["pad", "crop"])
def test_masks_go_where_llava_gets_their_pixels(framing):
    image = torch.zeros(1, 3, 480, 640, dtype=torch.uint8)
    image[..., 200:300, 250:400] = 255
    square = llava_input(image, 192, framing)[0, 0]
    mask = to_llava_frame((image[:, 0] > 0).float(), 192, framing)[0]
    assert mask.shape == (192, 192)
    bright = square > (square.max() + square[96, 10]) / 2
    assert ((mask > 0.5) == bright).float().mean() > 0.995


def test_reasoner_refuses_a_task_beyond_the_context(model):
    image = torch.zeros(1, 3, 48, 64, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"context of 512 leaves \d+"):
        model.reasoner(image, [["word " * 600]])


@pytest.mark.parametrize("task", ["say [SEG] twice", "an <image> of a hammer"])
def test_reasoner_refuses_special_tokens_in_a_task(model, task):
    with pytest.raises(ValueError, match="must not hold <image> or"):
        model.reasoner(torch.zeros(1, 3, 48, 64, dtype=torch.uint8), [[task]])


def test_reasoner_refuses_a_tokenizer_without_seg(model):
    bare = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"<unk>": 0}, "<unk>")), unk_token="<unk>"
    )
    with pytest.raises(ValueError, match=r"no token \[SEG\]"):
        Reasoner(model.reasoner.llava, bare, model.config.prompt, "pad")


def test_reasoner_refuses_a_tokenizer_without_the_image_token(model):
    llava = copy.deepcopy(model.reasoner.llava)
    llava.config.image_token_id = 9999
    with pytest.raises(ValueError, match="no token 9999, the model's image token"):
        Reasoner(llava, model.reasoner.tokenizer, model.config.prompt, "pad")


@pytest.mark.parametrize(
    ("size", "fitted"), [((480, 640), (384, 512)), ((640, 480), (512, 384)), ((1, 900), (1, 512))]
)
def test_frames_go_to_the_square_and_back(size, fitted):
    assert fitted_size(*size, 512) == fitted
    image = torch.full((1, 3, *size), 200, dtype=torch.uint8)
    square = sam_input(image, 512, torch.zeros(3), torch.ones(3))
    assert (square[..., : fitted[0], : fitted[1]] == 200).all()
    assert square.sum().item() == pytest.approx(3 * 200 * fitted[0] * fitted[1])
    rows, columns = valid_grid(size, 512, 16)
    assert (rows, columns) == (-(-fitted[0] // 16), -(-fitted[1] // 16))
    back = to_image_frame(torch.ones(1, 128, 128), 512, size)
    assert back.shape == (1, *size) and torch.allclose(back, torch.ones(()))


def test_a_mask_survives_the_way_to_the_square_and_back():
    mask = torch.zeros(1, 480, 640, dtype=torch.bool)
    mask[:, 100:300, 200:500] = True
    square = to_square_frame(mask, 512)
    assert square.shape == (1, 512, 512) and not square[:, 384:].any()
    back = to_image_frame(square.float(), 512, (480, 640)) > 0.5
    assert (back & mask).sum() / (back | mask).sum() > 0.97


@pytest.mark.parametrize("size", [(480, 640), (160, 120), (1500, 2000)])
@pytest.mark.parametrize("position", [(0.0, 0.0), (0.5, 0.3), (1.0, 1.0)])
def test_a_lone_pixel_marks_its_patch_at_any_scale(size, position):
    row, column = (
        round(share * (length - 1)) for share, length in zip(position, size, strict=True)
    )
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[0, row, column] = True
    patches = oracle_scores(to_square_frame(mask, 512), (32, 32)).view(32, 32)
    scale = 512 / max(size)
    marked = patches.nonzero().tolist()
    assert [int((row + 0.5) * scale) // 16, int((column + 0.5) * scale) // 16] in marked
    assert len(marked) <= 4  # of which it lies on the corner


def test_padding_keeps_what_cropping_loses():
    image = torch.zeros(1, 3, 100, 300, dtype=torch.uint8)
    image[..., :20] = 255  # at the left edge of a wide image
    padded, cropped = (llava_input(image, 60, framing) for framing in ("pad", "crop"))
    assert padded.shape == cropped.shape == (1, 3, 60, 60)
    assert padded.max() > 1.5 and cropped.max() < 0
