/* graph.h - from the unit's stages and links to nodes, queues and conversions. [main thread, before the flow runs] */
#pragma once
#include "media/parts.h"
#include "media/stage_node.h"

/* Fills pass->stages: a stage takes part when it is not done, or is a filter that such a stage needs. */
void graph_stages(struct pass *pass);
/* Nodes and queues for every stage that is open, conversions in between; marks the origin's streams as wanted. */
void graph_connect(struct pass *pass);
/* When all that is wanted of the source is frames at certain times: how many, ascending. *times_us is owned. */
uint32_t graph_times(struct pass *pass, int64_t **times_us, bool *nearest);
