#include "api/api.h"

#include "api/parts.h"

static const struct api_table *const tables[] = {
    &api_jobs,  &api_submit,    &api_steer,  &api_bulk,  &api_explain, &api_events, &api_artifacts, &api_logs,
    &api_pipelines, &api_stages, &api_stats, &api_queue, &api_tokens,  &api_meta,
#ifdef STAGEMILL_API_UPLOADS
    &api_uploads,
#endif
#ifdef STAGEMILL_API_TUS
    &api_tus,
#endif
#ifdef STAGEMILL_API_ASSETS
    &api_assets,
#endif
#ifdef STAGEMILL_API_BATCHES
    &api_batches,
#endif
#ifdef STAGEMILL_API_DELIVERIES
    &api_deliveries,
#endif
#ifdef STAGEMILL_API_METRICS
    &api_metrics,
#endif
};

void api_routes(struct http_server *server) {
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    http_server_routes(server, tables[i]->routes, tables[i]->count);
}
