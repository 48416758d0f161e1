/* newid.c - ids of jobs: 48 bits of milliseconds and 80 of chance in base 32, so that they sort by time. */
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "engine/job.h"

enum { ID_DIGITS = 26, ID_TIME_DIGITS = 10 };

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER; /* guards last */
static char last[ID_DIGITS + 1];

/* The next in order: for one millisecond's second id, and for a clock that went back. */
static void id_increment(char id[ID_DIGITS + 1]) {
  for (int i = ID_DIGITS - 1; i >= 0; i--) {
    const char *at = strchr(digits, id[i]);
    if (at && at[1]) {
      id[i] = at[1];
      return;
    }
    id[i] = digits[0];
  }
}

void engine_new_id(char id[STORE_ID_MAX]) {
  unsigned char chance[ID_DIGITS - ID_TIME_DIGITS];
  uint64_t ms = (uint64_t)clock_wall(&clock_system) / 1000;
  for (size_t got = 0; got < sizeof chance;) {
    ssize_t n = getrandom(chance + got, sizeof chance - got, 0);
    if (n > 0) got += (size_t)n;
  }
  for (int i = 0; i < ID_TIME_DIGITS; i++) id[i] = digits[(ms >> (45 - 5 * i)) & 31];
  for (int i = ID_TIME_DIGITS; i < ID_DIGITS; i++) id[i] = digits[chance[i - ID_TIME_DIGITS] & 31];
  id[ID_DIGITS] = '\0';
  pthread_mutex_lock(&last_lock);
  if (strcmp(id, last) <= 0) {
    id_increment(last);
    memcpy(id, last, sizeof last);
  }
  memcpy(last, id, sizeof last);
  pthread_mutex_unlock(&last_lock);
}
