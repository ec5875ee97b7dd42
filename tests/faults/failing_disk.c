/* A disk that fails: put in front of libc by LD_PRELOAD, it counts what a program does to the files
 * below one directory and makes the n-th of these calls fail as disks do.
 *
 * It also keeps what has really become durable, so that a failed sync and a power loss have
 * consequences:
 *   $FAILING_DISK_KEPT/content/INODE   a file's bytes as of its last good sync
 *   $FAILING_DISK_KEPT/dirty/INODE     ranges written since: pairs of 64-bit numbers, offset and end
 *   $FAILING_DISK_KEPT/lost/INODE      ranges that are only in memory since a sync failed ("clean")
 *   $FAILING_DISK_KEPT/names/INODE     a directory's entries as of its last sync: "INODE d|f NAME\n"
 *   $FAILING_DISK_KEPT/held/INODE      a link, so that no inode number is used twice
 * A failed sync either throws the dirty pages away (what is read then is what was there before) or
 * leaves them in memory as clean ones, until somebody has them dropped (posix_fadvise).
 *
 * The control block is a file that the test maps as well: see `struct control`.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DEATH = 1000 };
enum { WRITE = 1, SYNC = 2, RENAME = 4, TRUNCATE = 8, READ = 16 };

struct control {
    uint32_t armed;   /* count, and let something fail */
    uint32_t kinds;   /* which calls count: the enum above */
    uint32_t catalog; /* 0: all but the catalog's files, 1: only those, 2: all */
    uint32_t failure; /* an errno; 0: a write is cut short; DEATH: it is the program's last call */
    uint32_t clean;   /* a failed sync leaves its pages in memory */
    uint32_t repeat;  /* how many calls fail in a row */
    uint64_t number;  /* the first of them, from 1 on */
    uint64_t count;   /* calls so far */
    uint64_t failed;  /* of these, failed */
    char last[256];   /* what failed last */
};

static struct control *control;
static char root[PATH_MAX], kept[PATH_MAX];
static size_t root_size;
static __thread int inside;

#define REAL(name) real_##name
#define DECLARE(type, name, ...) static type (*REAL(name))(__VA_ARGS__)
DECLARE(int, openat, int, const char *, int, ...);
DECLARE(ssize_t, write, int, const void *, size_t);
DECLARE(ssize_t, pwrite, int, const void *, size_t, off_t);
DECLARE(ssize_t, writev, int, const struct iovec *, int);
DECLARE(ssize_t, pwritev, int, const struct iovec *, int, off_t);
DECLARE(ssize_t, read, int, void *, size_t);
DECLARE(ssize_t, pread, int, void *, size_t, off_t);
DECLARE(int, fsync, int);
DECLARE(int, fdatasync, int);
DECLARE(int, syncfs, int);
DECLARE(int, renameat, int, const char *, int, const char *);
DECLARE(int, ftruncate, int, off_t);
DECLARE(int, fadvise, int, off_t, off_t, int);
DECLARE(ssize_t, sendfile, int, int, off_t *, size_t);

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("FAILING_DISK_CONTROL");
    REAL(openat) = dlsym(RTLD_NEXT, "openat");
    REAL(write) = dlsym(RTLD_NEXT, "write");
    REAL(pwrite) = dlsym(RTLD_NEXT, "pwrite64");
    REAL(writev) = dlsym(RTLD_NEXT, "writev");
    REAL(pwritev) = dlsym(RTLD_NEXT, "pwritev64");
    REAL(read) = dlsym(RTLD_NEXT, "read");
    REAL(pread) = dlsym(RTLD_NEXT, "pread64");
    REAL(fsync) = dlsym(RTLD_NEXT, "fsync");
    REAL(fdatasync) = dlsym(RTLD_NEXT, "fdatasync");
    REAL(syncfs) = dlsym(RTLD_NEXT, "syncfs");
    REAL(renameat) = dlsym(RTLD_NEXT, "renameat");
    REAL(ftruncate) = dlsym(RTLD_NEXT, "ftruncate64");
    REAL(fadvise) = dlsym(RTLD_NEXT, "posix_fadvise64");
    REAL(sendfile) = dlsym(RTLD_NEXT, "sendfile64");
    if (!file || !getenv("FAILING_DISK_ROOT") || !getenv("FAILING_DISK_KEPT"))
        return;
    snprintf(root, sizeof root, "%s/", getenv("FAILING_DISK_ROOT"));
    snprintf(kept, sizeof kept, "%s", getenv("FAILING_DISK_KEPT"));
    root_size = strlen(root);
    int descriptor = REAL(openat)(AT_FDCWD, file, O_RDWR | O_CLOEXEC);
    if (descriptor < 0)
        return;
    void *block = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (block != MAP_FAILED)
        control = block;
}

/* The path of a descriptor, if it is the directory that is watched or lies below it. */
static int watched(int descriptor, char *path) {
    char link[64];
    if (!control || inside || descriptor < 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size < (ssize_t)root_size - 1)
        return 0;
    path[size] = 0;
    if ((size_t)size == root_size - 1)
        return strncmp(path, root, size) == 0;
    return strncmp(path, root, root_size) == 0;
}

static int shared_memory(const char *path) { return strstr(path, "-shm") != NULL; }

/* Whether this call, of one *kind* on *path*, is to fail: -1 no, else the errno (0: cut short). */
static int due(int kind, const char *path, const char *call) {
    if (!control->armed || !(control->kinds & kind) || shared_memory(path))
        return -1;
    int catalog = strstr(path, "catalog.db") != NULL;
    if (control->catalog != 2 && control->catalog != (uint32_t)catalog)
        return -1;
    if (!control->failure && kind != WRITE)
        return -1; /* only a write can be cut short */
    uint64_t number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
    if (!control->number || number < control->number || number >= control->number + control->repeat)
        return -1;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    snprintf(control->last, sizeof control->last, "%s %s", call, path + root_size - 1);
    return control->failure;
}

/* The program ends after a call that was to be its last: *error* is what `due` said. */
static void die_if_last(int error) {
    if (error == DEATH)
        kill(getpid(), SIGKILL);
}

static int kept_file(const char *kind, ino_t inode, int flags) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s/%llu", kept, kind, (unsigned long long)inode);
    return REAL(openat)(AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

/* Keep a file's inode from being used again. */
static void hold(const char *path, ino_t inode) {
    char held[PATH_MAX + 64];
    snprintf(held, sizeof held, "%s/held/%llu", kept, (unsigned long long)inode);
    link(path, held);
}

/* A descriptor that reads and writes the same file. It is another one only if it has to be, for
 * closing any descriptor of a file gives up the program's locks on it. */
static int again(int descriptor) {
    char link[64];
    if ((fcntl(descriptor, F_GETFL) & O_ACCMODE) == O_RDWR)
        return descriptor;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    return REAL(openat)(AT_FDCWD, link, O_RDWR | O_CLOEXEC);
}

static int locked(ino_t inode, int how) {
    int lock = kept_file("locks", inode, O_RDWR | O_CREAT);
    if (lock >= 0)
        flock(lock, how);
    return lock;
}

static void copy(int from, int to, off_t start, off_t stop) {
    char buffer[65536];
    while (start < stop) {
        size_t size = stop - start < (off_t)sizeof buffer ? (size_t)(stop - start) : sizeof buffer;
        ssize_t found = REAL(pread)(from, buffer, size, start);
        if (found < 0)
            found = 0;
        memset(buffer + found, 0, size - found);
        REAL(pwrite)(to, buffer, size, start);
        start += size;
    }
}

static void note(const char *kind, ino_t inode, int64_t start, int64_t stop) {
    int64_t range[2] = {start, stop};
    int list = kept_file(kind, inode, O_WRONLY | O_CREAT | O_APPEND);
    if (list >= 0) {
        REAL(write)(list, range, sizeof range);
        close(list);
    }
}

/* Have the pages of the ranges in *kind* of a file be as they were at its last good sync. */
static void revert(const char *kind, int descriptor, ino_t inode) {
    struct stat now;
    int64_t range[2];
    int list = kept_file(kind, inode, O_RDWR);
    if (list < 0)
        return;
    int content = kept_file("content", inode, O_RDWR | O_CREAT);
    int file = again(descriptor);
    fstat(descriptor, &now);
    while (REAL(read)(list, range, sizeof range) == sizeof range) {
        off_t start = range[0] & ~4095LL, stop = (range[1] + 4095) & ~4095LL;
        copy(content, file, start, stop < now.st_size ? stop : now.st_size);
    }
    REAL(ftruncate)(list, 0);
    if (file != descriptor)
        close(file);
    close(content);
    close(list);
}

static void keep_pages(int descriptor, int content, int64_t *range, off_t size) {
    off_t start = range[0] & ~4095LL, stop = (range[1] + 4095) & ~4095LL;
    copy(descriptor, content, start, stop < size ? stop : size);
}

/* What is in the file now is durable, but for what an earlier sync has lost. */
static void keep_content(int descriptor, ino_t inode) {
    struct stat now;
    int64_t range[2];
    int list = kept_file("dirty", inode, O_RDWR | O_CREAT);
    int content = kept_file("content", inode, O_RDWR | O_CREAT);
    int file = again(descriptor);
    fstat(descriptor, &now);
    REAL(ftruncate)(content, now.st_size);
    while (REAL(read)(list, range, sizeof range) == sizeof range)
        keep_pages(file, content, range, now.st_size);
    REAL(ftruncate)(list, 0);
    if (file != descriptor)
        close(file);
    close(content);
    close(list);
}

static void lose(int descriptor, ino_t inode) {
    int64_t range[2];
    if (!control->clean) {
        revert("dirty", descriptor, inode);
        return;
    }
    int list = kept_file("dirty", inode, O_RDWR);
    if (list < 0)
        return;
    while (REAL(read)(list, range, sizeof range) == sizeof range)
        note("lost", inode, range[0], range[1]);
    REAL(ftruncate)(list, 0);
    close(list);
}

/* Whole or not at all: the program may be killed in the middle of it. */
static void keep_names(const char *path, ino_t inode) {
    char line[PATH_MAX], draft[PATH_MAX + 64], whole[PATH_MAX + 64];
    snprintf(draft, sizeof draft, "%s/names/draft-%llu", kept, (unsigned long long)inode);
    snprintf(whole, sizeof whole, "%s/names/%llu", kept, (unsigned long long)inode);
    int list = REAL(openat)(AT_FDCWD, draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        int size = snprintf(line, sizeof line, "%llu %c %s\n", (unsigned long long)entry->d_ino,
                            entry->d_type == DT_DIR ? 'd' : 'f', entry->d_name);
        REAL(write)(list, line, size);
    }
    if (directory)
        closedir(directory);
    close(list);
    REAL(renameat)(AT_FDCWD, draft, AT_FDCWD, whole);
}

static int synced(int descriptor, int data_only) {
    char path[PATH_MAX];
    struct stat status;
    int result = 0;
    if (!watched(descriptor, path) || shared_memory(path))
        return data_only ? REAL(fdatasync)(descriptor) : REAL(fsync)(descriptor);
    inside = 1;
    fstat(descriptor, &status);
    int lock = locked(status.st_ino, LOCK_EX);
    int error = due(SYNC, path, data_only ? "fdatasync" : "fsync");
    if (S_ISDIR(status.st_mode)) {
        if (error < 0 || error == DEATH)
            keep_names(path, status.st_ino);
    } else if (error < 0 || error == DEATH)
        keep_content(descriptor, status.st_ino);
    else
        lose(descriptor, status.st_ino);
    die_if_last(error);
    if (error >= 0) {
        errno = error;
        result = -1;
    }
    int saved = errno;
    close(lock);
    errno = saved;
    inside = 0;
    return result;
}

/* All files at once; names are not taken for synced. */
int syncfs(int descriptor) {
    char path[PATH_MAX];
    struct dirent *entry;
    if (!watched(descriptor, path))
        return REAL(syncfs)(descriptor);
    inside = 1;
    int error = due(SYNC, path, "syncfs");
    snprintf(path, sizeof path, "%.4000s/dirty", kept);
    DIR *list = opendir(path);
    while (list && (entry = readdir(list))) {
        ino_t inode = strtoull(entry->d_name, NULL, 10);
        int file = inode ? kept_file("held", inode, O_RDWR) : -1;
        if (file < 0)
            continue;
        int lock = locked(inode, LOCK_EX);
        if (error < 0 || error == DEATH)
            keep_content(file, inode);
        else
            lose(file, inode);
        close(lock);
        close(file);
    }
    if (list)
        closedir(list);
    die_if_last(error);
    inside = 0;
    errno = error > 0 ? error : 0;
    return error > 0 ? -1 : 0;
}

int fsync(int descriptor) { return synced(descriptor, 0); }
int fdatasync(int descriptor) { return synced(descriptor, 1); }

/* What a write does: *call* writes *size* bytes at *offset*, or fewer if it is told so. */
#define WRITTEN(descriptor, offset, size, call_name, whole, part)                                  \
    char path[PATH_MAX];                                                                           \
    struct stat status;                                                                            \
    if (!watched(descriptor, path) || shared_memory(path))                                         \
        return whole;                                                                              \
    int error = due(WRITE, path, call_name);                                                       \
    if (error > 0 && error != DEATH) {                                                             \
        errno = error;                                                                             \
        return -1;                                                                                 \
    }                                                                                              \
    inside = 1;                                                                                    \
    fstat(descriptor, &status);                                                                    \
    int lock = locked(status.st_ino, LOCK_SH);                                                     \
    off_t from = offset;                                                                           \
    ssize_t result = error == 0 && size > 1 ? part : whole;                                        \
    int saved = errno;                                                                             \
    if (result > 0)                                                                                \
        note("dirty", status.st_ino, from, from + result);                                         \
    die_if_last(error);                                                                            \
    close(lock);                                                                                   \
    errno = saved;                                                                                 \
    inside = 0;                                                                                    \
    return result

static off_t position(int descriptor) {
    if (fcntl(descriptor, F_GETFL) & O_APPEND)
        return lseek(descriptor, 0, SEEK_END);
    return lseek(descriptor, 0, SEEK_CUR);
}

static size_t total(const struct iovec *parts, int count) {
    size_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += parts[i].iov_len;
    return sum;
}

ssize_t write(int descriptor, const void *data, size_t size) {
    WRITTEN(descriptor, position(descriptor), size, "write", REAL(write)(descriptor, data, size),
            REAL(write)(descriptor, data, size / 2));
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off_t offset) {
    WRITTEN(descriptor, offset, size, "pwrite", REAL(pwrite)(descriptor, data, size, offset),
            REAL(pwrite)(descriptor, data, size / 2, offset));
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    return pwrite64(descriptor, data, size, offset);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    WRITTEN(descriptor, position(descriptor), total(parts, count), "writev",
            REAL(writev)(descriptor, parts, count),
            REAL(write)(descriptor, parts->iov_base, (parts->iov_len + 1) / 2));
}

ssize_t pwritev64(int descriptor, const struct iovec *parts, int count, off_t offset) {
    WRITTEN(descriptor, offset, total(parts, count), "pwritev",
            REAL(pwritev)(descriptor, parts, count, offset),
            REAL(pwrite)(descriptor, parts->iov_base, (parts->iov_len + 1) / 2, offset));
}

ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(descriptor, parts, count, offset);
}

static int unreadable(int descriptor) {
    char path[PATH_MAX];
    if (!control || !(control->kinds & READ) || !watched(descriptor, path))
        return 0;
    int error = due(READ, path, "read");
    errno = error > 0 ? error : errno;
    return error > 0;
}

ssize_t read(int descriptor, void *data, size_t size) {
    return unreadable(descriptor) ? -1 : REAL(read)(descriptor, data, size);
}

ssize_t pread64(int descriptor, void *data, size_t size, off_t offset) {
    return unreadable(descriptor) ? -1 : REAL(pread)(descriptor, data, size, offset);
}

ssize_t pread(int descriptor, void *data, size_t size, off_t offset) {
    return pread64(descriptor, data, size, offset);
}

ssize_t sendfile64(int to, int from, off_t *offset, size_t size) {
    return unreadable(from) ? -1 : REAL(sendfile)(to, from, offset, size);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t size) {
    return sendfile64(to, from, offset, size);
}

/* Lengths are durable at once where they get smaller: file systems may write them before data. */
static void shrink(ino_t inode, off_t size) {
    struct stat status;
    int content = kept_file("content", inode, O_RDWR);
    if (content >= 0 && fstat(content, &status) == 0 && status.st_size > size)
        REAL(ftruncate)(content, size);
    if (content >= 0)
        close(content);
}

int ftruncate64(int descriptor, off_t size) {
    char path[PATH_MAX];
    struct stat before;
    if (!watched(descriptor, path) || shared_memory(path))
        return REAL(ftruncate)(descriptor, size);
    int error = due(TRUNCATE, path, "ftruncate");
    if (error > 0 && error != DEATH) {
        errno = error;
        return -1;
    }
    inside = 1;
    fstat(descriptor, &before);
    int result = REAL(ftruncate)(descriptor, size);
    int saved = errno;
    if (result == 0 && size > before.st_size)
        note("dirty", before.st_ino, before.st_size, size);
    else if (result == 0)
        shrink(before.st_ino, size);
    die_if_last(error);
    errno = saved;
    inside = 0;
    return result;
}

int ftruncate(int descriptor, off_t size) { return ftruncate64(descriptor, size); }

int posix_fadvise64(int descriptor, off_t offset, off_t size, int advice) {
    char path[PATH_MAX];
    struct stat status;
    if (advice == POSIX_FADV_DONTNEED && watched(descriptor, path)) {
        inside = 1;
        fstat(descriptor, &status);
        int lock = locked(status.st_ino, LOCK_EX);
        revert("lost", descriptor, status.st_ino);
        close(lock);
        inside = 0;
    }
    return REAL(fadvise)(descriptor, offset, size, advice);
}

int posix_fadvise(int descriptor, off_t offset, off_t size, int advice) {
    return posix_fadvise64(descriptor, offset, size, advice);
}

/* The path that a call's directory and name stand for, if it is watched. */
static int named(int directory, const char *name, char *path) {
    if (!control || inside)
        return 0;
    if (name[0] == '/' || directory == AT_FDCWD)
        snprintf(path, PATH_MAX, "%s", name);
    else {
        char link[64], base[PATH_MAX / 2];
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t size = readlink(link, base, sizeof base - 1);
        if (size < 0)
            return 0;
        base[size] = 0;
        snprintf(path, PATH_MAX, "%s/%.2000s", base, name);
    }
    return strncmp(path, root, root_size) == 0;
}

int renameat(int from, const char *old, int to, const char *new) {
    char path[PATH_MAX];
    int error = named(to, new, path) ? due(RENAME, path, "rename") : -1;
    if (error > 0 && error != DEATH) {
        errno = error;
        return -1;
    }
    int result = REAL(renameat)(from, old, to, new);
    die_if_last(error);
    return result;
}

int rename(const char *old, const char *new) { return renameat(AT_FDCWD, old, AT_FDCWD, new); }

static int opened(int directory, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    struct stat status;
    int making = (flags & O_CREAT) && named(directory, name, path) && !shared_memory(path);
    int fresh = making && access(path, F_OK) != 0;
    int emptying = (flags & O_TRUNC) && named(directory, name, path);
    int descriptor = REAL(openat)(directory, name, flags, mode);
    if ((fresh || emptying) && descriptor >= 0) {
        int saved = errno;
        inside = 1;
        fstat(descriptor, &status);
        if (fresh)
            hold(path, status.st_ino);
        else
            shrink(status.st_ino, 0);
        inside = 0;
        errno = saved;
    }
    return descriptor;
}

#define MODE(flags)                                                                                \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                         \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

int open(const char *name, int flags, ...) {
    MODE(flags);
    return opened(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...) {
    MODE(flags);
    return opened(AT_FDCWD, name, flags | O_LARGEFILE, mode);
}

int openat(int directory, const char *name, int flags, ...) {
    MODE(flags);
    return opened(directory, name, flags, mode);
}

int openat64(int directory, const char *name, int flags, ...) {
    MODE(flags);
    return opened(directory, name, flags | O_LARGEFILE, mode);
}
