/* Files of the device, in `files/` of its state, each under the hex of its name. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "device.h"

#define NAME_MAX_BYTES 64
#define FILE_MAX_BYTES (1 << 20)

/* The table stays locked while a file is used, so that calls on one file follow each other. */
static ULONG enter_file(HANDLE handle, const BYTE *name, ULONG length, char *path, size_t room) {
    struct session *session;
    if (!name || !length || length > NAME_MAX_BYTES)
        return SDR_INARGERR;
    int used = snprintf(path, room, "%s/files/", state_folder());
    for (ULONG i = 0; i < length; i++)
        used += snprintf(path + used, room - (size_t)used, "%02x", name[i]);
    return enter(handle, &session);
}

/* Opens the file when `offset` and `length` lie inside it. */
static ULONG open_range(const char *path, int flags, ULONG offset, ULONG length, int *fd) {
    struct stat info;
    *fd = open(path, flags | O_CLOEXEC);
    if (*fd < 0)
        return SDR_FILENOEXIST;
    if (fstat(*fd, &info) == 0 && offset <= info.st_size && length <= info.st_size - offset)
        return SDR_OK;
    close(*fd);
    return SDR_FILEOFSERR;
}

ULONG SDF_CreateFile(HANDLE handle, BYTE *name, ULONG name_length, ULONG size) {
    char path[PATH_MAX + 2 * NAME_MAX_BYTES + 8];
    if (!size || size > FILE_MAX_BYTES)
        return SDR_FILESIZEERR;
    ULONG code = enter_file(handle, name, name_length, path, sizeof path);
    if (code)
        return code;
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        code = errno == EEXIST ? SDR_FILEEXISTS : SDR_FILEWERR;
    else {
        if (ftruncate(fd, size))
            code = SDR_FILEWERR;
        close(fd);
    }
    leave();
    return code;
}

ULONG SDF_ReadFile(HANDLE handle, BYTE *name, ULONG name_length, ULONG offset, ULONG *length, BYTE *data) {
    char path[PATH_MAX + 2 * NAME_MAX_BYTES + 8];
    int fd;
    if (!length || !data)
        return SDR_OUTARGERR;
    ULONG code = enter_file(handle, name, name_length, path, sizeof path);
    if (code)
        return code;
    code = open_range(path, O_RDONLY, offset, *length, &fd);
    if (!code) {
        if (pread(fd, data, *length, offset) != (ssize_t)*length)
            code = SDR_FILEOFSERR;
        close(fd);
    }
    leave();
    return code;
}

ULONG SDF_WriteFile(HANDLE handle, BYTE *name, ULONG name_length, ULONG offset, ULONG length, BYTE *data) {
    char path[PATH_MAX + 2 * NAME_MAX_BYTES + 8];
    int fd;
    if (!data || !length)
        return SDR_INARGERR;
    ULONG code = enter_file(handle, name, name_length, path, sizeof path);
    if (code)
        return code;
    code = open_range(path, O_WRONLY, offset, length, &fd);
    if (!code) {
        if (pwrite(fd, data, length, offset) != (ssize_t)length)
            code = SDR_FILEWERR;
        close(fd);
    }
    leave();
    return code;
}

ULONG SDF_DeleteFile(HANDLE handle, BYTE *name, ULONG name_length) {
    char path[PATH_MAX + 2 * NAME_MAX_BYTES + 8];
    ULONG code = enter_file(handle, name, name_length, path, sizeof path);
    if (code)
        return code;
    if (unlink(path))
        code = SDR_FILENOEXIST;
    leave();
    return code;
}
