/* stageinfo.h - a stage's tables for people and for programs. */
#pragma once
#include "base/buf.h"
#include "base/stagetype.h"
#include "base/value.h"

const char *stageinfo_kind(const struct stage_type *type); /* "task", "filter", "sink" */
void stageinfo_text(const struct stage_type *type, struct buf *out);
struct value *stageinfo_value(const struct stage_type *type); /* owned */
