"""Who goes on when the winner of a race dies after text was given out, and where its consumer reads.

How it works. The consumer of a race that may go on reads a ``Relay``. When the winner's source raises there, the relay
asks the race for a takeover, which a task of the race's own decides, and waits. What the takeover's winner wrote comes
behind a ``Failover``. A read may be cancelled at any of its awaits and repeated: the takeover goes on without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from msgspec.structs import replace

from g4ftrio._loops import clock
from g4ftrio._race.entrant import Entrant, by_progress
from g4ftrio._race.race import Race, Takeover, Won
from g4ftrio._words.bill import Price
from g4ftrio._words.chunks import Chunk, Failover, FinishReason, ProviderMetadata, ToolCallDelta, ToolCalls
from g4ftrio._words.errors import BadRequestError, SetupError, UnprocessableEntityError, describe
from g4ftrio._words.report import EntrantReport
from g4ftrio.base_provider import Ask

if TYPE_CHECKING:
    from g4ftrio.base_provider import AbstractProvider

__all__ = ("Contenders", "Midstream", "Relay", "check_midstream")

R = TypeVar("R")

Midstream: TypeAlias = Literal["raise", "continue", "restart"]

_OVERLAP = 100  # characters of white space
_PAST_CHANGING = (ToolCallDelta, ToolCalls, FinishReason)  # once the consumer has one of these, nobody else goes on


def check_midstream(midstream: Midstream, keep_standby: int) -> None:
    """See that these are of use.

    :raises SetupError: they are not
    """
    if midstream not in ("raise", "continue", "restart"):
        raise SetupError(f"midstream= is 'raise', 'continue' or 'restart', not {midstream!r}")
    if keep_standby < 0:
        raise SetupError(f"keep_standby= is a number of chunks from 0, not {keep_standby!r}")
    if keep_standby and midstream == "raise":
        raise SetupError("keep_standby= needs midstream='continue' or 'restart': else nobody takes over")


class Contender:
    """A provider in one race.

    :param key: what it is called beyond this race
    :ivar record: that of the last time that it was, or is to be, asked
    :ivar begun: the text from which it was asked to go on, empty where it was to begin
    """

    def __init__(self, provider: AbstractProvider, key: str, record: EntrantReport) -> None:
        self.provider = provider
        self.key = key
        self.record = record
        self.begun = ""

    @property
    def refused(self) -> bool:
        """Whether it would not go on from a text, as some models refuse to; it may still be asked to begin."""
        refusal = isinstance(self.record.error, BadRequestError | UnprocessableEntityError)
        return bool(self.begun) and refusal and self.record.outcome == "failed"


class Entering(Protocol):
    """Makes an entrant of the race.

    :param begun: the text from which it goes on
    :param within: seconds for all of it
    """

    def __call__(
        self, provider: AbstractProvider, ask: Ask, record: EntrantReport, *, begun: str = "", within: float = inf
    ) -> Entrant[Chunk]: ...


class Contenders:
    """The providers of one race: as they enter it, and as they may take over.

    :param ready: each provider, and the model that it is asked for
    :param prices: by key
    :ivar keys: what the entrants' names stand for beyond this race
    """

    def __init__(
        self,
        ready: Sequence[tuple[AbstractProvider, str]],
        ask: Ask,
        enter: Entering,
        prices: Mapping[str, Price],
    ) -> None:
        self._ask = ask
        self._enter = enter
        self._prices = prices
        self.keys: dict[str, str] = {}
        self._contenders: list[Contender] = []
        for provider, asked in ready:
            key = provider._called(asked)
            self._contenders.append(Contender(provider, key, self._record(key, asked)))

    def entrants(self) -> list[Entrant[Chunk]]:
        """All of them, in their order."""
        return [self._enter(each.provider, self._ask, each.record) for each in self._contenders]

    def successors(self, text: str, within: float, standby: EntrantReport | None) -> list[Entrant[Chunk]]:
        """Those who may take over: who was never started, then who lost, then who would not go on and may begin.

        :param text: what there is to go on from, if anything
        :param standby: the record of one who need not be asked
        """
        found = [each for each in self._contenders if each.record is not standby]
        lost = [each for each in found if each.record.outcome == "lost"]
        lost.sort(key=lambda each: by_progress(each.record))
        new = [self._again(each, text, within) for each in found if each.record.outcome == "not_started"]
        again = [self._again(each, text, within) for each in lost]
        return [*new, *again, *(self._again(each, "", within) for each in found if each.refused)]

    def begun(self, name: str) -> str:
        """The text from which an entrant goes on, empty where it begins."""
        return next((each.begun for each in self._contenders if each.record.name == name), "")

    def _again(self, contender: Contender, text: str, within: float) -> Entrant[Chunk]:
        record = contender.record
        if record.outcome != "not_started":
            record = self._record(contender.key, record.model)
        begun = text if text and contender.provider.goes_on_from_text(record.model) else ""
        contender.record, contender.begun = record, begun
        ask = self._ask
        if begun:
            ask = replace(ask, messages=_answered(ask.messages, begun))
        return self._enter(contender.provider, ask, record, begun=begun, within=within)

    def _record(self, key: str, model: str) -> EntrantReport:
        """Make a record with a name of its own: a repeated one gets ``#2``, ``#3`` and so on."""
        name, count = key, 1
        while name in self.keys:
            count += 1
            name = f"{key}#{count}"
        self.keys[name] = key
        return EntrantReport(name=name, model=model, price=self._prices.get(key))


class Relay:
    """What the winner writes, and after it who takes over, as one source.

    :param won: the winner; what it wrote first is given out before the first ``pull``
    :param keep_standby: chunks that the consumer must have taken until the runner-up is let go
    :param total: seconds for the whole answer, the consumer's own time left out
    :ivar tell: called at a takeover with the record of who writes now, and with how many of the chunks that follow
        are counted in it already
    """

    def __init__(
        self,
        race: Race[Chunk],
        won: Won[Chunk],
        contenders: Contenders,
        *,
        midstream: Midstream,
        keep_standby: int,
        total: float,
    ) -> None:
        self._race = race
        self._won = won
        self._contenders = contenders
        self._continues = midstream == "continue"
        self._keep_standby = keep_standby
        self._total = total
        self._now = clock()
        self._waited = won.entrant.record.clean_at or 0.0
        self._takeover: Takeover[Chunk] | None = None
        self._texts: list[str] = []
        self._given = 0
        self._is_past_changing = False
        self._goes_on = False
        self._overlap = ""
        self.tell: Callable[[EntrantReport, int], None] = lambda _record, _counted: None
        self._note(won.first)

    @property
    def record(self) -> EntrantReport:
        """That of who writes now."""
        return self._won.entrant.record

    async def pull(self) -> list[Chunk]:
        """Give what the next read brings, or a seam and what somebody else goes on with; an empty list is the end."""
        while self._takeover is None:
            if self._given >= self._keep_standby:
                self._race.drop_standby()
            try:
                batch = await self._timed(self._won.source.pull)
            except Exception as error:
                self._takeover = self._seek(error)
                if self._takeover is None:
                    raise
            else:
                if (given := self._fitted(batch)) or not batch:
                    return given
        return await self._outcome(self._takeover)

    async def aclose(self) -> None:
        """Say that no more is wanted."""
        self._race.release()

    def _seek(self, error: Exception) -> Takeover[Chunk] | None:
        """Have somebody sought who goes on after this error, if anybody may."""
        within = self._total - self._waited
        if self._is_past_changing or within <= 0 or self._race.released:
            return None
        text = "".join(self._texts).rstrip() if self._continues else ""  # some services refuse white space at the end
        standby = self._race.standby
        successors = self._contenders.successors(text, within, standby.record if standby else None)
        if not successors and standby is None:
            return None
        return self._race.seek(error, successors, within)

    async def _outcome(self, takeover: Takeover[Chunk]) -> list[Chunk]:
        while True:
            await self._timed(takeover.decided.wait)
            if takeover.won is not None:
                return self._give_way(takeover.won, takeover.error)
            further = self._seek(takeover.error)
            if further is None:
                if takeover.failure is not None:
                    takeover.error.add_note(f"nobody went on: {describe(takeover.failure)}")
                raise takeover.error
            self._takeover = takeover = further

    def _give_way(self, won: Won[Chunk], error: Exception) -> list[Chunk]:
        """Go on with another winner."""
        dead, self._won, self._takeover = self._won, won, None
        begun = self._contenders.begun(won.entrant.name)
        self._goes_on = bool(begun)
        self._overlap = "".join(self._texts)[len(begun) :][:_OVERLAP] if begun else ""
        seam = Failover(dead.entrant.name, won.entrant.name, describe(error), restarted=not begun)
        self._note([seam])
        self._given = 0
        batch = [seam, *self._fitted(won.first)]
        standby = self._race.standby
        if standby is not None and self._contenders.begun(standby.name):
            self._race.drop_standby()  # the text that it goes on from will be an old one
        won.entrant.record.tell("failover")
        self.tell(won.entrant.record, len(batch))
        return batch

    def _fitted(self, batch: list[Chunk]) -> list[Chunk]:
        if self._goes_on:
            batch = [fit for chunk in batch if (fit := self._fit(chunk)) is not None]
        self._note(batch)
        return batch

    def _fit(self, chunk: Chunk) -> Chunk | None:
        """Leave out white space that the consumer has, and what a service would remember as the whole answer."""
        if isinstance(chunk, ProviderMetadata):
            return None
        if not (isinstance(chunk, str) and self._overlap):
            return chunk
        common = _in_common(chunk, self._overlap)
        self._overlap = self._overlap[common:] if common == len(chunk) else ""
        return chunk[common:] or None

    def _note(self, batch: list[Chunk]) -> None:
        self._given += len(batch)
        for chunk in batch:
            if isinstance(chunk, str):
                self._texts.append(chunk)
            elif isinstance(chunk, _PAST_CHANGING):
                self._is_past_changing = True
            elif isinstance(chunk, Failover) and chunk.restarted:
                self._texts.clear()

    async def _timed(self, wait: Callable[[], Awaitable[R]]) -> R:
        began = self._now()
        try:
            return await wait()
        finally:
            self._waited += self._now() - began


def _answered(messages: list[dict[str, Any]], begun: str) -> list[dict[str, Any]]:
    """A conversation with the beginning of its answer, which may be begun in it already."""
    *before, last = messages
    if last["role"] == "assistant" and isinstance(last.get("content"), str):
        return [*before, {**last, "content": last["content"] + begun}]
    return [*messages, {"role": "assistant", "content": begun}]


def _in_common(text: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = zip(text, other, strict=False)
    return next((count for count, (one, two) in enumerate(pairs) if one != two), min(len(text), len(other)))
