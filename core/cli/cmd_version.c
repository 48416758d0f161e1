#include <stagemill/abi.h>

#include "base/value.h"
#include "cli/command.h"
#include "cli/print.h"

static int version_run(const struct options *options) {
  buf_auto struct buf text = {0};
  if (options_flag(options, "json")) {
    value_auto struct value *v = value_map();
    value_set_text(v, "version", STAGEMILL_VERSION);
    value_set_int(v, "abiMajor", SM_ABI_MAJOR);
    value_set_int(v, "abiMinor", SM_ABI_MINOR);
    return print_json(v, CLI_DONE);
  }
  buf_format(&text, "stagemill %s (stage ABI %d.%d)\n", STAGEMILL_VERSION, SM_ABI_MAJOR, SM_ABI_MINOR);
  return cli_print(&text, CLI_DONE);
}

static const struct option_row version_options[] = {OPTION_JSON, OPTIONS_END};

const struct command command_version = {
    .name = "version",
    .summary = "print the version and the stage ABI",
    .options = version_options,
    .run = version_run,
};
