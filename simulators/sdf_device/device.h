/* What the parts of the simulated device share. */
#ifndef ONECARD_DEVICE_H
#define ONECARD_DEVICE_H
#include <stddef.h>
#include "libcrypto.h"
#include "sdf.h"

#define NUMBER 32
#define KEY_MAX 32
#define DATA_MAX 65536
#define PAIRS_MAX 32
#define KEKS_MAX 16

struct pair {
    int present;
    BYTE private[NUMBER], public[2 * NUMBER];
};

struct key {
    unsigned serial; /* 0: free */
    ULONG length;
    BYTE value[KEY_MAX];
};

struct session;

/* device.c. Every function of the interface begins with `enter`; when that gives SDR_OK the table is locked until
 * `leave`. Work that takes time is done on copies, after `leave`. */
ULONG enter(HANDLE handle, struct session **session);
void leave(void);
ULONG add_key(struct session *session, const BYTE *value, ULONG length, HANDLE *handle);
const struct key *find_key(struct session *session, HANDLE handle);
int has_right(const struct session *session, ULONG index);
EVP_MD_CTX **hash_of(struct session *session);
const struct pair *find_pair(ULONG index, int is_signing);
const BYTE *find_kek(ULONG index);
const char *state_folder(void);

/* cipher.c */
ULONG crypt_blocks(ULONG algorithm, const struct key *key, BYTE *iv, const BYTE *in, ULONG length, BYTE *out,
                   int encrypt);

/* sm2.c: 1 for yes or done, 0 for no or failed. Numbers of 32 bytes, points x || y. */
int sm2_public(const BYTE *d, BYTE *public);
int sm2_generate(BYTE *d, BYTE *public);
int sm2_sign(const BYTE *d, const BYTE *e, BYTE *signature);
int sm2_verify(const BYTE *public, const BYTE *e, const BYTE *signature);
int sm2_encrypt(const BYTE *public, const BYTE *data, ULONG length, BYTE *c1, BYTE *c3, BYTE *c2);
int sm2_decrypt(const BYTE *d, const BYTE *c1, const BYTE *c3, const BYTE *c2, ULONG length, BYTE *data);
int sm2_z(const BYTE *public, const BYTE *id, ULONG length, BYTE *z);

/* pairs.c: structures of the interface from and to plain bytes */
int get_point(const ECCrefPublicKey *from, BYTE *public);
void put_number(BYTE *field, const BYTE *number);

#endif
