/* LD_PRELOAD: a machine whose clock jumps and whose disk is slow or turns read-only.

   What is wrong stands in a file of three 64-bit numbers, $MACHINE, which every process maps: it changes at once for
   all of them. Only the wall clock jumps; the monotonic one goes on, as it does on a real machine. Whoever is started
   by somebody on this machine is on it too, whatever environment he is given. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct machine {
    int64_t offset;    /* seconds that the wall clock is ahead */
    int64_t sync;      /* microseconds that a sync takes longer */
    int64_t read_only; /* whether writes to the disk fail with EROFS */
};
static const struct machine fine, *machine = &fine;
static char folder[4096]; /* what lies on that disk: $MACHINE's own folder */
static size_t length;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("MACHINE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *machine, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED)
        return;
    length = strlen(path) - strlen(strrchr(path, '/'));
    memcpy(folder, path, length);
    machine = mapped;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = NEXT(clock_gettime)(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        now->tv_sec += machine->offset;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int result = NEXT(gettimeofday)(now, zone);
    now->tv_sec += machine->offset;
    return result;
}

time_t time(time_t *now)
{
    time_t told = NEXT(time)(NULL) + machine->offset;
    if (now)
        *now = told;
    return told;
}

int fsync(int file)
{
    usleep(machine->sync);
    return NEXT(fsync)(file);
}

int fdatasync(int file)
{
    usleep(machine->sync);
    return NEXT(fdatasync)(file);
}

static int refused(const char *path)
{
    return machine->read_only && strncmp(path, folder, length) == 0 && (errno = EROFS);
}

static int refused_file(int file)
{
    char link[64], path[4096];
    if (!machine->read_only)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    path[size < 0 ? 0 : size] = 0;
    return refused(path);
}

static const char *const ours[] = {"LD_PRELOAD", "MACHINE"};

int execve(const char *path, char *const arguments[], char *const environment[])
{
    int count = 0, said = 0;
    while (environment[count])
        said |= strncmp(environment[count++], "MACHINE=", 8) == 0;
    if (said || machine == &fine)
        return NEXT(execve)(path, arguments, environment);
    char *more[count + 3], values[2][4200];
    memcpy(more, environment, count * sizeof *more);
    for (int n = 0; n < 2; n++) {
        snprintf(values[n], sizeof values[n], "%s=%s", ours[n], getenv(ours[n]));
        more[count + n] = values[n];
    }
    more[count + 2] = NULL;
    return NEXT(execve)(path, arguments, more);
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        return (flags & O_ACCMODE) != O_RDONLY && refused(path) ? -1 : NEXT(name)(path, flags, mode);                  \
    }
OPEN(open)
OPEN(open64)

#define ON_FILE(type, name, parameters, arguments)                                                                     \
    type name parameters { return refused_file(file) ? -1 : NEXT(name) arguments; }
ON_FILE(ssize_t, write, (int file, const void *data, size_t size), (file, data, size))
ON_FILE(ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
ON_FILE(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
ON_FILE(int, ftruncate, (int file, off_t size), (file, size))
ON_FILE(int, ftruncate64, (int file, off64_t size), (file, size))

int mkdir(const char *path, mode_t mode) { return refused(path) ? -1 : NEXT(mkdir)(path, mode); }
int unlink(const char *path) { return refused(path) ? -1 : NEXT(unlink)(path); }
int rmdir(const char *path) { return refused(path) ? -1 : NEXT(rmdir)(path); }
int rename(const char *from, const char *to) { return refused(to) ? -1 : NEXT(rename)(from, to); }
