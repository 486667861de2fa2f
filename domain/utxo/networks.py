"""
Parameters of Bitcoin-like networks, as data: another such chain is another row.

Sources: the nodes' ``chainparams.cpp`` (Bitcoin Core 29, Litecoin Core 0.21), SLIP-44 for coin
types, CAIP-2 ``bip122`` for ids (the first 32 hex digits of the genesis block's hash).
"""

from dataclasses import dataclass

from domain.errors import WrongChainError

NAMESPACE = "bip122:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One Bitcoin-like network."""

    name: str
    genesis_hash: str
    coin_type: int
    """SLIP-44; 1 is every coin's test networks."""
    p2pkh_prefix: int
    p2sh_prefix: int
    p2sh_legacy_prefix: int | None = None
    """Also accepted, where a coin changed its prefix to tell its addresses from Bitcoin's."""
    bech32_prefix: str
    xpub_version: bytes
    """BIP32 version of serialized public keys."""
    has_replacement: bool = True
    """Nodes relay BIP125 replacements by default."""
    dust_relay_sat_per_kvb: int = 3_000
    """Outputs that cost more than they are worth to spend at this rate are not relayed."""
    long_term_sat_per_kvb: int = 10_000
    """What spending a coin is likely to cost in the long run; Bitcoin Core's own assumption."""
    coinbase_maturity: int = 100

    @property
    def chain_id(self) -> str:
        """The CAIP-2 id."""
        return NAMESPACE + self.genesis_hash[:32]


_MAIN_XPUB, _TEST_XPUB = bytes.fromhex("0488b21e"), bytes.fromhex("043587cf")

BITCOIN = Network(
    name="bitcoin",
    genesis_hash="000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    coin_type=0,
    p2pkh_prefix=0x00,
    p2sh_prefix=0x05,
    bech32_prefix="bc",
    xpub_version=_MAIN_XPUB,
)
BITCOIN_TESTNET3 = Network(
    name="bitcoin testnet3",
    genesis_hash="000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
    coin_type=1,
    p2pkh_prefix=0x6F,
    p2sh_prefix=0xC4,
    bech32_prefix="tb",
    xpub_version=_TEST_XPUB,
)
BITCOIN_TESTNET4 = Network(
    name="bitcoin testnet4",
    genesis_hash="00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
    coin_type=1,
    p2pkh_prefix=0x6F,
    p2sh_prefix=0xC4,
    bech32_prefix="tb",
    xpub_version=_TEST_XPUB,
)
BITCOIN_SIGNET = Network(
    name="bitcoin signet",
    genesis_hash="00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
    coin_type=1,
    p2pkh_prefix=0x6F,
    p2sh_prefix=0xC4,
    bech32_prefix="tb",
    xpub_version=_TEST_XPUB,
)
BITCOIN_REGTEST = Network(
    name="bitcoin regtest",
    genesis_hash="0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
    coin_type=1,
    p2pkh_prefix=0x6F,
    p2sh_prefix=0xC4,
    bech32_prefix="bcrt",
    xpub_version=_TEST_XPUB,
)
LITECOIN = Network(
    name="litecoin",
    genesis_hash="12a765e31ffd4059bada1e25190f6e98c99d9714d334efa41a195a7e7e04bfe2",
    coin_type=2,
    p2pkh_prefix=0x30,
    p2sh_prefix=0x32,
    p2sh_legacy_prefix=0x05,
    bech32_prefix="ltc",
    xpub_version=_MAIN_XPUB,
    has_replacement=False,
    dust_relay_sat_per_kvb=30_000,
    long_term_sat_per_kvb=1_000,
)
LITECOIN_TESTNET4 = Network(
    name="litecoin testnet4",
    genesis_hash="4966625a4b2851d9fdee139e56211a0d88575f59ed816ff5e6a63deb4e3e29a0",
    coin_type=1,
    p2pkh_prefix=0x6F,
    p2sh_prefix=0x3A,
    p2sh_legacy_prefix=0xC4,
    bech32_prefix="tltc",
    xpub_version=_TEST_XPUB,
    has_replacement=False,
    dust_relay_sat_per_kvb=30_000,
    long_term_sat_per_kvb=1_000,
)
LITECOIN_REGTEST = Network(
    name="litecoin regtest",
    genesis_hash="530827f38f93b43ed12af0b3ad25a288dc02ed74d6d7857862df51fc56c416f9",
    coin_type=1,
    p2pkh_prefix=0x6F,
    p2sh_prefix=0x3A,
    p2sh_legacy_prefix=0xC4,
    bech32_prefix="rltc",
    xpub_version=_TEST_XPUB,
    has_replacement=False,
    dust_relay_sat_per_kvb=30_000,
    long_term_sat_per_kvb=1_000,
)

NETWORKS = {
    network.chain_id: network
    for network in (
        BITCOIN,
        BITCOIN_TESTNET3,
        BITCOIN_TESTNET4,
        BITCOIN_SIGNET,
        BITCOIN_REGTEST,
        LITECOIN,
        LITECOIN_TESTNET4,
        LITECOIN_REGTEST,
    )
}


def network_of(chain_id: str) -> Network:
    """
    Return the network with this CAIP-2 id.

    Raises:
        WrongChainError: No row of the table has it.
    """
    if chain_id not in NETWORKS:
        msg = f"{chain_id!r} is not the id of a Bitcoin-like network that is known."
        raise WrongChainError(msg)
    return NETWORKS[chain_id]
