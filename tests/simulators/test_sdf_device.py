"""The software SDF device against GM/T 0018 and against independent ciphers."""

from __future__ import annotations

import ctypes
import shutil
import stat
import subprocess
import threading
import time
from ctypes import byref, c_uint32, c_void_p
from pathlib import Path

import pytest
from Crypto.Cipher import AES, DES3

from hsm.primitives import portable_engine
from simulators.sdf_device import PAIRS, SimSdfDevice, build, init_device, library
from simulators.sdf_device.__main__ import main
from tests.hsm.sdf_stand import make_device, needs_compiler, open_things
from tests.simulators.sdf_calls import BASE, Cipher, DeviceInfo, PrivateKey, PublicKey, Sdf, SdfCodeError, Signature

pytestmark = needs_compiler

SM4_ECB, SM4_CBC, SM4_MAC = 0x401, 0x402, 0x410
TDES_ECB, TDES_CBC, AES_ECB = 0x801, 0x802, 0x2001
SM2_SIGN, SM2_ENCRYPT, SM3 = 0x20200, 0x20800, 1
KEY, DATA, IV = bytes(range(16)), bytes(range(100, 148)), bytes(range(50, 66))
TWO_KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
PAIR = PAIRS[0]
engine = portable_engine()


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> SimSdfDevice:
    return make_device(tmp_path_factory, seed="unit")


@pytest.fixture
def sdf(device: SimSdfDevice):
    with Sdf(device.library) as session:
        yield session
    assert open_things(device) == (0, 0, 0)


@pytest.fixture
def broken(tmp_path_factory: pytest.TempPathFactory) -> SimSdfDevice:
    """A device of its own for faults."""
    return make_device(tmp_path_factory, seed="unit")


def imported(sdf: Sdf, device: SimSdfDevice, value: bytes) -> c_void_p:
    """A key with this value, sealed by gmssl to the device."""
    sdf.allow(1, device.password)
    return sdf.envelope(1, engine.sm2_encrypt(sdf.public(1, "Enc"), value))


def fails(number: int):
    return pytest.raises(SdfCodeError, match=f"0x{BASE + number:08X}")


# GM/T 0018 5.3: size and the offset of the last field.
STANDARD = {
    "DEVICEINFO": (100, "BufferSize", 96),
    "ECCrefPublicKey": (132, "y", 68),
    "ECCrefPrivateKey": (68, "K", 4),
    "ECCSignature": (128, "s", 64),
    "ECCCipher": (164, "C", 164),
}
BEFORE = {
    "DEVICEINFO": (100, "BufferSize", 96),
    "ECCrefPublicKey": (68, "y", 36),
    "ECCrefPrivateKey": (36, "K", 4),
    "ECCSignature": (64, "s", 32),
    "ECCCipher": (236, "M", 204),
}


@pytest.mark.parametrize(("expected", "flag"), [(STANDARD, ()), (BEFORE, (library.OLD_VENDOR,))])
def test_structures(expected: dict[str, tuple[int, str, int]], flag: tuple[str, ...], tmp_path: Path) -> None:
    lines = [f'printf("%zu %zu\\n", sizeof({n}), offsetof({n}, {f}));' for n, (_, f, _) in expected.items()]
    source = tmp_path / "sizes.c"
    source.write_text(
        '#include <stdio.h>\n#include <stddef.h>\n#include "sdf.h"\nint main(void) {' + "".join(lines) + "}"
    )
    subprocess.run(
        ["gcc", *flag, "-I", str(library.FOLDER), "-o", str(tmp_path / "sizes"), str(source)], check=True, timeout=60
    )
    printed = subprocess.run([tmp_path / "sizes"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert printed.splitlines() == [f"{size} {offset}" for size, _, offset in expected.values()]


def test_this_second_writing_of_the_structures_agrees() -> None:
    sizes = [ctypes.sizeof(kind) for kind in (DeviceInfo, PublicKey, PrivateKey, Signature)]
    assert sizes == [100, 132, 68, 128]
    assert Cipher.c.offset == 164


def test_nothing_but_the_interface_is_exported(device: SimSdfDevice) -> None:
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", device.library], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    names = {line.split()[-1] for line in listed.splitlines()}
    assert "SDF_OpenDevice" in names
    assert all(name.startswith("SDF_") for name in names - {"onecard_sdf_open"})


def test_device_info_and_random(sdf: Sdf) -> None:
    info = DeviceInfo()
    sdf.call("GetDeviceInfo", byref(info))
    assert bytes(info.issuer).startswith(b"OneCard simulator\0")
    assert info.symmetric & SM4_ECB == SM4_ECB
    assert info.hash == SM3
    first, second = ctypes.create_string_buffer(33), ctypes.create_string_buffer(33)
    sdf.call("GenerateRandom", 32, first)
    sdf.call("GenerateRandom", 32, second)
    assert first.raw[:32] != second.raw[:32]
    assert first.raw[32:] == b"\0"


def test_sm4(sdf: Sdf, device: SimSdfDevice) -> None:
    key = imported(sdf, device, KEY)
    assert sdf.crypt(key, SM4_ECB, DATA) == engine.sm4_ecb(KEY, DATA)
    assert sdf.crypt(key, SM4_ECB, engine.sm4_ecb(KEY, DATA), name="Decrypt") == DATA
    sealed = engine.sm4_cbc(KEY, IV, DATA)
    assert sdf.crypt(key, SM4_CBC, DATA, IV) == (sealed, sealed[-16:])
    assert sdf.crypt(key, SM4_CBC, sealed, IV, name="Decrypt") == (DATA, sealed[-16:])
    assert sdf.crypt(key, SM4_MAC, DATA, IV, name="CalculateMAC") == (sealed[-16:], sealed[-16:])


def test_triple_des_and_aes(sdf: Sdf, device: SimSdfDevice) -> None:
    key = imported(sdf, device, TWO_KEY)
    assert sdf.crypt(key, TDES_ECB, DATA) == DES3.new(TWO_KEY, DES3.MODE_ECB).encrypt(DATA)
    sealed = DES3.new(TWO_KEY, DES3.MODE_CBC, IV[:8]).encrypt(DATA)
    assert sdf.crypt(key, TDES_CBC, DATA, IV[:8]) == (sealed, sealed[-8:])
    assert sdf.crypt(key, AES_ECB, DATA) == AES.new(TWO_KEY, AES.MODE_ECB).encrypt(DATA)


def test_single_des_as_two_equal_halves(sdf: Sdf, device: SimSdfDevice) -> None:
    key = imported(sdf, device, TWO_KEY[:8] * 2)
    assert sdf.crypt(key, TDES_ECB, DATA) == engine.des_ecb(TWO_KEY[:8], DATA)


def test_keys_under_the_kek(sdf: Sdf, device: SimSdfDevice) -> None:
    blob, length, made, back = ctypes.create_string_buffer(64), c_uint32(), c_void_p(), c_void_p()
    sdf.call("GenerateKeyWithKEK", 128, SM4_ECB, 1, blob, byref(length), byref(made))
    lines = (device.folder / "device.keys").read_text().splitlines()
    kek = next(line.split()[2] for line in lines if line.startswith("kek 1 "))
    value = engine.sm4_ecb(bytes.fromhex(kek), blob.raw[: length.value], decrypt=True)
    assert sdf.crypt(made, SM4_ECB, DATA) == engine.sm4_ecb(value, DATA)
    sdf.call("ImportKeyWithKEK", SM4_ECB, 1, blob, length, byref(back))
    assert sdf.crypt(back, SM4_ECB, DATA) == engine.sm4_ecb(value, DATA)


def test_keys_in_envelopes(sdf: Sdf, device: SimSdfDevice) -> None:
    private, public = engine.sm2_generate()
    blob, key = Cipher(), c_void_p()
    sdf.call("GenerateKeyWithEPK_ECC", 128, SM2_ENCRYPT, byref(PublicKey.of(public)), byref(blob), byref(key))
    value = engine.sm2_decrypt(private, blob.raw())
    assert sdf.crypt(key, SM4_ECB, DATA) == engine.sm4_ecb(value, DATA)
    sdf.call("GenerateKeyWithIPK_ECC", 1, 128, byref(blob), byref(key))
    sdf.allow(1, device.password)
    assert sdf.crypt(sdf.envelope(1, blob.raw()), SM4_ECB, DATA) == sdf.crypt(key, SM4_ECB, DATA)


def test_signatures(sdf: Sdf, device: SimSdfDevice) -> None:
    public = sdf.public(PAIR)
    e, signature = engine.sm3(b"anything"), Signature()
    sdf.allow(PAIR, device.password)
    sdf.call("InternalSign_ECC", PAIR, e, 32, byref(signature))
    sdf.call("InternalVerify_ECC", PAIR, e, 32, byref(signature))
    sdf.call("ExternalVerify_ECC", SM2_SIGN, byref(PublicKey.of(public)), e, 32, byref(signature))
    other = engine.sm3(b"anything else")
    with fails(0x0E):
        sdf.call("InternalVerify_ECC", PAIR, other, 32, byref(signature))
    signature.r[0] = 1
    with fails(0x0E):
        sdf.call("ExternalVerify_ECC", SM2_SIGN, byref(PublicKey.of(public)), e, 32, byref(signature))


def test_signatures_of_and_for_another_library(sdf: Sdf, device: SimSdfDevice) -> None:
    """With the device's hash over Z, and the digest it makes, gmssl verifies and signs."""

    def digest(public: bytes, message: bytes) -> bytes:
        out, length = ctypes.create_string_buffer(32), c_uint32()
        sdf.call("HashInit", SM3, byref(PublicKey.of(public)), b"user", 4)
        sdf.call("HashUpdate", message, len(message))
        sdf.call("HashFinal", out, byref(length))
        return out.raw[: length.value]

    public, signature = sdf.public(PAIR), Signature()
    sdf.allow(PAIR, device.password)
    sdf.call("InternalSign_ECC", PAIR, digest(public, b"text"), 32, byref(signature))
    assert engine.sm2_verify(public, b"text", signature.raw(), user_id=b"user")
    assert not engine.sm2_verify(public, b"text", signature.raw(), user_id=b"resu")
    private, outside = engine.sm2_generate()
    theirs = Signature.of(engine.sm2_sign(private, b"text", user_id=b"user"))
    sdf.call("ExternalVerify_ECC", SM2_SIGN, byref(PublicKey.of(outside)), digest(outside, b"text"), 32, byref(theirs))


@pytest.mark.parametrize("text", [b"\x01", b"x" * 33, bytes(200)])
def test_encryption(sdf: Sdf, device: SimSdfDevice, text: bytes) -> None:
    private, public = engine.sm2_generate()
    sealed = Cipher()
    sdf.call("ExternalEncrypt_ECC", SM2_ENCRYPT, byref(PublicKey.of(public)), text, len(text), byref(sealed))
    assert engine.sm2_decrypt(private, sealed.raw()) == text
    theirs = Cipher.of(engine.sm2_encrypt(sdf.public(PAIR, "Enc"), text))
    out, length = ctypes.create_string_buffer(256), c_uint32()
    sdf.allow(PAIR, device.password)
    sdf.call("InternalDecrypt_ECC", PAIR, byref(theirs), out, byref(length))
    assert out.raw[: length.value] == text
    theirs.m[5] ^= 1
    with fails(0x16):
        sdf.call("InternalDecrypt_ECC", PAIR, byref(theirs), out, byref(length))
    assert out.raw[: len(text)] == bytes(len(text))


def test_generated_pair(sdf: Sdf) -> None:
    public, private = PublicKey(), PrivateKey()
    sdf.call("GenerateKeyPair_ECC", SM2_SIGN, 256, byref(public), byref(private))
    assert engine.sm2_public_key(bytes(private.k)[32:]) == public.raw()


def test_hash(sdf: Sdf) -> None:
    out, length = ctypes.create_string_buffer(32), c_uint32()
    sdf.call("HashInit", SM3, None, None, 0)
    sdf.call("HashUpdate", b"a", 1)
    sdf.call("HashUpdate", b"bc", 2)
    sdf.call("HashFinal", out, byref(length))
    assert (out.raw, length.value) == (engine.sm3(b"abc"), 32)
    with fails(0x10):
        sdf.call("HashFinal", out, byref(length))
    with fails(0x10):
        sdf.call("HashUpdate", b"x", 1)


def test_files(sdf: Sdf) -> None:
    name, out, length = b"a/../b", ctypes.create_string_buffer(8), c_uint32(4)
    sdf.call("CreateFile", name, len(name), 10)
    sdf.call("WriteFile", name, len(name), 6, 4, b"tail")
    sdf.call("ReadFile", name, len(name), 4, byref(length), out)
    assert out.raw[:4] == b"\0\0ta"
    for number, call in (
        (0x1A, ("CreateFile", name, len(name), 10)),
        (0x11, ("CreateFile", b"other", 5, 0)),
        (0x13, ("WriteFile", name, len(name), 7, 4, b"tail")),
        (0x13, ("ReadFile", name, len(name), 0xFFFFFFFF, byref(length), out)),
        (0x12, ("DeleteFile", b"other", 5)),
    ):
        with fails(number):
            sdf.call(*call)
    sdf.call("DeleteFile", name, len(name))
    with fails(0x12):
        sdf.call("ReadFile", name, len(name), 0, byref(length), out)


OUT, LENGTH, HANDLE = ctypes.create_string_buffer(256), c_uint32(), c_void_p()
REFUSED = {
    "random without room": (0x1E, "GenerateRandom", 8, None),
    "no random bytes": (0x1D, "GenerateRandom", 0, OUT),
    "info without room": (0x1E, "GetDeviceInfo", None),
    "no such pair": (0x08, "ExportSignPublicKey_ECC", 31, byref(PublicKey())),
    "index out of range": (0x08, "ExportSignPublicKey_ECC", 4000000000, byref(PublicKey())),
    "public key without room": (0x1E, "ExportEncPublicKey_ECC", 1, None),
    "sign without right": (0x07, "InternalSign_ECC", 3, bytes(32), 32, byref(Signature())),
    "sign a short digest": (0x1D, "InternalSign_ECC", 3, bytes(31), 31, byref(Signature())),
    "sign nothing": (0x1D, "InternalSign_ECC", 3, None, 32, byref(Signature())),
    "wrong password": (0x18, "GetPrivateKeyAccessRight", 3, b"wrong", 5),
    "no password": (0x1D, "GetPrivateKeyAccessRight", 3, None, 5),
    "password of no pair": (0x08, "GetPrivateKeyAccessRight", 31, b"wrong", 5),
    "release what was not given": (0x07, "ReleasePrivateKeyAccessRight", 3),
    "no such KEK": (0x08, "GenerateKeyWithKEK", 128, SM4_ECB, 9, OUT, byref(LENGTH), byref(HANDLE)),
    "KEK of another algorithm": (0x09, "GenerateKeyWithKEK", 128, AES_ECB, 1, OUT, byref(LENGTH), byref(HANDLE)),
    "key of odd length": (0x1D, "GenerateKeyWithKEK", 100, SM4_ECB, 1, OUT, byref(LENGTH), byref(HANDLE)),
    "blob without handle": (0x1E, "GenerateKeyWithKEK", 128, SM4_ECB, 1, OUT, byref(LENGTH), None),
    "half a blob": (0x1D, "ImportKeyWithKEK", SM4_ECB, 1, OUT, 8, byref(HANDLE)),
    "envelope without right": (0x07, "ImportKeyWithISK_ECC", 1, byref(Cipher(length=16)), byref(HANDLE)),
    "envelope too long": (0x1D, "ImportKeyWithISK_ECC", 1, byref(Cipher(length=40)), byref(HANDLE)),
    "key that is none": (0x08, "DestroyKey", c_void_p(0x10001)),
    "encrypt with no key": (0x08, "Encrypt", None, SM4_ECB, None, DATA, 16, OUT, byref(LENGTH)),
    "encrypt nothing": (0x1D, "Encrypt", None, SM4_ECB, None, None, 16, OUT, byref(LENGTH)),
    "encrypt nowhere": (0x1E, "Encrypt", None, SM4_ECB, None, DATA, 16, None, byref(LENGTH)),
    "verify with a point off the curve": (
        0x0E, "ExternalVerify_ECC", SM2_SIGN, byref(PublicKey(bits=256)), bytes(32), 32, byref(Signature())
    ),
    "key of 128 bits": (
        0x1D, "ExternalVerify_ECC", SM2_SIGN, byref(PublicKey(bits=128)), bytes(32), 32, byref(Signature())
    ),
    "verify with the encryption id": (
        0x09, "ExternalVerify_ECC", SM2_ENCRYPT, byref(PublicKey(bits=256)), bytes(32), 32, byref(Signature())
    ),
    "hash of another kind": (0x09, "HashInit", 2, None, None, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(sdf: Sdf, case: str) -> None:
    number, *call = REFUSED[case]
    with fails(number):
        sdf.call(*call)


def test_refusals_of_a_key(sdf: Sdf, device: SimSdfDevice) -> None:
    key = imported(sdf, device, KEY)
    for number, algorithm, data, iv in (
        (0x1D, SM4_ECB, DATA[:15], None),
        (0x1D, SM4_CBC, DATA, None),
        (0x09, 0x9999, DATA, None),
        (0x09, SM4_MAC, DATA, IV),
    ):
        with fails(number):
            sdf.crypt(key, algorithm, data, iv)
    with fails(0x09):
        sdf.crypt(key, SM4_CBC, DATA, IV, name="CalculateMAC")
    with fails(0x15):
        sdf.crypt(imported(sdf, device, bytes(24)), SM4_ECB, DATA)
    sdf.call("DestroyKey", key)
    with fails(0x08):
        sdf.crypt(key, SM4_ECB, DATA)


def test_rights_end(sdf: Sdf, device: SimSdfDevice) -> None:
    sdf.allow(PAIR, device.password)
    sdf.call("ReleasePrivateKeyAccessRight", PAIR)
    with fails(0x07):
        sdf.call("InternalSign_ECC", PAIR, bytes(32), 32, byref(Signature()))


def test_handles_do_not_outlive_their_session(device: SimSdfDevice) -> None:
    with Sdf(device.library) as first, Sdf(device.library) as second:
        key = imported(first, device, KEY)
        with fails(0x08):
            second.crypt(key, SM4_ECB, DATA)
    with fails(0x1D):
        first.crypt(key, SM4_ECB, DATA)


def test_unplugged_and_back(broken: SimSdfDevice) -> None:
    with Sdf(broken.library) as sdf:
        broken.unplug()
        with fails(0x03):
            sdf.call("GenerateRandom", 8, OUT)
        with fails(0x05):
            Sdf(broken.library)
        broken.plug()
        with fails(0x03):
            sdf.call("GenerateRandom", 8, OUT)
        with Sdf(broken.library) as fresh:
            fresh.call("GenerateRandom", 8, OUT)
    assert open_things(broken) == (0, 0, 0)


def test_session_limit(broken: SimSdfDevice) -> None:
    broken.limit_sessions(1)
    with Sdf(broken.library):
        with fails(0x06):
            Sdf(broken.library)
        broken.limit_sessions(2)
        with Sdf(broken.library):
            pass


def test_refuses_after_some_operations_and_is_slow(broken: SimSdfDevice) -> None:
    with Sdf(broken.library) as sdf:
        broken.refuse_after(2, BASE + 0x1C)
        for _ in range(2):
            sdf.call("GenerateRandom", 8, OUT)
        with fails(0x1C):
            sdf.call("GenerateRandom", 8, OUT)
        broken.refuse_after(-1)
        broken.delay(30)
        start = time.monotonic()
        sdf.call("GenerateRandom", 8, OUT)
        assert time.monotonic() - start >= 0.03


def test_many_threads(device: SimSdfDevice) -> None:
    expected, wrong = engine.sm4_ecb(KEY, DATA), []

    def work() -> None:
        with Sdf(device.library) as sdf:
            key = imported(sdf, device, KEY)
            for _ in range(200):
                if sdf.crypt(key, SM4_ECB, DATA) != expected:
                    wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert open_things(device) == (0, 0, 0)


@pytest.mark.parametrize(
    "line", ["kek 1 00", "sign 1 " + "00" * 32, "sign 99 " + "11" * 32, "sign 1 zz", "else 1 00", "kek"]
)
def test_damaged_state_does_not_open(tmp_path_factory: pytest.TempPathFactory, line: str) -> None:
    device = make_device(tmp_path_factory)
    with (device.folder / "device.keys").open("a") as file:
        file.write(line + "\n")
    with fails(0x05):
        Sdf(device.library)


def test_devices_of_one_seed_are_a_cluster(device: SimSdfDevice, broken: SimSdfDevice) -> None:
    stranger = init_device(broken.folder / "stranger", seed="another", library=broken.library)
    with Sdf(device.library) as first, Sdf(broken.library) as second, Sdf(stranger.library) as third:
        assert first.public(PAIR) == second.public(PAIR) != third.public(PAIR)
        assert first.public(1, "Enc") != first.public(1, "Sign")
        assert first.public(PAIR, "Enc") == first.public(PAIR, "Sign")
    assert device.password == broken.password != stranger.password


def test_init_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "device"
    assert main(["init", str(folder)]) == 0
    printed = capsys.readouterr().out
    password = (folder / "password").read_text()
    assert str(folder / "password") in printed
    assert password not in printed
    for name in ("password", "device.keys"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    before = (folder / "device.keys").read_bytes()
    assert main(["init", str(folder)]) == 1
    assert (folder / "device.keys").read_bytes() == before
    monkeypatch.setattr(library.shutil, "which", lambda name: None)
    assert main(["init", str(tmp_path / "second")]) == 1
    assert "gcc is not installed" in capsys.readouterr().err


def test_a_compiler_error_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    with pytest.raises(library.SdfBuildError, match="make"):
        build(tmp_path)
