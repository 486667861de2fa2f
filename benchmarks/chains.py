"""Blocks to catch up with: full of payments to strangers, on the local stack's nodes."""

from hashlib import sha256

from eth_abi.abi import encode

from chains.evm.rpc import open_rpc
from chains.json_rpc import Call
from devnet.bootstrap import TOKEN
from devnet.rich_miner import MATURE_BLOCKS, POSITION, SEED, RichMiner
from devnet.rich_uncle import RichUncle
from devnet.site import EVM_CHAIN_ID, Site
from domain.coins import Coin, CoinOutput, UnsignedCoinAttempt
from domain.evm_calls import TRANSFER_SELECTOR
from domain.scanning import Outpoint
from domain.utxo.networks import BITCOIN_REGTEST
from domain.utxo.scripts import address_of
from infra.database import Database
from models.wallets import Asset
from signing.utxo import sign_coins

TRANSACTIONS_PER_BLOCK = 10
OUTPUTS_PER_TRANSACTION = 8
PAID_MINOR = 20_000
AUTOMINE_OFF = False
PLAIN_GAS, TOKEN_GAS = 21_000, 100_000


async def fill_evm(site: Site, *, blocks: int) -> None:
    """Mine blocks of plain and of token transfers to as many strangers."""
    token = await _token(site)
    rpc = open_rpc([site.evm_url], chain_number=EVM_CHAIN_ID)
    try:
        account = (await rpc.call("eth_accounts"))[0]
        await RichUncle(site.evm_url).mint_token(token, account, 10 * blocks * PAID_MINOR)
        nonce = int(await rpc.call("eth_getTransactionCount", account, "latest"), 16)
        await rpc.call("evm_setAutomine", AUTOMINE_OFF)
        for block in range(blocks):
            transfers = [
                _transfer(account, nonce + place, f"{block} {place}", token if place % 3 else None)
                for place in range(TRANSACTIONS_PER_BLOCK)
            ]
            await rpc.batch([*transfers, ("evm_mine", [])])
            nonce += TRANSACTIONS_PER_BLOCK
    finally:
        await rpc.close()


async def _token(site: Site) -> str:
    database = Database(site.database_url())
    try:
        async with database.transaction() as session:
            return str((await session.get_one(Asset, TOKEN)).contract_address)
    finally:
        await database.close()


def _transfer(account: str, nonce: int, receiver: str, token: str | None) -> Call:
    stranger = "0x" + sha256(receiver.encode()).hexdigest()[:40]
    common = {"from": account, "nonce": hex(nonce)}
    if token is None:
        plain = {"to": stranger, "value": hex(PAID_MINOR), "gas": hex(PLAIN_GAS)}
        return "eth_sendTransaction", [common | plain]
    data = TRANSFER_SELECTOR + encode(["address", "uint256"], [stranger, PAID_MINOR])
    call = {"to": token, "data": "0x" + data.hex(), "gas": hex(TOKEN_GAS)}
    return "eth_sendTransaction", [common | call]


async def fill_bitcoin(site: Site, *, blocks: int) -> None:
    """Mine blocks whose transactions pay several strangers each, from mined coins."""
    miner = RichMiner(site.bitcoin_url, BITCOIN_REGTEST)
    try:
        await miner.mine(blocks + MATURE_BLOCKS)
        coins = iter(await _mature(miner, blocks))
        for number in range(blocks):
            raws = _chain_of_payments(next(coins), number)
            for raw in raws:
                await miner.call("sendrawtransaction", raw.hex())
            await miner.mine()
    finally:
        await miner.close()


async def _mature(miner: RichMiner, count: int) -> list[Coin]:
    found = await miner.call("scantxoutset", "start", [f"addr({miner.address})"])
    mature_height = int(found["height"]) - MATURE_BLOCKS + 1
    old = [e for e in found["unspents"] if e["height"] <= mature_height]
    big = sorted(old, key=lambda e: -e["amount"])[:count]
    assert len(big) == count
    return [
        Coin(Outpoint(e["txid"], int(e["vout"])), round(float(e["amount"]) * 10**8), POSITION)
        for e in big
    ]


def _chain_of_payments(coin: Coin, number: int) -> list[bytes]:
    """Return transactions that each spend the change of the one before."""
    raws: list[bytes] = []
    me = miner_address()
    for place in range(TRANSACTIONS_PER_BLOCK):
        paid = [
            CoinOutput(_stranger(f"{number} {place} {n}"), PAID_MINOR)
            for n in range(OUTPUTS_PER_TRANSACTION)
        ]
        left_minor = coin.amount_minor - PAID_MINOR * OUTPUTS_PER_TRANSACTION - 2_000
        outputs = (CoinOutput(me, left_minor), *paid)
        signed = sign_coins(UnsignedCoinAttempt(BITCOIN_REGTEST.chain_id, (coin,), outputs), SEED)
        raws.append(signed.raw)
        coin = Coin(Outpoint(signed.txid, 0), left_minor, POSITION)
    return raws


def miner_address() -> str:
    """Return the rich miner's address."""
    return RichMiner("http://127.0.0.1:1", BITCOIN_REGTEST).address


def _stranger(name: str) -> str:
    return address_of(b"\x00\x14" + sha256(name.encode()).digest()[:20], BITCOIN_REGTEST)
