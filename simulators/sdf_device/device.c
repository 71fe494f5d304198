/* Device and session handles, stored keys, access rights, faults.
 *
 * State is the folder in ONECARD_SDF_STATE, else the folder this library lies in, so that copies of the library are
 * separate devices of one process. `device.keys` is read when the first device handle is opened; `control` whenever it
 * has changed. Handles are numbers, never addresses: a stale one is refused, not followed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "device.h"

#define DEVICES_MAX 32
#define SESSIONS_MAX 256
#define KEYS_MAX 128
#define PASSWORD_MAX 64
#define LINE_MAX_BYTES 512

struct session {
    unsigned serial, incarnation; /* serial 0: free */
    BYTE rights[PAIRS_MAX + 1];
    struct key keys[KEYS_MAX];
    EVP_MD_CTX *hash;
};

struct device {
    unsigned serial, incarnation;
};

static struct {
    int unplugged, delay_ms, max_sessions;
    unsigned incarnation, refuse_code;
    long refuse_after, operations;
    struct timespec changed;
    ino_t inode;
} control;

static struct {
    char serial[17];
    struct pair sign[PAIRS_MAX + 1], encrypt[PAIRS_MAX + 1];
    BYTE passwords[PAIRS_MAX + 1][PASSWORD_MAX];
    ULONG password_lengths[PAIRS_MAX + 1];
    BYTE keks[KEKS_MAX + 1][16];
    int has_kek[KEKS_MAX + 1];
} stored;

static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER, faults = PTHREAD_MUTEX_INITIALIZER;
static struct device devices[DEVICES_MAX];
static struct session sessions[SESSIONS_MAX];
static unsigned serials;
static char folder[PATH_MAX];
static pthread_once_t folder_once = PTHREAD_ONCE_INIT;

static void find_folder(void) {
    const char *given = getenv("ONECARD_SDF_STATE");
    Dl_info self;
    if (given)
        snprintf(folder, sizeof folder, "%s", given);
    else if (dladdr((void *)find_folder, &self) && strrchr(self.dli_fname, '/'))
        snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(self.dli_fname, '/') - self.dli_fname), self.dli_fname);
}

const char *state_folder(void) {
    pthread_once(&folder_once, find_folder);
    return folder;
}

static FILE *open_state(const char *name) {
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/%s", state_folder(), name);
    return fopen(path, "re");
}

/* Bytes of hex digits, -1 for anything else or more than `room`. */
static int unhex(const char *text, BYTE *out, size_t room) {
    size_t length = strlen(text) / 2;
    if (strlen(text) % 2 || length > room)
        return -1;
    for (size_t i = 0; i < length; i++)
        if (sscanf(text + 2 * i, "%2hhx", out + i) != 1)
            return -1;
    return (int)length;
}

static int store_pair(struct pair *pair, const BYTE *value, int length) {
    if (length != NUMBER)
        return 0;
    memcpy(pair->private, value, NUMBER);
    return pair->present = sm2_public(pair->private, pair->public);
}

static int store_line(const char *kind, unsigned index, const char *text) {
    BYTE value[PASSWORD_MAX];
    int length = unhex(text, value, sizeof value);
    if (!strcmp(kind, "serial"))
        return snprintf(stored.serial, sizeof stored.serial, "%s", text) > 0;
    if (length < 0 || index < 1 || index > PAIRS_MAX)
        return 0;
    if (!strcmp(kind, "sign"))
        return store_pair(&stored.sign[index], value, length);
    if (!strcmp(kind, "encrypt"))
        return store_pair(&stored.encrypt[index], value, length);
    if (!strcmp(kind, "password")) {
        memcpy(stored.passwords[index], value, length);
        stored.password_lengths[index] = length;
        return 1;
    }
    if (strcmp(kind, "kek") || index > KEKS_MAX || length != 16)
        return 0;
    memcpy(stored.keks[index], value, 16);
    return stored.has_kek[index] = 1;
}

/* Lines "kind index hex". */
static int read_keys(void) {
    char line[LINE_MAX_BYTES], kind[16], text[2 * PASSWORD_MAX + 2];
    unsigned index;
    int is_right = 1;
    FILE *file = open_state("device.keys");
    if (!file)
        return 0;
    OPENSSL_cleanse(&stored, sizeof stored);
    while (is_right && fgets(line, sizeof line, file))
        is_right = sscanf(line, "%15s %u %129s", kind, &index, text) == 3 && store_line(kind, index, text);
    fclose(file);
    OPENSSL_cleanse(line, sizeof line);
    return is_right;
}

/* Lines "name value"; called with `faults` held. */
static void read_control(void) {
    char path[PATH_MAX + 32], name[32];
    struct stat now;
    long value;
    snprintf(path, sizeof path, "%s/control", state_folder());
    if (stat(path, &now) || (now.st_ino == control.inode && !memcmp(&now.st_mtim, &control.changed, sizeof now.st_mtim)))
        return;
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    memset(&control, 0, sizeof control);
    control.refuse_after = -1;
    control.max_sessions = SESSIONS_MAX;
    control.refuse_code = SDR_HARDFAIL;
    control.inode = now.st_ino;
    control.changed = now.st_mtim;
    while (fscanf(file, "%31s %ld", name, &value) == 2) {
        if (!strcmp(name, "unplugged"))
            control.unplugged = (int)value;
        else if (!strcmp(name, "incarnation"))
            control.incarnation = (unsigned)value;
        else if (!strcmp(name, "delay_ms"))
            control.delay_ms = (int)value;
        else if (!strcmp(name, "refuse_after"))
            control.refuse_after = value;
        else if (!strcmp(name, "refuse_code"))
            control.refuse_code = (unsigned)value;
        else if (!strcmp(name, "max_sessions") && value < SESSIONS_MAX)
            control.max_sessions = (int)value;
    }
    fclose(file);
}

/* What every call meets first: a device that is away, slow or unwilling. */
static ULONG meet_faults(unsigned *incarnation, int *max_sessions) {
    pthread_mutex_lock(&faults);
    read_control();
    ULONG code = control.unplugged ? SDR_COMMFAIL : SDR_OK;
    if (!code && control.refuse_after >= 0 && control.operations++ >= control.refuse_after)
        code = control.refuse_code;
    struct timespec delay = {control.delay_ms / 1000, control.delay_ms % 1000 * 1000000L};
    *incarnation = control.incarnation;
    *max_sessions = control.inode ? control.max_sessions : SESSIONS_MAX;
    pthread_mutex_unlock(&faults);
    if (delay.tv_sec || delay.tv_nsec)
        nanosleep(&delay, NULL);
    return code;
}

static HANDLE make_handle(unsigned serial, size_t slot) { return (HANDLE)(((uintptr_t)serial << 16) | (slot + 1)); }

/* Slot of a handle, or `count` when it cannot be one. */
static size_t slot_of(HANDLE handle, size_t count) {
    size_t slot = ((uintptr_t)handle & 0xFFFF) - 1;
    return slot < count ? slot : count;
}

static unsigned serial_of(HANDLE handle) { return (unsigned)((uintptr_t)handle >> 16); }

static unsigned next_serial(void) { return ++serials ? serials : ++serials; }

static struct session *find_session(HANDLE handle) {
    size_t slot = slot_of(handle, SESSIONS_MAX);
    if (slot == SESSIONS_MAX || !sessions[slot].serial || sessions[slot].serial != serial_of(handle))
        return NULL;
    return &sessions[slot];
}

static struct device *find_device(HANDLE handle) {
    size_t slot = slot_of(handle, DEVICES_MAX);
    if (slot == DEVICES_MAX || !devices[slot].serial || devices[slot].serial != serial_of(handle))
        return NULL;
    return &devices[slot];
}

static int has_open_device(void) {
    for (size_t i = 0; i < DEVICES_MAX; i++)
        if (devices[i].serial)
            return 1;
    return 0;
}

ULONG enter(HANDLE handle, struct session **session) {
    unsigned incarnation;
    int max_sessions;
    ULONG code = meet_faults(&incarnation, &max_sessions);
    if (code)
        return code;
    pthread_mutex_lock(&table);
    *session = find_session(handle);
    if (*session && (*session)->incarnation == incarnation)
        return SDR_OK;
    code = *session ? SDR_COMMFAIL : SDR_INARGERR;
    pthread_mutex_unlock(&table);
    return code;
}

void leave(void) { pthread_mutex_unlock(&table); }

ULONG SDF_OpenDevice(HANDLE *device) {
    unsigned incarnation;
    int max_sessions;
    if (!device)
        return SDR_OUTARGERR;
    if (meet_faults(&incarnation, &max_sessions))
        return SDR_OPENDEVICE;
    ULONG code = SDR_OPENDEVICE;
    pthread_mutex_lock(&table);
    if (has_open_device() || read_keys())
        for (size_t i = 0; i < DEVICES_MAX && code; i++)
            if (!devices[i].serial) {
                devices[i] = (struct device){next_serial(), incarnation};
                *device = make_handle(devices[i].serial, i);
                code = SDR_OK;
            }
    pthread_mutex_unlock(&table);
    return code;
}

ULONG SDF_CloseDevice(HANDLE handle) {
    pthread_mutex_lock(&table);
    struct device *device = find_device(handle);
    if (device)
        device->serial = 0;
    if (!has_open_device())
        OPENSSL_cleanse(&stored, sizeof stored);
    pthread_mutex_unlock(&table);
    return device ? SDR_OK : SDR_INARGERR;
}

static int count_sessions(void) {
    int count = 0;
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        count += sessions[i].serial != 0;
    return count;
}

ULONG SDF_OpenSession(HANDLE handle, HANDLE *session) {
    unsigned incarnation;
    int max_sessions;
    if (!session)
        return SDR_OUTARGERR;
    ULONG code = meet_faults(&incarnation, &max_sessions);
    if (code)
        return code;
    pthread_mutex_lock(&table);
    struct device *device = find_device(handle);
    code = !device ? SDR_INARGERR : device->incarnation != incarnation ? SDR_COMMFAIL : SDR_OPENSESSION;
    if (code == SDR_OPENSESSION && count_sessions() < max_sessions)
        for (size_t i = 0; i < SESSIONS_MAX && code; i++)
            if (!sessions[i].serial) {
                sessions[i].serial = next_serial();
                sessions[i].incarnation = incarnation;
                *session = make_handle(sessions[i].serial, i);
                code = SDR_OK;
            }
    pthread_mutex_unlock(&table);
    return code;
}

ULONG SDF_CloseSession(HANDLE handle) {
    pthread_mutex_lock(&table);
    struct session *session = find_session(handle);
    if (session) {
        EVP_MD_CTX_free(session->hash);
        OPENSSL_cleanse(session, sizeof *session);
    }
    pthread_mutex_unlock(&table);
    return session ? SDR_OK : SDR_INARGERR;
}

ULONG SDF_GetDeviceInfo(HANDLE handle, DEVICEINFO *info) {
    struct session *session;
    if (!info)
        return SDR_OUTARGERR;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    memset(info, 0, sizeof *info);
    memcpy(info->IssuerName, "OneCard simulator", 17);
    memcpy(info->DeviceName, "onecard-sdf", 11);
    memcpy(info->DeviceSerial, stored.serial, strlen(stored.serial));
    info->DeviceVersion = 1;
    info->StandardVersion = 1;
    info->AsymAlgAbility[0] = SGD_SM2_1 | SGD_SM2_3;
    info->AsymAlgAbility[1] = 256;
    info->SymAlgAbility = SGD_SM4_ECB | SGD_SM4_CBC | SGD_SM4_MAC | SGD_3DES_ECB | SGD_3DES_CBC | SGD_3DES_MAC;
    info->HashAlgAbility = SGD_SM3;
    info->BufferSize = DATA_MAX;
    leave();
    return SDR_OK;
}

ULONG SDF_GetPrivateKeyAccessRight(HANDLE handle, ULONG index, BYTE *password, ULONG length) {
    struct session *session;
    if (!password || !length || length > PASSWORD_MAX)
        return SDR_INARGERR;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    if (!find_pair(index, 1) && !find_pair(index, 0))
        code = SDR_KEYNOTEXIST;
    else if (length != stored.password_lengths[index] || CRYPTO_memcmp(password, stored.passwords[index], length))
        code = SDR_PRKRERR;
    else
        session->rights[index] = 1;
    leave();
    return code;
}

ULONG SDF_ReleasePrivateKeyAccessRight(HANDLE handle, ULONG index) {
    struct session *session;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    if (!has_right(session, index))
        code = SDR_PARDENY;
    else
        session->rights[index] = 0;
    leave();
    return code;
}

int has_right(const struct session *session, ULONG index) { return index <= PAIRS_MAX && session->rights[index]; }

const struct pair *find_pair(ULONG index, int is_signing) {
    if (index < 1 || index > PAIRS_MAX)
        return NULL;
    const struct pair *pair = is_signing ? &stored.sign[index] : &stored.encrypt[index];
    return pair->present ? pair : NULL;
}

const BYTE *find_kek(ULONG index) {
    return index >= 1 && index <= KEKS_MAX && stored.has_kek[index] ? stored.keks[index] : NULL;
}

EVP_MD_CTX **hash_of(struct session *session) { return &session->hash; }

ULONG add_key(struct session *session, const BYTE *value, ULONG length, HANDLE *handle) {
    for (size_t i = 0; i < KEYS_MAX; i++)
        if (!session->keys[i].serial) {
            session->keys[i].serial = next_serial();
            session->keys[i].length = length;
            memcpy(session->keys[i].value, value, length);
            *handle = make_handle(session->keys[i].serial, i);
            return SDR_OK;
        }
    return SDR_NOBUFFER;
}

const struct key *find_key(struct session *session, HANDLE handle) {
    size_t slot = slot_of(handle, KEYS_MAX);
    if (slot == KEYS_MAX || !session->keys[slot].serial || session->keys[slot].serial != serial_of(handle))
        return NULL;
    return &session->keys[slot];
}

ULONG SDF_DestroyKey(HANDLE handle, HANDLE key_handle) {
    struct session *session;
    ULONG code = enter(handle, &session);
    if (code)
        return code;
    if (find_key(session, key_handle))
        OPENSSL_cleanse(&session->keys[slot_of(key_handle, KEYS_MAX)], sizeof(struct key));
    else
        code = SDR_KEYNOTEXIST;
    leave();
    return code;
}

ULONG onecard_sdf_open(ULONG *device_count, ULONG *session_count, ULONG *key_count) {
    pthread_mutex_lock(&table);
    *device_count = *key_count = 0;
    *session_count = (ULONG)count_sessions();
    for (size_t i = 0; i < DEVICES_MAX; i++)
        *device_count += devices[i].serial != 0;
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        for (size_t j = 0; sessions[i].serial && j < KEYS_MAX; j++)
            *key_count += sessions[i].keys[j].serial != 0;
    pthread_mutex_unlock(&table);
    return SDR_OK;
}
