/* readiness.h - tells the service manager how the daemon is: the readiness protocol of sd_notify(3), spoken by hand.
 * Without NOTIFY_SOCKET every call does nothing. [any-thread] once opened */
#pragma once
#include <stdint.h>

struct notifier;
/* Reads NOTIFY_SOCKET (a path, or an abstract socket as "@name"), WATCHDOG_USEC and WATCHDOG_PID and removes them from
 * the environment, so that no attempt can speak for the daemon. Never NULL. */
struct notifier *notifier_new(void);
void notifier_free(struct notifier **notifier);
void notify_ready(struct notifier *notifier);
void notify_reloading(struct notifier *notifier); /* notify_ready follows when it is over */
void notify_stopping(struct notifier *notifier);
void notify_status(struct notifier *notifier, const char *format, ...) __attribute__((format(printf, 2, 3)));
void notify_watchdog(struct notifier *notifier);
/* The manager may give us so much more time to start or stop, from now. */
void notify_extend(struct notifier *notifier, int64_t more_us);
/* How often notify_watchdog is due: half of what the manager allows; 0: it does not ask. */
int64_t notifier_watchdog_us(const struct notifier *notifier);
