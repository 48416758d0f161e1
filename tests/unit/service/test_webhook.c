/* Webhooks against a real server: signed, tried again, given up, replayed, never twice, never where they must not go.
 */
#include "post.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "events/envelope.h"

#define PROVES(test) cmocka_unit_test_setup_teardown(test, post_begin, post_end)

/* Starts the receiver and has the daemon's own hooks go to its paths. */
static void listen_at(struct post *p, const char *paths) {
  static const char *const args[] = {"http", "open sesame", NULL};
  struct buf buf_auto urls = {0};
  receiver_start(&p->receiver, args);
  mem_auto char *copy = mem_text(paths);
  for (char *save = NULL, *path = strtok_r(copy, " ", &save); path; path = strtok_r(NULL, " ", &save))
    buf_format(&urls, "%shttp://127.0.0.1:%d%s", urls.size ? "," : "", p->receiver.port, path);
  post_settings(p, (const char *const[]){"webhooks.urls", buf_string(&urls), "webhooks.secret", "HOOK",
                                         "webhooks.attempts", "3", "webhooks.timeout", "1s", NULL});
}

static struct value *heard(struct post *p) {
  struct value *v = receiver_next(&p->receiver, 10000);
  assert_non_null(v);
  return v;
}

static void the_envelope_arrives_signed_and_once(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX], other[STORE_ID_MAX];
  listen_at(p, "/ok");
  post_open(p);
  post_job(p, job, NULL, "completed", "{\"status\":\"completed\",\"result\":{\"url\":\"x\"}}");
  value_auto struct value *got = heard(p), *stored = post_delivery(p, job, "delivered");
  assert_true(value_get_bool(got, "signed", false));
  assert_string_equal(value_get_text(got, "type", ""), "application/json");
  assert_string_equal(value_get_text(got, "event", ""), "completed");
  assert_string_equal(value_get_text(got, "delivery", ""), value_get_text(stored, "id", "?"));
  const struct value *body = value_get(got, "body");
  assert_string_equal(value_get_text(body, "jobId", ""), job);
  assert_int_equal(value_get_int(body, "seq", 0), 2);
  assert_string_equal(value_get_text(value_path(body, "result"), "url", ""), "x");
  assert_int_equal(value_get_int(stored, "lastStatus", 0), 204);
  assert_int_equal(value_get_int(stored, "attempts", 0), 1);
  assert_string_equal(value_get_text(stored, "owner", ""), "ann");
  post_job(p, other, NULL, "cancelled", NULL); /* nobody asked for it */
  post_close(p);
  post_open(p);
  assert_null(receiver_next(&p->receiver, 300));
  assert_int_equal(post_count(p, other), 0);
}

static void a_receiver_that_fails_is_tried_again(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX];
  listen_at(p, "/flaky");
  post_open(p);
  post_job(p, job, NULL, "failed", NULL);
  value_auto struct value *stored = post_delivery(p, job, "delivered");
  assert_int_equal(value_get_int(stored, "attempts", 0), 3);
  value_auto struct value *first = heard(p), *second = heard(p), *third = heard(p);
  assert_string_equal(value_get_text(first, "delivery", "a"), value_get_text(third, "delivery", "b"));
  assert_true(value_get_bool(second, "signed", false));
}

static void what_cannot_help_is_not_tried_again_and_can_be_replayed(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX];
  struct error e = {0};
  listen_at(p, "/gone");
  post_open(p);
  post_job(p, job, NULL, "failed", NULL);
  value_auto struct value *dead = post_delivery(p, job, "dead"), *again = NULL, *none = NULL;
  assert_int_equal(value_get_int(dead, "attempts", 0), 1);
  assert_non_null(strstr(value_get_text(dead, "error", ""), "410"));
  const char *id = value_get_text(dead, "id", "");
  assert_int_equal(notify_replay(p->notify, id, &again, &e), ERR_OK);
  assert_string_equal(value_get_text(again, "state", ""), "waiting");
  value_auto struct value *one = heard(p), *two = heard(p);
  assert_int_equal(value_get_int(one, "n", 0), 1);
  assert_string_equal(value_get_text(two, "delivery", ""), id);
  assert_int_equal(notify_replay(p->notify, "nothing", &none, &e), ERR_NOT_FOUND);
}

static void redirects_are_not_followed_and_tries_are_bounded(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX];
  listen_at(p, "/moved /refuses");
  post_open(p);
  post_job(p, job, NULL, "failed", NULL);
  int tries = 0;
  for (struct value *v; (v = receiver_next(&p->receiver, 1000)); value_free(&v)) {
    assert_string_not_equal(value_get_text(v, "path", ""), "/ok");
    tries++;
  }
  assert_int_equal(tries, 1 + 3);
  struct value *list = NULL;
  char *next = NULL;
  notify_list(p->store, &(struct notify_filter){.state = "dead"}, &list, &next, NULL);
  assert_int_equal(list->count, 2);
  assert_null(next);
  value_free(&list);
}

static void pipelines_and_jobs_choose_events_but_not_private_addresses(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX];
  listen_at(p, "/ok");
  post_settings(p, (const char *const[]){"webhooks.secret", "HOOK", NULL});
  mem_auto char *extra =
      mem_format("{\"notify\":{\"webhooks\":[{\"url\":\"http://127.0.0.1:%d/job\",\"on\":[\"queued\"]}]},"
                 "\"pipelineNotify\":{\"webhooks\":[{\"url\":\"http://localhost:%d/"
                 "pipe\",\"on\":[\"cancelled\"],\"secret\":\"HOOK\"}]}}",
                 p->receiver.port, p->receiver.port);
  post_open(p);
  post_job(p, job, extra, "completed", NULL);
  value_auto struct value *dead = post_delivery(p, job, "dead");
  assert_string_equal(value_get_text(dead, "event", ""), "queued");
  assert_string_equal(value_get_text(dead, "source", ""), "job");
  assert_non_null(strstr(value_get_text(dead, "error", ""), "not a public one"));
  post_settings(p, (const char *const[]){"webhooks.allow-private", "true", "webhooks.secret", "UNKNOWN", NULL});
  post_job(p, job, extra, "cancelled", NULL);
  value_auto struct value *got = heard(p); /* the job's own waits for a secret that nobody knows */
  assert_string_equal(value_get_text(got, "path", ""), "/pipe");
  assert_true(value_get_bool(got, "signed", false));
  assert_null(receiver_next(&p->receiver, 200));
  assert_int_equal(post_count(p, job), 2);
}

static void a_restart_forgets_nothing_and_repeats_nothing(void **state) {
  struct post *p = *state;
  char jobs[20][STORE_ID_MAX];
  listen_at(p, "/ok");
  post_open(p); /* marks where it begins */
  post_close(p);
  for (int i = 0; i < 10; i++) post_job(p, jobs[i], NULL, "completed", NULL); /* nobody listens */
  post_open(p);
  post_close(p); /* in the middle of it */
  post_open(p);
  for (int i = 10; i < 20; i++) post_job(p, jobs[i], NULL, "completed", NULL);
  for (int i = 0; i < 20; i++) {
    value_auto struct value *one = post_delivery(p, jobs[i], "delivered");
    assert_int_equal(value_get_int(one, "attempts", 0), 1);
  }
  struct value *page = NULL;
  char *next = NULL;
  notify_list(p->store, &(struct notify_filter){.limit = 15, .owner = "ann"}, &page, &next, NULL);
  assert_int_equal(page->count, 15);
  assert_string_equal(value_get_text(page->items[0], "jobId", ""), jobs[19]);
  value_free(&page);
  mem_auto char *after = next;
  notify_list(p->store, &(struct notify_filter){.limit = 15, .after = after}, &page, &next, NULL);
  assert_int_equal(page->count, 5);
  assert_null(next);
  value_free(&page);
}

static void a_receiver_that_hangs_holds_up_nobody_else(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX], other[STORE_ID_MAX];
  listen_at(p, "/slow");
  mem_auto char *urls = mem_format(
      "http://127.0.0.1:%d/slow1,http://127.0.0.1:%d/slow2,http://127.0.0.1:%d/slow3,http://127.0.0.1:%d/slow4,"
      "http://127.0.0.1:%d/slow5",
      p->receiver.port, p->receiver.port, p->receiver.port, p->receiver.port, p->receiver.port);
  post_settings(
      p, (const char *const[]){"webhooks.urls", urls, "webhooks.secret", "HOOK", "webhooks.timeout", "100s", NULL});
  post_open(p);
  post_job(p, job, NULL, "completed", NULL);
  struct receiver second = {0};
  receiver_start(&second, (const char *const[]){"http", "open sesame", NULL});
  mem_auto char *url = mem_format("http://127.0.0.1:%d/ok", second.port);
  post_settings(p, (const char *const[]){"webhooks.urls", url, "webhooks.secret", "HOOK", NULL});
  struct timespec begun, over;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  post_job(p, other, NULL, "completed", NULL);
  value_auto struct value *got = receiver_next(&second, 10000);
  clock_gettime(CLOCK_MONOTONIC, &over);
  assert_non_null(got);
  assert_true(value_get_bool(got, "signed", false));
  assert_true(over.tv_sec - begun.tv_sec < 30);
  receiver_stop(&second);
  post_close(p); /* at once, though some hang */
  clock_gettime(CLOCK_MONOTONIC, &over);
  assert_true(over.tv_sec - begun.tv_sec < 50);
}

static void deliveries_of_a_removed_job_are_gone(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX];
  post_settings(p, (const char *const[]){"webhooks.urls", "http://127.0.0.1:1/", "webhooks.secret", "HOOK", NULL});
  post_open(p);
  post_job(p, job, NULL, "failed", NULL);
  while (post_count(p, job) == 0) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  store_delete(p->store, job, NULL, NULL);
  store_flush(p->store, NULL);
  nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
  assert_int_equal(post_count(p, NULL), 0);
}

static void what_cannot_be_stored_stands_in_nobodys_way(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX];
  listen_at(p, "/ok");
  post_open(p);
  char owner[] = "an\nn"; /* a job may have such an owner, a delivery may not */
  struct job_record odd = {.owner = owner};
  struct event_draft ended = {"completed", NULL};
  store_submit(p->store, &odd, NULL, 0, &ended, 1, NULL, NULL);
  post_job(p, job, NULL, "completed", NULL);
  value_auto struct value *stored = post_delivery(p, job, "delivered");
  assert_int_equal(value_get_int(stored, "attempts", 0), 1);
  assert_int_equal(post_count(p, NULL), 1);
}

static void batches_are_told_to_the_daemons_own_hooks(void **state) {
  struct post *p = *state;
  listen_at(p, "/ok");
  post_open(p);
  char id[] = "batch1", owner[] = "ann", json[] = "{}";
  struct side_record batch = {.kind = SIDE_BATCH, .id = id, .owner = owner, .body_json = json};
  struct event_draft event = {"batch-completed", "{\"batchId\":\"batch1\",\"processedFiles\":3}"};
  struct side_change change = {.record = &batch, .expected_version = SIDE_NEW, .events = &event, .event_count = 1};
  assert_int_equal(store_side_now(p->store, &change, 1, NULL), ERR_OK);
  value_auto struct value *got = heard(p), *stored = post_delivery(p, id, "delivered"); /* found without being woken */
  assert_string_equal(value_get_text(value_get(got, "body"), "batchId", ""), id);
  assert_int_equal(value_get_int(value_get(got, "body"), "processedFiles", 0), 3);
  assert_string_equal(value_get_text(stored, "batchId", ""), id);
  assert_string_equal(value_get_text(stored, "owner", ""), "ann");
}

static void secrets_in_addresses_are_not_shown(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX];
  post_settings(p, (const char *const[]){"webhooks.urls", "http://u:hunter2@127.0.0.1:1/?token=abc",
                                         "webhooks.attempts", "1", "webhooks.secret", "HOOK", NULL});
  post_open(p);
  post_job(p, job, NULL, "failed", NULL);
  value_auto struct value *dead = post_delivery(p, job, "dead");
  struct buf buf_auto json = {0};
  value_json(&json, dead, 0);
  assert_null(strstr(buf_string(&json), "hunter2"));
  assert_null(strstr(buf_string(&json), "abc"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      PROVES(the_envelope_arrives_signed_and_once),
      PROVES(a_receiver_that_fails_is_tried_again),
      PROVES(what_cannot_help_is_not_tried_again_and_can_be_replayed),
      PROVES(redirects_are_not_followed_and_tries_are_bounded),
      PROVES(pipelines_and_jobs_choose_events_but_not_private_addresses),
      PROVES(a_restart_forgets_nothing_and_repeats_nothing),
      PROVES(a_receiver_that_hangs_holds_up_nobody_else),
      PROVES(deliveries_of_a_removed_job_are_gone),
      PROVES(what_cannot_be_stored_stands_in_nobodys_way),
      PROVES(batches_are_told_to_the_daemons_own_hooks),
      PROVES(secrets_in_addresses_are_not_shown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
