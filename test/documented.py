"""The commands that README and documents print: which are run by tests, how small, and on what."""

from __future__ import annotations

import enum
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from builders import PROVENANCE, crowded_scenes, random_adapter, tiny_model
from public_data import write_coco_tasks, write_reasonseg, write_refcoco, write_rio

from vltp_ros.checkpoints.model_directory import load_model, save_model
from vltp_ros.simulation import generate_dataset

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/**/*.md")])
PICTURE = ROOT / "docs" / "figures" / "table.jpg"


class Reason(enum.Enum):
    """Why a printed command is not run by a test."""

    CAMERA = "needs a camera, or a robot that is running; the tests have stand-ins"
    DOCKER = "needs Docker"
    HOURS = "takes hours; its commands are checked with a stand-in for vltp"
    MACHINES = "needs several machines"
    GPU = "is for a GPU as a whole"
    NETWORK = "fetches something, or installs it"
    ROS = "needs ROS's own packages; test/launch and the workflow run what is ours"
    TESTS = "runs these tests, or what CI runs beside them"
    WEIGHTS = "needs published weights of known digests; test/checkpoints has small ones"


NOT_RUN = {
    r"make (test|lint)": Reason.TESTS,
    r"make gpu": Reason.GPU,
    r"(sudo|pip|hf|curl|mkdir|rosdep|python3 -m venv|cd ~/ws) ": Reason.NETWORK,
    r"(ros2|ROS_SECURITY_ENABLE|\. /opt/ros|\. install|export ZENOH)": Reason.ROS,
    r"docker ": Reason.DOCKER,
    r"vltp convert ": Reason.WEIGHTS,
    r"vltp segment camera:0": Reason.CAMERA,
    r"python3 docs/examples/pick.py": Reason.CAMERA,
    r"torchrun --nnodes": Reason.MACHINES,
    r"(DEVICE=cpu )?scripts/train_crowded.sh": Reason.HOURS,
}
"""How commands begin that no test runs. Each has to be printed somewhere."""

SMALLER = {
    r"vltp (evaluate|reliability|scenes)": "--count 2",
    r"vltp scenes --edition 2 --split train": "--count 6",  # of each size as many as a batch has
    r"vltp reliability .*--fit": "--model models/tabletop --count 20",  # a copy
    r"vltp (baselines|tables --model)": "--count 2",
    r"vltp (baselines|finetune|tables --model|train)": "--steps 1 --warmup 0 --batch 2",
    r"vltp tables --model": "--seeds 1 --table 7 csp",
    r"vltp benchmark (encoder|reasoner)": "--repeats 3 --device cpu",
    r"vltp (benchmark encoder|rehearse)": "--sam tabletop",
    r"vltp (benchmark reasoner|rehearse)": "--size tabletop",
    r"vltp rehearse .*--batch": "--batch 2",
    r"vltp benchmark node": "--rate 5 --resolution 320x240 --outputs all --seconds 4",
    r"vltp check": "--quick --device cpu --json",
    r"vltp figures$": "--count 2",
    r"torchrun": "--nproc-per-node 2",
    r"torchrun .*vltp evaluate": "--count 2",
    r"torchrun .*vltp finetune": "--steps 1 --warmup 0 --batch 2",
    r".*chaos\.py": "--seconds 3",
    r".*--device cuda": "--device cpu",
}
"""What makes a command small enough, by how it begins: options that replace those printed."""

MAKE = {
    "make demo": "make demo -o setup ARGS='--seconds 2'",
    'make -s demo ARGS="--json"': "make -s demo -o setup ARGS='--json --seconds 2'",
}
"""The same for make: short, and without the set-up, which has been done to run a test."""

NEEDS_ROS = r"(. scripts/env.bash && )?(vltp_node|make|vltp benchmark node|python .*chaos\.py)"


def printed(document: Path) -> list[str]:
    """Return the commands in a document's indented blocks; other listings are fenced."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^ {4}(\S.*)$", text.replace("\\\n", " "), re.MULTILINE)
    commands = (re.split(r"(?:^|\s+)#\s", line)[0].strip() for line in lines)
    return [re.sub(r"\s+", " ", command) for command in commands if command]


def snippets(document: Path) -> list[str]:
    """Return a document's Python code."""
    return re.findall(r"^```python\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def reason_not_to_run(line: str) -> Reason | None:
    """Return why no test runs a command."""
    return next((reason for start, reason in NOT_RUN.items() if re.match(start, line)), None)


def made_small(line: str) -> str:
    """Return a command as a test runs it."""
    command, *written = line.split(" > ")
    command = MAKE.get(command, command)
    if "--help" in command:
        return line
    for start, options in SMALLER.items():
        if re.match(start, line):
            for name, value in re.findall(r"(--\S+)((?: (?!--)\S+)*)", options):
                given = re.compile(rf"{name}(?: (?!-)\S+)*(?= -|$)")
                if given.search(command):
                    command = given.sub(name + value, command)
                else:
                    command += f" {name}{value}"
    return " > ".join([command, *written])


def run_by_tests() -> dict[Path, list[str]]:
    """Return for each document its small commands, without what was there already.

    The order of options does not matter, nor does whether JSON is printed, or into which file.
    """
    known: set[frozenset[str]] = set()
    commands: dict[Path, list[str]] = {document: [] for document in DOCUMENTS}
    for document in DOCUMENTS:
        for line in printed(document):
            small = made_small(line)
            words = frozenset(small.split(" > ")[0].split()) - {"--json"}
            if reason_not_to_run(line) is None and words not in known:
                commands[document].append(small)
                known.add(words)
    return commands


def prepare_directory(place: Path) -> None:
    """Copy what documents name into a directory where commands may write."""
    for name in (
        "Makefile",
        "config",
        "docs",
        "models",
        "scripts",
        "test/faulty_session.py",
        "test/node",
    ):
        source, target = ROOT / name, place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    for card in ("lisa_7b", "llava_1.5_7b", "sam"):  # where converters put public weights
        shutil.rmtree(place / "models" / card)
    for path in (*ROOT.glob(".venv*"), *ROOT.glob("install*")):  # for scripts/env.bash
        (place / path.name).symlink_to(path)


def provide(line: str) -> None:
    """Put stand-ins where a command reads what nobody has made before it."""
    words = shlex.split(line)
    for before, word in zip(["", *words], words, strict=False):
        path = Path(word)
        if word in STAND_INS and before not in ("--out", "--run") and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            STAND_INS[word](path)


def _copy_picture(path: Path) -> None:
    shutil.copy(PICTURE, path)


def _make_photos(path: Path) -> None:
    path.mkdir()
    _copy_picture(path / "one.jpg")
    _copy_picture(path / "two.jpg")


def _make_clip(path: Path) -> None:
    with imageio.get_writer(path, fps=5, macro_block_size=2) as video:
        for brightness in (80, 90):
            video.append_data(np.full((60, 80, 3), brightness, np.uint8))


def _make_public_data(path: Path) -> None:
    for write in (write_rio, write_coco_tasks, write_reasonseg, write_refcoco):
        write(path)
    write_refcoco(path, "refcoco+")
    write_refcoco(path, "refcocog", "umd", ("train", "val", "test"))


def _record_bag(path: Path) -> None:
    from recorded_bags import image, serialised, write_bag  # rosbags is an extra

    write_bag(path, serialised(image(1)), serialised(image(2)))


def _copy_model(path: Path) -> None:
    shutil.copytree(ROOT / "models" / "tabletop", path)


def _make_small_model(path: Path) -> None:
    save_model(tiny_model(), path, PROVENANCE)


def _make_adapted_model(path: Path) -> None:
    base = path.with_name("base")
    _make_small_model(base)
    save_model(random_adapter(load_model(base)), path, PROVENANCE, base=base)


def _make_losses(path: Path) -> None:
    path.mkdir()
    (path / "losses.jsonl").write_text('{"step": 0, "loss": 2.0}\n{"step": 1, "loss": 1.0}\n')


def _render_scenes(path: Path) -> None:
    generate_dataset(path, 3, 0, "train", workers=1, progress=False)


STAND_INS: dict[str, Callable[[Path], object]] = {
    "BAG": _record_bag,
    "DIR": _make_small_model,
    "IMAGE": _copy_picture,
    "MODEL": _copy_model,
    "PHOTOS/": _make_photos,
    "ROOT": _make_public_data,
    "clip.mp4": _make_clip,
    "datasets/crowded": lambda path: crowded_scenes(path, 3),
    "datasets/train": _render_scenes,
    "models/lisa_7b": _make_small_model,
    "photo.jpg": _copy_picture,
    "runs/lora/model": _make_adapted_model,
    "runs/prune": _make_losses,
}
"""What the reader has, or made by another document's commands, in small."""
