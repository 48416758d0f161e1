/* stageinfo.h - a stage's tables for people. For programs: pipeline/stagejson.h. */
#pragma once
#include "base/buf.h"
#include "base/stagetype.h"

void stageinfo_text(const struct stage_type *type, struct buf *out);
