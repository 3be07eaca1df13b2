"""`recollect tasks` and `recollect mixers`."""

import json
import re
import subprocess
import sys

import pexpect
import pytest
from typed import typed

from recollect.cli.catalogue_file import D_MODEL, mixer_entries, task_entries
from recollect.cli.measured import describe, describe_task
from recollect.mixers.catalogue import MIXERS
from recollect.mixers.patterns import PATTERNS
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import TASKS

pytestmark = pytest.mark.slow


def test_help_needs_nothing_heavy():
    code = (
        "import sys; sys.argv = ['recollect', '--help']\n"
        "from recollect.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "run" in ran.stdout
    heavy = {"torch", "numpy", "pandas", "matplotlib", "pydantic", "numba"}
    assert not heavy & set(ran.stderr.split())


@pytest.mark.parametrize(
    "command",
    [
        *(
            "run",
            "show",
            "plot",
            "tasks",
            "mixers",
            "check",
            "bench",
            "reproduce",
            "slice",
            "probe",
        ),
        *("train-lm", "sample", "export", "merge"),
    ],
)
def test_every_command_explains_itself(command):
    answer = typed(command, "--help")
    assert answer.code == 0
    assert "Usage" in answer.out


def test_the_list_of_tasks():
    answer = typed("tasks")
    for name in TASKS:
        assert name in answer.out
    assert "vocab_size=8192" in answer.out
    listed = json.loads(typed("tasks", "--json").out)
    assert [task["name"] for task in listed] == TASKS.names()


def test_a_task_is_described():
    answer = typed("tasks", "mqar")
    assert "num_kv_pairs: D, the number of pairs" in answer.out
    described = json.loads(typed("tasks", "mqar", "--json").out)
    assert described["options"]["vocab_size"] == {"default": 8192}
    assert described["options"]["seq_len"] == {}


def test_every_mixer_and_pattern_has_a_paper_and_a_description():
    mixers, patterns = [MIXERS[name] for name in MIXERS], [PATTERNS[name] for name in PATTERNS]
    for entry in (*mixers, *patterns):
        assert re.fullmatch(r"\d{4}\.\d{4,5}|[\w-]+/[\w-]+", entry.paper)
        assert entry.title
    assert all(entry.cls.__doc__ for entry in mixers)
    assert all(entry.description for entry in patterns)


def test_the_list_of_mixers():
    lines = typed("mixers").out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    for word in ("family", "arxiv", "year", "parameters", "state after 512 tokens", "step"):
        assert word in lines[0]
    attention = rows["attention"]
    assert attention.split()[:5] == ["attention", "Attention", "attention", "1706.03762", "2017"]
    assert "16,640" in attention
    assert "65,536 numbers, 262,144 bytes, linear" in attention
    assert "4,416 / 5,312" in rows["base-conv"]
    assert "512 bytes, constant / 32,768 numbers, 131,072 bytes," in rows["base-conv"]
    assert "layer pattern" in rows["griffin"]
    assert "d_model 64" in lines[-1]


def test_the_list_of_mixers_as_json():
    listed = json.loads(typed("mixers", "--json").out)
    assert [mixer["name"] for mixer in listed] == [*MIXERS, *PATTERNS]
    by_name = {mixer["name"]: mixer for mixer in listed}
    assert by_name["attention"]["measured"][0]["state"]["bytes"]["512"] == 262_144
    assert len(by_name["base-conv"]["measured"]) == 2
    assert by_name["griffin"]["layers"] == ["rg-lru", "rg-lru", "sliding-window"]


RENEW = "out of date: python -m recollect.cli.measured writes it"


@pytest.mark.parametrize("name", [*MIXERS, *PATTERNS])
def test_what_ships_is_what_is_measured(name):
    shipped = {entry["name"]: entry for entry in mixer_entries(None)}
    assert json.loads(json.dumps(describe(name, D_MODEL).to_json())) == shipped.get(name), RENEW


def test_what_ships_of_tasks_is_what_they_say():
    described = [describe_task(TASKS[name]) for name in TASKS]
    assert json.loads(json.dumps(described)) == task_entries(None), RENEW


def test_the_lists_need_no_torch():
    """So that they answer at once."""
    code = "import sys; from recollect.cli.main import main; sys.argv[1:] = ['mixers']\n"
    code += "try: main()\nexcept SystemExit: sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_mixer_is_described():
    answer = typed("mixers", "attention", "--d-model", 128)
    assert "n_heads=1" in answer.out
    assert "window: number of positions" in answer.out
    assert "softmax over s <= t of q_t . k_s" in answer.out
    assert "524,288 bytes (131,072 numbers) after 512 tokens" in answer.out
    described = json.loads(typed("mixers", "attention", "--json").out)
    assert described["d_model"] == 64
    assert described["step"] is True
    assert described["options"]["window"] == {"default": None}


def test_a_layer_pattern_is_described():
    answer = typed("mixers", "griffin")
    assert "layers         rg-lru, rg-lru, sliding-window\n" in answer.out
    assert "saturating at 63 tokens" in answer.out


@pytest.mark.parametrize("task", ["mqar", "copy", "ar"])
def test_every_task_shows_an_example(task):
    answer = typed("tasks", task, "--sample")
    assert answer.code == 0
    assert "reads" in answer.out
    assert "answers" in answer.out


def test_an_example_has_each_answer_below_its_question():
    """The value at its query, read from the lines as a person would."""
    lines = typed("tasks", "mqar", "--sample", "--set", "seq_len=16").out.splitlines()
    reads = next(line for line in lines if line.startswith("reads"))
    answers = next(line for line in lines if line.startswith("answers"))
    tokens = reads.split()[1:]
    pairs = dict(zip(tokens[0:8:2], tokens[1:8:2], strict=True))
    found = [(m.start(), m[0]) for m in re.finditer(r"v\d+", answers)]
    assert len(found) == 4
    for column, value in found:
        assert pairs[reads[column:].split()[0]] == value


def test_an_example_for_programs():
    words = ["tasks", "mqar", "--sample", "--seed", 3, "--set", "seq_len=32", "--json"]
    example = json.loads(typed(*words).out)
    batch = MQAR(seq_len=32, num_kv_pairs=4).sample(1, seed=3)
    assert example["inputs"] == batch.inputs[0].tolist()
    assert example["positions"] == batch.positions[0].tolist()
    assert example["targets"] == batch.targets[0].tolist()
    assert example["roles"][:3] == ["key", "value", "key"]


def test_an_example_is_coloured_on_a_terminal():
    words = ["-m", "recollect.cli", "tasks", "mqar", "--sample"]
    shown = pexpect.run(
        f"{sys.executable} {' '.join(words)}",
        encoding="utf-8",
        timeout=120,
        env={"TERM": "xterm-256color", "PATH": "/usr/bin:/bin"},
    )
    colours = {kind: set(re.findall(rf"\x1b\[([\d;]+)m{kind}\d+ ", shown)) for kind in ("k", "v")}
    assert len(colours["k"]) == 2  # a key, and a query
    assert len(colours["v"]) == 2  # a value, and an answer
    assert not colours["k"] & colours["v"]
