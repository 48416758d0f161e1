/* /ws: one job or one batch, from `state` to its end. The mailbox is opened before `state` is asked for, so that
 * nothing falls between them: what is stored and already in `state` is left out by its seq. */
#include <string.h>

#include "ws/parts.h"

static bool is_end(const char *status) {
  enum job_status word;
  return job_status_from_word(status, &word) && job_status_is_terminal(word);
}

/* `state` told that it has ended: its last event is told again, behind whatever the client missed. */
static enum err tell_end_again(struct socket *s, struct subscription *what, uint64_t seq, struct error *e) {
  s->ended = true;
  if (!seq) return ERR_OK;
  if (!what->replay || what->since_seq >= seq) what->since_seq = seq - 1;
  what->replay = true;
  return follower_subscribe(s->follower, what, e);
}

void follow_begin(struct socket *s, const struct topic *topic, bool replay, uint64_t since) {
  const struct ws_options *options = &s->server->options;
  bool job = topic->kind == TOPIC_JOB, admin = s->principal.scopes & SCOPE_ADMIN;
  value_auto struct value *state = NULL;
  struct matter matter = {0};
  struct error e = {0};
  struct subscription what = {.topic = *topic, .replay = replay, .since_seq = since};
  s->follower = follower_attach(options->hub, &(struct follower_options){.wake = server_wake, .context = s});
  uint64_t last = 0; /* a batch's state does not say what it holds: at least this */
  enum err failed = follower_subscribe(s->follower, &what, &e);
  if (!failed && !job) failed = access_last(s->server, topic, &last, &e);
  if (!failed)
    failed = options->state(options->context, job ? topic->id : NULL, job ? NULL : topic->id, &state, &matter, &e);
  if (!failed && !principal_may_see(&s->principal, &matter)) failed = ERR_DENIED;
  if (failed == ERR_NOT_FOUND && admin) {
    socket_close(s, CLOSE_NOT_FOUND, job ? "there is no such job" : "there is no such batch");
  } else if (failed == ERR_NOT_FOUND || failed == ERR_DENIED) {
    socket_close(s, CLOSE_DENIED, "the token does not allow to follow this");
  } else if (failed) {
    socket_close(s, CLOSE_INTERNAL, "the state cannot be read now: try again");
  }
  if (failed) return;
  if (!job) value_set_int(state, "seq", (int64_t)last);
  socket_send_value(s, state);
  uint64_t seq = (uint64_t)value_get_int(state, "seq", 0);
  if (!replay) s->last_seq = seq;
  if (!is_end(value_get_text(state, "status", ""))) return;
  s->succeeded = strcmp(value_get_text(state, "status", ""), job_status_word(JOB_COMPLETED)) == 0;
  s->last_seq = 0;
  if (tell_end_again(s, &what, seq, &e)) socket_close(s, CLOSE_INTERNAL, "the events cannot be read now: try again");
}

bool follow_wants(struct socket *s, const struct letter *letter) {
  return !letter->stored || letter->seq > s->last_seq;
}

void follow_told(struct socket *s, const struct letter *letter) {
  if (!letter->stored) return;
  s->ended = letter->terminal;
  if (s->ended) s->succeeded = strcmp(letter->type, "completed") == 0 || strcmp(letter->type, "batch-completed") == 0;
}

void follow_quiet(struct socket *s) {
  if (s->ended) socket_close(s, CLOSE_NORMAL, s->succeeded ? "Job complete" : "Job ended");
}
