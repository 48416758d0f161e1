/* parts.h - the insides of a crew: what its files share.
 *
 * Everything here lives on the loop's thread: no locks. */
#pragma once
#include <sys/types.h>

#include "base/buf.h"
#include "host/crew.h"
#include "wire/control.h"

enum {
  SAMPLE_US = 100 * 1000,   /* shared pages are looked at ten times a second */
  QUOTA_US = 1000 * 1000,   /* scratch folders at most once a second */
  MESSAGES_PER_TURN = 64,   /* of one attempt, before others get their turn */
  ZYGOTE_FAILURES_MAX = 8,  /* deaths in a row before it was ready: then attempts are refused */
};

/* ---- logs ---- */

struct loglines;
struct loglines_options {
  struct loop *loop;
  const char *path; /* NULL: no file */
  int64_t limit_bytes;
};
/* Reads a pipe a process writes its output to: bounded file, tail kept. *write_end: for the process, close-on-exec. */
enum err loglines_open(struct loglines **lines, const struct loglines_options *options, int *out, int *err,
                       struct error *e);
void loglines_note(struct loglines *lines, const char *level, const char *text); /* a line of the host's own */
void loglines_drain(struct loglines *lines); /* what is in the pipes now */
char *loglines_tail(struct loglines *lines); /* owned, never NULL */
void loglines_close(struct loglines **lines);

/* ---- zygotes ---- */

struct zygote {
  struct crew *crew;
  bool with_libav;
  int control, pidfd, said; /* said: its own stdout and stderr */
  pid_t pid;
  struct loop_watch *control_watch, *death_watch, *said_watch;
  struct loop_timer *retry;
  bool ready;
  char *loading; /* path of the plugin it loads right now */
};

/* Starts one that is not there yet; ERR_... when it cannot. */
enum err zygote_want(struct zygote *z, struct error *e);
/* Kills and reaps it, without telling attempts. */
void zygote_end(struct zygote *z);
/* Sends START for what waits for it. */
void zygote_pump(struct zygote *z);
void zygote_pump_soon(struct zygote *z); /* at the loop's next turn */

/* ---- cgroups ---- */

struct cgroup; /* a memory cgroup of one attempt */
/* NULL where cgroups cannot be used: the RSS watch does it alone then. */
struct cgroup *cgroup_new(int64_t memory_bytes, int64_t serial, int *procs_fd);
bool cgroup_was_full(const struct cgroup *g); /* somebody in it was killed for memory */
void cgroup_free(struct cgroup **g);

/* ---- attempts ---- */

enum attempt_phase { PHASE_QUEUED = 1, PHASE_SENT, PHASE_STARTED };

struct stage_watch { /* what the host remembers of one stage */
  const struct stage_type *type; /* NULL: not in the catalogue */
  bool ended;
  uint32_t outputs, results, checkpoints, notes;
  int64_t title_second; /* TITLE messages are counted by the second */
  uint32_t titles;
};

struct attempt {
  struct attempt *next;
  struct crew *crew;
  struct zygote *zygote; /* NULL once that one has died */
  struct attempt_callbacks callbacks;
  void *context;
  int64_t serial;
  struct unit *unit;
  struct stage_set *stage_set;
  enum attempt_phase phase;
  bool fresh;
  /* ours */
  int socket;
  struct loop_watch *socket_watch;
  struct page *page;
  struct loglines *lines;
  struct cgroup *cgroup;
  /* the process's, until START is sent */
  int gifts[CONTROL_FDS_MAX];
  size_t gift_count;
  /* processes */
  int attempt_pidfd, keeper_pidfd;
  struct loop_watch *keeper_watch, *attempt_watch; /* NULL once dead */
  int pid;
  bool reaped, gone, unheard; /* unheard: the socket has ended */
  int status;
  int64_t cpu_us, max_rss_bytes;
  /* why it is being ended; 0: it is not */
  enum attempt_end reason;
  struct error why;
  int rung; /* of the ladder: 1 asked, 2 SIGTERM, 3 SIGKILL */
  struct loop_timer *ladder, *timeout;
  /* limits */
  int64_t started_us, life_us, stall_us, memory_bytes, next_quota_us;
  /* the protocol */
  bool said_hello, said_bye, opened, answered;
  struct stage_watch *stages;
  struct attempt_verdict *verdicts;
  struct value *stats;
  int32_t suspect;
  int fault_signal;
  char *backtrace;
  /* the page */
  struct attempt_progress progress;
  uint64_t heartbeat;
  bool said_progress;
};

struct crew {
  struct loop *loop;
  struct catalogue *catalogue;
  char *runner_path, *pass_module_path;
  int64_t stall_us, cancel_grace_us, term_grace_us, log_limit_bytes;
  int uid, gid;
  struct zygote plain, libav;
  unsigned failures;  /* of zygotes in a row */
  char **kept_out;    /* plugins that killed or spoiled a zygote: run by fresh exec */
  size_t kept_out_count;
  struct attempt *attempts; /* oldest first */
  int64_t serial;
  struct loop_timer *sampler;
};

int64_t crew_now(const struct crew *crew);
struct attempt *crew_find(struct crew *crew, int64_t serial);
bool crew_keeps_out(const struct crew *crew, const char *plugin_path);
void crew_keep_out(struct crew *crew, const char *plugin_path);

/* Ends it for `reason` (the first one counts, a cancel always does), from this rung of the ladder on. */
void attempt_stop(struct attempt *a, enum attempt_end reason, int rung, const char *format, ...)
  __attribute__((format(printf, 4, 5)));
void attempt_climb(struct attempt *a, int rung);
/* Reads what its socket holds, at most `most` messages. */
void attempt_hear(struct attempt *a, unsigned most);
/* Events from the control socket. */
void attempt_on_started(struct attempt *a, struct control *c);
void attempt_on_ended(struct attempt *a, const struct value *body);
void attempt_on_gone(struct attempt *a, const char *error);
void attempt_on_zygote_death(struct attempt *a);
/* Calls `ended` and frees when nothing of it is left. */
void attempt_settle(struct attempt *a);
void attempt_refuse(struct attempt *a, const struct error *why); /* never started */
void attempt_free(struct attempt **a);
/* One look at the page, memory, scratch. */
void attempt_sample(struct attempt *a, int64_t now_us);
/* The control message START; ERR_BUSY: later. */
enum err attempt_send_start(struct attempt *a, struct error *e);

/* Checks a message against protocol and tables; a sentence when it breaks them. May replace its body's `meta`.
 * *deliver: whether the engine gets it. */
enum err check_message(struct attempt *a, struct message *m, bool *deliver, struct error *e);
void outcome_fill(struct attempt *a, struct attempt_outcome *outcome);
