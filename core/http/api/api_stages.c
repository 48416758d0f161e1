/* api_stages.c - the stages of the plugins that are loaded, with their parameters for people, forms and validators. */
#include <string.h>

#include "api/parts.h"
#include "base/mem.h"
#include "config/report.h"
#include "pipeline/stagejson.h"

/* Where a plugin lies on this machine is for scope admin. */
static struct value *stage_shown(struct exchange *x, const struct stage_type *type) {
  struct value *v = stage_json(type);
  value_map_set(v, "schema", stage_params_schema(type));
  if (api_is_admin(x)) return v;
  struct value *plugin = value_map();
  value_set_text(plugin, "id", type->plugin_id);
  value_set_text(plugin, "version", type->plugin_version);
  value_map_set(v, "plugin", plugin);
  return v;
}

static void stages_list(struct exchange *x) {
  const struct stage_set *set = api_service(x)->stages;
  value_auto struct value *v = value_map();
  struct value *list = value_list();
  value_map_set(v, "stages", list);
  for (size_t i = 0; i < stage_set_count(set); i++) value_list_add(list, stage_shown(x, stage_set_at(set, i)));
  http_json(x, 200, v);
}

static void stage_get(struct exchange *x) {
  const struct stage_set *set = api_service(x)->stages;
  const char *name = http_param(x, "name");
  const struct stage_type *type = stage_set_find(set, name);
  if (!type) {
    const char *names[1024];
    size_t count = 0;
    for (; count < stage_set_count(set) && count < 1024; count++) names[count] = stage_set_at(set, count)->name;
    const char *near = report_nearest(name, names, count);
    http_problem(x, 404, "not-found", near ? "there is no stage %.60s: did you mean %s?" : "there is no stage %.60s%s", name,
                 near ? near : "");
    return;
  }
  value_auto struct value *v = stage_shown(x, type);
  http_json(x, 200, v);
}

static const struct route routes[] = {
    {"GET", "/api/v1/stages", SCOPE_READ, 0, stages_list, "listStages"},
    {"GET", "/api/v1/stages/{name}", SCOPE_READ, 0, stage_get, "getStage"},
};
const struct api_table api_stages = API_TABLE(routes);
