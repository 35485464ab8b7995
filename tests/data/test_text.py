"""Checks that a file becomes clean lines, what was dropped is counted, and errors name file, line and cause."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from makemore.data.text import Cleaning, clean, lines_of, read_text
from makemore.errors import UserError
from makemore.system.files import PROJECT_ROOT


def write(directory: Path, raw: bytes) -> Path:
    path = directory / "text.txt"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("raw", "lines", "cleaning"),
    [
        pytest.param("emma\nolivia\n", ["emma", "olivia"], Cleaning(), id="nothing to clean"),
        pytest.param("emma\nolivia", ["emma", "olivia"], Cleaning(), id="no final newline"),
        pytest.param("\ufeffemma\nava\n", ["emma", "ava"], Cleaning(byte_order_marks=1), id="byte order mark"),
        pytest.param("emma\r\nava\r\n", ["emma", "ava"], Cleaning(carriage_returns=2), id="CRLF"),
        pytest.param("emma\r\nava\r", ["emma", "ava"], Cleaning(carriage_returns=2), id="CR at the end of the file"),
        pytest.param(" emma \n\tava\nmia  \n", ["emma", "ava", "mia"], Cleaning(edge_spaces=3), id="edge spaces"),
        pytest.param("emma \r\n", ["emma"], Cleaning(carriage_returns=1, edge_spaces=1), id="space before CRLF"),
        pytest.param("\u00a0emma\u3000\n", ["emma"], Cleaning(edge_spaces=1), id="NBSP and ideographic space"),
        pytest.param("new york\nsan\u00a0jose\n", ["new york", "san\u00a0jose"], Cleaning(), id="inner spaces stay"),
        pytest.param("\n\nemma\n\n\nava\n\n", ["emma", "ava"], Cleaning(blank_lines=5), id="blank lines"),
        pytest.param("emma\n \t\nava\n", ["emma", "ava"], Cleaning(edge_spaces=1, blank_lines=1), id="line of spaces"),
        pytest.param("emma\r\n\r\n", ["emma"], Cleaning(carriage_returns=2, blank_lines=1), id="blank line with CRLF"),
        pytest.param("em\u2028ma\nava\n", ["em\u2028ma", "ava"], Cleaning(), id="U+2028 ends no line"),
        pytest.param("em\u2029ma\n", ["em\u2029ma"], Cleaning(), id="U+2029 ends no line"),
        pytest.param("item\t1\nitem\t2\n", ["item\t1", "item\t2"], Cleaning(), id="a tab is a character"),
        pytest.param("a\tb\r\n\tc\t\n", ["a\tb", "c"], Cleaning(0, 1, 1), id="tabs at edges are spaces there"),
        pytest.param("a\ufeffb\n\ufeffc\n", ["a\ufeffb", "\ufeffc"], Cleaning(), id="U+FEFF inside the file"),
        pytest.param("\u05d0\u200f!\n\u202eb\n", ["\u05d0\u200f!", "\u202eb"], Cleaning(), id="signs of direction"),
        pytest.param("\ue000\U000f0000\ufffe\n", ["\ue000\U000f0000\ufffe"], Cleaning(), id="private use"),
        pytest.param("👩‍👧\n🇫🇷a\n", ["👩‍👧", "🇫🇷a"], Cleaning(), id="emoji"),
        pytest.param("a.b\n.\n", ["a.b", "."], Cleaning(), id="a dot is a character"),
        pytest.param(
            "\ufeff emma\r\n\r\nava", ["emma", "ava"], Cleaning(1, 2, 1, 1), id="everything at once, each counted"
        ),
    ],
)
def test_lines_and_what_was_dropped(tmp_path: Path, raw: str, lines: list[str], cleaning: Cleaning) -> None:
    text = read_text(write(tmp_path, raw.encode()))
    assert text.lines() == lines
    assert "".join(text.chunks) == "".join(f"{line}\n" for line in lines)
    assert text.cleaning == cleaning


@pytest.mark.parametrize(
    ("raw", "max_length", "lines", "dropped"),
    [
        pytest.param("abc\nabcd\nab\n", 3, ["abc", "ab"], 1, id="one too long"),
        pytest.param("abc\nabcd\nab\n", 4, ["abc", "abcd", "ab"], 0, id="none too long"),
        pytest.param("abcd\nab\nabcde", 2, ["ab"], 2, id="first and last, without a final newline"),
        pytest.param("  abc  \r\n", 3, ["abc"], 0, id="counted after cleaning"),
        pytest.param("Zoe\u0308\n", 3, ["Zo\u00eb"], 0, id="counted after normalisation"),
        pytest.param("👩👩\nééé\n", 2, ["👩👩"], 1, id="characters, not bytes"),
        pytest.param("ab\n", 10**30, ["ab"], 0, id="a limit beyond any file"),
    ],
)
def test_lines_beyond_max_length_are_dropped_and_counted(
    tmp_path: Path, raw: str, max_length: int, lines: list[str], dropped: int
) -> None:
    text = read_text(write(tmp_path, raw.encode()), max_length=max_length)
    assert text.lines() == lines
    assert text.cleaning.long_lines == dropped


def test_a_text_of_long_lines_alone_names_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path, b"abcd\n\nabcde\n")
    with pytest.raises(UserError, match=r"all its lines have more than data\.max_length=3 characters") as caught:
        read_text(path, max_length=3)
    assert str(path) in str(caught.value)


def test_a_line_of_ten_megabytes_is_dropped_and_counted(tmp_path: Path) -> None:
    text = read_text(write(tmp_path, b"emma\n" + b"x" * 10**7 + b"\nava\n"), max_length=1000)
    assert text.lines() == ["emma", "ava"]
    assert text.cleaning == Cleaning(long_lines=1)


@given(
    raw=st.text(alphabet="ab \u00e9\u0308\u3000\r\n\n", max_size=60),
    max_length=st.integers(1, 8),
    chunk_bytes=st.integers(0, 40),
)
@settings(max_examples=300)
def test_what_max_length_leaves_is_what_is_short_enough(raw: str, max_length: int, chunk_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("makemore.data.text._CHUNK_BYTES", chunk_bytes)
        try:
            chunks, cleaning = clean(raw.encode(), "it", "NFC")
        except UserError:
            return
        lines = lines_of(chunks)
        short = [line for line in lines if len(line) <= max_length]
        if not short:
            with pytest.raises(UserError, match=r"data\.max_length"):
                clean(raw.encode(), "it", "NFC", max_length)
            return
        limited, counted = clean(raw.encode(), "it", "NFC", max_length)
    assert lines_of(limited) == short
    assert counted == replace(cleaning, long_lines=len(lines) - len(short))


def test_counts_are_reported_by_name_and_zeros_are_not() -> None:
    assert str(Cleaning()) == ""
    shown = str(Cleaning(carriage_returns=32033, blank_lines=1, long_lines=2))
    assert "2 long lines" in shown
    assert "32,033 carriage returns" in shown
    assert "1 blank lines" in shown
    assert "mark" not in shown
    assert "space" not in shown


@pytest.mark.parametrize(
    ("form", "line"),
    [("NFC", "Zo\u00eb\ufb01"), ("NFD", "Zoe\u0308\ufb01"), ("NFKC", "Zo\u00ebfi"), ("NFKD", "Zoe\u0308fi")],
)
@pytest.mark.parametrize("written", ["Zo\u00eb\ufb01", "Zoe\u0308\ufb01"])
def test_composed_and_decomposed_spellings_become_one(tmp_path: Path, written: str, form: str, line: str) -> None:
    assert read_text(write(tmp_path, written.encode()), form).lines() == [line]


def test_normalisation_is_nfc_unless_told_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path, b"Zoe\xcc\x88\n")
    assert read_text(path).lines() == ["Zo\u00eb"]
    assert read_text(path, None).lines() == ["Zoe\u0308"]


def test_spaces_that_normalisation_makes_are_stripped_too(tmp_path: Path) -> None:
    # NFKC turns the em space and the NBSP into plain spaces
    assert read_text(write(tmp_path, "\u2003a\u00a0b\u2003\n".encode()), "NFKC").lines() == ["a b"]


@pytest.mark.parametrize(
    ("raw", "line", "code"),
    [
        pytest.param("emma\nol\x00via\n", 2, "U+0000", id="NUL"),
        pytest.param("emma\nol\x0bvia\n", 2, "U+000B", id="vertical tab"),
        pytest.param("emma\n\nol\x0cvia\n", 3, "U+000C", id="form feed, after a blank line"),
        pytest.param("emma\nol\x1cvia\n", 2, "U+001C", id="file separator"),
        pytest.param("emma\nol\x1bvia\n", 2, "U+001B", id="escape"),
        pytest.param("emma\nol\x7fvia\n", 2, "U+007F", id="delete"),
        pytest.param("emma\nol\x85via\n", 2, "U+0085", id="next line"),
        pytest.param("emma\x0b\nava\n", 1, "U+000B", id="at a line's edge, where str.strip would drop it"),
        pytest.param("\x85emma\nava\n", 1, "U+0085", id="at the start"),
        pytest.param("emma\rolivia\rava\r", 1, "U+000D", id="lone carriage returns"),
        pytest.param("emma\r\r\nava\r\n", 1, "U+000D", id="two carriage returns"),
        pytest.param("emma\nava\x1a", 2, "U+001A", id="without a final newline"),
    ],
)
def test_control_characters_are_errors_naming_the_line(tmp_path: Path, raw: str, line: int, code: str) -> None:
    path = write(tmp_path, raw.encode())
    with pytest.raises(UserError) as caught:
        read_text(path)
    message = str(caught.value)
    assert str(path) in message
    assert f"line {line} " in message
    assert code in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        pytest.param(
            "emma\n".encode("utf-16-le"), "as UTF-16 and files that are no text have; save it as UTF-8", id="16"
        ),
        pytest.param(b"em\0ma\n", "or name another file", id="NUL"),
        pytest.param(b"emma\rava\r", "as line ends of old Macs are; end lines with a newline", id="CR"),
        pytest.param("l\x92eau\n".encode(), "as Windows-1252 read as Latin-1 has; save the original", id="C1"),
        pytest.param(b"\x1b[31mred\n", "which no text has; is it a text file?", id="escape"),
    ],
)
def test_a_control_character_says_where_it_may_come_from(raw: bytes, cause: str) -> None:
    with pytest.raises(UserError, match="has the control character") as caught:
        clean(raw, "it", "NFC")
    assert cause in str(caught.value)


OTHERS = (0x2028, 0x2029, 0xFEFF, 0xE000, 0x301, 0x200F, 0x202E)


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), *OTHERS])
def test_of_control_characters_the_tab_alone_is_text(code: int) -> None:
    raw = f"a{chr(code)}b\n".encode()
    if code in OTHERS or chr(code) in "\t\n":
        assert clean(raw, "it", None) == ([raw.decode()], Cleaning())
    else:
        with pytest.raises(UserError, match=rf"line 1 has the control character U\+{code:04X}, "):
            clean(raw, "it", None)


@pytest.mark.parametrize(
    ("raw", "line", "byte", "value"),
    [
        pytest.param(b"em\xffma\n", 1, 3, "0xff", id="never a byte of UTF-8"),
        pytest.param("emma\nZoë\n".encode("latin-1"), 2, 3, "0xeb", id="Latin-1"),
        pytest.param("Zoë\nZoë".encode() + b"\xc3", 2, 5, "0xc3", id="broken off; bytes are counted, not characters"),
        pytest.param("emma\n".encode("utf-16"), 1, 1, "0xff", id="UTF-16"),
        pytest.param(b"emma\nab\xed\xa0\x80\n", 2, 3, "0xed", id="surrogate"),
        pytest.param(b"\n\n\x80", 3, 1, "0x80", id="first byte of a line"),
    ],
)
def test_invalid_utf8_is_an_error_naming_line_and_byte(
    tmp_path: Path, raw: bytes, line: int, byte: int, value: str
) -> None:
    path = write(tmp_path, raw)
    with pytest.raises(UserError, match=f"line {line}, byte {byte} .*{value}") as caught:
        read_text(path)
    assert str(path) in str(caught.value)
    assert "UTF-8" in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"\n", b"\n\n\n", b" \n\t\n\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_a_file_without_text_is_an_error(tmp_path: Path, raw: bytes) -> None:
    path = write(tmp_path, raw)
    with pytest.raises(UserError, match="no text") as caught:
        read_text(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_directory_are_errors_naming_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.txt: no such file"):
        read_text(tmp_path / "absent.txt")
    with pytest.raises(UserError, match="is a directory"):
        read_text(tmp_path)


@pytest.mark.parametrize("path", ["x" * 300, "~no-such-user/names.txt", "a\0b"])
def test_impossible_paths_are_user_errors(path: str) -> None:
    with pytest.raises(UserError):
        read_text(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, b"emma\n")
    path.chmod(0)
    with pytest.raises(UserError, match="cannot be read"):
        read_text(path)


def test_digest_is_of_the_bytes_as_they_are(tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbfemma\r\n\r\nava"
    assert read_text(write(tmp_path, raw)).sha256 == hashlib.sha256(raw).hexdigest()


def test_relative_paths_are_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read_text("data/names.txt")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "names.txt").write_text("mine\n")
    assert read_text("data/names.txt").path == tmp_path / "data" / "names.txt"


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "names.txt").write_text("mine\n")
    assert read_text("~/names.txt").lines() == ["mine"]


def test_the_names_of_2018_are_clean() -> None:
    text = read_text(PROJECT_ROOT / "data" / "names.txt")
    assert len(text.lines()) == 32257
    assert text.lines()[:5] == ["emma", "olivia", "ava", "isabella", "sophia"]
    assert text.cleaning == Cleaning()


def slow_clean(raw: str) -> tuple[list[str], Cleaning]:
    """One line after another, one character after another; edge spaces are blanks, NBSP and U+3000 here."""
    lines, marks, returns, spaces, blanks = [], 0, 0, 0, 0
    if raw[:1] == "\ufeff":
        raw, marks = raw[1:], 1
    parts = raw.split("\n")
    for line in parts[:-1] if parts[-1] == "" and len(parts) > 1 else parts:
        rest = line
        if rest.endswith("\r"):
            rest, returns = rest[:-1], returns + 1
        width = len(rest)
        while rest and rest[0] in " \u00a0\u3000":
            rest = rest[1:]
        while rest and rest[-1] in " \u00a0\u3000":
            rest = rest[:-1]
        spaces += len(rest) < width
        if rest == "":
            blanks += 1
        else:
            lines.append(rest)
    return lines, Cleaning(marks, returns, spaces, blanks)


@given(raw=st.text(alphabet="ab. \u00a0\u3000\u2028\r\n\n\n\ufeffé", max_size=30), chunk_bytes=st.integers(0, 40))
@example(raw="\ufeff\na", chunk_bytes=0)
@example(raw="a\r", chunk_bytes=0)
@settings(max_examples=500)
def test_any_text_is_cleaned_as_line_by_line_in_chunks_of_any_size(raw: str, chunk_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("makemore.data.text._CHUNK_BYTES", chunk_bytes)
        check_cleaning(raw)


def check_cleaning(raw: str) -> None:
    lines, cleaning = slow_clean(raw)
    if any("\r" in line for line in lines):
        with pytest.raises(UserError, match=r"U\+000D"):
            clean(raw.encode(), "it", None)
    elif not lines:
        with pytest.raises(UserError, match="no text"):
            clean(raw.encode(), "it", None)
    else:
        chunks, found = clean(raw.encode(), "it", None)
        assert "".join(chunks) == "".join(f"{line}\n" for line in lines)
        assert all(chunk.endswith("\n") for chunk in chunks)
        assert found == cleaning


def test_what_is_wrong_in_a_later_chunk_is_named_by_its_line_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makemore.data.text._CHUNK_BYTES", 4)
    with pytest.raises(UserError, match=r"line 5 has the control character U\+0001"):
        clean(b"emma\n\n\nava\nm\x01a\nmia\n", "it", None)
    with pytest.raises(UserError, match=r"line 5, byte 2 is not UTF-8 \(0xff\)"):
        clean(b"emma\n\n\nava\nm\xffa\nmia\n", "it", None)


@given(raw=st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n\t"), min_size=1))
def test_clean_text_stays_as_it_is(raw: str) -> None:
    try:
        chunks, _ = clean(raw.encode(), "it", "NFC")
    except UserError:
        return
    content = "".join(chunks)
    # a byte order mark is one at the start of the file alone, so a second one would be found now
    if not content.startswith("\ufeff"):
        assert clean(content.encode(), "it", "NFC") == ([content], Cleaning())
