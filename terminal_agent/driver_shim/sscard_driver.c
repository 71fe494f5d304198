/* libSSCardDriver.so: the driver functions of installed programs, answered by the terminal agent.
 *
 * Each call is one WebSocket connection to 127.0.0.1 (port 12342, or ONECARD_AGENT_WS_PORT) with one message of the
 * second dialect. Strings are GBK on the caller's side. An output longer than the buffer that programs are known to
 * have is an error (-42), never a write beyond it; error texts are cut.
 */
#include <arpa/inet.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define CONNECTION_ERROR (-11)
#define WRONG_PARAMETER (-14)
#define WRONG_LENGTH (-42)
#define TIMEOUT_S 200
#define MESSAGE_MAX (64 * 1024)
#define CARD_NUMBER 20
#define SMALL 512
#define BASIC 1024
#define RECORDS 2048
#define LARGE (20 * 1024)

typedef struct { char text[MESSAGE_MAX]; size_t used; int overflow; } Buffer;

static void put(Buffer *b, const char *bytes, size_t count) {
    if (count >= sizeof b->text - b->used) { b->overflow = 1; return; }
    memcpy(b->text + b->used, bytes, count);
    b->used += count;
    b->text[b->used] = 0;
}

/* Number of bytes converted, or -1. */
static long convert(const char *to, const char *from, const char *in, size_t in_left, char *out, size_t out_left) {
    iconv_t cd = iconv_open(to, from);
    if (cd == (iconv_t)-1) return -1;
    char *source = (char *)in, *target = out;
    size_t room = out_left - 1;
    size_t result = iconv(cd, &source, &in_left, &target, &room);
    iconv_close(cd);
    *target = 0;
    return result == (size_t)-1 ? -1 : target - out;
}

static void put_string(Buffer *b, const char *gbk) {
    static const char hex[] = "0123456789abcdef";
    size_t length = strnlen(gbk, LARGE + 1);
    char *utf8 = malloc(2 * LARGE + 16);
    long count = utf8 && length <= LARGE ? convert("UTF-8", "GB18030", gbk, length, utf8, 2 * LARGE + 16) : -1;
    if (count < 0) b->overflow = 1;
    put(b, "\"", 1);
    for (long i = 0; i < count; i++) {
        unsigned char c = (unsigned char)utf8[i];
        char escaped[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        if (c < 0x20 || c == '"' || c == '\\') put(b, escaped, 6);
        else put(b, utf8 + i, 1);
    }
    put(b, "\"", 1);
    free(utf8);
}

static int send_all(int fd, const void *data, size_t count) {
    for (const char *at = data; count;) {
        ssize_t sent = send(fd, at, count, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        at += sent;
        count -= (size_t)sent;
    }
    return 0;
}

static int receive_all(int fd, void *data, size_t count) {
    for (char *at = data; count;) {
        ssize_t got = recv(fd, at, count, 0);
        if (got <= 0) return -1;
        at += got;
        count -= (size_t)got;
    }
    return 0;
}

static int open_socket(void) {
    const char *named = getenv("ONECARD_AGENT_WS_PORT");
    int port = named && *named ? atoi(named) : 12342;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = TIMEOUT_S};
    char text[1024];
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    int length = snprintf(text, sizeof text,
                          "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: b25lY2FyZC1kcml2ZXItMQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) || send_all(fd, text, (size_t)length)) goto failed;
    /* Byte by byte up to the empty line: what follows is frames. */
    size_t used = 0;
    while (used < sizeof text - 1 && !(used >= 4 && !memcmp(text + used - 4, "\r\n\r\n", 4)))
        if (receive_all(fd, text + used++, 1)) goto failed;
    if (used >= 12 && !memcmp(text, "HTTP/1.1 101", 12)) return fd;
failed:
    close(fd);
    return -1;
}

/* Mask 00000000: there is no proxy between two programs of one machine (RFC 6455, 10.3). */
static int send_text(int fd, const Buffer *b) {
    unsigned char head[14] = {0x81};
    size_t used;
    if (b->used < 126) { head[1] = 0x80 | (unsigned char)b->used; used = 2; }
    else { head[1] = 0xFE; head[2] = (unsigned char)(b->used >> 8); head[3] = (unsigned char)b->used; used = 4; }
    return send_all(fd, head, used + 4) || send_all(fd, b->text, b->used);
}

static int receive_text(int fd, char *text, size_t room) {
    for (;;) {
        unsigned char head[2], more[8];
        if (receive_all(fd, head, 2)) return -1;
        size_t length = head[1] & 0x7F, extra = length == 126 ? 2 : length == 127 ? 8 : 0;
        if (extra) {
            if (receive_all(fd, more, extra)) return -1;
            length = 0;
            for (size_t i = 0; i < extra; i++) length = length << 8 | more[i];
        }
        if (head[1] & 0x80 || length >= room || receive_all(fd, text, length)) return -1;
        text[length] = 0;
        if (head[0] == 0x81) return 0;
        if (head[0] != 0x89 && head[0] != 0x8A) return -1; /* pings are not answered: the call is short */
    }
}

static long hex4(const char *at) {
    char digits[5] = {0}, *end;
    memcpy(digits, at, strnlen(at, 4));
    long value = strtol(digits, &end, 16);
    return end == digits + 4 ? value : -1;
}

/* A JSON string of ASCII, as the agent writes them, to UTF-16LE; the number of bytes, or -1. */
static long unescape(const char *at, unsigned char *out, size_t room) {
    size_t used = 0;
    for (; *at && *at != '"'; at++) {
        long unit = (unsigned char)*at;
        if (unit == '\\') {
            static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
            const char *found = *++at ? strchr(plain, *at) : NULL;
            if (*at == 'u') { unit = hex4(at + 1); if (unit < 0) return -1; at += 4; }
            else if (found) unit = meant[found - plain];
            else return -1;
        }
        if (used + 2 > room) return -1;
        out[used++] = (unsigned char)unit;
        out[used++] = (unsigned char)(unit >> 8);
    }
    return *at == '"' ? (long)used : -1;
}

static long answer(const char *text, char *out, size_t room) {
    const char *result = strstr(text, "\"result\":"), *first = strstr(text, "\"out\":");
    unsigned char *units = malloc(2 * MESSAGE_MAX);
    char *gbk = malloc(2 * MESSAGE_MAX);
    long code = CONNECTION_ERROR, count;
    if (units && gbk && result && first && (first = strchr(first, '[')) && (first = strchr(first, '"'))) {
        count = unescape(first + 1, units, 2 * MESSAGE_MAX);
        if (count >= 0) count = convert("GB18030", "UTF-16LE", (char *)units, (size_t)count, gbk, 2 * MESSAGE_MAX);
        if (count >= 0) {
            code = strtol(result + 9, NULL, 10);
            if ((size_t)count < room) memcpy(out, gbk, (size_t)count + 1);
            else if (code == 0) code = WRONG_LENGTH;
            else { memcpy(out, gbk, room - 1); out[room - 1] = 0; }
        }
    }
    free(units);
    free(gbk);
    return code;
}

static long call(const char *function, char *out, size_t room, const char **in, int count) {
    if (!out) return WRONG_PARAMETER;
    *out = 0;
    for (int i = 0; i < count; i++) if (!in[i]) return WRONG_PARAMETER;
    Buffer *b = calloc(1, sizeof *b);
    if (!b) return CONNECTION_ERROR;
    put(b, "{\"func\":", 8);
    put_string(b, function);
    put(b, ",\"in\":[", 7);
    for (int i = 0; i < count; i++) {
        if (i) put(b, ",", 1);
        put_string(b, in[i]);
    }
    put(b, "]}", 2);
    long code = b->overflow ? WRONG_PARAMETER : CONNECTION_ERROR;
    int fd = b->overflow ? -1 : open_socket();
    if (fd >= 0) {
        if (!send_text(fd, b) && !receive_text(fd, b->text, sizeof b->text)) code = answer(b->text, out, room);
        close(fd);
    }
    explicit_bzero(b, sizeof *b);
    free(b);
    return code;
}

#define TYPE(n) char type_[12]; snprintf(type_, sizeof type_, "%d", n)
#define CALL(name, room, ...) \
    do { const char *in_[] = {__VA_ARGS__}; return call(name, out, room, in_, (int)(sizeof in_ / sizeof *in_)); } while (0)

#define WITH_TYPE(name, room) EXPORT long name(int iType, char *out) { TYPE(iType); CALL(#name, room, type_); }
#define WITH_INFO(name, room) \
    EXPORT long name(int iType, char *info, char *out) { TYPE(iType); CALL(#name, room, type_, info); }
#define WITH_TWO(name, room) \
    EXPORT long name(int iType, char *info, char *more, char *out) { TYPE(iType); CALL(#name, room, type_, info, more); }
#define WITH_KEY(name, room) EXPORT long name(char *key, char *out) { CALL(#name, room, key); }

WITH_TYPE(iReadCardBas, BASIC)
WITH_TYPE(iReadCardBas_HSM_Step1, BASIC)
WITH_KEY(iReadCardBas_HSM_Step2, BASIC)
WITH_TYPE(iVerifyPIN, SMALL)
WITH_TYPE(iChangePIN, SMALL)
WITH_TYPE(iReadDebitRecord, RECORDS)
WITH_INFO(iReloadPIN, SMALL)
WITH_INFO(iUnblockPIN, SMALL)
WITH_INFO(iReloadPIN_HSM_Step1, SMALL)
WITH_INFO(iUnblockPIN_HSM_Step1, SMALL)
WITH_KEY(iReloadPIN_HSM_Step2, SMALL)
WITH_KEY(iReloadPIN_HSM_Step3, SMALL)
WITH_KEY(iUnblockPIN_HSM_Step2, SMALL)
WITH_KEY(iUnblockPIN_HSM_Step3, SMALL)
WITH_TWO(iDoDebit, SMALL)
WITH_TWO(iDoDebit_HSM_Step1, SMALL)
WITH_KEY(iDoDebit_HSM_Step2, SMALL)
WITH_TWO(iReadCard_HSM_Step1, LARGE)
WITH_KEY(iReadCard_HSM_Step2, LARGE)
WITH_TWO(iWriteCard_HSM_Step1, LARGE)

EXPORT long iWriteCard_HSM_Step2(char *key, char *data, char *out) {
    CALL("iWriteCard_HSM_Step2", LARGE, key, data);
}

EXPORT long iReadCard(int iType, int iAuthType, char *info, char *address, char *out) {
    TYPE(iType);
    char auth[12];
    snprintf(auth, sizeof auth, "%d", iAuthType);
    CALL("iReadCard", LARGE, type_, auth, info, address);
}

EXPORT long iWriteCard(int iType, char *info, char *address, char *data, char *out) {
    TYPE(iType);
    CALL("iWriteCard", LARGE, type_, info, address, data);
}

/* The vendors' extras have two outputs, and no iType: what was read (less than `room` bytes), or the text of an error. */
static long read_extra(const char *function, char *found, size_t room, char *error) {
    char text[RECORDS];
    if (!found || !error) return WRONG_PARAMETER;
    *found = *error = 0;
    long code = call(function, text, sizeof text, NULL, 0);
    if (code == 0 && strlen(text) >= room) return WRONG_LENGTH;
    if (code) text[SMALL - 1] = 0;
    strcpy(code == 0 ? found : error, text);
    return code;
}

EXPORT long iReadICCardNum(char *number, char *error) {
    return read_extra("iReadICCardNum", number, CARD_NUMBER, error);
}

EXPORT long iReadIdentityCard(char *out, char *error) {
    return read_extra("iReadIdentityCard", out, RECORDS, error);
}

/* pUserPin stays here: the holder types the PIN in the terminal. */
EXPORT long PKI_SignData(char *pin, char *data, int iType, char *out) {
    (void)pin;
    TYPE(iType);
    CALL("PKI_SignData", SMALL, "", data, type_);
}

EXPORT long PKI_VerifySign(char *pin, char *certificate, char *text, char *signature, int iType, char *out) {
    (void)pin;
    TYPE(iType);
    CALL("PKI_VerifySign", SMALL, "", certificate, text, signature, type_);
}

EXPORT long PKI_SealEnvelope(char *pin, char *certificate, char *data, int iType, char *out) {
    (void)pin;
    TYPE(iType);
    CALL("PKI_SealEnvelope", LARGE, "", certificate, data, type_);
}

EXPORT long PKI_OpenEnvelope(char *pin, char *envelope, int iType, char *out) {
    (void)pin;
    TYPE(iType);
    CALL("PKI_OpenEnvelope", LARGE, "", envelope, type_);
}
