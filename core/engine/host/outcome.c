/* What became of an attempt: from wait status, messages and reasons to one end and one sentence. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "host/parts.h"

const char *attempt_end_word(enum attempt_end end) {
  switch (end) {
  case ATTEMPT_ENDED: return "ended";
  case ATTEMPT_CRASHED: return "crashed";
  case ATTEMPT_EXITED: return "exited";
  case ATTEMPT_TIMED_OUT: return "timed-out";
  case ATTEMPT_STALLED: return "stalled";
  case ATTEMPT_CANCELLED: return "cancelled";
  case ATTEMPT_MEMORY: return "memory";
  case ATTEMPT_QUOTA: return "quota";
  case ATTEMPT_PROTOCOL: return "protocol";
  case ATTEMPT_LOST: return "lost";
  case ATTEMPT_REFUSED: return "refused";
  }
  return "unknown";
}

/* Who a sentence is about: the suspect, the only stage, or the pass. */
static void subject(const struct attempt *a, int32_t suspect, char *out, size_t room) {
  if (a->unit->stage_count == 1) suspect = 0;
  if (suspect >= 0) snprintf(out, room, "stage `%s`", a->unit->stages[suspect].id);
  else snprintf(out, room, "the pass");
}

static bool was_short_of_memory(const struct attempt *a) {
  if (a->memory_bytes <= 0) return false;
  if (a->cgroup && cgroup_was_full(a->cgroup)) return true;
  /* A refused allocation looks like any other crash: at the limit it is one for memory. */
  return a->max_rss_bytes >= a->memory_bytes / 10 * 9;
}

static void say_memory(struct attempt *a, struct attempt_outcome *o) {
  char who[96];
  subject(a, o->suspect, who, sizeof(who));
  o->end = ATTEMPT_MEMORY;
  error_set(&o->error, ERR_NO_SPACE, "%s needed more memory than its limit of %lld MiB: raise the limit, or make the work "
            "smaller", who, (long long)(a->memory_bytes >> 20));
}

static void say_signal(struct attempt *a, struct attempt_outcome *o) {
  char who[96];
  const char *name = sigabbrev_np(o->signal);
  subject(a, o->suspect, who, sizeof(who));
  o->end = ATTEMPT_CRASHED;
  error_set(&o->error, ERR_LOST, "%s crashed (SIG%s): look at its log, and report it to the author of %s", who,
            name ? name : "?", o->suspect >= 0 && a->unit->stages[o->suspect].plugin_path
            ? a->unit->stages[o->suspect].plugin_path : "its plugin");
  if (a->backtrace) error_debug(&o->error, "%s", a->backtrace);
}

static void say_exit(struct attempt *a, struct attempt_outcome *o) {
  char who[96];
  subject(a, -1, who, sizeof(who));
  if (!a->said_hello) {
    o->end = ATTEMPT_REFUSED;
    error_set(&o->error, ERR_IO, "%s could not be started (code %d): %s", who, o->exit_code,
              o->log_tail[0] ? o->log_tail : "its log says nothing");
    return;
  }
  o->end = ATTEMPT_EXITED;
  error_set(&o->error, ERR_LOST, "%s ended its process (code %d) instead of returning a verdict: look at its log, and report "
            "it to the plugin's author", who, o->exit_code);
}

static void say_lost(struct attempt *a, struct attempt_outcome *o) {
  char who[96];
  subject(a, -1, who, sizeof(who));
  o->end = ATTEMPT_LOST;
  error_set(&o->error, ERR_LOST, "%s was lost with the process that had started it: it is started again", who);
}

static void classify(struct attempt *a, struct attempt_outcome *o) {
  if (a->reason) {
    o->end = a->reason;
    o->error = a->why;
    return;
  }
  if (a->said_bye) o->end = ATTEMPT_ENDED; /* all verdicts are in: how the process then went does not matter */
  /* Killed, and its zygote has died: that was its keeper, sweeping. */
  else if (!a->reaped || (!a->gone && o->signal == SIGKILL)) say_lost(a, o);
  else if (o->signal && was_short_of_memory(a)) say_memory(a, o);
  else if (o->signal) say_signal(a, o);
  else say_exit(a, o);
}

void outcome_fill(struct attempt *a, struct attempt_outcome *o) {
  *o = (struct attempt_outcome){.suspect = -1, .stage_count = a->unit->stage_count, .verdicts = a->verdicts,
                                .stats = a->stats, .cpu_us = a->cpu_us, .max_rss_bytes = a->max_rss_bytes};
  o->wall_us = crew_now(a->crew) - a->started_us;
  o->log_tail = loglines_tail(a->lines);
  if (a->reaped && WIFSIGNALED(a->status)) o->signal = WTERMSIG(a->status);
  if (a->reaped && WIFEXITED(a->status)) o->exit_code = WEXITSTATUS(a->status);
  /* A reporter that hung was ended by its alarm; what it had to say came first. */
  if (o->signal == SIGALRM && a->fault_signal > 0 && a->fault_signal < NSIG) o->signal = a->fault_signal;
  if (o->signal) o->suspect = a->unit->stage_count == 1 ? 0 : a->fault_signal ? a->suspect : -1;
  classify(a, o);
}
