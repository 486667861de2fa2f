import base64

import pytest
from temporalio.api.common.v1 import Payload

from domain.errors import InvariantError, KeyUnavailableError
from infra.codec import EncryptionCodec
from infra.keyring import Keyring, generate_key

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SECRET = b"not for anybody"


class TestKeyring:
    def test_opens_what_it_sealed_in_its_place(self) -> None:
        keyring = Keyring({"k": OLD})
        sealed = keyring.seal(SECRET, associated=b"place")
        assert SECRET not in sealed
        assert keyring.open(sealed, associated=b"place") == SECRET

    def test_never_gives_the_same_bytes_twice(self) -> None:
        keyring = Keyring({"k": OLD})
        assert keyring.seal(SECRET, associated=b"") != keyring.seal(SECRET, associated=b"")

    def test_refuses_another_place(self) -> None:
        keyring = Keyring({"k": OLD})
        with pytest.raises(InvariantError):
            keyring.open(keyring.seal(SECRET, associated=b"here"), associated=b"there")

    def test_refuses_a_value_with_any_byte_changed(self) -> None:
        keyring = Keyring({"k": OLD})
        sealed = keyring.seal(SECRET, associated=b"")
        for index in range(len(sealed)):
            changed = bytearray(sealed)
            changed[index] ^= 1
            with pytest.raises(InvariantError):
                keyring.open(bytes(changed), associated=b"")

    def test_refuses_a_value_cut_short_anywhere(self) -> None:
        keyring = Keyring({"k": OLD})
        sealed = keyring.seal(SECRET, associated=b"")
        for length in range(len(sealed)):
            with pytest.raises(InvariantError):
                keyring.open(sealed[:length], associated=b"")

    def test_rotates(self) -> None:
        sealed = Keyring({"old": OLD}).seal(SECRET, associated=b"")
        rotated = Keyring({"new": NEW, "old": OLD})
        assert rotated.open(sealed, associated=b"") == SECRET
        assert Keyring.key_id_of(rotated.seal(SECRET, associated=b"")) == "new"
        with pytest.raises(KeyUnavailableError):
            Keyring({"new": NEW}).open(sealed, associated=b"")

    def test_reads_its_keys_from_text_in_order(self) -> None:
        text = f"b:{generate_key()}, a:{generate_key()},"
        assert Keyring.parse(text).sealing_key_id == "b"

    @pytest.mark.parametrize(
        "text",
        ["", "k:", "k:short", "k:!!!", "k", f"k:{base64.b64encode(b'x' * 31).decode()}"],
    )
    def test_refuses_bad_keys_without_showing_them(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"[Kk]ey") as caught:
            Keyring.parse(text)
        assert "short" not in str(caught.value)

    def test_refuses_keys_without_a_name_or_with_the_same_one(self) -> None:
        for text in (f":{generate_key()}", f"k:{generate_key()},k:{generate_key()}"):
            with pytest.raises(ValueError, match="key"):
                Keyring.parse(text)


class TestCodec:
    async def test_gives_back_what_it_hid(self) -> None:
        codec = EncryptionCodec(Keyring({"k": OLD}), namespace="default")
        plain = Payload(metadata={"encoding": b"json/plain"}, data=SECRET)
        (sealed,) = await codec.encode([plain])
        assert SECRET not in sealed.SerializeToString()
        assert sealed.metadata["key-id"] == b"k"
        assert await codec.decode([sealed]) == [plain]

    async def test_passes_on_what_was_never_hidden(self) -> None:
        codec = EncryptionCodec(Keyring({"k": OLD}), namespace="default")
        plain = Payload(metadata={"encoding": b"json/plain"}, data=SECRET)
        assert await codec.decode([plain]) == [plain]

    async def test_refuses_another_namespace(self) -> None:
        keyring = Keyring({"k": OLD})
        (sealed,) = await EncryptionCodec(keyring, namespace="one").encode([Payload(data=SECRET)])
        with pytest.raises(InvariantError):
            await EncryptionCodec(keyring, namespace="two").decode([sealed])


class TestDerived:
    def test_is_a_key_of_its_own_for_each_purpose_and_each_key(self) -> None:
        keyring = Keyring({"new": bytes(32), "old": bytes(range(32))})

        keys = [key for purpose in ("a", "b") for key in keyring.derived(purpose).values()]

        assert len({*keys, bytes(32), bytes(range(32))}) == 6
        assert keyring.derived("a") == Keyring({"new": bytes(32)}).derived("a") | {
            "old": keyring.derived("a")["old"]
        }
