/* SM2 over OpenSSL's curve arithmetic, not its SM2: signature (GB/T 32918.2), encryption (GB/T 32918.4), Z. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "device.h"

#define HASH 32
#define SCRATCH 6
#define ATTEMPTS 64

static EC_GROUP *group;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_group(void) { group = EC_GROUP_new_by_curve_name(NID_sm2); }

/* Everything one computation needs; `open_work` and `close_work` enclose it. */
struct work {
    BN_CTX *ctx;
    EC_POINT *p, *q;
    BIGNUM *n[SCRATCH];
    const BIGNUM *order;
};

static void close_work(struct work *w) {
    for (int i = 0; i < SCRATCH; i++)
        BN_clear_free(w->n[i]);
    EC_POINT_clear_free(w->p);
    EC_POINT_clear_free(w->q);
    BN_CTX_free(w->ctx);
}

static int open_work(struct work *w) {
    int is_complete = 1;
    memset(w, 0, sizeof *w);
    pthread_once(&once, make_group);
    if (!group)
        return 0;
    w->order = EC_GROUP_get0_order(group);
    w->ctx = BN_CTX_new();
    w->p = EC_POINT_new(group);
    w->q = EC_POINT_new(group);
    for (int i = 0; i < SCRATCH; i++)
        is_complete &= (w->n[i] = BN_new()) != NULL;
    if (is_complete && w->ctx && w->p && w->q)
        return 1;
    close_work(w);
    return 0;
}

static int load(BIGNUM *n, const BYTE *bytes) { return BN_bin2bn(bytes, NUMBER, n) != NULL; }

/* A number from 1 to order - 1. */
static int load_scalar(struct work *w, BIGNUM *n, const BYTE *bytes) {
    return load(n, bytes) && !BN_is_zero(n) && BN_cmp(n, w->order) < 0;
}

/* OpenSSL refuses coordinates that are not on the curve. */
static int load_point(struct work *w, EC_POINT *p, const BYTE *bytes) {
    return load(w->n[4], bytes) && load(w->n[5], bytes + NUMBER) &&
           EC_POINT_set_affine_coordinates(group, p, w->n[4], w->n[5], w->ctx);
}

static int store_point(struct work *w, const EC_POINT *p, BYTE *bytes) {
    return !EC_POINT_is_at_infinity(group, p) &&
           EC_POINT_get_affine_coordinates(group, p, w->n[4], w->n[5], w->ctx) &&
           BN_bn2binpad(w->n[4], bytes, NUMBER) == NUMBER && BN_bn2binpad(w->n[5], bytes + NUMBER, NUMBER) == NUMBER;
}

static int draw(struct work *w, BIGNUM *k) {
    do
        if (!BN_priv_rand_range(k, w->order))
            return 0;
    while (BN_is_zero(k));
    return 1;
}

int sm2_public(const BYTE *d, BYTE *public) {
    struct work w;
    if (!open_work(&w))
        return 0;
    int done = load_scalar(&w, w.n[0], d) && EC_POINT_mul(group, w.p, w.n[0], NULL, NULL, w.ctx) &&
               store_point(&w, w.p, public);
    close_work(&w);
    return done;
}

int sm2_generate(BYTE *d, BYTE *public) {
    struct work w;
    if (!open_work(&w))
        return 0;
    int done = draw(&w, w.n[0]) && BN_bn2binpad(w.n[0], d, NUMBER) == NUMBER;
    close_work(&w);
    return done && sm2_public(d, public);
}

/* One attempt with a fresh k: 1 done, 0 failed, -1 r or s is unusable and another k is needed. */
static int try_sign(struct work *w, const BYTE *d, const BYTE *e, BYTE *signature) {
    BIGNUM *k = w->n[0], *r = w->n[1], *s = w->n[2], *t = w->n[3], *x = w->n[4];
    if (!draw(w, k) || !EC_POINT_mul(group, w->p, k, NULL, NULL, w->ctx) ||
        !EC_POINT_get_affine_coordinates(group, w->p, x, w->n[5], w->ctx))
        return 0;
    if (!load(t, e) || !BN_mod_add(r, t, x, w->order, w->ctx) || !BN_mod_add(t, r, k, w->order, w->ctx))
        return 0;
    if (BN_is_zero(r) || BN_is_zero(t))
        return -1;
    if (!load_scalar(w, t, d) || !BN_mod_mul(s, r, t, w->order, w->ctx) || !BN_mod_sub(s, k, s, w->order, w->ctx) ||
        !BN_add_word(t, 1) || !BN_mod_inverse(t, t, w->order, w->ctx) || !BN_mod_mul(s, s, t, w->order, w->ctx))
        return 0;
    if (BN_is_zero(s))
        return -1;
    return BN_bn2binpad(r, signature, NUMBER) == NUMBER && BN_bn2binpad(s, signature + NUMBER, NUMBER) == NUMBER;
}

int sm2_sign(const BYTE *d, const BYTE *e, BYTE *signature) {
    struct work w;
    int done = -1;
    if (!open_work(&w))
        return 0;
    for (int i = 0; done < 0 && i < ATTEMPTS; i++)
        done = try_sign(&w, d, e, signature);
    close_work(&w);
    return done > 0;
}

int sm2_verify(const BYTE *public, const BYTE *e, const BYTE *signature) {
    struct work w;
    if (!open_work(&w))
        return 0;
    BIGNUM *r = w.n[0], *s = w.n[1], *t = w.n[2], *x = w.n[3];
    int is_right = load_point(&w, w.p, public) && load_scalar(&w, r, signature) &&
                   load_scalar(&w, s, signature + NUMBER) && BN_mod_add(t, r, s, w.order, w.ctx) && !BN_is_zero(t) &&
                   EC_POINT_mul(group, w.q, s, w.p, t, w.ctx) && !EC_POINT_is_at_infinity(group, w.q) &&
                   EC_POINT_get_affine_coordinates(group, w.q, x, w.n[5], w.ctx) && load(t, e) &&
                   BN_mod_add(t, t, x, w.order, w.ctx) && BN_cmp(t, r) == 0;
    close_work(&w);
    return is_right;
}

struct piece {
    const BYTE *data;
    size_t length;
};

static int sm3(const struct piece *pieces, int count, BYTE *hash) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int done = ctx && EVP_DigestInit_ex(ctx, EVP_sm3(), NULL);
    for (int i = 0; done && i < count; i++)
        done = EVP_DigestUpdate(ctx, pieces[i].data, pieces[i].length);
    done = done && EVP_DigestFinal_ex(ctx, hash, NULL);
    EVP_MD_CTX_free(ctx);
    return done;
}

/* out = in XOR KDF(shared); 0 too when the stream is all zeros, which the standard forbids. */
static int mask(const BYTE *shared, const BYTE *in, ULONG length, BYTE *out) {
    BYTE hash[HASH], seen = 0;
    for (ULONG at = 0, counter = 1; at < length; at += HASH, counter++) {
        BYTE number[4] = {counter >> 24, counter >> 16, counter >> 8, counter};
        struct piece pieces[] = {{shared, 2 * NUMBER}, {number, sizeof number}};
        if (!sm3(pieces, 2, hash))
            return 0;
        for (ULONG i = 0; i < HASH && at + i < length; i++) {
            seen |= hash[i];
            out[at + i] = in[at + i] ^ hash[i];
        }
    }
    OPENSSL_cleanse(hash, sizeof hash);
    return seen != 0;
}

static int check_value(const BYTE *shared, const BYTE *data, ULONG length, BYTE *c3) {
    struct piece pieces[] = {{shared, NUMBER}, {data, length}, {shared + NUMBER, NUMBER}};
    return sm3(pieces, 3, c3);
}

/* 1 done, 0 failed, -1 the mask came out as zeros, which a short text can meet: another k is needed. */
static int try_encrypt(struct work *w, const BYTE *data, ULONG length, BYTE *c1, BYTE *c3, BYTE *c2) {
    BYTE shared[2 * NUMBER];
    if (!draw(w, w->n[0]) || !EC_POINT_mul(group, w->q, w->n[0], NULL, NULL, w->ctx) || !store_point(w, w->q, c1) ||
        !EC_POINT_mul(group, w->q, NULL, w->p, w->n[0], w->ctx) || !store_point(w, w->q, shared) ||
        !check_value(shared, data, length, c3))
        return 0;
    int is_masked = mask(shared, data, length, c2);
    OPENSSL_cleanse(shared, sizeof shared);
    return is_masked ? 1 : -1;
}

int sm2_encrypt(const BYTE *public, const BYTE *data, ULONG length, BYTE *c1, BYTE *c3, BYTE *c2) {
    struct work w;
    if (!open_work(&w))
        return 0;
    int done = load_point(&w, w.p, public) ? -1 : 0;
    for (int i = 0; done < 0 && i < ATTEMPTS; i++)
        done = try_encrypt(&w, data, length, c1, c3, c2);
    close_work(&w);
    return done > 0;
}

int sm2_decrypt(const BYTE *d, const BYTE *c1, const BYTE *c3, const BYTE *c2, ULONG length, BYTE *data) {
    struct work w;
    BYTE shared[2 * NUMBER], expected[HASH];
    if (!open_work(&w))
        return 0;
    int done = load_point(&w, w.p, c1) && load_scalar(&w, w.n[0], d) &&
               EC_POINT_mul(group, w.q, NULL, w.p, w.n[0], w.ctx) && store_point(&w, w.q, shared) &&
               mask(shared, c2, length, data) && check_value(shared, data, length, expected) &&
               CRYPTO_memcmp(c3, expected, HASH) == 0;
    if (!done)
        OPENSSL_cleanse(data, length);
    OPENSSL_cleanse(shared, sizeof shared);
    close_work(&w);
    return done;
}

int sm2_z(const BYTE *public, const BYTE *id, ULONG length, BYTE *z) {
    struct work w;
    BYTE curve[4 * NUMBER], bits[2] = {length >> 5, length << 3};
    if (!open_work(&w))
        return 0;
    int done = EC_GROUP_get_curve(group, w.n[0], w.n[1], w.n[2], w.ctx) &&
               BN_bn2binpad(w.n[1], curve, NUMBER) == NUMBER &&
               BN_bn2binpad(w.n[2], curve + NUMBER, NUMBER) == NUMBER &&
               store_point(&w, EC_GROUP_get0_generator(group), curve + 2 * NUMBER);
    struct piece pieces[] = {{bits, 2}, {id, length}, {curve, sizeof curve}, {public, 2 * NUMBER}};
    done = done && sm3(pieces, 4, z);
    close_work(&w);
    return done;
}
