/* plan_fuse.c - groups the media stages of one source into passes, says what cuts them apart, and which pass may start.
 *
 * A pass is made of roots (sinks) and of the filters they need; a filter that two passes need runs in
 * both, one after the other. Two roots share a pass when
 *   - they read the same source, and neither waits for the other's end;
 *   - neither is written `isolate`, was named by a crash (suspect) or left its pass (apart); the same goes for their
 *     filters, except that roots behind the same marked filter stay together, since it cannot run without them;
 *   - the time-outs of both, where written, are equal: a pass has one, the smallest of its stages.
 * Retry policies do not cut: a failure counts against the stage that caused it, and the rest restart with it without
 * using their budget. For the same reason a pass waits as a whole while one of its stages backs off.
 * A pass is kept back while a stage that could share its decode waits for tasks alone: running a task first costs less
 * than decoding twice. It is not kept back for what backs off or for what waits for another pass. */
#include <stagemill/abi.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/plan_graph.h"

static const int64_t DEFAULT_TIMEOUT_US = INT64_C(6) * 3600 * 1000000; /* counts as not written */

struct root { /* a media stage that ends a pass, with what it needs */
  size_t stage;
  struct reach reach;
  const struct gate *gate;
  int64_t timeout_us; /* smallest written one of it and its filters; 0: none */
  size_t size;        /* stages it brings: itself and its filters */
  bool may;           /* its gate and those of its filters are open */
  bool delayed;       /* it or one of its filters backs off */
  size_t busy;        /* filter that runs in another pass; SIZE_MAX: none */
  size_t blocked;     /* filter that waits; SIZE_MAX: none */
};

struct group {
  size_t *members; /* indices into roots */
  size_t count;
  bool *stages; /* of the pipeline */
  size_t stage_count;
  bool held;
};

struct fuse {
  struct graph *g;
  const struct gate *gates;
  struct plan *plan;
  struct root *roots;
  size_t root_count;
  struct group *groups;
  size_t group_count;
  bool *busy; /* stages that a pass of this plan takes already */
};

static const char *id_of(const struct fuse *f, size_t stage) { return f->g->p->stages[stage].id; }

/* ---- the plan's lists -------------------------------------------------------------------------------------------- */

void plan_add_wait(struct plan *plan, size_t stage, char *moved_reason) {
  plan->waits = mem_grow(plan->waits, plan->wait_count + 1, sizeof *plan->waits);
  plan->waits[plan->wait_count++] = (struct plan_skip){stage, moved_reason};
}

void plan_add_cut(struct plan *plan, size_t stage, size_t other, enum cut_reason reason) {
  for (size_t i = 0; i < plan->cut_count; i++)
    if (plan->cuts[i].stage == stage && plan->cuts[i].other == other) return;
  plan->cuts = mem_grow(plan->cuts, plan->cut_count + 1, sizeof *plan->cuts);
  plan->cuts[plan->cut_count++] = (struct plan_cut){stage, other, reason};
}

/* A stage that starts after all waits for nothing. */
static void drop_wait(struct plan *plan, size_t stage) {
  for (size_t i = 0; i < plan->wait_count; i++) {
    if (plan->waits[i].stage != stage) continue;
    free(plan->waits[i].reason);
    plan->waits[i--] = plan->waits[--plan->wait_count];
  }
}

struct plan_unit *plan_add_unit(struct plan *plan) {
  plan->ready = mem_grow(plan->ready, plan->ready_count + 1, sizeof *plan->ready);
  struct plan_unit *unit = &plan->ready[plan->ready_count++];
  memset(unit, 0, sizeof *unit);
  unit->source_stage = SIZE_MAX;
  return unit;
}

const char *cut_reason_text(enum cut_reason reason) {
  switch (reason) {
  case CUT_RETRY: return "different retry policies";
  case CUT_TIMEOUT: return "different time-outs";
  case CUT_CONDITION: return "its condition or settings depend on how the other ends";
  case CUT_ISOLATE: return "one of them is isolated";
  case CUT_END_RESULT: return "it reads results that the other has at its end";
  case CUT_SUSPECT: return "one of them is suspected of a crash and runs alone";
  case CUT_APART: return "one of them left its pass and runs alone";
  case CUT_SOURCE: return "they read different sources";
  case CUT_DELAYED: return "what it waits for backs off";
  case CUT_NEEDS: return "it needs the other to be over";
  case CUT_RUNNING: return "the other's pass had begun";
  case CUT_SIZE: return "the pass is full";
  }
  return "unknown";
}

/* ---- roots ------------------------------------------------------------------------------------------------------- */

static int64_t written_timeout(const struct fuse *f, size_t stage) {
  int64_t us = f->g->p->stages[stage].timeout_us;
  return us == DEFAULT_TIMEOUT_US ? 0 : us;
}

static void root_add_stage(const struct fuse *f, struct root *r, size_t stage) {
  int64_t us = written_timeout(f, stage);
  if (us && (!r->timeout_us || us < r->timeout_us)) r->timeout_us = us;
  enum step_state now = f->g->now[stage];
  r->size++;
  if (now == STEP_DELAYED) r->delayed = true;
  if (stage == r->stage) return;
  if (now == STEP_RUNNING && r->busy == SIZE_MAX) r->busy = stage;
  bool open = f->gates[stage].answer == GATE_GO || f->gates[stage].answer == GATE_LATE;
  if (now != STEP_RUNNING && now != STEP_FINISHED && !open && r->blocked == SIZE_MAX) r->blocked = stage;
}

static void find_roots(struct fuse *f) {
  f->roots = mem_array(f->g->count + 1, sizeof *f->roots);
  for (size_t i = 0; i < f->g->count; i++) {
    if (!graph_is_root(f->g, i)) continue;
    struct root *r = &f->roots[f->root_count++];
    *r = (struct root){.stage = i, .gate = &f->gates[i], .busy = SIZE_MAX, .blocked = SIZE_MAX};
    reach_of(f->g, i, &r->reach);
    root_add_stage(f, r, i);
    for (size_t j = 0; j < f->g->count; j++)
      if (r->reach.filters[j]) root_add_stage(f, r, j);
    bool due = f->g->now[i] == STEP_WAITING || f->g->now[i] == STEP_DELAYED;
    r->may = due && (r->gate->answer == GATE_GO || r->gate->answer == GATE_LATE) && r->blocked == SIZE_MAX;
  }
}

static bool root_reads(const struct root *r, const struct root *other) {
  return r->reach.origin == other->reach.origin && r->reach.port == other->reach.port;
}

/* ---- what keeps two roots apart ---------------------------------------------------------------------------------- */

typedef bool mark_fn(const struct fuse *f, size_t stage);
static bool is_suspect(const struct fuse *f, size_t stage) { return f->g->steps[stage].suspect; }
static bool is_apart(const struct fuse *f, size_t stage) { return f->g->steps[stage].apart; }
static bool is_isolated(const struct fuse *f, size_t stage) { return f->g->p->stages[stage].isolate; }

/* A marked root runs alone; roots behind a marked filter run with nobody who does not need it too. */
static bool mark_cuts(const struct fuse *f, const struct root *a, const struct root *b, mark_fn *marked) {
  if (marked(f, a->stage) || marked(f, b->stage)) return true;
  for (size_t i = 0; i < f->g->count; i++)
    if (a->reach.filters[i] != b->reach.filters[i] && marked(f, i)) return true;
  return false;
}

static enum cut_reason roots_cut(const struct fuse *f, const struct root *a, const struct root *b) {
  if (!root_reads(a, b)) return CUT_SOURCE;
  if (mark_cuts(f, a, b, is_suspect)) return CUT_SUSPECT;
  if (mark_cuts(f, a, b, is_apart)) return CUT_APART;
  if (mark_cuts(f, a, b, is_isolated)) return CUT_ISOLATE;
  if (a->timeout_us && b->timeout_us && a->timeout_us != b->timeout_us) return CUT_TIMEOUT;
  return 0;
}

/* Why a stage has to wait for another media stage of its source: shown as a cut. */
static enum cut_reason link_cut(unsigned links) {
  if (links & LINK_STATUS) return CUT_CONDITION;
  if (links & LINK_END) return CUT_END_RESULT;
  return CUT_NEEDS;
}

/* The stage that a waiting root (or its filter) waits for, when that is, or hangs on, a media stage of its source. */
static void cut_waiting(const struct fuse *f, const struct root *r, size_t waiter) {
  size_t other = f->gates[waiter].waits_for;
  if (other == SIZE_MAX) return;
  unsigned links = graph_link(f->g, waiter, other);
  for (size_t i = 0; i < f->root_count; i++) {
    const struct root *peer = &f->roots[i];
    if (peer == r || !root_reads(r, peer) || step_is_over(f->g->now[peer->stage])) continue;
    if (peer->stage == other || peer->reach.filters[other] || graph_reaches(f->g, other, peer->stage)) {
      plan_add_cut(f->plan, r->stage, other, links ? link_cut(links) : CUT_CONDITION);
      return;
    }
  }
}

/* ---- groups ------------------------------------------------------------------------------------------------------ */

static size_t group_size_with(const struct fuse *f, const struct group *group, const struct root *r) {
  size_t size = group->stage_count + !group->stages[r->stage];
  for (size_t i = 0; i < f->g->count; i++) size += r->reach.filters[i] && !group->stages[i];
  return size;
}

static void group_take(struct fuse *f, struct group *group, size_t root) {
  const struct root *r = &f->roots[root];
  group->members = mem_grow(group->members, group->count + 1, sizeof *group->members);
  group->members[group->count++] = root;
  group->stage_count = group_size_with(f, group, r);
  group->stages[r->stage] = true;
  for (size_t i = 0; i < f->g->count; i++) group->stages[i] |= r->reach.filters[i];
}

/* Why r cannot join; *other is the member that keeps it out. */
static enum cut_reason group_cut(const struct fuse *f, const struct group *group, const struct root *r, size_t *other) {
  for (size_t i = 0; i < group->count; i++) {
    const struct root *member = &f->roots[group->members[i]];
    enum cut_reason reason = roots_cut(f, r, member);
    *other = member->stage;
    if (reason) return reason;
  }
  return group_size_with(f, group, r) > PLAN_PASS_MAX ? CUT_SIZE : 0;
}

static void group_found(struct fuse *f, size_t root) {
  f->groups = mem_grow(f->groups, f->group_count + 1, sizeof *f->groups);
  struct group *group = &f->groups[f->group_count++];
  *group = (struct group){.stages = mem_array(f->g->count + 1, sizeof *group->stages)};
  group_take(f, group, root);
}

static void place_root(struct fuse *f, size_t root) {
  const struct root *r = &f->roots[root];
  size_t first_cut = f->plan->cut_count;
  for (size_t i = 0; i < f->group_count; i++) {
    size_t other;
    enum cut_reason reason = group_cut(f, &f->groups[i], r, &other);
    if (!reason) {
      f->plan->cut_count = first_cut; /* it found its pass: why it was not another one is of no interest */
      group_take(f, &f->groups[i], root);
      return;
    }
    plan_add_cut(f->plan, r->stage, other, reason);
  }
  for (size_t i = 0; i < f->root_count; i++) /* not into a pass that has begun */
    if (f->g->now[f->roots[i].stage] == STEP_RUNNING && root_reads(r, &f->roots[i]))
      plan_add_cut(f->plan, r->stage, f->roots[i].stage, CUT_RUNNING);
  group_found(f, root);
}

/* What a root and its filters read of others' `open` results, as far as those are not over. */
static bool root_late_on(const struct fuse *f, const struct root *r, size_t other) {
  if (step_is_over(f->g->now[other])) return false;
  if (r->gate->late_on && r->gate->late_on[other]) return true;
  for (size_t i = 0; i < f->g->count; i++)
    if (r->reach.filters[i] && f->gates[i].late_on && f->gates[i].late_on[other]) return true;
  return false;
}

static bool root_is_late(const struct fuse *f, const struct root *r) {
  for (size_t i = 0; i < f->g->count; i++)
    if (root_late_on(f, r, i)) return true;
  return false;
}

/* Can `group` tell the late root everything it reads in the prologue? A stage that is itself late cannot: it opens
 * only after the prologue. */
static bool group_answers(const struct fuse *f, const struct group *group, const struct root *r) {
  for (size_t i = 0; i < f->g->count; i++) {
    if (!root_late_on(f, r, i)) continue;
    if (!group->stages[i] && i != r->stage && !r->reach.filters[i]) return false;
    if (f->gates[i].late_on) return false;
  }
  return true;
}

static bool root_answers_itself(const struct fuse *f, const struct root *r) {
  for (size_t i = 0; i < f->g->count; i++)
    if (root_late_on(f, r, i) && (!r->reach.filters[i] || f->gates[i].late_on)) return false;
  return true;
}

static bool is_placed(const struct fuse *f, size_t stage) {
  for (size_t i = 0; i < f->group_count; i++)
    if (f->groups[i].stages[stage]) return true;
  return false;
}

static void place_late(struct fuse *f, size_t root) {
  struct root *r = &f->roots[root];
  size_t other = SIZE_MAX;
  enum cut_reason reason = 0;
  if (root_answers_itself(f, r)) {
    place_root(f, root);
    return;
  }
  for (size_t i = 0; i < f->group_count; i++) {
    if (!group_answers(f, &f->groups[i], r)) continue;
    reason = group_cut(f, &f->groups[i], r, &other);
    if (reason) break;
    group_take(f, &f->groups[i], root);
    return;
  }
  for (size_t i = 0; i < f->g->count && other == SIZE_MAX; i++)
    if (root_late_on(f, r, i)) other = i;
  if (!reason && f->g->now[other] == STEP_RUNNING) reason = CUT_RUNNING;
  if (!reason && is_placed(f, other)) reason = CUT_CONDITION;
  if (reason) plan_add_cut(f->plan, r->stage, other, reason); /* else the other only waits itself */
  plan_add_wait(f->plan, r->stage, mem_format("waits for `%s`, whose results it reads", id_of(f, other)));
  r->may = false;
}

/* ---- keeping a pass back ----------------------------------------------------------------------------------------- */

/* Does the root read only `open` results of this member of the group? That needs no waiting. */
static bool reads_at_open(const struct fuse *f, const struct root *r, size_t member) {
  unsigned links = graph_link(f->g, r->stage, member);
  for (size_t i = 0; i < f->g->count; i++)
    if (r->reach.filters[i]) links |= graph_link(f->g, i, member);
  return links == LINK_OPEN;
}

static bool hangs_on_group(const struct fuse *f, size_t task, const struct group *group) {
  for (size_t i = 0; i < f->g->count; i++)
    if (group->stages[i] && graph_reaches(f->g, task, i)) return true;
  return false;
}

/* Is all that the root still waits for made of tasks that can get on without the group? */
static bool waits_for_tasks(const struct fuse *f, const struct root *r, const struct group *group, bool *backs_off) {
  for (size_t j = 0; j < f->g->count; j++) {
    if (!graph_reaches(f->g, r->stage, j) || step_is_over(f->g->now[j]) || r->reach.filters[j]) continue;
    if (graph_is_media(f->g, j)) {
      if (!group->stages[j] || !reads_at_open(f, r, j)) return false;
      continue;
    }
    if (gate_is_last(f->g, j) || hangs_on_group(f, j, group)) return false;
    if (stage_type_can(f->g->p->stages[j].type, "person")) return false; /* who knows for how long */
    if (f->g->now[j] == STEP_DELAYED) *backs_off = true;
  }
  return true;
}

/* The stage for whose sake the group waits: same source, compatible, and only tasks are in its way. */
static const struct root *held_for(const struct fuse *f, const struct group *group) {
  for (size_t i = 0; i < f->root_count; i++) {
    const struct root *r = &f->roots[i];
    size_t other;
    bool backs_off = false;
    if (f->g->now[r->stage] != STEP_WAITING || r->may || r->busy != SIZE_MAX) continue;
    if (r->gate->answer != GATE_WAIT && r->blocked == SIZE_MAX) continue;
    if (gate_is_last(f->g, r->stage) || group_cut(f, group, r, &other)) continue;
    if (!waits_for_tasks(f, r, group, &backs_off)) continue;
    if (!backs_off) return r;
    plan_add_cut(f->plan, r->stage, f->roots[group->members[0]].stage, CUT_DELAYED);
  }
  return NULL;
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static bool stage_is_late(const struct fuse *f, size_t stage) {
  const bool *on = f->gates[stage].late_on;
  for (size_t i = 0; on && i < f->g->count; i++)
    if (on[i] && !step_is_over(f->g->now[i])) return true;
  return false;
}

static void group_start(struct fuse *f, const struct group *group) {
  struct plan_unit *unit = plan_add_unit(f->plan);
  const struct reach *reach = &f->roots[group->members[0]].reach;
  unit->is_pass = true;
  unit->source_kind = reach->origin == SIZE_MAX ? PRODUCER_SOURCE : PRODUCER_STAGE;
  unit->source_stage = reach->origin;
  unit->source_port = reach->port;
  unit->stages = mem_array(group->stage_count, sizeof *unit->stages);
  unit->late = mem_array(group->stage_count, sizeof *unit->late);
  for (size_t i = 0; i < f->g->count; i++) {
    if (!group->stages[i]) continue;
    f->busy[i] = true;
    drop_wait(f->plan, i);
    unit->late[unit->stage_count] = stage_is_late(f, i);
    unit->stages[unit->stage_count++] = i;
  }
}

static void group_waits(struct fuse *f, const struct group *group, const char *format, const char *word)
    __attribute__((format(printf, 3, 0)));
static void group_waits(struct fuse *f, const struct group *group, const char *format, const char *word) {
  for (size_t i = 0; i < group->count; i++) {
    size_t stage = f->roots[group->members[i]].stage;
    if (f->g->now[stage] == STEP_WAITING) plan_add_wait(f->plan, stage, mem_format(format, word));
  }
}

/* Why the group cannot start at all: a stage that backs off, a filter that runs elsewhere. */
static bool group_is_stuck(struct fuse *f, const struct group *group) {
  for (size_t i = 0; i < f->g->count; i++) {
    if (!group->stages[i]) continue;
    if (f->g->now[i] == STEP_DELAYED) {
      group_waits(f, group, "shares a pass with `%s`, which waits for its next attempt", id_of(f, i));
      return true;
    }
    if (f->g->now[i] == STEP_RUNNING || f->busy[i]) {
      group_waits(f, group, "needs the filter `%s`, which runs in another pass", id_of(f, i));
      return true;
    }
  }
  return false;
}

static bool anything_moves(const struct fuse *f) {
  if (f->plan->ready_count) return true;
  for (size_t i = 0; i < f->g->count; i++)
    if (f->g->now[i] == STEP_RUNNING || f->g->now[i] == STEP_DELAYED) return true;
  return false;
}

static void start_groups(struct fuse *f) {
  const struct group *held = NULL;
  for (size_t i = 0; i < f->group_count; i++) {
    struct group *group = &f->groups[i];
    if (group_is_stuck(f, group)) continue;
    const struct root *sake = held_for(f, group);
    if (!sake) {
      group_start(f, group);
      continue;
    }
    if (!held) held = group;
    group_waits(f, group, "kept back to share one decode with `%s`", id_of(f, sake->stage));
  }
  if (held && !anything_moves(f)) group_start(f, held); /* whatever it waits for waits for it, some way round */
}

static void explain_waiting(struct fuse *f) {
  for (size_t i = 0; i < f->root_count; i++) {
    const struct root *r = &f->roots[i];
    if (f->g->now[r->stage] != STEP_WAITING || r->may) continue;
    if (r->gate->answer == GATE_WAIT) {
      cut_waiting(f, r, r->stage);
    } else if (r->blocked != SIZE_MAX) {
      cut_waiting(f, r, r->blocked);
      plan_add_wait(f->plan, r->stage, mem_format("waits for its filter `%s`", id_of(f, r->blocked)));
    }
  }
}

static void fuse_free(struct fuse *f) {
  for (size_t i = 0; i < f->root_count; i++) reach_clear(&f->roots[i].reach);
  for (size_t i = 0; i < f->group_count; i++) {
    free(f->groups[i].members);
    free(f->groups[i].stages);
  }
  free(f->roots);
  free(f->groups);
  free(f->busy);
}

void fuse_passes(struct graph *g, const struct gate *gates, struct plan *plan) {
  struct fuse f = {.g = g, .gates = gates, .plan = plan};
  f.busy = mem_array(g->count + 1, sizeof *f.busy);
  find_roots(&f);
  explain_waiting(&f);
  for (size_t i = 0; i < f.root_count; i++)
    if (f.roots[i].may && !root_is_late(&f, &f.roots[i])) place_root(&f, i);
  for (size_t i = 0; i < f.root_count; i++)
    if (f.roots[i].may && root_is_late(&f, &f.roots[i])) place_late(&f, i);
  start_groups(&f);
  fuse_free(&f);
}
