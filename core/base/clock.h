/* clock.h - time, injectable so that time-dependent logic is tested without waiting. All in microseconds. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct clock {
  int64_t (*boot_us)(const struct clock *); /* CLOCK_BOOTTIME: delays, deadlines */
  int64_t (*wall_us)(const struct clock *); /* UTC since 1970: what people and the store see */
};
extern const struct clock clock_system;

struct clock_fake { /* for tests: set and advance by hand */
  struct clock clock;
  int64_t boot_us, wall_us;
};
void clock_fake_init(struct clock_fake *, int64_t boot_us, int64_t wall_us);

static inline int64_t clock_boot(const struct clock *c) { return c->boot_us(c); }
static inline int64_t clock_wall(const struct clock *c) { return c->wall_us(c); }

/* RFC 3339 in UTC with milliseconds: "2026-01-31T12:00:00.123Z". out holds at least 32 bytes. */
const char *clock_format(int64_t wall_us, char out[32]);
/* RFC 3339: "2026-01-31", "2026-01-31T12:00Z", "2026-01-31T12:00:00.123+01:00", UTC without an offset; false when it is none (a leap second is one). */
bool clock_parse(const char *text, int64_t *wall_us);
/* "850 ms", "2.5 s", "3 min 20 s", "2 h 5 min": durations for people. out holds at least 32 bytes. */
const char *clock_human(int64_t us, char out[32]);
