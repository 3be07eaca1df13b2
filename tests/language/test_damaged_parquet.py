"""Damaged Parquet is refused; with checksums it never is another text."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recollect.errors import UserError
from recollect.language.text_files import scan

DOCUMENTS = [f"document {i} " * 30 for i in range(40)]


def parquet(**options):
    file = io.BytesIO()
    pq.write_table(pa.table({"id": range(40), "text": DOCUMENTS}), file, **options)
    return file.getvalue()


def read(path, content):
    """The texts, or the message where there are none."""
    path.write_bytes(content)
    try:
        return list(scan(path).texts())
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("compression", ["snappy", "none"])
def test_any_byte_flipped(tmp_path, compression, checksum):
    whole = parquet(write_page_checksum=checksum, compression=compression, row_group_size=15)
    path, refused = tmp_path / "a.parquet", 0
    for place in range(3, len(whole), len(whole) // 60):
        found = read(path, whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        if isinstance(found, str):
            assert found.startswith(str(path))
            assert "\n" not in found
            refused += 1
        elif checksum:
            assert found == DOCUMENTS
        else:  # nothing tells another letter from the right one
            assert len(found) == len(DOCUMENTS)
    assert refused > 5


def test_cut_off(tmp_path):
    whole = parquet()
    for length in (4, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        assert "damaged or not a Parquet" in read(tmp_path / "a.parquet", whole[:length])
