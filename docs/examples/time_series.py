"""Measurements by sensor and time: write them as they come, ask for any stretch of time, forget what is old."""

from __future__ import annotations

import math
import sys
from datetime import datetime, timedelta, timezone
from itertools import groupby
from statistics import fmean

from lmdb_object_store import LmdbObjectStore, OrderedKeys

# The key is what a measurement belongs to, then its time: so each sensor's measurements lie together, in order.
Series = LmdbObjectStore[tuple[str, datetime], float]

START = datetime(2024, 5, 1, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def measurements(sensor: str, days: int) -> dict[tuple[str, datetime], float]:
    """One each minute: warm at noon, cold at midnight, and a little warmer each day."""
    times = (START + timedelta(minutes=n) for n in range(days * 24 * 60))
    return {
        (sensor, time): 10 - 5 * math.cos(2 * math.pi * (time - START) / DAY) + (time - START) // DAY for time in times
    }


def main(path: str = "series.db") -> None:
    with Series(path, key_encoding=OrderedKeys()) as series:
        series.clear()
        for sensor in ("attic", "cellar", "garden"):
            series.update(measurements(sensor, days=7))
        print(len(series), "measurements")

        # A stretch of time: from the third day, inclusive, to the fourth, exclusive. Nothing else is read.
        third = series.range(("garden", START + 2 * DAY), ("garden", START + 3 * DAY), inclusive=(True, False))
        print(f"garden, third day: {len(third)} values, mean {fmean(third.values()):.2f}")

        # The last measurement at a moment, or before it.
        moment = START + timedelta(days=1, hours=12, seconds=30)
        at = next(series.irange(("garden",), ("garden", moment), reverse=True))
        print(f"garden at {moment:%d %H:%M:%S}: {series[at]:.2f}, measured at {at[1]:%H:%M}")

        # The means of each hour of a stretch, in one pass.
        morning = series.range(("attic", START), ("attic", START + timedelta(hours=6)), inclusive=(True, False))
        hours = groupby(morning.items(), lambda item: item[0][1].hour)
        print("attic, by hour:", *(f"{fmean(value for _, value in items):.1f}" for _, items in hours))

        # The newest, and then forget what is older than two days: one transaction for each sensor.
        (_, newest), _ = series.prefix(("attic",)).peekitem()
        for sensor in ("attic", "cellar", "garden"):
            series.range((sensor,), (sensor, newest - 2 * DAY)).clear()
        print(len(series), "measurements are left, from", f"{next(iter(series))[1]:%d %H:%M} on")


if __name__ == "__main__":
    main(*sys.argv[1:])
