"""Decoding of bytes: UTF-8 is read, everything else is refused with a reason."""

from __future__ import annotations

from pathlib import Path

from recollect.errors import UserError

BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
"""Byte order mark, with which some programs begin a file."""
UTF_16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
"""Byte order marks of other encodings; that of little-endian UTF-32 begins with the first."""


PACKED = {
    b"PK\x03\x04": "a zip archive, as .docx and .epub are too",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"ARROW1\0\0": "an Arrow file",
    b"]\0\0": "compressed with lzma in its old form",
    b"\x04\x22\x4d\x18": "compressed with lz4",
    b"\x1f\x9d": "compressed with compress",
}
"""First bytes of archives and compressed files that are not read."""
TAR, TAR_PLACE = b"ustar", 257
"""Mark of a tar archive, and its offset."""


class NotTextError(UserError):
    """The file holds no text; in a folder it is skipped.

    Args:
        message: message for users who name this file.
        kind: short reason, by which skipped files are counted.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def decoded(part: bytes, path: Path, line: int = 1) -> str:
    """Decode bytes of a file, without a leading byte order mark.

    Args:
        part: the whole file, or a line of it.
        path: the file.
        line: number of the first line of `part`, from 1.

    Raises:
        NotTextError: for NUL bytes, and bytes that are not UTF-8.
    """
    if b"\0" in part:
        line += part.count(b"\n", 0, part.index(b"\0"))
        raise NotTextError(
            f"{path} is binary or UTF-16: line {line} has NUL bytes; expected UTF-8 (iconv converts"
            " UTF-16)",
            "binary",
        )
    try:
        return part.decode().removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        line += part.count(b"\n", 0, error.start)
        raise NotTextError(
            f"{path} is not UTF-8: line {line} has the byte 0x{part[error.start]:02x}; convert it,"
            " with iconv for instance",
            "not UTF-8",
        ) from None


def check_beginning(head: bytes, path: Path) -> None:
    """Refuse a file by its first bytes.

    Raises:
        NotTextError: if it is empty, binary, an archive, or marked as UTF-16 or UTF-32.
    """
    if not head.removeprefix(BYTE_ORDER_MARK.encode()):
        raise NotTextError(f"{path} is empty: expected text", "empty")
    packed = [kind for magic, kind in PACKED.items() if head.startswith(magic)]
    if head.startswith(TAR, TAR_PLACE):
        packed = ["a tar archive"]
    if packed:
        raise NotTextError(
            f"{path} is {packed[0]}, which is not read: unpack it first, or convert it to Parquet"
            " or JSON lines",
            "binary",
        )
    if head.startswith(UTF_16_OR_32):
        raise NotTextError(
            f"{path} is not UTF-8 but UTF-16 or UTF-32: convert it, with iconv for instance",
            "UTF-16 or UTF-32",
        )
    decoded(head[: head.rfind(b"\0") + 1], path)  # refuses a NUL byte only
