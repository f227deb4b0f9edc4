"""Every kernel of the table compiles for each chip, to main loops as good as those recorded."""

import pytest

from tests.variants.triton.compiled.ahead_of_time import PRODUCTS, MachineCode
from tests.variants.triton.compiled.configurations import (
    CONFIGURATIONS,
    SHARED_BYTES,
    Configuration,
)
from tests.variants.triton.compiled.record import PAGE, page_with, read_record, whole_loops

TENSOR_CORES = {80: "HMMA", 90: "HGMMA", 100: "UTCHMMA"}
SPILLS_WHERE_FEW_TILES_ARE_VISITED = [Configuration("combine", 80, 128, form="chunk")]
ROWS_OF_TENSOR_CORES = 64  # fewer go to those of older chips, on each
SPILLS = {"LDL", "STL"}
IN_FLIGHT = {"LDGSTS", "UTMALDG"}  # loads that nothing waits for: of a thread, and of TMA
ONE_STAGE = "a tile at a time: with two on their way it spills in its loop, or has no room"


@pytest.fixture(params=CONFIGURATIONS, ids=lambda each: each.id)
def configuration(request: pytest.FixtureRequest) -> Configuration:
    each: Configuration = request.param
    return each


@pytest.fixture
def code(configuration: Configuration) -> MachineCode:
    return configuration.compile()


def test_it_has_room_and_its_main_loop_is_as_recorded(
    configuration: Configuration, code: MachineCode
) -> None:
    main = code.main_loop
    assert code.shared_bytes <= SHARED_BYTES[configuration.chip]
    assert main.kinds.keys() & PRODUCTS
    if configuration.dtype != "fp32" and configuration.tiles.rows >= ROWS_OF_TENSOR_CORES:
        assert main.kinds[TENSOR_CORES[configuration.chip]] > 0
    if configuration not in SPILLS_WHERE_FEW_TILES_ARE_VISITED:
        for loop in code.shortest_loops(configuration.whole_loops):
            assert not loop.kinds.keys() & SPILLS
    before = read_record()[configuration.id]
    lengths, lengths_before = (
        [loop.instructions for loop in each.loops] for each in (code, before)
    )
    assert lengths == pytest.approx(lengths_before, rel=0.05)
    assert code.registers <= before.registers + 8
    if before.main_loop.kinds.keys() & IN_FLIGHT:
        assert main.kinds.keys() & IN_FLIGHT, "nothing is loaded while a tile is computed"


def test_where_tma_loads_tiles_no_thread_does() -> None:
    record = read_record()
    for each in CONFIGURATIONS:
        for loop in record[each.id].loops:
            loads = loop.kinds.keys() & {"UTMALDG", "LDGSTS", "LDG"}
            assert ("UTMALDG" in loads) == each.loads_by_tma
            assert len(loads) == 1 or not each.loads_by_tma


def test_a_fixed_maximum_takes_fewer_instructions_than_a_running_one() -> None:
    record = read_record()
    for each in CONFIGURATIONS:
        if each.kernel == "forward" and each.has_fixed_maximum:
            fixed, running = (loop.instructions for loop in whole_loops(each, record[each.id]))
            assert fixed < 0.98 * running


def test_the_page_has_the_recorded_table() -> None:
    assert page_with(PAGE.read_text(), read_record()) == PAGE.read_text()


def test_what_loads_a_tile_at_a_time_is_a_part_of_gradients_or_visits_few() -> None:
    waiting = {
        name for name, code in read_record().items() if not code.main_loop.kinds.keys() & IN_FLIGHT
    }
    assert all("gradients" in name or "combine" in name for name in waiting), ONE_STAGE
