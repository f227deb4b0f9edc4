"""A corpus keeps held-out files from training, and cuts windows that stay inside of a file."""

from pathlib import Path

import numpy
import pytest

from suite.failures import BadRequest
from suite.quality.text import corpus
from suite.quality.text.sources import SourceFile, digest_of, folder_files, package_files
from tests.suite.quality.toys import toy_corpus, toy_design, write_toy_text

DESIGN = toy_design("alibi")


def source_files(count: int, held_out: bool) -> list[SourceFile]:
    """Return files of one letter each, whose names are held out or are not."""
    letters = (chr(ord("a") + number % 26) for number in range(1000))
    files = (SourceFile(f"file{n}", next(letters) * 600) for n in range(1000))
    return [file for file in files if file.is_held_out == held_out][:count]


def test_one_file_of_ten_is_held_out_whatever_else_there_is() -> None:
    files = [SourceFile(f"pack/module{number}.py", "") for number in range(2000)]
    assert 150 < sum(file.is_held_out for file in files) < 250


def test_no_token_of_a_held_out_file_is_learned() -> None:
    learned = [SourceFile(file.name, "L" * 600) for file in source_files(20, held_out=False)]
    tested = [SourceFile(file.name, "T" * 600) for file in source_files(3, held_out=True)]
    built = corpus.build(learned + tested, 256, 50, 4)
    assert set(built.tokens.tolist()) == {ord("L")}
    assert set(built.windows.flatten().tolist()) == {ord("T")}


def test_windows_lie_one_after_another_inside_of_a_file() -> None:
    letters = [bytes(97 + (n * 7 + i * i) % 26 for i in range(600)).decode() for n in range(3)]
    tested = [
        SourceFile(file.name, text)
        for file, text in zip(source_files(3, held_out=True), letters, strict=True)
    ]
    built = corpus.build([*source_files(20, held_out=False), *tested], 256, 50, 100)
    texts = [bytes(window.astype(numpy.uint8)).decode() for window in built.windows]
    assert texts == [text[i * 50 : i * 50 + 51] for text in letters for i in range(599 // 50)]


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    built = toy_corpus(tmp_path, DESIGN)
    corpus.save(built, tmp_path / "text.npz")
    loaded = corpus.load(tmp_path / "text.npz")
    assert loaded.summary == built.summary
    assert numpy.array_equal(loaded.tokens, built.tokens)
    assert numpy.array_equal(loaded.windows, built.windows)
    assert numpy.array_equal(loaded.piece_bytes, built.piece_bytes)


def test_bytes_per_token_count_the_bytes_of_the_windows(tmp_path: Path) -> None:
    built = toy_corpus(tmp_path, DESIGN)
    sizes = built.piece_bytes[built.windows]
    assert built.summary.bytes_per_token == pytest.approx(sizes.mean(), abs=1e-4)
    assert 256 < built.summary.vocabulary <= DESIGN.size.vocabulary


def test_a_digest_differs_by_a_letter_and_by_a_name() -> None:
    digests = {
        digest_of([SourceFile(*file)]) for file in (("a", "text"), ("a", "texts"), ("at", "ext"))
    }
    assert len(digests) == 3


@pytest.mark.parametrize("files", [0, 3])
def test_a_folder_with_too_few_files_is_refused_in_words(tmp_path: Path, files: int) -> None:
    write_toy_text(tmp_path, files)
    with pytest.raises(BadRequest, match=rf"--text .*: {files} files .* give 30 or more files"):
        folder_files(tmp_path)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="not a folder"):
        folder_files(tmp_path / "missing")


def test_windows_longer_than_every_file_are_refused(tmp_path: Path) -> None:
    files = folder_files(write_toy_text(tmp_path))
    with pytest.raises(BadRequest, match="0 windows of 100000"):
        corpus.build(files, 256, 100_000, 4)


@pytest.mark.heavy
def test_the_packages_that_torch_requires_are_a_text() -> None:
    files = package_files()
    assert len(files) > 1000
    assert {file.name.split("/")[0] for file in files} == {"sympy", "networkx", "mpmath"}
    assert not any("/tests/" in file.name for file in files)
