/* kinds.h - made-up stages for the planner's tests, described with the public macros:
 *
 *   look   task    reads the job's input; `seconds` (open), `codec` (end)
 *   grab   task    makes a file that stands in for the job's input
 *   draw   task    no input, makes a picture
 *   send   task    any number of files; `url` (end)
 *   tell   task    no input
 *   wait   task    waits for a person
 *   snap   sink    pictures of a video; `count` (end)
 *   pack   sink    video and, if any, sound; `rungs` (open), `master` (end)
 *   hear   sink    sound alone
 *   gauge  sink    `height` (open), `level` (end)
 *   paint  filter  lets frames pass when it is not there (bypass)
 *   scale  filter  does not; `factor` (open)
 *   stamp  filter  needs a picture */
#pragma once
#include "base/stagetype.h"

struct stage_set *kinds_new(void);
