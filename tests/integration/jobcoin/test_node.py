"""A Jobcoin node's chain on PostgreSQL: what it takes, what it never does, and what it answers."""

import asyncio
import itertools
import random
from http import HTTPStatus

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from chains.jobcoin.node import pooled
from chains.jobcoin.node.book import JobcoinBook
from domain.clock import SystemClock
from domain.errors import (
    AccountNonceTakenError,
    AccountNonceUsedError,
    IdempotencyKeyReusedError,
    InsufficientBalanceError,
    InvalidAddressError,
    MintCapError,
    StrongroomError,
    WrongChainError,
)
from domain.jobcoin.chain import CAP_MINOR, REWARD_MINOR
from infra.database import Database
from tests.support.books import as_role
from tests.support.jobcoin import CHAIN_ID, MINT_TOKEN, JobcoinWorld, Purse

UNEXPLAINED = text("""
    SELECT a.* FROM jobcoin_account a
    WHERE a.balance_minor <> coalesce((
              SELECT sum(o.amount_minor) FROM jobcoin_output o
              JOIN jobcoin_transaction t USING (txid)
              WHERE o.address = a.address AND t.block_height IS NOT NULL), 0)
          - coalesce((SELECT sum(t.amount_minor) FROM jobcoin_transaction t
              WHERE t.sender = a.address AND t.block_height IS NOT NULL), 0)
       OR a.next_nonce <> (SELECT count(*) FROM jobcoin_transaction t
              WHERE t.sender = a.address AND t.block_height IS NOT NULL)
""")
"""Accounts that are not what the mined transactions come to."""

FORBIDDEN = (
    "UPDATE jobcoin_block SET hash = 'x'",
    "DELETE FROM jobcoin_block",
    "TRUNCATE jobcoin_block CASCADE",
    "UPDATE jobcoin_output SET amount_minor = 1",
    "DELETE FROM jobcoin_output",
    "DELETE FROM jobcoin_transaction",
    "UPDATE jobcoin_transaction SET amount_minor = 1",
    "UPDATE jobcoin_transaction SET block_height = NULL, place = NULL",
    "UPDATE jobcoin_account SET balance_minor = -1",
    "UPDATE jobcoin_supply SET minted_minor = cap_minor + 1",
)
"""What not even the schema's owner may do."""

START_MINOR = 1_000
RACERS = 12
OWNER = {"Authorization": f"Bearer {MINT_TOKEN}"}
AMOUNTS = ("0", "-1", "", "1.5", "x", 5, None, "9" * 30, str(CAP_MINOR + 1))
"""What is no amount."""

WRONG = (
    ("/v1/transactions/00", 404, "not_found"),
    ("/v1/transactions?cursor=x", 400, "bad_request"),
    ("/v1/transactions?address=x", 422, "invalid_address"),
    ("/v1/blocks?first=-1&last=2", 400, "bad_request"),
    ("/v1/blocks", 400, "bad_request"),
    ("/v1/addresses/0x00", 422, "invalid_address"),
    ("/v1/nothing", 404, "bad_request"),
)


async def total(world: JobcoinWorld) -> int:
    async with world.owner.transaction() as session:
        found = await session.execute(text("SELECT sum(balance_minor) FROM jobcoin_account"))
        return int(found.scalar_one() or 0)


async def minted(world: JobcoinWorld) -> int:
    return int((await world.client.get("/v1/status")).json()["minted"])


async def outcome(sending: object) -> type[StrongroomError] | None:
    try:
        await sending  # type: ignore[misc]
    except StrongroomError as error:
        return type(error)
    return None


class TestPool:
    async def test_that_is_full_of_what_cannot_be_mined_keeps_nobody_out(
        self, jobcoin: JobcoinWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pooled, "_READ_MAX", 3)
        purse, nobody, destination = await jobcoin.purse(START_MINOR), Purse(), Purse().address
        for nonce in (1, 2, 3):
            # Of nothing, to oneself: whoever has no coins may send it.
            await jobcoin.book.admit(nobody.pay({nobody.address: 0}, account_nonce=nonce).raw)
        for nonce in (1, 0):
            await jobcoin.book.admit(purse.pay({destination: 5}, account_nonce=nonce).raw)
        await jobcoin.mine()
        assert await jobcoin.balance(destination) == 10
        # When what was missing comes, the rest goes with it.
        await jobcoin.book.admit(nobody.pay({nobody.address: 0}).raw)
        await jobcoin.mine()
        await jobcoin.mine()
        assert (await jobcoin.client.get("/v1/pool")).json()["items"] == []


class TestConcurrency:
    async def test_spends_no_coin_twice(self, jobcoin: JobcoinWorld) -> None:
        """Many at once, each of all there is, through two nodes on one database."""
        purse = await jobcoin.purse(START_MINOR)
        other = JobcoinBook(jobcoin.database, CHAIN_ID, SystemClock())
        raws = [purse.pay({Purse().address: START_MINOR - n}).raw for n in range(RACERS)]
        books = [jobcoin.book, other]
        outcomes = await asyncio.gather(
            *(outcome(books[n % 2].admit(raw)) for n, raw in enumerate(raws))
        )
        await asyncio.gather(jobcoin.book.mine(), other.mine())

        assert outcomes.count(None) == 1
        assert set(outcomes) == {None, AccountNonceTakenError}
        assert await total(jobcoin) == START_MINOR == await minted(jobcoin)

    async def test_lets_nobody_go_below_zero(self, jobcoin: JobcoinWorld) -> None:
        purse, destination = await jobcoin.purse(START_MINOR), Purse().address
        raws = [purse.pay({destination: 400}, account_nonce=n).raw for n in range(RACERS)]
        mining = [jobcoin.book.mine() for _ in range(3)]
        outcomes = await asyncio.gather(
            *(outcome(jobcoin.book.admit(raw)) for raw in raws), *(outcome(m) for m in mining)
        )
        await jobcoin.mine(2)

        assert outcomes.count(InsufficientBalanceError) == RACERS - 2
        assert await jobcoin.balance(destination) in (0, 400, 800)
        assert await total(jobcoin) == START_MINOR

    @pytest.mark.parametrize("seed", [1, 2])
    async def test_keeps_the_sum_whatever_is_sent_at_once(
        self, jobcoin: JobcoinWorld, seed: int
    ) -> None:
        dice = random.Random(seed)  # noqa: S311
        purses = [await jobcoin.purse(START_MINOR) for _ in range(4)]
        addresses = [purse.address for purse in purses]
        sendings = [
            jobcoin.book.admit(
                purse.pay(
                    {to: dice.randint(1, 300) for to in dice.sample(addresses, 2)},
                    account_nonce=nonce,
                ).raw
            )
            for purse in purses
            for nonce in range(8)
        ]
        dice.shuffle(sendings)
        for some in itertools.batched(sendings, 8):
            await asyncio.gather(*(outcome(each) for each in some), jobcoin.book.mine())
        await jobcoin.mine(2)

        assert await total(jobcoin) == 4 * START_MINOR == await minted(jobcoin)
        async with jobcoin.owner.transaction() as session:
            assert (await session.execute(UNEXPLAINED)).all() == []
        assert len((await jobcoin.outlet.scan(0, 99))[-1].txids) == 0

    async def test_makes_blocks_in_one_line(self, jobcoin: JobcoinWorld) -> None:
        before = (await jobcoin.outlet.head()).height
        headers = await asyncio.gather(*(jobcoin.book.mine() for _ in range(8)))

        assert sorted(h.height for h in headers) == list(range(before + 1, before + 9))
        assert len(await jobcoin.outlet.scan(before, before + 8)) == 9

    async def test_mints_no_more_than_the_cap(self, jobcoin: JobcoinWorld) -> None:
        half = CAP_MINOR // 2 + 1
        minting = [
            jobcoin.book.mint(Purse().address, half, reference=f"mint-{n}") for n in range(4)
        ]
        outcomes = await asyncio.gather(*(outcome(m) for m in minting))
        await jobcoin.mine()

        assert outcomes.count(None) == 1
        assert outcomes.count(MintCapError) == 3
        assert await minted(jobcoin) == half == await total(jobcoin)

    async def test_mints_once_for_a_reference(self, jobcoin: JobcoinWorld) -> None:
        address = Purse().address
        admissions = await asyncio.gather(
            *(jobcoin.book.mint(address, 7, reference="same") for _ in range(6))
        )
        await jobcoin.mine()

        assert [a.is_new for a in admissions].count(True) == 1
        assert await jobcoin.balance(address) == 7
        with pytest.raises(IdempotencyKeyReusedError):
            await jobcoin.book.mint(address, 8, reference="same")


class TestReward:
    async def test_goes_to_the_miner_until_the_cap(self, jobcoin: JobcoinWorld) -> None:
        miner = Purse().address
        book = JobcoinBook(jobcoin.database, CHAIN_ID, SystemClock(), miner=miner)
        await book.mine()
        assert await jobcoin.balance(miner) == REWARD_MINOR
        rest_minor = CAP_MINOR - REWARD_MINOR - 5
        await book.mint(Purse().address, rest_minor, reference="nearly all")
        await book.mine()
        await book.mine()

        assert await jobcoin.balance(miner) == REWARD_MINOR + 5
        assert await minted(jobcoin) == CAP_MINOR == await total(jobcoin)

    async def test_goes_to_nobody_of_another_network(self, jobcoin: JobcoinWorld) -> None:
        stranger = Purse("jobcoin:main").address
        with pytest.raises(InvalidAddressError):
            JobcoinBook(jobcoin.database, CHAIN_ID, SystemClock(), miner=stranger)


class TestStore:
    async def test_is_of_one_network(self, jobcoin: JobcoinWorld) -> None:
        with pytest.raises(WrongChainError):
            await JobcoinBook(jobcoin.database, "jobcoin:other", SystemClock()).open()
        await jobcoin.book.open()

    async def test_keeps_its_chain_even_from_its_owner(self, jobcoin: JobcoinWorld) -> None:
        await jobcoin.purse(START_MINOR)
        for statement in FORBIDDEN:
            with pytest.raises(DBAPIError):
                async with jobcoin.owner.transaction() as session:
                    await session.execute(text(statement))

    async def test_shows_the_node_nothing_of_ours(self, jobcoin: JobcoinWorld) -> None:
        for table in ("payout", "ledger_entry", "app_user", "blockchain_wallet", "chain"):
            with pytest.raises(DBAPIError, match="permission denied"):
                async with jobcoin.database.transaction() as session:
                    await session.execute(text(f"SELECT * FROM {table}"))  # noqa: S608

    async def test_shows_our_processes_nothing_of_the_node(self, database_url: str) -> None:
        for role in ("api", "worker", "signer"):
            database = Database(as_role(database_url, role))
            with pytest.raises(DBAPIError, match="permission denied"):
                async with database.transaction() as session:
                    await session.execute(text("SELECT * FROM jobcoin_account"))
            await database.close()


class TestHttp:
    async def test_tells_whom_a_transaction_paid(self, jobcoin: JobcoinWorld) -> None:
        purse, destination = await jobcoin.purse(START_MINOR), Purse().address
        signed = purse.pay({destination: 5, purse.address: 6})
        sent = await jobcoin.client.post("/v1/transactions", json={"raw": signed.raw.hex()})
        waiting = (await jobcoin.client.get(f"/v1/transactions/{signed.txid}")).json()
        header = await jobcoin.mine()
        mined = (await jobcoin.client.get(f"/v1/transactions/{signed.txid}")).json()

        assert (sent.status_code, sent.json()["txid"]) == (HTTPStatus.ACCEPTED, signed.txid)
        assert waiting["height"] is None
        assert mined == {
            "txid": signed.txid,
            "kind": "transfer",
            "from": purse.address,
            "to": [
                {"address": destination, "amount": "5"},
                {"address": purse.address, "amount": "6"},
            ],
            "amount": "11",
            "account_nonce": 0,
            "height": header.height,
            "timestamp": header.mined_at.isoformat(),
        }

    async def test_lists_an_addresss_transactions_page_by_page(self, jobcoin: JobcoinWorld) -> None:
        purse, destination = await jobcoin.purse(START_MINOR), Purse().address
        txids = []
        for nonce in range(5):
            signed = purse.pay({destination: 1}, account_nonce=nonce)
            await jobcoin.outlet.broadcast(signed.raw)
            txids.append(signed.txid)
        await jobcoin.purse(START_MINOR)
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            query = {"address": destination, "limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = (await jobcoin.client.get("/v1/transactions", params=query)).json()
            assert len(page["items"]) <= 2
            found += [item["txid"] for item in page["items"]]
            cursor = page["next_cursor"]

        assert found == txids[::-1]
        everything = (await jobcoin.client.get("/v1/transactions")).json()["items"]
        assert len(everything) == 7

    async def test_tells_what_an_address_may_spend(self, jobcoin: JobcoinWorld) -> None:
        purse = await jobcoin.purse(START_MINOR)
        await jobcoin.outlet.broadcast(purse.pay({Purse().address: 300}).raw)
        found = (await jobcoin.client.get(f"/v1/addresses/{purse.address}")).json()

        assert (found["balance"], found["available"]) == ("1000", "700")
        assert (found["next_nonce"], found["next_free_nonce"]) == (0, 1)

    async def test_lets_only_its_owner_mint(self, jobcoin: JobcoinWorld) -> None:
        address = Purse().address
        body, key = {"address": address, "amount": "5"}, {"Idempotency-Key": "first"}
        statuses = []
        for token in ({}, {"Authorization": "Bearer wrong"}, OWNER):
            answer = await jobcoin.client.post("/v1/mint", json=body, headers=key | token)
            statuses.append(answer.status_code)
        await jobcoin.mine()

        assert statuses == [401, 401, 202]
        assert await jobcoin.balance(address) == 5

    async def test_refuses_a_mint(self, jobcoin: JobcoinWorld) -> None:
        address = Purse().address
        right = {"address": address, "amount": "5"}
        refused: list[tuple[object, str]] = [
            ({"address": "x", "amount": "5"}, "k"),
            *(({"address": address, "amount": amount}, "k") for amount in AMOUNTS),
            ({"address": address}, "k"),
            (right | {"more": "5"}, "k"),
            ([], "k"),
            (right, ""),
            (right, "two words"),
        ]
        for body, key in refused:
            headers = {"Idempotency-Key": key, **OWNER}
            answer = await jobcoin.client.post("/v1/mint", json=body, headers=headers)
            assert answer.status_code in (400, 422), (body, key)
            assert answer.headers["content-type"].startswith("application/problem+json")

        assert (await jobcoin.client.get("/v1/pool")).json()["items"] == []

    async def test_says_what_is_wrong(self, jobcoin: JobcoinWorld) -> None:
        for path, status, code in WRONG:
            answer = await jobcoin.client.get(path)
            assert (path, answer.status_code, answer.json()["code"]) == (path, status, code)

    async def test_names_each_refusal_of_a_transaction(self, jobcoin: JobcoinWorld) -> None:
        purse, destination = await jobcoin.purse(START_MINOR), Purse().address

        async def code(**payment: int) -> str:
            signed = purse.pay({destination: payment["minor"]}, account_nonce=payment["nonce"])
            sent = {"raw": signed.raw.hex()}
            answer = (await jobcoin.client.post("/v1/transactions", json=sent)).json()
            return str(answer.get("code", "taken"))

        assert await code(minor=START_MINOR + 1, nonce=0) == InsufficientBalanceError.code
        assert await code(minor=1, nonce=0) == "taken"
        assert await code(minor=2, nonce=0) == AccountNonceTakenError.code
        await jobcoin.mine()
        assert await code(minor=2, nonce=0) == AccountNonceUsedError.code
