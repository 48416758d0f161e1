/* asset.h - what a caller's jobs are about (a video's id): a record of what is known of it, and a view that joins it
 * with its jobs. What jobs say (status, duration, size of the picture, poster, playlist) is read from them when
 * somebody asks, so that it is never behind them; what is worth keeping once they are deleted is written into the
 * record then. */
#pragma once
#include "service/service.h"
#include "service/upload.h"

/* What people may write; NULL: not given. */
struct asset_words {
  const char *original_name, *title, *author, *recorded_at;
};
extern const char *const asset_word_keys[]; /* "originalName", ... NULL; in the order of the struct */

/* [any-thread but the loop's] The record; owned. ERR_NOT_FOUND: neither record nor job of it that `who` may see
 * (change). An asset that only jobs know gets version 0. */
enum err asset_get(struct service *service, const struct principal *who, const char *id, bool change,
                   struct side_record *record, struct error *e);
/* The public form; owned. */
struct value *asset_view(struct service *service, const struct side_record *record);
/* Words over what there is; the record is made when only jobs know the asset. */
enum err asset_write(struct service *service, const char *id, const char *owner, const struct asset_words *words,
                     struct error *e);
/* May `who` add an upload or a job to the asset of this id: it is nobody's yet, or theirs. */
enum err asset_may_add(struct service *service, const struct principal *who, const char *id, struct error *e);

/* An upload is confirmed: its record and its asset's in one transaction, with `upload-confirmed` under the asset's
 * subject. */
enum err asset_confirm(struct service *service, struct upload *upload, const struct asset_words *words,
                       struct error *e);

/* [loop thread] Makes records of the assets that submitted jobs name. */
struct listener *assets_listen(struct service *service);
