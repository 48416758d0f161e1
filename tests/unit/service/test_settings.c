/* Settings: file, environment and flags over each other; every mistake with its place; what ships says what holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <pthread.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "service/settings.h"

static char folder[] = "/tmp/settings-XXXXXX";

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  return fs_remove_path(folder, NULL);
}

static struct report *report;
static char said[8192];

static struct settings *load(const char *text, const struct value *overrides) {
  struct settings *s = NULL;
  struct error e = {0};
  buf_auto struct buf shown = {0};
  mem_auto char *path = mem_format("%s/c.yaml", folder);
  if (text) assert_int_equal(fs_write_durably(path, text, strlen(text), 0600, &e), ERR_OK);
  report = report_new();
  enum err err = settings_load(&s, text ? path : NULL, overrides, report, &e);
  report_text(report, &shown, false);
  snprintf(said, sizeof said, "%s", buf_string(&shown));
  assert_int_equal(err == ERR_OK, s != NULL);
  assert_int_equal(report_errors(report) == 0, s != NULL);
  report_free(&report);
  return s;
}

static void assert_said(const char *words) {
  if (!strstr(said, words)) fail_msg("`%s` is not in:\n%s", words, said);
}

static void refused(const char *text, const char *words) {
  struct settings *s = load(text, NULL);
  if (s) fail_msg("accepted: %s", text);
  assert_said(words);
}

static void without_a_file_everything_has_its_default(void **state) {
  (void)state;
  struct settings *s = load(NULL, NULL);
  assert_string_equal(s->listen, "127.0.0.1:8060");
  assert_null(s->state);
  assert_null(*s->origins);
  assert_int_equal(s->uploads.max_bytes, 20000000000);
  assert_int_equal(s->limits.drain_us, 30000000);
  assert_int_equal(s->log.level, LOG_LEVEL_INFO);
  assert_string_equal(s->mail.on[0], "failed");
  assert_null(s->mail.on[1]);
  settings_free(&s);
  s = load("# nothing but a comment\n", NULL);
  assert_string_equal(s->listen, "127.0.0.1:8060");
  settings_free(&s);
}

static void paths_of_the_file_are_relative_to_it(void **state) {
  (void)state;
  struct settings *s =
      load("state: st\npipelines: [p, /q]\nuploads: { s3: { bucket: b, access-key: A, secret-key: S } }\n", NULL);
  mem_auto char *expected = mem_format("%s/st", folder), *first = mem_format("%s/p", folder);
  assert_string_equal(s->state, expected);
  assert_string_equal(s->pipelines[0], first);
  assert_string_equal(s->pipelines[1], "/q");
  assert_null(s->pipelines[2]);
  assert_string_equal(s->uploads.s3.bucket, "b");
  assert_string_equal(s->uploads.s3.region, "us-east-1");
  settings_free(&s);
}

static void the_environment_is_over_the_file_and_flags_over_both(void **state) {
  (void)state;
  value_auto struct value *flags = value_map();
  value_set_text(flags, "limits.drain", "7s");
  setenv("STAGEMILL_UPLOADS_MAX", "5M", 1);
  setenv("STAGEMILL_LIMITS_DRAIN", "9s", 1);
  setenv("STAGEMILL_CORS_ORIGINS", "https://a.example.org, https://b.example.org", 1);
  setenv("STAGEMILL_UPLOADS_S3_PREFIX", "", 1); /* as if it were not set */
  struct settings *s = load("uploads: { max: 1M }\nlimits: { drain: 1s, body: 2M }\n", flags);
  unsetenv("STAGEMILL_UPLOADS_MAX");
  unsetenv("STAGEMILL_LIMITS_DRAIN");
  unsetenv("STAGEMILL_CORS_ORIGINS");
  unsetenv("STAGEMILL_UPLOADS_S3_PREFIX");
  assert_non_null(s);
  assert_int_equal(s->uploads.max_bytes, 5000000);
  assert_int_equal(s->limits.drain_us, 7000000);
  assert_int_equal(s->limits.body_bytes, 2000000);
  assert_string_equal(s->origins[1], "https://b.example.org");
  settings_free(&s);
}

static void a_mistake_has_its_place_and_the_nearest_key(void **state) {
  (void)state;
  refused("uploads:\n  maxx: 5G\n", "c.yaml:2:3: error: unknown key `maxx`");
  assert_said("did you mean `max`?");
  refused("lisen: 1\n", "did you mean `listen`?");
  refused("uploads: { max: much }\nlimits: { threads: 1 }\nlog: { format: jsonn }\n", "c.yaml:1:17");
  assert_said("c.yaml:2:20"); /* all at once */
  assert_said("did you mean `json`?");
  refused("uploads: 5G\n", "a map");
  refused("- a\n", "the configuration is a map");
  refused("limits: { drain: 30 }\n", "a duration needs a unit: 30s");
}

static void mistakes_of_variables_and_flags_name_them(void **state) {
  (void)state;
  value_auto struct value *flags = value_map();
  setenv("STAGEMILL_UPLOADS_MAX", "lots", 1);
  setenv("STAGEMILL_UPLOADS_EXPIRS", "1h", 1);
  value_set_text(flags, "uplods.max", "5G");
  assert_null(load("{}\n", flags));
  unsetenv("STAGEMILL_UPLOADS_MAX");
  unsetenv("STAGEMILL_UPLOADS_EXPIRS");
  assert_said("variable STAGEMILL_UPLOADS_MAX: error: `lots`");
  assert_said("did you mean STAGEMILL_UPLOADS_EXPIRES?");
  assert_said("did you mean `uploads.max`?");
}

static void addresses_urls_and_contradictions_are_looked_at(void **state) {
  (void)state;
  refused("listen: 127.0.0.1:8443s\n", "TLS is not spoken here");
  refused("listen: '[::1]:8060'\n", "IPv6");
  refused("listen: 8060\n", "write ADDRESS:PORT");
  refused("listen: 127.0.0.1:70000\n", "not an address and a port");
  refused("proxies: [10.0.0.0/33]\n", "not an address or a network");
  refused("cors: { origins: [https://a.example.org/app] }\n", "not the origin of a web page");
  refused("webhooks: { urls: [ftp://x] }\n", "not a URL");
  refused("webhooks: { urls: [https://x.example.org/h] }\n", "needs `webhooks.secret`");
  refused("webhooks: { urls: [https://x.example.org/h], secret: 's3cr3t!' }\n", "not the name of a secret");
  refused("mail: { server: mail.example.org, from: a@b.c }\n", "not a mail server");
  refused("mail: { to: [a@b.c] }\n", "`mail.to` needs `mail.server`");
  refused("uploads: { s3: { bucket: b } }\n", "needs `uploads.s3.access-key`");
  refused("auth: { keys: k.yaml, make-key: k }\n", "exclude each other");
}

static void hostile_files_end_in_a_report(void **state) {
  (void)state;
  mem_auto char *deep = mem_alloc(2 * 20000 + 16);
  memset(deep, '[', 20000);
  refused(deep, "error");
  refused("a: &a [x]\nb: *c\n", "error");
  refused("listen: \"\\0\"\n", "error");
  refused("listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", "twice");
}

static void changes_are_named_and_those_that_need_a_restart(void **state) {
  (void)state;
  struct settings *a =
      load("listen: 127.0.0.1:1\nuploads: { max: 1M }\ncors: { origins: [https://a.example.org] }\n", NULL);
  struct settings *b = load("listen: 127.0.0.1:2\nuploads: { max: 2M }\ncors: { origins: ['*'] }\n", NULL);
  buf_auto struct buf changed = {0}, restart = {0};
  settings_changes(a, b, &changed, &restart);
  assert_string_equal(buf_string(&changed), "listen, cors.origins, uploads.max");
  assert_string_equal(buf_string(&restart), "listen");
  settings_free(&a);
  settings_free(&b);
}

/* Every line `# key: value` of the file that ships is a key with its default, so that the file cannot go stale. */
static void the_file_that_ships_says_what_holds(void **state) {
  (void)state;
  buf_auto struct buf text = {0}, changed = {0}, restart = {0}, live = {0};
  struct error e = {0};
  assert_int_equal(fs_read_file(SHIPPED_SETTINGS, 1 << 20, &text, &e), ERR_OK);
  struct settings *as_shipped = load(buf_string(&text), NULL), *defaults = load(NULL, NULL);
  assert_non_null(as_shipped);
  settings_changes(as_shipped, defaults, &changed, &restart);
  assert_string_equal(buf_string(&changed), "");
  for (char *line = text.data; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
    size_t size = strcspn(line, "\n"), indent = strspn(line, " ");
    if (!strncmp(line + indent, "#- ", 3)) continue; /* an example, not a default */
    size_t skip = !strncmp(line + indent, "#", 1) && line[indent + 1] != ' ' && line[indent + 1] != '\n' ? 1 : 0;
    for (size_t i = 0; i < indent; i++) buf_char(&live, ' ');
    buf_add(&live, line + indent + skip, size - indent - skip);
    buf_char(&live, '\n');
  }
  struct settings *uncommented = load(buf_string(&live), NULL);
  if (!uncommented) fail_msg("%s", said);
  settings_changes(uncommented, defaults, &changed, &restart);
  assert_string_equal(buf_string(&changed), "");
  settings_free(&as_shipped);
  settings_free(&defaults);
  settings_free(&uncommented);
}

/* ---- the holder -------------------------------------------------------------------------------------------------- */

struct holding {
  struct settings_holder *holder;
  unsigned long seen;
};

static void *hold_often(void *context) {
  struct holding *h = context;
  for (int i = 0; i < 20000; i++) {
    const struct settings *s = settings_hold(h->holder);
    h->seen += strlen(s->listen);
    settings_release(h->holder, &s);
  }
  return NULL;
}

static void readers_keep_the_version_they_began_with(void **state) {
  (void)state;
  struct settings_holder *holder = settings_holder_new(load("listen: 127.0.0.1:1\n", NULL));
  const struct settings *old = settings_hold(holder);
  struct holding readers[3] = {{holder, 0}, {holder, 0}, {holder, 0}};
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, hold_often, &readers[i]);
  for (int i = 0; i < 20; i++) settings_replace(holder, load("listen: 127.0.0.1:2\n", NULL));
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  assert_string_equal(old->listen, "127.0.0.1:1");
  settings_release(holder, &old);
  const struct settings *now = settings_hold(holder);
  assert_string_equal(now->listen, "127.0.0.1:2");
  settings_release(holder, &now);
  settings_holder_free(&holder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_a_file_everything_has_its_default),
      cmocka_unit_test(paths_of_the_file_are_relative_to_it),
      cmocka_unit_test(the_environment_is_over_the_file_and_flags_over_both),
      cmocka_unit_test(a_mistake_has_its_place_and_the_nearest_key),
      cmocka_unit_test(mistakes_of_variables_and_flags_name_them),
      cmocka_unit_test(addresses_urls_and_contradictions_are_looked_at),
      cmocka_unit_test(hostile_files_end_in_a_report),
      cmocka_unit_test(changes_are_named_and_those_that_need_a_restart),
      cmocka_unit_test(the_file_that_ships_says_what_holds),
      cmocka_unit_test(readers_keep_the_version_they_began_with),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
