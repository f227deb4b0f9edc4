"""The oracle says the same of a case in blocks of rows as of the whole."""

import pytest

from tests.suite.answers import case_of, compared, variant

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_oracle_is_the_same_in_one_block_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(mode="backward", kv_heads=2, q_len=100, batch=2)
    whole = compared(variant("eager", case), case)
    monkeypatch.setattr("suite.agreement.BLOCK_BYTES", 8 * 2 * 8 * 128 * 7)
    blocks = compared(variant("eager", case), case)
    assert whole.agrees
    assert blocks.agrees
