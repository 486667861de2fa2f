"""Keys that the BIPs publish."""

import hashlib

MNEMONIC = "abandon " * 11 + "about"
"""Of BIP-84's test vectors."""

MNEMONIC_SEED = hashlib.pbkdf2_hmac("sha512", MNEMONIC.encode(), b"mnemonic", 2_048)
"""BIP-39, "From mnemonic to seed", without a passphrase."""

# BIP-84's zpub of m/84'/0'/0', with the version bytes of BIP-32.
PUBLIC_ACCOUNT_84 = (
    "xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZX"
    "YVUhLv1VMrjPC7PW6V"
)
