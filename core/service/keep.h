/* keep.h - side records written by a thread that waits for the disk, and what then is told to followers. */
#pragma once
#include "service/service.h"

/* [any-thread but the loop's] All of the changes in one transaction, durable when it returns. `told` (NULL: nothing is
 * told) says whose the events of the last change are: they are published to the hub, read back from the store, so that
 * a live follower and one that replays see the same bytes. Its subject is the record's id; job, batch, asset, owner and
 * pipeline as given. */
struct news;
enum err keep_sides(struct service *service, const struct side_change *changes, size_t count, const struct news *told,
                    struct error *e);
/* [loop thread] The same from a completion of store_side. */
void keep_tell(struct service *service, const char *subject, const struct commit *commit, const struct news *told);
