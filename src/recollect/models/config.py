"""The config of a model: its mixers and the backbone around them, the recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_serializer, model_validator

from recollect.config import Config, without_defaults
from recollect.errors import UserError, unknown
from recollect.mixers.catalogue import MIXERS, MixerSpec, as_spec
from recollect.mixers.length_weights import has_untrained
from recollect.mixers.patterns import PATTERNS, pattern_name
from recollect.models.block import NormKind
from recollect.models.init import Init
from recollect.models.language_model import LanguageModel
from recollect.tasks._filler import common_filler

if TYPE_CHECKING:
    from recollect.tasks.task import Task


def _as_pattern(value: Any) -> tuple[MixerSpec, ...]:
    if isinstance(value, str) and ":" not in value and value not in MIXERS:
        if value not in PATTERNS:
            raise unknown("mixer or layer pattern", value, [*MIXERS, *PATTERNS])
        return PATTERNS[value].layers
    if isinstance(value, Sequence) and not isinstance(value, str):
        if not value:
            raise UserError("a layer pattern needs at least one mixer")
        return tuple(as_spec(item) for item in value)
    return (as_spec(value),)


def _period(mixer: Any) -> int:
    """The number of mixers in a layer pattern, given by name or as a list; else 1."""
    if isinstance(mixer, str):
        return len(PATTERNS[mixer].layers) if mixer in PATTERNS else 1
    return len(mixer) if isinstance(mixer, Sequence) else 1


def common_window(options: Iterable[Mapping[str, Any]]) -> int | None:
    """Return the option `window` of mixers; None if none has one, or if they differ."""
    windows = {window for each in options if isinstance(window := each.get("window"), int)}
    return windows.pop() if len(windows) == 1 else None


class ModelConfig(Config):
    """A model: a mixer or a pattern of mixers, and the backbone around them.

    Attributes:
        mixer: a name, `mixer(name, option=value)`, a class, the name of a layer pattern
            (`mixers.patterns`), or a list of mixers: a layer pattern that repeats from the first
            layer on.
        d_model: width of the residual stream.
        n_layers: number of blocks, at least the length of the layer pattern; default: 2, or the
            length of the pattern if that is larger.
        mlp: the MLP after the mixer of each block: "gelu" (hidden width 4 d_model), "swiglu" (8/3
            d_model) or None. "identity": only a norm, whose output is added to the residual
            stream, as in Zoology's code.
        norm: the norm before each mixer and MLP.
        head_norm: the norm before the head; None: that of the blocks.
        short_conv: width of a causal depthwise convolution on the input of every mixer; 0: none.
        canon: places of Canon layers (`mixers.canon`), by the letters of their paper: "A" on the
            input of every mixer, "B" on the queries, keys and values of mixers with the option
            `qkv_canon` (attention and sliding-window attention), "C" on the input of every MLP, "D"
            inside the MLP, before its activation; "ABCD": all; "": none.
        positions: "learned" position embeddings; "rope": mixers that can rotate queries and keys
            do so; None: no positions; "auto": learned if one of the mixers declares that it wants
            positions.
        init: initialisation.
        dropout: dropout on the embeddings in training.
        tie_embedding: whether the head shares the embedding's weights.

    Raises:
        UserError: for an unknown mixer or option, fewer layers than a layer pattern has, or
            positions or Canon layers that no mixer or MLP of the model can have.
    """

    mixer: Annotated[tuple[MixerSpec, ...], BeforeValidator(_as_pattern)]
    d_model: int = Field(gt=0)
    n_layers: int = Field(default=2, gt=0)
    mlp: Literal["gelu", "swiglu", "identity"] | None = None
    norm: NormKind = "layernorm"
    head_norm: NormKind | None = None
    short_conv: int = Field(default=0, ge=0)
    canon: str = ""
    positions: Literal["auto", "learned", "rope"] | None = "auto"
    init: Init = Init()
    dropout: float = Field(default=0.0, ge=0, lt=1)
    tie_embedding: bool = True

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[ModelConfig], dict[str, Any]]) -> dict[str, Any]:
        return without_defaults(self, fields, ("head_norm", "canon"))

    @model_validator(mode="before")
    @classmethod
    def _one_period_by_default(cls, values: Any) -> Any:
        period = _period(values.get("mixer")) if isinstance(values, dict) else 1
        if period == 1:
            return values
        return {"n_layers": max(period, cls.model_fields["n_layers"].default)} | values

    @model_validator(mode="after")
    def _has_a_full_period(self) -> ModelConfig:
        """Require a layer for every mixer of a pattern: with fewer it would be another model."""
        period = len(self.mixer)
        if self.n_layers < period:
            raise UserError(
                f"n_layers={self.n_layers}: the layer pattern has {period} mixers; expected at"
                f" least {period}, or a shorter list of mixers"
            )
        return self

    @model_validator(mode="after")
    def _canon_has_a_place(self) -> ModelConfig:
        if "".join(letter for letter in "ABCD" if letter in self.canon) != self.canon:
            raise UserError(f"canon={self.canon!r}: expected letters of ABCD in this order, or ''")
        if "B" in self.canon and not any(spec.takes("qkv_canon") for spec in self.layer_mixers()):
            names = "+".join(dict.fromkeys(spec.label for spec in self.layer_mixers()))
            raise UserError(
                f"canon={self.canon!r}: {names} has no Canon layer on queries, keys and values, as"
                " attention has; leave B out"
            )
        if {*self.canon} & {"C", "D"} and self.mlp in (None, "identity"):
            raise UserError(
                f"canon={self.canon!r}: C and D need an MLP; set mlp='gelu' or 'swiglu', or leave C"
                " and D out"
            )
        return self

    @model_validator(mode="after")
    def _rope_has_a_mixer(self) -> ModelConfig:
        layers = self.layer_mixers()
        if self.positions == "rope" and not any(spec.takes("rope") for spec in layers):
            names = "+".join(dict.fromkeys(spec.label for spec in layers))
            raise UserError(
                f"positions='rope': {names} has no queries and keys to rotate; use 'auto' or None"
            )
        return self

    @property
    def label(self) -> str:
        """The pattern's name or the mixers' names, with options that are not at their defaults."""
        return pattern_name(self.mixer) or "+".join(spec.label for spec in self.mixer)

    @property
    def window(self) -> int | None:
        """The window of the model's sliding-window attention; None without one, or if layers have
        different windows."""
        return common_window(spec.options for spec in self.layer_mixers())

    @property
    def learned_positions(self) -> bool:
        """Whether the model has learned position embeddings."""
        if self.positions == "auto":
            return any(getattr(spec.cls, "wants_positions", False) for spec in self.layer_mixers())
        return self.positions == "learned"

    def has_untrained_weights(self, trained: int, tested: int) -> bool:
        """Whether weights of mixers act on `tested` tokens that get no gradient from `trained`
        tokens (`mixers.length_weights`)."""
        return any(has_untrained(spec, trained, tested) for spec in self.layer_mixers())

    @property
    def initialisation(self) -> Literal["own", "recipe"] | None:
        """The initialisation of mixers from outside of this package: their own or the recipe's;
        None if there are no such mixers."""
        if not any(spec.is_foreign for spec in self.layer_mixers()):
            return None
        return "own" if self.init.foreign == "keep" else "recipe"

    def layer_mixers(self) -> tuple[MixerSpec, ...]:
        """The mixer of each layer."""
        return tuple(self.mixer[i % len(self.mixer)] for i in range(self.n_layers))

    def for_tasks(self, tasks: Iterable[Task]) -> ModelConfig:
        """Return the model with the filler token of `tasks` set in mixers that ask for it.

        Raises:
            UserError: if a mixer asks for the filler token and the tasks have different ones.
        """
        if not any(spec.lacks_filler for spec in self.mixer):
            return self
        token = common_filler(tasks)
        return self.replace(mixer=[spec.with_filler(token) for spec in self.mixer])

    def build(self, task: Task, *, max_len: int | None = None, seed: int = 0) -> LanguageModel:
        """Build the model for a task.

        Args:
            task: sets the vocabulary, the filler token and the longest length.
            max_len: longest length, if the model will see longer inputs than those of the task.
            seed: seed of the initialisation; nothing else influences the weights.

        Returns:
            A module on the CPU in training mode. It maps tokens `(n, L)` and positions `(n, Q)` to
            logits `(n, Q, vocab)`.
        """
        config = self.for_tasks([task])
        return LanguageModel(
            config, vocab_size=task.vocab_size, max_len=max(task.max_len, max_len or 0), seed=seed
        )
