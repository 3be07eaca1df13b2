"""The report page as HTML and data; `browser/` has what it does in a browser."""

import json
import re
import shlex
import sys
from html.parser import HTMLParser
from threading import Thread
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from made_frames import make_frames, with_unlearnt
from page_store import HOSTILE, NAME, made_study, make_store

import recollect as rc
from recollect.api.results import results
from recollect.cli.output import print_table
from recollect.cli.report_page import page_data, page_stand
from recollect.errors import UserError
from recollect.papers.demo import demo
from recollect.reports.page import document as document_module
from recollect.reports.page import serve as serve_module
from recollect.reports.page.commands import OWN_FUNCTION, run_command
from recollect.reports.page.document import as_json, write_page
from recollect.reports.page.look import on_dark
from recollect.reports.page.serve import PageSource, page_server
from recollect.reports.page.summary import summary
from recollect.reports.style import COLOURS, OWN_COLOURS
from recollect.studies.narrow import narrow
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.store import Store


@pytest.fixture(scope="module")
def study(made):
    """The data of the made-up study."""
    (data,) = page_data([NAME], made)
    return data


class Parts(HTMLParser):
    """The addresses, the names of the elements and the texts of the scripts of a page."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.tags, self.scripts, self.policy = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [given[name] for name in ("src", "href", "action") if name in given]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script":
            self.scripts.append(data)


def test_the_page_is_one_file_with_its_data(study, tmp_path):
    path = tmp_path / "new" / "report.html"
    write_page([study], path)
    text = path.read_text("utf-8")
    parts = Parts(text)
    assert all(address.startswith(("#", "data:")) for address in parts.addresses)
    assert parts.tags.count("script") == 3  # data, library, programs: no name has ended one
    assert "img" not in parts.tags
    assert re.search(r"url\(|@import", text[: text.index("</style>")]) is None
    assert "default-src 'none'" in parts.policy
    assert "connect-src 'none'" in parts.policy
    data = json.loads(next(script for script in parts.scripts if script.startswith("{")))
    (shown,) = data["studies"]
    assert shown == study
    assert {cell["mixer"] for cell in shown["cells"]} == {HOSTILE, "mamba", "hyena"}
    assert "vegaEmbed" in text


def test_every_number_is_that_of_the_frames_and_has_its_trials(made, study):
    cells, trials = cells_frame(made, NAME), trials_frame(made, NAME)
    for cell, row in zip(study["cells"], cells.itertuples(), strict=True):
        assert cell["test_accuracy"] == row.test_accuracy
        assert cell["learning_rate"] == row.learning_rate
    table = study["trialTable"]
    assert [row[-1] for row in table["rows"]] == trials["key"].tolist()
    tested = table["headings"].index("test accuracy")
    assert table["values"][tested] == trials["test_accuracy"].tolist()
    for place, cell in enumerate(study["cells"]):
        reported = [
            table["values"][tested][trial]
            for trial, its in enumerate(study["trialCells"])
            if its == place and study["reported"][trial]
        ]
        assert sum(reported) / len(reported) == pytest.approx(cell["test_accuracy"])
    with Store(made) as store:
        assert all(store.config(curve["key"]) for curve in study["curves"])
    assert len(study["curves"]) == sum(study["reported"])


def test_each_column_of_numbers_is_what_the_texts_round(study):
    for table in (study["cellTable"], study["trialTable"]):
        assert sum(values is not None for values in table["values"]) >= 9
        for column, values in enumerate(table["values"]):
            for row, value in zip(table["rows"], values or [], strict=False):
                text = row[column].replace(",", "")
                number = re.match(r"\D*\(?([\d.]+(e-?\d+)?)", text)
                if value is not None and not text.startswith("not learnt"):
                    assert float(number[1]) == pytest.approx(value, rel=0.06, abs=6e-4)


def test_the_summary_says_what_is_best_and_what_has_not_learnt(study):
    extent, first, _ = study["summary"]
    assert extent == "3 mixers on 2 tasks: 12 cells, all finished, from 120 trials."
    assert f"{HOSTILE} with d_model 64 at learning rate 3.16e-3" in first
    assert "Hyena with d_model 64 has not learnt in 400 steps at rates 1e-4 to 1e-2." in first


class OfMyOwn(rc.MQAR):
    """A task whose label has characters that mean something elsewhere."""

    @property
    def label(self):
        return "my_task,[red]long[/]"


TESTED = ((OfMyOwn, 96), (rc.MQAR, 256), (rc.MQAR, 192))


def test_further_test_tasks_keep_their_labels_and_their_order(tmp_path, capsys):
    tested = [kind(seq_len=n, num_kv_pairs=4) for kind, n in TESTED]
    path, study = tmp_path / "own.db", made_study(["mamba"], [32], [1]).replace(test_tasks=tested)
    make_store(path, study)
    (data,) = page_data([NAME], path)
    table = data["cellTable"]
    headings = [text for text in table["headings"] if "[" in text]
    assert headings == [f"test accuracy[{task.label}]" for task in tested]
    measured = [cell["test_accuracy"] for cell in data["cells"]]
    assert table["values"][table["headings"].index(headings[0])] == measured
    print_table(headings, [["0.9"] * 3])
    print(results(study, store=path))
    out = capsys.readouterr().out
    assert all(out.count(task.label) == 2 for task in tested)


def test_a_note_says_which_models_have_learned_positions(study):
    assert (
        f"model.positions=auto: learned positions for {HOSTILE}; none for the other mixers"
        in (study["notes"])
    )


@pytest.mark.parametrize("positions", ["learned", "rope"])
def test_a_note_says_where_learned_positions_are_untrained(positions, tmp_path):
    attention = rc.ModelConfig(mixer="attention", d_model=8, positions=positions)
    tests = [rc.Copy(min_length=k, max_length=k) for k in (3, 9)]
    longer = rc.Study(
        "longer",
        tasks=rc.Copy(min_length=2, max_length=4),
        test_tasks=tests,
        models=[attention, rc.ModelConfig(mixer="mamba", d_model=8)],
    )
    with Store(tmp_path / "new.db") as store:
        store.record_study("longer", "made", longer.cells())
    (data,) = page_data(["longer"], tmp_path / "new.db")
    note = "copy-9: longer than training, so some learned positions of attention were never trained"
    assert (note in data["notes"]) == (positions == "learned")


def test_a_note_says_which_mixers_have_untrained_weights_at_longer_tests(tmp_path):
    mixers = ["log-linear-mamba2", "long-conv", "mamba"]
    longer = rc.Study(
        "longer",
        tasks=rc.Copy(min_length=2, max_length=4),
        test_tasks=[rc.Copy(min_length=k, max_length=k) for k in (3, 9)],
        models=[rc.ModelConfig(mixer=mixer, d_model=8) for mixer in mixers],
    )
    with Store(tmp_path / "new.db") as store:
        store.record_study("longer", "made", longer.cells())
    (data,) = page_data(["longer"], tmp_path / "new.db")
    assert (
        "copy-9: longer than training, so some weights for long inputs of log-linear-mamba2,"
        " long-conv were never trained"
    ) in data["notes"]


def test_the_summary_tells_depths_apart():
    cells = with_unlearnt(make_frames(["gru"], depths=(1, 2), widths=(64,)), "gru", 64).cells
    cells.loc[1, "learnt"] = True
    assert "GRU with d_model 64 and 1 layer has not learnt" in summary(cells)[1]
    assert "GRU with d_model 64 and 2 layers at" in summary(cells)[1]


def test_the_summary_names_the_best_on_validation_data():
    """The best on test data, of many, would be too good."""
    cells = make_frames(["gru"], depths=(1, 2), widths=(64,)).cells
    cells["choice_merit"], cells["test_accuracy"] = [0.95, 0.92], [0.93, 0.94]
    about = summary(cells)[1]
    assert "GRU with d_model 64 and 1 layer at" in about
    assert "a mean test accuracy of 0.930" in about


def test_a_study_without_results_has_a_page(tmp_path):
    path, study = tmp_path / "new.db", made_study()
    with Store(path) as store:
        store.record_study(NAME, "made", study.cells())
    (data,) = page_data([NAME], path)
    assert data["summary"][1] == "mqar-64x4: no result so far."
    assert data["rates"] == data["curves"] == data["reported"] == []
    assert as_json(data)


def test_the_command_of_a_cell_of_a_shipped_study_makes_that_cell(tmp_path):
    study = demo("laptop")
    for cell in (study.cells()[3], narrow(study, seeds=1).cells()[3]):
        command, complete = run_command("demo", cell, tmp_path / "a b.db")
        words = shlex.split(command)
        assert complete
        assert words[:3] == ["recollect", "run", "demo"]
        options = dict(zip(words[3::2], words[4::2], strict=True))
        assert options["--store"] == str(tmp_path / "a b.db")
        part = narrow(
            study,
            mixers=[options["--mixers"]],
            tasks=[options["--tasks"]],
            widths=[int(options["--widths"])],
            depths=[int(options["--depths"])],
            seeds=int(options["--seeds"]) if "--seeds" in options else None,
        )
        assert part.cells() == (cell,)


def test_the_command_of_other_cells_asks_for_the_function(tmp_path):
    (cell, *_) = made_study().cells()
    command, complete = run_command(NAME, cell, tmp_path / "made.db")
    assert not complete
    assert OWN_FUNCTION in command
    changed = demo("laptop").replace(seeds=(1, 2)).cells()[0]
    assert not run_command("demo", changed, tmp_path / "made.db")[1]


@pytest.mark.parametrize("colour", [*COLOURS, *OWN_COLOURS])
def test_colours_are_seen_on_dark(colour):
    def luminance(code):
        parts = (int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    page = re.search(r"--page: light-dark\(#\w+, (#\w+)\)", document_module._asset("page.css"))
    contrast = (luminance(on_dark(colour)) + 0.05) / (luminance(page[1]) + 0.05)
    assert contrast >= 3


def test_without_its_library_the_page_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UserError, match=r"pip install '\.\[report\]'"):
        document_module._library.__wrapped__()


def test_a_server_answers_this_machine_alone_and_sends_what_is_newer(tmp_path, monkeypatch):
    monkeypatch.setattr(document_module, "_library", str)
    monkeypatch.setattr(serve_module, "REST", 0)
    path = tmp_path / "running.db"
    make_store(path, made_study(("mamba",), widths=(32,)))
    server = page_server(PageSource(lambda: page_data([NAME], path), lambda: page_stand(path)), 0)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with urlopen(f"{address}/") as page:
            assert "connect-src 'self'" in Parts(page.read().decode()).policy
        with urlopen(f"{address}/data.json") as answer:
            first = json.load(answer)
        assert len(first["studies"][0]["cells"]) == 2
        with urlopen(f"{address}/data.json?stand={first['stand']}") as answer:
            assert answer.status == 204
        make_store(path, made_study(("mamba",), widths=(32, 64)))
        with urlopen(f"{address}/data.json?stand={first['stand']}") as answer:
            assert len(json.load(answer)["studies"][0]["cells"]) == 4
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(f"{address}/data.json", headers={"Host": "elsewhere.example:80"}))
        with pytest.raises(UserError, match="cannot serve on port"):
            page_server(PageSource(list, str), server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
