/* The attempt protocol, judged: an attempt runs foreign code and may send anything. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stagemill/stage.h>

#include "base/mem.h"
#include "host/parts.h"
#include "wire/name.h"

enum { /* of one stage in one attempt */
  OUTPUTS_MAX = 100000, RESULTS_MAX = 4096, CHECKPOINTS_MAX = 100000, NOTES_MAX = 1000, TITLES_PER_SECOND = 20,
  TITLE_MAX = 1024, CHECKPOINT_KEY_MAX = 63, CHECKPOINT_VALUE_MAX = 4000, LIST_ITEMS_MAX = 4096, TYPE_MAX = 127,
};

static enum err broke(struct error *e, const char *how) {
  return error_set(e, ERR_PROTOCOL, "%s", how);
}

static const char *text_of(const struct value *body, const char *key, size_t most) {
  const struct value *v = value_get(body, key);
  return v && v->type == VALUE_TEXT && v->text_size <= most ? v->text : NULL;
}

static bool is_text_list(const struct value *v) {
  if (v->type != VALUE_LIST || v->count > LIST_ITEMS_MAX) return false;
  for (size_t i = 0; i < v->count; i++)
    if (v->items[i]->type != VALUE_TEXT) return false;
  return true;
}

static bool result_fits(const struct result_type *row, const struct value *v) {
  if (v->type == VALUE_NULL) return row->flags & SM_RESULT_NULLABLE;
  switch (row->type) {
  case SM_RESULT_TYPE_TEXT: return v->type == VALUE_TEXT && v->text_size <= 16 * 1024;
  case SM_RESULT_TYPE_INT: return v->type == VALUE_INT;
  case SM_RESULT_TYPE_NUMBER: return v->type == VALUE_NUMBER && isfinite(v->number);
  case SM_RESULT_TYPE_BOOL: return v->type == VALUE_BOOL;
  case SM_RESULT_TYPE_DURATION: return v->type == VALUE_DURATION;
  case SM_RESULT_TYPE_LIST: return is_text_list(v);
  default: return false;
  }
}

static bool is_plan(const struct attempt *a) { return a->unit->kind == UNIT_PLAN; }

static enum err check_result(struct attempt *a, const struct message *m, struct error *e) {
  struct stage_watch *s = &a->stages[m->stage];
  const char *key = text_of(m->body, "key", 128);
  const struct value *value = value_get(m->body, "value");
  if (is_plan(a)) return broke(e, "it gave a result while planning");
  if (!key || !value || ++s->results > RESULTS_MAX) return broke(e, "it sent a malformed result");
  if (!s->type) return ERR_OK;
  const struct result_type *row = stage_type_result(s->type, key);
  if (!row) return error_set(e, ERR_PROTOCOL, "it gave a result `%.64s` that is not in its table", key);
  if (!result_fits(row, value))
    return error_set(e, ERR_PROTOCOL, "it gave its result `%.64s` a value of another kind than its table says", key);
  return ERR_OK;
}

/* Metadata travels as the stage wrote it; from here on it is a map. */
static enum err take_metadata(struct message *m, struct error *e) {
  const struct value *meta = value_get(m->body, "meta");
  struct value *parsed = NULL;
  if (value_is_null(meta)) return ERR_OK;
  if (meta->type == VALUE_MAP) return ERR_OK;
  if (meta->type != VALUE_TEXT || value_from_json(meta->text, meta->text_size, &parsed, NULL) ||
      parsed->type != VALUE_MAP) {
    value_free(&parsed);
    return broke(e, "it declared an artifact with metadata that is no JSON object");
  }
  value_map_set(m->body, "meta", parsed);
  return ERR_OK;
}

static enum err check_output(struct attempt *a, struct message *m, struct error *e) {
  struct stage_watch *s = &a->stages[m->stage];
  const char *port = text_of(m->body, "port", 128), *name = text_of(m->body, "name", ARTIFACT_NAME_MAX);
  const char *type = text_of(m->body, "type", TYPE_MAX);
  if (is_plan(a)) return broke(e, "it declared an artifact while planning");
  if (!port || !name || !type || !strchr(type, '/') || ++s->outputs > OUTPUTS_MAX)
    return broke(e, "it sent a malformed artifact");
  const char *problem = artifact_name_problem(name);
  if (problem) return error_set(e, ERR_PROTOCOL, "it declared an artifact whose name %s", problem);
  if (s->type && !stage_type_output(s->type, port))
    return error_set(e, ERR_PROTOCOL, "it declared an artifact at a port `%.64s` it does not have", port);
  return take_metadata(m, e);
}

static enum err check_checkpoint(struct attempt *a, const struct message *m, struct error *e) {
  struct stage_watch *s = &a->stages[m->stage];
  const char *key = text_of(m->body, "key", CHECKPOINT_KEY_MAX);
  if (is_plan(a)) return broke(e, "it stored a checkpoint while planning");
  if (!key || !*key || !text_of(m->body, "value", CHECKPOINT_VALUE_MAX) || ++s->checkpoints > CHECKPOINTS_MAX)
    return broke(e, "it sent a malformed checkpoint");
  return ERR_OK;
}

static enum err check_title(struct attempt *a, const struct message *m, bool *deliver, struct error *e) {
  struct stage_watch *s = &a->stages[m->stage];
  if (!text_of(m->body, "text", TITLE_MAX)) return broke(e, "it sent a malformed progress message");
  int64_t second = crew_now(a->crew) / 1000000;
  if (second != s->title_second) s->titles = 0;
  s->title_second = second;
  *deliver = ++s->titles <= TITLES_PER_SECOND;
  return ERR_OK;
}

static enum err check_note(struct attempt *a, const struct message *m, struct error *e) {
  if (a->unit->kind == UNIT_TASK) return broke(e, "it sent a line of a plan while running");
  if (!text_of(m->body, "what", 32) || ++a->stages[m->stage].notes > NOTES_MAX)
    return broke(e, "it sent a malformed line of a plan");
  return ERR_OK;
}

static enum err check_verdict(struct attempt *a, const struct message *m, struct error *e) {
  static const enum verdict verdicts[] = {VERDICT_OK, VERDICT_RETRY, VERDICT_FAIL, VERDICT_CANCELLED};
  struct attempt_verdict *v = &a->verdicts[m->stage];
  const struct value *status = value_get(m->body, "status"), *stats = value_get(m->body, "stats");
  if (!status || status->type != VALUE_INT || status->integer < SM_OK || status->integer > SM_CANCELLED)
    return broke(e, "it ended a stage with an unknown verdict");
  if (!value_is_null(stats) && stats->type != VALUE_MAP) return broke(e, "it ended a stage with malformed figures");
  a->stages[m->stage].ended = true;
  v->verdict = verdicts[status->integer];
  snprintf(v->message, sizeof(v->message), "%s", value_get_text(m->body, "message", ""));
  snprintf(v->debug, sizeof(v->debug), "%s", value_get_text(m->body, "debug", ""));
  if (v->verdict != VERDICT_OK && !v->message[0])
    snprintf(v->message, sizeof(v->message), "stage `%s` %s without saying why: look at its log",
             a->unit->stages[m->stage].id, v->verdict == VERDICT_CANCELLED ? "was cancelled" : "failed");
  if (!value_is_null(stats)) v->stats = value_copy(stats);
  return ERR_OK;
}

static enum err check_opened(struct attempt *a, struct error *e) {
  if (a->unit->kind == UNIT_TASK) return broke(e, "a task cannot open a source");
  if (a->opened) return broke(e, "it opened its source twice");
  a->opened = true;
  return ERR_OK;
}

static void take_fault(struct attempt *a, const struct message *m) {
  a->suspect = m->stage >= 0 && (uint32_t)m->stage < a->unit->stage_count ? m->stage : -1;
  a->fault_signal = (int)value_get_int(m->body, "signal", 0);
  const char *trace = text_of(m->body, "backtrace", 8 * 1024);
  size_t size = trace ? strlen(trace) : 0;
  while (size && (trace[size - 1] == ' ' || trace[size - 1] == '\n')) size--;
  if (!size) return;
  free(a->backtrace);
  a->backtrace = mem_text_n(trace, size);
}

static enum err take_bye(struct attempt *a, const struct message *m, struct error *e) {
  const struct value *stats = value_get(m->body, "stats");
  if (!value_is_null(stats) && stats->type != VALUE_MAP) return broke(e, "it took its leave with malformed figures");
  a->said_bye = true;
  if (!value_is_null(stats)) a->stats = value_copy(stats);
  return ERR_OK;
}

static void hand_log(struct attempt *a, const struct message *m) {
  static const char *const words[] = {"", "debug", "info", "warning", "error"};
  int64_t level = value_get_int(m->body, "level", SM_LOG_INFO);
  if (level < SM_LOG_DEBUG || level > SM_LOG_ERROR) level = SM_LOG_INFO;
  const char *text = value_get_text(m->body, "text", "");
  loglines_note(a->lines, words[level], text);
  int32_t stage = m->stage >= 0 && (uint32_t)m->stage < a->unit->stage_count ? m->stage : -1;
  if (a->callbacks.log) a->callbacks.log(a->context, a, stage, (int)level, text);
}

static bool is_of_stage(enum message_type type) {
  return type == MESSAGE_RESULT || type == MESSAGE_OUTPUT || type == MESSAGE_CHECKPOINT || type == MESSAGE_TITLE ||
         type == MESSAGE_NOTE || type == MESSAGE_VERDICT;
}

static enum err check_order(const struct attempt *a, const struct message *m, struct error *e) {
  if (m->type == MESSAGE_FAULT) return ERR_OK;
  if (a->said_bye) return broke(e, "it went on talking after its leave");
  if (m->type == MESSAGE_HELLO) return a->said_hello ? broke(e, "it greeted twice") : ERR_OK;
  if (!a->said_hello) return broke(e, "it did not greet first");
  if (!is_of_stage(m->type)) return ERR_OK;
  if (m->stage < 0 || (uint32_t)m->stage >= a->unit->stage_count)
    return broke(e, "it spoke for a stage that is not in this attempt");
  if (a->unit->stages[m->stage].done) return broke(e, "it spoke for a stage that had already ended");
  if (a->stages[m->stage].ended && m->type != MESSAGE_NOTE) return broke(e, "it spoke for a stage after its verdict");
  return ERR_OK;
}

enum err check_message(struct attempt *a, struct message *m, bool *deliver, struct error *e) {
  enum err err = check_order(a, m, e);
  *deliver = is_of_stage(m->type) || m->type == MESSAGE_OPENED;
  if (err) return err;
  if (m->type != MESSAGE_FAULT && (!m->body || m->body->type != VALUE_MAP)) return broke(e, "it sent a message without a body");
  if (m->type != MESSAGE_LOG && m->type != MESSAGE_FAULT) a->life_us = crew_now(a->crew);
  switch (m->type) {
  case MESSAGE_HELLO: a->said_hello = true; return ERR_OK;
  case MESSAGE_OPENED: return check_opened(a, e);
  case MESSAGE_RESULT: return check_result(a, m, e);
  case MESSAGE_OUTPUT: return check_output(a, m, e);
  case MESSAGE_CHECKPOINT: return check_checkpoint(a, m, e);
  case MESSAGE_TITLE: return check_title(a, m, deliver, e);
  case MESSAGE_NOTE: return check_note(a, m, e);
  case MESSAGE_VERDICT: return check_verdict(a, m, e);
  case MESSAGE_LOG: hand_log(a, m); return ERR_OK;
  case MESSAGE_FAULT: take_fault(a, m); return ERR_OK;
  case MESSAGE_BYE: return take_bye(a, m, e);
  case MESSAGE_GO: break;
  }
  return broke(e, "it sent a message only the engine may send");
}
