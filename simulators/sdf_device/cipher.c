/* Symmetric encryption, MAC, hash and random numbers. */
#include <string.h>
#include "device.h"

#define BLOCK_MAX 16

enum mode { ECB, CBC, MAC };

struct cipher {
    ULONG algorithm;
    enum mode mode;
    ULONG block, key_length;
    const EVP_CIPHER *(*evp)(void);
};

static const struct cipher ciphers[] = {
    {SGD_SM4_ECB, ECB, 16, 16, EVP_sm4_ecb},       {SGD_SM4_CBC, CBC, 16, 16, EVP_sm4_cbc},
    {SGD_SM4_MAC, MAC, 16, 16, EVP_sm4_cbc},       {SGD_AES_ECB, ECB, 16, 16, EVP_aes_128_ecb},
    {SGD_AES_CBC, CBC, 16, 16, EVP_aes_128_cbc},   {SGD_AES_MAC, MAC, 16, 16, EVP_aes_128_cbc},
    {SGD_3DES_ECB, ECB, 8, 24, EVP_des_ede3_ecb},  {SGD_3DES_CBC, CBC, 8, 24, EVP_des_ede3_cbc},
    {SGD_3DES_MAC, MAC, 8, 24, EVP_des_ede3_cbc},
};

static const struct cipher *find_cipher(ULONG algorithm) {
    for (size_t i = 0; i < sizeof ciphers / sizeof *ciphers; i++)
        if (ciphers[i].algorithm == algorithm)
            return &ciphers[i];
    return NULL;
}

/* The key as the cipher wants it: two-key triple DES is K1 K2 K1. 0 when the length does not fit. */
static int fit_key(const struct cipher *cipher, const struct key *key, BYTE *fitted) {
    memcpy(fitted, key->value, key->length);
    if (key->length == cipher->key_length)
        return 1;
    if (cipher->key_length != 24 || key->length != 16)
        return 0;
    memcpy(fitted + 16, fitted, 8);
    return 1;
}

ULONG crypt_blocks(ULONG algorithm, const struct key *key, BYTE *iv, const BYTE *in, ULONG length, BYTE *out,
                   int encrypt) {
    const struct cipher *cipher = find_cipher(algorithm);
    BYTE fitted[KEY_MAX], last[BLOCK_MAX];
    int done = 0;
    if (!cipher)
        return SDR_ALGNOTSUPPORT;
    if (!length || length > DATA_MAX || length % cipher->block || (cipher->mode != ECB && !iv))
        return SDR_INARGERR;
    if (!fit_key(cipher, key, fitted))
        return SDR_KEYERR;
    memcpy(last, in + length - cipher->block, cipher->block);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int is_done = ctx && EVP_CipherInit_ex(ctx, cipher->evp(), NULL, fitted, iv, encrypt) &&
                  EVP_CIPHER_CTX_set_padding(ctx, 0) && EVP_CipherUpdate(ctx, out, &done, in, (int)length) &&
                  done == (int)length;
    EVP_CIPHER_CTX_free(ctx);
    OPENSSL_cleanse(fitted, sizeof fitted);
    if (!is_done)
        return SDR_SYMOPERR;
    if (cipher->mode != ECB)
        memcpy(iv, encrypt ? out + length - cipher->block : last, cipher->block);
    return SDR_OK;
}

/* A copy of the key, so that the table is free while the cipher runs. */
static ULONG copy_key(HANDLE handle, HANDLE key_handle, struct key *copy) {
    struct session *session;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    const struct key *key = find_key(session, key_handle);
    if (key)
        *copy = *key;
    leave();
    return key ? SDR_OK : SDR_KEYNOTEXIST;
}

static ULONG crypt_data(HANDLE handle, HANDLE key_handle, ULONG algorithm, BYTE *iv, BYTE *in, ULONG length, BYTE *out,
                        ULONG *done, int encrypt) {
    struct key key;
    const struct cipher *cipher = find_cipher(algorithm);
    if (!in)
        return SDR_INARGERR;
    if (!out || !done)
        return SDR_OUTARGERR;
    ULONG code = copy_key(handle, key_handle, &key);
    if (code)
        return code;
    code = cipher && cipher->mode != MAC ? crypt_blocks(algorithm, &key, iv, in, length, out, encrypt)
                                         : SDR_ALGNOTSUPPORT;
    OPENSSL_cleanse(&key, sizeof key);
    if (!code)
        *done = length;
    return code;
}

ULONG SDF_Encrypt(HANDLE session, HANDLE key, ULONG algorithm, BYTE *iv, BYTE *in, ULONG length, BYTE *out,
                  ULONG *done) {
    return crypt_data(session, key, algorithm, iv, in, length, out, done, 1);
}

ULONG SDF_Decrypt(HANDLE session, HANDLE key, ULONG algorithm, BYTE *iv, BYTE *in, ULONG length, BYTE *out,
                  ULONG *done) {
    return crypt_data(session, key, algorithm, iv, in, length, out, done, 0);
}

/* The last block of CBC; the caller pads. */
ULONG SDF_CalculateMAC(HANDLE handle, HANDLE key_handle, ULONG algorithm, BYTE *iv, BYTE *in, ULONG length, BYTE *mac,
                       ULONG *done) {
    struct key key;
    BYTE out[BLOCK_MAX];
    const struct cipher *cipher = find_cipher(algorithm);
    if (!in || !iv || !length)
        return SDR_INARGERR;
    if (!mac || !done)
        return SDR_OUTARGERR;
    ULONG code = copy_key(handle, key_handle, &key);
    if (code)
        return code;
    if (!cipher || cipher->mode != MAC)
        code = SDR_ALGNOTSUPPORT;
    else if (length % cipher->block)
        code = SDR_INARGERR;
    for (ULONG at = 0; !code && at < length; at += cipher->block)
        code = crypt_blocks(algorithm, &key, iv, in + at, cipher->block, out, 1);
    OPENSSL_cleanse(&key, sizeof key);
    if (code)
        return code;
    memcpy(mac, out, cipher->block);
    *done = cipher->block;
    return SDR_OK;
}

ULONG SDF_GenerateRandom(HANDLE handle, ULONG length, BYTE *out) {
    struct session *session;
    if (!length || length > DATA_MAX)
        return SDR_INARGERR;
    if (!out)
        return SDR_OUTARGERR;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    leave();
    return RAND_priv_bytes(out, (int)length) == 1 ? SDR_OK : SDR_RANDERR;
}

/* With a public key the hash starts with Z of that key and `id`. */
ULONG SDF_HashInit(HANDLE handle, ULONG algorithm, ECCrefPublicKey *key, BYTE *id, ULONG length) {
    struct session *session;
    BYTE public[2 * NUMBER], z[NUMBER];
    if (algorithm != SGD_SM3)
        return SDR_ALGNOTSUPPORT;
    if (key && ((!id && length) || length > 8191 || !get_point(key, public)))
        return SDR_INARGERR;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    EVP_MD_CTX **hash = hash_of(session);
    EVP_MD_CTX_free(*hash);
    *hash = EVP_MD_CTX_new();
    if (!*hash || !EVP_DigestInit_ex(*hash, EVP_sm3(), NULL) ||
        (key && (!sm2_z(public, id, length, z) || !EVP_DigestUpdate(*hash, z, sizeof z)))) {
        EVP_MD_CTX_free(*hash);
        *hash = NULL;
        code = SDR_UNKNOWERR;
    }
    leave();
    return code;
}

ULONG SDF_HashUpdate(HANDLE handle, BYTE *data, ULONG length) {
    struct session *session;
    if (!data && length)
        return SDR_INARGERR;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    EVP_MD_CTX *hash = *hash_of(session);
    code = !hash ? SDR_STEPERR : EVP_DigestUpdate(hash, data, length) ? SDR_OK : SDR_UNKNOWERR;
    leave();
    return code;
}

ULONG SDF_HashFinal(HANDLE handle, BYTE *out, ULONG *length) {
    struct session *session;
    if (!out || !length)
        return SDR_OUTARGERR;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    EVP_MD_CTX **hash = hash_of(session);
    code = !*hash ? SDR_STEPERR : EVP_DigestFinal_ex(*hash, out, length) ? SDR_OK : SDR_UNKNOWERR;
    EVP_MD_CTX_free(*hash);
    *hash = NULL;
    leave();
    return code;
}
