"""Nothing that is captured waits for the host: from pixels to masks, on the meta device."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from builders import tiny_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vltp_ros.network.csp import CSP_PRESETS, CspConfig
from vltp_ros.network.token_selection import fixed_budget
from vltp_ros.runtime.masks import measure_masks


class OneDevice(TorchDispatchMode):
    """Refuses whatever touches a tensor outside of the meta device: on a GPU it would be a copy
    from or to the host, which is waited for and cannot be captured.
    """

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        for tensor in tree_leaves((args, kwargs, out)):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                raise AssertionError(f"{function} touches a tensor on {tensor.device}")
        return out


class Watched:
    """Runs functions twice, as captures do: what is made once and kept may come from the host."""

    def __init__(self):
        self.ran = []

    def __call__(self, key, function, *tensors):
        self.ran.append(key[0])
        function(*tensors)
        with OneDevice():
            return function(*tensors)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def ghost(model):
    """The network without values: whatever needs one raises."""
    ghost = copy.deepcopy(model).to("meta")
    ghost.run = ghost.reasoner.run = Watched()
    return ghost


def meta(*shape, dtype=torch.float32):
    return torch.zeros(shape, dtype=dtype, device="meta")


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_from_pixels_to_masks_nothing_waits_for_the_host(ghost, precision):
    ghost.cast(precision)
    run, side = ghost.run, ghost.config.encoder.img_size
    stages = ghost.config.pruning.prune_after
    pixels = meta(90, 120, 3, dtype=torch.uint8).permute(2, 0, 1).unsqueeze(0)
    square = run(("sam_input",), ghost.preprocess, pixels)
    seg = meta(2, 1, 256)
    tokens = ghost.stem(square, stages).expand(2, -1, -1)
    assert tokens.dtype is precision
    encoded = ghost.encode(tokens, stages, fixed_budget((0.5, 0.8)), ghost.score(seg))
    logits = ghost.draw(encoded, seg)
    assert logits.shape == (2, side // 4, side // 4)
    assert [kept.shape for kept in encoded.kept] == [(2, 50), (2, 20)]
    measure = partial(measure_masks, side=side, size=(90, 120), above=127)
    levels, measures = run(("masks",), measure, logits)
    assert levels.shape == (2, 90, 120) and measures.shape == (2, 6)
    parts = ["sam_input", "stem", "score", "stage", "score", "stage", "draw", "masks"]
    assert run.ran == parts


@pytest.mark.parametrize("csp", [None, CSP_PRESETS["65"], CspConfig(selector="cls")])
@torch.inference_mode()
def test_from_pixels_to_seg_nothing_waits_for_the_host(ghost, csp):
    reasoner, cls = ghost.reasoner, csp is not None and csp.selector == "cls"
    features = reasoner.encode_image(meta(1, 3, 90, 120, dtype=torch.uint8), cls=cls)
    output = reasoner.reason(features, [["cut", "drink"]], csp=csp, output_attentions=True)
    assert output.seg.shape == (2, 1, 256) and output.attention.shape == (2, 8, 8)
    assert reasoner.run.ran == ["llava_input", "tower", "reason"]
    with OneDevice():  # the second time what is around the captured parts is known as well
        reasoner.run = lambda key, function, *tensors: function(*tensors)
        reasoner.reason(features, [["cut", "drink"]], csp=csp)


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x * x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x[torch.arange(2)],
        lambda x: x.cpu(),
        lambda x: x + torch.ones(4),
    ],
)
def test_what_waits_for_the_host_is_found(waits):
    with pytest.raises((AssertionError, RuntimeError)), OneDevice():
        waits(torch.ones(4, device="meta"))
