"""A new user's way through every unit over HTTP, down to the last unit of the statement."""

import io
import re
from collections import Counter

import pytest
from pypdf import PdfReader

from cli.client import ApiProblem
from devnet.bootstrap import BTC, ETHER, ETHER_UNIT, ITD, LIMITS, USD
from devnet.funding import fund
from devnet.journey import CARD_CENTS, Journey, Place
from devnet.journey_report import differences, read_pages, statement_files
from devnet.people import enlist, with_code
from devnet.stack import Stack
from domain.limits import ANY_ASSET, Limit, LimitsDocument, Operation, Window
from domain.money import format_units
from models.identity import Role
from tests.e2e.settled import until_reconciled

DECIMALS = {ITD: 6, ETHER: 18}


class TestNewUser:
    @pytest.mark.timeout(400)
    async def test_walks_through_every_unit(self, stack: Stack) -> None:
        user, friend = await enlist(stack.site, "nora"), await enlist(stack.site, "oscar")
        approver = await enlist(stack.site, "petra", [Role.APPROVER])
        await fund(stack.site, asset_code=ETHER, shares={None: 5 * ETHER_UNIT})
        await _forbid_purchases_to_the_unverified(stack)
        journey = Journey(stack.site, user, friend, approver)

        with pytest.raises(ApiProblem) as refused:
            await journey.buy(USD, CARD_CENTS, pay=_nobody)
        await journey.walk()

        assert refused.value.code == "limit_exceeded"
        assert await differences(journey) == []
        await _check_pdf(journey)
        await _check_transactions(journey)
        await until_reconciled(stack)


async def _nobody(_purchase: object) -> None:
    pytest.fail("An unverified user could buy.")


async def _forbid_purchases_to_the_unverified(stack: Stack) -> None:
    owner = await enlist(stack.site, "olga", [Role.OWNER])
    none = Limit(level=0, operation=Operation.PURCHASE, asset=ANY_ASSET, window=Window.DAY, count=0)
    others = [
        limit
        for limit in LIMITS.limits
        if (limit.level, limit.operation, limit.window) != (0, Operation.PURCHASE, Window.DAY)
    ]
    document = LimitsDocument(limits=(*others, none)).model_dump(mode="json")
    with_code(
        owner.authenticator, lambda code: owner.api.send("PUT", "/v1/limits", document, code=code)
    )


async def _check_pdf(journey: Journey) -> None:
    """The pages show every amount with its sign, and every closing balance, and no other."""
    pages = read_pages(await statement_files(journey.user, "csv"))
    files = await statement_files(journey.user, "pdf")
    texts = ["\n".join(p.extract_text() for p in PdfReader(io.BytesIO(f)).pages) for f in files]
    assert Counter(re.findall(r"(?<!\S)[+-][0-9.]+(?!\S)", " ".join(texts))) == Counter(
        ("+" if minor > 0 else "-") + _shown(place, minor)
        for place, page in pages.items()
        for minor in page.lines
    )
    assert Counter(re.findall(r"Closing balance\s+([0-9.]+)", texts[-1])) == Counter(
        _shown(place, page.closing_minor) for place, page in pages.items()
    )


def _shown(place: Place, minor: int) -> str:
    return format_units(abs(minor), decimals=DECIMALS[place[0]])


async def _check_transactions(journey: Journey) -> None:
    """Each operation is in the list once; coins that bought something belong to the purchase."""
    items = journey.user.api.get("/v1/transactions", limit=100)["items"]
    done = [item for item in items if item["state"] == "done"]
    assert Counter(item["kind"] for item in done) == Counter(
        {"purchase": 2, "deposit": 2, "transfer": 1, "payout": 1, "pocket_transfer": 2}
    )
    (refused,) = [item for item in items if item["state"] != "done"]
    assert (refused["kind"], refused["status"]) == ("purchase", "refused")
    (coins,) = [item for item in done if item["asset"] == BTC]
    assert coins["group_id"] in [item["id"] for item in done if item["kind"] == "purchase"]
