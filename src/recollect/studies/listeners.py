"""Listeners to the events of a study."""

from __future__ import annotations

import traceback
import warnings

from recollect.studies.events import Event, OnEvent


def all_of(*listeners: OnEvent) -> OnEvent:
    """Combine listeners into one that calls each, in this order."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def harmless(on_event: OnEvent) -> OnEvent:
    """Wrap a user's listener so that it cannot end a study: its first exception becomes a warning
    with the traceback, and it is not called again."""
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
                f"on_event raised an exception at {type(event).__name__}. The study continues and"
                f" does not call it again:\n{traceback.format_exc()}",
                stacklevel=2,
            )

    return tell
