"""Those who are told what happens in a study."""

from __future__ import annotations

import traceback
import warnings

from recollect.studies.events import Event, OnEvent


def all_of(*listeners: OnEvent) -> OnEvent:
    """Tells each listener, in this order."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def harmless(on_event: OnEvent) -> OnEvent:
    """A user's listener, which cannot end a study: the first exception that it raises becomes a
    warning with its traceback, and it is told nothing more."""
    has_raised = False

    def tell(event: Event) -> None:
        nonlocal has_raised
        if has_raised:
            return
        try:
            on_event(event)
        except Exception:
            has_raised = True
            warnings.warn(
                f"on_event has raised at {type(event).__name__} and is told no more of this study,"
                f" which goes on:\n{traceback.format_exc()}",
                stacklevel=2,
            )

    return tell
