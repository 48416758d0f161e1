#include "pipeline/keys.h"

#define TEXT SM_TAKES_TEXT
#define DURATION SM_TAKES_DURATION
enum { DAY = 86400 };

#define EVENTS "queued|started|stage|retrying|completed|failed|cancelled"

const struct rule keys_webhook[] = {
    {.key = "url", .takes = TEXT, .flags = SM_REQUIRED, .summary = "http or https address that events are posted to"},
    {.key = "on",
     .takes = SM_TAKES_KEYWORD,
     .flags = SM_REPEATED,
     .choices = EVENTS,
     .summary = "events that it gets (completed, failed)"},
    {.key = "secret",
     .takes = TEXT,
     .flags = RULE_EXPRESSIONS,
     .summary = "secrets.NAME: what signs them; else the daemon's webhooks.secret"},
    {0}};

const struct rule keys_mail[] = {
    {.key = "to", .takes = TEXT, .flags = SM_REQUIRED | SM_REPEATED, .summary = "address or addresses"},
    {.key = "on",
     .takes = SM_TAKES_KEYWORD,
     .flags = SM_REPEATED,
     .choices = EVENTS,
     .summary = "events that are mailed (completed, failed)"},
    {0}};

const struct rule keys_notify[] = {{.key = "webhooks",
                                    .takes = SM_TAKES_RECORD,
                                    .flags = SM_REPEATED,
                                    .fields = keys_webhook,
                                    .summary = "{ url, on, secret } or a list of them"},
                                   {.key = "mail",
                                    .takes = SM_TAKES_RECORD,
                                    .flags = SM_REPEATED,
                                    .fields = keys_mail,
                                    .summary = "{ to, on } or a list of them"},
                                   {0}};

const struct rule keys_pipeline[] = {
    {.key = "stagemill", .takes = SM_TAKES_INT, .flags = SM_REQUIRED, .summary = "version of this language: 1"},
    {.key = "name", .takes = TEXT, .flags = SM_REQUIRED, .summary = "short name: letters, digits, `-`, `_` and `.`"},
    {.key = "title", .takes = TEXT, .summary = "what people see"},
    {.key = "description", .takes = TEXT, .summary = "what the pipeline is for"},
    {.key = "include",
     .takes = TEXT,
     .flags = SM_REPEATED,
     .summary = "other YAML files whose params, stages and anchors are used here"},
    {.key = "params", .takes = RULE_MAP, .summary = "what a submission can set: a map of names"},
    {.key = "defaults", .takes = RULE_MAP, .summary = "retry, timeout and stall of stages that write none"},
    {.key = "stages", .takes = RULE_LIST, .summary = "a list: `- id: NAME` for each stage, for their order matters"},
    {.key = "result",
     .takes = RULE_MAP,
     .summary = "what followers get when the job has completed: a map of expressions"},
    {.key = "timeout",
     .takes = DURATION,
     .min = 0.001,
     .max = 365.0 * DAY,
     .unit = "s",
     .summary = "time for the whole job, over all attempts"},
    {.key = "priority",
     .takes = SM_TAKES_KEYWORD | SM_TAKES_INT,
     .choices = "high|normal|low",
     .max = 100,
     .summary = "high (75), normal (50), low (25) or a number"},
    {.key = "concurrency",
     .takes = RULE_MAP | TEXT,
     .flags = RULE_EXPRESSIONS,
     .summary = "jobs of one group run one after another"},
    {.key = "notify",
     .takes = SM_TAKES_RECORD,
     .fields = keys_notify,
     .summary = "who is told what becomes of its jobs"},
    {0}};

const struct rule keys_include[] = {
    {.key = "stagemill", .takes = SM_TAKES_INT, .summary = "version of this language: 1"},
    {.key = "include", .takes = TEXT, .flags = SM_REPEATED, .summary = "further files"},
    {.key = "params", .takes = RULE_MAP, .summary = "parameters, added to those of the including file"},
    {.key = "stages", .takes = RULE_LIST, .summary = "stages, before those of the including file"},
    {0}};

const struct rule keys_defaults[] = {
    {.key = "retry", .takes = RULE_MAP, .summary = "as in a stage"},
    {.key = "timeout", .takes = DURATION, .min = 0.001, .max = 30.0 * DAY, .unit = "s", .summary = "as in a stage"},
    {.key = "stall", .takes = DURATION, .min = 0.001, .max = 30.0 * DAY, .unit = "s", .summary = "as in a stage"},
    {0}};

const struct rule keys_retry[] = {
    {.key = "attempts", .takes = SM_TAKES_INT, .min = 1, .max = 100, .summary = "how often it is tried in all (4)"},
    {.key = "backoff",
     .takes = DURATION,
     .min = 0,
     .max = 7.0 * DAY,
     .unit = "s",
     .summary = "delay before the second attempt (2s)"},
    {.key = "factor",
     .takes = SM_TAKES_NUMBER,
     .min = 1,
     .max = 100,
     .summary = "each further delay is so many times the last (2)"},
    {.key = "max", .takes = DURATION, .min = 0, .max = 7.0 * DAY, .unit = "s", .summary = "no delay is longer (5m)"},
    {.key = "jitter",
     .takes = SM_TAKES_KEYWORD,
     .choices = "none|full",
     .summary = "full: a random part of the delay (none)"},
    {0}};

const struct rule keys_concurrency[] = {
    {.key = "group",
     .takes = TEXT,
     .flags = SM_REQUIRED | RULE_EXPRESSIONS,
     .summary = "name of the group; params and job can stand in it"},
    {.key = "cancel-in-progress", .takes = SM_TAKES_BOOL, .summary = "a new job cancels the one that runs (false)"},
    {0}};

const struct rule keys_param[] = {
    {.key = "type",
     .takes = SM_TAKES_KEYWORD,
     .flags = SM_REQUIRED | SM_REPEATED,
     .choices = "text|int|number|bool|duration|size|bitrate|percent|file|target|secret|choice",
     .summary = "what it takes; a list: one of several"},
    {.key = "choices",
     .takes = TEXT | RULE_LIST,
     .flags = SM_REPEATED,
     .summary = "the words that `type: choice` takes"},
    {.key = "default",
     .takes = TEXT | RULE_LIST,
     .flags = SM_REPEATED,
     .summary = "its value when a submission gives none; without it the parameter is required"},
    {.key = "required", .takes = SM_TAKES_BOOL, .summary = "false: may stay null"},
    {.key = "min", .takes = TEXT, .summary = "lowest value"},
    {.key = "max", .takes = TEXT, .summary = "highest value"},
    {.key = "list", .takes = SM_TAKES_BOOL, .summary = "true: a list of such values"},
    {.key = "summary", .takes = TEXT, .summary = "one sentence for people"},
    {.key = "description", .takes = TEXT, .summary = "the same as summary"},
    {0}};

const struct rule keys_stage[] = {
    {.key = "id",
     .takes = TEXT,
     .flags = SM_REQUIRED,
     .summary = "its name here and its folder in the output: a-z, 0-9, `-`, `_`"},
    {.key = "uses", .takes = TEXT, .flags = SM_REQUIRED, .summary = "the stage it runs: see `stagemill stages`"},
    {.key = "title", .takes = TEXT, .summary = "shown until the stage sends a message"},
    {.key = "with", .takes = RULE_MAP, .summary = "parameters of the stage"},
    {.key = "needs", .takes = TEXT, .flags = SM_REPEATED, .summary = "stages it waits for: an id or a list"},
    {.key = "inputs", .takes = RULE_MAP, .summary = "what its ports read: port: stage, stage.port or source"},
    {.key = "if",
     .takes = TEXT | SM_TAKES_BOOL,
     .flags = RULE_EXPRESSIONS | RULE_BARE,
     .summary = "an expression: it runs when that is true"},
    {.key = "retry", .takes = RULE_MAP, .summary = "attempts, backoff, factor, max, jitter"},
    {.key = "timeout",
     .takes = DURATION,
     .min = 0.001,
     .max = 30.0 * DAY,
     .unit = "s",
     .summary = "longest time of one attempt (6h)"},
    {.key = "stall",
     .takes = DURATION,
     .min = 0.001,
     .max = 30.0 * DAY,
     .unit = "s",
     .summary = "longest time without a sign of life (5m)"},
    {.key = "continue-on-error", .takes = SM_TAKES_BOOL, .summary = "true: its failure does not fail the job"},
    {.key = "fallback", .takes = RULE_MAP, .summary = "its results when it failed softly (null)"},
    {.key = "always", .takes = SM_TAKES_BOOL, .summary = "true: runs also after a failure and a cancellation"},
    {.key = "on-failure", .takes = SM_TAKES_BOOL, .summary = "true: runs only after a failure"},
    {.key = "isolate", .takes = SM_TAKES_BOOL, .summary = "true: never shares a pass"},
    {.key = "weight", .takes = SM_TAKES_NUMBER, .min = 0, .max = 1e6, .summary = "its share of the job's percentage"},
    {0}};

const char *const keys_synonyms[] = {"depends=needs",
                                     "depends-on=needs",
                                     "depends_on=needs",
                                     "after=needs",
                                     "steps=stages",
                                     "jobs=stages",
                                     "run=uses",
                                     "stage=uses",
                                     "type=uses",
                                     "plugin=uses",
                                     "name=title",
                                     "when=if",
                                     "condition=if",
                                     "options=with",
                                     "args=with",
                                     "config=with",
                                     "input=inputs",
                                     "output=result",
                                     "outputs=result",
                                     "variables=params",
                                     "parameters=params",
                                     "allow-failure=continue-on-error",
                                     NULL};

static const struct {
  enum keys_where where;
  const char *text;
  const struct rule *rules;
} static_places[] = {{KEYS_STAGE, "in a stage, under `stages`", keys_stage},
                     {KEYS_TOP, "at the top of the pipeline", keys_pipeline},
                     {KEYS_RETRY, "under `retry`", keys_retry},
                     {KEYS_CONCURRENCY, "under `concurrency`", keys_concurrency}};

size_t keys_places(enum keys_where from, const struct stage_type *with, struct schema_place places[KEYS_PLACES_MAX]) {
  size_t n = 0;
  if (with && from != KEYS_WITH)
    places[n++] =
        (struct schema_place){.where = "under `with`", .params = with->params, .param_count = with->param_count};
  if (from == KEYS_TOP) places[n++] = (struct schema_place){.where = "under `defaults`", .rules = keys_defaults};
  for (size_t i = 0; i < sizeof static_places / sizeof *static_places; i++) {
    if (static_places[i].where == from) continue;
    places[n++] = (struct schema_place){.where = static_places[i].text, .rules = static_places[i].rules};
  }
  if (from == KEYS_WITH) places[0].where = "in the stage itself, beside `with`";
  return n;
}
