"""The events of a running study, see `recollect.studies.events`: in which order they come, and in
which thread."""

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
