/* complete.h - shell completion scripts from the command table. */
#pragma once
#include "base/buf.h"

void complete_bash(struct buf *out);
void complete_zsh(struct buf *out);
void complete_fish(struct buf *out);
