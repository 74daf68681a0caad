"""What can be chosen about how images are segmented, for session, node and commands alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from vltp_ros.network.config import RANKINGS, ModelConfig, Ranking, check_stages
from vltp_ros.network.csp import CSP_NAMES, CSP_SELECTORS_OF_IMAGES, CspName, CspSelector
from vltp_ros.runtime.deadline import DeadlineConfig
from vltp_ros.runtime.reuse import ReuseConfig
from vltp_ros.settings import check, documented, setting

Precision = Literal["auto", "float32", "bfloat16", "float16"]
PRECISIONS = get_args(Precision)
"""What SAM computes in; auto: bfloat16 on a GPU that has it, else float32."""

Runner = Literal["auto", "eager", "compiled"]
RUNNERS = get_args(Runner)
"""How a network's parts are run; compiled: as CUDA graphs on a GPU, by OpenVINO on a CPU; auto:
compiled where that is possible."""


@documented
@dataclass(frozen=True)
class InferenceSettings:
    """How images are segmented; None leaves the choice to the model.

    ``dataclasses.replace`` changes some of them, and refuses what does not fit together.
    """

    prune_after: tuple[int, ...] | None = setting(
        None,
        "1-based global-attention layers after which tokens are selected; the model's own if not "
        "given",
        low=1,
    )
    rates: tuple[float, ...] | None = setting(
        None,
        "share of image tokens frozen at each stage, one value for all stages or one for each, all "
        "zero to prune nothing; the model's own if not given",
        low=0.0,
        below=1.0,
    )
    adaptive: bool | None = setting(
        None,
        "keep as many tokens as matter, whatever the rates; as the model says if not given",
    )
    selector: Ranking | None = setting(
        None, "what ranks the image tokens; the model's own if not given", choices=RANKINGS
    )
    csp: CspName = setting(
        "off", "which image tokens LLaVA's layers see (LVLM_CSP)", choices=CSP_NAMES
    )
    csp_selector: CspSelector = setting(
        "uniform",
        "how csp chooses the tokens of the first layers",
        choices=CSP_SELECTORS_OF_IMAGES,
        commands=(),  # this and the next two are for ablations, see cli/evaluate.py
    )
    returns: bool = setting(
        True, "tokens that a stage leaves out may be kept by the next", commands=()
    )
    merges: bool = setting(
        True, "the mask decoder sees the tokens that the last stage leaves out", commands=()
    )
    threshold: float | None = setting(
        None,
        "mask where the probability exceeds this; the model's own if not given",
        low=0.0,
        high=1.0,
    )
    precision: Precision = setting(
        "auto",
        "what SAM computes in; auto: bfloat16 on a GPU that has it, else float32",
        choices=PRECISIONS,
    )
    runner: Runner = setting(
        "auto",
        "how the network's parts are run; compiled: as CUDA graphs on a GPU, by OpenVINO on a CPU; "
        "auto: compiled where that is possible",
        choices=RUNNERS,
    )
    reuse: ReuseConfig = field(
        default=ReuseConfig(),
        metadata={"description": "when a <SEG> serves for a later image of a stream"},
    )
    deadline: DeadlineConfig = field(
        default=DeadlineConfig(),
        metadata={"description": "how long an image may take, and what is given up for it"},
    )

    def __post_init__(self) -> None:
        check(self, InferenceSettings)  # those that are resolved have the same ranges
        if self.adaptive and self.selector == "attention":
            raise ValueError(
                "InferenceSettings.selector is 'attention'; adaptive needs prune_decoder, whose "
                "scores are probabilities"
            )

    def for_model(self, config: ModelConfig) -> ResolvedSettings:
        """Return the settings with a model's own in place of None, and a rate for each stage.

        Raises:
            ValueError: naming the stages, rates or selector that do not fit together.
        """
        own = config.pruning
        stages = own.prune_after if self.prune_after is None else self.prune_after
        rates = own.rates if self.rates is None else self.rates
        rates = rates * len(stages) if len(rates) == 1 else rates
        check_stages(stages, rates)
        return ResolvedSettings(
            prune_after=stages,
            rates=rates,
            adaptive=own.adaptive if self.adaptive is None else self.adaptive,
            selector=own.selector if self.selector is None else self.selector,
            csp=self.csp,
            csp_selector=self.csp_selector,
            returns=self.returns,
            merges=self.merges,
            threshold=config.threshold if self.threshold is None else self.threshold,
            precision=self.precision,
            runner=self.runner,
            reuse=self.reuse,
            deadline=self.deadline,
        )


@dataclass(frozen=True, kw_only=True)
class ResolvedSettings(InferenceSettings):
    """Settings for one model, in which nothing is left open."""

    prune_after: tuple[int, ...]
    rates: tuple[float, ...]  # one for each of prune_after
    adaptive: bool
    selector: Ranking
    threshold: float
