/* stagemill - command line and daemon. Finds the command, lets it run. */
#include <signal.h>
#include <string.h>

#include "cli/command.h"

static int overview(void) {
  buf_auto struct buf text = {0};
  command_overview(&text);
  return cli_print(&text, CLI_DONE);
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN); /* a reader that goes away is an error of write(), not the end of the engine */
  const char *name = argc > 1 ? argv[1] : NULL;
  if (!name) {
    overview();
    return CLI_USAGE;
  }
  if (!strcmp(name, "--help") || !strcmp(name, "-h")) return overview();
  if (!strcmp(name, "--version") || !strcmp(name, "-V")) name = "version";
  const struct command *command = command_find(name);
  if (command) return command_call(command, argc - 2, argv + 2);
  if (name[0] == '-')
    return cli_complain(CLI_USAGE, "the command comes first: `stagemill COMMAND %s ...`; see `stagemill --help`", name);
  const char *near = command_nearest(name);
  if (near) return cli_complain(CLI_USAGE, "there is no command '%s': did you mean `stagemill %s`?", name, near);
  return cli_complain(CLI_USAGE, "there is no command '%s': see `stagemill --help`", name);
}
