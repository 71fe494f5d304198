"""ISO/IEC 7816 and PC/SC: commands, responses, status words, TLV, ATR, channels and readers. Standard library only;
`apdu.pcsc` alone touches pyscard."""
