/* cmd_stats.c - `stagemill stats`: how many jobs wait, run, have ended, and how. */
#include "base/clock.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/remote.h"

static void stats_row(const struct value *v, const char *name, struct buf *out) {
  static const char *const keys[] = {"waiting", "processing", "retrying", "held", "paused", "done", "failed", "cancelled"};
  char mean[32];
  buf_format(out, "%-20s", name);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    buf_format(out, " %10lld", (long long)value_get_int(v, keys[i], 0));
  if (value_is_null(value_get(v, "successRate")))
    buf_format(out, " %9s", "-");
  else
    buf_format(out, " %7.1f %%", 100 * value_get_number(v, "successRate", 0));
  int64_t mean_us = (int64_t)(value_get_number(v, "meanDurationMs", 0) * 1000);
  buf_format(out, "  %s\n", mean_us ? clock_human(mean_us, mean) : "-");
}

static int stats_run(const struct options *options) {
  int code = CLI_DONE;
  struct remote *remote = remote_open(options, &code);
  if (!remote) return code;
  value_auto struct value *stats = remote_ask(remote, "GET", "/api/v1/stats", NULL, &code);
  remote_close(&remote);
  if (!stats) return code;
  if (options_flag(options, "json")) return print_json(stats, CLI_DONE);
  buf_auto struct buf out = {0};
  const struct value *pipelines = value_get(stats, "pipelines");
  buf_format(&out, "%-20s %10s %10s %10s %10s %10s %10s %10s %10s %9s  %s\n", "", "waiting", "processing", "retrying", "held",
             "paused", "done", "failed", "cancelled", "success", "mean");
  for (size_t i = 0; pipelines && i < pipelines->count; i++)
    stats_row(pipelines->items[i], value_get_text(pipelines->items[i], "pipeline", ""), &out);
  stats_row(stats, "all", &out);
  return cli_print(&out, CLI_DONE);
}

static const struct option_row stats_options[] = {REMOTE_OPTIONS, OPTION_JSON, OPTIONS_END};

const struct command command_stats = {
    .name = "stats",
    .summary = "count a daemon's jobs by status and pipeline",
    .options = stats_options,
    .run = stats_run,
};
