/* GM/T 0018: types, error numbers and the functions this library exports. Numbers are little-endian 32-bit values of
 * the machine, big numbers are right-aligned. With SDF_OLD_VENDOR the structures, algorithm ids and InternalDecrypt
 * are those of machines made before the standard: 32-byte fields, the other cipher layout, AES where SM4 is now. */
#ifndef ONECARD_SDF_H
#define ONECARD_SDF_H

typedef unsigned int ULONG;
typedef unsigned char BYTE;
typedef void *HANDLE;

#ifdef SDF_OLD_VENDOR
#define ECCref_MAX_LEN 32
#define SGD_AES_ECB 0x401
#define SGD_AES_CBC 0x402
#define SGD_AES_MAC 0x410
#define SGD_SM4_ECB 0x2001
#define SGD_SM4_CBC 0x2002
#define SGD_SM4_MAC 0x2010
#define CIPHER_MAX 136
#else
#define ECCref_MAX_LEN 64
#define SGD_SM4_ECB 0x401
#define SGD_SM4_CBC 0x402
#define SGD_SM4_MAC 0x410
#define SGD_AES_ECB 0x2001
#define SGD_AES_CBC 0x2002
#define SGD_AES_MAC 0x2010
#define CIPHER_MAX 4096
#endif
#define SGD_3DES_ECB 0x801
#define SGD_3DES_CBC 0x802
#define SGD_3DES_MAC 0x810
#define SGD_SM3 0x1
#define SGD_SM2 0x20100
#define SGD_SM2_1 0x20200
#define SGD_SM2_3 0x20800

#define SDR_OK 0x0
#define SDR_UNKNOWERR 0x01000001
#define SDR_NOTSUPPORT 0x01000002
#define SDR_COMMFAIL 0x01000003
#define SDR_HARDFAIL 0x01000004
#define SDR_OPENDEVICE 0x01000005
#define SDR_OPENSESSION 0x01000006
#define SDR_PARDENY 0x01000007
#define SDR_KEYNOTEXIST 0x01000008
#define SDR_ALGNOTSUPPORT 0x01000009
#define SDR_PKOPERR 0x0100000B
#define SDR_SKOPERR 0x0100000C
#define SDR_SIGNERR 0x0100000D
#define SDR_VERIFYERR 0x0100000E
#define SDR_SYMOPERR 0x0100000F
#define SDR_STEPERR 0x01000010
#define SDR_FILESIZEERR 0x01000011
#define SDR_FILENOEXIST 0x01000012
#define SDR_FILEOFSERR 0x01000013
#define SDR_KEYERR 0x01000015
#define SDR_ENCDATAERR 0x01000016
#define SDR_RANDERR 0x01000017
#define SDR_PRKRERR 0x01000018
#define SDR_MACERR 0x01000019
#define SDR_FILEEXISTS 0x0100001A
#define SDR_FILEWERR 0x0100001B
#define SDR_NOBUFFER 0x0100001C
#define SDR_INARGERR 0x0100001D
#define SDR_OUTARGERR 0x0100001E

typedef struct {
    BYTE IssuerName[40];
    BYTE DeviceName[16];
    BYTE DeviceSerial[16];
    ULONG DeviceVersion;
    ULONG StandardVersion;
    ULONG AsymAlgAbility[2];
    ULONG SymAlgAbility;
    ULONG HashAlgAbility;
    ULONG BufferSize;
} DEVICEINFO;

typedef struct {
    ULONG bits;
    BYTE x[ECCref_MAX_LEN];
    BYTE y[ECCref_MAX_LEN];
} ECCrefPublicKey;

typedef struct {
    ULONG bits;
    BYTE K[ECCref_MAX_LEN];
} ECCrefPrivateKey;

typedef struct {
    BYTE r[ECCref_MAX_LEN];
    BYTE s[ECCref_MAX_LEN];
} ECCSignature;

#ifdef SDF_OLD_VENDOR
typedef struct {
    ULONG L;
    BYTE x[ECCref_MAX_LEN];
    BYTE y[ECCref_MAX_LEN];
    BYTE C[CIPHER_MAX];
    BYTE M[32];
} ECCCipher;
#else
typedef struct {
    BYTE x[ECCref_MAX_LEN];
    BYTE y[ECCref_MAX_LEN];
    BYTE M[32];
    ULONG L;
    BYTE C[];
} ECCCipher;
#endif

#ifdef SDF_OLD_VENDOR
#define DECRYPT_ALGORITHM ULONG algorithm,
#else
#define DECRYPT_ALGORITHM
#endif

#define SDF __attribute__((visibility("default"))) ULONG

/* device and session */
SDF SDF_OpenDevice(HANDLE *device);
SDF SDF_CloseDevice(HANDLE device);
SDF SDF_OpenSession(HANDLE device, HANDLE *session);
SDF SDF_CloseSession(HANDLE session);
SDF SDF_GetDeviceInfo(HANDLE session, DEVICEINFO *info);
SDF SDF_GenerateRandom(HANDLE session, ULONG length, BYTE *out);
SDF SDF_GetPrivateKeyAccessRight(HANDLE session, ULONG index, BYTE *password, ULONG length);
SDF SDF_ReleasePrivateKeyAccessRight(HANDLE session, ULONG index);
/* keys */
SDF SDF_ExportSignPublicKey_ECC(HANDLE session, ULONG index, ECCrefPublicKey *key);
SDF SDF_ExportEncPublicKey_ECC(HANDLE session, ULONG index, ECCrefPublicKey *key);
SDF SDF_GenerateKeyPair_ECC(HANDLE session, ULONG algorithm, ULONG bits, ECCrefPublicKey *pub, ECCrefPrivateKey *key);
SDF SDF_GenerateKeyWithIPK_ECC(HANDLE session, ULONG index, ULONG bits, ECCCipher *blob, HANDLE *key);
SDF SDF_GenerateKeyWithEPK_ECC(HANDLE session, ULONG bits, ULONG algorithm, ECCrefPublicKey *pub, ECCCipher *blob,
                               HANDLE *key);
SDF SDF_ImportKeyWithISK_ECC(HANDLE session, ULONG index, ECCCipher *blob, HANDLE *key);
SDF SDF_GenerateKeyWithKEK(HANDLE session, ULONG bits, ULONG algorithm, ULONG index, BYTE *blob, ULONG *length,
                           HANDLE *key);
SDF SDF_ImportKeyWithKEK(HANDLE session, ULONG algorithm, ULONG index, BYTE *blob, ULONG length, HANDLE *key);
SDF SDF_DestroyKey(HANDLE session, HANDLE key);
/* SM2 */
SDF SDF_InternalSign_ECC(HANDLE session, ULONG index, BYTE *e, ULONG length, ECCSignature *signature);
SDF SDF_InternalVerify_ECC(HANDLE session, ULONG index, BYTE *e, ULONG length, ECCSignature *signature);
SDF SDF_ExternalVerify_ECC(HANDLE session, ULONG algorithm, ECCrefPublicKey *pub, BYTE *e, ULONG length,
                           ECCSignature *signature);
SDF SDF_ExternalEncrypt_ECC(HANDLE session, ULONG algorithm, ECCrefPublicKey *pub, BYTE *data, ULONG length,
                            ECCCipher *out);
SDF SDF_InternalDecrypt_ECC(HANDLE session, ULONG index, DECRYPT_ALGORITHM ECCCipher *in, BYTE *data, ULONG *length);
/* symmetric, hash */
SDF SDF_Encrypt(HANDLE session, HANDLE key, ULONG algorithm, BYTE *iv, BYTE *in, ULONG length, BYTE *out, ULONG *done);
SDF SDF_Decrypt(HANDLE session, HANDLE key, ULONG algorithm, BYTE *iv, BYTE *in, ULONG length, BYTE *out, ULONG *done);
SDF SDF_CalculateMAC(HANDLE session, HANDLE key, ULONG algorithm, BYTE *iv, BYTE *in, ULONG length, BYTE *mac,
                     ULONG *done);
SDF SDF_HashInit(HANDLE session, ULONG algorithm, ECCrefPublicKey *pub, BYTE *id, ULONG length);
SDF SDF_HashUpdate(HANDLE session, BYTE *data, ULONG length);
SDF SDF_HashFinal(HANDLE session, BYTE *hash, ULONG *length);
/* files */
SDF SDF_CreateFile(HANDLE session, BYTE *name, ULONG name_length, ULONG size);
SDF SDF_ReadFile(HANDLE session, BYTE *name, ULONG name_length, ULONG offset, ULONG *length, BYTE *data);
SDF SDF_WriteFile(HANDLE session, BYTE *name, ULONG name_length, ULONG offset, ULONG length, BYTE *data);
SDF SDF_DeleteFile(HANDLE session, BYTE *name, ULONG name_length);
/* ours: what is open now, for tests that look for leaks */
SDF onecard_sdf_open(ULONG *devices, ULONG *sessions, ULONG *keys);

#endif
