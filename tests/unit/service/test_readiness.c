/* The readiness protocol, heard by a socket of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "service/readiness.h"

/* name as in NOTIFY_SOCKET: a path, or @abstract. */
static int manager(const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t size = strlen(name);
  memcpy(address.sun_path, name, size);
  if (name[0] == '@') address.sun_path[0] = '\0';
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (name[0] == '/'));
  assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
  return fd;
}

static const char *heard(int fd) {
  static char text[512];
  ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
  text[n > 0 ? n : 0] = '\0';
  return text;
}

static void everything_is_said(const char *name) {
  int fd = manager(name);
  char pid[32];
  snprintf(pid, sizeof pid, "%d", getpid());
  setenv("NOTIFY_SOCKET", name, 1);
  setenv("WATCHDOG_USEC", "30000000", 1);
  setenv("WATCHDOG_PID", pid, 1);
  struct notifier *n = notifier_new();
  assert_null(getenv("NOTIFY_SOCKET")); /* nobody else speaks for us */
  assert_int_equal(notifier_watchdog_us(n), 15000000);
  notify_ready(n);
  assert_string_equal(heard(fd), "READY=1\n");
  notify_reloading(n);
  const char *text = heard(fd);
  assert_int_equal(strncmp(text, "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
  assert_true(atoll(text + 27) > 0);
  notify_status(n, "two\nlines %d", 1);
  assert_string_equal(heard(fd), "STATUS=two lines 1\n");
  notify_watchdog(n);
  assert_string_equal(heard(fd), "WATCHDOG=1\n");
  notify_extend(n, 5000000);
  assert_string_equal(heard(fd), "EXTEND_TIMEOUT_USEC=5000000\n");
  notify_stopping(n);
  assert_string_equal(heard(fd), "STOPPING=1\n");
  notifier_free(&n);
  close(fd);
}

static void a_path_is_spoken_to(void **state) {
  (void)state;
  char folder[] = "/tmp/readiness-XXXXXX", name[64];
  assert_non_null(mkdtemp(folder));
  snprintf(name, sizeof name, "%s/notify", folder);
  everything_is_said(name);
  unlink(name);
  rmdir(folder);
}

static void an_abstract_socket_is_spoken_to(void **state) {
  (void)state;
  char name[64];
  snprintf(name, sizeof name, "@stagemill-readiness-%d", getpid());
  everything_is_said(name);
}

static void nobody_and_nonsense_cost_nothing(void **state) {
  (void)state;
  static const char *const names[] = {NULL, "", "relative", "@", "/nowhere/at/all", "vsock:2:1234"};
  log_open(STDERR_FILENO, LOG_LEVEL_ERROR, false);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (names[i]) setenv("NOTIFY_SOCKET", names[i], 1);
    setenv("WATCHDOG_USEC", "1000", 1);
    struct notifier *n = notifier_new();
    assert_int_equal(notifier_watchdog_us(n), 0);
    notify_ready(n);
    notify_status(n, "x");
    notifier_free(&n);
  }
}

static void a_manager_that_does_not_listen_is_not_waited_for(void **state) {
  (void)state;
  char name[64];
  snprintf(name, sizeof name, "@stagemill-deaf-%d", getpid());
  int fd = manager(name);
  setenv("NOTIFY_SOCKET", name, 1);
  struct notifier *n = notifier_new();
  for (int i = 0; i < 10000; i++) notify_watchdog(n); /* its queue is full long before */
  notifier_free(&n);
  close(fd);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_path_is_spoken_to),
      cmocka_unit_test(an_abstract_socket_is_spoken_to),
      cmocka_unit_test(nobody_and_nonsense_cost_nothing),
      cmocka_unit_test(a_manager_that_does_not_listen_is_not_waited_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
