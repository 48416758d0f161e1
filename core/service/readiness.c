#include "service/readiness.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

struct notifier {
  int fd; /* -1: nobody wants to know */
  int64_t watchdog_us;
};

/* A leading @ stands for the NUL of an abstract socket, whose name has no NUL behind it. */
static socklen_t address_of(const char *name, struct sockaddr_un *address) {
  size_t size = strlen(name);
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  if ((name[0] != '/' && name[0] != '@') || size < 2 || size >= sizeof address->sun_path) return 0;
  memcpy(address->sun_path, name, size);
  if (name[0] == '@') address->sun_path[0] = '\0';
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (name[0] == '/'));
}

static int notify_connect(const char *name) {
  struct sockaddr_un address;
  socklen_t size = address_of(name, &address);
  int fd = size ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
  if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, size) == 0) return fd;
  log_warning("NOTIFY_SOCKET %s cannot be spoken to: %s", name,
              size ? strerror(errno) : "it is no address of a socket");
  if (fd >= 0) close(fd);
  return -1;
}

static int64_t number_of(const char *text) {
  char *end = NULL;
  long long n = text ? strtoll(text, &end, 10) : 0;
  return text && *text && !*end && n > 0 ? n : 0;
}

struct notifier *notifier_new(void) {
  struct notifier *notifier = mem_alloc(sizeof *notifier);
  const char *name = getenv("NOTIFY_SOCKET"), *pid = getenv("WATCHDOG_PID");
  notifier->fd = name && *name ? notify_connect(name) : -1;
  if (notifier->fd >= 0 && (!pid || number_of(pid) == getpid()))
    notifier->watchdog_us = number_of(getenv("WATCHDOG_USEC")) / 2;
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");
  unsetenv("WATCHDOG_PID");
  return notifier;
}

void notifier_free(struct notifier **at) {
  if (!*at) return;
  if ((*at)->fd >= 0) close((*at)->fd);
  free(*at);
  *at = NULL;
}

/* One datagram; a manager that does not listen is no reason to wait or to stop. */
static void say(struct notifier *notifier, const char *text) {
  if (notifier->fd < 0) return;
  ssize_t ignored = send(notifier->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
  (void)ignored;
}

void notify_ready(struct notifier *notifier) { say(notifier, "READY=1\n"); }
void notify_stopping(struct notifier *notifier) { say(notifier, "STOPPING=1\n"); }
void notify_watchdog(struct notifier *notifier) { say(notifier, "WATCHDOG=1\n"); }
int64_t notifier_watchdog_us(const struct notifier *notifier) { return notifier->watchdog_us; }

/* Type=notify-reload wants the moment at which it began, so that it can tell this READY=1 from an earlier one. */
void notify_reloading(struct notifier *notifier) {
  char text[96];
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld\n",
           (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
  say(notifier, text);
}

void notify_extend(struct notifier *notifier, int64_t more_us) {
  char text[64];
  snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%lld\n", (long long)more_us);
  say(notifier, text);
}

void notify_status(struct notifier *notifier, const char *format, ...) {
  char status[256], text[300];
  va_list list;
  va_start(list, format);
  vsnprintf(status, sizeof status, format, list);
  va_end(list);
  for (char *c = status; *c; c++)
    if (*c == '\n') *c = ' ';
  snprintf(text, sizeof text, "STATUS=%s\n", status);
  say(notifier, text);
}
