/* /api/v1/stream: what a client says, as JSON objects with a "type". On /ws the same words are heard, but only `ping`
 * means anything there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ws/parts.h"

static struct value *answer_new(const char *type, const struct value *message) {
  struct value *answer = value_map();
  value_set_text(answer, "type", type);
  const struct value *id = value_get(message, "id");
  if (id) value_map_set(answer, "id", value_copy(id));
  return answer;
}

static void answer_error(struct socket *s, const struct value *message, const struct error *e) {
  value_auto struct value *answer = answer_new("error", message);
  value_set_text(answer, "code", err_word(e->code));
  value_set_text(answer, "message", e->message);
  const char *topic = value_get_text(message, "topic", NULL);
  if (topic) value_set_text(answer, "topic", topic);
  socket_send_value(s, answer);
}

/* ---- who it is --------------------------------------------------------------------------------------------------- */

/* A second token renews the first: it must be of the same subject, since what was subscribed to stays. */
bool session_authenticate(struct socket *s, const char *token, struct error *e) {
  struct principal fresh = {0};
  bool known = keyring_verify(s->server->options.keyring, token, &fresh, e) == ERR_OK;
  if (known && keyring_is_revoked(s->server->options.keyring, &fresh))
    known = error_set(e, ERR_DENIED, "the token is revoked") == ERR_OK;
  if (known && !access_may_follow(&fresh)) known = error_set(e, ERR_DENIED, "the token lacks the scope read") == ERR_OK;
  if (known && s->authenticated &&
      strcmp(fresh.subject ? fresh.subject : "", s->principal.subject ? s->principal.subject : ""))
    known = error_set(e, ERR_DENIED, "the token is of somebody else") == ERR_OK;
  if (!known) {
    principal_clear(&fresh);
    return false;
  }
  principal_clear(&s->principal);
  s->principal = fresh;
  s->authenticated = true;
  return true;
}

static void hear_auth(struct socket *s, const struct value *message) {
  struct error e = {0};
  const char *token = value_get_text(message, "token", NULL);
  if (!token || !session_authenticate(s, token, &e)) {
    socket_close(s, token ? CLOSE_DENIED : CLOSE_UNKNOWN_CLIENT, token ? e.message : "no token came");
    return;
  }
  session_known(s);
  s->deadline_us = 0;
  value_auto struct value *answer = answer_new("authenticated", message);
  socket_send_value(s, answer);
}

/* Who has not said who it is may not keep others out. */
void session_begin(struct socket *s) {
  if (!s->authenticated) {
    s->unknown = true;
    s->reader.message_max = FIRST_MESSAGE_MAX;
    s->deadline_us = ws_now_us() + FIRST_MESSAGE_US;
    if (atomic_fetch_add(&s->server->unknown, 1) >= s->server->options.followers_max / 4 + 1)
      socket_close(s, CLOSE_TRY_LATER,
                   "too many clients without a token: try again later, or bring it with the handshake");
  }
  s->follower = follower_attach(s->server->options.hub, &(struct follower_options){.wake = server_wake, .context = s});
}

void session_known(struct socket *s) {
  if (s->unknown) atomic_fetch_sub(&s->server->unknown, 1);
  s->unknown = false;
  s->reader.message_max = 0;
}

/* ---- what it follows --------------------------------------------------------------------------------------------- */

/* A number, or text of digits: cursors are opaque to clients. */
static enum err read_since(const struct value *message, bool *given, uint64_t *since, struct error *e) {
  const struct value *v = value_get(message, "since");
  *given = !value_is_null(v);
  if (!*given) return ERR_OK;
  if (v->type == VALUE_INT && v->integer >= 0) {
    *since = (uint64_t)v->integer;
    return ERR_OK;
  }
  char *end = NULL;
  if (v->type == VALUE_TEXT && v->text_size && strspn(v->text, "0123456789") == v->text_size && v->text_size < 20)
    *since = strtoull(v->text, &end, 10);
  return end ? ERR_OK : error_set(e, ERR_USAGE, "since must be the seq or cursor of an event that came before");
}

static enum err read_number(const struct value *message, const char *key, double most, double *number,
                            struct error *e) {
  const struct value *v = value_get(message, key);
  *number = value_get_number(message, key, 0);
  if (value_is_null(v)) return ERR_OK;
  if ((v->type != VALUE_INT && v->type != VALUE_NUMBER) || !(*number >= 0 && *number <= most))
    return error_set(e, ERR_USAGE, "%s must be a number from 0 to %g", key, most);
  return ERR_OK;
}

static enum err read_topic(struct socket *s, const struct value *message, struct topic *topic, struct error *e) {
  const char *text = value_get_text(message, "topic", NULL);
  if (!text) return error_set(e, ERR_USAGE, "topic is missing: use job:ID, batch:ID, asset:ID, own or all");
  if (topic_parse(text, topic, e)) return e->code;
  if (topic->kind == TOPIC_OWN) topic->id = s->principal.subject;
  return ERR_OK;
}

static enum err subscribe(struct socket *s, const struct value *message, struct subscription *what, struct error *e) {
  double interval_s = 0;
  bool given = false;
  uint64_t since = 0;
  if (read_topic(s, message, &what->topic, e) || read_since(message, &given, &since, e)) return e->code;
  if (read_number(message, "minStep", 100, &what->min_step_pct, e)) return e->code;
  if (read_number(message, "minInterval", 3600, &interval_s, e)) return e->code;
  if (access_check(s->server, &s->principal, &what->topic, e)) return e->code;
  if (!given && access_last(s->server, &what->topic, &since, e))
    return e->code; /* the answer tells it: no event is in doubt */
  what->min_interval_us = (int64_t)(interval_s * 1e6);
  what->replay = true;
  what->since_seq = what->since_cursor = since;
  what->owner = access_owner(&s->principal, &what->topic);
  return follower_subscribe(s->follower, what, e);
}

static void hear_subscribe(struct socket *s, const struct value *message) {
  struct subscription what = {0};
  struct error e = {0};
  if (subscribe(s, message, &what, &e)) {
    answer_error(s, message, &e);
    return;
  }
  value_auto struct value *answer = answer_new("subscribed", message);
  value_set_text(answer, "topic", value_get_text(message, "topic", ""));
  value_set_int(answer, access_by_cursor(what.topic.kind) ? "cursor" : "seq", (int64_t)what.since_seq);
  socket_send_value(s, answer);
}

static void hear_unsubscribe(struct socket *s, const struct value *message) {
  struct topic topic;
  struct error e = {0};
  if (read_topic(s, message, &topic, &e) || follower_unsubscribe(s->follower, &topic, &e)) {
    answer_error(s, message, &e);
    return;
  }
  value_auto struct value *answer = answer_new("unsubscribed", message);
  value_set_text(answer, "topic", value_get_text(message, "topic", ""));
  socket_send_value(s, answer);
}

static void hear_ping(struct socket *s, const struct value *message) {
  value_auto struct value *answer = answer_new("pong", message);
  socket_send_value(s, answer);
}

/* ---- what it says ------------------------------------------------------------------------------------------------ */

static const struct {
  const char *type;
  bool open, anywhere; /* before a token came; on /ws, too */
  void (*hear)(struct socket *s, const struct value *message);
} words[] = {
    {"auth", true, false, hear_auth},
    {"ping", false, true, hear_ping},
    {"subscribe", false, false, hear_subscribe},
    {"unsubscribe", false, false, hear_unsubscribe},
};

static void hear(struct socket *s, const struct value *message) {
  const char *type = value_get_text(message, "type", "");
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (strcmp(words[i].type, type) != 0 || (!s->is_session && !words[i].anywhere)) continue;
    if (!s->authenticated && !words[i].open)
      socket_close(s, CLOSE_UNKNOWN_CLIENT, "the first message must bring a token");
    else
      words[i].hear(s, message);
    return;
  }
  if (!s->is_session) return; /* whoever follows one job need not say anything: what it says is passed over */
  if (!s->authenticated) {
    socket_close(s, CLOSE_UNKNOWN_CLIENT, "the first message must bring a token");
    return;
  }
  struct error e;
  error_set(&e, ERR_USAGE, "'%.40s' is not understood: use subscribe, unsubscribe, auth or ping", type);
  answer_error(s, message, &e);
}

void session_message(struct socket *s, const char *text, size_t size) {
  value_auto struct value *message = NULL;
  struct error e = {0};
  bool object = value_from_json(text, size, &message, &e) == ERR_OK && message->type == VALUE_MAP;
  if (object) {
    hear(s, message);
  } else if (s->is_session) {
    if (!e.code) error_set(&e, ERR_USAGE, "a message is a JSON object with a type");
    if (s->authenticated)
      answer_error(s, NULL, &e);
    else
      socket_close(s, CLOSE_UNKNOWN_CLIENT, "the first message must bring a token");
  }
}
