/* What is stored beside jobs: versions, all or nothing, pages in both directions, due times, events of their own. */
#include "conformance.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/value.h"

#pragma GCC diagnostic ignored "-Wcast-qual"

static struct side_record side(enum side_kind kind, const char *id, const char *owner, const char *group,
                               int64_t due_us) {
  return (struct side_record){.kind = kind,
                              .id = (char *)id,
                              .owner = (char *)owner,
                              .group = (char *)group,
                              .due_us = due_us,
                              .body_json = (char *)"{\"a\":1}"};
}

static struct answer write_sides(struct scene *s, const struct side_change *changes, size_t count) {
  struct answer a = {0};
  store_side(s->store, changes, count, answer_keep, &a);
  store_flush(s->store, NULL);
  assert_int_equal(a.calls, 1);
  return a;
}

static struct answer put(struct scene *s, struct side_record r, uint64_t expected) {
  return write_sides(s, &(struct side_change){.record = &r, .expected_version = expected}, 1);
}

static struct answer put_event(struct scene *s, struct side_record r, const char *type) {
  struct event_draft event = {type, "{\"n\":1}"};
  return write_sides(
      s, &(struct side_change){.record = &r, .expected_version = SIDE_ANY, .events = &event, .event_count = 1}, 1);
}

static struct answer take_away(struct scene *s, enum side_kind kind, const char *id, uint64_t expected) {
  struct side_record r = {.kind = kind, .id = (char *)id};
  return write_sides(s, &(struct side_change){.record = &r, .expected_version = expected, .remove = true}, 1);
}

static uint64_t version_of(struct scene *s, enum side_kind kind, const char *id) {
  struct side_record r;
  enum err status = store_side_get(s->store, kind, id, &r, NULL);
  assert_true(status == ERR_OK || status == ERR_NOT_FOUND);
  uint64_t version = status ? 0 : r.version;
  side_record_clear(&r);
  return version;
}

static void expect(struct scene *s, struct side_filter filter, const char *wanted) {
  struct side_list list;
  char got[512] = "";
  assert_int_equal(store_sides(s->store, &filter, &list, NULL), ERR_OK);
  for (size_t i = 0; i < list.count; i++) {
    strncat(got, list.items[i].id, sizeof(got) - strlen(got) - 1);
    strncat(got, " ", sizeof(got) - strlen(got) - 1);
  }
  side_list_clear(&list);
  assert_string_equal(got, wanted);
}

static void a_record_comes_back_as_it_was_written(void **state) {
  struct scene *s = *state;
  struct side_record r;
  int64_t born = s->clock.wall_us;
  assert_int_equal(put(s, side(SIDE_ASSET, "video 1/ä", "ann", "g", 7), SIDE_NEW).status, ERR_OK);
  s->clock.wall_us += 5;
  assert_int_equal(put(s, side(SIDE_ASSET, "video 1/ä", "bob", NULL, 0), 1).status, ERR_OK);
  scene_reopen(s);
  assert_int_equal(store_side_get(s->store, SIDE_ASSET, "video 1/ä", &r, NULL), ERR_OK);
  assert_string_equal(r.owner, "bob");
  assert_null(r.group);
  assert_string_equal(r.body_json, "{\"a\":1}");
  assert_int_equal(r.version, 2);
  assert_true(r.created_us == born && r.updated_us == born + 5 && r.due_us == 0);
  side_record_clear(&r);
  assert_int_equal(store_side_get(s->store, SIDE_BATCH, "video 1/ä", &r, NULL), ERR_NOT_FOUND);
  expect(s, (struct side_filter){.kind = SIDE_ASSET, .owner = "ann"}, "");
  expect(s, (struct side_filter){.kind = SIDE_ASSET, .group = "g"}, "");
}

static void a_version_that_is_not_the_expected_one_conflicts(void **state) {
  struct scene *s = *state;
  struct side_record r = side(SIDE_UPLOAD, "u", NULL, NULL, 0);
  assert_int_equal(put(s, r, 1).status, ERR_CONFLICT); /* not there */
  assert_int_equal(put(s, r, SIDE_NEW).status, ERR_OK);
  struct answer twice = put(s, r, SIDE_NEW);
  assert_int_equal(twice.status, ERR_CONFLICT);
  assert_non_null(strstr(twice.message, "'u'"));
  assert_int_equal(put(s, r, 1).status, ERR_OK);
  assert_int_equal(put(s, r, 1).status, ERR_CONFLICT);
  assert_int_equal(put(s, r, SIDE_ANY).status, ERR_OK);
  assert_int_equal(version_of(s, SIDE_UPLOAD, "u"), 3);
  assert_int_equal(take_away(s, SIDE_UPLOAD, "u", 2).status, ERR_CONFLICT);
  assert_int_equal(take_away(s, SIDE_UPLOAD, "u", 3).status, ERR_OK);
  assert_int_equal(take_away(s, SIDE_UPLOAD, "u", 3).status, ERR_CONFLICT);
  assert_int_equal(take_away(s, SIDE_UPLOAD, "u", SIDE_ANY).status, ERR_OK);
  assert_int_equal(put(s, r, SIDE_NEW).status, ERR_OK);
  assert_int_equal(version_of(s, SIDE_UPLOAD, "u"), 1);
}

static void a_thread_may_wait_for_the_disk(void **state) {
  struct scene *s = *state;
  struct side_record r = side(SIDE_MARK, "reader", NULL, NULL, 0);
  struct side_change c = {.record = &r, .expected_version = SIDE_NEW};
  struct error e = {0};
  assert_int_equal(store_side_now(s->store, &c, 1, &e), ERR_OK);
  assert_int_equal(version_of(s, SIDE_MARK, "reader"), 1);
  assert_int_equal(store_side_now(s->store, &c, 1, &e), ERR_CONFLICT);
  assert_non_null(strstr(e.message, "'reader' is there already"));
}

static void one_conflict_leaves_all_of_a_change_undone(void **state) {
  struct scene *s = *state;
  struct event_draft event = {"batch-started", NULL};
  struct side_record a = side(SIDE_BATCH, "a", "o", NULL, 0), b = side(SIDE_BATCH_FILE, "b", "o", "a", 9),
                     c = side(SIDE_BATCH_FILE, "c", "o", "a", 9);
  put(s, c, SIDE_NEW);
  struct side_change changes[3] = {
      {.record = &a, .events = &event, .event_count = 1}, {.record = &b}, {.record = &c, .expected_version = 5}};
  uint64_t before, after;
  store_last_cursor(s->store, &before, NULL);
  assert_int_equal(write_sides(s, changes, 3).status, ERR_CONFLICT);
  store_last_cursor(s->store, &after, NULL);
  assert_true(before == after);
  assert_int_equal(version_of(s, SIDE_BATCH, "a"), 0);
  expect(s, (struct side_filter){.kind = SIDE_BATCH_FILE, .group = "a"}, "c ");
  changes[2].expected_version = 1;
  struct answer done = write_sides(s, changes, 3);
  assert_int_equal(done.status, ERR_OK);
  assert_int_equal(done.last_seq, 1);
  assert_int_equal(done.last_cursor, before + 1);
  expect(s, (struct side_filter){.kind = SIDE_BATCH_FILE, .group = "a"}, "b c ");
}

static char *of_size(size_t size) {
  char *text = mem_alloc(size + 1);
  memset(text, 'x', size);
  return text;
}

static void what_is_out_of_bounds_is_refused(void **state) {
  struct scene *s = *state;
  mem_auto char *too_long = of_size(256), *body = of_size(STORE_VALUE_MAX + 1);
  assert_int_equal(put(s, side(SIDE_ASSET, too_long, NULL, NULL, 0), SIDE_ANY).status, ERR_TOO_LARGE);
  assert_int_equal(put(s, side(SIDE_ASSET, "a", too_long, NULL, 0), SIDE_ANY).status, ERR_TOO_LARGE);
  assert_int_equal(put(s, side(SIDE_ASSET, "", NULL, NULL, 0), SIDE_ANY).status, ERR_TOO_LARGE);
  assert_int_equal(put(s, side(SIDE_ASSET, "a\nb", NULL, NULL, 0), SIDE_ANY).status, ERR_USAGE);
  assert_int_equal(put(s, side((enum side_kind)77, "a", NULL, NULL, 0), SIDE_ANY).status, ERR_USAGE);
  struct side_record r = side(SIDE_ASSET, "a", NULL, NULL, 0);
  struct side_change twice[2] = {{.record = &r}, {.record = &r}};
  assert_int_equal(write_sides(s, twice, 2).status, ERR_USAGE);
  r.body_json = body;
  assert_int_equal(put(s, r, SIDE_ANY).status, ERR_TOO_LARGE);
  expect(s, (struct side_filter){.kind = SIDE_ASSET, .owner = body}, "");
  expect(s, (struct side_filter){.kind = SIDE_ASSET}, "");
}

static void the_longest_names_are_found_again(void **state) {
  struct scene *s = *state;
  mem_auto char *id = of_size(255), *owner = of_size(255), *other = of_size(254), *wanted = mem_format("%s ", id);
  put_event(s, side(SIDE_ASSET, id, owner, owner, 5), "x");
  put(s, side(SIDE_ASSET, "short", other, other, 5), SIDE_ANY);
  expect(s, (struct side_filter){.kind = SIDE_ASSET, .owner = owner}, wanted);
  expect(s, (struct side_filter){.kind = SIDE_ASSET, .group = owner, .due_until_us = 5}, wanted);
  expect(s, (struct side_filter){.kind = SIDE_ASSET, .group = other}, "short ");
  assert_int_equal(event_count(s, id), 1);
}

static void pages_go_both_ways(void **state) {
  struct scene *s = *state;
  const char *const ids[] = {"a", "aa", "b", "c", "d"};
  for (int i = 0; i < 5; i++) put(s, side(SIDE_ASSET, ids[i], i % 2 ? "odd" : "even", "g", 0), SIDE_NEW);
  put(s, side(SIDE_BATCH, "0", "odd", "g", 0), SIDE_NEW); /* neighbours of another kind */
  put(s, side(SIDE_UPLOAD, "e", "odd", "g", 0), SIDE_NEW);
  put(s, side(SIDE_ASSET, "x", "oddity", "gg", 0), SIDE_NEW);
  const struct side_filter all = {.kind = SIDE_ASSET};
  struct side_filter f = all;
  expect(s, f, "a aa b c d x ");
  f.limit = 2;
  expect(s, f, "a aa ");
  f.after_id = "aa";
  expect(s, f, "b c ");
  f.after_id = "ab"; /* gone in the meantime */
  expect(s, f, "b c ");
  f.after_id = "x";
  expect(s, f, "");
  f = (struct side_filter){.kind = SIDE_ASSET, .newest_first = true, .limit = 4};
  expect(s, f, "x d c b ");
  f.after_id = "b";
  expect(s, f, "aa a ");
  f.after_id = "a";
  expect(s, f, "");
  f = (struct side_filter){.kind = SIDE_ASSET, .group = "g", .newest_first = true};
  expect(s, f, "d c b aa a ");
  f.owner = "odd";
  expect(s, f, "c aa ");
  f.after_id = "c";
  expect(s, f, "aa ");
  f = (struct side_filter){.kind = SIDE_ASSET, .owner = "even", .after_id = "a"};
  expect(s, f, "b d ");
}

static void due_ones_come_in_the_order_of_their_times(void **state) {
  struct scene *s = *state;
  static const enum side_kind swept[] = {SIDE_UPLOAD, SIDE_IDEMPOTENCY, SIDE_REVOCATION, SIDE_PAUSE, SIDE_DELIVERY};
  for (size_t i = 0; i < sizeof(swept) / sizeof(swept[0]); i++) {
    put(s, side(swept[i], "never", "o", NULL, 0), SIDE_NEW);
    put(s, side(swept[i], "late", "o", NULL, 3000000000), SIDE_NEW);
    put(s, side(swept[i], "c", "o", "g", 1000), SIDE_NEW);
    put(s, side(swept[i], "a", "p", NULL, 2000), SIDE_NEW);
    put(s, side(swept[i], "b", "o", NULL, 1000), SIDE_NEW);
    struct side_filter f = {.kind = swept[i], .due_until_us = 2000};
    expect(s, f, "b c a ");
    f.limit = 1;
    expect(s, f, "b ");
    f.after_id = "b";
    expect(s, f, "c ");
    f = (struct side_filter){.kind = swept[i], .due_until_us = INT64_MAX, .owner = "o"};
    expect(s, f, "b c late ");
    f.group = "g";
    expect(s, f, "c ");
    put(s, side(swept[i], "b", "o", NULL, 5000), SIDE_ANY); /* put off */
    take_away(s, swept[i], "c", SIDE_ANY);
    expect(s, (struct side_filter){.kind = swept[i], .due_until_us = 5000}, "a b ");
    expect(s, (struct side_filter){.kind = swept[i], .due_until_us = 999}, "");
  }
}

/* ---- events ---- */

static void events_are_numbered_by_subject_and_share_the_cursor(void **state) {
  struct scene *s = *state;
  struct side_record batch = side(SIDE_BATCH, "batch1", "o", NULL, 0);
  struct answer job = submit(s, NULL), first = put_event(s, batch, "batch-started");
  set_status(s, job.job, JOB_PROCESSING);
  struct answer second = put_event(s, batch, "batch-progress");
  assert_int_equal(first.last_seq, 1);
  assert_int_equal(second.first_seq, 2);
  assert_true(first.last_cursor == job.last_cursor + 1 && second.last_cursor == first.last_cursor + 2);
  scene_reopen(s);
  assert_int_equal(event_count(s, "batch1"), 2);
  assert_int_equal(event_count(s, job.job), 2);
  struct event_list events;
  assert_int_equal(store_events_since(s->store, 0, 0, &events, NULL, NULL), ERR_OK);
  assert_int_equal(events.count, 4);
  assert_string_equal(events.items[1].job, "batch1");
  assert_int_equal(events.items[1].side, SIDE_BATCH);
  assert_string_equal(events.items[1].type, "batch-started");
  assert_int_equal(events.items[0].side, 0);
  event_list_clear(&events);
  assert_int_equal(store_events(s->store, "nobody", 0, 0, &events, NULL), ERR_NOT_FOUND);
  put(s, side(SIDE_ASSET, "quiet", NULL, NULL, 0), SIDE_NEW);
  assert_int_equal(event_count(s, "quiet"), 0);
}

static void a_history_belongs_to_one_thing(void **state) {
  struct scene *s = *state;
  struct answer job = submit(s, NULL);
  assert_int_equal(put_event(s, side(SIDE_BATCH, job.job, NULL, NULL, 0), "batch-started").status, ERR_CONFLICT);
  assert_int_equal(put(s, side(SIDE_BATCH, job.job, NULL, NULL, 0), SIDE_ANY).status, ERR_OK); /* without events */
  assert_int_equal(put_event(s, side(SIDE_BATCH, "taken", NULL, NULL, 0), "batch-started").status, ERR_OK);
  assert_int_equal(put_event(s, side(SIDE_ASSET, "taken", NULL, NULL, 0), "x").status, ERR_CONFLICT);
  struct job_record with_id = {.id = (char *)"taken"};
  assert_int_equal(submit_job(s, &with_id).status, ERR_CONFLICT);
  struct event_draft event = {"x", NULL};
  struct side_record a = side(SIDE_BATCH, "new", NULL, NULL, 0), b = side(SIDE_ASSET, "new", NULL, NULL, 0);
  struct side_change both[2] = {{.record = &a, .events = &event, .event_count = 1},
                                {.record = &b, .events = &event, .event_count = 1}};
  assert_int_equal(write_sides(s, both, 2).status, ERR_USAGE);
  both[0].remove = true;
  assert_int_equal(write_sides(s, both, 1).status, ERR_USAGE); /* a farewell has nobody to belong to */
}

static void events_go_with_their_record(void **state) {
  struct scene *s = *state;
  struct side_record batch = side(SIDE_BATCH, "b", NULL, NULL, 0);
  struct event_list events;
  for (int i = 0; i < 3; i++) put_event(s, batch, "batch-progress");
  put(s, side(SIDE_ASSET, "b", NULL, NULL, 0), SIDE_NEW);
  take_away(s, SIDE_ASSET, "b", SIDE_ANY); /* not its events */
  assert_int_equal(event_count(s, "b"), 3);
  take_away(s, SIDE_BATCH, "b", SIDE_ANY);
  assert_int_equal(store_events(s->store, "b", 0, 0, &events, NULL), ERR_NOT_FOUND);
  assert_int_equal(put_event(s, batch, "batch-started").last_seq, 1);
}

static void deliveries_go_with_their_job_or_batch(void **state) {
  struct scene *s = *state;
  struct answer job = submit(s, NULL), other = submit(s, NULL);
  put(s, side(SIDE_DELIVERY, "1", NULL, job.job, 0), SIDE_NEW);
  put(s, side(SIDE_DELIVERY, "2", NULL, job.job, 50), SIDE_NEW);
  put(s, side(SIDE_DELIVERY, "3", NULL, job.job, 0), SIDE_NEW);
  put(s, side(SIDE_DELIVERY, "4", NULL, other.job, 0), SIDE_NEW);
  put(s, side(SIDE_DELIVERY, "5", NULL, "b", 0), SIDE_NEW);
  put_event(s, side(SIDE_BATCH, "b", NULL, NULL, 0), "batch-started");
  set_status(s, job.job, JOB_COMPLETED);
  assert_int_equal(delete (s, job.job).status, ERR_OK);
  expect(s, (struct side_filter){.kind = SIDE_DELIVERY}, "4 5 ");
  take_away(s, SIDE_BATCH, "b", SIDE_ANY);
  expect(s, (struct side_filter){.kind = SIDE_DELIVERY}, "4 ");
}

static void an_export_holds_side_records_and_their_events(void **state) {
  struct scene *s = *state;
  put_event(s, side(SIDE_BATCH, "b", "o", NULL, 0), "batch-started");
  for (int i = 0; i < 3; i++) {
    char id[8];
    snprintf(id, sizeof(id), "f%d", i);
    put(s, side(SIDE_BATCH_FILE, id, "o", "b", 0), SIDE_NEW);
  }
  submit(s, NULL);
  FILE *f = tmpfile();
  struct buf buf_auto text = {0};
  assert_int_equal(store_export(s->store, fileno(f), NULL), ERR_OK);
  lseek(fileno(f), 0, SEEK_SET);
  assert_int_equal(fs_read_fd(fileno(f), 1 << 20, &text, NULL), ERR_OK);
  fclose(f);
  int sides = 0, events = 0;
  for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
    value_auto struct value *v = NULL;
    if (value_from_json(line, strlen(line), &v, NULL)) fail_msg("%s", line);
    sides += strcmp(value_get_text(v, "record", ""), "side") == 0;
    events += strcmp(value_get_text(v, "job", ""), "b") == 0;
  }
  assert_int_equal(sides, 4);
  assert_int_equal(events, 1);
}

int run_sides(void) {
  const struct CMUnitTest tests[] = {
      PROVES(a_record_comes_back_as_it_was_written),
      PROVES(a_version_that_is_not_the_expected_one_conflicts),
      PROVES(a_thread_may_wait_for_the_disk),
      PROVES(one_conflict_leaves_all_of_a_change_undone),
      PROVES(what_is_out_of_bounds_is_refused),
      PROVES(the_longest_names_are_found_again),
      PROVES(pages_go_both_ways),
      PROVES(due_ones_come_in_the_order_of_their_times),
      PROVES(events_are_numbered_by_subject_and_share_the_cursor),
      PROVES(a_history_belongs_to_one_thing),
      PROVES(events_go_with_their_record),
      PROVES(deliveries_go_with_their_job_or_batch),
      PROVES(an_export_holds_side_records_and_their_events),
  };
  return cmocka_run_group_tests_name("sides", tests, NULL, NULL);
}
