/* rig.h - a real loop, a real crew, the built runner and the test plugins; one attempt at a time, its story kept. */
#pragma once
#include "host/catalogue.h"
#include "host/crew.h"

struct rig {
  struct loop *loop;
  struct catalogue *catalogue;
  struct crew *crew;
  char folder[128]; /* scratch of the test, removed by rig_close */
};

struct story { /* what one attempt did */
  struct attempt *attempt;
  struct rig *rig;
  bool started, over;
  int pid;
  enum attempt_end end;
  struct error error;
  int signal, exit_code;
  int32_t suspect;
  enum verdict verdict;
  char message[1024], debug[1024];
  int64_t cpu_us, max_rss_bytes, wall_us;
  char log_tail[4096];
  struct value *results;     /* key -> value */
  struct value *outputs;     /* list of the messages' bodies */
  struct value *checkpoints; /* key -> text */
  struct value *notes;
  unsigned titles, logs, progress_calls, endings;
  double fraction, lowest_step; /* last fraction; smallest change between two */
  uint32_t item, items;
  /* what a test wants to happen on the way */
  void (*on_started)(struct story *s);
  void (*on_progress)(struct story *s);
};

struct order { /* what to run */
  const char *stage;
  struct value *params; /* moved */
  struct value *checkpoints; /* moved; NULL: none */
  uint32_t attempt;     /* 0: 1 */
  int64_t timeout_us, stall_us, memory_bytes, scratch_quota_bytes;
  const char *input_text; /* one input file with this content, at port "in" */
  enum unit_kind kind;    /* 0: task */
};

void rig_open(struct rig *rig, const struct crew_options *like); /* like: NULL, or graces, user */
void rig_close(struct rig *rig);
void rig_start(struct rig *rig, struct story *s, const struct order *order);
void rig_await(struct rig *rig, struct story *s, int64_t most_us); /* fails the test when it takes longer */
void rig_run(struct rig *rig, struct story *s, const struct order *order);
void story_clear(struct story *s);
struct value *param_text(const char *key, const char *text);
bool process_exists_named(const char *name); /* any process of that name, zombies aside */
/* `--ordinary`: the same tests as an ordinary user, who may not make PID namespaces, so that keepers sweep as
 * subreapers. Ends the process with 77 (skipped) where the build folder is closed to others. */
void rig_become_ordinary(void);
