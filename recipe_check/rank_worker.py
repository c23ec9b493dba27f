"""The worker process of one rank: loads the target together with the others and compares.

Rank 0 is asked by its parent, as any worker; what it does it tells the other ranks, which do the
same. Their parents only wait for the exit code.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from recipe_check.errors import LoadError, NotApplicable, RecipeCheckError, UserCodeError
from recipe_check.guard import as_user_error
from recipe_check.ranks import RankLost, world
from recipe_check.values import from_plain, to_plain
from recipe_check.worker import Server

SEEDS_APART = 100_003  # what a target does not seed differs between ranks, as it will in training
LEAVING = 5.0  # seconds for the other ranks to hear of the end
START = 0.6  # of the time for loading, to wait for another rank to start or to have loaded
GRACE = 10.0  # seconds for a reason from a rank whose connection has closed


class RankServer(Server):
    """`connect` comes first, then `load` and `check` on rank 0, or `follow` on any other."""

    def __init__(self, plugins: tuple[str, ...], memory_limit: float, pipe: Connection) -> None:
        super().__init__(plugins, memory_limit)
        self.pipe = pipe
        self.ranks: Any = None
        self.group_seconds = 0.0

    def do_connect(self, value: Mapping[str, Any]) -> None:
        """Finds the store of the ranks. `patience` and `group_seconds` are limits of waiting."""
        from recipe_check.rank_store import Ranks

        here = world()
        assert here is not None
        self.group_seconds = value["group_seconds"]
        try:
            self.ranks = Ranks(here, value["patience"])
        except RuntimeError as error:
            where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            raise LoadError(
                f"rank {here.rank} of {here.size} does not reach {where}: {error}",
                "start all ranks with torchrun, or unset WORLD_SIZE for a run of one process",
            ) from None

    # -- rank 0 ------------------------------------------------------------------------------

    def do_load(self, value: Mapping[str, Any]) -> Any:
        self.ranks.lead("load", value)
        try:
            return self._load(value)
        except RankLost as lost:
            raise LoadError(lost.message, "the target must load on every rank") from None
        except LoadError as error:
            raise self._elsewhere(error) from None

    def do_check(self, value: Mapping[str, Any]) -> Any:
        self.ranks.lead("check", value)
        plain = super().do_check(value)
        verdict = plain["verdict"]
        if verdict["status"] == "error" and self._is_of_another(verdict["message"]):
            raise RankLost(self._reason(verdict["message"]))
        return plain

    def do_places(self, _: Any) -> str:
        """What each rank was last about to do."""
        return str(self.ranks.trouble() or self.ranks.places())

    def do_end(self, code: int) -> None:
        self.ranks.end(code, LEAVING)

    # -- the others --------------------------------------------------------------------------

    def do_follow(self, reason: str) -> None:
        """Does what rank 0 does until it ends; then this process ends, with its exit code for the
        parent. With a `reason` for which the process before this one ended it only waits."""
        threading.Thread(target=self._end_with_rank_0, daemon=True).start()
        if reason:
            self.ranks.fail(reason)
        while not reason:
            name, value = self.ranks.next_job()
            try:
                self._load(value) if name == "load" else self._asked("same_check", value)
            except NotApplicable as why:
                self.ranks.skip(str(why))
            except RankLost:
                continue
            except BaseException as error:
                self.ranks.fail(_said(error))
                os._exit(0)  # which frees rank 0, where it waits for this one in a collective
        threading.Event().wait()

    def do_same_check(self, value: Mapping[str, Any]) -> None:
        from recipe_check.request import CheckRequest

        check = self.check_of(from_plain(value, CheckRequest))
        with self.lab.seeded():
            check.measure(self.lab)

    # -- all ---------------------------------------------------------------------------------

    def _load(self, value: Mapping[str, Any]) -> Any:
        from recipe_check.process_group import join_all
        from recipe_check.request import LoadRequest

        request = from_plain(value, LoadRequest)
        self.ranks.gather("here", START * self.group_seconds)
        self.ranks.at("joining the group")
        join_all(self.ranks, request.device, self.group_seconds)
        self.ranks.at("loading the target")
        own = msgspec.structs.replace(request, seed=request.seed + SEEDS_APART * self.ranks.rank)
        answer = super().do_load(to_plain(own))
        self.lab.ranks = self.ranks
        self.ranks.keep_random_states()
        self.ranks.gather("loaded", START * self.group_seconds)
        return answer

    def _elsewhere(self, error: LoadError) -> LoadError:
        """What rank 0 says where a collective failed is said better by the rank that left it."""
        if not self._is_of_another(error.message):
            return error
        return LoadError(self._reason(error.message), "the target must load on every rank")

    def _is_of_another(self, text: str) -> bool:
        from recipe_check.process_group import is_of_a_collective

        return is_of_a_collective(text)

    def _reason(self, text: str) -> str:
        found = self.ranks.trouble(GRACE) or self.ranks.places()
        return f"{found} (rank 0: {text.splitlines()[0]})" if found else text

    def _end_with_rank_0(self) -> None:
        """In a thread, since the user's code may hang in the other, with a connection of its own:
        one that waits does not let others pass."""
        from recipe_check.rank_store import Ranks

        here = world()
        assert here is not None
        try:
            code = Ranks(here, 0.0).await_end()
        except RuntimeError:  # the store has gone, and with it those who kept it
            code = 4
        self.pipe.send(("ok", code, False))
        os._exit(0)


def _said(error: BaseException) -> str:
    """The error with the user's line."""
    if isinstance(error, RecipeCheckError):
        return error.message
    raised = error if isinstance(error, UserCodeError) else as_user_error(error)
    return f"{raised} ({raised.file}, line {raised.line})" if raised.file else str(raised)
