/* Preloaded into a daemon: what it writes to one file fails, or kills it, when a test says so.
 *
 * FAULTY_CONTROL names a file of four int32 that the test maps, too:
 *   [0] what happens: 0 nothing, > 0 the call fails with this errno, -1 the caller dies by SIGKILL before it, -2 after it
 *   [1] how many calls still pass before that; counted down here, by all processes together
 *   [2] the process that it is for
 *   [3] calls seen
 * FAULTY_FILE is a part of the path of the file that it is about.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static volatile int32_t *control;

__attribute__((constructor)) static void map_control(void)
{
	const char *path = getenv("FAULTY_CONTROL");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	if (page != MAP_FAILED)
		control = page;
}

static int is_meant(int fd)
{
	char link[64], path[4096];
	ssize_t length;

	if (!control || control[2] != getpid())
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof path - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	return strstr(path, getenv("FAULTY_FILE")) != NULL;
}

/* What to do about this call: 0 let it pass, else as control[0]. */
static int fate(int fd)
{
	if (!is_meant(fd))
		return 0;
	__sync_fetch_and_add(&control[3], 1);
	if (!control[0] || __sync_fetch_and_sub(&control[1], 1) > 0)
		return 0;
	if (control[0] == -1)
		kill(getpid(), SIGKILL);
	return control[0];
}

#define FAULTY(type, name, params, args)                            \
	type name params                                            \
	{                                                           \
		static type (*real) params;                         \
		int what = fate(fd);                                \
		type result;                                        \
		if (!real)                                          \
			real = (type (*) params) dlsym(RTLD_NEXT, #name); \
		if (what > 0) {                                     \
			errno = what;                               \
			return -1;                                  \
		}                                                   \
		result = real args;                                 \
		if (what == -2)                                     \
			kill(getpid(), SIGKILL);                    \
		return result;                                      \
	}

FAULTY(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
FAULTY(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
FAULTY(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
FAULTY(int, fsync, (int fd), (fd))
FAULTY(int, fdatasync, (int fd), (fd))
FAULTY(int, ftruncate, (int fd, off_t size), (fd, size))
FAULTY(int, ftruncate64, (int fd, off64_t size), (fd, size))
