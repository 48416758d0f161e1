#include "pipeline/plan_graph.h"

#include <stagemill/abi.h>
#include <string.h>

#include "base/mem.h"

/* ---- small questions --------------------------------------------------------------------------------------------- */

bool step_is_over(enum step_state state) {
  switch (state) {
  case STEP_WAITING:
  case STEP_DELAYED:
  case STEP_RUNNING: return false;
  case STEP_FINISHED:
  case STEP_SKIPPED:
  case STEP_FAILED:
  case STEP_SOFT_FAILED:
  case STEP_CANCELLED: return true;
  }
  return false;
}

const char *step_state_word(enum step_state state) {
  switch (state) {
  case STEP_WAITING: return "waiting";
  case STEP_DELAYED: return "delayed";
  case STEP_RUNNING: return "running";
  case STEP_FINISHED: return "finished";
  case STEP_SKIPPED: return "skipped";
  case STEP_FAILED: return "failed";
  case STEP_SOFT_FAILED: return "soft-failed";
  case STEP_CANCELLED: return "cancelled";
  }
  return "waiting";
}

static bool port_is_stream(const struct port_type *port) { return port && port->kind != SM_PORT_ARTIFACT; }

bool binding_is_feed(const struct binding *b) { return b->kind == PRODUCER_STAGE && port_is_stream(b->output); }

bool binding_is_source(const struct binding *b) { return port_is_stream(b->port) && !binding_is_feed(b); }

bool graph_is_media(const struct graph *g, size_t stage) {
  uint32_t kind = g->p->stages[stage].type->kind;
  return kind == SM_KIND_FILTER || kind == SM_KIND_SINK;
}

bool graph_feeds(const struct graph *g, size_t stage) {
  for (size_t i = 0; i < g->count; i++)
    if (graph_link(g, i, stage) & LINK_FEED) return true;
  return false;
}

bool graph_is_root(const struct graph *g, size_t stage) { return g->p->stages[stage].type->kind == SM_KIND_SINK; }

static bool tainted(const struct graph *g, size_t stage, bool *seen) {
  const struct pipeline_stage *s = &g->p->stages[stage];
  if (seen[stage] || g->now[stage] != STEP_SKIPPED) return false;
  seen[stage] = true;
  for (size_t i = 0; i < s->after_count; i++) {
    enum step_state state = g->now[s->after[i]];
    if (state == STEP_FAILED || state == STEP_CANCELLED || tainted(g, s->after[i], seen)) return true;
  }
  return false;
}

bool graph_is_tainted(const struct graph *g, size_t stage) {
  bool *seen = mem_array(g->count + 1, sizeof *seen);
  bool answer = tainted(g, stage, seen);
  free(seen);
  return answer;
}

/* ---- links ------------------------------------------------------------------------------------------------------- */

static unsigned links_of_bindings(const struct pipeline_stage *s, size_t to) {
  unsigned links = 0;
  for (size_t i = 0; i < s->binding_count; i++) {
    const struct binding *b = &s->bindings[i];
    if (b->kind == PRODUCER_STAGE && b->stage == to) links |= binding_is_feed(b) ? LINK_FEED : LINK_DATA;
  }
  return links;
}

static unsigned links_between(const struct pipeline *p, size_t from, size_t to) {
  const struct pipeline_stage *s = &p->stages[from];
  unsigned links = links_of_bindings(s, to);
  for (size_t i = 0; i < s->needs_count; i++)
    if (s->needs[i] == to) links |= LINK_NEED;
  if (pipeline_reads(p, from, to, SM_AT_OPEN)) links |= LINK_OPEN;
  if (pipeline_reads(p, from, to, SM_AT_END)) links |= LINK_END;
  return links ? links : LINK_STATUS;
}

struct status_search {
  const char *id;
  bool found;
};

static void find_status(void *context, const struct reference *r) {
  struct status_search *search = context;
  if (r->kind == REFERENCE_STAGE && !strcmp(r->name, search->id) && r->key && !strcmp(r->key, "status"))
    search->found = true;
}

static bool condition_reads_status(const struct pipeline *p, size_t from, size_t to) {
  struct status_search search = {p->stages[to].id, false};
  if (p->stages[from].condition) expr_references(p->stages[from].condition, find_status, &search);
  return search.found;
}

static void find_links(struct graph *g) {
  for (size_t i = 0; i < g->count; i++) {
    const struct pipeline_stage *s = &g->p->stages[i];
    for (size_t k = 0; k < s->after_count; k++) {
      size_t j = s->after[k];
      unsigned links = links_between(g->p, i, j);
      if (condition_reads_status(g->p, i, j)) links |= LINK_STATUS;
      g->links[i * g->count + j] = (uint8_t)links;
      g->reaches[i * g->count + j] = true;
    }
  }
}

static void close_reaches(struct graph *g) { /* Warshall */
  for (size_t k = 0; k < g->count; k++)
    for (size_t i = 0; i < g->count; i++) {
      if (!graph_reaches(g, i, k)) continue;
      for (size_t j = 0; j < g->count; j++)
        if (graph_reaches(g, k, j)) g->reaches[i * g->count + j] = true;
    }
}

void graph_init_states(struct graph *g, const struct plan_state *state) {
  *g = (struct graph){.view = *state, .p = state->pipeline, .count = state->pipeline->stage_count};
  g->now = mem_array(g->count + 1, sizeof *g->now);
  g->steps = mem_array(g->count + 1, sizeof *g->steps);
  g->state = &g->view;
  g->view.steps = g->steps;
  for (size_t i = 0; i < g->count; i++) {
    g->steps[i] = state->steps[i];
    g->now[i] = state->steps[i].state;
  }
}

void graph_init(struct graph *g, const struct plan_state *state, bool forecast) {
  graph_init_states(g, state);
  g->forecast = forecast;
  g->links = mem_array(g->count * g->count + 1, 1);
  g->reaches = mem_array(g->count * g->count + 1, sizeof *g->reaches);
  find_links(g);
  close_reaches(g);
}

void graph_set(struct graph *g, size_t stage, enum step_state state) { g->now[stage] = g->steps[stage].state = state; }

void graph_clear(struct graph *g) {
  free(g->now);
  free(g->steps);
  free(g->links);
  free(g->reaches);
  memset(g, 0, sizeof *g);
}

/* ---- where frames come from -------------------------------------------------------------------------------------- */

/* The binding through which a filter gets what it passes on at `output`: its input of the same kind. */
static const struct binding *binding_through(const struct pipeline_stage *filter, const struct port_type *output) {
  for (size_t i = 0; i < filter->binding_count; i++)
    if (filter->bindings[i].port && filter->bindings[i].port->kind == output->kind) return &filter->bindings[i];
  return NULL;
}

static bool is_missing(const struct graph *g, size_t stage, const bool *drop) {
  return (drop && drop[stage]) || (step_is_over(g->now[stage]) && g->now[stage] != STEP_FINISHED);
}

static bool is_bypassed(const struct graph *g, size_t stage, const bool *drop) {
  if (!g->p->stages[stage].type->has_bypass) return false;
  return (drop && drop[stage]) || g->now[stage] == STEP_SKIPPED || g->now[stage] == STEP_SOFT_FAILED;
}

enum err graph_feed(const struct graph *g, const struct binding *b, const bool *drop, struct feed *feed) {
  *feed = (struct feed){.stage = SIZE_MAX, .origin = SIZE_MAX, .lost = SIZE_MAX};
  for (size_t steps = 0; b && steps <= g->count; steps++) {
    if (b->kind == PRODUCER_SOURCE) return ERR_OK;
    feed->output = b->output;
    if (!binding_is_feed(b)) {
      feed->origin = b->stage;
      if (!is_missing(g, b->stage, NULL)) return ERR_OK;
      feed->lost = b->stage;
      return ERR_NOT_FOUND;
    }
    if (!is_missing(g, b->stage, drop)) {
      feed->stage = b->stage;
      return ERR_OK;
    }
    feed->lost = b->stage;
    if (!is_bypassed(g, b->stage, drop)) return ERR_NOT_FOUND;
    b = binding_through(&g->p->stages[b->stage], b->output);
    feed->output = NULL;
  }
  return ERR_NOT_FOUND;
}

static void reach_source(struct reach *r, const struct feed *feed) {
  if (r->found && (r->origin != feed->origin || r->port != feed->output)) r->mixed = true;
  if (r->found) return;
  r->found = true;
  r->origin = feed->origin;
  r->port = feed->output;
}

static void reach_add(const struct graph *g, size_t stage, struct reach *r) {
  const struct pipeline_stage *s = &g->p->stages[stage];
  for (size_t i = 0; i < s->binding_count; i++) {
    struct feed feed;
    if (!port_is_stream(s->bindings[i].port) || graph_feed(g, &s->bindings[i], NULL, &feed)) continue;
    if (feed.stage == SIZE_MAX) {
      reach_source(r, &feed);
    } else if (!r->filters[feed.stage]) {
      r->filters[feed.stage] = true;
      reach_add(g, feed.stage, r);
    }
  }
}

void reach_of(const struct graph *g, size_t root, struct reach *r) {
  *r = (struct reach){.origin = SIZE_MAX};
  r->filters = mem_array(g->count + 1, sizeof *r->filters);
  reach_add(g, root, r);
}

void reach_clear(struct reach *r) {
  free(r->filters);
  r->filters = NULL;
}
