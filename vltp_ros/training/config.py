"""Settings of a training run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from vltp_ros.network.csp import CSP_NAMES, CSP_SELECTORS_OF_IMAGES, CspConfig, csp_config
from vltp_ros.settings import check, documented, setting

STAGES_ONLY = ("train",)
EDITION_1 = ("train", "finetune", "baselines")
PRUNED = ("train", "baselines", "tables")
"""The commands that a setting is for, where it is not for all that train."""

ALL_1 = {1: ("encoder", "dense", "attention", "prune")}
ALL_2 = {2: ("encoder", "tower", "reasoner", "dense", "attention", "prune")}
ASKING_2 = {2: ("reasoner", "dense")}
PRUNE = {1: ("prune",), 2: ("prune",)}
"""Edition of the scenes -> the stages of ``vltp train`` that use a setting, where not all do."""


@documented
@dataclass(frozen=True)
class TrainConfig:
    """One training run on tabletop scenes.

    A run goes on only with the settings that it was begun with, but for those marked as changing no
    result.
    """

    steps: int = setting(4000, "optimiser steps", low=1)
    batch: int = setting(8, "images per step", low=1)
    micro_batch: int | None = setting(
        None,
        "images of scenes computed at once, whose gradients add up to a step's; all that a process "
        "has of a batch if not given, and always one of public data sets. Losses that weigh kinds "
        "or leave out what nothing answers do so among these",
        low=1,
        changes_result=False,
    )
    tasks_per_image: int = setting(3, "tasks drawn for each image", low=1)
    mosaic: bool = setting(
        False,
        "train on pictures of four cuts each, crowded with objects, instead of whole scenes",
        commands=EDITION_1,
        stages=ALL_1,
    )
    cut_share: float = setting(
        0.0,
        "share of steps whose pictures are cuts that hold fewer objects (edition 2)",
        low=0.0,
        high=1.0,
        commands=STAGES_ONLY,
        stages=ALL_2,
    )
    further_tasks: int = setting(
        0,
        "more tasks for each image that only auxiliary losses see (edition 2)",
        low=0,
        commands=STAGES_ONLY,
        stages=ASKING_2,
    )
    naming_tasks: int = setting(
        0,
        "questions for each image that name a kind, which only auxiliary losses see (edition 2)",
        low=0,
        commands=STAGES_ONLY,
        stages=ASKING_2,
    )
    empty_share: float = setting(
        0.15,
        "share of tasks that nothing serves (edition 1)",
        low=0.0,
        high=1.0,
        commands=EDITION_1,
        stages={1: ("dense", "attention", "prune")},
    )
    optimiser: str = setting(
        "muon",
        "muon: Muon for weight matrices, AdamW for the rest; adamw: AdamW for all",
        choices=("muon", "adamw"),
    )
    learning_rate: float = setting(1e-3, "peak of AdamW's learning rate", low=0.0)
    betas: tuple[float, float] = setting((0.9, 0.98), "AdamW's betas", low=0.0, high=0.9999)
    muon_learning_rate: float = setting(0.02, "peak of Muon's learning rate", low=0.0)
    finetune_share: float = setting(
        0.05,
        "share of the learning rates for what is trained already: the mask decoder in the prune "
        "stage; in edition 2 LLaVA's vision tower in the reasoner stage, LLaVA in the dense one",
        low=0.0,
        high=1.0,
        commands=PRUNED,
        stages={1: ("prune",), 2: ("reasoner", "dense", "prune")},
    )
    warmup: int = setting(200, "steps of the learning rates' linear warm-up", low=0)
    schedule: str = setting(
        "cosine",
        "how learning rates fall after their warm-up: along half a cosine, or linearly",
        choices=("cosine", "linear"),
    )
    final_share: float = setting(
        0.0, "share of the peak learning rates left at the end", low=0.0, high=1.0
    )
    weight_decay: float = setting(
        0.05, "weight decay of AdamW and Muon, but for biases and norms", low=0.0
    )
    clip: float = setting(1.0, "largest norm of the gradient, which is scaled down to it", low=0.0)
    freeze_encoder: bool = setting(
        False,
        "leave the image encoder as it is (dense stage, edition 2)",
        commands=STAGES_ONLY,
        stages={2: ("dense",)},
    )
    kind_weight: float = setting(
        1.0,
        "weight of the auxiliary losses on kinds of objects (dense and reasoner stages)",
        low=0.0,
        commands=STAGES_ONLY,
        stages={1: ("dense",), 2: ("reasoner", "dense")},
    )
    place_weight: float = setting(
        0.3,
        "weight of the loss on the place that <SEG> says (dense and reasoner stages, edition 2)",
        low=0.0,
        commands=STAGES_ONLY,
        stages=ASKING_2,
    )
    attention_weight: float = setting(
        0.3,
        "weight of the loss on what <SEG> attends to (same stages)",
        low=0.0,
        commands=STAGES_ONLY,
        stages=ASKING_2,
    )
    seg_weight: float = setting(
        10.0,
        "weight of the relative change of <SEG> (attention stage only)",
        low=0.0,
        commands=STAGES_ONLY,
        stages={1: ("attention",), 2: ("attention",)},
    )
    top_k: str = setting(
        "hard",
        "hard: the prune decoder learns from L_P alone; soft: L_X reaches it, too, through the "
        "sigmoid that smooths Eq. 11 (prune stage only)",
        choices=("hard", "soft"),
        commands=STAGES_ONLY,
        stages=PRUNE,
    )
    freeze_mask_decoder: bool = setting(
        False,
        "train the prune decoder alone (prune stage only)",
        commands=STAGES_ONLY,
        stages=PRUNE,
    )
    no_return: bool = setting(
        False,
        "tokens that a stage leaves out stay out at the next: without the first half of VLTP's "
        "reactivation (prune stage only)",
        commands=STAGES_ONLY,
        stages=PRUNE,
    )
    no_merge: bool = setting(
        False,
        "the mask decoder sees zeros in place of the tokens that the last stage leaves out: "
        "without the second half of VLTP's reactivation (prune stage only)",
        commands=STAGES_ONLY,
        stages=PRUNE,
    )
    csp: str = setting(
        "off",
        "preset of LVLM_CSP under which LLaVA gives <SEG>: which image tokens its layers see "
        "(prune stage only)",
        choices=CSP_NAMES,
        commands=STAGES_ONLY,
        stages=PRUNE,
    )
    csp_selector: str = setting(
        "uniform",
        "with a preset: how the tokens of LLaVA's first layers are chosen; cls: those that the "
        "vision tower's CLS token attends to most (prune stage only)",
        choices=CSP_SELECTORS_OF_IMAGES,
        commands=STAGES_ONLY,
        stages=PRUNE,
    )
    mask_size: str = setting(
        "half",
        "pixels that masks are compared at: half: those of half of SAM's input, a quarter as many "
        "with the same outlines; input: those of SAM's input; original: those of the image",
        choices=("half", "input", "original"),
        commands=("train", "finetune"),
        stages={1: ("dense", "prune"), 2: ("dense", "prune")},
    )
    token_weight: float = setting(
        0.0,
        "weight of the cross-entropy of the forced answer's tokens; 0: it is not computed",
        low=0.0,
        commands=("finetune",),
    )
    train_words: bool = setting(
        False,
        "train LLaVA's embeddings of all words, too, and with a token weight its head; both lie "
        "beside the adapters then, in float32",
        commands=("finetune",),
    )
    rates: tuple[float, ...] = setting(
        (0.5,),
        "pruning rates, of which each step draws one (prune stage only)",
        low=0.0,
        high=0.99,
        commands=("train", "baselines"),
        stages=PRUNE,
    )
    bfloat16: bool | None = setting(
        None,
        "train under bfloat16 autocast; if not given, where the device is built for it: a CPU "
        "without such instructions takes ten times as long",
    )
    gradient_checkpointing: bool = setting(
        False,
        "run LLaVA's layers twice instead of storing their activations",
        commands=("finetune",),
        changes_result=False,
    )
    shard_weights: bool = setting(
        False,
        "share the frozen weights of LLaVA's language model among the processes of a launcher, "
        "each of which holds a part (FSDP)",
        commands=("finetune",),
        changes_result=False,
    )
    readers: int = setting(
        1, "batches read ahead, each in a thread of its own", low=1, changes_result=False
    )
    save_every: int = setting(200, "steps between checkpoints", low=1, changes_result=False)
    log: tuple[str, ...] = setting(
        (),
        "what to write beside losses.jsonl: csv: the same as a table, losses.csv; tensorboard: a "
        "folder that TensorBoard reads",
        choices=("csv", "tensorboard"),
        commands=("train", "finetune"),
        changes_result=False,
    )
    seed: int = setting(
        0,
        "seed of weights, data order and augmentation",
        low=0,
        commands=("train", "finetune", "baselines"),
    )

    def __post_init__(self) -> None:
        check(self)
        if self.batch % (self.micro_batch or 1):
            raise ValueError(
                f"TrainConfig.micro_batch is {self.micro_batch}; TrainConfig.batch is "
                f"{self.batch} and must be a multiple of it"
            )
        if self.csp == "off" and self.csp_selector != "uniform":
            raise ValueError(
                f"TrainConfig.csp_selector is {self.csp_selector}; it has no effect without "
                "TrainConfig.csp"
            )

    @property
    def reasoning(self) -> CspConfig | None:
        """Return which image tokens LLaVA's layers see; None: all."""
        return csp_config(self.csp, self.csp_selector)

    def check_stage(self, stage: str, edition: int | None) -> None:
        """Refuse what was changed and a stage does not use.

        Args:
            stage: of ``vltp train``.
            edition: of the scenes to train on; None: public data sets, where the stages that may
                train on them use what they do on edition 2.

        Raises:
            ValueError: naming option and value, and the stages that use it.
        """
        for spec in dataclasses.fields(self):
            users = spec.metadata.get("stages", {edition or 2: (stage,)})
            value = getattr(self, spec.name)
            if stage not in users.get(edition or 2, ()) and value != spec.default:
                where = [f"{', '.join(names)} on edition {e}" for e, names in users.items()]
                data = f"scenes of edition {edition}" if edition else "public data"
                raise ValueError(
                    f"--{spec.name.replace('_', '-')} is {value}; it has no effect in the {stage} "
                    f"stage on {data}, but in {'; '.join(where)}"
                )


PRUNING = TrainConfig(
    steps=400,
    batch=4,
    tasks_per_image=2,
    learning_rate=7e-4,
    muon_learning_rate=0.01,
    finetune_share=0.3,
    warmup=50,
)
"""Of a pruned half or a rival, around a small model's dense half."""

FINETUNING = TrainConfig(
    batch=20,
    tasks_per_image=1,
    optimiser="adamw",
    learning_rate=3e-4,
    betas=(0.9, 0.95),
    weight_decay=0.0,
    warmup=100,
    gradient_checkpointing=True,
)
"""The paper's schedule for LLaVA with adapters; it does not give the number of steps."""
