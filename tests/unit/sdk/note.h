/* note.h - reads the plugin note out of a file without loading it, as a host does. */
#pragma once
#include <stagemill/abi.h>
#include <stdbool.h>

/* False: the file has no readable .note.stagemill. */
bool note_read(const char *path, sm_note *note);
