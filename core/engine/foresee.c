#include "engine/foresee.h"

#include <errno.h>
#include <fcntl.h>
#include <stagemill/abi.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "pipeline/plan.h"

enum { NOTES_MAX = 1000 };
static const int64_t TIMEOUT_US = 60 * 1000000;

struct look {
  const struct crew_options *crew;
  const struct pipeline *p;
  const struct value *params, *job;
  const char *input;
  int64_t input_bytes;
  struct unit unit;
  const char **ids; /* of the unit's stages */
  struct value *notes;
  size_t note_count;
  struct loop *loop;
  enum err err;
  struct error *e;
};

static void add_note(struct look *l, const char *id, const char *what, const char *text, double amount) {
  if (l->note_count++ > NOTES_MAX) return;
  if (!value_get(l->notes, id)) value_map_set(l->notes, id, value_list());
  struct value *list = (struct value *)(uintptr_t)value_get(l->notes, id), *note = value_map();
  value_set_text(note, "what", what);
  value_set_text(note, "text", text);
  value_set_number(note, "amount", amount);
  value_list_add(list, note);
}

/* ---- the unit ---------------------------------------------------------------------------------------------------- */

/* Everything but what earlier stages find out is known; where that does not suffice, the stage cannot say anything. */
static bool settings_of(struct look *l, size_t stage, struct value **params) {
  struct step *steps = mem_array(l->p->stage_count + 1, sizeof *steps);
  for (size_t i = 0; i < l->p->stage_count; i++) steps[i].state = STEP_WAITING;
  struct plan_state state = {.pipeline = l->p, .steps = steps, .params = l->params, .job = l->job};
  struct scope scope = plan_scope(&state);
  struct error e = {0};
  enum err err = pipeline_settings(l->p, stage, &scope, NULL, NULL, params, &e);
  if (err) add_note(l, l->p->stages[stage].id, "open", e.message, 0);
  free(steps);
  return err == ERR_OK;
}

/* The input itself stands at every port, behind which a running job would have its frames or what was made of it:
 * plan() looks at the file. */
static void add_input(struct look *l, struct unit_stage *u, const struct port_type *port) {
  if (port->kind == SM_PORT_ARTIFACT && !(port->flags & SM_PORT_SOURCE)) return;
  u->artifacts = mem_grow(u->artifacts, u->artifact_count + 1, sizeof *u->artifacts);
  struct unit_artifact *a = &u->artifacts[u->artifact_count++];
  memset(a, 0, sizeof *a);
  a->port = mem_text(port->name);
  a->name = mem_text(fs_base_name(l->input));
  a->path = fs_absolute(NULL, l->input);
  a->beneath = mem_text("");
  a->is_source = true;
  a->size_bytes = l->input_bytes;
}

static void add_stage(struct look *l, size_t stage) {
  const struct pipeline_stage *s = &l->p->stages[stage];
  struct value *params = NULL;
  if (l->unit.stage_count == UNIT_STAGES_MAX || !settings_of(l, stage, &params)) return;
  struct unit_stage *u = &l->unit.stages[l->unit.stage_count];
  u->id = mem_text(s->id);
  u->uses = mem_text(s->uses);
  u->plugin_path = mem_text(s->type->plugin_path);
  u->plugin_sha256 = mem_text(s->type->plugin_sha256);
  u->attempt = 1;
  u->soft = true; /* one that cannot plan leaves the others alone */
  u->params = params;
  u->checkpoints = value_map();
  for (size_t i = 0; i < s->binding_count; i++)
    if (s->bindings[i].port) add_input(l, u, s->bindings[i].port);
  l->ids[l->unit.stage_count++] = s->id;
}

static enum err open_input(struct look *l, int *fd, struct error *e) {
  struct stat st;
  *fd = open(l->input, O_RDONLY | O_CLOEXEC);
  if (*fd < 0 || fstat(*fd, &st)) {
    int saved = errno;
    enum err err = error_errno(e, saved, "cannot open the input %s", l->input);
    return saved == ENOENT ? e->code = ERR_NOT_FOUND : err;
  }
  if (!S_ISREG(st.st_mode)) return error_set(e, ERR_USAGE, "the input %s is not a regular file", l->input);
  l->input_bytes = st.st_size;
  return ERR_OK;
}

static void find_stages(struct look *l) {
  l->unit.stages = mem_array(UNIT_STAGES_MAX, sizeof *l->unit.stages);
  l->ids = mem_array(UNIT_STAGES_MAX, sizeof *l->ids);
  for (size_t i = 0; i < l->p->stage_count; i++)
    if (l->p->stages[i].type->has_plan) add_stage(l, i);
}

static void clear_unit(struct unit *unit) {
  struct unit *moved = mem_alloc(sizeof *moved);
  *moved = *unit;
  memset(unit, 0, sizeof *unit);
  unit_free(&moved);
}

/* ---- the attempt ------------------------------------------------------------------------------------------------- */

static void hear(void *context, struct attempt *a, const struct message *m) {
  struct look *l = context;
  const char *id = m->stage >= 0 && (uint32_t)m->stage < l->unit.stage_count ? l->ids[m->stage] : NULL;
  (void)a;
  if (m->type == MESSAGE_NOTE && id)
    add_note(l, id, value_get_text(m->body, "what", "note"), value_get_text(m->body, "text", ""),
             value_get_number(m->body, "amount", 0));
}

static void ended(void *context, struct attempt *a, const struct attempt_outcome *outcome) {
  struct look *l = context;
  (void)a;
  for (uint32_t i = 0; i < outcome->stage_count && i < l->unit.stage_count; i++)
    if (outcome->verdicts[i].verdict == VERDICT_FAIL || outcome->verdicts[i].verdict == VERDICT_RETRY)
      add_note(l, l->ids[i], "problem", outcome->verdicts[i].message, 0);
  if (outcome->end != ATTEMPT_ENDED) {
    l->err = outcome->error.code ? outcome->error.code : ERR_LOST;
    if (l->e) *l->e = outcome->error;
    error_prefix(l->e, "the stages could not look at the input");
  }
  loop_stop(l->loop);
}

static enum err attempt_look(struct look *l, struct crew *crew, int fd, struct error *e) {
  static const struct attempt_callbacks callbacks = {.message = hear, .ended = ended};
  struct attempt_start start = {.unit = &l->unit, .slots = &fd, .slot_count = 1, .timeout_us = TIMEOUT_US};
  struct attempt *attempt = NULL;
  enum err err = crew_start(crew, &start, &callbacks, l, &attempt, e);
  if (err) return err;
  loop_run(l->loop);
  return l->err;
}

static enum err crew_look(struct look *l, int fd, struct error *e) {
  struct crew *crew = NULL;
  enum err err = loop_create(&l->loop, &clock_system, e);
  if (!err) err = crew_create(&crew, l->loop, l->crew, e);
  if (!err) err = attempt_look(l, crew, fd, e);
  crew_destroy(&crew);
  loop_destroy(&l->loop);
  return err;
}

enum err foresee(const struct crew_options *crew, const struct pipeline *p, const struct value *params,
                 const struct value *job, const char *input, struct value **notes, struct error *e) {
  struct look l = {.crew = crew, .p = p, .params = params, .job = job, .input = input, .e = e, .notes = value_map()};
  fd_auto int fd = -1;
  l.unit.kind = UNIT_PLAN;
  l.unit.job = mem_text("plan");
  l.unit.pipeline = mem_text(p->name);
  l.unit.input_name = mem_text(fs_base_name(input));
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  l.unit.cores = cores > 0 ? (uint32_t)cores : 1;
  enum err err = open_input(&l, &fd, e);
  if (!err) find_stages(&l);
  if (!err && l.unit.stage_count) err = crew_look(&l, fd, e);
  clear_unit(&l.unit);
  free(l.ids);
  if (err) value_free(&l.notes);
  *notes = l.notes;
  return err;
}
