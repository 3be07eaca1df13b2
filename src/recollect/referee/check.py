"""The referee: run all checks on a mixer in all contexts, and measure its cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from recollect.edits import warn_of_edits
from recollect.errors import UserError
from recollect.identity import is_ours
from recollect.mixers.catalogue import MixerSpec
from recollect.mixers.own_code import own_code
from recollect.models.config import ModelConfig
from recollect.referee import cost
from recollect.referee.causality import causal_gradients, causality
from recollect.referee.conduct import rows, shape_and_type
from recollect.referee.determinism import determinism
from recollect.referee.generators import kept
from recollect.referee.learning import gradients
from recollect.referee.lengths import LEAST_MAX_LEN, lengths
from recollect.referee.positions import output_positions
from recollect.referee.precision import PATHS, Path
from recollect.referee.purity import pure_steps
from recollect.referee.remarks import not_rotated, remarks, rotated
from recollect.referee.report import Measured, Report
from recollect.referee.reuse import reuse
from recollect.referee.state import measure_state
from recollect.referee.steps import step_form
from recollect.referee.subject import Subject
from recollect.referee.verdict import (
    Misbehaviour,
    Unmeasurable,
    Verdict,
    failed,
    not_measured,
    not_offered,
)

Mixer = str | type[nn.Module] | MixerSpec | Sequence[str | type[nn.Module] | MixerSpec]
"""A mixer, or a list of mixers: one period of a layer pattern, judged as a whole."""

FIRST = "shape and type"
CHECKS: Mapping[str, Callable[[Subject], Verdict]] = {
    FIRST: shape_and_type,
    "causality": causality,
    "causal gradients": causal_gradients,
    "independent rows": rows,
    "output positions": output_positions,
    "lengths": lengths,
    "repeated calls": reuse,
    "gradients": gradients,
    "determinism": determinism,
    "step form": step_form,
    "pure steps": pure_steps,
}
ON_PATHS: Mapping[str, list[Path]] = {
    "causality": ["float32", "autocast"],
    "causal gradients": ["float32", "autocast"],
    "independent rows": ["float32"],
    "output positions": ["float32"],
    "lengths": ["float32"],
}
"""Checks that are repeated in the precisions of training."""
MAX_LEN = 261
"""Default longest length: beyond chunks of 256, and not a multiple of common chunk lengths."""
PATTERN_MAX_LEN = 133
"""Longest length of a layer pattern with rotated queries and keys, beyond chunks of 128. It saves
time: each mixer alone is judged with rotation at all lengths."""
T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""Called with the name of the mixer, the number of parts done, and the number of all parts."""


def ignore(_what: str, _done: int, _total: int) -> None:
    """Do nothing; the default progress callback."""


def check(
    mixer: Mixer,
    *,
    d_model: int = 64,
    max_len: int = MAX_LEN,
    device: str = "cpu",
    speed: bool = False,
    progress: Progress = ignore,
) -> Report:
    """Check that a mixer conforms to what every mixer must do, and measure its cost.

    If its constructor names them, the mixer is also judged as the second of two layers
    (`layer_idx`) and with rotated queries and keys (`rope`), if its width allows that. Random
    generators are left unchanged.

    Args:
        mixer: a name, `mixer(name, option=value)`, a class, or a list of these.
        d_model: width.
        max_len: longest length in the checks, in tokens; at least 64.
        device: the device, such as "cuda".
        speed: whether to measure speed relative to attention, which takes a few seconds more.
        progress: called before each check.

    Returns:
        The report, with a verdict for each check and the measured cost; `ok` is true if no check
        failed.

    Raises:
        UserError: if the mixer is unknown, or does not support this width.
    """
    subjects = contexts(mixer, d_model=d_model, max_len=max_len, device=device)
    plain = subjects[0]
    with kept(range(torch.cuda.device_count())):
        verdicts = _judge_all(subjects, progress)
        precision = str(plain.precision) if plain.runs else "no type: the mixer does not run"
        noise = str(plain.noise) if plain.runs else ""
        measured = _measure(subjects, speed)
        noted = tuple(remarks(plain))
    return Report(
        mixer=plain.config.label,
        layers=tuple(spec.label for spec in plain.config.mixer),
        window=plain.config.window,
        d_model=d_model,
        max_len=max_len,
        precision=precision,
        noise=noise,
        initialisation=initialisation(plain),
        contexts=tuple(each.context for each in subjects[1:]),
        verdicts=verdicts,
        measured=measured,
        remarks=noted,
    )


def _judge_all(subjects: Sequence[Subject], progress: Progress) -> dict[str, Verdict]:
    """Run every check in every context; the measurements count as one more part of progress."""
    label, verdicts = subjects[0].config.label, {}
    for done, name in enumerate(CHECKS):
        progress(label, done, len(CHECKS) + 1)
        verdicts[name] = _over_contexts({s.context: judge(name, s) for s in subjects})
    progress(label, len(CHECKS), len(CHECKS) + 1)
    return verdicts


def measure(mixer: Mixer, *, d_model: int = 64, device: str = "cpu") -> tuple[Measured, ...]:
    """Return only the measured costs of the report, without speed.

    Raises:
        UserError: as in `check`.
    """
    subjects = contexts(mixer, d_model=d_model, max_len=MAX_LEN, device=device)
    with kept(range(torch.cuda.device_count())):
        return _measure(subjects, speed=False)


def contexts(
    mixer: Mixer, *, d_model: int, max_len: int = MAX_LEN, device: str = "cpu"
) -> list[Subject]:
    """Return the mixer in every context in which it can be built, the plain one first.

    Raises:
        UserError: if the mixer is unknown, max_len is too small, or the device is not available.
    """
    if max_len < LEAST_MAX_LEN:
        raise UserError(f"max_len={max_len}: expected at least {LEAST_MAX_LEN}")
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"device={device!r}: {error}; use 'cpu'") from None
    config = ModelConfig(mixer=mixer, d_model=d_model, positions=None)
    config = config.replace(n_layers=len(config.mixer))
    warn_of_edits(code for spec in config.mixer for code in own_code(spec))
    plain = Subject(config, max_len, device=device)
    subjects = [plain]
    if plain.takes("layer_idx") and len(config.mixer) == 1:
        subjects.append(replace(plain, layer_idx=1))
    if plain.takes("rope") and not_rotated(plain) is None:
        longest = max_len if len(config.mixer) == 1 else min(max_len, PATTERN_MAX_LEN)
        subjects.append(replace(rotated(plain), max_len=longest))
    return subjects


def initialisation(subject: Subject) -> str:
    """Describe the initialisation that the mixers have in a study."""
    specs = subject.config.mixer
    foreign = list(dict.fromkeys(spec.label for spec in specs if not is_ours(spec.cls)))
    if not foreign:
        return "the recipe's, except for parameters that the mixer marks"
    whose = (
        "its own" if len(specs) == 1 else f"{', '.join(foreign)}: their own, others: the recipe's"
    )
    return f"{whose}; Init(foreign='reset') applies the recipe's"


def judge(name: str, subject: Subject) -> Verdict:
    """Return the verdict of one check in one context.

    Raises:
        UserError: if the mixer does not support this width.
    """
    if name != FIRST and not subject.runs:
        return not_offered("the mixer does not run")
    verdicts = {PATHS[path]: _judge(name, subject.on(path)) for path in _paths(name, subject)}
    verdict = _over_contexts({"": _judge(name, subject)} | verdicts)
    if verdict.status != "pass" or not verdicts:
        return verdict
    return replace(verdict, evidence=f"{verdict.evidence}; also {' and '.join(verdicts)}")


def _paths(name: str, subject: Subject) -> list[Path]:
    """The paths of training on which a check is repeated."""
    if subject.context and len(subject.config.mixer) > 1:
        return []  # the plain context of a pattern covers them, and takes long
    paths = ON_PATHS.get(name, [])
    return [p for p in paths if p != "autocast" or subject.without_autocast is None]


def _judge(name: str, subject: Subject) -> Verdict:
    try:
        return CHECKS[name](subject)
    except Unmeasurable as error:
        return not_measured(str(error))
    except Misbehaviour as error:
        return failed(str(error))
    except UserError:
        raise
    except Exception as error:  # a fault of one check must not stop the others
        return not_measured(f"the referee's own check raises {type(error).__name__}: {error}")


def _over_contexts(verdicts: Mapping[str, Verdict]) -> Verdict:
    """The first failure with its context; else the first check not measured; else the plain one."""
    for status in ("fail", "not measured"):
        for context, verdict in verdicts.items():
            if verdict.status == status:
                evidence = f"{context}: {verdict.evidence}" if context else verdict.evidence
                return replace(verdict, evidence=evidence)
    return verdicts[""]


def _measure(subjects: Sequence[Subject], speed: bool) -> tuple[Measured, ...]:
    layers = {subject.layer_idx: subject for subject in reversed(subjects)}
    return tuple(_measure_layer(layers[i], speed) for i in sorted(layers))


def _measure_layer(subject: Subject, speed: bool) -> Measured:
    problems = []

    def attempt(name: str, measurement: Callable[[Subject], T]) -> T | None:
        try:
            return measurement(subject)
        except UserError:
            raise
        except Misbehaviour as error:
            problems.append(f"{name}: {error}")
        except Exception as error:  # a fault of one measurement must not stop the others
            problems.append(f"{name}: measuring it raises {type(error).__name__}: {error}")
        return None

    numbers = attempt("parameters", cost.parameters)
    return Measured(
        layer=subject.layer_idx,
        parameters=None if numbers is None else numbers.trained,
        frozen=None if numbers is None else numbers.frozen,
        state=attempt("state", measure_state),
        multiply_adds=attempt("multiply-adds", cost.multiply_adds),
        speed=attempt("speed", cost.speed) if speed else None,
        problems=tuple(problems),
    )
