/* A reader driver for pcscd whose cards are processes at a Unix socket.
 *
 * DEVICENAME is FOLDER:NUMBER:TIMEOUT_MS. The driver listens on FOLDER/slot-NUMBER; a connection is a card in the reader,
 * its end the card's removal. Driver to card: op(1) length(2) body, where op is U power up, R reset, D power down (no
 * answer), T command APDU, C control code(4) and data. Card to driver: status(1) length(2) body; status other than 0
 * means that the card has no answer to that. Numbers are big-endian.
 *
 * The event thread alone closes a card's descriptor; everybody else shuts it down, so that no number is used again
 * while another thread still waits on it. All readers share one loaded library and nothing but this table.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <ifdhandler.h>
#include <reader.h>

#define READERS 16
#define BODY_MAX 65535
#define EXPORT __attribute__((visibility("default")))

struct slot {
    int used, listener, card, is_gone, bell[2], timeout_ms;
    DWORD lun;
    UCHAR atr[MAX_ATR_SIZE];
    DWORD atr_length;
    char path[108];
    pthread_mutex_t exchange;
};

static struct slot slots[READERS];
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;

static struct slot *find(DWORD lun)
{
    struct slot *found = NULL;
    pthread_mutex_lock(&table);
    for (int i = 0; i < READERS; i++)
        if (slots[i].used && slots[i].lun == lun)
            found = &slots[i];
    pthread_mutex_unlock(&table);
    return found;
}

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000L + t.tv_nsec / 1000000L;
}

/* 0, or an error: IFD_RESPONSE_TIMEOUT from a card that hangs, IFD_COMMUNICATION_ERROR from one that is gone. */
static RESPONSECODE receive(int fd, UCHAR *data, size_t length, long deadline)
{
    while (length > 0) {
        struct pollfd wanted = {fd, POLLIN, 0};
        long left = deadline - now_ms();
        int ready = poll(&wanted, 1, left > 0 ? (int)left : 0);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return ready ? IFD_COMMUNICATION_ERROR : IFD_RESPONSE_TIMEOUT;
        ssize_t got = recv(fd, data, length, 0);
        if (got <= 0)
            return IFD_COMMUNICATION_ERROR;
        data += got;
        length -= (size_t)got;
    }
    return IFD_SUCCESS;
}

static int transmit(int fd, const UCHAR *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return -1;
        data += sent;
        length -= (size_t)sent;
    }
    return 0;
}

/* One request to the card; *length is the room for the answer and becomes its length. A NULL length: no answer. */
static RESPONSECODE ask(struct slot *s, UCHAR op, const UCHAR *body, DWORD size, UCHAR *answer, DWORD *length)
{
    UCHAR head[3] = {op, (UCHAR)(size >> 8), (UCHAR)size};
    RESPONSECODE result = IFD_COMMUNICATION_ERROR;
    if (size > BODY_MAX)
        return IFD_COMMUNICATION_ERROR;
    pthread_mutex_lock(&s->exchange);
    if (s->card < 0 || s->is_gone) {
        pthread_mutex_unlock(&s->exchange);
        return IFD_ICC_NOT_PRESENT;
    }
    if (transmit(s->card, head, sizeof head) == 0 && transmit(s->card, body, size) == 0) {
        long deadline = now_ms() + s->timeout_ms;
        result = length ? receive(s->card, head, sizeof head, deadline) : IFD_SUCCESS;
        if (result == IFD_SUCCESS && length) {
            DWORD wanted = (DWORD)head[1] << 8 | head[2];
            result = wanted > *length ? IFD_COMMUNICATION_ERROR : receive(s->card, answer, wanted, deadline);
            *length = wanted;
        }
    }
    if (result != IFD_SUCCESS) {
        /* What comes late must not answer the next command: such a card is out of the reader. */
        s->is_gone = 1;
        shutdown(s->card, SHUT_RDWR);
    } else if (length && head[0]) {
        *length = 0;
        result = IFD_ERROR_NOT_SUPPORTED;
    }
    pthread_mutex_unlock(&s->exchange);
    return result;
}

/* Runs on pcscd's event thread of this reader: returns as soon as a card came or went. */
static RESPONSECODE wait_event(DWORD lun, int timeout_ms)
{
    struct slot *s = find(lun);
    char byte;
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    struct pollfd wanted[2] = {{s->bell[0], POLLIN, 0},
                               {s->card < 0 ? s->listener : s->card, s->card < 0 ? POLLIN : POLLRDHUP, 0}};
    if (poll(wanted, 2, timeout_ms) <= 0)
        return IFD_SUCCESS;
    if (wanted[0].revents && read(s->bell[0], &byte, 1) < 0)
        return IFD_COMMUNICATION_ERROR;
    if (wanted[1].revents) {
        pthread_mutex_lock(&s->exchange);
        if (s->card >= 0) {
            close(s->card);
            s->card = -1;
        } else {
            s->card = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
            s->is_gone = 0;
        }
        s->atr_length = 0;
        pthread_mutex_unlock(&s->exchange);
    }
    return IFD_SUCCESS;
}

static RESPONSECODE stop_waiting(DWORD lun)
{
    struct slot *s = find(lun);
    return s != NULL && write(s->bell[1], "!", 1) == 1 ? IFD_SUCCESS : IFD_COMMUNICATION_ERROR;
}

/* The socket gets its name when it listens already, so that the name can be waited for. */
static int listen_at(struct slot *s, const char *folder, long number)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(s->path, sizeof s->path, "%s/slot-%ld", folder, number);
    if (n < 0 || (size_t)n + 1 >= sizeof address.sun_path)
        return -1;
    snprintf(address.sun_path, sizeof address.sun_path, "%s~", s->path);
    unlink(address.sun_path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&address, sizeof address) ||
        listen(s->listener, 1) || rename(address.sun_path, s->path))
        return -1;
    return pipe(s->bell);
}

EXPORT RESPONSECODE IFDHCreateChannelByName(DWORD Lun, LPSTR DeviceName)
{
    char folder[108];
    const char *colon = strchr(DeviceName, ':');
    struct slot *s = NULL;
    if (colon == NULL || (size_t)(colon - DeviceName) >= sizeof folder)
        return IFD_NO_SUCH_DEVICE;
    memcpy(folder, DeviceName, (size_t)(colon - DeviceName));
    folder[colon - DeviceName] = 0;
    char *end;
    long number = strtol(colon + 1, &end, 10);
    pthread_mutex_lock(&table);
    for (int i = 0; i < READERS && s == NULL; i++)
        if (!slots[i].used)
            s = &slots[i];
    if (s != NULL) {
        memset(s, 0, sizeof *s);
        pthread_mutex_init(&s->exchange, NULL);
        s->card = -1;
        s->lun = Lun;
        s->timeout_ms = *end == ':' ? atoi(end + 1) : 10000;
        s->used = listen_at(s, folder, number) == 0;
    }
    pthread_mutex_unlock(&table);
    return s != NULL && s->used ? IFD_SUCCESS : IFD_COMMUNICATION_ERROR;
}

EXPORT RESPONSECODE IFDHCreateChannel(DWORD Lun, DWORD Channel)
{
    (void)Lun;
    (void)Channel;
    return IFD_NO_SUCH_DEVICE;
}

EXPORT RESPONSECODE IFDHCloseChannel(DWORD Lun)
{
    struct slot *s = find(Lun);
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    if (s->card >= 0)
        close(s->card);
    close(s->listener);
    close(s->bell[0]);
    close(s->bell[1]);
    unlink(s->path);
    s->used = 0;
    return IFD_SUCCESS;
}

static RESPONSECODE give(const void *data, DWORD size, PDWORD Length, PUCHAR Value)
{
    if (*Length < size)
        return IFD_ERROR_INSUFFICIENT_BUFFER;
    memcpy(Value, data, size);
    *Length = size;
    return IFD_SUCCESS;
}

EXPORT RESPONSECODE IFDHGetCapabilities(DWORD Lun, DWORD Tag, PDWORD Length, PUCHAR Value)
{
    static const UCHAR one = 1, none = 0, all = READERS;
    static const char vendor[] = "OneCard";
    RESPONSECODE (*waiter)(DWORD, int) = wait_event;
    RESPONSECODE (*stopper)(DWORD) = stop_waiting;
    struct slot *s = find(Lun);
    switch (Tag) {
    case TAG_IFD_ATR:
    case SCARD_ATTR_ATR_STRING:
        return s == NULL ? IFD_NO_SUCH_DEVICE : give(s->atr, s->atr_length, Length, Value);
    case SCARD_ATTR_VENDOR_NAME:
        return give(vendor, sizeof vendor, Length, Value);
    case TAG_IFD_SIMULTANEOUS_ACCESS:
        return give(&all, 1, Length, Value);
    case TAG_IFD_THREAD_SAFE:
    case TAG_IFD_SLOTS_NUMBER:
        return give(&one, 1, Length, Value);
    case TAG_IFD_SLOT_THREAD_SAFE:
        return give(&none, 1, Length, Value);
    case TAG_IFD_POLLING_THREAD_WITH_TIMEOUT:
        return give(&waiter, sizeof waiter, Length, Value);
    case TAG_IFD_STOP_POLLING_THREAD:
        return give(&stopper, sizeof stopper, Length, Value);
    default:
        return IFD_ERROR_TAG;
    }
}

EXPORT RESPONSECODE IFDHSetCapabilities(DWORD Lun, DWORD Tag, DWORD Length, PUCHAR Value)
{
    (void)Lun;
    (void)Tag;
    (void)Length;
    (void)Value;
    return IFD_ERROR_TAG;
}

EXPORT RESPONSECODE IFDHSetProtocolParameters(DWORD Lun, DWORD Protocol, UCHAR Flags, UCHAR Pts1, UCHAR Pts2, UCHAR Pts3)
{
    (void)Lun;
    (void)Protocol;
    (void)Flags;
    (void)Pts1;
    (void)Pts2;
    (void)Pts3;
    return IFD_SUCCESS;
}

EXPORT RESPONSECODE IFDHPowerICC(DWORD Lun, DWORD Action, PUCHAR Atr, PDWORD AtrLength)
{
    struct slot *s = find(Lun);
    DWORD length = MAX_ATR_SIZE;
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    *AtrLength = 0;
    if (Action == IFD_POWER_DOWN) {
        ask(s, 'D', NULL, 0, NULL, NULL);
        return IFD_SUCCESS;
    }
    if (ask(s, Action == IFD_RESET ? 'R' : 'U', NULL, 0, s->atr, &length) != IFD_SUCCESS || length == 0) {
        s->atr_length = 0;
        return IFD_ERROR_POWER_ACTION;
    }
    s->atr_length = *AtrLength = length;
    memcpy(Atr, s->atr, length);
    return IFD_SUCCESS;
}

EXPORT RESPONSECODE IFDHTransmitToICC(DWORD Lun, SCARD_IO_HEADER SendPci, PUCHAR TxBuffer, DWORD TxLength,
                                      PUCHAR RxBuffer, PDWORD RxLength, PSCARD_IO_HEADER RecvPci)
{
    struct slot *s = find(Lun);
    RESPONSECODE result = s == NULL ? IFD_NO_SUCH_DEVICE : ask(s, 'T', TxBuffer, TxLength, RxBuffer, RxLength);
    (void)SendPci;
    (void)RecvPci;
    if (result != IFD_SUCCESS)
        *RxLength = 0;
    return result == IFD_ERROR_NOT_SUPPORTED ? IFD_COMMUNICATION_ERROR : result;
}

EXPORT RESPONSECODE IFDHControl(DWORD Lun, DWORD Code, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
                                DWORD RxLength, LPDWORD Returned)
{
    struct slot *s = find(Lun);
    UCHAR body[4 + 1024];
    RESPONSECODE result;
    *Returned = 0;
    if (s == NULL || TxLength > sizeof body - 4)
        return s == NULL ? IFD_NO_SUCH_DEVICE : IFD_COMMUNICATION_ERROR;
    for (int i = 0; i < 4; i++)
        body[i] = (UCHAR)(Code >> (24 - 8 * i));
    if (TxLength > 0)
        memcpy(body + 4, TxBuffer, TxLength);
    result = ask(s, 'C', body, TxLength + 4, RxBuffer, &RxLength);
    if (result == IFD_SUCCESS)
        *Returned = RxLength;
    return result;
}

EXPORT RESPONSECODE IFDHICCPresence(DWORD Lun)
{
    struct slot *s = find(Lun);
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    return s->card >= 0 && !s->is_gone ? IFD_ICC_PRESENT : IFD_ICC_NOT_PRESENT;
}
