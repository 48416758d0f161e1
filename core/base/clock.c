#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_us(clockid_t which) {
  struct timespec t;
  clock_gettime(which, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t system_boot(const struct clock *c) {
  (void)c;
  return read_us(CLOCK_BOOTTIME);
}

static int64_t system_wall(const struct clock *c) {
  (void)c;
  return read_us(CLOCK_REALTIME);
}

const struct clock clock_system = {system_boot, system_wall};

static int64_t fake_boot(const struct clock *c) { return ((const struct clock_fake *)(const void *)c)->boot_us; }
static int64_t fake_wall(const struct clock *c) { return ((const struct clock_fake *)(const void *)c)->wall_us; }

void clock_fake_init(struct clock_fake *f, int64_t boot_us, int64_t wall_us) {
  *f = (struct clock_fake){{fake_boot, fake_wall}, boot_us, wall_us};
}

const char *clock_format(int64_t wall_us, char out[32]) {
  int64_t ms = wall_us / 1000;
  if (wall_us % 1000 < 0) ms--;
  int64_t rest = ms % 1000;
  if (rest < 0) rest += 1000;
  time_t seconds = (time_t)((ms - rest) / 1000);
  struct tm t;
  /* RFC 3339 knows years of four digits only. */
  if (!gmtime_r(&seconds, &t) || t.tm_year + 1900 > 9999 || t.tm_year + 1900 < 0) {
    snprintf(out, 32, "9999-12-31T23:59:59.999Z");
    return out;
  }
  snprintf(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (t.tm_year + 1900) % 10000, (t.tm_mon + 1) % 100,
           t.tm_mday % 100, t.tm_hour % 100, t.tm_min % 100, t.tm_sec % 100, (int)rest);
  return out;
}

const char *clock_human(int64_t us, char out[32]) {
  const char *sign = us < 0 ? "-" : "";
  uint64_t n = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
  uint64_t seconds = (n + 500000) / 1000000;
  if (n < 1000)
    snprintf(out, 32, "%s%" PRIu64 " us", sign, n);
  else if (n < 999500)
    snprintf(out, 32, "%s%" PRIu64 " ms", sign, (n + 500) / 1000);
  else if ((n + 50000) / 100000 < 600) {
    uint64_t tenths = (n + 50000) / 100000;
    if (tenths % 10)
      snprintf(out, 32, "%s%" PRIu64 ".%" PRIu64 " s", sign, tenths / 10, tenths % 10);
    else
      snprintf(out, 32, "%s%" PRIu64 " s", sign, tenths / 10);
  } else if (seconds < 3600) {
    if (seconds % 60)
      snprintf(out, 32, "%s%" PRIu64 " min %" PRIu64 " s", sign, seconds / 60, seconds % 60);
    else
      snprintf(out, 32, "%s%" PRIu64 " min", sign, seconds / 60);
  } else if (seconds < 86400) {
    uint64_t minutes = seconds / 60;
    if (minutes % 60)
      snprintf(out, 32, "%s%" PRIu64 " h %" PRIu64 " min", sign, minutes / 60, minutes % 60);
    else
      snprintf(out, 32, "%s%" PRIu64 " h", sign, minutes / 60);
  } else {
    uint64_t hours = seconds / 3600;
    if (hours % 24)
      snprintf(out, 32, "%s%" PRIu64 " d %" PRIu64 " h", sign, hours / 24, hours % 24);
    else
      snprintf(out, 32, "%s%" PRIu64 " d", sign, hours / 24);
  }
  return out;
}

/* Exactly `digits` digits within a range. */
static bool parse_number(const char **at, int digits, int least, int most, int *n) {
  *n = 0;
  for (int i = 0; i < digits; i++) {
    if ((*at)[i] < '0' || (*at)[i] > '9') return false;
    *n = *n * 10 + (*at)[i] - '0';
  }
  *at += digits;
  return *n >= least && *n <= most;
}

static bool parse_char(const char **at, const char *any) {
  if (!**at || !strchr(any, **at)) return false;
  (*at)++;
  return true;
}

static bool parse_fraction(const char **at, int64_t *us) {
  *us = 0;
  if (**at != '.') return true;
  (*at)++;
  int64_t unit = 100000;
  if (**at < '0' || **at > '9') return false;
  const char *first = *at;
  for (; **at >= '0' && **at <= '9'; (*at)++, unit /= 10) *us += (**at - '0') * unit;
  return *at - first <= 9;
}

static bool parse_zone(const char **at, int64_t *ahead_us) {
  int sign = **at == '-' ? -1 : 1, hours, minutes;
  *ahead_us = 0;
  if (!**at || parse_char(at, "Zz")) return true;
  if (!parse_char(at, "+-") || !parse_number(at, 2, 0, 23, &hours) || !parse_char(at, ":")) return false;
  if (!parse_number(at, 2, 0, 59, &minutes)) return false;
  *ahead_us = (int64_t)sign * (hours * 60 + minutes) * 60 * 1000000;
  return true;
}

static bool parse_time(const char **at, struct tm *tm, int64_t *us) {
  *us = 0;
  if (!parse_number(at, 2, 0, 23, &tm->tm_hour) || !parse_char(at, ":") || !parse_number(at, 2, 0, 59, &tm->tm_min)) return false;
  if (**at != ':') return true;
  (*at)++;
  return parse_number(at, 2, 0, 60, &tm->tm_sec) && parse_fraction(at, us);
}

bool clock_parse(const char *text, int64_t *wall_us) {
  struct tm tm = {0};
  int64_t us = 0, ahead_us = 0;
  if (!parse_number(&text, 4, 1970, 9999, &tm.tm_year) || !parse_char(&text, "-")) return false;
  if (!parse_number(&text, 2, 1, 12, &tm.tm_mon) || !parse_char(&text, "-")) return false;
  if (!parse_number(&text, 2, 1, 31, &tm.tm_mday)) return false;
  if (*text && (!parse_char(&text, "Tt ") || !parse_time(&text, &tm, &us) || !parse_zone(&text, &ahead_us))) return false;
  int day = tm.tm_mday;
  tm.tm_year -= 1900;
  tm.tm_mon--;
  time_t s = timegm(&tm);
  if (*text || tm.tm_mday != day) return false; /* 31 June would have become 1 July */
  *wall_us = (int64_t)s * 1000000 + us - ahead_us;
  return true;
}
