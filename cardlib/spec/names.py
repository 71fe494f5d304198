"""Names and AIDs of the environments and applications found on a card or in a PSAM (V2.0 §8.1.1, T1, T2; draft P9 §5).

The DFs of the social security application carry their own AID in `DfSpec.aid`.
"""

RID = bytes.fromhex("D156000005")
ISSUER_INSTITUTION = bytes.fromhex("9156000002")

SSSE_NAME = b"sx1.sh." + "社会保障".encode("gbk")
TRANSIT_AID = bytes.fromhex("A000000632010105")

# PSAM: one environment per algorithm, each with the same application.
PSAM_DES_NAME = SSSE_NAME
PSAM_SM4_NAME = b"sx3.sh." + "社会保障".encode("gbk")
PSAM_AID = bytes.fromhex("D15600000590")

MF_FID = 0x3F00
