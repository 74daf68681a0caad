"""Which directories a model may be written to."""

from __future__ import annotations

import pytest

from vltp_ros.checkpoints.model_directory import ModelError
from vltp_ros.checkpoints.output import check_output


@pytest.mark.parametrize("names", [(), ("README.md",)])
def test_an_empty_directory_and_a_card_alone_are_fine(tmp_path, names):
    check_output(tmp_path / "new")
    for name in names:
        (tmp_path / name).write_text("a card")
    check_output(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jpg", "", r"holds a\.jpg and is no model directory; give another --out$"),
        ("model.yaml", "a: [", r"holds model\.yaml already; remove it or give another --out$"),
        ("model.yaml", "model: mine", r"holds model\.yaml already; remove it or give another"),
        ("llava", "", "holds llava already; remove it or give another --out$"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_model_is_never_overwritten(tmp_path, name, content, reason, overwrite):
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=reason):
        check_output(tmp_path, overwrite)


def test_a_model_is_overwritten_when_asked_to(base):
    check_output(base, overwrite=True)
    with pytest.raises(ModelError, match=r"--out, or --force to overwrite the model$"):
        check_output(base)
