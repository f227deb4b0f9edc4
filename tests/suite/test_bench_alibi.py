"""`pytest suite`: races as pytest-benchmark sees them."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite import conftest
from suite.bench_alibi import ReplayTimer, _extra_info, _Notes, _stop_without_samples
from suite.cases.case import Dtype
from tests.records import a_case, a_check
from variants.catalog import PEERS, on
from variants.host.hardware import this_cpu

ROOT = Path(__file__).parents[2]
CHEAP = "n128-h8-d64-float32-sdpa_mask"
PICK = f"{CHEAP} or n128-h8-d64-bfloat16-backward-flex"


def pytest_suite(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run pytest over the smallest sweep, in a process whose lanes are threads and invented."""
    return pytest_suite_with_real_lanes("-p", "tests.fakes.bench_with_invented_lanes", *words)


def pytest_suite_with_real_lanes(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run pytest over the smallest sweep."""
    options = ["--alibi-device", "cpu", "--alibi-sweep", "smoke"]
    command = [sys.executable, "-m", "pytest", "suite", *options, *words]
    # pytest-benchmark measures nothing in what it takes for a worker of pytest-xdist.
    environment = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def saved_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str, Path]:
    """Race two cells once, saving into a storage and a JSON file."""
    folder = tmp_path_factory.mktemp("bench")
    done = pytest_suite(
        "-k",
        PICK,
        f"--benchmark-json={folder / 'out.json'}",
        "--benchmark-autosave",
        f"--benchmark-storage=file://{folder / 'storage'}",
        "-rs",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (folder / "out.json").read_text()
    return json.loads(text, parse_constant=pytest.fail), done.stdout, folder


def test_a_picked_item_is_measured_beside_the_baseline_and_has_its_samples(
    saved_run: tuple[Any, str, Path],
) -> None:
    (item,) = saved_run[0]["benchmarks"]
    assert item["fullname"] == "suite/bench_alibi.py::test_attention[n128-h8-d64-float32-sdpa_mask]"
    assert item["group"] == "n128-h8-d64-float32"
    assert item["stats"]["data"] == [1e-3] * 50
    assert item["options"]["timer"].endswith("alibi_race")


def test_agreement_memory_and_status_are_extra_info(saved_run: tuple[Any, str, Path]) -> None:
    info = saved_run[0]["benchmarks"][0]["extra_info"]
    assert info["status"] == "measured"
    assert (info["error"], info["error_budget"]) == (1e-3, 1e-2)
    assert (info["peak_bytes"], info["persistent_bytes"]) == (3, 2)
    assert info["kernels"] == ["an_invented_kernel"]


def test_the_error_is_that_of_the_check_which_came_closest_to_its_budget() -> None:
    errors = (2e-7, 9e-7, None, 1e-7)
    checks = [a_check(a_case(), "eager", error=error) for error in errors]
    assert _extra_info([checks[0], checks[1], checks[3]])["error"] == 9e-7
    assert _extra_info(checks) == {
        "status": "disagrees",
        "error": None,
        "error_budget": checks[2].budget,
    }


def test_the_hardware_is_in_machine_info(saved_run: tuple[Any, str, Path]) -> None:
    assert saved_run[0]["machine_info"]["alibi_hardware"]["key"] == this_cpu().key
    assert saved_run[0]["machine_info"]["alibi_software"]["torch"] != "absent"


def test_a_cell_that_is_not_measured_is_skipped_with_its_reason(
    saved_run: tuple[Any, str, Path],
) -> None:
    assert "1 passed, 1 skipped" in saved_run[1]
    assert "unsupported: on demand" in saved_run[1]


def outcome_of(variant: str, dtype: Dtype, error: float | None) -> type[BaseException]:
    """Return how the item of a cell ends that disagrees with such an error."""
    check = a_check(a_case(dtype=dtype), variant, error=error)
    with pytest.raises(pytest.fail.Exception) as ended:
        _stop_without_samples([check])
    return ended.type


def test_a_disagreement_by_design_is_an_expected_failure_and_any_other_fails() -> None:
    expected, new = pytest.xfail.Exception, pytest.fail.Exception
    assert outcome_of("sdpa_key", "float32", 1.4e-4) is expected
    assert outcome_of("sdpa_key", "float32", 0.5) is new
    assert outcome_of("sdpa_key", "float32", None) is new
    assert outcome_of("sdpa_key", "bfloat16", 1.4e-4) is new
    assert outcome_of("sdpa_folded", "float32", 1.4e-4) is new


@pytest.mark.long
@pytest.mark.heavy
def test_a_picked_item_of_real_lanes_has_their_samples_memory_and_kernels(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    plugin = ("-p", "tests.fakes.few_turns")
    done = pytest_suite_with_real_lanes(*plugin, "-k", PICK, f"--benchmark-json={out}", "-rs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FlexAttention does not support backward on CPU" in done.stdout
    (item,) = json.loads(out.read_text(), parse_constant=pytest.fail)["benchmarks"]
    info = item["extra_info"]
    assert len(item["stats"]["data"]) >= 6
    assert 0 < info["error"] <= info["error_budget"]
    assert info["persistent_bytes"] == 8 * 128 * 128 * 4
    assert info["kernels"] == ["scaled_dot_product_flash_attention_for_cpu"]


def test_saved_runs_can_be_compared(saved_run: tuple[Any, str, Path]) -> None:
    storage = f"file://{saved_run[2] / 'storage'}"
    command = [sys.executable, "-m", "pytest_benchmark", "--storage", storage, "compare"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert CHEAP in done.stdout


@pytest.mark.heavy
def test_a_run_is_compared_with_the_saved_one_item_by_item(
    saved_run: tuple[Any, str, Path],
) -> None:
    storage = f"file://{saved_run[2] / 'storage'}"
    done = pytest_suite("-k", CHEAP, f"--benchmark-storage={storage}", "--benchmark-compare")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "benchmark 'n128-h8-d64-float32': 2 tests" in done.stdout
    rows = re.findall(r"^test_attention\[(\S+)\] \((NOW|0001)\S*\)", done.stdout, re.MULTILINE)
    assert sorted(rows) == [(CHEAP, "0001"), (CHEAP, "NOW")]


def test_a_run_fails_where_a_median_has_grown_by_more_than_is_allowed(
    saved_run: tuple[Any, str, Path], tmp_path: Path
) -> None:
    shutil.copytree(saved_run[2] / "storage", tmp_path, dirs_exist_ok=True)
    (file,) = tmp_path.rglob("*.json")
    faster = json.loads(file.read_text())
    faster["benchmarks"][0]["stats"]["median"] = 1e-9
    faster["machine_info"]["python_version"] = "3.0.0"
    faster["machine_info"]["alibi_software"]["torch"] = "0.1"
    file.write_text(json.dumps(faster))
    done = pytest_suite(
        "-k",
        CHEAP,
        f"--benchmark-storage=file://{tmp_path}",
        "--benchmark-compare",
        "--benchmark-compare-fail=mean:1000000%",
        "--benchmark-compare-fail=median:1000%",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Performance has regressed" in done.stderr
    warned = done.stdout + done.stderr
    assert "compared across software: saved {'torch': '0.1'" in warned
    assert "compared across hardware" not in warned
    assert "3.0.0" not in warned
    regressed = re.findall(
        r"^\ttest_attention\[(\S+)\] .* Field '(\w+)'", done.stderr, re.MULTILINE
    )
    assert regressed == [(CHEAP, "median")]


@pytest.mark.heavy
def test_peers_for_the_device_are_items_where_they_are_wanted() -> None:
    for_cpu = {peer.name for peer in PEERS if peer.device in {"any", "cpu"}}
    for words, names in (((), set()), (("--alibi-peers",), for_cpu)):
        listed = pytest_suite("--collect-only", "-k", "n128-h8-d64-float32", *words).stdout
        found = {peer.name for peer in PEERS if f"float32-{peer.name}]" in listed}
        assert found == names


def test_disabled_benchmarks_race_nothing() -> None:
    done = pytest_suite("--benchmark-disable")
    assert done.returncode == 0, done.stdout
    assert f"{6 * len(on('cpu'))} passed" in done.stdout
    assert "lane" not in done.stdout + done.stderr


def test_saved_runs_are_kept_apart_by_hardware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = pytest.Config.fromdictargs({}, [str(ROOT / "suite"), "--rootdir", str(ROOT)])
    config.option.benchmark_storage = "file://./.benchmarks"
    config.option.alibi_device = "cpu"
    conftest.pytest_configure(config)
    assert config.option.benchmark_storage == f"file://./.benchmarks/{this_cpu().key}"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("alibi_device", "cuda:x", "--alibi-device cuda:x: give cpu, cuda, or one GPU"),
        ("alibi_passes", 0, "--alibi-passes 0: give at least 1"),
    ],
)
def test_what_can_t_be_raced_is_a_usage_error(option: str, value: object, words: str) -> None:
    config = pytest.Config.fromdictargs({}, [str(ROOT / "suite"), "--rootdir", str(ROOT)])
    setattr(config.option, option, value)
    with pytest.raises(pytest.UsageError, match=words):
        conftest.pytest_configure(config)


def test_a_storage_that_the_user_names_is_left_alone() -> None:
    config = pytest.Config.fromdictargs({}, [str(ROOT / "suite"), "--rootdir", str(ROOT)])
    config.option.benchmark_storage = "file:///elsewhere"
    conftest.pytest_configure(config)
    assert config.option.benchmark_storage == "file:///elsewhere"


def test_a_note_of_the_races_is_a_warning_also_where_warnings_are_errors() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        _Notes().note("pass 1: something")
    assert [str(each.message) for each in caught] == ["pass 1: something"]


@given(st.lists(st.floats(min_value=1e-9, max_value=1e3), min_size=1, max_size=300))
def test_a_replayed_sample_is_the_recorded_one_to_the_last_bit(samples: list[float]) -> None:
    timer = ReplayTimer(samples)
    replayed = []
    for _ in samples:
        start = timer()
        replayed.append(timer() - start)
    assert replayed == samples
