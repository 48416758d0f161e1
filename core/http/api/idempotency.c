#include "api/idempotency.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "api/parts.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "service/keep.h"

enum { KEY_MAX = 255, ANSWER_MAX = 12 * 1024 };
static const int64_t KEEP_US = 24ll * 3600 * 1000000;

static enum err keep_record(struct exchange *x, const struct repeat *repeat, const char *job, const char *answer,
                            uint64_t expected, struct error *e) {
  value_auto struct value *body = value_map();
  buf_auto struct buf json = {0};
  char subject[256];
  snprintf(subject, sizeof subject, "%s", api_subject(x));
  value_set_text(body, "fingerprint", repeat->fingerprint);
  value_set_text(body, "job", job);
  if (answer && strlen(answer) <= ANSWER_MAX) value_set_text(body, "answer", answer);
  value_json(&json, body, VALUE_JSON_COMPACT);
  struct side_record record = {.kind = SIDE_IDEMPOTENCY, .id = repeat->record, .owner = subject,
                               .due_us = clock_wall(&clock_system) + KEEP_US, .body_json = json.data};
  struct side_change change = {.record = &record, .expected_version = expected};
  return keep_sides(api_service(x), &change, 1, NULL, e);
}

/* ---- the key ------------------------------------------------------------------------------------------------------------------ */

static enum err key_read(struct exchange *x, const char *key, char **record, struct error *e) {
  buf_auto struct buf text = {0};
  char hex[65];
  size_t size = strlen(key);
  for (size_t i = 0; i < size; i++)
    if (!isprint((unsigned char)key[i])) size = 0;
  if (!size || size > KEY_MAX)
    return error_set(e, ERR_USAGE, "an Idempotency-Key is 1 to %d printable characters", KEY_MAX);
  buf_format(&text, "%s\n%s", api_subject(x), key);
  digest_of(text.data, text.size, hex);
  *record = mem_format("submit:%s", hex);
  return ERR_OK;
}

/* What an earlier request left under the key. ERR_NOT_FOUND: nothing, or nothing that still counts. */
static enum err key_known(struct exchange *x, struct repeat *repeat, char job[STORE_ID_MAX], uint64_t *version,
                          struct error *e) {
  struct side_record record = {0};
  *version = SIDE_NEW;
  if (store_side_get(api_service(x)->store, SIDE_IDEMPOTENCY, repeat->record, &record, e)) return e->code;
  value_auto struct value *body = api_parsed(record.body_json);
  bool over = record.due_us && record.due_us <= clock_wall(&clock_system);
  *version = record.version;
  side_record_clear(&record);
  if (over) return error_set(e, ERR_NOT_FOUND, "the key was used a day ago");
  if (strcmp(value_get_text(body, "fingerprint", ""), repeat->fingerprint) != 0)
    return error_set(e, ERR_CONFLICT, "this Idempotency-Key was used for another request: take a new one");
  snprintf(job, STORE_ID_MAX, "%s", value_get_text(body, "job", ""));
  repeat->answer = mem_text(value_get_text(body, "answer", NULL));
  return ERR_OK;
}

enum err repeat_begin(struct exchange *x, const char *fingerprint, char job[STORE_ID_MAX], struct repeat *repeat,
                      struct error *e) {
  const char *key = http_header(x, "Idempotency-Key");
  uint64_t version;
  memset(repeat, 0, sizeof *repeat);
  if (!key) return ERR_OK;
  if (key_read(x, key, &repeat->record, e)) return e->code;
  snprintf(repeat->fingerprint, sizeof repeat->fingerprint, "%s", fingerprint);
  for (int tries = 0; tries < 3; tries++) {
    enum err err = key_known(x, repeat, job, &version, e);
    if (err != ERR_NOT_FOUND) return err;
    error_clear(e);
    err = keep_record(x, repeat, job, NULL, version, e);
    repeat->version = version + 1;
    repeat->first = err == ERR_OK;
    if (err != ERR_CONFLICT) return err; /* somebody else took it in this moment: look again */
  }
  return error_set(e, ERR_BUSY, "this Idempotency-Key is in use at this moment: ask again");
}

void repeat_end(struct exchange *x, struct repeat *repeat, const char *job, const char *answer) {
  struct error e = {0};
  if (!repeat->record || repeat->answer) return;
  if (answer) {
    keep_record(x, repeat, job, answer, SIDE_ANY, &e);
    return;
  }
  if (!repeat->first) return;
  /* Unless another one with this key went through meanwhile: that one has written its answer. */
  struct side_record record = {.kind = SIDE_IDEMPOTENCY, .id = repeat->record};
  struct side_change change = {.record = &record, .expected_version = repeat->version, .remove = true};
  keep_sides(api_service(x), &change, 1, NULL, &e);
}

void repeat_clear(struct repeat *repeat) {
  free(repeat->record);
  free(repeat->answer);
}
