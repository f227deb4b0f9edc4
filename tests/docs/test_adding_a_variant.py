"""docs/adding-a-variant.md, followed to the letter in a copy of the tree."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def copy_of_the_tree(folder: Path) -> None:
    """Copy what git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def test_the_worked_example_ends_with_an_agreeing_variant(tmp_path: Path) -> None:
    copy_of_the_tree(tmp_path)
    page = (ROOT / "docs" / "adding-a-variant.md").read_text()
    (file_name,) = re.findall(r"Save this as `(.+?)`", page)
    (catalog, above) = re.findall(r"In `(.+?)`, below the line of `(.+?)`", page)[0]
    source, line = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (commands,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)

    (tmp_path / file_name).write_text(source)
    before = (tmp_path / catalog).read_text()
    after = re.sub(rf'(    Variant\("{above}".*\n)', rf"\1{line}", before)
    assert after != before
    (tmp_path / catalog).write_text(after)
    outputs = []
    for command in commands.splitlines():
        words = shlex.split(command)
        assert words[0] == "python"
        done = subprocess.run(
            [sys.executable, *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)

    listed, raced, tested = outputs
    assert "sdpa_finite" in listed
    assert raced.count("sdpa_finite") >= 2
    assert re.search(r"\d+ passed", tested)
