/* owner.h - who owns a state directory: an exclusive lock on owner.lock, held for life. */
#pragma once
#include "base/error.h"

/* Returns the locked descriptor (close-on-exec) or -1; ERR_BUSY names the owner's pid. */
int owner_lock(const char *folder, struct error *e);
