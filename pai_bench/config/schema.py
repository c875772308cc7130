"""benchmark.yaml as typed, frozen settings; errors name file, line, key and the nearest name."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, get_args

from pydantic import AliasChoices, Field, field_validator, model_validator

from pai_bench.config.launchers import Launchers
from pai_bench.config.settings import Settings

Density = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
NonEmpty = Annotated[tuple[float, ...], Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Range = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class Data(Settings):
    """One data set: where it comes from, what must come out, and how pixels are normalised."""

    hub: str | None = None
    """Repository on the hub; none for a data set that comes with an installed library."""
    load: str | None = None
    """Function of a plugin that returns the data (pai_bench/registry/plugins.py)."""
    code: str | None = None
    """SHA-256 of the file that holds that function."""
    revision: str | None = None
    subset: str | None = None
    """Folder of the repository that holds the files (`cropped_digits` of SVHN)."""
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(default_factory=dict)
    """SHA-256 of the hub's own files, where it is known: path in the repository -> digest."""
    gated: bool = False
    """True where the hub asks for an account that has accepted the data set's terms."""
    folder: str | None = None
    """Folder inside a mirror; the name of the data set unless given."""
    image: str = "image"
    label: str = "label"
    text: str | None = None
    """Column of text, where that is what the data set is made of: its bytes are the symbols, and
    the label of each is the next one. `images` are sequences, the first ones of each split,
    `shape` is [1, 1, symbols in a sequence]."""
    train: str = "train"
    test: str = "test"
    classes: Positive
    shape: tuple[Positive, Positive, Positive]
    """Channels, height, width of what the network sees."""
    images: tuple[Positive, Positive]
    """Number of training and of test images."""
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the decoded tensors of both splits. Without one, the first digest that a machine
    sees is kept there, and a later one that differs is an error."""
    stream: bool = False
    """True for photographs of many sizes, decoded batch by batch; else all pixels are in memory."""
    mean: NonEmpty = (0.0,)
    std: NonEmpty = (1.0,)
    """Per channel, of pixels scaled to 0..1. Symbols are not normalised."""

    @property
    def version(self) -> str:
        """What tells one state of the data from another: its digest, else all that makes it."""
        if self.digest:
            return self.digest
        excluded = {"mean", "std", "folder", "gated", "stream"}
        # A key that images do without: their versions are those from before there was one.
        made_of = self.model_dump_json(exclude=excluded if self.text else excluded | {"text"})
        return hashlib.sha256(made_of.encode()).hexdigest()

    @model_validator(mode="after")
    def _consistent(self) -> Data:
        if self.text is None and not {"mean", "std"} <= self.model_fields_set:
            raise ValueError("images need mean and std, to be normalised with")
        if self.text is not None and (self.shape[:2] != (1, 1) or self.stream):
            raise ValueError("text has shape [1, 1, symbols in a sequence], and is not streamed")
        return self


class Network(Settings):
    """One architecture: a function (input shape, classes) -> module, and what is known of it."""

    build: Annotated[str, Field(pattern=r"^.+:\w+$")]
    init: str | None = None
    """Name of an initialisation in networks/init.py; the builder's own unless given."""
    dense: tuple[str, ...] = ()
    """Layers that are never pruned, as patterns of module names (`*.depthwise`)."""
    version: Positive = 1
    papers: tuple[str, ...] = ()
    """Papers of the benchmark that use it."""
    macs: dict[str, Positive] = Field(default_factory=dict)
    """Data set -> multiply-accumulates of one forward pass of one image, for cost estimates."""


class Recipe(Settings):
    """How a network is trained and evaluated, and what a scoring pass may look at."""

    epochs: Positive
    steps: Positive | None = None
    """Training stops after so many steps, in the midst of the last epoch if need be."""
    batch_size: Positive
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Annotated[float, Field(gt=0)]
    momentum: Fraction = 0.0
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    decay: Literal["all", "kernels", "prunable"] = "all"
    """What decays: every parameter, conv and linear weights, or the prunable ones of these."""
    schedule: Literal["constant", "step", "cosine"] = "constant"
    schedule_unit: Literal["epoch", "step"] = "epoch"
    """Unit of `milestones` and `warmup`."""
    milestones: tuple[Positive, ...] = ()
    """When `step` multiplies the learning rate by `gamma`."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup: Annotated[float, Field(ge=0)] = 0.0
    """How long the learning rate grows linearly from 0, step by step."""
    clip: Literal["none", "norm", "value"] = "none"
    clip_at: Annotated[float, Field(gt=0)] | None = None
    """Bound on the norm of all gradients together, or on the size of each value; kept weights
    only."""
    label_smoothing: Fraction = 0.0
    batch_norm_parts: Positive = 1
    """Parts of each batch whose statistics batch norm takes by themselves, as on so many devices
    without synchronisation (NTK-SAP: 2 and 4 GPUs on ImageNet; RigL: the cores of a TPU, number not
    told); running statistics are those of the first part. 1: the statistics of the whole batch, on
    any number of devices."""
    augment: Literal["none", "crop-flip", "mirror-crop-flip", "resized-crop-flip"] = "none"
    crop_scale: Range = (0.08, 1.0)
    crop_ratio: Range = (0.75, 4 / 3)
    """Area (of the picture's) and width over height of the crop of `resized-crop-flip`."""
    normalise: Literal["channels", "image", "none"] = "channels"
    """By the mean and deviation of each channel, of each image, or not at all (pixels 0..1)."""
    mean: NonEmpty | None = None
    std: NonEmpty | None = None
    """Channel statistics instead of those of the data set, where a paper's code has others."""
    collapsed: Literal["train", "skip"] = "train"
    """What becomes of a network whose mask leaves a layer empty: trained as any other, or only
    evaluated as it is. It counts either way."""
    holdout: Fraction = 0.0
    """Part of the training images that is held out: stratified, the same for every seed."""
    evaluate: Literal["test", "validation"] = "test"
    """`validation` evaluates on the held-out part and never looks at the test images."""
    evaluate_at: tuple[Positive, ...] = ()
    """Steps after which test accuracy is measured, beside every epoch."""
    evaluate_train: Fraction = 0.0
    """Part of the training images, the first ones, whose accuracy is measured at the end."""
    score_images_per_class: Positive = 10
    score_batch_size: Positive = 256

    def training_steps(self, images: int) -> int:
        """Optimizer steps that are taken, with `images` in the training set."""
        whole = self.epochs * -(-images // self.batch_size)
        return whole if self.steps is None else min(whole, self.steps)

    def images_seen(self, images: int) -> int:
        """Training images that are looked at, with `images` in the training set."""
        if self.steps is None:
            return self.epochs * images
        epochs, steps = divmod(self.steps, -(-images // self.batch_size))
        return min(self.epochs * images, epochs * images + steps * self.batch_size)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.evaluate == "validation" and not self.holdout:
            raise ValueError("evaluate: validation needs a holdout above 0")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together")
        if (self.clip == "none") != (self.clip_at is None):
            raise ValueError("clip and clip_at go together")
        if self.evaluate_train and self.augment != "none":
            raise ValueError("evaluate_train needs training images that are not augmented")
        return self


SanityCheck = Literal[
    "layerwise-shuffle", "reinitialise", "invert", "random-labels", "random-pixels"
]
"""Sanity checks: what a mask is worth beyond its densities by layer (training/sanity_checks.py)."""
SANITY_CHECKS: tuple[str, ...] = get_args(SanityCheck)
CORRUPTING: tuple[SanityCheck, ...] = ("random-labels", "random-pixels")
"""Those that change the batches that are scored; the others act on what was chosen."""


class Suite(Settings):
    """One fixed grid: densities x seeds x methods on one network, data set and recipe."""

    about: str
    network: str
    data: str
    recipe: str
    densities: Annotated[tuple[Density, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    methods: Annotated[tuple[str | dict[str, dict[str, Any]], ...], Field(min_length=1)]
    """Names, or `name: {hyper-parameter: value}`."""
    sanity_checks: tuple[SanityCheck, ...] = Field(
        default=(), validation_alias=AliasChoices("sanity_checks", "ablations")
    )
    """Sanity checks that every method that prunes runs beside itself."""


class Paper(Settings):
    """One paper: its methods, and the suites that re-run it."""

    title: str
    venue: str
    url: str
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    suites: dict[str, str]
    """Short name (`quick`, `mnist`, ...) -> suite; `quick` is what runs unless another is asked."""
    protocol: str
    """Short name of the suite that follows the paper's own protocol."""


class CampaignStep(Settings):
    """A part of a suite that a campaign runs, and the folder that keeps its results as evidence."""

    suite: str
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    densities: tuple[Density, ...] = ()
    seeds: tuple[Seed, ...] = ()
    evidence: str


class Wandb(Settings):
    """Where the W&B mirror goes."""

    project: str = "pai-bench"
    entity: str | None = None
    mode: Literal["auto", "online", "offline", "disabled"] = "auto"


class Benchmark(Settings):
    """All of benchmark.yaml, and of the files that it includes."""

    include: tuple[str, ...] = ()
    """Patterns of files that hold more data sets, networks, recipes, suites and papers; relative
    to the file (config/include.py)."""
    mirror: str | None = None
    """Folder with parquet files, read before the hub; PAI_BENCH_MIRROR goes before it."""
    portable: bool = True
    """Whether a cell on a CPU is to have the same bits on other processors (core/portable.py)."""
    threads: Positive = 1
    """CPU threads of one cell: the same for any number of workers, so results are too."""
    deterministic: bool = True
    """Whether the same cell on the same GPU is to have the same bits each time; on a CPU it has
    anyway."""
    stack: Literal["auto", "off"] | Positive = "auto"
    """How networks are trained together: `off`, each alone; a number, so many as one stack; `auto`,
    on a GPU as stacks of a size that is measured, on a CPU in step, which changes no bit."""
    graphs: bool = False
    """Whether the steps of a stack on a GPU are a CUDA graph, where its methods leave them alone:
    masks that stay, SGD, float32 or bf16-mixed. Not the default before it is measured."""
    take_over: Annotated[float, Field(gt=0)] = 60.0
    """Seconds without a sign of life after which others take over what a process of another host
    trains (store/lease.py)."""
    data: dict[str, Data]
    networks: dict[str, Network]
    recipes: dict[str, Recipe]
    suites: dict[str, Suite]
    papers: dict[str, Paper] = Field(default_factory=dict)
    campaigns: dict[str, tuple[CampaignStep, ...]] = Field(default_factory=dict)
    """Runs in the order of what they may decide, for machines that are there for a short time."""
    wandb: Wandb = Wandb()
    launchers: Launchers = Launchers()
    """What a bundle is given on a cluster (`--launcher slurm`, `--launcher ray`)."""

    @field_validator("stack", mode="before")
    @classmethod
    def _spelled(cls, value: object) -> object:
        return "off" if value is False else value  # YAML reads a bare `off` as false

    def methods_of_papers(self) -> frozenset[str]:
        """Name the methods that are some paper's own, and so no baselines."""
        return frozenset(name for paper in self.papers.values() for name in paper.methods)
