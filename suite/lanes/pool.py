"""The lanes of one pass: one for each variant, started together, replaced when they die."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from suite.conditions.policy import Policy
from suite.conditions.temporary import EndsWithBlock
from suite.lanes.handle import LAUNCH, Handle, Launch
from variants.catalog import Variant


class LanePool(EndsWithBlock):
    """Lanes by variant name."""

    def __init__(
        self,
        variants: Mapping[str, Variant],
        policy: Policy,
        cache: Path,
        device: str = "cpu",
        launch: Launch = LAUNCH,
        launches: Mapping[str, Launch] = MappingProxyType({}),
    ) -> None:
        """Note how lanes are started; `start` and `ready` start them.

        `launches` are those of variants that are not started as the others, by `launch`.
        """
        self._launch, self._launches = launch, launches
        self._device = device
        self._variants = variants
        self._policy = policy
        self._cache = cache
        self._lanes: dict[str, Handle] = {}

    def end(self) -> None:
        """End all lanes."""
        for lane in self._lanes.values():
            lane.end()

    def start(self, names: Iterable[str]) -> None:
        """Start a lane for each name that has no living lane, without waiting for it."""
        for name in names:
            if name not in self._lanes or not self._lanes[name].alive:
                launch = self._launches.get(name, self._launch)
                self._lanes[name] = Handle(
                    self._variants[name], self._policy, self._cache, self._device, launch
                )

    def ready(self, names: Iterable[str]) -> list[Handle]:
        """Return a living lane for each name, as soon as all of them are ready.

        Raises LaneFault when a lane can't start.
        """
        names = list(names)
        self.start(names)
        for name in names:
            self._lanes[name].wait_until_ready()
        return [self._lanes[name] for name in names]
