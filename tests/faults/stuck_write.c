/*
 * Put in front of libc: a pwrite of bytes that begin with STUCKWRITE ends only when the file
 * $STUCK_GATE/open is there. It has the file open meanwhile, as a system call has. $STUCK_GATE/in
 * and $STUCK_GATE/out say that one has begun, and that it has ended.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static const char mark[] = "STUCKWRITE";

static const char *path(char *buffer, size_t size, const char *name) {
    snprintf(buffer, size, "%s/%s", getenv("STUCK_GATE"), name);
    return buffer;
}

static void touch(const char *name) {
    char buffer[4096];
    close(open(path(buffer, sizeof buffer, name), O_CREAT | O_WRONLY, 0600));
}

static ssize_t call(const char *symbol, int fd, const void *data, size_t size, off_t offset) {
    ssize_t (*next)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, symbol);
    if (size < sizeof mark - 1 || memcmp(data, mark, sizeof mark - 1))
        return next(fd, data, size, offset);
    int held = dup(fd);
    char buffer[4096];
    touch("in");
    while (access(path(buffer, sizeof buffer, "open"), F_OK))
        usleep(1000);
    ssize_t written = next(held, data, size, offset);
    close(held);
    touch("out");
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return call("pwrite", fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) {
    return call("pwrite64", fd, data, size, offset);
}
