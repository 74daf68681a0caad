"""vltp benchmark: our code and the official one in the same run, and the node as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from vltp_ros.cli.options import Command, DeviceOption, ModelOption
from vltp_ros.network.config import Quantization
from vltp_ros.network.csp import CspName
from vltp_ros.rig.config import Outputs


@dataclass(kw_only=True)
class ThreadsOption:
    """How many threads PyTorch uses on a CPU."""

    threads: int = 0
    """CPU threads; 0 leaves PyTorch's default."""

    def set_threads(self) -> None:
        """Use as many threads from now on; ValueError for a negative number."""
        import torch

        if self.threads < 0:
            raise ValueError(f"--threads is {self.threads}; it must be at least 0")
        if self.threads:
            torch.set_num_threads(self.threads)


@dataclass
class Encoder(DeviceOption, ThreadsOption):
    """Time SAM's image encoder at several pruning rates, prune decoder included.

    Weights are random. The encoder runs eagerly; on a GPU as captured graphs too, on a
    CPU compiled too where OpenVINO is installed.
    """

    sam: Literal["tabletop", "vit_b", "vit_l", "vit_h"] = "vit_b"
    """Size of the encoder."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type that the encoder computes in."""
    rates: tuple[float, ...] = (0.0, 0.5, 0.8)
    """Share of tokens frozen at each stage; 0 prunes nothing."""
    baseline: bool = False
    """Time segment_anything's own encoder too, in turns, as it is and by other runtimes."""
    repeats: int = 7
    """Measurements of each encoder at each rate."""

    def measure(self) -> dict:
        """Run the benchmark."""
        from vltp_ros.evaluation.encoder_benchmark import benchmark_encoder
        from vltp_ros.runtime.device import DTYPES, resolve_device

        self.set_threads()
        return benchmark_encoder(
            self.sam,
            resolve_device(self.device),
            DTYPES[self.dtype],
            self.rates,
            baseline=self.baseline,
            repeats=self.repeats,
        )


@dataclass
class Reasoner(DeviceOption, ThreadsOption):
    """Time LLaVA, from image and tasks to <SEG>.

    Weights are random, of the true shapes. On a GPU LLaVA runs eagerly and as captured graphs.
    """

    size: Literal["tabletop", "1b", "7b", "13b"] = "7b"
    """Size of the language model; 7b and 13b are LISA's."""
    quantization: Quantization = "nf4"
    """Quantization of the language model's weights."""
    csp: tuple[CspName, ...] = ("off", "65", "70")
    """Presets of LVLM_CSP: which image tokens the language model's layers see."""
    tasks: tuple[int, ...] = (1, 4)
    """Numbers of tasks on the one image."""
    baseline: bool = False
    """Time transformers' own forward too, in turns."""
    repeats: int = 5
    """Measurements of each preset and number of tasks."""

    def measure(self) -> dict:
        """Run the benchmark."""
        from vltp_ros.evaluation.reasoner_benchmark import benchmark_reasoner
        from vltp_ros.runtime.device import resolve_device

        self.set_threads()
        return benchmark_reasoner(
            self.size,
            resolve_device(self.device),
            self.quantization,
            self.csp,
            self.tasks,
            baseline=self.baseline,
            repeats=self.repeats,
        )


@dataclass
class Node(ModelOption, DeviceOption):
    """Measure the ROS 2 node at fixed rates of a camera, with real processes."""

    rate: tuple[float, ...] = (10.0, 30.0)
    """Frames per second of the camera."""
    resolution: tuple[str, ...] = ("640x480", "1280x720", "1920x1080")
    """Sizes of the camera's images, WIDTHxHEIGHT."""
    outputs: tuple[Outputs, ...] = ("mask",)
    """What is listened to, one or more; all: instances, mask, overlay, poses, points, markers, and
    where vision_msgs is installed detections and labels."""
    seconds: float = 20.0
    """Time to measure each rate and resolution for, in seconds."""
    baseline: bool = True
    """Measure the node with a model that takes no time too, to see what all the rest costs."""

    def measure(self) -> dict:
        """Run the benchmark; RuntimeError when the node does not work."""
        from vltp_ros.rig.node_benchmark import benchmark_node
        from vltp_ros.runtime.device import resolve_device

        if not self.seconds >= 1:
            raise ValueError(f"--seconds is {self.seconds}; it must be at least 1")
        sizes = [_size(text) for text in self.resolution]
        device = resolve_device(self.device)
        return benchmark_node(
            self.rate, sizes, self.seconds, self.model, device, self.baseline, self.outputs
        )


@dataclass
class Images:
    """Time the conversion of images to RGB, by our code and by the installed cv_bridge."""

    resolution: str = "1920x1080"
    """Size of the images, WIDTHxHEIGHT."""
    repeats: int = 50
    """Measurements of each encoding."""

    def measure(self) -> dict:
        """Run the benchmark; RuntimeError without ROS 2."""
        from vltp_ros.rig.image_benchmark import benchmark_images

        return benchmark_images(*_size(self.resolution), self.repeats)


def _size(text: str) -> tuple[int, int]:
    """Return width and height of "1280x720"; ValueError for another form."""
    if not (match := re.fullmatch(r"(\d+)x(\d+)", text)):
        raise ValueError(f"--resolution has {text!r}; allowed: WIDTHxHEIGHT, as in 1280x720")
    return int(match[1]), int(match[2])


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs, tyro.conf.OmitSubcommandPrefixes)
@dataclass
class Benchmark(Command):
    """Measure time and memory of one part, in turns with the official code."""

    part: (
        Annotated[Encoder, tyro.conf.subcommand("encoder")]
        | Annotated[Reasoner, tyro.conf.subcommand("reasoner")]
        | Annotated[Node, tyro.conf.subcommand("node")]
        | Annotated[Images, tyro.conf.subcommand("images")]
    )


def run(args: Benchmark) -> dict:
    """Measure; ValueError for bad rates, device, tasks or repeats."""
    return args.part.measure()


def describe(answer: dict) -> str:
    """Return a table."""
    if "seconds" in answer:
        return _describe_node(answer)
    return _describe_images(answer) if "width" in answer else _describe_part(answer)


def _describe_images(answer: dict) -> str:
    """Return the table of the images' benchmark."""
    lines = [
        f"{answer['hardware']}, {answer['width']}x{answer['height']}; medians in ms",
        f"{'encoding':14} {'ours':>6} {'cv_bridge':>9}   the node's",
    ]
    for row in answer["rows"]:
        theirs = f"{row['baseline_ms']:9.2f}" if "baseline_ms" in row else f"{'-':>9}"
        lines.append(f"{row['name']:14} {row['median_ms']:6.2f} {theirs}   {row['by']}")
    return "\n".join(lines)


def _describe_node(answer: dict) -> str:
    """Return the table of the node's benchmark."""
    lines = [
        f"{answer['hardware']}, {answer['seconds']:g} s each; times in ms, p50/p99",
        f"{'image':>10} {'Hz':>4} {'outputs':9} {'model':18} {'masks/s':>7} "
        f"{'stamp to publish':>17} {'overhead':>13} {'dropped':>7} {'lost':>5} {'CPU':>5} "
        f"{'MiB':>5}",
    ]
    for row in answer["rows"]:
        name = f"{row['model']} ({'process' if row['model_process'] else 'thread'})"
        size = f"{row['width']}x{row['height']}"
        latency, overhead = (
            f"{row[key]['p50']:.1f}/{row[key]['p99']:.1f}" for key in ("latency_ms", "overhead_ms")
        )
        lines.append(
            f"{size:>10} {row['rate']:4.0f} {row['outputs']:9} {name:18} "
            f"{row['masks_per_second']:7.1f} "
            f"{latency:>17} {overhead:>13} {row['dropped']:>7} {row['lost']:>5} {row['cpu']:5.0%} "
            f"{row['memory_mib'][-1]:5.0f}"
        )
    return "\n".join(lines)


def _describe_part(answer: dict) -> str:
    """Return the table of the encoder's or the reasoner's benchmark."""
    lines = [f"{answer['hardware']}, torch {answer['versions']['torch']}"]
    if "prune_after" in answer:
        lines[0] += f", stages after {', '.join(map(str, answer['prune_after']))}"
        what = "rate   GMACs"
    else:
        lines[0] += (
            f", {answer['parameters'] / 1e9:.2f} billion parameters in {answer['quantization']}, "
            f"loaded in {answer['load_s']:.0f} s and{_mib(answer['load_peak_mib'])} MiB"
        )
        what = "csp   tasks"
    lines.append(f"{'':40} {what}        ms   (quartiles)        MiB   official ms, MiB   ratio")
    return "\n".join([*lines, *map(_line, answer["rows"])])


def _line(row: dict) -> str:
    what = (
        f"{row['rate']:.2f} {row['gmacs'] or '-':>7}"
        if "rate" in row
        else f"{row['csp']:>4} {row['tasks']:7}"
    )
    low, high = row["quartiles_ms"]
    line = (
        f"{row['name']:40} {what} {row['median_ms']:9.2f}   "
        f"({low:.2f}-{high:.2f}) {_mib(row['peak_mib'])}"
    )
    if "ratio" in row:
        line += f" {row['baseline_ms']:9.2f} {_mib(row['baseline_peak_mib'])} {row['ratio']:7.2f}"
    return line


def _mib(value: float | None) -> str:
    return f"{'-' if value is None else round(value):>8}"
