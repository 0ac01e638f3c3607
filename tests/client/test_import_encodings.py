"""The encoding of a spreadsheet is told from its bytes."""

import codecs
from pathlib import Path

import pytest

from client.errors import ClientError
from client.importing.encodings import detect, python_name

LINE = "ООО «Рога и копыта»;ostap@example.com;7700000000;Черноморск, улица Малая Арнаутская\r\n"
TEXT = "name;email;tin;address\r\n" + 20 * LINE
PLAIN = "name,email\r\n" + 5000 * "Customer,someone@example.com\r\n"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (PLAIN.encode(), "utf-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-8-sig"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "utf-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16"),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), "utf-32"),
        (codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"), "utf-32"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16-be"),
        (TEXT.encode("cp1251"), "cp1251"),
        (TEXT.replace("«", "").replace("»", "").encode("cp866"), "cp866"),
        # A letter that two reads share, and one far behind what tells the encoding.
        (b"a" * 65_535 + "я".encode() + b"\n", "utf-8"),
        (PLAIN.encode() + TEXT.encode("cp1251"), "cp1251"),
        # Cut off within a letter.
        (TEXT.encode("cp1251") + b"\xd0", "cp1251"),
    ],
)
def test_an_encoding_is_told_from_marks_zeros_and_letters(
    tmp_path: Path, content: bytes, encoding: str
) -> None:
    file = tmp_path / "customers.csv"
    file.write_bytes(content)
    assert detect(file) == encoding


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode() + "Рога и копыта".encode()[:-1],  # it ends within a letter
        200 * TEXT.encode() + TEXT.encode("cp1251"),  # far behind
    ],
)
def test_a_text_that_is_nearly_utf_8_is_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "customers.csv"
    file.write_bytes(content)
    with pytest.raises(ClientError, match="--encoding"):
        detect(file)


@pytest.mark.parametrize(
    ("name", "encoding"), [("windows-1251", "cp1251"), (" UTF8 ", "utf-8"), ("KOI8-R", "koi8-r")]
)
def test_an_encoding_that_a_user_names_is_known_by_any_of_its_names(
    name: str, encoding: str
) -> None:
    assert python_name(name) == encoding


@pytest.mark.parametrize("name", ["windows-9999", "base64", "rot13", "hex", ""])
def test_what_is_no_encoding_of_texts_is_refused(name: str) -> None:
    with pytest.raises(ClientError, match="is not known"):
        python_name(name)
