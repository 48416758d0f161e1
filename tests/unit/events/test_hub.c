/* What followers are told: order, merging, caps, replay, gaps, how often. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "rig.h"

#define told(follower, wanted) assert_string_equal(rig_take(follower), wanted)

static const char *of_job(const char *id) {
  static char topic[80];
  snprintf(topic, sizeof topic, "job:%s", id);
  return topic;
}

static void sleep_ms(long ms) {
  nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void topics_are_words_with_ids(void **state) {
  (void)state;
  struct topic t;
  struct error e;
  assert_int_equal(topic_parse("job:j1", &t, NULL), 0);
  assert_true(t.kind == TOPIC_JOB && strcmp(t.id, "j1") == 0);
  assert_int_equal(topic_parse("asset:a:b", &t, NULL), 0);
  assert_string_equal(t.id, "a:b");
  assert_int_equal(topic_parse("all", &t, NULL), 0);
  assert_null(t.id);
  static const char *const none[] = {"", "job:", "job", "jobs:1", "own:x", "allx", "batch:", "ALL"};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) assert_int_equal(topic_parse(none[i], &t, &e), ERR_USAGE);
  assert_string_equal(e.message, "'ALL' is no topic: use job:ID, batch:ID, asset:ID, own or all");
}

static void progress_is_merged_and_cleared_by_what_is_stored(void **state) {
  struct rig *rig = *state;
  char job[STORE_ID_MAX], other[STORE_ID_MAX];
  rig_job(rig, job, "ann", NULL);
  rig_job(rig, other, "ann", NULL);
  struct follower *f = rig_follow(rig, of_job(job), NULL), *own = rig_follow(rig, "own", NULL);
  rig_progress(rig, job, "a", 10);
  rig_progress(rig, job, "b", 11);
  rig_progress(rig, job, "a", 12);
  rig_progress(rig, other, "a", 90);
  told(f, "progress12 progress11");
  rig_progress(rig, job, "a", 13);
  rig_store(rig, job, "stage", true);
  rig_progress(rig, job, "a", 14);
  told(f, "stage2 progress14");
  told(own, "progress90 stage2 progress14");
  told(own, "");
  struct hub_statistics s;
  hub_statistics(rig->hub, &s);
  assert_int_equal(s.followers, 2);
  assert_true(s.merged == 3 && s.published == 7);
  follower_detach(rig->hub, &f);
  follower_detach(rig->hub, &own);
}

static void wake_up(void *count) { ++*(int *)count; }

static void it_is_woken_once_until_it_takes(void **state) {
  struct rig *rig = *state;
  char job[STORE_ID_MAX];
  rig_job(rig, job, NULL, NULL);
  int woken = 0;
  struct follower *f = follower_attach(rig->hub, &(struct follower_options){.wake = wake_up, .context = &woken});
  struct subscription s = {.topic = {TOPIC_JOB, job}};
  assert_int_equal(follower_subscribe(f, &s, NULL), 0);
  assert_int_equal(woken, 0);
  rig_progress(rig, job, "a", 1);
  rig_store(rig, job, "stage", true);
  assert_int_equal(woken, 1);
  told(f, "stage2");
  rig_store(rig, job, "stage", true);
  assert_int_equal(woken, 2);
  follower_detach(rig->hub, &f);
}

static void a_mailbox_full_of_progress_loses_progress_only(void **state) {
  struct rig *rig = *state;
  char job[STORE_ID_MAX], stage[16];
  rig_job(rig, job, NULL, NULL);
  struct follower *f = follower_attach(rig->hub, &(struct follower_options){.mailbox_bytes_max = 2000});
  struct subscription s = {.topic = {TOPIC_ALL, NULL}};
  assert_int_equal(follower_subscribe(f, &s, NULL), 0);
  for (int i = 0; i < 100; i++) {
    snprintf(stage, sizeof stage, "s%d", i);
    rig_progress(rig, job, stage, 1);
  }
  rig_store(rig, job, "stage", true);
  told(f, "stage2");
  for (int i = 0; i < 20; i++) rig_store(rig, job, "stage", true);
  told(f, "overrun");
  rig_store(rig, job, "stage", true);
  told(f, "overrun");
  struct hub_statistics statistics;
  hub_statistics(rig->hub, &statistics);
  assert_int_equal(statistics.overrun, 1);
  follower_detach(rig->hub, &f);
}

static void replay_hands_over_to_live(void **state) {
  struct rig *rig = *state;
  char job[STORE_ID_MAX];
  rig_job(rig, job, NULL, NULL);
  for (int i = 0; i < 3; i++) rig_store(rig, job, "stage", true);
  struct follower *f = rig_follow(rig, of_job(job), &(struct subscription){.replay = true, .since_seq = 2});
  rig_store(rig, job, "stage", true); /* seq 5: after the subscription, before the first read */
  rig_store(rig, job, "stage", false);
  told(f, "stage3 stage4 stage5 stage6");
  rig_tell(rig, job, 6); /* committed before, told after it was replayed */
  told(f, "");
  rig_store(rig, job, "completed", true);
  told(f, "completed7");
  follower_detach(rig->hub, &f);
}

/* Skipped while the store was read, committed after the target was noted: the hand-over has to look again. */
static void what_is_told_in_another_order_is_neither_lost_nor_doubled(void **state) {
  struct rig *rig = *state;
  char job[STORE_ID_MAX];
  rig_job(rig, job, NULL, NULL);
  for (int i = 0; i < 300; i++) rig_store(rig, job, "stage", false); /* more than a step */
  struct follower *f = rig_follow(rig, of_job(job), &(struct subscription){.replay = true});
  struct letter letter;
  assert_int_equal(follower_take(f, &letter), TAKEN_MESSAGE);
  assert_true(letter.seq == 1 && letter.replayed);
  letter_clear(&letter);
  rig_store(rig, job, "late", false);
  rig_store(rig, job, "late", false);
  rig_tell(rig, job, 303);
  rig_tell(rig, job, 302);
  for (uint64_t seq = 2; seq <= 303; seq++) {
    assert_int_equal(follower_take(f, &letter), TAKEN_MESSAGE);
    assert_int_equal(letter.seq, seq);
    letter_clear(&letter);
  }
  told(f, "");
  rig_tell(rig, job, 301);
  told(f, "");
  follower_detach(rig->hub, &f);
}

static void replay_of_several_jobs_selects_and_carries_the_cursor(void **state) {
  struct rig *rig = *state;
  char mine[STORE_ID_MAX], theirs[STORE_ID_MAX];
  rig_job(rig, mine, "ann", "video-1");
  rig_job(rig, theirs, "bob", "video-1");
  rig_store(rig, mine, "started", false);
  uint64_t cursor = rig_store(rig, theirs, "started", false);
  struct subscription all_of_it = {.replay = true}, later = {.replay = true, .since_cursor = cursor};
  struct subscription hers = {.replay = true, .owner = "ann"};
  struct follower *f[] = {rig_follow(rig, "all", &all_of_it), rig_follow(rig, "own", &all_of_it),
                          rig_follow(rig, "asset:video-1", &hers), rig_follow(rig, "asset:video-2", &all_of_it),
                          rig_follow(rig, "all", &later)};
  static const char *const replayed[] = {"queued1 queued1 started2 started2", "queued1 started2", "queued1 started2",
                                         "", ""};
  static const char *const live[] = {"stage3 stage3 progress5", "stage3 progress5", "stage3 progress5", "",
                                     "stage3 stage3 progress5"};
  for (int i = 0; i < 5; i++) told(f[i], replayed[i]);
  rig_store(rig, mine, "stage", true);
  rig_store(rig, theirs, "stage", true);
  rig_progress(rig, mine, "a", 5);
  for (int i = 0; i < 5; i++) told(f[i], live[i]);
  cursor = rig_store(rig, mine, "stage", true);
  struct letter letter;
  assert_int_equal(follower_take(f[0], &letter), TAKEN_MESSAGE);
  char wanted[64];
  snprintf(wanted, sizeof wanted, ",\"n\":1,\"cursor\":%llu}", (unsigned long long)cursor);
  assert_string_equal(letter.json + letter.size - strlen(wanted), wanted);
  struct letter twin;
  assert_int_equal(follower_take(f[1], &twin), TAKEN_MESSAGE);
  assert_ptr_equal(letter.json, twin.json); /* one text for all */
  letter_clear(&letter);
  letter_clear(&twin);
  for (int i = 0; i < 5; i++) follower_detach(rig->hub, &f[i]);
}

/* Much that is not for it: the reader is let go in between, is woken again, and misses nothing. */
static void a_long_search_yields(void **state) {
  struct rig *rig = *state;
  char mine[STORE_ID_MAX], theirs[STORE_ID_MAX];
  rig_job(rig, theirs, "bob", NULL);
  struct event_draft drafts[200];
  for (size_t i = 0; i < 200; i++) drafts[i] = (struct event_draft){"stage", "{\"owner\":\"bob\"}"};
  struct change change = {.job = theirs, .events = drafts, .event_count = 200};
  for (int i = 0; i < 6; i++) store_change(rig->scene->store, &change, NULL, NULL);
  assert_int_equal(store_flush(rig->scene->store, NULL), 0);
  rig_job(rig, mine, "ann", NULL);
  int woken = 0, yields = 0;
  struct follower *f = follower_attach(rig->hub, &(struct follower_options){.wake = wake_up, .context = &woken});
  struct subscription s = {.topic = {TOPIC_OWN, "ann"}, .replay = true};
  assert_int_equal(follower_subscribe(f, &s, NULL), 0);
  struct letter letter;
  while (follower_take(f, &letter) == TAKEN_NOTHING && yields < 100) assert_int_equal(woken, ++yields + 1);
  assert_true(yields >= 3 && yields < 10);
  assert_string_equal(letter.job, mine);
  letter_clear(&letter);
  told(f, "");
  rig_store(rig, mine, "stage", true);
  told(f, "stage2");
  follower_detach(rig->hub, &f);
}

static void a_gap_says_where_it_goes_on(void **state) {
  struct rig *rig = *state;
  char job[STORE_ID_MAX], gone[STORE_ID_MAX];
  rig_job(rig, gone, NULL, NULL);
  rig_job(rig, job, NULL, NULL);
  rig_store(rig, job, "stage", false);
  struct follower *f = rig_follow(rig, of_job(job), &(struct subscription){.replay = true, .since_seq = 50});
  told(f, "gap1 queued1 stage2");
  follower_detach(rig->hub, &f);
  f = rig_follow(rig, of_job(job), &(struct subscription){.replay = true, .since_seq = 2});
  told(f, "");
  follower_detach(rig->hub, &f);
  f = rig_follow(rig, "all", &(struct subscription){.replay = true, .since_cursor = 4000});
  told(f, "gap4");
  rig_store(rig, job, "stage", true);
  told(f, "stage3");
  follower_detach(rig->hub, &f);
}

/* One subscription a topic; a message that two match comes once. */
static void overlapping_subscriptions_tell_once(void **state) {
  struct rig *rig = *state;
  char job[STORE_ID_MAX];
  rig_job(rig, job, "ann", "v");
  struct follower *f = rig_follow(rig, "all", NULL);
  struct subscription s = {.topic = {TOPIC_JOB, job}};
  assert_int_equal(follower_subscribe(f, &s, NULL), 0);
  s.topic = (struct topic){TOPIC_ASSET, "v"};
  assert_int_equal(follower_subscribe(f, &s, NULL), 0);
  assert_int_equal(follower_subscribe(f, &s, NULL), 0);
  rig_store(rig, job, "stage", true);
  rig_progress(rig, job, "a", 3);
  told(f, "stage2 progress3");
  assert_int_equal(follower_unsubscribe(f, &(struct topic){TOPIC_ALL, NULL}, NULL), 0);
  assert_int_equal(follower_unsubscribe(f, &(struct topic){TOPIC_JOB, job}, NULL), 0);
  rig_store(rig, job, "stage", true);
  told(f, "stage3");
  assert_int_equal(follower_unsubscribe(f, &s.topic, NULL), 0);
  assert_int_equal(follower_unsubscribe(f, &s.topic, NULL), ERR_NOT_FOUND);
  rig_store(rig, job, "stage", true);
  told(f, "");
  follower_detach(rig->hub, &f);
}

static void a_thousand_subscriptions_are_the_most(void **state) {
  struct rig *rig = *state;
  struct follower *f = follower_attach(rig->hub, &(struct follower_options){0});
  char id[16];
  struct error e = {0};
  struct subscription s = {.topic = {TOPIC_JOB, id}};
  for (int i = 0; i < 1000; i++) {
    snprintf(id, sizeof id, "j%d", i);
    assert_int_equal(follower_subscribe(f, &s, &e), 0);
  }
  assert_int_equal(follower_subscribe(f, &s, &e), 0); /* replaces */
  s.topic.id = "more";
  assert_int_equal(follower_subscribe(f, &s, &e), ERR_TOO_LARGE);
  follower_detach(rig->hub, &f);
}

static void progress_comes_in_steps_and_the_last_of_it_at_last(void **state) {
  struct rig *rig = *state;
  char job[STORE_ID_MAX];
  rig_job(rig, job, NULL, NULL);
  struct follower *steps = rig_follow(rig, of_job(job), &(struct subscription){.min_step_pct = 5});
  struct follower *paced = rig_follow(rig, of_job(job), &(struct subscription){.min_interval_us = 150 * 1000});
  for (int pct = 0; pct <= 12; pct++) {
    rig_progress(rig, job, "a", pct);
    if (pct == 0)
      told(steps, "progress0");
    else if (pct % 5)
      told(steps, "");
    else
      told(steps, pct == 5 ? "progress5" : "progress10");
    if (pct == 0) told(paced, "progress0");
  }
  told(paced, "");
  sleep_ms(350);
  told(paced, "progress12");
  told(steps, "");
  rig_store(rig, job, "stage", true); /* what was held back is outdated now */
  told(steps, "stage2");
  rig_progress(rig, job, "a", 13);
  told(steps, "progress13");
  rig_progress(rig, job, "a", 14);
  sleep_ms(5300);
  told(steps, "progress14");
  follower_detach(rig->hub, &steps);
  follower_detach(rig->hub, &paced);
}

/* The batch's own events, numbered under its id; jobs of it are not its. */
static void a_batch_has_a_stream_of_its_own(void **state) {
  struct rig *rig = *state;
  struct side_record record = {.kind = SIDE_BATCH, .id = (char[]){"b1"}, .body_json = (char[]){"{}"}};
  struct event_draft events[] = {{"batch-started", "{\"batchId\":\"b1\",\"totalFiles\":1}"},
                                 {"batch-progress", "{\"batchId\":\"b1\",\"jobId\":\"j1\"}"},
                                 {"batch-completed", "{\"batchId\":\"b1\"}"}};
  struct side_change change = {.record = &record, .events = events, .event_count = 3};
  store_side(rig->scene->store, &change, 1, NULL, NULL);
  assert_int_equal(store_flush(rig->scene->store, NULL), 0);
  struct follower *f = rig_follow(rig, "batch:b1", &(struct subscription){.replay = true, .since_seq = 1});
  struct letter letter;
  assert_int_equal(follower_take(f, &letter), TAKEN_MESSAGE);
  assert_non_null(strstr(letter.json, "{\"type\":\"batch-progress\",\"batchId\":\"b1\",\"seq\":2,"));
  assert_non_null(strstr(letter.json, ",\"jobId\":\"j1\"}"));
  assert_string_equal(letter.job, "");
  letter_clear(&letter);
  assert_int_equal(follower_take(f, &letter), TAKEN_MESSAGE);
  assert_true(letter.terminal && letter.seq == 3);
  letter_clear(&letter);
  struct news news = {.subject = "j1",
                      .job = "j1",
                      .batch = "b1",
                      .type = "stage",
                      .seq = 1,
                      .cursor = 9,
                      .stored = true,
                      .json = "{}",
                      .json_size = 2};
  hub_publish(rig->hub, &news);
  told(f, "");
  news = (struct news){.subject = "b1",
                       .batch = "b1",
                       .type = "batch-progress",
                       .seq = 4,
                       .cursor = 10,
                       .stored = true,
                       .json = "{\"type\":\"batch-progress\"}",
                       .json_size = 25};
  hub_publish(rig->hub, &news);
  told(f, "batch-progress4");
  follower_detach(rig->hub, &f);
}

#define hub_test(name) cmocka_unit_test_setup_teardown(name, rig_begin, rig_end)
int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(topics_are_words_with_ids),
      hub_test(progress_is_merged_and_cleared_by_what_is_stored),
      hub_test(it_is_woken_once_until_it_takes),
      hub_test(a_mailbox_full_of_progress_loses_progress_only),
      hub_test(replay_hands_over_to_live),
      hub_test(what_is_told_in_another_order_is_neither_lost_nor_doubled),
      hub_test(replay_of_several_jobs_selects_and_carries_the_cursor),
      hub_test(a_long_search_yields),
      hub_test(a_gap_says_where_it_goes_on),
      hub_test(overlapping_subscriptions_tell_once),
      hub_test(a_thousand_subscriptions_are_the_most),
      hub_test(progress_comes_in_steps_and_the_last_of_it_at_last),
      hub_test(a_batch_has_a_stream_of_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
