/* Preloaded into a daemon: calls fail, wait or lie in it when a test says so.
 *
 * FAULTY_CONTROL names a file of int32 that the test maps, too. The calls on one file (FAULTY_FILE is a part of its path):
 *   [0] what happens: 0 nothing, > 0 the call fails with this errno, -1 the caller dies by SIGKILL before it, -2 after it
 *   [1] how many calls still pass before that; counted down here, by all processes together
 *   [2] the process that it is for, -1: all
 *   [3] calls seen: those that write, make or remove it
 * The machine:
 *   [4] the process that has a machine in trouble, -1: all
 *   [5] fork, vfork and pthread_create fail with this errno
 *   [6] fsync and fdatasync take so many milliseconds more (of all processes)
 *   [7] the wall clock is so many seconds ahead (of all processes)
 *   [8] 1: what happens, happens once; 0: to every call, and to opening it for writing
 *   [9] the process for which deaths are long apart: its steady clock leaps at each by so many seconds as
 *   [10] says, and is by now [11] seconds ahead
 * A timerfd of the wall clock, by which a process hears that the clock was set, is the FIFO FAULTY_CLOCK.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define WORDS 12

static volatile int32_t *control;

__attribute__((constructor)) static void map_control(void)
{
	const char *path = getenv("FAULTY_CONTROL");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, 4 * WORDS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	if (page != MAP_FAILED)
		control = page;
}

#define REAL(type, name, params)                                     \
	static type (*real) params;                                  \
	if (!real)                                                   \
		real = (type (*) params) dlsym(RTLD_NEXT, #name);

/* -- one file ------------------------------------------------------------------------------------------------------ */

static int is_meant(int fd)
{
	char link[64], path[4096];
	ssize_t length;

	if (!control || (control[2] != -1 && control[2] != getpid()))
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof path - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	return strstr(path, getenv("FAULTY_FILE")) != NULL;
}

static int is_named(const char *path)
{
	return control && (control[2] == -1 || control[2] == getpid()) && strstr(path, getenv("FAULTY_FILE"));
}

static void die(void)
{
	__sync_fetch_and_add(&control[11], control[10]);
	kill(getpid(), SIGKILL);
}

/* What to do about this call: 0 let it pass, else as control[0]. */
static int fate(int meant)
{
	int what;

	if (!meant)
		return 0;
	__sync_fetch_and_add(&control[3], 1);
	if (!control[0] || __sync_fetch_and_sub(&control[1], 1) > 0)
		return 0;
	what = control[0];
	if (control[8])
		control[0] = 0;
	if (what == -1)
		die();
	return what;
}

static void be_slow(void)
{
	int32_t wait = control ? control[6] : 0;

	if (wait > 0)
		usleep(wait * 1000);
}

#define FAULTY(type, name, params, args, meant, before)             \
	type name params                                            \
	{                                                           \
		int what = fate(meant);                             \
		type result;                                        \
		REAL(type, name, params)                            \
		before;                                             \
		if (what > 0) {                                     \
			errno = what;                               \
			return -1;                                  \
		}                                                   \
		result = real args;                                 \
		if (what == -2)                                     \
			die();                                      \
		return result;                                      \
	}

FAULTY(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), is_meant(fd), (void)0)
FAULTY(ssize_t, writev, (int fd, const struct iovec *data, int count), (fd, data, count), is_meant(fd), (void)0)
FAULTY(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), is_meant(fd), (void)0)
FAULTY(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), is_meant(fd), (void)0)
FAULTY(int, fsync, (int fd), (fd), is_meant(fd), be_slow())
FAULTY(int, fdatasync, (int fd), (fd), is_meant(fd), be_slow())
FAULTY(int, ftruncate, (int fd, off_t size), (fd, size), is_meant(fd), (void)0)
FAULTY(int, ftruncate64, (int fd, off64_t size), (fd, size), is_meant(fd), (void)0)
FAULTY(int, unlink, (const char *path), (path), is_named(path) && !access(path, F_OK), (void)0)
FAULTY(int, mkdir, (const char *path, mode_t mode), (path, mode), is_named(path) && access(path, F_OK), (void)0)

/* Only what makes a file is a call that counts; opening one for writing is refused where all writing is. */
static int fate_of_open(const char *path, int flags)
{
	if (!(flags & (O_WRONLY | O_RDWR)) || !is_named(path))
		return 0;
	if (flags & O_CREAT && access(path, F_OK))
		return fate(1);
	return control[8] ? 0 : control[0];
}

int access(const char *path, int mode)
{
	REAL(int, access, (const char *, int))
	if (mode & W_OK && fate_of_open(path, O_WRONLY) > 0) {
		errno = control[0];
		return -1;
	}
	return real(path, mode);
}

/* A disk on which every write fails with EROFS says what it is. */
#define FAULTY_STATVFS(name, type)                                  \
	int name(const char *path, struct type *found)              \
	{                                                           \
		int result;                                         \
		REAL(int, name, (const char *, struct type *))      \
		result = real(path, found);                         \
		if (!result && fate_of_open(path, O_WRONLY) == EROFS) \
			found->f_flag |= ST_RDONLY;                 \
		return result;                                      \
	}

FAULTY_STATVFS(statvfs, statvfs)
FAULTY_STATVFS(statvfs64, statvfs64)

#define FAULTY_OPEN(name)                                           \
	int name(const char *path, int flags, ...)                  \
	{                                                           \
		int what = fate_of_open(path, flags), mode, fd;     \
		va_list more;                                       \
		REAL(int, name, (const char *, int, ...))           \
		if (what > 0) {                                     \
			errno = what;                               \
			return -1;                                  \
		}                                                   \
		va_start(more, flags);                              \
		mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0; \
		va_end(more);                                       \
		fd = real(path, flags, mode);                       \
		if (what == -2)                                     \
			die();                                      \
		return fd;                                          \
	}

FAULTY_OPEN(open)
FAULTY_OPEN(open64)

/* -- the machine --------------------------------------------------------------------------------------------------- */

static int is_short(void)
{
	return control && control[5] && (control[4] == -1 || control[4] == getpid());
}

pid_t fork(void)
{
	REAL(pid_t, fork, (void))
	if (is_short()) {
		errno = control[5];
		return -1;
	}
	return real();
}

/* A fork: a function cannot return twice on the stack that its caller goes on with, and to callers it is the same. */
pid_t vfork(void)
{
	return fork();
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *argument)
{
	REAL(int, pthread_create, (pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))
	return is_short() ? control[5] : real(thread, attr, start, argument);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	REAL(int, clock_gettime, (clockid_t, struct timespec *))
	int result = real(clock, now);

	if (control && !result && clock == CLOCK_REALTIME)
		now->tv_sec += control[7];
	if (control && !result && clock == CLOCK_MONOTONIC && control[11] && control[9] == getpid())
		now->tv_sec += control[11];
	return result;
}

int timerfd_create(int clock, int flags)
{
	REAL(int, timerfd_create, (int, int))
	const char *path = getenv("FAULTY_CLOCK");

	if (clock != CLOCK_REALTIME || !path)
		return real(clock, flags);
	return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	REAL(int, timerfd_settime, (int, int, const struct itimerspec *, struct itimerspec *))
	return getenv("FAULTY_CLOCK") && (flags & TFD_TIMER_CANCEL_ON_SET) ? 0 : real(fd, flags, new, old);
}
