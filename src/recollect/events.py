"""The events of a running study; `recollect.studies.events` gives their order and thread."""

from recollect.studies.events import (
    CellDone,
    Event,
    OnEvent,
    StudyStarted,
    TrialEnded,
    TrialRaised,
    TrialRecorded,
    TrialStarted,
)

__all__ = [
    "CellDone",
    "Event",
    "OnEvent",
    "StudyStarted",
    "TrialEnded",
    "TrialRaised",
    "TrialRecorded",
    "TrialStarted",
]
