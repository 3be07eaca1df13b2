"""Models in folders: code that came with one is not run."""

import json
import sys

import pytest
from tiny_models import ours

from recollect.errors import UserError
from recollect.language.model_folder import CONFIG_FILE, read_shape


@pytest.mark.parametrize("mixer", ["evil:Evil", "bundle.evil:Evil", "bundle.model.evil:Evil"])
def test_code_that_came_with_a_model_is_not_run(mixer, tmp_path, monkeypatch):
    """Whether it is told to lie in the folder, beside it, or in the one above."""
    folder, _ = ours(tmp_path / "bundle" / "model")
    for place in (folder, folder.parent):
        (place / "evil.py").write_text("raise SystemExit('it runs')")
    monkeypatch.chdir(folder if mixer == "evil:Evil" else tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, ""])
    stored = json.loads((folder / CONFIG_FILE).read_text())
    for form in (["base-conv", {"mixer": mixer}], {"mixer": mixer}, [mixer], mixer):
        stored["model"]["mixer"] = form
        (folder / CONFIG_FILE).write_text(json.dumps(stored))
        with pytest.raises(UserError, match=f"the code of the mixer {mixer!r} lies with the model"):
            read_shape(folder)


@pytest.mark.parametrize("mixer", ["{folder}/evil.py:Evil", "evil.py:Evil"])
def test_a_model_names_no_file_to_run(mixer, tmp_path, monkeypatch):
    folder, _ = ours(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('it runs')")
    stored = json.loads((folder / CONFIG_FILE).read_text())
    stored["model"]["mixer"] = mixer.format(folder=tmp_path)
    (folder / CONFIG_FILE).write_text(json.dumps(stored))
    with pytest.raises(UserError, match="files are not run"):
        read_shape(folder)
