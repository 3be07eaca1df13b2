"""Documents in every wrapping: which format is read, what is left out, and what is refused."""

import hashlib
import json
import lzma
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import UserError
from recollect.language.text_files import scan
from recollect.language.text_form import JSON, LINES, PARQUET, PLAIN

DOCUMENTS = ["the cat sat", "ein Käfer\nlief \u2028 fort", "", "猫が 😀 座った", "nul \x00 inside"]
ROWS = [json.dumps({"text": text, "meta": {"i": 7}}, ensure_ascii=False) for text in DOCUMENTS]
LINES_OF_ROWS = "\n".join([*ROWS, ""])
OBJECTS = [{"id": i, "text": text} for i, text in enumerate(DOCUMENTS)]
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path):
    found = scan(path)
    documents = list(found.texts())
    assert len(documents) == found.documents
    assert documents == list(found.texts()), "as often as one likes"
    return documents


def refused(path):
    with pytest.raises(UserError) as caught:
        scan(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "name",
    [
        *("a.jsonl", "a.ndjson", "a.jl", "a.jsonlines", "a.JSONL", "a.NdJson"),  # by suffix
        *("a.json", "a.jsonl.txt", "a", "a.log", "part-00000", "a.jsonl.1", "a.JSON"),  # by content
    ],
)
def test_json_lines_under_any_name(tmp_path, name):
    path = write(tmp_path, name, LINES_OF_ROWS)
    assert read(path) == DOCUMENTS
    assert scan(path).form == LINES
    canonical = write(tmp_path, "b.jsonl", LINES_OF_ROWS)
    assert scan(path).digest == scan(canonical).digest, "the same documents"


@pytest.mark.parametrize(
    "content",
    [
        "\r\n".join(ROWS),
        "\r".join(ROWS),
        BOM + LINES_OF_ROWS,
        "".join(f"{BOM}{row}\n" for row in ROWS),
        "\n \n" + "\n\n\t\n".join(ROWS) + "\n\n",
        json.dumps(OBJECTS),
        json.dumps(OBJECTS, indent=2, ensure_ascii=False),
        f" [\n{ROWS[0]},{','.join(ROWS[1:])}]\n",
        json.dumps(DOCUMENTS),
        "\n".join(json.dumps(each, indent=1) for each in OBJECTS),
        "\n".join(row[:-1] + ', "score": NaN, "big": -' + "9" * 5000 + "}" for row in ROWS),
        "\n".join('{"text": "not this", ' + row[1:] for row in ROWS),
    ],
    ids=[
        *(
            "crlf",
            "cr",
            "bom",
            "bom-each",
            "blank-lines",
            "array",
            "pretty-array",
            "array-of-lines",
        ),
        *("array-of-strings", "pretty-objects", "numbers", "duplicate-keys"),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.txt", "a"])
def test_rows_in_every_layout(tmp_path, name, content):
    assert read(write(tmp_path, name, content)) == DOCUMENTS


def test_strings_in_lines(tmp_path):
    content = "\n".join(map(json.dumps, DOCUMENTS))
    assert read(write(tmp_path, "a.jsonl", content)) == DOCUMENTS
    assert read(write(tmp_path, "a.json", content)) == DOCUMENTS
    quotes = '"Yes," he said.\n"No."\n'
    assert read(write(tmp_path, "a.txt", quotes)) == [quotes]


def test_one_object(tmp_path):
    """With a text it is a row; without one it is a configuration, and plain text."""
    for name in ("a.json", "a.txt", "a"):
        for indent in (None, 2):
            row = json.dumps({"title": "x", "text": "the cat"}, indent=indent)
            assert read(write(tmp_path, name, row)) == ["the cat"]
            for other in ({"name": "x", "numbers": [1, 2]}, {"text": {"a": "b"}}):
                settings = json.dumps(other, indent=indent)
                path = write(tmp_path, name, settings)
                assert read(path) == [settings]
                assert scan(path).form == PLAIN


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.py", LINES_OF_ROWS),
        ("a.txt", '{"text": "an example"}\nis how a row looks.\n'),
        ("a.txt", '{"text": "an example"}\n# heading\n{"text": "another"}\n'),
        ("a.css", "{ color: red }\n{ color: blue }\n"),
        ("a.md", '["a reference"]: http://a.org\n'),
        ("a.js", '["click", "hover"].forEach(listen)\n'),
        ("a.json", "[1, 2, [3]]"),
        ("a.json", '[{"name": "x"}]'),
        ("a.tex", "{\\bf a}\n"),
        ("a.txt", "[" * 100_000),
        ("a.csv", "id,words\n1,cat\n"),
    ],
)
def test_plain_text_is_one_document(tmp_path, name, content):
    path = write(tmp_path, name, content)
    assert (read(path), scan(path).form) == ([content], PLAIN)
    hashed = hashlib.sha256(path.suffix.encode() + content.encode()).hexdigest()
    assert scan(path).digest == hashed, "fixed, as what is kept of a text is named by it"


def test_the_digest_of_rows_is_fixed(tmp_path):
    path = write(tmp_path, "a.jsonl", BOM + LINES_OF_ROWS)
    expected = hashlib.sha256(b".jsonl" + path.read_bytes()).hexdigest()
    assert scan(path).digest == expected
    path = tmp_path / "a.PARQUET"
    pq.write_table(pa.table({"text": DOCUMENTS}), path)
    assert scan(path).digest == hashlib.sha256(b".parquet" + path.read_bytes()).hexdigest()


SPOILED = {
    "null": '{"text": null}',
    "missing": '{"words": "none"}',
    "empty object": "{}",
}


@pytest.mark.parametrize("row", SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("place", [0, 2, len(ROWS)])
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_a_row_without_a_text_is_left_out_and_counted(tmp_path, name, place, row):
    lines = [*ROWS[:place], row, *ROWS[place:]]
    found = scan(write(tmp_path, name, "\n".join(lines)))
    assert (list(found.texts()), found.left_out) == (DOCUMENTS, 1)
    array = scan(write(tmp_path, "a.json", f"[{','.join(lines)}]"))
    assert (list(array.texts()), array.left_out) == (DOCUMENTS, 1)


def test_null_in_parquet_is_left_out_and_counted(tmp_path):
    digests = set()
    for i, texts in enumerate(([None, *DOCUMENTS], ["", *DOCUMENTS], DOCUMENTS)):
        path = tmp_path / f"{i}.parquet"
        pq.write_table(pa.table({"text": texts}), path)
        found = scan(path)
        assert list(found.texts()) == [text for text in texts if text is not None]
        assert found.left_out == texts.count(None)
        digests |= {found.digest, hashlib.sha256(b".parquet" + path.read_bytes()).hexdigest()}
    assert len(digests) == 4, "the digest of rows read without nulls is another one"


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.jsonl", '{"text": null}\n{"words": "x"}\n', ["no row of", '{"words": "x"}']),
        ("a.txt", '{"content": "a"}\n{"content": "b"}\n', ["no row of", '{"content": "b"}']),
        ("a.json", '[{"content": "a"}, {"content": "b"}]', ["no row of", "content"]),
        ("a.jsonl", "[]", ["has no rows: expected rows such as"]),
        ("a.jsonl", " \n", ["has no rows"]),
        ("a.json", "[ ]\n", ["has no rows"]),
        ("a.json", '{"text": ["a", "b"]}', ["row 1", "no string"]),
        ("a.json", '[{"text": ["a"]}]', ["row 1", "no string"]),
        ("a.json", '{\n "id": 1,\n "text": []\n}', ["row 1", "no string"]),
        ("a.jsonl", ROWS[0] + '\n{"text": 12}\n', ["line 2", '{"text": 12}', "no string"]),
        ("a.txt", ROWS[0] + '\n\n{"text": ["a"]}\n', ["line 3", "no string"]),
        ("a.json", f'[{ROWS[0]}, {{"text": 1.5}}]', ["row 2", "no string"]),
        ("a.jsonl", f"{ROWS[0]}\nnull\n", ["line 2", "no string"]),
        ("a.jsonl", f"{ROWS[0]}\n[1]\n", ["line 2", "no string"]),
        ("a.jsonl", ROWS[0] + '\n{"text": "half \\ud83d"}', ["line 2", "half a surrogate pair"]),
        ("a.json", '["half \\ude00"]', ["row 1", "half a surrogate pair"]),
        ("a.jsonl", f"{ROWS[0]}\n{ROWS[1][:-9]}", ["line 2", "expected JSON such as"]),
        ("a.txt", f"{ROWS[0]}\n{ROWS[0][:-9]}", ["line 2", "expected JSON such as"]),
        ("a.json", json.dumps(OBJECTS, indent=1)[:-20], ["expected JSON such as"]),
        ("a", json.dumps(OBJECTS)[:-20], ["line 1", "expected JSON such as"]),
        ("a.json", '{"title": "x", "text": "a docu', ["line 1", "expected JSON such as"]),
        ("a.json", json.dumps(OBJECTS) + " more", ["more behind the array"]),
        ("a.jsonl", ROWS[0] + '\n{"text": "x", "m": ' + "[" * 10**5, ["line 2", "too deeply"]),
        ("a.json", "[" * 10**5 + "]" * 10**5, ["line 1", "too deeply"]),
        ("a.jsonl", '{"m": ' + '{"a":' * 10**5 + "1" + "}" * 10**5 + "}", ["too deeply"]),
        ("a.jsonl", ROWS[0] + '\n{"text": "raw \x00"}\n', ["line 2 has NUL bytes"]),
        ("a.txt", "nul\nin \x00 text", ["line 2 has NUL bytes"]),
        ("a.txt", "x" * 10**5 + "\n\x00", ["line 2 has NUL bytes"]),
        ("a.txt", "plain".encode("utf-16-le"), ["NUL bytes", "UTF-16"]),
        ("a.txt", "plain".encode("utf-16"), ["UTF-16", "iconv"]),
        ("a.txt", BOM.encode("utf-16-be") + "plain".encode("utf-16-be"), ["UTF-16", "iconv"]),
        ("a.txt", "plain".encode("utf-32"), ["UTF-32", "iconv"]),
        ("a.jsonl", LINES_OF_ROWS.encode("utf-16"), ["UTF-16", "iconv"]),
        ("a.txt", "it’s".encode("cp1252"), ["not UTF-8", "0x92"]),
        ("a.jsonl", '{"text": "a"}\n{"text": "Käfer"}'.encode("latin-1"), ["not UTF-8", "line 2"]),
        ("a.txt", BOM, ["is empty"]),
        ("a.jsonl", b"", ["is empty"]),
        ("a.csv", 'id,"text"\r\n1,"a, b"\r\n', ["table", "'text'", "to_json"]),
        ("a.TSV", "text\tid\na\t1\n", ["table", "to_json"]),
        ("a.csv", "id;text\n1;a, b\n", ["table", "'text'", "to_json"]),
        ("a.csv", '"text"|"id"\n"a"|1\n', ["table", "to_json"]),
        ("a.csv", "id\ttext\n1\ta\n", ["table", "to_json"]),
        ("a.docx", b"PK\x03\x04 and more", ["a zip archive", "unpack it first"]),
        ("a.tar", b"a.txt".ljust(257, b"\0") + b"ustar  \0", ["a tar archive", "unpack"]),
        ("a.7z", b"7z\xbc\xaf\x27\x1c\0\4", ["a 7z archive", "unpack"]),
        ("a.arrow", b"ARROW1\0\0\xff\xff", ["an Arrow file", "Parquet"]),
        ("a.txt.lzma", lzma.compress(b"a", lzma.FORMAT_ALONE), ["compressed with lzma", "unpack"]),
        ("a.lz4", b"\x04\x22\x4d\x18abc", ["compressed with lz4", "unpack"]),
        ("a.parquet", "no such thing", ["damaged or not a Parquet"]),
    ],
)
def test_what_is_refused_says_why(tmp_path, name, content, parts):
    message = refused(write(tmp_path, name, content))
    for part in parts:
        assert part in message


def of_type(kind):
    return pa.array(DOCUMENTS).cast(kind)


class Marked(pa.ExtensionType):
    """Strings under another name."""

    def __init__(self):
        super().__init__(pa.string(), "recollect.tests.marked")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        return cls()


COLUMNS = {
    "large_string": of_type(pa.large_string()),
    "string_view": of_type(pa.string_view()),
    "dictionary": of_type(pa.string()).dictionary_encode(),
    "large_dictionary": of_type(pa.large_string()).dictionary_encode(),
    "binary": of_type(pa.binary()),
    "large_binary": of_type(pa.large_binary()),
    "extension": pa.ExtensionArray.from_storage(Marked(), of_type(pa.string())),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("name", ["a.parquet", "a.PARQUET", "a.pq", "a.data", "a"])
def test_a_parquet_column_of_strings_of_any_type(tmp_path, kind, name):
    if kind == "extension":
        pa.register_extension_type(Marked())
    try:
        pq.write_table(pa.table({"id": range(5), "text": COLUMNS[kind]}), tmp_path / name)
        assert read(tmp_path / name) == DOCUMENTS
        assert scan(tmp_path / name).form == PARQUET
    finally:
        if kind == "extension":
            pa.unregister_extension_type("recollect.tests.marked")


@pytest.mark.parametrize(
    ("column", "parts"),
    [
        (pa.array([["a"]]), ["list<", "expected strings"]),
        (pa.array([{"raw": "a"}]), ["struct<", "expected strings"]),
        (pa.array([1, 1]).dictionary_encode(), ["int64", "expected strings"]),
        (pa.array([None, None]), ["no row of"]),
        (pa.array([None, None], pa.string()), ["no row of"]),
        (pa.array([], pa.string()), ["no row of"]),
        (pa.array([b"\xff"]), ["row 0", "'text' holds bytes that are not UTF-8"]),
        (pa.array([b"a", "Käfer".encode("latin-1")]), ["row 1", "not UTF-8; expected strings"]),
    ],
)
def test_a_parquet_column_of_something_else(tmp_path, column, parts):
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    message = refused(tmp_path / "a.parquet")
    for part in parts:
        assert part in message


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refused(tmp_path / "pipe")


texts_of_a_row = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(texts_of_a_row, min_size=1, max_size=6).filter(any),
    st.sampled_from(["a.jsonl", "a.json", "a.txt"]),
    st.booleans(),
    st.sampled_from(["lines", "array", "pretty"]),
)
def test_whatever_a_row_says_is_its_document(tmp_path_factory, texts, name, ascii_only, layout):
    folder = tmp_path_factory.mktemp("rows")
    rows = [{"id": 0, "text": text} for text in texts]
    options = {"ensure_ascii": ascii_only, "indent": 1 if layout == "pretty" else None}
    content = (
        "\n".join(json.dumps(row, **options) for row in rows)
        if layout == "lines"
        else json.dumps(rows, **options)
    )
    found = scan(write(folder, name, content))
    assert found.form == (LINES if layout == "lines" else JSON)
    assert list(found.texts()) == [text for text in texts if text is not None]
    assert found.left_out == texts.count(None)
