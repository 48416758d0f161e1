/* What a checked pipeline holds: producers, order, policies, settings, parameters, the pinned text. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include <stagemill/abi.h>

#include "base/mem.h"
#include "pipeline/pipeline.h"
#include "stages.h"

#define HEAD "stagemill: 1\nname: t\n"

static struct stage_set *set;

static struct pipeline *load_in(const char *text, const char *folder) {
  struct report *report = report_new();
  struct pipeline *p = NULL;
  struct error e = {0};
  if (pipeline_parse(text, strlen(text), "t.yaml", folder, set, report, &p, &e)) {
    buf_auto struct buf out = {0};
    report_text(report, &out, false);
    fail_msg("%s", buf_string(&out));
  }
  report_free(&report);
  return p;
}

static struct pipeline *load(const char *text) { return load_in(text, "/srv/pipes"); }

/* "video<source audio<brand.audio files<stream.*", one word for each binding. */
static char *feeds(const struct pipeline *p, const char *id) {
  const struct pipeline_stage *s = pipeline_find(p, id);
  buf_auto struct buf out = {0};
  for (size_t i = 0; i < s->binding_count; i++) {
    const struct binding *b = &s->bindings[i];
    buf_format(&out, "%s%s<", i ? " " : "", b->port->name);
    if (b->kind == PRODUCER_SOURCE)
      buf_text(&out, "source");
    else
      buf_format(&out, "%s.%s", p->stages[b->stage].id, b->output ? b->output->name : "*");
  }
  return buf_take(&out);
}

static char *names(const struct pipeline *p, const size_t *list, size_t count) {
  buf_auto struct buf out = {0};
  for (size_t i = 0; i < count; i++) buf_format(&out, "%s%s", i ? " " : "", p->stages[list[i]].id);
  return buf_take(&out);
}

#define FEEDS(p, id, expected)                                                                                         \
  do {                                                                                                                 \
    mem_auto char *got_ = feeds(p, id);                                                                                \
    assert_string_equal(got_, expected);                                                                               \
  } while (0)
#define AFTER(p, id, expected)                                                                                         \
  do {                                                                                                                 \
    const struct pipeline_stage *s_ = pipeline_find(p, id);                                                            \
    mem_auto char *got_ = names(p, s_->after, s_->after_count);                                                        \
    assert_string_equal(got_, expected);                                                                               \
  } while (0)

static const char vod[] =
    HEAD "params:\n"
         "  logo: { type: file, default: brand/logo.png }\n"
         "  publish_to: { type: target, default: \"\" }\n"
         "stages:\n"
         "  - { id: info,    uses: probe }\n"
         "  - { id: poster,  uses: thumbnail, with: { at: 10%, width: 640 } }\n"
         "  - { id: brand,   uses: watermark, with: { image: \"${{ params.logo }}\", opacity: 0.8 } }\n"
         "  - { id: stream,  uses: hls, with: { ladder: auto, segment: 6s } }\n"
         "  - id: publish\n"
         "    uses: upload\n"
         "    needs: [stream, poster]\n"
         "    if: ${{ params.publish_to != '' && stages.info.duration > 1s }}\n"
         "    with: { to: \"${{ params.publish_to }}/${{ job.id }}/\" }\n"
         "    retry: { attempts: 3, backoff: 1s, factor: 3, max: 5s, jitter: full }\n"
         "    timeout: 30m\n"
         "result:\n"
         "  playlist: ${{ stages.publish.url ?? stages.stream.master }}\n"
         "  duration: ${{ stages.info.duration }}\n";

static void position_picks_the_producer_and_needs_delivers_all(void **state) {
  (void)state;
  struct pipeline *p = load(vod);
  FEEDS(p, "info", "source<source");
  FEEDS(p, "poster", "video<source"); /* before the mark: without it */
  FEEDS(p, "brand", "video<source");
  FEEDS(p, "stream", "video<brand.video audio<source"); /* what a filter does not take goes past it */
  FEEDS(p, "publish", "files<poster.* files<stream.*");
  AFTER(p, "stream", "brand");
  AFTER(p, "publish", "info poster stream");
  const struct pipeline_stage *publish = pipeline_find(p, "publish");
  mem_auto char *needs = names(p, publish->needs, publish->needs_count);
  assert_string_equal(needs, "poster stream");
  assert_int_equal(publish->retry.attempts, 3);
  assert_int_equal(publish->timeout_us, 1800000000);
  assert_int_equal(publish->stall_us, 300000000);
  assert_int_equal(publish->when, RUN_ON_SUCCESS);
  assert_int_equal(p->priority, 50);
  pipeline_free(&p);
}

static void inputs_override_and_sources_are_replaced(void **state) {
  (void)state;
  struct pipeline *p =
      load(HEAD "stages:\n"
                "  - { id: a, uses: thumbnail }\n"
                "  - { id: get, uses: fetch, with: { url: http://x/y } }\n"
                "  - { id: one, uses: watermark, with: { text: a } }\n"
                "  - { id: two, uses: watermark, inputs: { video: get } }\n"
                "  - { id: b, uses: thumbnail, inputs: { video: one } }\n"
                "  - { id: c, uses: thumbnail, inputs: { video: source } }\n"
                "  - { id: d, uses: hls }\n"
                "  - { id: i, uses: probe }\n"
                "  - { id: m, uses: movie }\n"
                "  - { id: e, uses: thumbnail, inputs: { video: m.movie } }\n"
                "  - { id: u, uses: upload, inputs: { files: [a, d.segments, source] }, with: { to: x } }\n"
                "  - { id: v, uses: upload, with: { to: y } }\n"
                "  - { id: two2, uses: pair }\n"
                "  - { id: n, uses: note, inputs: { text: two2.right } }\n");
  FEEDS(p, "a", "video<source");
  FEEDS(p, "one", "video<get.file");
  FEEDS(p, "two", "video<get.file"); /* a file of another stage is decoded */
  FEEDS(p, "b", "video<one.video");
  FEEDS(p, "c", "video<source"); /* `source` is the job's own input, whatever stands in for it */
  FEEDS(p, "d", "video<two.video audio<get.file");
  FEEDS(p, "i", "source<get.file");
  FEEDS(p, "e", "video<m.movie");
  FEEDS(p, "u", "files<a.* files<d.segments files<source");
  FEEDS(p, "v", "files<e.*"); /* the last earlier stage with files */
  FEEDS(p, "n", "text<two2.right");
  pipeline_free(&p);
}

static void a_front_brings_the_input_for_all(void **state) {
  (void)state;
  char path[] = "/tmp/stagemill-front-XXXXXX";
  int fd = mkstemp(path);
  dprintf(fd, "params: { limit: { type: size, default: 2G } }\nstages:\n"
              "  - { id: source_file, uses: fetch, with: { url: \"${{ job.input }}\" } }\n");
  close(fd);
  struct report *report = report_new();
  struct error e = {0};
  struct pipeline *p = load(HEAD "stages:\n  - { id: i, uses: probe }\n  - { id: a, uses: thumbnail }\n"),
                  *fronted = NULL;
  assert_true(pipeline_reads_input(p));
  assert_int_equal(pipeline_fronted(p, path, report, &fronted, &e), ERR_OK);
  assert_int_equal(fronted->stage_count, 3);
  assert_string_equal(fronted->stages[0].id, "source_file");
  assert_string_equal(fronted->params[0].name, "limit");
  FEEDS(fronted, "i", "source<source_file.file");
  FEEDS(fronted, "a", "video<source_file.file");
  assert_false(pipeline_reads_input(fronted));
  assert_string_not_equal(fronted->digest, p->digest);
  struct pipeline *twice = NULL;
  assert_int_equal(pipeline_fronted(fronted, path, report, &twice, &e), ERR_INVALID);
  assert_non_null(strstr(e.message, "source_file"));
  report_free(&report);
  pipeline_free(&p);
  pipeline_free(&fronted);
  unlink(path);
}

static void later_stages_may_be_needed(void **state) {
  (void)state;
  struct pipeline *p = load(HEAD "stages:\n"
                                 "  - { id: a, uses: thumbnail, needs: b }\n"
                                 "  - { id: b, uses: probe }\n");
  AFTER(p, "a", "b");
  pipeline_free(&p);
}

static void switches_decide_when_a_stage_runs(void **state) {
  (void)state;
  struct pipeline *p = load(HEAD "priority: low\ndefaults: { retry: { attempts: 2 }, timeout: 1h }\ntimeout: 2h\n"
                                 "concurrency: { group: \"g-${{ params.x }}\", cancel-in-progress: true }\n"
                                 "params: { x: { type: text, default: y } }\n"
                                 "stages:\n"
                                 "  - { id: a, uses: probe, always: true }\n"
                                 "  - { id: b, uses: probe, on-failure: true, retry: { backoff: 1s } }\n"
                                 "  - { id: c, uses: probe, if: failure() || cancelled(), timeout: 5s }\n"
                                 "  - { id: d, uses: probe, if: success(), isolate: true, continue-on-error: true, "
                                 "fallback: { width: 5, duration: 3s, languages: [en] } }\n");
  assert_int_equal(p->stages[0].when, RUN_ALWAYS);
  assert_int_equal(p->stages[1].when, RUN_ON_FAILURE);
  assert_int_equal(p->stages[2].when, RUN_ALWAYS);
  assert_int_equal(p->stages[3].when, RUN_ON_SUCCESS);
  assert_int_equal(p->stages[1].retry.attempts, 2);
  assert_int_equal(p->stages[1].retry.backoff_us, 1000000);
  assert_int_equal(p->stages[0].timeout_us, INT64_C(3600000000));
  assert_int_equal(p->stages[2].timeout_us, 5000000);
  assert_true(p->stages[3].isolate && p->stages[3].continue_on_error);
  assert_int_equal(value_get(p->stages[3].fallback, "duration")->type, VALUE_DURATION);
  assert_int_equal(value_get(p->stages[3].fallback, "languages")->type, VALUE_LIST);
  assert_int_equal(p->timeout_us, INT64_C(7200000000));
  assert_int_equal(p->priority, 25);
  assert_true(p->cancel_in_progress && p->concurrency_group);
  pipeline_free(&p);
}

static void delays_are_exactly_2_4_8_seconds(void **state) {
  (void)state;
  struct pipeline *p = load(HEAD "stages:\n  - { id: a, uses: probe }\n");
  const struct retry_policy *r = &p->stages[0].retry;
  assert_int_equal(r->attempts, 4);
  assert_int_equal(retry_delay_us(r, 1, 0.5), 0);
  assert_int_equal(retry_delay_us(r, 2, 0.5), 2000000);
  assert_int_equal(retry_delay_us(r, 3, 0.5), 4000000);
  assert_int_equal(retry_delay_us(r, 4, 0.5), 8000000);
  assert_int_equal(retry_delay_us(r, 100, 0.5), 300000000); /* max */
  struct retry_policy full = *r;
  full.jitter = JITTER_FULL;
  assert_int_equal(retry_delay_us(&full, 3, 0.25), 1000000);
  pipeline_free(&p);
}

/* ---- the pinned text -------------------------------------------------------------------------------------------- */

static void check_round_trip(const char *text, const char *folder) {
  struct pipeline *p = load_in(text, folder), *again = load_in(p->pinned, NULL);
  assert_string_equal(p->pinned, again->pinned);
  assert_string_equal(p->digest, again->digest);
  assert_int_equal(p->stage_count, again->stage_count);
  for (size_t i = 0; i < p->stage_count; i++) {
    const struct pipeline_stage *a = &p->stages[i], *b = &again->stages[i];
    mem_auto char *feeds_a = feeds(p, a->id), *feeds_b = feeds(again, b->id);
    assert_string_equal(feeds_a, feeds_b);
    assert_int_equal(a->after_count, b->after_count);
    assert_int_equal(a->setting_count, b->setting_count);
    assert_memory_equal(&a->retry.attempts, &b->retry.attempts, sizeof a->retry.attempts);
    assert_int_equal(a->timeout_us, b->timeout_us);
  }
  for (size_t i = 0; i < p->param_count; i++) {
    const struct value *a = p->params[i].fallback, *b = again->params[i].fallback;
    assert_true((!a && !b) || value_equal(a, b));
  }
  pipeline_free(&p);
  pipeline_free(&again);
}

static void pinned_text_is_the_same_pipeline(void **state) {
  (void)state;
  check_round_trip(vod, "/srv/pipes");
  check_round_trip(
      HEAD "title: \"quo\\\"te \\\\ \\x01 \\x7f \\u0085 \\u2028 ✓ \\U0001F600 \\ufeff tab\\t\"\nx-a: &a { crf: 20 }\n"
           "stages:\n  - { id: a, uses: hls, with: { <<: *a, ladder: [720p, { height: 360, name: \"true\" }] } }\n"
           "  - { id: b, uses: watermark, with: { text: \"10%\", margin: 10% } }\n"
           "  - { id: c, uses: thumbnail, title: \"two\\nlines\" }\n  - id: d\n    uses: thumbnail\n    title: |\n     "
           " two\n      lines\n",
      "/srv/pipes");
}

static void pinned_text_has_absolute_paths_and_no_secrets(void **state) {
  (void)state;
  struct pipeline *p = load(HEAD "params:\n  logo: { type: file, default: brand/logo.png }\n"
                                 "stages:\n"
                                 "  - { id: w, uses: watermark, with: { image: ../x.png } }\n"
                                 "  - { id: v, uses: watermark, with: { image: \"img/${{ job.name }}.png\" } }\n"
                                 "  - { id: z, uses: watermark, with: { image: \"${{ params.logo }}\" } }\n"
                                 "  - { id: t, uses: thumbnail }\n"
                                 "  - { id: u, uses: upload, with: { to: out/, key: \"${{ secrets.S3 }}\" } }\n"
                                 "  - { id: s, uses: upload, with: { to: s3://b/x } }\n");
  assert_non_null(strstr(p->pinned, "\"/srv/pipes/brand/logo.png\""));
  assert_non_null(strstr(p->pinned, "\"/srv/x.png\""));
  assert_non_null(strstr(p->pinned, "\"/srv/pipes/img/${{ job.name }}.png\""));
  assert_non_null(strstr(p->pinned, "\"/srv/pipes/out/\""));
  assert_non_null(strstr(p->pinned, "\"s3://b/x\""));
  assert_non_null(strstr(p->pinned, "\"${{ secrets.S3 }}\""));
  assert_int_equal(strlen(p->digest), 64);
  pipeline_free(&p);
}

/* Everything that loads at all survives its own pinning. */
static void every_good_case_survives_pinning(void **state) {
  (void)state;
  DIR *folder = opendir(CASES);
  unsigned tried = 0;
  assert_non_null(folder);
  for (struct dirent *entry; (entry = readdir(folder));) {
    mem_auto char *path = mem_format("%s/%s", CASES, entry->d_name);
    struct report *report = report_new();
    struct pipeline *p = NULL, *again = NULL;
    size_t n = strlen(entry->d_name);
    bool yaml = n > 5 && strcmp(entry->d_name + n - 5, ".yaml") == 0;
    if (yaml && pipeline_load(path, set, report, &p, NULL) == ERR_OK) {
      tried++;
      assert_int_equal(pipeline_parse(p->pinned, strlen(p->pinned), "pinned", NULL, set, report, &again, NULL), ERR_OK);
      assert_string_equal(p->digest, again->digest);
    }
    pipeline_free(&p);
    pipeline_free(&again);
    report_free(&report);
  }
  closedir(folder);
  assert_true(tried >= 5);
}

/* ---- settings --------------------------------------------------------------------------------------------------- */

struct world {
  struct value *params, *results; /* results: map of "stage.key" */
};

static struct value *lookup(void *context, const struct reference *r) {
  const struct world *w = context;
  if (r->kind == REFERENCE_PARAM) return value_copy(value_get(w->params, r->name));
  if (r->kind == REFERENCE_JOB) return value_text("j1");
  if (r->kind == REFERENCE_SECRET) {
    mem_auto char *text = mem_format("secret-%s", r->name);
    struct value *v = value_text(text);
    v->secret = true;
    return v;
  }
  mem_auto char *key = mem_format("%s.%s", r->name, r->key);
  return value_copy(value_get(w->results, key));
}

static char *asset(void *context, const char *path) {
  (void)context;
  return strcmp(path, "/srv/pipes/logo.png") == 0 ? mem_text("/pinned/abc") : NULL;
}

static char *settle(const struct pipeline *p, const char *id, struct world *w) {
  struct scope scope = {lookup, NULL, w};
  struct value *v = NULL;
  struct error e = {0};
  buf_auto struct buf json = {0};
  if (pipeline_settings(p, pipeline_index(p, id), &scope, asset, NULL, &v, &e)) return mem_text(e.message);
  value_json(&json, v, VALUE_JSON_COMPACT);
  value_free(&v);
  return buf_take(&json);
}

static const char settings_yaml[] =
    HEAD "params:\n"
         "  when: { type: [duration, percent], default: 10% }\n"
         "  seg: { type: text, default: 4s }\n"
         "  n: { type: int, default: 2 }\n"
         "  logo: { type: file, default: logo.png }\n"
         "  token: { type: secret, default: secrets.UPLOAD }\n"
         "  w: { type: int, required: false }\n"
         "  to: { type: text, default: x }\n"
         "stages:\n"
         "  - { id: info, uses: probe }\n"
         "  - { id: a, uses: thumbnail, with: { at: [\"${{ params.when }}\", 5s], width: \"${{ params.w }}\" } }\n"
         "  - { id: b, uses: hls, with: { segment: \"${{ params.seg }}\", ladder: { height: \"${{ params.n * 180 }}\" "
         "}, audio-bitrate: \"${{ stages.info.bitrate / 10 }}\" } }\n"
         "  - { id: c, uses: watermark, with: { image: \"${{ params.logo }}\", text: \"${{ stages.info.duration }}\" "
         "}, inputs: { video: source } }\n"
         "  - { id: d, uses: upload, needs: a, with: { to: \"s3://b/${{ job.id }}/\", key: \"${{ params.token }}\", "
         "part: \"${{ params.n * 5 }}M\" } }\n"
         "  - { id: e, uses: upload, needs: a, with: { to: \"${{ params.to ?? null }}\" } }\n";

static struct world *world_new(const struct pipeline *p) {
  struct world *w = mem_alloc(sizeof *w);
  struct error e = {0};
  if (pipeline_params(p, NULL, NULL, &w->params, &e)) fail_msg("%s", e.message);
  w->results = value_map();
  value_set_int(w->results, "info.bitrate", 1000000);
  value_map_set(w->results, "info.duration", value_of(VALUE_DURATION, 90500000, 0));
  return w;
}

static void world_free(struct world *w) {
  value_free(&w->params);
  value_free(&w->results);
  free(w);
}

#define SETTLES(id, expected)                                                                                          \
  do {                                                                                                                 \
    mem_auto char *got_ = settle(p, id, w);                                                                            \
    assert_string_equal(got_, expected);                                                                               \
  } while (0)

static void settings_are_typed_with_defaults_and_pinned_files(void **state) {
  (void)state;
  struct pipeline *p = load(settings_yaml);
  struct world *w = world_new(p);
  SETTLES("info", "{}");
  SETTLES("a", "{\"at\":[10,5],\"format\":\"jpeg\"}"); /* a null expression is an absent key */
  SETTLES("b", "{\"ladder\":[{\"height\":360,\"bitrate\":2000000}],\"crf\":23,\"segment\":4,\"mp4\":false,\"audio-"
               "bitrate\":100000,\"master\":\"master.m3u8\"}");
  SETTLES("c",
          "{\"image\":\"/pinned/abc\",\"text\":\"90.5s\",\"position\":\"bottom-right\",\"opacity\":1,\"margin\":2}");
  SETTLES("d", "{\"to\":\"s3://b/j1/\",\"key\":\"***\",\"part\":10000000}");
  world_free(w);
  pipeline_free(&p);
}

static void secret_parameters_are_looked_up_by_name(void **state) {
  (void)state;
  struct pipeline *p = load(settings_yaml);
  struct world *w = world_new(p);
  assert_string_equal(value_get_text(w->params, "token", ""), "secrets.UPLOAD"); /* what is stored */
  struct scope scope = {lookup, NULL, w};
  struct value *v = NULL;
  assert_int_equal(pipeline_settings(p, pipeline_index(p, "d"), &scope, NULL, NULL, &v, NULL), ERR_OK);
  assert_string_equal(value_get_text(v, "key", ""), "secret-UPLOAD");
  assert_true(value_get(v, "key")->secret);
  value_free(&v);
  world_free(w);
  pipeline_free(&p);
}

static void settings_that_do_not_fit_name_stage_key_and_place(void **state) {
  (void)state;
  struct pipeline *p = load(settings_yaml);
  struct world *w = world_new(p);
  value_set_text(w->params, "seg", "soon");
  value_map_set(w->params, "to", value_null());
  SETTLES("b", "stage `b`, `segment` (t.yaml:14): `soon` is not a duration (6s, 250ms, 1m30s), from 0.5 to 60 s");
  value_set_text(w->params, "seg", "4s");
  value_set_int(w->params, "n", 1000);
  SETTLES("b", "stage `b`, `ladder.height` (t.yaml:14): `180000` is out of range: it has to be from 16 to 8192 px");
  SETTLES("e", "stage `e`: `to` is required and the expression gave null");
  world_free(w);
  pipeline_free(&p);
}

static void what_parameters_decide_has_to_fit_at_submission(void **state) {
  (void)state;
  static const struct {
    const char *seg, *n, *says; /* NULL: it fits */
  } table[] = {
      {"4s", "2", NULL},
      {"soon", "2", "stage `b`, `segment` (t.yaml:14): `soon` is not a duration (6s, 250ms, 1m30s), from 0.5 to 60 s"},
      {"4s", "1000",
       "stage `b`, `ladder.height` (t.yaml:14): `180000` is out of range: it has to be from 16 to 8192 px"},
  };
  struct pipeline *p = load(settings_yaml);
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    value_auto struct value *given = value_map(), *params = NULL;
    struct error e = {0};
    value_set_text(given, "seg", table[i].seg);
    value_set_text(given, "n", table[i].n);
    assert_int_equal(pipeline_params(p, given, "/", &params, &e), ERR_OK);
    assert_int_equal(pipeline_settings_fit(p, params, &e), table[i].says ? ERR_INVALID : ERR_OK);
    if (table[i].says) assert_string_equal(e.message, table[i].says);
  }
  pipeline_free(&p);
}

static void stages_that_may_not_run_are_left_to_themselves(void **state) {
  (void)state;
  static const struct {
    const char *keys;
    bool fits;
  } table[] = {
      {"", false},
      {", if: params.on", true},
      {", if: \"!params.on\"", false},
      {", if: stages.i.duration > 1s", true},
      {", if: always()", true},
      {", on-failure: true", true},
      {", continue-on-error: true", true},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    mem_auto char *yaml =
        mem_format(HEAD "params: { on: { type: bool, default: false }, w: { type: int, default: -1 } }\n"
                        "stages:\n  - { id: i, uses: probe }\n"
                        "  - { id: t, uses: thumbnail, with: { width: \"${{ params.w }}\" }%s }\n",
                   table[i].keys);
    struct pipeline *p = load(yaml);
    value_auto struct value *params = NULL;
    struct error e = {0};
    assert_int_equal(pipeline_params(p, NULL, NULL, &params, &e), ERR_OK);
    if ((pipeline_settings_fit(p, params, &e) == ERR_OK) != table[i].fits) fail_msg("%s: %s", table[i].keys, e.message);
    pipeline_free(&p);
  }
}

static void late_settings_can_be_left_out(void **state) {
  (void)state;
  struct pipeline *p = load(settings_yaml);
  struct world *w = world_new(p);
  size_t b = pipeline_index(p, "b"), info = pipeline_index(p, "info");
  bool skip[8] = {false};
  for (size_t i = 0; i < p->stages[b].setting_count; i++) skip[i] = pipeline_setting_reads(p, b, i, info, SM_AT_END);
  struct scope scope = {lookup, NULL, w};
  struct value *v = NULL;
  assert_int_equal(pipeline_settings_except(p, b, &scope, NULL, NULL, skip, &v, NULL), ERR_OK);
  assert_null(value_get(v, "audio-bitrate"));
  assert_non_null(value_get(v, "segment"));
  assert_true(pipeline_reads(p, b, info, SM_AT_END));
  assert_false(pipeline_reads(p, b, info, SM_AT_OPEN));
  assert_true(pipeline_reads(p, pipeline_index(p, "c"), info, SM_AT_OPEN));
  value_free(&v);
  world_free(w);
  pipeline_free(&p);
}

static enum err collect(void *context, const char *path, struct error *e) {
  (void)e;
  buf_format(context, "%s ", path);
  return ERR_OK;
}

static void assets_are_files_of_params_and_of_settings(void **state) {
  (void)state;
  struct pipeline *p = load(HEAD "params: { logo: { type: file, default: a.png }, o: { type: file, default: \"\" } }\n"
                                 "stages:\n  - { id: w, uses: watermark, with: { image: b.png } }\n"
                                 "  - { id: x, uses: watermark, with: { image: \"${{ params.logo ?? params.o }}\" } "
                                 "}\n  - { id: t, uses: thumbnail }\n");
  struct world *w = world_new(p);
  buf_auto struct buf seen = {0};
  assert_int_equal(pipeline_assets(p, w->params, collect, &seen, NULL), ERR_OK);
  assert_string_equal(buf_string(&seen), "/srv/pipes/a.png /srv/pipes/b.png ");
  world_free(w);
  pipeline_free(&p);
}

/* ---- parameters of a submission ---------------------------------------------------------------------------------- */

static const char params_yaml[] = HEAD "params:\n"
                                       "  n: { type: int, min: 1, max: 10, summary: how many }\n"
                                       "  mode: { type: choice, choices: [fast, good], default: fast }\n"
                                       "  at: { type: [duration, percent], default: 10% }\n"
                                       "  sizes: { type: int, list: true, default: [1, 2] }\n"
                                       "  logo: { type: file, required: false }\n"
                                       "  to: { type: target, default: \"\" }\n"
                                       "  key: { type: secret, required: false }\n"
                                       "stages:\n  - { id: a, uses: probe }\n";

static char *params_of(const struct pipeline *p, const char *json) {
  value_auto struct value *given = NULL;
  struct value *v = NULL;
  struct error e = {0};
  buf_auto struct buf out = {0};
  assert_int_equal(value_from_json(json, strlen(json), &given, &e), ERR_OK);
  if (pipeline_params(p, given, "/home/me", &v, &e)) return mem_text(e.message);
  value_json(&out, v, VALUE_JSON_COMPACT);
  value_free(&v);
  return buf_take(&out);
}

static void parameters_become_typed_and_mistakes_name_them(void **state) {
  (void)state;
  static const char *const table[][2] = {
      {"{\"n\":\"3\"}", "{\"n\":3,\"mode\":\"fast\",\"at\":10,\"sizes\":[1,2],\"logo\":null,\"to\":\"\",\"key\":null}"},
      {"{\"n\":3,\"mode\":\"good\",\"at\":\"90s\",\"sizes\":\"4,5\",\"logo\":\"pics/l.png\",\"to\":\"out/"
       "\",\"key\":\"${{ secrets.K }}\"}",
       "{\"n\":3,\"mode\":\"good\",\"at\":90,\"sizes\":[4,5],\"logo\":\"/home/me/pics/l.png\",\"to\":\"/home/me/out/"
       "\",\"key\":\"secrets.K\"}"},
      {"{\"n\":1,\"sizes\":[7],\"to\":\"s3://b/x\"}",
       "{\"n\":1,\"mode\":\"fast\",\"at\":10,\"sizes\":[7],\"logo\":null,\"to\":\"s3://b/x\",\"key\":null}"},
      {"{}", "the pipeline t needs a value for `n`, how many: give it with -p n=VALUE"},
      {"{\"n\":\"3\",\"mod\":\"x\"}", "the pipeline t has no parameter `mod`; did you mean `mode`?"},
      {"{\"n\":\"3\",\"zebra\":\"x\"}",
       "the pipeline t has no parameter `zebra`; valid: n, mode, at, sizes, logo, to, key"},
      {"{\"n\":\"11\"}", "the parameter `n`: `11` is out of range: it has to be from 1 to 10"},
      {"{\"n\":\"3\",\"mode\":\"fats\"}",
       "the parameter `mode`: `fats` is not one of fast, good; did you mean `fast`?"},
      {"{\"n\":\"3\",\"at\":\"5\"}", "the parameter `at`: `5` is not a duration (6s, 250ms, 1m30s) or a percentage "
                                     "(10%); a duration needs a unit: 5s"},
      {"{\"n\":\"3\",\"key\":\"hunter2\"}",
       "the parameter `key`: a secret is given by name, secrets.NAME, never by its value"},
      {"{\"n\":[1,2]}", "the parameter `n`: `a list` is not a whole number, from 1 to 10"},
  };
  struct pipeline *p = load(params_yaml);
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    mem_auto char *got = params_of(p, table[i][0]);
    assert_string_equal(got, table[i][1]);
  }
  pipeline_free(&p);
}

static void who_is_told_comes_out_as_lists_with_names_of_secrets(void **state) {
  (void)state;
  struct pipeline *p =
      load(HEAD "stages: [{ id: a, uses: probe }]\nnotify: { webhooks: { url: https://x.example/h, on: "
                "failed, secret: \"${{ secrets.HOOK }}\" }, mail: [{ to: a@x.example }] }\n");
  buf_auto struct buf json = {0};
  value_json(&json, p->notify, VALUE_JSON_COMPACT);
  assert_string_equal(buf_string(&json),
                      "{\"webhooks\":[{\"url\":\"https://x.example/h\",\"on\":[\"failed\"],\"secret\":"
                      "\"HOOK\"}],\"mail\":[{\"to\":[\"a@x.example\"]}]}");
  pipeline_free(&p);
}

static void result_is_evaluated_with_nulls_for_what_did_not_run(void **state) {
  (void)state;
  struct pipeline *p = load(vod);
  struct world *w = world_new(p);
  struct scope scope = {lookup, NULL, w};
  struct value *v = NULL;
  buf_auto struct buf json = {0};
  value_set_text(w->results, "stream.master", "stream/master.m3u8");
  assert_int_equal(pipeline_result(p, &scope, &v, NULL), ERR_OK);
  value_json(&json, v, VALUE_JSON_COMPACT);
  assert_string_equal(buf_string(&json), "{\"playlist\":\"stream/master.m3u8\",\"duration\":90.5}");
  value_free(&v);
  world_free(w);
  pipeline_free(&p);
}

static void a_missing_file_is_a_problem_of_its_own(void **state) {
  (void)state;
  struct report *report = report_new();
  struct pipeline *p = NULL;
  struct error e = {0};
  enum err err = pipeline_load("/nowhere/x.yaml", set, report, &p, &e);
  assert_int_equal(err, e.code);
  assert_int_not_equal(err, ERR_OK);
  assert_null(p);
  assert_int_equal(report_errors(report), 1);
  report_free(&report);
}

static void the_editors_schema_is_json_and_knows_every_stage(void **state) {
  (void)state;
  buf_auto struct buf json = {0};
  value_auto struct value *v = NULL;
  struct error e = {0};
  pipeline_schema_json(set, &json);
  if (value_from_json(buf_string(&json), json.size, &v, &e)) fail_msg("%s", e.message);
  const struct value *stage = value_path(v, "$defs.stage");
  assert_non_null(stage);
  assert_int_equal(value_get(stage, "allOf")->count, stage_set_count(set));
  assert_non_null(value_path(v, "$defs.with-hls.properties.ladder"));
  assert_non_null(value_path(v, "properties.stagemill"));
}

/* Every hint costs a comparison with every valid word: only those that are shown are worked out. */
static void thousands_of_mistakes_are_reported_in_bounded_time(void **state) {
  (void)state;
  static const char padding[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
  buf_auto struct buf text = {0};
  buf_text(&text, HEAD "stages:\n");
  for (int i = 0; i < 256; i++) buf_format(&text, "  - { id: %s%d, uses: probe }\n", padding, i);
  for (int n = 0; text.size < 900000; n++)
    buf_format(&text, "  - { id: x%d, uses: %sx, needs: [%s, %sy], with: { %sz: 1 }, if: stages.%s.q, %s: 1 }\n", n,
               padding, padding, padding, padding, padding, padding);
  struct report *report = report_new();
  struct pipeline *p = NULL;
  clock_t begin = clock();
  assert_int_equal(pipeline_parse(text.data, text.size, "t", NULL, set, report, &p, NULL), ERR_INVALID);
  assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 30);
  assert_true(report_count(report) <= 100);
  report_free(&report);
  /* and with few enough stages for each to be looked at */
  buf_reset(&text);
  buf_text(&text, HEAD "stages:\n");
  for (int i = 0; i < 250; i++) buf_format(&text, "  - { id: %s%d, uses: probe }\n", padding, i);
  buf_text(&text, "  - id: last\n    uses: upload\n    with: { to: x }\n    needs:\n");
  for (int i = 0; i < 14000; i++) buf_format(&text, "    - %sq%d\n", padding, i);
  begin = clock();
  report = report_new();
  assert_int_equal(pipeline_parse(text.data, text.size, "t", NULL, set, report, &p, NULL), ERR_INVALID);
  assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 30);
  assert_true(report_errors(report) > 10000);
  report_free(&report);
}

static int set_up(void **state) {
  (void)state;
  set = test_stages();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  stage_set_unref(&set);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(position_picks_the_producer_and_needs_delivers_all),
      cmocka_unit_test(inputs_override_and_sources_are_replaced),
      cmocka_unit_test(a_front_brings_the_input_for_all),
      cmocka_unit_test(later_stages_may_be_needed),
      cmocka_unit_test(switches_decide_when_a_stage_runs),
      cmocka_unit_test(delays_are_exactly_2_4_8_seconds),
      cmocka_unit_test(pinned_text_is_the_same_pipeline),
      cmocka_unit_test(pinned_text_has_absolute_paths_and_no_secrets),
      cmocka_unit_test(every_good_case_survives_pinning),
      cmocka_unit_test(settings_are_typed_with_defaults_and_pinned_files),
      cmocka_unit_test(secret_parameters_are_looked_up_by_name),
      cmocka_unit_test(settings_that_do_not_fit_name_stage_key_and_place),
      cmocka_unit_test(what_parameters_decide_has_to_fit_at_submission),
      cmocka_unit_test(stages_that_may_not_run_are_left_to_themselves),
      cmocka_unit_test(late_settings_can_be_left_out),
      cmocka_unit_test(assets_are_files_of_params_and_of_settings),
      cmocka_unit_test(parameters_become_typed_and_mistakes_name_them),
      cmocka_unit_test(who_is_told_comes_out_as_lists_with_names_of_secrets),
      cmocka_unit_test(result_is_evaluated_with_nulls_for_what_did_not_run),
      cmocka_unit_test(a_missing_file_is_a_problem_of_its_own),
      cmocka_unit_test(thousands_of_mistakes_are_reported_in_bounded_time),
      cmocka_unit_test(the_editors_schema_is_json_and_knows_every_stage),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
