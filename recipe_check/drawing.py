"""Plots are drawn while the worker is busy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from recipe_check.results import Result


class Drawing:
    """Imports the plotting library and draws plots on a thread while the worker is busy."""

    def __init__(self, *, enabled: bool) -> None:
        self.pool = ThreadPoolExecutor(1) if enabled else None

    def __enter__(self) -> Drawing:
        if self.pool is not None:
            self.pool.submit(self._draw, ())
        return self

    def __exit__(self, *_: Any) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def also(self, show: Callable[[Result], None]) -> Callable[[Result], None]:
        """`show`, and draw as well."""

        def act(result: Result) -> None:
            show(result)
            if self.pool is not None:
                self.pool.submit(self._draw, (result,))

        return act

    @staticmethod
    def _draw(results: Iterable[Result]) -> None:
        from recipe_check.reports.html import draw_ahead

        draw_ahead(results)
