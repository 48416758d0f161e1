/* plan_forecast.h - [plan*.c only] the whole course of a job, found by playing plan_next with stages that all succeed.
 */
#pragma once
#include "pipeline/plan_graph.h"

struct forecast_unit {
  struct plan_unit unit;
  size_t wave; /* from 0: what may run at the same time as what */
};

struct forecast {
  const struct pipeline *p;
  struct graph graph; /* for questions about links */
  struct step *steps;
  struct plan_state state;
  struct forecast_unit *units;
  size_t unit_count;
  struct plan_skip *skips; /* decided by parameters alone, and stages that only run after a failure */
  size_t skip_count;
  struct plan_cut *cuts;
  size_t cut_count;
};
enum err forecast_make(struct forecast *f, const struct pipeline *p, const struct value *params,
                       const struct value *job, struct error *e);
void forecast_clear(struct forecast *f);

/* Shared by text and JSON. */
/* Ids that stage feeds with frames (feeds true) or takes frames from. Calls visit in file order. */
typedef void forecast_visit(void *context, const char *id);
void forecast_neighbours(const struct forecast *f, size_t stage, bool feeds, forecast_visit *visit, void *context);
size_t forecast_passes_of(const struct forecast *f, size_t stage); /* how many passes it runs in */
