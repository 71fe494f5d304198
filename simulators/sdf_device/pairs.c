/* Keys in and out, SM2 with stored and outside keys. */
#include <string.h>
#include "device.h"

#define PAD (ECCref_MAX_LEN - NUMBER)

static int get_number(const BYTE *field, BYTE *number) {
    for (int i = 0; i < PAD; i++)
        if (field[i])
            return 0;
    memcpy(number, field + PAD, NUMBER);
    return 1;
}

void put_number(BYTE *field, const BYTE *number) {
    memset(field, 0, ECCref_MAX_LEN);
    memcpy(field + PAD, number, NUMBER);
}

int get_point(const ECCrefPublicKey *from, BYTE *public) {
    return from->bits == 256 && get_number(from->x, public) && get_number(from->y, public + NUMBER);
}

static void put_point(ECCrefPublicKey *to, const BYTE *public) {
    to->bits = 256;
    put_number(to->x, public);
    put_number(to->y, public + NUMBER);
}

static int encrypt_to(const BYTE *public, const BYTE *data, ULONG length, ECCCipher *out) {
    BYTE c1[2 * NUMBER];
    if (!sm2_encrypt(public, data, length, c1, out->M, out->C))
        return 0;
    put_number(out->x, c1);
    put_number(out->y, c1 + NUMBER);
    out->L = length;
    return 1;
}

static ULONG decrypt_with(const struct pair *pair, const ECCCipher *in, BYTE *data) {
    BYTE c1[2 * NUMBER];
    if (!get_number(in->x, c1) || !get_number(in->y, c1 + NUMBER))
        return SDR_ENCDATAERR;
    return sm2_decrypt(pair->private, c1, in->M, in->C, in->L, data) ? SDR_OK : SDR_ENCDATAERR;
}

/* A stored pair by value; with `needs_right` the session must have obtained its use. */
static ULONG copy_pair(HANDLE handle, ULONG index, int is_signing, int needs_right, struct pair *copy) {
    struct session *session;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    const struct pair *pair = find_pair(index, is_signing);
    if (!pair)
        code = SDR_KEYNOTEXIST;
    else if (needs_right && !has_right(session, index))
        code = SDR_PARDENY;
    else
        *copy = *pair;
    leave();
    return code;
}

static ULONG export_public(HANDLE handle, ULONG index, int is_signing, ECCrefPublicKey *key) {
    struct pair pair;
    if (!key)
        return SDR_OUTARGERR;
    ULONG code = copy_pair(handle, index, is_signing, 0, &pair);
    if (!code)
        put_point(key, pair.public);
    OPENSSL_cleanse(&pair, sizeof pair);
    return code;
}

ULONG SDF_ExportSignPublicKey_ECC(HANDLE session, ULONG index, ECCrefPublicKey *key) {
    return export_public(session, index, 1, key);
}

ULONG SDF_ExportEncPublicKey_ECC(HANDLE session, ULONG index, ECCrefPublicKey *key) {
    return export_public(session, index, 0, key);
}

ULONG SDF_GenerateKeyPair_ECC(HANDLE handle, ULONG algorithm, ULONG bits, ECCrefPublicKey *pub,
                              ECCrefPrivateKey *key) {
    struct session *session;
    BYTE private[NUMBER], public[2 * NUMBER];
    if (!pub || !key)
        return SDR_OUTARGERR;
    if (bits != 256)
        return SDR_INARGERR;
    if (algorithm != SGD_SM2 && algorithm != SGD_SM2_1 && algorithm != SGD_SM2_3)
        return SDR_ALGNOTSUPPORT;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    leave();
    if (!sm2_generate(private, public))
        return SDR_SKOPERR;
    put_point(pub, public);
    key->bits = 256;
    put_number(key->K, private);
    OPENSSL_cleanse(private, sizeof private);
    return SDR_OK;
}

/* Adds the key to the session; the key value is wiped here whatever happens. */
static ULONG keep_key(HANDLE handle, BYTE *value, ULONG length, HANDLE *key) {
    struct session *session;
    ULONG code = enter(handle, &session);
    if (!code) {
        code = add_key(session, value, length, key);
        leave();
    }
    OPENSSL_cleanse(value, length);
    return code;
}

static int draw_key(ULONG bits, BYTE *value) {
    return (bits == 128 || bits == 256) && RAND_priv_bytes(value, (int)bits / 8) == 1;
}

static ULONG generate_to(HANDLE handle, const BYTE *public, ULONG bits, ECCCipher *blob, HANDLE *key) {
    BYTE value[KEY_MAX];
    if (!draw_key(bits, value))
        return SDR_INARGERR;
    if (!encrypt_to(public, value, bits / 8, blob))
        return SDR_PKOPERR;
    return keep_key(handle, value, bits / 8, key);
}

ULONG SDF_GenerateKeyWithIPK_ECC(HANDLE handle, ULONG index, ULONG bits, ECCCipher *blob, HANDLE *key) {
    struct pair pair;
    if (!blob || !key)
        return SDR_OUTARGERR;
    ULONG code = copy_pair(handle, index, 0, 0, &pair);
    if (!code)
        code = generate_to(handle, pair.public, bits, blob, key);
    OPENSSL_cleanse(&pair, sizeof pair);
    return code;
}

ULONG SDF_GenerateKeyWithEPK_ECC(HANDLE handle, ULONG bits, ULONG algorithm, ECCrefPublicKey *pub, ECCCipher *blob,
                                 HANDLE *key) {
    BYTE public[2 * NUMBER];
    if (!blob || !key)
        return SDR_OUTARGERR;
    if (!pub || !get_point(pub, public))
        return SDR_INARGERR;
    if (algorithm != SGD_SM2_3)
        return SDR_ALGNOTSUPPORT;
    return generate_to(handle, public, bits, blob, key);
}

ULONG SDF_ImportKeyWithISK_ECC(HANDLE handle, ULONG index, ECCCipher *blob, HANDLE *key) {
    struct pair pair;
    BYTE value[KEY_MAX];
    if (!key)
        return SDR_OUTARGERR;
    if (!blob || !blob->L || blob->L > KEY_MAX || blob->L % 8)
        return SDR_INARGERR;
    ULONG code = copy_pair(handle, index, 0, 1, &pair);
    if (!code)
        code = decrypt_with(&pair, blob, value);
    OPENSSL_cleanse(&pair, sizeof pair);
    return code ? code : keep_key(handle, value, blob->L, key);
}

/* The blob is the key under the stored key in ECB, nothing around it. */
static ULONG copy_kek(HANDLE handle, ULONG algorithm, ULONG index, struct key *copy) {
    struct session *session;
    if (algorithm != SGD_SM4_ECB)
        return SDR_ALGNOTSUPPORT;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    const BYTE *kek = find_kek(index);
    copy->length = 16;
    if (kek)
        memcpy(copy->value, kek, 16);
    leave();
    return kek ? SDR_OK : SDR_KEYNOTEXIST;
}

ULONG SDF_GenerateKeyWithKEK(HANDLE handle, ULONG bits, ULONG algorithm, ULONG index, BYTE *blob, ULONG *length,
                             HANDLE *key) {
    struct key kek;
    BYTE value[KEY_MAX];
    if (!blob || !length || !key)
        return SDR_OUTARGERR;
    ULONG code = copy_kek(handle, algorithm, index, &kek);
    if (!code && !draw_key(bits, value))
        code = SDR_INARGERR;
    if (!code)
        code = crypt_blocks(algorithm, &kek, NULL, value, bits / 8, blob, 1);
    OPENSSL_cleanse(&kek, sizeof kek);
    if (code)
        return code;
    *length = bits / 8;
    return keep_key(handle, value, bits / 8, key);
}

ULONG SDF_ImportKeyWithKEK(HANDLE handle, ULONG algorithm, ULONG index, BYTE *blob, ULONG length, HANDLE *key) {
    struct key kek;
    BYTE value[KEY_MAX];
    if (!key)
        return SDR_OUTARGERR;
    if (!blob || !length || length > KEY_MAX || length % 16)
        return SDR_INARGERR;
    ULONG code = copy_kek(handle, algorithm, index, &kek);
    if (!code)
        code = crypt_blocks(algorithm, &kek, NULL, blob, length, value, 0);
    OPENSSL_cleanse(&kek, sizeof kek);
    return code ? code : keep_key(handle, value, length, key);
}

ULONG SDF_InternalSign_ECC(HANDLE handle, ULONG index, BYTE *e, ULONG length, ECCSignature *signature) {
    struct pair pair;
    BYTE raw[2 * NUMBER];
    if (!e || length != NUMBER)
        return SDR_INARGERR;
    if (!signature)
        return SDR_OUTARGERR;
    ULONG code = copy_pair(handle, index, 1, 1, &pair);
    if (!code && !sm2_sign(pair.private, e, raw))
        code = SDR_SIGNERR;
    OPENSSL_cleanse(&pair, sizeof pair);
    if (code)
        return code;
    put_number(signature->r, raw);
    put_number(signature->s, raw + NUMBER);
    return SDR_OK;
}

static ULONG verify(const BYTE *public, const BYTE *e, const ECCSignature *signature) {
    BYTE raw[2 * NUMBER];
    if (!get_number(signature->r, raw) || !get_number(signature->s, raw + NUMBER))
        return SDR_VERIFYERR;
    return sm2_verify(public, e, raw) ? SDR_OK : SDR_VERIFYERR;
}

ULONG SDF_InternalVerify_ECC(HANDLE handle, ULONG index, BYTE *e, ULONG length, ECCSignature *signature) {
    struct pair pair;
    if (!e || length != NUMBER || !signature)
        return SDR_INARGERR;
    ULONG code = copy_pair(handle, index, 1, 0, &pair);
    if (!code)
        code = verify(pair.public, e, signature);
    OPENSSL_cleanse(&pair, sizeof pair);
    return code;
}

/* A session is all an operation with an outside key needs. */
static ULONG enter_with(HANDLE handle, const ECCrefPublicKey *pub, BYTE *public) {
    struct session *session;
    if (!pub || !get_point(pub, public))
        return SDR_INARGERR;
    ULONG code = enter(handle, &session);
    if (!code)
        leave();
    return code;
}

ULONG SDF_ExternalVerify_ECC(HANDLE handle, ULONG algorithm, ECCrefPublicKey *pub, BYTE *e, ULONG length,
                             ECCSignature *signature) {
    BYTE public[2 * NUMBER];
    if (!e || length != NUMBER || !signature)
        return SDR_INARGERR;
    if (algorithm != SGD_SM2_1)
        return SDR_ALGNOTSUPPORT;
    ULONG code = enter_with(handle, pub, public);
    return code ? code : verify(public, e, signature);
}

ULONG SDF_ExternalEncrypt_ECC(HANDLE handle, ULONG algorithm, ECCrefPublicKey *pub, BYTE *data, ULONG length,
                              ECCCipher *out) {
    BYTE public[2 * NUMBER];
    if (!data || !length || length > CIPHER_MAX)
        return SDR_INARGERR;
    if (!out)
        return SDR_OUTARGERR;
    if (algorithm != SGD_SM2_3)
        return SDR_ALGNOTSUPPORT;
    ULONG code = enter_with(handle, pub, public);
    if (code)
        return code;
    return encrypt_to(public, data, length, out) ? SDR_OK : SDR_PKOPERR;
}

/* The standard's form uses the pair for encryption; older machines choose the pair by the algorithm. */
ULONG SDF_InternalDecrypt_ECC(HANDLE handle, ULONG index, DECRYPT_ALGORITHM ECCCipher *in, BYTE *data,
                              ULONG *length) {
    struct pair pair;
    int is_signing = 0;
#ifdef SDF_OLD_VENDOR
    if (algorithm != SGD_SM2_1 && algorithm != SGD_SM2_3)
        return SDR_ALGNOTSUPPORT;
    is_signing = algorithm == SGD_SM2_1;
#endif
    if (!in || !in->L || in->L > CIPHER_MAX)
        return SDR_INARGERR;
    if (!data || !length)
        return SDR_OUTARGERR;
    ULONG code = copy_pair(handle, index, is_signing, 1, &pair);
    if (!code)
        code = decrypt_with(&pair, in, data);
    OPENSSL_cleanse(&pair, sizeof pair);
    if (!code)
        *length = in->L;
    return code;
}
