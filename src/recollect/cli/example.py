"""One example of a task for the terminal: tokens coloured by role, answers below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from recollect.tasks.task import Role

if TYPE_CHECKING:
    from recollect.tasks.batch import Batch
    from recollect.tasks.task import Task

STYLES = {
    Role.KEY: "bold cyan",
    Role.VALUE: "green",
    Role.QUERY: "bold yellow",
    Role.MARK: "blue",
    Role.FILLER: "dim",
    Role.TEXT: "",
}
ANSWER = "bold magenta"
READS, ANSWERS = "reads   ", "answers "


def example_text(task: Task, batch: Batch, width: int) -> Text:
    """The first example of a batch, in lines of `width` characters, with a legend."""
    example = example_dict(task, batch)
    answers = dict(zip(example["positions"], example["answers"], strict=True))
    room = max(map(len, [*example["text"], *example["answers"]])) + 1
    per_line = max(1, (width - len(READS)) // room)
    lines = []
    for start in range(0, len(example["text"]), per_line):
        places = range(start, min(start + per_line, len(example["text"])))
        reads, below = Text(READS, "dim"), Text(ANSWERS, "dim")
        for place in places:
            role = Role(example["roles"][place])
            reads.append(example["text"][place].ljust(room), STYLES[role])
            below.append(answers.get(place, "").ljust(room), ANSWER)
        lines += [reads] + ([below] if any(place in answers for place in places) else [])
    return Text("\n").join([*lines, Text(), _legend(example["roles"])])


def example_dict(task: Task, batch: Batch) -> dict[str, Any]:
    """The first example of a batch as plain values."""
    roles = list(Role)
    targets = batch.targets[0].tolist()
    positions = range(len(targets)) if batch.positions is None else batch.positions[0].tolist()
    inputs = batch.inputs[0].tolist()
    return {
        "inputs": inputs,
        "positions": list(positions),
        "targets": targets,
        "roles": [roles[index].value for index in task.roles(batch)[0].tolist()],
        "text": [task.spell(token) for token in inputs],
        "answers": [task.spell(token) for token in targets],
    }


def _legend(present: list[str]) -> Text:
    legend = Text("colours ", "dim")
    for role, style in STYLES.items():
        if role.value in present:
            legend.append(f"{role.value} ", style)
    return legend.append("answer", ANSWER)
