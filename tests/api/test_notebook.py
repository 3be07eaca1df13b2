"""A study in a notebook, executed as a reader would."""

from base64 import b64decode
from io import BytesIO
from pathlib import Path

import matplotlib.image
import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

CELLS = {
    "write": """%%writefile mine.py
from torch import nn

class Mine(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.linear(x.cumsum(dim=1))
""",
    "run": """
import recollect as rc
from mine import Mine

study = rc.Study(
    "small",
    tasks=rc.MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16),
    models=rc.models_grid(Mine, d_model=[8, 16], n_layers=1),
    train=rc.TrainConfig(steps=4, batch_size=8, eval_every=2, valid_examples=8, test_examples=8),
    search=rc.FixedGrid(rates=[1e-3]),
    seeds=[1, 2],
)
results = rc.run(study, workers=1)
""",
    "table": "results",
    "figure": """results.plot("training")""",
    "typed": """
from torch import nn

class Typed(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.linear(x)

rc.run(study.replace(models=rc.models_grid(Typed, d_model=8)))
""",
}


def executed(folder: Path) -> dict[str, list]:
    """The outputs of each cell."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
    cells[-1].metadata["tags"] = ["raises-exception"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(folder)}}).execute()
    return dict(zip(CELLS, [cell.outputs for cell in cells], strict=True))


def test_a_study_in_a_notebook(tmp_path: Path):
    """One test, as a kernel takes seconds to start."""
    outputs = executed(tmp_path)
    assert (tmp_path / "recollect.db").exists(), "the store is beside the notebook"

    (progress,) = outputs["run"]  # one output, whatever it showed on the way
    assert progress.output_type == "display_data"
    assert progress.data["text/plain"].startswith("2 of 2 cells, 4 trials in ")
    assert "2 of 2 cells, 4 trials in " in progress.data["text/html"]

    (table,) = outputs["table"]
    shown = table.data["text/html"]
    assert shown.startswith("<table>")
    assert shown.count('<td style="text-align: left">Mine</td>') == 2
    assert shown.count("not learnt in 4 steps at rate 1e-3 (") == 2

    (figure,) = outputs["figure"]
    assert figure.output_type == "execute_result"
    image = matplotlib.image.imread(BytesIO(b64decode(figure.data["image/png"])))
    assert image.std() > 0

    (error,) = outputs["typed"]
    assert error.ename == "UserError"
    assert "begins with %%writefile mine.py" in error.evalue
