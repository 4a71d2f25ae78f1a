"""Compare the registrar's number blocks with the portal's. Part of the job `registrar`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.db.work_queue import made_due
from models.telephony.number_pool import SET_ASIDE, WITHDRAWN
from models.telephony.numbers import BlockAnnouncement, NumberBlock
from models.telephony.trunks import SipTrunk
from tasks import tracing
from tasks.ports import Block
from tasks.reconcile import merge_compare
from tasks.reconcile.job_run import Run
from tasks.reconcile.merge_compare import Comparison


@dataclass(frozen=True, slots=True)
class OurBlock:
    """One of the portal's number blocks, to be compared with the registrar's.

    `first_number` is in E.164, without the plus sign; `on_its_way` is whether the block is about to be written to the
    registrar.
    """

    id: int
    first_number: int
    size: int
    on_its_way: bool

    def is_there(self, found: Block | None) -> bool:
        """Return whether the registrar has this block with the same size, or is about to get it.

        `found` is the registrar's block with the same first number, None if it has none.
        """
        return self.on_its_way or found == Block(self.first_number, self.size)


def our_blocks(run: Run) -> Iterator[OurBlock]:
    """Yield the portal's number blocks in the order of their numbers, read in pages.

    Blocks that the carrier has withdrawn from its number pools are left out, so that they are deleted from the
    registrar.
    """
    after = 0
    while True:
        # Each page's transaction renews the lease.
        with run.transaction() as session:
            page = _read(session, NumberBlock.first_number > after)
        yield from page
        if len(page) < merge_compare.PAGE:
            return
        after = page[-1].first_number


def _read(session: Session, which: sa.ColumnElement[bool]) -> list[OurBlock]:
    announced = sa.exists().where(BlockAnnouncement.block_id == NumberBlock.id)
    # The numbers of a trunk that was taken over become ours with the trunk.
    unadopted = sa.exists().where(SipTrunk.id == NumberBlock.trunk_id, SipTrunk.unadopted_since.is_not(None))
    on_its_way = sa.or_(announced, unadopted)
    columns = sa.select(NumberBlock.id, NumberBlock.first_number, NumberBlock.size, on_its_way)
    ours = which & (NumberBlock.available_from != WITHDRAWN)
    rows = session.execute(columns.where(ours).order_by(NumberBlock.first_number).limit(merge_compare.PAGE))
    return [OurBlock(*row) for row in rows]


def _takes_away(ours: OurBlock | None, found: Block | None) -> bool | None:
    if ours is None:
        return True
    return None if ours.is_there(found) else False


def _settle(run: Run, suspects: Sequence[int]) -> None:
    """Read the blocks with these first numbers again on both sides; repair and report those that still differ.

    A block that the registrar lacks is scheduled to be written to it; one that the portal does not have is deleted from
    the registrar.
    """
    if not suspects:
        return
    with tracing.span("registrar.look_up_blocks", role="client", together=len(suspects)):
        found = run.runtime.ports.subscribers.look_up_blocks(suspects)
    these = NumberBlock.first_number == sa.any_(sa.literal(list(suspects), postgresql.ARRAY(sa.BigInteger)))
    with run.transaction() as session:
        ours = {block.first_number: block for block in _read(session, these)}
    missing = [block for first, block in ours.items() if not block.is_there(found.get(first))]
    strange = [block for first, block in found.items() if first not in ours]
    if strange and not run.dry:
        with tracing.span("registrar.remove_blocks", role="client", together=len(strange)):
            run.runtime.ports.subscribers.remove_blocks([block.first_number for block in strange])
    run.counts["removed"] += len(strange)
    with run.transaction() as session:
        if missing:
            again = [{"block_id": block.id, "due_at": run.now} for block in missing]
            session.execute(postgresql.insert(BlockAnnouncement).values(again).on_conflict_do_nothing())
            made_due(session, BlockAnnouncement.WORK)
        for block in missing:
            _find(run, "block_missing_there", block)
        for other in strange:
            _find(run, "block_unknown_there", other)


def report_set_aside(run: Run) -> None:
    """Report as findings the number blocks that are set aside: given to no account until staff have looked.

    A block is set aside if the registrar lists one of its numbers under another trunk.
    """
    with run.transaction() as session:
        for block in session.scalars(sa.select(NumberBlock).where(NumberBlock.available_from == SET_ASIDE)):
            number = f"+{block.first_number}"
            run.find("block_set_aside", number, repaired=False, number=number, size=block.size)


def _find(run: Run, kind: str, block: OurBlock | Block) -> None:
    number = f"+{block.first_number}"
    run.find(kind, number, repaired=True, number=number, size=block.size)


BLOCKS: Comparison[int, OurBlock, Block] = Comparison(
    key=attrgetter("first_number"),
    takes_away=_takes_away,
    settle=_settle,
    counted="blocks",
    too_many="too_many_unknown_blocks",
)
