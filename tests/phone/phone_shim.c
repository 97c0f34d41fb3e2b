/* Preloaded into everything on the tests' phone (its /etc/ld.so.preload):
 * - bind() only on IPv4 loopback, never on vsock: adbd would listen on every address;
 * - a wall clock that is /clock_offset_s seconds off, as a phone's may be. The monotonic clock is left alone. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

int bind(int fd, const struct sockaddr *address, socklen_t size) {
  static int (*real)(int, const struct sockaddr *, socklen_t);
  if (!real) real = dlsym(RTLD_NEXT, "bind");
  if (!address) return real(fd, address, size);
  if (address->sa_family == 40 /* AF_VSOCK */) {
    errno = EADDRNOTAVAIL;
    return -1;
  }
  if (address->sa_family == AF_INET) {
    struct sockaddr_in local;
    memcpy(&local, address, sizeof local);
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return real(fd, (struct sockaddr *)&local, sizeof local);
  }
  if (address->sa_family == AF_INET6) {
    struct sockaddr_in6 local;
    memcpy(&local, address, sizeof local);
    int off = 0;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &local.sin6_addr);
    return real(fd, (struct sockaddr *)&local, sizeof local);
  }
  return real(fd, address, size);
}

static long offset;

__attribute__((constructor)) static void read_offset(void) {
  FILE *file = fopen("/clock_offset_s", "r");
  if (!file) return;
  if (fscanf(file, "%ld", &offset) != 1) offset = 0;
  fclose(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(clock, now);
  if (!failed && clock == CLOCK_REALTIME) now->tv_sec += offset;
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  int failed = real(now, zone);
  if (!failed) now->tv_sec += offset;
  return failed;
}

time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into) *into = now.tv_sec;
  return now.tv_sec;
}
