"""Parameters of the ``vltp`` node."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from vltp_ros.network.config import AUTO_QUANTIZATIONS, RANKINGS, AutoQuantization, Ranking
from vltp_ros.network.csp import CSP_NAMES, CspName
from vltp_ros.runtime.checks import MAX_TASK_CHARACTERS
from vltp_ros.runtime.deadline import DeadlineConfig
from vltp_ros.runtime.reuse import ReuseConfig
from vltp_ros.runtime.settings import InferenceSettings, Precision, Runner
from vltp_ros.settings import check, documented, same_as, setting

MAX_TASKS = 16  # worked on at once
CSP_NUMBERS = tuple(0 if name == "off" else int(name) for name in CSP_NAMES)
MODEL_DEFAULT = "own"  # ROS has no None: what the model directory says
RELIABILITIES = ("auto", "best_effort", "reliable")
NAMESPACE = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


@documented
@dataclass(frozen=True)
class NodeConfig:
    """Parameters of the ``vltp`` node."""

    model: str = setting("", "directory of the model; empty: the tabletop model", read_only=True)
    device: str = setting("auto", "device of the model: auto, cpu, cuda or cuda:N", read_only=True)
    threads: int = setting(
        0, "CPU threads for the model; 0: PyTorch's default", low=0, high=1024, read_only=True
    )
    quantization: str = setting(
        MODEL_DEFAULT,
        "how LLaVA's weights lie in memory; own: as the model says; auto: bfloat16 on a GPU where "
        "it fits, else nf4",
        choices=(MODEL_DEFAULT, *AUTO_QUANTIZATIONS),
        read_only=True,
    )
    precision: Precision = same_as(InferenceSettings, "precision", read_only=True)
    runner: Runner = same_as(InferenceSettings, "runner", read_only=True)
    model_process: bool = setting(
        True,
        "run the model in a process of its own, which is killed and started again when it is stuck "
        "or ends; false: in a thread of the node",
        read_only=True,
    )
    autostart: bool = setting(
        True,
        "configure and activate at the start; false: wait for a lifecycle manager",
        read_only=True,
    )
    cameras: tuple[str, ...] = setting(
        (), "namespaces of the cameras; empty: one camera without a namespace", read_only=True
    )
    transport: str = setting(
        "raw",
        "how images come; raw: image (sensor_msgs/Image); compressed: image/compressed (JPEG, PNG)",
        choices=("raw", "compressed"),
        read_only=True,
    )
    image_reliability: str = setting(
        "auto",
        "reliability of the subscriptions to sensors; auto: as the publishers offer",
        choices=RELIABILITIES,
        read_only=True,
    )
    image_durability: str = setting(
        "volatile",
        "durability of the subscription to images; transient_local also takes latched ones",
        choices=("volatile", "transient_local"),
        read_only=True,
    )
    image_depth: int = setting(
        5,
        "images that the middleware keeps until the node takes them; the node uses the newest",
        low=1,
        high=100,
        read_only=True,
    )
    output_deadline: float = setting(
        0.0,
        "seconds within which each topic of answers promises the next message, while there are "
        "tasks and images; 0: none",
        low=0.0,
        high=3600.0,
        read_only=True,
    )
    depth: bool = setting(
        False,
        "subscribe to depth and camera_info, and publish where in space the answers are",
        read_only=True,
    )
    rectified: bool = setting(
        True,
        "images and depth are rectified, and P of camera_info is their camera, K where P is empty; "
        "false: they are as the lens draws them, by K and D",
        read_only=True,
    )
    depth_tolerance: float = setting(
        0.05, "seconds by which the stamps of an image and its depth may differ", low=0.0, high=10.0
    )
    max_points: int = setting(
        10_000,
        "about how many points of an instance are taken at most, evenly among its pixels, for its "
        "pose, its extent and the cloud",
        low=100,
    )
    rates: tuple[float, ...] = setting(
        (), "share of image tokens frozen at each stage; empty: the model's own", low=0.0, high=0.99
    )
    selector: str = setting(
        MODEL_DEFAULT,
        "what ranks the image tokens; own: as the model says",
        choices=(MODEL_DEFAULT, *RANKINGS),
    )
    # A number: in YAML and on the command line of ROS 2, 65 is no text, and off is no text either.
    csp: int = setting(
        0,
        "LVLM_CSP preset: which image tokens LLaVA's layers see; 0: all of them",
        choices=CSP_NUMBERS,
    )
    reuse_max_age: float = same_as(
        ReuseConfig,
        "max_age",
        description="seconds for which a <SEG> is reused for later images of a camera; 0: never",
    )
    reuse_max_change: float = same_as(
        ReuseConfig,
        "max_change",
        description="change of the image, 0..1, up to which a <SEG> is reused",
    )
    max_latency_ms: float = same_as(DeadlineConfig, "max_latency_ms")
    deadline_max_rate: float = same_as(DeadlineConfig, "max_rate")
    deadline_max_csp: int = setting(
        int(DeadlineConfig.max_csp),
        "LVLM_CSP preset that may be used to meet max_latency_ms; 0: none",
        choices=CSP_NUMBERS,
    )
    deadline_max_seg_age: float = same_as(DeadlineConfig, "max_seg_age")
    threshold: float = setting(
        -1.0,
        "probability above which a pixel belongs to the mask; negative: the model's own",
        low=-1.0,
        high=1.0,
    )
    task: str = setting("", "task to start with; empty: wait for a task on the topic")
    overlay_alpha: float = setting(0.5, "opacity of the mask in the overlay", low=0.0, high=1.0)
    overlay_labels: bool = setting(True, "write task and score on the overlay")
    watchdog: float = setting(
        60.0,
        "seconds after which an inference counts as stuck and the model is given up; 0: never",
        low=0.0,
        high=86400.0,
    )
    load_timeout: float = setting(
        600.0,
        "seconds after which loading counts as stuck and the model is given up; 0: never",
        low=0.0,
        high=86400.0,
    )
    max_latency_p50: float = setting(
        0.0, "warn when the median age of masks exceeds this, seconds; 0: never", low=0.0
    )
    max_latency_p99: float = setting(
        0.0,
        "warn when the 99th percentile of the age of masks exceeds this, seconds; 0: never",
        low=0.0,
    )
    max_image_age: float = setting(
        0.0,
        "refuse images whose stamp is this far from the node's clock, before or after, seconds; 0: "
        "never",
        low=0.0,
        high=86400.0,
    )
    max_input_age: float = setting(
        2.0, "report a camera as stale after this long without an image, seconds; 0: never", low=0.0
    )
    min_input_rate: float = setting(
        0.0, "warn when images come more slowly than this, Hz; 0: never", low=0.0
    )
    max_dropped: float = setting(
        0.7,
        "warn when more than this share of the images is dropped for newer ones or lost on the way",
        low=0.0,
        high=1.0,
    )
    max_gpu_memory: float = setting(
        0.0, "warn when the model holds more GPU memory than this, MiB; 0: never", low=0.0
    )

    def __post_init__(self) -> None:
        check(self)
        if len(self.task) > MAX_TASK_CHARACTERS:
            raise ValueError(
                f"NodeConfig.task has {len(self.task)} characters; "
                f"at most {MAX_TASK_CHARACTERS} are allowed"
            )
        for name in self.cameras:
            if not NAMESPACE.fullmatch(name):
                raise ValueError(
                    f"NodeConfig.cameras has {name!r}; a namespace is words of letters, digits and "
                    "underscores, joined by slashes, none beginning with a digit"
                )
        if len({name.strip("/") for name in self.cameras}) < len(self.cameras):
            raise ValueError(f"NodeConfig.cameras is {self.cameras}; each may be there once")

    @property
    def inference(self) -> InferenceSettings:
        """The settings of the session that the parameters ask for."""
        # A parameter is a plain word; check() has compared it with those that are allowed.
        return InferenceSettings(
            rates=self.rates or None,
            selector=None if self.selector == MODEL_DEFAULT else cast(Ranking, self.selector),
            csp=_csp_name(self.csp),
            threshold=None if self.threshold < 0 else self.threshold,
            precision=self.precision,
            runner=self.runner,
            reuse=ReuseConfig(self.reuse_max_age, self.reuse_max_change),
            deadline=DeadlineConfig(
                self.max_latency_ms,
                self.deadline_max_rate,
                _csp_name(self.deadline_max_csp),
                self.deadline_max_seg_age,
            ),
        )

    @property
    def given_quantization(self) -> AutoQuantization | None:
        """Quantization of LLaVA's weights; None: the model's own."""
        if self.quantization == MODEL_DEFAULT:
            return None
        return cast(AutoQuantization, self.quantization)


def _csp_name(number: int) -> CspName:
    return cast(CspName, str(number or "off"))
