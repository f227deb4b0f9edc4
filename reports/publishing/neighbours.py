"""What a results file must be beside those that its device has published: new, alike and in place.

Rules for a file by itself are in checks.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from reports.choosing.candidates import Rules
from reports.choosing.choose import choose
from reports.generated.write import device_pages
from reports.publishing.filing import device_folder, published_files
from reports.publishing.finding import Finding
from suite.failures import BadRequest
from suite.records.fingerprint import refuse_mixed
from suite.records.record import Time
from suite.records.store import Results
from variants.selection.files import BadSelection, path_of, read


def neighbour_findings(
    results: Results, root: Path, earlier: Sequence[Results] = ()
) -> list[Finding]:
    """Return what is wrong with a file beside those that its device has in the checkout `root`.

    `earlier` are files that are to be published with it, and come before it.
    """
    folder = device_folder(root, results)
    others = [file for file in published_files(folder) if file.path != results.path.resolve()]
    others += [file for file in earlier if device_folder(root, file) == folder]
    wrong = [*is_new(results, others), *_fits(results, others)]
    if results.path.resolve().is_relative_to(root / "results" / "published"):
        wrong += _stands_in_its_place(results, root)
    return wrong


def is_new(results: Results, others: Sequence[Results]) -> Iterator[Finding]:
    """None of a file's passes is published."""
    own = _passes_by_samples(results)
    for other in others:
        if same := sorted({own[samples] for samples in _passes_by_samples(other).keys() & own}):
            passes = f"pass{'es' * (len(same) != 1)} {', '.join(map(str, same))}"
            mend = "nothing is left to do, or measure again into a new file"
            there = f"{other.path.parent.name}/{other.path.name}"
            yield Finding(f"it has {passes} of {there} again", mend)


def _fits(results: Results, others: Sequence[Results]) -> Iterator[Finding]:
    """One selection can be chosen from all files of a device."""
    try:
        refuse_mixed([*others, results])
    except BadRequest as error:
        mend = "measure with the software of the files that are published, or open an issue"
        yield Finding(str(error), mend)
        return
    try:
        choose([*others, results], Rules())
    except BadRequest as error:
        mend = "measure again on a quiet machine, with more --passes or another variant"
        yield Finding(f"no variant can be chosen from it: {error}", mend)


def _stands_in_its_place(results: Results, root: Path) -> Iterator[Finding]:
    """A file under results/published/ is in its device's folder, whose pages are up to date."""
    folder = device_folder(root, results)
    if results.path.resolve().parent != folder:
        yield Finding(f"it is not in {folder.relative_to(root)}", f"git mv it to {folder.name}/")
        return
    files = published_files(folder)
    remedy = "make selections docs"
    for path, text in device_pages(folder, files).items():
        if not path.exists() or path.read_text() != text:
            yield Finding(f"{path.relative_to(root)} is not what is made from the results", remedy)
    selection = path_of(root / "selections", folder.name)
    try:
        is_current = read(selection) == choose(files, Rules()).selection
    except BadSelection:
        is_current = False
    if not is_current:
        what = f"{selection.relative_to(root)} is not what is chosen from the results"
        yield Finding(what, remedy)


def _passes_by_samples(results: Results) -> dict[tuple[object, ...], int]:
    """Return the number of the pass of each time, by its case, its variant and raw samples."""
    return {
        (time.case, time.variant, time.turns): time.pass_number
        for time in results.records
        if isinstance(time, Time)
    }
