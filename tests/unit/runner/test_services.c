/* The host's services, without a process around them: parameters by path, names, metadata, inputs under every way of opening. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "runner/jsoncheck.h"
#include "runner/task.h"
#include "wire/name.h"

static const sm_param rung_fields[] = {
  SM_TEXT("name", NULL, "name"), SM_INT("width", NULL, 0, 0, "px", "width"),
  SM_PARAM("tags", SM_TAKES_TEXT, SM_REPEATED, NULL, NULL, 0, 0, NULL, NULL, "tags"), SM_PARAMS_END};
static const sm_param params[] = {
  SM_TEXT("text", NULL, "text"),
  SM_DURATION("long", NULL, 0, 0, "duration"),
  SM_PARAM("at", SM_TAKES_DURATION | SM_TAKES_PERCENT, SM_REPEATED, NULL, NULL, 0, 0, NULL, NULL, "times"),
  SM_PARAM("ladder", SM_TAKES_KEYWORD | SM_TAKES_RECORD, SM_REPEATED, NULL, "auto", 0, 0, NULL, rung_fields, "rungs"),
  SM_NUMBER("x", NULL, 0, 0, NULL, "number"),
  SM_BITRATE("rate", NULL, 0, 0, "rate"),
  SM_PARAMS_END,
};
static const sm_port outputs[] = {
  SM_OUTPUTS("out", "image/jpeg|image/png", "images"), SM_OUTPUTS("any", "text/*", "texts"), SM_OUTPUT("one", "text/plain", "one"),
  SM_PORTS_END};
static const sm_result results[] = {SM_RESULT_INT("n", SM_AT_END, NULL, "n"), SM_RESULTS_END};
static const sm_port inputs[] = {SM_INPUTS("in", "*/*", "anything"), SM_PORTS_END};
static const sm_stage stage = {"s", "s", SM_KIND_TASK, 0, NULL, params, inputs, outputs, results, NULL, NULL, NULL};

struct bench { /* one task with an engine's end to look at */
  struct unit unit;
  struct unit_stage spec;
  struct page page;
  struct attempt attempt;
  struct task task;
  int engine;
  char folder[64];
};

static void bench_open(struct bench *b) {
  static char id[] = "it", job[] = "j";
  int pair[2];
  memset(b, 0, sizeof(*b));
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
  snprintf(b->folder, sizeof(b->folder), "/tmp/stagemill-task-XXXXXX");
  assert_non_null(mkdtemp(b->folder));
  b->engine = pair[1];
  b->spec = (struct unit_stage){.id = id, .attempt = 3, .params = value_map(), .output_path = b->folder,
                                .scratch_path = b->folder};
  b->unit = (struct unit){.kind = UNIT_TASK, .job = job, .stages = &b->spec, .stage_count = 1};
  b->attempt = (struct attempt){.unit = &b->unit, .socket = pair[0], .page = &b->page};
  pthread_mutex_init(&b->attempt.send_lock, NULL);
  task_init(&b->task, &b->attempt, 0, &stage);
}

static void bench_close(struct bench *b) {
  mem_auto char *clean = mem_format("rm -rf %s", b->folder);
  close(b->engine);
  close(b->attempt.socket);
  value_free(&b->spec.params);
  value_free(&b->task.results);
  value_free(&b->task.outputs);
  for (struct keep *k = b->task.kept, *next; k; k = next) {
    next = k->next;
    free(k);
  }
  assert_int_equal(system(clean), 0);
}

#define T(b) (&(b).task.api)

static void a_number_is_filled_in_for_whatever_counts_something(void **state) {
  struct bench b;
  (void)state;
  bench_open(&b);
  value_map_set(b.spec.params, "long", value_of(VALUE_DURATION, 1500000, 0));
  value_map_set(b.spec.params, "rate", value_of(VALUE_BITRATE, 800000, 0));
  value_set_int(b.spec.params, "x", 7);
  sm_value v = sm_param_value(T(b), "long");
  assert_int_equal(v.kind, SM_IS_DURATION);
  assert_int_equal(v.integer, 1500000);
  assert_true(fabs(v.number - 1.5) < 1e-9);
  assert_int_equal(sm_param_value(T(b), "rate").kind, SM_IS_BITRATE);
  assert_true(sm_param_number(T(b), "x") == 7.0);
  assert_int_equal(sm_param_value(T(b), "text").kind, SM_IS_ABSENT);
  assert_null(sm_param_text(T(b), "nobody"));
  bench_close(&b);
}

static void a_repeated_parameter_is_always_a_list(void **state) {
  struct bench b;
  (void)state;
  bench_open(&b);
  value_map_set(b.spec.params, "at", value_of(VALUE_PERCENT, 0, 10));
  value_set_text(b.spec.params, "ladder", "auto");
  assert_int_equal(sm_param_value(T(b), "at").kind, SM_IS_LIST);
  assert_int_equal(sm_param_count(T(b), "at"), 1);
  assert_int_equal(sm_param_value(T(b), "at.0").kind, SM_IS_PERCENT);
  assert_int_equal(sm_param_value(T(b), "at.1").kind, SM_IS_ABSENT);
  assert_string_equal(sm_param_text(T(b), "ladder.0"), "auto");
  bench_close(&b);
}

static void records_in_lists_are_reached_by_path(void **state) {
  struct bench b;
  (void)state;
  bench_open(&b);
  struct value *list = value_list();
  for (int i = 0; i < 2; i++) {
    struct value *rung = value_map();
    value_set_text(rung, "name", i ? "480p" : "1080p");
    value_set_int(rung, "width", i ? 854 : 1920);
    value_set_text(rung, "tags", "only");
    value_list_add(list, rung);
  }
  value_map_set(b.spec.params, "ladder", list);
  assert_int_equal(sm_param_count(T(b), "ladder"), 2);
  assert_int_equal(sm_param_value(T(b), "ladder.1").kind, SM_IS_RECORD);
  assert_int_equal(sm_param_int(T(b), "ladder.1.width"), 854);
  assert_string_equal(sm_param_text(T(b), "ladder.0.name"), "1080p");
  assert_int_equal(sm_param_count(T(b), "ladder.1.tags"), 1);
  assert_string_equal(sm_param_text(T(b), "ladder.1.tags.0"), "only");
  static const char *const nowhere[] = {"", ".", "ladder.", "ladder.2", "ladder.-1", "ladder.x", "ladder.0.name.0",
                                        "ladder.99999999999", "ladder..0"};
  for (size_t i = 0; i < sizeof(nowhere) / sizeof(*nowhere); i++)
    assert_int_equal(sm_param_value(T(b), nowhere[i]).kind, SM_IS_ABSENT);
  bench_close(&b);
}

static void an_older_plugins_shorter_value_is_not_overrun(void **state) {
  struct bench b;
  (void)state;
  bench_open(&b);
  value_set_int(b.spec.params, "x", 9);
  unsigned char room[64];
  memset(room, 0xee, sizeof(room));
  assert_int_equal(b.task.api.host->param(T(b), "x", (sm_value *)(void *)room, 16), SM_OK);
  assert_int_equal(room[8], 9);
  assert_int_equal(room[16], 0xee);
  memset(room, 0xee, sizeof(room));
  b.task.api.host->param(T(b), "x", (sm_value *)(void *)room, 60); /* a newer one's longer value is zeroed behind ours */
  assert_int_equal(room[59], 0);
  assert_int_equal(room[60], 0xee);
  bench_close(&b);
}

static void only_clean_names_are_names(void **state) {
  static const char *const bad[] = {"", "/a", "a//b", "../a", "a/..", ".", "a/./b", "a\nb", "a\x7f", "a/"};
  static const char *const good[] = {"a", "480p/seg_000.ts", "..a", "a..b/c", "ä ö.jpg", "a/b/c/d"};
  char part[300], deep[64] = "a";
  (void)state;
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
    if (!artifact_name_problem(bad[i])) fail_msg("`%s` was taken", bad[i]);
  for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
    if (artifact_name_problem(good[i])) fail_msg("`%s` %s", good[i], artifact_name_problem(good[i]));
  memset(part, 'x', sizeof(part));
  part[256] = '\0';
  assert_non_null(artifact_name_problem(part));
  part[255] = '\0';
  assert_null(artifact_name_problem(part));
  for (int i = 0; i < 16; i++) strcat(deep, "/a");
  assert_non_null(artifact_name_problem(deep));
  assert_non_null(artifact_name_problem(NULL));
}

static void only_objects_are_metadata(void **state) {
  static const char *const good[] = {"{}", " { \"a\" : [1, -2.5e+3, true, null, \"\\u00e4\\n\"] } ", "{\"a\":{\"b\":{}},\"c\":0}"};
  static const char *const bad[] = {"", "[]", "1", "{", "{\"a\"}", "{\"a\":}", "{\"a\":01}", "{\"a\":1,}", "{a:1}", "{\"a\":\"\\x\"}",
                                    "{} x", "{\"a\":tru}", "{\"a\":\"\n\"}", "{\"a\":-}", "{\"a\":1.}", "{\"a\":\"\\u12\"}"};
  (void)state;
  for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
    if (!json_is_object(good[i])) fail_msg("%s was refused", good[i]);
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
    if (json_is_object(bad[i])) fail_msg("%s was taken", bad[i]);
  char deep[400] = "{\"a\":";
  for (int i = 0; i < 100; i++) strcat(deep, "[");
  assert_false(json_is_object(deep));
}

static void write_artifact(struct bench *b, const char *port, const char *name) {
  const char *path = sm_output_path(T(*b), port, name);
  assert_non_null(path);
  int fd = open(path, O_WRONLY | O_CREAT, 0644);
  assert_true(fd >= 0);
  close(fd);
}

static void outputs_are_held_against_the_table(void **state) {
  struct bench b;
  (void)state;
  bench_open(&b);
  write_artifact(&b, "out", "deep/down/a.jpg");
  assert_int_equal(sm_output(T(b), "out", "deep/down/a.jpg", "image/jpeg", "{\"t\": 1}"), SM_OK);
  write_artifact(&b, "any", "a.csv");
  assert_int_equal(sm_output(T(b), "any", "a.csv", "text/csv", NULL), SM_OK);
  write_artifact(&b, "one", "b.txt");
  assert_int_equal(sm_output(T(b), "one", "b.txt", NULL, NULL), SM_OK);
  assert_false(b.task.broken);
  assert_int_equal(sm_output(T(b), "out", "deep/down/a.jpg", NULL, NULL), SM_FAIL); /* two types: which? */
  assert_true(b.task.broken);
  errno = 0;
  assert_null(sm_output_path(T(b), "out", "../x"));
  assert_int_equal(errno, EINVAL);
  bench_close(&b);
}

static void a_link_is_no_artifact(void **state) {
  struct bench b;
  (void)state;
  bench_open(&b);
  assert_int_equal(symlink("/etc/passwd", sm_output_path(T(b), "one", "b.txt")), 0);
  assert_int_equal(sm_output(T(b), "one", "b.txt", NULL, NULL), SM_FAIL);
  assert_non_null(strstr(b.task.message, "no regular file"));
  bench_close(&b);
}

static void an_input_opens_at_its_beginning_every_time(void **state) {
  struct bench b;
  char text[16] = "", path[128];
  (void)state;
  bench_open(&b);
  snprintf(path, sizeof(path), "%s/in.txt", b.folder);
  int slot = open(path, O_RDWR | O_CREAT, 0600), root = open(b.folder, O_RDONLY | O_DIRECTORY);
  assert_int_equal(write(slot, "0123456789", 10), 10);
  int slots[2] = {slot, root};
  struct unit_artifact artifacts[] = {
    {.port = (char[]){"in"}, .name = (char[]){"in.txt"}, .path = path, .beneath = (char[]){""}, .root_slot = 0},
    {.port = (char[]){"in"}, .name = (char[]){"in.txt"}, .path = (char[]){"/gone/in.txt"}, .beneath = (char[]){"in.txt"}, .root_slot = 1},
    {.port = (char[]){"in"}, .name = (char[]){"in.txt"}, .path = path, .beneath = (char[]){""}, .root_slot = -1},
    {.port = (char[]){"in"}, .name = (char[]){"x"}, .path = (char[]){"/etc/hostname"}, .beneath = (char[]){"../../etc/hostname"}, .root_slot = 1},
  };
  b.attempt.slots = slots;
  b.attempt.slot_count = 2;
  b.spec.artifacts = artifacts;
  b.spec.artifact_count = 3;
  assert_int_equal(sm_input_count(T(b), "in"), 3);
  for (uint32_t i = 0; i < 3; i++) {
    for (int again = 0; again < 2; again++) {
      int fd = sm_input_open(T(b), "in", i);
      assert_true(fd >= 0);
      assert_int_equal(read(fd, text, 10), 10);
      assert_memory_equal(text, "0123456789", 10);
      close(fd);
    }
    const char *way = sm_input_path(T(b), "in", i);
    assert_non_null(way);
    assert_int_equal(access(way, R_OK), 0);
  }
  assert_int_equal(sm_input_open(T(b), "in", 3), -1);
  close(slot);
  close(root);
  bench_close(&b);
}

/* Somebody puts another file where the input was: the stage still reads the one that was pinned. */
static void an_exchanged_input_is_not_followed(void **state) {
  struct bench b;
  char path[128], text[16] = "";
  (void)state;
  bench_open(&b);
  snprintf(path, sizeof(path), "%s/in.txt", b.folder);
  int slot = open(path, O_RDWR | O_CREAT, 0600);
  assert_int_equal(write(slot, "right", 5), 5);
  unlink(path);
  int other = open(path, O_RDWR | O_CREAT, 0600);
  assert_int_equal(write(other, "wrong", 5), 5);
  close(other);
  struct unit_artifact artifact = {.port = (char[]){"in"}, .name = (char[]){"in.txt"}, .path = path, .beneath = (char[]){""}};
  b.attempt.slots = &slot;
  b.attempt.slot_count = 1;
  b.spec.artifacts = &artifact;
  b.spec.artifact_count = 1;
  int fd = sm_input_open(T(b), "in", 0);
  assert_int_equal(read(fd, text, 5), 5);
  assert_string_equal(text, "right");
  close(fd);
  fd = open(sm_input_path(T(b), "in", 0), O_RDONLY);
  assert_int_equal(read(fd, text, 5), 5);
  assert_string_equal(text, "right");
  close(fd);
  close(slot);
  bench_close(&b);
}

static void titles_are_bounded_and_the_last_one_arrives(void **state) {
  struct bench b;
  struct message m = {0};
  char text[32];
  int titles = 0;
  (void)state;
  bench_open(&b);
  for (int i = 0; i < 1000; i++) {
    snprintf(text, sizeof(text), "item %d", i);
    sm_progress(T(b), i / 1000.0, text);
  }
  task_verdict(&b.task, SM_FAIL, NULL);
  while (message_receive(b.engine, &m, NULL) == ERR_OK && m.type == MESSAGE_TITLE) {
    titles++;
    snprintf(text, sizeof(text), "%s", value_get_text(m.body, "text", ""));
  }
  assert_in_range(titles, 1, 4);
  assert_string_equal(text, "item 999");
  assert_int_equal(m.type, MESSAGE_VERDICT);
  message_clear(&m);
  assert_int_equal(b.page.heartbeat, 1000);
  bench_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_number_is_filled_in_for_whatever_counts_something),
    cmocka_unit_test(a_repeated_parameter_is_always_a_list),
    cmocka_unit_test(records_in_lists_are_reached_by_path),
    cmocka_unit_test(an_older_plugins_shorter_value_is_not_overrun),
    cmocka_unit_test(only_clean_names_are_names),
    cmocka_unit_test(only_objects_are_metadata),
    cmocka_unit_test(outputs_are_held_against_the_table),
    cmocka_unit_test(a_link_is_no_artifact),
    cmocka_unit_test(an_input_opens_at_its_beginning_every_time),
    cmocka_unit_test(an_exchanged_input_is_not_followed),
    cmocka_unit_test(titles_are_bounded_and_the_last_one_arrives),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
