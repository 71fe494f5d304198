/* A PKCS#11 token with a maker's own numbers for SM2 and SM4: everything goes to the library behind it (SoftHSM2), the
 * maker's mechanisms are computed here. Keys of the maker's types are AES and EC keys behind, left readable, because
 * this is a simulator: it protects nothing. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include "../sdf_device/device.h"

typedef unsigned long CK;
struct version { BYTE major, minor; };
struct list { struct version version; void *f[68]; };
struct attribute { CK type; void *value; CK length; };
struct mechanism { CK type; void *parameter; CK length; };
struct string { BYTE *data; CK length; };

/* Places in CK_FUNCTION_LIST. */
enum { GET_FUNCTION_LIST = 3, CREATE = 20, GET_ATTRIBUTE = 24, ENCRYPT_INIT = 29, ENCRYPT = 30, DECRYPT_INIT = 33,
       DECRYPT = 34, SIGN_INIT = 42, SIGN = 43, GENERATE = 58, GENERATE_PAIR = 59, UNWRAP = 61, DERIVE = 62 };

#define CKR_OK 0
#define CKR_GENERAL_ERROR 5
#define CKR_DATA_LEN_RANGE 0x21
#define CKR_ENCRYPTED_DATA_INVALID 0x40
#define CKA_CLASS 0
#define CKA_VALUE 0x11
#define CKA_KEY_TYPE 0x100
#define CKA_SENSITIVE 0x103
#define CKA_VALUE_LEN 0x161
#define CKA_EXTRACTABLE 0x162
#define CKK_EC 3
#define CKK_AES 0x1F
#define CKM_EC_KEY_PAIR_GEN 0x1040
#define CKM_AES_KEY_GEN 0x1080
#define ATTRIBUTES_MAX 32
#define KEY_LENGTH 16

/* What the maker's header would say. */
#define VENDOR_SM4 0x80000101UL
#define VENDOR_SM2 0x80000102UL
#define VENDOR_SM4_KEY_GEN 0x80000201UL
#define VENDOR_SM4_ECB 0x80000202UL
#define VENDOR_SM4_CBC 0x80000203UL
#define VENDOR_SM4_DERIVE 0x80000204UL
#define VENDOR_SM2_KEY_PAIR_GEN 0x80000211UL
#define VENDOR_SM2_SIGN 0x80000212UL
#define VENDOR_SM2_DECRYPT 0x80000213UL

static struct list *behind, own;

/* Between an Init and its operation a session belongs to one thread. */
static __thread struct { CK mechanism; int encrypt; BYTE key[NUMBER], iv[KEY_LENGTH]; } now;

#define BEHIND(place, ...) ((CK(*)())behind->f[place])(__VA_ARGS__)

static const CK one_aes = CKK_AES, one_ec = CKK_EC, key_length = KEY_LENGTH;
static const BYTE yes = 1, no = 0;

/* A copy of the template for the library behind; 1 when it was one of the maker's types (or `is_ours` says so). */
static int translate(const struct attribute *from, CK count, struct attribute *to, int is_ours) {
    if (count > ATTRIBUTES_MAX - 2)
        return 0;
    memcpy(to, from, count * sizeof *from);
    for (CK i = 0; i < count; i++) {
        CK type = 0;
        if (from[i].type != CKA_KEY_TYPE || from[i].length != sizeof type)
            continue;
        memcpy(&type, from[i].value, sizeof type);
        if (type == VENDOR_SM4 || type == VENDOR_SM2) {
            to[i].value = (void *)(type == VENDOR_SM4 ? &one_aes : &one_ec);
            is_ours = 1;
        }
    }
    for (CK i = 0; is_ours && i < count; i++)
        if (from[i].type == CKA_SENSITIVE || from[i].type == CKA_EXTRACTABLE)
            to[i].value = (void *)(from[i].type == CKA_EXTRACTABLE ? &yes : &no);
    return is_ours;
}

/* The key's bytes, right-aligned in `length`. */
static CK read_key(CK session, CK object, BYTE *key, CK length) {
    BYTE value[NUMBER];
    struct attribute attribute = {CKA_VALUE, value, sizeof value};
    CK result = BEHIND(GET_ATTRIBUTE, session, object, &attribute, 1UL);
    if (result == CKR_OK && attribute.length > length)
        return CKR_GENERAL_ERROR;
    if (result == CKR_OK) {
        memset(key, 0, length - attribute.length);
        memcpy(key + length - attribute.length, value, attribute.length);
    }
    return result;
}

static CK sm4(const EVP_CIPHER *cipher, const BYTE *key, const BYTE *iv, int encrypt, const BYTE *in, CK length,
              BYTE *out, CK *done) {
    int written = 0;
    if (length % KEY_LENGTH)
        return CKR_DATA_LEN_RANGE;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int is_done = ctx && EVP_CipherInit_ex(ctx, cipher, NULL, key, iv, encrypt) && EVP_CIPHER_CTX_set_padding(ctx, 0) &&
                  EVP_CipherUpdate(ctx, out, &written, in, (int)length);
    EVP_CIPHER_CTX_free(ctx);
    *done = (CK)written;
    return is_done ? CKR_OK : CKR_GENERAL_ERROR;
}

static CK create(CK session, struct attribute *template, CK count, CK *object) {
    struct attribute copy[ATTRIBUTES_MAX];
    int is_ours = translate(template, count, copy, 0);
    return BEHIND(CREATE, session, is_ours ? copy : template, count, object);
}

static CK unwrap(CK session, struct mechanism *m, CK key, BYTE *blob, CK length, struct attribute *template, CK count,
                 CK *object) {
    struct attribute copy[ATTRIBUTES_MAX];
    int is_ours = translate(template, count, copy, 0);
    return BEHIND(UNWRAP, session, m, key, blob, length, is_ours ? copy : template, count, object);
}

static CK generate(CK session, struct mechanism *m, struct attribute *template, CK count, CK *object) {
    struct attribute copy[ATTRIBUTES_MAX];
    struct mechanism aes = {CKM_AES_KEY_GEN, NULL, 0};
    if (m->type != VENDOR_SM4_KEY_GEN || !translate(template, count, copy, 1))
        return BEHIND(GENERATE, session, m, template, count, object);
    copy[count] = (struct attribute){CKA_VALUE_LEN, (void *)&key_length, sizeof key_length};
    return BEHIND(GENERATE, session, &aes, copy, count + 1, object);
}

static CK generate_pair(CK session, struct mechanism *m, struct attribute *public, CK public_count,
                        struct attribute *private, CK private_count, CK *public_object, CK *private_object) {
    struct attribute copy[ATTRIBUTES_MAX];
    struct mechanism ec = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    int is_ours = m->type == VENDOR_SM2_KEY_PAIR_GEN && translate(private, private_count, copy, 1);
    return BEHIND(GENERATE_PAIR, session, is_ours ? &ec : m, public, public_count, is_ours ? copy : private,
                  private_count, public_object, private_object);
}

static CK derive(CK session, struct mechanism *m, CK base, struct attribute *template, CK count, CK *object) {
    BYTE key[KEY_LENGTH], value[KEY_LENGTH];
    struct attribute copy[ATTRIBUTES_MAX];
    const struct string *data = m->parameter;
    CK done, result;
    if (m->type != VENDOR_SM4_DERIVE || !translate(template, count, copy, 1))
        return BEHIND(DERIVE, session, m, base, template, count, object);
    if (m->length != sizeof *data || data->length != KEY_LENGTH)
        return CKR_DATA_LEN_RANGE;
    if ((result = read_key(session, base, key, sizeof key)) != CKR_OK ||
        (result = sm4(EVP_sm4_ecb(), key, NULL, 1, data->data, data->length, value, &done)) != CKR_OK)
        return result;
    copy[count] = (struct attribute){CKA_VALUE, value, sizeof value};
    return BEHIND(CREATE, session, copy, count + 1, object);
}

static CK init(CK place, CK session, struct mechanism *m, CK object) {
    int is_sm4 = m->type == VENDOR_SM4_ECB || m->type == VENDOR_SM4_CBC;
    now.mechanism = 0;
    if (!is_sm4 && m->type != VENDOR_SM2_SIGN && m->type != VENDOR_SM2_DECRYPT)
        return BEHIND(place, session, m, object);
    CK result = read_key(session, object, now.key, is_sm4 ? KEY_LENGTH : NUMBER);
    if (result != CKR_OK)
        return result;
    if (m->type == VENDOR_SM4_CBC) {
        if (m->length != KEY_LENGTH)
            return CKR_DATA_LEN_RANGE;
        memcpy(now.iv, m->parameter, KEY_LENGTH);
    }
    now.encrypt = place == ENCRYPT_INIT;
    now.mechanism = m->type;
    return CKR_OK;
}

static CK encrypt_init(CK session, struct mechanism *m, CK object) { return init(ENCRYPT_INIT, session, m, object); }
static CK decrypt_init(CK session, struct mechanism *m, CK object) { return init(DECRYPT_INIT, session, m, object); }
static CK sign_init(CK session, struct mechanism *m, CK object) { return init(SIGN_INIT, session, m, object); }

static CK finish(CK place, CK session, BYTE *in, CK length, BYTE *out, CK *done) {
    CK mechanism = now.mechanism, head = 1 + 2 * NUMBER + NUMBER;
    now.mechanism = 0;
    switch (mechanism) {
    case 0:
        return BEHIND(place, session, in, length, out, done);
    case VENDOR_SM2_SIGN:
        *done = 2 * NUMBER;
        return length != NUMBER ? CKR_DATA_LEN_RANGE : sm2_sign(now.key, in, out) ? CKR_OK : CKR_GENERAL_ERROR;
    case VENDOR_SM2_DECRYPT:
        if (length <= head || in[0] != 4)
            return CKR_ENCRYPTED_DATA_INVALID;
        *done = length - head;
        return sm2_decrypt(now.key, in + 1, in + 1 + 2 * NUMBER, in + head, (ULONG)*done, out)
                   ? CKR_OK
                   : CKR_ENCRYPTED_DATA_INVALID;
    default:
        return sm4(mechanism == VENDOR_SM4_ECB ? EVP_sm4_ecb() : EVP_sm4_cbc(), now.key, now.iv, now.encrypt, in,
                   length, out, done);
    }
}

static CK encrypt(CK session, BYTE *in, CK length, BYTE *out, CK *done) {
    return finish(ENCRYPT, session, in, length, out, done);
}
static CK decrypt(CK session, BYTE *in, CK length, BYTE *out, CK *done) {
    return finish(DECRYPT, session, in, length, out, done);
}
static CK sign(CK session, BYTE *in, CK length, BYTE *out, CK *done) {
    return finish(SIGN, session, in, length, out, done);
}

__attribute__((visibility("default"))) CK C_GetFunctionList(struct list **list) {
    void *library = dlopen(BEHIND_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    CK (*get)(struct list **) = library ? (CK(*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
    if (!get || get(&behind) != CKR_OK)
        return CKR_GENERAL_ERROR;
    own = *behind;
    own.f[GET_FUNCTION_LIST] = C_GetFunctionList;
    own.f[CREATE] = create;
    own.f[UNWRAP] = unwrap;
    own.f[GENERATE] = generate;
    own.f[GENERATE_PAIR] = generate_pair;
    own.f[DERIVE] = derive;
    own.f[ENCRYPT_INIT] = encrypt_init;
    own.f[DECRYPT_INIT] = decrypt_init;
    own.f[SIGN_INIT] = sign_init;
    own.f[ENCRYPT] = encrypt;
    own.f[DECRYPT] = decrypt;
    own.f[SIGN] = sign;
    *list = &own;
    return CKR_OK;
}
