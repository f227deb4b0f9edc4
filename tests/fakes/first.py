"""The fake variant first."""

from functools import partial

from tests.fakes.faulty import prepare_as

prepare = partial(prepare_as, "first")
